"""Inverse variance: every tau2 estimator and test, and the rules for few studies."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evisynth.heterogeneity import FEW, heterogeneity
from evisynth.inference import quantile, wald
from evisynth.linear import Mean, Problem, problem, total, weighted_mean
from evisynth.measures import measure_of
from evisynth.models.floor import knapp_hartung
from evisynth.records import EffectSizes, Estimate, Floats, Rows
from evisynth.specification import FIXED, ModelSpec
from evisynth.tau2 import DEFAULT_TAU2, WEIGHTED, Tau2, estimate

NAN = math.nan
# Fewest studies with a prediction interval: HTS and HK-PR spend two degrees of freedom.
FEWEST_FOR_PREDICTION = 3
POPULATION = "two studies: not a summary of a population of studies"
BASIC_TESTS = ("z", "knha", "adhoc")
NAGASHIMA = ("NNF", "NNF-boot")


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


def prediction_half_width(
    flavour: str, level: float, k: int, *, wald_se: float, own_se: float, tau2: float
) -> float:
    """Half-width of a prediction interval of `menus.PREDICTION`; nan where there is none.

    Parameters
    ----------
    wald_se, own_se : standard error without and with the adjustment of the test of the row.
    """
    if k < FEWEST_FOR_PREDICTION or flavour in NAGASHIMA:
        return NAN
    chosen = PREDICTION[flavour]
    df = NAN if chosen.spent is None else k - chosen.spent
    se = own_se if chosen.own else wald_se
    return quantile(level, df) * math.hypot(se, math.sqrt(tau2))


@dataclass(frozen=True, slots=True)
class _Data:
    """The pooled rows, and what is asked of them."""

    yi: Floats
    vi: Floats
    problem: Problem
    null: float | None
    spec: ModelSpec


def _basic(data: _Data, mean: Mean, method: str, test: str, tau2: Tau2) -> Estimate:
    """One row: the mean with one of the basic tests."""
    random, spec, k = method != "IV", data.spec, data.problem.k
    factor = {"z": 1.0, "knha": mean.s2w, "adhoc": max(1.0, mean.s2w)}[test]
    notes = tau2.notes
    se = mean.se * math.sqrt(factor)
    if se == 0:
        se = NAN
        notes = (*notes, "not estimable: residuals are all zero")
    half = NAN
    if random:
        half = prediction_half_width(
            spec.prediction, spec.level, k, wald_se=mean.se, own_se=se, tau2=tau2.value
        )
    row = wald(
        model="random" if random else "common",
        method=method,
        test=test,
        k=k,
        estimate=mean.estimate,
        se=se,
        level=spec.level,
        df=NAN if test == "z" else k - 1.0,
        null=data.null,
        tau2=tau2.value if random else NAN,
        pi_half=half,
        notes=notes,
    )
    return replace(row, prediction=spec.prediction) if random else row


def _other(data: _Data, mean: Mean, tau2: Tau2) -> Estimate:
    """The row of a test that is shown only where it is asked for."""
    spec = data.spec
    common: dict[str, Any] = {"level": spec.level, "null": data.null}
    # Imported where they are used: what they need from scipy costs a tenth of a second.
    from evisynth.models.intervals import FLOORED, OTHERS

    if spec.test in FLOORED:
        test = FLOORED[spec.test]
        row = test(data.yi, data.vi, tau2, method=spec.method, **common)
    else:
        row = OTHERS[spec.test](data.yi, data.vi, **common)
    if spec.test == "kr" or row.model == "common":
        return replace(row, prediction="KR" if spec.test == "kr" else "")
    own = row.se
    if spec.test == "hc":  # whose quantile is no one of t: never narrower than its interval
        own = (row.ci_high - row.ci_low) / 2 / quantile(spec.level, NAN)
    half = prediction_half_width(
        spec.prediction,
        spec.level,
        row.k,
        wald_se=mean.se,
        own_se=own,
        tau2=row.tau2,
    )
    # Around the row's own estimate: that of Henmi and Copas is not the random-effects mean.
    return replace(
        row,
        pi_low=row.estimate - half,
        pi_high=row.estimate + half,
        prediction=spec.prediction,
    )


def _bootstrapped(data: _Data, row: Estimate) -> Estimate:
    """The row with Nagashima's prediction interval."""
    spec = data.spec
    from evisynth.models.prediction import nagashima

    found = nagashima(
        data.yi,
        data.vi,
        level=spec.level,
        seed=spec.seed if spec.prediction == "NNF-boot" else None,
        replicates=spec.replicates,
    )
    notes = (*row.notes, *found.notes)
    if found.seed is not None and not math.isnan(found.low):
        notes = (
            *notes,
            f"{found.replicates} bootstrap samples (seed {found.seed}); Monte Carlo standard "
            f"error of the ends {found.error_low:.2g} and {found.error_high:.2g} on the "
            "analysis scale",
        )
    if not math.isnan(found.low) and not found.low <= row.estimate <= found.high:
        notes = (
            *notes,
            "the estimate lies outside of the prediction interval, which is about the means "
            "that go with all likely values of tau2",
        )
    return replace(
        row, pi_low=found.low, pi_high=found.high, prediction=spec.prediction, notes=notes
    )


def _random_headline(
    rows: Mapping[str, Estimate], s2w: float, spec: ModelSpec
) -> tuple[str, list[str]]:
    """The test of the headline of a random-effects model, and the notes that it takes."""
    k = rows["z"].k
    if spec.test == "uwls" and k > 2:
        return spec.test, []  # no tau2, and no prediction interval
    test, notes = spec.test, list(few_studies(k, rows["z"].tau2))
    if spec.prediction in NAGASHIMA and k > 2:
        notes = list(few_studies(k, 1.0))  # its spread does not stand on the estimate of tau2
    if k == 2:
        if test != "z":
            notes.append(f"{NOT_FOR_TWO[test]} is not used as headline: z instead")
        return "z", notes
    if test == "knha":
        # Residuals that are all zero leave no interval, however small s2w is beside 0.
        factor = 0.0 if math.isnan(rows["knha"].se) else s2w
        test, why = knapp_hartung(
            s2w=factor,
            tau2=rows["z"].tau2,
            k=k,
            df=k - 1,
            level=spec.level,
            se=rows["z"].se,
            floor=spec.floor,
        )
        notes = [*why, *notes]
    return test, notes


def few_studies(k: int, tau2: float) -> tuple[str, ...]:
    """What a reader has to know of a random-effects model of `k` studies, k > 1."""
    if k == 2:
        return (
            "k = 2: two studies cannot tell the variance between studies",
            POPULATION,
            f"no prediction interval below {FEWEST_FOR_PREDICTION} studies",
        )
    notes: tuple[str, ...] = ()
    if tau2 == 0:
        notes = ("the prediction interval shows no spread between studies: tau2 is 0",)
    if k < FEW:
        notes = (*notes, f"prediction interval unstable below {FEW} studies")
    return notes


NOT_FOR_TWO = {
    "knha": "Knapp-Hartung (t with 1 df)",
    "adhoc": "Knapp-Hartung (t with 1 df)",
    "t": "t with 1 df",
    "hybrid_wald": "Knapp-Hartung (t with 1 df)",
    "hybrid_common": "Knapp-Hartung (t with 1 df)",
    "iqwig6": "Knapp-Hartung (t with 1 df)",
    "kr": "Kenward-Roger",
    "hc": "Henmi-Copas",
    "uwls": "the multiplicative model (t with 1 df)",
}


GENQ: dict[str, Callable[[Floats], Floats]] = {
    "inverse_variance": lambda vi: 1 / vi,
    "inverse_se": lambda vi: 1 / np.sqrt(vi),
    "equal": np.ones_like,
}
"""Weights of the generalised Q estimators, from variances (k,)."""


def tau2_of(method: str, yi: Floats, vi: Floats, spec: ModelSpec) -> Tau2:
    """Tau2 of effects and variances (k,) by `method`, with the options of `spec`."""
    if method == FIXED:
        return estimate(method, yi, vi, tau2=spec.tau2)
    weights = GENQ[spec.weights](vi) if method in WEIGHTED else None
    return estimate(method, yi, vi, weights=weights)


def inverse_variance(effects: EffectSizes, spec: ModelSpec) -> Rows:
    """Every row of the inverse-variance models for the pooled rows of `effects`, k > 1.

    One row is the common effect (z); then come the default tau2 estimators and the chosen one,
    each with three tests: z (Wald), knha (Knapp & Hartung 2003, doi:10.1002/sim.1482: t with k
    - 1 degrees of freedom, variance times s2w, the weighted mean square of the residuals) and
    adhoc (times max(1, s2w); Röver et al. 2015, doi:10.1186/s12874-015-0091-1). A further test
    gives a row for the chosen estimator.

    The headline is the chosen estimator and test, but for k = 2 with test z, and for
    Knapp-Hartung (unless `floor` is off) with its floored version where s2w is below 1 and tau2
    is 0, the interval narrower than Wald's, or k below 5.

    Raises
    ------
    ValueError
        An included row without finite effect or positive finite variance.
    OverflowError
        Effects or variances too far apart.
    """
    yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
    data = _Data(yi, vi, problem(yi, vi), measure_of(effects).null, spec)
    methods = dict.fromkeys([spec.method, *DEFAULT_TAU2])
    tau2s = {method: tau2_of(method, yi, vi, spec) for method in methods}
    rows = {("IV", "z"): _basic(data, weighted_mean(data.problem, 0.0), "IV", "z", Tau2(0.0))}
    means = {method: weighted_mean(data.problem, tau2s[method].value) for method in methods}
    for method in [*DEFAULT_TAU2, *(m for m in methods if m not in DEFAULT_TAU2)]:
        for test in BASIC_TESTS:
            rows[method, test] = _basic(data, means[method], method, test, tau2s[method])
    if spec.test not in BASIC_TESTS:
        rows[spec.method, spec.test] = _other(data, means[spec.method], tau2s[spec.method])

    spread = heterogeneity(yi, vi, tau2s, spec.level)
    if spec.effects == "common":
        chosen, why = ("IV", "z"), [POPULATION] if yi.size == 2 else []
    else:
        tests = {test: rows[spec.method, test] for test in BASIC_TESTS}
        test, why = _random_headline(tests, means[spec.method].s2w, spec)
        chosen = (spec.method, test)
        if spec.prediction in NAGASHIMA and rows[chosen].model == "random":
            rows[chosen] = _bootstrapped(data, rows[chosen])
        if rows[chosen].model == "random":
            why += [note for note in spread[0].notes if note not in rows[chosen].notes]
            why += _disagreement(tau2s, spec.method)
    rows[chosen] = replace(rows[chosen], notes=(*why, *rows[chosen].notes))
    # The multiplicative model and Henmi and Copas' weigh as for a common effect.
    unweighted = spec.effects == "common" or chosen[1] in ("hc", "uwls")
    tau2 = 0.0 if unweighted else rows[chosen].tau2
    return Rows(
        estimates=tuple(rows.values()),
        chosen=list(rows).index(chosen),
        heterogeneity=spread,
        weights=_weights(effects, data.problem, tau2),
    )


def _disagreement(tau2s: Mapping[str, Tau2], method: str) -> list[str]:
    """Whether some estimators see no variance between studies where others do."""
    none = [key for key, estimate in tau2s.items() if estimate.value == 0]
    if method == FIXED or not none or len(none) == len(tau2s):
        return []
    some = [f"{key} {found.value:.3g}" for key, found in tau2s.items() if found.value > 0]
    return [f"estimators of tau2 disagree: 0 by {', '.join(none)}; {', '.join(some)}"]


def _weights(effects: EffectSizes, data: Problem, tau2: float) -> Floats:
    """Per cent, one per row; nan where a row is not pooled."""
    # In the unit of the data's own scale, so that neither tiny nor huge variances overflow.
    vi = effects.vi[effects.pooled]
    wi = 1 / (np.ldexp(vi, -2 * data.exponent) + math.ldexp(tau2, -2 * data.exponent))
    weights = np.full(len(effects.included), NAN)
    weights[effects.pooled] = 100 * (wi / total(wi))
    return weights
