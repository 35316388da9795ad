r"""What a need is, and what several of them are made from.

A method declares the names of what it needs. Each is a class: it says which file of results brings it, by which
settings of the method it is made, and what it is called in the tables if it goes beyond the data. It is made once, of a
:class:`Source`, and then lies on the device; every step it gathers the part of a batch from there, at the places of a
:class:`nearorbit.training.draws.Draw`. All are in model coordinates and model time.

It is one module since what several needs are made of (splines, the table of neighbors) is made once.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.data.smoothing import smoothed
from nearorbit.study.catalogue import StudyError, hint
from nearorbit.training.budget import Training
from nearorbit.training.draws import Draw


@dataclass(frozen=True)
class Source:
    """What needs are made of.

    Arguments:
        observations: The observed orbits.
        files: The other files of results that the training was given, by their kinds.
        method: The method.
        settings: The settings of the loop.
        segment: The number of samples of a segment after its start.
        batch: The number of segments in a batch.
        device: The device.
        dtype: The precision of the training.
    """

    observations: xr.Dataset
    files: Mapping[str, xr.Dataset]
    method: Any
    settings: Training
    segment: int
    batch: int
    device: torch.device
    dtype: torch.dtype

    def tensor(self, values: np.ndarray) -> Tensor:
        """Bring an array to the device, in the precision of the training."""
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.device, self.dtype)

    def standardized(self, name: str) -> np.ndarray:
        """Standardize ``train`` or ``validation``; returns shape (E, O, T, D)."""
        states = (self.observations[name] - self.observations["mean"]) / self.observations["scale"]
        return states.transpose("seed", ..., "component").to_numpy()

    @cached_property
    def orbits(self) -> np.ndarray:
        """The observed orbits, with shape (E, O, T, D)."""
        return self.standardized("train")

    def file(self, kind: str) -> xr.Dataset:
        """Give a file of results.

        Raises:
            StudyError: If there is none.
        """
        if kind not in self.files:
            raise StudyError(f"the method needs the file of {kind}: give it with --{kind}")
        return self.files[kind]

    @property
    def fine(self) -> int:
        """How many parts of a sample interval the stages of the Runge-Kutta method divide it into."""
        assert self.settings.substeps != "auto"  # found before anything is made
        return 2 * self.settings.substeps

    @cached_property
    def spline(self) -> np.ndarray:
        """The smoothing splines of the observed orbits, at the Runge-Kutta stages, with shape (E, O, S, D)."""
        return smoothed(self.orbits, refinement=self.fine)

    @cached_property
    def smoothed(self) -> Tensor:
        """The smoothing splines at the samples, with shape (E, N, D)."""
        return self.tensor(self.spline[:, :, :: self.fine]).flatten(1, 2)

    @cached_property
    def table(self) -> np.ndarray:
        """The positions of the neighbors of every state, or anchor, as many as the method asks for; shape (E, N, K).

        Of a ring they are all candidates, and -1 beyond the last.

        Raises:
            StudyError: If there is no such table, or it does not reach far enough.
        """
        table = self.file("neighbors")
        if (has := min(table.attrs.get("count", np.inf), table.sizes["neighbor"])) < self.method.count:
            raise StudyError(
                f"neighbors: the table has {has} neighbors, the method asks for "
                f"{self.method.count}: raise the count of this selection of neighbors, or lower the method's"
            )
        if table.attrs["ahead"] < (longest := max(self.segment, self.follow)):
            raise StudyError(
                f"neighbors: {table.attrs['ahead']} samples follow those of the table, the method asks for "
                f"{longest}: make the table for longer segments (ahead), or shorten the method's"
            )
        return table["index"].to_numpy()[..., : None if self.anew else self.method.count]

    @property
    def follow(self) -> int:
        """For how many samples the method follows neighbors: ``follow``, where it has one, or a segment."""
        return getattr(self.method, "follow", None) or self.segment

    @property
    def anew(self) -> bool:
        """Whether neighbors are drawn anew for every batch, from the table's candidates."""
        return self.file("neighbors").attrs.get("draw", "once") == "batch"

    @cached_property
    def neighbors(self) -> Tensor:
        """The table on the device."""
        return torch.as_tensor(self.table).to(self.device)

    def true(self, name: str, *trailing: str, kind: str = "supervision") -> np.ndarray:
        """Read what is true at the observed states, in system units, with shape (E, N, *trailing).

        Raises:
            StudyError: If it is not given, or not defined at a state.
        """
        values = self.file(kind)[name].transpose("seed", "orbit", "time", *trailing).to_numpy()
        if (wrong := np.argwhere(~np.isfinite(values))).size:
            seed, orbit, sample = wrong[0, :3]
            raise StudyError(
                f"{kind}: '{name}' is not defined at seed {seed}, orbit {orbit}, sample {sample}, where the noise "
                f"takes the state off the domain of the equations; leave out the method, or ask for less noise"
            )
        return values.reshape(values.shape[0], -1, *values.shape[3:])

    def true_jacobians(self, name: str) -> Tensor:
        r"""Transform true Jacobians to model coordinates, :math:`J_{ij} s_j / (s_i r)`; returns shape (E, N, D, D)."""
        rate = self.observations["rate"].to_numpy().reshape(-1, 1, 1, 1)
        return self.model_matrices(self.true(name, "component", "direction") / rate)

    def model_matrices(self, matrices: np.ndarray) -> Tensor:
        """Transform matrices (E, N, D, D) that act on displacements, :math:`M_{ij} s_j / s_i`, from system units."""
        scale = self.observations["scale"].to_numpy().reshape(len(matrices), 1, -1)
        return self.tensor(matrices * scale[..., None, :] / scale[..., :, None])


class Need:
    """Something that a method may need; subclasses define all that differs from this.

    Attributes:
        file: The kind of the file of results that brings it.
        settings: The settings of a method that it is made by.
        privilege: Its name in the tables if it goes beyond the data.
        margin: How many samples of its orbit a segment has to have before its start, and after it.
        starts: The only positions that segments may begin at, with shape (E, A), if it has rows for these alone.
        whole: Whether a step takes each of ``starts`` once, where they are no more than its batch.
        covers: Which of these, or of all positions, it has something for, (E, N), if not for all: what a loss makes of
            the others does not count.
        draws: Whether it draws at random in every batch.
        stages: Whether a rollout can be coupled to it: an orbit, (E, B, 2 * substeps * (T - 1) + 1, D).
        observed: Whether it is what is true at the observed states, and stays there if they are smoothed.
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

    stages = True

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

    file = "neighbors"
    settings: ClassVar[tuple[str, ...]] = ("neighbors", "count")

    def __init__(self, source: Source):
        self._table, self._count, self._length = source.neighbors, source.method.count, source.follow + 1
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
            if (asked := getattr(method, "follow", None) or 0) >= (samples := data["samples"]):
                yield f"{place}.follow: {asked} is too long for the orbits of data.{name}, {samples} samples"
            begin = data["samples"] - longest - (behind := selection.get("behind", 0))
            if begin <= 0:
                yield (
                    f"{chosen}.behind: no state has {behind} samples behind and the {longest} of a segment ahead of it "
                    f"in the orbits of data.{name}, {data['samples']} samples"
                )
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
