# The benchmark, from systems to figures:
#
#     snakemake --cores 2                                                  config.yaml, the default study
#     snakemake --cores 2 --configfile workflow/studies/smoke.yaml         another one
#     snakemake --cores 2 truth | scores | tables | figures | report       as far as that; models packs what was trained
#     snakemake --cores 1 redraw --config from=docs/results/noise          what can be shown of a record alone
#     snakemake --cores 1 performance                                      how the cost of a training step grows
#
# Every rule calls one stage of the package through its one door, `python -m nearorbit STAGE`.

from snakemake.utils import min_version

min_version("9.0")


if not workflow.overwrite_configfiles:  # `--configfile` replaces the default study instead of merging into it

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/record.smk"


# Snakemake's limit of jobs a second, where nobody has asked for another, makes it look at all ready jobs again a second
# after it has looked, once more for every job that has ended: some hundred jobs later this takes a fifth of a core.
onstart:
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit is not None and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


if RECORD:  # what is kept of a study is shown, and nothing of it is run

    use rule redraw as all with:
        default_target: True

else:

    include: "workflow/rules/truth.smk"
    include: "workflow/rules/data.smk"
    include: "workflow/rules/training.smk"
    include: "workflow/rules/evaluation.smk"
    include: "workflow/rules/report.smk"

    rule all:
        default_target: True
        input:
            rules.truth.input,
            rules.scores.input,
            rules.tables.output,
            rules.figures.output,
