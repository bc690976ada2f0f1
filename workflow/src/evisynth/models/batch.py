"""Random-effects models of very many data sets at once, of different numbers of studies.

Compiled; memory is proportional to the input. The results are those of `tau2` and
`inverse_variance`: the global maximum of the restricted likelihood, not that of a local search.

The maximum is found from bounds. With v and V the smallest and the largest vi, t = tau2 + v, u
= log t and r = t / (tau2 + V), the score of the restricted likelihood is A - B, A = y'PPy and B
= trace(P). With l the eigenvalues of P other than 0 and s = t l, which lie between r and 1 and
have the derivative s (1 - s), A is a sum of positive multiples of s^2 / t^2 and B the sum of s
/ t. Let a be the mean of s weighted by the terms of A, b that weighted by the terms of B. Then
g = log A - log B has the derivatives

    g'  = b - 2 a,
    g'' = b (1 - b) - 2 Var(s; B) - 2 a (1 - a) + 6 Var(s; A),

and since a variance is at least 0 and at most (mean - r) (1 - mean),

    -(2 - r) <= g' <= 1 - 2 r,
    -1/2 - (1 - 2 r)^2 / 4 <= g'' <= 1/4 + (1 - 3 r / 2)^2    for r <= 1/2.

As r rises with u, they bound how far g keeps its sign to the right of a point where g and g'
are known. The search walks to the right by such safe steps until r = 1/2, from where g only
falls. No maximum can be stepped over, but for pairs of a minimum and a maximum closer than
`STEP`, the spacing of the scan in `tau2`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from evisynth.heterogeneity import FEW
from evisynth.inference import normal_quantile, quantile
from evisynth.linear import WIDEST
from evisynth.records import Floats

Function = TypeVar("Function", bound=Callable[..., Any])
Sums = tuple[float, float, float, float, float, float, float]

# Shortest step in u; see `tau2.STEP`.
STEP = 1 / 32
# Bisection alone ends a search for a root in fewer steps.
MOST_STEPS = 200
# Newton's method squares this: the step after one so short is below the last digit.
SHORT = 1e-10
# The product of variances is turned into a logarithm before it can overflow.
LARGE = 1e150


@dataclass(frozen=True, slots=True)
class Many:
    """Fits of n data sets; every field has shape (n,), nan where not estimable.

    That is below two studies, and where effects or standard errors are more than
    `linear.WIDEST` times the smallest standard error apart.

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


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals of n data sets by the default rules; every field has shape (n,).

    Attributes
    ----------
    se : standard error of the interval of the mean.
    low, high : of the mean; nan where not estimable.
    pi_low, pi_high : prediction interval HK; nan below k = 3.
    floored : whether Knapp and Hartung's interval is replaced by the floored one.
    """

    se: Floats
    low: Floats
    high: Floats
    pi_low: Floats
    pi_high: Floats
    floored: NDArray[np.bool_]


def _compiled(function: Function) -> Function:
    """Compile as a part of `_fit`; divisions by 0 give infinities, as in numpy."""
    return cast(Function, numba.njit(error_model="numpy")(function))


def _kept(function: Function) -> Function:
    """Compile once per machine: the code is kept in __pycache__, or else in the user's cache.

    Where neither can be written, every process compiles anew.
    """
    try:
        return cast(Function, numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:  # no folder for the cache
        return _compiled(function)


# Below, yi and vi are of one data set (k,), the most precise study first: yi[0] = 0, vi[0] = 1;
# wi is room for k weights.


@_compiled
def _sums(yi: Floats, vi: Floats, wi: Floats, tau2: float) -> Sums:
    """Sum of the weights, mean, Q, y'PPy, trace of P, and minus the derivatives of these two.

    Of weights relative to the largest, s = (1 + tau2) / (vi + tau2), so that nothing underflows
    and the derivatives are with respect to u. The traces, and y'PPPy as a weighted variance
    around the most precise study, are sums without differences in which one dominant study,
    which can only be the first, would cost digits.
    """
    t = 1 + tau2
    rest = 0.0
    total = 0.0
    for i in range(1, yi.size):
        weight = t / (vi[i] + tau2)
        wi[i] = weight
        rest += weight
        total += weight * yi[i]
    w1 = 1 + rest
    mean = total / w1
    q = mean * mean
    ypp = q
    trace = rest
    diagonal = rest * rest
    squares = 0.0
    fourths = 0.0
    spread = 0.0
    shift = 0.0
    for i in range(1, yi.size):
        weight = wi[i]
        ri = yi[i] - mean
        ei = weight * ri
        q += ei * ri
        ypp += ei * ei
        apart = ei + mean  # the first ei is minus the mean
        shift += weight * apart
        spread += weight * apart * apart
        part = weight * (w1 - weight)
        trace += part
        diagonal += part * part
        square = weight * weight
        squares += square
        fourths += square * square
    off = 2 * squares + (squares * squares - fourths)
    yppp = spread - shift * shift / w1
    return w1, mean, q, ypp, trace / w1, 2 * yppp, (diagonal + off) / (w1 * w1)


@_compiled
def _height(yi: Floats, vi: Floats, wi: Floats, tau2: float) -> float:
    """Restricted log-likelihood up to a constant."""
    logs = 0.0
    product = 1.0
    for i in range(yi.size):
        product *= vi[i] + tau2
        if product > LARGE:
            logs += math.log(product)
            product = 1.0
    w1, _, q, _, _, _, _ = _sums(yi, vi, wi, tau2)
    t = 1 + tau2
    return -(logs + math.log(product) + math.log(w1 / t) + q / t) / 2


@_compiled
def _g(sums: Sums, tau2: float) -> tuple[float, float]:
    """The function g of the module, and its derivative with respect to u."""
    _, _, _, ypp, trace, ypp_falls, trace_falls = sums
    g = math.log(ypp / (1 + tau2) / trace)
    return g, trace_falls / trace - ypp_falls / ypp


@_compiled
def _step(g: float, slope: float, ratio: float) -> float:
    """A step in u within which g keeps its sign, but at least `STEP`; `ratio` is r < 1/2."""
    if g > 0:
        by_slope = g / (2 - ratio)
        bend = 0.5 + (1 - 2 * ratio) ** 2 / 4
        by_bend = (math.sqrt(slope * slope + 2 * bend * g) + slope) / bend
    else:
        by_slope = -g / (1 - 2 * ratio)
        bend = 0.25 + (1 - 1.5 * ratio) ** 2
        by_bend = (math.sqrt(slope * slope - 2 * bend * g) - slope) / bend
    step = STEP
    # So, and not by `max`, a nan from effects whose squares underflow is no step.
    if by_slope > step:
        step = by_slope
    if by_bend > step:
        step = by_bend
    return step


@_compiled
def _root(
    yi: Floats, vi: Floats, wi: Floats, low: float, high: float, g: float, slope: float
) -> float:
    """Root of g between `low`, where it is `g` > 0, and `high`: Newton in u, bracketed."""
    root = low
    for _ in range(MOST_STEPS):
        step = -g / slope
        new = root + (1 + root) * math.expm1(step)
        if abs(step) < SHORT:
            return min(max(new, low), high)
        if not low < new < high:
            # The middle in u.
            new = low + (1 + low) * math.expm1(math.log((1 + high) / (1 + low)) / 2)
            if not low < new < high:
                return root
        root = new
        g, slope = _g(_sums(yi, vi, wi, root), root)
        if g > 0:
            low = root
        else:
            high = root
    return root


@_compiled
def _restricted(yi: Floats, vi: Floats, wi: Floats, at_0: Sums) -> float:
    """Global maximum of the restricted likelihood over tau2 >= 0; `at_0`: `_sums` there."""
    if at_0[3] == 0:
        return 0.0  # identical effects
    g, slope = _g(at_0, 0.0)
    largest = vi.max()
    # Beyond the squared range of the effects the score is negative; see `tau2`.
    end = (yi.max() - yi.min()) ** 2
    best = 0.0
    found = g <= 0  # whether `best` is a maximum yet: here that on the boundary
    tau2 = 0.0
    while tau2 < end:
        ratio = (1 + tau2) / (tau2 + largest)
        if ratio >= 0.5:
            break
        new = min(end, tau2 + (1 + tau2) * math.expm1(_step(g, slope, ratio)))
        following, after = _g(_sums(yi, vi, wi, new), new)
        if g > 0 and following <= 0:
            top = _root(yi, vi, wi, tau2, new, g, slope)
            if not found or _height(yi, vi, wi, top) >= _height(yi, vi, wi, best):
                best = top
            found = True
        tau2, g, slope = new, following, after
    if g > 0:
        top = _root(yi, vi, wi, tau2, max(end, 2 * tau2 + 1), g, slope)
        if not found or _height(yi, vi, wi, top) >= _height(yi, vi, wi, best):
            best = top
    return best


@_kept
def _fit(
    yi: Floats,
    vi: Floats,
    starts: NDArray[np.intp],
    k: NDArray[np.intp],
    restricted: bool,
    out: Floats,
) -> None:
    """Fit data sets of k studies from `starts` into `out`, (n, 5).

    Its columns: estimate, se, tau2, q, s2w.
    """
    room = np.empty((3, k.max()))
    for row in range(k.size):
        size, start = k[row], starts[row]
        if size < 2:
            continue
        y, v, w = room[0, :size], room[1, :size], room[2, :size]
        y[:] = yi[start : start + size]
        v[:] = vi[start : start + size]
        first = v.argmin()
        shift, unit = y[first], v[first]
        y[first], v[first] = y[0], v[0]
        y[0], v[0] = shift, unit
        root = math.sqrt(unit)
        farthest = 0.0
        for i in range(size):
            y[i] = (y[i] - shift) / root
            v[i] /= unit
            farthest = max(farthest, abs(y[i]), math.sqrt(v[i]))
        if not farthest < WIDEST:
            continue
        at_0 = _sums(y, v, w, 0.0)
        if restricted:
            tau2 = _restricted(y, v, w, at_0)
        else:
            # The moment estimator, truncated.
            tau2 = max((at_0[2] - (size - 1)) / at_0[4], 0.0)
        sums = _sums(y, v, w, tau2)
        t = 1 + tau2
        out[row, 0] = shift + sums[1] * root
        out[row, 1] = math.sqrt(t / sums[0]) * root
        out[row, 2] = tau2 * unit
        out[row, 3] = at_0[2]
        out[row, 4] = sums[2] / t / (size - 1)


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
        Sizes that do not fit or are not whole, values that are not finite, variances that are
        not positive, an unknown method.
    """
    yi = np.ascontiguousarray(yi, dtype=np.float64)
    vi = np.ascontiguousarray(vi, dtype=np.float64)
    k = np.asarray(k)
    if k.ndim != 1 or (k.size and k.dtype.kind not in "iu"):
        raise ValueError(f"k must be whole numbers of shape (n,), not {k.dtype} {k.shape}")
    if yi.ndim != 1 or yi.shape != vi.shape or (k < 0).any() or k.sum() != yi.size:
        raise ValueError(
            "yi and vi must have one shape, the sum of k, "
            f"not {yi.shape}, {vi.shape} and {k.sum()}"
        )
    if not (np.isfinite(yi).all() and np.isfinite(vi).all() and (vi > 0).all()):
        raise ValueError("yi must be finite, vi positive and finite")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    k = np.ascontiguousarray(k, dtype=np.intp)
    out = np.full((k.size, 5), math.nan)
    if k.size:
        arguments = (yi, vi, np.cumsum(k) - k, k, method == "REML", out)
        try:
            _fit(*arguments)
        except OSError:
            # Compiled, but its code could not be kept, as where the disk is full.
            _fit(*arguments)
    return Many(k, *(np.ascontiguousarray(column) for column in out.T))


def t_quantiles(df: NDArray[np.intp], level: float) -> Floats:
    """`inference.quantile` at each of `df` (n,); nan below 1."""
    found, where = np.unique(df, return_inverse=True)
    values = [quantile(level, n) if n > 0 else math.nan for n in found.tolist()]
    return np.array(values)[where] if values else np.empty(0)


def headlines(fits: Many, *, level: float) -> Intervals:
    """The intervals that are the headline by default (see `inverse_variance`), of many fits.

    Knapp and Hartung's with its prediction interval; floored where s2w is below 1 and tau2 is
    0, the interval narrower than Wald's, or k below 5; Wald's for k = 2. `level` as a fraction.
    """
    t, z = t_quantiles(fits.k - 1, level), normal_quantile(level)
    two = fits.k == 2
    narrower = t * np.sqrt(fits.s2w) < z
    floored = ~two & (fits.s2w < 1) & ((fits.tau2 == 0) | narrower | (fits.k < FEW))
    se = fits.se * np.sqrt(np.where(two | floored, 1.0, fits.s2w))
    half = np.where(two, z, t) * se
    reach = np.where(two, math.nan, t) * np.sqrt(se**2 + fits.tau2)
    return Intervals(
        se=se,
        low=fits.estimate - half,
        high=fits.estimate + half,
        pi_low=fits.estimate - reach,
        pi_high=fits.estimate + reach,
        floored=floored,
    )
