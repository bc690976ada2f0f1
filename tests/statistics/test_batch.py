"""Many fits at once: equal to one by one, to the last digits, whatever the data."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import caching
from support.references import F1, F2, F7, generic

from evisynth import tau2
from evisynth.models import batch
from evisynth.models.batch import fit_many, headlines, t_quantiles
from evisynth.pooling import pool
from evisynth.specification import ModelSpec


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


def normal_data(random, sizes, decades, spread):
    """Effects around 5, variances over `decades` around 1, tau2 = `spread`."""
    vi = 10.0 ** random.uniform(-decades / 2, decades / 2, sum(sizes))
    return random.normal(5, np.sqrt(vi + spread)), vi


@pytest.mark.parametrize("method", ["REML", "DL"])
@pytest.mark.parametrize("spread", [0, 0.01, 1, 1e6])
@pytest.mark.parametrize("decades", [0, 4, 12])
def test_thousands_of_studies_in_one_data_set(decades, spread, method):
    yi, vi = normal_data(np.random.default_rng(decades), [5000], decades, spread)
    fits = fit_many(yi, vi, np.array([5000]), method=method)
    expected = one_by_one(yi, vi, method)
    smallest = float(vi.min())
    assert fits.tau2[0] == pytest.approx(expected, rel=1e-10, abs=1e-10 * smallest)
    wi = 1 / (vi + expected)
    mean = math.fsum(wi * yi) / math.fsum(wi)
    assert fits.estimate[0] == pytest.approx(mean, rel=1e-11)
    assert fits.se[0] == pytest.approx(1 / math.sqrt(math.fsum(wi)), rel=1e-11)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, 1.0, 1 + 1e-9])),
            st.floats(-6, 6),
        ),
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


@pytest.mark.parametrize(
    ("yi", "vi", "maxima"),
    [
        ([-1.111, 0.885, -1.256, 11.023], [0.0027, 86.668, 0.0127, 12.8036], 2),
        (
            [-1.21, -3.054, 0.138, -2.684, -0.102, -1.63],
            [68.9, 1.83, 0.315, 3.14, 0.0035, 3.33],
            2,
        ),
        ([-2.219, 0.231, -0.004, -7.57, 4.804], [0.6375, 0.0669, 0.0028, 9.7823, 15.0623], 2),
    ],
)
def test_the_highest_of_several_maxima(yi, vi, maxima):
    yi, vi = np.array(yi), np.array(vi)
    one = tau2.estimate("REML", yi, vi)
    assert len(one.maxima) == maxima
    assert one.value == one.maxima[-1]  # where a search from 0 stops at the first
    assert fit_many(yi, vi, np.array([yi.size])).tau2[0] == pytest.approx(one.value, rel=1e-11)


def same(one, two, rtol=1e-9):
    for name in ("estimate", "se", "tau2", "q", "s2w"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol, 1e-12)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_data_sets_do_not_see_each_other(seed):
    random = np.random.default_rng(seed)
    k = random.integers(0, 9, 6)
    yi, vi = normal_data(random, k, 6, random.choice([0, 1]))
    fits = fit_many(yi, vi, k)
    ends = np.cumsum(k)
    for row, (end, size) in enumerate(zip(ends, k, strict=True)):
        alone = fit_many(yi[end - size : end], vi[end - size : end], k[row : row + 1])
        for name in ("estimate", "se", "tau2", "q", "s2w"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(fits, name)[row])


@given(st.integers(0, 10**6), st.integers(2, 40))
@settings(max_examples=50, deadline=None)
def test_order_and_sign_change_no_digit(seed, size):
    random = np.random.default_rng(seed)
    yi, vi = normal_data(random, [size], 4, random.choice([0, 1]))
    k = np.array([size])
    order = random.permutation(size)
    plain, other, negative = (
        fit_many(y, v, k) for y, v in ((yi, vi), (yi[order], vi[order]), (-yi, vi))
    )
    same(other, plain)
    assert negative.estimate[0] == -plain.estimate[0]
    assert negative.tau2[0] == plain.tau2[0]


def test_the_bounds_of_the_search_hold():
    random = np.random.default_rng(1)
    for _ in range(500):
        decades = random.choice([0.5, 2, 6])
        vi = 10.0 ** random.uniform(0, decades, random.integers(2, 8))
        vi[0] = 1
        yi = random.normal(0, 10.0 ** random.uniform(-1, 3), vi.size)
        yi[0] = 0
        wi = np.empty(vi.size)

        def g(u, yi=yi, vi=vi, wi=wi):
            sums = batch._sums.py_func(yi, vi, wi, math.expm1(u))
            return batch._g.py_func(sums, math.expm1(u))

        u = random.uniform(0, math.log(10) * decades)
        ratio = math.exp(u) / (math.expm1(u) + vi.max())
        if ratio > 0.49:
            continue
        step = 1e-4
        slope = g(u)[1]
        before, after = g(u - step), g(u + step)
        assert (after[0] - before[0]) / (2 * step) == pytest.approx(slope, abs=1e-5)
        assert -(2 - ratio) - 1e-9 <= slope <= 1 - 2 * ratio + 1e-9
        bend = (after[1] - before[1]) / (2 * step)
        assert bend >= -0.5 - (1 - 2 * ratio) ** 2 / 4 - 1e-4
        assert bend <= 0.25 + (1 - 1.5 * ratio) ** 2 + 1e-4


@pytest.mark.parametrize("ratio", [1e-12, 0.1, 0.3, 0.49])
@pytest.mark.parametrize("slope", [-1.9, -0.5, 0.0, 0.9])
@pytest.mark.parametrize("value", [-5, -0.5, -1e-6, 1e-6, 0.5, 5])
def test_a_step_ends_where_g_may_change_its_sign(value, slope, ratio):
    length = batch._step.py_func(value, slope, ratio)
    if value > 0:
        lowest = -0.5 - (1 - 2 * ratio) ** 2 / 4
        nearest = max(
            value - (2 - ratio) * length, value + (slope + lowest / 2 * length) * length
        )
    else:
        highest = 0.25 + (1 - 1.5 * ratio) ** 2
        nearest = min(
            value + (1 - 2 * ratio) * length, value + (slope + highest / 2 * length) * length
        )
    if length == batch.STEP:
        assert nearest * value <= 0  # a safe step would be shorter
    else:
        assert nearest == pytest.approx(0, abs=1e-13)


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


def test_data_too_far_apart_are_not_estimated_and_spoil_no_other():
    yi = np.array([1.0, 2, 4, 0, 1e80, 3, 1.0, 2, 4])
    vi = np.array([1.0, 2, 3, 1, 1, 1e-200, 1.0, 2, 3])
    fits = fit_many(yi, vi, np.array([3, 3, 3]))
    assert math.isnan(fits.estimate[1] + fits.se[1] + fits.tau2[1] + fits.q[1] + fits.s2w[1])
    assert fits.tau2[0] == fits.tau2[2] == pytest.approx(one_by_one(yi[:3], vi[:3], "REML"))


def test_no_data_sets_at_all():
    fits = fit_many(np.empty(0), np.empty(0), np.empty(0, dtype=int))
    assert fits.estimate.shape == headlines(fits, level=0.95).low.shape == (0,)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_headlines_are_those_of_one_analysis(level):
    random = np.random.default_rng(4)
    k = np.repeat([2, 3, 4, 5, 12, 30], 12)
    vi = random.uniform(0.01, 1, k.sum())
    # From hardly any variance between the effects to a lot.
    spread = np.repeat(np.tile([1e-3, 0.5, 1, 4], k.size // 4), k)
    yi = random.normal(0.3, np.sqrt(vi * spread))
    yi[:5] = 0.3  # identical effects
    fits = fit_many(yi, vi, k)
    ours = headlines(fits, level=level)
    tests = set()
    for row, (end, size) in enumerate(zip(np.cumsum(k), k, strict=True)):
        effects = generic(yi[end - size : end], vi[end - size : end], level)
        expected = pool(effects, ModelSpec(level=level)).headline
        tests.add((expected.test, size == 2))
        assert ours.floored[row] == (expected.test == "adhoc")
        found = (ours.low[row], ours.high[row], ours.pi_low[row], ours.pi_high[row])
        wanted = (expected.ci_low, expected.ci_high, expected.pi_low, expected.pi_high)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-10, nan_ok=True)
        assert ours.se[row] == pytest.approx(expected.se, rel=1e-10)
    assert tests == {("z", True), ("knha", False), ("adhoc", False)}


def test_no_t_quantile_without_degrees_of_freedom():
    found = t_quantiles(np.array([-1, 0, 1]), 0.95)
    np.testing.assert_allclose(found, [math.nan, math.nan, 12.706204736432095])


def test_code_that_no_folder_can_keep_is_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    twice = batch._kept(lambda value: 2 * value)
    assert twice(3.0) == 6


def test_code_that_a_full_disk_cannot_keep_is_used_all_the_same(monkeypatch):
    compiled, calls = batch._fit, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        compiled(*arguments)

    monkeypatch.setattr(batch, "_fit", full)
    assert fit_many(np.array([1.0, 3]), np.ones(2), np.array([2])).estimate[0] == 2


@pytest.mark.parametrize(
    ("yi", "vi", "k", "options", "words"),
    [
        ([1.0, 2], [1.0, 1], [3], {}, "one shape"),
        ([1.0, 2], [1.0, 0], [2], {}, "vi positive"),
        ([1.0, math.nan], [1.0, 1], [2], {}, "finite"),
        ([1.0, 2], [1.0, 1], [2], {"method": "PM"}, "REML, DL"),
        ([1.0, 2], [1.0, 1], [2.0], {}, "whole numbers"),
        ([1.0, 2], [1.0, 1], [3, -1], {}, "one shape"),
        ([1.0, 2], [1.0, 1], [[2]], {}, "whole numbers"),
    ],
)
def test_impossible_input_is_refused(yi, vi, k, options, words):
    with pytest.raises(ValueError, match=words):
        fit_many(np.array(yi), np.array(vi), np.array(k), **options)
