"""`evisynth new`: the file is wrong exactly where something has to be filled in."""

import re

import jsonschema
import pytest
import yaml
from support.foreign import run
from support.review import ROOT

from evisynth.commands.new import DESIGNS
from evisynth.study_template import FILL_IN, SCHEMA, template
from evisynth.studyfile import StudyFile
from evisynth.validation import validate
from evisynth.yamltext import read_yaml

ANSWERS = {
    "kind": "journal_article",
    "n": "20",
    "treatment": "chemo",
    "outcome": "orr",
    "quote": '"8 of 20 responded"',
}


def checked(path):
    return validate(StudyFile, read_yaml(path, path.name))


@pytest.mark.parametrize("design", DESIGNS)
def test_what_is_marked_is_what_is_missing(design, tmp_path, capsys):
    status, answer, _ = run(capsys, "new", "smith-2020", "--design", design, "--out", tmp_path)
    assert status == 0
    path = tmp_path / "smith-2020.yaml"
    text = path.read_text(encoding="utf-8")
    marked = [n for n, line in enumerate(text.splitlines(), 1) if line.endswith(FILL_IN)]
    _, problems = checked(path)
    assert [problem.line for problem in problems] == marked
    assert all(problem.found == "nothing" for problem in problems)
    assert f"{len(marked)} lines" in answer
    filled = re.sub(
        rf"(\w+): +{FILL_IN}", lambda match: f"{match[1]}: {ANSWERS[match[1]]}", text
    )
    path.write_text(filled, encoding="utf-8")
    content, problems = checked(path)
    assert problems == []
    assert content.design == design


def test_the_example_of_an_effect_in_the_comments_is_valid(tmp_path):
    text = template("a", "rct")
    lines = text.splitlines()
    start = lines.index("  # An effect as printed:") + 1
    example = "\n".join(line.replace("  # ", "  ", 1) for line in lines[start : start + 8])
    tree = yaml.load("results:\n" + example, Loader=yaml.BaseLoader)
    whole = {
        "study": "a",
        "design": "rct",
        "reports": [{"id": "a-report", "kind": "journal_article"}],
        "arms": [{"id": "x", "n": "1", "treatment": "t"}],
    }
    assert StudyFile.model_validate(whole | tree).results[0].estimate == "0.72"


def test_an_editor_finds_the_schema(capsys, tmp_path):
    folder = tmp_path / "data/studies"
    folder.mkdir(parents=True)
    (tmp_path / SCHEMA).parent.mkdir(parents=True)
    (tmp_path / SCHEMA).write_bytes((ROOT / SCHEMA).read_bytes())
    run(capsys, "new", "a", "--out", folder)
    first = (folder / "a.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema=../../{SCHEMA}"
    path = folder / first.partition("=")[2]
    jsonschema.Draft202012Validator.check_schema(yaml.safe_load(path.read_text()))
    alone = tmp_path.parent / f"{tmp_path.name}-alone"
    alone.mkdir()
    run(capsys, "new", "a", "--out", alone)
    assert "$schema" not in (alone / "a.yaml").read_text()


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "", ".hidden", "a b", "x" * 65, "nul", "COM1.x", "a\nb", "-x"]
)
def test_a_name_that_is_not_safe_is_refused(name, capsys, tmp_path):
    status, _, said = run(capsys, "new", "--out", tmp_path, "--", name)
    assert status == 2
    assert "found:" in said
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_is_there_is_never_written_over(capsys, tmp_path):
    (tmp_path / "Smith.yaml").write_text("mine")
    status, _, said = run(capsys, "new", "smith", "--out", tmp_path)
    assert status == 2
    assert "Smith.yaml" in said
    (tmp_path / "b.yaml").symlink_to(tmp_path / "nowhere")
    assert run(capsys, "new", "b", "--out", tmp_path)[0] == 2
    assert not (tmp_path / "nowhere").exists()
    assert run(capsys, "new", "c", "--out", tmp_path / "none")[0] == 2
    assert (tmp_path / "Smith.yaml").read_text() == "mine"
