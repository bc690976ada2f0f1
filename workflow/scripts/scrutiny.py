"""What the audit costs the conclusion of one analysis, and what dependence does to it."""

from evisynth.log import logged
from evisynth.steps.scrutiny import write_scrutiny

with logged(snakemake.log[0]):
    write_scrutiny(
        snakemake.input.effects,
        snakemake.input.fit,
        snakemake.params.settings,
        dict(snakemake.output.items()),
    )
