"""provenance.json and the RO-Crate: digests, edges, nothing of the machine; its MUSTs."""

import hashlib
import json
import platform
import re
import socket
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.review import CONFIG, ROOT, study

from evisynth import provenance
from evisynth.project import load_project
from evisynth.provenance import asked, command, dependencies
from evisynth.steps.provenance import write_provenance

RULES = [
    ("all", ["results/summary.csv"], []),
    ("effects", [object(), "config.yaml"], ["results/{analysis,a|b}/effect_sizes.json"]),
    ("pool", ["results/{analysis}/effect_sizes.json"], ["results/{analysis,a|b}/fit.json"]),
    ("summary", ["results/a/fit.json", "results/b/fit.json"], ["results/summary.csv"]),
]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder with two results and their provenance, as a function of the configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def make(config=CONFIG, write=True):
        if write:
            (tmp_path / "data/studies").mkdir(parents=True, exist_ok=True)
            (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
            outcomes = "outcomes:\n  orr: {label: R, definition: r, higher_is: good}\n"
            (tmp_path / "data/outcomes.yaml").write_text(outcomes, encoding="utf-8")
            (tmp_path / "data/hazard.csv").write_text(
                "study,yi,sei\na,0.1,0.2\nb,0.4,0.3\n", encoding="utf-8"
            )
            for name, text in (
                ("ada", study("ada", 13, 43, (4, 22))),
                ("bea", study("bea", 9, 17, (1, 18))),
            ):
                (tmp_path / f"data/studies/{name}.yaml").write_text(text, encoding="utf-8")
            (tmp_path / "results/hazard").mkdir(parents=True, exist_ok=True)
            (tmp_path / "results/hazard/fit.json").write_text("{}", encoding="utf-8")
            (tmp_path / "results/summary.csv").write_text("a,b\n", encoding="utf-8")
        project = load_project(Path("config.yaml"))
        lock = ROOT / "envs/requirements.txt"
        known = asked(project, lock, dependencies(RULES, "results", ["a", "b"]), "results")
        output = {
            "provenance": "results/provenance.json",
            "crate": "results/ro-crate-metadata.json",
        }
        files = ["results/summary.csv", "results/hazard/fit.json"]
        write_provenance(known, files, output)
        return tuple((tmp_path / name).read_bytes() for name in output.values())

    return make


def graph(crate):
    return {entry["@id"]: entry for entry in json.loads(crate)["@graph"]}


def test_every_input_and_every_result_has_its_digest(made, tmp_path):
    tree = json.loads(made()[0])
    assert sorted(tree["inputs"]) == [
        "config.yaml",
        "data/hazard.csv",
        "data/outcomes.yaml",
        "data/studies/ada.yaml",
        "data/studies/bea.yaml",
    ]
    digests = dict(tree["outputs"])
    for entry in tree["analyses"].values():
        digests |= entry["outputs"]
    assert sorted(digests) == ["hazard/fit.json", "summary.csv"]
    for folder, named in ((tmp_path, tree["inputs"]), (tmp_path / "results", digests)):
        for name, digest in named.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    lock = (ROOT / "envs/requirements.txt").read_bytes()
    assert tree["software"]["lock"] == hashlib.sha256(lock).hexdigest()


def test_the_same_bytes_on_every_run(made):
    assert made() == made(write=False)


def test_nothing_of_the_machine_is_in_it(made, tmp_path):
    provenance_text, crate = (text.decode() for text in made())
    tree = json.loads(provenance_text)
    del tree["environment"]
    for text in (json.dumps(tree), crate):
        for word in (str(tmp_path), str(ROOT), socket.gethostname(), platform.release()):
            assert word not in text
        # no clock: nothing of this or the last years but what the review says
        assert not re.search(r"20\d\d-\d\d-\d\d[T ]\d\d:", text)
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-", text)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("config.yaml", "snakemake"),
        ("reviews/bcg/config.yaml", "snakemake --configfile reviews/bcg/config.yaml"),
        ("../../elsewhere/ada/config.yaml", "snakemake --configfile config.yaml"),
        ("/elsewhere/ada/mine.yaml", "snakemake --configfile mine.yaml"),
    ],
)
def test_the_command_does_not_tell_where_a_review_lies(config, words):
    assert command(Path(config)) == words


def test_who_depends_on_whom(made):
    rules = {rule["rule"]: rule for rule in json.loads(made()[0])["rules"]}
    assert set(rules) == {"effects", "pool", "summary"}
    assert rules["pool"]["inputs"] == ["{analysis}/effect_sizes.json"]
    assert rules["pool"]["outputs"] == ["{analysis}/fit.json"]
    assert rules["summary"]["inputs"] == ["{analysis}/fit.json"]
    assert rules["effects"]["inputs"] == []


def test_an_edit_of_the_code_changes_its_digest(tmp_path):
    (tmp_path / "a.py").write_text("A = 1\n", encoding="utf-8")
    one = provenance.code_digest(tmp_path)
    (tmp_path / "a.py").write_text("A = 2\n", encoding="utf-8")
    two = provenance.code_digest(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({one, two, provenance.code_digest(tmp_path)}) == 3


def test_the_packages_are_the_direct_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [Requirement(d).name for d in project["dependencies"]] == provenance.DEPENDENCIES
    found = provenance.environment()
    assert found["python"] == platform.python_version()
    assert set(found["packages"]) == set(provenance.DEPENDENCIES)


# --------------------------------------------------- the MUSTs of RO-Crate 1.1


def test_the_metadata_file_is_flattened_json_ld_that_describes_itself(made):
    tree = json.loads(made()[1])
    assert tree["@context"] == "https://w3id.org/ro/crate/1.1/context"
    ids = [entry["@id"] for entry in tree["@graph"]]
    assert len(ids) == len(set(ids))
    assert all("@type" in entry for entry in tree["@graph"])
    descriptor = graph(made()[1])["ro-crate-metadata.json"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    for entry in tree["@graph"]:  # flat: nested objects are references only
        for value in entry.values():
            for item in value if isinstance(value, list) else [value]:
                assert not isinstance(item, dict) or set(item) == {"@id"}


def test_the_root_is_a_dataset_with_name_description_date_and_licence(made):
    root = graph(made()[1])["./"]
    assert root["@type"] == "Dataset"
    assert root["name"] == "A small review"
    assert root["description"].startswith("Does it work?")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", root["datePublished"])
    assert graph(made()[1])[root["license"]["@id"]]["name"]


def test_every_file_is_there_part_of_the_root_and_has_its_size(made, tmp_path):
    entries = graph(made()[1])
    files = {name for name, entry in entries.items() if entry["@type"] == "File"}
    assert files == {"summary.csv", "hazard/fit.json", "provenance.json"}
    assert {part["@id"] for part in entries["./"]["hasPart"]} == files
    for name in files:
        content = (tmp_path / "results" / name).read_bytes()
        assert entries[name]["contentSize"] == str(len(content))
        assert entries[name]["identifier"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_every_reference_leads_to_an_entity(made):
    entries = graph(made()[1])
    for entry in entries.values():
        for key, value in entry.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and (entry["@id"], key) != (
                    "ro-crate-metadata.json",
                    "conformsTo",
                ):
                    assert item["@id"] in entries


def test_the_run_is_an_action_with_its_program_inputs_and_results(made):
    entries = graph(made()[1])
    run = entries["#run"]
    assert run["@type"] == "CreateAction"
    assert entries[run["instrument"]["@id"]]["@type"] == "SoftwareApplication"
    assert {entries[i["@id"]]["name"] for i in run["object"]} >= {
        "config.yaml",
        "data/hazard.csv",
    }
    assert {i["@id"] for i in run["result"]} >= {"summary.csv"}
    assert entries["./"]["mentions"] == {"@id": "#run"}
    assert entries["./"]["conformsTo"] == {"@id": provenance.PROFILE}


@pytest.mark.parametrize(
    ("key", "environment", "date"),
    [
        ("", "", "1970-01-01"),
        ("", "86400", "1970-01-02"),
        ("", "soon", "1970-01-01"),
        ("date: 2026-02-03, ", "86400", "2026-02-03"),
    ],
)
def test_the_date_is_given_and_never_the_clocks(made, monkeypatch, key, environment, date):
    config = CONFIG.replace("{title: A small", "{" + key + "title: A small")
    made(config)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", environment)
    root = graph(made(write=False)[1])["./"]
    assert root["datePublished"] == date
    assert ("No date is given" in root["description"]) == (date == "1970-01-01")


@pytest.mark.parametrize(
    ("licence", "identity"),
    [
        ("CC-BY-4.0", "https://spdx.org/licenses/CC-BY-4.0"),
        ("https://example.org/l", "https://example.org/l"),
        ("all rights with us", "#license"),
    ],
)
def test_licence_and_authors_are_entities(made, licence, identity):
    config = CONFIG.replace(
        "{title: A small", f"{{license: '{licence}', authors: [A. One, B. Two], title: A small"
    )
    entries = graph(made(config)[1])
    assert entries["./"]["license"] == {"@id": identity}
    assert entries[identity]["name"] == licence
    assert [entries[a["@id"]]["name"] for a in entries["./"]["author"]] == ["A. One", "B. Two"]
    assert entries["#run"]["agent"] == {"@id": "#author-1"}
