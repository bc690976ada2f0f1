"""A review on disk: its configuration, its evidence, and what each analysis takes from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evisynth.config import RESERVED, Analysis, Config, Defaults, EvidenceFiles, Level, Model
from evisynth.errors import InputError, Problem, echo
from evisynth.evidence import Evidence, read_evidence, study_files
from evisynth.inputs import INPUTS
from evisynth.rows import RawRow
from evisynth.selection import digest, select
from evisynth.validation import validate
from evisynth.yamltext import read_yaml


@dataclass(frozen=True, slots=True)
class Project:
    """A review whose input has been read and checked as a whole.

    Attributes
    ----------
    file : the configuration file.
    rows : rows of every analysis, by its id.
    """

    file: Path
    config: Config
    evidence: Evidence | None
    rows: Mapping[str, tuple[RawRow, ...]]

    @property
    def folder(self) -> Path:
        """Folder that the paths of the configuration are relative to."""
        return self.file.parent

    @property
    def studies_folder(self) -> Path:
        """Folder of the study files."""
        return self.folder / self._files.studies

    @property
    def outcomes_file(self) -> Path:
        """File of the outcomes."""
        return self.folder / self._files.outcomes

    @property
    def _files(self) -> EvidenceFiles:
        if self.config.evidence is None:
            raise ValueError("this review has tables only")
        return self.config.evidence

    def study_files(self) -> list[Path]:
        """All study files."""
        return study_files(self.studies_folder)

    def source_paths(self, name: str) -> list[str]:
        """The table or the folder of study files, or both, that an analysis is selected from."""
        analysis = self.analysis(name)
        paths = [self.folder / analysis.table] if analysis.table else []
        if self.config.evidence and (not paths or analysis.show):
            paths.append(self.studies_folder)
        return [path.as_posix() for path in paths]

    def analysis(self, name: str) -> Analysis:
        """The analysis with this id."""
        return self.config.analyses[name]

    def effects_settings(self, name: str) -> dict[str, Any]:
        """What the effect sizes of an analysis depend on besides its rows."""
        analysis = self.analysis(name)
        return {
            "measure": analysis.measure,
            "zero_cells": analysis.zero_cells.model_dump(),
            "level": level(analysis, self.config.defaults),
        }

    def effects_digest(self, name: str) -> str:
        """Changes exactly when the effect sizes of an analysis may."""
        return digest(self.rows[name], self.effects_settings(name))

    def pooling_settings(self, name: str) -> dict[str, Any]:
        """What pooling an analysis depends on besides its effect sizes."""
        analysis = self.analysis(name)
        return {
            "analysis": name,
            **model(analysis, self.config.defaults).model_dump(),
            "level": level(analysis, self.config.defaults),
            "pool": analysis.pool,
            "why_not": analysis.why_not or "",
            "notes": list(analysis.notes) + self._overlap_notes(name),
        }

    def engines_settings(self, name: str) -> dict[str, Any]:
        """What the comparison with other software depends on besides the effect sizes."""
        settings = self.pooling_settings(name)
        return {
            key: value for key, value in settings.items() if key not in ("why_not", "notes")
        }

    def _overlap_notes(self, name: str) -> list[str]:
        """Declared overlaps between studies that are pooled together."""
        if self.evidence is None or self.analysis(name).table:
            return []
        pooled = {row.study for row in self.rows[name] if row.included}
        notes = []
        for study in self.evidence.studies:
            for overlap in study.content.overlaps:
                if {study.id, overlap.with_} <= pooled and overlap.certainty != "excluded":
                    most = f"at most {overlap.at_most} " if overlap.at_most is not None else ""
                    notes.append(
                        f"{study.id} and {overlap.with_} share {most}{overlap.unit} "
                        f"({overlap.certainty}); they are counted twice here"
                    )
        return sorted(set(notes))

    def drawing_settings(self, name: str) -> dict[str, Any]:
        """What the drawing of an analysis depends on besides effects and fit."""
        analysis = self.analysis(name)
        outcomes = self.evidence.outcomes if self.evidence else {}
        outcome = outcomes.get(analysis.outcome or "")
        above, below = _groups(analysis)
        return {
            "title": analysis.title,
            "outcome": outcome.label if outcome else "",
            "higher_is": outcome.higher_is if outcome else "neither",
            "numerator": above,
            "denominator": below,
            "forest": analysis.forest.model_dump(),
        }

    def summary_settings(self) -> dict[str, Any]:
        """What the summary depends on besides the fits."""
        return {
            name: {"title": analysis.title, "outcome": analysis.outcome or ""}
            for name, analysis in self.config.analyses.items()
        }


def model(analysis: Analysis, defaults: Defaults) -> Model:
    """Model of an analysis: its own keys over those of the defaults."""
    if analysis.model is None:
        return defaults.model
    own = {key: getattr(analysis.model, key) for key in analysis.model.model_fields_set}
    return defaults.model.model_copy(update=own)


def level(analysis: Analysis, defaults: Defaults) -> Level:
    """Confidence level of an analysis."""
    return defaults.level if analysis.level is None else analysis.level


def _groups(analysis: Analysis) -> tuple[str, str]:
    """Names of the two groups of a contrast."""
    if analysis.contrast is None:
        return "", ""
    sides = (analysis.contrast.numerator, analysis.contrast.denominator)
    above, below = (
        side if isinstance(side, str) else side.label or " / ".join(side.treatment)
        for side in sides
    )
    return above, below


def load_project(file: Path) -> Project:
    """Read and check a whole review.

    Raises
    ------
    InputError
        With every problem of the configuration, the study files and the tables.
    """
    document = read_yaml(file, str(file))
    config, problems = validate(Config, document)
    if config is None:
        evidence_tree = document.tree.get("evidence")
        if isinstance(evidence_tree, dict):
            folder, outcomes = evidence_tree.get("studies"), evidence_tree.get("outcomes")
            if isinstance(folder, str) and isinstance(outcomes, str):
                problems += read_evidence(
                    file.parent / folder, file.parent / outcomes, file.parent
                )[1]
        raise InputError(problems)
    problems += _semantic_problems(config, str(file))
    evidence: Evidence | None = None
    if config.evidence:
        evidence, found = read_evidence(
            file.parent / config.evidence.studies,
            file.parent / config.evidence.outcomes,
            file.parent,
        )
        problems += found
    rows: dict[str, tuple[RawRow, ...]] = {}
    evidence_is_whole = not problems
    for name, analysis in config.analyses.items():
        if evidence_is_whole or analysis.table:
            if not evidence_is_whole:  # what is shown beside could not be found
                analysis = analysis.model_copy(update={"show": []})
            rows[name], found = select(name, analysis, evidence, file.parent, str(file))
            problems += [p for p in found if p not in problems]
    if problems:
        raise InputError(_with_lines(problems, document))
    return Project(file, config, evidence, rows)


def _with_lines(problems: list[Problem], document: Any) -> list[Problem]:
    """Problems of the configuration with the line that their place has in it."""
    placed = []
    for problem in problems:
        if problem.file == document.file and problem.line is None:
            line = document.line(tuple(problem.place.split(".")))
            problem = Problem(
                problem.file,
                problem.place,
                problem.found,
                problem.expected,
                problem.action,
                line,
            )
        placed.append(problem)
    return placed


def _semantic_problems(config: Config, file: str) -> list[Problem]:
    """Keys that are each right and contradict each other."""
    problems = []
    for name, analysis in config.analyses.items():

        def wrong(place: str, found: str, expected: str, action: str, name: str = name) -> None:
            problems.append(Problem(file, f"analyses.{name}.{place}", found, expected, action))

        if name in RESERVED:
            wrong(
                "", echo(name), f"a name other than {', '.join(sorted(RESERVED))}", "rename it"
            )
        if not analysis.pool and not analysis.why_not:
            wrong("pool", "`pool: no` without a reason", "`why_not`", "say why")
        design = INPUTS[analysis.measure].design
        if not analysis.table:
            if design == "one_group" and analysis.arms is None:
                wrong("arms", "nothing", "`arms: {treatment: ...}`", "say which arms")
            if design == "two_groups" and analysis.contrast is None:
                wrong("contrast", "nothing", "`contrast: {numerator, denominator}`", "add it")
            for key in ("rows", "columns", "moderators"):
                if getattr(analysis, key):
                    wrong(
                        key, "given without `table`", "`table: FILE.csv`", "add it or remove it"
                    )
        elif not analysis.columns:
            wrong("columns", "nothing", "field: COLUMN for each field", "map the columns")
        low_high = analysis.forest.axis
        if low_high and low_high[0] >= low_high[1]:
            wrong("forest.axis", f"{low_high}", "[low, high]", "give the lower end first")
    return problems
