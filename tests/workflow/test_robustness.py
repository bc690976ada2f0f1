"""What goes wrong leaves no half-written result, and the next run goes on."""

import os
import resource
import signal
import subprocess
import time

import pytest
from support.review import AUDIT, EVIDENCE, PROVENANCE, Project, everything_of

ALL = (
    EVIDENCE
    | AUDIT
    | {"summary.csv"}
    | everything_of("response", "contrast", "hazard")
    | PROVENANCE
)

MISTAKES = {
    "a missing study folder": ("config.yaml", "data/studies", "data/studie"),
    "invalid YAML": ("config.yaml", "analyses:", "analyses: ["),
    "a key that is given twice": ("config.yaml", "  response:", "  hazard: {}\n  response:"),
    "an unknown measure": ("config.yaml", "measure: PLO", "measure: PLOX"),
    "more events than patients": ("data/studies/ada.yaml", "events: 13", "events: 99"),
    "a variance of zero": ("data/hazard.csv", "b,0.4,0.3", "b,0.4,0"),
    "no study at all": ("config.yaml", "arms: {treatment: new}", "arms: {treatment: newer}"),
    "two studies with one id": ("data/studies/bea.yaml", "study: bea", "study: ada"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_stops_the_run_and_leaves_the_results(project: Project, mistake: str) -> None:
    before = project.digests()
    file, old, new = MISTAKES[mistake]
    project.edit(file, old, new)
    run = project.snakemake()
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    assert "found:" in run.stderr
    assert "to do:" in run.stderr
    assert project.digests() == before


def test_a_configuration_that_is_not_there(project: Project) -> None:
    # A missing file that is named by --configfile is reported by Snakemake, before us.
    (project.folder / "config.yaml").unlink()
    run = project.snakemake()
    assert run.returncode != 0
    assert "no such file" in run.stderr
    assert "Traceback" not in run.stderr


def test_settings_on_the_command_line_are_refused(project: Project) -> None:
    run = project.snakemake("--config", "level=0.9")
    assert run.returncode != 0
    assert "no --config" in run.stderr


def test_a_job_that_cannot_write_leaves_nothing_under_the_final_name(project: Project) -> None:
    """A limit on the size of a file stands in for a full disk."""
    (project.folder / "results/contrast/plots/forest.png").unlink()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = project.snakemake(preexec_fn=limit)
    assert run.returncode != 0
    assert not (project.folder / "results/contrast/plots/forest.png").exists()
    project.build()
    assert set(project.times()) == ALL
    assert not list((project.folder / "results").rglob("*.part"))


def test_a_killed_run_is_taken_up_again(project: Project, built: Project) -> None:
    subprocess.run(["rm", "-r", project.folder / "results"], check=True)
    run = subprocess.Popen(
        project.command(),
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(project.folder.glob("results/*/fit.json")):
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    locked = project.snakemake()
    assert locked.returncode != 0
    assert "--unlock" in locked.stderr
    assert project.snakemake("--unlock").returncode == 0
    project.build()
    assert project.digests() == built.digests()


def test_hostile_labels_reach_the_plot_as_text(project: Project) -> None:
    label = 'A, "b" <script>alert(1)</script> ../../x $\\frac{1}{2}$ ' + "é" * 500
    quoted = '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'
    project.edit("data/studies/cleo.yaml", "label: Cleo 2020", f"label: {quoted}")
    project.build()
    svg = (project.folder / "results/response/plots/forest.svg").read_text(encoding="utf-8")
    assert "<script" not in svg
    assert "&lt;script" in svg
    table = (project.folder / "results/response/effects.csv").read_text(encoding="utf-8")
    assert '"A, ""b"" <script>alert(1)</script> ../../x' in table
