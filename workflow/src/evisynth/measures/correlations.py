"""Correlations, plain and partial."""

import math
from dataclasses import replace

from evisynth.measures.base import VIECHTBAUER, Effect, Measure, Numbers, Options, none, squared
from evisynth.measures.transformations import fisher_z, hyperbolic_tangent, identity

PERFECT = "a correlation of -1 or 1 has a sampling variance of 0"
ALOE = "Aloe (2014), J Gen Psychol 141(1):47-64, doi:10.1080/00221309.2013.853021"


def _r(numbers: Numbers) -> float:
    """The correlation; a partial one also from its t statistic on ni - mi - 2 df."""
    if "ri" in numbers:
        return numbers["ri"]
    df = numbers["ni"] - numbers["mi"] - 2
    return numbers["ti"] / math.hypot(numbers["ti"], math.sqrt(df))


def _correlation(numbers: Numbers) -> Effect:
    r, n = numbers["ri"], numbers["ni"]
    if n < 2:
        return none("one pair has no correlation")
    if abs(r) == 1:
        return none(PERFECT)
    return Effect(r, squared((1 - r) * (1 + r)) / (n - 1))


def _fisher_z(numbers: Numbers) -> Effect:
    r, n = numbers["ri"], numbers["ni"]
    if n < 4:
        return none("Fisher's z has a variance from 4 pairs on")
    if abs(r) == 1:
        return none(PERFECT)
    return Effect(fisher_z(r), 1 / (n - 3))


def _partial(numbers: Numbers) -> Effect:
    df = numbers["ni"] - numbers["mi"] - 2
    if df < 1:
        return none("no degrees of freedom are left: ni - mi - 2 is below 1")
    r = _r(numbers)
    if abs(r) == 1:
        return none(PERFECT)
    return Effect(r, squared((1 - r) * (1 + r)) / df)


def _partial_z(numbers: Numbers, variance: str = "Fisher") -> Effect:
    df = numbers["ni"] - numbers["mi"] - (3 if variance == "Fisher" else 2)
    if df < 1:
        return none("too few units for its variance: at most mi + 3")
    r = _r(numbers)
    if abs(r) == 1:
        return none(PERFECT)
    return Effect(fisher_z(r), 1 / df)


def _with_variance(measure: Measure, options: Options) -> Measure:
    chosen = str(options["variance"])
    return replace(measure, compute=lambda numbers: _partial_z(numbers, chosen))


_CONTROLS = (
    "Only where the studies control for the same variables: elsewhere it means another thing."
)

CORRELATIONS = (
    Measure(
        key="COR",
        label="Correlation",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi = ri; vi = (1 - ri^2)^2/(ni - 1)",
        citation=VIECHTBAUER,
        compute=_correlation,
        limits="Not near -1 or 1 or in small studies: the variance depends on the estimate.",
    ),
    Measure(
        key="ZCOR",
        label="Correlation",
        back=hyperbolic_tangent,
        back_name="tanh",
        forward=fisher_z,
        null=0.0,
        formula="yi = atanh(ri); vi = 1/(ni - 3)",
        citation=f"Fisher (1921), Metron 1:3-32; {VIECHTBAUER}",
        compute=_fisher_z,
        limits="The variance assumes bivariate normal data.",
    ),
    Measure(
        key="PCOR",
        label="Partial correlation",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = ri, or ti/sqrt(ti^2 + ni - mi - 2); vi = (1 - yi^2)^2/(ni - mi - 2); "
            "mi = number of other predictors"
        ),
        citation=ALOE,
        compute=_partial,
        limits=_CONTROLS,
    ),
    Measure(
        key="ZPCOR",
        label="Partial correlation",
        back=hyperbolic_tangent,
        back_name="tanh",
        forward=fisher_z,
        null=0.0,
        formula=(
            "yi = atanh(r), r = ri or ti/sqrt(ti^2 + ni - mi - 2); vi = 1/(ni - mi - 3); "
            "mi = number of other predictors; option variance"
        ),
        citation=f"Fisher (1924), Metron 3:329-332; {ALOE}",
        compute=_partial_z,
        limits=_CONTROLS,
        configure=_with_variance,
    ),
)
