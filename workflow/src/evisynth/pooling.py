"""Pooling: every model of one analysis, and which of them is the headline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evisynth.heterogeneity import FEW, heterogeneity
from evisynth.inference import quantile, wald
from evisynth.measures import MEASURES, corrections
from evisynth.menus import TESTS
from evisynth.records import EffectSizes, Estimate, Fit, Floats, Heterogeneity
from evisynth.tau2 import (
    TAU2,
    Sample,
    Tau2,
    estimates,
    generalised_q,
    sample,
    total,
    weighted_mean,
)

NAN = math.nan
# Fewest studies with a prediction interval: HTS and HK-PR spend two degrees of freedom.
FEWEST_FOR_PREDICTION = 3
POPULATION = "two studies: not a summary of a population of studies"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What is asked of the pooling of one analysis; keys as in `menus`.

    Attributes
    ----------
    effects : whether the headline assumes one common effect or a distribution of effects.
    method, test : estimator of tau2; interval and test of the mean.
    floor : replace a Knapp-Hartung headline that is narrower than Wald's, or stands on tau2 =
        0, by the floored one.
    prediction : flavour of the prediction intervals.
    level : of all intervals, as a fraction.
    """

    effects: Literal["random", "common"] = "random"
    method: str = "REML"
    test: str = "knha"
    floor: bool = True
    prediction: str = "HK"
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Flavour:
    """A prediction interval: `spent` of k degrees of freedom (None: normal quantile).

    `own` says whether it takes the standard error of the test of its row, or Wald's.
    """

    spent: int | None
    own: bool


PREDICTION: dict[str, Flavour] = {
    "normal": Flavour(spent=None, own=False),
    "V": Flavour(spent=1, own=False),
    "HTS": Flavour(spent=2, own=False),
    "HK": Flavour(spent=1, own=True),
    "HK-PR": Flavour(spent=2, own=True),
}


@dataclass(frozen=True, slots=True)
class _Mean:
    """A weighted mean: estimate, Wald's standard error, Knapp and Hartung's factor s2w."""

    estimate: float
    se: float
    s2w: float


def _mean(data: Sample, tau2: float) -> _Mean:
    scaled = math.ldexp(tau2, -2 * data.exponent)
    se = math.sqrt(1 / total(1 / (data.vi + scaled)))
    return _Mean(
        estimate=data.shift + math.ldexp(weighted_mean(data, scaled), data.exponent),
        se=math.ldexp(se, data.exponent),
        s2w=generalised_q(data, scaled) / (data.k - 1),
    )


def _prediction(mean: _Mean, se: float, tau2: float, k: int, spec: ModelSpec) -> float:
    """Half-width of the prediction interval; nan where there is none."""
    if k < FEWEST_FOR_PREDICTION:
        return NAN
    flavour = PREDICTION[spec.prediction]
    df = NAN if flavour.spent is None else k - flavour.spent
    own = se if flavour.own else mean.se
    return quantile(spec.level, df) * math.hypot(own, math.sqrt(tau2))


def _estimate(
    effects: EffectSizes,
    spec: ModelSpec,
    mean: _Mean,
    method: str,
    test: str,
    tau2: Tau2,
    k: int,
) -> Estimate:
    """One row: the mean with one of the tests."""
    random = method != "IV"
    factor = {"z": 1.0, "knha": mean.s2w, "adhoc": max(1.0, mean.s2w)}[test]
    df = NAN if test == "z" else k - 1.0
    notes = tau2.notes
    se = mean.se * math.sqrt(factor)
    if se == 0:
        se = NAN
        notes = (*notes, "not estimable: residuals are all zero")
    return wald(
        model="random" if random else "common",
        method=method,
        test=test,
        k=k,
        estimate=mean.estimate,
        se=se,
        level=spec.level,
        df=df,
        null=MEASURES[effects.measure].null,
        tau2=tau2.value if random else NAN,
        pi_half=_prediction(mean, se, tau2.value, k, spec) if random else NAN,
        notes=notes,
    )


def _rows(
    effects: EffectSizes, spec: ModelSpec, data: Sample, tau2s: Mapping[str, Tau2]
) -> tuple[dict[tuple[str, str], Estimate], dict[str, float]]:
    """All rows by method and test, and Knapp and Hartung's factor by method."""
    mean = _mean(data, 0.0)
    rows = {("IV", "z"): _estimate(effects, spec, mean, "IV", "z", Tau2(0.0), data.k)}
    s2w = {}
    for method in TAU2:
        mean = _mean(data, tau2s[method].value)
        s2w[method] = mean.s2w
        for test in TESTS:
            rows[method, test] = _estimate(
                effects, spec, mean, method, test, tau2s[method], data.k
            )
    return rows, s2w


def _floored(rows: dict[str, Estimate], s2w: float, spec: ModelSpec) -> tuple[str, list[str]]:
    """Which of the Knapp-Hartung tests is the headline, and why, for k > 2."""
    plain, knha, adhoc = (
        rows[test].ci_high - rows[test].ci_low for test in ("z", "knha", "adhoc")
    )
    if math.isnan(knha):
        return "adhoc", [
            "floored Knapp-Hartung interval (factor 1): the plain one is not estimable, "
            "residuals are all zero"
        ]
    if s2w >= 1:
        return "knha", []  # nothing to floor: the factor is at least 1 as it is
    few = f"fewer than {FEW} studies"
    widths = f"{knha:.6g} against {plain:.6g} on the analysis scale"
    reasons = []
    if rows["knha"].tau2 == 0:
        reasons.append("tau2 is 0")
    if knha < plain:
        reasons.append(f"the Knapp-Hartung interval is narrower than Wald's ({widths})")
    if not reasons and rows["knha"].k < FEW:
        reasons.append(few)
    if not reasons:
        return "knha", []
    why = " and ".join(reasons)
    if not spec.floor:
        return "knha", [f"Knapp-Hartung interval not floored, as configured, although {why}"]
    return "adhoc", [
        f"floored Knapp-Hartung interval (factor 1 instead of {s2w:.6g}, "
        f"width {adhoc:.6g}): {why}"
    ]


def _headline_test(
    rows: dict[str, Estimate], s2w: float, k: int, spec: ModelSpec
) -> tuple[str, list[str]]:
    """The test of the headline of a random-effects model, and the notes that it takes."""
    if k == 2:
        notes = ["k = 2: two studies cannot tell the variance between studies", POPULATION]
        if spec.test != "z":
            notes.append("Knapp-Hartung (t with 1 df) is not used as headline: z instead")
        return "z", [*notes, f"no prediction interval below {FEWEST_FOR_PREDICTION} studies"]
    test, notes = _floored(rows, s2w, spec) if spec.test == "knha" else (spec.test, [])
    if rows[test].tau2 == 0:
        notes.append("the prediction interval shows no spread between studies: tau2 is 0")
    if k < FEW:
        notes.append(f"prediction interval unstable below {FEW} studies")
    return test, notes


def _analysis_notes(effects: EffectSizes, spec: ModelSpec) -> list[str]:
    """What holds for all models of the analysis."""
    notes = []
    left_out = [
        label for label, used in zip(effects.label, effects.included, strict=True) if not used
    ]
    if 0 < len(left_out) < len(effects.label):
        rows = f"{len(left_out)} of {len(effects.label)} rows"
        notes.append(f"shown but left out of the pooling, {rows}: {'; '.join(left_out)}")
    used = [c for c, pooled in zip(effects.cluster, effects.included, strict=True) if pooled]
    if len(set(used)) < len(used):
        notes.append(
            f"{len(used)} rows of {len(set(used))} clusters (studies) are pooled as independent"
        )
    notes += _rare_events(effects)
    if corrected := corrections(effects):
        noun = "study" if corrected == 1 else "studies"
        notes.append(f"continuity correction in {corrected} {noun}")
    if spec.level != 0.95:
        notes.append(f"intervals at {100 * spec.level:g}%")
    return notes


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
    elif "ai" in raw and MEASURES[effects.measure].axis == "log":
        empty = int(((raw["ai"] == 0) & (raw["ci"] == 0)).sum())
        if empty:
            notes.append(
                f"{empty} pooled without events in both groups, where a ratio knows nothing: "
                "see zero_cells.drop00"
            )
    return notes


def _impossible(estimate: Estimate, measure: str) -> list[str]:
    """Whether intervals of a proportion leave the range of proportions."""
    if MEASURES[measure].axis != "proportion":
        return []
    shown = display(estimate, measure)
    ends = (shown.ci_low, shown.ci_high, shown.pi_low, shown.pi_high)
    if any(end < 0 or end > 1 for end in ends):
        return [f"an interval leaves 0 to 1, as {measure} allows: PLO and PAS do not"]
    return []


def _weights(effects: EffectSizes, yi: Floats, vi: Floats, tau2: float) -> Floats:
    """Per cent, one per row; nan where a row is not pooled."""
    # In the unit of the data's own scale, so that neither tiny nor huge variances overflow.
    exponent = sample(yi, vi).exponent
    wi = 1 / (np.ldexp(vi, -2 * exponent) + math.ldexp(tau2, -2 * exponent))
    weights = np.full(len(effects.included), NAN)
    weights[effects.pooled] = 100 * (wi / total(wi))
    return weights


def _why_none(effects: EffectSizes) -> str:
    """Why no study can be pooled: the reason of each."""
    reasons = [
        f"{label}: {reason.rstrip('.')}"
        for label, reason in zip(effects.label, effects.reason, strict=True)
    ]
    return "; ".join(["not estimable, because no study can be pooled", *reasons])


def _check(effects: EffectSizes, spec: ModelSpec) -> None:
    if not 0 < spec.level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {spec.level}")
    if spec.effects not in ("random", "common"):
        raise ValueError(f"effects must be random or common, not {spec.effects!r}")
    if spec.test not in TESTS:
        raise ValueError(f"test must be one of {', '.join(TESTS)}, not {spec.test!r}")
    if spec.method not in TAU2:
        raise ValueError(f"method must be one of {', '.join(TAU2)}, not {spec.method!r}")
    if spec.prediction not in PREDICTION:
        raise ValueError(
            f"prediction must be one of {', '.join(PREDICTION)}, not {spec.prediction!r}"
        )


def _fit(
    effects: EffectSizes,
    spec: ModelSpec,
    *,
    notes: Sequence[str],
    estimates: tuple[Estimate, ...] = (),
    heterogeneity: tuple[Heterogeneity, ...] = (),
    weights: Floats | None = None,
) -> Fit:
    if weights is None:
        weights = np.full(len(effects.included), NAN)
    weights.setflags(write=False)
    return Fit(
        measure=effects.measure,
        level=spec.level,
        prediction=spec.prediction,
        k=effects.included.count(True),
        k_total=len(effects.included),
        n_total=math.fsum(effects.ni[effects.pooled].tolist()),
        estimates=estimates,
        heterogeneity=heterogeneity,
        weights=weights,
        notes=tuple(notes),
    )


def unpooled(effects: EffectSizes, model: ModelSpec, why: str) -> Fit:
    """A fit without estimates, for an analysis that lists its studies and pools nothing."""
    _check(effects, model)
    return _fit(effects, model, notes=[f"not pooled: {why}"])


def pool(effects: EffectSizes, model: ModelSpec) -> Fit:
    """Pool the included rows of `effects` by every model, and say which is the headline.

    Everything is on the analysis scale. One row is the common effect (inverse variance, z);
    then come all tau2 estimators, each with three tests: z (Wald), knha (Knapp & Hartung 2003,
    doi:10.1002/sim.1482: t with k - 1 degrees of freedom, variance times s2w, the weighted mean
    square of the residuals) and adhoc (times max(1, s2w); Röver et al. 2015,
    doi:10.1186/s12874-015-0091-1).

    Prediction intervals are estimate -/+ quantile * sqrt(se^2 + tau2): ``normal``, ``V`` (t
    with k - 1 df) and ``HTS`` (k - 2 df; Higgins et al. 2009,
    doi:10.1111/j.1467-985X.2008.00552.x) with Wald's standard error whatever the test of the
    row; ``HK`` (k - 1) and ``HK-PR`` (k - 2; Partlett & Riley 2017, doi:10.1002/sim.7140) with
    the standard error of the row's own test, in rows with test z therefore Wald's. There is
    none below k = 3.

    Test statistics are against the measure's null value, and nan for measures without one
    (proportions). A Knapp-Hartung row whose residuals are all zero has its estimate only.

    Headline: none for k = 0 and k = 1, where nothing is pooled and no row is returned. With
    common effects the common effect. With random effects the configured estimator and test, but
    for k = 2 with test z, and for Knapp-Hartung (unless `floor` is off) with its floored
    version where tau2 is 0 or the interval is narrower than Wald's. Its notes hold every
    caveat; those in the notes of the fit, which are about the analysis as a whole, are among
    them.

    `n_total` counts the pooled rows and is nan where one of them has no known size.

    Raises
    ------
    ValueError
        An included row without finite effect or positive finite variance; an impossible model.
    KeyError
        Unknown measure.
    """
    _check(effects, model)
    yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
    k = yi.size
    notes = _analysis_notes(effects, model)
    if k == 0:
        return _fit(effects, model, notes=[_why_none(effects), *notes])
    if k == 1:
        alone = "k = 1: the study itself, nothing is pooled"
        return _fit(effects, model, notes=[alone, *notes])
    try:
        tau2s = estimates(yi, vi, first=model.method)
        spread = heterogeneity(yi, vi, tau2s, model.level)
        rows, s2w = _rows(effects, model, sample(yi, vi), tau2s)
    except OverflowError as error:
        return _fit(effects, model, notes=[f"not estimable: {error}", *notes])

    if model.effects == "common":
        chosen, why = ("IV", "z"), [POPULATION] if k == 2 else []
    else:
        tests = {test: rows[model.method, test] for test in TESTS}
        test, why = _headline_test(tests, s2w[model.method], k, model)
        chosen = (model.method, test)
        why += [note for note in spread[0].notes if note not in rows[chosen].notes]
    headline = rows[chosen]
    why += _impossible(headline, effects.measure)
    rows[chosen] = replace(headline, headline=True, notes=(*why, *headline.notes, *notes))
    tau2 = 0.0 if model.effects == "common" else headline.tau2
    return _fit(
        effects,
        model,
        notes=notes,
        estimates=tuple(rows.values()),
        heterogeneity=spread,
        weights=_weights(effects, yi, vi, tau2),
    )


def display(estimate: Estimate, measure: str) -> Estimate:
    """The estimate with its intervals on the display scale of `measure`.

    The standard error is nan, there being none on that scale; statistic, degrees of freedom, p
    and tau2 stay those of the analysis scale. Raises KeyError for an unknown measure.
    """
    scale = MEASURES[measure]
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
