"""Between analysis and display scale: functions that never raise, nan where undefined."""

import math

NAN = math.nan
HALF_PI = math.pi / 2


def identity(x: float) -> float:
    """Return x."""
    return x


def exponential(x: float) -> float:
    """Exponential function, infinite where it leaves the range of double precision."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def logarithm(x: float) -> float:
    """Natural logarithm; minus infinity at 0, nan below."""
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else NAN


def expit(x: float) -> float:
    """Inverse of the logit, accurate in both tails."""
    if x < 0:
        return exponential(x) / (1 + exponential(x))
    return 1 / (1 + exponential(-x))


def logit(p: float) -> float:
    """Log odds of a proportion; infinite at 0 and 1, nan outside."""
    if p == 1:
        return math.inf
    return logarithm(p) - math.log1p(-p) if p < 1 else NAN


def squared_sine(x: float) -> float:
    """Inverse of the arcsine square root.

    Below 0 it is 0 and above pi / 2 it is 1, as in metafor: the sine itself would turn back
    there and put the end of a wide interval inside of it.
    """
    return math.sin(min(max(x, 0.0), HALF_PI)) ** 2 if not math.isnan(x) else x


def arcsine_root(p: float) -> float:
    """Arcsine of the square root of a proportion; nan outside of 0 to 1."""
    return math.asin(math.sqrt(p)) if 0 <= p <= 1 else NAN


def hyperbolic_tangent(x: float) -> float:
    """Inverse of Fisher's z."""
    return math.tanh(x)


def fisher_z(r: float) -> float:
    """Fisher's z, atanh(r); infinite at -1 and 1, nan outside."""
    if abs(r) < 1:
        return math.atanh(r)
    return math.copysign(math.inf, r) if abs(r) == 1 else NAN


def clipped_square(x: float) -> float:
    """Inverse of the square root; 0 below 0, where the square would turn back."""
    return x * x if not x < 0 else 0.0


def square_root(x: float) -> float:
    """Square root; nan below 0."""
    return math.sqrt(x) if x >= 0 else NAN


def log_minus_log(p: float) -> float:
    """Complementary log-log of survival, log(-log p): it falls from inf at 0 to -inf at 1."""
    if p == 0:
        return math.inf
    return logarithm(-math.log(p)) if 0 < p <= 1 else NAN


def survival(x: float) -> float:
    """Inverse of the complementary log-log of survival: exp(-exp x), falling from 1 to 0."""
    return exponential(-exponential(x))
