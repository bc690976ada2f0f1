"""Every result that an analysis might have taken, and why it did or did not.

Every result of the analysis' outcome in any study file, or every row of its table, gives one
line or more; so "why is study X not here?" has an answer. Free of numpy.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evisynth.config import Analysis, Side
from evisynth.evidence import Evidence, Study
from evisynth.inputs import INPUTS
from evisynth.rows import BY_AUDIT, RawRow
from evisynth.selection import fitting, printed_text
from evisynth.studyfile import Report, Result
from evisynth.table import TableRow, read_table

POOLED = "pooled"
LISTED = "listed"
ELIGIBILITY = "eligibility"
USE_NO = "use: no"
SUPERSEDED = "superseded"
DUPLICATE = "duplicate"
OVERLAP = "overlap"
AUDIT = "audit"
EXCLUDED = "excluded by the reviewer"
NOT_CHOSEN = "not chosen"
NOT_USABLE = "not usable"
SHOWN = "shown only"

CATEGORIES: dict[str, str] = {
    POOLED: "enters the models",
    LISTED: "fits, in an analysis that pools nothing (`pool: no`)",
    ELIGIBILITY: "of other arms, of another contrast, or a row that `rows` does not select",
    USE_NO: "the study file says that no analysis may take it",
    SUPERSEDED: "the same, and a later report replaces the one that prints it",
    DUPLICATE: "the same, and its report has the text of another one",
    OVERLAP: "its patients are in another row",
    AUDIT: "an error of the audit that nobody has accepted",
    EXCLUDED: "`exclude` or `studies` of the analysis, or `excluded` of the study file",
    NOT_CHOSEN: "the study has several that fit, and `choose` takes another",
    NOT_USABLE: "fits the question, and gives no number that the measure can take",
    SHOWN: "drawn beside the others by `show`",
}
"""Kinds of reason, with what they mean."""


@dataclass(frozen=True, slots=True)
class Line:
    """One candidate.

    Attributes
    ----------
    row : position among the rows of the analysis; None if it is none of them.
    category : key of `CATEGORIES`.
    reason : in words; empty where it is pooled and nothing is to be said.
    numbers : as the measure takes them.
    printed : as its report prints them.
    also : what other reports print of the same quantity.
    shares : studies with rows in this analysis that it shares patients with, as declared.
    place, file, line : where it stands.
    """

    study: str
    label: str
    result: str
    arms: tuple[str, ...]
    report: str
    row: int | None
    category: str
    reason: str
    numbers: str = ""
    printed: str = ""
    also: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    place: str = ""
    file: str = ""
    line: int | None = None


def candidates(
    analysis: Analysis, evidence: Evidence | None, rows: Sequence[RawRow], base: Path
) -> tuple[Line, ...]:
    """Every candidate of an analysis: its rows in their order, then what is not among them.

    Parameters
    ----------
    rows : the rows of the analysis, after the audit.
    base : folder that paths of the configuration are relative to.
    """
    studies = {study.file: study for study in (evidence.studies if evidence else ())}
    table = _table(analysis, base)
    first_shown = len(rows) - len(analysis.show)
    sharing = _sharing(evidence, rows)
    found = []
    for index, row in enumerate(rows):
        file, _, entry = row.place.partition("#")
        shown = index >= first_shown
        study = studies.get(file)
        if study is None:
            found.append(_of_table(analysis, row, index, entry, table))
        else:
            name = entry.removeprefix("results.")
            line = _of_row(analysis, study, row, index, name, shown=shown)
            found.append(replace(line, shares=sharing.get(study.id, ())))
    if analysis.table:
        found += _other_rows(analysis, rows, table)
    elif evidence:
        for study in evidence.studies:
            found += _absent(analysis, study, rows)
    return tuple(found)


def settled(line: Line, *, included: bool, reason: str) -> Line:
    """The line of a row, once effect sizes and models have said whether they take it."""
    if line.category in (POOLED, LISTED) and not included:
        return replace(line, category=NOT_USABLE, reason=reason)
    return line


def _table(analysis: Analysis, base: Path) -> Mapping[str, TableRow]:
    """Rows of the table by their entry; the table was read and checked before."""
    if not analysis.table:
        return {}
    rows = read_table(base / analysis.table, analysis.table).rows
    return {f"row {number}": row for number, row in enumerate(rows, 1)}


def _sharing(evidence: Evidence | None, rows: Sequence[RawRow]) -> dict[str, tuple[str, ...]]:
    """Studies with rows by study, where a study file declares that they share patients."""
    here = {row.study for row in rows}
    found: dict[str, set[str]] = {}
    for study in evidence.studies if evidence else ():
        for overlap in study.content.overlaps:
            if overlap.certainty != "excluded" and {study.id, overlap.with_} <= here:
                found.setdefault(study.id, set()).add(overlap.with_)
                found.setdefault(overlap.with_, set()).add(study.id)
    return {study: tuple(sorted(others)) for study, others in found.items()}


def _numbers(numbers: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {value:.15g}" for name, value in numbers.items() if not math.isnan(value)
    )


def _of_table(
    analysis: Analysis, row: RawRow, index: int, entry: str, table: Mapping[str, TableRow]
) -> Line:
    category = _category(analysis, row)
    if not row.included and category == NOT_USABLE and row.study in analysis.exclude:
        category = EXCLUDED
    return Line(
        study=row.study,
        label=row.label,
        result=entry,
        arms=(),
        report=row.report,
        row=index,
        category=category,
        reason=_reason(analysis, row),
        numbers=_numbers(row.numbers),
        printed=row.printed,
        place=row.place,
        file=str(analysis.table),
        line=table[entry].line if entry in table else None,
    )


def _reason(analysis: Analysis, row: RawRow) -> str:
    """Why it is not pooled; of rows of an analysis that pools nothing, why that is so."""
    if not row.included:
        return row.reason
    return "" if analysis.pool else str(analysis.why_not)


def _category(analysis: Analysis, row: RawRow) -> str:
    """Category as far as the row itself tells."""
    if row.included:
        return POOLED if analysis.pool else LISTED
    if row.reason.startswith(BY_AUDIT):
        return AUDIT
    return OVERLAP if row.reason.startswith("overlap") else NOT_USABLE


def _report(study: Study, name: str) -> Report:
    return next(report for report in study.content.reports if report.id == name)


def _of_row(
    analysis: Analysis, study: Study, row: RawRow, index: int, name: str, *, shown: bool
) -> Line:
    result = study.result(name)
    if result is None:
        raise KeyError(f"{study.file} has no result {name}")
    category, reason = _category(analysis, row), _reason(analysis, row)
    report = _report(study, result.report)
    if shown:
        category = SHOWN
    elif category == NOT_USABLE and not result.use:
        category = _use(report)
    elif category == NOT_USABLE and (study.content.excluded or study.id in analysis.exclude):
        category = EXCLUDED
    elif row.included and report.superseded_by:
        reason = "; ".join(filter(None, [reason, _superseded(report)]))
    arms = tuple(arm.partition("/")[2] for arm in row.arms)
    return replace(
        _line(study, result, arms),
        label=row.label,
        row=index,
        category=category,
        reason=reason,
        numbers=_numbers(row.numbers),
    )


def _use(report: Report) -> str:
    """Category of a result that no analysis may take."""
    if report.superseded_by:
        return SUPERSEDED
    return DUPLICATE if report.duplicate_of else USE_NO


def _superseded(report: Report) -> str:
    return f"its report {report.id} is superseded by {report.superseded_by}"


def _line(study: Study, result: Result, arms: tuple[str, ...]) -> Line:
    """What can be said of a result, whatever becomes of it."""
    name = result.id or result.outcome
    return Line(
        study=study.id,
        label=study.label,
        result=name,
        arms=arms,
        report=result.report,
        row=None,
        category="",
        reason="",
        printed=printed_text(result, arms),
        also=_also(study, result, arms),
        place=f"{study.file}#results.{name}",
        file=study.file,
        line=study.line(f"results.{name}"),
    )


def _also(study: Study, result: Result, arms: tuple[str, ...]) -> tuple[str, ...]:
    """The same quantity elsewhere: `also` entries, then results that other reports print."""
    found = [f"{entry.report}: “{entry.quote}”" for entry in result.also]
    for other in study.content.results:
        same = (other.outcome, other.category, other.subgroup) == (
            result.outcome,
            result.category,
            result.subgroup,
        )
        of_arms = not arms or not other.arms or set(arms) & set(other.arms)
        if same and of_arms and other is not result and other.report != result.report:
            name = other.id or other.outcome
            text = printed_text(other, tuple(arm for arm in arms if arm in other.arms))
            found.append(f"{other.report}: {text or 'no number'} (result {name})")
    return tuple(found)


def _absent(analysis: Analysis, study: Study, rows: Sequence[RawRow]) -> list[Line]:
    """Results of the outcome that are no row of the analysis."""
    here = [row for row in rows if row.place.startswith(f"{study.file}#")]
    taken = {row.place.partition("#")[2].removeprefix("results.") for row in here}
    fits = {(c.name, c.arms): c for c in fitting(analysis, study)}
    lines = []
    for result in study.content.results:
        if result.outcome != analysis.outcome:
            continue
        name = result.id or result.outcome
        used = {a for row in here if row.place.endswith(f"#results.{name}") for a in row.arms}
        groups: list[tuple[str, ...]]
        by_arm = INPUTS[analysis.measure].design == "one_group" and bool(result.arms)
        if by_arm:
            groups = [(arm,) for arm in result.arms if f"{study.id}/{arm}" not in used]
        else:
            groups = [] if name in taken else [tuple(result.arms)]
        for arms in groups:
            line = _line(study, result, arms)
            candidate = fits.get((name, arms))
            if candidate is None and not by_arm:
                candidate = next((c for (n, _), c in fits.items() if n == name), None)
            why = candidate.unusable if candidate else None
            category, reason = _why(analysis, study, result, arms, why)
            numbers = _numbers(candidate.numbers) if candidate else ""
            lines.append(replace(line, category=category, reason=reason, numbers=numbers))
    return lines


def _why(
    analysis: Analysis,
    study: Study,
    result: Result,
    arms: tuple[str, ...],
    unusable: str | None,
) -> tuple[str, str]:
    """Category and reason of a result that is no row.

    Parameters
    ----------
    unusable : why it has no usable number, empty if it has; None if it does not fit at all.
    """
    report = _report(study, result.report)
    barred = "" if result.use else str(result.why_not)
    if unusable is None:
        reason = _misfit(analysis, study, result, arms)
        return ELIGIBILITY, "; ".join(filter(None, [reason, barred and f"use: no: {barred}"]))
    if barred:
        return _use(report), barred
    if analysis.studies != "all" and study.id not in analysis.studies:
        return EXCLUDED, "its study is not among `studies` of the analysis"
    if unusable:
        return NOT_USABLE, unusable
    chosen = analysis.choose.get(study.id, [])
    return NOT_CHOSEN, f"`choose` takes {', '.join(chosen)} of this study"


def _words(side: Side | str | None) -> str:
    if side is None:
        return "any treatment"
    return side if isinstance(side, str) else " or ".join(side.treatment)


def _misfit(analysis: Analysis, study: Study, result: Result, arms: tuple[str, ...]) -> str:
    """In what a result is not about the question of an analysis."""
    treatments = " v ".join(study.arm(arm).treatment for arm in arms)
    contrast = analysis.contrast
    asked = _words(analysis.arms)
    if contrast:
        asked = f"{_words(contrast.numerator)} v {_words(contrast.denominator)}"
    if result.contrast and not arms:
        about = f"{result.contrast.numerator} v {result.contrast.denominator}"
        return f"about {about}; the analysis asks for {asked}"
    noun = "arm" if len(arms) == 1 else "arms"
    about = f"{noun} of treatment {treatments}" if arms else "no number of an arm"
    return f"{about}; the analysis asks for {asked}"


def _other_rows(
    analysis: Analysis, rows: Sequence[RawRow], table: Mapping[str, TableRow]
) -> list[Line]:
    """Rows of the table that `studies` leaves out, and how many `rows` does not select."""
    name = str(analysis.table)
    taken = {row.place for row in rows}
    lines, others = [], Counter[str]()
    first = 0
    for entry, row in table.items():
        wrong = {
            column: row.cells[column]
            for column, values in analysis.rows.items()
            if row.cells[column] not in values
        }
        if wrong:
            first = first or row.line
            others[", ".join(f"{column} is {value}" for column, value in wrong.items())] += 1
        elif f"{name}#{entry}" not in taken:
            study = row.cells[analysis.columns["study"]]
            lines.append(
                Line(
                    study=study,
                    label=study,
                    result=entry,
                    arms=(),
                    report="",
                    row=None,
                    category=EXCLUDED,
                    reason="its study is not among `studies` of the analysis",
                    place=f"{name}#{entry}",
                    file=name,
                    line=row.line,
                )
            )
    if others:
        said = "; ".join(f"{count} where {words}" for words, count in sorted(others.items()))
        lines.append(
            Line(
                study="",
                label="",
                result="",
                arms=(),
                report="",
                row=None,
                category=ELIGIBILITY,
                reason=f"{others.total()} further rows that `rows` does not select: {said}",
                place=name,
                file=name,
                line=first,
            )
        )
    return lines
