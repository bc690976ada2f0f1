"""A reviewer's CSV table, through a mapping of columns, as rows of numbers and text."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evisynth.errors import Problem, echo
from evisynth.printed import number, spelling
from evisynth.tabular import plain
from evisynth.validation import choices, nearest
from evisynth.yamltext import read_text

MISSING = frozenset({"", "NA"})
TEXT_FIELDS = frozenset({"study", "label", "year", "cluster"})


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: text of every column, and where it stands."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file.

    Attributes
    ----------
    file : name to show in messages.
    header : names of the columns, none if they are not clear; a column without a name is not
        read.
    rows : the rows that have a cell for every column.
    problems : mistakes that left the rest readable, such as a row that is too short.
    """

    file: str
    header: tuple[str, ...]
    rows: tuple[TableRow, ...]
    problems: tuple[Problem, ...]


def read_table(path: Path, name: str) -> Table:
    """Read a UTF-8 CSV file whose first row names the columns.

    The apostrophe that our own tables put before text like a formula is taken away again.

    Raises
    ------
    InputError
        Unreadable or not UTF-8.
    """
    reader = csv.reader(io.StringIO(read_text(path, name), newline=""), strict=True)
    problems: list[Problem] = []
    header: list[str] = []
    rows: list[TableRow] = []
    count, is_clear = 0, True
    try:
        for texts in reader:
            cells = [plain(text.strip()) for text in texts]
            if not any(cells):
                continue
            if not header:
                header = cells
                problems += _header_problems(header, name, reader.line_num)
                is_clear = not problems
                other = _other_separator(header)
                if other:
                    problems.append(_separated(other, name, reader.line_num))
                    header = []
                    break
                continue
            count += 1
            if len(cells) == len(header):
                named = zip(header, cells, strict=True)
                rows.append(
                    TableRow(reader.line_num, {key: cell for key, cell in named if key})
                )
            else:
                problems.append(
                    Problem(
                        name,
                        f"row {count}",
                        f"{len(cells)} cells",
                        f"{len(header)}, as in the header",
                        "check commas and quotation marks; quote a cell that holds a comma",
                        reader.line_num,
                    )
                )
    except csv.Error as error:
        problems.append(_syntax(name, str(error), reader.line_num))
    if not problems and not rows:
        problems.append(Problem(name, "rows", "none", "at least one row", "add one"))
    columns = tuple(column for column in header if column and is_clear)
    return Table(name, columns, tuple(rows), tuple(problems))


def _other_separator(header: list[str]) -> str:
    signs = {";": "semicolons", "\t": "tabs", "|": "bars"}
    if len(header) > 1:
        return ""
    return next((word for sign, word in signs.items() if sign in header[0]), "")


def _separated(other: str, name: str, line: int) -> Problem:
    return Problem(
        name,
        "header",
        f"columns separated by {other}",
        "columns separated by commas, numbers with a decimal point",
        "save it as CSV with commas (in a spreadsheet: language English)",
        line,
    )


def _header_problems(header: list[str], name: str, line: int) -> list[Problem]:
    return [
        Problem(
            name,
            "header",
            f"the column {echo(column)} {header.count(column)} times",
            "every column once",
            "rename or remove one",
            line,
        )
        for column in sorted({c for c in header if c and header.count(c) > 1})
    ]


def _syntax(name: str, said: str, line: int) -> Problem:
    found = {
        "unexpected end of data": "a quotation mark that is never closed",
        "',' expected after '\"'": "text after a closing quotation mark",
    }.get(said, said)
    return Problem(
        name,
        "CSV syntax",
        found,
        "valid CSV",
        'check the quotation marks; one within a quoted cell is written twice: ""',
        line or None,
    )


def check_columns(wanted: Mapping[str, str], table: Table, config: str) -> list[Problem]:
    """Columns that the configuration names (`place in it: column`) and the table lacks."""
    return [
        Problem(
            config,
            place,
            f"the column {echo(column)}",
            f"a column of {table.file}: {choices(table.header, 40)}",
            f"correct it{nearest(column, table.header)}",
        )
        for place, column in wanted.items()
        if column not in table.header
    ]


def check_values(
    column: str, wanted: Iterable[str], table: Table, config: str, place: str
) -> list[Problem]:
    """Values that rows are selected by and that `column` never has."""
    known = {row.cells[column] for row in table.rows}
    return [
        Problem(
            config,
            place,
            f"the value {echo(value)}",
            f"a value of the column {echo(column)} of {table.file}: {choices(known)}",
            f"correct it{nearest(value, known)}",
        )
        for value in wanted
        if value not in known
    ]


def to_number(row: TableRow, column: str, name: str, problems: list[Problem]) -> float:
    """Number in a cell; nan where it is empty; a problem where it is neither."""
    text = row.cells[column]
    if text in MISSING:
        return math.nan
    try:
        return number(text)
    except ValueError:
        problems.append(
            Problem(
                name,
                f"column {column}",
                echo(text),
                "a plain number such as 12 or 0.050, or an empty cell",
                f"correct it{spelling(text)}",
                row.line,
            )
        )
        return math.nan
