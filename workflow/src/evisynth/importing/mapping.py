"""A spreadsheet or CSV table in any layout, by a mapping of its columns to fields."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from evisynth import conversions
from evisynth.config import AnalysisId, Measure
from evisynth.errors import InputError, Problem, echo
from evisynth.importing.delimited import Grid, Line, Stored, letters
from evisynth.importing.records import Imported, Item, Names, Outcome, Remark, quoted, slug
from evisynth.inputs import INPUTS
from evisynth.menus import FIELDS
from evisynth.printed import parse_printed, spelling
from evisynth.schema import OneOrMore, Strict, Text
from evisynth.validation import choices, nearest

TEXTS: dict[str, str] = {
    "study": "name of the study",
    "label": "name to print",
    "year": "year of publication",
    "cluster": "rows of one study, of different patients",
    "outcome": "name of the outcome; each becomes a table",
    "subgroup": "part of the patients, or group of studies",
    "title": "title of the report",
    "doi": "DOI of the report",
    "pmid": "PubMed id of the report",
    "note": "anything else",
}
PERCENTAGES: dict[str, str] = {
    "percent": "percentage as printed, one group",
    "percent1": "percentage as printed, group 1",
    "percent2": "percentage as printed, group 2",
}
TARGETS: dict[str, str] = {**TEXTS, **FIELDS, **conversions.FIELDS, **PERCENTAGES}
"""What a column can be mapped to."""

# A lone minus or full stop is how spreadsheets say that there is nothing.
NOTHING = ("", "NA", "N/A", "n/a", "-", "–", ".")

if TYPE_CHECKING:
    Target = str
else:
    Target = Literal[tuple(TARGETS)]

Columns = dict[Target, Text]
Row = Annotated[int, Field(ge=1, le=1_000_000)]


class ArmRows(Strict):
    """A table with one row per arm."""

    column: Text = Field(description="Column that says which arm a row is.")
    group1: Annotated[list[Text], OneOrMore, Field(min_length=1)] = Field(
        description="What it says of group 1, one or several words."
    )
    group2: Annotated[list[Text], OneOrMore, Field(min_length=1)] = Field(
        description="What it says of group 2."
    )


class MappedOutcome(Strict):
    """One of several outcomes that a table has in columns of their own, or in rows."""

    id: AnalysisId = Field(description="Id of the table and of its analysis.")
    title: Text | None = Field(None, description="Title; by default the id.")
    measure: Measure | None = Field(None, description="By default that of the mapping.")
    columns: Columns = Field({}, description="field: column, besides those of the mapping.")
    rows: dict[Text, Annotated[list[Text], OneOrMore]] = Field(
        {}, description="column: value or values of the rows to take."
    )
    groups: Annotated[list[Text], Field(max_length=2)] = Field(
        [], description="Labels of the groups; by default those of the mapping."
    )
    unit: Text | None = Field(None, description="Unit of means.")


class MappingFile(Strict):
    """How the columns of a table are to be read."""

    sheet: Text | None = Field(None, description="Sheet, by name or number from 1.")
    header: Annotated[list[Row], Field(min_length=1, max_length=5)] | Row = Field(
        1, description="Row of column names; several are joined by ` / `, the upper one first."
    )
    first: Row | None = Field(
        None, description="First row of data; by default that below the names."
    )
    last: Row | None = Field(None, description="Last row of data; by default the last.")
    delimiter: Literal[",", ";", "\t", "|", "tab"] | None = Field(
        None, description="Of a CSV file; by default what its first line has most."
    )
    encoding: Text | None = Field(None, description="Of a CSV file; by default UTF-8.")
    decimal: Literal[".", ","] = Field(".", description="Decimal sign of the numbers.")
    thousands: Literal["", ".", ",", " ", "'"] = Field(
        "", description="What stands between thousands."
    )
    missing: list[str] = Field([], description="Texts that mean that there is no number.")
    numbers: Literal["stored", "shown"] = Field(
        "stored", description="Of a spreadsheet: the stored digits, or those that it shows."
    )
    columns: Columns = Field({}, description="field: column.")
    rows: dict[Text, Annotated[list[Text], OneOrMore]] = Field(
        {}, description="column: value or values of the rows to take."
    )
    arms: ArmRows | None = Field(None, description="For a table with one row per arm.")
    fill_down: list[Text] = Field(
        [], description="Columns whose empty cells repeat the cell above."
    )
    groups: Annotated[list[Text], Field(max_length=2)] = Field(
        [], description="Labels of group 1 and group 2, or of the only group."
    )
    measure: Measure | None = Field(None, description="Effect measure.")
    title: Text | None = Field(None, description="Title of the only outcome.")
    unit: Text | None = Field(None, description="Unit of means.")
    outcomes: list[MappedOutcome] = Field([], description="Several outcomes.")

    @model_validator(mode="after")
    def _is_possible(self) -> "MappingFile":
        if self.thousands and self.thousands == self.decimal:
            raise ValueError("decimal and thousands are the same sign")
        return self


def options(pairs: str) -> dict[str, str]:
    """Columns as the command line has them: ``study=Trial,ai=tpos``.

    Raises
    ------
    InputError
        With every field that does not exist or stands twice.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    # a comma within a column's name is not followed by `field=`
    for pair in re.split(r",(?=\s*\w+\s*=)", pairs):
        field, sign, column = (part.strip() for part in pair.partition("="))
        if not sign or not column or field not in TARGETS or field in found:
            problems.append(
                Problem(
                    "--columns",
                    echo(pair),
                    "a field a second time" if field in found else echo(field),
                    f"field=COLUMN, the field one of: {choices(TARGETS, 200)}",
                    f"correct it{nearest(field, TARGETS)}",
                )
            )
        found[field] = column
    if problems:
        raise InputError(problems)
    return found


class _Named:
    """A grid under the names of its columns."""

    def __init__(self, grid: Grid, mapping: MappingFile) -> None:
        self.grid = grid
        rows = [mapping.header] if isinstance(mapping.header, int) else list(mapping.header)
        by_number = {line.number: line for line in grid.lines}
        self.problems: list[Problem] = [
            Problem(
                grid.file,
                grid.row(row),
                "an empty row",
                "names of columns",
                "correct `header` of the mapping",
            )
            for row in rows
            if row not in by_number
        ]
        lines = [by_number[row].cells for row in rows if row in by_number]
        width = max((len(cells) for cells in lines), default=0)
        self.header: list[str] = []
        self._places: dict[str, int | None] = {}
        for i in range(width):
            parts = [cells[i].strip() for cells in lines if i < len(cells)]
            self.header.append(" / ".join(dict.fromkeys(filter(None, parts))))
        start = mapping.first or max(rows) + 1
        self.lines = [
            line
            for line in grid.lines
            if line.number >= start and line.number <= (mapping.last or line.number)
        ]
        taken = {line.number for line in self.lines} | set(rows)
        self.left = [line for line in grid.lines if line.number not in taken]
        self._fill(mapping.fill_down)

    def _fill(self, columns: Sequence[str]) -> None:
        for column in columns:
            i = self.index(column)
            if i is None:
                continue
            above, filled = "", []
            for line in self.lines:
                cells = list(line.cells)
                if i < len(cells):
                    above = cells[i] = cells[i] or above
                filled.append(Line(line.number, tuple(cells)))
            self.lines = filled

    def index(self, column: str) -> int | None:
        """Position of a column, from 0; None if there is none, or several."""
        if column not in self._places:
            wanted = " ".join(column.split())
            found = [
                i for i, name in enumerate(self.header) if " ".join(name.split()) == wanted
            ]
            self._places[column] = found[0] if len(found) == 1 else None
        return self._places[column]

    def check(self, column: str, place: str) -> list[Problem]:
        """What is wrong with the name of a column, if anything."""
        if self.index(column) is not None:
            return []
        count = sum(name == column for name in self.header)
        return [
            Problem(
                self.grid.file,
                place,
                f"the column {echo(column)}" + (f" {count} times" if count else ""),
                f"one column of: {choices(filter(None, self.header), 60)}",
                "rename one of them" if count else f"correct it{nearest(column, self.header)}",
            )
        ]

    def get(self, line: Line, column: str) -> str:
        """Text in a column; empty where the row is short."""
        i = self.index(column)
        return "" if i is None or i >= len(line.cells) else line.cells[i]

    def quote(self, lines: Sequence[Line]) -> str:
        """Rows verbatim."""
        texts = []
        for line in lines:
            names = (name or f"column {letters(i)}" for i, name in enumerate(self.header))
            cells = dict(zip(names, line.cells, strict=False))
            texts.append(quoted(self.grid.row(line.number), cells))
        return " | ".join(texts)

    def check_width(self) -> list[Remark]:
        """Rows that have more cells than there are names."""
        return [
            Remark(
                "left",
                self.grid.cell(line.number, i),
                text,
                "a cell in a column without a name",
            )
            for line in self.lines
            for i, text in enumerate(line.cells)
            if text and (i >= len(self.header) or not self.header[i])
        ]


def read_mapped(grid: Grid, mapping: MappingFile, kind: str) -> Imported:
    """The rows of a grid as outcomes.

    Parameters
    ----------
    kind : name of the format, for the report.

    Raises
    ------
    InputError
        With everything that is wrong with the mapping: columns that do not exist, fields that
        are missing, a measure that is needed.
    """
    named = _Named(grid, mapping)
    wanted = mapping.outcomes or [_only(mapping, grid)]
    problems = named.problems + _check(named, mapping, wanted)
    if problems:
        raise InputError(problems)
    remarks = list(grid.remarks)
    outcomes: list[Outcome] = []
    used: set[int] = set()
    for outcome in wanted:
        columns = {**mapping.columns, **outcome.columns}
        reader = _Reader(named, mapping, columns)
        filters = {**mapping.rows, **outcome.rows}
        found = reader.items(filters)
        used |= reader.used
        remarks += reader.remarks
        outcomes += _by_outcome(outcome, mapping, columns, found)
    remarks += _unused(named, mapping, wanted, used)
    outcomes = _distinct(outcomes)
    if not outcomes:
        raise InputError(
            [
                Problem(
                    grid.file,
                    grid.sheet or "rows",
                    "no row that could be taken",
                    "at least one",
                    "; ".join(dict.fromkeys(r.reason for r in remarks if r.level == "lost"))
                    or "correct `header`, `first` or `rows` of the mapping",
                )
            ]
        )
    return Imported(grid.file, kind, tuple(outcomes), tuple(dict.fromkeys(remarks)))


def _distinct(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes under ids that differ; an outcome's own id may be that of another's part."""
    ids = [outcome.id for outcome in outcomes]
    taken, found = set(ids), []
    for i, outcome in enumerate(outcomes):
        name, count = outcome.id, 1
        while name in ids[:i] or (count > 1 and name in taken):
            count += 1
            name = f"{outcome.id[:56]}-{count}"
        taken.add(name)
        found.append(replace(outcome, id=name))
    return found


def _only(mapping: MappingFile, grid: Grid) -> MappedOutcome:
    title = mapping.title or grid.sheet or re.sub(r"\.\w+$", "", grid.file.rpartition("/")[2])
    return MappedOutcome(id=slug(title), title=title)


def _check(
    named: _Named, mapping: MappingFile, wanted: Sequence[MappedOutcome]
) -> list[Problem]:
    file, problems = named.grid.file, []
    places = {f"columns.{field}": column for field, column in mapping.columns.items()}
    places |= {f"rows.{column}": column for column in mapping.rows}
    places |= {f"fill_down[{i}]": c for i, c in enumerate(mapping.fill_down, 1)}
    if mapping.arms:
        places["arms.column"] = mapping.arms.column
    for i, outcome in enumerate(wanted, 1):
        places |= {f"outcomes[{i}].columns.{f}": c for f, c in outcome.columns.items()}
        places |= {f"outcomes[{i}].rows.{c}": c for c in outcome.rows}
    for place, column in places.items():
        problems += named.check(column, place)
    ids: set[str] = set()
    for i, outcome in enumerate(wanted, 1):
        at = f"outcomes[{i}]" if mapping.outcomes else "mapping"
        columns = {**mapping.columns, **outcome.columns}
        measure = outcome.measure or mapping.measure
        if "study" not in columns:
            problems.append(
                Problem(file, f"{at}.columns", "no `study`", "study: COLUMN", "add it")
            )
        if outcome.id in ids:
            problems.append(
                Problem(file, f"{at}.id", echo(outcome.id), "every id once", "rename it")
            )
        ids.add(outcome.id)
        if measure is None:
            problems.append(
                Problem(
                    file,
                    f"{at}.measure",
                    "nothing",
                    f"an effect measure: {', '.join(INPUTS)}",
                    "add `measure` to the mapping, or say --measure",
                )
            )
            continue
        there = set(columns)
        if mapping.arms:
            there |= {
                conversions.named(f, g)
                for f in there - set(TEXTS) - set(PERCENTAGES)
                for g in (1, 2)
            }
        needed = INPUTS[measure].alternatives
        if not any(set(one) <= conversions.reachable(there) for one in needed):
            problems.append(
                Problem(
                    file,
                    f"{at}.columns",
                    ", ".join(sorted(there - set(TEXTS))) or "no column of numbers",
                    f"for {measure}: {' or '.join(' '.join(one) for one in needed)}",
                    "map the columns that have them"
                    + "; with `arms` by the names of one group: xi ni mi sdi"
                    * bool(mapping.arms),
                )
            )
    return problems


class _Reader:
    """Takes rows, and notes what it does not take."""

    def __init__(self, named: _Named, mapping: MappingFile, columns: Mapping[str, str]) -> None:
        self.named, self.mapping, self.columns = named, mapping, columns
        self.remarks: list[Remark] = []
        self.used: set[int] = set()

    def items(self, filters: Mapping[str, Sequence[str]]) -> list[Item]:
        """Rows, or pairs of rows of two arms."""
        named = self.named
        lines = [
            line
            for line in named.lines
            if all(named.get(line, column) in values for column, values in filters.items())
        ]
        kept = []
        for line in lines:
            if named.get(line, self.columns["study"]):
                kept.append(line)
                self.used.add(line.number)
            else:
                self._remark("lost", line, self.columns["study"], "a row without a study")
        if self.mapping.arms:
            return self._pairs(kept, self.mapping.arms)
        return [
            Item(
                named.grid.row(line.number),
                named.get(line, self.columns["study"]),
                self._texts(line, 0),
                named.quote([line]),
            )
            for line in kept
        ]

    def _remark(
        self, level: str, line: Line, column: str, reason: str, found: str = ""
    ) -> None:
        i = self.named.index(column)
        place = self.named.grid.cell(line.number, i or 0)
        self.remarks.append(
            Remark("lost" if level == "lost" else "note", place, found or column, reason)
        )

    def _pairs(self, lines: Sequence[Line], arms: ArmRows) -> list[Item]:
        named = self.named
        shared = [f for f in ("outcome", "subgroup") if f in self.columns]
        pairs: dict[tuple[str, ...], dict[int, list[Line]]] = {}
        for line in lines:
            arm = named.get(line, arms.column)
            group = 1 if arm in arms.group1 else 2 if arm in arms.group2 else 0
            if not group:
                self._remark(
                    "lost", line, arms.column, "an arm that is in none of the two groups", arm
                )
                continue
            key = tuple(named.get(line, self.columns[f]) for f in ("study", *shared))
            pairs.setdefault(key, {}).setdefault(group, []).append(line)
        items = []
        for key, groups in pairs.items():
            rows = [line for group in groups.values() for line in group]
            places = ", ".join(named.grid.row(line.number) for line in rows)
            if sorted(groups) != [1, 2] or len(rows) != 2:
                words = ["no row", "one row", "several rows"]
                counts = " and ".join(
                    f"{words[min(len(groups.get(g, ())), 2)]} of group {g}" for g in (1, 2)
                )
                self.remarks.append(
                    Remark("lost", places, key[0], f"{counts}; one of each makes a comparison")
                )
                continue
            texts: dict[str, str] = {}
            for group in (1, 2):
                for field, text in self._texts(groups[group][0], group).items():
                    texts.setdefault(field, text)
            quote = named.quote([groups[1][0], groups[2][0]])
            items.append(Item(places, key[0], texts, quote))
        return items

    def _texts(self, line: Line, group: int) -> dict[str, str]:
        """Text by field; numbers with a decimal point, without separators of thousands."""
        texts: dict[str, str] = {}
        for field, column in self.columns.items():
            text = self.named.get(line, column)
            if field in TEXTS:
                if field != "study" and text:
                    texts[field] = text
                continue
            target = field
            if group:
                target = (
                    f"{field}{group}" if field == "percent" else conversions.named(field, group)
                )
            texts[target] = self._number(line, column, field, text)
        return texts

    def _number(self, line: Line, column: str, field: str, text: str) -> str:
        """A number as it is printed, or nothing, with a remark."""
        if text in NOTHING or text in self.mapping.missing:
            return ""
        changed: str = text
        # what a spreadsheet stores as a number has a point, whatever its language shows
        foreign = not isinstance(text, Stored)
        if foreign and self.mapping.thousands:
            grouped = _ungrouped(changed, self.mapping.thousands)
            if grouped is None:
                self._remark(
                    "lost",
                    line,
                    column,
                    f"{self.mapping.thousands!r} stands where no thousands end",
                    text,
                )
                return ""
            changed = grouped
        if foreign and self.mapping.decimal == ",":
            if "." in changed:
                self._remark("lost", line, column, "a point where the decimal sign is ,", text)
                return ""
            changed = changed.replace(",", ".")
        try:
            printed = parse_printed(changed)
        except ValueError:
            advice = "; say `decimal: ','`" if spelling(changed) else ""
            self._remark("lost", line, column, f"no number{advice}", text)
            return ""
        if not printed.exact and field not in PERCENTAGES and field != "p":
            why = "a percentage" if printed.percent else f"a bound ({printed.relation})"
            advice = "; map the column to percent, percent1 or percent2" * printed.percent
            reason = f"{why}, where a plain number is needed{advice}"
            self._remark("lost", line, column, reason, text)
            return ""
        return changed.strip()


def _ungrouped(text: str, sign: str) -> str | None:
    """A number without the sign between its thousands; None if it stands elsewhere."""
    sign = "[ \u00a0\u202f]" if sign == " " else re.escape(sign)
    for digits in re.findall(rf"\d(?:{sign}?\d)*", text):
        if not re.fullmatch(rf"\d+|\d{{1,3}}(?:{sign}\d{{3}})+", digits):
            return None
    return re.sub(rf"(?<=\d){sign}(?=\d)", "", text)


def _by_outcome(
    outcome: MappedOutcome,
    mapping: MappingFile,
    columns: Mapping[str, str],
    items: Sequence[Item],
) -> list[Outcome]:
    """The items under the outcome that they name; all together where no column names one."""
    measure = str(outcome.measure or mapping.measure)
    parts: dict[str, list[Item]] = {}
    for item in items:
        texts = dict(item.texts)
        name = texts.pop("outcome", "")
        parts.setdefault(name, []).append(Item(item.place, item.study, texts, item.quote))
    names = Names()
    groups = tuple(outcome.groups or mapping.groups)
    found = []
    for name, rows in parts.items():
        title = outcome.title or outcome.id
        found.append(
            Outcome(
                id=f"{outcome.id}-{names.of(name)}"[:60] if name else outcome.id,
                title=f"{title}: {name}" if name else title,
                measure=measure,
                items=tuple(rows),
                groups=groups,
                unit=outcome.unit or mapping.unit or "",
            )
        )
    return found


def _unused(
    named: _Named, mapping: MappingFile, wanted: Sequence[MappedOutcome], used: set[int]
) -> list[Remark]:
    """Columns and rows that nothing asked for."""
    columns = {*mapping.columns.values(), *mapping.rows, *mapping.fill_down}
    columns |= {mapping.arms.column} if mapping.arms else set()
    for outcome in wanted:
        columns |= {*outcome.columns.values(), *outcome.rows}
    asked = {named.index(column) for column in columns}
    remarks = [
        Remark(
            "left",
            f"{named.grid.sheet}!column {letters(i)}"
            if named.grid.sheet
            else f"column {letters(i)}",
            name,
            "the mapping does not name this column; its cells stand in the quotes",
        )
        for i, name in enumerate(named.header)
        if name and i not in asked
    ]
    remarks += named.check_width()
    remarks += [
        Remark("left", named.grid.row(line.number), _start(line), reason)
        for lines, reason in (
            (named.left, "outside `first` to `last`"),
            (
                [line for line in named.lines if line.number not in used],
                "not among the rows that were asked for, or not taken",
            ),
        )
        for line in lines
    ]
    return remarks


def _start(line: Line) -> str:
    """The first cells of a row, to recognise it."""
    return echo("; ".join(text for text in line.cells if text))
