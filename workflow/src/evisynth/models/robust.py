"""Cluster-robust variances with small-sample corrections, and robust variance estimation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from evisynth.inference import quantile, two_sided_p, wald
from evisynth.models.covariance import (
    Blocks,
    Indices,
    Labels,
    diagonal,
    groups,
    merged,
)
from evisynth.records import Estimate, Floats

NAN = math.nan
# Below this many degrees of freedom Satterthwaite's approximation is poor (Tipton 2015).
LOW_DF = 4
# Eigenvalues of an adjustment matrix below this share of the largest count as 0.
RANK = 1e-10
# Relative bias of a CR2 variance under its own target, above which it is not reported.
BIAS = 0.01
KINDS = ("CR0", "CR1", "CR1p", "CR2")
TARGETS = ("working", "identity")
WEIGHTS = ("CORR", "HIER")


@dataclass(frozen=True, slots=True)
class RobustTest:
    """Test of several linear hypotheses: F with df (q, df), nan where not estimable.

    Attributes
    ----------
    f : for CR2 the approximate Hotelling T2 (AHT, also HTZ) statistic, else Wald's / q.
    """

    f: float
    q: int
    df: float
    p: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RobustFit:
    """Coefficients with cluster-robust standard errors; nan where not estimable.

    Attributes
    ----------
    kind, target : of the correction.
    names : of the coefficients, p.
    beta, se, statistic, df, p_values, ci_low, ci_high : shape (p,).
    covariance : shape (p, p).
    omnibus : test of the tested coefficients.
    n_clusters : number of clusters.
    """

    kind: str
    target: str
    level: float
    k: int
    n_clusters: int
    names: tuple[str, ...]
    beta: Floats
    se: Floats
    statistic: Floats
    df: Floats
    p_values: Floats
    ci_low: Floats
    ci_high: Floats
    covariance: Floats
    tested: tuple[int, ...]
    omnibus: RobustTest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What one cluster adds.

    Attributes
    ----------
    lever : M X'W A, shape (p, n): the sandwich's bread times its adjusted weights.
    meat : lever times the residuals, shape (p,).
    x, phi : design (n, p) and target covariance (n, n).
    phi_wx : target covariance times weighted design, shape (n, p).
    """

    lever: Floats
    meat: Floats
    x: Floats
    phi: Floats
    phi_wx: Floats


@dataclass(frozen=True, slots=True)
class _Sandwich:
    """Coefficients (p,) and all that their robust covariance is made of.

    Attributes
    ----------
    bread : M = (X'WX)^-1.
    filling : M X'W Phi W X M.
    """

    beta: Floats
    bread: Floats
    filling: Floats
    parts: tuple[_Cluster, ...]


def _inverse(blocks: Blocks) -> Blocks:
    return Blocks(
        blocks.rows,
        tuple(np.linalg.inv(matrix).astype(np.float64) for matrix in blocks.matrices),
    )


def _over(blocks: Blocks, rows: tuple[Indices, ...], what: str) -> tuple[Floats, ...]:
    """The blocks of a matrix on clusters, each of which must hold its blocks whole."""
    joined = merged(blocks, rows)
    if len(joined.rows) != len(rows):
        raise ValueError(
            f"{what} links effects of different clusters: take clusters that hold the "
            "outermost random effect and all correlated effects"
        )
    place = {int(members.min()): number for number, members in enumerate(joined.rows)}
    return tuple(joined.matrices[place[int(members.min())]] for members in rows)


def _symmetric_root_inverse(matrix: Floats) -> Floats:
    """Moore-Penrose inverse of the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > RANK * max(float(values[-1]), 0.0)
    root: Floats = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    return root


def _symmetric(phi: Floats, spread: Floats) -> Floats:
    """Symmetric A with A spread A' = phi (Pustejovsky & Tipton 2018)."""
    root = np.linalg.cholesky(phi).T
    inner = root @ spread @ root.T
    adjusted: Floats = root.T @ _symmetric_root_inverse((inner + inner.T) / 2) @ root
    return adjusted


def _whitened(phi: Floats, spread: Floats) -> Floats:
    """A with A spread A' = phi that is symmetric once phi is made the identity."""
    values, vectors = np.linalg.eigh(phi)
    root = (vectors * np.sqrt(values)) @ vectors.T
    inverse = (vectors / np.sqrt(values)) @ vectors.T
    inner = inverse @ spread @ inverse
    adjusted: Floats = root @ _symmetric_root_inverse((inner + inner.T) / 2) @ inverse
    return adjusted


def robust(
    yi: Floats,
    working: Blocks,
    cluster: Labels,
    x: Floats | None = None,
    *,
    weights: Blocks | None = None,
    kind: str = "CR2",
    target: str = "working",
    level: float = 0.95,
    names: Sequence[str] | None = None,
    tested: Sequence[int] | None = None,
) -> RobustFit:
    """Weighted least squares with a cluster-robust covariance of the coefficients.

    Parameters
    ----------
    yi : effects, shape (k,).
    working : working covariance of the effects: `MultilevelFit.marginal`, or
        ``diagonal(vi + tau2)`` for a model with one variance between effects.
    cluster : one label per row; clusters must be independent of each other.
    x : design with its intercept column, shape (k, p); None for the intercept alone.
    weights : block-diagonal weights; None for the inverse of `working`.
    kind : ``CR2`` (bias-reduced, Bell & McCaffrey 2002; Pustejovsky & Tipton 2018,
        doi:10.1080/07350015.2016.1247004) with Satterthwaite's degrees of freedom; ``CR0``
        (plain), ``CR1`` (times m / (m - 1)) and ``CR1p`` (times m / (m - p), metafor's) with
        m - p degrees of freedom, m the number of clusters.
    target : which of the adjustments of CR2 that make it unbiased under `working`:
        ``working``, symmetric in the units of the effects (as in clubSandwich), or
        ``identity``, symmetric after whitening, where the target is the identity matrix (as in
        PyMARE; weights must be the inverse of `working`). They agree where the variances of
        each cluster are equal.
    level : confidence level as a fraction.
    tested : columns of the omnibus test; all but the intercept unless given.

    Raises
    ------
    ValueError
        Unknown options, shapes, effects of different clusters that are correlated.
    """
    yi = np.asarray(yi, dtype=float)
    x = np.ones((yi.size, 1)) if x is None else np.asarray(x, dtype=float)
    _check(yi, working, cluster, x, kind, target, level)
    names = tuple(f"x{place}" for place in range(x.shape[1])) if names is None else tuple(names)
    tested = _tested(x) if tested is None else tuple(tested)
    if weights is not None and target == "identity":
        raise ValueError("target identity takes the inverse of working as weights")
    weights = _inverse(working) if weights is None else weights
    rows = groups(cluster)
    if len(rows) < 2:
        why = "not estimable: one cluster says nothing about the variation between clusters"
        return _not_estimable(yi, x, kind, target, level, names, tested, len(rows), why)
    if kind != "CR2" and len(rows) <= x.shape[1]:
        why = f"not estimable: {len(rows)} clusters leave no degrees of freedom for {kind}"
        return _not_estimable(yi, x, kind, target, level, names, tested, len(rows), why)
    adjustment = (_whitened if target == "identity" else _symmetric) if kind == "CR2" else None
    sandwich = _sandwich(yi, x, weights, working, rows, adjustment)
    beta, meat = sandwich.beta, np.array([part.meat for part in sandwich.parts])
    m, p = len(rows), x.shape[1]
    factor = {"CR0": 1.0, "CR1": m / (m - 1), "CR1p": m / (m - p) if m > p else NAN, "CR2": 1.0}
    covariance = meat.T @ meat * factor[kind]
    se = np.sqrt(np.diagonal(covariance))
    lost = se <= 1e-12 * np.sqrt(np.diagonal(sandwich.bread))
    if kind == "CR2":
        lost |= ~_unbiased(sandwich)
    se = np.where(lost, NAN, se)
    if kind == "CR2":
        df = np.array([_satterthwaite(sandwich, row) for row in np.eye(p)])
        omnibus = _aht(sandwich, covariance, np.eye(p)[list(tested)])
    else:
        df = np.full(p, float(m - p))
        omnibus = _wald_f(beta, covariance, np.eye(p)[list(tested)], float(m - p))
    half = np.array([quantile(level, one) if one > 0 else NAN for one in df.tolist()]) * se
    statistic = beta / se
    notes = [
        f"{name}: no robust standard error, because what tells about it lies in single clusters"
        for name, gone in zip(names, lost.tolist(), strict=True)
        if gone
    ]
    notes += [
        f"{name}: {one:.2g} degrees of freedom, below {LOW_DF} the p-value and interval are "
        "not to be relied on"
        for name, one in zip(names, df.tolist(), strict=True)
        if one < LOW_DF
    ]
    return RobustFit(
        kind=kind,
        target=target if kind == "CR2" else "",
        level=level,
        k=yi.size,
        n_clusters=m,
        names=names,
        beta=beta,
        se=se,
        statistic=statistic,
        df=df,
        p_values=np.array(
            [
                two_sided_p(s, d) if math.isfinite(s) else NAN
                for s, d in zip(statistic.tolist(), df.tolist(), strict=True)
            ]
        ),
        ci_low=beta - half,
        ci_high=beta + half,
        covariance=covariance,
        tested=tested,
        omnibus=omnibus,
        notes=tuple(notes),
    )


def _tested(x: Floats) -> tuple[int, ...]:
    varies = tuple(place for place in range(x.shape[1]) if np.ptp(x[:, place]) > 0)
    return varies if 0 < len(varies) < x.shape[1] else tuple(range(x.shape[1]))


def _check(
    yi: Floats,
    working: Blocks,
    cluster: Labels,
    x: Floats,
    kind: str,
    target: str,
    level: float,
) -> None:
    if yi.ndim != 1 or not yi.size == working.k == len(cluster) == len(x) or x.ndim != 2:
        raise ValueError("yi, working, cluster and x must have the same number of rows")
    if not (np.isfinite(yi).all() and np.isfinite(x).all()):
        raise ValueError("yi and x must be finite")
    for name, value, allowed in (("kind", kind, KINDS), ("target", target, TARGETS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")


def _sandwich(
    yi: Floats,
    x: Floats,
    weights: Blocks,
    phi: Blocks,
    rows: tuple[Indices, ...],
    adjustment: Callable[[Floats, Floats], Floats] | None,
) -> _Sandwich:
    """Weighted least squares and the adjusted terms (Pustejovsky & Tipton 2018)."""
    w_blocks = _over(weights, rows, "the weights matrix")
    phi_blocks = _over(phi, rows, "the working covariance")
    sorted_rows = tuple(np.sort(members) for members in rows)
    wx = [w @ x[members] for w, members in zip(w_blocks, sorted_rows, strict=True)]
    cross = sum(
        (x[members].T @ part for members, part in zip(sorted_rows, wx, strict=True)),
        np.zeros((x.shape[1],) * 2),
    )
    bread = np.linalg.inv(cross)
    bread = (bread + bread.T) / 2
    beta = np.zeros(x.shape[1])
    for _ in range(2):  # the second time refines what rounding left
        rest = yi - x @ beta
        beta = beta + bread @ sum(
            (part.T @ rest[members] for members, part in zip(sorted_rows, wx, strict=True)),
            np.zeros(x.shape[1]),
        )
    residuals = yi - x @ beta
    phi_wx = [block @ part for block, part in zip(phi_blocks, wx, strict=True)]
    filling = (
        bread
        @ sum(
            (part.T @ other for part, other in zip(wx, phi_wx, strict=True)),
            np.zeros((x.shape[1],) * 2),
        )
        @ bread
    )
    parts = []
    for members, block, part, other in zip(sorted_rows, phi_blocks, wx, phi_wx, strict=True):
        here = x[members]
        lever = bread @ part.T
        if adjustment is not None:
            shared = here @ bread @ other.T
            spread = block - shared - shared.T + here @ filling @ here.T
            lever = lever @ adjustment(block, spread)
        parts.append(_Cluster(lever, lever @ residuals[members], here, block, other))
    return _Sandwich(beta, bread, filling, tuple(parts))


@dataclass(frozen=True, slots=True)
class _Contrast:
    """Terms z_i of a contrast of the coefficients, one per cluster, without m x m arrays.

    Under the target cov(z_i, z_j) = [i = j] g_i'Phi_i h_i + U_i K U_j'.

    Attributes
    ----------
    levers : g_i, shapes (n_i,).
    wide : U, shape (m, 2p).
    """

    levers: tuple[Floats, ...]
    wide: Floats


def _contrast(sandwich: _Sandwich, contrast: Floats) -> _Contrast:
    levers = tuple(part.lever.T @ contrast for part in sandwich.parts)
    wide = np.array(
        [
            np.concatenate([part.x.T @ g, sandwich.bread @ (part.phi_wx.T @ g)])
            for part, g in zip(sandwich.parts, levers, strict=True)
        ]
    )
    return _Contrast(levers, wide)


def _kernel(sandwich: _Sandwich) -> Floats:
    """K, shape (2p, 2p)."""
    unit = np.eye(len(sandwich.beta))
    return np.block([[sandwich.filling, -unit], [-unit, np.zeros_like(unit)]])


def _own(sandwich: _Sandwich, one: _Contrast, other: _Contrast) -> Floats:
    """g_i'Phi_i h_i, shape (m,)."""
    return np.array(
        [
            g @ part.phi @ h
            for part, g, h in zip(sandwich.parts, one.levers, other.levers, strict=True)
        ]
    )


def _expectation(own: Floats, one: _Contrast, other: _Contrast, kernel: Floats) -> float:
    """Sum over clusters of cov(z_i of one, z_i of the other)."""
    return float(own.sum() + np.sum((one.wide @ kernel) * other.wide))


def _satterthwaite(sandwich: _Sandwich, contrast: Floats) -> float:
    """Degrees of freedom 2 E^2 / Var of the variance estimate under the target covariance."""
    here, kernel = _contrast(sandwich, contrast), _kernel(sandwich)
    own = _own(sandwich, here, here)
    mean = _expectation(own, here, here, kernel)
    spread = _products(own, own, here, here, kernel)
    return mean**2 / spread if spread > 0 else NAN


def _unbiased(sandwich: _Sandwich) -> NDArray[np.bool_]:
    """Whether CR2 has the variance of each coefficient as its expectation under the target.

    It has unless a cluster determines the coefficient by itself: then the cluster's residuals
    are 0 in that direction whatever the variance is, and the number that comes out is far too
    small.
    """
    kernel = _kernel(sandwich)
    held = []
    for place, unit in enumerate(np.eye(len(sandwich.beta))):
        here = _contrast(sandwich, unit)
        mean = _expectation(_own(sandwich, here, here), here, here, kernel)
        held.append(abs(mean / sandwich.filling[place, place] - 1) < BIAS)
    return np.array(held)


def _products(
    own1: Floats, own2: Floats, one: _Contrast, two: _Contrast, kernel: Floats
) -> float:
    """Sum over i, j of cov(z_i, z_j of contrast 1) cov(z_i, z_j of contrast 2)."""
    inner1 = np.sum((one.wide @ kernel) * one.wide, axis=1)
    inner2 = np.sum((two.wide @ kernel) * two.wide, axis=1)
    cross = one.wide.T @ two.wide
    return float(
        own1 @ own2 + own1 @ inner2 + own2 @ inner1 + np.sum(cross * (kernel @ cross @ kernel))
    )


def _exchanged(own: Floats, one: _Contrast, two: _Contrast, kernel: Floats) -> float:
    """Sum over i, j of cov(z_i of 1, z_j of 2) cov(z_j of 1, z_i of 2)."""
    inner = np.sum((one.wide @ kernel) * two.wide, axis=1)
    cross = one.wide.T @ two.wide
    return float(own @ own + 2 * own @ inner + np.sum(cross * (kernel @ cross.T @ kernel)))


def _aht(sandwich: _Sandwich, covariance: Floats, hypotheses: Floats) -> RobustTest:
    """Approximate Hotelling T2 test, HTZ (Tipton & Pustejovsky 2015).

    doi:10.3102/1076998615606099. `hypotheses` (q, p): H0 is hypotheses @ beta = 0.
    """
    q = len(hypotheses)
    kernel = _kernel(sandwich)
    raw = [_contrast(sandwich, row) for row in hypotheses]
    expected = np.array(
        [[_expectation(_own(sandwich, a, b), a, b, kernel) for b in raw] for a in raw]
    )
    values, vectors = np.linalg.eigh((expected + expected.T) / 2)
    if values[0] <= 1e-12 * max(float(values[-1]), 0.0):
        return RobustTest(NAN, q, NAN, NAN, ("not estimable: hypotheses without variance",))
    truth = hypotheses @ sandwich.filling @ hypotheses.T
    if np.abs(np.linalg.solve(truth, expected) - np.eye(q)).max() > BIAS:
        note = "not estimable: what tells about the tested coefficients lies in single clusters"
        return RobustTest(NAN, q, NAN, NAN, (note,))
    scaled = (vectors / np.sqrt(values)).T @ hypotheses
    turned = [_contrast(sandwich, row) for row in scaled]
    spread = 0.0
    for a in turned:
        for b in turned:
            mixed = _own(sandwich, a, b)
            spread += _products(_own(sandwich, a, a), _own(sandwich, b, b), a, b, kernel)
            spread += _exchanged(mixed, a, b, kernel)
    if spread <= 0:  # clusters that differ so much in weight that nothing is left of a sum
        note = "not estimable: the degrees of freedom are lost to rounding"
        return RobustTest(NAN, q, NAN, NAN, (note,))
    eta = q * (q + 1) / spread
    effect = hypotheses @ sandwich.beta
    part = hypotheses @ covariance @ hypotheses.T
    df = eta - q + 1
    if df <= 0:
        note = f"not estimable: too few clusters for a joint test of {q} coefficients"
        return RobustTest(NAN, q, df, NAN, (note,))
    if np.linalg.matrix_rank(part, hermitian=True) < q:
        note = "not estimable: the robust covariance of the tested coefficients is singular"
        return RobustTest(NAN, q, df, NAN, (note,))
    f = float(effect @ np.linalg.solve(part, effect)) * df / (eta * q)
    notes = (f"{df:.2g} denominator degrees of freedom",) if df < LOW_DF else ()
    return RobustTest(f, q, df, float(fdtrc(q, df, f)), notes)


def _wald_f(beta: Floats, covariance: Floats, hypotheses: Floats, df: float) -> RobustTest:
    q = len(hypotheses)
    part, effect = hypotheses @ covariance @ hypotheses.T, hypotheses @ beta
    if np.linalg.matrix_rank(part, hermitian=True) < q:
        note = "not estimable: the robust covariance of the tested coefficients is singular"
        return RobustTest(NAN, q, df, NAN, (note,))
    f = float(effect @ np.linalg.solve(part, effect)) / q
    return RobustTest(f, q, df, float(fdtrc(q, df, f)))


def _not_estimable(
    yi: Floats,
    x: Floats,
    kind: str,
    target: str,
    level: float,
    names: tuple[str, ...],
    tested: tuple[int, ...],
    n_clusters: int,
    why: str,
) -> RobustFit:
    p = x.shape[1]
    none = np.full(p, NAN)
    return RobustFit(
        kind=kind,
        target=target if kind == "CR2" else "",
        level=level,
        k=yi.size,
        n_clusters=n_clusters,
        names=names,
        beta=none,
        se=none,
        statistic=none,
        df=none,
        p_values=none,
        ci_low=none,
        ci_high=none,
        covariance=np.full((p, p), NAN),
        tested=tested,
        omnibus=RobustTest(NAN, len(tested), NAN, NAN, (why,)),
        notes=(why,),
    )


def estimate_row(
    fit: RobustFit, *, model: str, method: str, coefficient: int = 0, tau2: float = NAN
) -> Estimate:
    """One coefficient as a row of the table of pooled estimates, tested by `fit.kind`."""
    return wald(
        model=model,
        method=method,
        test=fit.kind,
        k=fit.k,
        estimate=float(fit.beta[coefficient]),
        se=float(fit.se[coefficient]),
        level=fit.level,
        df=float(fit.df[coefficient]),
        tau2=tau2,
        notes=fit.notes,
    )


# ------------------------------------------------------------------ robust variance estimation


@dataclass(frozen=True, slots=True)
class Rve:
    """Robust variance estimation with approximately inverse-variance weights.

    Attributes
    ----------
    weights : ``CORR`` or ``HIER``.
    fit : coefficients and tests.
    tau2 : variance between studies; square of the unit of yi.
    omega2 : variance within studies between their effects; nan for ``CORR``.
    i2 : per cent, from the residual Q (``CORR``); nan for ``HIER``.
    """

    weights: str
    fit: RobustFit
    tau2: float
    omega2: float
    i2: float
    notes: tuple[str, ...] = ()


def rve(
    yi: Floats,
    vi: Floats,
    study: Labels,
    x: Floats | None = None,
    *,
    weights: str = "CORR",
    rho: float = 0.8,
    small: bool = True,
    level: float = 0.95,
    names: Sequence[str] | None = None,
    tested: Sequence[int] | None = None,
) -> Rve:
    """Robust variance estimation (Hedges, Tipton & Johnson 2010, doi:10.1002/jrsm.5).

    Parameters
    ----------
    yi, vi : effects and variances, shape (k,).
    study : one label per row; studies are independent.
    x : design with its intercept column, shape (k, p); None for the intercept alone.
    weights : ``CORR``, correlated effects: 1 / (k_j (mean v of the study + tau2)), tau2 by
        moments given the assumed correlation `rho`; ``HIER``, hierarchical effects:
        1 / (vi + tau2 + omega2), both by moments.
    small : CR2 with Satterthwaite's df (Tipton 2015, doi:10.1037/met0000011), for which the
        inverse weights are the working variances; otherwise m / (m - p) and m - p df.

    Raises
    ------
    ValueError
        Impossible input or an unknown option.
    """
    yi, vi = np.asarray(yi, dtype=float), np.asarray(vi, dtype=float)
    x = np.ones((yi.size, 1)) if x is None else np.asarray(x, dtype=float)
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, not {weights!r}")
    if not 0 <= rho <= 1:
        raise ValueError(f"rho must lie in 0 to 1, not {rho}")
    if yi.ndim != 1 or not yi.shape == vi.shape == (len(study),) == x.shape[:1]:
        raise ValueError("yi, vi, study and x must have the same number of rows")
    if not (np.isfinite(vi) & (vi > 0)).all():
        raise ValueError("vi must be positive and finite")
    rows = groups(study)
    tau2 = omega2 = i2 = NAN
    working = vi
    notes: tuple[str, ...] = ()
    if len(rows) > 1 and x.shape[1] < len(rows):
        if weights == "CORR":
            working, tau2, i2, notes = _correlated(yi, vi, x, rows, rho)
        else:
            tau2, omega2, notes = _hierarchical(yi, vi, x, rows)
            working = vi + tau2 + omega2
    elif len(rows) > 1:
        why = f"not estimable: {len(rows)} studies do not determine {x.shape[1]} coefficients"
        columns = tuple(names or (f"x{place}" for place in range(x.shape[1])))
        kind = "CR2" if small else "CR1p"
        fit = _not_estimable(
            yi, x, kind, "working", level, columns, tuple(tested or _tested(x)), len(rows), why
        )
        return Rve(weights, fit, NAN, NAN, NAN, (why,))
    fit = robust(
        yi,
        diagonal(working),
        study,
        x,
        kind="CR2" if small else "CR1p",
        level=level,
        names=names,
        tested=tested,
    )
    return Rve(weights, fit, tau2, omega2, i2, (*notes, *fit.notes))


def _correlated(
    yi: Floats, vi: Floats, x: Floats, rows: tuple[Indices, ...], rho: float
) -> tuple[Floats, float, float, tuple[str, ...]]:
    """Working variances, tau2 and I2 of correlated effects."""
    mean_vi, size = np.empty_like(vi), np.empty_like(vi)
    for members in rows:
        mean_vi[members], size[members] = vi[members].mean(), members.size
    wi = 1 / (size * mean_vi)
    bread = np.linalg.inv(x.T @ (wi[:, np.newaxis] * x))
    residuals = yi - x @ (bread @ (x.T @ (wi * yi)))
    residuals -= x @ (bread @ (x.T @ (wi * residuals)))
    q = float(wi @ residuals**2)
    sums = np.array([x[members].sum(axis=0) for members in rows])
    first = [members[0] for members in rows]
    wj, kj = wi[first], size[first]
    alone = np.trace(bread @ (x.T @ ((wi / size)[:, np.newaxis] * x)))
    joint = np.trace(bread @ (sums.T @ ((wj / kj)[:, np.newaxis] * sums)))
    excess = q - len(rows) + (1 - rho) * alone + rho * joint
    divisor = float(wi.sum()) - np.trace(bread @ (sums.T @ ((wj**2)[:, np.newaxis] * sums)))
    raw = float(excess / divisor)
    notes = (f"tau2 truncated at 0 (untruncated: {raw:.6g})",) if raw < 0 else ()
    tau2 = max(0.0, raw)
    i2 = 100 * max(0.0, float(excess) / q) if q > 0 else 0.0
    return size * (mean_vi + tau2), tau2, i2, notes


def _hierarchical(
    yi: Floats, vi: Floats, x: Floats, rows: tuple[Indices, ...]
) -> tuple[float, float, tuple[str, ...]]:
    """tau2 and omega2 from two quadratic forms of the residuals and their expectations.

    Q_E = e'W e and Q_1 = sum over studies of (1'e_j)^2, e from weights 1 / vi (Hedges, Tipton &
    Johnson 2010). A negative omega2 is set to 0 before tau2 is solved for, as in
    robumeta.
    """
    wi = 1 / vi
    bread = np.linalg.inv(x.T @ (wi[:, np.newaxis] * x))
    residuals = yi - x @ (bread @ (x.T @ (wi * yi)))
    residuals -= x @ (bread @ (x.T @ (wi * residuals)))
    sums = np.array([x[members].sum(axis=0) for members in rows])
    # X'W Sigma W X and 1'W Sigma... for Sigma = V, blocks of ones, identity
    weighted = np.array([wi[members] @ x[members] for members in rows])
    size = np.array([members.size for members in rows], dtype=float)
    total_v = np.array([vi[members].sum() for members in rows])
    squares = x.T @ ((wi**2)[:, np.newaxis] * x)
    targets = (
        # own block sum 1'Sigma 1, (X'W Sigma 1)_j, X'W Sigma W X, trace of W Sigma
        (total_v, sums, np.linalg.inv(bread), float(len(yi))),
        (size**2, weighted * size[:, np.newaxis], weighted.T @ weighted, float(wi.sum())),
        (size, weighted, squares, float(wi.sum())),
    )
    q_e, q_1 = [float(wi @ residuals**2)], []
    q_1.append(float(sum(residuals[members].sum() ** 2 for members in rows)))
    for own, half, middle, trace in targets:
        q_e.append(trace - float(np.trace(bread @ middle)))
        spread = bread @ middle @ bread
        q_1.append(
            float(
                own.sum() - 2 * np.sum((sums @ bread) * half) + np.sum((sums @ spread) * sums)
            )
        )
    (e0, e_v, e_tau, e_omega), (o0, o_v, o_tau, o_omega) = q_e, q_1
    determinant = e_tau * o_omega - e_omega * o_tau
    if abs(determinant) <= 1e-10 * (abs(e_tau * o_omega) + abs(e_omega * o_tau)):
        omega2, notes = 0.0, ["omega2 set to 0: one effect per study cannot tell it from tau2"]
    else:
        omega2 = (e_tau * (o0 - o_v) - o_tau * (e0 - e_v)) / determinant
        notes = []
    if omega2 < 0:
        notes.append(f"omega2 truncated at 0 (untruncated: {omega2:.6g})")
        omega2 = 0.0
    if e_tau <= 0:  # a difference between sums, nothing of which is left
        notes.append("tau2 set to 0: the variances are too far apart to tell it")
        return 0.0, omega2, tuple(notes)
    tau2 = (e0 - e_v - omega2 * e_omega) / e_tau
    if tau2 < 0:
        notes.append(f"tau2 truncated at 0 (untruncated: {tau2:.6g})")
        tau2 = 0.0
    return tau2, omega2, tuple(notes)
