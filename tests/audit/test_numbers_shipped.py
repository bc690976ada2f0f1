"""The shipped reviews: every known mistake of single numbers is found, clean data have none."""

from pathlib import Path

import pytest

from evisynth.audit.numbers import RULES
from evisynth.project import load_project

ROOT = Path(__file__).parents[2]
IDS = {rule.id for rule in RULES}


@pytest.fixture(scope="module")
def findings():
    report = load_project(ROOT / "config.yaml").audit
    return [f for f in report.findings if f.rule in IDS and f.check.verdict == "inconsistent"]


# Results of SEHOP 2025 whose printed numbers contradict each other; found by hand in the report
IMPOSSIBLE = {
    ("GRIM", "results.efs_refractory.arms.refractory"): "3/7 = 42.9%, 4/7 = 57.1%",
    ("GRIM", "results.os_temozolomide.arms.temozolomide"): "18/38 = 47.4%, 19/38 = 50.0%",
    ("GRIM", "results.os_anti_gd2.arms.anti_gd2"): "13/27 = 48.1%, 14/27 = 51.9%",
    ("GRIM", "results.os_anti_gd2.arms.no_anti_gd2"): "7/40 = 17.5%, 8/40 = 20.0%",
    ("GRIM", "results.efs_anti_gd2.arms.anti_gd2"): "9/27 = 33.3%, 10/27 = 37.0%",
    ("GRIM", "results.efs_anti_gd2.arms.no_anti_gd2"): "3/40 = 7.5%, 4/40 = 10.0%",
    ("GRIM", "results.os_surgery_rt_v_none.arms.no_local"): "8/34 = 23.5%, 9/34 = 26.5%",
    ("GRIM", "results.efs_surgery_rt_v_none.arms.no_local"): "4/34 = 12%, 5/34 = 15%",
    ("GRIM", "results.t1_male_artefact.arms.diagnosis"): "19/49 = 38.8%, 20/49 = 40.8%",
    ("GRIM", "results.metastatic_only_text.arms.all"): "53/67 = 79.1%, 54/67 = 80.6%",
    ("COUNT-PERCENT", "results.t1_frontline_hrnbl1.arms.diagnosis"): "43/49 = 87.8%",
    ("COUNT-PERCENT", "results.t1_frontline_nb04.arms.diagnosis"): "2/49 = 4.1%",
    ("COUNT-PERCENT", "results.t2_more.arms.all"): "9/67 = 13.4%",
    ("COUNT-PERCENT", "results.immunotherapy.arms.all"): "31/67 = 46%",
    ("COUNT-PERCENT", "results.maintenance.arms.all"): "11/67 = 16.4%",
    (
        "CI-P",
        "results.os_hr_first_event",
    ): "p = 0.037 to 0.045; p .003 would need the interval 0.239 to 0.746",
}


def test_the_errors_are_those_that_were_found_by_hand(findings):
    errors = {
        (f.rule, f.check.place.text): f.check.recomputed for f in findings if f.level == "error"
    }
    assert errors == IMPOSSIBLE
    assert {f.check.place.study for f in findings if f.level == "error"} == {"sehop-2025"}


def test_notes_are_made_where_digits_were_cut_off_or_made_to_add_up(findings):
    notes = {(f.rule, f.check.place.study, f.check.place.text) for f in findings
             if f.level == "note"}  # fmt: skip
    sehop, arm = "sehop-2025", "arms.all"
    assert notes >= {
        ("TRUNCATED", sehop, "results.t1_mycn_amplified.arms.diagnosis"),
        ("TRUNCATED", sehop, f"results.metastatic_any_text.{arm}"),
        ("TRUNCATED", sehop, "results.local_any.arms.local_data"),
        ("GRIM", sehop, f"results.orr.{arm}"),
        ("COUNT-PERCENT", "amoroso-2017", f"results.cr.{arm}"),
        ("DISPERSION", "sacha-france", "results.age_median.arms.all"),
    }


def test_hints_name_the_size_that_fits(findings):
    said = {
        f.check.place.results[0]: f.check.explanation for f in findings if f.check.place.results
    }
    assert "31/65 = 48%" in said["immunotherapy"]
    assert "2/48 = 4.2%" in said["t1_frontline_nb04"]
    assert "42/48 = 87.5%" in said["t1_frontline_hrnbl1"]
    assert "57.1% = 4/7" in said["efs_refractory"]


def test_warnings_are_few_and_known(findings):
    assert {
        (f.rule, f.check.place.study or "table", f.check.place.text)
        for f in findings
        if f.level == "warning" and f.rule != "EXTREME"
    } == {
        ("GEO-MID", "sehop-2025", "results.os_hr_first_event"),
        ("GEO-MID", "sehop-2025", "results.os_hr_radiotherapy"),
        ("GEO-MID", "sehop-2025", "results.efs_hr_radiotherapy"),
        ("GEO-MID", "sehop-2025", "results.efs_hr_local_combined"),
        ("MEDIAN-V-ST", "beacon-immuno", "results.pfs_median"),
    }


@pytest.mark.parametrize("name", ["bcg", "konstantopoulos2011", "normand1999"])
def test_the_other_reviews_have_no_error_and_no_warning(name):
    report = load_project(ROOT / "reviews" / name / "config.yaml").audit
    assert [
        f
        for f in report.findings
        if f.rule in IDS and f.check.verdict == "inconsistent" and f.level != "note"
    ] == []


def test_every_rule_has_a_definition_and_an_own_name():
    assert len(IDS) == len(RULES)
    for rule in RULES:
        assert rule.id == rule.id.upper()
        assert rule.definition.endswith(".")
        assert rule.scope in ("study", "review", "table")
