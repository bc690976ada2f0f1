"""Review Manager 5 files (`.rm5`): comparisons, outcomes, data, risk of bias.

The format, from public files of the Cochrane Library and from readers of it: XML with the root
`COCHRANE_REVIEW`. `ANALYSES_AND_DATA` holds `COMPARISON`s; each holds outcomes of the kinds
`DICH` (counts), `CONT` (means), `IV` (estimate and standard error), `IPD` (O - E and its
variance) and `OTHER` (text), as `KIND_OUTCOME` with `KIND_SUBGROUP` and `KIND_DATA`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import exp, isclose
from pathlib import Path
from xml.etree.ElementTree import Element

from defusedxml import ElementTree as safe_xml
from defusedxml.common import DefusedXmlException

from evisynth.conversions.distributions import normal_half_width
from evisynth.errors import InputError, Problem
from evisynth.importing.records import (
    Imported,
    Item,
    Judgement,
    Names,
    Outcome,
    Remark,
    quoted,
)
from evisynth.importing.revman import (
    MEASURES,
    is_hazard,
    printed,
    settings,
    without_events,
)
from evisynth.importing.safety import read_bytes, refused, scan_xml
from evisynth.inputs import INPUTS

KINDS = ("DICH", "CONT", "IV", "IPD")
ROOT = "COCHRANE_REVIEW"
ATTRIBUTES = {
    "DICH": {"EVENTS_1": "ai", "TOTAL_1": "n1i", "EVENTS_2": "ci", "TOTAL_2": "n2i"},
    "CONT": {
        "MEAN_1": "m1i",
        "SD_1": "sd1i",
        "TOTAL_1": "n1i",
        "MEAN_2": "m2i",
        "SD_2": "sd2i",
        "TOTAL_2": "n2i",
    },
    "IPD": {
        "O_E": "oe",
        "VAR": "v",
        "EVENTS_1": "x1i",
        "TOTAL_1": "n1i",
        "EVENTS_2": "x2i",
        "TOTAL_2": "n2i",
    },
}
POOLED = {
    "estimate": "EFFECT_SIZE",
    "ci_low": "CI_START",
    "ci_high": "CI_END",
    "tau2": "TAU2",
    "chi2": "CHI2",
    "df": "DF",
    "I2": "I2",
    "Z": "Z",
    "p": "P_Z",
}
JUDGEMENTS = {"YES": "low risk", "NO": "high risk", "UNKNOWN": "unclear risk"}
LISTS = {
    "EXCLUDED_STUDIES": "an excluded study; RevMan holds no numbers of it",
    "AWAITING_STUDIES": "a study that awaits classification; RevMan holds no numbers of it",
    "ONGOING_STUDIES": "an ongoing study; RevMan holds no numbers of it",
}
# Which of two scales an interval is symmetric on; six digits are what RevMan Web keeps.
TOLERANCE = 1e-4
Z_95 = normal_half_width(0.95)


@dataclass(slots=True)
class _Reader:
    """One file.

    Attributes
    ----------
    studies : name and year by the id that the data refer to.
    """

    name: str
    studies: dict[str, tuple[str, str]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    used: set[str] = field(default_factory=set)

    def remark(self, level: str, place: str, found: str, reason: str) -> None:
        self.remarks.append(Remark(level, place, found, reason))  # type: ignore[arg-type]


def read_rm5(path: Path, name: str) -> Imported:
    """Read a Review Manager 5 file.

    Raises
    ------
    InputError
        Not such a file, or one that holds a document type, entities or too much.
    """
    content = read_bytes(path, name)
    scan_xml(content, name)
    try:
        root = safe_xml.fromstring(content, forbid_dtd=True)
    except (DefusedXmlException, safe_xml.ParseError, ValueError) as error:
        raise refused(
            name, f"XML that is not safe or not whole ({error})", "plain XML", "export it again"
        ) from None
    if root.tag != ROOT:
        raise refused(
            name,
            f"XML of another kind (<{root.tag}>)",
            f"a file of Review Manager 5 (<{ROOT}>)",
            "export the review from RevMan as .rm5",
        )
    reader = _Reader(name)
    _read_studies(root, reader)
    for comparison in root.iterfind(".//ANALYSES_AND_DATA/COMPARISON"):
        _read_comparison(comparison, reader)
    _remark_rest(root, reader)
    judgements = tuple(_judgements(root, reader))
    if not reader.outcomes:
        raise InputError(
            [
                Problem(
                    name,
                    "ANALYSES_AND_DATA",
                    "no outcome whose numbers could be taken",
                    "comparisons with counts, means or estimates",
                    "; ".join(
                        dict.fromkeys(r.reason for r in reader.remarks if r.level == "lost")
                    )
                    or "export the review with its data and analyses",
                )
            ]
        )
    outcomes, remarks = tuple(reader.outcomes), tuple(reader.remarks)
    return Imported(name, "rm5", outcomes, remarks, judgements)


def _text(element: Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _read_studies(root: Element, reader: _Reader) -> None:
    for study in root.iterfind(".//STUDY"):
        if study.get("ID"):
            label = " ".join(str(study.get("NAME") or study.get("ID")).split())
            reader.studies[study.get("ID", "")] = (label, study.get("YEAR", "").strip())
    for tag, reason in LISTS.items():
        for study in root.iterfind(f".//{tag}/STUDY"):
            reader.used.add(study.get("ID", ""))
            reader.remark("left", tag, study.get("NAME", ""), reason)


def _read_comparison(comparison: Element, reader: _Reader) -> None:
    title = _text(comparison.find("NAME"))
    for element in comparison:
        kind, _, what = element.tag.partition("_")
        if what != "OUTCOME":
            continue
        place = element.get("ID") or f"{comparison.get('ID', '')}.{element.get('NO', '')}"
        if kind not in KINDS:
            reader.remark(
                "lost", place, _text(element.find("NAME")), "an outcome in words, no numbers"
            )
            continue
        _read_outcome(element, kind, place, title, reader)


def _rows(outcome: Element, kind: str) -> Iterator[tuple[str, str, Element]]:
    """Label and id of the subgroup, and each of its data."""
    for data in outcome.iterfind(f"{kind}_DATA"):
        yield "", "", data
    for subgroup in outcome.iterfind(f"{kind}_SUBGROUP"):
        for data in subgroup.iterfind(f"{kind}_DATA"):
            yield _text(subgroup.find("NAME")), subgroup.get("ID", ""), data


def _read_outcome(
    outcome: Element, kind: str, place: str, comparison: str, reader: _Reader
) -> None:
    title = _text(outcome.find("NAME"))
    effect = outcome.get("EFFECT_MEASURE") or _text(outcome.find("EFFECT_MEASURE"))
    random = outcome.get("RANDOM", "NO") == "YES"
    method = outcome.get("METHOD", "")
    swap = outcome.get("SWAP_EVENTS", "NO") == "YES"
    rows = list(_rows(outcome, kind))
    whole = f"{comparison}: {title}" if comparison else title
    if not rows:
        reader.remark("left", place, whole, "an outcome without data")
        return
    measure, options = _measure(kind, effect, rows, outcome, place, reader)
    if not measure:
        reader.remark("lost", place, whole, f"the effect measure {effect or '(none)'}, unknown")
        return
    items = []
    for subgroup, group_id, data in rows:
        ratio = "transformation" in options
        item = _item(kind, data, subgroup, group_id or place, reader, swap=swap, ratio=ratio)
        items += [item] if item else []
    if not items:
        return
    if swap:
        reader.remark(
            "note",
            place,
            "SWAP_EVENTS",
            "RevMan swaps events and non-events: ai and ci are those without the event, "
            "events1 and events2 what was entered",
        )
    keys = settings(method, measure, random=random, level=outcome.get("CI_TOTAL", "95"))
    if options and measure == "GEN":
        keys["measure_options"] = options
    totals = outcome.get("TOTALS", "YES")
    if totals == "NO":
        keys |= {"pool": False, "why_not": "RevMan shows no total of this outcome"}
    said = printed({key: outcome.get(name, "") for key, name in POOLED.items()})
    if said and totals == "YES":
        keys["notes"] = [said]
        reader.remark("note", place, whole, said)
    for group in outcome.iterfind(f"{kind}_SUBGROUP"):
        of_group = printed({key: group.get(name, "") for key, name in POOLED.items()})
        if of_group:
            reader.remark("note", group.get("ID", place), _text(group.find("NAME")), of_group)
    labels = (_text(outcome.find("GROUP_LABEL_1")), _text(outcome.find("GROUP_LABEL_2")))
    groups = (labels[0] or "Experimental", labels[1] or "Control")
    reader.outcomes.append(
        Outcome(
            id=reader.names.of(f"{place} {title}"),
            title=whole,
            measure=measure,
            items=tuple(items),
            groups=groups,
            settings=keys,
            per_subgroup=totals == "SUB",
            unit=outcome.get("UNITS", ""),
        )
    )


def _measure(
    kind: str,
    effect: str,
    rows: list[tuple[str, str, Element]],
    outcome: Element,
    place: str,
    reader: _Reader,
) -> tuple[str, dict[str, str]]:
    """Our measure and its options; an empty text where there is none."""
    if kind in ("DICH", "CONT"):
        measure = MEASURES.get(effect.strip().casefold(), "")
        wanted = "ai" if kind == "DICH" else "m1i"
        return (measure, {}) if measure and wanted in INPUTS[measure].fields else ("", {})
    if kind == "IPD":
        return ("HR" if is_hazard(effect) else "", {})
    scale = _scale([data for _, _, data in rows], outcome)
    if not scale:
        scale = "ratio" if "ratio" in effect.casefold() or is_hazard(effect) else "difference"
        reader.remark(
            "note",
            place,
            effect or "no effect measure",
            f"its intervals do not tell the scale: taken as a {scale} by its name",
        )
    # whether ratios are among them is all that the rows still have to know
    options = {"transformation": "exp"} if scale == "ratio" else {}
    return ("HR" if is_hazard(effect) else "GEN"), options


def _scale(data: list[Element], outcome: Element) -> str:
    """``ratio`` or ``difference``, by which the printed intervals are made; or nothing."""
    try:
        level = float(outcome.get("CI_STUDY", "95"))
    except ValueError:
        return ""
    if level != 95:
        return ""
    votes = set()
    for row in data:
        try:
            names = ("EFFECT_SIZE", "CI_START", "SE")
            effect, low, se = (float(row.get(name, "")) for name in names)
        except ValueError:
            continue
        if isclose(low, effect - Z_95 * se, rel_tol=TOLERANCE, abs_tol=1e-9):
            votes.add("difference")
        if se < 50 and isclose(low, effect * exp(-Z_95 * se), rel_tol=TOLERANCE):
            votes.add("ratio")
    return votes.pop() if len(votes) == 1 else ""


def _item(
    kind: str,
    data: Element,
    subgroup: str,
    place: str,
    reader: _Reader,
    *,
    swap: bool,
    ratio: bool,
) -> Item | None:
    study_id = data.get("STUDY_ID", "")
    at = f"{place}, {study_id or 'no study'}"
    if study_id not in reader.studies:
        reader.remark("lost", at, study_id or "no STUDY_ID", "its study is not in the file")
        return None
    reader.used.add(study_id)
    study, year = reader.studies[study_id]
    attributes: Mapping[str, str] = {
        name: value for name, value in data.items() if not name.startswith("MODIFIED")
    }
    numbers = (
        _generic(data, ratio=ratio)
        if kind == "IV"
        else {
            ours: data.get(name, "")
            for name, ours in ATTRIBUTES[kind].items()
            if data.get(name) is not None
        }
    )
    if not any(numbers.values()):
        reader.remark("lost", at, study, "no numbers")
        return None
    numbers = {key: _count(text) if key[0] in "acnx" else text for key, text in numbers.items()}
    if swap and kind == "DICH":
        numbers = without_events(numbers)
    if data.get("ESTIMABLE") == "NO":
        reader.remark("note", at, study, "RevMan: not estimable; its numbers are taken")
    footnote = _text(data.find("FOOTNOTE"))
    if footnote:
        reader.remark("left", at, footnote, "a footnote; it stands in no table")
    texts = {"year": year, "subgroup": subgroup, **numbers}
    kept = {key: text for key, text in texts.items() if text or key in numbers}
    return Item(at, study, kept, quoted(at, {"NAME": study, **attributes}))


def _count(text: str) -> str:
    """A whole number without the `.0` that RevMan may write."""
    head, _, tail = text.partition(".")
    return head if head.isdigit() and not tail.strip("0") else text


def _generic(data: Element, *, ratio: bool) -> dict[str, str]:
    """Estimate with its standard error, on the scale on which the standard error is.

    `ESTIMATE` is what was entered, mostly a logarithm; it is taken where that agrees with the
    effect that RevMan shows.
    """
    entered, shown = data.get("ESTIMATE", ""), data.get("EFFECT_SIZE", "")
    if entered and data.get("SE") and _same_effect(entered, shown, ratio=ratio):
        return {"yi": entered, "sei": data.get("SE", "")}
    if not ratio:
        return {"yi": shown, "sei": data.get("SE", "")}
    names = {"estimate": "EFFECT_SIZE", "ci_low": "CI_START", "ci_high": "CI_END"}
    return {ours: data.get(name, "") for ours, name in names.items()}


def _same_effect(entered: str, shown: str, *, ratio: bool) -> bool:
    try:
        value, effect = float(entered), float(shown)
    except ValueError:
        return not shown  # RevMan had not calculated when the file was saved
    if ratio and value > 50:
        return False
    return isclose(exp(value) if ratio else value, effect, rel_tol=TOLERANCE, abs_tol=1e-9)


def _judgements(root: Element, reader: _Reader) -> Iterator[Judgement]:
    for item in root.iterfind(".//QUALITY_ITEMS/QUALITY_ITEM"):
        domain = _text(item.find("NAME"))
        for entry in item.iterfind(".//QUALITY_ITEM_DATA_ENTRY"):
            study = reader.studies.get(entry.get("STUDY_ID", ""))
            result = entry.get("RESULT", "")
            if study:
                yield Judgement(
                    study[0],
                    domain,
                    JUDGEMENTS.get(result, result),
                    _text(entry.find("DESCRIPTION")),
                )


def _remark_rest(root: Element, reader: _Reader) -> None:
    """Studies without numbers, and parts of the file that have no place in tables."""
    for study_id, (label, _) in reader.studies.items():
        if study_id not in reader.used:
            reader.remark("left", study_id, label, "a study without numbers in any comparison")
    for study in root.iterfind(".//CHARACTERISTICS_OF_INCLUDED_STUDIES/INCLUDED_CHAR"):
        words = _text(study)
        if words:
            reader.remark(
                "left",
                f"CHARACTERISTICS, {study.get('STUDY_ID', '')}",
                words[:200],
                "characteristics in words; they have no place in a table",
            )
    for tag, what in (
        ("MAIN_TEXT", "text of the review"),
        ("SOF_TABLES", "summary of findings"),
        ("ADDITIONAL_TABLES", "additional tables"),
        ("FIGURES", "figures"),
        ("APPENDICES", "appendices"),
        ("DIAGNOSTIC_TESTS", "data of diagnostic tests"),
        ("TESTS", "data of diagnostic tests"),
    ):
        if any(_text(element) or len(element) for element in root.iter(tag)):
            reader.remark("left", tag, what, "has no place in tables of effects")
