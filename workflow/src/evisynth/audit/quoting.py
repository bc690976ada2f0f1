"""Whether the quotes hold the numbers, and whether the texts hold the quotes."""

import re
from collections.abc import Iterator

from evisynth.audit.counting import rounded
from evisynth.audit.material import PER_CENT, StudyMaterial, name_of, printed_or_none
from evisynth.audit.records import Check, Place, Rule
from evisynth.audit.texts import folded, is_foreign, numbers_in, perhaps_in
from evisynth.printed import Printed, parse_printed
from evisynth.studyfile import ArmValue, Result

LARGEST_WORD = 100
"""Up to it a number may be written as a word."""
_PER_CENT = re.compile(r"[0-9]+(?:\.[0-9]+)?\s?%")
_PAIRS = ("ci", "iqr", "range", "spread")
_SINGLE = ("se", "mean", "sd", "median")


def _of_result(result: Result) -> Iterator[tuple[str, str, float]]:
    """Name, text and value of every number of a result itself that its quote must hold."""
    for name, text in (("estimate", result.estimate), ("p", result.p)):
        if not result.derived:
            yield from _one(name, printed_or_none(text))
    for text in result.ci or ():
        yield from _one("ci", printed_or_none(text))


def _of_arm(
    study: StudyMaterial, result: Result, arm: str, value: ArmValue
) -> Iterator[tuple[str, str, float]]:
    """Those of one of its arms."""
    derived = value.derived or result.derived
    if value.events is not None and not derived:
        yield "events", str(value.events), float(value.events)
    # the size of the group stands elsewhere in the report
    if value.n not in (None, study.study.arm(arm).n) and not derived:
        yield "n", str(value.n), float(value.n or 0)
    yield from _one("printed", printed_or_none(value.printed))
    if value.estimate and not derived:
        yield from _fraction(result, value)
    for name in _SINGLE:
        if not derived:
            yield from _one(name, printed_or_none(getattr(value, name)))
    for name in _PAIRS:
        for text in getattr(value, name) or ():
            yield from _one(name, printed_or_none(text))


def _one(name: str, printed: Printed | None) -> Iterator[tuple[str, str, float]]:
    if printed:
        yield name, printed.text, abs(printed.value)


def _fraction(result: Result, value: ArmValue) -> Iterator[tuple[str, str, float]]:
    """The estimate of an arm; where it is the printed percentage as a fraction, that is it."""
    printed, shown = printed_or_none(value.estimate), printed_or_none(value.printed)
    per_cent = shown and (shown.percent or (result.unit or "").casefold() in PER_CENT)
    if printed and not (shown and per_cent and abs(100 * printed.value - shown.value) < 1e-9):
        yield from _one("estimate", printed)


def quote(study: StudyMaterial) -> Iterator[Check]:
    """Numbers in quotes, and quotes in the stored texts."""
    for result in study.study.content.results:
        yield from _numbers(study, result)
    yield from _verbatim(study)


def _numbers(study: StudyMaterial, result: Result) -> Iterator[Check]:
    said = numbers_in(result.quote)
    wanted = [("", list(_of_result(result)))]
    wanted += [
        (arm, list(_of_arm(study, result, arm, value))) for arm, value in result.arms.items()
    ]
    clean = True
    for arm, numbers in wanted:
        absent = [entry for entry in numbers if not _said(entry[2], said)]
        ways = [_otherwise(study, result, arm, entry, said) for entry in absent]
        missing = [f"{name} {text}" for name, text, _ in absent]
        if absent and all(ways):
            clean = False
            yield Check(
                study.result_place(result, arm),
                "undecided",
                ", ".join(missing),
                f"the quote has {', '.join(f'{v:g}' for v in sorted(said)) or 'no number'}",
                "; ".join(dict.fromkeys(ways)),
                "if it was calculated, write `derived: {from, method}`; else quote the words "
                "that hold it",
            )
        elif absent:
            clean = False
            yield Check(
                study.result_place(result, arm),
                "inconsistent",
                ", ".join(missing),
                f"the quote has {', '.join(f'{v:g}' for v in sorted(said)) or 'no number'}",
                "a number of the entry does not stand in its quote",
                "correct the number or quote the words that hold it; if it was calculated, "
                "write `derived: {from, method}`",
            )
    if clean:
        printed = [text for _, numbers in wanted for _, text, _ in numbers]
        yield Check(
            study.result_place(result),
            "consistent",
            ", ".join(printed),
            "all in the quote" if printed else "no number to look for",
            "the quote holds the numbers",
        )


def _said(value: float, said: frozenset[float]) -> bool:
    return any(abs(value - other) < 1e-9 for other in said)


def _otherwise(
    study: StudyMaterial,
    result: Result,
    arm: str,
    entry: tuple[str, str, float],
    said: frozenset[float],
) -> str:
    """How the quote may say a number that is not in it; empty if in no way."""
    name, _, value = entry
    if name == "printed" and _said(value / 100, said):
        return "the quote has the percentage as a fraction"
    if name == "printed" and _said(100 - value, said):
        return f"the quote has the percentage of the others, {100 - value:g}"
    if value <= LARGEST_WORD and value == int(value):
        if _said(value, perhaps_in(result.quote)):
            return "a word of the quote may stand for it"
        if is_foreign(result.quote):
            return "numbers in words of other languages than English are not read"
    if name == "events" and arm:
        n = result.arms[arm].n or study.study.arm(arm).n
        k = int(value)
        if n and k == n and _said(100, perhaps_in(result.quote)):
            return "the quote says that it is all of them"
        if n and any(abs(x * n / 100 - k) < 1e-9 for x in perhaps_in(result.quote) if x > 20):
            return "a word of the quote may stand for it"
        if _said(n - k, said) and k != n:
            return f"the quote has the other {n - k} of {n}"
        shares = [parse_printed(text) for text in _PER_CENT.findall(result.quote)]
        if n and any(k in rounded(share, n) for share in shares):
            return f"the quote has a percentage of which {k} of {n} is a count"
    return ""


def _verbatim(study: StudyMaterial) -> Iterator[Check]:
    silent: dict[str, int] = {}
    for place, report, words in _quotes(study):
        text = study.texts.get(report)
        if text is None:
            if report:
                silent[report] = silent.get(report, 0) + 1
        elif folded(words) in text:
            yield Check(place, "consistent", words, "verbatim", "the quote stands in the text")
        else:
            yield Check(
                place,
                "inconsistent",
                words,
                "not in the stored text of the report",
                "the quote does not stand in the text, white space apart",
                "copy the words from the text, or correct `report` or `source`",
            )
    for report, count in silent.items():
        quotes = "1 quote" if count == 1 else f"{count} quotes"
        yield Check(
            study.place(f"reports.{report}", report),
            "undecided",
            quotes,
            "",
            f"no text of this report is stored: {quotes} not looked up",
        )


def _quotes(study: StudyMaterial) -> Iterator[tuple[Place, str, str]]:
    content = study.study.content
    for result in content.results:
        place = study.result_place(result)
        yield place, result.report, result.quote
        for also in result.also:
            # another report's words: the numbers of this result are not in doubt for them
            name = f"results.{name_of(result)}"
            yield study.place(name, also.report), also.report, also.quote
    for report in content.reports:
        place = study.place(f"reports.{report.id}", report.id)
        for words in (
            *(entry.quote for entry in report.captions),
            *(entry.quote for entry in report.references),
            *(entry.quote for entry in report.methods),
            *(entry.quote for entry in report.claims),
        ):
            yield place, report.id, words
    for move in content.events_after_randomisation:
        yield study.place(f"arms.{move.from_}", move.report), move.report, move.quote
    for overlap in content.overlaps:
        if overlap.quote:
            place = study.place(f"overlaps.{overlap.with_}", overlap.report or "")
            yield place, overlap.report or "", overlap.quote


RULES: tuple[Rule, ...] = (
    Rule(
        "QUOTE",
        "error",
        "study",
        "A number of an entry stands in its quote neither as digits (with decimal point or "
        "comma, thousands however separated) nor as an English word, and is not marked "
        "`derived`; the size of the arm itself need not be there. Not decided where words may "
        "stand for it (none, both, half, another language), or where the quote has the "
        "percentage or the others instead of the count. Or the quote is not in the stored text "
        "of its report word for word, runs of white space apart.",
        quote,
    ),
)
