"""Subgroups and meta-regressions of one analysis."""

from evisynth.log import logged
from evisynth.steps.moderators import write_moderators

with logged(snakemake.log[0]):
    write_moderators(
        snakemake.input.effects,
        snakemake.params.settings,
        dict(snakemake.output.items()),
        snakemake.input.config,
    )
