"""Effect sizes of one analysis."""

from pathlib import Path

from evisynth.log import logged
from evisynth.steps.effects import write_effects

with logged(snakemake.log[0]):
    write_effects(
        Path(snakemake.input.config),
        snakemake.wildcards.analysis,
        snakemake.params.digest,
        snakemake.output[0],
    )
