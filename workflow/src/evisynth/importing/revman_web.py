"""RevMan Web's data package: a zip of CSV files, or its file of data rows alone.

The columns are those of packages that the Cochrane Library offers for download: `data-rows`,
`overall-estimates-and-settings`, `risk-of-bias`, in folders of the review's number.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path

from evisynth.errors import InputError, Problem, echo
from evisynth.importing.delimited import Grid, parse_delimited
from evisynth.importing.records import (
    Imported,
    Item,
    Judgement,
    Names,
    Outcome,
    Remark,
    quoted,
)
from evisynth.importing.revman import MEASURES, is_hazard, printed, settings, without_events
from evisynth.importing.safety import ZIP_MAGIC, open_zip, read_bytes, read_member
from evisynth.validation import choices

ROWS, SETTINGS, BIAS = "data-rows", "overall-estimates-and-settings", "risk-of-bias"
NEEDED = ("Analysis group", "Analysis number", "Study")
FIELDS = {
    "Dichotomous": {
        "Experimental cases": "ai",
        "Experimental N": "n1i",
        "Control cases": "ci",
        "Control N": "n2i",
    },
    "Continuous": {
        "Experimental mean": "m1i",
        "Experimental SD": "sd1i",
        "Experimental N": "n1i",
        "Control mean": "m2i",
        "Control SD": "sd2i",
        "Control N": "n2i",
    },
    "Contrast level": {"GIV Mean": "yi", "GIV SE": "sei"},
    "O-E and variance": {
        "O-E": "oe",
        "Variance": "v",
        "Experimental cases": "x1i",
        "Experimental N": "n1i",
        "Control cases": "x2i",
        "Control N": "n2i",
    },
}
POOLED = {
    "estimate": "Mean",
    "ci_low": "CI start",
    "ci_high": "CI end",
    "tau2": "Heterogeneity Tau²",
    "chi2": "Heterogeneity Chi²",
    "df": "Heterogeneity df",
    "I2": "Heterogeneity I²",
    "Z": "Effect Z",
    "p": "Effect P",
}
Record = dict[str, str]


def read_package(path: Path, name: str) -> Imported:
    """Read a package, or a file `...-data-rows.csv` with its settings beside it.

    Raises
    ------
    InputError
        Damaged or hostile, or without the file of data rows or of settings.
    """
    grids = _files(path, name)
    problems = [
        Problem(
            name,
            "the package",
            f"no file {kind}",
            f"a CSV file whose name ends in {kind}.csv",
            "download the data package again; a data-rows.csv needs the settings beside it",
        )
        for kind in (ROWS, SETTINGS)
        if kind not in grids
    ]
    if problems:
        raise InputError(problems)
    rows, keys = _records(grids[ROWS]), _records(grids[SETTINGS])
    for kind, needed in ((ROWS, NEEDED), (SETTINGS, ("Data type", "Effect measure"))):
        header = grids[kind].lines[0].cells if grids[kind].lines else ()
        missing = [column for column in needed if column not in header]
        if missing:
            problems.append(
                Problem(
                    name,
                    f"{kind}, header",
                    f"no column {', '.join(missing)}",
                    f"the columns of RevMan Web; these are {choices(header, 40)}",
                    "download the data package again",
                )
            )
    if problems:
        raise InputError(problems)
    remarks: list[Remark] = []
    by_analysis: dict[tuple[str, str], list[tuple[str, Record]]] = {}
    for place, record in rows:
        key = (record.get("Analysis group", ""), record.get("Analysis number", ""))
        by_analysis.setdefault(key, []).append((place, record))
    outcomes: list[Outcome] = []
    names = Names()
    for _, setting in keys:
        key = (setting.get("Analysis group", ""), setting.get("Analysis number", ""))
        found = _outcome(key, setting, by_analysis.pop(key, []), names, remarks)
        outcomes += [found] if found else []
    for key, orphans in by_analysis.items():
        reason = f"no settings of analysis {'.'.join(key)}"
        remarks += [
            Remark("lost", place, record.get("Study", ""), reason) for place, record in orphans
        ]
    if not outcomes:
        raise InputError(
            [
                Problem(
                    name,
                    ROWS,
                    "no analysis whose numbers could be taken",
                    "counts, means or estimates",
                    "; ".join(dict.fromkeys(r.reason for r in remarks))
                    or "look at the package",
                )
            ]
        )
    judgements = tuple(_judgements(grids.get(BIAS)))
    return Imported(name, "revman-web", tuple(outcomes), tuple(remarks), judgements)


def _files(path: Path, name: str) -> dict[str, Grid]:
    """The CSV files of interest, by kind."""
    content = read_bytes(path, name)
    found: dict[str, bytes] = {}
    if content.startswith(ZIP_MAGIC):
        _unpack(content, name, found, inner=False)
    else:
        found[ROWS] = content
        stem, sign, _ = path.name.rpartition(ROWS)
        other = path.with_name(f"{stem}{SETTINGS}.csv")
        if sign and other.is_file():
            found[SETTINGS] = read_bytes(other, other.name)
    return {kind: parse_delimited(body, f"{name}, {kind}.csv") for kind, body in found.items()}


def _unpack(content: bytes, name: str, found: dict[str, bytes], *, inner: bool) -> None:
    with open_zip(io.BytesIO(content), name) as archive:
        for member in sorted(archive.namelist()):
            kind = next((k for k in (ROWS, SETTINGS, BIAS) if member.endswith(f"{k}.csv")), "")
            if kind:
                found.setdefault(kind, read_member(archive, member, name))
            elif member.endswith(".zip") and not inner:
                # the package is an archive within that of the review
                body = read_member(archive, member, name)
                _unpack(body, f"{name}, {echo(member)}", found, inner=True)


def _records(grid: Grid) -> list[tuple[str, Record]]:
    if not grid.lines:
        return []
    header = grid.lines[0].cells
    place = grid.file.rpartition(", ")[2]
    return [
        (f"{place} row {line.number}", dict(zip(header, line.cells, strict=False)))
        for line in grid.lines[1:]
    ]


def _outcome(
    key: tuple[str, str],
    setting: Record,
    rows: list[tuple[str, Record]],
    names: Names,
    remarks: list[Remark],
) -> Outcome | None:
    place = f"analysis {'.'.join(key)}"
    title = ": ".join(
        filter(None, (setting.get("Analysis group name"), setting.get("Analysis name")))
    )
    kind, effect = setting.get("Data type", ""), setting.get("Effect measure", "")
    if not rows:
        remarks.append(Remark("left", place, title, "an analysis without data"))
        return None
    log = setting.get("Log-scale data", "").casefold() == "true"
    measure = _measure(kind, effect, log=log)
    if kind not in FIELDS or not measure:
        reason = f"data of the type {kind or '(none)'} with the measure {effect or '(none)'}"
        remarks.append(Remark("lost", place, title, reason))
        return None
    swap = setting.get("Swap event and non-event", "").casefold() == "true"
    items = [_item(kind, at, record, swap) for at, record in rows]
    if swap:
        remarks.append(
            Remark(
                "note",
                place,
                "events and non-events swapped",
                "ai and ci are those without the event, events1 and events2 what was entered",
            )
        )
    random = setting.get("Analysis model", "").casefold().startswith("random")
    level = setting.get("Estimate CI") or "95"
    keys = settings(setting.get("Statistical method", ""), measure, random=random, level=level)
    if measure == "GEN" and log:
        keys["measure_options"] = {"transformation": "exp"}
    total = setting.get("Overall estimates", "true").casefold() != "false"
    said = printed({name: setting.get(column, "") for name, column in POOLED.items()})
    if said and total:
        keys["notes"] = [said]
        remarks.append(Remark("note", place, title, said))
    by_subgroup = setting.get("Subgroup estimates", "").casefold() == "true"
    has_subgroups = any(item.texts.get("subgroup") for item in items)
    if not total and not (by_subgroup and has_subgroups):
        keys |= {"pool": False, "why_not": "RevMan shows no total of this analysis"}
    words = sorted({item.texts.get("applicability", "") for item in items})
    overall = [word for word in words if "OVERALL" in word or not word]
    if total and overall and overall != words:
        keys["rows"] = {"applicability": overall}
        remarks.append(
            Remark("note", place, title, "rows that RevMan keeps out of the total are left out")
        )
    for at, record in rows:
        if record.get("Footnotes"):
            remarks.append(Remark("left", at, record["Footnotes"], "a footnote"))
    return Outcome(
        id=names.of(f"{'.'.join(key)} {setting.get('Analysis name', '')}"),
        title=title or place,
        measure=measure,
        items=tuple(items),
        groups=(
            setting.get("Experimental group label") or "Experimental",
            setting.get("Control group label") or "Control",
        ),
        settings=keys,
        per_subgroup=not total and by_subgroup and has_subgroups,
        unit=setting.get("Unit of effect measure", ""),
    )


def _measure(kind: str, effect: str, *, log: bool) -> str:
    if kind == "O-E and variance":
        return "HR" if is_hazard(effect) else ""
    if kind == "Contrast level":
        return "HR" if is_hazard(effect) and log else "GEN"
    plain = re.sub(r"\s*\(non-event\)", "", effect.strip().casefold())
    measure = MEASURES.get(plain, "")
    fits = ("OR", "RR", "RD", "PETO") if kind == "Dichotomous" else ("MD", "SMD")
    return measure if measure in fits else ""


def _item(kind: str, place: str, record: Record, swap: bool) -> Item:
    study = record.get("Study", "")
    numbers = {ours: record.get(column, "") for column, ours in FIELDS[kind].items()}
    if swap and kind == "Dichotomous":
        numbers = without_events(numbers)
    texts = {
        "year": record.get("Study year", ""),
        "subgroup": record.get("Subgroup", ""),
        "applicability": record.get("Applicability", ""),
    }
    kept = {key: text for key, text in texts.items() if text} | numbers
    return Item(place, study, kept, quoted(place, record))


def _judgements(grid: Grid | None) -> Iterator[Judgement]:
    for _, record in _records(grid) if grid else []:
        for column, judgement in record.items():
            head, _, domain = column.partition(": ")
            if head == "Domain (judgement)" and judgement:
                words = record.get(f"Domain (support): {domain}", "")
                yield Judgement(record.get("Study", ""), domain, judgement, words)
