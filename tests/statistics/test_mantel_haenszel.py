"""Mantel-Haenszel: against metafor, meta, statsmodels, books, exact arithmetic, zeros."""

import math
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import StratifiedTable
from support.counts import BCG, close, entries, tables

from evisynth.models.mantel_haenszel import (
    RATE_METHODS,
    TABLE_METHODS,
    mantel_haenszel,
    mantel_haenszel_rates,
)
from evisynth.models.peto import peto
from evisynth.models.tables import Correction, fitted_cell

METAFOR = list(entries("rma.mh"))
COMPARED = [entry for entry in METAFOR if entry.status == "ok"]
# metabin and metainc of package meta, but for incomplete data: there meta 8.3-0 keeps half of a
# study with a missing cell in its sums (test_meta_counts_half_studies).
META = [
    entry
    for kind in ("meta::metabin", "meta::metainc")
    for entry in entries(kind)
    if entry.args["method"] == "MH"
]
# In risk ratios meta corrects studies with events only in both groups, we never.
EVENTS_ONLY = [entry for entry in META if str(entry) == "edge_all_events:meta/metabin/RR/MH"]


def fit(entry, measure, **options):
    if measure in RATE_METHODS:
        return mantel_haenszel_rates(measure, **entry.cells, **options)
    return mantel_haenszel(measure, **entry.cells, **options)


def test_no_reference_is_lost():
    assert len(METAFOR) == 128
    assert len(COMPARED) == 127
    assert len(META) == 65
    assert {entry.args["measure"] for entry in COMPARED} == {*TABLE_METHODS, *RATE_METHODS}


@pytest.mark.parametrize("entry", COMPARED, ids=str)
def test_results_equal_those_of_metafor(entry):
    args, expected = entry.args, entry.result
    # metafor: add and to are for Q only, unless two values are given
    q_correction = Correction(args.get("add", 0.5), args.get("to", "only0"))
    ours = fit(entry, args["measure"], level=args["level"] / 100, q_correction=q_correction)
    assert ours.k_total == expected["k"]
    row = ours.estimate
    nothing = not ours.informative.any() or (
        entry.file == "edge_all_double_zero" and args["measure"] == "RD"
    )
    names = ("estimate", "se", "ci_low", "ci_high", "statistic", "p")
    if nothing:  # metafor's risk difference: 0 with a standard error of 0
        assert math.isnan(row.se)
        assert any("not estimable" in note for note in row.notes)
        assert math.isnan(ours.q.p)
    else:
        for name, theirs in zip(
            names, ("estimate", "se", "ci_lb", "ci_ub", "stat", "pval"), strict=True
        ):
            # 12 digits; intervals lose some near 0
            close(getattr(row, name), expected[theirs], 1e-9, 1e-12 * row.se)
        if expected["k_yi"] > 1:
            assert ours.q.df == expected["QE_df"]
            close(ours.q.statistic, expected["QE"], 1e-9)
            close(ours.q.p, expected["QE_p"], 1e-9)
            close(ours.i2, expected["I2"], 1e-9, 1e-9)
            close(ours.h2, expected["H2"], 1e-9)
    correct = args.get("correct", True)
    for theirs, name in (("MH", "cmh"), ("CO", "cochran")):
        if theirs in expected:
            test = getattr(ours, f"{name}_corrected" if correct else name)
            close(test.statistic, expected[theirs], 1e-9)
            close(test.p, expected[f"{theirs}_p"], 1e-9)
    for theirs, name in (("BD", "breslow_day"), ("TA", "tarone")):
        if theirs in expected:
            test = getattr(ours, name)
            assert test.df == expected["k_pos"] - 1
            if test.df:
                close(test.statistic, expected[theirs], 1e-9, 1e-12)
                close(test.p, expected[f"{theirs}_p"], 1e-9)


@pytest.mark.parametrize(
    "entry",
    [entry for entry in META if entry.complete and entry not in EVENTS_ONLY],
    ids=str,
)
def test_results_equal_those_of_package_meta(entry):
    measure = entry.args["sm"]
    if entry.args.get("MH.exact") or measure in RATE_METHODS:
        correction = Correction()
    else:
        correction = Correction(0.5, "only0", drop00=measure != "RD")
    options = {"rd_variance": "GR"} if measure == "RD" else {}
    ours = fit(entry, measure, correction=correction, **options)
    expected = entry.result["common"]
    if expected["TE"] in (None, "-Inf") or expected["seTE"] is None:
        assert math.isnan(ours.estimate.estimate)
        assert "not estimable" in ours.estimate.notes[0]
        return
    found = ours.estimate
    if measure == "RD" and correction.add:
        # meta corrects the weights and the variance, not the risks
        a, b, c, d = (entry.cells[name] for name in ("ai", "bi", "ci", "di"))
        add = np.where(np.minimum.reduce((a, b, c, d)) == 0, 1, 0)
        weights = 1 / (1 / (a + b + add) + 1 / (c + d + add))
        mixed = (weights * (a / (a + b) - c / (c + d))).sum() / weights.sum()
        close(mixed, expected["TE"], 1e-9, 1e-11)
        close(found.se, expected["seTE"], 1e-9, 1e-11)
        return
    for name, theirs in zip(
        ("estimate", "se", "ci_low", "ci_high", "p"),
        ("TE", "seTE", "lower", "upper", "pval"),
        strict=True,
    ):
        close(getattr(found, name), expected[theirs], 1e-9, 1e-11)


def test_meta_counts_half_studies():
    # What meta 8.3-0 returns where s2 lacks ai and s3 lacks ci: the other group of these
    # studies stays in the sums. Complete studies alone give metafor's 0.4167.
    entry = next(
        e for e in META if (e.file, e.id) == ("edge_missing_2x2", "meta/metabin/RR/MH")
    )
    a, n1 = np.array([6, 10, 2]), np.array([40, 45, 30])
    c, n2 = np.array([4, 5, 3]), np.array([42, 44, 31])
    r = (a * n2 / (n1 + n2)).sum() + 5 * 61 / 121
    s = (c * n1 / (n1 + n2)).sum() + 6 * 50 / 98
    close(math.log(r / s), entry.result["common"]["TE"], 1e-9)
    close(mantel_haenszel("RR", **entry.cells).estimate.estimate, 0.416743038161, 1e-10)


def test_bcg_equals_stata_metan():
    # statistics.md section 3, test_misc_metan_vs_*: as printed by Stata
    found = {measure: mantel_haenszel(measure, *BCG).estimate for measure in TABLE_METHODS}
    assert round(found["RR"].estimate, 4) == -0.4537
    assert (round(found["RR"].ci_low, 4), round(found["RR"].ci_high, 4)) == (-0.5308, -0.3766)
    assert round(found["OR"].estimate, 4) == -0.4734
    assert round(found["RD"].estimate, 4) == -0.0033


def test_bcg_equals_statsmodels():
    second = StratifiedTable(np.array(BCG).reshape(2, 2, -1))
    ours = mantel_haenszel("OR", *BCG)
    close(ours.estimate.estimate, second.logodds_pooled, 1e-13)
    close(ours.estimate.se, second.logodds_pooled_se, 1e-13)
    ratio = mantel_haenszel("RR", *BCG).estimate.estimate
    close(math.exp(ratio), second.riskratio_pooled, 1e-13)
    for correct, test in ((True, ours.cmh_corrected), (False, ours.cmh)):
        theirs = second.test_null_odds(correction=correct)
        close(test.statistic, theirs.statistic, 1e-12)
    for adjust, test in ((True, ours.tarone), (False, ours.breslow_day)):
        theirs = second.test_equal_odds(adjust=adjust)
        close(test.statistic, theirs.statistic, 1e-9)  # statsmodels: A - sqrt(A^2 - ...)


# Rothman KJ, Greenland S, Lash TL (2008). Modern Epidemiology, 3rd ed., chapter 15; digits as
# in the worked examples of the metafor project (analyses:rothman2008).
TOLBUTAMIDE = [np.array(c, dtype=float) for c in ((8, 22), (98, 76), (5, 16), (115, 69))]
SPERMICIDE = [np.array(c, dtype=float) for c in ((3, 1), (9, 3), (104, 5), (1059, 86))]
SMOKERS = [
    np.array((32, 104, 206, 186, 102), dtype=float),
    np.array((52407, 43248, 28612, 12663, 5317)) / 10000,
    np.array((2, 12, 28, 28, 31), dtype=float),
    np.array((18790, 10673, 5710, 2585, 1462)) / 10000,
]


def printed(ours, estimate, ci_low, ci_high, q, q_p):
    row = ours.estimate
    found = (row.estimate, row.ci_low, row.ci_high, ours.q.statistic, ours.q.p)
    assert tuple(round(value, 4) for value in found) == (estimate, ci_low, ci_high, q, q_p)


def test_rothman2008_table_15_1():
    difference, risk, odds = (
        mantel_haenszel(measure, *TOLBUTAMIDE, level=0.9) for measure in ("RD", "RR", "OR")
    )
    printed(difference, 0.0349, -0.0176, 0.0874, 0.0017, 0.9669)
    printed(risk, 0.2818, -0.1442, 0.7078, 0.4472, 0.5037)
    printed(odds, 0.3387, -0.1731, 0.8505, 0.3474, 0.5556)
    tests = (odds.cochran, odds.cmh, odds.tarone)
    assert [round(test.statistic, 4) for test in tests] == [1.1976, 1.1914, 0.3489]
    assert [round(test.p, 4) for test in tests] == [0.2738, 0.2750, 0.5547]
    assert round(math.exp(risk.estimate.estimate), 4) == 1.3256
    assert round(math.exp(odds.estimate.estimate), 4) == 1.4031


def test_rothman2008_table_15_2():
    difference, ratio = (
        mantel_haenszel_rates(measure, *SMOKERS, level=0.9) for measure in ("IRD", "IRR")
    )
    printed(difference, 11.4392, 6.3498, 16.5286, 26.8758, 0.0000)
    printed(ratio, 0.3539, 0.1776, 0.5303, 10.4117, 0.0340)
    assert round(ratio.cmh_corrected.statistic, 4) == 10.7021
    assert round(ratio.cmh.statistic, 4) == 11.0162
    assert round(ratio.cmh.p, 4) == 0.0009
    assert round(math.exp(ratio.estimate.estimate), 4) == 1.4247


def test_rothman2008_table_15_5():
    odds = mantel_haenszel("OR", *SPERMICIDE, level=0.9)
    printed(odds, 1.3300, 0.3579, 2.3021, 0.1378, 0.7105)
    tests = (odds.cochran, odds.cmh, odds.tarone)
    assert [round(test.statistic, 4) for test in tests] == [5.8248, 5.8092, 0.1391]
    assert [round(test.p, 4) for test in tests] == [0.0158, 0.0159, 0.7092]


def test_studies_without_events_are_named_and_carry_nothing():
    # F15: metafor's default adds 1/2 to the double zero elsewhere
    ai, n1 = np.array([0, 0, 2, 1.0]), np.array([50, 40, 60, 30.0])
    ci, n2 = np.array([0, 3, 5, 0.0]), np.array([50, 40, 60, 30.0])
    labels = ("Adams", "Baker", "Clark", "Davis")
    odds = mantel_haenszel("OR", ai, n1 - ai, ci, n2 - ci, labels=labels)
    assert round(odds.estimate.estimate, 4) == -1.0169
    assert odds.estimate.k == 3
    assert odds.weights[0] == 0
    assert any("Adams" in note and "weight 0" in note for note in odds.notes)
    assert not any("Baker" in note for note in odds.notes)
    difference = mantel_haenszel("RD", ai, n1 - ai, ci, n2 - ci, labels=labels)
    assert round(difference.estimate.estimate, 4) == -0.0278
    assert difference.estimate.k == 4
    assert any("full weight: Adams" in note for note in difference.notes)
    kept = slice(1, None)
    without = mantel_haenszel("OR", ai[kept], (n1 - ai)[kept], ci[kept], (n2 - ci)[kept])
    assert without.estimate.estimate == odds.estimate.estimate
    assert without.estimate.se == odds.estimate.se
    assert without.cmh == odds.cmh


def test_one_outcome_that_never_occurs_is_explained():
    # F19: metafor's test_misc_handling_of_edge_cases_due_to_zeros.r; where it returns 0 with a
    # standard error of 0, the standard error is not estimable here
    none = np.zeros(4)
    left, right = np.array([10, 15, 20, 25.0]), np.array([10, 10, 30, 20.0])
    never = {m: mantel_haenszel(m, none, left, none, right) for m in TABLE_METHODS}
    always = {m: mantel_haenszel(m, left, none, right, none) for m in TABLE_METHODS}
    for result in (never["OR"], never["RR"], always["OR"]):
        assert math.isnan(result.estimate.estimate)
        assert result.notes[0].startswith("not estimable: no study carries information")
        assert np.isnan(result.weights).all()
    for result in (never["RD"], always["RD"], always["RR"]):
        assert result.estimate.estimate == 0
        assert math.isnan(result.estimate.se)
        assert math.isnan(result.estimate.p)
        assert any("no sampling variation" in note for note in result.notes)


def test_an_arm_without_events_has_no_ratio_but_a_test_and_a_difference():
    none, events = np.zeros(4), np.array([2, 5, 1, 3.0])
    data = (none, np.array([25, 80, 33, 60.0]), events, np.array([24, 74, 34, 58.0]))
    odds = mantel_haenszel("OR", *data)
    assert math.isnan(odds.estimate.estimate)
    assert "would be 0" in odds.notes[0]
    assert round(odds.cmh_corrected.statistic, 6) == 9.160620
    turned = mantel_haenszel("OR", *data[2:], *data[:2])
    assert "would be infinite" in turned.notes[0]
    assert mantel_haenszel("RD", *data).estimate.ci_high < 0


def test_the_continuity_correction_never_turns_the_difference_round():
    # O - E = 0.1: metafor's (|O - E| - 1/2)^2 is larger than without correction
    ai, bi, ci, di = (np.array([v], dtype=float) for v in (10, 10, 96, 100))
    ours = mantel_haenszel("OR", ai, bi, ci, di)
    assert 0 < ours.cmh.statistic < 1
    assert ours.cmh_corrected.statistic == 0
    assert ours.cmh_corrected.p == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (([-1], [2], [3], [4]), "not negative"),
        (([math.nan], [2], [3], [4]), "finite"),
        (([0], [0], [3], [4]), "at least one member"),
        (([1, 2], [2], [3], [4]), "one shape"),
        (([], [], [], []), "k > 0"),
    ],
)
def test_impossible_tables_are_refused(data, said):
    with pytest.raises(ValueError, match=said):
        mantel_haenszel("OR", *(np.array(column, dtype=float) for column in data))


# The second group of the first two tables is 9 of 49 divided between two comparisons; metafor
# 3.8-1, rma.mh and rma.peto: estimate, standard error, Q.
SPLIT = tuple(
    np.array(column)
    for column in (
        [12.0, 18, 22, 5],
        [38.0, 34, 38, 25],
        [4.5, 4.5, 15, 4],
        [20.0, 20, 46, 27],
    )
)


def test_an_arm_that_is_divided_between_comparisons_has_fractions():
    ratio = mantel_haenszel("RR", *SPLIT)
    close(ratio.estimate.estimate, 0.410473846742, 1e-10)
    close(ratio.estimate.se, 0.205067765844, 1e-10)
    close(ratio.q.statistic, 0.376102628981, 1e-10)
    odds = mantel_haenszel("OR", *SPLIT)
    close(odds.estimate.estimate, 0.552865926670, 1e-10)
    close(odds.estimate.se, 0.270788045210, 1e-10)
    close(odds.tarone.statistic, 0.502374323310, 1e-8)
    ours = peto(*SPLIT).estimate
    close(ours.estimate, 0.530956328177, 1e-10)
    close(ours.se, 0.259928257610, 1e-10)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="measure must be one of"):
        mantel_haenszel("IRR", *BCG)
    with pytest.raises(ValueError, match="level"):
        mantel_haenszel("OR", *BCG, level=95)
    with pytest.raises(ValueError, match="labels"):
        mantel_haenszel("OR", *BCG, labels=("one",))
    with pytest.raises(ValueError, match="positive"):
        mantel_haenszel_rates("IRR", *(np.array([v]) for v in (1.0, 0.0, 1.0, 2.0)))
    with pytest.raises(ValueError, match="to one of"):
        mantel_haenszel("OR", *BCG, correction=Correction(0.5, "some"))


def exact_odds_ratio(data):
    rows = [tuple(map(Fraction, map(int, row))) for row in zip(*data, strict=True)]
    r = sum(a * d / (a + b + c + d) for a, b, c, d in rows)
    s = sum(b * c / (a + b + c + d) for a, b, c, d in rows)
    if not r * s:
        return None
    vi = Fraction(0)
    for a, b, c, d in rows:
        n = a + b + c + d
        p, q, ri, si = (a + d) / n, (b + c) / n, a * d / n, b * c / n
        vi += (p * ri / r**2 + (p * si + q * ri) / (r * s) + q * si / s**2) / 2
    return float(r / s), float(vi)


def exact_risk_ratio(data):
    rows = [tuple(map(Fraction, map(int, row))) for row in zip(*data, strict=True)]
    r = sum(a * (c + d) / (a + b + c + d) for a, b, c, d in rows)
    s = sum(c * (a + b) / (a + b + c + d) for a, b, c, d in rows)
    if not r * s:
        return None
    vi = Fraction(0)
    for a, b, c, d in rows:
        n, n1, n2 = a + b + c + d, a + b, c + d
        vi += (n1 * n2 * (a + c) / n**2 - a * c / n) / (r * s)
    return float(r / s), float(vi)


def exact_difference(data):
    rows = [tuple(map(Fraction, map(int, row))) for row in zip(*data, strict=True)]
    w = sum((a + b) * (c + d) / (a + b + c + d) for a, b, c, d in rows)
    estimate = sum((a * d - b * c) / (a + b + c + d) for a, b, c, d in rows) / w
    p = q = Fraction(0)
    for a, b, c, d in rows:
        n, n1, n2 = a + b + c + d, a + b, c + d
        p += (n1**2 * c - n2**2 * a + n1 * n2 * (n2 - n1) / 2) / n**2
        q += (a * (n2 - c) + c * (n1 - a)) / (2 * n)
    return float(estimate), float((estimate * p + q) / w**2)


@given(data=tables())
@pytest.mark.parametrize(
    ("measure", "exact", "ratio"),
    [
        ("OR", exact_odds_ratio, True),
        ("RR", exact_risk_ratio, True),
        ("RD", exact_difference, False),
    ],
)
def test_estimates_and_variances_equal_rational_arithmetic(measure, exact, ratio, data):
    row = mantel_haenszel(measure, *data).estimate
    truth = exact(data)
    if truth is None:
        assert math.isnan(row.estimate)
        assert any(note.startswith("not estimable") for note in row.notes)
        return
    estimate, vi = truth
    found = math.exp(row.estimate) if ratio else row.estimate
    # rounding of each of up to 25 terms, none of them cancelling in ratios
    close(found, estimate, 1e-13, 0 if ratio else 1e-14)
    if vi > 1e-13 * (1 if ratio else estimate**2):
        close(row.se**2, vi, 1e-12, 0 if ratio else 1e-15 * abs(estimate))
    if math.isnan(row.se):
        assert vi <= 1e-16
        assert any("not estimable" in note for note in row.notes)


@given(data=tables(), level=st.floats(0.5, 0.999))
def test_no_number_is_missing_without_a_note(data, level):
    for measure in TABLE_METHODS:
        result = mantel_haenszel(measure, *data, level=level)
        row = result.estimate
        if any(math.isnan(v) for v in (row.estimate, row.se, row.ci_low, row.p)):
            assert any("not estimable" in note for note in row.notes)
        else:
            assert row.ci_low <= row.estimate <= row.ci_high
            assert abs(result.weights.sum() - 100) < 1e-9
        assert row.k == result.informative.sum()
        for field in fields(result):
            test = getattr(result, field.name)
            if hasattr(test, "p") and not math.isnan(getattr(test, "p", math.nan)):
                assert 0 <= test.p <= 1


@given(data=tables(), seed=st.integers(0, 100))
def test_order_groups_and_outcomes_only_change_signs(data, seed):
    ai, bi, ci, di = data
    order = np.random.default_rng(seed).permutation(ai.size)
    for measure in TABLE_METHODS:
        row = mantel_haenszel(measure, *data).estimate
        shuffled = mantel_haenszel(measure, *(column[order] for column in data)).estimate
        swapped = mantel_haenszel(measure, ci, di, ai, bi).estimate
        close(shuffled.estimate, row.estimate, 0)
        close(swapped.estimate, -row.estimate, 1e-12, 1e-14)
        close(swapped.se, row.se, 1e-10, 1e-12 * abs(row.estimate))
    odds, turned = mantel_haenszel("OR", *data), mantel_haenszel("OR", bi, ai, di, ci)
    close(turned.estimate.estimate, -odds.estimate.estimate, 1e-12, 1e-14)
    close(turned.breslow_day.statistic, odds.breslow_day.statistic, 1e-8, 1e-8)


@given(
    n=st.integers(1, 10**6),
    other=st.integers(1, 10**6),
    share=st.floats(0, 1),
    log_psi=st.floats(-12, 12),
)
def test_fitted_cells_keep_the_margins_and_show_the_odds_ratio(n, other, share, log_psi):
    psi = math.exp(log_psi)
    m = 1 + math.floor(share * (n + other - 2))
    n, other, m = (np.array([v], dtype=float) for v in (n, other, m))
    rest = n + other - m
    a, b = fitted_cell(n, m, other, psi), fitted_cell(n, rest, other, 1 / psi)
    c, d = fitted_cell(other, m, n, 1 / psi), fitted_cell(other, rest, n, psi)
    for ours, truth in ((a + b, n), (a + c, m), (b + d, rest), (c + d, other)):
        close(ours[0], truth[0], 1e-12)
    close((a / b * d / c)[0], psi, 1e-9)


@given(scale=st.integers(-20, 20))
def test_the_unit_of_time_does_not_matter(scale):
    factor = 2.0**scale
    x1i, t1i, x2i, t2i = SMOKERS
    scaled = (x1i, t1i * factor, x2i, t2i * factor)
    ratio = mantel_haenszel_rates("IRR", *SMOKERS)
    again = mantel_haenszel_rates("IRR", *scaled)
    assert (again.estimate.estimate, again.estimate.se) == (
        ratio.estimate.estimate,
        ratio.estimate.se,
    )
    assert again.q == ratio.q
    difference = mantel_haenszel_rates("IRD", *scaled).estimate
    truth = mantel_haenszel_rates("IRD", *SMOKERS).estimate
    assert difference.estimate == truth.estimate / factor
    assert difference.se == truth.se / factor


def test_rates_without_events_are_named():
    ratio = mantel_haenszel_rates(
        "IRR",
        *(np.array(c, dtype=float) for c in ((0, 3), (10, 20), (0, 4), (12, 18))),
        labels=("Adams", "Baker"),
    )
    assert ratio.estimate.k == 1
    assert any("Adams" in note for note in ratio.notes)
    assert any("k = 1" in note for note in ratio.notes)


def test_one_table_gives_the_study_itself():
    a, b, c, d = 7, 93, 12, 88
    row = mantel_haenszel("OR", *(np.array([v], dtype=float) for v in (a, b, c, d))).estimate
    close(row.estimate, math.log(a * d / (b * c)), 1e-14)
    close(row.se**2, 1 / a + 1 / b + 1 / c + 1 / d, 1e-14)
    assert any("k = 1" in note for note in row.notes)


def test_a_correction_before_pooling_is_said():
    ai, ci = np.array([0, 3.0]), np.array([2, 5.0])
    result = mantel_haenszel(
        "OR", ai, 20 - ai, ci, 20 - ci, correction=Correction(0.5, "only0"), labels=("A", "B")
    )
    assert "0.5 added to each cell before pooling in 1 study: A" in result.notes


def test_five_thousand_studies():
    generator = np.random.default_rng(1)
    n = generator.integers(20, 400, 5000).astype(float)
    ai, ci = generator.binomial(n.astype(int), 0.05), generator.binomial(n.astype(int), 0.1)
    row = mantel_haenszel("OR", ai, n - ai, ci, n - ci).estimate
    assert abs(row.estimate - math.log(0.05 / 0.95 * 9)) < 4 * row.se


@given(data=tables())
def test_estimates_are_means_of_the_studies_with_the_weights(data):
    ai, bi, ci, di = data
    odds, difference = mantel_haenszel("OR", *data), mantel_haenszel("RD", *data)
    risks = ai / (ai + bi) - ci / (ci + di)
    close((difference.weights * risks).sum() / 100, difference.estimate.estimate, 1e-12, 1e-14)
    if np.all(bi * ci > 0) and not math.isnan(odds.estimate.estimate):
        mean = (odds.weights * (ai * di / (bi * ci))).sum() / 100
        close(mean, math.exp(odds.estimate.estimate), 1e-12)


def test_weights_are_those_of_package_meta():
    # w.common of metabin(sm="OR", method="MH") for edge/double_zero, 1/2 added in study 5
    ai, n1i = np.array([0, 3, 0, 7, 1.0]), np.array([40, 50, 30, 100, 45.0])
    ci, n2i = np.array([0, 6, 0, 9, 0.0]), np.array([42, 48, 31, 99, 44.0])
    ours = mantel_haenszel(
        "OR", ai, n1i - ai, ci, n2i - ci, correction=Correction(0.5, "only0")
    )
    theirs = np.array([0, 2.87755102041, 0, 4.20603015075, 0.244505494505])
    close(ours.weights, 100 * theirs / theirs.sum(), 1e-11)


def test_q_beside_a_heterogeneity_of_nothing():
    # two equal tables: Q is 0, I2 is 0, and both tests of homogeneity say so
    ours = mantel_haenszel("OR", *(np.full(2, v) for v in (7.0, 93.0, 12.0, 88.0)))
    assert (round(ours.q.statistic, 12), ours.i2, round(ours.h2, 12)) == (0, 0, 0)
    assert round(ours.tarone.p, 9) == round(ours.breslow_day.p, 9) == 1
