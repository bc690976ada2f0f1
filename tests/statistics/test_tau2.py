"""Estimators of tau2: exact roots, global maxima, published tables, invariances."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references import F1, F2, F7, F8, rows, table

from evisynth import linear, menus
from evisynth.measures import compute_effects
from evisynth.pooling import pool
from evisynth.specification import ModelSpec
from evisynth.tau2 import (
    DEFAULT_TAU2,
    PLAIN,
    WEIGHTED,
    estimate,
    estimates,
    log_likelihood,
)

mpmath.mp.dps = 60

# Example 1 and 2 of Viechtbauer (2005), J Educ Behav Stat 30:261-293, pages 271 and 272.
EXAMPLE_1 = (
    np.array([-0.581, 0.530, 0.771, 1.031, 0.553, 0.295, 0.078, 0.573, -0.176, -0.232]),
    np.array([0.023, 0.052, 0.060, 0.115, 0.095, 0.203, 0.200, 0.211, 0.051, 0.040]),
)
EXAMPLE_2 = (
    np.array(
        "0.100 -0.162 -0.090 -0.049 -0.046 -0.010 -0.431 -0.261 0.134 "
        "0.019 0.175 0.056 0.045 0.103 0.121 -0.482 0.290 0.342".split(),
        dtype=float,
    ),
    np.array(
        "0.016 0.015 0.050 0.050 0.032 0.052 0.036 0.024 0.034 "
        "0.033 0.031 0.034 0.039 0.167 0.134 0.096 0.016 0.035".split(),
        dtype=float,
    ),
)
RATIO_1E8 = (np.array([0.2, 0.5, -0.1, 0.9, 0.3]), np.array([1e-6, 100, 1e-4, 50, 1]))
RATIO_1E12 = (np.array([0.2, 0.5, -0.1, 0.9, 0.3]), np.array([1e-10, 100, 1e-4, 50, 1]))
EQUAL = (np.array([0.1, 0.4, 0.7, -0.2, 0.5]), np.full(5, 0.06))
SETS = {
    "F1": F1,
    "F2": F2,
    "F7": F7,
    "F8": F8,
    "example 1": EXAMPLE_1,
    "example 2": EXAMPLE_2,
    "ratio 1e8": RATIO_1E8,
    "ratio 1e12": RATIO_1E12,
    "equal variances": EQUAL,
    "identical effects": (np.full(4, 0.4), np.array([0.05, 0.02, 0.1, 0.3])),
    "far from 0": (EXAMPLE_1[0] + 1e6, EXAMPLE_1[1]),
}


def exact(method, yi, vi, start):
    """Estimate in 60 digits: for the likelihoods the stationary point nearest to `start`."""
    y = [mpmath.mpf(float(value)) for value in yi]
    v = [mpmath.mpf(float(value)) for value in vi]
    k = len(y)

    def sums(t):
        w = [1 / (value + t) for value in v]
        total = mpmath.fsum(w)
        mean = mpmath.fsum(a * b for a, b in zip(w, y, strict=True)) / total
        return w, total, [value - mean for value in y]

    w, total, residuals = sums(mpmath.mpf(0))
    trace = total - mpmath.fsum(a * a for a in w) / total
    q = mpmath.fsum(a * r * r for a, r in zip(w, residuals, strict=True))
    if method == "DL":
        return max(mpmath.mpf(0), (q - (k - 1)) / trace)
    if method == "HE":
        mean = mpmath.fsum(y) / k
        spread = mpmath.fsum((value - mean) ** 2 for value in y) / (k - 1)
        return max(mpmath.mpf(0), spread - mpmath.fsum(v) / k)

    def equation(t):
        w, total, residuals = sums(t)
        if method == "PM":
            return mpmath.fsum(a * r * r for a, r in zip(w, residuals, strict=True)) - (k - 1)
        score = mpmath.fsum((a * r) ** 2 for a, r in zip(w, residuals, strict=True)) - total
        return score + mpmath.fsum(a * a for a in w) / total if method == "REML" else score

    if start == 0:
        assert equation(mpmath.mpf(0)) <= 0
        return mpmath.mpf(0)
    return mpmath.findroot(equation, (mpmath.mpf(start), mpmath.mpf(start) * (1 + 1e-9)))


def test_registry_has_the_keys_of_the_menu():
    assert list(PLAIN) == list(menus.TAU2)
    assert [*WEIGHTED, "fixed"] == list(menus.TAU2_GIVEN)
    assert set(DEFAULT_TAU2) <= set(PLAIN)


def test_the_default_estimators_are_shown_and_the_chosen_one_first():
    assert list(estimates(*F1, first="REML")) == ["REML", "DL", "HE", "PM", "ML"]
    assert list(estimates(*F1, first="SJ")) == ["SJ", "DL", "HE", "PM", "ML", "REML"]


@pytest.mark.parametrize("method", DEFAULT_TAU2)
@pytest.mark.parametrize("name", SETS)
def test_estimates_are_roots_to_machine_precision(method, name):
    yi, vi = SETS[name]
    value = estimate(method, yi, vi).value
    reference = exact(method, yi, vi, value)
    # In units of tau2 + typical variance, the condition of the equations.
    assert abs(value - reference) <= 1e-12 * (reference + float(np.median(vi)))
    if name != "far from 0":
        assert math.isclose(value, reference, rel_tol=1e-11)


# Page 271 and 272, two to four digits; DL, HE, ML, REML.
@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (
            EXAMPLE_1,
            {
                "HS": 0.228,
                "HE": 0.148,
                "DL": 0.277,
                "ML": 0.197,
                "REML": 0.223,
                "EB": 0.192,
                "SJ": 0.199,
            },
        ),
        (
            EXAMPLE_2,
            {
                "HS": 0.010,
                "HE": 0.000,
                "DL": 0.013,
                "ML": 0.013,
                "REML": 0.016,
                "EB": 0.010,
                "SJ": 0.025,
            },
        ),
    ],
)
def test_viechtbauer_2005(data, printed):
    assert {m: round(estimate(m, *data).value, 3) for m in printed} == printed


def test_dersimonian_kacker_2007():
    """CLASP, tables 3 and 4 (doi:10.1016/j.cct.2006.04.004), page 111-112.

    The table has tau = 0.0023 for ML, where an iteration stopped on its way to the boundary:
    the likelihood falls from 0 on.
    """
    effects = compute_effects(
        "OR",
        rows(
            ai=[5, 5, 12, 69, 9, 313],
            n1i=[156, 303, 565, 1570, 103, 4659],
            ci=[8, 17, 9, 94, 11, 352],
            n2i=[74, 303, 477, 1565, 105, 4650],
        ),
        level=0.95,
    )
    fit = pool(effects, ModelSpec())
    tau = {
        method: round(math.sqrt(estimate(method, effects.yi, effects.vi).value), 4)
        for method in ("EB", "HS", "HSk", "SJ", "PMM")
    }
    # HSk and PMM are not in the paper: metafor 3.8-1
    assert tau == {"EB": 0.3681, "HS": 0.1330, "HSk": 0.1644, "SJ": 0.4572, "PMM": 0.4341}
    for first, second in (("HE", 0.3831), ("DL", 0.3254)):
        step = estimate(first, effects.yi, effects.vi).value
        found = estimate("GENQ", effects.yi, effects.vi, weights=1 / (effects.vi + step))
        assert round(math.sqrt(found.value), 4) == second
    printed = {
        "PM": (0.3681, -0.3811, 0.2060),
        "HE": (0.4410, -0.4035, 0.2327),
        "DL": (0.2323, -0.3240, 0.1540),
        "ML": (0.0, -0.1973, 0.0694),
        "REML": (0.1843, -0.2980, 0.1343),
    }
    ours = {
        row.method: tuple(round(x, 4) for x in (math.sqrt(row.tau2), row.estimate, row.se))
        for row in fit.estimates
        if row.method in printed and row.test == "z"
    }
    assert ours == printed
    at_zero, at_printed = (
        log_likelihood(effects.yi, effects.vi, tau**2, restricted=False) for tau in (0, 0.0023)
    )
    assert at_zero > at_printed


def test_viechtbauer_2007():
    """Table II, page 44 (doi:10.1002/sim.2514): pre-eclampsia in the trials of diuretics."""
    columns = table(
        "tests/data/collins1985b.csv",
        ai="pre_xti",
        n1i="pre_nti",
        ci="pre_xci",
        n2i="pre_nci",
    )
    fit = pool(compute_effects("OR", rows(**columns), level=0.95), ModelSpec(method="DL"))
    ours = {spread.method: round(spread.tau2, 3) for spread in fit.heterogeneity}
    effects = compute_effects("OR", rows(**columns), level=0.95)
    assert round(estimate("SJ", effects.yi, effects.vi).value, 3) == 0.456
    assert {m: ours[m] for m in ("DL", "ML", "REML")} == {
        "DL": 0.230,
        "ML": 0.239,
        "REML": 0.301,
    }
    first = fit.heterogeneity[0]
    assert (round(first.tau2_low, 3), round(first.tau2_high, 3)) == (0.072, 2.203)


def test_f1_converges_where_fisher_scoring_does_not():
    """Maximum of the restricted likelihood from 60 digits; all moment estimators are 0."""
    values = {method: estimate(method, *F1).value for method in PLAIN}
    assert math.isclose(values["REML"], 0.08197311442341327, rel_tol=1e-13)
    assert math.isclose(values["ML"], 0.0374777, rel_tol=1e-5)
    assert values["DL"] == values["HE"] == values["PM"] == values["EB"] == 0
    assert round(values["SJ"], 4) == 0.1007


def test_f2_takes_the_higher_of_two_maxima_and_says_so():
    """metafor silently returns tau2 = 0, at a log-likelihood lower by 3.4."""
    result = estimate("REML", *F2)
    assert round(result.value, 6) == 0.047569
    assert result.maxima == (0.0, result.value)
    assert any("2 local maxima" in note for note in result.notes)
    heights = [log_likelihood(*F2, tau2, restricted=True) for tau2 in result.maxima]
    assert [round(height, 3) for height in heights] == [-4.462, -1.044]


def test_f5_paule_mandel_is_the_root_not_a_tolerance():
    """BCG: metafor's default stops at 0.3180937."""
    columns = table("reviews/bcg/data/bcg.csv", ai="tpos", bi="tneg", ci="cpos", di="cneg")
    effects = compute_effects("RR", rows(**columns), level=0.95)
    assert math.isclose(
        estimate("PM", effects.yi, effects.vi).value, 0.318068452205, rel_tol=1e-11
    )


@pytest.mark.parametrize("method", ["PM", "ML", "REML"])
def test_boundary_is_said(method):
    result = estimate(method, *F7)
    assert result.value == 0
    assert any("tau2 = 0" in note for note in result.notes)


@pytest.mark.parametrize("method", ["DL", "HE"])
def test_truncation_is_said_with_the_value(method):
    result = estimate(method, *F7)
    assert result.value == 0
    assert "truncated at 0 (untruncated: -0.0" in result.notes[0]


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("exponent", [-500, -100, 100, 500])
@pytest.mark.parametrize("name", ["F1", "F2", "ratio 1e12"])
def test_powers_of_two_change_no_digit(method, exponent, name):
    yi, vi = SETS[name]
    if name == "ratio 1e12" and exponent == -500:
        vi = np.maximum(vi, 1e-4)  # else the smallest variance would leave double precision
    value = estimate(method, yi, vi).value
    scaled = estimate(method, np.ldexp(yi, exponent), np.ldexp(vi, 2 * exponent)).value
    assert scaled == math.ldexp(value, 2 * exponent)


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("name", SETS)
def test_order_changes_no_digit(method, name):
    yi, vi = SETS[name]
    order = np.random.default_rng(7).permutation(yi.size)
    assert estimate(method, yi[order], vi[order]) == estimate(method, yi, vi)


effect = st.floats(-5, 5).map(lambda x: round(x, 3))
log_variance = st.floats(-9, 9)
studies = st.lists(st.tuples(effect, log_variance), min_size=2, max_size=8).map(
    lambda pairs: (
        np.array([yi for yi, _ in pairs]),
        np.array([math.exp(x) for _, x in pairs]),
    )
)


@pytest.mark.parametrize("method", PLAIN)
@given(data=studies, shift=st.integers(-1000, 1000), factor=st.floats(1e-3, 1e3))
@settings(max_examples=40)
def test_tau2_follows_shift_and_scale(method, data, shift, factor):
    yi, vi = data
    value = estimate(method, yi, vi).value
    assert value >= 0
    moved = estimate(method, (yi + shift) * factor, vi * factor**2).value / factor**2
    # yi + shift is rounded: that is worth so much of the variance of the effects.
    slack = 1e-9 * (value + float(np.median(vi)) + float(np.ptp(yi)) ** 2)
    if method in ("ML", "REML"):
        # where two maxima tie, rounding may choose; the heights must agree
        heights = [
            log_likelihood(yi, vi, t, restricted=method == "REML") for t in (value, moved)
        ]
        assert math.isclose(*heights, rel_tol=1e-9, abs_tol=1e-9)
    else:
        assert abs(moved - value) <= slack


@pytest.mark.parametrize("method", ["ML", "REML"])
@given(data=studies)
@settings(max_examples=60)
def test_no_tau2_has_a_higher_likelihood(method, data):
    yi, vi = data
    restricted = method == "REML"
    best = log_likelihood(yi, vi, estimate(method, yi, vi).value, restricted=restricted)
    highest = 4 * max(float(np.ptp(yi)) ** 2, float(vi.max()))
    grid = [0.0, *np.geomspace(float(vi.min()) * 1e-4, highest, 400)]
    heights = [log_likelihood(yi, vi, tau2, restricted=restricted) for tau2 in grid]
    assert max(heights) <= best + 1e-10 * (1 + abs(best))


@given(data=studies)
@settings(max_examples=60)
def test_paule_mandel_solves_its_equation(data):
    yi, vi = data
    tau2 = estimate("PM", yi, vi).value
    wi = 1 / (vi + tau2)
    q = float((wi * (yi - (wi * yi).sum() / wi.sum()) ** 2).sum())
    if tau2 == 0:
        assert q <= (yi.size - 1) * (1 + 1e-12)
    else:
        assert math.isclose(q, yi.size - 1, rel_tol=1e-9)


@pytest.mark.parametrize("method", PLAIN)
def test_two_equal_variances_have_a_closed_form(method):
    """Half the squared difference minus the variance; ML, HS, SJ and PMM differ."""
    spread, variance = 2.0, 0.3
    value = estimate(method, np.array([0.0, 2.0]), np.full(2, variance)).value
    median = 0.45493642311957283
    closed = {
        "ML": spread / 2 - variance,
        "HS": spread / 2 - variance,
        # Q at tau2 = 1, the variance with denominator k
        "SJ": spread / (1 + variance),
        "PMM": spread / median - variance,
    }
    assert math.isclose(value, closed.get(method, spread - variance), rel_tol=1e-13)


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize(
    ("yi", "vi", "message"),
    [
        ([0.1], [0.2], "at least two"),
        ([], [], "k > 0"),
        ([0.1, 0.2], [0.1], "k > 0"),
        ([0.1, math.nan], [0.1, 0.1], "yi must be finite"),
        ([0.1, 0.2], [0.1, 0.0], "vi must be positive"),
        ([0.1, 0.2], [0.1, -0.1], "vi must be positive"),
        ([0.1, 0.2], [0.1, math.nan], "vi must be positive"),
        ([0.1, 0.2], [0.1, math.inf], "vi must be positive"),
    ],
)
def test_impossible_data_are_refused(method, yi, vi, message):
    with pytest.raises(ValueError, match=message):
        estimate(method, np.array(yi), np.array(vi))


@pytest.mark.parametrize("method", PLAIN)
def test_data_that_span_more_than_double_precision_are_refused(method):
    with pytest.raises(OverflowError, match="mistyped"):
        estimate(method, np.array([0.0, 1e80]), np.array([1.0, 1.0]))


def test_log_likelihood_refuses_a_negative_tau2():
    with pytest.raises(ValueError, match="not negative"):
        log_likelihood(*F1, -0.1, restricted=True)


@pytest.mark.parametrize("restricted", [True, False])
def test_log_likelihood_does_not_depend_on_order_and_follows_scale(restricted):
    yi, vi = F1
    height = log_likelihood(yi, vi, 0.05, restricted=restricted)
    df = yi.size - restricted
    scaled = log_likelihood(yi * 8, vi * 64, 0.05 * 64, restricted=restricted)
    assert math.isclose(scaled, height - df * math.log(8), rel_tol=1e-14)
    assert log_likelihood(yi[::-1], vi[::-1], 0.05, restricted=restricted) == height


def test_many_studies_of_one_precision_agree():
    """The scan needs more than one block here, and the estimators coincide."""
    yi = np.random.default_rng(3).normal(0, 1.5, 3000)
    vi = np.full(3000, 0.01)
    values = {
        method: estimate(method, yi, vi).value for method in ("PM", "HE", "REML", "DL", "EB")
    }
    np.testing.assert_allclose(list(values.values()), values["HE"], rtol=1e-12)


def test_the_highest_maximum_is_taken_and_not_the_largest_tau2():
    yi = [-0.014, -0.103, 5.596, 1.952, -0.001]
    vi = [0.046389, 0.206501, 3.195893, 5.584745, 0.365826]
    found = estimate("REML", np.array(yi), np.array(vi))
    assert found.value == 0
    assert len(found.maxima) == 2


def test_a_narrow_maximum_is_found():
    yi = [0.002, 0.073, 0.002, -0.374, 0.001]
    vi = [0.010005, 0.001043, 0.000221, 4.779369, 0.000241]
    # root of the score with mpmath, 50 digits
    assert estimate("REML", np.array(yi), np.array(vi)).value == pytest.approx(
        0.000293228699, rel=1e-8
    )


def linde_2007():
    columns = table(
        "tests/data/linde2005.csv",
        ai="ai",
        n1i="n1i",
        ci="ci",
        n2i="n2i",
        dosage="dosage",
        duration="duration",
        baseline="baseline",
    )
    columns = {
        name: values[[*range(6, 10), *range(12, 25)]] for name, values in columns.items()
    }
    dose = columns.pop("dosage") * 7 / 1000 * columns.pop("duration") - 34
    baseline = columns.pop("baseline") - 20
    effects = compute_effects("RR", rows(**columns), level=0.95)
    x = np.column_stack([np.ones(dose.size), dose, baseline, dose * baseline])
    return effects.yi, effects.vi, x, columns["n1i"] + columns["n2i"]


# Table II of Viechtbauer (2007), Z Psychol 215:104-121 (doi:10.1027/0044-3409.215.2.104), has
# DL; the others are metafor's test of its own. There DLIT is 0.0299, where an iteration that
# circles ended: the only fixed point is PM's.
@pytest.mark.parametrize(
    ("method", "tau2", "se"),
    [
        ("HS", 0.0253, 0.0197),
        ("HE", 0.0388, 0.0764),
        ("DL", 0.0475, 0.0376),
        ("GENQ", 0.0600, 0.0528),
        ("SJ", 0.0912, 0.0436),
        ("DLIT", 0.0633, 0.0460),
        ("PM", 0.0633, 0.0460),
        ("ML", 0.0240, 0.0222),
        ("REML", 0.0558, 0.0409),
        ("EB", 0.0633, 0.0460),
    ],
)
def test_viechtbauer_2007b_meta_regression(method, tau2, se):
    yi, vi, x, ni = linde_2007()
    found = estimate(method, yi, vi, x, weights=ni if method == "GENQ" else None)
    assert (round(found.value, 4), round(found.se, 4)) == (tau2, se)


def designs(k, rng):
    year = rng.integers(1990, 2020, k).astype(float)
    covariate = rng.normal(size=k)
    group = (np.arange(k) % 3)[:, np.newaxis] == np.arange(3)
    ones = np.ones(k)
    return {
        "year": np.column_stack([ones, year]),
        "two": np.column_stack([ones, year, covariate]),
        "groups": group.astype(float),
        "no intercept": covariate[:, np.newaxis],
    }


def exact_regression(yi, vi, x, tau2):
    """P, V and y of the model in 60 digits."""
    design = mpmath.matrix(x.tolist())
    weights = mpmath.diag([1 / (mpmath.mpf(v) + tau2) for v in vi.tolist()])
    inverse = (design.T * weights * design) ** -1
    p = weights - weights * design * inverse * design.T * weights
    return p, mpmath.matrix(yi.tolist())


@pytest.mark.parametrize("name", ["year", "two", "groups", "no intercept"])
@pytest.mark.parametrize("decades", [0, 3, 8])
@pytest.mark.parametrize("method", ["DL", "HE", "PM", "PMM", "ML", "REML", "HS", "HSk", "SJ"])
def test_moderators_in_sixty_digits(name, decades, method):
    """Each estimate satisfies its equation, in matrix form, to the last digits."""
    rng = np.random.default_rng(5)
    k = 8
    vi = 10.0 ** rng.uniform(-decades / 2, decades / 2, k)
    yi = 3.0 + rng.normal(size=k) * np.sqrt(vi + 1)
    x = designs(k, rng)[name]
    p = x.shape[1]
    found = estimate(method, yi, vi, x)
    start = mpmath.mpf(0)
    if method == "SJ":
        start = mpmath.mpf(float(np.var(yi)))
    exact, y = exact_regression(yi, vi, x, start)
    v = mpmath.diag(vi.tolist())
    q = (y.T * exact * y)[0]
    whole = mpmath.fsum(1 / mpmath.mpf(value) for value in vi.tolist())

    def trace(matrix):
        return mpmath.fsum(matrix[i, i] for i in range(k))

    if method == "HE":
        design = mpmath.matrix(x.tolist())
        free = mpmath.eye(k) - design * (design.T * design) ** -1 * design.T
        raw = ((y.T * free * y)[0] - trace(free * v)) / (k - p)
    elif method in ("DL", "HS", "HSk", "SJ"):
        raw = {
            "DL": (q - (k - p)) / trace(exact),
            "HS": (q - k) / whole,
            "HSk": (q * k / mpmath.mpf(k - p) - k) / whole,
            "SJ": start * q / (k - p),
        }[method]
    else:

        def equation(tau2):
            matrix, _ = exact_regression(yi, vi, x, tau2)
            if method in ("PM", "PMM"):
                target = mpmath.mpf(k - p)
                if method == "PMM":
                    target = mpmath.findroot(
                        lambda t: mpmath.gammainc(target / 2, 0, t / 2, regularized=True) - 0.5,
                        k - p - 0.6,
                    )
                return (y.T * matrix * y)[0] - target
            py = matrix * y
            penalty = trace(matrix)
            if method == "ML":
                penalty = mpmath.fsum(1 / (mpmath.mpf(a) + tau2) for a in vi.tolist())
            return (py.T * py)[0] - penalty

        if found.value == 0:
            assert equation(mpmath.mpf(0)) <= 0
            return
        raw = mpmath.findroot(equation, (found.value, found.value * (1 + 1e-9)))
    scale = float(k / whole)
    assert abs(found.value - max(0, raw)) <= 1e-12 * (abs(raw) + scale)


@pytest.mark.parametrize("method", ["DL", "HE", "HS", "SJ", "GENQ"])
def test_standard_errors_are_those_of_quadratic_forms(method):
    """2 tr(P S P S) over the squared divisor, by matrices in 60 digits."""
    yi, vi, x, ni = linde_2007()
    found = estimate(method, yi, vi, x, weights=ni if method == "GENQ" else None)
    k, p = x.shape
    start = float(np.var(yi))
    weights = {"HE": np.ones(k), "SJ": 1 / (vi + start), "GENQ": ni}.get(method, 1 / vi)
    matrix, _ = exact_regression(yi, 1 / weights, x, mpmath.mpf(0))
    spread = matrix * mpmath.diag((vi + found.value).tolist())
    square = spread * spread
    variance = 2 * mpmath.fsum(square[i, i] for i in range(k))
    divisor = mpmath.fsum(matrix[i, i] for i in range(k))
    divisor = {"HS": (1 / vi).sum(), "SJ": (k - p) / start}.get(method, divisor)
    assert math.isclose(found.se, mpmath.sqrt(variance) / divisor, rel_tol=1e-12)


@st.composite
def regressions(draw):
    """Hostile: variances over 12 decades, designs of any scale, with and without intercept."""
    k = draw(st.integers(3, 12))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    p = draw(st.integers(1, min(4, k - 1)))
    x = rng.normal(size=(k, p)) * 10.0 ** rng.uniform(-3, 3, p)
    if draw(st.booleans()):
        x[:, 0] = 1
    decades = draw(st.sampled_from([0, 2, 6, 12]))
    vi = 10.0 ** rng.uniform(-decades / 2, decades / 2, k)
    yi = rng.normal(size=k) * np.sqrt(vi + draw(st.sampled_from([0, 1e-3, 1, 100])))
    return yi + draw(st.sampled_from([0.0, 1e3])), vi, x


@pytest.mark.parametrize("method", ["ML", "REML"])
@given(data=regressions())
@settings(max_examples=40)
def test_no_tau2_has_a_higher_likelihood_with_moderators(method, data):
    yi, vi, x = data
    restricted = method == "REML"
    found = estimate(method, yi, vi, x)
    best = log_likelihood(yi, vi, found.value, restricted=restricted, x=x)
    highest = 4 * max(float((yi**2).sum()), float(vi.max()))
    grid = [0.0, *np.geomspace(float(vi.min()) * 1e-2, highest, 300)]
    sample = linear.problem(yi, vi, x)
    heights = [linear.log_likelihood(sample, tau2, restricted=restricted) for tau2 in grid]
    assert max(heights) <= best + 1e-9 * yi.size
    assert found.se > 0


@pytest.mark.parametrize("method", PLAIN)
@given(data=regressions(), seed=st.integers(0, 100))
@settings(max_examples=10)
def test_coding_and_order_do_not_matter(method, data, seed):
    """Another basis of the same columns, in another order of the studies; finite everywhere."""
    yi, vi, x = data
    rng = np.random.default_rng(seed)
    found = estimate(method, yi, vi, x)
    assert math.isfinite(found.value)
    assert found.value >= 0
    assert math.isfinite(found.se) or found.notes
    order = rng.permutation(yi.size)
    shuffled = estimate(method, yi[order], vi[order], x[order])
    assert shuffled == found
    coded = x * 2.0 ** rng.integers(-5, 5, x.shape[1])
    again = estimate(method, yi, vi, coded[:, ::-1])
    if method not in ("ML", "REML"):
        slack = 1e-7 * (found.value + float(np.median(vi)) + found.se)
        assert abs(again.value - found.value) <= slack


def test_an_intercept_column_is_an_intercept_only():
    for method in PLAIN:
        yi, vi = EXAMPLE_1
        plain, column = (
            estimate(method, yi, vi),
            estimate(method, yi, vi, np.full((10, 1), 3.0)),
        )
        assert math.isclose(plain.value, column.value, rel_tol=1e-13), method
        assert math.isclose(plain.se, column.se, rel_tol=1e-13), method


def test_a_model_without_intercept_is_not_centred():
    """metafor 3.8 to 5.1 subtracts the mean of yi first, and gets another Q."""
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    yi = np.array([1.1, 1.9, 3.2, 3.9])
    found = estimate("DL", yi, np.full(4, 0.001), x)
    slope = float((x[:, 0] @ yi) / (x[:, 0] @ x[:, 0]))
    q = float(((yi - slope * x[:, 0]) ** 2).sum()) / 0.001
    assert math.isclose(found.value, (q - 3) / (3 / 0.001), rel_tol=1e-12)


def test_maxima_of_a_regression_are_compared_and_reported():
    """F2 beside a covariate that only a fifth study has: the likelihood of F2 remains."""
    yi, vi = np.append(F2[0], 0.3), np.append(F2[1], 0.01)
    x = np.column_stack([np.ones(5), [0, 0, 0, 0, 1]])
    found, alone = estimate("REML", yi, vi, x), estimate("REML", *F2)
    np.testing.assert_allclose(found.maxima, alone.maxima, rtol=1e-10)
    assert math.isclose(found.value, alone.value, rel_tol=1e-10)
    assert any("2 local maxima" in note for note in found.notes)


def test_a_given_tau2_is_taken_and_said():
    found = estimate("REML", *F1, tau2=0.25)
    assert (found.value, found.maxima) == (0.25, ())
    assert math.isnan(found.se)
    assert found.notes == ("tau2 = 0.25 is given, not estimated",)
    with pytest.raises(ValueError, match="not negative"):
        estimate("REML", *F1, tau2=-0.25)


@pytest.mark.parametrize("weights", [np.ones(10), np.full(10, 1e-200), 1 / EXAMPLE_1[1]])
def test_generalised_moments_contain_the_others(weights):
    found = estimate("GENQ", *EXAMPLE_1, weights=weights)
    name = "DL" if weights[0] > 1 else "HE"
    expected = estimate(name, *EXAMPLE_1)
    assert math.isclose(found.value, expected.value, rel_tol=1e-12)
    assert math.isclose(found.se, expected.se, rel_tol=1e-12)


def test_median_unbiased_generalised_moments_put_q_at_its_median():
    """Equal variances and weights: Q over (vi + tau2) is chi-squared, so that it is PMM."""
    yi, vi = EQUAL
    found = estimate("GENQM", yi, vi, weights=np.ones(5))
    assert math.isclose(found.value, estimate("PMM", yi, vi).value, rel_tol=1e-11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "DL", "weights": np.ones(10)}, "takes no weights"),
        ({"method": "GENQ"}, "needs weights"),
        ({"method": "GENQ", "weights": np.zeros(10)}, "positive"),
        ({"method": "GENQ", "weights": np.ones(9)}, "positive"),
        ({"method": "XX"}, "one of DL, HE"),
        ({"method": "DL", "x": np.ones((9, 1))}, "shape"),
        ({"method": "DL", "x": np.ones((10, 2))}, "collinear: column 2"),
        ({"method": "DL", "x": np.full((10, 1), np.nan)}, "finite"),
        ({"method": "DL", "x": np.eye(10)}, "10 for 10"),
        ({"method": "DL", "x": np.ones((10, 11))}, "cannot tell"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    method = arguments.pop("method")
    with pytest.raises(ValueError, match=message):
        estimate(method, *EXAMPLE_1, **arguments)


def test_five_thousand_studies_with_moderators():
    rng = np.random.default_rng(11)
    k = 5000
    x = np.column_stack([np.ones(k), rng.normal(size=(k, 2))])
    vi = 10.0 ** rng.uniform(-4, 1, k)
    yi = x @ [1.0, 0.5, -0.2] + rng.normal(size=k) * np.sqrt(vi + 0.3)
    for method in ("REML", "PM", "DL"):
        found = estimate(method, yi, vi, x)
        assert abs(found.value - 0.3) < 5 * found.se
