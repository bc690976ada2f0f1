"""Counts from percentages, and fourfold tables from margins and a printed effect.

A printed number stands for all numbers that round to it. Counts are derived only where exactly
one whole number, or one table of whole numbers, rounds to everything that is printed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from evisynth.conversions.distributions import normal_half_width
from evisynth.printed import Printed, parse_printed

Effect = Literal["OR", "RR", "RD", "PHI"]
Table = tuple[int, int, int, int]

MOST_LISTED = 10
LARGEST_GROUP = 200_000
LARGEST_N = 1e12
# So few tables are sooner tried than searched.
FEW = 16
DI_PIETRANTONJ = "Di Pietrantonj 2006"


@dataclass(frozen=True, slots=True)
class Rounded:
    """All numbers that round to a printed one, as exact fractions, ends included."""

    low: Fraction
    high: Fraction

    def holds(self, value: Fraction) -> bool:
        """Whether a number rounds to the printed one."""
        return self.low <= value <= self.high


def rounded(number: str | float) -> Rounded:
    """What a printed number stands for; of a number as such, as many digits as it has.

    Half a unit of the last digit to either side, ends included, so that it does not matter how
    halves were rounded. ``30`` and ``30.0`` differ as texts; a number has lost its last zeros,
    which makes the set larger but never wrong. ValueError for a bound such as ``<1%``.
    """
    if isinstance(number, str):
        printed = parse_printed(number)
        if printed.relation not in ("", "="):
            raise ValueError(f"{number.strip()} is a bound, not a number")
        text = _plain(printed)
    else:
        text = repr(float(number))
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2].rstrip("" if isinstance(number, str) else "0"))
    value = Fraction(text)
    half = Fraction(1, 2) * Fraction(10) ** (int(exponent or 0) - decimals)
    if not isinstance(number, str):
        # A computed number has an error in its last binary digits, whatever it prints.
        half = max(half, 8 * Fraction(math.ulp(float(number))))
    return Rounded(value - half, value + half)


def _plain(printed: Printed) -> str:
    """The digits of a printed number without relation, percent sign and typographic signs."""
    signs = str.maketrans({"−": "-", "–": "-", "·": ".", "%": None, "=": None, " ": None})
    return "".join(printed.text.translate(signs).split())


def counts_from_percent(percent: str | float, n: float) -> range:
    """All whole numbers of n that round to the printed percentage (``30.2%``, ``30.2``).

    ValueError for a bound, or n that is not whole, below 1 or above 10^12.
    """
    if not (1 <= n <= LARGEST_N and n == int(n)):
        raise ValueError(f"n is {n:.15g}; expected a whole number, 1 to {LARGEST_N:g}")
    size = int(n)
    wanted = rounded(percent)
    low = max(math.ceil(wanted.low * size / 100), 0)
    high = min(math.floor(wanted.high * size / 100), size)
    return range(low, high + 1)


def count_from_percent(percent: str | float, n: float) -> tuple[float, tuple[str, ...]]:
    """The one count that rounds to a percentage of n; nan with the candidates otherwise."""
    found = counts_from_percent(percent, n)
    if len(found) == 1:
        return float(found[0]), ()
    text = percent.strip() if isinstance(percent, str) else f"{percent:.15g}"
    said = text if text.endswith("%") else f"{text}%"
    if not found:
        return math.nan, (f"no whole number of {n:.0f} rounds to {said}",)
    return math.nan, (
        f"{len(found)} whole numbers of {n:.0f} round to {said}: {listed(found)}",
    )


def listed(items: Sequence[object]) -> str:
    """The first items of a list, and that there are more."""
    shown = ", ".join(map(str, items[:MOST_LISTED]))
    return shown + (", ..." if len(items) > MOST_LISTED else "")


def effect_of(effect: Effect, table: Table) -> Fraction | None:
    """Odds ratio, risk ratio or risk difference of a table, exactly; None where undefined."""
    a, b, c, d = table
    if effect == "OR":
        return Fraction(a * d, b * c) if b * c else None
    if effect == "RR":
        return Fraction(a * (c + d), c * (a + b)) if c else None
    return Fraction(a, a + b) - Fraction(c, c + d)


def phi_fits(table: Table, wanted: Rounded) -> bool:
    """Whether the phi coefficient of a table rounds to the printed one, exactly."""
    a, b, c, d = table
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return False
    difference = a * d - b * c
    square = Fraction(difference * abs(difference), margins)
    return wanted.low * abs(wanted.low) <= square <= wanted.high * abs(wanted.high)


def fits(effect: Effect, table: Table, wanted: Rounded) -> bool:
    """Whether a table's effect rounds to the printed one."""
    if effect == "PHI":
        return phi_fits(table, wanted)
    value = effect_of(effect, table)
    return value is not None and wanted.holds(value)


def variance_of(effect: Effect, table: Table) -> float:
    """Large-sample variance of the log odds ratio, log risk ratio or risk difference.

    Infinite where a cell that must not be 0 is.
    """
    a, b, c, d = table
    n1, n2 = a + b, c + d
    if effect == "RD":
        return a * b / n1**3 + c * d / n2**3
    if a == 0 or c == 0 or (effect == "OR" and (b == 0 or d == 0)):
        return math.inf
    if effect == "RR":
        return b / (a * n1) + d / (c * n2)
    return 1 / a + 1 / b + 1 / c + 1 / d


def tables_from_margins(
    effect: Effect, value: str | float, n1: int, n2: int, events: int
) -> tuple[Table, ...]:
    """All tables with these group sizes and events in all whose effect rounds to `value`.

    The effect rises with the events of group 1, so two searches by halving find the ends.
    ValueError for a bound such as ``<2`` and above a group size of 200,000.
    """
    _check_sizes(n1, n2)
    wanted = rounded(value)
    low, high = max(0, events - n2), min(n1, events)

    def table(a: int) -> Table:
        return a, n1 - a, events - a, n2 - events + a

    def below(a: int) -> bool:
        return _compare(effect, table(a), wanted.low) < 0

    def not_above(a: int) -> bool:
        return _compare(effect, table(a), wanted.high) <= 0

    first, last = _first_false(below, low, high), _first_false(not_above, low, high)
    return tuple(table(a) for a in range(first, last) if fits(effect, table(a), wanted))


def _check_sizes(n1: int, n2: int) -> None:
    if not (1 <= n1 <= LARGEST_GROUP and 1 <= n2 <= LARGEST_GROUP):
        raise ValueError(f"groups of {n1} and {n2}; expected 1 to {LARGEST_GROUP}")


def _compare(effect: Effect, table: Table, bound: Fraction) -> int:
    """Sign of effect - bound; where the effect is undefined, that of its limit."""
    a, b, c, d = table
    if effect == "OR":
        return _sign(a * d - bound * b * c)
    if effect == "RR":
        return _sign(a * (c + d) - bound * c * (a + b))
    if effect == "RD":
        return _sign(Fraction(a, a + b) - Fraction(c, c + d) - bound)
    difference = a * d - b * c
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    return _sign(difference * abs(difference) - bound * abs(bound) * margins)


def _sign(value: Fraction | int) -> int:
    return (value > 0) - (value < 0)


def _first_false(test: Callable[[int], bool], low: int, high: int) -> int:
    """First whole number from low on for which a test that turns false once is false."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if test(middle) else (low, middle)
    return low


def nearest_table(effect: Effect, value: float, n1: int, n2: int, events: int) -> Table | None:
    """The table whose events of group 1 are the exact real solution, rounded (Bonett 2007).

    As metafor's conv.2x2 does; it need not be the only table that fits, and its effect need not
    round to the printed one. None if the effect is impossible with these margins.
    """
    low, high = float(max(0, events - n2)), float(min(n1, events))
    bound = Fraction(value)
    if effect == "PHI":
        root = value * math.sqrt(n1 * n2 * events * (n1 + n2 - events))
        a = (root + n1 * events) / (n1 + n2)
    else:
        # a solves a monotone equation between whole numbers; halve the real interval.
        a = _real_root(
            lambda x: _compare_real(effect, x, n1, n2, events, float(bound)), low, high
        )
    if not low - 0.5 < a < high + 0.5 or math.isnan(a):
        return None
    whole = math.floor(a + 0.5)
    table = (whole, n1 - whole, events - whole, n2 - events + whole)
    return table if min(table) >= 0 else None


def _compare_real(
    effect: Effect, a: float, n1: int, n2: int, events: int, bound: float
) -> float:
    b, c, d = n1 - a, events - a, n2 - events + a
    if effect == "OR":
        return a * d - bound * b * c
    if effect == "RR":
        return a * n2 - bound * c * n1
    return a / n1 - c / n2 - bound


def _real_root(function: Callable[[float], float], low: float, high: float) -> float:
    if function(low) > 0 or function(high) < 0:
        return math.nan
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def tables_from_interval(
    effect: Effect,
    value: str | float,
    low: str | float,
    high: str | float,
    n1: int,
    n2: int,
    *,
    level: float = 0.95,
) -> tuple[Table, ...]:
    """All tables with these group sizes whose effect and Wald interval round to the printed.

    Di Pietrantonj (2006), doi:10.1002/sim.2287, solves for the two tables with the printed
    odds ratio and standard error; rounding makes these two sets of tables, and all of their
    members are found here. OR and RR with the interval on the log scale, RD on its own; without
    continuity correction, so tables without an empty cell. z is exact or, as often in print,
    rounded to 1.96. ValueError above a group size of 200,000.
    """
    _check_sizes(n1, n2)
    wanted, lower, upper = rounded(value), rounded(low), rounded(high)
    exact = normal_half_width(level)
    quantiles = (exact, round(exact, 2))
    spread = _variance_window(effect, lower, upper, quantiles)
    found = []
    for a in range(n1 + 1):
        for c in _candidates(effect, a, n1, n2, wanted, spread):
            table = (a, n1 - a, c, n2 - c)
            if fits(effect, table, wanted) and any(
                _interval_fits(effect, table, lower, upper, z) for z in quantiles
            ):
                found.append(table)
    return tuple(found)


def _variance_window(
    effect: Effect, lower: Rounded, upper: Rounded, quantiles: Sequence[float]
) -> tuple[float, float]:
    """Least and largest variance that the printed interval allows, with a margin."""
    ends = [float(end) for end in (lower.low, lower.high, upper.low, upper.high)]
    if effect != "RD":
        ends = [math.log(end) if end > 0 else -math.inf for end in ends]
    if ends[3] == -math.inf:  # a ratio's interval that ends below 0
        return 1.0, 0.0
    narrow = max(ends[2] - ends[1], 0.0) / (2 * max(quantiles)) if ends[1] > -math.inf else 0.0
    wide = (ends[3] - ends[0]) / (2 * min(quantiles))
    margin = 1e-9
    return narrow**2 * (1 - margin), wide**2 * (1 + margin)


def _candidates(
    effect: Effect, a: int, n1: int, n2: int, wanted: Rounded, spread: tuple[float, float]
) -> Iterator[int]:
    """Events of group 2 that may fit, given those of group 1; a few too many, none too few.

    The effect falls with c, which leaves one stretch; the variance, of one hump or hollow, then
    leaves at most two short ones of it.
    """
    b = n1 - a
    risk = a / n1
    if effect == "RD":
        ends = [(risk - float(bound)) * n2 for bound in (wanted.high, wanted.low)]
    elif effect == "RR":
        if wanted.high <= 0:
            return
        ends = [risk * n2 / float(wanted.high), _divided(risk * n2, float(wanted.low))]
    else:
        if wanted.high <= 0 or b == 0:
            return
        odds = [a / b / float(wanted.high), _divided(a / b, float(wanted.low))]
        ends = [n2 * (o / (1 + o) if math.isfinite(o) else 1.0) for o in odds]
    first = max(math.floor(min(ends[0], n2)) - 1, 0)
    last = min(math.ceil(min(ends[1], n2)) + 1, n2)
    if first > last:
        return
    if last - first < FEW:
        yield from range(first, last + 1)
        return
    yield from _where_variance(effect, a, b, n2, first, last, spread)


def _divided(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.inf


def _where_variance(
    effect: Effect,
    a: int,
    b: int,
    n2: int,
    first: int,
    last: int,
    spread: tuple[float, float],
) -> Iterator[int]:
    """Those of first..last at which the variance is within `spread`, by halving."""
    turn = n2 // 2
    least, most = spread

    def variance(c: int) -> float:
        return variance_of(effect, (a, b, c, n2 - c))

    for low, high in ((first, min(last, turn)), (max(first, turn + 1), last)):
        if low > high:
            continue
        if variance(low) <= variance(high):
            start = _first_false(lambda c: variance(c) < least, low, high)
            stop = _first_false(lambda c: variance(c) <= most, low, high)
        else:
            start = _first_false(lambda c: variance(c) > most, low, high)
            stop = _first_false(lambda c: variance(c) >= least, low, high)
        yield from range(start, stop)


def _interval_fits(
    effect: Effect, table: Table, lower: Rounded, upper: Rounded, z: float
) -> bool:
    variance = variance_of(effect, table)
    value = effect_of(effect, table)
    if value is None or not math.isfinite(variance) or (effect != "RD" and value <= 0):
        return False
    half = z * math.sqrt(variance)
    low, high = (
        (float(value) - half, float(value) + half)
        if effect == "RD"
        else (float(value) * math.exp(-half), float(value) * math.exp(half))
    )
    return lower.holds(Fraction(low)) and upper.holds(Fraction(high))
