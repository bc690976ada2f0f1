"""Rules about single numbers: percentages and counts, intervals and p-values, dispersions."""

from evisynth.audit import bounds, dispersions, intervals, outliers, percentages, recomputed
from evisynth.audit.records import Rule

RULES: tuple[Rule, ...] = (
    *percentages.RULES,
    *bounds.RULES,
    *intervals.RULES,
    *dispersions.RULES,
    *recomputed.RULES,
    *outliers.RULES,
)
