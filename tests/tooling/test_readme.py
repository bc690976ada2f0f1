"""The README's commands are the ones that continuous integration runs."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from evisynth.menus import MEASURES, TAU2, TAU2_GIVEN

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
RUN = (ROOT / ".ci/run").read_text("utf-8")

WITH_MAKE = ["make", "make test"]
WITHOUT_MAKE = [
    "sh workflow/setup.sh && .venv/bin/snakemake",
    "sh workflow/setup.sh && .venv/bin/pytest",
]


def blocks(text):
    """Commands of every fenced `sh` block, without comments."""
    return [
        [
            line.split("#")[0].strip()
            for line in block.splitlines()
            if line.split("#")[0].strip()
        ]
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def test_readme_shows_two_commands_first_and_then_the_same_without_make():
    assert blocks(README)[:2] == [WITH_MAKE, WITHOUT_MAKE]


def test_ci_runs_exactly_the_commands_of_the_readme():
    names = ("build", "test", "build_without_make", "test_without_make")
    commands = [re.search(rf'^{name}="(.*)"$', RUN, re.MULTILINE)[1] for name in names]
    assert commands == WITH_MAKE + WITHOUT_MAKE


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_runs_what_the_lines_without_make_run():
    # `make test` hands its own options down to what it starts
    outside_make = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    for target, line in zip(WITH_MAKE, WITHOUT_MAKE, strict=True):
        plan = subprocess.run(
            [*shlex.split(target), "--dry-run"],
            cwd=ROOT,
            env=outside_make,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert plan.splitlines() == line.split(" && ")


def test_readme_counts_measures_and_estimators_as_they_are():
    assert f"{len(MEASURES)} effect measures" in README
    # `fixed` estimates nothing
    assert len(TAU2 | TAU2_GIVEN) - 1 == 13
    assert "thirteen estimators" in README
