# the long tables of the study -> tables and figures for people; from stored results, nothing is trained


rule tables:
    input:
        read_by("tables"),
    output:
        shown("tables", "csv"),
        products("tables", "md", "tex"),
    log:
        f"{FOLDER}/logs/tables.log",
    conda:
        ENVIRONMENT
    params:
        **sources("tables", "tables", "metrics"),
        settings=settings("tables"),
    shell:
        f"python -m nearorbit tables --settings {{params.settings:q}} --folder {FOLDER} --into {FOLDER}/tables 2>&1 | tee {{log}}"


rule figures:
    input:
        read_by("figures"),
    output:
        shown("figures", "png"),
        products("figures", "pdf", "txt"),
    log:
        f"{FOLDER}/logs/figures.log",
    conda:
        ENVIRONMENT
    params:
        **sources("figures", "figures", "metrics"),
        settings=settings("figures"),
    shell:
        f"python -m nearorbit figures --settings {{params.settings:q}} --folder {FOLDER} --into {FOLDER}/figures 2>&1 | tee {{log}}"


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
        folder=FOLDER,
    shell:
        "python -m nearorbit partial --settings {params.settings:q} --folder {params.folder} --partial {params.folder}/partial"
        " 2>&1 | tee {log}"
