"""The headline of an analysis under other circumstances, on the display scale."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evisynth.families import NotEstimable, chosen_row, rows_for
from evisynth.measures import measure_of
from evisynth.pooling import display
from evisynth.records import EffectSizes, Floats, RawRow
from evisynth.specification import ModelSpec

NAN = math.nan
Compute = Callable[[Sequence[RawRow]], EffectSizes]
"""Effect sizes of raw rows, with the choices of the analysis."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an analysis.

    Attributes
    ----------
    k : rows pooled.
    estimate, ci_low, ci_high : display scale; nan where not estimable.
    tau2 : analysis scale; nan for a common effect, and where nothing is pooled.
    notes : caveats.
    """

    k: int
    estimate: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    tau2: float = NAN
    notes: tuple[str, ...] = ()


def refit(effects: EffectSizes, spec: ModelSpec) -> Answer:
    """The answer of the model of `spec` to `effects`; for one row that row itself.

    What cannot be estimated is nan, with the reason among the notes.
    """
    used = rows_for(effects, spec.family)
    k = used.included.count(True)
    if k == 0:
        return Answer(0, notes=("not estimable: no study is left",))
    measure = measure_of(effects)
    if k == 1:
        (row,) = np.flatnonzero(used.pooled).tolist()
        return Answer(
            1,
            measure.back(float(effects.yi[row])),
            float(effects.ci_low[row]),
            float(effects.ci_high[row]),
            notes=("k = 1: the study itself",),
        )
    try:
        found = chosen_row(effects, spec)
    except (NotEstimable, OverflowError, ValueError) as error:
        return Answer(k, notes=(f"not estimable: {error}",))
    shown = display(found, measure)
    return Answer(
        found.k, shown.estimate, shown.ci_low, shown.ci_high, shown.tau2, tuple(found.notes)
    )


def without(effects: EffectSizes, rows: Collection[int]) -> EffectSizes:
    """The effects of which `rows` (positions) are not pooled."""
    return replace(
        effects,
        included=tuple(used and row not in rows for row, used in enumerate(effects.included)),
        selected=tuple(
            used and row not in rows
            for row, used in enumerate(effects.selected or effects.included)
        ),
    )


def with_effects(effects: EffectSizes, yi: Floats, vi: Floats) -> EffectSizes:
    """The effects with other effect sizes and variances, shape (rows,)."""
    return replace(effects, yi=yi, vi=vi, sei=np.sqrt(vi))
