"""Which test gave the p-values of a report; which survival is a crude share."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.materials import checks, failures, level, result, study

from evisynth.audit.exact import chi_square, fisher
from evisynth.audit.fingerprint import FAMILIES, fingerprint, tried
from evisynth.printed import parse_printed

# Comparisons of a cohort study (doi 10.1007/s12094-025-03853-w) with their counts.
COHORT = """
17/44 8/23 0.48
6/14 19/53 0.426
10/18 15/47 0.072
4/7 10/59 0.032
13/44 1/22 0.016
5/7 17/60 0.034
4/7 10/60 0.034
20/44 2/23 0.002
14/44 0/23 0.001
19/48 3/19 0.053
14/48 0/19 0.005
18/38 4/29 0.003
11/38 3/29 0.058
14/33 8/29 0.171
10/33 4/29 0.105
15/31 7/36 0.012
11/31 3/36 0.007
8/14 6/52 0.001
7/10 14/54 0.010
7/10 7/54 0.001
7/10 6/20 0.062
7/10 2/20 0.003
"""


def parsed(text):
    for line in text.split("\n"):
        if line:
            one, two, p = line.split()
            yield (*map(int, one.split("/")), *map(int, two.split("/"))), p


def cohort():
    return [tried("r", parse_printed(p), *counts) for counts, p in parsed(COHORT)]


def test_one_sided_fisher_is_found_in_a_report_that_says_two_sided():
    found = fingerprint(cohort())
    agree = dict(zip(FAMILIES, found.rounded, strict=True))
    assert agree["one-sided Fisher"] == 16
    assert agree["two-sided Fisher"] == 5
    assert agree["chi-square"] == 2
    assert agree["chi-square with Yates' correction"] == 2
    assert found.with_cut[0] == 18
    assert FAMILIES[found.best] == "one-sided Fisher"
    assert found.certain
    assert found.chance < 1e-10


def cohort_study(test, methods, tests=8, outcome="response"):
    tables = [counts for counts, _ in parsed(COHORT)][:tests]
    sizes, results = {}, []
    for i, (a, n1, c, n2) in enumerate(tables):
        sizes |= {f"a{i}": n1, f"b{i}": n2}
        values = {f"a{i}": {"events": a}, f"b{i}": {"events": c}}
        p = f"{test(a, n1, c, n2):.4f}"
        results.append(result(f"r{i}", values, p=p, outcome=outcome))
    return study(sizes, results, methods=methods)


def two_sided(*table):
    return fisher(*table).two_sided


def one_sided(*table):
    return fisher(*table).one_sided


def yates(*table):
    return chi_square(*table, yates=True)


TWO_SIDED, FISHER = ("sidedness", "two_sided"), ("test_of_counts", "fisher")


@pytest.mark.parametrize(
    ("test", "methods", "says"),
    [
        (two_sided, [TWO_SIDED, FISHER], None),
        (two_sided, [], None),
        (one_sided, [], None),
        (one_sided, [TWO_SIDED, FISHER], "two-sided"),
        (yates, [TWO_SIDED, FISHER], "fisher"),
        (yates, [TWO_SIDED, ("test_of_counts", "chi_square")], None),
        (two_sided, [("sidedness", "one_sided")], "one-sided"),
    ],
)
def test_the_test_found_is_compared_with_the_one_that_the_report_names(test, methods, says):
    [check] = checks("P-FINGERPRINT", cohort_study(test, methods))
    assert check.verdict == ("inconsistent" if says else "consistent")
    if says:
        assert check.explanation.endswith(f"the report says {says}")
        assert check.place.text == "reports.r"
        assert level("P-FINGERPRINT", check) == "warning"


def test_counts_tested_as_survival_are_no_log_rank_test():
    methods = [TWO_SIDED, ("test_of_survival", "log_rank")]
    [check] = checks("P-FINGERPRINT", cohort_study(two_sided, methods, outcome="os_crude"))
    assert "log-rank for survival" in check.explanation
    [check] = checks("P-FINGERPRINT", cohort_study(two_sided, methods))
    assert check.verdict == "consistent"


def test_few_p_values_or_no_clear_family_leave_it_undecided():
    [check] = checks("P-FINGERPRINT", cohort_study(one_sided, [TWO_SIDED], tests=4))
    assert check.verdict == "undecided"
    assert "fewer than 5" in check.explanation

    def other(*table):  # what no family gives
        return fisher(*table).two_sided * 0.83

    [check] = checks("P-FINGERPRINT", cohort_study(other, [TWO_SIDED]))
    assert check.verdict == "undecided"
    assert "no test is clearly the one" in check.explanation


def test_p_values_of_few_digits_do_not_tell_the_families_apart():
    tests = [tried("r", parse_printed("0.00"), 20, 44, 2, 60)] * 8
    assert not fingerprint(tests).certain


def test_bounds_and_impossible_counts_are_left_out():
    results = [
        result("bound", {"a": {"events": 5}, "b": {"events": 17}}, p="<0.05"),
        result("impossible", {"a": "51.7%", "b": "28.3%"}, p="0.034"),
    ]
    assert not checks("P-FINGERPRINT", study({"a": 7, "b": 60}, results))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=5, max_size=12))
def test_two_sided_fisher_is_never_called_something_else(pairs):
    tests = []
    for a, c in pairs:
        p = fisher(a, 30, c, 30).two_sided
        tests.append(tried("r", parse_printed(f"{p:.5f}"), a, 30, c, 30))
    found = fingerprint(tests)
    assert found.rounded[1] == len(tests)
    assert not found.certain or "two-sided Fisher" in FAMILIES[found.best]


KM = [("survival", "kaplan_meier")]


def survival(texts, methods=KM, size=60, **more):
    sizes = {f"a{i}": size for i in range(len(texts))}
    results = [
        result(f"r{i}", {f"a{i}": text}, **({"kind": "km_probability"} | more))
        for i, text in enumerate(texts)
    ]
    return study(sizes, results, methods=methods)


SHARES = [f"{100 * k / 60:.1f}%" for k in (7, 13, 22, 31, 44, 53)]
CURVES = ["11.2%", "22.1%", "36.2%", "52.3%", "72.7%", "88.9%"]


def test_kaplan_meier_percentages_that_are_all_counts_are_crude_shares():
    [check] = failures("CRUDE-KM", survival(SHARES))
    assert check.place.text == "reports.r"
    assert len(check.place.results) == 6
    assert "crude shares" in check.explanation
    assert level("CRUDE-KM", check) == "error"


def test_common_totals_of_complementary_groups_are_named():
    sizes = {"all": 67, "a": 7, "b": 60, "c": 44, "d": 23}
    splits = [{"of": "all", "into": ["a", "b"]}, {"of": "all", "into": ["c", "d"]}]
    results = [
        result("x", {"a": "71.4%", "b": "28.3%"}, kind="crude_proportion"),
        result("y", {"c": "45.5%", "d": "8.7%"}, kind="crude_proportion"),
    ]
    material = study(sizes, results, methods=KM, splits=splits)
    [check] = failures("CRUDE-KM", material)
    assert check.recomputed == "4 of 4 are a count over the whole group; os 22 of 67"


@pytest.mark.parametrize(
    "material",
    [
        survival(SHARES, methods=[]),
        survival(SHARES, when="at 2 years"),  # nobody censored before: the same number
        survival(SHARES, outcome="response"),
    ],
)
def test_shares_without_the_method_at_a_time_or_of_no_survival_do_not_concern_it(material):
    assert not checks("CRUDE-KM", material)


def test_true_curves_pass_and_small_groups_of_round_percentages_are_undecided():
    assert [c.verdict for c in checks("CRUDE-KM", survival(CURVES))] == ["consistent"]
    [check] = checks("CRUDE-KM", survival(["44%", "27%", "31%", "58%"], size=90))
    assert check.verdict == "undecided"


def test_chance_agreement_shrinks_with_the_digits():
    coarse, fine = (tried("r", parse_printed(t), 5, 7, 17, 60) for t in ("0.03", "0.034"))
    assert math.isclose(coarse.by_chance(0), 10 * fine.by_chance(0))
