"""The values that flow from step to step: plain, frozen, of read-only arrays."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from evisynth.rows import RawRow as RawRow  # one of the values, in a module without numpy

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EffectSizes:
    """Effect sizes of one analysis; every sequence has one entry per row, included or not.

    Attributes
    ----------
    measure : key of the measure.
    yi, vi, sei : analysis scale (log, logit, ...); nan where not estimable.
    ci_low, ci_high : the study's own interval on the display scale (exact for proportions).
    ni : total number of units; nan where unknown.
    included, reason : whether the row is pooled; if not, why.
    selected : whether the reviewer wants it pooled, even if it has no effect size.
    notes : what was done to the row (continuity correction, inverted contrast), ``;``-joined.
    raw : the columns that the measure used, in the order of the measure.
    covariates : further columns as text.
    printed, report, quote, place : where the numbers of each row come from, as text.
    options : of the measure, all of them.
    """

    measure: str
    study: tuple[str, ...]
    label: tuple[str, ...]
    yi: Floats
    vi: Floats
    sei: Floats
    ci_low: Floats
    ci_high: Floats
    ni: Floats
    cluster: tuple[str, ...]
    included: tuple[bool, ...]
    reason: tuple[str, ...]
    notes: tuple[str, ...]
    raw: Mapping[str, Floats]
    covariates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    printed: tuple[str, ...] = ()
    report: tuple[str, ...] = ()
    quote: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    selected: tuple[bool, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def pooled(self) -> NDArray[np.bool_]:
        """Mask of the rows that are pooled."""
        return np.array(self.included, dtype=bool)


def as_pooled(effects: EffectSizes, entered: tuple[int, ...]) -> EffectSizes:
    """The effects as the headline's family took them, for tables and figures.

    Parameters
    ----------
    entered : rows that it took although inverse variance cannot (`Fit.entered`); what kept
        them from an effect size becomes a note.
    """
    included, reason = list(effects.included), list(effects.reason)
    notes = list(effects.notes)
    for row in entered:
        included[row] = True
        why = f"pooled by its counts, not by an effect size ({reason[row]})"
        notes[row] = "; ".join([part for part in (notes[row], why) if part])
        reason[row] = ""
    return replace(effects, included=tuple(included), reason=tuple(reason), notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class Estimate:
    """One pooled estimate, on the analysis scale; nan where not estimable.

    Attributes
    ----------
    model : ``common``, ``random``, ``multilevel``, ``rve`` or ``bayes``.
    method : estimator of tau2; ``IV`` for the common effect; else model or prior.
    test : key of `menus.TESTS` or of `menus.ROBUST`, ``profile`` or ``posterior``.
    k : rows with information, which for exact families can be fewer than are pooled.
    pi_low, pi_high : prediction interval; nan below k = 3 and for the common effect.
    df : degrees of freedom of the t distribution; nan for the normal.
    headline : the one that a reader wants first.
    notes : every caveat.
    prediction : flavour of the prediction interval; empty where there is none.
    subgroup : value of a moderator that the estimate is for; empty for all studies.
    """

    model: str
    method: str
    test: str
    k: int
    estimate: float
    se: float
    ci_low: float
    ci_high: float
    pi_low: float
    pi_high: float
    statistic: float
    df: float
    p: float
    tau2: float
    headline: bool = False
    notes: tuple[str, ...] = ()
    prediction: str = ""
    subgroup: str = ""


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """Between-study heterogeneity for one tau2 estimator; i2 in per cent; nan if not estimable.

    Attributes
    ----------
    tau2_low, tau2_high : Q-profile interval; both nan with a note where the set is empty.
    i2, i2_low, i2_high, h2, h2_low, h2_high : from tau2 and the typical variance (Higgins &
        Thompson 2002), the intervals from that of tau2.
    i2_q, i2_q_low, i2_q_high : from Q, max(0, (Q - df) / Q), with its test-based interval.
    tau2_se : standard error of tau2; nan where the estimator has none.
    """

    method: str
    k: int
    q: float
    q_df: int
    q_p: float
    tau2: float
    tau2_low: float
    tau2_high: float
    tau: float
    i2: float
    i2_low: float
    i2_high: float
    i2_q: float
    h2: float
    notes: tuple[str, ...] = ()
    tau2_se: float = math.nan
    h2_low: float = math.nan
    h2_high: float = math.nan
    i2_q_low: float = math.nan
    i2_q_high: float = math.nan


@dataclass(frozen=True, slots=True)
class Component:
    """A variance, or a correlation, of a model with several; nan where not estimable.

    Attributes
    ----------
    model, method : of the estimate that it belongs to.
    name : level or value of the inner variable, as the configuration calls it.
    kind : ``variance`` or ``correlation``.
    groups : number of groups that it varies between.
    i2 : per cent of the total variance, where that is defined.
    """

    model: str
    method: str
    name: str
    kind: str
    value: float
    low: float
    high: float
    groups: int
    i2: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What a model says of the true effect of one study, on the analysis scale.

    Attributes
    ----------
    row : position in the effects.
    method : tau2 estimator, or prior.
    estimate, se : best linear unbiased prediction, or posterior mean and standard deviation.
    low, high : interval of the level of the analysis.
    """

    row: int
    method: str
    estimate: float
    se: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Beyond:
    """How probable it is that the effect of a new study lies beyond a threshold.

    Attributes
    ----------
    threshold : on the display scale.
    side : ``above`` or ``below`` it, on the display scale.
    method : how the probability is computed.
    probability, low, high : fractions; interval nan where there is none.
    """

    threshold: float
    side: str
    method: str
    probability: float
    low: float
    high: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """What one family of models says of one analysis.

    Attributes
    ----------
    estimates : every row; `chosen` is the position of the one that was asked for.
    weights : per cent in that one, one per row of the effects; nan if not pooled, or where the
        model has no weights.
    notes : about the analysis under this family as a whole.
    below : probability that the effect of a new study lies below a value of the analysis scale,
        where its distribution is neither t nor normal.
    """

    estimates: tuple[Estimate, ...]
    chosen: int = 0
    heterogeneity: tuple[Heterogeneity, ...] = ()
    weights: Floats | None = None
    components: tuple[Component, ...] = ()
    shrunk: tuple[Shrunk, ...] = ()
    notes: tuple[str, ...] = ()
    below: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Tau2Interval:
    """An interval of tau2, square of the unit of yi; both ends nan where the set is empty.

    `kind` is a key of `menus.INTERVALS`.
    """

    kind: str
    low: float
    high: float
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether no tau2 is compatible with the data."""
        return math.isnan(self.high)


@dataclass(frozen=True, slots=True)
class Fit:
    """Everything about the pooling of one analysis.

    Attributes
    ----------
    options : of the measure.
    level : confidence level as a fraction.
    prediction : key of the flavour of the headline's prediction interval.
    k : rows that the headline's family pools.
    estimates : all models; at most one of them is the headline.
    heterogeneity : one entry per tau2 estimator, that of the headline method first.
    weights : per cent in the headline model, one per row of the effects; nan if not pooled.
    notes : caveats of the analysis as a whole.
    intervals : of tau2, by every method that was asked for.
    components : variances and correlations of multilevel and multivariate models.
    shrunk : predictions of the true effects of the pooled rows.
    beyond : probabilities beyond thresholds.
    entered : rows that the headline's family pools although inverse variance cannot use them.
    """

    measure: str
    level: float
    prediction: str
    k: int
    k_total: int
    n_total: float
    estimates: tuple[Estimate, ...]
    heterogeneity: tuple[Heterogeneity, ...]
    weights: Floats
    notes: tuple[str, ...] = ()
    intervals: tuple[Tau2Interval, ...] = ()
    components: tuple[Component, ...] = ()
    shrunk: tuple[Shrunk, ...] = ()
    beyond: tuple[Beyond, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    entered: tuple[int, ...] = ()

    @property
    def headline(self) -> Estimate | None:
        """The estimate that a reader wants first; None where there is none."""
        return next((e for e in self.estimates if e.headline), None)
