"""Which numbers enter an analysis, in which direction, and never twice."""

import math
import re

import pytest

from evisynth.selection import digest

CONFIG, TABLE = "config.yaml", "table.csv"
ALPHA, BETA, GAMMA = (f"studies/{name}.yaml" for name in ("alpha", "beta", "gamma"))
MEASURE = "measure: PLO"


def numbers(rows):
    return [(row.study, *row.numbers.values()) for row in rows]


def test_what_the_small_review_selects(review):
    project = review.load()
    assert numbers(project.rows["response"]) == [
        ("alpha", 8, 20),
        ("beta", 9, 30),
        ("gamma", 12, 25),
    ]
    assert numbers(project.rows["compared"]) == [
        ("alpha", 8, 20, 3, 18),
        ("gamma", 12, 25, 6, 24),
    ]
    assert numbers(project.rows["hazard"]) == [("alpha", 2, 1, 4, 0.95)]
    assert numbers(project.rows["tabled"]) == [
        ("one", 0.5, 0.04),
        ("two", 0.3, 0.09),
        ("three", -0.1, 0.01),
    ]
    assert all(row.included and not row.reason for row in project.rows["compared"])
    alpha = project.rows["response"][0]
    assert (alpha.label, alpha.arms, alpha.report, alpha.printed) == (
        "Alpha 2020",
        ("alpha/N",),
        "a1",
        "N: 8/20 (40%)",
    )
    assert alpha.place == "studies/alpha.yaml#results.orr"


# --- the same patients twice -----------------------------------------------------------------


def arm_of_beta(review, *arms, results):
    """Give the study beta further arms and results per arm."""
    for arm in arms:
        review.change(BETA, "results:\n", f"  - {arm}\nresults:\n")
    for arm, events, n in results:
        review.change(
            BETA,
            "$",
            f"  - id: orr-{arm}\n    outcome: orr\n    report: b1\n    quote: x\n"
            f"    arms: {{{arm}: {{events: {events}, n: {n}}}}}\n",
        )


def reused(review):
    (problem,) = review.problems()
    assert problem.place == "analyses.response.choose"
    assert problem.expected == "every patient once"
    assert "choose: {beta: " in problem.action
    assert "studies/beta.yaml" in problem.found
    return problem.found


def test_the_same_arm_twice_is_refused(review):
    arm_of_beta(review, results=[("all", 10, 30)])
    found = reused(review)
    assert "the arm 'all' would enter twice" in found
    assert "'orr' (xi 9, ni 30) and 'orr-all' (xi 10, ni 30)" in found


def test_an_arm_and_one_made_of_it_are_refused(review):
    arm_of_beta(
        review,
        "{id: half, n: 15, treatment: new}",
        "{id: both, n: 45, treatment: new, made_of: [all, half]}",
        results=[("both", 20, 45)],
    )
    assert "the arm 'all' is part of the arm 'both' and both would enter" in reused(review)


def test_an_arm_and_one_made_of_it_at_any_depth_are_refused(review):
    arm_of_beta(
        review,
        "{id: some, n: 40, treatment: other, made_of: [all]}",
        "{id: more, n: 50, treatment: other, made_of: [some]}",
        "{id: most, n: 60, treatment: new, made_of: [more]}",
        results=[("most", 20, 60)],
    )
    assert "the arm 'all' is part of the arm 'most'" in reused(review)


def test_arms_that_share_a_part_are_refused(review):
    arm_of_beta(
        review,
        "{id: part, n: 5, treatment: other}",
        "{id: one, n: 15, treatment: new, made_of: [part]}",
        "{id: two, n: 16, treatment: new, made_of: [part]}",
        results=[("one", 5, 15), ("two", 6, 16)],
    )
    assert "the arms 'one' and 'two' have patients in common" in reused(review)


def test_one_of_them_can_be_chosen(review):
    arm_of_beta(review, results=[("all", 10, 30)])
    review.change(CONFIG, MEASURE, f"{MEASURE}\n    choose: {{beta: orr-all}}")
    assert numbers(review.rows("response"))[1] == ("beta", 10, 30)


def test_an_unusable_result_does_not_count_twice(review):
    arm_of_beta(review, results=[("all", 10, 30)])
    review.change(BETA, "$", "    use: no\n    why_not: another criterion\n")
    assert numbers(review.rows("response"))[1] == ("beta", 9, 30)


def test_other_patients_of_one_study_enter_as_rows_of_their_own(review):
    arm_of_beta(
        review,
        "{id: second, label: Second course, n: 12, treatment: new}",
        results=[("second", 4, 12)],
    )
    rows = [row for row in review.rows("response") if row.study == "beta"]
    assert [row.label for row in rows] == ["beta: all", "beta: Second course"]
    assert [row.arms for row in rows] == [("beta/all",), ("beta/second",)]
    assert {row.cluster for row in rows} == {"beta"}


def test_a_control_shared_by_two_contrasts_is_refused(review):
    review.change(GAMMA, "results:\n", "  - {id: N2, n: 10, treatment: new}\nresults:\n")
    review.change(
        GAMMA,
        "$",
        "  - id: second\n    outcome: orr\n    report: g1\n    quote: x\n"
        "    arms: {N2: {events: 4, n: 10}, O: {events: 6, n: 24}}\n",
    )
    (problem,) = review.problems()
    assert problem.place == "analyses.compared.choose"
    assert "the arm 'O' would enter twice" in problem.found
    assert "'orr'" in problem.found
    assert "'second'" in problem.found


def test_two_arms_on_one_side_are_refused(review):
    review.change(GAMMA, "results:\n", "  - {id: N2, n: 10, treatment: new}\nresults:\n")
    review.change(
        GAMMA, "O: {events: 6, n: 24}", "O: {events: 6, n: 24}, N2: {events: 1, n: 10}"
    )
    review.keep("compared")
    (problem,) = review.problems()
    assert "N, N2 against O" in problem.found


def test_a_contrast_of_an_arm_with_one_made_of_it_is_refused(review):
    review.change(
        GAMMA,
        "results:\n",
        "  - {id: All, n: 49, treatment: any, made_of: [N, O]}\nresults:\n",
    )
    review.change(GAMMA, "O: {events: 6, n: 24}", "All: {events: 18, n: 49}")
    review.change(
        CONFIG, "denominator: {treatment: old}", "denominator: {treatment: [old, any]}"
    )
    (problem,) = review.problems()
    assert "the arm 'N' is part of the arm 'All'" in problem.found


def second_hazard_ratio(review, extra=""):
    review.change(
        ALPHA,
        "$",
        "  - id: adjusted\n    outcome: death\n    kind: hazard_ratio\n    report: a1\n"
        "    contrast: {numerator: exposed, denominator: not exposed}\n"
        '    estimate: "2.2"\n    ci: ["1.1", "4.4"]\n    quote: x\n' + extra,
    )


def test_two_hazard_ratios_of_one_study_are_refused(review):
    second_hazard_ratio(review)
    (problem,) = review.problems()
    assert problem.place == "analyses.hazard.choose"
    assert "'death' (estimate 2, ci_low 1" in problem.found
    assert "'adjusted'" in problem.found


# --- several reports of one study ------------------------------------------------------------


def second_report(review, report="", keys="", arm="all", events=12, more=""):
    """Another report of the study beta with a number of the same outcome."""
    review.change(
        BETA,
        "reports: [{id: b1, kind: journal_article}]",
        f"reports: [{{id: b1, kind: conference_abstract{report}}}, "
        f"{{id: b2, kind: journal_article{keys}}}]",
    )
    review.change(
        BETA,
        "$",
        f"  - id: again\n    outcome: orr\n    report: b2\n    quote: {events} of 30\n"
        f"    arms: {{{arm}: {{events: {events}, n: 30}}}}\n{more}",
    )


def of_beta(review):
    return [row for row in review.rows("response") if row.study == "beta"]


def test_a_superseded_report_gives_way_to_the_newer_one(review):
    second_report(review, ", superseded_by: b2")
    (row,) = of_beta(review)
    assert (row.report, row.numbers["xi"], row.included) == ("b2", 12, True)
    assert row.notes == ("taken instead of 'orr' of b1 (xi 9, ni 30)",)


def test_a_report_that_is_superseded_through_another_gives_way(review):
    review.change(
        BETA,
        "reports: [{id: b1, kind: journal_article}]",
        "reports: [{id: b1, kind: press_release, superseded_by: b3}, {id: b2, "
        "kind: journal_article}, {id: b3, kind: preprint, superseded_by: b2}]",
    )
    review.change(
        BETA,
        "$",
        "  - id: again\n    outcome: orr\n    report: b2\n    quote: 12 of 30\n"
        "    arms: {all: {events: 12, n: 30}}\n",
    )
    (row,) = of_beta(review)
    assert row.report == "b2"


def test_reports_that_supersede_each_other_are_left_to_the_reviewer(review):
    second_report(review, ", superseded_by: b2", ", superseded_by: b1")
    # both have given way, so none is pooled: shown with its reason, not silently taken
    rows = of_beta(review)
    assert [row.included for row in rows] == [False, False]
    assert {row.reason for row in rows} == {
        "its report is superseded by b2",
        "its report is superseded by b1",
    }


def test_a_number_of_a_superseded_report_only_stays_and_says_so(review):
    second_report(review, ", superseded_by: b2", more="    use: no\n    why_not: rounded\n")
    (row,) = of_beta(review)
    assert (row.report, row.included) == ("b1", True)
    assert "from b1, which is superseded by b2" in row.notes[0]


def test_a_duplicate_gives_way_to_the_report_that_it_repeats(review):
    second_report(review, keys=", duplicate_of: b1")
    (row,) = of_beta(review)
    assert row.report == "b1"
    assert row.notes == ("taken instead of 'again' of b2 (xi 12, ni 30)",)


def test_the_primary_report_is_authoritative(review):
    second_report(review, keys=", primary: true")
    (row,) = of_beta(review)
    assert (row.report, row.numbers["xi"]) == ("b2", 12)


def test_a_superseded_number_can_be_chosen_all_the_same(review):
    second_report(review, ", superseded_by: b2")
    review.change(CONFIG, MEASURE, f"{MEASURE}\n    choose: {{beta: orr}}")
    (row,) = of_beta(review)
    assert (row.report, row.numbers["xi"]) == ("b1", 9)


@pytest.mark.parametrize(
    ("report", "keys", "more"),
    [
        ("", "", ""),  # neither is primary
        (", primary: true", ", primary: true", ""),  # both are
        ("", ", primary: true", "    subgroup: refractory\n"),  # not the same patients
    ],
)
def test_reports_of_which_none_is_authoritative_are_refused(review, report, keys, more):
    second_report(review, report, keys, more=more)
    assert "the arm 'all' would enter twice" in reused(review)


def test_the_primary_report_at_another_time_point_does_not_decide(review):
    second_report(review, keys=", primary: true", more="    when: after 2 cycles\n")
    review.change(BETA, "    quote: 9 of 30 responded", "    quote: x\n    when: best response")
    assert "the arm 'all' would enter twice" in reused(review)


def test_a_superseded_number_of_other_patients_is_kept(review):
    review.change(BETA, "results:\n", "  - {id: second, n: 30, treatment: new}\nresults:\n")
    second_report(review, ", superseded_by: b2", arm="second")
    assert [row.included for row in of_beta(review)] == [True, True]


# --- direction -------------------------------------------------------------------------------


def test_a_hazard_ratio_of_the_opposite_contrast_is_inverted(review):
    review.change(
        ALPHA,
        "numerator: exposed, denominator: not  exposed",
        "numerator: NOT exposed, denominator: Exposed ",
    )
    review.change(ALPHA, 'estimate: "2.0"', 'estimate: "0.5"')
    review.change(ALPHA, '"1.0", "4.0"', '"0.2", "1.0"')
    (row,) = review.rows("hazard")
    assert row.numbers == {"estimate": 2, "ci_low": 1, "ci_high": 5, "ci_level": 0.95}
    assert row.notes == ("inverted: printed as 0.5 (0.2 to 1.0) for NOT exposed v Exposed",)
    assert row.printed == "0.5 (0.2 to 1.0)"


def test_a_hazard_ratio_between_arms_is_recognised_by_their_treatments(review):
    review.change(
        CONFIG,
        "numerator: Exposed, denominator: Not exposed",
        "numerator: {treatment: old}, denominator: {treatment: new}",
    )
    review.change(
        ALPHA, "numerator: exposed, denominator: not  exposed", "numerator: n, denominator: O"
    )
    (row,) = review.rows("hazard")
    assert row.numbers["estimate"] == 0.5
    assert row.arms == ("alpha/N", "alpha/O")


@pytest.mark.parametrize("other", ["unexposed", "not-exposed", "Exposed"])
def test_another_contrast_is_no_candidate(review, other):
    review.change(ALPHA, "denominator: not  exposed", f"denominator: {other}")
    review.keep("hazard")
    (problem,) = review.problems()
    assert problem.found == "no study that fits"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('    ci: ["1.0", "4.0"]\n', "", "without an interval"),
        ('ci: ["1.0", "4.0"]', 'ci: ["1.0", NR]', "not reached"),
        ('estimate: "2.0"', 'estimate: "<2.0"', "no exact number"),
        ("kind: hazard_ratio", "kind: odds_ratio", "an odds ratio"),
        ("kind: hazard_ratio", "kind: mean", "a mean"),
    ],
)
def test_an_effect_that_cannot_be_pooled_is_listed_with_the_reason(review, old, new, reason):
    review.change(ALPHA, old, new)
    (row,) = review.rows("hazard")
    assert not row.included
    assert reason.split()[-1] in row.reason


def test_an_effect_of_another_kind_is_not_inverted(review):
    review.change(ALPHA, "kind: hazard_ratio", "kind: mean")
    review.change(
        ALPHA,
        "numerator: exposed, denominator: not  exposed",
        "numerator: not exposed, denominator: exposed",
    )
    review.change(ALPHA, 'estimate: "2.0"', 'estimate: "0"')
    review.change(ALPHA, '"1.0", "4.0"', '"0", "1"')
    (row,) = review.rows("hazard")
    assert (row.included, row.notes) == (False, ())


# --- in or out -------------------------------------------------------------------------------


def test_an_excluded_study_is_listed_with_its_reason(review):
    review.change(BETA, "design: single_arm", "design: single_arm\nexcluded: other question")
    beta = review.rows("response")[1]
    assert (beta.study, beta.included, beta.reason) == ("beta", False, "other question")


def test_a_study_that_the_analysis_excludes_is_listed_with_the_reason(review):
    review.change(CONFIG, MEASURE, f"{MEASURE}\n    exclude: {{beta: other era}}")
    beta = review.rows("response")[1]
    assert (beta.study, beta.included, beta.reason) == ("beta", False, "other era")


def test_an_unusable_result_is_listed_with_its_reason(review):
    review.change(BETA, "$", "    use: no\n    why_not: another criterion\n")
    beta = review.rows("response")[1]
    assert (beta.included, beta.reason) == (False, "another criterion")


def test_a_result_without_counts_is_listed(review):
    review.change(BETA, "{events: 9, n: 30}", '{printed: "30%"}')
    beta = review.rows("response")[1]
    assert (beta.included, beta.reason, beta.printed) == (False, "does not give xi", "30%")
    assert math.isnan(beta.numbers["xi"])


def test_studies_can_be_listed(review):
    review.change(CONFIG, MEASURE, f"{MEASURE}\n    studies: [gamma, alpha]")
    assert [row.study for row in review.rows("response")] == ["alpha", "gamma"]


def test_an_analysis_may_be_listed_without_pooling_and_without_studies(review):
    review.change(
        CONFIG,
        "treatment: new}\n    measure: PLO",
        "treatment: newest}\n    measure: PLO\n    pool: no\n    why_not: none exists",
    )
    assert review.rows("response") == ()


def test_a_shown_result_is_never_pooled(review):
    review.keep("hazard", "tabled")
    review.change(
        CONFIG,
        "measure: GEN",
        "measure: HR\n    contrast: {numerator: Not exposed, denominator: Exposed}\n"
        "    show: [{study: alpha, result: death, reason: another design}]",
    )
    *pooled, shown = review.rows("tabled")
    assert [row.included for row in pooled] == [True, True, True]
    assert (shown.study, shown.included, shown.reason) == ("alpha", False, "another design")
    assert shown.numbers["estimate"] == 0.5
    assert "inverted" in shown.notes[0]


def test_derived_numbers_and_other_units_are_noted(review):
    review.change(BETA, "n: 30, treatment: new", "n: 30, unit: episodes, treatment: new")
    review.change(BETA, "n: 30}}", "n: 30, derived: {from: 30%, method: rounding}}}")
    assert review.rows("response")[1].notes == (
        "derived from 30% (rounding)",
        "unit: episodes",
    )


def test_an_impossible_number_of_an_effect_is_refused(review):
    review.change(ALPHA, '"1.0", "4.0"', '"2.0", "2.0"')
    (problem,) = review.problems()
    assert problem.file == "studies/alpha.yaml"
    assert problem.line == 13
    assert "an interval of some width" in problem.expected


# --- tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["", "NA"])
def test_a_row_with_a_missing_number_is_listed(review, missing):
    review.change(TABLE, "0.09", missing)
    row = review.rows("tabled")[1]
    assert (row.included, row.reason) == (False, "numbers are missing in the table")


@pytest.mark.parametrize(
    ("before", "after"),
    [("\n", "\r\n"), ("study,", "\ufeffstudy,"), ("study,yi", "\nstudy,yi"), ("two,", "two ,")],
    ids=["CRLF", "BOM", "blank first line", "spaces"],
)
def test_how_a_table_is_saved_does_not_matter(review, before, after):
    wanted = [(row.study, row.numbers) for row in review.rows("tabled")]
    review.write(TABLE, review.read(TABLE).replace(before, after))
    assert [(row.study, row.numbers) for row in review.rows("tabled")] == wanted


@pytest.mark.parametrize("file", [CONFIG, ALPHA, "outcomes.yaml"])
@pytest.mark.parametrize("how", ["CRLF", "BOM"])
def test_how_a_yaml_file_is_saved_does_not_matter(review, file, how):
    wanted = review.load().rows
    text = review.read(file)
    review.write(file, text.replace("\n", "\r\n") if how == "CRLF" else f"\ufeff{text}")
    assert review.load().rows == wanted


def test_a_column_without_a_name_is_not_read(review):
    text = review.read(TABLE).splitlines()
    review.write(
        TABLE, "".join(f"{'' if i == 0 else i},{line}\n" for i, line in enumerate(text))
    )
    assert len(review.rows("tabled")) == 3


def test_rows_labels_moderators_and_clusters_of_a_table(review):
    review.write(
        TABLE, "study,name,yi,vi,setting,group\n1,One,1,1,a,x\n1,,2,1,a,x\n2,Two,3,1,b,y\n"
    )
    review.change(
        CONFIG,
        "vi: vi}",
        "vi: vi, label: name, cluster: group}\n    rows: {setting: a}\n"
        "    moderators: [setting]\n    label_prefix: 'No. '",
    )
    rows = review.rows("tabled")
    assert [row.label for row in rows] == ["No. One", "No. 1"]
    assert [row.cluster for row in rows] == ["x", "x"]
    assert [row.covariates for row in rows] == [{"setting": "a"}] * 2
    assert [row.place for row in rows] == ["table.csv#row 1", "table.csv#row 2"]


def test_rows_of_a_table_can_be_excluded_and_listed(review):
    review.change(
        CONFIG,
        "measure: GEN",
        "measure: GEN\n    exclude: {two: wrong}\n    studies: [one, two]",
    )
    one, two = review.rows("tabled")
    assert (one.included, two.included, two.reason) == (True, False, "wrong")


# --- text stays text -------------------------------------------------------------------------

NASTY = [
    "comma, \"quote\" and 'quote'",
    "two\nlines",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "=1+1",
    500 * "x",
    "& $(rm) `rm` %n {0} \\n",
    "שלום 你好 ñ",
]


def yaml_text(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@pytest.mark.parametrize("text", NASTY)
def test_a_label_may_be_any_text(review, text):
    review.change(ALPHA, "Alpha 2020", yaml_text(text))
    assert text in {row.label for row in review.rows("response")}


@pytest.mark.parametrize("text", NASTY)
def test_a_study_of_a_table_may_be_any_text(review, text):
    quoted = '"' + text.replace('"', '""') + '"'
    review.change(TABLE, "two", quoted)
    assert review.rows("tabled")[1].study == text


# --- digests ---------------------------------------------------------------------------------


def test_the_digest_changes_with_what_the_rows_say_and_with_nothing_else(review):
    project = review.load()
    names = list(project.config.analyses)
    before = {name: project.effects_digest(name) for name in names}

    def changed():
        after = review.load()
        return {name for name in names if after.effects_digest(name) != before[name]}

    review.change(ALPHA, "design: rct", "design: rct # a comment\nnote: a note")
    review.change(CONFIG, "title: Response to", "title: Any response to")
    assert changed() == set()
    review.change(ALPHA, "events: 3", "events: 4")
    assert changed() == {"compared"}
    review.change(TABLE, "0.5", "0.51")
    assert changed() == {"compared", "tabled"}
    review.change(CONFIG, "measure: PLO", "measure: PLO\n    level: 0.9")
    assert changed() == {"compared", "tabled", "response"}
    review.write("studies/delta.yaml", review.read(BETA).replace("beta", "delta"))
    assert changed() == {"compared", "tabled", "response"}


def test_the_digest_knows_the_order_of_moderators(review):
    def of(moderators):
        review.keep("tabled")
        review.change(CONFIG, "measure: GEN", f"measure: GEN\n    moderators: {moderators}")
        found = digest(review.rows("tabled"), {})
        review.change(CONFIG, f"\n    moderators: {moderators}", "")
        return found

    assert of("[setting, vi]") != of("[vi, setting]")


def test_overlapping_studies_are_noted_once_where_both_are_pooled(review):
    review.change(
        ALPHA,
        "$",
        "overlaps: [{with: beta, kind: same_patients, at_most: 4, certainty: likely}]\n",
    )
    review.change(
        BETA,
        "$",
        "overlaps: [{with: alpha, kind: same_patients, at_most: 4, certainty: likely}]\n",
    )
    project = review.load()
    (note,) = project.pooling_settings("response")["notes"]
    assert (
        note
        == "Alpha 2020 and beta share at most 4 patients (likely); they are counted twice here"
    )
    assert project.pooling_settings("compared")["notes"] == []


def test_two_files_that_know_an_overlap_differently_give_one_note(review):
    entry = "overlaps: [{{with: {}, kind: same_patients, {}, certainty: {}}}]\n"
    review.change(ALPHA, "$", entry.format("beta", "at_most: 4", "possible"))
    review.change(BETA, "$", entry.format("alpha", "exactly: 3", "stated"))
    (note,) = review.load().pooling_settings("response")["notes"]
    assert note == "Alpha 2020 and beta share 3 patients (stated); they are counted twice here"


def test_an_overlap_that_is_only_possible_is_not_called_certain(review):
    review.change(
        ALPHA, "$", "overlaps: [{with: beta, kind: same_registry, certainty: possible}]\n"
    )
    (note,) = review.load().pooling_settings("response")["notes"]
    assert (
        note == "Alpha 2020 and beta share patients (possible); they may be counted twice here"
    )


LEVELS = """columns:
      {study: study, estimate: hr, ci_low: low, ci_high: high, ci_level: level}
    measure: HR"""


def test_the_level_of_printed_intervals_is_a_column_of_a_table(review):
    review.write(TABLE, "study,hr,low,high,level\none,2,1,4,0.9\ntwo,2,1,4,0.95\n")
    review.change(CONFIG, "columns: {study: study, yi: yi, vi: vi}\n    measure: GEN", LEVELS)
    assert [row.numbers["ci_level"] for row in review.rows("tabled")] == [0.9, 0.95]


def test_a_level_in_per_cent_is_refused(review):
    review.write(TABLE, "study,hr,low,high,level\none,2,1,4,95\n")
    review.change(CONFIG, "columns: {study: study, yi: yi, vi: vi}\n    measure: GEN", LEVELS)
    (problem,) = review.problems()
    assert (problem.file, problem.line, problem.found) == (TABLE, 2, "95")


def test_every_arm_of_an_excluded_study_stays_visible(review):
    review.change(ALPHA, "{id: O, n: 18, treatment: old}", "{id: O, n: 18, treatment: new}")
    review.change(CONFIG, MEASURE, MEASURE + "\n    exclude: {alpha: too early}")
    rows = [row for row in review.rows("response") if row.study == "alpha"]
    assert [(row.arms, row.included, row.reason) for row in rows] == [
        (("alpha/N",), False, "too early"),
        (("alpha/O",), False, "too early"),
    ]


def test_studies_stand_in_the_order_of_their_names(review):
    review.change(ALPHA, "Alpha 2020", "zuletzt")
    assert [row.study for row in review.rows("response")] == ["beta", "gamma", "alpha"]


def test_a_misspelt_treatment_is_named_even_beside_a_right_one(review):
    review.change(
        CONFIG, "denominator: {treatment: old}", "denominator: {treatment: [old, odl]}"
    )
    (problem,) = review.problems()
    assert problem.place == "analyses.compared.contrast.denominator.treatment"
    assert "'odl'" in problem.found
    assert "'old'" in problem.action


def test_a_listed_study_without_a_result_that_fits_is_named(review):
    review.change(CONFIG, MEASURE, MEASURE + "\n    studies: [alpha, beta]")
    review.change(BETA, "outcome: orr", "outcome: death")
    problems = review.problems()
    assert [problem.place for problem in problems] == ["analyses.response.studies[2]"]
    assert "'beta'" in problems[0].found


def test_one_column_cannot_be_two_numbers(review):
    review.change(CONFIG, "yi: yi, vi: vi", "yi: yi, vi: yi")
    (problem,) = review.problems()
    assert (problem.place, "'yi'" in problem.found) == ("analyses.tabled.columns.vi", True)


def test_ids_that_differ_in_capitals_only_are_one(review):
    review.change(BETA, "study: beta", "study: Alpha")
    assert any("'Alpha'" in problem.found for problem in review.problems())


@pytest.mark.parametrize(
    ("option", "found"),
    [("axis: [0, 10]", "0"), ("ticks: [-1, 1]", "-1"), ("ticks: [1]", None)],
)
def test_axis_and_ticks_of_a_ratio_are_above_nought(review, option, found):
    review.change(CONFIG, "measure: RR", f"measure: RR\n    forest: {{{option}}}")
    if found is None:
        review.load()
        return
    (problem,) = review.problems()
    assert (problem.found, "above 0" in problem.expected) == (found, True)


# --- survival and means of single arms -------------------------------------------------------


def result_of_beta(review, measure, kind, value, extra=""):
    """Beta's result as one of another kind, in an analysis with another measure."""
    review.change("config.yaml", MEASURE, f"measure: {measure}")
    review.change("studies/beta.yaml", "{events: 9, n: 30}", value)
    said = " and ".join(re.findall("[0-9.]+", value))
    review.change("studies/beta.yaml", "9 of 30 responded", f"{said} in 30 patients")
    review.change(
        "studies/beta.yaml", "- outcome: orr", f"- outcome: orr\n    kind: {kind}{extra}"
    )
    (row,) = [row for row in review.rows("response") if row.study == "beta"]
    return row


@pytest.mark.parametrize(
    ("value", "extra"),
    [
        ('{estimate: "0.44", ci: ["0.29", "0.57"]}', ""),
        ('{printed: "44%", ci: ["29", "57"]}', ""),
        ('{estimate: "44", ci: ["29", "57"]}', "\n    unit: per cent"),
    ],
)
@pytest.mark.parametrize("measure", ["SCLL", "SLO"])
def test_a_survival_probability_is_a_fraction_however_it_is_printed(
    review, measure, value, extra
):
    row = result_of_beta(review, measure, "km_probability", value, extra)
    assert row.included
    assert row.numbers == {
        "estimate": 0.44,
        "ni": 30,
        "ci_low": 0.29,
        "ci_high": 0.57,
        "ci_level": 0.95,
    }


def test_a_survival_probability_with_greenwoods_standard_error(review):
    value = '{printed: "44%", se: "7.2"}'
    row = result_of_beta(review, "SCLL", "km_probability", value)
    assert row.numbers == {"estimate": 0.44, "ni": 30, "sei": 0.072}
    assert row.notes == ("printed in per cent",)


@pytest.mark.parametrize(
    ("unit", "months"),
    [("months", (9, 6.4, 11.6)), ("Years", (108, 76.8, 139.2)), ("days", None)],
)
def test_a_median_is_taken_in_months(review, unit, months):
    value = '{median: "9", ci: ["6.40", "11.60"]}'
    row = result_of_beta(review, "MED", "median", value, f"\n    unit: {unit}")
    found = tuple(row.numbers[name] for name in ("estimate", "ci_low", "ci_high"))
    # a month is 365.25/12 days
    assert found == pytest.approx(
        months or (9 / 30.4375, 6.4 / 30.4375, 11.6 / 30.4375), rel=1e-15
    )
    assert row.notes == (() if unit == "months" else (f"months, from 9 {unit}",))


@pytest.mark.parametrize(
    ("measure", "kind", "value", "extra", "reason"),
    [
        ("SCLL", "km_probability", '{printed: "44%"}', "", "without an interval"),
        ("SCLL", "km_probability", '{printed: ">90%", se: "1"}', "", "no exact probability"),
        ("SLO", "km_probability", '{estimate: "0.4", ci: ["0.2", NR]}', "", "not reached"),
        ("SCLL", "count", "{events: 9, n: 30}", "", "printed as a count"),
        ("MED", "median", '{median: "9", ci: ["6", "11"]}', "", "its unit is"),
        ("MED", "median", '{median: "9"}', "\n    unit: months", "without an interval"),
        ("MED", "median", '{median: "9", ci: ["6", NR]}', "\n    unit: months", "not reached"),
        ("PLO", "km_probability", '{printed: "44%", se: "7"}', "", "a km probability"),
    ],
)
def test_an_arm_that_cannot_feed_the_measure_is_listed_with_the_reason(
    review, measure, kind, value, extra, reason
):
    if value == "{events: 9, n: 30}":
        review.change("config.yaml", MEASURE, f"measure: {measure}")
        (row,) = [row for row in review.rows("response") if row.study == "beta"]
    else:
        row = result_of_beta(review, measure, kind, value, extra)
    assert not row.included
    assert reason in row.reason


def test_a_mean_of_one_arm(review):
    row = result_of_beta(review, "MN", "mean", '{mean: "5.2", sd: "1.3"}')
    assert (row.included, row.numbers) == (True, {"mi": 5.2, "sdi": 1.3, "ni": 30})
