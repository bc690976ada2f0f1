"""Families of models: from the rows of an analysis to what each family says of them.

Every function takes effect sizes, of which at least two rows are pooled (`rows_for` says which
a family can use), and a specification. Models are imported where they are fitted: a job that
needs none of them does not wait for them.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evisynth.inference import two_sided_p
from evisynth.inverse_variance import few_studies, inverse_variance
from evisynth.measures import corrections, measure_of
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
    from evisynth.models.multilevel import ComponentInterval, MultilevelFit
    from evisynth.models.peto import Peto


class NotEstimable(ValueError):
    """A model that these rows cannot answer; the words say why."""


NAN = math.nan
EFFECT = "effect"
"""Name of the level of single effects."""
# With no assumption named, robumeta's.
RHO = 0.8
MEAN = "the mean"
"""What the one coefficient of a model without moderators is called in notes."""
EXACT = frozenset({"MH", "PETO", "GLMM", "BB", "PLR"})
"""Families of the counts themselves: no effect sizes, no continuity corrections."""
DEPENDENT = frozenset({"MV", "RVE"})
"""Families in which rows may depend on each other."""

FOURFOLD = ("ai", "bi", "ci", "di")
RATES = ("x1i", "t1i", "x2i", "t2i")
COUNTS = {"PLO": ("xi", "ni"), "IRLN": ("xi", "ti"), "IRR": RATES, "IRD": RATES}
"""Counts that the exact families take, by measure; for any other FOURFOLD."""
NO_REGULAR_PREDICTION = ("NNF", "NNF-boot")


def _of_inverse_variance(effects: EffectSizes, spec: ModelSpec) -> Rows:
    """The chosen row only: the others are in the table that is always there."""
    rows = inverse_variance(effects, spec)
    return replace(rows, estimates=(rows.estimates[rows.chosen],), chosen=0)


def _raw(effects: EffectSizes, names: tuple[str, ...]) -> dict[str, Floats]:
    """Raw numbers of all rows, non-events made up from sizes where they are not given."""
    raw = effects.raw
    found = {name: raw[name] for name in names if name in raw}
    for cell, size, other in (("bi", "n1i", "ai"), ("di", "n2i", "ci")):
        if cell in names and size in raw:
            rest = raw[size] - raw[other]
            given = found.get(cell, rest)
            found[cell] = np.where(np.isnan(given), rest, given)
    return {name: found[name] for name in names}


def counts(effects: EffectSizes, names: tuple[str, ...]) -> dict[str, Floats]:
    """Raw numbers of the pooled rows, as given: without any continuity correction."""
    return {name: values[effects.pooled] for name, values in _raw(effects, names).items()}


def rows_for(effects: EffectSizes, family: str) -> EffectSizes:
    """The effects with those rows included that the family can use.

    Exact families use all rows that the reviewer wants pooled and whose counts are complete:
    also those that have no effect size, or none with a variance, because of zero cells, and
    those that `drop00` leaves out, from which they learn what there is to be learned.
    """
    if family not in EXACT or not effects.included:
        return effects
    numbers = _raw(effects, COUNTS.get(effects.measure, FOURFOLD))
    complete = np.all([np.isfinite(values) for values in numbers.values()], axis=0)
    wanted = effects.selected or effects.included
    return replace(
        effects,
        included=tuple(
            one and bool(whole) for one, whole in zip(wanted, complete, strict=True)
        ),
    )


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

    names = COUNTS.get(effects.measure, FOURFOLD)
    found = (mantel_haenszel_rates if names == RATES else mantel_haenszel)(
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
    (Deeks & Higgins 2010; package meta's ``Q.Cochrane``). The common effect is that estimate.
    Method and tau2 of `spec` say nothing here.
    """
    from evisynth.models.mantel_haenszel import mantel_haenszel
    from evisynth.models.tables import Correction, chi_square

    used = effects.pooled
    yi, vi = effects.yi[used], effects.vi[used]
    common = mantel_haenszel(
        effects.measure,
        *counts(effects, FOURFOLD).values(),
        level=spec.level,
        labels=_labels(effects),
        rd_variance="GR",
        correction=Correction(0.5, "only0", drop00=False),
    )
    if spec.effects == "common":
        return Rows(
            estimates=(common.estimate,),
            heterogeneity=(_q_only("MH", common),),
            weights=_spread(effects, common.weights),
            notes=common.notes,
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
    numbers = counts(effects, COUNTS.get(measure, FOURFOLD))
    found = glmm(measure, model, numbers, level=spec.level)
    random, null = found.random, measure_of(effects).null
    flavour = "HK" if spec.prediction in NO_REGULAR_PREDICTION else spec.prediction
    rows = estimates(found, level=spec.level, null=null, prediction=flavour)
    if flavour != spec.prediction:
        why = f"no prediction interval {spec.prediction} for this family"
        rows = tuple(replace(r, pi_low=NAN, pi_high=NAN, notes=(*r.notes, why)) for r in rows)
    rows = tuple(
        replace(row, prediction="" if math.isnan(row.pi_low) else flavour) for row in rows
    )
    common = next(row for row in rows if row.model == "common")
    if found.k < 2:
        informative = "no study carries" if found.k == 0 else "one study carries"
        alone = f"k = {found.k}: {informative} information, nothing is pooled"
        chosen = [replace(common, notes=(alone, *common.notes))]
    elif spec.effects == "common":
        chosen = [common]
    else:
        # Knapp and Hartung's factor has no counterpart here; its t distribution has. With 1
        # degree of freedom that says nothing.
        test = "z" if spec.test == "z" or found.k == 2 else "t"
        few = () if math.isnan(random.tau2) else few_studies(found.k, random.tau2)
        if found.k == 2 and spec.test != "z":
            few = (*few, "t with 1 df is not used as headline: z instead")
        main = next(row for row in rows if (row.model, row.test) == ("random", test))
        chosen = [replace(main, notes=(*few, *main.notes)), common]
    spread = [*random.notes]
    if math.isfinite(found.tau2_low):
        spread.insert(0, "interval of tau2 by profile likelihood")
    if math.isfinite(found.qe_wald):
        spread.append("Q: Wald test of equal effects")
    if math.isfinite(found.qe_lrt_p):
        spread.append(
            f"likelihood ratio test of equal effects: {found.qe_lrt:.6g}, df = {found.qe_df}, "
            f"p = {found.qe_lrt_p:.4g}"
        )
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
                notes=tuple(spread),
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
        known = ", ".join(("study", "label", "cluster", EFFECT, *effects.covariates))
        raise ValueError(f"no column {name!r} in the effects; expected one of {known}")
    return [v for v, used in zip(values, effects.included, strict=True) if used]


def chosen_row(effects: EffectSizes, spec: ModelSpec) -> Estimate:
    """The row of the model of `spec` alone, without what else its family would compute.

    Raises
    ------
    NotEstimable, OverflowError, ValueError
        The model cannot answer these rows.
    """
    used = rows_for(effects, spec.family)
    if spec.family == "MV":
        rows = _one_multilevel(used, spec, spec.dependence.rho, profiles=False)
    else:
        rows = FAMILIES[spec.family](used, spec)
    return rows.estimates[rows.chosen]


def _multilevel(effects: EffectSizes, spec: ModelSpec) -> Rows:
    asked = spec.dependence
    correlations = dict.fromkeys([asked.rho, *asked.grid])
    fits = [_one_multilevel(effects, spec, rho) for rho in correlations]
    if len(fits) == 1:
        return fits[0]
    rows = [
        replace(
            row,
            method=f"{row.method} (rho = {rho or 0:g})" if place else row.method,
            notes=(f"assumed correlation of sampling errors {rho or 0:g}", *row.notes),
        )
        for place, (rho, fit) in enumerate(zip(correlations, fits, strict=True))
        for row in fit.estimates
    ]
    return replace(fits[0], estimates=tuple(rows))


def _one_multilevel(
    effects: EffectSizes, spec: ModelSpec, rho: float | None, *, profiles: bool = True
) -> Rows:
    """The model under one assumed correlation; `profiles`: with intervals of its components."""
    from evisynth.models.multilevel import estimate_row, fit, nested, structured

    asked, used = spec.dependence, effects.pooled
    yi = effects.yi[used]
    # Effects vary between rows at least, if nothing is said of groups of them.
    levels = asked.levels or (EFFECT,)
    labels = {name: _columns(effects, name) for name in (*levels, EFFECT)}
    x, subgroups = np.ones((yi.size, 1)), [""]
    if asked.structure == "nested":
        terms = nested(**{name: labels[name] for name in levels})
    else:
        inner = [str(value) for value in _columns(effects, asked.inner)]
        name = f"{asked.inner} | {levels[-1]}"
        wider = nested(**{name: labels[name] for name in levels[:-1]})
        terms = (*wider, structured(name, inner, labels[levels[-1]], asked.structure))
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
    null = measure_of(effects).null
    rows = tuple(
        _against(replace(estimate_row(found, place), subgroup=subgroup), null)
        for place, subgroup in enumerate(subgroups)
    )
    rows = tuple(
        row
        if math.isnan(row.pi_low)
        else replace(row, prediction="normal" if math.isnan(row.df) else "HK")
        for row in rows
    )
    if spec.prediction in NO_REGULAR_PREDICTION:
        why = f"no prediction interval {spec.prediction} for this family: that of its test"
        rows = tuple(replace(row, notes=(*row.notes, why)) for row in rows)
    if spec.method not in ("ML", "REML") and spec.effects == "random":
        why = f"variances by {found.method}: {spec.method} is for one variance"
        rows = tuple(replace(row, notes=(*row.notes, why)) for row in rows)
    if asked.robust != "none" and all(math.isfinite(row.se) for row in rows):
        rows = _robust(rows, found, yi, x, labels[levels[0]], spec, null)
    if len(subgroups) > 1:
        notes = (*notes, f"an estimate for each {asked.inner}; the headline is the first")
    components = tuple(
        Component(
            model="multilevel",
            method=found.method,
            name=part.name,
            kind="correlation" if part.name.startswith("rho") else "variance",
            value=part.estimate,
            low=interval.low,
            high=interval.high,
            groups=part.levels,
            i2=part.i2,
            notes=interval.notes,
        )
        for part, interval in zip(
            found.components, _profiles(found, wanted=profiles), strict=True
        )
    )
    return Rows(
        estimates=rows,
        heterogeneity=(
            _heterogeneity(
                f"{found.method} (multilevel)",
                found.k,
                q=found.qe,
                q_df=found.qe_df,
                q_p=found.qe_p,
                notes=("variances of the levels: components.csv",) if components else (),
            ),
        ),
        components=components,
        notes=(*found.notes, *notes),
    )


def _profiles(found: "MultilevelFit", *, wanted: bool) -> "tuple[ComponentInterval, ...]":
    """Profile likelihood intervals of the components; nan where not estimable, or `wanted`."""
    from evisynth.models.multilevel import ComponentInterval, profile_intervals

    if wanted and all(math.isfinite(part.estimate) for part in found.components):
        return profile_intervals(found)
    return tuple(ComponentInterval(part.name, NAN, NAN) for part in found.components)


def _against(row: Estimate, null: float | None) -> Estimate:
    """The row, which tests against 0, with a test against `null`; None for no test."""
    if null is None:
        return replace(row, statistic=NAN, p=NAN)
    statistic = (row.estimate - null) / row.se
    p = NAN if math.isnan(statistic) else two_sided_p(statistic, row.df)
    return replace(row, statistic=statistic, p=p)


def _robust(
    rows: tuple[Estimate, ...],
    found: "MultilevelFit",
    yi: Floats,
    x: Floats,
    cluster: list[Hashable],
    spec: ModelSpec,
    null: float | None,
) -> tuple[Estimate, ...]:
    """The same estimates with cluster-robust standard errors."""
    from evisynth.models.robust import robust

    name = spec.dependence.robust
    try:
        sandwich = robust(
            yi,
            found.marginal,
            cluster,
            x,
            kind=name.removesuffix("-identity"),
            target="identity" if name.endswith("-identity") else "working",
            level=spec.level,
            names=[row.subgroup or MEAN for row in rows],
        )
    except ValueError as error:  # correlated effects of different clusters
        raise NotEstimable(f"cluster-robust standard errors: {error}") from error
    notes = [*sandwich.notes]
    if any(math.isfinite(row.pi_low) for row in rows):
        notes.append("no prediction interval with cluster-robust standard errors")
    return tuple(
        _against(
            replace(
                row,
                test=name,
                se=float(sandwich.se[i]),
                df=float(sandwich.df[i]),
                ci_low=float(sandwich.ci_low[i]),
                ci_high=float(sandwich.ci_high[i]),
                pi_low=NAN,
                pi_high=NAN,
                prediction="",
                notes=(
                    *row.notes,
                    *notes,
                    *_no_interval(float(sandwich.se[i]), float(sandwich.ci_low[i])),
                ),
            ),
            null,
        )
        for i, row in enumerate(rows)
    )


def _no_interval(se: float, low: float) -> tuple[str, ...]:
    """Why there is a standard error, but no interval."""
    if math.isfinite(low) or math.isnan(se):
        return ()
    return (
        "interval not estimable: clusters differ so much in weight that the degrees of "
        "freedom are lost to rounding",
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
    sources = [
        name for name in ("rho", "correlation", "shared_arm", "shared") if getattr(asked, name)
    ]
    if len(sources) > 1:
        raise NotEstimable(
            "covariances of sampling errors come from one of rho, correlation, shared_arm and "
            "overlaps, "
            f"not from {' and '.join(sources)}"
        )
    if asked.shared_arm:
        raw = {name: values[used] for name, values in effects.raw.items()}
        if "ai" in raw:
            raw |= counts(effects, FOURFOLD)
        labels = _columns(effects, asked.shared_arm)
        _check_shared(labels, raw)
        notes = ("covariances from shared control groups",)
        if corrections(effects):
            notes = (f"{notes[0]}, whose counts enter without continuity correction",)
        try:
            with np.errstate(divide="ignore"):  # an empty cell, which is refused
                found = shared_control(effects.measure, vi, labels, raw, yi=effects.yi[used])
        except ValueError as error:
            raise NotEstimable(str(error)) from error
        return found, notes
    if asked.shared:
        studies = _columns(effects, "study")
        if repeated := sorted({str(s) for s in studies if studies.count(s) > 1}):
            raise NotEstimable(
                "overlaps are between studies with one row each, not with several as "
                f"{', '.join(repeated)}"
            )
        pairs = {
            (studies.index(one), studies.index(two)): most
            for (one, two), most in asked.shared.items()
            if one in studies and two in studies
        }
        note = f"covariances from the most patients that {len(pairs)} pairs of studies share"
        try:
            return patient_overlap(vi, effects.ni[used], pairs), (note,)
        except ValueError as error:
            raise NotEstimable(str(error)) from error
    if asked.correlation:
        note = f"sampling errors correlated as printed in {asked.correlation}"
        return _printed_correlation(effects, vi, spec), (note,)
    if rho is None or rho == 0:
        return diagonal(vi), ()
    within = asked.within or "cluster"
    groups = _columns(effects, within)
    note = f"sampling errors within {within} have an assumed correlation of {rho:g}"
    if len(set(groups)) == len(groups):
        note = f"the assumed correlation {rho:g} has no effect: no two rows have one {within}"
    return constant_correlation(vi, groups, rho), (note,)


def _printed_correlation(effects: EffectSizes, vi: Floats, spec: ModelSpec) -> "Blocks":
    """Covariances from one printed correlation per group of rows."""
    from evisynth.models.covariance import from_correlations, groups

    name = spec.dependence.correlation
    within = _columns(effects, spec.dependence.within or "cluster")
    cells = [str(cell).strip() for cell in _columns(effects, name)]
    matrices, members = [], groups(within)
    for rows in members:
        given = {cells[row] for row in rows.tolist()}
        try:
            (value,) = (float(cell) for cell in given)
        except ValueError:
            value = NAN
        if not -1 < value < 1:
            found = ", ".join(sorted(given))
            raise NotEstimable(
                f"the correlation {name} of {within[int(rows[0])]} is {found}; "
                "expected one number between -1 and 1 for all its rows"
            )
        matrices.append(np.full((rows.size, rows.size), value))
    return from_correlations(vi, members, matrices)


def _check_shared(labels: list[Hashable], raw: dict[str, Floats]) -> None:
    """Rows of one shared control group have the same numbers of it."""
    for name in ("ci", "n2i", "di", "x2i", "t2i", "m2i", "sd2i"):
        values = raw.get(name)
        if values is None:
            continue
        for label in dict.fromkeys(labels):
            given = {v for v, of in zip(values.tolist(), labels, strict=True) if of == label}
            if len(given) > 1:
                found = ", ".join(f"{value:g}" for value in sorted(given))
                raise NotEstimable(
                    f"rows of the shared control group {label} differ in {name}: {found}"
                )


def _robust_variance(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.robust import rve

    used, asked = effects.pooled, spec.dependence
    # Hierarchical effects have no assumed correlation.
    rhos = [RHO if asked.rho is None else asked.rho, *asked.grid]
    rhos = list(dict.fromkeys(rhos)) if spec.modelweights == "CORR" else rhos[:1]
    null = measure_of(effects).null
    rows: list[Estimate] = []
    spread: list[Heterogeneity] = []
    for place, rho in enumerate(rhos):
        found = rve(
            effects.yi[used],
            effects.vi[used],
            _columns(effects, asked.levels[0] if asked.levels else "cluster"),
            weights=spec.modelweights,
            rho=rho,
            level=spec.level,
            names=[MEAN],
        )
        fit = found.fit
        assumed = (f"assumed correlation {rho:g}",) if spec.modelweights == "CORR" else ()
        row = Estimate(
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
            statistic=NAN,
            df=float(fit.df[0]),
            p=NAN,
            tau2=found.tau2,
            notes=(
                f"{fit.n_clusters} clusters",
                *assumed,
                *dict.fromkeys((*fit.notes, *found.notes)),
                *_no_interval(float(fit.se[0]), float(fit.ci_low[0])),
            ),
        )
        rows.append(_against(row, null))
        between = () if math.isnan(found.omega2) else (f"omega2 {found.omega2:.6g}",)
        spread.append(
            _heterogeneity(
                row.method,
                fit.k,
                tau2=found.tau2,
                i2_q=found.i2,
                notes=("tau2 by moments, between clusters", *between),
            )
        )
    return Rows(estimates=tuple(rows), heterogeneity=tuple(spread))


def _bayesian(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.bayes import bayes, row
    from evisynth.models.priors import named

    used = effects.pooled
    prior = named(spec.prior)
    try:
        found = bayes(effects.yi[used], effects.vi[used], prior, level=spec.level)
    except ValueError as error:
        raise NotEstimable(str(error)) from error
    places = np.flatnonzero(used).tolist()
    assumed = f"prior of tau: {found.prior}, on the analysis scale; of the mean: uniform"
    estimate = row(found)
    tau = found.tau
    return Rows(
        estimates=(
            replace(estimate, prediction="posterior", notes=(assumed, *estimate.notes)),
        ),
        heterogeneity=(
            _heterogeneity(
                found.prior,
                found.k,
                tau2=tau.median**2,
                tau2_low=tau.low**2,
                tau2_high=tau.high**2,
                notes=("tau2: square of the posterior median of tau and of its interval",),
            ),
        ),
        shrunk=tuple(
            Shrunk(place, found.prior, study.mean, study.sd, study.tail_low, study.tail_high)
            for place, study in zip(places, found.studies, strict=True)
        ),
        below=found.new_posterior.below,
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
    row, test = found.estimates[place], found.rho_test
    why: tuple[str, ...] = ("no tau2 in a beta-binomial model",)
    if math.isfinite(found.rho):
        why = (f"correlation within studies {found.rho:.6g} instead of tau2",)
    if math.isfinite(test.p):
        why = (*why, f"likelihood ratio test of no such correlation: p = {test.p:.4g}")
    return Rows(
        estimates=(row,),
        heterogeneity=(_heterogeneity("BB", row.k, notes=why),),
        notes=(*found.notes, *why),
    )


def _penalised(effects: EffectSizes, spec: ModelSpec) -> Rows:
    from evisynth.models.penalised import penalised_logistic

    found = penalised_logistic(
        **counts(effects, FOURFOLD), level=spec.level, labels=_labels(effects)
    )
    why = ("a common effect, without a measure of heterogeneity",)
    return Rows(
        estimates=(found.wald, found.profile),
        heterogeneity=(_heterogeneity("PLR", found.wald.k, notes=why),),
        notes=found.notes,
    )


def _q_only(method: str, found: "MantelHaenszel | Peto") -> Heterogeneity:
    """Heterogeneity around a common effect, where there is no tau2."""
    why = (
        () if math.isfinite(found.q.statistic) else ("no Q: it takes two informative studies",)
    )
    return _heterogeneity(
        method,
        found.estimate.k,
        q=found.q.statistic,
        q_df=found.q.df,
        q_p=found.q.p,
        i2_q=found.i2,
        h2=found.h2,
        notes=why,
    )


def _heterogeneity(
    method: str,
    k: int,
    *,
    q: float = NAN,
    q_df: int = 0,
    q_p: float = NAN,
    tau2: float = NAN,
    tau2_low: float = NAN,
    tau2_high: float = NAN,
    i2_q: float = NAN,
    h2: float = NAN,
    notes: tuple[str, ...] = (),
) -> Heterogeneity:
    """What a family without inverse variance's tau2 knows of heterogeneity."""
    return Heterogeneity(
        method=method,
        k=k,
        q=q,
        q_df=q_df,
        q_p=q_p,
        tau2=tau2,
        tau2_low=tau2_low,
        tau2_high=tau2_high,
        tau=math.sqrt(tau2),
        i2=NAN,
        i2_low=NAN,
        i2_high=NAN,
        i2_q=i2_q,
        h2=h2,
        notes=notes,
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
