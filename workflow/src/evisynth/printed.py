"""Numbers as they are printed: text that keeps its zeros, its ``%`` and its ``<``."""

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from evisynth.errors import echo

PRINTED = "a number as printed, such as 12, 0.050, <.001 or 30.2%"
PLAIN = "a plain number, such as 12 or 0.050"

_NUMBER = re.compile(
    r"(?P<relation>[<>≤≥=]?)\s*"
    r"(?P<number>[-−–+]?(?:[0-9]+(?:[.·][0-9]*)?|[.·][0-9]+)(?:[eE][-+]?[0-9]+)?)\s*"
    r"(?P<unit>%?)"
)
_COMMA = re.compile(r"[<>≤≥=]?\s*[-−–+]?[0-9]+(?:[,'’ \u00a0\u202f][0-9]+)+(?:\.[0-9]+)?\s*%?")
_SIGNS = str.maketrans("−–·", "--.")


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed number: its value (a percentage stays a percentage), decimals and relation."""

    text: str
    value: float
    decimals: int
    relation: str
    percent: bool

    @property
    def exact(self) -> bool:
        """Whether it is the number itself: no bound such as ``<.001``, no percentage."""
        return self.relation in ("", "=") and not self.percent


@lru_cache(maxsize=65536)  # the rules ask for one number again and again
def parse_printed(text: str) -> Printed:
    """Parse ``"0.050"``, ``"<.001"``, ``"30.2%"``, ``"-0.11"``; ValueError otherwise."""
    match = _NUMBER.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{echo(text)} is not {PRINTED}")
    number = match["number"].translate(_SIGNS)
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{echo(text)} is too large for a number")
    mantissa = number.lower().partition("e")[0]
    decimals = len(mantissa.partition(".")[2])
    return Printed(text, value, decimals, match["relation"], match["unit"] == "%")


def number(text: str) -> float:
    """Value of a printed number that must be exact: no ``<`` and no ``%``."""
    printed = parse_printed(text)
    if not printed.exact:
        raise ValueError(f"{echo(text)} is not {PLAIN}")
    return printed.value


def spelling(text: str) -> str:
    """Advice for a number with a decimal comma or separated thousands, or nothing."""
    if not _COMMA.fullmatch(text.strip()):
        return ""
    return "; write a point for decimals and nothing between thousands: 12.5, 1234"
