"""Subgroups and meta-regressions of one analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from evisynth.errors import InputError, Problem
from evisynth.files import write_text
from evisynth.measures import Measure, measure_of
from evisynth.models.design import Design, DesignError, design
from evisynth.models.permutation import permutation_test
from evisynth.models.regression import (
    Coefficient,
    JointTest,
    RegressionFit,
    contrasts,
    meta_regression,
    predict,
)
from evisynth.models.subgroups import SubgroupFit, subgroups
from evisynth.pooling import display
from evisynth.records import EffectSizes
from evisynth.tables import effects_from_json
from evisynth.tabular import Cell, to_csv

# Below so many studies in a subgroup its own tau2 is not to be relied on.
FEW = 5
REGRESSION_TESTS = ("z", "t", "knha", "adhoc")

SUBGROUPS = (
    "analysis by subgroup tau2_rule k model method test estimate se ci_low ci_high pi_low "
    "pi_high statistic df p tau2 q q_df q_p i2 scale notes"
).split()
SUBGROUP_TESTS = "analysis by tau2_rule k statistic df df2 p notes".split()
REGRESSION = (
    "analysis regression formula kind name k method test estimate se ci_low ci_high statistic "
    "df p permutation_p notes"
).split()
REGRESSION_TESTS_COLUMNS = ("analysis regression quantity value df df2 p notes").split()
PREDICTIONS = (
    "analysis regression moderators estimate se ci_low ci_high pi_low pi_high df scale"
).split()


def write_moderators(
    effects: str, settings: Mapping[str, Any], output: Mapping[str, str]
) -> None:
    """Write the tables of subgroups, regressions, their tests and predictions.

    Raises
    ------
    InputError
        With every formula, moderator and value to predict for that cannot be used.
    """
    sizes = effects_from_json(Path(effects).read_text(encoding="utf-8"))
    name, problems = settings["analysis"], list[Problem]()
    groups: list[dict[str, Cell]] = []
    tests: list[dict[str, Cell]] = []
    for place, asked in enumerate(settings["subgroups"], 1):
        where = f"analyses.{name}.subgroups[{place}]"
        try:
            found = _subgroups(sizes, asked, settings)
        except (DesignError, ValueError) as error:
            problems.append(_problem(where, error))
            continue
        groups += _subgroup_rows(name, asked["by"], sizes, found)
        tests.append(_subgroup_test(name, asked["by"], sizes, found))
    coefficients: list[dict[str, Cell]] = []
    quantities: list[dict[str, Cell]] = []
    predictions: list[dict[str, Cell]] = []
    for key, asked in settings["regressions"].items():
        where = f"analyses.{name}.regressions.{key}"
        try:
            fit = _regression(sizes, asked, settings)
            common: dict[str, Cell] = {"analysis": name, "regression": key}
            coefficients += _coefficient_rows(common, fit, asked)
            quantities += _quantity_rows(common, fit)
            predictions += _prediction_rows(common, measure_of(sizes), fit, asked["predict"])
        except (DesignError, ValueError) as error:
            problems.append(_problem(where, error))
    if problems:
        raise InputError(problems)
    for key, columns, rows in (
        ("subgroups", SUBGROUPS, groups),
        ("subgroup_tests", SUBGROUP_TESTS, tests),
        ("regression", REGRESSION, coefficients),
        ("regression_tests", REGRESSION_TESTS_COLUMNS, quantities),
        ("predictions", PREDICTIONS, predictions),
    ):
        write_text(output[key], to_csv(columns, rows))


def _problem(place: str, error: Exception) -> Problem:
    return Problem(
        "the configuration",
        place,
        str(error),
        "moderators and a formula that the pooled studies can answer",
        "correct it",
    )


def _cells(effects: EffectSizes, values: Sequence[str]) -> list[str]:
    return [v for v, used in zip(values, effects.included, strict=True) if used]


def _covariates(effects: EffectSizes) -> dict[str, list[str]]:
    """Columns of the pooled rows, by name."""
    columns = {name: _cells(effects, texts) for name, texts in effects.covariates.items()}
    return {
        "study": _cells(effects, effects.study),
        "cluster": _cells(effects, effects.cluster),
        **columns,
    }


def _labels(effects: EffectSizes) -> list[str]:
    return _cells(effects, [a or b for a, b in zip(effects.label, effects.study, strict=True)])


def _model(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Estimator and test for models with moderators, which have fewer tests than a mean."""
    model = settings["model"]
    test = model["test"] if model["test"] in REGRESSION_TESTS else "knha"
    return ("IV" if model["effects"] == "common" else model["method"]), test


def _subgroups(
    effects: EffectSizes, asked: Mapping[str, Any], settings: Mapping[str, Any]
) -> SubgroupFit:
    columns = _covariates(effects)
    if asked["by"] not in columns:
        raise DesignError(f"no column {asked['by']!r}; there are {', '.join(columns)}")
    levels = columns[asked["by"]]
    method, test = _model(settings)
    sizes = [levels.count(level) for level in set(levels) if level]
    variance = asked["tau2"]
    if variance == "auto":
        few = min(sizes, default=0) < FEW
        variance = "common" if few and max(sizes, default=0) > 1 else "separate"
    used = effects.pooled
    return subgroups(
        effects.yi[used],
        effects.vi[used],
        levels,
        variance=variance,
        method=method,
        test=test,
        level=settings["level"],
        null=measure_of(effects).null,
        prediction=settings["model"]["prediction"],
        floor=settings["model"]["floor"],
        labels=_labels(effects),
    )


def _subgroup_rows(
    analysis: str, by: str, effects: EffectSizes, found: SubgroupFit
) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    for group in found.groups:
        shown = display(group.estimate, measure_of(effects))
        for scale, estimate in (("analysis", group.estimate), ("display", shown)):
            rows.append(
                {
                    **{key: v for key, v in asdict(estimate).items() if key in SUBGROUPS},
                    "analysis": analysis,
                    "by": by,
                    "subgroup": group.level,
                    "tau2_rule": found.tau2,
                    "k": group.k,
                    "q": group.q,
                    "q_df": group.q_df,
                    "q_p": group.q_p,
                    "i2": group.i2,
                    "scale": scale,
                    "notes": "; ".join(estimate.notes),
                }
            )
    return rows


def _subgroup_test(
    analysis: str, by: str, effects: EffectSizes, found: SubgroupFit
) -> dict[str, Cell]:
    return {
        "analysis": analysis,
        "by": by,
        "tau2_rule": found.tau2,
        "k": sum(group.k for group in found.groups),
        **_test_cells(found.between),
        "notes": "; ".join(found.notes),
    }


def _test_cells(test: JointTest) -> dict[str, Cell]:
    return {"statistic": test.statistic, "df": test.df, "df2": test.df2, "p": test.p}


def _regression(
    effects: EffectSizes, asked: Mapping[str, Any], settings: Mapping[str, Any]
) -> RegressionFit:
    method, test = _model(settings)
    used = effects.pooled
    matrix: Design = design(
        asked["formula"],
        _covariates(effects),
        reference=asked["reference"],
        labels=_labels(effects),
    )
    return meta_regression(
        effects.yi[used][matrix.kept],
        effects.vi[used][matrix.kept],
        matrix,
        method=asked["method"] or method,
        test=asked["test"] or test,
        level=settings["level"],
        fixed=settings["model"]["tau2"] if (asked["method"] or method) == "fixed" else None,
    )


def _coefficient_rows(
    common: Mapping[str, Cell], fit: RegressionFit, asked: Mapping[str, Any]
) -> list[dict[str, Cell]]:
    permuted: Sequence[float] = ()
    notes = list(fit.notes)
    if asked["permutations"]:
        found = permutation_test(fit, most=asked["permutations"], seed=asked["seed"])
        permuted = found.p
        notes += found.notes
    rows = [
        _coefficient(common, fit, "coefficient", entry, notes) for entry in fit.coefficients
    ]
    for row, p in zip(rows, permuted, strict=False):
        row["permutation_p"] = p
    if asked["contrasts"]:
        entries, _ = contrasts(fit, asked["contrasts"])
        rows += [_coefficient(common, fit, "contrast", entry, ()) for entry in entries]
    return rows


def _coefficient(
    common: Mapping[str, Cell],
    fit: RegressionFit,
    kind: str,
    entry: Coefficient,
    notes: Sequence[str],
) -> dict[str, Cell]:
    return {
        **common,
        "formula": fit.design.formula,
        "kind": kind,
        "k": fit.k,
        "method": fit.method,
        "test": fit.test,
        **asdict(entry),
        "notes": "; ".join(notes),
    }


def _quantity_rows(common: Mapping[str, Cell], fit: RegressionFit) -> list[dict[str, Cell]]:
    """Everything about the fit that is one number, or one test."""
    single = {
        "tau2": fit.tau2,
        "tau2_se": fit.se_tau2,
        "tau2_without_moderators": fit.tau2_without,
        "i2": fit.i2,
        "h2": fit.h2,
        "r2": fit.r2,
        "r2_not_truncated": fit.r2_raw,
        "log_likelihood": fit.likelihood.log,
        "aic": fit.likelihood.aic,
        "bic": fit.likelihood.bic,
        "aicc": fit.likelihood.aicc,
    }
    rows: list[dict[str, Cell]] = [
        {**common, "quantity": "residual Q", "value": fit.qe, "df": fit.qe_df, "p": fit.qe_p}
    ]
    rows += [{**common, "quantity": name, "value": value} for name, value in single.items()]
    for name, test in [("all moderators", fit.omnibus), *((t.name, t) for t in fit.terms)]:
        cells = _test_cells(test)
        cells["value"] = cells.pop("statistic")
        rows.append({**common, "quantity": f"test of {name}", **cells})
    rows += [
        {**common, "quantity": f"VIF of {entry.term}", "value": entry.vif, "df": entry.df}
        for entry in fit.vif
    ]
    return rows


def _prediction_rows(
    common: Mapping[str, Cell],
    measure: Measure,
    fit: RegressionFit,
    asked: Sequence[Mapping[str, str]],
) -> list[dict[str, Cell]]:
    back = measure.back
    rows: list[dict[str, Cell]] = []
    for values in asked:
        (found,) = predict(fit, {name: [value] for name, value in values.items()})
        words = ", ".join(f"{name} = {value}" for name, value in values.items())
        shown = replace(
            found,
            se=float("nan"),
            **{
                name: back(getattr(found, name))
                for name in ("estimate", "ci_low", "ci_high", "pi_low", "pi_high")
            },
        )
        rows += [
            {**common, "moderators": words, **asdict(entry), "scale": scale}
            for scale, entry in (("analysis", found), ("display", shown))
        ]
    return rows
