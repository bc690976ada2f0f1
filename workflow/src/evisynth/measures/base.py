"""What an effect measure is, and arithmetic that several measures share."""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from evisynth.inputs import INPUTS, Axis, Design, Option

NAN = math.nan
SMALLEST = sys.float_info.min  # of the doubles with all their digits

COUNTS = frozenset({"xi", "ai", "bi", "ci", "di", "x1i", "x2i"})

VIECHTBAUER = "Viechtbauer (2010), J Stat Softw 36(3), doi:10.18637/jss.v036.i03"


@dataclass(frozen=True, slots=True)
class Effect:
    """Effect and sampling variance on the analysis scale; nan or infinite where undefined.

    Attributes
    ----------
    why : why there is none, where the numbers alone do not say it.
    notes : how it was derived, where that is not the formula of the measure.
    """

    yi: float
    vi: float
    why: str = ""
    notes: tuple[str, ...] = ()


def none(why: str) -> Effect:
    """No effect, for this reason."""
    return Effect(NAN, NAN, f"not estimable: {why}")


Numbers = Mapping[str, float]
Options = Mapping[str, object]
Transformation = Callable[[float], float]
Compute = Callable[[Numbers], Effect]


@dataclass(frozen=True, slots=True)
class Measure:
    """An effect measure.

    Attributes
    ----------
    key, label : name in the configuration; name to print, of the display scale.
    back, back_name : analysis to display scale.
    forward : display to analysis scale.
    null : no effect, on the analysis scale; None where there is no such value.
    formula : of yi and vi, in the symbols of the inputs.
    citation : where the formula is from.
    compute : numbers, after any continuity correction, to effect and variance.
    limits : when not to use it.
    configure : the measure as chosen options make it, out of the default one and all options.
    drawn : axis of the display scale where an option decides it.
    printed : scale on which its inputs give intervals.
    corrected : whether zero cells get a continuity correction unless `add` says otherwise.
    """

    key: str
    label: str
    back: Transformation
    back_name: str
    forward: Transformation
    null: float | None
    formula: str
    citation: str
    compute: Compute
    limits: str
    configure: "Callable[[Measure, Options], Measure] | None" = None
    drawn: Axis | None = None
    printed: Literal["display", "analysis"] = "display"
    corrected: bool = True

    @property
    def design(self) -> Design:
        """What is compared; effects come ready made."""
        return INPUTS[self.key].design

    @property
    def axis(self) -> Axis:
        """How the display scale is drawn."""
        return self.drawn or INPUTS[self.key].axis

    @property
    def inputs(self) -> tuple[tuple[str, ...], ...]:
        """Alternative sets of numbers; the first complete one is used."""
        return INPUTS[self.key].alternatives

    @property
    def options(self) -> tuple[Option, ...]:
        """What can be chosen."""
        return INPUTS[self.key].options

    @property
    def counts(self) -> bool:
        """Whether it is computed from counts, so that zero cells matter."""
        return self.inputs[0][0] in COUNTS

    @property
    def add(self) -> float:
        """Default of the continuity correction: 1/2, but 0 where zero cells do no harm."""
        return 0.5 if self.counts and self.corrected else 0.0

    @property
    def falling(self) -> bool:
        """Whether the display scale falls where the analysis scale rises."""
        return self.back(0.0) > self.back(1.0)

    def shown(self, low: float, high: float) -> tuple[float, float]:
        """An interval of the analysis scale on the display scale, its lower end first."""
        ends = self.back(low), self.back(high)
        return (ends[1], ends[0]) if self.falling else ends


def as_float(exact: Fraction) -> float:
    """The nearest double; infinite beyond their range."""
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def log_ratio(numerator: Fraction, denominator: Fraction) -> float:
    """Logarithm of a ratio, accurate near 1 as well; infinite or nan where one of them is 0."""
    if numerator == 0:
        return -math.inf if denominator else NAN
    if denominator == 0:
        return math.inf
    ratio = numerator / denominator
    if Fraction(1, 2) < ratio < 2:
        return math.log1p(float(ratio - 1))
    near = as_float(ratio)
    if SMALLEST <= near < math.inf:
        return math.log(near)
    # Ratios of times can leave the range of doubles; integers have a logarithm at any size.
    return math.log(ratio.numerator) - math.log(ratio.denominator)


def log_quotient(numerator: float, denominator: float) -> float:
    """Logarithm of a ratio of positive numbers, accurate near 1 and for any of their sizes."""
    ratio = numerator / denominator
    if 0.5 < ratio < 2:  # the difference of near doubles is exact
        return math.log1p((numerator - denominator) / denominator)
    if SMALLEST <= ratio < math.inf:
        return math.log(ratio)
    return math.log(numerator) - math.log(denominator)


def reciprocals(*counts: Fraction) -> float:
    """Sum of the reciprocals; infinite if one of the counts is 0."""
    if 0 in counts:
        return math.inf
    return float(sum((1 / count for count in counts), Fraction(0)))


def root(square: Fraction) -> float:
    """Square root of a fraction that may be beyond the range of doubles."""
    shift = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    scale = Fraction(4) ** -shift
    return math.ldexp(math.sqrt(square * scale), shift)


def squared(x: float) -> float:
    """The square; unlike ``x**2`` infinite, and no exception, beyond double precision."""
    return x * x
