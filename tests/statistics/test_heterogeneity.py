"""Q, the Q-profile interval, I2 and H2."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammainc, gammaincinv
from support.references import F1, F2, F7, F8, effects_of, find, rows, table

from evisynth.heterogeneity import (
    INTERVALS,
    cochran_q,
    generalised_interval,
    h2_of_q,
    heterogeneity,
    higgins_thompson_h2,
    higgins_thompson_i2,
    i2_of_q,
    tau2_intervals,
    typical_vi,
)
from evisynth.measures import compute_effects
from evisynth.tau2 import estimate, estimates, log_likelihood

mpmath.mp.dps = 50
OUTLIER = (
    np.array([0.1, 0.2, 0.15, 0.12, 0.18, 4]),
    np.array([0.01, 0.02, 0.015, 0.012, 0.02, 0.03]),
)
FAR = (np.array([-50, 120, 3, 900, -400, 33.0]), np.array([0.01, 0.02, 0.01, 0.05, 0.02, 0.03]))
SETS = {"F1": F1, "F2": F2, "F7": F7, "F8": F8, "outlier": OUTLIER, "far": FAR}


def q_profile(yi, vi, level):
    return tau2_intervals(yi, vi, level=level)[0]


def bcg():
    columns = table("reviews/bcg/data/bcg.csv", ai="tpos", bi="tneg", ci="cpos", di="cneg")
    effects = compute_effects("RR", rows(**columns), level=0.95)
    return effects.yi, effects.vi


def exact_q(yi, vi, tau2):
    wi = [1 / (mpmath.mpf(float(v)) + mpmath.mpf(tau2)) for v in vi]
    y = [mpmath.mpf(float(value)) for value in yi]
    mean = mpmath.fsum(w * v for w, v in zip(wi, y, strict=True)) / mpmath.fsum(wi)
    return mpmath.fsum(w * (v - mean) ** 2 for w, v in zip(wi, y, strict=True))


def upper_tail(q, df):
    return mpmath.gammainc(mpmath.mpf(df) / 2, q / 2, mpmath.inf, regularized=True)


@pytest.mark.parametrize("name", SETS)
def test_q_is_exact(name):
    assert math.isclose(cochran_q(*SETS[name]), exact_q(*SETS[name], 0), rel_tol=1e-12)


def test_q_keeps_its_digits_at_a_variance_ratio_of_1e14():
    """Matrix forms lose them from 1e9 on."""
    yi, vi = np.array([0.2, 0.5, -0.1, 0.9]), np.array([1e-12, 100, 1e-4, 50])
    assert math.isclose(cochran_q(yi, vi), exact_q(yi, vi, 0), rel_tol=1e-12)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("name", SETS)
def test_profile_ends_are_roots(name, level):
    """Each end is the tau2 at which Q is at a quantile: the tail there is exactly alpha / 2."""
    yi, vi = SETS[name]
    df, tail = yi.size - 1, (1 - level) / 2
    interval = q_profile(yi, vi, level)
    at_zero = upper_tail(exact_q(yi, vi, 0), df)
    if interval.empty:
        assert math.isnan(interval.low)
        assert 1 - at_zero < tail
        return
    if interval.low > 0:
        assert math.isclose(upper_tail(exact_q(yi, vi, interval.low), df), tail, rel_tol=1e-11)
    else:
        assert at_zero >= tail
    assert math.isclose(1 - upper_tail(exact_q(yi, vi, interval.high), df), tail, rel_tol=1e-11)


def test_two_studies_have_an_interval_beyond_any_preset_limit():
    """F8: metafor's default search ends at 100."""
    assert q_profile(*F8, 0.95).high > 100


def test_every_interval_of_bcg_is_that_of_metafor():
    """tests/reference/bcg.json, re/RR/REML; H2 and I2 are monotone in tau2."""
    effects = effects_of(find("bcg", "escalc/RR"))
    first = heterogeneity(
        effects.yi, effects.vi, {"REML": estimate("REML", effects.yi, effects.vi)}, 0.95
    )[0]
    expected = {
        "tau2_se": 0.166425752837,
        "tau2_low": 0.119718361141,
        "tau2_high": 1.11147908406,
        "i2_low": 81.9205745586,
        "i2_high": 97.6780749579,
        "h2": 12.8557582353,
        "h2_low": 5.53114922397,
        "h2_high": 43.067712431,
    }
    for name, value in expected.items():
        # metafor's REML stops with 8 digits
        assert getattr(first, name) == pytest.approx(value, rel=1e-7), name


def test_empty_profile_is_nan_and_said():
    """F7: metafor and PyMARE return 0, 0."""
    interval = q_profile(*F7, 0.95)
    assert interval.empty
    first = heterogeneity(*F7, estimates(*F7, first="REML"), 0.95)[0]
    for value in (first.tau2_low, first.tau2_high, first.i2_low, first.h2_high):
        assert math.isnan(value)
    assert any("empty" in note for note in first.notes)
    assert any("I2 is not to be interpreted" in note for note in first.notes)


def test_bcg_anchors():
    """Computed in high precision by the review of tools that this package started from."""
    yi, vi = bcg()
    first = heterogeneity(yi, vi, estimates(yi, vi, first="REML"), 0.95)[0]
    assert first.method == "REML"
    assert math.isclose(first.tau2_low, 0.119718361, rel_tol=5e-9)
    assert math.isclose(first.tau2_high, 1.111479084, rel_tol=5e-9)
    # 92.221385 there, from a tau2 that was a minimiser's: good to 1e-8
    assert math.isclose(first.i2, 92.221385, rel_tol=1e-8)
    assert math.isclose(first.i2_q, 92.117347, rel_tol=5e-9)
    assert first.notes == ()


def test_each_estimator_has_its_record_the_configured_one_first():
    spread = heterogeneity(*F1, estimates(*F1, first="PM"), 0.95)
    assert [record.method for record in spread] == ["PM", "DL", "HE", "ML", "REML"]
    assert len({(record.q, record.tau2_high, record.i2_q) for record in spread}) == 1


def test_identical_effects_have_no_heterogeneity():
    yi, vi = np.full(5, 0.25), np.array([0.01, 0.02, 0.03, 0.04, 0.05])
    first = heterogeneity(yi, vi, estimates(yi, vi, first="REML"), 0.95)[0]
    assert (first.q, first.q_p, first.tau2, first.i2, first.i2_q, first.h2) == (
        0,
        1,
        0,
        0,
        0,
        1,
    )
    assert math.isnan(first.tau2_high)


def test_typical_variance_of_equal_variances_is_that_variance():
    assert math.isclose(typical_vi(np.full(7, 0.3)), 0.3, rel_tol=1e-15)


@pytest.mark.parametrize("function", [typical_vi, lambda vi: q_profile(vi, vi, 0.95)])
def test_one_study_has_no_heterogeneity(function):
    with pytest.raises(ValueError, match="two studies"):
        function(np.array([0.1]))


@given(
    yi=st.lists(st.floats(-3, 3), min_size=3, max_size=7),
    seed=st.integers(0, 1000),
    level=st.floats(0.55, 0.99),
)
@settings(max_examples=40)
def test_a_higher_level_gives_a_wider_interval(yi, seed, level):
    vi = np.random.default_rng(seed).uniform(0.01, 2, len(yi))
    narrow, wide = (q_profile(np.array(yi), vi, x) for x in (level, (1 + level) / 2))
    if not narrow.empty:
        assert wide.low <= narrow.low <= narrow.high <= wide.high


def preeclampsia():
    columns = table(
        "tests/data/collins1985b.csv", ai="pre_xti", n1i="pre_nti", ci="pre_xci", n2i="pre_nci"
    )
    effects = compute_effects("OR", rows(**columns), level=0.95)
    return effects.yi, effects.vi


# Table II of Viechtbauer (2007), page 44, to three digits; four where metafor's test of this
# paper, which has more, agrees. That test, good to 1%, has 0.0266 for PL-ML (root: 0.02654)
# and 0.0481 and 2.3551 for BT (0.04817, 2.35516).
@pytest.mark.parametrize(
    ("kind", "low", "high", "digits"),
    [
        ("QP", 0.0723, 2.2027, 4),
        ("BT", 0.048, 2.355, 3),
        ("PL-ML", 0.027, 1.131, 3),
        ("PL-REML", 0.0427, 1.4747, 4),
        ("SJ", 0.2082, 1.6748, 4),
        ("WALD-ML", 0.0, 0.5782, 4),
        ("WALD-REML", 0.0, 0.7322, 4),
    ],
)
def test_viechtbauer_2007a(kind, low, high, digits):
    (interval,) = tau2_intervals(*preeclampsia(), kinds=[kind])
    assert (round(interval.low, digits), round(interval.high, digits)) == (low, high)


JACKSON_1 = (
    np.array(
        "0.0267 0.8242 0.3930 2.4405 2.1401 1.2528 2.4849 0.3087 "
        "1.4246 0.1823 1.1378 1.2321 2.0695 4.0237 1.4383 1.6021".split(),
        dtype=float,
    ),
    np.array(
        "0.1285 0.0315 0.0931 2.0967 1.0539 0.1602 1.0235 0.0218 "
        "0.5277 0.0556 0.3304 0.1721 0.4901 2.0200 0.3399 0.1830".split(),
        dtype=float,
    ),
    np.column_stack([np.ones(16), np.repeat([0.0, 1.0], [10, 6])]),
)
# Studies per year of publication.
REPEATS = [1, 1, 2, 1, 1, 3, 3, 4, 3]
JACKSON_2 = (
    np.array(
        "0.54 0.4 0.64 0.365 0.835 0.02 0.12 0.085 1.18 0.08 0.18 "
        "0.325 0.06 0.715 0.065 0.245 0.24 0.06 0.19".split(),
        dtype=float,
    ),
    np.array(
        "0.0176 0.019 0.0906 0.0861 0.0063 0.0126 0.0126 0.0041 0.0759 "
        "0.0126 0.0104 0.0242 0.0026 0.2629 0.0169 0.0156 0.0481 0.0084 0.0044".split(),
        dtype=float,
    ),
    np.column_stack(
        [
            np.ones(19),
            1980.0
            + np.array([6, 7, 8, 8, 18, 19, 20, 20, 20, 21, 21, 21, *[22] * 4, *[23] * 3]),
        ]
    ),
)


@pytest.mark.parametrize(
    ("data", "kind", "low", "high"),
    [
        (JACKSON_1, "BJ", 0.003, 0.691),
        (JACKSON_1, "J", 0.000, 1.125),
        (JACKSON_1, "QP", 0.002, 1.487),
        (JACKSON_2, "BJ", 0.017, 0.139),
        (JACKSON_2, "J", 0.018, 0.138),
        (JACKSON_2, "QP", 0.018, 0.156),
    ],
)
def test_jackson_2014_meta_regression(data, kind, low, high):
    """Both examples of Jackson et al. (2014), doi:10.1186/1471-2288-14-103.

    Three digits, as printed; their 1.1245 rounds up here, and their 0.1375.
    """
    (interval,) = tau2_intervals(*data, kinds=[kind])
    assert interval.low == pytest.approx(low, abs=5.1e-4)
    assert interval.high == pytest.approx(high, abs=5.1e-4)


def eigenvalues(yi, vi, x, weights, tau2):
    """Of a generalised Q, in 50 digits."""
    design = mpmath.matrix(x.tolist())
    a = mpmath.diag(weights.tolist())
    p = a - a * design * (design.T * a * design) ** -1 * design.T * a
    root = mpmath.diag([mpmath.sqrt(mpmath.mpf(v) + mpmath.mpf(tau2)) for v in vi.tolist()])
    values = mpmath.eigsy(root * p * root, eigvals_only=True)
    q = (mpmath.matrix(yi.tolist()).T * p * mpmath.matrix(yi.tolist()))[0]
    return sorted(values)[x.shape[1] :], q


def ruben(values, q):
    """Distribution of a weighted sum of chi-squared variables (Ruben 1962; Farebrother 1984).

    A mixture of chi-squared variables in units of the smallest weight: no term is negative.
    """
    beta = min(values)
    shares = np.array([1 - beta / value for value in values])
    terms = 6000
    g = np.array([float((shares**r).sum()) for r in range(1, terms)])
    c = np.zeros(terms)
    c[0] = math.prod(math.sqrt(beta / value) for value in values)
    for j in range(1, terms):
        c[j] = float(g[:j] @ c[j - 1 :: -1][:j]) / (2 * j)
    assert c.sum() > 1 - 1e-11
    return float((c * gammainc(len(values) / 2 + np.arange(terms), q / beta / 2)).sum())


@pytest.mark.parametrize("kind", ["BJ", "J", "J1"])
def test_ends_of_generalised_intervals_have_the_tails_of_ruben(kind):
    yi, vi, x = JACKSON_1
    weights = {"BJ": 1 / vi, "J": 1 / np.sqrt(vi), "J1": np.ones(vi.size)}[kind]
    (interval,) = tau2_intervals(yi, vi, x, 0.8, [kind])
    assert interval.low > 0 or kind == "J1"
    for end, lower in ((interval.low, 0.9), (interval.high, 0.1)):
        values, q = eigenvalues(yi, vi, x, weights, end)
        found = ruben([float(value) for value in values], float(q))
        assert found == pytest.approx(lower, abs=1e-10) or (end == 0 and found < lower)
    given_weights = generalised_interval(yi, vi, weights * 1e-5, x, 0.8)
    assert math.isclose(given_weights.low, interval.low, rel_tol=1e-9)
    assert math.isclose(given_weights.high, interval.high, rel_tol=1e-9)


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("data", [F1, F2, preeclampsia(), JACKSON_1, JACKSON_2])
def test_profile_likelihood_ends_are_at_the_drop(restricted, data):
    (interval,) = tau2_intervals(*data, kinds=["PL-REML" if restricted else "PL-ML"])
    yi, vi, x = data if len(data) == 3 else (*data, None)
    found = estimate("REML" if restricted else "ML", yi, vi, x)

    def height(tau2):
        return log_likelihood(yi, vi, tau2, restricted=restricted, x=x)

    drop = 3.841458820694124 / 2
    assert interval.low <= found.value <= interval.high
    assert math.isclose(height(found.value) - height(interval.high), drop, rel_tol=1e-9)
    if interval.low > 0:
        assert math.isclose(height(found.value) - height(interval.low), drop, rel_tol=1e-9)
    else:
        assert height(found.value) - height(0.0) <= drop


def test_a_profile_likelihood_set_with_a_gap_says_so():
    """F2 at a drop of 3.43: the lower maximum at 0 is inside, the valley (3.45) is not."""
    level = math.erf(math.sqrt(3.43))
    (interval,) = tau2_intervals(*F2, level=level, kinds=["PL-REML"])
    assert interval.low == 0
    assert len(interval.notes) == 1
    low, high = (
        float(word)
        for word in interval.notes[0].replace(" is", "").split(": ")[1].split()
        if word[0].isdigit()
    )
    found = estimate("REML", *F2).value
    assert 0 < low < high < found
    for tau2, inside in ((low * 0.99, 1), ((low + high) / 2, -1), (high * 1.01, 1)):
        drop = log_likelihood(*F2, found, restricted=True) - log_likelihood(
            *F2, tau2, restricted=True
        )
        assert inside * (3.43 - drop) > 0


@pytest.mark.parametrize("kind", ["QP", "BJ", "J", "J1", "BT"])
def test_empty_sets_are_nan_and_said_with_level_and_k(kind):
    (interval,) = tau2_intervals(*F7, level=0.9, kinds=[kind])
    assert interval.empty
    assert math.isnan(interval.low)
    assert "empty at 90% (k = 3)" in interval.notes[0]


@pytest.mark.parametrize("kind", ["PL-REML", "PL-ML", "WALD-REML", "WALD-ML"])
def test_sets_around_an_estimate_are_never_empty(kind):
    (interval,) = tau2_intervals(*F7, kinds=[kind])
    assert interval.low == 0 < interval.high


def test_identical_effects_have_no_sidik_jonkman_interval():
    (interval,) = tau2_intervals(np.full(4, 0.3), np.full(4, 0.1), kinds=["SJ"])
    assert math.isnan(interval.high)
    assert "all equal" in interval.notes[0]


@pytest.mark.parametrize("kind", INTERVALS)
def test_intervals_follow_order_shift_and_scale(kind):
    yi, vi = preeclampsia()
    (interval,) = tau2_intervals(yi, vi, kinds=[kind])
    (moved,) = tau2_intervals(1e3 * (7 - yi[::-1]), 1e6 * vi[::-1], kinds=[kind])
    assert math.isclose(moved.low, interval.low * 1e6, rel_tol=1e-9)
    assert math.isclose(moved.high, interval.high * 1e6, rel_tol=1e-9)


@pytest.mark.parametrize("kind", ["QP", "BJ", "J", "J1", "BT"])
def test_two_studies_have_a_closed_form(kind):
    """Q is the squared difference over v1 + v2 + 2 tau2, whatever the weights."""
    yi, vi = F8
    (interval,) = tau2_intervals(yi, vi, kinds=[kind])
    for end, tail in ((interval.low, 0.975), (interval.high, 0.025)):
        quantile = 2 * float(gammaincinv(0.5, tail))
        expected = (0.8**2 / quantile - float(vi.sum())) / 2
        assert math.isclose(end, expected, rel_tol=1e-9)


def test_higgins_thompson_2002():
    """Q = 8 on 10 df, Q = 30 on 10 df, Q on 1 df: the formulas by hand."""
    low, high = higgins_thompson_h2(30, 10, 0.95)
    se = (math.log(30) - math.log(10)) / (2 * (math.sqrt(60) - math.sqrt(19)))
    assert math.isclose(low, 3 * math.exp(-2 * 1.959963984540054 * se), rel_tol=1e-14)
    assert math.isclose(high, 3 * math.exp(2 * 1.959963984540054 * se), rel_tol=1e-14)
    assert (h2_of_q(8, 10), i2_of_q(8, 10), i2_of_q(0, 10)) == (1, 0, 0)
    low, high = higgins_thompson_h2(8, 10, 0.95)
    se = math.sqrt((1 - 1 / (3 * 9**2)) / (2 * 9))
    assert low == 1
    assert math.isclose(high, math.exp(2 * 1.959963984540054 * se), rel_tol=1e-14)
    assert higgins_thompson_i2(8, 10, 0.95) == (0, pytest.approx(100 * (1 - 1 / high)))
    assert all(math.isnan(end) for end in higgins_thompson_i2(1.5, 1, 0.95))


def test_residual_heterogeneity_of_a_regression():
    yi, vi, x = JACKSON_2
    (record,) = heterogeneity(yi, vi, {"REML": estimate("REML", yi, vi, x)}, 0.95, x)
    assert record.q_df == 17
    assert math.isclose(record.q, cochran_q(yi, vi, x), rel_tol=1e-15)
    assert round(record.tau2_high, 3) == 0.156
    typical = typical_vi(vi, x)
    assert math.isclose(record.i2, 100 * record.tau2 / (record.tau2 + typical), rel_tol=1e-14)


@given(seed=st.integers(0, 10**6), k=st.integers(2, 20), decades=st.sampled_from([0, 2, 6, 12]))
@settings(max_examples=8)
def test_every_interval_of_hostile_data_is_an_interval_or_says_why(seed, k, decades):
    rng = np.random.default_rng(seed)
    vi = 10.0 ** rng.uniform(-decades / 2, decades / 2, k)
    yi = rng.normal(size=k) * np.sqrt(vi + rng.choice([0, 1, 1e4]))
    for interval in tau2_intervals(yi, vi, kinds=list(INTERVALS)):
        assert 0 <= interval.low <= interval.high < math.inf or interval.notes
    for level in (0, 95):
        with pytest.raises(ValueError, match="fraction"):
            tau2_intervals(yi, vi, level=level)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_a_profile_likelihood_interval_of_a_low_level_holds_the_estimate(seed):
    """It may be narrower than the cells of the grid."""
    rng = np.random.default_rng(seed)
    vi = rng.uniform(0.01, 1, 30)
    yi = rng.normal(size=30) * np.sqrt(vi + 0.5)
    (interval,) = tau2_intervals(yi, vi, level=1e-3, kinds=["PL-REML"])
    found = estimate("REML", yi, vi).value
    assert interval.low <= found <= interval.high
    assert interval.high - interval.low < 0.01
