"""From effect sizes to the pooled estimates and their heterogeneity."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evisynth.files import write_text
from evisynth.pooling import ModelSpec, display, pool, unpooled
from evisynth.records import EffectSizes, Fit
from evisynth.tables import (
    effects_csv,
    effects_from_json,
    fit_to_json,
    heterogeneity_csv,
    pooled_csv,
)

MODEL_KEYS = ("effects", "method", "test", "floor", "prediction", "level")


def model_spec(settings: Mapping[str, Any]) -> ModelSpec:
    """The main model out of the settings of an analysis."""
    return ModelSpec(**{key: settings[key] for key in MODEL_KEYS})


def fit_analysis(effects: EffectSizes, settings: Mapping[str, Any]) -> Fit:
    """Pool `effects` as the analysis asks; with `pool: no` nothing is, and the fit says why."""
    if settings["pool"]:
        fit = pool(effects, model_spec(settings))
    else:
        fit = unpooled(effects, model_spec(settings), settings["why_not"])
    return replace(fit, notes=(*fit.notes, *settings["notes"]))


def write_pooled(effects: str, settings: Mapping[str, Any], output: Mapping[str, str]) -> None:
    """Write effects.csv, pooled.csv, heterogeneity.csv and fit.json of one analysis."""
    sizes = effects_from_json(Path(effects).read_text(encoding="utf-8"))
    fit = fit_analysis(sizes, settings)
    name = settings["analysis"]
    on_display = [display(estimate, fit.measure) for estimate in fit.estimates]
    write_text(output["effects"], effects_csv(sizes, fit.weights))
    write_text(output["pooled"], pooled_csv(name, fit, on_display))
    write_text(output["heterogeneity"], heterogeneity_csv(name, fit))
    write_text(output["fit"], fit_to_json(fit, analysis=name, settings=dict(settings)))
