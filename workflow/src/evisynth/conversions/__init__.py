"""Numbers that a measure needs, derived from others that a study reports; free of numpy."""

from evisynth.conversions.completion import (
    FIELDS,
    check_chosen,
    check_numbers,
    complete,
    methods,
    named,
    reachable,
)
from evisynth.conversions.counts import count_from_percent
from evisynth.conversions.registry import CONVERSIONS, Conversion

__all__ = [
    "CONVERSIONS",
    "FIELDS",
    "Conversion",
    "check_chosen",
    "check_numbers",
    "complete",
    "count_from_percent",
    "methods",
    "named",
    "reachable",
]
