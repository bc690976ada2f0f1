"""A change rebuilds exactly what depends on it."""

import os
import shutil
from pathlib import Path

import pytest
from support.review import (
    AUDIT,
    EVIDENCE,
    PROVENANCE,
    Project,
    effects_of,
    engines_of,
    everything_of,
    plots_of,
    pooled_of,
    scrutiny_of,
    study,
    trace_of,
)

ALL = ("response", "contrast", "hazard")
SUMMARY = {"summary.csv"}


def test_a_run_makes_every_target(built: Project) -> None:
    assert set(built.times()) == EVIDENCE | AUDIT | SUMMARY | everything_of(*ALL) | PROVENANCE


def test_nothing_changed_nothing_runs(project: Project) -> None:
    assert project.build() == set()
    assert "Nothing to be done" in project.snakemake("-n").stdout


def test_touched_files_rebuild_nothing(project: Project) -> None:
    for name in ("config.yaml", "data/hazard.csv", "data/studies/ada.yaml"):
        (project.folder / name).touch()
    (project.folder / "workflow/src/evisynth/pooling.py").touch()
    assert project.build() == set()


def test_a_new_study_rebuilds_the_analyses_that_take_it_in(project: Project) -> None:
    project.write("data/studies/dora.yaml", study("dora", 8, 13))
    assert project.build() == (
        EVIDENCE
        | AUDIT
        | everything_of("response")
        | trace_of("contrast")
        | SUMMARY
        | PROVENANCE
    )


def test_a_removed_study_rebuilds_the_analyses_that_had_it(project: Project) -> None:
    (project.folder / "data/studies/cleo.yaml").unlink()
    assert project.build() == (
        EVIDENCE
        | AUDIT
        | everything_of("response")
        | trace_of("contrast")
        | SUMMARY
        | PROVENANCE
    )


def test_a_new_row_rebuilds_the_analysis_of_its_table(project: Project) -> None:
    project.edit("data/hazard.csv", "d,0.3,0.4\n", "d,0.3,0.4\ne,0.2,0.5\n")
    assert project.build() == AUDIT | everything_of("hazard") | SUMMARY | PROVENANCE


def test_a_number_printed_with_another_digit_is_scrutinised_and_not_pooled_again(
    project: Project,
) -> None:
    project.edit("data/hazard.csv", "a,0.1,0.2", "a,0.10,0.2")
    # what is printed is what the audit looks at and what a trace shows
    assert project.build() == AUDIT | scrutiny_of("hazard") | trace_of("hazard") | PROVENANCE


def test_shared_patients_concern_the_analyses_that_pool_both_studies(project: Project) -> None:
    project.edit(
        "data/studies/ada.yaml",
        "results:",
        "overlaps:\n  - {with: cleo, kind: same_patients, at_most: 2, certainty: stated}\n"
        "results:",
    )
    # a caveat of the fit, which is on the plot and in the summary
    fit = pooled_of("response") | scrutiny_of("response") | plots_of("response")
    # the declaration is a finding, and it moves the lines that traces lead to
    found = EVIDENCE | AUDIT | trace_of("response", "contrast")
    assert project.build() == found | fit | SUMMARY | PROVENANCE


def test_two_swapped_numbers_are_noticed(project: Project) -> None:
    project.edit("data/hazard.csv", "a,0.1,0.2\nb,0.4,0.3", "a,0.4,0.2\nb,0.1,0.3")
    assert project.build() == AUDIT | everything_of("hazard") | SUMMARY | PROVENANCE


def test_a_comment_in_a_study_file_refits_nothing(project: Project) -> None:
    file = project.folder / "data/studies/cleo.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "# a comment\n", encoding="utf-8")
    assert project.build() == EVIDENCE | PROVENANCE


def test_lines_that_move_are_what_the_audit_says(project: Project) -> None:
    project.edit("data/studies/cleo.yaml", "study: cleo", "# a comment\n\nstudy: cleo")
    assert project.build() == EVIDENCE | AUDIT | trace_of("response", "contrast") | PROVENANCE


def test_a_decision_rebuilds_what_it_lets_in(project: Project) -> None:
    project.edit(
        "config.yaml",
        "analyses:",
        "audit:\n  accepted_flags:\n    - {table: data/hazard.csv, rule: EXTREME, "
        "place: row 9, decision: exclude, reason: r, who: P, when: 2026-11-21}\nanalyses:",
    )
    assert project.build() == AUDIT | PROVENANCE  # row 9 is none: only that this is said
    project.edit("data/hazard.csv", "d,0.3,0.4\n", "d,0.3,1.9\n")
    project.edit("config.yaml", "row 9", "row 4")
    assert project.build() == AUDIT | everything_of("hazard") | SUMMARY | PROVENANCE
    rows = (project.folder / "results/hazard/effects.csv").read_text(encoding="utf-8")
    assert "excluded by P on 2026-11-21: r" in rows
    project.edit("config.yaml", "decision: exclude", "decision: accept")
    assert project.build() == AUDIT | everything_of("hazard") | SUMMARY | PROVENANCE


def test_a_comment_in_the_configuration_rebuilds_nothing(project: Project) -> None:
    project.edit("config.yaml", "analyses:", "# a comment\nanalyses:")
    assert project.build() == PROVENANCE


def test_a_title_redraws_and_refits_nothing(project: Project) -> None:
    project.edit("config.yaml", "title: Response, new v old", "title: New v old")
    assert project.build() == (
        plots_of("contrast") | trace_of("contrast") | SUMMARY | PROVENANCE
    )


def test_a_plot_option_redraws_and_refits_nothing(project: Project) -> None:
    project.edit(
        "config.yaml", "    measure: RR", "    measure: RR\n    forest: {sort: effect}"
    )
    assert project.build() == plots_of("contrast") | PROVENANCE


def test_a_method_repools_and_keeps_the_effect_sizes(project: Project) -> None:
    project.edit("config.yaml", "    measure: HR", "    measure: HR\n    model: {method: PM}")
    assert project.build() == (
        pooled_of("hazard")
        | engines_of("hazard")
        | scrutiny_of("hazard")
        | plots_of("hazard")
        | trace_of("hazard")
        | SUMMARY
        | PROVENANCE
    )


def test_a_new_analysis_rebuilds_only_itself_and_the_summary(project: Project) -> None:
    project.edit(
        "config.yaml",
        "  hazard:",
        "  odds:\n    title: Odds\n    outcome: orr\n    measure: OR\n    contrast: "
        "{numerator: {treatment: new}, denominator: {treatment: old}}\n  hazard:",
    )
    assert project.build() == AUDIT | everything_of("odds") | SUMMARY | PROVENANCE


@pytest.mark.parametrize(
    ("module", "rebuilt"),
    [
        ("plots/forest.py", plots_of(*ALL)),
        ("engines.py", engines_of(*ALL)),
        ("steps/summary.py", SUMMARY),
        ("audit_page.py", AUDIT),
        (
            "heterogeneity.py",
            everything_of(*ALL) - effects_of(*ALL) | SUMMARY,
        ),
        ("measures/effects.py", everything_of(*ALL) | SUMMARY),
        ("scrutiny/rounding.py", scrutiny_of(*ALL)),
    ],
)
def test_an_edit_of_a_module_rebuilds_what_it_computes(
    project: Project, module: str, rebuilt: set[str]
) -> None:
    path = project.folder / "workflow/src/evisynth" / module
    path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = True\n", encoding="utf-8")
    assert project.build() == rebuilt | PROVENANCE


@pytest.mark.parametrize(
    ("deleted", "rebuilt"),
    [
        ("evidence/audit.csv", AUDIT),
        ("contrast/plots/forest.pdf", plots_of("contrast")),
        (
            "hazard/fit.json",
            everything_of("hazard") - effects_of("hazard") - engines_of("hazard") | SUMMARY,
        ),
        ("summary.csv", SUMMARY),
    ],
)
def test_a_deleted_result_is_made_again_with_what_follows(
    project: Project, deleted: str, rebuilt: set[str]
) -> None:
    (project.folder / "results" / deleted).unlink()
    assert project.build() == rebuilt | PROVENANCE


@pytest.mark.parametrize("lost", ["all", "one"])
def test_results_without_their_record_are_refused(project: Project, lost: str) -> None:
    records = project.folder / ".snakemake/metadata"
    if lost == "all":
        shutil.rmtree(records)
    else:
        max(records.rglob("*"), key=lambda path: path.stat().st_mtime).unlink()
    project.edit("data/hazard.csv", "a,0.1,0.2", "a,0.5,0.2")
    run = project.snakemake()
    assert run.returncode != 0
    assert "rm -r 'results'" in run.stderr
    shutil.rmtree(project.folder / "results")
    assert len(project.build()) == len(
        EVIDENCE | AUDIT | SUMMARY | PROVENANCE | everything_of(*ALL)
    )


def test_results_are_the_same_bytes_with_one_core_or_two_and_in_another_folder(
    built: Project, tmp_path: Path
) -> None:
    other = Project(tmp_path / "elsewhere").create()
    other.build("--cores", "1")
    assert other.digests() == built.digests()


def test_another_review_has_its_own_results(project: Project) -> None:
    before = project.digests()
    review = project.folder / "reviews/second"
    (review / "data").mkdir(parents=True)
    shutil.copy(project.folder / "data/hazard.csv", review / "data")
    project.write(
        "reviews/second/config.yaml",
        "review: {title: Second, question: And this}\nanalyses:\n  hazard:\n    title: Hazard\n"
        "    table: data/hazard.csv\n    columns: {study: study, yi: yi, sei: sei}\n"
        "    measure: HR\n",
    )
    run = project.snakemake("--configfile", "reviews/second/config.yaml")
    assert run.returncode == 0, run.stderr
    assert (review / "results/hazard/pooled.csv").exists()
    tables = sorted(path.name for path in (review / "results/evidence").iterdir())
    assert tables == ["audit.csv", "audit.html", "audit_rules.csv"]
    assert project.digests() == before
    assert project.build() == set()


def test_an_older_file_that_is_put_back_is_noticed_everywhere(project: Project) -> None:
    project.edit("data/studies/cleo.yaml", "label: Cleo 2020", "label: Cleo 1999")
    os.utime(project.folder / "data/studies/cleo.yaml", (1e9, 1e9))
    # the page of the audit names studies by their labels
    assert project.build() == (
        EVIDENCE
        | AUDIT
        | everything_of("response")
        | trace_of("contrast")
        | SUMMARY
        | PROVENANCE
    )


def test_results_that_were_only_touched_are_refused(project: Project) -> None:
    project.edit("data/hazard.csv", "a,0.1,0.2", "a,0.5,0.2")
    assert project.snakemake("--touch").returncode == 0
    run = project.snakemake()
    assert run.returncode != 0
    assert "rm 'results/hazard/effect_sizes.json'" in run.stderr


def test_rerun_triggers_that_would_miss_changes_are_refused(project: Project) -> None:
    run = project.snakemake("--rerun-triggers", "mtime")
    assert run.returncode != 0
    assert "leave out --rerun-triggers" in run.stderr


def test_results_of_an_analysis_that_is_gone_are_named(project: Project) -> None:
    project.edit("config.yaml", "  hazard:", "  danger:")
    run = project.snakemake()
    assert run.returncode == 0
    assert "rm -r 'results/hazard'" in run.stderr
