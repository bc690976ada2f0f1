"""The words and numbers of a forest plot, against what journals print."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from evisynth.measures import MEASURES, compute_effects
from evisynth.menus import TESTS
from evisynth.presentation import (
    TEST_WORDS,
    AnalysisText,
    decimal,
    difference_digits,
    favours,
    footnote_marks,
    footnote_sign,
    forest_plot,
    heterogeneity_line,
    interval,
    level_text,
    overall_test_line,
    p_text,
    percent,
    ratio,
    tau2_text,
    with_interval,
)
from evisynth.records import Estimate, Fit, Heterogeneity, RawRow

NAN = math.nan
CHEMO = AnalysisText(
    "Objective response", "Response", "good", numerator="Chemo + anti-GD2", denominator="Chemo"
)

# BCG trials, log risk ratios, REML + Knapp-Hartung, and common effect: tests/reference/bcg.json
BCG = Estimate(
    model="random", method="REML", test="knha", k=13, estimate=-0.7145, se=0.1808,
    ci_low=-1.1084, ci_high=-0.3206, pi_low=-1.9960, pi_high=0.5670, statistic=-3.9522, df=12.0,
    p=0.0019, tau2=0.3132, headline=True, notes=("a caveat of the headline",),
)  # fmt: skip
COMMON = replace(
    BCG, model="common", method="IV", test="z", estimate=-0.4303, ci_low=-0.5097,
    ci_high=-0.3509, pi_low=NAN, pi_high=NAN, df=NAN, tau2=NAN, headline=False, notes=(),
)  # fmt: skip
SPREAD = Heterogeneity(
    method="REML", k=13, q=152.2330, q_df=12, q_p=2.0e-26, tau2=0.3132, tau2_low=0.1197,
    tau2_high=1.1115, tau=0.5597, i2=92.2214, i2_low=81.9206, i2_high=97.6781, i2_q=92.1173,
    h2=12.8558,
)  # fmt: skip


def two_arms(ai=13.0, n1i=43.0, ci=4.0, n2i=22.0, **others):
    numbers = {"ai": ai, "n1i": n1i, "ci": ci, "n2i": n2i}
    return RawRow(others.pop("study", "s"), others.pop("label", "BEACON"), numbers, **others)


def one_arm(xi, ni, **others):
    return RawRow(others.pop("study", "s"), "Study", {"xi": xi, "ni": ni}, **others)


def effects_of(measure, *rows):
    named = [replace(row, study=f"{row.study}{i}") for i, row in enumerate(rows)]
    return compute_effects(measure, named, level=0.95)


def fit_of(effects, *estimates, weights=None, spread=(SPREAD,), **others):
    """A fit with equal weights; the numbers are given, not computed."""
    pooled = effects.pooled
    if weights is None:
        weights = np.where(pooled, 100 / max(pooled.sum(), 1), NAN) if estimates else NAN
        weights = np.broadcast_to(weights, pooled.shape)
    settings = {
        "measure": effects.measure,
        "level": 0.95,
        "prediction": "HK",
        "k": int(pooled.sum()),
        "k_total": pooled.size,
        "n_total": float(np.nansum(effects.ni[pooled])),
        "heterogeneity": spread if estimates else (),
        "weights": weights,
    }
    return Fit(estimates=estimates, **{**settings, **others})


def plot_of(measure, *rows, text=CHEMO, estimates=(BCG, COMMON), **others):
    effects = effects_of(measure, *rows)
    return forest_plot(effects, fit_of(effects, *estimates, **others), text)


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (-3.954, 2, "−3.95"),
        (-0.001, 2, "0.00"),
        (0.0, 1, "0.0"),
        (NAN, 2, ""),
        (math.inf, 2, "∞"),
        (-math.inf, 2, "−∞"),
        (1.4e34, 2, "1.4×10³⁴"),
    ],
)
def test_decimals_have_a_true_minus_and_no_minus_nought(value, digits, expected):
    assert decimal(value, digits) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.4109, "0.41"), (1.0, "1.00"), (298.867, "298.87"), (151940.3, "151940"),
        (0.0049, "<0.01"), (0.0, "0.00"),
    ],
)  # fmt: skip
def test_ratios_have_two_decimals_and_a_positive_one_is_never_nought(value, expected):
    assert ratio(value) == expected


def test_proportions_are_per_cent_with_one_decimal():
    assert with_interval(13 / 43, 0.1718, 0.4613, percent) == "30.2 [17.2, 46.1]"


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.0001, "p < 0.001"), (0.0019, "p = 0.002"), (0.031, "p = 0.03"),
        (0.0496, "p = 0.0496"),
        (0.0504, "p = 0.0504"), (0.0460, "p = 0.046"), (0.25, "p = 0.25"), (0.997, "p > 0.99"),
        (0.009, "p = 0.009"), (0.0099, "p = 0.01"), (NAN, ""),
    ],
)  # fmt: skip
def test_p_values(p, expected):
    assert p_text(p) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.3132, "0.31"), (0.039, "0.039"), (0.0, "0"), (2e-6, "<0.0001"), (101.99, "101.99")],
)
def test_a_small_variance_keeps_two_significant_digits(value, expected):
    assert tau2_text(value) == expected


@pytest.mark.parametrize(
    ("half_widths", "digits"),
    [([0.5, 0.4], 2), ([5.0, 2.0], 1), ([50.0], 0), ([4000.0], 0), ([0.004], 4), ([NAN], 2)],
)
def test_decimals_of_differences_follow_their_precision(half_widths, digits):
    assert difference_digits(half_widths) == digits


def test_an_interval_with_an_unknown_end_is_not_written():
    assert interval(NAN, 1.0, ratio) == ""
    assert with_interval(0.41, NAN, NAN, ratio) == "0.41"


@pytest.mark.parametrize(("level", "expected"), [(0.95, "95%"), (0.9, "90%"), (0.999, "99.9%")])
def test_levels(level, expected):
    assert level_text(level) == expected


# --- sentences ------------------------------------------------------------------------------


def test_the_heterogeneity_line():
    assert heterogeneity_line(SPREAD) == (
        "Heterogeneity: τ² (REML) = 0.31 (0.12 to 1.11), Q = 152.23, df = 12 (p < 0.001), "
        "I² = 92.2% (81.9 to 97.7)"
    )


def test_the_heterogeneity_line_leaves_out_what_is_not_estimable():
    found = replace(SPREAD, tau2_low=NAN, tau2_high=NAN, i2=NAN, q_p=0.5, q=11.3)
    assert heterogeneity_line(found) == (
        "Heterogeneity: τ² (REML) = 0.31, Q = 11.30, df = 12 (p = 0.50)"
    )
    assert heterogeneity_line(replace(found, tau2=NAN, q=NAN)) == ""


def test_the_line_of_the_overall_test():
    line = "Test for overall effect: t = −3.95, df = 12 (p = 0.002)"
    assert overall_test_line(BCG, 0.0) == line
    z = overall_test_line(replace(BCG, df=NAN, p=1e-5), 0.0)
    assert z == "Test for overall effect: z = −3.95 (p < 0.001)"


def test_without_a_null_value_there_is_no_test():
    assert overall_test_line(BCG, None) == ""
    lines = plot_of("PLO", one_arm(13.0, 43.0)).lines
    assert not any("overall" in line for line in lines)


def test_footnote_signs_are_shared_by_equal_notes():
    marks, notes = footnote_marks(["1/2 added", "", "inverted; 1/2 added", "1/2 added"])
    assert marks == ("*", "", "†", "*")
    assert notes == ("* 1/2 added", "† inverted; 1/2 added")
    assert [footnote_sign(i) for i in (0, 4, 5, 11)] == ["*", "¶", "**", "†††"]


@pytest.mark.parametrize(
    ("higher_is", "left", "right"),
    [("good", "Chemo", "Chemo + anti-GD2"), ("bad", "Chemo + anti-GD2", "Chemo")],
)
@pytest.mark.parametrize("measure", ["RR", "OR", "RD"])
def test_favours_follow_the_direction_of_the_outcome(measure, higher_is, left, right):
    found = plot_of(measure, two_arms(), text=replace(CHEMO, higher_is=higher_is)).favours
    assert (found.left, found.right) == (f"Favours {left}", f"Favours {right}")


def test_favours_are_left_out_where_the_direction_or_a_group_is_unknown():
    assert plot_of("RR", two_arms(), text=replace(CHEMO, higher_is="neither")).favours is None
    assert plot_of("RR", two_arms(), text=replace(CHEMO, denominator="")).favours is None
    assert plot_of("PLO", one_arm(13.0, 43.0)).favours is None


def test_favours_asked_for_are_used():
    forest = {"favours": {"left": "less", "right": "more"}}
    found = plot_of("RR", two_arms(), text=AnalysisText("T", forest=forest)).favours
    assert (found.left, found.right) == ("less", "more")


def test_every_test_has_words():
    # the words of the menu stand for the others
    assert set(TEST_WORDS) - set(TESTS) == {"posterior", "profile"}


# --- columns and rows -----------------------------------------------------------------------


def heads(plot):
    return [(column.lines, column.group) for column in plot.column_headers_left[1:]]


def test_two_arms_have_events_and_totals_under_their_names():
    plot = plot_of("RR", two_arms(), two_arms(9.0, 17.0, 1.0, 18.0))
    assert heads(plot) == [
        (("Events",), "Chemo + anti-GD2"),
        (("Total",), "Chemo + anti-GD2"),
        (("Events",), "Chemo"),
        (("Total",), "Chemo"),
    ]
    assert plot.rows[0].cells_left == ("13", "43", "4", "22")
    assert plot.summaries[0].cells_left == ("22", "60", "5", "40")


def test_totals_count_only_what_is_pooled():
    out = two_arms(included=False, reason="overlap")
    plot = plot_of("RR", two_arms(), two_arms(9.0, 17.0, 1.0, 18.0), out)
    assert plot.summaries[0].cells_left == ("22", "60", "5", "40")


def test_totals_of_groups_come_from_sizes_or_from_cells():
    cells = RawRow("cells", "Cells", {"ai": 4.0, "bi": 119.0, "ci": 11.0, "di": 128.0})
    plot = plot_of("RR", cells, two_arms())
    assert plot.rows[0].cells_left == ("4", "123", "11", "139")
    assert plot.rows[1].cells_left == ("13", "43", "4", "22")


def test_single_arms_have_events_and_total():
    plot = plot_of("PLO", one_arm(13.0, 43.0))
    assert heads(plot) == [(("Events",), ""), (("Total",), "")]
    assert plot.rows[0].effect_text == "30.2 [17.2, 46.1]"  # Clopper-Pearson, R binom.test
    assert plot.column_headers_right[0].lines == ("Proportion, %", "[95% CI]")


def test_means_have_mean_sd_and_total():
    numbers = {"m1i": 12.34, "sd1i": 4.1, "n1i": 30.0, "m2i": 15.2, "sd2i": 4.4, "n2i": 28.0}
    plot = plot_of("MD", RawRow("s", "S", numbers))
    assert [lines[0] for lines, _ in heads(plot)] == ["Mean", "SD", "Total"] * 2
    assert plot.rows[0].cells_left == ("12.3", "4.1", "30", "15.2", "4.4", "28")
    assert plot.summaries[0].cells_left == ("", "", "30", "", "", "28")


def test_hazard_ratios_have_the_log_and_its_standard_error():
    plot = plot_of("HR", RawRow("s", "S", {"yi": 5.70, "sei": 1.73}))
    assert [lines for lines, _ in heads(plot)] == [("log HR",), ("SE",)]
    assert plot.rows[0].cells_left == ("5.70", "1.73")
    assert plot.rows[0].effect_text.startswith("298.87 [10.07,")


def test_a_proportion_is_shown_as_counted_although_it_is_corrected_for_pooling():
    plot = plot_of("PLO", one_arm(0.0, 8.0))
    assert plot.rows[0].effect == 0.0
    assert plot.rows[0].mark == "*"
    assert plot.caveats[0] == "* 1/2 added to events and non-events"


def test_ratios_are_drawn_on_the_display_scale_with_one_as_null():
    plot = plot_of("RR", two_arms())
    assert (plot.axis, plot.null) == ("log", 1.0)
    assert plot.rows[0].effect == pytest.approx((13 / 43) / (4 / 22))
    assert plot.axis_label == "Risk ratio (log scale)"


@pytest.mark.parametrize("measure", MEASURES)
def test_an_analysis_without_studies_has_a_plot_for_every_measure(measure):
    plot = plot_of(measure, estimates=(), text=AnalysisText("Nothing"))
    assert (plot.rows, plot.summaries, plot.prediction) == ((), (), None)
    assert plot.no_summary.startswith("Not estimable")
    without = measure == "GEN" or MEASURES[measure].null is None
    assert (plot.null is None) == without


def test_rows_that_are_not_pooled_say_why_and_have_no_weight():
    plot = plot_of("RR", two_arms(), two_arms(included=False, reason="shares its patients"))
    left_out = plot.rows[1]
    assert (left_out.pooled, left_out.reason) == (False, "Not pooled: shares its patients")
    assert math.isnan(left_out.weight)


def test_a_reason_that_says_so_itself_is_not_said_twice():
    effects = compute_effects("RR", [two_arms(ai=0.0, ci=0.0)], level=0.95, to="none")
    plot = forest_plot(effects, fit_of(effects), CHEMO)
    assert plot.rows[0].reason == "Not estimable: zero cell"
    assert plot.rows[0].effect_text == "Not estimable"


def test_rows_without_any_numbers_have_no_columns_between():
    gone = RawRow("s", "S", {}, included=False, reason="printed as a curve only")
    plot = plot_of("RR", gone, estimates=())
    assert heads(plot) == []
    assert plot.rows[0].effect_text == "–"


@pytest.mark.parametrize(
    ("sort", "order"),
    [("as_given", "bAc"), ("label", "Abc"), ("effect", "cbA"), ("weight", "cbA")],
)
def test_order_of_the_rows(sort, order):
    rows = [
        two_arms(ai=5.0, label="b"),
        two_arms(label="A", included=False, reason="why") if sort == "weight"
        else two_arms(ai=20.0, label="A"),
        two_arms(ai=1.0, label="c"),
    ]  # fmt: skip
    weights = np.array([40.0, NAN, 60.0]) if sort == "weight" else None
    text = AnalysisText("T", forest={"sort": sort})
    plot = plot_of("RR", *rows, text=text, weights=weights)
    assert "".join(row.label for row in plot.rows) == order


def test_a_row_without_a_label_is_named_by_its_study():
    assert plot_of("RR", two_arms(label="")).rows[0].label == "s0"


# --- summaries ------------------------------------------------------------------------------


def test_the_diamonds_are_the_headline_and_the_common_effect():
    plot = plot_of("RR", two_arms())
    random, common = plot.summaries
    assert (random.kind, random.text) == ("random", "0.49 [0.33, 0.73]")
    assert (common.kind, common.text) == ("common", "0.65 [0.60, 0.70]")
    assert (random.low, random.high) == pytest.approx((math.exp(-1.1084), math.exp(-0.3206)))
    assert (random.weight_text, common.weight_text) == ("100.0%", "")


def test_the_common_effect_can_be_left_out():
    plot = plot_of("RR", two_arms(), text=replace(CHEMO, forest={"show_common": False}))
    assert [diamond.kind for diamond in plot.summaries] == ["random"]


def test_a_common_effect_headline_is_drawn_once_and_open():
    plot = plot_of("RR", two_arms(), estimates=(replace(COMMON, headline=True),))
    assert [diamond.kind for diamond in plot.summaries] == ["common"]
    assert plot.footer[0] == "Common effect, inverse variance; 95% CI: Wald (normal)."


def test_the_prediction_interval_names_its_level_and_flavour():
    bar = plot_of("RR", two_arms()).prediction
    assert (bar.label, bar.text) == ("95% prediction interval (HK)", "[0.14, 1.76]")
    assert plot_of("RR", two_arms(), estimates=(COMMON,)).prediction is None


def test_levels_other_than_95_are_named_everywhere():
    plot = plot_of("RR", two_arms(), level=0.9)
    assert plot.column_headers_right[0].lines == ("Risk ratio", "[90% CI]")
    assert plot.prediction.label.startswith("90%")
    assert "90% CI" in plot.footer[0]


def test_an_analysis_that_is_not_to_be_pooled_has_neither_diamond_nor_lines():
    plot = plot_of("RR", two_arms(), text=replace(CHEMO, why_not="the designs differ"))
    assert (plot.summaries, plot.prediction, plot.lines) == ((), None, ())
    assert plot.no_summary == "Not pooled: the designs differ"


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ((), "Not pooled: a single study, whose own result is shown"),
        (("x", "not pooled: the designs differ"), "Not pooled: the designs differ"),
        (("not estimable: too large",), "Not estimable: too large"),
    ],
)
def test_without_an_estimate_the_fit_says_why(notes, expected):
    plot = plot_of("RR", two_arms(), estimates=(), notes=notes)
    assert plot.no_summary == expected
    assert expected not in plot.caveats


def test_a_headline_that_is_not_estimable_has_no_diamond():
    nothing = replace(BCG, ci_low=NAN, ci_high=NAN, notes=("residuals are all zero",))
    plot = plot_of("RR", two_arms(), two_arms(), estimates=(nothing,))
    assert plot.summaries == ()
    assert plot.no_summary == "Not estimable: residuals are all zero"


def test_symbols_in_caveats_are_true_symbols():
    plot = plot_of(
        "RR", two_arms(), estimates=(), notes=("tau2 is 0", "I2 is not for few"), k=2
    )
    assert plot.no_summary == "Not pooled: τ² is 0; I² is not for few"
    plot = plot_of("RR", two_arms(), notes=("tau2 is 0", "I2 is not for few"))
    assert plot.caveats[:2] == ("τ² is 0.", "I² is not for few.")


def test_long_names_of_measures_take_two_lines():
    numbers = {"m1i": 12.0, "sd1i": 4.1, "n1i": 30.0, "m2i": 15.2, "sd2i": 4.4, "n2i": 28.0}
    head = plot_of("SMD", RawRow("s", "S", numbers)).column_headers_right[0]
    assert head.lines == ("Standardised mean", "difference", "[95% CI]")


def test_small_risk_differences_do_not_vanish():
    small = two_arms(ai=30.0, n1i=16_913.0, ci=27.0, n2i=17_854.0)
    assert plot_of("RD", small).rows[0].effect_text == "0.0003 [−0.0006, 0.0011]"


def test_every_caveat_is_printed_once_as_a_sentence():
    text = replace(CHEMO, notes=("check the overlap",))
    plot = plot_of("RR", two_arms(), text=text, notes=("check the overlap", "k = 2: few"))
    assert plot.caveats == ("Check the overlap.", "k = 2: few.", "A caveat of the headline.")


def test_the_subtitle_counts_studies_and_people():
    out = two_arms(included=False, reason="why")
    assert plot_of("RR", two_arms(), out).subtitle == "Response · 1 of 2 studies pooled, n = 65"
    same = replace(CHEMO, outcome=CHEMO.title)
    assert plot_of("RR", two_arms(), text=same).subtitle == "1 study, n = 65"
    big = two_arms(n1i=120_000.0)
    assert plot_of("RR", big).subtitle == "Response · 1 study, n = 120,022"


def test_the_footer_names_model_interval_and_prediction():
    footer = plot_of("PLO", one_arm(13.0, 43.0)).footer
    assert footer[0].startswith("Random effects, inverse variance; τ²: REML")
    assert "Knapp–Hartung" in footer[0]
    assert "k − 1 degrees of freedom" in footer[0]
    assert footer[1] == (
        "95% CI of studies: exact (Clopper–Pearson); "
        "squares: area proportional to weight, with a smallest size."
    )


def test_options_of_the_drawing_arrive():
    forest = {"axis": [0.2, 5.0], "ticks": [0.5, 1.0, 2.0], "favours": None}
    plot = plot_of("RR", two_arms(), text=AnalysisText("T", forest=forest))
    assert (plot.axis_range, plot.ticks) == ((0.2, 5.0), (0.5, 1.0, 2.0))


def test_presentation_does_not_load_matplotlib():
    code = "import sys, evisynth.presentation; print('matplotlib' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"


def test_the_heterogeneity_line_is_that_of_the_headline():
    first = replace(SPREAD, method="PM", tau2=0.5)
    plot = plot_of("RR", two_arms(), two_arms(), spread=(first, SPREAD))
    assert "τ² (PM) = 0.50" in plot.lines[0]


@pytest.mark.parametrize(
    ("value", "text"), [(0.00012, "0.012"), (0.0, "0.0"), (0.9996, ">99.9"), (1.0, "100.0")]
)
def test_small_proportions_never_read_as_nought(value, text):
    assert percent(value) == text


def test_a_hazard_ratio_of_a_good_outcome_has_no_labels_of_its_own():
    text = AnalysisText("OS", higher_is="good", numerator="A", denominator="B")
    assert favours(MEASURES["HR"], text) is None
    assert favours(MEASURES["HR"], replace(text, higher_is="bad")).left == "Favours A"


def test_rates_have_events_and_time_between_study_and_plot():
    one_rate = RawRow("s", "S", {"xi": 4.0, "ti": 250.0})
    columns = plot_of("IRLN", one_rate).column_headers_left[1:]
    assert [column.lines for column in columns] == [("Events",), ("Time",)]
    two_rates = RawRow("s", "S", {"x1i": 4.0, "t1i": 250.0, "x2i": 6.0, "t2i": 240.0})
    columns = plot_of("IRR", two_rates).column_headers_left[1:]
    assert [column.lines for column in columns] == [("Events",), ("Time",)] * 2


def test_a_scale_that_falls_is_drawn_from_low_to_high():
    plot = plot_of("SCLL", RawRow("s", "S", {"estimate": 0.6, "sei": 0.1}))
    (row,) = plot.rows
    assert 0 < row.low < row.effect < row.high < 1
    assert row.effect == pytest.approx(0.6)
    assert all(diamond.low < diamond.high for diamond in plot.summaries)
