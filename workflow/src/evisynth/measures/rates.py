"""Rates of events per person-time, of one group and of two."""

from fractions import Fraction

from evisynth.measures.base import (
    VIECHTBAUER,
    Effect,
    Measure,
    Numbers,
    as_float,
    log_ratio,
    reciprocals,
    root,
)
from evisynth.measures.transformations import (
    clipped_square,
    exponential,
    identity,
    logarithm,
    square_root,
)


def _one(numbers: Numbers) -> tuple[Fraction, Fraction]:
    return Fraction(numbers["xi"]), Fraction(numbers["ti"])


def _two(numbers: Numbers) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    return (
        Fraction(numbers["x1i"]),
        Fraction(numbers["t1i"]),
        Fraction(numbers["x2i"]),
        Fraction(numbers["t2i"]),
    )


def _rate(numbers: Numbers) -> Effect:
    x, t = _one(numbers)
    return Effect(as_float(x / t), as_float(x / t**2))


def _log_rate(numbers: Numbers) -> Effect:
    x, t = _one(numbers)
    return Effect(log_ratio(x, t), reciprocals(x))


def _root_rate(numbers: Numbers) -> Effect:
    x, t = _one(numbers)
    return Effect(root(x / t), as_float(1 / (4 * t)))


def _rate_ratio(numbers: Numbers) -> Effect:
    x1, t1, x2, t2 = _two(numbers)
    return Effect(log_ratio(x1 * t2, x2 * t1), reciprocals(x1, x2))


def _rate_difference(numbers: Numbers) -> Effect:
    x1, t1, x2, t2 = _two(numbers)
    return Effect(as_float(x1 / t1 - x2 / t2), as_float(x1 / t1**2 + x2 / t2**2))


def _root_rate_difference(numbers: Numbers) -> Effect:
    x1, t1, x2, t2 = _two(numbers)
    roots = root(x1 / t1) + root(x2 / t2)
    # The difference of the roots by the difference of the rates, which is exact.
    yi = as_float(x1 / t1 - x2 / t2) / roots if roots else 0.0
    return Effect(yi, as_float(1 / (4 * t1) + 1 / (4 * t2)))


_OVERDISPERSED = (
    "Events are taken as Poisson: not where a few patients have many events each "
    "(overdispersion), as the variance is then too small."
)

RATES = (
    Measure(
        key="IR",
        label="Incidence rate",
        back=identity,
        back_name="identity",
        forward=identity,
        null=None,
        formula="yi = xi/ti; vi = xi/ti^2",
        citation=VIECHTBAUER,
        compute=_rate,
        limits=f"Not with few events: intervals end below 0. {_OVERDISPERSED}",
    ),
    Measure(
        key="IRLN",
        label="Incidence rate",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=None,
        formula="yi = log(xi/ti); vi = 1/xi",
        citation="Stijnen et al. (2010), Stat Med 29(29):3046-3067, doi:10.1002/sim.4040",
        compute=_log_rate,
        limits=f"With few events the Poisson-normal model is better. {_OVERDISPERSED}",
    ),
    Measure(
        key="IRS",
        label="Incidence rate",
        back=clipped_square,
        back_name="square, 0 below 0",
        forward=square_root,
        null=None,
        formula="yi = sqrt(xi/ti); vi = 1/(4 ti)",
        citation=VIECHTBAUER,
        compute=_root_rate,
        limits=f"The variance is too small for very few expected events. {_OVERDISPERSED}",
        corrected=False,
    ),
    Measure(
        key="IRR",
        label="Incidence rate ratio",
        back=exponential,
        back_name="exp",
        forward=logarithm,
        null=0.0,
        formula="yi = log((x1i/t1i)/(x2i/t2i)); vi = 1/x1i + 1/x2i",
        citation=VIECHTBAUER,
        compute=_rate_ratio,
        limits=f"Studies without events in both groups know nothing of it. {_OVERDISPERSED}",
    ),
    Measure(
        key="IRD",
        label="Incidence rate difference",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi = x1i/t1i - x2i/t2i; vi = x1i/t1i^2 + x2i/t2i^2",
        citation=VIECHTBAUER,
        compute=_rate_difference,
        limits=f"Depends on the baseline rate, which differs between studies. {_OVERDISPERSED}",
    ),
    Measure(
        key="IRSD",
        label="Difference of root rates",
        back=identity,
        back_name="identity",
        forward=identity,
        null=0.0,
        formula="yi = sqrt(x1i/t1i) - sqrt(x2i/t2i); vi = 1/(4 t1i) + 1/(4 t2i)",
        citation=VIECHTBAUER,
        compute=_root_rate_difference,
        limits=f"Hard to read: a sensitivity analysis where events are rare. {_OVERDISPERSED}",
        corrected=False,
    ),
)
