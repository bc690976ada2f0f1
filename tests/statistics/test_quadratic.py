"""Tails of weighted sums of chi-squared variables."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import chdtr, chdtrc

from evisynth import linear
from evisynth.quadratic import form, tails


def given_form(yi, vi, weights, tau2, x=None):
    ours = linear.problem(yi, vi, x)
    return form(linear.weigh(ours, weights[ours.order]), ours.vi + tau2)


@pytest.mark.parametrize("k", [2, 3, 5, 20, 200, 5000])
@pytest.mark.parametrize("share", [1e-3, 0.3, 0.9, 1.0, 1.1, 2.0, 6.0])
def test_cochrans_q_without_heterogeneity_is_chi_squared(k, share):
    vi = 10.0 ** np.random.default_rng(k).uniform(-2, 2, k)
    ours = linear.problem(np.zeros(k), vi)
    of = form(linear.at(ours, 0.0), ours.vi)
    q = share * (k - 1)
    lower, upper = tails(of, q)
    assert math.isclose(of.mean, k - 1, rel_tol=1e-12)
    assert math.isclose(lower, chdtr(k - 1, q), rel_tol=1e-11, abs_tol=1e-25)
    assert math.isclose(upper, chdtrc(k - 1, q), rel_tol=1e-11, abs_tol=1e-25)


def test_pairs_of_equal_eigenvalues_have_a_closed_form():
    """Four groups of three equal studies, a mean each: exponential variables, two per group.

    Sum of exponentials with the means 2 e: the upper tail is the sum of
    exp(-q / (2 e_i)) times the product of e_i / (e_i - e_j).
    """
    sizes = np.array([1.0, 0.3, 0.05, 2.0])
    variance = np.repeat(sizes, 3)
    groups = (np.repeat(np.arange(4), 3)[:, np.newaxis] == np.arange(4)).astype(float)
    ours = linear.problem(np.zeros(12), np.ones(12), groups)
    assert (ours.exponent, ours.order.tolist()) == (0, sorted_order(groups))
    of = form(linear.weigh(ours, np.ones(12)), variance[ours.order])
    for q in (0.01, 1.0, 5.0, 9.0, 40.0):
        upper = math.fsum(
            math.exp(-q / (2 * e)) * math.prod(e / (e - o) for o in sizes if o != e)
            for e in sizes
        )
        assert math.isclose(tails(of, q)[1], upper, rel_tol=1e-11)


def sorted_order(groups):
    return np.lexsort((*groups.T[::-1], np.zeros(12), np.ones(12))).tolist()


def by_contour(values, q):
    """Upper tail by a contour through the middle of the strip of analyticity, 30 digits."""
    largest = max(values)
    upper = q > sum(values)
    centre = 1 / (4 * largest) if upper else -1 / q

    def integrand(y):
        z = centre + y * y * largest + 1j * y
        logs = mpmath.fsum(mpmath.log(1 - 2 * value * z) for value in values)
        return (mpmath.exp(-logs / 2 - z * q) / z * (1 - 2j * y * largest)).real

    pieces = [0] + [abs(centre) * 2**j for j in range(-3, 12)]
    found = mpmath.quad(integrand, pieces) / mpmath.pi
    return found if upper else 1 + found


@given(
    seed=st.integers(0, 10**6),
    k=st.integers(2, 6),
    kind=st.sampled_from(["inverse", "root", "equal"]),
    share=st.sampled_from([0.02, 0.5, 1.2, 4.0]),
)
@settings(max_examples=12)
def test_tails_agree_with_eigenvalues_in_thirty_digits(seed, k, kind, share):
    rng = np.random.default_rng(seed)
    p = 1 if k < 4 else 2
    x = np.column_stack([np.ones(k), rng.normal(size=k)])[:, :p]
    vi = 10.0 ** rng.uniform(-3, 0, k)
    tau2 = 10.0 ** rng.uniform(-3, 1)
    weights = {"inverse": 1 / vi, "root": 1 / np.sqrt(vi), "equal": np.ones(k)}[kind]
    ours = linear.problem(np.zeros(k), vi, x)
    scaled = ours.scaled(tau2)
    of = form(linear.weigh(ours, weights[ours.order]), ours.vi + scaled)
    with mpmath.workdps(30):
        design, a = mpmath.matrix(x.tolist()), mpmath.diag(weights.tolist())
        matrix = a - a * design * (design.T * a * design) ** -1 * design.T * a
        root = mpmath.diag([mpmath.sqrt(mpmath.mpf(v) + tau2) for v in vi.tolist()])
        values = sorted(mpmath.eigsy(root * matrix * root, eigvals_only=True))[p:]
        unit = mpmath.mpf(4) ** -ours.exponent
        values = [value * unit for value in values]
        q = share * float(mpmath.fsum(values))
        expected = by_contour(values, mpmath.mpf(q))
    lower, upper = tails(of, q)
    assert math.isclose(upper, expected, rel_tol=1e-10)
    assert math.isclose(lower, 1 - expected, rel_tol=1e-10)


def test_the_tails_of_impossible_and_of_far_values():
    of = given_form(np.zeros(3), np.ones(3), np.ones(3), 0.5)
    assert tails(of, 0.0) == (0.0, 1.0)
    assert tails(of, 1e4) == (1.0, 0.0)


@pytest.mark.parametrize("share", [1e-6, 0.1, 0.99, 1.01, 10.0, 60.0])
@given(seed=st.integers(0, 10**6), p=st.integers(1, 4), decades=st.sampled_from([0, 4, 12]))
@settings(max_examples=8)
def test_one_degree_of_freedom_is_chi_squared_whatever_the_variances(seed, p, decades, share):
    """The variance of a study may be far above the only eigenvalue."""
    rng = np.random.default_rng(seed)
    ours = linear.problem(np.zeros(p + 1), np.ones(p + 1), rng.normal(size=(p + 1, p)))
    of = form(
        linear.weigh(ours, 10.0 ** rng.uniform(-decades / 2, decades / 2, p + 1)),
        10.0 ** rng.uniform(-decades / 2, decades / 2, p + 1),
    )
    lower, upper = tails(of, share * of.mean)
    assert math.isclose(lower, chdtr(1, share), rel_tol=1e-9)
    assert math.isclose(upper, chdtrc(1, share), rel_tol=1e-9)
