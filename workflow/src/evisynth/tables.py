"""Effect sizes and fits as tables and JSON, without loss."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from evisynth.records import EffectSizes, Estimate, Fit, Floats, Heterogeneity
from evisynth.tabular import Cell, to_csv, to_json


def _floats(values: Iterable[Any]) -> Floats:
    array = np.array([math.nan if v is None else float(v) for v in values], dtype=float)
    array.flags.writeable = False
    return array


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def effects_to_json(effects: EffectSizes, digest: str) -> str:
    """`effects` as JSON, readable by `effects_from_json` without loss.

    `digest` is that of the rows and settings that they were made from.
    """
    return to_json({"digest": digest, **asdict(effects)})


def effects_from_json(text: str) -> EffectSizes:
    """The effect sizes that `effects_to_json` wrote."""
    tree: dict[str, Any] = json.loads(text)
    arrays = ("yi", "vi", "sei", "ci_low", "ci_high", "ni")
    texts = ("study", "label", "cluster", "included", "reason", "notes", *SOURCES)
    values: dict[str, Any] = {key: _floats(tree[key]) for key in arrays}
    values |= {key: tuple(tree[key]) for key in texts}
    return EffectSizes(
        **values,
        measure=tree["measure"],
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
        level=tree["level"],
        prediction=tree["prediction"],
        k=tree["k"],
        k_total=tree["k_total"],
        n_total=_number(tree["n_total"]),
        estimates=tuple(_estimate(item) for item in tree["estimates"]),
        heterogeneity=tuple(_heterogeneity(item) for item in tree["heterogeneity"]),
        weights=_floats(tree["weights"]),
        notes=tuple(tree["notes"]),
    )


def _estimate(tree: dict[str, Any]) -> Estimate:
    return Estimate(**_record(tree, ("model", "method", "test", "k", "headline")))


def _heterogeneity(tree: dict[str, Any]) -> Heterogeneity:
    return Heterogeneity(**_record(tree, ("method", "k", "q_df")))


def _record(tree: dict[str, Any], as_given: Sequence[str]) -> dict[str, Any]:
    """Fields of a record: some as given, notes as a tuple, all others numbers."""
    values = {
        key: value if key in as_given else _number(value)
        for key, value in tree.items()
        if key != "notes"
    }
    return {**values, "notes": tuple(tree["notes"])}


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
                    "prediction": fit.prediction if estimate.model == "random" else "",
                }
            )
    if not rows:
        rows = [{**common, "headline": False, "notes": "; ".join(fit.notes)}]
    return to_csv(POOLED, rows)


HETEROGENEITY = (
    "analysis subgroup k q q_df q_p tau2 tau2_low tau2_high tau i2 i2_low i2_high i2_q h2 "
    "method notes"
).split()


def heterogeneity_csv(analysis: str, fit: Fit) -> str:
    """heterogeneity.csv: a row per tau2 estimator, that of the headline first."""
    rows: list[dict[str, Cell]] = []
    for entry in fit.heterogeneity:
        values = {key: v for key, v in asdict(entry).items() if key in HETEROGENEITY}
        rows.append(
            {**values, "analysis": analysis, "subgroup": "", "notes": "; ".join(entry.notes)}
        )
    if not rows:
        rows = [
            {"analysis": analysis, "subgroup": "", "k": fit.k, "notes": "; ".join(fit.notes)}
        ]
    return to_csv(HETEROGENEITY, rows)
