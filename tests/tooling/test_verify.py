"""`evisynth verify`: right results pass, and whatever is changed in them is found."""

import csv
import io
import json
import math
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.review import CONFIG, ROOT
from support.trace import build, prove, review

from evisynth import cli
from evisynth.measures import compute_effects
from evisynth.records import RawRow
from evisynth.rederivation import FORMULAS, NotCovered, effect
from evisynth.verification import Unreadable, verify

MODELS = """\
  counts:
    title: Odds
    outcome: orr
    contrast: {numerator: {treatment: new}, denominator: {treatment: old}}
    measure: OR
    also: [{family: PETO}, {family: BAYES, prior: half_cauchy(0.5)}, {family: PLR}]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "a review"
    config = review(folder, CONFIG + MODELS)
    build(config, folder / "results")
    prove(config, folder / "results")
    return folder


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "a review")
    return tmp_path / "a review"


@pytest.fixture
def ask(capsys):
    def asked(*words):
        code = cli.main(["verify", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return asked


def change(path, column, value, where=lambda row: True):
    """Put `value` (a function of the old one) into the first row that fits."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    row = next(row for row in rows if where(row) and row[column])
    row[column] = value(row[column])
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue(), encoding="utf-8")


def test_right_results_are_right(made, ask):
    code, said, error = ask(made / "results")
    assert (code, error) == (0, "")
    assert "all agree" in said
    assert "PyMARE" in said
    assert "because: no second program for the model common, PLR" in said


@pytest.mark.parametrize("name", ["shipped", "bcg", "normand1999"])
def test_the_shipped_reviews_are_right(name, tmp_path):
    config = ROOT / ("config.yaml" if name == "shipped" else f"reviews/{name}/config.yaml")
    build(config, tmp_path)
    prove(config, tmp_path)
    found = verify(tmp_path, config.parent)
    assert found.sound, (found.changed, found.older, found.wrong[:5])
    headlines = [check for check in found.checks if check.headline]
    assert len(headlines) > 20
    assert {check.analysis for check in found.checks} == set(found.analyses)


def test_every_headline_of_the_shipped_review_is_derived_anew(tmp_path):
    config = ROOT / "config.yaml"
    build(config, tmp_path, ["orr_randomised", "mycn_os", "orr_chemo_alone"])
    for name in ("orr_randomised", "mycn_os", "orr_chemo_alone"):
        tree = json.loads((tmp_path / name / "trace.json").read_text("utf-8"))
        assert tree["estimates"][0]["headline"]
    # the provenance of these three only
    everything = config.read_text(encoding="utf-8")
    assert "orr_any_salvage" in everything
    prove(config, tmp_path)
    path = tmp_path / "provenance.json"
    about = json.loads(path.read_text("utf-8"))
    about["analyses"] = {k: v for k, v in about["analyses"].items() if v["outputs"]}
    path.write_text(json.dumps(about), encoding="utf-8")
    found = verify(tmp_path, None)
    assert found.wrong == ()
    assert [what for _, what, _ in found.uncovered if what.startswith("headline")] == []


@pytest.mark.parametrize("file", ["effects.csv", "pooled.csv", "fit.json", "selection.csv"])
def test_a_changed_file_is_found_by_its_digest(copy, ask, file):
    path = copy / "results/contrast" / file
    before, _, after = path.read_text(encoding="utf-8").rpartition("0")
    path.write_text(f"{before}1{after}", encoding="utf-8")
    code, said, _ = ask(copy / "results")
    assert code == 1
    assert f"changed: contrast/{file}: other content than was recorded" in said


def test_a_missing_file_is_found(copy, ask):
    (copy / "results/contrast/heterogeneity.csv").unlink()
    code, said, _ = ask(copy / "results")
    assert code == 1
    assert "contrast/heterogeneity.csv: not there" in said


def test_a_provenance_that_was_changed_too_is_found(copy, ask):
    path = copy / "results/provenance.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    code, said, _ = ask(copy / "results")
    assert code == 1
    assert "provenance.json: other content than the RO-Crate recorded" in said


def of(**wanted):
    return lambda row: all(row[key] == value for key, value in wanted.items())


@pytest.mark.parametrize(
    ("file", "column", "where"),
    [
        ("contrast/effects.csv", "yi", of(study="ada")),
        ("contrast/effects.csv", "vi", of(study="bea")),
        ("contrast/effects.csv", "ai", of(study="bea")),
        *(
            ("hazard/pooled.csv", column, of(scale="analysis", headline="true"))
            for column in (
                "estimate",
                "se",
                "ci_low",
                "ci_high",
                "pi_low",
                "p",
                "tau2",
                "statistic",
            )
        ),
        ("hazard/pooled.csv", "ci_high", of(scale="display", method="DL", test="z")),
        ("hazard/pooled.csv", "tau2", of(scale="analysis", method="PM", test="z")),
        ("hazard/pooled.csv", "se", of(scale="analysis", method="IV")),
        ("counts/pooled.csv", "se", of(scale="analysis", method="MH")),
        ("counts/pooled.csv", "estimate", of(scale="analysis", method="PETO")),
        ("counts/pooled.csv", "ci_low", of(scale="analysis", method="half_cauchy(0.5)")),
        ("response/pooled.csv", "estimate", of(scale="analysis", headline="true")),
        ("response/pooled.csv", "se", of(scale="analysis", headline="true")),
        ("summary.csv", "estimate", of(analysis="hazard")),
        ("summary.csv", "i2", of(analysis="hazard")),
        ("summary.csv", "n_total", of(analysis="contrast")),
        ("summary.csv", "studies", of(analysis="contrast")),
    ],
)
def test_a_wrong_number_with_right_digests_is_found(copy, file, column, where):
    path = copy / "results" / file
    change(path, column, lambda text: repr(float(text) * 1.02 + 1e-9), where)
    prove(copy / "config.yaml", copy / "results")
    found = verify(copy / "results", copy)
    assert found.changed == ()
    assert found.wrong


def test_a_number_that_vanished_is_found(copy):
    change(copy / "results/hazard/pooled.csv", "se", lambda _: "", of(method="DL"))
    prove(copy / "config.yaml", copy / "results")
    assert verify(copy / "results", copy).wrong


def test_results_older_than_the_evidence_are_said(copy, ask):
    path = copy / "data/hazard.csv"
    path.write_text(path.read_text(encoding="utf-8") + "e,0.1,0.5\n", encoding="utf-8")
    code, said, _ = ask(copy / "results")
    assert code == 1
    assert "results older than data/hazard.csv" in said


def test_without_a_configuration_inputs_are_not_compared(copy, tmp_path, ask):
    shutil.move(copy / "results", tmp_path / "alone")
    code, said, _ = ask(tmp_path / "alone")
    assert code == 0
    assert "note: inputs not compared" in said


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("provenance.json", None),
        ("provenance.json", "{"),
        ("provenance.json", "[]"),
        ("provenance.json", "{}"),
        ("hazard/pooled.csv", None),
        ("hazard/effects.csv", "study\na\n"),
        ("hazard/fit.json", "{}"),
        ("hazard/effect_sizes.json", "\xff"),
    ],
)
def test_what_cannot_be_read_is_no_traceback(copy, ask, file, content):
    path = copy / "results" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="latin-1")
    code, said, error = ask(copy / "results")
    assert (code, said) == (2, "")
    assert error.startswith("evisynth: ")


def test_a_digest_of_a_file_elsewhere_is_not_followed(copy):
    path = copy / "results/provenance.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["outputs"]["/etc/hostname"] = "0" * 64
    path.write_text(json.dumps(about), encoding="utf-8")
    assert any("not a relative path" in text for text in verify(copy / "results", copy).changed)


def test_the_command_gives_every_comparison_as_json(made, ask):
    code, said, _ = ask(made / "results", "--json")
    tree = json.loads(said)
    assert code == 0
    assert tree["sound"]
    assert all(check["agrees"] for check in tree["checks"])
    assert {"hazard", "contrast", "response", "counts"} == {
        c["analysis"] for c in tree["checks"]
    }


COUNT = st.integers(1, 60)
SIZE = st.integers(61, 200)
POSITIVE = st.floats(0.1, 50)
FIELDS = {
    **dict.fromkeys(("xi", "ai", "ci", "x1i", "x2i"), COUNT),
    **dict.fromkeys(("ni", "n1i", "n2i"), SIZE),
    **dict.fromkeys(("ti", "t1i", "t2i", "mi", "m1i", "m2i", "sdi", "sd1i", "sd2i"), POSITIVE),
    "ri": st.floats(-0.95, 0.95),
}
INPUTS = {
    **dict.fromkeys(("PR", "PLN", "PLO", "PAS", "PFT"), "xi ni"),
    **dict.fromkeys(("IR", "IRLN", "IRS"), "xi ti"),
    **dict.fromkeys(("MN", "MNLN"), "mi sdi ni"),
    **dict.fromkeys(("COR", "ZCOR"), "ri ni"),
    **dict.fromkeys(("OR", "RR", "RD", "AS", "PETO"), "ai n1i ci n2i"),
    **dict.fromkeys(("IRR", "IRD"), "x1i t1i x2i t2i"),
    **dict.fromkeys(("MD", "SMD", "ROM"), "m1i sd1i n1i m2i sd2i n2i"),
}
ZERO_CELLS = {"add": None, "to": "only0", "drop00": False, "form": "cells"}


@pytest.mark.parametrize("measure", FORMULAS)
@given(data=st.data())
def test_both_ways_to_an_effect_size_agree(measure, data):
    numbers = {name: float(data.draw(FIELDS[name])) for name in INPUTS[measure].split()}
    ours = compute_effects(measure, [RawRow("a", "a", numbers)], level=0.95)
    raw = {name: float(values[0]) for name, values in ours.raw.items()}
    yi, vi = effect(measure, raw, ours.options, ZERO_CELLS, any_zero=False)
    assert yi == pytest.approx(float(ours.yi[0]), rel=1e-9, abs=1e-11)
    assert vi == pytest.approx(float(ours.vi[0]), rel=1e-9)


@pytest.mark.parametrize("measure", ["OR", "RR", "RD", "PLO", "PLN", "PR", "IRLN", "IRR"])
@pytest.mark.parametrize("to", ["only0", "all", "if0all", "none"])
def test_zero_cells_are_corrected_alike(measure, to):
    names = INPUTS[measure].split()
    first = dict(zip(names, (0.0, 20.0, 3.0, 30.0), strict=False))
    second = dict(zip(names, (5.0, 20.0, 3.0, 30.0), strict=False))
    rows = [RawRow(str(i), "", row) for i, row in enumerate((first, second))]
    ours = compute_effects(measure, rows, level=0.95, to=to)
    for i in range(2):
        raw = {name: float(values[i]) for name, values in ours.raw.items()}
        yi, vi = effect(measure, raw, {}, {**ZERO_CELLS, "to": to}, any_zero=True)
        if math.isnan(ours.yi[i]):
            assert not (math.isfinite(yi) and math.isfinite(vi) and vi > 0)
        else:
            assert (yi, vi) == (pytest.approx(ours.yi[i]), pytest.approx(ours.vi[i]))


def test_what_has_no_second_formula_says_so():
    with pytest.raises(NotCovered, match="no second formula of CVR"):
        effect("CVR", {"m1i": 1.0}, {}, ZERO_CELLS, any_zero=False)


def test_verification_fails_on_a_folder_that_is_none(tmp_path):
    with pytest.raises(Unreadable):
        verify(tmp_path, None)


def test_other_commands_do_not_import_what_only_verify_needs():
    import subprocess
    import sys

    code = (
        "import sys; import evisynth.commands.trace, evisynth.commands.verify; "
        "print([m for m in ('scipy', 'pandas', 'statsmodels', 'pymare', 'rocrate') "
        "if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
