"""Sampling covariances: against R, Gleser & Olkin's tables, and simulated patients."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dependence import analyses, columns, effects, entry, numbers, sampling

from evisynth.models import covariance, multilevel
from evisynth.models.covariance import dense, diagonal

VCALC = list(analyses("vcalc"))
AGGREGATES = list(analyses("aggregate"))


def test_no_reference_is_lost():
    assert (len(VCALC), len(AGGREGATES)) == (3, 8)


def close(ours, theirs, rtol, atol=0.0):
    np.testing.assert_allclose(ours, np.array(theirs, dtype=float), rtol=rtol, atol=atol)


def test_constant_correlation_equals_vcalc():
    data = columns("riley2003")
    v = covariance.constant_correlation(numbers(data, "vi"), data["study"], 0.5)
    expected = entry("riley2003", "vcalc/rho0.5/first_rows").result["V"]
    close(dense(v)[:10, :10], expected, 1e-11)


def test_blocks_of_berkey1998_equal_vcalc():
    v = sampling(columns("berkey1998"), {"type": "block"}, np.zeros(10))
    close(dense(v), entry("berkey1998", "V").result["V"], 0)


def test_shared_groups_and_correlated_tasks_of_knapp2017_equal_vcalc():
    data = columns("knapp2017")
    how = entry("knapp2017", "mv/vcalc_groups").args["V"]
    v = dense(sampling(data, how, numbers(data, "vi")))
    expected, theirs = entry("knapp2017", "vcalc/full").result, np.zeros_like(v)
    for i, j, value in zip(expected["i"], expected["j"], expected["v"], strict=True):
        theirs[i - 1, j - 1] = theirs[j - 1, i - 1] = value
    close(v, theirs, 1e-10, 1e-16)


@pytest.mark.parametrize("analysis", AGGREGATES, ids=str)
def test_aggregates_equal_those_of_metafor(analysis):
    data = columns(analysis.file)
    yi, vi = effects(data)
    cluster = data[analysis.args["cluster"]]
    v = covariance.constant_correlation(vi, cluster, analysis.args["rho"])
    ours = covariance.aggregate(yi, v, cluster, weighted=analysis.args["weighted"])
    # R sorts clusters as numbers or text
    by_label = {
        str(label): pair for label, *pair in zip(ours.cluster, ours.yi, ours.vi, strict=True)
    }
    expected = analysis.result
    pairs = np.array([by_label[label] for label in expected["cluster"]])
    close(pairs[:, 0], expected["yi"], 1e-10, 1e-11)
    close(pairs[:, 1], expected["vi"], 1e-9)


def test_unweighted_aggregate_is_the_mean():
    v = covariance.constant_correlation([0.1, 0.4, 0.2], "aab", 0.5)
    ours = covariance.aggregate([1.0, 3.0, 5.0], v, "aab", weighted=False)
    close(ours.yi, [2, 5], 1e-15)
    close(ours.vi, [(0.1 + 0.4 + 2 * 0.5 * 0.2) / 4, 0.2], 1e-14)


# ---------------------------------------------------------------- Gleser & Olkin (2009)

# Table 19.1: events and patients of the shared control group (ci of n2i) and of the treatments
GLESER = {
    "study": [1, 1, 2, 3, 3, 3],
    "trt": [1, 2, 1, 1, 2, 3],
    "ai": [100, 150, 15, 40, 80, 50],
    "n1i": [4000, 4000, 400, 1000, 1000, 1000],
    "ci": [40, 40, 10, 150, 150, 150],
    "n2i": [1000, 1000, 200, 2000, 2000, 2000],
}


def gleser_effects(measure):
    a, n1, c, n2 = (np.array(GLESER[name], float) for name in ("ai", "n1i", "ci", "n2i"))
    p1, p2 = a / n1, c / n2
    return {
        "RD": (p1 - p2, p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2),
        "OR": (
            np.log(p1 / (1 - p1) / (p2 / (1 - p2))),
            1 / a + 1 / (n1 - a) + 1 / c + 1 / (n2 - c),
        ),
        "RR": (np.log(p1 / p2), 1 / a - 1 / n1 + 1 / c - 1 / n2),
        "AS": (np.arcsin(np.sqrt(p1)) - np.arcsin(np.sqrt(p2)), 1 / (4 * n1) + 1 / (4 * n2)),
    }[measure]


# The chapter contrasts control with treatment; OR and AS have QE 2.057 and 4.264 there, from
# rounded steps. RR is not given there: metafor's. Arcsines are doubled in the chapter.
PRINTED = {
    "RD": ([0.0200, 0.0043, 0.0211], 7.1907, 24.612e-6),
    "OR": ([0.5099, 0.0044, 0.4301], 2.0563, 0.01412),
    "RR": ([0.4875, 0.0006, 0.4047], 1.8954, 0.01287),
    "AS": ([0.1010 / 2, 0.0102 / 2, 0.0982 / 2], 4.2634, 0.00058 / 4),
}


@pytest.mark.parametrize("measure", PRINTED)
def test_gleser2009_multiple_treatments(measure):
    yi, vi = gleser_effects(measure)
    c, n2 = np.array(GLESER["ci"], float), np.array(GLESER["n2i"], float)
    v = covariance.shared_control(measure, vi, GLESER["study"], {"ci": c, "di": n2 - c})
    x = np.array(GLESER["trt"])[:, np.newaxis] == [1, 2, 3]
    fitted = multilevel.fit(yi, v, x=x.astype(float))
    estimates, qe, variance = PRINTED[measure]
    close(-fitted.beta, estimates, 0, 5.1e-5)
    assert round(fitted.qe, 4) == qe
    close(fitted.covariance[0, 0], variance, 5e-4 if measure != "AS" else 1e-2)


def test_gleser2009_standardised_mean_differences():
    study, trt = [1, 1, 2, 3, 4, 4], np.array([1, 2, 1, 1, 1, 2])
    m1 = np.array([7.87, 4.35, 9.32, 8.08, 7.44, 5.34])
    m2 = np.array([-1.36, -1.36, 0.98, 1.17, 0.45, 0.45])
    sd = np.array([4.2593, 4.2593, 2.8831, 3.1764, 2.9344, 2.9344])
    n1, n2 = np.array([25.0, 22, 38, 50, 30, 30]), np.array([25.0, 25, 40, 50, 30, 30])
    total = np.array([72, 72, 78, 100, 90, 90])
    yi = (m1 - m2) / sd
    vi = 1 / n1 + 1 / n2 + yi**2 / (2 * total)
    raw = {"n1i": n1, "n2i": n2}
    v = covariance.shared_control("SMD", vi, study, raw, yi=yi, pooled_sd="all")
    fitted = multilevel.fit(yi, v, x=(trt[:, np.newaxis] == [1, 2]).astype(float))
    assert [round(b, 4) for b in fitted.beta] == [2.3743, 1.5702]
    close(fitted.covariance.ravel(), [0.02257, 0.01244, 0.01244, 0.03554], 0, 6e-6)
    assert round(fitted.qe, 4) == 3.9447


def test_gleser2009_multiple_endpoints():
    school = np.repeat(np.arange(7), 2).tolist()
    m1 = np.array([2.3, 2.5, 2.4, 1.3, 2.5, 2.4, 3.3, 1.7, 1.1, 2.0, 2.8, 2.1, 1.7, 0.6])
    m2 = np.array([10.3, 6.6, 9.7, 3.1, 8.7, 3.7, 7.5, 8.5, 2.2, 2.1, 3.8, 1.4, 1.8, 3.9])
    sd = np.array([8.2, 7.3, 8.3, 8.9, 8.5, 8.3, 7.7, 9.8, 9.1, 10.4, 9.6, 7.9, 9.2, 10.2])
    n1 = np.repeat([22.0, 21, 26, 18, 38, 42, 39], 2)
    n2 = np.repeat([24.0, 21, 23, 18, 36, 42, 38], 2)
    ri = dict(enumerate([0.55, 0.43, 0.57, 0.66, 0.51, 0.59, 0.49]))
    yi = np.round((m2 - m1) / sd, 3)
    vi = 1 / n1 + 1 / n2 + yi**2 / (2 * (n1 + n2))
    v = covariance.several_endpoints(yi, vi, school, n1, n2, ri)
    fitted = multilevel.fit(yi, v, x=np.tile(np.eye(2), (7, 1)))
    # printed 19.62 from covariances rounded to 4 places
    close(fitted.qe, 19.62, 0, 0.02)
    close(fitted.beta, [0.3617, 0.2051], 0, 2e-4)


# ---------------------------------------------------------------- formulas by simulation


def correlation_of(one, other):
    return np.corrcoef(one, other)[0, 1]


SHARED = {
    "MD": lambda m, sd, n: (m[0] - m[2], m[1] - m[2]),
    "ROM": lambda m, sd, n: (np.log(m[0] / m[2]), np.log(m[1] / m[2])),
}


@pytest.mark.parametrize("measure", ["MD", "ROM", "SMD"])
def test_shared_control_is_the_covariance_of_simulated_patients(measure):
    random = np.random.default_rng(5)
    n, mean, sd = (40, 25, 15), (14.0, 12.0, 8.0), 3.0
    arms = [random.normal(m, sd, (40_000, size)) for m, size in zip(mean, n, strict=True)]
    m = [arm.mean(axis=1) for arm in arms]
    s = [arm.std(axis=1, ddof=1) for arm in arms]
    if measure == "SMD":
        pooled = [
            np.sqrt(((n[i] - 1) * s[i] ** 2 + 14 * s[2] ** 2) / (n[i] + 13)) for i in (0, 1)
        ]
        sample = [(m[i] - m[2]) / pooled[i] for i in (0, 1)]
    else:
        sample = SHARED[measure](m, s, n)
    raw = {
        "n1i": np.array(n[:2]),
        "n2i": np.array([15, 15]),
        "m2i": np.array([8.0, 8.0]),
        "sd2i": np.array([sd, sd]),
    }
    yi = np.array([2.0, 4 / 3])
    v = dense(covariance.shared_control(measure, [9.0, 9.0], "aa", raw, yi=yi))
    # 40,000 draws: a standard error of some 1%, and the delta method's own error
    close(np.cov(*sample)[0, 1], v[0, 1], 0.08 if measure == "SMD" else 0.04)


def test_patient_overlap_is_the_correlation_of_simulated_means():
    random = np.random.default_rng(6)
    patients = random.normal(size=(20_000, 50))
    one, other = patients[:, :30].mean(axis=1), patients[:, 20:].mean(axis=1)
    v = dense(covariance.patient_overlap([1 / 30, 1 / 30], [30, 30], {(0, 1): 10}))
    close(v[0, 1] * 30, 1 / 3, 1e-13)
    assert abs(correlation_of(one, other) - 1 / 3) < 4 / math.sqrt(20_000)


def test_overlap_by_group_is_that_of_lin_and_sullivan():
    n1, n2 = np.array([100.0, 80.0]), np.array([50.0, 120.0])
    v = dense(covariance.patient_overlap_by_group([0.2, 0.3], n1, n2, {(1, 0): (40, 30)}))
    printed = 40 * math.sqrt(50 * 120 / (100 * 80)) + 30 * math.sqrt(100 * 80 / (50 * 120))
    close(v[0, 1] / math.sqrt(0.2 * 0.3), printed / math.sqrt(150 * 200), 1e-13)
    # all patients in both: one effect twice
    same = covariance.patient_overlap_by_group([0.2] * 2, [9, 9], [7, 7], {(0, 1): (9, 7)})
    assert "a copy of another" in covariance.problems(same)[0]


def test_overlap_needs_patients_and_pairs_that_are_there():
    for shared in (
        {(0, 1): 31},
        {(0, 2): 1},
        {(0, 0): 1},
        {(0, 1): 1, (1, 0): 2},
        {(0, 1): -1},
    ):
        with pytest.raises(ValueError, match=r"shared by|no pair|given twice"):
            covariance.patient_overlap([1.0, 1.0], [30, 40], shared)


def test_a_group_on_the_other_side_gives_a_negative_covariance():
    _, (r,) = covariance.shared_group_correlation("aa", "ab", "bc", [10, 10], [10, 10])
    close(r, [[1, -0.5], [-0.5, 1]], 1e-14)


# ---------------------------------------------------------------- blocks


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_blocks_hold_what_the_matrix_holds(seed):
    random = np.random.default_rng(seed)
    k = int(random.integers(1, 12))
    labels = random.integers(0, 4, k).tolist()
    vi = 10.0 ** random.uniform(-6, 6, k)
    v = covariance.constant_correlation(vi, labels, 0.4)
    whole = dense(v)
    close(np.diagonal(whole), vi, 0)
    close(covariance.variances(v), vi, 0)
    again = covariance.from_dense(whole)
    assert sorted(map(len, again.rows)) == sorted(map(len, v.rows))
    close(dense(again), whole, 0)
    merged = covariance.merged(v, [np.arange(k)])
    assert len(merged.rows) == 1
    close(dense(merged), whole, 0)


def test_a_chain_of_links_is_one_component():
    links = [np.array([0, 1]), np.array([3, 4]), np.array([1, 3])]
    assert [rows.tolist() for rows in covariance.components(6, links)] == [
        [0, 1, 3, 4],
        [2],
        [5],
    ]


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1, 0.5], [0.4, 1]], "symmetric"),
        ([[1, 0.5, 0]], "square"),
        ([[1, math.nan], [math.nan, 1]], "finite"),
        ([[0, 0], [0, 1]], "positive"),
    ],
)
def test_matrices_that_are_no_covariances_are_refused(matrix, words):
    with pytest.raises(ValueError, match=words):
        covariance.from_dense(np.array(matrix, dtype=float))


def test_what_is_not_positive_definite_is_explained_and_left_alone():
    low = covariance.constant_correlation([0.1] * 3, "aaa", -0.6)
    (said,) = covariance.problems(low, ["one", "two", "three"])
    assert "one, two, three" in said
    assert "the lowest possible is -0.5" in said
    wrong = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert "implies a correlation of 2" in covariance.problems(covariance.from_dense(wrong))[0]
    torn = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    v = covariance.from_dense(torn)
    assert "contradict each other" in covariance.problems(v)[0]
    close(dense(v), torn, 0)
    assert covariance.problems(diagonal([1e-12, 1e12])) == ()


def test_the_nearest_matrix_comes_on_request_only_and_is_named():
    torn = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    repaired, notes = covariance.nearest(covariance.from_dense(4 * torn))
    assert covariance.problems(repaired) == ()
    assert "replaced, as asked for" in notes[0]
    # by symmetry the nearest correlations are +-1/2, those of three vectors at 60 degrees
    close(dense(repaired), 4 * (np.sign(torn) / 2 + np.eye(3) / 2), 1e-5)
    fine = covariance.constant_correlation([0.1, 0.2], "aa", 0.5)
    assert covariance.nearest(fine)[1] == ()
    close(dense(covariance.nearest(fine)[0]), dense(fine), 0)


def test_a_grid_has_one_covariance_per_correlation():
    grid = covariance.correlation_grid([0.1, 0.4], "aa")
    assert tuple(grid) == covariance.GRID
    for rho, v in grid.items():
        close(dense(v)[0, 1], rho * 0.2, 1e-15)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="rho must lie"):
        covariance.constant_correlation([1.0], "a", 1.1)
    with pytest.raises(ValueError, match="shared control group"):
        covariance.shared_control("HR", [1.0], "a", {})
    with pytest.raises(ValueError, match="no correlation is given"):
        covariance.correlation_by_type([1.0, 1.0], "aa", "xy", {})
    v = covariance.constant_correlation([1.0, 1.0], "aa", 0.2)
    with pytest.raises(ValueError, match="different clusters are correlated"):
        covariance.aggregate([1.0, 1.0], v, "ab")
