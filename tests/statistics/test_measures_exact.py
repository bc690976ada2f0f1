"""The newer effect measures: exact arithmetic, published values, routes, refusals."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.meta_analysis import effectsize_smd
from support.references import rows

from evisynth.inputs import INPUTS, check_numbers, check_options
from evisynth.measures import (
    MEASURES,
    compute_effects,
    configured,
    corrections,
    freeman_tukey,
    garwood,
    inverse_freeman_tukey,
)
from evisynth.pooling import ModelSpec, display, pool
from evisynth.records import RawRow

mpmath.mp.dps = 40
mpf, log, sqrt, asin = mpmath.mpf, mpmath.log, mpmath.sqrt, mpmath.asin


def effect(measure, numbers, options=None, **settings):
    row = RawRow("a", "a", {name: float(value) for name, value in numbers.items()})
    return compute_effects(measure, [row], level=0.95, options=options, **settings)


def one(measure, numbers, options=None, **settings):
    effects = effect(measure, numbers, options, **settings)
    assert effects.included == (True,), effects.reason
    return float(effects.yi[0]), float(effects.vi[0])


TABLE = {"ai": 7, "n1i": 20, "ci": 3, "n2i": 21}
HUGE = {"ai": 4_999_999, "n1i": 9_999_999, "ci": 5_000_001, "n2i": 10_000_003}
RATES = {"x1i": 7, "t1i": 120.5, "x2i": 11, "t2i": 98.25}
LIKE = {"x1i": 500_001, "t1i": 1e6, "x2i": 500_000, "t2i": 1e6}
MEANS = {"m1i": 5.2, "sd1i": 1.3, "n1i": 20, "m2i": 4.1, "sd2i": 1.1, "n2i": 22}
CLOSE = {"m1i": 1e6 + 1, "sd1i": 1.3, "n1i": 900, "m2i": 1e6, "sd2i": 1.2, "n2i": 1200}
PAIR = {"m1i": 5.2, "sd1i": 1.3, "m2i": 4.1, "sd2i": 1.1, "ri": 0.6, "ni": 22}
GROUP, RATE = {"xi": 7, "ni": 20}, {"xi": 7, "ti": 120.5}
MEAN, PAIRS = {"mi": 5.2, "sdi": 1.3, "ni": 20}, {"ri": -0.35, "ni": 25}
ALIVE = {"estimate": 0.62, "ci_low": 0.45, "ci_high": 0.75, "ni": 40}
STUDY = {
    **dict.fromkeys(("PR", "PLN", "PLO", "PAS", "PFT"), GROUP),
    **dict.fromkeys(("IR", "IRLN", "IRS"), RATE),
    **dict.fromkeys(("MN", "MNLN"), MEAN),
    **dict.fromkeys(("COR", "ZCOR"), PAIRS),
    **dict.fromkeys(("PCOR", "ZPCOR"), PAIRS | {"mi": 3}),
    **dict.fromkeys(("SCLL", "SLO"), ALIVE),
    "MED": {"estimate": 11.1, "ci_low": 4.3, "ci_high": 28.5},
    **dict.fromkeys(("OR", "RR", "RD", "AS", "PETO", "PHI", "YUQ", "YUY"), TABLE),
    **dict.fromkeys(("IRR", "IRD", "IRSD"), RATES),
    **dict.fromkeys(("MD", "SMD", "SMDH", "ROM", "ROMBC", "VR", "CVR"), MEANS),
    **dict.fromkeys(("MC", "SMCC", "SMCR", "ROMC"), PAIR),
    "GEN": {"yi": 0.4, "vi": 0.09},
    "HR": {"estimate": 0.7, "ci_low": 0.5, "ci_high": 0.98},
}


def c_of(m):
    half = mpf(m) / 2
    return mpmath.exp(mpmath.loggamma(half) - log(half) / 2 - mpmath.loggamma(half - 0.5))


def exactly(measure, numbers):
    """The formulas of the papers in 40 digits."""
    n = {name: mpf(value) for name, value in numbers.items()}
    if measure == "PFT":
        x, m = n["xi"], n["ni"]
        return (asin(sqrt(x / (m + 1))) + asin(sqrt((x + 1) / (m + 1)))) / 2, 1 / (4 * m + 2)
    if "ai" in n:
        return exact_table(measure, n)
    if "ti" in n and "xi" in n:
        x, t = n["xi"], n["ti"]
        return {
            "IR": (x / t, x / t**2),
            "IRLN": (log(x / t), 1 / x),
            "IRS": (sqrt(x / t), 1 / (4 * t)),
        }[measure]
    if "x1i" in n:
        one, two = n["x1i"] / n["t1i"], n["x2i"] / n["t2i"]
        return {
            "IRR": (log(one / two), 1 / n["x1i"] + 1 / n["x2i"]),
            "IRD": (one - two, one / n["t1i"] + two / n["t2i"]),
            "IRSD": (sqrt(one) - sqrt(two), 1 / (4 * n["t1i"]) + 1 / (4 * n["t2i"])),
        }[measure]
    if "n1i" in n:
        return exact_means(measure, n)
    if "m1i" in n:
        return exact_pair(measure, n)
    if "sdi" in n:
        if measure == "MN":
            return n["mi"], n["sdi"] ** 2 / n["ni"]
        return log(n["mi"]), n["sdi"] ** 2 / n["ni"] / n["mi"] ** 2
    r, m = n["ri"], n["ni"] - n.get("mi", 0)
    if measure in ("COR", "PCOR"):
        return r, (1 - r**2) ** 2 / (m - 1)
    return mpmath.atanh(r), 1 / (m - 3)


def exact_table(measure, n):
    a, n1, c, n2 = n["ai"], n["n1i"], n["ci"], n["n2i"]
    b, d, m = n1 - a, n2 - c, n1 + n2
    reciprocals = 1 / a + 1 / b + 1 / c + 1 / d
    odds = a * d / (b * c)
    q, y = (odds - 1) / (odds + 1), (sqrt(odds) - 1) / (sqrt(odds) + 1)
    v = n1 * n2 * (a + c) * (b + d) / m**2 / (m - 1)
    phi = (a * d - b * c) / sqrt(n1 * n2 * (a + c) * (b + d))
    rows, columns = (n1 - n2) / m, (a + c - b - d) / m
    rr, cc = n1 * n2 / m**2, (a + c) * (b + d) / m**2
    return {
        "AS": (asin(sqrt(a / n1)) - asin(sqrt(c / n2)), 1 / (4 * n1) + 1 / (4 * n2)),
        "PETO": ((a - (a + c) * n1 / m) / v, 1 / v),
        "YUQ": (q, (1 - q**2) ** 2 * reciprocals / 4),
        "YUY": (y, (1 - y**2) ** 2 * reciprocals / 16),
        "PHI": (
            phi,
            (
                1
                - phi**2
                + phi * (1 + phi**2 / 2) * rows * columns / sqrt(rr * cc)
                - 3 * phi**2 / 4 * (rows**2 / rr + columns**2 / cc)
            )
            / m,
        ),
    }[measure]


def exact_means(measure, n):
    n1, n2 = n["n1i"], n["n2i"]
    one, two = n["sd1i"] / n["m1i"], n["sd2i"] / n["m2i"]
    means, v = log(n["m1i"] / n["m2i"]), one**2 / n1 + two**2 / n2
    bias, shrink = (one**2 / n1 - two**2 / n2) / 2, 1 / (2 * (n1 - 1)) - 1 / (2 * (n2 - 1))
    both = 1 / (2 * (n1 - 1)) + 1 / (2 * (n2 - 1))
    s1, s2 = n["sd1i"] ** 2, n["sd2i"] ** 2
    s = (s1 + s2) / 2
    g = c_of(n1 + n2 - 2) * (n["m1i"] - n["m2i"]) / sqrt(s)
    shape = s1**2 / (n1 - 1) + s2**2 / (n2 - 1)
    return {
        "ROM": (means, v),
        "ROMBC": (means + bias, v),
        "VR": (log(n["sd1i"] / n["sd2i"]) + shrink, both),
        "CVR": (log(one / two) + shrink - bias, both + v),
        "SMDH": (g, g**2 * shape / (8 * s**2) + (s1 / (n1 - 1) + s2 / (n2 - 1)) / s),
    }[measure]


def exact_pair(measure, n):
    m, r, d = n["ni"], n["ri"], n["m1i"] - n["m2i"]
    change = n["sd1i"] ** 2 + n["sd2i"] ** 2 - 2 * r * n["sd1i"] * n["sd2i"]
    c = c_of(m - 1)
    by_change, by_first = c * d / sqrt(change), c * d / n["sd1i"]
    one, two = n["sd1i"] / n["m1i"], n["sd2i"] / n["m2i"]
    return {
        "MC": (d, change / m),
        "SMCC": (by_change, 1 / m + by_change**2 / (2 * m)),
        "SMCR": (by_first, 2 * (1 - r) / m + by_first**2 / (2 * m)),
        "ROMC": (log(n["m1i"] / n["m2i"]), (one**2 + two**2 - 2 * r * one * two) / m),
    }[measure]


OLDER = ("PR", "PLN", "PLO", "PAS", "OR", "RR", "RD", "MD", "SMD", "GEN", "HR")
ELSEWHERE = ("SCLL", "SLO", "MED")
EXACT = [
    *[(m, numbers) for m, numbers in STUDY.items() if m not in (*OLDER, *ELSEWHERE)],
    *[(m, HUGE) for m in ("AS", "PETO", "YUQ", "YUY", "PHI")],
    *[(m, LIKE) for m in ("IRR", "IRD", "IRSD")],
    *[(m, CLOSE) for m in ("SMDH", "ROM", "VR")],
    ("PFT", {"xi": 699_999, "ni": 700_000}),
    ("ROMC", PAIR | {"sd1i": 1.0 + 1e-9, "sd2i": 1.0, "ri": 1 - 1e-9, "m1i": 4.1}),
    ("COR", {"ri": 1 - 1e-9, "ni": 30}),
]


@pytest.mark.parametrize(("measure", "numbers"), EXACT)
def test_effects_are_exact(measure, numbers):
    """Also where two large numbers nearly cancel; then relative to what the inputs can say."""
    yi, vi = one(measure, numbers)
    exact = exactly(measure, numbers)
    assert math.isclose(yi, exact[0], rel_tol=1e-14)
    assert math.isclose(vi, exact[1], rel_tol=1e-13)


def test_every_measure_declares_what_it_is():
    assert STUDY.keys() == MEASURES.keys() == INPUTS.keys()
    for key, measure in MEASURES.items():
        assert "doi:" in measure.citation
        assert measure.formula.startswith("yi ")
        assert measure.limits.endswith((".", ")."))
        assert measure.back_name
        assert check_numbers(key, STUDY[key]) == []
        yi, vi = one(key, STUDY[key])
        assert math.isfinite(yi)
        assert vi > 0


@pytest.mark.parametrize("measure", MEASURES)
def test_a_study_lies_within_its_own_interval_on_the_display_scale(measure):
    effects = effect(measure, STUDY[measure])
    low, high = float(effects.ci_low[0]), float(effects.ci_high[0])
    assert low < MEASURES[measure].back(float(effects.yi[0])) < high


@pytest.mark.parametrize("variance", ["LS", "LS2", "UB", "RevMan"])
@pytest.mark.parametrize("numbers", [MEANS, CLOSE, CLOSE | {"n1i": 10**6, "n2i": 10**6}])
def test_variances_of_the_standardised_mean_difference(variance, numbers):
    n = {name: mpf(value) for name, value in numbers.items()}
    n1, n2 = n["n1i"], n["n2i"]
    m = n1 + n2 - 2
    pooled = sqrt(((n1 - 1) * n["sd1i"] ** 2 + (n2 - 1) * n["sd2i"] ** 2) / m)
    d = (n["m1i"] - n["m2i"]) / pooled
    c = 1 - 3 / (4 * (n1 + n2) - 9) if variance == "RevMan" else c_of(m)
    g, sizes = c * d, 1 / n1 + 1 / n2
    exact = {
        "LS": sizes + g**2 / (2 * (n1 + n2)),
        "LS2": c**2 * (sizes + d**2 / (2 * (n1 + n2))),
        "UB": sizes + (1 - (m - 2) / (m * c**2)) * g**2,
        "RevMan": (n1 + n2) / (n1 * n2) + g**2 / (2 * (n1 + n2 - mpf("3.94"))),
    }[variance]
    yi, vi = one("SMD", numbers, {"variance": variance})
    assert math.isclose(yi, g, rel_tol=1e-14)
    assert math.isclose(vi, exact, rel_tol=2e-14)


def test_revman_variance_is_that_of_statsmodels():
    columns = [MEANS[name] for name in ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")]
    assert one("SMD", MEANS, {"variance": "RevMan"}) == pytest.approx(
        effectsize_smd(*columns), rel=1e-14
    )


def test_three_programs_have_three_variances_of_one_standardised_mean_difference():
    """m = 1, sd = 1, n = 10 and 10: metafor .22293 (LS) and .22820 (UB), RevMan .22856."""
    numbers = {"m1i": 1, "sd1i": 1, "n1i": 10, "m2i": 0, "sd2i": 1, "n2i": 10}
    found = [one("SMD", numbers, {"variance": v})[1] for v in ("LS", "UB", "RevMan")]
    assert [f"{vi:.5f}" for vi in found] == ["0.22293", "0.22820", "0.22856"]


@pytest.mark.parametrize("bias", ["Senior2020", "Nakagawa2015", "none"])
def test_bias_of_the_ratio_of_variation_is_removed_as_chosen(bias):
    plain = math.log(1.3 / 5.2 / (1.1 / 4.1))
    shrink = 1 / 38 - 1 / 42
    means = ((1.3 / 5.2) ** 2 / 20 - (1.1 / 4.1) ** 2 / 22) / 2
    expected = {"Senior2020": plain + shrink - means, "Nakagawa2015": plain + shrink}
    yi, _ = one("CVR", MEANS, {"bias": bias})
    assert yi == pytest.approx(expected.get(bias, plain), rel=1e-14)


def test_partial_correlation_from_its_t_statistic():
    yi, _ = one("PCOR", {"ti": -2.5, "ni": 30, "mi": 4})
    assert yi == pytest.approx(-2.5 / math.sqrt(2.5**2 + 24), rel=1e-15)
    assert one("ZPCOR", {"ti": -2.5, "ni": 30, "mi": 4})[1] == 1 / 23


@pytest.mark.parametrize(("plain", "partial"), [("COR", "PCOR"), ("ZCOR", "ZPCOR")])
def test_a_partial_correlation_without_other_predictors_is_a_plain_one(plain, partial):
    numbers = {"ri": 0.4, "ni": 30}
    assert one(partial, numbers | {"mi": 0}) == one(plain, numbers)


# --- rates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("xi", [0, 1, 7, 150, 20_000])
def test_garwood_solves_its_equations(xi, level):
    tail, (low, high) = (1 - mpf(level)) / 2, garwood(xi, 1.0, level)
    if xi == 0:
        assert low == 0
    else:
        below = mpmath.gammainc(xi, 0, mpf(low), regularized=True)
        assert math.isclose(below, tail, rel_tol=1e-12 * math.sqrt(xi + 1) * 10)
    above = mpmath.gammainc(xi + 1, mpf(high), mpmath.inf, regularized=True)
    assert math.isclose(above, tail, rel_tol=1e-12 * math.sqrt(xi + 1) * 10)


@pytest.mark.parametrize("measure", ["IR", "IRLN", "IRS"])
def test_study_intervals_of_rates_are_exact_and_of_the_counts(measure):
    effects = compute_effects(measure, rows(xi=[0, 4], ti=[100, 250]), level=0.95)
    # no events: -log(0.025)/t
    np.testing.assert_allclose(effects.ci_high[0], -math.log(0.025) / 100, rtol=1e-13)
    np.testing.assert_allclose(
        [effects.ci_low[1], effects.ci_high[1]], garwood(4, 250, 0.95), rtol=1e-15
    )
    assert np.isnan(effects.ni).all()


def test_half_an_event_is_added_and_no_time():
    effects = compute_effects("IRLN", rows(xi=[0], ti=[100]), level=0.95)
    assert effects.yi[0] == pytest.approx(math.log(0.5 / 100), rel=1e-15)
    assert effects.notes == ("1/2 added to events",)
    assert corrections(effects) == 1


def test_rate_ratio_without_events_is_left_out_by_drop00():
    effects = compute_effects(
        "IRR", rows(x1i=[0], t1i=[9], x2i=[0], t2i=[8]), level=0.95, drop00=True
    )
    assert effects.reason == ("no events in both groups (drop00)",)


# --- Freeman and Tukey ------------------------------------------------------------------------


def test_miller1978():
    """The example of the paper: its transformed values, and both pooled proportions."""
    xi, ni = np.array([3, 6, 10, 1]), np.array([11, 17, 21, 6])
    effects = compute_effects("PFT", rows(xi=xi, ni=ni), level=0.95)
    assert [f"{2 * yi:.4f}" for yi in effects.yi] == ["1.1391", "1.2888", "1.5253", "0.9515"]
    harmonic = 4 / (1 / ni).sum()
    weighted = (effects.yi / effects.vi).sum() / (1 / effects.vi).sum()
    assert f"{inverse_freeman_tukey(effects.yi.mean(), harmonic):.4f}" == "0.3164"
    assert f"{inverse_freeman_tukey(weighted, harmonic):.4f}" == "0.3595"


@given(n=st.integers(1, 10**6), part=st.floats(0, 1))
@settings(max_examples=200)
def test_a_study_gets_its_proportion_back_at_its_own_size(n, part):
    x = round(part * n)
    # of x = 1 among a million 1e-10 remains: the root of the angle near its end
    got = inverse_freeman_tukey(freeman_tukey(x, n), n)
    assert got == pytest.approx(x / n, rel=1e-9, abs=1e-16)
    assert (got == 0, got == 1) == (x == 0, x == n)


def test_harmonic_mean_is_refused_with_the_reason():
    """F10: every study has events, and the harmonic mean's inverse of their mean is 0."""
    xi, ni = [3, 6, 4, 10, 153], [212, 1200, 90, 4000, 700_000]
    effects = compute_effects("PFT", rows(xi=xi, ni=ni), level=0.95)
    pooled = (effects.yi / effects.vi).sum() / (1 / effects.vi).sum()
    assert inverse_freeman_tukey(pooled, 5 / sum(1 / n for n in ni)) == 0
    assert f"{configured('PFT').back(pooled):.6f}" == "0.000230"
    ((option, found, expected),) = check_options("PFT", {"ipft": "harmonic"})
    assert option == "ipft"
    assert "can give 0 where every study has events" in found
    assert expected.startswith("one of: arcsine; or a number")


def test_a_chosen_size_changes_the_way_back_only():
    chosen = configured("PFT", {"ipft": 50})
    assert chosen.back(freeman_tukey(10, 50)) == pytest.approx(0.2, rel=1e-13)
    assert chosen.forward(0.2) == freeman_tukey(10, 50)
    assert (chosen.back(-1), chosen.back(2)) == (0, 1)
    assert math.isnan(chosen.back(math.nan))
    assert math.isnan(chosen.forward(1.2))
    assert one("PFT", STUDY["PFT"], {"ipft": 50}) == one("PFT", STUDY["PFT"])


# --- zero cells -------------------------------------------------------------------------------


def test_treatment_arm_correction_is_in_proportion_to_the_groups():
    table = {"ai": 0, "n1i": 30, "ci": 4, "n2i": 90}
    yi, vi = one("OR", table, to="tacc")
    a, b, c, d = 0.25, 30.25, 4.75, 86.75
    assert yi == pytest.approx(math.log(a * d / (b * c)), rel=1e-14)
    assert vi == pytest.approx(1 / a + 1 / b + 1 / c + 1 / d, rel=1e-14)
    effects = effect("OR", table, to="tacc")
    assert effects.notes == (
        "treatment-arm correction: 0.25 (group 1) and 0.75 (group 2) added to each cell",
    )
    assert corrections(effects) == 1


@pytest.mark.parametrize("measure", ["OR", "RR", "RD"])
def test_treatment_arm_correction_leaves_two_empty_groups_without_effect(measure):
    yi, _ = one(measure, {"ai": 0, "n1i": 30, "ci": 0, "n2i": 90}, to="tacc")
    assert yi == pytest.approx(0, abs=1e-15)


def test_treatment_arm_correction_of_rates_is_by_time():
    yi, _ = one("IRR", {"x1i": 0, "t1i": 100, "x2i": 0, "t2i": 300}, to="tacc")
    assert yi == pytest.approx(0, abs=1e-15)


def test_treatment_arm_correction_spares_studies_without_zero_cell():
    assert one("OR", TABLE, to="tacc") == one("OR", TABLE)


def test_treatment_arm_correction_of_one_group_is_refused():
    with pytest.raises(ValueError, match="two groups"):
        effect("PLO", STUDY["PLO"], to="tacc")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"ai": 0, "n1i": 30, "ci": 0, "n2i": 90}, "no events in both groups"),
        ({"ai": 30, "n1i": 30, "ci": 90, "n2i": 90}, "only events in both groups"),
    ],
)
def test_peto_knows_nothing_from_two_empty_groups(table, reason):
    effects = effect("PETO", table)
    assert effects.reason[0].startswith(f"not estimable: {reason}")
    assert effects.notes == ("",)


def test_peto_needs_no_correction_of_one_empty_group():
    yi, vi = one("PETO", {"ai": 0, "n1i": 10, "ci": 2, "n2i": 10})
    v = 10 * 10 * 2 * 18 / (20**2 * 19)
    assert (yi, vi) == pytest.approx((-1 / v, 1 / v), rel=1e-15)


# --- survival ---------------------------------------------------------------------------------

Z = mpf("1.959963984540054235524594430520551527955550022")


def test_survival_from_its_interval():
    numbers = STUDY["SCLL"]
    yi, vi = one("SCLL", numbers)
    low, s, high = (log(-log(mpf(str(numbers[k])))) for k in ("ci_low", "estimate", "ci_high"))
    assert math.isclose(yi, s, rel_tol=1e-14)
    assert math.isclose(vi, ((low - high) / (2 * Z)) ** 2, rel_tol=1e-13)
    assert effect("SCLL", numbers).ni[0] == 40


@pytest.mark.parametrize("measure", ["SCLL", "SLO"])
def test_survival_from_greenwood_is_the_delta_method(measure):
    s, sei = 0.62, 0.07
    yi, vi = one(measure, {"estimate": s, "sei": sei})
    scale = MEASURES[measure].forward
    slope = mpmath.diff(
        (lambda p: log(-log(p))) if measure == "SCLL" else (lambda p: log(p / (1 - p))), s
    )
    assert yi == scale(s)
    assert math.isclose(vi, (slope * sei) ** 2, rel_tol=1e-13)


@pytest.mark.parametrize("interval", ["plain", "log", "cloglog", "logit"])
@pytest.mark.parametrize("measure", ["SCLL", "SLO"])
def test_survival_from_an_interval_made_on_another_scale(measure, interval):
    """An interval made from Greenwood's standard error gives it back, whatever its scale."""
    scales = {
        "plain": (lambda p: p, lambda x: x),
        "log": (log, mpmath.exp),
        "cloglog": (lambda p: log(-log(p)), lambda x: mpmath.exp(-mpmath.exp(x))),
        "logit": (lambda p: log(p / (1 - p)), lambda x: 1 / (1 + mpmath.exp(-x))),
    }
    forward, back = scales[interval]
    s, sei = mpf("0.62"), mpf("0.07")
    half = Z * sei * abs(mpmath.diff(forward, s))
    ends = sorted(back(forward(s) + side * half) for side in (-1, 1))
    numbers = {"estimate": s, "ci_low": ends[0], "ci_high": ends[1]}
    _, expected = one(measure, {"estimate": 0.62, "sei": 0.07})
    effects = effect(measure, numbers, {"interval": interval})
    assert effects.vi[0] == pytest.approx(expected, rel=1e-12)
    assert f"taken as made on the {interval} scale" in effects.notes[0]
    assert "off the middle" not in effects.notes[0]


def test_an_interval_on_another_scale_than_declared_is_noticed():
    plain = {"estimate": 0.8, "ci_low": 0.6, "ci_high": 1.0 - 1e-9}
    notes = effect("SCLL", plain).notes[0]
    assert "off the middle of its interval on the cloglog scale" in notes
    assert "but in the middle on the plain scale" in notes


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"estimate": 1, "ci_low": 0.8, "ci_high": 1}, "a survival probability of 1 has no"),
        ({"estimate": 0, "sei": 0.1}, "a survival probability of 0 has no place"),
        ({"estimate": 0.9, "ci_low": 0.8, "ci_high": 1}, "1, the upper bound, has no place"),
        ({"estimate": 0.1, "ci_low": 0, "ci_high": 0.3}, "0, the lower bound, has no place"),
        ({"estimate": 0.9, "ci_low": 0.8}, "ci_high not given"),
    ],
)
def test_survival_that_has_no_place_on_the_scale_is_not_pooled(numbers, reason):
    effects = effect("SCLL", numbers)
    assert effects.included == (False,)
    assert reason in effects.reason[0]


def test_an_interval_that_touches_1_is_of_use_on_its_own_scale():
    _, vi = one("SCLL", {"estimate": 0.9, "ci_low": 0.8, "ci_high": 1}, {"interval": "plain"})
    sei = mpf("0.1") / Z / (mpf("0.9") * log(mpf("0.9")))
    assert math.isclose(vi, sei**2, rel_tol=1e-13)


def test_pooled_survival_has_its_lower_end_first():
    """The complementary log-log falls, so that its intervals turn round."""
    effects = compute_effects(
        "SCLL",
        rows(estimate=[0.6, 0.7, 0.5, 0.65], sei=[0.05, 0.06, 0.04, 0.05]),
        level=0.95,
    )
    fit = pool(effects, ModelSpec())
    for estimate in fit.estimates:
        shown = display(estimate, "SCLL")
        assert shown.ci_low < shown.estimate < shown.ci_high
        assert not shown.pi_low > shown.pi_high
    assert MEASURES["SCLL"].falling
    assert not MEASURES["SLO"].falling


def test_median_survival_on_the_log_scale():
    yi, vi = one("MED", {"estimate": 11.1, "ci_low": 4.3, "ci_high": 15.5, "ci_level": 0.95})
    assert yi == pytest.approx(math.log(11.1), rel=1e-15)
    width = log(mpf("15.5") / mpf("4.3"))
    assert math.isclose(vi, (width / (2 * Z)) ** 2, rel_tol=1e-13)
    notes = effect("MED", {"estimate": 11.1, "ci_low": 4.3, "ci_high": 15.5}).notes[0]
    assert "off the middle of its interval on the log scale" in notes


def test_rounding_alone_is_not_taken_for_the_wrong_scale():
    notes = effect("MED", {"estimate": 9, "ci_low": 8, "ci_high": 11}).notes[0]
    assert "off the middle" not in notes


# --- hazard ratios ----------------------------------------------------------------------------

EVENTS, SHARES = {"x1i": 30, "x2i": 45}, {"events": 75, "n1i": 100, "n2i": 50}
V = {"x1i": 30 * 45 / 75, "events": 75 * (2 / 3) * (1 / 3)}
DECLARED = {"p_value": "two_sided_logrank"}


def test_hazard_ratio_from_observed_and_expected():
    yi, vi = one("HR", {"oe": -6.5, "v": 18.25})
    assert (yi, vi) == (-6.5 / 18.25, 1 / 18.25)
    assert effect("HR", {"oe": -6.5, "v": 18.25}).notes[0].startswith("derived: from observed")


@pytest.mark.parametrize("events", [EVENTS, SHARES])
def test_hazard_ratio_from_a_log_rank_test_and_events(events):
    v = V[next(iter(events))]
    expected = (-1.8 / math.sqrt(v), 1 / v)
    assert one("HR", {"z": -1.8, **events}) == pytest.approx(expected, rel=1e-14)
    chi2 = {"chi2": 1.8**2, "direction": -1, **events}
    assert one("HR", chi2) == pytest.approx(expected, rel=1e-14)
    p = {"p": 2 * float(mpmath.ncdf(-1.8)), "direction": -1, **events}
    assert one("HR", p, DECLARED) == pytest.approx(expected, rel=1e-13)
    assert one("HR", {"estimate": 0.7, **events}) == pytest.approx((math.log(0.7), 1 / v))
    for numbers in (chi2, p, {"estimate": 0.7, **events}):
        note = effect("HR", numbers, DECLARED).notes[0]
        assert note.startswith("derived: ")
        assert "Parmar et al. 1998; Tierney et al. 2007" in note
        assert ("V = x1i x2i" if "x1i" in events else "V = events r (1 - r)") in note


def test_a_two_sided_p_value_is_halved_as_tierney2007_is_to_be_read():
    """The two-sided log-rank p of 0.075 in the paper's example has z = 1.78, not 1.44."""
    yi, vi = one("HR", {"p": 0.075, "direction": 1, **EVENTS}, DECLARED)
    assert f"{yi / math.sqrt(vi):.2f}" == "1.78"


@pytest.mark.parametrize("test", [{"z": 1.8}, {"chi2": 1.8**2}, {"p": 0.0718606382}])
def test_hazard_ratio_from_an_estimate_and_a_test(test):
    yi, vi = one("HR", {"estimate": 0.7, **test}, DECLARED)
    assert yi == math.log(0.7)
    assert math.sqrt(vi) == pytest.approx(abs(yi) / 1.8, rel=1e-9)


@pytest.mark.parametrize(("z", "said"), [(-1.8, False), (1.8, True)])
def test_a_log_rank_statistic_against_its_estimate_is_noticed(z, said):
    notes = effect("HR", {"estimate": 0.7, "z": z}).notes[0]
    assert ("opposite directions" in notes) == said


@pytest.mark.parametrize(
    ("numbers", "options", "reason"),
    [
        ({"estimate": 0.7, "p": 0.07}, None, "two-sided and of the log-rank test or the Cox"),
        ({"estimate": 0.7, "p": 1}, DECLARED, "gives no precision"),
        ({"estimate": 1, "p": 0.9}, DECLARED, "gives no precision"),
        ({"estimate": 0.7, "x1i": 0, "x2i": 9}, None, "no events in a group"),
        ({"z": 1.1, "x1i": 0, "x2i": 0}, None, "no events in a group"),
        ({"z": 1.1, "events": 0, "n1i": 10, "n2i": 9}, None, "no events in a group"),
    ],
)
def test_hazard_ratio_that_cannot_be_derived_is_not_pooled(numbers, options, reason):
    effects = effect("HR", numbers, options)
    assert effects.included == (False,)
    assert reason in effects.reason[0]


@pytest.mark.parametrize("word", ["one_sided", "other"])
def test_other_p_values_are_refused_with_the_reason(word):
    ((option, found, _),) = check_options("HR", {"p_value": word})
    assert option == "p_value"
    assert len(found) > len(word) + 30


def test_an_interval_of_a_hazard_ratio_that_is_symmetric_as_printed_is_noticed():
    notes = effect("HR", {"estimate": 2.1, "ci_low": 1.1, "ci_high": 3.1}).notes[0]
    assert "but in the middle on the plain scale" in notes


# --- generic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transformation", "numbers"),
    [
        ("identity", {"estimate": -0.4, "ci_low": -1.0, "ci_high": 0.2}),
        ("exp", {"estimate": 0.5, "ci_low": 0.25, "ci_high": 1.0}),
        ("tanh", {"estimate": 0.3, "ci_low": 0.1, "ci_high": 0.47}),
        ("expit", {"estimate": 0.3, "ci_low": 0.2, "ci_high": 0.42}),
    ],
)
def test_generic_effects_from_an_interval_at_any_level(transformation, numbers):
    options = {"transformation": transformation, "null": "none"}
    chosen = configured("GEN", options)
    assert chosen.null is None
    numbers = numbers | {"ci_level": 0.9}
    yi, vi = one("GEN", numbers, options)
    low, high = chosen.forward(numbers["ci_low"]), chosen.forward(numbers["ci_high"])
    assert yi == chosen.forward(numbers["estimate"])
    z = mpmath.sqrt(2) * mpmath.erfinv(mpf("0.9"))
    assert math.isclose(vi, ((high - low) / (2 * z)) ** 2, rel_tol=1e-13)
    assert chosen.back(yi) == pytest.approx(numbers["estimate"], rel=1e-14)
    analysis = {"yi": yi, "ci_low": low, "ci_high": high, "ci_level": 0.9}
    again = effect("GEN", analysis, options | {"scale": "analysis"})
    assert (again.yi[0], again.vi[0]) == pytest.approx((yi, vi), rel=1e-14)


def test_an_interval_given_on_the_analysis_scale_is_shown_on_the_display_scale():
    options = {"transformation": "exp", "scale": "analysis"}
    numbers = {"yi": 0.0, "ci_low": -math.log(2), "ci_high": math.log(2)}
    effects = effect("GEN", numbers, options)
    assert (effects.ci_low[0], effects.ci_high[0]) == pytest.approx((0.5, 2), rel=1e-14)


def test_a_ratio_without_its_transformation_is_noticed():
    notes = effect("GEN", {"estimate": 2, "ci_low": 0.5, "ci_high": 8}).notes[0]
    assert "on the plain scale, but in the middle on the log scale" in notes
    ratio = effect(
        "GEN", {"estimate": 2, "ci_low": 0.5, "ci_high": 8}, {"transformation": "exp"}
    )
    assert "middle" not in ratio.notes[0]


@pytest.mark.parametrize(
    ("numbers", "options", "reason"),
    [
        ({"estimate": -1, "ci_low": -2, "ci_high": 2}, {"transformation": "exp"}, "no place"),
        ({"yi": 3, "ci_low": 0.5, "ci_high": 2}, {}, "outside of its interval"),
        ({"yi": 1.1, "ci_low": 2, "ci_high": 3.5}, {"scale": "analysis"}, "outside of its"),
    ],
)
def test_generic_effects_that_contradict_their_interval_are_not_pooled(
    numbers, options, reason
):
    assert reason in effect("GEN", numbers, options).reason[0]


# --- what cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "change", "expected"),
    [
        ("IR", {"xi": 1.5}, "a whole number"),
        ("IR", {"ti": 0}, "a time above 0"),
        ("IRR", {"t2i": -5}, "a time above 0"),
        ("MN", {"sdi": -1}, "a standard deviation"),
        ("ZCOR", {"ri": 1.2}, "from -1 to 1"),
        ("SMCC", {"ri": 1}, "neither of them"),
        ("PCOR", {"mi": 1.5}, "a whole number"),
        ("SCLL", {"estimate": 62, "ci_low": 45, "ci_high": 75}, "a fraction from 0 to 1"),
        ("MED", {"ci_low": 0}, "as a time is"),
        ("HR", {"p": 0}, "a p-value"),
        ("HR", {"chi2": -1}, "not negative"),
        ("HR", {"v": 0}, "above 0"),
        ("HR", {"direction": 0}, "1 (higher hazard in group 1) or -1"),
        ("HR", {"x1i": 30, "n1i": 20}, "no more events than units"),
        ("HR", {"x1i": 30, "x2i": 20, "events": 51}, "x1i + x2i, which is 50"),
        ("HR", {"events": 51, "n1i": 20, "n2i": 30}, "no more events than units"),
    ],
)
def test_impossible_numbers_are_refused(measure, change, expected):
    wrong = check_numbers(measure, STUDY[measure] | change)
    assert any(expected in words for _, _, words in wrong)
    with pytest.raises(ValueError, match="expected"):
        effect(measure, STUDY[measure] | change)


@pytest.mark.parametrize(
    ("measure", "change", "reason"),
    [
        ("ZCOR", {"ri": 1}, "-1 or 1 has a sampling variance of 0"),
        ("COR", {"ni": 3}, "fewer than 4 pairs"),
        ("PCOR", {"mi": 22}, "too few for the variance"),
        ("ROM", {"m1i": -5.2, "m2i": -4.1}, "needs both above 0"),
        ("ROMC", {"m1i": 0}, "needs both above 0"),
        ("MNLN", {"mi": 0}, "no logarithm"),
        ("VR", {"sd1i": 0}, "a standard deviation of 0 has no ratio"),
        ("CVR", {"m2i": -1}, "needs both above 0"),
        ("CVR", {"n1i": 1}, "a group of one"),
        ("SMDH", {"n2i": 1}, "a group of one"),
        ("SMDH", {"sd1i": 0, "sd2i": 0}, "both standard deviations are 0"),
        ("SMCC", {"ni": 2}, "fewer than 3 units"),
        ("SMCR", {"sd1i": 0}, "the standard deviation is 0"),
        ("PHI", {"ai": 0, "ci": 0}, "no events, or only events, in both groups"),
        ("MC", {"sd1i": 0, "sd2i": 0}, "its sampling variance is 0"),
    ],
)
def test_numbers_that_give_no_effect_are_listed_with_the_reason(measure, change, reason):
    effects = effect(measure, STUDY[measure] | change)
    assert effects.included == (False,)
    assert reason in effects.reason[0]


@pytest.mark.parametrize(
    ("measure", "options", "expected"),
    [
        ("OR", {"variance": "UB"}, "no options"),
        ("SMD", {"variance": "AV"}, "one of: LS, LS2, UB, RevMan"),
        ("SMD", {"varaince": "UB"}, "variance"),
        ("SMD", {"variance": 1}, "one of: LS"),
        ("PFT", {"ipft": 0}, "a number"),
        ("PFT", {"ipft": True}, "a number"),
        ("GEN", {"null": math.nan}, "a number"),
    ],
)
def test_options_that_a_measure_does_not_have_are_refused(measure, options, expected):
    ((_, _, words),) = check_options(measure, options)
    assert expected in words
    with pytest.raises(ValueError, match="option"):
        configured(measure, options)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_default_is_allowed_and_changes_nothing(measure):
    defaults = {option.name: option.default for option in INPUTS[measure].options}
    assert check_options(measure, defaults) == []
    assert one(measure, STUDY[measure], defaults) == one(measure, STUDY[measure])


# --- properties -------------------------------------------------------------------------------


WHOLE = st.one_of(st.integers(0, 5), st.integers(0, 10**9)).map(float)
SIZED = st.builds(math.ldexp, st.floats(0.5, 1), st.integers(-1000, 1000))
REAL = st.one_of(st.sampled_from([0.0, 1.0, -1.0]), SIZED, SIZED.map(lambda x: -x))
HOSTILE = st.one_of(WHOLE, REAL, st.floats(0, 1), st.just(math.nan))


@pytest.mark.parametrize("measure", MEASURES)
@given(data=st.data())
@settings(max_examples=60)
def test_any_possible_numbers_give_an_effect_or_a_reason(measure, data):
    """Over 300 decades: never an exception, never nan without words, never a negative vi."""
    fields = data.draw(st.sampled_from(INPUTS[measure].alternatives))
    whole = {"xi", "ni", "ai", "bi", "ci", "di", "n1i", "n2i", "x1i", "x2i", "events"}
    numbers = {
        name: data.draw(st.one_of(WHOLE, st.just(math.nan)) if name in whole else HOSTILE)
        for name in fields
    }
    if {"ci_low", "ci_high"} <= numbers.keys():
        ends = sorted(
            numbers[name] for name in fields if name in ("ci_low", "ci_high", "estimate")
        )
        names = [n for n in ("ci_low", "estimate", "ci_high") if n in numbers]
        numbers |= dict(zip(names, ends, strict=True))
    if check_numbers(measure, numbers):
        return
    options = DECLARED if measure == "HR" else None
    effects = effect(measure, numbers, options)
    yi, vi = float(effects.yi[0]), float(effects.vi[0])
    assert effects.included[0] == (not effects.reason[0])
    if effects.included[0]:
        assert math.isfinite(yi)
        assert 0 < vi < math.inf
    else:
        assert effects.reason[0]


positive = st.floats(0.01, 100)


@given(m1=positive, m2=positive, s1=positive, s2=positive, unit=st.floats(1e-6, 1e6))
@settings(max_examples=50)
def test_ratios_and_standardised_effects_know_no_unit(m1, m2, s1, s2, unit):
    numbers = {"m1i": m1, "sd1i": s1, "n1i": 12, "m2i": m2, "sd2i": s2, "n2i": 15}
    scaled = {k: v * unit if k[0] in "ms" else v for k, v in numbers.items()}
    for measure in ("ROM", "ROMBC", "VR", "CVR", "SMDH"):
        for ours, theirs in zip(one(measure, numbers), one(measure, scaled), strict=True):
            assert math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)


@given(a=WHOLE, b=WHOLE, c=WHOLE, d=WHOLE)
@settings(max_examples=50)
def test_two_group_measures_change_sign_with_the_groups(a, b, c, d):
    table, swapped = (
        {"ai": p, "bi": q, "ci": r, "di": s} for p, q, r, s in ((a, b, c, d), (c, d, a, b))
    )
    if check_numbers("OR", table):
        return
    for measure in ("AS", "PETO", "PHI", "YUQ", "YUY"):
        one_way, other_way = effect(measure, table), effect(measure, swapped)
        assert one_way.included == other_way.included
        if one_way.included[0]:
            assert math.isclose(one_way.yi[0], -other_way.yi[0], rel_tol=1e-12, abs_tol=1e-15)
            assert math.isclose(one_way.vi[0], other_way.vi[0], rel_tol=1e-9)
