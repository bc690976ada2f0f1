"""Medians, means and their spreads."""

import math

from support.auditing import found, kinds, material, table

ARMS = [{"id": "new", "n": "43", "treatment": "x"}, {"id": "old", "n": "22", "treatment": "y"}]


def test_medians_and_survival_at_a_time_that_disagree_are_a_warning_with_both_hazard_ratios():
    # BEACON-Immuno: medians 11.1 and 3.8 months, 44 % and 27 % at one year
    def study(one_year: tuple[str, str]):
        return material(
            [
                {
                    "outcome": "pfs_median",
                    "kind": "median",
                    "unit": "months",
                    "arms": {"new": {"median": "11.1"}, "old": {"median": "3.8"}},
                },
                {
                    "outcome": "pfs_1y",
                    "kind": "km_probability",
                    "arms": {
                        arm: {"printed": text}
                        for arm, text in zip(("new", "old"), one_year, strict=True)
                    },
                },
            ],
            arms=ARMS,
        )

    (finding,) = found(study(("44%", "27%")))
    assert (finding.rule, finding.level) == ("MEDIAN-V-ST", "warning")
    assert "0.34 and 0.63" in finding.check.recomputed
    # constant hazards: S(12) = 2^(-12/median)
    exact = tuple(f"{100 * 0.5 ** (12 / median):.1f}%" for median in (11.1, 3.8))
    assert found(study(exact)) == []


def test_a_spread_of_unknown_kind_is_a_note():
    study = material(
        [{"kind": "median", "arms": {"all": {"median": "3.4", "spread": ["1.3", "8.0"]}}}],
        population={"age": "median 3.4 years (1.3-8.0)"},
    )
    findings = found(study)
    assert kinds(findings) == {("DISPERSION", "note")}
    assert {f.check.place.text for f in findings} == {"results.orr.arms.all", "population.age"}
    named = material([], population={"age": "median 3.4 years (range 1.3-8.0)"})
    assert found(named) == []


def test_a_range_within_the_quartiles_is_an_error():
    value = {"median": "9", "iqr": ["4", "20"], "range": ["6", "30"]}
    study = material([{"kind": "median", "arms": {"all": value}}])
    assert kinds(found(study)) == {("MEDIAN-IQR", "error")}


def test_a_standard_deviation_that_its_interval_says_is_a_standard_error_is_a_warning():
    def study(sd: float):
        half = 1.96 * 12 / math.sqrt(49)
        value = {
            "mean": "50",
            "sd": f"{sd:.2f}",
            "ci": [f"{50 - half:.2f}", f"{50 + half:.2f}"],
        }
        return material([{"kind": "mean", "arms": {"all": value}}])

    assert found(study(12)) == []
    assert kinds(found(study(12 / 7))) == {("SD-SE", "warning")}


MEANS = [
    # Normand (1999), table 2: length of stay in hospital after stroke
    ("155", "55", "47", "156", "75", "64"),
    ("31", "27", "7", "32", "29", "4"),
    ("75", "64", "17", "71", "119", "29"),
    ("18", "66", "20", "18", "137", "48"),
    ("8", "14", "8", "13", "18", "11"),
    ("57", "19", "7", "52", "18", "4"),
    ("34", "52", "45", "33", "41", "34"),
    ("110", "21", "16", "183", "31", "27"),
    ("60", "30", "27", "52", "23", "20"),
]
FIELDS = ("n1i", "m1i", "sd1i", "n2i", "m2i", "sd2i")


def test_standard_errors_in_the_place_of_standard_deviations_are_found_in_a_table():
    rows = [dict(zip(FIELDS, row, strict=True)) for row in MEANS]
    clean = found(table(rows, "MD"))
    assert not [f for f in clean if f.level == "error"]
    hit = 0
    for i, row in enumerate(rows):
        if float(row["n1i"]) < 30:
            continue
        sds = {
            f"sd{g}i": f"{float(row[f'sd{g}i']) / math.sqrt(float(row[f'n{g}i'])):.2f}"
            for g in "12"
        }
        changed = [*rows[:i], {**row, **sds}, *rows[i + 1 :]]
        hit += any(
            f.rule in ("SD-SE", "SMD", "OUTLIER") and f.check.place.results == (f"row {i + 1}",)
            for f in found(table(changed, "SMD"))
        )
    assert hit >= 3  # of seven; the others are within the variety of these nine hospitals


def test_one_group_with_a_standard_error_stands_out_beside_the_other():
    row = dict(zip(FIELDS, ("60", "30", "3.49", "52", "23", "20"), strict=True))
    assert ("SD-SE", "warning") in kinds(found(table([row], "MD")))
    row["sd1i"] = "27"
    assert found(table([row], "MD")) == []


def test_a_standardised_difference_beyond_three_is_a_warning_unless_groups_are_tiny():
    row = dict(zip(FIELDS, ("60", "50", "5", "52", "30", "5"), strict=True))
    assert ("SMD", "warning") in kinds(found(table([row], "SMD")))
    row |= {"n1i": "3", "n2i": "3"}
    assert found(table([row], "SMD"), "SMD") == []
