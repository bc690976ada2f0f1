"""Analyses of published papers, to the digits that are printed of them."""

import math

import numpy as np
import pytest
from support.references import generic, rows, table

from evisynth.heterogeneity import tau2_intervals
from evisynth.measures import compute_effects
from evisynth.models.covariance import diagonal
from evisynth.models.glmm import glmm
from evisynth.models.multilevel import fit as multilevel
from evisynth.models.multilevel import nested
from evisynth.pooling import pool
from evisynth.specification import ModelSpec
from evisynth.tau2 import estimate

COUNTS = {name: name for name in ("ai", "n1i", "ci", "n2i")}
RATES = {name: name for name in ("x1i", "t1i", "x2i", "t2i")}


def bcg(measure):
    columns = table("reviews/bcg/data/bcg.csv", ai="tpos", bi="tneg", ci="cpos", di="cneg")
    return compute_effects(measure, rows(**columns), level=0.95)


def pooled(sizes, **options):
    """The headline of one model with Wald's interval, and its heterogeneity."""
    fit = pool(sizes, ModelSpec(test="z", **options))
    return fit.headline, fit.heterogeneity[0]


def interval(row):
    return row.estimate, row.ci_low, row.ci_high


def printed(values, digits=4):
    return tuple(round(float(value), digits) for value in values)


# ---------------------------------------------------------------- BCG vaccine


def test_van_houwelingen_2002_common_effect():
    """Van Houwelingen et al., Stat Med 21:589-624 (doi:10.1002/sim.1040), page 596."""
    row, _ = pooled(bcg("OR"), effects="common")
    # The paper has 0.647 and 0.595 to 0.703; the last is exp(-0.353), a rounded logarithm.
    assert printed(np.exp(interval(row))) == (0.6465, 0.5951, 0.7024)
    assert printed(interval(row), 3) == (-0.436, -0.519, -0.353)


def test_van_houwelingen_2002_random_effects():
    """Van Houwelingen et al., Stat Med 21:589-624 (doi:10.1002/sim.1040), page 597."""
    row, spread = pooled(bcg("OR"), method="ML")
    assert printed([math.exp(row.estimate), spread.tau2]) == (0.4762, 0.3025)
    assert printed(np.exp(interval(row)), 3) == (0.476, 0.336, 0.675)


@pytest.mark.parametrize(
    ("kind", "low", "high", "digits"),
    [("PL-ML", 0.12, 0.89, 2), ("PL-ML", 0.1151, 0.8937, 4), ("QP", 0.130, 1.181, 3)],
)
def test_van_houwelingen_2002_intervals_of_tau2(kind, low, high, digits):
    """Page 597: profile likelihood in 2 digits; in more of them, and Q-profile, metafor."""
    effects = bcg("OR")
    (found,) = tau2_intervals(effects.yi, effects.vi, kinds=[kind])
    assert printed([found.low, found.high], digits) == (low, high)


def test_van_houwelingen_2002_prediction():
    """Page 599 takes the mean as known; metafor adds its uncertainty."""
    row, spread = pooled(bcg("OR"), method="ML", prediction="normal")
    reach = 1.959963984540054 * spread.tau
    assert printed([row.estimate - reach, row.estimate + reach], 3) == (-1.820, 0.336)
    assert printed([row.pi_low, row.pi_high], 3) == (-1.875, 0.391)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("RR", (-0.4303, -0.5097, -0.3509, 152.2330)),
        ("OR", (-0.4361, -0.5190, -0.3533, 163.1649)),
        ("RD", (-0.0009, -0.0014, -0.0005, 276.4737)),
    ],
)
def test_stata_metan_fixedi(measure, expected):
    """Stata's metan on the BCG trials, option fixedi, as in the tests of metafor."""
    row, spread = pooled(bcg(measure), effects="common")
    assert printed((*interval(row), spread.q)) == expected


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("RR", (-0.7141, -1.0644, -0.3638, 0.3088, 92.1173)),
        ("OR", (-0.7474, -1.1242, -0.3706, 0.3663, 92.6455)),
        ("RD", (-0.0071, -0.0101, -0.0040, 0.0000, 95.6596)),
    ],
)
def test_stata_metan_randomi(measure, expected):
    """Stata's metan on the BCG trials, option randomi (DL), as in the tests of metafor."""
    row, spread = pooled(bcg(measure), method="DL")
    assert printed((*interval(row), spread.tau2, spread.i2)) == expected


@pytest.mark.parametrize(
    ("measure", "family", "expected"),
    [
        ("RR", "MH", -0.4537),
        ("OR", "MH", -0.4734),
        ("RD", "MH", -0.0033),
        ("OR", "PETO", -0.4744),
    ],
)
def test_stata_metan_fixed_and_peto(measure, family, expected):
    """Stata's metan on the BCG trials, options fixed (MH) and peto, as in metafor's tests."""
    row, _ = pooled(bcg(measure), effects="common", family=family)
    assert round(row.estimate, 4) == expected
    if measure == "RR":
        assert printed([row.ci_low, row.ci_high]) == (-0.5308, -0.3766)


# ---------------------------------------------------------------- St John's wort


def linde():
    """The 17 trials of the paper: rows 7 to 10 and 13 to 25 of the data set."""
    columns = table("tests/data/linde2005.csv", **COUNTS)
    kept = [*range(6, 10), *range(12, 25)]
    columns = {name: values[kept] for name, values in columns.items()}
    return compute_effects("RR", rows(**columns), level=0.95)


def test_viechtbauer_2007b_common_effect():
    """Viechtbauer, Z Psychol 215:104-121 (doi:10.1027/0044-3409.215.2.104), page 107."""
    row, spread = pooled(linde(), effects="common")
    # The paper has 1.39 and Q = 55.54.
    assert printed(np.exp(interval(row))) == (1.3840, 1.2599, 1.5204)
    assert round(spread.q, 4) == 51.5454


def test_viechtbauer_2007b_random_effects():
    """Viechtbauer, Z Psychol 215:104-121, page 109, in metafor's digits; paper 1.57, .091."""
    row, spread = pooled(linde(), method="DL", prediction="normal")
    assert printed(np.exp(interval(row))) == (1.5722, 1.3103, 1.8864)
    assert printed(np.exp([row.pi_low, row.pi_high])) == (0.8488, 2.9120)
    assert round(spread.tau2, 4) == 0.0903
    # The paper's own interval of prediction takes the mean as known.
    reach = 1.959963984540054 * spread.tau
    assert printed(np.exp([row.estimate - reach, row.estimate + reach]), 2) == (0.87, 2.83)


# ---------------------------------------------------------------- catheters


@pytest.mark.parametrize(
    ("xi", "ni", "mean", "se", "tau2"),
    [("ci", "n2i", -3.30, 0.24, 0.663), ("ai", "n1i", -4.26, 0.26, 0.393)],
)
def test_stijnen_2010_proportions_normal(xi, ni, mean, se, tau2):
    """Stijnen et al., Stat Med 29:3046-3067 (doi:10.1002/sim.4040), table II, page 3050."""
    columns = table("tests/data/nielweise2007.csv", xi=xi, ni=ni)
    effects = compute_effects("PLO", rows(**columns), level=0.95)
    row, spread = pooled(effects, method="REML")
    assert (round(row.estimate, 2), round(row.se, 2), round(spread.tau2, 3)) == (mean, se, tau2)
    if xi == "ci":  # the digits of metafor
        assert printed([row.estimate, spread.tau2]) == (-3.3018, 0.6629)


def test_stijnen_2010_proportions_binomial():
    """Stijnen et al., table II: the other group than in test_glmm.py."""
    columns = table("tests/data/nielweise2007.csv", xi="ai", ni="n1i")
    found = glmm("PLO", "GLMM", columns).random
    se = math.sqrt(found.covariance[0, 0])
    assert printed([found.coefficients[0], se, found.tau2], 2) == (-4.81, 0.36, 0.83)


def test_stijnen_2010_odds_ratio_normal():
    """Stijnen et al., table III, page 3052, without the trials that have no event."""
    columns = table("tests/data/nielweise2007.csv", **COUNTS)
    effects = compute_effects("OR", rows(**columns), level=0.95, drop00=True)
    row, spread = pooled(effects, method="REML")
    assert (round(row.estimate, 3), round(spread.tau, 2)) == (-0.980, 0.19)
    assert round(row.se, 3) == 0.243  # 0.244 in the paper
    assert printed(np.exp([row.estimate, row.ci_low]), 2) == (0.38, 0.23)


@pytest.mark.parametrize(
    ("xi", "ti", "normal", "poisson"),
    [
        ("x2i", "t2i", (1.468, 0.243, 0.370), (1.401, 0.231, 0.317)),
        ("x1i", "t1i", (0.981, 0.326, 0.639), (0.849, 0.330, 0.654)),
    ],
)
def test_stijnen_2010_rates(xi, ti, normal, poisson):
    """Stijnen et al., table VII, page 3054, per 1000 days; there .850, .316."""
    columns = table("tests/data/nielweise2008.csv", xi=xi, ti=ti)
    columns["ti"] = columns["ti"] / 1000
    row, spread = pooled(compute_effects("IRLN", rows(**columns), level=0.95), method="REML")
    assert printed([row.estimate, row.se, spread.tau2], 3) == normal
    found = glmm("IRLN", "GLMM", columns).random
    se = math.sqrt(found.covariance[0, 0])
    assert printed([found.coefficients[0], se, found.tau2], 3) == poisson


def test_stijnen_2010_rate_ratio():
    """Stijnen et al., table VIII, page 3055; its standard error of the first is 0.223."""
    columns = table("tests/data/nielweise2008.csv", **RATES)
    row, spread = pooled(compute_effects("IRR", rows(**columns), level=0.95), method="REML")
    assert (*printed([row.estimate, row.se], 3), round(spread.tau, 2)) == (-0.396, 0.227, 0.31)
    found = glmm("IRR", "CM.EL", columns).random
    se = math.sqrt(found.covariance[0, 0])
    assert printed([found.coefficients[0], se], 3) == (-0.476, 0.238)
    assert round(math.sqrt(found.tau2), 2) == 0.35


# ---------------------------------------------------------------- schools


def test_konstantopoulos_2011_two_levels():
    """Konstantopoulos, Res Synth Methods 2:61-76 (doi:10.1002/jrsm.35), without districts."""
    data = table("tests/data/konstantopoulos2011.csv", yi="yi", vi="vi")
    row, spread = pooled(generic(data["yi"], data["vi"]), method="REML")
    assert printed([row.estimate, row.se, spread.tau2]) == (0.1279, 0.0439, 0.0884)
    assert round(estimate("REML", data["yi"], data["vi"]).value, 4) == 0.0884
    schools = nested(school=[str(school) for school in range(data["yi"].size)])
    found = multilevel(data["yi"], diagonal(data["vi"]), schools)
    assert printed([found.beta[0], found.components[0].estimate]) == (0.1279, 0.0884)
