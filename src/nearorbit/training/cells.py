"""Cells of one method: the files of each, and how any number of them train as one ensemble.

Members of an ensemble have the bits of their seeds alone, so that a cell has the same result whichever others are
trained with it. What comes of a training for a cell whose job another one is, is kept beside its checkpoint until that
job fetches it (:mod:`nearorbit.training.together`).
"""

import fcntl
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
import xarray as xr

from nearorbit.dynamics import models
from nearorbit.dynamics.fields import Equations
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import read, replacing
from nearorbit.training.batches import stacked
from nearorbit.training.checkpoint import Checkpoint, Checkpoints
from nearorbit.training.loop import train
from nearorbit.training.methods.base import Method

Given = dict[str, xr.Dataset]


@dataclass(frozen=True)
class Recipe:
    """What the trainings of several cells have in common.

    Arguments:
        method: The method.
        network: The network, as a line of a study spells it out.
        training: The settings of :class:`nearorbit.training.budget.Training`.
        equations: The known equations, of a network that builds upon some.
        key: What makes a key of the inputs of a training, for what has to come of them by this recipe.
    """

    method: Method
    network: Mapping[str, Any]
    training: Mapping[str, Any]
    equations: Equations | None
    key: Callable[[Iterable[Path]], str]

    def train(self, cells: Sequence[tuple[Mapping[str, Path], Mapping[str, Path]]], checkpoint: Path | None) -> None:
        """Train cells of which each has its inputs and outputs, whatever else is in training.

        Arguments:
            cells: The inputs and outputs of each, by their kinds.
            checkpoint: The file to resume from and to write now and then.

        Raises:
            StudyError: As :meth:`fit`, or if a file cannot be read.
        """
        given = [{kind: read(path, kind=kind) for kind, path in inputs.items()} for inputs, _ in cells]
        contents = [inputs[kind] for kind in cells[0][0] for inputs, _ in cells]
        resumable = Checkpoint(checkpoint, self.key(contents)) if checkpoint else None
        self.fit(given, [outputs for _, outputs in cells], resumable)
        if checkpoint:
            checkpoint.unlink(missing_ok=True)
            Cell(*cells[0], checkpoint).forget()

    def fit(
        self, cells: Sequence[Given], outputs: Sequence[Mapping[str, Path]], checkpoint: Checkpoint | Checkpoints | None
    ) -> None:
        """Train a network for every seed of all cells, in one ensemble, and write the model, history and costs of each.

        Arguments:
            cells: What is given of each cell: observations, neighbors, supervision.
            outputs: Where they go: ``model``, ``history`` and ``costs`` of each cell.
            checkpoint: What to resume from and to write now and then.

        Raises:
            StudyError: If the cells are not alike, or what :func:`nearorbit.training.loop.train` refuses.
        """
        files = {kind: stacked([given[kind] for given in cells]) for kind in cells[0]}
        trained, coordinates, histories, spent = train(
            files.pop("observations"),
            self.method,
            files=files,
            network=self.network,
            training=self.training,
            equations=self.equations,
            checkpoint=checkpoint,
        )
        seeds = len(histories) // len(cells)
        by_seed = spent.pop("by_seed")
        cost = spent | {"seconds": spent["seconds"] / len(cells), "seeds": seeds, "cells": len(cells)}
        for number, (given, paths) in enumerate(zip(cells, outputs, strict=True)):
            members = slice(number * seeds, (number + 1) * seeds)
            names = components(given)
            models.save(paths["model"], trained[members], coordinates[members], network=self.network, components=names)
            pd.concat(histories[members]).to_csv(paths["history"], index=False)
            own = {name: values[members].mean().item() for name, values in by_seed.items()}
            pd.DataFrame([cost | own]).to_csv(paths["costs"], index=False)


@dataclass(frozen=True)
class Cell:
    """The files of a cell.

    Arguments:
        inputs: What its training is given, by kinds, ``observations`` first.
        outputs: What comes of it: ``model``, ``history`` and ``costs``.
        checkpoint: Its checkpoint; what other trainings leave for it is in the folder of this name without its suffix.
    """

    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    checkpoint: Path

    def __str__(self) -> str:
        return "/".join(self.folder.parts[-2:])

    @property
    def folder(self) -> Path:
        """Where its data are: ``results/{study}/{system}/{data}``."""
        return self.inputs["observations"].parent

    def is_of_system(self, folder: Path) -> bool:
        """Tell whether data in another folder are of the same system."""
        return folder.parent == self.folder.parent

    def beside(self, folder: Path) -> "Cell":
        """Give the cell of the same method whose data are in another folder.

        Raises:
            StudyError: If this one's files are not where the workflow has them.
        """
        try:
            inputs = {kind: folder / path.relative_to(self.folder) for kind, path in self.inputs.items()}
            # an output that is being made has another name
            below = {kind: path.with_name(kind + path.suffix) for kind, path in self.outputs.items()}
            outputs = {kind: folder / path.relative_to(self.folder) for kind, path in below.items()}
            checkpoint = self.checkpoint.parents[2].joinpath(*folder.parts[-2:], self.checkpoint.name)
        except (ValueError, IndexError):
            raise StudyError(
                f"train: --siblings are for files where the workflow has them, below {self.folder}; leave it out"
            ) from None
        return Cell(inputs, outputs, checkpoint)

    @property
    def kept(self) -> dict[str, Path]:
        """What another training leaves for it."""
        return {kind: self._aside / (kind + path.suffix) for kind, path in self.outputs.items()}

    @property
    def _aside(self) -> Path:
        return self.checkpoint.with_suffix("")

    def lock(self, *, wait: bool = False) -> IO[str] | None:
        """Take the cell, until the file that is returned is closed; None if another process has it.

        Raises:
            StudyError: If there are no locks where the results are.
        """
        path = self._aside / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            raise StudyError(f"{path} cannot be locked ({error.strerror}); set cells_per_training: 1") from None
        return file

    def trained(self) -> dict[str, Any]:
        """Tell with which ``key`` and ``cells`` it was last trained together; empty if it never was."""
        try:
            return json.loads((self._aside / "trained.json").read_text())
        except (OSError, ValueError):
            return {}

    def note(self, key: str, cells: Sequence[str]) -> None:
        """Note that it has been trained, and that its checkpoint is of no use any more."""
        with replacing(self._aside / "trained.json") as path:
            path.write_text(json.dumps({"key": key, "cells": list(cells)}))
        self.checkpoint.unlink(missing_ok=True)

    def forget(self) -> None:
        """Let what is kept for it be nothing's result."""
        (self._aside / "trained.json").unlink(missing_ok=True)

    def is_kept(self, key: str) -> bool:
        """Tell whether what another training has left for it is what has to come of it."""
        return self.trained().get("key") == key and all(path.exists() for path in self.kept.values())

    def waits(self, recipe: Recipe) -> bool:
        """Tell whether it waits for nothing but its training, as far as can be told."""
        if not all(path.exists() for path in self.inputs.values()):
            return False
        there, noted = all(path.exists() for path in self.outputs.values()), self.trained()
        if not noted:  # it may have been trained by itself
            return not there
        key = recipe.key(self.inputs.values())
        return not (self.is_kept(key) or (there and noted["key"] == key))


def components(given: Given) -> list[str]:
    """Name the components of a cell."""
    return [str(name) for name in given["observations"]["component"].to_numpy()]
