"""Effects and standard errors that follow from the counts, means or correlations of a row.

Formulas as in the Cochrane Handbook, chapters 6 and 10, and in metafor's escalc; every variant
that is in use counts, because the question is whether any of them gives what is printed.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from evisynth.audit.rounding import unit
from evisynth.printed import Printed

Row = Mapping[str, Printed]

# The smallest sample of which the sampling variance of a standardised difference exists.
FEWEST_DF = 3


@dataclass(frozen=True, slots=True)
class Expected:
    """One variant.

    Attributes
    ----------
    value : effect on the analysis scale.
    slack : how far the rounding of means and standard deviations may move it.
    ses : standard errors by the formulas in use.
    se_slack : the share by which rounding may move these.
    df : degrees of freedom of a t interval; 0 where there is none.
    """

    value: float
    ses: tuple[float, ...]
    slack: float = 0.0
    se_slack: float = 0.0
    df: int = 0


Source = Callable[[Row], Iterator[Expected]]


def _cells(row: Row) -> tuple[float, float, float, float] | None:
    """Counts a b c d of a fourfold table; None where they are not given or cannot be."""
    found = []
    for events, others, total in (("ai", "bi", "n1i"), ("ci", "di", "n2i")):
        if events not in row:
            return None
        k = row[events].value
        if total in row:
            rest = row[total].value - k
        elif others in row:
            rest = row[others].value
        else:
            return None
        if k < 0 or rest < 0 or k + rest == 0:
            return None
        found += [k, rest]
    return found[0], found[1], found[2], found[3]


def _corrected(
    cells: tuple[float, float, float, float],
) -> Iterator[tuple[float, float, float, float]]:
    """The table, and with the usual additions for zero cells (Sweeting et al. 2004)."""
    a, b, c, d = cells
    if min(cells) > 0:
        yield cells
    yield a + 0.5, b + 0.5, c + 0.5, d + 0.5
    if min(cells) == 0:
        share = (c + d) / (a + b + c + d)
        yield a + 1 - share, b + 1 - share, c + share, d + share


def odds_ratio(row: Row) -> Iterator[Expected]:
    """Log odds ratio, Woolf's standard error."""
    cells = _cells(row)
    for a, b, c, d in _corrected(cells) if cells else ():
        yield Expected(math.log(a * d / (b * c)), (math.sqrt(1 / a + 1 / b + 1 / c + 1 / d),))


def risk_ratio(row: Row) -> Iterator[Expected]:
    """Log risk ratio; with zeros half an event more, of sizes one or a half more."""
    cells = _cells(row)
    if cells is None:
        return
    a, b, c, d = cells
    tables = [(a, a + b, c, c + d)] if a > 0 and c > 0 else []
    tables += [(a + 0.5, a + b + more, c + 0.5, c + d + more) for more in (1, 0.5)]
    tables += [(x[0], x[0] + x[1], x[2], x[2] + x[3]) for x in list(_corrected(cells))[2:]]
    for k1, n1, k2, n2 in tables:
        variance = 1 / k1 - 1 / n1 + 1 / k2 - 1 / n2
        yield Expected(math.log(k1 * n2 / (n1 * k2)), (math.sqrt(max(variance, 0.0)),))


def risk_difference(row: Row) -> Iterator[Expected]:
    """Risk difference."""
    cells = _cells(row)
    for a, b, c, d in [cells, *_corrected(cells)] if cells else ():
        n1, n2 = a + b, c + d
        variance = a * b / n1**3 + c * d / n2**3
        yield Expected(a / n1 - c / n2, (math.sqrt(variance),))


def arcsine_difference(row: Row) -> Iterator[Expected]:
    """Difference of arcsine roots."""
    cells = _cells(row)
    if cells:
        a, b, c, d = cells
        n1, n2 = a + b, c + d
        value = math.asin(math.sqrt(a / n1)) - math.asin(math.sqrt(c / n2))
        yield Expected(value, (math.sqrt(0.25 / n1 + 0.25 / n2),))


def peto(row: Row) -> Iterator[Expected]:
    """Peto's log odds ratio."""
    cells = _cells(row)
    if cells:
        a, b, c, d = cells
        n1, n2, total = a + b, c + d, a + b + c + d
        events = a + c
        if total > 1 and 0 < events < total:
            variance = n1 * n2 * events * (total - events) / (total**2 * (total - 1))
            yield Expected((a - n1 * events / total) / variance, (variance**-0.5,))


def rate_ratio(row: Row) -> Iterator[Expected]:
    """Log ratio of two rates."""
    if all(name in row for name in ("x1i", "t1i", "x2i", "t2i")):
        x1, t1, x2, t2 = (row[name].value for name in ("x1i", "t1i", "x2i", "t2i"))
        if t1 <= 0 or t2 <= 0 or min(x1, x2) < 0:
            return
        for more in (0.0, 0.5):
            if min(x1, x2) + more > 0:
                value = math.log((x1 + more) * t2 / ((x2 + more) * t1))
                yield Expected(value, (math.sqrt(1 / (x1 + more) + 1 / (x2 + more)),))


def _groups(row: Row) -> tuple[float, ...] | None:
    names = ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
    if not all(name in row for name in names) or "ri" in row:
        return None
    values = tuple(row[name].value for name in names)
    _, sd1, n1, _, sd2, n2 = values
    return values if min(sd1, sd2) > 0 and min(n1, n2) >= 2 else None


def _rounding(row: Row) -> tuple[float, float]:
    """Half units of the two means together; largest share that rounding moves an SD by."""
    means = (unit(row["m1i"]) + unit(row["m2i"])) / 2
    sds = max(unit(row[name]) / 2 / row[name].value for name in ("sd1i", "sd2i"))
    return means, sds


def mean_difference(row: Row) -> Iterator[Expected]:
    """Difference of means; separate or pooled variances."""
    values = _groups(row)
    if values:
        m1, sd1, n1, m2, sd2, n2 = values
        means, sds = _rounding(row)
        pooled = ((n1 - 1) * sd1**2 + (n2 - 1) * sd2**2) / (n1 + n2 - 2)
        ses = (
            math.sqrt(sd1**2 / n1 + sd2**2 / n2),
            math.sqrt(pooled * (1 / n1 + 1 / n2)),
        )
        yield Expected(m1 - m2, ses, means, sds, int(n1 + n2 - 2))


def standardised_difference(row: Row) -> Iterator[Expected]:
    """Cohen's d, Hedges' g with the exact or the approximate correction, Glass's delta."""
    values = _groups(row)
    if values is None:
        return
    m1, sd1, n1, m2, sd2, n2 = values
    means, sds = _rounding(row)
    total, df = n1 + n2, n1 + n2 - 2
    if df < FEWEST_DF:
        return
    exact = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
    pooled = math.sqrt(((n1 - 1) * sd1**2 + (n2 - 1) * sd2**2) / df)
    average = math.sqrt((sd1**2 + sd2**2) / 2)
    size = 1 / n1 + 1 / n2
    for sd in (pooled, average, sd2, sd1):
        d = (m1 - m2) / sd
        for factor in (exact, 1 - 3 / (4 * total - 9), 1.0):
            g = factor * d
            variances = (
                size + g * g / (2 * total),
                size + g * g / (2 * df),
                size + g * g / (2 * max(total - 3.94, 1.0)),
                factor**2 * (size + d * d / (2 * total)),
                factor**2 * (size + d * d / (2 * df)),
                size + (1 - (df - 2) / (df * exact**2)) * g * g,
                size + d * d / (2 * total),
                sd1**2 / sd**2 / n1 + sd2**2 / sd**2 / n2,
            )
            ses = tuple(math.sqrt(v) for v in variances if v > 0)
            yield Expected(g, ses, means / sd + abs(g) * sds, sds)


def ratio_of_means(row: Row) -> Iterator[Expected]:
    """Log ratio of means."""
    values = _groups(row)
    if values and values[0] * values[3] > 0:
        m1, sd1, n1, m2, sd2, n2 = values
        _, sds = _rounding(row)
        moved = unit(row["m1i"]) / 2 / abs(m1) + unit(row["m2i"]) / 2 / abs(m2)
        variance = sd1**2 / (n1 * m1**2) + sd2**2 / (n2 * m2**2)
        pooled = ((n1 - 1) * sd1**2 + (n2 - 1) * sd2**2) / (n1 + n2 - 2)
        other = pooled * (1 / (n1 * m1**2) + 1 / (n2 * m2**2))
        yield Expected(
            math.log(m1 / m2), (math.sqrt(variance), math.sqrt(other)), moved, sds + moved
        )


def _one_group(row: Row) -> tuple[float, float] | None:
    if "xi" not in row or "ni" not in row:
        return None
    k, n = row["xi"].value, row["ni"].value
    return (k, n) if 0 <= k <= n and n > 0 else None


def proportion(row: Row) -> Iterator[Expected]:
    """Proportion."""
    counts = _one_group(row)
    if counts:
        k, n = counts
        yield Expected(k / n, (math.sqrt(k * (n - k) / n**3),))


def logit(row: Row) -> Iterator[Expected]:
    """Logit of a proportion."""
    counts = _one_group(row)
    for more in (0.0, 0.5) if counts else ():
        k, n = counts or (0.0, 0.0)
        k, rest = k + more, n - k + more
        if k > 0 and rest > 0:
            yield Expected(math.log(k / rest), (math.sqrt(1 / k + 1 / rest),))


def arcsine(row: Row) -> Iterator[Expected]:
    """Arcsine root of a proportion."""
    counts = _one_group(row)
    if counts:
        k, n = counts
        yield Expected(math.asin(math.sqrt(k / n)), (math.sqrt(0.25 / n),))


def correlation(row: Row) -> Iterator[Expected]:
    """Correlation; Fisher's z is another measure."""
    if "ri" in row and "ni" in row and "m1i" not in row and -1 < row["ri"].value < 1:
        r, n = row["ri"].value, row["ni"].value
        if n > 2:
            moved = unit(row["ri"]) / 2
            ses = ((1 - r * r) / math.sqrt(n - 1), math.sqrt((1 - r * r) / (n - 2)))
            yield Expected(r, ses, moved, 2 * abs(r) * moved / (1 - r * r))


def fisher_z(row: Row) -> Iterator[Expected]:
    """Fisher's z of a correlation."""
    if "ri" in row and "ni" in row and "m1i" not in row and -1 < row["ri"].value < 1:
        r, n = row["ri"].value, row["ni"].value
        if n > 3:
            moved = unit(row["ri"]) / 2 / (1 - r * r)
            yield Expected(math.atanh(r), (1 / math.sqrt(n - 3),), moved)


def mean(row: Row) -> Iterator[Expected]:
    """Mean of one group."""
    if all(name in row for name in ("mi", "sdi", "ni")) and row["ni"].value > 1:
        m, sd, n = (row[name].value for name in ("mi", "sdi", "ni"))
        if sd > 0:
            half = unit(row["sdi"]) / 2 / sd
            yield Expected(m, (sd / math.sqrt(n),), unit(row["mi"]) / 2, half, int(n - 1))


SOURCES: dict[str, Source] = {
    "OR": odds_ratio,
    "RR": risk_ratio,
    "RD": risk_difference,
    "AS": arcsine_difference,
    "PETO": peto,
    "IRR": rate_ratio,
    "MD": mean_difference,
    "SMD": standardised_difference,
    "ROM": ratio_of_means,
    "PR": proportion,
    "PLO": logit,
    "PAS": arcsine,
    "COR": correlation,
    "ZCOR": fisher_z,
    "MN": mean,
}
SAME = {"SMDH": "SMD", "ROMBC": "ROM"}
"""Measures whose effects are near enough to another's to be looked for there."""


def _sine_root(p: float) -> float:
    return math.asin(math.sqrt(min(max(p, 0.0), 1.0)))


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _logit(p: float) -> float:
    if p <= 0:
        return -math.inf
    return math.log(p / (1 - p)) if p < 1 else math.inf


def _atanh(r: float) -> float:
    return math.atanh(r) if -1 < r < 1 else math.copysign(math.inf, r)


SCALES: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("OR", "RR", "PETO", "IRR", "ROM", "HR"), _log),
    "PLO": _logit,
    "PAS": _sine_root,
    "ZCOR": _atanh,
}
"""From the display to the analysis scale; measures that are not named are analysed as shown."""
