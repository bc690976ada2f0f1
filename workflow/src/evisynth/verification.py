"""Are these results what their inputs give? Digests of files, and every number a second time.

Reads a folder of results only (and the reviewer's files, to see whether they are newer). The
second way to each number is `rederivation`'s, imported when it is needed: it is slow to import.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evisynth.provenance import CRATE, code_digest, sha256

if TYPE_CHECKING:
    from evisynth.rederivation import Data, Derived

Tree = dict[str, Any]
Row = Mapping[str, str]

NUMBERS = "estimate se ci_low ci_high pi_low pi_high statistic p tau2".split()
DISPLAYED = "estimate ci_low ci_high pi_low pi_high".split()
OF_HEADLINE = (*DISPLAYED, "p", "tau2")
"""Numbers of summary.csv that are those of the headline on the display scale."""
POOLED = frozenset(
    {*NUMBERS, *"model method test subgroup k df scale headline prediction level".split()}
)
NAN = math.nan
FALLING = "exp(-exp(x)), falling"
COUNTED = frozenset({"MH", "PETO", "GLMM", "BB"})
"""Methods that take every row with counts."""


class Unreadable(ValueError):
    """The folder is none of results, or of another version; the words say what is wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """One stored number beside the same by another way.

    Attributes
    ----------
    place : file, and row of it.
    tolerance : largest difference that counts as agreement.
    by : program or formula.
    headline : whether a reader of summary.csv sees it.
    """

    analysis: str
    place: str
    quantity: str
    stored: float
    derived: float
    tolerance: float
    by: str
    headline: bool = False

    @property
    def agrees(self) -> bool:
        """Within the tolerance; both missing is agreement, one missing is none."""
        if math.isnan(self.stored) or math.isnan(self.derived):
            return math.isnan(self.stored) and math.isnan(self.derived)
        if math.isinf(self.stored) or math.isinf(self.derived):
            return self.stored == self.derived
        return abs(self.stored - self.derived) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes
    ----------
    changed : files of results that are not as they were written, in words.
    older : files of the reviewer that changed since, in words; the results are out of date.
    notes : what is no fault: other code, files that are not the run's.
    uncovered : (analysis, what, why).
    """

    checks: tuple[Check, ...]
    uncovered: tuple[tuple[str, str, str], ...] = ()
    changed: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    analyses: tuple[str, ...] = field(default=())

    @property
    def wrong(self) -> tuple[Check, ...]:
        """Numbers that disagree."""
        return tuple(check for check in self.checks if not check.agrees)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, changed or out of date."""
        return not (self.wrong or self.changed or self.older)


def verify(results: Path, base: Path | None) -> Verification:
    """Check all results in a folder.

    Parameters
    ----------
    base : folder of the configuration, to compare the inputs; None: they are not compared.

    Raises
    ------
    Unreadable
    """
    about = _json(results / "provenance.json")
    try:
        analyses = list(about["analyses"])
        outputs = dict(about["outputs"])
        for entry in about["analyses"].values():
            outputs |= entry["outputs"]
        inputs, code = dict(about["inputs"]), str(about["software"]["code"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"provenance.json is not of this version ({error})") from None
    changed = [*_changed(results, outputs), *_crate(results)]
    older = [] if base is None else _changed(base, inputs)
    notes = []
    if code != code_digest():
        notes.append("made by another version of the code")
    if base is None:
        notes.append("inputs not compared: no configuration beside the results")
    checks: list[Check] = []
    uncovered: list[tuple[str, str, str]] = []
    summary = _table(results / "summary.csv") if "summary.csv" in outputs else []
    for name in analyses:
        stored = _Stored.read(results / name, name)
        mine = next((row for row in summary if row.get("analysis") == name), {})
        for found in _checks(stored, mine):
            if isinstance(found, Check):
                checks.append(found)
            else:
                uncovered.append((name, *found))
    return Verification(
        tuple(checks),
        tuple(dict.fromkeys(uncovered)),
        tuple(changed),
        tuple(older),
        tuple(notes),
        tuple(analyses),
    )


def _changed(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """Files that are missing or have another digest."""
    found = []
    for name, digest in digests.items():
        path = Path(name)
        # inputs may lie beside the folder of the configuration, results only within theirs
        if path.is_absolute() or not isinstance(digest, str):
            found.append(f"{name}: not a relative path")
        elif not (folder / path).is_file():
            found.append(f"{name}: not there")
        elif sha256(folder / path) != digest:
            found.append(f"{name}: other content than was recorded")
    return found


def _crate(results: Path) -> list[str]:
    """Whether the RO-Crate describes this provenance.json: a second place of its digest."""
    path = results / CRATE
    if not path.is_file():
        return [f"{CRATE}: not there"]
    graph = _json(path).get("@graph", [])
    said = next(
        (entry.get("identifier") for entry in graph if entry.get("@id") == "provenance.json"),
        None,
    )
    if said != f"sha256:{sha256(results / 'provenance.json')}":
        return ["provenance.json: other content than the RO-Crate recorded"]
    return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise Unreadable(f"{path.name} of {path.parent.name} cannot be read ({why})") from None


def _json(path: Path) -> Tree:
    try:
        tree = json.loads(_text(path))
    except ValueError as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{path.name} is no JSON ({error})") from None
    if not isinstance(tree, dict):
        raise Unreadable(f"{path.name} is no JSON object")
    return tree


def _table(path: Path) -> list[Row]:
    return list(csv.DictReader(io.StringIO(_text(path))))


def number(text: str | float | None) -> float:
    """A cell or JSON value as a number; nan for a missing one, or a text that is none."""
    if text is None or text == "":
        return NAN
    try:
        return float(text)
    except ValueError:
        return NAN


@dataclass(frozen=True, slots=True)
class _Stored:
    """The files of one analysis."""

    name: str
    effects: list[Row]
    pooled: list[Row]
    sizes: Tree
    fit: Tree
    trace: Tree

    @classmethod
    def read(cls, folder: Path, name: str) -> "_Stored":
        found = cls(
            name,
            _table(folder / "effects.csv"),
            _table(folder / "pooled.csv"),
            _json(folder / "effect_sizes.json"),
            _json(folder / "fit.json"),
            _json(folder / "trace.json"),
        )
        needed = {"yi", "vi", "raw", "included", "selected", "options", "settings", "measure"}
        columns = {"study", "yi", "vi", "included"}
        if needed - found.sizes.keys() or "settings" not in found.fit:
            raise Unreadable(f"{name}: files of another version")
        if any(columns - row.keys() for row in found.effects):
            raise Unreadable(f"{name}: effects.csv lacks columns")
        if any(POOLED - row.keys() for row in found.pooled):
            raise Unreadable(f"{name}: pooled.csv lacks columns")
        if not {"rows", "measure"} <= found.trace.keys():
            raise Unreadable(f"{name}: trace.json is of another version")
        if len(found.effects) != len(found.sizes["yi"]):
            raise Unreadable(f"{name}: effects.csv has not the rows of effect_sizes.json")
        return found


def _checks(stored: _Stored, summary: Row) -> Iterator[Check | tuple[str, str]]:
    """Every number of one analysis, or what is not covered and why."""
    derived: list[tuple[float, float]] = []
    yield from _effect_checks(stored, derived)
    yield from _pooled_checks(stored, derived, summary)
    yield from _summary_checks(stored, summary)


def _effect_checks(
    stored: _Stored, derived: list[tuple[float, float]]
) -> Iterator[Check | tuple[str, str]]:
    """Effect and variance of each row; adds what pooling is to start from to `derived`."""
    from evisynth.rederivation import EXACT, NotCovered, effect

    sizes = stored.sizes
    names = list(sizes["raw"])
    cells = [
        {name: number(row.get(name)) for name in names if name not in ("yi", "vi", "sei")}
        | _given(row, sizes, i, names)
        for i, row in enumerate(stored.effects)
    ]
    any_zero = any(value == 0 for row in cells for value in row.values())
    for i, row in enumerate(stored.effects):
        yi, vi = number(row["yi"]), number(row["vi"])
        derived.append((yi, vi))
        if math.isnan(yi):
            continue
        place = f"effects.csv, {row['study']}"
        try:
            one, two = effect(
                sizes["measure"],
                cells[i],
                sizes["options"],
                sizes["settings"]["zero_cells"],
                any_zero=any_zero,
            )
        except NotCovered as error:
            yield f"effect sizes ({sizes['measure']})", str(error)
            continue
        derived[i] = (one, two)
        # a logarithm of a ratio near 1 is as good as its terms, whose size is 1
        scale = 1 + abs(one) + math.sqrt(two) if two >= 0 else NAN
        yield Check(stored.name, place, "yi", yi, one, EXACT * scale, "formula")
        yield Check(stored.name, place, "vi", vi, two, EXACT * abs(two), "formula")


def _given(row: Row, sizes: Tree, index: int, names: Sequence[str]) -> dict[str, float]:
    """Effects that are inputs themselves have columns of the same name as their result."""
    given = {n: number(sizes["raw"][n][index]) for n in ("yi", "vi", "sei") if n in names}
    columns = ("ci_low", "ci_high", "ni")
    return given | {n: number(sizes["raw"][n][index]) for n in columns if n in names}


def _pooled_checks(
    stored: _Stored, derived: Sequence[tuple[float, float]], summary: Row
) -> Iterator[Check | tuple[str, str]]:
    """Every row of pooled.csv: the analysis scale afresh, the display scale from it."""
    from evisynth.rederivation import NotCovered, derive

    rows = [row for row in stored.pooled if row.get("scale") == "analysis"]
    shown = [row for row in stored.pooled if row.get("scale") == "display"]
    for row, on_display in zip(rows, shown, strict=True):
        headline = row["headline"] == "true"
        what = ("headline " if headline else "") + f"{row['model']}, {row['method']}"
        what += f", {row['test']}"
        place = f"pooled.csv, {row['model']}, {row['method']}, {row['test']}"
        yield from _display_checks(stored, row, on_display, place, headline=headline)
        if math.isnan(number(row["estimate"])):
            continue
        try:
            if row["subgroup"]:
                raise NotCovered("no second program for several means")
            found = derive({**row, "k": int(row["k"])}, _data(stored, derived, row))
        except NotCovered as error:
            yield what, str(error)
            continue
        for quantity in NUMBERS:
            value = number(row[quantity])
            if quantity in found:
                yield _check(stored, place, quantity, value, found[quantity], headline)
            elif not math.isnan(value):
                yield f"{what}: {quantity}", "no second program for it"
        i2 = number(summary.get("i2"))
        if headline and not math.isnan(i2):
            if "i2" in found:
                yield _check(stored, "summary.csv", "i2", i2, found["i2"], headline)
            else:
                yield f"{what}: i2", "no second program for it"


def _check(
    stored: _Stored, place: str, quantity: str, value: float, found: "Derived", headline: bool
) -> Check:
    scale = abs(found.value) if found.scale is None else abs(found.scale)
    tolerance = found.tolerance * scale
    return Check(
        stored.name, place, quantity, value, found.value, tolerance, found.by, headline
    )


def _data(stored: _Stored, derived: Sequence[tuple[float, float]], row: Row) -> "Data":
    """The rows that a model takes."""
    import numpy as np

    from evisynth.rederivation import Data

    sizes = stored.sizes
    raw = {
        name: np.array([number(value) for value in column])
        for name, column in sizes["raw"].items()
    }
    used = np.array(sizes["included"], dtype=bool)
    if row["method"] in COUNTED:
        wanted = sizes["selected"] or sizes["included"]
        cells = [v for n, v in raw.items() if n not in ("yi", "vi", "sei")]
        complete = np.isfinite(np.array(cells)).all(axis=0) if cells else used
        used = np.array(wanted, dtype=bool) & complete
    yi, vi = np.array(derived, dtype=float).reshape(-1, 2)[used].T
    null = stored.trace["measure"].get("null")
    return Data(
        sizes["measure"],
        yi,
        vi,
        {name: column[used] for name, column in raw.items()},
        number(null),
        number(row["level"]),
        stored.fit["settings"]["model"],
    )


def _display_checks(
    stored: _Stored, row: Row, shown: Row, place: str, *, headline: bool
) -> Iterator[Check | tuple[str, str]]:
    """The display scale from the stored analysis scale."""
    from evisynth.rederivation import BACK, EXACT

    name = str(stored.trace["measure"]["to_display"]).partition("; option")[0]
    if name not in BACK and name != FALLING:
        yield "display scale", f"no second formula for: {name}"
        return
    pairs = {quantity: quantity for quantity in DISPLAYED}
    if name == FALLING:
        pairs |= {"ci_low": "ci_high", "ci_high": "ci_low"}
        pairs |= {"pi_low": "pi_high", "pi_high": "pi_low"}
    for quantity, source in pairs.items():
        value = number(row[source])
        if math.isnan(value):
            back = NAN
        elif name == FALLING:
            back = math.exp(-math.exp(value))
        else:
            try:
                back = BACK[name](value)
            except OverflowError:
                back = math.inf
        yield Check(
            stored.name,
            f"{place}, display",
            quantity,
            number(shown[quantity]),
            back,
            EXACT * abs(back) * (1 + abs(value)),
            name,
            headline,
        )


def _summary_checks(stored: _Stored, summary: Row) -> Iterator[Check | tuple[str, str]]:
    """The line of summary.csv against pooled.csv and the rows."""
    if not summary:
        yield "summary.csv", "it has no line of this analysis"
        return
    shown = next(
        (r for r in stored.pooled if r.get("headline") == "true" and r["scale"] == "display"),
        {},
    )
    for quantity in OF_HEADLINE:
        value = number(shown.get(quantity))
        yield Check(
            stored.name,
            "summary.csv",
            quantity,
            number(summary.get(quantity)),
            value,
            0.0,
            "pooled.csv",
            headline=True,
        )
    pooled = [row for row in stored.effects if row["included"] == "true"]
    sizes = [number(row["ni"]) for row in pooled]
    counts = {"k_total": len(stored.effects), "k": len(pooled), "n_total": math.fsum(sizes)}
    counts["studies"] = len({row["study"] for row in pooled})
    for quantity, value in counts.items():
        stored_value = number(summary.get(quantity))
        yield Check(
            stored.name,
            "summary.csv",
            quantity,
            stored_value,
            float(value),
            0.0,
            "rows of effects.csv",
            headline=True,
        )


# ---------------------------------------------------------------------------- text for people


def readable(found: Verification) -> str:
    """What was found, the faults first."""
    lines = [f"changed: {text}" for text in found.changed]
    lines += [f"results older than {text}" for text in found.older]
    for check in found.wrong:
        lines.append(
            f"{check.analysis}: {check.place}: {check.quantity} is {check.stored!r} there and "
            f"{check.derived!r} by {check.by} (tolerance {check.tolerance:.2g})"
        )
    lines += [f"note: {text}" for text in found.notes]
    for name in found.analyses:
        lines += _of_analysis(name, found)
    agree = len(found.checks) - len(found.wrong)
    verdict = "all agree" if found.sound else "NOT AS THEY SHOULD BE"
    lines.append(f"{agree} of {len(found.checks)} numbers agree; {verdict}")
    return "\n".join(lines) + "\n"


def _of_analysis(name: str, found: Verification) -> list[str]:
    checks = [check for check in found.checks if check.analysis == name]
    heads = [check for check in checks if check.headline]
    good = sum(check.agrees for check in heads)
    programs = dict.fromkeys(
        check.by for check in heads if check.place != "summary.csv" or check.quantity == "i2"
    )
    by = f" ({', '.join(programs)})" if programs else ""
    lines = [
        f"{name}: headline {good} of {len(heads)} numbers agree{by}; "
        f"{sum(c.agrees for c in checks) - good} of {len(checks) - len(heads)} others"
    ]
    grouped: dict[str, list[str]] = {}
    for analysis, what, why in found.uncovered:
        if analysis == name:
            grouped.setdefault(why, []).append(what)
    for why, whats in grouped.items():
        lines.append(f"  not covered: {'; '.join(whats)}, because: {why}")
    return lines
