"""Pooling: every model of one analysis, and which of them is the headline."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evisynth.families import DEPENDENT, EXACT, FAMILIES, NotEstimable, rows_for
from evisynth.heterogeneity import tau2_intervals
from evisynth.inference import quantile
from evisynth.inverse_variance import (
    BASIC_TESTS,
    NAGASHIMA,
    POPULATION,
    PREDICTION,
    inverse_variance,
)
from evisynth.measures import MEASURES, Measure, corrections, measure_of
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
# Measures for which Mantel-Haenszel is shown without being asked for.
COUNTED = frozenset({"OR", "RR", "RD", "IRR", "IRD"})


def _named(effects: EffectSizes, rows: Sequence[int]) -> str:
    """Labels of rows."""
    return "; ".join(effects.label[row] or effects.study[row] for row in rows)


def _analysis_notes(effects: EffectSizes, spec: ModelSpec) -> list[str]:
    """What holds for all models of the analysis, and of the headline's rows."""
    notes = []
    left_out = [row for row, used in enumerate(effects.included) if not used]
    if 0 < len(left_out) < len(effects.label):
        rows = f"{len(left_out)} of {len(effects.label)} rows"
        notes.append(f"shown but left out of the pooling, {rows}: {_named(effects, left_out)}")
    notes += _several_effects(effects, spec)
    notes += _rare_events(effects, spec)
    if corrected := corrections(effects):
        noun = "study" if corrected == 1 else "studies"
        where = ""
        if spec.family in EXACT:
            where = f": in effect sizes and inverse variance, not in family {spec.family}"
        notes.append(f"continuity correction in {corrected} {noun}{where}")
    if spec.level != 0.95:
        notes.append(f"intervals at {100 * spec.level:g}%")
    return notes


def _independent(effects: EffectSizes) -> str:
    """What is said where rows of one cluster are pooled as if they were not; else empty."""
    used = [c for c, pooled in zip(effects.cluster, effects.included, strict=True) if pooled]
    if len(set(used)) == len(used):
        return ""
    return f"{len(used)} rows of {len(set(used))} clusters (studies) are pooled as independent"


def _several_effects(effects: EffectSizes, spec: ModelSpec) -> list[str]:
    """What n counts where a model knows that rows of one cluster belong together."""
    known = spec.family in DEPENDENT and bool(_independent(effects))
    if not known or math.isnan(float(effects.ni[effects.pooled].sum())):
        return []
    return ["n is the sum over rows: patients with several effects count several times"]


def _as_independent(rows: Sequence[Estimate], independent: str) -> list[Estimate]:
    """The rows, of which those that know no clusters say so."""
    return [
        row
        if row.model in ("multilevel", "rve") or not independent
        else replace(row, notes=(independent, *row.notes))
        for row in rows
    ]


def _rare_events(effects: EffectSizes, spec: ModelSpec) -> list[str]:
    """What pooled counts without any event, or with events only, mean."""
    raw = {name: values[effects.pooled] for name, values in effects.raw.items()}
    groups = next(
        (g for g in (("xi",), ("ai", "ci"), ("x1i", "x2i")) if raw.keys() >= set(g)), ()
    )
    if not groups or not effects.pooled.any():
        return []
    stands = ""
    if spec.family not in EXACT and corrections(effects):
        stands = ": the estimate stands on the continuity correction"
    if not any(raw[name].any() for name in groups):
        return [f"no events in any study{stands}"]
    if "xi" in raw and "ni" in raw and (raw["xi"] == raw["ni"]).all():
        return [f"events only in every study{stands}"]
    if len(groups) == 1 or spec.family in EXACT or measure_of(effects).axis != "log":
        return []
    empty = int(((raw[groups[0]] == 0) & (raw[groups[1]] == 0)).sum())
    if not empty:
        return []
    return [
        f"{empty} pooled without events in both groups, where a ratio knows nothing: "
        "see zero_cells.drop00"
    ]


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
    used = rows_for(effects, spec.family)
    k = used.included.count(True)
    if k < 2:
        why = "the study itself, nothing is pooled" if k else "no row that it can use"
        return Rows(estimates=(_without(used, spec, f"not estimable, k = {k}: {why}"),))
    try:
        rows = FAMILIES[spec.family](used, spec)
    except (NotEstimable, OverflowError) as error:
        return Rows(estimates=(_without(used, spec, f"not estimable: {error}"),))
    entered = _entered(effects, used)
    if not entered:
        return rows
    noun = "row enters" if len(entered) == 1 else "rows enter"
    note = (
        f"{len(entered)} {noun} by counts, though without an effect size for inverse variance: "
        f"{_named(effects, entered)}"
    )
    named = tuple(replace(row, notes=(note, *row.notes)) for row in rows.estimates)
    return replace(rows, estimates=named)


def _entered(effects: EffectSizes, used: EffectSizes) -> tuple[int, ...]:
    """Rows that a family uses although inverse variance cannot."""
    both = zip(effects.included, used.included, strict=True)
    return tuple(row for row, (before, now) in enumerate(both) if now and not before)


def _without(effects: EffectSizes, spec: ModelSpec, why: str) -> Estimate:
    """The row of a model that cannot be estimated."""
    model, method, test = _names(spec)
    return Estimate(
        model=model,
        method=method,
        test=test,
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


def _names(spec: ModelSpec) -> tuple[str, str, str]:
    """Model, method and test of the row of a model, as far as its specification tells."""
    test = "z" if spec.test == "z" else "t"
    robust = spec.dependence.robust
    return {
        "IV": (spec.effects, spec.method if spec.effects == "random" else "IV", spec.test),
        "MH": ("common", "MH", "z"),
        "MHDL": (spec.effects, "MHDL", spec.test),
        "PETO": ("common", "PETO", "z"),
        "PLR": ("common", "PLR", "z"),
        "BB": ("random", "BB", "z"),
        "GLMM": (spec.effects, spec.glmm, test),
        "MV": ("multilevel", spec.method, test if robust == "none" else robust),
        "RVE": ("rve", spec.modelweights, "t"),
        "BAYES": ("bayes", spec.prior, "posterior"),
    }[spec.family]


def _automatic(effects: EffectSizes, spec: ModelSpec) -> list[ModelSpec]:
    """Models that are shown without being asked for; they take rows as independent."""
    if spec.family in DEPENDENT and _independent(effects):
        return []
    shown = []
    if effects.measure in COUNTED and rows_for(effects, "MH").included.count(True) > 1:
        shown.append(replace(spec, family="MH", test="z", effects="common"))
    if 1 < effects.included.count(True) < FEW_FOR_BAYES and effects.measure in PRIOR_MEASURES:
        shown.append(replace(spec, family="BAYES", prior=DEFAULT_PRIOR, effects="random"))
    return [other for other in shown if other.family != spec.family]


def _table(effects: EffectSizes, spec: ModelSpec) -> tuple[Rows | None, str]:
    """The rows of inverse variance; or none, and why."""
    k = effects.included.count(True)
    if k < 2:
        return None, f"no inverse-variance models: k = {k} with an effect size and a variance"
    try:
        if spec.family != "IV":  # a test of another family's may not go with its method
            test = spec.test if spec.test in BASIC_TESTS else "knha"
            spec = replace(spec, family="IV", test=test)
        return inverse_variance(effects, spec), ""
    except OverflowError as error:
        return None, f"not estimable: {error}"


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
    `inverse_variance`) where two rows have an effect size; then come the row of `model` if it
    is of another family, those of `also`, and what is shown without being asked for:
    Mantel-Haenszel for counts of two groups, and a Bayesian answer below k = 5 for measures
    whose unit its prior knows. Families of counts take further rows (see `families.rows_for`):
    `k`, `n_total` and `entered` are those of the family of `model`.

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
    used = rows_for(effects, model.family)
    notes = _analysis_notes(used, model)
    empty = replace(_fit(used, model, notes), entered=_entered(effects, used))
    table, why = _table(effects, model)
    others = [_asked(effects, spec) for spec in (*also, *_automatic(effects, model))]
    if empty.k < 2 or (model.family == "IV" and table is None):
        if empty.k == 0:
            why = _why_none(used)
        elif empty.k == 1:
            why = "k = 1: the study itself, nothing is pooled"
        # Families that take rows which the headline's cannot, or numbers too far apart for it.
        rows = _distinct([*([] if table is None else table.estimates), *_pooled(others)])
        rows = tuple(_as_independent(rows, _independent(used)))
        return replace(
            empty,
            notes=(why, *notes),
            estimates=rows,
            heterogeneity=() if table is None else table.heterogeneity,
        )

    main = table if model.family == "IV" and table else _asked(effects, model)
    chosen = main.estimates[main.chosen]
    why_own = [*_impossible(chosen, measure_of(effects)), *_boundary(model, main, table)]
    if chosen.k == 2 and POPULATION not in chosen.notes:
        why_own.append(POPULATION)
    chosen = replace(
        chosen,
        headline=True,
        notes=tuple(dict.fromkeys((*chosen.notes, *why_own, *main.notes, *notes))),
    )
    estimates = list(main.estimates)
    estimates[main.chosen] = chosen
    further = [] if table is None or main is table else [*table.estimates]
    further += [row for rows in others for row in rows.estimates]
    independent = _independent(used)
    estimates, further = (_as_independent(part, independent) for part in (estimates, further))
    heterogeneity = main.heterogeneity
    if table is not None and main is not table:
        heterogeneity = (*heterogeneity, *table.heterogeneity)
    known = {entry.method for entry in heterogeneity}
    heterogeneity += tuple(
        entry for rows in others for entry in rows.heterogeneity if entry.method not in known
    )
    weights = empty.weights if main.weights is None else main.weights
    weights.setflags(write=False)
    return replace(
        empty,
        notes=(*notes, why) if why else tuple(notes),
        prediction=chosen.prediction,
        estimates=_distinct([*estimates, *further]),
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


def _boundary(model: ModelSpec, main: Rows, table: Rows | None) -> list[str]:
    """Whether a model of the counts sees no variance where the effects show some."""
    if model.family != "GLMM" or model.effects == "common" or table is None:
        return []
    reml = next(entry.tau2 for entry in table.heterogeneity if entry.method == "REML")
    if main.heterogeneity[0].tau2 > 0 or not reml > 0:
        return []
    return [
        f"tau2 is 0 by maximum likelihood of the counts and {reml:.3g} by REML of the effect "
        "sizes: see the rows REML in pooled.csv"
    ]


def _pooled(others: Sequence[Rows]) -> list[Estimate]:
    """Rows that pool something."""
    return [row for rows in others for row in rows.estimates if row.k > 1]


def _distinct(rows: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """The rows, each once: the first of those that differ in their notes only."""
    known: dict[str, Estimate] = {}
    for row in rows:
        known.setdefault(repr(replace(row, headline=False, notes=())), row)
    return tuple(known.values())


def _intervals(
    effects: EffectSizes, spec: ModelSpec, kinds: Sequence[str]
) -> tuple[Tau2Interval, ...]:
    yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
    if not kinds or yi.size < 2:
        return ()
    try:
        return tau2_intervals(yi, vi, level=spec.level, kinds=tuple(kinds))
    except OverflowError as error:
        why = (f"not estimable: {error}",)
        return tuple(Tau2Interval(kind, NAN, NAN, why) for kind in kinds)


def _shrunk(effects: EffectSizes, chosen: Estimate, spec: ModelSpec) -> tuple[Shrunk, ...]:
    """Best linear unbiased predictions under an inverse-variance headline."""
    # Henmi and Copas' estimate is not the mean that the predictions shrink to.
    weighted = chosen.model == "random" and chosen.test != "hc"
    if spec.family != "IV" or not weighted or not math.isfinite(chosen.se):
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


SHARE, NEXT = "share of true effects", "next study"


def _beyond(
    effects: EffectSizes, rows: Rows, thresholds: Sequence[float], level: float
) -> tuple[Beyond, ...]:
    """Probabilities beyond thresholds of the display scale, on both sides."""
    measure = measure_of(effects)
    return tuple(
        entry
        for threshold in thresholds
        for side in ("above", "below")
        for entry in _beyond_one(rows, measure, threshold, side, level)
    )


def _beyond_one(
    rows: Rows, measure: Measure, threshold: float, side: str, level: float
) -> tuple[Beyond, Beyond]:
    """Share of the true effects, and probability for the next study, beyond one threshold."""
    from evisynth.models.prediction import beyond

    chosen, value = rows.estimates[rows.chosen], measure.forward(threshold)

    def both(probability: float, *notes: str) -> tuple[Beyond, Beyond]:
        return (
            Beyond(threshold, side, SHARE, probability, NAN, NAN, notes),
            Beyond(threshold, side, NEXT, probability, NAN, NAN, notes),
        )

    if math.isnan(value):
        return both(NAN, f"{threshold:g} is not on the scale of the {measure.label}")
    if not math.isfinite(chosen.estimate):
        return both(NAN, "not estimable: there is no finite estimate")
    if chosen.model == "common":
        return both(NAN, "a common effect: there is no distribution of true effects")
    # Above on the display scale is below on an analysis scale that runs against it.
    upwards = (side == "above") != measure.falling
    if math.isinf(value):
        return both(float((value < 0) == upwards), f"{threshold:g} is an end of the scale")
    if rows.below is not None:
        below = min(1.0, max(0.0, rows.below(value)))
        probability = 1 - below if upwards else below
        one, two = both(probability)
        return replace(one, notes=("mean of its posterior distribution",)), two
    direction = "above" if upwards else "below"
    spread = rows.heterogeneity[0].tau2_se if rows.heterogeneity else NAN
    share = beyond(
        estimate=chosen.estimate,
        tau2=chosen.tau2,
        threshold=value,
        side=direction,
        level=level,
        se=chosen.se,
        se_tau2=spread,
    )
    found = Beyond(
        threshold, side, SHARE, share.probability, share.low, share.high, share.notes
    )
    return found, _next_study(chosen, threshold, value, side, direction, level)


def _next_study(
    chosen: Estimate, threshold: float, value: float, side: str, direction: str, level: float
) -> Beyond:
    """From the distribution whose quantiles are the prediction interval of the row."""
    half = (chosen.pi_high - chosen.pi_low) / 2
    df = chosen.df
    if flavour := PREDICTION.get(chosen.prediction):
        df = NAN if flavour.spent is None else float(chosen.k - flavour.spent)
    if chosen.model == "multilevel":
        df = chosen.df
    why = ""
    if math.isnan(half):
        why = "not estimable: there is no prediction interval"
    elif chosen.prediction in NAGASHIMA:
        why = f"not estimable: {chosen.prediction} gives an interval only"
    if why:
        return Beyond(threshold, side, NEXT, NAN, NAN, NAN, (why,))
    from evisynth.models.prediction import beyond_new

    new = beyond_new(
        estimate=chosen.estimate,
        se=half / quantile(level, df),
        tau2=0.0,
        df=df,
        threshold=value,
        side=direction,
    )
    return Beyond(threshold, side, NEXT, new.probability, NAN, NAN, new.notes)


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
