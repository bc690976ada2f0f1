"""The reviews that ship, built as a user builds them, and what they say."""

import csv
import math
import re
import shutil
from pathlib import Path

import pytest
from support.review import ROOT, Project

PROPORTION = 0.0005  # the plan prints per cent with one decimal
TWO_DECIMALS = 0.005
OS = {
    "estimate": 5.09630541458,
    "ci_low": 3.98328353106,
    "ci_high": 6.5203314492,
    "pi_low": 1.46300411275,
    "pi_high": 17.7527381176,
}
DFS = {
    "estimate": 4.39483091527,
    "ci_low": 3.38178600233,
    "ci_high": 5.71134269303,
    "pi_low": 1.21702284225,
    "pi_high": 15.8703173871,
}
REVIEWS = ("bcg", "konstantopoulos2011", "normand1999")
TWELVE_DIGITS = 1e-9  # metafor's results are stored with 12 digits


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of all reviews, each built once."""
    project = Project(tmp_path_factory.mktemp("shipped") / "a review")
    project.folder.mkdir()
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, project.folder)
    for name in ("workflow", "profiles", "envs", "data", "reviews"):
        shutil.copytree(
            ROOT / name,
            project.folder / name,
            ignore=shutil.ignore_patterns("__pycache__", "results"),
        )
    for config in ("config.yaml", *(f"reviews/{name}/config.yaml" for name in REVIEWS)):
        project.build("--configfile", config)
    return project


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def headline(project: Project, analysis: str, review: str = ".") -> dict[str, str]:
    """The headline of an analysis on the display scale."""
    found = [
        row
        for row in rows(project.folder / review / "results" / analysis / "pooled.csv")
        if row["headline"] == "true" and row["scale"] == "display"
    ]
    assert len(found) == 1
    return found[0]


def close(row: dict[str, str], tolerance: float, **expected: float) -> None:
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, abs=tolerance), name


def test_response_to_anti_gd2_with_chemotherapy(shipped: Project) -> None:
    row = headline(shipped, "orr_anti_gd2_chemo")
    assert (row["k"], row["method"], row["n_total"]) == ("4", "GLMM", "122")
    # computed with R for the plan of the review: GLMM 39.3% (31.1-48.3, normal quantile)
    normal, t = 1.959964, 3.182446
    half = (math.log(0.483 / 0.517) - math.log(0.311 / 0.689)) / 2 * t / normal
    centre = math.log(0.393 / 0.607)
    low, high = (1 / (1 + math.exp(-x)) for x in (centre - half, centre + half))
    # three ends of 3 digits
    close(row, 3 * PROPORTION, estimate=0.393, ci_low=low, ci_high=high)
    # ... and beside it 39.9% (24.0-58.2), prediction 20.0-63.7
    beside = next(
        row
        for row in rows(shipped.folder / "results/orr_anti_gd2_chemo/pooled.csv")
        if (row["method"], row["test"], row["scale"]) == ("REML", "adhoc", "display")
    )
    close(
        beside,
        PROPORTION,
        estimate=0.399,
        ci_low=0.240,
        ci_high=0.582,
        pi_low=0.200,
        pi_high=0.637,
    )


def test_two_trials_have_no_knapp_hartung_headline(shipped: Project) -> None:
    row = headline(shipped, "orr_randomised")
    assert row["k"] == "2"
    assert row["test"] == "z"
    assert row["pi_low"] == ""
    dl = next(
        row
        for row in rows(shipped.folder / "results/orr_randomised/pooled.csv")
        if (row["method"], row["test"], row["scale"]) == ("DL", "z", "display")
    )
    # computed with R for the plan of the review: DL 3.22 (0.61-16.9)
    close(dl, TWO_DECIMALS, estimate=3.22, ci_low=0.61)
    close(dl, 0.05, ci_high=16.9)


def test_response_to_chemotherapy_alone_leaves_out_the_first_line_patients(
    shipped: Project,
) -> None:
    row = headline(shipped, "orr_chemo_alone")
    assert row["k"] == "5"
    effects = rows(shipped.folder / "results/orr_chemo_alone/effects.csv")
    left_out = {r["study"]: r["reason"] for r in effects if r["included"] == "false"}
    assert set(left_out) == {"amoroso-2017", "simon-2007"}
    assert "first-line" in left_out["amoroso-2017"]


@pytest.mark.parametrize(
    ("analysis", "k", "expected"),
    [
        # metafor 5.0-1, tests/reference/riley2003_{os,dfs}.json, re/REML, knha
        ("mycn_os", "56", OS),
        ("mycn_dfs", "42", DFS),
    ],
)
def test_mycn_with_sehop_beside_and_not_pooled(
    shipped: Project, analysis: str, k: str, expected: dict[str, float]
) -> None:
    row = headline(shipped, analysis)
    assert row["k"] == k
    close(row, TWELVE_DIGITS, **expected)
    (sehop,) = [
        r
        for r in rows(shipped.folder / f"results/{analysis}/effects.csv")
        if r["study"] == "sehop-2025"
    ]
    assert sehop["included"] == "false"
    assert "inverted" in sehop["notes"]
    assert sehop["weight"] == ""


def test_sehop_shown_in_the_direction_of_the_analysis(shipped: Project) -> None:
    (sehop,) = [
        r
        for r in rows(shipped.folder / "results/mycn_os/effects.csv")
        if r["study"] == "sehop-2025"
    ]
    # printed: 0.212 (0.08-0.57) for non-amplified v amplified
    close(sehop, 1e-12, ci_low=1 / 0.57, ci_high=1 / 0.08)
    assert float(sehop["yi"]) == pytest.approx(1.5511690043101247, abs=1e-12)


@pytest.mark.parametrize(
    ("analysis", "words"),
    [
        ("orr_any_salvage", "k = 1"),
        ("pfs_1y", "not estimable"),
        ("pfs_median", "medians of survival times are not averaged"),
        ("pfs_hazard_ratio", "no report that was seen prints a hazard ratio"),
    ],
)
def test_what_cannot_be_estimated_says_why(shipped: Project, analysis: str, words: str) -> None:
    folder = shipped.folder / "results" / analysis
    (row,) = rows(folder / "pooled.csv")
    assert row["estimate"] == row["ci_low"] == row["tau2"] == ""
    assert words in row["notes"]
    svg = (folder / "plots/forest.svg").read_text(encoding="utf-8")
    assert "diamond" not in svg
    (summary,) = [
        r for r in rows(shipped.folder / "results/summary.csv") if r["analysis"] == analysis
    ]
    assert words in summary["notes"]


def test_bcg(shipped: Project) -> None:
    # tau2 to 40 digits by mpmath; the rest by metafor 5.0-1
    row = next(
        r
        for r in rows(shipped.folder / "reviews/bcg/results/risk_ratio/pooled.csv")
        if (r["method"], r["test"], r["scale"]) == ("REML", "knha", "analysis")
    )
    assert float(row["tau2"]) == pytest.approx(0.3132432581364809, abs=1e-12)
    close(row, 1e-6, estimate=-0.714532, se=0.180792, pi_low=-1.996017, pi_high=0.566952)


def test_bcg_carries_its_moderators(shipped: Project) -> None:
    effects = rows(shipped.folder / "reviews/bcg/results/risk_ratio/effects.csv")
    assert len(effects) == 13
    assert {"year", "ablat", "alloc"} <= set(effects[0])


def bcg(shipped: Project, table: str, **wanted: str) -> dict[str, str]:
    """The only row of a table of the BCG review, on the analysis scale."""
    found = rows(shipped.folder / "reviews/bcg/results" / table)
    (row,) = [
        row
        for row in found
        if row.get("scale", "analysis") == "analysis"
        and all(row[key] == value for key, value in wanted.items())
    ]
    return row


def test_bcg_regression_on_latitude(shipped: Project) -> None:
    # metafor: rma(yi, vi, mods = ~ ablat): 0.2515 - 0.0291 ablat, tau2 0.0764, R2 75.62%
    row = bcg(shipped, "risk_ratio/regression.csv", regression="latitude", name="ablat")
    close(row, 1e-9, estimate=-0.02910172501165, se=0.00820141741104)
    assert 0 < float(row["permutation_p"]) < 0.05
    for quantity, value in (("tau2", 0.0763479639552), ("r2", 75.6266218116)):
        row = bcg(
            shipped,
            "risk_ratio/regression_tests.csv",
            regression="latitude",
            quantity=quantity,
        )
        close(row, 1e-8, value=value)


def test_bcg_regression_on_latitude_and_year(shipped: Project) -> None:
    # metafor: rma(yi, vi, mods = ~ ablat + year, test = "knha")
    quantity = "test of all moderators"
    row = bcg(
        shipped,
        "risk_ratio/regression_tests.csv",
        regression="latitude_and_year",
        quantity=quantity,
    )
    close(row, 1e-9, value=4.96494755589902, p=0.0318035012856683)


def test_bcg_subgroups_by_allocation(shipped: Project) -> None:
    # metafor: rma(yi, vi, mods = ~ alloc, test = "knha"); two studies are too few for a tau2
    row = bcg(shipped, "risk_ratio/subgroup_tests.csv", by="alloc")
    close(row, 1e-9, statistic=0.966220844813431, p=0.413383745721621)
    assert row["tau2_rule"] == "common"


@pytest.mark.parametrize(
    ("model", "method", "expected", "tolerance"),
    [
        # metafor: rma.mh, rma.peto, rma.glmm; the last with 7 nodes, good to 1e-5
        ("common", "MH", {"estimate": -0.473410988388585, "se": 0.0410077784042314}, 1e-12),
        ("common", "PETO", {"estimate": -0.474446310940636, "se": 0.0406590807446483}, 1e-12),
        ("random", "UM.FS", {"estimate": -0.745013466103}, 2e-5),
        ("random", "CM.EL", {"estimate": -0.7538105091}, 2e-5),
        ("random", "CM.AL", {"estimate": -0.722116995623}, 2e-5),
    ],
)
def test_bcg_odds_ratio_by_other_families(
    shipped: Project, model: str, method: str, expected: dict[str, float], tolerance: float
) -> None:
    row = bcg(shipped, "odds_ratio/pooled.csv", model=model, method=method)
    close(row, tolerance, **expected)


def test_konstantopoulos_2011_three_levels(shipped: Project) -> None:
    # metafor 5.0-1 and clubSandwich, tests/reference/dependence/konstantopoulos2011.json
    row = headline(shipped, "three_levels", "reviews/konstantopoulos2011")
    assert (row["k"], row["test"]) == ("56", "CR2")
    close(row, 1e-7, estimate=0.184713163777, ci_low=-0.00382548346, ci_high=0.373251811)
    folder = shipped.folder / "reviews/konstantopoulos2011/results/three_levels"
    district, school = rows(folder / "components.csv")
    close(district, 1e-7, value=0.0650619443)
    close(school, 1e-7, value=0.0327365170)
    rve = next(r for r in rows(folder / "pooled.csv") if r["model"] == "rve")
    close(rve, 1e-9, estimate=0.129170205891, se=0.0796397806568)  # robumeta 2.1


def test_normand(shipped: Project) -> None:
    # metafor 5.0-1, tests/reference/normand1999.json, re/MD/REML
    row = next(
        r
        for r in rows(shipped.folder / "reviews/normand1999/results/length_of_stay/pooled.csv")
        if (r["method"], r["test"], r["scale"]) == ("REML", "z", "analysis")
    )
    close(row, 1e-7, estimate=-15.1060274735, tau2=684.64615193)


def test_the_evidence_tables_list_what_is_not_used(shipped: Project) -> None:
    results = rows(shipped.folder / "results/evidence/results.csv")
    not_used = [row for row in results if row["use"] == "false"]
    assert not_used
    assert all(row["why_not"] for row in not_used)
    assert all(row["quote"] and row["report"] for row in results)
    studies = {
        row["study"]: row for row in rows(shipped.folder / "results/evidence/studies.csv")
    }
    assert studies["naxi-201"]["excluded"]
    assert studies["sehop-2025"]["reports"] == "2"


def test_every_engine_agrees(shipped: Project) -> None:
    files = sorted(shipped.folder.glob("**/results/*/engines.csv"))
    assert len(files) == 16
    compared = [row for path in files for row in rows(path)]
    assert {row["engine"] for row in compared} == {"pymare", "statsmodels"}
    assert all(row["agrees"] == "true" for row in compared)


def test_the_picture_of_the_readme_is_the_plot_of_the_run(shipped: Project) -> None:
    words = re.compile(r"<text[^>]*>(?:<!--.*?-->)?([^<]*)")
    picture = (ROOT / "docs/images/orr_anti_gd2_chemo.svg").read_text(encoding="utf-8")
    plot = shipped.folder / "results/orr_anti_gd2_chemo/plots/forest.svg"
    assert words.findall(picture) == words.findall(plot.read_text(encoding="utf-8"))
    assert "docs/images/orr_anti_gd2_chemo.svg" in (ROOT / "README.md").read_text("utf-8")
