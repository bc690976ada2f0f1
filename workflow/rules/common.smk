"""The review, read and checked once; what the rules ask of it."""

import os
import re
import sys
from pathlib import Path

PACKAGE = Path(workflow.basedir) / "workflow" / "src"
# This checkout's package, here and in the jobs, even where another one is installed.
sys.path.insert(0, str(PACKAGE))
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
)
if " " in sys.executable:
    # Snakemake (9.27) starts scripts by this path without quoting it.
    BINARIES, sys.executable = os.path.split(sys.executable)
    os.environ.update(PATH=os.pathsep.join([BINARIES, os.environ.get("PATH", os.defpath)]))

from evisynth.errors import InputError
from evisynth.project import load_project
from evisynth.provenance import asked, dependencies
from evisynth.sources import sources
from evisynth.steps.evidence import TABLES
from evisynth.targets import touched, unrecorded
from evisynth.trail import trail
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

if len(workflow.configfiles) > 1 or workflow.config_settings.config:
    raise WorkflowError(
        "A review has one configuration file: give a single --configfile and no --config; "
        "write other settings into a copy of the file."
    )
CONFIG = Path(os.path.relpath((workflow.configfiles or ["config.yaml"])[0]))
RESULTS = (CONFIG.parent / "results").as_posix()

try:
    PROJECT = load_project(CONFIG)
except InputError as error:
    raise WorkflowError(str(error)) from None

ANALYSES = list(PROJECT.config.analyses)
FORMATS = ["svg", "pdf", "png"]
MODERATORS = ["subgroups", "subgroup_tests", "regression", "regression_tests", "predictions"]
AUDIT = ["audit.csv", "audit_rules.csv", "audit.html"]
TARGETS = [
    f"{RESULTS}/summary.csv",
    *(f"{RESULTS}/evidence/{name}" for name in AUDIT),
    *(f"{RESULTS}/evidence/{name}.csv" for name in TABLES if PROJECT.config.evidence),
    *(
        f"{RESULTS}/{analysis}/{name}"
        for analysis in ANALYSES
        for name in (
            "effect_sizes.json",
            "effects.csv",
            "pooled.csv",
            "heterogeneity.csv",
            "tau2_intervals.csv",
            "components.csv",
            "blups.csv",
            "beyond.csv",
            "metafor.R",
            "fit.json",
            "engines.csv",
            "audit.csv",
            "audit_cost.csv",
            "dependence.csv",
            "selection.csv",
            "trace.json",
            *(f"{table}.csv" for table in MODERATORS if PROJECT.has_moderators(analysis)),
            *(
                f"plots/{plot}.{suffix}"
                for plot in PROJECT.analysis(analysis).plots
                for suffix in FORMATS
            ),
        )
    ),
]
# Made last, out of all others.
PROVENANCE = [f"{RESULTS}/provenance.json", f"{RESULTS}/ro-crate-metadata.json"]

if workflow.is_main_process and "--rerun-triggers" in sys.argv:
    raise WorkflowError(
        "Changes of the evidence could go unnoticed: leave out --rerun-triggers."
    )
for folder in sorted(path.parent for path in Path(RESULTS).glob("*/fit.json")):
    if folder.name not in ANALYSES:
        logger.warning(
            f"{folder} is of no analysis in {CONFIG}: it will not be kept up to date. "
            f"To remove it: rm -r '{folder}'"
        )

# Without Snakemake's record of how a result was made, a change of it would go unnoticed.
if workflow.is_main_process and (lost := unrecorded(TARGETS + PROVENANCE)):
    raise WorkflowError(
        f"{lost[0]} and {len(lost) - 1} more results are there, but not Snakemake's record of how "
        f"they were made (.snakemake/metadata), so they cannot be trusted. Remove them to have "
        f"them made anew: rm -r '{RESULTS}'"
    )

EFFECTS = {name: f"{RESULTS}/{name}/effect_sizes.json" for name in ANALYSES}
if stale := [n for n in ANALYSES if touched(EFFECTS[n], PROJECT.effects_digest(n))]:
    raise WorkflowError(
        f"{EFFECTS[stale[0]]} was marked as up to date (--touch) but was made from other "
        f"evidence. Remove it to have it made anew: rm '{EFFECTS[stale[0]]}'"
    )


wildcard_constraints:
    analysis="|".join(map(re.escape, ANALYSES)),


def code(step):
    """The script of a step and every module of the package that it imports."""
    return sources(Path(workflow.basedir) / "workflow" / "scripts" / f"{step}.py")


def evidence_sources(wildcards):
    """What an analysis is selected from: one table, or the study files, or both.

    Ancient, because the digest of the selected rows among the parameters says what changed.
    """
    return [ancient(path) for path in PROJECT.source_paths(wildcards.analysis)]


def audit_sources(wildcards):
    """All that the audit reads; ancient, because the digest of what it says is a parameter."""
    return [ancient(path) for path in PROJECT.audit_paths()]


def effects_digest(wildcards):
    """Changes exactly when the effect sizes of an analysis may."""
    return PROJECT.effects_digest(wildcards.analysis)


def trail_digest(wildcards):
    """Changes exactly when selection or trace of an analysis may, apart from its numbers."""
    return trail(PROJECT, wildcards.analysis).digest


def provenance_asked(wildcards):
    """Digests of input, code and lock, and which rule makes what from what."""
    rules = ((rule.name, rule.input, rule.output) for rule in workflow.rules)
    lock = Path(workflow.basedir) / "envs" / "requirements.txt"
    return asked(PROJECT, lock, dependencies(rules, RESULTS, ANALYSES), RESULTS)


def pooling_settings(wildcards):
    """Model, level, caveats of an analysis, as plain builtins."""
    return PROJECT.pooling_settings(wildcards.analysis)


def moderator_settings(wildcards):
    """Subgroups and regressions of an analysis, as plain builtins."""
    return PROJECT.moderator_settings(wildcards.analysis)


def scrutiny_settings(wildcards):
    """Findings, precision of numbers, overlaps and units of an analysis, as plain builtins."""
    return PROJECT.scrutiny_settings(wildcards.analysis)


def engines_settings(wildcards):
    """Model and level of an analysis, as plain builtins."""
    return PROJECT.engines_settings(wildcards.analysis)


def drawing_settings(wildcards):
    """Title, groups and options of a plot, as plain builtins."""
    return PROJECT.drawing_settings(wildcards.analysis)
