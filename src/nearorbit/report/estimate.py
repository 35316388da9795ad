"""What a study costs, before it runs: a pilot of it, a little of everything that its jobs will do, timed here.

*Of every system* the attractor is explored over one horizon (two, where one is not enough: how many it will take
follows from the standard error, which falls with the root of the time), its orbits and its truth are simulated in full,
and the steps are found that fields are judged with. *The first system of each dimension* stands for the others: its
first kind of data is observed, neighbors are found, every method is trained for a few steps, and so on. A step of a
training, and a validation, take as long as they have Runge-Kutta steps from sample to sample, which the orbits tell.

*A forecast* is a number of steps, which the truth tells, times the seconds of one, which a network tells before it has
learned anything. So it is that of a model as good as the truth.

It is one module since what is tried, and what follows from it for the others, belong together.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from itertools import product
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit.data.local_fits import estimate as estimators
from nearorbit.data.neighbors import neighbors
from nearorbit.data.observations import observe
from nearorbit.data.structure import structure
from nearorbit.dynamics.fields import CompiledField, Transformed, in_place_of_a_model
from nearorbit.dynamics.models import with_equations
from nearorbit.evaluation.judged import Judged
from nearorbit.evaluation.scores import scores
from nearorbit.evaluation.unseen import unseen
from nearorbit.report.pace import explored, pace, timed, work
from nearorbit.study.catalogue import TRUTH, StudyError, build
from nearorbit.study.places import CELL
from nearorbit.study.slices import SLICES, runs
from nearorbit.study.study import Study
from nearorbit.training.budget import Training
from nearorbit.training.devices import peak_memory, pick_device
from nearorbit.training.loop import substeps, train
from nearorbit.training.methods.base import inputs
from nearorbit.truth import simulation
from nearorbit.truth.covariant_vectors import covariant_vectors
from nearorbit.truth.integrators import compiled
from nearorbit.truth.propagators import propagators
from nearorbit.truth.systems.base import System

Job = tuple[str, tuple[str, ...]]  # the stage, and the labels of its cell

IMPORTS = "import nearorbit.evaluation.forecast, nearorbit.training.loop, nearorbit.study.files"
ENOUGH = 1.0  # seconds that the steps of a training are timed for, at least
HOST = "one CPU core"
NOT_COUNTED = (
    "One model in five is taken to drift, and is judged twice or thrice; bad ones take longer. Of collect, "
    "tables and figures only the start is counted; forecasts of fields that are brought, the time of Snakemake itself, "
    "and queues, are not."
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
    for stage, (names, _) in SLICES.items():
        if names and set(names) <= set(axes) and wanted.get(stage, True):
            cells = product(*(axes[name] for name in names))
            yield from ((stage, labels) for labels in cells if runs(study, stage, *labels))
    yield from ((stage, ()) for stage in ("collect_truth", "collect"))
    yield from ((section, ()) for section in ("tables", "figures") if getattr(study, section))


def estimate(study: Study) -> pd.DataFrame:
    """Estimate what the jobs of a study take, on this machine.

    Arguments:
        study: The study.

    Raises:
        StudyError: If a system is measured, or states are seen in part: no pilot knows what comes of these.

    Returns:
        A row per job, with columns ``(stage, method, dimension, seconds, memory, device)``: the peak memory in MiB is
        that of this process, or of its GPU, until a job like this one was tried. Jobs of the whole study have dimension
        0, and of their seconds only those in which Python starts.
    """
    for cell in sorted(study.fieldless):
        raise StudyError(f"estimate: a pilot needs the true field, and {'/'.join(cell)} has none; leave it out")
    start, pilot, rows = _start(), Pilot(study), []
    listed = list(jobs(study))
    with redirect_stderr(StringIO()):  # what a pilot says of a system is preliminary
        for label, system in pilot.systems.items():
            known = pilot.explore(label, system)
            if pilot.stands[system.dimension] == label:
                pilot.attempt(label, system, *known, listed)
    for stage, labels in listed:
        dimension = pilot.systems[labels[0]].dimension if labels else 0
        seconds = start + (pilot.seconds(stage, *labels) if labels else 0.0)
        method = labels[2] if stage in ("train", "forecast") else ""
        memory, device = pilot.memory.get((dimension, stage), 0.0), pilot.device if stage == "train" else HOST
        rows.append((stage, method, dimension, seconds, memory, device))
    return pd.DataFrame(rows, columns=["stage", "method", "dimension", "seconds", "memory", "device"])


class Pilot:
    """What was tried and timed of a study.

    Arguments:
        study: The study.
    """

    def __init__(self, study: Study):
        self._study, self._first = study, next(iter(study.data))
        self.systems: dict[str, System] = {label: study.entry("systems", label) for label in study.systems}
        # Which system stands for those of a dimension: the first.
        self.stands = {system.dimension: label for label, system in reversed([*self.systems.items()])}
        picked = pick_device(study.training["device"])
        self._training, self.device = {**study.training, "device": str(picked)}, HOST
        self.memory: dict[tuple[int, str], float] = {}  # by dimension and stage
        self._timed: dict[tuple[str, ...], float] = {}  # the seconds of jobs, by stage and labels
        self._trainings: dict[tuple[str, str], tuple[float, float]] = {}  # of set-up and of all steps, likewise
        self._substeps: dict[tuple[str, str], int] = {}  # from sample to sample, by system and data
        self._work: dict[str, np.ndarray] = {}  # the steps of forecasts, of the truth and of models, by system
        self._pace: dict[tuple[str, str], np.ndarray] = {}  # and the seconds of one, by system and network

    def seconds(self, stage: str, *labels: str) -> float:
        """Tell the seconds of a job, without the start of Python."""
        system, *others = labels
        stand = self.stands[self.systems[system].dimension]
        if stage == "train":
            setup, steps = self._trainings[stand, labels[2]]
            return setup + steps * self._substeps[system, labels[1]] / self._substeps[stand, self._first]
        if stage == "forecast":
            return float(self._work[system][1] @ self._pace[stand, self._study.networks_of[labels[2]]])
        if stage == "truth":
            return self._timed["truth", system] + float(self._work[system][0] @ self._pace[stand, TRUTH])
        if stage == "score":
            return self._timed["score", stand] * len(self._study.data) * len(self._study.judged)
        if stage in ("exponents", "covariant_vectors", "orbits"):
            return self._timed[stage, *labels]
        return self._timed[stage, stand, *others[1:]]

    def explore(self, label: str, system: System) -> tuple[xr.Dataset, xr.Dataset, Judged]:
        """Simulate a true system; returns its exponents, its orbits and the true field to be judged."""
        settings = partial(_settings, self._study)
        spectrum, self._timed["exponents", label] = explored(system, settings("exponents", label))
        asked = settings("covariant_vectors", label)
        _, self._timed["covariant_vectors", label] = timed(covariant_vectors, system, spectrum, **asked)
        simulated: dict[str, tuple[xr.Dataset, float]] = {}
        for data in reversed([*self._study.data]):  # some differ by their noise alone
            asked = settings("orbits", label, data)
            if (key := json.dumps(asked)) not in simulated:
                simulated[key] = timed(simulation.orbits, system, spectrum, **asked)
            orbits, self._timed["orbits", label, data] = simulated[key]
            self._substeps[label, data] = substeps(orbits, Training(**self._training))
        asked = settings("truth", label, self._first)
        truth, self._timed["truth", label] = timed(simulation.truth, system, orbits, spectrum, **asked)
        judged = Judged(in_place_of_a_model(CompiledField(compiled(system), system.dimension)), truth)
        self._work[label] = work(judged, float(spectrum["horizon"]) * spectrum.attrs["starts"], self._exponents)
        self._remember(system, "exponents", "covariant_vectors", "orbits", "truth")
        return spectrum, orbits, judged

    @property
    def _exponents(self) -> Mapping[str, Any]:
        return self._study.evaluation["exponents"]

    def attempt(
        self, label: str, system: System, spectrum: xr.Dataset, orbits: xr.Dataset, judged: Judged, listed: list[Job]
    ) -> None:
        """Do all that follows from the orbits of a system once, and trainings for a few steps."""
        settings, first, study = partial(_settings, self._study), self._first, self._study
        stages = {stage for stage, _ in listed}

        def tried(stage: str, function: Callable, *given: Any, named: tuple[str, ...] = (), **asked: Any) -> Any:
            result, self._timed[stage, label, *named] = timed(function, *given, **asked)
            self._remember(system, stage)
            return result

        asked = settings("observe", label, first)
        observed = tried("observe", observe, orbits, spectrum, **asked.pop("data"), **asked)
        files, chosen = {}, {}
        for selection in sorted({labels[2] for stage, labels in listed if stage == "neighbors"}):
            asked = settings("neighbors", label, first, selection)
            chosen[selection] = tried(
                "neighbors", neighbors, observed, named=(selection,), ahead=asked["ahead"], **asked["selection"]
            )
        if "supervise" in stages:
            asked = settings("supervise", label, first)
            files["supervision"] = tried("supervise", simulation.supervision, system, observed, spectrum, **asked)
        if "propagate" in stages:
            files["propagators"] = tried("propagate", propagators, system, observed)
        if "estimators" in stages:
            tried("estimators", estimators, observed, judged.truth, **settings("estimators", label, first))
        if "structure" in stages:
            tried("structure", structure, observed, **settings("structure", label, first))
        tried("score", scores, judged.truth, judged.truth, system=label, data=first, noise=0.0, method=TRUTH)
        self._pace[label, TRUTH] = pace(judged, self._exponents)
        validations: dict[str, float] = {}
        for name in study.methods:
            method, network = study.entry("methods", name), study.networks_of[name]
            needed = inputs(method) - {"observations"}
            given = {kind: chosen[method.neighbors] if kind == "neighbors" else files[kind] for kind in needed}
            line, equations = with_equations(
                study.network(name), study.systems[label], lambda known: build("systems", "known", known)
            )
            fit = partial(train, observed, method, network=line, files=given, equations=equations)
            (field, coordinates, _, costs), self._trainings[label, name] = self.fitted(fit, validations, network)
            self.device = HOST if costs["device"] == "cpu" else costs["device"]
            self.memory[system.dimension, "train"] = costs["peak_memory_mib"]
            model = Transformed(field.cpu().double().requires_grad_(False), coordinates.inverse)
            if "unseen" in stages:
                tried("unseen", unseen, model, observed, named=(name,), **settings("unseen", label, first, name))
            if (label, network) not in self._pace:
                self._pace[label, network] = pace(Judged(model, judged.truth), self._exponents)
        self._remember(system, "forecast")

    def _remember(self, system: System, *stages: str) -> None:
        """Take the peak memory of this process, until now, for that of stages that were tried."""
        self.memory |= dict.fromkeys(((system.dimension, stage) for stage in stages), peak_memory(pick_device("cpu")))

    def fitted(self, fit: Callable, validations: dict[str, float], network: str) -> tuple[Any, tuple[float, float]]:
        """Train for a few steps, in ways that tell the set-up, a step and a validation apart.

        Returns:
            What a training returns; the seconds of its set-up, and those of all steps and validations of the study.
        """

        def ran(steps: int, every: int) -> tuple[Any, float]:
            return timed(fit, training={**self._training, "steps": steps, "validate_every": every})

        steps, every = self._training["steps"], self._training["validate_every"]
        (result, one), few = ran(1, 1), min(8, max(2, steps))
        while (more := ran(few, few)[1]) - one < ENOUGH and few < steps:
            few = min(4 * few, steps)
        step = max(0.0, more - one) / (few - 1)
        if network not in validations:  # it is the same for all methods
            validations[network] = max(0.0, ran(few, 1)[1] - more) / (few - 1)
        validation = validations[network]
        setup = max(0.0, one - step - 2 * validation)
        return result, (setup, steps * step + (1 + ceil(steps / every)) * validation)


def _settings(study: Study, stage: str, *labels: str) -> dict[str, Any]:
    """Pick what a stage sees of a study, without the system, which is built already."""
    return {name: value for name, value in study.settings(stage, *labels).items() if name != "system"}


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
    total = table["seconds"].sum() / 3600
    return "\n".join([*lines, f"\nin all: {total:.2f} hours, one job on a core at a time. {NOT_COUNTED}"])
