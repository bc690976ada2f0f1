"""Selection and trace of one analysis."""

from pathlib import Path

from evisynth.log import logged
from evisynth.steps.trace import write_trace

with logged(snakemake.log[0]):
    write_trace(
        Path(snakemake.input.config),
        snakemake.wildcards.analysis,
        snakemake.params.digest,
        snakemake.input.effects,
        snakemake.input.fit,
        dict(snakemake.output.items()),
    )
