"""Cells that train together as one ensemble, each a job of its own all the same.

A small network leaves a GPU idle, and an ensemble of many seeds costs little more than one. So a training takes other
cells along where it is asked to: in the order of the study, those of the same method that wait for nothing but their
training, up to a number. They have what they are given, no result yet, are in no other training, and are like the first
one: of the same shapes and components, with as many Runge-Kutta steps between samples, and as many steps made if they
go on from checkpoints. Those that are not are named, with the reason, and left to their own jobs.

What comes out for another cell is kept beside its checkpoint, under the key of what it follows from. The job of that
cell finds it there, when its turn comes, and ends. A job whose cell is in another training does not wait for it idly
while there are others to train. Locks say what is in training; the kernel releases them when a process ends, however it
ends. Members of an ensemble have the bits of their seeds alone, and every cell has the checkpoint that it would have
alone: who trains it, and along with which others, is not to be seen in its result.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from nearorbit.data.fingerprints import matching
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import read, replacing_all
from nearorbit.training.batches import shape_of
from nearorbit.training.budget import Training
from nearorbit.training.cells import Cell, Given, Recipe, components
from nearorbit.training.checkpoint import Checkpoint, Checkpoints
from nearorbit.training.loop import substeps
from nearorbit.training.progress import say

HELD: list[IO[str]] = []  # the lock of the cell that this process is the job of, as long as it lives


@dataclass(frozen=True)
class Taken:
    """A cell that this process trains."""

    cell: Cell
    key: str
    given: Given
    likeness: dict[str, Any]  # what has to be the same of cells that train together

    @classmethod
    def of(cls, cell: Cell, recipe: Recipe) -> "Taken":
        """Read what the training of a cell is given.

        Raises:
            StudyError: If a file cannot be read, or belongs to other data.
        """
        given = {kind: read(path, kind=kind) for kind, path in cell.inputs.items()}
        for kind, file in given.items():
            matching(file, kind, given["observations"])
        key = recipe.key(cell.inputs.values())
        settings = Training(**recipe.training)
        likeness: dict[str, Any] = {
            "components": ", ".join(components(given)),
            "seeds": given["observations"].sizes["seed"],
        }
        likeness |= {f"{kind}: {n}": size for kind, file in given.items() for n, size in shape_of(file).items()}
        likeness["Runge-Kutta steps between samples"] = substeps(given["observations"], settings)
        likeness["steps made"] = Checkpoint(cell.checkpoint, key).step()
        return cls(cell, key, given, likeness)


def together(own: Cell, others: Sequence[Cell], recipe: Recipe, most: int) -> None:
    """Train a cell and others with it, or take what another training has left for it.

    Arguments:
        own: The cell whose outputs are to be written.
        others: The other cells of the method, in the order in which they are to be taken.
        recipe: What they have in common.
        most: How many cells may be in one training.

    Raises:
        StudyError: If what is given of the own cell cannot be trained on, or if there are no locks among the results.
    """
    HELD.clear()
    lock = own.lock()
    while lock is None:
        with taken(others, recipe, most) as cells:
            if not cells:
                break
            say(f"{own} is in another training; in the meantime")
            _fit(cells, recipe)
        lock = own.lock()
    if lock is None:
        say(f"{own} is in another training; waiting for it")
        lock = own.lock(wait=True)
        assert lock is not None
    HELD.append(lock)
    key = recipe.key(own.inputs.values())
    if own.is_kept(key):
        say(f"trained before, together: {', '.join(own.trained()['cells'])}")
        for kind, path in own.kept.items():
            shutil.copyfile(path, own.outputs[kind])
        for path in own.kept.values():
            path.unlink()
        return
    mine = Taken.of(own, recipe)
    with taken(others, recipe, most - 1, like=mine) as cells:
        _fit([mine, *cells], recipe, own)


@contextmanager
def taken(others: Iterable[Cell], recipe: Recipe, most: int, like: Taken | None = None) -> Iterator[list[Taken]]:
    """Take cells that wait for their training and are alike, for the time of a block.

    Arguments:
        others: The cells, in the order in which they are to be taken.
        recipe: What they have in common.
        most: How many to take.
        like: What they have to be like; the first of them if None.
    """
    cells: list[Taken] = []
    apart: dict[str, list[str]] = {}
    with ExitStack() as locks:
        for cell in others:
            if len(cells) >= most:
                break
            if (lock := cell.lock() if cell.inputs["observations"].exists() else None) is None:
                continue
            with ExitStack() as released:
                released.enter_context(lock)
                if not cell.waits(recipe):
                    continue
                try:
                    found = Taken.of(cell, recipe)
                    difference = _difference(found, like or found)
                except StudyError as error:
                    difference = str(error)
                if difference:
                    apart.setdefault(difference, []).append(str(cell))
                    continue
                like = like or found
                cells.append(found)
                locks.enter_context(released.pop_all())
        for difference, names in apart.items():
            say(f"trained apart: {', '.join(names)}: {difference}")
        yield cells


def _difference(cell: Taken, other: Taken) -> str:
    """Say in what a cell differs from another; empty if in nothing."""
    for name in other.likeness | cell.likeness:
        values = [one.likeness.get(name, "none") for one in (cell, other)]
        if values[0] != values[1]:
            return f"{name}: {values[0]}, of {other.cell} {values[1]}"
    return ""


def _fit(cells: Sequence[Taken], recipe: Recipe, own: Cell | None = None) -> None:
    """Train cells as one ensemble; what comes of the own one goes to its outputs, of others to where it is kept."""
    names = [str(one.cell) for one in cells]
    say(f"training {', '.join(names)}{' together' * (len(names) > 1)}")
    checkpoint = Checkpoints([Checkpoint(one.cell.checkpoint, one.key) for one in cells])
    with ExitStack() as made:
        outputs = []
        for one in cells:
            kept = one.cell.kept
            paths = own.outputs.values() if one.cell is own else made.enter_context(replacing_all(kept.values()))
            outputs.append(dict(zip(kept, paths, strict=True)))
        recipe.fit([one.given for one in cells], outputs, checkpoint)
        for one in cells:
            one.cell.forget()  # before what is kept for it changes
    for one in cells:
        one.cell.note(one.key, names)
