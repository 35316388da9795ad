# system -> its attractor and exponents -> orbits, and what learned fields are judged by and may be given; of measured
# systems, and data that show states in part, there is no true field: nothing is made that would take one


rule exponents:
    input:
        resembled,
    output:
        exponents="results/{study}/{system}/exponents.nc",
    log:
        "results/{study}/logs/{system}/exponents.log",
    wildcard_constraints:
        system=systems("exponents"),
    conda:
        ENVIRONMENT
    params:
        **sources("exponents", "systems"),
        settings=settings("exponents"),
    shell:
        "python -m nearorbit exponents --settings {params.settings:q}"
        " --exponents {output.exponents} 2>&1 | tee {log}"


rule covariant_vectors:
    input:
        exponents="results/{study}/{system}/exponents.nc",
    output:
        vectors="results/{study}/{system}/covariant_vectors.nc",
    log:
        "results/{study}/logs/{system}/covariant_vectors.log",
    wildcard_constraints:
        system=systems("covariant_vectors"),
    conda:
        ENVIRONMENT
    params:
        **sources("covariant_vectors", "systems"),
        settings=settings("covariant_vectors"),
    shell:
        "python -m nearorbit covariant_vectors --settings {params.settings:q}"
        " --exponents {input.exponents} --vectors {output.vectors} 2>&1 | tee {log}"


rule collect_truth:
    input:
        over("results/{study}/{system}/exponents.nc"),
    output:
        truth=f"{FOLDER}/truth.csv",
    log:
        f"{FOLDER}/logs/truth.log",
    conda:
        ENVIRONMENT
    params:
        **sources("collect_truth"),
        settings=settings("collect_truth"),
    shell:
        f"python -m nearorbit collect_truth --settings {{params.settings:q}} --folder {FOLDER}"
        " --truth {output.truth} 2>&1 | tee {log}"


rule truth:
    input:
        rules.collect_truth.output,


# Thousands of orbits are worth several cores, which do not change a bit of them.
rule orbits:
    input:
        exponents="results/{study}/{system}/exponents.nc",
    output:
        orbits="results/{study}/{system}/{data}/orbits.nc",
    log:
        "results/{study}/logs/{system}/{data}/orbits.log",
    wildcard_constraints:
        system=systems("orbits"),
    conda:
        ENVIRONMENT
    threads: lambda wildcards: 4 if study.data[wildcards.data].get("orbits", 1) >= 1000 else 1
    params:
        **sources("orbits", "systems"),
        settings=settings("orbits"),
    shell:
        "python -m nearorbit orbits --settings {params.settings:q}"
        " --exponents {input.exponents} --orbits {output.orbits} 2>&1 | tee {log}"


rule truth_table:
    input:
        orbits="results/{study}/{system}/{data}/orbits.nc",
        exponents="results/{study}/{system}/exponents.nc",
        vectors="results/{study}/{system}/covariant_vectors.nc",
    output:
        truth="results/{study}/{system}/{data}/truth.nc",
        forecast="results/{study}/{system}/{data}/truth/forecast.nc",
    log:
        "results/{study}/logs/{system}/{data}/truth.log",
    wildcard_constraints:
        system=systems("truth"),
    conda:
        ENVIRONMENT
    params:
        **sources("truth", "systems"),
        settings=settings("truth"),
    shell:
        "python -m nearorbit truth --settings {params.settings:q}"
        " --orbits {input.orbits} --exponents {input.exponents} --vectors {input.vectors}"
        " --truth {output.truth} --forecast {output.forecast} 2>&1 | tee {log}"


rule twin:
    input:
        exponents="results/{study}/{system}/exponents.nc",
        like=twinned("orbits.nc"),
        structure=twinned("structure.nc"),
        observations=twinned("observations.nc"),
    output:
        orbits="results/{study}/{system}/{data}/orbits.nc",
    log:
        "results/{study}/logs/{system}/{data}/orbits.log",
    wildcard_constraints:
        system=systems("twin"),
    conda:
        ENVIRONMENT
    params:
        **sources("twin", "systems"),
        settings=settings("twin"),
    shell:
        "python -m nearorbit twin --settings {params.settings:q} --exponents {input.exponents} --like {input.like}"
        " --structure {input.structure} --observations {input.observations} --orbits {output.orbits} 2>&1 | tee {log}"


rule measure:
    input:
        series=measured_file,
    output:
        exponents="results/{study}/{system}/exponents.nc",
    log:
        "results/{study}/logs/{system}/exponents.log",
    wildcard_constraints:
        system=systems("measure"),
    conda:
        ENVIRONMENT
    params:
        **sources("measure", "systems"),
        settings=settings("measure"),
    shell:
        "python -m nearorbit measure --settings {params.settings:q} --series {input.series:q}"
        " --exponents {output.exponents} 2>&1 | tee {log}"


rule cut:
    input:
        series=measured_file,
        exponents="results/{study}/{system}/exponents.nc",
    output:
        orbits="results/{study}/{system}/{data}/orbits.nc",
    log:
        "results/{study}/logs/{system}/{data}/orbits.log",
    wildcard_constraints:
        system=systems("cut"),
    conda:
        ENVIRONMENT
    params:
        **sources("cut", "systems"),
        settings=settings("cut"),
    shell:
        "python -m nearorbit cut --settings {params.settings:q} --series {input.series:q}"
        " --exponents {input.exponents} --orbits {output.orbits} 2>&1 | tee {log}"


rule hold_out:
    input:
        orbits="results/{study}/{system}/{data}/orbits.nc",
        observations="results/{study}/{system}/{data}/observations.nc",
    output:
        truth="results/{study}/{system}/{data}/truth.nc",
    log:
        "results/{study}/logs/{system}/{data}/truth.log",
    wildcard_constraints:
        system=systems("hold_out"),
    conda:
        ENVIRONMENT
    params:
        **sources("hold_out"),
        settings=settings("hold_out"),
    shell:
        "python -m nearorbit hold_out --settings {params.settings:q} --orbits {input.orbits}"
        " --observations {input.observations} --truth {output.truth} 2>&1 | tee {log}"


rule partial_truth:
    input:
        orbits="results/{study}/{system}/{data}/orbits.nc",
        exponents="results/{study}/{system}/exponents.nc",
        observations="results/{study}/{system}/{data}/observations.nc",
    output:
        truth="results/{study}/{system}/{data}/truth.nc",
    log:
        "results/{study}/logs/{system}/{data}/truth.log",
    wildcard_constraints:
        system=systems("partial_truth"),
    conda:
        ENVIRONMENT
    params:
        **sources("partial_truth", "systems"),
        settings=settings("partial_truth"),
    shell:
        "python -m nearorbit partial_truth --settings {params.settings:q} --orbits {input.orbits}"
        " --exponents {input.exponents} --observations {input.observations} --truth {output.truth} 2>&1 | tee {log}"


rule supervise:
    input:
        observations="results/{study}/{system}/{data}/observations.nc",
        exponents="results/{study}/{system}/exponents.nc",
    output:
        supervision="results/{study}/{system}/{data}/supervision.nc",
    log:
        "results/{study}/logs/{system}/{data}/supervision.log",
    wildcard_constraints:
        system=systems("supervise"),
    conda:
        ENVIRONMENT
    params:
        **sources("supervise", "systems"),
        settings=settings("supervise"),
    shell:
        "python -m nearorbit supervise --settings {params.settings:q} --observations {input.observations}"
        " --exponents {input.exponents} --supervision {output.supervision} 2>&1 | tee {log}"


rule propagate:
    input:
        observations="results/{study}/{system}/{data}/observations.nc",
    output:
        propagators="results/{study}/{system}/{data}/propagators.nc",
    log:
        "results/{study}/logs/{system}/{data}/propagators.log",
    wildcard_constraints:
        system=systems("propagate"),
    conda:
        ENVIRONMENT
    params:
        **sources("propagate", "systems"),
        settings=settings("propagate"),
    shell:
        "python -m nearorbit propagate --settings {params.settings:q} --observations {input.observations}"
        " --propagators {output.propagators} 2>&1 | tee {log}"
