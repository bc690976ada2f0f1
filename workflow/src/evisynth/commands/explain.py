"""``evisynth explain``: why two runs or presets give different numbers."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evisynth.errors import echo, safe
from evisynth.explain import (
    OPTION,
    ZERO_CELLS,
    Run,
    as_tree,
    effects_of,
    explain,
    model_choices,
    raw_rows,
    report,
)
from evisynth.presets import PRESETS
from evisynth.project import Project, load_project, preset_settings
from evisynth.steps.pool import model_spec
from evisynth.tables import effects_from_json
from evisynth.tabular import to_json
from evisynth.validation import nearest

CONFIGURED = "configured"
"""Stands for the choices of config.yaml where a preset is asked for."""

EFFECTS, FIT = "effect_sizes.json", "fit.json"
OLD = "was written by another version: build the results again with snakemake"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is compared.

    Attributes
    ----------
    names : presets, the word for the configuration, or folders of results.
    analysis : its id, or empty.
    config : file of the configuration.
    """

    names: tuple[str, str]
    analysis: str
    config: Path


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        "Change one choice after the other, from FIRST to SECOND, and print what each does "
        f"to the headline. Each of the two is a preset ({', '.join(PRESETS)}), the word "
        f"`{CONFIGURED}` for what config.yaml says, or a folder of results of one analysis "
        "(results/ANALYSIS; ./NAME where a folder has the name of a preset)."
    )
    parser.add_argument("first", metavar="FIRST")
    parser.add_argument("second", metavar="SECOND")
    parser.add_argument(
        "--analysis", metavar="ID", help="which analysis, where it is not clear"
    )
    parser.add_argument(
        "--config", type=Path, default=Path("config.yaml"), help="by default config.yaml"
    )
    parser.add_argument("--json", action="store_true", help="all numbers, in full")


def run(given: argparse.Namespace) -> tuple[str, int]:
    """Answer and exit status of the command."""
    asked = Asked((given.first, given.second), given.analysis or "", given.config)
    found = explain(*_runs(asked))
    names = [safe(name) for name in asked.names]
    answer = to_json(as_tree(found, names)) if given.json else report(found, names) + "\n"
    return answer, 0


def _runs(asked: Asked) -> list[Run]:
    """Both runs; folders first, as they may say which analysis is meant."""
    folders = {name: _of_folder(Path(name)) for name in asked.names if not _is_choice(name)}
    if len(folders) == len(set(asked.names)):
        if asked.analysis:
            raise ValueError("--analysis says nothing here: folders of results are compared")
        return [folders[name][1] for name in asked.names]
    project = _project(asked.config)
    analysis = _which(asked.analysis, project, [analysis for analysis, _ in folders.values()])
    return [
        folders[name][1] if name in folders else _of_config(name, project, analysis)
        for name in asked.names
    ]


def _is_choice(name: str) -> bool:
    return name in PRESETS or name == CONFIGURED


def _project(config: Path) -> Project:
    if not config.is_file():
        raise ValueError(f"no file {config}: name the configuration with --config")
    return load_project(config)


def _which(asked: str, project: Project, of_folders: Sequence[str]) -> str:
    """Id of the analysis that presets are applied to."""
    known = list(project.config.analyses)
    wanted = asked or (of_folders[0] if of_folders else known[0] if len(known) == 1 else "")
    if wanted not in known:
        raise ValueError(
            f"--analysis: found {echo(wanted) if wanted else 'nothing'}; expected one of "
            f"{', '.join(known)}{nearest(wanted, known)}"
        )
    return wanted


def _of_config(name: str, project: Project, analysis: str) -> Run:
    pooling = project.pooling_settings(analysis)
    if name == CONFIGURED:
        effects, model = project.effects_settings(analysis), pooling["model"]
    else:
        effects, model = preset_settings(
            project.analysis(analysis), project.config.defaults, name
        )
    run = _run(project.rows[analysis], effects, {**pooling, "model": model})
    # As folders of results have them: with the numbers that the measure uses.
    return replace(run, rows=raw_rows(effects_of(run)))


def _of_folder(folder: Path) -> tuple[str, Run]:
    """Analysis and run of a folder of results."""
    texts = []
    for name in (EFFECTS, FIT):
        try:
            texts.append((folder / name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            words = [*PRESETS, CONFIGURED]
            raise ValueError(
                f"{echo(str(folder))} is no preset ({', '.join(words)}) and no folder with "
                f"{EFFECTS} and {FIT}: {name} cannot be read"
                f" ({getattr(error, 'strerror', None) or error})"
                f"{nearest(str(folder), words)}"
            ) from None
    try:
        stored, fit = (json.loads(text) for text in texts)
        effects = effects_from_json(texts[0])
        run = _run(raw_rows(effects), stored["settings"], fit["settings"])
        again = effects_of(run)
        analysis = str(fit["analysis"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{echo(str(folder))} {OLD} ({echo(str(error))})") from None
    for one, two in ((effects.yi, again.yi), (effects.vi, again.vi)):
        if not np.array_equal(one, two, equal_nan=True):
            raise ValueError(
                f"{echo(str(folder))}: its effect sizes do not follow from its raw numbers by "
                f"the present version; it {OLD}"
            )
    return analysis, run


def _run(rows: Any, effects: dict[str, Any], pooling: dict[str, Any]) -> Run:
    """A run out of the settings of effect sizes and of pooling."""
    spec = model_spec(pooling["model"], pooling["level"], pooling["dependence"])
    unpooled = "" if pooling["pool"] else pooling["why_not"] or "no reason given"
    return Run(
        rows,
        {
            "measure": effects["measure"],
            **{OPTION + key: value for key, value in effects["options"].items()},
            "level": effects["level"],
            **{ZERO_CELLS + key: value for key, value in effects["zero_cells"].items()},
            **model_choices(spec),
        },
        unpooled,
    )
