"""Peto's one-step odds ratio, with a check of the conditions under which it is valid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evisynth.inference import wald
from evisynth.linear import total
from evisynth.models.mantel_haenszel import mantel_haenszel
from evisynth.models.tables import (
    ChiSquare,
    Mask,
    Tables,
    chi_square,
    counted,
    fitted_cell,
    listed,
    names,
    tables,
)
from evisynth.records import Estimate, Floats

NAN = math.nan
# Beyond these a note says that the method may be biased. The Cochrane Handbook (10.4.2,
# 10.4.4.1) names the conditions without limits; these are ours.
LARGEST_RATIO = 2.0  # of the sizes of the groups, either way
LARGEST_RISK = 0.1
LARGEST_EFFECT = 2.0  # odds ratio, either way
LARGEST_BIAS = math.log(1.05)


@dataclass(frozen=True, slots=True)
class Peto:
    """An analysis by Peto's method.

    Attributes
    ----------
    estimate : common/PETO/z, log odds ratio; its k counts the studies that carry information.
    k_total : number of studies.
    informative : (k_total,) studies with a variance above 0.
    weights : (k_total,) per cent; nan where there is no estimate.
    q : heterogeneity, sum of squared (O - E) / V around the estimate.
    i2, h2 : from Q; per cent, ratio; nan without degrees of freedom.
    imbalance : size of the larger over the smaller group, geometric mean with the weights.
    risk : events over participants, of the rarer outcome.
    bias : what the method would return, less the truth, had every study shown exactly the
        Mantel-Haenszel odds ratio with the margins that it has; log scale, nan where that is
        not estimable.
    notes : every caveat.
    """

    estimate: Estimate
    k_total: int
    informative: Mask
    weights: Floats
    q: ChiSquare
    i2: float
    h2: float
    imbalance: float
    risk: float
    bias: float
    notes: tuple[str, ...] = ()


def _expected_bias(data: Tables, vi: Floats, log_or: float) -> float:
    """Limit of the one-step estimate at a common log odds ratio, minus that ratio."""
    if math.isnan(log_or):
        return NAN
    events = data.ai + data.ci
    expected = fitted_cell(data.n1i, events, data.n2i, math.exp(log_or))
    null = data.n1i / (data.n1i + data.n2i) * events
    return total(expected - null) / total(vi) - log_or


def _factor(log: float) -> float:
    """Exponential; infinite beyond double precision, as a one-step estimate can be."""
    return math.exp(log) if log < 709 else math.inf


def _validity(log_or: float, imbalance: float, risk: float, bias: float) -> list[str]:
    """What speaks against the method in these data."""
    notes = []
    if imbalance > LARGEST_RATIO:
        notes.append(f"groups are unbalanced ({imbalance:.3g} to 1 on average)")
    if risk > LARGEST_RISK:
        notes.append(f"events are not rare ({100 * risk:.3g}% of participants)")
    if abs(log_or) > math.log(LARGEST_EFFECT):
        notes.append(f"the effect is large (odds ratio {_factor(log_or):.3g})")
    if abs(bias) > LARGEST_BIAS:
        notes.append(
            f"the one-step approximation itself shifts the odds ratio by a factor of "
            f"{_factor(bias):.3g} if the Mantel-Haenszel estimate is right"
        )
    if not notes:
        return []
    return [f"Peto's method may be biased here: {'; '.join(notes)}"]


def peto(
    ai: Floats,
    bi: Floats,
    ci: Floats,
    di: Floats,
    *,
    level: float = 0.95,
    labels: Sequence[str] | None = None,
) -> Peto:
    """Peto's one-step estimate of a common log odds ratio from 2x2 tables.

    sum(O - E) / sum(V) with O = a, E = n1 (a + c) / N and the hypergeometric variance V = n1 n2
    (a + c) (b + d) / (N^2 (N - 1)); standard error 1 / sqrt(sum(V)) (Yusuf et al. 1985,
    doi:10.1016/s0033-0620(85)80003-7). No continuity correction. Valid for small effects, rare
    events and groups of similar size (Greenland & Salvan 1990, Stat Med 9, 247-252; Bradburn
    et al. 2007, doi:10.1002/sim.2528): a note says where that is not so.

    Parameters
    ----------
    ai, bi, ci, di : (k,) counts; events and non-events of group 1, then of group 2. Fractions,
        as of an arm divided between comparisons, are taken as they are.
    level : of the interval, as a fraction.
    labels : names of the studies for the notes.

    Raises
    ------
    ValueError
        Impossible counts, a level outside 0 to 1.
    """
    # refuses what is impossible
    mh = mantel_haenszel("OR", ai, bi, ci, di, level=level, labels=labels)
    data = tables(ai, bi, ci, di, whole=False)
    labels = names(labels, data.k)
    n1i, n2i, events = data.n1i, data.n2i, data.ai + data.ci
    ni = n1i + n2i
    # O - E = (a d - b c) / N
    difference = (data.ai * data.di - data.bi * data.ci) / ni
    vi = events * ((data.bi + data.di) / ni) * (n1i / ni) * (n2i / (ni - 1))
    informative = vi > 0
    notes = []
    if (~informative).any():
        notes.append(
            f"{counted(~informative)} with one outcome only in both groups, weight 0: "
            f"{listed(~informative, labels)}"
        )
    estimate = se = statistic = bias = imbalance = NAN
    weights = np.full(data.k, NAN)
    if informative.any():
        precision = total(vi)
        estimate, se = total(difference) / precision, 1 / math.sqrt(precision)
        weights = 100 * (vi / precision)
        yi = difference[informative] / vi[informative]
        statistic = total(vi[informative] * (yi - estimate) ** 2)
        imbalance = math.exp(total(vi * np.abs(np.log(n1i / n2i))) / precision)
        bias = _expected_bias(data, vi, mh.estimate.estimate)
    else:
        notes.append("not estimable: one of the two outcomes never occurred")
    if (k := int(informative.sum())) == 1:
        notes.append("k = 1: one informative study, nothing is pooled")
    risk = total(events) / total(ni)
    risk = min(risk, 1 - risk)
    if informative.any():
        notes += _validity(estimate, imbalance, risk, bias)
    weights.setflags(write=False)
    q = chi_square(statistic, k - 1)
    defined = q.df > 0 and not math.isnan(q.statistic)
    surplus = q.statistic > q.df
    return Peto(
        estimate=wald(
            model="common",
            method="PETO",
            test="z",
            k=k,
            estimate=estimate,
            se=se,
            level=level,
            notes=tuple(notes),
        ),
        k_total=data.k,
        informative=informative,
        weights=weights,
        q=q,
        i2=(100 * (q.statistic - q.df) / q.statistic if surplus else 0.0) if defined else NAN,
        h2=q.statistic / q.df if defined else NAN,
        imbalance=imbalance,
        risk=risk,
        bias=bias,
        notes=tuple(notes),
    )
