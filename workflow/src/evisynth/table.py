"""A reviewer's CSV table, through a mapping of columns, as rows of numbers and text."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evisynth.errors import InputError, Problem, echo
from evisynth.printed import number
from evisynth.validation import choices, nearest
from evisynth.yamltext import read_text

MISSING = frozenset({"", "NA"})
TEXT_FIELDS = frozenset({"study", "label", "year", "cluster"})


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: text of every column, and where it stands."""

    line: int
    cells: Mapping[str, str]


def read_table(path: Path, name: str) -> tuple[tuple[str, ...], tuple[TableRow, ...]]:
    """Header and rows of a UTF-8 CSV file with a header line.

    Raises
    ------
    InputError
        Unreadable or not UTF-8, a column name missing or double, rows of the wrong length.
    """
    reader = csv.reader(io.StringIO(read_text(path, name), newline=""), strict=True)
    problems: list[Problem] = []
    rows: list[TableRow] = []
    try:
        header = [cell.strip() for cell in next(reader)]
        for column in sorted({c for c in header if header.count(c) > 1}):
            problems.append(
                Problem(
                    name,
                    "header",
                    f"the column {echo(column)} {header.count(column)} times",
                    "every column once",
                    "rename or remove one",
                    1,
                )
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(
                    Problem(
                        name,
                        f"row {len(rows) + 1}",
                        f"{len(cells)} cells",
                        f"{len(header)}, as in the header",
                        "check commas and quotes; quote a cell that holds a comma",
                        reader.line_num,
                    )
                )
            else:
                rows.append(
                    TableRow(
                        reader.line_num,
                        dict(zip(header, (cell.strip() for cell in cells), strict=True)),
                    )
                )
    except csv.Error as error:
        problems.append(
            Problem(
                name,
                "CSV syntax",
                str(error),
                "valid CSV",
                "check quotes",
                reader.line_num or None,
            )
        )
    if not problems and not rows:
        problems.append(Problem(name, "rows", "none", "at least one row", "add one"))
    if problems:
        raise InputError(problems)
    return tuple(header), tuple(rows)


def check_columns(
    header: Sequence[str], wanted: Mapping[str, str], table: str, config: str
) -> list[Problem]:
    """Columns that the configuration names (`place in it: column`) and the table lacks."""
    return [
        Problem(
            config,
            place,
            f"the column {echo(column)}",
            f"a column of {table}: {choices(header, 40)}",
            f"correct it{nearest(column, header)}",
        )
        for place, column in wanted.items()
        if column not in header
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
                name, column, echo(text), "a number or an empty cell", "correct it", row.line
            )
        )
        return math.nan
