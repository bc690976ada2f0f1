"""Means of study files: printed, or derived from what a report prints instead."""

import math
import re

import pytest

from evisynth.project import load_project

OUTCOMES = "outcomes:\n  pain: {label: Pain, definition: a score, higher_is: bad}\n"
CONFIG = """\
review: {title: Pain, question: Less pain?}
evidence: {studies: studies, outcomes: outcomes.yaml}
analyses:
  pain:
    title: Pain
    outcome: pain
    measure: MD
    contrast: {numerator: {treatment: new}, denominator: {treatment: old}}
"""
STUDY = """\
study: one
design: rct
reports: [{{id: r, kind: journal_article}}]
arms:
  - {{id: a, n: 40, treatment: new}}
  - {{id: b, n: 42, treatment: old}}
results:
  - outcome: pain
    kind: {kind}
    arms: {arms}
    report: r
    quote: {quote}
"""


@pytest.fixture
def row(tmp_path):
    def select(arms, kind="mean", more=""):
        (tmp_path / "studies").mkdir()
        (tmp_path / "outcomes.yaml").write_text(OUTCOMES, encoding="utf-8")
        (tmp_path / "config.yaml").write_text(CONFIG + more, encoding="utf-8")
        quote = " and ".join(re.findall("[0-9.]+", arms))
        text = STUDY.format(kind=kind, arms=arms, quote=quote)
        (tmp_path / "studies" / "one.yaml").write_text(text, encoding="utf-8")
        (found,) = load_project(tmp_path / "config.yaml").rows["pain"]
        return found

    return select


def test_printed_means_are_taken_as_they_are(row):
    found = row("{a: {mean: 4.1, sd: 2.0, se: 9}, b: {mean: 5.0, sd: 2.2}}")
    assert found.included
    assert found.notes == ()
    assert found.numbers["sd1i"] == 2.0


def test_a_standard_error_and_an_interval_give_standard_deviations(row):
    found = row("{a: {mean: 4.1, se: 0.3}, b: {mean: 5.0, ci: [4.4, 5.6]}}")
    assert found.included
    assert found.numbers["sd1i"] == pytest.approx(0.3 * math.sqrt(40), rel=1e-14)
    # qt(0.975, 41) of R
    expected = 0.6 * math.sqrt(42) / 2.019540970441376
    assert found.numbers["sd2i"] == pytest.approx(expected, rel=1e-12)
    assert [note.split(" from")[0] for note in found.notes] == [
        "derived: sd1i",
        "derived: sd2i",
    ]


MEDIANS = "{a: {median: 4.1, iqr: [3.0, 5.1]}, b: {median: 5.0, iqr: [4.0, 6.1]}}"


def test_medians_become_means_only_where_the_analysis_says_how(row):
    found = row(MEDIANS, kind="median")
    assert not found.included
    assert "conversions: {summary: ...}" in found.reason


def test_medians_become_means_by_the_method_that_the_analysis_names(row):
    found = row(MEDIANS, kind="median", more="    conversions: {summary: luo_wan_shi}\n")
    assert found.included
    # Luo et al. (2018): w = 0.7 + 0.39/n; Wan et al. (2014): iqr over twice a normal quantile
    weight = 0.7 + 0.39 / 40
    expected = weight * (3.0 + 5.1) / 2 + (1 - weight) * 4.1
    assert found.numbers["m1i"] == pytest.approx(expected, rel=1e-14)
    assert all(note.startswith("derived: ") for note in found.notes)


def test_an_interval_of_a_median_is_not_taken_for_one_of_a_mean(row):
    arms = "{a: {median: 4.1, ci: [3.0, 5.1]}, b: {median: 5.0, ci: [4.0, 6.1]}}"
    found = row(arms, kind="median", more="    conversions: {summary: luo_wan_shi}\n")
    assert not found.included
    assert found.reason.startswith("does not give m1i")


def test_what_is_missing_is_named(row):
    found = row("{a: {mean: 4.1}, b: {mean: 5.0, sd: 2.2}}")
    assert (found.included, found.reason) == (False, "does not give sd1i")
