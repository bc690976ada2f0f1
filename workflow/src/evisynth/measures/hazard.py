"""Hazard ratios, from whatever a report prints of them."""

import math
from dataclasses import replace

from scipy.special import ndtri

from evisynth.measures.base import Effect, Measure, Numbers, Options, none, squared
from evisynth.measures.intervals import centre_note, standard_error
from evisynth.measures.transformations import exponential, identity, logarithm

PAPERS = "Parmar et al. 1998; Tierney et al. 2007"
P_VALUES = {
    "two_sided_logrank": "two-sided log-rank p-value",
    "two_sided_cox": "two-sided Wald p-value of a Cox model",
}


def _given(numbers: Numbers) -> Effect:
    return Effect(numbers["yi"], numbers["vi"] if "vi" in numbers else squared(numbers["sei"]))


def _interval(numbers: Numbers) -> Effect:
    ends = numbers["estimate"], numbers["ci_low"], numbers["ci_high"]
    notes = centre_note(*ends, "log", {"log": logarithm, "plain": identity})
    vi = squared(standard_error(numbers, logarithm))
    return Effect(math.log(numbers["estimate"]), vi, notes=notes)


def _observed_expected(numbers: Numbers) -> Effect:
    v = numbers["v"]
    return Effect(
        numbers["oe"] / v,
        1 / v,
        notes=("derived: from observed minus expected events and their variance",),
    )


def _deviate(numbers: Numbers, p_value: str) -> tuple[float, str]:
    """Size of the standard normal statistic, and what it is from."""
    if "z" in numbers:
        return abs(numbers["z"]), f"the log-rank statistic z = {numbers['z']:g}"
    if "chi2" in numbers:
        return math.sqrt(numbers["chi2"]), f"the log-rank chi-square of {numbers['chi2']:g}"
    return -float(ndtri(numbers["p"] / 2)), f"the {P_VALUES.get(p_value, '')} {numbers['p']:g}"


def _variance(numbers: Numbers) -> tuple[float, str]:
    """Variance of observed minus expected events under no effect, and by which formula."""
    if "x1i" in numbers:
        one, two = numbers["x1i"], numbers["x2i"]
        if one + two == 0:
            return 0.0, ""
        return one * two / (one + two), "V = x1i x2i/(x1i + x2i), the events of each group"
    share = numbers["n1i"] / (numbers["n1i"] + numbers["n2i"])
    return (
        numbers["events"] * share * (1 - share),
        "V = events r (1 - r), r = n1i/(n1i + n2i) the share of group 1",
    )


UNDECLARED = (
    "a p-value gives a standard error only if it is two-sided and of the log-rank test or the "
    "Cox model: say so by the option p_value, or give an interval"
)


def _hazard_ratio(numbers: Numbers, p_value: str = "undeclared") -> Effect:
    if "yi" in numbers:
        return _given(numbers)
    if "ci_low" in numbers:
        return _interval(numbers)
    if "oe" in numbers:
        return _observed_expected(numbers)
    if "p" in numbers and p_value not in P_VALUES:
        return none(UNDECLARED)
    if "z" in numbers or "chi2" in numbers or "p" in numbers:
        return _from_test(numbers, p_value)
    v, how = _variance(numbers)
    if v == 0:
        return none("no events in a group")
    note = f"derived: variance 1/V from the numbers of events, {how} ({PAPERS})"
    return Effect(math.log(numbers["estimate"]), 1 / v, notes=(note,))


def _from_test(numbers: Numbers, p_value: str) -> Effect:
    size, said = _deviate(numbers, p_value)
    if "estimate" in numbers:
        yi = math.log(numbers["estimate"])
        if size == 0 or yi == 0:
            return none(f"{said} with an effect of {numbers['estimate']:g} gives no precision")
        notes = [f"derived: standard error from the estimate and {said} ({PAPERS})"]
        if yi * numbers.get("z", yi) < 0:
            notes.append(
                "z and the estimate point in opposite directions: check which is right"
            )
        return Effect(yi, squared(yi / size), notes=tuple(notes))
    v, how = _variance(numbers)
    if v == 0:
        return none("no events in a group")
    sign = math.copysign(1.0, numbers["z"] if "z" in numbers else numbers["direction"])
    note = f"derived: from {said} and the numbers of events, {how} ({PAPERS})"
    return Effect(sign * size / math.sqrt(v), 1 / v, notes=(note,))


def _with_p_value(measure: Measure, options: Options) -> Measure:
    chosen = str(options["p_value"])
    return replace(measure, compute=lambda numbers: _hazard_ratio(numbers, chosen))


HAZARD = (
    Measure(
        key="HR",
        label="Hazard ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula=(
            "yi = log(estimate), sei = (log(ci_high) - log(ci_low))/(2 z), z the normal "
            "quantile of the interval's level; or yi, the log hazard ratio, with sei or vi; "
            "or yi = oe/v, vi = 1/v; or sei = abs(yi)/q, q = abs(z), sqrt(chi2) or the normal "
            "quantile of p/2; or yi = q/sqrt(V) with the sign of z or direction, vi = 1/V, "
            "V = x1i x2i/(x1i + x2i) or events r (1 - r), r = n1i/(n1i + n2i); option p_value"
        ),
        citation=(
            "Parmar et al. (1998), Stat Med 17(24):2815-2834, "
            "doi:10.1002/(SICI)1097-0258(19981230)17:24<2815::AID-SIM110>3.0.CO;2-8; "
            "Tierney et al. (2007), Trials 8:16, doi:10.1186/1745-6215-8-16"
        ),
        compute=_hazard_ratio,
        limits=(
            "Assumes proportional hazards. What is derived from a test and numbers of events "
            "is approximate, the worse the larger the effect; p-values near 1 say little."
        ),
        configure=_with_p_value,
    ),
)
