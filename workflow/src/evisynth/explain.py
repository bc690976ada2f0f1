"""Why two runs of one analysis differ: choice by choice, and how far each moves the number."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evisynth.measures import MEASURES, compute_effects
from evisynth.pooling import pool
from evisynth.records import EffectSizes, Estimate, RawRow
from evisynth.specification import ModelSpec

NAN = math.nan
MODEL = "model."


@dataclass(frozen=True, slots=True)
class Run:
    """One way to analyse: its rows, and every choice by name.

    Attributes
    ----------
    rows : raw numbers by study; a row that is not included is not pooled.
    choices : ``measure``, ``options.NAME``, ``zero_cells.NAME``, ``level``, ``model.NAME``.
    """

    rows: tuple[RawRow, ...]
    choices: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One choice in which two runs differ.

    Attributes
    ----------
    choice, before, after : name of the choice; its value in the first and in the second run.
    alone : headline of the first run with this choice only changed.
    so_far : headline with this choice and all those before it changed.
    why : why there is no such headline; empty where there is.
    """

    choice: str
    before: str
    after: str
    alone: Estimate | None
    so_far: Estimate | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """From the headline of the first run to that of the second; `measure` is the second's."""

    measure: str
    first: Estimate | None
    second: Estimate | None
    steps: tuple[Step, ...]


def raw_rows(effects: EffectSizes) -> tuple[RawRow, ...]:
    """The rows that `effects` were computed from."""
    return tuple(
        RawRow(
            study=study,
            label=effects.label[i],
            numbers={name: float(values[i]) for name, values in effects.raw.items()},
            cluster=effects.cluster[i],
            covariates={name: texts[i] for name, texts in effects.covariates.items()},
            included=effects.selected[i],
            reason=effects.reason[i],
        )
        for i, study in enumerate(effects.study)
    )


def headline(run: Run) -> Estimate | None:
    """Headline of a run; None where there is none.

    Raises
    ------
    ValueError
        Choices that are impossible together.
    """
    choices = run.choices
    effects = compute_effects(
        choices["measure"],
        run.rows,
        level=choices["level"],
        options=_part(choices, "options."),
        **_part(choices, "zero_cells."),
    )
    return pool(effects, ModelSpec(**_part(choices, MODEL), level=choices["level"])).headline


def _part(choices: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in choices.items()
        if name.startswith(prefix)
    }


def _attempt(run: Run) -> tuple[Estimate | None, str]:
    try:
        found = headline(run)
    except ValueError as error:
        return None, str(error)
    return found, "" if found else "no headline: nothing is pooled"


def _numbers(row: RawRow) -> dict[str, float]:
    return {name: value for name, value in row.numbers.items() if not math.isnan(value)}


def _row_steps(first: Run, second: Run) -> list[tuple[str, str, str, Callable[[Run], Run]]]:
    """A change of rows per study that is in one run only, or with other numbers."""
    before = {(row.study, row.label): row for row in first.rows}
    after = {(row.study, row.label): row for row in second.rows}
    steps: list[tuple[str, str, str, Callable[[Run], Run]]] = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old and new and (_numbers(old), old.included) == (_numbers(new), new.included):
            continue
        steps.append((f"study {key[0]}", _row_text(old), _row_text(new), _exchange(key, new)))
    return steps


def _row_text(row: RawRow | None) -> str:
    if row is None:
        return "absent"
    numbers = " ".join(f"{name}={value:g}" for name, value in _numbers(row).items())
    return numbers if row.included else f"left out ({row.reason or 'no reason given'})"


def _exchange(key: tuple[str, str], new: RawRow | None) -> Callable[[Run], Run]:
    def change(run: Run) -> Run:
        rows = [row for row in run.rows if (row.study, row.label) != key]
        return Run((*rows, new) if new else tuple(rows), run.choices)

    return change


def _choice(name: str, value: Any) -> Callable[[Run], Run]:
    def change(run: Run) -> Run:
        return Run(run.rows, {**run.choices, name: value})

    return change


def explain(first: Run, second: Run) -> Explanation:
    """Change one choice after the other, from `first` to `second`.

    The order is that of the work: rows, measure, its options, zero cells, level, model. What a
    choice moves can depend on those before it; `Step.alone` shows it without them.

    Raises
    ------
    ValueError
        One of the runs is impossible by itself.
    """
    changes = _row_steps(first, second)
    for name in dict.fromkeys([*first.choices, *second.choices]):
        old, new = first.choices.get(name), second.choices.get(name)
        if old != new:
            changes.append((name, _text(old), _text(new), _choice(name, new)))
    steps, current = [], first
    for name, before, after, change in changes:
        current = change(current)
        alone, why_alone = _attempt(change(first))
        so_far, why = _attempt(current)
        steps.append(Step(name, before, after, alone, so_far, why or why_alone))
    return Explanation(
        measure=second.choices["measure"],
        first=headline(first),
        second=headline(second),
        steps=tuple(steps),
    )


def _text(value: Any) -> str:
    return {None: "default", True: "yes", False: "no"}.get(value, str(value))


def report(found: Explanation, names: Sequence[str]) -> str:
    """The explanation as lines of text, on the display scale.

    Parameters
    ----------
    names : what the two runs are called.
    """
    back = MEASURES[found.measure].back

    def said(estimate: Estimate | None) -> str:
        if estimate is None:
            return "no estimate"
        low, high = back(estimate.ci_low), back(estimate.ci_high)
        return f"{back(estimate.estimate):.6g} [{low:.6g}, {high:.6g}]"

    lines = [f"{names[0]}: {said(found.first)}", f"{names[1]}: {said(found.second)}"]
    if not found.steps:
        return "\n".join([*lines, "no choice differs"])
    for step in found.steps:
        lines.append(f"{step.choice}: {step.before} -> {step.after}")
        lines.append(f"    alone {said(step.alone)}; so far {said(step.so_far)}")
        if step.why:
            lines.append(f"    {step.why}")
    return "\n".join(lines)
