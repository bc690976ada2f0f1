"""The shipped reviews load, with the studies that each analysis is meant to have.

Included and all rows; the numbers of studies are those of the plan of syntheses, question by
question: which are estimable, which are listed only, and which have no data in the reports.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from evisynth.project import load_project

ROOT = Path(__file__).parents[2]

EXPECTED = {
    "config.yaml": {
        "orr_anti_gd2_chemo": (4, 4),
        "orr_randomised": (2, 2),
        "orr_chemo_alone": (5, 7),
        "orr_chemo_alone_with_simon": (6, 7),
        "orr_any_salvage": (1, 1),
        "mycn_os": (56, 57),  # 56 of Riley 2003, one beside
        "mycn_dfs": (42, 43),
        "pfs_1y": (0, 1),
        "pfs_median": (0, 1),
        "pfs_hazard_ratio": (0, 0),
    },
    "reviews/bcg/config.yaml": {
        "risk_ratio": (13, 13),
        "odds_ratio": (13, 13),
        "risk_difference": (13, 13),
    },
    "reviews/konstantopoulos2011/config.yaml": {"three_levels": (56, 56)},
    "reviews/normand1999/config.yaml": {
        "length_of_stay": (9, 9),
        "length_of_stay_standardised": (9, 9),
    },
}


@pytest.mark.parametrize("config", EXPECTED)
def test_the_studies_of_each_analysis(config):
    project = load_project(ROOT / config)
    found = {
        name: (sum(row.included for row in rows), len(rows))
        for name, rows in project.rows.items()
    }
    assert found == EXPECTED[config]
    for rows in project.rows.values():
        assert all(row.included != bool(row.reason) for row in rows)


def test_the_counts_of_the_main_question():
    rows = load_project(ROOT / "config.yaml").rows
    assert {row.study: tuple(row.numbers.values()) for row in rows["orr_anti_gd2_chemo"]} == {
        "anbl1221": (22, 53),
        "beacon-immuno": (13, 43),
        "federico-2017": (8, 13),
        "sacha-france": (5, 13),
    }
    assert {row.study: tuple(row.numbers.values()) for row in rows["orr_randomised"]} == {
        "anbl1221": (9, 17, 1, 18),
        "beacon-immuno": (13, 43, 4, 22),
    }
    assert [
        (row.study, *row.numbers.values()) for row in rows["orr_chemo_alone"] if row.included
    ] == [
        ("bagatell-2011", 8, 55),
        ("beacon-immuno", 4, 22),
        ("totem-2014", 9, 38),  # Di Giannatale 2014
        ("london-2010", 18, 57),  # topotecan and cyclophosphamide
        ("london-2010", 11, 59),  # topotecan
    ]
    (salvage,) = rows["orr_any_salvage"]
    assert tuple(salvage.numbers.values()) == (16, 66)
    assert "unit: episodes" in salvage.notes


def test_the_hazard_ratio_shown_beside_mycn():
    rows = load_project(ROOT / "config.yaml").rows
    for name, wanted in (("mycn_os", 4.72), ("mycn_dfs", 7.81)):
        shown = rows[name][-1]
        assert (shown.study, shown.included) == ("sehop-2025", False)
        assert shown.numbers["estimate"] == pytest.approx(wanted, rel=0.005)


def test_reading_the_input_imports_nothing_slow():
    code = (
        "import sys, evisynth.project; "
        "print(*{'numpy', 'scipy', 'pandas', 'matplotlib', 'difflib'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
