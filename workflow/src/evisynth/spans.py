"""Which values the rounding of a printed number allows; free of numpy, so cheap to ask."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from evisynth.printed import Printed, parse_printed

Span = tuple[float, float]
# Whole by nature, declared, or taken into account where counts are derived from them.
EXACT = frozenset(
    "xi ni ai bi ci di n1i n2i x1i x2i events eventsi n_ai n_bi n_a1i n_a2i n_b1i n_b2i "
    "ci_level direction pcti pct1i pct2i".split()
)


def half_unit(text: str) -> Fraction:
    """Half a unit of the last digit that is printed.

    >>> half_unit("0.50"), half_unit("12"), half_unit("1.5e-3")
    (Fraction(1, 200), Fraction(1, 2), Fraction(1, 20000))
    """
    mantissa, _, power = text.strip().lower().rstrip("%").partition("e")
    decimals = len(mantissa.replace("·", ".").partition(".")[2].strip())
    return Fraction(10) ** (int(power or 0) - decimals) / 2


def span(text: str, factor: Fraction = Fraction(1), decimals: int = 0) -> Span:
    """Lowest and highest value that is rounded to a printed number, times `factor`.

    Parameters
    ----------
    decimals : that the number has at least, where zeros at its end were dropped.
    """
    half = min(half_unit(text), Fraction(1, 2 * 10**decimals) if decimals else half_unit(text))
    value = Fraction(Decimal(repr(parse_printed(text).value)))
    return float((value - half) * factor), float((value + half) * factor)


def inverted(ends: Span) -> Span:
    """The span of the reciprocal of a positive number; of one that may be 0, none."""
    return (1 / ends[1], 1 / ends[0]) if ends[0] > 0 else ends


def counts_of(percent: Printed, n: int) -> tuple[float, ...]:
    """Numbers of events among `n` that round to a printed percentage, half up or half even."""
    half = half_unit(percent.text.lstrip("<>≤≥= "))
    value = Fraction(Decimal(repr(percent.value)))
    near = round(value * n / 100)
    width = int(half * n / 100) + 1
    return tuple(
        float(events)
        for events in range(max(0, near - width), min(n, near + width) + 1)
        if abs(Fraction(100 * events, n) - value) <= half
    )


def spans_of_table(
    rows: Sequence[Mapping[str, str]], exact: Collection[str] = ()
) -> list[dict[str, Span]]:
    """Spans of the numbers of a table, a mapping for each of `rows` (field to text).

    A program that writes a table drops zeros at the end of decimals. Where no cell of a column
    ends in such a zero, cells with fewer decimals than most are taken to have lost them.

    Parameters
    ----------
    exact : further fields that are not rounded.
    """
    fields = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if name not in EXACT and name not in exact
    ]
    found: list[dict[str, Span]] = [{} for _ in rows]
    for name in fields:
        cells = [row.get(name, "") for row in rows]
        decimals = _dropped(cells)
        for ends, cell in zip(found, cells, strict=True):
            printed = _number(cell)
            if printed is not None and printed.relation in ("", "="):
                ends[name] = span(cell.lstrip("= "), decimals=decimals)
    return found


def _number(text: str) -> Printed | None:
    try:
        return parse_printed(text)
    except ValueError:
        return None


def _dropped(cells: Sequence[str]) -> int:
    """Decimals that most cells have, if none ends in a zero after the point; else 0."""
    printed = [found for cell in cells if (found := _number(cell))]
    if any(found.decimals and found.text.rstrip("% ").endswith("0") for found in printed):
        return 0
    often = Counter(found.decimals for found in printed if found.decimals)
    return max(often, key=lambda decimals: (often[decimals], decimals), default=0)
