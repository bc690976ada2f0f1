"""Models, subgroups, regressions and dependence that cannot be are refused, all at once.

A case is the measure, what is added to the analysis, and words of the messages: place, found,
expected or action, one line each.
"""

# ruff: noqa: E501, one row per mistake

import subprocess
import sys

import pytest
import yaml

from evisynth.menus import REGRESSION_TESTS, SHARED_ARM_MEASURES, STUDY_MODERATORS, TESTS

TABLE = """\
study,ai,n1i,ci,n2i,x1i,t1i,x2i,t2i,yi,vi,dose,alloc,district,empty,own
a,4,120,11,130,4,90,11,95,0.1,0.04,44,random,north,,1
b,6,306,29,303,6,80,29,85,0.3,0.09,55,random,north,,2
c,3,231,11,220,3,70,11,70,-0.1,0.01,42,random,south,,3
d,6,130,24,130,6,60,24,66,0.2,0.05,52,systematic,south,,4
e,17,170,46,160,17,50,46,50,0.4,0.02,13,systematic,,,5
"""
COLUMNS = {
    "GEN": "yi: yi, vi: vi",
    "IRR": "x1i: x1i, t1i: t1i, x2i: x2i, t2i: t2i",
    "PLO": "xi: ai, ni: n1i",
}
COUNTS = "ai: ai, n1i: n1i, ci: ci, n2i: n2i"
BAYES = "model: {family: BAYES, prior: %s}"
MV = "model: {family: MV}\ndependence: {levels: [alloc, effect]%s}"
RVE = "model: {family: RVE%s}\ndependence: {levels: [alloc], rho: 0.5%s}"
FIT = "regressions: {r: {formula: %s}}"


def configure(review, measure, added, defaults="{}"):
    lines = "".join(f"    {line}\n" for line in added.splitlines())
    review.write("table.csv", TABLE)
    review.write(
        "config.yaml",
        f"review: {{title: Test, question: Does it work}}\ndefaults: {defaults}\nanalyses:\n"
        f"  one:\n    title: One\n    table: table.csv\n    measure: {measure}\n"
        f"    columns: {{study: study, {COLUMNS.get(measure, COUNTS)}}}\n"
        f"    moderators: [dose, alloc, district, empty, own]\n{lines}",
    )


MISTAKES = {
    # models
    "family of another measure": ("RD", "model: {family: PETO}", [("model.family", "PETO with the measure RD", "PETO is for OR, PETO")]),
    "family of another measure in also": ("RD", "also: [{family: MH}, {family: GLMM}]", [("also[2].family", "GLMM with the measure RD", "another family")]),
    "fixed without a value": ("OR", "model: {method: fixed}", [("model.method", "`fixed` without `tau2`", "tau2: VALUE")]),
    "a value without fixed": ("OR", "model: {method: DL, tau2: 0.1}", [("model.tau2", "tau2 with the method DL", "only with it")]),
    "kr with DL": ("OR", "model: {test: kr, method: DL}", [("model.test", "kr with method DL".replace("kr with", "kr with the"), "REML")]),
    "hc with the default": ("OR", "model: {test: hc}", [("model.test", "hc with the method REML (from defaults.preset)", "method: DL")]),
    "kr in also with the method of the model": ("OR", "model: {method: PM}\nalso: [{test: kr}]", [("also[1].test", "kr with the method PM (from analyses.one.model.method)", "REML")]),
    "kr with the family of a preset": ("OR", "preset: revman5\nmodel: {test: kr}", [("model.test", "the family MHDL (from analyses.one.preset)", "`family: IV` too")]),
    "method with the family of a preset": ("PLO", "model: {method: DL}", [("model.method", "given for the family GLMM", "add `family: IV`")]),
    "kr with a preset": ("OR", "preset: iqwig6\nmodel: {test: kr}", [("model.test", "the method PM (from analyses.one.preset)", "REML")]),
    "CM.AL of rates": ("IRR", "model: {family: GLMM, glmm: CM.AL}", [("model.glmm", "CM.AL with the measure IRR", "CM.EL")]),
    "test of a GLMM": ("OR", "model: {family: GLMM, test: uwls}", [("model.test", "uwls with the family GLMM", "z, t, knha")]),
    "method of a multilevel model": ("OR", "model: {family: MV, method: DL}\ndependence: {levels: [alloc]}", [("model.method", "DL with the family MV", "REML or ML")]),
    "prior": ("OR", BAYES % "half_norml(1)", [("model.prior", "half_norml", "half_normal(scale)")]),
    "prior without its number": ("OR", BAYES % "half_normal", [("model.prior", "half_normal takes scale", "half_normal(scale)")]),
    "prior with two numbers": ("OR", BAYES % "'uniform(0; 3)'", [("model.prior", "uniform takes maximum", "uniform(maximum)")]),
    "prior of 0": ("OR", BAYES % "half_cauchy(0)", [("model.prior", "positive and finite", "scale")]),
    "prior below 0": ("OR", BAYES % "half_normal(-1)", [("model.prior", "positive and finite", "scale")]),
    "prior in words": ("OR", BAYES % "half_normal(small)", [("model.prior", "must be a number, not 'small'", "scale")]),
    "prior that is infinite": ("OR", BAYES % "uniform(inf)", [("model.prior", "finite, not inf", "maximum")]),
    "scale of a log-normal prior": ("OR", BAYES % "log_normal(1; -1)", [("model.prior", "scale must be positive", "location; scale")]),
    "prior with a comma": ("OR", BAYES % "'log_normal(-2.56, 1.74)'", [("model.prior", "separated by semicolons", "location; scale")]),
    "outcome of a prior": ("OR", BAYES % "turner(death; pharmacological vs pharmacological)", [("model.prior", "outcome must be one of all-cause mortality", "turner")]),
    "half a prior": ("OR", BAYES % "turner(pain)", [("model.prior", "both or neither", "turner")]),
    "misprinted prior": ("GEN", BAYES % "rhodes(mental health indicators; non-pharmacological vs any)", [("model.prior", "-3.85 is printed", "rhodes")]),
    "prior of another unit": ("RD", BAYES % "turner", [("model.prior", "turner with the measure RD", "OR, PETO, RR")]),
    "a key that says nothing": ("OR", "also: [{family: MH, method: DL}]", [("also[1].method", "the family MH, where it says nothing", "remove")]),
    "the same model again": ("OR", "also: [{method: DL}, {method: REML}, {method: DL}]", [("also[2]", "the same model as `model`", "remove"), ("also[3]", "the same model as `also[1]`", "remove")]),
    # thresholds and intervals
    "threshold of a ratio": ("OR", "thresholds: [0.8, 0, -1]", [("thresholds[2]", "0", "above 0"), ("thresholds[3]", "-1", "above 0")]),
    "threshold of a proportion": ("PLO", "thresholds: [20]", [("thresholds[1]", "20", "a fraction from 0 to 1")]),
    "threshold of a difference": ("RD", "thresholds: [-5]", [("thresholds[1]", "-5", "from -1 to 1")]),
    "threshold of a transformation": ("GEN", "measure_options: {transformation: exp}\nthresholds: [-0.5]", [("thresholds[1]", "-0.5", "above 0")]),
    "threshold twice": ("OR", "thresholds: [0.5, 0.50]", [("thresholds[2]", "'0.5' a second time", "remove")]),
    "interval": ("OR", "intervals: [QP, PL]", [("intervals[2]", "'PL'", "PL-REML")]),
    "interval twice": ("OR", "intervals: [QP, QP]", [("intervals[2]", "'QP' a second time", "remove")]),
    "nothing is pooled": ("OR", "pool: no\nwhy_not: too different\nalso: [{family: MH}]\nthresholds: [1]\nsubgroups: [{by: alloc}]\nregressions: {r: {formula: dose}}", [(key, "`pool: no`", "remove") for key in ("also", "thresholds", "subgroups", "regressions")]),
    # dependence
    "no dependence": ("OR", "model: {family: MV}", [("model.family", "MV without `dependence.levels`", "dependence: {levels")]),
    "no levels": ("OR", "also: [{family: MV}]\ndependence: {rho: 0.5}", [("also[1].family", "MV without `dependence.levels`", "dependence: {levels")]),
    "dependence that no model looks at": ("OR", "dependence: {levels: [alloc]}", [("dependence", "no model of the families MV and RVE", "MV")]),
    "level": ("OR", "model: {family: MV}\ndependence: {levels: [distict, effect]}", [("dependence.levels[1]", "'distict'", "'district'")]),
    "level that is empty in a row": ("OR", "model: {family: MV}\ndependence: {levels: [district, effect]}", [("dependence", "nothing in the column district for e", "fill it in")]),
    "levels in the wrong order": ("OR", "model: {family: MV}\ndependence: {levels: [effect, alloc]}", [("dependence.levels[1]", "before another level", "last")]),
    "inner without structure": ("OR", MV % ", inner: own", [("dependence.inner", "the structure nested", "CS")]),
    "structure without inner": ("OR", "model: {family: MV}\ndependence: {levels: [alloc], structure: UN}", [("dependence.structure", "UN without `inner`", "COLUMN")]),
    "structure with two levels": ("OR", MV % ", structure: CS, inner: own", [("dependence.levels", "2 columns with the structure CS", "one")]),
    "grid without rho": ("OR", MV % ", grid: [0.2, 0.4]", [("dependence.grid", "without `rho`", "add `rho`")]),
    "grid twice": ("OR", MV % ", rho: 0.5, grid: [0.2, 0.2]", [("dependence.grid[2]", "'0.2' a second time", "remove")]),
    "correlation": ("OR", MV % ", rho: 1.5", [("dependence.rho", "'1.5'", "at most 1")]),
    "within without rho": ("OR", MV % ", within: alloc", [("dependence.within", "without `rho`", "add `rho`")]),
    "two sources of covariances": ("OR", MV % ", rho: 0.5, shared_arm: alloc", [("dependence.shared_arm", "given beside rho", "choose one")]),
    "shared arms of a measure without": ("PLO", MV % ", shared_arm: alloc", [("dependence.shared_arm", "the measure PLO", "OR, RR")]),
    "overlaps in a table": ("OR", MV % ", overlaps: yes", [("dependence.overlaps", "with `table`", "study files")]),
    "structure for RVE": ("OR", RVE % ("", ", robust: CR2"), [("dependence.robust", "the family RVE", "remove")]),
    "negative correlation for RVE": ("OR", RVE % ("", ", grid: [-0.1]"), [("dependence.grid", "negative", "0 to 1")]),
    "grid for HIER": ("OR", RVE % (", modelweights: HIER", ", grid: [0.1]"), [("dependence.grid", "HIER", "CORR")]),
    # subgroups
    "column of subgroups": ("OR", "subgroups: [{by: aloc}]", [("subgroups[1].by", "the column 'aloc'", "'alloc'")]),
    "year without a column": ("OR", "subgroups: [{by: year}]", [("subgroups[1].by", "the column 'year'", "moderators")]),
    "subgroups twice": ("OR", "subgroups: [{by: alloc}, {by: alloc}]", [("subgroups[2]", "alloc a second time", "remove")]),
    "subgroups of one study each": ("OR", "subgroups: [{by: own}]", [("subgroups[1].by", "a level of its own", "regression")]),
    "subgroups of nothing": ("OR", "subgroups: [{by: empty}]", [("subgroups[1].by", "nothing in the column empty", "fill it in")]),
    "subgroups with a given tau2": ("OR", "model: {method: fixed, tau2: 0.1}\nsubgroups: [{by: alloc}]", [("subgroups", "the method fixed", "another method")]),
    # regressions
    "column of a formula": ("OR", FIT % "dos + alloc", [("regressions.r.formula", "the column 'dos'", "'dose'")]),
    "Python": ("OR", FIT % "\"__import__('os').system('x')\"", [("regressions.r.formula", "not part of the language", "ablat")]),
    "attribute": ("OR", FIT % "dose.real", [("regressions.r.formula", "not part of the language", "ablat")]),
    "unknown function": ("OR", FIT % "poly(dose)", [("regressions.r.formula", "poly() is not one of", "ablat")]),
    "arithmetic": ("OR", FIT % "dose*2", [("regressions.r.formula", "arithmetic, which has its place inside I()", "I(ablat - 33)")]),
    "power": ("OR", FIT % "dose^2", [("regressions.r.formula", "I(dose^2)", "ablat")]),
    "no sign": ("OR", FIT % "dose alloc", [("regressions.r.formula", "a sign is missing", "ablat")]),
    "sign at the end": ("OR", FIT % "dose +", [("regressions.r.formula", "missing after +", "ablat")]),
    "two signs": ("OR", FIT % "'dose * : alloc'", [("regressions.r.formula", "missing before :", "ablat")]),
    "bracket that stays open": ("OR", FIT % "(dose + alloc", [("regressions.r.formula", "a bracket is not closed", "ablat")]),
    "bracket that was not opened": ("OR", FIT % "dose) + (alloc", [("regressions.r.formula", "was not opened", "ablat")]),
    "words in arithmetic": ("OR", FIT % "I(alloc * 2)", [("regressions.r.formula", "'random' of alloc is not a number", "correct")]),
    "logarithm of what is negative": ("OR", FIT % "log(dose - 20)", [("regressions.r.formula", "not a finite number for dose = 13", "correct")]),
    "moderator that nobody has": ("OR", FIT % "empty", [("regressions.r.formula", "no study with all moderators", "fill")]),
    "reference level": ("OR", "regressions: {r: {formula: alloc, reference: {alloc: randm}}}", [("regressions.r.reference.alloc", "'randm' of alloc is not among: random, systematic", "correct")]),
    "reference of a number": ("OR", "regressions: {r: {formula: dose, reference: {dose: 13}}}", [("regressions.r.reference.dose", "factor(dose)", "correct")]),
    "reference of another column": ("OR", "regressions: {r: {formula: dose, reference: {alloc: random}}}", [("regressions.r.reference.alloc", "does not use", "dose")]),
    "prediction without a moderator": ("OR", "regressions: {r: {formula: dose + alloc, predict: [{dose: 13, alloc: random}, {dose: 13}]}}", [("regressions.r.predict[2]", "no value of alloc", "dose, alloc")]),
    "prediction of another column": ("OR", "regressions: {r: {formula: dose, predict: [{dose: 13, aloc: random}]}}", [("regressions.r.predict[1].aloc", "does not use", "dose")]),
    "prediction for a level that nobody has": ("OR", "regressions: {r: {formula: alloc, predict: [{alloc: rondom}]}}", [("regressions.r.predict[1].alloc", "'rondom'", "'random'")]),
    "prediction for no number": ("OR", "regressions: {r: {formula: dose, predict: [{dose: north}]}}", [("regressions.r.predict[1].dose", "'north'", "a number")]),
    "test of a regression": ("OR", "regressions: {r: {formula: dose, test: kr}}", [("regressions.r.test", "kr", "z, t, knha, adhoc")]),
    "fixed in a regression": ("OR", "regressions: {r: {formula: dose, method: fixed}}", [("regressions.r.method", "without `tau2`", "model")]),
    "regression twice": ("OR", "regressions: {r: {formula: dose+alloc}, s: {formula: dose + alloc}}", [("regressions.s", "the same model as regressions.r", "once")]),
    # all at once
    "many": ("OR", "model: {test: hc}\nthresholds: [0]\nsubgroups: [{by: aloc}]\nregressions: {r: {formula: dos}, s: {formula: alloc, predict: [{}]}}", [("model.test", "hc", "DL"), ("thresholds[1]", "0", "above 0"), ("subgroups[1].by", "'aloc'", "'alloc'"), ("regressions.r.formula", "'dos'", "'dose'"), ("regressions.s.predict[1]", "no value of alloc", "alloc")]),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_is_refused_with_its_place(review, case):
    measure, added, expected = case
    configure(review, measure, added)
    problems = review.problems()
    assert len(problems) == len(expected), "\n\n".join(map(str, problems))
    for problem, (place, found, wanted) in zip(problems, expected, strict=True):
        assert problem.file.endswith("config.yaml")
        assert problem.place == f"analyses.one.{place}"
        assert found in problem.found, problem
        assert wanted in f"{problem.expected} {problem.action}", problem
        lines = review.read("config.yaml").splitlines()
        assert problem.line is not None
        assert problem.line > 3
        assert (
            place.split(".")[0].split("[")[0] in lines[problem.line - 1] or "predict" in place
        )


def test_a_mistake_of_the_defaults_is_placed_there(review):
    configure(review, "OR", "level: 0.9", "{model: {test: kr, method: DL}}")
    (problem,) = review.problems()
    assert problem.place == "defaults.model.test"
    assert problem.line == 2


def test_models_are_not_judged_while_the_defaults_are_wrong(review):
    configure(review, "OR", "model: {test: hc}\nsubgroups: [{by: aloc}]", "{level: 95}")
    assert [p.place for p in review.problems()] == [
        "defaults.level",
        "analyses.one.subgroups[1].by",
    ]


RIGHT = {
    "every family": ("OR", "also: [{family: MH}, {family: PETO}, {family: GLMM, glmm: CM.EL}, {family: BB}, {family: PLR}, {family: BAYES, prior: turner}, {family: RVE}]\ndependence: {levels: [alloc]}"),
    "methods that need a number": ("OR", "model: {method: fixed, tau2: 0.1}\nalso: [{method: DL}, {method: GENQ, weights: equal}, {method: fixed, tau2: 0.3}]"),
    "tests that stand on a method": ("OR", "model: {test: kr}\nalso: [{method: DL, test: hc}]"),
    "thresholds at the ends": ("PLO", "thresholds: [0, 1]"),
    "formulas": ("OR", "regressions: {a: {formula: ~ dose + alloc}, b: {formula: dose * alloc}, c: {formula: 0 + alloc}, d: {formula: '-1 + alloc'}, e: {formula: (dose + alloc)^2}, f: {formula: I(dose - 33) + factor(own):center(dose)}, g: {formula: 1}}"),
    "predictions": ("OR", "regressions: {a: {formula: log(dose) + alloc, reference: {alloc: systematic}, predict: [{dose: 20, alloc: random}]}}"),
    "a multilevel model": ("OR", "model: {family: MV, test: knha}\ndependence: {levels: [alloc, effect], rho: 0.5, within: alloc, grid: [0.2], robust: CR2}"),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT.values(), ids=RIGHT)
def test_what_can_be_is_not_refused(review, case):
    configure(review, *case)
    review.load()


def test_a_value_of_tau2_is_not_inherited_by_another_method(review):
    configure(review, "OR", "model: {method: fixed, tau2: 0.1}\nalso: [{method: DL}]")
    (other,) = review.load().pooling_settings("one")["also"]
    assert (other["method"], other["tau2"]) == ("DL", None)


def test_every_listed_measure_has_covariances_of_shared_arms():
    from evisynth.models.covariance import CONTROL

    assert set(SHARED_ARM_MEASURES) == set(CONTROL)


def test_the_tests_of_regressions_are_those_of_the_kernel():
    from evisynth.models.regression import TESTS as KERNEL

    assert KERNEL == REGRESSION_TESTS
    assert set(REGRESSION_TESTS) <= set(TESTS)


def test_checking_imports_no_numpy():
    code = (
        "import sys; import evisynth.project; "
        "sys.exit(bool({'numpy', 'scipy', 'formulaic'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def studies(review, moderators):
    config = yaml.safe_load(review.read("config.yaml"))
    analyses = config["analyses"]
    for name in ("response", "compared", "hazard"):
        analyses[name]["moderators"] = list(moderators)
    review.write("config.yaml", yaml.safe_dump(config))


def test_moderators_of_study_files(review):
    review.change("studies/alpha.yaml", "{id: a1,", "{id: a1, year: 2020,")
    review.change(
        "studies/alpha.yaml", "design: rct", "design: rct\npopulation: {setting: relapsed}"
    )
    studies(review, list(STUDY_MODERATORS))
    alpha, beta, _ = review.rows("response")
    assert alpha.covariates == {
        "year": "2020",
        "design": "rct",
        "setting": "relapsed",
        "treatment": "new",
    }
    assert beta.covariates == {
        "year": "",
        "design": "single_arm",
        "setting": "",
        "treatment": "new",
    }
    assert review.rows("compared")[0].covariates["treatment"] == "new v old"
    assert review.rows("hazard")[0].covariates["treatment"] == ""


def test_a_moderator_that_study_files_do_not_have(review):
    studies(review, ["yaer"])
    problem = next(p for p in review.problems() if "response" in p.place)
    assert problem.place == "analyses.response.moderators[1]"
    assert "year, design, setting, treatment" in problem.expected
    assert "'year'" in problem.action


def test_moderators_that_are_not_asked_for_change_nothing(review):
    assert review.rows("response")[0].covariates == {}
