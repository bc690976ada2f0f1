"""The evidence as tables: all studies, reports, arms, results and overlaps, checked.

Some are made for reading (`results` has the numbers of an arm beside those of its result); what
only the audit needs is as in the long form of `evisynth export evidence`, which loses nothing.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from evisynth.errors import InputError
from evisynth.evidence import Evidence, Study, read_evidence
from evisynth.exporting.long_csv import header, long_rows
from evisynth.files import write_text
from evisynth.studyfile import ArmValue, Result
from evisynth.tabular import Cell, to_csv

COLUMNS = {
    "studies": (
        "study label design setting randomisation registry recruited_from recruited_to "
        "countries sites age patients episodes refractory relapsed reports results used "
        "excluded note file"
    ),
    "reports": (
        "study report kind title year date doi doi_status pmid seen primary duplicate_of "
        "superseded_by correction source silent_on note"
    ),
    "arms": "study arm label n unit clusters treatment role made_of note",
    "results": (
        "study result outcome kind category subgroup when arm events n unit printed estimate "
        "ci_low ci_high ci_level se mean sd median iqr_low iqr_high range_low range_high "
        "spread_low spread_high p numerator denominator parts model use why_not derived_from "
        "derived_method limits_of limits_low limits_high report quote also "
        "also_quotes note place"
    ),
    "moves": "study what from to n of report quote",
    "overlaps": "study with kind exactly at_most unit certainty report quote detail",
}
AS_LONG = (
    "captions",
    "references",
    "methods",
    "claims",
    "splits",
    "sums",
    "flags",
    "risk_of_bias",
)
"""Tables that are those of the long form."""
COLUMNS |= {name: " ".join(header(name)) for name in AS_LONG}
TABLES = tuple(COLUMNS)


def write_evidence(folder: Path, outcomes: Path, base: Path, output: Mapping[str, str]) -> None:
    """Write the tables of results/evidence; `output` maps their names to files.

    Raises
    ------
    InputError
        If the evidence is not right; then nothing is written.
    """
    evidence, problems = read_evidence(folder, outcomes, base)
    if problems:
        raise InputError(problems)
    for name, rows in evidence_rows(evidence).items():
        write_text(output[name], to_csv(COLUMNS[name].split(), rows))


def evidence_rows(evidence: Evidence) -> dict[str, list[dict[str, Cell]]]:
    """Rows of every evidence table, in the order of study ids and of the study files."""
    studies = evidence.studies
    long = long_rows(study.content for study in studies)
    return {
        "studies": [_study(study) for study in studies],
        "reports": [row for study in studies for row in _reports(study)],
        "arms": [row for study in studies for row in _arms(study)],
        "results": [
            row for study in studies for r in study.content.results for row in _result(study, r)
        ],
        "moves": [row for study in studies for row in _moves(study)],
        "overlaps": [row for study in studies for row in _overlaps(study)],
        **{name: long[name] for name in AS_LONG},
    }


def _study(study: Study) -> dict[str, Cell]:
    content = study.content
    population, recruited = content.population, content.recruited
    about: dict[str, Cell] = {}
    if population:
        about |= population.model_dump(exclude={"note"})
    if recruited:
        about |= {
            "recruited_from": recruited.from_,
            "recruited_to": recruited.to,
            "countries": recruited.countries,
            "sites": recruited.sites,
        }
    return {
        **about,
        "study": study.id,
        "label": study.label,
        "design": content.design,
        "randomisation": content.randomisation,
        "registry": "; ".join(content.registry),
        "reports": len(content.reports),
        "results": len(content.results),
        "used": sum(result.use for result in content.results),
        "excluded": content.excluded,
        "note": "; ".join(
            filter(None, [content.note, population.note if population else None])
        ),
        "file": study.file,
    }


def _moves(study: Study) -> Iterable[dict[str, Cell]]:
    for move in study.content.events_after_randomisation:
        yield {"study": study.id, **move.model_dump(by_alias=True)}


def _reports(study: Study) -> Iterable[dict[str, Cell]]:
    columns = set(COLUMNS["reports"].split())
    for report in study.content.reports:
        values = {key: v for key, v in report.model_dump().items() if key in columns}
        silent = "; ".join(report.silent_on)
        yield {"study": study.id, "report": report.id, **values, "silent_on": silent}


def _arms(study: Study) -> Iterable[dict[str, Cell]]:
    for arm in study.content.arms:
        values = arm.model_dump(exclude={"id", "made_of"})
        yield {"study": study.id, "arm": arm.id, "made_of": "; ".join(arm.made_of), **values}


def _overlaps(study: Study) -> Iterable[dict[str, Cell]]:
    for overlap in study.content.overlaps:
        values = overlap.model_dump(exclude={"with_"})
        yield {"study": study.id, "with": overlap.with_, **values}


def _result(study: Study, result: Result) -> Iterable[dict[str, Cell]]:
    """A row per arm; a result without arms is one row."""
    name = result.id or result.outcome
    common: dict[str, Cell] = {
        "study": study.id,
        "result": name,
        "ci_level": result.ci_level if result.ci else None,
        "numerator": result.contrast.numerator if result.contrast else None,
        "denominator": result.contrast.denominator if result.contrast else None,
        "also": "; ".join(entry.report for entry in result.also),
        "also_quotes": " | ".join(entry.quote for entry in result.also),
        "parts": "; ".join(f"{part} {count}" for part, count in result.parts.items()),
        "place": f"{study.file}#results.{name}",
        "unit": result.unit,
        "printed": result.estimate,
        "estimate": result.estimate,
        **_bounds("ci", result.ci),
        **_derived(result),
    }
    if result.limits:
        common |= {f"limits_{key}": v for key, v in result.limits.model_dump().items()}
    for (
        key
    ) in "outcome kind category subgroup when p model use why_not report quote note".split():
        common[key] = getattr(result, key)
    for arm, value in result.arms.items():
        yield {**common, "arm": arm, **_arm_value(study, arm, value)}
    if not result.arms:
        yield common


def _arm_value(study: Study, arm: str, value: ArmValue) -> dict[str, Cell]:
    cells: dict[str, Cell] = {
        key: getattr(value, key) for key in ("events", "n", "se", "mean", "sd", "median")
    }
    for key in ("printed", "estimate"):
        if getattr(value, key) is not None:
            cells[key] = getattr(value, key)
    if value.ci:
        cells |= _bounds("ci", value.ci)
    for key in ("iqr", "range", "spread"):
        cells |= _bounds(key, getattr(value, key))
    if value.derived:
        cells |= _derived(value)
    if value.n is not None or value.events is not None:
        cells["unit"] = value.unit or study.arm(arm).unit
    return cells


def _bounds(name: str, pair: list[str] | None) -> dict[str, Cell]:
    return {f"{name}_low": pair[0], f"{name}_high": pair[1]} if pair else {}


def _derived(value: Result | ArmValue) -> dict[str, Cell]:
    if value.derived is None:
        return {}
    return {"derived_from": value.derived.from_, "derived_method": value.derived.method}
