"""Pooling: every model of one analysis, and which of them is the headline."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evisynth.families import FAMILIES, NotEstimable
from evisynth.heterogeneity import tau2_intervals
from evisynth.inference import quantile
from evisynth.inverse_variance import inverse_variance
from evisynth.measures import MEASURES, Measure, corrections, measure_of
from evisynth.models.prediction import beyond, beyond_new
from evisynth.records import (
    Beyond,
    EffectSizes,
    Estimate,
    Fit,
    Rows,
    Shrunk,
    Tau2Interval,
)
from evisynth.specification import ModelSpec, check

NAN = math.nan
# Below this k the answer of a weakly informative prior is shown beside the others.
FEW_FOR_BAYES = 5
# Measures whose unit is that of the default prior: logs of ratios, standardised differences.
PRIOR_MEASURES = frozenset({"OR", "RR", "HR", "IRR", "PETO", "SMD"})
DEFAULT_PRIOR = "half_normal(0.5)"
DEPENDENT = frozenset({"MV", "RVE"})


def _analysis_notes(effects: EffectSizes, spec: ModelSpec) -> list[str]:
    """What holds for all models of the analysis."""
    notes = []
    left_out = [
        label for label, used in zip(effects.label, effects.included, strict=True) if not used
    ]
    if 0 < len(left_out) < len(effects.label):
        rows = f"{len(left_out)} of {len(effects.label)} rows"
        notes.append(f"shown but left out of the pooling, {rows}: {'; '.join(left_out)}")
    if spec.family not in DEPENDENT:
        notes += _independent(effects)
    notes += _rare_events(effects)
    if corrected := corrections(effects):
        noun = "study" if corrected == 1 else "studies"
        notes.append(f"continuity correction in {corrected} {noun}")
    if spec.level != 0.95:
        notes.append(f"intervals at {100 * spec.level:g}%")
    return notes


def _independent(effects: EffectSizes) -> list[str]:
    """What a model that knows no clusters does with those that have several rows."""
    used = [c for c, pooled in zip(effects.cluster, effects.included, strict=True) if pooled]
    if len(set(used)) == len(used):
        return []
    return [
        f"{len(used)} rows of {len(set(used))} clusters (studies) are pooled as independent"
    ]


def _rare_events(effects: EffectSizes) -> list[str]:
    """What pooled counts without any event mean."""
    raw = {
        name: effects.raw[name][effects.pooled]
        for name in ("xi", "ai", "ci")
        if name in effects.raw
    }
    if not raw or not effects.pooled.any():
        return []
    notes = []
    if not any(counts.any() for counts in raw.values()):
        notes.append("no events in any study: the estimate stands on the continuity correction")
    elif "ai" in raw and measure_of(effects).axis == "log":
        empty = int(((raw["ai"] == 0) & (raw["ci"] == 0)).sum())
        if empty:
            notes.append(
                f"{empty} pooled without events in both groups, where a ratio knows nothing: "
                "see zero_cells.drop00"
            )
    return notes


def _impossible(estimate: Estimate, measure: Measure) -> list[str]:
    """Whether intervals of a proportion leave the range of proportions."""
    if measure.axis != "proportion":
        return []
    shown = display(estimate, measure)
    ends = (shown.ci_low, shown.ci_high, shown.pi_low, shown.pi_high)
    if any(end < 0 or end > 1 for end in ends):
        return [f"an interval leaves 0 to 1, as {measure.key} allows: PLO and PAS do not"]
    return []


def _why_none(effects: EffectSizes) -> str:
    """Why no study can be pooled: the reason of each."""
    reasons = [
        f"{label}: {reason.rstrip('.')}"
        for label, reason in zip(effects.label, effects.reason, strict=True)
    ]
    return "; ".join(["not estimable, because no study can be pooled", *reasons])


def _fit(effects: EffectSizes, spec: ModelSpec, notes: Sequence[str]) -> Fit:
    """A fit without any estimate."""
    weights = np.full(len(effects.included), NAN)
    weights.setflags(write=False)
    return Fit(
        measure=effects.measure,
        options=effects.options,
        level=spec.level,
        prediction=spec.prediction,
        k=effects.included.count(True),
        k_total=len(effects.included),
        n_total=math.fsum(effects.ni[effects.pooled].tolist()),
        estimates=(),
        heterogeneity=(),
        weights=weights,
        notes=tuple(notes),
    )


def unpooled(effects: EffectSizes, model: ModelSpec, why: str) -> Fit:
    """A fit without estimates, for an analysis that lists its studies and pools nothing."""
    check(effects.measure, model)
    return _fit(effects, model, [f"not pooled: {why}"])


def _asked(effects: EffectSizes, spec: ModelSpec) -> Rows:
    """The rows of one model; one row that says why where it is not estimable."""
    try:
        return FAMILIES[spec.family](effects, spec)
    except (NotEstimable, OverflowError) as error:
        return Rows(estimates=(_without(effects, spec, f"not estimable: {error}"),))


def _without(effects: EffectSizes, spec: ModelSpec, why: str) -> Estimate:
    """The row of a model that cannot be estimated."""
    return Estimate(
        model=spec.effects,
        method=spec.family if spec.family != "IV" else spec.method,
        test=spec.test,
        k=effects.included.count(True),
        estimate=NAN,
        se=NAN,
        ci_low=NAN,
        ci_high=NAN,
        pi_low=NAN,
        pi_high=NAN,
        statistic=NAN,
        df=NAN,
        p=NAN,
        tau2=NAN,
        notes=(why,),
    )


def _automatic(effects: EffectSizes, spec: ModelSpec, k: int) -> list[ModelSpec]:
    """Models that are shown without being asked for."""
    shown = []
    if effects.measure in ("OR", "RR", "RD", "IRR", "IRD"):
        shown.append(replace(spec, family="MH", test="z", effects="common"))
    if k < FEW_FOR_BAYES and effects.measure in PRIOR_MEASURES:
        shown.append(replace(spec, family="BAYES", prior=DEFAULT_PRIOR, effects="random"))
    return [other for other in shown if other.family != spec.family]


def pool(
    effects: EffectSizes,
    model: ModelSpec,
    also: Sequence[ModelSpec] = (),
    *,
    intervals: Sequence[str] = (),
    thresholds: Sequence[float] = (),
) -> Fit:
    """Pool the included rows of `effects` by every model, and say which is the headline.

    Everything is on the analysis scale. The inverse-variance table is always there (see
    `inverse_variance`); then come the row of `model` if it is of another family, those of
    `also`, and what is shown without being asked for: Mantel-Haenszel for counts of two groups,
    and a Bayesian answer below k = 5 for measures whose unit its prior knows.

    Test statistics are against the measure's null value, and nan for measures without one
    (proportions). The headline is the row of `model`; there is none for k = 0 and k = 1, where
    nothing is pooled. Its notes hold every caveat; those in the notes of the fit, which are
    about the analysis as a whole, are among them.

    Parameters
    ----------
    intervals : of tau2, keys of `menus.INTERVALS`.
    thresholds : on the display scale.

    `n_total` counts the pooled rows and is nan where one of them has no known size.

    Raises
    ------
    ValueError
        An included row without finite effect or positive finite variance; an impossible model.
    KeyError
        Unknown measure.
    """
    for spec in (model, *also):
        check(effects.measure, spec)
    k = effects.included.count(True)
    notes = _analysis_notes(effects, model)
    empty = _fit(effects, model, notes)
    if k == 0:
        return replace(empty, notes=(_why_none(effects), *notes))
    if k == 1:
        alone = "k = 1: the study itself, nothing is pooled"
        return replace(empty, notes=(alone, *notes))
    try:
        table = inverse_variance(effects, replace(model, family="IV"))
    except OverflowError as error:
        return replace(empty, notes=(f"not estimable: {error}", *notes))

    main = table if model.family == "IV" else _asked(effects, model)
    others = [_asked(effects, spec) for spec in (*also, *_automatic(effects, model, k))]
    chosen = main.estimates[main.chosen]
    chosen = replace(
        chosen,
        headline=True,
        notes=tuple(
            dict.fromkeys(
                (*chosen.notes, *_impossible(chosen, measure_of(effects)), *main.notes, *notes)
            )
        ),
    )
    naive = _independent(effects) if model.family in DEPENDENT else []
    beside = [replace(row, notes=(*naive, *row.notes)) for row in table.estimates]
    estimates = [*table.estimates] if main is table else [*main.estimates, *beside]
    estimates[main.chosen] = chosen
    known = {_key(row) for row in estimates}
    for row in (row for rows in others for row in rows.estimates):
        if _key(row) not in known:
            estimates.append(row)
            known.add(_key(row))
    heterogeneity = (*main.heterogeneity, *(() if main is table else table.heterogeneity))
    weights = empty.weights if main.weights is None else main.weights
    weights.setflags(write=False)
    return replace(
        empty,
        prediction=chosen.prediction,
        estimates=tuple(estimates),
        heterogeneity=heterogeneity,
        weights=weights,
        intervals=_intervals(effects, model, intervals),
        components=tuple(c for rows in (main, *others) for c in rows.components),
        shrunk=(
            *_shrunk(effects, chosen, model),
            *(s for r in (main, *others) for s in r.shrunk),
        ),
        beyond=_beyond(effects, main, thresholds, model.level),
    )


def _key(row: Estimate) -> tuple[object, ...]:
    """What tells the rows of an analysis apart; rows that say the same are the same row."""
    # As text, because nan is not equal to itself.
    numbers = (row.tau2, row.estimate, row.ci_low, row.ci_high, row.pi_low, row.pi_high)
    names = (row.model, row.method, row.test, row.subgroup, row.prediction)
    return (*names, *map(repr, numbers))


def _intervals(
    effects: EffectSizes, spec: ModelSpec, kinds: Sequence[str]
) -> tuple[Tau2Interval, ...]:
    yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
    return tau2_intervals(yi, vi, level=spec.level, kinds=tuple(kinds)) if kinds else ()


def _shrunk(effects: EffectSizes, chosen: Estimate, spec: ModelSpec) -> tuple[Shrunk, ...]:
    """Best linear unbiased predictions under an inverse-variance headline."""
    if spec.family != "IV" or chosen.model != "random" or not math.isfinite(chosen.se):
        return ()
    used = effects.pooled
    yi, vi = effects.yi[used], effects.vi[used]
    # Raudenbush & Bryk (1985): the own effect and the mean, weighted by tau2 and vi; the
    # variance holds the uncertainty of the mean, by the test of the headline.
    share, rest = chosen.tau2 / (chosen.tau2 + vi), vi / (chosen.tau2 + vi)
    estimate = share * yi + rest * chosen.estimate
    se = np.sqrt(share * vi + (rest * chosen.se) ** 2)
    half = quantile(spec.level, chosen.df) * se
    return tuple(
        Shrunk(row, chosen.method, *map(float, values))
        for row, *values in zip(
            np.flatnonzero(used).tolist(),
            estimate,
            se,
            estimate - half,
            estimate + half,
            strict=True,
        )
    )


def _beyond(
    effects: EffectSizes, rows: Rows, thresholds: Sequence[float], level: float
) -> tuple[Beyond, ...]:
    """Probabilities beyond thresholds of the display scale, on both sides."""
    measure, chosen = measure_of(effects), rows.estimates[rows.chosen]
    tau2_se = rows.heterogeneity[0].tau2_se if rows.heterogeneity else NAN
    found = []
    for threshold in thresholds:
        for side in ("above", "below"):
            value = measure.forward(threshold)
            share = beyond(
                estimate=chosen.estimate,
                tau2=chosen.tau2,
                threshold=value,
                side=side,
                level=level,
                se=chosen.se,
                se_tau2=tau2_se,
            )
            new = beyond_new(
                estimate=chosen.estimate,
                se=chosen.se,
                tau2=chosen.tau2,
                df=chosen.df,
                threshold=value,
                side=side,
            )
            found += [
                Beyond(threshold, side, method, p.probability, p.low, p.high, p.notes)
                for method, p in (
                    ("share of true effects", share),
                    ("next study", new),
                )
            ]
    return tuple(found)


def display(estimate: Estimate, measure: Measure | str) -> Estimate:
    """The estimate with its intervals on the display scale of `measure`.

    The standard error is nan, there being none on that scale; statistic, degrees of freedom, p
    and tau2 stay those of the analysis scale. A measure given by its key has its default
    options; KeyError for an unknown one.
    """
    scale = MEASURES[measure] if isinstance(measure, str) else measure
    ci_low, ci_high = scale.shown(estimate.ci_low, estimate.ci_high)
    pi_low, pi_high = scale.shown(estimate.pi_low, estimate.pi_high)
    return replace(
        estimate,
        estimate=scale.back(estimate.estimate),
        se=NAN,
        ci_low=ci_low,
        ci_high=ci_high,
        pi_low=pi_low,
        pi_high=pi_high,
    )
