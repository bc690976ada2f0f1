"""Numbers that a measure needs and a study does not report, derived where that is possible."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from evisynth.conversions.derived import Numbers
from evisynth.conversions.registry import CONVERSIONS, Conversion
from evisynth.inputs import Wrong

NONE: Mapping[str, str] = MappingProxyType({})
EVENTS = {1: "ai", 2: "ci"}
_ONE_GROUP = {
    "mi": "mean",
    "sdi": "standard deviation",
    "mini": "minimum",
    "q1i": "lower quartile",
    "medi": "median",
    "q3i": "upper quartile",
    "maxi": "maximum",
    "iqri": "width of the interquartile range (upper minus lower quartile)",
    "msei": "standard error of the mean",
    "mci_lowi": "lower bound of the interval of the mean (level: ci_level)",
    "mci_highi": "upper bound of the interval of the mean (level: ci_level)",
    "pcti": "events as a percentage of the group, with the digits that are printed",
    "n_ai": "number of units, first of two subgroups to combine",
    "m_ai": "mean, first of two subgroups to combine",
    "sd_ai": "standard deviation, first of two subgroups to combine",
    "n_bi": "number of units, second of two subgroups to combine",
    "m_bi": "mean, second of two subgroups to combine",
    "sd_bi": "standard deviation, second of two subgroups to combine",
    "m_prei": "mean before",
    "m_posti": "mean after",
    "sd_prei": "standard deviation before",
    "sd_posti": "standard deviation after",
    "ri": "correlation of the values before and after",
}
_STUDY = {
    "mdi": "mean difference, group 1 minus group 2",
    "md_sei": "standard error of the mean difference",
    "md_lowi": "lower bound of the interval of the mean difference (level: ci_level)",
    "md_highi": "upper bound of the interval of the mean difference (level: ci_level)",
    "md_ti": "t statistic of the mean difference",
    "md_pi": "two-sided p-value of the t test of the mean difference",
    "eventsi": "events in both groups together",
    "ori": "printed odds ratio, unadjusted",
    "or_lowi": "lower bound of its interval (level: ci_level)",
    "or_highi": "upper bound of its interval (level: ci_level)",
    "rri": "printed risk ratio, unadjusted",
    "rr_lowi": "lower bound of its interval (level: ci_level)",
    "rr_highi": "upper bound of its interval (level: ci_level)",
    "rdi": "printed risk difference as a fraction",
    "rd_lowi": "lower bound of its interval (level: ci_level)",
    "rd_highi": "upper bound of its interval (level: ci_level)",
    "phii": "printed phi coefficient",
    "pval": "two-sided p-value of the printed effect",
    "log10_yi": "effect in decimal logarithms",
    "log10_sei": "its standard error",
    "log2_yi": "effect in binary logarithms",
    "log2_sei": "its standard error",
    "smd_yi": "standardised mean difference to be made a log odds ratio",
    "smd_sei": "its standard error",
    "logor_yi": "log odds ratio to be made a standardised mean difference",
    "logor_sei": "its standard error",
}


def named(field: str, group: int) -> str:
    """A one-group field's name in group 1 or 2; group 0 is the only group.

    The level of intervals is that of all of a study's intervals.

    >>> named("sdi", 1), named("q1i", 2), named("xi", 2), named("sdi", 0)
    ('sd1i', 'q12i', 'ci', 'sdi')
    """
    if group == 0 or field == "ci_level":
        return field
    return EVENTS[group] if field == "xi" else f"{field[:-1]}{group}i"


FIELDS: dict[str, str] = {
    **_ONE_GROUP,
    **{
        named(field, group): f"{text}, group {group}"
        for group in (1, 2)
        for field, text in _ONE_GROUP.items()
    },
    **_STUDY,
}
"""Fields of conversions, with what they mean."""

_ORDERED = (
    ("mini", "q1i", "medi", "q3i", "maxi"),
    ("mci_lowi", "mi", "mci_highi"),
)
_NOT_NEGATIVE = frozenset({"iqri", "sd_ai", "sd_bi", "sd_prei", "sd_posti"})
_POSITIVE = frozenset({"msei"})
_SIZES = frozenset({"n_ai", "n_bi"})
_POSITIVE_STUDY = frozenset(
    {
        "md_sei", "ori", "or_lowi", "or_highi", "rri", "rr_lowi", "rr_highi",
        "log10_sei", "log2_sei", "smd_sei", "logor_sei",
    }
)  # fmt: skip
_WITHIN_ONE = frozenset({"rdi", "rd_lowi", "rd_highi", "phii"})
_TRIPLES = (
    ("md_lowi", "mdi", "md_highi"),
    ("or_lowi", "ori", "or_highi"),
    ("rr_lowi", "rri", "rr_highi"),
    ("rd_lowi", "rdi", "rd_highi"),
)


def check_numbers(numbers: Numbers) -> list[Wrong]:
    """Impossible numbers among the fields of conversions; missing ones are no mistake.

    Summaries are in order of size, spreads not negative, percentages 0 to 100, correlations -1
    to 1, p above 0 and at most 1, subgroups whole, intervals in order with their estimate.
    """
    given = {field: value for field, value in numbers.items() if not math.isnan(value)}
    wrong: list[Wrong] = []

    def say(field: str, expected: str) -> None:
        wrong.append((field, f"{given[field]:.15g}", expected))

    rules = {
        "above 0": {*_POSITIVE_STUDY, *_each(_POSITIVE)},
        "0 or more": _each(_NOT_NEGATIVE),
        "a whole number of at least 1": _each(_SIZES),
        "a whole number that is not negative": {"eventsi"},
        "a percentage, 0 to 100": _each({"pcti"}),
        "between -1 and 1": {*_WITHIN_ONE, *_each({"ri"})},
        "a two-sided p-value, above 0 and at most 1": {"md_pi", "pval"},
    }
    for expected, fields in rules.items():
        for field in given.keys() & fields:
            if field in FIELDS and not _POSSIBLE[expected](given[field]):
                say(field, expected)
    for field in given.keys() & FIELDS.keys():
        if math.isinf(given[field]):
            say(field, "a finite number")
    chains = [
        tuple(named(f, group) for f in chain) for group in (0, 1, 2) for chain in _ORDERED
    ]
    for chain in (*chains, *_TRIPLES):
        known = [field for field in chain if field in given]
        for left, right in pairwise(known):
            if given[left] > given[right]:
                say(left, f"at most {right}, which is {given[right]:.15g}")
    return sorted(set(wrong))


def _check_others(given: Numbers) -> list[Wrong]:
    """The same for fields that measures have too, and report; conversions must not use them."""
    wrong: list[Wrong] = []
    for field, value in given.items():
        if math.isinf(value):
            wrong.append((field, f"{value}", "a finite number"))
        elif field in ("ni", "n1i", "n2i") and not (value >= 1 and value == math.floor(value)):
            wrong.append((field, f"{value:.15g}", "a whole number of at least 1"))
        elif field == "ci_level" and not 0 < value < 1:
            wrong.append((field, f"{value:.15g}", "a fraction between 0 and 1"))
    bounds = [given.get(field, math.nan) for field in ("ci_low", "estimate", "ci_high")]
    if bounds[0] > bounds[1] or bounds[1] > bounds[2]:
        wrong.append(("estimate", f"{bounds[1]:.15g}", "within ci_low to ci_high"))
    return wrong


def _each(fields: frozenset[str] | set[str]) -> set[str]:
    return {named(field, group) for field in fields for group in (0, 1, 2)}


_POSSIBLE = {
    "above 0": lambda x: x > 0,
    "0 or more": lambda x: x >= 0,
    "a whole number of at least 1": lambda x: x >= 1 and x == math.floor(x),
    "a whole number that is not negative": lambda x: x >= 0 and x == math.floor(x),
    "a percentage, 0 to 100": lambda x: 0 <= x <= 100,
    "between -1 and 1": lambda x: -1 <= x <= 1,
    "a two-sided p-value, above 0 and at most 1": lambda x: 0 < x <= 1,
}


def methods(choice: str) -> tuple[str, ...]:
    """Keys of the methods of a choice, its default first if it has one."""
    of_it = [conversion for conversion in CONVERSIONS.values() if conversion.choice == choice]
    return tuple(c.key for c in sorted(of_it, key=lambda c: not c.default))


def check_chosen(chosen: Mapping[str, str]) -> list[Wrong]:
    """Choices and methods that do not exist."""
    choices = {conversion.choice for conversion in CONVERSIONS.values()}
    wrong: list[Wrong] = []
    for choice, key in chosen.items():
        if choice not in choices:
            wrong.append((choice, key, f"one of the choices {', '.join(sorted(choices))}"))
        elif key not in methods(choice):
            wrong.append((choice, key, f"one of {', '.join(methods(choice))}"))
    return wrong


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One conversion, for one group (0 the only one), with the fields that it can use."""

    conversion: Conversion
    group: int
    needs: tuple[str, ...]
    gives: tuple[str, ...]


def complete(
    numbers: Numbers,
    wanted: Sequence[tuple[str, ...]],
    *,
    chosen: Mapping[str, str] = NONE,
    printed: Mapping[str, str] = NONE,
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Complete one of the sets of fields in `wanted`, deriving what is missing.

    Parameters
    ----------
    numbers : what the study reports; nan counts as missing.
    wanted : alternative sets of fields (`Inputs.alternatives`). If one is complete already
        nothing is derived; otherwise the first that can be completed is.
    chosen : choice to method, such as ``{"summary": "box_cox"}``, instead of the default.
    printed : field to its text in the source; keeps the zeros that a number loses (``30.0``).

    Returns
    -------
    numbers and notes : reported numbers, never changed, and derived ones, each with a note
        ``derived: sd1i from q11i, med1i, q31i, n1i (Wan et al. 2014)``. If nothing could be
        completed, the numbers as they were, and for each attempt why it failed.

    Raises
    ------
    ValueError
        if a choice or method is unknown.
    """
    if wrong := check_chosen(chosen):
        raise ValueError("; ".join(f"{c}: found {f}, expected {e}" for c, f, e in wrong))
    given = {field: value for field, value in numbers.items() if not math.isnan(value)}
    if any(all(field in given for field in fields) for fields in wanted):
        return dict(numbers), ()
    failures: list[str] = []
    for fields in wanted:
        values, notes, failed = _derive(given, fields, chosen, printed)
        if all(field in values for field in fields):
            return {**numbers, **values}, notes
        failures += failed
    return dict(numbers), tuple(dict.fromkeys(failures))


def _derive(
    given: Numbers,
    fields: tuple[str, ...],
    chosen: Mapping[str, str],
    printed: Mapping[str, str],
) -> tuple[dict[str, float], tuple[str, ...], list[str]]:
    """Numbers with all of `fields` that can be derived; notes; failures.

    A field that a conversion refuses is not tried by another: that would swap methods.
    """
    values = dict(given)
    notes: list[str] = []
    failures: list[str] = []
    wrong = {
        field: f"{field} is {found}, expected {expected}"
        for field, found, expected in (*check_numbers(given), *_check_others(given))
    }
    refused: set[str] = set()
    for attempt in _attempts(given, chosen):
        missing = [f for f in attempt.gives if f in fields and f not in values]
        if not missing or refused.intersection(missing):
            continue
        said = f"from {', '.join(attempt.needs)}"
        looked_at = (*attempt.needs, "ci_level")
        bad = [wrong[field] for field in looked_at if field in wrong]
        if bad:
            refused.update(missing)
            failures.append(f"not derived: {', '.join(missing)} {said}: {'; '.join(bad)}")
            continue
        names = {field: named(field, attempt.group) for field in _all_fields(attempt)}
        derived = attempt.conversion.derive(
            {field: given[name] for field, name in names.items() if name in given},
            {field: printed[name] for field, name in names.items() if name in printed},
        )
        found = {
            named(field, attempt.group): (value, derived.sources[field])
            for field, value in derived.values.items()
        }
        for field in missing:
            if field in found:
                values[field], source = found[field]
                notes.append(f"derived: {field} {said} ({source})")
        if left := [field for field in missing if field not in found]:
            refused.update(left)
            failures += [
                f"not derived: {', '.join(left)} {said}: {note}" for note in derived.notes
            ]
        else:
            notes += [f"{', '.join(missing)}: {note}" for note in derived.notes]
    return values, tuple(notes), failures


def reachable(fields: Collection[str], chosen: Mapping[str, str] = NONE) -> frozenset[str]:
    """`fields` with those that a conversion, default or chosen, may derive from them."""
    given = dict.fromkeys(fields, 1.0)
    return frozenset(fields).union(*(attempt.gives for attempt in _attempts(given, chosen)))


def _all_fields(attempt: _Attempt) -> set[str]:
    """One-group names of all that a conversion may look at."""
    conversion = attempt.conversion
    used = {field for needs in conversion.needs for field in needs}
    return used | set(conversion.gives) | {"mi", "mdi", "eventsi", "ci_level"}


def _attempts(given: Numbers, chosen: Mapping[str, str]) -> Iterator[_Attempt]:
    """Conversions that are chosen or default and whose needs are there, in order."""
    for conversion in CONVERSIONS.values():
        if chosen.get(conversion.choice) not in (None, conversion.key):
            continue
        if not conversion.default and chosen.get(conversion.choice) != conversion.key:
            continue
        for group in (0, 1, 2) if conversion.scope == "group" else (0,):
            for needs in conversion.needs:
                fields = tuple(named(field, group) for field in needs)
                if all(field in given for field in fields):
                    gives = tuple(named(field, group) for field in conversion.gives)
                    yield _Attempt(conversion, group, fields, gives)
                    break
