"""Effect sizes, by our code, of the data behind tests/reference, and small data by hand."""

import csv
import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evisynth.measures import compute_effects
from evisynth.records import EffectSizes, RawRow

ROOT = Path(__file__).parents[2]
REFERENCES = sorted((ROOT / "tests" / "reference").glob("*.json"))


@dataclass(frozen=True)
class Analysis:
    """One analysis of one reference file."""

    file: str
    id: str
    kind: str
    args: Mapping[str, Any]
    status: str
    result: Mapping[str, Any]
    rtol: float

    def __str__(self) -> str:
        return f"{self.file}:{self.id}"


@functools.cache
def _document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _value(text: str | float | None) -> float:
    return math.nan if text in (None, "") else float(text)


@functools.cache
def _columns(path: Path) -> dict[str, list[float]]:
    document = _document(path)
    data = document["data"]
    if isinstance(data, str):
        with (ROOT / data).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        for name, wanted in document.get("rows", {}).items():
            rows = [row for row in rows if row[name] == wanted]
        data = {name: [row[name] for row in rows] for name in rows[0]}
    assert {len(values) for values in data.values()} == {document["n_rows"]}
    columns = {}
    for name, values in data.items():
        try:
            columns[name] = [_value(value) for value in values]
        except ValueError:
            continue
    for name, summed in document.get("columns", {}).items():
        parts = [columns[part] for part in summed.split("+")]
        columns[name] = [sum(values) for values in zip(*parts, strict=True)]
    return columns


def analyses(kind: str) -> Iterator[Analysis]:
    """All analyses of one kind, in the order of the files."""
    for path in REFERENCES:
        for entry in _document(path)["analyses"]:
            if entry["kind"] == kind:
                yield Analysis(
                    path.stem,
                    entry["id"],
                    kind,
                    entry["args"],
                    entry["status"],
                    entry["result"] or {},
                    entry.get("rtol", 1e-10),
                )


def find(file: str, id: str) -> Analysis:  # noqa: A002
    """The effect sizes that another analysis of the same file takes."""
    return next(
        entry
        for kind in ("escalc", "asis")
        for entry in analyses(kind)
        if (entry.file, entry.id) == (file, id)
    )


def effects_of(entry: Analysis, level: float = 0.95) -> EffectSizes:
    """Our effect sizes for an `escalc` or `asis` analysis."""
    columns = _columns(ROOT / "tests" / "reference" / f"{entry.file}.json")
    names = ("yi", "vi", "sei", "ni")
    inputs = entry.args.get("inputs") or {
        name: entry.args[name] for name in names if name in entry.args
    }
    measure = entry.args["measure"]
    options = {name: entry.args[name] for name in ("add", "to", "drop00") if name in entry.args}
    if entry.kind == "asis":
        measure, options = ("HR" if measure == "HR" else "GEN"), {}
    used = {
        name: columns[column]
        if isinstance(column, str)
        else [_value(value) for value in column]
        for name, column in inputs.items()
    }
    if kept := entry.args.get("rows"):
        used = {name: [values[row - 1] for row in kept] for name, values in used.items()}
    return compute_effects(measure, rows(**used), level=level, **options)


def rows(**columns: Sequence[float]) -> list[RawRow]:
    """Rows with the given columns; studies are called 1, 2, ..."""
    return [
        RawRow(str(row), f"study {row}", dict(zip(columns, map(float, numbers), strict=True)))
        for row, numbers in enumerate(zip(*columns.values(), strict=True), start=1)
    ]


def generic(yi: Sequence[float], vi: Sequence[float], level: float = 0.95) -> EffectSizes:
    """Effect sizes as given."""
    return compute_effects("GEN", rows(yi=yi, vi=vi), level=level)


def table(path: str, **columns: str) -> dict[str, np.ndarray]:
    """Columns of a CSV file of the repository, as the field's names; nan where empty."""
    with (ROOT / path).open(encoding="utf-8", newline="") as lines:
        read = list(csv.DictReader(lines))
    return {
        name: np.array([_value(row[column]) for row in read])
        for name, column in columns.items()
    }


# yi, vi and what the maximum of the restricted likelihood must be: the failure cases F1 (Fisher
# scoring diverges while DL = HE = PM = 0) and F2 (two maxima, of which other software takes the
# lower one) of the review of tools that this package started from.
F1 = (
    np.array([1.30, 1.94, 0.70, 0.36, 1.31, 0.46, 1.24, 0.71, 0.35, 0.77]),
    np.array([0.640, 0.421, 0.992, 0.058, 0.756, 0.634, 0.79, 0.596, 0.457, 0.935]),
)
F2 = (
    np.array([-0.4449, -0.0202, -0.015, 0.5411]),
    np.array([0.011169, 0.000304, 0.000389, 1.17465]),
)
# F7: effects more alike than chance allows; F8: two studies.
F7 = (np.array([0.30, 0.31, 0.29]), np.array([0.04, 0.05, 0.06]))
F8 = (np.array([0.1, 0.9]), np.array([0.04, 0.05]))
