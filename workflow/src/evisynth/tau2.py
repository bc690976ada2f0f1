"""Between-study variance: one function per estimator, for models with an intercept only.

Every estimator is exact: closed forms in sums that lose no digits, the others as roots to
machine precision inside brackets that are proven to hold them. Nothing iterates until a
tolerance is met, so nothing can fail to converge.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evisynth.records import Floats

# Largest distance between effects, in standard errors of the most precise study: squares of it,
# and products of these, must stay inside the range of double precision.
WIDEST = 1e70
# Spacing of the scan in log(tau2 + smallest vi). As functions of that variable all terms of the
# score are analytic within pi of the real axis, so that none can turn within a hundredth of pi.
STEP = 1 / 32
# Numbers held at once by the scan.
BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class Tau2:
    """An estimate of the between-study variance.

    Attributes
    ----------
    value : at least 0; the square of the unit of yi.
    maxima : where the (restricted) likelihood has a local maximum, ascending; empty for
        estimators that maximise none.
    notes : every caveat.
    """

    value: float
    maxima: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """Effects and variances in an order, an origin and a unit in which sums lose no digits.

    Attributes
    ----------
    yi, vi : sorted by vi; yi is 0 for the most precise study and vi between 0.5 and 2.
    shift : what was subtracted from yi.
    exponent : yi was then divided by 2 to this power, and vi by 4 to this power.
    """

    yi: Floats
    vi: Floats
    shift: float
    exponent: int

    @property
    def k(self) -> int:
        """Number of studies."""
        return self.yi.size

    @property
    def yi_range(self) -> float:
        """Largest minus smallest effect."""
        return float(self.yi.max() - self.yi.min())


def sample(yi: Floats, vi: Floats) -> Sample:
    """Sort, shift and scale effects `yi` with variances `vi`, both of shape (k,).

    Sorting makes every result independent of the order of the studies, the shift keeps the
    digits of effects far from 0, and the scale, a power of 2, changes no digit.

    Raises
    ------
    ValueError
        Different shapes, no study, an effect that is not finite, a variance that is not
        positive and finite.
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
    order = np.lexsort((yi, vi))
    yi, vi = yi[order], vi[order]
    shift, exponent = float(yi[0]), math.frexp(float(vi[0]))[1] // 2
    with np.errstate(over="ignore"):
        yi = np.ldexp(yi - shift, -exponent)
        vi = np.ldexp(vi, -2 * exponent)
    if np.ptp(yi) > WIDEST or vi[-1] > WIDEST**2:
        raise OverflowError(
            f"effects or standard errors are more than {WIDEST:g} times the smallest standard "
            "error apart: look for a mistyped number or unit"
        )
    return Sample(yi=yi, vi=vi, shift=shift, exponent=exponent)


def total(values: Floats) -> float:
    """Sum, correctly rounded: independent of order, and of the processor's vector unit."""
    return math.fsum(values.tolist())


def weighted_mean(data: Sample, tau2: float) -> float:
    """Mean with the weights 1 / (vi + tau2), in the unit of `data`."""
    wi = 1 / (data.vi + tau2)
    return total(wi * data.yi) / total(wi)


def generalised_q(data: Sample, tau2: float) -> float:
    """Sum of squared residuals weighted by 1 / (vi + tau2); Cochran's Q where tau2 = 0."""
    wi = 1 / (data.vi + tau2)
    return total(wi * (data.yi - weighted_mean(data, tau2)) ** 2)


def trace_p(data: Sample, tau2: float) -> float:
    """Sum of wi minus the sum of wi squared over the sum of wi, wi = 1 / (vi + tau2).

    The trace of metafor's P matrix; also the denominator of DerSimonian and Laird (1986, eq.
    8).
    """
    wi = 1 / (data.vi + tau2)
    others = total(wi) - wi
    # Only the first, most precise study can outweigh all others and lose digits above.
    others[0] = total(wi[1:])
    return total(wi * others) / total(wi)


def falling_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Root to the last bit of a function that is positive at `low` and not so at `high`."""
    while low < (middle := low + (high - low) / 2) < high:
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return high


def tau2_at_q(data: Sample, q: float) -> float:
    """Root in tau2 of the generalised Q = `q` in the unit of `data`; 0 where Q(0) is not above.

    Q falls in tau2 and Q(tau2) (vi_min + tau2) is at most half of (k - 1) times the squared
    range of the effects, which bounds the search above.
    """
    if generalised_q(data, 0.0) <= q:
        return 0.0
    highest = data.yi_range**2 * (data.k - 1) / (2 * q)
    return falling_root(lambda tau2: generalised_q(data, tau2) - q, 0.0, highest)


def _two_studies(yi: Floats, vi: Floats) -> Sample:
    data = sample(yi, vi)
    if data.k < 2:
        raise ValueError("tau2 needs at least two studies")
    return data


def _truncated(data: Sample, value: float) -> Tau2:
    scaled = math.ldexp(value, 2 * data.exponent)
    if scaled < 0:
        return Tau2(0.0, notes=(f"tau2 truncated at 0 (untruncated: {scaled:.6g})",))
    return Tau2(scaled)


def dersimonian_laird(yi: Floats, vi: Floats) -> Tau2:
    """DerSimonian & Laird (1986, eq. 8; doi:10.1016/0197-2456(86)90046-2), truncated at 0.

    Parameters are effects and variances of shape (k,), k > 1. Raises what `sample` raises.
    """
    data = _two_studies(yi, vi)
    return _truncated(data, (generalised_q(data, 0.0) - (data.k - 1)) / trace_p(data, 0.0))


def hedges(yi: Floats, vi: Floats) -> Tau2:
    """Hedges (1983; doi:10.1037/0033-2909.93.2.388), also called Cochran's: truncated at 0.

    Variance of the effects minus the mean of their sampling variances. Parameters are effects
    and variances of shape (k,), k > 1. Raises what `sample` raises.
    """
    data = _two_studies(yi, vi)
    mean = total(data.yi) / data.k
    variance = total((data.yi - mean) ** 2) / (data.k - 1)
    return _truncated(data, variance - total(data.vi) / data.k)


def paule_mandel(yi: Floats, vi: Floats) -> Tau2:
    """Paule & Mandel (1982; doi:10.6028/jres.087.022): the tau2 at which Q equals k - 1.

    The root to machine precision; 0 where Q is below k - 1 even at tau2 = 0. Parameters are
    effects and variances of shape (k,), k > 1. Raises what `sample` raises.
    """
    data = _two_studies(yi, vi)
    value = math.ldexp(tau2_at_q(data, data.k - 1), 2 * data.exponent)
    return Tau2(value, notes=() if value else ("tau2 = 0: Q is not above k - 1",))


def _log_likelihood(data: Sample, tau2: float, restricted: bool) -> float:
    variance = data.vi + tau2
    terms = [math.log(value) for value in variance.tolist()]
    terms.append(generalised_q(data, tau2))
    df = data.k
    if restricted:
        df -= 1
        terms += [math.log(total(1 / variance)), -math.log(data.k)]
    terms += [df * math.log(2 * math.pi), 2 * df * data.exponent * math.log(2)]
    return -math.fsum(terms) / 2


def log_likelihood(yi: Floats, vi: Floats, tau2: float, *, restricted: bool) -> float:
    """(Restricted) log-likelihood at `tau2`, the mean at its maximum, with all constants.

    Restricted: including +1/2 log|X'X| as in metafor (Harville 1974; Viechtbauer 2005,
    doi:10.3102/10769986030003261). Effects and variances of shape (k,). Raises what `sample`
    raises, and ValueError where tau2 is negative or not finite.
    """
    data = sample(yi, vi)
    if not (math.isfinite(tau2) and tau2 >= 0):
        raise ValueError(f"tau2 must be finite and not negative, not {tau2}")
    return _log_likelihood(data, math.ldexp(tau2, -2 * data.exponent), restricted)


def _score(data: Sample, tau2: float, restricted: bool) -> float:
    """Twice the derivative of the (restricted) log-likelihood with respect to tau2."""
    wi = 1 / (data.vi + tau2)
    residuals = data.yi - weighted_mean(data, tau2)
    penalty = trace_p(data, tau2) if restricted else total(wi)
    return total((wi * residuals) ** 2) - penalty


def _scores(data: Sample, tau2: Floats, restricted: bool) -> Floats:
    """`_score` at many values of tau2, for its sign."""
    wi = 1 / (data.vi + tau2[:, np.newaxis])
    sums = wi.sum(axis=1, keepdims=True)
    residuals = data.yi - (wi * data.yi).sum(axis=1, keepdims=True) / sums
    penalty = wi
    if restricted:
        others = sums - wi
        others[:, 0] = wi[:, 1:].sum(axis=1)
        penalty = wi * others / sums
    scores: Floats = ((wi * residuals) ** 2).sum(axis=1) - penalty.sum(axis=1)
    return scores


def _local_maxima(data: Sample, restricted: bool) -> list[float]:
    """All local maxima of the profile likelihood on [0, inf), in the unit of `data`.

    The score is negative beyond the squared range of the effects: each residual is at most the
    range times the share of the weight that the other studies have, so that the sum of squares
    in the score is below the penalty as soon as tau2 + vi_min exceeds the squared range.
    """
    lowest = float(data.vi[0])
    cells = math.ceil(math.log1p(data.yi_range**2 / lowest) / STEP)
    grid: Floats = lowest * np.expm1(STEP * np.arange(cells + 1))
    rows = max(1, BLOCK // data.k)
    rising: NDArray[np.bool_] = np.concatenate(
        [
            _scores(data, grid[start : start + rows], restricted) > 0
            for start in range(0, grid.size, rows)
        ]
    )
    tops = np.flatnonzero(rising[:-1] & ~rising[1:]).tolist()
    maxima = [
        falling_root(
            lambda tau2: _score(data, tau2, restricted), float(grid[top]), float(grid[top + 1])
        )
        for top in tops
    ]
    return maxima if rising[0] else [0.0, *maxima]


def _likelihood(yi: Floats, vi: Floats, restricted: bool) -> Tau2:
    data = _two_studies(yi, vi)
    maxima = _local_maxima(data, restricted)
    heights = {tau2: _log_likelihood(data, tau2, restricted) for tau2 in maxima}
    best = max(heights, key=lambda tau2: (heights[tau2], tau2))
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
    return Tau2(back[best], maxima=tuple(back.values()), notes=tuple(notes))


def maximum_likelihood(yi: Floats, vi: Floats) -> Tau2:
    """Maximum likelihood (Hardy & Thompson 1996): the global maximum over tau2 >= 0.

    Few studies of unequal precision can give several local maxima: all are found and compared.
    Parameters are effects and variances of shape (k,), k > 1. Raises what `sample` raises.
    """
    return _likelihood(yi, vi, restricted=False)


def restricted_likelihood(yi: Floats, vi: Floats) -> Tau2:
    """Restricted maximum likelihood (Viechtbauer 2005, doi:10.3102/10769986030003261).

    The global maximum over tau2 >= 0, as for `maximum_likelihood`. Parameters are effects and
    variances of shape (k,), k > 1. Raises what `sample` raises.
    """
    return _likelihood(yi, vi, restricted=True)


Estimator = Callable[[Floats, Floats], Tau2]

TAU2: dict[str, Estimator] = {
    "DL": dersimonian_laird,
    "HE": hedges,
    "PM": paule_mandel,
    "ML": maximum_likelihood,
    "REML": restricted_likelihood,
}


def estimates(yi: Floats, vi: Floats, first: str) -> dict[str, Tau2]:
    """Tau2 of effects and variances (k,) by every estimator, `first` before the others."""
    return {key: TAU2[key](yi, vi) for key in sorted(TAU2, key=lambda key: key != first)}
