"""What the audit found, as tables and as a page."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from evisynth.audit.records import AuditReport, Finding, Rule
from evisynth.audit.registry import RULES
from evisynth.audit.run import UNANSWERED, UNANSWERED_MEANS
from evisynth.audit_page import About, page
from evisynth.errors import InputError, Problem
from evisynth.files import write_text
from evisynth.project import load_project
from evisynth.tabular import Cell, to_csv

COLUMNS = (
    "study report place rule level printed recomputed verdict explanation action line file "
    "decision decision_reason decided_by decided_on"
).split()
RULE_COLUMNS = "rule level scope passed failed decided undecided definition reference".split()


def write_audit(config: Path, digest: str, output: Mapping[str, str]) -> None:
    """Audit the whole review; write audit.csv, audit_rules.csv and audit.html.

    Parameters
    ----------
    digest : what the workflow saw when it decided on this job.
    output : ``findings``, ``rules`` and ``page`` to files.

    Raises
    ------
    InputError
        If the input is wrong, or has changed since the workflow looked at it.
    """
    project = load_project(config)
    if project.audit_digest() != digest:
        raise InputError(
            [
                Problem(
                    str(config),
                    "the audit",
                    "evidence that changed while the workflow was running",
                    "the same input from start to end",
                    "run snakemake again",
                )
            ]
        )
    report = project.audit
    write_text(output["findings"], to_csv(COLUMNS, map(finding_row, report.findings)))
    write_text(output["rules"], to_csv(RULE_COLUMNS, rule_rows(report)))
    write_text(output["page"], page(report, RULES, About(**project.audit_context())))


def finding_row(finding: Finding) -> dict[str, Cell]:
    """A row of audit.csv."""
    check, decision = finding.check, finding.decision
    row: dict[str, Cell] = {
        "study": check.place.study,
        "report": check.place.report,
        "place": check.place.text,
        "rule": finding.rule,
        "level": finding.level,
        "printed": check.printed,
        "recomputed": check.recomputed,
        "verdict": check.verdict,
        "explanation": check.explanation,
        "action": check.action,
        "line": check.place.line,
        "file": check.place.file,
    }
    if decision:
        row |= {
            "decision": decision.decision,
            "decision_reason": decision.reason,
            "decided_by": decision.who,
            "decided_on": decision.when,
        }
    return row


def rule_rows(
    report: AuditReport, rules: Mapping[str, Rule] = RULES
) -> Iterable[dict[str, Cell]]:
    """Rows of audit_rules.csv: every rule, whether it applied anywhere or not.

    The last row counts decisions: used ones as passed, those without a finding as failed.
    """
    decided = [finding.rule for finding in report.findings if finding.decision]
    for rule in rules.values():
        if rule.scope == "fit":
            continue
        counts = report.counts[rule.id]
        yield {
            "rule": rule.id,
            "level": rule.level,
            "scope": rule.scope,
            "passed": counts.consistent,
            "failed": counts.inconsistent,
            "decided": decided.count(rule.id),
            "undecided": counts.undecided,
            "definition": rule.definition,
            "reference": rule.reference,
        }
    yield {
        "rule": UNANSWERED,
        "level": "warning",
        "scope": "review",
        "passed": len(decided),
        "failed": len(report.unused),
        "decided": 0,
        "undecided": 0,
        "definition": UNANSWERED_MEANS,
    }
