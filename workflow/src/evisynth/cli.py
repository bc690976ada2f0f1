"""The command ``evisynth``: questions about results that need no run of the workflow."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evisynth.errors import InputError
from evisynth.explain import Run, explain, raw_rows, report
from evisynth.presets import PRESETS
from evisynth.project import Project, load_project, preset_settings
from evisynth.tables import effects_from_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where it could answer, 2 where the question is wrong."""
    parser = argparse.ArgumentParser(prog="evisynth", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser(
        "explain",
        help="say, choice by choice, why two runs or presets give different numbers",
        description=(
            "Change one choice after the other, from FIRST to SECOND, and print what each does "
            "to the headline. Each of the two is a preset (" + ", ".join(PRESETS) + ") or a "
            "folder of results of one analysis."
        ),
    )
    asked.add_argument("first", metavar="FIRST")
    asked.add_argument("second", metavar="SECOND")
    asked.add_argument("--analysis", help="id of the analysis, where a preset is named")
    asked.add_argument("--config", type=Path, default=Path("config.yaml"))
    given = parser.parse_args(arguments)
    try:
        runs = [_run(name, given) for name in (given.first, given.second)]
        print(report(explain(*runs), (given.first, given.second)))
    except (InputError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(name: str, given: argparse.Namespace) -> Run:
    if name in PRESETS:
        return _of_preset(name, load_project(given.config), given.analysis)
    folder = Path(name)
    try:
        effects = json.loads((folder / "effect_sizes.json").read_text(encoding="utf-8"))
        fit = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{name}: neither a preset ({', '.join(PRESETS)}) nor a folder with "
            f"effect_sizes.json and fit.json ({error.strerror})"
        ) from None
    rows = raw_rows(effects_from_json(json.dumps(effects)))
    return Run(rows, _choices(effects["settings"], fit["settings"]["model"]))


def _of_preset(name: str, project: Project, analysis: str | None) -> Run:
    known = list(project.config.analyses)
    if analysis not in known:
        raise ValueError(
            f"--analysis is {analysis or 'not given'}; expected one of {', '.join(known)}"
        )
    effects, model = preset_settings(project.analysis(analysis), project.config.defaults, name)
    return Run(project.rows[analysis], _choices(effects, model))


def _choices(effects: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    return {
        "measure": effects["measure"],
        **{f"options.{key}": value for key, value in effects["options"].items()},
        **{f"zero_cells.{key}": value for key, value in effects["zero_cells"].items()},
        "level": effects["level"],
        **{f"model.{key}": value for key, value in model.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
