"""Every column of the results is in the documents."""

import re

import pytest
from support.review import ROOT

from evisynth import tables, tracing
from evisynth.steps import audit, engines, evidence, moderators, scrutiny, summary

PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
KEYS = (ROOT / "docs/study-file.md").read_text(encoding="utf-8")
COLUMNS = {
    "summary": summary.COLUMNS,
    "effects": [*tables.EFFECTS, *tables.SOURCES, "notes"],
    "pooled": tables.POOLED,
    "heterogeneity": tables.HETEROGENEITY,
    "tau2_intervals": tables.TAU2_INTERVALS,
    "components": tables.COMPONENTS,
    "blups": tables.SHRUNK,
    "beyond": tables.BEYOND,
    "subgroups": moderators.SUBGROUPS,
    "subgroup_tests": moderators.SUBGROUP_TESTS,
    "regression": moderators.REGRESSION,
    "regression_tests": moderators.REGRESSION_TESTS_COLUMNS,
    "predictions": moderators.PREDICTIONS,
    "engines": engines.COLUMNS,
    "audit": scrutiny.AUDIT,
    "audit_cost": scrutiny.AUDIT_COST,
    "dependence": scrutiny.DEPENDENCE,
    "selection": tracing.SELECTION,
    "evidence/audit": [*audit.COLUMNS, *audit.RULE_COLUMNS],
}
FILES = re.findall(
    r'"(\w+\.(?:csv|json))"', (ROOT / "workflow/rules/common.smk").read_text("utf-8")
)


def section(name):
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    return next(part for part in parts if re.match(rf"(?:ANALYSIS/)?{name}\.csv[,:]", part))


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_a_table_are_explained(name):
    explained = set(re.findall(r"`(\w+)`", section(name)))
    assert set(COLUMNS[name]) <= explained


def test_every_file_of_an_analysis_has_a_section():
    headings = " ".join(re.findall(r"^## (.*)$", PAGE, re.MULTILINE))
    assert len(FILES) > 8
    assert [file for file in FILES if file not in headings] == []


@pytest.mark.parametrize("name", evidence.TABLES)
def test_columns_of_the_evidence_are_keys_or_explained(name):
    words = set(re.findall(r"`(\w+)`", PAGE + KEYS))
    assert set(evidence.COLUMNS[name].split()) <= words
