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

import numpy as np
from pymare import Dataset
from pymare.estimators import (
    DerSimonianLaird,
    Hedges,
    VarianceBasedLikelihoodEstimator,
    WeightedLeastSquares,
)
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.proportion import proportion_confint

from evisynth.heterogeneity import typical_vi
from evisynth.measures import MEASURES
from evisynth.pooling import ModelSpec, pool
from evisynth.records import EffectSizes, Estimate, Fit, Floats
from evisynth.tau2 import TAU2, log_likelihood

TOLERANCE: dict[str, float] = {
    # Two evaluations of one formula: rounding, times the condition of a weighted mean.
    "closed form": 1e-9,
    # Newton's method until Q is within 1e-10 of k - 1.
    "Paule-Mandel": 1e-8,
    # A maximum found from the values of the likelihood is good to the square root of rounding.
    "likelihood": 1e-6,
    # Bisection that stops at a relative width of 1e-8 or so.
    "Q-profile": 1e-6,
    # scipy's quantile of the beta distribution is off by 1e-11 for few events among 1e6.
    "exact interval": 1e-9,
}
# Ratio of the largest to the smallest variance from which PyMARE's search misses the maximum.
EXTREME_RATIO = 1e8
# Variances outside leave the range of double precision when squared twice.
EXTREME_SCALE = 1e70

CORRECTIONS = {
    "z": "wald",
    "knha": "knapp-hartung",
    "adhoc": "knapp-hartung-conservative",
}
TAU2_OF_PYMARE: dict[str, Callable[[], object]] = {
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
