"""Which format a file has, and the reader for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evisynth.conversions import FIELDS as CONVERTED
from evisynth.errors import InputError, echo
from evisynth.importing.covidence import NUMBER, STUDY, read_covidence
from evisynth.importing.delimited import Grid, read_delimited
from evisynth.importing.escalc import read_escalc
from evisynth.importing.mapping import MappingFile, read_mapped
from evisynth.importing.records import Imported
from evisynth.importing.revman5 import read_rm5
from evisynth.importing.revman_web import NEEDED, read_package
from evisynth.importing.safety import ZIP_MAGIC, read_bytes, refused
from evisynth.importing.workbook import read_workbook
from evisynth.menus import FIELDS
from evisynth.table import TEXT_FIELDS
from evisynth.validation import validate
from evisynth.yamltext import read_yaml

FORMATS: dict[str, str] = {
    "xlsx": "a spreadsheet, by a mapping",
    "csv": "a CSV table, by a mapping",
    "rm5": "a review of Review Manager 5",
    "revman-web": "RevMan Web's data package (zip), or its data-rows.csv",
    "covidence": "an extraction table as Covidence exports it",
    "escalc": "a CSV table of metafor: yi, vi and what they are computed from",
}
SPREADSHEETS = (".xlsx", ".xlsm", ".xltx", ".xltm")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of an import.

    Attributes
    ----------
    format : one of `FORMATS`, or empty to have it guessed.
    mapping : file with the mapping.
    columns : field: column, from the command line.
    sheet, measure, encoding, decimal, groups : these keys of the mapping.
    """

    format: str = ""
    mapping: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    sheet: str | None = None
    measure: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    groups: Sequence[str] = ()


def read(path: Path, wanted: Wanted) -> Imported:
    """Read a file in its format.

    Raises
    ------
    InputError
        With what is wrong with the file, with its mapping, or with the request.
    """
    name = path.name
    mapping = _mapping(wanted)
    chosen = wanted.format or guess(
        path, name, mapped=bool(wanted.mapping or "study" in wanted.columns)
    )
    if chosen == "rm5":
        return read_rm5(path, name)
    if chosen == "revman-web":
        return read_package(path, name)
    if chosen == "xlsx":
        grid = read_workbook(path, name, mapping.sheet, mapping.numbers)
    else:
        sign = "\t" if mapping.delimiter == "tab" else mapping.delimiter
        grid = read_delimited(path, name, mapping.encoding, sign)
    if chosen == "covidence":
        if wanted.mapping:
            return read_mapped(grid, mapping, chosen)
        return read_covidence(
            grid, wanted.measure, wanted.columns, wanted.groups, mapping.decimal
        )
    if chosen == "escalc" and not wanted.mapping:
        return read_escalc(grid, wanted.measure, wanted.columns, mapping.decimal)
    if not wanted.mapping and not wanted.columns:
        named = _named_as_fields(grid)
        if named:
            return read_mapped(grid, _mapping(replace(wanted, columns=named)), chosen)
        raise refused(
            name,
            "no mapping: nothing says what its columns are",
            "--map FILE, or --columns study=COLUMN,ai=COLUMN,...",
            f"say it; its first row is {_first(grid)}",
            "mapping",
        )
    return read_mapped(grid, mapping, chosen)


def _named_as_fields(grid: Grid) -> dict[str, str]:
    """Columns whose names are the field's own (study, ai, n1i, ...), if they say enough."""
    first = [cell.strip() for cell in grid.lines[0].cells] if grid.lines else []
    named = {name: name for name in first if name in FIELDS or name in CONVERTED}
    return named if "study" in named and len(named.keys() - TEXT_FIELDS) > 1 else {}


def _first(grid: Grid) -> str:
    return echo("; ".join(grid.lines[0].cells)) if grid.lines else "empty"


def _mapping(wanted: Wanted) -> MappingFile:
    """The mapping of the file, with what the command line says over it."""
    given = {
        "sheet": wanted.sheet,
        "measure": wanted.measure,
        "encoding": wanted.encoding,
        "decimal": wanted.decimal,
        "groups": list(wanted.groups) or None,
        "columns": dict(wanted.columns) or None,
    }
    update = {key: value for key, value in given.items() if value is not None}
    if wanted.mapping is None:
        return MappingFile.model_validate(update)
    document = read_yaml(wanted.mapping, wanted.mapping.name)
    content, problems = validate(MappingFile, document)
    if problems or content is None:
        raise InputError(problems)
    if "columns" in update:
        update["columns"] = {**content.columns, **wanted.columns}
    return content.model_copy(update=update)


def guess(path: Path, name: str, *, mapped: bool) -> str:
    """The format of a file, by its suffix and its first bytes.

    Raises
    ------
    InputError
        It is none of these.
    """
    content = read_bytes(path, name)
    suffix = path.suffix.casefold()
    if content.startswith(ZIP_MAGIC):
        is_sheet = suffix in SPREADSHEETS or b"xl/workbook.xml" in content
        return "xlsx" if is_sheet or suffix in (".xlsb", ".ods", ".docx") else "revman-web"
    if suffix == ".rm5" or b"<COCHRANE_REVIEW" in content[:4000]:
        return "rm5"
    if suffix in SPREADSHEETS or suffix in (".pdf", ".docx", ".doc", ".rds", ".rda", ".sav"):
        raise refused(
            name,
            f"a file {suffix} that is none of the formats",
            f"one of: {', '.join(FORMATS)}",
            "save it as .xlsx or CSV",
        )
    first = content[:20_000].replace(b"\xef\xbb\xbf", b"").split(b"\n", 1)[0]
    header = first.decode("utf-8", "replace")
    if all(column in header for column in NEEDED):
        return "revman-web"
    if STUDY in header and NUMBER in header:
        return "covidence"
    words = {word.strip().strip('"') for word in re.split("[,;\t]", header)}
    if not mapped and {"yi", "vi"} <= words:
        return "escalc"
    return "csv"
