"""All evidence as tables."""

if PROJECT.config.evidence:

    rule evidence:
        input:
            studies=[str(path) for path in PROJECT.study_files()],
            outcomes=str(PROJECT.outcomes_file),
            code=code("evidence"),
        output:
            **{name: f"{RESULTS}/evidence/{name}.csv" for name in TABLES},
        log:
            f"{RESULTS}/logs/evidence.log",
        benchmark:
            f"{RESULTS}/benchmarks/evidence.tsv"
        conda:
            "../../envs/statistics.yaml"
        params:
            settings=PROJECT.evidence_settings(),
        message:
            "Evidence tables"
        script:
            "../scripts/evidence.py"
