# how the cost of a gradient step grows; no part of a study: snakemake --cores 1 performance

GROWTH = {
    "methods": {"baseline": {}, "homotopy": {}, "jacobian": {}, "neighborhood": {}},
    "reference": {"dimension": 5, "neighbors": 25, "segment": 5, "width": 64, "seeds": 3, "batch": 64, "depth": 3},
    "axes": {
        "dimension": [5, 10, 20, 40],
        "neighbors": [1, 5, 25, 100],
        "segment": [1, 5, 20, 80],
        "width": [16, 64, 256],
        "seeds": [1, 3, 10, 30],
    },
    "rounds": 7,
    "device": study.training["device"],
}
FIGURE = {"label": "growth", "figure": {}, "study": {"systems": [], "data": {}, "methods": []}}


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
        settings=json.dumps(GROWTH),
        sources=sources("growth", "methods"),
    shell:
        "python -m nearorbit growth --settings {params.settings:q} --growth {output.growth} 2>&1 | tee {log}"


rule performance:
    input:
        growth="results/performance/growth.csv",
    output:
        pdf="results/performance/growth.pdf",
        png="results/performance/growth.png",
    log:
        "results/performance/logs/performance.log",
    conda:
        ENVIRONMENT
    params:
        settings=json.dumps(FIGURE),
        sources=sources("figure", "figures"),
        folder=subpath(output.pdf, parent=True),
    shell:
        "python -m nearorbit figure --settings {params.settings:q} --folder {params.folder}"
        " --pdf {output.pdf} --png {output.png} 2>&1 | tee {log}"
