"""Rules about what a number is of: one number under two definitions, groups left out."""

import math
from collections.abc import Iterator, Mapping

from evisynth.audit.material import Review, StudyMaterial, name_of
from evisynth.audit.records import Check, Proportion, Rule
from evisynth.audit.texts import plain
from evisynth.studyfile import Outcome, Result


def definition(study: StudyMaterial) -> Iterator[Check]:
    """Medians of one outcome with one value and two definitions."""
    seen: dict[tuple[str, str, str, str], Result] = {}
    for result in study.study.content.results:
        for value in result.arms.values():
            if result.kind != "median" or not value.median or not result.when:
                continue
            key = (result.report, result.outcome, value.median, result.unit or "")
            first = seen.setdefault(key, result)
            if first is result or first.when == result.when:
                continue
            groups = [" and ".join(one.arms) for one in (first, result)]
            yield Check(
                study.result_place(result),
                "inconsistent",
                f"{value.median} {result.unit or ''}".strip(),
                f"{first.when} ({groups[0]}); {result.when} ({groups[1]})",
                "one report prints one number under two definitions",
                "look which of them it is before using either",
            )


def _counts(printed: Proportion, n: int) -> list[int]:
    """Counts of `n` that print a percentage, rounded up or to even at a half."""
    if printed.percent is None or n <= 0:
        return []
    half = 0.5 * 10.0**-printed.percent.decimals + 1e-9
    low = math.ceil((printed.percent.value - half) * n / 100 - 1e-9)
    high = math.floor((printed.percent.value + half) * n / 100 + 1e-9)
    return list(range(max(0, low), min(n, high) + 1))


def left_out(study: StudyMaterial) -> Iterator[Check]:
    """Comparisons of parts of a split that leave another part out, and percentages with it."""
    for one in study.comparisons:
        arms = (one.one, one.two)
        names = {arm.arm for arm in arms}
        for split in study.study.content.splits:
            rest = [part for part in split.into if part not in names]
            if not names < set(split.into) or not rest:
                continue
            sizes = {part: study.study.arm(part).n for part in rest}
            printed = (
                f"{' v '.join(f'{arm.arm} {arm.n}' for arm in arms)}; in neither: "
                + ", ".join(f"{part} {n}" for part, n in sizes.items())
            )
            doubts = [
                words
                for arm in arms
                if arm.events is None and arm.n
                for words in _with(arm, arm.n, sizes)
            ]
            if doubts:
                yield Check(
                    one.place,
                    "inconsistent",
                    printed,
                    "; ".join(doubts),
                    "a comparison leaves out a part of the whole, and its percentage fits the "
                    "group together with that part",
                    "ask the authors which groups were compared",
                )
            else:
                yield Check(one.place, "consistent", printed, "", "the groups are as named")


def _with(arm: Proportion, n: int, sizes: Mapping[str, int]) -> Iterator[str]:
    """A percentage as a count of the group alone, and with each part that was left out."""
    shown = arm.percent.text if arm.percent else ""
    alone = _counts(arm, n)
    for part, more in sizes.items():
        both = _counts(arm, n + more)
        if both and len(both) == 1:
            fits = " or ".join(f"{k}/{n}" for k in alone) or f"no count of {n}"
            yield f"{shown}: {fits} of {arm.arm}, or {both[0]}/{n + more} with {part}"


def outcome_label(review: Review) -> Iterator[Check]:
    """Survival probabilities whose words name another outcome."""
    outcomes = review.evidence.outcomes if review.evidence else {}
    labels = {key: plain(one.label) for key, one in outcomes.items() if " " in one.label}
    for study in review.studies:
        for result in study.study.content.results:
            if result.kind == "km_probability" and result.outcome in outcomes:
                yield _named(study, result, labels, outcomes)


def _named(
    study: StudyMaterial,
    result: Result,
    labels: Mapping[str, str],
    outcomes: Mapping[str, Outcome],
) -> Check:
    said, own = plain(result.quote), plain(outcomes[result.outcome].label)
    others = [
        outcomes[key].label
        for key, label in labels.items()
        if label in said and label not in own and key != result.outcome
    ]
    place = study.place(f"results.{name_of(result)}", result.report)
    printed = " v ".join(value.printed or "?" for value in result.arms.values())
    if not others or own in said:
        return Check(place, "consistent", printed, "", "its words name no other outcome")
    fits = [
        f"{counts[0]}/{one.n}"
        for arm, value in result.arms.items()
        if (one := study.proportion(result, arm, value)).n
        and (counts := _counts(one, one.n or 0))
    ]
    return Check(
        place,
        "inconsistent",
        f"{printed}: {', '.join(others)}",
        f"{outcomes[result.outcome].label}; {' and '.join(fits) or 'no counts'} would print "
        "it, but a probability with censoring is no count",
        "a survival probability is worded as another outcome",
        "keep it as a probability without events",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "DEFINITION",
        "note",
        "study",
        "One report prints one median of one outcome under two definitions.",
        definition,
    ),
    Rule(
        "LEFT-OUT",
        "note",
        "study",
        "A comparison of two parts of a split (`splits`) leaves a third out, and a percentage "
        "without a count fits a group together with it.",
        left_out,
    ),
    Rule(
        "OUTCOME-LABEL",
        "warning",
        "review",
        "The words of a Kaplan-Meier probability name another outcome of the review than its "
        "own.",
        outcome_label,
    ),
)
