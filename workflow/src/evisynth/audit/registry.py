"""All rules, by their ids; a rule is added in the module of its kind and is then everywhere."""

from evisynth.audit import (
    analyses,
    definitions,
    fits,
    numbers,
    overlaps,
    quoting,
    reports,
    sets,
    words,
)
from evisynth.audit.records import Rule

RULES: dict[str, Rule] = {
    rule.id: rule
    for module in (
        numbers,
        sets,
        reports,
        quoting,
        overlaps,
        words,
        definitions,
        analyses,
        fits,
    )
    for rule in module.RULES
}
