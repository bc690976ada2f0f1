"""Counts, groups and spreads that cannot be; survival that is no count."""

import pytest
from support.auditing import found, kinds, material, table


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        ({"ai": "12", "n1i": "10"}, "N-BOUNDS"),
        ({"ai": "-1", "n1i": "10"}, "N-BOUNDS"),
        ({"ai": "45.5", "n1i": "100"}, "N-BOUNDS"),
        ({"ai": "4", "bi": "7", "n1i": "10"}, "N-BOUNDS"),
        ({"yi": "0.2", "vi": "-0.1"}, "SPREAD-BOUNDS"),
        ({"yi": "0.2", "sei": "0"}, "SPREAD-BOUNDS"),
        ({"m1i": "5", "sd1i": "-2"}, "SPREAD-BOUNDS"),
        ({"estimate": "0.5", "ci_low": "0.6", "ci_high": "0.9"}, "SPREAD-BOUNDS"),
        ({"ri": "1.2", "ni": "30"}, "SPREAD-BOUNDS"),
        ({"min1i": "3", "q11i": "5", "med1i": "4", "q31i": "8", "max1i": "9"}, "SPREAD-BOUNDS"),
        ({"yi": "1e200", "vi": "1"}, "SPREAD-BOUNDS"),
        ({"yi": "1", "sei": "1", "ci_level": "95"}, "SPREAD-BOUNDS"),
    ],
)
def test_what_cannot_be_in_a_table_is_an_error(cells, rule):
    assert (rule, "error") in kinds(found(table([cells])))


def test_what_can_be_in_a_table_is_not_reported():
    cells = {
        "ai": "0",
        "bi": "10",
        "n1i": "10",
        "ci": "4",
        "n2i": "4",
        "yi": "-2.5",
        "vi": "1.9",
    }
    assert found(table([cells]), "N-BOUNDS", "SPREAD-BOUNDS") == []


def test_an_arm_is_compared_with_the_size_of_the_study_in_its_own_unit_only():
    population = {"patients": "49", "episodes": "67"}

    def study(n: str, unit: str, **arm: str):
        return material(
            [],
            population=population,
            arms=[{"id": "all", "n": n, "unit": unit, "treatment": "x", **arm}],
        )

    assert found(study("67", "episodes", clusters="49")) == []
    assert kinds(found(study("50", "patients"))) == {("N-BOUNDS", "error")}
    assert kinds(found(study("67", "episodes", clusters="60"))) == {("N-BOUNDS", "error")}
    assert found(study("90", "tumours")) == []


def test_a_count_worded_as_survival_at_a_time_is_a_warning():
    def study(**more: object):
        value = {"events": "19", "n": "43", "printed": "44%"}
        return material([{"outcome": "pfs_1y", "arms": {"all": value}, **more}])

    assert kinds(found(study(), "KM-NOT-COUNT")) == {("KM-NOT-COUNT", "warning")}
    assert found(study(outcome="orr"), "KM-NOT-COUNT") == []
    probability = material([{"kind": "km_probability", "arms": {"all": {"printed": "44%"}}}])
    assert found(probability) == []
