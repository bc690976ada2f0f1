"""Prior distributions of the heterogeneity tau, by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from evisynth.prior_tables import read_prior, rhodes_cell, turner_cell
from evisynth.records import Floats


@dataclass(frozen=True, slots=True)
class Prior:
    """A proper prior of tau >= 0, in the unit of the effects.

    Attributes
    ----------
    name : as written in the configuration.
    log_density : of tau, for arrays of positive numbers.
    slope : derivative of `log_density`.
    below : probability of less than tau.
    quantile : its inverse.
    top : the largest possible tau; inf where there is none.
    tail : the density falls as tau to minus this power; inf where it falls faster than any.
    unbounded : whether the density is infinite at 0.
    """

    name: str
    log_density: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    below: Callable[[float], float]
    quantile: Callable[[float], float]
    top: float = math.inf
    tail: float = math.inf
    unbounded: bool = False


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, not {value}")


def half_normal(scale: float) -> Prior:
    """|normal| with standard deviation `scale` before folding (Röver et al. 2021).

    On the log odds ratio scale 0.5 and 1 are usual (doi:10.1002/jrsm.1475).
    """
    _positive("scale", scale)
    constant = math.log(2) - math.log(2 * math.pi) / 2 - math.log(scale)
    return Prior(
        name=f"half_normal({scale:g})",
        log_density=lambda tau: constant - (tau / scale) ** 2 / 2,
        slope=lambda tau: -tau / scale**2,
        below=lambda tau: math.erf(tau / scale / math.sqrt(2)),
        quantile=lambda p: -scale * float(ndtri((1 - p) / 2)),
    )


def half_cauchy(scale: float) -> Prior:
    """|Cauchy| with this scale (Gelman 2006, doi:10.1214/06-BA117A): a heavy tail."""
    _positive("scale", scale)
    constant = math.log(2 / math.pi) - math.log(scale)
    return Prior(
        name=f"half_cauchy({scale:g})",
        log_density=lambda tau: constant - np.log1p((tau / scale) ** 2),
        slope=lambda tau: -2 * tau / (scale**2 + tau**2),
        below=lambda tau: 2 / math.pi * math.atan(tau / scale),
        quantile=lambda p: scale * math.tan(math.pi / 2 * p),
        tail=2.0,
    )


def uniform(top: float) -> Prior:
    """Uniform from 0 to `top`; an unlimited uniform prior is improper and not offered."""
    _positive("top", top)
    return Prior(
        name=f"uniform(0, {top:g})",
        log_density=lambda tau: np.full(np.shape(tau), -math.log(top)),
        slope=lambda tau: np.zeros(np.shape(tau)),
        below=lambda tau: min(tau / top, 1.0),
        quantile=lambda p: p * top,
        top=top,
    )


def log_normal(location: float, scale: float, name: str | None = None) -> Prior:
    """Log tau is normal with mean `location` and standard deviation `scale`."""
    _positive("scale", scale)
    constant = -math.log(2 * math.pi) / 2 - math.log(scale)

    def z(tau: Floats) -> Floats:
        standard: Floats = (np.log(tau) - location) / scale
        return standard

    return Prior(
        name=name or f"log_normal({location:g}, {scale:g})",
        log_density=lambda tau: constant - z(tau) ** 2 / 2 - np.log(tau),
        slope=lambda tau: -(z(tau) / scale + 1) / tau,
        below=lambda tau: float(ndtr((math.log(tau) - location) / scale)) if tau else 0.0,
        quantile=lambda p: math.exp(location + scale * float(ndtri(p))),
    )


def log_student_t(location: float, scale: float, name: str | None = None) -> Prior:
    """(Log tau - `location`) / `scale` has a t distribution with 5 degrees of freedom.

    Its density is infinite at 0 and its moments do not exist.
    """
    _positive("scale", scale)
    df = 5.0
    constant = (
        math.lgamma(3.0) - math.lgamma(2.5) - math.log(df * math.pi) / 2 - math.log(scale)
    )

    def z(tau: Floats) -> Floats:
        standard: Floats = (np.log(tau) - location) / scale
        return standard

    return Prior(
        name=name or f"log_student_t({location:g}, {scale:g})",
        log_density=lambda tau: constant - 3 * np.log1p(z(tau) ** 2 / df) - np.log(tau),
        slope=lambda tau: -(6 * z(tau) / (df + z(tau) ** 2) / scale + 1) / tau,
        below=lambda tau: float(stdtr(df, (math.log(tau) - location) / scale)) if tau else 0.0,
        quantile=lambda p: math.exp(location + scale * float(stdtrit(df, p))),
        tail=1.0,
        unbounded=True,
    )


def turner(outcome: str | None = None, comparison: str | None = None) -> Prior:
    """Turner et al. (2015, doi:10.1002/sim.6381, table IV), for log odds ratios.

    Log-normal for tau2, from the binary meta-analyses of the Cochrane Database, by type of
    outcome and of comparison; for neither, their general distribution (p. 993). Log tau has
    half the mean and half the standard deviation of log tau2. ValueError for unknown keys.
    """
    location, scale = turner_cell(outcome, comparison)
    name = "turner" if outcome is None else f"turner({outcome}, {comparison})"
    return log_normal(location / 2, scale / 2, name)


def rhodes(
    outcome: str | None = None, comparison: str | None = None, area: str = "other"
) -> Prior:
    """Rhodes et al. (2015, doi:10.1016/j.jclinepi.2014.08.012), for standardised differences.

    Log-t with 5 df for tau2, from the continuous meta-analyses of the Cochrane Database, by
    type of outcome, of comparison and medical area; for none, their general distribution.

    Raises
    ------
    ValueError
        Unknown key; a cell of the published table that looks like a misprint.
    """
    location, scale = rhodes_cell(outcome, comparison, area)
    name = "rhodes" if outcome is None else f"rhodes({outcome}, {comparison}, {area})"
    return log_student_t(location / 2, scale / 2, name)


PRIORS: dict[str, Callable[..., Prior]] = {
    "half_normal": half_normal,
    "half_cauchy": half_cauchy,
    "uniform": uniform,
    "log_normal": log_normal,
    "log_student_t": log_student_t,
    "turner": turner,
    "rhodes": rhodes,
}


def named(text: str) -> Prior:
    """The prior that a configuration writes as a name with its arguments.

    Raises
    ------
    ValueError
        An unknown prior; arguments that it does not take.
    """
    name, arguments = read_prior(text)
    return PRIORS[name](*arguments)
