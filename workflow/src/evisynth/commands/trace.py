"""``evisynth trace``: from a result back to rows, formulas, printed words, file and line."""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

from evisynth.errors import echo, safe
from evisynth.project import Project, load_project
from evisynth.tabular import to_json
from evisynth.tracing import readable
from evisynth.trail import trail
from evisynth.validation import choices, nearest

TRACE, SELECTION = "trace.json", "selection.csv"
BUILD = "build the results with snakemake"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        "Lead the estimate of an analysis, or one of its studies, back to weights, formulas, "
        "printed numbers, quotes, reports, files and lines, with what the audit says. Exit "
        "status 1 if the results are older than the evidence."
    )
    parser.add_argument("analysis", metavar="ANALYSIS")
    parser.add_argument("study", metavar="STUDY", nargs="?", default="")
    parser.add_argument(
        "--config", type=Path, default=Path("config.yaml"), help="by default config.yaml"
    )
    parser.add_argument(
        "--results", type=Path, help="by default the folder results beside the configuration"
    )
    parser.add_argument("--json", action="store_true", help="all numbers, in full")


def run(given: argparse.Namespace) -> tuple[str, int]:
    """Answer and exit status of the command."""
    if not given.config.is_file():
        raise ValueError(f"no file {given.config}: name the configuration with --config")
    project = load_project(given.config)
    known = list(project.config.analyses)
    if given.analysis not in known:
        raise ValueError(
            f"ANALYSIS: found {echo(given.analysis)}; expected one of {choices(known, 40)}"
            f"{nearest(given.analysis, known)}"
        )
    folder = (given.results or project.folder / "results") / given.analysis
    tree, lines = _stored(folder)
    old = _older(project, given.analysis, tree)
    warning = f"{folder.as_posix()} {old}: {BUILD}" if old else ""
    studies = list(dict.fromkeys(line["study"] for line in lines if line["study"]))
    if given.study and given.study not in studies:
        answer = _absent(project, given.analysis, given.study, studies)
        if given.json:
            return to_json({"answer": answer, "older": warning}), int(bool(old))
        return "".join(f"{safe(line)}\n" for line in (warning, answer) if line), int(bool(old))
    if given.json:
        rows = [row for row in tree["rows"] if given.study in ("", row["study"])]
        chosen = [line for line in lines if given.study in ("", line["study"])]
        found = {**tree, "rows": rows, "selection": chosen, "older": warning}
        return to_json(found), int(bool(old))
    text = readable(tree, lines, given.study)
    if warning:
        text = f"{warning}\n{text}"
    return "".join(f"{safe_line(line)}\n" for line in text.splitlines()), int(bool(old))


def safe_line(line: str) -> str:
    """A line of any length without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _stored(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Trace and selection of an analysis as the workflow wrote them."""
    texts = []
    for name in (TRACE, SELECTION):
        try:
            texts.append((folder / name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise ValueError(f"{folder / name} cannot be read ({why}): {BUILD}") from None
    try:
        tree = json.loads(texts[0])
        needed = ("digest", "rows", "estimates", "settings", "findings", "effects_digest")
        if missing := [key for key in needed if key not in tree]:
            raise KeyError(", ".join(missing))
        lines = list(csv.DictReader(io.StringIO(texts[1])))
        if any(line.get("category") is None for line in lines):
            raise KeyError("category")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{echo(str(folder))} was written by another version ({echo(str(error))}): {BUILD}"
        ) from None
    return tree, lines


def _older(project: Project, analysis: str, tree: dict[str, Any]) -> str:
    """In what the results are not those of the present evidence; empty if in nothing."""
    settings = json.loads(json.dumps(project.pooling_settings(analysis)))
    if tree["effects_digest"] != project.effects_digest(analysis):
        return "was made from other numbers than the evidence has now"
    if tree["settings"] != settings:
        return "was made with another model than the configuration asks for now"
    if tree["digest"] != trail(project, analysis).digest:
        return "was made from other words, lines or findings than the evidence has now"
    return ""


def _absent(project: Project, analysis: str, study: str, listed: list[str]) -> str:
    """Why a study is no candidate of an analysis.

    Raises
    ------
    ValueError
        No such study.
    """
    asked = project.analysis(analysis)
    studies = {s.id: s for s in (project.evidence.studies if project.evidence else ())}
    if study not in studies:
        known = [*listed, *studies]
        raise ValueError(
            f"STUDY: found {echo(study)}; expected one of {choices(set(known), 40)}"
            f"{nearest(study, known)}"
        )
    if asked.table:
        return (
            f"{study} is not in {analysis}, which takes the table {asked.table}, "
            "not the study files"
        )
    outcomes = sorted({result.outcome for result in studies[study].content.results})
    has = f"its outcomes are {choices(outcomes, 20)}" if outcomes else "it has no results"
    return (
        f"{study} is not in {analysis}: {studies[study].file} has no result of the outcome "
        f"{asked.outcome}; {has}"
    )
