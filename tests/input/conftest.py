"""A small review that is right, for tests that make one thing of it wrong."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from evisynth.errors import InputError, Problem
from evisynth.project import Project, load_project
from evisynth.rows import RawRow

CONFIG = """\
review: {title: Test, question: Does it work}
evidence: {studies: studies, outcomes: outcomes.yaml}
analyses:
  response:
    title: Response to the new treatment
    outcome: orr
    arms: {treatment: new}
    measure: PLO
  compared:
    title: New against old
    outcome: orr
    contrast: {numerator: {treatment: new}, denominator: {treatment: old}}
    measure: RR
  hazard:
    title: Deaths, exposed against not
    outcome: death
    contrast: {numerator: Exposed, denominator: Not exposed}
    measure: HR
  tabled:
    title: From a table
    table: table.csv
    columns: {study: study, yi: yi, vi: vi}
    measure: GEN
"""

OUTCOMES = """\
outcomes:
  orr: {label: Response, definition: Any response, higher_is: good}
  death: {label: Death, definition: Death from any cause, higher_is: bad}
"""

ALPHA = """\
study: alpha
label: Alpha 2020
design: rct
reports: [{id: a1, kind: journal_article}]
arms:
  - {id: N, n: 20, treatment: new}
  - {id: O, n: 18, treatment: old}
results:
  - outcome: orr
    arms: {N: {events: 8, n: 20, printed: "40%"}, O: {events: 3, n: 18}}
    report: a1
    quote: 8 of 20 (40%) and 3 of 18 responded
  - outcome: death
    kind: hazard_ratio
    contrast: {numerator: exposed, denominator: not  exposed}
    estimate: "2.0"
    ci: ["1.0", "4.0"]
    report: a1
    quote: the hazard ratio was 2.0 (1.0 to 4.0)
"""

BETA = """\
study: beta
design: single_arm
reports: [{id: b1, kind: journal_article}]
arms:
  - {id: all, n: 30, treatment: new}
results:
  - outcome: orr
    arms: {all: {events: 9, n: 30}}
    report: b1
    quote: 9 of 30 responded
"""

GAMMA = """\
study: gamma
design: rct
reports: [{id: g1, kind: journal_article}]
arms:
  - {id: N, n: 25, treatment: new}
  - {id: O, n: 24, treatment: old}
results:
  - outcome: orr
    arms: {N: {events: 12, n: 25}, O: {events: 6, n: 24}}
    report: g1
    quote: 12 of 25 and 6 of 24 responded
"""

TABLE = """\
study,yi,vi,setting
one,0.5,0.04,hospital
two,0.3,0.09,hospital
three,-0.1,0.01,home
"""


@dataclass
class Review:
    """A folder with a configuration, outcomes, three studies and a table."""

    folder: Path

    def write(self, name: str, content: str | bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def read(self, name: str) -> str:
        return (self.folder / name).read_bytes().decode()

    def change(self, name: str, old: str, new: str) -> None:
        """Put `new` in place of `old`, which must be there; of `$`, at the end of the file."""
        text = self.read(name)
        if old == "$":
            self.write(name, text + new)
            return
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        self.write(name, text.replace(old, new))

    def keep(self, *analyses: str) -> None:
        """Leave only these analyses in the configuration."""
        head, _, tail = self.read("config.yaml").partition("analyses:\n")
        parts = ["  " + part for part in f"\n{tail}".split("\n  ")[1:]]
        blocks: dict[str, list[str]] = {}
        name = ""
        for part in parts:
            if not part.startswith("    "):
                name = part.strip().removesuffix(":")
            blocks.setdefault(name, []).append(part.rstrip("\n"))
        kept = "\n".join(line for name in analyses for line in blocks[name])
        self.write("config.yaml", f"{head}analyses:\n{kept}\n")

    def load(self) -> Project:
        return load_project(self.folder / "config.yaml")

    def rows(self, analysis: str) -> tuple[RawRow, ...]:
        return self.load().rows[analysis]

    def problems(self) -> list[Problem]:
        """Problems of the review; file names relative to it."""
        with pytest.raises(InputError) as caught:
            self.load()
        text = str(caught.value)
        assert text.replace("\n", "").isprintable()
        for problem in caught.value.problems:
            for part in (problem.place, problem.found, problem.expected, problem.action):
                assert part.isprintable()
                assert part.strip()
        return list(caught.value.problems)


@pytest.fixture
def review(tmp_path: Path) -> Review:
    made = Review(tmp_path)
    for name, content in {
        "config.yaml": CONFIG,
        "outcomes.yaml": OUTCOMES,
        "studies/alpha.yaml": ALPHA,
        "studies/beta.yaml": BETA,
        "studies/gamma.yaml": GAMMA,
        "table.csv": TABLE,
    }.items():
        made.write(name, content)
    return made
