"""Small studies and tables as the rules of the audit see them, without files."""

from evisynth.audit.material import Review, StudyMaterial, TableMaterial
from evisynth.audit.registry import RULES
from evisynth.evidence import Study
from evisynth.studyfile import StudyFile


def arms(**sizes):
    """Arms by name and number; a number with a word is the unit: ``"67 episodes"``."""
    found = []
    for name, size in sizes.items():
        n, _, unit = str(size).partition(" ")
        found.append({"id": name, "n": n, "unit": unit or "patients", "treatment": "x"})
    return found


def result(name, values, **more):
    """A result; `values` by arm: a printed text, or keys of the arm."""
    cells = {a: {"printed": v} if isinstance(v, str) else v for a, v in values.items()}
    return {"id": name, "outcome": "os", "report": "r", "quote": "x", "arms": cells} | more


def study(sizes, results, name="one", methods=(), **more):
    """A study of one report `r`."""
    methods = [{"about": about, "says": says, "quote": "x"} for about, says in methods]
    given = {
        "study": name,
        "design": "cohort",
        "reports": [{"id": "r", "kind": "journal_article", "methods": methods}],
        "arms": sizes if isinstance(sizes, list) else arms(**sizes),
        "results": results,
    } | more
    return StudyMaterial(Study(f"{name}.yaml", StudyFile.model_validate(given)))


def table(fields, rows, measure="RR", file="t.csv"):
    """A table; `rows` are ``(study, number, number, ...)`` with texts or numbers."""
    names = fields.split()
    return TableMaterial(
        file,
        measure,
        tuple(
            (i + 1, i, str(row[0]), dict(zip(names, map(str, row[1:]), strict=True)))
            for i, row in enumerate(rows, 1)
        ),
    )


def review(*materials):
    """A review of these studies and tables."""
    return Review(
        None,
        tuple(m for m in materials if isinstance(m, StudyMaterial)),
        tuple(m for m in materials if isinstance(m, TableMaterial)),
    )


def checks(rule, *materials):
    """What a rule says of these."""
    subject = review(*materials) if RULES[rule].scope == "review" else materials[0]
    return list(RULES[rule].check(subject))


def failures(rule, *materials):
    """Its inconsistencies."""
    return [check for check in checks(rule, *materials) if check.verdict == "inconsistent"]


def level(rule, check):
    """Level of a check."""
    return check.level or RULES[rule].level
