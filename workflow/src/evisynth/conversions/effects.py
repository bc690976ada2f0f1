"""Printed effects brought to the analysis scale, turned round, or to another effect measure."""

import math
from typing import Literal

from evisynth.conversions.spreads import se_from_interval, se_from_p

Scale = Literal["log", "identity"]
# Standard deviation of the standard logistic distribution.
LOGISTIC = math.pi / math.sqrt(3)
# Cox (1970); the logistic and the normal distribution are nearest with this factor.
COX = 1.65


def to_analysis(value: float, scale: Scale) -> float:
    """Natural logarithm of a ratio, or a difference as it is."""
    return math.log(value) if scale == "log" else value


def wald_interval(
    estimate: float, low: float, high: float, *, level: float, scale: Scale
) -> tuple[float, float]:
    """Effect and standard error from a printed estimate with its Wald interval.

    yi = f(estimate), sei = (f(high) - f(low)) / (2 z); `level` as a fraction.
    """
    lower, upper = to_analysis(low, scale), to_analysis(high, scale)
    return to_analysis(estimate, scale), se_from_interval(lower, upper, level=level)


def wald_p(estimate: float, p: float, *, scale: Scale) -> tuple[float, float]:
    """Effect and standard error from a printed estimate and its two-sided Wald p-value.

    The standard error is nan where the effect is none or p is 1.
    """
    yi = to_analysis(estimate, scale)
    return yi, se_from_p(yi, p)


def inverted(
    estimate: float, low: float, high: float, *, scale: Scale
) -> tuple[float, float, float]:
    """The effect of group 2 against group 1 from that of group 1 against group 2."""
    if scale == "log":
        return 1 / estimate, 1 / high, 1 / low
    return 0.0 - estimate, 0.0 - high, 0.0 - low


def natural(value: float, base: float) -> float:
    """Logarithm (or its standard error) of a base in natural logarithms."""
    return value * math.log(base)


def log_odds_ratio_from_d(
    d: float, se: float, *, factor: float = LOGISTIC
) -> tuple[float, float]:
    """Log odds ratio and standard error from a standardised mean difference.

    Chinn (2000), doi:10.1002/1097-0258(20001130)19:22<3127::AID-SIM784>3.0.CO;2-M, with pi /
    sqrt(3): both groups logistic with one standard deviation. `factor` COX for Cox's 1.65.
    """
    return d * factor, se * factor


def d_from_log_odds_ratio(
    yi: float, se: float, *, factor: float = LOGISTIC
) -> tuple[float, float]:
    """Standardised mean difference and standard error from a log odds ratio (Chinn 2000)."""
    return yi / factor, se / factor
