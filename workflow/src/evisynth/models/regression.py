"""Meta-regression: the normal-normal model with moderators, and what can be asked of it.

The model is yi ~ N(xi b, vi + tau2), fitted by weighted least squares with the weights
1 / (vi + tau2) for an estimate of tau2 (Berkey et al. 1995, doi:10.1002/sim.4780140406; van
Houwelingen et al. 2002, doi:10.1002/sim.1040). All numbers are on the analysis scale.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtrc, fdtrc

from evisynth import linear, tau2
from evisynth.inference import NAN, quantile, two_sided_p
from evisynth.models.design import INTERCEPT, Design, DesignError, Term, dependencies
from evisynth.records import Floats

TESTS = ("z", "t", "knha", "adhoc")
LIKELIHOODS = ("IV", "ML", "REML")
# Studies per moderator below which a regression is fragile (Cochrane Handbook 10.11.4).
FEW_PER_MODERATOR = 10
# Residuals smaller than this share of the effects, as distances from one of them, are zero.
ROUNDING = 1e-14
# Largest share of a combination of coefficients outside of what the reduced model can express.
NESTED = 1e-8


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient, or a linear combination of coefficients, with its test against 0.

    `df` is nan where the distribution is normal.
    """

    name: str
    estimate: float
    se: float
    statistic: float
    df: float
    p: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, slots=True)
class JointTest:
    """Wald-type test that several combinations of coefficients are 0.

    Attributes
    ----------
    names : what is tested.
    statistic : chi-squared on `df` where `df2` is nan, otherwise F on `df` and `df2`.
    """

    name: str
    names: tuple[str, ...]
    statistic: float
    df: int
    df2: float
    p: float


@dataclass(frozen=True, slots=True)
class Vif:
    """(Generalised) variance inflation factor of a term with `df` columns.

    `per_df` is its root of order 2 df, comparable between terms (Fox & Monette 1992).
    """

    term: str
    df: int
    vif: float
    per_df: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Maximised (restricted) log-likelihood with all constants, and criteria from it."""

    log: float
    parameters: int
    aic: float
    bic: float
    aicc: float


@dataclass(frozen=True, slots=True)
class RegressionFit:
    """A meta-regression; numbers on the analysis scale, r2 and i2 in per cent.

    Attributes
    ----------
    method : ``IV`` (no variance between studies), ``fixed`` (given tau2), else the key of the
        tau2 estimator.
    test : ``z``, ``t``, ``knha`` or ``adhoc``.
    level : of all intervals, as a fraction.
    k, p : studies and coefficients.
    coefficients : one per column of the design, in its order.
    covariance : (p, p), with the factor of the test.
    s2w : the factor of Knapp & Hartung before any floor; the covariance is multiplied by
        `factor`.
    df : k - p for all tests but z, nan there.
    tau2, se_tau2 : residual variance between studies.
    qe, qe_df, qe_p : residual heterogeneity (Q with the weights 1 / vi).
    i2, h2, typical : residual, from tau2 and the typical variance; from qe for ``IV``.
    r2 : share of tau2 that the moderators explain, truncated at 0; `r2_raw` is not truncated.
    tau2_without : tau2 by the same estimator without moderators.
    omnibus : test of all coefficients but the intercept, or of those that were asked for.
    terms : the same for each term.
    problem : data and design in the form in which they were fitted.
    notes : every caveat.
    """

    method: str
    test: str
    level: float
    k: int
    p: int
    design: Design
    coefficients: tuple[Coefficient, ...]
    covariance: Floats
    s2w: float
    factor: float
    df: float
    tau2: float
    se_tau2: float
    tau2_without: float
    qe: float
    qe_df: int
    qe_p: float
    i2: float
    h2: float
    typical: float
    r2: float
    r2_raw: float
    omnibus: JointTest
    terms: tuple[JointTest, ...]
    vif: tuple[Vif, ...]
    likelihood: Likelihood
    weights: Floats
    yi: Floats
    vi: Floats
    problem: linear.Problem
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """Mean effect for one combination of moderators; nan where not estimable.

    The prediction interval is for the true effect of a new study with these moderators.
    """

    estimate: float
    se: float
    df: float
    ci_low: float
    ci_high: float
    pi_low: float
    pi_high: float


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """Likelihood ratio test of a model nested in another; `r2` in per cent from their tau2."""

    statistic: float
    df: int
    p: float
    r2: float


@dataclass(frozen=True, slots=True)
class Residuals:
    """Residuals, each of shape (k,), in the order of the studies in the model.

    Attributes
    ----------
    raw : yi minus fitted value.
    se, standardised : standard error of the raw residual, and their ratio.
    pearson : raw divided by the root of vi + tau2.
    cholesky : pearson for these models, in which effects are independent.
    deleted, deleted_se, studentised : from the model without the study (Viechtbauer & Cheung
        2010, doi:10.1002/jrsm.11), times the factor of the test.
    hat : leverages.
    weights : per cent.
    """

    raw: Floats
    se: Floats
    standardised: Floats
    pearson: Floats
    cholesky: Floats
    deleted: Floats
    deleted_se: Floats
    studentised: Floats
    hat: Floats
    weights: Floats
    notes: tuple[str, ...]


def columns_as_design(x: Floats, names: Sequence[str]) -> Design:
    """A design from a matrix (k, p) whose columns are terms of their own.

    An intercept is a column of ones that is named ``intercept``. Predictions from such a design
    take rows, not covariates.
    """
    x = np.array(x, dtype=float)
    if x.ndim != 2 or x.shape[1] != len(names):
        raise ValueError(f"x of shape {x.shape} does not fit {len(names)} names of columns")
    if dependent := dependencies(x, names):
        raise DesignError("; ".join(dependent))
    x.setflags(write=False)
    return Design(
        formula=" + ".join(names),
        x=x,
        names=tuple(names),
        terms=tuple(Term(name, (place,)) for place, name in enumerate(names)),
        kept=np.ones(len(x), dtype=bool),
        variables=(),
        notes=(),
        spec=None,
    )


def _check(yi: Floats, vi: Floats, design: Design, test: str, level: float) -> None:
    k, p = design.x.shape
    if yi.shape != (k,) or vi.shape != (k,):
        raise ValueError(
            f"yi and vi must have one entry per row of the design, ({k},), not {yi.shape}, "
            f"{vi.shape}: take those of design.kept"
        )
    if test not in TESTS:
        raise ValueError(f"test must be one of {', '.join(TESTS)}, not {test!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    if k <= p:
        raise DesignError(
            f"{k} studies are too few for {p} coefficients ({', '.join(design.names)}): "
            "take fewer moderators"
        )


def constant_of(design: Design) -> Floats | None:
    """Coefficients (p,) that make a constant of 1; None if the design holds none."""
    if design.intercept:
        return np.array([float(name == INTERCEPT) for name in design.names])
    ones = np.ones(len(design.x))
    shares, *_ = np.linalg.lstsq(design.x, ones, rcond=None)
    fits = np.abs(design.x @ shares - 1).max() < 1e-12 * len(design.names)
    return np.round(shares, 12) if fits else None


def combinations(
    data: linear.Problem, tau2: float, rows: Floats, constant: Floats | None
) -> tuple[Floats, Floats]:
    """Values (m,) of the combinations `rows` (m, p) of coefficients, and their covariance.

    Computed from the fitted values of the basis studies rather than from the coefficients, so
    that an intercept far from the data costs no digits. `constant` (p,): see `constant_of`.
    """
    fit = linear.at(data, data.scaled(tau2))
    inside = fit.basis.inside
    basis = np.ones((1, 1)) if data.x is None else data.x[inside]
    take = np.linalg.solve(basis.T, (rows @ data.back).T).T
    local = np.ldexp(data.yi[inside] + fit.fitted, data.exponent)
    level = 0.0 if constant is None else data.shift * (rows @ constant)
    half = take / np.sqrt(fit.wi[inside])
    covariance = np.ldexp(half @ fit.g @ half.T, 2 * data.exponent)
    values = np.asarray(take @ local + level, dtype=np.float64)
    return values, (covariance + covariance.T) / 2


def _mean_square(data: linear.Problem, value: float) -> float:
    """Weighted mean square of the residuals; 0 where they are nothing but rounding."""
    scaled = data.scaled(value)
    q = linear.at(data, scaled).q
    effects = linear.total(data.yi**2 / (data.vi + scaled))
    return q / (data.k - data.p) if q > ROUNDING**2 * effects else 0.0


def _tested(name: str, estimate: float, se: float, df: float, level: float) -> Coefficient:
    half = quantile(level, df) * se
    statistic = estimate / se if se > 0 else NAN
    return Coefficient(
        name=name,
        estimate=estimate,
        se=se if se > 0 else NAN,
        statistic=statistic,
        df=df,
        p=two_sided_p(statistic, df),
        ci_low=estimate - half if se > 0 else NAN,
        ci_high=estimate + half if se > 0 else NAN,
    )


def _joint(
    name: str, names: tuple[str, ...], values: Floats, covariance: Floats, df2: float
) -> JointTest:
    """Statistic b' V^-1 b, on m degrees of freedom, or divided by m and F distributed."""
    m = len(names)
    se = np.sqrt(np.diag(covariance))
    if not (se > 0).all():
        return JointTest(name, names, NAN, m, df2, NAN)
    # In units of standard errors, so that the scale of moderators is no matter.
    zi = values / se
    statistic = float(zi @ np.linalg.solve(covariance / np.outer(se, se), zi))
    if math.isnan(df2):
        return JointTest(name, names, statistic, m, df2, float(chdtrc(m, statistic)))
    statistic /= m
    return JointTest(name, names, statistic, m, df2, float(fdtrc(m, df2, statistic)))


def _places(design: Design, btt: Sequence[str] | None) -> list[int]:
    """Columns of the coefficients that are tested together."""
    if btt is None:
        places = [j for j, name in enumerate(design.names) if name != INTERCEPT]
        return places or [0]
    terms = {term.name: list(term.columns) for term in design.terms}
    single = {name: [place] for place, name in enumerate(design.names)}
    known = single | terms
    if unknown := [name for name in btt if name not in known]:
        raise DesignError(
            f"no term or coefficient {', '.join(unknown)} (there are: {', '.join(known)})"
        )
    return sorted({place for name in btt for place in known[name]})


def _vif(design: Design, covariance: Floats, name: str, columns: Sequence[int]) -> Vif:
    """Fox & Monette (1992, doi:10.1080/01621459.1992.10475190), the intercept left out."""
    moderators = [j for j, other in enumerate(design.names) if other != INTERCEPT]
    others = [j for j in moderators if j not in columns]
    se = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(se, se)

    def log_determinant(places: Sequence[int]) -> float:
        return float(np.linalg.slogdet(correlation[np.ix_(places, places)])[1])

    height = log_determinant(columns) + log_determinant(others) - log_determinant(moderators)
    m, vif = len(columns), math.exp(height)
    return Vif(name, m, vif, vif ** (1 / (2 * m)))


def inflation(fit: RegressionFit, names: Sequence[str]) -> Vif:
    """Variance inflation factor of some coefficients or terms, taken together.

    Raises
    ------
    DesignError
        Unknown names, the intercept, or residuals that are all zero.
    """
    places = _places(fit.design, names)
    if INTERCEPT in names or fit.factor == 0:
        raise DesignError("inflation is that of the variances of moderators, with residuals")
    return _vif(fit.design, fit.covariance, " + ".join(names), places)


def _likelihood(data: linear.Problem, method: str, value: float) -> Likelihood:
    """Criteria as in metafor: with REML the number of observations is k - p."""
    if method not in LIKELIHOODS:
        return Likelihood(NAN, 0, NAN, NAN, NAN)
    restricted = method == "REML"
    log = linear.log_likelihood(data, value, restricted=restricted)
    m = data.p + (method != "IV")
    n = data.k - data.p * restricted
    # Where there are too few studies for the correction it is that of the fewest that suffice.
    enough = max(n, m + 2)
    return Likelihood(
        log=log,
        parameters=m,
        aic=-2 * log + 2 * m,
        bic=-2 * log + m * math.log(n),
        aicc=-2 * log + 2 * m * enough / (enough - m - 1),
    )


def _explained(without: float, value: float) -> float:
    """Per cent of tau2 that moderators explain (Raudenbush 1994), not truncated."""
    return 100 * (without - value) / without if without > 0 else NAN


def _r2(
    data: linear.Problem,
    method: str,
    yi: Floats,
    vi: Floats,
    value: float,
    weights: Floats | None,
) -> tuple[float, float, list[str]]:
    """tau2 without moderators, R2 not truncated, and notes."""
    if method == "IV":
        alone = linear.generalised_q(linear.problem(yi, vi), 0.0) / (data.k - 1)
        mean = linear.generalised_q(data, 0.0) / (data.k - data.p)
        return NAN, _explained(alone, mean), []
    without = tau2.estimate(method, yi, vi, weights=weights).value
    if without == 0:
        return 0.0, NAN, ["R2 is not estimable: tau2 is 0 without the moderators as well"]
    raw = _explained(without, value)
    notes = []
    if raw < 0:
        notes.append(
            f"R2 truncated at 0 (untruncated: {raw:.6g}%): tau2 is larger with the moderators"
        )
    return without, raw, notes


def meta_regression(
    yi: Floats,
    vi: Floats,
    design: Design,
    *,
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
    btt: Sequence[str] | None = None,
    fixed: float | None = None,
    weights: Floats | None = None,
) -> RegressionFit:
    """Regress effects on moderators.

    Parameters
    ----------
    yi, vi : effects and variances of shape (k,): those of the rows that `design` keeps.
    design : from `design.design`, (k, p).
    method : ``IV`` for no variance between studies, else a key of `tau2.TAU2`; ``fixed`` in
        the result if `fixed` is given.
    test : ``z`` Wald; ``t`` the same standard errors, t and F with k - p degrees of freedom;
        ``knha`` Knapp & Hartung (2003, doi:10.1002/sim.1482), variances times the weighted mean
        square of the residuals; ``adhoc`` the same, the factor at least 1.
    level : of the intervals, as a fraction.
    btt : names of terms or coefficients to be tested together; default all but the intercept.
    fixed, weights : given tau2, weights of GENQ: passed on to `tau2.estimate`.

    R2 is Raudenbush's (1994), tau2 with and without moderators from the same estimator; for
    ``IV`` it is the adjusted R2 of the weighted regression. It is not defined for designs that
    do not contain the constant.

    Raises
    ------
    DesignError
        Not more studies than coefficients; unknown names in `btt`.
    ValueError
        Shapes, level, test or method; what `linear.problem` raises.
    """
    yi, vi = np.asarray(yi, dtype=float), np.asarray(vi, dtype=float)
    _check(yi, vi, design, test, level)
    k, p = design.x.shape
    notes = list(design.notes)
    data = linear.problem(yi, vi, design.x)
    constant = constant_of(design)
    if fixed is not None:
        method = "fixed"
    if method == "IV":
        estimated = tau2.Tau2(0.0)
    else:
        estimated = tau2.estimate(method, yi, vi, design.x, tau2=fixed, weights=weights)
    notes += estimated.notes
    value = estimated.value
    values, covariance = combinations(data, value, np.eye(p), constant)
    s2w = _mean_square(data, value)
    factor = {"knha": s2w, "adhoc": max(1.0, s2w)}.get(test, 1.0)
    covariance = covariance * factor
    if factor == 0:
        notes.append("standard errors are not estimable: residuals are all zero")
    elif test == "knha" and s2w < 1:
        notes.append(
            f"Knapp-Hartung's standard errors are below Wald's (factor {s2w:.3g}, below 1): "
            "`test: adhoc` does not"
        )
    df = NAN if test == "z" else float(k - p)
    se = np.sqrt(np.diag(covariance))
    moderators = p - design.intercept
    if k < FEW_PER_MODERATOR * moderators:
        notes.append(
            f"{k} studies for {moderators} moderator columns: fewer than {FEW_PER_MODERATOR} "
            "studies each, so that results are fragile"
        )
    without, r2_raw = NAN, NAN
    if constant is None:
        notes.append("R2 is not defined: the design does not contain the constant")
    elif moderators and fixed is None:
        without, r2_raw, said = _r2(data, method, yi, vi, value, weights)
        notes += said
    if method not in LIKELIHOODS:
        notes.append(f"no log-likelihood, AIC and BIC: {method} does not maximise one")
    qe = linear.generalised_q(data, 0.0)
    typical = (k - p) / linear.trace_p(data, 0.0)
    wi = 1 / (data.vi + data.scaled(value))
    shares = np.empty(k)
    shares[data.order] = 100 * wi / linear.total(wi)
    places = _places(design, btt)
    terms = [term for term in design.terms if term.name != INTERCEPT]

    def joint(name: str, columns: Sequence[int]) -> JointTest:
        names = tuple(design.names[j] for j in columns)
        block = covariance[np.ix_(columns, columns)]
        return _joint(name, names, values[list(columns)], block, df)

    return RegressionFit(
        method=method,
        test=test,
        level=level,
        k=k,
        p=p,
        design=design,
        coefficients=tuple(
            _tested(name, float(b), float(s), df, level)
            for name, b, s in zip(design.names, values, se, strict=True)
        ),
        covariance=covariance,
        s2w=s2w,
        factor=factor,
        df=df,
        tau2=value,
        se_tau2=estimated.se,
        tau2_without=without,
        qe=qe,
        qe_df=k - p,
        qe_p=float(chdtrc(k - p, qe)),
        i2=100 * max(0.0, (qe - (k - p)) / qe if qe > 0 else 0.0)
        if method == "IV"
        else 100 * value / (value + typical),
        h2=qe / (k - p) if method == "IV" else value / typical + 1,
        typical=typical,
        r2=max(0.0, r2_raw) if not math.isnan(r2_raw) else NAN,
        r2_raw=r2_raw,
        omnibus=joint("moderators" if btt is None else " + ".join(btt), places),
        terms=tuple(joint(term.name, term.columns) for term in terms),
        vif=tuple(_vif(design, covariance, t.name, t.columns) for t in terms)
        if len(terms) > 1 and factor > 0
        else (),
        likelihood=_likelihood(data, method, value),
        weights=shares,
        yi=yi,
        vi=vi,
        problem=data,
        notes=tuple(dict.fromkeys(notes)),
    )


def contrasts(
    fit: RegressionFit, rows: Mapping[str, Mapping[str, float]]
) -> tuple[tuple[Coefficient, ...], JointTest]:
    """Linear combinations of coefficients, each tested against 0, and all of them together.

    `rows` gives for the name of each contrast the factors of the coefficients in it, such as
    ``{"group v individual": {"setting[group]": 1, "setting[individual]": -1}}``.

    Raises
    ------
    DesignError
        A coefficient that there is none of, no contrast, or contrasts that depend on each
        other.
    """
    names = fit.design.names
    for name, parts in rows.items():
        if unknown := sorted(parts.keys() - set(names)):
            raise DesignError(f"contrast {name}: no coefficient {', '.join(unknown)}")
    matrix = np.array([[parts.get(name, 0.0) for name in names] for parts in rows.values()])
    if not rows or np.linalg.matrix_rank(matrix) < len(rows):
        raise DesignError("contrasts must be at least one, and none may follow from the others")
    values, covariance = _combined(fit, matrix)
    se = np.sqrt(np.diag(covariance))
    single = tuple(
        _tested(name, float(b), float(s), fit.df, fit.level)
        for name, b, s in zip(rows, values, se, strict=True)
    )
    return single, _joint("contrasts", tuple(rows), values, covariance, fit.df)


def _combined(fit: RegressionFit, rows: Floats) -> tuple[Floats, Floats]:
    values, covariance = combinations(fit.problem, fit.tau2, rows, constant_of(fit.design))
    return values, covariance * fit.factor


def predict(
    fit: RegressionFit,
    new: Mapping[str, Sequence[str | float]] | Floats,
    *,
    prediction: str | None = None,
) -> tuple[Prediction, ...]:
    """Mean effects with intervals for further combinations of moderators.

    Parameters
    ----------
    new : covariates by name, or rows (m, p) of the design.
    prediction : distribution of the prediction interval: ``normal``; ``t`` with k - p degrees
        of freedom; ``HTS`` with k - p - 1 (Higgins et al. 2009). Default: that of the test.

    Prediction intervals are estimate -/+ quantile * sqrt(se^2 + tau2), with the standard error
    of the test; there is none for ``IV``.

    Raises
    ------
    DesignError
        Covariates that `Design.rows` refuses.
    ValueError
        An unknown `prediction`, rows of another shape.
    """
    dfs = {None: fit.df, "normal": NAN, "t": float(fit.k - fit.p), "HTS": fit.k - fit.p - 1.0}
    if prediction not in dfs:
        raise ValueError(f"prediction must be normal, t or HTS, not {prediction!r}")
    df = dfs[prediction]
    rows = fit.design.rows(new) if isinstance(new, Mapping) else np.asarray(new, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != fit.p:
        raise ValueError(f"rows to predict must have {fit.p} columns, not shape {rows.shape}")
    possible = fit.method != "IV" and fit.factor > 0 and not df < 1
    found = []
    for row in rows:
        values, covariance = _combined(fit, row[np.newaxis])
        value = float(values[0])
        se = math.sqrt(float(covariance[0, 0])) if fit.factor > 0 else NAN
        half = quantile(fit.level, fit.df) * se
        wide = quantile(fit.level, df) * math.hypot(se, math.sqrt(fit.tau2))
        wide = wide if possible else NAN
        found.append(
            Prediction(
                value, se, fit.df, value - half, value + half, value - wide, value + wide
            )
        )
    return tuple(found)


def likelihood_ratio(full: RegressionFit, reduced: RegressionFit) -> LikelihoodRatio:
    """Likelihood ratio test of `reduced` within `full`, chi-squared on the columns between.

    Raises
    ------
    DesignError
        Different data or methods, restricted likelihoods (which cannot be compared between
        designs), or a reduced model that is not nested in the full one.
    """
    if full.method != reduced.method or full.method not in ("ML", "IV"):
        raise DesignError(
            "a likelihood ratio test of moderators needs two models with the method ML (or "
            f"IV), not {full.method} and {reduced.method}"
        )
    if not (np.array_equal(full.yi, reduced.yi) and np.array_equal(full.vi, reduced.vi)):
        raise DesignError(
            "models fitted to different studies cannot be compared: give both the studies that "
            "have all moderators"
        )
    scale = np.abs(full.design.x).max(axis=0)
    inside = full.design.x / scale
    shares, *_ = np.linalg.lstsq(inside, reduced.design.x, rcond=None)
    left = np.abs(inside @ shares - reduced.design.x).max(axis=0)
    df = full.p - reduced.p
    if df < 1 or (left > NESTED * np.abs(reduced.design.x).max(axis=0)).any():
        raise DesignError("the reduced model is not nested in the full one")
    # Both maxima are global: only rounding could make the difference negative.
    statistic = max(0.0, 2 * (full.likelihood.log - reduced.likelihood.log))
    raw = _explained(reduced.tau2, full.tau2) if full.method == "ML" else NAN
    return LikelihoodRatio(
        statistic=statistic,
        df=df,
        p=float(chdtrc(df, statistic)),
        r2=raw if math.isnan(raw) else max(0.0, raw),
    )


def _without(fit: RegressionFit, study: int) -> tuple[float, float, str]:
    """Deleted residual of a study, its standard error, and why they are nan."""
    keep = np.arange(fit.k) != study
    x, row = fit.design.x[keep], fit.design.x[study]
    k = fit.k - 1
    if k < fit.p or linear.dependent_columns(x):
        return NAN, NAN, "its moderators are not estimable without it"
    yi, vi = fit.yi[keep], fit.vi[keep]
    data = linear.problem(yi, vi, x)
    value = 0.0
    if fit.method == "fixed":
        value = fit.tau2
    elif fit.method != "IV":
        if k == fit.p:
            return NAN, NAN, "no study is left to estimate tau2 from"
        value = tau2.estimate(fit.method, yi, vi, x).value
    constant = constant_of(replace(fit.design, x=x))
    (mean,), ((variance,),) = combinations(data, value, row[np.newaxis], constant)
    factor = 1.0
    if fit.test in ("knha", "adhoc"):
        if k == fit.p:
            return NAN, NAN, "no residual is left to estimate the factor of the test from"
        s2w = _mean_square(data, value)
        factor = s2w if fit.test == "knha" else max(1.0, s2w)
    if factor == 0:
        return NAN, NAN, "the other studies fit exactly"
    se = math.sqrt(factor * (fit.vi[study] + value + variance))
    return float(fit.yi[study] - mean), se, ""


def residuals(fit: RegressionFit, labels: Sequence[str] | None = None) -> Residuals:
    """All kinds of residuals; the model is refitted without each study once.

    `labels` name the studies in the notes. Deleted residuals are nan, with a note, for studies
    without which the model cannot be fitted. Not for ``GENQ``, whose weights a deletion would
    change: ValueError.
    """
    if fit.method in ("GENQ", "GENQM"):
        raise ValueError(f"residuals of {fit.method} would need weights for every deletion")
    weighted = linear.at(fit.problem, fit.problem.scaled(fit.tau2))
    free = np.empty(fit.k)
    free[fit.problem.order] = weighted.free
    raw = linear.residuals(fit.problem, fit.tau2)
    total = fit.vi + fit.tau2
    se = np.sqrt(total * free)
    names = labels or [f"study {row + 1}" for row in range(fit.k)]
    deleted = [_without(fit, study) for study in range(fit.k)]
    pearson = raw / np.sqrt(total)
    # A study that alone determines a coefficient is fitted exactly: 0 / 0.
    sure = free > 1e-13
    notes = [
        f"no deleted residual of {name}: {why}"
        for name, (_, _, why) in zip(names, deleted, strict=True)
        if why
    ]
    notes += [
        f"no standardised residual of {name}: it is fitted exactly"
        for name, estimable in zip(names, sure, strict=True)
        if not estimable
    ]
    resid, error = np.array([row[0] for row in deleted]), np.array([row[1] for row in deleted])
    return Residuals(
        raw=raw,
        se=np.where(sure, se, NAN),
        standardised=np.divide(raw, se, out=np.full(fit.k, NAN), where=sure),
        pearson=pearson,
        cholesky=pearson,
        deleted=resid,
        deleted_se=error,
        studentised=resid / error,
        hat=1 - free,
        weights=fit.weights,
        notes=tuple(notes),
    )


def linear_predictor(fit: RegressionFit) -> Floats:
    """Variances (k,) of the fitted means, with the factor of the test; nan where that is 0."""
    weighted = linear.at(fit.problem, fit.problem.scaled(fit.tau2))
    free = np.empty(fit.k)
    free[fit.problem.order] = weighted.free
    factor = fit.factor if fit.factor > 0 else NAN
    variances: Floats = (1 - free) * (fit.vi + fit.tau2) * factor
    return variances
