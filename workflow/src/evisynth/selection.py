"""Which numbers enter an analysis: from study files or a table to one list of rows.

No study is left out silently: one that fits the question but cannot be pooled becomes a row
that is not included, with its reason.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path

from evisynth.authoritative import authoritative
from evisynth.config import Analysis, Side
from evisynth.errors import Problem, echo
from evisynth.evidence import Evidence, Study
from evisynth.inputs import INPUTS, check_numbers
from evisynth.menus import FIELDS
from evisynth.multi_arm import SHARED_ARM, as_multi_arm, reused_arms
from evisynth.readings import Candidate, ProblemAt, printed_effect, readings
from evisynth.rows import RawRow
from evisynth.studyfile import Derived, Result
from evisynth.table_rows import table_rows
from evisynth.validation import choices, nearest

NO_STUDY = "no study that fits"


def select(
    name: str, analysis: Analysis, evidence: Evidence | None, base: Path, config: str
) -> tuple[tuple[RawRow, ...], list[Problem]]:
    """Rows of the analysis `name` and everything that is wrong with its request.

    Parameters
    ----------
    evidence : the study files; None where the configuration names none.
    base : folder that paths of the configuration are relative to.
    config : name of the configuration file, for messages.
    """
    problems: list[Problem] = []

    def problem(place: str, found: str, expected: str, action: str) -> Problem:
        return Problem(config, f"analyses.{name}.{place}", found, expected, action)

    if analysis.table:
        rows = table_rows(name, analysis, base, config, problems)
    else:
        rows = _study_rows(analysis, evidence, problem, problems)
    if analysis.pool and not problems and not rows:
        problems.append(
            problem(
                "rows" if analysis.table else "outcome",
                NO_STUDY,
                "at least one study",
                "correct outcome, arms, contrast or rows; if the answer is that there is none, "
                "write `pool: no` with `why_not`",
            )
        )
    if evidence:
        rows += _shown_rows(analysis, evidence, problem, problems)
    elif analysis.show:
        problems.append(
            problem(
                "show", "results of study files", "`evidence` in the configuration", "add it"
            )
        )
    return tuple(rows), problems


def fitting(analysis: Analysis, study: Study) -> list[Candidate]:
    """Results of a study that fit an analysis, usable or not; mistakes are not said here."""

    def problem(place: str, found: str, expected: str, action: str) -> Problem:
        return Problem(study.file, place, found, expected, action)

    return readings(analysis, study, problem, [])


def check_words(
    name: str, analysis: Analysis, evidence: Evidence, config: str
) -> list[Problem]:
    """Outcome and studies that `analysis` names, where nothing can be selected yet."""

    def problem(place: str, found: str, expected: str, action: str) -> Problem:
        return Problem(config, f"analyses.{name}.{place}", found, expected, action)

    named = analysis if evidence.outcomes else analysis.model_copy(update={"outcome": ""})
    if evidence.ids is None:
        named = named.model_copy(update={"studies": "all", "exclude": {}, "choose": {}})
    problems = _unknown_words(named, evidence, evidence.ids or frozenset(), problem)
    return [p for p in problems if evidence.outcomes or not p.place.endswith(".outcome")]


def digest(rows: Iterable[RawRow], settings: object) -> str:
    """Short hash of the rows and the settings, the same on every machine.

    What only says how exactly numbers are printed does not count: no effect size is made of it.
    """
    plain = [[_digested(row) for row in rows], settings]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digested(row: RawRow) -> dict[str, object]:
    kept = {
        key: value
        for key, value in asdict(row).items()
        if key not in ("given", "spans", "choices")
    }
    # the order of covariates is that of columns in the results, so it counts too
    return kept | {"covariates": [*row.covariates.items()]}


def _study_rows(
    analysis: Analysis, evidence: Evidence | None, problem: ProblemAt, problems: list[Problem]
) -> list[RawRow]:
    if evidence is None:
        problems.append(
            problem(
                "outcome",
                "study files are asked for",
                "`evidence` in the configuration",
                "add it",
            )
        )
        return []
    known = {study.id for study in evidence.studies}
    problems += _unknown_words(analysis, evidence, known, problem)
    wanted = known if analysis.studies == "all" else set(analysis.studies)
    rows: list[RawRow] = []
    for study in sorted(evidence.studies, key=lambda s: (s.label.casefold(), s.id)):
        if study.id in wanted:
            found = _rows_of_study(analysis, study, problem, problems)
            rows += found
            if analysis.studies != "all" and not found:
                problems.append(
                    problem(
                        f"studies[{analysis.studies.index(study.id) + 1}]",
                        f"{echo(study.id)}, which has no result that fits",
                        f"results of {analysis.outcome!r} in these arms or this contrast",
                        "take it out of the list, or correct its file",
                    )
                )
    return rows


def _unknown_words(
    analysis: Analysis, evidence: Evidence, known: Collection[str], problem: ProblemAt
) -> list[Problem]:
    problems = []
    listed: list[tuple[str, str]] = []
    if analysis.studies != "all":
        listed += [(f"studies[{i}]", study) for i, study in enumerate(analysis.studies, 1)]
        if not analysis.studies:
            problems.append(_no_studies(problem))
    listed += [(f"exclude.{study}", study) for study in analysis.exclude]
    listed += [(f"choose.{study}", study) for study in analysis.choose]
    for place, study in listed:
        if study not in known:
            problems.append(_unknown_study(place, study, known, problem))
    if analysis.studies != "all":
        problems += [
            problem(
                f"exclude.{study}",
                f"{echo(study)}, which is not among `studies`",
                "a study of the list",
                "add it to `studies`, or remove it here",
            )
            for study in analysis.exclude
            if study in known and study not in analysis.studies
        ]
    problems += _unknown_treatments(analysis, evidence, problem)
    if analysis.outcome is None:
        problems.append(problem("outcome", "nothing", "an outcome, or a `table`", "add it"))
    elif analysis.outcome not in evidence.outcomes:
        problems.append(
            problem(
                "outcome",
                f"the outcome {echo(analysis.outcome)}",
                f"one of: {choices(evidence.outcomes, 60)}",
                f"correct it or define it{nearest(analysis.outcome, evidence.outcomes)}",
            )
        )
    return problems


def _unknown_treatments(
    analysis: Analysis, evidence: Evidence, problem: ProblemAt
) -> list[Problem]:
    """Treatment classes that no arm of any study has: a misspelt one would drop its studies."""
    known = {arm.treatment for study in evidence.studies for arm in study.content.arms}
    if not known or not analysis.pool:
        return []  # no study could be read, or none is expected
    sides = {"arms": analysis.arms}
    if analysis.contrast:
        sides |= {
            f"contrast.{key}": side
            for key, side in (
                ("numerator", analysis.contrast.numerator),
                ("denominator", analysis.contrast.denominator),
            )
            if isinstance(side, Side)
        }
    return [
        problem(
            f"{place}.treatment",
            f"the treatment {echo(word)}",
            f"a treatment class of some arm: {choices(known, 40)}",
            f"correct it{nearest(word, known)}",
        )
        for place, side in sides.items()
        if side
        for word in side.treatment
        if word not in known
    ]


def _no_studies(problem: ProblemAt) -> Problem:
    return problem(
        "studies", "an empty list", "`all` or a list of ids", "name at least one study"
    )


def _unknown_study(
    place: str, study: str, known: Collection[str], problem: ProblemAt
) -> Problem:
    return problem(
        place,
        f"the study {echo(study)}",
        f"one of: {choices(known, 40)}",
        f"correct it or add its file{nearest(study, known)}",
    )


def _rows_of_study(
    analysis: Analysis, study: Study, problem: ProblemAt, problems: list[Problem]
) -> list[RawRow]:
    candidates = readings(analysis, study, problem, problems)
    if study.id in analysis.choose:
        chosen = analysis.choose[study.id]
        for name in chosen:
            if name not in {c.name for c in candidates}:
                names = {c.name for c in candidates}
                problems.append(
                    problem(
                        f"choose.{study.id}",
                        f"the result {echo(name)}",
                        f"one of: {choices(names) or 'none fits this analysis'}",
                        f"correct it{nearest(name, names)}",
                    )
                )
        candidates = [c for c in candidates if c.name in chosen]
    else:
        candidates = authoritative(study, candidates)
    if not candidates:
        return []
    not_pooled = study.content.excluded or analysis.exclude.get(study.id)
    usable = [c for c in candidates if not c.unusable]
    if usable and not not_pooled:
        usable = as_multi_arm(analysis, study, usable, problem, problems)
    if not_pooled or not usable:
        shown = usable or candidates
        return [
            _row(
                c,
                analysis,
                included=False,
                reason=not_pooled or c.unusable,
                several=len(shown) > 1,
            )
            for c in shown
        ]
    for candidate in usable:
        problems += _impossible(analysis, candidate)
    comparisons = analysis.multi_arm != "refuse"
    problems += reused_arms(study, usable, problem, comparisons=comparisons)
    return [_row(c, analysis, several=len(usable) > 1) for c in usable]


def _impossible(analysis: Analysis, candidate: Candidate) -> list[Problem]:
    return [
        Problem(
            candidate.study.file,
            f"result {candidate.name}"
            + (f", {' v '.join(candidate.arms)}" if candidate.arms else "")
            + f": {FIELDS.get(field, field)}",
            found,
            expected,
            "correct it against the report",
            candidate.study.line(f"results.{candidate.name}"),
        )
        for field, found, expected in check_numbers(
            analysis.measure, candidate.numbers, whole=not candidate.divided
        )
    ]


def _row(
    candidate: Candidate,
    analysis: Analysis,
    *,
    included: bool = True,
    reason: str = "",
    several: bool = False,
) -> RawRow:
    study, result = candidate.study, candidate.result
    label = study.label
    if several:
        label += ": " + " v ".join(study.arm(a).label or a for a in candidate.arms)
    reports = {report.id: report for report in study.content.reports}
    report = reports[result.report]
    notes = candidate.notes
    if result.derived:
        notes += (_derivation(result.derived),)
    notes += tuple(
        (f"{arm}: " if len(candidate.arms) > 1 else "") + _derivation(value.derived)
        for arm, value in result.arms.items()
        if arm in candidate.arms and value.derived
    )
    units = {
        (result.arms[a].unit if a in result.arms else None) or study.arm(a).unit
        for a in candidate.arms
    }
    notes += tuple(f"unit: {unit}" for unit in sorted(units - {"patients"}))
    covariates = {name: _moderator(name, candidate) for name in analysis.moderators}
    if analysis.multi_arm == "covariance" and len(candidate.arms) == 2:
        covariates[SHARED_ARM] = f"{study.id}/{candidate.arms[1]}"
    return RawRow(
        study=study.id,
        label=label,
        numbers=candidate.numbers,
        arms=tuple(f"{study.id}/{arm}" for arm in candidate.arms),
        cluster=study.id,
        covariates=covariates,
        included=included and not candidate.unusable,
        reason=reason or candidate.unusable,
        notes=notes,
        place=f"{study.file}#results.{candidate.name}",
        report=report.doi or report.id,
        quote=result.quote,
        printed=printed_text(result, candidate.arms),
        given=candidate.given,
        spans=candidate.spans,
        choices=candidate.choices,
        divided=candidate.divided,
    )


def _moderator(name: str, candidate: Candidate) -> str:
    """One of `menus.STUDY_MODERATORS` as text; empty where the file does not say."""
    content = candidate.study.content
    if name == "year":
        reports = {report.id: report for report in content.reports}
        year = reports[candidate.result.report].year
        return "" if year is None else str(year)
    if name == "setting":
        return (content.population and content.population.setting) or ""
    if name == "treatment":
        return " v ".join(candidate.study.arm(arm).treatment for arm in candidate.arms)
    return content.design if name == "design" else ""


def _derivation(derived: Derived) -> str:
    return f"derived from {derived.from_} ({derived.method.replace('_', ' ')})"


def printed_text(result: Result, arms: tuple[str, ...]) -> str:
    """The number as printed, for a row that has no effect size."""
    parts = []
    for arm in arms or tuple(result.arms):
        value = result.arms.get(arm)
        if value is None:
            continue
        text = value.printed or value.estimate or value.median or ""
        if value.events is not None and value.n is not None:
            text = f"{value.events}/{value.n}" + (f" ({text})" if text else "")
        if value.ci:
            text += f" ({value.ci[0]} to {value.ci[1]})"
        if text:
            parts.append(f"{arm}: {text}" if len(result.arms) > 1 else text)
    if result.estimate:
        parts.append(result.estimate + (f" ({' to '.join(result.ci)})" if result.ci else ""))
    unit = f" {result.unit}" if result.unit else ""
    return "; ".join(parts) + (unit if parts else "")


def _shown_rows(
    analysis: Analysis, evidence: Evidence, problem: ProblemAt, problems: list[Problem]
) -> list[RawRow]:
    rows = []
    by_id = {study.id: study for study in evidence.studies}
    for i, shown in enumerate(analysis.show, 1):
        study = by_id.get(shown.study)
        if study is None:
            problems.append(
                _unknown_study(f"show[{i}].study", shown.study, by_id.keys(), problem)
            )
            continue
        result = study.result(shown.result)
        if result is None:
            names = {r.id or r.outcome for r in study.content.results}
            problems.append(
                problem(
                    f"show[{i}].result",
                    f"the result {echo(shown.result)} of {shown.study}",
                    f"one of: {choices(names, 20)}",
                    f"correct it{nearest(shown.result, names)}",
                )
            )
            continue
        candidate = printed_effect(analysis, study, result)
        fits = candidate and result.kind in INPUTS[analysis.measure].kinds
        if candidate is None or not fits or "estimate" not in candidate.numbers:
            problems.append(
                problem(
                    f"show[{i}].result",
                    f"the result {echo(shown.result)} of {shown.study}, "
                    f"a {result.kind.replace('_', ' ')}"
                    + (
                        f" of {result.contrast.numerator} v {result.contrast.denominator}"
                        if result.contrast
                        else ""
                    ),
                    f"a printed {analysis.measure} of this analysis' contrast",
                    "correct the contrast or the result",
                )
            )
            continue
        problems += _impossible(analysis, candidate)
        rows.append(_row(candidate, analysis, included=False, reason=shown.reason))
    return rows
