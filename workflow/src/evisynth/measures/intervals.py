"""Standard errors out of printed intervals, and whether the scale of these is believable."""

import math
from collections.abc import Mapping
from decimal import Decimal

from evisynth.inference import normal_quantile
from evisynth.measures.base import NAN, Numbers, Transformation

DEFAULT_CI_LEVEL = 0.95
# Distance of an estimate from the middle of its interval, as a part of its half-width: beyond
# the first it is said, below the second it counts as in the middle.
OFF, MIDDLE = 0.1, 0.05


def standard_error(numbers: Numbers, forward: Transformation) -> float:
    """Half of the width on the scale of `forward`, over the normal quantile of its level.

    Infinite or nan where an end has no place on that scale.
    """
    width = forward(numbers["ci_high"]) - forward(numbers["ci_low"])
    return abs(width) / (2 * normal_quantile(numbers.get("ci_level", DEFAULT_CI_LEVEL)))


def _unit(*values: float) -> float:
    """The unit of the last decimal that any of these numbers needs, at most 1."""
    exponents = (Decimal(repr(value)).normalize().as_tuple().exponent for value in values)
    return 10.0 ** min(0, *(int(exponent) for exponent in exponents))


def off_centre(estimate: float, low: float, high: float, forward: Transformation) -> float:
    """How far the estimate is from the middle, in half-widths, beyond what rounding explains.

    nan where one of the three has no place on the scale of `forward`.
    """
    ends, middle = (forward(low), forward(high)), forward(estimate)
    half = abs(ends[1] - ends[0]) / 2
    if not (math.isfinite(half) and math.isfinite(middle)) or half == 0:
        return NAN
    step = _unit(estimate, low, high) / 2

    def rounding(x: float) -> float:
        moved = abs(forward(x + step) - forward(x - step)) / 2
        return moved if math.isfinite(moved) else 0.0

    allowed = rounding(estimate) + (rounding(low) + rounding(high)) / 2
    return max(0.0, abs(middle - (ends[0] + ends[1]) / 2) - allowed) / half


def centre_note(
    estimate: float,
    low: float,
    high: float,
    declared: str,
    scales: Mapping[str, Transformation],
) -> tuple[str, ...]:
    """What is to be said if the estimate is not in the middle on the `declared` scale."""
    off = off_centre(estimate, low, high, scales[declared])
    if not off > OFF:
        return ()
    said = (
        f"the estimate lies {100 * off:.0f}% of the half-width off the middle of its interval "
        f"on the {declared} scale"
    )
    fitting = [
        name
        for name, forward in scales.items()
        if name != declared and off_centre(estimate, low, high, forward) < MIDDLE
    ]
    if fitting:
        return (
            f"{said}, but in the middle on the {' or '.join(fitting)} scale: "
            "check which scale the interval is on",
        )
    return (f"{said}: the standard error is half of its width there",)
