"""Selection and trace: why a result is in or out, and the way from a number to its line."""

import json
import math
import shutil
import textwrap

import pytest
from support.review import CONFIG, OUTCOMES, ROOT, study
from support.trace import build, review, table

from evisynth import cli
from evisynth.candidates import CATEGORIES
from evisynth.project import load_project
from evisynth.rows import counted

MANY = """\
study: many
label: Many reports
design: rct
excluded: null
reports:
  - {id: first, kind: journal_article, superseded_by: last}
  - {id: copy, kind: repository_record, duplicate_of: last}
  - {id: last, kind: journal_article, doi: 10.1000/last, seen: full_text, primary: true}
arms:
  - {id: new, n: 40, treatment: new}
  - {id: old, n: 41, treatment: old}
  - {id: other, n: 20, treatment: other}
results:
  - id: orr
    outcome: orr
    arms: {new: {events: 12, n: 40, printed: "30%"}, old: {events: 8, n: 41}}
    report: last
    quote: 12 of 40 (30%) against 8 of 41
    also: [{report: copy, quote: thirty per cent}]
  - id: interim
    outcome: orr
    arms: {new: {events: 5, n: 20}, old: {events: 4, n: 20}}
    report: first
    quote: 5 of 20 against 4 of 20
    use: no
    why_not: interim
  - id: again
    outcome: orr
    arms: {new: {events: 12, n: 40}}
    report: copy
    quote: 12 of 40
    use: no
    why_not: the same patients
  - id: early
    outcome: orr
    arms: {new: {events: 9, n: 40}}
    report: last
    quote: 9 of 40
  - id: elsewhere
    outcome: orr
    arms: {other: {events: 3, n: 20}}
    report: last
    quote: 3 of 20
"""


@pytest.fixture
def ask(capsys):
    def asked(*words):
        code = cli.main(["trace", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return asked


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "a review"
    config = review(
        folder,
        CONFIG.replace("measure: PLO", "measure: PLO\n    choose: {many: orr}").replace(
            "measure: RR", "measure: RR\n    exclude: {bea: too small}"
        ),
        many=MANY,
    )
    build(config, folder / "results")
    return folder


def lines_of(folder, analysis):
    return {
        (line["study"], line["result"], line["arms"]): line
        for line in table(folder / f"results/{analysis}/selection.csv")
    }


# --------------------------------------- selection


@pytest.mark.parametrize(
    ("entry", "category", "reason"),
    [
        (("many", "orr", "new"), "pooled", ""),
        (
            ("many", "orr", "old"),
            "eligibility",
            "arm of treatment old; the analysis asks for new",
        ),
        (("many", "interim", "new"), "superseded", "interim"),
        (("many", "again", "new"), "duplicate", "the same patients"),
        (("many", "early", "new"), "not chosen", "`choose` takes orr of this study"),
        (("many", "elsewhere", "other"), "eligibility", "arm of treatment other"),
        (("ada", "orr", "new"), "pooled", ""),
    ],
)
def test_every_result_of_the_outcome_is_listed_with_its_reason(many, entry, category, reason):
    line = lines_of(many, "response")[entry]
    assert line["category"] == category
    assert line["reason"].startswith(reason)
    assert line["in"] == ("true" if category == "pooled" else "false")


def test_what_the_reviewer_excludes_is_listed_with_the_reviewers_words(many):
    line = lines_of(many, "contrast")["bea", "orr", "new; old"]
    assert (line["in"], line["category"]) == ("false", "excluded by the reviewer")
    assert line["reason"] == "too small"


def test_what_other_reports_print_of_the_same_quantity_is_shown(many):
    line = lines_of(many, "response")["many", "orr", "new"]
    assert line["report"] == "last"
    assert "copy: “thirty per cent”" in line["also_printed"]
    assert "first: new: 5/20 (result interim)" in line["also_printed"]


def test_candidates_are_complete(many):
    project = load_project(many / "config.yaml")
    wanted = {
        (s.id, result.id or result.outcome, arm)
        for s in project.evidence.studies
        for result in s.content.results
        for arm in result.arms
        if result.outcome == "orr"
    }
    assert set(lines_of(many, "response")) == wanted


def test_a_line_names_the_file_and_the_line_of_its_result(many):
    for line in lines_of(many, "response").values():
        text = (many / line["file"]).read_text(encoding="utf-8").splitlines()
        entry = text[int(line["line"]) - 1]
        name = line["result"]
        assert entry.strip() in (f"- id: {name}", "- outcome: orr")


def test_rows_of_a_table_are_lines_and_the_others_a_count(tmp_path):
    config = review(
        tmp_path,
        CONFIG.replace("    columns: {study", "    rows: {kind: x}\n    columns: {study"),
    )
    rows = "study,kind,yi,sei\na,x,0.1,0.2\nb,y,0.4,0.3\nc,x,0.9,0.25\nd,z,0.3,0.4\n"
    (tmp_path / "data/hazard.csv").write_text(rows, encoding="utf-8")
    build(config, tmp_path / "results", ["hazard"])
    lines = table(tmp_path / "results/hazard/selection.csv")
    assert [(line["study"], line["in"], line["line"]) for line in lines] == [
        ("a", "true", "2"),
        ("c", "true", "4"),
        ("", "false", "3"),
    ]
    assert lines[-1]["reason"] == (
        "2 further rows that `rows` does not select: 1 where kind is y; 1 where kind is z"
    )


def test_a_row_without_an_effect_size_is_not_usable_and_says_why(tmp_path):
    config = review(tmp_path, nil=study("nil", 0, 20, (0, 20)))
    build(config, tmp_path / "results", ["contrast"])
    line = lines_of(tmp_path, "contrast")["nil", "orr", "new; old"]
    assert (line["in"], line["category"]) == ("false", "not usable")
    assert line["reason"]


def test_an_analysis_that_pools_nothing_lists_and_says_why(tmp_path):
    config = review(
        tmp_path,
        CONFIG.replace("measure: HR", "measure: HR\n    pool: no\n    why_not: no need"),
    )
    build(config, tmp_path / "results", ["hazard"])
    lines = table(tmp_path / "results/hazard/selection.csv")
    assert {(x["in"], x["category"], x["reason"]) for x in lines} == {
        ("false", "listed", "no need")
    }


def test_a_declared_overlap_of_two_candidates_is_shown_on_both(tmp_path):
    shared = "overlaps: [{with: ada, kind: same_patients, at_most: 3, certainty: stated}]\n"
    config = review(tmp_path, cleo=study("cleo", 5, 13) + shared)
    build(config, tmp_path / "results", ["response"])
    lines = lines_of(tmp_path, "response")
    assert lines["ada", "orr", "new"]["shares_patients_with"] == "cleo"
    assert lines["cleo", "orr", "new"]["shares_patients_with"] == "ada"
    assert lines["bea", "orr", "new"]["shares_patients_with"] == ""


def test_a_formula_in_a_quote_is_text_in_the_table(tmp_path):
    hostile = study("evil", 5, 13).replace("label: Evil 2020", 'label: "=1+1"')
    config = review(tmp_path, evil=hostile)
    build(config, tmp_path / "results", ["response"])
    assert lines_of(tmp_path, "response")["evil", "orr", "new"]["label"] == "'=1+1"


def test_every_category_is_explained_in_the_documents():
    page = (ROOT / "docs/provenance.md").read_text(encoding="utf-8")
    assert [name for name in CATEGORIES if f"`{name}`" not in page] == []


# --------------------------------------- reports and studies


def test_reports_and_studies_are_counted_apart(many):
    rows = {row["analysis"]: row for row in table(many / "results/summary.csv")}
    assert (rows["response"]["studies"], rows["response"]["reports"]) == ("4", "6")
    assert (rows["contrast"]["studies"], rows["contrast"]["reports"]) == ("2", "4")
    assert (rows["hazard"]["studies"], rows["hazard"]["reports"]) == ("4", "")


def test_a_study_with_two_rows_is_one_study():
    assert counted({"a": 2, "b": 1}, ["a", "a", "b"]) == {"studies": 2, "reports": 3}
    assert counted({"a": 2}, ["a", "b"]) == {"studies": 2, "reports": None}


# --------------------------------------- every number can be reached

SHIPPED = {
    "shipped": ROOT / "config.yaml",
    **{path.parent.name: path for path in sorted(ROOT.glob("reviews/*/config.yaml"))},
}


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    project = build(SHIPPED[request.param], folder)
    return folder, list(project.config.analyses)


def same(cell, value):
    """Whether a CSV cell is this JSON value: numbers to the last digit."""
    if value is None or cell == "":
        return value is None and cell == ""
    if isinstance(value, bool):
        return cell == str(value).lower()
    return float(cell) == float(value)


NOT_NUMBERS = frozenset(
    "analysis subgroup model method test measure scale notes prediction title outcome study "
    "label cluster reason printed report quote place".split()
)


def test_every_number_of_the_pooled_estimates_is_in_the_trace(shipped):
    folder, analyses = shipped
    count = 0
    for name in analyses:
        tree = json.loads((folder / name / "trace.json").read_text("utf-8"))
        for row in table(folder / name / "pooled.csv"):
            about = {key: tree[key] for key in ("k_total", "n_total", "level")}
            if row["model"]:
                [estimate] = [
                    e
                    for e in tree["estimates"]
                    if [e[key] for key in ("model", "method", "test", "subgroup", "headline")]
                    == [
                        *(row[k] for k in ("model", "method", "test", "subgroup")),
                        row["headline"] == "true",
                    ]
                ]
                about |= estimate
                if row["scale"] == "display":
                    about |= {"se": None, **estimate["display"]}
            else:
                about |= {"k": tree["k"], "headline": False}
            for column in set(row) - NOT_NUMBERS:
                assert same(row[column], about.get(column)), (name, row, column)
                count += row[column] != ""
    assert count > 100


def test_every_number_of_the_effects_is_in_the_trace(shipped):
    folder, analyses = shipped
    count = 0
    for name in analyses:
        tree = json.loads((folder / name / "trace.json").read_text("utf-8"))
        rows = table(folder / name / "effects.csv")
        assert len(rows) == len(tree["rows"])
        for row, entry in zip(rows, tree["rows"], strict=True):
            about = {**entry["covariates"], **entry["raw"], **entry}
            assert (row["study"], row["reason"]) == (entry["study"], entry["reason"])
            for column in set(row) - NOT_NUMBERS - set(entry["covariates"]):
                assert same(row[column], about[column]), (name, column)
                count += row[column] != ""
            assert all(row[c] == text for c, text in entry["covariates"].items())
    assert count > 20


def test_every_number_of_the_summary_is_in_the_trace(shipped):
    folder, _ = shipped
    for row in table(folder / "summary.csv"):
        tree = json.loads((folder / row["analysis"] / "trace.json").read_text("utf-8"))
        first = tree["estimates"][0] if tree["estimates"] else {"headline": False}
        about = dict(tree)
        if first["headline"]:
            about |= {**first, **first["display"], "k": tree["k"]}
            spread = tree["heterogeneity"][:1]
            about["i2"] = next(
                (h["i2"] for h in spread if h["method"] == first["method"]), None
            )
        for column in set(row) - NOT_NUMBERS:
            assert same(row[column], about.get(column)), (row["analysis"], column)


def test_weights_and_rows_give_the_estimate(shipped):
    folder, analyses = shipped
    count = 0
    for name in analyses:
        tree = json.loads((folder / name / "trace.json").read_text("utf-8"))
        for estimate in tree["estimates"]:
            if not estimate["how"].startswith("mean of yi") or not estimate["weights"]:
                continue
            pairs = [
                (w, row["yi"])
                for w, row in zip(estimate["weights"], tree["rows"], strict=True)
                if w is not None
            ]
            assert math.fsum(w for w, _ in pairs) == pytest.approx(100)
            mean = math.fsum(w * y for w, y in pairs) / 100
            # weights are rounded to doubles, no more
            assert mean == pytest.approx(estimate["estimate"], rel=1e-9, abs=1e-12)
            count += 1
    assert count > 5


def test_a_quote_in_the_trace_stands_where_the_trace_says(shipped):
    folder, analyses = shipped
    for name in analyses:
        tree = json.loads((folder / name / "trace.json").read_text("utf-8"))
        for row in tree["rows"]:
            if row["quote"]:
                path = ROOT / row["file"]
                lines = path.read_text(encoding="utf-8").splitlines()[row["line"] - 1 :]
                text = " ".join(" ".join(lines[:60]).split())
                assert " ".join(row["quote"].split())[:40] in text.replace("''", "'")
                assert row["report"]["id"]


# --------------------------------------- the command


def test_the_command_leads_from_the_estimate_to_the_line(many, ask):
    code, said, _ = ask("response", "--config", many / "config.yaml")
    assert code == 0
    text = (many / "data/studies/many.yaml").read_text(encoding="utf-8").splitlines()
    line = text.index("  - id: orr") + 1
    for words in (
        "headline",
        "yi = log(xi/(ni - xi))",
        "from xi 12, ni 40",
        "quote: “12 of 40 (30%) against 8 of 41”",
        "report: last, journal article, doi 10.1000/last, seen: full text",
        f"at data/studies/many.yaml, line {line} (results.orr)",
        "many early (new): not chosen",
    ):
        assert words in said


def test_the_command_shows_one_study(many, ask):
    code, said, _ = ask("response", "ada", "--config", many / "config.yaml")
    assert code == 0
    assert "Ada 2020" in said
    assert "Many reports" not in said


def test_a_study_that_is_not_there_is_explained(many, ask):
    (many / "data/studies/dora.yaml").write_text(
        study("dora", 1, 9).replace("outcome: orr", "outcome: other"), encoding="utf-8"
    )
    (many / "data/outcomes.yaml").write_text(
        OUTCOMES + "  other: {label: O, definition: o, higher_is: good}\n", encoding="utf-8"
    )
    try:
        code, said, _ = ask("response", "dora", "--config", many / "config.yaml")
    finally:
        (many / "data/studies/dora.yaml").unlink()
    assert code == 0
    assert said == (
        "dora is not in response: data/studies/dora.yaml has no result of the outcome orr; "
        "its outcomes are other\n"
    )


def test_the_command_gives_all_of_it_as_json(many, ask):
    code, said, _ = ask("response", "many", "--json", "--config", many / "config.yaml")
    tree = json.loads(said)
    assert code == 0
    assert {row["study"] for row in tree["rows"]} == {"many"}
    assert {line["result"] for line in tree["selection"]} == {
        "orr",
        "interim",
        "again",
        "early",
        "elsewhere",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("respons",), "did you mean 'response'?"),
        (("response", "beaa"), "did you mean 'bea'?"),
    ],
)
def test_a_wrong_name_gets_the_nearest(many, ask, words, said):
    code, _, error = ask(*words, "--config", many / "config.yaml")
    assert code == 2
    assert said in error


def test_results_that_are_not_there_are_said(many, ask, tmp_path):
    code, _, error = ask("response", "--config", many / "config.yaml", "--results", tmp_path)
    assert code == 2
    assert "build the results with snakemake" in error


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 1}'])
def test_a_broken_trace_is_no_traceback(many, ask, tmp_path, text):
    shutil.copytree(many / "results", tmp_path / "results")
    (tmp_path / "results/response/trace.json").write_text(text, encoding="utf-8")
    code, _, error = ask(
        "response", "--config", many / "config.yaml", "--results", tmp_path / "results"
    )
    assert code == 2
    assert "another version" in error


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("data/studies/ada.yaml", "events: 13", "events: 14", "other numbers"),
        (
            "config.yaml",
            "measure: PLO",
            "measure: PLO\n    also: [{family: BB}]",
            "other model",
        ),
        ("data/studies/ada.yaml", "quote: it was so", "quote: it is so", "other"),
        (
            "data/studies/ada.yaml",
            "study: ada",
            "# one line more\nstudy: ada",
            "other words, lines",
        ),
    ],
)
def test_results_older_than_the_evidence_are_said(tmp_path, ask, file, old, new, said):
    config = review(tmp_path)
    build(config, tmp_path / "results", ["response"])
    assert ask("response", "--config", config)[0] == 0
    path = tmp_path / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    code, answer, _ = ask("response", "--config", config)
    assert code == 1
    assert said.removeprefix("other ") in answer.splitlines()[0]


def test_letters_that_would_drive_a_terminal_are_spelled_out(tmp_path, ask):
    hostile = study("evil", 5, 13).replace("quote: it was so", 'quote: "a\\u202eb"')
    config = review(tmp_path, evil=hostile)
    build(config, tmp_path / "results", ["response"])
    _, said, _ = ask("response", "evil", "--config", config)
    assert "\\u202e" in said
    assert "\u202e" not in said


def test_a_decision_and_a_finding_are_on_the_way(tmp_path, monkeypatch, ask):
    from evisynth.audit import run
    from evisynth.audit.records import Check, Rule

    def always(material):
        for result in material.study.content.results:
            place = material.result_place(result)
            yield Check(place, "inconsistent", "5/13", "6/13", "does not fit", "look")

    rule = Rule("ALWAYS", "error", "study", "always", always)
    monkeypatch.setattr(run.audit, "__defaults__", (None, {"ALWAYS": rule}))
    decided = textwrap.dedent("""\
        accepted_flags:
          - {rule: ALWAYS, place: results.orr, decision: accept, reason: seen,
             who: A. Person, when: 2026-01-01}
        """)
    config = review(tmp_path, cleo=study("cleo", 5, 13) + decided)
    build(config, tmp_path / "results", ["response"])
    lines = lines_of(tmp_path, "response")
    assert lines["ada", "orr", "new"]["category"] == "audit"
    assert lines["cleo", "orr", "new"]["category"] == "pooled"
    _, said, _ = ask("response", "cleo", "--config", config)
    assert (
        "audit: ALWAYS, error, inconsistent; printed 5/13; recomputed 6/13; does not fit; "
        "accepted by A. Person on 2026-01-01: seen"
    ) in said
