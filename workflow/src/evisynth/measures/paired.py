"""One group measured twice, with the correlation of the two measurements."""

import math
from dataclasses import replace

from evisynth.measures.base import (
    VIECHTBAUER,
    Effect,
    Measure,
    Numbers,
    Options,
    log_quotient,
    none,
    squared,
)
from evisynth.measures.means import hedges_correction
from evisynth.measures.transformations import exponential, identity, logarithm

TOO_FEW = "fewer than 3 units leave no degrees of freedom"


def _change_variance(numbers: Numbers) -> float:
    """Variance of the differences, as a sum of terms of which none is negative."""
    one, two, r = numbers["sd1i"], numbers["sd2i"], numbers["ri"]
    return squared(one - two) + 2 * (1 - r) * one * two


def _change(numbers: Numbers) -> Effect:
    return Effect(numbers["m1i"] - numbers["m2i"], _change_variance(numbers) / numbers["ni"])


def _by_change(numbers: Numbers) -> Effect:
    n = numbers["ni"]
    variance = _change_variance(numbers)
    if n < 3:
        return none(TOO_FEW)
    if variance == 0:
        return none("the standard deviation of the differences is 0")
    g = hedges_correction(n - 1) * (numbers["m1i"] - numbers["m2i"]) / math.sqrt(variance)
    return Effect(g, 1 / n + squared(g) / (2 * n))


def _by_first(numbers: Numbers) -> Effect:
    n = numbers["ni"]
    if n < 3:
        return none(TOO_FEW)
    if numbers["sd1i"] == 0:
        return none("the standard deviation is 0")
    g = hedges_correction(n - 1) * (numbers["m1i"] - numbers["m2i"]) / numbers["sd1i"]
    return Effect(g, 2 * (1 - numbers["ri"]) / n + squared(g) / (2 * n))


def _ratio(numbers: Numbers, bias: str = "none") -> Effect:
    m1, m2, n = numbers["m1i"], numbers["m2i"], numbers["ni"]
    if m1 <= 0 or m2 <= 0:
        return none("a ratio of means needs both above 0")
    one, two = numbers["sd1i"] / m1, numbers["sd2i"] / m2
    variance = (squared(one - two) + 2 * (1 - numbers["ri"]) * one * two) / n
    yi = log_quotient(m1, m2)
    if bias == "Lajeunesse2015":
        yi += (squared(one) - squared(two)) / (2 * n)
    return Effect(yi, variance)


def _with_bias(measure: Measure, options: Options) -> Measure:
    chosen = str(options["bias"])
    return replace(measure, compute=lambda numbers: _ratio(numbers, chosen))


_CORRELATION = "The correlation is rarely printed: vary an assumed one."

PAIRED = (
    Measure(
        key="MC",
        label="Mean change",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi = m1i - m2i; vi = (sd1i^2 + sd2i^2 - 2 ri sd1i sd2i)/ni",
        citation=VIECHTBAUER,
        compute=_change,
        limits=f"Without a control group a change is no effect. {_CORRELATION}",
    ),
    Measure(
        key="SMCC",
        label="Standardised mean change",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = c(ni - 1) (m1i - m2i)/sd, sd^2 = sd1i^2 + sd2i^2 - 2 ri sd1i sd2i; "
            "vi = 1/ni + yi^2/(2 ni)"
        ),
        citation=(
            "Gibbons et al. (1993), J Educ Stat 18(3):271-279, doi:10.3102/10769986018003271"
        ),
        compute=_by_change,
        limits=(
            "In units of the change's standard deviation: not to be mixed with SMD or SMCR. "
            f"{_CORRELATION}"
        ),
    ),
    Measure(
        key="SMCR",
        label="Standardised mean change",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi = c(ni - 1) (m1i - m2i)/sd1i; vi = 2 (1 - ri)/ni + yi^2/(2 ni)",
        citation=(
            "Becker (1988), Br J Math Stat Psychol 41(2):257-278, "
            "doi:10.1111/j.2044-8317.1988.tb00901.x"
        ),
        compute=_by_first,
        limits=(
            "In units of sd1i, the standard deviation of the measurement whose mean is m1i; "
            f"its variance assumes equal variances. {_CORRELATION}"
        ),
    ),
    Measure(
        key="ROMC",
        label="Ratio of means",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula=(
            "yi = log(m1i/m2i); vi = sd1i^2/(ni m1i^2) + sd2i^2/(ni m2i^2) "
            "- 2 ri sd1i sd2i/(ni m1i m2i); option bias"
        ),
        citation="Lajeunesse (2011), Ecology 92(11):2049-2055, doi:10.1890/11-0423.1",
        compute=_ratio,
        limits=(
            f"Only for quantities that cannot be negative and have a true zero. {_CORRELATION}"
        ),
        configure=_with_bias,
    ),
)
