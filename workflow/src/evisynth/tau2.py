"""Between-study variance: one function per estimator, with or without moderators.

Every estimator is exact: closed forms in sums that lose no digits, the others as roots to
machine precision inside brackets that are proven to hold them. Nothing iterates until a
tolerance is met, so nothing can fail to converge.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from evisynth import linear
from evisynth.linear import Curve, Problem, Weighted, at, curve, height, problem, total, weigh
from evisynth.quadratic import form, tails
from evisynth.records import Floats

NAN = math.nan
# Spacing of the first grid in log(tau2 + smallest vi). As functions of that variable all terms
# of the score are analytic within pi of the real axis, so that none can turn within a hundredth
# of pi.
STEP = 1 / 32
# The certificate: no tau2 has a log-likelihood that is higher by more than this, per study.
CERTAIN = 1e-10


@dataclass(frozen=True, slots=True)
class Tau2:
    """An estimate of the between-study variance.

    Attributes
    ----------
    value : at least 0; the square of the unit of yi.
    se : its standard error, in the unit of `value`; nan where there is none.
    maxima : where the (restricted) likelihood has a local maximum, ascending; empty for
        estimators that maximise none.
    notes : every caveat.
    """

    value: float
    se: float = NAN
    maxima: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def falling_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Root to the last bit of a function that is positive at `low` and not so at `high`.

    Steps of false position (Illinois: the value at an end that stays is halved), and of
    bisection wherever one of these did not halve the bracket.
    """
    at_low, at_high = function(low), function(high)
    bisect = False
    while low < (middle := low + (high - low) / 2) < high:
        width, point = high - low, middle
        if not bisect and at_low > at_high:
            guess = low + width * (at_low / (at_low - at_high))
            point = guess if low < guess < high else middle
        value = function(point)
        if value > 0:
            low, at_low, at_high = point, value, at_high / 2
        else:
            high, at_high, at_low = point, value, at_low / 2
        bisect = high - low > width / 2
    return high


def tau2_at_q(data: Problem, q: float) -> float:
    """Root in tau2 of the generalised Q = `q` in the unit of `data`; 0 where Q(0) is not above.

    Q falls in tau2. Q(tau2) (vi_min + tau2) is at most the sum of squared residuals of ordinary
    least squares, which with an intercept only is at most k - 1 times half the squared range of
    the effects; that bounds the search above.
    """
    if at(data, 0.0).q <= q:
        return 0.0
    highest = residual_squares(data) / q
    return falling_root(lambda tau2: at(data, tau2).q - q, 0.0, highest)


def residual_squares(data: Problem) -> float:
    """At least the sum of squared residuals of ordinary least squares."""
    if data.x is None:
        return data.yi_range**2 * (data.k - 1) / 2
    # The last factor: rounding must not put the bound below.
    return weigh(data, np.ones(data.k)).q * (1 + 1e-9)


def _moments(
    data: Problem, fit: Weighted, value: float, divisor: float, notes: tuple[str, ...]
) -> Tau2:
    """An estimate in the unit of `data`, truncated at 0, linear in the Q of `fit`.

    Its standard error is the square root of 2 tr(P S P S), S = diag(vi + tau2) with the
    truncated tau2, over `divisor`: normal effects make Q a quadratic form in normal variables.
    """
    scaled = math.ldexp(value, 2 * data.exponent)
    if scaled < 0:
        notes = (*notes, f"tau2 truncated at 0 (untruncated: {scaled:.6g})")
    kept = max(0.0, value)
    variance = data.vi + kept
    se = math.sqrt(2 * fit.trace_pspt(variance, variance)) / divisor
    return Tau2(max(0.0, scaled), se=math.ldexp(se, 2 * data.exponent), notes=notes)


def dersimonian_laird(data: Problem) -> Tau2:
    """DerSimonian & Laird (1986, eq. 8; doi:10.1016/0197-2456(86)90046-2), truncated at 0."""
    fit = at(data, 0.0)
    trace = fit.trace_p
    return _moments(data, fit, (fit.q - (data.k - data.p)) / trace, trace, ())


def hedges(data: Problem) -> Tau2:
    """Hedges (1983; doi:10.1037/0033-2909.93.2.388), also called Cochran's: truncated at 0.

    Without moderators the variance of the effects minus the mean of their sampling variances.
    """
    return _generalised(data, np.ones(data.k))


def hunter_schmidt(data: Problem) -> Tau2:
    """Hunter & Schmidt (1990) as in Viechtbauer (2005, doi:10.3102/10769986030003261)."""
    fit = at(data, 0.0)
    whole = total(fit.wi)
    return _moments(data, fit, (fit.q - data.k) / whole, whole, ())


def hunter_schmidt_k(data: Problem) -> Tau2:
    """Hunter & Schmidt with the factor k / (k - p) of Brannick et al. (2019).

    doi:10.1177/1094428117741966.
    """
    fit = at(data, 0.0)
    whole, share = total(fit.wi), data.k / (data.k - data.p)
    return _moments(data, fit, (share * fit.q - data.k) / whole, whole / share, ())


def sidik_jonkman(data: Problem) -> Tau2:
    """Sidik & Jonkman (2005a, 2005b; doi:10.1111/j.1467-9876.2005.00489.x).

    Starts from the variance of the effects with denominator k, with moderators too.
    """
    mean = total(data.yi) / data.k
    start = total((data.yi - mean) ** 2) / data.k
    if start == 0:
        return Tau2(
            0.0,
            notes=("tau2 = 0 and its standard error not estimable: the effects are all equal",),
        )
    fit = at(data, start)
    df = data.k - data.p
    return _moments(data, fit, start * fit.q / df, df / start, ())


def paule_mandel(data: Problem) -> Tau2:
    """Paule & Mandel (1982; doi:10.6028/jres.087.022): the tau2 at which Q equals k - p.

    The root to machine precision; 0 where Q is below k - p even at tau2 = 0.
    """
    return _at_q(data, data.k - data.p, "k - 1" if data.p == 1 else "k - p")


def median_unbiased_paule_mandel(data: Problem) -> Tau2:
    """Viechtbauer (2021): the tau2 at which Q equals the median of chi-squared, k - p df."""
    median = 2 * float(gammaincinv((data.k - data.p) / 2, 0.5))
    return _at_q(data, median, "the median of its distribution")


def _at_q(data: Problem, q: float, name: str) -> Tau2:
    scaled = tau2_at_q(data, q)
    wi = total(1 / (data.vi + scaled))
    se = math.sqrt(2 / (data.k - data.p)) * data.k / wi
    return Tau2(
        math.ldexp(scaled, 2 * data.exponent),
        se=math.ldexp(se, 2 * data.exponent),
        notes=() if scaled else (f"tau2 = 0: Q is not above {name}",),
    )


def iterated_dersimonian_laird(data: Problem) -> Tau2:
    """DerSimonian & Laird with the weights 1 / (vi + tau2) of its own result, truncated at 0.

    The step from tau2 is (Q(tau2) - (k - p)) / tr(P), so that a fixed point above 0 has
    Q = k - p, and 0 is one where Q(0) is not above k - p: as Q falls, there is exactly one, the
    estimate of Paule and Mandel. Iterations in other programs may circle around it.
    """
    return paule_mandel(data)


def generalised(data: Problem, weights: Floats) -> Tau2:
    """Generalised method of moments (DerSimonian & Kacker 2007, doi:10.1016/j.cct.2006.04.004).

    Positive `weights` of shape (k,) in the order of `data`; any scale. Truncated at 0.
    """
    return _generalised(data, weights / weights.max())


def median_unbiased_generalised(data: Problem, weights: Floats) -> Tau2:
    """The tau2 at which the generalised Q is the median of its exact distribution.

    After Jackson (2013, doi:10.1002/jrsm.1081). Positive `weights` as for `generalised`. 0
    where Q is below the median even at tau2 = 0.
    """
    fit = weigh(data, weights / weights.max())
    q = fit.q

    def surplus(tau2: float) -> float:
        return tails(form(fit, data.vi + tau2), q)[0] - 0.5

    scaled = 0.0
    if surplus(0.0) > 0:
        scaled = falling_root(surplus, 0.0, above(surplus, 1.0))
    notes = () if scaled else ("tau2 = 0: Q is not above the median of its distribution",)
    return _moments(data, fit, scaled, fit.trace_p, notes)


def above(function: Callable[[float], float], start: float) -> float:
    """Power of 2 times `start` where a function that falls to below 0 is not positive."""
    while function(start) > 0:
        start *= 2
    return start


def _generalised(data: Problem, wi: Floats) -> Tau2:
    fit = weigh(data, wi)
    trace = fit.trace_p
    return _moments(data, fit, (fit.q - total(fit.wi * fit.free * data.vi)) / trace, trace, ())


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of the (restricted) log-likelihood, in the unit of the problem.

    Attributes
    ----------
    grid : from 0 to beyond the last maximum.
    maxima : tau2 of each local maximum and its log-likelihood, ascending.
    """

    grid: Curve
    maxima: dict[float, float]

    @property
    def best(self) -> float:
        """Where the likelihood is highest."""
        return max(self.maxima, key=lambda tau2: (self.maxima[tau2], tau2))


def profile(data: Problem, *, restricted: bool) -> Profile:
    """Local maxima of the profile likelihood on [0, inf), in the unit of `data`.

    Above: with K an orthonormal basis of the contrasts and l the eigenvalues of K'VK + tau2,
    the score is the sum of z^2 / l^2 - 1 / l (or less), with the sum of z^2 = R the residual
    sum of squares of ordinary least squares. It is negative where all l exceed R; with an
    intercept only where vi_min + tau2 exceeds the squared range of the effects.

    Between: y'PPy and the penalty fall in tau2. On a cell [a, b] the log-likelihood therefore
    rises by at most (b - a) max(0, y'PPy(a) - penalty(b)) / 2. Cells where that could beat
    the best of all are halved until none is left: no maximum that matters can hide.
    """
    lowest = float(data.vi[0])
    top = data.yi_range**2 if data.x is None else residual_squares(data)
    cells = max(1, math.ceil(math.log1p(top / lowest) / STEP))
    grid = curve(data, lowest * np.expm1(STEP * np.arange(cells + 1)), restricted=restricted)
    while (middles := uncertain(grid, grid.height.max() + CERTAIN * data.k)).size:
        grid = merged(grid, curve(data, middles, restricted=restricted))
    rising = grid.yppy > grid.penalty
    maxima = [
        falling_root(
            lambda tau2: _score(data, tau2, restricted),
            float(grid.tau2[top]),
            float(grid.tau2[top + 1]),
        )
        for top in np.flatnonzero(rising[:-1] & ~rising[1:]).tolist()
    ]
    if not rising[0]:
        maxima = [0.0, *maxima]
    return Profile(grid, {tau2: height(data, tau2, restricted=restricted) for tau2 in maxima})


def uncertain(grid: Curve, level: float) -> Floats:
    """Middles of the cells where the likelihood may exceed `level` though not at the ends."""
    low, high = grid.tau2[:-1], grid.tau2[1:]
    gain = np.maximum(0.0, grid.yppy[:-1] - grid.penalty[1:]) * (high - low) / 2
    middles: Floats = low + (high - low) / 2
    below = np.maximum(grid.height[:-1], grid.height[1:]) <= level
    hidden = below & (grid.height[:-1] + gain > level) & (low < middles) & (middles < high)
    return middles[hidden]


def merged(one: Curve, two: Curve) -> Curve:
    """Both grids as one."""
    tau2 = np.concatenate([one.tau2, two.tau2])
    order = np.argsort(tau2)
    return Curve(
        tau2[order],
        np.concatenate([one.yppy, two.yppy])[order],
        np.concatenate([one.penalty, two.penalty])[order],
        np.concatenate([one.height, two.height])[order],
    )


def _score(data: Problem, scaled: float, restricted: bool) -> float:
    """Twice the derivative of the (restricted) log-likelihood with respect to tau2."""
    fit = at(data, scaled)
    return fit.yppy - (fit.trace_p if restricted else total(fit.wi))


def _likelihood(data: Problem, restricted: bool) -> Tau2:
    found = profile(data, restricted=restricted)
    heights, best = found.maxima, found.best
    back = {tau2: math.ldexp(tau2, 2 * data.exponent) for tau2 in heights}
    notes = []
    if best == 0:
        notes.append("tau2 = 0: the likelihood is highest at the boundary")
    if len(heights) > 1:
        notes.append(
            f"the likelihood has {len(heights)} local maxima, the highest is taken: "
            + ", ".join(
                f"tau2 = {back[tau2]:.6g} (log-likelihood {height:.6g})"
                for tau2, height in heights.items()
            )
        )
    fit, ones = at(data, best), np.ones(data.k)
    information = fit.trace_pspt(ones, ones) if restricted else total(fit.wi**2)
    return Tau2(
        back[best],
        se=math.ldexp(math.sqrt(2 / information), 2 * data.exponent),
        maxima=tuple(back.values()),
        notes=tuple(notes),
    )


def maximum_likelihood(data: Problem) -> Tau2:
    """Maximum likelihood (Hardy & Thompson 1996): the global maximum over tau2 >= 0.

    Few studies of unequal precision can give several local maxima: all are found and compared.
    """
    return _likelihood(data, restricted=False)


def restricted_likelihood(data: Problem) -> Tau2:
    """Restricted maximum likelihood (Viechtbauer 2005, doi:10.3102/10769986030003261).

    The global maximum over tau2 >= 0, as for `maximum_likelihood`.
    """
    return _likelihood(data, restricted=True)


Estimator = Callable[[Problem], Tau2]

PLAIN: dict[str, Estimator] = {
    "DL": dersimonian_laird,
    "HE": hedges,
    "PM": paule_mandel,
    "ML": maximum_likelihood,
    "REML": restricted_likelihood,
    "HS": hunter_schmidt,
    "HSk": hunter_schmidt_k,
    "SJ": sidik_jonkman,
    "EB": paule_mandel,
    "PMM": median_unbiased_paule_mandel,
    "DLIT": iterated_dersimonian_laird,
}
# Estimators that need weights.
WEIGHTED: dict[str, Callable[[Problem, Floats], Tau2]] = {
    "GENQ": generalised,
    "GENQM": median_unbiased_generalised,
}
TAU2 = (*PLAIN, *WEIGHTED)
# Those that are shown whatever the chosen method.
DEFAULT_TAU2 = ("DL", "HE", "PM", "ML", "REML")


def estimate(
    method: str,
    yi: Floats,
    vi: Floats,
    x: Floats | None = None,
    *,
    tau2: float | None = None,
    weights: Floats | None = None,
) -> Tau2:
    """Tau2 of effects and variances (k,), of a model with the design `x` (k, p).

    Parameters
    ----------
    method : one of `TAU2`.
    x : with its column of ones if there is an intercept; None for an intercept only.
    tau2 : a value that is given and not estimated, whatever the method.
    weights : positive, (k,), for GENQ.

    Raises
    ------
    ValueError
        What `linear.problem` raises; k not above p; unknown method; a negative `tau2`; weights
        that are missing, not wanted, or not positive.
    OverflowError
        What `linear.problem` raises.
    """
    data = problem(yi, vi, x)
    if tau2 is not None:
        if not (math.isfinite(tau2) and tau2 >= 0):
            raise ValueError(f"tau2 must be finite and not negative, not {tau2}")
        return Tau2(tau2, notes=(f"tau2 = {tau2:.6g} is given, not estimated",))
    if data.k <= data.p:
        raise ValueError(
            "tau2 needs at least two studies"
            if data.p == 1
            else f"tau2 needs more studies than coefficients, not {data.k} for {data.p}"
        )
    if method in PLAIN:
        if weights is not None:
            raise ValueError(f"{method} takes no weights")
        return PLAIN[method](data)
    if method not in WEIGHTED:
        raise ValueError(f"method must be one of {', '.join(TAU2)}, not {method!r}")
    if weights is None:
        raise ValueError(f"{method} needs weights")
    weights = np.asarray(weights, dtype=float)
    if weights.shape != data.yi.shape or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights must be positive and finite, of shape ({data.k},)")
    return WEIGHTED[method](data, weights[data.order])


def shown(method: str) -> tuple[str, ...]:
    """The estimators that are shown where `method` is chosen."""
    return tuple(dict.fromkeys((*DEFAULT_TAU2, method)))


def estimates(yi: Floats, vi: Floats, first: str) -> dict[str, Tau2]:
    """Tau2 of effects and variances (k,) by all that is `shown`, `first` before the others."""
    return {
        key: estimate(key, yi, vi) for key in sorted(shown(first), key=lambda key: key != first)
    }


def log_likelihood(
    yi: Floats, vi: Floats, tau2: float, *, restricted: bool, x: Floats | None = None
) -> float:
    """`linear.log_likelihood` of effects and variances (k,) with the design `x` (k, p)."""
    return linear.log_likelihood(problem(yi, vi, x), tau2, restricted=restricted)
