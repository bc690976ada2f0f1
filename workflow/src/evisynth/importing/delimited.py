"""CSV files in any delimiter and encoding as a grid of text."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from evisynth.errors import InputError, Problem, echo
from evisynth.importing.records import Remark
from evisynth.importing.safety import read_bytes, refused
from evisynth.tabular import plain
from evisynth.yamltext import CONTROL

MOST_ROWS = 100_000
MOST_COLUMNS = 2_000
LOOKED_AT = 50
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
ENCODINGS = ("utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a grid: its number in the file, from 1, and its texts."""

    number: int
    cells: tuple[str, ...]


class Stored(str):
    """Text of a number that a spreadsheet stores as one: with a point, whatever it shows."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A sheet or CSV file.

    Attributes
    ----------
    file, sheet : name of the file and of the sheet; empty for CSV.
    lines : rows, without those that are empty.
    remarks : what was done while reading.
    """

    file: str
    sheet: str
    lines: tuple[Line, ...]
    remarks: tuple[Remark, ...] = ()

    def row(self, number: int) -> str:
        """Place of a row."""
        return f"{self.sheet}!row {number}" if self.sheet else f"row {number}"

    def cell(self, number: int, column: int) -> str:
        """Place of a cell; columns from 0."""
        name = f"{letters(column)}{number}"
        return f"{self.sheet}!{name}" if self.sheet else name


def letters(column: int) -> str:
    """Name of a column of a spreadsheet, from 0: A, B, ..., Z, AA."""
    name, left = "", column + 1
    while left:
        left, digit = divmod(left - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


def read_delimited(
    path: Path, name: str, encoding: str | None = None, delimiter: str | None = None
) -> Grid:
    """Read a CSV file; every text is what stood between the delimiters, without its margins.

    An apostrophe that our own tables put before text that a spreadsheet would take for a
    formula is taken away again.

    Raises
    ------
    InputError
        Unreadable, another encoding than said, control characters, bad quotation marks, or too
        many rows.
    """
    return parse_delimited(read_bytes(path, name), name, encoding, delimiter)


def parse_delimited(
    content: bytes, name: str, encoding: str | None = None, delimiter: str | None = None
) -> Grid:
    """The same for content that is at hand."""
    text = _decoded(content, name, encoding)
    remarks = []
    if encoding and encoding not in ("utf-8", "utf-8-sig"):
        remarks.append(
            Remark("note", "encoding", encoding, "read as said; look at accented letters")
        )
    sign = delimiter or _delimiter(text)
    if sign != ",":
        remarks.append(
            Remark("note", "delimiter", DELIMITERS.get(sign, echo(sign)), "columns end there")
        )
    lines: list[Line] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    before = 0
    try:
        for number, texts in enumerate(reader, 1):
            cells = tuple(plain(cell.strip()) for cell in texts)
            first, before = before + 1, reader.line_num
            if not any(cells):
                continue
            if number > MOST_ROWS:
                raise refused(
                    name, "more rows", f"at most {MOST_ROWS}", "split the file", "rows"
                )
            if len(cells) > MOST_COLUMNS:
                raise refused(
                    name,
                    f"{len(cells)} columns",
                    f"at most {MOST_COLUMNS}",
                    "say the right delimiter, or remove columns",
                    f"row {first}",
                )
            lines.append(Line(first, cells))
    except csv.Error as error:
        raise InputError(
            [
                Problem(
                    name,
                    "CSV syntax",
                    str(error),
                    "valid CSV",
                    'check the quotation marks; one within a quoted cell is written twice: ""',
                    reader.line_num or None,
                )
            ]
        ) from None
    return Grid(name, "", tuple(lines), tuple(remarks))


def _decoded(content: bytes, name: str, encoding: str | None) -> str:
    if encoding and encoding not in ENCODINGS:
        raise refused(
            name,
            f"the encoding {echo(encoding)}",
            f"one of: {', '.join(ENCODINGS)}",
            "correct it",
            "encoding",
        )
    if not encoding and content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refused(
            name, "text in UTF-16", "text in UTF-8", "say `encoding: utf-16`, or save as UTF-8"
        )
    used = "utf-8-sig" if encoding in (None, "utf-8") else encoding
    try:
        text = content.decode(used)
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at position {error.start}, not {used}"
        raise InputError(
            [
                Problem(
                    name,
                    "the file itself",
                    found,
                    "text in UTF-8, or in the encoding that is said",
                    "save it as UTF-8, or say the encoding: latin-1, cp1252, utf-16",
                    content.count(b"\n", 0, error.start) + 1,
                )
            ]
        ) from None
    control = CONTROL.search(text)
    if control:
        raise InputError(
            [
                Problem(
                    name,
                    "the file itself",
                    f"the control character U+{ord(control[0]):04X}",
                    "text",
                    "remove it; if there are many, save the file as plain text",
                    text.count("\n", 0, control.start()) + 1,
                )
            ]
        )
    return text


def _delimiter(text: str) -> str:
    """The delimiter with which most of the first rows have the same number of columns.

    Titles above a table, bars in its names and decimal commas have other signs than the rows.
    """

    def agreeing(sign: str) -> tuple[int, int]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
        try:
            widths = Counter(len(row) for row in islice(rows, LOOKED_AT) if len(row) > 1)
        except csv.Error:
            return 0, 0
        width, count = max(widths.items(), key=lambda item: item[::-1], default=(0, 0))
        return count, width

    return max(DELIMITERS, key=agreeing)
