"""Subgroups and meta-regressions of one analysis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from numpy.linalg import LinAlgError

from evisynth.errors import NotComputable, Problem
from evisynth.files import write_text
from evisynth.inverse_variance import GENQ, NAGASHIMA
from evisynth.measures import Measure, measure_of
from evisynth.menus import REGRESSION_TESTS
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
from evisynth.specification import FIXED
from evisynth.tables import effects_from_json
from evisynth.tabular import Cell, to_csv
from evisynth.tau2 import WEIGHTED

# Below so many studies in a subgroup its own tau2 is not to be relied on.
FEW = 5
# The flavours of prediction intervals that need a bootstrap are those of a single mean.
INSTEAD = "HK"

T = TypeVar("T")

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
    effects: str, settings: Mapping[str, Any], output: Mapping[str, str], file: str
) -> None:
    """Write the tables of subgroups, regressions, their tests and predictions.

    Parameters
    ----------
    file : name of the configuration, for messages.

    Raises
    ------
    NotComputable
        With every formula, moderator and value to predict for that cannot be used.
    """
    sizes = effects_from_json(Path(effects).read_text(encoding="utf-8"))
    name, problems = settings["analysis"], list[Problem]()
    groups: list[dict[str, Cell]] = []
    tests: list[dict[str, Cell]] = []
    coefficients: list[dict[str, Cell]] = []
    quantities: list[dict[str, Cell]] = []
    predictions: list[dict[str, Cell]] = []

    def attempt(place: str, compute: Callable[..., T], *given: Any) -> T | None:
        """What the numbers do not allow becomes a problem with its place."""
        try:
            return compute(*given)
        except LinAlgError:
            raise  # a ValueError by inheritance, but no mistake of the input
        except ValueError as error:
            problems.append(_problem(file, f"analyses.{name}.{place}", error))
            return None

    for i, asked in enumerate(settings["subgroups"], 1):
        found = attempt(f"subgroups[{i}]", _subgroups, sizes, asked, settings)
        if found:
            groups += _subgroup_rows(name, asked["by"], sizes, found)
            tests.append(_subgroup_test(name, asked["by"], found, _caveats(sizes, settings)))
    for key, asked in settings["regressions"].items():
        place, common = f"regressions.{key}", {"analysis": name, "regression": key}
        fit = attempt(place, _regression, sizes, asked, settings)
        if fit is None:
            continue
        notes = (*fit.notes, *_caveats(sizes, settings, asked["test"]))
        quantities += _quantity_rows(common, fit)
        rows = attempt(f"{place}.permutations", _coefficient_rows, common, fit, asked, notes)
        coefficients += rows or []
        rows = attempt(f"{place}.contrasts", _contrast_rows, common, fit, asked["contrasts"])
        coefficients += rows or []
        measure = measure_of(sizes)
        for i, values in enumerate(asked["predict"], 1):
            rows = attempt(
                f"{place}.predict[{i}]", _prediction_rows, common, measure, fit, values
            )
            predictions += rows or []
    if problems:
        raise NotComputable(problems)
    for key, columns, rows in (
        ("subgroups", SUBGROUPS, groups),
        ("subgroup_tests", SUBGROUP_TESTS, tests),
        ("regression", REGRESSION, coefficients),
        ("regression_tests", REGRESSION_TESTS_COLUMNS, quantities),
        ("predictions", PREDICTIONS, predictions),
    ):
        write_text(output[key], to_csv(columns, rows))


def _problem(file: str, place: str, error: Exception) -> Problem:
    return Problem(
        file,
        place,
        str(error),
        "moderators and a formula that the pooled studies can answer",
        "correct it",
    )


def _caveats(
    effects: EffectSizes, settings: Mapping[str, Any], test: str | None = None
) -> list[str]:
    """What models with moderators do otherwise than the model of the analysis.

    Parameters
    ----------
    test : of the regression itself, if it names one.
    """
    model, notes = settings["model"], []
    if model["family"] != "IV":
        notes.append(f"by inverse variance: the family {model['family']} has no moderators")
    asked = test or model["test"]
    if asked not in REGRESSION_TESTS:
        notes.append(f"test knha: there is no {asked} with moderators")
    if model["prediction"] in NAGASHIMA:
        notes.append(f"prediction {INSTEAD}: there is no {model['prediction']} with moderators")
    clusters = _cells(effects, effects.cluster)
    if len(set(clusters)) < len(clusters):
        notes.append(
            f"{len(clusters)} rows of {len(set(clusters))} clusters (studies) are taken as "
            "independent"
        )
    return notes


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
    if method == "IV":
        variance = "separate"  # a common effect has no variance that could be common
    if variance == "auto":
        few = min(sizes, default=0) < FEW
        variance = "common" if few and max(sizes, default=0) > 1 else "separate"
    used = effects.pooled
    if not used.any():
        raise DesignError("no study can be pooled")
    prediction = settings["model"]["prediction"]
    return subgroups(
        effects.yi[used],
        effects.vi[used],
        levels,
        variance=variance,
        method=method,
        test=test,
        level=settings["level"],
        null=measure_of(effects).null,
        prediction=INSTEAD if prediction in NAGASHIMA else prediction,
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
    analysis: str, by: str, found: SubgroupFit, caveats: Sequence[str]
) -> dict[str, Cell]:
    return {
        "analysis": analysis,
        "by": by,
        "tau2_rule": found.tau2,
        "k": sum(group.k for group in found.groups),
        **_test_cells(found.between),
        "notes": "; ".join((*found.notes, *caveats)),
    }


def _test_cells(test: JointTest) -> dict[str, Cell]:
    return {"statistic": test.statistic, "df": test.df, "df2": test.df2, "p": test.p}


def _regression(
    effects: EffectSizes, asked: Mapping[str, Any], settings: Mapping[str, Any]
) -> RegressionFit:
    method, test = _model(settings)
    used = effects.pooled
    if not used.any():
        raise DesignError("no study can be pooled")
    matrix: Design = design(
        asked["formula"],
        _covariates(effects),
        reference=asked["reference"],
        labels=_labels(effects),
    )
    method, model = asked["method"] or method, settings["model"]
    vi = effects.vi[used][matrix.kept]
    return meta_regression(
        effects.yi[used][matrix.kept],
        vi,
        matrix,
        method=method,
        test=asked["test"] or test,
        level=settings["level"],
        fixed=model["tau2"] if method == FIXED else None,
        weights=GENQ[model["weights"]](vi) if method in WEIGHTED else None,
    )


def _coefficient_rows(
    common: Mapping[str, Cell],
    fit: RegressionFit,
    asked: Mapping[str, Any],
    notes: Sequence[str],
) -> list[dict[str, Cell]]:
    permuted: Sequence[float] = ()
    if asked["permutations"]:
        found = permutation_test(fit, most=asked["permutations"], seed=asked["seed"])
        permuted = found.p
        notes = (*notes, *found.notes)
    rows = [
        _coefficient(common, fit, "coefficient", entry, notes) for entry in fit.coefficients
    ]
    for row, p in zip(rows, permuted, strict=False):
        row["permutation_p"] = p
    return rows


def _contrast_rows(
    common: Mapping[str, Cell], fit: RegressionFit, asked: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Cell]]:
    entries, _ = contrasts(fit, asked) if asked else ((), None)
    return [_coefficient(common, fit, "contrast", entry, ()) for entry in entries]


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
    values: Mapping[str, str],
) -> list[dict[str, Cell]]:
    (found,) = predict(fit, {name: [value] for name, value in values.items()})
    words = ", ".join(f"{name} = {value}" for name, value in values.items())
    ci_low, ci_high = measure.shown(found.ci_low, found.ci_high)
    pi_low, pi_high = measure.shown(found.pi_low, found.pi_high)
    shown = replace(
        found,
        estimate=measure.back(found.estimate),
        se=float("nan"),
        ci_low=ci_low,
        ci_high=ci_high,
        pi_low=pi_low,
        pi_high=pi_high,
    )
    return [
        {**common, "moderators": words, **asdict(entry), "scale": scale}
        for scale, entry in (("analysis", found), ("display", shown))
    ]
