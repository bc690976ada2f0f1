"""What a printed number may have been before it was rounded: closed intervals, exact.

Half-up, half-even and half-down rounding all lie within the closed interval of half a unit of
the last digit either side, so none of them can cause a finding.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from evisynth.printed import Printed

_PLAIN = re.compile(r"[^0-9.eE+-]")
_SIGNS = str.maketrans("−–·", "--.")
# z = 1.96 for 1.95996, and a last digit that a program computed in another order.
SLACK = 1e-3


@dataclass(frozen=True, slots=True)
class Span:
    """A closed interval of real numbers."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Its middle."""
        return (self.low + self.high) / 2

    def meets(self, other: "Span") -> bool:
        """Whether the two have a number in common."""
        return self.low <= other.high and other.low <= self.high

    def holds(self, value: float, slack: float = 0.0) -> bool:
        """Whether `value` lies within it, or no farther out than `slack`."""
        return self.low - slack <= value <= self.high + slack

    def widened(self, share: float) -> "Span":
        """The interval with both ends moved out by a share of their size."""
        return Span(self.low - share * abs(self.low), self.high + share * abs(self.high))

    def through(self, function: Callable[[float], float]) -> "Span":
        """Image under an increasing function."""
        return Span(function(self.low), function(self.high))


@lru_cache(maxsize=65536)
def digits(printed: Printed) -> tuple[int, int]:
    """Integer `m` and number of decimals `d` of a printed number: its value is m / 10^d.

    >>> from evisynth.printed import parse_printed
    >>> digits(parse_printed("0.50")), digits(parse_printed("<1.2e-3"))
    ((50, 2), (12, 4))
    """
    number = Decimal(_PLAIN.sub("", printed.text.translate(_SIGNS)))
    sign, figures, exponent = number.as_tuple()
    value = int("".join(map(str, figures))) * (-1 if sign else 1)
    power = int(exponent)
    return (value * 10**power, 0) if power > 0 else (value, -power)


@lru_cache(maxsize=65536)
def unit(printed: Printed) -> float:
    """One unit of the last printed digit."""
    return 10.0 ** -digits(printed)[1]


@lru_cache(maxsize=65536)
def exact_bounds(printed: Printed) -> tuple[Fraction | None, Fraction | None]:
    """Bounds of what rounds to `printed`, both included; None where there is no bound.

    A printed ``<x`` is everything up to x, ``>x`` everything from x on.
    """
    value, decimals = digits(printed)
    scale = 10**decimals
    if printed.relation in ("<", "≤"):
        return None, Fraction(value, scale)
    if printed.relation in (">", "≥"):
        return Fraction(value, scale), None
    return Fraction(2 * value - 1, 2 * scale), Fraction(2 * value + 1, 2 * scale)


@lru_cache(maxsize=65536)
def span(printed: Printed) -> Span:
    """`exact_bounds` as floats, a hair wider than exact."""
    low, high = exact_bounds(printed)
    return Span(
        -math.inf if low is None else math.nextafter(float(low), -math.inf),
        math.inf if high is None else math.nextafter(float(high), math.inf),
    )


def safe_log(value: float) -> float:
    """Natural logarithm; minus infinity of what is not positive, as a rounded 0.00 may be."""
    return math.log(value) if value > 0 else -math.inf


def log_span(printed: Printed) -> Span:
    """Interval of the logarithm of a printed number."""
    return span(printed).through(safe_log)


def p_span(printed: Printed) -> Span:
    """Interval of a printed p-value, within 0 and 1."""
    whole = span(printed)
    return Span(min(max(whole.low, 0.0), 1.0), min(max(whole.high, 0.0), 1.0))


def rounding_counts(percent: Printed, n: int) -> range:
    """Integers k whose 100 k/n may print as `percent`, in exact arithmetic.

    >>> from evisynth.printed import parse_printed
    >>> rounding_counts(parse_printed("51.7%"), 7), rounding_counts(parse_printed("57%"), 7)
    (range(4, 4), range(4, 5))
    """
    value, decimals = digits(percent)
    scale = 200 * 10**decimals
    least, most = (2 * value - 1) * n, (2 * value + 1) * n
    if percent.relation in ("<", "≤"):
        least, most = 0, 2 * value * n - (percent.relation == "<")
    elif percent.relation in (">", "≥"):
        least, most = 2 * value * n + (percent.relation == ">"), scale * n
    first, last = max(0, -(-least // scale)), min(n, most // scale)
    return range(first, max(last + 1, first))


def cut_counts(percent: Printed, n: int) -> range:
    """Integers k whose 100 k/n is `percent` if further digits are cut off."""
    value, decimals = digits(percent)
    scale = 100 * 10**decimals
    first = max(0, -(-value * n // scale))
    last = min(n, -(-(value + 1) * n // scale) - 1)
    return range(first, max(last + 1, first))


def percent_text(k: int, n: int, decimals: int) -> str:
    """The percentage k of n, rounded half-up, as text."""
    decimals = max(decimals, 0)
    whole = (200 * k * 10**decimals + n) // (2 * n)
    if decimals == 0:
        return f"{whole}%"
    return f"{whole // 10**decimals}.{whole % 10**decimals:0{decimals}d}%"


def figure(value: float, decimals: int = 3) -> str:
    """A recomputed number for readers: at most `decimals` decimals, small ones with 2 digits.

    >>> figure(0.0410), figure(2.0), figure(0.00012)
    ('0.041', '2', '0.00012')
    """
    if not math.isfinite(value):
        return "infinite" if value > 0 else "minus infinite"
    if value != 0 and abs(value) < 10**-decimals:
        return f"{value:.2g}"
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def p_text(p: Span) -> str:
    """A recomputed interval of a p-value for readers."""
    low, high = (figure(max(0.0, x), 3) if x >= 0.001 else f"{x:.1g}" for x in (p.low, p.high))
    return low if low == high else f"{low} to {high}"
