"""How fast the statistics are, beside PyMARE and metafor in the same run.

python benchmarks/speed.py [DATA_SETS]
"""

import math
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from scipy.special import expit, logit

from evisynth.inference import quantile
from evisynth.measures import compute_effects
from evisynth.models.batch import fit_many
from evisynth.pooling import pool
from evisynth.records import RawRow
from evisynth.specification import ModelSpec
from evisynth.tau2 import estimate

REPEATS = 5
K = 13
# Data sets for what takes one at a time.
FEW = 1000
METAFOR = """
suppressPackageStartupMessages(library(metafor))
d <- read.csv(commandArgs(TRUE)[1]); n <- ncol(d) / 2
one <- function(j) tryCatch({
  f <- rma(d[[2*j-1]], d[[2*j]], test="knha"); c(f$beta, f$ci.lb, f$ci.ub)
}, error=function(e) rep(NA, 3))
t <- proc.time()[3]
fits <- sapply(1:n, one)
cat(proc.time()[3] - t, "\\n")
cat(format(fits, digits=17), "\\n")
"""


def median_seconds(job: Callable[[], object]) -> float:
    """Median time of `REPEATS` runs after one that is not counted."""
    job()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return median(times)


def peak(job: Callable[[], object]) -> float:
    """Most megabytes that Python and numpy hold at once because of `job`."""
    tracemalloc.start()
    job()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def data(n: int, k: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Effects and variances of n data sets of k studies, both (n, k)."""
    random = np.random.default_rng(seed)
    vi = random.uniform(0.005, 0.5, (n, k))
    return random.normal(0.2, np.sqrt(vi + 0.1)), vi


def knapp_hartung(yi: np.ndarray, vi: np.ndarray) -> np.ndarray:
    """Our REML estimates with Knapp-Hartung intervals, (n, 3)."""
    n, k = yi.shape
    fits = fit_many(yi.ravel(), vi.ravel(), np.full(n, k))
    half = quantile(0.95, k - 1.0) * np.sqrt(fits.s2w) * fits.se
    return np.stack([fits.estimate, fits.estimate - half, fits.estimate + half], axis=1)


def one_by_one(yi: np.ndarray, vi: np.ndarray) -> np.ndarray:
    """The same by the estimator of single analyses, in correctly rounded sums."""
    rows = []
    for y, v in zip(yi, vi, strict=True):
        wi = 1 / (v + estimate("REML", y, v).value)
        whole = math.fsum(wi)
        mean = math.fsum(wi * y) / whole
        square = math.fsum(wi * (y - mean) ** 2) / (y.size - 1) / whole
        half = quantile(0.95, y.size - 1.0) * math.sqrt(square)
        rows.append([mean, mean - half, mean + half])
    return np.array(rows)


def by_pymare(yi: np.ndarray, vi: np.ndarray) -> np.ndarray:
    """The same by PyMARE's estimator for many data sets of one size."""
    from pymare.estimators import VarianceBasedLikelihoodEstimator

    estimator = VarianceBasedLikelihoodEstimator(
        method="reml", small_sample_correction="knapp-hartung"
    )
    stats = (
        estimator.fit(yi.T.copy(), vi.T.copy(), np.ones((yi.shape[1], 1)))
        .summary()
        .get_fe_stats(0.05)
    )
    return np.stack([np.ravel(stats[name]) for name in ("est", "ci_l", "ci_u")], axis=1)


def by_metafor(yi: np.ndarray, vi: np.ndarray) -> tuple[float, np.ndarray]:
    """Seconds per data set of metafor's rma, and its results: nan where it gives none."""
    columns = np.empty((yi.shape[1], 2 * len(yi)))
    columns[:, ::2], columns[:, 1::2] = yi.T, vi.T
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "data.csv"
        header = ",".join(f"c{i}" for i in range(columns.shape[1]))
        np.savetxt(table, columns, fmt="%.17g", delimiter=",", header=header, comments="")
        run = subprocess.run(
            ["Rscript", "-e", METAFOR, str(table)], capture_output=True, text=True, check=True
        )
    seconds, fits = run.stdout.splitlines()[:2]
    values = [math.nan if text == "NA" else float(text) for text in fits.split()]
    return float(seconds) / len(yi), np.array(values).reshape(-1, 3)


def many(n: int) -> None:
    """REML with Knapp-Hartung for `n` data sets."""
    yi, vi = data(n, K)
    some = yi[:FEW], vi[:FEW]
    exact = one_by_one(*some)
    ours = median_seconds(lambda: knapp_hartung(yi, vi)) / n
    print(f"REML + Knapp-Hartung, {n} data sets of k = {K}: microseconds per data set,")
    print(f"largest error of an estimate or end of an interval in {FEW} of them")
    error = np.abs(knapp_hartung(*some) - exact).max()
    memory = peak(lambda: knapp_hartung(yi, vi))
    print(f"  evisynth {1e6 * ours:.2f}, error {error:.0e}, memory {memory:.0f} MB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = median_seconds(lambda: by_pymare(yi, vi)) / n
        error = np.abs(by_pymare(*some) - exact).max()
        memory = peak(lambda: by_pymare(yi, vi))
    print(
        f"  PyMARE   {1e6 * theirs:.2f}, error {error:.0e}, memory {memory:.0f} MB, "
        f"{theirs / ours:.1f} times as long"
    )
    if shutil.which("Rscript"):
        seconds, found = by_metafor(*some)
        failed = int(np.isnan(found[:, 0]).sum())
        error = np.nanmax(np.abs(found - exact))
        print(
            f"  metafor  {1e6 * seconds:.0f}, error {error:.0e}, without result for {failed} "
            f"of {FEW}, {seconds / ours:.0f} times as long"
        )


def counts(k: int) -> list[RawRow]:
    """Rows of k trials with two groups, a risk of 30 % and a tau2 of 0.1."""
    random = np.random.default_rng(k)
    n1i, n2i = random.integers(20, 400, (2, k))
    ai = random.binomial(n1i, expit(logit(0.3) + random.normal(-0.3, math.sqrt(0.1), k)))
    ci = random.binomial(n2i, 0.3)
    columns = np.array([ai, n1i, ci, n2i], dtype=float).T.tolist()
    return [
        RawRow(str(i), str(i), dict(zip(("ai", "n1i", "ci", "n2i"), row, strict=True)))
        for i, row in enumerate(columns)
    ]


def means(k: int) -> list[RawRow]:
    """Rows of k trials with means and standard deviations of two groups."""
    random = np.random.default_rng(k)
    n = random.integers(20, 400, (2, k)).astype(float)
    mean = random.normal(0, np.sqrt(1 / n) + 0.2)
    sd = np.sqrt(random.chisquare(n - 1) / (n - 1))
    names = ("n1i", "n2i", "m1i", "m2i", "sd1i", "sd2i")
    columns = np.concatenate([n, mean, sd]).T.tolist()
    return [
        RawRow(str(i), str(i), dict(zip(names, row, strict=True)))
        for i, row in enumerate(columns)
    ]


def analysis(measure: str, rows: list[RawRow], **options: str) -> Callable[[], object]:
    """One analysis: effect sizes, all default models, heterogeneity."""

    def run() -> object:
        effects = compute_effects(measure, rows, level=0.95)
        return pool(effects, ModelSpec(**options), intervals=("QP",))

    return run


def main() -> None:
    """Print everything."""
    print("one analysis, milliseconds")
    for k in (3, 5, 50, 500, 5000):
        for measure, rows in (("OR", counts(k)), ("SMD", means(k))):
            job = analysis(measure, rows)
            print(
                f"  {measure}, k = {k}: {1e3 * median_seconds(job):.1f}, "
                f"memory {peak(job):.1f} MB"
            )
    many(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)


if __name__ == "__main__":
    main()
