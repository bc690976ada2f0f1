"""Tau2, its standard error, I2, H2, log-likelihood, coefficients, intervals: as R's metafor."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from evisynth import linear
from evisynth.heterogeneity import (
    cochran_q,
    generalised_interval,
    i_squared,
    tau2_intervals,
    typical_vi,
)
from evisynth.tau2 import WEIGHTED, Tau2, estimate

FOLDER = Path(__file__).parents[1] / "reference" / "tau2"
# The matrix form of metafor's Q has lost these digits (its own note says so).
LOST = {"edge_cont_extreme": 1e-4}


def numbers(values):
    return np.array([math.nan if value in (None, "NaN") else float(value) for value in values])


def load():
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        data = {entry["id"]: entry["result"] for entry in document["analyses"]}
        for entry in document["analyses"]:
            if entry["kind"] == "rma.uni":
                yield path.stem, entry, data[entry["args"]["data"]]


CASES = list(load())


def sample(entry, source):
    yi, vi = numbers(source["yi"]), numbers(source["vi"])
    weights = entry["args"].get("weights")
    if kept := entry["args"].get("rows"):
        yi, vi = yi[np.array(kept) - 1], vi[np.array(kept) - 1]
    used = np.isfinite(yi) & np.isfinite(vi)
    if rows := entry["result"].get("rows_used"):
        used = np.array(rows) - 1
    design = entry["result"].get("design")
    x = None if design is None else np.array(design, dtype=float)
    return yi[used], vi[used], x, None if weights is None else numbers(weights)


def test_no_reference_is_lost():
    assert len(CASES) == 716
    assert {entry["args"]["method"] for _, entry, _ in CASES} == {
        *"EE DL HE HS HSk SJ ML REML EB PM PMM DLIT GENQ GENQM".split()
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}:{case[1]['id']}")
def test_agrees_with_metafor(case):
    name, entry, source = case
    method, expected = entry["args"]["method"], entry["result"]
    yi, vi, x, weights = sample(entry, source)
    level = entry["args"]["level"] / 100
    # Twelve digits are printed; metafor's iterations, and its designs that are not centred (the
    # year of publication), lose two more.
    closed = method in ("EE", "DL", "HE", "HS", "HSk", "SJ") and x is None
    rtol = max(LOST.get(name, 0.0), 1e-10 if closed else 1e-9)
    typical = typical_vi(vi, x)

    def close(ours, theirs, slack=0.0):
        assert math.isclose(ours, float(theirs), rel_tol=rtol, abs_tol=slack), (ours, theirs)

    assert yi.size == expected["k"]
    close(cochran_q(yi, vi, x), expected.get("QE_direct", expected["QE"]), 1e-10)
    close(typical, expected["vt"])
    found = Tau2(0.0)
    if method != "EE":
        found = estimate(method, yi, vi, x, weights=weights if method in WEIGHTED else None)
        # an iteration may stop on its way to the boundary
        close(found.value, expected["tau2"], 1e-11 * typical)
        close(i_squared(found.value, typical), expected["I2"], 1e-9)
        close(found.value / typical + 1, expected["H2"])
        if np.ptp(yi) == 0 and method == "SJ":
            # metafor gives 0 as the standard error of a variance
            assert math.isnan(found.se)
        else:
            close(found.se, expected["se_tau2"])
    data = linear.problem(yi, vi, x)
    for key, value in expected.get("ll", {}).items():
        ours = linear.log_likelihood(data, found.value, restricted=key == "REML")
        close(ours, value, 1e-9)
    if "b" in expected:
        coefficients = linear.coefficients(data, found.value)
        for ours, se, b, sd in zip(
            coefficients.b,
            coefficients.se,
            np.ravel(expected["b"]),
            np.ravel(expected["se"]),
            strict=True,
        ):
            close(se, sd)
            close(ours, b, 1e-9 * sd + LOST.get(name, 0.0))
    if interval := expected.get("tau2_ci"):
        ours = (
            generalised_interval(yi, vi, weights, x, level)
            if interval.get("type") == "GENQ"
            else tau2_intervals(yi, vi, x, level)[0]
        )
        assert ours.empty == interval.get("ci_null", False)
        if not ours.empty:
            close(ours.low, interval["tau2"]["lb"], 1e-10 * typical)
            close(ours.high, interval["tau2"]["ub"])
    if interval := expected.get("tau2_ci_pl"):
        (ours,) = tau2_intervals(yi, vi, x, level, [f"PL-{method}"])
        ends = interval.get("tau2", interval)
        close(ours.low, ends["lb"], 1e-10 * typical)
        close(ours.high, ends["ub"])
