"""What people do in spreadsheets: no number changes on the way, and none is lost in silence."""

import openpyxl
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.comments import Comment
from support.foreign import import_, remarks, rewritten, run, table, workbook

SHEET = "xl/worksheets/sheet1.xml"
GEN = ("--columns", "study=study,yi=yi,vi=vi", "--measure", "GEN")
GERMAN = """decimal: ","
thousands: "."
measure: MN
columns: {study: study, mi: mean, sdi: sd, ni: n}
"""


def mapped(tmp_path, capsys, source, mapping, status=0):
    chosen = tmp_path / "mapping.yaml"
    chosen.write_text(mapping, encoding="utf-8")
    return import_(capsys, source, tmp_path / "out", "--map", chosen, status=status)


def test_stored_numbers_keep_their_point_beside_texts_with_a_comma(tmp_path, capsys):
    rows = [
        ["study", "mean", "sd", "n"],
        ["a", 3.5, "1,20", 1234],
        ["b", "3,5", 1.125, "1.234"],
    ]
    source = workbook(tmp_path / "x.xlsx", {"Data": rows})
    mapped(tmp_path, capsys, source, GERMAN)
    found = [(r["mi"], r["sdi"], r["ni"]) for r in table(tmp_path / "out/data.csv")]
    assert found == [("3.5", "1.20", "1234"), ("3.5", "1.125", "1234")]


@pytest.mark.parametrize(("mean", "n"), [("3.5", "30"), ("1.23.456", "30"), ("1", "12.34")])
def test_a_sign_where_no_thousands_end_loses_the_number_and_is_said(mean, n, tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text(f"study;mean;sd;n\na;{mean};1,2;{n}\nb;1.234,5;1,2;30\n")
    mapped(tmp_path, capsys, source, GERMAN, status=1)
    rows = table(tmp_path / "out/x.csv")
    assert (rows[0]["mi"], rows[0]["ni"]).count("") == 1
    assert rows[1]["mi"] == "1234.5"
    said = [r["level"] for r in remarks(tmp_path / "out") if "thousands" in r["reason"]]
    assert said == ["lost"]


@pytest.mark.parametrize("sign", ["\u00a0", "\u202f", " "])
def test_spaces_between_thousands(sign, tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text(f"study,mean,sd,n\na,12{sign}345.5,1,1{sign}234\n", encoding="utf-8")
    mapped(tmp_path, capsys, source, GERMAN.replace('","', '"."').replace('"."\nm', '" "\nm'))
    (row,) = table(tmp_path / "out/x.csv")
    assert (row["mi"], row["ni"]) == ("12345.5", "1234")


@pytest.mark.parametrize(
    ("font", "text"),
    [
        (InlineFont(vertAlign="superscript"), "12^1"),
        (InlineFont(vertAlign="subscript"), "12_1"),
        (InlineFont(strike=True), "12~1~"),
    ],
)
def test_a_raised_footnote_mark_is_no_digit(font, text, tmp_path, capsys):
    marked = CellRichText("12", TextBlock(font, "1"))
    rows = [["study", "yi", "vi"], ["a", marked, 1], ["b", 2, 3]]
    source = workbook(tmp_path / "x.xlsx", {"Data": rows})
    import_(capsys, source, tmp_path / "out", *GEN, status=1)
    assert [row["yi"] for row in table(tmp_path / "out/data.csv")] == ["", "2"]
    assert ("lost", text) in [(r["level"], r["found"]) for r in remarks(tmp_path / "out")]


def test_bold_parts_of_a_text_change_nothing(tmp_path, capsys):
    bold = CellRichText("1", TextBlock(InlineFont(b=True), "2"))
    source = workbook(tmp_path / "x.xlsx", {"Data": [["study", "yi", "vi"], ["a", bold, 1]]})
    import_(capsys, source, tmp_path / "out", *GEN)
    assert [row["yi"] for row in table(tmp_path / "out/data.csv")] == ["12"]


def test_merged_and_struck_cells_are_named(tmp_path, capsys):
    book = openpyxl.Workbook()
    sheet = book.active
    for row in [["study", "yi", "vi"], ["a", 1, 2], ["b", 3, None]]:
        sheet.append(row)
    sheet.merge_cells("C2:C3")
    sheet["B3"].font = openpyxl.styles.Font(strike=True)
    book.save(tmp_path / "x.xlsx")
    import_(capsys, tmp_path / "x.xlsx", tmp_path / "out", *GEN)
    said = {r["found"]: r["place"] for r in remarks(tmp_path / "out")}
    assert said["merged cells"] == "Sheet!C2:C3"
    assert said["cells that are struck through"] == "Sheet!B3"


@pytest.mark.parametrize("place", ["A1:XFD104857", "XFD1048576"])
def test_a_link_over_a_whole_sheet_or_far_away_is_refused(place, tmp_path, capsys):
    source = workbook(tmp_path / "x.xlsx", {"Sheet1": [["study", "yi", "vi"], ["a", 1, 2]]})
    link = f'</sheetData><hyperlinks><hyperlink ref="{place}" location="x"/></hyperlinks>'
    rewritten(source, {SHEET: lambda text: text.replace("</sheetData>", link)})
    said = import_(capsys, source, tmp_path / "out", *GEN, status=2)
    assert "found:    a link" in said
    assert "not XML" not in said


def test_a_comment_far_away_is_refused(tmp_path, capsys):
    book = openpyxl.Workbook()
    book.active.append(["study", "yi", "vi"])
    book.active["A1"].comment = Comment("words", "somebody")
    source = tmp_path / "x.xlsx"
    book.save(source)
    change = {"xl/comments/comment1.xml": lambda text: text.replace('"A1"', '"XFD1048576"')}
    rewritten(source, change)
    assert "comment at row 1048576" in import_(capsys, source, tmp_path / "out", *GEN, status=2)


def test_bars_in_names_and_titles_above_do_not_hide_the_delimiter(tmp_path, capsys):
    names = [f"Death | {g} | {s}" for g in ("Drug", "None") for s in ("Events", "Total")]
    source = tmp_path / "x.csv"
    source.write_text(f"Covidence #,Study ID,{','.join(names)}\n1,Smith 2019,3,30,4,31\n")
    import_(capsys, source, tmp_path / "out", "--measure", "RR")
    assert table(tmp_path / "out/death.csv")[0]["ai"] == "3"
    source.write_text("Sheet, version 2, of May\nstudy;mean;sd;n\na;1,5;2,0;1.234\nb;1;2;30\n")
    out = tmp_path / "second"
    (tmp_path / "m.yaml").write_text("header: 2\n" + GERMAN)
    import_(capsys, source, out, "--map", tmp_path / "m.yaml")
    assert [row["mi"] for row in table(out / "x.csv")] == ["1.5", "1"]


def test_a_german_table_of_metafor_is_known_and_read_with_its_commas(tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text('"";"study";"yi";"vi"\n"1";"A";-0,8893;0,3256\n"2";"B";1;0,5\n')
    words = ("--measure", "RR", "--decimal", ",")
    assert "read as escalc" in import_(capsys, source, tmp_path / "out", *words)
    assert [r["yi"] for r in table(tmp_path / "out/x.csv")] == ["-0.8893", "1"]


def test_counts_of_a_metafor_table_can_be_named_without_naming_the_study(tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text(
        "author,year,tpos,tneg,cpos,cneg,yi,vi\nHart,1977,4,119,11,128,-0.9,0.3\n"
    )
    columns = "ai=tpos,bi=tneg,ci=cpos,di=cneg"
    import_(capsys, source, tmp_path / "out", "--measure", "RR", "--columns", columns)
    (row,) = table(tmp_path / "out/x.csv")
    assert (row["study"], row["ai"]) == ("Hart, 1977", "4")


def test_ids_that_meet_are_told_apart(tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text("study,yi,vi,o\na,1,2,b-b\nb,2,3,b\n")
    mapping = """measure: GEN
columns: {study: study, yi: yi, vi: vi, outcome: o}
outcomes: [{id: a}, {id: a-b}]
"""
    mapped(tmp_path, capsys, source, mapping)
    names = sorted(path.stem for path in (tmp_path / "out").glob("a*.csv"))
    assert len(names) == 4
    rows = [row["yi"] for name in names for row in table(tmp_path / f"out/{name}.csv")]
    assert sorted(rows) == ["1", "1", "2", "2"]


@pytest.mark.parametrize("target", ["table", "studies"])
@pytest.mark.parametrize("name", ["con", "import_report", "risk_of_bias", "evidence", "logs"])
def test_an_id_never_takes_the_name_of_a_device_or_of_our_files(name, target, tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text("study,ai,n1i,ci,n2i\na,1,20,2,30\n")
    mapping = f"""measure: OR
columns: {{study: study, ai: ai, n1i: n1i, ci: ci, n2i: n2i}}
outcomes: [{{id: {name}}}]
"""
    chosen = tmp_path / "mapping.yaml"
    chosen.write_text(mapping)
    words = ("--map", chosen, "--to", target, "--design", "rct")
    answer = import_(capsys, source, tmp_path / "out", *words)
    assert f"{name}-table" in answer
    assert "a run will ask" not in answer
    if target == "table":
        assert table(tmp_path / f"out/{name}-table.csv")[0]["ai"] == "1"


@pytest.mark.parametrize(
    "words", [("new", "x", "--out"), ("export", "evidence", "--config", "config.yaml", "--out")]
)
def test_a_folder_that_cannot_be_written_to_is_a_message(words, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    where = "/proc" if words[0] == "new" else str(tmp_path / "file" / "below")
    status, _, said = run(capsys, *words, where)
    assert status == 2
    assert said.startswith("evisynth: ") or "found:" in said
    assert len(said.splitlines()) < 8
