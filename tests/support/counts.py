"""Counts behind tests/reference/counts, and the analyses of them by R."""

import csv
import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
REFERENCES = sorted((ROOT / "tests" / "reference" / "counts").glob("*.json"))
# Names of the cells in package meta.
META = {
    "event.e": "ai",
    "n.e": "n1i",
    "event.c": "ci",
    "n.c": "n2i",
    "time.e": "t1i",
    "time.c": "t2i",
}


@dataclass(frozen=True)
class Entry:
    """One analysis of one reference file, with its columns as arrays."""

    file: str
    id: str
    args: dict[str, Any]
    status: str
    result: dict[str, Any] | None
    rtol: float
    complete: bool
    cells: dict[str, np.ndarray]

    def __str__(self) -> str:
        return f"{self.file}:{self.id}"


def number(text: str | float | None) -> float:
    """A cell of a CSV file, or a value of JSON."""
    try:
        return math.nan if text in (None, "") else float(text)
    except ValueError:
        return math.nan


@functools.cache
def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    document = json.loads(path.read_text(encoding="utf-8"))
    data = document["data"]
    if isinstance(data, str):
        with (ROOT / data).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        data = {name: [row[name] for row in rows] for name in rows[0]}
    columns = {name: np.array([number(v) for v in values]) for name, values in data.items()}
    assert {values.size for values in columns.values()} == {document["n_rows"]}
    return document, columns


def entries(kind: str) -> Iterator[Entry]:
    """All analyses of one kind; studies with a missing number are left out, as R does."""
    for path in REFERENCES:
        document, columns = _read(path)
        for entry in document["analyses"]:
            if entry["kind"] != kind:
                continue
            cells = {
                META.get(name, name): sum(columns[part] for part in column.split("+"))
                for name, column in entry["args"]["inputs"].items()
            }
            if rows := entry["args"].get("rows"):
                cells = {name: values[np.array(rows) - 1] for name, values in cells.items()}
            if "n1i" in cells:
                cells["bi"] = cells.pop("n1i") - cells["ai"]
                cells["di"] = cells.pop("n2i") - cells["ci"]
            if "t1i" in cells and "ai" in cells:
                cells["x1i"], cells["x2i"] = cells.pop("ai"), cells.pop("ci")
            known = np.all([np.isfinite(values) for values in cells.values()], axis=0)
            yield Entry(
                path.stem,
                entry["id"],
                entry["args"],
                entry["status"],
                entry["result"],
                entry.get("rtol", 1e-10),
                bool(known.all()),
                {name: values[known] for name, values in cells.items()},
            )


def close(
    ours: float | np.ndarray,
    theirs: str | float | np.ndarray | None,
    rtol: float = 1e-10,
    atol: float = 0,
) -> None:
    """Equal up to the digits that R printed; nan equals null."""
    expected = theirs if isinstance(theirs, np.ndarray) else number(theirs)
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=atol)


BCG = tuple(
    np.array(column, dtype=float)
    for column in (
        (4, 6, 3, 62, 33, 180, 8, 505, 29, 17, 186, 5, 27),
        (119, 300, 228, 13536, 5036, 1361, 2537, 87886, 7470, 1699, 50448, 2493, 16886),
        (11, 29, 11, 248, 47, 372, 10, 499, 45, 65, 141, 3, 29),
        (128, 274, 209, 12619, 5761, 1079, 619, 87892, 7232, 1600, 27197, 2338, 17825),
    )
)


@st.composite
def tables(draw, smallest: int = 1, largest: int = 25) -> tuple[np.ndarray, ...]:
    """2x2 tables from one member per group to a million, zero cells among them."""
    k = draw(st.integers(smallest, largest))
    size = draw(st.sampled_from([1, 3, 10, 100, 10_000, 1_000_000]))
    count = st.one_of(st.just(0), st.integers(0, size))
    rows = []
    for _ in range(k):
        a, b, c, d = (draw(count) for _ in range(4))
        rows.append((a, b + (a + b == 0), c, d + (c + d == 0)))
    return tuple(np.array(column, dtype=float) for column in zip(*rows, strict=True))
