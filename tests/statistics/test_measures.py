"""Effect sizes: against metafor, against exact arithmetic, and where there is none."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references import analyses, effects_of, rows

from evisynth import menus
from evisynth.inputs import check_numbers
from evisynth.measures import (
    MEASURES,
    clopper_pearson,
    compute_effects,
    corrections,
    hedges_correction,
)
from evisynth.records import RawRow

mpmath.mp.dps = 50
ESCALC = list(analyses("escalc"))
ASIS = list(analyses("asis"))
# The reference prints 15 digits, and forms small differences of large logarithms in doubles.
RTOL, ATOL = 1e-12, 1e-13
PROPORTIONS = ("PR", "PLN", "PLO", "PAS")
TWO_BY_TWO = ("OR", "RR", "RD")

STUDY = {
    "one_group": {"xi": 7, "ni": 20},
    "two_groups": {"ai": 7, "n1i": 20, "ci": 3, "n2i": 21},
    "effect": {"yi": 0.4, "vi": 0.09},
}
MEANS = {"m1i": 5.2, "sd1i": 1.3, "n1i": 20, "m2i": 4.1, "sd2i": 1.1, "n2i": 22}


def study_of(measure):
    return MEANS if measure in ("MD", "SMD") else STUDY[MEASURES[measure].design]


def one(measure, numbers, **options):
    effects = compute_effects(measure, [RawRow("a", "a", numbers)], level=0.95, **options)
    return float(effects.yi[0]), float(effects.vi[0])


def test_registry_has_the_keys_of_the_menu():
    assert list(MEASURES) == list(menus.MEASURES)
    assert all(measure.key == key for key, measure in MEASURES.items())


def test_every_input_is_a_field_that_the_configuration_can_map():
    known = {name for m in MEASURES.values() for names in m.inputs for name in names}
    assert known <= set(menus.FIELDS)


def test_no_reference_is_lost():
    assert (len(ESCALC), len(ASIS)) == (116, 20)


@pytest.mark.parametrize("entry", ESCALC, ids=str)
def test_effects_equal_those_of_metafor(entry):
    if entry.status == "error":
        with pytest.raises(ValueError, match=r"is -|is 0|events of"):
            effects_of(entry)
        return
    effects = effects_of(entry)
    for name in ("yi", "vi"):
        expected = np.array([np.nan if x is None else x for x in entry.result[name]])
        np.testing.assert_allclose(getattr(effects, name), expected, rtol=RTOL, atol=ATOL)
    np.testing.assert_array_equal(
        effects.pooled, np.isfinite(effects.vi) & (np.nan_to_num(effects.vi) > 0)
    )
    assert all(
        bool(reason) != kept
        for reason, kept in zip(effects.reason, effects.included, strict=True)
    )
    if "ni" in entry.result and None not in entry.result["ni"]:
        np.testing.assert_array_equal(effects.ni, entry.result["ni"])
    summary = entry.result.get("summary", {})
    if summary and entry.args["measure"] not in PROPORTIONS:
        # 12 digits are printed here
        np.testing.assert_allclose(effects.sei, _floats(summary["sei"]), rtol=1e-11)
        ends = summary.get("transf", summary)
        np.testing.assert_allclose(
            effects.ci_low, _floats(ends["ci_lb"]), rtol=1e-10, atol=1e-11
        )
        np.testing.assert_allclose(
            effects.ci_high, _floats(ends["ci_ub"]), rtol=1e-10, atol=1e-11
        )


def _floats(values):
    return np.array([np.nan if value is None else value for value in values])


@pytest.mark.parametrize("entry", ASIS, ids=str)
def test_given_effects_stay_as_they_are(entry):
    expected = _floats(entry.result["vi"])
    if (expected < 0).any():
        with pytest.raises(ValueError, match=r"vi is -0\.01"):
            effects_of(entry)
        return
    effects = effects_of(entry)
    given_yi = _floats(entry.result["yi"])
    np.testing.assert_array_equal(effects.pooled, np.isfinite(given_yi) & (expected > 0))
    for ours, theirs in ((effects.yi, given_yi), (effects.vi, expected)):
        np.testing.assert_allclose(ours[effects.pooled], theirs[effects.pooled], rtol=1e-14)


def exact_effect(measure, numbers):
    """The formulas once more, in 50 digits."""
    n = {name: mpmath.mpf(value) for name, value in numbers.items()}
    if "xi" in n:
        p = n["xi"] / n["ni"]
        q = 1 - p
        return {
            "PR": (p, p * q / n["ni"]),
            "PLN": (mpmath.log(p), 1 / n["xi"] - 1 / n["ni"]),
            "PLO": (mpmath.log(p / q), 1 / n["xi"] + 1 / (n["ni"] - n["xi"])),
            "PAS": (mpmath.asin(mpmath.sqrt(p)), 1 / (4 * n["ni"])),
        }[measure]
    if "ai" in n:
        a, n1, c, n2 = n["ai"], n["n1i"], n["ci"], n["n2i"]
        b, d = n1 - a, n2 - c
        p1, p2 = a / n1, c / n2
        return {
            "OR": (mpmath.log(a * d / b / c), 1 / a + 1 / b + 1 / c + 1 / d),
            "RR": (mpmath.log(p1 / p2), 1 / a - 1 / n1 + 1 / c - 1 / n2),
            "RD": (p1 - p2, p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2),
        }[measure]
    n1, n2 = n["n1i"], n["n2i"]
    if measure == "MD":
        return n["m1i"] - n["m2i"], n["sd1i"] ** 2 / n1 + n["sd2i"] ** 2 / n2
    m = n1 + n2 - 2
    pooled = mpmath.sqrt(((n1 - 1) * n["sd1i"] ** 2 + (n2 - 1) * n["sd2i"] ** 2) / m)
    correction = mpmath.gamma(m / 2) / mpmath.sqrt(m / 2) / mpmath.gamma((m - 1) / 2)
    g = correction * (n["m1i"] - n["m2i"]) / pooled
    return g, 1 / n1 + 1 / n2 + g**2 / (2 * (n1 + n2))


HUGE = {"ai": 4_999_999, "n1i": 9_999_999, "ci": 5_000_001, "n2i": 10_000_003}
EXACT = [
    *[(m, {"xi": x, "ni": n}) for m in PROPORTIONS for x, n in ((1, 3), (999_999, 2_000_000))],
    *[(m, {"xi": 699_999, "ni": 700_000}) for m in PROPORTIONS],
    *[(m, numbers) for m in TWO_BY_TWO for numbers in (STUDY["two_groups"], HUGE)],
    *[(m, MEANS) for m in ("MD", "SMD")],
    ("SMD", MEANS | {"n1i": 2, "n2i": 2}),
    ("SMD", MEANS | {"n1i": 150, "n2i": 153}),
    ("SMD", MEANS | {"n1i": 500_000, "n2i": 400_000}),
]


@pytest.mark.parametrize(("measure", "numbers"), EXACT)
def test_effects_are_exact(measure, numbers):
    """Few roundings, no cancellation: also where log odds of millions are nearly equal."""
    for ours, exact in zip(one(measure, numbers), exact_effect(measure, numbers), strict=True):
        assert math.isclose(ours, exact, rel_tol=2e-15 if "ai" in numbers else 1e-14)


@pytest.mark.parametrize("m", [2, 3, 10, 299, 300, 301, 302, 1000, 10**6, 10**9])
def test_hedges_correction_is_exact(m):
    half = mpmath.mpf(m) / 2
    log = mpmath.loggamma(half) - mpmath.log(half) / 2 - mpmath.loggamma(half - 0.5)
    assert math.isclose(hedges_correction(m), mpmath.exp(log), rel_tol=1e-14)


def test_hazard_ratio_from_its_interval_is_exact():
    numbers = {"estimate": 0.212, "ci_low": 0.08, "ci_high": 0.571, "ci_level": 0.9}
    yi, vi = one("HR", numbers)
    z = mpmath.sqrt(2) * mpmath.erfinv(mpmath.mpf("0.9"))
    width = mpmath.log(mpmath.mpf("0.571") / mpmath.mpf("0.08"))
    assert math.isclose(yi, mpmath.log(mpmath.mpf("0.212")), rel_tol=1e-14)
    assert math.isclose(vi, (width / 2 / z) ** 2, rel_tol=1e-14)


def test_hazard_ratio_shows_its_interval_as_printed():
    numbers = {"estimate": 2, "ci_low": 1.1, "ci_high": 3.7}
    effects = compute_effects("HR", rows(**{k: [v] for k, v in numbers.items()}), level=0.95)
    assert (effects.ci_low[0], effects.ci_high[0], effects.notes[0]) == (1.1, 3.7, "")
    effects = compute_effects("HR", rows(**{k: [v] for k, v in numbers.items()}), level=0.9)
    half = 1.6448536269514722 * effects.sei[0]  # the 95th percentile of the normal
    assert effects.ci_low[0] == pytest.approx(math.exp(effects.yi[0] - half), rel=1e-12)
    assert effects.ci_high[0] == pytest.approx(math.exp(effects.yi[0] + half), rel=1e-12)
    assert effects.notes[0] == "printed at 95%: 1.1 to 3.7"


def test_hazard_ratio_takes_the_first_complete_alternative():
    both = {"estimate": math.nan, "ci_low": 1.1, "ci_high": 3.7, "yi": 0.5, "sei": 0.2}
    assert one("HR", both) == (0.5, 0.2 * 0.2)


def binomial_tail(xi, ni, p):
    """P(X <= xi), in 50 digits."""
    term = total = (1 - p) ** ni
    for i in range(xi):
        term *= mpmath.mpf(ni - i) / (i + 1) * p / (1 - p)
        total += term
    return total


@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(
    ("xi", "ni"),
    [(0, 12), (12, 12), (1, 1), (6, 20), (1, 2000), (1999, 2000), (1, 700_000), (153, 700_000)],
)
def test_clopper_pearson_solves_its_equations(xi, ni, level):
    """At each end the tail has its probability.

    A relative error of x in the end changes that by about (xi + 1) x.
    """
    tail = (1 - level) / 2
    low, high = clopper_pearson(xi, ni, level)
    if xi == 0:
        assert low == 0
    elif xi < 1000:
        assert math.isclose(1 - binomial_tail(xi - 1, ni, mpmath.mpf(low)), tail, rel_tol=1e-11)
    if xi == ni:
        assert high == 1
    elif xi < 1000:
        assert math.isclose(binomial_tail(xi, ni, mpmath.mpf(high)), tail, rel_tol=1e-11)
    mirrored = clopper_pearson(ni - xi, ni, level)
    np.testing.assert_allclose([1 - high, 1 - low], mirrored, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("measure", PROPORTIONS)
def test_study_intervals_of_proportions_are_exact_ones_of_the_counts(measure):
    effects = compute_effects(measure, rows(xi=[0, 12], ni=[12, 12]), level=0.95)
    # 1 - 0.025^(1/12), the closed form for no events
    np.testing.assert_allclose(effects.ci_low, [0, 0.025 ** (1 / 12)], rtol=1e-13)
    np.testing.assert_allclose(effects.ci_high, [1 - 0.025 ** (1 / 12), 1], rtol=1e-13)


@pytest.mark.parametrize("measure", MEASURES)
@given(x=st.floats(0.001, 0.999))
@settings(max_examples=25)
def test_back_transformation_undoes_the_transformation(measure, x):
    chosen = MEASURES[measure]
    assert math.isclose(chosen.back(chosen.forward(x)), x, rel_tol=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_transformations_never_turn_back_and_keep_what_is_undefined(measure):
    chosen = MEASURES[measure]
    shown = [chosen.back(x) for x in np.linspace(-800, 800, 4001)]
    ordered = shown[::-1] if chosen.falling else shown
    assert all(low <= high for low, high in pairwise(ordered))
    assert math.isnan(chosen.back(math.nan))
    assert math.isnan(chosen.forward(math.nan))


def test_transformations_end_where_the_scale_ends():
    logit, arcsine = MEASURES["PLO"], MEASURES["PAS"]
    assert (logit.back(-1000), logit.back(1000)) == (0, 1)
    assert (logit.forward(0), logit.forward(1)) == (-math.inf, math.inf)
    assert (arcsine.back(-0.1), arcsine.back(1.7)) == (0, 1)
    assert math.isnan(arcsine.forward(1.1))
    assert math.isnan(logit.forward(1.1))
    assert MEASURES["OR"].back(1000) == math.inf
    assert MEASURES["PLN"].back(0.1) > 1


ZERO = {"ai": [0, 5, 0], "n1i": [40, 50, 30], "ci": [4, 6, 0], "n2i": [42, 48, 31]}


def test_rows_that_are_not_pooled_do_not_decide_on_the_correction_of_others():
    studies = rows(ai=[0, 5], n1i=[40, 50], ci=[4, 6], n2i=[42, 48])
    aside = [replace(studies[0], included=False, reason="overlap"), studies[1]]
    used = compute_effects("OR", studies, level=0.95, to="if0all")
    unused = compute_effects("OR", aside, level=0.95, to="if0all")
    assert used.notes == ("1/2 added to each cell",) * 2
    assert unused.notes == ("", "")
    assert unused.yi[1] == compute_effects("OR", studies[1:], level=0.95).yi[0]


def test_a_row_that_is_set_aside_is_still_computed():
    aside = [replace(rows(**ZERO)[0], included=False, reason="overlap")]
    effects = compute_effects("OR", aside, level=0.95)
    assert math.isfinite(effects.yi[0])
    assert effects.included == (False,)
    assert effects.reason == ("overlap",)
    assert corrections(effects) == 0


def test_double_zero_studies_are_listed_not_lost():
    """F15: the 1/2 turns two empty arms into a finding; they stay, or are left out by name."""
    kept = compute_effects("OR", rows(**ZERO), level=0.95)
    assert kept.included == (True, True, True)
    assert corrections(kept) == 2
    dropped = compute_effects("OR", rows(**ZERO), level=0.95, drop00=True)
    assert dropped.included == (True, True, False)
    assert dropped.reason[2] == "no events in both groups (drop00)"
    assert math.isnan(dropped.yi[2])
    uncorrected = compute_effects("OR", rows(**ZERO), level=0.95, to="none")
    assert uncorrected.included == (False, True, False)
    assert uncorrected.reason[0] == "not estimable: zero cell"


def test_only_events_in_both_groups_are_a_double_zero_too():
    effects = compute_effects(
        "RR", rows(ai=[20], n1i=[20], ci=[18], n2i=[18]), level=0.95, drop00=True
    )
    assert effects.reason == ("only events in both groups (drop00)",)


def test_correction_never_touches_a_study_without_zero_cell():
    """F17: statsmodels adds the constant to the events of all studies."""
    studies = rows(ai=[10, 0], n1i=[50, 40], ci=[12, 4], n2i=[50, 42])
    effects = compute_effects("RR", studies, level=0.95)
    assert math.isclose(effects.yi[0], math.log(10 / 12), rel_tol=1e-15)
    assert effects.notes == ("", "1/2 added to each cell")


def test_a_variance_of_zero_is_not_pooled():
    effects = compute_effects(
        "RD", rows(ai=[0], n1i=[9], ci=[0], n2i=[8]), level=0.95, to="none"
    )
    assert (effects.yi[0], effects.vi[0], effects.included[0]) == (0, 0, False)
    assert effects.reason == ("its sampling variance is 0 (zero cell)",)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"m1i": 1e200, "sd1i": 1e200}, "not estimable: effect or variance undefined"),
        ({"sd1i": 0, "sd2i": 0}, "its sampling variance is 0"),
    ],
)
def test_means_beyond_arithmetic_are_not_pooled(numbers, reason):
    columns = {name: [value] for name, value in (MEANS | numbers).items()}
    assert compute_effects("MD", rows(**columns), level=0.95).reason == (reason,)


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ({"sd1i": 0, "sd2i": 0}, "the pooled standard deviation is 0"),
        ({"n1i": 1, "n2i": 2}, "fewer than 4 units in both groups leave no degrees of freedom"),
    ],
)
def test_standardised_difference_without_a_standard_is_not_pooled(numbers, why):
    columns = {name: [value] for name, value in (MEANS | numbers).items()}
    effects = compute_effects("SMD", rows(**columns), level=0.95)
    assert effects.reason == (f"not estimable: {why}",)


def test_missing_numbers_leave_a_row_without_effect():
    effects = compute_effects("OR", rows(ai=[3], n1i=[10], ci=[math.nan], n2i=[9]), level=0.95)
    assert math.isnan(effects.yi[0])
    assert effects.reason == ("ci not given: OR needs (ai, bi, ci, di) or (ai, n1i, ci, n2i)",)


@pytest.mark.parametrize("measure", MEASURES)
def test_possible_numbers_have_no_complaints(measure):
    assert check_numbers(measure, study_of(measure)) == []


@pytest.mark.parametrize(
    ("measure", "change", "message"),
    [
        ("PLO", {"xi": 21}, "xi is 21 events of 20"),
        ("PLO", {"xi": -1}, "xi is -1; expected a whole number that is not negative"),
        ("PLO", {"xi": 1.5}, "xi is 1.5; expected a whole number"),
        ("PLO", {"ni": 0, "xi": 0}, "ni is 0; expected at least 1"),
        ("PLO", {"xi": math.inf}, "xi is inf; expected a finite number"),
        ("OR", {"ci": 22}, "ci is 22 events of 21"),
        ("OR", {"bi": 12, "di": 18}, "n1i is 20; expected ai \\+ bi"),
        (
            "OR",
            {"n1i": math.nan, "ai": 0, "bi": 0, "di": 1},
            "expected a group that is not empty",
        ),
        ("MD", {"sd1i": -1}, "sd1i is -1; expected a standard deviation"),
        ("SMD", {"n2i": 2.5}, "n2i is 2.5; expected a whole number"),
        ("GEN", {"vi": -0.01}, "vi is -0.01; expected above 0"),
        ("GEN", {"yi": math.inf}, "yi is inf; expected a finite number"),
        ("HR", {"estimate": 2, "ci_low": 3, "ci_high": 1}, "expected the lower bound first"),
        ("HR", {"estimate": 5, "ci_low": 1, "ci_high": 3}, "estimate is 5 outside 1 to 3"),
        ("HR", {"estimate": 0, "ci_low": 1, "ci_high": 3}, "estimate is 0"),
        ("HR", {"ci_level": 95}, "ci_level is 95; expected a fraction between 0 and 1"),
    ],
)
def test_impossible_numbers_are_refused(measure, change, message):
    numbers = study_of(measure) | change
    with pytest.raises(ValueError, match=message):
        compute_effects(measure, [RawRow("a", "a", numbers)], level=0.95)


@pytest.mark.parametrize("options", [{"to": "some"}, {"add": -1}, {"add": math.nan}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        compute_effects("OR", rows(**ZERO), level=0.95, **options)
    with pytest.raises(ValueError, match="level"):
        compute_effects("OR", rows(**ZERO), level=95)


@pytest.mark.parametrize("measure", MEASURES)
def test_arrays_cannot_be_changed(measure):
    effects = compute_effects(measure, [RawRow("a", "a", study_of(measure))], level=0.95)
    for values in (effects.yi, effects.vi, effects.sei, effects.ni, *effects.raw.values()):
        assert not values.flags.writeable


def test_both_ways_to_give_a_table_are_one():
    cells = compute_effects("OR", rows(ai=[7], bi=[13], ci=[3], di=[18]), level=0.95)
    sizes = compute_effects("OR", rows(ai=[7], n1i=[20], ci=[3], n2i=[21]), level=0.95)
    assert (cells.yi, cells.vi, cells.ni) == (sizes.yi, sizes.vi, sizes.ni)
    assert list(cells.raw) == ["ai", "bi", "ci", "di"]
    assert list(sizes.raw) == ["ai", "n1i", "ci", "n2i"]


counts = st.integers(1, 10**6)


@given(a=counts, b=counts, c=counts, d=counts)
@settings(max_examples=50)
def test_odds_ratio_changes_sign_with_the_groups(a, b, c, d):
    one_way, other_way = (
        one("OR", {"ai": ai, "bi": bi, "ci": ci, "di": di})
        for ai, bi, ci, di in ((a, b, c, d), (c, d, a, b))
    )
    assert math.isclose(one_way[0], -other_way[0], rel_tol=1e-14)
    assert one_way[1] == other_way[1] == float(sum(Fraction(1, n) for n in (a, b, c, d)))


@given(x=counts, more=counts)
@settings(max_examples=50)
def test_logit_changes_sign_with_events_and_non_events(x, more):
    yi, vi = one("PLO", {"xi": x, "ni": x + more})
    mirrored = one("PLO", {"xi": more, "ni": x + more})
    assert math.isclose(yi, -mirrored[0], rel_tol=1e-14)
    assert vi == mirrored[1]


def test_if0all_does_not_look_at_what_drop00_leaves_out():
    effects = compute_effects(
        "OR",
        rows(ai=[0, 5], n1i=[20, 20], ci=[0, 7], n2i=[20, 20]),
        level=0.95,
        to="if0all",
        drop00=True,
    )
    assert effects.included == (False, True)
    assert effects.notes == ("", "")


def test_arcsine_proportions_are_not_corrected_by_default():
    effects = compute_effects("PAS", rows(xi=[0, 5], ni=[10, 10]), level=0.95)
    assert effects.yi[0] == 0
    assert effects.notes[0] == ""


def test_a_study_has_its_interval_at_the_level_of_the_analysis():
    effects = compute_effects("GEN", rows(yi=[0.5], sei=[0.2]), level=0.8)
    half = 1.2815515655446004 * 0.2  # the 90th percentile of the normal
    assert effects.ci_low[0] == pytest.approx(0.5 - half, rel=1e-12)
    assert effects.ci_high[0] == pytest.approx(0.5 + half, rel=1e-12)
