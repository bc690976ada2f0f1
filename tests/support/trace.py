"""Small reviews, and the files that the workflow would write for them, without running it."""

import csv

from evisynth.project import load_project
from evisynth.provenance import asked
from evisynth.steps.effects import write_effects
from evisynth.steps.pool import write_pooled
from evisynth.steps.provenance import write_provenance
from evisynth.steps.summary import write_summary
from evisynth.steps.trace import write_trace
from evisynth.trail import trail
from support.review import CONFIG, OUTCOMES, ROOT, TABLE, study

TABLES = "effects pooled heterogeneity tau2_intervals components blups beyond".split()


def review(folder, config=CONFIG, **studies):
    """A small review on disk, with further study files."""
    (folder / "data/studies").mkdir(parents=True)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    (folder / "data/outcomes.yaml").write_text(OUTCOMES, encoding="utf-8")
    (folder / "data/hazard.csv").write_text(TABLE, encoding="utf-8")
    files = {
        "ada": study("ada", 13, 43, (4, 22)),
        "bea": study("bea", 9, 17, (1, 18)),
        "cleo": study("cleo", 5, 13),
        **studies,
    }
    for name, text in files.items():
        (folder / f"data/studies/{name}.yaml").write_text(text, encoding="utf-8")
    return folder / "config.yaml"


def build(config, results, analyses=None):
    """What the workflow would write, but plots, engines and evidence."""
    project = load_project(config)
    names = analyses or list(project.config.analyses)
    fits, effects = {}, {}
    for name in names:
        folder = results / name
        folder.mkdir(parents=True, exist_ok=True)
        effects[name] = str(folder / "effect_sizes.json")
        write_effects(config, name, project.effects_digest(name), effects[name])
        output = {table: str(folder / f"{table}.csv") for table in TABLES}
        output["script"] = str(folder / "metafor.R")
        fits[name] = output["fit"] = str(folder / "fit.json")
        write_pooled(effects[name], project.pooling_settings(name), output, str(config))
        written = {"selection": folder / "selection.csv", "trace": folder / "trace.json"}
        digest = trail(project, name).digest
        write_trace(config, name, digest, effects[name], fits[name], written)
    settings = {name: project.summary_settings()[name] for name in names}
    tables = {name: str(results / name / "effects.csv") for name in names}
    write_summary(fits, tables, settings, str(results / "summary.csv"))
    return project


def table(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def prove(config, results):
    """Write the provenance of all files in a folder of results."""
    output = {name: results / file for name, file in PROVENANCE.items()}
    for path in output.values():
        path.unlink(missing_ok=True)
    # as the workflow does, from the folder that paths are relative to
    lock = ROOT / "envs/requirements.txt"
    known = asked(load_project(config), lock, [], str(results))
    files = [str(path) for path in sorted(results.rglob("*")) if path.is_file()]
    write_provenance(known, files, {name: str(path) for name, path in output.items()})


PROVENANCE = {"provenance": "provenance.json", "crate": "ro-crate-metadata.json"}
