"""A review on disk: its configuration, its evidence, and what each analysis takes from it."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evisynth import presets
from evisynth.audit.material import AnalysisMaterial, Review, StudyMaterial, TableMaterial
from evisynth.audit.records import AuditReport, Decision
from evisynth.audit.registry import RULES
from evisynth.audit.run import Concerned, audit, blocked
from evisynth.collector import paused_collector
from evisynth.config import (
    RESERVED,
    Analysis,
    ArmContrast,
    Config,
    Defaults,
    Dependence,
    EvidenceFiles,
    Level,
    Model,
    ZeroCells,
)
from evisynth.conversions import check_chosen
from evisynth.errors import InputError, Problem, echo
from evisynth.evidence import Evidence, Study, read_evidence, study_files
from evisynth.inputs import INPUTS, check_options
from evisynth.menus import SHARED_ARM_MEASURES
from evisynth.model_checks import Asked, check_models, check_moderators, check_rows
from evisynth.multi_arm import SHARED_ARM
from evisynth.rows import BY_AUDIT, RawRow
from evisynth.selection import NO_STUDY, check_words, digest, select
from evisynth.source_texts import check_links, source_texts
from evisynth.specification import FIXED
from evisynth.studyfile import AcceptedFlag, Overlap
from evisynth.table import read_table
from evisynth.table_rows import chosen_conversions
from evisynth.validation import choices, nearest, part, validate
from evisynth.yamltext import Document, read_yaml

DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10)}
)
"""Names that no folder can have on Windows."""


@dataclass(frozen=True, slots=True)
class Project:
    """A review whose input has been read and checked as a whole.

    Attributes
    ----------
    file : the configuration file.
    rows : rows of every analysis, by its id; those with an open error of the audit are not
        included.
    audit : what the audit found.
    """

    file: Path
    config: Config
    evidence: Evidence | None
    rows: Mapping[str, tuple[RawRow, ...]]
    audit: AuditReport

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

    def evidence_settings(self) -> dict[str, str]:
        """Where the evidence lies, and a digest of it.

        The digest notices an older file that is put back, which its modification time hides.
        """
        contents = [path.read_bytes() for path in [*self.study_files(), self.outcomes_file]]
        return {
            "studies": self.studies_folder.as_posix(),
            "outcomes": self.outcomes_file.as_posix(),
            "base": self.folder.as_posix(),
            "digest": hashlib.sha256(b"\0".join(contents)).hexdigest()[:16],
        }

    def audit_paths(self) -> list[str]:
        """Everything that the audit reads: study files, outcomes, stored texts, tables."""
        files = self.config.evidence
        paths = [self.studies_folder, self.outcomes_file] if files else []
        if files and files.sources and (self.folder / files.sources).is_dir():
            paths.append(self.folder / files.sources)
        tables = [analysis.table for analysis in self.config.analyses.values()]
        paths += [self.folder / table for table in dict.fromkeys(tables) if table]
        return [path.as_posix() for path in paths]

    def audit_digest(self) -> str:
        """Changes exactly when what the audit says changes."""
        return report_digest(self.audit, self.audit_context())

    def audit_context(self) -> dict[str, Any]:
        """What the page of the audit says besides findings; fields of `audit_page.About`."""
        studies = self.evidence.studies if self.evidence else ()
        return {
            "title": self.config.review.title,
            "audited": self.audited(),
            "labels": {study.file: study.label for study in studies},
            "kept_out": [
                {
                    "analysis": self.config.analyses[name].title,
                    "label": row.label,
                    "reason": row.reason.removeprefix(BY_AUDIT),
                }
                for name, rows in self.rows.items()
                for row in rows
                if row.reason.startswith(BY_AUDIT)
            ],
        }

    def audited(self) -> dict[str, int]:
        """How much the audit looked at."""
        studies = self.evidence.studies if self.evidence else ()
        tables = {a.table for a in self.config.analyses.values() if a.table}
        return {
            "study files": len(studies),
            "reports": sum(len(study.content.reports) for study in studies),
            "results": sum(len(study.content.results) for study in studies),
            "tables": len(tables),
            "analyses": len(self.config.analyses),
        }

    def source_paths(self, name: str) -> list[str]:
        """The table or the folder of study files, or both, that an analysis takes from."""
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
        analysis, defaults = self.analysis(name), self.config.defaults
        return effects_settings(analysis, preset(analysis, defaults), level(analysis, defaults))

    def effects_digest(self, name: str) -> str:
        """Changes exactly when the effect sizes of an analysis may."""
        return digest(self.rows[name], self.effects_settings(name))

    def pooling_settings(self, name: str) -> dict[str, Any]:
        """What pooling an analysis depends on besides its effect sizes."""
        analysis, defaults = self.analysis(name), self.config.defaults
        main = model(analysis, defaults)
        return {
            "analysis": name,
            "model": main.model_dump(),
            "also": [_over(main, other).model_dump() for other in analysis.also],
            "dependence": self._dependence(name),
            "intervals": list(analysis.intervals),
            "thresholds": list(analysis.thresholds),
            "level": level(analysis, defaults),
            "pool": analysis.pool,
            "why_not": analysis.why_not or "",
            "notes": list(analysis.notes) + self._overlap_notes(name),
        }

    def _dependence(self, name: str) -> dict[str, Any]:
        """Which rows of an analysis are not independent, with declared overlaps by number."""
        asked = self.analysis(name).dependence
        shares = self._shares_arms(name)
        if asked is None and not shares:
            return {}
        asked = asked or Dependence()
        settings = asked.model_dump()
        if shares:
            settings["shared_arm"] = SHARED_ARM
        shared = self._shared_patients() if settings.pop("overlaps") else []
        named = {"inner": asked.inner or "", "correlation": asked.correlation or ""}
        return {**settings, **named, "shared": shared}

    def _shares_arms(self, name: str) -> bool:
        """Whether pooled comparisons of an analysis share an arm and their model knows it."""
        if self.analysis(name).multi_arm != "covariance":
            return False
        arms = [row.covariates.get(SHARED_ARM) for row in self.rows[name] if row.included]
        return len(set(arms)) < len(arms)

    def _shared_patients(self) -> list[list[Any]]:
        """Pairs of studies with the number of patients that they share, or share at most."""
        studies = self.evidence.studies if self.evidence else ()
        found: dict[tuple[str, ...], int] = {}
        for study in studies:
            for overlap in study.content.overlaps:
                size = overlap.at_most if overlap.exactly is None else overlap.exactly
                if overlap.certainty == "excluded" or size is None:
                    continue
                pair = tuple(sorted((study.id, overlap.with_)))
                # Both files may declare it; the smaller bound holds.
                found[pair] = min(size, found.get(pair, size))
        return [[*pair, size] for pair, size in found.items()]

    def scrutiny_settings(self, name: str) -> dict[str, Any]:
        """What the scrutiny of an analysis depends on besides effect sizes and fit.

        Nothing that concerns other analyses only is in it, and no line numbers: a comment in a
        study file computes nothing anew.
        """
        analysis, defaults = self.analysis(name), self.config.defaults
        rows = self.rows[name]
        return {
            "analysis": name,
            "file": self.file.name,
            "effects": self.effects_settings(name),
            "conversions": dict(chosen_conversions(analysis)),
            "model": model(analysis, defaults).model_dump(),
            "dependence": self._dependence(name),
            "level": level(analysis, defaults),
            "pool": analysis.pool,
            "why_not": analysis.why_not or "",
            "icc": list(analysis.icc),
            "multi_arm": analysis.multi_arm,
            "rows": [self._row_settings(row) for row in rows],
            "findings": self._findings(name),
            "overlaps": self._overlaps_within(name),
        }

    def _row_settings(self, row: RawRow) -> dict[str, Any]:
        """How exactly the numbers of a row are printed, and what its units are."""
        return {
            "given": dict(row.given),
            "spans": {field: list(ends) for field, ends in row.spans.items()},
            "choices": {field: list(counts) for field, counts in row.choices.items()},
            "divided": row.divided,
            "arms": list(row.arms),
            "units": self._units(row),
        }

    def _units(self, row: RawRow) -> list[list[Any]]:
        """Arms of a row: unit, number of units, patients they come from (None: not known)."""
        studies = self.evidence.studies if self.evidence else ()
        study = next((study for study in studies if study.id == row.study), None)
        if study is None or not row.arms:
            return []
        result = study.result(row.place.partition("#results.")[2])
        found = []
        for name in row.arms:
            arm = study.arm(name.partition("/")[2])
            value = result.arms.get(arm.id) if result else None
            unit = (value.unit if value else None) or arm.unit
            count = arm.n if value is None or value.n is None else value.n
            clusters = arm.clusters if unit == arm.unit else None
            found.append([arm.id, unit, count, arm.n, clusters])
        return found if any(entry[1] != "patients" for entry in found) else []

    def _findings(self, name: str) -> list[dict[str, Any]]:
        """Findings about the rows of an analysis, or about the analysis, that did not pass."""
        rows, place = self.rows[name], f"analyses.{name}"
        pooled = {row.study for row in rows if row.included}
        concerned = Concerned(rows)
        found = []
        for finding in self.audit.findings:
            check = finding.check
            if check.verdict == "consistent":
                continue
            about = concerned.by(finding)
            own = check.place.file == self.file.name and (
                check.place.text == place or check.place.text.startswith(f"{place}.")
            )
            pair = sorted([check.place.study, check.place.text.removeprefix("overlaps.")])
            if not check.place.text.startswith("overlaps.") or not pooled.issuperset(pair):
                pair = []
            if not about and not own and not pair:
                continue
            found.append(
                {
                    # not the line: a comment in a study file is to compute nothing anew
                    **{key: cell for key, cell in finding.cells().items() if key != "line"},
                    "rows": about,
                    "pair": pair,
                    "blocks": finding.blocks,
                }
            )
        return found

    def _overlaps_within(self, name: str) -> list[dict[str, Any]]:
        """Declared overlaps between studies that are pooled together, pair by pair."""
        pooled = {row.study for row in self.rows[name] if row.included}
        if self.evidence is None or self.analysis(name).table:
            return []
        found: dict[tuple[str, str], list[Overlap]] = {}
        for study in self.evidence.studies:
            for overlap in study.content.overlaps:
                if {study.id, overlap.with_} <= pooled and overlap.certainty != "excluded":
                    one, two = sorted((study.id, overlap.with_))
                    found.setdefault((one, two), []).append(overlap)
        return [_declared(pair, overlaps) for pair, overlaps in sorted(found.items())]

    def has_moderators(self, name: str) -> bool:
        """Whether an analysis asks for subgroups or regressions."""
        analysis = self.analysis(name)
        return bool(analysis.subgroups or analysis.regressions)

    def moderator_settings(self, name: str) -> dict[str, Any]:
        """What subgroups and regressions of an analysis depend on besides its effect sizes."""
        analysis, defaults = self.analysis(name), self.config.defaults
        return {
            "analysis": name,
            "model": model(analysis, defaults).model_dump(),
            "level": level(analysis, defaults),
            "subgroups": [entry.model_dump() for entry in analysis.subgroups],
            "regressions": {
                key: entry.model_dump() for key, entry in analysis.regressions.items()
            },
        }

    def engines_settings(self, name: str) -> dict[str, Any]:
        """What the comparison with other software depends on besides the effect sizes."""
        settings = self.pooling_settings(name)
        return {key: settings[key] for key in ("analysis", "model", "level", "pool")}

    def _overlap_notes(self, name: str) -> list[str]:
        """Declared overlaps between studies that are pooled together."""
        if self.evidence is None or self.analysis(name).table:
            return []
        labels = {study.id: study.label for study in self.evidence.studies}
        notes = []
        for declared in self._overlaps_within(name):
            one, two = (labels[study] for study in declared["studies"])
            most = _how_many(declared)
            if most and self._overlaps_enter(name):
                said = "this is in the covariances of the family MV, and nowhere else"
            elif declared["certainty"] == "possible":
                said = "they may be counted twice here"
            else:
                said = "they are counted twice here"
            notes.append(
                f"{one} and {two} share {most}{declared['unit']} ({declared['certainty']}); "
                + said
            )
        return notes

    def _overlaps_enter(self, name: str) -> bool:
        """Whether the covariances of an analysis take declared overlaps into account."""
        asked = self.analysis(name).dependence
        return asked is not None and asked.overlaps

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
            name: {
                "title": analysis.title,
                "outcome": analysis.outcome or "",
                "reports": self.report_counts(name),
            }
            for name, analysis in self.config.analyses.items()
        }

    def report_counts(self, name: str) -> dict[str, list[int]]:
        """How many reports each study of an analysis has, and how many that repeat another."""
        if self.evidence is None or self.analysis(name).table:
            return {}
        taken = {row.study for row in self.rows[name]}
        found = {}
        for study in self.evidence.studies:
            if study.id in taken:
                repeated = sum(bool(r.duplicate_of) for r in study.content.reports)
                found[study.id] = [len(study.content.reports) - repeated, repeated]
        return found


CERTAINTY = ("stated", "likely", "possible")


def _declared(pair: tuple[str, str], overlaps: Sequence[Overlap]) -> dict[str, Any]:
    """What the files of two studies declare together; the smaller of two bounds holds."""
    exact = {o.exactly for o in overlaps if o.exactly is not None}
    bounds = [o.at_most for o in overlaps if o.at_most is not None]
    sized = [o for o in overlaps if o.exactly is not None or o.at_most is not None]
    first = min(sized or overlaps, key=lambda o: CERTAINTY.index(o.certainty))
    notes = []
    if len(exact) > 1:
        sizes = ", ".join(str(size) for size in sorted(exact))
        notes.append(f"the two files disagree on the number: {sizes}")
    return {
        "studies": list(pair),
        "exactly": min(exact) if len(exact) == 1 else None,
        "at_most": max(exact) if len(exact) > 1 else min(bounds, default=None),
        "unit": first.unit,
        "certainty": first.certainty,
        "quote": next((o.quote for o in overlaps if o.quote), ""),
        "notes": [*notes, *dict.fromkeys(o.detail for o in overlaps if o.detail)],
    }


def _how_many(declared: Mapping[str, Any]) -> str:
    """Number of units that two studies share, for a sentence; empty where nothing is known."""
    if declared["exactly"] is not None:
        return f"{declared['exactly']} "
    return "" if declared["at_most"] is None else f"at most {declared['at_most']} "


def report_digest(report: AuditReport, context: Mapping[str, Any]) -> str:
    """Short hash of an audit, the same on every machine."""
    found = hashlib.sha256(repr(sorted(context.items())).encode("utf-8", "backslashreplace"))
    for finding in report.findings:
        found.update(repr(finding).encode("utf-8", "backslashreplace"))
    return found.hexdigest()[:16]


def preset(analysis: Analysis, defaults: Defaults) -> str:
    """Name of the preset of an analysis."""
    return analysis.preset or defaults.preset


def _over(below: Model, above: Model) -> Model:
    """The keys that `above` sets over those of `below`."""
    keys = {key: getattr(above, key) for key in above.model_fields_set}
    if keys.get("method", FIXED) != FIXED:
        keys.setdefault(
            "tau2", None
        )  # a value of tau2 goes with the method that it was given for
    return below.model_copy(update=keys)


def model(analysis: Analysis, defaults: Defaults) -> Model:
    """Model of an analysis: its own keys over those of the defaults over the preset's."""
    chosen = Model(**presets.choices(preset(analysis, defaults), analysis.measure))
    if "model" in defaults.model_fields_set:
        chosen = _over(chosen, defaults.model)
    return chosen if analysis.model is None else _over(chosen, analysis.model)


def preset_settings(
    analysis: Analysis, defaults: Defaults, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choices of effect sizes and model that the preset `name` alone makes for an analysis."""
    bare = analysis.model_copy(
        update={"zero_cells": ZeroCells(), "measure_options": {}, "model": None, "preset": name}
    )
    effects = effects_settings(bare, name, level(analysis, defaults))
    return effects, model(bare, Defaults(level=defaults.level)).model_dump()


def effects_settings(analysis: Analysis, preset: str, level: float) -> dict[str, Any]:
    """Choices on which the effect sizes of an analysis depend, under a preset."""
    zero_cells = analysis.zero_cells
    own = {key: getattr(zero_cells, key) for key in zero_cells.model_fields_set}
    return {
        "measure": analysis.measure,
        "options": {
            **presets.measure_options(preset, analysis.measure),
            **options(analysis),
        },
        "zero_cells": {
            **ZeroCells().model_dump(),
            **presets.zero_cells(preset, analysis.measure),
            **own,
        },
        "level": level,
    }


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


@paused_collector()
def load_project(file: Path) -> Project:
    """Read and check a whole review.

    Raises
    ------
    InputError
        With every problem of the configuration, the study files and the tables.
    """
    document = read_yaml(file, str(file))
    config, problems = validate(Config, document)
    files, analyses = (
        (config.evidence, config.analyses) if config else _right_parts(document.tree)
    )
    defaults = config.defaults if config else _right_defaults(document.tree)
    evidence: Evidence | None = None
    unread = bool(config is None and files is None and document.tree.get("evidence"))
    if files:
        evidence, found = read_evidence(
            file.parent / files.studies, file.parent / files.outcomes, file.parent
        )
        problems += [*found, *check_links(file.parent, files)]
        unread = bool(found)
    rows: dict[str, tuple[RawRow, ...]] = {}
    for name, analysis in analyses.items():
        contradictions = _contradictions(name, analysis, defaults, str(file))
        problems += contradictions
        if unread and not analysis.table:
            problems += check_words(name, analysis, evidence, str(file)) if evidence else []
            continue  # what is selected from could not be read; that has been said
        asked = analysis.model_copy(update={"show": []}) if unread else analysis
        rows[name], found = select(name, asked, evidence, file.parent, str(file))
        said = {problem.place for problem in contradictions}
        problems += [
            p for p in found if not said or (p.found != NO_STUDY and p.place not in said)
        ]
        if not found:
            problems += _check_rows(name, analysis, rows[name], str(file))
    problems += _check_decisions(config, evidence, str(file))
    if problems or config is None:
        raise InputError(_with_lines(problems, document))
    decided = decisions(config, evidence, file.name)
    found_by_rules = audit(review(file, config, evidence, rows), decided)
    kept = {name: blocked(taken, found_by_rules.findings) for name, taken in rows.items()}
    return Project(file, config, evidence, kept, found_by_rules)


def review(
    file: Path,
    config: Config,
    evidence: Evidence | None,
    rows: Mapping[str, tuple[RawRow, ...]],
) -> Review:
    """Everything that the rules of the audit look at."""
    studies = evidence.studies if evidence else ()
    texts = source_texts(evidence, file.parent, config.evidence)
    outcomes = evidence.outcomes if evidence else {}
    tables, analyses = [], []
    for name, analysis in config.analyses.items():
        if analysis.table:
            tables.append(_table_material(analysis, file.parent))
        outcome = outcomes.get(analysis.outcome or "")
        analyses.append(
            AnalysisMaterial(
                name,
                file.name,
                rows.get(name, ()),
                {study.id: study for study in studies},
                {
                    "title": analysis.title,
                    "outcome": analysis.outcome or "",
                    "measure": analysis.measure,
                    "higher_is": outcome.higher_is if outcome else "neither",
                    "pool": "yes" if analysis.pool else "no",
                    "multi_arm": analysis.multi_arm,
                },
                analysis.table or "",
            )
        )
    return Review(
        evidence,
        tuple(StudyMaterial(study, texts.get(study.id, {})) for study in studies),
        tuple(tables),
        tuple(analyses),
    )


def decisions(
    config: Config, evidence: Evidence | None, file: str = ""
) -> dict[str, list[Decision]]:
    """Accepted flags by the file that they are about; `file` is the configuration's name."""
    found = of_studies(evidence.studies if evidence else ())
    for flag in config.audit.accepted_flags:
        found.setdefault(flag.table or file, []).append(_decision(flag))
    return found


def of_studies(studies: Iterable[Study]) -> dict[str, list[Decision]]:
    """Accepted flags of study files, by file."""
    return {
        study.file: [_decision(flag) for flag in study.content.accepted_flags]
        for study in studies
    }


def _decision(flag: AcceptedFlag) -> Decision:
    return Decision(flag.rule, flag.place, flag.decision, flag.reason, flag.who, flag.when)


def _check_decisions(
    config: Config | None, evidence: Evidence | None, file: str
) -> list[Problem]:
    """Decisions name rules and tables that exist, and each finding once."""
    problems = [p for study in evidence.studies for p in check_flags(study)] if evidence else []
    if config is None:
        return problems
    flags = config.audit.accepted_flags
    problems += _wrong_flags(
        [(flag.table or "", flag) for flag in flags], file, "audit.accepted_flags[{}]", {}
    )
    tables = {analysis.table for analysis in config.analyses.values() if analysis.table}
    problems += [
        Problem(
            file,
            f"audit.accepted_flags[{i}].table",
            f"the table {echo(flag.table)}",
            f"a table of an analysis: {choices(tables) or 'there is none'}",
            f"write it as the analysis does{nearest(flag.table, tables)}",
        )
        for i, flag in enumerate(flags, 1)
        if flag.table and flag.table not in tables
    ]
    return problems


def check_flags(study: Study) -> list[Problem]:
    """Decisions in a study file that name no rule, or contradict each other."""
    flags = study.content.accepted_flags
    lines = {i: study.line(f"accepted_flags.{i}") for i in range(1, len(flags) + 1)}
    return _wrong_flags([("", flag) for flag in flags], study.file, "accepted_flags[{}]", lines)


def _wrong_flags(
    flags: Sequence[tuple[str, AcceptedFlag]],
    file: str,
    place: str,
    lines: Mapping[int, int | None],
) -> list[Problem]:
    problems = []
    seen: set[tuple[str, str, str]] = set()
    for i, (table, flag) in enumerate(flags, 1):
        if flag.rule not in RULES:
            problems.append(
                Problem(
                    file,
                    f"{place.format(i)}.rule",
                    f"the rule {echo(flag.rule)}",
                    "a rule of the audit: docs/audit-rules.md, or evisynth audit --rules",
                    f"correct it{nearest(flag.rule, RULES)}",
                    lines.get(i),
                )
            )
        if (table, flag.rule, flag.place) in seen:
            problems.append(
                Problem(
                    file,
                    place.format(i),
                    f"a second decision on {flag.rule} at {echo(flag.place)}",
                    "one decision on each finding",
                    "keep the one that holds",
                    lines.get(i),
                )
            )
        seen.add((table, flag.rule, flag.place))
    return problems


def _table_material(analysis: Analysis, base: Path) -> TableMaterial:
    """Rows of an analysis' table as text, by the field's names; the table was read before."""
    name = str(analysis.table)
    columns = dict(analysis.columns)
    rows = tuple(
        (
            row.line,
            number,
            row.cells[columns["study"]],
            {field: row.cells[column] for field, column in columns.items()},
        )
        for number, row in enumerate(read_table(base / name, name).rows, 1)
        if all(row.cells[column] in values for column, values in analysis.rows.items())
    )
    return TableMaterial(name, analysis.measure, rows)


def _right_defaults(tree: Mapping[str, Any]) -> Defaults | None:
    """The defaults of a configuration that is mistaken elsewhere."""
    return part(Defaults, tree["defaults"]) if "defaults" in tree else Defaults()


def _check_rows(
    name: str, analysis: Analysis, rows: Sequence[RawRow], file: str
) -> list[Problem]:
    """What subgroups, regressions and dependence ask of the rows that were selected."""
    problems: list[Problem] = []

    def wrong(place: str, found: str, expected: str, action: str) -> None:
        problems.append(Problem(file, f"analyses.{name}.{place}", found, expected, action))

    check_rows(analysis, rows, wrong)
    return problems


def _right_parts(
    tree: Mapping[str, Any],
) -> tuple[EvidenceFiles | None, dict[str, Analysis]]:
    """What is right by itself in a mistaken configuration, so that its files are read too."""
    analyses = tree.get("analyses")
    parts = {
        name: part(Analysis, entry)
        for name, entry in (analyses.items() if isinstance(analyses, dict) else ())
    }
    return (
        part(EvidenceFiles, tree.get("evidence")),
        {name: analysis for name, analysis in parts.items() if analysis},
    )


def _with_lines(problems: list[Problem], document: Document) -> list[Problem]:
    """Problems of the configuration with the line that their place has in it."""
    return [
        replace(problem, line=document.line_of(problem.place))
        if problem.file == document.file and problem.line is None
        else problem
        for problem in problems
    ]


def _check_axis(analysis: Analysis, wrong: Callable[[str, str, str, str], None]) -> None:
    """The axis and its ticks lie where the measure can."""
    axis = INPUTS[analysis.measure].axis
    low, high, words = {
        "log": (0.0, math.inf, "above 0, as a ratio is"),
        "proportion": (0.0, 1.0, "a fraction from 0 to 1"),
        "linear": (-math.inf, math.inf, ""),
    }[axis]
    for key in ("axis", "ticks"):
        for value in getattr(analysis.forest, key) or ():
            if not low <= value <= high or (axis == "log" and value == 0):
                wrong(f"forest.{key}", f"{value:g}", words, "correct it")


def _contradictions(
    name: str, analysis: Analysis, defaults: Defaults | None, file: str
) -> list[Problem]:
    """Keys of an analysis that are each right and contradict each other."""
    problems: list[Problem] = []

    def wrong(place: str, found: str, expected: str, action: str) -> None:
        where = f"analyses.{name}.{place}" if place else f"analyses.{name}"
        problems.append(Problem(file, where, found, expected, action))

    if name in RESERVED | DEVICES:
        wrong(
            "",
            f"the name {echo(name)}",
            "a name that neither the results nor Windows' devices have",
            "rename it",
        )
    if not analysis.pool and not analysis.why_not:
        wrong("pool", "`pool: no` without a reason", "`why_not`", "say why")
    design = INPUTS[analysis.measure].design
    if analysis.table:
        unused = ["arms", "choose"]
        if not analysis.columns:
            wrong("columns", "nothing", "field: COLUMN for each field", "map the columns")
    else:
        unused = ["rows", "columns", "label_prefix"]
        if design == "one_group" and analysis.arms is None:
            wrong("arms", "nothing", "`arms: {treatment: ...}`", "say which arms")
        if design == "two_groups":
            _check_sides(analysis.contrast, wrong)
        for key, designs in (("arms", "two_groups"), ("contrast", "one_group")):
            if design == designs and getattr(analysis, key):
                wrong(
                    key,
                    f"given with the measure {analysis.measure}",
                    "`contrast` for a measure of two groups, `arms` for one of single arms",
                    "remove it, or choose another measure",
                )
    if "multi_arm" in analysis.model_fields_set and (analysis.table or design != "two_groups"):
        wrong(
            "multi_arm",
            "given, where no comparison of arms is made of study files",
            "no such key",
            "remove it",
        )
    for key in unused:
        if getattr(analysis, key):
            what = "with" if analysis.table else "without"
            wrong(
                key,
                f"given {what} `table`, where it says nothing",
                "no such key",
                "remove it",
            )
    from_studies = analysis.show if analysis.table else not analysis.arms
    if design == "effect" and from_studies and analysis.contrast is None:
        wrong(
            "contrast",
            "nothing",
            "`contrast: {numerator, denominator}`: the direction of the printed effects",
            "add it",
        )
    _check_axis(analysis, wrong)
    problems += _check_model(name, analysis, defaults, file)
    low_high = analysis.forest.axis
    if low_high and low_high[0] >= low_high[1]:
        wrong(
            "forest.axis",
            f"{low_high[0]:g} to {low_high[1]:g}",
            "[low, high]",
            "give the lower end first",
        )
    return problems


def _check_model(
    name: str, analysis: Analysis, defaults: Defaults | None, file: str
) -> list[Problem]:
    """Measure, models and moderators of an analysis can go together.

    Parameters
    ----------
    defaults : None where they could not be read: then models are not known as a whole.
    """
    problems: list[Problem] = []

    def at(place: str, found: str, expected: str, action: str) -> None:
        problems.append(Problem(file, place, found, expected, action))

    def wrong(place: str, found: str, expected: str, action: str) -> None:
        at(f"analyses.{name}.{place}", found, expected, action)

    chosen = options(analysis)
    for option, found, expected in check_options(analysis.measure, chosen):
        wrong(f"measure_options.{option}", found, expected, "correct it")
    for choice, found, expected in check_chosen(analysis.conversions):
        wrong(f"conversions.{choice}", found, expected, "correct it")
    asked = [] if defaults is None else _asked(name, analysis, defaults)
    if asked:
        check_models(analysis, asked, chosen, wrong, at)
        _check_multi_arm(analysis, asked, wrong)
    check_moderators(analysis, asked[0] if asked else None, wrong)
    return problems


# Families whose likelihood is of whole counts.
WHOLE_COUNTS = frozenset({"GLMM", "BB", "PLR"})


def _check_multi_arm(
    analysis: Analysis, asked: Sequence[Asked], wrong: Callable[[str, str, str, str], None]
) -> None:
    """The model knows what `multi_arm` makes of comparisons that share an arm."""
    if analysis.table or INPUTS[analysis.measure].design != "two_groups":
        return
    if analysis.multi_arm == "split":
        for one in asked:
            if one.model.family in WHOLE_COUNTS:
                wrong(
                    one.entry,
                    f"the family {one.model.family} with `multi_arm: split`, whose counts are "
                    "fractions",
                    "a family that takes them: IV, MH, PETO, MV",
                    "choose another family, or `multi_arm: covariance`",
                )
    if analysis.multi_arm != "covariance":
        return
    if asked[0].model.family != "MV":
        wrong(
            "multi_arm",
            f"`covariance` with the family {asked[0].model.family}, which knows none",
            "`model: {family: MV}` and `dependence: {levels: [effect]}`",
            "choose the family MV, or `multi_arm: split`",
        )
    if analysis.measure not in SHARED_ARM_MEASURES:
        wrong(
            "multi_arm",
            f"`covariance` for the measure {analysis.measure}",
            f"one of {', '.join(SHARED_ARM_MEASURES)}",
            "choose `multi_arm: split`",
        )
    for key in ("rho", "correlation", "shared_arm", "overlaps"):
        if analysis.dependence and getattr(analysis.dependence, key):
            wrong(
                f"dependence.{key}",
                "given beside `multi_arm: covariance`",
                "one source of covariances",
                "remove one of the two",
            )


def _asked(name: str, analysis: Analysis, defaults: Defaults) -> list[Asked]:
    """The models of an analysis with the place of each of their keys."""
    own = f"analyses.{name}.preset" if analysis.preset else "defaults.preset"
    places = dict.fromkeys(Model.model_fields, own)
    if "model" in defaults.model_fields_set:
        places |= {key: f"defaults.model.{key}" for key in defaults.model.model_fields_set}
    main, given = model(analysis, defaults), frozenset[str]()
    if analysis.model is not None:
        given = frozenset(analysis.model.model_fields_set)
        places |= {key: f"analyses.{name}.model.{key}" for key in given}
    found = [Asked("model", main, given, places)]
    for i, other in enumerate(analysis.also, 1):
        given = frozenset(other.model_fields_set)
        changed = {key: f"analyses.{name}.also[{i}].{key}" for key in given}
        found.append(Asked(f"also[{i}]", _over(main, other), given, places | changed))
    return found


def options(analysis: Analysis) -> dict[str, str | float]:
    """Options of the measure as words and numbers."""
    found: dict[str, str | float] = {}
    for name, text in analysis.measure_options.items():
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = text
    return found


def _check_sides(
    contrast: ArmContrast | None, wrong: Callable[[str, str, str, str], None]
) -> None:
    """Both sides of a contrast between arms are named by treatment, and by different ones."""
    if contrast is None:
        wrong("contrast", "nothing", "`contrast: {numerator, denominator}`", "add it")
        return
    treatments = []
    for key in ("numerator", "denominator"):
        side = getattr(contrast, key)
        if isinstance(side, str):
            wrong(
                f"contrast.{key}",
                f"the name {echo(side)}",
                "the arms of study files: `{treatment: ...}`",
                f"write {key}: {{treatment: CLASS}}",
            )
        else:
            treatments += side.treatment
    twice = sorted({word for word in treatments if treatments.count(word) > 1})
    if twice:
        wrong(
            "contrast",
            f"the treatment {', '.join(twice)} twice",
            "every treatment on one side",
            "remove it from one of the two",
        )
