"""The lock is exact, hashed, names no place, and holds what pyproject.toml asks for."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "envs/requirements.txt").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ENTRY = re.compile(
    r"^(?P<requirement>\S[^\\]*?) \\\n(?P<hashes>(?:    --hash=\S+(?: \\)?\n?)+)", re.MULTILINE
)
ENTRIES = [(Requirement(m["requirement"]), m["hashes"]) for m in ENTRY.finditer(LOCK)]

spec = importlib.util.spec_from_file_location("conda_files", ROOT / "envs/conda.py")
conda = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conda)


def test_every_line_of_the_lock_belongs_to_a_hashed_requirement():
    assert "".join(m[0] for m in ENTRY.finditer(LOCK)) == LOCK


@pytest.mark.parametrize(("requirement", "hashes"), ENTRIES, ids=[str(r) for r, _ in ENTRIES])
def test_requirement_is_exact_and_hashed_and_names_no_place(requirement, hashes):
    assert [pin.operator for pin in requirement.specifier] == ["=="]
    assert "*" not in str(requirement.specifier)
    assert requirement.url is None
    assert re.fullmatch(r"(    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+", hashes)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize(
    "wanted",
    [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["dev"],
    ],
)
def test_lock_satisfies_every_dependency_on_every_python(wanted, python):
    wanted = Requirement(wanted)
    versions = conda.locked(LOCK, python)
    assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)])


def test_cluster_plugin_is_not_in_the_lock():
    # it would slow down every call of Snakemake where Slurm's controller is down
    names = {canonicalize_name(requirement.name) for requirement, _ in ENTRIES}
    assert names.isdisjoint(
        canonicalize_name(Requirement(extra).name)
        for extra in PROJECT["optional-dependencies"]["slurm"]
    )
    assert not any("executor-plugin-" in name for name in names)


def test_conda_files_have_the_versions_of_the_lock():
    assert conda.out_of_step() == []


def test_conda_files_hold_what_their_packages_need():
    names = {canonicalize_name(requirement.name) for requirement, _ in ENTRIES}
    for packages in conda.ENVIRONMENTS.values():
        assert set(packages) <= names
