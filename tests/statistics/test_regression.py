"""Meta-regression: against metafor, published tables, closed forms, invariances."""

import math

import numpy as np
import pytest
from support.regression import entries, our_name

from evisynth.models.blup import blup
from evisynth.models.design import DesignError
from evisynth.models.permutation import permutation_test
from evisynth.models.regression import (
    inflation,
    likelihood_ratio,
    meta_regression,
    predict,
    residuals,
)

REFERENCES = list(entries("rma.uni"))
# metafor drops a column, we refuse the model and name it
DROPPED = {
    "mr/_x___x2/": "x2 is determined by x",
    "mr/_const/": "const is constant",
    "mr/intensity_asp/": "asp_t:asp_c is determined by asp_t",
}
# no degree of freedom is left: metafor fits the common effect, we refuse
SATURATED = "mr/_factor_x_/"
# metafor computes tau2 and QE of models without a constant from centred effects
CENTRED = "mr/_0___x/"


def is_(entry, *beginnings):
    return entry.id.startswith(beginnings)


REFUSED = [e for e in REFERENCES if is_(e, *DROPPED, SATURATED)]
COMPARED = [e for e in REFERENCES if e not in REFUSED and not is_(e, CENTRED)]
ORIGIN = [e for e in REFERENCES if is_(e, CENTRED)]


def number(value):
    return math.nan if value is None else float(value)


def close(ours, theirs, rtol, atol=0.0):
    np.testing.assert_allclose(ours, number(theirs), rtol=rtol, atol=atol)


def fitted(entry, test="z", formula=None):
    yi, vi, made = entry.problem(formula)
    method = {"EE": "IV"}.get(entry.args["method"], entry.args["method"])
    btt = entry.args.get("btt")
    return meta_regression(
        yi,
        vi,
        made,
        method=method,
        test=entry.args.get("test", test),
        level=entry.args.get("level", 95) / 100,
        btt=btt and [made.names[place - 1] for place in btt],
    )


def in_their_order(fit, names):
    """Our coefficients in the order of R, which may place columns of interactions otherwise."""
    ours = {row.name: row for row in fit.coefficients}
    return [ours[our_name(name, fit.design)] for name in names]


def test_no_reference_is_lost():
    assert (len(REFERENCES), len(COMPARED), len(REFUSED), len(ORIGIN)) == (94, 81, 10, 3)


@pytest.mark.parametrize("entry", COMPARED, ids=str)
def test_regressions_equal_those_of_metafor(entry):
    expected = entry.result
    # metafor's matrix forms lose digits beside moderators far from 0, such as years; ours do
    # not: see the test against exact arithmetic.
    rtol = max(entry.rtol, 1e-9 if "year" in entry.args["mods"] else 1e-10)
    for test, theirs in expected["tests"].items():
        fit = fitted(entry, test)
        assert (fit.k, fit.p, fit.qe_df) == (expected["k"], expected["p"], expected["QE_df"])
        compare_heterogeneity(fit, expected, rtol)
        compare_test(fit, theirs, expected, rtol)
    for row in expected.get("predict", {}).get("newmods", []):
        assert len(row) == fit.p - 1
    if "predict" in expected:
        compare_predictions(entry, expected["predict"], rtol)
    if "vif" in expected:
        names = [name for name in fit.design.names if name != "intercept"]
        for name, theirs in zip(names, expected["vif"], strict=True):
            close(inflation(fitted(entry), [name]).vif, theirs, max(rtol, 1e-9))


def compare_heterogeneity(fit, expected, rtol):
    # A maximum at the boundary is a tiny positive number there.
    atol = 1e-9 * expected["vt"]
    close(fit.tau2, expected["tau2"], rtol, atol)
    close(fit.qe, expected["QE"], rtol)
    close(fit.qe_p, expected["QE_p"], 1e-8, 1e-300)
    close(fit.i2, expected["I2"], rtol, 1e-7)
    close(fit.h2, expected["H2"], rtol, 1e-9)
    close(fit.typical, expected["vt"], rtol)
    if fit.method != "IV":
        close(fit.se_tau2, expected["se_tau2"], rtol, atol)
    if fit.tau2_without == 0:
        # 0 / 0, which is 100 in metafor where its tau2 without moderators is 1e-17
        assert math.isnan(fit.r2)
        assert any("R2 is not estimable" in note for note in fit.notes)
    elif "R2" in expected:
        close(fit.r2, expected["R2"], 10 * rtol, 1e-6)
    if theirs := expected.get("fit", {}).get("REML" if fit.method == "REML" else "ML"):
        close(fit.likelihood.log, theirs["ll"], 1e-9, 1e-10)
        close(fit.likelihood.aic, theirs["AIC"], 1e-9, 1e-10)
        close(fit.likelihood.bic, theirs["BIC"], 1e-9, 1e-10)
        close(fit.likelihood.aicc, theirs["AICc"], 1e-9, 1e-10)


def compare_test(fit, theirs, expected, rtol):
    names = expected.get("coef_names", ["intrcpt"])
    columns = {
        key: np.atleast_1d(theirs[key])
        for key in ("estimate", "se", "stat", "pval", "ci_lb", "ci_ub")
    }
    for place, row in enumerate(in_their_order(fit, names)):
        reach = row.ci_high - row.ci_low
        close(row.estimate, columns["estimate"][place], rtol, rtol * reach)
        close(row.se, columns["se"][place], rtol)
        close(row.statistic, columns["stat"][place], rtol, 10 * rtol)
        close(row.p, columns["pval"][place], max(100 * rtol, 1e-8), 1e-300)
        close(row.ci_low, columns["ci_lb"][place], rtol, rtol * reach)
        close(row.ci_high, columns["ci_ub"][place], rtol, rtol * reach)
        if "ddf" in theirs:
            assert row.df == np.atleast_1d(theirs["ddf"])[0]
    if "s2w" in theirs:
        close(fit.s2w, theirs["s2w"], rtol, 1e-12)
    close(fit.omnibus.statistic, theirs["QM"], 10 * rtol)
    close(fit.omnibus.p, theirs["QM_p"], max(100 * rtol, 1e-8), 1e-300)
    assert fit.omnibus.df == theirs["QM_df"][0]
    np.testing.assert_equal(fit.omnibus.df2, number(theirs["QM_df"][1]))


def compare_predictions(entry, theirs, rtol):
    fit = fitted(entry, "z")
    rows = np.column_stack([np.ones(len(theirs["newmods"])), np.array(theirs["newmods"])])
    for place, row in enumerate(predict(fit, rows)):
        reach = row.ci_high - row.ci_low
        close(row.estimate, theirs["pred"][place], rtol, rtol * reach)
        close(row.se, theirs["se"][place], rtol)
        close(row.ci_low, theirs["ci_lb"][place], rtol, rtol * reach)
        close(row.ci_high, theirs["ci_ub"][place], rtol, rtol * reach)
        if fit.method == "IV":
            assert math.isnan(row.pi_low)
        else:
            close(row.pi_low, theirs["pi_lb"][place], rtol, rtol * reach)
            close(row.pi_high, theirs["pi_ub"][place], rtol, rtol * reach)


@pytest.mark.parametrize("entry", REFUSED, ids=str)
def test_collinear_columns_and_saturated_models_are_refused_by_name(entry):
    words = next(
        (words for start, words in DROPPED.items() if is_(entry, start)),
        "6 studies are too few for 6 coefficients",
    )
    with pytest.raises(DesignError, match=words):
        fitted(entry)


@pytest.mark.parametrize("entry", ORIGIN, ids=str)
def test_regression_through_the_origin_is_not_centred(entry):
    # tau2 is 0 in metafor's wrong way as well, so that its coefficients are right
    fit = fitted(entry, "z")
    close(fit.qe, entry.result["QE_direct"], 1e-10)
    compare_test(fit, entry.result["tests"]["z"], entry.result, max(entry.rtol, 1e-10))
    assert math.isnan(fit.r2)
    assert "R2 is not defined: the design does not contain the constant" in fit.notes


@pytest.mark.parametrize("entry", list(entries("anova_lrt")), ids=str)
def test_likelihood_ratio_tests_equal_those_of_metafor(entry):
    full = fitted(entry, formula=entry.args["full"])
    reduced = fitted(entry, formula=entry.args["reduced"])
    ours, theirs = likelihood_ratio(full, reduced), entry.result
    close(full.likelihood.log, theirs["ll_full"], 1e-9)
    close(reduced.likelihood.log, theirs["ll_reduced"], 1e-9)
    close(full.tau2, theirs["tau2_full"], 1e-8)
    close(ours.statistic, theirs["LRT"], 1e-8)
    close(ours.p, theirs["pval"], 1e-8)
    close(ours.r2, theirs["R2"], 1e-7)
    assert ours.df == theirs["df"]


@pytest.mark.parametrize("entry", list(entries("blup")), ids=str)
def test_best_linear_unbiased_predictions_equal_those_of_metafor(entry):
    ours = blup(fitted(entry))
    for block, names in (
        ("blup", ("estimate", "se", "low", "high")),
        ("ranef", ("deviation", "deviation_se", "deviation_low", "deviation_high")),
    ):
        theirs = entry.result[block]
        for name, key in zip(names, ("pred", "se", "pi_lb", "pi_ub"), strict=True):
            np.testing.assert_allclose(getattr(ours, name), theirs[key], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("entry", list(entries("residuals")), ids=str)
def test_residuals_equal_those_of_metafor(entry):
    fit = fitted(entry)
    ours, theirs = residuals(fit), entry.result
    pairs = {
        "raw": theirs["raw"],
        "se": theirs["rstandard_marginal"]["se"],
        "standardised": theirs["rstandard_marginal"]["z"],
        "pearson": theirs["pearson"],
        "cholesky": theirs["cholesky"],
        "deleted": theirs["rstudent"]["resid"],
        "deleted_se": theirs["rstudent"]["se"],
        "studentised": theirs["rstudent"]["z"],
        "hat": theirs["hat"],
    }
    for name, values in pairs.items():
        np.testing.assert_allclose(
            getattr(ours, name), values, rtol=max(entry.rtol, 1e-9), atol=1e-9, err_msg=name
        )
    np.testing.assert_allclose(fit.yi - ours.raw, theirs["fitted"], rtol=1e-8, atol=1e-9)
    assert ours.notes == ()


@pytest.mark.parametrize("entry", list(entries("permutest")), ids=str)
def test_permutation_tests_equal_those_of_metafor(entry):
    fit, theirs = fitted(entry), entry.result
    ours = permutation_test(fit, exact=True)
    assert ours.rearrangements == theirs["n_permutations"]
    np.testing.assert_allclose(ours.p, theirs["pval_perm"], rtol=1e-10)
    np.testing.assert_allclose(ours.omnibus_p, theirs["QM_p_perm"], rtol=1e-10)
