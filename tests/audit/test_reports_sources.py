"""Duplicate reports, identifiers, weak sources, corrections, legends, what has to be said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.studies import analysis, checks, failures, review, study

from evisynth.audit.texts import similar_pairs, similarity
from evisynth.rows import RawRow

TITLE = "Bevacizumab added to chemotherapy in relapsed neuroblastoma"
LONG = f'"{TITLE}"'
RESULT = """\
  - outcome: orr
    arms: {new: {events: 8}, old: {events: 3}}
    report: r
    quote: 8 and 3
"""


def report(name="r", **keys):
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"  - {{id: {name}, kind: journal_article{more}}}\n"


# ---- REPORT-DUP


@pytest.mark.parametrize(
    ("one", "two", "levels"),
    [
        ({"doi": "10.1000/AbC"}, {"doi": "https://doi.org/10.1000/abc"}, [None]),
        ({"pmid": "123"}, {"pmid": "123"}, [None]),
        ({"title": f'"{TITLE}"'}, {"title": f'"{TITLE.upper()}."'}, [None]),
        ({"doi": "10.1/a", "title": LONG}, {"doi": "10.1/b", "title": LONG}, ["warning"]),
        ({"doi": "10.1/a", "title": LONG}, {"doi": "10.1/a", "title": "Vaccines"}, ["warning"]),
        ({"title": f'"{TITLE}, 2 years"'}, {"title": f'"{TITLE}, 5 years"'}, []),
        ({"doi": "10.1000/abc"}, {"doi": "10.1000/abd"}, []),
        ({}, {}, []),
    ],
)  # fmt: skip
def test_a_report_in_two_study_files(tmp_path, one, two, levels):
    found = failures(
        "REPORT-DUP",
        review(
            tmp_path,
            study("one", RESULT, reports=report(**one)),
            study("two", RESULT, reports=report(**two)),
        ),
    )
    assert [check.level for check in found] == levels
    # the first file keeps its rows, so that the patients are counted once
    assert all(check.place.study == "two" for check in found)
    assert all(check.place.results == ("orr",) for check in found)


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({}, "inconsistent"),
        ({"duplicate_of": "r"}, "consistent"),
        ({"superseded_by": "r"}, "consistent"),
    ],
)
def test_two_reports_of_one_study_have_to_name_each_other(tmp_path, more, verdict):
    reports = report(doi="10.1/a") + report("s", doi="10.1/a", **more)
    (check,) = checks("REPORT-DUP", review(tmp_path, study("one", RESULT, reports=reports)))
    assert check.verdict == verdict
    assert check.place.results == ()


def test_reports_may_be_tied_over_a_third(tmp_path):
    reports = (
        report(doi="10.1/a")
        + report("s", duplicate_of="r")
        + report("t", doi="10.1/a", duplicate_of="s")
    )
    assert not failures("REPORT-DUP", review(tmp_path, study("one", RESULT, reports=reports)))


words = st.lists(st.sampled_from("abcd neuro blastoma trial of new drugs".split()), max_size=8)


@given(st.lists(words.map(" ".join), max_size=12), st.sampled_from([0.5, 0.8, 0.9]))
def test_no_similar_pair_is_missed(texts, least):
    found = {(i, j): alike for i, j, alike in similar_pairs(texts, least)}
    for j, two in enumerate(texts):
        for i, one in enumerate(texts[:j]):
            alike = similarity(one, two)
            assert ((i, j) in found) == (alike >= least)
            assert found.get((i, j), alike) == alike


@given(st.text(max_size=60), st.text(max_size=60))
def test_similarity_is_symmetric_and_of_a_text_with_itself_one(one, two):
    assert similarity(one, two) == similarity(two, one)
    assert similarity(one, one) in (1.0, 0.0)


# ---- DOI-DUP


def references(*entries):
    listed = ", ".join(f"{{{entry}, quote: x}}" for entry in entries)
    return report(doi="10.1/own", title=f'"{TITLE}"', references=f"[{listed}]")


def dois(tmp_path, *entries):
    return failures(
        "DOI-DUP", review(tmp_path, study("one", RESULT, reports=references(*entries)))
    )


def test_one_doi_under_two_titles(tmp_path):
    (check,) = dois(tmp_path, "title: Recurrence, doi: 10.1/x", 'title: Trials, doi: "10.1/ X"')
    assert "Recurrence; Trials" in check.printed


def test_a_doi_of_another_journal(tmp_path):
    (check,) = dois(
        tmp_path, "title: Trials, journal: Pediatr Blood Cancer, doi: 10.1038/bjc.2016.302"
    )
    assert check.recomputed == "DOIs of that journal begin with 10.1002/pbc"


def test_another_doi_than_the_review_has(tmp_path):
    (check,) = dois(tmp_path, f'title: "{TITLE}", doi: 10.1/x')
    assert "10.1/own in this review (r)" in check.recomputed


def test_right_references_pass(tmp_path):
    assert not dois(
        tmp_path,
        "title: Trials, journal: Pediatr Blood Cancer, doi: 10.1002/pbc.26448",
        "title: Trials, doi: 10.1002/pbc.26448",
        "title: Recurrence",
    )


# ---- SOURCE-RANK


@pytest.mark.parametrize(
    ("reports", "verdict", "level"),
    [
        ("kind: journal_article, seen: full_text", "consistent", None),
        ("kind: journal_article, seen: abstract", "inconsistent", "note"),
        ("kind: journal_article, seen: secondary", "inconsistent", None),
        ("kind: preprint, seen: full_text", "inconsistent", "note"),
        ("kind: conference_abstract, seen: full_text", "inconsistent", None),
        ("kind: press_release, seen: press_release", "inconsistent", None),
    ],
)
def test_what_a_row_rests_on(tmp_path, reports, verdict, level):
    found = review(tmp_path, study("one", RESULT, reports=f"  - {{id: r, {reports}}}\n"))
    row = RawRow("one", "One", {"xi": 8, "ni": 20}, place="studies/s0.yaml#results.orr")
    (check,) = checks("SOURCE-RANK", analysis(found, row))
    assert (check.verdict, check.level) == (verdict, level)
    assert check.place.text == "results.orr"


def test_the_best_of_several_reports_counts(tmp_path):
    reports = "  - {id: r, kind: press_release}\n" + report("s", seen="full_text")
    result = RESULT + "    also: [{report: s, quote: eight}]\n"
    found = review(tmp_path, study("one", result, reports=reports))
    row = RawRow("one", "One", {}, place="studies/s0.yaml#results.orr")
    assert not failures("SOURCE-RANK", analysis(found, row))


def test_rows_of_a_table_have_no_report(tmp_path):
    found = review(tmp_path, study("one", RESULT))
    row = RawRow("one", "One", {"yi": 1.0}, place="table.csv#row 1")
    assert not checks("SOURCE-RANK", analysis(found, row))


# ---- CORRECTION


@pytest.mark.parametrize(
    ("keys", "fails"),
    [
        ({"correction": "a notice of 2025 was not seen"}, True),
        ({"title": '"Correction: Trials of vaccines"'}, True),
        ({"title": "Retraction note on trials"}, True),
        ({"title": "Wound retraction after continuity correction"}, False),
    ],
)
def test_words_of_a_correction(tmp_path, keys, fails):
    found = review(tmp_path, study("one", RESULT, reports=report(**keys)))
    assert bool(failures("CORRECTION", found.studies[0])) == fails


def test_a_stored_text_that_speaks_of_a_correction(tmp_path):
    stored = {"one": {"r": "The Author(s) 2025, corrected publication 2025"}}
    found = review(tmp_path, study("one", RESULT), stored=stored)
    (check,) = failures("CORRECTION", found.studies[0])
    assert check.printed == "corrected publication"


# ---- CAPTION

LEGENDS = """\
  - id: r
    kind: journal_article
    captions:
      - {label: Fig. 1, quote: "Fig. 1 Survival. A Whole cohort (n=67); **B** new (n=7) v old"}
      - {label: %s, quote: "%s"}
"""


@pytest.mark.parametrize(
    ("label", "words", "count"),
    [
        ("Fig. 2", "Fig. 2 Response by stage and age", 0),
        ("Figure 1", "Figure 1 Response by stage and age", 1),
        ("Fig. 2", "Fig. 2 Survival. A) Whole cohort B) new vs old (n=61)", 1),
    ],
)
def test_legends_that_repeat_each_other(tmp_path, label, words, count):
    reports = LEGENDS % (label, words)
    found = review(tmp_path, study("one", RESULT, reports=reports)).studies[0]
    assert len(failures("CAPTION", found)) == count


@pytest.mark.parametrize(
    ("cited", "says"),
    [("Fig. 1B", ""), ("Fig. 2A", "something else"), ("Fig. 1C", "does not describe")],
)
def test_a_cited_panel_shows_the_group(tmp_path, cited, says):
    reports = LEGENDS % ("Fig. 2", "Fig. 2 Response. A Stage and sex. B Sex alone")
    result = RESULT.replace("8 and 3", f'"8 and 3 ({cited})"')
    found = review(tmp_path, study("one", result, reports=reports)).studies[0]
    explained = [check.explanation for check in failures("CAPTION", found)]
    assert len(explained) == bool(says)
    assert all(says in words for words in explained)


# ---- REQUIRED, REPORTING, CROSSOVER, N-REPORTS


def test_a_trial_has_to_say_how_it_was_randomised(tmp_path):
    found = review(
        tmp_path,
        study("one", RESULT),
        study("two", RESULT, more="randomisation: 1 to 2, open label\n"),
        study("three", RESULT, design="cohort"),
    )
    bare = [bool(failures("REQUIRED", one)) for one in found.studies]
    assert dict(zip([one.study.id for one in found.studies], bare, strict=True)) == {
        "one": True, "two": False, "three": False,
    }  # fmt: skip


def test_a_stored_text_of_a_trial_without_the_word(tmp_path):
    text = study("one", RESULT, more="randomisation: 1 to 2\n")
    found = review(tmp_path, text, stored={"one": {"r": "Two groups were established"}})
    (check,) = failures("REQUIRED", found.studies[0])
    assert check.place.text == "reports.r"


@pytest.mark.parametrize(
    ("new", "old", "more", "fails"),
    [
        ('printed: "44%"', 'printed: "27%"', "", True),
        ('printed: "44%"', 'printed: "27%"', '    p: ".04"\n', False),
        ('printed: "44%", ci: ["29", "57"]', 'printed: "27%", ci: ["9", "50"]', "", False),
        ('printed: "44%", ci: ["29", "57"]', 'printed: "27%"', "", True),
    ],
)
def test_a_comparison_needs_its_precision(tmp_path, new, old, more, fails):
    result = (
        f"  - outcome: orr\n    kind: km_probability\n"
        f"    arms: {{new: {{{new}}}, old: {{{old}}}}}\n{more}"
        "    report: r\n    quote: 44 and 27\n"
    )
    found = review(tmp_path, study("one", result, more="randomisation: x\n")).studies[0]
    assert bool(failures("REQUIRED", found)) == fails


HAZARD = """\
  - outcome: death
    kind: hazard_ratio
    contrast: {numerator: a, denominator: b}
    estimate: "2.0"
    model: %s
    report: r
    quote: "2.0"
"""


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("multivariable Cox regression", "missing: n, events, the adjustment set"),
        ("Cox, n = 67, 45 deaths", "missing: the adjustment set"),
        ('"Cox, n = 67, 45 deaths, adjusted for age"', None),
        ("unadjusted exponential", "missing: n, events, the adjustment set"),
        ("exponential", None),
    ],
)
def test_an_adjusted_model_says_its_size(tmp_path, model, missing):
    found = review(tmp_path, study("one", HAZARD % model)).studies[0]
    assert [check.recomputed for check in failures("REPORTING", found)] == [missing] * bool(
        missing
    )


def test_crossover_is_named_with_its_share(tmp_path):
    move = (
        "events_after_randomisation: [{what: crossover, from: old, to: new, n: %s, of: 18, "
        "report: r, quote: x}]\n"
    )
    many = review(tmp_path, study("one", RESULT, more=move % 11)).studies[0]
    (check,) = failures("CROSSOVER", many)
    assert (check.printed, check.recomputed) == (
        "11 of 18 moved from old to new",
        "61% of the arm",
    )


def test_few_who_changed_arms_are_no_finding(tmp_path):
    move = (
        "events_after_randomisation: [{what: crossover, from: old, to: new, n: 0, of: 18, "
        "report: r, quote: x}]\n"
    )
    assert not failures(
        "CROSSOVER", review(tmp_path, study("one", RESULT, more=move)).studies[0]
    )


def centres(name, unit, number):
    return (
        f"  - {{id: {name}, outcome: characteristic, category: {name}, unit: {unit}, "
        f'estimate: "{number}", report: r, quote: x}}\n'
    )


def test_numbers_of_centres_differ(tmp_path):
    results = centres("one", "centres", 29) + centres("two", "hospitals", 43)
    results += centres("three", "countries", 7)
    (check,) = failures("N-REPORTS", review(tmp_path, study("one", results)))
    assert check.printed == "29 (one); 43 (two)"


@pytest.mark.parametrize(
    ("age", "fails"), [("1-21 years", True), ("between one and 18 years", False)]
)
def test_ages_of_one_trial_differ(tmp_path, age, fails):
    shared = "registry: [NCT00000001]\npopulation: {age: %s}\n"
    found = review(
        tmp_path,
        study("one", RESULT, more=shared % "1 to 18 years"),
        study("two", RESULT, more=shared % age),
    )
    assert bool(failures("N-REPORTS", found)) == fails
