r"""Batches: the observed orbits of an ensemble on the device, and the segments that are drawn from them.

All that a step of training reads lies on the device before the first one: states, the table of neighbors, splines, true
Jacobians. A batch is gathered there by indices, so that its size alone and not the length of the orbits is what a step
costs.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.data.local_maps import flow_maps
from nearorbit.data.smoothing import smoothed
from nearorbit.study.catalogue import StudyError
from nearorbit.study.seeds import generator
from nearorbit.training.budget import Training
from nearorbit.training.methods.base import Batch, Method, segment

VALIDATION_SEGMENTS = 256
# What a batch has one of for every member, and what it has for the state that a segment starts from.
PER_MEMBER = {"noise", "exponents"}
PER_STATE = {"local_maps", "jacobians", "fields", "perturbed", "perturbed_jacobians"}


def stacked(cells: Sequence[xr.Dataset]) -> xr.Dataset:
    """Stack the observations of several cells, or what belongs to them, along ``seed``, for one ensemble of them all.

    Arguments:
        cells: Files of one kind, a cell each.

    Raises:
        StudyError: If the shapes differ.
    """
    shapes = [
        {name: size for name, size in cell.sizes.items() if name != "seed"}
        | {name: cell.attrs[name] for name in ("ahead", "behind") if name in cell.attrs}
        for cell in cells
    ]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise StudyError(
                f"cells of different shapes cannot be trained together: the first has {shapes[0]}, number "
                f"{number + 1} has {shape}; train them apart"
            )
    return xr.concat(cells, "seed", data_vars="all", coords="minimal", join="override", combine_attrs="drop_conflicts")


class Data:
    """The observed orbits of all seeds on the device, in model coordinates, and what else a method needs of them.

    Arguments:
        observations: The observed orbits.
        method: The method, whose ``needs`` are looked after.
        settings: The settings of the loop.
        neighbors: The table of neighbors.
        supervision: The true quantities along the observations.
        device: The device.
        dtype: The precision.

    Raises:
        StudyError: If something is missing, too short, or belongs to other data.
    """

    def __init__(
        self,
        observations: xr.Dataset,
        method: Method,
        settings: Training,
        neighbors: xr.Dataset | None = None,
        supervision: xr.Dataset | None = None,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.segment, self.batch = sizes(method, settings)
        self._integration = {"substeps": settings.substeps, "recompute": settings.recompute}
        states = {name: _standardized(observations, name) for name in ("train", "validation")}
        self.members, self.orbits, self.samples, _ = states["train"].shape
        if self.samples <= self.segment:
            raise StudyError(
                f"training orbits have {self.samples} samples, a segment of {self.segment} needs {self.segment + 1}: "
                f"ask for more (data.*.samples) or a shorter segment (training.segment, or the method's own)"
            )
        neighbors = _matching(neighbors, "neighbors", observations)
        supervision = _matching(supervision, "supervision", observations)
        tensor = lambda array: torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)  # noqa: E731
        self._member = torch.arange(self.members, device=device)
        self._step = tensor((observations["rate"] * observations["step"]).to_numpy()).view(-1, 1, 1)
        self._states = tensor(states["train"]).flatten(1, 2)
        self._validation = tensor(_cut(states["validation"], settings.horizon))
        self._past = method.instrument if "past" in method.needs else 0
        self._window = method.window if "windows" in method.needs else 0
        if self._window:  # at least two, and none from the same start as another
            wanted = round(method.share * self.batch * self.segment / self._window)
            self._windows = min(max(2, wanted), self.batch)
        if self.samples <= self._window:
            raise StudyError(f"training orbits have {self.samples} samples, a window of {self._window} needs more")
        fine = 2 * settings.substeps
        spline = cache(lambda: smoothed(states["train"], refinement=fine))
        table = cache(lambda: _table(neighbors, self, method))
        truth = _Truth(supervision, observations)
        prepare = {
            "neighbors": lambda: {"neighbors": torch.as_tensor(table()).to(device)},
            "past": lambda: {"neighbors": torch.as_tensor(table()).to(device)},
            "smoothed": lambda: {"smoothed": tensor(spline()[:, :, ::fine]).flatten(1, 2)},
            "noise": lambda: {"noise": tensor((states["train"] - spline()[:, :, ::fine]).std((1, 2)))},
            "spline": lambda: {"spline": tensor(spline()).flatten(1, 2)},
            "local_maps": lambda: {"local_maps": tensor(_maps(states["train"], table(), **method.fit))},
            "jacobians": lambda: {"jacobians": tensor(truth.jacobians("jacobian"))},
            "fields": lambda: {"fields": tensor(truth.fields())},
            "perturbed": lambda: {
                "perturbed": tensor(truth.states("perturbed")),
                "perturbed_jacobians": tensor(truth.jacobians("perturbed_jacobian")),
            },
            "exponents": lambda: {"exponents": tensor(truth.exponents())},
        }
        self._extras = {name: t for need in method.needs & prepare.keys() for name, t in prepare[need]().items()}
        self._behind, self._ahead = 0, self.segment
        if {"neighbors", "past", "local_maps"} & method.needs:  # other states have no neighbors in such a table
            self._behind, self._ahead = neighbors.attrs["behind"], neighbors.attrs["ahead"]

    def starts(self, seeds: Sequence[int], lengths: Sequence[int]) -> Iterator[Tensor]:
        """Draw the starts of the segments, so many steps at a time; yields shape (steps, E, B), on the host.

        A start is a position in the flattened (orbit, time). They are drawn for each seed from a stream of its own:
        members of an ensemble see the batches that they would see alone.
        """
        per_orbit = self.samples - self.segment
        streams = [generator("batches", seed) for seed in seeds]
        for steps in lengths:
            shape = (steps, self.batch)
            drawn = np.stack([stream.integers(0, self.orbits * per_orbit, shape) for stream in streams], 1)
            yield torch.from_numpy(drawn // per_orbit * self.samples + drawn % per_orbit)

    def gather(self, start: Tensor) -> Batch:
        """Gather the segments that begin at given starts, with shape (E, B), and what the method needs of them."""
        time = start % self.samples
        orbit, starts = start - time, self.samples - self.segment
        start = orbit + self._behind + time * (self.samples - self._ahead - self._behind) // starts
        member = self._member.view(-1, 1)
        ahead = torch.arange(self.segment + 1, device=start.device)
        extras = {}
        for name, table in self._extras.items():
            if name in PER_MEMBER:
                extras[name] = table
            elif name in PER_STATE:
                extras[name] = table[member, start]
        if "neighbors" in self._extras:
            near = self._extras["neighbors"][member, start]
            extras["neighbors"] = self._at(self._states, near.unsqueeze(-1) + ahead)
            if self._past:
                earlier = (self._at(self._states, at - self._past) for at in (near, start.unsqueeze(-1)))
                extras["past"] = torch.sub(*earlier)
            if "smoothed" in self._extras:
                extras["smoothed_neighbors"] = self._at(self._extras["smoothed"], near.unsqueeze(-1) + ahead)
        if "smoothed" in self._extras:
            extras["smoothed"] = self._at(self._extras["smoothed"], start.unsqueeze(-1) + ahead)
        if "spline" in self._extras:
            extras["spline"] = self._spline(start)
        if self._window:
            first = orbit + time * (self.samples - self._window) // starts
            span = torch.arange(self._window + 1, device=start.device)
            extras["windows"] = self._at(self._states, first[:, : self._windows, None] + span)
        states = self._at(self._states, start.unsqueeze(-1) + ahead)
        return Batch(self._step * ahead, states, **self._integration, index=start, **extras)

    def _at(self, states: Tensor, index: Tensor) -> Tensor:
        """Take states with shape (E, N, D) at indices with shape (E, *)."""
        return states[self._member.view(-1, *[1] * (index.dim() - 1)), index]

    def validation(self) -> Batch:
        """Give the segments of the validation orbits."""
        ahead = torch.arange(self._validation.shape[2], device=self._validation.device)
        return Batch(self._step * ahead, self._validation, **self._integration)

    def _spline(self, start: Tensor) -> Tensor:
        fine = 2 * self._integration["substeps"]
        per_orbit = fine * (self.samples - 1) + 1
        first = start // self.samples * per_orbit + start % self.samples * fine
        stages = torch.arange(fine * self.segment + 1, device=start.device)
        return self._extras["spline"][self._member.view(-1, 1, 1), first.unsqueeze(-1) + stages]


def sizes(method: Method, settings: Training) -> tuple[int, int]:
    """Tell how long the segments of a method are, and how many make a batch: all see as many samples in a step."""
    length = segment(method, settings.segment)
    return length, max(1, round(settings.batch * settings.segment / length))


def _standardized(observations: xr.Dataset, name: str) -> np.ndarray:
    states = (observations[name] - observations["mean"]) / observations["scale"]
    return states.transpose("seed", ..., "component").to_numpy()


def _cut(orbits: np.ndarray, horizon: int) -> np.ndarray:
    """Cut orbits, with shape (E, O, T, D), into segments that follow one another, with shape (E, B, horizon + 1, D)."""
    members, _, samples, dimension = orbits.shape
    length = min(horizon, samples - 1) + 1
    whole = orbits[:, :, : samples // length * length].reshape(members, -1, length, dimension)
    every = -(-whole.shape[1] // VALIDATION_SEGMENTS)
    return whole[:, ::every]


def _matching(file: xr.Dataset | None, name: str, observations: xr.Dataset) -> xr.Dataset | None:
    """Refuse a file that was computed along other observations than these."""
    if file is not None and not np.array_equal(file["fingerprint"], observations["fingerprint"]):
        raise StudyError(
            f"{name}: the file is of other data: the fingerprints of its observations are {_hex(file)}, of these "
            f"{_hex(observations)}; make it again from these observations"
        )
    return file


def _hex(file: xr.Dataset) -> str:
    return " ".join(f"{value:016x}" for value in np.atleast_1d(file["fingerprint"].to_numpy()))


def _required(file: xr.Dataset | None, name: str) -> xr.Dataset:
    if file is None:
        raise StudyError(f"the method needs the file of {name}: give it with --{name}")
    return file


def _table(neighbors: xr.Dataset | None, data: Data, method: Method) -> np.ndarray:
    table = _required(neighbors, "neighbors")
    if table.sizes["neighbor"] < method.count:
        raise StudyError(
            f"neighbors: the table has {table.sizes['neighbor']} neighbors, the method asks for {method.count}: raise "
            f"the count of this selection of neighbors, or lower the method's"
        )
    if table.attrs["ahead"] < data.segment:
        raise StudyError(
            f"neighbors: {table.attrs['ahead']} samples follow those of the table, the method asks for {data.segment}: "
            f"make the table for longer segments (ahead), or shorten the method's"
        )
    if "past" in method.needs and table.attrs["behind"] <= method.instrument:
        raise StudyError(
            f"neighbors: they are chosen {table.attrs['behind']} samples before, the method's instrument lies "
            f"{method.instrument} before: it needs neighbors that were chosen earlier still; raise 'behind' of this "
            f"selection"
        )
    return table["index"].to_numpy()[..., : method.count]


def _maps(states: np.ndarray, index: np.ndarray, **fit: Any) -> np.ndarray:
    """Fit maps of the flow over one sample to neighbors of states (E, O, T, D); returns shape (E, O * T, D, D).

    States without neighbors have none: no segment starts there.
    """
    flat = states.reshape(states.shape[0], -1, states.shape[-1])
    maps = np.full((*flat.shape, flat.shape[-1]), np.nan)
    for member, near in enumerate(index):
        rows = np.flatnonzero(near[:, 0] >= 0)
        before, after = (flat[member][near[rows] + ahead] - flat[member][rows + ahead, None] for ahead in (0, 1))
        maps[member, rows] = flow_maps(before, after, **fit)
    return maps


class _Truth:
    """What the file of supervision holds, in model coordinates and model time."""

    def __init__(self, supervision: xr.Dataset | None, observations: xr.Dataset):
        self._file, self._observations = supervision, observations
        self._mean, self._scale = (observations[n].to_numpy()[:, None, None] for n in ("mean", "scale"))
        self._rate = observations["rate"].to_numpy()[:, None, None, None]

    def _read(self, name: str, *trailing: str) -> np.ndarray:
        values = _required(self._file, "supervision")[name]
        values = values.transpose("seed", "orbit", "time", *trailing).to_numpy()
        if (wrong := np.argwhere(~np.isfinite(values))).size:
            seed, orbit, sample = wrong[0, :3]
            raise StudyError(
                f"supervision: '{name}' is not defined at seed {seed}, orbit {orbit}, sample {sample}, where the noise "
                f"takes the state off the domain of the equations; leave out the method, or ask for less noise"
            )
        return values

    def states(self, name: str) -> np.ndarray:
        """Standardize states; returns shape (E, O * T, D)."""
        states = (self._read(name, "component") - self._mean) / self._scale
        return states.reshape(len(states), -1, states.shape[-1])

    def fields(self) -> np.ndarray:
        r"""Transform fields, :math:`f_i / (s_i r)`; returns shape (E, O * T, D)."""
        fields = self._read("field", "component") / (self._scale * self._rate)
        return fields.reshape(len(fields), -1, fields.shape[-1])

    def jacobians(self, name: str) -> np.ndarray:
        r"""Transform Jacobians, :math:`J_{ij} s_j / (s_i r)`; returns shape (E, O * T, D, D)."""
        jacobian = self._read(name, "component", "direction") / self._rate[..., None]
        jacobian = jacobian * self._scale[..., None, :] / self._scale[..., :, None]
        return jacobian.reshape(len(jacobian), -1, *jacobian.shape[-2:])

    def exponents(self) -> np.ndarray:
        """Transform exponents to model time; returns shape (E, D)."""
        exponents = _required(self._file, "supervision")["exponents"] / self._observations["rate"]
        return exponents.transpose("seed", "exponent").to_numpy()
