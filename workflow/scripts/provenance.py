"""Provenance of all results."""

from evisynth.log import logged
from evisynth.steps.provenance import write_provenance

with logged(snakemake.log[0]):
    write_provenance(
        snakemake.params.asked,
        snakemake.input.results,
        dict(snakemake.output.items()),
    )
