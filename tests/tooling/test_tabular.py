"""How values become cells."""

import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evisynth.tabular import cell, plain, to_csv


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.30000000000000004"),
        (3.0, "3"),
        (math.nan, ""),
        (None, ""),
        (True, "true"),
        (-0.11, "-0.11"),
        ("-0.11", "-0.11"),
        ("30.2%", "30.2%"),
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+cmd|' /C calc'!A0", "'-2+cmd|' /C calc'!A0"),
        ("a, b", "a, b"),
        ("'tis so", "'tis so"),
        ("'=1+1", "''=1+1"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_a_column_that_was_not_announced_is_an_error():
    with pytest.raises(KeyError, match="b"):
        to_csv(["a"], [{"a": 1, "b": 2}])


def test_text_is_quoted_where_it_must_be():
    assert to_csv(["a"], [{"a": 'x, "y"\nz'}]) == 'a\n"x, ""y""\nz"\n'


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    "'=+-@\t\r\n\",0", max_size=4
)


@given(TEXTS)
def test_a_text_comes_back_out_of_its_cell(text):
    assert plain(cell(text)) == text


@given(TEXTS)
def test_no_text_is_a_formula(text):
    written = cell(text)
    assert not written.startswith(("=", "@", "\t", "\r"))
    if written.startswith(("+", "-")):
        assert set(written[1:]) <= set("0123456789.eE+-%")
        assert any(character.isdigit() or character == "." for character in written)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=1), max_size=3))
def test_a_reader_of_csv_finds_every_cell_as_it_was_written(rows):
    written = to_csv(["a"], [{"a": text} for (text,) in rows])
    found = list(csv.reader(io.StringIO(written, newline="")))
    assert [[plain(text) for text in row] for row in found[1:]] == rows


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=3))
def test_a_reader_of_csv_finds_two_columns(rows):
    written = to_csv(["a", "b"], [{"a": one, "b": two} for one, two in rows])
    found = list(csv.reader(io.StringIO(written, newline="")))
    assert [tuple(map(plain, row)) for row in found[1:]] == rows


def test_the_name_of_a_column_is_escaped_like_any_text():
    assert to_csv(["study", "=evil()"], []) == "study,'=evil()\n"
