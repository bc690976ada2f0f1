"""Penalised logistic regression: closed form, independent fits, mpmath, no other maximum."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from support.counts import BCG, close, tables

from evisynth.models.penalised import penalised_logistic

# Rare events: single and double zeros in both groups.
RARE = tuple(
    np.array(column, dtype=float)
    for column in ((0, 2, 0, 1, 5), (40, 48, 60, 29, 95), (3, 4, 0, 0, 9), (38, 46, 61, 60, 91))
)


def design(k):
    study = np.vstack([np.eye(k), np.eye(k)])
    return np.column_stack([study, np.repeat([1.0, 0.0], k)])


def dense_fit(data):
    # Firth's modified score with the hat matrix (Heinze & Schemper 2002, eq. 2), dummy coding
    ai, bi, ci, di = data
    x = design(ai.size)
    events, n = np.concatenate([ai, ci]), np.concatenate([ai + bi, ci + di])
    beta = np.zeros(ai.size + 1)
    beta[:-1] = np.log((ai + ci + 0.5) / (bi + di + 0.5))
    for _ in range(5000):
        p = 1 / (1 + np.exp(-x @ beta))
        w = n * p * (1 - p)
        covariance = np.linalg.inv(x.T @ (w[:, None] * x))
        hat = w * np.einsum("ij,jk,ik->i", x, covariance, x)
        step = covariance @ (x.T @ (events - n * p + hat * (0.5 - p)))
        beta = beta + step / max(1, np.abs(step).max())
        if np.abs(step).max() < 1e-13:
            break
    return beta[-1], math.sqrt(covariance[-1, -1])


def dense_value(data, theta, alpha):
    ai, bi, ci, di = data
    x = design(ai.size)
    eta = x @ np.append(alpha, theta)
    n = np.concatenate([ai + bi, ci + di])
    likelihood = np.concatenate([ai, ci]) @ eta - n @ np.logaddexp(0, eta)
    w = n / (2 + np.exp(eta) + np.exp(-eta))
    return likelihood + np.linalg.slogdet(x.T @ (w[:, None] * x))[1] / 2


def dense_profile(data, theta):
    ai, bi, ci, di = data
    start = np.log((ai + ci + 0.5) / (bi + di + 0.5)) - theta / 2
    found = minimize(
        lambda alpha: -dense_value(data, theta, alpha), start, method="BFGS", tol=1e-9
    )
    return -found.fun


@pytest.mark.parametrize("data", [BCG, RARE], ids=["bcg", "rare"])
def test_estimate_and_standard_error_solve_firths_equations(data):
    theta, se = dense_fit(data)
    ours = penalised_logistic(*data)
    close(ours.wald.estimate, theta, 1e-10)
    close(ours.wald.se, se, 1e-10)
    assert ours.profile.estimate == ours.wald.estimate
    assert not any("converged" in note for note in ours.notes)


def test_profile_interval_and_test_equal_a_general_optimiser():
    ours = penalised_logistic(*RARE, level=0.9)
    best = dense_profile(RARE, ours.wald.estimate)
    drop = 1.6448536269514722**2 / 2
    for end, side in ((ours.profile.ci_low, -1), (ours.profile.ci_high, 1)):
        far = ours.wald.estimate + 6 * side
        theirs = brentq(
            lambda theta: dense_profile(RARE, theta) - best + drop, ours.wald.estimate, far
        )
        close(end, theirs, 1e-6)  # BFGS
    ratio = 2 * (best - dense_profile(RARE, 0.0))
    close(ours.profile.statistic**2, ratio, 1e-6)
    close(ours.profile.p, math.erfc(math.sqrt(ratio / 2)), 1e-6)


def test_estimate_equals_mpmath():
    ai, bi, ci, di = ((0, 2, 1), (40, 48, 29), (3, 4, 0), (38, 46, 60))
    ours = penalised_logistic(*(np.array(column, dtype=float) for column in (ai, bi, ci, di)))
    with mpmath.workdps(30):

        def score(*beta):
            alpha, theta = beta[:3], beta[3]
            p = [1 / (1 + mpmath.exp(-a - theta)) for a in alpha]
            p += [1 / (1 + mpmath.exp(-a)) for a in alpha]
            n = [a + b for a, b in zip(ai + ci, bi + di, strict=True)]
            x = mpmath.matrix(design(3).tolist())
            w = mpmath.diag([m * q * (1 - q) for m, q in zip(n, p, strict=True)])
            inverse = (x.T * w * x) ** -1
            hat = x * inverse * x.T * w
            residual = mpmath.matrix(
                [
                    e - m * q + hat[i, i] * (0.5 - q)
                    for i, (e, m, q) in enumerate(zip(ai + ci, n, p, strict=True))
                ]
            )
            return list(x.T * residual)

        root = mpmath.findroot(score, (-3.5, -2.6, -4, -0.6), tol=1e-40)
        close(ours.wald.estimate, float(root[3]), 1e-12)


@settings(max_examples=40)
@given(data=tables(1, 1))
def test_one_study_is_its_table_with_a_half_in_each_cell(data):
    ours = penalised_logistic(*data)
    ai, bi, ci, di = (float(column[0]) for column in data)
    if ai + ci == 0 or bi + di == 0:
        assert math.isnan(ours.wald.estimate)
        assert ours.notes[0].startswith("not estimable")
        return
    odds1, odds2 = (ai + 0.5) / (bi + 0.5), (ci + 0.5) / (di + 0.5)
    close(ours.wald.estimate, math.log(odds1 / odds2), 1e-10, 1e-12)
    information = [n * o / (1 + o) ** 2 for n, o in ((ai + bi, odds1), (ci + di, odds2))]
    close(ours.wald.se**2, sum(1 / w for w in information), 1e-9)
    assert any("k = 1" in note for note in ours.notes)


@settings(max_examples=40)
@given(data=tables(1, 12), level=st.floats(0.6, 0.999))
def test_every_informative_set_of_tables_has_a_finite_answer(data, level):
    ours = penalised_logistic(*data, level=level)
    if np.all((data[0] + data[2] == 0) | (data[1] + data[3] == 0)):
        assert "not estimable" in ours.notes[0]
        assert math.isnan(ours.profile.p)
        return
    row = ours.profile
    assert row.ci_low < row.estimate < row.ci_high
    assert (row.ci_low > 0 or row.ci_high < 0) == (row.p < 1 - level)
    assert not any("converged" in note for note in ours.notes)
    value = ours.log_likelihood
    alpha = np.log((data[0] + data[2] + 0.5) / (data[1] + data[3] + 0.5))
    for theta in np.linspace(-12, 12, 13):
        centred = dense_value(data, theta, alpha - theta / 2)
        # our constant: the determinant of symmetric coding is the same
        assert centred <= value + 1e-7 * (1 + abs(value))


@settings(max_examples=10)
@given(data=tables(2, 6), seed=st.integers(0, 1000))
def test_order_groups_and_outcomes_only_change_signs(data, seed):
    ai, bi, ci, di = data
    ours = penalised_logistic(*data)
    order = np.random.default_rng(seed).permutation(ai.size)
    again = penalised_logistic(*(column[order] for column in data))
    close(again.wald.estimate, ours.wald.estimate, 1e-9, 1e-10)
    for other in (penalised_logistic(ci, di, ai, bi), penalised_logistic(bi, ai, di, ci)):
        close(other.wald.estimate, -ours.wald.estimate, 1e-9, 1e-10)
        close(other.profile.ci_low, -ours.profile.ci_high, 1e-6, 1e-6)


def test_no_other_start_finds_a_higher_maximum():
    generator = np.random.default_rng(7)
    ours = penalised_logistic(*RARE)
    for _ in range(10):
        start = generator.normal(0, 3, 6)
        found = minimize(
            lambda beta: -dense_value(RARE, beta[-1], beta[:-1]), start, method="BFGS"
        )
        assert -found.fun <= ours.log_likelihood + 1e-8
    close(len(ours.maxima), 1)


def test_studies_without_events_are_named_and_matter_little():
    ours = penalised_logistic(*RARE, labels=tuple("ABCDE"))
    (note,) = (note for note in ours.notes if "one outcome only" in note)
    assert note.endswith(": C")
    assert ours.wald.k == 4
    kept = [0, 1, 3, 4]
    without = penalised_logistic(*(column[kept] for column in RARE))
    assert abs(ours.wald.estimate - without.wald.estimate) < 0.1 * ours.wald.se


def test_a_group_without_events_has_a_finite_estimate():
    none = np.zeros(3)
    ours = penalised_logistic(none, none + 50, np.array([2, 3, 1.0]), np.array([48, 47, 49.0]))
    assert math.isfinite(ours.wald.estimate)
    assert ours.profile.ci_high < 0
    assert (
        ours.profile.ci_high - ours.profile.estimate
        < ours.profile.estimate - ours.profile.ci_low
    )


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="level"):
        penalised_logistic(*BCG, level=95)
    with pytest.raises(ValueError, match="whole"):
        penalised_logistic(*(column + 0.5 for column in BCG))
