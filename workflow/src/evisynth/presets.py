"""Named bundles of choices, as other programs and guidance make them; free of numpy.

A choice that the configuration names goes before that of the preset. A preset does what its
program does by default; where this project cannot do the same, `limits` says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ONE_GROUP_COUNTS = ("PLO", "IRLN")
"""Measures of single groups for which the likelihood of the counts is preferred."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Choices of a program or of guidance.

    Attributes
    ----------
    model : keys of `config.Model`.
    by_measure : further keys of the model, by measure.
    zero_cells : keys of `config.ZeroCells`.
    measure_options : options by measure.
    source : where the choices are from.
    limits : what the program does otherwise.
    """

    model: Mapping[str, Any]
    source: str
    by_measure: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    zero_cells: Mapping[str, Any] = field(default_factory=dict)
    measure_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    limits: str = ""


PRESETS: dict[str, Preset] = {
    "cochrane2025": Preset(
        model={"method": "REML", "test": "knha", "floor": True, "prediction": "HK"},
        by_measure={measure: {"family": "GLMM"} for measure in ONE_GROUP_COUNTS},
        source=(
            "Cochrane's methods page on random effects in RevMan (January 2025); the floor and "
            "the rules for few studies are ours (docs/statistics.md)"
        ),
        limits="RevMan takes its own variance of SMD (`measure_options: {variance: RevMan}`)",
    ),
    "revman5": Preset(
        model={"method": "DL", "test": "z", "floor": False, "prediction": "HTS"},
        zero_cells={"add": 0.5, "to": "only0", "drop00": True},
        measure_options={"SMD": {"variance": "RevMan"}},
        source="Deeks & Higgins (2010), Statistical algorithms in Review Manager 5",
        limits=(
            "RevMan 5 prints no prediction interval; its Mantel-Haenszel random effects take Q "
            "around the Mantel-Haenszel estimate, where this takes Cochran's Q"
        ),
    ),
    "metafor": Preset(
        model={"method": "REML", "test": "z", "floor": False, "prediction": "normal"},
        zero_cells={"add": 0.5, "to": "only0", "drop00": False},
        source="metafor 5.0: defaults of escalc and rma",
    ),
    "meta8": Preset(
        model={"method": "REML", "test": "z", "floor": False, "prediction": "V"},
        by_measure={"PLO": {"family": "GLMM"}, "IRLN": {"family": "GLMM"}},
        zero_cells={"add": 0.5, "to": "only0", "drop00": True},
        source="meta 8: settings.meta, metabin, metaprop",
        limits="its common effect of two groups of counts is Mantel-Haenszel's (row MH)",
    ),
    "iqwig6": Preset(
        model={"method": "PM", "test": "knha", "floor": True, "prediction": "HTS"},
        source="IQWiG (2020), General Methods, version 6.0, section 9.3.8",
        limits=(
            "IQWiG chooses between common effect, Knapp-Hartung and a summary in words by the "
            "number of studies and the interval; this gives the numbers only"
        ),
    ),
}


def choices(preset: str, measure: str) -> dict[str, Any]:
    """Keys of the model that `preset` sets for `measure`."""
    chosen = PRESETS[preset]
    return {**chosen.model, **chosen.by_measure.get(measure, {})}
