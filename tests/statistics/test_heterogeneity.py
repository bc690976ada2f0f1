"""Q, the Q-profile interval, I2 and H2."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references import F1, F2, F7, F8, rows, table

from evisynth.heterogeneity import cochran_q, heterogeneity, q_profile, typical_vi
from evisynth.measures import compute_effects
from evisynth.tau2 import estimates

mpmath.mp.dps = 50
OUTLIER = (
    np.array([0.1, 0.2, 0.15, 0.12, 0.18, 4]),
    np.array([0.01, 0.02, 0.015, 0.012, 0.02, 0.03]),
)
FAR = (np.array([-50, 120, 3, 900, -400, 33.0]), np.array([0.01, 0.02, 0.01, 0.05, 0.02, 0.03]))
SETS = {"F1": F1, "F2": F2, "F7": F7, "F8": F8, "outlier": OUTLIER, "far": FAR}


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


def test_empty_profile_is_nan_and_said():
    """F7: metafor and PyMARE return 0, 0."""
    interval = q_profile(*F7, 0.95)
    assert interval.empty
    first = heterogeneity(*F7, estimates(*F7, first="REML"), 0.95)[0]
    for value in (first.tau2_low, first.tau2_high, first.i2_low, first.i2_high):
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
