"""``evisynth import``: study files or a table from a spreadsheet, RevMan or another file."""

import argparse
from pathlib import Path
from typing import get_args

from evisynth.errors import InputError, Problem, echo
from evisynth.importing.formats import FORMATS, Wanted, read
from evisynth.importing.mapping import options
from evisynth.importing.writing import files, report, write
from evisynth.inputs import INPUTS
from evisynth.studyfile import StudyFile
from evisynth.validation import nearest

DESIGNS = get_args(StudyFile.model_fields["design"].annotation)


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        "Read FILE and write tables, or study files, with a configuration and a report of "
        "everything that was not taken. Nothing that is there is written over. Exit status: 0, "
        "or 1 where something that was asked for could not be taken. See docs/import.md."
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="by default guessed from the name and the content",
    )
    parser.add_argument("--map", type=Path, metavar="MAPPING", help="a mapping of its columns")
    parser.add_argument(
        "--columns", metavar="FIELD=COLUMN,...", help="a short mapping: study=Trial,ai=tpos,..."
    )
    parser.add_argument("--sheet", metavar="NAME", help="sheet of a spreadsheet")
    parser.add_argument("--measure", metavar="MEASURE", help="effect measure: RR, OR, MD, ...")
    parser.add_argument("--encoding", help="of a CSV file that is not UTF-8: latin-1, cp1252")
    parser.add_argument("--decimal", choices=(".", ","), help="decimal sign of the numbers")
    parser.add_argument("--groups", metavar="GROUP1,GROUP2", help="labels of the two groups")
    parser.add_argument("--design", choices=DESIGNS, help="of the studies, for --to studies")
    parser.add_argument("--to", choices=("table", "studies"), default="table")
    parser.add_argument(
        "--out", type=Path, default=Path("imported"), help="folder, by default imported"
    )
    parser.add_argument("--dry-run", action="store_true", help="report only, write nothing")
    parser.add_argument("--force", action="store_true", help="write over files that are there")


def run(given: argparse.Namespace) -> tuple[str, int]:
    """Answer and exit status of the command."""
    if given.measure is not None and given.measure not in INPUTS:
        raise InputError(
            [
                Problem(
                    "--measure",
                    "the effect measure",
                    echo(given.measure),
                    f"one of: {', '.join(INPUTS)}",
                    f"correct it{nearest(given.measure, INPUTS)}",
                )
            ]
        )
    groups = [word.strip() for word in given.groups.split(",")] if given.groups else []
    if groups and (len(groups) > 2 or not all(groups)):
        raise ValueError(f"--groups: {echo(given.groups)}; expected two labels with a comma")
    wanted = Wanted(
        given.format or "",
        given.map,
        options(given.columns) if given.columns else {},
        given.sheet,
        given.measure,
        given.encoding,
        given.decimal,
        tuple(groups),
    )
    contents, imported = files(read(given.file, wanted), given.to, given.design)
    if not given.dry_run:
        write(contents, given.out, force=given.force)
    lost = any(remark.level == "lost" for remark in imported.remarks)
    return report(imported, contents, given.out, dry=given.dry_run), int(lost)
