"""docs/coverage.md shows what the simulation found, and the simulation is what it says."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def coverage():
    path = ROOT / "benchmarks" / "simulate_coverage.py"
    spec = importlib.util.spec_from_file_location("benchmarks_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_tables_are_those_of_the_results(coverage):
    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert page.split(coverage.MARK)[1].strip() == coverage.tables(coverage.read()).strip()


def test_the_results_are_complete(coverage):
    found = coverage.column(coverage.read(), "coverage")
    assert set(found) == {
        (cell, method) for cell in coverage.cells() for method in coverage.METHODS
    }
    assert all(int(row["replicates"]) >= 10_000 for row in coverage.read())


@pytest.mark.parametrize("sizes", ["equal", "one large", "mixed"])
@pytest.mark.parametrize("outcome", ["MD", "OR 30%"])
def test_trials_have_the_means_and_variances_that_are_meant(coverage, outcome, sizes):
    cell = coverage.Cell(outcome, sizes, 5, 50)
    tau2 = coverage.tau2_of(cell)
    random = np.random.default_rng(1)
    yi, vi = coverage.trials(cell, tau2, 40_000, random)
    assert yi.shape == vi.shape == (40_000, 5)
    # Variances that are estimated vary, and are right on average; so is I2.
    assert np.unique(vi).size > 100
    np.testing.assert_allclose(yi.mean(axis=0), coverage.EFFECT[outcome], atol=0.04)
    spread = (yi - coverage.EFFECT[outcome]) ** 2
    # The usual variance of a log odds ratio is a little too small for few events.
    rtol = 0.04 if outcome == "MD" else 0.12
    np.testing.assert_allclose(spread.mean(axis=0), tau2 + vi.mean(axis=0), rtol=rtol)


def test_i2_is_that_of_the_typical_variance(coverage):
    cell = coverage.Cell("OR 30%", "equal", 5, 75)
    odds = expit([logit(0.3), logit(0.3) + np.log(0.7)])
    typical = (1 / (50 * odds * (1 - odds))).sum()
    assert coverage.tau2_of(cell) == pytest.approx(3 * typical)


def test_without_heterogeneity_wald_is_nearly_right_and_a_new_effect_is_the_mean(coverage):
    cell = coverage.Cell("MD", "equal", 30, 0)
    rows = {row["method"]: row for row in coverage.simulate((0, cell, 4000))}
    assert float(rows["Wald"]["coverage"]) == pytest.approx(95.5, abs=1.5)
    assert float(rows["PI HK"]["coverage"]) > float(rows["HK"]["coverage"])
    low, high = np.array([0.0, 1.0]), np.array([0.5, 2.0])
    np.testing.assert_array_equal(coverage.held("PI HK", low, high, 0.3, 0.0), [1, 0])
    inside = coverage.held("PI HK", np.array([-1.96]), np.array([1.96]), 0.0, 1.0)
    assert inside[0] == pytest.approx(0.95, abs=1e-4)
