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
def in_units(printed: Printed) -> tuple[int, int]:
    """A printed number in units of its last digit, and its decimals: (m, d) for m / 10^d.

    >>> from evisynth.printed import parse_printed
    >>> in_units(parse_printed("0.50")), in_units(parse_printed("<1.2e-3"))
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
    return 10.0 ** -in_units(printed)[1]


@lru_cache(maxsize=65536)
def exact_bounds(printed: Printed) -> tuple[Fraction | None, Fraction | None]:
    """Bounds of what rounds to `printed`, both included; None where there is no bound.

    A printed ``<x`` is everything up to x, ``>x`` everything from x on.
    """
    value, decimals = in_units(printed)
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
