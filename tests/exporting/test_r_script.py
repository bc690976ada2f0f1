"""The R script of an analysis refits it by metafor, and no text of a review is run by it."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evisynth.cli import main
from evisynth.exporting.r_script import ESCALC, r_comment, r_number, r_string
from evisynth.measures import MEASURES
from evisynth.project import load_project

ROOT = Path(__file__).parents[2]
CONFIGS = (
    "config.yaml",
    "reviews/bcg/config.yaml",
    "reviews/konstantopoulos2011/config.yaml",
    "reviews/normand1999/config.yaml",
)
ANALYSES = [
    (config, name) for config in CONFIGS for name in load_project(ROOT / config).config.analyses
]


def run_r(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["Rscript", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def has_metafor() -> bool:
    if shutil.which("Rscript") is None:
        return False
    asked = "quit(status = !requireNamespace('metafor', quietly = TRUE))"
    return run_r("-e", asked, folder=ROOT).returncode == 0


needs_metafor = pytest.mark.skipif(not has_metafor(), reason="R with metafor is not here")


def export(config: Path, analysis: str, out: Path) -> str:
    done = main(["export", "r", analysis, "--config", str(config), "--out", str(out)])
    assert done == 0
    return (out / "metafor.R").read_text(encoding="ascii")


# --- it refits -------------------------------------------------------------------------------


@needs_metafor
@pytest.mark.parametrize(("config", "analysis"), ANALYSES)
def test_metafor_gives_the_shipped_results(config, analysis, tmp_path):
    """From another folder, and with a space in the path."""
    out = tmp_path / "a folder"
    export(ROOT / config, analysis, out)
    done = run_r(str(out / "metafor.R"), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 differ" in done.stdout
    project = load_project(ROOT / config)
    pooled = sum(row.included for row in project.rows[analysis])
    if project.analysis(analysis).pool and pooled > 1:
        headline = [line for line in done.stdout.splitlines() if "(headline)" in line]
        # without clubSandwich there is no CR2
        assert len(headline) >= (2 if "clubSandwich" in done.stdout else 3)
        assert all(line.endswith("agrees") for line in headline)


@needs_metafor
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c(estimate = -0.7", "c(estimate = -0.8"),  # a wrong number of ours
        ('method = "REML", test = "knha"', 'method = "ML", test = "knha"'),  # another model
        ('measure = "RR"', 'measure = "OR"'),  # another effect size
    ],
)
def test_a_difference_ends_in_an_error(old, new, tmp_path):
    script = export(ROOT / "reviews/bcg/config.yaml", "risk_ratio", tmp_path)
    assert old in script
    (tmp_path / "metafor.R").write_text(script.replace(old, new))
    done = run_r("metafor.R", folder=tmp_path)
    assert done.returncode != 0
    assert "DIFFERS" in done.stdout
    assert "metafor differs" in done.stderr


@needs_metafor
def test_a_changed_number_of_a_study_ends_in_an_error(tmp_path):
    export(ROOT / "reviews/bcg/config.yaml", "risk_ratio", tmp_path)
    table = (tmp_path / "effects.csv").read_text()
    assert ",11,128," in table or ",4,119," in table
    (tmp_path / "effects.csv").write_text(table.replace(",4,119,", ",5,119,"))
    done = run_r("metafor.R", folder=tmp_path)
    assert done.returncode != 0
    assert "yi of row" in done.stderr


ONE = "study,xi,ni,ti\na,3,20,31.5\nb,0,15,22\nc,9,40,80.25\nd,5,18,33\ne,12,31,47\n"
TWO = "study,ai,n1i,ci,n2i\na,3,20,5,21\nb,0,15,2,16\nc,9,40,11,38\nd,0,18,0,17\ne,12,31,4,30\n"
RATES = "study,x1i,t1i,x2i,t2i\na,3,20.5,5,21\nb,0,15,2,16\nc,9,40,11,38\nd,7,18,2,17\n"
MEANS = (
    "study,m1i,sd1i,n1i,m2i,sd2i,n2i\na,10.1,2.5,20,12.3,2.9,21\nb,9.5,1.9,15,9.1,2.2,14\n"
    "c,11.2,3.1,40,13.5,3.3,42\nd,8.8,2.2,18,10.9,2.0,19\n"
)
PAIRED = (
    "study,m1i,m2i,sd1i,sd2i,ri,ni\na,10.1,12.3,2.5,2.9,0.5,20\nb,9.5,9.1,1.9,2.2,0.4,15\n"
    "c,11.2,13.5,3.1,3.3,0.7,40\nd,8.8,10.9,2.2,2.0,0.6,18\n"
)
GROUP = "study,mi,sdi,ni\na,10.1,2.5,20\nb,9.5,1.9,15\nc,11.2,3.1,40\nd,8.8,2.2,18\n"
CORRELATIONS = "study,ri,ni\na,0.5,20\nb,0.1,15\nc,0.35,40\nd,-0.2,18\n"
TABLES = {
    "ai bi ci di": (TWO, "ai n1i ci n2i"),
    "x1i t1i x2i t2i": (RATES, "x1i t1i x2i t2i"),
    "xi ni": (ONE, "xi ni"),
    "xi ti": (ONE, "xi ti"),
    "mi sdi ni": (GROUP, "mi sdi ni"),
    "ri ni": (CORRELATIONS, "ri ni"),
    "m1i sd1i n1i m2i sd2i n2i": (MEANS, "m1i sd1i n1i m2i sd2i n2i"),
    "sd1i n1i sd2i n2i": (MEANS, "sd1i n1i sd2i n2i"),
    "m1i m2i sd1i sd2i ri ni": (PAIRED, "m1i m2i sd1i sd2i ri ni"),
    "m1i m2i sd1i ri ni": (PAIRED, "m1i m2i sd1i ri ni"),
}


def small_review(folder: Path, measure: str, more: str = "") -> Path:
    """A review of one table with a zero cell, a double zero and unequal groups."""
    table, fields = TABLES[ESCALC[measure]]
    columns = ", ".join(f"{field}: {field}" for field in ["study", *fields.split()])
    contrast = "contrast: {numerator: A, denominator: B}\n    " if "2i" in fields else ""
    folder.mkdir()
    (folder / "table.csv").write_text(table)
    (folder / "config.yaml").write_text(
        "review: {title: T, question: Q}\nanalyses:\n"
        "  one:\n    title: T\n    table: table.csv\n"
        f"    columns: {{{columns}}}\n    measure: {measure}\n    {contrast}"
        f"model: {{family: IV}}\n{more}"
    )
    return folder / "config.yaml"


@needs_metafor
def test_metafor_gives_the_effect_sizes_and_models_of_every_measure(tmp_path):
    """One R for all measures, as it takes a second to start."""
    folders = []
    for measure in ESCALC:
        config = small_review(tmp_path / measure, measure)
        out = tmp_path / f"{measure}-out"
        assert "escalc(" in export(config, "one", out)
        folders.append(out.name)
    (tmp_path / "all.R").write_text(
        "for (folder in commandArgs(TRUE)) {\n  old <- setwd(folder)\n"
        "  lines <- sub('^file <- .*', 'file <- character()', readLines('metafor.R'))\n"
        "  problem <- tryCatch(eval(parse(text = lines), new.env()),\n"
        "    error = function(e) cat('FAILED', folder, conditionMessage(e), '\\n'))\n"
        "  setwd(old)\n}\n"
    )
    done = run_r("all.R", *folders, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    wrong = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert wrong == []
    assert "not compared" not in done.stdout.replace("models not compared", "")
    assert done.stdout.count(" 0 differ") == len(ESCALC)


@needs_metafor
@pytest.mark.parametrize(
    "more",
    [
        "    zero_cells: {add: 0.25, to: all}\n",
        "    zero_cells: {to: if0all, drop00: no}\n",
        "    zero_cells: {drop00: yes}\n",
        "    zero_cells: {to: none}\n",
        "    zero_cells: {to: tacc}\n",
        "    zero_cells: {form: meta}\n",
        "    level: 0.9\n",
        "    also: [{family: MH}, {family: PETO}, {method: SJ}, {method: HSk}]\n",
        "    also: [{method: fixed, tau2: 0.3}, {effects: common, test: uwls}, {test: t}]\n",
        "    also: [{method: HS}, {method: EB}, {method: PMM}, {test: hybrid_wald}]\n",
        "    also: [{method: DLIT}, {method: GENQ}]\n",
    ],
)
def test_choices_of_zero_cells_and_models_are_those_of_the_analysis(more, tmp_path):
    config = small_review(tmp_path / "review", "OR", more)
    export(config, "one", tmp_path / "out")
    done = run_r("metafor.R", folder=tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_metafor
@pytest.mark.parametrize("measure", ["PLO", "IRLN", "OR"])
def test_an_outcome_that_never_occurs_is_no_difference(measure, tmp_path):
    """The likelihood of the counts has its maximum at no risk at all, which metafor refuses."""
    config = small_review(tmp_path / "review", measure, "")
    text = config.read_text().replace("model: {family: IV}", "model: {family: GLMM}")
    config.write_text(text)
    table = config.parent / "table.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    events = [i for i, name in enumerate(lines[0]) if name in ("xi", "ai", "ci")]
    for line in lines[1:]:
        for i in events:
            line[i] = "0"
    table.write_text("".join(",".join(line) + "\n" for line in lines))
    export(config, "one", tmp_path / "out")
    done = run_r("metafor.R", folder=tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_metafor
@pytest.mark.parametrize("robust", ["none", "CR0", "CR1"])
@pytest.mark.parametrize("rho", ["", ", rho: 0.6, within: district"])
def test_multilevel_models_with_their_standard_errors(robust, rho, tmp_path):
    folder = tmp_path / "review"
    shutil.copytree(ROOT / "reviews/konstantopoulos2011", folder)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("robust: CR2", f"robust: {robust}{rho}"))
    export(folder / "config.yaml", "three_levels", tmp_path / "out")
    done = run_r("metafor.R", folder=tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    headline = [line.split()[4] for line in done.stdout.splitlines() if "(headline)" in line]
    assert headline == ["estimate", "se", "tau2"]


# --- no text is run --------------------------------------------------------------------------


@given(st.text())
def test_a_comment_is_one_line_of_ascii(text):
    comment = r_comment(text)
    assert comment.isascii()
    assert comment.isprintable()


@given(st.text())
def test_a_string_is_one_line_of_ascii_that_ends_where_it_should(text):
    written = r_string(text)
    assert written.isascii()
    assert written.isprintable()
    body = written[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in body


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "NA"), (float("inf"), "Inf"), (float("-inf"), "-Inf"), (0.1, "0.1")],
)
def test_numbers(value, text):
    assert r_number(value) == text


HOSTILE = (
    'x"); file.create("pwned"); ("',
    "x'); file.create('pwned'); ('",
    "x\nfile.create('pwned')\n",
    "x\rfile.create('pwned')\r",
    "x\u2028file.create('pwned')",
    "x\\",
    '\\"); file.create("pwned"); #',
    "`file.create('pwned')`",
    "${x} %s %1$s {name} {{x}}",
    "é ü 日本 😀 \u202e",
    "#",
)


@needs_metafor
def test_r_reads_a_string_as_it_was(tmp_path):
    lines = [f"cat(utf8ToInt({r_string(text)}), '\\n')" for text in HOSTILE]
    (tmp_path / "strings.R").write_text("\n".join(lines), encoding="ascii")
    done = run_r("strings.R", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = ["".join(chr(int(c)) for c in line.split()) for line in done.stdout.splitlines()]
    assert found == list(HOSTILE)
    assert not (tmp_path / "pwned").exists()


@needs_metafor
@pytest.mark.parametrize("hostile", [text for text in HOSTILE if "\r" not in text])
def test_hostile_names_of_studies_columns_and_titles_are_not_run(hostile, tmp_path):
    """Study ids, a column that groups effects, the title, why there is no pooling."""
    quoted = '"' + hostile.replace('"', '""') + '"'
    yaml = '"' + "".join(f"\\U{ord(c):08x}" for c in hostile) + '"'
    column = '"' + hostile.replace('"', '""').strip() + '"'
    named = '"' + "".join(f"\\U{ord(c):08x}" for c in hostile.strip()) + '"'
    rows = "".join(f'{quoted[:-1]} {i}",0.{i},0.0{i},{i % 3}\n' for i in range(1, 7))
    (tmp_path / "table.csv").write_text(f"study,yi,vi,{column}\n{rows}", encoding="utf-8")
    (tmp_path / "config.yaml").write_text(
        "review: {title: T, question: Q}\nanalyses:\n"
        f"  levels:\n    title: {yaml}\n    table: table.csv\n    measure: GEN\n"
        f"    columns: {{study: study, yi: yi, vi: vi}}\n    moderators: [{named}]\n"
        f"    model: {{family: MV}}\n    dependence: {{levels: [{named}, effect], rho: 0.4, "
        f"within: {named}}}\n"
        f"  none:\n    title: {yaml}\n    table: table.csv\n    measure: GEN\n"
        f"    columns: {{study: study, yi: yi, vi: vi}}\n    pool: no\n    why_not: {yaml}\n",
        encoding="utf-8",
    )
    for analysis in ("levels", "none"):
        out = tmp_path / analysis
        script = export(tmp_path / "config.yaml", analysis, out)
        assert script.isascii()
        done = run_r("metafor.R", folder=out)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not list(tmp_path.rglob("pwned"))
    assert "multilevel" in (tmp_path / "levels" / "metafor.R").read_text()


def test_an_unknown_analysis_is_refused_with_the_nearest(tmp_path, capsys):
    config = str(ROOT / "reviews/bcg/config.yaml")
    asked = ["export", "r", "risk_rati", "--config", config, "--out", str(tmp_path)]
    assert main(asked) == 2
    assert "risk_ratio" in capsys.readouterr().err


def test_every_measure_is_computed_again_or_has_a_reason():
    from evisynth.exporting.r_script import OTHERWISE

    assert set(MEASURES) == ESCALC.keys() | OTHERWISE.keys()
    assert not ESCALC.keys() & OTHERWISE.keys()
