"""Models of counts with random effects: against metafor, mpmath, closed forms and grids."""

import csv
import functools
import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import chdtri, expit, gammaln, logit

from evisynth.models.count_terms import binomial, hypergeometric, poisson
from evisynth.models.glmm import FIELDS, MODELS, estimates, glmm
from evisynth.models.quadrature import Latent, integrate

ROOT = Path(__file__).parents[2]
ALL = [(measure, model) for measure, models in MODELS.items() for model in models]
FAST = [pair for pair in ALL if pair[1] != "UM.RS"]


@functools.cache
def document(name):
    path = ROOT / "tests" / "reference" / "glmm" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@functools.cache
def data_set(path):
    with (ROOT / path).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def numbers(path, column):
    return np.array([float(row[column] or "nan") for row in data_set(path)])


def data(name, *columns):
    return [numbers(f"tests/data/{name}.csv", column) for column in columns]


NAMES = sorted(path.stem for path in (ROOT / "tests" / "reference" / "glmm").glob("*.json"))
ENTRIES = [(name, entry) for name in NAMES for entry in document(name)["analyses"]]
COMPARED = [
    pytest.param(name, entry, id=f"{name}:{entry['id']}")
    for name, entry in ENTRIES
    # Laplace's approximation is compared with itself only
    if entry["args"]["nAGQ"] != 1
]


def test_no_reference_is_lost():
    assert (len(ENTRIES), len(COMPARED)) == (47, 46)
    seen = {(e["args"]["measure"], e["args"].get("model", "GLMM")) for _, e in ENTRIES}
    assert seen == set(ALL)


def counts_of(name, args):
    path = document(name)["data"]
    used = {key: numbers(path, column) for key, column in args["inputs"].items()}
    if "n1i" in used:
        used["bi"], used["di"] = used["n1i"] - used["ai"], used["n2i"] - used["ci"]
    used = {key: used[key] for key in FIELDS[args["measure"]]}
    kept = ~np.isnan(np.array(list(used.values()))).any(axis=0)
    if args.get("model") == "UM.RS" and args["measure"] == "OR":
        # metafor leaves studies out that have no events; here they inform on the intercepts
        kept &= used["ai"] + used["ci"] > 0
    x = None
    if "mods" in args:
        x = np.column_stack([np.ones(len(kept)), numbers(path, args["mods"][1:])])[kept]
    return {key: values[kept] for key, values in used.items()}, x


@functools.cache
def fitted(name, id):  # noqa: A002
    args = next(e for _, e in ENTRIES if _ == name and e["id"] == id)["args"]
    counts, x = counts_of(name, args)
    return glmm(args["measure"], args.get("model", "GLMM"), counts, x=x)


def close(ours, theirs, rtol, atol=0.0):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize(("name", "entry"), COMPARED)
def test_fits_equal_those_of_metafor(name, entry):
    args, expected = entry["args"], entry["result"]
    model, common = args.get("model", "GLMM"), args["method"] == "EE"
    found = fitted(name, entry["id"])
    ours = found.common if common else found.random
    se = np.sqrt(np.diag(ours.covariance))
    assert found.k == expected["k"]
    assert found.qe_df == expected["QE_df"]
    # R's glm gives up at 1e-8 of the deviance; CM.EL differentiates twice numerically
    rtol = 5e-6
    if model != "UM.RS":
        close(found.qe_lrt, expected["QE_LRT"], 1e-8, 1e-9)
        close(found.qe_lrt_p, expected["QE_LRT_p"], 1e-6)
        # ... of which the Wald statistic of bcg, 268.6, has suffered most
        if (args["measure"], model) != ("OR", "CM.EL"):
            close(found.qe_wald, expected["QE_Wld"], rtol)
    if common:
        close(ours.coefficients, expected["estimate"], rtol)
        close(se, expected["se"], 2e-4 if model == "CM.EL" else 1e-5)
        close(ours.loglik, expected["ll"], 1e-9)
        close((ours.aic, ours.bic), (expected["AIC"], expected["BIC"]), 1e-9)
        return
    best = expected.get("nAGQ25", expected)
    if model == "UM.RS":
        # Laplace's approximation in lme4: no more than the size can agree
        close(ours.coefficients, best["estimate"], 0.02)
        close(ours.tau2, best["tau2"], 0.08, 1e-3)
        close(ours.sigma2, expected["sigma2"], 0.3)
        assert ours.loglik == pytest.approx(expected["ll"], abs=0.6)
        return
    # lme4's optimiser stops early: it is off by up to 7e-4 (see the checks with mpmath)
    close(ours.coefficients, best["estimate"], 1e-3)
    close(se, best["se"], 1e-3)
    close(ours.tau2, best["tau2"], 2e-3, 1e-4)
    close(found.i2, expected["I2"], 2e-3, 0.02)  # per cent
    close(found.h2, expected["H2"], 2e-3)
    if (args["measure"], model) == ("OR", "CM.EL"):
        # an own implementation in metafor: the only marginal likelihood among them
        close(ours.coefficients, expected["estimate"], 3e-6)
        close(ours.tau2, expected["tau2"], 1e-5, 1e-4)  # hine1989: 7e-5 for 0
        if ours.tau2 > 0:
            close(ours.se_tau2, expected["se_tau2"], 2e-3)
        # ... whose search ends short of the boundary
        assert ours.loglik >= expected["ll"] - 1e-8
        close(ours.loglik, expected["ll"], 1e-7 if ours.tau2 > 0 else 1e-4)
        close((ours.aic, ours.bic), (expected["AIC"], expected["BIC"]), 1e-4)
    if "mods" not in args:
        test = args["test"]
        row = next(
            e
            for e in estimates(
                found, level=0.95, null=0.0, prediction="normal" if test == "z" else "V"
            )
            if (e.model, e.test) == ("random", test)
        )
        assert row.method == model
        close((row.ci_low, row.ci_high), (expected["ci_lb"], expected["ci_ub"]), 3e-3, 1e-4)
        close(row.p, expected["pval"], 5e-2)  # 18 standard errors off amplify
        if test == "t":
            assert row.df == expected["ddf"]
        pi = expected["pi"]["default"]
        close((row.pi_low, row.pi_high), (pi["lb"], pi["ub"]), 3e-3, 1e-3)


def test_heterogeneity_of_bcg_by_wald_is_that_of_exact_derivatives():
    # metafor 5.0-1 gives 268.6 for CM.EL, by differences; the unconditional one is 163.16
    found = fitted("bcg", "glmm/OR/CM.EL/ML")
    entry = document("bcg")["analyses"]
    tables = counts_of("bcg", entry[0]["args"])[0]
    w, y = [], []
    for a, b, c, d in zip(*tables.values(), strict=True):
        log_p, low = distribution(a, b, c, d)
        u = low + np.arange(len(log_p))
        effect = math.log(a * d / b / c)
        for _ in range(50):
            p = np.exp(log_p + u * effect - (log_p + u * effect).max())
            p /= p.sum()
            mean = p @ u
            variance = p @ (u - mean) ** 2
            effect += (a - mean) / variance
        y.append(effect)
        w.append(variance)
    y, w = np.array(y), np.array(w)
    close(found.qe_wald, w @ (y - w @ y / w.sum()) ** 2, 1e-10)


def distribution(a, b, c, d):
    n1, n2, m = a + b, c + d, a + c
    low, high = max(0, m - n2), min(n1, m)
    u = np.arange(low, high + 1)
    log = -gammaln(u + 1) - gammaln(n1 - u + 1) - gammaln(m - u + 1) - gammaln(n2 - m + u + 1)
    return log, low


# Published


def test_stijnen_2010_proportions():
    # Stijnen, Hamza & Ozdemir (2010), table II: -3.50 (0.26), tau2 0.81
    x, n = data("nielweise2007", "ci", "n2i")
    fit = glmm("PLO", "GLMM", {"xi": x, "ni": n}).random
    assert round(float(fit.coefficients[0]), 4) == -3.4964
    assert round(math.sqrt(fit.covariance[0, 0]), 4) == 0.2570
    assert round(fit.tau2, 4) == 0.8122


def test_stijnen_2010_odds_ratio():
    a, n1, c, n2 = data("nielweise2007", "ai", "n1i", "ci", "n2i")
    tables = {"ai": a, "bi": n1 - a, "ci": c, "di": n2 - c}
    exact, approximate = (glmm("OR", model, tables).random for model in ("CM.EL", "CM.AL"))
    assert round(float(exact.coefficients[0]), 4) == -1.3532
    assert round(math.sqrt(exact.tau2), 4) == 0.8327
    # metafor with 7 nodes: -1.3027
    assert float(approximate.coefficients[0]) == pytest.approx(-1.3027, abs=1e-4)


def test_van_houwelingen_1993():
    columns = data("collins1985a", "b_xci", "nci", "b_xti", "nti")
    kept = ~np.isnan(np.array(columns)).any(axis=0)
    a, n1, c, n2 = (values[kept] for values in columns)
    found = glmm("OR", "CM.EL", {"ai": a, "bi": n1 - a, "ci": c, "di": n2 - c})
    common, random = found.common, found.random
    assert round(float(common.coefficients[0]), 4) == 0.1216
    assert round(math.sqrt(common.covariance[0, 0]), 4) == 0.0996  # 0.0995 in the paper
    assert round(common.loglik, 4) == -53.6789
    assert round(float(random.coefficients[0]), 4) == 0.1744
    assert round(random.tau2, 4) == 0.1192
    assert round(random.loglik, 4) == -52.9901


def test_two_studies_far_apart_have_a_wide_interval():
    # F14: Stata's metaprop gives .18 [.14, .21]; glmer .2355 [.019, .830]
    found = glmm("PLO", "GLMM", {"xi": [5, 116], "ni": [119, 170]})
    rows = {(e.model, e.test): e for e in estimates(found, level=0.95, null=None)}
    row = rows["random", "z"]
    close(expit([row.estimate, row.ci_low, row.ci_high]), [0.2355, 0.019, 0.830], 0, 5e-4)
    assert row.tau2 == pytest.approx(3.85, abs=5e-3)
    assert any("two studies" in note for note in row.notes)
    assert math.isnan(row.p)
    assert math.isnan(row.pi_low)


# Higher precision


def mp_score(log_probability, mu, tau):
    """Log of one study's likelihood and its score in (mu, tau), 20 digits."""
    edges = [-11, -4, 0, 4, 11]

    def moment(weight):
        return mpmath.quad(
            lambda b: weight(b) * mpmath.exp(log_probability(mu + tau * b)) * mpmath.npdf(b),
            edges,
        )

    total = moment(lambda b: 1)
    h = mpmath.mpf(10) ** -10
    # the derivative of the integrand, not of the integral: Fisher's identity
    slope = functools.cache(
        lambda b: (
            (log_probability(mu + tau * b + h) - log_probability(mu + tau * b - h)) / 2 / h
        )
    )
    return mpmath.log(total), moment(slope) / total, moment(lambda b: b * slope(b)) / total


def covariance_of(fit):
    """Squared standard errors of mu and tau, as a scale of the score."""
    tau = math.sqrt(fit.tau2)
    return np.diag([fit.covariance[0, 0], (fit.se_tau2 / (2 * tau)) ** 2])


@pytest.mark.parametrize("case", ["PLO", "CM.EL"])
def test_maximum_is_one_at_20_digits(case):
    if case == "PLO":
        x, n = (values[7:12] for values in data("nielweise2007", "ci", "n2i"))
        fit = glmm("PLO", "GLMM", {"xi": x, "ni": n}).random
        studies = [
            lambda e, x=int(x), n=int(n): (
                mpmath.log(mpmath.binomial(n, x)) + x * e - n * mpmath.log1p(mpmath.exp(e))
            )
            for x, n in zip(x, n, strict=True)
        ]
    else:
        tables = np.array([[1, 97, 19, 84], [5, 40, 2, 50], [0, 66, 7, 57], [9, 12, 2, 20]])
        fit = glmm("OR", "CM.EL", dict(zip(FIELDS["OR"], tables.T, strict=True))).random
        studies = []
        for a, b, c, d in tables.tolist():
            low, high = max(0, a - d), min(a + b, a + c)
            terms = [
                mpmath.binomial(a + b, u) * mpmath.binomial(c + d, a + c - u)
                for u in range(low, high + 1)
            ]
            studies.append(
                lambda e, a=a, low=low, terms=terms: (
                    mpmath.log(terms[a - low])
                    + a * e
                    - mpmath.log(
                        sum(t * mpmath.exp((low + i) * e) for i, t in enumerate(terms))
                    )
                )
            )
    with mpmath.workdps(20):
        mu, tau = mpmath.mpf(float(fit.coefficients[0])), mpmath.mpf(math.sqrt(fit.tau2))
        parts = [mp_score(study, mu, tau) for study in studies]
        value, *score = (float(mpmath.fsum(part)) for part in zip(*parts, strict=True))
    close(fit.loglik, value, 1e-12)
    score = np.array(score)
    # so the estimates are within 1e-8 standard errors of the maximum
    assert score @ covariance_of(fit) @ score < 1e-16


def test_nodes_no_longer_move_the_digits_of_f13():
    # 7 nodes: tau2 .812354; lme4 with 25: .81221. Here 1e-10, as the score above shows.
    x, n = data("nielweise2007", "ci", "n2i")
    fit = glmm("PLO", "GLMM", {"xi": x, "ni": n}).random
    mu, tau = float(fit.coefficients[0]), math.sqrt(fit.tau2)
    value, score = dense(binomial(x[:, None], n[:, None]), mu, tau)
    close(fit.loglik, value, 1e-12)
    assert score @ covariance_of(fit) @ score < 1e-18


def dense(terms, mu, tau):
    """Log-likelihood and score by 4,001 equidistant nodes that are fitted to nothing."""
    b = np.linspace(-12, 12, 4001)
    k = 18
    value, slope, _ = terms(np.arange(k), np.broadcast_to(mu + tau * b, (k, 1, len(b))))
    mass = np.exp(value[:, 0]) * np.exp(-b * b / 2) / math.sqrt(2 * math.pi) * (b[1] - b[0])
    total = mass.sum(axis=1)
    weight = mass / total[:, None]
    s = slope[:, 0]
    score = np.array([(weight * s).sum(), (weight * s * b).sum()])
    return np.log(total).sum(), score


SMALL_TABLES = {
    "ai": np.array([3.0, 0, 5, 2, 8, 1]),
    "bi": np.array([17.0, 12, 10, 30, 9, 14]),
    "ci": np.array([6.0, 2, 4, 9, 3, 7]),
    "di": np.array([12.0, 11, 12, 20, 17, 9]),
}
SMALL_TIMES = {
    "x1i": np.array([3.0, 0, 9, 2, 8, 1]),
    "t1i": np.array([17.0, 12, 10, 30, 9, 14]),
    "x2i": np.array([6.0, 2, 4, 9, 1, 7]),
    "t2i": np.array([12.0, 11, 12, 20, 17, 9]),
}


def grid_likelihood(measure, model, counts, theta):
    """Log-likelihood by a plain grid: mu, tau, then alpha and sigma, or each study's alpha."""
    mu, tau, *rest = theta
    if measure == "OR":
        a, b, c, d = (counts[name] for name in FIELDS["OR"])
        family = binomial(np.column_stack([a, c]), np.column_stack([a + b, c + d]))
        offset = np.zeros((len(a), 2))
    else:
        x1, t1, x2, t2 = (counts[name] for name in FIELDS["IRR"])
        family = poisson(np.column_stack([x1, x2]))
        offset = np.log(np.column_stack([t1, t2]))
    k = len(offset)
    u = np.linspace(-9, 9, 121)
    cell = math.log(u[1] - u[0])
    if model == "UM.FS":
        alpha, u, v = np.array(rest)[:, None], u[None], 0.0
        prior = -u * u / 2 - 0.5 * math.log(2 * math.pi) + cell
    else:
        u, v = (part.ravel()[None] for part in np.meshgrid(u, u))
        alpha, v = rest[0], rest[1] * v
        prior = -(u * u + (v / rest[1]) ** 2) / 2 - math.log(2 * math.pi) + 2 * cell
    base = alpha + v
    eta = np.stack([base + mu + tau * u / 2, base - tau * u / 2], axis=1)
    value = family(np.arange(k), np.broadcast_to(eta, (k, *eta.shape[1:])) + offset[..., None])[
        0
    ]
    return float(np.logaddexp.reduce(value.sum(axis=1) + prior, axis=1).sum())


def derivatives(function, theta, step=1e-3):
    """Gradient and Hessian by central differences of the fourth order."""
    n = len(theta)
    unit = np.eye(n) * step
    centre = function(theta)

    def first(e):
        near = function(theta + e) - function(theta - e)
        far = function(theta + 2 * e) - function(theta - 2 * e)
        return (8 * near - far) / (12 * step)

    def second(i, j, h):
        p, q = unit[i] * h, unit[j] * h
        if i == j:
            bend = function(theta + p) + function(theta - p) - 2 * centre
            return bend / (h * step) ** 2
        along = function(theta + p + q) + function(theta - p - q)
        across = function(theta + p - q) + function(theta - p + q)
        return (along - across) / (2 * h * step) ** 2

    hessian = np.empty((n, n))
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        # Richardson: the error of the second order cancels
        hessian[i, j] = hessian[j, i] = (4 * second(i, j, 5) - second(i, j, 10)) / 3
    return np.array([first(e) for e in unit]), hessian


@pytest.mark.parametrize("measure", ["OR", "IRR"])
@pytest.mark.parametrize("model", ["UM.FS", "UM.RS"])
def test_unconditional_models_have_the_maximum_of_a_plain_grid(measure, model):
    counts = SMALL_TABLES if measure == "OR" else SMALL_TIMES
    found = glmm(measure, model, counts)
    fit = found.random
    assert fit.tau2 > 0.01
    mu, tau = float(fit.coefficients[0]), math.sqrt(fit.tau2)
    if model == "UM.FS":
        rest = best_intercepts(measure, counts, mu, tau)
    else:
        rest = [best_alpha(measure, counts, mu, tau, fit.sigma2), math.sqrt(fit.sigma2)]
    theta = np.array([mu, tau, *rest])
    function = functools.partial(grid_likelihood, measure, model, counts)
    close(fit.loglik, function(theta), 1e-9)
    gradient, hessian = derivatives(function, theta)
    np.testing.assert_allclose(gradient, 0, atol=2e-5)
    covariance = np.linalg.inv(-hessian)
    close(math.sqrt(fit.covariance[0, 0]), math.sqrt(covariance[0, 0]), 1e-5)
    close(fit.se_tau2, 2 * tau * math.sqrt(covariance[1, 1]), 1e-5)


def best_intercepts(measure, counts, mu, tau):
    k = len(next(iter(counts.values())))
    found = []
    for row in range(k):
        one = {name: values[row : row + 1] for name, values in counts.items()}
        found.append(
            newton(
                lambda alpha, one=one: grid_likelihood(measure, "UM.FS", one, [mu, tau, alpha])
            )
        )
    return found


def best_alpha(measure, counts, mu, tau, sigma2):
    return newton(
        lambda alpha: grid_likelihood(
            measure, "UM.RS", counts, [mu, tau, alpha, math.sqrt(sigma2)]
        )
    )


def newton(function):
    x, h = -0.5, 1e-3
    for _ in range(50):
        low, centre, high = function(x - h), function(x), function(x + h)
        x += (high - low) / 2 / h / max(1e-3, -(high + low - 2 * centre) / h**2)
    return x


def test_hypergeometric_terms_with_large_counts():
    # 1e5 in each group: exact sums by mpmath's recurrence
    a, n1, c, n2 = 52_000, 100_000, 49_000, 100_000
    terms = hypergeometric(*(np.array([float(v)]) for v in (a, n1, c, n2)))
    m = a + c
    for effect in (0.0, 0.1, -0.7, 2.0):
        with mpmath.workdps(30):
            odds = mpmath.exp(effect)
            # outwards from a, until nothing is added
            total, mean = mpmath.mpf(1), mpmath.mpf(0)
            for sign in (1, -1):
                term, u = mpmath.mpf(1), a
                for _ in range(60_000):
                    if sign == 1:
                        term *= odds * (n1 - u) * (m - u) / ((u + 1) * (n2 - m + u + 1))
                    else:
                        term *= u * (n2 - m + u) / ((n1 - u + 1) * (m - u + 1) * odds)
                    u += sign
                    total += term
                    mean += term * (u - a)
                    if term < total * mpmath.mpf(10) ** -25 and abs(u - a) > 10:
                        peak = term
                        break
                assert term <= peak
            expected, slope = float(-mpmath.log(total)), float(-mean / total)
        value, first, _ = terms(np.array([0]), np.array([[[effect]]]))
        close(value[0, 0, 0], expected, 1e-11)
        close(first[0, 0, 0], slope, 1e-9, 1e-7)


@pytest.mark.parametrize("eta", [-40.0, -5.0, 0.0, 0.3, 7.0, 250.0])
def test_hypergeometric_terms_of_small_tables_are_exact(eta):
    for a, b, c, d in [(0, 5, 3, 2), (5, 0, 0, 7), (2, 2, 2, 2), (1, 0, 0, 1), (9, 1, 8, 30)]:
        log, low = distribution(a, b, c, d)
        log = log + eta * (np.arange(len(log)) + low - a)
        expected = log[a - low] - np.logaddexp.reduce(log)
        terms = hypergeometric(*(np.array([float(v)]) for v in (a, a + b, c, c + d)))
        value, slope, curve = (
            part[0, 0, 0] for part in terms(np.array([0]), np.array([[[eta]]]))
        )
        close(value, expected, 1e-12, 1e-15)
        p = np.exp(log - np.logaddexp.reduce(log))
        u = np.arange(len(log)) + low - a
        close(slope, -(p @ u), 1e-10, 1e-14)
        close(curve, -(p @ (u - p @ u) ** 2), 1e-8, 1e-13)


@given(
    eta=st.floats(-20, 20),
    scale=st.floats(0, 30),
    x=st.integers(0, 50),
    rest=st.integers(0, 10_000),
)
@settings(max_examples=30, deadline=None)
def test_integrals_equal_those_of_a_dense_grid(eta, scale, x, rest):
    one = np.ones((1, 1))
    xi, ni = np.array([[float(x)]]), np.array([[float(x + rest)]])
    terms = binomial(xi, ni)
    latent = Latent(terms, np.array([0]), np.array([[eta]]), np.array([[scale]]), one, one)
    found = integrate(latent, 1e-6)
    # resolves scale 30 and 10,000 patients
    b = np.linspace(-13, 13, 100_001)
    value, slope, _ = terms(np.array([0]), (eta + scale * b)[None, None])
    log = value[0, 0] - b * b / 2 - 0.5 * math.log(2 * math.pi) + math.log(b[1] - b[0])
    total = np.logaddexp.reduce(log)
    assume(total > -60)  # beyond, the grid's ends are not the tails
    weight = np.exp(log - total)
    close(found.value[0], total, 1e-9, 1e-9)
    size = max(1.0, np.abs(slope[0, 0] * weight).sum())
    close(found.gradient[0, 0], slope[0, 0] @ weight, 1e-7, 1e-7 * size)


# Closed forms


def test_common_proportion_is_that_of_the_totals():
    x, n = np.array([3.0, 0, 7, 12]), np.array([10.0, 14, 20, 15])
    fit = glmm("PLO", "GLMM", {"xi": x, "ni": n}).common
    p = x.sum() / n.sum()
    close(fit.coefficients[0], logit(p), 1e-13)
    close(fit.covariance[0, 0], 1 / (n.sum() * p * (1 - p)), 1e-12)


def test_common_rate_is_that_of_the_totals():
    x, t = np.array([3.0, 0, 7, 12]), np.array([1000.0, 140, 0.02, 15])
    fit = glmm("IRLN", "GLMM", {"xi": x, "ti": t}).common
    close(fit.coefficients[0], math.log(x.sum() / t.sum()), 1e-13)
    close(fit.covariance[0, 0], 1 / x.sum(), 1e-12)


def test_common_rate_ratio_is_conditional_or_not():
    fixed, conditional = (
        glmm("IRR", model, SMALL_TIMES).common for model in ("UM.FS", "CM.EL")
    )
    close(fixed.coefficients, conditional.coefficients, 1e-11)
    close(fixed.covariance, conditional.covariance, 1e-10)


def test_no_event_at_all_has_clopper_and_pearson_s_interval():
    # F11: metafor "Cannot fit ML model"
    n = np.array([10.0, 12, 15])
    upper = 1 - 0.025 ** (1 / 37)
    for x, low, high in ((0 * n, 0, upper), (n, 1 - upper, 1)):
        found = glmm("PLO", "GLMM", {"xi": x, "ni": n})
        for row in estimates(found, level=0.95, null=None):
            close(expit([row.ci_low, row.ci_high]), [low, high], 1e-12)
            close(expit(row.estimate), x[0] / n[0], 0)
            assert math.isnan(row.tau2)
            assert math.isnan(row.se)
            assert any("exact" in note for note in row.notes)
    found = glmm("PLO", "GLMM", {"xi": [0, 0, 1], "ni": n})
    assert found.random.tau2 == 0


def test_no_event_at_all_has_garwood_s_interval():
    found = glmm("IRLN", "GLMM", {"xi": [0, 0], "ti": [250.0, 750.0]}, level=0.9)
    row = estimates(found, level=0.9, null=None)[0]
    assert row.estimate == row.ci_low == -math.inf
    close(math.exp(row.ci_high), -math.log(0.05) / 1000, 1e-12)


@pytest.mark.parametrize("model", ["UM.FS", "UM.RS", "CM.EL"])
def test_no_event_in_one_group_has_an_exact_interval(model):
    # P(a = 0, both studies) = product of C(n2, c) / C(n1 + n2, c) at an odds ratio of 1
    tables = {"ai": [0, 0], "bi": [10, 12], "ci": [3, 2], "di": [7, 9]}
    found = glmm("OR", model, tables)
    row = estimates(found, level=0.95, null=0.0)[1]
    assert row.estimate == row.ci_low == -math.inf
    p = Fraction(math.comb(10, 3), math.comb(20, 3)) * Fraction(
        math.comb(11, 2), math.comb(23, 2)
    )
    close(row.p, float(2 * p), 1e-12)
    odds = math.exp(row.ci_high)
    tail = 1.0
    for n1, n2, m in ((10, 10, 3), (12, 11, 2)):
        terms = [math.comb(n1, u) * math.comb(n2, m - u) * odds**u for u in range(m + 1)]
        tail *= terms[0] / sum(terms)
    close(tail, 0.025, 1e-10)
    turned = glmm(
        "OR",
        model,
        dict(zip(FIELDS["OR"], [tables[n] for n in ("ci", "di", "ai", "bi")], strict=True)),
    )
    other = estimates(turned, level=0.95, null=0.0)[1]
    close(
        [other.estimate, other.ci_low, other.ci_high], [math.inf, -row.ci_high, math.inf], 1e-12
    )


def renamed(tables, *names):
    return dict(zip(FIELDS["OR"], [tables[name] for name in names], strict=True))


def test_rates_without_events_in_one_group_have_an_exact_interval():
    found = glmm(
        "IRR", "CM.EL", {"x1i": [0, 0], "t1i": [10, 20], "x2i": [2, 1], "t2i": [20, 10]}
    )
    row = estimates(found, level=0.95, null=0.0)[0]
    rate = math.exp(row.ci_high)
    close((20 / (20 + 10 * rate)) ** 2 * 10 / (10 + 20 * rate), 0.025, 1e-10)


# Rules


def test_one_study_is_not_pooled():
    found = glmm("PLO", "GLMM", {"xi": [3], "ni": [10]})
    rows = estimates(found, level=0.95, null=None)
    assert [row.model for row in rows] == ["common"]
    close(rows[0].estimate, logit(0.3), 1e-13)
    assert math.isnan(found.random.tau2)
    assert "1 studies" in found.random.notes[0]


def test_studies_without_information_are_named():
    tables = {
        "ai": [3, 0, 5, 2, 4],
        "bi": [17, 12, 0, 30, 10],
        "ci": [6, 0, 4, 9, 2],
        "di": [12, 11, 0, 20, 0],
    }
    for model in ("CM.EL", "UM.FS", "CM.AL"):
        found = glmm("OR", model, tables)
        assert found.informative == (True, False, False, True, True)
        assert (found.k, found.k_total) == (3, 5)
        assert "rows 2, 3" in found.notes[0]
        kept = {name: np.array(values)[[0, 3, 4]] for name, values in tables.items()}
        same = glmm("OR", model, kept)
        close(same.random.coefficients, found.random.coefficients, 1e-9)
    assert glmm("OR", "UM.RS", tables).k == 5


def test_nothing_to_go_by():
    found = glmm("OR", "CM.EL", {"ai": [0, 0], "bi": [5, 4], "ci": [0, 0], "di": [7, 8]})
    assert found.k == 0
    assert math.isnan(found.common.coefficients[0])
    assert "no study has information" in found.common.notes[0]
    assert len(estimates(found, level=0.95, null=0.0)) == 1


@pytest.mark.parametrize(
    ("measure", "model", "counts"),
    [
        ("PLO", "GLMM", {"xi": [1, 0, 1], "ni": [1, 1, 1]}),
        ("PLO", "GLMM", {"xi": [0, 20, 0], "ni": [15, 20, 30]}),
        ("IRR", "CM.EL", {"x1i": [0, 5], "t1i": [9, 9], "x2i": [5, 0], "t2i": [9, 9]}),
    ],
)
def test_tau2_that_the_data_do_not_determine_is_not_given(measure, model, counts):
    found = glmm(measure, model, counts)
    assert np.isfinite(found.common.coefficients).all()
    assert math.isnan(found.random.tau2)
    assert "tau2 is not estimable" in found.random.notes[0]


@pytest.mark.parametrize(
    ("measure", "model", "counts"),
    [
        ("PLO", "GLMM", {"xi": [3], "ni": [2]}),
        ("PLO", "GLMM", {"xi": [1.5], "ni": [2]}),
        ("PLO", "GLMM", {"xi": [math.nan], "ni": [2]}),
        ("PLO", "GLMM", {"xi": [1, 2], "ni": [2]}),
        ("PLO", "CM.EL", {"xi": [1], "ni": [2]}),
        ("IRLN", "GLMM", {"xi": [1], "ti": [0]}),
        ("OR", "CM.EL", {"ai": [-1], "bi": [2], "ci": [2], "di": [2]}),
        ("RR", "UM.FS", {"ai": [1], "bi": [2], "ci": [2], "di": [2]}),
    ],
)
def test_impossible_input_is_refused(measure, model, counts):
    with pytest.raises(ValueError, match=r"\w"):
        glmm(measure, model, counts)


def test_collinear_design_is_refused():
    with pytest.raises(ValueError, match="full rank"):
        glmm("OR", "CM.EL", SMALL_TABLES, x=np.ones((6, 2)))


# Profile of tau by UM.FS: a maximum at 0 (-18.2668), a higher one at 2.63 (-16.2686).
TWO_MAXIMA = {
    "ai": [1, 16, 2, 10, 4],
    "bi": [6, 1, 0, 0, 0],
    "ci": [13, 433, 5, 0, 1],
    "di": [36, 521, 0, 2, 9],
}


def test_higher_one_of_two_maxima_is_taken():
    found = glmm("OR", "UM.FS", TWO_MAXIMA)
    assert found.random.loglik > found.common.loglik + 1.9
    assert found.random.tau2 == pytest.approx(6.910, abs=1e-3)
    assert any("2 maxima" in note for note in found.random.notes)


def test_two_variances_of_which_the_intercepts_one_is_small():
    # without variance between the studies' effects the intercepts seem to have none at all
    tables = {"ai": [0, 1, 7], "bi": [52, 1, 7], "ci": [208, 37, 7], "di": [177, 34, 13]}
    found = glmm("OR", "UM.RS", tables)
    assert found.common.sigma2 == 0
    # the value at sigma = 0, tau = 1.118715, and at a point of a scan
    assert found.random.loglik > max(-22.416758, -22.384069)
    assert found.random.sigma2 > 0


def draw_counts(draw, measure):
    k = draw(st.integers(1, 6))
    top = draw(st.sampled_from([3, 30, 1000]))
    count = st.integers(0, top)
    time = st.floats(1e-6, 1e6)
    return {
        name: draw(st.lists(time if name[0] == "t" else count, min_size=k, max_size=k))
        for name in FIELDS[measure]
    }


@st.composite
def cases(draw, pairs=FAST):
    measure, model = draw(st.sampled_from(pairs))
    counts = draw_counts(draw, measure)
    if measure == "PLO":
        counts["ni"] = [x + n for x, n in zip(counts["xi"], counts["ni"], strict=True)]
    return measure, model, counts


@given(case=cases(), trial=st.floats(0, 20))
@settings(max_examples=30, deadline=None)
def test_any_counts_give_a_maximum_or_a_reason(case, trial):
    measure, model, counts = case
    found = glmm(measure, model, counts)
    rows = estimates(found, level=0.95, null=0.0)
    for row in rows:
        if math.isnan(row.estimate) or math.isnan(row.se):
            assert row.notes
        if not math.isnan(row.estimate):
            assert row.ci_low <= row.estimate <= row.ci_high
    fit = found.random
    if math.isnan(fit.loglik):
        assert fit.notes
        return
    assert fit.loglik >= found.common.loglik - 1e-9
    assert found.tau2_low <= fit.tau2 <= found.tau2_high
    assert fit.loglik >= at_tau(measure, model, counts, fit, trial) - 1e-8
    assert 0 <= found.qe_lrt_p <= 1


def at_tau(measure, model, counts, fit, tau):
    """Profile likelihood at one tau, by a search of mu for the models without intercepts."""
    if model in ("UM.FS", "UM.RS") or (model, measure) == ("CM.EL", "OR"):
        return -math.inf
    data = {name: np.array(values, dtype=float) for name, values in counts.items()}
    if measure == "PLO":
        terms, offset = binomial(data["xi"][:, None], data["ni"][:, None]), 0
    elif measure == "IRLN":
        terms, offset = poisson(data["xi"][:, None]), np.log(data["ti"])
    elif measure == "IRR":
        keep = data["x1i"] + data["x2i"] > 0
        data = {name: values[keep] for name, values in data.items()}
        terms = binomial(data["x1i"][:, None], (data["x1i"] + data["x2i"])[:, None])
        offset = np.log(data["t1i"] / data["t2i"])
    else:
        a, b, c, d = (data[name] for name in FIELDS["OR"])
        keep = (a + c > 0) & (b + d > 0) & (a + b > 0) & (c + d > 0)
        a, b, c, d = a[keep], b[keep], c[keep], d[keep]
        terms, offset = binomial(a[:, None], (a + c)[:, None]), np.log((a + b) / (c + d))
    b = np.linspace(-9, 9, 4001)
    best = -math.inf
    k = len(next(iter(data.values()))) if measure != "OR" else int(keep.sum())
    mean = float(fit.coefficients[0])
    for mu in mean + np.array([0, -0.5, 0.5, -2, 2]):
        eta = np.broadcast_to(np.reshape(offset, (-1, 1, 1)) + mu + tau * b, (k, 1, len(b)))
        log = terms(np.arange(k), eta)[0][:, 0] - b * b / 2 - 0.5 * math.log(2 * math.pi)
        best = max(best, float(np.logaddexp.reduce(log + math.log(b[1] - b[0]), axis=1).sum()))
    # the plain grid overshoots where tau is large for its step
    return best if tau < 3 else -math.inf


@given(case=cases(pairs=[p for p in FAST if p[0] in ("OR", "IRR")]))
@settings(max_examples=10, deadline=None)
def test_swapped_groups_swap_the_sign(case):
    measure, model, counts = case
    names = FIELDS[measure]
    turned = dict(zip(names, [counts[n] for n in (*names[2:], *names[:2])], strict=True))
    same_fit(glmm(measure, model, counts), glmm(measure, model, turned), -1)


@given(case=cases(), data=st.data())
@settings(max_examples=10, deadline=None)
def test_order_of_studies_does_not_matter(case, data):
    measure, model, counts = case
    order = data.draw(st.permutations(range(len(next(iter(counts.values()))))))
    turned = {name: [values[i] for i in order] for name, values in counts.items()}
    same_fit(glmm(measure, model, counts), glmm(measure, model, turned), 1)


@given(case=cases(pairs=[("PLO", "GLMM"), ("OR", "UM.FS"), ("OR", "CM.EL")]))
@settings(max_examples=10, deadline=None)
def test_events_and_non_events_are_alike(case):
    measure, model, counts = case
    if measure == "PLO":
        x = [n - x for x, n in zip(counts["xi"], counts["ni"], strict=True)]
        turned = {"xi": x, "ni": counts["ni"]}
    else:
        turned = dict(
            zip(FIELDS["OR"], [counts[n] for n in ("bi", "ai", "di", "ci")], strict=True)
        )
    same_fit(glmm(measure, model, counts), glmm(measure, model, turned), -1)


def same_fit(one, two, sign):
    for a, b in ((one.common, two.common), (one.random, two.random)):
        se = math.sqrt(a.covariance[0, 0]) if a.covariance[0, 0] > 0 else 1.0
        close(a.coefficients, sign * b.coefficients, 1e-8, 1e-6 * se)
        close(a.loglik, b.loglik, 1e-9, 1e-8)
        close(a.tau2, b.tau2, 1e-5, 1e-6)


@given(power=st.integers(-6, 6))
@settings(max_examples=8, deadline=None)
def test_unit_of_time_shifts_the_rate_only(power):
    x, t = SMALL_TIMES["x1i"], SMALL_TIMES["t1i"]
    one = glmm("IRLN", "GLMM", {"xi": x, "ti": t}).random
    two = glmm("IRLN", "GLMM", {"xi": x, "ti": t * 10.0**power}).random
    close(two.coefficients + power * math.log(10), one.coefficients, 1e-9, 1e-9)
    close(two.tau2, one.tau2, 1e-8)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99999])
def test_interval_of_tau2_is_where_the_profile_has_dropped(level):
    x, n = data("nielweise2007", "ci", "n2i")
    found = glmm("PLO", "GLMM", {"xi": x, "ni": n}, level=level)
    terms = binomial(x[:, None], n[:, None])
    for tau2 in (found.tau2_low, found.tau2_high):
        if tau2 == 0:  # below the cut not even there
            assert 2 * (found.random.loglik - found.common.loglik) < chdtri(1, 1 - level)
            continue
        tau = math.sqrt(tau2)
        best = newton(lambda mu, tau=tau: float(dense(terms, mu, tau)[0]))
        drop = 2 * (found.random.loglik - dense(terms, best, tau)[0])
        close(drop, chdtri(1, 1 - level), 1e-7)


def test_moderators_shift_the_predictor():
    # a moderator that separates two groups: the two common effects
    x = np.column_stack([np.ones(6), [0, 0, 0, 1, 1, 1]])
    fit = glmm("OR", "CM.EL", SMALL_TABLES, x=x).common
    parts = [
        glmm("OR", "CM.EL", {name: v[part] for name, v in SMALL_TABLES.items()}).common
        for part in (slice(0, 3), slice(3, 6))
    ]
    first, second = (float(part.coefficients[0]) for part in parts)
    close(fit.coefficients, [first, second - first], 1e-9)


def test_five_hundred_studies_work():
    rng = np.random.default_rng(5)
    n = rng.integers(20, 400, 500)
    x = rng.binomial(n, expit(rng.normal(-1, 0.7, 500)))
    fit = glmm("PLO", "GLMM", {"xi": x, "ni": n}).random
    se = math.sqrt(fit.covariance[0, 0])
    assert abs(float(fit.coefficients[0]) + 1) < 4 * se
    assert abs(fit.tau2 - 0.49) < 4 * fit.se_tau2
