"""Counts that a percentage allows, and groups that share their total."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.materials import arms, checks, failures, level, result, study

from evisynth.audit.counting import cut, digits, listed, rounded, share, spread
from evisynth.audit.partitions import Constraint, bits, counts_of, members, propagate
from evisynth.printed import parse_printed


def printed(events, n, decimals, how):
    step = Decimal(1).scaleb(-decimals)
    return str((Decimal(100 * events) / Decimal(n)).quantize(step, rounding=how)) + "%"


@given(st.integers(1, 300), st.data())
@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_every_count_is_among_those_that_its_percentage_allows(decimals, n, data):
    events = data.draw(st.integers(0, n))
    for how in (ROUND_HALF_UP, ROUND_HALF_EVEN):
        assert events in rounded(parse_printed(printed(events, n, decimals, how)), n)
    assert events in cut(parse_printed(printed(events, n, decimals, ROUND_DOWN)), n)


@given(st.integers(1, 60), st.integers(0, 1000))
def test_a_count_is_allowed_only_if_its_share_is_within_half_a_digit(n, tenths):
    percent = parse_printed(f"{tenths // 10}.{tenths % 10}")
    fitting = [k for k in range(n + 1) if abs(Decimal(1000 * k) - tenths * n) * 2 <= n]
    assert list(rounded(percent, n)) == fitting
    assert list(cut(percent, n)) == [k for k in range(n + 1) if 1000 * k // n == tenths]


def test_a_half_may_be_rounded_either_way_and_nothing_is_a_share_of_nobody():
    assert list(rounded(parse_printed("12%"), 8)) == [1]
    assert list(rounded(parse_printed("13%"), 8)) == [1]
    assert list(rounded(parse_printed("51.7%"), 7)) == []
    assert list(rounded(parse_printed("0%"), 0)) == list(cut(parse_printed("0%"), 0)) == []


def test_digits_that_tell_something_leave_out_leading_and_trailing_zeros():
    texts = ("0.034", "10", "12", "0", "0.10", "100%", "<.001", "1.50e3")
    assert [digits(parse_printed(text)) for text in texts] == [2, 1, 2, 0, 2, 1, 1, 3]


def test_lists_and_shares_read_as_sentences():
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(range(20), most=3) == "0, 1, 2 and 17 more"
    assert share(4, 7) == "4/7 = 57.1%"
    assert spread([3, 4]) == "3 or 4"
    assert spread(list(range(9))) == "0 to 8"


@given(st.data())
def test_propagation_leaves_exactly_the_values_of_the_solutions(data):
    size = st.sets(st.integers(0, 6), min_size=1)
    domains = {arm: data.draw(size) for arm in "tabcd"}
    domains["t"] = data.draw(st.sets(st.integers(0, 14), min_size=1))
    slack = st.integers(0, 2)
    first = Constraint("t", ("a", "b"), data.draw(slack), data.draw(slack))
    second = Constraint("t", ("c", "d"), data.draw(slack), data.draw(slack))

    def holds(values, constraint):
        rest = values[constraint.of] - sum(values[arm] for arm in constraint.into)
        return -constraint.less <= rest <= constraint.more

    solutions = [
        values
        for chosen in product(*domains.values())
        if holds(values := dict(zip(domains, chosen, strict=True)), first)
        and holds(values, second)
    ]
    found = propagate({arm: bits(sorted(v)) for arm, v in domains.items()}, [first, second])
    if not solutions:
        assert found is None
    else:
        assert {arm: members(v) for arm, v in found.items()} == {
            arm: sorted({values[arm] for values in solutions}) for arm in domains
        }


SIZES = {"all": 67, "refractory": 7, "relapse": 60, "first": 44, "later": 23}
SPLITS = [
    {"of": "all", "into": ["refractory", "relapse"]},
    {"of": "all", "into": ["first", "later"]},
]


def two_splits(refractory="57.1%", relapse="16.7%", first="31.8%", later="0%", **more):
    results = [
        result("by_type", {"refractory": refractory, "relapse": relapse}, **more),
        result("by_number", {"first": first, "later": later}, **more),
    ]
    return study(SIZES, results, splits=SPLITS)


def test_groups_with_a_common_total_pass_and_say_which():
    found = checks("PARTITION", two_splits())
    assert {check.verdict for check in found} == {"consistent"}
    assert found[-1].recomputed == "total 14 of 67"


def test_an_impossible_percentage_is_shown_beside_the_only_consistent_count():
    [check] = failures("PARTITION", two_splits("51.7%"))
    assert check.printed == "51.7% of 7"
    assert check.recomputed == "4/7 = 57.1%; total 14 of 67"
    assert "the only consistent count is 4/7 = 57.1% (printed 51.7%)" in check.explanation
    assert check.place.results == ("by_type",)
    assert check.place.arms == ("refractory",)


def test_the_implied_count_is_used_for_tests_but_the_file_is_left_as_it_is():
    material = two_splits("51.7%")
    assert counts_of(material)["by_type", "refractory"] == (4, 7)
    value = material.results["by_type"].arms["refractory"]
    assert (value.printed, value.events) == ("51.7%", None)


def test_an_impossible_percentage_without_a_unique_repair_is_undecided():
    material = study(
        SIZES, [result("a", {"refractory": "51.7%", "relapse": "16.7%"})], splits=SPLITS[:1]
    )
    [check] = [c for c in checks("PARTITION", material) if c.verdict == "undecided"]
    assert "leave 8 counts" in check.explanation


def test_possible_percentages_without_a_common_total_are_all_in_doubt():
    [check] = failures("PARTITION", two_splits(relapse="18.3%"))
    assert set(check.place.results) == {"by_type", "by_number"}
    assert "relapse 10 of 60" in check.recomputed
    assert level("PARTITION", check) == "error"


@pytest.mark.parametrize("unknown", [0, 1, 2])
def test_units_whose_group_is_unknown_may_have_had_the_event(unknown):
    sizes = {"all": 20, "a": 12, "b": 8, "c": 9, "d": 11 - unknown}
    results = [
        result("one", {"a": {"events": 6}, "b": {"events": 4}}),
        result("two", {"c": {"events": 5}, "d": {"events": 4}}),
    ]
    splits = [
        {"of": "all", "into": ["a", "b"]},
        {"of": "all", "into": ["c", "d"], "unknown": unknown},
    ]
    found = failures("PARTITION", study(sizes, results, splits=splits))
    assert bool(found) == (unknown == 0)


def test_a_wrong_group_is_named_where_only_a_union_of_groups_fits():
    sizes = {"known": 64, "both": 10, "one": 20, "none": 34}
    splits = [{"of": "known", "into": ["both", "one", "none"]}]
    results = [
        result("os", {"both": "70%", "none": "25.9%"}),
        result("os_one", {"both": "70%", "one": "30%"}),
        result("efs", {"both": "70%", "none": "13%"}, outcome="efs"),
        result("efs_one", {"both": "70%", "one": "10%"}, outcome="efs"),
    ]
    material = study(sizes, results, splits=splits)
    found = {check.place.results: check for check in failures("PARTITION", material)}
    assert found["os",].recomputed == "14/54 = 25.9% of none + one"
    assert found["efs",].recomputed == "7/54 = 13.0% of none + one"
    assert counts_of(material)["os", "none"] == (14, 54)


def test_a_percentage_whose_digits_were_cut_off_is_no_error():
    results = [
        result("whole", {"all": "32%"}),  # 22 of 67 is 32.8
        result("parts", {"first": {"events": 20}, "later": {"events": 2}}),
    ]
    assert not failures("PARTITION", study(SIZES, results, splits=SPLITS))


def test_different_outcomes_times_and_survival_probabilities_are_not_compared():
    results = [
        result("a", {"refractory": "57.1%", "relapse": "16.7%"}),
        result("b", {"first": "31.8%", "later": "8.7%"}, when="at two years"),
        result("c", {"first": "45.5%", "later": "8.7%"}, kind="km_probability"),
        result("d", {"first": "45.5%", "later": "8.7%"}, outcome="efs"),
    ]
    assert not failures("PARTITION", study(SIZES, results, splits=SPLITS))


def test_missing_evaluations_widen_the_total():
    sizes = {"all": 20, "a": 12, "b": 8}
    splits = [{"of": "all", "into": ["a", "b"]}]
    results = [
        result("whole", {"all": {"events": 9, "n": 18}}),
        result("parts", {"a": {"events": 6}, "b": {"events": 5}}),
    ]
    assert not failures("PARTITION", study(sizes, results, splits=splits))
    results[0]["arms"]["all"] = {"events": 9, "n": 20}
    assert failures("PARTITION", study(sizes, results, splits=splits))


def test_groups_larger_than_the_whole_are_an_error_and_smaller_ones_a_question():
    splits = [{"of": "all", "into": ["a", "b"]}]
    results = [result("os", {"a": {"events": 3}})]
    [large] = failures("PARTITION", study({"all": 20, "a": 12, "b": 9}, results, splits=splits))
    assert large.recomputed == "12 + 9 = 21"
    assert large.place.results == ("os",)
    small = study({"all": 20, "a": 12, "b": 6}, results, splits=splits)
    assert [check.verdict for check in checks("PARTITION", small)] == ["undecided"]


@given(st.data())
@pytest.mark.parametrize("how", [ROUND_HALF_UP, ROUND_HALF_EVEN])
def test_percentages_of_true_counts_never_fail(how, data):
    n = data.draw(st.integers(10, 200))
    cells, splits, results = {}, [], []
    dead = [data.draw(st.booleans()) for _ in range(n)]
    for i in range(3):
        cutting = data.draw(st.integers(1, n - 1))
        order = data.draw(st.permutations(range(n))) if n < 40 else list(range(n))
        names = f"a{i}", f"b{i}"
        groups = order[:cutting], order[cutting:]
        cells |= {name: len(group) for name, group in zip(names, groups, strict=True)}
        splits.append({"of": "all", "into": list(names)})
        decimals = data.draw(st.integers(0, 2))
        values = {
            name: printed(sum(dead[j] for j in group), len(group), decimals, how)
            for name, group in zip(names, groups, strict=True)
        }
        results.append(result(f"r{i}", values))
    material = study(arms(all=n, **cells), results, splits=splits)
    assert not failures("PARTITION", material)


def test_groups_of_absurd_size_are_left_out_in_no_time():
    sizes = {"all": 10**9, "a": 10**9 - 5, "b": 5}
    results = [
        result("os", {"a": "48%", "b": "40%"}, p="0.03"),
        result("whole", {"all": "48%"}),
        result("sum", {"all": {"events": 10**9}}),
    ]
    splits = [{"of": "all", "into": ["a", "b"]}]
    sums = [{"parts": ["os", "whole"], "total": "sum"}, {"parts": ["whole", "sum"]}]
    material = study(sizes, results, splits=splits, sums=sums)
    assert not failures("PARTITION", material)
    assert [c.verdict for c in checks("SUM-PARTS", material)] == ["undecided"]
    assert not checks("P-FINGERPRINT", material)
