"""Which files of this package a script runs: the code that a target depends on.

Snakemake sees a script and its parameters but no imported module; with these files among the
inputs of a rule, an edit of a module rebuilds what it computes and nothing else.
"""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
# Import statements, also those within functions, with their names in parentheses if any.
# Parsing whole modules would take a tenth of a second at every start.
FROM = re.compile(
    rf"""^[ \t]* from [ \t]+ ({PACKAGE.name}[\w.]*) [ \t]+ import [ \t]+
    (\([^)]*\)|[^\n]*)""",
    re.MULTILINE | re.VERBOSE,
)
IMPORT = re.compile(rf"^[ \t]*import[ \t]+([^\n]*\b{PACKAGE.name}\b[^\n]*)", re.MULTILINE)
NAME = re.compile(r"[\w.]+")


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Modules of the package that the one at `path` imports, and the packages they are in."""
    found: dict[Path, None] = {}
    for name in _names(path.read_text(encoding="utf-8")):
        parts = name.split(".")
        if parts[0] != PACKAGE.name:
            continue
        for depth in range(1, len(parts) + 1):
            stem = PACKAGE.joinpath(*parts[1:depth])
            for module in (stem / "__init__.py", stem.with_suffix(".py")):
                if module.is_file():
                    found[module] = None
    return tuple(found)


def _names(code: str) -> Iterator[str]:
    for match in FROM.finditer(code):
        yield match[1]
        for name in NAME.findall(match[2].partition("#")[0]):
            yield f"{match[1]}.{name}"
    for match in IMPORT.finditer(code):
        yield from NAME.findall(match[1])


def sources(script: Path) -> list[str]:
    """`script` and, transitively, the modules of this package that it imports.

    Returns paths relative to the working directory, sorted, so that the list is the same on
    every machine.
    """
    todo, seen = [script], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _imports(path)
    return sorted(os.path.relpath(path) for path in seen)
