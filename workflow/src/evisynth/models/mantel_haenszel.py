"""Mantel-Haenszel pooling of counts, without continuity correction by default."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evisynth.inference import wald
from evisynth.linear import total
from evisynth.models.tables import (
    HALF,
    NO_CORRECTION,
    ChiSquare,
    Correction,
    Mask,
    Rates,
    Tables,
    chi_square,
    correct_rates,
    correct_tables,
    corrected_studies,
    counted,
    fitted_cell,
    listed,
    names,
    rates,
    tables,
)
from evisynth.records import Estimate, Floats

NAN = math.nan
NO_TEST = ChiSquare(NAN, 0, NAN)
RD_VARIANCES = ("Sato", "GR")
# Relative size of a sum of differences that is rounding only.
ROUNDING = 1e-13


@dataclass(frozen=True, slots=True)
class MantelHaenszel:
    """A Mantel-Haenszel analysis.

    Attributes
    ----------
    measure : OR, RR, RD, IRR or IRD.
    estimate : common/MH/z on the analysis scale (ratios: log); its k counts the studies that
        carry information.
    k_total : number of studies.
    informative : (k_total,) studies that enter the estimate.
    weights : (k_total,) per cent; nan where there is no estimate.
    q : Cochran's Q of the inverse-variance effects around the estimate; zero cells corrected as
        said in the notes, studies with one outcome only left out.
    i2, h2 : from Q; per cent, ratio; nan without degrees of freedom.
    cmh, cmh_corrected : Mantel-Haenszel test, without and with continuity correction (OR, IRR).
    cochran, cochran_corrected : the same with Cochran's variance (OR).
    breslow_day, tarone : homogeneity of the odds ratios.
    notes : every caveat.
    """

    measure: str
    estimate: Estimate
    k_total: int
    informative: Mask
    weights: Floats
    q: ChiSquare
    i2: float
    h2: float
    cmh: ChiSquare = NO_TEST
    cmh_corrected: ChiSquare = NO_TEST
    cochran: ChiSquare = NO_TEST
    cochran_corrected: ChiSquare = NO_TEST
    breslow_day: ChiSquare = NO_TEST
    tarone: ChiSquare = NO_TEST
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pooled:
    """Estimate, variance, unscaled weights, informative studies, and why there is none."""

    estimate: float
    vi: float
    weights: Floats
    informative: Mask
    why: str = ""


def _ratio(
    r: float, s: float, vi: Callable[[], float], weights: Floats, informative: Mask, what: str
) -> _Pooled:
    """Log of r / s, unless one of them is 0."""
    if r == 0 and s == 0:
        why = f"not estimable: no study carries information about the {what}"
    elif r == 0:
        why = f"not estimable: the {what} would be 0"
    elif s == 0:
        why = f"not estimable: the {what} would be infinite"
    else:
        return _Pooled(math.log(r / s), vi(), weights, informative)
    return _Pooled(NAN, NAN, weights, informative, why)


def _odds_ratio(data: Tables) -> _Pooled:
    """Mantel & Haenszel (1959); variance of Robins, Breslow & Greenland (1986)."""
    ni = data.n1i + data.n2i
    pi, qi = (data.ai + data.di) / ni, (data.bi + data.ci) / ni
    ri, si = data.ai / ni * data.di, data.bi / ni * data.ci
    r, s = total(ri), total(si)

    def variance() -> float:
        return (
            total(pi * ri) / r / r
            + (total(pi * si) + total(qi * ri)) / r / s
            + total(qi * si) / s / s
        ) / 2

    return _ratio(r, s, variance, si, (ri > 0) | (si > 0), "odds ratio")


def _risk_ratio(data: Tables) -> _Pooled:
    """Mantel-Haenszel risk ratio with the variance of Greenland & Robins (1985, eq. 13)."""
    n1i, n2i = data.n1i, data.n2i
    ni = n1i + n2i
    ri, si = data.ai * (n2i / ni), data.ci * (n1i / ni)
    r, s = total(ri), total(si)

    def variance() -> float:
        # n1 n2 (a + c) / N^2 - a c / N, expanded: no term is negative
        terms = data.ai / ni * data.di * (n1i / ni) + data.bi / ni * data.ci * (n2i / ni)
        return total(terms) / r / s

    return _ratio(r, s, variance, si, data.ai + data.ci > 0, "risk ratio")


def _risk_difference(data: Tables, variance: str) -> _Pooled:
    """Mantel-Haenszel risk difference with one of two variances."""
    n1i, n2i = data.n1i, data.n2i
    ni = n1i + n2i
    wi = n1i * (n2i / ni)
    f1, f2 = n1i / ni, n2i / ni
    # a n2 - c n1 = a d - b c
    estimate = total((data.ai * data.di - data.bi * data.ci) / ni) / total(wi)
    if variance == "GR":
        p1, p2 = data.ai / n1i, data.ci / n2i
        terms = wi * (f2 * p1 * (data.bi / n1i) + f1 * p2 * (data.di / n2i))
        squared = total(terms)
    else:
        p = data.ci * f1 * f1 - data.ai * f2 * f2 + f1 * f2 * (n2i - n1i) / 2
        q = (data.ai * data.di + data.bi * data.ci) / ni / 2
        squared = total(estimate * p + q)
        # 0 where no group varies, which rounding hides
        if abs(squared) <= ROUNDING * total(np.abs(estimate * p) + q):
            squared = 0.0
    return _Pooled(estimate, squared / total(wi) ** 2, wi, np.ones(data.k, dtype=bool))


def _rate_ratio(data: Rates) -> _Pooled:
    """Mantel-Haenszel rate ratio with the variance of Greenland & Robins (1985)."""
    f1, f2 = data.t1i / (data.t1i + data.t2i), data.t2i / (data.t1i + data.t2i)
    ri, si = data.x1i * f2, data.x2i * f1
    r, s = total(ri), total(si)
    events = data.x1i + data.x2i

    def variance() -> float:
        return total(f1 * f2 * events) / r / s

    return _ratio(r, s, variance, si, events > 0, "rate ratio")


def _rate_difference(data: Rates) -> _Pooled:
    """Mantel-Haenszel rate difference with the variance of Greenland & Robins (1985)."""
    f1, f2 = data.t1i / (data.t1i + data.t2i), data.t2i / (data.t1i + data.t2i)
    wi = data.t1i * f2
    vi = total(f2 * f2 * data.x1i + f1 * f1 * data.x2i) / total(wi) ** 2
    estimate = total(data.x1i * f2 - data.x2i * f1) / total(wi)
    return _Pooled(estimate, vi, wi, np.ones(data.k, dtype=bool))


TABLE_METHODS: dict[str, Callable[[Tables, str], _Pooled]] = {
    "OR": lambda data, _: _odds_ratio(data),
    "RR": lambda data, _: _risk_ratio(data),
    "RD": _risk_difference,
}
RATE_METHODS: dict[str, Callable[[Rates], _Pooled]] = {
    "IRR": _rate_ratio,
    "IRD": _rate_difference,
}


def _table_effects(measure: str, data: Tables) -> tuple[Floats, Floats]:
    """Effects and inverse-variance variances of the studies."""
    p1, p2 = data.ai / data.n1i, data.ci / data.n2i
    if measure == "OR":
        yi = np.log(data.ai / data.bi * data.di / data.ci)
        return yi, 1 / data.ai + 1 / data.bi + 1 / data.ci + 1 / data.di
    if measure == "RR":
        vi = data.bi / data.n1i / data.ai + data.di / data.n2i / data.ci
        return np.log(p1 / p2), vi
    q1, q2 = data.bi / data.n1i, data.di / data.n2i
    return p1 * q2 - q1 * p2, p1 * q1 / data.n1i + p2 * q2 / data.n2i


def _rate_effects(measure: str, data: Rates) -> tuple[Floats, Floats]:
    """Effects and inverse-variance variances of the studies."""
    if measure == "IRR":
        yi = np.log(data.x1i / data.x2i * (data.t2i / data.t1i))
        return yi, 1 / data.x1i + 1 / data.x2i
    r1, r2 = data.x1i / data.t1i, data.x2i / data.t2i
    return r1 - r2, r1 / data.t1i + r2 / data.t2i


def _difference_test(difference: float, variance: float, correct: float) -> ChiSquare:
    """Square of a sum of differences over its variance.

    The continuity correction brings the difference to 0 at most: metafor lets it change sign,
    so that its statistic grows again where the difference is below 1/2.
    """
    if variance == 0:
        return NO_TEST
    return chi_square(max(0.0, abs(difference) - correct) ** 2 / variance, 1)


def _homogeneity(data: Tables, psi: float) -> tuple[ChiSquare, ChiSquare]:
    """Breslow & Day (1980) and Tarone (1985)."""
    used = ~data.one_outcome
    n1i, n2i = data.n1i[used], data.n2i[used]
    events, rest = (data.ai + data.ci)[used], (data.bi + data.di)[used]
    expected = fitted_cell(n1i, events, n2i, psi)
    precision = (
        1 / expected
        + 1 / fitted_cell(n1i, rest, n2i, 1 / psi)
        + 1 / fitted_cell(n2i, events, n1i, 1 / psi)
        + 1 / fitted_cell(n2i, rest, n1i, psi)
    )
    residual = data.ai[used] - expected
    statistic = total(residual**2 * precision)
    df = int(used.sum()) - 1
    tarone = max(0.0, statistic - total(residual) ** 2 / total(1 / precision))
    return chi_square(statistic, df), chi_square(tarone, df)


def _table_tests(data: Tables, estimate: float) -> dict[str, ChiSquare]:
    """Tests of no association and of homogeneity."""
    n1i, n2i, events = data.n1i, data.n2i, data.ai + data.ci
    ni = n1i + n2i
    # a - n1 (a + c) / N
    difference = total((data.ai * data.di - data.bi * data.ci) / ni)
    cells = n1i / ni * (n2i / ni) * (events * ((data.bi + data.di) / ni))
    cochran, hypergeometric = total(cells), total(cells * (ni / (ni - 1)))
    found = {
        "cmh": _difference_test(difference, hypergeometric, 0.0),
        "cmh_corrected": _difference_test(difference, hypergeometric, 0.5),
        "cochran": _difference_test(difference, cochran, 0.0),
        "cochran_corrected": _difference_test(difference, cochran, 0.5),
    }
    if not math.isnan(estimate):
        found["breslow_day"], found["tarone"] = _homogeneity(data, math.exp(estimate))
    return found


def _rate_tests(data: Rates) -> dict[str, ChiSquare]:
    """Test of no association."""
    f1, f2 = data.t1i / (data.t1i + data.t2i), data.t2i / (data.t1i + data.t2i)
    difference = total(data.x1i * f2 - data.x2i * f1)
    variance = total((data.x1i + data.x2i) * f1 * f2)
    return {
        "cmh": _difference_test(difference, variance, 0.0),
        "cmh_corrected": _difference_test(difference, variance, 0.5),
    }


def _q(yi: Floats, vi: Floats, estimate: float) -> tuple[ChiSquare, int]:
    """Q around the estimate, and the number of effects that could not enter."""
    usable = np.isfinite(yi) & np.isfinite(vi) & (vi > 0)
    if math.isnan(estimate):
        return ChiSquare(NAN, max(0, int(usable.sum()) - 1), NAN), int((~usable).sum())
    statistic = total((yi[usable] - estimate) ** 2 / vi[usable])
    return chi_square(statistic, int(usable.sum()) - 1), int((~usable).sum())


def _notes(
    measure: str,
    data: Tables | Rates,
    pooled: _Pooled,
    labels: Sequence[str],
    correction: Correction,
    q_correction: Correction,
) -> list[str]:
    notes = [pooled.why] if pooled.why else []
    silent, empty = ~pooled.informative, data.one_outcome
    if silent.any():
        notes.append(
            f"{counted(silent)} without information about a ratio, weight 0: "
            f"{listed(silent, labels)}"
        )
    elif empty.any() and measure in ("RD", "IRD"):
        notes.append(
            f"{counted(empty)} with one outcome only in both groups: a difference of 0 that "
            f"counts with its full weight: {listed(empty, labels)}"
        )
    if (changed := corrected_studies(data, correction)).any():
        notes.append(
            f"{correction.add:g} added to each cell before pooling in "
            f"{counted(changed)}: {listed(changed, labels)}"
        )
    in_q = corrected_studies(data, q_correction) & ~empty
    if in_q.any() and not math.isnan(pooled.estimate):
        notes.append(f"Q (not the estimate) with {q_correction.add:g} added in {counted(in_q)}")
    return notes


def _result(
    measure: str,
    data: Tables | Rates,
    pooled: _Pooled,
    effects: tuple[Floats, Floats],
    tests: dict[str, ChiSquare],
    level: float,
    notes: list[str],
) -> MantelHaenszel:
    k = int(pooled.informative.sum())
    se = math.sqrt(pooled.vi) if pooled.vi > 0 else NAN
    if not math.isnan(pooled.estimate) and math.isnan(se):
        notes.append(
            "standard error not estimable: the data show no sampling variation (no events, or "
            "events only, in every group)"
        )
    if k == 1:
        notes.append("k = 1: one informative study, nothing is pooled")
    q, lost = _q(*effects, pooled.estimate)
    if missing := lost - int(data.one_outcome.sum()):
        notes.append(f"Q without {missing} effects that have no variance")
    weight = total(pooled.weights)
    weights = np.full(data.k, NAN)
    if weight > 0 and not math.isnan(pooled.estimate):
        weights = 100 * (pooled.weights / weight)
    weights.setflags(write=False)
    defined = q.df > 0 and not math.isnan(q.statistic)
    surplus = q.statistic > q.df
    return MantelHaenszel(
        measure=measure,
        estimate=wald(
            model="common",
            method="MH",
            test="z",
            k=k,
            estimate=pooled.estimate,
            se=se,
            level=level,
            notes=tuple(notes),
        ),
        k_total=data.k,
        informative=pooled.informative,
        weights=weights,
        q=q,
        i2=(100 * (q.statistic - q.df) / q.statistic if surplus else 0.0) if defined else NAN,
        h2=q.statistic / q.df if defined else NAN,
        notes=tuple(notes),
        **tests,
    )


def mantel_haenszel(
    measure: str,
    ai: Floats,
    bi: Floats,
    ci: Floats,
    di: Floats,
    *,
    level: float = 0.95,
    labels: Sequence[str] | None = None,
    rd_variance: str = "Sato",
    correction: Correction = NO_CORRECTION,
    q_correction: Correction = HALF,
) -> MantelHaenszel:
    """Mantel-Haenszel estimate of a common OR, RR (both log) or RD from 2x2 tables.

    With N = n1 + n2: OR = sum(ad/N) / sum(bc/N), RR = sum(a n2/N) / sum(c n1/N), RD =
    sum(ad/N - bc/N) / sum(n1 n2/N) (Mantel & Haenszel 1959, doi:10.1093/jnci/22.4.719;
    Greenland & Robins 1985, doi:10.2307/2530643). Variances: Robins, Breslow & Greenland 1986
    (doi:10.2307/2531052), Greenland & Robins 1985, Sato 1989 (Biometrics 45(4), 1323-1324).
    These hold for few large as for many small studies.

    Parameters
    ----------
    measure : OR, RR or RD.
    ai, bi, ci, di : (k,) counts; events and non-events of group 1, then of group 2. Fractions,
        as of an arm divided between comparisons, are taken as they are.
    level : of the interval, as a fraction.
    labels : names of the studies for the notes.
    rd_variance : of the risk difference: ``Sato``, as metafor, or ``GR`` (Greenland & Robins
        1985), as RevMan 5 and R's package meta, which needs large groups.
    correction : of the tables before pooling; none by default.
    q_correction : of the tables from which Q is computed.

    Raises
    ------
    ValueError
        Impossible counts, an unknown measure or correction, a level outside 0 to 1.
    """
    if measure not in TABLE_METHODS:
        raise ValueError(f"measure must be one of {', '.join(TABLE_METHODS)}, not {measure!r}")
    if rd_variance not in RD_VARIANCES:
        raise ValueError(f"rd_variance must be one of {', '.join(RD_VARIANCES)}")
    _check_level(level)
    data = tables(ai, bi, ci, di, whole=False)
    labels = names(labels, data.k)
    used = correct_tables(data, correction)
    pooled = TABLE_METHODS[measure](used, rd_variance)
    for_q = correct_tables(data, q_correction)
    with np.errstate(divide="ignore", invalid="ignore"):  # zero cells: infinite or nan
        yi, vi = _table_effects(measure, for_q)
    yi = np.where(data.one_outcome, NAN, yi)
    tests = _table_tests(used, pooled.estimate) if measure == "OR" else {}
    notes = _notes(measure, data, pooled, labels, correction, q_correction)
    return _result(measure, data, pooled, (yi, vi), tests, level, notes)


def mantel_haenszel_rates(
    measure: str,
    x1i: Floats,
    t1i: Floats,
    x2i: Floats,
    t2i: Floats,
    *,
    level: float = 0.95,
    labels: Sequence[str] | None = None,
    correction: Correction = NO_CORRECTION,
    q_correction: Correction = HALF,
) -> MantelHaenszel:
    """Mantel-Haenszel estimate of a common IRR (log) or IRD from events and person-time.

    With T = t1 + t2: IRR = sum(x1 t2/T) / sum(x2 t1/T), IRD = sum((x1 t2 - x2 t1)/T) /
    sum(t1 t2/T), with the variances of Greenland & Robins (1985, doi:10.2307/2530643); test of
    no association as in Rothman, Greenland & Lash (2008, Modern Epidemiology, ch. 15).

    Parameters
    ----------
    measure : IRR or IRD.
    x1i, t1i, x2i, t2i : (k,) numbers of events, and person-time in any one unit.
    level, labels, correction, q_correction : as for `mantel_haenszel`; a correction adds to the
        events only.

    Raises
    ------
    ValueError
        Impossible numbers, an unknown measure or correction, a level outside 0 to 1.
    """
    if measure not in RATE_METHODS:
        raise ValueError(f"measure must be one of {', '.join(RATE_METHODS)}, not {measure!r}")
    _check_level(level)
    data = rates(x1i, t1i, x2i, t2i)
    labels = names(labels, data.k)
    used = correct_rates(data, correction)
    pooled = RATE_METHODS[measure](used)
    for_q = correct_rates(data, q_correction)
    with np.errstate(divide="ignore", invalid="ignore"):  # zero events: infinite or nan
        yi, vi = _rate_effects(measure, for_q)
    yi = np.where(data.one_outcome, NAN, yi)
    tests = _rate_tests(used) if measure == "IRR" else {}
    notes = _notes(measure, data, pooled, labels, correction, q_correction)
    return _result(measure, data, pooled, (yi, vi), tests, level, notes)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
