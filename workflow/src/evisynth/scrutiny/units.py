"""Units nested in patients, and rows nested in clusters: effective numbers as sensitivity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evisynth.families import DEPENDENT, NotEstimable
from evisynth.inference import normal_quantile
from evisynth.inverse_variance import BASIC_TESTS
from evisynth.measures import measure_of
from evisynth.models.covariance import aggregate, constant_correlation
from evisynth.records import EffectSizes, Floats
from evisynth.scrutiny.refit import NAN, Answer, refit, with_effects
from evisynth.specification import Dependence, ModelSpec

KISH = (
    "variance times 1 + (m - 1) icc (Kish 1965; Cochrane Handbook 23.1.4), m the mean number "
    "of units per patient, all patients taken to have as many"
)
COMPOSITE = (
    "one effect per cluster: the mean of its rows, whose variance holds the assumed "
    "correlation (Borenstein et al. 2009, chapter 24)"
)


@dataclass(frozen=True, slots=True)
class Nested:
    """Units of one pooled row that are not patients.

    Attributes
    ----------
    row : position.
    unit : what is counted.
    size : mean number of units per patient; nan where that is not known.
    words : the numbers it is from.
    """

    row: int
    unit: str
    size: float
    words: str


@dataclass(frozen=True, slots=True)
class Effective:
    """An answer under one assumed correlation; without an `answer` the `notes` say why."""

    scenario: str
    rows: tuple[int, ...]
    unit: str
    answer: Answer | None
    notes: tuple[str, ...]


def mean_size(units: Sequence[Sequence[Any]]) -> tuple[float, str]:
    """Mean number of units per patient over the arms of a row, and the numbers in words.

    In a part of an arm (66 evaluable of 67 episodes) there are taken to be as many units per
    patient as in the whole arm, of which alone the patients are known.

    Parameters
    ----------
    units : of each arm: id, unit, units in this row, units of the arm, patients (None: not
        known, unless the unit is the patient).
    """
    total, patients, words = 0.0, 0.0, []
    for arm, unit, count, size, clusters in units:
        own = count if unit == "patients" else clusters
        if own is None or own < 1 or count < 1:
            return (
                NAN,
                f"the number of patients behind the {count} {unit} of {arm} is not known",
            )
        if unit != "patients":
            own = count * own / size
        total, patients = total + count, patients + own
        words.append(f"{count} {unit} of {own:.4g} patients" if unit != "patients" else "")
    return max(1.0, total / patients), "; ".join(filter(None, words))


def nested_rows(effects: EffectSizes, units: Sequence[Sequence[Sequence[Any]]]) -> list[Nested]:
    """Pooled rows whose unit is not the patient; `units` as `mean_size` takes them, by row."""
    found = []
    for row, arms in enumerate(units):
        if not effects.included[row] or not arms:
            continue
        names = ", ".join(sorted({arm[1] for arm in arms} - {"patients"}))
        size, words = mean_size(arms)
        found.append(Nested(row, names, size, words))
    return found


def by_inverse_variance(spec: ModelSpec) -> ModelSpec:
    """The model of `spec` on the analysis scale, whatever its family."""
    if spec.family == "IV":
        return spec
    test = spec.test if spec.test in BASIC_TESTS else "knha"
    return replace(spec, family="IV", test=test, dependence=Dependence())


def effective(
    effects: EffectSizes, nested: Sequence[Nested], iccs: Sequence[float], spec: ModelSpec
) -> list[Effective]:
    """A fit for each assumed correlation within patients, with variances inflated.

    Counts themselves are left as they are: the effect size stays and its variance is multiplied
    by the design effect 1 + (m - 1) icc, which is that of the effective number of units.
    """
    found = [
        Effective("effective number of units", (one.row,), one.unit, None, (one.words,))
        for one in nested
        if math.isnan(one.size)
    ]
    known = [one for one in nested if not math.isnan(one.size)]
    if not known:
        return found
    for icc in iccs:
        vi, words = effects.vi.copy(), []
        for one in known:
            design = 1 + (one.size - 1) * icc
            vi[one.row] *= design
            units = one.words.partition(" ")[0]
            label = effects.label[one.row] or effects.study[one.row]
            words.append(
                f"{label}: {one.words}, design effect {design:.4g}"
                + (f", effective n {float(units) / design:.4g}" if ";" not in one.words else "")
            )
        answer = _refit(effects, vi, spec)
        other: tuple[str, ...] = ()
        if spec.family != "IV":
            other = (f"by inverse variance, not by the family {spec.family}",)
        found.append(
            Effective(
                f"icc {icc:g}",
                tuple(one.row for one in known),
                ", ".join(sorted({one.unit for one in known})),
                answer,
                (*words, KISH, *other),
            )
        )
    return found


def _refit(effects: EffectSizes, vi: Floats, spec: ModelSpec) -> Answer:
    """The answer with other variances; the interval of a single row is normal there."""
    inflated = with_effects(effects, effects.yi, vi)
    answer = refit(inflated, by_inverse_variance(spec))
    if answer.k != 1:
        return answer
    (row,) = np.flatnonzero(effects.pooled).tolist()
    half = normal_quantile(spec.level) * math.sqrt(vi[row])
    low, high = measure_of(effects).shown(effects.yi[row] - half, effects.yi[row] + half)
    return replace(
        answer,
        ci_low=low,
        ci_high=high,
        notes=("k = 1: the study itself, normal interval on the analysis scale",),
    )


def clustered(
    effects: EffectSizes, iccs: Sequence[float], spec: ModelSpec
) -> tuple[Mapping[str, tuple[int, ...]], list[Effective]]:
    """Clusters with several pooled rows, and a fit of one effect per cluster for each icc.

    None is made where the model of `spec` knows the clusters.
    """
    used = np.flatnonzero(effects.pooled).tolist()
    groups: dict[str, list[int]] = {}
    for row in used:
        groups.setdefault(effects.cluster[row], []).append(row)
    several = {name: tuple(rows) for name, rows in groups.items() if len(rows) > 1}
    if not several or spec.family in DEPENDENT:
        return several, []
    found = []
    labels = [effects.cluster[row] for row in used]
    for icc in iccs:
        v = constant_correlation(effects.vi[used], labels, icc)
        joined = aggregate(effects.yi[used], v, labels, weighted=False)
        first = [groups[str(name)][0] for name in joined.cluster]
        yi, vi = effects.yi.copy(), effects.vi.copy()
        yi[first], vi[first] = joined.yi, joined.vi
        one_each = replace(
            with_effects(effects, yi, vi),
            included=tuple(row in first for row in range(len(yi))),
        )
        try:
            answer = refit(one_each, by_inverse_variance(spec))
        except NotEstimable as error:
            answer = Answer(len(first), notes=(str(error),))
        rows = tuple(row for members in several.values() for row in members)
        found.append(Effective(f"rho {icc:g}", rows, "rows", answer, (COMPOSITE,)))
    return several, found
