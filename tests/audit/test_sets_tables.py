"""Rows of a table beside each other."""

import csv
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.materials import checks, failures, level, table

from evisynth.audit.registry import RULES

ROOT = Path(__file__).parents[2]
TABLE_RULES = [name for name, rule in RULES.items() if rule.scope == "table"]

BCG = [
    ("aronson", 4, 123, 11, 139),
    ("ferguson", 6, 306, 29, 303),
    ("rosenthal", 3, 231, 11, 220),
    ("hart", 62, 13598, 248, 12867),
    ("frimodt", 33, 5069, 47, 5808),
    ("stein", 180, 1541, 372, 1451),
    ("vandiviere", 8, 2545, 10, 629),
    ("madras", 505, 88391, 499, 88391),
    ("coetzee", 29, 7499, 45, 7277),
]
FOURFOLD = "ai n1i ci n2i"


def verdicts(rule, *args, **given):
    return [check.verdict for check in checks(rule, table(*args, **given))]


def test_a_row_pasted_twice_is_an_error_with_four_informative_numbers():
    rows = [*BCG, ("hart again", *BCG[3][1:])]
    [check] = failures("DUP-RECORD", table(FOURFOLD, rows))
    assert check.place.results == ("row 4", "row 10")
    assert level("DUP-RECORD", check) == "error"
    rows = [*BCG, ("aronson", *BCG[0][1:])]  # 4 of 123 tells less
    [check] = failures("DUP-RECORD", table(FOURFOLD, rows))
    assert level("DUP-RECORD", check) == "warning"


def test_rows_of_few_digits_that_agree_are_undecided_with_what_chance_gives():
    rows = [("a", 0, 20, 1, 20), ("b", 0, 20, 1, 20), ("c", 1, 20, 1, 20), ("d", 2, 20, 1, 20)]
    [check] = checks("DUP-RECORD", table(FOURFOLD, rows))
    assert check.verdict == "undecided"
    assert "may be chance" in check.explanation


def test_effects_of_two_decimals_that_coincide_among_many_are_undecided():
    draw = random.Random(1)
    rows = [(i, f"{draw.gauss(1, 1):.2f}", f"{draw.uniform(0.1, 0.9):.2f}") for i in range(80)]
    rows.append((99, *rows[0][1:]))
    assert verdicts("DUP-RECORD", "yi sei", rows, measure="HR") == ["undecided"]
    rows[-1] = (0, *rows[0][1:])  # of one study chance is no explanation
    assert verdicts("DUP-RECORD", "yi sei", rows, measure="HR") == ["inconsistent"]


def test_a_variance_beside_its_standard_error_is_no_further_information():
    rows = [(i, f"{i / 9:.2f}", f"{i / 70:.2f}", f"{i / 11:.3f}") for i in range(1, 40)]
    rows.append((99, *rows[5][1:]))
    [check] = failures("DUP-RECORD", table("yi vi sei", rows, measure="HR"))
    assert level("DUP-RECORD", check) == "warning"


def test_a_control_group_of_two_rows_is_a_warning():
    rows = [*BCG, ("stein, other dose", 150, 1502, 372, 1451)]
    [check] = failures("SHARED-GROUP", table(FOURFOLD, rows))
    assert check.place.results == ("row 6", "row 10")
    assert not failures("SHARED-GROUP", table(FOURFOLD, BCG))
    small = [(i, i, 20, 1, 20) for i in range(9)]
    assert not failures("SHARED-GROUP", table(FOURFOLD, small))


def sorted_rows(values):
    return [(i, v, "0.2") for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0.1, 0.2, 0.2, 0.3, 0.5, 0.6, 0.9, 1.2], "all rows"),
        ([1.2, 0.9, 0.6, 0.5, 0.3, 0.2, 0.1, -0.4], "all rows"),
        ([0.9, 0.4, 0.1, 0.2, 0.3, 0.5, 0.6, 0.9, 1.2, 1.3, 1.4, 0.2], "rows 3 to 11"),
        ([0.1, 0.2, 0.3, 0.5, 0.6, 0.9, 1.2], None),  # seven rows
        ([0.1, 0.3, 0.2, 0.5, 0.6, 0.4, 1.2, 0.9, 1.5], None),
        ([0.5] * 12, None),  # ties are no order
    ],
)
def test_rows_in_the_order_of_their_effects_are_no_order_of_time(values, says):
    found = failures("SORTED", table("yi sei", sorted_rows(values), measure="HR"))
    assert bool(found) == bool(says)
    if says:
        assert found[0].explanation.startswith(says)
        assert level("SORTED", found[0]) == "warning"


@given(st.integers(0, 200))
def test_rows_in_random_order_are_not_called_sorted(seed):
    draw = random.Random(seed)
    values = [round(draw.gauss(0, 1), 2) for _ in range(30)]
    assert not failures("SORTED", table("yi sei", sorted_rows(values), measure="HR"))


def two_to_one(swap=None, ten=None):
    rows = []
    for i in range(10):
        n1, n2 = 100 + 7 * i, 50 + 3 * i
        if i == swap:
            n1, n2 = n2, n1
        if i == ten:
            n2 *= 10
        rows.append((f"s{i}", 12, n1, 9, n2))
    return rows


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (two_to_one(), None),
        (two_to_one(swap=4), "the two groups look exchanged"),
        (two_to_one(ten=4), "ten times too large or too small"),
        (BCG, None),
    ],
)
def test_groups_of_another_ratio_than_in_the_other_rows_stand_out(rows, says):
    found = failures("GROUP-RATIO", table(FOURFOLD, rows))
    assert bool(found) == bool(says)
    if says:
        assert says in found[0].explanation
        assert found[0].place.text == "row 5: n1i, n2i"


def test_sizes_without_a_common_ratio_give_no_warning():
    rows = [(i, 2, 10 * (1 + 9 * (i % 3)), 3, 40) for i in range(12)]
    assert not failures("GROUP-RATIO", table(FOURFOLD, rows))


def test_a_percentage_among_counts_stands_out():
    rows = [(i, 40 + i, 1000 + 10 * i) for i in range(9)]
    assert not failures("PERCENT-AS-COUNT", table("xi ni", rows, measure="PLO"))
    rows[3] = (3, 4, 1030)
    [check] = failures("PERCENT-AS-COUNT", table("xi ni", rows, measure="PLO"))
    assert check.recomputed == "4% of 1030 is 41.2"
    rows[3] = (3, 190, 1030)  # far too, but no percentage
    assert not failures("PERCENT-AS-COUNT", table("xi ni", rows, measure="PLO"))


MEANS = "m1i sd1i n1i m2i sd2i n2i"


def mean_rows(k=8):
    return [
        (i, f"{20 + 1.37 * i:.2f}", f"{4 + 0.31 * i:.2f}", 40 + i, f"{18 + 1.21 * i:.2f}",
         f"{4.1 + 0.29 * i:.2f}", 41 + i)
        for i in range(k)
    ]  # fmt: skip


def test_one_column_under_two_names_is_an_error_and_one_copied_cell_a_warning():
    rows = mean_rows()
    assert not failures("WRONG-COLUMN", table(MEANS, rows, measure="MD"))
    same = [(*r[:4], r[1], *r[5:]) for r in rows]
    [check] = failures("WRONG-COLUMN", table(MEANS, same, measure="MD"))
    assert check.explanation == "m1i and m2i are the same column"
    assert level("WRONG-COLUMN", check) == "error"
    assert len(check.place.results) == 8
    rows[2] = (*rows[2][:5], rows[2][4], rows[2][6])
    [check] = failures("WRONG-COLUMN", table(MEANS, rows, measure="MD"))
    assert check.place.text == "row 3: m2i, sd2i"
    assert level("WRONG-COLUMN", check) == "warning"


def test_as_many_events_in_both_groups_is_no_copied_column():
    rows = [(i, 100 + i, 200, 100 + (i > 0) * 2 * i, 200) for i in range(8)]
    assert not failures("WRONG-COLUMN", table(FOURFOLD, rows))


def totals(rows):
    return tuple(sum(r[j] for r in rows) for j in range(1, len(rows[0])))


def test_a_row_that_is_the_sum_of_the_others_is_an_error_whatever_its_name():
    [check] = failures("TOTAL-ROW", table(FOURFOLD, [*BCG, ("x", *totals(BCG))]))
    assert check.place.results == ("row 10",)
    assert level("TOTAL-ROW", check) == "error"
    [named] = failures("TOTAL-ROW", table(FOURFOLD, [*BCG, ("Total", 1, 2, 3, 4)]))
    assert level("TOTAL-ROW", named) == "warning"
    # small numbers add up by chance
    few = [("a", 1, 10, 2, 10), ("b", 1, 10, 1, 10), ("c", 2, 20, 3, 20)]
    assert [level("TOTAL-ROW", c) for c in failures("TOTAL-ROW", table(FOURFOLD, few))] == [
        "warning"
    ]
    assert not failures("TOTAL-ROW", table(FOURFOLD, BCG))


def test_a_name_that_stands_twice_is_asked_about_unless_most_stand_often():
    twice = [*BCG, ("Stein ", 1, 5, 2, 7)]
    assert verdicts("DUP-LABEL", FOURFOLD, twice) == ["undecided"]
    often = [(i // 2, 1, 5 + i, 2, 7) for i in range(12)]
    assert not verdicts("DUP-LABEL", FOURFOLD, often)


def test_a_study_has_one_size_in_all_tables():
    one = table(FOURFOLD, BCG, file="a.csv")
    other = [list(row) for row in BCG]
    other[5][2] = 1514
    other[1][2] = 290
    found = failures("N-TABLES", one, table(FOURFOLD, other, file="b.csv"), one)
    assert [level("N-TABLES", check) for check in found] == ["note", "warning"]
    assert "the same digits in another order" in found[1].explanation


def shipped():
    """Published tables of the tests and of the shipped reviews, with their fields."""
    fields = set("ai bi ci di n1i n2i xi ni x1i t1i x2i t2i m1i sd1i m2i sd2i yi vi ri".split())
    bcg = {"tpos": "ai", "tneg": "bi", "cpos": "ci", "cneg": "di"}
    for path in sorted([*ROOT.glob("tests/data/*.csv"), *ROOT.glob("reviews/*/data/*.csv")]):
        with path.open(encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        columns = {c: bcg.get(c, c) for c in rows[0] if bcg.get(c, c) in fields}
        name = next((c for c in ("study", "trial", "author", "id") if c in rows[0]), None)
        if columns and name:
            cells = [(row[name], *(row[c] or "NA" for c in columns)) for row in rows]
            yield table(" ".join(columns.values()), cells, measure="", file=path.name)


SHIPPED = list(shipped())


@pytest.mark.parametrize("material", SHIPPED, ids=lambda m: m.file)
def test_published_tables_raise_no_error(material):
    found = [
        check
        for rule in TABLE_RULES
        for check in failures(rule, material)
        if level(rule, check) == "error"
    ]
    assert not found


def test_of_published_tables_there_are_enough_and_their_numbers_are_read():
    assert len(SHIPPED) > 15
    assert sum(len(m.rows) for m in SHIPPED) > 800
    assert any(failures("SORTED", m) for m in SHIPPED if m.file == "riley2003.csv")


def test_a_run_of_distinct_values_is_judged_by_the_orders_that_it_could_have_had():
    rows = sorted_rows([i / 7 for i in range(8)])
    [check] = failures("SORTED", table("yi sei", rows, measure="HR"))
    assert f"{2 * 8 / math.factorial(8):.1g}" in check.recomputed
