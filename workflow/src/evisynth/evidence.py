"""The evidence of a review: all study files of a folder and the outcomes, checked together."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evisynth.errors import InputError, Problem, echo
from evisynth.links import leads_out
from evisynth.studyfile import Arm, Outcome, OutcomesFile, Result, StudyFile
from evisynth.validation import choices, nearest, validate
from evisynth.yamltext import Document, Keys, read_yaml, show


@dataclass(frozen=True, slots=True)
class Study:
    """A study file, the name to show for it, and the line where each entry begins."""

    file: str
    content: StudyFile
    lines: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Id of the study."""
        return self.content.study

    @property
    def label(self) -> str:
        """Name to print."""
        return self.content.label or self.content.study

    def line(self, place: str) -> int | None:
        """Line of the entry that `place` (results.ID.arms.ID, reports.ID, ...) is in."""
        while place and place not in self.lines:
            place = place.rpartition(".")[0]
        return self.lines.get(place)

    def arm(self, arm_id: str) -> Arm:
        """The arm with this id; the file was checked, so it is there."""
        return next(arm for arm in self.content.arms if arm.id == arm_id)

    def parts(self, arm_id: str) -> frozenset[str]:
        """The arm and all arms that it is made of, at any depth."""
        found: set[str] = set()
        todo = [arm_id]
        while todo:
            current = todo.pop()
            if current not in found:
                found.add(current)
                todo += self.arm(current).made_of
        return frozenset(found)

    def result(self, result_id: str) -> Result | None:
        """The result with this id, if any."""
        return next((r for r in self.content.results if (r.id or r.outcome) == result_id), None)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All studies, sorted by id, and the outcomes by id.

    Attributes
    ----------
    ids : ids of the studies, those of mistaken files too; None where a file gives none.
    """

    studies: tuple[Study, ...]
    outcomes: dict[str, Outcome]
    ids: frozenset[str] | None = None


def study_files(folder: Path) -> list[Path]:
    """The study files of a folder, by name; hidden files are none."""
    return sorted(p for p in folder.glob("*.yaml") if not p.name.startswith("."))


def read_evidence(folder: Path, outcomes: Path, base: Path) -> tuple[Evidence, list[Problem]]:
    """Read all study files of `folder` and the outcomes; names are shown relative to `base`.

    Returns what could be read and every problem found; the evidence is complete only if there
    are none.
    """
    problems: list[Problem] = leads_out(outcomes, base, _name(outcomes, base))
    known = {} if problems else _read_outcomes(outcomes, _name(outcomes, base), problems)
    studies: dict[str, Study] = {}  # by their ids without case
    documents: list[Document | None] = []
    if not folder.is_dir():
        problems.append(
            Problem(
                _name(folder, base),
                "the folder of study files",
                "a file" if folder.is_file() else "no such folder",
                "a folder with one YAML file per study",
                "create it or correct evidence.studies in the configuration",
            )
        )
        return Evidence((), known), problems
    if away := leads_out(folder, base, _name(folder, base)):
        return Evidence((), known), problems + away
    problems += _file_names(folder, base)
    for path in study_files(folder):
        name = _name(path, base)
        # of a folder that is outside `base` as written, files must not leave that folder
        away = leads_out(path, base, name) or leads_out(path, _home(folder, base), name)
        if away:
            problems += away
            documents.append(None)
            continue
        document, study = _read_study(path, name, known, problems)
        documents.append(document)
        if study is None or document is None:
            continue
        twin = studies.setdefault(study.id.casefold(), study)
        if twin is not study:
            problems.append(
                Problem(
                    name,
                    "study",
                    f"the id {echo(study.id)}, which {twin.file} has too",
                    "one file per study",
                    "rename one, or merge the two files if they are reports of one study",
                    document.line(("study",)),
                )
            )
    ids = _ids(documents)
    if ids is not None:
        problems += _overlaps_nowhere([d for d in documents if d], ids)
    by_id = sorted(studies.values(), key=lambda study: study.id)
    return Evidence(tuple(by_id), known, ids), problems


def read_studies(files: Iterable[tuple[Path, str]]) -> tuple[Evidence, list[Problem]]:
    """Read study files that belong to no review; outcomes and overlaps are taken as given.

    Parameters
    ----------
    files : path of each, and the name to show for it.
    """
    problems: list[Problem] = []
    studies: dict[str, Study] = {}
    for path, name in files:
        _, study = _read_study(path, name, {}, problems)
        if study is None:
            continue
        twin = studies.setdefault(study.id, study)
        if twin is not study:
            problems.append(
                Problem(
                    name,
                    "study",
                    f"the id {echo(study.id)}, which {twin.file} has too",
                    "one file per study",
                    "rename one, or audit them one after the other",
                    study.line("study"),
                )
            )
    return Evidence(tuple(studies[key] for key in sorted(studies)), {}), problems


def _home(folder: Path, base: Path) -> Path:
    """Folder that study files must not lead out of."""
    real = Path(os.path.realpath(folder))
    return base if real.is_relative_to(os.path.realpath(base)) else folder


def _ids(documents: list[Document | None]) -> frozenset[str] | None:
    """Ids of all studies; None where one cannot be told."""
    ids = [document and document.tree.get("study") for document in documents]
    texts = [name for name in ids if isinstance(name, str)]
    return frozenset(texts) if len(texts) == len(ids) else None


def _file_names(folder: Path, base: Path) -> list[Problem]:
    """Files that would be left out, or could not be named in a result."""
    problems = []
    for path in sorted(folder.rglob("*")):
        hidden = any(step.startswith(".") for step in path.relative_to(folder).parts)
        if hidden or path.suffix.casefold() not in (".yaml", ".yml"):
            continue
        name = _name(path, base)
        if path.suffix != ".yaml":
            problems.append(
                Problem(
                    name,
                    "the file name",
                    echo(path.name),
                    "a name that ends in .yaml",
                    "rename it; it would be left out otherwise",
                )
            )
        elif path.parent != folder:
            problems.append(
                Problem(
                    name,
                    "the file",
                    "a study file in a folder of its own",
                    f"study files in {_name(folder, base)} itself",
                    "move it there; it would be left out otherwise",
                )
            )
        elif not path.name.isprintable():
            problems.append(
                Problem(
                    name,
                    "the file name",
                    "characters that cannot be printed",
                    "a name of letters, digits, `.`, `_` and `-`",
                    "rename it",
                )
            )
    if not study_files(folder):
        problems.append(
            Problem(
                _name(folder, base),
                "the folder of study files",
                "no study file",
                "one .yaml file per study",
                "add one or correct evidence.studies in the configuration",
            )
        )
    return problems


def _name(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


def _read_outcomes(path: Path, name: str, problems: list[Problem]) -> dict[str, Outcome]:
    try:
        content, found = validate(OutcomesFile, read_yaml(path, name))
    except InputError as error:
        problems += error.problems
        return {}
    problems += found
    return content.outcomes if content else {}


def _read_study(
    path: Path, name: str, outcomes: dict[str, Outcome], problems: list[Problem]
) -> tuple[Document | None, Study | None]:
    try:
        document = read_yaml(path, name)
    except InputError as error:
        problems += error.problems
        return None, None
    content, found = validate(StudyFile, document)
    problems += found
    places = {problem.place for problem in found}
    problems += [p for p in _cross_references(document, outcomes) if p.place not in places]
    problems += _made_of(document)
    if content is None:
        return document, None
    return document, Study(name, content, _lines(document, content))


def _lines(document: Document, content: StudyFile) -> dict[str, int | None]:
    """Line of every entry by its place: results.ID, reports.ID, arms.ID, overlaps.ID."""
    names = {
        "results": [result.id or result.outcome for result in content.results],
        "reports": [report.id for report in content.reports],
        "arms": [arm.id for arm in content.arms],
        "overlaps": [overlap.with_ for overlap in content.overlaps],
        "accepted_flags": [str(i) for i in range(1, len(content.accepted_flags) + 1)],
    }
    return {
        f"{key}.{name}": document.line((key, i))
        for key, entries in names.items()
        for i, name in enumerate(entries)
    }


def _overlaps_nowhere(documents: list[Document], known: frozenset[str]) -> list[Problem]:
    """Overlaps with a study that has no file: the warning about them would be lost."""
    problems = []
    for document in documents:
        words = known - {str(document.tree.get("study"))}
        for keys, overlap in _items(document.tree, "overlaps"):
            other = overlap.get("with")
            own = other == document.tree.get("study")
            if isinstance(other, str) and (own or other not in known):
                problems.append(
                    Problem(
                        document.file,
                        show((*keys, "with")),
                        "the study itself" if own else f"the study {echo(other)}",
                        f"another study: {choices(words, 40) or 'there is none'}",
                        f"correct it, add that study's file, or move it to `note`"
                        f"{nearest(other, words)}",
                        document.line((*keys, "with")),
                    )
                )
    return problems


def _items(tree: dict[str, Any], key: str) -> Iterator[tuple[Keys, dict[str, Any]]]:
    """Entries of a list that are mappings; anything else was reported by the schema."""
    entries = tree.get(key)
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield (key, i), entry


def _cross_references(document: Document, outcomes: dict[str, Outcome]) -> list[Problem]:
    """Ids within a file that are double or point nowhere.

    Looks at the raw document, so that these are reported together with the schema's findings.
    """
    tree, problems = document.tree, []

    def wrong(keys: Keys, found: str, expected: str, action: str) -> None:
        problems.append(
            Problem(document.file, show(keys), found, expected, action, document.line(keys))
        )

    def once(key: str, default: str = "id") -> set[str]:
        seen: set[str] = set()
        for keys, entry in _items(tree, key):
            name = entry.get("id")
            place = (*keys, "id")
            advice = "rename it"
            if name is None and default != "id":
                name = entry.get(default)
                place, advice = keys, "give it an `id` of its own"
            if isinstance(name, str) and name in seen:
                wrong(place, f"{echo(name)} a second time", "every id once", advice)
            if isinstance(name, str):
                seen.add(name)
        return seen

    def known(keys: Keys, word: object, words: set[str], what: str, where: str) -> None:
        if isinstance(word, str) and words and word not in words:
            wrong(
                keys,
                f"the {what} {echo(word)}",
                f"one of: {choices(words)}",
                f"correct it or define it {where}{nearest(word, words)}",
            )

    def wrong_numbers(keys: Keys, value: dict[str, Any], size: int | None, unit: str) -> None:
        """Numbers that the arm itself is too small for."""
        if size is None or str(value.get("unit") or unit) != unit:
            return
        for key in ("n", "events"):
            count = _size(value, key)
            if count is not None and count > size and (key == "n" or value.get("n") is None):
                wrong(
                    (*keys, key),
                    f"{key} ({count}) is more than the {size} {unit} of the arm",
                    "no more than the arm has",
                    "correct it, or give the `unit` if it counts something else",
                )

    reports = once("reports")
    before = len(problems)
    arms = once("arms")
    twice = len(problems) > before
    sizes = {
        str(arm.get("id")): (_size(arm), str(arm.get("unit") or "patients"))
        for _, arm in _items(tree, "arms")
    }
    once("results", "outcome")
    for keys, arm in _items(tree, "arms"):
        made_of = arm.get("made_of")
        for i, part in enumerate(made_of if isinstance(made_of, list) else []):
            known((*keys, "made_of", i), part, arms, "arm", "under `arms`")
    for keys, report in _items(tree, "reports"):
        for key in ("duplicate_of", "superseded_by"):
            known((*keys, key), report.get(key), reports, "report", "under `reports`")
    for keys, result in _items(tree, "results"):
        known((*keys, "report"), result.get("report"), reports, "report", "under `reports`")
        if outcomes:
            known(
                (*keys, "outcome"),
                result.get("outcome"),
                set(outcomes),
                "outcome",
                "in the file of outcomes",
            )
        values = result.get("arms")
        for arm_id, value in values.items() if isinstance(values, dict) else ():
            known((*keys, "arms", arm_id), arm_id, arms, "arm", "under `arms`")
            if arm_id in sizes and isinstance(value, dict) and not twice:
                wrong_numbers((*keys, "arms", arm_id), value, *sizes[arm_id])
        also = result.get("also")
        for i, entry in enumerate(also if isinstance(also, list) else []):
            if isinstance(entry, dict):
                known(
                    (*keys, "also", i, "report"),
                    entry.get("report"),
                    reports,
                    "report",
                    "under `reports`",
                )
    names = {str(r.get("id") or r.get("outcome")) for _, r in _items(tree, "results")}

    def known_result(keys: Keys, word: object) -> None:
        known(keys, word, names, "result", "under `results`")

    def each(keys: Keys, words: object) -> Iterator[tuple[Keys, object]]:
        for i, word in enumerate(words if isinstance(words, list) else []):
            yield (*keys, i), word

    for keys, report in _items(tree, "reports"):
        for inner, claim in _items(report, "claims"):
            known_result((*keys, *inner, "about"), claim.get("about"))
    for keys, result in _items(tree, "results"):
        limits = result.get("limits")
        if isinstance(limits, dict):
            known_result((*keys, "limits", "of"), limits.get("of"))
    for keys, split in _items(tree, "splits"):
        known((*keys, "of"), split.get("of"), arms, "arm", "under `arms`")
        for place, word in each((*keys, "into"), split.get("into")):
            known(place, word, arms, "arm", "under `arms`")
    for keys, entry in _items(tree, "sums"):
        known_result((*keys, "total"), entry.get("total"))
        known((*keys, "arm"), entry.get("arm"), arms, "arm", "under `arms`")
        for place, word in each((*keys, "parts"), entry.get("parts")):
            known_result(place, word)
    for keys, move in _items(tree, "events_after_randomisation"):
        known((*keys, "from"), move.get("from"), arms, "arm", "under `arms`")
        known((*keys, "report"), move.get("report"), reports, "report", "under `reports`")
    for keys, overlap in _items(tree, "overlaps"):
        known((*keys, "report"), overlap.get("report"), reports, "report", "under `reports`")
    return problems


def _made_of(document: Document) -> list[Problem]:
    """Arms made of arms: no circles, no patient twice, no more parts than the whole has."""
    problems: list[Problem] = []
    entries = {str(arm.get("id")): (keys, arm) for keys, arm in _items(document.tree, "arms")}
    parts = {
        name: [p for p in made_of if isinstance(p, str) and p in entries]
        for name, (_, arm) in entries.items()
        if isinstance(made_of := arm.get("made_of"), list)
    }

    def within(name: str) -> set[str]:
        found: set[str] = set()
        todo = list(parts.get(name, ()))
        while todo:
            part = todo.pop()
            if part not in found:
                found.add(part)
                todo += parts.get(part, ())
        return found

    def wrong(name: str, found: str, expected: str, action: str) -> None:
        keys = (*entries[name][0], "made_of")
        problems.append(
            Problem(document.file, show(keys), found, expected, action, document.line(keys))
        )

    for name, made_of in parts.items():
        if name in within(name):
            wrong(
                name,
                f"the arm {echo(name)} is made of itself"
                + ("" if name in made_of else f", through {choices(within(name) - {name})}"),
                "arms of fewer patients",
                "remove it from one of the lists",
            )
            continue
        owners: dict[str, str] = {}
        for one in made_of:
            shared = {owners[arm] for arm in {one} | within(one) if arm in owners}
            for two in sorted(shared):
                wrong(
                    name,
                    f"the arms {echo(two)} and {echo(one)}, which have patients in common",
                    "every patient once",
                    "remove one of the two",
                )
            owners |= dict.fromkeys({one} | within(one), one)
        sizes = [_size(entries[part][1]) for part in made_of]
        whole = _size(entries[name][1])
        units = {str(entries[arm][1].get("unit") or "patients") for arm in [name, *made_of]}
        if len(units) == 1 and whole is not None and None not in sizes:
            total = sum(size for size in sizes if size is not None)
            if total > whole:
                wrong(
                    name,
                    f"{total} {units.pop()} in {', '.join(made_of)}",
                    f"at most the {whole} of the arm {echo(name)}",
                    "correct n, or remove an arm",
                )
    return problems


def _size(entry: dict[str, Any], key: str = "n") -> int | None:
    text = entry.get(key)
    return int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,9}", text) else None
