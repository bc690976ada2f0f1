"""Run the rules over the evidence, put decisions to findings, and say which rows stay out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evisynth.audit.material import Review
from evisynth.audit.records import (
    LEVELS,
    AuditReport,
    Check,
    Counts,
    Decision,
    Finding,
    Place,
    Rule,
)
from evisynth.audit.registry import RULES
from evisynth.rows import BY_AUDIT, RawRow

VERDICTS = ("inconsistent", "undecided", "consistent")
UNANSWERED = "DECISION"
"""Name under which a decision that answers to no finding is itself a finding."""
UNANSWERED_MEANS = (
    "A decision (`accepted_flags`) answers to no finding: what it was about has been "
    "corrected, or its rule or place is misspelt."
)
Decisions = Mapping[str, Sequence[Decision]]
"""Decisions by the file (study file, table, configuration) whose findings they are about."""


def audit(
    review: Review, decisions: Decisions | None = None, rules: Mapping[str, Rule] = RULES
) -> AuditReport:
    """Every check of every rule but those that need a fit, with counts per rule.

    Parameters
    ----------
    decisions : accepted flags; one that answers to no finding is returned as `unused`, and is
        a finding of its own.
    """
    answers = {
        (file, answer.rule, answer.place): answer
        for file, answered in (decisions or {}).items()
        for answer in answered
    }
    findings: dict[Finding, None] = {}
    used: set[tuple[str, str, str]] = set()
    for rule in rules.values():
        for check in _checks(rule, review):
            answer = None
            if check.verdict == "inconsistent" and answers:
                key = (check.place.file, rule.id, check.place.text)
                answer = answers.get(key)
                if answer:
                    used.add(key)
            findings[Finding(rule.id, check.level or rule.level, check, answer)] = None
    tally = Counter((finding.rule, finding.check.verdict) for finding in findings)
    # rules that need a fit are answered elsewhere
    unused = tuple(
        (key[0], answer)
        for key, answer in answers.items()
        if key not in used and not (key[1] in rules and rules[key[1]].scope == "fit")
    )
    stale = _stale(unused, review)
    return AuditReport(
        tuple(sorted([*findings, *stale], key=_gravity)),
        {
            name: Counts(
                tally[name, "consistent"],
                tally[name, "inconsistent"],
                tally[name, "undecided"],
            )
            for name in rules
        },
        unused,
    )


def merged(reports: Sequence[AuditReport]) -> AuditReport:
    """Several reports as one, of files that were audited by themselves."""
    if len(reports) == 1:
        return reports[0]
    counts: dict[str, Counts] = {}
    for report in reports:
        for name, one in report.counts.items():
            other = counts.get(name, Counts())
            counts[name] = Counts(
                one.consistent + other.consistent,
                one.inconsistent + other.inconsistent,
                one.undecided + other.undecided,
            )
    findings = dict.fromkeys(f for report in reports for f in report.findings)
    return AuditReport(
        tuple(sorted(findings, key=_gravity)),
        counts,
        tuple(entry for report in reports for entry in report.unused),
    )


def _stale(unused: Iterable[tuple[str, Decision]], review: Review) -> list[Finding]:
    """A decision on something that is no longer found is said: it may hide a misspelling."""
    studies = {of_study.study.file: of_study.study.id for of_study in review.studies}
    return [
        Finding(
            UNANSWERED,
            "warning",
            Check(
                Place(file, None, studies.get(file, ""), "", answer.place),
                "inconsistent",
                f"{answer.rule}: {answer.decision}",
                "no such finding",
                f"the decision of {answer.who} of {answer.when} answers to no finding",
                "remove it, or correct its `rule` and `place` as audit.csv has them",
            ),
        )
        for file, answer in unused
    ]


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


def _gravity(finding: Finding) -> tuple[int, int, bool, str, int, str, str]:
    """Failures first, the gravest first, the open ones first, then by file and line."""
    place = finding.check.place
    return (
        VERDICTS.index(finding.check.verdict),
        LEVELS.index(finding.level),
        finding.decision is not None,
        place.file,
        place.line or 0,
        place.text,
        finding.rule,
    )


@dataclass(frozen=True, slots=True)
class _Index:
    """Findings by the file and the entry (``results.ID``, ``row N``) that they are about."""

    by_entry: Mapping[tuple[str, str], Sequence[Finding]]

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> "_Index":
        found: dict[tuple[str, str], list[Finding]] = defaultdict(list)
        for finding in findings:
            for entry in dict.fromkeys(finding.check.place.results):
                found[finding.check.place.file, entry].append(finding)
        return cls(found)

    def about(self, row: RawRow) -> list[Finding]:
        return [f for f in self.by_entry.get(_entry(row), ()) if _same_arms(f, row)]


def _entry(row: RawRow) -> tuple[str, str]:
    """File and entry of a row: the id of a result, or ``row N`` of a table."""
    file, _, entry = row.place.partition("#")
    return file, entry.removeprefix("results.")


def _same_arms(finding: Finding, row: RawRow) -> bool:
    arms = {arm.partition("/")[2] for arm in row.arms}
    named = finding.check.place.arms
    return not named or not arms or bool(arms & set(named))


def blocked(rows: Iterable[RawRow], findings: Iterable[Finding]) -> tuple[RawRow, ...]:
    """The rows of an analysis; those that an open error is about are not pooled, with reasons.

    A row of a study file is met by a finding on its result, in one of its arms if the finding
    names arms; a row of a table by a finding on its row. A row that is pooled because a person
    accepted an error has a note that says so.
    """
    telling = [f for f in findings if f.blocks or _accepted(f)]
    if not telling:
        return tuple(rows)
    index = _Index.of(telling)
    return tuple(_blocked(row, index) for row in rows)


def _accepted(finding: Finding) -> bool:
    """Whether it is an error that only a person's decision lets in."""
    return (
        finding.level == "error"
        and finding.check.verdict == "inconsistent"
        and finding.decision is not None
        and finding.decision.decision == "accept"
    )


def _blocked(row: RawRow, index: _Index) -> RawRow:
    if not row.included:
        return row
    about = index.about(row)
    reasons = dict.fromkeys(_reason(finding) for finding in about if finding.blocks)
    if reasons:
        return replace(row, included=False, reason="; ".join(reasons))
    notes = dict.fromkeys(
        f"audit, {finding.rule}: {finding.decision}" for finding in about if _accepted(finding)
    )
    return replace(row, notes=(*row.notes, *notes)) if notes else row


def _reason(finding: Finding) -> str:
    decided = f" ({finding.decision})" if finding.decision else ""
    return f"{BY_AUDIT}{finding.rule}: {finding.check.explanation}{decided}"


def concerns(finding: Finding, row: RawRow) -> bool:
    """Whether a finding is about the numbers of a row."""
    file, entry = _entry(row)
    place = finding.check.place
    return place.file == file and entry in place.results and _same_arms(finding, row)


class Concerned:
    """Which of many rows a finding `concerns`, without a look at the others."""

    def __init__(self, rows: Sequence[RawRow]) -> None:
        self._rows = rows
        self._by_entry: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            self._by_entry[_entry(row)].append(i)

    def by(self, finding: Finding) -> list[int]:
        """Indices of the rows whose numbers a finding is about, in rising order."""
        place = finding.check.place
        about = {
            i for name in place.results for i in self._by_entry.get((place.file, name), ())
        }
        return [i for i in sorted(about) if _same_arms(finding, self._rows[i])]
