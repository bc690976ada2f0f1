"""The Bayesian model: against bayesmeta's documentation, mpmath, closed forms, invariances."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references import F1, F2, F8

from evisynth.models import priors
from evisynth.models.bayes import bayes, row
from evisynth.models.priors import (
    PRIORS,
    half_cauchy,
    half_normal,
    log_normal,
    log_student_t,
    rhodes,
    turner,
    uniform,
)
from evisynth.prior_tables import (
    RHODES,
    RHODES_COMPARISONS,
    RHODES_DOUBTFUL,
    RHODES_OUTCOMES,
    TURNER,
    TURNER_COMPARISONS,
)

# Rubin (1981): effects of coaching in eight schools
SCHOOLS = (
    np.array([28.39, 7.94, -2.75, 6.82, -0.64, 0.63, 18.01, 12.16]),
    np.array([14.9, 10.2, 16.3, 11.0, 9.4, 11.4, 10.4, 17.6]) ** 2,
)


def close(ours, theirs, rtol, atol=0.0):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def test_roever_2020_eight_schools():
    """The vignette of bayesmeta 3: tau to all printed digits.

    Its posterior of mu is a mixture of few normals (delta = 0.01), so that the numbers for mu
    are good to 1e-3 of a standard deviation only; the true ones are in the next test.
    """
    fit = bayes(*SCHOOLS, half_cauchy(25), mu_mean=0, mu_sd=50)
    tau = fit.tau
    assert [round(x, 6) for x in (tau.mode, tau.median, tau.mean, tau.sd)] == [
        0,
        4.758539,
        5.884511,
        4.869904,
    ]
    assert (tau.low, round(tau.high, 6)) == (0, 15.165894)
    assert (round(tau.tail_low, 7), round(tau.tail_high, 6)) == (0.2199559, 18.053172)
    assert round(fit.tau_upper, 5) == 15.16589
    for ours, theirs in (
        ((fit.mu.median, fit.mu.mean, fit.mu.sd), (7.962961, 7.985729, 4.995762)),
        ((fit.mu.low, fit.mu.high), (-1.823353, 17.824562)),
        ((fit.new.median, fit.new.mean, fit.new.sd), (7.926819, 7.985729, 9.126767)),
        ((fit.new.low, fit.new.high), (-10.623526, 26.827377)),
        (
            [getattr(fit.studies[0], name) for name in ("median", "mean", "sd")],
            (10.093581, 11.095255, 7.901084),
        ),
        (
            [getattr(fit.studies[7], name) for name in ("median", "mean", "sd")],
            (8.266594, 8.474644, 7.456906),
        ),
    ):
        close(ours, theirs, 0, 0.03)
    assert abs(1 - fit.mu_posterior.below(0) - 0.9487521) < 5e-5
    flat = bayes(*SCHOOLS, uniform(1e4))  # bayesmeta's is unlimited
    assert [round(x, 6) for x in (flat.tau.median, flat.tau.mean, flat.tau.sd)] == [
        5.227732,
        6.585992,
        5.685974,
    ]
    assert round(flat.tau.high, 6) == 17.265797


class Exact:
    """The posterior by mpmath, from the joint density as the model writes it."""

    def __init__(self, yi, vi, density, edges, mu_mean=None, mu_sd=None):
        mpmath.mp.dps = 20
        self.y = [mpmath.mpf(float(y)) for y in yi]
        self.v = [mpmath.mpf(float(v)) for v in vi]
        self.density, self.edges = density, [mpmath.mpf(edge) for edge in edges]
        self.prior = None if mu_mean is None else (mpmath.mpf(mu_mean), mpmath.mpf(mu_sd))
        self.mass = self.over(lambda tau: 1)

    def given(self, tau):
        w = [1 / (v + tau**2) for v in self.v]
        y = self.y
        if self.prior:
            w, y = [*w, 1 / self.prior[1] ** 2], [*y, self.prior[0]]
        mean = sum(a * b for a, b in zip(w, y, strict=True)) / sum(w)
        q = sum(a * (b - mean) ** 2 for a, b in zip(w, y, strict=True))
        root = mpmath.sqrt(mpmath.fprod(w) / sum(w)) * (2 * mpmath.pi) ** (
            -mpmath.mpf(len(w) - 1) / 2
        )
        return root * mpmath.exp(-q / 2), mean, 1 / sum(w)

    def over(self, function, top=None):
        edges = [e for e in self.edges if top is None or e < top] + ([top] if top else [])
        return mpmath.quad(
            lambda t: self.density(t) * self.given(t)[0] * function(t), edges
        ) / getattr(self, "mass", 1)

    def mu_below(self, x):
        def below(tau):
            _, mean, variance = self.given(tau)
            return mpmath.ncdf((x - mean) / mpmath.sqrt(variance))

        return self.over(below)

    def new_below(self, x):
        def below(tau):
            _, mean, variance = self.given(tau)
            return mpmath.ncdf((x - mean) / mpmath.sqrt(variance + tau**2))

        return self.over(below)

    def study_below(self, i, x):
        def below(tau):
            _, mean, variance = self.given(tau)
            pull = self.v[i] / (self.v[i] + tau**2)
            at = self.y[i] + pull * (mean - self.y[i])
            return mpmath.ncdf((x - at) / mpmath.sqrt(pull * tau**2 + pull**2 * variance))

        return self.over(below)


def mp_half_normal(scale):
    return lambda t: mpmath.sqrt(2 / mpmath.pi) / scale * mpmath.exp(-((t / scale) ** 2) / 2)


def mp_log_normal(location, scale):
    return lambda t: (
        mpmath.npdf((mpmath.log(t) - location) / scale) / scale / t if t else mpmath.mpf(0)
    )


CASES = {
    "schools": (
        SCHOOLS,
        half_cauchy(25),
        lambda t: 2 / mpmath.pi / 25 / (1 + (t / 25) ** 2),
        [0, 2, 5, 10, 20, 40, 100, 300, 1000, 1e4, 1e5, 1e8],
        (0.0, 50.0),
    ),
    "F1": (F1, half_normal(0.5), mp_half_normal(0.5), [0, 0.2, 0.5, 1, 2, 5], None),
    "F2": (
        F2,
        half_normal(1),
        mp_half_normal(1),
        [0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
        None,
    ),
    "k = 2": (
        F8,
        log_normal(-1.28, 0.87),
        mp_log_normal(-1.28, 0.87),
        [0, 0.001, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100, 1000],
        None,
    ),
    "k = 1": (
        (np.array([0.35]), np.array([0.04])),
        half_normal(0.5),
        mp_half_normal(0.5),
        [0, 0.2, 0.5, 1, 2, 6],
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_posteriors_equal_those_of_mpmath_to_9_digits(case):
    (yi, vi), prior, density, edges, mu = CASES[case]
    given_mu = {} if mu is None else {"mu_mean": mu[0], "mu_sd": mu[1]}
    fit = bayes(yi, vi, prior, level=0.9, **given_mu)
    exact = Exact(yi, vi, density, edges, **given_mu)
    close(fit.log_marginal, float(mpmath.log(exact.mass)), 1e-11, 1e-11)
    for summary, below in ((fit.mu, exact.mu_below), (fit.new, exact.new_below)):
        close(float(below(summary.median)), 0.5, 1e-9)
        close(float(below(summary.tail_low)), 0.05, 1e-9)
        close(float(below(summary.high) - below(summary.low)), 0.9, 1e-9)
    mean = exact.over(lambda t: exact.given(t)[1])
    square = exact.over(lambda t: exact.given(t)[2] + (exact.given(t)[1] - mean) ** 2)
    close((fit.mu.mean, fit.mu.sd), (float(mean), float(mpmath.sqrt(square))), 1e-9)
    first, last = fit.studies[0], fit.studies[-1]
    close(float(exact.study_below(0, first.median)), 0.5, 1e-9)
    close(float(exact.study_below(yi.size - 1, last.tail_high)), 0.95, 1e-9)
    tau = fit.tau
    close(float(exact.over(lambda t: 1, top=tau.median)), 0.5, 1e-9)
    close(float(exact.over(lambda t: 1, top=tau.tail_high)), 0.95, 1e-9)
    if case != "schools":  # its tail needs more than these edges
        close(tau.mean, float(exact.over(lambda t: t)), 1e-9)
        close(tau.mean**2 + tau.sd**2, float(exact.over(lambda t: t * t)), 1e-9)
    close(fit.tau_below(tau.high) - fit.tau_below(tau.low), 0.9, 1e-10)
    at = tau.median * 1.3
    theirs = density(mpmath.mpf(at)) * exact.given(mpmath.mpf(at))[0] / exact.mass
    close(fit.tau_density(at), float(theirs), 1e-10)


@pytest.mark.parametrize("case", CASES)
def test_shortest_intervals_have_equal_density_at_their_ends_or_begin_at_zero(case):
    (yi, vi), prior, *_ = CASES[case]
    fit = bayes(yi, vi, prior)
    mu = fit.mu_posterior
    close(mu.density(fit.mu.low), mu.density(fit.mu.high), 1e-7)
    assert fit.mu.high - fit.mu.low <= fit.mu.tail_high - fit.mu.tail_low + 1e-12
    tau = fit.tau
    if tau.low > 0:
        close(fit.tau_density(tau.low), fit.tau_density(tau.high), 1e-6)
    assert tau.high - tau.low <= tau.tail_high - tau.tail_low + 1e-12
    assert fit.tau_density(max(tau.mode, 1e-12)) >= max(
        fit.tau_density(tau.median * factor) for factor in (0.5, 0.9, 1, 1.1, 2)
    )


def test_no_heterogeneity_by_prior_is_the_common_effect():
    yi, vi = F1
    fit = bayes(yi, vi, half_normal(1e-7))
    close(fit.mu.mean, (yi / vi).sum() / (1 / vi).sum(), 1e-9)
    close(fit.mu.sd, (1 / vi).sum() ** -0.5, 1e-9)
    assert any("check its scale" in note for note in fit.notes)


def test_a_normal_prior_without_heterogeneity_is_one_more_study():
    yi, vi = F1
    fit = bayes(yi, vi, half_normal(1e-7), mu_mean=0.3, mu_sd=0.2)
    wi = np.append(1 / vi, 1 / 0.04)
    close(fit.mu.mean, (wi * np.append(yi, 0.3)).sum() / wi.sum(), 1e-9)
    close(fit.mu.sd, wi.sum() ** -0.5, 1e-9)


def test_one_study_is_as_uncertain_as_the_prior_makes_it():
    fit = bayes(np.array([0.35]), np.array([0.04]), half_normal(0.5))
    close(fit.mu.sd, math.sqrt(0.04 + 0.25), 1e-10)
    close(fit.tau.median, half_normal(0.5).quantile(0.5), 1e-9)
    assert fit.notes[0].startswith("k = 1")


def test_heavy_tails_have_medians_but_no_moments():
    one = bayes(np.array([0.35]), np.array([0.04]), half_cauchy(0.5))
    assert math.isnan(one.mu.mean)
    assert math.isinf(one.tau.mean)
    close(one.tau.median, 0.5, 1e-9)
    close(one.tau.tail_high, half_cauchy(0.5).quantile(0.975), 1e-7)
    two = bayes(*F8, half_cauchy(0.5))
    assert math.isfinite(two.mu.mean)
    assert math.isinf(two.mu.sd)
    assert any("too heavy a tail" in note for note in two.notes)
    assert math.isfinite(two.studies[0].sd)
    assert not bayes(*F8, half_normal(0.5)).notes


def test_the_row_has_the_posterior_and_no_test():
    fit = bayes(*F8, half_normal(0.5))
    found = row(fit)
    assert (found.model, found.method, found.test) == (
        "bayes",
        "half_normal(0.5)",
        "posterior",
    )
    assert (found.estimate, found.ci_low, found.pi_high) == (
        fit.mu.median,
        fit.mu.low,
        fit.new.high,
    )
    assert math.isnan(found.p)


def test_uniform_priors_can_have_their_mode_at_the_top():
    yi, vi = np.array([-5.0, 0, 5]), np.full(3, 0.01)
    fit = bayes(yi, vi, uniform(1))
    assert fit.tau.mode == pytest.approx(1)
    assert "tau is most likely the largest allowed" in fit.notes
    assert fit.tau.high <= 1


ANY = [
    half_normal(0.5),
    half_cauchy(1),
    uniform(2),
    turner(),
    rhodes(),
    log_student_t(-1.7, 1.3),
]


@pytest.mark.parametrize("prior", ANY, ids=lambda prior: prior.name)
def test_priors_are_densities_with_their_quantiles_and_slopes(prior):
    for p in (0.01, 0.3, 0.5, 0.975):
        at = prior.quantile(p)
        close(prior.below(at), p, 1e-12)
        step = 1e-5 * at
        slope = (prior.below(at + step) - prior.below(at - step)) / (2 * step)
        close(math.exp(float(prior.log_density(np.array(at)))), slope, 1e-7)
        rise = prior.log_density(np.array(at + step)) - prior.log_density(np.array(at - step))
        close(float(prior.slope(np.array(at))), float(rise) / (2 * step), 1e-5, 1e-9)


effect = st.floats(-4, 4).map(lambda x: round(x, 3))
studies = st.lists(st.tuples(effect, st.floats(-14, 14)), min_size=1, max_size=6).map(
    lambda pairs: (
        np.array([yi for yi, _ in pairs]),
        np.array([math.exp(x) for _, x in pairs]),
    )
)


@given(data=studies, which=st.sampled_from(range(len(ANY))), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_posteriors_exist_for_hostile_data_and_follow_order_and_sign(data, which, seed):
    yi, vi = data
    fit = bayes(yi, vi, ANY[which])
    for summary in (fit.mu, fit.new, fit.tau):
        assert summary.tail_low <= summary.median <= summary.tail_high
        assert summary.low <= summary.high
        assert summary.high - summary.low <= (summary.tail_high - summary.tail_low) * (1 + 1e-9)
    assert fit.new.tail_high - fit.new.tail_low >= fit.mu.tail_high - fit.mu.tail_low
    for summary in fit.studies:
        assert summary.tail_low <= summary.median <= summary.tail_high
    order = np.random.default_rng(seed).permutation(yi.size)
    other = bayes(yi[order], vi[order], ANY[which])
    close(other.mu.median, fit.mu.median, 1e-9, 1e-12)
    close(other.studies[0].median, fit.studies[order[0]].median, 1e-9, 1e-12)
    mirrored = bayes(-yi, vi, ANY[which])
    close(mirrored.mu.tail_low, -fit.mu.tail_high, 1e-8, 1e-10)
    if math.isnan(fit.mu.mean) or math.isinf(fit.mu.sd):
        assert any("too heavy" in note for note in fit.notes)


@given(exponent=st.integers(-100, 100))
@settings(max_examples=15)
def test_posteriors_follow_the_unit(exponent):
    factor = 2.0**exponent
    small = bayes(*F1, half_normal(0.5), mu_mean=0.2, mu_sd=1)
    large = bayes(
        F1[0] * factor,
        F1[1] * factor**2,
        half_normal(0.5 * factor),
        mu_mean=0.2 * factor,
        mu_sd=factor,
    )
    for name in ("mean", "sd", "median", "low", "high"):
        for what in ("mu", "tau", "new"):
            ours = getattr(getattr(small, what), name) * factor
            close(getattr(getattr(large, what), name), ours, 1e-10, 1e-300)
    close(large.log_marginal, small.log_marginal - 10 * math.log(factor), 1e-12, 1e-10)


def test_5000_studies_have_a_narrow_posterior():
    random = np.random.default_rng(5)
    vi = np.exp(random.normal(-2, 1, 5000))
    yi = random.normal(0.3, np.sqrt(vi + 0.04))
    fit = bayes(yi, vi, half_normal(0.5))
    assert fit.tau.tail_low < 0.2 < fit.tau.tail_high
    assert fit.tau.tail_high - fit.tau.tail_low < 0.1
    close(fit.tau_below(fit.tau.tail_high) - fit.tau_below(fit.tau.tail_low), 0.95, 1e-10)


def test_priors_are_refused_where_they_make_no_sense():
    for name in ("half_normal", "half_cauchy", "uniform"):
        with pytest.raises(ValueError, match="positive"):
            PRIORS[name](0)
    with pytest.raises(ValueError, match="both"):
        bayes(*F1, half_normal(1), mu_mean=0.0)
    with pytest.raises(ValueError, match="mu_sd"):
        bayes(*F1, half_normal(1), mu_mean=0.0, mu_sd=0.0)
    with pytest.raises(ValueError, match="outcome must be one of"):
        turner("death", TURNER_COMPARISONS[0])
    with pytest.raises(ValueError, match="both or neither"):
        turner("pain")
    with pytest.raises(ValueError, match="area must be one of"):
        rhodes(RHODES_OUTCOMES[0], RHODES_COMPARISONS[0], "surgery")


def test_turner_2015():
    """Table IV is additive in outcome and comparison, to its rounding: none is mistyped."""
    assert len(TURNER) == 16
    table = np.array(list(TURNER.values()))
    assert table.shape == (16, 5, 2)
    location = table[..., 0]
    shift = location - location[:, :1]
    assert np.ptp(shift, axis=0).max() <= 0.0101
    # abstract: log-normal(-2.56, 1.74^2) for a general setting, median 0.08
    general = turner()
    close(general.quantile(0.5) ** 2, math.exp(-2.56), 1e-12)
    mortality = turner("all-cause mortality", TURNER_COMPARISONS[0])
    close(mortality.quantile(0.5) ** 2, math.exp(-3.95), 1e-12)
    z = 1.959963984540054
    close(mortality.quantile(0.975) ** 2, math.exp(-3.95 + 1.34 * z), 1e-10)


def test_rhodes_2015():
    """Additive to the rounding but for the cells that are refused as doubtful."""
    assert rhodes().quantile(0.5) == pytest.approx(math.exp(-1.72))
    table = {area: np.array(cells) for area, cells in RHODES.items()}
    doubtful = set()
    base = table["other"][:, :1, 0]
    for area, cells in table.items():
        assert cells.shape == (8, 3, 2)
        away = cells[..., 0] - base
        away = away - np.median(away, axis=0)
        doubtful |= {
            (area, RHODES_OUTCOMES[i], RHODES_COMPARISONS[j])
            for i, j in zip(*np.nonzero(np.abs(away) > 0.03), strict=True)
        }
        for (i, j), _ in np.ndenumerate(cells[..., 0]):
            key = (RHODES_OUTCOMES[i], RHODES_COMPARISONS[j])
            if (area, *key) in RHODES_DOUBTFUL:
                with pytest.raises(ValueError, match="printed where"):
                    rhodes(*key, area)
            else:
                at = rhodes(*key, area).quantile(0.5)
                close(at**2, math.exp(cells[i, j, 0]), 1e-12)
    assert {cell for cell in RHODES_DOUBTFUL if "location" in RHODES_DOUBTFUL[cell]} == doubtful


def test_every_prior_has_a_name():
    assert set(PRIORS) == {
        "half_normal",
        "half_cauchy",
        "uniform",
        "log_normal",
        "log_student_t",
        "turner",
        "rhodes",
    }
    assert priors.rhodes().name == "rhodes"


@pytest.mark.parametrize("far", [3e2, 1e4, 1e6])
def test_a_prior_that_ends_far_below_the_data_holds_all_of_tau_at_its_end(far):
    """The posterior falls from its end as an exponential, which panels of any width could miss.

    At the end of the prior, t, the logarithm of the likelihood has the slope S in tau, so that
    t - tau is exponential with the rate S, but for terms in 1 / S^2.
    """
    yi, vi, top = far * np.array([-1.0, 0.3, 0.7]), np.ones(3), 5.0
    found = bayes(yi, vi, priors.named(f"uniform({top:g})"))
    q = float(yi @ yi)
    # log-likelihood -log(1 + tau2) - q / (2 (1 + tau2)), its mean being 0
    slope = top * (q / (1 + top**2) - 2) / (1 + top**2)
    assert found.tau.high <= top
    assert top - found.tau.median == pytest.approx(math.log(2) / slope, rel=30 / slope)
    assert found.mu.median == pytest.approx(0, abs=1e-9 * far)
    assert found.mu.sd == pytest.approx(math.sqrt((1 + top**2) / 3), rel=1 / slope)


def test_a_likelihood_far_above_all_of_a_prior_does_not_overflow():
    yi, vi = np.array([-2e4, 1e4, 3e4, 5.0]), np.array([0.1, 4e3, 2.0, 0.5])
    found = bayes(yi, vi, priors.named("half_normal(0.5)"))
    assert 0 < found.tau.low < found.tau.median < found.tau.high < math.inf
    assert found.mu.low < found.mu.median < found.mu.high
