"""A CSV table that R's metafor (`escalc`, `write.csv`) wrote."""

from collections.abc import Mapping, Sequence

from evisynth.errors import InputError, Problem
from evisynth.importing.delimited import Grid, Line
from evisynth.importing.mapping import TARGETS, MappingFile, read_mapped
from evisynth.importing.records import Imported, Outcome, Remark
from evisynth.inputs import INPUTS

STUDY_COLUMNS = ("slab", "study", "Study", "study_id", "trial", "author", "id")
# escalc gives effects on the scale of its measure; these lead back from there.
TRANSFORMATIONS = {
    "exp": "OR RR PETO IRR ROM ROMBC VR CVR HR PLN IRLN MNLN ROMC".split(),
    "tanh": ["ZCOR", "ZPCOR"],
    "expit": ["PLO"],
}


def read_escalc(
    grid: Grid, measure: str | None, columns: Mapping[str, str], decimal: str = "."
) -> Imported:
    """Read columns `yi` and `vi`, and the counts or means beside them.

    The file does not keep which measure `yi` is of, so `measure` has to be said. Where the
    numbers stand beside it from which that measure is computed, these are mapped; otherwise
    `yi` and `vi`.

    Raises
    ------
    InputError
        No measure, or no columns that suffice.
    """
    header = grid.lines[0].cells if grid.lines else ()
    named = {name: name for name in header if name in TARGETS}
    mapped = {**named, **columns}
    remarks: list[Remark] = []
    if "study" not in columns:
        mapped.pop("study", None)
        grid = _with_study(grid, header, mapped, remarks)
    if measure is None:
        raise InputError(
            [
                Problem(
                    grid.file,
                    "measure",
                    "nothing: a CSV file does not keep the attributes of escalc",
                    f"one of: {', '.join(INPUTS)}",
                    "say --measure, as in the call of escalc",
                )
            ]
        )
    fields = set(mapped)
    raw = any(set(one) <= fields for one in INPUTS[measure].alternatives)
    used = measure if raw or not {"yi", "vi"} <= fields else "GEN"
    mapping = MappingFile.model_validate(
        {"columns": mapped, "measure": used, "decimal": decimal}
    )
    found = read_mapped(grid, mapping, "escalc")
    outcomes = []
    for outcome in found.outcomes:
        settings: dict[str, object] = {}
        if used == "GEN" and measure != "GEN":
            word = next((w for w, those in TRANSFORMATIONS.items() if measure in those), "")
            if word:
                settings["measure_options"] = {"transformation": word}
            settings["title"] = f"{outcome.title} ({measure})"
            remarks.append(
                Remark(
                    "note",
                    "columns yi, vi",
                    measure,
                    "taken as they are: the numbers that they are computed from are not there",
                )
            )
        outcomes.append(Outcome(outcome.id, outcome.title, used, outcome.items, (), settings))
    return Imported(found.source, "escalc", tuple(outcomes), (*found.remarks, *remarks))


def _with_study(
    grid: Grid, header: Sequence[str], mapped: dict[str, str], remarks: list[Remark]
) -> Grid:
    """A grid with a column that names the study; author and year together where both are."""
    lower = {name.casefold(): name for name in reversed(header)}
    parts = [lower[word] for word in ("author", "year") if word in lower]
    found = next((name for name in STUDY_COLUMNS if name in header), None)
    if found not in ("slab", "study", "Study") and len(parts) == 2:
        new = "author, year"
        places = [header.index(part) for part in parts]
        if new not in header:
            lines = [Line(grid.lines[0].number, (*header, new))]
            seen: dict[str, int] = {}
            for line in grid.lines[1:]:
                texts = [line.cells[i] if i < len(line.cells) else "" for i in places]
                text = ", ".join(filter(None, texts))
                seen[text] = seen.get(text, 0) + 1
                text += f" ({seen[text]})" if seen[text] > 1 else ""
                padding = ("",) * (len(header) - len(line.cells))
                lines.append(Line(line.number, (*line.cells, *padding, text)))
            grid = Grid(grid.file, grid.sheet, tuple(lines), grid.remarks)
        remarks.append(Remark("note", "study", new, "studies are named by author and year"))
        found = new
    if found:
        mapped["study"] = found
    return grid
