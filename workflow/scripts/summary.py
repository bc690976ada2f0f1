"""One row per analysis."""

from evisynth.log import logged
from evisynth.steps.summary import write_summary

with logged(snakemake.log[0]):
    write_summary(
        dict(zip(snakemake.params.settings, snakemake.input.fits, strict=True)),
        dict(zip(snakemake.params.settings, snakemake.input.effects, strict=True)),
        snakemake.params.settings,
        snakemake.output[0],
    )
