"""All evidence as tables, and what the audit says of it."""


# Every job that selects rows audits them itself (load_project), so no row with an open error is
# pooled whatever the order; the priority only puts the page first. As an `ancient` input of
# effects, audit.csv would hide changes: Snakemake (9.27) does not look at the parameters of a job
# below one that runs, and then does not run it, its only updated input being ancient.
rule audit:
    input:
        audit_sources,
        config=ancient(str(CONFIG)),
        template=os.path.relpath(PACKAGE / "evisynth" / "templates" / "audit.html"),
        code=code("audit"),
    output:
        findings=f"{RESULTS}/evidence/audit.csv",
        rules=f"{RESULTS}/evidence/audit_rules.csv",
        page=report(
            f"{RESULTS}/evidence/audit.html",
            caption="../report/audit.rst",
            category="Audit",
        ),
    log:
        f"{RESULTS}/logs/audit.log",
    benchmark:
        f"{RESULTS}/benchmarks/audit.tsv"
    priority: 100
    conda:
        "../../envs/pages.yaml"
    params:
        digest=PROJECT.audit_digest(),
    message:
        "Audit of all extracted numbers"
    script:
        "../scripts/audit.py"


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
