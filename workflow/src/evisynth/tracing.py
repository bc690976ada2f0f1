"""From a pooled estimate to rows, formulas, printed words, report, file and line.

`trace_tree` puts together what the steps stored; every number of effects.csv and pooled.csv,
and of the analysis' row of summary.csv, is in it under the name of its column.
`readable` is the same for people.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evisynth.candidates import CATEGORIES, Line, settled
from evisynth.menus import FAMILIES, GLMM, TAU2, TAU2_GIVEN, TESTS
from evisynth.rows import counted
from evisynth.tabular import Cell, to_csv
from evisynth.trail import Trail

if TYPE_CHECKING:
    from evisynth.measures import Measure

Tree = dict[str, Any]

SELECTION = (
    "study label result arms report in category reason numbers printed also_printed "
    "shares_patients_with place file line"
).split()
TRACED = ("yi", "vi", "sei", "ci_low", "ci_high", "ni")
DISPLAYED = ("estimate", "ci_low", "ci_high", "pi_low", "pi_high")
UNWEIGHTED = ("hc", "uwls")
"""Tests whose mean weighs as for a common effect."""


def final_lines(trail: Trail, effects: Tree, fit: Tree) -> tuple[Line, ...]:
    """The candidates, with what effect sizes and models made of the rows.

    Parameters
    ----------
    effects, fit : contents of effect_sizes.json and fit.json.
    """
    entered = set(fit["entered"])
    return tuple(
        line
        if line.row is None
        else settled(
            line,
            included=effects["included"][line.row] or line.row in entered,
            reason=effects["reason"][line.row],
        )
        for line in trail.lines
    )


def selection_csv(lines: Iterable[Line]) -> str:
    """selection.csv: every candidate, in or out, with the reason."""
    rows: list[dict[str, Cell]] = [
        {
            "study": line.study,
            "label": line.label,
            "result": line.result,
            "arms": "; ".join(line.arms),
            "report": line.report,
            "in": line.category == "pooled",
            "category": line.category,
            "reason": line.reason,
            "numbers": line.numbers,
            "printed": line.printed,
            "also_printed": " | ".join(line.also),
            "shares_patients_with": "; ".join(line.shares),
            "place": line.place,
            "file": line.file,
            "line": line.line,
        }
        for line in lines
    ]
    return to_csv(SELECTION, rows)


def trace_tree(trail: Trail, effects: Tree, fit: Tree) -> Tree:
    """Everything about one analysis, as trace.json has it; missing numbers are None."""
    from evisynth.measures import configured  # scipy, which the command does without

    measure = configured(effects["measure"], effects["options"])
    rows = [_row(trail, effects, fit, i) for i in range(len(effects["study"]))]
    estimates = sorted(fit["estimates"], key=lambda row: not row["headline"])
    pooled = [row for row in rows if row["included"]]
    return {
        "analysis": trail.analysis,
        "title": trail.title,
        "outcome": trail.outcome,
        "digest": trail.digest,
        "effects_digest": effects["digest"],
        "settings": fit["settings"],
        "measure": {
            "key": measure.key,
            "label": measure.label,
            "formula": measure.formula,
            "source": measure.citation,
            "to_display": measure.back_name,
            "null": measure.null,
            "options": effects["options"],
            "zero_cells": effects["settings"]["zero_cells"],
        },
        "level": fit["level"],
        "k": fit["k"],
        "k_total": fit["k_total"],
        "n_total": fit["n_total"],
        **counted(trail.reports, [row["study"] for row in pooled]),
        "notes": fit["notes"],
        "estimates": [_estimate(row, measure, rows) for row in estimates],
        "heterogeneity": fit["heterogeneity"],
        "findings": list(trail.findings),
        "rows": rows,
    }


def _row(trail: Trail, effects: Tree, fit: Tree, index: int) -> Tree:
    """One row of effects.csv with what it stands on."""
    entered = index in fit["entered"]
    reason, notes = effects["reason"][index], effects["notes"][index]
    if entered:
        why = f"pooled by its counts, not by an effect size ({reason})"
        reason, notes = "", "; ".join(filter(None, [notes, why]))
    return {
        "row": index,
        "study": effects["study"][index],
        "label": effects["label"][index],
        "cluster": effects["cluster"][index],
        "included": effects["included"][index] or entered,
        "reason": reason,
        "weight": fit["weights"][index],
        **{name: effects[name][index] for name in TRACED},
        "raw": {name: column[index] for name, column in effects["raw"].items()},
        "covariates": {name: col[index] for name, col in effects["covariates"].items()},
        "notes": notes,
        "printed": effects["printed"][index],
        "quote": effects["quote"][index],
        "place": effects["place"][index],
        **trail.sources[index],
    }


def _estimate(estimate: Tree, measure: "Measure", rows: Sequence[Tree]) -> Tree:
    """One model on both scales, with the weights of the rows where it has them."""
    number = {key: math.nan if estimate[key] is None else estimate[key] for key in DISPLAYED}
    ci = measure.shown(number["ci_low"], number["ci_high"])
    pi = measure.shown(number["pi_low"], number["pi_high"])
    shown = (measure.back(number["estimate"]), *ci, *pi)
    weights, how = _weights(estimate, rows)
    return {
        **estimate,
        "display": dict(zip(DISPLAYED, shown, strict=True)),
        "how": how,
        "weights": weights,
    }


def _weights(estimate: Tree, rows: Sequence[Tree]) -> tuple[list[float | None] | None, str]:
    """Weights in per cent of every row, and how the estimate comes from the rows."""
    model, method, test = (estimate[key] for key in ("model", "method", "test"))
    by_variance = (model == "common" and method in ("IV", "UWLS")) or (
        model == "random" and method in (*TAU2, *TAU2_GIVEN, "MHDL")
    )
    if not by_variance:
        weights = [row["weight"] for row in rows] if estimate["headline"] else None
        if weights is not None and all(weight is None for weight in weights):
            weights = None
        return weights, _model_in_words(model, method)
    plain = model == "common" or test in UNWEIGHTED
    tau2 = 0.0 if plain else estimate["tau2"]
    formula = "1/vi" if plain else "1/(vi + tau2)"
    words = f"mean of yi with weights {formula}"
    if model == "random":
        words += f"; tau2 by {TAU2.get(method) or TAU2_GIVEN.get(method) or FAMILIES[method]}"
    words += f"; interval: {TESTS.get(test, test)}"
    if estimate["headline"]:
        return [row["weight"] for row in rows], words
    if tau2 is None:
        return None, words
    inverse = [
        1 / (row["vi"] + tau2) if row["included"] and row["vi"] else None for row in rows
    ]
    total = math.fsum(weight for weight in inverse if weight is not None)
    return [None if w is None else 100 * w / total for w in inverse], words


def _model_in_words(model: str, method: str) -> str:
    if model == "multilevel":
        return FAMILIES["MV"]
    if model == "rve":
        return FAMILIES["RVE"]
    if model == "bayes":
        return f"{FAMILIES['BAYES']}: {method}"
    if method in GLMM:
        return f"{FAMILIES['GLMM']}: {GLMM[method]}"
    return FAMILIES.get(method, method)


# ---------------------------------------------------------------------------- text for people

UNDISPLAYED = "identity"


def figure(value: float | str | None) -> str:
    """A number at four significant digits, whole numbers in full."""
    if value is None:
        return "none"
    value = float(value)  # an infinity is text in JSON
    if not math.isfinite(value):
        return str(value)
    if value.is_integer() and abs(value) < 1e12:
        return f"{value:.0f}"
    return f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval."""
    return f"{figure(low)} to {figure(high)}"


def readable(tree: Tree, lines: Sequence[Mapping[str, str]], study: str = "") -> str:
    """The trace as indented text.

    Parameters
    ----------
    tree : content of trace.json.
    lines : rows of selection.csv.
    study : show this study only; by default all rows and what was left out.
    """
    text = [f"{tree['analysis']}: {tree['title']}"]
    text += [f"  {line}" for line in _estimates(tree)]
    shown = [row for row in tree["rows"] if not study or row["study"] == study]
    for row in shown:
        text += ["", *(f"  {line}" for line in _chain(row, tree))]
    listed = [line for line in lines if not study or line["study"] == study]
    out = [line for line in listed if line["in"] != "true"]
    if out:
        text += ["", "  not pooled"]
        text += [f"    {line}" for entry in out for line in _left_out(entry)]
    if tree["findings"]:
        text += ["", "  audit of the analysis"]
        text += [f"    {_said(finding)}" for finding in tree["findings"]]
    return "\n".join(text) + "\n"


def _estimates(tree: Tree) -> list[str]:
    """The headline in full, the other models in a line each."""
    level = f"{100 * tree['level']:g}%"
    studies = f"{tree['studies']} " + ("study" if tree["studies"] == 1 else "studies")
    if tree["reports"] is not None:
        studies += f", {tree['reports']} " + ("report" if tree["reports"] == 1 else "reports")
    head = f"{tree['k']} of {tree['k_total']} rows pooled: {studies}"
    found = [head]
    for number, estimate in enumerate(tree["estimates"]):
        shown = estimate["display"]
        name = f"{estimate['model']}, {estimate['method']}, {estimate['test']}"
        line = (
            f"{name}: {tree['measure']['label']} {figure(shown['estimate'])} "
            f"({level} CI {interval(shown['ci_low'], shown['ci_high'])})"
        )
        if not estimate["headline"]:
            if number == 0 or tree["estimates"][number - 1]["headline"]:
                found.append("other models")
            found.append(f"  {line}")
            continue
        found += ["headline", f"  {line}"]
        if estimate["pi_low"] is not None:
            found.append(f"  prediction interval {interval(shown['pi_low'], shown['pi_high'])}")
        found.append(
            f"  analysis scale: {figure(estimate['estimate'])}, "
            f"standard error {figure(estimate['se'])}, "
            f"{interval(estimate['ci_low'], estimate['ci_high'])}; "
            f"tau2 {figure(estimate['tau2'])}"
        )
        if tree["measure"]["to_display"] != UNDISPLAYED:
            found.append(f"  to the display scale: {tree['measure']['to_display']}")
        found.append(f"  {estimate['how']}")
        found += [f"  note: {note}" for note in estimate["notes"]]
    if not any(estimate["headline"] for estimate in tree["estimates"]):
        found += [f"no pooled estimate: {note}" for note in tree["notes"][:1]]
    found.append(f"effect of a row: {tree['measure']['formula']}")
    found.append(f"  source: {tree['measure']['source']}")
    return found


def _chain(row: Tree, tree: Tree) -> list[str]:
    """From the weight of one row to its line in a file."""
    weight = row["weight"]
    state = "pooled" if row["included"] else f"not pooled: {row['reason']}"
    if row["included"] and weight is not None:
        state = f"weight {weight:.1f}%"
    text = [f"{row['label'] or row['study']} ({row['study']}): {state}"]
    if row["yi"] is not None:
        text.append(
            f"  yi {figure(row['yi'])}, vi {figure(row['vi'])}, sei {figure(row['sei'])}; "
            f"display scale, its own interval {interval(row['ci_low'], row['ci_high'])}"
        )
    given = {name: value for name, value in row["raw"].items() if value is not None}
    if given:
        text.append("  from " + ", ".join(f"{k} {v:.15g}" for k, v in given.items()))
    text += [f"  note: {note}" for note in [row["notes"]] if note]
    text += [f"  printed: {row['printed']}"] if row["printed"] else []
    text += [f"  quote: “{row['quote']}”"] if row["quote"] else []
    if row["report"]:
        text.append(f"  report: {_reported(row['report'])}")
    text += [f"  also printed: {entry}" for entry in row["also"]]
    text += [f"  shares patients with {other}" for other in row["shares"]]
    where = f", line {row['line']}" if row["line"] else ""
    text.append(f"  at {row['file']}{where} ({row['place'].partition('#')[2]})")
    findings = row["findings"]
    text += [f"  audit: {_said(f)}" for f in findings if f["verdict"] != "consistent"]
    passed = dict.fromkeys(f["rule"] for f in findings if f["verdict"] == "consistent")
    if passed:
        text.append(f"  audit: consistent by {', '.join(passed)}")
    return text


def _reported(report: Tree) -> str:
    """Id of a report with what tells how much it is worth."""
    parts = [report["id"], str(report.get("kind", "")).replace("_", " ")]
    parts += [str(report[key]) for key in ("year",) if key in report]
    parts += [f"{key} {report[key]}" for key in ("doi", "url") if key in report][:1]
    if "seen" in report:
        parts.append(f"seen: {str(report['seen']).replace('_', ' ')}")
    for key in ("superseded_by", "duplicate_of", "correction"):
        if key in report:
            parts.append(f"{key.replace('_', ' ')}: {report[key]}")
    return ", ".join(part for part in parts if part)


def _said(finding: Tree) -> str:
    """A finding in one line."""
    said = f"{finding['rule']}, {finding['level']}, {finding['verdict']}"
    numbers = [finding["printed"] and f"printed {finding['printed']}"]
    numbers.append(finding["recomputed"] and f"recomputed {finding['recomputed']}")
    parts = [said, *numbers, finding["explanation"], finding["decision"]]
    return "; ".join(part for part in parts if part)


def _left_out(entry: Mapping[str, str]) -> list[str]:
    """A candidate that is not pooled."""
    name = " ".join(filter(None, [entry["study"], entry["result"]])) or entry["file"]
    arms = f" ({entry['arms']})" if entry["arms"] else ""
    place = f"{entry['file']}, line {entry['line']}" if entry["line"] else entry["file"]
    found = [f"{name}{arms}: {entry['category']}"]
    found[0] += f": {entry['reason']}" if entry["reason"] else ""
    if entry["category"] not in CATEGORIES:
        raise ValueError(f"unknown category {entry['category']}")
    printed = f"printed: {entry['printed']}; " if entry["printed"] else ""
    return [*found, f"  {printed}at {place}"]
