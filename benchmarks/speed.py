"""How fast the statistics are, beside PyMARE and metafor in the same run.

python benchmarks/speed.py [DATA_SETS]
"""

import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from evisynth.inference import quantile
from evisynth.measures import compute_effects
from evisynth.models.batch import fit_many
from evisynth.pooling import pool
from evisynth.records import RawRow
from evisynth.specification import ModelSpec

REPEATS = 5
K = 13
METAFOR = """
library(metafor)
d <- read.csv(commandArgs(TRUE)[1]); n <- ncol(d) / 2
t <- proc.time()[3]
for (j in 1:n) rma(d[[2*j-1]], d[[2*j]], test="knha", control=list(maxiter=1000))
cat((proc.time()[3] - t) / n)
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


def by_metafor(yi: np.ndarray, vi: np.ndarray) -> float:
    """Seconds per data set of metafor's rma."""
    columns = np.empty((yi.shape[1], 2 * len(yi)))
    columns[:, ::2], columns[:, 1::2] = yi.T, vi.T
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "data.csv"
        header = ",".join(f"c{i}" for i in range(columns.shape[1]))
        np.savetxt(table, columns, delimiter=",", header=header, comments="")
        run = subprocess.run(
            ["Rscript", "-e", METAFOR, str(table)], capture_output=True, text=True, check=True
        )
    return float(run.stdout)


def many(n: int) -> None:
    """REML with Knapp-Hartung for `n` data sets."""
    yi, vi = data(n, K)
    ours = median_seconds(lambda: knapp_hartung(yi, vi)) / n
    print(f"REML + Knapp-Hartung, {n} data sets of k = {K}, microseconds per data set")
    print(f"  evisynth {1e6 * ours:.2f}")
    warnings.simplefilter("ignore")
    theirs = median_seconds(lambda: by_pymare(yi, vi)) / n
    difference = np.abs(knapp_hartung(yi, vi) - by_pymare(yi, vi)).max()
    print(f"  PyMARE   {1e6 * theirs:.2f}, {theirs / ours:.1f} times as long")
    print(f"           largest difference of an estimate or interval {difference:.1e}")
    if shutil.which("Rscript"):
        few = by_metafor(yi[:1000], vi[:1000])
        print(f"  metafor  {1e6 * few:.0f}, {few / ours:.0f} times as long (1,000 data sets)")


def analysis(k: int) -> float:
    """Seconds of one analysis: effect sizes, all default models, heterogeneity."""
    random = np.random.default_rng(k)
    n1i, n2i = random.integers(20, 400, (2, k))
    ai, ci = random.binomial(n1i, 0.2), random.binomial(n2i, 0.3)
    rows = [
        RawRow(
            str(i), str(i), dict(zip(("ai", "n1i", "ci", "n2i"), map(float, row), strict=True))
        )
        for i, row in enumerate(zip(ai, n1i, ci, n2i, strict=True))
    ]

    def run() -> None:
        effects = compute_effects("RR", rows, level=0.95)
        pool(effects, ModelSpec(), intervals=("QP",))

    return median_seconds(run)


def main() -> None:
    """Print everything."""
    for k in (5, 50, 500, 5000):
        print(f"one analysis, k = {k}: {1e3 * analysis(k):.1f} ms")
    many(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)


if __name__ == "__main__":
    main()
