"""The modules that a step is said to import are those that it does."""

import ast

import pytest
from support.review import ROOT

from evisynth.sources import PACKAGE, sources

MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))


def imported(path):
    """Modules of the package that a file imports, by Python's own parser."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    files = set()
    for parts in (name.split(".") for name in names):
        for depth in range(1, len(parts) + 1 if parts[0] == PACKAGE.name else 0):
            stem = PACKAGE.joinpath(*parts[1:depth])
            files |= {stem / "__init__.py", stem.with_suffix(".py")}
    return {file for file in files if file.is_file()}


def closure(path):
    found, todo = set(), [path]
    while todo:
        if (current := todo.pop()) not in found:
            found.add(current)
            todo += imported(current)
    return found


@pytest.mark.parametrize("path", MODULES + SCRIPTS, ids=lambda path: path.stem)
def test_every_import_is_found(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert sources(path) == sorted(str(file.relative_to(ROOT)) for file in closure(path))
