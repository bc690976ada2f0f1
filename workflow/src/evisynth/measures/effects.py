"""Effect sizes of the rows of an analysis, with what is done about zero cells."""

import math
from collections.abc import Sequence

import numpy as np

from evisynth.inference import normal_quantile
from evisynth.inputs import INPUTS, check_numbers, with_defaults
from evisynth.measures.base import COUNTS, NAN, Effect, Measure, Numbers, Options
from evisynth.measures.exact import clopper_pearson, garwood
from evisynth.measures.intervals import DEFAULT_CI_LEVEL
from evisynth.measures.registry import configured
from evisynth.records import EffectSizes, Floats, RawRow

TO = ("only0", "all", "if0all", "none", "tacc")
FORMS = ("cells", "meta")
# Of package meta: where the correction does not reach every cell.
EVENTS_ONLY, VARIANCE_ONLY = frozenset({"RR", "PLN"}), frozenset({"RD", "PR"})
ADDED_TO = (
    "added to events and non-events",
    "added to each cell",
    "added to events",
    "for the variance only",
)
REST = "non-events"  # of one group: no input, and so no field


def _given(measure: Measure, numbers: Numbers) -> Numbers:
    """Numbers that the measure knows and that are not nan."""
    return {
        name: float(value)
        for name, value in numbers.items()
        if name in INPUTS[measure.key].known and not math.isnan(value)
    }


def _chosen(measure: Measure, given: Numbers) -> tuple[str, ...]:
    """The first alternative that is complete; empty if none is."""
    return next((names for names in measure.inputs if given.keys() >= set(names)), ())


def _missing(measure: Measure, given: Numbers) -> list[str]:
    if _chosen(measure, given):
        return []
    nearest = min(measure.inputs, key=lambda names: len(set(names) - given.keys()))
    absent = ", ".join(name for name in nearest if name not in given)
    wanted = " or ".join(f"({', '.join(names)})" for names in measure.inputs)
    return [f"{absent} not given: {measure.key} needs {wanted}"]


def _complete(given: Numbers, names: Sequence[str]) -> dict[str, float]:
    """The chosen numbers, with all cells of one or two groups; empty if none are chosen."""
    if not names:
        return {}
    cells = {name: given[name] for name in (*names, "ci_level") if name in given}
    if "xi" in cells and "ni" in cells:
        cells[REST] = cells["ni"] - cells["xi"]
    if "ai" in cells and "bi" not in cells:
        cells["bi"], cells["di"] = cells["n1i"] - cells["ai"], cells["n2i"] - cells["ci"]
    return cells


def _has_zero(cells: Numbers) -> bool:
    return any(cells.get(name) == 0 for name in (*COUNTS, REST))


def _double_zero(cells: Numbers, *, only_events: bool = True) -> str:
    """Why the two groups tell nothing of a ratio; empty if they do.

    Parameters
    ----------
    only_events : whether two groups of events only count too.
    """
    if cells.get("ai") == 0 and cells.get("ci") == 0:
        return "no events in both groups (drop00)"
    if cells.get("x1i") == 0 and cells.get("x2i") == 0:
        return "no events in both groups (drop00)"
    if only_events and cells.get("bi") == 0 and cells.get("di") == 0:
        return "only events in both groups (drop00)"
    return ""


def _additions(cells: Numbers, add: float, *, by_arm: bool) -> tuple[float, float]:
    """What each group gets: `add`, or of its double the share that the group has in the units.

    The treatment-arm correction is the reciprocal of the size of the opposite group, scaled so
    that both add up to 1 for an `add` of 1/2 (Sweeting et al. 2004,
    doi:10.1002/sim.1761): n1/(n1 + n2) and n2/(n1 + n2), by person-time for rates. It leaves
    two groups without events with a ratio of 1.
    """
    if not by_arm:
        return add, add
    if "x1i" in cells:
        one, two = cells["t1i"], cells["t2i"]
    else:
        one, two = cells["ai"] + cells["bi"], cells["ci"] + cells["di"]
    return 2 * add * (one / (one + two)), 2 * add * (two / (one + two))


def _corrected(cells: Numbers, additions: tuple[float, float]) -> dict[str, float]:
    """The cells with a continuity correction; person-time stays as it is."""
    one, two = additions
    extra = {"xi": one, REST: one, "ai": one, "bi": one, "ci": two, "di": two}
    extra |= {"x1i": one, "x2i": two}
    corrected = {name: value + extra.get(name, 0.0) for name, value in cells.items()}
    if REST in cells:
        corrected["ni"] = cells["ni"] + 2 * one
    return corrected


def _like_meta(chosen: Measure, cells: Numbers, additions: tuple[float, float]) -> Effect:
    """The effect with package meta's continuity correction.

    RR and PLN: events and sizes of the groups get the same; where a group, or both groups of
    two, have events only, the first term of the variance is that of the uncorrected events
    (Hartung & Knapp 2001, doi:10.1002/sim.1009, eq. 18). RD and PR: the effect is that of the
    cells as given, the variance that of the corrected cells.
    """
    corrected = _corrected(cells, additions)
    if chosen.key in VARIANCE_ONLY:
        return Effect(chosen.compute(cells).yi, chosen.compute(corrected).vi)
    if chosen.key not in EVENTS_ONLY:
        return chosen.compute(corrected)
    groups = [
        (cells[events], cells[rest], added)
        for events, rest, added in zip(
            ("xi", "ai", "ci"), (REST, "bi", "di"), (additions[0], *additions), strict=True
        )
        if events in cells
    ]
    full = all(rest == 0 for _, rest, _ in groups)
    logs = [math.log((e + added) / (e + rest + added)) for e, rest, added in groups]
    vi = [1 / (e if full else e + added) - 1 / (e + rest + added) for e, rest, added in groups]
    return Effect(logs[0] - math.fsum(logs[1:]), math.fsum(vi))


def _correction_note(
    cells: Numbers, additions: tuple[float, float], *, by_arm: bool, like_meta: str
) -> str:
    """What was added to which numbers; `like_meta`: the measure, for the form of meta."""
    if like_meta in EVENTS_ONLY:
        to = "added to sizes of groups and added to events"
    elif like_meta in VARIANCE_ONLY:
        to = "added to each cell, for the variance only"
    elif "ai" in cells:
        to = "added to each cell"
    else:
        to = "added to events and non-events" if REST in cells else "added to events"
    if by_arm:
        one, two = (f"{amount:.4g}" for amount in additions)
        return f"treatment-arm correction: {one} (group 1) and {two} (group 2) {to}"
    amount = "1/2" if additions[0] == 0.5 else f"{additions[0]:g}"
    return f"{amount} {to}"


def corrections(effects: EffectSizes) -> int:
    """Number of pooled rows that have a continuity correction."""
    return sum(
        included and any(note.endswith(ADDED_TO) for note in notes.split("; "))
        for included, notes in zip(effects.included, effects.notes, strict=True)
    )


def _not_estimable(effect: Effect, zero: bool) -> str:
    """Why an effect cannot be pooled; empty if it can."""
    if effect.why:
        return effect.why
    if not math.isfinite(effect.yi) or not math.isfinite(effect.vi):
        return (
            "not estimable: zero cell"
            if zero
            else "not estimable: effect or variance undefined"
        )
    if effect.vi <= 0:
        return "its sampling variance is 0" + (" (zero cell)" if zero else "")
    return ""


def _size(given: Numbers, cells: Numbers) -> float:
    """Number of units; nan for rates, whose person-time counts none."""
    if "ai" in cells:
        return cells["ai"] + cells["bi"] + cells["ci"] + cells["di"]
    return given.get("ni", given.get("n1i", NAN) + given.get("n2i", NAN))


def _interval(
    measure: Measure, effect: Effect, cells: Numbers, level: float
) -> tuple[float, float, str]:
    """The study's own interval on the display scale, and a note."""
    if "xi" in cells:
        exact = clopper_pearson if "ni" in cells else garwood
        return (*exact(cells["xi"], cells.get("ni", cells.get("ti", NAN)), level), "")
    note = ""
    if "ci_low" in cells:
        printed = cells.get("ci_level", DEFAULT_CI_LEVEL)
        ends = cells["ci_low"], cells["ci_high"]
        if printed == level:
            return (*(measure.shown(*ends) if measure.printed == "analysis" else ends), "")
        note = f"printed at {100 * printed:g}%: {ends[0]:g} to {ends[1]:g}"
    half = normal_quantile(level) * math.sqrt(effect.vi)
    return (*measure.shown(effect.yi - half, effect.yi + half), note)


def _frozen(values: Sequence[float]) -> Floats:
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


def compute_effects(
    measure: str,
    rows: Sequence[RawRow],
    *,
    level: float,
    add: float | None = None,
    to: str = "only0",
    drop00: bool = False,
    form: str = "cells",
    options: Options | None = None,
) -> EffectSizes:
    """Effect sizes of `rows`, in their order; a row that is not pooled stays, with a reason.

    Zero cells as in metafor's `escalc`: `add` (by default 1/2, or 0 where zero cells do no
    harm: `Measure.add`) goes to all four cells, in one group to events and non-events, for
    rates to the events only, of the studies that `to` names: ``only0`` those with a zero cell,
    ``all``, ``if0all`` all if any study that is pooled has a zero cell, ``none``; ``tacc``
    those with a zero cell, in the proportions of the treatment-arm correction. With `drop00`
    studies of two groups without events, or with events only, are not pooled. The `form`
    ``meta`` is that of the R package meta: for RR and PLN it adds to the events and once to the
    size of a group, for RD and PR it touches the variance only, and `drop00` keeps risk ratios
    of groups with events only. Rows that come
    in as not included get their effect too, but decide nothing about the others.

    The study's own interval has the confidence `level` (a fraction) and is on the display
    scale: exact (Clopper-Pearson, Garwood; from the uncorrected counts) for proportions and
    rates; as printed where the effect is from an interval of this level; else normal on the
    analysis scale and transformed back. `options` are those of the measure (`check_options`).

    Raises
    ------
    KeyError
        Unknown measure.
    ValueError
        Impossible numbers (see `check_numbers`; missing ones are no error here, but a reason
        not to be pooled), or impossible options.
    """
    chosen = configured(measure, options)
    if not 0 < level < 1:
        raise ValueError(f"level must be a fraction between 0 and 1, not {level}")
    if to not in TO:
        raise ValueError(f"to must be one of {', '.join(TO)}, not {to!r}")
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
    if add is not None and not (math.isfinite(add) and add >= 0):
        raise ValueError(f"add must be finite and not negative, not {add}")
    if to == "tacc" and chosen.counts and chosen.design != "two_groups":
        raise ValueError(f"to: tacc needs two groups, which {measure} does not have")
    amount = chosen.add if add is None or not chosen.counts else add

    given = [_given(chosen, row.numbers) for row in rows]
    for row, numbers in zip(rows, given, strict=True):
        for field, found, expected in check_numbers(measure, numbers, whole=not row.divided):
            if field in ("vi", "sei") and numbers[field] == 0:
                continue  # possible, though not to be pooled: the row says so
            raise ValueError(f"{measure}, {row.study}: {field} is {found}; expected {expected}")
    names = [_chosen(chosen, numbers) for numbers in given]
    cells = [_complete(numbers, used) for numbers, used in zip(given, names, strict=True)]
    keeps_full = form == "meta" and measure == "RR"
    dropped = [
        _double_zero(numbers, only_events=not keeps_full) if drop00 else "" for numbers in cells
    ]
    any_zero = any(
        _has_zero(numbers)
        for row, numbers, why in zip(rows, cells, dropped, strict=True)
        if row.included and not why
    )

    effects, intervals, reasons, notes = [], [], [], []
    for row, numbers, known, double_zero in zip(rows, cells, given, dropped, strict=True):
        reason = "; ".join(_missing(chosen, known)) or double_zero
        remarks = list(row.notes)
        effect, low, high = Effect(NAN, NAN), NAN, NAN
        if numbers:
            used, additions = numbers, (0.0, 0.0)
            zero, by_arm = _has_zero(numbers), to == "tacc"
            corrects = {"only0": zero, "all": True, "if0all": any_zero, "tacc": zero}
            if amount > 0 and corrects.get(to, False) and not double_zero:
                additions = _additions(numbers, amount, by_arm=by_arm)
                used = _corrected(numbers, additions)
                like_meta = measure if form == "meta" else ""
                remarks.append(
                    _correction_note(numbers, additions, by_arm=by_arm, like_meta=like_meta)
                )
            if not double_zero:
                if form == "meta" and used is not numbers:
                    effect = _like_meta(chosen, numbers, additions)
                else:
                    effect = chosen.compute(used)
                remarks += effect.notes
                reason = _not_estimable(effect, _has_zero(used))
            if not (math.isfinite(effect.yi) and math.isfinite(effect.vi)):
                effect = Effect(NAN, NAN)
            low, high, remark = _interval(chosen, effect, numbers, level)
            remarks += [remark] if remark else []
        effects.append(effect)
        intervals.append((low, high))
        reasons.append(reason if row.included else row.reason)
        notes.append("; ".join(remarks))

    alternatives = [used for used in chosen.inputs if used in names] or chosen.inputs[:1]
    vi = [effect.vi for effect in effects]
    columns = dict.fromkeys(name for used in alternatives for name in used)
    if any("ci_level" in used for used in cells):
        columns["ci_level"] = None  # no input by itself, and part of what an interval says
    return EffectSizes(
        measure=measure,
        study=tuple(row.study for row in rows),
        label=tuple(row.label for row in rows),
        yi=_frozen([effect.yi for effect in effects]),
        vi=_frozen(vi),
        sei=_frozen([math.sqrt(variance) for variance in vi]),
        ci_low=_frozen([low for low, _ in intervals]),
        ci_high=_frozen([high for _, high in intervals]),
        ni=_frozen([_size(numbers, used) for numbers, used in zip(given, cells, strict=True)]),
        cluster=tuple(row.cluster or row.study for row in rows),
        included=tuple(
            row.included and not reason for row, reason in zip(rows, reasons, strict=True)
        ),
        selected=tuple(row.included for row in rows),
        options=with_defaults(measure, options or {}),
        reason=tuple(reasons),
        notes=tuple(notes),
        raw={name: _frozen([numbers.get(name, NAN) for numbers in given]) for name in columns},
        covariates={
            name: tuple(row.covariates.get(name, "") for row in rows)
            for name in dict.fromkeys(name for row in rows for name in row.covariates)
        },
        printed=tuple(row.printed for row in rows),
        report=tuple(row.report for row in rows),
        quote=tuple(row.quote for row in rows),
        place=tuple(row.place for row in rows),
    )
