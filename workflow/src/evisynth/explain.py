"""Why two runs of one analysis differ: choice by choice, and how far each moves the number."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from evisynth.errors import safe
from evisynth.measures import compute_effects, measure_of
from evisynth.pooling import display, pool
from evisynth.records import EffectSizes, Estimate, RawRow
from evisynth.specification import Dependence, ModelSpec

NAN = math.nan
OPTION, ZERO_CELLS, MODEL, DEPENDENCE = "options.", "zero_cells.", "model.", "dependence."
# Choices that are impossible one without the other are changed together.
TOGETHER = {"model.tau2": "model.method", "model.weights": "model.method"}
# With more studies that differ, the rows are one step.
MOST_STUDIES = 25
ORDER = (
    "Each choice is changed alone (from the first run), and after all those above it (so far). "
    "What a choice moves so far depends on the order; what it moves alone does not, and what "
    "all move alone need not add up."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One way to analyse: its rows, and every choice by name.

    Attributes
    ----------
    rows : raw numbers by study; a row that is not included is not pooled.
    choices : ``measure``, ``options.NAME``, ``zero_cells.NAME``, ``level``, ``model.NAME``,
        ``dependence.NAME``.
    unpooled : why nothing is pooled; empty where it is.
    """

    rows: tuple[RawRow, ...]
    choices: Mapping[str, Any]
    unpooled: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The headline of a run.

    Attributes
    ----------
    measure : key of the measure.
    estimate : on the analysis scale; None where there is none.
    shown : the same on the display scale.
    why : why there is none; empty where there is one.
    """

    measure: str
    estimate: Estimate | None
    shown: Estimate | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """How far one result is from another, on the analysis scale; nan where that says nothing.

    `width` is the ratio of the widths of their intervals.
    """

    estimate: float
    width: float


@dataclass(frozen=True, slots=True)
class Step:
    """One choice in which two runs differ.

    Attributes
    ----------
    choice, before, after : name of the choice; its value in the first and in the second run.
    alone : the first run with this choice only changed, and how far that is from the first.
    so_far : with this choice and all those before it changed, and how far that is from the step
        before.
    """

    choice: str
    before: str
    after: str
    alone: Result
    alone_change: Change
    so_far: Result
    so_far_change: Change


@dataclass(frozen=True, slots=True)
class Explanation:
    """From the headline of the first run to that of the second."""

    first: Result
    second: Result
    change: Change
    steps: tuple[Step, ...]


def raw_rows(effects: EffectSizes) -> tuple[RawRow, ...]:
    """The rows that `effects` were computed from."""

    def numbers(i: int) -> dict[str, float]:
        found = {name: float(values[i]) for name, values in effects.raw.items()}
        # The size of a study whose effect is printed is in no column of the measure.
        printed = measure_of(effects).design == "effect"
        return {"ni": float(effects.ni[i]), **found} if printed else found

    return tuple(
        RawRow(
            study=study,
            label=effects.label[i],
            numbers=numbers(i),
            cluster=effects.cluster[i],
            covariates={name: texts[i] for name, texts in effects.covariates.items()},
            included=effects.selected[i],
            reason="" if effects.selected[i] else effects.reason[i],
        )
        for i, study in enumerate(effects.study)
    )


def effects_of(run: Run) -> EffectSizes:
    """Effect sizes of a run.

    Raises
    ------
    ValueError
        Choices that are impossible together.
    """
    return compute_effects(
        run.choices["measure"],
        run.rows,
        level=run.choices["level"],
        options=_part(run.choices, OPTION),
        **_part(run.choices, ZERO_CELLS),
    )


def specification(run: Run) -> ModelSpec:
    """The model of a run."""
    return ModelSpec(
        **_part(run.choices, MODEL),
        dependence=Dependence(**_part(run.choices, DEPENDENCE)),
        level=run.choices["level"],
    )


def model_choices(spec: ModelSpec) -> dict[str, Any]:
    """Every choice of a model by its name in a run."""
    model = {name: getattr(spec, name) for name in ModelSpec.__slots__}
    dependence = model.pop("dependence")
    del model["level"]
    return {
        **{MODEL + name: value for name, value in model.items()},
        **{DEPENDENCE + name: getattr(dependence, name) for name in Dependence.__slots__},
    }


def headline(run: Run) -> Result:
    """Headline of a run.

    Raises
    ------
    ValueError
        Choices that are impossible together.
    """
    measure = run.choices["measure"]
    if run.unpooled:
        return Result(measure, None, None, f"not pooled: {run.unpooled}")
    effects = effects_of(run)
    fit = pool(effects, specification(run))
    if fit.headline is None:
        return Result(measure, None, None, fit.notes[0])
    why = ""
    if math.isnan(fit.headline.estimate):
        why = fit.headline.notes[0]
    return Result(measure, fit.headline, display(fit.headline, measure_of(effects)), why)


def _part(choices: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in choices.items()
        if name.startswith(prefix)
    }


def _attempt(run: Run) -> Result:
    """The headline, or why these choices are impossible together."""
    try:
        return headline(run)
    except ValueError as error:
        return Result(run.choices["measure"], None, None, f"impossible: {error}")


def _change(before: Result, after: Result) -> Change:
    one, two = before.estimate, after.estimate
    if one is None or two is None or before.measure != after.measure:
        return Change(NAN, NAN)
    width = one.ci_high - one.ci_low
    ratio = (two.ci_high - two.ci_low) / width if width > 0 else NAN
    return Change(two.estimate - one.estimate, ratio)


Key = tuple[str, str, int]


def _keyed(rows: Sequence[RawRow]) -> dict[Key, RawRow]:
    """Rows by study, label and how often that has been seen."""
    found: dict[Key, RawRow] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for row in rows:
        name = (row.study, row.label)
        found[*name, seen[name]] = row
        seen[name] += 1
    return found


def _numbers(row: RawRow) -> dict[str, float]:
    """Numbers that are given; tables of counts by their four cells, however they are given."""
    found = {name: value for name, value in row.numbers.items() if not math.isnan(value)}
    for events, size, rest in (("ai", "n1i", "bi"), ("ci", "n2i", "di")):
        if events in found and size in found:
            total = found.pop(size)
            found.setdefault(rest, total - found[events])
    return found


def _matter(row: RawRow | None, columns: Sequence[str]) -> tuple[Any, ...] | None:
    """What of a row can move a result; `columns` are those that models take groups from."""
    if row is None:
        return None
    groups = [row.covariates.get(name) for name in columns]
    return _numbers(row), row.included, row.cluster or row.study, groups


def _columns(run: Run) -> list[str]:
    """Columns that the dependence of a run names."""
    names = [run.choices.get(DEPENDENCE + key, "") for key in ("inner", "within", "shared_arm")]
    return [*run.choices.get(DEPENDENCE + "levels", ()), *filter(None, names)]


def _row_text(row: RawRow | None) -> str:
    if row is None:
        return "absent"
    numbers = " ".join(f"{name}={value:.15g}" for name, value in _numbers(row).items())
    return numbers if row.included else f"left out ({row.reason or 'no reason given'})"


Changed = tuple[str, str, str, Callable[[Run], Run]]


def _row_changes(first: Run, second: Run) -> Iterator[Changed]:
    """A change per study that is in one run only, or with other numbers."""
    before, after = _keyed(first.rows), _keyed(second.rows)
    columns = sorted({*_columns(first), *_columns(second)})
    different = [
        key
        for key in dict.fromkeys([*before, *after])
        if _matter(before.get(key), columns) != _matter(after.get(key), columns)
    ]
    if len(different) > MOST_STUDIES:
        yield (
            f"{len(different)} rows that differ",
            f"{len(before)} rows",
            f"{len(after)} rows",
            lambda run: replace(run, rows=second.rows),
        )
        return
    for key in different:
        old, new = before.get(key), after.get(key)
        yield f"study {key[0]}", _row_text(old), _row_text(new), _exchange(key, new)


def _exchange(key: Key, new: RawRow | None) -> Callable[[Run], Run]:
    def change(run: Run) -> Run:
        rows = _keyed(run.rows)
        if new is None:
            del rows[key]
        else:
            rows[key] = new
        return replace(run, rows=tuple(rows.values()))

    return change


def _choice_changes(first: Run, second: Run) -> Iterator[Changed]:
    """A change per choice; measure and options, and what else hangs together, in one."""
    old, new = first.choices, second.choices
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            lead = "measure" if name.startswith(OPTION) else TOGETHER.get(name, name)
            groups.setdefault(lead, []).append(name)
    # In the order of the work, whatever was noticed first.
    names = [name for name in dict.fromkeys([*new, *old]) if name in groups]
    for lead in names:
        changed = groups[lead]
        label = lead if lead in changed else ", ".join(changed)
        yield label, _text(changed, old), _text(changed, new), _take(changed, new)


def _take(names: Sequence[str], source: Mapping[str, Any]) -> Callable[[Run], Run]:
    def change(run: Run) -> Run:
        kept = {name: value for name, value in run.choices.items() if name not in names}
        taken = {name: source[name] for name in names if name in source}
        return replace(run, choices={**kept, **taken})

    return change


def _text(names: Sequence[str], choices: Mapping[str, Any]) -> str:
    """Values of choices; those after the first with their names."""
    texts = [
        _value(choices[name]) if i == 0 else f"{name.split('.')[-1]} {_value(choices[name])}"
        for i, name in enumerate(names)
        if name in choices
    ]
    return ", ".join(texts) or "none"


def _value(value: Any) -> str:
    # A number is not a word: 1.0 is equal to yes.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", (), {}):
        return "default" if value is None else "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{_value(key)}: {_value(item)}" for key, item in value.items())
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def explain(first: Run, second: Run) -> Explanation:
    """Change one choice after the other, from `first` to `second`.

    The order is that of the work: rows, measure with its options, level, zero cells, model.
    What a choice moves can depend on those before it; `Step.alone` shows it without them. After
    the last step stands the second run, exactly.

    Raises
    ------
    ValueError
        One of the runs is impossible by itself.
    """
    start, end = headline(first), headline(second)
    changes = [*_row_changes(first, second), *_choice_changes(first, second)]
    if first.unpooled != second.unpooled:
        changes.append(
            (
                "pool",
                "no" if first.unpooled else "yes",
                "no" if second.unpooled else "yes",
                lambda run: replace(run, unpooled=second.unpooled),
            )
        )
    steps: list[Step] = []
    current, last = first, start
    for place, (name, before, after, change) in enumerate(changes, 1):
        # Sums of floats know the order of rows; the second run has its own.
        current = change(current) if place < len(changes) else second
        alone, so_far = _attempt(change(first)), _attempt(current)
        steps.append(
            Step(
                name, before, after, alone, _change(start, alone), so_far, _change(last, so_far)
            )
        )
        last = so_far
    return Explanation(start, end, _change(start, end), tuple(steps))


def _said(result: Result) -> str:
    """A result on its display scale."""
    if result.shown is None or math.isnan(result.shown.estimate):
        return f"no estimate ({result.why or 'not estimable'})"
    shown = result.shown
    words = f"{result.measure} {shown.estimate:.6g} [{shown.ci_low:.6g}, {shown.ci_high:.6g}]"
    if math.isfinite(shown.pi_low):
        words += f", prediction [{shown.pi_low:.6g}, {shown.pi_high:.6g}]"
    return words + f" ({shown.model}, {shown.method}, {shown.test}, k = {shown.k})"


def _ends(result: Result) -> list[float]:
    """Estimate, then interval, then prediction interval; nan where there is none."""
    row = result.estimate
    if row is None:
        return [NAN] * 5
    return [row.estimate, row.ci_low, row.ci_high, row.pi_low, row.pi_high]


def _moved(before: Result, after: Result, change: Change) -> str:
    """How far, on the analysis scale."""
    if before.measure != after.measure:
        return "another measure: no difference to tell"
    same = [
        one == two or (math.isnan(one) and math.isnan(two))
        for one, two in zip(_ends(before), _ends(after), strict=True)
    ]
    if all(same):
        return "changes nothing"
    if all(same[:3]):
        return "moves the prediction interval only"
    if math.isnan(change.estimate):
        return "no difference to tell"
    words = f"difference {change.estimate:+.6g}"
    return words if math.isnan(change.width) else f"{words}, width x {change.width:.6g}"


def report(found: Explanation, names: Sequence[str]) -> str:
    """The explanation as lines of text: results on the display scale, differences on the other.

    Text from data is made safe for a terminal.

    Parameters
    ----------
    names : what the two runs are called.
    """
    lines = [
        f"{name}: {_said(r)}"
        for name, r in zip(names, (found.first, found.second), strict=True)
    ]
    if not found.steps:
        return "\n".join(map(safe, [*lines, "No choice differs."]))
    lines += [
        f"from the first to the second: {_moved(found.first, found.second, found.change)} "
        "(differences and ratios of widths are on the analysis scale)",
        ORDER,
    ]
    last = found.first
    for step in found.steps:
        lines += [
            f"{step.choice}: {step.before} -> {step.after}",
            f"    alone  {_said(step.alone)}",
            f"           {_moved(found.first, step.alone, step.alone_change)}",
            f"    so far {_said(step.so_far)}",
            f"           {_moved(last, step.so_far, step.so_far_change)}",
        ]
        last = step.so_far
    return "\n".join(map(safe, lines))


def as_tree(found: Explanation, names: Sequence[str]) -> dict[str, Any]:
    """The explanation as what JSON can hold, numbers in full."""
    return {"names": list(names), "order": ORDER, **asdict(found)}
