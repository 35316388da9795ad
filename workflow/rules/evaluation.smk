# trained networks -> forecasts -> scores -> the long tables of the study


rule forecast:
    input:
        unpack(truth_inputs),
        model="results/{study}/{system}/{data}/{method}/model.safetensors",
        history="results/{study}/{system}/{data}/{method}/history.csv",
    output:
        forecast="results/{study}/{system}/{data}/{method}/forecast.nc",
    log:
        "results/{study}/logs/{system}/{data}/{method}/forecast.log",
    conda:
        ENVIRONMENT
    params:
        **sources("forecast", "networks"),
        settings=settings("forecast"),
        given=given,
    shell:
        "python -m nearorbit forecast --settings {params.settings:q} {params.given}"
        " --forecast {output.forecast} 2>&1 | tee {log}"


# A field that is brought stands where a method does, and nothing is trained. Where it is a file, that counts as it is.
rule forecast_brought:
    input:
        unpack(truth_inputs),
        source=lambda wildcards: [str(file) for file in [places.source(brought(wildcards))] if file],
    output:
        forecast="results/{study}/{system}/{data}/{method}/forecast.nc",
    log:
        "results/{study}/logs/{system}/{data}/{method}/forecast.log",
    wildcard_constraints:
        method="|".join(map(re.escape, study.fields)) or "(?!)",  # which nothing is
    conda:
        ENVIRONMENT
    params:
        **sources("forecast"),
        settings=settings("forecast"),
        field=brought,
        given=lambda wildcards: given(wildcards, truth_inputs(wildcards)),
    shell:
        "python -m nearorbit forecast --settings {params.settings:q} --field {params.field:q} {params.given}"
        " --forecast {output.forecast} 2>&1 | tee {log}"


# Held against observations that nothing was learned from, where a table or figure asks for it.
rule unseen:
    input:
        unpack(recorded),
        observations="results/{study}/{system}/{data}/observations.nc",
        model="results/{study}/{system}/{data}/{method}/model.safetensors",
    output:
        unseen="results/{study}/{system}/{data}/{method}/unseen.nc",
    log:
        "results/{study}/logs/{system}/{data}/{method}/unseen.log",
    conda:
        ENVIRONMENT
    params:
        **sources("unseen", "networks"),
        settings=settings("unseen"),
        given=given,
    shell:
        "python -m nearorbit unseen --settings {params.settings:q} {params.given}"
        " --unseen {output.unseen} 2>&1 | tee {log}"


rule unseen_brought:
    input:
        unpack(recorded),
        observations="results/{study}/{system}/{data}/observations.nc",
        source=lambda wildcards: [str(file) for file in [places.source(brought(wildcards))] if file],
    output:
        unseen="results/{study}/{system}/{data}/{method}/unseen.nc",
    log:
        "results/{study}/logs/{system}/{data}/{method}/unseen.log",
    wildcard_constraints:
        method="|".join(map(re.escape, study.fields)) or "(?!)",  # which nothing is
    conda:
        ENVIRONMENT
    params:
        **sources("unseen"),
        settings=settings("unseen"),
        field=brought,
        given=lambda wildcards, input: given(wildcards, {k: v for k, v in input.items() if k != "source"}),
    shell:
        "python -m nearorbit unseen --settings {params.settings:q} --field {params.field:q} {params.given}"
        " --unseen {output.unseen} 2>&1 | tee {log}"


# All cells of a system: a process takes seconds to begin, and a cell tenths of one.
rule score:
    input:
        truth=lambda wildcards: judged("results/{study}/{system}/{data}/truth.nc", [wildcards.system]),
        forecast=lambda wildcards: judged("results/{study}/{system}/{data}/{method}/forecast.nc", [wildcards.system]),
        observations=lambda wildcards: judged("results/{study}/{system}/{data}/observations.nc", [wildcards.system]),
    output:
        scores="results/{study}/{system}/scores.csv",
    log:
        "results/{study}/logs/{system}/scores.log",
    conda:
        ENVIRONMENT
    params:
        **sources("score", "metrics"),
        settings=settings("score"),
    shell:
        "python -m nearorbit score --settings {params.settings:q}"
        " --truth {input.truth} --forecast {input.forecast} --observations {input.observations}"
        " --scores {output.scores} 2>&1 | tee {log}"


rule collect:
    input:
        over("results/{study}/{system}/scores.csv"),
        judged("results/{study}/{system}/{data}/{method}/forecast.nc"),
        over("results/{study}/{system}/{data}/{method}/costs.csv"),
    output:
        scores=f"{FOLDER}/scores.csv",
        exponents=f"{FOLDER}/exponents.csv",
        costs=f"{FOLDER}/costs.csv",
    log:
        f"{FOLDER}/logs/scores.log",
    conda:
        ENVIRONMENT
    params:
        **sources("collect"),
        settings=settings("collect"),
    shell:
        f"python -m nearorbit collect --settings {{params.settings:q}} --folder {FOLDER} --scores {{output.scores}}"
        " --exponents {output.exponents} --costs {output.costs} 2>&1 | tee {log}"


rule scores:
    input:
        rules.collect.output,
