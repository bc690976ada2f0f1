"""Studies that share patients: what each of them, and the covariance, does to the answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evisynth.records import EffectSizes, RawRow
from evisynth.scrutiny.refit import Answer, Compute, refit, without
from evisynth.specification import Dependence, ModelSpec

FORMULA = "correlation n12 / sqrt(n1 n2) of the sampling errors, n12 the shared {unit}"
# Beyond so many possible numbers only some of them are tried, evenly spaced.
MOST_SIZES = 40


@dataclass(frozen=True, slots=True)
class Overlap:
    """Patients that two studies of an analysis share, as their files declare it.

    Attributes
    ----------
    exactly, at_most : number shared; None where it is not known.
    unit, certainty, quote, notes : of the declaration.
    """

    studies: tuple[str, str]
    exactly: int | None
    at_most: int | None
    unit: str
    certainty: str
    quote: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, declared: Mapping[str, Any]) -> "Overlap":
        """From the settings of an analysis."""
        one, two = declared["studies"]
        return cls(
            (one, two),
            declared["exactly"],
            declared["at_most"],
            declared["unit"],
            declared["certainty"],
            declared["quote"],
            tuple(declared["notes"]),
        )

    @property
    def shared(self) -> str:
        """The number in words."""
        if self.exactly is not None:
            return f"exactly {self.exactly}"
        return "not known" if self.at_most is None else f"at most {self.at_most}"


@dataclass(frozen=True, slots=True)
class Variant:
    """One answer about an overlap; without an `answer` the `notes` say why."""

    scenario: str
    answer: Answer | None
    notes: tuple[str, ...] = ()


def rows_of(effects: EffectSizes, study: str) -> list[int]:
    """Pooled rows of a study."""
    return [
        row
        for row, (name, used) in enumerate(zip(effects.study, effects.included, strict=True))
        if used and name == study
    ]


def dependent(
    rows: Sequence[RawRow], overlap: Overlap, compute: Compute, spec: ModelSpec
) -> list[Variant]:
    """Every answer about one overlap: either study left out, the covariance, bounds.

    Parameters
    ----------
    rows : of the analysis; both studies have pooled ones.
    """
    effects = compute(rows)
    found = [
        Variant(f"without {study}", refit(without(effects, rows_of(effects, study)), spec))
        for study in overlap.studies
    ]
    found += _covariances(effects, overlap, spec)
    size = overlap.at_most if overlap.exactly is None else overlap.exactly
    if size:
        for study in overlap.studies:
            found += _reduced(rows, effects, study, size, compute, spec)
    return found


def _covariances(effects: EffectSizes, overlap: Overlap, spec: ModelSpec) -> list[Variant]:
    """Fits with the covariance that the shared patients imply, by the family MV."""
    one, two = (rows_of(effects, study) for study in overlap.studies)
    if len(one) > 1 or len(two) > 1:
        why = "no covariance: a study has several rows, and which of them share is not declared"
        return [Variant("covariance", None, (why,))]
    sizes = [float(effects.ni[row]) for row in (*one, *two)]
    if any(math.isnan(size) for size in sizes):
        return [
            Variant("covariance", None, ("no covariance: the size of a study is not known",))
        ]
    note = FORMULA.format(unit=overlap.unit)
    most = min(sizes)
    if overlap.exactly is not None:
        bounds, words = [float(overlap.exactly)], "exactly"
    elif overlap.at_most is not None:
        bounds, words = [0.0, float(overlap.at_most)], "at most"
    else:
        bounds, words = [0.0, most], "all of the smaller study"
        note += "; no number is declared, and the smaller study has no more"
    if max(bounds) > most:
        note += f"; the smaller study has {most:g}, so no more can be shared"
        bounds = list(dict.fromkeys(min(bound, most) for bound in bounds))
    found = [
        Variant(
            f"covariance, {size:g} shared" + (f" ({words})" if size else ""),
            _with_covariance(effects, overlap.studies, size, spec),
            (note,),
        )
        for size in bounds
    ]
    if len(bounds) == 1:
        return found
    tried = [
        _with_covariance(effects, overlap.studies, size, spec) for size in _between(*bounds)
    ]
    estimable = [answer for answer in tried if math.isfinite(answer.estimate)]
    if estimable:
        span = f"over 0 to {bounds[-1]:g} shared"
        low = min(estimable, key=lambda answer: answer.estimate)
        high = max(estimable, key=lambda answer: answer.estimate)
        found += [
            Variant(f"lowest estimate {span}", low, (note,)),
            Variant(f"highest estimate {span}", high, (note,)),
        ]
    return found


def _between(low: float, high: float) -> list[float]:
    """Whole numbers from `low` to `high`, or some of them."""
    step = max(1, math.ceil((high - low) / MOST_SIZES))
    return [*range(int(low), int(high), step), high]


def _with_covariance(
    effects: EffectSizes, studies: tuple[str, str], size: float, spec: ModelSpec
) -> Answer:
    """The answer with so many shared patients, beside whatever the model knows already."""
    asked = spec.dependence if spec.family == "MV" else Dependence()
    shared = {**asked.shared, studies: size}
    if not any(shared.values()):
        shared = {}
    model = replace(
        spec,
        family="MV",
        dependence=replace(asked, shared=shared),
        test="z" if spec.test == "z" else "knha",
        method=spec.method if spec.method in ("ML", "REML") else "REML",
        tau2=None,
    )
    answer = refit(effects, model)
    own = () if spec.family == "MV" else (_other_model(spec),)
    return replace(answer, notes=(*answer.notes, *own))


def _other_model(spec: ModelSpec) -> str:
    return (
        f"by the family MV ({spec.effects} effects, "
        + ("z" if spec.test == "z" else "t with k - 1 degrees of freedom")
        + "), as the headline's model takes no covariance: compare with 0 shared"
    )


def _reduced(
    rows: Sequence[RawRow],
    effects: EffectSizes,
    study: str,
    size: int,
    compute: Compute,
    spec: ModelSpec,
) -> list[Variant]:
    """A study of events among n without the shared ones, who had as few or as many events."""
    found = []
    for row in rows_of(effects, study):
        numbers = rows[row].numbers
        if "xi" not in numbers or "ni" not in numbers:
            continue
        events, n = numbers["xi"], numbers["ni"]
        rest = n - size
        if rest < 1:
            found.append(
                Variant(
                    f"{study} without {size} shared", None, (f"all of its {n:g} may be shared",)
                )
            )
            continue
        for kept in dict.fromkeys((max(0.0, events - size), min(events, rest))):
            changed = list(rows)
            changed[row] = replace(rows[row], numbers={**numbers, "xi": kept, "ni": rest})
            found.append(
                Variant(
                    f"{study} without {size} shared, of whom {events - kept:g} had the event: "
                    f"{kept:g}/{rest:g}",
                    refit(compute(changed), spec),
                    ("a bound: how many of the shared had the event is not known",),
                )
            )
    return found
