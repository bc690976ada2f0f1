"""Data, designs and covariances behind tests/reference/dependence."""

import csv
import functools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evisynth.models import covariance, multilevel
from support.references import ROOT, Analysis

FILES = sorted((ROOT / "tests" / "reference" / "dependence").glob("*.json"))


@functools.cache
def _document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def analyses(kind: str) -> Iterator[Analysis]:
    """All analyses of one kind, in the order of the files."""
    for path in FILES:
        for entry in _document(path)["analyses"]:
            if entry["kind"] == kind:
                yield Analysis(
                    path.stem,
                    entry["id"],
                    kind,
                    entry["args"],
                    entry["status"],
                    entry["result"] or {},
                    entry["rtol"],
                )


def entry(file: str, id: str) -> Analysis:  # noqa: A002
    """One analysis."""
    kinds = {a["kind"] for a in _document(FILES[0].with_name(f"{file}.json"))["analyses"]}
    return next(a for kind in kinds for a in analyses(kind) if (a.file, a.id) == (file, id))


@functools.cache
def read(path: str) -> dict[str, list[str]]:
    """Columns of a CSV file of the repository, as text."""
    with (ROOT / path).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [row[name] for row in rows] for name in rows[0]}


@functools.cache
def columns(file: str, rows: tuple[int, ...] = ()) -> dict[str, list[str]]:
    """Columns of the data behind a reference file, as text; rows count from 1."""
    document = _document(FILES[0].with_name(f"{file}.json"))
    data = document["data"]
    data = dict(read(data) if isinstance(data, str) else data) | document.get("labels", {})
    k = document["n_rows"]
    assert {len(values) for values in data.values()} == {k}
    data.setdefault("es_id", [str(row) for row in range(1, k + 1)])
    return {
        name: [values[row - 1] for row in rows] if rows else values
        for name, values in data.items()
    }


def numbers(data: dict[str, list[str]], name: str) -> np.ndarray:
    """A column as numbers; nan where empty."""
    return np.array([float(value or math.nan) for value in data[name]])


def effects(data: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Effects and variances, as the analysis `asis` or `escalc` of the file has them."""
    if "yi" in data:
        return numbers(data, "yi"), numbers(data, "vi")
    if "waward" in data:  # log odds ratios; no cell is empty
        a, b = numbers(data, "waward"), numbers(data, "wtotal") - numbers(data, "waward")
        c, d = numbers(data, "maward"), numbers(data, "mtotal") - numbers(data, "maward")
        return np.log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d
    if "diff" in data:
        return numbers(data, "diff"), numbers(data, "se") ** 2
    # metafor 5: log ratio of means with Lajeunesse's (2015) correction
    m1, sd1, n1 = (numbers(data, name) for name in ("m1i", "sd1i", "n1i"))
    m2, sd2, n2 = (numbers(data, name) for name in ("m2i", "sd2i", "n2i"))
    v1, v2 = sd1**2 / (n1 * m1**2), sd2**2 / (n2 * m2**2)
    return np.log(m1 / m2) + (v1 - v2) / 2, v1 + v2


def design(data: dict[str, list[str]], names: list[str]) -> np.ndarray:
    """Design matrix from R's names of its columns."""
    return np.column_stack([_column(data, name) for name in names])


def _column(data: dict[str, list[str]], name: str) -> np.ndarray:
    k = len(next(iter(data.values())))
    product = np.ones(k)
    for part in name.split(":"):
        if part in ("intrcpt", "X.Intercept."):
            continue
        if centred := re.fullmatch(r"I\((\w+) - ([\d.]+)\)", part):
            product = product * (numbers(data, centred[1]) - float(centred[2]))
        elif part in data:
            product = product * numbers(data, part)
        else:
            factor = next(column for column in data if column and part.startswith(column))
            level = part.removeprefix(factor)
            assert level in data[factor], part
            product = product * np.array([value == level for value in data[factor]])
    return product


def sampling(data: dict[str, list[str]], v: Any, vi: np.ndarray) -> covariance.Blocks:
    """The covariance that `args.V` describes."""
    if v == "diag(vi)":
        return covariance.diagonal(vi)
    if v["type"].startswith("block"):
        blocks = np.column_stack([numbers(data, "v1i"), numbers(data, "v2i")])
        rows = covariance.groups(data["trial"])
        return covariance.Blocks(rows, tuple(blocks[members] for members in rows))
    if "rho_matrix" not in v:
        return covariance.constant_correlation(vi, data[v["cluster"]], v["rho"])
    rows, shared = covariance.shared_group_correlation(
        data[v["cluster"]],
        data[v["grp1"]],
        data[v["grp2"]],
        numbers(data, v["w1"]),
        numbers(data, v["w2"]),
    )
    names = [name.removeprefix("t") for name in v["rho_names"]]
    rho = {
        (one, other): v["rho_matrix"][i][j]
        for i, one in enumerate(names)
        for j, other in enumerate(names)
    }
    kinds = covariance.correlation_by_type(
        np.ones(len(vi)), data[v["cluster"]], data["task_diff"], rho
    )
    both = [a * b for a, b in zip(shared, kinds.matrices, strict=True)]
    return covariance.from_correlations(vi, rows, both)


def terms(data: dict[str, list[str]], args: Any) -> tuple[multilevel.Term, ...]:
    """Random effects from R's formula."""
    if "random" not in args:
        return ()
    left, right = (part.strip() for part in args["random"].removeprefix("~").split("|"))
    if left == "1":
        names = [name.strip() for name in right.split("/")]
        return multilevel.nested(**{name: data[name] for name in names})
    name = f"{left} | {right}"
    return (multilevel.structured(name, data[left], data[right], args["struct"]),)


def refit(analysis: Analysis, **options: Any) -> multilevel.MultilevelFit:
    """Our fit of an `rma.mv` analysis."""
    return _refit(analysis.file, analysis.id, tuple(sorted(options.items())))


@functools.cache
def _refit(
    file: str,
    id: str,  # noqa: A002
    chosen: tuple[tuple[str, Any], ...],
) -> multilevel.MultilevelFit:
    analysis, options = entry(file, id), dict(chosen)
    args = analysis.args
    data = columns(analysis.file, tuple(args.get("rows", ())))
    yi, vi = effects(data)
    method = "ML" if args["method"] == "EE" else args["method"]
    names = analysis.result["coef_names"] if analysis.result else ["intrcpt"]
    if args.get("dfs") == "contain":
        options["test"] = "contain"
    if "btt" in args:
        options["tested"] = [number - 1 for number in args["btt"]]
    return multilevel.fit(
        yi,
        sampling(data, args["V"], vi),
        terms(data, args),
        design(data, names),
        method=method,
        names=names,
        **options,
    )
