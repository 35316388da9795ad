# what is small of a study, kept -> what it can tell, drawn again: redraw --config from=FOLDER


localrules:
    redraw,


rule redraw:
    log:
        f"{FOLDER}/redrawn/redraw.log",
    conda:
        ENVIRONMENT
    threads: 64  # all that there are: what is asked for beside it is drawn into the same folder
    params:
        settings=settings("redraw"),
        kept=RECORD or f"{FOLDER}/record",
        into=f"{FOLDER}/redrawn",
        asked=ASKED,
    shell:
        "python -m nearorbit redraw --settings {params.settings:q} --kept {params.kept:q} --into {params.into}"
        " --asked {params.asked:q}"
        " 2>&1 | tee {log}"


# Nothing is run of a study that is told by a record: whatever is asked for that it can show, it shows.
if RECORD:

    localrules:
        all,
        tables,
        figures,
        report,

    use rule redraw as tables

    use rule redraw as figures

    use rule redraw as report
