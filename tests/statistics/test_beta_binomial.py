"""Beta-binomial models: likelihood, maximum and curvature against independent computations."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln, expit
from support.counts import BCG, close, tables

from evisynth.models.beta_binomial import (
    _sum,
    beta_binomial,
    beta_binomial_two_groups,
)

# F10: proportions of very different sizes
F10 = (np.array([3, 6, 4, 10, 153.0]), np.array([212, 1200, 90, 4000, 700_000.0]))
SMALL = (np.array([1, 0, 4, 9, 2.0]), np.array([10, 12, 15, 20, 9.0]))
RARE = tuple(
    np.array(column, dtype=float)
    for column in (
        (0, 2, 0, 1, 9),
        (40, 48, 60, 29, 91),
        (3, 4, 0, 0, 15),
        (38, 46, 61, 60, 85),
    )
)


def textbook(xi, ni, mean, rho):
    # by beta functions; the digits go where rho is small
    if rho == 0:
        chances = xi * np.log(mean) + (ni - xi) * np.log1p(-mean)
    else:
        a, b = mean * (1 - rho) / rho, (1 - mean) * (1 - rho) / rho
        chances = betaln(xi + a, ni - xi + b) - betaln(a, b)
    return (chances - np.log1p(ni) - betaln(xi + 1, ni - xi + 1)).sum()


def exact(xi, ni, eta, rho):
    mean = 1 / (1 + mpmath.exp(-eta))
    a, b = mean * (1 - rho) / rho, (1 - mean) * (1 - rho) / rho
    return mpmath.fsum(
        mpmath.log(mpmath.binomial(n, x))
        + mpmath.log(mpmath.beta(x + a, n - x + b))
        - mpmath.log(mpmath.beta(a, b))
        for x, n in zip(map(int, xi), map(int, ni), strict=True)
    )


def maximum(function, start):
    # root of the numerical gradient, and the inverse of minus the Hessian there
    size = len(start)

    def partial(i):
        order = tuple(int(i == j) for j in range(size))
        return lambda *at: mpmath.diff(function, at, order)

    root = mpmath.findroot([partial(i) for i in range(size)], start, tol=1e-24)
    hessian = mpmath.matrix(size, size)
    for i in range(size):
        for j in range(size):
            order = [0] * size
            order[i] += 1
            order[j] += 1
            hessian[i, j] = -mpmath.diff(function, tuple(root), tuple(order))
    return list(root), hessian**-1, function(*root)


def test_one_proportion_equals_mpmath():
    ours = beta_binomial(*SMALL)
    with mpmath.workdps(40):
        root, covariance, value = maximum(
            lambda eta, rho: exact(*SMALL, eta, rho), (ours.estimates[0].estimate, ours.rho)
        )
    close(ours.estimates[0].estimate, float(root[0]), 1e-12)
    close(ours.rho, float(root[1]), 1e-12)
    close(ours.log_likelihood, float(value), 1e-13)
    close(ours.estimates[0].se, math.sqrt(covariance[0, 0]), 1e-10)


def test_two_groups_equal_mpmath():
    ai, bi, ci, di = RARE
    ours = beta_binomial_two_groups(*RARE)
    with mpmath.workdps(40):
        root, covariance, value = maximum(
            lambda eta1, eta2, rho: (
                exact(ai, ai + bi, eta1, rho) + exact(ci, ci + di, eta2, rho)
            ),
            (-3.0, -2.6, ours.rho),
        )
        odds = root[0] - root[1]
        vi = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        p1, p2 = (1 / (1 + mpmath.exp(-eta)) for eta in root[:2])
        ratio = mpmath.log(p1 / p2)
        gradients = ((1 - p1, -(1 - p2)), (p1 * (1 - p1), -p2 * (1 - p2)))
        rr_vi, rd_vi = (
            sum(g[i] * g[j] * covariance[i, j] for i in range(2) for j in range(2))
            for g in gradients
        )
    rows = ours.estimates
    close(ours.rho, float(root[2]), 1e-11)
    close(ours.log_likelihood, float(value), 1e-13)
    for row, estimate, variance in zip(
        rows, (odds, ratio, p1 - p2), (vi, rr_vi, rd_vi), strict=True
    ):
        close(row.estimate, float(estimate), 1e-11)
        close(row.se, math.sqrt(variance), 1e-10)
    assert rows[0].statistic == rows[0].estimate / rows[0].se


@pytest.mark.parametrize("data", [F10, SMALL, (BCG[0], BCG[0] + BCG[1])])
def test_likelihood_is_that_of_the_textbook(data):
    ours = beta_binomial(*data)
    # betaln of numbers up to 1e6 leaves 1e-10
    close(ours.log_likelihood, textbook(*data, ours.means[0], ours.rho), 1e-9)
    crude = data[0].sum() / data[1].sum()
    close(ours.log_likelihood_binomial, textbook(*data, crude, 0), 1e-12)
    close(ours.rho_test.statistic, 2 * (ours.log_likelihood - ours.log_likelihood_binomial))
    close(ours.rho_test.p, math.erfc(math.sqrt(ours.rho_test.statistic / 2)) / 2, 1e-9)


def test_very_different_proportions_are_not_pooled_to_nothing():
    # F10: Freeman-Tukey with the harmonic mean returns 0
    ours = beta_binomial(*F10)
    shares = F10[0] / F10[1]
    assert shares.min() < ours.means[0] < shares.max()
    low, high = expit(ours.estimates[0].ci_low), expit(ours.estimates[0].ci_high)
    assert 0 < low < ours.means[0] < high < 1


@given(
    limits=st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    shift=st.floats(0, 50),
)
def test_sums_by_quadrature_lose_no_digits(limits, shift):
    # sum of log(shift + r) and of 1 / (shift + r) ** 2 for r = 1 ... m - 1
    nodes = _sum(np.array(limits, dtype=float))
    with mpmath.workdps(30):
        logs = mpmath.fsum(
            mpmath.loggamma(shift + m) - mpmath.loggamma(shift + 1) for m in limits if m > 1
        )
        squares = mpmath.fsum(
            mpmath.zeta(2, shift + 1) - mpmath.zeta(2, shift + m) for m in limits if m > 1
        )
    close(np.log(shift + nodes.r) @ nodes.weight, float(logs), 1e-13, 1e-13)
    close((1 / (shift + nodes.r) ** 2) @ nodes.weight, float(squares), 1e-12)


@settings(max_examples=30)
@given(data=tables(1, 15))
def test_no_rho_and_mean_have_a_higher_likelihood(data):
    xi, ni = data[0], data[0] + data[1]
    ours = beta_binomial(xi, ni)
    if xi.sum() in (0, ni.sum()):
        assert math.isnan(ours.rho)
        return
    assert 0 <= ours.rho <= 1
    at_best = np.linspace(-3, 3, 13) + math.log(ours.means[0] / (1 - ours.means[0]))
    # the textbook's beta functions lose digits where rho is small
    slack = 1e-6 + 1e-9 * abs(ours.log_likelihood)
    for rho in (0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999):
        for mean in expit(at_best):
            if 0 < mean < 1:
                assert textbook(xi, ni, mean, rho) <= ours.log_likelihood + slack


@settings(max_examples=30)
@given(data=tables(1, 15), seed=st.integers(0, 100))
def test_order_groups_and_outcomes_only_change_signs(data, seed):
    ai, bi, ci, di = data
    ours = beta_binomial_two_groups(*data)
    order = np.random.default_rng(seed).permutation(ai.size)
    again = beta_binomial_two_groups(*(column[order] for column in data))
    swapped = beta_binomial_two_groups(ci, di, ai, bi)
    turned = beta_binomial_two_groups(bi, ai, di, ci)
    for row, other, back in zip(
        ours.estimates, again.estimates, swapped.estimates, strict=True
    ):
        close(other.estimate, row.estimate, 1e-7, 1e-9)
        close(back.estimate, -row.estimate, 1e-7, 1e-9)
        close(back.se, row.se, 1e-6)
    for which in (0, 2):  # OR and RD
        close(turned.estimates[which].estimate, -ours.estimates[which].estimate, 1e-7, 1e-9)
        close(turned.estimates[which].se, ours.estimates[which].se, 1e-6)


@settings(max_examples=30)
@given(data=tables(1, 15), level=st.floats(0.5, 0.999))
def test_no_number_is_missing_without_a_note(data, level):
    for fit in (
        beta_binomial_two_groups(*data, level=level),
        beta_binomial(data[0], data[0] + data[1], level=level),
    ):
        for row in fit.estimates:
            if math.isnan(row.estimate) or math.isnan(row.se):
                assert any("not estimable" in note for note in row.notes)
            else:
                assert row.ci_low < row.estimate < row.ci_high


def test_without_any_event_the_interval_is_exact():
    # F11: metafor cannot fit
    ni = np.array([10, 12, 15.0])
    ours = beta_binomial(np.zeros(3), ni).estimates[0]
    assert (expit(ours.estimate), expit(ours.ci_low)) == (0, 0)
    close(expit(ours.ci_high), 1 - 0.025 ** (1 / 37), 1e-13)
    assert "no event in any study" in ours.notes[0]
    every = beta_binomial(ni, ni).estimates[0]
    assert (expit(every.estimate), expit(every.ci_high)) == (1, 1)
    close(expit(every.ci_low), 0.025 ** (1 / 37), 1e-13)
    assert "events only in any study" in every.notes[0]


def test_a_single_event_is_pooled():
    ours = beta_binomial(np.array([0, 0, 1.0]), np.array([10, 12, 15.0]))
    close(ours.means[0], 1 / 37, 1e-12)
    assert ours.rho == 0
    close(ours.estimates[0].se ** 2, 1 / 1 + 1 / 36, 1e-12)
    assert any("rho = 0, end of its range" in note for note in ours.notes)
    assert ours.rho_test.p == 1


def test_equal_proportions_are_binomial():
    ours = beta_binomial(np.array([5, 10, 7.0]), np.array([50, 100, 70.0]))
    assert ours.rho == 0
    close(ours.estimates[0].estimate, math.log(22 / 198), 1e-14)
    close(ours.estimates[0].se ** 2, 1 / 22 + 1 / 198, 1e-13)


def test_studies_of_one_outcome_each_are_at_the_other_end():
    ours = beta_binomial(np.array([0, 10, 10.0]), np.array([10, 10, 10.0]))
    assert ours.rho == 1
    close(ours.means[0], 2 / 3, 1e-14)
    close(ours.log_likelihood, math.log(4 / 27), 1e-13)
    close(ours.estimates[0].se ** 2, 1 / 2 + 1 / 1, 1e-13)
    assert any("rho = 1" in note for note in ours.notes)


def test_single_members_say_nothing_about_rho():
    ours = beta_binomial(np.array([0, 1, 0, 1, 1.0]), np.ones(5))
    close(ours.means[0], 0.6, 1e-14)
    assert any(note.startswith("rho not estimable") for note in ours.notes)
    assert math.isnan(ours.rho_test.p)


def test_a_group_without_events_has_a_difference_but_no_ratio():
    none = np.zeros(3)
    ours = beta_binomial_two_groups(
        none, np.full(3, 40.0), np.array([2, 3, 1.0]), np.array([38, 37, 39.0])
    )
    odds, risk, difference = ours.estimates
    assert math.isnan(odds.estimate)
    assert math.isnan(risk.estimate)
    close(difference.estimate, -0.05, 1e-12)
    assert math.isnan(difference.se)
    assert odds.notes[0] == "not estimable: no event in group 1 of any study"
    nothing = beta_binomial_two_groups(none, none + 40, none, none + 40)
    assert "no event in group 1 and no event in group 2" in nothing.notes[0]


def test_studies_without_events_take_part():
    ours = beta_binomial_two_groups(*RARE)
    kept = [0, 1, 3, 4]
    without = beta_binomial_two_groups(*(column[kept] for column in RARE))
    assert ours.means[0] < without.means[0]
    assert ours.estimates[0].k == 5


def test_one_study_is_itself():
    ours = beta_binomial_two_groups(*(np.array([v], dtype=float) for v in (7, 93, 12, 88)))
    close(ours.estimates[0].estimate, math.log(7 * 88 / (93 * 12)), 1e-13)
    close(ours.estimates[0].se ** 2, 1 / 7 + 1 / 93 + 1 / 12 + 1 / 88, 1e-12)
    close(ours.estimates[2].estimate, -0.05, 1e-13)
    assert any("k = 1" in note for note in ours.notes)


@pytest.mark.parametrize(
    ("xi", "ni", "said"),
    [
        ([3], [2], "in 0 to n"),
        ([-1], [2], "in 0 to n"),
        ([0], [0], "n at least 1"),
        ([0.5], [2], "whole"),
        ([1, 2], [2], "one shape"),
        ([], [], "k > 0"),
        ([math.nan], [2], "in 0 to n"),
    ],
)
def test_impossible_counts_are_refused(xi, ni, said):
    with pytest.raises(ValueError, match=said):
        beta_binomial(np.array(xi, dtype=float), np.array(ni, dtype=float))


def test_an_impossible_level_is_refused():
    with pytest.raises(ValueError, match="level"):
        beta_binomial(*SMALL, level=95)
    with pytest.raises(ValueError, match="level"):
        beta_binomial_two_groups(*BCG, level=0)
