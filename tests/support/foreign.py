"""Files of other programs, made of the trials of BCG; and what the project makes of them."""

import csv
import io
import zipfile
from pathlib import Path

import openpyxl

from evisynth import cli
from evisynth.measures import compute_effects
from evisynth.project import load_project
from evisynth.steps.pool import fit_analysis
from support.review import ROOT

# metafor 5.0-1: rma(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
LOG_RISK_RATIO = -0.7145323

RM5 = """<?xml version="1.0" encoding="UTF-8"?>
<COCHRANE_REVIEW ID="1" TYPE="INTERVENTION" REVMAN_VERSION="5">
<COVER_SHEET><TITLE>BCG</TITLE></COVER_SHEET>
<MAIN_TEXT><P>Words.</P></MAIN_TEXT>
<STUDIES_AND_REFERENCES><STUDIES><INCLUDED_STUDIES>
{studies}
</INCLUDED_STUDIES><EXCLUDED_STUDIES>
<STUDY ID="STD-Left" NAME="Left out 1950" YEAR="1950"/>
</EXCLUDED_STUDIES></STUDIES></STUDIES_AND_REFERENCES>
{quality}
<ANALYSES_AND_DATA><COMPARISON ID="CMP-001" NO="1"><NAME>BCG v none</NAME>
{outcomes}
</COMPARISON></ANALYSES_AND_DATA>
</COCHRANE_REVIEW>
"""


def trials() -> list[dict[str, str]]:
    """The rows of the shipped table, as text."""
    with (ROOT / "reviews/bcg/data/bcg.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def totals(trial) -> tuple[str, str, str, str]:
    """Events and size of the two groups."""
    cells = [int(trial[key]) for key in ("tpos", "tneg", "cpos", "cneg")]
    return str(cells[0]), str(sum(cells[:2])), str(cells[2]), str(sum(cells[2:]))


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def dich_data(trial) -> str:
    ai, n1i, ci, n2i = totals(trial)
    return (
        f'<DICH_DATA STUDY_ID="STD-{trial["trial"]}" EVENTS_1="{ai}" TOTAL_1="{n1i}" '
        f'EVENTS_2="{ci}" TOTAL_2="{n2i}" ESTIMABLE="YES" WEIGHT="1.0"/>'
    )


def dich_outcome(data: str, **attributes: str) -> str:
    given = {
        "ID": "CMP-001.01", "NO": "1", "EFFECT_MEASURE": "RR", "METHOD": "IV", "RANDOM": "YES",
        "TOTALS": "YES", "CI_TOTAL": "95", "CI_STUDY": "95", "SWAP_EVENTS": "NO",
    } | attributes  # fmt: skip
    words = " ".join(f'{key}="{value}"' for key, value in given.items())
    return (
        f"<DICH_OUTCOME {words}><NAME>Tuberculosis</NAME><GROUP_LABEL_1>BCG</GROUP_LABEL_1>"
        f"<GROUP_LABEL_2>No vaccine</GROUP_LABEL_2>{data}</DICH_OUTCOME>"
    )


def rm5(outcomes: str, quality: str = "") -> str:
    """A review of Review Manager 5 with the trials' names."""
    studies = "\n".join(
        f'<STUDY ID="STD-{t["trial"]}" NAME="{escaped(t["label"])}" YEAR="{t["year"]}"/>'
        for t in trials()
    )
    return RM5.format(studies=studies, quality=quality, outcomes=outcomes)


def bcg_rm5(**attributes: str) -> str:
    return rm5(dich_outcome("\n".join(map(dich_data, trials())), **attributes))


def csv_text(rows, delimiter: str = ",") -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def workbook(path: Path, sheets) -> Path:
    """A spreadsheet of sheets of rows."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def rewritten(path: Path, changes, added=None) -> Path:
    """The archive with parts changed by functions of their text, and with parts added."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    for name, change in changes.items():
        parts[name] = change(parts[name].decode()).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in {**parts, **(added or {})}.items():
            new.writestr(name, content)
    return path


def run(capsys, *words) -> tuple[int, str, str]:
    """Exit status, answer and complaints of the command."""
    status = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


def import_(capsys, path, out, *words, status: int = 0) -> str:
    """Import a file, which must end with `status`; its answer, or its complaints."""
    found, answer, complaints = run(capsys, "import", path, "--out", out, *words)
    assert found == status, answer + complaints
    return complaints if status == 2 else answer


def headline(folder: Path, analysis: str = ""):
    """Pooled estimate of the written configuration, as a run would compute it."""
    project = load_project(folder / "config.yaml")
    name = analysis or next(iter(project.config.analyses))
    settings = project.effects_settings(name)
    effects = compute_effects(
        settings["measure"],
        project.rows[name],
        level=settings["level"],
        options=settings["options"],
        **settings["zero_cells"],
    )
    return fit_analysis(effects, project.pooling_settings(name)).headline


def remarks(folder: Path) -> list[dict[str, str]]:
    """The report of an import."""
    with (folder / "import_report.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
