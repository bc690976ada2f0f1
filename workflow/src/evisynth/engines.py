"""The same estimates by PyMARE and statsmodels: a disagreement is a result, not a detail.

The only module that imports them. What they are known to get wrong is recognised here from the
data, and said in the row; every other disagreement has ``agrees`` false.

Tolerances are absolute, `TOLERANCE` times the scale of the quantity: tau2 plus the typical
sampling variance for tau2 and its interval, the standard error for everything about the mean.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from evisynth.families import FOURFOLD, counts, rows_for
from evisynth.heterogeneity import typical_vi
from evisynth.pooling import pool
from evisynth.records import EffectSizes, Estimate, Fit, Floats
from evisynth.specification import ModelSpec
from evisynth.tau2 import Tau2, estimate, log_likelihood

with warnings.catch_warnings():
    # sympy, which PyMARE imports, uses names that mpmath has deprecated.
    warnings.filterwarnings("ignore", r"\w+ is deprecated", DeprecationWarning)
    from pymare import Dataset
    from pymare.estimators import (
        DerSimonianLaird,
        Hedges,
        VarianceBasedLikelihoodEstimator,
        WeightedLeastSquares,
    )
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.proportion import proportion_confint

TOLERANCE: dict[str, float] = {
    # Two evaluations of one formula: rounding, times the condition of a weighted mean.
    "closed form": 1e-9,
    # Newton's method until Q is within 1e-10 of k - 1.
    "Paule-Mandel": 1e-8,
    # A maximum found from values of the likelihood is good to the square root of rounding only.
    "likelihood": 1e-6,
    # PyMARE's bisection of Q; see also Q_PROFILE_STOP.
    "Q-profile": 1e-6,
    # scipy's quantile of the beta distribution is off by 1e-11 for few events among 1e6.
    "exact interval": 1e-9,
}
# PyMARE stops its bisection at a width of about 1e-12, whatever the unit of tau2.
Q_PROFILE_STOP = 4e-12
# The smallest positive tau2 that PyMARE tries is 1e-6 of DL's plus the mean variance; a maximum
# below that is missed, and one not far above is found with few digits.
SMALLEST_TRIAL = 1e-4
# Variances outside of 1/this to this leave double precision when the engines square them twice.
EXTREME_SCALE = 1e70
ROUNDING = 64 * float(np.finfo(float).eps)

CORRECTIONS = {
    "z": "wald",
    "knha": "knapp-hartung",
    "adhoc": "knapp-hartung-conservative",
}
TAU2_OF_PYMARE: dict[str, Callable[[], Any]] = {
    "DL": DerSimonianLaird,
    "HE": Hedges,
    "ML": lambda: VarianceBasedLikelihoodEstimator(method="ml", xtol=1e-14),
    "REML": lambda: VarianceBasedLikelihoodEstimator(method="reml", xtol=1e-14),
}


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One number by another program and by us, on the analysis scale.

    Attributes
    ----------
    quantity : ``tau2``, ``tau2_low``, ``tau2_high``, ``estimate``, ``se``, ``ci_low``,
        ``ci_high``; ``study_ci_low``, ``study_ci_high`` for exact intervals of proportions,
        where `method` is the id of the study.
    difference : value minus ours.
    tolerance : largest absolute difference that counts as agreement.
    agrees : within the tolerance, or outside of it for a documented reason, given in `note`.
    """

    engine: str
    version: str
    quantity: str
    method: str
    test: str
    value: float
    ours: float
    difference: float
    tolerance: float
    agrees: bool
    note: str


@dataclass(frozen=True, slots=True)
class _Engine:
    """A program, and the data that it is given."""

    name: str
    yi: Floats
    vi: Floats

    def row(
        self,
        quantity: str,
        value: float,
        ours: float,
        tolerance: float,
        *,
        method: str,
        test: str = "",
        documented: str = "",
    ) -> EngineRow:
        """One comparison; `documented` excuses a difference, and is said if there is one."""
        difference = value - ours
        agrees = abs(difference) <= tolerance
        if math.isfinite(ours) and not math.isfinite(value):
            documented = documented or "the engine gives no finite number here"
        return EngineRow(
            engine=self.name,
            version=version(self.name),
            quantity=quantity,
            method=method,
            test=test,
            value=value,
            ours=ours,
            difference=difference,
            tolerance=tolerance,
            agrees=agrees or bool(documented),
            note="" if agrees else documented,
        )


def _scalar(values: Any) -> float:
    return float(np.ravel(values)[0])


def _mean_rows(
    engine: _Engine, ours: Estimate, values: dict[str, float], reliable: float
) -> Iterator[EngineRow]:
    """Estimate, standard error and interval of one of our rows."""
    if math.isnan(ours.se):
        documented = (
            "not estimable: residuals are all zero; the engine takes 0 as standard error"
        )
        reference = 0.0
    else:
        documented, reference = "", ours.se
    # The last term: the engine subtracts no origin, and loses digits of effects far from 0.
    largest = float(np.abs(engine.yi).max())
    tolerance = reliable * reference + ROUNDING * largest
    for quantity, value in values.items():
        yield engine.row(
            quantity,
            value,
            getattr(ours, quantity),
            tolerance,
            method=ours.method,
            test=ours.test,
            documented="" if quantity == "estimate" else documented,
        )


def _pymare_means(engine: _Engine, fit: Fit) -> Iterator[EngineRow]:
    """Every row of the fit by weighted least squares at our tau2."""
    design = np.ones((engine.yi.size, 1))
    for ours in fit.estimates:
        if ours.test not in CORRECTIONS or ours.method == "MH":
            continue
        estimator = WeightedLeastSquares(
            tau2=0.0 if ours.model == "common" else ours.tau2,
            small_sample_correction=CORRECTIONS[ours.test],
        )
        # Its order is y, X, v; that of all other estimators y, v, X.
        summary = estimator.fit(engine.yi[:, np.newaxis], design, engine.vi[:, np.newaxis])
        stats = summary.summary().get_fe_stats(1 - fit.level)
        names = {"estimate": "est", "se": "se", "ci_low": "ci_l", "ci_high": "ci_u"}
        values = {quantity: _scalar(stats[name]) for quantity, name in names.items()}
        yield from _mean_rows(engine, ours, values, TOLERANCE["closed form"])


def _likelihood_excuse(engine: _Engine, method: str, value: float, ours: Tau2) -> str:
    """Why PyMARE's maximum may be another one than ours; empty if it may not, or is higher."""
    if not (math.isfinite(value) and value >= 0):
        return ""
    restricted = method == "REML"
    theirs = log_likelihood(engine.yi, engine.vi, value, restricted=restricted)
    best = log_likelihood(engine.yi, engine.vi, ours.value, restricted=restricted)
    if theirs > best + ROUNDING * (1 + abs(best)):
        return ""
    lower = f"the log-likelihood is {theirs:.10g} there and {best:.10g} at ours"
    if len(ours.maxima) > 1:
        return f"PyMARE may find a local maximum only: {lower}"
    start = estimate("DL", engine.yi, engine.vi).value + float(engine.vi.mean())
    if ours.value < SMALLEST_TRIAL * start:
        return f"PyMARE misses a maximum that is small beside the mean variance: {lower}"
    return ""


def _moment_excuse(engine: _Engine, difference: float, ours: Tau2) -> str:
    """Why DerSimonian and Laird's estimate may differ; empty if it may not by so much."""
    wi = 1 / engine.vi
    lost = ROUNDING * float(wi.sum()) * typical_vi(engine.vi) / (engine.yi.size - 1)
    if abs(difference) <= lost * ours.value:
        return "the engine loses digits in the sum of wi minus the sum of wi^2 over that of wi"
    return ""


def _pymare_tau2(engine: _Engine, fit: Fit, scale: float) -> Iterator[EngineRow]:
    """Tau2 by every estimator that PyMARE has, and its Q-profile interval."""
    data = Dataset(engine.yi, engine.vi)
    for method, estimator in TAU2_OF_PYMARE.items():
        summary = estimator().fit_dataset(data).summary()
        ours, value = estimate(method, engine.yi, engine.vi), _scalar(summary.tau2)
        kind = "likelihood" if ours.maxima else "closed form"
        documented = ""
        if ours.maxima:
            documented = _likelihood_excuse(engine, method, value, ours)
        elif method == "DL":
            documented = _moment_excuse(engine, value - ours.value, ours)
        yield engine.row(
            "tau2",
            value,
            ours.value,
            TOLERANCE[kind] * (ours.value + scale),
            method=method,
            documented=documented,
        )
    interval = summary.get_re_stats("QP", 1 - fit.level)
    spread = fit.heterogeneity[0]
    empty = (
        "the Q-profile set is empty; PyMARE returns 0, 0"
        if math.isnan(spread.tau2_high)
        else ""
    )
    for quantity, name in (("tau2_low", "ci_l"), ("tau2_high", "ci_u")):
        ours_end = getattr(spread, quantity)
        yield engine.row(
            quantity,
            _scalar(interval[name]),
            ours_end,
            TOLERANCE["Q-profile"] * (ours_end + scale) + Q_PROFILE_STOP,
            method="QP",
            documented=empty,
        )


def _statsmodels(engine: _Engine, fit: Fit, scale: float) -> Iterator[EngineRow]:
    """Common effect, DerSimonian-Laird and Paule-Mandel, with Knapp-Hartung intervals."""
    q, k = fit.heterogeneity[0].q, fit.k
    rows = {(row.method, row.test): row for row in fit.estimates}
    # What rounding can take from the sum of wi yi^2.
    lost = ROUNDING * float((engine.yi**2 / engine.vi).sum()) / (k - 1) * scale
    for method, options in (("DL", {}), ("PM", {"atol": 1e-10, "maxiter": 1000})):
        # A negative DL estimate can give negative weights, whose root is taken.
        with np.errstate(invalid="ignore", divide="ignore"):
            result = combine_effects(
                engine.yi, engine.vi, method_re=method.lower(), use_t=True, **options
            )
            normal = result.conf_int(alpha=1 - fit.level, use_t=False)
            student = result.conf_int(alpha=1 - fit.level, use_t=True)
            hartung_knapp = math.sqrt(abs(result.var_hksj_re))
        if method == "DL":
            common = {
                "estimate": float(result.mean_effect_fe),
                "se": float(result.sd_eff_w_fe),
                "ci_low": float(normal[0][0]),
                "ci_high": float(normal[0][1]),
            }
            yield from _mean_rows(engine, rows["IV", "z"], common, TOLERANCE["closed form"])
        ours, value = rows[method, "z"].tau2, float(result.tau2)
        documented = ""
        if method == "DL" and ours == 0 and value < 0:
            documented = "statsmodels does not truncate a negative estimate at 0"
        elif method == "DL" and abs(value - ours) <= lost:
            documented = "statsmodels sums wi yi^2 without subtracting an origin"
        elif method == "DL":
            documented = _moment_excuse(engine, value - ours, Tau2(ours))
        elif method == "PM" and value == 0 and q > k - 1:
            documented = (
                "statsmodels returns 0 when the last step of Newton's method overshoots by "
                f"rounding, though Q is {q:.10g}, above k - 1, at 0"
            )
        kind = "Paule-Mandel" if method == "PM" else "closed form"
        row = engine.row(
            "tau2",
            value,
            ours,
            TOLERANCE[kind] * (ours + scale),
            method=method,
            documented=documented,
        )
        yield row
        if row.note:
            continue
        for test, se, ends in (
            ("z", float(result.sd_eff_w_re), normal[1]),
            ("knha", hartung_knapp, student[3]),
        ):
            values = {
                "estimate": float(result.mean_effect_re),
                "se": se,
                "ci_low": float(ends[0]),
                "ci_high": float(ends[1]),
            }
            # Their tau2 is not ours to the last digit: what that does to the weights, and the
            # weights to the mean.
            weights = abs(row.difference) / (float(engine.vi.min()) + ours)
            reach = float(np.ptp(engine.yi)) / rows[method, "z"].se
            reliable = TOLERANCE["closed form"] + weights * (1 + reach)
            yield from _mean_rows(engine, rows[method, test], values, reliable)


def _mantel_haenszel(effects: EffectSizes, fit: Fit) -> Iterator[EngineRow]:
    """Mantel and Haenszel's odds ratio with its standard error, and risk ratio."""
    ours = next((row for row in fit.estimates if row.method == "MH"), None)
    if ours is None or math.isnan(ours.estimate) or effects.measure not in ("OR", "RR"):
        return
    # The counts themselves, of all rows that have them: also where there is no effect size.
    used = rows_for(effects, "MH")
    cells = list(counts(used, FOURFOLD).values())
    tables = StratifiedTable(np.stack(cells).reshape(2, 2, -1))
    values = {"estimate": float(np.log(tables.riskratio_pooled))}
    if effects.measure == "OR":
        values = {
            "estimate": float(tables.logodds_pooled),
            "se": float(tables.logodds_pooled_se),
        }
    engine = _Engine("statsmodels", np.array([ours.estimate]), np.array([ours.se**2]))
    yield from _mean_rows(engine, ours, values, TOLERANCE["closed form"])


def _exact_intervals(effects: EffectSizes, level: float) -> Iterator[EngineRow]:
    """Clopper-Pearson intervals of all studies that have one."""
    for index, study in enumerate(effects.study):
        xi, ni = float(effects.raw["xi"][index]), float(effects.raw["ni"][index])
        if math.isnan(xi) or math.isnan(ni):
            continue
        engine = _Engine("statsmodels", np.array([xi]), np.array([1.0]))
        ends = proportion_confint(xi, ni, alpha=1 - level, method="beta")
        for quantity, value, ours in zip(
            ("study_ci_low", "study_ci_high"),
            ends,
            (float(effects.ci_low[index]), float(effects.ci_high[index])),
            strict=True,
        ):
            tolerance = TOLERANCE["exact interval"] * ours
            yield engine.row(quantity, float(value), ours, tolerance, method=study)


def compare(effects: EffectSizes, model: ModelSpec) -> list[EngineRow]:
    """Compare what `pool` gives with PyMARE and statsmodels; no pooled rows for k < 2.

    PyMARE: tau2 by DL, HE, ML and REML, the Q-profile interval, and, at our tau2, every pooled
    estimate with its standard error and interval. statsmodels: the common effect, DL and PM
    with their z and Knapp-Hartung rows, Mantel and Haenszel's odds and risk ratio, and exact
    intervals of proportions. A disagreement beyond the tolerance has ``agrees`` false unless it
    is a documented defect of the other program, which the note then names. Variances of a size
    that no engine can square give one row each that says so. Raises what `pool` raises, and
    what the programs raise.
    """
    fit = pool(effects, replace(model, family="IV"))
    rows: list[EngineRow] = []
    if {"xi", "ni"} <= effects.raw.keys():
        rows += _exact_intervals(effects, model.level)
    rows += _mantel_haenszel(effects, fit)
    if effects.included.count(True) < 2 or not fit.headline:
        return rows
    yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
    scale = typical_vi(vi)
    pymare, statsmodels = _Engine("pymare", yi, vi), _Engine("statsmodels", yi, vi)
    if not 1 / EXTREME_SCALE < vi.min() <= vi.max() < EXTREME_SCALE:
        note = f"not compared: variances outside of {1 / EXTREME_SCALE:g} to {EXTREME_SCALE:g}"
        none = {"method": "", "documented": note}
        return rows + [
            engine.row("none", math.nan, math.nan, 0.0, **none)
            for engine in (pymare, statsmodels)
        ]
    rows += _pymare_means(pymare, fit)
    rows += _pymare_tau2(pymare, fit, scale)
    rows += _statsmodels(statsmodels, fit, scale)
    return rows
