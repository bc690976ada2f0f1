"""Plots of an analysis."""


rule forest:
    input:
        effects=f"{RESULTS}/{{analysis}}/effect_sizes.json",
        fit=f"{RESULTS}/{{analysis}}/fit.json",
        code=code("forest"),
    output:
        report(
            f"{RESULTS}/{{analysis}}/plots/forest.svg",
            caption="../report/forest.rst",
            category="Forest plots",
            labels={"analysis": "{analysis}"},
        ),
        f"{RESULTS}/{{analysis}}/plots/forest.pdf",
        f"{RESULTS}/{{analysis}}/plots/forest.png",
    log:
        f"{RESULTS}/logs/forest/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forest/{{analysis}}.tsv"
    group:
        "analysis"
    conda:
        "../../envs/plots.yaml"
    params:
        settings=drawing_settings,
    message:
        "Forest plot of {wildcards.analysis}"
    script:
        "../scripts/forest.py"
