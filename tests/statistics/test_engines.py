"""PyMARE and statsmodels agree with us, but for what is documented, and a mistake is seen."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.references import F1, F2, F7, F8, analyses, effects_of, generic, rows, table

from evisynth import engines
from evisynth.engines import compare
from evisynth.measures import compute_effects
from evisynth.pooling import pool
from evisynth.specification import ModelSpec
from evisynth.tau2 import PLAIN

BOTH = [
    entry
    for kind in ("escalc", "asis")
    for entry in analyses(kind)
    if entry.status == "ok" and entry.file != "edge_negative_variance"
]


def bcg():
    columns = table("reviews/bcg/data/bcg.csv", ai="tpos", bi="tneg", ci="cpos", di="cneg")
    return compute_effects("RR", rows(**columns), level=0.95)


@pytest.mark.parametrize("file", sorted({entry.file for entry in BOTH}))
def test_engines_agree_on_all_reference_data(file):
    """And say why where they do not; nothing else is excused."""
    for entry in BOTH:
        if entry.file == file:
            compared = compare(effects_of(entry), ModelSpec())
            assert [row for row in compared if not row.agrees] == []


def test_every_quantity_is_compared():
    compared = compare(bcg(), ModelSpec())
    rows = [row for row in pool(bcg(), ModelSpec()).estimates if row.method != "MH"]
    assert all(row.note == "" for row in compared)
    seen = {(row.engine, row.quantity, row.method, row.test) for row in compared}
    pooled = ("estimate", "se", "ci_low", "ci_high")
    assert seen == {
        *(("pymare", q, row.method, row.test) for row in rows for q in pooled),
        ("statsmodels", "estimate", "MH", "z"),
        *(("pymare", "tau2", method, "") for method in ("DL", "HE", "ML", "REML")),
        *(("pymare", end, "QP", "") for end in ("tau2_low", "tau2_high")),
        *(("statsmodels", q, "IV", "z") for q in pooled),
        *(("statsmodels", "tau2", method, "") for method in ("DL", "PM")),
        *(
            ("statsmodels", q, method, test)
            for q in pooled
            for method in ("DL", "PM")
            for test in ("z", "knha")
        ),
    }
    assert {row.version for row in compared if row.engine == "pymare"} == {"0.0.13"}


def test_tolerances_are_small():
    for row in compare(bcg(), ModelSpec()):
        assert row.tolerance < 2e-6
        assert abs(row.difference) <= row.tolerance
        assert row.difference == row.value - row.ours


@pytest.mark.parametrize("prediction", ["HK", "HTS"])
@pytest.mark.parametrize("level", [0.8, 0.99])
def test_other_levels_agree(level, prediction):
    compared = compare(generic(*F1, level=level), ModelSpec(level=level, prediction=prediction))
    assert all(row.agrees for row in compared)


@pytest.mark.parametrize("data", [F2, F7, F8])
def test_failure_cases_agree_or_are_documented(data):
    assert all(row.agrees for row in compare(generic(*data), ModelSpec()))


def noted(effects, quantity, method):
    compared = compare(effects, ModelSpec())
    return [row for row in compared if (row.quantity, row.method) == (quantity, method)]


def test_documented_defects_are_named():
    assert "empty" in noted(generic(*F7), "tau2_high", "QP")[0].note
    # F17
    assert any("truncate" in row.note for row in noted(generic(*F7), "tau2", "DL"))
    identical = generic([0.4] * 3, [0.05, 0.02, 0.1])
    assert all("all zero" in row.note for row in noted(identical, "se", "REML") if row.note)


def test_variance_ratios_beyond_the_search_of_pymare_are_documented():
    """Four precise studies that differ, and a useless one: PyMARE is off by a factor of 30."""
    effects = generic([0.0, 1e-3, -2e-3, 1.5e-3, 30.0], [1e-10, 1e-10, 1e-10, 1e-10, 1e3])
    row = noted(effects, "tau2", "REML")[0]
    assert row.value > 10 * row.ours > 0
    assert row.agrees
    assert "small beside the mean variance" in row.note


def test_a_lost_maximum_is_no_excuse_for_a_higher_one(monkeypatch):
    """Where the other program has the higher likelihood, we are wrong."""
    right = PLAIN["REML"]
    monkeypatch.setitem(PLAIN, "REML", lambda data: replace(right(data), value=0.0))
    row = noted(generic(*F2), "tau2", "REML")[0]
    assert not row.agrees


@pytest.mark.parametrize("factor", [1e-60, 1e60])
def test_scales_that_no_engine_can_square_are_said(factor):
    yi, vi = F1
    compared = compare(generic(yi * factor, vi * factor**2), ModelSpec())
    assert [row.engine for row in compared] == ["pymare", "statsmodels"]
    assert all("not compared" in row.note for row in compared)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(factor):
    yi, vi = F1
    assert all(row.agrees for row in compare(generic(yi * factor, vi * factor**2), ModelSpec()))


def test_random_data_agree():
    rng = np.random.default_rng(20)
    for _ in range(40):
        k = rng.integers(2, 10)
        vi = 10 ** rng.uniform(-3, 1, k)
        yi = rng.normal(0.3, np.sqrt(vi + rng.choice([0, 0.2])))
        assert all(row.agrees for row in compare(generic(yi, vi), ModelSpec()))


@pytest.mark.parametrize("method", ["REML", "DL", "HE", "ML", "PM"])
def test_a_wrong_tau2_of_ours_is_seen(monkeypatch, method):
    """A mistake of one part in a thousand, in any estimator, is a disagreement."""
    right = PLAIN[method]

    def wrong(data):
        result = right(data)
        return replace(result, value=result.value * 1.001)

    monkeypatch.setitem(PLAIN, method, wrong)
    compared = compare(bcg(), ModelSpec())
    assert {row.method for row in compared if not row.agrees} >= {method}


def test_an_engine_without_a_finite_number_is_named_and_no_disagreement(monkeypatch):
    monkeypatch.setattr(engines, "_scalar", lambda _: math.nan)
    rows = [row for row in compare(bcg(), ModelSpec()) if row.engine == "pymare"]
    assert rows
    assert {row.note for row in rows} == {"the engine gives no finite number here"}


@pytest.mark.parametrize("measure", ["MD", "PAS", "SMD"])
def test_studies_that_are_alike_up_to_rounding_are_no_disagreement(measure):
    if measure == "PAS":
        studies = rows(xi=[3, 15], ni=[20, 100])
    else:
        means = {"m1i": [6.7, 24.7], "m2i": [5.6, 23.6], "sd1i": [1.1, 1.9], "sd2i": [2, 2]}
        studies = rows(**means, n1i=[35, 20], n2i=[35, 20])
    effects = compute_effects(measure, studies, level=0.95)
    assert all(row.agrees for row in compare(effects, ModelSpec()))


def test_exact_intervals_of_proportions_agree():
    effects = compute_effects(
        "PLO", rows(xi=[0, 12, 7, 3], ni=[12, 12, 20, 212]), level=0.95, to="none"
    )
    compared = [
        row for row in compare(effects, ModelSpec()) if row.quantity.startswith("study")
    ]
    assert len(compared) == 8
    assert all(row.agrees and row.note == "" for row in compared)


def test_below_two_studies_there_is_nothing_to_compare():
    assert compare(generic([0.1], [0.2]), ModelSpec()) == []
    assert compare(generic([], []), ModelSpec()) == []
