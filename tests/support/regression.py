"""Analyses with moderators: expected numbers in tests/reference/regression, and their data."""

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evisynth.models.design import Design, design

FOLDER = Path(__file__).parents[1] / "reference" / "regression"


@dataclass(frozen=True)
class Entry:
    """One expected analysis, and the effects and moderators of all rows of its data."""

    file: str
    id: str
    kind: str
    args: Mapping[str, Any]
    status: str
    result: Mapping[str, Any]
    rtol: float
    atol: float
    yi: np.ndarray
    vi: np.ndarray
    moderators: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        return f"{self.file}:{self.id}"

    @property
    def rows(self) -> np.ndarray:
        """The rows that went in and have an effect."""
        chosen = np.zeros(self.yi.size, dtype=bool)
        chosen[[row - 1 for row in self.args.get("rows", range(1, self.yi.size + 1))]] = True
        return chosen & np.isfinite(self.yi) & np.isfinite(self.vi)

    def problem(self, formula: str | None = None) -> tuple[np.ndarray, np.ndarray, Design]:
        """Effects, variances and design of the rows used."""
        use = self.rows
        columns = {
            name: [cell for cell, used in zip(cells, use, strict=True) if used]
            for name, cells in self.moderators.items()
        }
        text = formula or self.args.get("mods", "~1")
        made = design(text, columns, size=int(use.sum()))
        return self.yi[use][made.kept], self.vi[use][made.kept], made


@functools.cache
def _document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _floats(effects: Mapping[str, Any], name: str, size: int) -> np.ndarray:
    """One entry per row of the data, nan where there is none."""
    values = np.full(size, math.nan)
    rows = effects["args"].get("rows", range(1, size + 1))
    for row, value in zip(rows, effects["result"][name], strict=True):
        values[row - 1] = math.nan if value is None else value
    return values


def entries(kind: str) -> Iterator[Entry]:
    """All analyses of one kind, in the order of the files."""
    for path in sorted(FOLDER.glob("*.json")):
        document = _document(path)
        effects = {
            a["id"]: (
                _floats(a, "yi", document["n_rows"]),
                _floats(a, "vi", document["n_rows"]),
            )
            for a in document["analyses"]
            if a["kind"] in ("escalc", "asis")
        }
        for a in document["analyses"]:
            if a["kind"] == kind:
                yi, vi = effects[a["args"]["data"]]
                yield Entry(
                    path.stem,
                    a["id"],
                    kind,
                    a["args"],
                    a["status"],
                    a["result"] or {},
                    a.get("rtol", 1e-10),
                    a.get("atol", 0.0),
                    yi,
                    vi,
                    document["data"],
                )


def our_name(theirs: str, made: Design) -> str:
    """Our name of a coefficient of R: allocrandom is alloc[random], intrcpt the intercept."""
    if theirs == "intrcpt":
        return "intercept"
    known = {re.sub(r"[\[\]]", "", name).replace(" ", ""): name for name in made.names}
    return known[theirs.replace(" ", "")]
