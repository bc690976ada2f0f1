"""The published schemas and reference pages say what the models say."""

import re

import jsonschema
import pytest
import yaml

from evisynth import reference
from evisynth.config import Config
from evisynth.studyfile import OutcomesFile, StudyFile
from evisynth.yamltext import read_yaml

MODELS = {"study": StudyFile, "config": Config, "outcomes": OutcomesFile}
MINIMAL = {
    "study": reference.MINIMAL_STUDY,
    "config": reference.MINIMAL_CONFIG,
    "outcomes": reference.MINIMAL_OUTCOMES,
}


class EditorLoader(yaml.SafeLoader):
    """YAML 1.2 as editors read it: `no` is a word, `true` is not, and 2019-01-02 is no date."""


EditorLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in found if not tag.endswith((":bool", ":timestamp"))
    ]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
EditorLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), ["t", "f"]
)


def mistakes(name, text):
    schema = reference.json_schema(MODELS[name])
    content = yaml.load(text, EditorLoader)
    return [
        error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(content)
    ]


def test_files_are_in_step_with_the_models():
    assert reference.differences() == ""


def test_a_stale_file_is_shown_with_a_diff(tmp_path):
    assert "+++ the models" in reference.differences(tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_schema_is_valid_and_every_key_has_a_description(name):
    schema = reference.json_schema(MODELS[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    for model in [schema, *schema["$defs"].values()]:
        assert model["description"]
        assert [
            k for k, node in model["properties"].items() if not node.get("description")
        ] == []


@pytest.mark.parametrize("name", MODELS)
def test_minimal_file_of_the_docs_is_valid(name, tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(MINIMAL[name], encoding="utf-8")
    MODELS[name].model_validate(read_yaml(file, file.name).tree)
    assert mistakes(name, MINIMAL[name]) == []


def test_minimal_study_has_ten_lines_at_most():
    assert len(reference.MINIMAL_STUDY.splitlines()) <= 10


def test_schema_accepts_scalars_as_an_editor_reads_them():
    text = (
        reference.MINIMAL_STUDY
        + "    use: no\n    why_not: test\n    p: 0.050\n    when: 2019\n"
    )
    assert mistakes("study", text) == []


def test_schema_accepts_one_text_where_a_list_is_allowed():
    text = reference.MINIMAL_CONFIG
    assert mistakes("config", text.replace("anti_gd2_chemo", "[a, b]")) == []


def test_schema_refuses_a_misspelt_key():
    assert mistakes("study", reference.MINIMAL_STUDY.replace("design:", "desing:"))


@pytest.mark.parametrize("heading", reference.WORDS)
def test_every_menu_is_linked_from_the_key_that_uses_it(heading):
    assert f"[{heading}](#" in reference.sections(Config)


def shipped():
    return [
        *(("study", file) for file in sorted(reference.ROOT.glob("data/studies/*.yaml"))),
        *(("outcomes", file) for file in sorted(reference.ROOT.glob("data/outcomes.yaml"))),
        *(("config", file) for file in sorted(reference.ROOT.glob("config.yaml"))),
        *(("config", file) for file in sorted(reference.ROOT.glob("reviews/*/config.yaml"))),
    ]


def test_every_shipped_file_is_valid_for_an_editor():
    for name, file in shipped():
        assert (file.name, mistakes(name, file.read_text("utf-8"))) == (file.name, [])
