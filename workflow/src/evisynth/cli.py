"""The command ``evisynth``: questions and chores that need no run of the workflow."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType

from evisynth.errors import InputError, safe

COMMANDS = {
    "audit": "check the numbers of study files or tables",
    "trace": "lead a result back to rows, formulas, printed words, file and line",
    "verify": "derive every headline number again with other software, and compare",
    "new": "write a commented study file to fill in",
    "import": "turn a spreadsheet, RevMan or other file into study files or a table",
    "export": "write long CSVs, or an R script that refits an analysis",
    "explain": "say, choice by choice, why two runs or presets give different numbers",
}
"""Each is a module of `evisynth.commands` with `add` and `run`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: 0 if all is well, 1 if what it looked at is not, 2 if it cannot answer."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), "")
    parser = argparse.ArgumentParser(prog="evisynth", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, purpose in COMMANDS.items():
        asked = commands.add_parser(command, help=purpose)
        if command == name:  # the others are not imported: starting is quick
            _module(command).add(asked)
    given = parser.parse_args(words)
    try:
        answer, status = _module(given.command).run(given)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"evisynth: {safe(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be written to, a full disk
        at = f"{error.filename}: " if error.filename else ""
        print(f"evisynth: {safe(f'{at}{error.strerror or error}')}", file=sys.stderr)
        return 2
    try:
        sys.stdout.write(answer)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(status)


def _module(command: str) -> ModuleType:
    # no module of Python can have the name `import`
    name = "import_" if command == "import" else command
    return import_module(f"evisynth.commands.{name}")


if __name__ == "__main__":
    sys.exit(main())
