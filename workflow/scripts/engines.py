"""Estimates of one analysis by other software."""

from evisynth.log import logged
from evisynth.steps.engines import write_engines

with logged(snakemake.log[0]):
    write_engines(snakemake.input.effects, snakemake.params.settings, snakemake.output[0])
