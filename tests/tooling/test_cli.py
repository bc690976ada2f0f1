"""The command `evisynth`."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from support.review import ROOT

from evisynth import cli, presets
from evisynth.commands import explain as command
from evisynth.project import load_project
from evisynth.steps.effects import write_effects
from evisynth.steps.pool import write_pooled

REVIEWS = {
    "shipped": ROOT / "config.yaml",
    **{path.parent.name: path for path in sorted(ROOT.glob("reviews/*/config.yaml"))},
}
OUTPUTS = (
    "effects",
    "pooled",
    "heterogeneity",
    "tau2_intervals",
    "components",
    "blups",
    "beyond",
)


def results(config, analysis, folder):
    """The folder of results that the workflow would write."""
    folder.mkdir(parents=True)
    project = load_project(config)
    effects = folder / command.EFFECTS
    write_effects(config, analysis, project.effects_digest(analysis), str(effects))
    output = {name: str(folder / f"{name}.csv") for name in OUTPUTS}
    output |= {"script": str(folder / "metafor.R"), "fit": str(folder / command.FIT)}
    write_pooled(str(effects), project.pooling_settings(analysis), output, str(config))
    return folder


@pytest.fixture(scope="module")
def odds(tmp_path_factory):
    return results(REVIEWS["bcg"], "odds_ratio", tmp_path_factory.mktemp("results") / "odds")


@pytest.fixture
def ask(capsys):
    def asked(*arguments):
        code = cli.main(["explain", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return asked


def every_analysis():
    return [
        (name, analysis)
        for name, path in REVIEWS.items()
        for analysis in load_project(path).config.analyses
    ]


@pytest.mark.parametrize(("review", "analysis"), every_analysis())
def test_every_shipped_analysis_can_be_explained(ask, tmp_path, review, analysis):
    """Its results beside what is configured: nothing differs; beside a preset: an answer."""
    config = REVIEWS[review]
    folder = results(config, analysis, tmp_path / analysis)
    code, out, err = ask(folder, "configured", "--config", config)
    assert (code, err) == (0, "")
    assert "No choice differs." in out
    fit = json.loads((folder / command.FIT).read_text(encoding="utf-8"))
    head = [row for row in fit["estimates"] if row["headline"]]
    code, out, err = ask(folder, "revman5", "--config", config, "--json")
    assert (code, err) == (0, "")
    first = json.loads(out)["first"]["estimate"]
    for name in ("estimate", "ci_low", "ci_high", "pi_low", "pi_high"):
        assert [row[name] for row in head] == ([first[name]] if first else [])


def test_two_presets_are_told_apart_step_by_step(ask):
    code, out, err = ask(
        "revman5", "metafor", "--analysis", "odds_ratio", "--config", REVIEWS["bcg"]
    )
    assert (code, err) == (0, "")
    assert re.search(r"^revman5: OR 0\.47\d+ \[", out)
    assert "model.method: DL -> REML" in out
    assert "depends on the order" in out


def test_the_only_analysis_need_not_be_named(ask, tmp_path):
    config = tmp_path / "config.yaml"
    (tmp_path / "t.csv").write_text("study,yi,vi\na,0.1,0.1\nb,0.5,0.2\nc,0.9,0.1\n")
    config.write_text(
        "review: {title: t, question: q}\nanalyses:\n  only:\n    title: t\n    table: t.csv\n"
        "    columns: {study: study, yi: yi, vi: vi}\n    measure: GEN\n"
    )
    code, out, _ = ask("configured", "meta8", "--config", config)
    assert code == 0
    assert "model.test: knha -> z" in out


def test_two_folders_need_no_configuration(ask, odds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = results(REVIEWS["bcg"], "risk_ratio", tmp_path / "rr")
    code, out, err = ask(odds, other)
    assert (code, err) == (0, "")
    assert "measure: OR -> RR" in out


def test_a_changed_number_of_a_folder_is_found(ask, odds, tmp_path):
    table = REVIEWS["bcg"].parent / "data" / "bcg.csv"
    copied = tmp_path / "review"
    shutil.copytree(table.parents[1], copied)
    path = copied / "data" / "bcg.csv"
    text = path.read_text(encoding="utf-8")
    assert text.count(",4,119,11,128,") == 1
    path.write_text(text.replace(",4,119,11,128,", ",9,114,11,128,"), encoding="utf-8")
    code, out, _ = ask(odds, results(copied / "config.yaml", "odds_ratio", tmp_path / "new"))
    assert code == 0
    assert "study aronson-1948: ai=4 bi=119 ci=11 di=128 -> ai=9 bi=114 ci=11 di=128" in out
    assert out.count("so far OR") == 1


def test_json_holds_every_number_in_full(ask, odds):
    code, out, _ = ask(odds, "metafor", "--config", REVIEWS["bcg"], "--json")
    assert code == 0
    tree = json.loads(out)
    assert tree["names"] == [str(odds), "metafor"]
    assert "depends on the order" in tree["order"]
    last = tree["steps"][-1]
    assert last["so_far"]["estimate"]["estimate"] == tree["second"]["estimate"]["estimate"]
    assert {
        "choice",
        "before",
        "after",
        "alone",
        "alone_change",
        "so_far",
        "so_far_change",
    } <= (last.keys())


BCG = ("--config", REVIEWS["bcg"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("revman6", "metafor", *BCG), ["'revman6' is no preset", "did you mean 'revman5'?"]),
        (("revman5", "metafor", *BCG), ["--analysis: found nothing", "risk_ratio, odds_ratio"]),
        (
            ("revman5", "metafor", "--analysis", "odd_ratio", *BCG),
            ["found 'odd_ratio'", "did you mean 'odds_ratio'?"],
        ),
        (("revman5", "metafor", "--config", "nowhere.yaml"), ["no file nowhere.yaml"]),
        (("./revman5", "metafor", *BCG), ["'revman5' is no preset"]),
    ],
)
def test_wrong_questions_have_an_answer(ask, arguments, words):
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert all(word in err for word in words), err
    assert "Traceback" not in err


def test_an_analysis_beside_two_folders_is_refused(ask, odds):
    code, _, err = ask(odds, odds, "--analysis", "odds_ratio")
    assert code == 2
    assert "--analysis says nothing here" in err


@pytest.mark.parametrize("spoiled", [command.EFFECTS, command.FIT])
@pytest.mark.parametrize("content", ["", "{}", "[]", '{"settings": {}}', "null", "\udcff"])
def test_spoiled_results_are_refused(ask, odds, tmp_path, spoiled, content):
    folder = tmp_path / "results"
    shutil.copytree(odds, folder)
    (folder / spoiled).write_bytes(content.encode("utf-8", "surrogateescape"))
    code, out, err = ask(folder, odds)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert "results" in err


def test_effect_sizes_that_were_changed_by_hand_are_refused(ask, odds, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(odds, folder)
    path = folder / command.EFFECTS
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["yi"][0] += 0.01
    path.write_text(json.dumps(tree), encoding="utf-8")
    code, _, err = ask(folder, odds)
    assert code == 2
    assert "do not follow from its raw numbers" in err


def test_mistakes_of_the_configuration_are_listed(ask, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("review: {title: t}\nanalyses: {}\n", encoding="utf-8")
    code, _, err = ask("revman5", "metafor", "--config", config)
    assert code == 2
    assert "problems in the input" in err


def test_names_of_folders_cannot_steer_a_terminal(ask):
    code, _, err = ask("no\x1b[2Jwhere", "metafor", *BCG)
    assert code == 2
    assert "\x1b" not in err


def test_no_question_shows_how_to_ask(capsys):
    for arguments in ([], ["explain"], ["explain", "revman5"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 2
        assert "usage: evisynth" in capsys.readouterr().err


def test_the_package_is_the_command_and_bears_plain_terminals_and_early_ends():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    environment["PYTHONPATH"] = str(ROOT / "workflow" / "src")
    command = [sys.executable, "-m", "evisynth", "explain", "revman5", "metafor"]
    command += ["--config", str(REVIEWS["shipped"]), "--analysis", "orr_anti_gd2_chemo"]
    found = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("revman5: PLO")


def test_help_names_every_preset(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["explain", "--help"])
    assert stopped.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(name in out for name in presets.PRESETS)
