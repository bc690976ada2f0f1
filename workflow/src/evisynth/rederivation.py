"""Effect sizes and pooled estimates a second time, by other formulas and other programs.

Nothing here calls this project's own statistics. Effect sizes are the textbook's formulas in
plain doubles; inverse variance is PyMARE's and statsmodels'; families of counts are
statsmodels', closed forms, or the likelihood itself, integrated by `scipy.integrate.quad` and
maximised afresh. Where there is no second way, `NotCovered` says so.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import integrate, optimize, special, stats
from scipy.special import expit

from evisynth.menus import TAU2, TAU2_GIVEN
from evisynth.records import Floats

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
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.meta_analysis import combine_effects

Numbers = Mapping[str, float]
NAN = math.nan

EXACT = 1e-9
"""Relative tolerance of two evaluations of one formula."""
MAXIMUM = 1e-6
"""A maximum found from values of a likelihood is good to the square root of rounding only."""
CURVATURE = 1e-3
"""A standard error from second differences of an integrated likelihood."""
QUADRATURE = 1e-6
"""Two quadratures, one of them on a grid."""


class NotCovered(ValueError):
    """There is no second way to this number here; the words say why."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A number by the second way.

    Attributes
    ----------
    by : program or formula.
    tolerance : of the difference, as a share of the scale of the quantity (`scale`).
    scale : None for the size of the number itself.
    """

    value: float
    by: str
    tolerance: float = EXACT
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """What an estimate is derived from: the pooled rows.

    Attributes
    ----------
    yi, vi : analysis scale, derived a second time where a formula is known.
    raw : numbers by the field's names.
    null : value of no effect; nan for measures without one.
    level : of intervals, as a fraction.
    """

    measure: str
    yi: Floats
    vi: Floats
    raw: Mapping[str, Floats]
    null: float
    level: float
    model: Mapping[str, Any] = field(default_factory=dict)


# ------------------------------------------------------------------------------ effect sizes

CELLS = {
    **dict.fromkeys(("PR", "PLN", "PLO", "PAS", "PFT"), "xi ni"),
    **dict.fromkeys(("OR", "RR", "RD", "AS", "PETO", "PHI", "YUQ", "YUY"), "ai n1i ci n2i"),
    **dict.fromkeys(("IR", "IRLN", "IRS"), "xi ti"),
    **dict.fromkeys(("IRR", "IRD", "IRSD"), "x1i t1i x2i t2i"),
}
UNCORRECTED = frozenset({"PAS", "PFT", "AS", "PETO", "PHI", "IRS", "IRSD"})
"""Measures for which nothing is added to zero cells unless a number is given."""


def _log_ratio_of_means(n: Numbers) -> tuple[float, float]:
    one, two = (
        n["sd1i"] ** 2 / (n["n1i"] * n["m1i"] ** 2),
        n["sd2i"] ** 2 / (n["n2i"] * n["m2i"] ** 2),
    )
    return math.log(n["m1i"] / n["m2i"]), one + two


def _standardised(n: Numbers) -> tuple[float, float]:
    m = n["n1i"] + n["n2i"] - 2
    pooled = ((n["n1i"] - 1) * n["sd1i"] ** 2 + (n["n2i"] - 1) * n["sd2i"] ** 2) / m
    factor = math.exp(special.gammaln(m / 2) - special.gammaln((m - 1) / 2)) / math.sqrt(m / 2)
    g = factor * (n["m1i"] - n["m2i"]) / math.sqrt(pooled)
    return g, 1 / n["n1i"] + 1 / n["n2i"] + g * g / (2 * (n["n1i"] + n["n2i"]))


def _freeman_tukey(n: Numbers) -> tuple[float, float]:
    low, high = (math.asin(math.sqrt((n["xi"] + i) / (n["ni"] + 1))) for i in (0, 1))
    return (low + high) / 2, 1 / (4 * n["ni"] + 2)


def _peto(n: Numbers) -> tuple[float, float]:
    total, events = n["n1i"] + n["n2i"], n["ai"] + n["ci"]
    v = n["n1i"] * n["n2i"] * events * (total - events) / (total**2 * (total - 1))
    return (n["ai"] - n["n1i"] * events / total) / v, 1 / v


FORMULAS: dict[str, Callable[[Numbers], tuple[float, float]]] = {
    "PR": lambda n: (n["xi"] / n["ni"], n["xi"] / n["ni"] * (1 - n["xi"] / n["ni"]) / n["ni"]),
    "PLN": lambda n: (math.log(n["xi"] / n["ni"]), 1 / n["xi"] - 1 / n["ni"]),
    "PLO": lambda n: (
        math.log(n["xi"]) - math.log(n["ni"] - n["xi"]),
        1 / n["xi"] + 1 / (n["ni"] - n["xi"]),
    ),
    "PAS": lambda n: (math.asin(math.sqrt(n["xi"] / n["ni"])), 1 / (4 * n["ni"])),
    "PFT": _freeman_tukey,
    "IR": lambda n: (n["xi"] / n["ti"], n["xi"] / n["ti"] ** 2),
    "IRLN": lambda n: (math.log(n["xi"]) - math.log(n["ti"]), 1 / n["xi"]),
    "IRS": lambda n: (math.sqrt(n["xi"] / n["ti"]), 1 / (4 * n["ti"])),
    "MN": lambda n: (n["mi"], n["sdi"] ** 2 / n["ni"]),
    "MNLN": lambda n: (math.log(n["mi"]), n["sdi"] ** 2 / (n["ni"] * n["mi"] ** 2)),
    "COR": lambda n: (n["ri"], (1 - n["ri"] ** 2) ** 2 / (n["ni"] - 1)),
    "ZCOR": lambda n: (math.atanh(n["ri"]), 1 / (n["ni"] - 3)),
    "OR": lambda n: (
        math.log(n["ai"]) - math.log(n["bi"]) - math.log(n["ci"]) + math.log(n["di"]),
        1 / n["ai"] + 1 / n["bi"] + 1 / n["ci"] + 1 / n["di"],
    ),
    "RR": lambda n: (
        math.log(n["ai"]) - math.log(n["n1i"]) - math.log(n["ci"]) + math.log(n["n2i"]),
        1 / n["ai"] - 1 / n["n1i"] + 1 / n["ci"] - 1 / n["n2i"],
    ),
    "RD": lambda n: (
        n["ai"] / n["n1i"] - n["ci"] / n["n2i"],
        n["ai"] * n["bi"] / n["n1i"] ** 3 + n["ci"] * n["di"] / n["n2i"] ** 3,
    ),
    "AS": lambda n: (
        math.asin(math.sqrt(n["ai"] / n["n1i"])) - math.asin(math.sqrt(n["ci"] / n["n2i"])),
        1 / (4 * n["n1i"]) + 1 / (4 * n["n2i"]),
    ),
    "PETO": _peto,
    "IRR": lambda n: (
        math.log(n["x1i"] / n["t1i"]) - math.log(n["x2i"] / n["t2i"]),
        1 / n["x1i"] + 1 / n["x2i"],
    ),
    "IRD": lambda n: (
        n["x1i"] / n["t1i"] - n["x2i"] / n["t2i"],
        n["x1i"] / n["t1i"] ** 2 + n["x2i"] / n["t2i"] ** 2,
    ),
    "MD": lambda n: (
        n["m1i"] - n["m2i"],
        n["sd1i"] ** 2 / n["n1i"] + n["sd2i"] ** 2 / n["n2i"],
    ),
    "SMD": _standardised,
    "ROM": _log_ratio_of_means,
}


def effect(
    measure: str,
    raw: Numbers,
    options: Mapping[str, Any],
    zero_cells: Mapping[str, Any],
    *,
    any_zero: bool,
) -> tuple[float, float]:
    """Effect and variance of one row from its raw numbers.

    Parameters
    ----------
    zero_cells : `add`, `to`, `drop00`, `form`.
    any_zero : whether any row of the analysis has a zero cell.

    Raises
    ------
    NotCovered
    """
    numbers = {name: value for name, value in raw.items() if not math.isnan(value)}
    if measure in ("GEN", "HR"):
        return _as_given(measure, numbers, options)
    formula = FORMULAS.get(measure)
    if formula is None:
        raise NotCovered(f"no second formula of {measure}")
    if measure == "SMD" and options.get("variance", "LS") != "LS":
        raise NotCovered(f"no second formula of the variance {options['variance']}")
    if measure in CELLS:
        numbers = _cells(measure, numbers, zero_cells, any_zero=any_zero)
    try:
        return formula(numbers)
    except KeyError as error:
        raise NotCovered(f"{error} is not among the stored numbers") from None
    except (ValueError, ZeroDivisionError):
        return NAN, NAN


def _as_given(measure: str, n: Numbers, options: Mapping[str, Any]) -> tuple[float, float]:
    if "yi" in n and ("vi" in n or "sei" in n):
        return n["yi"], n["vi"] if "vi" in n else n["sei"] ** 2
    plain = measure == "HR" or options.get("transformation") == "exp"
    if {"estimate", "ci_low", "ci_high"} <= n.keys() and plain:
        if options.get("scale", "display") != "display":
            raise NotCovered("intervals on the analysis scale")
        z = stats.norm.ppf((1 + n.get("ci_level", 0.95)) / 2)
        width = math.log(n["ci_high"]) - math.log(n["ci_low"])
        return math.log(n["estimate"]), (width / (2 * z)) ** 2
    raise NotCovered("no second formula for these inputs")


def _cells(
    measure: str, numbers: Numbers, zero_cells: Mapping[str, Any], *, any_zero: bool
) -> dict[str, float]:
    """All cells of a row, with what is added to them."""
    n = dict(numbers)
    for cell, size, other in (("bi", "n1i", "ai"), ("di", "n2i", "ci")):
        if cell not in n and {size, other} <= n.keys():
            n[cell] = n[size] - n[other]
    rest = {"rest": n["ni"] - n["xi"]} if {"ni", "xi"} <= n.keys() else {}
    names = [c for c in ("xi", "ai", "bi", "ci", "di", "x1i", "x2i") if c in n]
    zero = any(n[name] == 0 for name in names) or 0 in rest.values()
    add = zero_cells["add"]
    if add is None:
        add = 0.0 if measure in UNCORRECTED else 0.5
    hit = {"only0": zero, "if0all": any_zero, "all": True, "none": False}
    if zero_cells["to"] not in hit or zero_cells["form"] != "cells":
        if zero:
            raise NotCovered(f"zero cells by the rule {zero_cells['to']}, {zero_cells['form']}")
    elif hit[zero_cells["to"]] and add:
        n |= {name: n[name] + add for name in names}
        if rest:
            n["ni"] = numbers["ni"] + 2 * add
    if {"ai", "bi", "ci", "di"} <= n.keys():
        n |= {"n1i": n["ai"] + n["bi"], "n2i": n["ci"] + n["di"]}
    return n


# ------------------------------------------------------------------------------------ pooling


def derive(row: Mapping[str, Any], data: Data) -> dict[str, Derived]:
    """Numbers of one pooled estimate on the analysis scale, by a second way.

    Parameters
    ----------
    row : the stored estimate: model, method, test, prediction, and its numbers, of which only
        tau2 is used, where it is compared itself.

    Raises
    ------
    NotCovered
    """
    model, method = row["model"], row["method"]
    if method in ("MH", "PETO"):
        found = _mantel_haenszel(data) if method == "MH" else _one_step(data)
        return found | _wald(found, row, data, "normal distribution")
    if model == "bayes":
        return _bayes(row, data)
    if method == "GLMM":
        return _binomial_normal(row, data)
    if method == "BB":
        return _beta_binomial(row, data)
    by_variance = ("IV", "UWLS") if model == "common" else (*TAU2, *TAU2_GIVEN, "MHDL")
    if model in ("common", "random") and method in by_variance and data.yi.size > 1:
        return _inverse_variance(row, data)
    raise NotCovered(f"no second program for the model {model}, {method}")


def _q(level: float, df: float) -> float:
    side = (1 + level) / 2
    return float(stats.norm.ppf(side) if math.isnan(df) else stats.t.ppf(side, df))


def _wald(
    found: Mapping[str, Derived], row: Mapping[str, Any], data: Data, by: str
) -> dict[str, Derived]:
    """Interval, statistic and p-value from estimate and standard error."""
    df = _number(row["df"])
    estimate, se = found["estimate"], found["se"]
    half = _q(data.level, df) * se.value
    loose = max(estimate.tolerance, se.tolerance)
    ends = {
        "ci_low": Derived(estimate.value - half, by, loose, half),
        "ci_high": Derived(estimate.value + half, by, loose, half),
    }
    if math.isnan(data.null):
        return ends
    statistic = (estimate.value - data.null) / se.value
    tail = stats.norm.sf if math.isnan(df) else lambda x: stats.t.sf(x, df)
    p = 2 * float(tail(abs(statistic)))
    # a small change of the statistic changes a tiny p by its square
    return ends | {
        "statistic": Derived(statistic, by, loose, 1 + abs(statistic)),
        "p": Derived(p, by, loose * (2 + statistic**2), p),
    }


def _number(value: Any) -> float:
    return NAN if value is None or value == "" else float(value)


def _tau2(method: str, data: Data) -> Derived:
    """Tau2 by another program."""
    scale = _typical(data.vi)
    if method == "fixed":
        return Derived(float(data.model["tau2"]), "the configuration", EXACT, scale)
    if method in ("PM", "EB", "DLIT"):
        result = combine_effects(
            data.yi, data.vi, method_re="pm", use_t=True, atol=1e-10, maxiter=1000
        )
        value = float(result.tau2)
        if value == 0 and _generalised_q(0.0, data) > data.yi.size - 1:
            # statsmodels returns 0 when its last step of Newton's method overshoots
            most = 10 * (float(np.ptp(data.yi)) ** 2 + float(data.vi.max()))
            value = float(
                optimize.brentq(
                    lambda x: _generalised_q(x, data) - (data.yi.size - 1), 0, most, xtol=1e-15
                )
            )
            return Derived(value, "root of Q by scipy.optimize.brentq", 1e-8, scale + value)
        return Derived(value, "statsmodels", 1e-8, scale + value)
    closed: dict[str, Callable[[], Any]] = {"DL": DerSimonianLaird, "HE": Hedges}
    if method in closed:
        summary = closed[method]().fit_dataset(Dataset(data.yi, data.vi)).summary()
        value = float(np.ravel(summary.tau2)[0])
        return Derived(value, "PyMARE", EXACT, scale + value)
    if method in ("ML", "REML"):
        return _likelihood(method, data, scale)
    raise NotCovered(f"no second program for tau2 by {method}")


def _typical(vi: Floats) -> float:
    wi = 1 / vi
    return float((wi.size - 1) * wi.sum() / (wi.sum() ** 2 - (wi**2).sum()))


def _generalised_q(tau2: float, data: Data) -> float:
    wi = 1 / (data.vi + tau2)
    return float((wi * (data.yi - np.average(data.yi, weights=wi)) ** 2).sum())


def _log_likelihood(tau2: float, data: Data, *, restricted: bool) -> float:
    """Normal log-likelihood of tau2 with the mean profiled or integrated out."""
    total = data.vi + tau2
    mean = float(np.average(data.yi, weights=1 / total))
    value = -0.5 * float(np.log(total).sum() + ((data.yi - mean) ** 2 / total).sum())
    return value - 0.5 * math.log(float((1 / total).sum())) if restricted else value


def _likelihood(method: str, data: Data, scale: float) -> Derived:
    """PyMARE's maximum, or the higher one of a search of our own of the likelihood."""
    estimator = VarianceBasedLikelihoodEstimator(method=method.lower(), xtol=1e-14)
    summary = estimator.fit_dataset(Dataset(data.yi, data.vi)).summary()
    value, by = float(np.ravel(summary.tau2)[0]), "PyMARE"

    def height(tau2: float) -> float:
        return _log_likelihood(tau2, data, restricted=method == "REML")

    # PyMARE finds one of several maxima, and misses those that are small beside the variances
    most = float(np.var(data.yi)) * 4 + float(data.vi.max())
    grid = np.concatenate([[0.0], np.geomspace(scale * 1e-8, most, 200)])
    heights = [height(float(x)) for x in grid]
    top = int(np.argmax(heights))
    low, high = grid[max(top - 1, 0)], grid[min(top + 1, grid.size - 1)]
    best = optimize.minimize_scalar(
        lambda x: -height(float(x)),
        bounds=(float(low), float(high)),
        method="bounded",
        options={"xatol": 1e-12 * scale},
    )
    own = 0.0 if heights[0] >= -float(best.fun) else float(best.x)
    if not value >= 0 or height(own) > height(value) + 1e-12:
        value, by = own, "maximum of the likelihood on a grid (PyMARE's is lower)"
    return Derived(value, by, MAXIMUM, scale + value)


CORRECTIONS = {
    "z": "wald",
    "t": "wald",
    "knha": "knapp-hartung",
    "adhoc": "knapp-hartung-conservative",
}
SPENT = {"normal": (None, False), "V": (1, False), "HTS": (2, False), "HK": (1, True)}
SPENT |= {"HK-PR": (2, True)}


def _inverse_variance(row: Mapping[str, Any], data: Data) -> dict[str, Derived]:
    model, method, test = row["model"], row["method"], row["test"]
    if method == "UWLS":
        fitted = WLS(data.yi, np.ones(data.yi.size), weights=1 / data.vi).fit()
        se = float(fitted.bse[0])
        found = {
            "estimate": Derived(float(fitted.params[0]), "statsmodels", scale=se),
            "se": Derived(se, "statsmodels"),
        }
        return found | _wald(found, row, data, "t distribution")
    if test not in CORRECTIONS:
        raise NotCovered(f"no second program for the test {test}")
    common, stored = model == "common", _number(row["tau2"])
    found = {}
    with suppress(NotCovered):  # what stands on a given tau2 is checked all the same
        found |= {} if common else {"tau2": _tau2(method, data)}
    tau2 = 0.0 if common else stored
    estimator = WeightedLeastSquares(tau2=tau2, small_sample_correction=CORRECTIONS[test])
    # Its order is y, X, v; that of all other estimators y, v, X.
    columns = (data.yi[:, np.newaxis], np.ones((data.yi.size, 1)), data.vi[:, np.newaxis])
    stats_ = estimator.fit(*columns).summary().get_fe_stats(1 - data.level)
    se = float(np.ravel(stats_["se"])[0])
    estimate = float(np.ravel(stats_["est"])[0])
    found |= {
        "estimate": Derived(estimate, "PyMARE", EXACT, se + float(np.abs(data.yi).max())),
        "se": Derived(se, "PyMARE"),
    }
    found |= _wald(found, row, data, "scipy")
    if common:
        return found
    i2 = 100 * tau2 / (tau2 + _typical(data.vi))
    found["i2"] = Derived(i2, "tau2 beside the typical variance", EXACT, 100.0)
    return found | _prediction(found, row, data, tau2)


def _prediction(
    found: Mapping[str, Derived], row: Mapping[str, Any], data: Data, tau2: float
) -> dict[str, Derived]:
    """Prediction interval by its formula."""
    flavour, k = row.get("prediction", ""), data.yi.size
    if flavour not in SPENT or math.isnan(_number(row["pi_low"])):
        return {}
    spent, own = SPENT[flavour]
    wald = math.sqrt(1 / float((1 / (data.vi + tau2)).sum()))
    se = found["se"].value if own else wald
    half = _q(data.level, NAN if spent is None else k - spent) * math.hypot(se, math.sqrt(tau2))
    centre = found["estimate"].value
    return {
        "pi_low": Derived(centre - half, "scipy", EXACT, half),
        "pi_high": Derived(centre + half, "scipy", EXACT, half),
    }


def _fourfold(data: Data) -> tuple[Floats, Floats, Floats, Floats]:
    raw = data.raw
    a, c = raw["ai"], raw["ci"]
    b = raw["bi"] if "bi" in raw else raw["n1i"] - a
    d = raw["di"] if "di" in raw else raw["n2i"] - c
    return a, b, c, d


def _mantel_haenszel(data: Data) -> dict[str, Derived]:
    if data.measure in ("IRR", "IRD"):
        x1, t1, x2, t2 = (data.raw[key] for key in ("x1i", "t1i", "x2i", "t2i"))
        total = t1 + t2
        if data.measure == "IRR":
            r, s = float((x1 * t2 / total).sum()), float((x2 * t1 / total).sum())
            variance = float((t1 * t2 * (x1 + x2) / total**2).sum()) / (r * s)
            value = math.log(r / s)
        else:
            wi = t1 * t2 / total
            value = float((wi * (x1 / t1 - x2 / t2)).sum() / wi.sum())
            variance = float((wi**2 * (x1 / t1**2 + x2 / t2**2)).sum() / wi.sum() ** 2)
        by = "closed form (Greenland & Robins)"
        return _pair(value, math.sqrt(variance), by, by)
    a, b, c, d = _fourfold(data)
    n1, n2 = a + b, c + d
    total = n1 + n2
    tables = StratifiedTable(np.stack([a, b, c, d]).reshape(2, 2, -1))
    if data.measure == "OR":
        value, se = float(tables.logodds_pooled), float(tables.logodds_pooled_se)
        return _pair(value, se, "statsmodels", "statsmodels")
    if data.measure == "RR":
        r, s = float((a * n2 / total).sum()), float((c * n1 / total).sum())
        top = float(((n1 * n2 * (a + c) - a * c * total) / total**2).sum())
        value = float(np.log(tables.riskratio_pooled))
        return _pair(value, math.sqrt(top / (r * s)), "statsmodels", "closed form")
    raise NotCovered(f"no second program for Mantel-Haenszel's {data.measure}")


def _one_step(data: Data) -> dict[str, Derived]:
    a, b, c, d = _fourfold(data)
    n1, n2, events = a + b, c + d, a + c
    total = n1 + n2
    vi = n1 * n2 * events * (total - events) / (total**2 * (total - 1))
    value = float((a - n1 * events / total).sum() / vi.sum())
    return _pair(value, 1 / math.sqrt(float(vi.sum())), "closed form", "closed form")


def _pair(value: float, se: float, by: str, by_se: str) -> dict[str, Derived]:
    return {"estimate": Derived(value, by, EXACT, se + abs(value)), "se": Derived(se, by_se)}


# ------------------------------------------------------------------------------- likelihoods


def _binomial_normal(row: Mapping[str, Any], data: Data) -> dict[str, Derived]:
    """One group: counts given normally distributed logits, or log rates."""
    if data.measure not in ("PLO", "IRLN"):
        raise NotCovered("no second program for this model of two groups")
    xi = data.raw["xi"]
    size = data.raw["ni"] if data.measure == "PLO" else data.raw["ti"]
    if row["model"] == "common":
        share = float(xi.sum() / size.sum())
        if data.measure == "PLO":
            value, variance = (
                float(special.logit(share)),
                1 / (size.sum() * share * (1 - share)),
            )
        else:
            value, variance = math.log(share), 1 / xi.sum()
        found = _pair(value, math.sqrt(variance), "closed form", "closed form")
        found["tau2"] = Derived(0.0, "a common effect")
        return found | _wald(found, row, data, "scipy")

    def term(x: float, n: float, mu: float, tau: float) -> float:
        # the largest value of the kernel, so that nothing underflows
        share = min(max(x, 0.5), n - 0.5) / n if data.measure == "PLO" else max(x, 0.5) / n
        top = x * math.log(share)
        top += (n - x) * math.log1p(-share) if data.measure == "PLO" else -n * share

        def log_density(z: float) -> float:
            eta = mu + tau * z
            if data.measure == "PLO":  # binomial, but for a constant; scipy's pmf is slow
                tail = max(eta, 0.0) + math.log1p(math.exp(-abs(eta)))
                return x * eta - n * tail - top
            return x * eta - n * math.exp(eta) - top

        if tau == 0:
            return log_density(0.0)

        def density(z: float) -> float:
            return math.exp(log_density(z) - z * z / 2) / math.sqrt(2 * math.pi)

        own = (
            special.logit((x + 0.5) / (n + 1))
            if data.measure == "PLO"
            else math.log((x + 0.5) / n)
        )
        peak = min(8.0, max(-8.0, (float(own) - mu) / tau))
        area, _ = integrate.quad(
            density, -10, 10, points=[0.0, peak], limit=200, epsabs=0, epsrel=1e-11
        )
        return math.log(area)

    pairs = list(zip(xi.tolist(), size.tolist(), strict=True))

    def fall(point: Floats) -> float:
        mu, tau = float(point[0]), abs(float(point[1]))
        return -sum(term(x, n, mu, tau) for x, n in pairs)

    start = np.array([float(np.average(data.yi, weights=1 / data.vi)), 0.3])
    best = optimize.minimize(
        fall, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-11}
    )
    mu, tau = float(best.x[0]), abs(float(best.x[1]))
    by = "likelihood by scipy.integrate.quad"
    none = optimize.minimize_scalar(
        lambda x: fall(np.array([x, 0.0])), bracket=(start[0] - 0.5, start[0] + 0.5)
    )
    flat = float(none.fun) <= float(best.fun) + 1e-9
    if flat:
        mu, tau = float(none.x), 0.0
    step = 1e-3
    if tau < 1e-3:
        curve = (
            fall(np.array([mu + step, 0]))
            - 2 * fall(np.array([mu, 0]))
            + fall(np.array([mu - step, 0]))
        ) / step**2
        se = 1 / math.sqrt(curve)
    else:
        se = math.sqrt(float(np.linalg.inv(_hessian(fall, np.array([mu, tau]), step))[0, 0]))
    scale = se + abs(mu)
    found = {
        "tau2": Derived(tau**2, by, 1e-4, tau**2 + _typical(data.vi)),
        "estimate": Derived(mu, by, 1e-4, scale),
        "se": Derived(se, by, CURVATURE),
    }
    i2 = 100 * tau**2 / (tau**2 + _typical(data.vi))
    found["i2"] = Derived(i2, "tau2 beside the typical variance", 1e-4, 100.0)
    return found | _wald(found, row, data, by) | _prediction_of_counts(found, row, data)


def _prediction_of_counts(
    found: Mapping[str, Derived], row: Mapping[str, Any], data: Data
) -> dict[str, Derived]:
    """Prediction interval with the standard error of the model of the counts."""
    flavour = row.get("prediction", "")
    if flavour not in SPENT or math.isnan(_number(row["pi_low"])):
        return {}
    spent, _ = SPENT[flavour]
    df = NAN if spent is None else row["k"] - spent
    se, tau2 = found["se"].value, found["tau2"].value
    half = _q(data.level, df) * math.hypot(se, math.sqrt(tau2))
    centre = found["estimate"].value
    by = found["se"].by
    return {
        "pi_low": Derived(centre - half, by, CURVATURE, half),
        "pi_high": Derived(centre + half, by, CURVATURE, half),
    }


def _hessian(f: Callable[[Floats], float], at: Floats, step: float) -> Floats:
    """Second differences."""
    found = np.empty((at.size, at.size))
    for i in range(at.size):
        for j in range(at.size):
            e, g = step * np.eye(at.size)[i], step * np.eye(at.size)[j]
            corners = f(at + e + g) - f(at + e - g) - f(at - e + g) + f(at - e - g)
            found[i, j] = corners / (4 * step**2)
    return found


def _beta_binomial(row: Mapping[str, Any], data: Data) -> dict[str, Derived]:
    if data.measure != "PLO":
        raise NotCovered("no second program for this model of two groups")
    xi, ni = data.raw["xi"], data.raw["ni"]

    def fall(point: Floats) -> float:
        mean, precision = float(expit(point[0])), math.exp(min(float(point[1]), 16.0))
        one, two = mean * precision, (1 - mean) * precision
        return -float(np.sum(stats.betabinom.logpmf(xi, ni, one, two)))

    start = np.array([float(np.average(data.yi, weights=1 / data.vi)), 2.5])
    best = optimize.minimize(
        fall, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}
    )
    mu, spread = float(best.x[0]), float(best.x[1])
    if spread > 12:  # no overdispersion: the binomial likelihood, whose maximum is known
        share = float(xi.sum() / ni.sum())
        by = "closed form: no overdispersion"
        se = 1 / math.sqrt(float(ni.sum()) * share * (1 - share))
        found = _pair(float(special.logit(share)), se, by, by)
        return found | _wald(found, row, data, by)
    by = "likelihood by scipy.stats.betabinom"
    se = math.sqrt(float(np.linalg.inv(_hessian(fall, np.array([mu, spread]), 1e-3))[0, 0]))
    found = {
        "estimate": Derived(mu, by, 1e-5, se + abs(mu)),
        "se": Derived(se, by, CURVATURE),
    }
    return found | _wald(found, row, data, by)


def _bayes(row: Mapping[str, Any], data: Data) -> dict[str, Derived]:
    """Normal-normal model: posterior of tau by quadrature, of the mean a mixture of normals."""
    name, _, rest = str(row["method"]).partition("(")
    arguments = rest.rstrip(")")
    try:
        size = float(arguments)
    except ValueError:
        raise NotCovered(f"no second program for the prior {row['method']}") from None
    densities: dict[str, Callable[[Any], Any]] = {
        "half_normal": lambda t: np.exp(-0.5 * (t / size) ** 2),
        "half_cauchy": lambda t: 1 / (1 + (t / size) ** 2),
        "uniform": lambda t: np.where(t <= size, 1.0, 0.0),
    }
    if name.strip() not in densities:
        raise NotCovered(f"no second program for the prior {name}")
    prior = densities[name.strip()]
    top = size if name.strip() == "uniform" else 40 * size + 10 * float(np.ptp(data.yi))
    heavy = name.strip() == "half_cauchy"
    top *= 1e6 if heavy else 1  # its tail falls slowly
    # Gauss-Legendre on pieces that are short where the density is
    edges = np.concatenate([[0.0], np.geomspace(size * 1e-6, top, 120)])
    tau, mass = _pieces(edges)
    top_height = max(_log_likelihood(t * t, data, restricted=True) for t in tau)

    def density(nodes: Floats) -> Floats:
        heights = [_log_likelihood(t * t, data, restricted=True) for t in nodes]
        return np.asarray(prior(nodes) * np.exp(np.array(heights) - top_height))

    weight = mass * density(tau)
    weight /= weight.sum()
    total = data.vi[np.newaxis, :] + tau[:, np.newaxis] ** 2
    precision = (1 / total).sum(axis=1)
    means = (data.yi / total).sum(axis=1) / precision
    spread = np.sqrt(1 / precision)

    average = float(weight @ means)
    sd = math.sqrt(float(weight @ (spread**2 + (means - average) ** 2)))
    if heavy and data.yi.size < 3:
        sd = math.inf  # tau^2, which it grows with, has no mean for two studies
    by = "posterior by Gauss-Legendre quadrature"
    low, high = _shortest(weight, means, spread, data.level)
    width = (high - low) / 4
    found = {
        "estimate": Derived(
            _mixture_quantile(weight, means, spread, 0.5), by, QUADRATURE, width
        ),
        "se": Derived(sd, by, QUADRATURE),
        "ci_low": Derived(low, by, QUADRATURE, width),
        "ci_high": Derived(high, by, QUADRATURE, width),
        "tau2": Derived(_median(density, edges) ** 2, by, QUADRATURE * 10),
    }
    if not math.isnan(_number(row["pi_low"])):
        low, high = _shortest(weight, means, np.hypot(spread, tau), data.level)
        found["pi_low"] = Derived(low, by, QUADRATURE * 10, width)
        found["pi_high"] = Derived(high, by, QUADRATURE * 10, width)
    return found


def _mixture_quantile(weight: Floats, means: Floats, sds: Floats, share: float) -> float:
    """Quantile of a mixture of normal distributions."""

    def excess(x: float) -> float:
        return float(weight @ stats.norm.cdf((x - means) / sds)) - share

    centre = float(weight @ means)
    width = 40 * math.sqrt(float(weight @ (sds**2 + (means - centre) ** 2))) + 1
    while excess(centre - width) > 0 or excess(centre + width) < 0:
        width *= 4
    return float(optimize.brentq(excess, centre - width, centre + width, xtol=1e-13))


def _shortest(weight: Floats, means: Floats, sds: Floats, level: float) -> tuple[float, float]:
    """Shortest interval of a mixture with one peak: its density is equal at both ends."""

    def ends(below: float) -> tuple[float, float]:
        low, high = below, below + level
        return (
            _mixture_quantile(weight, means, sds, low),
            _mixture_quantile(weight, means, sds, high),
        )

    def unequal(below: float) -> float:
        low, high = (
            float(weight @ (stats.norm.pdf((x - means) / sds) / sds)) for x in ends(below)
        )
        return low - high

    rest = 1 - level
    return ends(float(optimize.brentq(unequal, rest * 1e-4, rest * (1 - 1e-4), xtol=1e-12)))


def _pieces(edges: Floats) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss-Legendre quadrature on every piece."""
    nodes, parts = np.polynomial.legendre.leggauss(20)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return (
        (middle[:, np.newaxis] + half[:, np.newaxis] * nodes).ravel(),
        (half[:, np.newaxis] * parts).ravel(),
    )


def _median(density: Callable[[Floats], Floats], edges: Floats) -> float:
    """Median of a density on the range of `edges`."""

    def mass(x: float) -> float:
        nodes, parts = _pieces(np.append(edges[edges < x], x))
        return float(parts @ density(nodes))

    whole = mass(float(edges[-1]))
    return float(
        optimize.brentq(lambda x: mass(x) - whole / 2, edges[1], edges[-1], xtol=1e-12)
    )


# -------------------------------------------------------------------------------- the display

BACK: dict[str, Callable[[float], float]] = {
    "identity": lambda x: x,
    "exp": math.exp,
    "expit": lambda x: float(expit(x)),
    "tanh": math.tanh,
    "square, 0 below 0": lambda x: max(x, 0.0) ** 2,
    "squared sine, 0 below 0 and 1 above pi/2": (
        lambda x: math.sin(min(max(x, 0.0), math.pi / 2)) ** 2
    ),
}
"""Ways to the display scale, by the name that trace.json gives them."""
