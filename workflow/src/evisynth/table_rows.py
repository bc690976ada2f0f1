"""What an analysis takes from a reviewer's table: its rows, with everything that is wrong."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

from evisynth import conversions
from evisynth.config import Analysis
from evisynth.errors import InputError, Problem, echo
from evisynth.inputs import INPUTS, check_numbers
from evisynth.links import leads_out
from evisynth.rows import RawRow
from evisynth.spans import spans_of_table
from evisynth.table import (
    TEXT_FIELDS,
    TableRow,
    check_columns,
    check_values,
    read_table,
    to_number,
)
from evisynth.validation import choices, nearest


def table_rows(
    name: str, analysis: Analysis, base: Path, config: str, problems: list[Problem]
) -> list[RawRow]:
    """Rows of the table of the analysis `name`; what is wrong with it is added to `problems`.

    Parameters
    ----------
    base : folder that paths of the configuration are relative to.
    config : name of the configuration file, for messages.
    """
    name_of_table = str(analysis.table)
    if away := leads_out(base / name_of_table, base, name_of_table):
        problems += away
        return []
    try:
        table = read_table(base / name_of_table, name_of_table)
    except InputError as error:
        problems += error.problems
        return []
    problems += table.problems
    if not table.header:
        return []
    place, columns = f"analyses.{name}", dict(analysis.columns)
    wanted = {f"{place}.columns.{field}": column for field, column in columns.items()}
    wanted |= {f"{place}.rows.{column}": column for column in analysis.rows}
    wanted |= {f"{place}.moderators[{i}]": c for i, c in enumerate(analysis.moderators, 1)}
    missing = check_columns(wanted, table, config) + _mapping_problems(analysis, place, config)
    for column, values in analysis.rows.items():
        if column in table.header and table.rows:
            missing += check_values(column, values, table, config, f"{place}.rows.{column}")
    if missing:
        problems += missing
        return []
    taken = [
        (i, row)
        for i, row in enumerate(table.rows, 1)
        if all(row.cells[column] in values for column, values in analysis.rows.items())
    ]
    rows = [_table_row(analysis, i, row, columns, problems) for i, row in taken]
    rows = _with_spans(rows, analysis, [row for _, row in taken])
    tried = any("derived: " in text for row in rows for text in (*row.notes, row.reason))
    if chosen_conversions(analysis) and rows and not tried:
        problems.append(
            Problem(
                config,
                f"{place}.conversions",
                "choices by which no row is derived: the measure has its numbers without them",
                "a choice that some row needs",
                "remove it, or map the columns that it is for instead of the measure's own",
            )
        )
    problems += _check_study_ids(analysis, rows, [row for _, row in taken], config, place)
    if analysis.studies != "all":
        rows = [row for row in rows if row.study in analysis.studies]
    return rows


def _with_spans(rows: list[RawRow], analysis: Analysis, cells: list[TableRow]) -> list[RawRow]:
    """The rows with the values that the rounding of their cells allows."""
    columns = {f: c for f, c in analysis.columns.items() if f not in TEXT_FIELDS}
    texts = [{field: row.cells[column] for field, column in columns.items()} for row in cells]
    exact = ("mi",) if analysis.measure in ("PCOR", "ZPCOR") else ()
    spans = spans_of_table(texts, exact)
    return [replace(row, spans=ends) for row, ends in zip(rows, spans, strict=True)]


def chosen_conversions(analysis: Analysis) -> dict[str, str]:
    """Methods of conversion that exist; the others are mistakes that are said elsewhere."""
    wrong = {choice for choice, _, _ in conversions.check_chosen(analysis.conversions)}
    return {c: method for c, method in analysis.conversions.items() if c not in wrong}


def _mapping_problems(analysis: Analysis, place: str, config: str) -> list[Problem]:
    """Fields that are missing, or have a column together."""
    missing, columns = [], analysis.columns
    if "study" not in columns:
        missing.append(
            Problem(config, f"{place}.columns", "no `study`", "study: COLUMN", "add it")
        )
    for column in sorted(set(columns.values())):
        fields = [f for f, c in columns.items() if c == column and f not in TEXT_FIELDS]
        if len(fields) > 1:
            missing.append(
                Problem(
                    config,
                    f"{place}.columns.{fields[1]}",
                    f"the column {echo(column)}, which {fields[0]} has already",
                    "a column of its own for every number",
                    "name the right column",
                )
            )
    chosen = chosen_conversions(analysis)
    there = conversions.reachable(columns, chosen)
    if not any(set(needed) <= there for needed in INPUTS[analysis.measure].alternatives):
        needed = " or ".join(" ".join(a) for a in INPUTS[analysis.measure].alternatives)
        missing.append(
            Problem(
                config,
                f"{place}.columns",
                ", ".join(columns) or "nothing",
                f"for {analysis.measure}: {needed}",
                "map the columns of the table to these, or to fields from which they can be "
                "derived (docs/conversions.md)",
            )
        )
    return missing


def _check_study_ids(
    analysis: Analysis, rows: list[RawRow], cells: list[TableRow], config: str, place: str
) -> list[Problem]:
    problems = []
    table, ids = str(analysis.table), Counter(row.study for row in rows)
    column = analysis.columns["study"]
    if "cluster" not in analysis.columns:
        for study, count in ids.items():
            if count > 1:
                lines = [
                    r.line for r, row in zip(cells, rows, strict=True) if row.study == study
                ]
                problems.append(
                    Problem(
                        table,
                        f"column {column}",
                        f"the study {echo(study)} {count} times "
                        f"(lines {', '.join(map(str, lines[:10]))}{', ...' * (count > 10)})",
                        "every study once in an analysis",
                        "select one row per study with `rows`, correct the ids, or map a "
                        "`cluster` column if these are different patients",
                        lines[1],
                    )
                )
    listed = [(f"exclude.{study}", study) for study in analysis.exclude]
    if analysis.studies != "all":
        listed += [(f"studies[{i}]", study) for i, study in enumerate(analysis.studies, 1)]
    problems += [
        Problem(
            config,
            f"{place}.{key}",
            f"the study {echo(word)}",
            f"a study of {table}: {choices(ids)}",
            f"correct it{nearest(word, ids)}",
        )
        for key, word in listed
        if word not in ids
    ]
    if analysis.studies == []:
        problems.append(
            Problem(
                config,
                f"{place}.studies",
                "an empty list",
                "`all` or a list of ids",
                "name at least one study",
            )
        )
    return problems


def _table_row(
    analysis: Analysis,
    index: int,
    row: TableRow,
    columns: dict[str, str],
    problems: list[Problem],
) -> RawRow:
    table = str(analysis.table)
    study = row.cells[columns["study"]]
    if not study or len(study) > 500:
        problems.append(
            Problem(
                table,
                f"column {columns['study']}",
                echo(study),
                "the name of the study, at most 500 characters",
                "correct it",
                row.line,
            )
        )
    numbers = {
        field: to_number(row, column, table, problems)
        for field, column in columns.items()
        if field not in TEXT_FIELDS
    }
    printed = {
        field: row.cells[column]
        for field, column in columns.items()
        if field not in TEXT_FIELDS and row.cells[column]
    }
    wrong = check_numbers(analysis.measure, numbers)
    wrong += [entry for entry in conversions.check_numbers(numbers) if entry not in wrong]
    wanted = INPUTS[analysis.measure].alternatives
    notes: tuple[str, ...] = ()
    given = {field: value for field, value in numbers.items() if not math.isnan(value)}
    if not wrong:
        numbers, notes = conversions.complete(
            numbers, wanted, chosen=chosen_conversions(analysis), printed=printed
        )
        wrong = check_numbers(analysis.measure, numbers)
    for field, found, expected in wrong:
        problems.append(
            Problem(
                table,
                f"study {echo(study)}, {columns.get(field, field)} ({field})",
                found,
                expected,
                "correct it against the report",
                row.line,
            )
        )
    reason = analysis.exclude.get(study, "")
    complete = any(
        all(not math.isnan(numbers.get(f, math.nan)) for f in needed) for needed in wanted
    )
    if not complete and not reason:
        reason = "; ".join(["numbers are missing in the table", *notes])
    covariates = {column: row.cells[column] for column in analysis.moderators}
    if "year" in columns:
        covariates = {"year": row.cells[columns["year"]], **covariates}
    return RawRow(
        study=study,
        label=analysis.label_prefix + (row.cells.get(columns.get("label", "")) or study),
        numbers=numbers,
        cluster=row.cells[columns["cluster"]] if "cluster" in columns else study,
        covariates=covariates,
        included=not reason,
        reason=reason,
        notes=notes if complete else (),
        place=f"{table}#row {index}",
        given=given if complete and notes else {},
    )
