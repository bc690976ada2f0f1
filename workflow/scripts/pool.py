"""Pooled estimates and heterogeneity of one analysis."""

from evisynth.log import logged
from evisynth.steps.pool import write_pooled

with logged(snakemake.log[0]):
    write_pooled(
        snakemake.input.effects,
        snakemake.params.settings,
        dict(snakemake.output.items()),
        snakemake.input.config,
    )
