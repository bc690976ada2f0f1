"""Numbers of units: ranges against categories, one label with two sizes, units of analysis."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from evisynth.audit.counting import (
    candidates,
    cut,
    folded,
    listed,
    percent_text,
    rounded,
    share,
    usable,
)
from evisynth.audit.material import StudyMaterial, name_of
from evisynth.audit.records import Check, Proportion, Rule, Summary
from evisynth.printed import Printed, number
from evisynth.studyfile import Arm

# Correlations of units of one patient for which the effective number is shown.
ICC = (0.3, 1.0)


@dataclass(frozen=True, slots=True)
class Category:
    """A category of a number, with its bounds and its count in one arm."""

    name: str
    low: float | None
    high: float | None
    count: int


def check_ranges(material: StudyMaterial) -> Iterator[Check]:
    """Rule RANGE-V-CAT."""
    categories: dict[tuple[str, str], list[Category]] = defaultdict(list)
    for value in material.proportions:
        result = material.results[value.place.results[0]]
        allowed = candidates(value)
        if result.limits is None or not allowed or len(allowed) != 1:
            continue
        bounds = [
            None if bound is None else number(bound)
            for bound in (result.limits.low, result.limits.high)
        ]
        name = (result.category or name_of(result)).rpartition(": ")[2]
        categories[result.limits.of, value.arm].append(
            Category(name, bounds[0], bounds[1], allowed[0])
        )
    if not categories:
        return
    for summary in material.summaries:
        found = categories.get((summary.place.results[0], summary.arm))
        if found:
            yield from _range(summary, found)
            yield from _quantiles(summary, found)


def _half(value: Printed) -> float:
    return 0.5 * 10.0**-value.decimals


def _range(summary: Summary, categories: Sequence[Category]) -> Iterator[Check]:
    if summary.range is None:
        return
    least, most = summary.range
    low, high = least.value - _half(least), most.value + _half(most)
    outside = [
        c
        for c in categories
        if c.count
        and ((c.high is not None and c.high < low) or (c.low is not None and c.low > high))
    ]
    # The extremes are values of somebody: not well inside a category that nobody is in.
    empty = [
        (bound, c)
        for bound in (least, most)
        for c in categories
        if c.count == 0
        and (c.low is None or c.low < bound.value - _half(bound))
        and (c.high is None or c.high > bound.value + _half(bound))
    ]
    printed = f"range {least.text} to {most.text}"
    recomputed = "; ".join(f"{c.count} in {c.name}" for c in categories)
    if not outside and not empty:
        yield Check(summary.place, "consistent", printed, recomputed, "the range covers them")
    elif outside:
        who = listed([f"{c.count} are {c.name}" for c in outside])
        yield Check(
            summary.place,
            "inconsistent",
            printed,
            recomputed,
            f"{who}, outside {least.text} to {most.text}: these are no minimum and maximum",
            "find out what the interval is (quartiles?); convert it to no standard deviation",
        )
    else:
        bound, category = empty[0]
        yield Check(
            summary.place,
            "inconsistent",
            printed,
            recomputed,
            f"{bound.text} is an extreme, but nobody is in {category.name}",
            "compare the range and the categories with the report",
        )


def _quantiles(summary: Summary, categories: Sequence[Category]) -> Iterator[Check]:
    """No more than the quantile's share lies in categories that are wholly beyond it."""
    points = [(0.5, "median", summary.median)]
    if summary.iqr:
        points += [(0.25, "first quartile", summary.iqr[0])]
        points += [(0.75, "third quartile", summary.iqr[1])]
    for share_, name, value in points:
        if value is None or summary.n is None:
            continue
        low, high = value.value - _half(value), value.value + _half(value)
        below = sum(c.count for c in categories if c.high is not None and c.high < low)
        above = sum(c.count for c in categories if c.low is not None and c.low > high)
        # Definitions of quantiles differ by at most one unit.
        slack = 0 if share_ == 0.5 else 1
        wrong = below > share_ * summary.n + slack or above > (1 - share_) * summary.n + slack
        printed = f"{name} {value.text} of {summary.n}"
        recomputed = f"{below} below, {above} above"
        if wrong:
            yield Check(
                summary.place,
                "inconsistent",
                printed,
                recomputed,
                f"{below} of {summary.n} are in categories below {value.text} and {above} "
                f"above: it is not the {name}",
                "compare it and the categories with the report",
            )
        else:
            yield Check(summary.place, "consistent", printed, recomputed, f"the {name} fits")


_ASIDE = re.compile(r"\s*\([^()]*\)\s*$")


def _label(value: Proportion) -> str:
    """Category without what stands in brackets at its end: where it was printed."""
    return folded(_ASIDE.sub("", value.category))


def check_sizes(material: StudyMaterial) -> Iterator[Check]:
    """Rule N-CONSISTENCY."""
    yield from _labels(material)
    yield from _denominators(material)
    yield from _responses(material)


def _labels(material: StudyMaterial) -> Iterator[Check]:
    superseded = {
        report.id for report in material.study.content.reports if report.superseded_by
    }
    groups: dict[tuple[str, ...], list[Proportion]] = defaultdict(list)
    for value in material.proportions:
        if value.kind == "km_probability" or value.place.report in superseded:
            continue
        key = (
            value.arm, value.outcome, _label(value), folded(value.when), folded(value.subgroup)
        )  # fmt: skip
        groups[key].append(value)
    for found in groups.values():
        counted = [value for value in found if value.events is not None]
        if len(counted) < 2:
            continue
        pairs = {(value.events, value.n) for value in counted}
        names = [value.place.results[0] for value in counted]
        shown = listed([f"{value.events} of {value.n}" for value in counted])
        if len(pairs) == 1:
            yield Check(counted[0].place, "consistent", shown, "", "one number for one label")
            continue
        texts = {
            percent_text(value.percent): value
            for value in found
            if usable(value.percent) and value.percent is not None and value.n
        }
        words = []
        for text, value in texts.items():
            fitting = [
                str(events)
                for events in sorted({v.events for v in counted if v.events is not None})
                if value.n and value.percent and events in rounded(value.percent, value.n)
            ]
            if fitting:
                words.append(f"{text} of {value.n} fits {listed(fitting)}")
        yield Check(
            replace(counted[-1].place, results=tuple(dict.fromkeys(names))),
            "inconsistent",
            shown,
            listed(words),
            f"{listed(names)} give {shown} for one label",
            "find out which is right, or write why they differ into the label",
        )


def _denominators(material: StudyMaterial) -> Iterator[Check]:
    """A count and a percentage that fit the size of another arm of the study."""
    arms = {arm.id: arm for arm in material.study.content.arms}
    for value in material.proportions:
        percent, n = value.percent, value.n
        if percent is None or not usable(percent) or not n or value.events is None:
            continue
        if value.derived or value.kind == "km_probability" or not value.events:
            continue
        if value.events in rounded(percent, n) or value.events in cut(percent, n):
            continue
        fitting = [
            arm
            for arm in arms.values()
            if arm.n != n
            and arm.n >= value.events
            and arm.unit == arms[value.arm].unit
            and value.events in rounded(percent, arm.n)
            and _holds(arms, arm, value.arm)
        ]
        if not fitting:
            continue
        one = share(value.events, n, max(percent.decimals, 1))
        others = listed([f"{arm.n} ({arm.id})" for arm in fitting], "or")
        count = rounded(percent, n)
        also = f"; {percent_text(percent)} of {n} is {count[0]}" if len(count) == 1 else ""
        yield Check(
            value.place,
            "inconsistent",
            f"{value.events} of {n}, {percent_text(percent)}",
            f"{one}{also}",
            f"{percent_text(percent)} is {value.events} of {others}, not of {n}"
            + (f", or {count[0]} of {n}" if len(count) == 1 else ""),
            "find out which group the percentage is of",
        )


def _holds(arms: Mapping[str, Arm], one: Arm, other: str) -> bool:
    """Whether the sizes are near enough for a mistaken denominator: within a factor of two."""
    return 0.5 <= one.n / arms[other].n <= 2 if arms[other].n else False


def _responses(material: StudyMaterial) -> Iterator[Check]:
    """Categories of response of one arm at one time are of one n."""
    wanted = {"cr", "pr", "vgpr", "sd", "pd", "orr", "clinical_benefit"}
    groups: dict[tuple[str, ...], list[Proportion]] = defaultdict(list)
    for value in material.proportions:
        if value.outcome in wanted and value.n and value.kind != "km_probability":
            key = (value.arm, folded(value.when), folded(value.subgroup), value.place.report)
            groups[key].append(value)
    for found in groups.values():
        sizes = sorted({value.n for value in found if value.n})
        if len(found) < 2:
            continue
        names = tuple(dict.fromkeys(value.place.results[0] for value in found))
        place = replace(found[0].place, results=names)
        shown = f"{listed(names)}: n {listed(sizes)}"
        if len(sizes) == 1:
            yield Check(place, "consistent", shown, "", "responses of one n")
        else:
            yield Check(
                place,
                "inconsistent",
                shown,
                "",
                f"responses of one arm at one time are of {listed(sizes)}",
                "find out how many were evaluated",
            )


def effective(n: float, units: int, clusters: int, icc: float) -> float:
    """Effective number of `n` units, of which `units` come from `clusters` patients.

    ``n / (1 + (m - 1) icc)`` with ``m = units / clusters`` (Kish 1965, Survey Sampling).
    """
    return n / (1 + (units / clusters - 1) * icc)


def check_units(material: StudyMaterial) -> Iterator[Check]:
    """Rule UNIT."""
    population = material.study.content.population
    patients = population.patients if population else None
    used: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, result in material.results.items():
        for arm_id, value in result.arms.items():
            used[arm_id].append((name, value.n or 0) if result.use else (name, 0))
    for arm in material.study.content.arms:
        if arm.unit == "patients":
            if patients is not None and arm.n:
                yield _patients(material, arm, patients)
            continue
        if arm.unit not in ("episodes", "tumours") or arm.id not in used:
            continue
        if arm.clusters is None and not any(material.results[n].use for n, _ in used[arm.id]):
            continue
        yield _nested(material, arm, used[arm.id])


def _patients(material: StudyMaterial, arm: Arm, patients: int) -> Check:
    place = material.place(f"arms.{arm.id}")
    if arm.n <= patients:
        return Check(place, "consistent", f"{arm.n} patients", f"{patients} in the study", "")
    return Check(
        place,
        "inconsistent",
        f"{arm.n} patients",
        f"{patients} in the study",
        f"{arm.id} has {arm.n} patients, the study {patients}",
        "check both numbers, or give the arm its unit (episodes, tumours) and `clusters`",
    )


def _nested(material: StudyMaterial, arm: Arm, used: Sequence[tuple[str, int]]) -> Check:
    names = tuple(dict.fromkeys(name for name, _ in used))
    place = replace(material.place(f"arms.{arm.id}"), results=names, arms=(arm.id,))
    if arm.clusters is None:
        return Check(
            place,
            "undecided",
            f"{arm.n} {arm.unit}",
            "",
            f"the number of patients with these {arm.unit} is not known",
            "write `clusters` if a report gives it",
        )
    printed = f"{arm.n} {arm.unit} of {arm.clusters} patients"
    if arm.clusters >= arm.n:
        return Check(place, "consistent", printed, "", "one per patient")
    if not arm.clusters:
        return Check(place, "undecided", printed, "", "`clusters` is 0")
    n = next((n for _, n in used if n), arm.n)
    sizes = [effective(n, arm.n, arm.clusters, icc) for icc in ICC]
    return Check(
        place,
        "inconsistent",
        printed,
        f"effective n of {n}: "
        + ", ".join(f"{size:.0f} at ICC {icc:g}" for size, icc in zip(sizes, ICC, strict=True)),
        f"{arm.n} {arm.unit} of {arm.clusters} patients are analysed as if independent; of {n} "
        f"{arm.unit} the effective number is {sizes[0]:.0f} at an intraclass correlation of "
        f"{ICC[0]:g} and {sizes[1]:.0f} at {ICC[1]:g}",
        "read intervals as too narrow; see the sensitivity analysis with `icc`",
    )


# What the text layer of a PDF makes of letters: each pair is read as the same.
_CONFUSED = (("ivi", "m"), ("iv", "m"), ("rn", "m"), ("nn", "m"), ("vv", "w"), ("cl", "d"),
             ("0", "o"), ("1", "l"), ("|", "l"), ("i", "l"), ("5", "s"))  # fmt: skip
# A row of a table: a label, then numbers only.
_ROW = re.compile(r"^(?P<label>[^0-9]*[^0-9\s])\s+(?P<numbers>[0-9][0-9.\s]*)$")
_RUN = re.compile(r"(?<!\S)[0-9]+(?:\.[0-9]+)?(?:\s+[0-9]+(?:\.[0-9]+)?)+(?!\S)")


def check_text_layer(material: StudyMaterial) -> Iterator[Check]:
    """Rule TEXT-LAYER."""
    yield from _near_labels(material)
    yield from _merged_rows(material)


def _ocr(label: str) -> str:
    text = folded(label)
    for wrong, right in _CONFUSED:
        text = text.replace(wrong, right)
    return text


def _near_labels(material: StudyMaterial) -> Iterator[Check]:
    rows: dict[tuple[str, str], list[tuple[str, list[str], Proportion]]] = defaultdict(list)
    for value in material.proportions:
        quote = material.results[value.place.results[0]].quote
        match = _ROW.match(quote.strip())
        if match:
            entry = (match["label"], match["numbers"].split(), value)
            rows[value.place.report, value.arm].append(entry)
    for entries in rows.values():
        good: dict[str, tuple[str, list[str], Proportion]] = {}
        doubtful = []
        for entry in entries:
            fits = _possible(entry[2])
            if fits is False:
                doubtful.append(entry)
            elif fits:
                good.setdefault(_ocr(entry[0]), entry)
        for label, numbers, value in doubtful:
            twin = good.get(_ocr(label))
            if twin is None or folded(twin[0]) == folded(label):
                continue
            if not _near(numbers, twin[1]):
                continue
            yield Check(
                replace(value.place, arms=()),
                "inconsistent",
                f"{label} {' '.join(numbers)}",
                f"{twin[0]} {' '.join(twin[1])}",
                f"'{label}' looks like '{twin[0]}' read wrongly, with nearly the same numbers; "
                "its own are impossible",
                "look at the PDF itself; the row is likely to be there once",
            )


def _possible(value: Proportion) -> bool | None:
    if value.percent is None or not usable(value.percent) or not value.n:
        return None
    allowed = set(rounded(value.percent, value.n)) | set(cut(value.percent, value.n))
    return bool(allowed) if value.events is None else value.events in allowed


def _near(one: Sequence[str], other: Sequence[str]) -> bool:
    """Equal but for one digit of one number."""
    if len(one) != len(other):
        return False
    changed = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    if len(changed) > 1:
        return False
    return all(
        len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) == 1
        for a, b in changed
    )


def _merged_rows(material: StudyMaterial) -> Iterator[Check]:
    """A row of counts and percentages with more numbers than a row has."""
    seen: set[str] = set()
    for value in material.proportions:
        result = material.results[value.place.results[0]]
        if len(result.arms) != 1 or value.percent is None or value.events is None:
            continue
        if value.percent.percent or result.quote in seen:
            continue  # with its sign it stands in a sentence
        seen.add(result.quote)
        runs = [match.group().split() for match in _RUN.finditer(result.quote)]
        longest = max(runs, key=len, default=[])
        wanted = {f"{value.events}", value.percent.text.strip()}
        # A further number beside the two belongs to the label before or after them.
        pair = (str(value.events), value.percent.text.strip()) in pairwise(longest)
        if len(longest) > 2 and not pair and wanted & set(longest):
            yield Check(
                replace(value.place, arms=()),
                "inconsistent",
                " ".join(longest),
                f"{value.events} {value.percent.text.strip()}",
                f"{len(longest)} numbers stand in a row that should have two: rows or cells "
                "were merged by the text layer",
                "look at the PDF itself for which number belongs to which row",
            )
        elif longest:
            yield Check(
                value.place, "consistent", " ".join(longest), "", "two numbers in its row"
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "RANGE-V-CAT",
        "error",
        "study",
        "A range does not cover a category that somebody is in (`limits`), or a median or "
        "quartile has more than its share of units beyond it.",
        check_ranges,
    ),
    Rule(
        "N-CONSISTENCY",
        "warning",
        "study",
        "One label has two counts or two n, a percentage fits its count only with the n of "
        "another arm, or responses of one arm at one time are of different n.",
        check_sizes,
    ),
    Rule(
        "UNIT",
        "warning",
        "study",
        "Several units of a patient (episodes, tumours) are counted as independent, or an arm "
        "has more patients than the study; the effective n is shown.",
        check_units,
        "Kish 1965, Survey Sampling",
    ),
    Rule(
        "TEXT-LAYER",
        "note",
        "study",
        "Two rows of a table whose labels differ as letters are misread, with nearly the same "
        "numbers, one of them impossible; or a row with more numbers than columns.",
        check_text_layer,
    ),
)
