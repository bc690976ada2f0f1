"""The normal-normal model yi ~ N(X b, vi + tau2): what its estimators are made of, exactly.

Variances may span many decades, where matrix forms such as W - WX(X'WX)^-1 X'W lose all their
digits. Here nothing is a difference of large numbers: p studies of which no other is a large
multiple (the basis B; with an intercept only the most precise study) are fitted exactly first,
and the other studies N enter by their distance from that fit,

    X = [1; C] X_B,    d = y_N - C y_B,    M = W_N^(1/2) C W_B^(-1/2),    G = (1 + M'M)^-1,

with all elements of M small, so that the weighted residuals are -G M'u in the basis and
u - M G M'u elsewhere, u = W_N^(1/2) d, and one minus the hat values are the diagonals of
G M'M and 1 - M G M'. (The idea is that of row-wise stable weighted least squares: Powell &
Reid 1969; Cox & Higham 1998.)

Functions that take `Problem` and `tau2` are in the unit of the caller and the order of his
studies; `Weighted` and what takes `scaled` are in the order and the unit of the problem.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evisynth.records import Floats

# Largest distance between effects, in standard errors of the most precise study: squares of it,
# and products of these, must stay inside the range of double precision.
WIDEST = 1e70
# A column is a combination of those before it if less than this share of it remains.
COLLINEAR = 1e-10
# Elements of M are at most the first where a basis is chosen; another one is chosen where one
# exceeds the second.
CHOSEN, TOLERATED = 1.5, 4.0
# Numbers held at once by `curve`.
BLOCK = 1_000_000

Complexes = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Basis:
    """Studies that are fitted exactly first.

    Attributes
    ----------
    start : smallest tau2, in the unit of the problem, for which this basis is meant.
    inside, outside : positions of the p basis studies B and of the k - p others N.
    c : (k - p, p), C in X_N = C X_B.
    d : (k - p,), y_N - C y_B.
    """

    start: float
    inside: NDArray[np.intp]
    outside: NDArray[np.intp]
    c: Floats
    d: Floats


@dataclass(frozen=True, slots=True)
class Problem:
    """Effects, variances and design in an order, origin and unit in which sums lose no digits.

    Attributes
    ----------
    yi, vi : (k,), sorted by vi; vi[0] is between 0.5 and 2. With an intercept yi[0] is 0.
    order : position of each of these studies among those of the caller.
    shift : what was subtracted from yi; 0 where the columns of x do not span a constant.
    exponent : yi was then divided by 2 to this power, and vi by 4 to this power.
    x : (k, p), columns centred where there is an intercept, and scaled; None for an intercept
        only.
    back : (p, p), takes coefficients of the columns of `x` to those of the caller's columns.
    bases : for ascending tau2; the first starts at 0.
    """

    yi: Floats
    vi: Floats
    order: NDArray[np.intp]
    shift: float
    exponent: int
    x: Floats | None
    back: Floats
    bases: tuple[Basis, ...]

    @property
    def k(self) -> int:
        """Number of studies."""
        return self.yi.size

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return len(self.back)

    @property
    def yi_range(self) -> float:
        """Largest minus smallest effect."""
        return float(self.yi.max() - self.yi.min())

    def scaled(self, tau2: float) -> float:
        """`tau2` of the caller in the unit of the problem."""
        return math.ldexp(tau2, -2 * self.exponent)


@dataclass(frozen=True, slots=True)
class Weighted:
    """The weighted least squares fit of a problem with given weights.

    Attributes
    ----------
    wi : (k,), weights.
    ri : (k,), residuals.
    free : (k,), one minus the hat values.
    basis : that of the fit.
    fitted : (p,), fitted values of the basis studies minus their yi.
    m, g : (k - p, p) and (p, p), M and G of the module.
    """

    wi: Floats
    ri: Floats
    free: Floats
    basis: Basis
    fitted: Floats
    m: Floats
    g: Floats

    @property
    def q(self) -> float:
        """Sum of squared residuals times weights, y'Py."""
        return total(self.wi * self.ri**2)

    @property
    def yppy(self) -> float:
        """Sum of squared products of weight and residual, y'PPy."""
        return total((self.wi * self.ri) ** 2)

    @property
    def trace_p(self) -> float:
        """Trace of P = W - WX(X'WX)^-1 X'W."""
        return total(self.wi * self.free)

    def trace_pspt(self, si: Floats, ti: Floats) -> float:
        """Trace of PSPT for diagonal S and T, given as vectors of shape (k,), none negative."""
        inside, outside = self.basis.inside, self.basis.outside
        root_b, root_n = np.sqrt(self.wi[inside]), np.sqrt(self.wi[outside])
        inner = np.outer(root_b, root_b) * (self.g @ (self.m.T @ self.m))
        cross = root_n[:, np.newaxis] * (self.m @ self.g) * root_b
        wi, mg = self.wi[outside], self.m @ self.g
        hat = (mg * self.m).sum(axis=1)
        s_n = (self.m.T * (wi * si[outside])) @ mg
        t_n = (self.m.T * (wi * ti[outside])) @ mg
        return math.fsum(
            [
                *(inner**2 * np.outer(si[inside], ti[inside])).ravel().tolist(),
                *(cross**2 * np.outer(si[outside], ti[inside])).ravel().tolist(),
                *(cross**2 * np.outer(ti[outside], si[inside])).ravel().tolist(),
                *(wi**2 * si[outside] * ti[outside] * (1 - 2 * hat)).tolist(),
                float((s_n * t_n.T).sum()),
            ]
        )


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Coefficients (p,) of the columns of x and their covariance (p, p) for a known tau2."""

    b: Floats
    covariance: Floats

    @property
    def se(self) -> Floats:
        """Standard errors, (p,)."""
        errors: Floats = np.sqrt(np.diag(self.covariance))
        return errors


def total(values: Floats) -> float:
    """Sum, correctly rounded: independent of order, and of the processor's vector unit."""
    return math.fsum(values.tolist())


def dependent_columns(x: Floats) -> tuple[int, ...]:
    """Columns of `x` (k, p), from 0, that are linear combinations of the columns before them.

    Centring and scaling of columns make no difference if x holds a constant column, so that
    years are not taken for a constant.
    """
    normal, _ = _normalised(np.asarray(x, dtype=float))
    lengths = np.sqrt((normal**2).sum(axis=0))
    if normal.shape[0] < normal.shape[1]:
        normal = np.vstack([normal, np.zeros((normal.shape[1] - len(normal), len(lengths)))])
    remainder = np.abs(np.diag(np.linalg.qr(normal, mode="r")))
    return tuple(np.flatnonzero(remainder <= COLLINEAR * lengths).tolist())


def _normalised(x: Floats) -> tuple[Floats, Floats]:
    """Centred and scaled columns, and what takes their coefficients to those of x."""
    p = x.shape[1]
    constant = [j for j in range(p) if x[0, j] != 0 and (x[:, j] == x[0, j]).all()]
    origin = np.zeros(p)
    if constant:
        origin = np.where(np.arange(p) == constant[0], 0.0, x[0])
    centred = x - origin
    exponents = np.frexp(np.abs(centred).max(axis=0))[1]
    back = np.diag(np.ldexp(1.0, -exponents))
    if constant:
        j = constant[0]
        back[j] -= (origin / x[0, j]) @ back
    return np.ldexp(centred, -exponents), back


def problem(yi: Floats, vi: Floats, x: Floats | None = None) -> Problem:
    """Sort, shift and scale effects `yi` with variances `vi`, (k,), and a design `x`, (k, p).

    `x` holds its intercept as a column of ones if it has one; None stands for an intercept
    only. Sorting makes every result independent of the order of the studies, the shift keeps
    the digits of effects far from 0, and the scale, a power of 2, changes no digit.

    Raises
    ------
    ValueError
        Different shapes, no study, fewer studies than columns, a number that is not finite, a
        variance that is not positive, collinear columns of x (named, counted from 1).
    OverflowError
        Effects or variances so far apart that squares leave the range of double precision.
    """
    yi, vi = np.asarray(yi, dtype=float), np.asarray(vi, dtype=float)
    if yi.ndim != 1 or yi.shape != vi.shape or yi.size == 0:
        raise ValueError(
            f"yi and vi must be of one shape (k,), k > 0, not {yi.shape}, {vi.shape}"
        )
    if not np.isfinite(yi).all():
        raise ValueError(f"yi must be finite, not {yi.tolist()}")
    if not (np.isfinite(vi) & (vi > 0)).all():
        raise ValueError(f"vi must be positive and finite, not {vi.tolist()}")
    if x is None:
        order = np.lexsort((yi, vi))
    else:
        x = _design(x, yi.size)
        order = np.lexsort((*x.T[::-1], yi, vi))
    yi, vi = yi[order], vi[order]
    normal, back = (None, np.ones((1, 1))) if x is None else _normalised(x[order])
    shift = float(yi[0]) if normal is None or _spans_constant(normal, vi) else 0.0
    exponent = math.frexp(float(vi[0]))[1] // 2
    with np.errstate(over="ignore"):
        yi = np.ldexp(yi - shift, -exponent)
        vi = np.ldexp(vi, -2 * exponent)
    if max(np.ptp(yi), np.abs(yi).max()) > WIDEST or vi[-1] > WIDEST**2:
        raise OverflowError(
            f"effects or standard errors are more than {WIDEST:g} times the smallest standard "
            "error apart: look for a mistyped number or unit"
        )
    bases = (_single(yi, 0),) if normal is None else tuple(_bases(yi, vi, normal))
    return Problem(yi, vi, order, shift, exponent, normal, back, bases)


def _design(x: Floats, k: int) -> Floats:
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or x.shape[0] != k or x.shape[1] == 0:
        raise ValueError(f"x must be of shape (k, p), k = {k} and p > 0, not {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    if x.shape[1] > k:
        raise ValueError(f"{k} studies cannot tell {x.shape[1]} coefficients")
    if dependent := dependent_columns(x):
        named = ", ".join(str(column + 1) for column in dependent)
        raise ValueError(f"x is collinear: column {named} follows from the columns before it")
    return x


def _single(yi: Floats, place: int) -> Basis:
    """The study at `place` as the basis of a model with an intercept only."""
    places = np.arange(yi.size)
    outside = np.delete(places, place)
    c = np.ones((yi.size - 1, 1))
    return Basis(0.0, places[place : place + 1], outside, c, yi[outside] - yi[place])


def _ratio(v_over: Floats, v_under: Floats, tau2: float) -> Floats:
    """Square roots of (v_over + tau2) / (v_under + tau2), (over, under) as columns and rows."""
    ratio: Floats = np.sqrt((v_over + tau2) / (v_under[:, np.newaxis] + tau2))
    return ratio


def _chosen(rows: Floats) -> NDArray[np.intp]:
    """Rows of a (k, p) matrix of which all others are combinations with small coefficients.

    Greedy by length, then exchanges, each of which enlarges the volume by at least `CHOSEN`.
    """
    remainder, found = rows.copy(), []
    for _ in range(rows.shape[1]):
        best = int(np.argmax((remainder**2).sum(axis=1)))
        found.append(best)
        direction = remainder[best] / math.sqrt(float((remainder[best] ** 2).sum()))
        remainder = remainder - np.outer(remainder @ direction, direction)
        remainder[found] = 0.0
    inside = np.array(found)
    while True:
        shares = np.abs(np.linalg.solve(rows[inside].T, rows.T))
        shares[:, inside] = 0.0
        column, row = np.unravel_index(int(np.argmax(shares)), shares.shape)
        if shares[column, row] <= CHOSEN:
            return np.sort(inside)
        inside[column] = row


def _basis(yi: Floats, x: Floats, wi: Floats, start: float = 0.0) -> Basis:
    inside = _chosen(np.sqrt(wi / wi.max())[:, np.newaxis] * x)
    outside = np.setdiff1d(np.arange(yi.size), inside)
    c = np.asarray(np.linalg.solve(x[inside].T, x[outside].T).T, dtype=np.float64)
    return Basis(start, inside, outside, c, yi[outside] - c @ yi[inside])


def _bases(yi: Floats, vi: Floats, x: Floats) -> list[Basis]:
    """Bases for all tau2: each until one of the elements of M exceeds `TOLERATED`.

    The square of an element is c^2 (v_B + tau2) / (v_N + tau2), monotone in tau2.
    """
    bases = [_basis(yi, x, 1 / vi)]
    while True:
        last = bases[-1]
        large = np.abs(last.c) > TOLERATED
        if not large.any():
            return bases
        rows, columns = np.nonzero(large)
        share = (TOLERATED / last.c[large]) ** 2
        over, under = vi[last.inside[columns]], vi[last.outside[rows]]
        end = float(((share * under - over) / (1 - share)).min())
        bases.append(_basis(yi, x, 1 / (vi + end), end))


def _spans_constant(x: Floats, vi: Floats) -> bool:
    """Whether a constant is a combination of the columns, up to rounding."""
    basis = _basis(np.ones(vi.size), x, 1 / vi)
    rounding = 16 * np.finfo(float).eps * (1 + np.abs(basis.c).sum(axis=1))
    return bool((np.abs(basis.d) <= rounding).all())


def at(data: Problem, scaled: float) -> Weighted:
    """Fit with the weights 1 / (vi + tau2), tau2 = `scaled` in the unit of the problem."""
    wi = 1 / (data.vi + scaled)
    basis = next(b for b in reversed(data.bases) if b.start <= scaled)
    if data.x is None:
        return _intercept(data, wi, basis)
    m = basis.c * _ratio(data.vi[basis.inside], data.vi[basis.outside], scaled)
    return _fit(data, wi, basis, m)


def weigh(data: Problem, wi: Floats) -> Weighted:
    """Fit with any positive weights, (k,), in the order of the problem and its unit."""
    if data.x is None:
        return _intercept(data, wi, _single(data.yi, int(np.argmax(wi))))
    basis = _basis(data.yi, data.x, wi)
    m = basis.c * np.sqrt(wi[basis.outside, np.newaxis] / wi[basis.inside])
    return _fit(data, wi, basis, m)


def _intercept(data: Problem, wi: Floats, basis: Basis) -> Weighted:
    """`_fit` for an intercept only, in correctly rounded sums."""
    heaviest = int(basis.inside[0])
    origin = data.yi[heaviest]
    whole, others = total(wi), total(wi[basis.outside])
    mean = total(wi * (data.yi - origin)) / whole
    # Only the heaviest study can outweigh all others and lose digits.
    rest = whole - wi
    rest[heaviest] = others
    return Weighted(
        wi=wi,
        ri=(data.yi - origin) - mean,
        free=rest / whole,
        basis=basis,
        fitted=np.array([mean]),
        m=np.sqrt(wi[basis.outside, np.newaxis] / wi[heaviest]),
        g=np.array([[wi[heaviest] / whole]]),
    )


def _fit(data: Problem, wi: Floats, basis: Basis, m: Floats) -> Weighted:
    inside, outside = basis.inside, basis.outside
    square = m.T @ m
    g = np.asarray(np.linalg.inv(np.eye(data.p) + square), dtype=np.float64)
    root_b, root_n = np.sqrt(wi[inside]), np.sqrt(wi[outside])
    u = root_n * basis.d
    moved = g @ (m.T @ u)
    ri, free = np.empty(data.k), np.empty(data.k)
    ri[inside], ri[outside] = -moved / root_b, (u - m @ moved) / root_n
    free[inside], free[outside] = np.diag(g @ square), 1 - ((m @ g) * m).sum(axis=1)
    return Weighted(wi, ri, free, basis, moved / root_b, m, g)


def solution(data: Problem, fit: Weighted) -> Coefficients:
    """Coefficients of the caller's columns, in his unit; covariance of inverse variances."""
    inside = fit.basis.inside
    root = np.sqrt(fit.wi[inside])
    rows = np.ones((1, 1)) if data.x is None else data.x[inside]
    take = data.back @ np.linalg.inv(rows)
    values = np.ldexp(data.yi[inside] + fit.fitted, data.exponent) + data.shift
    half = take / root
    return Coefficients(
        b=take @ values, covariance=np.ldexp(half @ fit.g @ half.T, 2 * data.exponent)
    )


def log_determinants(data: Problem, fit: Weighted) -> float:
    """log|X'WX| - log|X'X| in the unit of the problem."""
    terms = np.log(fit.wi[fit.basis.inside]).tolist()
    for matrix, sign in ((fit.m, 1.0), (fit.basis.c, -1.0)):
        singular = np.linalg.svd(matrix, compute_uv=False)
        terms += (sign * np.log1p(singular**2)).tolist()
    return math.fsum(terms)


def height(data: Problem, scaled: float, *, restricted: bool) -> float:
    """(Restricted) log-likelihood of the caller's data at `scaled`, with all constants."""
    fit = at(data, scaled)
    terms = [math.log(value) for value in (data.vi + scaled).tolist()]
    terms.append(fit.q)
    df = data.k
    if restricted:
        df -= data.p
        if data.x is None:
            terms += [math.log(total(fit.wi)), -math.log(data.k)]
        else:
            terms.append(log_determinants(data, fit))
    terms += [df * math.log(2 * math.pi), 2 * df * data.exponent * math.log(2)]
    return -math.fsum(terms) / 2


@dataclass(frozen=True, slots=True)
class Curve:
    """Functions of tau2 on a grid, each of shape (T,), in the unit of the problem.

    Attributes
    ----------
    tau2 : the grid, ascending.
    yppy : y'PPy.
    penalty : trace of P (restricted) or of W; both fall in tau2, as y'PPy does.
    height : (restricted) log-likelihood, but for a constant.
    """

    tau2: Floats
    yppy: Floats
    penalty: Floats
    height: Floats


def curve(data: Problem, tau2: Floats, *, restricted: bool) -> Curve:
    """The profile (restricted) likelihood at many values of tau2 at once."""
    rows = max(1, BLOCK // (data.k * data.p))
    starts = np.searchsorted(tau2, [basis.start for basis in data.bases]).tolist()
    parts = [
        _curve(data, basis, tau2[first : min(first + rows, end)], restricted)
        for basis, start, end in zip(data.bases, starts, [*starts[1:], tau2.size], strict=True)
        for first in range(start, end, rows)
    ]
    return Curve(tau2, *np.concatenate(parts, axis=1))


def _curve(data: Problem, basis: Basis, tau2: Floats, restricted: bool) -> Floats:
    """Rows yppy, penalty and height of `Curve`."""
    inside, outside = basis.inside, basis.outside
    variance = data.vi + tau2[:, np.newaxis]
    wi = 1 / variance
    root_b, root_n = np.sqrt(wi[:, np.newaxis, inside]), np.sqrt(wi[:, outside, np.newaxis])
    m = root_n * basis.c / root_b
    u = root_n * basis.d[:, np.newaxis]
    turned = m.transpose(0, 2, 1)
    square = turned @ m
    grown = np.eye(data.p) + square
    g = np.linalg.inv(grown)
    moved = g @ (turned @ u)
    e_n = (u - m @ moved)[..., 0]
    e_b = moved[..., 0]
    yppy = (wi[:, outside] * e_n**2).sum(axis=1) + (wi[:, inside] * e_b**2).sum(axis=1)
    q = (e_n**2).sum(axis=1) + (e_b**2).sum(axis=1)
    height = np.log(variance).sum(axis=1) + q
    if restricted:
        hat = ((m @ g) * m).sum(axis=2)
        corner = np.diagonal(g @ square, axis1=1, axis2=2)
        penalty = (wi[:, outside] * (1 - hat)).sum(axis=1) + (wi[:, inside] * corner).sum(
            axis=1
        )
        height += np.linalg.slogdet(grown)[1] + np.log(wi[:, inside]).sum(axis=1)
    else:
        penalty = wi.sum(axis=1)
    return np.array([yppy, penalty, -height / 2])


def _checked(data: Problem, tau2: float) -> float:
    if not (math.isfinite(tau2) and tau2 >= 0):
        raise ValueError(f"tau2 must be finite and not negative, not {tau2}")
    return data.scaled(tau2)


def generalised_q(data: Problem, tau2: float) -> float:
    """Squared residuals weighted by 1 / (vi + tau2); Cochran's Q, or QE, where tau2 = 0."""
    return at(data, _checked(data, tau2)).q


def trace_p(data: Problem, tau2: float) -> float:
    """Trace of P = W - WX(X'WX)^-1 X'W, W = diag(1 / (vi + tau2))."""
    return math.ldexp(at(data, _checked(data, tau2)).trace_p, -2 * data.exponent)


def trace_p2(data: Problem, tau2: float) -> float:
    """Trace of PP, P as in `trace_p`."""
    ones = np.ones(data.k)
    fit = at(data, _checked(data, tau2))
    return math.ldexp(fit.trace_pspt(ones, ones), -4 * data.exponent)


def yppy(data: Problem, tau2: float) -> float:
    """y'PPy, P as in `trace_p`."""
    return math.ldexp(at(data, _checked(data, tau2)).yppy, -2 * data.exponent)


def log_likelihood(data: Problem, tau2: float, *, restricted: bool) -> float:
    """(Restricted) log-likelihood at `tau2`, the coefficients at their maximum, all constants.

    Restricted: including +1/2 log|X'X| as in metafor (Harville 1974,
    doi:10.1093/biomet/61.2.383; Viechtbauer 2005, doi:10.3102/10769986030003261), so that it
    does not depend on how the columns of x are coded.
    """
    return height(data, _checked(data, tau2), restricted=restricted)


def coefficients(data: Problem, tau2: float) -> Coefficients:
    """Weighted least squares with 1 / (vi + tau2), covariance (X'WX)^-1."""
    return solution(data, at(data, _checked(data, tau2)))


def hat_values(data: Problem, tau2: float) -> Floats:
    """Leverages (k,) with the weights 1 / (vi + tau2), in the order of the caller."""
    values = np.empty(data.k)
    values[data.order] = 1 - at(data, _checked(data, tau2)).free
    return values


def residuals(data: Problem, tau2: float) -> Floats:
    """Effects minus fitted values (k,), in the order and unit of the caller."""
    values = np.empty(data.k)
    values[data.order] = np.ldexp(at(data, _checked(data, tau2)).ri, data.exponent)
    return values


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a problem with an intercept only, in the unit of the caller.

    Attributes
    ----------
    estimate, se : weighted mean and Wald's standard error.
    s2w : factor of Knapp and Hartung, the weighted mean square of the residuals; nan for k = 1.
    """

    estimate: float
    se: float
    s2w: float


def weighted_mean(data: Problem, tau2: float) -> Mean:
    """Mean of an intercept-only problem with the weights 1 / (vi + tau2)."""
    fit = at(data, data.scaled(tau2))
    return Mean(
        estimate=data.shift + math.ldexp(float(fit.fitted[0]), data.exponent),
        se=math.ldexp(math.sqrt(1 / total(fit.wi)), data.exponent),
        s2w=fit.q / (data.k - 1) if data.k > 1 else math.nan,
    )
