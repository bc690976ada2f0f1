"""What lies in the repository: nothing of one machine, nothing huge."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST = 2**20
ALLOWED_LARGE = {}  # path: reason

PLACES = [
    re.compile(r"/(?:home|Users|root)/\w"),
    re.compile(r"(?<![\w.])/tmp/\w"),
    re.compile(r"(?<![\w.])" + re.escape(str(ROOT)) + r"(?![\w-])"),
    re.compile(r"\.\./" + "shared"),
    re.compile(r"/work" + "/shared"),
]


def tracked():
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for path in done.stdout.split("\0") if path and (ROOT / path).is_file()]


def test_no_tracked_file_names_a_place_of_one_machine():
    found = []
    for path in tracked():
        text = (ROOT / path).read_bytes().decode("utf-8", errors="replace")
        if path == "tests/tooling/test_repository.py":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            found += [
                f"{path}:{number}: {m[0]}" for place in PLACES if (m := place.search(line))
            ]
    assert found == []


def test_no_tracked_file_is_huge():
    sizes = {path: (ROOT / path).stat().st_size for path in tracked()}
    assert {path for path, size in sizes.items() if size > LARGEST} == set(ALLOWED_LARGE)


def test_nothing_generated_is_tracked():
    generated = ("results/", ".snakemake/", ".venv/")
    assert [path for path in tracked() if path.startswith(generated)] == []


def test_citation_names_the_version_and_licence_of_the_project():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for key, name in {"version": "version", "license": "license"}.items():
        value = re.search(rf'^{name} = "(.*)"$', project, re.MULTILINE)[1]
        assert re.search(rf"^{key}: {re.escape(value)}$", citation, re.MULTILINE)
