"""A small review in a folder of its own, where the real workflow is run."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CONFIG = """\
review: {title: A small review, question: Does it work?}
evidence: {studies: data/studies, outcomes: data/outcomes.yaml}
analyses:
  response:
    title: Response
    outcome: orr
    arms: {treatment: new}
    measure: PLO
  contrast:
    title: Response, new v old
    outcome: orr
    contrast: {numerator: {treatment: new}, denominator: {treatment: old}}
    measure: RR
  hazard:
    title: Hazard of death
    table: data/hazard.csv
    columns: {study: study, yi: yi, sei: sei}
    measure: HR
"""

OUTCOMES = """\
outcomes:
  orr: {label: Objective response, definition: complete or partial response, higher_is: good}
"""

TABLE = "study,yi,sei\na,0.1,0.2\nb,0.4,0.3\nc,0.9,0.25\nd,0.3,0.4\n"


def study(name: str, events: int, n: int, control: tuple[int, int] | None = None) -> str:
    """A study file; with `control`, a trial of two arms."""
    arms = f"  - {{id: new, n: {n}, treatment: new}}\n"
    values = f"new: {{events: {events}, n: {n}}}"
    if control:
        arms += f"  - {{id: old, n: {control[1]}, treatment: old}}\n"
        values += f", old: {{events: {control[0]}, n: {control[1]}}}"
    quote = f"{events} of {n}" + (f" and {control[0]} of {control[1]}" if control else "")
    return (
        f"study: {name}\nlabel: {name.title()} 2020\n"
        f"design: {'rct' if control else 'single_arm'}\n"
        f"reports: [{{id: {name}-2020, kind: journal_article}}]\narms:\n{arms}"
        f"results:\n  - outcome: orr\n    arms: {{{values}}}\n"
        f"    report: {name}-2020\n    quote: {quote}\n"
    )


class Project:
    """A copy of the workflow with a small review of three studies and a table."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> "Project":
        """Copy the workflow and write the review."""
        folder = self.folder
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "Snakefile", folder)
        for name in ("workflow", "profiles", "envs"):
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        (folder / "data/studies").mkdir(parents=True)
        self.write("config.yaml", CONFIG)
        self.write("data/outcomes.yaml", OUTCOMES)
        self.write("data/hazard.csv", TABLE)
        self.write("data/studies/ada.yaml", study("ada", 13, 43, (4, 22)))
        self.write("data/studies/bea.yaml", study("bea", 9, 17, (1, 18)))
        self.write("data/studies/cleo.yaml", study("cleo", 5, 13))
        return self

    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace `old`, which must be there, by `new`."""
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new, 1))

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *options]

    def snakemake(self, *options: str, **more) -> subprocess.CompletedProcess[str]:
        """Run the workflow, whatever comes of it."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            self.command(*options),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            **more,
        )

    def build(self, *options: str) -> set[str]:
        """Run the workflow to its end and return the results that it wrote."""
        before = self.times()
        run = self.snakemake(*options)
        assert run.returncode == 0, run.stdout + run.stderr
        after = self.times()
        return {name for name, time in after.items() if before.get(name) != time}

    def results(self) -> list[Path]:
        """All results but logs and benchmarks, which hold times."""
        folder = self.folder / "results"
        return sorted(
            path
            for path in folder.rglob("*")
            if path.is_file()
            and path.relative_to(folder).parts[0] not in ("logs", "benchmarks")
        )

    def times(self) -> dict[str, int]:
        folder = self.folder / "results"
        return {
            path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
            for path in self.results()
        }

    def digests(self) -> dict[str, str]:
        folder = self.folder / "results"
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.results()
        }


TABLES = (
    "studies reports arms results moves overlaps captions references methods claims splits "
    "sums flags risk_of_bias"
).split()
EVIDENCE = {f"evidence/{t}.csv" for t in TABLES}
AUDIT = {"evidence/audit.csv", "evidence/audit_rules.csv", "evidence/audit.html"}


def effects_of(*analyses: str) -> set[str]:
    return {f"{a}/effect_sizes.json" for a in analyses}


def pooled_of(*analyses: str) -> set[str]:
    names = (
        "effects.csv",
        "pooled.csv",
        "heterogeneity.csv",
        "tau2_intervals.csv",
        "components.csv",
        "blups.csv",
        "beyond.csv",
        "metafor.R",
        "fit.json",
    )
    return {f"{a}/{name}" for a in analyses for name in names}


def engines_of(*analyses: str) -> set[str]:
    return {f"{a}/engines.csv" for a in analyses}


def scrutiny_of(*analyses: str) -> set[str]:
    return {
        f"{a}/{name}.csv" for a in analyses for name in ("audit", "audit_cost", "dependence")
    }


def moderators_of(*analyses: str) -> set[str]:
    names = ("subgroups", "subgroup_tests", "regression", "regression_tests", "predictions")
    return {f"{a}/{name}.csv" for a in analyses for name in names}


def plots_of(*analyses: str) -> set[str]:
    return {f"{a}/plots/forest.{suffix}" for a in analyses for suffix in ("svg", "pdf", "png")}


def trace_of(*analyses: str) -> set[str]:
    return {f"{a}/{name}" for a in analyses for name in ("selection.csv", "trace.json")}


PROVENANCE = {"provenance.json", "ro-crate-metadata.json"}
"""Hold digests of all input, code and results: made anew whenever any of these changes."""


def everything_of(*analyses: str) -> set[str]:
    return (
        effects_of(*analyses)
        | pooled_of(*analyses)
        | engines_of(*analyses)
        | scrutiny_of(*analyses)
        | plots_of(*analyses)
        | trace_of(*analyses)
    )
