"""The audit as a page to read: one file, no script, everything from data escaped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evisynth.audit.records import LEVELS, AuditReport, Finding, Rule
from evisynth.audit.run import UNANSWERED, UNANSWERED_MEANS

TEMPLATES = Path(__file__).parent / "templates"
MOST_UNDECIDED = 500
PLURALS = {"error": "errors", "warning": "warnings", "note": "notes"}
MEANING = {
    "error": "What is printed cannot be right as extracted. Each error keeps its numbers out "
    "of pooling until a person decides.",
    "warning": "Worth a look in the report; the numbers are pooled.",
    "note": "Good to know when the results are read; the numbers are pooled.",
}


@dataclass(frozen=True, slots=True)
class About:
    """What the page says of the review besides the findings.

    Attributes
    ----------
    title : title of the review.
    audited : what was looked at, and how many of it.
    labels : file to the label of the study in it, for headings; other files go by their name.
    kept_out : rows that an audit keeps out of an analysis: ``analysis`` (its title), ``label``
        (of the row) and ``reason``.
    """

    title: str
    audited: Mapping[str, int]
    labels: Mapping[str, str]
    kept_out: Sequence[Mapping[str, str]]


def page(report: AuditReport, rules: Mapping[str, Rule], about: About) -> str:
    """A whole HTML page: summary, what is kept out, findings by level and study, rules."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": _code, "sentence": _sentence}
    failed = [f for f in report.findings if f.check.verdict == "inconsistent"]
    undecided = [f for f in report.findings if f.check.verdict == "undecided"]
    # numbers, not names from data, make the anchors of the page
    rule_ids = {name: f"rule-{i}" for i, name in enumerate([*rules, UNANSWERED], 1)}
    groups = [_level(level, failed, about.labels) for level in LEVELS]
    return environment.get_template("audit.html").render(
        about=about,
        levels=groups,
        files=_files(groups),
        blocking=sum(1 for finding in failed if finding.blocks),
        decided=[f for f in failed if f.decision],
        passed=sum(1 for f in report.findings if f.check.verdict == "consistent"),
        undecided=undecided[:MOST_UNDECIDED],
        undecided_in_all=len(undecided),
        rules=_rules(report, rules),
        rule_ids=rule_ids,
        unused=len(report.unused),
        unanswered=UNANSWERED,
        unanswered_means=UNANSWERED_MEANS,
    )


def _level(level: str, failed: Sequence[Finding], labels: Mapping[str, str]) -> dict[str, Any]:
    of_level = [finding for finding in failed if finding.level == level]
    by_file: dict[str, list[Finding]] = {}
    for finding in of_level:
        by_file.setdefault(finding.check.place.file, []).append(finding)
    return {
        "name": level,
        "plural": PLURALS[level],
        "meaning": MEANING[level],
        "count": len(of_level),
        "decided": sum(1 for finding in of_level if finding.decision),
        "groups": [
            {
                "id": f"{PLURALS[level]}-{i}",
                "file": file,
                "label": labels.get(file, file),
                "findings": findings,
            }
            for i, (file, findings) in enumerate(by_file.items(), 1)
        ],
    }


def _files(levels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each file with findings: their number per level, and where they stand."""
    rows: dict[str, dict[str, Any]] = {}
    for level in levels:
        for group in level["groups"]:
            row = rows.setdefault(group["file"], {"label": group["label"], "cells": {}})
            row["cells"][level["name"]] = {
                "count": len(group["findings"]),
                "id": group["id"],
            }
    return list(rows.values())


def _rules(report: AuditReport, rules: Mapping[str, Rule]) -> list[dict[str, Any]]:
    decided = Counter(finding.rule for finding in report.findings if finding.decision)
    found = [
        {
            "id": rule.id,
            "level": rule.level,
            "counts": report.counts[rule.id],
            "decided": decided[rule.id],
            "definition": rule.definition,
            "reference": rule.reference,
        }
        for rule in rules.values()
        if rule.scope != "fit"
    ]
    return sorted(found, key=lambda rule: LEVELS.index(rule["level"]))


def _code(text: str) -> Markup:
    """Text whose parts between backticks are keys of a file."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a single backtick is one
        return Markup.escape(text)
    return Markup().join(
        Markup("<code>{}</code>").format(part) if i % 2 else part
        for i, part in enumerate(parts)
    )


def _sentence(text: str) -> str:
    """The text with a capital, unless it begins with an id such as ``os_hr``."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.isalpha() else text
