"""What the shipped review costs, and what R with metafor needs for the same analyses and plots.

Usage, with the environment active and from the top of the repository:

    python benchmarks/workflow.py [REPEATS]

Runs the workflow in a copy of this checkout: from clean, with nothing to do, and after one
study was added; splits the clean run into jobs, their interpreter start and imports; then, if
``Rscript`` with metafor is there, the same analyses and plots in R in the same run. Prints
medians and the ratio; judges nothing.
"""

import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = (
    "audit",
    "evidence",
    "effects",
    "pool",
    "engines",
    "scrutiny",
    "trace",
    "forest",
    "summary",
    "provenance",
)
STUDY = """\
study: benchmark-2026
design: single_arm
reports: [{id: benchmark-2026, kind: journal_article}]
arms: [{id: all, n: 20, treatment: anti_gd2_chemo}]
results:
  - outcome: orr
    arms: {all: {events: 8, n: 20, printed: "40%"}}
    report: benchmark-2026
    quote: "Eight of 20 patients (40%) responded"
"""


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of a command that must end well."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def median(measure: Callable[[], float], repeats: int) -> float:
    """Median of several measurements."""
    return statistics.median(measure() for _ in range(repeats))


def copy_of_the_project(folder: Path) -> Path:
    """The tracked part that a run needs."""
    project = folder / "project"
    project.mkdir()
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, project)
    for name in ("workflow", "profiles", "envs", "data"):
        shutil.copytree(
            ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return project


def job_seconds(results: Path) -> dict[str, list[float]]:
    """Wall seconds of every job, by step, from Snakemake's own benchmark files."""
    jobs: dict[str, list[float]] = defaultdict(list)
    for path in sorted((results / "benchmarks").rglob("*.tsv")):
        step = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        with path.open(newline="") as stream:
            jobs[step] += [float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]
    return jobs


def import_seconds(step: str, repeats: int) -> float:
    """Time of starting Python and importing what a step imports."""
    code = f"import evisynth.steps.{step}, evisynth.log"
    if step == "engines":
        code += ", pymare, statsmodels.stats.meta_analysis"
    return median(lambda: seconds([sys.executable, "-c", code], ROOT), repeats)


def main() -> None:
    """Measure and print."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    snakemake = [sys.executable, "-m", "snakemake"]
    with tempfile.TemporaryDirectory() as temporary:
        project = copy_of_the_project(Path(temporary))
        results = project / "results"

        def clean() -> float:
            shutil.rmtree(results, ignore_errors=True)
            shutil.rmtree(project / ".snakemake", ignore_errors=True)
            return seconds(snakemake, project)

        seconds(snakemake, project)  # warms the caches of Python and matplotlib
        full = median(clean, repeats)
        jobs = job_seconds(results)
        nothing = median(lambda: seconds(snakemake, project), repeats)
        added = []
        for _ in range(repeats):
            (project / "data/studies/benchmark-2026.yaml").write_text(STUDY)
            added.append(seconds(snakemake, project))
            (project / "data/studies/benchmark-2026.yaml").unlink()
            seconds(snakemake, project)
        start = median(lambda: seconds([*snakemake, "--version"], project), repeats)

        print(f"{os.cpu_count()} cores, medians of {repeats}")
        print(f"shipped review from clean   {full:6.2f} s")
        print(
            f"nothing to do               {nothing:6.2f} s  (snakemake --version {start:.2f} s)"
        )
        print(f"after one study was added   {statistics.median(added):6.2f} s")
        print("\nstep        jobs  seconds  of which start and imports")
        for step in STEPS:
            imports = import_seconds(step, repeats) * len(jobs[step])
            print(f"{step:10} {len(jobs[step]):5} {sum(jobs[step]):8.2f} {imports:8.2f}")

        if shutil.which("Rscript"):
            peer = ["Rscript", "--vanilla", str(ROOT / "benchmarks/metafor_peer.R")]
            peer += [str(results), str(Path(temporary) / "peer")]
            r = median(lambda: seconds(peer, project), repeats)
            print(f"\nRscript, metafor            {r:6.2f} s  (ours / R {full / r:.2f})")
        else:
            print("\nRscript was not found: no peer in this run")


if __name__ == "__main__":
    main()
