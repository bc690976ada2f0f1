"""Random-effects models of very many data sets at once, of different numbers of studies.

Compiled; memory is proportional to the input. The results are those of `tau2` and
`inverse_variance`: the global maximum of the restricted likelihood, not that of a local search.

The maximum is found from bounds. With v and V the smallest and the largest vi, t = tau2 + v, u
= log t and r = t / (tau2 + V), the score of the restricted likelihood is A - B, A = y'PPy and B
= trace(P). The eigenvalues of P other than 0 lie between 1 / (tau2 + V) and 1 / t, so that

    -2 <= d log A / du <= -2 r,    -1 <= d log B / du <= -r,

and g = log A - log B falls by at most 2 - r, and rises by at most 1 - 2 r, per unit of u: where
g is positive it stays so for a step of g / (2 - r), where it is negative for one of -g / (1 - 2
r), and from r = 1/2 on it only falls. The search walks to the right by these safe steps until
then. No maximum can be stepped over, but for pairs of a minimum and a maximum closer than
`STEP`, the spacing of the scan in `tau2`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from evisynth.records import Floats

Function = TypeVar("Function", bound=Callable[..., Any])

# Shortest step in u; see `tau2.STEP`.
STEP = 1 / 32
# Numbers of data sets that are sorted and scaled at once.
BLOCK = 1_000_000
# Bisection alone ends a search for a root in fewer steps.
MOST_STEPS = 200
ROUNDING = 2 * float(np.finfo(float).eps)
# The product of variances is turned into a logarithm before it can overflow.
LARGE = 1e150


@dataclass(frozen=True, slots=True)
class Many:
    """Fits of n data sets; every field has shape (n,), nan where not estimable (k < 2).

    Attributes
    ----------
    k : number of studies.
    estimate, se : mean and Wald's standard error.
    tau2, q : between-study variance; Cochran's Q.
    s2w : factor of Knapp and Hartung (2003), whose standard error is sqrt(s2w) se.
    """

    k: NDArray[np.intp]
    estimate: Floats
    se: Floats
    tau2: Floats
    q: Floats
    s2w: Floats


def _compiled(function: Function) -> Function:
    """Compile once per machine; divisions by 0 give infinities, as in numpy."""
    compiled: Any = numba.njit(cache=True, error_model="numpy")(function)
    return cast(Function, compiled)


# Below, yi and vi are of one data set (k,), the most precise study first: yi[0] = 0, vi[0] = 1.


@_compiled
def _sums(
    yi: Floats, vi: Floats, tau2: float
) -> tuple[float, float, float, float, float, float]:
    """Sum of the weights, mean, Q, y'PPy, trace of P, derivative of y'PPy - trace of P."""
    first = 1 / (vi[0] + tau2)
    rest = 0.0
    total = 0.0
    for i in range(1, yi.size):
        wi = 1 / (vi[i] + tau2)
        rest += wi
        total += wi * yi[i]
    w1 = first + rest
    mean = total / w1
    q = first * mean * mean
    ypp = first * q
    yppp = first * ypp
    mixed = -first * first * mean
    # Only the most precise study can outweigh all others, where w1 - wi would lose digits.
    trace = first * rest
    w2 = first * first
    w3 = first * w2
    for i in range(1, yi.size):
        wi = 1 / (vi[i] + tau2)
        ri = yi[i] - mean
        weighted = wi * ri
        q += weighted * ri
        ypp += weighted * weighted
        yppp += weighted * weighted * wi
        mixed += weighted * wi
        trace += wi * (w1 - wi)
        w2 += wi * wi
        w3 += wi * wi * wi
    trace2 = w2 - 2 * w3 / w1 + (w2 / w1) ** 2
    slope = trace2 - 2 * (yppp - mixed * mixed / w1)
    return w1, mean, q, ypp, trace / w1, slope


@_compiled
def _height(yi: Floats, vi: Floats, tau2: float) -> float:
    """Restricted log-likelihood up to a constant."""
    logs = 0.0
    product = 1.0
    for i in range(yi.size):
        product *= vi[i] + tau2
        if product > LARGE:
            logs += math.log(product)
            product = 1.0
    w1, _, q, _, _, _ = _sums(yi, vi, tau2)
    return -(logs + math.log(product) + math.log(w1) + q) / 2


@_compiled
def _root(yi: Floats, vi: Floats, low: float, high: float) -> float:
    """Root between `low` and `high` of the score, by Newton inside of the bracket."""
    root = low + (high - low) / 2
    for _ in range(MOST_STEPS):
        _, _, _, ypp, trace, slope = _sums(yi, vi, root)
        if ypp > trace:
            low = root
        else:
            high = root
        new = root - (ypp - trace) / slope
        if not low < new < high:
            new = low + (high - low) / 2
        if abs(new - root) <= ROUNDING * (1 + root):
            return new
        root = new
    return root


@_compiled
def _restricted(yi: Floats, vi: Floats) -> float:
    """Global maximum of the restricted likelihood over tau2 >= 0."""
    _, _, _, ypp, trace, _ = _sums(yi, vi, 0.0)
    if ypp == 0:
        return 0.0  # identical effects
    g = math.log(ypp / trace)
    largest = vi.max()
    # Beyond the squared range of the effects the score is negative; see `tau2`.
    end = np.ptp(yi) ** 2
    best = 0.0
    found = g <= 0  # whether `best` is a maximum yet: here that on the boundary
    tau2 = 0.0
    while tau2 < end:
        ratio = (tau2 + 1) / (tau2 + largest)
        if ratio >= 0.5:
            if g <= 0:
                break
            new = max(end, 2 * tau2 + 1)
        else:
            step = g / (2 - ratio) if g > 0 else -g / (1 - 2 * ratio)
            new = (tau2 + 1) * math.exp(max(step, STEP)) - 1
        _, _, _, ypp, trace, _ = _sums(yi, vi, new)
        following = math.log(ypp / trace)
        if g > 0 and following <= 0:
            top = _root(yi, vi, tau2, new)
            if not found or _height(yi, vi, top) >= _height(yi, vi, best):
                best = top
            found = True
        tau2, g = new, following
    return best


@_compiled
def _dersimonian_laird(yi: Floats, vi: Floats) -> float:
    """Moment estimator, truncated at 0."""
    _, _, q, _, trace, _ = _sums(yi, vi, 0.0)
    return max((q - (yi.size - 1)) / trace, 0.0)


@_compiled
def _fit(yi: Floats, vi: Floats, restricted: bool, out: Floats) -> None:
    """Fit data sets (n, k) into `out`, (n, 5): estimate, se, tau2, q, s2w."""
    for row in range(yi.shape[0]):
        y, v = yi[row], vi[row]
        tau2 = _restricted(y, v) if restricted else _dersimonian_laird(y, v)
        w1, mean, weighted, _, _, _ = _sums(y, v, tau2)
        out[row, 0] = mean
        out[row, 1] = 1 / math.sqrt(w1)
        out[row, 2] = tau2
        out[row, 3] = _sums(y, v, 0.0)[2]
        out[row, 4] = weighted / (y.size - 1)


METHODS = ("REML", "DL")


def fit_many(yi: Floats, vi: Floats, k: NDArray[np.intp], *, method: str = "REML") -> Many:
    """Random-effects fits of n data sets.

    Parameters
    ----------
    yi, vi : effects and variances of all data sets, one after the other.
    k : (n,), numbers of studies; their sum is the size of `yi`.
    method : ``REML``, the global maximum, or ``DL``.

    Raises
    ------
    ValueError
        Sizes that do not fit, values that are not finite, variances that are not positive, an
        unknown method.
    """
    yi, vi, k = np.asarray(yi, dtype=float), np.asarray(vi, dtype=float), np.asarray(k)
    if yi.ndim != 1 or yi.shape != vi.shape or (k < 0).any() or k.sum() != yi.size:
        raise ValueError(
            "yi and vi must have one shape, the sum of k, "
            f"not {yi.shape}, {vi.shape} and {k.sum()}"
        )
    if not (np.isfinite(yi).all() and np.isfinite(vi).all() and (vi > 0).all()):
        raise ValueError("yi must be finite, vi positive and finite")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    out = np.full((k.size, 5), math.nan)
    starts = np.cumsum(k) - k
    for size in np.unique(k[k > 1]).tolist():
        sets = np.flatnonzero(k == size)
        width = max(1, BLOCK // size)
        for first in range(0, sets.size, width):
            chunk = sets[first : first + width]
            at = starts[chunk, np.newaxis] + np.arange(size)
            out[chunk] = _fit_block(yi[at], vi[at], method)
    return Many(k, *(np.ascontiguousarray(column) for column in out.T))


def _fit_block(yi: Floats, vi: Floats, method: str) -> Floats:
    """Fits of data sets of one size, (n, k); the columns of `_fit`."""
    order = np.argsort(vi, axis=1, kind="stable")
    yi, vi = np.take_along_axis(yi, order, 1), np.take_along_axis(vi, order, 1)
    shift, unit = yi[:, :1], vi[:, :1]
    root = np.sqrt(unit)
    out = np.empty((yi.shape[0], 5))
    _fit((yi - shift) / root, vi / unit, method == "REML", out)
    out[:, 0] = shift[:, 0] + out[:, 0] * root[:, 0]
    out[:, 1] *= root[:, 0]
    out[:, 2] *= unit[:, 0]
    return out
