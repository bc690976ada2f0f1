"""Flagged rows, shared patients and nested units: against R, closed forms and direct refits."""

import math
from dataclasses import replace

import pytest

from evisynth.inference import normal_quantile
from evisynth.measures import compute_effects
from evisynth.records import RawRow
from evisynth.scrutiny.flags import flagged
from evisynth.scrutiny.overlaps import Overlap, dependent
from evisynth.scrutiny.refit import refit
from evisynth.scrutiny.units import clustered, effective, mean_size, nested_rows
from evisynth.specification import Dependence, ModelSpec

COUNTS = {"a": (22, 53), "b": (4, 43), "c": (10, 13), "d": (2, 20), "e": (9, 18)}


def proportions(rows):
    return compute_effects("PLO", rows, level=0.95)


def rows_of(counts):
    return [
        RawRow(name, name.upper(), {"xi": float(x), "ni": float(n)})
        for name, (x, n) in counts.items()
    ]


def expit(x):
    return 1 / (1 + math.exp(-x))


def overlap(**more):
    values = {"exactly": None, "at_most": None, "unit": "patients", "certainty": "stated"}
    return Overlap(("a", "b"), quote="x", **{**values, **more})


# --- shared patients -------------------------------------------------------------------------


def test_a_known_number_of_shared_patients_gives_the_covariance_of_metafor():
    # R 4.2.2, metafor 3.8-1: escalc(measure="PLO"), V[1,2] = 10/sqrt(53*43)*sqrt(v1*v2),
    # rma.mv(yi, V, random=~1|id, method="REML", test="t", BFGS with reltol 1e-14)
    found = dependent(rows_of(COUNTS), overlap(exactly=10), proportions, ModelSpec())
    variants = {v.scenario: v for v in found}
    answer = variants["covariance, 10 shared (exactly)"].answer
    # the optimiser of R stops at 1e-7 or so
    assert answer.tau2 == pytest.approx(1.761761481839691, abs=1e-5)
    assert answer.estimate == pytest.approx(expit(-0.698385917471728), abs=1e-6)
    assert answer.ci_low == pytest.approx(expit(-2.487044270733681), abs=1e-6)
    assert answer.ci_high == pytest.approx(expit(1.090272435790225), abs=1e-6)


def test_the_leave_out_fits_are_those_without_the_study():
    rows = rows_of(COUNTS)
    found = {v.scenario: v.answer for v in dependent(rows, overlap(), proportions, ModelSpec())}
    for name in ("a", "b"):
        kept = [row for row in rows if row.study != name]
        assert found[f"without {name}"] == refit(proportions(kept), ModelSpec())


def test_the_covariance_of_logits_is_that_of_shared_patients():
    # Cov of proportions n12 p (1 - p) / (n1 n2), divided by the derivatives p (1 - p): for
    # common-effect weights the variance of the mean follows in closed form.
    rows = rows_of({"a": (10, 20), "b": (25, 50)})
    spec = ModelSpec(effects="common", test="z")
    found = {
        v.scenario: v.answer for v in dependent(rows, overlap(exactly=8), proportions, spec)
    }
    answer = found["covariance, 8 shared (exactly)"]
    v1, v2, cov = 1 / 10 + 1 / 10, 1 / 25 + 1 / 25, 8 / (20 * 50 * 0.25)
    variance = (v1 * v2 - cov**2) / (v1 + v2 - 2 * cov)
    half = normal_quantile(0.95) * math.sqrt(variance)
    assert answer.estimate == pytest.approx(0.5, abs=1e-12)
    assert answer.ci_low == pytest.approx(expit(-half), abs=1e-10)
    assert answer.ci_high == pytest.approx(expit(half), abs=1e-10)


def test_a_bound_gives_both_ends_and_the_range_over_it():
    found = dependent(rows_of(COUNTS), overlap(at_most=11), proportions, ModelSpec())
    answers = {v.scenario: v.answer for v in found}
    none, most = answers["covariance, 0 shared"], answers["covariance, 11 shared (at most)"]
    low, high = (answers[f"{e} estimate over 0 to 11 shared"] for e in ("lowest", "highest"))
    assert low.estimate <= min(none.estimate, most.estimate)
    assert high.estimate >= max(none.estimate, most.estimate)
    assert none.estimate == pytest.approx(
        refit(proportions(rows_of(COUNTS)), ModelSpec()).estimate, abs=1e-7
    )
    assert most.estimate != pytest.approx(none.estimate, abs=1e-4)


def test_without_a_number_no_more_than_the_smaller_study_is_shared():
    found = dependent(rows_of(COUNTS), overlap(), proportions, ModelSpec())
    (bound,) = [v for v in found if "all of the smaller study" in v.scenario]
    assert bound.scenario.startswith("covariance, 43 shared")


def test_the_shared_patients_had_as_few_or_as_many_events_as_is_possible():
    counts = {"a": (16, 66), "b": (13, 43)}
    found = dependent(rows_of(counts), overlap(at_most=11), proportions, ModelSpec())
    said = [v.scenario for v in found if "had the event" in v.scenario]
    assert said == [
        "a without 11 shared, of whom 11 had the event: 5/55",
        "a without 11 shared, of whom 0 had the event: 16/55",
        "b without 11 shared, of whom 11 had the event: 2/32",
        "b without 11 shared, of whom 0 had the event: 13/32",
    ]
    answers = {v.scenario: v.answer for v in found}
    expected = refit(proportions(rows_of({**counts, "a": (5, 55)})), ModelSpec())
    assert answers[said[0]] == expected


def test_a_study_of_unknown_size_has_no_covariance_and_says_so():
    rows = [RawRow(name, name, {"yi": y, "vi": 0.1}) for name, y in (("a", 0.1), ("b", 0.5))]

    def compute(rows):
        return compute_effects("GEN", rows, level=0.95)

    found = dependent(rows, overlap(at_most=3), compute, ModelSpec())
    (none,) = [v for v in found if v.answer is None]
    assert "the size of a study is not known" in none.notes[0]


# --- flagged rows ----------------------------------------------------------------------------


def finding(rows, level="error", verdict="inconsistent"):
    return {
        "rule": "GRIM",
        "place": "results.orr",
        "level": level,
        "verdict": verdict,
        "explanation": "no count fits",
        "decision": "",
        "rows": rows,
        "blocks": level == "error",
    }


def test_a_blocked_row_enters_as_printed_and_a_warned_one_leaves():
    rows = rows_of(COUNTS)
    rows[1] = replace(rows[1], included=False, reason="audit, GRIM: no count fits")
    found = flagged(rows, [finding([1]), finding([3], "warning")], proportions, ModelSpec())
    by_words = {(s.words, s.rows): s.answer for s in found}
    everyone = rows_of(COUNTS)

    def direct(*names):
        kept = [row for row in everyone if row.study in names]
        return refit(proportions(kept), ModelSpec())

    def same(answer, expected):
        assert (answer.k, answer.estimate, answer.ci_low, answer.ci_high) == (
            expected.k,
            expected.estimate,
            expected.ci_low,
            expected.ci_high,
        )

    same(by_words["with the row as printed", (1,)], direct(*"abcde"))
    same(by_words["without the row", (3,)], direct(*"ace"))
    same(by_words["all flagged rows in", (1, 3)], direct(*"abcde"))
    same(by_words["all flagged rows out", (1, 3)], direct(*"ace"))
    assert len(found) == 4


def test_a_row_that_the_reviewer_leaves_out_stays_out():
    rows = rows_of(COUNTS)
    rows[0] = replace(rows[0], included=False, reason="other criteria")
    assert flagged(rows, [finding([0])], proportions, ModelSpec()) == []


def test_what_cannot_be_decided_costs_nothing_and_a_note_is_not_in_all():
    rows = rows_of(COUNTS)
    undecided = finding([0], "warning", "undecided")
    found = flagged(rows, [undecided, finding([1], "note")], proportions, ModelSpec())
    assert [(s.words, s.rows) for s in found] == [("without the row", (1,))]


# --- nested units ----------------------------------------------------------------------------


def test_episodes_of_patients_have_the_design_effect_of_kish():
    effects = proportions(rows_of({"a": (16, 66)}))
    nested = nested_rows(effects, [[["all", "episodes", 66, 67, 49]]])
    (half, full) = effective(effects, nested, [0.3, 1.0], ModelSpec())
    vi, yi = 1 / 16 + 1 / 50, math.log(16 / 50)
    for found, icc in ((half, 0.3), (full, 1.0)):
        design = 1 + (67 / 49 - 1) * icc
        reach = normal_quantile(0.95) * math.sqrt(vi * design)
        assert found.answer.estimate == pytest.approx(16 / 66, abs=1e-12)
        assert found.answer.ci_low == pytest.approx(expit(yi - reach), abs=1e-12)
        assert found.answer.ci_high == pytest.approx(expit(yi + reach), abs=1e-12)
    assert "effective n 48.27" in full.notes[0]  # 66 of 67 episodes: 66/67 of 49 patients


def test_a_design_effect_enters_the_pooling_as_in_metafor():
    # R 4.2.2, metafor 3.8-1: vi[1] * (1 + (1.5 - 1) * 0.3), rma(method="REML", test="knha",
    # threshold 1e-12)
    effects = proportions(rows_of(COUNTS))
    nested = nested_rows(effects, [[["all", "episodes", 54, 54, 36]], [], [], [], []])
    (found,) = effective(effects, nested, [0.3], ModelSpec())
    expected = REML_WITH_DESIGN_EFFECT
    assert found.answer.estimate == pytest.approx(expit(expected[0]), abs=1e-8)
    assert found.answer.ci_low == pytest.approx(expit(expected[1]), abs=1e-8)
    assert found.answer.ci_high == pytest.approx(expit(expected[2]), abs=1e-8)


# est, ci.lb, ci.ub
REML_WITH_DESIGN_EFFECT = (-0.702920583268662, -2.521186560903112, 1.115345394365789)


@pytest.mark.parametrize(
    ("units", "size"),
    [
        ([["x", "episodes", 66, 67, 49]], 67 / 49),
        ([["x", "episodes", 30, 67, 49]], 67 / 49),  # a part of the arm
        ([["x", "episodes", 66, 67, None]], math.nan),
        ([["x", "tumours", 40, 40, 20], ["y", "patients", 20, 20, None]], 60 / 40),
    ],
)
def test_units_per_patient(units, size):
    assert mean_size(units)[0] == pytest.approx(size, nan_ok=True)


def test_rows_of_one_cluster_become_one_with_the_variance_of_their_mean():
    rows = [
        RawRow(str(i), str(i), {"yi": y, "vi": v}, cluster=c)
        for i, (y, v, c) in enumerate(
            [(0.2, 0.04, "x"), (0.6, 0.09, "x"), (0.1, 0.05, "y"), (0.9, 0.06, "z")]
        )
    ]
    effects = compute_effects("GEN", rows, level=0.95)
    spec = ModelSpec(effects="common")
    several, found = clustered(effects, [0.5], spec)
    assert several == {"x": (0, 1)}
    # Borenstein et al. (2009), eq. 24.2: variance of a mean of correlated effects
    v = (0.04 + 0.09 + 2 * 0.5 * math.sqrt(0.04 * 0.09)) / 4
    weights = [1 / v, 1 / 0.05, 1 / 0.06]
    mean = sum(w * y for w, y in zip(weights, (0.4, 0.1, 0.9), strict=True)) / sum(weights)
    assert found[0].answer.estimate == pytest.approx(mean, abs=1e-12)
    known = ModelSpec(family="MV", dependence=Dependence(levels=("cluster", "effect")))
    assert clustered(effects, [0.5], known)[1] == []
