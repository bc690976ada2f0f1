"""Every column of the results is in the documents."""

import re

import pytest
from support.review import ROOT

from evisynth import tables
from evisynth.steps import engines, evidence, summary

PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
KEYS = (ROOT / "docs/study-file.md").read_text(encoding="utf-8")
COLUMNS = {
    "summary": summary.COLUMNS,
    "effects": [*tables.EFFECTS, *tables.SOURCES, "notes"],
    "pooled": tables.POOLED,
    "heterogeneity": tables.HETEROGENEITY,
    "engines": engines.COLUMNS,
}


def section(name):
    return next(
        part for part in PAGE.split("\n## ") if f"{name}.csv:" in part.partition("\n")[0]
    )


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_a_table_are_explained(name):
    explained = set(re.findall(r"`(\w+)`", section(name)))
    assert set(COLUMNS[name]) <= explained


@pytest.mark.parametrize("name", evidence.TABLES)
def test_columns_of_the_evidence_are_keys_or_explained(name):
    words = set(re.findall(r"`(\w+)`", PAGE + KEYS))
    assert set(evidence.COLUMNS[name].split()) <= words
