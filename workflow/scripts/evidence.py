"""All study files, checked, as tables."""

from pathlib import Path

from evisynth.log import logged
from evisynth.steps.evidence import write_evidence

with logged(snakemake.log[0]):
    write_evidence(
        *(Path(snakemake.params.settings[name]) for name in ("studies", "outcomes", "base")),
        dict(snakemake.output.items()),
    )
