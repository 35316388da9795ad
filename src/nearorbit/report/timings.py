"""What was timed of a study, and what follows from it for its other jobs.

*Of each kind of cells the first* stands for the others. A kind are the cells whose states have as many components, of
systems whose field is known; states that are seen in part make another, and so does each measured system. What was
found of a cell itself, or of one of its kind of the same system, comes first.

A step of a training, and a validation, take as long as they have Runge-Kutta steps from sample to sample. A forecast is
a number of steps times the seconds of one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nearorbit.report.pace import timed
from nearorbit.study.catalogue import TRUTH
from nearorbit.study.slices import runs
from nearorbit.study.study import Study
from nearorbit.training.devices import peak_memory, pick_device

Labels = tuple[str, ...]

HOST = "one CPU core"
TRUTHS = ("truth", "partial_truth", "hold_out")  # what fields are held against; a cell has one of these


@dataclass
class Timings:
    """What was timed of a study.

    Arguments:
        study: The study.
        device: What trainings run on.
        dimensions: The number of components of the states of systems, and of cells.
        stands: The cell that stands for a kind, and that of a kind for each system.
        memory: The peak memory of jobs in MiB, by their stage and labels.
        jobs: The seconds of jobs, by their stage and labels.
        trainings: Those of the set-up of a training, and of all its steps, by cell and method.
        substeps: The Runge-Kutta steps from sample to sample, by cell.
        work: The steps of forecasts, of the true field and of models, by cell.
        pace: The seconds of one, by cell and what is judged.
        failed: Why fields that are brought could not be tried, by their labels.
    """

    study: Study
    device: str = HOST
    dimensions: dict[Labels, int] = field(default_factory=dict)
    stands: dict[tuple[Any, ...], Labels] = field(default_factory=dict)
    memory: dict[tuple[str, Labels], float] = field(default_factory=dict)
    jobs: dict[str, dict[Labels, float]] = field(default_factory=dict)
    trainings: dict[Labels, tuple[float, float]] = field(default_factory=dict)
    substeps: dict[Labels, int] = field(default_factory=dict)
    work: dict[Labels, np.ndarray] = field(default_factory=dict)
    pace: dict[Labels, np.ndarray] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def tried(self, stage: str, labels: Labels, function: Callable, *given: Any, **asked: Any) -> Any:
        """Do what a job does, and time it; returns what the function returns."""
        result, seconds = timed(function, *given, **asked)
        self.keep(stage, labels, seconds)
        return result

    def keep(self, stage: str, labels: Labels, seconds: float) -> None:
        """Keep the seconds of a job, and its memory."""
        self.jobs.setdefault(stage, {})[labels] = seconds
        self.remember(stage, labels)

    def remember(self, stage: str, labels: Labels) -> None:
        """Take the peak memory of this process, until now, for that of a job."""
        self.memory[stage, labels] = peak_memory(pick_device("cpu"))

    @property
    def peaks(self) -> dict[tuple[str, int], float]:
        """The peak memory in MiB, by stage and dimension: how many components delays make is known late."""
        peaks: dict[tuple[str, int], float] = {}
        for (stage, labels), memory in self.memory.items():
            kind = stage, self.dimension(labels)
            peaks[kind] = max(memory, peaks.get(kind, 0.0))
        return peaks

    def dimension(self, labels: Labels) -> int:
        """Tell how many components the states of a job have; 0 if it is one of the whole study."""
        return self.dimensions[labels[:2]] if labels else 0

    def kind(self, cell: Labels) -> tuple[Any, ...]:
        """Tell the kind of a cell: its dimension, what fields are held against, the system if it stands alone."""
        truth = next(stage for stage in TRUTHS if runs(self.study, stage, *cell))
        return self.dimensions[cell], truth, *([cell[0]] if cell[0] in self.study.measured else [])

    def stands_for(self, cell: Labels, *system: str) -> bool:
        """Let a cell stand for its kind, or for that of a system; returns whether it is the first."""
        return self.stands.setdefault((self.kind(cell), *system), cell) == cell

    def judged(self, label: str) -> Labels:
        """Name what sets the pace of a forecast: a network, or a field that is brought."""
        return ("fields", label) if label in self.study.fields else ("networks", self.study.networks_of[label])

    def seconds(self, stage: str, labels: Labels) -> float:
        """Tell the seconds of a job, without the start of Python."""
        cell, rest = labels[:2], labels[2:]
        if rest[:1] and rest[0] in self.failed:
            return 0.0
        if stage == "score":
            cells = [(*labels, judged["data"]) for judged in self.study.settings(stage, *labels)["cells"]]
            return sum(self._of(self.jobs[stage], one) for one in cells)
        if len(cell) < 2:
            return self.jobs[stage][cell] if cell else 0.0
        if stage == "train":
            setup, steps = self._of(self.trainings, cell, rest)
            return setup + steps * self.substeps[cell] / self.substeps[self.stands[self.kind(cell),]]
        if stage == "forecast":
            return float(self._of(self.work, cell)[1] @ self._of(self.pace, cell, self.judged(*rest)))
        seconds = self._of(self.jobs[stage], cell, rest)
        if stage == "truth":  # it is forecast in the place of a model
            seconds += float(self._of(self.work, cell)[0] @ self._of(self.pace, cell, (TRUTH,)))
        return seconds

    def _of(self, table: Mapping[Labels, Any], cell: Labels, rest: Labels = ()) -> Any:
        kind = self.kind(cell)
        near = cell, self.stands[kind, cell[0]], self.stands[kind,]
        return next(table[*one, *rest] for one in near if (*one, *rest) in table)
