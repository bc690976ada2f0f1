"""Evisynth: from study files and config.yaml to forest plots. See README.md."""

from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"
include: "workflow/rules/evidence.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/scrutiny.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/provenance.smk"


rule all:
    default_target: True
    input:
        TARGETS,
        PROVENANCE,
    message:
        f"All results in {RESULTS}/"


onsuccess:
    print(f"Look at {RESULTS}/summary.csv and {RESULTS}/*/plots/forest.svg")
