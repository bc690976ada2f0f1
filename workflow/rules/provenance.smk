"""Where every number comes from: per analysis, and for the results as a whole."""


rule trace:
    input:
        evidence_sources,
        effects=f"{RESULTS}/{{analysis}}/effect_sizes.json",
        fit=f"{RESULTS}/{{analysis}}/fit.json",
        config=ancient(str(CONFIG)),
        code=code("trace"),
    output:
        selection=f"{RESULTS}/{{analysis}}/selection.csv",
        trace=f"{RESULTS}/{{analysis}}/trace.json",
    log:
        f"{RESULTS}/logs/trace/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/trace/{{analysis}}.tsv"
    group:
        "analysis"
    conda:
        "../../envs/statistics.yaml"
    params:
        digest=trail_digest,
    message:
        "Trace of {wildcards.analysis}"
    script:
        "../scripts/trace.py"


rule provenance:
    input:
        results=TARGETS,
        code=code("provenance"),
    output:
        provenance=f"{RESULTS}/provenance.json",
        crate=f"{RESULTS}/ro-crate-metadata.json",
    log:
        f"{RESULTS}/logs/provenance.log",
    benchmark:
        f"{RESULTS}/benchmarks/provenance.tsv"
    conda:
        "../../envs/provenance.yaml"
    params:
        asked=provenance_asked,
    message:
        "Provenance of all results"
    script:
        "../scripts/provenance.py"
