"""Rules about reports, studies and analyses: sources, duplicates, overlaps, words."""

from evisynth.audit.records import Rule

RULES: tuple[Rule, ...] = ()
