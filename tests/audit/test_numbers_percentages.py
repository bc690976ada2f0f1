"""Percentages against counts: no alarm where rounding explains the print, all others found."""

from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.auditing import found, kinds, material, table, verdict

from evisynth.audit.counting import cut, rounded
from evisynth.printed import parse_printed

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def printed(k: int, n: int, decimals: int, rounding: str) -> str:
    exact = Decimal(100 * k) / Decimal(n)
    return str(exact.quantize(Decimal(1).scaleb(-decimals), rounding))


@given(
    COUNTS,
    st.integers(0, 3),
    st.sampled_from([ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_HALF_DOWN]),
)
def test_every_way_of_rounding_a_true_percentage_is_accepted(counts, decimals, rounding):
    k, n = counts
    assert k in rounded(parse_printed(printed(k, n, decimals, rounding)), n)


@given(COUNTS, st.integers(0, 3))
def test_a_cut_off_percentage_is_recognised(counts, decimals):
    k, n = counts
    assert k in cut(parse_printed(printed(k, n, decimals, ROUND_DOWN)), n)


@given(st.integers(1, 200), st.integers(0, 2), st.data())
def test_the_counts_are_those_of_the_definition(n, decimals, data):
    units = data.draw(st.integers(0, 100 * 10**decimals))
    text = str(Decimal(units).scaleb(-decimals))
    half = Fraction(1, 2 * 10**decimals)
    expected = [
        k
        for k in range(n + 1)
        if abs(Fraction(100 * k, n) - Fraction(units, 10**decimals)) <= half
    ]
    assert list(rounded(parse_printed(text), n)) == expected


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("<5%", 20, [0]),  # 1 of 20 is 5 %, which is not below
        ("≤5%", 20, [0, 1]),
        (">90%", 10, [10]),
        ("≥90%", 10, [9, 10]),
    ],
)
def test_bounds_instead_of_percentages_are_what_they_say(text, n, expected):
    assert list(rounded(parse_printed(text), n)) == expected


def arm(**value):
    return [{"arms": {"few": value}}]


def test_an_impossible_percentage_is_an_error_with_its_neighbours_and_the_exchanged_digits():
    (finding,) = found(material(arm(printed="51.7%")), "GRIM")
    assert finding.level == "error"
    assert finding.check.printed == "51.7% of 7"
    assert finding.check.recomputed == "3/7 = 42.9%, 4/7 = 57.1%"
    assert "57.1% = 4/7" in finding.check.explanation
    assert finding.check.place.text == "results.orr.arms.few"


def test_a_percentage_says_nothing_where_its_digits_are_too_few_for_the_size():
    assert verdict(table([{"percenti": "52", "ni": "67"}]), "GRIM") == "undecided"
    assert verdict(table([{"percenti": "52.2", "ni": "67"}]), "GRIM") == "consistent"
    # what is impossible stays so: 25/48 is 52.1 and 26/48 54.2
    assert verdict(table([{"percenti": "53", "ni": "48"}]), "GRIM") == "inconsistent"


def test_a_percentage_that_only_cut_off_digits_explain_is_a_note_and_no_error():
    study = material([{"arms": {"all": {"events": "21", "n": "49", "printed": "42.8%"}}}])
    assert kinds(found(study, "GRIM", "COUNT-PERCENT", "TRUNCATED")) == {("TRUNCATED", "note")}


def test_a_count_that_does_not_print_its_percentage_is_an_error_with_the_size_that_does():
    study = material([{"arms": {"all": {"events": "2", "printed": "4.2%"}}}])
    (finding,) = found(study)
    assert (finding.rule, finding.level) == ("COUNT-PERCENT", "error")
    assert "n = 48: 2/48 = 4.2%" in finding.check.explanation


def test_percentages_that_were_made_to_add_up_are_a_note():
    study = material(
        [
            {
                "arms": {"all": {"events": "16", "n": "66", "printed": "24.3%"}},
                "parts": {"cr": "12", "pr": "4"},
            },
            {"id": "cr", "arms": {"all": {"events": "12", "n": "66", "printed": "18.2%"}}},
            {"id": "pr", "arms": {"all": {"events": "4", "n": "66", "printed": "6.1%"}}},
        ],
        arms=[{"id": "all", "n": "67", "treatment": "x"}],
    )
    (finding,) = found(study)
    assert (finding.rule, finding.level) == ("COUNT-PERCENT", "note")
    assert "18.2 + 6.1 = 24.3" in finding.check.explanation


def test_a_part_that_was_raised_to_reach_the_total_is_a_note_but_a_wrong_count_is_not():
    def study(events: str):
        values = {"orr": ("32", "50.8%"), "cr": (events, "6.4%"), "pr": ("28", "44.4%")}
        return material(
            [
                {
                    "id": name,
                    "arms": {"all": {"events": k, "n": "63", "printed": text}},
                    **({"parts": {"cr": "4", "pr": "28"}} if name == "orr" else {}),
                }
                for name, (k, text) in values.items()
            ],
            arms=[{"id": "all", "n": "63", "treatment": "x"}],
        )

    assert kinds(found(study("4"), "COUNT-PERCENT")) == {("COUNT-PERCENT", "note")}
    assert kinds(found(study("5"), "COUNT-PERCENT")) == {("COUNT-PERCENT", "error")}


def test_a_derived_count_must_be_the_only_one():
    derived = {"from": "the percentage", "method": "unique_integer"}

    def study(events: str, text: str, n: str):
        value = {"events": events, "n": n, "printed": text, "derived": derived}
        return material(
            [{"arms": {"all": value}}], arms=[{"id": "all", "n": "160", "treatment": "x"}]
        )

    assert found(study("5", "71.4%", "7")) == []
    assert ("GRIM", "error") in kinds(found(study("4", "71.4%", "7")))
    (finding,) = found(study("42", "26%", "160"), "GRIM-UNIQUE")
    assert finding.level == "error"
    assert finding.check.recomputed == "41/160 = 26%, 42/160 = 26%"


def test_a_kaplan_meier_value_is_not_held_against_integers():
    study = material([{"kind": "km_probability", "arms": {"few": {"printed": "51.7%"}}}])
    assert found(study) == []
    assert verdict(study, "GRIM") == ""


@pytest.mark.parametrize(
    ("cells", "hint"),
    [
        ({"xi": "13", "ni": "43", "percenti": "69.8"}, "percentage of the others"),
        ({"xi": "30", "ni": "43", "percenti": "30"}, "the percentage itself"),
        ({"xi": "13", "ni": "43", "percenti": "32.6"}, "14/43 = 32.6% would fit"),
        ({"xi": "13", "ni": "43", "percenti": "31.0"}, "13/42 = 31.0%"),
        ({"xi": "13", "ni": "43", "percenti": "32.0"}, "13/43 = 30.2%"),
    ],
)
def test_a_contradiction_comes_with_the_mistake_that_would_explain_it(cells, hint):
    (finding,) = found(table([cells]), "COUNT-PERCENT")
    assert hint in finding.check.explanation
