"""Tests of two proportions, exact or nearly so, without numpy: Fisher's, mid-p, chi-square."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Above this number of units binomial coefficients are taken as floats on the log scale.
EXACT_UP_TO = 5000
# Larger groups are not tested: every table with these margins is looked at.
LARGEST = 200_000
# Relative difference below which two tables are equally probable on the log scale.
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class FisherTest:
    """Fisher's exact test of a 2x2 table.

    Attributes
    ----------
    one_sided : probability of the observed count or one further out, on the side it lies on.
    two_sided : probability of all tables that are at most as probable as the observed one.
    mid_one_sided, mid_two_sided : the same with half the probability of the observed table.
    """

    one_sided: float
    two_sided: float
    mid_one_sided: float
    mid_two_sided: float


def fisher(a: int, n1: int, c: int, n2: int) -> FisherTest:
    """Fisher's exact test of `a` of `n1` against `c` of `n2`.

    Integers up to `EXACT_UP_TO` units, log-gamma beyond (relative error about 1e-10).

    Raises
    ------
    ValueError
        If a count is negative or above its n.

    References
    ----------
    Fisher 1935, J R Stat Soc 98:39; mid-p: Lancaster 1961, J Am Stat Assoc 56:223.
    """
    _check(a, n1, c, n2)
    events, total = a + c, n1 + n2
    low, high = max(0, events - n2), min(n1, events)
    if total <= EXACT_UP_TO:
        exact = _weights(n1, n2, events, low, high)
        seen = exact[a - low]
        every = sum(exact)
        below, above = sum(exact[: a - low + 1]), sum(exact[a - low :])
        extreme = sum(weight for weight in exact if weight <= seen)
        one, two = min(below, above), extreme
        # Doubled so that half of the observed weight stays an integer.
        return FisherTest(
            one / every,
            two / every,
            (2 * one - seen) / (2 * every),
            (2 * two - seen) / (2 * every),
        )
    logs = _log_weights(n1, n2, events, low, high)
    top = max(logs)
    weights = [math.exp(value - top) for value in logs]
    every_ = math.fsum(weights)
    observed = weights[a - low]
    one_ = min(math.fsum(weights[: a - low + 1]), math.fsum(weights[a - low :]))
    two_ = math.fsum(weight for weight in weights if weight <= observed * (1 + TIE))
    return FisherTest(
        one_ / every_,
        min(1.0, two_ / every_),
        (one_ - observed / 2) / every_,
        (two_ - observed / 2) / every_,
    )


def chi_square(a: int, n1: int, c: int, n2: int, *, yates: bool = False) -> float | None:
    """Two-sided p-value of Pearson's chi-square test (1 df); None if a margin is empty.

    Parameters
    ----------
    yates : with the correction for continuity, at most as large as the deviation itself.

    References
    ----------
    Yates 1934, Suppl J R Stat Soc 1:217.
    """
    _check(a, n1, c, n2)
    events, total = a + c, n1 + n2
    rest = total - events
    if not (n1 and n2 and events and rest):
        return None
    deviation = abs(a * n2 - c * n1)  # total times the deviation from what is expected
    twice = 2 * deviation - (min(total, 2 * deviation) if yates else 0)
    # chi-square = deviation^2 total / (n1 n2 events rest); p = erfc(sqrt(chi-square / 2))
    margins = math.sqrt(n1) * math.sqrt(n2) * math.sqrt(events) * math.sqrt(rest)
    return math.erfc(twice / 2 * math.sqrt(total) / margins / math.sqrt(2))


def _check(a: int, n1: int, c: int, n2: int) -> None:
    if not (0 <= a <= n1 and 0 <= c <= n2):
        raise ValueError(f"{a} of {n1} and {c} of {n2} are not counts of two groups")


def _weights(n1: int, n2: int, events: int, low: int, high: int) -> Sequence[int]:
    """Number of ways to each count of the first group, from `low` to `high`."""
    weights = [math.comb(n1, low) * math.comb(n2, events - low)]
    for k in range(low, high):
        # comb(n1, k + 1) comb(n2, events - k - 1) from its neighbour: the division is exact
        weights.append(
            weights[-1] * (n1 - k) * (events - k) // ((k + 1) * (n2 - events + k + 1))
        )
    return weights


def _log_weights(n1: int, n2: int, events: int, low: int, high: int) -> Sequence[float]:
    def comb(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    return [comb(n1, k) + comb(n2, events - k) for k in range(low, high + 1)]


def at_least(chances: Sequence[float], hits: int) -> float:
    """Probability of at least `hits` successes of independent trials with these chances.

    The distribution is the Poisson binomial, by convolution.
    """
    dist = [1.0]
    for chance in chances:
        dist = [
            (dist[k] * (1 - chance) if k < len(dist) else 0.0)
            + (dist[k - 1] * chance if k else 0.0)
            for k in range(len(dist) + 1)
        ]
    return min(1.0, math.fsum(dist[hits:])) if hits > 0 else 1.0
