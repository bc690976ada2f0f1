"""Checks of all extracted numbers."""

from pathlib import Path

from evisynth.log import logged
from evisynth.steps.audit import write_audit

with logged(snakemake.log[0]):
    write_audit(
        Path(snakemake.input.config), snakemake.params.digest, dict(snakemake.output.items())
    )
