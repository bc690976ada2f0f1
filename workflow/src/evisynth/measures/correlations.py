"""Correlations, plain and partial."""

import math

from evisynth.measures.base import (
    VIECHTBAUER,
    Compute,
    Effect,
    Measure,
    Numbers,
    none,
    squared,
)
from evisynth.measures.transformations import fisher_z, hyperbolic_tangent, identity

TOO_FEW = "fewer than 4 pairs are too few for the variance of a correlation"
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
    if n < 4:
        return none(TOO_FEW)
    if abs(r) == 1:
        return none(PERFECT)
    return Effect(r, squared((1 - r) * (1 + r)) / (n - 1))


def _fisher_z(numbers: Numbers) -> Effect:
    r, n = numbers["ri"], numbers["ni"]
    if n < 4:
        return none(TOO_FEW)
    if abs(r) == 1:
        return none(PERFECT)
    return Effect(fisher_z(r), 1 / (n - 3))


def _partial(numbers: Numbers) -> Effect:
    # As a plain correlation of ni - mi units (Fisher 1924).
    return _of_units(numbers, _correlation)


def _partial_z(numbers: Numbers) -> Effect:
    return _of_units(numbers, _fisher_z)


def _of_units(numbers: Numbers, compute: Compute) -> Effect:
    if numbers["ni"] - numbers["mi"] < 4:
        return none("ni - mi is below 4, too few for the variance of a partial correlation")
    return compute({"ri": _r(numbers), "ni": numbers["ni"] - numbers["mi"]})


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
            "yi = ri, or ti/sqrt(ti^2 + ni - mi - 2); vi = (1 - yi^2)^2/(ni - mi - 1); "
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
            "mi = number of other predictors"
        ),
        citation=f"Fisher (1924), Metron 3:329-332; {ALOE}",
        compute=_partial_z,
        limits=_CONTROLS,
    ),
)
