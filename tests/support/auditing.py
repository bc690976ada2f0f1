"""Study files and tables in short, and what the rules about single numbers say of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from evisynth.audit.material import Review, StudyMaterial, TableMaterial
from evisynth.audit.numbers import RULES
from evisynth.audit.records import Finding
from evisynth.audit.run import audit
from evisynth.evidence import Study
from evisynth.studyfile import StudyFile


def material(results: Sequence[Mapping[str, Any]], **more: Any) -> StudyMaterial:
    """A study with two arms of 49 patients and 7 episodes, and these results."""
    tree = {
        "study": "made-up",
        "design": "cohort",
        "reports": [{"id": "paper", "kind": "journal_article"}],
        "arms": [
            {"id": "all", "n": "49", "treatment": "x"},
            {"id": "few", "n": "7", "unit": "episodes", "treatment": "y"},
        ],
        "results": [
            {"outcome": "orr", "report": "paper", "quote": "as printed", **result}
            for result in results
        ],
        **more,
    }
    return StudyMaterial(Study("made-up.yaml", StudyFile.model_validate(tree)))


def table(rows: Sequence[Mapping[str, str]], measure: str = "") -> TableMaterial:
    """A table with these cells."""
    return TableMaterial(
        "made-up.csv",
        measure,
        tuple((i + 1, i, f"study {i}", cells) for i, cells in enumerate(rows, 1)),
    )


def found(of: StudyMaterial | TableMaterial, *rules: str) -> list[Finding]:
    """What does not agree, by these rules (all of them by default)."""
    chosen = {rule.id: rule for rule in RULES if not rules or rule.id in rules}
    studies = (of,) if isinstance(of, StudyMaterial) else ()
    tables = (of,) if isinstance(of, TableMaterial) else ()
    report = audit(Review(None, studies, tables), rules=chosen)
    return [finding for finding in report.findings if finding.check.verdict == "inconsistent"]


def verdict(of: StudyMaterial | TableMaterial, rule: str) -> str:
    """The gravest verdict of one rule; empty where it does not apply."""
    chosen = {one.id: one for one in RULES if one.id == rule}
    studies = (of,) if isinstance(of, StudyMaterial) else ()
    tables = (of,) if isinstance(of, TableMaterial) else ()
    report = audit(Review(None, studies, tables), rules=chosen)
    return report.findings[0].check.verdict if report.findings else ""


def kinds(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    """Rule and level of each."""
    return {(finding.rule, finding.level) for finding in findings}
