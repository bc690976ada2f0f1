"""Rules about sets of numbers of one study or table: sums, partitions, duplicates, tests."""

from evisynth.audit.records import Rule

RULES: tuple[Rule, ...] = ()
