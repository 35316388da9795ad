"""What needs are made of, each once: observed states, what other files of results bring, and what follows from the two.

Several needs take the same splines, or the same table of neighbors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.data.smoothing import slopes, smoothed
from nearorbit.dynamics.fields import Coordinates
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.training.budget import Training


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

    @property
    def standard(self) -> Coordinates:
        """The change of model coordinates to those in which the training data have mean 0 and deviation 1: none where
        networks learn in these already."""
        one = np.ones(self.observations["scale"].shape)
        moments = (self.observations.get(name, known) for name, known in (("center", 0 * one), ("deviation", one)))
        mean, deviation = (torch.from_numpy(np.array(values, dtype=float)) for values in moments)
        return Coordinates(mean, deviation, torch.ones(len(one), 1, dtype=torch.float64))

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
    def clock(self) -> Clock:
        """When the samples of the observed orbits were taken."""
        return Clock.of(self.observations)

    @cached_property
    def line(self) -> Tensor | None:
        """When they were taken, on one line of time, (E, N) in double precision; None at equal intervals."""
        return None if self.clock.even else torch.from_numpy(self.clock.line()).to(self.device)

    @cached_property
    def spline(self) -> np.ndarray:
        """The smoothing splines of the observed orbits, at the Runge-Kutta stages, with shape (E, O, S, D)."""
        return self.clock.each(partial(smoothed, refinement=self.fine), self.orbits, refinement=self.fine)

    @cached_property
    def smoothed(self) -> Tensor:
        """The smoothing splines at the samples, with shape (E, N, D)."""
        return self.tensor(self.spline[:, :, :: self.fine]).flatten(1, 2)

    @cached_property
    def slopes(self) -> np.ndarray:
        """The derivatives of the smoothing splines at the samples, per sample interval, with shape (E, O, T, D)."""
        # The smoothing spline is the natural spline through its own values.
        return self.clock.each(slopes, self.spline[:, :, :: self.fine])

    @cached_property
    def curve(self) -> Tensor | None:
        """What the smoothing splines are between samples, if those are not at equal intervals: the values at the
        samples and the derivatives there, with shape (E, N, 2 D)."""
        if self.clock.even:
            return None
        return torch.cat([self.smoothed, self.tensor(self.slopes).flatten(1, 2)], -1)

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
