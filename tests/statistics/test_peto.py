"""Peto's method: against metafor, meta, Yusuf et al. (1985), exact arithmetic, its limits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.counts import BCG, close, entries, tables

from evisynth.models.peto import peto

METAFOR = list(entries("rma.peto"))
META = [entry for entry in entries("meta::metabin") if entry.args["method"] == "Peto"]


def test_no_reference_is_lost():
    assert len(METAFOR) == 28
    assert [str(entry) for entry in METAFOR if entry.status == "error"] == [
        "edge_all_double_zero:peto",
        "edge_impossible_2x2:peto",
    ]
    assert len(META) == 17


@pytest.mark.parametrize("entry", [e for e in METAFOR if e.status == "ok"], ids=str)
def test_results_equal_those_of_metafor(entry):
    ours, expected = peto(**entry.cells), entry.result
    row = ours.estimate
    assert (ours.k_total, row.k) == (expected["k"], expected["k_pos"])
    for name, theirs in zip(
        ("estimate", "se", "ci_low", "ci_high", "statistic", "p"),
        ("estimate", "se", "ci_lb", "ci_ub", "stat", "pval"),
        strict=True,
    ):
        close(getattr(row, name), expected[theirs], 1e-9, 1e-12)
    if row.k > 1:
        assert ours.q.df == expected["QE_df"]
        # metafor: a difference of sums
        close(ours.q.statistic, expected["QE"], 1e-9, 1e-11)
        close(ours.q.p, expected["QE_p"], 1e-9)
        close(ours.i2, expected["I2"], 1e-9, 1e-8)
        close(ours.h2, expected["H2"], 1e-9, 1e-11)


@pytest.mark.parametrize("entry", META, ids=str)
def test_results_equal_those_of_package_meta(entry):
    if entry.file == "edge_all_double_zero":
        assert "not estimable" in peto(**entry.cells).notes[1]
        return
    ours, expected = peto(**entry.cells), entry.result["common"]
    close(ours.estimate.estimate, expected["TE"], 1e-9)
    close(ours.estimate.se, expected["seTE"], 1e-9)
    close(ours.estimate.ci_low, expected["lower"], 1e-9, 1e-11)
    if ours.estimate.k > 1:
        close(ours.q.statistic, entry.result["Q"], 1e-9, 1e-11)


def test_yusuf1985_page_107():
    entry = next(e for e in METAFOR if str(e) == "yusuf1985:peto/table6")
    row = peto(**entry.cells).estimate
    found = tuple(round(math.exp(v), 4) for v in (row.estimate, row.ci_low, row.ci_high))
    assert found == (0.9332, 0.7385, 1.1792)


def test_bcg_equals_stata_metan():
    assert round(peto(*BCG).estimate.estimate, 4) == -0.4744


def test_studies_without_information_are_named():
    ai, ci = np.array([0, 0, 2, 20.0]), np.array([0, 3, 5, 20.0])
    result = peto(ai, 20 - ai, ci, 20 - ci, labels=("Adams", "Baker", "Clark", "Davis"))
    assert result.estimate.k == 2
    assert (
        "2 studies with one outcome only in both groups, weight 0: Adams; Davis" in result.notes
    )
    assert result.weights[0] == result.weights[3] == 0


def test_an_outcome_that_never_occurs_is_explained():
    # F19: metafor raises
    none, some = np.zeros(4), np.array([10, 15, 20, 25.0])
    for data in ((none, some, none, some), (some, none, some, none)):
        result = peto(*data)
        assert math.isnan(result.estimate.estimate)
        assert math.isnan(result.q.p)
        assert "not estimable: one of the two outcomes never occurred" in result.notes


def valid(ai, n1i, ci, n2i):
    return [
        note
        for note in peto(*map(np.array, (ai, n1i - ai, ci, n2i - ci))).notes
        if "biased" in note
    ]


def test_each_violated_condition_is_named():
    k = np.ones(5)
    assert valid(5 * k, 1000 * k, 7 * k, 1000 * k) == []
    (note,) = valid(5 * k, 1000 * k, 28 * k, 4000 * k)
    assert "unbalanced (4 to 1 on average)" in note
    assert "large" not in note
    (note,) = valid(300 * k, 1000 * k, 310 * k, 1000 * k)
    assert "not rare (30.5% of participants)" in note
    (note,) = valid(1 * k, 1000 * k, 30 * k, 1000 * k)
    assert "the effect is large" in note
    assert "one-step approximation itself shifts the odds ratio" in note


def test_the_bias_is_that_of_data_that_show_one_odds_ratio():
    # n1 = 100, n2 = 400, risks 0.6 and 0.2, so that every study has odds ratio 6
    ai, n1i, ci, n2i = (np.full(3, v) for v in (60.0, 100.0, 80.0, 400.0))
    result = peto(ai, n1i - ai, ci, n2i - ci)
    close(result.bias, result.estimate.estimate - math.log(6), 1e-12)
    assert any(f"factor of {math.exp(result.bias):.3g}" in note for note in result.notes)


@given(data=tables())
def test_estimates_equal_rational_arithmetic(data):
    difference = variance = Fraction(0)
    for row in zip(*data, strict=True):
        a, b, c, d = map(Fraction, map(int, row))
        n = a + b + c + d
        difference += a - (a + b) * (a + c) / n
        variance += (a + b) * (c + d) * (a + c) * (b + d) / (n**2 * (n - 1))
    row = peto(*data).estimate
    if not variance:
        assert math.isnan(row.estimate)
        assert any("not estimable" in note for note in row.notes)
        return
    # terms of both signs may cancel in the numerator
    scale = sum(map(float, (data[0] + data[2]).tolist())) / float(variance)
    close(row.estimate, float(difference / variance), 1e-13, 1e-14 * scale)
    close(row.se**2, 1 / float(variance), 1e-13)


@given(data=tables(), seed=st.integers(0, 100))
def test_order_groups_and_outcomes_only_change_signs(data, seed):
    ai, bi, ci, di = data
    order = np.random.default_rng(seed).permutation(ai.size)
    ours = peto(*data)
    close(
        peto(*(column[order] for column in data)).estimate.estimate, ours.estimate.estimate, 0
    )
    for other in (peto(ci, di, ai, bi), peto(bi, ai, di, ci)):
        close(other.estimate.estimate, -ours.estimate.estimate, 1e-12, 1e-14)
        close(other.estimate.se, ours.estimate.se, 1e-12)
        close(other.q.statistic, ours.q.statistic, 1e-9, 1e-9)


def test_impossible_tables_are_refused():
    for data in (([0], [0], [3], [4]), ([-1], [2], [3], [4])):
        with pytest.raises(ValueError, match=r"member|negative"):
            peto(*(np.array(column, dtype=float) for column in data))


def test_an_estimate_beyond_double_precision_is_called_large():
    data = (np.array([v], dtype=float) for v in (1, 0, 0, 2000))
    result = peto(*data)
    assert any("the effect is large (odds ratio inf)" in note for note in result.notes)
