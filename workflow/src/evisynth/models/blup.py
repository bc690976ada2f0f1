"""Best linear unbiased predictions of the studies' true effects."""

from dataclasses import dataclass

import numpy as np

from evisynth import linear
from evisynth.inference import quantile
from evisynth.models.regression import RegressionFit, linear_predictor
from evisynth.records import Floats


@dataclass(frozen=True, slots=True)
class Blup:
    """Predictions, each of shape (k,), in the order of the studies in the model.

    Attributes
    ----------
    estimate, se, low, high : true effect of each study, its standard error and interval.
    deviation, deviation_se, deviation_low, deviation_high : true effect minus the mean that its
        moderators give (``ranef`` in metafor).
    shrinkage : share of the own effect in the estimate; the rest comes from the mean.
    df : of the intervals' t distribution; nan for the normal.
    """

    estimate: Floats
    se: Floats
    low: Floats
    high: Floats
    deviation: Floats
    deviation_se: Floats
    deviation_low: Floats
    deviation_high: Floats
    shrinkage: Floats
    df: float
    notes: tuple[str, ...]


def blup(fit: RegressionFit) -> Blup:
    """Shrink each study's effect towards the mean that the model gives for it.

    Empirical Bayes estimates with weights tau2 / (tau2 + vi) (Raudenbush & Bryk 1985,
    doi:10.3102/10769986010002075). Standard errors contain the uncertainty of the
    coefficients, with the factor of the test, and not that of tau2 (Morris 1983,
    doi:10.1080/01621459.1983.10477920): intervals are too narrow in few studies. The
    distribution is that of the test of `fit`.

    Raises
    ------
    ValueError
        `fit` has the method ``IV``: one common effect does not vary.
    """
    if fit.method == "IV":
        raise ValueError("with one common effect there is nothing to predict for each study")
    notes = []
    if fit.tau2 == 0:
        notes.append("tau2 is 0: predictions are the means of the model, deviations 0")
    if fit.factor == 0:
        notes.append("standard errors are not estimable: residuals are all zero")
    mean_variance = linear_predictor(fit)
    share = fit.tau2 / (fit.tau2 + fit.vi)
    rest = fit.vi / (fit.tau2 + fit.vi)
    raw = linear.residuals(fit.problem, fit.tau2)
    own = share * fit.vi
    half = quantile(fit.level, fit.df)
    estimate, deviation = fit.yi - rest * raw, share * raw
    se = np.sqrt(own + rest**2 * mean_variance)
    deviation_se = np.sqrt(own + share**2 * mean_variance)
    return Blup(
        estimate=estimate,
        se=se,
        low=estimate - half * se,
        high=estimate + half * se,
        deviation=deviation,
        deviation_se=deviation_se,
        deviation_low=deviation - half * deviation_se,
        deviation_high=deviation + half * deviation_se,
        shrinkage=share,
        df=fit.df,
        notes=tuple(notes),
    )
