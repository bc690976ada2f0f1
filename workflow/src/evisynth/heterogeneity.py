"""Heterogeneity between studies: Q, the Q-profile interval of tau2, I2 and H2."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, gammainccinv, gammaincinv

from evisynth.linear import at, problem
from evisynth.records import Floats, Heterogeneity
from evisynth.tau2 import Tau2, tau2_at_q

# Below this k, tau2 is too uncertain for I2 and prediction intervals to be relied on.
FEW = 5


@dataclass(frozen=True, slots=True)
class QProfile:
    """Interval of tau2, square of the unit of yi; both ends nan where the set is empty."""

    low: float
    high: float

    @property
    def empty(self) -> bool:
        """Whether no tau2 is compatible with a Q as small as the observed one."""
        return math.isnan(self.high)


def cochran_q(yi: Floats, vi: Floats) -> float:
    """Cochran's Q (1954, doi:10.2307/3001666) of effects and variances of shape (k,).

    Without unit; chi-squared with k - 1 degrees of freedom if the studies share one effect.
    Raises what `linear.problem` raises.
    """
    return at(problem(yi, vi), 0.0).q


def typical_vi(vi: Floats) -> float:
    """Typical sampling variance (Higgins & Thompson 2002, eq. 9; doi:10.1002/sim.1186).

    Variances of shape (k,), k > 1; square of the unit of yi. Raises what `linear.problem` raises,
    and ValueError for k < 2.
    """
    data = problem(np.zeros(np.shape(vi)), vi)
    if data.k < 2:
        raise ValueError("a typical variance needs at least two studies")
    return math.ldexp((data.k - 1) / at(data, 0.0).trace_p, 2 * data.exponent)


def q_profile(yi: Floats, vi: Floats, level: float) -> QProfile:
    """Q-profile interval of tau2 (Viechtbauer 2007, doi:10.1002/sim.2514), exact roots.

    Effects and variances of shape (k,), k > 1; `level` as a fraction. The lower end is 0 where
    Q(0) is not above the upper quantile of chi-squared. Where Q(0) is below the lower quantile
    no tau2 qualifies: both ends are nan (metafor returns 0, 0). The search has no upper limit.
    Raises what `linear.problem` raises, and ValueError for k < 2.
    """
    data = problem(yi, vi)
    if data.k < 2:
        raise ValueError("a Q-profile interval needs at least two studies")
    shape, tail = (data.k - 1) / 2, (1 - level) / 2
    lower, upper = 2 * float(gammaincinv(shape, tail)), 2 * float(gammainccinv(shape, tail))
    if at(data, 0.0).q < lower:
        return QProfile(math.nan, math.nan)
    unit = 2 * data.exponent
    return QProfile(
        low=math.ldexp(tau2_at_q(data, upper), unit),
        high=math.ldexp(tau2_at_q(data, lower), unit),
    )


def i_squared(tau2: float, typical: float) -> float:
    """Per cent of the total variance that lies between studies (Higgins & Thompson 2002)."""
    return 100 * (tau2 / (tau2 + typical))


def heterogeneity(
    yi: Floats, vi: Floats, tau2: Mapping[str, Tau2], level: float
) -> tuple[Heterogeneity, ...]:
    """One record per estimate in `tau2`, in its order.

    Effects and variances of shape (k,), k > 1; `level` as a fraction. I2 and H2 come from tau2
    and the typical variance, the interval of I2 from that of tau2 by the same, monotone,
    formula. Raises what `q_profile` raises.
    """
    k, q, typical = len(yi), cochran_q(yi, vi), typical_vi(vi)
    df = k - 1
    interval = q_profile(yi, vi, level)
    notes = []
    if interval.empty:
        notes.append(
            "the Q-profile interval of tau2 is empty: the effects are more alike than chance "
            f"allows (Q = {q:.6g} on {df} df)"
        )
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
            i2_q=100 * max(0.0, (q - df) / q) if q > 0 else 0.0,
            h2=estimate.value / typical + 1,
            notes=(*estimate.notes, *notes),
        )
        for method, estimate in tau2.items()
    )
