"""Subgroups: against metafor, rules for few studies, invariances."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.regression import entries

from evisynth.models.design import DesignError
from evisynth.models.subgroups import subgroups

REFERENCES = list(entries("subgroup"))


def given_to(entry):
    use = entry.rows
    names = [
        name for name, used in zip(entry.moderators[entry.args["by"]], use, strict=True) if used
    ]
    return entry.yi[use], entry.vi[use], names


def levels_of(entry):
    # R sorts as text, we in natural order
    return {row["level"]: row for row in entry.result["separate"]["levels"]}


def test_no_reference_is_lost():
    assert len(REFERENCES) == 30


@pytest.mark.parametrize("entry", REFERENCES, ids=str)
def test_subgroups_with_tau2_of_their_own_equal_those_of_metafor(entry):
    yi, vi, names = given_to(entry)
    options = {"method": entry.args["method"], "floor": False}
    wald = subgroups(yi, vi, names, test="z", **options)
    knha = subgroups(yi, vi, names, test="knha", **options)
    expected = levels_of(entry)
    assert {group.level for group in wald.groups} == expected.keys()
    for ours, floored in zip(wald.groups, knha.groups, strict=True):
        theirs = expected[ours.level]
        row = ours.estimate
        assert ours.k == theirs["k"]
        pairs = [
            (row.estimate, theirs["estimate"]),
            (row.se, theirs["se"]),
            (row.p, theirs["pval"]),
            (row.ci_low, theirs["ci_lb"]),
            (row.ci_high, theirs["ci_ub"]),
        ]
        if ours.k > 1:
            pairs += [(ours.q, theirs["QE"]), (ours.q_p, theirs["QE_p"])]
            pairs += [(row.tau2, theirs["tau2"]), (ours.i2, theirs["I2"])]
        if ours.k > 2:
            other = floored.estimate
            pairs += [
                (other.se, theirs["se_knha"]),
                (other.ci_low, theirs["ci_lb_knha"]),
                (other.ci_high, theirs["ci_ub_knha"]),
            ]
        for mine, number in pairs:
            np.testing.assert_allclose(mine, number, rtol=1e-7, atol=1e-9)
    compare_between(wald, entry, entry.result["separate"]["Q_between"])


def compare_between(fit, entry, q):
    single = [group.level for group in fit.groups if group.k == 1]
    if single:
        assert math.isnan(fit.between.p)
        assert fit.partition is None
        assert any("no test of interaction" in n and single[0] in n for n in fit.notes)
        return
    np.testing.assert_allclose(fit.between.statistic, q, rtol=1e-7)
    theirs = entry.result["equal_effects"]
    for mine, name in (
        (fit.partition.q_total, "Q_total"),
        (fit.partition.q_within, "Q_within"),
        (fit.partition.q_between, "Q_between"),
        (fit.partition.p, "p"),
    ):
        np.testing.assert_allclose(mine, theirs[name], rtol=1e-8, atol=1e-12)
    assert fit.between.df == theirs["df"]


@pytest.mark.parametrize("entry", REFERENCES, ids=str)
def test_subgroups_with_a_common_tau2_equal_those_of_metafor(entry):
    yi, vi, names = given_to(entry)
    options = {"method": entry.args["method"], "floor": False, "variance": "common"}
    fit = subgroups(yi, vi, names, test="z", **options)
    theirs = entry.result["common"]
    for group in fit.groups:
        place = theirs["levels"].index(group.level)
        row = group.estimate
        for mine, name in (
            (row.estimate, "estimate"),
            (row.se, "se"),
            (row.ci_low, "ci_lb"),
            (row.ci_high, "ci_ub"),
        ):
            np.testing.assert_allclose(mine, theirs[name][place], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fit.regression.tau2, theirs["tau2"], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(fit.regression.qe, theirs["QE"], rtol=1e-9)
    if "R2" in theirs and fit.regression.tau2_without > 0 and theirs["R2"] != "NaN":
        np.testing.assert_allclose(fit.regression.r2, theirs["R2"], rtol=1e-6, atol=1e-6)
    compare_between(fit, entry, theirs["QM"])
    if fit.partition:
        np.testing.assert_allclose(fit.between.p, theirs["p"], rtol=1e-6)
        knha = subgroups(yi, vi, names, test="knha", **options)
        np.testing.assert_allclose(knha.between.statistic, theirs["knha_F"], rtol=1e-7)
        np.testing.assert_allclose(knha.between.p, theirs["knha_p"], rtol=1e-6)
        assert [knha.between.df, knha.between.df2] == theirs["knha_df"]


YI = np.array([0.1, 0.3, 0.25, 0.5, 0.4, 0.9, -0.2, 1.4])
VI = np.array([0.04, 0.03, 0.05, 0.02, 0.06, 0.03, 0.01, 0.02])
NAMES = ["a", "a", "a", "b", "b", "c", "b", "b"]


def test_a_single_study_is_echoed_and_there_is_no_test():
    for variance in ("separate", "common"):
        fit = subgroups(YI, VI, NAMES, variance=variance)
        assert math.isnan(fit.between.p)
        assert any(
            note.startswith("no test of interaction: c has one study") for note in fit.notes
        )
    row = subgroups(YI, VI, NAMES).groups[2].estimate
    assert (row.estimate, row.se, row.test) == (0.9, math.sqrt(0.03), "z")
    assert row.notes == ("one study: its own effect, nothing is pooled",)


def test_one_subgroup_is_not_compared():
    fit = subgroups(YI, VI, ["a"] * 8)
    assert math.isnan(fit.between.p)
    assert "no test of interaction: there is one subgroup only" in fit.notes


def test_two_studies_get_no_t_interval_of_their_own():
    fit = subgroups(YI[:5], VI[:5], NAMES[:5])
    row = fit.groups[1].estimate
    assert (row.k, row.test) == (2, "z")
    assert math.isnan(row.df)
    assert any("two studies: z" in note for note in row.notes)
    assert math.isnan(row.pi_low)


def test_narrow_knapp_hartung_intervals_are_floored():
    fit = subgroups(YI[:3], VI[:3], NAMES[:3])
    row = fit.groups[0].estimate
    assert row.test == "adhoc"
    assert any("floored" in note and "tau2 is 0" in note for note in row.notes)
    plain = subgroups(YI[:3], VI[:3], NAMES[:3], floor=False).groups[0].estimate
    assert plain.test == "knha"
    assert plain.se < row.se


def test_studies_without_a_level_are_named():
    fit = subgroups(YI, VI, ["a"] * 4 + ["b"] * 3 + [" "], labels=[f"S{i}" for i in range(8)])
    assert sum(group.k for group in fit.groups) == 7
    assert "left out of all subgroups, the level is missing: S7" in fit.notes


def test_levels_come_in_natural_order():
    fit = subgroups(YI, VI, ["dose 10"] * 4 + ["dose 9"] * 4)
    assert [group.level for group in fit.groups] == ["dose 9", "dose 10"]


def test_a_common_effect_needs_no_tau2():
    fit = subgroups(YI[:5], VI[:5], NAMES[:5], method="IV")
    assert {group.estimate.model for group in fit.groups} == {"common"}
    np.testing.assert_allclose(fit.between.statistic, fit.partition.q_between, rtol=1e-12)
    common = subgroups(YI[:5], VI[:5], NAMES[:5], method="IV", variance="common")
    np.testing.assert_allclose(common.between.statistic, fit.between.statistic, rtol=1e-12)


@pytest.mark.parametrize("floor", [True, False])
@pytest.mark.parametrize("variance", ["separate", "common"])
def test_identical_effects_have_the_floored_interval_only(variance, floor):
    yi, vi = np.full(6, 0.5), np.full(6, 0.1)
    fit = subgroups(yi, vi, list("aaabbb"), variance=variance, floor=floor)
    for group in fit.groups:
        assert group.estimate.test == "adhoc"
        assert any("residuals are all zero" in note for note in group.estimate.notes)
    np.testing.assert_allclose(fit.between.p, 1)


def test_impossible_input_is_refused():
    with pytest.raises(ValueError, match="variance must be separate or common"):
        subgroups(YI, VI, NAMES, variance="both")
    with pytest.raises(ValueError, match="test must be one of"):
        subgroups(YI, VI, NAMES, test="wald")
    with pytest.raises(ValueError, match="prediction must be one of"):
        subgroups(YI, VI, NAMES, prediction="t")
    with pytest.raises(ValueError, match="no study has a subgroup"):
        subgroups(YI, VI, [""] * 8)
    with pytest.raises(ValueError, match="differ"):
        subgroups(YI, VI, NAMES[:3])
    with pytest.raises(DesignError, match="every subgroup has one study"):
        subgroups(YI, VI, list("abcdefgh"), variance="common")


@settings(max_examples=40, deadline=None)
@given(
    data=st.lists(
        st.tuples(st.floats(-5, 5), st.floats(-6, 6), st.sampled_from(["a", "b", "c"])),
        min_size=1,
        max_size=12,
    ),
    variance=st.sampled_from(["separate", "common"]),
    test=st.sampled_from(["z", "t", "knha", "adhoc"]),
    method=st.sampled_from(["IV", "DL", "REML"]),
)
def test_any_data_give_numbers_or_reasons_that_do_not_depend_on_order(
    data, variance, test, method
):
    yi = np.array([y for y, _, _ in data])
    vi = 10.0 ** np.array([v for _, v, _ in data])
    names = [g for _, _, g in data]
    if variance == "common" and len(set(names)) == len(names):
        return
    options = {"variance": variance, "test": test, "method": method}
    fit = subgroups(yi, vi, names, **options)
    for group in fit.groups:
        row = group.estimate
        assert math.isfinite(row.estimate)
        assert math.isfinite(row.se) or any("not estimable" in note for note in row.notes)
    if math.isnan(fit.between.p):
        reasons = ("no test of interaction", "not estimable")
        assert any(reason in note for note in fit.notes for reason in reasons)
    order = np.arange(len(data))[::-1]
    turned = subgroups(yi[order], vi[order], [names[i] for i in order], **options)
    assert [g.level for g in turned.groups] == [g.level for g in fit.groups]
    np.testing.assert_allclose(
        [g.estimate.estimate for g in turned.groups],
        [g.estimate.estimate for g in fit.groups],
        rtol=1e-9,
        atol=1e-12,
    )
