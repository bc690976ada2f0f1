"""Intervals and p-values: published intervals are recognised, contradictions found."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.auditing import found, kinds, material, table, verdict

from evisynth.audit.intervals import LEVELS
from evisynth.audit.material import Review
from evisynth.audit.numbers import RULES
from evisynth.audit.proportions import proportion_intervals
from evisynth.audit.run import audit

Z = {0.90: 1.6448536269514722, 0.95: 1.959963984540054, 0.99: 2.5758293035489004}
# Newcombe (1998), Stat Med 17:857-872, table I, methods 1 to 5
NEWCOMBE = {
    (81, 263): {
        "Wald": (0.2522, 0.3638),
        "Wald with continuity correction": (0.2503, 0.3657),
        "Wilson": (0.2553, 0.3662),
        "Wilson with continuity correction": (0.2535, 0.3682),
        "Clopper-Pearson": (0.2527, 0.3676),
    },
    (15, 148): {
        "Wilson": (0.0624, 0.1605),
        "Wilson with continuity correction": (0.0598, 0.1644),
        "Clopper-Pearson": (0.0578, 0.1617),
    },
    (0, 20): {"Wilson": (0.0, 0.1611), "Clopper-Pearson": (0.0, 0.1684)},
    (1, 29): {"Wilson": (0.0061, 0.1718), "Clopper-Pearson": (0.0009, 0.1776)},
}


def hazard_ratio(estimate: str, low: str, high: str, p: str | None = None, **more):
    return material(
        [
            {
                "kind": "hazard_ratio",
                "contrast": {"numerator": "new", "denominator": "old"},
                "estimate": estimate,
                "ci": [low, high],
                **({"p": p} if p else {}),
                **more,
            }
        ]
    )


@pytest.mark.parametrize("counts", NEWCOMBE)
def test_intervals_of_proportions_are_the_published_ones(counts):
    intervals = proportion_intervals(*counts, 0.95)
    for name, expected in NEWCOMBE[counts].items():
        assert [round(bound, 4) for bound in intervals[name]] == pytest.approx(expected)


def test_the_p_value_of_an_interval_is_the_published_one():
    # Altman & Bland (2011), BMJ 343:d2304: 0.81 (0.70 to 0.94) has P = 0.005
    assert found(hazard_ratio("0.81", "0.70", "0.94", "0.005")) == []
    assert kinds(found(hazard_ratio("0.81", "0.70", "0.94", "0.05"), "CI-P")) == {
        ("CI-P", "error")
    }


def test_a_p_value_that_contradicts_its_interval_is_an_error_with_all_roundings_shown():
    (finding,) = found(hazard_ratio("0.422", "0.18", "0.94", ".003"), "CI-P")
    assert finding.level == "error"
    assert finding.check.printed == "0.422 (0.18 to 0.94), p = .003"
    assert finding.check.recomputed == (
        "p = 0.037 to 0.045; p .003 would need the interval 0.239 to 0.746"
    )


@pytest.mark.parametrize(
    "row",
    [
        ("0.185", "0.04", "0.75", ".019"),  # coarse bounds explain it
        ("0.212", "0.08", "0.57", ".002"),
        ("0.146", "0.05", "0.37", "<.001"),
        ("0.74", "0.55", "0.99", "0.040"),  # log-rank beside Cox: 0.042
        ("0.90", "0.70", "1.16", ">0.05"),
    ],
)
def test_p_values_that_rounding_or_another_test_explains_are_not_reported(row):
    assert found(hazard_ratio(*row), "CI-P", "CI-LEVEL") == []


@given(
    st.floats(-2, 2),
    st.floats(0.05, 1.0),
    st.integers(2, 4),
    st.sampled_from(LEVELS),
)
def test_wald_intervals_with_their_p_values_never_raise_an_alarm(log, se, decimals, level):
    estimate, low, high = (
        f"{math.exp(log + sign * Z[level] * se):.{decimals}f}" for sign in (0, -1, 1)
    )
    p = math.erfc(abs(log) / se / math.sqrt(2))
    text = f"{p:.3f}" if p >= 0.001 else "<.001"
    if float(low) == 0:
        return
    study = hazard_ratio(estimate, low, high, text, ci_level=str(level))
    assert found(study, "CI-P", "GEO-MID", "CI-LEVEL", "P-BOUNDS") == []


def test_an_estimate_off_the_middle_is_a_warning_and_far_off_an_error():
    assert found(hazard_ratio("0.85", "0.59", "1.23"), "GEO-MID") == []
    assert kinds(found(hazard_ratio("0.146", "0.05", "0.37"), "GEO-MID")) == {
        ("GEO-MID", "warning")
    }
    # a point displaced: 0.85 (0.59 to 12.3)
    assert kinds(found(hazard_ratio("0.85", "0.59", "12.3"), "GEO-MID")) == {
        ("GEO-MID", "error")
    }


def proportion(events: str, n: str, text: str, low: str, high: str, **more):
    value = {"events": events, "n": n, "printed": text, "ci": [low, high]}
    return material(
        [{"unit": "per cent", "arms": {"all": value}, **more}],
        arms=[{"id": "all", "n": n, "treatment": "x"}],
    )


@pytest.mark.parametrize(
    ("row", "method"),
    [
        (("32", "63", "50.8", "37.9", "63.6"), "Clopper-Pearson"),  # Amoroso 2017
        (("9", "17", "52.9", "29.2", "76.7"), "Wald"),  # Mody 2020
        (("13", "36", "36.1", "20.4", "51.8"), "Wald"),
        (("15", "148", "10.1", "6.24", "16.05"), "Wilson"),  # Newcombe 1998
    ],
)
def test_the_method_of_an_interval_is_told_from_its_digits(row, method):
    report = audit(
        Review(None, (proportion(*row),)), rules={r.id: r for r in RULES if r.id == "CI-METHOD"}
    )
    (finding,) = report.findings
    assert finding.check.verdict == "consistent"
    assert method in finding.check.explanation


def test_an_interval_of_another_level_is_recognised():
    low, high = proportion_intervals(32, 63, 0.90)["Clopper-Pearson"]
    study = proportion("32", "63", "50.8", f"{100 * low:.1f}", f"{100 * high:.1f}")
    assert ("CI-LEVEL", "warning") in kinds(found(study))
    stated = proportion(
        "32", "63", "50.8", f"{100 * low:.1f}", f"{100 * high:.1f}", ci_level="0.9"
    )
    assert found(stated) == []


def test_an_interval_of_another_level_is_told_by_the_standard_error():
    rows = [{"estimate": "0.81", "ci_low": "0.72", "ci_high": "0.92", "sei": "0.0752"}]
    assert ("CI-LEVEL", "error") in kinds(found(table(rows, "HR")))
    rows[0] |= {"ci_level": "0.90"}
    assert found(table(rows, "HR")) == []


def test_ratios_and_standard_errors_beyond_reason_are_warnings():
    # study 17 of Riley et al. (2003)
    assert kinds(found(table([{"yi": "5.70", "sei": "1.73"}], "HR"))) == {
        ("EXTREME", "warning")
    }
    assert found(table([{"yi": "5.70", "sei": "1.73"}], "MD"), "EXTREME") == []


@pytest.mark.parametrize("p", ["1.2", "-0.04", "3"])
def test_a_p_value_beyond_its_bounds_is_an_error(p):
    assert ("P-BOUNDS", "error") in kinds(found(table([{"pval": p}])))


def test_a_table_of_ratios_is_recognised_without_a_measure():
    rows = [
        {"estimate": f"{math.exp(y):.2f}", "ci_low": f"{math.exp(y - 0.8):.2f}",
         "ci_high": f"{math.exp(y + 0.8):.2f}"}
        for y in (-0.5, -0.2, 0.1, 0.4)
    ]  # fmt: skip
    assert found(table(rows)) == []
    assert verdict(table(rows, "MD"), "GEO-MID") == "inconsistent"


def test_a_lower_bound_that_rounds_to_nothing_says_nothing():
    row = {"estimate": "0.06", "ci_low": "0.00", "ci_high": "2.10", "pval": "0.12"}
    assert found(table([row], "HR"), "CI-P", "GEO-MID", "CI-LEVEL") == []


@given(st.data())
def test_the_exact_interval_has_its_tails(data):
    n = data.draw(st.integers(1, 80))
    k = data.draw(st.integers(0, n))
    low, high = proportion_intervals(k, n, 0.95)["Clopper-Pearson"]

    def at_least(j, p):
        return math.fsum(math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(j, n + 1))

    assert low <= k / n <= high
    assert low == 0 if k == 0 else at_least(k, low) == pytest.approx(0.025, abs=1e-8)
    assert high == 1 if k == n else 1 - at_least(k + 1, high) == pytest.approx(0.025, abs=1e-8)


@pytest.mark.parametrize(
    ("kind", "estimate", "low", "high", "p"),
    [
        # 1/50 v 15/50: Wald interval of the odds ratio, Pearson's and Fisher's test
        ("odds_ratio", "0.05", "0.01", "0.38", "0.0001"),
        ("odds_ratio", "0.048", "0.006", "0.378", "0.0002"),
        # 6/6 v 11/24: Wald interval of the risk ratio, Fisher's test
        ("risk_ratio", "2.18", "1.41", "3.37", "0.024"),
        # 12/15 v 7/7: half an event added, Fisher's test
        ("risk_ratio", "0.800", "0.621", "1.030", "0.523"),
        # 5/6 v 2/12: exact interval, mid-p
        ("odds_ratio", "19.21", "1.30", "1295.30", "0.007"),
        # 20 survival times, 15 events: profile likelihood, one-sided log-rank test
        ("hazard_ratio", "7.638", "1.889", "51.513", "0.002"),
    ],
)
def test_another_usual_test_or_interval_is_no_error(kind, estimate, low, high, p):
    one = hazard_ratio(estimate, low, high, p, kind=kind)
    assert "error" not in {level for _, level in kinds(found(one))}


def test_a_p_value_of_another_hypothesis_is_undecided():
    quote = "HR 1.02 (0.89 to 1.17), P<.001 for noninferiority"
    one = hazard_ratio("1.02", "0.89", "1.17", "<.001", quote=quote)
    assert verdict(one, "CI-P") == "undecided"
    assert kinds(found(hazard_ratio("1.02", "0.89", "1.17", "<.001"))) == {("CI-P", "error")}
