"""``evisynth export``: evidence as long tables and back, an analysis as an R script."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from evisynth.errors import InputError, Problem, echo
from evisynth.exporting.long_csv import read_long, read_long_outcomes, write_long
from evisynth.exporting.r_script import Asked, r_script
from evisynth.exporting.study_yaml import outcomes_yaml, study_yaml
from evisynth.files import write_text
from evisynth.measures import compute_effects
from evisynth.project import load_project
from evisynth.records import as_pooled
from evisynth.steps.pool import fit_analysis
from evisynth.tables import effects_csv
from evisynth.validation import nearest


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = "Hand over evidence and analyses to other programs."
    kinds = parser.add_subparsers(dest="kind", required=True)
    evidence = kinds.add_parser("evidence", help="all study files as long CSV tables")
    _config(evidence)
    _out(evidence)
    studies = kinds.add_parser("studies", help="study files out of long CSV tables")
    studies.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of the tables",
    )
    _out(studies)
    script = kinds.add_parser("r", help="an R script that refits an analysis by metafor")
    script.add_argument("analysis", metavar="ANALYSIS", help="id of the analysis")
    _config(script)
    _out(script)


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=Path("config.yaml"), help="by default config.yaml"
    )


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write to"
    )


def run(given: argparse.Namespace) -> tuple[str, int]:
    """Answer and exit status of the command."""
    if given.out.exists() and not given.out.is_dir():
        raise ValueError(f"--out: {given.out} is a file; expected a folder")
    if given.kind == "studies":
        return _studies(given.source, given.out), 0
    if not given.config.is_file():
        raise ValueError(f"no file {given.config}: name the configuration with --config")
    if given.kind == "r":
        return _script(given.config, given.analysis, given.out), 0
    return _evidence(given.config, given.out), 0


def _evidence(config: Path, out: Path) -> str:
    evidence = load_project(config).evidence
    if evidence is None:
        raise ValueError(f"{config} names no study files: there is nothing but its tables")
    names = write_long([study.content for study in evidence.studies], out, evidence.outcomes)
    return _written(out, names)


def _script(config: Path, analysis: str, out: Path) -> str:
    project = load_project(config)
    known = list(project.config.analyses)
    if analysis not in known:
        raise ValueError(
            f"found {echo(analysis)}; expected one of {', '.join(known)}"
            f"{nearest(analysis, known)}"
        )
    choices, pooling = project.effects_settings(analysis), project.pooling_settings(analysis)
    effects = compute_effects(
        choices["measure"],
        project.rows[analysis],
        level=choices["level"],
        options=choices["options"],
        **choices["zero_cells"],
    )
    fit = fit_analysis(effects, pooling, str(config))
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "effects.csv", effects_csv(as_pooled(effects, fit.entered), fit.weights))
    write_text(out / "metafor.R", r_script(Asked(effects, fit, choices, pooling)))
    return _written(out, ["effects.csv", "metafor.R"])


def _studies(source: Path, out: Path) -> str:
    if not source.is_dir():
        raise ValueError(f"--from: no folder {source}")
    studies, outcomes = read_long(source), read_long_outcomes(source)
    texts = {f"studies/{study.study}.yaml": study_yaml(study) for study in studies}
    if outcomes is not None:
        texts["outcomes.yaml"] = outcomes_yaml(outcomes)
    # what somebody has written by hand is never written over
    there = [
        Problem(
            str(out / name),
            "the file itself",
            "a file that is there already",
            "no such file",
            "name an empty folder with --out",
        )
        for name in texts
        if (out / name).exists() or (out / name).is_symlink()
    ]
    if there:
        raise InputError(there)
    (out / "studies").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(out / name, text)
    return _written(out, texts)


def _written(out: Path, names: Iterable[str]) -> str:
    return f"{out}: {', '.join(names)}\n"
