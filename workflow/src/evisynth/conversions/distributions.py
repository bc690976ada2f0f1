"""Quantiles of the normal, t, gamma and beta distributions without numpy or scipy.

The input side asks for conversions and must not import scipy. Quantiles are accurate to 12
digits, those of t with more than a million degrees of freedom to 10.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

_NORMAL = NormalDist()
_TINY = 1e-300
LARGEST_EXPONENT = 700.0  # exp overflows soon after
_EPS = 1e-17
_MOST_STEPS = 100_000
# From here on five terms of Stirling's series are exact to double precision.
_STIRLING_FROM = 16.0
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution, accurate in both tails of `p`."""
    return _NORMAL.inv_cdf(p)


def normal_half_width(level: float) -> float:
    """Half-width, in standard errors, of the normal interval of `level` (a fraction)."""
    return -_NORMAL.inv_cdf((1 - level) / 2)


def t_half_width(level: float, df: float) -> float:
    """Half-width, in standard errors, of the t interval of `level` (a fraction)."""
    return t_upper_quantile((1 - level) / 2, df)


def _stirling(x: float) -> float:
    """Error of Stirling's formula for the logarithm of the gamma function."""
    if x < _STIRLING_FROM:
        return math.lgamma(x) - (x - 0.5) * math.log(x) + x - _HALF_LOG_2PI
    square = x * x
    series = 1 / 12 - (
        1 / 360 - (1 / 1260 - (1 / 1680 - 1 / (1188 * square)) / square) / square
    ) / (square)
    return series / x


def _log(ratio: float, excess: float) -> float:
    """Logarithm of `ratio`, which is 1 + `excess`, from whichever of the two has its digits."""
    if ratio <= 0:
        return -math.inf
    return math.log1p(excess) if abs(excess) < 0.5 else math.log(ratio)


def _gamma_density_factor(a: float, x: float) -> float:
    """x^a exp(-x) / gamma(a), without cancellation (Loader 2000)."""
    epsilon = (x - a) / a
    return math.sqrt(a / (2 * math.pi)) * math.exp(
        -a * (epsilon - _log(x / a, epsilon)) - _stirling(a)
    )


def _beta_density_factor(a: float, b: float, x: float, y: float) -> float:
    """x^a y^b / B(a, b) for y = 1 - x, without cancellation (Loader 2000)."""
    scale = math.sqrt(a * b / (2 * math.pi * (a + b)))
    exponent = a * _log(x * (a + b) / a, (x * b - a * y) / a)
    exponent += b * _log(y * (a + b) / b, (y * a - b * x) / b)
    exponent -= _stirling(a) + _stirling(b) - _stirling(a + b)
    return scale * math.exp(exponent)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function (DLMF 8.17.22), Lentz's method."""
    c = 1.0
    d = 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _MOST_STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + term / c
            c = c if abs(c) > _TINY else _TINY
            value *= c * d
        if abs(c * d - 1) < 1e-16:
            return value
    raise ArithmeticError(f"incomplete beta function at a = {a}, b = {b}, x = {x}")


def beta_tails(a: float, b: float, x: float, y: float) -> tuple[float, float]:
    """Lower and upper tail of the beta distribution at x; y is 1 - x, to its own digits."""
    if x <= 0:
        return 0.0, 1.0
    if y <= 0:
        return 1.0, 0.0
    factor = _beta_density_factor(a, b, x, y)
    if x < (a + 1) / (a + b + 2):
        lower = factor * _beta_fraction(a, b, x) / a
        return lower, 1 - lower
    upper = factor * _beta_fraction(b, a, y) / b
    return 1 - upper, upper


def gamma_tails(a: float, x: float) -> tuple[float, float]:
    """Lower and upper tail at x of the gamma distribution with shape a and scale 1."""
    if x <= 0:
        return 0.0, 1.0
    factor = _gamma_density_factor(a, x)
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * _EPS:
            n += 1
            term *= x / n
            total += term
        lower = factor * total
        return lower, 1 - lower
    b = x + 1 - a
    c = 1 / _TINY
    d = 1 / b
    fraction = d
    for i in range(1, _MOST_STEPS):
        step = -i * (i - a)
        b += 2
        d = step * d + b
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = b + step / c
        c = c if abs(c) > _TINY else _TINY
        fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    upper = factor * fraction
    return 1 - upper, upper


def _increasing_root(function: Callable[[float], tuple[float, float]], start: float) -> float:
    """Root of an increasing function that returns its value and its slope.

    Newton's method inside a bracket that is widened from `start` first; halved where Newton
    would leave it.
    """
    low, high = -math.inf, math.inf
    at, width = start, 1.0
    for _ in range(500):
        value, slope = function(at)
        if value == 0:
            return at
        low, high = (at, high) if value < 0 else (low, at)
        step = -value / slope if slope > 0 and math.isfinite(value) else math.nan
        new = at + step
        if math.isinf(low) or math.isinf(high):
            # far away a Newton step may be wild; at most doubling steps
            new = at + math.copysign(width, -value) if not abs(step) < width else new
            width *= 2
        elif not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - at) <= 2e-16 * max(abs(at), 1e-3) or new in (low, high):
            return new
        at = new
    return at


def t_upper_quantile(tail: float, df: float) -> float:
    """Value that a t distributed number exceeds with probability `tail` (0 < tail <= 1/2)."""
    if tail == 0.5:
        return 0.0

    def surplus(log_t: float) -> tuple[float, float]:
        t = math.exp(log_t)
        square = t * t
        total = df + square
        upper = 0.5 * beta_tails(df / 2, 0.5, df / total, square / total)[0]
        # The density of t, from the same factor: x^a y^b / B(a, b) times 1 / t.
        slope = _beta_density_factor(df / 2, 0.5, df / total, square / total)
        if upper == 0:
            return math.inf, math.nan
        return math.log(tail / upper), slope / upper

    z = -normal_quantile(tail)
    return math.exp(_increasing_root(surplus, math.log(z) + (z * z + 1) / (4 * df)))


def gamma_log_quantile(p: float, shape: float) -> float:
    """Logarithm of the quantile of the gamma distribution with scale 1."""

    def surplus(log_x: float) -> tuple[float, float]:
        x = math.exp(min(log_x, LARGEST_EXPONENT))
        lower, upper = gamma_tails(shape, x)
        density = _gamma_density_factor(shape, x)
        if p < 0.5:
            return (
                (math.log(lower / p), density / lower) if lower > 0 else (-math.inf, math.nan)
            )
        return (
            (math.log((1 - p) / upper), density / upper) if upper > 0 else (math.inf, math.nan)
        )

    # Wilson & Hilferty's cube, or the power law near 0 where that is better.
    z = normal_quantile(p)
    cube = 1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))
    power = (math.log(p) + math.lgamma(shape + 1)) / shape
    return _increasing_root(
        surplus, math.log(shape) + 3 * math.log(cube) if cube > 0.3 else power
    )


def beta_quantile(p: float, a: float, b: float) -> float:
    """Quantile of the beta distribution with shapes a and b."""

    def surplus(logit: float) -> tuple[float, float]:
        x = 1 / (1 + math.exp(-logit)) if logit > -700 else math.exp(logit)
        y = 1 / (1 + math.exp(logit)) if logit < 700 else math.exp(-logit)
        lower, upper = beta_tails(a, b, x, y)
        density = _beta_density_factor(a, b, x, y)
        if p < 0.5:
            return (
                (math.log(lower / p), density / lower) if lower > 0 else (-math.inf, math.nan)
            )
        return (
            (math.log((1 - p) / upper), density / upper) if upper > 0 else (math.inf, math.nan)
        )

    logit = _increasing_root(surplus, math.log(a / b))
    return 1 / (1 + math.exp(-logit)) if logit > -700 else math.exp(logit)
