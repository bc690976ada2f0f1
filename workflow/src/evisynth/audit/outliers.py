"""Rows of a table far from the others: displaced points, wrong columns, wrong signs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from evisynth.audit.expected import odds_ratio
from evisynth.audit.material import TableMaterial
from evisynth.audit.records import Check, Rule
from evisynth.audit.rounding import figure
from evisynth.conversions.distributions import normal_half_width
from evisynth.printed import Printed

FEWEST_ROWS = 8
# Robust deviations from the median of the table; one in two million of normal ones.
FAR = 5.0
Z = normal_half_width(0.95)

Row = Mapping[str, Printed]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is compared between the rows of a table.

    Attributes
    ----------
    name : in words.
    fields : columns that are in doubt if it is far out.
    values : by the index of the row; with the sampling variance that the row gives it.
    floor : least robust standard deviation, so that very even tables do not raise alarms.
    least : distance from the median below which nothing is said.
    logarithm : whether the values are logarithms, for printing.
    """

    name: str
    fields: tuple[str, ...]
    values: Mapping[int, tuple[float, float]]
    floor: float
    least: float
    logarithm: bool


def outlier(table: TableMaterial) -> Iterator[Check]:
    """Effects, spreads and sizes against those of the other rows."""
    rows = [row for *_, row in table.numbered]
    far: set[int] = set()
    for quantity in quantities(rows, table.on_log_scale):
        if len(quantity.values) < FEWEST_ROWS:
            continue
        values = [value for value, _ in quantity.values.values()]
        centre = median(values)
        scale = 1.4826 * median(abs(value - centre) for value in values)
        scale = max(scale, quantity.floor)
        for index, (value, variance) in quantity.values.items():
            away = abs(value - centre)
            if away <= quantity.least or away <= FAR * math.sqrt(scale * scale + variance):
                continue
            far.add(index)
            line, number, study, row = table.numbered[index]
            said = ", ".join(f"{f} {row[f].text}" for f in quantity.fields if f in row)
            yield Check(
                table.place(line, number, study, *quantity.fields),
                "inconsistent",
                said,
                f"{quantity.name} {_shown(value, quantity)}, "
                f"median of the table {_shown(centre, quantity)}",
                f"the {quantity.name} is far from that of all other rows",
                "look it up in the report: a displaced point, a wrong column or sign",
            )
    if len(rows) >= FEWEST_ROWS:
        for index, (line, number, study, _) in enumerate(table.numbered):
            if index not in far:
                place = table.place(line, number, study)
                yield Check(place, "consistent", explanation="not far from the other rows")


def _shown(value: float, quantity: Quantity) -> str:
    return figure(math.exp(min(value, 700.0)) if quantity.logarithm else value)


def quantities(rows: Sequence[Row], on_log: bool) -> Iterator[Quantity]:
    """What can be compared in these rows."""
    odds = {
        i: (variants[-1].value, variants[-1].ses[0] ** 2)
        for i, row in enumerate(rows)
        if (variants := tuple(odds_ratio(row))[:2])
    }
    yield Quantity("odds ratio", ("ai", "n1i", "ci", "n2i"), odds, 0.3, math.log(8), True)
    yield Quantity(
        "ratio of the group sizes", ("n1i", "n2i"), _ratios(rows, "n1i", "n2i"), 0.15,
        math.log(8), True,
    )  # fmt: skip
    for k, n in (("xi", "ni"), ("ai", "n1i"), ("ci", "n2i")):
        yield Quantity("odds", (k, n), _odds(rows, k, n), 0.5, math.log(20), True)
    yield Quantity("effect", ("yi", "estimate"), _effects(rows, on_log), 0.1, 0.3, False)
    spreads, sized = _standard_errors(rows)
    if sized:
        yield Quantity(
            "standard error times the root of n", ("sei", "vi"), spreads, 0.1,
            math.log(2.5), True,
        )  # fmt: skip
    else:
        yield Quantity("standard error", ("sei", "vi"), spreads, 0.3, math.log(8), True)
    yield Quantity("ratio of the means", ("m1i", "m2i"), _ratios(rows, "m1i", "m2i"), 0.15,
                   math.log(4), True)  # fmt: skip
    yield Quantity("ratio of the standard deviations", ("sd1i", "sd2i"),
                   _ratios(rows, "sd1i", "sd2i"), 0.15, math.log(4), True)  # fmt: skip
    for m, sd in (("m1i", "sd1i"), ("m2i", "sd2i"), ("mi", "sdi")):
        shares = _ratios(rows, sd, m)
        yield Quantity("ratio of SD and mean", (m, sd), shares, 0.2, math.log(8), True)
    yield Quantity("correlation (Fisher's z)", ("ri",), _correlations(rows), 0.1, 0.4, False)


def _ratios(rows: Sequence[Row], one: str, two: str) -> dict[int, tuple[float, float]]:
    """Logarithms of ratios of sizes; of either sign, for what is zero there is none."""
    return {
        i: (math.log(abs(row[one].value / row[two].value)), 0.0)
        for i, row in enumerate(rows)
        if one in row and two in row and row[one].value * row[two].value != 0
    }


def _odds(rows: Sequence[Row], events: str, size: str) -> dict[int, tuple[float, float]]:
    found = {}
    for i, row in enumerate(rows):
        if events in row and size in row and 0 <= row[events].value <= row[size].value:
            k = row[events].value + 0.5
            rest = row[size].value - row[events].value + 0.5
            found[i] = (math.log(k / rest), 1 / k + 1 / rest)
    return found


def _effects(rows: Sequence[Row], on_log: bool) -> dict[int, tuple[float, float]]:
    found = {}
    for i, row in enumerate(rows):
        if "yi" in row and ("sei" in row or "vi" in row):
            variance = row["vi"].value if "vi" in row else row["sei"].value ** 2
            found[i] = (row["yi"].value, max(variance, 0.0))
        elif all(name in row for name in ("estimate", "ci_low", "ci_high")):
            value, low, high = (row[name].value for name in ("estimate", "ci_low", "ci_high"))
            if on_log:
                if not 0 < low < high or value <= 0:
                    continue
                value, low, high = math.log(value), math.log(low), math.log(high)
            found[i] = (value, ((high - low) / (2 * Z)) ** 2)
    return found


def _size(row: Row) -> float:
    if "n1i" in row and "n2i" in row:
        n1, n2 = row["n1i"].value, row["n2i"].value
        return 4 / (1 / n1 + 1 / n2) if n1 > 0 and n2 > 0 else 0.0
    return row["ni"].value if "ni" in row else 0.0


def _standard_errors(
    rows: Sequence[Row],
) -> tuple[dict[int, tuple[float, float]], bool]:
    """Logarithms of standard errors, times the root of n where all rows have one."""
    errors = {}
    for i, row in enumerate(rows):
        if "sei" in row and row["sei"].value > 0:
            errors[i] = math.log(row["sei"].value)
        elif "vi" in row and row["vi"].value > 0:
            errors[i] = math.log(row["vi"].value) / 2
    sized = bool(errors) and all(_size(rows[i]) > 0 for i in errors)
    return {
        i: (value + (math.log(_size(rows[i])) / 2 if sized else 0.0), 0.0)
        for i, value in errors.items()
    }, sized


def _correlations(rows: Sequence[Row]) -> dict[int, tuple[float, float]]:
    return {
        i: (math.atanh(row["ri"].value), 1 / (row["ni"].value - 3))
        for i, row in enumerate(rows)
        if "ri" in row and "ni" in row and -1 < row["ri"].value < 1 and row["ni"].value > 3
    }


RULES = (
    Rule(
        "OUTLIER",
        "warning",
        "table",
        "In a table of 8 rows or more: an effect, a standard error for its n, a ratio of group "
        "sizes, means or spreads is more than 5 robust standard deviations (1.4826 MAD, with "
        "the row's own sampling variance) from the median of the rows.",
        outlier,
        "Leys et al. (2013), J Exp Soc Psychol 49(4):764-766, doi:10.1016/j.jesp.2013.03.013",
    ),
)
