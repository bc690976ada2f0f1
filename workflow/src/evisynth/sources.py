"""Which files of this package a script runs: the code that a target depends on.

Snakemake sees a script and its parameters but no imported module; with these files among the
inputs of a rule, an edit of a module rebuilds what it computes and nothing else.
"""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    return tuple(_iter_imports(path))


def _iter_imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != PACKAGE.name:
                continue
            for depth in range(1, len(parts) + 1):
                stem = PACKAGE.joinpath(*parts[1:depth])
                for found in (stem / "__init__.py", stem.with_suffix(".py")):
                    if found.is_file():
                        yield found


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
