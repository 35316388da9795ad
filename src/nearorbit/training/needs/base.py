r"""What a need is, and what several of them are made from.

A method declares the names of what it needs. Each is a class: it says which file of results brings it, by which
settings of the method it is made, and what it is called in the tables if it goes beyond the data. It is made once, of a
:class:`nearorbit.training.source.Source`, and then lies on the device; every step it gathers the part of a batch from
there, at the places of a :class:`nearorbit.training.draws.Draw`. All are in model coordinates and model time.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nearorbit.study.catalogue import StudyError, hint
from nearorbit.study.sampling import is_irregular
from nearorbit.study.selection import UNEVEN
from nearorbit.training.draws import Draw
from nearorbit.training.source import Source


class Need:
    """Something that a method may need; subclasses define all that differs from this.

    Attributes:
        file: The kind of the file of results that brings it.
        settings: The settings of a method that it is made by.
        privilege: Its name in the tables if it goes beyond the data.
        margin: How many samples of its orbit a segment has to have before its start, and after it.
        starts: The only positions that segments may begin at, with shape (E, A), if it has rows for these alone; -1
            beyond the last of a member.
        whole: Whether a step takes each of ``starts`` once, where they are no more than its batch.
        covers: Which of these, or of all positions, it has something for, (E, N), if not for all: what a loss makes of
            the others does not count.
        draws: Whether it draws at random in every batch.
        stages: Whether a rollout can be coupled to it: an orbit, (E, B, 2 * substeps * (T - 1) + 1, D).
        observed: Whether it is what is true at the observed states, and stays there if they are smoothed.
        splined: Whether it takes smoothing splines of the orbits, where some are short.
    """

    file: ClassVar[str] = "observations"
    settings: ClassVar[tuple[str, ...]] = ()
    privilege: ClassVar[str] = ""
    margin: tuple[int, int] = (0, 0)
    starts: Tensor | None = None
    whole: ClassVar[bool] = False
    covers: Tensor | None = None
    draws: bool = False
    stages: ClassVar[bool] = False
    observed: ClassVar[bool] = False
    splined: ClassVar[bool] = False

    def __init__(self, source: Source):
        """Make it, once, on the device.

        Raises:
            StudyError: If its file is missing or does not have what the method asks for.
        """

    def gather(self, draw: Draw) -> Any:
        """Gather the part of a batch, which the method finds in ``batch[name]``."""
        raise NotImplementedError

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell what it asks of the rest of a study in vain, when this method needs it; each with place and way out."""
        yield from ()


class AtStages(Need):
    """A need that is an orbit at the Runge-Kutta stages: subclasses say which, once for all of the data."""

    stages, splined = True, True

    def __init__(self, source: Source):
        self._fine, self._states = source.fine, source.tensor(self.orbits(source)).flatten(1, 2)

    def orbits(self, source: Source) -> np.ndarray:
        """Compute the orbits at the samples and between them, ``source.fine`` parts of an interval, as (E, O, S, D)."""
        raise NotImplementedError

    def gather(self, draw: Draw) -> Tensor:
        """Gather the segments; see :class:`Need`."""
        per_orbit = self._fine * (draw.samples - 1) + 1
        first = draw.start // draw.samples * per_orbit + draw.start % draw.samples * self._fine
        return draw.pieces(self._states, first, self._fine * draw.segment + 1)


class OfNeighbors(Need):
    """A need that is made of the table of neighbors: segments begin where it knows some.

    Of a ring, from which neighbors are drawn anew for every batch, it covers the starts with as many candidates as the
    method asks for; the neighbors that others lack are the starts themselves.
    """

    file, splined = "neighbors", True  # which are followed between the samples of uneven times
    settings: ClassVar[tuple[str, ...]] = ("neighbors", "count")

    def __init__(self, source: Source):
        self._table, self._count, self._follow = source.neighbors, source.method.count, source.follow
        self._curve = source.curve
        table = source.file("neighbors")
        self.margin, self.draws = (table.attrs["behind"], table.attrs["ahead"]), source.anew
        if "anchor" in table:
            self.starts = torch.as_tensor(table["anchor"].to_numpy()).to(source.device, torch.int64)
        if self.draws:
            self.covers = (self._table >= 0).sum(-1) >= self._count

    def near(self, draw: Draw) -> Tensor:
        """The positions of the neighbors of the starts, with shape (E, B, K)."""
        near = draw.at(self._table, draw.row).long()
        if not self.draws:
            return near
        near = draw.among(near, self._count)
        return torch.where(near < 0, draw.start.unsqueeze(-1), near)

    def beside(self, draw: Draw, values: Tensor, samples: int | None = None) -> Tensor:
        """What the neighbors went through in the time of the next samples of the starts, with shape (E, B, K, T, D)."""
        return draw.beside(values, self.near(draw), self._follow if samples is None else samples, self._curve)

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell what the selection of neighbors lacks; see :class:`Need`."""
        selection = study.neighbors.get(method.neighbors)
        if selection is None:
            known = study.neighbors
            yield (
                f"{place}.neighbors: no selection '{method.neighbors}'{hint(method.neighbors, known)}; the section "
                f"neighbors has {', '.join(known)}"
            )
            return
        chosen, longest = f"neighbors.{method.neighbors}", study.ahead(method.neighbors)
        for name, data in study.data.items():
            if (asked := getattr(method, "follow", None) or 0) >= study.in_a_row[name][0]:
                yield f"{place}.follow: {asked} is too long for the orbits of data.{name}, {study.told(name)}"
            begin = study.in_a_row[name][0] - longest - (behind := selection.get("behind", 0))
            if begin <= 0:
                yield (
                    f"{chosen}.behind: no state has {behind} samples behind and the {longest} of a segment ahead of it "
                    f"in the orbits of data.{name}, {study.told(name)}"
                )
                continue
            if is_irregular(data):  # how many states there are is told when neighbors are sought
                if behind:
                    yield f"{place}.neighbors: {chosen} is not for data.{name}: {UNEVEN}"
                continue
            if "samples" not in data:  # of measured systems, likewise
                continue
            window = math.ceil(selection["theiler"] * data.get("samples_per_period", 0))  # known later for a `spacing`
            states, own = data["orbits"] * begin, min(begin, 2 * window + 1)
            if states - own < (count := selection["count"]):
                yield (
                    f"{chosen}.count: {count} is too many for data.{name}: {states} states begin a segment, and {own} "
                    f"of them are within the Theiler window of one; lower this or theiler, or ask for more data"
                )
            if (anchors := selection.get("anchors", 0)) > states:
                yield (
                    f"{chosen}.anchors: {anchors} are more than the {states} states of data.{name} with a segment; "
                    f"lower this, leave it out for all states, or ask for more data"
                )
        if method.count > (available := selection["count"]):
            yield f"{place}.count: {method.count} is more than {chosen}.count, {available}; lower this or raise that"


def smooth_misfits(study: Any, place: str, need: str) -> Iterator[str]:
    """Tell the systems of a study whose true Jacobian is not defined everywhere."""
    for label in study.systems:
        try:
            system = study.entry("systems", label)
        except StudyError:
            continue  # said elsewhere
        if not system.smooth:
            yield (
                f"{place}: it needs the true Jacobian ({need}), and systems.{label} has none where its field has kinks "
                f"or jumps; leave out the method, or the system"
            )
