"""Integrals of smooth functions to nearly all digits, by adaptive Gauss-Legendre panels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

from evisynth.records import Floats

Values = TypeVar("Values", NDArray[np.float64], NDArray[np.complex128])

# Nodes of one panel: exact for polynomials of degree 39.
NODES, WEIGHTS = leggauss(20)
# Halvings of a panel before it is taken as it is: its width is then at rounding error.
DEEPEST = 50
# Panels halved at once: that many do not agree only where rounding errors keep them from it.
MOST = 500


def dot(values: Values, weights: Floats) -> Values:
    """Sums over the last axis of `values` (..., n) times `weights` (n,).

    Not `@`, whose libraries start threads for it: slow beside other work, and rounding differs
    from processor to processor.
    """
    sums: Values = np.einsum("...n,n->...", values, weights)
    return sums


@dataclass(frozen=True, slots=True)
class Panels:
    """A quadrature rule on adjoining panels, made for one function.

    Attributes
    ----------
    edges : (m + 1,), ascending.
    points, weights : (m, 20), of the rule.
    values : (m, 20), the function at the points.
    """

    edges: Floats
    points: Floats
    weights: Floats
    values: Floats

    @property
    def integral(self) -> float:
        """Integral of the function over all panels."""
        return float((self.weights * self.values).sum())


def rule(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Points and weights, each (m, 20), for panels from `low` to `high`, each (m,)."""
    half = (high - low)[:, np.newaxis] / 2
    return low[:, np.newaxis] + half * (1 + NODES), half * WEIGHTS


def adaptive(
    function: Callable[[Floats], Floats], edges: Floats, tolerance: float = 1e-13
) -> Panels:
    """Panels on which the integral of a non-negative `function` is known to `tolerance`.

    A panel is halved until its two halves together agree with it to `tolerance`, relative to
    the whole integral.

    Parameters
    ----------
    function : of points of shape (m, 20), giving values of that shape; not negative.
    edges : (n + 1,), ascending: the panels to begin with. A peak narrower than they are is
        found if the logarithm of the function is smooth enough to point to it.
    """
    low, high = edges[:-1], edges[1:]
    points, weights = rule(low, high)
    values = function(points)
    done: list[tuple[Floats, Floats, Floats, Floats, Floats]] = []
    settled = 0.0
    for _ in range(DEEPEST):
        whole = (weights * values).sum(axis=1)
        middle = low + (high - low) / 2
        left, right = rule(low, middle), rule(middle, high)
        parts = np.concatenate([left[0], right[0]])
        half_weights = np.concatenate([left[1], right[1]])
        half_values = function(parts)
        halves = (half_weights * half_values).sum(axis=1).reshape(2, -1).sum(axis=0)
        total = settled + float(halves.sum())
        poor = np.abs(halves - whole) > tolerance * total / 4
        poor &= np.count_nonzero(poor) <= MOST
        fine = ~poor
        done.append((low[fine], high[fine], points[fine], weights[fine], values[fine]))
        settled += float(whole[fine].sum())
        if not poor.any():
            break
        twice = np.concatenate([poor, poor])
        low, high = (
            np.concatenate([low[poor], middle[poor]]),
            np.concatenate([middle[poor], high[poor]]),
        )
        points, weights, values = parts[twice], half_weights[twice], half_values[twice]
    else:
        done.append((low, high, points, weights, values))
    lows, highs, *rest = (np.concatenate(column) for column in zip(*done, strict=True))
    order = np.argsort(lows)
    points, weights, values = (column[order] for column in rest)
    return Panels(
        edges=np.append(lows[order], highs[order][-1]),
        points=points,
        weights=weights,
        values=values,
    )
