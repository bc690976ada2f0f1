"""Extraction tables as Covidence exports them: wide, a study per row, a row per reviewer."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from evisynth.conversions import named
from evisynth.errors import InputError, Problem
from evisynth.importing.delimited import Grid, Line
from evisynth.importing.mapping import MappedOutcome, MappingFile, read_mapped
from evisynth.importing.records import Imported, Names, Remark
from evisynth.validation import choices

STUDY, NUMBER, REVIEWER, TITLE = "Study ID", "Covidence #", "Reviewer Name", "Title"
CONSENSUS = "consensus"
STATISTICS = {
    "xi": ("events", "event", "n events", "no. of events", "number of events", "cases"),
    "ni": ("total", "n", "participants", "no. of participants", "sample size", "analysed"),
    "mi": ("mean",),
    "sdi": ("sd", "standard deviation"),
    "msei": ("se", "standard error"),
    "percent": ("%", "percent", "percentage"),
}
_SEPARATOR = re.compile(r"\s*[|:;/]\s*|\s+[-–—]\s+|\s*_\s*")


def read_covidence(
    grid: Grid,
    measure: str | None,
    columns: Mapping[str, str],
    groups: Sequence[str] = (),
    decimal: Literal[".", ","] = ".",
) -> Imported:
    """Read an export with the column `Study ID`.

    Headers of three parts or more, `outcome | group | statistic`, are taken apart; where they
    are otherwise, `columns` says which column is which field. Of several reviewers of a study
    only the row of the consensus is taken.

    Raises
    ------
    InputError
        No column of studies, or no columns of numbers.
    """
    header = grid.lines[0].cells if grid.lines else ()
    remarks: list[Remark] = []
    kept = _consensus(grid, header, remarks)
    shared = {"study": STUDY}
    if TITLE in header:
        shared["title"] = TITLE
    if columns:
        tree = {
            "columns": {**shared, **columns},
            "measure": measure,
            "groups": list(groups),
            "decimal": decimal,
        }
        found = read_mapped(kept, MappingFile.model_validate(tree), "covidence")
    else:
        outcomes = _outcomes(header, measure, groups, remarks)
        if not outcomes:
            raise InputError(
                [
                    Problem(
                        grid.file,
                        "header",
                        f"the columns {choices(header, 40)}",
                        "columns named `outcome | group | events`, total, mean or SD",
                        "say which columns have the numbers: --columns or --map",
                    )
                ]
            )
        mapping = MappingFile(columns=shared, outcomes=outcomes, decimal=decimal)
        found = read_mapped(kept, mapping, "covidence")
    return Imported(found.source, "covidence", found.outcomes, (*remarks, *found.remarks))


def _consensus(grid: Grid, header: Sequence[str], remarks: list[Remark]) -> Grid:
    """One row per study, that of the consensus where there are several reviewers."""
    if REVIEWER not in header or STUDY not in header:
        return grid
    reviewer, study = header.index(REVIEWER), header.index(STUDY)
    by_study: dict[str, list[Line]] = {}
    for line in grid.lines[1:]:
        cells = line.cells
        by_study.setdefault(cells[study] if study < len(cells) else "", []).append(line)
    taken = set()
    for name, lines in by_study.items():
        agreed = [
            line
            for line in lines
            if len(line.cells) > reviewer and CONSENSUS in line.cells[reviewer].casefold()
        ]
        for line in lines:
            if len(lines) == 1 or line in agreed:
                taken.add(line.number)
                continue
            reason = "of several reviewers the consensus is taken"
            remarks.append(
                Remark(
                    "left" if agreed else "lost",
                    grid.row(line.number),
                    name,
                    reason if agreed else f"{reason}; this study has none",
                )
            )
    lines = [line for line in grid.lines[1:] if line.number in taken]
    return Grid(grid.file, grid.sheet, (grid.lines[0], *lines), grid.remarks)


def _outcomes(
    header: Sequence[str], measure: str | None, groups: Sequence[str], remarks: list[Remark]
) -> list[MappedOutcome]:
    words = {word: field for field, those in STATISTICS.items() for word in those}
    parts: dict[str, dict[str, dict[str, str]]] = {}
    for name in header:
        steps = [step for step in _SEPARATOR.split(name.strip()) if step]
        field = words.get(steps[-1].casefold()) if len(steps) >= 3 else None
        if field:
            outcome = " | ".join(steps[:-2])
            parts.setdefault(outcome, {}).setdefault(steps[-2], {})[field] = name
    names, found = Names(), []
    for outcome, by_group in parts.items():
        order = [*groups] if set(groups) == set(by_group) else list(by_group)
        if len(order) != 2:
            remarks.append(
                Remark(
                    "lost",
                    f"outcome {outcome}",
                    ", ".join(order),
                    "two groups make a comparison; map its columns with --map",
                )
            )
            continue
        columns = {
            f"{field}{group}" if field == "percent" else named(field, group): column
            for group, label in enumerate(order, 1)
            for field, column in by_group[label].items()
        }
        guess = "RR" if "ai" in columns else "MD"
        if measure is None:
            remarks.append(
                Remark("note", f"outcome {outcome}", guess, "taken as measure; see --measure")
            )
        remarks.append(
            Remark(
                "note",
                f"outcome {outcome}",
                f"{order[0]} v {order[1]}",
                "group 1 and group 2, in the order of the columns; see --groups",
            )
        )
        found.append(
            MappedOutcome.model_validate(
                {
                    "id": names.of(outcome),
                    "title": outcome,
                    "measure": measure or guess,
                    "columns": columns,
                    "groups": order,
                }
            )
        )
    return found
