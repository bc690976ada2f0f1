"""Standard deviations from standard errors, intervals, tests, groups and changes."""

import math
from collections.abc import Sequence

from evisynth.conversions.distributions import (
    normal_half_width,
    normal_quantile,
    t_half_width,
    t_upper_quantile,
)

# The middle of a symmetrical interval, as far from the mean as this fraction of its half-width,
# cannot be explained by rounding to two digits.
OFF_CENTRE = 0.1


def sd_from_se(se: float, n: float) -> float:
    """Standard deviation of n values from the standard error of their mean."""
    return se * math.sqrt(n)


def sd_from_interval(
    low: float, high: float, n: float, *, level: float, distribution: str
) -> float:
    """Standard deviation from the confidence interval of a mean.

    Cochrane Handbook 6.5.2.2: `distribution` is ``t``, with n - 1 degrees of freedom, or
    ``normal``. `level` as a fraction.
    """
    width = t_half_width(level, n - 1) if distribution == "t" else normal_half_width(level)
    return math.sqrt(n) * (high - low) / (2 * width)


def centre_note(low: float, high: float, value: float, said: str) -> tuple[str, ...]:
    """A note if a value lies too far from the middle of its interval to be due to rounding."""
    half, middle = (high - low) / 2, (low + high) / 2
    if math.isnan(value) or abs(value - middle) <= OFF_CENTRE * half:
        return ()
    return (
        f"{said} {value:.6g} is not in the middle ({middle:.6g}) of its interval "
        f"{low:.6g} to {high:.6g}: the interval may belong to another scale or method",
    )


def pooled_sd_from_se(se: float, n1: float, n2: float) -> float:
    """Common standard deviation of two groups from the standard error of their difference.

    Cochrane Handbook 6.5.2.3.
    """
    return se / math.sqrt(1 / n1 + 1 / n2)


def se_from_interval(low: float, high: float, *, level: float, df: float = math.nan) -> float:
    """Standard error from an interval estimate -/+ quantile * se; normal where df is nan."""
    width = normal_half_width(level) if math.isnan(df) else t_half_width(level, df)
    return (high - low) / (2 * width)


def se_from_p(estimate: float, p: float, *, df: float = math.nan) -> float:
    """Standard error from an estimate and its two-sided p-value; normal where df is nan.

    nan if the estimate is 0 or p is 1, where p says nothing about it.
    """
    if estimate == 0 or p >= 1:
        return math.nan
    quantile = -normal_quantile(p / 2) if math.isnan(df) else t_upper_quantile(p / 2, df)
    return abs(estimate) / quantile


def sd_from_iqr(iqr: float) -> float:
    """Standard deviation of normal data from the width of the interquartile range, n large.

    Cochrane Handbook 6.5.2.5, with the exact divisor 1.349 that it rounds to 1.35.
    """
    return iqr / (2 * normal_quantile(0.75))


def combine_groups(
    ns: Sequence[float], means: Sequence[float], sds: Sequence[float]
) -> tuple[float, float, float]:
    """n, mean and standard deviation of several groups taken as one.

    Cochrane Handbook 6.5.2.10: exactly what the persons' own data would give.
    """
    n = math.fsum(ns)
    # About the first mean, so that means far from 0 lose no digits.
    shifts = [mean - means[0] for mean in means]
    shift = math.fsum(size * value for size, value in zip(ns, shifts, strict=True)) / n
    within = math.fsum((size - 1) * sd**2 for size, sd in zip(ns, sds, strict=True))
    between = math.fsum(
        size * (value - shift) ** 2 for size, value in zip(ns, shifts, strict=True)
    )
    return n, means[0] + shift, math.sqrt((within + between) / (n - 1))


def sd_of_change(before: float, after: float, correlation: float) -> float:
    """Standard deviation of changes from those before and after (Cochrane Handbook 6.5.2.8).

    nan if rounding or a wrong correlation makes the variance negative.
    """
    # (before - after)^2 + 2 (1 - r) before after, which does not cancel where r is near 1.
    variance = (before - after) ** 2 + 2 * (1 - correlation) * before * after
    return math.sqrt(variance) if variance >= 0 else math.nan


def correlation_of_change(before: float, after: float, change: float) -> float:
    """Correlation of before and after that gives the standard deviation of the changes.

    Cochrane Handbook 6.5.2.8; nan if no correlation does, or a standard deviation is 0.
    """
    if before * after == 0:
        return math.nan
    r = 1 - (change**2 - (before - after) ** 2) / (2 * before * after)
    return r if -1 <= r <= 1 else math.nan
