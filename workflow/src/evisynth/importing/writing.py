"""Imported rows as study files or tables, with a configuration and a report of the import."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from evisynth.config import RESERVED
from evisynth.conversions import FIELDS as CONVERTED
from evisynth.conversions import named
from evisynth.errors import InputError, Problem, echo, safe
from evisynth.files import write_text
from evisynth.importing.records import Imported, Item, Names, Outcome, Remark, slug
from evisynth.inputs import INPUTS
from evisynth.project import DEVICES, load_project
from evisynth.studyfile import StudyFile
from evisynth.table import TEXT_FIELDS
from evisynth.tabular import to_csv
from evisynth.validation import validate
from evisynth.yamltext import CONTROL, Document, read_yaml

Target = Literal["table", "studies"]

CONFIG, OUTCOMES, STUDIES = "config.yaml", "outcomes.yaml", "studies"
REPORT, BIAS = "import_report.csv", "risk_of_bias.csv"
REPORT_COLUMNS = ("level", "place", "found", "reason")
NOT_IDS = frozenset({*DEVICES, *RESERVED, "import_report", "risk_of_bias"})
LEVELS = {"lost": "not taken", "left": "not asked for", "note": "to know"}
MOST_LINES = 40
NOT_SEEN = "Imported from {source}: no report was seen by whoever imported it."


@dataclass(slots=True)
class _Files:
    """What is to be written: content by the path within the folder."""

    contents: dict[str, str] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)


def files(
    imported: Imported, target: Target, design: str | None
) -> tuple[dict[str, str], Imported]:
    """Every file of an import, by its path in the folder; and the import with more remarks.

    Parameters
    ----------
    design : design of the studies, which no file says; needed for study files.

    Raises
    ------
    InputError
        Study files without a design.
    """
    made = _Files()
    imported = _renamed(imported)
    if target == "studies":
        if design is None:
            raise InputError(
                [
                    Problem(
                        imported.source,
                        "design of the studies",
                        "nothing: the file does not say it in a way that can be read",
                        "rct, nonrandomised, single_arm, registry, cohort or case_series",
                        "say --design; correct single studies in their files",
                    )
                ]
            )
        _write_studies(imported, design, made)
    else:
        _write_tables(imported, made)
    if imported.judgements and target == "table":
        columns = ("study", "domain", "judgement", "words")
        made.contents[BIAS] = to_csv(
            columns, ({c: getattr(j, c) for c in columns} for j in imported.judgements)
        )
    remarks = [*imported.remarks, *made.remarks, *_check(made.contents)]
    whole = replace(imported, remarks=tuple(dict.fromkeys(remarks)))
    made.contents[REPORT] = to_csv(
        REPORT_COLUMNS,
        ({c: getattr(remark, c) for c in REPORT_COLUMNS} for remark in _sorted(whole.remarks)),
    )
    return made.contents, whole


def _renamed(imported: Imported) -> Imported:
    """The outcomes without ids that a device of Windows or another file of ours has."""
    kept = {outcome.id for outcome in imported.outcomes}
    outcomes, remarks = [], list(imported.remarks)
    for outcome in imported.outcomes:
        name = outcome.id
        while name in NOT_IDS or (name != outcome.id and name in kept):
            name += "-table"
        if name != outcome.id:
            reason = f"a name that is taken; the table and its analysis are {name}"
            remarks.append(Remark("note", "id", outcome.id, reason))
        outcomes.append(replace(outcome, id=name))
    return replace(imported, outcomes=tuple(outcomes), remarks=tuple(remarks))


def _sorted(remarks: Iterable[Remark]) -> list[Remark]:
    order = list(LEVELS)
    return sorted(remarks, key=lambda remark: order.index(remark.level))


def write(contents: Mapping[str, str], folder: Path, *, force: bool) -> None:
    """Write the files; none of them if one is there already and `force` was not said.

    Raises
    ------
    InputError
        With every file that is in the way, or that is a symbolic link.
    """
    problems = []
    for name in contents:
        path = folder / name
        if path.is_symlink() or any(p.is_symlink() for p in _within(path, folder)):
            problems.append(_in_the_way(path, "a symbolic link", "remove it"))
        elif path.exists() and not force:
            problems.append(
                _in_the_way(path, "a file of that name", "name another folder, or say --force")
            )
    if problems:
        raise InputError(problems)
    for name, content in contents.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, content)
        except OSError as error:
            found = error.strerror or "no access"
            raise InputError([_in_the_way(path, found, "name another folder")]) from None


def _within(path: Path, folder: Path) -> list[Path]:
    return [parent for parent in path.parents if folder in parent.parents]


def _in_the_way(path: Path, found: str, action: str) -> Problem:
    return Problem(path.as_posix(), "the file to write", found, "a new file", action)


def report(imported: Imported, contents: Mapping[str, str], folder: Path, *, dry: bool) -> str:
    """What was done, as text."""
    studies = {item.study for outcome in imported.outcomes for item in outcome.items}
    lines = [
        f"{safe(imported.source)}: read as {imported.format}; {len(imported.outcomes)} "
        f"{'table' if len(imported.outcomes) == 1 else 'tables'} of {len(studies)} studies"
    ]
    lines += [
        f"  {safe(outcome.id)}: {len(outcome.items)} rows, {outcome.measure}, "
        f"{safe(outcome.title)}"
        for outcome in imported.outcomes
    ]
    lines += ["", "would write:" if dry else "written:"]
    names = list(contents)
    lines += [f"  {(folder / name).as_posix()}" for name in names[:MOST_LINES]]
    if len(names) > MOST_LINES:
        lines.append(f"  ... and {len(names) - MOST_LINES} more")
    by_level = Counter(remark.level for remark in imported.remarks)
    for level, title in LEVELS.items():
        count = by_level.get(level, 0)  # type: ignore[call-overload]
        if not count:
            continue
        lines += ["", f"{title} ({count}):"]
        shown = [remark for remark in imported.remarks if remark.level == level]
        lines += [
            f"  {safe(r.place)}: {safe(r.found)[:200]}: {safe(r.reason)}"
            for r in shown[:MOST_LINES]
        ]
        if count > MOST_LINES:
            lines.append(f"  ... and {count - MOST_LINES} more, see {REPORT}")
    analyses = contents.get(CONFIG, "").partition("analyses:")
    lines += ["", f"to paste into config.yaml (all of it is in {CONFIG}):", "", "analyses:"]
    lines += [line for line in analyses[2].splitlines() if line]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- tables


def _write_tables(imported: Imported, made: _Files) -> None:
    analyses: dict[str, Any] = {}
    for outcome in imported.outcomes:
        columns = ("study", *outcome.fields, "place")
        rows = (
            {"study": item.study, **item.texts, "place": item.place} for item in outcome.items
        )
        name = f"{outcome.id}.csv"
        made.contents[name] = to_csv(columns, rows)
        if _overlong(outcome, made):
            continue
        analyses |= _table_analyses(outcome, name, made)
    made.contents[CONFIG] = _config(imported, analyses, None)


def _overlong(outcome: Outcome, made: _Files) -> bool:
    """Whether a name of a study is too long for an analysis."""
    long = [item for item in outcome.items if len(item.study) > 500]
    made.remarks += [
        Remark("note", item.place, echo(item.study), "a name of more than 500 characters")
        for item in long
    ]
    return bool(long)


def _table_analyses(outcome: Outcome, file: str, made: _Files) -> dict[str, Any]:
    known = INPUTS[outcome.measure].known
    columns = {f: f for f in outcome.fields if f in TEXT_FIELDS or f in known}
    enough = any(set(one) <= columns.keys() for one in INPUTS[outcome.measure].alternatives)
    if not enough:
        columns |= {f: f for f in outcome.fields if f in CONVERTED}
    columns = {"study": "study"} | columns
    settings = dict(outcome.settings)
    base: dict[str, Any] = {
        "title": settings.pop("title", outcome.title),
        "table": file,
        "columns": columns,
    }
    if settings.get("rows"):
        base["rows"] = settings.pop("rows")
    if "subgroup" in outcome.fields:
        base["moderators"] = ["subgroup"]
    base["measure"] = outcome.measure
    if len(outcome.groups) == 2 and INPUTS[outcome.measure].design != "one_group":
        base["contrast"] = dict(zip(("numerator", "denominator"), outcome.groups, strict=True))
    base |= settings
    if not outcome.per_subgroup:
        return {outcome.id: _clustered(base, outcome, outcome.items, made)}
    names = Names()
    found = {}
    for subgroup in dict.fromkeys(item.texts.get("subgroup", "") for item in outcome.items):
        items = [i for i in outcome.items if i.texts.get("subgroup", "") == subgroup]
        part = base | {"title": f"{base['title']}: {subgroup}"}
        part["rows"] = {**part.get("rows", {}), "subgroup": [subgroup]}
        key = f"{outcome.id[:40]}-{names.of(subgroup)}"[:63]
        found[key] = _clustered(part, outcome, items, made)
    return found


def _clustered(
    analysis: dict[str, Any], outcome: Outcome, items: Sequence[Item], made: _Files
) -> dict[str, Any]:
    """The analysis with a cluster where a study has several rows."""
    counts = Counter(item.study for item in items)
    several = [study for study, count in counts.items() if count > 1]
    if not several or "cluster" in analysis["columns"]:
        return analysis
    made.remarks += [
        Remark(
            "note",
            outcome.id,
            study,
            f"stands {counts[study]} times; `cluster` lets its rows in as those of different "
            "patients: check that they are",
        )
        for study in several
    ]
    return analysis | {"columns": {**analysis["columns"], "cluster": "study"}}


def _config(imported: Imported, analyses: Mapping[str, Any], evidence: Any) -> str:
    tree: dict[str, Any] = {
        "review": {
            "title": f"Imported from {imported.source}",
            "question": "To be written: what does this review ask?",
        }
    }
    if evidence:
        tree["evidence"] = evidence
    tree["analyses"] = dict(analyses)
    return (
        f"# Made by `evisynth import` from {_line(imported.source)}; copy what is under "
        f"`analyses`, or use it as it is.\n" + _yaml(tree)
    )


def _yaml(tree: Any) -> str:
    # mypy: the stubs of PyYAML give Any for a text
    return str(yaml.safe_dump(_clean(tree), sort_keys=False, allow_unicode=True, width=100))


def _clean(tree: Any) -> Any:
    """Text without control characters, which no YAML file may hold."""
    if isinstance(tree, Mapping):
        return {_clean(key): _clean(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_clean(value) for value in tree]
    return CONTROL.sub("", tree) if isinstance(tree, str) else tree


def _line(text: str) -> str:
    """A text that can stand in a comment."""
    return " ".join(safe(text).split())


# ---------------------------------------------------------------- study files


@dataclass(slots=True)
class _Study:
    """A study file in the making."""

    name: str
    study: str
    label: str
    year: str = ""
    report: dict[str, str] = field(default_factory=dict)
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def _write_studies(imported: Imported, design: str, made: _Files) -> None:
    names = Names(frozenset(DEVICES))
    studies: dict[str, _Study] = {}
    outcomes: dict[str, Any] = {}
    analyses: dict[str, Any] = {}
    for outcome in _split(imported.outcomes):
        taken = 0
        for item in outcome.items:
            label = item.texts.get("label") or item.study
            study = studies.setdefault(
                item.study, _Study(names.of(item.study), item.study, label)
            )
            taken += _add(study, outcome, item, made.remarks)
        if not taken:
            continue
        outcomes[outcome.id] = {
            "label": outcome.title,
            "definition": f"As {imported.source} names it: {outcome.title}",
            **({"unit": outcome.unit} if outcome.unit else {}),
            "higher_is": "neither",
        }
        made.remarks.append(
            Remark(
                "note",
                f"{OUTCOMES}, {outcome.id}",
                outcome.title,
                "whether more of it is good is not in the file: set `higher_is`",
            )
        )
        analyses[outcome.id] = _study_analysis(outcome, made.remarks)
    for study in studies.values():
        if study.results:
            text = _study_text(study, imported, design, made.remarks)
            if text:
                made.contents[f"{STUDIES}/{study.name}.yaml"] = text
    made.contents[OUTCOMES] = _yaml({"outcomes": outcomes})
    evidence = {"studies": STUDIES, "outcomes": OUTCOMES}
    made.contents[CONFIG] = _config(imported, analyses, evidence)
    if not outcomes:
        raise InputError(
            [
                Problem(
                    imported.source,
                    "rows",
                    "nothing that a study file can hold",
                    "counts, means or hazard ratios with the sizes of the groups",
                    "; ".join(dict.fromkeys(r.reason for r in made.remarks)) or "--to table",
                )
            ]
        )


def _split(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes of which every subgroup is its own, as outcomes of their own."""
    found = []
    for outcome in outcomes:
        if not outcome.per_subgroup:
            found.append(outcome)
            continue
        names = Names()
        for subgroup in dict.fromkeys(i.texts.get("subgroup", "") for i in outcome.items):
            items = tuple(i for i in outcome.items if i.texts.get("subgroup", "") == subgroup)
            found.append(
                replace(
                    outcome,
                    id=f"{outcome.id[:40]}-{names.of(subgroup)}"[:63],
                    title=f"{outcome.title}: {subgroup}",
                    items=items,
                    per_subgroup=False,
                )
            )
    return found


def _study_analysis(outcome: Outcome, remarks: list[Remark]) -> dict[str, Any]:
    settings = dict(outcome.settings)
    if settings.pop("rows", None):
        remarks.append(
            Remark("note", outcome.id, outcome.title, "all its rows are taken from study files")
        )
    groups = _groups(outcome)
    found: dict[str, Any] = {
        "title": settings.pop("title", outcome.title),
        "outcome": outcome.id,
    }
    if INPUTS[outcome.measure].design == "one_group":
        found["arms"] = {"treatment": slug(groups[0])}
    elif outcome.measure == "HR":
        found["contrast"] = {"numerator": groups[0], "denominator": groups[1]}
    else:
        sides = [{"treatment": slug(label), "label": label} for label in groups]
        if sides[0]["treatment"] == sides[1]["treatment"]:
            sides[1]["treatment"] += "-2"
        found["contrast"] = dict(zip(("numerator", "denominator"), sides, strict=True))
    return {**found, "measure": outcome.measure, **settings}


def _groups(outcome: Outcome) -> tuple[str, ...]:
    one_group = INPUTS[outcome.measure].design == "one_group"
    defaults = ("All",) if one_group else ("Group 1", "Group 2")
    return outcome.groups if len(outcome.groups) == len(defaults) else defaults


def _add(study: _Study, outcome: Outcome, item: Item, remarks: list[Remark]) -> bool:
    """Add a result; a remark where a study file cannot hold it."""

    def lost(reason: str) -> bool:
        remarks.append(Remark("lost", item.place, item.study, reason))
        return False

    kinds = INPUTS[outcome.measure].kinds & {"count", "mean", "hazard_ratio"}
    if not kinds:
        return lost(
            f"study files hold no numbers for {outcome.measure}: counts, means and hazard "
            "ratios as printed; use --to table"
        )
    texts, labels = item.texts, _groups(outcome)
    groups = (0,) if len(labels) == 1 else (1, 2)
    subgroup = texts.get("subgroup", "")
    result: dict[str, Any] = {"outcome": outcome.id}
    values: dict[str, dict[str, Any]] = {}
    new_arms: dict[str, dict[str, Any]] = {}
    kind = next(iter(kinds))
    for group, label in zip(groups, labels, strict=True):
        value = _counted(texts, group) if kind != "mean" else _averaged(texts, group)
        n = value.get("n")
        if n is None:
            return lost("the size of a group is not given, which a study file needs")
        treatment = slug(label)
        if group == 2 and treatment == slug(labels[0]):
            treatment += "-2"
        arm = slug(f"{treatment} {subgroup}", 60)
        whole = f"{label}, {subgroup}" if subgroup else label
        role = "single" if group == 0 else ("experimental", "comparator")[group - 1]
        new_arms[arm] = {"label": whole, "n": n, "treatment": treatment, "role": role}
        values[arm] = value
    if kind == "hazard_ratio":
        if not texts.get("estimate"):
            return lost("study files hold a hazard ratio as printed, not its logarithm")
        result |= {
            "kind": kind,
            "contrast": dict(zip(("numerator", "denominator"), labels, strict=True)),
            "estimate": texts["estimate"],
        }
        if texts.get("ci_low") and texts.get("ci_high"):
            result["ci"] = [texts["ci_low"], texts["ci_high"]]
        for key in ("ci_level", "p"):
            result |= {key: texts[key]} if texts.get(key) else {}
    else:
        if kind == "mean" and not all("mean" in value for value in values.values()):
            kind = "median"
        needed = {"count": "events", "mean": "mean", "median": "median"}[kind]
        if not any(needed in value or "printed" in value for value in values.values()):
            return lost("no numbers")
        result |= {"kind": kind, "arms": values}
        result |= {"unit": outcome.unit} if outcome.unit and kind != "count" else {}
    result |= {"subgroup": subgroup} if subgroup else {}
    result |= {"report": "imported", "quote": item.quote}
    result |= {"note": texts["note"]} if texts.get("note") else {}
    names = [entry.get("id", entry["outcome"]) for entry in study.results]
    if outcome.id in names:
        count = 2
        while f"{outcome.id}-{count}" in names:
            count += 1
        result = {"id": f"{outcome.id}-{count}", **result}
    for arm, entry in new_arms.items():
        known = study.arms.setdefault(arm, entry)
        known["n"] = max(known["n"], entry["n"])
    study.results.append(result)
    study.places.append(item.place)
    study.year = study.year or texts.get("year", "")
    for key in ("title", "doi", "pmid"):
        if texts.get(key):
            study.report.setdefault(key, texts[key])
    return True


def _whole(text: str | None) -> int | None:
    match = re.fullmatch(r"(\d{1,9})(?:\.0*)?", (text or "").strip(), re.ASCII)
    return int(match[1]) if match else None


def _counted(texts: Mapping[str, str], group: int) -> dict[str, Any]:
    """Events and size of a group."""
    names = {0: ("xi", "", "ni"), 1: ("ai", "bi", "n1i"), 2: ("ci", "di", "n2i")}[group]
    events, others, n = (_whole(texts.get(name)) for name in names)
    value: dict[str, Any] = {}
    if events is not None:
        value["events"] = events
    if n is None and events is not None and others is not None:
        n = events + others
        value["derived"] = {"from": f"{names[0]} and {names[1]}", "method": "sum"}
    if n is not None:
        value["n"] = n
    percent = texts.get(f"percent{group or ''}")
    if percent:
        value["printed"] = percent if "%" in percent else f"{percent}%"
    return value


def _averaged(texts: Mapping[str, str], group: int) -> dict[str, Any]:
    """Mean or median of a group with what describes its spread, as printed."""

    def text(name: str) -> str:
        return texts.get(named(name, group), "")

    value: dict[str, Any] = {}
    n = _whole(text("ni"))
    if n is not None:
        value["n"] = n
    for ours, theirs in (("mean", "mi"), ("sd", "sdi"), ("se", "msei"), ("median", "medi")):
        if text(theirs):
            value[ours] = text(theirs)
    for ours, ends in (
        ("ci", ("mci_lowi", "mci_highi")),
        ("iqr", ("q1i", "q3i")),
        ("range", ("mini", "maxi")),
    ):
        if all(text(end) for end in ends):
            value[ours] = [text(end) for end in ends]
    return value


def _study_text(study: _Study, imported: Imported, design: str, remarks: list[Remark]) -> str:
    """The file; results that the schema refuses are left out, with a remark."""
    report: dict[str, Any] = {"id": "imported", "kind": "secondary_source"}
    report |= {key: study.report[key] for key in ("title", "doi") if study.report.get(key)}
    if re.fullmatch(r"\d{1,9}", study.report.get("pmid", ""), re.ASCII):
        report["pmid"] = study.report["pmid"]
    if re.fullmatch(r"(1[89]|20|21)\d\d", study.year, re.ASCII):
        report["year"] = int(study.year)
    elif study.year:
        remarks.append(Remark("lost", study.places[0], study.year, "no year of four digits"))
    report |= {"seen": "secondary", "primary": True}
    report["note"] = NOT_SEEN.format(source=imported.source)
    tree: dict[str, Any] = {
        "study": study.name,
        "label": study.label,
        "design": design,
        "reports": [report],
        "arms": [{"id": arm, **entry} for arm, entry in study.arms.items()],
        "results": study.results,
    }
    bias = _bias(study, imported)
    if bias:
        tree["risk_of_bias"] = bias
    tree["note"] = (
        "Every number is from the imported file and was not compared with a report. The size "
        "of a group is the largest that an imported row evaluates."
    )
    head = (
        f"# {_line(study.label)}: made by `evisynth import` from {_line(imported.source)}.\n"
        "# Nobody has compared it with the reports. Quotes are rows of that file, verbatim.\n"
    )
    kept = _valid(tree, study, remarks)
    return head + _yaml(kept) if kept else ""


def _bias(study: _Study, imported: Imported) -> dict[str, Any]:
    domains = {j.domain: j.judgement for j in imported.judgements if j.study == study.study}
    if not domains:
        return {}
    outcomes = dict.fromkeys(result["outcome"] for result in study.results)
    return {
        "tool": "as in the imported file",
        "per_outcome": {outcome: dict(domains) for outcome in outcomes},
    }


def _valid(tree: dict[str, Any], study: _Study, remarks: list[Remark]) -> dict[str, Any]:
    """The tree without the results that the schema refuses; empty if it is wrong elsewhere."""
    document = Document(f"{study.name}.yaml", _as_text(_clean(tree)), {})
    _, problems = validate(StudyFile, document)
    if not problems:
        return tree
    wrong: set[int] = set()
    for problem in problems:
        match = re.match(r"results\[(\d+)\]", problem.place)
        number = int(match[1]) - 1 if match else None
        if number is not None:
            wrong.add(number)
        place = study.places[number] if number is not None else study.places[0]
        reason = f"{problem.place}: expected {problem.expected}"
        remarks.append(Remark("lost", place, problem.found, reason))
    results = [r for i, r in enumerate(tree["results"]) if i not in wrong]
    if not wrong or not results:
        return {}
    places = [p for i, p in enumerate(study.places) if i not in wrong]
    return _valid(tree | {"results": results}, replace(study, places=places), remarks)


def _as_text(tree: Any) -> Any:
    """The tree as the reader of YAML gives it: every scalar is text."""
    if isinstance(tree, Mapping):
        return {str(key): _as_text(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_as_text(value) for value in tree]
    if isinstance(tree, bool):
        return "true" if tree else "false"
    return None if tree is None else str(tree)


# ---------------------------------------------------------------- the check of what was made


def _check(contents: Mapping[str, str]) -> list[Remark]:
    """What the review says of the files: they are read as a run would read them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in contents.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        config = folder / CONFIG
        if "analyses" in read_yaml(config, CONFIG).tree:
            try:
                load_project(config)
            except InputError as error:
                return [
                    Remark(
                        "note",
                        f"{problem.file.removeprefix(f'{folder}/')}, {problem.place}",
                        problem.found,
                        f"a run will ask for: {problem.expected}; {problem.action}".replace(
                            f"{folder}/", ""
                        ),
                    )
                    for problem in error.problems
                ]
    return []
