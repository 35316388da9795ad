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


# All that was found, in one file: what was asked, methods, tables and figures.


rule report:
    input:
        rules.collect.output,
        rules.truth.input,
        rules.tables.output,
        rules.figures.output,
        asked=ASKED,
    output:
        report(
            f"{FOLDER}/report.html",
            category="Report",
            labels={"page": "report.html", "shows": "what was found, methods, tables and figures"},
        ),
    log:
        f"{FOLDER}/logs/report.log",
    conda:
        ENVIRONMENT
    params:
        **sources("report", "methods", "metrics"),
        settings=settings("report"),
    shell:
        f"python -m nearorbit report --settings {{params.settings:q}} --folder {FOLDER} --asked {{input.asked:q}} --report {{output}}"
        " 2>&1 | tee {log}"


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
        asked=ASKED,
    shell:
        "python -m nearorbit partial --settings {params.settings:q} --folder {params.folder} --partial {params.folder}/partial"
        " --asked {params.asked:q}"
        " 2>&1 | tee {log}"


# What is small of a study, to be kept with a paper; and what it trained, to be deposited.


rule record:
    input:
        rules.collect.output,
        rules.truth.input,
        over("results/{study}/{system}/{data}/{method}/history.csv"),
        asked=ASKED,
    output:
        directory(f"{FOLDER}/record"),
    log:
        f"{FOLDER}/logs/record.log",
    conda:
        ENVIRONMENT
    params:
        **sources("record"),
        settings=settings("record"),
    shell:
        f"python -m nearorbit record --settings {{params.settings:q}} --folder {FOLDER} --record {{output}} --asked {{input.asked:q}}"
        " 2>&1 | tee {log}"


rule models:
    input:
        rules.collect.output,
        rules.truth.input,
        over("results/{study}/{system}/{data}/{method}/model.safetensors"),
        asked=ASKED,
    output:
        f"{FOLDER}/models.zip",
    log:
        f"{FOLDER}/logs/models.log",
    conda:
        ENVIRONMENT
    params:
        **sources("models"),
        settings=settings("models"),
    shell:
        f"python -m nearorbit models --settings {{params.settings:q}} --folder {FOLDER} --models {{output}} --asked {{input.asked:q}}"
        " 2>&1 | tee {log}"


# The rules of the study as a picture, as another Snakemake finds them: it runs nothing.


localrules:
    rulegraph,


rule rulegraph:
    input:
        *Path(workflow.basedir, "workflow/rules").glob("*.smk"),
        snakefile=workflow.main_snakefile,
        study=ASKED,
    output:
        dot=temp(f"{FOLDER}/logs/rulegraph.dot"),
        picture=f"{FOLDER}/rulegraph.svg",
    log:
        f"{FOLDER}/logs/rulegraph.log",
    conda:
        ENVIRONMENT
    params:
        **sources("rulegraph"),
    shell:
        "(snakemake --snakefile {input.snakefile:q} --configfile {input.study:q} --rulegraph dot > {output.dot}"
        " && python -m nearorbit rulegraph --graph {output.dot} --picture {output.picture}) 2>&1 | tee {log}"
