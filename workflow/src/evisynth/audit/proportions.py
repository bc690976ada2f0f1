"""Intervals of a proportion by the usual methods, to tell which one printed an interval."""

import math
from functools import lru_cache

from evisynth.audit.rounding import Span
from evisynth.conversions.distributions import beta_quantile, normal_half_width

# Beyond it exact intervals are those of the normal approximations.
MOST_EXACT = 100_000


@lru_cache(maxsize=4096)
def proportion_intervals(k: int, n: int, level: float) -> dict[str, tuple[float, float]]:
    """Intervals of k/n by the usual methods, as fractions.

    Newcombe (1998); Brown, Cai & DasGupta (2001); Wilson with continuity correction as in
    Newcombe's eq. 4; log-log: Kaplan-Meier's without censoring.
    """
    z = normal_half_width(level)
    p, q = k / n, 1 - k / n
    half = z * math.sqrt(p * q / n)
    found = {
        "Wald": (p - half, p + half),
        "Wald with continuity correction": (p - half - 0.5 / n, p + half + 0.5 / n),
    }
    centre = (2 * k + z * z) / (2 * (n + z * z))
    wide = z * math.sqrt(z * z + 4 * k * q) / (2 * (n + z * z))
    found["Wilson"] = (centre - wide, centre + wide)
    inner = (z * z - 1 / n + 4 * n * p * q, 4 * p - 2)
    corrected = [
        (2 * k + z * z + sign * (1 + z * math.sqrt(max(0.0, inner[0] - sign * inner[1]))))
        / (2 * (n + z * z))
        for sign in (-1, 1)
    ]
    found["Wilson with continuity correction"] = (
        0.0 if k == 0 else corrected[0],
        1.0 if k == n else corrected[1],
    )
    agresti = z * math.sqrt(centre * (1 - centre) / (n + z * z))
    found["Agresti-Coull"] = (centre - agresti, centre + agresti)
    angle, step = math.asin(math.sqrt(p)), z / (2 * math.sqrt(n))
    found["arcsine"] = (
        math.sin(max(0.0, angle - step)) ** 2,
        math.sin(min(math.pi / 2, angle + step)) ** 2,
    )
    if 0 < k < n:
        logit, se = math.log(p / q), z / math.sqrt(n * p * q)
        found["logit"] = (1 / (1 + math.exp(se - logit)), 1 / (1 + math.exp(-se - logit)))
        power = math.exp(z * math.sqrt(q / (n * p)) / abs(math.log(p)))
        found["log-log"] = (p**power, p ** (1 / power))
    if n <= MOST_EXACT:
        tail = (1 - level) / 2
        found["Clopper-Pearson"] = (
            0.0 if k == 0 else beta_quantile(tail, k, n - k + 1),
            1.0 if k == n else beta_quantile(1 - tail, k + 1, n - k),
        )
        found["Jeffreys"] = (
            0.0 if k == 0 else beta_quantile(tail, k + 0.5, n - k + 0.5),
            1.0 if k == n else beta_quantile(1 - tail, k + 0.5, n - k + 0.5),
        )
    return {name: (max(0.0, low), min(1.0, high)) for name, (low, high) in found.items()}


def methods_that_print(low: Span, high: Span, k: int, n: int, level: float) -> list[str]:
    """Methods whose interval prints both bounds, which are in per cent."""
    return [
        name
        for name, (lower, upper) in proportion_intervals(k, n, level).items()
        if low.holds(100 * lower, 1e-9) and high.holds(100 * upper, 1e-9)
    ]
