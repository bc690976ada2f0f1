"""Many fits at once: equal to one by one, to the last digits, whatever the data."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references import F1, F2, F7

from evisynth import tau2
from evisynth.models.batch import fit_many


def one_by_one(yi, vi, method):
    return tau2.estimate(method, yi, vi).value


def scale(vi):
    return float(np.median(vi))


@pytest.mark.parametrize("method", ["REML", "DL"])
@pytest.mark.parametrize("seed", range(20))
def test_equal_to_one_by_one(seed, method):
    random = np.random.default_rng(seed)
    k = random.integers(0, 40, 30)
    spread = 10.0 ** random.uniform(-3, 3)
    vi = 10.0 ** random.uniform(-2, 2, k.sum())
    yi = random.normal(5, np.sqrt(vi + spread))
    fits = fit_many(yi, vi, k, method=method)
    for row, (end, size) in enumerate(zip(np.cumsum(k), k, strict=True)):
        y, v = yi[end - size : end], vi[end - size : end]
        if size < 2:
            assert math.isnan(fits.estimate[row] + fits.tau2[row])
            continue
        expected = one_by_one(y, v, method)
        assert fits.tau2[row] == pytest.approx(expected, rel=1e-11, abs=1e-12 * scale(v))
        wi = 1 / (v + expected)
        mean = math.fsum(wi * y) / math.fsum(wi)
        assert fits.estimate[row] == pytest.approx(mean, rel=1e-11)
        assert fits.se[row] == pytest.approx(1 / math.sqrt(math.fsum(wi)), rel=1e-11)
        s2w = math.fsum(wi * (y - mean) ** 2) / (size - 1)
        assert fits.s2w[row] == pytest.approx(s2w, rel=1e-10)
        common = math.fsum(y / v) / math.fsum(1 / v)
        assert fits.q[row] == pytest.approx(math.fsum((y - common) ** 2 / v), rel=1e-10)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1e3, 1e3), st.floats(-6, 6)),
        min_size=2,
        max_size=30,
    )
)
def test_never_below_the_likelihood_of_one_by_one(studies):
    yi = np.array([y for y, _ in studies])
    vi = np.array([10.0**exponent for _, exponent in studies])
    found = float(fit_many(yi, vi, np.array([yi.size])).tau2[0])
    expected = one_by_one(yi, vi, "REML")
    ours, theirs = (
        tau2.log_likelihood(yi, vi, value, restricted=True) for value in (found, expected)
    )
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(("data", "expected"), [(F1, 0.08197311442), (F2, 0.047569), (F7, 0.0)])
def test_hard_cases(data, expected):
    yi, vi = data
    found = float(fit_many(yi, vi, np.array([yi.size])).tau2[0])
    assert found == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx(one_by_one(yi, vi, "REML"), rel=1e-11)


def test_identical_effects_have_no_variance_between_them():
    fits = fit_many(np.full(5, 2.5), np.array([1.0, 2, 3, 4, 5]), np.array([5]))
    assert (fits.tau2[0], fits.q[0], fits.s2w[0], fits.estimate[0]) == (0, 0, 0, 2.5)


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_the_unit_changes_no_digit(factor):
    random = np.random.default_rng(3)
    yi, vi = random.normal(size=26), random.uniform(0.1, 2, 26)
    k = np.array([13, 13])
    plain, scaled = fit_many(yi, vi, k), fit_many(yi * factor, vi * factor**2, k)
    np.testing.assert_allclose(scaled.tau2, plain.tau2 * factor**2, rtol=1e-11)
    np.testing.assert_allclose(scaled.estimate, plain.estimate * factor, rtol=1e-11)


@pytest.mark.parametrize(
    ("yi", "vi", "k", "options", "words"),
    [
        ([1.0, 2], [1.0, 1], [3], {}, "one shape"),
        ([1.0, 2], [1.0, 0], [2], {}, "vi positive"),
        ([1.0, math.nan], [1.0, 1], [2], {}, "finite"),
        ([1.0, 2], [1.0, 1], [2], {"method": "PM"}, "REML, DL"),
    ],
)
def test_impossible_input_is_refused(yi, vi, k, options, words):
    with pytest.raises(ValueError, match=words):
        fit_many(np.array(yi), np.array(vi), np.array(k), **options)
