"""Mean and standard deviation from median, quartiles, minimum and maximum.

All functions take the numbers that a study reports, in the unit of the outcome. S1 is minimum,
median and maximum; S2 the quartiles; S3 all five numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from evisynth.conversions.distributions import (
    beta_quantile,
    gamma_log_quantile,
    normal_quantile,
)

LEAST_N = 5

LUO = "Luo et al. 2018"
WAN = "Wan et al. 2014"
SHI = "Shi et al. 2020"
SHI_LOG = "Shi et al. 2020b"
SHI_SKEWNESS = "Shi et al. 2023"
MCGRATH = "McGrath et al. 2020"


@dataclass(frozen=True, slots=True)
class Summary:
    """A study's summary: `median` and one of range and quartiles, or both.

    What is missing is nan; `n` is the number of persons.
    """

    n: float
    minimum: float = math.nan
    q1: float = math.nan
    median: float = math.nan
    q3: float = math.nan
    maximum: float = math.nan

    @property
    def has_range(self) -> bool:
        """Whether minimum and maximum are known."""
        return not math.isnan(self.minimum + self.maximum)

    @property
    def has_quartiles(self) -> bool:
        """Whether both quartiles are known."""
        return not math.isnan(self.q1 + self.q3)

    @property
    def values(self) -> tuple[float, ...]:
        """The known values that are used, in order of size: an odd number of them."""
        low: tuple[float, ...] = (self.minimum,) if self.has_range else ()
        low += (self.q1,) if self.has_quartiles else ()
        high: tuple[float, ...] = (self.q3,) if self.has_quartiles else ()
        high += (self.maximum,) if self.has_range else ()
        return (*low, self.median, *high)

    def mapped(self, function: Callable[[float], float]) -> "Summary":
        """The summary of the values after an increasing transformation."""
        return Summary(
            self.n,
            *(
                value if math.isnan(value) else function(value)
                for value in (self.minimum, self.q1, self.median, self.q3, self.maximum)
            ),
        )


def range_divisor(n: float) -> float:
    """Expected range of n normal values in standard deviations (Wan et al. 2014, eq. 9)."""
    return 2 * normal_quantile((n - 0.375) / (n + 0.25))


def quartile_divisor(n: float) -> float:
    """Expected interquartile range in standard deviations (Wan et al. 2014, eq. 16)."""
    return 2 * normal_quantile((0.75 * n - 0.125) / (n + 0.25))


def mean_luo(summary: Summary) -> float:
    """Mean from a summary of normal data (Luo et al. 2018, eq. 7, 11 and 15).

    doi:10.1177/0962280216669183
    """
    n, median = summary.n, summary.median
    midrange = (summary.minimum + summary.maximum) / 2
    midquartile = (summary.q1 + summary.q3) / 2
    if not summary.has_quartiles:
        weight = 4 / (4 + math.pow(n, 0.75))
        return weight * midrange + (1 - weight) * median
    if not summary.has_range:
        weight = 0.7 + 0.39 / n
        return weight * midquartile + (1 - weight) * median
    outer = 2.2 / (2.2 + math.pow(n, 0.75))
    inner = 0.7 - 0.72 / math.pow(n, 0.55)
    return outer * midrange + inner * midquartile + (1 - outer - inner) * median


def sd_wan(summary: Summary) -> float:
    """Standard deviation from a summary of normal data (Wan et al. 2014, eq. 9, 13 and 16).

    doi:10.1186/1471-2288-14-135
    """
    from_range = (summary.maximum - summary.minimum) / range_divisor(summary.n)
    from_quartiles = (summary.q3 - summary.q1) / quartile_divisor(summary.n)
    if not summary.has_quartiles:
        return from_range
    if not summary.has_range:
        return from_quartiles
    return (from_range + from_quartiles) / 2


def sd_shi(summary: Summary) -> float:
    """Standard deviation from all five numbers, optimally weighted (Shi et al. 2020, eq. 10).

    doi:10.1002/jrsm.1429
    """
    weight = 1 / (1 + 0.07 * math.pow(summary.n, 0.6))
    from_range = (summary.maximum - summary.minimum) / range_divisor(summary.n)
    from_quartiles = (summary.q3 - summary.q1) / quartile_divisor(summary.n)
    return weight * from_range + (1 - weight) * from_quartiles


def sd_normal(summary: Summary) -> tuple[float, str]:
    """The recommended standard deviation for normal data, and whose formula it is."""
    if summary.has_range and summary.has_quartiles:
        return sd_shi(summary), SHI
    return sd_wan(summary), WAN


@dataclass(frozen=True, slots=True)
class SkewnessTest:
    """Test of symmetry; `rejected` at the 5% level if `statistic` reaches `critical`."""

    statistic: float
    critical: float

    @property
    def rejected(self) -> bool:
        """Whether the data are skewed, at the 5% level."""
        return self.statistic >= self.critical


def skewness_test(summary: Summary) -> SkewnessTest:
    """Test of skewness from the summary alone (Shi et al. 2023, doi:10.1177/09622802231172043).

    The critical values are the paper's approximations for the 5% level.
    """
    n = summary.n
    spread = summary.maximum - summary.minimum
    middle = summary.q3 - summary.q1
    by_range = abs(summary.minimum + summary.maximum - 2 * summary.median) / spread
    by_quartiles = abs(summary.q1 + summary.q3 - 2 * summary.median) / middle
    if not summary.has_quartiles:
        return SkewnessTest(by_range, 1 / math.log(n + 9) + 2.5 / (n + 1))
    if not summary.has_range:
        return SkewnessTest(by_quartiles, 2.65 / math.sqrt(n) - 6 / n**2)
    scaled = 2.65 * math.log(0.6 * n) / math.sqrt(n) * by_range
    return SkewnessTest(max(scaled, by_quartiles), 3 / math.sqrt(n) - 40 / n**3)


def mean_sd_lognormal(summary: Summary) -> tuple[float, float]:
    """Mean and standard deviation of log-normal data (Shi et al. 2020b).

    Location and scale of the logarithms by the normal theory formulas, then the paper's
    bias-corrected back-transformation. doi:10.4310/SII.2020.v13.n4.a9
    """
    n, unit = summary.n, summary.median
    logs = summary.mapped(lambda value: math.log(value / unit))
    location = mean_luo(logs)
    rough, _ = sd_normal(logs)
    squared_log = math.log(n) ** 2
    # Each case: bias of the scale, of its fourth power, and the coefficients of the corrections
    # for the mean and for the two terms of the variance.
    if not logs.has_quartiles:
        bias, fourth = 1.01 + 0.25 / squared_log, 1 + 2.23 / squared_log
        first, second = 0.565, 0.37
    elif not logs.has_range:
        bias, fourth = 1 + 1.58 / n, 1 + 19.2 / math.pow(n, 1.2)
        first, second = 0.57, 0.75
    else:
        bias, fourth = 1 + 0.28 / squared_log, 1 + 3.93 / n
        first, second = 0.405, 0.315
    s2 = rough**2 / bias
    s4 = rough**4 / fourth
    mean = math.exp(location + s2 / 2) / (1 + first * s2 / n + second * s4 / n)
    square = math.exp(2 * location + 2 * s2) / (1 + 4 * first * s2 / n + 16 * second * s4 / n)
    mean_square = math.exp(2 * location + s2) / (1 + 4 * first * s2 / n + 4 * second * s4 / n)
    variance = square - mean_square
    return mean * unit, math.sqrt(variance) * unit if variance >= 0 else math.nan


# ---------------------------------------------------------------- Box-Cox method

LARGEST_POWER = 3.0
# Beyond this many standard deviations (plus twice the log scale, where the second moment of a
# log-normal distribution has its mass) the normal density is below 1e-32.
FAR = 12.0
LEVELS = 7


def box_cox(value: float, power: float) -> float:
    """Box-Cox transformation of a positive number."""
    return math.log(value) if power == 0 else math.expm1(power * math.log(value)) / power


def box_cox_power(summary: Summary) -> float:
    """The power, between 0 and 3, that makes the summary symmetrical about the median.

    McGrath et al. (2020), section 2.2: least squares of the ratios of upper to lower distance,
    less 1; exact for one pair of values. Powers below 0 are set to 0 (the logarithm), as in the
    authors' package estmeansd.
    """
    relative = [value / summary.median for value in summary.values]
    pairs = list(zip(relative, reversed(relative), strict=True))[: len(relative) // 2]

    def excess(pair: tuple[float, float], power: float) -> float:
        low, high = pair
        return box_cox(high, power) / -box_cox(low, power) - 1

    def root(pair: tuple[float, float]) -> float:
        # The ratio rises with the power, since a larger power is more convex.
        if excess(pair, 0.0) >= 0:
            return 0.0
        if excess(pair, LARGEST_POWER) <= 0:
            return LARGEST_POWER
        return _bisected(lambda power: excess(pair, power), 0.0, LARGEST_POWER)

    roots = sorted(map(root, pairs))
    if len(roots) == 1 or roots[0] == roots[1]:
        return roots[0]
    # The sum of squares falls before the smaller root and rises after the larger one.
    return _least_squares(
        lambda power: [excess(pair, power) for pair in pairs], roots[0], roots[1], 64
    )


def mean_sd_box_cox(summary: Summary) -> tuple[float, float, float]:
    """Mean and standard deviation by the Box-Cox method, with its power.

    McGrath et al. (2020), section 2.2, doi:10.1177/0962280219889080: location (Luo) and scale
    (Wan) of the transformed values; then the moments of the back-transformed normal
    distribution, cut symmetrically where the transformation ends, here by quadrature rather
    than by the authors' Monte Carlo.
    """
    power = box_cox_power(summary)
    unit = summary.median
    moved = summary.mapped(lambda value: box_cox(value / unit, power))
    location, scale = mean_luo(moved), sd_wan(moved)
    if power == 0:
        mean = math.exp(location + scale**2 / 2)
        return mean * unit, mean * math.sqrt(math.expm1(scale**2)) * unit, power
    cut = (location + 1 / power) / scale
    reach = min(cut, FAR + 2 * scale)
    # 1 + power (location + scale z) is power * scale * (z + cut): no cancellation near the cut.
    gap = cut - reach

    def original(from_left: float) -> float:
        return math.pow(power * scale * (from_left + gap), 1 / power)

    def moment(order: int, centre: float) -> float:
        return _double_exponential(
            lambda z, from_left: math.exp(-z * z / 2) * (original(from_left) - centre) ** order,
            reach,
        )

    mass = moment(0, 0.0)
    mean = moment(1, 0.0) / mass
    return mean * unit, math.sqrt(moment(2, mean) / mass) * unit, power


def _double_exponential(function: Callable[[float, float], float], half: float) -> float:
    """Integral from -half to half; the function also gets its distance from the left end.

    Takahasi & Mori (1974): the trapezoidal rule after z = half tanh(pi/2 sinh t), which does
    not mind a root or a pole at the ends.
    """
    step = 2.0**-LEVELS
    total = 0.0
    for i in range(int(-4 / step), int(4 / step) + 1):
        t = i * step
        u = math.pi / 2 * math.sinh(t)
        from_left = 2 * half / (1 + math.exp(-2 * u)) if u > -350 else 0.0
        slope = half * math.pi / 2 * math.cosh(t) / math.cosh(u) ** 2 if abs(u) < 350 else 0.0
        if slope and from_left:
            total += slope * function(half * math.tanh(u), from_left)
    return total * step


def _bisected(function: Callable[[float], float], low: float, high: float) -> float:
    """Root of a function that is below 0 at `low` and above at `high`, to the last bit."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return middle


# A four-point difference with this step has an error of about 1e-13 of a smooth derivative.
DIFFERENCE = 1e-3


def _least_squares(
    residuals: Callable[[float], list[float]], low: float, high: float, cells: int
) -> float:
    """Point between low and high with the least sum of squared residuals.

    The best of a grid, whose neighbours bracket a minimum; there the root of the derivative,
    which is known to many more digits than the point of least sum of squares.
    """
    grid = [low + (high - low) * i / cells for i in range(cells + 1)]
    sums = [math.fsum(r * r for r in residuals(at)) for at in grid]
    best = sums.index(min(sums))

    def slope(at: float) -> float:
        h = DIFFERENCE
        around = (residuals(at - 2 * h), residuals(at - h), residuals(at + h))
        last = residuals(at + 2 * h)
        return math.fsum(
            r * (a - 8 * b + 8 * c - d)
            for r, a, b, c, d in zip(residuals(at), *around, last, strict=True)
        )

    low, high = grid[max(best - 1, 0)], grid[min(best + 1, cells)]
    at_low, at_high = slope(low), slope(high)
    if at_low >= 0 or at_high <= 0:  # the least sum of squares is at an end of the range
        return grid[best]
    for _ in range(60):
        # False position; the end that stays twice counts half (Dowell & Jarratt 1971).
        at = high - at_high * (high - low) / (at_high - at_low)
        if not low < at < high:
            break
        value = slope(at)
        if value == 0 or abs(high - low) < 1e-14 * max(abs(at), 1.0):
            return at
        if value < 0:
            low, at_low, at_high = at, value, at_high / 2
        else:
            high, at_high, at_low = at, value, at_low / 2
    return (low + high) / 2


# ---------------------------------------------------------------- quantile estimation

# Shapes are searched as logarithms, this far to either side of what the moments suggest, and
# on from there while the best lies at the end.
SEARCHED = 3.0
CELLS = 16
MOST_SEARCHES = 6
# Above this shape a gamma distribution cannot be told from a normal one.
LARGEST_SHAPE = 1e4
SMALLEST_SIZE = 0.01


@dataclass(frozen=True, slots=True)
class Fitted:
    """A distribution fitted to quantiles: its name, mean, standard deviation and misfit."""

    name: str
    mean: float
    sd: float
    misfit: float


def probabilities(summary: Summary) -> tuple[float, ...]:
    """Probabilities of the summary's quantiles: 1/n and 1 - 1/n for the extremes."""
    low = ((1 / summary.n,) if summary.has_range else ()) + (
        (0.25,) if summary.has_quartiles else ()
    )
    return (*low, 0.5, *(1 - p for p in reversed(low)))


def _scaled(
    summary: Summary, log_quantile: Callable[[float, float], float], log_shape: float
) -> tuple[float, list[float]]:
    """Logarithm of the least-squares scale of a scale family, and relative residuals.

    Residuals are in units of the largest value of the summary.
    """
    logs = [log_quantile(p, math.exp(log_shape)) for p in probabilities(summary)]
    basis = [math.exp(min(value - logs[-1], 0.0)) for value in logs]
    unit = summary.values[-1]
    values = [value / unit for value in summary.values]
    scale = math.fsum(q * g for q, g in zip(values, basis, strict=True)) / math.fsum(
        g * g for g in basis
    )
    residuals = [q - scale * g for q, g in zip(values, basis, strict=True)]
    return math.log(unit * scale) - logs[-1], residuals


def _fit_scale_family(
    summary: Summary, log_quantile: Callable[[float, float], float], guess: float
) -> tuple[float, float, float]:
    """Shape, logarithm of the scale, and misfit of the family's nearest member.

    The misfit is infinite if it lies beyond all that was searched.
    """

    def residuals(log_shape: float) -> list[float]:
        return _scaled(summary, log_quantile, log_shape)[1]

    middle = math.log(guess)
    for _ in range(MOST_SEARCHES):
        low, high = middle - SEARCHED, middle + SEARCHED
        found = _least_squares(residuals, low, high, CELLS)
        if low < found < high:
            log_scale, misfits = _scaled(summary, log_quantile, found)
            return math.exp(found), log_scale, math.fsum(r * r for r in misfits)
        middle = found
    return math.nan, math.nan, math.inf


def _lognormal_log_quantile(p: float, sigma: float) -> float:
    return sigma * normal_quantile(p)


def _weibull_log_quantile(p: float, shape: float) -> float:
    return math.log(-math.log1p(-p)) / shape


def _from_logs(name: str, log_mean: float, log_square: float, misfit: float) -> Fitted:
    """A fitted distribution from log E(X) and log E(X^2) - 2 log E(X)."""
    largest = 700.0  # exp overflows soon after
    if not (abs(log_mean) < largest and log_square < largest):
        return Fitted(name, math.nan, math.nan, math.inf)
    mean = math.exp(log_mean)
    return Fitted(name, mean, mean * math.sqrt(math.expm1(log_square)), misfit)


def fit_normal(summary: Summary) -> Fitted:
    """Normal distribution: least squares of a straight line in the normal quantiles."""
    z = [normal_quantile(p) for p in probabilities(summary)]
    values = summary.values
    mean = math.fsum(values) / len(values)
    sd = math.fsum(a * (q - mean) for a, q in zip(z, values, strict=True)) / math.fsum(
        a * a for a in z
    )
    unit = max(map(abs, values))
    misfit = math.fsum(
        ((q - mean - sd * a) / unit) ** 2 for a, q in zip(z, values, strict=True)
    )
    return Fitted("normal", mean, sd, misfit)


def fit_lognormal(summary: Summary, variation: float) -> Fitted:
    """Log-normal distribution; `variation` is a first guess of sd / mean."""
    sigma, log_scale, misfit = _fit_scale_family(summary, _lognormal_log_quantile, variation)
    return _from_logs("log-normal", log_scale + sigma**2 / 2, sigma**2, misfit)


def fit_gamma(summary: Summary, variation: float) -> Fitted:
    """Gamma distribution; `variation` is a first guess of sd / mean."""
    shape, log_scale, misfit = _fit_scale_family(summary, gamma_log_quantile, variation**-2)
    return _from_logs("gamma", math.log(shape) + log_scale, math.log1p(1 / shape), misfit)


def fit_weibull(summary: Summary, variation: float) -> Fitted:
    """Weibull distribution; `variation` is a first guess of sd / mean."""
    guess = variation**-1.086
    shape, log_scale, misfit = _fit_scale_family(summary, _weibull_log_quantile, guess)
    first, second = math.lgamma(1 + 1 / shape), math.lgamma(1 + 2 / shape)
    return _from_logs("Weibull", log_scale + first, second - 2 * first, misfit)


def fit_beta(summary: Summary, mean: float, sd: float) -> Fitted:
    """Beta distribution, for values between 0 and 1, near a first guess of mean and sd.

    Least squares by Gauss and Newton's steps in the logit of the mean and the logarithm of
    a + b, each halved until the misfit falls. The misfit is infinite if that does not end at a
    stationary point, or a + b is beyond 0.01 to 10,000: there the beta distribution is two
    points, or no other than the gamma distribution.
    """
    values = summary.values
    given = probabilities(summary)
    unit = max(values)

    def residuals(logit: float, log_size: float) -> list[float]:
        centre = 1 / (1 + math.exp(-logit))
        size = math.exp(log_size)
        return [
            (q - beta_quantile(p, centre * size, (1 - centre) * size)) / unit
            for q, p in zip(values, given, strict=True)
        ]

    def misfit_of(logit: float, log_size: float) -> float:
        if not (abs(logit) < 15 and SMALLEST_SIZE < math.exp(log_size) < LARGEST_SHAPE):
            return math.inf
        return math.fsum(r * r for r in residuals(logit, log_size))

    centre = min(max(mean, 0.01), 0.99)
    guess = max(centre * (1 - centre) / sd**2 - 1, 0.1)
    starts = [
        (math.log(centre / (1 - centre)) + shift, math.log(guess) + growth)
        for shift in (-0.5, 0.0, 0.5)
        for growth in (-1.0, 0.0, 1.0)
    ]
    at = min(starts, key=lambda start: misfit_of(*start))
    misfit = misfit_of(*at)
    if math.isinf(misfit):
        return Fitted("beta", math.nan, math.nan, math.inf)
    h = DIFFERENCE
    stationary = False
    for _ in range(40):
        r = residuals(*at)
        slopes = [
            [
                (a - 8 * b + 8 * c - d) / (12 * h)
                for a, b, c, d in zip(
                    *(
                        residuals(at[0] + k * h * (1 - j), at[1] + k * h * j)
                        for k in (-2, -1, 1, 2)
                    ),
                    strict=True,
                )
            ]
            for j in (0, 1)
        ]
        aa, ab, bb = (
            math.fsum(u * v for u, v in zip(slopes[i], slopes[j], strict=True))
            for i, j in ((0, 0), (0, 1), (1, 1))
        )
        ar, br = (math.fsum(u * v for u, v in zip(row, r, strict=True)) for row in slopes)
        # Residuals at right angles to both slopes, or none: nothing can be gained.
        stationary = misfit < 1e-24 or max(abs(ar) / aa**0.5, abs(br) / bb**0.5) < (
            1e-8 * misfit**0.5
        )
        determinant = aa * bb - ab * ab
        if determinant <= 0:
            break
        step = ((ab * br - bb * ar) / determinant, (ab * ar - aa * br) / determinant)
        factor = min(1.0, 2.0 / max(abs(step[0]), abs(step[1]), 1e-300))
        new = (at[0] + factor * step[0], at[1] + factor * step[1])
        while misfit_of(*new) > misfit and factor > 1e-6:
            factor /= 2
            new = (at[0] + factor * step[0], at[1] + factor * step[1])
        moved = max(abs(new[0] - at[0]), abs(new[1] - at[1]))
        if factor <= 1e-6 or moved < 1e-13:
            break
        at, misfit = new, misfit_of(*new)
    if not stationary:
        return Fitted("beta", math.nan, math.nan, math.inf)
    centre, size = 1 / (1 + math.exp(-at[0])), math.exp(at[1])
    return Fitted("beta", centre, math.sqrt(centre * (1 - centre) / (size + 1)), misfit)


def quantile_estimates(summary: Summary) -> tuple[Fitted, ...]:
    """Candidate distributions fitted to the quantiles, the nearest first.

    Quantile estimation (McGrath et al. 2020, section 2.1, doi:10.1177/0962280219889080): the
    distribution whose quantiles are nearest to the reported in least squares, among normal,
    log-normal, gamma, Weibull and, for values between 0 and 1, beta; normal only if a value is
    negative. Least squares are global and unbounded, so that the unit of the outcome does not
    matter; the authors' package searches locally and within fixed bounds.
    """
    normal = fit_normal(summary)
    fits = [normal]
    if summary.values[0] >= 0:
        variation = normal.sd / normal.mean
        fits += [fit_lognormal(summary, variation), fit_weibull(summary, variation)]
        if 1 / variation**2 < LARGEST_SHAPE:
            fits.append(fit_gamma(summary, variation))
        if summary.values[-1] <= 1:
            fits.append(fit_beta(summary, normal.mean, normal.sd))
    return tuple(sorted(fits, key=lambda fit: fit.misfit))
