"""Parts and totals: counts, percentages, rounded sums."""

import pytest
from support.materials import checks, failures, level, result, study


def responses(n=66, **events):
    return [
        result(name, {"all": {"events": k, "n": n}}, outcome=name) for name, k in events.items()
    ]


def whole(results, size=66, **more):
    return study({"all": size}, results, **more)


def test_declared_categories_add_up_to_the_total_or_to_n():
    results = responses(cr=12, pr=4, sd=7, pd=43, sum_=16)
    sums = [{"parts": ["cr", "pr"], "total": "sum_"}, {"parts": ["cr", "pr", "sd", "pd"]}]
    found = checks("SUM-PARTS", whole(results, sums=sums))
    assert [c.verdict for c in found] == ["consistent"] * 2


def test_rows_that_exclude_each_other_and_exceed_n_are_an_error():
    results = responses(65, a=20, b=15, c=33)
    [check] = failures("SUM-PARTS", whole(results, 65, sums=[{"parts": ["a", "b", "c"]}]))
    assert check.printed == "20 + 15 + 33"
    assert check.recomputed == "68, not n 65"
    assert check.place.results == ("a", "b", "c")
    assert level("SUM-PARTS", check) == "error"


def test_a_sum_of_percentages_allows_every_count_that_prints_them():
    results = [
        result("a", {"all": "12%"}, outcome="a"),  # of 150: 18 only; 13%: 19 or 20
        result("b", {"all": "13%"}, outcome="b"),
        *responses(150, c=38),
    ]
    sums = [{"parts": ["a", "b"], "total": "c"}]
    assert not failures("SUM-PARTS", whole(results, 150, sums=sums))
    results[-1]["arms"]["all"]["events"] = 40
    assert failures("SUM-PARTS", whole(results, 150, sums=sums))


def test_a_part_without_a_number_leaves_the_sum_undecided_unless_it_is_exceeded():
    results = [*responses(a=12, c=16), result("b", {"all": {}}, outcome="b")]
    sums = [{"parts": ["a", "b"], "total": "c"}]
    [check] = checks("SUM-PARTS", whole(results, sums=sums))
    assert check.verdict == "undecided"
    results[0]["arms"]["all"]["events"] = 17
    assert failures("SUM-PARTS", whole(results, sums=sums))


@pytest.mark.parametrize(("pr", "fails"), [(4, False), (5, True)])
def test_parts_of_a_result_add_up_and_agree_with_their_own_result(pr, fails):
    total = result("orr", {"all": {"events": 16, "n": 66}}, outcome="orr")
    results = [total | {"parts": {"cr": 12, "pr": pr}}, *responses(cr=12, pr=4)]
    found = failures("SUM-PARTS", whole(results))
    assert bool(found) == fails
    if fails:
        assert {c.explanation for c in found} == {
            "the parts cr and pr add up to 17, not to 16",
            "pr is 4 on its own and 5 as a part of orr",
        }


def test_parts_may_be_those_of_n_and_need_an_arm_to_be_judged():
    one = result("x", {"all": {"events": 3, "n": 66}}) | {"parts": {"a": 60, "b": 6}}
    assert not failures("SUM-PARTS", whole([one]))
    two = result("x", {"a": {"events": 3}, "b": {"events": 4}}) | {"parts": {"p": 5, "q": 1}}
    [check] = checks("SUM-PARTS", study({"a": 9, "b": 9}, [two]))
    assert check.verdict == "undecided"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ({"cr": 12, "pr": 4, "orr": 16}, None),
        ({"cr": 12, "pr": 4, "orr": 15}, "error"),
        ({"cr": 12, "pr": 4, "orr": 18}, "warning"),  # may count a category not extracted
        ({"cr": 12, "pr": 4, "vgpr": 2, "orr": 18}, None),
        ({"cr": 12, "pr": 4, "mixed_response": 2, "orr": 18}, None),
        ({"orr": 16, "sd": 7, "clinical_benefit": 23}, None),
        ({"orr": 16, "sd": 7, "clinical_benefit": 22}, None),  # stable disease that lasted
        ({"orr": 16, "sd": 7, "clinical_benefit": 15}, "error"),
        ({"orr": 16, "sd": 7, "pd": 43}, None),
        ({"orr": 16, "sd": 7, "pd": 44}, "error"),
        ({"clinical_benefit": 23, "pd": 44}, "error"),
    ],
)
def test_responses_are_known_by_their_outcomes(events, expected):
    found = failures("SUM-PARTS", whole(responses(**events)))
    assert [level("SUM-PARTS", check) for check in found] == ([expected] if expected else [])


def test_responses_at_other_times_or_of_other_patients_are_not_added():
    results = responses(cr=12, pr=4, orr=15)
    results[2]["when"] = "after two cycles"
    assert not failures("SUM-PARTS", whole(results))
    results[2] |= {"when": None, "subgroup": "first relapse"}
    assert not failures("SUM-PARTS", whole(results))


def test_patients_without_a_response_category_are_undecided():
    found = checks("SUM-PARTS", whole(responses(orr=16, sd=7, pd=40)))
    assert [c.verdict for c in found] == ["undecided"]
    assert "3 of 66 are in no category" in found[0].explanation


@pytest.mark.parametrize(("size", "verdict"), [(53, "consistent"), (54, "inconsistent")])
def test_an_arm_made_of_arms_has_their_patients(size, verdict):
    sizes = [
        {"id": "both", "n": size, "treatment": "x", "made_of": ["a", "b"]},
        {"id": "a", "n": 17, "treatment": "x"},
        {"id": "b", "n": 36, "treatment": "x"},
    ]
    results = [
        result("free", {"both": {"events": 5}}),
        result("own", {"both": {"events": 5, "n": 53}}),
    ]
    [check] = checks("SUM-PARTS", study(sizes, results))
    assert check.verdict == verdict
    assert check.place.results == (("free",) if verdict == "inconsistent" else ())


def percents(**given):
    return [
        result(name, {"all": {"events": k, "n": n, "printed": text}}, outcome=name)
        for name, (k, n, text) in given.items()
    ]


def test_a_total_that_is_the_sum_of_rounded_parts_is_told_from_a_wrong_one():
    results = percents(cr=(12, 66, "18.2%"), pr=(4, 66, "6.1%"), orr=(16, 66, "24.3%"))
    sums = [{"parts": ["cr", "pr"], "total": "orr"}]
    [check] = failures("SUM-ROUNDED", whole(results, sums=sums))
    assert check.recomputed == "16/66 = 24.2%; 18.2% + 6.1% = 24.3%"
    assert "16 of 66 would print 24.2%" in check.explanation
    results[2]["arms"]["all"]["printed"] = "24.2%"
    assert not failures("SUM-ROUNDED", whole(results, sums=sums))
    results[2]["arms"]["all"]["printed"] = "24.8%"  # other rules say so
    assert not failures("SUM-ROUNDED", whole(results, sums=sums))


def test_a_part_that_is_the_difference_of_rounded_percentages_is_noted():
    results = percents(cr=(4, 63, "6.4%"), pr=(28, 63, "44.4%"), orr=(32, 63, "50.8%"))
    results[2]["parts"] = {"cr": 4, "pr": 28}
    [check] = failures("SUM-ROUNDED", whole(results, 63))
    assert check.place.results == ("cr",)
    assert check.recomputed == "4/63 = 6.3%; 50.8% - 44.4% = 6.4%"
    assert level("SUM-ROUNDED", check) == "note"


def categories(label):
    given = (("7", "10.4", "local"), ("53", "79.1", "metastatic"), ("7", "10.4", "combined"))
    results = [
        result(name, {"all": {"events": k, "printed": f"{p}%"}}, category=f"Event: {name}")
        for k, p, name in given
    ]
    text = result("text", {"all": "89.5%"}, category=label)
    sums = [{"parts": ["local", "metastatic", "combined"]}]
    return whole([*results, text], 67, sums=sums)


def test_an_impossible_percentage_that_some_categories_add_up_to_is_noted():
    [check] = failures("SUM-ROUNDED", categories("Metastatic involvement"))
    assert check.place.results == ("text",)
    assert "60 of 67" in check.explanation
    # Of another subject the sum is likely to be a coincidence.
    assert not failures("SUM-ROUNDED", categories("Stem cell rescue"))


@pytest.mark.parametrize(
    ("texts", "fails"),
    [
        (("33.3", "33.3", "33.3"), False),
        (("42.8", "51", "6.1"), False),
        (("33.3", "33.3", "38.3"), True),
        (("30", "30", "30"), True),
        (("33.9", "33.9", "33.9"), True),
    ],
)
def test_categories_add_up_to_a_hundred_but_for_rounding(texts, fails):
    results = [
        result(name, {"all": f"{text}%"}, outcome=name)
        for name, text in zip("abc", texts, strict=True)
    ]
    found = failures("SUM-HUNDRED", whole(results, sums=[{"parts": ["a", "b", "c"]}]))
    assert bool(found) == fails
