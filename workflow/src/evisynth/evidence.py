"""The evidence of a review: all study files of a folder and the outcomes, checked together."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evisynth.errors import InputError, Problem, echo
from evisynth.studyfile import Arm, Outcome, OutcomesFile, Result, StudyFile
from evisynth.validation import choices, nearest, validate
from evisynth.yamltext import Document, Keys, read_yaml, show


@dataclass(frozen=True, slots=True)
class Study:
    """A study file and the name to show for it."""

    file: str
    content: StudyFile

    @property
    def id(self) -> str:
        """Id of the study."""
        return self.content.study

    @property
    def label(self) -> str:
        """Name to print."""
        return self.content.label or self.content.study

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
    """All studies, sorted by id, and the outcomes by id."""

    studies: tuple[Study, ...]
    outcomes: dict[str, Outcome]


def study_files(folder: Path) -> list[Path]:
    """The study files of a folder, by name; hidden files are none."""
    return sorted(p for p in folder.glob("*.yaml") if not p.name.startswith("."))


def read_evidence(folder: Path, outcomes: Path, base: Path) -> tuple[Evidence, list[Problem]]:
    """Read all study files of `folder` and the outcomes; names are shown relative to `base`.

    Returns what could be read and every problem found; the evidence is complete only if there
    are none.
    """
    problems: list[Problem] = []
    known = _read_outcomes(outcomes, _name(outcomes, base), problems)
    studies: dict[str, Study] = {}
    if not folder.is_dir():
        problems.append(
            Problem(
                _name(folder, base),
                "the folder of study files",
                "no such folder",
                "a folder with one YAML file per study",
                "create it or correct evidence.studies in the configuration",
            )
        )
        return Evidence((), known), problems
    for stray in sorted(folder.glob("*.yml")):
        problems.append(
            Problem(
                _name(stray, base),
                "the file name",
                echo(stray.name),
                "a name that ends in .yaml",
                "rename it; it would be left out otherwise",
            )
        )
    for path in study_files(folder):
        name = _name(path, base)
        study = _read_study(path, name, known, problems)
        if study is None:
            continue
        if study.id in studies:
            problems.append(
                Problem(
                    name,
                    "study",
                    f"the id {echo(study.id)}, which {studies[study.id].file} has too",
                    "one file per study",
                    "rename one, or merge the two files if they are reports of one study",
                )
            )
        else:
            studies[study.id] = study
    return Evidence(tuple(studies[key] for key in sorted(studies)), known), problems


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
) -> Study | None:
    try:
        document = read_yaml(path, name)
    except InputError as error:
        problems += error.problems
        return None
    content, found = validate(StudyFile, document)
    problems += found
    problems += _cross_references(document, outcomes)
    return Study(name, content) if content else None


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

    def once(key: str) -> set[str]:
        seen: set[str] = set()
        for keys, entry in _items(tree, key):
            name = entry.get("id")
            if key == "results" and name is None:
                continue
            if isinstance(name, str) and name in seen:
                wrong(
                    (*keys, "id"), f"{echo(name)} a second time", "every id once", "rename it"
                )
            if isinstance(name, str):
                seen.add(name)
        return seen

    def known(keys: Keys, word: object, words: set[str], what: str, where: str) -> None:
        if isinstance(word, str) and word not in words:
            wrong(
                keys,
                f"the {what} {echo(word)}",
                f"one of: {choices(words) or 'none is defined'}",
                f"correct it or define it {where}{nearest(word, words)}",
            )

    reports, arms = once("reports"), once("arms")
    once("results")
    for keys, arm in _items(tree, "arms"):
        made_of = arm.get("made_of")
        for i, part in enumerate(made_of if isinstance(made_of, list) else []):
            known((*keys, "made_of", i), part, arms, "arm", "under `arms`")
            if part == arm.get("id"):
                wrong((*keys, "made_of", i), echo(part), "other arms", "remove it")
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
        for arm_id in values if isinstance(values, dict) else ():
            known((*keys, "arms", arm_id), arm_id, arms, "arm", "under `arms`")
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
    return problems
