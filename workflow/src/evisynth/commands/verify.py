"""``evisynth verify``: every headline number once more, by other software, and all digests."""

import argparse
from dataclasses import asdict
from pathlib import Path

from evisynth.commands.trace import safe_line
from evisynth.errors import echo
from evisynth.tabular import to_json
from evisynth.verification import Unreadable, readable, verify


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        "Compare all files of a folder of results with the digests in its provenance.json, and "
        "derive effect sizes and estimates again with other software or other formulas. Exit "
        "status 1 if a number disagrees, a file was changed, or an input is newer; 2 if the "
        "folder cannot be read."
    )
    parser.add_argument("results", metavar="RESULTS_DIR", type=Path)
    parser.add_argument(
        "--config",
        type=Path,
        help="configuration, to compare the inputs; by default config.yaml beside RESULTS_DIR",
    )
    parser.add_argument("--json", action="store_true", help="every comparison, in full")


def run(given: argparse.Namespace) -> tuple[str, int]:
    """Answer and exit status of the command."""
    if given.config and not given.config.is_file():
        raise ValueError(f"no file {given.config}: name the configuration with --config")
    config = given.config or given.results.absolute().parent / "config.yaml"
    try:
        found = verify(given.results, config.parent if config.is_file() else None)
    except Unreadable as error:
        raise ValueError(f"{echo(str(given.results))}: {error}") from None
    status = 0 if found.sound else 1
    if given.json:
        checks = [{**asdict(check), "agrees": check.agrees} for check in found.checks]
        return to_json({**asdict(found), "checks": checks, "sound": found.sound}), status
    text = readable(found)
    return "".join(f"{safe_line(line)}\n" for line in text.splitlines()), status
