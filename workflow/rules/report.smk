# the long tables of the study -> tables and figures for people; from stored results, nothing is trained


rule table:
    input:
        lambda wildcards: read_by("tables", wildcards.table),
    output:
        csv=report(
            "results/{study}/tables/{table}.csv",
            caption="../report/caption.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        md="results/{study}/tables/{table}.md",
        tex="results/{study}/tables/{table}.tex",
    log:
        "results/{study}/logs/tables/{table}.log",
    conda:
        ENVIRONMENT
    params:
        **sources("table", "tables", "metrics"),
        settings=settings("table"),
        caption=caption("tables", "table"),
        folder=subpath(output.csv, ancestor=2),
    shell:
        "python -m nearorbit table --settings {params.settings:q} --folder {params.folder}"
        " --csv {output.csv} --md {output.md} --tex {output.tex} 2>&1 | tee {log}"


rule figure:
    input:
        lambda wildcards: read_by("figures", wildcards.figure),
    output:
        pdf="results/{study}/figures/{figure}.pdf",
        png=report(
            "results/{study}/figures/{figure}.png",
            caption="../report/caption.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/{study}/logs/figures/{figure}.log",
    conda:
        ENVIRONMENT
    params:
        **sources("figure", "figures", "metrics"),
        settings=settings("figure"),
        caption=caption("figures", "figure"),
        folder=subpath(output.pdf, ancestor=2),
    shell:
        "python -m nearorbit figure --settings {params.settings:q} --folder {params.folder}"
        " --pdf {output.pdf} --png {output.png} 2>&1 | tee {log}"


rule tables:
    input:
        over([f"results/{{study}}/tables/{{table}}.{kind}" for kind in ("csv", "md", "tex")]),


rule figures:
    input:
        over([f"results/{{study}}/figures/{{figure}}.{kind}" for kind in ("pdf", "png")]),


# What there is of the study, while jobs still run or after some have failed: nothing is run for it, and nothing of the
# whole study is touched.


localrules:
    partial,


rule partial:
    log:
        f"results/{study.study}/partial/partial.log",
    conda:
        ENVIRONMENT
    params:
        settings=settings("partial"),
        folder=f"results/{study.study}",
    shell:
        "python -m nearorbit partial --settings {params.settings:q} --folder {params.folder} --partial {params.folder}/partial"
        " 2>&1 | tee {log}"
