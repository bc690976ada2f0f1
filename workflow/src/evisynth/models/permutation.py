"""Permutation tests of the coefficients of a meta-regression, all permutations at once.

The model is fitted again to every rearrangement with its own tau2. For that speed many small
problems are solved side by side in matrix form; it is only statistics that are compared here,
and what is reported comes from the exact code.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evisynth import tau2
from evisynth.models.design import INTERCEPT, DesignError
from evisynth.models.regression import RegressionFit, constant_of
from evisynth.records import Floats

# Statistics closer than this are ties: rearrangements that only rounding tells apart.
TIE = math.sqrt(np.finfo(float).eps)
# Numbers held at once.
BLOCK = 1_000_000
# Spacing of the scan of likelihoods in log(tau2 + smallest vi), and bisections after it.
STEP, HALVINGS = 1 / 4, 36


@dataclass(frozen=True, slots=True)
class Permutation:
    """Permutation p-values, two-sided by the absolute value of the statistic.

    Attributes
    ----------
    p : one per coefficient.
    omnibus_p : of the test of all moderators (that of the fit).
    exact : whether all distinct rearrangements were used.
    rearrangements : how many, with the observed one.
    smallest : smallest p-value that could have come out.
    seed : of the random numbers; None if exact.
    """

    p: tuple[float, ...]
    omnibus_p: float
    exact: bool
    rearrangements: int
    smallest: float
    seed: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Problems side by side: yi (b, k), designs x (b, k, p), and one vi (k,) for all."""

    yi: Floats
    vi: Floats
    x: Floats

    @property
    def df(self) -> int:
        return int(self.x.shape[1]) - int(self.x.shape[2])


@dataclass(frozen=True, slots=True)
class _Solved:
    """Weighted least squares: wi, ri and 1 - hat values (b, k); b (b, p); root (b, p, p).

    `root` is the inverse of the triangle of the QR decomposition of W^(1/2) X, so that root
    times its transpose is (X'WX)^-1.
    """

    wi: Floats
    ri: Floats
    free: Floats
    b: Floats
    root: Floats

    @property
    def q(self) -> Floats:
        q: Floats = (self.wi * self.ri**2).sum(axis=1)
        return q

    @property
    def trace_p(self) -> Floats:
        trace: Floats = (self.wi * self.free).sum(axis=1)
        return trace


def _solve(batch: _Batch, value: Floats) -> _Solved:
    """Fits with the weights 1 / (vi + value), one value per problem."""
    wi = 1 / (batch.vi + value[:, np.newaxis])
    half = np.sqrt(wi)
    q, triangle = np.linalg.qr(batch.x * half[:, :, np.newaxis])
    root = np.linalg.inv(triangle)
    ui = (half * batch.yi)[:, :, np.newaxis]
    inner = q.transpose(0, 2, 1) @ ui
    ri = (ui - q @ inner)[:, :, 0] / half
    return _Solved(wi, ri, 1 - (q**2).sum(axis=2), (root @ inner)[:, :, 0], root)


def _zeros(batch: _Batch) -> Floats:
    return np.zeros(len(batch.yi))


def _dersimonian_laird(batch: _Batch) -> Floats:
    fit = _solve(batch, _zeros(batch))
    estimate: Floats = (fit.q - batch.df) / fit.trace_p
    return estimate


def _unweighted(batch: _Batch) -> tuple[Floats, Floats]:
    """Residual sum of squares with equal weights, and sum of vi times (1 - hat)."""
    even = _Batch(batch.yi, np.ones(batch.vi.size), batch.x)
    fit = _solve(even, _zeros(batch))
    expected: Floats = (batch.vi * fit.free).sum(axis=1)
    return fit.q, expected


def _hedges(batch: _Batch) -> Floats:
    rss, expected = _unweighted(batch)
    estimate: Floats = (rss - expected) / batch.df
    return estimate


def _hunter_schmidt(batch: _Batch) -> Floats:
    fit = _solve(batch, _zeros(batch))
    estimate: Floats = (fit.q - batch.yi.shape[1]) / fit.wi.sum(axis=1)
    return estimate


def _hunter_schmidt_k(batch: _Batch) -> Floats:
    k = batch.yi.shape[1]
    fit = _solve(batch, _zeros(batch))
    estimate: Floats = (k / batch.df * fit.q - k) / fit.wi.sum(axis=1)
    return estimate


def _sidik_jonkman(batch: _Batch) -> Floats:
    spread = batch.yi - batch.yi.mean(axis=1, keepdims=True)
    first = (spread**2).mean(axis=1)
    fit = _solve(batch, first)
    estimate: Floats = first * fit.q / batch.df
    return estimate


def _bisected(
    rising: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats
) -> Floats:
    """Where `rising` turns to false between `low` and `high`, for each problem."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        up = rising(middle)
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return high


def _paule_mandel(batch: _Batch) -> Floats:
    # Q(tau2) (vi_min + tau2) is at most the unweighted residual sum of squares.
    high = _unweighted(batch)[0] / batch.df
    return _bisected(lambda value: _solve(batch, value).q > batch.df, _zeros(batch), high)


def _heights(batch: _Batch, value: Floats, restricted: bool) -> Floats:
    """(Restricted) log-likelihoods but for constants."""
    fit = _solve(batch, value)
    height = np.log(fit.wi).sum(axis=1) - fit.q
    if restricted:
        height = height + 2 * np.linalg.slogdet(fit.root)[1]
    heights: Floats = height
    return heights


def _scores(batch: _Batch, value: Floats, restricted: bool) -> Floats:
    fit = _solve(batch, value)
    penalty = fit.trace_p if restricted else fit.wi.sum(axis=1)
    score: Floats = ((fit.wi * fit.ri) ** 2).sum(axis=1) - penalty
    return score


def _likelihood(batch: _Batch, restricted: bool) -> Floats:
    """The highest point of a scan, polished between its neighbours.

    Without the certificate of `tau2.profile`: a second maximum narrower than a quarter in
    log(tau2 + smallest vi) could be missed, in a rearrangement that is one of thousands.
    """
    lowest = float(batch.vi.min())
    # Beyond this the score is negative: see `tau2.profile`.
    reach = float(_unweighted(batch)[0].max())
    cells = max(2, math.ceil(math.log1p(reach / lowest) / STEP) + 1)
    grid = lowest * np.expm1(STEP * np.arange(cells + 1))
    best, height = np.zeros(len(batch.yi), dtype=int), np.full(len(batch.yi), -np.inf)
    for place, value in enumerate(grid):
        here = _heights(batch, np.full(len(batch.yi), value), restricted)
        best, height = np.where(here > height, place, best), np.maximum(here, height)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, cells)]
    value = _bisected(lambda at: _scores(batch, at, restricted) > 0, low, high)
    # The bracket at the boundary holds no root where the score is negative from 0 on.
    return np.where((best == 0) & (_scores(batch, low, restricted) <= 0), 0.0, value)


BATCHED: dict[str, Callable[[_Batch], Floats]] = {
    "IV": _zeros,
    "DL": _dersimonian_laird,
    "HE": _hedges,
    "HS": _hunter_schmidt,
    "HSk": _hunter_schmidt_k,
    "SJ": _sidik_jonkman,
    "PM": _paule_mandel,
    "EB": _paule_mandel,
    "ML": lambda batch: _likelihood(batch, restricted=False),
    "REML": lambda batch: _likelihood(batch, restricted=True),
}


def _tau2(batch: _Batch, fit: RegressionFit) -> Floats:
    """tau2 of every problem by the method of the fit."""
    if fit.method == "fixed":
        return np.full(len(batch.yi), fit.problem.scaled(fit.tau2))
    if fit.method in BATCHED:
        return np.maximum(0.0, BATCHED[fit.method](batch))
    return np.array(
        [
            tau2.estimate(fit.method, yi, batch.vi, x).value
            for yi, x in zip(batch.yi, batch.x, strict=True)
        ]
    )


def _statistics(
    batch: _Batch, fit: RegressionFit, back: Floats, far: Floats, places: list[int]
) -> tuple[Floats, Floats]:
    """Absolute statistics of all coefficients, (b, p), and of the omnibus test, (b,).

    Coefficients of the caller's columns are back @ b + far.
    """
    solved = _solve(batch, _tau2(batch, fit))
    s2w = solved.q / batch.df
    factor = {"knha": s2w, "adhoc": np.maximum(1.0, s2w)}.get(fit.test, np.ones(len(s2w)))
    values = solved.b @ back.T + far
    half = back @ solved.root
    variances = (half**2).sum(axis=2) * factor[:, np.newaxis]
    part, corner = values[:, places], half[:, places]
    # A rearrangement may fit exactly: its statistic is infinite, and not below any other.
    with np.errstate(divide="ignore"):
        single = np.abs(values) / np.sqrt(variances)
        middle = np.linalg.solve(corner @ corner.transpose(0, 2, 1), part[:, :, np.newaxis])
        joint = (part * middle[:, :, 0]).sum(axis=1) / factor
    return single, joint


def _signs(k: int) -> Iterator[NDArray[np.float64]]:
    """Half of all 2^k sign flips; the others have the same absolute statistics."""
    for signs in itertools.product((1.0, -1.0), repeat=k - 1):
        yield np.array((1.0, *signs))


def _arrangements(kinds: list[int]) -> Iterator[tuple[int, ...]]:
    """All distinct orders of a list of kinds, the observed one among them."""
    counts: dict[int, int] = {}
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1

    def extended(head: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(head) == len(kinds):
            yield head
            return
        for kind in counts:
            if counts[kind]:
                counts[kind] -= 1
                yield from extended((*head, kind))
                counts[kind] += 1

    return extended(())


def _number(kinds: list[int]) -> int:
    """How many distinct orders there are."""
    number = math.factorial(len(kinds))
    for kind in set(kinds):
        number //= math.factorial(kinds.count(kind))
    return number


def _blocks(rows: Iterator[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """Arrays of at most `size` rows."""
    while block := list(itertools.islice(rows, size)):
        yield np.array(block)


def permutation_test(
    fit: RegressionFit, *, most: int = 5_000, seed: int = 1, exact: bool | None = None
) -> Permutation:
    """Permutation p-values of a fit (Higgins & Thompson 2004, doi:10.1002/sim.1752).

    With an intercept only the signs of the effects are flipped; with moderators the rows of the
    design are permuted among the studies. Each rearrangement is fitted with the method and test
    of `fit`; p is the share of rearrangements whose absolute statistic is not below the
    observed one, which counts itself.

    Parameters
    ----------
    most : fits at most. All distinct rearrangements are used if they take no more than that
        (a sign flip and its opposite share one fit), otherwise this many random ones, the
        observed one among them.
    seed : of the random numbers (PCG64).
    exact : True: all, however many; False: random ones in any case.

    Raises
    ------
    DesignError
        Residuals that are all zero: there is no statistic to compare.
    ValueError
        `most` below 2; methods whose weights cannot be rearranged.
    """
    if most < 2:
        raise ValueError(f"a permutation test needs at least two fits, not {most}")
    if fit.method in ("GENQ", "GENQM"):
        raise ValueError(f"{fit.method} has weights that belong to the studies: not permuted")
    if fit.factor == 0:
        raise DesignError("no permutation test: residuals are all zero")
    generator = np.random.Generator(np.random.PCG64(seed))
    flips = fit.design.names == (INTERCEPT,)
    unique, kinds = np.unique(fit.design.x, axis=0, return_inverse=True)
    order = kinds.ravel().tolist()
    total = 2**fit.k if flips else _number(order)
    fits = total // 2 if flips else total
    if exact is None:
        exact = fits <= most
    draws = _draws(fit.k if flips else order, exact, most, generator)
    single, joint = _extreme(fit, unique, np.array(order), draws)
    count = fits if exact else most
    smallest = 1 / count
    notes = [
        f"{'all ' if exact else ''}{total if exact else most} "
        f"{'sign flips' if flips else 'permutations'}"
        f"{'' if exact else f' at random (seed {seed}) of {total}'}: the smallest p-value that "
        f"can come out is {smallest:.3g}"
    ]
    if smallest > 1 - fit.level:
        notes.append(f"too few studies for a p-value below {1 - fit.level:.3g}")
    return Permutation(
        p=tuple((single / count).tolist()),
        omnibus_p=joint / count,
        exact=exact,
        rearrangements=total if exact else most,
        smallest=smallest,
        seed=None if exact else seed,
        notes=tuple(notes),
    )


def _draws(
    what: int | list[int], exact: bool, most: int, generator: np.random.Generator
) -> Iterator[NDArray[Any]]:
    """Signs (k,) for k studies, or kinds (k,) of rows; the observed ones among them."""
    if isinstance(what, int):
        if exact:
            return _signs(what)
        signs = (generator.choice((-1.0, 1.0), what) for _ in range(most - 1))
        return itertools.chain([np.ones(what)], signs)
    if exact:
        return (np.array(arrangement) for arrangement in _arrangements(what))
    shuffled = (generator.permutation(what) for _ in range(most - 1))
    return itertools.chain([np.array(what)], shuffled)


def _extreme(
    fit: RegressionFit, unique: Floats, order: NDArray[np.intp], draws: Iterator[NDArray[Any]]
) -> tuple[Floats, int]:
    """How many are not below the observed statistics: (p,), and of the omnibus test."""
    flips = fit.design.names == (INTERCEPT,)
    # The fits run in columns that are orthogonal, and around an effect of the data.
    scale = np.abs(unique).max(axis=0)
    orthogonal, triangle = np.linalg.qr(fit.design.x / scale)
    back = np.linalg.inv(triangle) / scale[:, np.newaxis]
    rows = np.empty(unique.shape)
    rows[order] = orthogonal
    unit = math.ldexp(1.0, -fit.problem.exponent)
    constant = None if flips else constant_of(fit.design)
    far = np.zeros(fit.p) if constant is None else constant * fit.problem.shift * unit
    yi = (fit.yi - (0.0 if constant is None else fit.problem.shift)) * unit
    vi = fit.vi * unit * unit
    places = [fit.design.names.index(name) for name in fit.omnibus.names]

    def batch(block: NDArray[Any]) -> _Batch:
        if flips:
            return _Batch(yi * block, vi, np.broadcast_to(orthogonal, (len(block), fit.k, 1)))
        return _Batch(np.broadcast_to(yi, block.shape), vi, rows[block])

    observed = np.ones((1, fit.k)) if flips else order[np.newaxis]
    single, joint = _statistics(batch(observed), fit, back, far, places)
    singles, joints = np.zeros(fit.p), 0
    for block in _blocks(draws, max(1, BLOCK // (fit.k * fit.p))):
        other, whole = _statistics(batch(block), fit, back, far, places)
        singles += (other >= single - TIE * np.maximum(1.0, single)).sum(axis=0)
        joints += int((whole >= joint - TIE * np.maximum(1.0, joint)).sum())
    return singles, joints
