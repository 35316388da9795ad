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
        gpu=int(study.training["device"] != "cpu"),  # how many there are to share is the profile's to say
    params:
        settings=settings("train"),
        sources=sources("train", "methods"),
        given=given,
        checkpoint="results/{study}/checkpoints/{system}/{data}/{method}.safetensors",  # no output: it outlives a kill
    shell:
        "python -m nearorbit train --settings {params.settings:q} {params.given}"
        " --model {output.model} --history {output.history} --costs {output.costs} --checkpoint {params.checkpoint} 2>&1 | tee {log}"
