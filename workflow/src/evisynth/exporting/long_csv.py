"""Study files as long tables, and back, without loss.

Every list of a study file is a table of its own, joined by ids: `results.csv` has a row per
result, `values.csv` a row per result and arm. The columns are the keys of the models, so a new
key is in its table by being there; keys of an entry within an entry are joined by `_`
(`recruited_from`), an interval has two columns (`ci_low`, `ci_high`). An empty cell is a key
that is not given.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from evisynth.errors import InputError, Problem, echo
from evisynth.files import write_text
from evisynth.schema import Id, Strict, Text
from evisynth.studyfile import (
    AcceptedFlag,
    AlsoPrinted,
    Arm,
    ArmValue,
    Caption,
    Claim,
    Method,
    Move,
    Outcome,
    OutcomesFile,
    Overlap,
    Reference,
    Report,
    Result,
    Split,
    StudyFile,
    Sum,
)
from evisynth.tabular import Cell, plain, to_csv
from evisynth.validation import choices, nearest, validate
from evisynth.yamltext import Document, read_text

LARGEST_TABLE = 1_000_000_000
BETWEEN = "; "
"""Between the ids of a list in one cell; no id holds it."""

Tree = dict[str, Any]
Row = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """A column and the key that it holds.

    Attributes
    ----------
    path : keys from the entry to the value.
    kind : ``value``, ``low`` or ``high`` of an interval, ``ids`` (a list of ids or of words of
        a menu), or ``given`` (whether an entry is there whose keys may all be missing).
    """

    name: str
    path: tuple[str, ...]
    kind: str = "value"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of entries.

    Attributes
    ----------
    parent : table whose entries hold these; empty for those of the study file itself.
    key : key of the parent that holds them.
    model : of the entries; None for plain texts and counts.
    name : column of the entries' own name, if other entries refer to them.
    id : key of the entry that the name is; empty where the entries are a mapping from names.
    value : column of the value of plain texts and counts.
    """

    parent: str
    key: str
    model: type[Strict] | None = None
    name: str = ""
    id: str = ""
    value: str = ""


TABLES: dict[str, Table] = {
    "registry": Table("", "registry", value="number"),
    "reports": Table("", "reports", Report, "report", "id"),
    "captions": Table("reports", "captions", Caption),
    "references": Table("reports", "references", Reference),
    "methods": Table("reports", "methods", Method),
    "claims": Table("reports", "claims", Claim),
    "arms": Table("", "arms", Arm, "arm", "id"),
    "results": Table("", "results", Result, "result"),
    "values": Table("results", "arms", ArmValue, "arm"),
    "parts": Table("results", "parts", name="part", value="count"),
    "also": Table("results", "also", AlsoPrinted),
    "splits": Table("", "splits", Split),
    "sums": Table("", "sums", Sum),
    "moves": Table("", "events_after_randomisation", Move),
    "overlaps": Table("", "overlaps", Overlap),
    "flags": Table("", "accepted_flags", AcceptedFlag),
}
"""Tables of the lists of a study file, parents first, besides `studies` and `risk_of_bias`."""

BIAS = ("study", "outcome", "entry", "domain", "judgement")
"""Columns of `risk_of_bias`; `entry` is ``null``, ``empty`` or ``domain``."""
NAMES = ("studies", *TABLES, "risk_of_bias")


def _entry_name(table: Table, tree: Tree) -> str:
    """Name of an entry, as other tables call it; a result without an id has its outcome's."""
    return str(tree[table.id] if table.id else tree.get("id") or tree["outcome"])


def _plain(annotation: Any) -> Any:
    """An annotation without `None` and without what narrows it, unless it is an id or text."""
    if annotation in (Id, Text):
        return annotation
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _plain(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Strict)


def _is_word(annotation: Any) -> bool:
    """Whether values of this kind are ids or words of a menu, several of which fit one cell."""
    return annotation == Id or get_origin(annotation) is Literal


def _is_table(annotation: Any) -> bool:
    """Whether entries of this kind have a table of their own."""
    if get_origin(annotation) is dict:
        return True
    return get_origin(annotation) is list and (
        get_args(annotation) == (Text,) or _is_model(get_args(annotation)[0])
    )


@cache
def columns_of(model: type[Strict]) -> tuple[Column, ...]:
    """The columns of the keys of `model` that have no table of their own."""
    return tuple(_columns(model, ()))


def _columns(model: type[Strict], path: tuple[str, ...]) -> Iterator[Column]:
    for name, field in model.model_fields.items():
        keys = (*path, field.alias or name)
        column, annotation = "_".join(keys), _plain(field.annotation)
        if _is_table(annotation):
            continue
        if _is_model(annotation):
            if not any(entry.is_required() for entry in annotation.model_fields.values()):
                yield Column(column, keys, "given")
            yield from _columns(annotation, keys)
        elif get_origin(annotation) is list and _is_word(get_args(annotation)[0]):
            yield Column(column, keys, "ids")
        elif get_origin(annotation) is list:
            yield Column(f"{column}_low", keys, "low")
            yield Column(f"{column}_high", keys, "high")
        else:
            yield Column(column, keys)


def header(name: str) -> tuple[str, ...]:
    """Columns of a table, those that say where an entry belongs first."""
    if name == "studies":
        return tuple(column.name for column in columns_of(StudyFile))
    if name == "risk_of_bias":
        return BIAS
    table = TABLES[name]
    first = ["study"]
    if table.parent:
        first.append(TABLES[table.parent].name)
    if table.name:
        first.append(table.name)
    if table.value:
        return (*first, table.value)
    return (*first, *(c.name for c in columns_of(_model(table)) if c.path != (table.id,)))


def _model(table: Table) -> type[Strict]:
    if table.model is None:
        raise TypeError(f"{table.key} holds plain values")
    return table.model


def long_rows(studies: Iterable[StudyFile]) -> dict[str, list[Row]]:
    """Rows of every table, in the order of the study files and of their entries.

    Ids within a study file are unique, as `evidence.read_evidence` makes sure.
    """
    rows: dict[str, list[Row]] = {name: [] for name in NAMES}
    for content in studies:
        tree = content.model_dump(by_alias=True)
        rows["studies"].append(_cells(StudyFile, tree))
        study = content.study
        for name, table in TABLES.items():
            if table.parent:
                continue
            rows[name] += _entries(table, {"study": study}, tree)
            inner = {key: t for key, t in TABLES.items() if t.parent == name}
            for entry in tree[table.key] if inner else ():
                above = {"study": study, table.name: _entry_name(table, entry)}
                for key, child in inner.items():
                    rows[key] += _entries(child, above, entry)
        rows["risk_of_bias"] += _judgements(study, tree["risk_of_bias"])
    return rows


def _entries(table: Table, above: Mapping[str, Cell], tree: Tree) -> Iterator[Row]:
    """Rows of the entries that `tree` holds."""
    held = tree[table.key]
    if isinstance(held, dict):
        for name, entry in held.items():
            cells = {table.value: entry} if table.value else _cells(_model(table), entry)
            yield {**above, table.name: name, **cells}
        return
    for entry in held:
        if table.value:
            yield {**above, table.value: entry}
            continue
        cells = _cells(_model(table), entry)
        if table.name:
            cells[table.name] = _entry_name(table, entry)
        cells.pop(table.id, None)
        yield {**above, **cells}


def _cells(model: type[Strict], tree: Tree) -> Row:
    cells: Row = {}
    for column in columns_of(model):
        value: Any = tree
        for key in column.path:
            value = None if value is None else value[key]
        if column.kind == "given":
            value = value is not None
        elif column.kind == "ids":
            value = BETWEEN.join(value)
        elif column.kind != "value" and value is not None:
            value = value[0 if column.kind == "low" else 1]
        cells[column.name] = value
    return cells


def _judgements(study: str, bias: Tree | None) -> Iterator[Row]:
    for outcome, domains in (bias or {"per_outcome": {}})["per_outcome"].items():
        common: Row = {"study": study, "outcome": outcome}
        if not domains:
            yield {**common, "entry": "null" if domains is None else "empty"}
            continue
        for domain, judgement in domains.items():
            yield {**common, "entry": "domain", "domain": domain, "judgement": judgement}


OUTCOMES = ("outcome", *(column.name for column in columns_of(Outcome)))
SYNONYMS = ("outcome", "synonym")


def write_long(
    studies: Iterable[StudyFile], folder: Path, outcomes: Mapping[str, Outcome] | None = None
) -> list[str]:
    """Write the long tables of study files, and of outcomes, into `folder`.

    Parameters
    ----------
    studies : study files whose ids within each are unique.
    outcomes : outcomes by their id; None writes no table of them.

    Returns
    -------
    Names of the files.
    """
    texts = {name: to_csv(header(name), rows) for name, rows in long_rows(studies).items()}
    if outcomes is not None:
        texts["outcomes"] = to_csv(
            OUTCOMES,
            [
                {"outcome": name, **_cells(Outcome, outcome.model_dump())}
                for name, outcome in outcomes.items()
            ],
        )
        texts["synonyms"] = to_csv(
            SYNONYMS,
            [
                {"outcome": name, "synonym": synonym}
                for name, outcome in outcomes.items()
                for synonym in outcome.synonyms
            ],
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / f"{name}.csv", text)
    return [f"{name}.csv" for name in texts]


def read_long(folder: Path) -> list[StudyFile]:
    """The study files whose long tables are in `folder`, in the order of `studies.csv`.

    Raises
    ------
    InputError
        With everything that is wrong with the tables: files, columns, rows that belong to no
        entry, values that a study file cannot have.
    """
    reader = _Reader(folder)
    trees = reader.studies()
    contents, problems = [], reader.problems
    for name, tree in trees.items():
        document = Document(f"study {echo(name)} in {folder.name}", tree, {})
        content, found = validate(StudyFile, document)
        problems += found
        contents += [content] if content else []
    if problems:
        raise InputError(problems)
    return contents


def read_long_outcomes(folder: Path) -> dict[str, Outcome] | None:
    """The outcomes in `outcomes.csv` and `synonyms.csv`; None where there is no such table.

    Raises
    ------
    InputError
        With everything that is wrong with them.
    """
    if not (folder / "outcomes.csv").exists():
        return None
    reader = _Reader(folder)
    trees: dict[str, Tree] = {}
    for line, row in reader.rows("outcomes", OUTCOMES):
        if reader.is_new(trees, row["outcome"], "outcomes", "outcome", line):
            trees[row["outcome"]] = _tree(Outcome, row)
    if (folder / "synonyms.csv").exists():
        for line, row in reader.rows("synonyms", SYNONYMS):
            if reader.is_known(trees, row["outcome"], "synonyms", "outcome", line):
                trees[row["outcome"]].setdefault("synonyms", []).append(row["synonym"])
    document = Document(f"outcomes in {folder.name}", {"outcomes": trees}, {})
    content, found = validate(OutcomesFile, document)
    if reader.problems or content is None or found:
        raise InputError([*reader.problems, *found])
    return content.outcomes


def _tree(model: type[Strict], row: Mapping[str, str]) -> Tree:
    """An entry out of its cells; keys whose cells are empty are missing."""
    tree: Tree = {}
    for column in columns_of(model):
        text = row.get(column.name, "")
        if not text or (column.kind == "given" and text.casefold() != "true"):
            continue
        at = tree
        for key in column.path[:-1]:
            at = at.setdefault(key, {})
        last = column.path[-1]
        if column.kind == "given":
            at.setdefault(last, {})
        elif column.kind == "ids":
            at[last] = [word.strip() for word in text.split(BETWEEN.strip())]
        elif column.kind == "value":
            at[last] = text
        else:  # low comes before high; one without the other is one bound too few
            at.setdefault(last, []).append(text)
    return tree


class _Reader:
    """Reads the tables of one folder and keeps what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []

    def studies(self) -> dict[str, Tree]:
        """Study files as trees of text, by id."""
        trees: dict[str, Tree] = {}
        folded: dict[str, Tree] = {}
        for line, row in self.rows("studies", header("studies")):
            name = row["study"]
            if self.is_new(folded, name.casefold(), "studies", "study", line):
                folded[name.casefold()] = trees[name] = _tree(StudyFile, row)
        if not trees and not self.problems:
            self._wrong("studies", "rows", "none", "at least one study", "add one", None)
        known: dict[tuple[str, ...], Tree] = {(name,): tree for name, tree in trees.items()}
        for name, table in TABLES.items():
            self._table(name, table, known)
        self._bias(trees)
        return trees

    def _table(self, name: str, table: Table, known: dict[tuple[str, ...], Tree]) -> None:
        """Put the entries of one table where they belong."""
        named = TABLES[table.parent].name if table.parent else "study"
        steps = ("study", named) if table.parent else ("study",)
        for line, row in self.rows(name, header(name)):
            # a result and an arm of one study can have the same name
            place = (
                (row["study"], table.parent, row[named]) if table.parent else (row["study"],)
            )
            if place not in known:
                if not self.is_known(
                    [key[0] for key in known if len(key) == 1],
                    row["study"],
                    name,
                    "study",
                    line,
                ):
                    continue
                words = [k[2] for k in known if k[:2] == place[:2] and len(k) == 3]
                self.is_known(words, row[steps[-1]], name, named, line)
                continue
            holder = known[place]
            entry: Any = row[table.value] if table.value else _tree(_model(table), row)
            if table.name and not table.id and name != "results":
                held = holder.setdefault(table.key, {})
                if self.is_new(held, row[table.name], name, table.name, line):
                    held[row[table.name]] = entry
                continue
            if table.id:
                entry[table.id] = row[table.name]
            holder.setdefault(table.key, []).append(entry)
            if table.name:
                key = (row["study"], name, row[table.name])
                if self.is_new(known, key, name, table.name, line):
                    known[key] = entry

    def _bias(self, trees: dict[str, Tree]) -> None:
        for line, row in self.rows("risk_of_bias", BIAS):
            if not self.is_known(trees, row["study"], "risk_of_bias", "study", line):
                continue
            held = trees[row["study"]].setdefault("risk_of_bias", {})
            outcomes = held.setdefault("per_outcome", {})
            if row["entry"] in ("null", "empty"):
                if self.is_new(outcomes, row["outcome"], "risk_of_bias", "outcome", line):
                    outcomes[row["outcome"]] = None if row["entry"] == "null" else {}
            elif row["entry"] == "domain":
                domains = outcomes.setdefault(row["outcome"], {})
                if domains is not None and self.is_new(
                    domains, row["domain"], "risk_of_bias", "domain", line
                ):
                    domains[row["domain"]] = row["judgement"] or None
            else:
                self._wrong(
                    "risk_of_bias",
                    "entry",
                    echo(row["entry"]),
                    "null, empty or domain",
                    "correct it",
                    line,
                )

    def rows(self, name: str, columns: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
        """Line and cells of every row; none where the table cannot be read."""
        shown = f"{name}.csv"
        try:
            text = read_text(self.folder / shown, shown, LARGEST_TABLE)
        except InputError as error:
            self.problems += error.problems
            return []
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        found: list[tuple[int, dict[str, str]]] = []
        try:
            first = next(reader)
            if not self._is_header(name, first, list(columns)):
                return []
            for cells in reader:
                if len(cells) == len(first):
                    texts = [plain(cell) for cell in cells]
                    found.append((reader.line_num, dict(zip(first, texts, strict=True))))
                elif cells:
                    self._wrong(
                        name,
                        "row",
                        f"{len(cells)} cells",
                        f"{len(first)}, as in the header",
                        "check commas and quotation marks",
                        reader.line_num,
                    )
        except csv.Error as error:
            self._wrong(
                name,
                "CSV syntax",
                str(error),
                "valid CSV",
                "check the quotation marks",
                reader.line_num,
            )
            return []
        return found

    def _is_header(self, name: str, found: list[str], columns: list[str]) -> bool:
        before = len(self.problems)
        for column in columns:
            if found.count(column) != 1:
                count = "no" if column not in found else "more than one"
                self._wrong(
                    name,
                    "header",
                    f"{count} column {column!r}",
                    "every column once",
                    "write the tables again, or mend the header",
                    1,
                )
        for column in found:
            if column not in columns:
                self._wrong(
                    name,
                    "header",
                    f"the column {echo(column)}",
                    f"{choices(columns, 60)}",
                    f"correct or remove it{nearest(column, columns)}",
                    1,
                )
        return len(self.problems) == before

    def is_new(self, held: Iterable[Any], key: Any, table: str, column: str, line: int) -> bool:
        """Whether a name is not there yet; a problem if it is."""
        if key not in held:
            return True
        shown = key[-1] if isinstance(key, tuple) else key
        self._wrong(
            table,
            column,
            f"{echo(shown)} a second time",
            "every name once",
            "rename or remove one of the two",
            line,
        )
        return False

    def is_known(
        self, held: Iterable[str], key: str, table: str, column: str, line: int
    ) -> bool:
        """Whether an entry is there that a row belongs to; a problem if it is not."""
        words = list(held)
        if key in words:
            return True
        self._wrong(
            table,
            column,
            f"the {column} {echo(key)}, which has no row of its own",
            f"one of: {choices(words) or 'there is none'}",
            f"correct it, or add its row{nearest(key, words)}",
            line,
        )
        return False

    def _wrong(
        self,
        table: str,
        place: str,
        found: str,
        expected: str,
        action: str,
        line: int | None,
    ) -> None:
        self.problems.append(Problem(f"{table}.csv", place, found, expected, action, line))
