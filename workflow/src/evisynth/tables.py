"""Effect sizes and fits as tables and JSON, without loss."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

import numpy as np

from evisynth.measures import Measure
from evisynth.records import (
    Beyond,
    Component,
    EffectSizes,
    Estimate,
    Fit,
    Floats,
    Heterogeneity,
    Shrunk,
    Tau2Interval,
)
from evisynth.tabular import Cell, to_csv, to_json


def _floats(values: Iterable[Any]) -> Floats:
    array = np.array([math.nan if v is None else float(v) for v in values], dtype=float)
    array.flags.writeable = False
    return array


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def effects_to_json(effects: EffectSizes, digest: str, settings: Mapping[str, Any]) -> str:
    """`effects` as JSON, readable by `effects_from_json` without loss.

    Parameters
    ----------
    digest : of the rows and settings that they were made from.
    settings : the choices that they were made with.
    """
    return to_json({"digest": digest, "settings": dict(settings), **asdict(effects)})


def effects_from_json(text: str) -> EffectSizes:
    """The effect sizes that `effects_to_json` wrote."""
    tree: dict[str, Any] = json.loads(text)
    arrays = ("yi", "vi", "sei", "ci_low", "ci_high", "ni")
    texts = ("study", "label", "cluster", "included", "selected", "reason", "notes", *SOURCES)
    values: dict[str, Any] = {key: _floats(tree[key]) for key in arrays}
    values |= {key: tuple(tree[key]) for key in texts}
    return EffectSizes(
        **values,
        measure=tree["measure"],
        options=tree["options"],
        raw={key: _floats(column) for key, column in tree["raw"].items()},
        covariates={key: tuple(column) for key, column in tree["covariates"].items()},
    )


def fit_to_json(fit: Fit, **more: Any) -> str:
    """`fit` as JSON, readable by `fit_from_json` without loss, with `more` before it."""
    return to_json({**more, **asdict(fit)})


def fit_from_json(text: str) -> Fit:
    """The fit that `fit_to_json` wrote."""
    tree = json.loads(text)
    return Fit(
        measure=tree["measure"],
        options=tree["options"],
        level=tree["level"],
        prediction=tree["prediction"],
        k=tree["k"],
        k_total=tree["k_total"],
        n_total=_number(tree["n_total"]),
        weights=_floats(tree["weights"]),
        notes=tuple(tree["notes"]),
        estimates=_records(Estimate, tree["estimates"]),
        heterogeneity=_records(Heterogeneity, tree["heterogeneity"]),
        intervals=_records(Tau2Interval, tree["intervals"]),
        components=_records(Component, tree["components"]),
        shrunk=_records(Shrunk, tree["shrunk"]),
        beyond=_records(Beyond, tree["beyond"]),
        entered=tuple(tree["entered"]),
    )


Record = TypeVar("Record", Estimate, Heterogeneity, Tau2Interval, Component, Shrunk, Beyond)


def _records(kind: type[Record], trees: Iterable[dict[str, Any]]) -> tuple[Record, ...]:
    """Records of one kind: numbers that are missing are nan, notes are tuples."""
    numbers = {entry.name for entry in fields(kind) if entry.type is float}

    def value(name: str, found: Any) -> Any:
        if name in numbers:
            return _number(found)
        return tuple(found) if name == "notes" else found

    return tuple(kind(**{name: value(name, v) for name, v in tree.items()}) for tree in trees)


EFFECTS = (
    "study label measure yi vi sei ci_low ci_high ni weight cluster included reason"
).split()
SOURCES = ("printed", "report", "quote", "place")


def effects_csv(effects: EffectSizes, weights: Floats) -> str:
    """effects.csv: the contract's columns, the raw columns of the measure, notes, covariates.

    Last come the words and the place that the numbers are from.
    """
    raw = [name for name in effects.raw if name not in EFFECTS]
    taken = {*EFFECTS, *raw, *SOURCES, "notes"}
    extra = {
        f"{name}_given" if name in taken else name: values
        for name, values in effects.covariates.items()
    }
    rows: list[dict[str, Cell]] = []
    for i in range(len(effects.study)):
        row: dict[str, Cell] = {"measure": effects.measure, "weight": float(weights[i])}
        for name in ("study", "label", "cluster", "included", "reason", "notes", *SOURCES):
            row[name] = getattr(effects, name)[i]
        for name in ("yi", "vi", "sei", "ci_low", "ci_high", "ni"):
            row[name] = float(getattr(effects, name)[i])
        row |= {name: float(effects.raw[name][i]) for name in raw}
        row |= {name: values[i] for name, values in extra.items()}
        rows.append(row)
    return to_csv([*EFFECTS, *raw, "notes", *extra, *SOURCES], rows)


POOLED = (
    "analysis subgroup model method test k k_total n_total measure estimate se ci_low ci_high "
    "pi_low pi_high statistic df p tau2 scale headline notes level prediction"
).split()


def pooled_csv(analysis: str, fit: Fit, display: Sequence[Estimate]) -> str:
    """pooled.csv: a row per model and scale; without any estimate one row with the reason.

    Parameters
    ----------
    display : the estimates of `fit`, in its order, on the display scale.
    """
    common: dict[str, Cell] = {
        "analysis": analysis,
        "subgroup": "",
        "k": fit.k,
        "k_total": fit.k_total,
        "n_total": fit.n_total,
        "measure": fit.measure,
        "level": fit.level,
    }
    rows: list[dict[str, Cell]] = []
    for on_analysis, on_display in zip(fit.estimates, display, strict=True):
        for scale, estimate in (("analysis", on_analysis), ("display", on_display)):
            values = asdict(estimate)
            notes = "; ".join(dict.fromkeys([*estimate.notes, *fit.notes]))
            rows.append(
                {
                    **common,
                    **{key: values[key] for key in POOLED if key in values},
                    "scale": scale,
                    "notes": notes,
                }
            )
    if not rows:
        rows = [{**common, "headline": False, "notes": "; ".join(fit.notes)}]
    return to_csv(POOLED, rows)


HETEROGENEITY = (
    "analysis subgroup k q q_df q_p tau2 tau2_low tau2_high tau i2 i2_low i2_high i2_q h2 "
    "method notes tau2_se h2_low h2_high i2_q_low i2_q_high"
).split()


def heterogeneity_csv(analysis: str, fit: Fit) -> str:
    """heterogeneity.csv: a row per tau2 estimator, that of the headline first."""
    rows = [
        {"analysis": analysis, "subgroup": "", **_without_q(_cells(entry))}
        for entry in fit.heterogeneity
    ]
    if not rows:
        rows = [
            {"analysis": analysis, "subgroup": "", "k": fit.k, "notes": "; ".join(fit.notes)}
        ]
    return to_csv(HETEROGENEITY, rows)


def _without_q(cells: dict[str, Cell]) -> dict[str, Cell]:
    """No degrees of freedom where there is no Q."""
    return cells if cells.get("q") == cells.get("q") else {**cells, "q_df": None}


def _cells(record: Any) -> dict[str, Cell]:
    """A record as cells, its notes joined."""
    values: dict[str, Cell] = asdict(record)
    if "notes" in values:
        values["notes"] = "; ".join(record.notes)
    return values


TAU2_INTERVALS = "analysis kind tau2_low tau2_high notes".split()


def tau2_intervals_csv(analysis: str, fit: Fit) -> str:
    """tau2_intervals.csv: a row per method of an interval for tau2."""
    rows: list[dict[str, Cell]] = [
        {
            "analysis": analysis,
            "kind": entry.kind,
            "tau2_low": entry.low,
            "tau2_high": entry.high,
            "notes": "; ".join(entry.notes),
        }
        for entry in fit.intervals
    ]
    return to_csv(TAU2_INTERVALS, rows)


COMPONENTS = "analysis model method name kind value low high groups i2 notes".split()


def components_csv(analysis: str, fit: Fit) -> str:
    """components.csv: a row per variance or correlation of a model with several."""
    return to_csv(
        COMPONENTS, [{"analysis": analysis, **_cells(entry)} for entry in fit.components]
    )


SHRUNK = "analysis study label method estimate se low high scale".split()


def shrunk_csv(analysis: str, effects: EffectSizes, fit: Fit, measure: Measure) -> str:
    """blups.csv: a row per study, method and scale."""
    rows: list[dict[str, Cell]] = []
    for entry in fit.shrunk:
        common: dict[str, Cell] = {
            "analysis": analysis,
            "study": effects.study[entry.row],
            "label": effects.label[entry.row],
            "method": entry.method,
        }
        on_analysis = {"estimate": entry.estimate, "low": entry.low, "high": entry.high}
        rows.append({**common, **on_analysis, "se": entry.se, "scale": "analysis"})
        low, high = measure.shown(entry.low, entry.high)
        on_display = {"estimate": measure.back(entry.estimate), "low": low, "high": high}
        rows.append({**common, **on_display, "scale": "display"})
    return to_csv(SHRUNK, rows)


BEYOND = "analysis threshold side method probability low high notes".split()


def beyond_csv(analysis: str, fit: Fit) -> str:
    """beyond.csv: a row per threshold, side and method."""
    return to_csv(BEYOND, [{"analysis": analysis, **_cells(entry)} for entry in fit.beyond])
