"""The audit as a page to read: one file, no script, everything from data escaped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evisynth.audit.records import LEVELS, AuditReport, Finding, Rule
from evisynth.audit.run import UNANSWERED, UNANSWERED_MEANS

TEMPLATES = Path(__file__).parent / "templates"
MOST_UNDECIDED = 500
PLURALS = {"error": "errors", "warning": "warnings", "note": "notes"}
MEANING = {
    "error": "Each keeps its row out of pooling until a person decides.",
    "warning": "Look at these; the rows are pooled.",
    "note": "Good to know.",
}


def page(
    report: AuditReport, rules: Mapping[str, Rule], *, title: str, audited: Mapping[str, int]
) -> str:
    """A whole HTML page.

    Parameters
    ----------
    title : title of the review.
    audited : what was looked at, and how many of it.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    failed = [f for f in report.findings if f.check.verdict == "inconsistent"]
    undecided = [f for f in report.findings if f.check.verdict == "undecided"]
    return environment.get_template("audit.html").render(
        title=title,
        audited=audited,
        levels=[_level(level, failed) for level in LEVELS],
        decided=[f for f in failed if f.decision],
        passed=sum(1 for f in report.findings if f.check.verdict == "consistent"),
        undecided=undecided[:MOST_UNDECIDED],
        undecided_in_all=len(undecided),
        rules=_rules(report, rules),
        unused=len(report.unused),
        unanswered=UNANSWERED,
        unanswered_means=UNANSWERED_MEANS,
    )


def _level(level: str, failed: Sequence[Finding]) -> dict[str, Any]:
    of_level = [finding for finding in failed if finding.level == level]
    return {
        "name": level,
        "plural": PLURALS[level],
        "meaning": MEANING[level],
        "findings": of_level,
        "open": sum(1 for finding in of_level if not finding.decision),
    }


def _rules(report: AuditReport, rules: Mapping[str, Rule]) -> list[dict[str, Any]]:
    decided = Counter(finding.rule for finding in report.findings if finding.decision)
    found = [
        {
            "id": rule.id,
            "level": rule.level,
            "counts": report.counts[rule.id],
            "decided": decided[rule.id],
            "definition": rule.definition,
            "reference": rule.reference,
        }
        for rule in rules.values()
        if rule.scope != "fit"
    ]
    return sorted(found, key=lambda rule: LEVELS.index(rule["level"]))
