"""Further models, moderators and dependence in whole runs; numbers are metafor 3.8-1's."""

import csv
import math
import re
import shutil
from pathlib import Path
from statistics import NormalDist

import pytest
from support.review import ROOT, Project, moderators_of, study

from evisynth.measures import compute_effects
from evisynth.project import load_project
from evisynth.steps.pool import fit_analysis

SIX_DIGITS = 1e-6  # rma.mv's optimiser stops there; rma's own loops are tightened to 1e-14

CONFIG = """\
review: {title: Models, question: Do they work?}
evidence: {studies: data/studies, outcomes: data/outcomes.yaml}
defaults: {preset: metafor}
analyses:
  bcg:
    title: BCG
    table: data/bcg.csv
    columns: {study: study, label: label, year: year, ai: tpos, bi: tneg, ci: cpos, di: cneg}
    moderators: [ablat, alloc]
    measure: RR
    model: {test: knha, prediction: HK}
    also:
      - {family: MH}
      - {method: fixed, tau2: 0.3}
      - {method: fixed, tau2: 0.4}
      - {test: kr}
    thresholds: [0.5]
    intervals: [QP, PL-REML]
    subgroups: [{by: alloc, tau2: separate}, {by: alloc, tau2: common}]
    regressions:
      latitude: {formula: ablat, permutations: 200, predict: [{ablat: 33}]}
      allocation: {formula: alloc, reference: {alloc: alternate}, test: z}
    plots: []
  shared:
    title: Trials with one control group for several arms
    table: data/shared.csv
    columns: {study: arm, cluster: trial, ai: ai, n1i: n1i, ci: ci, n2i: n2i}
    moderators: [trial]
    measure: OR
    model: {family: MV}
    dependence: {levels: [trial], shared_arm: trial}
    plots: []
  rve:
    title: Several effects of a study
    table: data/assink2016.csv
    columns: {study: study, cluster: study, yi: yi, vi: vi}
    measure: GEN
    model: {family: RVE}
    dependence: {rho: 0.8, grid: [0, 0.5]}
    plots: []
  derived:
    title: Means from quartiles, intervals of another level
    table: data/quartiles.csv
    columns: {study: study, m1i: m1, sd1i: sd1, n1i: n1, m2i: m2, sd2i: sd2, n2i: n2,
      q11i: q1, med1i: med, q31i: q3}
    measure: MD
    plots: []
  ratio:
    title: Published ratios with 90% intervals
    table: data/ratio.csv
    columns: {study: study, estimate: hr, ci_low: low, ci_high: high, ci_level: level}
    measure: GEN
    measure_options: {transformation: exp}
    model: {effects: common}
    plots: []
  response:
    title: Response, studies that share patients
    outcome: orr
    arms: {treatment: new}
    moderators: [design]
    measure: PLO
    model: {family: MV}
    dependence: {levels: [study], overlaps: yes}
    subgroups: [{by: design}]
    plots: []
"""

SHARED = """\
arm,trial,ai,n1i,ci,n2i
p1,p,12,100,20,100
p2,p,9,90,20,100
q1,q,20,120,31,130
q2,q,15,110,31,130
r,r,8,60,16,70
s,s,14,95,19,100
"""
QUARTILES = """\
study,m1,sd1,n1,m2,sd2,n2,q1,med,q3
a,,,40,5.1,2.2,38,4,5.5,7
b,6.2,2.1,51,5.0,1.9,47,,,
c,5.9,2.4,33,5.5,2.0,30,,,
"""
RATIO = """\
study,hr,low,high,level
a,1.2,0.9,1.6,0.9
b,0.8,0.5,1.28,0.9
c,1.9,1.1,3.28181818,0.9
d,1.4,1.0,1.96,0.9
"""
OVERLAP = "overlaps: [{with: bea, kind: same_centres, at_most: 10, certainty: likely}]\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("models") / "a review").create()
    project.write("config.yaml", CONFIG)
    for name, content in (("shared", SHARED), ("quartiles", QUARTILES), ("ratio", RATIO)):
        project.write(f"data/{name}.csv", content)
    shutil.copy(ROOT / "reviews/bcg/data/bcg.csv", project.folder / "data")
    shutil.copy(ROOT / "tests/data/assink2016.csv", project.folder / "data")
    project.write("data/studies/ada.yaml", study("ada", 13, 43) + OVERLAP)
    project.write("data/studies/bea.yaml", study("bea", 9, 17))
    project.write("data/studies/cleo.yaml", study("cleo", 5, 13))
    project.write("data/studies/dora.yaml", study("dora", 12, 40))
    project.build()
    return project


@pytest.fixture
def project(models: Project, tmp_path: Path) -> Project:
    folder = tmp_path / "a review"
    shutil.copytree(models.folder, folder)
    return Project(folder)


def rows(project: Project, name: str, /, **wanted: str) -> list[dict[str, str]]:
    with (project.folder / "results" / name).open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def one(project: Project, name: str, /, **wanted: str) -> dict[str, str]:
    (row,) = rows(project, name, **wanted)
    return row


def close(row: dict[str, str], tolerance: float = 1e-9, **expected: float) -> None:
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, rel=tolerance), name


def headline(project: Project, analysis: str) -> dict[str, str]:
    return one(project, f"{analysis}/pooled.csv", headline="true", scale="analysis")


def test_every_model_that_is_asked_for_has_its_row(models: Project) -> None:
    pooled = rows(models, "bcg/pooled.csv", scale="analysis")
    asked = [row for row in pooled if row["method"] == "fixed"]
    assert {row["tau2"] for row in asked} == {"0.3", "0.4"}
    close(
        one(models, "bcg/pooled.csv", method="MH", scale="analysis"),
        estimate=-0.4537096046837539,
    )
    assert len([row for row in pooled if row["test"] == "kr"]) == 1
    intervals = rows(models, "bcg/tau2_intervals.csv")
    assert [row["kind"] for row in intervals] == ["QP", "PL-REML"]
    assert len(rows(models, "bcg/beyond.csv", threshold="0.5")) == 4


def test_subgroups_with_their_own_tau2(models: Project) -> None:
    expected = {
        "alternate": (-0.54079296184935, 0.13257703987809),
        "random": (-0.97096470426310, 0.39252800690085),
        "systematic": (-0.42420739151088, 0.40034588017508),
    }
    for level, (estimate, tau2) in expected.items():
        row = one(
            models,
            "bcg/subgroups.csv",
            subgroup=level,
            tau2_rule="separate",
            scale="analysis",
        )
        close(row, estimate=estimate, tau2=tau2)
    # two studies: never an interval of 1 degree of freedom
    assert (
        one(
            models,
            "bcg/subgroups.csv",
            subgroup="alternate",
            tau2_rule="separate",
            scale="analysis",
        )["test"]
        == "z"
    )


def test_subgroups_with_one_tau2_and_their_interaction(models: Project) -> None:
    # rma(yi, vi, mods = ~ alloc, test = "knha")
    row = one(models, "bcg/subgroup_tests.csv", tau2_rule="common")
    close(row, statistic=0.966220844813431, p=0.413383745721621, df=2, df2=10)


def test_regression_on_latitude(models: Project) -> None:
    # rma(yi, vi, mods = ~ ablat, test = "knha") and predict(newmods = 33)
    for name, estimate, se in (
        ("intercept", 0.2514682100073704, 0.2839252837433831),
        ("ablat", -0.0291017250116497, 0.0082014174110366),
    ):
        row = one(models, "bcg/regression.csv", regression="latitude", name=name)
        close(row, estimate=estimate, se=se)
        assert 0 < float(row["permutation_p"]) <= 1
        assert "smallest p-value" in row["notes"]
    r2 = one(models, "bcg/regression_tests.csv", regression="latitude", quantity="r2")
    close(r2, value=75.62662181162165)
    on_display = one(models, "bcg/predictions.csv", scale="display")
    close(on_display, estimate=0.492190857788907)


def test_regression_on_categories(models: Project) -> None:
    # rma(yi, vi, mods = ~ alloc)
    names = ("intercept", "alloc[random]", "alloc[systematic]")
    expected = (-0.5179557771552934, -0.4478184013905518, 0.0890382162317168)
    for name, estimate in zip(names, expected, strict=True):
        row = one(models, "bcg/regression.csv", regression="allocation", name=name)
        close(row, estimate=estimate)
        assert row["test"] == "z"


def test_shared_control_groups(models: Project) -> None:
    # rma.mv(yi, V, random = ~ 1 | trial), V with 1/ci + 1/di between arms of one trial
    row = headline(models, "shared")
    close(row, SIX_DIGITS, estimate=-0.552885301872, se=0.174306271171)
    assert "covariances from shared control groups" in row["notes"]
    naive = one(
        models, "shared/pooled.csv", method="REML", test="z", model="random", scale="analysis"
    )
    assert "6 rows of 4 clusters (studies) are pooled as independent" in naive["notes"]


def test_several_effects_of_a_study(models: Project) -> None:
    # robumeta 2.1, tests/reference/dependence/assink2016.json
    row = headline(models, "rve")
    close(row, 1e-8, estimate=0.358619113773, se=0.089192732735, df=14.3716582706)
    assert "independent" not in row["notes"]
    found = rows(models, "rve/pooled.csv", model="rve", scale="analysis")
    for other, estimate in zip(found[1:], (0.3582553046, 0.358483050558), strict=True):
        close(other, 1e-8, estimate=estimate)


def test_a_mean_and_sd_from_quartiles(models: Project) -> None:
    (a, b, c) = rows(models, "derived/effects.csv")
    assert "derived" in a["notes"]
    assert "Wan" in a["notes"]
    assert "derived" not in b["notes"] + c["notes"]
    # Wan et al. (2014), equation 16, and Luo et al. (2018), equation 15
    sd = (7 - 4) / (2 * NormalDist().inv_cdf((0.75 * 40 - 0.125) / (40 + 0.25)))
    share = 0.7 + 0.39 / 40
    close(a, sd1i=sd)
    close(a, m1i=share * (4 + 7) / 2 + (1 - share) * 5.5)
    assert headline(models, "derived")["k"] == "3"


def test_ratios_with_intervals_of_another_level(models: Project) -> None:
    # rma(log(hr), sei = (log(high) - log(low)) / (2 * qnorm(0.95)), method = "EE")
    row = one(models, "ratio/pooled.csv", headline="true", scale="display")
    close(row, 1e-8, estimate=1.24519913691)


def test_declared_overlaps_are_in_the_covariances(models: Project) -> None:
    # rma.mv(yi, V, random = ~ 1 | study) with V[1, 2] = 10 / sqrt(43 * 17) * sqrt(v1 * v2)
    row = headline(models, "response")
    close(row, SIX_DIGITS, estimate=-0.6216146640811, se=0.2660017428917)
    assert "share at most 10 patients (likely); this is in the covariances" in row["notes"]
    assert "counted twice" not in row["notes"]


def test_subgroups_of_study_files_say_what_they_stand_on(models: Project) -> None:
    row = one(models, "response/subgroup_tests.csv")
    assert "there is one subgroup only" in row["notes"]
    assert "the family MV has no moderators" in row["notes"]
    assert rows(models, "response/effects.csv")[0]["design"] == "single_arm"


def test_a_model_that_the_numbers_do_not_allow_says_so_in_its_row(
    project: Project,
) -> None:
    """Control groups without events have no covariance; the other models are not touched."""
    project.edit("data/shared.csv", "p1,p,12,100,20,100", "p1,p,12,100,0,100")
    project.edit("data/shared.csv", "p2,p,9,90,20,100", "p2,p,9,90,0,100")
    project.edit(
        "config.yaml",
        "    model: {family: MV}\n    dependence: {levels: [trial], shared_arm: trial}",
        "    also: [{method: DL}, {family: MV}]\n"
        "    dependence: {levels: [trial], shared_arm: trial}",
    )
    loaded = load_project(project.folder / "config.yaml")
    settings = loaded.effects_settings("shared")
    effects = compute_effects(
        "OR", loaded.rows["shared"], level=settings["level"], **settings["zero_cells"]
    )
    fit = fit_analysis(effects, loaded.pooling_settings("shared"), "config.yaml")
    assert math.isfinite(fit.headline.estimate)
    (row,) = (row for row in fit.estimates if row.model == "multilevel")
    assert math.isnan(row.estimate)
    assert any("not estimable" in note and "control group" in note for note in row.notes)


EFFECTS, POOLED, MODERATORS = "Effect sizes of", "Pooled estimates of", "Subgroups and"
ENGINES, SCRUTINY = "Other software on", "Audit and dependence of"
CHANGES = {
    "a formula": ("formula: ablat,", "formula: ablat + year,", {MODERATORS}),
    "a prediction": ("{ablat: 33}", "{ablat: 44}", {MODERATORS}),
    "a subgroup": ("by: alloc, tau2: separate", "by: alloc, tau2: auto", {MODERATORS}),
    "a threshold": ("thresholds: [0.5]", "thresholds: [0.6]", {POOLED, SCRUTINY}),
    "another model beside": ("tau2: 0.4", "tau2: 0.5", {POOLED, SCRUTINY}),
    "an interval": (
        "intervals: [QP, PL-REML]",
        "intervals: [QP]",
        {POOLED, SCRUTINY},
    ),
    "the model": (
        "model: {test: knha,",
        "model: {test: z,",
        {POOLED, MODERATORS, ENGINES, SCRUTINY},
    ),
}


def planned(project: Project) -> set[str]:
    """Jobs of a dry run, but for what follows from them: trace, summary, provenance, all."""
    run = project.snakemake("-n")
    assert run.returncode == 0, run.stderr
    jobs = re.findall(r"Job \d+: (.*)", run.stdout)
    return {
        job for job in jobs if not job.startswith(("Trace", "Summary", "Provenance", "All"))
    }


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_what_depends_on_it(project: Project, change: str) -> None:
    old, new, jobs = CHANGES[change]
    if change == "a formula":
        project.edit("config.yaml", "predict: [{ablat: 33}]", "predict: []")
    project.edit("config.yaml", old, new)
    names = {job: "regressions of bcg" if job == MODERATORS else "bcg" for job in jobs}
    assert planned(project) == {f"{job} {name}" for job, name in names.items()}


def test_a_moderator_in_the_table_runs_the_whole_analysis(project: Project) -> None:
    project.edit("data/bcg.csv", "11,128,44,random", "11,128,45,random")
    names = {f"{job} bcg" for job in (EFFECTS, POOLED, ENGINES, SCRUTINY)}
    assert planned(project) == names | {f"{MODERATORS} regressions of bcg"}


def test_what_only_the_numbers_tell_is_said_with_its_place(project: Project) -> None:
    before = project.digests()
    project.edit(
        "config.yaml", "predict: [{ablat: 33}]", "contrasts: {x: {alat: 1}}, predict: []"
    )
    project.edit("config.yaml", "shared_arm: trial", "rho: -0.9, within: trial")
    project.edit("config.yaml", "title: Response, studies", "title: Studies")
    project.edit("config.yaml", "thresholds: [0.5]", "thresholds: [0.6]")
    run = project.snakemake("--keep-going")
    assert run.returncode != 0
    log = (project.folder / "results/logs/moderators/bcg.log").read_text(encoding="utf-8")
    assert "config.yaml: analyses.bcg.regressions.latitude.contrasts" in log
    assert "no coefficient alat" in log
    assert "Traceback" not in log
    assert "the tables of this step are not there until mended" in log
    after = project.digests()
    changed = {name for name in after if before.get(name) != after[name]}
    # none is left that the former configuration gave
    assert before.keys() - after.keys() == moderators_of("bcg")
    assert {"bcg/beyond.csv", "summary.csv", "shared/fit.json"} <= changed
    pooled = one(project, "shared/pooled.csv", headline="true", scale="analysis")
    assert "correlation of -0.9" in pooled["notes"]
