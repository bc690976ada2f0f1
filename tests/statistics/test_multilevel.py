"""Multilevel and multivariate models: against metafor, published tables, brute force."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dependence import analyses, columns, entry, numbers, read, refit

from evisynth.models import covariance, multilevel
from evisynth.models.multilevel import crossed, fit, nested, structured

REFERENCES = list(analyses("rma.mv"))
OK = [a for a in REFERENCES if a.status == "ok"]
# Two levels with one effect each: metafor divides one variance between them at random.
UNIDENTIFIED = "mv/study_es_unidentified"
# Here only one of R's optimisers came to an end: ours is right to 1e-12, see the test in 40
# digits below.
LOOSE = {"mv/UN_year/REML": 5e-5, "mv/UN_year/ML": 5e-5}
COMPARED = [a for a in OK if a.id != UNIDENTIFIED]


def test_no_reference_is_lost():
    assert (len(REFERENCES), len(OK), len(COMPARED)) == (56, 55, 54)
    structs = {a.args.get("struct", "nested") for a in COMPARED if "random" in a.args}
    assert structs == {"nested", "CS", "HCS", "UN", "DIAG", "ID"}


def close(ours, theirs, rtol, atol=0.0):
    theirs = np.array(theirs, dtype=float)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def variances(fitted):
    """Estimates by kind, as metafor keeps them."""
    found = {"sigma2": [], "tau2": [], "rho": []}
    for component in fitted.components:
        found[component.name.split()[0]].append(component.estimate)
    return found


@pytest.mark.parametrize("analysis", COMPARED, ids=str)
def test_fits_equal_those_of_metafor(analysis):
    expected = analysis.result
    fitted = refit(analysis)
    # metafor's optimisers end where the likelihood is flat to 1e-9 or so: their estimates are
    # good to the square root of that, ours to rounding (see the test of stationarity).
    rtol = LOOSE.get(analysis.id, max(analysis.rtol, 1e-6))
    height = next(iter(expected["fit"].values()))
    if height["ll"] is not None:  # R gives none for EE
        assert fitted.log_likelihood >= height["ll"] - 1e-10 * (1 + abs(height["ll"]))
        close(fitted.log_likelihood, height["ll"], 1e-9, 1e-9)
    close(fitted.beta, expected["estimate"], rtol, rtol * max(expected["se"]))
    close(fitted.se, expected["se"], rtol)
    close(fitted.p_values, expected["pval"], 100 * rtol, 1e-12)
    close(fitted.ci_low, expected["ci_lb"], rtol, rtol)
    close(fitted.ci_high, expected["ci_ub"], rtol, rtol)
    close([fitted.qe, fitted.qe_df], [expected["QE"], expected["QE_df"]], 1e-10)
    close(fitted.qe_p, expected["QE_p"], 1e-8, 1e-14)
    close(fitted.qm_p, expected["QM_p"], 100 * rtol, 1e-12)
    assert fitted.qm_df[0] == expected["QM_df"][0]
    if analysis.args["tests"][0] == "z":
        close(fitted.qm, expected["QM"], 10 * rtol)
    if "random" in analysis.args:
        close([fitted.aic, fitted.bic, fitted.aicc], ic(height), 1e-8)
    flat = max(10 * rtol, 2e-5)
    for kind, ours in variances(fitted).items():
        theirs = expected.get(kind, [])
        if analysis.args.get("struct") in ("DIAG", "ID") and kind == "rho":
            continue
        # a boundary is approached, not reached
        close(ours, theirs, flat, 1e-6)


def ic(height):
    return [height["AIC"], height["BIC"], height["AICc"]]


@pytest.mark.parametrize(
    "analysis", [a for a in COMPARED if "t" in a.result.get("tests", ())], ids=str
)
def test_t_tests_equal_those_of_metafor(analysis):
    expected = analysis.result["tests"]["t"]
    fitted = refit(analysis, test="t")
    rtol = max(analysis.rtol, 1e-6)
    close(fitted.df, expected["ddf"], 0)
    close(fitted.p_values, expected["pval"], 100 * rtol, 1e-12)
    close(fitted.ci_low, expected["ci_lb"], rtol, rtol)
    close(fitted.qm, expected["QM"], 10 * rtol)
    close(fitted.qm_p, expected["QM_p"], 100 * rtol, 1e-12)
    assert fitted.qm_df == tuple(expected["QM_df"])


@pytest.mark.parametrize("analysis", [a for a in COMPARED if "pi" in a.result], ids=str)
def test_prediction_intervals_equal_those_of_metafor(analysis):
    contain = analysis.args.get("dfs") == "contain"
    row = multilevel.estimate_row(refit(analysis, test="contain" if contain else "z"))
    expected = analysis.result["pi"]["default"]
    close([row.pi_low, row.pi_high], [expected["lb"], expected["ub"]], 1e-4, 1e-5)
    if contain:
        assert row.df == analysis.result["ddf"][0]


@pytest.mark.parametrize("analysis", [a for a in COMPARED if "vc_ci" in a.result], ids=str)
def test_profile_intervals_equal_those_of_metafor(analysis):
    ours = multilevel.profile_intervals(refit(analysis))
    for interval, theirs in zip(ours, analysis.result["vc_ci"], strict=True):
        for end, value, sign in (
            (interval.low, theirs["ci_lb"], theirs["lb_sign"]),
            (interval.high, theirs["ci_ub"], theirs["ub_sign"]),
        ):
            if value is not None and not sign:
                # confint's root finder stops at 1e-4 or so
                close(end, value, 1e-3, 2e-5)


def test_profile_intervals_of_konstantopoulos2011_are_exact():
    analysis = entry("konstantopoulos2011", "mv/threelevel/REML")
    ours = multilevel.profile_intervals(refit(analysis))
    for interval, theirs in zip(ours, analysis.result["vc_ci"], strict=True):
        close([interval.low, interval.high], [theirs["ci_lb"], theirs["ci_ub"]], 1e-8)


def test_random_effects_equal_those_of_metafor():
    (analysis,) = analyses("ranef_mv")
    ours = multilevel.random_effects(refit(entry(analysis.file, "mv/threelevel/REML")))
    for term, theirs in zip(ours, analysis.result.values(), strict=True):
        close(term.estimate, theirs["est"], 1e-6, 1e-7)
        close(term.se, theirs["se"], 1e-6)
    assert [str(label[0]) for label in ours[0].outer] == analysis.result["district"]["level"]


# ---------------------------------------------------------------- published


def konstantopoulos(**options):
    data = columns("konstantopoulos2011")
    return fit(
        numbers(data, "yi"),
        covariance.diagonal(numbers(data, "vi")),
        nested(district=data["district"], school=data["school"]),
        **options,
    )


def test_konstantopoulos2011_table_5():
    reml, ml = konstantopoulos(), konstantopoulos(method="ML")
    assert (round(reml.beta[0], 4), round(reml.se[0], 3)) == (0.1847, 0.085)
    assert [round(c.estimate, 4) for c in reml.components] == [0.0651, 0.0327]
    assert round(reml.log_likelihood, 4) == -7.9587
    assert round(reml.components[0].icc, 4) == 0.6653
    assert (round(ml.beta[0], 4), round(ml.se[0], 3)) == (0.1845, 0.080)
    assert [round(c.estimate, 4) for c in ml.components] == [0.0577, 0.0329]


def test_berkey1998_bivariate_maximum_likelihood():
    fitted = refit(entry("berkey1998", "mv/UN/ML"))
    assert [round(b, 4) for b in fitted.beta] == [-0.3379, 0.3448]
    assert [round(c.estimate, 4) for c in fitted.components] == [0.0261, 0.0070, 0.6992]


def test_vanhouwelingen2002_bivariate_model_of_the_arms():
    data = read("reviews/bcg/data/bcg.csv")
    events = np.concatenate([numbers(data, "tpos"), numbers(data, "cpos")])
    others = np.concatenate([numbers(data, "tneg"), numbers(data, "cneg")])
    arm, study = ["vaccine"] * 13 + ["control"] * 13, 2 * data["trial"]
    fitted = fit(
        np.log(events / others),
        covariance.diagonal(1 / events + 1 / others),
        [structured("arm | study", arm, study, "UN")],
        np.column_stack([np.repeat([1.0, 0.0], 13), np.repeat([0.0, 1.0], 13)]),
        method="ML",
    )
    # printed: -4.834 (0.340) and -4.096 (0.435), variances 1.431 and 2.407
    assert [round(b, 3) for b in fitted.beta] == [-4.834, -4.096]
    assert [round(s, 3) for s in fitted.se] == [0.340, 0.435]
    # control sorts before vaccine
    assert [round(c.estimate, 3) for c in fitted.components] == [2.407, 1.431, 0.947]
    # metafor 3.8-1 with optim's BFGS at reltol 1e-15
    close(fitted.log_likelihood, -33.087934155720, 1e-11)


def ishak():
    data = read("tests/data/ishak2007.csv")
    rows = [
        (study, time, float(y), float(v))
        for i, study in enumerate(data["study"])
        for time in range(1, 5)
        if (y := data[f"y{time}i"][i]) and (v := data[f"v{time}i"][i])
    ]
    study, time, yi, vi = (np.array(column) for column in zip(*rows, strict=True))
    return study.tolist(), time.tolist(), yi.astype(float), vi.astype(float)


def ishak_fit(struct, rho=0.97):
    study, time, yi, vi = ishak()
    rows = covariance.groups(study)
    steps = [np.abs(np.subtract.outer(np.array(time)[r], np.array(time)[r])) for r in rows]
    v = covariance.from_correlations(vi, rows, [rho**step for step in steps])
    x = (np.array(time)[:, np.newaxis] == np.arange(1, 5)).astype(float)
    return fit(yi, v, [structured("time | study", time, study, struct)], x)


# rma.mv of metafor 3.8-1 on the same V (correlations 0.97 to the power of the distance) with
# optim's BFGS at reltol 1e-15; no published table gives these.
ISHAK = {
    "HAR": {
        "beta": [-25.9047370581, -27.4608388595, -28.655937312, -26.4934058085],
        "se": [1.01181829, 1.14055323234, 1.03214889077, 1.38171437954],
        "tau2": [22.7257477778, 33.7294484088, 26.1425671577, 31.18031656],
        "rho": [0.883153096305],
        "ll": -231.362359211,
    },
    "AR": {
        "beta": [-25.9417843702, -27.393690058, -28.7053632841, -26.3969964835],
        "se": [1.08360083777, 1.05192973167, 1.04979353707, 1.34208165935],
        "tau2": [26.6874856011],
        "rho": [0.865613404017],
        "ll": -232.270176685,
    },
    "CAR": {
        "beta": [-25.9417843757, -27.3936900508, -28.7053632927, -26.3969965453],
        "se": [1.0836007538, 1.05192964931, 1.04979345525, 1.3420815502],
        "tau2": [26.6874800634],
        "rho": [0.865613409313],
        "ll": -232.270176685,
    },
    "HCS": {
        "beta": [-25.8814118077, -27.3292673554, -28.6510492934, -26.6630885158],
        "se": [0.967245575141, 1.146650930277, 1.047715831669, 1.371783830023],
        "tau2": [20.8628628621, 32.7429147496, 27.6592733554, 32.1907442266],
        "rho": [0.860886388086],
        "ll": -231.9183653873,
    },
    "UN": {
        "beta": [-25.7858100628, -27.6841784426, -28.6349546906, -26.9919152878],
        "se": [0.950040273548, 1.123774388328, 1.039227698271, 1.317021085388],
        "tau2": [20.2277464528, 31.8915475688, 25.7282380331, 34.0122347379],
        "rho": [
            0.905415970393,
            0.781995870312,
            0.871950742975,
            0.823788283358,
            0.712287034956,
            0.887060719403,
        ],
        "ll": -229.7019864379,
    },
    "CS": {
        "beta": [-25.941834201, -27.3024428738, -28.6561835422, -26.5431265579],
        "se": [1.06503039858, 1.07190532356, 1.04314008262, 1.31447206194],
        "tau2": [26.8073984562],
        "rho": [0.841990762655],
        "ll": -232.8087620119,
    },
}


@pytest.mark.parametrize("struct", ISHAK)
def test_correlated_times_of_ishak2007_equal_those_of_metafor(struct):
    fitted, theirs = ishak_fit(struct), ISHAK[struct]
    assert fitted.log_likelihood >= theirs["ll"] - 1e-9
    close(fitted.log_likelihood, theirs["ll"], 1e-10)
    close(fitted.beta, theirs["beta"], 1e-7)
    close(fitted.se, theirs["se"], 1e-6)
    close([c.estimate for c in fitted.components], theirs["tau2"] + theirs["rho"], 2e-6)


# ---------------------------------------------------------------- brute force


def brute_likelihood(yi, v, x, restricted):
    """The definition, in 40 digits: no blocks, no factors."""
    with mpmath.workdps(40):
        m, design, y = mpmath.matrix(v), mpmath.matrix(x), mpmath.matrix(yi)
        inverse = m**-1
        cross = design.T * inverse * design
        rest = y - design * (cross**-1 * (design.T * inverse * y))
        k, p = len(yi), len(x[0])
        value = mpmath.log(mpmath.det(m)) + (rest.T * inverse * rest)[0]
        value += (k - p if restricted else k) * mpmath.log(2 * mpmath.pi)
        if restricted:
            value += mpmath.log(mpmath.det(cross)) - mpmath.log(mpmath.det(design.T * design))
        return -value / 2


@pytest.mark.parametrize("id_", ["mv/UN/REML", "mv/UN/ML", "mv/UN_year/REML"])
def test_likelihood_is_that_of_the_definition_and_its_slope_is_zero(id_):
    fitted = refit(entry("berkey1998", id_))
    restricted = fitted.method == "REML"
    outcome = [int(x) for x in fitted.x[:, 1]]
    trial = columns("berkey1998")["trial"]

    def height(tau1, tau2, rho):
        g = [[tau1, rho * mpmath.sqrt(tau1 * tau2)], [rho * mpmath.sqrt(tau1 * tau2), tau2]]
        v = covariance.dense(fitted.v).tolist()
        for i in range(10):
            for j in range(10):
                if trial[i] == trial[j]:
                    v[i][j] += g[outcome[i]][outcome[j]]
        return brute_likelihood(fitted.yi.tolist(), v, fitted.x.tolist(), restricted)

    with mpmath.workdps(40):
        best = [mpmath.mpf(c.estimate) for c in fitted.components]
        close(fitted.log_likelihood, float(height(*best)), 1e-13)
        # Newton's step from our optimum in 40 digits: what separates it from the true one
        gradient = mpmath.matrix(3, 1)
        hessian = mpmath.matrix(3, 3)
        h = [value * mpmath.mpf("1e-8") for value in best]

        def moved(*steps):
            return height(*(b + s * e for b, s, e in zip(best, steps, h, strict=True)))

        units = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
        for a, one in enumerate(units):
            gradient[a] = (moved(*one) - moved(*(-s for s in one))) / 2
            for b, two in enumerate(units):
                corners = [
                    sign1
                    * sign2
                    * moved(*(sign1 * s + sign2 * t for s, t in zip(one, two, strict=True)))
                    for sign1 in (1, -1)
                    for sign2 in (1, -1)
                ]
                hessian[a, b] = mpmath.fsum(corners) / 4
        step = mpmath.lu_solve(hessian, gradient)
        # in units of 1e-8 of the estimate: agreement to 1e-12 relative
        assert max(abs(float(s)) for s in step) < 1e-4
        # ... and the observed information gives the standard errors
        information = -(hessian**-1)
        for component, place, size in zip(fitted.components, range(3), h, strict=True):
            close(component.se, float(mpmath.sqrt(information[place, place]) * size), 1e-7)


def simulated(seed, k=14, levels=4):
    random = np.random.default_rng(seed)
    outer = random.integers(0, levels, k).tolist()
    inner = random.integers(0, 3, k).tolist()
    vi = np.exp(random.normal(-2, 1, k))
    x = np.column_stack([np.ones(k), random.normal(size=k)])
    yi = random.normal(size=k) * np.sqrt(vi + 0.3) + 0.5 * np.array(outer)
    return yi, vi, x, outer, inner


@pytest.mark.parametrize("struct", multilevel.STRUCTS)
@pytest.mark.parametrize("method", multilevel.METHODS)
def test_derivatives_are_those_of_the_likelihood(struct, method):
    yi, vi, x, outer, inner = simulated(7)
    v = covariance.constant_correlation(vi, outer, 0.4)
    terms = (
        structured("inner | outer", inner, outer, struct),
        *crossed(batch=[i % 5 for i in range(14)]),
    )
    question = multilevel._Question(yi, v, terms, x, method, "z", 0.95, ("a", "b"), (1,))
    problem = multilevel._problem(question)
    u = 0.4 + 0.3 * np.cos(np.arange(problem.n))
    slope = multilevel._derivatives(problem, u)
    assert slope.value == multilevel._value(problem, u)
    h = 1e-5
    for place in range(problem.n):
        step = np.zeros(problem.n)
        step[place] = h
        ahead, behind = (multilevel._derivatives(problem, u + s) for s in (step, -step))
        # central differences: truncation h^2, rounding 1e-16 / h
        close(slope.gradient[place], (ahead.value - behind.value) / (2 * h), 1e-7, 1e-8)
        close(slope.hessian[place], (ahead.gradient - behind.gradient) / (2 * h), 1e-6, 1e-7)


def dense_likelihood(fitted, components):
    """Log-likelihood of nested intercepts with other variances, by plain matrices."""
    m = covariance.dense(fitted.v)
    for term, variance in zip(fitted.terms, components, strict=True):
        outer = covariance.codes(term.outer)
        m = m + variance * (outer[:, np.newaxis] == outer)
    x, (k, p) = fitted.x, fitted.x.shape
    inverse = np.linalg.inv(m)
    cross = x.T @ inverse @ x
    rest = fitted.yi - x @ np.linalg.solve(cross, x.T @ inverse @ fitted.yi)
    value = np.linalg.slogdet(m)[1] + rest @ inverse @ rest
    if fitted.method == "REML":
        value += np.linalg.slogdet(cross)[1] - np.linalg.slogdet(x.T @ x)[1]
    return -(value + (k - p * (fitted.method == "REML")) * math.log(2 * math.pi)) / 2


hostile = st.integers(0, 10**6)


@given(seed=hostile, decades=st.integers(0, 6), method=st.sampled_from(multilevel.METHODS))
@settings(max_examples=25, deadline=None)
def test_no_point_of_a_grid_is_likelier_than_the_optimum(seed, decades, method):
    random = np.random.default_rng(seed)
    k = int(random.integers(4, 16))
    study = np.sort(random.integers(0, max(2, k // 2), k)).tolist()
    vi = 10.0 ** random.uniform(-decades, 0, k)
    yi = random.normal(size=k) * np.sqrt(vi) + random.normal(size=k)
    fitted = fit(yi, covariance.diagonal(vi), nested(study=study, row=range(k)), method=method)
    if math.isnan(fitted.log_likelihood):
        assert fitted.notes[0].startswith("not estimable: ")
        return
    assert not any("did not converge" in note for note in fitted.notes)
    grid = [0.0, *np.geomspace(vi.min() / 10, 4 * np.ptp(yi) ** 2 + vi.min(), 14)]
    best = max(dense_likelihood(fitted, (a, b)) for a in grid for b in grid)
    assert fitted.log_likelihood >= best - 1e-7
    ours = dense_likelihood(fitted, [c.estimate for c in fitted.components])
    close(fitted.log_likelihood, ours, 1e-9, 1e-8)


@given(seed=hostile)
@settings(max_examples=15, deadline=None)
def test_one_effect_per_study_is_the_usual_random_effects_model(seed):
    from evisynth.tau2 import estimate, log_likelihood

    random = np.random.default_rng(seed)
    k = int(random.integers(3, 12))
    vi = np.exp(random.normal(-2, 1.5, k))
    yi = random.normal(size=k) + 5
    fitted = fit(yi, covariance.diagonal(vi), nested(study=range(k)))
    exact = estimate("REML", yi, vi)
    close(
        fitted.log_likelihood,
        log_likelihood(yi, vi, exact.value, restricted=True),
        1e-11,
        1e-11,
    )
    if len(exact.maxima) == 1:
        # the likelihood is flat at its top: half the digits, but for the Newton polish
        close(fitted.components[0].estimate, exact.value, 1e-8, 1e-12)


@given(seed=hostile, exponent=st.integers(-20, 20), shift=st.integers(-1000, 1000))
@settings(max_examples=8, deadline=None)
def test_fits_follow_unit_origin_and_order(seed, exponent, shift):
    yi, vi, x, outer, inner = simulated(seed)
    terms = (structured("inner | outer", inner, outer, "CS"),)
    v = covariance.constant_correlation(vi, outer, 0.3)
    here = fit(yi, v, terms, x)
    if math.isnan(here.log_likelihood):
        return
    factor = 2.0**exponent
    scaled = covariance.Blocks(v.rows, tuple(m * factor**2 for m in v.matrices))
    large = fit(yi * factor, scaled, terms, x)
    close(large.beta, here.beta * factor, 1e-12)
    close(large.components[0].estimate, here.components[0].estimate * factor**2, 1e-10, 0)
    moved = fit(yi + shift, v, terms, x)
    close(moved.beta - [shift, 0], here.beta, 1e-7, 1e-9)
    order = np.random.default_rng(seed).permutation(len(yi))
    other = fit(
        yi[order],
        covariance.from_dense(covariance.dense(v)[np.ix_(order, order)]),
        (
            structured(
                "inner | outer", [inner[i] for i in order], [outer[i] for i in order], "CS"
            ),
        ),
        x[order],
    )
    close(other.log_likelihood, here.log_likelihood, 1e-11, 1e-10)
    close(other.beta, here.beta, 1e-6, 1e-8)


def test_compound_symmetry_is_the_nested_model():
    data = columns("konstantopoulos2011")
    yi, vi = numbers(data, "yi"), covariance.diagonal(numbers(data, "vi"))
    one = fit(yi, vi, [structured("school | district", data["school"], data["district"], "CS")])
    other = konstantopoulos()
    tau2, rho = (c.estimate for c in one.components)
    district, school = (c.estimate for c in other.components)
    close(one.log_likelihood, other.log_likelihood, 1e-14)
    close([tau2 * rho, tau2 * (1 - rho)], [district, school], 1e-11)


def test_a_model_without_random_effects_is_generalised_least_squares():
    fitted = refit(entry("berkey1998", "mv/EE"))
    w = np.linalg.inv(covariance.dense(fitted.v))
    vcov = np.linalg.inv(fitted.x.T @ w @ fitted.x)
    close(fitted.covariance, vcov, 1e-11)
    close(fitted.beta, vcov @ fitted.x.T @ w @ fitted.yi, 1e-12)
    assert multilevel.estimate_row(fitted).model == "common"
    assert fitted.components == ()
    assert multilevel.profile_intervals(fitted) == ()
    assert multilevel.random_effects(fitted) == ()


def test_crossed_effects_merge_what_they_link():
    yi, vi, _, outer, inner = simulated(3)
    fitted = fit(yi, covariance.diagonal(vi), crossed(study=outer, lab=inner))
    assert len(fitted.marginal.rows) == 1
    close(
        dense_likelihood(fitted, [c.estimate for c in fitted.components]),
        fitted.log_likelihood,
        1e-12,
    )


def test_shares_of_variance_add_up():
    fitted = konstantopoulos()
    i2 = sum(c.i2 for c in fitted.components)
    total = sum(c.estimate for c in fitted.components)
    close(i2, 100 * total / (total + fitted.typical), 1e-13)
    close(sum(c.icc for c in fitted.components), 1, 1e-14)
    # 95.19% published on the site of metafor for these data, 31.86 + 63.32
    assert [round(c.i2, 2) for c in fitted.components] == [63.32, 31.86]


# ---------------------------------------------------------------- what cannot be estimated


def note_of(fitted, part):
    return next((note for note in fitted.notes if part in note), "")


def test_levels_that_group_alike_are_refused():
    (analysis,) = (a for a in OK if a.id == UNIDENTIFIED)
    fitted = refit(analysis)
    assert note_of(fitted, "not estimable: study and study/es group the rows alike")
    assert np.isnan(fitted.beta).all()
    assert math.isnan(multilevel.estimate_row(fitted).estimate)
    assert multilevel.profile_intervals(fitted) == ()


def test_a_variance_between_one_level_is_refused():
    fitted = fit([0.1, 0.2, 0.4], covariance.diagonal([0.1] * 3), nested(lab=["a"] * 3))
    assert note_of(fitted, "lab: all 3 rows belong to one level")


@pytest.mark.parametrize("struct", ["CS", "HCS", "AR", "HAR", "UN"])
def test_a_correlation_that_no_study_shows_is_refused(struct):
    term = structured("outcome | study", ["a", "b"] * 3, range(6), struct)
    fitted = fit(np.arange(6.0), covariance.diagonal([1.0] * 6), [term])
    assert note_of(fitted, "no level has two different inner levels")


def test_a_pair_of_outcomes_that_no_study_has_is_refused():
    outcome = ["a", "b", "a", "c"] * 4
    study = [i // 2 for i in range(16)]
    fitted = fit(
        np.sin(np.arange(16.0)),
        covariance.diagonal([0.1] * 16),
        [structured("outcome | study", outcome, study, "UN")],
    )
    assert note_of(fitted, "not estimable")
    assert np.isnan(fitted.se).all()


def test_a_covariance_that_is_not_positive_definite_is_refused():
    v = covariance.constant_correlation([0.1] * 3, "aaa", 1.0)
    fitted = fit([0.1, 0.2, 0.4], v, nested(row="abc"))
    assert note_of(fitted, "makes one effect a copy of another")


def test_as_many_coefficients_as_effects_leave_nothing():
    fitted = fit([0.1, 0.2], covariance.diagonal([0.1] * 2), nested(row="ab"), np.eye(2))
    assert note_of(fitted, "2 effects do not determine 2 coefficients")


def test_one_effect_is_itself():
    fitted = fit([0.3], covariance.diagonal([0.04]))
    assert (fitted.beta[0], round(fitted.se[0], 15)) == (0.3, 0.2)
    assert math.isnan(fitted.qe_p)


def test_the_boundary_is_exact_and_said():
    fitted = refit(entry("multilevel_edge", "mv/two_clusters"))
    inner = fitted.components[1]
    assert (inner.estimate, inner.boundary) == (0.0, True)
    assert math.isnan(inner.se)
    assert note_of(fitted, "cl2/es = 0: the likelihood is highest at 0, the boundary")
    assert note_of(fitted, "cl2: 2 levels say little")
    low, high = (
        multilevel.profile_intervals(fitted)[1].low,
        multilevel.profile_intervals(fitted)[1].high,
    )
    assert low == 0
    assert high > 0


def test_a_perfect_correlation_is_exact_and_said():
    fitted = refit(entry("riley2003", "mv/bivariate_CS/rho0.5"))
    assert fitted.components[1].estimate == 1
    assert note_of(fitted, "rho outcome | study = 1: the likelihood is highest at the boundary")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "DL"}, "method must be"),
        ({"test": "knha"}, "test must be"),
        ({"level": 95}, "level must be"),
        ({"yi": [0.1, math.nan]}, "finite"),
        ({"yi": [0.1]}, "shapes"),
        ({"x": np.ones((2, 2))}, "depend on each other"),
    ],
)
def test_impossible_input_is_refused(change, words):
    options = {"yi": [0.1, 0.2], "v": covariance.diagonal([0.1, 0.2])} | change
    with pytest.raises(ValueError, match=words):
        fit(**options)


def test_containment_counts_the_levels_within_which_a_column_is_constant():
    data = columns("konstantopoulos2011")
    x = np.column_stack([np.ones(56), [int(d) > 60 for d in data["district"]], np.arange(56)])
    fitted = fit(
        numbers(data, "yi"),
        covariance.diagonal(numbers(data, "vi")),
        nested(district=data["district"], school=data["school"]),
        x,
        test="contain",
    )
    # 11 districts less 2 columns constant within them; 56 schools less 3
    assert fitted.df.tolist() == [9, 9, 53]
    assert fitted.qm_df == (2, 9)


def test_predictions_are_linear_in_the_design():
    fitted = refit(entry("berkey1998", "mv/UN/REML"))
    term = "outcome | trial"
    both = multilevel.predict(fitted, np.eye(2))
    close(both.estimate, fitted.beta, 0)
    close(both.ci_low, fitted.ci_low, 1e-14)
    assert np.isnan(both.pi_low).all()
    assert "name the inner level" in both.notes[0]
    named = multilevel.predict(fitted, [[1, 0]], {term: "AL"})
    reach = 1.959963984540054 * math.sqrt(fitted.se[0] ** 2 + fitted.components[0].estimate)
    close(named.pi_high - named.estimate, reach, 1e-12)
    # the published contrast of the reference: AL - PD
    contrast = multilevel.predict(fitted, [[1, -1]])
    close([contrast.estimate[0], contrast.se[0]], [-0.692643348726, 0.0743815620025], 1e-6)


def test_several_thousand_effects_in_many_studies_fit():
    random = np.random.default_rng(1)
    study = np.repeat(np.arange(800), random.integers(1, 6, 800))
    k = study.size
    vi = np.exp(random.normal(-2, 1, k))
    yi = 0.3 + random.normal(size=800)[study] * 0.4 + random.normal(size=k) * np.sqrt(vi + 0.05)
    fitted = fit(yi, covariance.diagonal(vi), nested(study=study.tolist(), row=range(k)))
    truth = (0.16, 0.05)
    for component, value in zip(fitted.components, truth, strict=True):
        assert abs(component.estimate - value) < 4 * component.se
