"""How often the default intervals hold the truth, by simulation; see docs/coverage.md.

python benchmarks/simulate_coverage.py [REPLICATES]

Writes coverage.csv beside this script, the plots and the tables of docs/coverage.md.
"""

import csv
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import expit, logit, ndtr

from evisynth.inference import normal_quantile
from evisynth.models.batch import fit_many, headlines, t_quantiles

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
CSV = HERE / "coverage.csv"

SEED = 20261120
REPLICATES = 100_000
LEVEL = 0.95
K = (3, 5, 10, 30)
I2 = (0, 25, 50, 75, 90)
# Common log odds ratio, or difference in standard deviations.
EFFECT = {"MD": 0.3, "OR 30%": float(np.log(0.7)), "OR 5%": float(np.log(0.7))}
RISK = {"OR 30%": 0.3, "OR 5%": 0.05}
OUTCOMES = {
    "MD": "Mean difference",
    "OR 30%": "Odds ratio, risk 30%",
    "OR 5%": "Odds ratio, risk 5%",
}
# Patients per group.
USUAL, LARGE = 50, 500
RANGE = (15, 500)
SIZES = {
    "equal": "equal sizes",
    "one large": "one study ten times as large",
    "mixed": "sizes from 15 to 500",
}
METHODS = {
    "default": "evisynth",
    "HK": "Knapp-Hartung without floor",
    "Wald": "metafor's default (Wald)",
    "PI HK": "prediction: evisynth (HK)",
    "PI HTS": "prediction: HTS",
}
MEAN, PREDICTION = ("default", "HK", "Wald"), ("PI HK", "PI HTS")


@dataclass(frozen=True)
class Cell:
    """One setting of the simulation."""

    outcome: str
    sizes: str
    k: int
    i2: int


Random = np.random.Generator
Arrays = tuple[np.ndarray, np.ndarray]


def cells() -> list[Cell]:
    """All settings."""
    return [Cell(*values) for values in product(OUTCOMES, SIZES, K, I2)]


def group_sizes(cell: Cell, n: int, random: Random) -> np.ndarray:
    """Patients per group, (n, k)."""
    if cell.sizes == "mixed":
        low, high = np.log(RANGE)
        return np.rint(np.exp(random.uniform(low, high, (n, cell.k)))).astype(int)
    sizes = np.full((n, cell.k), USUAL)
    if cell.sizes == "one large":
        sizes[:, 0] = LARGE
    return sizes


def unit_variance(outcome: str) -> float:
    """Sampling variance of an effect, at the common effect, for one patient per group."""
    if outcome == "MD":
        return 2.0
    odds = logit(RISK[outcome]) + np.array([0.0, EFFECT[outcome]])
    risks = expit(odds)
    return float((1 / (risks * (1 - risks))).sum())


def tau2_of(cell: Cell) -> float:
    """Tau2 that makes I2 what it should be, with the mean typical variance of 10,000 draws.

    Higgins & Thompson (2002): tau2 / (tau2 + typical variance).
    """
    wi = group_sizes(cell, 10_000, np.random.default_rng(SEED)) / unit_variance(cell.outcome)
    w1, w2 = wi.sum(axis=1), (wi**2).sum(axis=1)
    typical = float(((cell.k - 1) * w1 / (w1**2 - w2)).mean())
    share = cell.i2 / 100
    return typical * share / (1 - share)


def trials(cell: Cell, tau2: float, n: int, random: Random) -> Arrays:
    """Effects and estimated variances of `n` meta-analyses, (n, k), as trials give them."""
    sizes = group_sizes(cell, n, random)
    effects = random.normal(EFFECT[cell.outcome], np.sqrt(tau2), sizes.shape)
    if cell.outcome == "MD":
        yi = random.normal(effects, np.sqrt(2 / sizes))
        # Both groups have the standard deviation 1 and estimate their own.
        squares = random.chisquare(sizes - 1) + random.chisquare(sizes - 1)
        return yi, squares / ((sizes - 1) * sizes)
    risk = RISK[cell.outcome]
    ai = random.binomial(sizes, expit(logit(risk) + effects)).astype(float)
    ci = random.binomial(sizes, risk, sizes.shape).astype(float)
    bi, di = sizes - ai, sizes - ci
    add = 0.5 * ((ai == 0) | (bi == 0) | (ci == 0) | (di == 0))
    ai, bi, ci, di = ai + add, bi + add, ci + add, di + add
    return np.log(ai * di / (bi * ci)), 1 / ai + 1 / bi + 1 / ci + 1 / di


def intervals(yi: np.ndarray, vi: np.ndarray) -> tuple[dict[str, Arrays], np.ndarray, float]:
    """Intervals by every method, estimates, and how many are floored."""
    n, k = yi.shape
    fits = fit_many(yi.ravel(), vi.ravel(), np.full(n, k))
    ours = headlines(fits, level=LEVEL)
    plain = t_quantiles(fits.k - 1, LEVEL) * np.sqrt(fits.s2w) * fits.se
    wald = normal_quantile(LEVEL) * fits.se
    hts = t_quantiles(fits.k - 2, LEVEL) * np.sqrt(fits.se**2 + fits.tau2)
    found = {
        "default": (ours.low, ours.high),
        "HK": (fits.estimate - plain, fits.estimate + plain),
        "Wald": (fits.estimate - wald, fits.estimate + wald),
        "PI HK": (ours.pi_low, ours.pi_high),
        "PI HTS": (fits.estimate - hts, fits.estimate + hts),
    }
    return found, fits.estimate, float(ours.floored.mean())


def held(method: str, low: np.ndarray, high: np.ndarray, truth: float, tau2: float) -> Arrays:
    """Share of what each interval should hold that it holds: the mean, or new effects."""
    if method in PREDICTION and tau2 > 0:
        tau = np.sqrt(tau2)
        return ndtr((high - truth) / tau) - ndtr((low - truth) / tau)
    return ((low <= truth) & (truth <= high)).astype(float)


def simulate(job: tuple[int, Cell, int]) -> list[dict[str, object]]:
    """Rows of the table for one setting."""
    place, cell, n = job
    random = np.random.default_rng([SEED, place])
    tau2, truth = tau2_of(cell), EFFECT[cell.outcome]
    found, estimates, floored = intervals(*trials(cell, tau2, n, random))
    rows = []
    for method, (low, high) in found.items():
        inside = held(method, low, high, truth, tau2)
        rows.append(
            {
                "outcome": cell.outcome,
                "sizes": cell.sizes,
                "k": cell.k,
                "i2": cell.i2,
                "tau2": f"{tau2:.4g}",
                "replicates": n,
                "method": method,
                "coverage": f"{100 * inside.mean():.2f}",
                "error": f"{100 * inside.std() / np.sqrt(n):.2f}",
                "width": f"{(high - low).mean():.4g}",
                "bias": f"{(estimates - truth).mean():.3g}",
                "floored": f"{100 * floored:.1f}",
            }
        )
    return rows


def run(n: int) -> list[dict[str, str]]:
    """Simulate every setting with `n` replicates and write the table."""
    jobs = [(place, cell, n) for place, cell in enumerate(cells())]
    with ProcessPoolExecutor() as pool:
        rows = [row for part in pool.map(simulate, jobs) for row in part]
    with CSV.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return read()


def read() -> list[dict[str, str]]:
    """The rows of the last run."""
    with CSV.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


Values = dict[tuple[Cell, str], float]
# Style of each line, legible in grey.
STYLE = {
    "default": {"color": "black", "linestyle": "-", "marker": "o"},
    "HK": {"color": "0.35", "linestyle": "--", "marker": "s", "markerfacecolor": "white"},
    "Wald": {"color": "0.55", "linestyle": ":", "marker": "^"},
    "PI HK": {"color": "black", "linestyle": "-", "marker": "o"},
    "PI HTS": {"color": "0.35", "linestyle": "--", "marker": "s", "markerfacecolor": "white"},
}
LOW = LEVEL - 0.01


def column(rows: list[dict[str, str]], name: str) -> Values:
    """A column of the table by setting and method."""
    return {
        (
            Cell(row["outcome"], row["sizes"], int(row["k"]), int(row["i2"])),
            row["method"],
        ): float(row[name])
        for row in rows
    }


def plot(coverage: Values, methods: tuple[str, ...], path: Path) -> None:
    """Small multiples: outcome and sizes down, k across, I2 along the axis."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib import pyplot as plt

    mpl.use("svg")
    sns.set_theme(context="paper", style="ticks")
    mpl.rcParams |= {"svg.hashsalt": "coverage", "svg.fonttype": "none"}
    lines = list(product(OUTCOMES, SIZES))
    figure, axes = plt.subplots(len(lines), len(K), sharex=True, sharey="row", figsize=(8, 15))
    for (outcome, sizes), row in zip(lines, axes, strict=True):
        for k, axis in zip(K, row, strict=True):
            axis.axhline(100 * LEVEL, color="0.7", linewidth=0.8, zorder=0)
            for method in methods:
                values = [coverage[Cell(outcome, sizes, k, i2), method] for i2 in I2]
                axis.plot(I2, values, label=METHODS[method], markersize=4, **STYLE[method])
            axis.set_xticks(I2)
        row[0].set_ylabel(f"{OUTCOMES[outcome]},\n{sizes}\n%")
    for k, axis in zip(K, axes[0], strict=True):
        axis.set_title(f"k = {k}")
    for axis in axes[-1]:
        axis.set_xlabel("I² (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper center", ncols=3)
    sns.despine(figure)
    figure.tight_layout(rect=(0, 0, 1, 0.975))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


Entry = Callable[[Cell], str]


def table(entry: Entry) -> str:
    """Settings down, I2 across."""
    head = ["outcome", "sizes", "k", *(f"I² {i2}" for i2 in I2)]
    lines = [head, ["---"] * 3 + ["---:"] * len(I2)]
    for outcome, sizes, k in product(OUTCOMES, SIZES, K):
        entries = [entry(Cell(outcome, sizes, k, i2)) for i2 in I2]
        lines.append([OUTCOMES[outcome], SIZES[sizes], str(k), *entries])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def lowest(coverage: Values) -> str:
    """The worst setting of each outcome and method."""
    lines = [["outcome", *METHODS.values()], ["---"] * (1 + len(METHODS))]
    for outcome, name in OUTCOMES.items():
        entries = []
        for method in METHODS:
            settings = (cell for cell in cells() if cell.outcome == outcome)
            value, cell = min(
                ((coverage[cell, method], cell) for cell in settings), key=lambda pair: pair[0]
            )
            entries.append(f"{value:.1f} (k = {cell.k}, I² {cell.i2}, {SIZES[cell.sizes]})")
        lines.append([name, *entries])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(rows: list[dict[str, str]]) -> str:
    """What docs/coverage.md shows of the results."""
    coverage, width, error = (column(rows, name) for name in ("coverage", "width", "error"))

    def several(methods: tuple[str, ...]) -> Entry:
        def entry(cell: Cell) -> str:
            first, *others = (coverage[cell, method] for method in methods)
            text = f"**{first:.1f}**" if first < 100 * LOW else f"{first:.1f}"
            return " / ".join([text, *(f"{other:.1f}" for other in others)])

        return entry

    def ratios(cell: Cell) -> str:
        wald = width[cell, "Wald"]
        return " / ".join(f"{width[cell, method] / wald:.2f}" for method in ("default", "HK"))

    def names(methods: tuple[str, ...]) -> str:
        return " / ".join(METHODS[method] for method in methods)

    return f"""## Lowest coverage

Over all k, I² and sizes, %:

{lowest(coverage)}

## Coverage of the mean, %

{names(MEAN)}. Bold: the default is below {100 * LOW:g} %.

{table(several(MEAN))}

## Mean width of the interval, as a multiple of Wald's

{names(MEAN[:2])}.

{table(ratios)}

## Coverage of the effect of a new study, %

Prediction intervals, {names(PREDICTION)}. Bold: the default is below {100 * LOW:g} %.

{table(several(PREDICTION))}

{rows[0]["replicates"]} replicates per setting; Monte Carlo standard error at most
{max(error.values()):.2f} percentage points.
"""


def publish(rows: list[dict[str, str]]) -> None:
    """Plots and tables in the documentation."""
    coverage = column(rows, "coverage")
    plot(coverage, MEAN, DOCS / "images" / "coverage.svg")
    plot(coverage, PREDICTION, DOCS / "images" / "coverage_prediction.svg")
    page = DOCS / "coverage.md"
    text = page.read_text(encoding="utf-8")
    kept = text[: text.index(MARK) + len(MARK)]
    page.write_text(f"{kept}\n\n{tables(rows)}", encoding="utf-8")


MARK = "<!-- from here on written by benchmarks/simulate_coverage.py -->"


if __name__ == "__main__":
    publish(run(int(sys.argv[1]) if len(sys.argv) > 1 else REPLICATES))
