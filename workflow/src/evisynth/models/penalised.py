"""Logistic regression with Firth's penalty and one intercept per study, for rare events."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, log_expit, logsumexp

from evisynth.inference import normal_quantile, two_sided_p, wald
from evisynth.models.tables import Tables, counted, listed, names, tables
from evisynth.records import Estimate, Floats

NAN = math.nan
# Points of the scan for maxima of the profile.
POINTS = 33
ITERATIONS = 200
# Largest step of an intercept.
LONGEST = 4.0
# Log odds ratios beyond this are not looked for.
FARTHEST = 500.0


@dataclass(frozen=True, slots=True)
class Penalised:
    """A penalised logistic regression; log odds ratio of group 1 against group 2.

    Attributes
    ----------
    wald : common/PLR/z, standard error from the information matrix at the estimate.
    profile : common/PLR/profile, interval and test from the penalised likelihood ratio; its
        statistic is the signed root.
    k_total : number of studies.
    log_likelihood : penalised, at the estimate, without binomial coefficients.
    maxima : log odds ratios at which the profile has a local maximum, ascending.
    notes : every caveat.
    """

    wald: Estimate
    profile: Estimate
    k_total: int
    log_likelihood: float
    maxima: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Terms:
    """Penalised log-likelihood and derivatives; m log odds ratios at once.

    Attributes
    ----------
    value : (m,).
    alpha, theta : gradient, (m, k) and (m,).
    diagonal : minus the second derivatives by the intercepts, but for the part of rank one
        v v' / 2 with `v`; (m, k).
    information : (m,) Firth's information about theta, the intercepts unknown.
    expected : (m, k) information about each intercept, always positive.
    """

    value: Floats
    alpha: Floats
    theta: Floats
    diagonal: Floats
    v: Floats
    information: Floats
    expected: Floats


def _terms(data: Tables, alpha: Floats, theta: Floats) -> _Terms:
    """Likelihood with half the log determinant of the information (Firth 1993).

    The determinant is that of an arrow: with binomial variances w1 and w2 of the two groups it
    is the product of (w1 + w2) over studies times the sum of h = w1 w2 / (w1 + w2), up to a
    constant. Linear predictors are alpha + theta / 2 and alpha - theta / 2.
    """
    n1, n2 = data.n1i, data.n2i
    eta1, eta2 = alpha + theta[:, None] / 2, alpha - theta[:, None] / 2
    log_p1, log_q1 = log_expit(eta1), log_expit(-eta1)
    log_p2, log_q2 = log_expit(eta2), log_expit(-eta2)
    log_w1, log_w2 = np.log(n1) + log_p1 + log_q1, np.log(n2) + log_p2 + log_q2
    log_s = np.logaddexp(log_w1, log_w2)
    log_h = log_w1 + log_w2 - log_s
    log_sum = logsumexp(log_h, axis=1)
    value = (
        data.ai * log_p1 + data.bi * log_q1 + data.ci * log_p2 + data.di * log_q2 + log_s / 2
    ).sum(axis=1) + log_sum / 2

    p1, p2 = expit(eta1), expit(eta2)
    v1, v2 = p1 * expit(-eta1), p2 * expit(-eta2)
    u1, u2 = -np.tanh(eta1 / 2), -np.tanh(eta2 / 2)
    r1, r2 = np.exp(log_w1 - log_s), np.exp(log_w2 - log_s)
    share = np.exp(log_h - log_sum[:, None])
    # first derivatives by the two linear predictors: of log s, of log h
    s1, s2 = r1 * u1, r2 * u2
    h1, h2 = r2 * u1, r1 * u2
    score1 = data.ai * expit(-eta1) - data.bi * p1 + (s1 + share * h1) / 2
    score2 = data.ci * expit(-eta2) - data.di * p2 + (s2 + share * h2) / 2
    # second derivatives along (1, 1), the direction of an intercept
    s11 = r1 * (1 - 6 * v1) + r2 * (1 - 6 * v2) - (s1 + s2) ** 2
    h11 = -2 * (v1 + v2) - s11
    v = share * (h1 + h2)
    expected = n1 * v1 + n2 * v2
    diagonal = expected - s11 / 2 - share * (h11 + (h1 + h2) ** 2) / 2
    return _Terms(
        value=value,
        alpha=score1 + score2,
        theta=(score1 - score2).sum(axis=1) / 2,
        diagonal=diagonal,
        v=v,
        information=np.exp(log_sum),
        expected=expected,
    )


def _newton_step(terms: _Terms) -> Floats:
    """Step of the intercepts that raises the likelihood, theta held.

    Newton's where minus the second derivatives, a diagonal plus v v' / 2, are positive
    definite: that part of rank one can outweigh one negative entry of the diagonal. Elsewhere
    the expected information takes the place of the diagonal.
    """
    negative = (terms.diagonal <= 0).sum(axis=1)
    diagonal = np.where(terms.diagonal == 0, terms.expected, terms.diagonal)
    factor = 1 + (terms.v**2 / diagonal).sum(axis=1) / 2
    definite = (negative == 0) | ((negative == 1) & (factor < 0))
    diagonal = np.where(definite[:, None], diagonal, terms.expected + 0.25)
    factor = np.where(definite, factor, 1 + (terms.v**2 / diagonal).sum(axis=1) / 2)
    along = (terms.v / diagonal * terms.alpha).sum(axis=1) / (2 * factor)
    step = (terms.alpha - terms.v * along[:, None]) / diagonal
    limited: Floats = np.clip(step, -LONGEST, LONGEST)
    return limited


def _profile(data: Tables, theta: Floats, alpha: Floats) -> tuple[Floats, _Terms, bool]:
    """Intercepts (m, k) that maximise at each theta (m,), the terms there, and success."""
    terms = _terms(data, alpha, theta)
    for _ in range(ITERATIONS):
        step = _newton_step(terms)
        if np.all(np.abs(step) <= 1e-13 * (1 + np.abs(alpha))):
            return alpha, terms, True
        length = np.ones(theta.size)
        slack = 1e-14 * (1 + np.abs(terms.value))
        while True:
            tried = alpha + length[:, None] * step
            new = _terms(data, tried, theta)
            worse = new.value < terms.value - slack
            if not worse.any() or length.min() < 1e-8:
                break
            length = np.where(worse, length / 2, length)
        # rounding of the gradient: no step can improve any more
        settled = np.abs(step).max() <= 1e-9 and not (new.value > terms.value + slack).any()
        alpha, terms = tried, new
        if settled:
            return alpha, terms, True
    return alpha, terms, False


class _Warm:
    """The profile at one log odds ratio at a time, each begun where the last one ended."""

    def __init__(self, data: Tables, alpha: Floats) -> None:
        self.data = data
        self.alpha = alpha
        self.converged = True

    def at(self, theta: float) -> _Terms:
        """Terms at the best intercepts."""
        alpha, terms, success = _profile(self.data, np.array([theta]), self.alpha)
        self.converged = self.converged and success
        self.alpha = alpha
        return terms

    def slope(self, theta: float) -> float:
        """Slope of the profile: the partial one, the intercepts being at their best."""
        return float(self.at(theta).theta[0])


def _scan(data: Tables, width: float) -> tuple[Floats, Floats, _Terms, bool]:
    """Log odds ratios between -width and width, intercepts, terms, success."""
    theta = np.linspace(-width, width, POINTS)
    events = (data.ai + data.ci + 0.5) / (data.n1i + data.n2i + 1)
    start = np.broadcast_to(np.log(events / (1 - events)), (POINTS, data.k))
    alpha, terms, success = _profile(data, theta, start)
    return theta, alpha, terms, success


def _maxima(data: Tables) -> tuple[list[tuple[float, float, Floats]], float, bool]:
    """Local maxima (log odds ratio, value, intercepts), width of the scan, success.

    The profile falls on both sides without bound, because the information does.
    """
    yi = np.log((data.ai + 0.5) / (data.bi + 0.5) * (data.di + 0.5) / (data.ci + 0.5))
    width = float(np.abs(yi).max()) + 2
    while True:
        theta, alpha, terms, success = _scan(data, width)
        if (terms.theta[0] > 0 > terms.theta[-1]) or width > FARTHEST:
            break
        width *= 2
    falls = np.flatnonzero((terms.theta[:-1] > 0) & (terms.theta[1:] <= 0))
    found = []
    for left in falls:
        warm = _Warm(data, alpha[left : left + 1])
        low, high = float(theta[left]), float(theta[left + 1])
        if warm.slope(low) <= 0:  # the maximum is a point of the scan, but for rounding
            root = low
        elif warm.slope(high) >= 0:
            root = high
        else:
            root = float(brentq(warm.slope, low, high, xtol=1e-15, rtol=1e-14))
        found.append((root, float(warm.at(root).value[0]), warm.alpha))
        success = success and warm.converged
    return found, width, success


def _limit(
    data: Tables,
    best: float,
    top: float,
    alpha: Floats,
    drop: float,
    towards: int,
    first: float,
) -> tuple[float, bool]:
    """End of the profile interval on one side; nan beyond FARTHEST."""
    warm = _Warm(data, alpha)

    def surplus(distance: float) -> float:
        return float(warm.at(best + towards * distance).value[0]) - top + drop

    near, far = 0.0, first
    while surplus(far) > 0:
        near, far = far, 2 * far
        if far > FARTHEST:
            return NAN, warm.converged
    distance = float(brentq(surplus, near, far, xtol=1e-15, rtol=1e-14))
    return best + towards * distance, warm.converged


def _nothing(k_total: int, level: float, notes: tuple[str, ...]) -> Penalised:
    row = wald(
        model="common",
        method="PLR",
        test="z",
        k=0,
        estimate=NAN,
        se=NAN,
        level=level,
        notes=notes,
    )
    other = wald(
        model="common",
        method="PLR",
        test="profile",
        k=0,
        estimate=NAN,
        se=NAN,
        level=level,
        notes=notes,
    )
    return Penalised(wald=row, profile=other, k_total=k_total, log_likelihood=NAN, notes=notes)


def _start_notes(data: Tables, labels: Sequence[str]) -> list[str]:
    silent = data.one_outcome
    notes = []
    if silent.any():
        notes.append(
            f"{counted(silent)} with one outcome only in both groups: without information "
            f"about an odds ratio, present through the penalty: {listed(silent, labels)}"
        )
    if data.k == 1:
        notes.append("k = 1: the study itself with 1/2 added to each cell, nothing is pooled")
    return notes


def penalised_logistic(
    ai: Floats,
    bi: Floats,
    ci: Floats,
    di: Floats,
    *,
    level: float = 0.95,
    labels: Sequence[str] | None = None,
) -> Penalised:
    """Common log odds ratio by Firth's penalised logistic regression, stratified by study.

    Maximises the binomial log-likelihood plus half the log determinant of the information
    (Firth 1993, doi:10.1093/biomet/80.1.27), over one intercept per study and the log odds
    ratio: finite for any zero cells, without continuity correction (Evrenoglou et al. 2022,
    doi:10.1002/sim.9562). The profile interval and test replace Wald's where information is
    scarce (Heinze & Schemper 2002, doi:10.1002/sim.1047).

    Studies with one outcome only stay in: they enter through the penalty alone, with a
    share that vanishes as that of the others grows. Where there is no other study the penalty
    alone would decide, so that nothing is estimable.

    Parameters
    ----------
    ai, bi, ci, di : (k,) whole counts; events and non-events of group 1, then of group 2.
    level : of the intervals, as a fraction.
    labels : names of the studies for the notes.

    Raises
    ------
    ValueError
        Impossible counts, a level outside 0 to 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    data = tables(ai, bi, ci, di)
    notes = _start_notes(data, names(labels, data.k))
    if data.one_outcome.all():
        return _nothing(
            data.k,
            level,
            ("not estimable: no study carries information about the odds ratio", *notes),
        )
    found, width, success = _maxima(data)
    if not found:
        return _nothing(
            data.k, level, (f"not estimable: no maximum within +/-{width:.3g}", *notes)
        )
    theta, top, alpha = max(found, key=lambda entry: entry[1])
    if len(found) > 1:
        places = ", ".join(f"{place:.6g}" for place, _, _ in found)
        notes.append(f"the penalised likelihood has several maxima (log odds ratio {places})")
    warm = _Warm(data, alpha)
    se = 1 / math.sqrt(float(warm.at(theta).information[0]))
    z = normal_quantile(level)
    low, low_found = _limit(data, theta, top, alpha, z * z / 2, -1, z * se)
    high, high_found = _limit(data, theta, top, alpha, z * z / 2, 1, z * se)
    at_null = float(warm.at(0.0).value[0])
    if not (success and warm.converged and low_found and high_found):
        notes.append("not converged: do not use")
    if math.isnan(low) or math.isnan(high):
        notes.append(f"profile interval not estimable: an end lies beyond {FARTHEST:g}")
    k = int((~data.one_outcome).sum())
    root = math.copysign(math.sqrt(max(0.0, 2 * (top - at_null))), theta)
    row = wald(
        model="common",
        method="PLR",
        test="z",
        k=k,
        estimate=theta,
        se=se,
        level=level,
        notes=tuple(notes),
    )
    return Penalised(
        wald=row,
        profile=Estimate(
            model="common",
            method="PLR",
            test="profile",
            k=k,
            estimate=theta,
            se=se,
            ci_low=low,
            ci_high=high,
            pi_low=NAN,
            pi_high=NAN,
            statistic=root,
            df=NAN,
            p=two_sided_p(root),
            tau2=NAN,
            notes=tuple(notes),
        ),
        k_total=data.k,
        log_likelihood=top,
        maxima=tuple(place for place, _, _ in found),
        notes=tuple(notes),
    )
