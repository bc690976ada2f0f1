"""Run the rules over the evidence, put decisions to findings, and say which rows stay out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from evisynth.audit.material import Review
from evisynth.audit.records import (
    LEVELS,
    AuditReport,
    Check,
    Counts,
    Decision,
    Finding,
    Rule,
)
from evisynth.audit.registry import RULES
from evisynth.rows import RawRow

VERDICTS = ("inconsistent", "undecided", "consistent")
Decisions = Mapping[str, Sequence[Decision]]
"""Decisions by the file (study file or table) whose findings they are about."""


def audit(
    review: Review, decisions: Decisions | None = None, rules: Mapping[str, Rule] = RULES
) -> AuditReport:
    """Every check of every rule but those that need a fit, with counts per rule.

    Parameters
    ----------
    decisions : accepted flags; one that answers to no finding is returned as `unused`.
    """
    answers = {
        (file, answer.rule, answer.place): answer
        for file, answered in (decisions or {}).items()
        for answer in answered
    }
    findings: dict[Finding, None] = {}
    tally: Counter[tuple[str, str]] = Counter()
    for rule in rules.values():
        for check in _checks(rule, review):
            key = (check.place.file, rule.id, check.place.text)
            answer = answers.get(key) if check.verdict == "inconsistent" else None
            findings[Finding(rule.id, check.level or rule.level, check, answer)] = None
    for finding in findings:
        tally[finding.rule, finding.check.verdict] += 1
    used = {(f.check.place.file, f.rule, f.check.place.text) for f in findings if f.decision}
    return AuditReport(
        tuple(sorted(findings, key=_gravity)),
        {
            name: Counts(
                *(
                    tally[name, verdict]
                    for verdict in ("consistent", "inconsistent", "undecided")
                )
            )
            for name in rules
        },
        tuple((key[0], answer) for key, answer in answers.items() if key not in used),
    )


def _checks(rule: Rule, review: Review) -> Iterable[Check]:
    if rule.scope == "study":
        for study in review.studies:
            yield from rule.check(study)
    elif rule.scope == "table":
        for table in review.tables:
            yield from rule.check(table)
    elif rule.scope == "analysis":
        for analysis in review.analyses:
            yield from rule.check(analysis)
    elif rule.scope == "review":
        yield from rule.check(review)


def _gravity(finding: Finding) -> tuple[int, int, str, int, str, str]:
    """Failures first, the gravest first, then by file and line."""
    place = finding.check.place
    return (
        VERDICTS.index(finding.check.verdict),
        LEVELS.index(finding.level),
        place.file,
        place.line or 0,
        place.text,
        finding.rule,
    )


def blocked(rows: Iterable[RawRow], findings: Iterable[Finding]) -> tuple[RawRow, ...]:
    """The rows of an analysis; those that an open error is about are not pooled, with reasons.

    A row of a study file is met by a finding on its result, in one of its arms if the finding
    names arms; a row of a table by a finding on its row.
    """
    open_errors = [finding for finding in findings if finding.blocks]
    return tuple(_blocked(row, open_errors) for row in rows) if open_errors else tuple(rows)


def _blocked(row: RawRow, errors: Sequence[Finding]) -> RawRow:
    if not row.included:
        return row
    reasons = dict.fromkeys(
        f"audit, {error.rule}: {error.check.explanation}"
        for error in errors
        if concerns(error, row)
    )
    return replace(row, included=False, reason="; ".join(reasons)) if reasons else row


def concerns(finding: Finding, row: RawRow) -> bool:
    """Whether a finding is about the numbers of a row."""
    place = finding.check.place
    file, _, entry = row.place.partition("#")
    if place.file != file or entry.removeprefix("results.") not in place.results:
        return False
    arms = {arm.partition("/")[2] for arm in row.arms}
    return not place.arms or not arms or bool(arms & set(place.arms))
