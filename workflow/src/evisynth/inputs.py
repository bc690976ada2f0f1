"""What each measure needs, and which numbers are possible; free of numpy, so cheap to ask."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Design = Literal["one_group", "two_groups", "effect"]
Axis = Literal["log", "linear", "proportion"]

Wrong = tuple[str, str, str]
"""Field, what was found, what was expected."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of a measure.

    Attributes
    ----------
    design : ``one_group``, ``two_groups`` or ``effect`` (printed effects).
    alternatives : sets of fields, any of which is enough; the first complete one is used.
    kinds : kinds of result in study files from which it can be computed.
    axis : how the display scale is drawn: ``log`` for ratios, ``proportion``, ``linear``.
    """

    design: Design
    alternatives: tuple[tuple[str, ...], ...]
    kinds: frozenset[str]
    axis: Axis

    @property
    def fields(self) -> frozenset[str]:
        """All fields of all alternatives."""
        return frozenset(field for fields in self.alternatives for field in fields)

    @property
    def known(self) -> frozenset[str]:
        """These, and further numbers that are used where given."""
        return self.fields | {"ni", "ci_level"}


_COUNT = frozenset({"count"})
_FOURFOLD = (("ai", "bi", "ci", "di"), ("ai", "n1i", "ci", "n2i"))
_PROPORTION = Inputs("one_group", (("xi", "ni"),), _COUNT, "proportion")
_RATIO = Inputs("two_groups", _FOURFOLD, _COUNT, "log")
_MEANS = Inputs(
    "two_groups", (("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"),), frozenset({"mean"}), "linear"
)

INPUTS: dict[str, Inputs] = {
    "PR": _PROPORTION,
    "PLN": _PROPORTION,
    "PLO": _PROPORTION,
    "PAS": _PROPORTION,
    "OR": _RATIO,
    "RR": _RATIO,
    "RD": Inputs("two_groups", _FOURFOLD, _COUNT, "linear"),
    "MD": _MEANS,
    "SMD": _MEANS,
    "GEN": Inputs("effect", (("yi", "vi"), ("yi", "sei")), frozenset(), "linear"),
    "HR": Inputs(
        "effect",
        (("estimate", "ci_low", "ci_high"), ("yi", "sei"), ("yi", "vi")),
        frozenset({"hazard_ratio"}),
        "log",
    ),
}

_COUNT_FIELDS = ("xi", "ni", "ai", "bi", "ci", "di", "n1i", "n2i")
_WITHIN = (("xi", "ni"), ("ai", "n1i"), ("ci", "n2i"))
_CELLS = (("ai", "bi", "n1i"), ("ci", "di", "n2i"))
_TOTALS = ("ni", "n1i", "n2i")


def check_numbers(measure: str, numbers: Mapping[str, float]) -> list[Wrong]:
    """Impossible numbers among the inputs of `measure`; missing ones (nan) are no mistake.

    Counts are whole and not negative, events at most n, n at least 1; standard deviations are
    not negative; variances and standard errors are positive; no group is empty, and its size is
    that of its cells; an interval is in order, positive for a ratio, and holds its estimate.
    """
    given = {
        field: value
        for field, value in numbers.items()
        if field in INPUTS[measure].known and not math.isnan(value)
    }
    said = {field: f"{value:.15g}" for field, value in given.items()}
    wrong: list[Wrong] = []
    for field, value in given.items():
        if math.isinf(value):
            wrong.append((field, f"{value}", "a finite number"))
        elif field in _COUNT_FIELDS and (value < 0 or value != int(value)):
            wrong.append((field, said[field], "a whole number that is not negative"))
        elif field in _TOTALS and value < 1:
            wrong.append((field, said[field], "at least 1"))
        elif field in ("sd1i", "sd2i") and value < 0:
            wrong.append((field, said[field], "a standard deviation, not negative"))
        elif field in ("vi", "sei") and value <= 0:
            wrong.append((field, said[field], "above 0"))
        elif field == "ci_level" and not 0 < value < 1:
            wrong.append((field, said[field], "a fraction between 0 and 1"))
    for events, total in _WITHIN:
        if events in given and total in given and given[events] > given[total]:
            wrong.append(
                (events, f"{said[events]} events of {said[total]}", "no more events than units")
            )
    for events, others, total in _CELLS:
        if events in given and others in given:
            size = given[events] + given[others]
            if size == 0:
                wrong.append((events, f"0, and 0 {others}", "a group that is not empty"))
            elif given.get(total, size) != size:
                wrong.append((total, said[total], f"{events} + {others}, which is {size:.15g}"))
    low, high = given.get("ci_low"), given.get("ci_high")
    estimate = given.get("estimate")
    if low is not None and high is not None:
        interval = f"{said['ci_low']} to {said['ci_high']}"
        if low > high:
            wrong.append(("ci_low", interval, "the lower bound first"))
        elif estimate is not None and not low <= estimate <= high:
            wrong.append(
                ("estimate", f"{said['estimate']} outside {interval}", "within its interval")
            )
        if low == high:
            wrong.append(("ci_low", interval, "an interval of some width"))
    if measure == "HR":
        wrong += [
            (field, said[field], "above 0, as a ratio is")
            for field in ("estimate", "ci_low", "ci_high")
            if field in given and given[field] <= 0
        ]
    return wrong
