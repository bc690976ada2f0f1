"""The same numbers twice."""

import pytest
from support.materials import checks, failures, level, result, study

COX = {"kind": "hazard_ratio", "model": "Cox"}


def hazard(name, label, estimate="0.185", ci=("0.04", "0.75"), p=".019", **more):
    contrast = {"numerator": label, "denominator": f"no {label}"}
    more = {"outcome": "efs_hr", "estimate": estimate, "ci": list(ci), "p": p} | COX | more
    return result(name, {}, contrast=contrast, **more)


def test_one_row_under_two_labels_of_a_model_is_an_error_in_both():
    rows = [hazard("a", "radiotherapy"), hazard("b", "surgery"), hazard("c", "x", "0.3")]
    found = failures("DUP-ROW", study({"all": 9}, rows))
    assert [check.place.results for check in found] == [("a",), ("b",)]
    assert {level("DUP-ROW", check) for check in found} == {"error"}
    assert "which of them they belong to is unknown" in found[0].explanation


@pytest.mark.parametrize(
    "other",
    [
        {"estimate": "0.186"},
        {"estimate": "0.1850"},  # printed otherwise
        {"p": ".020"},
        {"ci": ("0.04", "0.76")},
    ],
)
def test_rows_that_differ_in_one_number_are_no_copies(other):
    rows = [hazard("a", "radiotherapy"), hazard("b", "surgery", **other)]
    assert [c.verdict for c in checks("DUP-ROW", study({"all": 9}, rows))] == ["consistent"]


def test_one_row_extracted_twice_or_printed_by_two_reports_is_no_copy():
    rows = [hazard("a", "radiotherapy"), hazard("b", "Radiotherapy")]
    rows[1]["contrast"]["denominator"] = "no radiotherapy"
    assert not failures("DUP-ROW", study({"all": 9}, rows))


def test_copies_in_two_outcomes_warn_and_copies_of_few_digits_are_undecided():
    rows = [hazard("a", "radiotherapy"), hazard("b", "radiotherapy", outcome="os_hr")]
    found = failures("DUP-ROW", study({"all": 9}, rows))
    assert [level("DUP-ROW", check) for check in found] == ["warning"] * 2
    rows = [hazard(name, name, "1", ("0.5", "2"), "1") for name in "ab"]
    assert [c.verdict for c in checks("DUP-ROW", study({"all": 9}, rows))] == ["undecided"]


def compared(name, values, p, outcome, **more):
    return result(name, values, p=p, outcome=outcome, kind="crude_proportion", **more)


ARMS = {"immuno": 31, "none": 36, "gd2": 27, "not_gd2": 40}


def test_a_p_value_of_two_outcomes_is_noted_where_the_counts_do_not_give_it():
    sizes = {"a": 7, "b": 60}
    first = compared("os", {"a": "71.4%", "b": "28.3%"}, "0.034", "os")
    second = compared("efs", {"a": "57.1%", "b": "16.7%"}, "0.034", "efs")
    [check] = failures("DUP-P", study(sizes, [first, second]))
    assert check.place.results == ("efs",)
    second["arms"] = {"a": {"printed": "71.4%"}, "b": {"events": 17, "printed": "28%"}}
    second["arms"]["a"] = {"events": 5}
    assert not failures("DUP-P", study(sizes, [first, second]))
    # other groups, or too few digits
    second = compared("efs", {"b": "16.7%", "a": "57.1%"}, "0.034", "efs")
    assert not failures("DUP-P", study(sizes, [first, second]))
    short = [compared(n, v, "0.001", n) for n, v in (("os", first["arms"]), ("efs", {}))]
    short[1]["arms"] = {"a": {"printed": "57.1%"}, "b": {"printed": "16.7%"}}
    assert not failures("DUP-P", study(sizes, short))


def test_numbers_under_two_labels_belong_to_the_groups_whose_sizes_can_give_them():
    results = [
        compared("any", {"immuno": "48.4%", "none": "19.4%"}, "0.012", "os"),
        compared("gd2", {"gd2": "48.4%", "not_gd2": "19.4%"}, "0.012", "os"),
    ]
    [check] = failures("SAME-NUMBER", study(ARMS, results))
    assert check.place.results == ("gd2",)
    assert check.recomputed == "15/31 = 48.4% v 7/36 = 19.4% of immuno v none"
    assert "no counts of 27 and 40" in check.explanation
    assert level("SAME-NUMBER", check) == "error"


def test_numbers_under_two_labels_whose_sizes_do_not_tell_are_a_warning():
    sizes = ARMS | {"gd2": 31, "not_gd2": 36}
    results = [
        compared("any", {"immuno": "48.4%", "none": "19.4%"}, "0.012", "os"),
        compared("gd2", {"gd2": "48.4%", "not_gd2": "19.4%"}, "0.012", "os"),
    ]
    [check] = failures("SAME-NUMBER", study(sizes, results))
    assert level("SAME-NUMBER", check) == "warning"
    # round numbers coincide: 50% v 20% and no p-value
    results = [
        compared("any", {"immuno": "50%", "none": "20%"}, None, "os"),
        compared("gd2", {"gd2": "50%", "not_gd2": "20%"}, None, "os"),
    ]
    assert not failures("SAME-NUMBER", study(sizes, results))


def means(name, mean="12.34"):
    cells = {
        "a": {"mean": mean, "sd": "3.21", "n": 40},
        "b": {"mean": "10.87", "sd": "2.95", "n": 41},
    }
    return result(name, cells, kind="mean")


def test_a_block_of_numbers_in_two_studies_is_noted_unless_they_overlap():
    one = study({"a": 40, "b": 41}, [means("m")], "one")
    two = study({"a": 40, "b": 41}, [means("m")], "two")
    other = study({"a": 40, "b": 41}, [means("m", "12.35")], "three")
    [check] = failures("DUP-BLOCK", one, two, other)
    assert (check.place.study, check.recomputed) == ("two", "the same in one, results.m")
    overlap = [{"with": "one", "kind": "same_patients", "certainty": "stated"}]
    two = study({"a": 40, "b": 41}, [means("m")], "two", overlaps=overlap)
    assert not failures("DUP-BLOCK", one, two)
