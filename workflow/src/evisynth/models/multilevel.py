"""Multilevel and multivariate models: several effects per study, known sampling covariances.

yi ~ N(X beta, V + random effects), fitted by restricted or full maximum likelihood. Variances
enter as squares and correlations as bounded, smooth functions of free parameters, so that an
optimum on the boundary (a variance of 0, a correlation of 1) is an ordinary stationary point.
Newton steps with analytic derivatives climb to it from every promising point of a scan.
"""

import itertools
import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from evisynth.inference import quantile, two_sided_p, wald
from evisynth.models.covariance import Blocks, Indices, Labels, codes, groups, merged, problems
from evisynth.records import Estimate, Floats

NAN = math.nan
METHODS = ("REML", "ML")
TESTS = ("z", "t", "contain")
# Below so many levels a variance between them is hardly estimable.
FEW_LEVELS = 5
# Starts of the climb, taken from the best points of the scan.
STARTS = 6


@dataclass(frozen=True, slots=True)
class Term:
    """Random effects: one per level of `outer`, or one per pair of `outer` and `inner`.

    Attributes
    ----------
    name : as in ``district/school`` or ``outcome | study``.
    outer : levels that are independent of each other, one label per row.
    inner : what the effects of one outer level belong to (outcome, arm, time); None for a
        random intercept.
    struct : key of `STRUCTS`; how the effects of one outer level are correlated.
    """

    name: str
    outer: tuple[Hashable, ...]
    inner: tuple[Hashable, ...] | None = None
    struct: str = "ID"


def nested(**levels: Labels) -> tuple[Term, ...]:
    """Random intercepts of nested levels, outermost first: ``~ 1 | district/school`` in R.

    A label need be unique only within the level above it.
    """
    terms, names = [], list(levels)
    for depth in range(1, len(names) + 1):
        columns = [list(levels[name]) for name in names[:depth]]
        terms.append(Term("/".join(names[:depth]), tuple(zip(*columns, strict=True))))
    return tuple(terms)


def crossed(**levels: Labels) -> tuple[Term, ...]:
    """Random intercepts of each factor by itself: ``list(~ 1 | study, ~ 1 | lab)`` in R."""
    return tuple(Term(name, tuple(labels)) for name, labels in levels.items())


def structured(name: str, inner: Labels, outer: Labels, struct: str) -> Term:
    """Correlated random effects, ``~ inner | outer`` in R; `struct` is a key of `STRUCTS`."""
    if struct not in STRUCTS:
        raise ValueError(f"struct must be one of {', '.join(STRUCTS)}, not {struct!r}")
    return Term(name, tuple(outer), tuple(inner), struct)


# ------------------------------------------------------------------ structures of G


@dataclass(frozen=True, slots=True)
class Shape:
    """G, the covariance of the effects of one outer level, and its derivatives.

    Attributes
    ----------
    g : shape (m, m).
    first : derivatives in the n free parameters, shape (n, m, m).
    second : shape (n, n, m, m).
    """

    g: Floats
    first: Floats
    second: Floats


@dataclass(frozen=True, slots=True)
class Structure:
    """How the random effects of one outer level vary together.

    Attributes
    ----------
    label : for people.
    hetero : whether every inner level has its own variance.
    correlation : correlation matrix, its first and second derivative from the free parameter
        and the distances between inner levels (m, m); None: independent.
    rho : the correlation from the free parameter and m.
    angles : free parameters at which to start.
    """

    label: str
    hetero: bool
    correlation: Callable[[float, Floats], tuple[Floats, Floats, Floats]] | None = None
    rho: Callable[[float, int], tuple[float, float]] | None = None
    angles: tuple[float, ...] = ()


def _lowest(m: int) -> float:
    """Lowest common correlation that m effects can have."""
    return -1 / (m - 1) if m > 1 else 0.0


def _compound_rho(angle: float, m: int) -> tuple[float, float]:
    low = _lowest(m)
    return low + (1 - low) * math.sin(angle) ** 2, (1 - low) * math.sin(2 * angle)


def _compound(angle: float, distance: Floats) -> tuple[Floats, Floats, Floats]:
    m = len(distance)
    off = (distance > 0).astype(float)
    rho, slope = _compound_rho(angle, m)
    bend = 2 * (1 - _lowest(m)) * math.cos(2 * angle)
    return np.eye(m) + rho * off, slope * off, bend * off


def _autoregressive_rho(angle: float, m: int) -> tuple[float, float]:
    return math.sin(angle), math.cos(angle)


def _autoregressive(angle: float, distance: Floats) -> tuple[Floats, Floats, Floats]:
    rho, slope = math.sin(angle), math.cos(angle)
    value = rho**distance
    first = np.where(distance > 0, distance * rho ** np.maximum(distance - 1, 0), 0)
    second = np.where(
        distance > 1, distance * (distance - 1) * rho ** np.maximum(distance - 2, 0), 0
    )
    return value, first * slope, second * slope**2 - first * rho


def _continuous_rho(root: float, m: int) -> tuple[float, float]:
    rho = math.exp(-(root**2))
    return rho, -2 * root * rho


def _continuous(root: float, distance: Floats) -> tuple[Floats, Floats, Floats]:
    value: Floats = np.exp(-(root**2) * distance)
    return (
        value,
        -2 * root * distance * value,
        (4 * root**2 * distance - 2) * distance * value,
    )


QUARTER = math.pi / 2
COMPOUND = (0.35 * QUARTER, 0.6 * QUARTER, 0.85 * QUARTER)
STRUCTS = {
    "ID": Structure("independent, one variance", hetero=False),
    "DIAG": Structure("independent, a variance for each", hetero=True),
    "CS": Structure("one correlation, one variance", False, _compound, _compound_rho, COMPOUND),
    "HCS": Structure(
        "one correlation, a variance for each", True, _compound, _compound_rho, COMPOUND
    ),
    "AR": Structure(
        "correlation falling with the number of steps, one variance",
        False,
        _autoregressive,
        _autoregressive_rho,
        (-0.3, 0.3, 0.9),
    ),
    "HAR": Structure(
        "correlation falling with the number of steps, a variance for each",
        True,
        _autoregressive,
        _autoregressive_rho,
        (-0.3, 0.3, 0.9),
    ),
    "CAR": Structure(
        "correlation falling with the time between, one variance",
        False,
        _continuous,
        _continuous_rho,
        (0.2, 0.5, 1.0),
    ),
    "UN": Structure("a correlation for each pair, a variance for each", hetero=True),
}


def _natural(label: Hashable) -> tuple[tuple[int, float, str], ...]:
    """Sorting key: numbers by value, before text in which digits count as numbers."""
    try:
        return ((0, float(str(label)), ""),)
    except ValueError:
        parts = re.split(r"(\d+)", str(label))
        return tuple((1, float(p), "") if p.isdigit() else (2, 0.0, p) for p in parts)


@dataclass(frozen=True, slots=True)
class _Effects:
    """A term with its labels as numbers.

    Attributes
    ----------
    outer, inner : level numbers, shape (k,).
    levels : labels of the inner levels, sorted; empty for an intercept.
    distance : between inner levels, shape (m, m).
    """

    term: Term
    outer: Indices
    inner: Indices
    levels: tuple[Hashable, ...]
    distance: Floats

    @property
    def m(self) -> int:
        return len(self.distance)

    @property
    def cholesky(self) -> bool:
        """Whether the parameters are the entries of a Cholesky factor."""
        return self.term.struct == "UN" and self.m > 2

    @property
    def structure(self) -> Structure:
        # Two levels have one correlation, between -1 and 1, however it is called.
        return STRUCTS["HCS" if self.term.struct == "UN" else self.term.struct]

    @property
    def n_variances(self) -> int:
        return self.m if STRUCTS[self.term.struct].hetero else 1

    @property
    def n_parameters(self) -> int:
        if self.cholesky:
            return self.m * (self.m + 1) // 2
        return self.n_variances + (self.structure.correlation is not None)

    def names(self) -> tuple[str, ...]:
        """Names of the natural parameters, in their order."""
        name = self.term.name
        if self.term.inner is None:
            return (f"sigma2 {name}",)
        hetero = STRUCTS[self.term.struct].hetero
        first = (
            [f"tau2 {name} [{level}]" for level in self.levels] if hetero else [f"tau2 {name}"]
        )
        if self.cholesky:
            pairs = itertools.combinations(self.levels, 2)
            return (*first, *(f"rho {name} [{one}, {other}]" for one, other in pairs))
        if self.structure.correlation is not None:
            first.append(f"rho {name}")
        return tuple(first)

    def shape(self, u: Floats) -> Shape:
        """G and derivatives at the free parameters `u`, shape (n_parameters,)."""
        return self._factored(u) if self.cholesky else self._product(u)

    def _factored(self, u: Floats) -> Shape:
        m, lower = self.m, np.tril_indices(self.m)
        factor = np.zeros((m, m))
        factor[lower] = u
        units = np.zeros((u.size, m, m))
        units[np.arange(u.size), lower[0], lower[1]] = 1
        half = units @ factor.T
        crossed_ = np.einsum("aij,bkj->abik", units, units)
        return Shape(
            g=factor @ factor.T,
            first=half + half.transpose(0, 2, 1),
            second=crossed_ + crossed_.transpose(0, 1, 3, 2),
        )

    def _product(self, u: Floats) -> Shape:
        m, count = self.m, self.n_variances
        units = np.eye(m) if count == m else np.ones((1, m))
        t = u[:count] @ units
        n = self.n_parameters
        first, second = np.zeros((n, m, m)), np.zeros((n, n, m, m))
        r, slope, bend = np.eye(m), None, None
        if self.structure.correlation is not None:
            r, slope, bend = self.structure.correlation(float(u[-1]), self.distance)
        outer = np.outer(t, t)
        side = units[:, :, np.newaxis] * t
        both = side + side.transpose(0, 2, 1)
        first[:count] = both * r
        product = np.einsum("ai,bj->abij", units, units)
        second[:count, :count] = (product + product.transpose(0, 1, 3, 2)) * r
        if slope is not None and bend is not None:
            first[-1] = outer * slope
            second[-1, -1] = outer * bend
            second[:count, -1] = second[-1, :count] = both * slope
        return Shape(outer * r, first, second)

    def natural(self, u: Floats) -> tuple[Floats, Floats]:
        """Variances and correlations at `u`, and their Jacobian (natural, free)."""
        if self.cholesky:
            return self._factored_natural(u)
        values, jacobian = np.array(u), np.eye(u.size)
        count = self.n_variances
        values[:count] = u[:count] ** 2
        jacobian[np.arange(count), np.arange(count)] = 2 * u[:count]
        if self.structure.rho is not None:
            values[-1], jacobian[-1, -1] = self.structure.rho(float(u[-1]), self.m)
        return values, jacobian

    def _factored_natural(self, u: Floats) -> tuple[Floats, Floats]:
        shape = self._factored(u)
        variances, slopes = np.diagonal(shape.g), np.diagonal(shape.first, axis1=1, axis2=2)
        values, rows = list(variances), list(slopes.T)
        for i, j in itertools.combinations(range(self.m), 2):
            with np.errstate(divide="ignore", invalid="ignore"):  # no correlation with 0
                scale = np.sqrt(variances[i] * variances[j])
                rho = shape.g[i, j] / scale
                relative = slopes[:, i] / variances[i] + slopes[:, j] / variances[j]
                rows.append(shape.first[:, i, j] / scale - rho * relative / 2)
            values.append(rho)
        return np.array(values), np.array(rows)

    def start(self, variance: float, angle: int) -> Floats:
        """Free parameters with that variance everywhere and the numbered correlation."""
        t = math.sqrt(variance)
        if self.cholesky:
            rho = (0.0, 0.4, 0.8)[angle]
            g = variance * ((1 - rho) * np.eye(self.m) + rho)
            factor: Floats = np.linalg.cholesky(g).astype(np.float64)
            return factor[np.tril_indices(self.m)]
        first = [t] * self.n_variances
        if self.structure.correlation is not None:
            first.append(self.structure.angles[angle])
        return np.array(first)


def _effects(term: Term, k: int) -> _Effects:
    if term.struct not in STRUCTS:
        raise ValueError(f"struct must be one of {', '.join(STRUCTS)}, not {term.struct!r}")
    if len(term.outer) != k or (term.inner is not None and len(term.inner) != k):
        raise ValueError(f"{term.name}: one label per row is needed, {k} in all")
    outer = codes(term.outer)
    if term.inner is None:
        return _Effects(term, outer, np.zeros(k, dtype=np.intp), (), np.zeros((1, 1)))
    levels = tuple(sorted(dict.fromkeys(term.inner), key=_natural))
    number = {level: place for place, level in enumerate(levels)}
    inner = np.array([number[label] for label in term.inner], dtype=np.intp)
    places = np.arange(len(levels), dtype=float)
    if term.struct == "CAR":
        try:
            places = np.array([float(str(level)) for level in levels])
        except ValueError:
            raise ValueError(f"{term.name}: CAR needs times that are numbers") from None
    distance = np.abs(places[:, np.newaxis] - places)
    return _Effects(term, outer, inner, levels, distance)


# ------------------------------------------------------------------ likelihood


@dataclass(frozen=True, slots=True)
class _Stack:
    """Blocks padded to one size s by independent rows without information.

    Attributes
    ----------
    rows : row numbers, shape (n, s); k for padding.
    v : sampling covariance, shape (n, s, s); 1 on the diagonal of padding.
    same : per term, whether two rows share the outer level, shape (n, s, s).
    inner : per term, number of the inner level, shape (n, s).
    """

    rows: Indices
    v: Floats
    same: tuple[Floats, ...]
    inner: tuple[Indices, ...]


@dataclass(frozen=True, slots=True)
class _Problem:
    """Effects, design and covariance in a unit in which typical variances are near 1.

    Attributes
    ----------
    yi, x : shapes (k,) and (k, p).
    origin : coefficients, shape (p,), whose fit was taken off yi: so effects far from 0 keep
        their digits.
    exponent : yi was then divided by 2 to this power.
    restricted : REML rather than ML.
    stacks : rows by blocks.
    offsets : start of each term's free parameters; the last is their number.
    """

    yi: Floats
    x: Floats
    origin: Floats
    exponent: int
    restricted: bool
    effects: tuple[_Effects, ...]
    stacks: tuple[_Stack, ...]
    offsets: tuple[int, ...]

    @property
    def n(self) -> int:
        return self.offsets[-1]

    def parts(self, u: Floats) -> list[Floats]:
        return [u[a:b] for a, b in itertools.pairwise(self.offsets)]


def _stacks(v: Blocks, effects: Sequence[_Effects]) -> tuple[_Stack, ...]:
    blocks = merged(v, *(groups(effect.outer.tolist()) for effect in effects))
    by_size: dict[int, list[int]] = {}
    for number, rows in enumerate(blocks.rows):
        by_size.setdefault(1 << (rows.size - 1).bit_length(), []).append(number)
    k = blocks.k
    stacks = []
    for size, numbers in sorted(by_size.items()):
        rows = np.full((len(numbers), size), k, dtype=np.intp)
        matrices = np.tile(np.eye(size), (len(numbers), 1, 1))
        for place, number in enumerate(numbers):
            n = blocks.rows[number].size
            rows[place, :n] = blocks.rows[number]
            matrices[place, :n, :n] = blocks.matrices[number]
        real = rows < k
        pairs = real[:, :, np.newaxis] & real[:, np.newaxis, :]
        same, inner = [], []
        for effect in effects:
            outer = np.append(effect.outer, -1)[rows]
            same.append(((outer[:, :, np.newaxis] == outer[:, np.newaxis, :]) & pairs) * 1.0)
            inner.append(np.append(effect.inner, 0)[rows])
        stacks.append(_Stack(rows, matrices, tuple(same), tuple(inner)))
    return tuple(stacks)


def _spread(stack: _Stack, term: int, g: Floats) -> Floats:
    """Entries of G (..., m, m) at the pairs of rows of a stack: shape (..., n, s, s)."""
    if g.shape[-1] == 1:
        return g[..., np.newaxis] * stack.same[term]
    inner = stack.inner[term]
    spread: Floats = g[..., inner[:, :, np.newaxis], inner[:, np.newaxis, :]] * stack.same[term]
    return spread


@dataclass(frozen=True, slots=True)
class _Solution:
    """Generalised least squares at one marginal covariance M = L L'.

    Attributes
    ----------
    value : log-likelihood, constants left out.
    inverses : L^-1 by stack.
    q : L^-1 X made orthonormal, shape (k + 1, p), the last row 0 for padding.
    r : triangular factor of L^-1 X, shape (p, p).
    residuals : whitened, shape (k + 1,).
    beta : coefficients, shape (p,).
    """

    value: float
    inverses: tuple[Floats, ...]
    q: Floats
    r: Floats
    residuals: Floats
    beta: Floats


def _marginal(problem: _Problem, u: Floats) -> list[Floats]:
    shapes = [
        e.shape(part).g for e, part in zip(problem.effects, problem.parts(u), strict=True)
    ]
    matrices = []
    for stack in problem.stacks:
        matrix = stack.v
        for term, g in enumerate(shapes):
            matrix = matrix + _spread(stack, term, g)
        matrices.append(matrix)
    return matrices


def _solve(problem: _Problem, matrices: Sequence[Floats]) -> _Solution | None:
    """Least squares and log-likelihood; None where M is numerically singular."""
    k, p = problem.x.shape
    data = np.zeros((k + 1, p + 1))
    data[:k, :p], data[:k, p] = problem.x, problem.yi
    white = np.zeros((k + 1, p + 1))
    inverses, log_det = [], 0.0
    try:
        for stack, matrix in zip(problem.stacks, matrices, strict=True):
            lower = np.linalg.cholesky(matrix)
            inverse = np.linalg.inv(lower)
            inverses.append(inverse)
            diagonal = np.diagonal(lower, axis1=1, axis2=2)
            log_det += 2 * float(np.log(diagonal).sum())
            white[stack.rows] = np.linalg.solve(lower, data[stack.rows])
    except np.linalg.LinAlgError:
        return None
    white[k] = 0
    q, r = np.linalg.qr(white[:, :p])
    projected = q.T @ white[:, p]
    residuals = white[:, p] - q @ projected
    # Once more: what rounding left of the fitted part.
    residuals -= q @ (q.T @ residuals)
    value = -(log_det + float(residuals @ residuals)) / 2
    if problem.restricted:
        value -= float(np.log(np.abs(np.diagonal(r))).sum())
    if not math.isfinite(value):
        return None
    return _Solution(
        value,
        tuple(inverses),
        q,
        r,
        residuals,
        np.linalg.solve(r, projected) if p else projected,
    )


def _value(problem: _Problem, u: Floats) -> float:
    solution = _solve(problem, _marginal(problem, u))
    return -math.inf if solution is None else solution.value


@dataclass(frozen=True, slots=True)
class _Slope:
    """Log-likelihood with its gradient (n,) and Hessian (n, n) in the free parameters."""

    value: float
    gradient: Floats
    hessian: Floats


def _derivatives(problem: _Problem, u: Floats) -> _Slope | None:
    """Log-likelihood, gradient and Hessian (Lindstrom & Bates 1988; doi:10.2307/2290128).

    With P = M^-1 - M^-1 X (X'M^-1 X)^-1 X'M^-1 and D_a the derivatives of M, the gradient of
    the restricted log-likelihood is -(tr(P D_a) - y'P D_a P y) / 2; M^-1 takes the place of P
    in the traces for the full one.
    """
    solution = _solve(problem, _marginal(problem, u))
    if solution is None:
        return None
    n, parts = problem.n, problem.parts(u)
    shapes = [e.shape(part) for e, part in zip(problem.effects, parts, strict=True)]
    p = problem.x.shape[1]
    gradient, hessian = np.zeros(n), np.zeros((n, n))
    projections = np.zeros((n, p, p))  # Q'A_a Q
    crossed_ = np.zeros((n, n, p, p))  # Q'A_a A_b Q
    pulled = np.zeros((n, len(problem.yi) + 1))  # A_a e
    scores = [np.zeros_like(shape.g) for shape in shapes]
    for stack, inverse in zip(problem.stacks, solution.inverses, strict=True):
        d = np.concatenate(
            [_spread(stack, term, shape.first) for term, shape in enumerate(shapes)]
        )
        white = inverse @ d @ inverse.transpose(0, 2, 1)
        q, e = solution.q[stack.rows], solution.residuals[stack.rows]
        moved = white @ q  # A_a Q by block
        projections += np.einsum("nsp,ansr->apr", q, moved)
        pulled[:, stack.rows] = (white @ e[:, :, np.newaxis])[..., 0]
        flat = white.reshape(n, -1)
        hessian += flat @ flat.T / 2
        if problem.restricted:
            crossed_ += np.einsum("ansp,bnsr->abpr", moved, moved)
        # Sensitivity of the log-likelihood to the entries of M.
        middle = np.eye(e.shape[1]) - e[:, :, np.newaxis] * e[:, np.newaxis, :]
        if problem.restricted:
            middle = middle - q @ q.transpose(0, 2, 1)
        sensitivity = -(inverse.transpose(0, 2, 1) @ middle @ inverse) / 2
        for term, score in enumerate(scores):
            masked = sensitivity * stack.same[term]
            inner = stack.inner[term]
            np.add.at(score, (inner[:, :, np.newaxis], inner[:, np.newaxis, :]), masked)
    if problem.restricted:
        hessian -= np.einsum("abpp->ab", crossed_)
        hessian += np.einsum("apr,brp->ab", projections, projections) / 2
    pulled[:, -1] = 0
    left = pulled @ solution.q
    hessian -= pulled @ pulled.T - left @ left.T
    for term, (shape, score) in enumerate(zip(shapes, scores, strict=True)):
        a, b = problem.offsets[term], problem.offsets[term + 1]
        gradient[a:b] = np.einsum("ij,aij->a", score, shape.first)
        hessian[a:b, a:b] += np.einsum("ij,abij->ab", score, shape.second)
    return _Slope(solution.value, gradient, (hessian + hessian.T) / 2)


# ------------------------------------------------------------------ optimum


@dataclass(frozen=True, slots=True)
class _Top:
    """Where a climb ended.

    Attributes
    ----------
    u : free parameters.
    left : gain in log-likelihood that another Newton step still promises; unlike the gradient
        it has no unit.
    """

    u: Floats
    value: float
    left: float

    @property
    def converged(self) -> bool:
        """Whether nothing is left that rounding would not hide."""
        return self.left <= 1e-9 * (1 + abs(self.value))


def _step(slope: _Slope, free: Indices, radius: float) -> tuple[Floats, float]:
    """Maximise the quadratic model within a radius; the step and the gain it predicts."""
    gradient = slope.gradient[free]
    values, vectors = np.linalg.eigh(-slope.hessian[np.ix_(free, free)])
    along = vectors.T @ gradient
    size = max(float(np.abs(values).max()), 1e-300)
    shift = 0.0 if values[0] > 1e-13 * size else -float(values[0]) + 1e-10 * size
    for _ in range(200):
        step = along / (values + shift)
        length = float(np.linalg.norm(step))
        if length <= radius:
            break
        shift = max(2 * shift, 1e-3 * size)
    if values[0] < -1e-10 * size and length < 1e-3 * radius:
        # At a saddle the gradient says nothing: leave along the direction that rises.
        step = step + radius * np.eye(len(step))[0]
    whole = np.zeros_like(slope.gradient)
    whole[free] = vectors @ step
    gain = float(along @ step - step @ (values * step) / 2)
    return whole, gain


def _climb(problem: _Problem, start: Floats, free: Indices) -> _Top | None:
    """Local maximum over the free parameters numbered `free`, by Newton steps in a region."""
    u, slope = start, _derivatives(problem, start)
    if slope is None:
        return None
    radius, gain = 1.0, math.inf
    for _ in range(300):
        if free.size == 0:
            break
        step, gain = _step(slope, free, radius)
        if gain <= 1e-13 * (1 + abs(slope.value)):
            break
        following = _derivatives(problem, u + step)
        if following is None or following.value - slope.value < 1e-4 * gain:
            radius = min(radius, float(np.linalg.norm(step))) / 4
            if radius < 1e-14:
                break
            continue
        if following.value - slope.value > 0.7 * gain:
            radius = min(max(radius, 2 * float(np.linalg.norm(step))), 1e3)
        u, slope = u + step, following
    return _polish(problem, u, slope, free)


def _polish(problem: _Problem, u: Floats, slope: _Slope, free: Indices) -> _Top:
    """Newton steps as long as they shorten the gradient: to the last digits of the optimum."""
    for _ in range(8):
        if free.size == 0:
            break
        step, _gain = _step(slope, free, 1.0)
        following = _derivatives(problem, u + step)
        if (
            following is None
            or following.value < slope.value - 1e-11 * (1 + abs(slope.value))
            or np.abs(following.gradient[free]).max() >= np.abs(slope.gradient[free]).max()
        ):
            break
        u, slope = u + step, following
    return _Top(u, slope.value, _step(slope, free, 1.0)[1] if free.size else 0.0)


def _scan(problem: _Problem) -> list[Floats]:
    """Starting points: the best of a grid of variances and correlations."""
    terms = problem.effects
    residual = problem.yi - problem.x @ np.linalg.lstsq(problem.x, problem.yi, rcond=None)[0]
    lowest = min(
        float(np.diagonal(stack.v, axis1=1, axis2=2)[stack.rows < len(problem.yi)].min())
        for stack in problem.stacks
    )
    highest = max(4 * float(np.max(residual**2)), lowest)
    decades = math.ceil(math.log10(highest / lowest))
    count = {1: max(40, 8 * decades), 2: max(10, decades)}.get(len(terms), 5)
    sizes = np.geomspace(lowest / 30, highest, count)
    angles = range(3) if any(e.cholesky or e.structure.angles for e in terms) else range(1)
    if len(terms) < 4:
        grid = list(itertools.product(sizes, repeat=len(terms)))
    else:
        grid = [
            tuple(size if place in (one, None) else lowest / 30 for place in range(len(terms)))
            for size in sizes
            for one in (None, *range(len(terms)))
        ]
    points = [
        np.concatenate([e.start(v, angle) for e, v in zip(terms, variances, strict=True)])
        for variances in grid
        for angle in angles
    ]
    heights = np.array([_value(problem, point) for point in points])
    if len(terms) < 4:
        keep = _peaks(heights.reshape(*[count] * len(terms), len(angles)))
    else:
        keep = np.argsort(-heights)
    usable = [place for place in keep.tolist() if math.isfinite(heights[place])]
    chosen = sorted(usable, key=lambda place: -heights[place])[:STARTS]
    return [points[place] for place in chosen]


def _peaks(heights: Floats) -> Indices:
    """Flat positions of grid points that no neighbour along an axis exceeds."""
    peak = np.ones(heights.shape, dtype=bool)
    for axis in range(heights.ndim):
        ahead = np.moveaxis(heights, axis, 0)
        view = np.moveaxis(peak, axis, 0)
        view[:-1] &= ahead[:-1] >= ahead[1:]
        view[1:] &= ahead[1:] >= ahead[:-1]
    return np.flatnonzero(peak.ravel())


def _snap(problem: _Problem, top: _Top) -> tuple[Floats, tuple[bool, ...]]:
    """Put parameters that ended next to a boundary on it, if that costs no likelihood."""
    u, edges = top.u.copy(), []
    for term, effect in enumerate(problem.effects):
        start = problem.offsets[term]
        if effect.cholesky:
            values, _ = effect.natural(problem.parts(u)[term])
            m = effect.m
            edges += [bool(v < 1e-12) for v in values[:m]]
            edges += [bool(not abs(v) < 1 - 1e-7) for v in values[m:]]
            continue
        for place in range(effect.n_parameters):
            trial = u.copy()
            if place < effect.n_variances or effect.structure.correlation is _continuous:
                trial[start + place] = 0.0
            else:
                trial[start + place] = round(u[start + place] / QUARTER) * QUARTER
                if effect.structure.correlation is _autoregressive and (
                    abs(math.sin(trial[start + place])) < 0.5
                ):
                    edges.append(False)
                    continue
            near = abs(trial[start + place] - u[start + place]) < 1e-3
            if near and _value(problem, trial) >= top.value - 1e-10 * (1 + abs(top.value)):
                u = trial
                edges.append(True)
            else:
                edges.append(False)
    return u, tuple(edges)


# ------------------------------------------------------------------ what can be estimated


def _undetermined(problem: _Problem) -> tuple[str, ...]:
    """Say in words which variances or correlations no data of this pattern could tell apart."""
    found = []
    terms = problem.effects
    k = len(problem.yi)
    partitions: dict[tuple[int, ...], str] = {}
    for effect in terms:
        name = effect.term.name
        if effect.outer.max() == 0 and effect.term.inner is None and _spans_constant(problem.x):
            found.append(
                f"{name}: all {k} rows belong to one level, the variance between levels "
                "cannot be estimated"
            )
        if effect.term.inner is None:
            pattern = tuple(effect.outer.tolist())
            if pattern in partitions:
                found.append(
                    f"{partitions[pattern]} and {name} group the rows alike (one effect per "
                    "level): their variances cannot be told apart, leave one out"
                )
            partitions.setdefault(pattern, name)
        elif effect.structure.correlation is not None and not effect.cholesky:
            pairs = len(set(zip(effect.outer.tolist(), effect.inner.tolist(), strict=True)))
            if pairs == effect.outer.max() + 1:
                found.append(
                    f"{name}: no level has two different inner levels, their correlation "
                    "cannot be estimated"
                )
    return tuple(found) or _collinear(problem)


def _spans_constant(x: Floats) -> bool:
    ones = np.ones(len(x))
    left = ones - x @ np.linalg.lstsq(x, ones, rcond=None)[0]
    return bool(np.abs(left).max() < 1e-9)


def _collinear(problem: _Problem) -> tuple[str, ...]:
    """Directions without expected information at a point without symmetry, V taken as 1."""
    u = np.concatenate(
        [
            e.start(1.0, 1 if e.cholesky or e.structure.angles else 0)
            + 0.1 * np.sin(1 + np.arange(e.n_parameters))
            for e in problem.effects
        ]
    )
    level = replace(
        problem,
        stacks=tuple(
            replace(stack, v=np.broadcast_to(np.eye(stack.v.shape[1]), stack.v.shape))
            for stack in problem.stacks
        ),
        restricted=True,
    )
    information = _expected_information(level, u)
    names = [name for effect in problem.effects for name in effect.names()]
    # Rounding can leave less than nothing of an information of 0.
    scale = np.sqrt(np.maximum(np.diagonal(information), 0))
    dead = scale < 1e-7 * max(1.0, float(scale.max()))
    if dead.any():
        return tuple(
            f"{name} cannot be estimated: no rows tell about it"
            for name, lost in zip(names, dead.tolist(), strict=True)
            if lost
        )
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] > 1e-9:
        return ()
    involved = [
        name for name, part in zip(names, np.abs(vectors[:, 0]), strict=True) if part > 1e-3
    ]
    return (f"{' and '.join(involved)} cannot be told apart with these rows",)


def _expected_information(problem: _Problem, u: Floats) -> Floats:
    """tr(P D_a P D_b) / 2, shape (n, n)."""
    solution = _solve(problem, _marginal(problem, u))
    assert solution is not None  # V is the identity
    shapes = [e.shape(part) for e, part in zip(problem.effects, problem.parts(u), strict=True)]
    n, p = problem.n, problem.x.shape[1]
    information = np.zeros((n, n))
    projections, crossed_ = np.zeros((n, p, p)), np.zeros((n, n, p, p))
    for stack, inverse in zip(problem.stacks, solution.inverses, strict=True):
        d = np.concatenate(
            [_spread(stack, term, shape.first) for term, shape in enumerate(shapes)]
        )
        white = inverse @ d @ inverse.transpose(0, 2, 1)
        q = solution.q[stack.rows]
        moved = white @ q
        projections += np.einsum("nsp,ansr->apr", q, moved)
        crossed_ += np.einsum("ansp,bnsr->abpr", moved, moved)
        flat = white.reshape(n, -1)
        information += flat @ flat.T / 2
    information -= np.einsum("abpp->ab", crossed_)
    information += np.einsum("apr,brp->ab", projections, projections) / 2
    return information


# ------------------------------------------------------------------ results


@dataclass(frozen=True, slots=True)
class Component:
    """A variance or correlation of the random effects.

    Attributes
    ----------
    name : ``sigma2 district/school``, ``tau2 outcome | study [OS]``, ``rho outcome | study``.
    estimate : square of the unit of yi; correlations without unit.
    se : from the observed information; nan on the boundary.
    boundary : whether a variance is 0 or a correlation at an end of its range.
    levels : number of outer levels.
    i2 : per cent of the typical total variance; nan for correlations and where levels differ.
    icc : share of the variance of all random effects; nan likewise.
    """

    name: str
    estimate: float
    se: float
    boundary: bool
    levels: int
    i2: float
    icc: float


@dataclass(frozen=True, slots=True)
class MultilevelFit:
    """A fitted model; numbers are nan where not estimable, and `notes` say why.

    Attributes
    ----------
    method, test, level : as asked for; level as a fraction.
    names : of the coefficients, p.
    beta, se, statistic, df, p_values, ci_low, ci_high : shape (p,); df nan for the normal.
    covariance : of the coefficients, shape (p, p).
    components : variances and correlations.
    log_likelihood : all constants included, +1/2 log|X'X| if restricted.
    aic, bic, aicc : with p and all components counted.
    qe, qe_df, qe_p : residual heterogeneity with weights V^-1.
    qm, qm_df, qm_p : Wald test of the coefficients `tested`; qm_df is (m, df), df nan for
        chi-squared.
    typical : typical sampling variance (Higgins & Thompson 2002, eq. 9, with V^-1).
    marginal : V plus the covariance of the random effects.
    u : free parameters at the optimum.
    """

    method: str
    test: str
    level: float
    k: int
    names: tuple[str, ...]
    beta: Floats
    se: Floats
    statistic: Floats
    df: Floats
    p_values: Floats
    ci_low: Floats
    ci_high: Floats
    covariance: Floats
    components: tuple[Component, ...]
    log_likelihood: float
    aic: float
    bic: float
    aicc: float
    qe: float
    qe_df: int
    qe_p: float
    tested: tuple[int, ...]
    qm: float
    qm_df: tuple[int, float]
    qm_p: float
    typical: float
    yi: Floats
    x: Floats
    v: Blocks
    terms: tuple[Term, ...]
    marginal: Blocks
    u: Floats
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Question:
    """What `fit` was asked, checked."""

    yi: Floats
    v: Blocks
    terms: tuple[Term, ...]
    x: Floats
    method: str
    test: str
    level: float
    names: tuple[str, ...]
    tested: tuple[int, ...]


def _problem(question: _Question) -> _Problem:
    k, v = question.yi.size, question.v
    effects = tuple(_effects(term, k) for term in question.terms)
    exponent = _exponent(v)
    scaled = Blocks(v.rows, tuple(np.ldexp(matrix, -2 * exponent) for matrix in v.matrices))
    origin: Floats = np.linalg.lstsq(question.x, question.yi, rcond=None)[0].astype(np.float64)
    return _Problem(
        yi=np.ldexp(question.yi - question.x @ origin, -exponent),
        x=question.x,
        origin=origin,
        exponent=exponent,
        restricted=question.method == "REML",
        effects=effects,
        stacks=_stacks(scaled, effects),
        offsets=tuple(itertools.accumulate((e.n_parameters for e in effects), initial=0)),
    )


def fit(
    yi: Floats,
    v: Blocks,
    terms: Sequence[Term] = (),
    x: Floats | None = None,
    *,
    method: str = "REML",
    test: str = "z",
    level: float = 0.95,
    names: Sequence[str] | None = None,
    tested: Sequence[int] | None = None,
) -> MultilevelFit:
    """Fit yi ~ N(X beta, V + random effects) with known V.

    Parameters
    ----------
    yi : effects, shape (k,).
    v : their sampling covariance; see `covariance`.
    terms : random effects, from `nested`, `crossed` and `structured`; none: common effect.
    x : design with its intercept column, shape (k, p); None for the intercept alone.
    method : ``REML`` or ``ML``.
    test : ``z``; ``t`` with k - p degrees of freedom; ``contain``, t with the levels of the
        coarsest random effect within which a column is constant, less the columns constant
        there (containment).
    level : confidence level as a fraction.
    names : of the columns of x.
    tested : columns for the omnibus test; all but the intercept unless given.

    Raises
    ------
    ValueError
        Impossible input: shapes, an unknown option, numbers that are not finite, columns of x
        that depend on each other.

    Notes
    -----
    Konstantopoulos (2011, doi:10.1002/jrsm.35) for nested levels, Berkey et al. (1998,
    doi:10.1002/(SICI)1097-0258(19981130)17:22<2537::AID-SIM953>3.0.CO;2-C) for several
    outcomes. The highest of all local maxima found from the best points of a grid is taken;
    others are reported.
    """
    yi = np.asarray(yi, dtype=float)
    k = yi.size
    x = np.ones((k, 1)) if x is None else np.asarray(x, dtype=float)
    _check(yi, v, x, method, test, level)
    names = _column_names(x) if names is None else tuple(names)
    if tested is None:
        varies = [place for place in range(x.shape[1]) if np.ptp(x[:, place]) > 0]
        tested = varies if 0 < len(varies) < x.shape[1] else range(x.shape[1])
    question = _Question(yi, v, tuple(terms), x, method, test, level, names, tuple(tested))
    if refused := problems(v):
        return _not_estimable(question, refused)
    if k < x.shape[1] or (terms and k == x.shape[1]):
        why = f"{k} effects do not determine {x.shape[1]} coefficients and variances"
        return _not_estimable(question, (why,))
    problem = _problem(question)
    if terms and (refused := _undetermined(problem)):
        return _not_estimable(question, refused)
    return _assemble(question, problem, *_optimum(problem))


def _column_names(x: Floats) -> tuple[str, ...]:
    return tuple(
        "intercept" if (column == 1).all() else f"x{place}" for place, column in enumerate(x.T)
    )


def _check(yi: Floats, v: Blocks, x: Floats, method: str, test: str, level: float) -> None:
    if yi.ndim != 1 or yi.size == 0 or v.k != yi.size or x.shape[:1] != yi.shape or x.ndim != 2:
        raise ValueError(f"shapes do not agree: yi {yi.shape}, v {v.k}, x {x.shape}")
    if not (np.isfinite(yi).all() and np.isfinite(x).all()):
        raise ValueError("yi and x must be finite")
    if not all(np.isfinite(m).all() and (np.diagonal(m) > 0).all() for m in v.matrices):
        raise ValueError("variances must be positive and finite")
    for name, value, allowed in (("method", method, METHODS), ("test", test, TESTS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    if x.shape[1] == 0:
        raise ValueError("x has no column")
    size = np.linalg.norm(x, axis=0)
    if (size == 0).any() or (
        len(x) >= x.shape[1] and np.linalg.svd(x / size, compute_uv=False)[-1] < 1e-10
    ):
        raise ValueError("columns of x depend on each other")


def _optimum(problem: _Problem) -> tuple[Floats, tuple[bool, ...], tuple[str, ...]]:
    """Free parameters at the highest maximum, which of them lie on an edge, and caveats."""
    if problem.n == 0:
        return np.zeros(0), (), ()
    everything = np.arange(problem.n)
    tops = [top for start in _scan(problem) if (top := _climb(problem, start, everything))]
    best = max(tops, key=lambda top: top.value)
    u, edges = _snap(problem, best)
    notes = []
    if not best.converged:
        notes.append(
            "the search for the maximum of the likelihood did not converge: a step still "
            f"promises {best.left:.2g} (variances too far apart lose the digits that it needs)"
        )
    lower = [top for top in tops if top.converged and top.value < best.value - 1e-6]
    if lower:
        notes.append(
            "the likelihood has several local maxima, the highest is taken (the next is lower "
            f"by {best.value - max(top.value for top in lower):.3g})"
        )
    return u, edges, tuple(notes)


def _natural_values(problem: _Problem, u: Floats) -> tuple[Floats, Floats]:
    """Natural parameters (n,) in the unit of yi, and their Jacobian (n, n)."""
    values, jacobian = np.zeros(problem.n), np.zeros((problem.n, problem.n))
    unit = math.ldexp(1.0, 2 * problem.exponent)
    for term, effect in enumerate(problem.effects):
        a, b = problem.offsets[term], problem.offsets[term + 1]
        values[a:b], jacobian[a:b, a:b] = effect.natural(u[a:b])
        variances_ = slice(a, a + effect.n_variances)
        values[variances_] *= unit
        jacobian[variances_] *= unit
    return values, jacobian


def _component_se(problem: _Problem, u: Floats, edges: Sequence[bool]) -> Floats:
    """Standard errors of the natural parameters; nan on the boundary, others given those."""
    values = np.full(problem.n, NAN)
    slope = _derivatives(problem, u)
    whole = any(
        effect.cholesky and any(edges[problem.offsets[t] : problem.offsets[t + 1]])
        for t, effect in enumerate(problem.effects)
    )
    free = np.flatnonzero(~np.array(edges, dtype=bool))
    if slope is None or free.size == 0 or whole:
        return values
    _, jacobian = _natural_values(problem, u)
    information = -slope.hessian[np.ix_(free, free)]
    if np.linalg.eigvalsh(information)[0] <= 0:
        return values
    part = jacobian[np.ix_(free, free)]
    values[free] = np.sqrt(np.diagonal(part @ np.linalg.inv(information) @ part.T))
    return values


def _assemble(
    question: _Question,
    problem: _Problem,
    u: Floats,
    edges: tuple[bool, ...],
    notes: tuple[str, ...],
) -> MultilevelFit:
    matrices = _marginal(problem, u)
    solution = _solve(problem, matrices)
    plain = _solve(problem, [stack.v for stack in problem.stacks])
    if solution is None or plain is None:
        return _not_estimable(question, ("the covariance is numerically singular",))
    x = problem.x
    k, p = x.shape
    unit = math.ldexp(1.0, problem.exponent)
    root = np.linalg.inv(solution.r)
    covariance = root @ root.T * unit**2
    beta = problem.origin + solution.beta * unit
    se = np.sqrt(np.diagonal(covariance))
    statistic = beta / se
    df = _degrees(problem, question.test)
    half = (
        np.array([quantile(question.level, one) if one != 0 else NAN for one in df.tolist()])
        * se
    )
    p_values = np.array(
        [two_sided_p(s, d) for s, d in zip(statistic.tolist(), df.tolist(), strict=True)]
    )
    qm, qm_df, qm_p = _omnibus(beta, covariance, df, question.tested)
    height = _with_constants(problem, solution.value)
    n = k - p if problem.restricted else k
    counted = p + problem.n
    room = max(n, counted + 2)
    trace = _trace_p(problem, plain) if k > p else 0.0
    # A difference, which precisions too far apart leave no digit of: no typical variance then.
    typical = (k - p) / trace * unit**2 if trace > 0 else NAN
    qe = float(plain.residuals @ plain.residuals)
    components = _components(problem, u, edges, typical)
    return MultilevelFit(
        method=question.method,
        test=question.test,
        level=question.level,
        k=k,
        names=question.names,
        beta=beta,
        se=se,
        statistic=statistic,
        df=df,
        p_values=p_values,
        ci_low=beta - half,
        ci_high=beta + half,
        covariance=covariance,
        components=components,
        log_likelihood=height,
        aic=-2 * height + 2 * counted,
        bic=-2 * height + counted * math.log(n) if n else NAN,
        aicc=-2 * height + 2 * counted * room / (room - counted - 1),
        qe=qe,
        qe_df=k - p,
        qe_p=float(chdtrc(k - p, qe)) if k > p else NAN,
        tested=question.tested,
        qm=qm,
        qm_df=qm_df,
        qm_p=qm_p,
        typical=typical,
        yi=question.yi,
        x=x,
        v=question.v,
        terms=question.terms,
        marginal=_unstacked(problem, matrices),
        u=u,
        notes=(*notes, *_remarks(components), *_empty_df(df)),
    )


def _empty_df(df: Floats) -> tuple[str, ...]:
    return ("no degrees of freedom are left for the t test",) if (df <= 0).any() else ()


def _remarks(components: Sequence[Component]) -> tuple[str, ...]:
    notes = []
    for component in components:
        if component.boundary:
            kind = "the boundary" if component.name.startswith("rho") else "0, the boundary"
            notes.append(
                f"{component.name} = {component.estimate:.4g}: the likelihood is highest "
                f"at {kind}"
            )
    few = {
        component.name.split(" ", 1)[1]: component.levels
        for component in components
        if component.levels < FEW_LEVELS and component.name.startswith("sigma2")
    }
    notes += [
        f"{name}: {count} levels say little about the variance between them"
        for name, count in few.items()
    ]
    return tuple(notes)


def _unstacked(problem: _Problem, matrices: Sequence[Floats]) -> Blocks:
    k = len(problem.yi)
    rows, blocks = [], []
    for stack, matrix in zip(problem.stacks, matrices, strict=True):
        for members, block in zip(stack.rows, matrix, strict=True):
            n = int((members < k).sum())
            rows.append(members[:n])
            blocks.append(np.ldexp(block[:n, :n], 2 * problem.exponent))
    return Blocks(tuple(rows), tuple(blocks))


def _with_constants(problem: _Problem, value: float) -> float:
    """Log-likelihood as in metafor from `_Solution.value`, in the unit of yi."""
    k, p = problem.x.shape
    df = k - p if problem.restricted else k
    value -= df * (math.log(2 * math.pi) / 2 + problem.exponent * math.log(2))
    if problem.restricted:
        value += float(np.log(np.abs(np.diagonal(np.linalg.qr(problem.x)[1]))).sum())
    return value


def _trace_p(problem: _Problem, plain: _Solution) -> float:
    """Trace of V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1."""
    total = 0.0
    for stack, inverse in zip(problem.stacks, plain.inverses, strict=True):
        real = (stack.rows < len(problem.yi)).astype(float)
        total += float((inverse**2 * real[:, np.newaxis, :]).sum())
        total -= float(((inverse.transpose(0, 2, 1) @ plain.q[stack.rows]) ** 2).sum())
    return total


def _degrees(problem: _Problem, test: str) -> Floats:
    """Degrees of freedom by coefficient, shape (p,); nan for the normal."""
    k, p = problem.x.shape
    if test == "z":
        return np.full(p, NAN)
    df = np.full(p, float(k - p))
    if test == "contain":
        for effect in problem.effects:
            within = _constant_within(problem.x, effect.outer)
            levels = int(effect.outer.max()) + 1
            df[within] = np.minimum(df[within], levels - int(within.sum()))
    return df


def _constant_within(x: Floats, outer: Indices) -> NDArray[np.bool_]:
    """Which columns (p,) have one value in each level."""
    first = x[np.unique(outer, return_index=True)[1]][outer]
    differs: NDArray[np.bool_] = np.any(np.abs(x - first) > 1e-12 * (1 + np.abs(x)), axis=0)
    return ~differs


def _omnibus(
    beta: Floats, covariance: Floats, df: Floats, tested: tuple[int, ...]
) -> tuple[float, tuple[int, float], float]:
    some = list(tested)
    m = len(some)
    chi2 = float(beta[some] @ np.linalg.solve(covariance[np.ix_(some, some)], beta[some]))
    denominator = float(np.min(df[some]))
    if math.isnan(denominator):
        return chi2, (m, NAN), float(chdtrc(m, chi2))
    p = float(fdtrc(m, denominator, chi2 / m)) if denominator > 0 else NAN
    return chi2 / m, (m, denominator), p


def _components(
    problem: _Problem, u: Floats, edges: Sequence[bool], typical: float
) -> tuple[Component, ...]:
    if problem.n == 0:
        return ()
    values, _ = _natural_values(problem, u)
    se = _component_se(problem, u, edges)
    # Shares of a total exist only where all rows have one total variance.
    total = math.fsum(
        float(values[problem.offsets[t]]) if effect.n_variances == 1 else NAN
        for t, effect in enumerate(problem.effects)
    )
    found = []
    for term, effect in enumerate(problem.effects):
        for place, name in enumerate(effect.names()):
            at = problem.offsets[term] + place
            share = place < effect.n_variances and not math.isnan(total)
            found.append(
                Component(
                    name=name,
                    estimate=float(values[at]),
                    se=float(se[at]),
                    boundary=edges[at],
                    levels=int(effect.outer.max()) + 1,
                    i2=100 * float(values[at]) / (total + typical) if share else NAN,
                    icc=float(values[at]) / total if share and total > 0 else NAN,
                )
            )
    return tuple(found)


def _not_estimable(question: _Question, reasons: Sequence[str]) -> MultilevelFit:
    k, p = question.x.shape
    none = np.full(p, NAN)
    return MultilevelFit(
        method=question.method,
        test=question.test,
        level=question.level,
        k=k,
        names=question.names,
        beta=none,
        se=none,
        statistic=none,
        df=none,
        p_values=none,
        ci_low=none,
        ci_high=none,
        covariance=np.full((p, p), NAN),
        components=(),
        log_likelihood=NAN,
        aic=NAN,
        bic=NAN,
        aicc=NAN,
        qe=NAN,
        qe_df=k - p,
        qe_p=NAN,
        tested=question.tested,
        qm=NAN,
        qm_df=(len(question.tested), NAN),
        qm_p=NAN,
        typical=NAN,
        yi=question.yi,
        x=question.x,
        v=question.v,
        terms=question.terms,
        marginal=question.v,
        u=np.zeros(0),
        notes=tuple(f"not estimable: {reason}" for reason in reasons),
    )


# ------------------------------------------------------------------ what follows from a fit


def estimate_row(fitted: MultilevelFit, coefficient: int = 0) -> Estimate:
    """One coefficient as a row of the table of pooled estimates.

    With a prediction interval for the true effect in a new unit of the outermost level where
    the model has an intercept only and one total variance.
    """
    total = _total_variance(fitted, None)
    se, df = float(fitted.se[coefficient]), float(fitted.df[coefficient])
    alone = len(fitted.names) == 1 and bool((fitted.x == 1).all()) and bool(fitted.components)
    half = quantile(fitted.level, df) * math.sqrt(se**2 + total) if alone else NAN
    return wald(
        model="multilevel" if fitted.terms else "common",
        method=fitted.method,
        test="z" if fitted.test == "z" else "t",
        k=fitted.k,
        estimate=float(fitted.beta[coefficient]),
        se=se,
        level=fitted.level,
        df=df,
        tau2=total,
        pi_half=half,
        notes=fitted.notes,
    )


def _total_variance(fitted: MultilevelFit, inner: Mapping[str, Hashable] | None) -> float:
    """Variance of all random effects of a new row; nan where inner levels differ in it."""
    values = {component.name: component.estimate for component in fitted.components}
    if not values:
        return NAN
    total = 0.0
    for term in fitted.terms:
        level = (inner or {}).get(term.name)
        keys = (f"sigma2 {term.name}", f"tau2 {term.name}", f"tau2 {term.name} [{level}]")
        total += next((values[key] for key in keys if key in values), NAN)
    return total


@dataclass(frozen=True, slots=True)
class Prediction:
    """Means at given designs with intervals, shapes (n,); pi of a new unit's true effect."""

    estimate: Floats
    se: Floats
    ci_low: Floats
    ci_high: Floats
    pi_low: Floats
    pi_high: Floats
    notes: tuple[str, ...] = ()


def predict(
    fitted: MultilevelFit, x: Floats, inner: Mapping[str, Hashable] | None = None
) -> Prediction:
    """Mean effects at designs `x` (n, p), with confidence and prediction intervals.

    `inner` names, by term, the inner level whose variance a new unit has; needed where each
    inner level has its own. Degrees of freedom: the fewest of the coefficients involved.
    """
    x = np.atleast_2d(np.asarray(x, dtype=float))
    estimate = x @ fitted.beta
    se = np.sqrt(np.maximum(np.sum((x @ fitted.covariance) * x, axis=1), 0))
    df = np.array([float(np.min(fitted.df[row != 0], initial=math.inf)) for row in x])
    df[~np.isfinite(df)] = NAN
    crit = np.array([quantile(fitted.level, one) for one in df.tolist()])
    total = _total_variance(fitted, inner)
    reach = crit * np.sqrt(se**2 + total)
    notes: tuple[str, ...] = ()
    if math.isnan(total) and fitted.components:
        notes = ("no prediction interval: name the inner level, each has its own variance",)
    return Prediction(
        estimate,
        se,
        estimate - crit * se,
        estimate + crit * se,
        estimate - reach,
        estimate + reach,
        notes,
    )


@dataclass(frozen=True, slots=True)
class RandomEffects:
    """Best linear unbiased predictions of one term's effects.

    Attributes
    ----------
    name : of the term.
    outer, inner : levels, n each; inner levels are None for an intercept.
    estimate, se : shape (n,); se of prediction, with the uncertainty of the coefficients and
        without that of the variances.
    """

    name: str
    outer: tuple[Hashable, ...]
    inner: tuple[Hashable, ...]
    estimate: Floats
    se: Floats


def random_effects(fitted: MultilevelFit) -> tuple[RandomEffects, ...]:
    """Predict the random effects G Z'M^-1 (y - X beta), variance G - G Z'P Z G.

    Harville (1976, doi:10.1214/aos/1176343414); one entry per term.
    """
    if not fitted.components:
        return ()
    k = fitted.k
    block_of, place = np.empty(k, dtype=np.intp), np.empty(k, dtype=np.intp)
    rest, pulled, inverses = np.empty(k), np.empty_like(fitted.x), []
    residuals = fitted.yi - fitted.x @ fitted.beta
    for number, (rows, matrix) in enumerate(
        zip(fitted.marginal.rows, fitted.marginal.matrices, strict=True)
    ):
        block_of[rows], place[rows] = number, np.arange(rows.size)
        inverse = np.linalg.inv(matrix)
        inverses.append(inverse)
        rest[rows], pulled[rows] = inverse @ residuals[rows], inverse @ fitted.x[rows]
    scale = math.ldexp(1.0, 2 * _exponent(fitted.v))
    found, start = [], 0
    for term in fitted.terms:
        effect = _effects(term, k)
        u = fitted.u[start : start + effect.n_parameters]
        start += effect.n_parameters
        g = effect.shape(u).g * scale
        outer, inner, values, spreads = [], [], [], []
        for rows in groups(term.outer):
            present = np.unique(effect.inner[rows])
            z = (effect.inner[rows][:, np.newaxis] == present).astype(float)
            part = g[np.ix_(present, present)]
            at = place[rows]
            p = inverses[block_of[rows[0]]][np.ix_(at, at)]
            p = p - pulled[rows] @ fitted.covariance @ pulled[rows].T
            half = z @ part
            values += (half.T @ rest[rows]).tolist()
            spreads += np.diagonal(part - half.T @ p @ half).tolist()
            outer += [term.outer[rows[0]]] * present.size
            inner += [effect.levels[i] if effect.levels else None for i in present.tolist()]
        se = np.sqrt(np.maximum(spreads, 0))
        found.append(RandomEffects(term.name, tuple(outer), tuple(inner), np.array(values), se))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ComponentInterval:
    """Profile likelihood interval of a variance or correlation; nan where not estimable."""

    name: str
    low: float
    high: float
    notes: tuple[str, ...] = ()


def profile_intervals(
    fitted: MultilevelFit, level: float | None = None
) -> tuple[ComponentInterval, ...]:
    """Where the profile (restricted) likelihood is chi-squared(1) / 2 below its maximum.

    One interval per component, at `level` (a fraction; that of the fit if None). Hardy &
    Thompson (1996, doi:10.1002/(SICI)1097-0258(19960330)15:6<619::AID-SIM188>3.0.CO;2-A).
    The crossings nearest to the estimate are taken.
    """
    if not fitted.components:
        return ()
    question = _Question(
        fitted.yi,
        fitted.v,
        fitted.terms,
        fitted.x,
        fitted.method,
        fitted.test,
        fitted.level,
        fitted.names,
        fitted.tested,
    )
    problem = _problem(question)
    drop = quantile(fitted.level if level is None else level, NAN) ** 2 / 2
    unit = math.ldexp(1.0, 2 * problem.exponent)
    found = []
    for term, effect in enumerate(problem.effects):
        start = problem.offsets[term]
        for place, name in enumerate(effect.names()):
            if effect.cholesky:
                why = "no profile interval for three or more correlated levels"
                found.append(ComponentInterval(name, NAN, NAN, (why,)))
            elif place < effect.n_variances:
                found.append(
                    _variance_interval(problem, fitted.u, start + place, drop, name, unit)
                )
            else:
                found.append(
                    _rho_interval(problem, fitted.u, start + place, drop, name, effect)
                )
    return tuple(found)


def _profile(problem: _Problem, u: Floats, place: int, value: float) -> _Top | None:
    """Highest likelihood with one free parameter fixed, from the others in `u`."""
    trial = u.copy()
    trial[place] = value
    free = np.delete(np.arange(problem.n), place)
    return _climb(problem, trial, free)


def _crossing(
    problem: _Problem, u: Floats, place: int, target: float, ends: Sequence[float]
) -> float | None:
    """First point, going through `ends` in order, where the profile falls to `target`."""
    here, inside, above = u, float(u[place]), _value(problem, u) - target
    for end in ends:
        top = _profile(problem, here, place, end)
        if top is None:
            return None
        if top.value <= target:
            return _root(
                problem, here, place, target, (inside, above), (end, top.value - target)
            )
        here, inside, above = top.u, end, top.value - target
    return None


def _root(
    problem: _Problem,
    u: Floats,
    place: int,
    target: float,
    inside: tuple[float, float],
    outside: tuple[float, float],
) -> float:
    """Where the profile equals `target`, between two points with their excess over it.

    Regula falsi with Illinois' weights, each climb from where the last one ended.
    """
    (a, above), (b, below), last = inside, outside, 0
    middle = a
    for _ in range(100):
        middle = (a * below - b * above) / (below - above)
        if abs(b - a) <= 1e-13 * max(abs(a), abs(b)) or middle in (a, b):
            break
        top = _profile(problem, u, place, middle)
        if top is None:
            return math.nan
        excess = top.value - target
        if abs(excess) < 1e-13 * (1 + abs(target)):
            break
        if excess > 0:
            a, above, u = middle, excess, top.u
            below = below / 2 if last > 0 else below
            last = 1
        else:
            b, below = middle, excess
            above = above / 2 if last < 0 else above
            last = -1
    return middle


def _variance_interval(
    problem: _Problem, u: Floats, place: int, drop: float, name: str, unit: float
) -> ComponentInterval:
    u = u.copy()
    u[place] = abs(u[place])
    target, t = _value(problem, u) - drop, float(u[place])
    step = max(t, 0.05) * 0.25
    up = [t + step * 1.4**n for n in range(80)]
    down = [t * (1 - n / 8) for n in range(1, 9)] if t > 0 else []
    high, low = (
        _crossing(problem, u, place, target, up),
        _crossing(problem, u, place, target, down),
    )
    notes = () if high is not None else ("no upper bound: the likelihood stays high",)
    return ComponentInterval(
        name,
        0.0 if low is None else low**2 * unit,
        math.inf if high is None else high**2 * unit,
        notes,
    )


def _rho_interval(
    problem: _Problem, u: Floats, place: int, drop: float, name: str, effect: _Effects
) -> ComponentInterval:
    rho, correlation = effect.structure.rho, effect.structure.correlation
    assert rho is not None  # only correlated structures have this parameter
    u = u.copy()
    first = 0.0
    if correlation is _compound:
        u[place], last = math.asin(min(1.0, abs(math.sin(u[place])))), QUARTER
    elif correlation is _autoregressive:
        u[place], first, last = math.asin(math.sin(u[place])), -QUARTER, QUARTER
    else:
        u[place], last = abs(u[place]), 8.0
    target, here = _value(problem, u) - drop, float(u[place])
    ends = []
    for end in (first, last):
        stops = np.linspace(here, end, 17)[1:].tolist() if here != end else []
        crossed_ = _crossing(problem, u, place, target, stops)
        ends.append(rho(end if crossed_ is None else crossed_, effect.m)[0])
    low, high = sorted(ends)
    return ComponentInterval(name, low, high)


def _exponent(v: Blocks) -> int:
    """Power of 2 that `_problem` divided yi by."""
    vi = np.concatenate([np.diagonal(matrix) for matrix in v.matrices])
    return math.frexp(float(np.median(vi)))[1] // 2
