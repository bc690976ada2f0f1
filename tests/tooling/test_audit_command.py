"""The command `evisynth audit`, with rules made up for the tests."""

import json
import os
import shutil

import pytest
from support.review import CONFIG, OUTCOMES, ROOT, TABLE
from support.toy_rules import TOYS, install

from evisynth import cli

STUDY = """\
study: {name}
design: single_arm
reports: [{{id: r, kind: journal_article}}]
arms: [{{id: new, n: 13, treatment: new}}]
results:
  - outcome: anything
    unit: per cent
    arms: {{new: {{events: 5, n: 13, printed: "{printed}"}}}}
    report: r
    quote: it was so
"""
FLAG = """\
accepted_flags:
  - {rule: TOY-PERCENT, place: results.anything.arms.new, decision: accept, reason: asked,
     who: A. Person, when: 2026-11-21}
"""


@pytest.fixture
def ask(capsys, monkeypatch, tmp_path):
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def asked(*arguments):
        code = cli.main(["audit", *map(str, arguments)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert "\x1b" not in said.out + said.err
        return code, said.out, said.err

    return asked


def write(name, text):
    with open(name, "w", encoding="utf-8") as stream:
        stream.write(text)
    return name


def right(name="ada"):
    return write(f"{name}.yaml", STUDY.format(name=name, printed="38"))


def wrong(name="bea", more=""):
    return write(f"{name}.yaml", STUDY.format(name=name, printed="83") + more)


def test_right_numbers_pass(ask):
    code, out, err = ask(right())
    assert (code, err) == (0, "")
    assert out == ("0 errors, 0 warnings, 0 notes (0 of them decided); 0 undecided; 1 passed\n")


def test_a_finding_says_where_what_why_and_what_to_do(ask):
    code, out, _ = ask(right(), wrong())
    assert code == 1
    assert out.startswith(
        "bea.yaml:6: error, TOY-PERCENT: bea, results.anything.arms.new\n"
        "    printed:    83 of 13\n"
        "    recomputed: 38%\n"
        "    because:    5 of 13 are 38%\n"
        "    to do:      look at the report\n"
    )
    assert out.endswith(
        "1 error, 0 warnings, 0 notes (0 of them decided); 0 undecided; 1 passed\n"
    )


def test_what_passed_is_printed_on_request(ask):
    _, out, _ = ask(right(), "--all")
    assert "ada.yaml:6: consistent, TOY-PERCENT" in out


def test_a_decision_closes_a_finding(ask):
    code, out, _ = ask(wrong(more=FLAG))
    assert code == 0
    assert "decision:   accepted by A. Person on 2026-11-21: asked" in out


def test_a_decision_on_nothing_is_a_warning(ask):
    name = write("ada.yaml", STUDY.format(name="ada", printed="38") + FLAG)
    assert ask(name)[0] == 0
    code, out, _ = ask(name, "--level", "warning")
    assert code == 1
    assert "warning, DECISION" in out


@pytest.mark.parametrize(
    ("value", "codes"), [("9", (1, 1, 1)), ("2", (0, 1, 1)), ("0.5", (0, 0, 0))]
)
def test_the_level_decides_on_the_exit_status(ask, value, codes):
    name = write("t.csv", f"study,yi,sei\na,{value},0.1\n")
    assert (
        tuple(ask(name, "--level", level)[0] for level in ("error", "warning", "note")) == codes
    )


def test_json_has_everything_that_the_text_has(ask):
    code, out, _ = ask(wrong(), "--json")
    assert code == 1
    tree = json.loads(out)
    assert tree["counts"] == {
        "error": 1,
        "warning": 0,
        "note": 0,
        "decided": 0,
        "undecided": 0,
        "passed": 0,
    }
    (found,) = tree["findings"]
    assert (found["file"], found["line"], found["study"]) == ("bea.yaml", 6, "bea")
    assert (found["rule"], found["level"], found["place"]) == (
        "TOY-PERCENT",
        "error",
        "results.anything.arms.new",
    )
    assert (found["printed"], found["recomputed"]) == ("83 of 13", "38%")
    assert (found["results"], found["arms"], found["decision"]) == (["anything"], ["new"], None)
    assert tree["rules"]["TOY-PERCENT"] == {"passed": 0, "failed": 1, "undecided": 0}


def test_columns_with_names_of_fields_are_found_and_others_are_mapped(ask):
    write("guess.csv", "Author,YI,sei\nAda,9,0.1\n")
    assert ask("guess.csv")[0] == 1
    assert "Ada, row 1: yi" in ask("guess.csv")[1]
    write("mine.csv", "who,effect,error\nAda,9,0.1\n")
    assert ask("mine.csv")[0] == 2
    code, out, _ = ask("mine.csv", "--columns", "study=who,yi=effect", "--columns", "sei=error")
    assert code == 1
    assert "mine.csv:2: error, TOY-LARGE: Ada, row 1: yi" in out


def test_a_table_without_names_of_studies_goes_by_rows(ask):
    write("t.csv", "yi,sei\n9,0.1\n")
    assert "row 1, row 1: yi" in ask("t.csv")[1]


def test_a_configuration_is_the_whole_review(ask, tmp_path):
    (tmp_path / "data/studies").mkdir(parents=True)
    head, _, rest = CONFIG.partition("  contrast:")
    config = head + "  hazard:" + rest.partition("  hazard:")[2]
    write("config.yaml", config.replace("outcome: orr", "outcome: anything"))
    write("data/outcomes.yaml", OUTCOMES.replace("orr:", "anything:"))
    write("data/hazard.csv", TABLE.replace("a,0.1", "a,9"))
    shutil.move(wrong(), "data/studies/bea.yaml")
    code, out, err = ask("config.yaml")
    assert (code, err) == (1, "")
    assert "data/studies/bea.yaml:6: error, TOY-PERCENT" in out
    assert "data/hazard.csv:2: error, TOY-LARGE" in out
    assert "config.yaml: note, TOY-TITLE: analyses.response.title" in out


def test_a_folder_stands_for_its_study_files_and_each_file_counts_once(ask, tmp_path):
    os.mkdir("folder")
    os.chdir("folder")
    right(), wrong()
    os.chdir(tmp_path)
    once = ask("folder")[1]
    assert "1 error" in once
    assert ask("folder", "folder/bea.yaml", "./folder/../folder/ada.yaml")[1] == once


def test_the_rules_can_be_listed(ask):
    code, out, _ = ask("--rules")
    assert code == 0
    assert "TOY-PERCENT (error, study): Percentage and count differ. [Toy 1999]\n" in out
    assert out.endswith(f"{len(TOYS)} rules\n")
    listed = json.loads(ask("--rules", "--json")[1])
    assert [rule["id"] for rule in listed] == list(TOYS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["name at least one FILE"]),
        (("t.csv", "--measure", "ORR"), ["'ORR'", "did you mean"]),
        (("t.csv", "--columns", "yi"), ["expected FIELD=COLUMN"]),
        (("t.csv", "--columns", "n1ii=yi"), ["'n1ii' is no field", "did you mean"]),
        (("t.csv", "--columns", "yi=yi,yi=sei"), ["'yi' is given twice"]),
        (("t.csv", "--columns", "yi=y"), ["a column of the table", "did you mean 'yi'?"]),
        (("nowhere.yaml",), ["nowhere.yaml", "no such file"]),
        (("nowhere\x1b[2J.csv",), ["no such file", "\\x1b"]),
    ],
)  # fmt: skip
def test_wrong_questions_have_an_answer(ask, arguments, words):
    write("t.csv", TABLE)
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert [word for word in words if word not in err] == []


HOSTILE = {
    "control.yaml": b"study: a\x1b[2J\n",
    "binary.yaml": bytes(range(256)),
    "empty.csv": b"",
    "words.yaml": b"just words\n",
    "alias.yaml": b"study: &a x\nlabel: *a\n",
    "tabs.csv": b"study\tyi\na\t1\n",
    "ragged.csv": b"study,yi\na,1,2\n",
    "comma.csv": b'study,yi\na,"1,5"\n',
    "other.yaml": b"outcomes: {}\n",
    "deep.yaml": b"study: " + b"[" * 500 + b"]" * 500 + b"\n",
    "notes.txt": b"hello\n",
}


def test_every_file_that_cannot_be_read_is_named_at_once(ask):
    for name, content in HOSTILE.items():
        with open(name, "wb") as stream:
            stream.write(content)
    code, out, err = ask(*HOSTILE, right())
    assert (code, out) == (2, "")
    assert [name for name in HOSTILE if name not in err] == []


def test_huge_files_pipes_and_links_in_folders_are_refused(ask, tmp_path):
    with open("huge.csv", "wb") as stream:
        stream.truncate(10_000_001)
    os.mkfifo("pipe.yaml")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/passwd.yaml").symlink_to("/etc/passwd")
    code, _, err = ask("huge.csv", "pipe.yaml", "folder")
    assert code == 2
    assert "at most 10000000" in err
    assert "a device or pipe" in err
    assert "a symbolic link" in err
    assert "root:" not in err


def test_two_files_of_one_study_are_refused(ask):
    right()
    shutil.copy("ada.yaml", "twin.yaml")
    code, _, err = ask("ada.yaml", "twin.yaml")
    assert code == 2
    assert "the id 'ada', which ada.yaml has too" in err


def test_a_decision_that_names_no_rule_is_refused(ask):
    code, _, err = ask(wrong(more=FLAG.replace("TOY-PERCENT", "TOY-PERZENT")))
    assert code == 2
    assert "did you mean 'TOY-PERCENT'?" in err


def test_text_of_files_cannot_steer_a_terminal(ask):
    evil = "a\u202eb\u2028c"
    write("evil.csv", f"study,yi\n{evil},9\n")
    code, out, _ = ask("evil.csv")
    assert code == 1
    assert "\u202e" not in out
    assert "\u2028" not in out


def test_the_shipped_files_can_be_audited(capsys):
    for arguments in (
        [ROOT / "data/studies"],
        [ROOT / "reviews/bcg/config.yaml"],
        [ROOT / "reviews/bcg/data/bcg.csv", "--columns", "ai=tpos,bi=tneg,ci=cpos,di=cneg"],
        [ROOT / "data/tables/riley2003.csv", "--measure", "HR"],
    ):
        code = cli.main(["audit", "--json", *map(str, arguments)])
        said = capsys.readouterr()
        assert (code in (0, 1), said.err) == (True, "")
        json.loads(said.out)
