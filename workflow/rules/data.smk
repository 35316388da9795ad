# orbits -> observations -> neighbors, and what can be told without training


rule observe:
    input:
        orbits="results/{study}/{system}/{data}/orbits.nc",
        exponents="results/{study}/{system}/exponents.nc",
    output:
        observations="results/{study}/{system}/{data}/observations.nc",
    log:
        "results/{study}/logs/{system}/{data}/observations.log",
    conda:
        ENVIRONMENT
    params:
        **sources("observe"),
        settings=settings("observe"),
    shell:
        "python -m nearorbit observe --settings {params.settings:q} --orbits {input.orbits}"
        " --exponents {input.exponents} --observations {output.observations} 2>&1 | tee {log}"


rule neighbors:
    input:
        observations="results/{study}/{system}/{data}/observations.nc",
    output:
        neighbors="results/{study}/{system}/{data}/neighbors/{neighbors}.nc",
    log:
        "results/{study}/logs/{system}/{data}/neighbors/{neighbors}.log",
    conda:
        ENVIRONMENT
    params:
        **sources("neighbors"),
        settings=lambda wildcards: selection(wildcards.neighbors),
    shell:
        "python -m nearorbit neighbors --settings {params.settings:q}"
        " --observations {input.observations} --neighbors {output.neighbors} 2>&1 | tee {log}"


rule estimators:
    input:
        observations="results/{study}/{system}/{data}/observations.nc",
        truth="results/{study}/{system}/{data}/truth.nc",
    output:
        estimators="results/{study}/{system}/{data}/estimators.nc",
    log:
        "results/{study}/logs/{system}/{data}/estimators.log",
    conda:
        ENVIRONMENT
    params:
        **sources("estimators"),
        settings=settings("estimators"),
    shell:
        "python -m nearorbit estimators --settings {params.settings:q} --observations {input.observations}"
        " --truth {input.truth} --estimators {output.estimators} 2>&1 | tee {log}"


rule structure:
    input:
        observations="results/{study}/{system}/{data}/observations.nc",
    output:
        structure="results/{study}/{system}/{data}/structure.nc",
    log:
        "results/{study}/logs/{system}/{data}/structure.log",
    conda:
        ENVIRONMENT
    params:
        **sources("structure"),
        settings=settings("structure"),
    shell:
        "python -m nearorbit structure --settings {params.settings:q} --observations {input.observations}"
        " --structure {output.structure} 2>&1 | tee {log}"
