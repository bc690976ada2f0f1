"""Maximum of a marginal likelihood of counts: concave in the coefficients, scanned in the rest.

With the standard deviations of the random effects given, the likelihood is log-concave in all
coefficients together (the integrand is, and integration keeps that: Prekopa 1973). So Newton's
method with step halving finds its only maximum, and a scan over the standard deviations of the
profile likelihood finds the global one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from evisynth.models.count_terms import Terms
from evisynth.models.quadrature import Latent, integrate
from evisynth.records import Floats

NAN = math.nan
# Standard deviations of the scan, log scale: 0, then steps of 1.6 from hardly to be seen to
# beyond what counts can show (a probability of 1e-9 is a logit of -20).
SCAN = np.concatenate([[0.0], 0.05 * 1.6 ** np.arange(17)])
# Tolerated error of the quadrature rule with half of the nodes, by number of random effects, in
# a rough scan and in the end; the error of the full rule is about its square.
ROUGH = {1: 1e-4, 2: 1e-2}
FINE = {1: 1e-6, 2: 1e-4}
# Longest step of a linear predictor: a step across the flat part of a likelihood ends nowhere.
STRIDE = 4.0
# Newton's decrement (twice the gain that is left) at which one more step is the last; SMALL
# in a rough scan.
NEARLY = 1e-9
# Differences of the log-likelihood that a rough scan cannot tell from none.
SMALL = 1e-3

Indices: TypeAlias = NDArray[np.intp]
Ceiling: TypeAlias = Callable[[float], float]
"""Upper bound of the profile likelihood at a standard deviation and beyond."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A likelihood of k studies with a arms, c channels and l random effects.

    Attributes
    ----------
    terms : likelihood of the arms' counts.
    offset : (k, a).
    fixed, random : (a, c) and (a, l), how channels and random effects enter the arms.
    designs : of each channel its design matrix (k, p_c); None: a free parameter of each study
        (one channel at most).
    """

    terms: Terms
    offset: Floats
    fixed: Floats
    random: Floats
    designs: tuple[Floats | None, ...]

    @property
    def k(self) -> int:
        """Number of studies."""
        return len(self.offset)

    @property
    def p(self) -> int:
        """Number of coefficients, free parameters of the studies not counted."""
        return sum(int(design.shape[1]) for design in self.designs if design is not None)

    @property
    def effects(self) -> int:
        """Number of random effects."""
        return int(self.random.shape[1])

    @property
    def free(self) -> int | None:
        """Index of the channel with a free parameter of each study."""
        return next((index for index, x in enumerate(self.designs) if x is None), None)


@dataclass(frozen=True, slots=True)
class Point:
    """Parameters of t trials: coefficients (t, p), standard deviations (t, l), free (t, k)."""

    beta: Floats
    scale: Floats
    nu: Floats


@dataclass(frozen=True, slots=True)
class Slope:
    """Log-likelihood (t,) at a point; derivatives with the free parameters eliminated.

    Attributes
    ----------
    gradient, hessian : (t, p + l) and (t, p + l, p + l), of the Schur complement.
    own, cross, curve : (t, k), (t, k, p + l) and (t, k): gradient, mixed and second derivatives
        of the free parameters.
    error, nodes : of the quadrature; error summed over studies.
    """

    value: Floats
    gradient: Floats
    hessian: Floats
    own: Floats
    cross: Floats
    curve: Floats
    error: Floats
    nodes: int


def _jacobian(problem: Problem) -> Floats:
    """(k, c + l, p + l): channels and standard deviations by parameters."""
    channels, effects = problem.fixed.shape[1], problem.random.shape[1]
    found = np.zeros((problem.k, channels + effects, problem.p + effects))
    begin = 0
    for channel, design in enumerate(problem.designs):
        if design is not None:
            found[:, channel, begin : begin + design.shape[1]] = design
            begin += design.shape[1]
    for effect in range(effects):
        found[:, channels + effect, begin + effect] = 1
    return found


def slope(problem: Problem, point: Point, *, rough: bool = False) -> Slope:
    """Log-likelihood and derivatives at all trials of `point` at once."""
    trials, k, free = len(point.beta), problem.k, problem.free
    jacobian = _jacobian(problem)
    channels = problem.fixed.shape[1]
    values = np.einsum("kcp,tp->tkc", jacobian[:, :channels, : problem.p], point.beta)
    if free is not None:
        values[:, :, free] = point.nu
    eta = problem.offset + values @ problem.fixed.T
    latent = Latent(
        terms=problem.terms,
        rows=np.tile(np.arange(k), trials),
        eta=eta.reshape(trials * k, -1),
        scale=np.repeat(point.scale, k, axis=0),
        fixed=problem.fixed,
        random=problem.random,
    )
    found = integrate(latent, (ROUGH if rough else FINE)[problem.effects])
    size = found.gradient.shape[1]
    grad = found.gradient.reshape(trials, k, size)
    hess = found.hessian.reshape(trials, k, size, size)
    half = hess @ jacobian
    gradient = np.einsum("kcp,tkc->tp", jacobian, grad)
    hessian = (np.swapaxes(jacobian, 1, 2) @ half).sum(axis=1)
    own = curve = np.zeros((trials, 0))
    cross = np.zeros((trials, 0, hessian.shape[1]))
    if free is not None:
        own, cross, curve = grad[:, :, free], half[:, :, free], hess[:, :, free, free]
        # a study whose parameter enters none of its arms: it stays where it is
        curve = np.where(curve == 0, -1.0, curve)
        ratio = cross / curve[..., None]
        gradient = gradient - np.einsum("tkp,tk->tp", ratio, own)
        hessian = hessian - np.einsum("tkp,tkq->tpq", ratio, cross)
    return Slope(
        value=found.value.reshape(trials, k).sum(axis=1),
        gradient=gradient,
        hessian=hessian,
        own=own,
        cross=cross,
        curve=curve,
        error=found.error.reshape(trials, k).sum(axis=1),
        nodes=found.nodes,
    )


def _newton(at: Slope, moving: int) -> tuple[Floats, Floats, Floats]:
    """Steps of the first `moving` parameters and of the free ones, and Newton's decrement."""
    information = -at.hessian[:, :moving, :moving]
    gradient = at.gradient[:, :moving]
    try:
        step = np.asarray(
            np.linalg.solve(information, gradient[..., None])[..., 0], dtype=np.float64
        )
    except np.linalg.LinAlgError:  # flat in a direction: the maximum runs away along it
        step = np.full_like(gradient, NAN)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = -(at.own + np.einsum("tkp,tp->tk", at.cross[:, :, :moving], step)) / at.curve
        decrement = (step * gradient).sum(axis=1) - (at.own**2 / at.curve).sum(axis=1)
    return step, own, decrement


def _move(point: Point, step: Floats, own: Floats, factor: Floats) -> Point:
    p = point.beta.shape[1]
    scale = point.scale
    if step.shape[1] > p:
        scale = scale + factor[:, None] * step[:, p:]
    return Point(
        beta=point.beta + factor[:, None] * step[:, :p],
        scale=scale,
        nu=point.nu + factor[:, None] * own if own.shape[1] else point.nu,
    )


def _trials(point: Point, which: Indices) -> Point:
    return Point(point.beta[which], point.scale[which], point.nu[which])


_DERIVATIVES = ("value", "gradient", "hessian", "own", "cross", "curve", "error")


def _joined(old: Slope, new: Slope, which: Indices, take: Indices) -> Slope:
    """`old` with trials `which` replaced by the trials `take` of `new`."""
    parts = {name: getattr(old, name).copy() for name in _DERIVATIVES}
    for name, values in parts.items():
        values[which] = getattr(new, name)[take]
    return Slope(**parts, nodes=max(old.nodes, new.nodes))


def _longest(problem: Problem, step: Floats, own: Floats) -> Floats:
    """Largest factor (t,), up to 1, by which no linear predictor moves more than STRIDE."""
    moved = np.abs(own).max(axis=1, initial=0.0)
    begin = 0
    for design in problem.designs:
        if design is not None:
            part = step[:, begin : begin + design.shape[1]] @ design.T
            moved = np.maximum(moved, np.abs(part).max(axis=1, initial=0.0))
            begin += design.shape[1]
    with np.errstate(invalid="ignore"):
        return np.asarray(STRIDE / np.maximum(moved, STRIDE))


def climb(
    problem: Problem, point: Point, *, rough: bool = False, scales: bool = False
) -> tuple[Point, Slope, Floats]:
    """Newton's method with step halving, all trials at once.

    `scales`: move the standard deviations too; then from near a maximum only. When the
    decrement is NEARLY nothing one step more makes it nothing (not if `rough`). Returns the
    points, what is there, and the decrement that is left: nan or large where there is no
    maximum.
    """
    moving = problem.p + (point.scale.shape[1] if scales else 0)
    noise = problem.k * (ROUGH if rough else FINE)[problem.effects] ** 2
    nearly, least = (SMALL, 1e-2) if rough else (NEARLY, 1e-9)
    at = slope(problem, point, rough=rough)
    step, own, decrement = _newton(at, moving)
    longest = _longest(problem, step, own)
    factor = longest.copy()
    for _ in range(100):
        going = np.flatnonzero(
            ~(np.abs(decrement) < nearly) & (factor > least) & np.isfinite(step).all(axis=1)
        )
        if not going.size:
            break
        trial = _move(_trials(point, going), step[going], own[going], factor[going])
        new = slope(problem, trial, rough=rough)
        old = at.value[going]
        with np.errstate(invalid="ignore"):
            better = new.value >= old - noise - 1e-12 * np.abs(old)
        factor[going] /= 2
        take = np.flatnonzero(better)
        if take.size:
            which = going[take]
            for part in ("beta", "scale", "nu"):
                values = getattr(point, part).copy()
                values[which] = getattr(trial, part)[take]
                point = replace(point, **{part: values})
            at = _joined(at, new, which, take)
            step, own, decrement = _newton(at, moving)
            longest = _longest(problem, step, own)
            factor[which] = longest[which]
    if not rough:
        trial = _move(point, step, own, (np.abs(decrement) < nearly).astype(float))
        if np.isfinite(trial.beta).all():
            point, at = trial, slope(problem, trial, rough=rough)
            decrement = _newton(at, moving)[2]
    return point, at, decrement


def _repeat(point: Point, scales: Floats) -> Point:
    """The first trial of `point` with each of the standard deviations (t, l)."""
    return Point(
        np.repeat(point.beta[:1], len(scales), axis=0),
        np.asarray(scales, dtype=np.float64),
        np.repeat(point.nu[:1], len(scales), axis=0),
    )


def _trial(point: Point, index: int) -> Point:
    return _trials(point, np.array([index]))


@dataclass(frozen=True, slots=True)
class Maximum:
    """Maximum of a likelihood.

    Attributes
    ----------
    point, value : one trial; log-likelihood with all constants.
    covariance : (p, p) of the coefficients, from the observed information of everything that
        is not on a boundary.
    se_scale : (l,), of the standard deviations; nan on the boundary.
    profile : profile likelihood of the scan: standard deviations (s,) and values (s,).
    inside : whether there is a maximum at finite parameters.
    maxima : local maxima that the scan saw.
    error, nodes, decrement : of the quadrature and of Newton's method.
    """

    point: Point
    value: float
    covariance: Floats
    se_scale: Floats
    profile: tuple[Floats, Floats]
    inside: bool
    maxima: int
    error: float
    nodes: int
    decrement: float


def _maximum(
    problem: Problem,
    point: Point,
    at: Slope,
    decrement: float,
    profile: tuple[Floats, Floats],
    maxima: int,
) -> Maximum:
    p, effects = problem.p, point.scale.shape[1]
    free = np.concatenate([np.ones(p, dtype=bool), point.scale[0] > 0])
    variances = np.full((p + effects, p + effects), NAN)
    inside = bool(abs(decrement) < NEARLY)
    if inside:
        variances[np.ix_(free, free)] = np.linalg.inv(-at.hessian[0][np.ix_(free, free)])
        inside = bool((variances.diagonal()[free] > 0).all())
    with np.errstate(invalid="ignore"):
        se_scale = np.sqrt(variances.diagonal()[p:])
    return Maximum(
        point=point,
        value=float(at.value[0]),
        covariance=variances[:p, :p],
        se_scale=se_scale,
        profile=profile,
        inside=inside,
        maxima=maxima,
        error=float(at.error[0]),
        nodes=at.nodes,
        decrement=abs(decrement),
    )


def without_effects(problem: Problem, start: Point) -> Maximum:
    """Maximum with all standard deviations 0: a generalised linear model."""
    point, at, decrement = climb(problem, start)
    none = (np.zeros(1), at.value)
    return _maximum(problem, point, at, float(decrement[0]), none, 1)


def with_effect(
    problem: Problem, start: Point, ceiling: Ceiling | None = None, margin: float = 6.0
) -> Maximum:
    """Global maximum with one random effect.

    A scan of its standard deviation over SCAN, as far as `ceiling` (an upper bound of the
    profile likelihood that falls in the standard deviation) is not `margin` below the best;
    then finer scans around the best until Newton's method takes over, which may not leave the
    bracket nor end below a point of the scan.
    """
    scan, values, points = _scan(problem, start, ceiling, margin)
    change = np.diff(values[: len(points)])
    rises, falls = change > SMALL, change < -SMALL
    maxima = int((np.append(True, rises) & np.append(falls, True)).sum())
    best = int(np.argmax(values))
    profile = (scan, values)
    trial = points[min(best, len(points) - 1)]
    if best == len(scan) - 1:
        at = slope(problem, trial, rough=True)
        return _maximum(problem, trial, at, math.inf, profile, maxima)
    low, high, highest = scan[max(0, best - 1)], scan[best + 1], values[best]
    for _ in range(40):
        if trial.scale[0, 0] == 0:
            trial, edge, left = climb(problem, trial)
            if edge.hessian[0, -1, -1] <= 0 or high < 1e-7:
                return _maximum(problem, trial, edge, float(left[0]), profile, maxima)
        else:
            trial, done, left = climb(problem, trial, scales=True)
            if low < trial.scale[0, 0] < high and abs(left[0]) < NEARLY:
                found = _maximum(problem, trial, done, float(left[0]), profile, maxima)
                if found.inside and found.value >= highest - SMALL:
                    return found
        scales = np.linspace(low, high, 9)
        point, at, _ = climb(problem, _repeat(start, scales[:, None]))
        best, width = int(np.argmax(at.value)), high - low
        trial = _trial(point, best)
        low = scales[best - 1] if best else max(0.0, low - width)
        high = scales[best + 1] if best < 8 else high + width
    at = slope(problem, trial)
    return _maximum(problem, trial, at, math.inf, profile, maxima)


def _scan(
    problem: Problem, start: Point, ceiling: Ceiling | None, margin: float
) -> tuple[Floats, Floats, list[Point]]:
    """Profile likelihood on SCAN, or up to where `ceiling` makes the rest irrelevant.

    Then the last value is that of the ceiling: too low for a maximum, and with a fitting
    `margin` for a confidence interval.
    """
    values: list[float] = []
    points: list[Point] = []
    while len(values) < len(SCAN):
        begin = len(values)
        if begin and ceiling is not None:
            bound = ceiling(float(SCAN[begin]))
            if bound < max(values) - margin:
                return SCAN[: begin + 1], np.append(values, bound), points
        part = SCAN[begin : begin + (3 if begin else 8)]
        point, at, _ = climb(problem, _repeat(start, part[:, None]), rough=True)
        values += at.value.tolist()
        points += [_trial(point, index) for index in range(len(part))]
    return SCAN, np.array(values), points


def with_two_effects(problem: Problem, start: Point, first: float) -> Maximum:
    """Global maximum with two random effects; `first`: a guess of the first one's deviation.

    A scan over both, a pattern search from its two best points until Newton's method takes
    over, and the edges where one or both deviations are 0. None of them may be below a point of
    the scan. The scan is coarse: this is no proof that there is no other maximum.
    """
    ones = first * np.array([0.5, 1.0, 1.6]) if first > 0.1 else np.array([0.05, 0.3, 1.2])
    grid = np.array([(one, other) for one in ones for other in SCAN[1:14:2]])
    point, at, _ = climb(problem, _repeat(start, grid), rough=True)
    order = np.argsort(-at.value)
    found = [_search(problem, _trial(point, int(index))) for index in order[:2]]
    candidates = [one for one in found if one is not None]
    if len(candidates) < 2:
        candidates += _edges(problem, _trial(point, int(order[0])))
    trial, done, left = max(candidates, key=lambda one: float(one[1].value[0]))
    if done.value[0] < at.value.max() - SMALL:
        left = math.inf  # a point of the scan is higher: no maximum was found
    return _maximum(problem, trial, done, left, (grid, at.value), 1)


def _search(problem: Problem, trial: Point) -> tuple[Point, Slope, float] | None:
    """Maximum with two positive deviations next to `trial`; None if it runs into an edge."""
    factor = 1.5
    for _ in range(40):
        near, done, left = climb(problem, trial, scales=True)
        moved = np.abs(np.log(np.maximum(near.scale[0], 1e-9) / trial.scale[0])).max()
        if abs(left[0]) < NEARLY and (np.linalg.eigvalsh(done.hessian[0]) < 0).all():
            if moved < 2 * math.log(1.6) and (near.scale[0] > 0).all():
                return near, done, float(left[0])
            if (near.scale[0] < 1e-3).any():
                return None
        steps = np.array([1 / factor, 1.0, factor])
        pattern = np.array([(one, other) for one in steps for other in steps])
        point, at, _ = climb(problem, _repeat(trial, trial.scale * pattern))
        best = int(np.argmax(at.value))
        trial = _trial(point, best)
        if best == len(pattern) // 2:
            factor = math.sqrt(factor)
        if (trial.scale[0] < 1e-3).any():
            return None
    return None


def _edges(problem: Problem, start: Point) -> list[tuple[Point, Slope, float]]:
    """Maxima with one or both of two standard deviations at 0."""
    found = []
    for effect in (0, 1):
        only = Problem(
            problem.terms,
            problem.offset,
            problem.fixed,
            problem.random[:, [effect]],
            problem.designs,
        )
        edge = with_effect(only, Point(start.beta, start.scale[:, [effect]], start.nu))
        if edge.inside:
            scale = np.zeros((1, 2))
            scale[0, effect] = edge.point.scale[0, 0]
            trial = Point(edge.point.beta, scale, edge.point.nu)
            found.append((trial, slope(problem, trial), edge.decrement))
    if not found:
        found.append((start, slope(problem, start), math.inf))
    return found


def profile_interval(problem: Problem, found: Maximum, level: float) -> tuple[float, float]:
    """Profile likelihood interval of the one standard deviation; inf: no upper end in SCAN.

    The ends are those next to the maximum where twice the log-likelihood is below the maximum
    by the quantile of chi-squared with 1 degree of freedom.
    """
    cut = found.value - 0.5 * float(chdtri(1, 1 - level))
    best = float(found.point.scale[0, 0])
    scan, values = found.profile
    above = scan[(scan > best) & (values < cut)]
    below = scan[(scan < best) & (values < cut)]
    low = _crossing(problem, found.point, float(below[-1]), best, cut) if below.size else 0.0
    if not above.size:
        return low, math.inf
    return low, _crossing(problem, found.point, float(above[0]), best, cut)


def _crossing(
    problem: Problem, start: Point, outside: float, inside: float, cut: float
) -> float:
    """Where the profile likelihood crosses `cut`: Newton's method kept in its bracket."""
    point, scale = _trial(start, 0), 0.5 * (outside + inside)
    for _ in range(60):
        point, at, _ = climb(problem, Point(point.beta, np.array([[scale]]), point.nu))
        excess = float(at.value[0]) - cut
        outside, inside = (outside, scale) if excess >= 0 else (scale, inside)
        # By the envelope theorem the partial derivative is that of the profile.
        step = scale - excess / float(at.gradient[0, -1] or 1e-300)
        lowest, highest = min(outside, inside), max(outside, inside)
        new = step if lowest < step < highest else 0.5 * (lowest + highest)
        if abs(new - scale) <= 1e-7 * scale:
            return new  # quadratic convergence: the square of that is left
        scale = new
    return scale
