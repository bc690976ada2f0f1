"""Families of models: from the rows of an analysis to what each family says of them.

Every function takes effect sizes, of which at least two rows are pooled, and a specification.
Models are imported where they are fitted: a job that needs none of them does not wait for them.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace

import numpy as np

from evisynth.inverse_variance import inverse_variance, prediction_half_width, tau2_of
from evisynth.measures import MEASURES
from evisynth.records import (
    Component,
    EffectSizes,
    Estimate,
    Floats,
    Heterogeneity,
    Rows,
    Shrunk,
)
from evisynth.specification import ModelSpec

NAN = math.nan
EFFECT = "effect"
"""Name of the level of single effects."""
# With no assumption named, robumeta's.
RHO = 0.8


def _of_inverse_variance(effects: EffectSizes, spec: ModelSpec) -> Rows:
    """The chosen row only: the others are in the table that is always there."""
    rows = inverse_variance(effects, spec)
    return replace(rows, estimates=(rows.estimates[rows.chosen],), chosen=0)


def _counts(effects: EffectSizes, names: tuple[str, ...]) -> dict[str, Floats]:
    """Raw numbers of the pooled rows, as given: without any continuity correction."""
    raw, used = effects.raw, effects.pooled
    found = {name: raw[name][used] for name in names if name in raw}
    for cell, size, other in (("bi", "n1i", "ai"), ("di", "n2i", "ci")):
        if cell in names and size in raw:
            rest = raw[size][used] - raw[other][used]
            found[cell] = np.where(np.isnan(found.get(cell, rest)), rest, found.get(cell, rest))
    return found


FOURFOLD = ("ai", "bi", "ci", "di")
RATES = ("x1i", "t1i", "x2i", "t2i")


def _labels(effects: EffectSizes) -> list[str]:
    return [
        label or study
        for label, study, used in zip(
            effects.label, effects.study, effects.included, strict=True
        )
        if used
    ]


def _spread(effects: EffectSizes, weights: Floats) -> Floats:
    """Weights of the pooled rows as weights of all rows, in per cent."""
    found = np.full(len(effects.included), NAN)
    found[effects.pooled] = weights
    return found


def _mantel_haenszel(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.mantel_haenszel import mantel_haenszel, mantel_haenszel_rates

    rates = effects.measure in ("IRR", "IRD")
    names = RATES if rates else FOURFOLD
    found = (mantel_haenszel_rates if rates else mantel_haenszel)(
        effects.measure,
        **_counts(effects, names),
        level=spec.level,
        labels=_labels(effects),
    )
    return Rows(
        estimates=(found.estimate,),
        heterogeneity=(_q_only("MH", found),),
        weights=_spread(effects, found.weights),
        notes=found.notes,
    )


def _peto(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.peto import peto

    found = peto(**_counts(effects, FOURFOLD), level=spec.level, labels=_labels(effects))
    return Rows(
        estimates=(found.estimate,),
        heterogeneity=(_q_only("PETO", found),),
        weights=_spread(effects, found.weights),
        notes=found.notes,
    )


def _glmm(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.glmm import MODELS, estimates, glmm

    measure = effects.measure
    model = spec.glmm if spec.glmm in MODELS[measure] else next(iter(MODELS[measure]))
    names = {"PLO": ("xi", "ni"), "IRLN": ("xi", "ti"), "IRR": RATES}.get(measure, FOURFOLD)
    found = glmm(measure, model, _counts(effects, names), level=spec.level)
    # Knapp and Hartung's factor has no counterpart here; its t distribution has.
    test = "z" if spec.effects == "common" or spec.test == "z" else "t"
    rows = estimates(
        found, level=spec.level, null=MEASURES[measure].null, prediction=spec.prediction
    )
    chosen = [row for row in rows if (row.model, row.test) == (spec.effects, test)] or rows[:1]
    random = found.random
    return Rows(
        estimates=tuple(chosen),
        heterogeneity=(
            Heterogeneity(
                method=chosen[0].method,
                k=found.k,
                q=found.qe_wald,
                q_df=found.qe_wald_df,
                q_p=found.qe_wald_p,
                tau2=random.tau2,
                tau2_low=found.tau2_low,
                tau2_high=found.tau2_high,
                tau=math.sqrt(random.tau2),
                i2=found.i2,
                i2_low=NAN,
                i2_high=NAN,
                i2_q=NAN,
                h2=found.h2,
                notes=("interval of tau2 by profile likelihood", *random.notes),
                tau2_se=random.se_tau2,
            ),
        ),
        notes=found.notes,
    )


def _columns(effects: EffectSizes, name: str) -> list[Hashable]:
    """A column of the pooled rows, by the name that the configuration uses."""
    if name == EFFECT:
        values: tuple[Hashable, ...] = tuple(range(len(effects.study)))
    elif name in ("study", "cluster", "label"):
        values = getattr(effects, name)
    elif name in effects.covariates:
        values = effects.covariates[name]
    else:
        known = ", ".join(("study", "cluster", EFFECT, *effects.covariates))
        raise ValueError(f"no column {name!r} in the effects; expected one of {known}")
    return [v for v, used in zip(values, effects.included, strict=True) if used]


def _multilevel(effects: EffectSizes, spec: ModelSpec) -> Rows:
    asked = spec.dependence
    correlations = dict.fromkeys([asked.rho, *asked.grid])
    fits = [_one_multilevel(effects, spec, rho) for rho in correlations]
    if len(fits) == 1:
        return fits[0]
    rows = [
        replace(
            row,
            method=f"{row.method} (rho = {rho:g})" if place else row.method,
            notes=(f"assumed correlation of sampling errors {rho:g}", *row.notes),
        )
        for place, (rho, fit) in enumerate(zip(correlations, fits, strict=True))
        for row in fit.estimates
        if rho is not None
    ]
    return replace(fits[0], estimates=tuple(rows))


def _one_multilevel(effects: EffectSizes, spec: ModelSpec, rho: float | None) -> Rows:
    from evisynth.models.multilevel import estimate_row, fit, nested, random_effects, structured

    asked, used = spec.dependence, effects.pooled
    yi = effects.yi[used]
    labels = {name: _columns(effects, name) for name in (*asked.levels, EFFECT)}
    x, subgroups = np.ones((yi.size, 1)), [""]
    if asked.structure == "nested":
        terms = nested(**{name: labels[name] for name in asked.levels})
    else:
        inner = [str(value) for value in _columns(effects, asked.inner)]
        outer = labels[asked.levels[0]]
        name = f"{asked.inner} | {asked.levels[0]}"
        terms = (structured(name, inner, outer, asked.structure),)
        subgroups = sorted(set(inner))
        x = np.array([[float(value == one) for one in subgroups] for value in inner])
    working, notes = _sampling_covariance(effects, spec, rho)
    found = fit(
        yi,
        working,
        terms if spec.effects == "random" else (),
        x,
        method=spec.method if spec.method in ("ML", "REML") else "REML",
        test="z" if spec.test == "z" else "t",
        level=spec.level,
        names=subgroups if len(subgroups) > 1 else None,
    )
    rows = tuple(
        replace(estimate_row(found, place), subgroup=subgroup)
        for place, subgroup in enumerate(subgroups)
    )
    if asked.robust != "none" and all(math.isfinite(row.se) for row in rows):
        rows = _robust(rows, found, yi, x, labels[asked.levels[0]], spec)
    components = tuple(
        Component(
            model="multilevel",
            method=found.method,
            name=part.name,
            kind="correlation" if part.name.startswith("rho") else "variance",
            value=part.estimate,
            low=NAN,
            high=NAN,
            groups=part.levels,
            i2=part.i2,
        )
        for part in found.components
    )
    return Rows(
        estimates=rows,
        heterogeneity=(
            Heterogeneity(
                method=f"{found.method} (multilevel)",
                k=found.k,
                q=found.qe,
                q_df=found.qe_df,
                q_p=found.qe_p,
                **dict.fromkeys(
                    "tau2 tau2_low tau2_high tau i2 i2_low i2_high i2_q h2".split(), NAN
                ),
                notes=("variances of the levels: components.csv",),
            ),
        ),
        components=components,
        notes=(*found.notes, *notes),
    )
