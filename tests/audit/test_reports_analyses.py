"""Direction, contrasts, settings and number of studies; what a fit says of itself."""

from dataclasses import replace

import pytest
from support.studies import analysis, checks, failures, review, study

from evisynth.audit.material import Review
from evisynth.audit.records import FitFacts
from evisynth.rows import RawRow

HAZARD = """\
  - id: hazard
    outcome: death
    kind: hazard_ratio
    contrast: {numerator: nodes, denominator: no nodes}
    estimate: "%s"
    ci: ["%s", "%s"]
    report: r
    quote: x
"""
RESPONSE = """\
  - id: response
    outcome: orr_association
    kind: p_value
    contrast: {numerator: %s, denominator: %s}
    p: "%s"
    report: r
    quote: x
"""
COUNTS = """\
  - outcome: orr
    arms: {new: {events: 8}, old: {events: 3}}
    report: r
    quote: 8 and 3
"""


@pytest.mark.parametrize(
    ("hazard", "response", "verdicts"),
    [
        (("0.2", "0.1", "0.5"), ("no nodes", "Nodes", "0.049"), ["inconsistent"]),
        (("0.2", "0.1", "0.5"), ("nodes", "no nodes", "0.049"), ["consistent"]),
        (("2", "1.1", "5"), ("no nodes", "nodes", "0.049"), ["consistent"]),
        (("0.2", "0.1", "1.5"), ("no nodes", "nodes", "0.049"), []),
        (("0.2", "0.1", "0.5"), ("no nodes", "nodes", "0.06"), []),
        (("0.2", "0.1", "0.5"), ("no bone", "bone", "0.01"), []),
    ],
)
def test_one_group_is_ahead_in_all_outcomes(tmp_path, hazard, response, verdicts):
    found = review(tmp_path, study("one", HAZARD % hazard + RESPONSE % response))
    assert [check.verdict for check in checks("DIRECTION", found)] == verdicts


def rows(*effects):
    return [
        RawRow(str(i), f"Study {i}", {"yi": yi, "sei": 0.2}, place=f"t.csv#row {i}")
        for i, yi in enumerate(effects, 1)
    ]


@pytest.mark.parametrize(
    ("effects", "measure", "found"),
    [
        ((0.5, 0.6, -0.7), "HR", ["row 3"]),
        ((0.5, 0.6, -0.3), "HR", []),  # on the other side, but weakly
        ((0.5, 0.6, 0.7), "HR", []),
        ((0.5, 0.6, -0.7), "GEN", []),  # 0 may be no null value
    ],
)
def test_rows_with_strong_evidence_agree_in_direction(tmp_path, effects, measure, found):
    known = review(tmp_path, study("one", COUNTS))
    main = analysis(known, *rows(*effects), measure=measure, outcome="")
    said = failures("DIRECTION", Review(None, (), (), (main,)))
    assert [check.place.text for check in said] == found


def test_counts_have_a_direction_too(tmp_path):
    known = review(tmp_path, study("one", COUNTS))
    numbers = {"ai": 30.0, "n1i": 40.0, "ci": 10.0, "n2i": 40.0}
    swapped = {"ai": 10.0, "n1i": 40.0, "ci": 30.0, "n2i": 40.0}
    made = [RawRow(name, name, n, place=f"t.csv#row {name}") for name, n in
            (("1", numbers), ("2", numbers), ("3", swapped))]  # fmt: skip
    main = analysis(known, *made, measure="OR")
    (check,) = failures("DIRECTION", Review(None, (), (), (main,)))
    assert check.place.study == "3"


def test_a_ratio_names_its_groups(tmp_path):
    bare = HAZARD.replace("hazard_ratio", "risk_ratio").replace(
        "    contrast: {numerator: nodes, denominator: no nodes}\n", ""
    )
    found = review(tmp_path, study("one", bare % ("0.2", "0.1", "0.5")))
    (check,) = failures("CONTRAST", found)
    assert check.place.results == ("hazard",)


def test_a_contrast_of_an_outcome_without_a_direction_is_a_note(tmp_path):
    found = review(tmp_path, study("one", COUNTS))
    row = RawRow("one", "One", {"ai": 1.0}, ("one/new", "one/old"))
    levels = [
        [check.level for check in failures("CONTRAST", replace(found, analyses=(main,)))]
        for main in (analysis(found, row, outcome="age"), analysis(found, row, outcome="orr"))
    ]
    assert levels == [["note"], []]


def test_an_inverted_contrast_is_shown_both_ways(tmp_path):
    found = review(tmp_path, study("one", HAZARD % ("0.212", "0.08", "0.57")))
    row = RawRow(
        "one",
        "One",
        {"estimate": 1 / 0.212, "ci_low": 1 / 0.57, "ci_high": 1 / 0.08},
        notes=("inverted: printed as 0.212 (0.08 to 0.57) for nodes v no nodes",),
        included=False,
        place="studies/s0.yaml#results.hazard",
    )
    (check,) = failures("INVERTED", analysis(found, row))
    assert check.printed == "printed as 0.212 (0.08 to 0.57) for nodes v no nodes"
    assert check.recomputed.startswith("4.72 (1.75 to 12.5)")


def test_the_setting_that_fewer_have_is_named(tmp_path):
    texts = [
        study(name, COUNTS, more=f"population: {{setting: {setting}}}\n")
        for name, setting in (("one", "relapsed"), ("two", "relapsed"), ("three", "first_line"))
    ]
    found = review(tmp_path, *texts)
    made = {name: RawRow(name, name, {}) for name in ("one", "two", "three")}
    (check,) = failures("SETTING", analysis(found, *made.values()))
    assert (check.place.study, check.printed) == ("three", "first_line")
    assert not failures("SETTING", analysis(found, made["one"], made["two"]))


@pytest.mark.parametrize(
    ("k", "verdicts"),
    [(0, []), (1, ["inconsistent"]), (4, ["inconsistent"]), (10, ["consistent"])],
)
def test_few_studies_are_said_to_be_few(tmp_path, k, verdicts):
    found = review(tmp_path, study("one", COUNTS))
    made = [*rows(*[0.1] * k), RawRow("x", "X", {}, included=False, reason="no")]
    assert [c.verdict for c in checks("K-SMALL", analysis(found, *made))] == verdicts


FACTS = FitFacts(
    "main", "config.yaml", 5, q=2.0, q_df=4, tau2=0.1, hk_width=1.0, wald_width=0.8
)


@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        ({}, ["consistent"]),
        ({"hk_width": 0.7}, ["inconsistent"]),
        ({"wald_width": None}, ["undecided"]),
        ({"hk_width": None}, []),
        ({"k": 1}, []),
    ],
)
def test_a_narrower_interval_by_knapp_and_hartung_is_noticed(change, verdicts):
    assert [c.verdict for c in checks("HK-NARROW", replace(FACTS, **change))] == verdicts


@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        ({}, ["consistent"]),
        ({"tau2": 0.0, "tau2_at_bound": True}, ["inconsistent"]),
        ({"notes": ("a correlation is 1, at its bound",)}, ["inconsistent"]),
        ({"tau2": None}, []),
    ],
)
def test_an_estimate_at_its_bound_is_noticed(change, verdicts):
    assert [c.verdict for c in checks("BOUNDARY", replace(FACTS, **change))] == verdicts
