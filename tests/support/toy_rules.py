"""Rules made up for tests of what carries rules: independent of those that ship."""

from collections.abc import Iterator

import pytest

from evisynth.audit import registry
from evisynth.audit.records import Check, Rule


def too_round(study) -> Iterator[Check]:
    """Fails where a percentage is not that of its count; undecided without a count."""
    for one in study.proportions:
        if one.percent is None or not one.n:
            continue
        if one.events is None:
            yield Check(one.place, "undecided", one.percent.text, "", "no count is given")
            continue
        right = f"{100 * one.events / one.n:.0f}%"
        same = abs(100 * one.events / one.n - one.percent.value) <= 0.5
        yield Check(
            one.place,
            "consistent" if same else "inconsistent",
            f"{one.percent.text} of {one.n}",
            right,
            "as printed" if same else f"{one.events} of {one.n} are {right}",
            "" if same else "look at the report",
        )


def too_large(table) -> Iterator[Check]:
    """Fails where yi is above 5, a milder form above 1."""
    for line, number, study, cells in table.rows:
        value = table.numbers(cells).get("yi")
        if value is not None:
            yield Check(
                table.place(line, number, study, "yi"),
                "inconsistent" if value.value > 1 else "consistent",
                value.text,
                "at most 5",
                "yi is large",
                "look",
                "error" if value.value > 5 else "warning",
            )


def unnamed(analysis) -> Iterator[Check]:
    """Fails where the title is no sentence."""
    yield Check(analysis.place("title"), "inconsistent", "", "", "no full stop", "add one")


TOYS = {
    "TOY-PERCENT": Rule(
        "TOY-PERCENT", "error", "study", "Percentage and count differ.", too_round, "Toy 1999"
    ),
    "TOY-LARGE": Rule("TOY-LARGE", "error", "table", "yi is large.", too_large),
    "TOY-TITLE": Rule("TOY-TITLE", "note", "analysis", "A title without a full stop.", unnamed),
    "TOY-FIT": Rule("TOY-FIT", "note", "fit", "Needs a fit.", lambda fit: ()),
}  # fmt: skip


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the toys be all rules that there are."""
    for name in list(registry.RULES):
        monkeypatch.delitem(registry.RULES, name)
    for name, rule in TOYS.items():
        monkeypatch.setitem(registry.RULES, name, rule)
