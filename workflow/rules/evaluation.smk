# trained networks -> forecasts -> scores -> the long tables of the study


rule forecast:
    input:
        model="results/{study}/{system}/{data}/{method}/model.safetensors",
        history="results/{study}/{system}/{data}/{method}/history.csv",
        truth="results/{study}/{system}/{data}/truth.nc",
    output:
        forecast="results/{study}/{system}/{data}/{method}/forecast.nc",
    log:
        "results/{study}/logs/{system}/{data}/{method}/forecast.log",
    conda:
        ENVIRONMENT
    params:
        **sources("forecast", "networks"),
        settings=settings("forecast"),
    shell:
        "python -m nearorbit forecast --settings {params.settings:q} --model {input.model}"
        " --history {input.history} --truth {input.truth} --forecast {output.forecast} 2>&1 | tee {log}"


rule forecast_truth:
    input:
        truth="results/{study}/{system}/{data}/truth.nc",
    output:
        forecast="results/{study}/{system}/{data}/truth/forecast.nc",
    log:
        "results/{study}/logs/{system}/{data}/truth/forecast.log",
    conda:
        ENVIRONMENT
    params:
        **sources("forecast_truth", "systems"),
        settings=settings("forecast_truth"),
    shell:
        "python -m nearorbit forecast_truth --settings {params.settings:q}"
        " --truth {input.truth} --forecast {output.forecast} 2>&1 | tee {log}"


# All cells of a system: a process takes seconds to begin, and a cell tenths of one.
rule score:
    input:
        truth=[f"results/{{study}}/{{system}}/{data}/truth.nc" for data in study.data for _ in JUDGED],
        forecast=[
            f"results/{{study}}/{{system}}/{data}/{method}/forecast.nc" for data in study.data for method in JUDGED
        ],
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
        " --truth {input.truth} --forecast {input.forecast} --scores {output.scores} 2>&1 | tee {log}"


rule collect:
    input:
        lambda wildcards: over(COLLECTED[wildcards.name], JUDGED if wildcards.name in JUDGED_TABLES else study.methods),
    output:
        "results/{study}/{name}.csv",
    log:
        "results/{study}/logs/{name}.log",
    conda:
        ENVIRONMENT
    params:
        **sources("collect"),
        settings=settings("collect"),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m nearorbit collect --settings {params.settings:q}"
        " --folder {params.folder} --collected {output} 2>&1 | tee {log}"


rule scores:
    input:
        over("results/{study}/scores.csv"),
        over("results/{study}/exponents.csv"),
        over("results/{study}/costs.csv"),
