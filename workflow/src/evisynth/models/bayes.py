"""The Bayesian normal-normal model by deterministic quadrature: no sampler, nothing random."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from evisynth.linear import Problem, problem
from evisynth.models.integration import Panels, adaptive, dot, rule
from evisynth.models.mixture import NEGLIGIBLE, Mixture, shortest
from evisynth.models.priors import Prior
from evisynth.records import Estimate, Floats

NAN = math.nan
# Logarithm of the largest tau of the quadrature, in units of the smallest standard error: the
# squares of its weights stay inside the range of double precision.
FARTHEST = 70 * math.log(10)
# Half-width, in log tau, below which a peak is looked at more closely.
NARROW = 0.05
# Fall of the logarithm of a density beyond which it adds no digit.
DEEP = 40.0
# Numbers held at once by the likelihood.
BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class Summary:
    """A posterior distribution, on the analysis scale.

    Attributes
    ----------
    mean, sd : nan and inf where the integral does not exist.
    low, high : the shortest interval of the level of the fit; nan where it is not computed.
    tail_low, tail_high : the equal-tailed one.
    mode : of tau only.
    """

    mean: float
    sd: float
    median: float
    low: float
    high: float
    tail_low: float
    tail_high: float
    mode: float = NAN


@dataclass(frozen=True, slots=True)
class Bayes:
    """Posterior of the normal-normal model.

    Attributes
    ----------
    prior : of tau, by name; mu_mean, mu_sd : of mu, both nan for the uniform one.
    mu, tau, new : of the mean, the heterogeneity and the effect of a new study.
    tau_upper : upper limit of tau: the posterior probability of less is `level`.
    studies : one per study, in the order given: its effect, shrunk towards the mean.
    log_marginal : logarithm of the integral of prior times likelihood; under the uniform prior
        of mu it holds for its density 1, and compares priors of tau only.
    mu_posterior, new_posterior : normals mixed over tau, for probabilities and for drawing.
    tau_density, tau_below : posterior density and distribution function of tau.
    """

    prior: str
    mu_mean: float
    mu_sd: float
    k: int
    level: float
    mu: Summary
    tau: Summary
    tau_upper: float
    new: Summary
    studies: tuple[Summary, ...]
    log_marginal: float
    mu_posterior: Mixture
    new_posterior: Mixture
    tau_density: Callable[[float], float]
    tau_below: Callable[[float], float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Model:
    """Studies and priors in the unit of the data.

    Attributes
    ----------
    log_unit : logarithm of that unit.
    mu_mean, mu_variance : of the prior of mu in that unit; the variance is inf if uniform.
    """

    data: Problem
    prior: Prior
    unit: float
    log_unit: float
    mu_mean: float
    mu_variance: float

    @property
    def flat(self) -> bool:
        """Whether the prior of mu is uniform."""
        return math.isinf(self.mu_variance)


@dataclass(frozen=True, slots=True)
class _Conditional:
    """Given tau (n,): log-likelihood without mu, its slope in tau2, mean and variance of mu."""

    log_likelihood: Floats
    score: Floats
    means: Floats
    variances: Floats


def _given(model: _Model, tau: Floats) -> _Conditional:
    rows = max(1, BLOCK // model.data.k)
    parts = [_given_block(model, tau[i : i + rows]) for i in range(0, tau.size, rows)]
    names = ("log_likelihood", "score", "means", "variances")
    return _Conditional(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def _given_block(model: _Model, tau: Floats) -> _Conditional:
    data = model.data
    variance = data.vi + tau[:, np.newaxis] ** 2
    wi = 1 / variance
    sums, squares = wi.sum(axis=1), (wi**2).sum(axis=1)
    means = dot(wi, data.yi) / sums
    away = data.yi - means[:, np.newaxis]
    weighted = wi * away
    height = -(
        np.log(variance).sum(axis=1)
        + np.log(sums)
        + (weighted * away).sum(axis=1)
        + (data.k - 1) * math.log(2 * math.pi)
    )
    score = (weighted**2).sum(axis=1) - sums + squares / sums
    if model.flat:
        return _Conditional(height / 2, score / 2, means, 1 / sums)
    # The mean is one more observation of mu, beside its prior.
    spread = 1 / sums + model.mu_variance
    change = squares / sums**2
    off = means - model.mu_mean
    drift = -(wi * weighted).sum(axis=1) / sums
    height -= np.log(2 * math.pi * spread) + off**2 / spread
    score -= change / spread + 2 * off * drift / spread - (off / spread) ** 2 * change
    posterior = 1 / (sums + 1 / model.mu_variance)
    return _Conditional(
        height / 2,
        score / 2,
        posterior * (sums * means + model.mu_mean / model.mu_variance),
        posterior,
    )


@dataclass(frozen=True, slots=True)
class _Law:
    """Posterior of tau in the unit of the data: a density in x = log tau between two atoms.

    The lower atom is all that is so close to 0 that the likelihood does not tell it from 0, the
    upper one all that is beyond the quadrature.

    Attributes
    ----------
    panels : of the integrand in x, relative to `height`.
    mass : integral with the atoms, likewise.
    low_atom, high_atom : probabilities.
    cumulative : probability below each edge of the panels.
    moment : the highest power of tau, up to 2, that has a finite mean.
    """

    model: _Model
    panels: Panels
    height: float
    mass: float
    low_atom: float
    high_atom: float
    cumulative: Floats
    moment: int

    def log_integrand(self, x: Floats) -> Floats:
        """Logarithm of prior times likelihood as a density of x."""
        return _log_integrand(self.model, x)

    def density(self, tau: float) -> float:
        """Density at `tau` > 0."""
        x = np.array([math.log(tau)])
        return math.exp(float(self.log_integrand(x)[0]) - self.height - x[0]) / self.mass

    def below(self, tau: float) -> float:
        """Probability of less than `tau`."""
        edges, prior, unit = self.panels.edges, self.model.prior, self.model.unit
        if tau <= 0:
            return 0.0
        x = math.log(tau)
        if x <= edges[0]:
            return (
                self.low_atom * prior.below(tau * unit) / prior.below(math.exp(edges[0]) * unit)
            )
        if x >= edges[-1]:
            return 1.0 if x > edges[-1] else 1 - self.high_atom
        panel = int(np.searchsorted(edges, x, side="right")) - 1
        return float(self.cumulative[panel]) + self._part(edges[panel], x)

    def _part(self, low: float, high: float) -> float:
        points, weights = rule(np.array([low]), np.array([high]))
        values = np.exp(self.log_integrand(points.ravel()) - self.height)
        return float(dot(values, weights.ravel())) / self.mass

    def quantile(self, p: float) -> float:
        """The tau below which the probability is `p`."""
        edges, prior, unit = self.panels.edges, self.model.prior, self.model.unit
        if p <= self.low_atom:
            share = prior.below(math.exp(edges[0]) * unit)
            return prior.quantile(p / self.low_atom * share) / unit if p > 0 else 0.0
        if p >= self.cumulative[-1]:
            return math.exp(edges[-1])
        panel = int(np.searchsorted(self.cumulative, p, side="right")) - 1
        low, high, known = edges[panel], edges[panel + 1], float(self.cumulative[panel])
        x = brentq(
            lambda x: known + self._part(low, x) - p if x > low else known - p,
            low,
            high,
            xtol=1e-14,
            rtol=1e-14,
        )
        return math.exp(x)


def _log_integrand(model: _Model, x: Floats) -> Floats:
    tau = np.exp(x)
    prior = model.prior.log_density(tau * model.unit) + model.log_unit
    log: Floats = prior + _given(model, tau).log_likelihood + x
    return log


def _moment(model: _Model) -> int:
    """The highest power of tau, up to 2, with a finite posterior mean."""
    if math.isfinite(model.prior.top):
        return 2
    # The likelihood falls as tau to minus the number of studies, less one for a free mean.
    fall = model.prior.tail + model.data.k - (1 if model.flat else 0)
    slow = model.prior.unbounded  # log-t: a power of the logarithm makes the limit converge
    return max((j for j in (0, 1, 2) if fall - j > 1 or (slow and fall - j == 1)), default=0)


def _range(model: _Model, moment: int) -> tuple[float, float, float, float]:
    """Where log tau matters: from, to, the place and height of the integrand's log maximum."""
    lowest = math.log(1e-9 / (1 + model.data.yi_range))
    highest = min(math.log(model.prior.top / model.unit), FARTHEST)
    # A prior of another scale than the data: below all of it nothing is left out.
    lowest = min(lowest, highest - 1)
    x = np.linspace(lowest, highest, 2 * math.ceil(highest - lowest) + 1)
    log = _log_integrand(model, x)
    top, step = int(np.argmax(log)), float(x[1] - x[0])
    height, peak = float(log[top]), float(x[top])
    for _ in range(30):  # closer and closer to the peak, however narrow
        near = np.clip(peak + step * np.linspace(-1, 1, 9), lowest, highest)
        heights = _log_integrand(model, near)
        top = int(np.argmax(heights))
        height, peak, step = max(height, float(heights[top])), float(near[top]), step / 3
    if math.isinf(model.prior.top):
        weighty = log + moment * x
        over = np.flatnonzero(weighty > weighty.max() - DEEP)
        if not over.size:
            raise ValueError(
                f"the prior {model.prior.name} is too far below the standard errors: all tau "
                "that it allows are 0 beside them"
            )
        highest = float(x[min(over[-1] + 1, x.size - 1)])
    return lowest, highest, peak, height


def _edges(model: _Model, lowest: float, highest: float, peak: float, height: float) -> Floats:
    """Edges of panels to begin with, closer and closer to a peak that they could miss.

    Posteriors are that narrow where the data contradict a prior that ends or falls steeply.
    """
    edges = np.linspace(lowest, highest, math.ceil((highest - lowest) / 2) + 1)
    # A peak at an end of the range, but for rounding, falls on one side only.
    near = peak + NARROW * np.array([-1.0, 1.0])
    fallen = _log_integrand(model, near[(near > lowest) & (near < highest)]) < height - DEEP
    if not fallen.all():
        return edges
    steps = NARROW * 4.0 ** -np.arange(20)
    inner = np.concatenate([[peak], peak - steps, peak + steps])
    inside: Floats = inner[(inner > lowest) & (inner < highest)]
    return np.unique(np.concatenate([edges, inside]))


def _law(model: _Model) -> _Law:
    moment = _moment(model)
    lowest, highest, peak, height = _range(model, moment)

    def integrand(x: Floats) -> Floats:
        """With its moment, so that the panels serve that, too."""
        values = np.exp(_log_integrand(model, x.ravel()) - height)
        weighted: Floats = values * (1 + np.exp(x.ravel()) ** moment)
        return weighted.reshape(x.shape)

    wanted = adaptive(integrand, _edges(model, lowest, highest, peak, height))
    values = wanted.values / (1 + np.exp(wanted.points) ** moment)
    panels = Panels(wanted.edges, wanted.points, wanted.weights, values)
    ends = np.exp(np.array([lowest, highest]))
    shares = [
        model.prior.below(float(ends[0]) * model.unit),
        1 - model.prior.below(float(ends[1]) * model.unit) if highest == FARTHEST else 0.0,
    ]
    # As logarithms: beyond all of the prior the likelihood alone may be out of range.
    with np.errstate(divide="ignore"):
        low, high = np.exp(np.log(shares) + _given(model, ends).log_likelihood - height)
    inside = (panels.weights * values).sum(axis=1)
    mass = float(low + high + inside.sum())
    return _Law(
        model=model,
        panels=panels,
        height=height,
        mass=mass,
        low_atom=float(low) / mass,
        high_atom=float(high) / mass,
        cumulative=(low + np.concatenate([[0.0], np.cumsum(inside)])) / mass,
        moment=moment,
    )


def _nodes(law: _Law) -> tuple[Floats, Floats]:
    """Values of tau with their probabilities: the quadrature and the atoms."""
    inside = (law.panels.weights * law.panels.values).ravel() / law.mass
    ends = np.exp(law.panels.edges[[0, -1]])
    tau = np.concatenate([ends[:1], np.exp(law.panels.points.ravel()), ends[1:]])
    weights = np.concatenate([[law.low_atom], inside, [law.high_atom]])
    kept = weights > 0
    return tau[kept], weights[kept] / weights.sum()


def _mode(law: _Law) -> tuple[float, tuple[str, ...]]:
    """The most likely tau in the unit of the data."""
    model = law.model
    if model.prior.unbounded:
        return 0.0, ("the density of tau is infinite at 0, as that of its prior: mode 0",)
    tau = np.exp(law.panels.points.ravel())
    with np.errstate(divide="ignore"):  # where the density has underflowed
        log = np.log(law.panels.values.ravel()) - np.log(tau)

    def slope(tau: float) -> float:
        prior = float(model.prior.slope(np.array(tau * model.unit))) * model.unit
        return prior + 2 * tau * float(_given(model, np.array([tau])).score[0])

    top = int(np.argmax(log))
    left, right = float(tau[max(top - 1, 0)]), float(tau[min(top + 1, tau.size - 1)])
    if slope(left) <= 0:
        return 0.0, ()
    if slope(right) >= 0:  # only a uniform prior ends while the density rises
        return math.exp(law.panels.edges[-1]), ("tau is most likely the largest allowed",)
    return float(brentq(slope, left, right, xtol=1e-300, rtol=1e-14)), ()


def _tau_summary(law: _Law, level: float) -> tuple[Summary, tuple[str, ...]]:
    tau, weights = _nodes(law)
    mode, notes = _mode(law)
    mean = float(dot(tau, weights)) if law.moment >= 1 else math.inf
    sd = math.sqrt(float(dot((tau - mean) ** 2, weights))) if law.moment == 2 else math.inf
    tail = (1 - level) / 2
    low, high = shortest(law.quantile, law.density, level, lowest=0.0)
    unit = law.model.unit
    return Summary(
        mean=mean * unit,
        sd=sd * unit,
        median=law.quantile(0.5) * unit,
        low=low * unit,
        high=high * unit,
        tail_low=law.quantile(tail) * unit,
        tail_high=law.quantile(1 - tail) * unit,
        mode=mode * unit,
    ), notes


def _back(model: _Model, weights: Floats, means: Floats, variances: Floats) -> Mixture:
    kept = weights > NEGLIGIBLE
    return Mixture(
        weights=weights[kept] / weights[kept].sum(),
        means=model.data.shift + means[kept] * model.unit,
        sds=np.sqrt(variances[kept]) * model.unit,
    )


def _summary(mixture: Mixture, level: float, moment: int, *, short: bool) -> Summary:
    tail = (1 - level) / 2
    low = high = NAN
    if short:
        low, high = shortest(mixture.quantile, mixture.density, level)
    return Summary(
        mean=mixture.mean() if moment >= 1 else NAN,
        sd=mixture.sd() if moment == 2 else (math.inf if moment else NAN),
        median=mixture.quantile(0.5),
        low=low,
        high=high,
        tail_low=mixture.quantile(tail),
        tail_high=mixture.quantile(1 - tail),
    )


def _studies(
    law: _Law, yi: Floats, vi: Floats, given: _Conditional, tau: Floats, weights: Floats
) -> tuple[Mixture, ...]:
    """Posterior of the true effect of each study."""
    model = law.model
    found = []
    for effect, variance in zip(yi, vi, strict=True):
        y = (effect - model.data.shift) / model.unit
        v = variance / model.unit**2
        pull = v / (v + tau**2)
        means = y + pull * (given.means - y)
        variances = pull * tau**2 + pull**2 * given.variances
        found.append(_back(model, weights, means, variances))
    return tuple(found)


def _model(yi: Floats, vi: Floats, prior: Prior, mu_mean: float, mu_sd: float) -> _Model:
    if math.isnan(mu_mean) != math.isnan(mu_sd):
        raise ValueError("mu_mean and mu_sd must be given both (normal) or neither (uniform)")
    if mu_sd <= 0 or math.isinf(mu_sd) or math.isinf(mu_mean):
        raise ValueError(f"the prior of mu must be finite, mu_sd positive, not {mu_sd}")
    data = problem(yi, vi)
    unit = math.ldexp(1.0, data.exponent)
    uniform = math.isnan(mu_sd)
    return _Model(
        data=data,
        prior=prior,
        unit=unit,
        log_unit=math.log(unit),
        mu_mean=0.0 if uniform else (mu_mean - data.shift) / unit,
        mu_variance=math.inf if uniform else (mu_sd / unit) ** 2,
    )


def bayes(
    yi: Floats,
    vi: Floats,
    prior: Prior,
    *,
    level: float = 0.95,
    mu_mean: float = NAN,
    mu_sd: float = NAN,
) -> Bayes:
    """Posterior of yi ~ N(theta_i, vi), theta_i ~ N(mu, tau2) (Röver 2020).

    Given tau everything is normal, so that all posteriors are normals mixed over tau, whose
    one-dimensional posterior is integrated by adaptive Gauss-Legendre quadrature in log tau
    (doi:10.18637/jss.v093.i06, package bayesmeta; there the mixture is a discrete
    approximation, here it is exact to about 10 digits). The likelihood in tau of an infinitely
    wide prior of mu is the restricted likelihood.

    Parameters
    ----------
    yi, vi : effects and sampling variances, (k,), on the analysis scale.
    prior : of tau, from `priors`, on the same scale.
    level : of all intervals, as a fraction.
    mu_mean, mu_sd : normal prior of mu; both nan for the improper uniform one.

    Raises
    ------
    ValueError
        An impossible prior of mu; what `linear.problem` raises.
    """
    model = _model(yi, vi, prior, mu_mean, mu_sd)
    law = _law(model)
    tau, weights = _nodes(law)
    given = _given(model, tau)
    mu = _back(model, weights, given.means, given.variances)
    new = _back(model, weights, given.means, given.variances + tau**2)
    tau_summary, notes = _tau_summary(law, level)
    k, unit = model.data.k, model.unit
    if k == 1:
        notes = (
            "k = 1: the data say nothing of tau; the mean is the study's effect, as uncertain "
            "as its own error and the prior of tau make it",
            *notes,
        )
    if law.moment < 2:
        notes = (
            *notes,
            f"the prior {prior.name} has too heavy a tail for {k} studies: the posterior "
            + ("standard deviations are" if law.moment else "means and standard deviations are")
            + " infinite or do not exist; medians and intervals do",
        )
    if prior.below(float(np.sqrt(np.min(vi))) * 1e-4) > 0.999:
        notes = (*notes, "the prior of tau is far below the standard errors: check its scale")
    return Bayes(
        prior=prior.name,
        mu_mean=mu_mean,
        mu_sd=mu_sd,
        k=k,
        level=level,
        mu=_summary(mu, level, law.moment, short=True),
        tau=tau_summary,
        tau_upper=law.quantile(level) * unit,
        new=_summary(new, level, law.moment, short=True),
        studies=tuple(
            # Far from 0, tau leaves a study alone: all moments exist.
            _summary(mixture, level, 2, short=False)
            for mixture in _studies(law, np.asarray(yi), np.asarray(vi), given, tau, weights)
        ),
        log_marginal=law.height
        + math.log(law.mass)
        - (k - (1 if model.flat else 0)) * model.log_unit,
        mu_posterior=mu,
        new_posterior=new,
        tau_density=lambda tau: law.density(tau / unit) / unit,
        tau_below=lambda tau: law.below(tau / unit),
        notes=notes,
    )


def row(fit: Bayes) -> Estimate:
    """The fit as a row of the results: bayes/<prior>/posterior.

    Estimate is the posterior median of mu, se its standard deviation; intervals are the
    shortest ones; tau2 is the square of the median of tau. There is no test and no p-value.
    """
    return Estimate(
        model="bayes",
        method=fit.prior,
        test="posterior",
        k=fit.k,
        estimate=fit.mu.median,
        se=fit.mu.sd,
        ci_low=fit.mu.low,
        ci_high=fit.mu.high,
        pi_low=fit.new.low,
        pi_high=fit.new.high,
        statistic=NAN,
        df=NAN,
        p=NAN,
        tau2=fit.tau.median**2,
        notes=fit.notes,
    )
