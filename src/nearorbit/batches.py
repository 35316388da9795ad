r"""Batches: the observed orbits of an ensemble on the device, and the segments that are drawn from them.

All that a step of training reads lies on the device before the first one: states, the table of neighbors, splines, true
Jacobians. A batch is gathered there by indices, so that its size alone and not the length of the orbits is what a step
costs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.budget import Training
from nearorbit.catalogue import StudyError
from nearorbit.methods.base import Batch, Method, segment
from nearorbit.seeds import generator
from nearorbit.smoothing import smoothed

VALIDATION_SEGMENTS = 256


def stacked(cells: Sequence[xr.Dataset]) -> xr.Dataset:
    """Stack the observations of several cells, or what belongs to them, along ``seed``, for one ensemble of them all.

    Arguments:
        cells: Files of one kind, a cell each.

    Raises:
        StudyError: If the shapes differ.
    """
    shapes = [{name: size for name, size in cell.sizes.items() if name != "seed"} for cell in cells]
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
        prepare = {
            "neighbors": lambda: torch.as_tensor(_table(neighbors, self, method)).to(device),
            "spline": lambda: tensor(smoothed(states["train"], refinement=2 * settings.substeps)).flatten(1, 2),
            "jacobians": lambda: tensor(_model_jacobians(supervision, observations)),
            "exponents": lambda: tensor(_exponents(supervision, observations)),
        }
        self._extras = {need: prepare[need]() for need in method.needs & prepare.keys()}

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
        member = self._member.view(-1, 1)
        ahead = torch.arange(self.segment + 1, device=start.device)
        extras = {}
        if "neighbors" in self._extras:
            near = self._extras["neighbors"][member, start]
            extras["neighbors"] = self._states[member[..., None, None], near.unsqueeze(-1) + ahead]
        if "spline" in self._extras:
            extras["spline"] = self._spline(start)
        if "jacobians" in self._extras:
            extras["jacobians"] = self._extras["jacobians"][member, start]
        if "exponents" in self._extras:
            extras["exponents"] = self._extras["exponents"]
        states = self._states[member[..., None], start.unsqueeze(-1) + ahead]
        return Batch(self._step * ahead, states, **self._integration, **extras)

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
    if table.sizes["neighbor"] < method.count or table.attrs["ahead"] < data.segment:
        raise StudyError(
            f"neighbors: the table has {table.sizes['neighbor']} neighbors that {table.attrs['ahead']} samples follow, "
            f"the method asks for {method.count} and {data.segment}: raise neighbors.count, or lower the method's count"
        )
    return table["index"].to_numpy()[..., : method.count]


def _model_jacobians(supervision: xr.Dataset | None, observations: xr.Dataset) -> np.ndarray:
    r"""Transform Jacobians to model coordinates, :math:`J_{ij} s_j / (s_i r)`; returns shape (E, O * T, D, D)."""
    jacobian = (
        _required(supervision, "supervision")["jacobian"]
        .transpose("seed", "orbit", "time", "component", "direction")
        .to_numpy()
    )
    scale = observations["scale"].to_numpy()[:, None, None]
    rate = observations["rate"].to_numpy()[:, None, None, None, None]
    jacobian = jacobian * scale[..., None, :] / (scale[..., :, None] * rate)
    return jacobian.reshape(jacobian.shape[0], -1, *jacobian.shape[-2:])


def _exponents(supervision: xr.Dataset | None, observations: xr.Dataset) -> np.ndarray:
    """Transform exponents to model time; returns shape (E, D)."""
    exponents = _required(supervision, "supervision")["exponents"] / observations["rate"]
    return exponents.transpose("seed", "exponent").to_numpy()
