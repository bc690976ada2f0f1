"""What the cells of a spreadsheet say."""

from datetime import date, datetime, time

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.foreign import import_, remarks, rewritten, table, workbook

from evisynth.importing.workbook import cell_text, read_workbook
from evisynth.printed import parse_printed

SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize(
    ("value", "number_format", "stored", "shown"),
    [
        (0.302, "0.0%", "30.2%", "30.2%"),
        (0.05, "0.000", "0.050", "0.050"),
        (0.3023255813953488, "0.0%", "30.2325581395349%", "30.2%"),
        (1234.5, "#,##0.00", "1234.50", "1234.50"),
        (12, "General", "12", "12"),
        (0.1 + 0.2, "General", "0.3", "0.3"),
        (2.5, "0.##", "2.5", "2.5"),
        (5.0, "0.##", "5", "5"),
        (1e-7, "General", "0.0000001", "0.0000001"),
        (0.00012, "0.00E+00", "0.00012", "0.00012"),
        (70.5, '0.0" kg"', "70.5", "70.5"),
        (-2.5, "0.00;[Red]-0.00", "-2.50", "-2.50"),
        (-0.889311, "0.00", "-0.889311", "-0.89"),
        (1.0, "0%", "100%", "100%"),
        (" <.001 ", "@", " <.001 ", " <.001 "),
        ("=1+1", "General", "=1+1", "=1+1"),
        (True, "General", "TRUE", "TRUE"),
        (date(2020, 1, 31), "dd/mm/yy", "2020-01-31", "2020-01-31"),
        (datetime(2020, 1, 31), "mm-dd-yy", "2020-01-31", "2020-01-31"),
        (datetime(2020, 1, 31, 12), "General", "2020-01-31 12:00:00", "2020-01-31 12:00:00"),
        (time(12, 30), "h:mm", "12:30:00", "12:30:00"),
    ],
)
def test_a_cell_is_read_as_its_format_prints_it(value, number_format, stored, shown):
    assert cell_text(value, number_format, "stored")[0] == stored
    text, differs = cell_text(value, number_format, "shown")
    assert text == shown
    assert differs == (stored != shown)


@given(
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12),
    st.sampled_from(["General", "0", "0.0", "0.000", "#,##0.0", "0.00%", "0.0##", "0.00E+00"]),
)
def test_no_stored_digit_is_lost(value, number_format):
    printed = parse_printed(cell_text(value, number_format, "stored")[0])
    exact = printed.value / 100 if printed.percent else printed.value
    # a spreadsheet keeps 15 digits
    assert exact == pytest.approx(value, rel=1e-14, abs=1e-300)


def test_percentages_are_kept_as_they_are_printed(tmp_path, capsys):
    path = workbook(
        tmp_path / "x.xlsx",
        {"S": [["study", "n", "events", "rate"], ["a", 43, 13, 0.302], ["b", 22, 4, 0.182]]},
    )
    book = openpyxl.load_workbook(path)
    for row in (2, 3):
        book["S"].cell(row, 4).number_format = "0.0%"
    book.save(path)
    words = ("--columns", "study=study,ni=n,xi=events,percent=rate", "--measure", "PLO")
    import_(capsys, path, tmp_path / "t", *words)
    assert [row["percent"] for row in table(tmp_path / "t/s.csv")] == ["30.2%", "18.2%"]
    import_(capsys, path, tmp_path / "s", *words, "--to", "studies", "--design", "single_arm")
    text = (tmp_path / "s/studies/a.yaml").read_text()
    assert "printed: 30.2%" in text
    assert "rate=30.2%" in text


def test_a_percentage_where_a_number_is_needed_is_not_taken(tmp_path, capsys):
    path = workbook(
        tmp_path / "x.xlsx", {"S": [["study", "yi", "vi"], ["a", 0.3, 1], ["b", 1, 1]]}
    )
    book = openpyxl.load_workbook(path)
    book["S"]["B2"].number_format = "0%"
    book.save(path)
    words = ("--columns", "study=study,yi=yi,vi=vi", "--measure", "GEN")
    import_(capsys, path, tmp_path / "out", *words, status=1)
    lost = [row for row in remarks(tmp_path / "out") if row["level"] == "lost"]
    assert [(row["place"], row["found"]) for row in lost] == [("S!B2", "30%")]
    assert [row["yi"] for row in table(tmp_path / "out/s.csv")] == ["", "1"]


def test_formulas_are_never_computed(tmp_path, capsys):
    path = workbook(
        tmp_path / "x.xlsx",
        {"S": [["study", "yi", "vi"], ["a", "=1+1", 1], ["b", "=2+2", 1], ["c", "text", 1]]},
    )
    # as a spreadsheet program saves it: with the value of one formula, and text that is none
    rewritten(
        path, {SHEET: lambda text: text.replace("<f>1+1</f><v />", "<f>1+1</f><v>2.5</v>")
               .replace("<f>1+1</f><v></v>", "<f>1+1</f><v>2.5</v>")}
    )  # fmt: skip
    words = ("--columns", "study=study,yi=yi,vi=vi", "--measure", "GEN")
    import_(capsys, path, tmp_path / "out", *words, status=1)
    assert [row["yi"] for row in table(tmp_path / "out/s.csv")] == ["2.5", "", ""]
    found = {row["place"]: row for row in remarks(tmp_path / "out")}
    assert found["S!B2"]["found"] == "formulas"
    assert found["S!B3"]["level"] == "lost"
    assert "without a stored value" in found["S!B3"]["found"]
    assert found["S!B4"]["found"] == "text"


def test_what_is_hidden_is_said(tmp_path):
    path = workbook(tmp_path / "x.xlsx", {"S": [["a", "b", "c"], [1, 2, 3]], "Secret": [["x"]]})
    book = openpyxl.load_workbook(path)
    book["S"].row_dimensions[2].hidden = True
    book["S"].column_dimensions["B"].hidden = True
    book["Secret"].sheet_state = "veryHidden"
    book.save(path)
    grid = read_workbook(path, "x.xlsx")
    assert grid.sheet == "S"
    said = {(r.place, r.found) for r in grid.remarks}
    assert said == {
        ("S!2", "hidden rows"),
        ("S!B", "hidden columns"),
        ("sheet Secret", "a hidden sheet"),
    }
    assert read_workbook(path, "x.xlsx", "Secret").lines[0].cells == ("x",)


def test_the_sheet_has_to_be_said_where_there_are_several(tmp_path, capsys):
    path = workbook(tmp_path / "x.xlsx", {"Trials": [["study"]], "Other": [["study"]]})
    words = ("--columns", "study=study,yi=yi,vi=vi", "--measure", "GEN")
    said = import_(capsys, path, tmp_path / "out", *words, status=2)
    assert "2 visible sheets" in said
    assert "Other, Trials" in said
    said = import_(capsys, path, tmp_path / "out", *words, "--sheet", "trial", status=2)
    assert "did you mean 'Trials'?" in said
