"""XLSX files as grids of text: what the cells show, or the numbers that are stored in them."""

import io
import re
import warnings
import zipfile
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import ParseError

from evisynth.errors import InputError, Problem, echo
from evisynth.importing.delimited import Grid, Line, Stored, letters
from evisynth.importing.records import Remark
from evisynth.importing.safety import open_zip, read_bytes, read_member, refused, scan_xml
from evisynth.validation import choices, nearest
from evisynth.yamltext import CONTROL

MOST_ROWS = 100_000
MOST_CELLS = 500_000
# A sheet is a rectangle to a reader: its last row times its last column.
MOST_PLACES = 3_000_000
MOST_MERGED = 100_000
MOST_LISTED = 20

Numbers = Literal["stored", "shown"]

_REFERENCE = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_FORMAT = re.compile(
    r"[#0?,. ]*?(?P<whole>[#0?][#0?,]*)(?:\.(?P<decimals>[0#?]+))?(?P<rest>.*)"
)


class _Scan:
    """What a worksheet holds, counted before anything is built of it."""

    def __init__(self, name: str, place: str) -> None:
        self.name, self.place = name, place
        self.cells = self.merged = self.linked = 0
        self.row = self.last_row = self.last_column = 0
        self.formulas = False

    def element(self, tag: str, attributes: dict[str, str]) -> None:
        """Count one element."""
        if tag == "row":
            self._at(_whole(attributes.get("r"), self.row + 1), 0)
        elif tag == "c":
            self.cells += 1
            match = _REFERENCE.fullmatch(attributes.get("r", ""))
            if match:
                self._at(int(match[2]), _column(match[1]))
            if self.cells > MOST_CELLS:
                raise self._refused(f"more than {MOST_CELLS} cells", f"at most {MOST_CELLS}")
        elif tag == "f":
            self.formulas = True
        elif tag == "hyperlink":  # the library makes a cell of every place that has one
            self.linked += _area(attributes.get("ref", ""))
            if self.linked > MOST_MERGED:
                raise self._refused(
                    f"a link over more than {MOST_MERGED} cells", "links of single cells"
                )
        elif tag == "mergeCell":
            self.merged += _area(attributes.get("ref", ""))
            if self.merged > MOST_MERGED:
                raise self._refused(
                    f"merged cells that cover more than {MOST_MERGED}", "fewer merged cells"
                )

    def _at(self, row: int, column: int) -> None:
        self.row = row
        self.last_row = max(self.last_row, row)
        self.last_column = max(self.last_column, column + 1)
        if self.last_row > MOST_ROWS:
            raise self._refused(f"a row {self.last_row}", f"at most {MOST_ROWS} rows")
        if self.last_row * self.last_column > MOST_PLACES:
            raise self._refused(
                f"a sheet of {self.last_row} rows by {self.last_column} columns",
                f"at most {MOST_PLACES} places",
            )

    def _refused(self, found: str, expected: str) -> InputError:
        advice = "copy the rows and columns with data to a new sheet"
        return refused(self.name, found, expected, advice, self.place)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default


def _column(name: str) -> int:
    number = 0
    for letter in name.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _area(reference: str) -> int:
    ends = _REFERENCE.findall(reference)
    if not ends:
        return 0
    (left, top), (right, bottom) = ends[0], ends[-1]
    return (abs(_column(right) - _column(left)) + 1) * (abs(int(bottom) - int(top)) + 1)


def read_workbook(
    path: Path, name: str, sheet: str | None = None, numbers: Numbers = "stored"
) -> Grid:
    """Read a sheet of an XLSX file.

    Formulas are never computed: their stored values are taken, and said. A merged area has its
    text in each of its cells.

    Parameters
    ----------
    sheet : name of the sheet, or its number from 1; by default the only visible one.
    numbers : ``stored`` takes the digits that are stored, with the zeros and the per cent sign
        that the format adds to them; ``shown`` takes what the format shows, and rounds.

    Raises
    ------
    InputError
        With everything that is wrong with the file, or with the request.
    """
    content = read_bytes(path, name)
    with open_zip(io.BytesIO(content), name) as archive:
        has_formulas, remarks = _inspect(archive, name)
    values = _load(content, name, data_only=True)
    formulas = _load(content, name, data_only=False) if has_formulas else None
    chosen = _choose(values, name, sheet, remarks)
    return _grid(name, values[chosen], formulas[chosen] if formulas else None, numbers, remarks)


def _inspect(archive: zipfile.ZipFile, name: str) -> tuple[bool, list[Remark]]:
    """Refuse what is no plain workbook; whether it has formulas, and remarks."""
    names = archive.namelist()
    others = {
        "xl/workbook.bin": "a binary workbook (.xlsb)",
        "content.xml": "an OpenDocument spreadsheet (.ods)",
        "word/document.xml": "a text document (.docx)",
    }
    other = next((what for entry, what in others.items() if entry in names), "")
    if other or "xl/workbook.xml" not in names:
        raise refused(
            name, other or "an archive without a workbook", "an .xlsx file", "save it as .xlsx"
        )
    remarks = []
    if any(entry.endswith("vbaProject.bin") for entry in names):
        remarks.append(
            Remark("left", "workbook", "macros", "they are neither read nor run; cells only")
        )
    if any(entry.startswith("xl/externalLinks/") for entry in names):
        remarks.append(
            Remark("note", "workbook", "links to other files", "not followed; stored values")
        )
    formulas = False
    problems: list[Problem] = []
    for entry in names:
        if not entry.endswith((".xml", ".rels", ".vml")):
            continue
        scan = _Scan(name, f"entry {echo(entry)}")
        is_sheet = entry.startswith("xl/worksheets/")
        try:
            body = read_member(archive, entry, name)
            scan_xml(body, name, scan.place, scan.element if is_sheet else None)
        except InputError as error:
            problems += error.problems
        formulas = formulas or scan.formulas
    if problems:
        raise InputError(problems)
    return formulas, remarks


def _load(content: bytes, name: str, *, data_only: bool) -> Any:
    import openpyxl  # only a workbook needs it
    from openpyxl.utils.exceptions import InvalidFileException

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about extensions that it does not keep
        try:
            return openpyxl.load_workbook(
                io.BytesIO(content), data_only=data_only, keep_links=False, rich_text=True
            )
        except (
            InvalidFileException,
            zipfile.BadZipFile,
            ParseError,
            KeyError,
            ValueError,
            TypeError,
            IndexError,
            AttributeError,
            OverflowError,
            OSError,
        ) as error:
            raise refused(
                name,
                f"a workbook that cannot be read ({echo(str(error))})",
                "a workbook as spreadsheet programs write it",
                "open it and save it anew as .xlsx",
            ) from None


def _choose(book: Any, name: str, sheet: str | None, remarks: list[Remark]) -> str:
    """Name of the sheet to read; the others are in the remarks."""
    all_sheets = {s.title: s.sheet_state != "visible" for s in book.worksheets}
    visible = [title for title, hidden in all_sheets.items() if not hidden]
    chosen = sheet
    if sheet is None and len(visible) == 1:
        chosen = visible[0]
    elif sheet is not None and sheet not in all_sheets and sheet.isdecimal():
        position = int(sheet[:6])
        if 1 <= position <= len(all_sheets):
            chosen = list(all_sheets)[position - 1]
    if chosen is None or chosen not in all_sheets:
        raise refused(
            name,
            f"the sheet {echo(sheet)}" if sheet else f"{len(visible)} visible sheets",
            f"one of: {choices(all_sheets)}",
            "say which: `sheet` of the mapping, or --sheet"
            + (nearest(sheet, all_sheets) if sheet else ""),
            "sheet",
        )
    if all_sheets[chosen]:
        remarks.append(Remark("note", f"sheet {chosen}", "a hidden sheet", "read as asked"))
    remarks += [
        Remark(
            "left",
            f"sheet {title}",
            "a hidden sheet" if hidden else "a sheet",
            "another sheet was asked for",
        )
        for title, hidden in all_sheets.items()
        if title != chosen
    ]
    return chosen


def _grid(
    name: str, sheet: Any, formulas: Any, numbers: Numbers, remarks: list[Remark]
) -> Grid:
    grid = Grid(name, sheet.title, ())
    # links and comments make cells too, and may do so far away from all others
    if sheet.max_row > MOST_ROWS or sheet.max_row * sheet.max_column > MOST_PLACES:
        raise refused(
            name,
            f"a link or comment at row {sheet.max_row}, column {letters(sheet.max_column - 1)}",
            f"at most {MOST_ROWS} rows and {MOST_PLACES} places",
            "remove it, or copy the rows and columns with data to a new sheet",
            f"sheet {sheet.title}",
        )
    stored, unstored, rounded, controls, marked, struck = [], [], [], [], [], []
    table: dict[int, dict[int, str]] = {}
    for row in sheet.iter_rows():
        for cell in row:
            at = grid.cell(cell.row, cell.column - 1)
            formula = formulas is not None and formulas[cell.coordinate].data_type == "f"
            if cell.value is None:
                if formula:
                    unstored.append(at)
                continue
            if formula:
                stored.append(at)
            text, differs = cell_text(cell.value, cell.number_format, numbers)
            if differs:
                rounded.append(at)
            if isinstance(cell.value, list) and text != str(cell.value):
                marked.append(at)
            if cell.has_style and cell.font.strike:
                struck.append(at)
            if CONTROL.search(text):
                controls.append(at)
                text = CONTROL.sub("", text)
            text = " ".join(text.split())
            if isinstance(cell.value, int | float) and not isinstance(cell.value, bool):
                text = Stored(text)
            table.setdefault(cell.row, {})[cell.column - 1] = text
    for area in sheet.merged_cells.ranges:
        text = table.get(area.min_row, {}).get(area.min_col - 1, "")
        for number in range(area.min_row, area.max_row + 1):
            for column in range(area.min_col - 1, area.max_col):
                if text:
                    table.setdefault(number, {})[column] = text
    shown = "stored" if numbers == "stored" else "shown"
    remarks += _listed(
        "note", stored, "formulas", "not computed; their stored values are taken"
    )
    remarks += _listed(
        "lost",
        unstored,
        "formulas without a stored value",
        "not computed: open the file in a spreadsheet program and save it",
    )
    remarks += _listed(
        "note",
        rounded,
        "numbers of which fewer digits are shown than are stored",
        f"what is {shown} is taken",
    )
    remarks += _listed("note", controls, "control characters", "left out")
    remarks += _listed(
        "note",
        marked,
        "characters that are raised, lowered or struck through",
        "written as ^a, _a and ~a~, so that they are no digits of a number",
    )
    remarks += _listed("note", struck, "cells that are struck through", "read like the others")
    areas = [f"{sheet.title}!{area.coord}" for area in sheet.merged_cells.ranges]
    remarks += _listed("note", sorted(areas), "merged cells", "each cell has their text")
    remarks += _hidden(sheet)
    width = max((max(cells) + 1 for cells in table.values()), default=0)
    lines = tuple(
        Line(number, tuple(cells.get(i, "") for i in range(width)))
        for number, cells in sorted(table.items())
        if any(cells.values())
    )
    return Grid(name, sheet.title, lines, tuple(remarks))


def _listed(level: Any, places: list[str], found: str, reason: str) -> list[Remark]:
    """Every place of a kind, or the first of many."""
    if not places:
        return []
    more = f" and {len(places) - MOST_LISTED} more" if len(places) > MOST_LISTED else ""
    if level == "lost":
        return [Remark(level, place, found, reason) for place in places]
    return [Remark(level, ", ".join(places[:MOST_LISTED]) + more, found, reason)]


def _hidden(sheet: Any) -> list[Remark]:
    rows = sorted(n for n, d in sheet.row_dimensions.items() if d.hidden)
    columns = sorted(
        {
            n
            for d in sheet.column_dimensions.values()
            if d.hidden
            for n in range(int(d.min or 1), min(int(d.max or 1), sheet.max_column) + 1)
        }
    )
    found: list[Remark] = []
    places: tuple[tuple[str, Iterable[str]], ...] = (
        ("rows", map(str, rows)),
        ("columns", (letters(n - 1) for n in columns)),
    )
    for what, names in places:
        listed = [f"{sheet.title}!{name}" for name in names]
        found += _listed("note", listed, f"hidden {what}", "read like the others")
    return found


def cell_text(value: object, number_format: str, numbers: Numbers) -> tuple[str, bool]:
    """Text of a cell, and whether its format shows another number than is stored.

    Parameters
    ----------
    value : what openpyxl gives: text, a list of formatted parts, number, truth, date.
    number_format : format of the cell, such as ``0.0%``.

    Examples
    --------
    >>> cell_text(0.302, "0.0%", "stored"), cell_text(0.05, "0.000", "stored")
    (('30.2%', False), ('0.050', False))
    >>> cell_text(0.30232, "0.0%", "stored"), cell_text(0.30232, "0.0%", "shown")
    (('30.232%', True), ('30.2%', True))
    """
    if isinstance(value, bool):
        return ("TRUE" if value else "FALSE"), False
    if isinstance(value, datetime):
        at = value.time()
        return (value.date().isoformat() if at == time() else value.isoformat(" ")), False
    if isinstance(value, date | time):
        return value.isoformat(), False
    if isinstance(value, list):
        return "".join(map(_run, value)), False
    if not isinstance(value, int | float):
        return str(value), False
    # Spreadsheets keep 15 digits; a sixteenth is an artefact of the binary number.
    exact = Decimal(value) if isinstance(value, int) else Decimal(f"{value:.15g}")
    match = _FORMAT.fullmatch(_QUOTED.sub("", number_format.split(";")[0]))
    if number_format == "General" or not match or "E" in (match["rest"] or "").upper():
        return _plain(exact), False
    percent = "%" in match["rest"]
    if percent:
        exact *= 100
    fixed = match["decimals"] or ""
    shown = f"{exact:.{len(fixed)}f}" if exact.is_finite() else str(exact)
    if Decimal(shown) == exact:
        # an optional digit (#) is not shown where it is 0
        optional = len(fixed) - len(fixed.rstrip("#?"))
        while optional and shown.endswith("0"):
            shown, optional = shown[:-1], optional - 1
        text, differs = shown.rstrip("."), False
    else:
        text, differs = (shown if numbers == "shown" else _plain(exact)), True
    return text + "%" * percent, differs


def _run(part: Any) -> str:
    """A part of a text with its formatting: a raised 1 after 12 does not make 121."""
    text, font = str(part), getattr(part, "font", None)
    if font is None or not text.strip():
        return text
    if font.strike:
        return f"~{text}~"
    return {"superscript": "^", "subscript": "_"}.get(font.vertAlign or "", "") + text


def _plain(number: Decimal) -> str:
    """The digits without an exponent, unless it is far away."""
    if not number.is_finite():
        return str(number)
    if number == number.to_integral_value() and abs(number) < Decimal(10) ** 16:
        return str(int(number))
    text = f"{number:f}"
    return f"{number.normalize():f}" if len(text) <= 40 else f"{float(number)!r}"
