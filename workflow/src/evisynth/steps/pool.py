"""From effect sizes to the pooled estimates and their heterogeneity."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evisynth.files import write_text
from evisynth.measures import measure_of
from evisynth.pooling import display, pool, unpooled
from evisynth.records import EffectSizes, Fit, as_pooled
from evisynth.specification import Dependence, ModelSpec
from evisynth.tables import (
    beyond_csv,
    components_csv,
    effects_csv,
    effects_from_json,
    fit_to_json,
    heterogeneity_csv,
    pooled_csv,
    shrunk_csv,
    tau2_intervals_csv,
)


def model_spec(
    model: Mapping[str, Any], level: float, dependence: Mapping[str, Any] | None = None
) -> ModelSpec:
    """A model out of the settings of an analysis."""
    return ModelSpec(**model, level=level, dependence=_dependence(dependence or {}))


def _dependence(settings: Mapping[str, Any]) -> Dependence:
    if not settings:
        return Dependence()
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in settings.items()
        if key != "shared"
    }
    shared = {(one, two): float(most) for one, two, most in settings["shared"]}
    return Dependence(**values, shared=shared)


def fit_analysis(effects: EffectSizes, settings: Mapping[str, Any]) -> Fit:
    """Pool `effects` as the analysis asks; with `pool: no` nothing is, and the fit says why."""
    level, dependence = settings["level"], settings["dependence"]
    main = model_spec(settings["model"], level, dependence)
    if settings["pool"]:
        fit = pool(
            effects,
            main,
            [model_spec(other, level, dependence) for other in settings["also"]],
            intervals=settings["intervals"],
            thresholds=settings["thresholds"],
        )
    else:
        fit = unpooled(effects, main, settings["why_not"])
    return replace(fit, notes=(*fit.notes, *settings["notes"]))


def write_pooled(effects: str, settings: Mapping[str, Any], output: Mapping[str, str]) -> None:
    """Write the tables of one analysis and fit.json."""
    sizes = effects_from_json(Path(effects).read_text(encoding="utf-8"))
    fit = fit_analysis(sizes, settings)
    name = settings["analysis"]
    on_display = [display(estimate, measure_of(fit)) for estimate in fit.estimates]
    shown = as_pooled(sizes, fit.entered)
    write_text(output["effects"], effects_csv(shown, fit.weights))
    write_text(output["pooled"], pooled_csv(name, fit, on_display))
    write_text(output["heterogeneity"], heterogeneity_csv(name, fit))
    write_text(output["tau2_intervals"], tau2_intervals_csv(name, fit))
    write_text(output["components"], components_csv(name, fit))
    write_text(output["blups"], shrunk_csv(name, sizes, fit, measure_of(sizes)))
    write_text(output["beyond"], beyond_csv(name, fit))
    write_text(output["fit"], fit_to_json(fit, analysis=name, settings=dict(settings)))
