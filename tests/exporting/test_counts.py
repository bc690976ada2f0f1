"""Rows, studies and reports are counted apart."""

import csv
from pathlib import Path

import pytest

from evisynth.project import load_project
from evisynth.steps.effects import write_effects
from evisynth.steps.pool import write_pooled
from evisynth.steps.summary import write_summary

ROOT = Path(__file__).parents[2]
POOLED = (
    "effects pooled heterogeneity tau2_intervals components blups beyond script fit".split()
)


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """Rows of summary.csv of three shipped analyses, by their ids."""
    folder = tmp_path_factory.mktemp("results")
    project = load_project(ROOT / "config.yaml")
    settings = project.summary_settings()
    asked = {n: settings[n] for n in ("orr_chemo_alone", "orr_any_salvage", "mycn_dfs")}
    for name in asked:
        sizes = folder / f"{name}.json"
        write_effects(ROOT / "config.yaml", name, project.effects_digest(name), str(sizes))
        output = {key: str(folder / f"{name}.{key}") for key in POOLED}
        write_pooled(str(sizes), project.pooling_settings(name), output, "config.yaml")
    write_summary(
        {name: str(folder / f"{name}.fit") for name in asked},
        {name: str(folder / f"{name}.effects") for name in asked},
        asked,
        str(folder / "summary.csv"),
    )
    with (folder / "summary.csv").open(newline="") as stream:
        return {row["analysis"]: row for row in csv.DictReader(stream)}


def counts(row):
    return tuple(row[key] for key in ("k", "studies", "reports", "duplicate_reports"))


def test_a_study_with_two_rows_is_one_study(summary):
    """London 2010 has two arms of chemotherapy; BEACON-Immuno four reports."""
    k, studies, reports, duplicates = counts(summary["orr_chemo_alone"])
    assert (k, studies) == ("5", "4")
    assert int(reports) > int(studies)
    assert duplicates == "0"


def test_a_report_that_repeats_another_is_counted_apart(summary):
    """SEHOP has a journal article, and the same text in a repository."""
    k, studies, reports, duplicates = counts(summary["orr_any_salvage"])
    assert (k, studies, duplicates) == ("1", "1", "1")
    assert int(reports) >= 1


def test_a_table_knows_no_reports(summary):
    k, studies, reports, duplicates = counts(summary["mycn_dfs"])
    assert (k, studies, reports, duplicates) == ("42", "42", "", "")
