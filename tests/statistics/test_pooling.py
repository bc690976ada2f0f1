"""Pooled estimates: against metafor, published tables, rules for few studies, invariances."""

import math
from dataclasses import fields, replace

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references import (
    F1,
    F2,
    F7,
    F8,
    analyses,
    effects_of,
    find,
    generic,
    rows,
    table,
)

from evisynth import menus
from evisynth.inference import quantile, two_sided_p
from evisynth.inverse_variance import BASIC_TESTS, NAGASHIMA, PREDICTION
from evisynth.measures import MEASURES, compute_effects
from evisynth.pooling import display, pool
from evisynth.records import Estimate, RawRow
from evisynth.specification import METHOD_OF_TEST, ModelSpec
from evisynth.tau2 import DEFAULT_TAU2, log_likelihood

mpmath.mp.dps = 40
REFERENCES = list(analyses("rma.uni"))
# metafor's names of its prediction intervals, and our flavours
FLAVOURS = {
    ("z", "default"): "normal",
    ("z", "riley"): "HTS",
    ("z", "t"): "V",
    ("knha", "default"): "HK",
    ("knha", "riley"): "HK-PR",
    ("adhoc", "default"): "HK",
    ("adhoc", "riley"): "HK-PR",
}
# Variances that are not positive: metafor pools them with HE, ML and REML, we never.
NOT_POSITIVE = ("edge_negative_variance", "edge_zero_negative_variance")


def usable(entry):
    return entry.status == "ok" and entry.file not in NOT_POSITIVE and entry.result["k"] > 1


COMPARED = [entry for entry in REFERENCES if usable(entry)]
SINGLE = [entry for entry in REFERENCES if entry.status == "ok" and entry.result["k"] == 1]


def test_no_reference_is_lost():
    errors = [entry for entry in REFERENCES if entry.status == "error"]
    assert len(REFERENCES) == 328
    assert (len(COMPARED), len(SINGLE), len(errors)) == (284, 29, 9)
    # ... and HE, ML, REML with variances that are not positive
    assert len(REFERENCES) - len(COMPARED) - len(SINGLE) - len(errors) == 6
    compared = {(entry.args["method"], test) for entry in COMPARED for test in rows_of(entry)}
    assert compared == {("EE", "z")} | {
        (method, test)
        for method in DEFAULT_TAU2
        for test in BASIC_TESTS
        if (method, test) != ("HE", "adhoc")
    }


def rows_of(entry):
    # the further tests have tests of their own
    return [test for test in entry.result["tests"] if test in BASIC_TESTS]


def number(value):
    return math.nan if value is None else float(value)


def close(ours, theirs, rtol, atol=0.0):
    np.testing.assert_allclose(ours, number(theirs), rtol=rtol, atol=atol)


@pytest.mark.parametrize("entry", COMPARED, ids=str)
def test_estimates_equal_those_of_metafor(entry):
    level = entry.args["level"] / 100
    effects = effects_of(find(entry.file, entry.args["data"]), level)
    expected, method = entry.result, entry.args["method"]
    common = method == "EE"
    spec = ModelSpec(
        effects="common" if common else "random",
        method="REML" if common else method,
        test="z",
        level=level,
    )
    fit = pool(effects, spec)
    assert fit.k == expected["k"]
    # 12 printed digits; 1e-8 where metafor iterates
    rtol = max(entry.rtol, 1e-10)
    spread = fit.heterogeneity[0]
    # A maximum at the boundary is a tiny positive number there.
    atol = 1e-9 * expected["vt"]
    assert spread.q_df == expected["QE_df"]
    close(spread.q, expected["QE"], rtol, 1e-12)
    close(spread.q_p, expected["QE_p"], 1e-8, 1e-12)
    if common:
        close(spread.i2_q, expected["I2"], rtol, 1e-9)
    else:
        close(spread.tau2, expected["tau2"], rtol, atol)
        close(spread.i2, expected["I2"], rtol, 1e-7)
        close(spread.h2, expected["H2"], rtol, 1e-9)
    if interval := expected.get("tau2_ci"):
        if interval.get("ci_null"):
            assert math.isnan(spread.tau2_low)
            assert math.isnan(spread.tau2_high)
        elif not {"lb_sign", "ub_sign"} & interval.keys():
            for end, name in (("low", "lb"), ("high", "ub")):
                close(getattr(spread, f"tau2_{end}"), interval["tau2"][name], 1e-8, atol)
                if "I2" in interval:
                    close(getattr(spread, f"i2_{end}"), interval["I2"][name], 1e-8, 1e-7)
    if "weights_pct" in expected:
        close(np.sum(fit.weights[effects.pooled]), 100, 1e-14)
        np.testing.assert_allclose(
            fit.weights[effects.pooled], expected["weights_pct"], rtol=10 * rtol
        )
    key = "IV" if common else method
    ours = {row.test: row for row in fit.estimates if row.method == key}
    for test in rows_of(entry):
        compare_row(ours[test], expected["tests"][test], effects.measure, rtol)
        for name, theirs in expected["tests"][test].get("pi", {}).items():
            if (test, name) in FLAVOURS and fit.k > 2:
                other = pool(effects, replace(spec, prediction=FLAVOURS[test, name]))
                row = next(r for r in other.estimates if (r.method, r.test) == (key, test))
                if not math.isnan(row.se):
                    # a bound is a difference, that may be near 0
                    reach = row.pi_high - row.pi_low
                    close(row.pi_low, theirs["lb"], rtol, rtol * reach)
                    close(row.pi_high, theirs["ub"], rtol, rtol * reach)
    for name, restricted in (("ML", False), ("REML", True)):
        if theirs := expected.get("fit", {}).get(name):
            yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
            tau2 = 0.0 if common else spread.tau2
            height = log_likelihood(yi, vi, tau2, restricted=restricted)
            close(height, theirs["ll"], rtol, 1e-10)


def compare_row(ours, theirs, measure, rtol):
    if theirs["se"] == 0:
        # Identical effects: metafor has a standard error of 0 and an infinite statistic.
        assert math.isnan(ours.se)
        assert math.isnan(ours.p)
        assert ours.notes[-1] == "not estimable: residuals are all zero"
        return
    half = (theirs["ci_ub"] - theirs["ci_lb"]) / 2
    close(ours.estimate, theirs["estimate"], rtol, rtol * half)
    close(ours.se, theirs["se"], rtol)
    close(ours.ci_low, theirs["ci_lb"], rtol, rtol * half)
    close(ours.ci_high, theirs["ci_ub"], rtol, rtol * half)
    close(ours.df, theirs.get("ddf"), 0)
    if MEASURES[measure].null is None:
        assert math.isnan(ours.statistic)
        assert math.isnan(ours.p)
    else:
        close(ours.statistic, theirs["stat"], rtol, rtol * half / theirs["se"])
        # The tail falls as exp(-z^2/2): its relative error is about z^2 times that of z.
        close(ours.p, theirs["pval"], rtol * max(1, theirs["stat"] ** 2), 1e-300)
    if shown := theirs.get("transf"):
        on_scale = display(ours, measure)
        for name, key in (("estimate", "estimate"), ("ci_low", "ci_lb"), ("ci_high", "ci_ub")):
            if measure != "GEN":
                close(getattr(on_scale, name), shown[key], 10 * rtol * max(1, half), 1e-12)


@pytest.mark.parametrize("entry", SINGLE, ids=str)
def test_one_study_is_not_pooled(entry):
    """F9: metafor, PyMARE and statsmodels all make something of it."""
    effects = effects_of(find(entry.file, entry.args["data"]))
    fit = pool(effects, ModelSpec())
    # Mantel-Haenszel can take rows whose zero cells leave no effect size
    assert {row.method for row in fit.estimates} <= {"MH"}
    assert (fit.k, fit.heterogeneity, fit.headline) == (1, (), None)
    assert fit.notes[0] == "k = 1: the study itself, nothing is pooled"
    assert np.isnan(fit.weights).all()


@pytest.mark.parametrize("file", NOT_POSITIVE)
def test_variances_that_are_not_positive_are_never_pooled(file):
    entry = find(file, "asis")
    if file == "edge_negative_variance":
        with pytest.raises(ValueError, match="expected above 0"):
            effects_of(entry)
        return
    effects = effects_of(entry)
    assert effects.included == (True, False, True, True)
    fit = pool(effects, ModelSpec())
    assert (fit.k, fit.k_total) == (3, 4)
    assert "shown but left out of the pooling, 1 of 4 rows: study 2" in fit.headline.notes


def test_registry_of_predictions_has_the_keys_of_the_menu():
    assert [*PREDICTION, *NAGASHIMA] == list(menus.PREDICTION)


@pytest.mark.parametrize("df", [math.nan, 1, 2, 3, 12, 55, 10_000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 1 - 1e-9])
def test_quantiles_are_exact(df, level):
    tail = mpmath.mpf((1 - level) / 2)
    half = mpmath.mpf(quantile(level, df))
    if math.isnan(df):
        reached = mpmath.erfc(half / mpmath.sqrt(2)) / 2
    else:
        x = df / (df + half**2)
        reached = mpmath.betainc(mpmath.mpf(df) / 2, 0.5, 0, x, regularized=True) / 2
    # For the normal, whose tail is steepest, an error in the quantile counts at most 40-fold.
    assert math.isclose(reached, tail, rel_tol=1e-12)


@pytest.mark.parametrize("df", [math.nan, 1, 2, 12, 500])
@pytest.mark.parametrize("statistic", [0.0, 1e-9, -1e-3, 0.7, 3.0, -12.0, 30.0])
def test_p_values_are_exact(df, statistic):
    if math.isnan(df):
        exact = mpmath.erfc(abs(mpmath.mpf(statistic)) / mpmath.sqrt(2))
    else:
        x = mpmath.mpf(df) / (df + mpmath.mpf(statistic) ** 2)
        exact = mpmath.betainc(mpmath.mpf(df) / 2, 0.5, 0, x, regularized=True)
    assert math.isclose(two_sided_p(statistic, df), exact, rel_tol=1e-12)


# Raudenbush (2009), table 16.3 (page 309): tau2, mean, se, statistic, interval.
RAUDENBUSH = {
    ("IV", "z"): (0, 0.060, 0.036, 1.655, -0.011, 0.132),
    ("ML", "z"): (0.013, 0.078, 0.047, 1.637, -0.015, 0.171),
    ("REML", "z"): (0.019, 0.084, 0.052, 1.621, -0.018, 0.185),
    ("DL", "z"): (0.026, 0.089, 0.056, 1.601, -0.020, 0.199),
    ("HE", "z"): (0.080, 0.114, 0.079, 1.443, -0.041, 0.270),
    ("ML", "knha"): (0.013, 0.078, 0.059, 1.311, -0.047, 0.202),
    ("REML", "knha"): (0.019, 0.084, 0.062, 1.359, -0.046, 0.213),
    ("DL", "knha"): (0.026, 0.089, 0.064, 1.405, -0.044, 0.223),
    ("HE", "knha"): (0.080, 0.114, 0.071, 1.608, -0.035, 0.264),
}


def test_raudenbush_2009():
    columns = table("tests/data/raudenbush1985.csv", yi="yi", vi="vi")
    fit = pool(generic(**columns), ModelSpec())
    ours = {
        (row.method, row.test): tuple(
            round(value, 3)
            for value in (
                0.0 if row.method == "IV" else row.tau2,
                row.estimate,
                row.se,
                row.statistic,
                row.ci_low,
                row.ci_high,
            )
        )
        for row in fit.estimates
        if (row.method, row.test) in RAUDENBUSH
    }
    assert ours == RAUDENBUSH


def percent(value):
    return round(100 * value, 1)


def test_normand_1999_lidocaine():
    """Tables III (page 330) and VII (page 349), risk differences in per cent."""
    columns = table("tests/data/hine1989.csv", ai="ai", n1i="n1i", ci="ci", n2i="n2i")
    effects = compute_effects("RD", rows(**columns), level=0.95)
    assert [round(100 * y, 4) for y in effects.yi] == [
        2.8026,
        0.0,
        1.9711,
        1.7961,
        3.5334,
        4.4031,
    ]
    assert [percent(low) for low in effects.ci_low] == [-5.5, -12.0, -3.6, -4.7, -2.0, -0.5]
    fit = pool(effects, ModelSpec(effects="common"))
    head = fit.headline
    assert (round(100 * head.estimate, 2), percent(head.ci_low), percent(head.ci_high)) == (
        2.94,
        0.4,
        5.5,
    )
    assert all(
        spread.tau2 == 0 for spread in fit.heterogeneity if spread.method in ("DL", "REML")
    )


def test_normand_1999_stroke():
    """Table IX (page 352), with the pooled standard deviation of the two groups in both."""
    names = ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
    columns = table(
        "reviews/normand1999/data/normand1999.csv", **{name: name for name in names}
    )
    n1, n2 = columns["n1i"], columns["n2i"]
    squares = (n1 - 1) * columns["sd1i"] ** 2 + (n2 - 1) * columns["sd2i"] ** 2
    columns["sd1i"] = columns["sd2i"] = np.sqrt(squares / (n1 + n2 - 2))
    fit = pool(compute_effects("MD", rows(**columns), level=0.95), ModelSpec())
    ours = {
        row.method: tuple(round(x, 2) for x in (row.estimate, row.ci_low, row.ci_high))
        for row in fit.estimates
        if row.test == "z" and row.method in ("IV", "DL", "REML")
    }
    assert ours == {
        "IV": (-3.49, -5.03, -1.96),
        "DL": (-14.10, -24.45, -3.75),
        "REML": (-15.12, -32.67, 2.43),
    }
    tau2 = {spread.method: round(spread.tau2, 2) for spread in fit.heterogeneity}
    assert (tau2["DL"], tau2["REML"]) == (218.72, 685.20)


def bcg(**options):
    columns = table("reviews/bcg/data/bcg.csv", ai="tpos", bi="tneg", ci="cpos", di="cneg")
    return pool(compute_effects("RR", rows(**columns), level=0.95), ModelSpec(**options))


@pytest.mark.parametrize(
    ("prediction", "low", "high"),
    [
        ("normal", -1.866692, 0.437628),
        ("V", -1.995342, 0.566277),
        ("HTS", -2.008376, 0.579311),
        ("HK", -1.996017, 0.566952),
        ("HK-PR", -2.009058, 0.579993),
    ],
)
def test_bcg_prediction_intervals(prediction, low, high):
    head = bcg(prediction=prediction).headline
    assert (head.method, head.test) == ("REML", "knha")
    assert (round(head.pi_low, 6), round(head.pi_high, 6)) == (low, high)


def test_one_row_is_the_headline_and_all_rows_are_there():
    fit = bcg()
    assert [(row.method, row.test) for row in fit.estimates] == [
        ("IV", "z"),
        *((method, test) for method in DEFAULT_TAU2 for test in BASIC_TESTS),
        ("MH", "z"),
    ]
    assert [row.headline for row in fit.estimates].count(True) == 1
    assert (fit.k, fit.k_total, fit.n_total) == (13, 13, 357347)
    assert not fit.weights.flags.writeable


def note_of(fit, part):
    return next((note for note in fit.headline.notes if part in note), "")


def test_nothing_to_pool_is_said():
    empty = generic([], [])
    assert pool(empty, ModelSpec()).notes == ("not estimable, because no study can be pooled",)
    lost = generic([0.1, 0.3], [0.0, 0.0])
    fit = pool(lost, ModelSpec())
    assert (fit.k, fit.k_total, fit.estimates) == (0, 2, ())
    assert fit.notes == (
        "not estimable, because no study can be pooled; study 1: its sampling variance is 0; "
        "study 2: its sampling variance is 0",
    )


@pytest.mark.parametrize("test", menus.TESTS)
def test_two_studies_never_have_a_knapp_hartung_headline(test):
    """F8: t with 1 df gives [-4.59, 5.58] for effects of 0.1 and 0.9."""
    method = METHOD_OF_TEST.get(test, "REML")
    fit = pool(generic(*F8), ModelSpec(test=test, method=method))
    head = fit.headline
    assert (head.method, head.test) == (method, "z")
    assert note_of(fit, "not a summary of a population")
    assert note_of(fit, "cannot tell the variance between")
    assert bool(note_of(fit, "is not used as headline: z instead")) == (test != "z")
    assert all(math.isnan(row.pi_low) for row in fit.estimates)
    knha = next(row for row in fit.estimates if (row.method, row.test) == ("REML", "knha"))
    assert (round(knha.ci_low, 3), round(knha.ci_high, 3)) == (-4.588, 5.576)


def test_two_studies_with_a_common_effect_are_labelled():
    fit = pool(generic(*F8), ModelSpec(effects="common"))
    assert fit.headline.model == "common"
    assert note_of(fit, "not a summary of a population")


def test_too_narrow_knapp_hartung_interval_is_floored():
    """F7: [0.277, 0.324] by Knapp-Hartung, [0.051, 0.550] by Wald, [-0.247, 0.849] floored."""
    fit = pool(generic(*F7), ModelSpec())
    head = fit.headline
    assert head.test == "adhoc"
    assert (round(head.ci_low, 3), round(head.ci_high, 3)) == (-0.247, 0.848)
    assert note_of(fit, "tau2 is 0 and the Knapp-Hartung interval is narrower than Wald's")
    for part in ("boundary", "empty", "unstable below 5", "I2 is not to be interpreted"):
        assert note_of(fit, part)


def test_floor_can_be_turned_off_but_not_silently():
    fit = pool(generic(*F7), ModelSpec(floor=False))
    assert fit.headline.test == "knha"
    assert note_of(fit, "not floored, as configured, although tau2 is 0")


def test_floor_leaves_a_wider_interval_alone():
    fit = pool(generic([0.1, 0.9, 0.4, -0.3], [0.04, 0.05, 0.02, 0.03]), ModelSpec())
    assert fit.headline.test == "knha"
    assert not note_of(fit, "floored")


@pytest.mark.parametrize("floor", [True, False])
def test_identical_effects_have_a_floored_interval_only(floor):
    fit = pool(generic([0.4] * 4, [0.05, 0.02, 0.1, 0.3]), ModelSpec(floor=floor))
    assert fit.headline.test == "adhoc"
    assert math.isfinite(fit.headline.ci_low)
    knha = next(row for row in fit.estimates if (row.method, row.test) == ("REML", "knha"))
    assert math.isclose(knha.estimate, 0.4, rel_tol=1e-15)
    for value in (knha.se, knha.ci_low, knha.statistic, knha.p, knha.pi_high):
        assert math.isnan(value)
    assert knha.notes[-1] == "not estimable: residuals are all zero"


def test_several_maxima_are_said_on_the_headline():
    assert note_of(pool(generic(*F2), ModelSpec()), "2 local maxima")
    assert not note_of(pool(generic(*F2), ModelSpec(method="DL")), "local maxima")


def test_corrections_and_exclusions_are_counted_on_the_headline():
    """F15: a double zero gets 1/2 unless it is dropped, and either is said."""
    studies = rows(ai=[0, 0, 2, 1], n1i=[50, 40, 60, 30], ci=[0, 3, 5, 0], n2i=[50, 40, 60, 30])
    kept = pool(compute_effects("OR", studies, level=0.95), ModelSpec())
    assert note_of(kept, "continuity correction in 3 studies")
    dropped = compute_effects("OR", studies, level=0.95, drop00=True)
    fit = pool(dropped, ModelSpec())
    assert note_of(fit, "shown but left out of the pooling, 1 of 4 rows: study 1")
    assert note_of(fit, "continuity correction in 2 studies")
    assert fit.notes == tuple(note for note in fit.headline.notes if note in fit.notes)
    assert math.isnan(fit.weights[0])


def test_another_level_is_said():
    assert note_of(pool(generic(*F1), ModelSpec(level=0.9)), "intervals at 90%")


def test_numbers_too_far_apart_are_reported_not_raised():
    fit = pool(generic([0.0, 1e90, 1.0], [1.0, 1.0, 1.0]), ModelSpec())
    assert fit.estimates == ()
    assert fit.notes[0].startswith("not estimable: effects or standard errors are more than")


@pytest.mark.parametrize(
    "change",
    [
        {"level": 95},
        {"effects": "fixed"},
        {"test": "wald"},
        {"method": "median"},
        {"test": "kr", "method": "DL"},
        {"test": "hc"},
        {"tau2": 0.1},
        {"method": "fixed"},
        {"family": "GLMM"},
        {"family": "copula"},
        {"glmm": "UM"},
        {"weights": "size"},
        {"prediction": "none"},
    ],
)
def test_impossible_models_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        pool(generic(*F1), ModelSpec(**change))


def test_display_transforms_what_has_a_scale_and_nothing_else():
    head = bcg().headline
    shown = display(head, "RR")
    assert (shown.estimate, shown.ci_low, shown.pi_high) == tuple(
        math.exp(x) for x in (head.estimate, head.ci_low, head.pi_high)
    )
    assert math.isnan(shown.se)
    kept = {field.name for field in fields(Estimate)} - {
        "estimate",
        "se",
        "ci_low",
        "ci_high",
        "pi_low",
        "pi_high",
    }
    assert all(getattr(shown, name) == getattr(head, name) for name in kept)


effect = st.floats(-4, 4).map(lambda x: round(x, 3))
studies = st.lists(st.tuples(effect, st.floats(-6, 4)), min_size=2, max_size=7).map(
    lambda pairs: ([yi for yi, _ in pairs], [math.exp(x) for _, x in pairs])
)


@given(data=studies)
@settings(max_examples=50)
def test_rows_obey_what_they_are(data):
    fit = pool(generic(*data), ModelSpec())
    close(np.sum(fit.weights), 100, 1e-13)
    by_key = {(row.method, row.test): row for row in fit.estimates}
    for (method, test), row in by_key.items():
        wald = by_key[method, "z"]
        if test == "adhoc":
            assert row.se >= wald.se
            assert row.ci_high - row.ci_low > wald.ci_high - wald.ci_low
        assert row.estimate == wald.estimate
        assert min(data[0]) - 1e-12 <= row.estimate <= max(data[0]) + 1e-12
        if not math.isnan(row.pi_low):
            slack = 1e-12 * (1 + abs(row.ci_high))
            assert row.pi_low <= row.ci_low + slack
            assert row.ci_high <= row.pi_high + slack
    assert not math.isnan(fit.headline.ci_low)


@given(data=studies, seed=st.integers(0, 100))
@settings(max_examples=30)
def test_order_of_studies_changes_no_digit_but_their_own(data, seed):
    order = np.random.default_rng(seed).permutation(len(data[0]))
    one_way = pool(generic(*data), ModelSpec())
    other = pool(generic(*(np.array(column)[order] for column in data)), ModelSpec())
    assert repr(one_way.estimates) == repr(other.estimates)
    assert repr(one_way.heterogeneity) == repr(other.heterogeneity)
    np.testing.assert_array_equal(one_way.weights[order], other.weights)


@given(data=studies, exponent=st.integers(-60, 60))
@settings(max_examples=30)
def test_estimates_follow_the_unit(data, exponent):
    factor = 2.0**exponent
    yi, vi = (np.array(column) for column in data)
    small = pool(generic(yi, vi), ModelSpec())
    large = pool(generic(yi * factor, vi * factor**2), ModelSpec())
    for ours, theirs in zip(small.estimates, large.estimates, strict=True):
        assert ours.headline == theirs.headline
        for name in ("estimate", "se", "ci_low", "ci_high", "pi_low", "pi_high"):
            np.testing.assert_equal(getattr(theirs, name), getattr(ours, name) * factor)


@given(data=studies, shift=st.integers(-50, 50))
@settings(max_examples=30)
def test_estimates_follow_a_common_shift(data, shift):
    yi, vi = (np.array(column) for column in data)
    here = pool(generic(yi, vi), ModelSpec()).estimates
    there = pool(generic(yi + shift, vi), ModelSpec()).estimates
    for ours, theirs in zip(here, there, strict=True):
        if ours.method not in ("ML", "REML"):  # see test_tau2: two maxima may tie
            close(theirs.estimate, ours.estimate + shift, 1e-9, 1e-9)


@given(data=studies)
@settings(max_examples=30)
def test_studies_given_twice_halve_the_common_variance(data):
    once = pool(generic(*data), ModelSpec()).estimates[0]
    twice = pool(generic(*(2 * list(column) for column in data)), ModelSpec()).estimates[0]
    close(twice.estimate, once.estimate, 1e-13, 1e-15)
    close(twice.se**2, once.se**2 / 2, 1e-13)


def test_a_row_that_is_not_pooled_changes_no_estimate():
    yi, vi = F1
    whole = generic([*yi, 99.0], [*vi, 0.0])
    with_it, without = pool(whole, ModelSpec()), pool(generic(yi, vi), ModelSpec())
    assert with_it.headline.estimate == without.headline.estimate
    assert math.isnan(with_it.weights[-1])


def test_rows_of_one_cluster_are_named_as_pooled_independently():
    effects = replace(generic([0.1, 0.3, 0.2], [0.1] * 3), cluster=("a", "b", "b"))
    note = "3 rows of 2 clusters (studies) are pooled as independent"
    assert note in pool(effects, ModelSpec()).headline.notes
    assert not note_of(pool(generic([0.1, 0.3], [0.1] * 2), ModelSpec()), "as independent")


def test_a_factor_of_at_least_one_needs_no_floor():
    counts = [(22, 53), (13, 43), (8, 13), (5, 13), (8, 20)]
    rows = [RawRow(str(i), str(i), {"xi": x, "ni": n}) for i, (x, n) in enumerate(counts)]
    fit = pool(compute_effects("PLO", rows, level=0.95), ModelSpec())
    assert fit.headline.tau2 == 0
    assert fit.headline.test == "knha"
    assert not note_of(fit, "floored")


def test_the_number_of_patients_is_that_of_the_pooled_rows():
    studies = [
        RawRow("a", "a", {"xi": 3, "ni": 10}),
        RawRow("b", "b", {"xi": 5, "ni": 20}),
        RawRow("c", "c", {"xi": 4, "ni": 40}, included=False, reason="no"),
    ]
    assert pool(compute_effects("PLO", studies, level=0.95), ModelSpec()).n_total == 30


def test_counts_without_any_event_are_named():
    none = [RawRow(str(n), str(n), {"xi": 0, "ni": n}) for n in (10, 20, 30)]
    fit = pool(compute_effects("PLO", none, level=0.95), ModelSpec())
    assert note_of(fit, "no events in any study")
    counts = [(0, 50, 0, 50), (2, 60, 5, 60), (1, 30, 4, 30)]
    both = [
        RawRow(str(i), str(i), dict(zip(("ai", "n1i", "ci", "n2i"), row, strict=True)))
        for i, row in enumerate(counts)
    ]
    fit = pool(compute_effects("OR", both, level=0.95), ModelSpec())
    assert note_of(fit, "1 pooled without events in both groups")


def test_an_interval_beyond_what_a_proportion_can_be_is_named():
    counts = [(9, 10), (5, 6), (8, 8), (2, 6)]
    rows = [RawRow(str(i), str(i), {"xi": x, "ni": n}) for i, (x, n) in enumerate(counts)]
    assert note_of(pool(compute_effects("PLN", rows, level=0.95), ModelSpec()), "leaves 0 to 1")
    assert not note_of(pool(compute_effects("PLO", rows, level=0.95), ModelSpec()), "leaves 0")


def test_below_five_studies_a_factor_below_one_is_floored():
    fit = pool(generic([0.831, 0.706, 0.622, 0.12], [0.130, 0.104, 0.173, 0.063]), ModelSpec())
    assert fit.headline.test == "adhoc"
    assert note_of(fit, "fewer than 5 studies")
