"""Families of models: from the rows of an analysis to what each family says of them.

Every function takes effect sizes, of which at least two rows are pooled, and a specification.
Models are imported where they are fitted: a job that needs none of them does not wait for them.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evisynth.inverse_variance import few_studies, inverse_variance
from evisynth.measures import measure_of
from evisynth.records import (
    Component,
    EffectSizes,
    Estimate,
    Floats,
    Heterogeneity,
    Rows,
    Shrunk,
)
from evisynth.specification import FIXED, ModelSpec

if TYPE_CHECKING:
    from evisynth.models.covariance import Blocks
    from evisynth.models.mantel_haenszel import MantelHaenszel
    from evisynth.models.multilevel import MultilevelFit
    from evisynth.models.peto import Peto


class NotEstimable(ValueError):
    """A model that these rows cannot answer; the words say why."""


NAN = math.nan
EFFECT = "effect"
"""Name of the level of single effects."""
# With no assumption named, robumeta's.
RHO = 0.8


def _of_inverse_variance(effects: EffectSizes, spec: ModelSpec) -> Rows:
    """The chosen row only: the others are in the table that is always there."""
    rows = inverse_variance(effects, spec)
    return replace(rows, estimates=(rows.estimates[rows.chosen],), chosen=0)


def counts(effects: EffectSizes, names: tuple[str, ...]) -> dict[str, Floats]:
    """Raw numbers of the pooled rows, as given: without any continuity correction."""
    raw, used = effects.raw, effects.pooled
    found = {name: raw[name][used] for name in names if name in raw}
    for cell, size, other in (("bi", "n1i", "ai"), ("di", "n2i", "ci")):
        if cell in names and size in raw:
            rest = raw[size][used] - raw[other][used]
            given = found.get(cell, rest)
            found[cell] = np.where(np.isnan(given), rest, given)
    return {name: found[name] for name in names}


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
        *counts(effects, names).values(),
        level=spec.level,
        labels=_labels(effects),
    )
    return Rows(
        estimates=(found.estimate,),
        heterogeneity=(_q_only("MH", found),),
        weights=_spread(effects, found.weights),
        notes=found.notes,
    )


def _mantel_haenszel_random(effects: EffectSizes, spec: ModelSpec) -> Rows:
    """Review Manager's random effects under Mantel and Haenszel's name.

    Weights are inverse variances; tau2 is DerSimonian and Laird's with Q around the
    Mantel-Haenszel estimate, for which 1/2 is added to the cells of studies with a zero cell
    (Deeks & Higgins 2010; package meta's ``Q.Cochrane``). Method and tau2 of `spec` say
    nothing here.
    """
    from evisynth.models.mantel_haenszel import mantel_haenszel
    from evisynth.models.tables import Correction, chi_square

    used = effects.pooled
    yi, vi = effects.yi[used], effects.vi[used]
    # The correction does not touch risk differences, whose estimate needs none.
    common = mantel_haenszel(
        effects.measure,
        *counts(effects, FOURFOLD).values(),
        level=spec.level,
        labels=_labels(effects),
        correction=Correction(0.5, "only0", drop00=False),
    )
    centre = common.estimate.estimate
    if not math.isfinite(centre):
        raise NotEstimable("; ".join(("no Mantel-Haenszel estimate", *common.notes)))
    wi = 1 / vi
    q, df = float(wi @ (yi - centre) ** 2), yi.size - 1
    tau2 = max(0.0, (q - df) / float(wi.sum() - (wi**2).sum() / wi.sum()))
    rows = inverse_variance(effects, replace(spec, family="IV", method=FIXED, tau2=tau2))
    spread = replace(
        rows.heterogeneity[0],
        method="MHDL",
        q=q,
        q_p=chi_square(q, df).p,
        i2_q=100 * max(0.0, (q - df) / q) if q > 0 else 0.0,
        i2_q_low=NAN,
        i2_q_high=NAN,
        notes=(
            "Q around the Mantel-Haenszel estimate",
            *(note for note in rows.heterogeneity[0].notes if "is given" not in note),
        ),
    )
    chosen = rows.estimates[rows.chosen]
    if chosen.model == "random":
        # Not given, as the model that was used to get here says.
        notes = tuple(note for note in chosen.notes if "is given" not in note)
        chosen = replace(chosen, method="MHDL", notes=notes)
    return replace(rows, estimates=(chosen,), chosen=0, heterogeneity=(spread,))


def _peto(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.peto import peto

    found = peto(**counts(effects, FOURFOLD), level=spec.level, labels=_labels(effects))
    return Rows(
        estimates=(found.estimate,),
        heterogeneity=(_q_only("PETO", found),),
        weights=_spread(effects, found.weights),
        notes=found.notes,
    )


def _glmm(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.glmm import MODELS, estimates, glmm

    measure = effects.measure
    # Single groups have one model; which of the models for two groups is the choice.
    model = "GLMM" if "GLMM" in MODELS[measure] else spec.glmm
    names = {"PLO": ("xi", "ni"), "IRLN": ("xi", "ti"), "IRR": RATES}.get(measure, FOURFOLD)
    found = glmm(measure, model, counts(effects, names), level=spec.level)
    # Knapp and Hartung's factor has no counterpart here; its t distribution has. With 1 degree
    # of freedom that says nothing.
    test = "z" if spec.effects == "common" or spec.test == "z" or found.k == 2 else "t"
    why = list(few_studies(found.k, found.random.tau2)) if spec.effects == "random" else []
    if found.k == 2 and spec.test != "z":
        why.append("t with 1 df is not used as headline: z instead")
    rows = estimates(
        found, level=spec.level, null=measure_of(effects).null, prediction=spec.prediction
    )
    rows = tuple(replace(row, prediction=spec.prediction) for row in rows)
    chosen = [row for row in rows if (row.model, row.test) == (spec.effects, test)]
    chosen = [replace(row, notes=(*why, *row.notes)) for row in chosen]
    chosen += [row for row in rows if row.model == "common" != spec.effects]
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
    from evisynth.models.multilevel import estimate_row, fit, nested, structured

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
                tau2=NAN,
                tau2_low=NAN,
                tau2_high=NAN,
                tau=NAN,
                i2=NAN,
                i2_low=NAN,
                i2_high=NAN,
                i2_q=NAN,
                h2=NAN,
                notes=("variances of the levels: components.csv",),
            ),
        ),
        components=components,
        notes=(*found.notes, *notes),
    )


def _robust(
    rows: tuple[Estimate, ...],
    found: "MultilevelFit",
    yi: Floats,
    x: Floats,
    cluster: list[Hashable],
    spec: ModelSpec,
) -> tuple[Estimate, ...]:
    """The same estimates with cluster-robust standard errors."""
    from evisynth.models.robust import robust

    name = spec.dependence.robust
    sandwich = robust(
        yi,
        found.marginal,
        cluster,
        x,
        kind=name.removesuffix("-identity"),
        target="identity" if name.endswith("-identity") else "working",
        level=spec.level,
    )
    return tuple(
        replace(
            row,
            test=name,
            se=float(sandwich.se[i]),
            df=float(sandwich.df[i]),
            statistic=float(sandwich.statistic[i]),
            p=float(sandwich.p_values[i]),
            ci_low=float(sandwich.ci_low[i]),
            ci_high=float(sandwich.ci_high[i]),
            pi_low=NAN,
            pi_high=NAN,
            notes=(*row.notes, *sandwich.notes),
        )
        for i, row in enumerate(rows)
    )


def _sampling_covariance(
    effects: EffectSizes, spec: ModelSpec, rho: float | None
) -> "tuple[Blocks, tuple[str, ...]]":
    """Covariance of the sampling errors of the pooled rows, and what it was made from."""
    from evisynth.models.covariance import (
        constant_correlation,
        diagonal,
        patient_overlap,
        shared_control,
    )

    asked, used = spec.dependence, effects.pooled
    vi = effects.vi[used]
    sources = [name for name in ("rho", "shared_arm", "shared") if getattr(asked, name)]
    if len(sources) > 1:
        raise NotEstimable(
            "covariances of sampling errors come from one of rho, shared_arm and overlaps, "
            f"not from {' and '.join(sources)}"
        )
    if asked.shared_arm:
        raw = {name: values[used] for name, values in effects.raw.items()}
        raw |= counts(effects, FOURFOLD)
        labels = _columns(effects, asked.shared_arm)
        note = "covariances from shared control groups"
        return (
            shared_control(effects.measure, vi, labels, raw, yi=effects.yi[used]),
            (note,),
        )
    if asked.shared:
        studies = _columns(effects, "study")
        pairs = {
            (studies.index(one), studies.index(two)): most
            for (one, two), most in asked.shared.items()
            if one in studies and two in studies
        }
        note = f"covariances from the most patients that {len(pairs)} pairs of studies share"
        return patient_overlap(vi, effects.ni[used], pairs), (note,)
    if rho is None or rho == 0:
        return diagonal(vi), ()
    labels = _columns(effects, asked.within)
    return constant_correlation(vi, labels, rho), (
        f"sampling errors within {asked.within} have an assumed correlation of {rho:g}",
    )


def _robust_variance(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.robust import rve

    used, asked = effects.pooled, spec.dependence
    rhos = dict.fromkeys([RHO if asked.rho is None else asked.rho, *asked.grid])
    rows: list[Estimate] = []
    notes: tuple[str, ...] = ()
    for place, rho in enumerate(rhos):
        found = rve(
            effects.yi[used],
            effects.vi[used],
            _columns(effects, asked.levels[0] if asked.levels else "cluster"),
            weights=spec.modelweights,
            rho=rho,
            level=spec.level,
        )
        fit = found.fit
        null = measure_of(effects).null
        rows.append(
            Estimate(
                model="rve",
                method=spec.modelweights + (f" (rho = {rho:g})" if place else ""),
                test="t",
                k=fit.k,
                estimate=float(fit.beta[0]),
                se=float(fit.se[0]),
                ci_low=float(fit.ci_low[0]),
                ci_high=float(fit.ci_high[0]),
                pi_low=NAN,
                pi_high=NAN,
                statistic=NAN if null is None else float(fit.statistic[0]),
                df=float(fit.df[0]),
                p=NAN if null is None else float(fit.p_values[0]),
                tau2=found.tau2,
                notes=(f"assumed correlation {rho:g}", *fit.notes, *found.notes),
            )
        )
        notes = found.notes
    return Rows(estimates=tuple(rows), notes=notes)


def _bayesian(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.bayes import bayes, row
    from evisynth.models.priors import named

    used = effects.pooled
    found = bayes(effects.yi[used], effects.vi[used], named(spec.prior), level=spec.level)
    places = np.flatnonzero(used).tolist()
    return Rows(
        estimates=(replace(row(found), prediction="posterior"),),
        shrunk=tuple(
            Shrunk(place, found.prior, study.mean, study.sd, study.tail_low, study.tail_high)
            for place, study in zip(places, found.studies, strict=True)
        ),
    )


def _beta_binomial(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.beta_binomial import beta_binomial, beta_binomial_two_groups

    measure = effects.measure
    if measure == "PLO":
        found = beta_binomial(**counts(effects, ("xi", "ni")), level=spec.level)
        place = 0
    else:
        found = beta_binomial_two_groups(**counts(effects, FOURFOLD), level=spec.level)
        place = ("OR", "RR", "RD").index(measure)
    correlation = f"correlation within studies {found.rho:.6g} instead of tau2"
    return Rows(estimates=(found.estimates[place],), notes=(*found.notes, correlation))


def _penalised(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.penalised import penalised_logistic

    found = penalised_logistic(
        **counts(effects, FOURFOLD), level=spec.level, labels=_labels(effects)
    )
    return Rows(estimates=(found.wald, found.profile), notes=found.notes)


def _q_only(method: str, found: "MantelHaenszel | Peto") -> Heterogeneity:
    """Heterogeneity around a common effect, where there is no tau2."""
    return Heterogeneity(
        method=method,
        k=found.estimate.k,
        q=found.q.statistic,
        q_df=found.q.df,
        q_p=found.q.p,
        i2_q=found.i2,
        h2=found.h2,
        tau2=NAN,
        tau2_low=NAN,
        tau2_high=NAN,
        tau=NAN,
        i2=NAN,
        i2_low=NAN,
        i2_high=NAN,
    )


FAMILIES: dict[str, Callable[[EffectSizes, ModelSpec], Rows]] = {
    "IV": _of_inverse_variance,
    "MH": _mantel_haenszel,
    "MHDL": _mantel_haenszel_random,
    "PETO": _peto,
    "GLMM": _glmm,
    "BB": _beta_binomial,
    "PLR": _penalised,
    "MV": _multilevel,
    "RVE": _robust_variance,
    "BAYES": _bayesian,
}
