"""Forest plot of one analysis."""

from evisynth.log import logged
from evisynth.steps.forest import write_forest

with logged(snakemake.log[0]):
    write_forest(
        snakemake.input.effects,
        snakemake.input.fit,
        snakemake.params.settings,
        list(snakemake.output),
    )
