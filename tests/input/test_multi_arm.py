"""Trials with several arms on one side: refused, split, or with the covariance of the arm."""

import math

import pytest

from evisynth.measures import compute_effects
from evisynth.steps.pool import fit_analysis

CONFIG, GAMMA = "config.yaml", "studies/gamma.yaml"
RR = "    measure: RR"
MV = "\n    model: {family: MV}\n    dependence: {levels: [effect]}"


@pytest.fixture
def trial(review):
    """The review with three arms in one trial: two new ones against the old."""
    review.keep("compared")
    review.change(GAMMA, "results:\n", "  - {id: N2, n: 10, treatment: new}\nresults:\n")
    review.change(
        GAMMA, "O: {events: 6, n: 24}", "O: {events: 6, n: 24}, N2: {events: 1, n: 10}"
    )
    review.change(GAMMA, "    quote: ", "    quote: 1 of 10, ")
    return review


def choose(review, how, more="", measure="RR"):
    review.change(CONFIG, RR, f"    measure: {measure}\n    multi_arm: {how}{more}")


def gamma(review):
    return [row for row in review.rows("compared") if row.study == "gamma"]


def test_what_can_be_done_is_said_where_they_are_refused(trial):
    (problem,) = trial.problems()
    assert "N, N2 against O" in problem.found
    assert "`multi_arm: split` or `multi_arm: covariance`" in problem.action


def test_a_shared_arm_is_divided_evenly(trial):
    choose(trial, "split")
    rows = gamma(trial)
    assert [dict(row.numbers) for row in rows] == [
        {"ai": 12, "n1i": 25, "ci": 3, "n2i": 12},
        {"ai": 1, "n1i": 10, "ci": 3, "n2i": 12},
    ]
    assert all("arm O divided evenly between 2 comparisons" in row.notes for row in rows)
    assert [row.label for row in rows] == ["gamma: N v O", "gamma: N2 v O"]


def test_fractions_of_patients_are_taken_and_every_patient_counts_once(trial):
    trial.change(GAMMA, "O: {events: 6, n: 24}", "O: {events: 5, n: 23}")
    choose(trial, "split")
    rows = gamma(trial)
    assert [(row.numbers["ci"], row.numbers["n2i"]) for row in rows] == [(2.5, 11.5)] * 2
    effects = compute_effects("RR", trial.rows("compared"), level=0.95)
    assert effects.yi[1] == pytest.approx(math.log(12 / 25 / (2.5 / 11.5)), abs=1e-14)
    assert effects.vi[1] == pytest.approx(1 / 12 - 1 / 25 + 1 / 2.5 - 1 / 11.5, abs=1e-14)


@pytest.mark.parametrize("measure", ["OR", "RR", "RD"])
def test_fractions_of_patients_are_pooled_by_mantel_and_haenszel_too(trial, measure):
    trial.change(GAMMA, "O: {events: 6, n: 24}", "O: {events: 5, n: 23}")
    trial.change(GAMMA, "quote: ", "quote: 5 of 23, ")
    choose(trial, "split", measure=measure)
    project = trial.load()
    effects = compute_effects(measure, project.rows["compared"], level=0.95)
    fit = fit_analysis(effects, project.pooling_settings("compared"))
    (row,) = [row for row in fit.estimates if row.method == "MH"]
    assert row.k == len(effects.study)


def test_two_arms_on_both_sides_are_each_divided(trial):
    trial.change(GAMMA, "results:\n", "  - {id: O2, n: 8, treatment: old}\nresults:\n")
    trial.change(
        GAMMA, "N2: {events: 1, n: 10}", "N2: {events: 1, n: 10}, O2: {events: 2, n: 8}"
    )
    choose(trial, "split")
    rows = gamma(trial)
    assert len(rows) == 4
    for size in ("n1i", "n2i"):
        total = {"n1i": 25 + 10, "n2i": 24 + 8}[size]
        assert sum(row.numbers[size] for row in rows) == total


def test_an_arm_shared_by_two_results_is_divided_too(review):
    review.keep("compared")
    review.change(GAMMA, "results:\n", "  - {id: N2, n: 10, treatment: new}\nresults:\n")
    review.change(
        GAMMA,
        "$",
        "  - id: second\n    outcome: orr\n    report: g1\n    quote: x\n"
        "    arms: {N2: {events: 4, n: 10}, O: {events: 6, n: 24}}\n",
    )
    choose(review, "split")
    assert [row.numbers["n2i"] for row in gamma(review)] == [12, 12]


def test_the_same_two_arms_twice_stay_a_mistake(review):
    review.keep("compared")
    review.change(
        GAMMA,
        "$",
        "  - id: again\n    outcome: orr\n    report: g1\n    quote: x\n"
        "    arms: {N: {events: 4, n: 25}, O: {events: 6, n: 24}}\n",
    )
    choose(review, "split")
    (problem,) = review.problems()
    assert "would enter twice" in problem.found


def test_arms_with_common_patients_stay_a_mistake(trial):
    trial.change(
        GAMMA,
        "{id: N2, n: 10, treatment: new}",
        "{id: N2, n: 35, treatment: new, made_of: [N]}",
    )
    choose(trial, "split")
    (problem,) = trial.problems()
    assert "part of the arm 'N2'" in problem.found


def test_the_covariance_of_the_shared_arm_is_in_the_model(trial):
    choose(trial, "covariance", MV, measure="OR")
    project = trial.load()
    rows = project.rows["compared"]
    assert [row.covariates["shared_arm"] for row in rows] == ["alpha/O", "gamma/O", "gamma/O"]
    assert rows[1].numbers == {"ai": 12, "n1i": 25, "ci": 6, "n2i": 24}
    effects = compute_effects("OR", rows, level=0.95)
    fit = fit_analysis(effects, project.pooling_settings("compared"))
    assert "covariances from shared control groups" in fit.headline.notes
    # R 4.2.2, metafor 3.8-1: V[2,3] = 1/6 + 1/18, rma.mv(yi, V, random = ~ 1 | id,
    # method = "REML", test = "t", BFGS with reltol 1e-14)
    assert fit.headline.estimate == pytest.approx(METAFOR["estimate"], abs=1e-6)
    assert fit.headline.ci_low == pytest.approx(METAFOR["ci_low"], abs=1e-5)
    assert fit.headline.ci_high == pytest.approx(METAFOR["ci_high"], abs=1e-5)


METAFOR = {
    "estimate": 0.725183027796,
    "ci_low": -2.011828198596,
    "ci_high": 3.462194254188,
}


def test_the_covariance_needs_a_family_that_takes_it(trial):
    choose(trial, "covariance")
    (problem,) = trial.problems()
    assert problem.place == "analyses.compared.multi_arm"
    assert problem.expected == "`model: {family: MV}` and `dependence: {levels: [effect]}`"


def test_the_covariance_needs_the_shared_arm_below_the_line(trial):
    trial.change(CONFIG, "numerator: {treatment: new}", "numerator: {treatment: NEW}")
    trial.change(CONFIG, "denominator: {treatment: old}", "denominator: {treatment: new}")
    trial.change(CONFIG, "{treatment: NEW}", "{treatment: old}")
    choose(trial, "covariance", MV)
    (problem,) = trial.problems()
    assert "shares the arm O above the line" in problem.found


@pytest.mark.parametrize("family", ["GLMM", "BB"])
def test_likelihoods_of_whole_counts_take_no_split_arms(trial, family):
    choose(trial, "split", f"\n    also: [{{family: {family}}}]", measure="OR")
    (problem,) = trial.problems()
    assert "fractions" in problem.found


def test_it_says_nothing_for_single_arms(review):
    review.keep("response")
    review.change(CONFIG, "    measure: PLO", "    measure: PLO\n    multi_arm: split")
    (problem,) = review.problems()
    assert problem.place == "analyses.response.multi_arm"
