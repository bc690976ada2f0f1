"""One row per mistake: what is changed in a right review, and what the message says.

A message is given by words of ``place``, ``found`` and ``expected`` or ``action``.
"""

# ruff: noqa: E501, one row per mistake

import pytest

from evisynth.errors import Problem

CONFIG, OUTCOMES, TABLE = "config.yaml", "outcomes.yaml", "table.csv"
ALPHA, BETA, GAMMA = (f"studies/{name}.yaml" for name in ("alpha", "beta", "gamma"))

HR_CI = 'ci: ["1.0", "4.0"]'
CONTRAST = "    contrast: {numerator: exposed, denominator: not  exposed}\n"
SAID = "responded\n"


def one(problems: list[Problem], file: str, place: str) -> Problem:
    """The only problem, of this file."""
    assert len(problems) == 1, "\n\n".join(map(str, problems))
    problem = problems[0]
    assert problem.file.endswith(file)
    assert place in problem.place
    return problem


def check(problem: Problem, line: int | None, found: str, wanted: str) -> None:
    assert problem.line == line, problem
    assert found in problem.found, problem
    assert wanted in f"{problem.expected} {problem.action}", problem


# name: (file, old, new, line, place, found, expected or action)
STUDY_MISTAKES = {
    "events > n": (ALPHA, "events: 8", "events: 28", 10, "results[1].arms.N", "events (28)", "no more"),
    "events > n of the arm": (BETA, "{events: 9, n: 30}", "{events: 31}", 8, "arms.all.events", "31", "no more"),
    "n > n of the arm": (BETA, "n: 30}}", "n: 31}}", 8, "arms.all.n", "31", "unit"),
    "unknown key": (ALPHA, "design: rct", "design: rct\nregistri: [x]", 4, "registri", "unknown key", "'registry'"),
    "unknown key in an arm": (ALPHA, "id: N,", "id: N, lable: x,", 6, "arms[1].lable", "'lable'", "'label'"),
    "missing key": (ALPHA, "design: rct\n", "", 1, "design", "nothing", "Design"),
    "no arms": (BETA, "arms:\n  - {id: all, n: 30, treatment: new}\n", "arms: []\n", 4, "arms", "a list of 0", "at least one"),
    "design": (ALPHA, "design: rct", "design: RCT", 3, "design", "'RCT'", "'rct'"),
    "design in words": (ALPHA, "design: rct", "design: trial", 3, "design", "'trial'", "cohort"),
    "text for a number": (ALPHA, "N, n: 20", "N, n: twenty", 6, "arms[1].n", "'twenty'", "a whole number"),
    "fraction of a patient": (ALPHA, "N, n: 20", "N, n: 20.5", 6, "arms[1].n", "'20.5'", "a whole number"),
    "negative n": (ALPHA, "N, n: 20", "N, n: -3", 6, "arms[1].n", "'-3'", "at least 0"),
    "thousands": (ALPHA, "N, n: 20", "N, n: '1,000'", 6, "arms[1].n", "'1,000'", "nothing between thousands"),
    "very large int": (ALPHA, "N, n: 20", "N, n: " + 6000 * "9", 6, "arms[1].n", "'9999", "whole number"),
    "large int": (ALPHA, "N, n: 20", "N, n: 99999999999", 6, "arms[1].n", "'99999999999'", "at most 1000000000"),
    "list for text": (ALPHA, "design: rct", "design: [rct]", 3, "design", "a list of 1", "rct"),
    "text for a list": (ALPHA, HR_CI, "ci: 1.0-4.0", 17, "results[2].ci", "'1.0-4.0'", "[1.0-4.0]"),
    "text for keys": (BETA, "arms: {all: {events: 9, n: 30}}", "arms: 9/30", 8, "results[1].arms", "'9/30'", "key: value"),
    "one bound": (ALPHA, HR_CI, 'ci: ["1.0"]', 17, "results[2].ci", "a list of 1", "at least 2"),
    "interval in the wrong order": (ALPHA, HR_CI, 'ci: ["4.0", "1.0"]', 17, "results[2]", "wrong order", "lower bound first"),
    "estimate outside": (ALPHA, HR_CI, 'ci: ["2.5", "4.0"]', 16, "results[2]", "outside its ci", "within its interval"),
    "level of the interval": (ALPHA, HR_CI, HR_CI + "\n    ci_level: 95", 18, "results[2]", "95", "0.95"),
    "ratio of 0": (ALPHA, HR_CI, 'ci: ["0", "4.0"]', 13, "results[2]", "0 or less", "above 0"),
    "hazard ratio without contrast": (ALPHA, CONTRAST, "", 13, "results[2]", "without `contrast`", "numerator"),
    "events of a curve": (ALPHA, "kind: hazard_ratio", "kind: km_probability\n    arms: {N: {events: 3}}", 13, "results[2]", "km_probability", "not a count"),
    "use: no": (ALPHA, SAID, SAID + "    use: no\n", 13, "results[1]", "without a reason", "`why_not`"),
    "negative sd": (BETA, "n: 30}}", 'n: 30, mean: "1", sd: "-2"}}', 8, "arms.all", "negative", "0 or more"),
    "use: maybe": (BETA, SAID, SAID + "    use: maybe\n", 11, "results[1].use", "'maybe'", "yes or no"),
    "percentage": (ALPHA, '"40%"', "forty per cent", 10, "arms.N.printed", "'forty per cent'", "30.2%"),
    "decimal comma": (ALPHA, 'estimate: "2.0"', 'estimate: "2,0"', 16, "estimate", "'2,0'", "a point for decimals"),
    "NaN": (ALPHA, 'estimate: "2.0"', "estimate: NaN", 16, "estimate", "'NaN'", "a number as printed"),
    "inf": (ALPHA, 'estimate: "2.0"', "estimate: inf", 16, "estimate", "'inf'", "a number as printed"),
    "1e400": (ALPHA, 'estimate: "2.0"', "estimate: 1e400", 16, "estimate", "'1e400'", "a number as printed"),
    "--5": (ALPHA, 'estimate: "2.0"', "estimate: --5", 16, "estimate", "'--5'", "a number as printed"),
    "other digits": (ALPHA, 'estimate: "2.0"', "estimate: ٢", 16, "estimate", "٢", "a number as printed"),
    "empty text": (BETA, "quote: 9 of 30 responded", 'quote: ""', 10, "quote", "an empty text", "not empty"),
    "empty value": (BETA, "quote: 9 of 30 responded", "quote:", 10, "quote", "nothing", "text"),
    "long text": (BETA, "quote: 9 of 30 responded", "quote: " + 5001 * "x", 10, "quote", "xxx", "5000"),
    "pmid": (BETA, "id: b1,", "id: b1, pmid: PMC123,", 3, "reports[1].pmid", "'PMC123'", "digits"),
    "id of the study": (BETA, "study: beta", "study: ../beta", 1, "study", "'../beta'", "letters, digits"),
    "id of an arm as key": (BETA, "arms: {all: {", "arms: {a/b: {events: 1}, all: {", 8, "results[1].arms.a/b", "a/b", ""),
    "report": (BETA, "report: b1", "report: b2", 9, "results[1].report", "'b2'", "b1"),
    "outcome": (BETA, "outcome: orr", "outcome: or", 7, "results[1].outcome", "'or'", "'orr'"),
    "arm": (ALPHA, "O: {events: 3", "P: {events: 3", 10, "results[1].arms.P", "'P'", "N, O"),
    "arm twice": (BETA, "treatment: new}", "treatment: new}\n  - {id: all, n: 3, treatment: new}", 6, "arms[2].id", "'all' a second time", "rename"),
    "report twice": (BETA, "[{id: b1, kind: journal_article}]", "[{id: b1, kind: preprint}, {id: b1, kind: preprint}]", 3, "reports[2].id", "'b1' a second time", "rename"),
    "result twice": (BETA, "$", "  - {outcome: orr, report: b1, quote: again}\n", 11, "results[2]", "'orr' a second time", "`id`"),
    "report of another": (BETA, "id: b1,", "id: b1, duplicate_of: b9,", 3, "reports[1].duplicate_of", "'b9'", "b1"),
    "also in": (BETA, SAID, SAID + "    also: [{report: b9, quote: x}]\n", 11, "also[1].report", "'b9'", "b1"),
    "arm moved from": (BETA, "$", "events_after_randomisation: [{what: x, from: al, to: all, n: 1, of: 2, report: b1, quote: x}]\n", 11, "events_after_randomisation[1].from", "'al'", "'all'"),
    "overlap with nobody": (BETA, "$", "overlaps: [{with: gama, kind: same_patients, certainty: likely}]\n", 11, "overlaps[1].with", "'gama'", "'gamma'"),
    "overlap with itself": (BETA, "$", "overlaps: [{with: beta, kind: same_patients, certainty: likely}]\n", 11, "overlaps[1].with", "itself", "alpha, gamma"),
    "overlap of no report": (BETA, "$", "overlaps: [{with: gamma, kind: same_patients, certainty: likely, report: x}]\n", 11, "overlaps[1].report", "'x'", "b1"),
    "made of nothing": (BETA, "treatment: new}", "treatment: new, made_of: [some]}", 5, "arms[1].made_of[1]", "'some'", "all"),
    "made of itself": (BETA, "treatment: new}", "treatment: new, made_of: [all]}", 5, "arms[1].made_of", "made of itself", "fewer patients"),
    "more parts than the whole": (ALPHA, "treatment: old}", "treatment: old}\n  - {id: W, n: 37, treatment: any, made_of: [N, O]}", 8, "arms[3].made_of", "38 patients in N, O", "at most the 37"),
    "parts in common": (ALPHA, "treatment: old}", "treatment: old}\n  - {id: W, n: 90, treatment: any, made_of: [N, O, N]}", 8, "arms[3].made_of", "'N' and 'N'", "every patient once"),
    "duplicate key": (ALPHA, "design: rct", "design: rct\nlabel: Other", 4, "label", "'label' a second time, after line 2", "rename or remove"),
    "anchor": (ALPHA, "label: Alpha 2020", "label: &a Alpha", 2, "label", "&a", "write the value out"),
    "tag": (ALPHA, "label: Alpha 2020", "label: !!python/name:os.system Alpha", 2, "label", "python/name", "remove it"),
    "escape sequence": (ALPHA, "label: Alpha 2020", 'label: "\\x1b[2J"', 2, "label", "U+001B", "remove"),
    "key that is a list": (ALPHA, "label: Alpha 2020", "? [a, b]\n: c", 2, "top level", "no text", "rename"),
    "second document": (BETA, "$", "---\nstudy: delta\n", 11, "top level", "second document", "split"),
}  # fmt: skip


@pytest.mark.parametrize("case", STUDY_MISTAKES.values(), ids=STUDY_MISTAKES)
def test_a_mistake_in_a_study_file(review, case):
    file, old, new, line, place, found, wanted = case
    review.change(file, old, new)
    check(one(review.problems(), file, place), line, found, wanted)


# what the whole of a file is replaced by
WHOLE_FILES = {
    "empty": ("", None, "an empty file", "fill it in"),
    "white space": (" \n\t\n", None, "an empty file", "fill it in"),
    "comments": ("# nothing\n", 1, "only comments", "`key: value`"),
    "list": ("- study: x\n", 1, "a list of 1", "write a mapping"),
    "text": ("study\n", 1, "'study'", "write a mapping"),
    "latin-1": ("study: a\nlabel: Niño\n".encode("latin-1"), 2, "byte 0xf1", "save the file as UTF-8"),
    "utf-16": ("study: a".encode("utf-16"), 1, "not UTF-8", "save the file as UTF-8"),
    "NUL": ("study: a\x00b\n", 1, "U+0000", "remove it"),
    "ESC": ("study: a\nlabel: \x1b[31mred\n", 2, "U+001B", "remove it"),
    "tab": ("study:\n\tid: x\n", 2, "no value can begin with", "not tabs"),
    "colon": ("label: A: B\n", 1, "'label: A: B'", "quotation marks"),
    "open quote": ('label: "A\n', 1, "never closed", "close it"),
    "open list": ("registry: [a, b\n", 1, "not closed", "add the comma or the ]"),
    "open keys": ("recruited: {sites: 2\n", 1, "not closed", "add the comma or the }"),
    "at sign": ("label: @home\n", 1, "'label: @home'", "quotation marks"),
    "indentation": ("reports:\n  - id: a\n    kind: x\n   year: 1\n", 4, "'year: 1'", ""),
    "deep": ("a: " + 60 * "[" + "\n", 1, "more than 40 levels", "flatten"),
    "deep enough to exhaust a stack": (200_000 * "[", 1, "more than 40 levels", "flatten"),
    "billion laughs": ("a: &a [x]\nb: [*a, *a]\n", 1, "anchor", "write the value out"),
    "huge": (10_000_001 * "#", None, "10000001 bytes", "split"),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE_FILES.values(), ids=WHOLE_FILES)
@pytest.mark.parametrize("file", [BETA, CONFIG, OUTCOMES])
def test_a_file_that_is_no_yaml_mapping(review, file, case):
    content, line, found, wanted = case
    review.write(file, content)
    problem = next(p for p in review.problems() if p.file.endswith(file))
    check(problem, line, found, wanted)


CONFIG_MISTAKES = {
    "measure in small letters": ("response", "measure: PLO", "measure: plo", 8, "response.measure", "'plo'", "'PLO'"),
    "unknown measure": ("response", "measure: PLO", "measure: XYZ", 8, "response.measure", "'XYZ'", "PLN, PLO"),
    "estimator": ("response", "measure: PLO", "measure: PLO\n    model: {method: Reml}", 9, "response.model.method", "'Reml'", "'REML'"),
    "test": ("response", "measure: PLO", "measure: PLO\n    model: {test: u}", 9, "response.model.test", "'u'", "knha"),
    "level in per cent": ("response", "measure: PLO", "measure: PLO\n    level: 95", 9, "response.level", "'95'", "0.95"),
    "level NaN": ("response", "measure: PLO", "measure: PLO\n    level: nan", 9, "response.level", "'nan'", "finite"),
    "level in words": ("response", "measure: PLO", "measure: PLO\n    level: high", 9, "response.level", "'high'", "a number"),
    "key of an analysis": ("response", "measure: PLO", "measure: PLO\n    stuides: all", 9, "response.stuides", "unknown key", "'studies'"),
    "key of arms": ("response", "arms: {treatment: new}", "arms: {treatment: new, lable: x}", 7, "arms.lable", "unknown key", "'label'"),
    "key of a side": ("compared", "{treatment: new}, d", "{treatment: new, lable: x}, d", 7, "numerator.lable", "unknown key", "'label'"),
    "plot": ("response", "measure: PLO", "measure: PLO\n    plots: [forst]", 9, "plots[1]", "'forst'", "'forest'"),
    "axis": ("response", "measure: PLO", "measure: PLO\n    forest: {axis: [1, 0.5]}", 9, "forest.axis", "1 to 0.5", "lower end first"),
    "outcome": ("response", "outcome: orr", "outcome: ORR", 6, "response.outcome", "'ORR'", "'orr'"),
    "no outcome": ("response", "    outcome: orr\n", "", 4, "response.outcome", "nothing", "add it"),
    "no arms": ("response", "    arms: {treatment: new}\n", "", 4, "response.arms", "nothing", "which arms"),
    "no studies": ("response", "measure: PLO", "measure: PLO\n    studies: []", 9, "response.studies", "an empty list", "at least one"),
    "study": ("response", "measure: PLO", "measure: PLO\n    studies:\n      - beta\n      - alpah", 11, "response.studies[2]", "'alpah'", "'alpha'"),
    "study without a list": ("response", "measure: PLO", "measure: PLO\n    studies: alpha", 9, "response.studies", "'alpha'", "[alpha]"),
    "excluded study": ("response", "measure: PLO", "measure: PLO\n    exclude: {betta: x}", 9, "exclude.betta", "'betta'", "'beta'"),
    "exclusion without a reason": ("response", "measure: PLO", "measure: PLO\n    exclude: {beta: }", 9, "exclude.beta", "nothing", "text"),
    "chosen study": ("response", "measure: PLO", "measure: PLO\n    choose: {betta: orr}", 9, "choose.betta", "'betta'", "'beta'"),
    "chosen result": ("response", "measure: PLO", "measure: PLO\n    choose: {beta: or}", 9, "choose.beta", "'or'", "'orr'"),
    "chosen result that does not fit": ("response", "measure: PLO", "measure: PLO\n    choose: {alpha: death}", 9, "choose.alpha", "'death'", "orr"),
    "shown study": ("hazard", "measure: HR", "measure: HR\n    show: [{study: alfa, result: death, reason: x}]", 9, "show[1].study", "'alfa'", "'alpha'"),
    "shown result": ("hazard", "measure: HR", "measure: HR\n    show: [{study: alpha, result: deaht, reason: x}]", 9, "show[1].result", "'deaht'", "'death'"),
    "shown result of another kind": ("hazard", "measure: HR", "measure: HR\n    show: [{study: alpha, result: orr, reason: x}]", 9, "show[1].result", "'orr'", "HR"),
    "nobody has that treatment": ("response", "treatment: new", "treatment: nwe", 7, "response.arms.treatment", "nwe", "did you mean 'new'"),
    "pool: no": ("response", "measure: PLO", "measure: PLO\n    pool: no", 9, "response.pool", "without a reason", "why_not"),
    "no contrast": ("compared", "    contrast: {numerator: {treatment: new}, denominator: {treatment: old}}\n", "", 4, "compared.contrast", "nothing", "numerator"),
    "contrast by name": ("compared", "numerator: {treatment: new}", "numerator: new", 7, "contrast.numerator", "'new'", "treatment"),
    "both sides alike": ("compared", "denominator: {treatment: old}", "denominator: {treatment: new}", 7, "compared.contrast", "new", "one of the two"),
    "contrast of single arms": ("response", "measure: PLO", "measure: PLO\n    contrast: {numerator: a, denominator: b}", 9, "response.contrast", "PLO", "remove"),
    "hazard ratio without contrast": ("hazard", "    contrast: {numerator: Exposed, denominator: Not exposed}\n", "", 4, "hazard.contrast", "nothing", "direction"),
    "columns without a table": ("response", "measure: PLO", "measure: PLO\n    columns: {study: s}", 9, "response.columns", "without `table`", "remove"),
    "arms with a table": ("tabled", "measure: GEN", "measure: GEN\n    arms: {treatment: new}", 9, "tabled.arms", "with `table`", "remove"),
    "table missing": ("tabled", "table: table.csv", "table: tabel.csv", None, "the file itself", "no such file", "create it"),
    "table is a folder": ("tabled", "table: table.csv", "table: studies", None, "the file itself", "a folder", "correct the path"),
    "table that cannot be": ("tabled", "table: table.csv", "table: " + 400 * "x", None, "the file itself", "long", "path"),
    "column": ("tabled", "yi: yi", "yi: yii", 7, "tabled.columns.yi", "'yii'", "'yi'"),
    "field": ("tabled", "yi: yi", "effect: yi", 7, "tabled.columns.effect", "the name 'effect'", "yi"),
    "fields missing": ("tabled", ", vi: vi", "", 7, "tabled.columns", "study, yi", "yi vi or yi sei"),
    "no column of studies": ("tabled", "study: study, ", "", 7, "tabled.columns", "no `study`", "COLUMN"),
    "moderator": ("tabled", "measure: GEN", "measure: GEN\n    moderators: [yi, seting]", 9, "moderators[2]", "'seting'", "'setting'"),
    "column of rows": ("tabled", "measure: GEN", "measure: GEN\n    rows: {seting: home}", 9, "rows.seting", "'seting'", "'setting'"),
    "value of rows": ("tabled", "measure: GEN", "measure: GEN\n    rows: {setting: [home, hospitl]}", 9, "rows.setting", "'hospitl'", "'hospital'"),
    "excluded row": ("tabled", "measure: GEN", "measure: GEN\n    exclude: {tow: x}", 9, "exclude.tow", "'tow'", "'two'"),
    "row taken": ("tabled", "measure: GEN", "measure: GEN\n    studies: [tow, one]", 9, "studies[1]", "'tow'", "'two'"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIG_MISTAKES.values(), ids=CONFIG_MISTAKES)
def test_a_mistake_in_the_configuration(review, case):
    analysis, old, new, line, place, found, wanted = case
    review.keep(analysis)
    review.change(CONFIG, old, new)
    problem = one(review.problems(), "", place)
    check(problem, line, found, wanted)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a b",
        "con?",
        "Evidence",
        "a/b",
        "-a",
        "ä",
        "a.b",
        65 * "a",
        200 * "a",
        "..",
        "a\\b",
    ],
)
def test_a_name_of_an_analysis_that_is_no_safe_folder(review, name):
    review.change(CONFIG, "  response:", f"  '{name}':")
    problem = one(review.problems(), CONFIG, "analyses.")
    check(problem, 4, f"the name {name[:70]!r}"[:-1], "it names a folder")
    assert problem.action.startswith("rename")


@pytest.mark.parametrize(
    "name", ["evidence", "logs", "benchmarks", "con", "nul", "com1", "lpt9"]
)
def test_a_name_of_an_analysis_that_is_taken(review, name):
    review.change(CONFIG, "  response:", f"  {name}:")
    problem = one(review.problems(), CONFIG, f"analyses.{name}")
    check(problem, 4, f"the name '{name}'", "rename")


TABLE_MISTAKES = {
    "variance of 0": ("0.09", "0", 3, "study 'two', vi (vi)", "0", "above 0"),
    "negative variance": ("0.09", "-0.09", 3, "study 'two', vi (vi)", "-0.09", "above 0"),
    "NaN": ("0.09", "NaN", 3, "column vi", "'NaN'", "an empty cell"),
    "inf": ("0.09", "inf", 3, "column vi", "'inf'", "a plain number"),
    "1e400": ("0.09", "1e400", 3, "column vi", "'1e400'", "a plain number"),
    "per cent": ("0.09", "9%", 3, "column vi", "'9%'", "a plain number"),
    "below": ("0.09", "<0.1", 3, "column vi", "'<0.1'", "a plain number"),
    "decimal comma": ("0.09", '"0,09"', 3, "column vi", "'0,09'", "a point for decimals"),
    "thousands": ("0.09", '"1,234.5"', 3, "column vi", "'1,234.5'", "nothing between thousands"),
    "text": ("0.09", "small", 3, "column vi", "'small'", "a plain number"),
    "formula": ("0.09", "=1+1", 3, "column vi", "'=1+1'", "a plain number"),
    "study twice": ("two,", "one,", 3, "column study", "'one' 2 times (lines 2, 3)", "`cluster`"),
    "no study": ("two,", ",", 3, "column study", "an empty text", "the name of the study"),
    "long study": ("two,", 501 * "x" + ",", 3, "column study", "xxx", "500"),
    "column twice": (",setting", ",study", 1, "header", "'study' 2 times", "rename"),
    "too few cells": ("0.3,0.09,hospital", "0.3,0.09", 3, "row 2", "3 cells", "4, as in the header"),
    "too many cells": ("0.3,0.09", "0.3,0.09,7", 3, "row 2", "5 cells", "quote a cell"),
    "open quote": ("two,", '"two,', 4, "CSV syntax", "never closed", "twice"),
    "text after a quote": ("two,", '"two"x,', 3, "CSV syntax", "after a closing", "twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE_MISTAKES.values(), ids=TABLE_MISTAKES)
def test_a_mistake_in_a_table(review, case):
    old, new, line, place, found, wanted = case
    review.change(TABLE, old, new)
    check(one(review.problems(), TABLE, place), line, found, wanted)


WHOLE_TABLES = {
    "empty": ("", None, "an empty file", "fill it in"),
    "header only": ("study,yi,vi,setting\n", None, "none", "at least one row"),
    "semicolons": ("study;yi;vi\none;0,5;0,1\n", 1, "semicolons", "commas"),
    "tabs": ("study\tyi\tvi\none\t5\t1\n", 1, "tabs", "commas"),
    "NUL": ("study,yi,vi\none,1,\x00\n", 2, "U+0000", "remove"),
    "latin-1": ("study,yi,vi\nNiño,1,1\n".encode("latin-1"), 2, "0xf1", "UTF-8"),
    "huge cell": ("study,yi,vi\n" + 140_000 * "x" + ",1,1\n", 2, "field", "quotation marks"),
}


@pytest.mark.parametrize("case", WHOLE_TABLES.values(), ids=WHOLE_TABLES)
def test_a_file_that_is_no_table(review, case):
    content, line, found, wanted = case
    review.write(TABLE, content)
    check(one(review.problems(), TABLE, ""), line, found, wanted)


COUNTS = """\
study,ai,n1i,ci,n2i
one,{ai},{n1i},3,20
"""


@pytest.mark.parametrize(
    ("ai", "n1i", "place", "found", "wanted"),
    [
        ("21", "20", "ai (ai)", "21 events of 20", "no more events"),
        ("2.5", "20", "ai (ai)", "2.5", "a whole number"),
        ("-1", "20", "ai (ai)", "-1", "not negative"),
        ("0", "0", "n1i (n1i)", "0", "at least 1"),
    ],
)
def test_impossible_counts_in_a_table(review, ai, n1i, place, found, wanted):
    review.keep("tabled")
    review.change(CONFIG, "yi: yi, vi: vi", "ai: ai, n1i: n1i, ci: ci, n2i: n2i")
    review.change(CONFIG, "measure: GEN", "measure: OR")
    review.write(TABLE, COUNTS.format(ai=ai, n1i=n1i))
    check(one(review.problems(), TABLE, place), 2, found, wanted)


@pytest.mark.parametrize(
    ("row", "found", "wanted"),
    [
        ("2,3,1", "3 to 1", "lower bound first"),
        ("5,1,3", "5 outside 1 to 3", "within its interval"),
        ("1,1,1", "1 to 1", "some width"),
        ("-1,-2,3", "-", "above 0"),
    ],
)
def test_impossible_intervals_in_a_table(review, row, found, wanted):
    review.keep("tabled")
    review.change(CONFIG, "yi: yi, vi: vi", "estimate: e, ci_low: l, ci_high: h")
    review.change(CONFIG, "measure: GEN", "measure: HR")
    review.write(TABLE, f"study,e,l,h\none,{row}\n")
    for problem in review.problems():
        check(problem, 2, found, wanted)


def test_a_mistake_at_the_top_of_the_configuration(review):
    review.change(CONFIG, "review: {", "reveiw: {")
    problems = {problem.place: problem for problem in review.problems()}
    check(problems["reveiw"], 1, "unknown key", "'review'")
    check(problems["review"], 1, "nothing", "The question")


def test_a_table_without_columns(review):
    review.keep("tabled")
    review.change(CONFIG, "    columns: {study: study, yi: yi, vi: vi}\n", "")
    assert {problem.place for problem in review.problems()} == {"analyses.tabled.columns"}


# --- files and folders -----------------------------------------------------------------------


def test_the_configuration_is_missing(review):
    (review.folder / CONFIG).unlink()
    check(one(review.problems(), CONFIG, "the file itself"), None, "no such file", "create it")


@pytest.mark.parametrize(
    ("path", "found"), [("nowhere", "no such folder"), ("table.csv", "a file")]
)
def test_the_folder_of_studies_is_none(review, path, found):
    review.change(CONFIG, "studies: studies", f"studies: {path}")
    check(one(review.problems(), path, "folder"), None, found, "evidence.studies")


def test_the_folder_of_studies_is_empty(review):
    (review.folder / "none").mkdir()
    review.change(CONFIG, "studies: studies", "studies: none")
    check(one(review.problems(), "none", "folder"), None, "no study file", "add one")


def test_the_file_of_outcomes_is_missing(review):
    (review.folder / OUTCOMES).unlink()
    check(one(review.problems(), OUTCOMES, "file"), None, "no such file", "create it")


def test_a_path_with_a_nul_is_no_crash(review):
    review.keep("tabled")
    review.change(CONFIG, "table: table.csv", 'table: "ta\\0ble.csv"')
    problems = review.problems()
    assert any("U+0000" in problem.found for problem in problems)


@pytest.mark.parametrize("name", ["delta.yml", "delta.YAML", "more/delta.yaml"])
def test_a_study_file_that_would_be_left_out(review, name):
    review.write(f"studies/{name}", review.read(BETA))
    problem = one(review.problems(), name, "the file")
    assert "left out" in problem.action


def test_a_folder_named_like_a_study_file(review):
    (review.folder / "studies" / "x.yaml").mkdir()
    check(one(review.problems(), "x.yaml", "file"), None, "a folder", "a file")


def test_a_dangling_link_among_the_study_files(review):
    (review.folder / "studies" / "x.yaml").symlink_to("nowhere.yaml")
    check(one(review.problems(), "x.yaml", "file"), None, "no such file", "create it")


def test_two_studies_with_one_id(review):
    review.write("studies/delta.yaml", review.read(BETA))
    problem = one(review.problems(), "delta.yaml", "study")
    check(problem, 1, "'beta', which studies/beta.yaml has too", "merge")


def test_a_file_may_have_another_name_than_its_study(review):
    (review.folder / BETA).rename(review.folder / "studies" / "another name.yaml")
    assert [row.study for row in review.rows("response")] == ["alpha", "beta", "gamma"]


def test_files_of_editors_are_no_studies(review):
    review.write("studies/.beta.yaml.swp", "x")
    review.write("studies/.#beta.yaml", "x")
    review.write("studies/beta.yaml~", "x")
    review.load()


# --- several at once -------------------------------------------------------------------------


def test_all_mistakes_of_a_file_are_reported_together(review):
    review.change(ALPHA, "events: 8", "evnts: 1, events: 28")
    review.change(ALPHA, '"40%"', "forty")
    review.change(ALPHA, "design: rct", "design: RCT\ndesign: rct")
    review.change(ALPHA, "report: a1\n    quote: 8 of", "report: a2\n    qoute: 8 of")
    review.change(ALPHA, HR_CI, 'ci: ["4.0", "1.0"]')
    found = " | ".join(problem.found for problem in review.problems())
    for words in (
        "'evnts'",
        "events (28) are more than n (20)",
        "'forty'",
        "'RCT'",
        "'design' a second time",
        "'a2'",
        "'qoute'",
        "wrong order",
    ):
        assert words in found


def test_a_rule_is_not_broken_by_what_was_taken_away(review):
    review.change(BETA, SAID, f"{SAID}    use: no\n    why_not: ''\n")
    assert "empty" in one(review.problems(), BETA, "why_not").found


def test_mistakes_of_all_files_are_reported_together(review):
    review.change(CONFIG, "measure: PLO", "measure: plo")
    review.change(CONFIG, "outcome: death", "outcome: deth")
    review.change(CONFIG, "studies: studies", "studies: studies, more: 1")
    review.change(TABLE, "0.09", "-0.09")
    review.change(ALPHA, "design: rct", "desing: rct")
    review.change(BETA, "events: 9", "events: 99")
    problems = review.problems()
    places = " | ".join(f"{problem.file}: {problem.place}" for problem in problems)
    for words in ("response.measure", "evidence.more", "table.csv: study 'two'"):
        assert words in places

    review.change(CONFIG, ", more: 1", "")
    problems = review.problems()
    places = " | ".join(f"{problem.file}: {problem.place}" for problem in problems)
    for words in (
        "response.measure",
        "hazard.outcome",
        "table.csv: study 'two'",
        "alpha.yaml: desing",
        "beta.yaml: results[1].arms.all",
    ):
        assert words in places


def test_an_unreadable_study_file_makes_no_other_study_unknown(review):
    review.write(BETA, "study: [\n")
    review.change(CONFIG, "measure: PLO", "measure: PLO\n    studies: [beta]")
    assert {p.place for p in review.problems()} == {"YAML syntax"}


def test_a_mistake_is_reported_once_however_many_analyses_meet_it(review):
    text = review.read(CONFIG)
    tabled = text[text.index("  tabled:") :]
    review.change(CONFIG, "$", tabled.replace("tabled", "again"))
    review.change(TABLE, "0.09", "-0.09")
    assert len(review.problems()) == 1


def test_a_thousand_mistakes_make_a_message_that_can_be_read(review):
    review.write(TABLE, "study,yi,vi\n" + "".join(f"s{i},1,-1\n" for i in range(1000)))
    problems = review.problems()
    assert len(problems) == 1000
    with pytest.raises(ValueError, match="and 800 more"):
        review.load()


def test_an_empty_configuration_says_all_that_is_missing(review):
    review.write(CONFIG, "analyses: {}\n")
    assert {problem.place for problem in review.problems()} == {"review", "analyses"}


def test_a_list_of_analyses_is_refused(review):
    review.write(CONFIG, "review: {title: a, question: b}\nanalyses: [x]\n")
    check(one(review.problems(), CONFIG, "analyses"), 2, "a list of 1", "key: value")


def test_the_message_says_file_line_place_and_what_to_do(review):
    review.change(BETA, "events: 9", "events: 99")
    assert str(one(review.problems(), BETA, "")) == (
        "studies/beta.yaml, line 8: results[1].arms.all\n"
        "    found:    events (99) are more than n (30)\n"
        "    expected: no more events than n\n"
        "    to do:    compare with the report and correct it"
    )
