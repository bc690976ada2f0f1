"""A small part of the benchmark of planted errors: what must be found, and no false alarm."""

import importlib.util
import sys
from collections import Counter

import pytest
from support.review import ROOT

spec = importlib.util.spec_from_file_location("mutations", ROOT / "benchmarks/mutations.py")
mutations = importlib.util.module_from_spec(spec)
sys.modules["mutations"] = mutations
spec.loader.exec_module(mutations)

PLANTED = 6
# Of 6 planted errors of each kind: how many contradict their row, and how many of these are
# found at least. The seed is fixed, so these change only with the rules.
EXPECTED = {
    "transposed digits": (6, 6),
    "wrong denominator": (6, 6),
    "SE for SD": (6, 6),
    "wrong sign": (6, 6),
    "log not taken": (6, 6),
    "inverted contrast": (6, 6),
    "duplicated row": (5, 4),  # of single digits: two small studies can have them
    "wrong CI level": (6, 6),
    "swapped arms": (4, 4),
    "percent as count": (6, 6),
    "off by ten": (6, 6),
    "wrong column": (6, 6),
}


@pytest.fixture(scope="module")
def planted():
    return mutations.tries(mutations.KINDS, PLANTED, rich=True)


@pytest.mark.parametrize("kind", mutations.KINDS)
def test_detectable_errors_are_detected(planted, kind):
    of_kind = [trial for trial in planted if trial.kind == kind]
    can = [trial for trial in of_kind if trial.detectable]
    assert len(of_kind) == PLANTED
    detectable, detected = EXPECTED[kind]
    assert len(can) == detectable
    missed = [f"{trial.source}, {trial.what}" for trial in can if not trial.detected]
    assert len(can) - len(missed) >= detected, missed


def test_numbers_of_study_files_that_their_quotes_do_not_hold_are_detected():
    trials = mutations.study_tries(PLANTED)
    assert len(trials) == 2 * PLANTED
    assert [trial.what for trial in trials if trial.detectable and not trial.detected] == []


def test_clean_extractions_raise_no_error():
    clean = mutations.false_alarms()
    assert len(clean) > 40
    assert [row for row in clean if row["errors"]] == []


def test_errors_are_planted_in_every_kind_of_table(planted):
    assert len({trial.source for trial in planted}) > 10
    assert Counter(trial.kind for trial in planted) == dict.fromkeys(mutations.KINDS, PLANTED)


@pytest.mark.parametrize(
    ("field", "text", "can"),
    [
        ("ai", "40", True),  # 4 of 123 became 40: the percentage is another
        ("ai", "124", True),  # more events than patients
        ("percent1i", "2.3", True),
        ("estimate", "0.14", True),
        ("estimate", "0.42", False),  # one unit of the last digit: rounding
        ("pval", "0.051", False),  # the test is not known
    ],
)
def test_detectable_is_what_contradicts_the_row(field, text, can):
    table = mutations.source("bcg").rich()
    name, row = table.rows[0]
    assert row == {
        "ai": "4", "n1i": "123", "ci": "11", "n2i": "139", "percent1i": "3.3",
        "percent2i": "7.9", "estimate": "0.41", "ci_low": "0.13", "ci_high": "1.26",
        "pval": row["pval"],
    }  # fmt: skip
    wrong = row | {field: text}
    if field == "pval":
        wrong["pval"] = f"{float(row['pval']) + 0.01:.3f}"
    rows = ((name, wrong), *table.rows[1:])
    spoilt = mutations.Spoilt(rows, (1,), "")
    assert mutations.detectable(table, spoilt, "off by ten") == can


def test_a_poor_row_hides_what_a_rich_one_shows():
    table = mutations.source("bcg")
    name, row = table.rows[0]
    rows = ((name, row | {"ai": "14"}), *table.rows[1:])
    assert not mutations.detectable(table, mutations.Spoilt(rows, (1,), ""), "off by ten")
