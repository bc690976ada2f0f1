"""Conversions: against metafor, published examples, mpmath, exhaustive search, invariances."""

import csv
import json
import math
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evisynth.conversions import (
    CONVERSIONS,
    FIELDS,
    check_chosen,
    check_numbers,
    complete,
    count_from_percent,
    effects,
    methods,
    named,
    spreads,
    summaries,
)
from evisynth.conversions import counts as tables
from evisynth.conversions import distributions as quantiles
from evisynth.conversions.summaries import Summary
from evisynth.menus import FIELDS as MENU

ROOT = Path(__file__).parents[2]
mpmath.mp.dps = 40
SUMMARY_FIELDS = ("min", "q1", "median", "q3", "max")
MEANS = [("mi", "sdi", "ni")]
FOURFOLD = [("ai", "bi", "ci", "di"), ("ai", "n1i", "ci", "n2i")]


def reference(name):
    document = json.loads((ROOT / f"tests/reference/conversions/{name}.json").read_text())
    data = document["data"]
    if isinstance(data, str):
        with (ROOT / data).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        data = {column: [row[column] for row in rows] for column in rows[0]}
    return data, document["analyses"]


REFERENCES = [
    pytest.param(*(data, entry), id=f"{name}:{entry['id']}")
    for name in ("hand_convert", "hackshaw1998")
    for data, found in [reference(name)]
    for entry in found
]
WALD = [p for p in REFERENCES if p.values[1]["kind"] == "conv.wald"]
FIVE = [p for p in REFERENCES if p.values[1]["kind"].startswith("conv.fivenum")]


def summary_of(data, row):
    values = [data[field][row] for field in SUMMARY_FIELDS]
    return Summary(data["n"][row], *(math.nan if v is None else v for v in values))


def given_of(summary):
    fields = dict(zip(("mini", "q1i", "medi", "q3i", "maxi"), (
        summary.minimum, summary.q1, summary.median, summary.q3, summary.maximum,
    ), strict=True))  # fmt: skip
    return {"ni": summary.n, **fields}


def derived(numbers, wanted, **options):
    values, notes = complete(numbers, wanted, **options)
    assert notes, "nothing was derived"
    assert all(note.startswith(("derived: ", "mi", "sdi", "ai", "yi")) for note in notes), notes
    return values


# ---------------------------------------------------------------- metafor


def test_no_reference_is_lost():
    kinds = [entry.values[1]["kind"] for entry in REFERENCES]
    assert (len(kinds), len(WALD), len(FIVE), kinds.count("conv.2x2")) == (8, 4, 3, 1)


@pytest.mark.parametrize(("data", "entry"), WALD)
def test_wald_intervals_and_p_values_are_those_of_metafor(data, entry):
    args, result = entry["args"], entry["result"]
    for row, (yi, vi) in enumerate(zip(result["yi"], result["vi"], strict=True)):
        values = {"estimate": float(data[args["out"]][row])}
        if "pval" in args:
            values["pval"] = data["pval"][row]
        else:
            values["ci_low"] = float(data[args["ci_lb"]][row])
            values["ci_high"] = float(data[args["ci_ub"]][row])
            values["ci_level"] = args["level"] / 100
        method = "wald_p_ratio" if "pval" in args else "wald_ratio"
        found = derived(values, [("yi", "sei")], chosen={"wald": method})
        assert found["yi"] == pytest.approx(yi, rel=entry["rtol"], abs=1e-15)
        assert found["sei"] ** 2 == pytest.approx(vi, rel=entry["rtol"])


@pytest.mark.parametrize(("data", "entry"), FIVE)
def test_means_from_five_numbers_are_those_of_metafor(data, entry):
    result = entry["result"]
    method = "lognormal" if entry["args"].get("dist") == "lnorm" else "luo_wan_shi_untested"
    if entry["kind"] == "conv.fivenum_skewness_test":
        method = "luo_wan_shi"
    for row, (mean, sd) in enumerate(zip(result["mean"], result["sd"], strict=True)):
        numbers = given_of(summary_of(data, row))
        if mean is None and "lognormal" not in method and method != "luo_wan_shi":
            assert math.isnan(numbers["q1i"] + numbers["mini"])
        values, _ = complete(numbers, MEANS, chosen={"summary": method})
        if mean is None:
            assert "mi" not in values
            continue
        # Closed forms: the reference's own 12 digits, rather than the 1e-6 it suggests.
        assert values["mi"] == pytest.approx(mean, rel=1e-10)
        assert values["sdi"] == pytest.approx(sd, rel=1e-10)


def test_the_skewness_test_is_that_of_metafor():
    data, entries = reference("hand_convert")
    result = next(e for e in entries if e["id"] == "conv.fivenum/test")["result"]
    decided = 0
    for row, (statistic, critical) in enumerate(
        zip(result["tval"], result["crit"], strict=True)
    ):
        if statistic is None:
            continue
        found = summaries.skewness_test(summary_of(data, row))
        assert found.statistic == pytest.approx(statistic, rel=1e-10)
        assert found.critical == pytest.approx(critical, rel=1e-10)
        assert found.rejected == (result["mean"][row] is None)
        decided += found.rejected
    assert decided == 1


def test_the_nearest_table_is_that_of_metafor():
    _, entries = reference("hand_convert")
    entry = next(e for e in entries if e["kind"] == "conv.2x2")
    args, result = entry["args"], entry["result"]
    for row, ratio in enumerate(args["ori"]):
        # metafor's n2i is the number of events in both groups
        n1, n, events = args["n1i"][row], args["ni"][row], args["n2i"][row]
        found = tables.nearest_table("OR", ratio, n1, n - n1, events)
        assert found == tuple(result[cell][row] for cell in ("ai", "bi", "ci", "di"))


# ---------------------------------------------------------------- published


def test_metafors_documented_table_is_rebuilt_from_its_odds_ratio():
    wanted = {"ai": 36, "bi": 86, "ci": 20, "di": 98}
    margins = {"n1i": 122, "n2i": 118, "eventsi": 56}
    values = derived({**margins, "ori": 2.05}, FOURFOLD)
    assert {cell: values[cell] for cell in wanted} == wanted
    values = derived({**margins, "phii": 0.15}, FOURFOLD)
    assert {cell: values[cell] for cell in wanted} == wanted
    # Ten times as large, phi 0.15 belongs to many tables, and metafor's is not the true one.
    margins = {"n1i": 1220, "n2i": 1180, "eventsi": 560, "phii": 0.15}
    values, notes = complete(margins, FOURFOLD)
    assert values == margins
    assert "tables (ai, bi, ci, di) round to the printed numbers" in notes[0]
    fitting = tables.tables_from_margins("PHI", 0.15, 1220, 1180, 560)
    assert (360, 860, 200, 980) in fitting
    assert tables.nearest_table("PHI", 0.15, 1220, 1180, 560) in fitting
    assert tables.nearest_table("PHI", 0.15, 1220, 1180, 560) != (360, 860, 200, 980)
    nearest, notes = complete(margins, FOURFOLD, chosen={"table_from_margins": "table_nearest"})
    assert nearest["ai"] != 360
    assert f"{len(fitting)} round to the effect" in notes[-1]


def test_estmeansd_readme_quantile_estimation_and_box_cox():
    # estmeansd's README: QE 4.347284 (1.502171) by L-BFGS-B with its loose stopping rule, hence
    # 1e-5; BC 4.210971 (1.337348) from about 1,100 random numbers, hence three standard errors
    # of the mean and 10% for the standard deviation.
    summary = Summary(100, minimum=2, median=4, maximum=9)
    best = summaries.quantile_estimates(summary)[0]
    assert best.name == "log-normal"
    assert (best.mean, best.sd) == pytest.approx((4.347284, 1.502171), rel=1e-5)
    mean, sd, power = summaries.mean_sd_box_cox(summary)
    assert mean == pytest.approx(4.210971, abs=3 * 1.3 / math.sqrt(1100))
    assert sd == pytest.approx(1.337348, rel=0.1)
    assert power == 0


def test_higgins2011_cochrane_handbook_examples():
    # Cochrane Handbook 5.1, 16.4.6.4: SDs 2.38 and 2.21, r = 0.68, n = 10: se 0.583
    sd = spreads.sd_of_change(2.38, 2.21, 0.68)
    assert round(sd / math.sqrt(10), 3) == 0.583
    # 7.7.3.3: MD 3.8 with p = 0.008 in groups of 25 and 22: t 2.78, se 1.37
    assert round(quantiles.t_upper_quantile(0.004, 45), 2) == 2.78
    assert round(spreads.se_from_p(3.8, 0.008, df=45), 2) == 1.37
    # 16.4.6.4: SD 2 of the differences of 10 gives se 0.632
    assert spreads.sd_from_se(0.632, 10) == pytest.approx(2, abs=0.002)


def test_statstodo_three_groups_combined():
    found = spreads.combine_groups((10, 20, 15), (11.8, 15.3, 8.4), (2.4, 3.2, 4.1))
    assert [round(value, 4) for value in found] == [45, 12.2222, 4.5028]


def test_metafors_documented_wald_conversions():
    # conv.wald: OR 0.64 [0.33, 1.22], p = .17
    yi, sei = effects.wald_interval(0.64, 0.33, 1.22, level=0.95, scale="log")
    assert (round(yi, 4), round(sei**2, 4)) == (-0.4463, 0.1113)
    assert round(effects.wald_p(0.64, 0.17, scale="log")[1] ** 2, 4) == 0.1058


# ---------------------------------------------------------------- mpmath


@pytest.mark.parametrize("df", [1, 2, 3, 5, 12.5, 30, 400, 1e5])
@pytest.mark.parametrize("tail", [0.45, 0.1, 0.025, 0.005, 1e-9, 1e-25])
def test_t_quantiles_have_their_tail(df, tail):
    t = quantiles.t_upper_quantile(tail, df)
    x = mpmath.mpf(df) / (df + mpmath.mpf(t) ** 2)
    found = mpmath.betainc(mpmath.mpf(df) / 2, 0.5, 0, x, regularized=True) / 2
    # The tail changes by up to t^2 relative to a change of t; far out that is 100 times.
    assert float(found / tail) == pytest.approx(1, rel=3e-12)


@pytest.mark.parametrize("shape", [0.02, 0.3, 1, 2.7, 40, 3000])
@pytest.mark.parametrize("p", [1e-4, 0.25, 0.5, 0.75, 0.999])
def test_gamma_quantiles_have_their_probability(shape, p):
    x = mpmath.exp(mpmath.mpf(quantiles.gamma_log_quantile(p, shape)))
    found = mpmath.gammainc(mpmath.mpf(shape), 0, x, regularized=True)
    assert float(found) == pytest.approx(p, rel=1e-11)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.4), (1, 1), (2, 5), (40, 3), (700, 300)])
@pytest.mark.parametrize("p", [1e-3, 0.25, 0.5, 0.75, 0.99])
def test_beta_quantiles_have_their_probability(a, b, p):
    x = mpmath.mpf(quantiles.beta_quantile(p, a, b))
    found = mpmath.betainc(mpmath.mpf(a), mpmath.mpf(b), 0, x, regularized=True)
    assert float(found) == pytest.approx(p, rel=1e-11)


@pytest.mark.parametrize(
    "summary",
    [
        Summary(20, minimum=2, median=6, maximum=14),
        Summary(61, 0.5, 2.1, 3.3, 5.9, 14),
        Summary(40, 90, 96, 97, 98, 99),
        Summary(50, q1=3, median=5, q3=6.5),
    ],
)
def test_box_cox_moments_are_those_of_mpmath(summary):
    mean, sd, power = summaries.mean_sd_box_cox(summary)
    assert 0 < power <= 3
    moved = summary.mapped(lambda x: (x**power - 1) / power)
    location, scale = summaries.mean_luo(moved), summaries.sd_wan(moved)
    cut = (location + 1 / power) / scale

    def moment(order):
        def density(z):
            return mpmath.exp(-z * z / 2) * (
                (power * (location + scale * z) + 1) ** (order / mpmath.mpf(power))
            )

        inside = [x for x in (-8, -4, 0, 4, 8) if abs(x) < cut]
        ends = [-min(cut, 14), *inside, min(cut, 14)]
        return mpmath.re(mpmath.quad(density, ends))

    with mpmath.workdps(20):
        first, second = moment(1) / moment(0), moment(2) / moment(0)
        assert mean == pytest.approx(float(first), rel=1e-9)
        assert sd == pytest.approx(float(mpmath.sqrt(second - first**2)), rel=1e-8)


def test_box_cox_power_balances_the_two_halves_or_their_squares():
    one = Summary(20, minimum=2, median=6, maximum=14)
    power = summaries.box_cox_power(one)
    assert 14**power + 2**power == pytest.approx(2 * 6**power, rel=1e-13)
    both = Summary(61, 0.5, 2.1, 3.3, 5.9, 14)
    best = summaries.box_cox_power(both)

    def misfit(power):
        low, q1, median, q3, high = [mpmath.mpf(value) ** power for value in both.values]
        return ((high - median) / (median - low) - 1) ** 2 + (
            (q3 - median) / (median - q1) - 1
        ) ** 2

    assert all(misfit(best) <= misfit(3 * mpmath.mpf(i) / 300) for i in range(1, 301))
    assert abs(mpmath.diff(misfit, best)) < 1e-9


QUANTILES = {
    "log-normal": lambda s, p: mpmath.exp(s * mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)),
    "Weibull": lambda s, p: (-mpmath.log(1 - p)) ** (1 / s),
    "gamma": lambda s, p: mpmath.exp(quantiles.gamma_log_quantile(float(p), float(s))),
}
VARIATION = {
    "log-normal": lambda s: mpmath.sqrt(mpmath.expm1(s**2)),
    "Weibull": lambda s: mpmath.sqrt(
        mpmath.gamma(1 + 2 / s) / mpmath.gamma(1 + 1 / s) ** 2 - 1
    ),
    "gamma": lambda s: 1 / mpmath.sqrt(s),
}


@pytest.mark.parametrize("name", QUANTILES)
@pytest.mark.parametrize(
    "summary",
    [
        Summary(20, q1=4, median=6, q3=10),
        Summary(61, 0.5, 2.1, 3.3, 5.9, 14),
        Summary(30, minimum=0, median=2, maximum=11),
    ],
)
def test_quantile_estimation_finds_the_nearest_member_of_each_family(name, summary):
    fit = next(fit for fit in summaries.quantile_estimates(summary) if fit.name == name)
    values, given = summary.values, summaries.probabilities(summary)

    def misfit(shape):
        basis = [QUANTILES[name](shape, mpmath.mpf(p)) for p in given]
        scale = mpmath.fdot(values, basis) / mpmath.fdot(basis, basis)
        return (
            sum((q - scale * g) ** 2 for q, g in zip(values, basis, strict=True))
            / max(values) ** 2
        )

    # The shape that gives the coefficient of variation found, by halving.
    wanted, low, high = mpmath.mpf(fit.sd) / fit.mean, mpmath.mpf("0.05"), mpmath.mpf(200)
    falls = VARIATION[name](low) > VARIATION[name](mpmath.mpf(1))
    for _ in range(120):
        middle = mpmath.sqrt(low * high)
        above = VARIATION[name](middle) > wanted
        low, high = (middle, high) if above == falls else (low, middle)
    assert fit.misfit == pytest.approx(float(misfit(low)), rel=1e-6)
    nearby = [low * mpmath.mpf(1 + e) for e in (-1e-3, 1e-3)]
    far = [low * mpmath.mpf(2) ** (i / 2) for i in range(-8, 9)]
    assert all(misfit(low) <= misfit(shape) for shape in (*nearby, *far))


def test_quantile_estimation_recovers_the_distribution_that_made_the_quantiles():
    n = 80
    for name, exact in {
        "gamma": (lambda p: math.exp(quantiles.gamma_log_quantile(p, 2.5)) * 3, 7.5, 22.5**0.5),
        "beta": (lambda p: quantiles.beta_quantile(p, 2, 6), 0.25, (12 / 64 / 9) ** 0.5),
    }.items():
        quantile, mean, sd = exact
        summary = Summary(n, *map(quantile, (1 / n, 0.25, 0.5, 0.75, 1 - 1 / n)))
        best = summaries.quantile_estimates(summary)[0]
        assert best.name == name
        assert (best.mean, best.sd) == pytest.approx((mean, sd), rel=1e-9)


def test_only_the_normal_distribution_fits_negative_values():
    fits = summaries.quantile_estimates(Summary(40, q1=-1, median=2, q3=4))
    assert [fit.name for fit in fits] == ["normal"]
    assert fits[0].mean == pytest.approx(5 / 3, rel=1e-14)


# ---------------------------------------------------------------- spreads


sizes = st.integers(2, 10**6)
levels = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
magnitudes = st.floats(1e-6, 1e6)


@given(sd=magnitudes, mean=st.floats(-1e6, 1e6), n=sizes, level=levels)
def test_sd_comes_back_from_the_interval_of_its_mean(sd, mean, n, level):
    assume(sd > 1e-6 * abs(mean))
    for distribution, width in (
        ("t", quantiles.t_half_width(level, n - 1)),
        ("normal", quantiles.normal_half_width(level)),
    ):
        half = width * sd / math.sqrt(n)
        found = spreads.sd_from_interval(
            mean - half, mean + half, n, level=level, distribution=distribution
        )
        # Up to nine digits of the bounds cancel where the interval is narrow.
        assert found == pytest.approx(sd, rel=1e-6)


@given(sd=magnitudes, d=st.floats(0.01, 5), n1=sizes, n2=sizes)
def test_sd_comes_back_from_t_and_p_of_a_difference(sd, d, n1, n2):
    se = sd * math.sqrt(1 / n1 + 1 / n2)
    difference = -d * se
    numbers = {"m1i": 0, "m2i": 0, "n1i": n1, "n2i": n2, "mdi": difference}
    wanted = [("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")]
    by_t, _ = complete({**numbers, "md_ti": difference / se}, wanted)
    assert (by_t["sd1i"], by_t["sd2i"]) == pytest.approx((sd, sd), rel=1e-12)
    df = n1 + n2 - 2
    x = mpmath.mpf(df) / (df + mpmath.mpf(d) ** 2)
    p = mpmath.betainc(mpmath.mpf(df) / 2, 0.5, 0, x, regularized=True)
    by_p, _ = complete({**numbers, "md_pi": float(p)}, wanted)
    # p loses digits of a t near 0.
    assert by_p["sd1i"] == pytest.approx(sd, rel=1e-10)


@given(
    st.lists(
        st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), min_size=2, max_size=5
    ),
    st.sampled_from([0, 10**9]),
)
def test_combined_groups_are_the_persons_taken_together(groups, shift):
    def mean_sd(values):
        mean = Fraction(sum(values), len(values))
        square = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        return float(mean), math.sqrt(square)

    groups = [[value + shift for value in group] for group in groups]
    parts = [mean_sd(group) for group in groups]
    n, mean, sd = spreads.combine_groups(
        [len(group) for group in groups], [p[0] for p in parts], [p[1] for p in parts]
    )
    everyone = [value for group in groups for value in group]
    assert n == len(everyone)
    exact_mean, exact_sd = mean_sd(everyone)
    assert mean == pytest.approx(exact_mean, rel=1e-14, abs=1e-12)
    # means near 10^9 are known to 10^-7
    assert sd == pytest.approx(exact_sd, rel=1e-12, abs=1e-6 if shift else 1e-12)


@given(before=magnitudes, after=magnitudes, r=st.floats(-1, 1))
def test_correlation_comes_back_from_the_sd_of_the_change(before, after, r):
    change = spreads.sd_of_change(before, after, r)
    exact = mpmath.sqrt(
        mpmath.mpf(before) ** 2 + mpmath.mpf(after) ** 2 - 2 * mpmath.mpf(r) * before * after
    )
    # about equal spreads with r next to 1 leave nothing but rounding errors
    assert change == pytest.approx(float(exact), rel=1e-9, abs=1e-14 * before)
    assume(0.01 < before / after < 100 and abs(r) < 0.999)
    assert spreads.correlation_of_change(before, after, change) == pytest.approx(r, abs=1e-9)


def test_impossible_correlations_of_change_are_nan():
    assert math.isnan(spreads.correlation_of_change(1, 1, 3))
    assert math.isnan(spreads.correlation_of_change(0, 1, 1))


def test_sd_from_large_interquartile_range():
    assert spreads.sd_from_iqr(1.3489795003921634) == pytest.approx(1, rel=1e-14)


# ---------------------------------------------------------------- effects


@given(st.floats(0.01, 100), st.floats(0.01, 3), levels)
def test_inverting_twice_gives_the_contrast_back(ratio, half, level):
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    turned = effects.inverted(ratio, low, high, scale="log")
    assert turned[1] < turned[0] < turned[2]
    again = effects.inverted(*turned, scale="log")
    assert again == pytest.approx((ratio, low, high), rel=1e-14)
    yi, sei = effects.wald_interval(ratio, low, high, level=level, scale="log")
    other = effects.wald_interval(*turned, level=level, scale="log")
    assert other == pytest.approx((-yi, sei), rel=1e-12, abs=1e-12)
    assert effects.inverted(1.5, -1.0, 4.0, scale="identity") == (-1.5, -4.0, 1.0)


def test_chinn2000_factor_and_its_inverse():
    # Chinn (2000): divide ln OR by 1.81
    assert round(effects.LOGISTIC, 2) == 1.81
    yi, sei = effects.log_odds_ratio_from_d(0.5, 0.2)
    assert effects.d_from_log_odds_ratio(yi, sei) == pytest.approx((0.5, 0.2), rel=1e-15)


def test_logarithms_of_other_bases():
    for base, field in ((10, "log10"), (2, "log2")):
        numbers = {f"{field}_yi": math.log(3, base), f"{field}_sei": 0.1}
        values = derived(numbers, [("yi", "sei")])
        assert values["yi"] == pytest.approx(math.log(3), rel=1e-15)
        assert values["sei"] == pytest.approx(0.1 * math.log(base), rel=1e-15)


# ---------------------------------------------------------------- counts


def decimals_of(value, digits):
    """Value rounded to digits, halves up, as it is printed."""
    scaled = math.floor(abs(value) * 10**digits + Fraction(1, 2))
    sign = "-" if value < 0 and scaled else ""
    text = f"{scaled:0{digits + 1}d}"
    return sign + (f"{text[:-digits]}.{text[-digits:]}" if digits else text)


@given(st.integers(1, 3000), st.data(), st.integers(0, 4))
def test_a_true_count_is_among_those_of_its_percentage(n, data, digits):
    x = data.draw(st.integers(0, n))
    text = decimals_of(Fraction(100 * x, n), digits)
    found = tables.counts_from_percent(text + "%", n)
    assert x in found
    # ... and the others round to it as well, or lie at an end
    for other in found:
        distance = abs(Fraction(100 * other, n) - Fraction(text))
        assert distance <= Fraction(1, 2 * 10**digits)
    one, notes = count_from_percent(text, n)
    assert (one == x and not notes) if len(found) == 1 else (math.isnan(one) and notes)


def test_a_percentage_is_refused_where_several_counts_or_none_fit():
    value, notes = count_from_percent("30%", 430)
    assert math.isnan(value)
    assert notes == ("5 whole numbers of 430 round to 30%: 127, 128, 129, 130, 131",)
    assert count_from_percent("30.2%", 43) == (13.0, ())
    assert count_from_percent("33.3%", 10)[1] == ("no whole number of 10 rounds to 33.3%",)


def test_zeros_that_are_printed_count_as_digits():
    assert count_from_percent("50.00%", 1000) == (500.0, ())
    assert math.isnan(count_from_percent("50%", 1000)[0])
    # a number has lost its zeros: the larger set, never a wrong answer
    assert math.isnan(count_from_percent(50.0, 1000)[0])
    values, _ = complete({"pcti": 50.0, "ni": 1000}, [("xi", "ni")], printed={"pcti": "50.0"})
    assert values["xi"] == 500


def test_a_computed_percentage_finds_its_count():
    for n in (3, 7, 49, 1234, 10**9):
        for x in (1, n // 3, n - 1):
            assert count_from_percent(100 * (x / n), n) == (float(x), ())


def test_bounds_are_no_percentages():
    with pytest.raises(ValueError, match="is a bound"):
        count_from_percent("<1%", 50)
    values, notes = complete({"pcti": 1, "ni": 50}, [("xi", "ni")], printed={"pcti": "<1%"})
    assert "xi" not in values
    assert "is a bound" in notes[0]
    with pytest.raises(ValueError, match="whole number"):
        count_from_percent("10%", 0)


def printed_effect(effect, table, digits, z=1.959963984540054):
    value = tables.effect_of(effect, table)
    half = z * math.sqrt(tables.variance_of(effect, table))
    if effect == "RD":
        ends = float(value) - half, float(value) + half
    else:
        ends = float(value) * math.exp(-half), float(value) * math.exp(half)
    return [decimals_of(Fraction(number), digits) for number in (value, *ends)]


@pytest.mark.parametrize("effect", ["OR", "RR", "RD", "PHI"])
def test_tables_from_margins_are_all_that_fit(effect):
    random.seed(1)
    for _ in range(60):
        n1, n2 = random.randint(1, 40), random.randint(1, 40)
        events = random.randint(0, n1 + n2)
        everything = [
            (a, n1 - a, events - a, n2 - events + a)
            for a in range(max(0, events - n2), min(n1, events) + 1)
        ]
        ends = (-0.5, 0.9) if effect in ("RD", "PHI") else (0.1, 4)
        text = f"{random.uniform(*ends):.1f}"
        wanted = tables.rounded(text)
        expected = [t for t in everything if tables.fits(effect, t, wanted)]
        assert list(tables.tables_from_margins(effect, text, n1, n2, events)) == expected


@pytest.mark.parametrize("effect", ["OR", "RR", "RD"])
@pytest.mark.parametrize("digits", [1, 2, 3])
def test_tables_from_intervals_are_all_that_fit(effect, digits):
    random.seed(2)
    for _ in range(6):
        n1, n2 = random.randint(3, 45), random.randint(3, 45)
        a, c = random.randint(1, n1 - 1), random.randint(1, n2 - 1)
        text = printed_effect(effect, (a, n1 - a, c, n2 - c), digits)
        found = tables.tables_from_interval(effect, *text, n1, n2)
        assert (a, n1 - a, c, n2 - c) in found
        wanted, low, high = map(tables.rounded, text)
        expected = []
        for x in range(n1 + 1):
            for y in range(n2 + 1):
                table = (x, n1 - x, y, n2 - y)
                value = tables.effect_of(effect, table)
                if value is None or not wanted.holds(value) or (effect != "RD" and value <= 0):
                    continue
                variance = tables.variance_of(effect, table)
                if math.isinf(variance):
                    continue
                for z in (1.959963984540054, 1.96):
                    ends = [Fraction(e) for e in interval(effect, value, variance, z)]
                    if low.holds(ends[0]) and high.holds(ends[1]):
                        expected.append(table)
                        break
        assert list(found) == expected


def interval(effect, value, variance, z):
    half = z * math.sqrt(variance)
    if effect == "RD":
        return float(value) - half, float(value) + half
    return float(value) * math.exp(-half), float(value) * math.exp(half)


def test_large_tables_are_searched_not_tried():
    table = (4321, 15_679, 3987, 15_013)
    text = printed_effect("OR", table, 6)
    assert tables.tables_from_interval("OR", *text, 20_000, 19_000) == (table,)


def test_two_tables_of_one_interval_are_told_apart_by_all_events():
    # Di Pietrantonj (2006): odds ratio and standard error have two solutions; exchanging events
    # and non-events of both groups, with the groups, keeps both
    text = printed_effect("OR", (10, 40, 5, 45), 2)
    found = tables.tables_from_interval("OR", *text, 50, 50)
    assert (10, 40, 5, 45) in found
    assert (45, 5, 40, 10) in found
    numbers = dict(zip(("ori", "or_lowi", "or_highi"), map(float, text), strict=True))
    numbers |= {"n1i": 50, "n2i": 50}
    values, notes = complete(numbers, FOURFOLD)
    assert "ai" not in values
    assert "(10, 40, 5, 45)" in notes[0]
    values = derived({**numbers, "eventsi": 15}, FOURFOLD)
    assert [values[cell] for cell in ("ai", "bi", "ci", "di")] == [10, 40, 5, 45]


def test_no_table_is_made_up_for_an_adjusted_effect():
    numbers = {"ori": 2.0, "or_lowi": 1.9, "or_highi": 2.1, "n1i": 50, "n2i": 50}
    values, notes = complete(numbers, FOURFOLD)
    assert values == numbers
    assert "no table of whole numbers" in notes[0]


def test_a_table_that_contradicts_a_reported_cell_is_not_used():
    numbers = {"n1i": 122, "n2i": 118, "eventsi": 56, "ori": 2.05, "ai": 35}
    values, _ = complete(numbers, [("ai", "bi", "ci", "di")])
    assert "ci" not in values


# ---------------------------------------------------------------- completion


def test_nothing_is_derived_where_nothing_is_missing():
    numbers = {"mi": 1.0, "sdi": 2.0, "ni": 10, "msei": 9.0}
    assert complete(numbers, MEANS) == (numbers, ())


def test_reported_numbers_are_never_changed():
    numbers = {"mi": 100.0, "q1i": 1, "medi": 2, "q3i": 3, "ni": 30}
    values = derived(numbers, MEANS)
    assert values["mi"] == 100
    assert values["sdi"] == summaries.sd_wan(Summary(30, q1=1, median=2, q3=3))


def test_each_derived_number_is_said_with_its_source():
    numbers = {"q11i": 15, "med1i": 18, "q31i": 21, "n1i": 40, "m2i": 1, "sd2i": 2, "n2i": 9}
    _, notes = complete(numbers, [("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")])
    assert notes == (
        "derived: m1i from q11i, med1i, q31i, n1i (Luo et al. 2018)",
        "derived: sd1i from q11i, med1i, q31i, n1i (Wan et al. 2014)",
    )


def test_the_standard_deviation_alone_needs_no_median():
    values = derived({"mi": 5, "mini": 1, "maxi": 9, "ni": 25}, MEANS)
    assert values["sdi"] == pytest.approx(8 / summaries.range_divisor(25), rel=1e-15)


def test_skewed_summaries_are_refused_unless_a_method_is_chosen():
    numbers = {"mini": 1, "medi": 3, "maxi": 16, "ni": 20}
    values, notes = complete(numbers, MEANS)
    assert "mi" not in values
    assert "skewed" in notes[0]
    for method in methods("summary")[1:]:
        chosen = derived(numbers, MEANS, chosen={"summary": method})
        assert 1 < chosen["mi"] < 16
        assert 0 < chosen["sdi"] < 16
    _, notes = complete(numbers, MEANS, chosen={"summary": "luo_wan_shi_untested"})
    assert any("skewed" in note for note in notes)


def test_a_refused_number_is_not_derived_another_way():
    # quartiles say skewed; the width of the interquartile range must not bring them in again
    numbers = {"q1i": 1, "medi": 2, "q3i": 13, "ni": 400, "iqri": 12, "mi": 5}
    values, notes = complete(numbers, MEANS)
    assert "sdi" not in values
    assert len(notes) == 1


def test_exact_sources_come_before_summaries():
    numbers = {"mi": 5, "msei": 0.5, "q1i": 1, "medi": 2, "q3i": 13, "ni": 100}
    assert derived(numbers, MEANS)["sdi"] == 5


def test_an_interval_far_from_its_mean_is_noted():
    numbers = {"mi": 4.5, "mci_lowi": 1, "mci_highi": 5, "ni": 12}
    _, notes = complete(numbers, MEANS)
    assert any("not in the middle" in note for note in notes)
    _, notes = complete({**numbers, "mi": 3.0}, MEANS)
    assert len(notes) == 1


def test_the_level_of_intervals_is_used_in_every_group():
    numbers = {"m1i": 3, "mci_low1i": 1, "mci_high1i": 5, "n1i": 12, "ci_level": 0.9}
    numbers |= {"m2i": 3, "sd2i": 1, "n2i": 12}
    values, _ = complete(numbers, [("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")])
    # 1.795885 is the upper 5% point of t with 11 degrees of freedom
    assert values["sd1i"] == pytest.approx(math.sqrt(12) * 2 / 1.7958848187036696, rel=1e-12)


def test_what_depends_on_the_scale_or_the_outcome_is_derived_on_request_only():
    numbers = {"estimate": 2.0, "ci_low": 1.0, "ci_high": 4.0, "pval": 0.05}
    assert complete(numbers, [("yi", "sei")]) == (numbers, ())
    log = derived(numbers, [("yi", "sei")], chosen={"wald": "wald_ratio"})
    raw = derived(numbers, [("yi", "sei")], chosen={"wald": "wald_difference"})
    assert log["yi"] == math.log(2)
    assert raw["yi"] == 2
    change = {"sd_prei": 2.38, "sd_posti": 2.21, "ri": 0.68, "m_prei": 7, "m_posti": 6.5}
    change["ni"] = 10
    assert complete(change, MEANS) == (change, ())
    values = derived(change, MEANS, chosen={"change": "change_from_correlation"})
    assert (values["mi"], round(values["sdi"] / math.sqrt(10), 3)) == (-0.5, 0.583)
    smd = {"smd_yi": 1.0, "smd_sei": 0.5}
    assert complete(smd, [("yi", "sei")]) == (smd, ())
    values = derived(smd, [("yi", "sei")], chosen={"effect_measure": "chinn_d_to_or"})
    assert values["yi"] == pytest.approx(math.pi / math.sqrt(3), rel=1e-15)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"q1i": 5, "medi": 4, "q3i": 6, "ni": 30}, "q1i is 5, expected at most medi"),
        ({"q1i": 3, "medi": 4, "q3i": 6, "ni": 4}, "n is 4; the method needs at least 5"),
        ({"q1i": 4, "medi": 4, "q3i": 4, "ni": 30}, "both quartiles are equal"),
        ({"mi": 1, "msei": 0, "ni": 30}, "msei is 0, expected above 0"),
        ({"mi": 1, "msei": 1, "ni": 30.5}, "ni is 30.5, expected a whole number"),
        ({"mi": 1, "msei": math.inf, "ni": 30}, "expected a finite number"),
        ({"mi": 1, "mci_lowi": 0, "mci_highi": 2, "ni": 1}, "one person"),
        ({"mi": 1, "mci_lowi": 0, "mci_highi": 2, "ni": 9, "ci_level": 95}, "ci_level is 95"),
        ({"mi": 2, "mci_lowi": 2, "mci_highi": 2, "ni": 9}, "spread would be 0"),
        (
            {"mi": 1, "mci_lowi": 2, "mci_highi": 3, "ni": 9},
            "mci_lowi is 2, expected at most mi",
        ),
    ],
)
def test_impossible_and_useless_numbers_are_refused_in_words(numbers, said):
    values, notes = complete(numbers, MEANS)
    assert values == numbers
    assert said in notes[0]


def test_unknown_choices_are_named():
    assert check_chosen({"summary": "qe", "what": "x"}) == [
        ("summary", "qe", f"one of {', '.join(methods('summary'))}"),
        ("what", "x", check_chosen({"what": "x"})[0][2]),
    ]
    with pytest.raises(ValueError, match="expected one of luo_wan_shi"):
        complete({}, MEANS, chosen={"summary": "qe"})


def test_check_numbers_names_field_found_and_expected():
    assert check_numbers({"pct1i": 130, "min2i": 4, "max2i": 3, "ri": 2, "md_pi": 0}) == [
        ("md_pi", "0", "a two-sided p-value, above 0 and at most 1"),
        ("min2i", "4", "at most max2i, which is 3"),
        ("pct1i", "130", "a percentage, 0 to 100"),
        ("ri", "2", "between -1 and 1"),
    ]
    assert check_numbers({"mini": math.nan, "maxi": 3, "ni": -7}) == []


def test_every_field_of_the_registry_is_explained():
    for conversion in CONVERSIONS.values():
        groups = (0, 1, 2) if conversion.scope == "group" else (0,)
        for needs in (*conversion.needs, conversion.gives):
            for group in groups:
                assert {named(field, group) for field in needs} <= FIELDS.keys() | MENU.keys()
    assert all(conversion.key == key for key, conversion in CONVERSIONS.items())


def test_every_choice_has_at_most_one_default():
    for choice in {conversion.choice for conversion in CONVERSIONS.values()}:
        defaults = [key for key in methods(choice) if CONVERSIONS[key].default]
        assert len(defaults) <= 1
        assert not defaults or methods(choice)[0] == defaults[0]


def test_conversions_import_neither_numpy_nor_scipy():
    code = (
        "import sys, evisynth.conversions; "
        "assert not {'numpy', 'scipy'} & set(sys.modules), 'slow imports'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- invariances


ordered = st.lists(st.integers(1, 10**6), min_size=5, max_size=5, unique=True).map(sorted)
groups_of = st.integers(5, 10**5)
shapes = st.sampled_from([(0, 1, 2, 3, 4), (1, 2, 3), (0, 2, 4)])


def summary_from(values, n, kept):
    fields = [float(v) if i in kept else math.nan for i, v in enumerate(values)]
    return Summary(n, *fields)


@given(values=ordered, n=groups_of, kept=shapes, scale=st.sampled_from([1e-6, 1e-3, 1e3, 1e6]))
def test_normal_theory_follows_shift_and_scale(values, n, kept, scale):
    plain = summary_from(values, n, kept)
    moved = plain.mapped(lambda x: scale * (x + 1e6))
    mean, (sd, _) = summaries.mean_luo(plain), summaries.sd_normal(plain)
    assert summaries.mean_luo(moved) == pytest.approx(scale * (mean + 1e6), rel=1e-12)
    assert summaries.sd_normal(moved)[0] == pytest.approx(scale * sd, rel=1e-8)
    mirrored = Summary(n, *(-x for x in reversed(
        (plain.minimum, plain.q1, plain.median, plain.q3, plain.maximum)
    )))  # fmt: skip
    assert summaries.mean_luo(mirrored) == pytest.approx(-mean, rel=1e-12)
    assert summaries.skewness_test(mirrored).statistic == pytest.approx(
        summaries.skewness_test(plain).statistic, rel=1e-12, abs=1e-15
    )


@settings(max_examples=15)
@given(values=ordered, n=groups_of, kept=shapes, scale=st.sampled_from([1e-9, 1e3, 1e9]))
def test_no_method_minds_the_unit_of_the_outcome(values, n, kept, scale):
    plain = summary_from(values, n, kept)
    scaled = plain.mapped(lambda x: scale * x)
    for method in ("lognormal", "quantile_estimation", "box_cox"):
        chosen = {"summary": method}
        first, notes = complete(given_of(plain), MEANS, chosen=chosen)
        second, _ = complete(given_of(scaled), MEANS, chosen=chosen)
        assert notes
        assert ("mi" in first) == ("mi" in second)
        if "mi" in first and not (method == "quantile_estimation" and scale < 1):
            # scaled down, values are between 0 and 1, where the beta distribution enters
            assert second["mi"] == pytest.approx(scale * first["mi"], rel=1e-7)
            assert second["sdi"] == pytest.approx(scale * first["sdi"], rel=1e-6)


hostile = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-3, 40).map(float),
    st.sampled_from([0.0, -0.0, 1e-300, 1e300, 5.0, 20.0, 100.0]),
)


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "ni", "n1i", "n2i", "ai", "ci", "ci_level", "estimate"]),
        hostile,
        max_size=9,
    ),
    st.sampled_from(methods("summary")),
)
def test_hostile_numbers_never_raise_and_give_finite_numbers_or_a_reason(numbers, method):
    for wanted in (
        MEANS,
        FOURFOLD,
        [("xi", "ni")],
        [("yi", "sei")],
        [("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")],
    ):
        values, notes = complete(numbers, wanted, chosen={"summary": method})
        missing = {field for field in values if math.isnan(numbers.get(field, math.nan))}
        new = missing - {field for field in numbers if math.isnan(values[field])}
        for field in new:
            assert math.isfinite(values[field])
            assert any(note.startswith(f"derived: {field} from") for note in notes)
        known = {field for field, value in numbers.items() if not math.isnan(value)}
        assert all(values[field] == numbers[field] for field in known)


@settings(max_examples=60)
@given(
    st.lists(hostile, min_size=5, max_size=5).map(lambda values: sorted(values, key=str)),
    st.integers(1, 10**7),
    st.sampled_from(methods("summary")),
)
def test_hostile_summaries_never_raise(values, n, method):
    numbers = dict(zip(("mini", "q1i", "medi", "q3i", "maxi"), values, strict=True))
    found, notes = complete({**numbers, "ni": n}, MEANS, chosen={"summary": method})
    assert "mi" not in found or math.isfinite(found["mi"])
    clean = sorted(value for value in values if math.isfinite(value))
    if len(clean) == 5:
        numbers = dict(zip(("mini", "q1i", "medi", "q3i", "maxi"), clean, strict=True))
        found, notes = complete({**numbers, "ni": n}, MEANS, chosen={"summary": method})
        assert notes
        if "sdi" in found:
            assert found["sdi"] > 0
            assert math.isfinite(found["sdi"])
