"""Generalised linear mixed models of counts: binomial-normal, Poisson-normal, conditional.

Model families as in Jackson et al. (2018, doi:10.1002/sim.7588) and Stijnen et al. (2010,
doi:10.1002/sim.4040), named as in R's metafor. Maximum likelihood; effects on the log scale
(logit for one proportion).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, gammaln, xlogy

from evisynth.inference import quantile, wald
from evisynth.models.count_terms import (
    Rows,
    Terms,
    binomial,
    hypergeometric,
    log_binomial,
    poisson,
)
from evisynth.models.likelihood import (
    Maximum,
    Point,
    Problem,
    climb,
    profile_interval,
    with_effect,
    with_two_effects,
    without_effects,
)
from evisynth.records import Estimate, Floats

NAN = math.nan
FEWEST_FOR_PREDICTION = 3
# Degrees of freedom that a prediction interval spends; None: normal quantile. HK and HK-PR are
# V and HTS: there is no other standard error here.
SPENT = {"normal": None, "V": 1, "HTS": 2, "HK": 1, "HK-PR": 2}

FIELDS: dict[str, tuple[str, ...]] = {
    "PLO": ("xi", "ni"),
    "IRLN": ("xi", "ti"),
    "OR": ("ai", "bi", "ci", "di"),
    "IRR": ("x1i", "t1i", "x2i", "t2i"),
}
MODELS: dict[str, dict[str, str]] = {
    "PLO": {"GLMM": "binomial-normal model"},
    "IRLN": {"GLMM": "Poisson-normal model"},
    "OR": {
        "UM.FS": "binomial-normal model, a fixed intercept per study",
        "UM.RS": "binomial-normal model, random intercepts of the studies",
        "CM.AL": "conditional model, approximate (binomial) likelihood",
        "CM.EL": "conditional model, exact (noncentral hypergeometric) likelihood",
    },
    "IRR": {
        "UM.FS": "Poisson-normal model, a fixed intercept per study",
        "UM.RS": "Poisson-normal model, random intercepts of the studies",
        "CM.EL": "conditional model, exact (binomial) likelihood",
    },
}
Mask: TypeAlias = NDArray[np.bool_]

UNCONDITIONAL = ("UM.FS", "UM.RS")


@dataclass(frozen=True, slots=True)
class GlmmFit:
    """One fit, on the analysis scale; nan where not estimable (`notes` say why).

    Attributes
    ----------
    coefficients, covariance : (p,) and (p, p).
    tau2, se_tau2 : variance of the effects between studies and its standard error.
    sigma2 : variance of the studies' intercepts (UM.RS only).
    low, high : exact interval where the estimate is infinite, else nan.
    p : exact two-sided p-value against 0 there.
    loglik : maximum of the log-likelihood with all constants.
    aic, bic, aicc : information criteria; n is the number of arms for UM.FS and UM.RS, else of
        studies.
    nodes, error : quadrature nodes per random effect, and what half of them would change in
        the log-likelihood (the error is about the square of this).
    """

    coefficients: Floats
    covariance: Floats
    tau2: float
    se_tau2: float
    sigma2: float
    low: float
    high: float
    p: float
    loglik: float
    aic: float
    bic: float
    aicc: float
    nodes: int
    error: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Glmm:
    """A model fitted without and with variance between studies.

    Attributes
    ----------
    k, k_total : studies with information, and all.
    informative : mask of these, (k_total,).
    common, random : tau2 = 0 (UM.RS: intercepts still random), and estimated.
    tau2_low, tau2_high : profile likelihood interval; inf: no upper end.
    typical : typical sampling variance of the usual effect sizes (1/2 added to zero cells).
    i2, h2 : from tau2 and `typical`; i2 in per cent.
    qe_lrt, qe_wald, qe_df, qe_lrt_p, qe_wald_p : tests of tau2 = 0, against a model with an
        effect of its own for each study.
    qe_wald_df : k - p less the studies without a finite effect of their own.
    """

    measure: str
    model: str
    k: int
    k_total: int
    informative: tuple[bool, ...]
    common: GlmmFit
    random: GlmmFit
    tau2_low: float
    tau2_high: float
    typical: float
    i2: float
    h2: float
    qe_df: int
    qe_lrt: float
    qe_lrt_p: float
    qe_wald_df: int
    qe_wald: float
    qe_wald_p: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Own:
    """Each study's own effect: with 1/2 added to zero cells, and by maximum likelihood."""

    yi: Floats
    vi: Floats
    mle: Floats
    mle_vi: Floats
    saturated: float


def glmm(
    measure: str,
    model: str,
    counts: Mapping[str, Floats],
    *,
    x: Floats | None = None,
    level: float = 0.95,
    interval: bool = True,
) -> Glmm:
    """Fit a model to counts, without and with variance between studies.

    Parameters
    ----------
    measure, model : keys of MODELS.
    counts : arrays (k,) named as in FIELDS: whole numbers of events (and non-events, bi and
        di), positive person-time.
    x : design matrix (k, p) with its intercept column; None: intercept only.
    level : of the exact and the profile likelihood interval, a fraction.
    interval : whether to compute the profile likelihood interval of tau2.

    Raises
    ------
    ValueError
        for unknown models, impossible counts, a design of another length or not of full rank.
    """
    if model not in MODELS.get(measure, {}):
        raise ValueError(f"no model {model!r} for {measure!r}: see MODELS")
    data = _checked(measure, counts)
    total = len(next(iter(data.values())))
    design = np.ones((total, 1)) if x is None else np.asarray(x, dtype=np.float64)
    if design.ndim != 2 or len(design) != total:
        raise ValueError(f"the design has shape {design.shape}, not ({total}, p)")
    kept = _informative(measure, model, data)
    notes = _left_out(measure, model, kept)
    data = {name: values[kept] for name, values in data.items()}
    design = design[kept]
    k, p = design.shape
    if k and np.linalg.matrix_rank(design) < p:
        raise ValueError("the design is not of full rank")
    if k == 0:
        return _nothing(measure, model, kept, p, notes)
    fit = _Fit(measure, model, data, design, level)
    own = _own(fit)
    end = _end(fit)
    if end:
        return _at_the_end(fit, end, own, kept, notes)
    common_maximum = _common(fit, own)
    common = _result(fit, common_maximum, random=False)
    random, low, high = _random(fit, own, common_maximum, common, interval=interval)
    return _together(fit, own, common, random, (low, high), kept, notes)


@dataclass(frozen=True, slots=True)
class _Fit:
    """What is fitted: the informative studies only."""

    measure: str
    model: str
    data: Mapping[str, Floats]
    x: Floats
    level: float

    @property
    def k(self) -> int:
        return len(self.x)

    @property
    def p(self) -> int:
        return int(self.x.shape[1])


def _checked(measure: str, counts: Mapping[str, Floats]) -> dict[str, Floats]:
    names = FIELDS[measure]
    data = {name: np.asarray(counts[name], dtype=np.float64) for name in names}
    if len({values.shape for values in data.values()}) != 1 or data[names[0]].ndim != 1:
        raise ValueError(f"{', '.join(names)} are not vectors of one length")
    for name, values in data.items():
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"{name}: missing, infinite or negative")
        if name.startswith("t"):
            if (values <= 0).any():
                raise ValueError(f"{name}: person-time is not positive")
        elif (values != np.floor(values)).any():
            raise ValueError(f"{name}: not whole")
    if measure == "PLO" and (data["xi"] > data["ni"]).any():
        raise ValueError("xi: more events than ni")
    return data


def _informative(measure: str, model: str, data: Mapping[str, Floats]) -> Mask:
    """Mask of the studies whose likelihood depends on the effect."""
    if measure == "PLO":
        return np.asarray(data["ni"] > 0)
    if measure == "IRLN":
        return np.ones(len(data["xi"]), dtype=bool)
    if measure == "IRR":
        return np.asarray((data["x1i"] + data["x2i"] > 0) | (model == "UM.RS"))
    ai, bi, ci, di = (data[name] for name in FIELDS["OR"])
    if model == "UM.RS":
        return np.asarray(ai + bi + ci + di > 0)
    return np.asarray((ai + bi > 0) & (ci + di > 0) & (ai + ci > 0) & (bi + di > 0))


def _left_out(measure: str, model: str, kept: Mask) -> tuple[str, ...]:
    rows = ", ".join(str(row + 1) for row in np.flatnonzero(~kept))
    if not rows:
        return ()
    why = {
        "PLO": "nobody was observed",
        "IRR": "no events in either group",
        "OR": "an empty group, or no events or only events in both groups",
    }[measure]
    return (f"no information for {model} in rows {rows}: {why}",)


def _problem(fit: _Fit, *, effect: bool = True) -> Problem:
    """The likelihood; `effect`: with the random effect of the treatment (UM.RS has another)."""
    one = np.ones((1, 1))
    zero = np.zeros((fit.k, 1))
    data = fit.data
    if fit.measure == "PLO":
        terms = binomial(data["xi"][:, None], data["ni"][:, None])
        return Problem(terms, zero, one, one, (fit.x,))
    if fit.measure == "IRLN":
        return Problem(
            poisson(data["xi"][:, None]), np.log(data["ti"])[:, None], one, one, (fit.x,)
        )
    if fit.model not in UNCONDITIONAL:
        terms, offset = _conditional(fit)
        return Problem(terms, offset, one, one, (fit.x,))
    terms, offset = _arms(fit)
    fixed = np.array([[1.0, 1.0], [0.0, 1.0]])
    half = np.array([[0.5], [-0.5]])
    if fit.model == "UM.FS":
        return Problem(terms, offset, fixed, half, (fit.x, None))
    both = np.ones((2, 1))
    random = np.hstack([both, half]) if effect else both
    return Problem(terms, offset, fixed, random, (fit.x, np.ones((fit.k, 1))))


def _arms(fit: _Fit) -> tuple[Terms, Floats]:
    """Likelihood of two arms, and their offsets (k, 2)."""
    if fit.measure == "OR":
        ai, bi, ci, di = (fit.data[name] for name in FIELDS["OR"])
        terms = binomial(np.column_stack([ai, ci]), np.column_stack([ai + bi, ci + di]))
        return terms, np.zeros((fit.k, 2))
    x1i, t1i, x2i, t2i = (fit.data[name] for name in FIELDS["IRR"])
    return poisson(np.column_stack([x1i, x2i])), np.log(np.column_stack([t1i, t2i]))


def _conditional(fit: _Fit, *, approximate: bool | None = None) -> tuple[Terms, Floats]:
    """Likelihood given the total of events, and its offset (k, 1)."""
    if approximate is None:
        approximate = fit.model == "CM.AL"
    if fit.measure == "IRR":
        x1i, t1i, x2i, t2i = (fit.data[name][:, None] for name in FIELDS["IRR"])
        return binomial(x1i, x1i + x2i), np.log(t1i / t2i)
    ai, bi, ci, di = (fit.data[name] for name in FIELDS["OR"])
    if approximate:
        offset = np.log((ai + bi) / (ci + di))[:, None]
        return binomial(ai[:, None], (ai + ci)[:, None]), offset
    return hypergeometric(ai, ai + bi, ci, ci + di), np.zeros((fit.k, 1))


def _own(fit: _Fit) -> _Own:
    """Each study's own effect and the log-likelihood of the model that has one for each."""
    data = fit.data
    if fit.measure == "PLO":
        cells = np.stack([data["xi"], data["ni"] - data["xi"]])
        signs, shift = np.array([1.0, -1.0]), np.zeros(fit.k)
    elif fit.measure == "IRLN":
        cells, signs, shift = data["xi"][None], np.ones(1), -np.log(data["ti"])
    elif fit.measure == "IRR":
        cells = np.stack([data["x1i"], data["x2i"]])
        signs, shift = np.array([1.0, -1.0]), np.log(data["t2i"] / data["t1i"])
    else:
        cells = np.stack([data[name] for name in FIELDS["OR"]])
        signs, shift = np.array([1.0, -1.0, -1.0, 1.0]), np.zeros(fit.k)
    filled = cells + 0.5 * (cells == 0).any(axis=0)
    yi, vi = signs @ np.log(filled) + shift, (1 / filled).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # zero cells: no finite effect
        mle, mle_vi = signs @ np.log(cells) + shift, (1 / cells).sum(axis=0)
        if fit.model == "CM.AL":
            ai, bi, ci, di = cells
            mle = np.log(ai / (ai + bi)) - np.log(ci / (ci + di))
            mle_vi = 1 / ai + 1 / ci
    if fit.measure == "OR" and fit.model == "CM.EL":
        mle, mle_vi, saturated = _conditional_own(fit, yi)
    else:
        saturated = _saturated(fit)
    finite = np.isfinite(mle_vi)
    return _Own(yi, vi, np.where(finite, mle, NAN), np.where(finite, mle_vi, NAN), saturated)


def _saturated(fit: _Fit) -> float:
    """Largest log-likelihood that any probabilities or rates could give."""
    data = fit.data
    if fit.measure == "PLO":
        return _best_binomial(data["xi"], data["ni"])
    if fit.measure == "IRLN":
        return _best_poisson(data["xi"])
    if fit.measure == "IRR":
        x1i, x2i = data["x1i"], data["x2i"]
        if fit.model in UNCONDITIONAL:
            return _best_poisson(x1i) + _best_poisson(x2i)
        return _best_binomial(x1i, x1i + x2i)
    ai, bi, ci, di = (data[name] for name in FIELDS["OR"])
    if fit.model == "CM.AL":
        return _best_binomial(ai, ai + ci)
    return _best_binomial(ai, ai + bi) + _best_binomial(ci, ci + di)


def _best_binomial(xi: Floats, ni: Floats) -> float:
    size = np.maximum(ni, 1)
    best = log_binomial(ni, xi) + xlogy(xi, xi / size) + xlogy(ni - xi, (ni - xi) / size)
    return float(best.sum())


def _best_poisson(xi: Floats) -> float:
    return float((xlogy(xi, xi) - xi - gammaln(xi + 1)).sum())


def _conditional_own(fit: _Fit, yi: Floats) -> tuple[Floats, Floats, float]:
    """Conditional maximum likelihood estimate of each study, variance, log-likelihood."""
    low, high = _ends(fit)
    inner = ~(low | high)
    mle, vi = np.full(fit.k, NAN), np.full(fit.k, NAN)
    if not inner.any():
        return mle, vi, 0.0
    part = _Fit(
        fit.measure,
        fit.model,
        {name: values[inner] for name, values in fit.data.items()},
        fit.x[inner],
        fit.level,
    )
    terms, offset = _conditional(part)
    one = np.ones((1, 1))
    start = Point(np.zeros((1, 0)), np.zeros((1, 1)), yi[inner][None])
    # At an end of the support the likelihood rises to 1: nothing to add there.
    point, at, _ = climb(Problem(terms, offset, one, one, (None,)), start)
    mle[inner], vi[inner] = point.nu[0], -1 / at.curve[0]
    return mle, vi, float(at.value[0])


def _ends(fit: _Fit) -> tuple[Mask, Mask]:
    """Masks of the studies whose likelihood rises for ever as the effect falls, or rises."""
    data = fit.data
    if fit.measure == "PLO":
        return data["xi"] == 0, data["xi"] == data["ni"]
    if fit.measure == "IRLN":
        return data["xi"] == 0, np.zeros(fit.k, dtype=bool)
    if fit.measure == "IRR":
        return data["x1i"] == 0, data["x2i"] == 0
    ai, bi, ci, di = (data[name] for name in FIELDS["OR"])
    if fit.model == "CM.AL":
        return ai == 0, ci == 0
    return (ai == 0) | (di == 0), (bi == 0) | (ci == 0)


def _end(fit: _Fit) -> int:
    """-1 or 1 if the estimate of the (only) coefficient is minus or plus infinity, else 0."""
    if fit.p > 1:
        return 0
    low, high = _ends(fit)
    if fit.model == "UM.RS" and fit.measure == "OR":
        # one intercept for all: the same cell must be empty in all studies
        empty = {name: not fit.data[name].any() for name in FIELDS["OR"]}
        return (empty["bi"] or empty["ci"]) - (empty["ai"] or empty["di"])
    return int(high.all()) - int(low.all())


def _exact(fit: _Fit, end: int) -> tuple[float, float]:
    """Finite end of the exact interval of one common effect, and the p-value against 0.

    All studies are at the same end of their support; so the probability of the data is that of
    the tail. For one group this is Clopper and Pearson's interval (1934,
    doi:10.1093/biomet/26.4.404) or Garwood's (1936, doi:10.1093/biomet/28.3-4.437) of the
    totals, for two groups that of the conditional distribution.
    """
    if fit.measure in ("PLO", "IRLN"):
        problem = _problem(fit)
        terms, offset = problem.terms, problem.offset
    else:
        terms, offset = _conditional(fit)
    rows = np.arange(fit.k)

    def tail(effect: float) -> float:
        return float(terms(rows, (offset + effect)[..., None])[0].sum())

    target = math.log((1 - fit.level) / 2)
    # falls as the effect leaves the end; a logit or log rate beyond 700 is no number any more
    near, far = end * 700.0, -end * 700.0
    for _ in range(200):
        middle = 0.5 * (near + far)
        if tail(middle) > target:
            near = middle
        else:
            far = middle
    return 0.5 * (near + far), min(1.0, 2 * math.exp(tail(0.0)))


def _start(problem: Problem, fit: _Fit, own: _Own, effects: int) -> Point:
    beta = np.asarray(np.linalg.lstsq(fit.x, own.yi, rcond=None)[0], dtype=np.float64)
    if fit.model not in UNCONDITIONAL:
        return Point(beta[None], np.zeros((1, effects)), np.zeros((1, 0)))
    if fit.measure == "OR":
        base = np.log((fit.data["ci"] + 0.5) / (fit.data["di"] + 0.5))
    else:
        base = np.log((fit.data["x2i"] + 0.5) / fit.data["t2i"])
    if problem.free is not None:
        return Point(beta[None], np.zeros((1, effects)), base[None])
    return Point(np.append(beta, base.mean())[None], np.zeros((1, effects)), np.zeros((1, 0)))


def _common(fit: _Fit, own: _Own) -> Maximum:
    problem = _problem(fit, effect=False)
    start = _start(problem, fit, own, 1)
    return (with_effect if fit.model == "UM.RS" else without_effects)(problem, start)


def _criteria(fit: _Fit, loglik: float, *, random: bool) -> tuple[float, float, float]:
    """AIC, BIC and AICc."""
    extra = {"UM.FS": fit.k, "UM.RS": 2}.get(fit.model, 0)
    count = fit.p + extra + random
    n = 2 * fit.k if fit.model in UNCONDITIONAL else fit.k
    size = max(n, count + 2)
    return (
        2 * count - 2 * loglik,
        count * math.log(n) - 2 * loglik,
        2 * count * size / (size - count - 1) - 2 * loglik,
    )


def _result(fit: _Fit, found: Maximum, *, random: bool) -> GlmmFit:
    p = fit.p
    if not found.inside:
        why = (
            "not estimable: the likelihood has no maximum at a finite tau2"
            if random
            else "not estimable: the likelihood has no maximum at finite coefficients"
        )
        return _none(p, why)
    notes = []
    if random and found.maxima > 1:
        notes.append(
            f"the profile likelihood of tau2 has {found.maxima} maxima: the highest is taken"
        )
    scale, se = found.point.scale[0], found.se_scale
    tau = float(scale[-1]) if random else 0.0
    if random and tau == 0:
        notes.append("tau2 is 0: the likelihood is highest on the boundary")
    sigma2 = float(scale[0]) ** 2 if fit.model == "UM.RS" else NAN
    if sigma2 == 0:
        notes.append("the variance of the studies' intercepts is 0: the boundary")
    # half of the nodes wrong in the third digit: then all of them in the sixth
    if found.error > 1e-3:
        notes.append(f"quadrature with {found.nodes} nodes is not exact to all printed digits")
    aic, bic, aicc = _criteria(fit, found.value, random=random)
    return GlmmFit(
        coefficients=found.point.beta[0, :p],
        covariance=found.covariance[:p, :p],
        tau2=tau * tau,
        se_tau2=2 * tau * float(se[-1]) if random and tau > 0 else NAN,
        sigma2=sigma2,
        low=NAN,
        high=NAN,
        p=NAN,
        loglik=found.value,
        aic=aic,
        bic=bic,
        aicc=aicc,
        nodes=found.nodes,
        error=found.error,
        notes=tuple(notes),
    )


def _none(p: int, *notes: str) -> GlmmFit:
    return GlmmFit(
        coefficients=np.full(p, NAN),
        covariance=np.full((p, p), NAN),
        tau2=NAN,
        se_tau2=NAN,
        sigma2=NAN,
        low=NAN,
        high=NAN,
        p=NAN,
        loglik=NAN,
        aic=NAN,
        bic=NAN,
        aicc=NAN,
        nodes=0,
        error=NAN,
        notes=notes,
    )


def _unidentified(fit: _Fit) -> str:
    """Why tau2 cannot be estimated; empty if it can."""
    if fit.k <= fit.p:
        return f"tau2 is not estimable: {fit.k} studies for {fit.p} coefficients"
    most = {
        "PLO": lambda data: data["ni"],
        "IRR": lambda data: data["x1i"] + data["x2i"],
        "OR": lambda data: np.minimum(
            np.minimum(data["ai"] + data["bi"], data["ci"] + data["di"]),
            np.minimum(data["ai"] + data["ci"], data["bi"] + data["di"]),
        ),
    }.get(fit.measure)
    if fit.model != "UM.RS" and most is not None and (most(fit.data) <= 1).all():
        return "tau2 is not estimable: no study has more than one event to tell it from chance"
    low, high = _ends(fit)
    if fit.model not in UNCONDITIONAL and (low | high).all():
        return "tau2 is not estimable: every study has an effect of minus or plus infinity"
    return ""


def _random(
    fit: _Fit, own: _Own, common: Maximum, alone: GlmmFit, *, interval: bool
) -> tuple[GlmmFit, float, float]:
    """Fit with variance between studies, and the interval of tau2."""
    if why := _unidentified(fit):
        return _none(fit.p, why), NAN, NAN
    if not common.inside:
        return _none(fit.p, *alone.notes), NAN, NAN
    problem = _problem(fit)
    if fit.model == "UM.RS":
        first = float(common.point.scale[0, 0])
        found = with_two_effects(problem, common.point, first)
        return _result(fit, found, random=True), NAN, NAN
    # far enough for both ends of the interval
    margin = 1 + 0.5 * float(chdtri(1, 1 - fit.level))
    ceiling = _ceiling(fit, problem, own)
    found = with_effect(problem, common.point, ceiling, max(margin, 6.0))
    fitted = _result(fit, found, random=True)
    if not interval or not found.inside:
        return fitted, NAN, NAN
    low, high = profile_interval(problem, found, fit.level)
    return fitted, low * low, high * high


def _ceiling(fit: _Fit, problem: Problem, own: _Own) -> Callable[[float], float]:
    """Upper bound of the log-likelihood at a standard deviation tau, falling in tau.

    Let h(d) be the largest probability of a study's counts if its own effect is d. The normal
    density is at most 1 / (tau sqrt(2 pi)); so the study's likelihood is at most that times the
    integral of h, which is log-concave and so lies below the least of its maximum and two
    tangents (of log h, one standard error off the maximum).
    """
    # an infinite effect of its own: no bound but 1
    inner = np.flatnonzero(np.isfinite(own.mle_vi))
    if not inner.size:
        return lambda tau: 0.0
    se = np.sqrt(own.mle_vi[inner])
    height, tangents = None, np.zeros(len(inner))
    for off in (0.0, -1.0, 1.0):
        value, incline = _best_given(problem, inner, own.mle[inner] + off * se)
        if height is None:
            height = value
        else:
            tangents += np.exp(value - height) / np.abs(incline)
    assert height is not None
    area = height + np.log(2 * se + tangents)

    def ceiling(tau: float) -> float:
        limit = area - math.log(tau * math.sqrt(2 * math.pi))
        return float(np.minimum(limit, height).sum())

    return ceiling


def _best_given(problem: Problem, rows: Rows, effect: Floats) -> tuple[Floats, Floats]:
    """Logarithm of h of some studies at their `effect`, and its derivative."""
    offset = problem.offset[rows] + np.outer(effect, problem.fixed[:, 0])
    if problem.free is not None:
        only = Problem(
            terms=lambda part, eta: problem.terms(rows[part], eta),
            offset=offset,
            fixed=problem.fixed[:, [problem.free]],
            random=problem.random,
            designs=(None,),
        )
        start = Point(np.zeros((1, 0)), np.zeros((1, 1)), -offset.mean(axis=1)[None])
        offset = offset + climb(only, start)[0].nu[0][:, None]
    value, slope, _ = problem.terms(rows, offset[..., None])
    return value.sum(axis=(1, 2)), slope[:, :, 0] @ problem.fixed[:, 0]


def _typical(fit: _Fit, own: _Own) -> float:
    """Typical sampling variance (Higgins & Thompson 2002, eq. 9; doi:10.1002/sim.1186)."""
    if fit.k <= fit.p:
        return NAN
    wi, x = 1 / own.vi, fit.x
    weighted = x * wi[:, None]
    trace = wi.sum() - np.trace(np.linalg.solve(x.T @ weighted, weighted.T @ weighted))
    return float((fit.k - fit.p) / trace)


def _wald_test(fit: _Fit, own: _Own) -> tuple[float, int]:
    """Wald statistic of equal effects and its degrees of freedom."""
    use = np.isfinite(own.mle_vi)
    df = int(use.sum()) - fit.p
    if fit.model == "UM.RS" or df < 1 or np.linalg.matrix_rank(fit.x[use]) < fit.p:
        return NAN, max(df, 0)
    root = 1 / np.sqrt(own.mle_vi[use])
    x, y = fit.x[use] * root[:, None], own.mle[use] * root
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(residual @ residual), df


def _lrt(fit: _Fit, own: _Own, common: GlmmFit) -> float:
    if fit.k <= fit.p:
        return NAN
    saturated = _saturated_intercepts(fit, own) if fit.model == "UM.RS" else own.saturated
    return max(0.0, 2 * (saturated - common.loglik))


def _saturated_intercepts(fit: _Fit, own: _Own) -> float:
    """Log-likelihood of random intercepts with a free effect in each study.

    A treated arm without events or with events only has an infinite effect and probability 1.
    """
    if fit.measure == "OR":
        ai, bi, ci, di = (fit.data[name] for name in FIELDS["OR"])
        treated = np.where((ai == 0) | (bi == 0), 0.0, 1.0)
        terms = binomial(
            np.column_stack([ai * treated, ci]),
            np.column_stack([(ai + bi) * treated, ci + di]),
        )
        offset = np.zeros((fit.k, 2))
    else:
        x1i, t1i, x2i, t2i = (fit.data[name] for name in FIELDS["IRR"])
        terms = poisson(np.column_stack([x1i, x2i]))
        # exp(-600) is a rate of nothing
        offset = np.column_stack([np.where(x1i == 0, -600.0, np.log(t1i)), np.log(t2i)])
    fixed = np.array([[1.0, 1.0], [0.0, 1.0]])
    problem = Problem(terms, offset, fixed, np.ones((2, 1)), (None, np.ones((fit.k, 1))))
    base = _start(problem, fit, own, 1).nu[0]
    start = Point(np.array([[base.mean()]]), np.zeros((1, 1)), own.yi[None])
    found = with_effect(problem, start)
    return found.value if found.inside else NAN


def _p(statistic: float, df: int) -> float:
    return float(chdtrc(df, statistic)) if df > 0 and not math.isnan(statistic) else NAN


def _together(
    fit: _Fit,
    own: _Own,
    common: GlmmFit,
    random: GlmmFit,
    interval: tuple[float, float],
    kept: Mask,
    notes: tuple[str, ...],
) -> Glmm:
    wald_statistic, wald_df = _wald_test(fit, own)
    lrt, df = _lrt(fit, own, common), fit.k - fit.p
    typical = _typical(fit, own)
    if fit.model == "UM.RS":
        notes = (*notes, "no Wald test of heterogeneity and no interval of tau2 for UM.RS")
    elif 0 < wald_df < df:
        notes = (
            *notes,
            f"Wald test of heterogeneity without {df - wald_df} studies of infinite effect",
        )
    if math.isinf(interval[1]):
        notes = (*notes, "the profile likelihood interval of tau2 has no upper end")
    return Glmm(
        measure=fit.measure,
        model=fit.model,
        k=fit.k,
        k_total=len(kept),
        informative=tuple(bool(one) for one in kept),
        common=common,
        random=random,
        tau2_low=interval[0],
        tau2_high=interval[1],
        typical=typical,
        i2=100 * (random.tau2 / (random.tau2 + typical)),
        h2=random.tau2 / typical + 1,
        qe_df=df,
        qe_lrt=lrt,
        qe_lrt_p=_p(lrt, df),
        qe_wald_df=wald_df,
        qe_wald=wald_statistic,
        qe_wald_p=_p(wald_statistic, wald_df),
        notes=notes,
    )


def _at_the_end(fit: _Fit, end: int, own: _Own, kept: Mask, notes: tuple[str, ...]) -> Glmm:
    """The estimate is infinite: an exact interval with one finite end."""
    bound, p = _exact(fit, end)
    if fit.measure in ("PLO", "IRLN"):
        what = "no study has an event" if end < 0 else "every study has events only"
    else:
        side = "minus" if end < 0 else "plus"
        what = f"the effect of every informative study is {side} infinity"
    note = f"{what}; exact interval of one effect common to all studies, tau2 is not estimable"
    result = GlmmFit(
        coefficients=np.array([end * math.inf]),
        covariance=np.full((1, 1), NAN),
        tau2=NAN,
        se_tau2=NAN,
        sigma2=NAN,
        low=-math.inf if end < 0 else bound,
        high=bound if end < 0 else math.inf,
        p=p,
        loglik=NAN,
        aic=NAN,
        bic=NAN,
        aicc=NAN,
        nodes=0,
        error=NAN,
        notes=(note,),
    )
    return Glmm(
        measure=fit.measure,
        model=fit.model,
        k=fit.k,
        k_total=len(kept),
        informative=tuple(bool(one) for one in kept),
        common=result,
        random=result,
        tau2_low=NAN,
        tau2_high=NAN,
        typical=_typical(fit, own),
        i2=NAN,
        h2=NAN,
        qe_df=fit.k - 1,
        qe_lrt=NAN,
        qe_lrt_p=NAN,
        qe_wald_df=0,
        qe_wald=NAN,
        qe_wald_p=NAN,
        notes=notes,
    )


def _nothing(measure: str, model: str, kept: Mask, p: int, notes: tuple[str, ...]) -> Glmm:
    none = _none(p, "not estimable: no study has information on the effect")
    return Glmm(
        measure=measure,
        model=model,
        k=0,
        k_total=len(kept),
        informative=tuple(bool(one) for one in kept),
        common=none,
        random=none,
        tau2_low=NAN,
        tau2_high=NAN,
        typical=NAN,
        i2=NAN,
        h2=NAN,
        qe_df=0,
        qe_lrt=NAN,
        qe_lrt_p=NAN,
        qe_wald_df=0,
        qe_wald=NAN,
        qe_wald_p=NAN,
        notes=notes,
    )


def estimates(
    found: Glmm, *, level: float, null: float | None, prediction: str = "V"
) -> tuple[Estimate, ...]:
    """Rows of the first coefficient: common z, random z, random t with k - p df.

    `level` is that of the fit where an estimate is infinite. `null` None: no test. `prediction`
    is a key of SPENT; no prediction interval below k = 3.
    """
    rows = [_row(found, found.common, "common", "z", level, null, NAN)]
    if found.k > 1:
        half = _prediction_half(found, level, prediction)
        rows += [
            _row(found, found.random, "random", test, level, null, half) for test in ("z", "t")
        ]
    return tuple(rows)


def _prediction_half(found: Glmm, level: float, prediction: str) -> float:
    p = len(found.random.coefficients)
    spent = SPENT[prediction]
    if found.k < FEWEST_FOR_PREDICTION or (spent is not None and found.k - p - spent + 1 < 1):
        return NAN
    df = NAN if spent is None else found.k - p - spent + 1.0
    variance = float(found.random.covariance[0, 0]) + found.random.tau2
    return quantile(level, df) * math.sqrt(variance)


def _row(
    found: Glmm,
    fit: GlmmFit,
    model: str,
    test: str,
    level: float,
    null: float | None,
    half: float,
) -> Estimate:
    notes = (*found.notes, *fit.notes)
    if model == "random" and found.k == 2:
        notes = (*notes, "two studies: not a summary of a population of studies")
    if not math.isnan(fit.low):
        return Estimate(
            model=model,
            method=found.model,
            test=test,
            k=found.k,
            estimate=float(fit.coefficients[0]),
            se=NAN,
            ci_low=fit.low,
            ci_high=fit.high,
            pi_low=NAN,
            pi_high=NAN,
            statistic=NAN,
            df=NAN,
            p=NAN if null is None else fit.p,
            tau2=NAN,
            notes=notes,
        )
    df = float(found.k - len(fit.coefficients)) if test == "t" else NAN
    if df < 1:
        notes = (*notes, "no t interval without degrees of freedom")
    return wald(
        model=model,
        method=found.model,
        test=test,
        k=found.k,
        estimate=float(fit.coefficients[0]),
        se=math.sqrt(fit.covariance[0, 0]),
        level=level,
        df=df,
        null=null,
        tau2=fit.tau2,
        pi_half=half,
        notes=notes,
    )
