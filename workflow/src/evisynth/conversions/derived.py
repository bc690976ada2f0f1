"""What a conversion returns."""

from collections.abc import Mapping
from dataclasses import dataclass

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Derived:
    """Numbers that a conversion derived, or why it did not.

    Attributes
    ----------
    values : field to number; empty where the conversion refuses.
    sources : field to the short citation of its formula.
    notes : what a reader must know: assumptions that look doubtful, candidates, the refusal.
    """

    values: Mapping[str, float]
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()


def refused(*notes: str) -> Derived:
    """Nothing derived, with the reasons."""
    return Derived({}, {}, notes)
