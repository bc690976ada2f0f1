"""Proportions of one group."""

import math
from dataclasses import replace
from fractions import Fraction

from evisynth.measures.base import (
    VIECHTBAUER,
    Effect,
    Measure,
    Numbers,
    Options,
    log_ratio,
    reciprocals,
)
from evisynth.measures.transformations import (
    NAN,
    arcsine_root,
    expit,
    exponential,
    identity,
    logarithm,
    logit,
    squared_sine,
)


def _group(numbers: Numbers) -> tuple[Fraction, Fraction]:
    return Fraction(numbers["xi"]), Fraction(numbers["ni"])


def _proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    return Effect(float(x / n), float(x * (n - x) / n**3))


def _log_proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    return Effect(log_ratio(x, n), float((n - x) / (x * n)) if x else math.inf)


def _logit_proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    return Effect(log_ratio(x, n - x), reciprocals(x, n - x))


def _arcsine_proportion(numbers: Numbers) -> Effect:
    x, n = _group(numbers)
    # The arctangent of the odds' root keeps the digits that the arcsine loses near 1.
    return Effect(math.atan2(math.sqrt(x), math.sqrt(n - x)), float(1 / (4 * n)))


def freeman_tukey(x: float, n: float) -> float:
    """Freeman & Tukey's (1950) double arcsine of `x` events among `n`, halved: 0 to pi/2."""
    return (
        math.atan2(math.sqrt(x), math.sqrt(n + 1 - x))
        + math.atan2(math.sqrt(x + 1), math.sqrt(n - x))
    ) / 2


def inverse_freeman_tukey(y: float, n: float) -> float:
    """The proportion whose double arcsine is `y` among `n` units.

    Miller (1978, doi:10.1080/00031305.1978.10479283), with y half of his t. At or below the
    value of 0/n it is 0, at or above that of n/n it is 1. Exact for a study's own n; for a
    pooled y the answer depends on n, which is why n must be chosen.
    """
    if math.isnan(y):
        return NAN
    if y <= freeman_tukey(0.0, n):
        return 0.0
    if y >= freeman_tukey(n, n):
        return 1.0
    sine = math.sin(2 * y)
    cosine = math.cos(2 * y)
    # In the paper this is sin t + (sin t - 1/sin t)/n, the sine of twice the arcsine's angle.
    u = min(abs(sine - cosine * cosine / (sine * n)), 1.0)
    # The smaller of p and 1 - p, without the cancellation of (1 - sqrt(1 - u^2))/2.
    smaller = u * u / (2 * (1 + math.sqrt((1 - u) * (1 + u))))
    return smaller if cosine > 0 else 1 - smaller


def _double_arcsine(numbers: Numbers) -> Effect:
    n = numbers["ni"]
    return Effect(freeman_tukey(numbers["xi"], n), 1 / (4 * n + 2))


def _with_ipft(measure: Measure, options: Options) -> Measure:
    """The inverse that the option `ipft` names."""
    chosen = options["ipft"]
    if not isinstance(chosen, int | float):
        return measure
    n = float(chosen)
    return replace(
        measure,
        back=lambda y: inverse_freeman_tukey(y, n),
        back_name=f"inverse of Freeman and Tukey's transformation at n = {n:g} (Miller 1978)",
        forward=lambda p: freeman_tukey(n * p, n) if 0 <= p <= 1 else NAN,
    )


PROPORTIONS = (
    Measure(
        key="PR",
        label="Proportion",
        back=identity,
        back_name="identity",
        forward=identity,
        null=None,
        formula="yi = xi/ni; vi = yi (1 - yi)/ni",
        citation=VIECHTBAUER,
        compute=_proportion,
        limits=(
            "Not near 0 or 1 or in small studies: variances depend on the estimates and "
            "intervals leave 0 to 1."
        ),
    ),
    Measure(
        key="PLN",
        label="Proportion",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=None,
        formula="yi = log(xi/ni); vi = 1/xi - 1/ni",
        citation=VIECHTBAUER,
        compute=_log_proportion,
        limits="Not for proportions near 1, where an interval can end above 1.",
    ),
    Measure(
        key="PLO",
        label="Proportion",
        back=expit,
        back_name="expit",
        forward=logit,
        null=None,
        formula="yi = log(xi/(ni - xi)); vi = 1/xi + 1/(ni - xi)",
        citation="Stijnen et al. (2010), Stat Med 29(29):3046-3067, doi:10.1002/sim.4040",
        compute=_logit_proportion,
        limits="With few events the binomial-normal model is to be preferred.",
    ),
    Measure(
        key="PAS",
        label="Proportion",
        back=squared_sine,
        back_name="squared sine, 0 below 0 and 1 above pi/2",
        forward=arcsine_root,
        null=None,
        formula="yi = asin(sqrt(xi/ni)); vi = 1/(4 ni)",
        citation=VIECHTBAUER,
        compute=_arcsine_proportion,
        limits="The variance is too small for very few expected events (below about 5).",
        corrected=False,
    ),
    Measure(
        key="PFT",
        label="Proportion",
        back=squared_sine,
        back_name="squared sine, 0 below 0 and 1 above pi/2; option ipft",
        forward=arcsine_root,
        null=None,
        formula=(
            "yi = (asin(sqrt(xi/(ni + 1))) + asin(sqrt((xi + 1)/(ni + 1))))/2; "
            "vi = 1/(4 ni + 2)"
        ),
        citation=(
            "Freeman & Tukey (1950), Ann Math Stat 21(4):607-611, "
            "doi:10.1214/aoms/1177729756; Miller (1978), Am Stat 32(4):138, "
            "doi:10.1080/00031305.1978.10479283"
        ),
        compute=_double_arcsine,
        limits=(
            "Not as the main analysis: the way back depends on a sample size that a pooled "
            "estimate does not have (Schwarzer et al. 2019, doi:10.1002/jrsm.1348)."
        ),
        configure=_with_ipft,
        corrected=False,
    ),
)
