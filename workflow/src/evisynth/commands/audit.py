"""``evisynth audit``: numbers of study files, tables or a review against each other."""

import argparse
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evisynth.audit.material import Review, StudyMaterial, TableMaterial
from evisynth.audit.records import LEVELS, AuditReport, Finding, Level
from evisynth.audit.registry import RULES
from evisynth.audit.run import audit, merged
from evisynth.collector import paused_collector
from evisynth.conversions import FIELDS as CONVERSION_FIELDS
from evisynth.errors import InputError, Problem, echo, safe
from evisynth.evidence import read_studies, study_files
from evisynth.menus import FIELDS, MEASURES
from evisynth.printed import PRINTED, parse_printed, spelling
from evisynth.project import check_flags, load_project, of_studies
from evisynth.table import MISSING, TEXT_FIELDS, Table, read_table
from evisynth.tabular import to_json
from evisynth.validation import choices, nearest
from evisynth.yamltext import read_text, read_yaml

AS_PRINTED: dict[str, str] = {
    "percenti": "percentage as printed, one group",
    "percent1i": "percentage as printed, group 1",
    "percent2i": "percentage as printed, group 2",
    "pval": "p-value as printed, such as <.001",
}
"""What a paper prints beside the numbers that are pooled; only the audit reads it."""
KNOWN = {**FIELDS, **CONVERSION_FIELDS, **AS_PRINTED}
FIRST = ("study", "trial", "author", "id", "label", "name")
"""Column that names the study, where none is mapped."""
MOST_FILES = 20_000
TOP = re.compile(r"^(study|analyses):", re.MULTILINE)


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        "Compare every extracted number with the numbers beside it. FILE is a study file, a "
        "folder of study files, a CSV table, or a configuration (config.yaml), which means the "
        "whole review. Exit status: 1 if a finding of the level asked for is open, 2 if a file "
        "cannot be read."
    )
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path)
    parser.add_argument(
        "--columns",
        metavar="FIELD=COLUMN,...",
        action="append",
        default=[],
        help="which column of a table holds which field (docs/config.md#columns-of-a-table); "
        "without it, columns that have the names of fields are taken",
    )
    parser.add_argument(
        "--measure",
        metavar="KEY",
        default="",
        help="effect measure of a table: HR, OR, MD, ...",
    )
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default="error",
        help="the mildest level that makes the exit status 1; by default error",
    )
    parser.add_argument("--all", action="store_true", help="print what passed, too")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--rules", action="store_true", help="list the rules and stop")


@paused_collector()
def run(given: argparse.Namespace) -> tuple[str, int]:
    """Answer and exit status of the command."""
    if given.rules:
        return _list_of_rules(as_json=given.json), 0
    if not given.files:
        raise ValueError("audit: name at least one FILE; --rules lists the rules")
    report = merged(
        audited(given.files, _mapping(given.columns), measure=_measure(given.measure))
    )
    status = 1 if _open(report.findings, given.level) else 0
    shown = [f for f in report.findings if given.all or f.check.verdict != "consistent"]
    return (_json if given.json else _text)(report, shown), status


def audited(
    files: Sequence[Path], columns: Mapping[str, str], *, measure: str = ""
) -> list[AuditReport]:
    """A report for all study files and tables together, and one for each configuration.

    Parameters
    ----------
    columns : fields and the columns of tables that hold them; empty to go by the names.

    Raises
    ------
    InputError
        With every problem of every file.
    """
    problems: list[Problem] = []
    kinds = _sorted_out(files, problems)
    evidence, found = read_studies(kinds["study"])
    problems += found
    problems += [problem for study in evidence.studies for problem in check_flags(study)]
    tables = [
        table
        for path, name in kinds["table"]
        if (table := _table(path, name, columns, measure, problems))
    ]
    reports = []
    for path, _ in kinds["config"]:
        try:
            reports.append(load_project(path).audit)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if evidence.studies or tables:
        review = Review(evidence, tuple(map(StudyMaterial, evidence.studies)), tuple(tables))
        reports.append(audit(review, of_studies(evidence.studies)))
    return reports


def _sorted_out(
    files: Sequence[Path], problems: list[Problem]
) -> dict[str, list[tuple[Path, str]]]:
    """Files by what they are, each once, with the names to show."""
    kinds: dict[str, list[tuple[Path, str]]] = {"study": [], "table": [], "config": []}
    seen: set[str] = set()
    for path in _expanded(files, problems):
        name, where = path.as_posix(), os.path.realpath(path)
        if where in seen:
            continue
        seen.add(where)
        kind = _kind(path, name, problems)
        if kind:
            kinds[kind].append((path, name))
    return kinds


def _expanded(files: Sequence[Path], problems: list[Problem]) -> Iterable[Path]:
    """Folders stand for the study files in them; links in a folder are refused."""
    found: list[Path] = []
    for path in files:
        if "\0" in str(path):
            raise ValueError(f"{echo(str(path))} is a path that cannot exist")
        if not path.is_dir():
            found.append(path)
            continue
        inside = study_files(path)
        for file in inside:
            if file.is_symlink():
                problems.append(
                    Problem(
                        file.as_posix(),
                        "the file itself",
                        "a symbolic link",
                        "study files in the folder itself",
                        "name the file that it leads to, or remove it",
                    )
                )
            else:
                found.append(file)
        if not inside:
            problems.append(
                Problem(
                    path.as_posix(),
                    "the folder",
                    "no study file",
                    "study files (*.yaml)",
                    "name another folder, or files",
                )
            )
    if len(found) > MOST_FILES:
        raise ValueError(f"{len(found)} files; at most {MOST_FILES} are audited together")
    return found


def _kind(path: Path, name: str, problems: list[Problem]) -> str:
    """What a file is: ``study``, ``table``, ``config``, or nothing with a problem."""
    suffix = path.suffix.casefold()
    if suffix == ".csv":
        return "table"
    if suffix not in (".yaml", ".yml"):
        problems.append(
            Problem(
                name,
                "the file name",
                echo(path.name),
                "a study file or configuration (.yaml), or a table (.csv)",
                "save it as one of these; `evisynth import` reads spreadsheets",
            )
        )
        return ""
    try:
        # nearly every file has one of these at the start of a line: no need to parse it twice
        words = set(TOP.findall(read_text(path, name)))
        tree = dict.fromkeys(words) if len(words) == 1 else read_yaml(path, name).tree
    except InputError as error:
        problems += error.problems
        return ""
    if "study" in tree:
        return "study"
    if "analyses" in tree:
        return "config"
    problems.append(
        Problem(
            name,
            "top level",
            echo(tree),
            "the key `study` (a study file) or `analyses` (a configuration)",
            "name another file"
            + (": outcomes hold no numbers" if "outcomes" in tree else "")
            + nearest(next(iter(tree), ""), ["study", "analyses"]),
        )
    )
    return ""


def _measure(asked: str) -> str:
    if asked and asked not in MEASURES:
        raise ValueError(
            f"--measure: found {echo(asked)}; expected one of {', '.join(MEASURES)}"
            f"{nearest(asked, MEASURES)}"
        )
    return asked


def _mapping(asked: Sequence[str]) -> dict[str, str]:
    """``ai=tpos,n1i=n`` as fields and columns."""
    found: dict[str, str] = {}
    for pair in (pair for text in asked for pair in text.split(",")):
        field, sign, column = (part.strip() for part in pair.partition("="))
        if not sign or not column:
            raise ValueError(f"--columns: found {echo(pair)}; expected FIELD=COLUMN,...")
        if field not in KNOWN:
            raise ValueError(
                f"--columns: {echo(field)} is no field; the fields are in docs/config.md and "
                f"docs/conversions.md{nearest(field, KNOWN)}"
            )
        if field in found:
            raise ValueError(f"--columns: {echo(field)} is given twice")
        found[field] = column
    return found


def _table(
    path: Path, name: str, columns: Mapping[str, str], measure: str, problems: list[Problem]
) -> TableMaterial | None:
    """A table as the rules want it, or None with what is wrong with it."""
    try:
        table = read_table(path, name)
    except InputError as error:
        problems += error.problems
        return None
    problems += table.problems
    if not table.header:
        return None
    chosen = _chosen(table, columns, problems)
    if chosen is None:
        return None
    study = chosen.get("study")
    rows = []
    for number, row in enumerate(table.rows, 1):
        cells = {
            field: "" if (text := row.cells[column]) in MISSING else text
            for field, column in chosen.items()
        }
        problems += _no_numbers(cells, chosen, name, row.line)
        label = row.cells[study] if study else f"row {number}"
        rows.append((row.line, number, label, cells))
    return TableMaterial(name, measure, tuple(rows))


def _chosen(
    table: Table, columns: Mapping[str, str], problems: list[Problem]
) -> dict[str, str] | None:
    """Fields and the columns that hold them; None with a problem where there are none."""
    lost = {field: column for field, column in columns.items() if column not in table.header}
    problems += [
        Problem(
            table.file,
            f"--columns {field}",
            f"the column {echo(column)}",
            f"a column of the table: {choices(table.header, 40)}",
            f"correct it{nearest(column, table.header)}",
        )
        for field, column in lost.items()
    ]
    if lost:
        return None
    chosen = dict(columns)
    if not chosen:
        known = {field.casefold(): field for field in KNOWN}
        for column in table.header:
            named = known.get(column.casefold().replace(".", "_"))
            if named:
                chosen.setdefault(named, column)
    if not set(chosen) - TEXT_FIELDS:
        problems.append(
            Problem(
                table.file,
                "header",
                choices(table.header, 40),
                "columns with the names of fields, such as ai n1i ci n2i, yi vi, or "
                "estimate ci_low ci_high",
                "say which column is what: --columns ai=COLUMN,n1i=COLUMN,...",
            )
        )
        return None
    if "study" not in chosen:
        by_name = {column.casefold(): column for column in reversed(table.header)}
        found = [by_name[word] for word in FIRST if word in by_name]
        if found:
            chosen["study"] = found[0]
    return chosen


def _no_numbers(
    cells: Mapping[str, str], columns: Mapping[str, str], name: str, line: int
) -> Iterable[Problem]:
    for field, text in cells.items():
        if field in TEXT_FIELDS or not text:
            continue
        try:
            parse_printed(text)
        except ValueError:
            yield Problem(
                name,
                f"column {columns[field]} ({field})",
                echo(text),
                f"{PRINTED}, or an empty cell",
                f"correct it{spelling(text)}",
                line,
            )


def _open(findings: Iterable[Finding], level: Level) -> bool:
    """Whether a finding at or above `level` awaits a decision."""
    grave = LEVELS[: LEVELS.index(level) + 1]
    return any(
        finding.check.verdict == "inconsistent"
        and finding.level in grave
        and finding.decision is None
        for finding in findings
    )


def _tally(report: AuditReport) -> dict[str, Any]:
    """How many findings of each kind there are."""
    failed = [f for f in report.findings if f.check.verdict == "inconsistent"]
    levels = Counter(finding.level for finding in failed)
    verdicts = Counter(finding.check.verdict for finding in report.findings)
    return {
        **{level: levels[level] for level in LEVELS},
        "decided": sum(1 for finding in failed if finding.decision),
        "undecided": verdicts["undecided"],
        "passed": verdicts["consistent"],
    }


def _json(report: AuditReport, shown: Sequence[Finding]) -> str:
    findings = []
    for finding in shown:
        place = finding.check.place
        check = {
            key: getattr(finding.check, key)
            for key in ("verdict", "printed", "recomputed", "explanation", "action")
        }
        findings.append(
            {
                "rule": finding.rule,
                "level": finding.level,
                **check,
                "file": place.file,
                "line": place.line,
                "study": place.study,
                "report": place.report,
                "place": place.text,
                "results": place.results,
                "arms": place.arms,
                "decision": asdict(finding.decision) if finding.decision else None,
            }
        )
    return to_json(
        {
            "counts": _tally(report),
            "findings": findings,
            "rules": {
                name: {
                    "passed": counts.consistent,
                    "failed": counts.inconsistent,
                    "undecided": counts.undecided,
                }
                for name, counts in report.counts.items()
            },
        }
    )


def _text(report: AuditReport, shown: Sequence[Finding]) -> str:
    blocks = [_block(finding) for finding in shown]
    tally = _tally(report)
    failed = ", ".join(
        f"{tally[level]} {level}{'' if tally[level] == 1 else 's'}" for level in LEVELS
    )
    last = (
        f"{failed} ({tally['decided']} of them decided); {tally['undecided']} undecided; "
        f"{tally['passed']} passed"
    )
    return "\n\n".join([*blocks, last]) + "\n"


def _block(finding: Finding) -> str:
    """A finding for people: where, what is printed, what follows, what to do."""
    check, place = finding.check, finding.check.place
    line = f":{place.line}" if place.line else ""
    kind = finding.level if check.verdict == "inconsistent" else check.verdict
    said: list[tuple[str, object]] = [
        ("printed", check.printed),
        ("recomputed", check.recomputed),
        ("because", check.explanation),
        ("to do", check.action),
        ("decision", finding.decision or ""),
    ]
    about = f"{place.study}, {place.text}" if place.study else place.text
    head = f"{safe(place.file)}{line}: {kind}, {finding.rule}: {safe(about)}"
    width = max(len(word) for word, _ in said) + 1
    body = [f"    {word + ':':<{width}} {safe(str(text))}" for word, text in said if str(text)]
    return "\n".join([head, *body])


def _list_of_rules(*, as_json: bool) -> str:
    if as_json:
        keys = ("id", "level", "scope", "definition", "reference")
        return to_json([{key: getattr(rule, key) for key in keys} for rule in RULES.values()])
    return "\n".join(
        [
            *(
                f"{rule.id} ({rule.level}, {rule.scope}): {safe(rule.definition)}"
                + (f" [{safe(rule.reference)}]" if rule.reference else "")
                for rule in RULES.values()
            ),
            f"{len(RULES)} rules",
            "",
        ]
    )
