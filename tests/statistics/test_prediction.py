"""Nagashima's prediction interval and shares beyond a threshold."""

import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import chdtrc, ndtr, stdtr
from support.references import F1, F7, F8, effects_of, find, generic

from evisynth.inference import quantile
from evisynth.linear import problem
from evisynth.models.mixture import Mixture, shortest
from evisynth.models.prediction import (
    _contours,
    _distribution,
    _means,
    beyond,
    beyond_new,
    calibrated,
    nagashima,
)
from evisynth.pooling import ModelSpec, pool

FOLDER = Path(__file__).parents[1] / "reference" / "inference"
BOOTSTRAPS = [
    (path.stem, entry)
    for path in sorted(FOLDER.glob("*.json"))
    for entry in json.loads(path.read_text(encoding="utf-8"))["analyses"]
    if entry["args"].get("method.predict") == "NNF"
]


def close(ours, theirs, rtol, atol=0.0):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("pair", BOOTSTRAPS, ids=lambda pair: pair[0])
def test_nagashimas_interval_is_what_the_bootstrap_of_pimeta_estimates(pair):
    """Theirs has 25,000 replicates: within 3 of its standard errors of the exact one."""
    name, entry = pair
    effects = effects_of(find(name, entry["args"]["data"]))
    yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
    exact = nagashima(yi, vi, level=0.95)
    ours = nagashima(yi, vi, level=0.95, seed=1, replicates=25_000)
    (low,), (high,) = entry["result"]["predict"]["lower"], entry["result"]["predict"]["upper"]
    assert abs(low - exact.low) < 3 * ours.error_low
    assert abs(high - exact.high) < 3 * ours.error_high
    assert abs(ours.low - exact.low) < 3 * ours.error_low
    assert abs(ours.high - exact.high) < 3 * ours.error_high
    assert ours.error_low < 0.02 * (exact.high - exact.low)
    assert (exact.error_low, exact.replicates, exact.seed) == (0, 0, None)


def test_a_seed_gives_the_same_numbers_again():
    one, again, other = (
        nagashima(*F1, level=0.95, seed=seed, replicates=2000) for seed in (7, 7, 8)
    )
    assert one == again
    assert one.low != other.low
    assert one.notes == ()


def q_tail(vi, q, tau2):
    """P(Q > q) by Imhof's formula (1961), from the eigenvalues."""
    w = 1 / vi
    a = np.diag(w) - np.outer(w, w) / w.sum()
    s = np.sqrt(vi + tau2)
    values = np.linalg.eigvalsh(s[:, None] * a * s)[1:]

    def integrand(u):
        angle = np.arctan(values * u).sum() / 2 - q * u / 2
        return math.sin(angle) / (u * np.prod((1 + (values * u) ** 2) ** 0.25))

    return 0.5 + quad(integrand, 0, 100, limit=20000, epsabs=1e-13)[0] / math.pi


@pytest.mark.parametrize("q", [4.0, 12.0, 40.0])
def test_the_law_of_q_equals_imhofs_integral(q):
    vi = np.array([0.2, 0.5, 1.0, 3.0, 0.3, 0.8, 2.0, 0.9, 1.4, 0.25, 0.6])
    data = problem(np.arange(11.0), vi)
    unit = 4.0**data.exponent
    for tau2 in (0.05, 0.7):
        tail = _contours(data, q, np.array([tau2 / unit]))[0][0]
        close(tail, q_tail(vi, q, tau2), 0, 1e-9)  # of the quadrature


@given(
    logs=st.lists(st.floats(-10, 10), min_size=3, max_size=12),
    q=st.floats(0.01, 100),
    x=st.floats(-12, 12),
)
@settings(max_examples=40)
def test_the_law_of_q_is_chi_squared_without_heterogeneity_and_rises_with_it(logs, q, x):
    vi = np.exp(np.array(logs))
    data = problem(np.zeros(vi.size), vi)
    tau2 = np.array([0.0, math.exp(x) * 0.999, math.exp(x), math.exp(x) * 1.001])
    tail, density = _contours(data, q, tau2)
    close(tail[0], chdtrc(vi.size - 1, q), 1e-10, 1e-13)
    assert (tail >= tail[0] - 1e-12).all()
    assert (tail <= 1 + 1e-12).all()
    rise = (tail[3] - tail[1]) / (tau2[3] - tau2[1])
    close(density[2], rise, 1e-4, 1e-9 / tau2[2])


def test_equal_variances_give_an_inverse_chi_squared_law_of_tau2():
    yi, vi = np.array([0.0, 1.0, 3.0, 2.0, 7.0]), np.full(5, 0.5)
    data = problem(yi, vi)
    q = float(((yi - yi.mean()) ** 2).sum() / 0.5)
    law = _distribution(data, q)
    v = float(data.vi[0])
    for tau2 in (0.5, 2.0, 9.0):
        below = law.atom + law.weights[law.tau2 < tau2].sum()
        # nodes are apart: the sum is a step function
        step = law.weights.max()
        assert abs(below - chdtrc(4, q / (1 + tau2 / v))) <= step
    close(law.atom + law.weights.sum(), 1, 1e-13)


@pytest.mark.parametrize("data", [F1, (np.array([0.1, 0.9, 0.2]), np.array([0.04, 0.05, 0.3]))])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_solves_its_equation_in_a_simulation_free_check(data, level):
    """The distribution function once more, by another way: t by its own quadrature."""
    yi, vi = data
    found = nagashima(yi, vi, level=level)
    shifted = problem(yi, vi)
    law = _distribution(shifted, float(problem_q(yi, vi)))
    means, variances = _means(shifted, np.append(0.0, law.tau2))
    weights = np.append(law.atom, law.weights)
    tau = np.sqrt(np.append(0.0, law.tau2))
    # t = tan of an angle, for any degrees of freedom: 4000 midpoints
    angle = (np.arange(4000) + 0.5) / 4000 * math.pi - math.pi / 2
    df = yi.size - 1
    t = np.tan(angle) * math.sqrt(df)
    density = np.cos(angle) ** (df - 1)
    density /= density.sum()
    for end, p in ((found.low, (1 - level) / 2), (found.high, (1 + level) / 2)):
        x = math.ldexp(end - shifted.shift, -shifted.exponent)
        away = x - means[:, None] + t * np.sqrt(variances)[:, None]
        below = weights[1:] @ (ndtr(away[1:] / tau[1:, None]) @ density)
        # without heterogeneity: a step in t, which has a closed form
        below += weights[0] * stdtr(df, (x - means[0]) / math.sqrt(variances[0]))
        close(below, p, 0, 1e-6)  # of the midpoints where tau is small


def problem_q(yi, vi):
    mean = (yi / vi).sum() / (1 / vi).sum()
    return ((yi - mean) ** 2 / vi).sum()


@given(
    data=st.lists(
        st.tuples(st.floats(-4, 4).map(lambda x: round(x, 2)), st.floats(-7, 7)),
        min_size=3,
        max_size=6,
    ),
    exponent=st.integers(-40, 40),
)
@settings(max_examples=10)
def test_the_interval_follows_unit_order_and_sign(data, exponent):
    yi, vi = np.array([y for y, _ in data]), np.exp(np.array([x for _, x in data]))
    factor = 2.0**exponent
    here = nagashima(yi, vi, level=0.9)
    if here.notes:
        assert np.ptp(yi) == 0
        return
    there = nagashima(yi[::-1] * factor, vi[::-1] * factor**2, level=0.9)
    mirrored = nagashima(-yi, vi, level=0.9)
    width = here.high - here.low
    close(
        (there.low, there.high),
        (here.low * factor, here.high * factor),
        0,
        1e-9 * width * factor,
    )
    close((mirrored.low, mirrored.high), (-here.high, -here.low), 0, 1e-8 * width)
    assert here.low < here.high


def test_what_cannot_be_predicted_is_said():
    assert nagashima(*F8, level=0.95).notes == ("no prediction interval below 3 studies",)
    same = nagashima(np.full(3, 0.4), np.array([0.1, 0.2, 0.3]), level=0.95)
    assert same.notes == ("not estimable: residuals are all zero",)
    assert math.isnan(same.low)
    assert nagashima(*F7, level=0.95).low < 0.29


def test_mixtures_of_one_are_normal_distributions():
    one = Mixture(np.array([1.0]), np.array([2.0]), np.array([3.0]))
    close(one.quantile(0.975), 2 + 3 * quantile(0.95, math.nan), 1e-13)
    close(one.quantile(1e-12), 2 + 3 * -7.034483825301132, 1e-12)
    close((one.mean(), one.sd()), (2, 3), 1e-15)
    low, high = shortest(one.quantile, one.density, 0.9)
    close((low, high), (one.quantile(0.05), one.quantile(0.95)), 1e-9)


def test_mathur_2019():
    """Parametric formula of section 3: share above q, delta-method standard error."""
    found = beyond(estimate=0.5, tau2=0.25, threshold=0.2, side="above", se=0.1, se_tau2=0.08)
    z = (0.5 - 0.2) / 0.5
    close(found.probability, float(mpmath.ncdf(z)), 1e-14)
    variance = 0.1**2 / 0.25 + 0.08**2 * 0.3**2 / (4 * 0.25**3)
    close(found.se, float(mpmath.npdf(z)) * math.sqrt(variance), 1e-13)
    close(found.high - found.low, 2 * 1.959963984540054 * found.se, 1e-12)
    below = beyond(estimate=0.5, tau2=0.25, threshold=0.2, side="below")
    close(below.probability + found.probability, 1, 1e-14)
    assert below.notes == ("no interval: a standard error is missing",)


@pytest.mark.parametrize("threshold", [-0.4, 0.3, 0.7])
def test_delta_method_is_the_gradient(threshold):
    def share(estimate, tau2):
        return beyond(
            estimate=estimate, tau2=tau2, threshold=threshold, side="above"
        ).probability

    step = 1e-6
    slopes = (
        (share(0.3 + step, 0.2) - share(0.3 - step, 0.2)) / (2 * step),
        (share(0.3, 0.2 + step) - share(0.3, 0.2 - step)) / (2 * step),
    )
    found = beyond(
        estimate=0.3, tau2=0.2, threshold=threshold, side="above", se=0.15, se_tau2=0.1
    )
    close(found.se, math.hypot(0.15 * slopes[0], 0.1 * slopes[1]), 1e-7)


def test_no_heterogeneity_means_all_or_none():
    for threshold, share in ((0.2, 1), (0.8, 0)):
        found = beyond(estimate=0.5, tau2=0.0, threshold=threshold, side="above")
        assert found.probability == share
        assert "all or none" in found.notes[0]
    at = beyond(estimate=0.5, tau2=0.0, threshold=0.5, side="below")
    assert math.isnan(at.probability)
    assert math.isnan(
        beyond(estimate=math.nan, tau2=0.1, threshold=0, side="above").probability
    )


def test_an_interval_is_cut_at_certainty_and_says_so():
    found = beyond(estimate=2, tau2=0.25, threshold=0, side="above", se=1, se_tau2=1)
    assert found.high == 1
    assert len(found.notes) == 2


@pytest.mark.parametrize("prediction", ["normal", "V", "HTS", "HK", "HK-PR"])
def test_thresholds_at_the_ends_of_the_prediction_interval_have_its_tails(prediction):
    fit = pool(generic(*F1), ModelSpec(prediction=prediction))
    head = next(row for row in fit.estimates if (row.method, row.test) == ("REML", "knha"))
    plain = next(row for row in fit.estimates if (row.method, row.test) == ("REML", "z"))
    df = {"normal": math.nan, "V": 9, "HTS": 8, "HK": 9, "HK-PR": 8}[prediction]
    se = head.se if prediction.startswith("HK") else plain.se
    for threshold, side in ((head.pi_low, "below"), (head.pi_high, "above")):
        found = beyond_new(
            estimate=head.estimate,
            se=se,
            tau2=head.tau2,
            df=df,
            threshold=threshold,
            side=side,
        )
        close(found.probability, 0.025, 1e-10)


def test_calibrated_effects_vary_by_tau2_and_are_counted():
    yi, vi = np.array([0.0, 0.2, 1.0, 1.2]), np.full(4, 0.1)
    found = calibrated(yi, vi, estimate=0.6, tau2=0.3, threshold=0.65, side="above")
    assert (found.probability, found.notes[0]) == (0.5, "steps of 1/4: one study each")
    drawn_in = calibrated(yi, vi, estimate=0.6, tau2=0.0, threshold=0.59, side="above")
    assert drawn_in.probability == 1
    # sqrt(0.3 / 0.4) (1.2 - 0.6) + 0.6 = 1.12
    assert (
        calibrated(yi, vi, estimate=0.6, tau2=0.3, threshold=1.13, side="above").probability
        == 0
    )


def test_sides_and_variances_are_checked():
    with pytest.raises(ValueError, match="above or below"):
        beyond(estimate=0, tau2=1, threshold=0, side="left")
    with pytest.raises(ValueError, match="negative"):
        beyond(estimate=0, tau2=-1, threshold=0, side="above")
    missing = beyond_new(estimate=0.1, se=math.nan, tau2=0.1, df=3, threshold=0, side="above")
    assert math.isnan(missing.probability)
    assert missing.notes
