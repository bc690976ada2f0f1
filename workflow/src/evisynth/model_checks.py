"""What an analysis asks of its models, and what of it cannot be; free of numpy.

Everything that can be told from the configuration and the selected rows is told here, before
anything is computed. What only the numbers tell is left to the steps.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from evisynth.config import Analysis, Dependence, Model, Regression
from evisynth.errors import echo
from evisynth.formula import (
    CELL,
    DesignError,
    Variable,
    columns_of,
    evaluated,
    rewritten,
    settled,
)
from evisynth.inputs import INPUTS
from evisynth.menus import (
    FAMILY_MEASURES,
    REGRESSION_TESTS,
    SHARED_ARM_MEASURES,
    STUDY_MODERATORS,
    TAU2_GIVEN,
)
from evisynth.prior_tables import read_prior
from evisynth.rows import RawRow
from evisynth.specification import FIXED, METHOD_OF_TEST, NOT_AROUND_MH
from evisynth.validation import choices, nearest

Wrong = Callable[[str, str, str, str], None]
"""Says what is wrong: place within the analysis, found, expected, action."""

DEPENDENT = ("MV", "RVE")
EFFECT = "effect"
NEEDS_T = ("z", "t", "knha")
"""Tests that families with a likelihood of their own know: z, or t."""
USED = {
    "IV": {"method", "tau2", "weights", "test", "floor", "prediction", "replicates", "seed"},
    "MH": set[str](),
    "MHDL": {"test", "floor", "prediction", "replicates", "seed"},
    "PETO": set[str](),
    "GLMM": {"glmm", "test", "prediction"},
    "BB": set[str](),
    "PLR": set[str](),
    "MV": {"method", "test"},
    "RVE": {"modelweights"},
    "BAYES": {"prior"},
}
"""Keys of a model that a family looks at, besides `effects`."""
PRIOR_MEASURES = {
    "turner": ("OR", "PETO", "RR", "HR", "IRR", "GEN"),
    "rhodes": ("SMD", "SMDH", "SMCC", "SMCR", "GEN"),
}
"""Measures in whose unit the published priors are."""
CORRELATIONS = ("COR", "ZCOR", "PCOR", "ZPCOR", "PHI", "YUQ", "YUY")
NOT_NEGATIVE = ("IR", "IRS")


@dataclass(frozen=True, slots=True)
class Asked:
    """A model of an analysis with all its keys, and where each of them is set.

    Attributes
    ----------
    entry : ``model`` or ``also[i]``.
    given : keys that the entry itself sets.
    places : place of each key, from the top of the configuration.
    """

    entry: str
    model: Model
    given: frozenset[str]
    places: Mapping[str, str]


def check_models(
    analysis: Analysis,
    asked: Sequence[Asked],
    options: Mapping[str, object],
    wrong: Wrong,
    at: Wrong,
) -> None:
    """Models, thresholds and dependence of an analysis.

    Parameters
    ----------
    asked : the main model and those of `also`.
    options : of the measure.
    wrong, at : to be told of what is wrong, by its place in the analysis, or in the file.
    """
    for one in asked:
        _check_model(analysis.measure, one, at)
    _check_said(asked, wrong)
    families = [one.model.family for one in asked]
    if "MV" in families and not (analysis.dependence and analysis.dependence.levels):
        wrong(
            f"{asked[families.index('MV')].entry}.family",
            "MV without `dependence.levels`",
            "which rows are not independent",
            "add dependence: {levels: [...]}",
        )
    if analysis.dependence:
        _check_dependence(analysis, analysis.dependence, asked, wrong)
    _check_thresholds(analysis, options, wrong)
    for key in ("intervals", "thresholds"):
        _check_twice(key, getattr(analysis, key), wrong)
    if not analysis.pool:
        for key in ("also", "thresholds", "subgroups", "regressions"):
            if getattr(analysis, key):
                wrong(
                    key,
                    "given with `pool: no`, where nothing is pooled",
                    "no such key",
                    "remove it",
                )


def _check_model(measure: str, one: Asked, at: Wrong) -> None:
    """Keys of one model that contradict each other, or the measure."""
    model, places = one.model, one.places
    possible = FAMILY_MEASURES.get(model.family, (measure,))
    if measure not in possible:
        at(
            places["family"],
            f"{model.family} with the measure {measure}",
            f"a family for {measure}; {model.family} is for {', '.join(possible)}",
            "choose another family or measure",
        )
    if (model.method == FIXED) != (model.tau2 is not None):
        given = model.tau2 is not None
        at(
            places["tau2" if given else "method"],
            f"tau2 with the method {model.method}" if given else "`fixed` without `tau2`",
            f"`tau2` with the method {FIXED}, and only with it",
            f"choose the method {FIXED}, or remove tau2" if given else "add `tau2: VALUE`",
        )
    wanted = METHOD_OF_TEST.get(model.test)
    if wanted and model.family == "IV" and model.method != wanted:
        at(
            places["test"],
            f"{model.test} with the method {model.method}"
            + _origin(places, "method", places["test"]),
            f"the method {wanted}, which this test is for",
            f"write `method: {wanted}` too, or choose another test",
        )
    if model.family in ("GLMM", "MV") and model.test not in NEEDS_T:
        at(
            places["test"],
            f"{model.test} with the family {model.family}",
            f"one of {', '.join(NEEDS_T)} (z, or t for the other two)",
            "choose one of these",
        )
    if model.family == "MHDL" and model.test in NOT_AROUND_MH:
        at(
            places["test"],
            f"{model.test} with the family MHDL" + _origin(places, "family", places["test"]),
            "the family IV, which this test is for",
            "write `family: IV` too, or choose another test",
        )
    if model.family == "MV" and model.method not in ("REML", "ML"):
        at(
            places["method"],
            f"{model.method} with the family MV" + _origin(places, "method", places["family"]),
            "REML or ML",
            "choose one of these",
        )
    if model.family == "GLMM" and measure == "IRR" and model.glmm == "CM.AL":
        at(
            places["glmm"],
            "CM.AL with the measure IRR",
            "CM.EL: given the events in all, the likelihood of rates is exact",
            "write `glmm: CM.EL`",
        )
    _check_prior(measure, one, at)


def _origin(places: Mapping[str, str], key: str, beside: str) -> str:
    """Where `key` is set, if its reader would not see it near the place `beside`."""
    same = places[key].rpartition(".")[0] == beside.rpartition(".")[0]
    return "" if same else f" (from {places[key]})"


def _check_prior(measure: str, one: Asked, at: Wrong) -> None:
    place, text = one.places["prior"], one.model.prior
    try:
        name, _ = read_prior(text)
    except ValueError as error:
        at(
            place,
            str(error),
            "half_normal(scale), half_cauchy(scale), uniform(maximum), log_normal(location; "
            "scale), log_student_t(location; scale), turner(outcome; comparison) or "
            "rhodes(outcome; comparison; area)",
            "correct it",
        )
        return
    possible = PRIOR_MEASURES.get(name, (measure,))
    if one.model.family == "BAYES" and measure not in possible:
        at(
            place,
            f"{name} with the measure {measure}",
            f"a measure whose unit this prior is in: {', '.join(possible)}",
            "choose another prior",
        )


def _check_said(asked: Sequence[Asked], wrong: Wrong) -> None:
    """Further models say something, and something else.

    So does the main one where its family is the preset's: a method that was chosen would be
    left aside without a word.
    """
    for place, one in enumerate(asked):
        if place == 0 and "family" in one.given:
            continue
        family = one.model.family
        own = "family" in one.given
        for key in sorted(one.given - {"family", "effects"} - USED[family]):
            wrong(
                f"{one.entry}.{key}",
                f"given for the family {family}, where it says nothing",
                "no such key" if own else "a family that has it, such as IV",
                "remove it" if own else "remove it, or add `family: IV`",
            )
        twin = next((o.entry for o in asked[:place] if o.model == one.model), "")
        if twin:
            wrong(one.entry, f"the same model as `{twin}`", "another model", "remove it")


def _check_dependence(
    analysis: Analysis, asked: Dependence, models: Sequence[Asked], wrong: Wrong
) -> None:
    families = {one.model.family for one in models}
    given = asked.model_fields_set
    if not families & set(DEPENDENT):
        wrong(
            "dependence",
            "given, and no model of the families MV and RVE",
            "a model that takes it into account",
            "choose `family: MV` or `RVE` in `model` or `also`, or remove it",
        )
    if asked.structure == "nested" and asked.inner:
        wrong(
            "dependence.inner",
            "given for the structure nested, where it says nothing",
            "a structure such as CS, HCS or UN",
            "add `structure`, or remove `inner`",
        )
    if asked.structure != "nested" and not asked.inner:
        wrong(
            "dependence.structure",
            f"{asked.structure} without `inner`",
            "the column of what is measured several times",
            "add `inner: COLUMN`",
        )
    if asked.structure != "nested" and len(asked.levels) > 1:
        wrong(
            "dependence.levels",
            f"{len(asked.levels)} columns with the structure {asked.structure}",
            "one column, of the groups that are independent",
            "name one, or choose the structure nested",
        )
    for i, name in enumerate(asked.levels[:-1], 1):
        if name == EFFECT:
            wrong(
                f"dependence.levels[{i}]",
                f"`{EFFECT}` before another level",
                "the widest level first, single effects last",
                "put it last",
            )
    _check_twice("dependence.levels", asked.levels, wrong)
    _check_correlation(asked, models, wrong)
    sources = [
        key for key in ("rho", "correlation", "shared_arm", "overlaps") if getattr(asked, key)
    ]
    if len(sources) > 1:
        wrong(
            f"dependence.{sources[1]}",
            f"given beside {sources[0]}",
            "one source of covariances: rho, correlation, shared_arm or overlaps",
            "choose one",
        )
    if asked.overlaps and analysis.table:
        wrong(
            "dependence.overlaps",
            "given with `table`",
            "overlaps, which study files declare",
            "remove it",
        )
    if asked.shared_arm and analysis.measure not in SHARED_ARM_MEASURES:
        wrong(
            "dependence.shared_arm",
            f"given for the measure {analysis.measure}",
            f"one of {', '.join(SHARED_ARM_MEASURES)}",
            "assume a correlation (`rho`) instead",
        )
    only_rve = "MV" not in families and "RVE" in families
    for key in (
        "correlation",
        "shared_arm",
        "overlaps",
        "structure",
        "inner",
        "robust",
        "within",
    ):
        if only_rve and key in given:
            wrong(
                f"dependence.{key}",
                "given for the family RVE, where it says nothing",
                "levels (the clusters), rho and grid",
                "remove it, or choose the family MV",
            )


def _check_correlation(asked: Dependence, models: Sequence[Asked], wrong: Wrong) -> None:
    """The assumed correlation, and those of its sensitivity rows."""
    if asked.grid and asked.rho is None:
        wrong(
            "dependence.grid",
            "given without `rho`",
            "`rho`: the correlation of the main row",
            "add `rho`",
        )
    if "within" in asked.model_fields_set and asked.rho is None and not asked.correlation:
        wrong(
            "dependence.within",
            "given without `rho`",
            "`rho`: the correlation within these rows",
            "add `rho`, or remove it",
        )
    _check_twice("dependence.grid", asked.grid, wrong)
    for one in models:
        if one.model.family != "RVE":
            continue
        for key, values in (("rho", [asked.rho]), ("grid", asked.grid)):
            if any(value is not None and value < 0 for value in values):
                wrong(
                    f"dependence.{key}",
                    "a negative correlation with the family RVE",
                    "0 to 1",
                    "correct it",
                )
        if one.model.modelweights == "HIER" and asked.grid:
            wrong(
                "dependence.grid",
                "given with `modelweights: HIER`, which assumes no correlation",
                "`modelweights: CORR`",
                "remove it, or choose CORR",
            )


def _check_twice(place: str, values: Sequence[object], wrong: Wrong) -> None:
    for i, value in enumerate(values, 1):
        if value in values[: i - 1]:
            wrong(f"{place}[{i}]", f"{echo(value)} a second time", "each once", "remove it")


def displayed(measure: str, options: Mapping[str, object]) -> tuple[float, float, bool, str]:
    """Lowest and highest value of the display scale, whether the lowest can be, and words."""
    axis = INPUTS[measure].axis
    chosen = options.get("transformation", "")
    if axis == "log" or chosen == "exp":
        return 0.0, math.inf, False, "above 0, as a ratio is"
    if axis == "proportion" or chosen == "expit":
        return 0.0, 1.0, True, "a fraction from 0 to 1"
    if measure in CORRELATIONS or chosen == "tanh":
        return -1.0, 1.0, True, "a correlation from -1 to 1"
    if measure == "RD":
        return -1.0, 1.0, True, "a difference of fractions, from -1 to 1"
    if measure in NOT_NEGATIVE:
        return 0.0, math.inf, True, "a rate, 0 or above"
    return -math.inf, math.inf, True, ""


def _check_thresholds(analysis: Analysis, options: Mapping[str, object], wrong: Wrong) -> None:
    low, high, closed, words = displayed(analysis.measure, options)
    for i, value in enumerate(analysis.thresholds, 1):
        if not low <= value <= high or (value == low and not closed):
            wrong(f"thresholds[{i}]", f"{value:g}", words, "correct it: the display scale")


def known_columns(analysis: Analysis) -> set[str]:
    """Names of columns that subgroups and formulas may use."""
    year = {"year"} if analysis.table and "year" in analysis.columns else set()
    return {"study", "cluster", *year, *analysis.moderators}


def check_moderators(analysis: Analysis, main: Asked | None, wrong: Wrong) -> None:
    """Subgroups and regressions, as far as no row is needed.

    Parameters
    ----------
    main : the main model; None where it could not be read.
    """
    known = known_columns(analysis)
    if not analysis.table:
        for i, name in enumerate(analysis.moderators, 1):
            if name not in STUDY_MODERATORS:
                wrong(
                    f"moderators[{i}]",
                    f"{echo(name)}",
                    f"of study files: {', '.join(STUDY_MODERATORS)}",
                    f"correct it{nearest(name, STUDY_MODERATORS)}",
                )
    named = [(f"subgroups[{i}].by", entry.by) for i, entry in enumerate(analysis.subgroups, 1)]
    _check_columns(named, known, wrong)
    if asked := analysis.dependence:
        named = [(f"dependence.levels[{i}]", name) for i, name in enumerate(asked.levels, 1)]
        named += [
            (f"dependence.{key}", name)
            for key in ("within", "inner", "correlation", "shared_arm")
            if (name := getattr(asked, key))
        ]
        _check_columns(named, known | {"label", EFFECT}, wrong)
    pairs = [(entry.by, entry.tau2) for entry in analysis.subgroups]
    for i, pair in enumerate(pairs, 1):
        if pair in pairs[: i - 1]:
            wrong(f"subgroups[{i}]", f"{pair[0]} a second time", "each once", "remove it")
    if main and analysis.subgroups and main.model.method in TAU2_GIVEN:
        wrong(
            "subgroups",
            f"given with the method {main.model.method}",
            "an estimator of tau2 that needs no number, as every subgroup has its own",
            "choose another method, or remove it",
        )
    seen: dict[object, str] = {}
    for key, entry in analysis.regressions.items():
        _check_regression(f"regressions.{key}", entry, known, main, wrong)
        what = (
            "".join(entry.formula.split()),
            entry.method,
            entry.test,
            *entry.reference.items(),
        )
        twin = seen.setdefault(what, key)
        if twin != key:
            wrong(
                f"regressions.{key}",
                f"the same model as regressions.{twin}",
                "every model once",
                "give all predictions and contrasts of a model in one place",
            )


def _check_columns(
    named: Iterable[tuple[str, str]], known: Iterable[str], wrong: Wrong
) -> None:
    for where, name in dict.fromkeys(named):
        if name not in known:
            wrong(
                where,
                f"the column {echo(name)}",
                f"one of: {choices(known)}",
                f"correct it, or add it to `moderators`{nearest(name, known)}",
            )


def _check_regression(
    where: str, entry: Regression, known: set[str], main: Asked | None, wrong: Wrong
) -> None:
    if entry.test and entry.test not in REGRESSION_TESTS:
        wrong(
            f"{where}.test",
            entry.test,
            f"one of {', '.join(REGRESSION_TESTS)}, which there are with moderators",
            "choose one of these",
        )
    if main and entry.method == FIXED and main.model.tau2 is None:
        wrong(
            f"{where}.method",
            "`fixed` without `tau2`",
            "`tau2` in `model`, with the method fixed",
            "give it there, or choose an estimator",
        )
    columns = _columns_of(where, entry, known, wrong)
    if columns is None:
        return
    for name in entry.reference:
        if name not in columns:
            wrong(
                f"{where}.reference.{name}",
                f"{echo(name)}, which the formula does not use",
                f"one of: {choices(columns) or 'nothing, the formula has no column'}",
                f"correct it{nearest(name, columns)}",
            )
    for i, values in enumerate(entry.predict, 1):
        if missing := [name for name in columns if name not in values]:
            wrong(
                f"{where}.predict[{i}]",
                f"no value of {', '.join(missing)}",
                f"a value of each of: {', '.join(columns)}",
                "add it",
            )
        for name in values:
            if name not in columns:
                wrong(
                    f"{where}.predict[{i}].{name}",
                    f"{echo(name)}, which the formula does not use",
                    f"one of: {choices(columns) or 'nothing, the formula has no column'}",
                    f"correct it{nearest(name, columns)}",
                )


def _columns_of(
    where: str, entry: Regression, known: set[str], wrong: Wrong
) -> tuple[str, ...] | None:
    """Columns of a formula; None, having said why, where it is none."""
    try:
        columns = columns_of(entry.formula)
        unknown = [name for name in columns if name not in known]
        _check_columns([(f"{where}.formula", name) for name in unknown], known, wrong)
        if unknown:
            return None
        rewritten(entry.formula, dict.fromkeys(known))
    except DesignError as error:
        wrong(
            f"{where}.formula",
            str(error),
            "a formula such as `ablat + alloc`, `ablat * alloc` or `I(ablat - 33)`",
            "correct it",
        )
        return None
    return columns


def check_rows(analysis: Analysis, rows: Sequence[RawRow], wrong: Wrong) -> None:
    """Levels, references and predictions against the rows that may be pooled."""
    used = [row for row in rows if row.included]
    if not used:
        return
    known = known_columns(analysis)
    cells = {name: [_cell(row, name) for row in used] for name in known | {"label"}}
    for i, entry in enumerate(analysis.subgroups, 1):
        if entry.by in known:
            _check_levels(f"subgroups[{i}].by", entry.by, cells[entry.by], wrong)
    if asked := analysis.dependence:
        columns = (*asked.levels, asked.inner, asked.correlation, asked.shared_arm)
        columns += (asked.within,) if asked.rho else ()
        for name in dict.fromkeys(columns):
            if name in cells and "" in cells[name]:
                empty = [
                    row.label for row, cell in zip(used, cells[name], strict=True) if not cell
                ]
                wrong(
                    "dependence",
                    f"nothing in the column {name} for {'; '.join(empty[:5])}",
                    "the group of every pooled row",
                    "fill it in, or exclude the rows",
                )
    for key, regression in analysis.regressions.items():
        # A formula that is wrong by itself has been said before.
        if _columns_of("", regression, known, lambda *_: None) is not None:
            _check_cells(f"regressions.{key}", regression, cells, wrong)


def _cell(row: RawRow, name: str) -> str:
    if name in row.covariates:
        return row.covariates[name].strip()
    return {"study": row.study, "cluster": row.cluster or row.study}.get(name, row.label)


def _check_levels(where: str, name: str, cells: Sequence[str], wrong: Wrong) -> None:
    filled = [cell for cell in cells if cell]
    if not filled:
        wrong(where, f"nothing in the column {name}", "a level per study", "fill it in")
    elif len(filled) > 1 and len(set(filled)) == len(filled):
        wrong(
            where,
            f"{name}, in which every study has a level of its own",
            "subgroups of several studies",
            "group its values in another column, or write a regression",
        )


def _check_cells(
    where: str, entry: Regression, cells: Mapping[str, Sequence[str]], wrong: Wrong
) -> None:
    """The variables of a formula as the rows have them."""
    _, variables = rewritten(entry.formula, cells)
    needed = {column for variable in variables for column in variable.columns}
    size = len(cells["study"])
    kept = [i for i in range(size) if all(cells[name][i] for name in needed)]
    if not kept:
        wrong(f"{where}.formula", "no study with all moderators", "some", "fill them in")
        return
    full = {name: [cells[name][i] for i in kept] for name in needed}
    for variable in variables:
        try:
            done, _ = settled(variable, full, entry.reference)
            if not done.levels:
                evaluated(done, full)
        except DesignError as error:
            named = [name for name in variable.columns if name in entry.reference]
            wrong(
                f"{where}.reference.{named[0]}" if named else f"{where}.formula",
                str(error),
                "moderators that the pooled studies have, and in which they differ",
                "correct the formula, its references or the data",
            )
            continue
        for i, values in enumerate(entry.predict, 1):
            _check_prediction(f"{where}.predict[{i}]", done, values, wrong)


def _check_prediction(
    where: str, variable: Variable, values: Mapping[str, str], wrong: Wrong
) -> None:
    for name in variable.columns:
        if name not in values:
            continue  # said before
        value = values[name].strip()
        if variable.levels and value not in variable.levels:
            wrong(
                f"{where}.{name}",
                echo(value),
                f"one of: {choices(variable.levels)}",
                f"correct it{nearest(value, variable.levels)}",
            )
        elif not variable.levels and not CELL.fullmatch(value):
            wrong(f"{where}.{name}", echo(value), "a number", "correct it")
