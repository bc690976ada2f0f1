"""Survival of one group: the probability at a time, and the median."""

import math
from collections.abc import Callable
from dataclasses import replace

from evisynth.measures.base import Effect, Measure, Numbers, Options, none, squared
from evisynth.measures.intervals import centre_note, standard_error
from evisynth.measures.transformations import (
    expit,
    exponential,
    identity,
    log_minus_log,
    logarithm,
    logit,
    survival,
)

# Scales on which intervals of a survival probability are made, with the derivative in S.
SCALES: dict[str, Callable[[float], float]] = {
    "plain": identity,
    "log": logarithm,
    "cloglog": log_minus_log,
    "logit": logit,
}
SLOPES: dict[str, Callable[[float], float]] = {
    "plain": lambda s: 1.0,
    "log": lambda s: 1 / s,
    "cloglog": lambda s: 1 / (s * math.log(s)),
    "logit": lambda s: 1 / (s * (1 - s)),
}


def _probability(numbers: Numbers, scale: str, interval: str) -> Effect:
    """On `scale`; the printed interval was made on the scale `interval`."""
    s = numbers["estimate"]
    if s in (0, 1):
        return none(f"a survival probability of {s:g} has no place on the {scale} scale")
    slope, yi = SLOPES[scale](s), SCALES[scale](s)
    if "sei" in numbers:
        note = "derived: variance from the standard error of the probability (delta method)"
        return Effect(yi, squared(slope * numbers["sei"]), notes=(note,))
    sei = standard_error(numbers, SCALES[interval])
    if not math.isfinite(sei):
        ends = ("ci_low", "ci_high")
        end = next(n for n in ends if not math.isfinite(SCALES[interval](numbers[n])))
        return none(
            f"{numbers[end]:g}, the {'lower' if end == 'ci_low' else 'upper'} bound, has no "
            f"place on the {interval} scale of the interval"
        )
    notes = [f"derived: variance from the interval, taken as made on the {interval} scale"]
    if interval != scale:
        sei *= abs(slope / SLOPES[interval](s))
        notes[0] += " (delta method)"
    notes += centre_note(s, numbers["ci_low"], numbers["ci_high"], interval, SCALES)
    return Effect(yi, squared(sei), notes=tuple(notes))


def _cloglog(numbers: Numbers, interval: str = "cloglog") -> Effect:
    return _probability(numbers, "cloglog", interval)


def _logit(numbers: Numbers, interval: str = "logit") -> Effect:
    return _probability(numbers, "logit", interval)


def _with_interval(measure: Measure, options: Options) -> Measure:
    chosen = str(options["interval"])
    compute = _cloglog if measure.key == "SCLL" else _logit
    return replace(measure, compute=lambda numbers: compute(numbers, chosen))


def _median(numbers: Numbers) -> Effect:
    sei = standard_error(numbers, logarithm)
    ends = numbers["estimate"], numbers["ci_low"], numbers["ci_high"]
    said = "derived: variance from the width of the interval on the log scale"
    centre = centre_note(*ends, "log", {"log": logarithm, "plain": identity})
    return Effect(math.log(numbers["estimate"]), squared(sei), notes=(said, *centre))


SURVIVAL_SCALES = (
    "Kalbfleisch & Prentice (2002), The Statistical Analysis of Failure Time Data, "
    "doi:10.1002/9781118032985; Borgan & Liestøl (1990), Scand J Stat 17(1):35-41"
)
_TIME = (
    "All studies must mean the same time since the same start; too small a variance where few "
    "patients are still at risk."
)

SURVIVAL = (
    Measure(
        key="SCLL",
        label="Survival probability",
        back=survival,
        back_name="exp(-exp(x)), falling",
        forward=log_minus_log,
        null=None,
        formula=(
            "yi = log(-log(S)), S = estimate: it falls where S rises; "
            "vi = (half the width of the interval on this scale / z)^2, z the normal quantile "
            "of its level, or sei^2/(S log(S))^2, sei Greenwood's of S; option interval"
        ),
        citation=SURVIVAL_SCALES,
        compute=_cloglog,
        limits=_TIME,
        configure=_with_interval,
    ),
    Measure(
        key="SLO",
        label="Survival probability",
        back=expit,
        back_name="expit",
        forward=logit,
        null=None,
        formula=(
            "yi = log(S/(1 - S)), S = estimate; "
            "vi = (half the width of the interval on this scale / z)^2, z the normal quantile "
            "of its level, or sei^2/(S (1 - S))^2, sei Greenwood's of S; option interval"
        ),
        citation=SURVIVAL_SCALES,
        compute=_logit,
        limits=_TIME,
        configure=_with_interval,
    ),
    Measure(
        key="MED",
        label="Median survival",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=None,
        formula=(
            "yi = log(estimate); vi = ((log(ci_high) - log(ci_low))/(2 z))^2, z the normal "
            "quantile of the interval's level"
        ),
        citation=(
            "Brookmeyer & Crowley (1982), Biometrics 38(1):29-41, doi:10.2307/2530286; "
            "McGrath et al. (2025), doi:10.48550/arXiv.2503.03065"
        ),
        compute=_median,
        limits=(
            "Leaves out studies whose median or bound was not reached, which are those with "
            "the longest survival; intervals of medians are often not symmetric on any scale."
        ),
    ),
)
