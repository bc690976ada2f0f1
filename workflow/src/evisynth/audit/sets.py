"""Rules about sets of numbers of one study or table: sums, partitions, duplicates, tests."""

from evisynth.audit import duplicates, fingerprint, partitions, rowsets, sizes, sums
from evisynth.audit.records import Rule

RULES: tuple[Rule, ...] = (
    *partitions.RULES,
    *sums.RULES,
    *duplicates.RULES,
    *fingerprint.RULES,
    *sizes.RULES,
    *rowsets.RULES,
)
