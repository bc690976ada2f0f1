"""Bounds over rounding: against brute force over all corners, and monotone closed forms."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evisynth.conversions import complete
from evisynth.inputs import INPUTS
from evisynth.inverse_variance import inverse_variance
from evisynth.measures import compute_effects
from evisynth.printed import parse_printed
from evisynth.records import RawRow
from evisynth.scrutiny.refit import refit
from evisynth.scrutiny.rounding import TARGETS, Precise, many, rounding_bounds
from evisynth.spans import counts_of, half_unit, inverted, span, spans_of_table
from evisynth.specification import ModelSpec

NOTHING = Precise({}, {}, {})


def computer(measure, **more):
    return lambda rows: compute_effects(measure, rows, level=0.95, **more)


def table(measure, texts):
    """Rows of printed numbers, and what their rounding allows."""
    rows = [
        RawRow(str(i), str(i), {name: float(text) for name, text in row.items()})
        for i, row in enumerate(texts)
    ]
    spans = [
        {name: span(text) for name, text in row.items() if not name.startswith("n")}
        for row in texts
    ]
    return rows, [Precise({}, ends, {}) for ends in spans], computer(measure)


def brute_force(rows, precision, compute, spec):
    """Lowest and highest of each target over every corner of every box."""
    places = [(i, name) for i, p in enumerate(precision) for name in p.spans]
    answers = []
    for ends in itertools.product(*(precision[i].spans[name] for i, name in places)):
        numbers = [dict(row.numbers) for row in rows]
        for (i, name), end in zip(places, ends, strict=True):
            numbers[i][name] = end
        corner = [RawRow(r.study, r.label, n) for r, n in zip(rows, numbers, strict=True)]
        answers.append(refit(compute(corner), spec))
    return {
        (target, end): best(getattr(answer, target) for answer in answers)
        for target in TARGETS
        for end, best in (("lowest", min), ("highest", max))
    }


GEN = [
    {"yi": "0.5", "sei": "0.2"},
    {"yi": "-0.3", "sei": "0.4"},
    {"yi": "1.2", "sei": "0.3"},
    {"yi": "0.1", "sei": "0.2"},
]


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(),
        ModelSpec(test="z"),
        ModelSpec(method="DL"),
        ModelSpec(floor=False),
        ModelSpec(effects="common"),
        ModelSpec(method="PM", test="z"),
    ],
    ids=lambda s: f"{s.effects}-{s.method}-{s.test}-{s.floor}",
)
def test_the_search_finds_what_all_corners_give(spec):
    rows, precision, compute = table("GEN", GEN)
    expected = brute_force(rows, precision, compute, spec)
    found = rounding_bounds(rows, precision, compute, spec, enumerated=0)
    assert found.moved == 4
    own = spec.method != "PM"
    for bound in found.found:
        value = getattr(bound.answer, bound.target)
        brute = expected[bound.target, bound.end]
        if own:
            # an interior point may lie beyond every corner, never short of them
            beyond = value - brute if bound.end == "highest" else brute - value
            assert beyond >= -1e-9
            assert beyond < 1e-3
        else:  # directions by another estimator, answers by this one
            assert value == pytest.approx(brute, abs=0.02)


def test_few_corners_are_all_tried():
    rows, precision, compute = table("GEN", GEN[:3])
    expected = brute_force(rows, precision, compute, ModelSpec())
    found = rounding_bounds(rows, precision, compute, ModelSpec())
    assert any("all 125 combinations" in note for note in found.notes)
    for bound in found.found:
        value = getattr(bound.answer, bound.target)
        assert value == pytest.approx(expected[bound.target, bound.end], abs=1e-12)


@settings(max_examples=5, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-300, 300), st.integers(1, 99)),
        min_size=9,
        max_size=12,
    )
)
def test_with_standard_errors_in_full_a_common_effect_moves_with_every_effect(studies):
    rows = [
        RawRow(str(i), str(i), {"yi": y / 100, "vi": v / 100})
        for i, (y, v) in enumerate(studies)
    ]
    precision = [Precise({}, {"yi": span(f"{y / 100:.2f}")}, {}) for y, _ in studies]
    wi = np.array([100 / v for _, v in studies])
    found = rounding_bounds(
        rows, precision, computer("GEN"), ModelSpec(effects="common"), enumerated=0
    )
    for sign, end in ((-1, "lowest"), (1, "highest")):
        yi = np.array([y / 100 for y, _ in studies]) + sign * 0.005
        (bound,) = (b for b in found.found if (b.target, b.end) == ("estimate", end))
        # monotone: every effect at its end; (sum wi yi) / (sum wi)
        assert bound.answer.estimate == pytest.approx(wi @ yi / wi.sum(), abs=1e-12)
        assert bound.answer.ci_low == pytest.approx(
            wi @ yi / wi.sum() - 1.959963984540054 / math.sqrt(wi.sum()), abs=1e-12
        )


def test_an_interval_around_its_estimate_never_gets_corners_that_no_interval_has():
    texts = [
        {"estimate": "1.0", "ci_low": "1.0", "ci_high": "1.1"},
        {"estimate": "2.00", "ci_low": "1.00", "ci_high": "4.00"},
    ]
    rows, precision, compute = table("HR", texts)
    found = rounding_bounds(rows, precision, compute, ModelSpec(), enumerated=0)
    assert {b.end for b in found.found} == {"lowest", "highest"}
    assert all(math.isfinite(b.answer.estimate) for b in found.found)


def test_one_study_moves_by_its_own_rounding():
    rows, precision, compute = table("GEN", [{"yi": "0.5", "sei": "0.20"}])
    found = {
        (b.target, b.end): b.answer.estimate
        for b in rounding_bounds(rows, precision, compute, ModelSpec()).found
    }
    assert found["estimate", "lowest"] == pytest.approx(0.45, abs=1e-15)
    assert found["estimate", "highest"] == pytest.approx(0.55, abs=1e-15)


def test_whole_counts_do_not_move_and_alternatives_of_a_percentage_do():
    rows = [
        RawRow("a", "a", {"xi": 50.0, "ni": 400.0}),
        RawRow("b", "b", {"xi": 10.0, "ni": 40.0}),
    ]
    compute = computer("PLO")
    assert rounding_bounds(rows, [NOTHING, NOTHING], compute, ModelSpec()).found == ()
    choices = counts_of(parse_printed("12%"), 400)
    assert choices == tuple(float(x) for x in range(46, 51))  # 11.5 % to 12.5 % of 400
    precise = Precise({}, {}, {"xi": choices})
    found = rounding_bounds(rows, [precise, NOTHING], compute, ModelSpec(effects="common"))
    low = next(b for b in found.found if (b.target, b.end) == ("estimate", "lowest"))
    expected = refit(
        compute([RawRow("a", "a", {"xi": 46.0, "ni": 400.0}), rows[1]]),
        ModelSpec(effects="common"),
    )
    assert low.answer.estimate == pytest.approx(expected.estimate, abs=1e-15)


@pytest.mark.parametrize("family", ["GLMM", "BB"])
def test_families_of_counts_move_with_the_counts_that_a_percentage_allows(family):
    rows = [
        RawRow("a", "a", {"xi": 50.0, "ni": 400.0}),
        RawRow("b", "b", {"xi": 10.0, "ni": 40.0}),
    ]
    compute, spec = computer("PLO"), ModelSpec(family=family, test="z")
    choices = counts_of(parse_printed("12%"), 400)
    precise = Precise({}, {}, {"xi": choices})
    # not monotone: tau2 of the GLMM falls to 0 at 50 events
    every = [
        refit(compute([RawRow("a", "a", {"xi": x, "ni": 400.0}), rows[1]]), spec).estimate
        for x in choices
    ]
    found = rounding_bounds(rows, [precise, NOTHING], compute, spec, enumerated=0).found
    ends = [b.answer.estimate for b in found if b.target == "estimate"]
    assert ends == pytest.approx([min(every), max(every)], abs=1e-12)
    assert min(every) < max(every)


def test_a_mean_that_is_derived_moves_with_the_median_it_is_from():
    wanted = INPUTS["MN"].alternatives
    given = {"medi": 10.0, "q1i": 8.0, "q3i": 12.0, "ni": 50.0}
    numbers, _ = complete(given, wanted)
    keep = {name: numbers[name] for name in ("mi", "sdi", "ni")}
    precise = Precise(given, {n: span(f"{given[n]:.1f}") for n in ("medi", "q1i", "q3i")}, {})
    found = rounding_bounds(
        [RawRow("a", "a", keep)],
        [precise],
        computer("MN"),
        ModelSpec(),
        lambda n: complete(n, wanted)[0],
    )
    ends = [b.answer.estimate for b in found.found if b.target == "estimate"]
    corners = [
        complete({"medi": 10 + a, "q1i": 8 + b, "q3i": 12 + c, "ni": 50.0}, wanted)[0]["mi"]
        for a, b, c in itertools.product((-0.05, 0.05), repeat=3)
    ]
    assert ends == pytest.approx([min(corners), max(corners)], abs=1e-12)


@pytest.mark.parametrize(
    "spec",
    [ModelSpec(), ModelSpec(test="z"), ModelSpec(method="DL"), ModelSpec(effects="common")],
)
def test_many_fits_equal_single_ones(spec):
    random = np.random.default_rng(3)
    yi, vi = random.normal(0, 1, (20, 7)), random.uniform(0.1, 1, (20, 7))
    for row, (y, v) in zip(many(yi, vi, spec), zip(yi, vi, strict=True), strict=True):
        raw = [
            RawRow(str(i), str(i), {"yi": float(a), "vi": float(b)})
            for i, (a, b) in enumerate(zip(y, v, strict=True))
        ]
        rows = inverse_variance(computer("GEN")(raw), spec)
        one = rows.estimates[rows.chosen]
        # Fisher scoring stops at steps of 1e-10 of the smallest variance
        assert row == pytest.approx([one.estimate, one.ci_low, one.ci_high], abs=1e-7)


def test_half_units_are_those_of_the_last_printed_digit():
    expected = {
        "0.50": Fraction(1, 200),
        "12": Fraction(1, 2),
        "-.5": Fraction(1, 20),
        "1.5e-3": Fraction(1, 20000),
        "2·5": Fraction(1, 20),
        "30.2%": Fraction(1, 20),
    }
    assert {text: half_unit(text) for text in expected} == expected


def test_spans_hold_what_is_printed():
    assert span("0.67") == (0.665, 0.675)
    assert span("40", Fraction(1, 100)) == (0.395, 0.405)
    assert inverted((0.45, 0.55)) == (1 / 0.55, 1 / 0.45)


def test_zeros_that_a_table_has_dropped_are_put_back():
    rows = [{"yi": text} for text in ("0.3", "-0.14", "0.67", "1.1")]
    assert [ends["yi"] for ends in spans_of_table(rows)] == [
        (0.295, 0.305),
        (-0.145, -0.135),
        (0.665, 0.675),
        (1.095, 1.105),
    ]
    kept = [*rows, {"yi": "0.50"}]
    assert spans_of_table(kept)[0]["yi"] == (0.25, 0.35)


def test_counts_sizes_and_bounds_have_no_span():
    (ends,) = spans_of_table(
        [{"ai": "5", "n1i": "20", "ci_level": "0.95", "p": "<0.001", "sd1i": "NA", "m1i": "3"}]
    )
    assert ends == {"m1i": (2.5, 3.5)}
