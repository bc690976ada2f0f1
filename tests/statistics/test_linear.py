"""Weighted least squares with known variances, against matrices in 60 digits."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evisynth import linear

mpmath.mp.dps = 60


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    k = draw(st.integers(2, 9))
    p = draw(st.integers(1, min(4, k)))
    decades = draw(st.sampled_from([0, 4, 12]))
    vi = 10.0 ** rng.uniform(-decades / 2, decades / 2, k)
    yi = rng.normal(size=k) * np.sqrt(vi + draw(st.sampled_from([0, 1])))
    x = rng.normal(size=(k, p))
    if draw(st.booleans()):
        x[:, 0] = 1
        x[:, 1:] = (
            1990 + rng.permutation(30)[: k * (p - 1)].reshape(k, p - 1) if p == 2 else x[:, 1:]
        )
    return yi, vi, x


def exact(yi, vi, x, tau2):
    k, p = x.shape
    design, y = mpmath.matrix(x.tolist()), mpmath.matrix(yi.tolist())
    variance = [mpmath.mpf(v) + mpmath.mpf(tau2) for v in vi.tolist()]
    weights = mpmath.diag([1 / v for v in variance])
    information = design.T * weights * design
    covariance = information**-1
    hat = design * covariance * design.T * weights
    matrix = weights * (mpmath.eye(k) - hat)
    q, square = (y.T * matrix * y)[0], matrix * matrix
    logs = mpmath.fsum(mpmath.log(v) for v in variance)
    full = -(k * mpmath.log(2 * mpmath.pi) + logs + q) / 2
    extra = mpmath.log(mpmath.det(information)) - mpmath.log(mpmath.det(design.T * design))
    restricted = -((k - p) * mpmath.log(2 * mpmath.pi) + logs + q + extra) / 2
    return {
        "generalised_q": q,
        "trace_p": mpmath.fsum(matrix[i, i] for i in range(k)),
        "trace_p2": mpmath.fsum(square[i, i] for i in range(k)),
        "yppy": (y.T * square * y)[0],
        "full": full,
        "restricted": restricted,
        "b": covariance * (design.T * weights * y),
        "covariance": covariance,
        "hat": [hat[i, i] for i in range(k)],
        "residuals": y - hat * y,
    }


@given(data=problems(), tau2=st.sampled_from([0.0, 1e-8, 1e-3, 1.0, 1e5]))
@settings(max_examples=80)
def test_everything_agrees_with_matrices_in_sixty_digits(data, tau2):
    yi, vi, x = data
    k, p = x.shape
    true, ours = exact(yi, vi, x, tau2), linear.problem(yi, vi, x)
    df_scale = 0.0 if k > p else 1e-20 * float(1 / vi.min())
    for name in ("generalised_q", "trace_p", "trace_p2", "yppy"):
        found = getattr(linear, name)(ours, tau2)
        assert math.isclose(found, true[name], rel_tol=1e-10, abs_tol=df_scale), name
    for name in ("full", "restricted"):
        found = linear.log_likelihood(ours, tau2, restricted=name == "restricted")
        assert math.isclose(found, true[name], rel_tol=1e-12, abs_tol=1e-10), name
    fit = linear.coefficients(ours, tau2)
    for j in range(p):
        assert math.isclose(fit.covariance[j, j], true["covariance"][j, j], rel_tol=1e-8)
        assert abs(fit.b[j] - true["b"][j]) <= 1e-9 * (abs(true["b"][j]) + fit.se[j])
    # In units of its standard error each residual, and in those of 1 each leverage.
    for i, (hat, residual) in enumerate(
        zip(linear.hat_values(ours, tau2), linear.residuals(ours, tau2), strict=True)
    ):
        assert abs(hat - true["hat"][i]) <= 1e-11
        size = math.sqrt(vi[i] + tau2)
        assert abs(residual - true["residuals"][i]) <= 1e-10 * (abs(residual) + size)


@pytest.mark.parametrize("shift", [0.0, 1e6, -1e9])
def test_effects_far_from_zero_keep_the_digits_of_their_differences(shift):
    rng = np.random.default_rng(2)
    yi = np.round(rng.normal(size=12), 3) * 1024 / 1024
    yi = np.round(yi * 1024) / 1024  # the shift is then exact
    vi = rng.uniform(0.01, 1, 12)
    x = np.column_stack([np.ones(12), rng.normal(size=12)])
    near, far = linear.problem(yi, vi, x), linear.problem(yi + shift, vi, x)
    assert linear.generalised_q(far, 0.1) == linear.generalised_q(near, 0.1)
    groups = (np.arange(12) % 3)[:, np.newaxis] == np.arange(3)
    near, far = (linear.problem(y, vi, groups.astype(float)) for y in (yi, yi + shift))
    assert linear.generalised_q(far, 0.1) == linear.generalised_q(near, 0.1)


def test_a_basis_is_changed_as_tau2_grows():
    """Precise studies beside each other, the others far away: elements of M would be 1000."""
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(10), [0.0, 1e-3, *rng.uniform(1, 5, 8)]])
    vi = np.array([1e-8, 1e-8, *np.full(8, 1.0)])
    yi = rng.normal(size=10)
    ours = linear.problem(yi, vi, x)
    assert len(ours.bases) > 1
    for tau2 in (0.0, 1e-7, 1e-3, 1.0, 1e3):
        true = exact(yi, vi, x, tau2)
        assert math.isclose(linear.trace_p2(ours, tau2), true["trace_p2"], rel_tol=1e-12)
        assert math.isclose(
            linear.generalised_q(ours, tau2), true["generalised_q"], rel_tol=1e-11
        )


@pytest.mark.parametrize("with_x", [True, False])
@pytest.mark.parametrize("restricted", [True, False])
def test_the_curve_is_the_same_functions_on_a_grid(with_x, restricted):
    rng = np.random.default_rng(6)
    vi = 10.0 ** rng.uniform(-6, 2, 15)
    x = np.column_stack([np.ones(15), rng.normal(size=15) ** 3]) if with_x else None
    ours = linear.problem(rng.normal(size=15), vi, x)
    grid = np.array([0.0, 1e-3, 1.0, 1e3, 1e6])
    found = linear.curve(ours, grid, restricted=restricted)
    heights = [linear.height(ours, tau2, restricted=restricted) for tau2 in grid]
    np.testing.assert_allclose(np.diff(found.height), np.diff(heights), rtol=1e-10)
    for i, tau2 in enumerate(grid):
        fit = linear.at(ours, tau2)
        assert math.isclose(found.yppy[i], fit.yppy, rel_tol=1e-10)
        penalty = fit.trace_p if restricted else fit.wi.sum()
        assert math.isclose(found.penalty[i], penalty, rel_tol=1e-10)


def test_dependent_columns_are_named_and_years_are_not():
    year = np.arange(2000.0, 2010.0)
    ones = np.ones(10)
    assert linear.dependent_columns(np.column_stack([ones, year])) == ()
    assert linear.dependent_columns(np.column_stack([ones, year, 2 * year - 7])) == (2,)
    assert linear.dependent_columns(np.column_stack([ones, ones * 3, year])) == (1,)
    assert linear.dependent_columns(np.column_stack([np.zeros(10), year])) == (0,)
    group = (np.arange(10) % 2)[:, np.newaxis] == np.arange(2)
    assert linear.dependent_columns(np.column_stack([ones, group])) == (2,)
    assert linear.dependent_columns(np.ones((1, 2))) == (1,)


def test_one_study_has_a_coefficient_and_no_residual():
    ours = linear.problem(np.array([0.3]), np.array([0.04]))
    fit = linear.coefficients(ours, 0.0)
    assert (fit.b[0], fit.se[0]) == (0.3, pytest.approx(0.2, rel=1e-15))
    assert (linear.generalised_q(ours, 0.0), linear.trace_p(ours, 0.0)) == (0.0, 0.0)
    assert linear.hat_values(ours, 0.0)[0] == 1.0


def test_given_weights_have_their_own_projection():
    rng = np.random.default_rng(9)
    yi, vi, weights = rng.normal(size=8), rng.uniform(0.1, 1, 8), rng.uniform(0.1, 9, 8)
    x = np.column_stack([np.ones(8), rng.normal(size=8)])
    for design in (x, None):
        ours = linear.problem(yi, vi, design)
        fit = linear.weigh(ours, weights[ours.order])
        true = exact(yi, 1 / weights, x if design is not None else np.ones((8, 1)), 0.0)
        scale = 2.0 ** (-2 * ours.exponent)
        assert math.isclose(fit.q * scale, true["generalised_q"] * scale**2, rel_tol=1e-12)
        assert math.isclose(fit.trace_p, true["trace_p"], rel_tol=1e-12)
