"""Exact intervals of counts."""

import math

from scipy.special import (
    betainc,
    betaincc,
    betainccinv,
    betaincinv,
    betaln,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    gammaln,
)


def clopper_pearson(xi: float, ni: float, level: float) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404).

    `xi` events among `ni`; `level` as a fraction. Lower and upper end, as fractions.
    """
    tail = (1 - level) / 2
    low, high = 0.0, 1.0
    if xi > 0:
        low = float(betaincinv(xi, ni - xi + 1, tail))
        low -= _beta_step(xi, ni - xi + 1, low, float(betainc(xi, ni - xi + 1, low)) - tail)
    if xi < ni:
        high = float(betainccinv(xi + 1, ni - xi, tail))
        high += _beta_step(xi + 1, ni - xi, high, float(betaincc(xi + 1, ni - xi, high)) - tail)
    return low, high


def _beta_step(a: float, b: float, x: float, excess: float) -> float:
    """Newton's step for a quantile: scipy's inverse is off by 1e-11 for few among 1e6."""
    if not 0 < x < 1:
        return 0.0
    log_density = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - float(betaln(a, b))
    return excess / math.exp(log_density)


def garwood(xi: float, ti: float, level: float) -> tuple[float, float]:
    """Exact interval of a Poisson rate (Garwood 1936, doi:10.1093/biomet/28.3-4.437).

    `xi` events in the person-time `ti`; `level` as a fraction. Ends in events per unit of time.
    """
    tail = (1 - level) / 2
    low = 0.0
    if xi > 0:
        low = float(gammaincinv(xi, tail))
        low -= _gamma_step(xi, low, float(gammainc(xi, low)) - tail)
    high = float(gammainccinv(xi + 1, tail))
    high += _gamma_step(xi + 1, high, float(gammaincc(xi + 1, high)) - tail)
    return low / ti, high / ti


def _gamma_step(a: float, x: float, excess: float) -> float:
    """Newton's step for a quantile of the gamma distribution."""
    return excess / math.exp((a - 1) * math.log(x) - x - float(gammaln(a)))
