"""Mistakes in a mapping or on the command line are said, all in one go."""

import pytest
import yaml
from pydantic import TypeAdapter
from support.foreign import import_, remarks, table
from support.review import ROOT

from evisynth.importing.formats import FORMATS
from evisynth.importing.mapping import TARGETS, MappingFile, options
from evisynth.yamltext import read_yaml

SOURCE = ROOT / "reviews/bcg/data/bcg.csv"


def mapping(tmp_path, text):
    path = tmp_path / "map.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_mistake_of_a_mapping_is_said_at_once(tmp_path, capsys):
    path = mapping(
        tmp_path,
        "header: 1\ncolumns: {ai: Tpos, n1i: nothing}\nfill_down: [x]\nrows: {y: [a]}\n",
    )
    said = import_(capsys, SOURCE, tmp_path / "out", "--map", path, status=2)
    for words in (
        "the column 'Tpos'", "did you mean 'tpos'?", "the column 'nothing'", "the column 'x'",
        "the column 'y'", "no `study`", "an effect measure",
    ):  # fmt: skip
        assert words in said
    assert "6 problems" in said


def test_unknown_keys_of_a_mapping_are_refused(tmp_path, capsys):
    path = mapping(tmp_path, "colums: {study: study}\nheader: 0\ncolumns: {xx: a}\n")
    said = import_(capsys, SOURCE, tmp_path / "out", "--map", path, status=2)
    assert "map.yaml, line 1: colums" in said
    assert "did you mean 'columns'?" in said
    assert "map.yaml, line 2: header" in said
    assert "map.yaml, line 3: columns.xx" in said


def test_columns_of_the_command_line():
    assert options("study=Study, n (all),ai=A=1,n1i = N") == {
        "study": "Study, n (all)", "ai": "A=1", "n1i": "N",
    }  # fmt: skip


@pytest.mark.parametrize("pairs", ["study", "stdy=a", "study=a,study=b", "study="])
def test_columns_that_are_none_are_refused(pairs):
    with pytest.raises(ValueError, match="--columns"):
        options(pairs)


def test_a_file_without_a_mapping_shows_its_first_row(tmp_path, capsys):
    said = import_(capsys, SOURCE, tmp_path / "out", status=2)
    assert "--map FILE" in said
    assert "study; label; trial" in said


def test_what_a_measure_needs_is_said(tmp_path, capsys):
    words = ("--columns", "study=study,ai=tpos", "--measure", "RR")
    said = import_(capsys, SOURCE, tmp_path / "out", *words, status=2)
    assert "for RR: ai bi ci di or ai n1i ci n2i" in said
    said = import_(capsys, SOURCE, tmp_path / "out", "--columns", "study=study", "--measure",
                   "rr", status=2)  # fmt: skip
    assert "did you mean 'RR'?" in said


def test_study_files_need_a_design(tmp_path, capsys):
    words = ("--columns", "study=study,ai=tpos,bi=tneg,ci=cpos,di=cneg", "--measure", "RR")
    said = import_(capsys, SOURCE, tmp_path / "out", *words, "--to", "studies", status=2)
    assert "--design" in said


def test_every_cell_that_is_not_taken_is_in_the_report(tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text(
        "My table\nTrial,Events,Total,Comment\nA,1,10,fine\nB,about 3,20,\nC,<5,30,\n"
        'D,"1,5",40,\n,5,50,\nE,NR,60,\nF,7,70,,extra\nSum,99,990,\n'
    )
    path = mapping(
        tmp_path,
        "header: 2\nlast: 9\nmissing: [NR]\nmeasure: PLO\n"
        "columns: {study: Trial, xi: Events, ni: Total}\n",
    )
    import_(capsys, source, tmp_path / "out", "--map", path, status=1)
    found = table(tmp_path / "out/x.csv")
    assert [(r["study"], r["xi"], r["ni"]) for r in found] == [
        ("A", "1", "10"), ("B", "", "20"), ("C", "", "30"), ("D", "", "40"), ("E", "", "60"),
        ("F", "7", "70"),
    ]  # fmt: skip
    said = {(r["level"], r["place"], r["found"]) for r in remarks(tmp_path / "out")}
    assert {
        ("lost", "B4", "about 3"), ("lost", "B5", "<5"), ("lost", "B6", "1,5"),
        ("lost", "A7", "Trial"), ("left", "column D", "Comment"), ("left", "E9", "extra"),
        ("left", "row 1", "'My table'"), ("left", "row 10", "'Sum; 99; 990'"),
    } <= said  # fmt: skip


def test_several_outcomes_in_columns_of_their_own(tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text("s,d1,d2,r1,r2,n1,n2\nA,1,2,3,4,10,10\nB,2,3,4,5,20,20\n")
    path = mapping(
        tmp_path,
        "measure: OR\ngroups: [New, Old]\ncolumns: {study: s, n1i: n1, n2i: n2}\noutcomes:\n"
        "  - {id: death, columns: {ai: d1, ci: d2}}\n"
        "  - {id: relapse, measure: RR, columns: {ai: r1, ci: r2}}\n",
    )
    words = ("--map", path, "--to", "studies", "--design", "rct")
    import_(capsys, source, tmp_path / "out", *words)
    study = read_yaml(tmp_path / "out/studies/a.yaml", "a.yaml").tree
    assert [r["outcome"] for r in study["results"]] == ["death", "relapse"]
    assert [a["id"] for a in study["arms"]] == ["new", "old"]
    config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert {k: a["measure"] for k, a in config["analyses"].items()} == {
        "death": "OR", "relapse": "RR",
    }  # fmt: skip


def test_numbers_that_contradict_each_other_do_not_become_a_study_file(tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text("study,xi,ni\nA,11,10\nB,3,10\nC,2.5,10\n")
    words = ("--columns", "study=study,xi=xi,ni=ni", "--measure", "PLO", "--to", "studies")
    import_(capsys, source, tmp_path / "out", *words, "--design", "single_arm", status=1)
    assert [p.name for p in (tmp_path / "out/studies").iterdir()] == ["b.yaml"]
    lost = [r for r in remarks(tmp_path / "out") if r["level"] == "lost"]
    assert [r["place"] for r in lost] == ["row 4", "row 2"]
    assert "no more events than n" in lost[1]["reason"]


def test_the_page_names_every_format_key_and_field():
    page = (ROOT / "docs/import.md").read_text(encoding="utf-8")
    missing = [
        name
        for name in (*FORMATS, *MappingFile.model_fields, "percent", "percent1", "percent2")
        if f"`{name}`" not in page
    ]
    assert missing == []
    for block in page.split("```")[1::2]:
        if block.startswith("\n# mapping"):
            MappingFile.model_validate(yaml.load(block, Loader=yaml.BaseLoader))
    assert page.count("\n# mapping") >= 3


def test_every_target_is_text_that_a_mapping_can_name():
    adapter = TypeAdapter(MappingFile)
    for name in TARGETS:
        assert adapter.validate_python({"columns": {name: "x"}}).columns == {name: "x"}
