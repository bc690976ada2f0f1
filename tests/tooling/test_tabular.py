"""How values become cells."""

import math

import pytest

from evisynth.tabular import cell, to_csv


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
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_a_column_that_was_not_announced_is_an_error():
    with pytest.raises(KeyError, match="b"):
        to_csv(["a"], [{"a": 1, "b": 2}])


def test_text_is_quoted_where_it_must_be():
    assert to_csv(["a"], [{"a": 'x, "y"\nz'}]) == 'a\n"x, ""y""\nz"\n'
