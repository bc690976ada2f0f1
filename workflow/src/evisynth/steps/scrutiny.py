"""What the audit costs the conclusion of an analysis, and what dependence does to it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evisynth import conversions
from evisynth.audit.fits import RULES
from evisynth.audit.records import Finding, FitFacts
from evisynth.families import DEPENDENT
from evisynth.files import write_text
from evisynth.inputs import INPUTS
from evisynth.measures import compute_effects, measure_of
from evisynth.pooling import display
from evisynth.records import EffectSizes, Fit, RawRow
from evisynth.scrutiny.flags import flagged
from evisynth.scrutiny.overlaps import Overlap, dependent
from evisynth.scrutiny.refit import Answer, refit, without
from evisynth.scrutiny.rounding import Precise, rounding_bounds
from evisynth.scrutiny.units import clustered, effective, nested_rows
from evisynth.specification import ModelSpec
from evisynth.steps.pool import model_spec
from evisynth.tables import effects_from_json, fit_from_json
from evisynth.tabular import Cell, to_csv

Settings = Mapping[str, Any]
AUDIT = (
    "study report place rule level printed recomputed verdict explanation action file decision "
    "decision_reason decided_by decided_on"
).split()
AUDIT_COST = (
    "analysis question scenario study rule place decision k estimate ci_low ci_high tau2 "
    "change scale notes"
).split()
DEPENDENCE = (
    "analysis question scenario studies shared unit certainty k estimate ci_low ci_high tau2 "
    "change notes quote"
).split()


def write_scrutiny(
    effects: str, fit: str, settings: Settings, output: Mapping[str, str]
) -> None:
    """Write audit.csv, audit_cost.csv and dependence.csv of one analysis.

    Parameters
    ----------
    settings : `project.Project.scrutiny_settings`.
    """
    sizes = effects_from_json(Path(effects).read_text(encoding="utf-8"))
    found = fit_from_json(Path(fit).read_text(encoding="utf-8"))
    spec = model_spec(settings["model"], settings["level"], settings["dependence"])
    case = Case(sizes, found, spec, settings)
    write_text(output["audit"], to_csv(AUDIT, audit_rows(found, settings)))
    write_text(output["audit_cost"], to_csv(AUDIT_COST, cost_rows(case)))
    write_text(output["dependence"], to_csv(DEPENDENCE, dependence_rows(case)))


class Case:
    """One analysis: its rows as they were before any effect size, and how they become one."""

    def __init__(
        self, effects: EffectSizes, fit: Fit, spec: ModelSpec, settings: Settings
    ) -> None:
        self.effects, self.fit, self.spec, self.settings = effects, fit, spec, settings
        self.rows = raw_rows(effects, settings["rows"])
        self.now = headline(effects, fit)

    def compute(self, rows: Sequence[RawRow]) -> EffectSizes:
        """Effect sizes of rows, with the choices of the analysis."""
        chosen = self.settings["effects"]
        return compute_effects(
            chosen["measure"],
            rows,
            level=chosen["level"],
            options=chosen["options"],
            **chosen["zero_cells"],
        )

    def complete(self, numbers: Mapping[str, float]) -> Mapping[str, float]:
        """The numbers of the measure from those that are reported, by the conversions."""
        wanted = INPUTS[self.effects.measure].alternatives
        return conversions.complete(numbers, wanted, chosen=self.settings["conversions"])[0]

    @property
    def why_none(self) -> str:
        """Why there is nothing to refit; empty if there is."""
        if not self.settings["pool"]:
            return f"not pooled: {self.settings['why_not']}"
        return "" if self.now.k else "; ".join(self.now.notes)


def raw_rows(effects: EffectSizes, settings: Sequence[Settings]) -> list[RawRow]:
    """The rows that the effect sizes were made of, as far as these depend on them."""
    rows = []
    selected = effects.selected or effects.included
    for i, more in enumerate(settings):
        numbers = {
            name: float(values[i])
            for name, values in effects.raw.items()
            if not math.isnan(values[i])
        }
        if "ni" not in numbers and "n1i" not in numbers and not math.isnan(effects.ni[i]):
            numbers["ni"] = float(effects.ni[i])
        rows.append(
            RawRow(
                study=effects.study[i],
                label=effects.label[i],
                numbers=numbers,
                arms=tuple(more["arms"]),
                cluster=effects.cluster[i],
                covariates={name: values[i] for name, values in effects.covariates.items()},
                included=selected[i],
                reason=effects.reason[i],
                divided=more["divided"],
            )
        )
    return rows


def headline(effects: EffectSizes, fit: Fit) -> Answer:
    """The answer of the analysis as it is configured, on the display scale."""
    chosen = fit.headline
    if chosen is not None:
        shown = display(chosen, measure_of(fit))
        return Answer(
            chosen.k, shown.estimate, shown.ci_low, shown.ci_high, shown.tau2, chosen.notes
        )
    if fit.k == 1 and effects.included.count(True) == 1:
        own = refit(effects, ModelSpec(level=fit.level))
        return Answer(
            1, own.estimate, own.ci_low, own.ci_high, notes=("k = 1: the study itself",)
        )
    return Answer(0, notes=fit.notes)


def audit_rows(fit: Fit, settings: Settings) -> list[dict[str, Cell]]:
    """Findings about the rows of an analysis, and those of the rules that need its fit."""
    found = list(settings["findings"])
    facts = fit_facts(fit, settings)
    if facts is not None:
        found += [
            Finding(rule.id, check.level or rule.level, check).cells()
            for rule in RULES
            for check in rule.check(facts)
            if check.verdict != "consistent"
        ]
    return [{name: cells[name] for name in AUDIT} for cells in found]


def fit_facts(fit: Fit, settings: Settings) -> FitFacts | None:
    """What the rules of scope ``fit`` look at; None where nothing is pooled."""
    chosen = fit.headline
    if chosen is None:
        return None

    def width(test: str) -> float | None:
        for row in fit.estimates:
            if (row.model, row.method, row.test) == (chosen.model, chosen.method, test):
                return _known(row.ci_high - row.ci_low)
        return None

    q, q_df = (
        (fit.heterogeneity[0].q, fit.heterogeneity[0].q_df)
        if fit.heterogeneity
        else (math.nan, 0)
    )
    return FitFacts(
        analysis=settings["analysis"],
        file=settings["file"],
        k=chosen.k,
        q=_known(q),
        q_df=None if math.isnan(q) else q_df,
        tau2=_known(chosen.tau2),
        tau2_at_bound=chosen.tau2 == 0,
        hk_width=width("knha"),
        wald_width=width("z"),
        notes=tuple(
            f"{part.name}: {note}"
            for part in fit.components
            for note in part.notes
            if "boundary" in note
        ),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(answer: Answer | None, now: Answer) -> dict[str, Cell]:
    """Columns of an answer, with its difference to the configured one."""
    if answer is None:
        return {}
    return {
        "k": answer.k,
        "estimate": answer.estimate,
        "ci_low": answer.ci_low,
        "ci_high": answer.ci_high,
        "tau2": answer.tau2,
        "change": answer.estimate - now.estimate,
    }


def _joined(*notes: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(note for part in notes for note in part if note))


def cost_rows(case: Case) -> list[dict[str, Cell]]:
    """audit_cost.csv: the answer as configured, over rounding, and over flagged rows."""
    common: dict[str, Cell] = {"analysis": case.settings["analysis"], "scale": "display"}
    first: dict[str, Cell] = {**common, "question": "as configured", "scenario": "headline"}
    if not case.settings["pool"]:
        return [{**first, "notes": case.why_none}]
    rows = [{**first, **_numbers(case.now, case.now), "notes": _joined(case.now.notes)}]
    if not case.why_none:
        rows += [{**common, **row} for row in _rounding_rows(case)]
    return rows + [{**common, **row} for row in _flag_rows(case)]


def _rounding_rows(case: Case) -> list[dict[str, Cell]]:
    precision = [
        Precise(
            row["given"],
            {name: (low, high) for name, (low, high) in row["spans"].items()},
            {name: tuple(counts) for name, counts in row["choices"].items()},
        )
        for row in case.settings["rows"]
    ]
    bounds = rounding_bounds(case.rows, precision, case.compute, case.spec, case.complete)
    moved = f"rounding can move {bounds.moved} of {case.now.k} pooled rows"
    if not bounds.found:
        return [
            {
                "question": "rounding",
                "scenario": "no printed number is rounded",
                **_numbers(case.now, case.now),
                "notes": _joined(bounds.notes),
            }
        ]
    return [
        {
            "question": "rounding",
            "scenario": f"{bound.end} {bound.target}",
            **_numbers(bound.answer, case.now),
            "notes": _joined([moved], bounds.notes),
        }
        for bound in bounds.found
    ]


def _flag_rows(case: Case) -> list[dict[str, Cell]]:
    found = flagged(case.rows, case.settings["findings"], case.compute, case.spec)
    rows: list[dict[str, Cell]] = []
    for scenario in found:
        studies = dict.fromkeys(case.effects.study[row] for row in scenario.rows)
        about = {
            key: _joined(
                dict.fromkeys(str(finding[key] or "") for finding in scenario.findings)
            )
            for key in ("rule", "place", "decision")
        }
        said = (f"{f['level']}: {f['explanation']}" for f in scenario.findings)
        rows.append(
            {
                "question": "flags",
                "scenario": scenario.words,
                "study": ", ".join(studies),
                **about,
                **_numbers(scenario.answer, case.now),
                "notes": _joined(said, scenario.answer.notes),
            }
        )
    if rows:
        return rows
    none: dict[str, Cell] = {
        "question": "flags",
        "scenario": "no row is flagged",
        "notes": "no finding of the audit is about a row that is, or could be, pooled",
    }
    return [{**none, **_numbers(case.now, case.now)} if case.now.k else none]


def dependence_rows(case: Case) -> list[dict[str, Cell]]:
    """dependence.csv: shared patients, shared arms, clusters, and units nested in patients."""
    rows = [
        *_overlap_rows(case),
        *_suspected_rows(case),
        *_arm_rows(case),
        *_cluster_rows(case),
        *_unit_rows(case),
    ]
    return [{"analysis": case.settings["analysis"], **row} for row in rows]


def _overlap_rows(case: Case) -> list[dict[str, Cell]]:
    declared = [Overlap.of(entry) for entry in case.settings["overlaps"]]
    if not declared:
        return [
            {
                "question": "overlap",
                "scenario": "none",
                "notes": _joined(["no shared patients are declared", case.why_none]),
            }
        ]
    rows: list[dict[str, Cell]] = []
    pooled = {
        s for s, used in zip(case.effects.study, case.effects.included, strict=True) if used
    }
    for overlap in declared:
        common: dict[str, Cell] = {
            "question": "overlap",
            "studies": ", ".join(overlap.studies),
            "shared": overlap.shared,
            "unit": overlap.unit,
            "certainty": overlap.certainty,
            "quote": overlap.quote,
        }
        why = case.why_none
        if not why and not set(overlap.studies) <= pooled:
            why = "one of the two has no effect size"
        if why:
            rows.append({**common, "scenario": "none", "notes": _joined([why], overlap.notes)})
            continue
        rows += [
            {
                **common,
                "scenario": variant.scenario,
                **_numbers(variant.answer, case.now),
                "notes": _joined(
                    variant.notes, variant.answer.notes if variant.answer else (), overlap.notes
                ),
            }
            for variant in dependent(case.rows, overlap, case.compute, case.spec)
        ]
    return rows


def _suspected_rows(case: Case) -> list[dict[str, Cell]]:
    """Overlaps that the audit suspects and no file declares."""
    declared = {tuple(sorted(entry["studies"])) for entry in case.settings["overlaps"]}
    return [
        {
            "question": "suspected overlap",
            "scenario": "see audit.csv",
            "studies": ", ".join(finding["pair"]),
            "certainty": "suspected",
            "notes": f"{finding['rule']}: {finding['explanation']}; {finding['action']}",
        }
        for finding in case.settings["findings"]
        if finding["pair"] and tuple(finding["pair"]) not in declared
    ]


def _arm_rows(case: Case) -> list[dict[str, Cell]]:
    """Comparisons that share an arm: what the model does, and the answer without each."""
    rows: list[dict[str, Cell]] = []
    how = {
        "split": "the shared arm is divided evenly between its comparisons (Cochrane Handbook "
        "23.3.4)",
        "covariance": "the covariance of the shared arm is in the model (Gleser & Olkin 2009)",
    }.get(case.settings["multi_arm"])
    if how is None or case.why_none:
        return rows
    used = [i for i, pooled in enumerate(case.effects.included) if pooled]
    for row in used:
        arms = set(case.rows[row].arms)
        others = [i for i in used if i != row and arms & set(case.rows[i].arms)]
        if not others:
            continue
        common = arms & {arm for i in others for arm in case.rows[i].arms}
        answer = refit(without(case.effects, [row]), case.spec)
        rows.append(
            {
                "question": "shared arm",
                "scenario": f"without {case.effects.label[row]}",
                "studies": case.effects.study[row],
                "shared": f"arm {', '.join(sorted(common))}",
                **_numbers(answer, case.now),
                "notes": _joined([how], answer.notes),
            }
        )
    return rows


def _cluster_rows(case: Case) -> list[dict[str, Cell]]:
    """Rows of one cluster that are pooled as independent."""
    if case.why_none:
        return []
    several, found = clustered(case.effects, case.settings["icc"], case.spec)
    if not several:
        return []
    used = case.effects.included.count(True)
    total = len(
        {c for c, u in zip(case.effects.cluster, case.effects.included, strict=True) if u}
    )
    common: dict[str, Cell] = {
        "question": "clusters",
        "shared": f"{used} rows of {total} clusters",
        "unit": "rows",
    }
    if case.spec.family in DEPENDENT:
        return [
            {
                **common,
                "scenario": "as configured",
                **_numbers(case.now, case.now),
                "notes": f"the family {case.spec.family} knows the clusters",
            }
        ]
    return [
        {
            **common,
            "scenario": entry.scenario,
            **_numbers(entry.answer, case.now),
            "notes": _joined(entry.notes, entry.answer.notes if entry.answer else ()),
        }
        for entry in found
    ]


def _unit_rows(case: Case) -> list[dict[str, Cell]]:
    """Episodes and the like: the answer with the effective number of them."""
    if case.why_none:
        return []
    nested = nested_rows(case.effects, [row["units"] for row in case.settings["rows"]])
    return [
        {
            "question": "units",
            "scenario": entry.scenario,
            "studies": ", ".join(dict.fromkeys(case.effects.study[row] for row in entry.rows)),
            "unit": entry.unit,
            **_numbers(entry.answer, case.now),
            "notes": _joined(entry.notes, entry.answer.notes if entry.answer else ()),
        }
        for entry in effective(case.effects, nested, case.settings["icc"], case.spec)
    ]
