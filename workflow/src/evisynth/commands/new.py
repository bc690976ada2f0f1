"""``evisynth new``: a commented study file to fill in."""

import argparse
from pathlib import Path
from typing import get_args

from evisynth.files import write_text
from evisynth.study_template import FILL_IN, new_file, schema_path, template
from evisynth.studyfile import StudyFile

DESIGNS = get_args(StudyFile.model_fields["design"].annotation)


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        "Write a study file with comments. What has to be filled in is marked; until then the "
        "file is refused with exactly these places. A file that is there is never written over."
    )
    parser.add_argument("study", metavar="STUDY", help="name of the study, e.g. smith-2020")
    parser.add_argument("--design", choices=DESIGNS, default="rct", help="by default rct")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data/studies"),
        metavar="FOLDER",
        help="folder of study files, by default data/studies",
    )


def run(given: argparse.Namespace) -> tuple[str, int]:
    """Answer and exit status of the command."""
    path = new_file(given.study, given.out)
    text = template(given.study, given.design, schema_path(given.out))
    write_text(path, text)
    count = text.count(f"{FILL_IN}\n")
    return f"{path.as_posix()}: written; {count} lines are marked `{FILL_IN}`\n", 0
