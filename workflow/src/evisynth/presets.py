"""Named bundles of choices, as other programs and guidance make them; free of numpy.

A choice that the configuration names goes before that of the preset. A preset does what its
program does by default; where this project cannot do the same, `limits` says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ONE_GROUP_COUNTS = ("PLO", "IRLN")
"""Measures of single groups for which the likelihood of the counts is preferred."""

FEW = (
    "one study is shown and not pooled; two studies have no prediction interval, and never a t "
    "distribution with one degree of freedom"
)
"""Where our rules for few studies go before those of every program."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Choices of a program or of guidance.

    Attributes
    ----------
    model : keys of `config.Model`.
    by_measure : further keys of the model, by measure.
    zero_cells : keys of `config.ZeroCells`, by measure.
    measure_options : options by measure.
    source : where the choices are from.
    limits : what the program does otherwise, a sentence each.
    """

    model: Mapping[str, Any]
    source: str
    by_measure: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    zero_cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    measure_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


# Studies without events, or with events only, in both groups say nothing of a ratio: it is
# standard to leave them out (Cochrane Handbook 5.1, 16.9.3), and RevMan and package meta do so.
NO_DOUBLE_ZEROS: Mapping[str, Mapping[str, Any]] = {
    "OR": {"drop00": True},
    "RR": {"drop00": True},
}

PRESETS: dict[str, Preset] = {
    "cochrane2025": Preset(
        model={"method": "REML", "test": "knha", "floor": True, "prediction": "HK"},
        by_measure={measure: {"family": "GLMM"} for measure in ONE_GROUP_COUNTS},
        zero_cells=NO_DOUBLE_ZEROS,
        source=(
            "Cochrane's page on random-effects methods for intervention reviews (in RevMan "
            "since January 2025): REML, Hartung-Knapp-Sidik-Jonkman, Q-profile, I² from tau²"
        ),
        limits=(
            "the floor of narrow Knapp-Hartung intervals, the rules for few studies and the "
            "binomial and Poisson models of single groups are ours, not RevMan's",
            "Cochrane's page leaves open whether prediction intervals take t or normal "
            "quantiles; ours take t with k - 1 degrees of freedom",
            "the variance of SMD is not RevMan's own: `measure_options: {variance: RevMan}`",
            FEW,
        ),
    ),
    "revman5": Preset(
        model={"method": "DL", "test": "z", "floor": False, "prediction": "HTS"},
        by_measure={measure: {"family": "MHDL"} for measure in ("OR", "RR", "RD")},
        zero_cells=NO_DOUBLE_ZEROS,
        measure_options={"SMD": {"variance": "RevMan"}},
        source=(
            "Deeks & Higgins (2010), Statistical algorithms in Review Manager 5; Cochrane "
            "Handbook 5.1, 9.4.4; settings.meta('RevMan5') of the R package meta"
        ),
        limits=(
            "this is RevMan 5's random-effects model; what a new outcome of RevMan 5 starts "
            "with is the common effect: `effects: common`",
            "counts of two groups are pooled under its default name Mantel-Haenszel, with tau2 "
            "from Q around that estimate; its `inverse variance` is `family: IV` here",
            "Peto's method is `family: PETO`, with the common effect only",
            "RevMan 5 prints I² from Q (column i2_q) and no prediction interval; ours has "
            "k - 2 degrees of freedom (Higgins et al. 2009)",
            "risk differences of studies with a zero cell have 1/2 added to each cell, where "
            "the document says only `where zeros cause problems`",
            FEW,
        ),
    ),
    "metafor": Preset(
        model={"method": "REML", "test": "z", "floor": False, "prediction": "normal"},
        measure_options={"ROMC": {"bias": "Lajeunesse2015"}},
        source="metafor 5.0: defaults of escalc, rma and predict",
        limits=(
            "metafor 5 corrects the bias of ROM; that is our measure ROMBC",
            "where rma does not converge, or stops at a lower maximum of the likelihood, this "
            "takes the highest one; PM is exact here and good to about four digits there",
            FEW,
        ),
    ),
    "meta8": Preset(
        model={"method": "REML", "test": "z", "floor": False, "prediction": "V"},
        by_measure={"PLO": {"family": "GLMM"}},
        zero_cells={
            "OR": {"drop00": True, "form": "meta"},
            "RR": {"drop00": True, "form": "meta"},
            **{measure: {"form": "meta"} for measure in ("RD", "PR", "PLN")},
        },
        measure_options={"SMD": {"variance": "UB"}},
        source=(
            "the R package meta 8: documentation of settings.meta, metabin, metacont, metagen, "
            "metainc, metaprop and metarate; what it computes was compared"
        ),
        limits=(
            "its common effect of two groups of counts is Mantel-Haenszel's with 1/2 added to "
            "zero cells (common effect here: inverse variance; row MH: nothing added)",
            "the binomial model of metaprop is fitted with seven quadrature nodes, ours with "
            "as many as the digits need",
            "a mean difference with a standard deviation of 0 in one group has no weight "
            "there, and is pooled here",
            "rates without events (IR, IRD) have not been compared",
            FEW,
        ),
    ),
    "iqwig6": Preset(
        model={"method": "PM", "test": "iqwig6", "prediction": "HTS"},
        source=(
            "IQWiG, General Methods 6, section on meta-analyses, as documented by the R "
            "package meta, settings.meta('IQWiG6'): Paule-Mandel, Knapp-Hartung, its variance "
            "floored where its interval is narrower than DerSimonian-Laird's"
        ),
        limits=(
            "IQWiG chooses between common effect, Knapp-Hartung and a summary in words by the "
            "number of studies and by the interval; this gives the numbers only",
            "prediction intervals have k - 2 degrees of freedom (Higgins et al. 2009); "
            "settings.meta('IQWiG6') takes k - 1 from meta 8 on (`prediction: V`)",
            "what version 6 does about zero cells could not be confirmed: as in the defaults",
            FEW,
        ),
    ),
}


def choices(preset: str, measure: str) -> dict[str, Any]:
    """Keys of the model that `preset` sets for `measure`."""
    chosen = PRESETS[preset]
    return {**chosen.model, **chosen.by_measure.get(measure, {})}


def zero_cells(preset: str, measure: str) -> Mapping[str, Any]:
    """Keys of the continuity correction that `preset` sets for `measure`."""
    return PRESETS[preset].zero_cells.get(measure, {})


def measure_options(preset: str, measure: str) -> Mapping[str, str]:
    """Options that `preset` sets for `measure`."""
    return PRESETS[preset].measure_options.get(measure, {})
