# The benchmark, from systems to figures:
#
#     snakemake --cores 2                                                  config.yaml, the default study
#     snakemake --cores 2 --configfile workflow/studies/smoke.yaml         another one
#     snakemake --cores 2 truth | scores | tables | figures                as far as that
#     snakemake --cores 1 performance                                      how the cost of a training step grows
#
# Every rule calls one stage of the package through its one door, `python -m nearorbit STAGE`.

from snakemake.utils import min_version

min_version("9.0")


if not workflow.overwrite_configfiles:  # `--configfile` replaces the default study instead of merging into it

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
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
