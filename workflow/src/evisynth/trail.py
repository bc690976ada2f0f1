"""What leads from the rows of an analysis back to quote, report, file and line.

Everything that a trace says besides numbers: candidates with reasons, reports, findings of the
audit. A digest of it tells the workflow when a trace is out of date. Free of numpy.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evisynth.audit.records import Finding
from evisynth.audit.run import concerns
from evisynth.candidates import Line, candidates
from evisynth.evidence import Study
from evisynth.project import Project
from evisynth.rows import RawRow

REPORT = (
    "id kind title year date doi pmid url seen primary duplicate_of superseded_by correction"
).split()
Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trail:
    """All of it for one analysis.

    Attributes
    ----------
    lines : every candidate.
    sources : by row: report, other reports, quotes, arms, findings; plain values.
    findings : of the audit about the analysis as a whole.
    reports : of each study with a file: reports that repeat no other, and those that do.
    """

    analysis: str
    title: str
    outcome: str
    lines: tuple[Line, ...]
    sources: tuple[Tree, ...]
    findings: tuple[Tree, ...]
    reports: Mapping[str, Sequence[int]]

    @property
    def digest(self) -> str:
        """Short hash, the same on every machine."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True, default=dict)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def trail(project: Project, name: str) -> Trail:
    """The trail of the analysis `name`."""
    analysis, rows = project.analysis(name), project.rows[name]
    studies = project.evidence.studies if project.evidence else ()
    by_file = {study.file: study for study in studies}
    lines = candidates(analysis, project.evidence, rows, project.folder)
    files = {row.place.partition("#")[0] for row in rows}
    findings: dict[str, list[Finding]] = {file: [] for file in files}
    for finding in project.audit.findings:
        if finding.check.place.file in findings:
            findings[finding.check.place.file].append(finding)
    of_analysis = f"analyses.{name}"
    return Trail(
        name,
        analysis.title,
        analysis.outcome or "",
        lines,
        tuple(
            _source(row, by_file.get(file), lines[i], findings[file])
            for i, row in enumerate(rows)
            for file in [row.place.partition("#")[0]]
        ),
        tuple(
            _finding(finding)
            for finding in project.audit.findings
            if finding.check.place.text == of_analysis
            or finding.check.place.text.startswith(f"{of_analysis}.")
        ),
        project.report_counts(name),
    )


def _source(row: RawRow, study: Study | None, line: Line, findings: Iterable[Finding]) -> Tree:
    tree: Tree = {
        "file": line.file,
        "line": line.line,
        "result": line.result,
        "arms": list(line.arms),
        "report": {},
        "also": list(line.also),
        "shares": list(line.shares),
    }
    if study is not None:
        report = next(r for r in study.content.reports if r.id == line.report)
        said = report.model_dump()
        tree["report"] = {key: said[key] for key in REPORT if said[key] not in (None, False)}
        tree["arms"] = [
            {"id": arm, "label": study.arm(arm).label or arm, "n": study.arm(arm).n}
            for arm in line.arms
        ]
    tree["findings"] = [
        _finding(finding)
        for finding in findings
        if concerns(finding, row) or _about(finding, line)
    ]
    return tree


def _about(finding: Finding, line: Line) -> bool:
    """Whether a finding that is about no result is about what a row stands on."""
    place = finding.check.place
    kind, _, name = place.text.partition(".")
    if place.results or place.file != line.file:
        return False
    return (
        (kind == "reports" and name.partition(".")[0] == line.report)
        or (kind == "arms" and name.partition(".")[0] in line.arms)
        or (kind == "overlaps" and name.partition(".")[0] in line.shares)
    )


def _finding(finding: Finding) -> Tree:
    check = finding.check
    return {
        "rule": finding.rule,
        "level": finding.level,
        "verdict": check.verdict,
        "place": check.place.text,
        "line": check.place.line,
        "printed": check.printed,
        "recomputed": check.recomputed,
        "explanation": check.explanation,
        "decision": str(finding.decision) if finding.decision else "",
    }
