"""Patients who are counted more than once."""

import pytest
from support.studies import analysis, checks, failures, review, study

from evisynth.rows import RawRow

RESULT = """\
  - outcome: orr
    arms: {new: {events: 8}, old: {events: 3}}
    report: r
    quote: 8 and 3
"""
TRIAL = "registry: [NCT00000001]\n"
DECLARED = "overlaps: [{with: %s, kind: same_patients, certainty: %s%s}]\n"


def pair(tmp_path, one, two, result=RESULT):
    return review(tmp_path, study("one", result, more=one), study("two", RESULT, more=two))


def test_one_registry_number_asks_for_a_declaration(tmp_path):
    (check,) = failures("OVERLAP", pair(tmp_path, TRIAL, "registry: [nct00000001]\n"))
    assert (check.place.text, check.place.study) == ("overlaps.one", "two")
    assert "NCT00000001" in check.printed
    assert "with: one" in check.action


def test_the_number_of_another_study_in_the_results_asks_too(tmp_path):
    named = RESULT + "    category: treated in the trial (NCT00000001)\n"
    (check,) = failures("OVERLAP", pair(tmp_path, "", TRIAL, named))
    assert "one names NCT00000001, which is two" in check.printed


def test_different_numbers_ask_for_nothing(tmp_path):
    assert not checks("OVERLAP", pair(tmp_path, TRIAL, "registry: [NCT00000002]\n"))


@pytest.mark.parametrize("certainty", ["stated", "possible", "excluded"])
@pytest.mark.parametrize("by_one", [True, False])
def test_a_declaration_in_either_file_is_an_answer(tmp_path, certainty, by_one):
    one, two = TRIAL, TRIAL
    if by_one:
        one += DECLARED % ("two", certainty, "")
    else:
        two += DECLARED % ("one", certainty, "")
    (check,) = checks("OVERLAP", pair(tmp_path, one, two))
    assert check.verdict == "consistent"
    assert f"says {certainty}" in check.recomputed


@pytest.mark.parametrize(
    ("first", "second", "against"),
    [
        (("stated", ""), ("excluded", ""), "certainty"),
        (("stated", ", at_most: 4"), ("likely", ", at_most: 5"), "size"),
        (("stated", ", at_most: 4"), ("likely", ", at_most: 4"), ""),
        (("stated", ", at_most: 4"), ("likely", ", at_most: 5, unit: episodes"), ""),
    ],
)
def test_two_declarations_must_not_contradict_each_other(tmp_path, first, second, against):
    (check,) = checks(
        "OVERLAP",
        pair(tmp_path, DECLARED % ("two", *first), DECLARED % ("one", *second)),
    )
    assert (check.verdict == "inconsistent") == bool(against)
    assert against in check.explanation


@pytest.mark.parametrize(("certainty", "fails"), [("stated", True), ("excluded", False)])
def test_declared_overlaps_that_are_pooled_are_named(tmp_path, certainty, fails):
    found = pair(tmp_path, DECLARED % ("two", certainty, ", at_most: 4"), "")
    rows = (RawRow("one", "One", {}), RawRow("two", "Two", {}))
    both = type(found)(found.evidence, found.studies, (), (analysis(found, *rows),))
    (check,) = checks("OVERLAP", both)
    assert (check.verdict == "inconsistent") == fails
    assert ("both are in main" in check.recomputed) == fails


def hospitals(name, names):
    return study(
        name,
        "  - {outcome: characteristic, kind: statement, category: hospitals, report: r, "
        f'quote: "{names}"}}\n',
    )


@pytest.mark.parametrize(
    ("names", "fails"),
    [
        ("Hospital Niño Jesús and Hospital de Cruces", True),
        ("Hospital de Cruces, Hospital Universitario Barcelona", False),
    ],
)
def test_two_hospitals_in_common_ask_for_a_declaration(tmp_path, names, fails):
    found = review(
        tmp_path, hospitals("one", "Vall d’Hebron, Nino Jesus, Cruces"), hospitals("two", names)
    )
    assert bool(failures("OVERLAP", found)) == fails


GROUP = "  - {id: r, kind: journal_article, title: A report from the Oncology Study Group %s}\n"


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ("", "", "undecided"),
        ("{from: 2001, to: 2004}", "", "undecided"),
        ("{from: 2001, to: 2004}", "{from: 2004-06, to: 2008}", "inconsistent"),
        ("{from: 2001, to: 2004}", "{from: 2005, to: 2008}", "consistent"),
    ],
)
def test_studies_of_one_group_are_told_apart_by_their_periods(tmp_path, first, second, verdict):
    more = [f"recruited: {period}\n" if period else "" for period in (first, second)]
    found = review(
        tmp_path,
        study("one", RESULT, reports=GROUP % "on one thing", more=more[0]),
        study("two", RESULT, reports=GROUP % "about another", more=more[1]),
    )
    (check,) = checks("OVERLAP", found)
    assert check.verdict == verdict


def rows(*arms):
    return [
        RawRow(
            "one", "One", {}, tuple(f"one/{arm}" for arm in group), place="s0.yaml#results.orr"
        )
        for group in arms
    ]


@pytest.mark.parametrize(
    ("arms", "shared"),
    [
        ((["new"], ["old"]), None),
        ((["new"], ["new"]), "in both: new"),
        ((["new"], ["both"]), "in both: new"),
        ((["new", "old"], ["both"]), "in both: new, old"),
    ],
)
def test_an_arm_is_counted_once_per_analysis(tmp_path, arms, shared):
    found = review(tmp_path, study("one", RESULT))
    (check,) = checks("ARM-REUSE", analysis(found, *rows(*arms)))
    assert (check.verdict, check.recomputed) == (
        ("inconsistent", shared) if shared else ("consistent", "no arm in common")
    )


def test_a_shared_arm_that_is_dealt_with_is_no_finding(tmp_path):
    found = review(tmp_path, study("one", RESULT))
    asked = analysis(found, *rows(["new"], ["new"]), multi_arm="split")
    assert not failures("ARM-REUSE", asked)
