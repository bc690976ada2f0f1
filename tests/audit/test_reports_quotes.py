"""Quotes: they hold the numbers, and the stored texts hold them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.studies import checks, failures, review, study

from evisynth.audit.texts import numbers_in

RESULT = """\
  - outcome: orr
    arms: {{new: {{{new}}}, old: {{events: 3}}}}
    report: r
    quote: {quote}
"""


def material(tmp_path, new, quote, **stored):
    found = review(
        tmp_path, study("one", RESULT.format(new=new, quote=quote)), stored={"one": stored}
    )
    return found.studies[0]


@pytest.mark.parametrize(
    "quote",
    [
        "8 of 20 (40%) and 3 of 18",
        "Eight (40.0%) v three",
        "eight of twenty [40·0%] and 3",
        "responses: 3, 8 (40%)",
        "8/20 (40 %) v 3/18",
        "８ of 20 (40,0 %) and 3",
    ],
)
def test_a_number_may_be_spelled_in_many_ways(tmp_path, quote):
    one = material(tmp_path, 'events: 8, printed: "40%"', f'"{quote}"')
    assert not failures("QUOTE", one)


@pytest.mark.parametrize(
    ("new", "quote"),
    [
        ("events: 0", "none of 20 and 3 of 18"),
        ("events: 20", "all in the new group, and 3 of 18"),
        ('events: 10, printed: "50%"', "half in the new group, and 3 of 18"),
        ('events: 8, printed: "40%"', "twelve of 20 did not (60%), and 3 of 18"),
        ("events: 8", "acht von zwanzig und 3 von 18"),
        ("events: 8", "40% of 20 patients, and 3 of 18"),
        ("events: 8", "12 of 20 did not respond, nor did 15; 3 of 18 did"),
        ('events: 8, printed: "40%"', "8 of 20 (0.40) and 3"),
    ],
)
def test_a_number_that_may_be_said_in_other_words_is_undecided(tmp_path, new, quote):
    one = material(tmp_path, new, f'"{quote}"')
    assert not failures("QUOTE", one)
    undecided = [c for c in checks("QUOTE", one) if c.verdict == "undecided"]
    assert [c.place.text for c in undecided if c.place.arms] == ["results.orr.arms.new"]


@pytest.mark.parametrize(
    ("new", "quote", "missing"),
    [
        ("events: 8", "18 of 20 and 3 of 18", "events 8"),
        ('events: 8, printed: "40%"', "8 of 20 (4.0%) and 3", "printed 40%"),
        ('events: 8, n: 19, printed: "42%"', "8 (42%) and 3 of 18", "n 19"),
        ("events: 21, n: 23, unit: tumours", "twenty-two of 23 and 3", "events 21"),
    ],
)
def test_a_number_that_is_not_in_the_quote_is_an_error_of_its_arm(
    tmp_path, new, quote, missing
):
    (check,) = failures("QUOTE", material(tmp_path, new, quote))
    assert check.printed == missing
    assert (check.place.results, check.place.arms) == (("orr",), ("new",))
    assert "3" in check.recomputed


def test_derived_counts_and_sizes_of_arms_need_not_be_printed(tmp_path):
    derived = "derived: {from: 40% of 20, method: unique_integer}"
    one = material(tmp_path, f'events: 8, n: 20, printed: "40%", {derived}', "40% and three")
    assert not failures("QUOTE", one)


def test_a_probability_may_be_the_printed_percentage(tmp_path):
    text = """\
  - outcome: orr
    kind: km_probability
    arms: {new: {printed: "44%", estimate: "0.44"}, old: {printed: "27%", estimate: "0.28"}}
    report: r
    quote: 44% and 27%
"""
    found = review(tmp_path, study("one", text)).studies[0]
    (check,) = failures("QUOTE", found)
    assert check.printed == "estimate 0.28"
    assert check.place.arms == ("old",)


def test_effects_with_intervals_and_p_values_are_looked_for(tmp_path):
    text = """\
  - outcome: death
    kind: hazard_ratio
    contrast: {numerator: new, denominator: old}
    estimate: "0.212"
    ci: ["0.08", "0.57"]
    p: "<.001"
    report: r
    quote: "0.212 .001 0.08-0.75"
"""
    (check,) = failures("QUOTE", review(tmp_path, study("one", text)).studies[0])
    assert check.printed == "ci 0.57"


def test_without_a_stored_text_one_check_per_report_says_so(tmp_path):
    one = material(tmp_path, "events: 8", "8 and 3")
    (check,) = [check for check in checks("QUOTE", one) if check.verdict == "undecided"]
    assert (check.place.text, check.printed) == ("reports.r", "1 quote")


def test_a_quote_is_looked_up_with_white_space_folded(tmp_path):
    one = material(tmp_path, "events: 8", "8  of 20, and 3", r="so 8 of 20, and 3 of 18 did")
    found = [check for check in checks("QUOTE", one) if check.recomputed == "verbatim"]
    assert [check.verdict for check in found] == ["consistent"]


def test_other_words_than_those_of_the_text_are_an_error(tmp_path):
    one = material(tmp_path, "events: 8", "8 of 20 and 3 of 18", r="8 of 20 and 3 of 19")
    (check,) = failures("QUOTE", one)
    assert check.place.results == ("orr",)
    assert "does not stand in the text" in check.explanation


@given(st.integers(0, 99))
def test_numbers_in_words_are_read(value):
    ones = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen"
    ).split()
    tens = ". . twenty thirty forty fifty sixty seventy eighty ninety".split()
    word = ones[value] if value < 20 else tens[value // 10]
    if value >= 20 and value % 10:
        word += "-" + ones[value % 10]
    assert numbers_in(f"{word.capitalize()} of them") == {float(value)}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.08-0.57", {0.08, 0.57}),
        ("65/67 episodes (97%)", {65, 67, 97}),
        ("1,234 patients", {1234, 1, 234}),
        ("P<.001", {0.001}),
        ("CI95 6.40–11.60", {95, 6.4, 11.6}),
        ("someone, often, tenfold", set()),
        ("1\u202f234 and 0,05", {1, 234, 1234, 0, 5, 0.05}),
        ("3.2 × 10⁻⁴", {3.2, 10, 4, 0.00032}),
        ("one hundred and twenty-three", {1, 23, 123}),
    ],
)
def test_numbers_in_digits_are_read(text, numbers):
    assert numbers_in(text) == numbers


@given(st.text(max_size=300))
def test_any_text_can_be_read(text):
    assert all(value >= 0 for value in numbers_in(text))
