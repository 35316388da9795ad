# observations (and what a method declares that it needs) -> a trained network for every seed


rule train:
    input:
        unpack(training_inputs),
    output:
        model="results/{study}/{system}/{data}/{method}/model.safetensors",
        history="results/{study}/{system}/{data}/{method}/history.csv",
        costs="results/{study}/{system}/{data}/{method}/costs.csv",
    log:
        "results/{study}/logs/{system}/{data}/{method}/training.log",
    conda:
        ENVIRONMENT
    resources:
        gpu=int(study.training["device"] != "cpu"),  # how many there are to share is the profile's to say,
        cells_per_training=1,  # and how many cells may be trained together; each stays a job
    params:
        **sources("train", "methods", "needs", "networks"),
        settings=settings("train"),
        given=given,
        checkpoint="results/{study}/checkpoints/{system}/{data}/{method}.safetensors",  # no output: it outlives a kill
        siblings=siblings,
    shell:
        "python -m nearorbit train --settings {params.settings:q} {params.given}"
        " --model {output.model} --history {output.history} --costs {output.costs} --checkpoint {params.checkpoint}{params.siblings} 2>&1 | tee {log}"


# Where several cells may be trained together data come first, so that there are several to take.
if checked_cells(rules.train.rule.resources["cells_per_training"]) > 1:
    for proxy in (rules.exponents, rules.orbits, rules.observe, rules.neighbors, rules.supervise, rules.propagate):
        proxy.rule.priority = 1


# How the cost of a gradient step grows; no part of a study: snakemake --cores 1 performance

FIGURE = {"figures": {"growth": {}}, "study": {"systems": [], "data": {}, "methods": []}}


rule growth:
    output:
        growth="results/performance/growth.csv",
    log:
        "results/performance/logs/growth.log",
    conda:
        ENVIRONMENT
    resources:
        gpu=int(study.training["device"] != "cpu"),
    params:
        **sources("growth", "methods", "needs", "networks"),
        settings=settings("growth"),
    shell:
        "python -m nearorbit growth --settings {params.settings:q} --growth {output.growth} 2>&1 | tee {log}"


rule performance:
    input:
        growth="results/performance/growth.csv",
    output:
        pdf="results/performance/growth.pdf",
        png="results/performance/growth.png",
        txt="results/performance/growth.txt",
    log:
        "results/performance/logs/performance.log",
    conda:
        ENVIRONMENT
    params:
        **sources("figures", "figures"),
        settings=json.dumps(FIGURE),
        folder=subpath(output.pdf, parent=True),
    shell:
        "python -m nearorbit figures --settings {params.settings:q} --folder {params.folder} --into {params.folder} 2>&1 | tee {log}"


# The trajectory error around the weights of the first cell of the study: snakemake --cores 1 landscape

AROUND = study.settings("landscape")["cell"]


rule surface:
    input:
        model=f"{FOLDER}/{AROUND['system']}/{AROUND['data']}/{AROUND['method']}/model.safetensors",
        observations=f"{FOLDER}/{AROUND['system']}/{AROUND['data']}/observations.nc",
    output:
        landscape=f"{FOLDER}/landscape.csv",
    log:
        f"{FOLDER}/logs/surface.log",
    conda:
        ENVIRONMENT
    params:
        **sources("landscape", "methods", "needs", "networks"),
        settings=settings("landscape"),
    shell:
        "python -m nearorbit landscape --settings {params.settings:q} --model {input.model}"
        " --observations {input.observations} --landscape {output.landscape} 2>&1 | tee {log}"


rule landscape:
    input:
        landscape=rules.surface.output,
    output:
        pdf=f"{FOLDER}/landscape.pdf",
        png=f"{FOLDER}/landscape.png",
        txt=f"{FOLDER}/landscape.txt",
    log:
        f"{FOLDER}/logs/landscape.log",
    conda:
        ENVIRONMENT
    params:
        **sources("figures", "figures"),
        settings=json.dumps(FIGURE | {"figures": {"landscape": {}}}),
    shell:
        f"python -m nearorbit figures --settings {{params.settings:q}} --folder {FOLDER} --into {FOLDER} 2>&1 | tee {{log}}"


# What the study will take, before it is submitted.


localrules:
    estimate,


rule estimate:
    log:
        f"results/{study.study}/logs/estimate.log",
    conda:
        ENVIRONMENT
    params:
        settings=settings("estimate"),
    shell:
        "python -m nearorbit estimate --settings {params.settings:q} 2>&1 | tee {log}"
