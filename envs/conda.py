"""Write the conda environments that the rules name, with the versions of the lock.

Run from anywhere in the environment of the project: ``python envs/conda.py`` writes the files,
``python envs/conda.py --check`` only compares and fails where one is out of step.
"""

import sys
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
PYTHON = "3.12"

STATISTICS = ("numpy", "pydantic", "pyyaml", "scipy")
ENVIRONMENTS = {
    "statistics": STATISTICS,
    "pages": (*STATISTICS, "jinja2"),
    "moderators": (*STATISTICS, "formulaic"),
    # sympy: what pymare needs besides
    "engines": (*STATISTICS, "pandas", "pymare", "statsmodels", "sympy"),
    "provenance": (*STATISTICS, "rocrate"),
    "plots": (*STATISTICS, "matplotlib", "pandas", "seaborn"),
}
CONDA_NAMES = {"matplotlib": "matplotlib-base"}  # without the Qt windows
NOT_ON_CONDA = frozenset({"pymare"})


def locked(lock: str, python: str) -> dict[str, str]:
    """Give the version of every package that the lock has for this Python on Linux."""
    place = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
    }
    lines = (
        line.rstrip(" \\") for line in lock.splitlines() if not line.startswith((" ", "#"))
    )
    found = (Requirement(line) for line in lines if line)
    return {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement in found
        if requirement.marker is None or requirement.marker.evaluate(place)
    }


def environment(packages: tuple[str, ...], versions: dict[str, str]) -> str:
    """Give the text of one conda environment."""
    lines = [
        "# Written by envs/conda.py from requirements.txt.",
        "channels: [conda-forge, nodefaults]",
        "dependencies:",
        f"  - python={PYTHON}",
    ]
    lines += [
        f"  - {CONDA_NAMES.get(name, name)}={versions[name]}"
        for name in packages
        if name not in NOT_ON_CONDA
    ]
    from_pip = [name for name in packages if name in NOT_ON_CONDA]
    if from_pip:
        lines += ["  - pip", "  - pip:"]
        lines += [f"      - {name}=={versions[name]}" for name in from_pip]
    return "\n".join(lines) + "\n"


def expected() -> dict[Path, str]:
    """Give every file that this script writes, with its content."""
    versions = locked((HERE / "requirements.txt").read_text("utf-8"), PYTHON)
    return {
        HERE / f"{name}.yaml": environment(packages, versions)
        for name, packages in ENVIRONMENTS.items()
    }


def out_of_step() -> list[str]:
    """Name the files that are not what this script would write."""
    return [
        path.name
        for path, text in expected().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write the files, or compare them with ``--check``."""
    if arguments == ["--check"]:
        for name in out_of_step():
            print(f"envs/{name} is out of step with the lock: run python envs/conda.py")
        return 1 if out_of_step() else 0
    for path, text in expected().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
