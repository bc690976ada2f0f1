"""Means and standard deviations, of one group and of two."""

import math
from collections.abc import Callable
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
from evisynth.measures.transformations import exponential, identity, logarithm

# Above this number of degrees of freedom math.gamma overflows; the series has converged long
# before.
LARGEST_GAMMA = 300

NAKAGAWA = "Nakagawa et al. (2015), Methods Ecol Evol 6(2):143-152, doi:10.1111/2041-210x.12309"
ROM_PAPER = (
    "Hedges et al. (1999), Ecology 80(4):1150-1156, "
    "doi:10.1890/0012-9658(1999)080[1150:TMAORR]2.0.CO;2"
)


def hedges_correction(m: float) -> float:
    """Hedges' c(m), exact: gamma(m/2) / (sqrt(m/2) gamma((m - 1)/2)); m > 1, the df.

    Hedges (1981, eq. 6e; doi:10.3102/10769986006002107).
    """
    if m <= LARGEST_GAMMA:
        return math.gamma(m / 2) / (math.sqrt(m / 2) * math.gamma((m - 1) / 2))
    return (1 + _series(m)) * math.sqrt((m - 1) / m)


def _series(m: float) -> float:
    """c(m) sqrt(m/(m - 1)) - 1 for large m, where differences of log gamma lose digits.

    The asymptotic series of gamma(x + 1/2)/(gamma(x) sqrt(x)); its next term is below 1e-16.
    """
    x = (m - 1) / 2
    terms = (-1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304)
    return math.fsum(term / x**power for power, term in enumerate(terms, start=1))


def _mean(numbers: Numbers) -> Effect:
    return Effect(numbers["mi"], squared(numbers["sdi"]) / numbers["ni"])


def _log_mean(numbers: Numbers) -> Effect:
    mean = numbers["mi"]
    if mean <= 0:
        return none("a mean that is not above 0 has no logarithm")
    return Effect(math.log(mean), squared(numbers["sdi"] / mean) / numbers["ni"])


def _mean_difference(numbers: Numbers) -> Effect:
    variance = (
        squared(numbers["sd1i"]) / numbers["n1i"] + squared(numbers["sd2i"]) / numbers["n2i"]
    )
    return Effect(numbers["m1i"] - numbers["m2i"], variance)


def _large_sample(g: float, n1: float, n2: float) -> float:
    return 1 / n1 + 1 / n2 + squared(g) / (2 * (n1 + n2))


def _large_sample_2(g: float, n1: float, n2: float) -> float:
    c = hedges_correction(n1 + n2 - 2)
    return squared(c) * _large_sample(g / c, n1, n2)


def _unbiased(g: float, n1: float, n2: float) -> float:
    m = n1 + n2 - 2
    if m <= LARGEST_GAMMA:
        factor = 1 - (m - 2) / (m * squared(hedges_correction(m)))
    else:
        excess = _series(m) * (2 + _series(m))  # m c(m)^2 = (m - 1) (1 + excess)
        factor = (1 + (m - 1) * excess) / ((m - 1) * (1 + excess))
    return 1 / n1 + 1 / n2 + factor * squared(g)


def _revman(g: float, n1: float, n2: float) -> float:
    return (n1 + n2) / (n1 * n2) + squared(g) / (2 * (n1 + n2 - 3.94))


SMD_VARIANCES: dict[str, Callable[[float, float, float], float]] = {
    "LS": _large_sample,
    "LS2": _large_sample_2,
    "UB": _unbiased,
    "RevMan": _revman,
}


def _standardised_mean_difference(numbers: Numbers, variance: str = "LS") -> Effect:
    n1, n2 = numbers["n1i"], numbers["n2i"]
    m = n1 + n2 - 2
    if m <= 1:
        return none("fewer than 4 units in both groups leave no degrees of freedom")
    squares = (n1 - 1) * squared(numbers["sd1i"]) + (n2 - 1) * squared(numbers["sd2i"])
    if squares == 0:
        return none("the pooled standard deviation is 0")
    # RevMan's approximation of c(m) is part of its formula: 1 - 3/(4N - 9)
    c = 1 - 3 / (4 * (n1 + n2) - 9) if variance == "RevMan" else hedges_correction(m)
    g = c * (numbers["m1i"] - numbers["m2i"]) / math.sqrt(squares / m)
    return Effect(g, SMD_VARIANCES[variance](g, n1, n2))


def _with_variance(measure: Measure, options: Options) -> Measure:
    chosen = str(options["variance"])
    return replace(
        measure, compute=lambda numbers: _standardised_mean_difference(numbers, chosen)
    )


def _heteroscedastic_smd(numbers: Numbers) -> Effect:
    n1, n2 = numbers["n1i"], numbers["n2i"]
    if n1 < 2 or n2 < 2:
        return none("a group of one has no standard deviation")
    one, two = squared(numbers["sd1i"]), squared(numbers["sd2i"])
    total = one + two
    if total == 0:
        return none("both standard deviations are 0")
    c = hedges_correction(n1 + n2 - 2)
    g = c * (numbers["m1i"] - numbers["m2i"]) / math.sqrt(total / 2)
    one, two = one / total, two / total
    shape = squared(one) / (n1 - 1) + squared(two) / (n2 - 1)
    mean = 2 * (one / (n1 - 1) + two / (n2 - 1))
    return Effect(g, squared(g) * shape / 2 + mean)


def _ratio_of_means(numbers: Numbers) -> Effect:
    m1, m2 = numbers["m1i"], numbers["m2i"]
    if m1 <= 0 or m2 <= 0:
        return none("a ratio of means needs both above 0")
    variance = (
        squared(numbers["sd1i"] / m1) / numbers["n1i"]
        + squared(numbers["sd2i"] / m2) / numbers["n2i"]
    )
    return Effect(log_quotient(m1, m2), variance)


def _mean_bias(numbers: Numbers) -> float:
    """Second-order bias of the log ratio of means, with the sign that removes it."""
    one = squared(numbers["sd1i"] / numbers["m1i"]) / numbers["n1i"]
    two = squared(numbers["sd2i"] / numbers["m2i"]) / numbers["n2i"]
    return (one - two) / 2


def _corrected_ratio_of_means(numbers: Numbers) -> Effect:
    effect = _ratio_of_means(numbers)
    return effect if effect.why else replace(effect, yi=effect.yi + _mean_bias(numbers))


def _ratio_of_deviations(numbers: Numbers) -> Effect:
    if numbers["n1i"] < 2 or numbers["n2i"] < 2:
        return none("a group of one has no standard deviation")
    if numbers["sd1i"] == 0 or numbers["sd2i"] == 0:
        return none("a standard deviation of 0 has no ratio")
    one, two = 1 / (2 * (numbers["n1i"] - 1)), 1 / (2 * (numbers["n2i"] - 1))
    return Effect(log_quotient(numbers["sd1i"], numbers["sd2i"]) + one - two, one + two)


def _ratio_of_variation(numbers: Numbers, bias: str = "Senior2020") -> Effect:
    deviations, means = _ratio_of_deviations(numbers), _ratio_of_means(numbers)
    if deviations.why or means.why:
        return none((deviations.why or means.why).removeprefix("not estimable: "))
    yi = deviations.yi - means.yi
    if bias == "Senior2020":
        yi -= _mean_bias(numbers)
    if bias == "none":
        yi -= 1 / (2 * (numbers["n1i"] - 1)) - 1 / (2 * (numbers["n2i"] - 1))
    return Effect(yi, deviations.vi + means.vi)


def _with_bias(measure: Measure, options: Options) -> Measure:
    chosen = str(options["bias"])
    return replace(measure, compute=lambda numbers: _ratio_of_variation(numbers, chosen))


_POSITIVE = "Only for quantities that cannot be negative and have a true zero."

ONE_MEAN = (
    Measure(
        key="MN",
        label="Mean",
        back=identity,
        back_name="identity",
        forward=identity,
        null=None,
        formula="yi = mi; vi = sdi^2/ni",
        citation=VIECHTBAUER,
        compute=_mean,
        limits="Not for very skew quantities in small studies.",
    ),
    Measure(
        key="MNLN",
        label="Mean",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=None,
        formula="yi = log(mi); vi = sdi^2/(ni mi^2)",
        citation=VIECHTBAUER,
        compute=_log_mean,
        limits=_POSITIVE,
    ),
)

MEANS = (
    Measure(
        key="MD",
        label="Mean difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi = m1i - m2i; vi = sd1i^2/n1i + sd2i^2/n2i",
        citation=VIECHTBAUER,
        compute=_mean_difference,
        limits="Only where all studies measure on the same scale.",
    ),
    Measure(
        key="SMD",
        label="Standardised mean difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = c(m) (m1i - m2i)/sp, sp the pooled standard deviation, m = n1i + n2i - 2, "
            "c(m) exact; vi = 1/n1i + 1/n2i + yi^2/(2 (n1i + n2i)); option variance"
        ),
        citation="Hedges (1981), J Educ Stat 6(2):107-128, doi:10.3102/10769986006002107",
        compute=_standardised_mean_difference,
        limits=(
            "Depends on how much the patients of a study differ, as well as on the effect; "
            "standard deviations of changes and of final values do not mix."
        ),
        configure=_with_variance,
    ),
    Measure(
        key="SMDH",
        label="Standardised mean difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula=(
            "yi = c(m) (m1i - m2i)/s, s^2 = (sd1i^2 + sd2i^2)/2, m = n1i + n2i - 2; "
            "vi = yi^2 (sd1i^4/(n1i - 1) + sd2i^4/(n2i - 1))/(8 s^4) "
            "+ (sd1i^2/(n1i - 1) + sd2i^2/(n2i - 1))/s^2"
        ),
        citation="Bonett (2009), Psychol Methods 14(3):225-238, doi:10.1037/a0016619",
        compute=_heteroscedastic_smd,
        limits=(
            "Does not assume equal variances; not to be mixed with SMD, which standardises "
            "by another quantity."
        ),
    ),
    Measure(
        key="ROM",
        label="Ratio of means",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula="yi = log(m1i/m2i); vi = sd1i^2/(n1i m1i^2) + sd2i^2/(n2i m2i^2)",
        citation=ROM_PAPER,
        compute=_ratio_of_means,
        limits=f"{_POSITIVE} Without correction of its small-sample bias: ROMBC has it.",
    ),
    Measure(
        key="ROMBC",
        label="Ratio of means",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula=(
            "yi = log(m1i/m2i) + (sd1i^2/(n1i m1i^2) - sd2i^2/(n2i m2i^2))/2; "
            "vi = sd1i^2/(n1i m1i^2) + sd2i^2/(n2i m2i^2)"
        ),
        citation="Lajeunesse (2015), Ecology 96(8):2056-2063, doi:10.1890/14-2402.1",
        compute=_corrected_ratio_of_means,
        limits=(
            f"{_POSITIVE} The correction is of second order and unreliable where a mean is "
            "less than about 3 of its standard errors from 0."
        ),
    ),
    Measure(
        key="VR",
        label="Variability ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula=(
            "yi = log(sd1i/sd2i) + 1/(2 (n1i - 1)) - 1/(2 (n2i - 1)); "
            "vi = 1/(2 (n1i - 1)) + 1/(2 (n2i - 1))"
        ),
        citation=NAKAGAWA,
        compute=_ratio_of_deviations,
        limits="Its variance assumes normal data: too small for heavy tails.",
    ),
    Measure(
        key="CVR",
        label="Ratio of coefficients of variation",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula=(
            "yi = log((sd1i/m1i)/(sd2i/m2i)) + 1/(2 (n1i - 1)) - 1/(2 (n2i - 1)) "
            "- (sd1i^2/(n1i m1i^2) - sd2i^2/(n2i m2i^2))/2; "
            "vi = 1/(2 (n1i - 1)) + sd1i^2/(n1i m1i^2) + 1/(2 (n2i - 1)) "
            "+ sd2i^2/(n2i m2i^2); option bias"
        ),
        citation=(
            f"{NAKAGAWA}; Senior et al. (2020), Res Synth Methods 11(4):553-567, "
            "doi:10.1002/jrsm.1423"
        ),
        compute=_ratio_of_variation,
        limits=f"{_POSITIVE} Its variance assumes normal data.",
        configure=_with_bias,
    ),
)
