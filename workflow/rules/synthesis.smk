"""From the rows of an analysis to its pooled estimates."""


rule effects:
    input:
        evidence_sources,
        config=ancient(str(CONFIG)),
        code=code("effects"),
    output:
        f"{RESULTS}/{{analysis}}/effect_sizes.json",
    log:
        f"{RESULTS}/logs/effects/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/effects/{{analysis}}.tsv"
    group:
        "analysis"
    conda:
        "../../envs/statistics.yaml"
    params:
        digest=effects_digest,
    message:
        "Effect sizes of {wildcards.analysis}"
    script:
        "../scripts/effects.py"


rule pool:
    input:
        effects=f"{RESULTS}/{{analysis}}/effect_sizes.json",
        config=ancient(str(CONFIG)),
        code=code("pool"),
    output:
        effects=f"{RESULTS}/{{analysis}}/effects.csv",
        pooled=f"{RESULTS}/{{analysis}}/pooled.csv",
        heterogeneity=f"{RESULTS}/{{analysis}}/heterogeneity.csv",
        tau2_intervals=f"{RESULTS}/{{analysis}}/tau2_intervals.csv",
        components=f"{RESULTS}/{{analysis}}/components.csv",
        blups=f"{RESULTS}/{{analysis}}/blups.csv",
        beyond=f"{RESULTS}/{{analysis}}/beyond.csv",
        fit=f"{RESULTS}/{{analysis}}/fit.json",
    log:
        f"{RESULTS}/logs/pool/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pool/{{analysis}}.tsv"
    group:
        "analysis"
    conda:
        "../../envs/statistics.yaml"
    params:
        settings=pooling_settings,
    message:
        "Pooled estimates of {wildcards.analysis}"
    script:
        "../scripts/pool.py"


rule moderators:
    input:
        effects=f"{RESULTS}/{{analysis}}/effect_sizes.json",
        config=ancient(str(CONFIG)),
        code=code("moderators"),
    output:
        **{table: f"{RESULTS}/{{analysis}}/{table}.csv" for table in MODERATORS},
    log:
        f"{RESULTS}/logs/moderators/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/moderators/{{analysis}}.tsv"
    group:
        "analysis"
    conda:
        "../../envs/moderators.yaml"
    params:
        settings=moderator_settings,
    message:
        "Subgroups and regressions of {wildcards.analysis}"
    script:
        "../scripts/moderators.py"


rule engines:
    input:
        effects=f"{RESULTS}/{{analysis}}/effect_sizes.json",
        code=code("engines"),
    output:
        f"{RESULTS}/{{analysis}}/engines.csv",
    log:
        f"{RESULTS}/logs/engines/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/engines/{{analysis}}.tsv"
    group:
        "analysis"
    conda:
        "../../envs/engines.yaml"
    params:
        settings=engines_settings,
    message:
        "Other software on {wildcards.analysis}"
    script:
        "../scripts/engines.py"


rule summary:
    input:
        fits=expand(f"{RESULTS}/{{analysis}}/fit.json", analysis=ANALYSES),
        effects=expand(f"{RESULTS}/{{analysis}}/effect_sizes.json", analysis=ANALYSES),
        code=code("summary"),
    output:
        f"{RESULTS}/summary.csv",
    log:
        f"{RESULTS}/logs/summary.log",
    benchmark:
        f"{RESULTS}/benchmarks/summary.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        settings=summary_settings(),
    message:
        "Summary of all analyses"
    script:
        "../scripts/summary.py"
