"""Long tables hold everything that study files hold: there and back changes nothing."""

import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evisynth.cli import main
from evisynth.errors import InputError
from evisynth.evidence import read_evidence
from evisynth.exporting.long_csv import (
    NAMES,
    TABLES,
    columns_of,
    header,
    read_long,
    read_long_outcomes,
    write_long,
)
from evisynth.exporting.study_yaml import study_yaml
from evisynth.schema import Count, Id, NumberText, PrintedText, Strict, Text
from evisynth.studyfile import ArmValue, Interval, Outcome, StudyFile
from evisynth.validation import validate
from evisynth.yamltext import read_yaml

ROOT = Path(__file__).parents[2]

# What a file can hold: no control characters; what spreadsheets and YAML take for something
# else comes often.
CHARACTERS = st.characters(
    exclude_categories=["Cs", "Cc"],
    include_characters="\t\n\r",
    exclude_characters="\ufffe\uffff",
)
HOSTILE = st.sampled_from(
    ["=1+1", "'=1+1", "'", "''a", "+1", "-", "-0.5", "@x", "\tx", "\r", "a\rb\r\nc", '"', ",",
     ";", "a; b", " ", "  x ", "null", "~", "no", "1e5", "012", "# x", "a: b", "- a", "é\u2028",
     "\ufeffx", "{", "|", ">\n x", "%", "true", "2020-01-01", "<script>", "\n", "x\n\n y\n"]
)  # fmt: skip
TEXT = HOSTILE | st.text(CHARACTERS, min_size=1, max_size=20)
NUMBERS = st.sampled_from(["0", "0.50", "12", " 3", "7.", ".050", "1e2", "+4", "-1.5"])
PRINTED = NUMBERS | st.sampled_from(["<.001", "30.2%", "−0.11", "≥ 5", "=0.05", "-3%"])
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,6}", fullmatch=True)
CONFLICTING = (
    "ci iqr range events sd se estimate median use ci_level contrast".split()
)  # keys about which an entry can contradict itself
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Id, IDS),
    (Text, TEXT),
    (PrintedText, PRINTED),
    (NumberText, NUMBERS),
    (Count, st.integers(0, 10**9)),
    (Interval, st.sampled_from([["0", "NR"], ["NR", "NR"], ["-1", "+4.0"]])),
    (str, TEXT),
    (bool, st.booleans()),
]  # fmt: skip


def values(annotation: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values that the annotation of a key allows."""
    pattern = next((m.pattern for m in metadata if getattr(m, "pattern", None)), None)
    if pattern and annotation is str:
        return st.from_regex(re.compile(pattern.strip("^$"), re.ASCII), fullmatch=True)
    if annotation is int:
        return (
            st.integers(1800, 2200)
            if len(metadata) == 2 and _years(metadata)
            else (st.integers(0, 10**9))
        )
    for kind, strategy in LEAVES:
        if annotation == kind:
            return strategy
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        more = [m for field in inside[1:] for m in getattr(field, "metadata", [field])]
        return values(inside[0], tuple(more))
    if origin in (Union, types.UnionType):
        return st.one_of([st.none() if a is type(None) else values(a) for a in inside])
    if origin is Literal:
        return st.sampled_from(inside)
    if origin is list:
        least = max([getattr(m, "min_length", 0) for m in metadata], default=0)
        return st.lists(values(inside[0]), min_size=least, max_size=least + 2)
    if origin is dict:
        return st.dictionaries(values(inside[0]), values(inside[1]), max_size=2)
    return models(annotation)


def _years(metadata: tuple[Any, ...]) -> bool:
    return any(getattr(m, "ge", None) == 1800 for m in metadata)


@st.composite
def models(draw, model: type[Strict]) -> Any:
    """An entry of any kind; keys that contradict each other are left out of it."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if field.is_required() or draw(st.booleans()):
            keys[field.alias or name] = draw(values(field.annotation, tuple(field.metadata)))
    conflicting = [name for name in CONFLICTING if name in keys]
    for name in [*draw(st.permutations(conflicting)), "kind"]:
        try:
            return model(**keys)
        except ValidationError:
            keys.pop(name, None)
    return model(**keys)


def once(entries, name):
    return list({name(entry): entry for entry in entries}.values())


@st.composite
def study_files(draw) -> StudyFile:
    study = draw(models(StudyFile))
    return study.model_copy(
        update={
            "reports": once(study.reports, lambda r: r.id),
            "arms": once(study.arms, lambda a: a.id),
            "results": once(study.results, lambda r: r.id or r.outcome),
        }
    )


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    studies=st.lists(
        study_files(), min_size=1, max_size=3, unique_by=lambda s: s.study.casefold()
    )
)
def test_there_and_back_is_the_identity(studies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    write_long(studies, folder)
    assert read_long(folder) == studies


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(study=study_files())
def test_a_study_file_that_is_written_reads_as_the_same_study(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("yaml") / "study.yaml"
    path.write_bytes(study_yaml(study).encode())
    content, problems = validate(StudyFile, read_yaml(path, "study.yaml"))
    assert not problems
    assert content == study


@settings(max_examples=50, deadline=None)
@given(outcomes=st.dictionaries(IDS, models(Outcome), min_size=1, max_size=4))
def test_outcomes_there_and_back(outcomes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outcomes")
    write_long([], folder, outcomes)
    assert read_long_outcomes(folder) == outcomes


def test_the_examples_of_these_properties_have_every_key():
    """A property is worth what its examples hold."""
    seen: set[str] = set()

    @settings(max_examples=1200, database=None, deadline=None, derandomize=True)
    @given(study=study_files())
    def collect(study):
        seen.update(paths(study))

    collect()
    wanted = {f"StudyFile.{name}" for name in StudyFile.model_fields}
    for table in TABLES.values():
        if table.model:
            wanted |= {f"{table.model.__name__}.{name}" for name in table.model.model_fields}
    assert wanted <= seen


def paths(value):
    if isinstance(value, Strict):
        for name in type(value).model_fields:
            found = getattr(value, name)
            if found not in (None, [], {}):
                yield f"{type(value).__name__}.{name}"
            yield from paths(found)
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from paths(entry)


def test_every_key_of_a_study_file_is_in_some_table():
    """A key that is added to the models without a table for it fails here."""
    held = {(table.parent, table.key) for table in TABLES.values()}
    held.add(("", "risk_of_bias"))

    def lists(model):
        plain = {column.path[0] for column in columns_of(model)}
        return {f.alias or n for n, f in model.model_fields.items()} - plain

    assert {("", key) for key in lists(StudyFile)} <= held
    for name, table in TABLES.items():
        if table.model:
            assert {(name, key) for key in lists(table.model)} <= held


@pytest.fixture(scope="module")
def shipped():
    evidence, problems = read_evidence(ROOT / "data/studies", ROOT / "data/outcomes.yaml", ROOT)
    assert not problems
    return evidence


def test_the_shipped_studies_come_back_from_tables_and_from_files(shipped, tmp_path):
    long, again = tmp_path / "long", tmp_path / "again"
    config = str(ROOT / "config.yaml")
    assert main(["export", "evidence", "--config", config, "--out", str(long)]) == 0
    assert {path.name for path in long.iterdir()} == {
        f"{name}.csv" for name in (*NAMES, "outcomes", "synonyms")
    }
    assert main(["export", "studies", "--from", str(long), "--out", str(again)]) == 0
    evidence, problems = read_evidence(again / "studies", again / "outcomes.yaml", again)
    assert not problems
    assert [s.content for s in evidence.studies] == [s.content for s in shipped.studies]
    assert evidence.outcomes == shipped.outcomes
    assert read_long_outcomes(long) == shipped.outcomes


def test_the_bytes_are_equal_on_every_run(shipped, tmp_path):
    studies = [study.content for study in shipped.studies]
    for name in ("one", "two"):
        write_long(studies, tmp_path / name, shipped.outcomes)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_study_files_that_are_there_are_never_written_over(shipped, tmp_path, capsys):
    write_long([shipped.studies[0].content], tmp_path / "long")
    out = ["export", "studies", "--from", str(tmp_path / "long"), "--out", str(tmp_path)]
    assert main(out) == 0
    path = tmp_path / "studies" / f"{shipped.studies[0].id}.yaml"
    path.write_text("written by hand")
    capsys.readouterr()
    assert main(out) == 2
    assert "there already" in capsys.readouterr().err
    assert path.read_text() == "written by hand"


# --- what is wrong with tables is said, all of it --------------------------------------------


@pytest.fixture
def tables(shipped, tmp_path):
    write_long([study.content for study in shipped.studies], tmp_path)
    return tmp_path


def wrong(folder, name, change):
    path = folder / f"{name}.csv"
    path.write_bytes(change(path.read_bytes().decode()).encode())
    with pytest.raises(InputError) as caught:
        read_long(folder)
    return {(p.file, p.place, p.line): p for p in caught.value.problems}


def test_a_row_of_an_unknown_study_result_or_report_is_refused(tables):
    empty = "," * (len(header("values")) - 3)
    found = wrong(tables, "values", lambda t: t + f"beacon-imuno,orr,x{empty}\n")
    (problem,) = found.values()
    assert (problem.file, problem.place) == ("values.csv", "study")
    assert "beacon-immuno" in problem.action
    found = wrong(tables, "claims", lambda t: t + "beacon-immuno,no-such,orr,words\n")
    assert sorted(p.place for p in found.values()) == ["report", "study"]


def test_a_second_row_of_one_name_is_refused(tables):
    found = wrong(tables, "arms", lambda t: t + t.splitlines()[1] + "\n")
    (problem,) = found.values()
    assert "a second time" in problem.found


def test_a_missing_file_and_a_wrong_header_are_both_said(tables):
    (tables / "sums.csv").unlink()
    found = wrong(tables, "moves", lambda t: t.replace("study,what", "study,wat", 1))
    assert {(p.file, p.place) for p in found.values()} == {
        ("sums.csv", "the file itself"),
        ("moves.csv", "header"),
    }


def test_a_value_that_no_study_file_can_have_is_refused(tables):
    found = wrong(tables, "arms", lambda t: t.replace(",patients,", ",potatoes,", 1))
    (problem,) = found.values()
    assert problem.place.endswith(".unit")
    assert "patients" in problem.expected


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/b", "..", ""])
def test_an_id_never_becomes_a_path(tables, tmp_path, name):
    found = wrong(
        tables, "studies", lambda t: t + name + "," * (len(header("studies")) - 1) + "\n"
    )
    assert any(p.place in ("study", "top level") for p in found.values())


def test_an_arm_value_is_joined_by_result_and_arm(shipped, tables):
    lines = (tables / "values.csv").read_text().splitlines()
    assert lines[0].startswith("study,result,arm,events,n")
    assert ArmValue.model_fields.keys() >= {"events", "n"}
    count = sum(len(r.arms) for s in shipped.studies for r in s.content.results)
    assert len([line for line in lines if line]) >= count
