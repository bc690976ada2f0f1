"""Heterogeneity between studies: Q, I2, H2, and intervals of tau2."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.special import chdtrc, gammainc, gammaincc, gammainccinv, gammaincinv, ndtri

from evisynth.inference import normal_quantile
from evisynth.linear import Problem, at, curve, height, problem, weigh
from evisynth.quadratic import form, tails
from evisynth.records import Floats, Heterogeneity, Tau2Interval
from evisynth.tau2 import (
    Tau2,
    above,
    falling_root,
    maximum_likelihood,
    merged,
    profile,
    restricted_likelihood,
    sidik_jonkman,
    tau2_at_q,
    uncertain,
)

NAN = math.nan
# Below this k, tau2 is too uncertain for I2 and prediction intervals to be relied on.
FEW = 5
# Steps, in the logarithm of tau2, of the search for the upper end of a profile likelihood.
COARSE = 1 / 8


def cochran_q(yi: Floats, vi: Floats, x: Floats | None = None) -> float:
    """Cochran's Q (1954, doi:10.2307/3001666) of effects and variances of shape (k,).

    With a design `x` (k, p) the residual QE. Without unit; chi-squared with k - p degrees of
    freedom if the studies share one effect. Raises what `linear.problem` raises.
    """
    return at(problem(yi, vi, x), 0.0).q


def typical_vi(vi: Floats, x: Floats | None = None) -> float:
    """Typical sampling variance (Higgins & Thompson 2002, eq. 9; doi:10.1002/sim.1186).

    Variances of shape (k,), k > 1; square of the unit of yi. With a design `x` (k, p) it is
    (k - p) over the trace of P, as in metafor. Raises what `linear.problem` raises, and
    ValueError for k < 2.
    """
    data = _with_df(problem(np.zeros(np.shape(vi)), vi, x), "a typical variance")
    return math.ldexp((data.k - data.p) / at(data, 0.0).trace_p, 2 * data.exponent)


def _with_df(data: Problem, what: str) -> Problem:
    if data.k <= data.p:
        needed = "two studies" if data.p == 1 else f"{data.p + 1} studies"
        raise ValueError(f"{what} needs at least {needed}")
    return data


def i_squared(tau2: float, typical: float) -> float:
    """Per cent of the total variance that lies between studies (Higgins & Thompson 2002)."""
    return 100 * (tau2 / (tau2 + typical))


def h2_of_q(q: float, df: int) -> float:
    """H2 by Q over its degrees of freedom, at least 1 (Higgins & Thompson 2002)."""
    return max(1.0, q / df)


def i2_of_q(q: float, df: int) -> float:
    """I2 in per cent by Q: max(0, (Q - df) / Q) (Higgins & Thompson 2002)."""
    return 100 * max(0.0, (q - df) / q) if q > 0 else 0.0


def higgins_thompson_h2(q: float, df: int, level: float) -> tuple[float, float]:
    """Interval of the H2 of `h2_of_q`, cut at 1 (Higgins & Thompson 2002, appendix).

    With k = df + 1. Normal in log H; nan for df = 1, where Q <= k has no standard error.
    """
    k = df + 1
    if q > k:
        se = (math.log(q) - math.log(df)) / (2 * (math.sqrt(2 * q) - math.sqrt(2 * df - 1)))
    elif df > 1:
        se = math.sqrt((1 - 1 / (3 * (df - 1) ** 2)) / (2 * (df - 1)))
    else:
        return NAN, NAN
    half = normal_quantile(level) * se
    centre = math.log(h2_of_q(q, df)) / 2
    return max(1.0, math.exp(2 * (centre - half))), max(1.0, math.exp(2 * (centre + half)))


def higgins_thompson_i2(q: float, df: int, level: float) -> tuple[float, float]:
    """Interval of `i2_of_q` in per cent: 1 - 1 / H2 at the ends of `higgins_thompson_h2`."""
    low, high = higgins_thompson_h2(q, df, level)
    return 100 * (1 - 1 / low), 100 * (1 - 1 / high)


def _quantiles(df: int, level: float) -> tuple[float, float]:
    """Lower and upper quantile of chi-squared that hold `level` between them."""
    tail = (1 - level) / 2
    return 2 * float(gammaincinv(df / 2, tail)), 2 * float(gammainccinv(df / 2, tail))


def _empty(kind: str, what: str, data: Problem, level: float) -> Tau2Interval:
    return Tau2Interval(
        kind,
        NAN,
        NAN,
        notes=(
            f"the {what} interval of tau2 is empty at {100 * level:g}% (k = {data.k}): the "
            "effects are more alike than chance allows",
        ),
    )


def _interval(
    kind: str, data: Problem, low: float, high: float, notes: tuple[str, ...] = ()
) -> Tau2Interval:
    """From the unit of `data` to that of the caller."""
    unit = 2 * data.exponent
    return Tau2Interval(kind, math.ldexp(low, unit), math.ldexp(high, unit), notes)


def _q_profile(kind: str, data: Problem, level: float) -> Tau2Interval:
    """Viechtbauer (2007, doi:10.1002/sim.2514): where Q is between its quantiles."""
    lower, upper = _quantiles(data.k - data.p, level)
    q = at(data, 0.0).q
    if q < lower:
        df = data.k - data.p
        found = _empty(kind, "Q-profile", data, level)
        return Tau2Interval(kind, NAN, NAN, (f"{found.notes[0]} (Q = {q:.6g} on {df} df)",))
    return _interval(kind, data, tau2_at_q(data, upper), tau2_at_q(data, lower))


Tails = Callable[[float], tuple[float, float]]


def _inverted(kind: str, what: str, data: Problem, level: float, of: Tails) -> Tau2Interval:
    """Tau2 for which neither tail of the observed Q, at tau2, is below half of 1 - level."""
    tail = (1 - level) / 2
    lower, upper = of(0.0)
    if lower < tail:
        return _empty(kind, what, data, level)

    def too_small(tau2: float) -> float:
        return tail - of(tau2)[1]

    def not_too_large(tau2: float) -> float:
        return of(tau2)[0] - tail

    high = falling_root(not_too_large, 0.0, above(not_too_large, 1.0))
    low = falling_root(too_small, 0.0, high) if upper < tail else 0.0
    return _interval(kind, data, low, high)


def _generalised(kind: str, data: Problem, level: float, wi: Floats) -> Tau2Interval:
    """Jackson (2013, doi:10.1002/jrsm.1081): the exact distribution of a generalised Q."""
    fit = weigh(data, wi)
    q = fit.q
    return _inverted(
        kind, "generalised Q", data, level, lambda tau2: tails(form(fit, data.vi + tau2), q)
    )


def _biggerstaff_tweedie(kind: str, data: Problem, level: float) -> Tau2Interval:
    """Biggerstaff & Tweedie (1997): Cochran's Q as a gamma variable of its first two moments.

    Mean (k - p) + tr(P) tau2, variance 2 (k - p) + 4 tr(P) tau2 + 2 tr(PP) tau2^2
    (doi:10.1002/(SICI)1097-0258(19970415)16:7<753::AID-SIM494>3.0.CO;2-G).
    """
    fit, ones, df = at(data, 0.0), np.ones(data.k), data.k - data.p
    q, trace, trace2 = fit.q, fit.trace_p, fit.trace_pspt(ones, ones)

    def of(tau2: float) -> tuple[float, float]:
        mean = df + trace * tau2
        variance = 2 * df + 4 * trace * tau2 + 2 * trace2 * tau2**2
        shape, at_q = mean**2 / variance, q * mean / variance
        return float(gammainc(shape, at_q)), float(gammaincc(shape, at_q))

    return _inverted(kind, "Biggerstaff-Tweedie", data, level, of)


def _profile_likelihood(
    kind: str, data: Problem, level: float, restricted: bool
) -> Tau2Interval:
    """Hardy & Thompson (1996).

    doi:10.1002/(SICI)1097-0258(19960330)15:6<619::AID-SIM188>3.0.CO;2-A. Where the
    log-likelihood is within half the quantile of chi-squared with 1 df of its global maximum.
    Never empty. Where the likelihood has several maxima, the set may have gaps: the interval is
    from its smallest to its largest point, and the note names the gaps.
    """
    found = profile(data, restricted=restricted)
    best = found.best
    grid = merged(found.grid, curve(data, np.array([best]), restricted=restricted))
    cut = found.maxima[best] - float(ndtri((1 - level) / 2)) ** 2 / 2
    # The grid leaves out constants.
    last = float(grid.tau2[-1])
    constant = height(data, last, restricted=restricted) - float(grid.height[-1])
    step = math.expm1(COARSE) * (last + float(data.vi[0]))
    while grid.height[-1] + constant >= cut:
        last += step
        step *= math.exp(COARSE)
        grid = merged(grid, curve(data, np.array([last]), restricted=restricted))
    while (middles := uncertain(grid, cut - constant)).size:
        grid = merged(grid, curve(data, middles, restricted=restricted))

    def excess(tau2: float) -> float:
        return height(data, tau2, restricted=restricted) - cut

    inside = (grid.height + constant >= cut) | (grid.tau2 == best)
    starts = (np.flatnonzero(inside[1:] & ~inside[:-1]) + 1).tolist()
    ends = np.flatnonzero(inside[:-1] & ~inside[1:]).tolist()
    lows = [
        falling_root(lambda t: -excess(t), float(grid.tau2[i - 1]), float(grid.tau2[i]))
        for i in starts
    ]
    highs = [falling_root(excess, float(grid.tau2[i]), float(grid.tau2[i + 1])) for i in ends]
    if inside[0]:
        lows = [0.0, *lows]
    gaps = [
        f"{math.ldexp(high, 2 * data.exponent):.6g} to {math.ldexp(low, 2 * data.exponent):.6g}"
        for high, low in zip(highs[:-1], lows[1:], strict=True)
    ]
    notes: tuple[str, ...] = ()
    if gaps:
        notes = (f"the profile likelihood set has a gap: {', '.join(gaps)} is outside of it",)
    return _interval(kind, data, lows[0], highs[-1], notes)


def _sidik_jonkman(kind: str, data: Problem, level: float) -> Tau2Interval:
    """Sidik & Jonkman (2005, doi:10.1111/j.1467-9876.2005.00489.x).

    As if (k - p) times the estimate SJ, over tau2, were chi-squared.
    """
    df = data.k - data.p
    lower, upper = _quantiles(df, level)
    value = data.scaled(sidik_jonkman(data).value)
    if value == 0:
        note = "not estimable: the Sidik-Jonkman estimate is 0, the effects are all equal"
        return Tau2Interval(kind, NAN, NAN, (note,))
    return _interval(kind, data, df * value / upper, df * value / lower)


def _wald(kind: str, data: Problem, level: float, estimate: Tau2) -> Tau2Interval:
    """Estimate -/+ normal quantile times its standard error, cut at 0."""
    half = normal_quantile(level) * estimate.se
    notes = ["tau2 is not normal: Wald intervals do not keep their level"]
    if estimate.value < half:
        notes.append(f"cut at 0 (uncut: {estimate.value - half:.6g})")
    return Tau2Interval(
        kind, max(0.0, estimate.value - half), estimate.value + half, tuple(notes)
    )


INTERVALS: dict[str, Callable[[str, Problem, float], Tau2Interval]] = {
    "QP": _q_profile,
    "PL-REML": lambda kind, data, level: _profile_likelihood(kind, data, level, True),
    "PL-ML": lambda kind, data, level: _profile_likelihood(kind, data, level, False),
    "BJ": lambda kind, data, level: _generalised(kind, data, level, 1 / data.vi),
    "J": lambda kind, data, level: _generalised(kind, data, level, 1 / np.sqrt(data.vi)),
    "J1": lambda kind, data, level: _generalised(kind, data, level, np.ones(data.k)),
    "BT": _biggerstaff_tweedie,
    "SJ": _sidik_jonkman,
    "WALD-REML": lambda kind, data, level: _wald(
        kind, data, level, restricted_likelihood(data)
    ),
    "WALD-ML": lambda kind, data, level: _wald(kind, data, level, maximum_likelihood(data)),
}


def tau2_intervals(
    yi: Floats,
    vi: Floats,
    x: Floats | None = None,
    level: float = 0.95,
    kinds: Sequence[str] = ("QP",),
) -> tuple[Tau2Interval, ...]:
    """Intervals of tau2 of effects and variances (k,) with a design `x` (k, p).

    Parameters
    ----------
    level : as a fraction.
    kinds : keys of `INTERVALS`. QP: Q-profile. PL-REML, PL-ML: profile likelihood. BJ, J, J1:
        generalised Q with the weights 1/vi (Biggerstaff & Jackson 2008), 1/sei (recommended by
        Jackson 2013) and 1. BT: Biggerstaff & Tweedie. SJ: Sidik & Jonkman. WALD-REML, WALD-ML.

    The ends are exact roots without upper limit. A lower end is 0 where 0 is compatible. Where
    no tau2 is, both ends are nan with a note (metafor returns 0, 0). Every set is bounded.

    Raises
    ------
    ValueError
        What `linear.problem` raises; k not above p; a level that is not between 0 and 1.
    KeyError
        An unknown kind.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    data = _with_df(problem(yi, vi, x), "an interval of tau2")
    return tuple(INTERVALS[kind](kind, data, level) for kind in kinds)


def generalised_interval(
    yi: Floats, vi: Floats, weights: Floats, x: Floats | None = None, level: float = 0.95
) -> Tau2Interval:
    """Interval GENQ of tau2 (Jackson 2013) with any positive `weights` of shape (k,).

    Raises what `tau2_intervals` raises, and ValueError for weights that are not positive.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    data = _with_df(problem(yi, vi, x), "an interval of tau2")
    weights = np.asarray(weights, dtype=float)
    if weights.shape != data.yi.shape or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights must be positive and finite, of shape ({data.k},)")
    return _generalised("GENQ", data, level, weights[data.order] / weights.max())


def heterogeneity(
    yi: Floats,
    vi: Floats,
    tau2: Mapping[str, Tau2],
    level: float,
    x: Floats | None = None,
) -> tuple[Heterogeneity, ...]:
    """One record per estimate in `tau2`, in its order.

    Effects and variances of shape (k,), k > p; `level` as a fraction. With a design `x` (k, p)
    everything is residual. I2 and H2 come from tau2 and the typical variance, the interval of
    I2 from the Q-profile interval of tau2 by the same, monotone, formula. Raises what
    `tau2_intervals` raises.
    """
    k, q, typical = len(yi), cochran_q(yi, vi, x), typical_vi(vi, x)
    df = k - (1 if x is None else np.shape(x)[1])
    (interval,) = tau2_intervals(yi, vi, x, level)
    i2_q_low, i2_q_high = higgins_thompson_i2(q, df, level)
    notes = list(interval.notes)
    if k < FEW:
        notes.append(f"I2 is not to be interpreted below {FEW} studies")
    return tuple(
        Heterogeneity(
            method=method,
            k=k,
            q=q,
            q_df=df,
            q_p=float(chdtrc(df, q)),
            tau2=estimate.value,
            tau2_low=interval.low,
            tau2_high=interval.high,
            tau=math.sqrt(estimate.value),
            i2=i_squared(estimate.value, typical),
            i2_low=i_squared(interval.low, typical),
            i2_high=i_squared(interval.high, typical),
            i2_q=i2_of_q(q, df),
            h2=estimate.value / typical + 1,
            notes=(*estimate.notes, *notes),
            tau2_se=estimate.se,
            h2_low=interval.low / typical + 1,
            h2_high=interval.high / typical + 1,
            i2_q_low=i2_q_low,
            i2_q_high=i2_q_high,
        )
        for method, estimate in tau2.items()
    )
