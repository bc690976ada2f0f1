"""Tests of 2x2 tables against scipy and against sums over all tables."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evisynth.audit.exact import EXACT_UP_TO, at_least, chi_square, fisher


@st.composite
def fourfold(draw, most=120):
    n1, n2 = draw(st.integers(0, most)), draw(st.integers(0, most))
    return draw(st.integers(0, n1)), n1, draw(st.integers(0, n2)), n2


def close(value, expected):
    return math.isclose(value, expected, rel_tol=1e-12, abs_tol=1e-300)


@given(fourfold())
def test_fisher_is_that_of_scipy(table):
    a, n1, c, n2 = table
    cells = [[a, n1 - a], [c, n2 - c]]
    found = fisher(*table)
    assert close(found.two_sided, stats.fisher_exact(cells).pvalue)
    sides = [stats.fisher_exact(cells, side).pvalue for side in ("less", "greater")]
    assert close(found.one_sided, min(sides))


@given(fourfold(25))
def test_fisher_and_mid_p_are_sums_over_all_tables_with_these_margins(table):
    a, n1, c, n2 = table
    weights = {
        k: Fraction(math.comb(n1, k) * math.comb(n2, a + c - k), math.comb(n1 + n2, a + c))
        for k in range(max(0, a + c - n2), min(n1, a + c) + 1)
    }
    seen = weights[a]
    one = min(
        sum(w for k, w in weights.items() if k <= a),
        sum(w for k, w in weights.items() if k >= a),
    )
    two = sum(w for w in weights.values() if w <= seen)
    found = fisher(*table)
    assert found.one_sided == float(one)
    assert found.two_sided == float(two)
    assert found.mid_one_sided == float(one - seen / 2)
    assert found.mid_two_sided == float(two - seen / 2)


@given(fourfold())
@pytest.mark.parametrize("yates", [False, True])
def test_chi_square_is_that_of_scipy_and_undefined_with_an_empty_margin(yates, table):
    a, n1, c, n2 = table
    cells = [[a, n1 - a], [c, n2 - c]]
    found = chi_square(*table, yates=yates)
    if not (n1 and n2 and 0 < a + c < n1 + n2):
        assert found is None
    else:
        expected = stats.chi2_contingency(cells, correction=yates).pvalue
        assert math.isclose(found, expected, rel_tol=1e-11, abs_tol=1e-300)


def test_large_tables_on_the_log_scale_agree_with_exact_ones():
    table = (240, EXACT_UP_TO - 1000, 90, 1100)
    found = fisher(*table)
    cells = [[table[0], table[1] - table[0]], [table[2], table[3] - table[2]]]
    assert math.isclose(found.two_sided, stats.fisher_exact(cells).pvalue, rel_tol=1e-8)
    events, total = table[0] + table[2], table[1] + table[3]
    ways = [math.comb(table[1], k) * math.comb(table[3], events - k) for k in range(events + 1)]
    tails = sum(ways[: table[0] + 1]), sum(ways[table[0] :])
    seen = Fraction(ways[table[0]], math.comb(total, events))
    one = Fraction(min(tails), math.comb(total, events))
    assert math.isclose(found.one_sided, one, rel_tol=1e-8)
    assert math.isclose(found.mid_one_sided, one - seen / 2, rel_tol=1e-8)


@pytest.mark.parametrize("table", [(5, 4, 0, 3), (-1, 4, 0, 3), (0, 3, 4, 3)])
def test_counts_beyond_their_group_are_refused(table):
    with pytest.raises(ValueError, match="not counts of two groups"):
        fisher(*table)
    with pytest.raises(ValueError, match="not counts of two groups"):
        chi_square(*table)


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(0, 13))
def test_the_poisson_binomial_sums_over_all_outcomes(chances, hits):
    total = math.fsum(
        math.prod(p if bit >> i & 1 else 1 - p for i, p in enumerate(chances))
        for bit in range(1 << len(chances))
        if bit.bit_count() >= hits
    )
    assert math.isclose(at_least(chances, hits), total, rel_tol=1e-9, abs_tol=1e-12)


def test_the_poisson_binomial_of_equal_chances_is_the_binomial():
    assert math.isclose(at_least([0.5] * 11, 11), 0.5**11)
    assert math.isclose(at_least([0.1] * 20, 5), stats.binom.sf(4, 20, 0.1), rel_tol=1e-12)
