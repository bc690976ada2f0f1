"""What the audit costs each conclusion, and what dependence between studies does to it."""


rule scrutiny:
    input:
        effects=f"{RESULTS}/{{analysis}}/effect_sizes.json",
        fit=f"{RESULTS}/{{analysis}}/fit.json",
        code=code("scrutiny"),
    output:
        audit=f"{RESULTS}/{{analysis}}/audit.csv",
        audit_cost=f"{RESULTS}/{{analysis}}/audit_cost.csv",
        dependence=f"{RESULTS}/{{analysis}}/dependence.csv",
    log:
        f"{RESULTS}/logs/scrutiny/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/scrutiny/{{analysis}}.tsv"
    group:
        "analysis"
    conda:
        "../../envs/statistics.yaml"
    params:
        settings=scrutiny_settings,
    message:
        "Audit and dependence of {wildcards.analysis}"
    script:
        "../scripts/scrutiny.py"
