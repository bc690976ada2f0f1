"""Mixtures of normal distributions: probabilities, quantiles and shortest intervals."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from evisynth.models.integration import dot
from evisynth.records import Floats

# Weight below which a part of a mixture cannot move a digit.
NEGLIGIBLE = 1e-18
# Intervals compared in the search for the shortest one.
TRIALS = 20


@dataclass(frozen=True, slots=True)
class Mixture:
    """A mixture of normal distributions.

    Attributes
    ----------
    weights : (n,), positive, with sum 1.
    means, sds : (n,).
    """

    weights: Floats
    means: Floats
    sds: Floats

    def below(self, x: float) -> float:
        """Probability of less than `x`."""
        return float(dot(ndtr((x - self.means) / self.sds), self.weights))

    def density(self, x: float) -> float:
        """Density at `x`."""
        z = (x - self.means) / self.sds
        return float(dot(np.exp(-z * z / 2) / self.sds, self.weights)) / math.sqrt(2 * math.pi)

    def mean(self) -> float:
        """Mean."""
        return float(dot(self.means, self.weights))

    def sd(self) -> float:
        """Standard deviation."""
        away = self.means - self.mean()
        return math.sqrt(float(dot(self.sds**2 + away**2, self.weights)))

    def quantile(self, p: float) -> float:
        """The value below which the probability is `p`; to the last digits."""
        if p > 0.5:  # in the tail in which the difference is not from 1
            return -Mixture(self.weights, -self.means, self.sds).quantile(1 - p)
        low = high = self.mean()
        step = float(self.sds.min())
        while self.below(low) > p:
            low, high, step = low - step, low, 2 * step
        while self.below(high) < p:
            low, high, step = high, high + step, 2 * step
        # Away from 0, so that a root near it is found to its own digits.
        found = brentq(lambda x: self.below(x) - p, low, high, xtol=1e-300, rtol=1e-14)
        return float(found)


def shortest(
    quantile: Callable[[float], float],
    density: Callable[[float], float],
    level: float,
    lowest: float = -math.inf,
) -> tuple[float, float]:
    """The shortest interval that holds a probability of `level`.

    The best of a row of trials, whose ends are then moved until the density is the same at
    both, as it must be at a minimum of the length; or the interval from `lowest`, a bound of
    the distribution, if that is the shortest.
    """
    spare = 1 - level
    trials = spare * (np.arange(TRIALS) + 0.5) / TRIALS
    lengths = [quantile(p + level) - quantile(p) for p in trials]
    best = int(np.argmin(lengths))
    if math.isfinite(lowest) and best == 0:
        high = quantile(level)
        if high - lowest <= lengths[0]:
            return lowest, high

    def unequal(p: float) -> float:
        return density(quantile(p + level)) - density(quantile(p))

    left = float(trials[best - 1]) if best > 0 else spare * 1e-12
    right = float(trials[best + 1]) if best + 1 < TRIALS else spare * (1 - 1e-12)
    p = float(trials[best])
    if unequal(left) * unequal(right) < 0:
        p = float(brentq(unequal, left, right, xtol=spare * 1e-13, rtol=1e-13))
    return quantile(p), quantile(p + level)
