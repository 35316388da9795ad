"""What a study costs, before it runs: its jobs, and what each of them will take, as a pilot of it tells."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from itertools import product
from typing import Any

import pandas as pd

from nearorbit.report.pilot import Job, Pilot
from nearorbit.report.timings import HOST
from nearorbit.study.places import CELL, UNTRAINED
from nearorbit.study.slices import SLICES, runs
from nearorbit.study.study import Study
from nearorbit.training.methods.base import inputs

IMPORTS = "import nearorbit.evaluation.forecast, nearorbit.training.loop, nearorbit.study.files"
NOT_COUNTED = (
    "One model in five is taken to drift, and is judged twice or thrice; bad ones take longer. Of collect, "
    "tables and figures only the start is counted; the time of Snakemake itself, and queues, are not."
)


def jobs(study: Study) -> Iterator[Job]:
    """List the jobs of a study: their stages, and the labels of their cells."""
    methods = {label: study.entry("methods", label) for label in study.methods}
    needed = {label: inputs(method) for label, method in methods.items()}
    read = {
        name for section in ("tables", "figures") for label in getattr(study, section)
        for name in study.entry(section, label).reads
    }  # fmt: skip
    files: set[str] = set().union(*needed.values())
    wanted = {"supervise": "supervision" in files, "propagate": "propagators" in files}
    wanted |= {name: f"{name}.nc" in read for name in ("estimators", "structure", "unseen")}
    axes: dict[str, Any] = dict(zip(CELL, (study.systems, study.data, study.methods), strict=True))
    axes["neighbors"] = sorted({methods[label].neighbors for label, n in needed.items() if "neighbors" in n})
    untrained = {"method": [*study.methods, *study.fields]}
    for stage, (names, _) in SLICES.items():
        if names and set(names) <= set(axes):
            of = axes | (untrained if f"{stage}.nc" in UNTRAINED else {})
            cells = (labels for labels in product(*(of[name] for name in names)) if runs(study, stage, *labels))
            twinned = study.twins.values() if stage == "structure" else ()  # which a twin reads
            yield from ((stage, labels) for labels in cells if wanted.get(stage, True) or labels[0] in twinned)
    yield from ((stage, ()) for stage in ("collect_truth", "collect"))
    yield from ((section, ()) for section in ("tables", "figures") if getattr(study, section))


def estimate(study: Study) -> pd.DataFrame:
    """Estimate what the jobs of a study take, on this machine.

    Arguments:
        study: The study.

    Raises:
        StudyError: If a job would fail.

    Returns:
        A row per job, with columns ``(stage, method, dimension, seconds, memory, device)``: the peak memory in MiB is
        that of this process, or of its GPU, until a job like this one was tried. Jobs of the whole study have dimension
        0, and of their seconds only those in which Python starts. The attribute ``failed`` has the fields that are
        brought and could not be tried, and why.
    """
    start, listed, rows = _start(), list(jobs(study)), []
    pilot = Pilot(study, listed)
    with redirect_stderr(StringIO()):  # what a pilot says of a system is preliminary
        for label in study.systems:
            pilot.explore(label)
    timings, peaks = pilot.timings, pilot.timings.peaks
    for stage, labels in listed:
        dimension, seconds = timings.dimension(labels), start + timings.seconds(stage, labels)
        method = labels[2] if stage in ("train", "forecast") else ""
        memory, device = peaks.get((stage, dimension), 0.0), timings.device if stage == "train" else HOST
        rows.append((stage, method, dimension, seconds, memory, device))
    table = pd.DataFrame(rows, columns=["stage", "method", "dimension", "seconds", "memory", "device"])
    table.attrs["failed"] = timings.failed
    return table


def _start() -> float:
    """Time the start of a job: Python and what a forecast imports."""
    before = os.times()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def told(study: Study, table: pd.DataFrame) -> str:
    """Write what :func:`estimate` has found for people."""
    cells, counts = len(study.systems) * len(study.data) * len(study.methods), table["stage"].value_counts(sort=False)
    lines = [
        f"{len(table)} jobs: " + ", ".join(f"{count} {stage}" for stage, count in counts.items()),
        f"{cells} cells of {study.seeds} seeds; estimated from what was timed on this machine:\n",
        f"{'stage':13} {'method':23} {'D':>4} {'jobs':>6} {'min/job':>8} {'hours':>8} {'MiB':>6}  device",
    ]
    for (stage, method, dimension, device), group in table.groupby(
        ["stage", "method", "dimension", "device"], sort=False
    ):
        seconds = group["seconds"]
        memory = f"{group['memory'].max():.0f}" if dimension else ""
        lines.append(
            f"{stage:13} {method:23} {dimension or '':>4} {len(group):6} {seconds.mean() / 60:8.2f} "
            f"{seconds.sum() / 3600:8.2f} {memory:>6}  {device}"
        )
    lines.append("")
    for (stage, device), group in table.groupby(["stage", "device"], sort=False):
        lines.append(f"{stage}: {group['seconds'].sum() / 3600:.2f} hours of {device}")
    lines += [
        f"fields.{label}: not tried, and only its start counted: {why}" for label, why in table.attrs["failed"].items()
    ]
    total = table["seconds"].sum() / 3600
    return "\n".join([*lines, f"\nin all: {total:.2f} hours, one job on a core at a time. {NOT_COUNTED}"])
