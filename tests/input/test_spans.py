"""How exactly the numbers of study files are printed, in the direction of the analysis."""

import pytest

ALPHA, CONFIG = "studies/alpha.yaml", "config.yaml"


def test_a_printed_effect_has_the_span_of_its_digits(review):
    (row,) = review.rows("hazard")
    assert row.spans == {
        "estimate": (1.95, 2.05),
        "ci_low": (0.95, 1.05),
        "ci_high": (3.95, 4.05),
    }


def test_an_inverted_effect_has_the_reciprocal_span(review):
    review.change(
        ALPHA,
        "numerator: exposed, denominator: not  exposed",
        "numerator: not exposed, denominator: exposed",
    )
    (row,) = review.rows("hazard")
    assert row.numbers["ci_low"] == 0.25
    assert row.spans == {
        "estimate": (1 / 2.05, 1 / 1.95),
        "ci_low": (1 / 4.05, 1 / 3.95),
        "ci_high": (1 / 1.05, 1 / 0.95),
    }


def test_counts_that_are_printed_have_none(review):
    assert all(not row.spans and not row.choices for row in review.rows("response"))


def test_a_count_that_a_percentage_does_not_fix_has_alternatives(review):
    review.change(ALPHA, "{id: N, n: 20,", "{id: N, n: 400,")
    review.change(
        ALPHA,
        'N: {events: 8, n: 20, printed: "40%"}',
        'N: {events: 160, n: 400, printed: "40%", derived: {from: 40%, method: rounding}}',
    )
    row = next(row for row in review.rows("response") if row.study == "alpha")
    # 39.5 % to 40.5 % of 400
    assert row.choices == {"xi": (158.0, 159.0, 160.0, 161.0, 162.0)}


def test_survival_in_per_cent_is_spanned_as_a_fraction(review):
    review.change(
        ALPHA,
        "$",
        "  - id: os\n    outcome: death\n    kind: km_probability\n    unit: '%'\n"
        "    report: a1\n    quote: 60 (40.5 to 75.5)\n"
        "    arms: {N: {estimate: '60', ci: ['40.5', '75.5']}}\n",
    )
    review.keep("response")
    review.change(CONFIG, "    outcome: orr", "    outcome: death")
    review.change(CONFIG, "measure: PLO", "measure: SCLL")
    (row,) = [row for row in review.rows("response") if row.included]
    assert row.numbers["estimate"] == 0.6
    assert row.spans["estimate"] == (0.595, 0.605)
    assert row.spans["ci_low"] == pytest.approx((0.4045, 0.4055), abs=1e-15)


def test_zeros_that_are_printed_count(review):
    review.change("table.csv", "two,0.3,", "two,0.30,")
    rows = {row.study: row.spans["yi"] for row in review.rows("tabled")}
    assert rows["two"] == (0.295, 0.305)
    assert rows["one"] == (0.45, 0.55)
