"""The same numbers twice: under two labels, in two outcomes, in two studies."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from evisynth.audit.counting import (
    candidates,
    digits,
    folded,
    listed,
    percent_text,
    rounded,
    share,
    usable,
)
from evisynth.audit.exact import LARGEST, chi_square, fisher
from evisynth.audit.material import Review, StudyMaterial, printed_or_none
from evisynth.audit.records import Check, Comparison, Effect, Proportion, Rule
from evisynth.printed import Printed

# Numbers with two significant digits or more that must agree before chance is no explanation.
INFORMATIVE = 4


def _text(value: Printed | None) -> str:
    return "" if value is None else f"{value.relation}{value.value:.{value.decimals}f}"


def _numbers(effect: Effect) -> tuple[str, str, str, str]:
    return (
        _text(effect.estimate),
        _text(effect.low),
        _text(effect.high),
        _text(effect.p),
    )


def _informative(values: Iterable[Printed | None]) -> int:
    return sum(1 for value in values if value is not None and digits(value) >= 2)


def _shown(effect: Effect) -> str:
    parts = [effect.estimate.text if effect.estimate else "?"]
    if effect.low and effect.high:
        parts.append(f"({effect.low.text} to {effect.high.text})")
    if effect.p:
        parts.append(f"p {effect.p.text.strip()}")
    return " ".join(parts)


def check_rows(material: StudyMaterial) -> Iterator[Check]:
    """Rule DUP-ROW."""
    groups: dict[tuple[object, ...], list[Effect]] = defaultdict(list)
    for effect in material.effects:
        if effect.estimate and effect.low and effect.high:
            groups[effect.place.report, effect.kind].append(effect)
    for effects in groups.values():
        if len(effects) < 2:
            continue
        twins: dict[tuple[str, ...], list[Effect]] = defaultdict(list)
        for effect in effects:
            twins[_numbers(effect)].append(effect)
        found = [same for same in twins.values() if _differ(same)]
        if not found:
            yield Check(
                material.place(f"reports.{effects[0].place.report}", effects[0].place.report),
                "consistent",
                f"{len(effects)} rows ({effects[0].kind})",
                f"{len(twins)} different",
                "no row is printed under two labels",
            )
        for same in found:
            yield from _duplicated(same)


def _differ(effects: Sequence[Effect]) -> bool:
    """Whether they are about different things; one row extracted twice is not a finding."""
    return len({(folded(e.label), folded(e.denominator), e.outcome) for e in effects}) > 1


def _duplicated(effects: Sequence[Effect]) -> Iterator[Check]:
    one = effects[0]
    informative = _informative((one.estimate, one.low, one.high, one.p))
    names = tuple(effect.place.results[0] for effect in effects)
    labels = list(dict.fromkeys(effect.label for effect in effects))
    same_model = len({(e.outcome, folded(e.model)) for e in effects}) == 1
    if informative < 2:
        yield Check(
            replace(one.place, results=names),
            "undecided",
            _shown(one),
            f"{len(effects)} times",
            f"{listed(names)} print the same numbers, of so few digits that it may be chance",
        )
        return
    for effect in effects:
        yield Check(
            # The rows are in doubt together; the decision on each is its own.
            replace(effect.place, results=(effect.place.results[0],)),
            "inconsistent",
            _shown(effect),
            f"identical under {listed(labels if len(labels) > 1 else names)}",
            f"{listed(names)} print the same {'four' if one.p else 'three'} numbers"
            + (" in one model; which of them they belong to is unknown" if same_model else ""),
            "use none of these rows until the authors have answered",
            None if same_model and informative >= 3 else "warning",
        )


def _reproduced(comparison: Comparison) -> bool | None:
    """Whether some usual test of the counts prints the p-value; None without counts."""
    counts = [_count(value) for value in (comparison.one, comparison.two)]
    p = comparison.p
    if p is None or None in counts:
        return None
    (a, n1), (c, n2) = (count for count in counts if count)
    if a > n1 or c > n2 or n1 + n2 > LARGEST:
        return None
    exact = fisher(a, n1, c, n2)
    tests = [
        exact.one_sided,
        exact.two_sided,
        exact.mid_one_sided,
        exact.mid_two_sided,
        chi_square(a, n1, c, n2),
        chi_square(a, n1, c, n2, yates=True),
    ]
    unit = 10.0**-p.decimals
    return any(t is not None and abs(t - p.value) <= unit / 2 + 1e-12 for t in tests)


def _count(value: Proportion) -> tuple[int, int] | None:
    allowed = candidates(value)
    if allowed is None or len(allowed) != 1 or value.n is None:
        return None
    return allowed[0], value.n


def check_p_values(material: StudyMaterial) -> Iterator[Check]:
    """Rule DUP-P."""
    by_contrast: dict[tuple[str, ...], list[Comparison]] = defaultdict(list)
    for comparison in material.comparisons:
        p = comparison.p
        if p and p.relation in ("", "=") and digits(p) >= 2:
            by_contrast[
                comparison.place.report,
                comparison.one.arm,
                comparison.two.arm,
                folded(comparison.one.subgroup),
                _text(p),
            ].append(comparison)
    for found in by_contrast.values():
        if len({comparison.outcome for comparison in found}) < 2:
            continue
        if len({(_text(c.one.percent), c.one.events) for c in found}) < 2:
            continue
        failing = [c for c in found if _reproduced(c) is not True]
        names = [c.place.results[0] for c in found]
        p = found[0].p
        assert p is not None  # grouped by it
        if failing:
            last = failing[-1]
            yield Check(
                last.place,
                "inconsistent",
                f"p {p.text.strip()} in {listed(names)}",
                "not reproduced by the counts of "
                + listed(c.place.results[0] for c in failing),
                f"p = {p.text.strip()} is printed for {len(found)} outcomes of one contrast; "
                f"of {last.place.results[0]} no usual test gives it",
                "compare the p-value with the report; it may be that of the other outcome",
            )
        else:
            yield Check(
                found[0].place,
                "consistent",
                f"p {p.text.strip()} in {listed(names)}",
                "reproduced by the counts of each",
                "the same p-value, but each fits its counts",
            )


def check_labels(material: StudyMaterial) -> Iterator[Check]:
    """Rule SAME-NUMBER."""
    found: dict[tuple[str, ...], list[Comparison]] = defaultdict(list)
    for comparison in material.comparisons:
        percents = [comparison.one.percent, comparison.two.percent]
        if not all(usable(percent) for percent in percents):
            continue
        told = [p for p in (*percents, comparison.p) if p is not None and digits(p) >= 2]
        if len(told) < 2 or (comparison.p is None and _informative(percents) < 2):
            continue
        key = (comparison.outcome, *(_text(p) for p in (*percents, comparison.p)))
        found[key].append(comparison)
    for same in found.values():
        pairs = {(c.one.arm, c.two.arm) for c in same}
        if len(pairs) > 1:
            yield from _two_labels(same)


def _fits(comparison: Comparison) -> bool | None:
    """Whether both percentages are counts of these arms; None if n is not known."""
    fits = [
        bool(rounded(value.percent, value.n))
        for value in (comparison.one, comparison.two)
        if value.percent is not None and value.n is not None
    ]
    return all(fits) if len(fits) == 2 else None


def _two_labels(same: Sequence[Comparison]) -> Iterator[Check]:
    fitting = [c for c in same if _fits(c)]
    wrong = [c for c in same if _fits(c) is False]
    first = same[0]
    p = first.p
    printed = " v ".join(
        percent_text(value.percent) for value in (first.one, first.two) if value.percent
    ) + (f", p {p.text.strip()}" if p else "")
    labels = [f"{c.one.arm} v {c.two.arm}" for c in same]
    if fitting and wrong:
        right = fitting[0]
        counts = " v ".join(
            share(rounded(v.percent, v.n)[0], v.n, max(v.percent.decimals, 1))
            for v in (right.one, right.two)
            if v.percent is not None and v.n is not None
        )
        for comparison in wrong:
            sizes = f"{comparison.one.n} and {comparison.two.n}"
            yield Check(
                comparison.place,
                "inconsistent",
                printed,
                f"{counts} of {right.one.arm} v {right.two.arm}",
                f"the numbers of {right.place.results[0]} under another label; no counts of "
                f"{sizes} print them",
                "leave these out; the numbers belong to the other groups",
            )
        return
    for comparison in same[1:]:
        yield Check(
            comparison.place,
            "inconsistent",
            printed,
            f"under {listed(labels)}",
            f"{listed(c.place.results[0] for c in same)} print the same numbers under "
            "different labels; the group sizes do not tell which is right",
            "find out which groups the numbers are of",
            "warning",
        )


def check_studies(review: Review) -> Iterator[Check]:
    """Rule DUP-BLOCK."""
    seen: dict[tuple[str, ...], tuple[StudyMaterial, str]] = {}
    for material in review.studies:
        related = {
            overlap.with_
            for overlap in material.study.content.overlaps
            if overlap.certainty != "excluded"
        }
        for effect in material.effects:
            numbers = (effect.estimate, effect.low, effect.high, effect.p, effect.sei)
            key = (effect.kind, *(_text(number) for number in numbers))
            yield from _again(material, related, seen, key, numbers, effect.place.results[0])
        for name, result in material.results.items():
            cells = [
                text
                for value in result.arms.values()
                for text in (value.mean, value.sd, value.se, value.median)
                if text
            ]
            if len(cells) >= INFORMATIVE:
                cells_as = tuple(printed_or_none(text) for text in cells)
                yield from _again(material, related, seen, ("mean", *cells), cells_as, name)


def _again(
    material: StudyMaterial,
    related: set[str],
    seen: dict[tuple[str, ...], tuple[StudyMaterial, str]],
    key: tuple[str, ...],
    numbers: Sequence[Printed | None],
    name: str,
) -> Iterator[Check]:
    if _informative(numbers) < INFORMATIVE:
        return
    other, other_name = seen.setdefault(key, (material, name))
    if other is material or other.study.id in related:
        return
    if any(o.with_ == material.study.id for o in other.study.content.overlaps):
        return
    result = material.results[name]
    yield Check(
        material.result_place(result),
        "inconsistent",
        listed([number.text.strip() for number in numbers if number]),
        f"the same in {other.study.id}, results.{other_name}",
        f"{_informative(numbers)} numbers are those of {other.study.id}, digit for digit",
        "find out whether the two are one study, or whether one was copied",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "DUP-ROW",
        "error",
        "study",
        "Two labels of one model print the same estimate, bounds and p-value; a warning where "
        "they are of different outcomes or models.",
        check_rows,
    ),
    Rule(
        "DUP-P",
        "note",
        "study",
        "Two outcomes of one contrast print the same p-value, and of one of them no usual test "
        "of its counts gives it.",
        check_p_values,
    ),
    Rule(
        "SAME-NUMBER",
        "error",
        "study",
        "The same percentages and p-value are printed for two pairs of groups: an error for "
        "the pair whose sizes cannot give them, a warning where sizes do not tell.",
        check_labels,
    ),
    Rule(
        "DUP-BLOCK",
        "note",
        "review",
        "Two studies print the same four or more numbers, digit for digit, and no overlap of "
        "their patients is declared.",
        check_studies,
    ),
)
