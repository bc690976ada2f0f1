"""What a careful reader finds in the shipped evidence is found by the audit, by its rules.

Every line has the number under which the reader's list names it, and the words of the printed and
of the recomputed number that the finding must hold. Lines from N01 on are not on that list: they
were found in the same documents by these rules.
"""

# ruff: noqa: E501, one row per finding

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from evisynth.project import load_project

ROOT = Path(__file__).parents[2]
SEHOP = "sehop-2025.yaml"
BEACON = "beacon-immuno.yaml"
SACHA = "sacha-france.yaml"
RILEY = "riley2003.csv"
ARTICLE = "reports.martinez-2025-cto"


class Wanted(NamedTuple):
    """A finding: `printed` and `recomputed` are words that must stand there, in any order."""

    id: str
    summary: str
    rule: str
    file: str
    place: str
    printed: tuple[str, ...] = ()
    recomputed: tuple[str, ...] = ()
    verdict: str = "inconsistent"


FOUND = [
    Wanted("A13", "all survivors had irinotecan or topotecan, yet 3 of 19 without", "LOGIC", SEHOP, "results.os_irinotecan_topotecan", ("All survivors received",), ("3 of 19 (15.8%)",)),
    Wanted("A14", "comparator is everything but surgery and radiotherapy", "LEFT-OUT", SEHOP, "results.os_surgery_rt_v_none", ("no_local 34", "single_local 20"), ("14/54",)),
    Wanted("A14", "the same for event-free survival", "LEFT-OUT", SEHOP, "results.efs_surgery_rt_v_none", ("no_local 34",), ("7/54",)),
    Wanted("A18", "MYCN: printed for non-amplification, OS", "INVERTED", SEHOP, "results.os_mycn", ("0.212 (0.08 to 0.57)",), ("4.72 (1.75 to 12.5)",)),
    Wanted("A18", "MYCN: printed for non-amplification, EFS", "INVERTED", SEHOP, "results.efs_mycn", ("0.128 (0.06 to 0.27)",), ("7.81 (3.7 to 16.7)",)),
    Wanted("A23", "the block FIGURE 3 repeats the legend of Fig. 2", "CAPTION", SEHOP, ARTICLE, ("Fig. 2 and FIGURE 3",), ("similarity",)),
    Wanted("A23", "two legends have the number 3", "CAPTION", SEHOP, ARTICLE, ("FIGURE 3 and Fig. 3",), ("one legend per figure",)),
    Wanted("A23", "the text cites Fig. 3A for what Fig. 2A shows", "CAPTION", SEHOP, "results.os_immunotherapy", ("Fig. 3A",), ("Fig. 2A",)),
    Wanted("A25", "14 months under two definitions", "DEFINITION", SEHOP, "results.time_diagnosis_first_relapse", ("14 months",), ("event of study", "first relapse")),
    Wanted("A26", "a correction exists that was not seen", "CORRECTION", SEHOP, ARTICLE, ("corrected publication",)),
    Wanted("A27", "one DOI under two titles", "DOI-DUP", SEHOP, ARTICLE, ("10.1038/bjc.2016.302: Factors", "Combination of bevacizumab"), ("one DOI",)),
    Wanted("A27", "it is not a DOI of that journal", "DOI-DUP", SEHOP, ARTICLE, ("Pediatr Blood Cancer",), ("10.1002/pbc",)),
    Wanted("A29", "biopsies: 42.9% is of local and combined", "LEFT-OUT", SEHOP, "results.biopsy_extension", ("local 7", "combined 7"), ("3/7", "6/14")),
    Wanted("A31", "Table 3 without n, events and adjustment", "REPORTING", SEHOP, "results.os_mycn", ("9 effects",), ("n, events, the adjustment set",)),
    Wanted("B02", "a probability worded as stable disease", "OUTCOME-LABEL", BEACON, "results.pfs_1y", ("44% v 27%", "Stable disease"), ("19/43 and 6/22",)),
    Wanted("B04", "13 of 22 changed to the antibody", "CROSSOVER", BEACON, "arms.chemo", ("13 of 22",), ("59%",)),
    Wanted("B05", "the release does not say that patients were randomised", "REQUIRED", BEACON, "reports.vhebron-2026", ("without randomisation, intervals, p-values, counts",)),
    Wanted("B05", "the release prints no precision", "REQUIRED", BEACON, "results.pfs_1y", ("44% v 27%",), ("no interval, no p-value",)),
    Wanted("B06", "improved responses, p 0.38", "CLAIM-V-CI", BEACON, "results.orr", ("improved treatment responses",), ("1.66 (0.61 to 4.50)", "0.38")),
    Wanted("B06", "significantly improved, p 0.38", "CLAIM-V-CI", BEACON, "results.orr", ("significantly improved",), ("13/43 v 4/22", "0.38")),
    Wanted("B06", "bevacizumab promising, p .17", "CLAIM-V-CI", "beacon-bev.yaml", "results.orr_rr", ("promising",), (".17", "0.83 to 2.77")),
    Wanted("B08", "ages of one trial", "N-REPORTS", BEACON, "population", ("1 to 21", "1 to 18")),
    Wanted("B08", "29 centres or 43 hospitals", "N-REPORTS", BEACON, "results.hospitals-of-beacon", ("29", "43")),
    Wanted("B09", "a median called an average", "STATISTIC", BEACON, "results.pfs_median", ("an average of 11 months",), ("11.1 is a median",)),
    Wanted("S02", "benefit from a single arm of 13", "SINGLE-ARM", SACHA, "results.orr", ("can benefit",), ("5 of 13", "13.9% to 68.4%")),
    Wanted("S02", "support from a single arm of 13", "SINGLE-ARM", SACHA, "results.orr", ("support its early inclusion",), ("5 of 13",)),
    Wanted("S04", "first line among relapsed or refractory", "SETTING", SACHA, "population", ("first_line_progression",), ("relapsed_or_refractory in 3 of 4",)),
    Wanted("S05", "NMYC is MYCN", "SYNONYM", SACHA, "results.pr-induction", ("NMYC",), ("MYCN",)),
    Wanted("X01", "the record repeats the article", "REPORT-DUP", SEHOP, "reports.scientia-11351-13792", ("10.1007/s12094-025-03853-w", "1.00"), ("duplicate",), "consistent"),
    Wanted("X02", "11 episodes were treated in BEACON", "OVERLAP", BEACON, "overlaps.sehop-2025", ("NCT02308527", "Cruces"), ("at most 11 episodes", "16% of its 67", "17% of"), "consistent"),
    Wanted("N01", "lymph nodes: better survival with, better response without", "DIRECTION", SEHOP, "results.os_hr_lymph_nodes", ("present (0.205",), ("absent (p 0.049)",)),
    Wanted("N02", "a predictor of survival with p 0.053", "CLAIM-V-CI", SEHOP, "results.os_irinotecan_topotecan", ("predictors of OS",), ("0.053", "0.085")),
    Wanted("N03", "better survival with p 0.058", "CLAIM-V-CI", SEHOP, "results.efs_temozolomide", ("better survival",), ("0.058", "0.076")),
    Wanted("N04", "better than single local treatment with p 0.062", "CLAIM-V-CI", SEHOP, "results.os_surgery_rt_v_single", ("better OS",), ("0.062", "0.056")),
    Wanted("N05", "best candidate: no outcome of chemo-immunotherapy is printed", "CLAIM-V-CI", SEHOP, "results.anti_gd2_induction", ("best candidate",), ("14", "no interval, no p-value")),
    Wanted("N06", "a trend with p 0.072", "CLAIM-V-CI", SEHOP, "results.biopsy_bone", ("trend",), ("0.072", "0.095")),
    Wanted("N07", "six hospitals, authors from seven", "N-REPORTS", SEHOP, "results.hospitals_affiliations", ("6", "7")),
    Wanted("N08", "a DOI that this review has otherwise", "DOI-DUP", SEHOP, ARTICLE, ("Combination of bevacizumab",), ("10.1002/pbc.26448",)),
    Wanted("N09", "improved outcomes from values without precision", "CLAIM-V-CI", BEACON, "results.pfs_1y", ("able to improve clinical outcomes",), ("no interval",)),
    Wanted("N10", "two parts of BEACON share a registry number", "OVERLAP", "beacon-bev.yaml", "overlaps.beacon-immuno", ("NCT02308527",), ("excluded",), "consistent"),
    Wanted("N11", "the randomised response of ANBL1221 is known at second hand", "SOURCE-RANK", "anbl1221.yaml", "results.orr-randomised", ("secondary",)),
]  # fmt: skip

OF_OTHER_RULES = [
    Wanted("A01", "51.7% of 7 is impossible", "GRIM", SEHOP, "results.efs_refractory.arms.refractory", ("51.7%",), ("3/7", "4/7")),
    Wanted("A01", "only 4 of 7 fits the totals", "PARTITION", SEHOP, "results.efs_refractory.arms.refractory", ("51.7%",), ("4/7", "14")),
    Wanted("A25", "39% has several denominators", "GRIM", SEHOP, "results.relapse_within_1_year.arms.all", ("39%",), ("26/67 = 39%", "19/49 = 39%", "17/44 = 39%"), "undecided"),
    Wanted("A03", "first event: interval and p disagree", "CI-P", SEHOP, "results.os_hr_first_event", ("0.422", ".003"), ("0.037 to 0.045", "0.239 to 0.746")),
    Wanted("A03", "first event: off the middle", "GEO-MID", SEHOP, "results.os_hr_first_event", ("0.422",), ("0.405 to 0.418",)),
    Wanted("A04", "one row under two labels: radiotherapy", "DUP-ROW", SEHOP, "results.efs_hr_radiotherapy", ("0.185", ".019")),
    Wanted("A04", "one row under two labels: local treatment", "DUP-ROW", SEHOP, "results.efs_hr_local_combined", ("0.185", ".019")),
    Wanted("A05", "OS radiotherapy: off the middle", "GEO-MID", SEHOP, "results.os_hr_radiotherapy", ("0.146",), ("0.128 to 0.144", "halves 0.87")),
    Wanted("A05", "EFS radiotherapy: off the middle", "GEO-MID", SEHOP, "results.efs_hr_radiotherapy", ("0.185",), ("to 0.184", "halves 0.91")),
    Wanted("A06", "p-values are one-sided Fisher", "P-FINGERPRINT", SEHOP, ARTICLE, ("log rank", "two sided"), ("one-sided Fisher",)),
    Wanted("A07", "Kaplan-Meier percentages are crude", "CRUDE-KM", SEHOP, ARTICLE, (), ("22 of 67", "14 of 67")),
    Wanted("A09", "immunotherapy: 31 is not 48% of 67", "COUNT-PERCENT", SEHOP, "results.immunotherapy.arms.all", ("31 of 67", "48%"), ("31/67 = 46",)),
    Wanted("A09", "immunotherapy: 31 or 32", "N-CONSISTENCY", SEHOP, "results.immunotherapy_fig2.arms.all", ("31", "32")),
    Wanted("A10", "anti-GD2 has the numbers of any immunotherapy", "SAME-NUMBER", SEHOP, "results.os_anti_gd2", ("48.4%", "19.4%"), ("15/31", "7/36")),
    Wanted("A10", "48.4% of 27 is impossible", "GRIM", SEHOP, "results.os_anti_gd2.arms.anti_gd2", ("48.4%",), ("13/27",)),
    Wanted("A14", "25.9% of 34 is impossible", "GRIM", SEHOP, "results.os_surgery_rt_v_none.arms.no_local", ("25.9%",), ("8/34",)),
    Wanted("A14", "13% of 34 is impossible", "GRIM", SEHOP, "results.efs_surgery_rt_v_none.arms.no_local", ("13%",), ("4/34",)),
    Wanted("A14", "54 is the group", "PARTITION", SEHOP, "results.os_surgery_rt_v_none.arms.no_local", ("25.9%",), ("14/54",)),
    Wanted("A15", "24.3 is the sum of rounded parts", "SUM-ROUNDED", SEHOP, "results.orr.arms.all", ("24.3%",), ("24.2", "18.2", "6.1")),
    Wanted("A19", "19 to 51 is no range", "RANGE-V-CAT", SEHOP, "results.age_diagnosis.arms.diagnosis", ("19 to 51",), ("10 in", "8 in")),
    Wanted("A20", "40.6% of 49 is impossible", "GRIM", SEHOP, "results.t1_male_artefact.arms.diagnosis", ("40.6%",), ("20/49 = 40.8",)),
    Wanted("A20", "'iviale' is Male", "TEXT-LAYER", SEHOP, "results.t1_male_artefact.arms.diagnosis", ("iviale",), ("Male",)),
    Wanted("A20", "rows merged", "TEXT-LAYER", SEHOP, "results.t1_11q_no.arms.diagnosis", ("19 12 38.8 24.5",)),
    Wanted("A24", "67 episodes of 49 patients", "UNIT", SEHOP, "arms.all", ("67 episodes of 49 patients",), ("59", "48")),
    Wanted("A33", "eight trials add up to 23", "SUM-PARTS", SEHOP, "results.trials_episodes.arms.all", ("11 + 3 + 2",), ("23",), "consistent"),
    Wanted("A33", "anti-GD2 adds up to 27", "SUM-PARTS", SEHOP, "results.anti_gd2.arms.all", ("14 + 5 + 7 + 1",), ("27",), "consistent"),
    Wanted("A33", "immunotherapy adds up to 31", "SUM-PARTS", SEHOP, "results.immunotherapy.arms.all", ("27 + 2 + 2",), ("31",), "consistent"),
    Wanted("A33", "nodes: interval and p agree", "CI-P", SEHOP, "results.os_hr_lymph_nodes", verdict="consistent"),
    Wanted("S01", "5 of 13 is 38%", "COUNT-PERCENT", SACHA, "results.orr.arms.all", ("38%",), ("5/13",), "consistent"),
    Wanted("S01", "1 + 4 = 5", "SUM-PARTS", SACHA, "results.orr.arms.all", ("1 + 4",), ("5",), "consistent"),
    Wanted("S03", "range or quartiles are not said", "DISPERSION", SACHA, "results.age_median.arms.all", ("3.4 (1.3 to 8.0)",)),
    Wanted("X04", "a hazard ratio of 299", "EXTREME", RILEY, "row 34", ("5.7",), ("298.9|298.867|299",)),
    Wanted("X04", "study 17 twice", "SAME-EFFECT", RILEY, "row 33: yi, sei", ("5.7",), ("1.73",)),
    Wanted("X04", "rows sorted by effect", "SORTED", RILEY, "table", ("56 rows",)),
    Wanted("N12", "OS 47.7% of 38 is impossible", "GRIM", SEHOP, "results.os_temozolomide.arms.temozolomide", ("47.7%",), ("18/38",)),
    Wanted("N13", "first schemes add up to 68 of 65", "SUM-PARTS", SEHOP, "results.t2_totem.arms.chemotherapy", ("20 + 15 + 10",), ("68", "65")),
    Wanted("N14", "40 with temozolomide, or 38", "SUM-PARTS", SEHOP, "results.temozolomide.arms.chemotherapy", ("20 + 15 + 5",), ("40", "38")),
    Wanted("N15", "54 with irinotecan or topotecan, or 47", "SUM-PARTS", SEHOP, "results.irinotecan_topotecan.arms.chemotherapy", ("20 + 15 + 10 + 9",), ("54", "47")),
    Wanted("N16", "maintenance: 11 of 67 is not 16.5%", "COUNT-PERCENT", SEHOP, "results.maintenance.arms.all", ("16.5%",), ("16.4",)),
    Wanted("N17", "third or later: 9 of 67 is not 13.5%", "COUNT-PERCENT", SEHOP, "results.t2_more.arms.all", ("13.5%",), ("13.4",)),
    Wanted("N18", "frontline: 43 of 49 is not 87.5%", "COUNT-PERCENT", SEHOP, "results.t1_frontline_hrnbl1.arms.diagnosis", ("87.5%",), ("87.8",)),
    Wanted("N19", "frontline: 2 of 49 is not 4.2%", "COUNT-PERCENT", SEHOP, "results.t1_frontline_nb04.arms.diagnosis", ("4.2%",), ("4.1",)),
    Wanted("N20", "79.2% of 67 is impossible", "GRIM", SEHOP, "results.metastatic_only_text.arms.all", ("79.2%",), ("53/67",)),
    Wanted("N21", "OS and EFS of refractory have one p-value", "DUP-P", SEHOP, "results.efs_refractory", ("0.034",)),
    Wanted("N22", "medians and one-year values disagree", "MEDIAN-V-ST", BEACON, "results.pfs_median", ("11.1", "44%")),
]  # fmt: skip
"""Findings of the rules about numbers and sets of numbers."""

WANTED = FOUND + OF_OTHER_RULES


@pytest.fixture(scope="module")
def project():
    return load_project(ROOT / "config.yaml")


@pytest.mark.parametrize("wanted", WANTED, ids=lambda w: f"{w.id}-{w.rule}-{w.place}")
def test_the_audit_finds_it(project, wanted):
    there = [
        finding.check
        for finding in project.audit.findings
        if finding.rule == wanted.rule
        and finding.check.place.file.rpartition("/")[2] == wanted.file
        and finding.check.place.text == wanted.place
        and finding.check.verdict == wanted.verdict
    ]
    assert there, f"{wanted.rule} says nothing of {wanted.place}"
    assert any(
        all(any(w in check.printed for w in word.split("|")) for word in wanted.printed)
        and all(
            any(w in check.recomputed for w in word.split("|")) for word in wanted.recomputed
        )
        for check in there
    ), [(check.printed, check.recomputed) for check in there]


def test_every_number_of_the_list_is_there():
    """The reader's list: SEHOP (A), BEACON (B), SACHA (S), and between studies (X)."""
    numbers = (
        "A01 A03 A04 A05 A06 A07 A09 A10 A13 A14 A15 A18 A19 A20 A23 A24 A25 A26 A27 A29 A31 A33 "
        "B02 B04 B05 B06 B08 B09 S01 S02 S03 S04 S05 X01 X02 X04"
    ).split()
    assert {w.id for w in FOUND + OF_OTHER_RULES if w.id[0] != "N"} == set(numbers)


def test_errors_are_of_the_documents_that_have_them(project):
    """No error in the numbers of any other study, table or analysis."""
    errors = Counter(
        finding.check.place.file.rpartition("/")[2]
        for finding in project.audit.findings
        if finding.level == "error" and finding.check.verdict == "inconsistent"
    )
    assert set(errors) == {SEHOP}


def test_no_row_of_an_analysis_stays_out_for_an_error(project):
    reasons = [row.reason for rows in project.rows.values() for row in rows]
    assert not [reason for reason in reasons if reason.startswith("audit")]


def test_findings_have_what_a_reader_needs(project):
    for finding in project.audit.findings:
        check = finding.check
        if check.verdict == "inconsistent":
            assert check.printed, finding
            assert check.explanation, finding
            assert check.action, finding
            assert not check.explanation.endswith("."), finding
        elif check.verdict == "undecided":
            assert check.explanation, finding


@pytest.mark.parametrize("name", ["bcg", "normand1999", "konstantopoulos2011"])
def test_clean_reviews_have_no_error(name):
    found = load_project(ROOT / "reviews" / name / "config.yaml").audit.findings
    assert not [f for f in found if f.level == "error" and f.check.verdict == "inconsistent"]
