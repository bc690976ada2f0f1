"""How long the audit of many study files takes, beside PyYAML reading the same files.

Usage, with the environment active:

    python benchmarks/audit.py [STUDIES] [RESULTS] [SEED]

Writes study files as reviewers write them (two or three arms, two reports, counts with
percentages, effects with intervals and p-values, means, medians, quotes), with one slip in
every hundred results, and times ``evisynth audit FOLDER``, the loading of a review of them, and
PyYAML's safe loader on the same files; each in processes of its own, the median of three. The
ratio is one of processor time, which a busy machine changes least. Judges nothing.
"""

import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import NormalDist

REPEATS = 3
SLIPS = 0.01
LOAD = "import sys; from pathlib import Path; from evisynth.project import load_project"
REVIEW = f"{LOAD}; load_project(Path(sys.argv[1]) / 'config.yaml')"
PEER = """
import sys, yaml
from pathlib import Path
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
"""
CONFIG = """\
review: {title: Synthetic, question: How long does it take?}
evidence: {studies: studies, outcomes: outcomes.yaml, sources: texts}
analyses:
  response:
    title: Response
    outcome: response
    contrast: {numerator: {treatment: tested}, denominator: {treatment: control}}
    measure: RR
    multi_arm: split
  hazard:
    title: Hazard
    outcome: hazard
    contrast: {numerator: tested, denominator: control}
    measure: HR
"""
# What a study prints, in this order until it has the number of results that is asked for.
OUTCOMES = {
    "response": "count",
    "hazard": "hazard_ratio",
    "age": "mean",
    "toxicity": "count",
    "survival": "km_probability",
    "odds": "odds_ratio",
    "followup": "median",
    "relapse": "count",
    "infection": "count",
    "sex": "count",
}
NORMAL = NormalDist()
WORDS = (
    "after a median of several cycles as assessed by the investigators in all randomised "
    "patients who had received at least one dose of the drugs of their group"
).split()


class Author:
    """Writes study files whose numbers fit together, but for a slip now and then."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def study(self, number: int, results: int) -> tuple[str, str]:
        """Text of a study file, and text of its first report with all its quotes."""
        n = {
            arm: self.random.randint(20, 400)
            for arm in ("tested", "control", "third")[: self.random.choice((2, 2, 3))]
        }
        year = self.random.randint(1990, 2025)
        written, quotes = [], []
        for i in range(results):
            outcome = list(OUTCOMES)[i % len(OUTCOMES)]
            lines, said = getattr(self, f"_{OUTCOMES[outcome]}")(outcome, n)
            quote = f"{outcome} number {i + 1}, {self._words()}: {said}, {self._words()}"
            quotes.append(quote)
            written += [
                f"  - id: {outcome}-{i + 1}",
                f"    outcome: {outcome}",
                f"    kind: {OUTCOMES[outcome]}",
                f"    when: {self._words()}",
                *lines,
                f"    report: first-{number}",
                f'    quote: "{quote}"',
            ]
            if i >= len(OUTCOMES):
                written += ["    use: no", "    why_not: an earlier time point"]
            if i == 0:
                written += [
                    "    also:",
                    f"      - {{report: second-{number}, quote: 'as published: {said}'}}",
                ]
        head = [
            f"study: study-{number:04}",
            f"label: Author {number} {year}",
            "design: rct",
            f"registry: [NCT{self.random.randrange(10**8):08}]",
            f"recruited: {{from: {year - 6}, to: {year - 2}, sites: {number % 40 + 1}}}",
            "population:",
            "  setting: relapsed_or_refractory",
            f"  patients: {sum(n.values())}",
            "reports:",
            f"  - {{id: first-{number}, kind: journal_article, year: {year}, primary: true,",
            f"     title: 'Trial {number} {self._words()}', doi: 10.1000/first.{number},",
            f"     seen: full_text, source: {number:04}.txt}}",
            f"  - {{id: second-{number}, kind: conference_abstract, year: {year - 1},",
            f"     title: 'Early results {number} {self._words()}'}}",
            "arms:",
            *(f"  - {{id: {arm}, n: {size}, treatment: {arm}}}" for arm, size in n.items()),
            "results:",
        ]
        report = f"Trial {number}. " + " ".join(f"{self._words()}. {q}." for q in quotes)
        return "\n".join([*head, *written, ""]), report + "\n"

    def _words(self) -> str:
        return " ".join(self.random.sample(WORDS, self.random.randint(4, 9)))

    def _count(self, outcome: str, n: dict[str, int]) -> tuple[list[str], str]:
        events = {arm: self.random.randint(1, size - 1) for arm, size in n.items()}
        percent = {arm: f"{100 * events[arm] / size:.1f}" for arm, size in n.items()}
        if self.random.random() < SLIPS:
            percent["control"] = f"{float(percent['control']) / 2 + 7:.1f}"
        lines = [
            "    arms:",
            *(
                f'      {arm}: {{events: {events[arm]}, n: {size}, printed: "{percent[arm]}%"}}'
                for arm, size in n.items()
            ),
        ]
        said = " and ".join(
            f"{events[arm]} of {size} ({percent[arm]}%)" for arm, size in n.items()
        )
        if len(n) > 2:
            return lines, said
        (a, c), (n1, n2) = events.values(), n.values()
        pooled = (a + c) / (n1 + n2)
        z = (a / n1 - c / n2) / math.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
        p = _p_value(z)
        return [*lines, f'    p: "{p}"'], f"{said}, p {p}"

    def _effect(self, outcome: str, largest: float) -> tuple[list[str], str]:
        log, se = self.random.gauss(-0.2, 0.4), self.random.uniform(0.1, largest)
        estimate, low, high = (f"{math.exp(log + z * se):.2f}" for z in (0, -1.96, 1.96))
        if self.random.random() < SLIPS:
            high = f"{float(high) * 1.6:.2f}"
        p = _p_value(log / se)
        return [
            "    contrast: {numerator: tested, denominator: control}",
            f"    model: {outcome}, stratified by site",
            f'    estimate: "{estimate}"',
            f'    ci: ["{low}", "{high}"]',
            f'    p: "{p}"',
        ], f"{estimate} (95% CI {low} to {high}), p {p}"

    def _hazard_ratio(self, outcome: str, n: dict[str, int]) -> tuple[list[str], str]:
        return self._effect(outcome, 0.35)

    def _odds_ratio(self, outcome: str, n: dict[str, int]) -> tuple[list[str], str]:
        return self._effect(outcome, 0.5)

    def _km_probability(self, outcome: str, n: dict[str, int]) -> tuple[list[str], str]:
        lines, said = ["    arms:"], []
        for arm, size in n.items():
            share = self.random.uniform(0.3, 0.7)
            half = 1.96 * math.sqrt(share * (1 - share) / size)
            value, low, high = (f"{100 * s:.1f}" for s in (share, share - half, share + half))
            fraction = f"{float(value) / 100:.3f}"
            lines.append(f'      {arm}: {{printed: "{value}%", estimate: "{fraction}"}}')
            said.append(f"{value}% ({low} to {high})")
        return lines, " and ".join(said)

    def _mean(self, outcome: str, n: dict[str, int]) -> tuple[list[str], str]:
        lines, said = ["    unit: years", "    arms:"], []
        for arm, size in n.items():
            mean, sd = f"{self.random.gauss(55, 4):.1f}", f"{self.random.uniform(6, 14):.1f}"
            lines.append(f'      {arm}: {{n: {size}, mean: "{mean}", sd: "{sd}"}}')
            said.append(f"{mean} (SD {sd}) years in {size}")
        return lines, " and ".join(said)

    def _median(self, outcome: str, n: dict[str, int]) -> tuple[list[str], str]:
        lines, said = ["    unit: months", "    arms:"], []
        for arm, size in n.items():
            middle = self.random.uniform(12, 40)
            low, value, high = (f"{middle * factor:.1f}" for factor in (0.6, 1, 1.7))
            lines.append(
                f'      {arm}: {{n: {size}, median: "{value}", iqr: ["{low}", "{high}"]}}'
            )
            said.append(f"{value} (IQR {low} to {high}) months in {size}")
        return lines, " and ".join(said)


def _p_value(z: float) -> str:
    p = 2 * NORMAL.cdf(-abs(z))
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def write_review(folder: Path, studies: int, results: int, seed: int) -> None:
    """A review of study files, outcomes, texts of reports and two analyses."""
    author = Author(seed)
    for name in ("studies", "texts"):
        (folder / name).mkdir()
    for number in range(1, studies + 1):
        study, report = author.study(number, results)
        (folder / "studies" / f"study-{number:04}.yaml").write_text(study, encoding="utf-8")
        (folder / "texts" / f"{number:04}.txt").write_text(report, encoding="utf-8")
    entries = "".join(
        f"  {name}: {{label: {name}, definition: {name}, higher_is: neither}}\n"
        for name in OUTCOMES
    )
    (folder / "outcomes.yaml").write_text(f"outcomes:\n{entries}", encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")


def seconds(command: list[str]) -> tuple[float, float]:
    """Median time of a command by the clock and of the processor, after one run not counted."""
    clock, processor = [], []
    for _ in range(REPEATS + 1):
        start, before = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        clock.append(time.perf_counter() - start)
        after = os.times()
        processor.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
        if done.returncode not in (0, 1):  # 1: the audit has found the slips
            raise RuntimeError(done.stderr)
    return statistics.median(clock[1:]), statistics.median(processor[1:])


def main() -> None:
    """Print seconds, microseconds per result, and the ratio to reading alone."""
    given = [int(word) for word in sys.argv[1:]]
    studies, results, seed = (*given, *(1000, 10, 1)[len(given) :])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_review(folder, studies, results, seed)
        files = str(folder / "studies")
        audit = [sys.executable, "-m", "evisynth", "audit", files]
        jobs = {
            "PyYAML (libyaml), reading alone": [sys.executable, "-c", PEER, files],
            "evisynth audit FOLDER": audit,
            "evisynth audit FOLDER --all --json": [*audit, "--all", "--json"],
            "load_project, with texts": [sys.executable, "-c", REVIEW, name],
        }
        times = {what: seconds(command) for what, command in jobs.items()}
    _, peer = next(iter(times.values()))
    print(f"{studies} studies with {results} results each, seed {seed}")
    print(f"{'':36} {'clock s':>8} {'processor s':>12} {'us/result':>10} {'x reading':>10}")
    for what, (clock, processor) in times.items():
        per_result = processor / studies / results * 1e6
        print(
            f"{what:36} {clock:8.2f} {processor:12.2f} {per_result:10.0f} "
            f"{processor / peer:10.1f}"
        )


if __name__ == "__main__":
    main()
