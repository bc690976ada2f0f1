"""From effect sizes to the pooled estimates and their heterogeneity."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.linalg import LinAlgError

from evisynth.errors import NotComputable, Problem
from evisynth.exporting.r_script import Asked, r_script
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


def fit_analysis(
    effects: EffectSizes, settings: Mapping[str, Any], file: str = "the configuration"
) -> Fit:
    """Pool `effects` as the analysis asks; with `pool: no` nothing is, and the fit says why.

    Parameters
    ----------
    file : name of the configuration, for messages.

    Raises
    ------
    NotComputable
        With every model that the pooled rows cannot be fitted to.
    """
    level, dependence = settings["level"], settings["dependence"]
    main = model_spec(settings["model"], level, dependence)
    if settings["pool"]:
        also = [model_spec(other, level, dependence) for other in settings["also"]]
        try:
            fit = pool(
                effects,
                main,
                also,
                intervals=settings["intervals"],
                thresholds=settings["thresholds"],
            )
        except LinAlgError:
            raise  # a ValueError by inheritance, but no mistake of the input
        except ValueError:
            asked = {"model": main, **{f"also[{i}]": one for i, one in enumerate(also, 1)}}
            if problems := _impossible(effects, settings["analysis"], asked, file):
                raise NotComputable(problems) from None
            raise
    else:
        fit = unpooled(effects, main, settings["why_not"])
    return replace(fit, notes=(*fit.notes, *settings["notes"]))


def _impossible(
    effects: EffectSizes, analysis: str, asked: Mapping[str, ModelSpec], file: str
) -> list[Problem]:
    """Which of the models the pooled rows cannot be fitted to, and why."""
    problems = []
    for place, spec in asked.items():
        try:
            pool(effects, spec)
        except ValueError as error:
            problems.append(
                Problem(
                    file,
                    f"analyses.{analysis}.{place}",
                    f"{spec.family}, for which {error}",
                    "a model that the pooled studies can answer",
                    "choose another model, or correct what it stands on (`dependence`, data)",
                )
            )
    return problems


def write_pooled(
    effects: str, settings: Mapping[str, Any], output: Mapping[str, str], file: str
) -> None:
    """Write the tables of one analysis, its R script and fit.json.

    Parameters
    ----------
    file : name of the configuration, for messages.
    """
    stored = Path(effects).read_text(encoding="utf-8")
    sizes = effects_from_json(stored)
    fit = fit_analysis(sizes, settings, file)
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
    choices = json.loads(stored)["settings"]
    write_text(output["script"], r_script(Asked(sizes, fit, choices, settings)))
    write_text(output["fit"], fit_to_json(fit, analysis=name, settings=dict(settings)))
