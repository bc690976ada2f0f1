"""Tidy CSV and JSON with full precision, the same bytes on every run; free of numpy."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA = re.compile(r"'*[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?[\d.]+(?:e[+-]?\d+)?%?", re.IGNORECASE)
SPECIAL = re.compile(r'[",\n\r]')

Cell = str | float | int | bool | None


def cell(value: Cell) -> str:
    """Text of a table cell: shortest exact number, empty for missing, true/false."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return (
            repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))
        )
    text = str(value)
    # A spreadsheet would run a text that begins like a formula; a printed number is none. What
    # begins with an apostrophe before one gets another, so that `plain` is the way back.
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def plain(text: str) -> str:
    """The text of which `cell` made `text`: without the apostrophe before a formula."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Cell]]) -> str:
    """A CSV text with LF line ends; every row has exactly these columns.

    Names of columns are cells too: a table that somebody gave may have one like a formula.
    """
    lines = [_line([cell(column) for column in columns])]
    for row in rows:
        if set(row) - set(columns):
            raise KeyError(f"columns not announced: {sorted(set(row) - set(columns))}")
        lines.append(_line([cell(row.get(column)) for column in columns]))
    return "".join(lines)


def _line(cells: Sequence[str]) -> str:
    """One record; unlike `csv.writer` with LF line ends it quotes a carriage return too."""
    quoted = [
        '"' + text.replace('"', '""') + '"' if SPECIAL.search(text) else text for text in cells
    ]
    # a single empty cell would be an empty line, which readers skip
    return (",".join(quoted) or '""') + "\n"


def to_json(value: Any) -> str:
    """JSON with one key per line; missing numbers are null, infinities text."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int):  # nearly all, and as they should be
        return value
    if hasattr(value, "tolist"):  # a numpy array
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
