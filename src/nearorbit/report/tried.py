"""A cell of a study that is tried: the files that its jobs read, each made and timed when it is first asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.delays import Delays
from nearorbit.data.observations import observe
from nearorbit.data.structure import structure
from nearorbit.dynamics.fields import CompiledField, Transformed, in_place_of_a_model
from nearorbit.evaluation.held_out import held_out
from nearorbit.evaluation.judged import Judged
from nearorbit.evaluation.observed import as_seen
from nearorbit.report.pace import pace, work
from nearorbit.report.timings import Labels, Timings
from nearorbit.study.catalogue import TRUTH
from nearorbit.study.study import Study
from nearorbit.truth import simulation
from nearorbit.truth.integrators import compiled
from nearorbit.truth.systems.base import System

SPREAD = {"observe": "data", "neighbors": "selection"}  # sections of what a stage sees, whose keys are arguments


def settings(study: Study, stage: str, *labels: str) -> dict[str, Any]:
    """Pick what a stage sees of a study, without the system, which is built already."""
    return {name: value for name, value in study.settings(stage, *labels).items() if name != "system"}


@dataclass(frozen=True)
class Cell:
    """A system and its data.

    Arguments:
        study: The study.
        timings: Where it is kept what was timed.
        labels: Its labels.
        system: The system.
        spectrum: The statistics of its attractor.
        orbits: Its orbits.
    """

    study: Study
    timings: Timings
    labels: Labels
    system: System
    spectrum: xr.Dataset
    orbits: xr.Dataset

    def timed(self, stage: str, function: Callable, *given: Any, **asked: Any) -> Any:
        """Do what a job of this cell does, and time it; returns what the function returns."""
        return self.timings.tried(stage, self.labels, function, *given, **asked)

    def tried(self, stage: str, function: Callable, *given: Any, named: Labels = (), **more: Any) -> Any:
        """Do the same with the settings of the study, and more.

        Arguments:
            stage: The stage of the job.
            function: What it calls.
            given: The files.
            named: The labels of the job beyond those of the cell.
            more: Other settings.
        """
        asked = settings(self.study, stage, *self.labels, *named) | more
        if stage in SPREAD:
            asked |= asked.pop(SPREAD[stage])
        return self.timings.tried(stage, (*self.labels, *named), function, *given, **asked)

    def make(self, name: str) -> None:
        """Make one of its files."""
        getattr(self, name)

    @cached_property
    def observed(self) -> xr.Dataset:
        """Its observations."""
        return self.tried("observe", observe, self.orbits, self.spectrum)

    @cached_property
    def structure(self) -> xr.Dataset:
        """What there is to learn of them."""
        return self.tried("structure", structure, self.observed)

    @cached_property
    def truth(self) -> xr.Dataset:
        """What fields are held against. Where there is a true field, the steps of a forecast are counted of it."""
        _, stage, *_ = self.timings.kind(self.labels)
        if stage == "hold_out":
            return self.tried(stage, held_out, self.orbits, self.observed)
        delays = Delays.of(self.observed) if stage == "partial_truth" else None
        behind: dict[str, Any] = {"behind": delays.span} if delays else {}
        truth = self.tried(stage, simulation.truth, self.system, self.orbits, self.spectrum, **behind)
        field = in_place_of_a_model(CompiledField(compiled(self.system), self.system.dimension))
        self.timings.work[self.labels] = self._work(Judged(field, truth))
        if stage == "truth" and self.timings.stands_for(self.labels):
            self.timings.pace[*self.labels, TRUTH] = pace(Judged(field, truth), self._exponents)
        return as_seen(truth, delays) if delays else truth

    def judge(self, field: Transformed[Any], named: Labels) -> None:
        """Time the steps of the forecast of a field, and count them where no true field has told how many they are.

        Arguments:
            field: The field.
            named: What is judged, as :meth:`nearorbit.report.timings.Timings.judged` names it.
        """
        judged = Judged(field, self.truth)
        if self.labels not in self.timings.work:
            self.timings.work[self.labels] = self._work(judged)
        if (*self.labels, *named) not in self.timings.pace:
            self.timings.pace[*self.labels, *named] = pace(judged, self._exponents)
            self.timings.remember("forecast", self.labels)

    def _work(self, judged: Judged) -> np.ndarray:
        averaged = float(self.spectrum["horizon"]) * self.spectrum.attrs.get("starts", 1)  # NaN of what is measured
        return work(judged, averaged, self._exponents)

    @property
    def _exponents(self) -> Mapping[str, Any]:
        return self.study.evaluation["exponents"]
