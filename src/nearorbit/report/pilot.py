"""A pilot of a study: a little of everything that its jobs will do, tried here, and timed.

*Of every system* the attractor is explored over one horizon (two, where one is not enough: how many it will take
follows from the standard error, which falls with the root of the time), its orbits and what fields are held against are
made in full, and the steps are found that fields are judged with. What is measured is read and cut, and a twin is
observed like it.

*Of each kind of cells* (:mod:`nearorbit.report.timings`) neighbors are found for the first, every method is trained for
a few steps, and so on. How many components delays make is known once states were observed, and so all cells without a
true field are; their observations tell how many Runge-Kutta steps a training makes, which else the orbits do.

*A forecast* is a number of steps, which the true field tells, times the seconds of one, which a network tells before it
has learned anything. So it is that of a model as good as the truth. Of a measured system the network of the first
method tells both, after as many steps as were timed. A field that is brought has its own seconds.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import xarray as xr

from nearorbit.data.local_fits import estimate as estimators
from nearorbit.data.neighbors import neighbors
from nearorbit.dynamics.fields import Transformed
from nearorbit.dynamics.models import one_of, with_equations
from nearorbit.evaluation.scores import scores
from nearorbit.evaluation.unseen import unseen
from nearorbit.report.pace import explored, fitted, timed
from nearorbit.report.timings import HOST, Labels, Timings
from nearorbit.report.tried import Cell, settings
from nearorbit.study.catalogue import TRUTH, StudyError, build
from nearorbit.study.slices import runs
from nearorbit.study.study import Study
from nearorbit.training.budget import Training
from nearorbit.training.devices import pick_device
from nearorbit.training.loop import substeps, train
from nearorbit.training.methods.base import inputs
from nearorbit.truth import recordings, simulation
from nearorbit.truth.covariant_vectors import covariant_vectors
from nearorbit.truth.propagators import propagators
from nearorbit.truth.systems.base import System
from nearorbit.truth.twins import twin

Job = tuple[str, Labels]  # the stage, and the labels of its cell


def known(line: Mapping[str, Any]) -> System:
    """Build known equations, for networks that build upon some."""
    return build("systems", "known", line)


class Pilot:
    """What tries a study, and keeps in ``timings`` what it took.

    Arguments:
        study: The study.
        listed: Its jobs.
    """

    def __init__(self, study: Study, listed: Sequence[Job]):
        self.timings = Timings(study)
        self._study, self._listed = study, listed
        self._training = {**study.training, "device": str(pick_device(study.training["device"]))}
        self._resembled: dict[Labels, Cell] = {}  # by twins

    def explore(self, label: str) -> None:
        """Find the attractor of a system and its orbits, and attempt those of its cells that stand for others.

        Raises:
            StudyError: If a job would fail.
        """
        study, timings, system = self._study, self.timings, self._study.entry("systems", label)
        timings.dimensions[label,] = system.dimension
        if label in study.measured:
            spectrum = timings.tried("measure", (label,), recordings.attractor, system, label=label)
        else:
            spectrum, seconds = explored(system, settings(study, "exponents", label))
            timings.keep("exponents", (label,), seconds)
        if runs(study, "covariant_vectors", label):
            asked = settings(study, "covariant_vectors", label)
            timings.tried("covariant_vectors", (label,), covariant_vectors, system, spectrum, **asked)
        simulated: dict[str, tuple[xr.Dataset, float]] = {}
        for labels in ((label, data) for data in study.data):
            timings.dimensions[labels] = system.dimension
            orbits, fieldless = self._orbits(labels, system, spectrum, simulated), labels in study.fieldless
            cell = Cell(study, timings, labels, system, spectrum, orbits)
            if fieldless:
                timings.dimensions[labels] = cell.observed.sizes["component"]
            timings.substeps[labels] = substeps(cell.observed if fieldless else orbits, Training(**self._training))
            if timings.stands_for(labels, label):
                cell.make("truth")
            if timings.stands_for(labels):
                self._attempt(cell)
            if label in study.twins.values():
                cell.make("structure")
                self._resembled[labels] = cell

    def _orbits(
        self, labels: Labels, system: System, spectrum: xr.Dataset, simulated: dict[str, tuple[xr.Dataset, float]]
    ) -> xr.Dataset:
        stage = next(stage for stage in ("cut", "twin", "orbits") if runs(self._study, stage, *labels))
        asked = settings(self._study, stage, *labels)
        if stage == "cut":
            return self.timings.tried(stage, labels, recordings.orbits, system, spectrum, **asked)
        if stage == "twin":
            like = self._resembled[self._study.twins[labels[0]], labels[1]]
            given = like.orbits, like.structure, like.observed
            return self.timings.tried(stage, labels, twin, system, spectrum, *given, **asked)
        if (key := json.dumps(asked)) not in simulated:  # some data differ by their noise alone
            simulated[key] = timed(simulation.orbits, system, spectrum, **asked)
        orbits, seconds = simulated[key]
        self.timings.keep(stage, labels, seconds)
        return orbits

    def _attempt(self, cell: Cell) -> None:
        """Do all that follows from the orbits of a cell once, and judge all fields that it has."""
        stages = {stage for stage, labels in self._listed if labels[:2] == cell.labels}
        selections = sorted({labels[2] for stage, labels in self._listed if stage == "neighbors"})
        files: dict[str, xr.Dataset] = {
            f"neighbors/{label}": cell.tried("neighbors", neighbors, cell.observed, named=(label,))
            for label in selections
        }
        if "supervise" in stages:
            given = cell.system, cell.observed, cell.spectrum
            files["supervision"] = cell.tried("supervise", simulation.supervision, *given)
        if "propagate" in stages:
            files["propagators"] = cell.timed("propagate", propagators, cell.system, cell.observed)
        if "estimators" in stages:
            cell.tried("estimators", estimators, cell.observed, cell.truth)
        if "structure" in stages:
            cell.make("structure")
        identity: dict[str, Any] = {"system": cell.labels[0], "data": cell.labels[1], "noise": 0.0, "method": TRUTH}
        cell.timed("score", scores, cell.truth, cell.truth, **identity)
        for name, field in chain(self._trained(cell, files), self._brought(cell)):
            if "unseen" in stages:
                recorded = [cell.orbits] if cell.labels[0] in self._study.measured else []
                cell.tried("unseen", unseen, field, cell.observed, *recorded, named=(name,))
            cell.judge(field, self.timings.judged(name))

    def _trained(self, cell: Cell, files: Mapping[str, xr.Dataset]) -> Iterator[tuple[str, Transformed[Any]]]:
        """Train with every method for a few steps; iterates over what they have learned."""
        study, timings = self._study, self.timings
        validations: dict[str, float] = {}  # the seconds of one, by network
        for name in study.methods:
            method, network = study.entry("methods", name), study.networks_of[name]
            needed = inputs(method) - {"observations"}
            given = {kind: files[f"neighbors/{method.neighbors}" if kind == "neighbors" else kind] for kind in needed}
            line, equations = with_equations(study.network(name), study.systems[cell.labels[0]], known)
            fit = partial(train, cell.observed, method, network=line, files=given, equations=equations)
            (model, coordinates, _, costs), timings.trainings[*cell.labels, name] = fitted(
                fit, self._training, validations, network
            )
            timings.device = HOST if self._training["device"] == "cpu" else costs["device"]
            timings.memory["train", cell.labels] = costs["peak_memory_mib"]
            yield name, Transformed(model.cpu().double().requires_grad_(False), coordinates.inverse)

    def _brought(self, cell: Cell) -> Iterator[tuple[str, Transformed[Any]]]:
        """Load the fields that are brought; iterates over those that can be."""
        for name in self._study.fields:
            field, states = self._study.brought(name, *cell.labels), cell.truth["points"].to_numpy()
            try:
                yield name, one_of(None, field, states=states, equations=known, stage="estimate")
            except StudyError as error:
                self.timings.failed[name] = str(error)
