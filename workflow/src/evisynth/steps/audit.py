"""What the audit found, as tables and as a page."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from evisynth.audit.records import AuditReport, Rule
from evisynth.audit.registry import RULES
from evisynth.audit.run import UNANSWERED, UNANSWERED_MEANS
from evisynth.audit_page import About, page
from evisynth.errors import changed_under_way
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
        raise changed_under_way(config, "the audit")
    report = project.audit
    write_text(output["findings"], to_csv(COLUMNS, (f.cells() for f in report.findings)))
    write_text(output["rules"], to_csv(RULE_COLUMNS, rule_rows(report)))
    write_text(output["page"], page(report, RULES, About(**project.audit_context())))


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
