"""Numbers as they are printed: text that keeps its zeros, its ``%`` and its ``<``."""

import re
from dataclasses import dataclass

_NUMBER = re.compile(
    r"^(?P<relation>[<>≤≥=]?)\s*(?P<number>[-−–+]?(?:\d+(?:[.·]\d*)?|[.·]\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>%?)$"
)


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed number: its value (a percentage stays a percentage), decimals and relation."""

    text: str
    value: float
    decimals: int
    relation: str
    percent: bool


def parse_printed(text: str) -> Printed:
    """Parse ``"0.050"``, ``"<.001"``, ``"30.2%"``, ``"-0.11"``; ValueError for anything else."""
    match = _NUMBER.match(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a printed number such as 12, 0.050, <.001 or 30.2%")
    number = match["number"].replace("−", "-").replace("–", "-").replace("·", ".")
    mantissa = re.split("[eE]", number)[0]
    decimals = len(mantissa.partition(".")[2])
    return Printed(text, float(number), decimals, match["relation"], match["unit"] == "%")


def number(text: str) -> float:
    """Value of a printed number that must be exact: no ``<`` and no ``%``."""
    printed = parse_printed(text)
    if printed.relation not in ("", "=") or printed.percent:
        raise ValueError(f"{text!r} is not a plain number")
    return printed.value
