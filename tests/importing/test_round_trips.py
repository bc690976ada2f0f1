"""The trials of BCG through every format give the numbers that they are known to give."""

import math
import zipfile

import pytest
from support.foreign import (
    LOG_RISK_RATIO,
    bcg_rm5,
    csv_text,
    headline,
    import_,
    remarks,
    table,
    totals,
    trials,
    workbook,
)
from support.review import ROOT

from evisynth.evidence import read_evidence
from evisynth.tabular import cell, plain

# published digits of the reference
SAME = {"abs": 5e-8}
COLUMNS = "study=study,label=label,year=year,ai=tpos,bi=tneg,ci=cpos,di=cneg"
COUNTS = ("ai", "n1i", "ci", "n2i")


def known(folder, analysis=""):
    assert headline(folder, analysis).estimate == pytest.approx(LOG_RISK_RATIO, **SAME)


def numbers(path):
    return [tuple(row[field] for field in COUNTS) for row in table(path)]


TOTALS = [totals(trial) for trial in trials()]


@pytest.mark.parametrize("target", ["table", "studies"])
def test_a_csv_table_gives_the_known_risk_ratio(target, tmp_path, capsys):
    source = ROOT / "reviews/bcg/data/bcg.csv"
    words = ("--columns", COLUMNS, "--measure", "RR", "--groups", "BCG,None", "--to", target)
    import_(capsys, source, tmp_path / "out", *words, "--design", "rct")
    known(tmp_path / "out")


def test_columns_with_the_names_of_the_fields_need_no_mapping(tmp_path, capsys):
    source = ROOT / "reviews/bcg/data/bcg.csv"
    import_(capsys, source, tmp_path / "one", "--columns", COLUMNS, "--measure", "RR")
    import_(capsys, tmp_path / "one/bcg.csv", tmp_path / "two", "--measure", "RR")
    known(tmp_path / "two")


def test_a_table_of_ours_comes_back_as_it_was(tmp_path, capsys):
    source = ROOT / "reviews/bcg/data/bcg.csv"
    import_(capsys, source, tmp_path / "one", "--columns", COLUMNS, "--measure", "RR")
    fields = ",".join(f"{f}={f}" for f in ("study", "label", "year", "ai", "bi", "ci", "di"))
    written = tmp_path / "one/bcg.csv"
    import_(capsys, written, tmp_path / "two", "--columns", fields, "--measure", "RR")
    first, second = (
        [{k: v for k, v in row.items() if k != "place"} for row in table(path)]
        for path in (written, tmp_path / "two/bcg.csv")
    )
    assert first == second


def test_text_like_a_formula_comes_back_as_it_was(tmp_path, capsys):
    texts = ["=1+1", "+a", "-b c", "@x", "'=1+1", "''-q", "'quoted'", 'say "so"', "a,b", "-0.5"]
    source = tmp_path / "x.csv"
    rows = [
        ["study", "note", "yi", "vi"],
        *([f"s{i}", t, "0.1", "1"] for i, t in enumerate(texts)),
    ]
    # the first import takes an apostrophe before a formula for ours: it is written by us
    source.write_text(csv_text([rows[0], *([a, cell(t), *b] for a, t, *b in rows[1:])]))
    columns = ("--columns", "study=study,note=note,yi=yi,vi=vi", "--measure", "GEN")
    import_(capsys, source, tmp_path / "one", *columns)
    import_(capsys, tmp_path / "one/x.csv", tmp_path / "two", *columns)
    for name in ("one", "two"):
        text = (tmp_path / name / "x.csv").read_text(encoding="utf-8")
        assert [plain(row["note"]) for row in table(tmp_path / name / "x.csv")] == texts
        begins = [c for line in text.splitlines()[1:] for c in line.split(",")]
        assert not [c for c in begins if c[:1] in ("=", "+", "@")]


def test_semicolons_a_decimal_comma_and_latin_1_are_read_as_said(tmp_path, capsys):
    rows = [
        ["Etude", "yi", "sei"],
        ["Frimodt-Møller", "-0,2175", "0,2263"],
        ["Düring", "1.000,5", "1"],
    ]
    source = tmp_path / "x.csv"
    source.write_bytes(csv_text(rows, ";").encode("latin-1"))
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "encoding: latin-1\ndelimiter: ';'\ndecimal: ','\nthousands: '.'\nmeasure: GEN\n"
        "columns: {study: Etude, yi: yi, sei: sei}\n"
    )
    import_(capsys, source, tmp_path / "out", "--map", mapping)
    found = table(tmp_path / "out/x.csv")
    assert [(r["study"], r["yi"], r["sei"]) for r in found] == [
        ("Frimodt-Møller", "-0.2175", "0.2263"),
        ("Düring", "1000.5", "1"),
    ]
    assert "latin-1" in [r["found"] for r in remarks(tmp_path / "out")]


def test_a_wide_sheet_with_two_header_rows_and_merged_cells(tmp_path, capsys):
    import openpyxl

    path = workbook(
        tmp_path / "x.xlsx",
        {
            "Notes": [["nothing here"]],
            "Extraction": [
                ["Trials of BCG"],
                [],
                ["Study", "BCG", None, "Control", None],
                [None, "TB (n)", "Total (n)", "TB (n)", "Total (n)"],
                *([t["label"], *map(int, totals(t))] for t in trials()),
            ],
        },
    )
    book = openpyxl.load_workbook(path)
    sheet = book["Extraction"]
    for area in ("A3:A4", "B3:C3", "D3:E3"):
        sheet.merge_cells(area)
    book.save(path)
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "sheet: Extraction\nheader: [3, 4]\nmeasure: RR\ngroups: [BCG, Control]\n"
        "title: Tuberculosis\n"
        "columns:\n  study: Study\n  ai: BCG / TB (n)\n  n1i: BCG / Total (n)\n"
        "  ci: Control / TB (n)\n  n2i: Control / Total (n)\n"
    )
    import_(capsys, path, tmp_path / "out", "--map", mapping)
    assert numbers(tmp_path / "out/tuberculosis.csv") == TOTALS
    known(tmp_path / "out")
    assert table(tmp_path / "out/tuberculosis.csv")[0]["place"] == "Extraction!row 5"


def test_a_long_sheet_with_a_row_per_arm(tmp_path, capsys):
    rows = [["Study", "Arm", "Outcome", "Cases", "N"]]
    for t in trials():
        ai, n1i, ci, n2i = map(int, totals(t))
        rows += [[t["label"], "Placebo", "TB", ci, n2i], [None, "BCG", "TB", ai, n1i]]
    rows += [["Alone 1950", "BCG", "TB", 1, 9], [None, "Other", "TB", 1, 9]]
    path = workbook(tmp_path / "x.xlsx", {"Long": rows})
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "measure: RR\ngroups: [BCG, Placebo]\nfill_down: [Study]\ntitle: bcg\n"
        "columns: {study: Study, outcome: Outcome, xi: Cases, ni: N}\n"
        "arms: {column: Arm, group1: BCG, group2: [Placebo, Control]}\n"
    )
    import_(capsys, path, tmp_path / "out", "--map", mapping, status=1)
    assert numbers(tmp_path / "out/bcg-tb.csv") == TOTALS
    known(tmp_path / "out")
    lost = [r for r in remarks(tmp_path / "out") if r["level"] == "lost"]
    assert [(r["place"], r["found"]) for r in lost] == [
        ("Long!B29", "Other"),
        ("Long!row 28", "Alone 1950"),
    ]


@pytest.mark.parametrize("target", ["table", "studies"])
def test_review_manager_5_gives_the_known_numbers(target, tmp_path, capsys):
    source = tmp_path / "bcg.rm5"
    source.write_text(bcg_rm5(), encoding="utf-8")
    words = ("--to", target, "--design", "rct")
    import_(capsys, source, tmp_path / "out", *words)
    # metafor 5.0-1: rma(yi, vi, method = "DL") of the log risk ratios
    assert headline(tmp_path / "out").estimate == pytest.approx(-0.7141172, **SAME)
    config = tmp_path / "out/config.yaml"
    config.write_text(
        config.read_text()
        .replace("    preset: revman5\n", "")
        .replace("method: DL", "method: REML")
    )
    known(tmp_path / "out")
    if target == "table":
        assert numbers(next((tmp_path / "out").glob("cmp*.csv"))) == TOTALS


DATA_ROWS = (
    "Analysis group,Analysis number,Analysis name,Subgroup,Applicability,Study,Study year,"
    "GIV Mean,GIV SE,Experimental mean,Experimental SD,Experimental cases,Experimental N,"
    "Control mean,Control SD,Control cases,Control N,O-E,Variance,Weight,Mean,CI start,CI end,"
    "Footnotes"
).split(",")
SETTINGS = (
    "Analysis group,Analysis number,Analysis name,Analysis group name,Data type,Log-scale data,"
    "Experimental group label,Control group label,Statistical method,Effect measure,"
    "Analysis model,Subgroup estimates,Overall estimates,Swap event and non-event,Study CI,"
    "Estimate CI,Mean,CI start,CI end"
).split(",")


def package(path, inner):
    rows = [DATA_ROWS]
    for t in trials():
        ai, n1i, ci, n2i = totals(t)
        rows.append(
            ["1", "1", "TB", "", "SUBGROUP_AND_OVERALL", t["label"], t["year"], "0.0", "0.0",
             "0.0", "0.0", ai, n1i, "0.0", "0.0", ci, n2i, "0.0", "0.0", "1", "", "", "", ""]
        )  # fmt: skip
    settings = [
        SETTINGS,
        ["1", "1", "TB", "BCG v none", "Dichotomous", "true", "BCG", "None", "IV", "Risk Ratio",
         "Random effect", "true", "true", "false", "95%", "95%", "0.49", "0.34", "0.70"],
    ]  # fmt: skip
    files = {"data-rows": rows, "overall-estimates-and-settings": settings}
    folder = "CD1-analysis-data/CD1"
    target = path.with_name("inner.zip") if inner else path
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}-{name}.csv", "\ufeff" + csv_text(content))
    if inner:
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(target, "CD1-files/CD1-data.zip")
            archive.writestr("CD1-article.pdf", b"%PDF")
    return path


@pytest.mark.parametrize("inner", [False, True])
def test_revman_webs_package_gives_the_known_numbers(inner, tmp_path, capsys):
    source = package(tmp_path / "CD1.zip", inner)
    answer = import_(capsys, source, tmp_path / "out")
    assert "RevMan prints 0.49 [0.34, 0.70]" in answer
    assert numbers(tmp_path / "out/1-1-tb.csv") == TOTALS
    assert headline(tmp_path / "out").estimate == pytest.approx(-0.7141172, **SAME)


def test_covidences_headers_are_taken_apart_and_the_consensus_is_taken(tmp_path, capsys):
    parts = [f"TB | {g} | {s}" for g in ("BCG", "Placebo") for s in ("Events", "Total")]
    rows = [["Covidence #", "Study ID", "Title", "Reviewer Name", "Country", *parts]]
    for t in trials():
        rows += [
            [t["trial"], t["label"], "A title", who, "?", *numbers_of]
            for who, numbers_of in (
                ("Ada", ("1", "2", "3", "4")),
                ("Consensus", totals(t)),
            )
        ]
    source = tmp_path / "review.csv"
    source.write_text(csv_text(rows))
    answer = import_(capsys, source, tmp_path / "out")
    assert "read as covidence" in answer
    assert numbers(tmp_path / "out/tb.csv") == TOTALS
    known(tmp_path / "out")


def test_a_table_of_escalc_needs_its_measure(tmp_path, capsys):
    source = tmp_path / "dat.csv"
    rows = [
        ["", "author", "year", "yi", "vi"],
        ["1", "Aronson", "1948", "-0.8893", "0.3256"],
        ["2", "Aronson", "1948", "-1.5854", "0.1946"],
        ["3", "Hart", "1977", "NA", "NA"],
    ]
    source.write_text(csv_text(rows))
    said = import_(capsys, source, tmp_path / "out", status=2)
    assert "--measure" in said
    import_(capsys, source, tmp_path / "out", "--measure", "RR")
    found = table(tmp_path / "out/dat.csv")
    assert [r["study"] for r in found] == ["Aronson, 1948", "Aronson, 1948 (2)", "Hart, 1977"]
    assert [(r["yi"], r["vi"]) for r in found][1:] == [("-1.5854", "0.1946"), ("", "")]
    config = (tmp_path / "out/config.yaml").read_text()
    assert "measure: GEN" in config
    assert "transformation: exp" in config


def test_a_table_of_escalc_with_its_counts_is_computed_anew(tmp_path, capsys):
    source = tmp_path / "dat.csv"
    rows = [["slab", "ai", "bi", "ci", "di", "yi", "vi"]]
    rows += [
        [t["label"], t["tpos"], t["tneg"], t["cpos"], t["cneg"], "9", "9"] for t in trials()
    ]
    source.write_text(csv_text(rows))
    import_(capsys, source, tmp_path / "out", "--measure", "RR")
    known(tmp_path / "out")


def test_study_files_say_truly_where_their_numbers_are_from(tmp_path, capsys):
    source = ROOT / "reviews/bcg/data/bcg.csv"
    words = ("--columns", COLUMNS, "--measure", "RR", "--groups", "BCG,None", "--to", "studies")
    import_(capsys, source, tmp_path / "out", *words, "--design", "rct")
    folder = tmp_path / "out"
    evidence, problems = read_evidence(folder / "studies", folder / "outcomes.yaml", folder)
    assert problems == []
    assert len(evidence.studies) == 13
    study = next(s for s in evidence.studies if s.id == "hart-sutherland-1977").content
    assert (study.reports[0].kind, study.reports[0].seen) == ("secondary_source", "secondary")
    assert study.results[0].quote.startswith("row 5: study=hart-sutherland-1977; label=Hart &")
    assert "tneg=13536" in study.results[0].quote
    value = study.results[0].arms["bcg"]
    assert (value.events, value.n, value.derived.method) == (62, 13598, "sum")


def test_the_same_import_writes_the_same_bytes(tmp_path, capsys):
    source = tmp_path / "bcg.rm5"
    source.write_text(bcg_rm5(), encoding="utf-8")
    contents = []
    for name in ("one", "two"):
        import_(capsys, source, tmp_path / name, "--to", "studies", "--design", "rct")
        paths = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        contents.append({p.relative_to(tmp_path / name): p.read_bytes() for p in paths})
    assert contents[0] == contents[1]
    assert str(tmp_path).encode() not in b"".join(contents[0].values())


def test_nothing_is_written_over(tmp_path, capsys):
    source = ROOT / "reviews/bcg/data/bcg.csv"
    words = ("--columns", COLUMNS, "--measure", "RR")
    out = tmp_path / "out"
    import_(capsys, source, out, *words, "--dry-run")
    assert not out.exists()
    import_(capsys, source, out, *words)
    (out / "bcg.csv").write_text("mine")
    said = import_(capsys, source, out, *words, status=2)
    assert said.count("a file of that name") == 3
    assert (out / "bcg.csv").read_text() == "mine"
    import_(capsys, source, out, *words, "--force")
    assert (out / "bcg.csv").read_text() != "mine"


@pytest.mark.parametrize("target", ["table", "studies"])
def test_hazard_ratios_as_printed(target, tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text(
        "study,HR,low,high,n1,n2,P\nA,0.72,0.55,0.94,100,98,.016\nB,1.10,0.80,1.51,50,52,0.56\n"
    )
    columns = "study=study,estimate=HR,ci_low=low,ci_high=high,n1i=n1,n2i=n2,p=P"
    words = ("--columns", columns, "--measure", "HR", "--groups", "New,Old", "--to", target)
    import_(capsys, source, tmp_path / "out", *words, "--design", "rct")
    # by hand: logarithms, standard errors from the width of the intervals
    y = [math.log(0.72), math.log(1.10)]
    v = [(math.log(h / b) / 2 / 1.959963984540054) ** 2 for b, h in ((0.55, 0.94), (0.8, 1.51))]
    config = tmp_path / "out/config.yaml"
    assert headline(tmp_path / "out").k == 2
    text = config.read_text() + "defaults: {model: {effects: common, test: z}}\n"
    config.write_text(text)
    expected = sum(a / b for a, b in zip(y, v, strict=True)) / sum(1 / b for b in v)
    assert headline(tmp_path / "out").estimate == pytest.approx(expected, rel=1e-9)


def test_logarithms_have_no_place_in_study_files(tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text("study,yi,sei\nA,0.1,0.2\nB,0.3,0.2\n")
    words = ("--columns", "study=study,yi=yi,sei=sei", "--measure", "GEN", "--to", "studies")
    said = import_(capsys, source, tmp_path / "out", *words, "--design", "rct", status=2)
    assert "use --to table" in said
