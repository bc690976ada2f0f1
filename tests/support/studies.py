"""Study files from text, as the rules of the audit take them."""

from pathlib import Path

from evisynth.audit.material import AnalysisMaterial, Review, StudyMaterial
from evisynth.audit.registry import RULES
from evisynth.evidence import read_evidence
from evisynth.rows import RawRow

OUTCOMES = """\
outcomes:
  orr: {label: Response, definition: any response, higher_is: good}
  age: {label: Age, definition: age, higher_is: neither}
  death: {label: Death, definition: hazard of death, higher_is: bad}
  pfs: {label: Progression-free time, definition: median time, higher_is: good}
  orr_association: {label: Association with response, definition: p, higher_is: good}
  characteristic: {label: Characteristic, definition: what they were like, higher_is: neither}
"""

HEAD = """\
study: {name}
design: {design}
reports:
{reports}
arms:
  - {{id: new, n: 20, treatment: new}}
  - {{id: old, n: 18, treatment: old}}
  - {{id: both, n: 38, treatment: any, made_of: [new, old]}}
"""

REPORT = "  - {id: r, kind: journal_article, seen: full_text}\n"


def study(name, results="", *, reports=REPORT, design="rct", more=""):
    """Text of a study file with two arms of 20 and 18."""
    text = HEAD.format(name=name, design=design, reports=reports.rstrip("\n"))
    return text + (f"results:\n{results}" if results else "") + more


def review(folder: Path, *texts: str, stored=None) -> Review:
    """The study files as a review without analyses; `stored` has texts by study and report."""
    (folder / "studies").mkdir()
    (folder / "outcomes.yaml").write_text(OUTCOMES, encoding="utf-8")
    for i, text in enumerate(texts):
        (folder / "studies" / f"s{i}.yaml").write_text(text, encoding="utf-8")
    evidence, problems = read_evidence(folder / "studies", folder / "outcomes.yaml", folder)
    assert not problems, "\n".join(str(problem) for problem in problems)
    return Review(
        evidence,
        tuple(StudyMaterial(one, (stored or {}).get(one.id, {})) for one in evidence.studies),
    )


def analysis(found: Review, *rows: RawRow, outcome="orr", **settings) -> AnalysisMaterial:
    """An analysis of these rows."""
    return AnalysisMaterial(
        "main",
        "config.yaml",
        rows,
        {one.study.id: one.study for one in found.studies},
        {"title": "Main", "outcome": outcome, "measure": "PLO", "pool": "yes"} | settings,
    )


def checks(rule: str, material: object) -> list:
    """Everything that one rule says."""
    return list(RULES[rule].check(material))


def failures(rule: str, material: object) -> list:
    """What it finds inconsistent."""
    return [check for check in checks(rule, material) if check.verdict == "inconsistent"]
