"""Kenward-Roger, Henmi-Copas, UWLS and hybrid intervals: metafor, meta, papers, quadrature."""

import json
import math
from dataclasses import fields
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references import F1, F7, F8, analyses, effects_of, find

from evisynth.linear import problem
from evisynth.models import intervals
from evisynth.models.intervals import (
    FLOORED,
    henmi_copas,
    hybrid_common,
    hybrid_wald,
    iqwig6,
    kenward_roger,
    t_wald,
    traces,
    uwls,
)
from evisynth.records import Estimate
from evisynth.tau2 import Tau2, estimate

FOLDER = Path(__file__).parents[1] / "reference" / "inference"
ENTRIES = [
    (path.stem, entry)
    for path in sorted(FOLDER.glob("*.json"))
    for entry in json.loads(path.read_text(encoding="utf-8"))["analyses"]
]
HENMI_COPAS = [(name, e) for name, e in ENTRIES if e["kind"] == "hc" and e["status"] == "ok"]
META = [(name, e) for name, e in ENTRIES if "method.random.ci" in e["args"]]
T = [
    entry
    for entry in analyses("rma.uni")
    if entry.status == "ok"
    and "t" in entry.result.get("tests", {})
    and entry.result["k"] > 1
    and entry.args["method"] != "EE"
]


def name_of(pair):
    return f"{pair[0]}:{pair[1]['id']}"


def pooled(name, entry):
    effects = effects_of(find(name, entry["args"]["data"]))
    return effects.yi[effects.pooled], effects.vi[effects.pooled]


def close(ours, theirs, rtol, atol=0.0):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def test_no_reference_is_lost():
    assert len(ENTRIES) == 34
    assert len(HENMI_COPAS) == 24
    assert len(META) == 6
    assert len([e for _, e in ENTRIES if e["args"].get("method.predict") == "NNF"]) == 3
    assert [e["error"] for _, e in ENTRIES if e["status"] == "error"] == [
        "Stopped because k = 1."
    ]
    assert len(T) > 10


@pytest.mark.parametrize("pair", HENMI_COPAS, ids=name_of)
def test_henmi_copas_equals_that_of_metafor(pair):
    expected = pair[1]["result"]
    row = henmi_copas(*pooled(*pair), level=0.95)
    width = expected["ci_ub"] - expected["ci_lb"]
    # metafor integrates to 1e-4 relative at worst: 1e-6 of the width where it is worst (k = 2)
    for name, theirs in (("ci_low", "ci_lb"), ("ci_high", "ci_ub")):
        close(getattr(row, name), expected[theirs], 0, 2e-6 * width)
    close(row.estimate, expected["estimate"], 1e-10, 1e-11 * width)
    close(row.se, expected["se"], 1e-10)
    close(row.tau2, expected["tau2_DL"], 1e-9, 1e-300)


def exact_tail(yi, vi, x):
    """P(statistic > x) of Henmi and Copas from their formulas, with 30 digits."""
    mpmath.mp.dps = 30
    y, w = [mpmath.mpf(float(a)) for a in yi], [1 / mpmath.mpf(float(a)) for a in vi]
    k, w1 = len(y), sum(w)
    w2, w3, w4 = (sum(a**p for a in w) / w1 for p in (2, 3, 4))
    beta = sum(a * b for a, b in zip(w, y, strict=True)) / w1
    q = sum(a * (b - beta) ** 2 for a, b in zip(w, y, strict=True))
    tau2 = max(mpmath.mpf(0), (q - (k - 1)) / (w1 - w2))
    vr = 1 + tau2 * w2

    def below(z):
        square = vr * z * z
        h = square / vr**2 - 1 / vr
        eq = (k - 1) + tau2 * (w1 - w2) + tau2**2 * h * (w3 - w2**2)
        vq = 2 * (k - 1) + 4 * tau2 * (w1 - w2)
        vq += 2 * tau2**2 * (w1 * w2 - 2 * w3 + w2**2)
        vq += 4 * tau2**2 * h * (w3 - w2**2) + 4 * tau2**3 * h * (w4 - 2 * w2 * w3 + w2**3)
        vq += 2 * tau2**4 * (1 / vr**2 - 2 * square / vr**3) * (w3 - w2**2) ** 2
        bound = (w1 / w2 - 1) * ((z / x) ** 2 - 1) + k - 1
        return mpmath.gammainc(eq**2 / vq, 0, bound * eq / vq, regularized=True)

    ends = [x, x + 0.3, x + 1, x + 2, x + 4, x + 8, x + 14]
    value = mpmath.quad(lambda z: below(z) * mpmath.npdf(z), ends)
    return value, mpmath.sqrt(vr), mpmath.sqrt(vr / w1), beta


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("data", [F1, F8, (np.array([1.0, 4, 2]), np.array([0.1, 0.02, 3]))])
def test_henmi_copas_solves_its_equation_to_12_digits(data, level):
    """Also beyond a standardised mean of 2, where metafor's search ends with an error."""
    row = henmi_copas(*data, level=level)
    _, root, se, beta = exact_tail(*data, 1.0)
    x = mpmath.mpf(row.ci_high - row.ci_low) / 2 / root / se
    value = exact_tail(*data, x)[0]
    close(float(value), (1 - level) / 2, 1e-12 if len(data[0]) > 2 else 1e-11)
    close(row.estimate, float(beta), 1e-13)
    at = exact_tail(*data, abs(mpmath.mpf(row.estimate)) / se / root)[0]
    close(row.p, float(2 * at), 1e-10)


def test_henmi_2010():
    """Acupoint P6 and nausea (dat.lee2004), as metafor's reproduction of the paper has it."""
    events = [18, 5, 9, 32, 9, 11, 69, 3, 1, 11, 7, 4, 1, 24, 16, 28]
    n1 = [100, 50, 20, 135, 23, 18, 122, 25, 30, 30, 44, 47, 30, 40, 50, 110]
    other = [20, 18, 7, 31, 10, 12, 80, 12, 1, 19, 16, 6, 13, 71, 53, 25]
    n2 = [100, 50, 20, 139, 23, 18, 122, 25, 30, 30, 39, 47, 30, 80, 88, 111]
    a, n1, c, n2 = (np.array(column, dtype=float) for column in (events, n1, other, n2))
    yi = np.log(a / (n1 - a)) - np.log(c / (n2 - c))
    vi = 1 / a + 1 / (n1 - a) + 1 / c + 1 / (n2 - c)
    row = henmi_copas(yi, vi, level=0.95)
    found = (row.estimate, row.ci_low, row.ci_high, row.tau2)
    assert [round(x, 4) for x in found] == [-0.5145, -0.9994, -0.0295, 0.3325]


@pytest.mark.parametrize("pair", META, ids=name_of)
def test_kenward_roger_equals_that_of_meta(pair):
    expected = pair[1]["result"]
    random, predict = expected["random"], expected["predict"]
    at = random["method_random_ci"].index("KR")
    for flavour in ("KR", "KR-PR"):
        row = kenward_roger(*pooled(*pair), level=0.95, prediction=flavour)
        there = predict["method"].index(flavour)
        for ours, theirs in (
            (row.estimate, random["TE"][at]),
            (row.se, random["seTE"][at]),
            (row.ci_low, random["lower"][at]),
            (row.ci_high, random["upper"][at]),
            (row.statistic, random["stat"][at]),
            (row.df, random["df"][at]),
            (row.p, random["pval"][at]),
            (row.pi_low, predict["lower"][there]),
            (row.pi_high, predict["upper"][there]),
        ):
            # meta stops its search for tau2 at about 1e-8
            close(ours, theirs, 2e-7)


def test_equal_variances_make_kenward_roger_a_t_interval():
    yi, vi = np.array([0.1, 0.5, -0.3, 0.9, 0.4]), np.full(5, 0.04)
    plain = t_wald(yi, vi, estimate("REML", yi, vi), method="REML", level=0.95)
    for original in (False, True):
        row = kenward_roger(yi, vi, level=0.95, original_df=original)
        assert row.test == ("kr1997" if original else "kr")
        close(row.df, 4, 1e-13)
        close((row.se, row.ci_low, row.p), (plain.se, plain.ci_low, plain.p), 1e-12)


def test_kenward_and_rogers_own_degrees_of_freedom_are_more():
    ours, original = (kenward_roger(*F1, level=0.95, original_df=own) for own in (False, True))
    assert original.df > ours.df
    assert original.se == ours.se
    close(original.df / ours.df, (ours.se**2 * weight_sum(*F1, ours.tau2)) ** 2, 1e-12)


def weight_sum(yi, vi, tau2):
    return (1 / (vi + tau2)).sum()


@given(
    logs=st.lists(st.floats(-14, 14), min_size=2, max_size=9),
    tau2=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
)
@settings(max_examples=60)
def test_traces_lose_no_digits(logs, tau2):
    mpmath.mp.dps = 60
    vi = np.exp(np.array(logs))
    data = problem(np.zeros(vi.size), vi)
    w = [1 / (mpmath.mpf(float(v)) + mpmath.mpf(tau2)) for v in data.vi]
    w1, w2, w3, w4 = (sum(a**p for a in w) for p in (1, 2, 3, 4))
    found = traces(data, tau2)
    exact = {
        "w1": w1,
        "mean": w2 / w1,
        "spread": w3 / w1 - (w2 / w1) ** 2,
        "third": w4 / w1 - 2 * w2 * w3 / w1**2 + w2**3 / w1**3,
        "p": w1 - w2 / w1,
        "pp": w2 - 2 * w3 / w1 + (w2 / w1) ** 2,
    }
    for name, value in exact.items():
        # variances of weights that are nearly equal are small against the weights themselves
        scale = {"spread": (w2 / w1) ** 2, "third": (w2 / w1) ** 3}.get(name, 0)
        close(getattr(found, name), float(value), 1e-12, float(scale) * 1e-15)


@pytest.mark.parametrize("entry", T, ids=str)
def test_t_intervals_equal_those_of_metafor(entry):
    effects = effects_of(find(entry.file, entry.args["data"]), entry.args["level"] / 100)
    yi, vi = effects.yi[effects.pooled], effects.vi[effects.pooled]
    expected = entry.result["tests"]["t"]
    row = t_wald(
        yi,
        vi,
        Tau2(entry.result["tau2"]),
        method=entry.args["method"],
        level=entry.args["level"] / 100,
    )
    for name, theirs in (
        ("estimate", "estimate"),
        ("se", "se"),
        ("statistic", "stat"),
        ("p", "pval"),
        ("ci_low", "ci_lb"),
        ("ci_high", "ci_ub"),
    ):
        close(getattr(row, name), expected[theirs], 1e-8, 1e-12)
    assert row.df == expected["ddf"] == row.k - 1


def test_uwls_is_weighted_least_squares_with_a_constant():
    import statsmodels.api as sm

    yi, vi = F1
    row = uwls(yi, vi, level=0.9)
    fit = sm.WLS(yi, np.ones(yi.size), weights=1 / vi).fit()
    close(row.estimate, fit.params[0], 1e-13)
    close(row.se, fit.bse[0], 1e-12)
    close(row.p, fit.pvalues[0], 1e-11)
    close((row.ci_low, row.ci_high), fit.conf_int(0.1)[0], 1e-12)
    assert (row.model, row.method, row.test) == ("common", "UWLS", "t")
    assert math.isnan(row.tau2)


def test_uwls_says_when_its_factor_is_below_one():
    """F7: effects more alike than chance allows."""
    assert "below 1" in uwls(*F7, level=0.95).notes[0]
    assert uwls(np.array([0.0, 1, 3]), np.full(3, 0.1), level=0.95).notes == ()


def test_hybrids_take_the_wider_interval_and_say_which():
    """F7: [0.277, 0.324] by Knapp-Hartung, [0.051, 0.550] by Wald and by the common effect."""
    tau2 = estimate("REML", *F7)
    for rule, name in ((hybrid_wald, "Wald"), (hybrid_common, "the common effect")):
        row = rule(*F7, tau2, method="REML", level=0.95)
        assert (round(row.ci_low, 3), round(row.ci_high, 3)) == (0.051, 0.55)
        assert math.isnan(row.df)
        assert row.notes[-1].startswith(f"the interval of {name}, being the wider one")
        assert (row.model, row.method) == ("random", "REML")


def test_hybrids_leave_a_wider_knapp_hartung_interval_alone():
    yi, vi = np.array([0.1, 0.9, 0.4, -0.3]), np.array([0.04, 0.05, 0.02, 0.03])
    tau2 = estimate("PM", yi, vi)
    rows = [
        rule(yi, vi, tau2, method="PM", level=0.95)
        for rule in (hybrid_wald, hybrid_common, iqwig6)
    ]
    assert {row.df for row in rows} == {3.0}
    assert len({row.ci_low for row in rows}) == 1
    assert [row.test for row in rows] == ["hybrid_wald", "hybrid_common", "iqwig6"]


def test_hybrid_common_takes_the_estimate_with_the_interval():
    """Effects that are alike under a tau2 that was given: the means differ."""
    yi, vi = np.array([0.30, 0.31, 0.29, 0.3]), np.array([0.2, 0.01, 0.012, 0.3])
    row = hybrid_common(yi, vi, Tau2(0.05), method="fixed", level=0.95)
    assert row.notes[-1].startswith("the interval of the common effect")
    close(row.estimate, (yi / vi).sum() / (1 / vi).sum(), 1e-13)
    close(row.ci_high - row.estimate, 1.959963984540054 / math.sqrt((1 / vi).sum()), 1e-12)
    assert row.tau2 == 0.05


def test_iqwig_floors_what_is_narrower_than_dersimonian_laird():
    row = iqwig6(*F7, estimate("PM", *F7), method="PM", level=0.95)
    assert (round(row.ci_low, 3), round(row.ci_high, 3)) == (-0.247, 0.848)  # as adhoc
    assert "floored at 1" in row.notes[-1]


def test_identical_effects_have_the_other_interval_of_a_hybrid():
    yi, vi = np.full(4, 0.4), np.array([0.05, 0.02, 0.1, 0.3])
    row = hybrid_wald(yi, vi, Tau2(0.0), method="REML", level=0.95)
    assert row.notes[-1] == "the interval of Wald: that of Knapp-Hartung is not estimable"
    assert math.isfinite(row.ci_low)
    assert math.isfinite(iqwig6(yi, vi, Tau2(0.0), method="PM", level=0.95).ci_low)
    for row in (uwls(yi, vi, level=0.95),):
        assert math.isnan(row.ci_low)
        assert row.notes == ("not estimable: residuals are all zero",)
    assert math.isfinite(henmi_copas(yi, vi, level=0.95).ci_low)


def test_one_study_is_echoed_without_an_interval():
    yi, vi = np.array([0.35]), np.array([0.04])
    rows = [
        kenward_roger(yi, vi, level=0.95),
        henmi_copas(yi, vi, level=0.95),
        uwls(yi, vi, level=0.95),
        *(f(yi, vi, Tau2(0.0), method="REML", level=0.95) for f in FLOORED.values()),
    ]
    for row in rows:
        assert row.estimate == 0.35
        assert row.notes == (intervals.ALONE,)
        for value in (row.se, row.ci_low, row.ci_high, row.pi_low, row.p):
            assert math.isnan(value)


def test_few_degrees_of_freedom_are_said():
    row = kenward_roger(np.array([0.1, 0.9, 0.5]), np.array([0.001, 0.9, 0.8]), level=0.95)
    assert any("degrees of freedom" in note for note in row.notes)
    assert any("boundary" in note for note in row.notes)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="KR-PR"):
        kenward_roger(*F1, level=0.95, prediction="HK")


def everything(yi, vi, null=0.0):
    tau2 = estimate("DL", yi, vi)
    return [
        kenward_roger(yi, vi, level=0.95, null=null),
        henmi_copas(yi, vi, level=0.95, null=null),
        uwls(yi, vi, level=0.95, null=null),
        *(f(yi, vi, tau2, method="DL", level=0.95, null=null) for f in FLOORED.values()),
    ]


effect = st.floats(-4, 4).map(lambda x: round(x, 3))
studies = st.lists(st.tuples(effect, st.floats(-8, 6)), min_size=2, max_size=7).map(
    lambda pairs: (
        np.array([yi for yi, _ in pairs]),
        np.array([math.exp(x) for _, x in pairs]),
    )
)
NUMBERS = [field.name for field in fields(Estimate) if field.type is float]


@given(data=studies, seed=st.integers(0, 99), exponent=st.integers(-60, 60))
@settings(max_examples=40)
def test_rows_follow_order_and_unit_and_sign(data, seed, exponent):
    yi, vi = data
    order = np.random.default_rng(seed).permutation(yi.size)
    factor = 2.0**exponent
    here = everything(yi, vi)
    shuffled = everything(yi[order], vi[order])
    scaled = everything(yi * factor, vi * factor**2)
    mirrored = everything(-yi, vi)
    for row, other, large, negative in zip(here, shuffled, scaled, mirrored, strict=True):
        assert repr(row) == repr(other)
        close(large.ci_low, row.ci_low * factor, 1e-12, 1e-300)
        close(large.p, row.p, 1e-9)
        close(negative.ci_low, -row.ci_high, 1e-9, 1e-12)
        if math.isnan(row.ci_low):
            assert row.notes
        else:
            assert row.ci_low <= row.estimate <= row.ci_high
            assert 0 <= row.p <= 1
            # the test rejects zero if and only if the interval leaves it out
            if abs(row.p - 0.05) > 1e-6:
                assert (row.p < 0.05) == (row.ci_low > 0 or row.ci_high < 0)


@given(seed=st.integers(0, 50), spread=st.floats(0.1, 14), k=st.sampled_from([2, 3, 30, 1000]))
@settings(max_examples=15)
def test_variances_over_12_decades_and_many_studies_have_an_answer(seed, spread, k):
    random = np.random.default_rng(seed)
    vi = np.exp(random.uniform(-spread, spread, k))
    yi = random.normal(0, 1, k) * np.sqrt(vi) + 1e3
    for row in everything(yi, vi, null=1e3):
        assert math.isfinite(row.ci_low) or row.df < 0.1
        assert 0 <= row.p <= 1


def test_no_null_no_test():
    for row in everything(*F1, null=None):
        assert math.isnan(row.statistic)
        assert math.isnan(row.p)
