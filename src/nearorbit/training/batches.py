r"""Batches: the observed orbits of an ensemble on the device, and the segments that are drawn from them.

All that a step of training reads lies on the device before the first one: the states, and what else the method needs. A
batch is gathered there by indices, so that its size alone and not the length of the orbits is what a step costs.

All methods of a study see the same batches, drawn from all states, except for those with a need that restricts the
starts: with anchors of neighbors (``anchors`` of a selection) they draw from these, and see others.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.study.catalogue import StudyError, entries
from nearorbit.study.seeds import generator
from nearorbit.training.budget import Training
from nearorbit.training.methods.base import Batch, Method, segment
from nearorbit.training.needs.base import Draw, Source

VALIDATION_SEGMENTS = 256


def stacked(cells: Sequence[xr.Dataset]) -> xr.Dataset:
    """Stack the observations of several cells, or what belongs to them, along ``seed``, for one ensemble of them all.

    Arguments:
        cells: Files of one kind, a cell each.

    Raises:
        StudyError: If the shapes differ.
    """
    shapes = [shape_of(cell) for cell in cells]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise StudyError(
                f"cells of different shapes cannot be trained together: the first has {shapes[0]}, number "
                f"{number + 1} has {shape}; train them apart"
            )
    return xr.concat(cells, "seed", data_vars="all", coords="minimal", join="override", combine_attrs="drop_conflicts")


def shape_of(file: xr.Dataset) -> dict[str, int]:
    """Tell what has to be the same of two files for both to be trained on together: all but the number of seeds."""
    sizes = {str(name): size for name, size in file.sizes.items() if name != "seed"}
    return sizes | {name: file.attrs[name] for name in ("ahead", "behind", "anchors") if name in file.attrs}


class Data:
    """The observed orbits of all seeds on the device, in model coordinates, and what else a method needs of them.

    Arguments:
        observations: The observed orbits.
        method: The method, whose ``needs`` are looked after.
        settings: The settings of the loop.
        files: The other files of results that are given, by their kinds: ``neighbors``, ``supervision``.
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
        files: Mapping[str, xr.Dataset] | None = None,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.segment, self.batch = sizes(method, settings)
        assert settings.substeps != "auto"  # found before there are batches
        self._integrated = partial(Batch, substeps=settings.substeps, recompute=settings.recompute)
        files = {kind: matching(file, kind, observations) for kind, file in (files or {}).items()}
        source = Source(observations, files, method, settings, self.segment, self.batch, device, dtype)
        self.members, self.orbits, self.samples, _ = source.orbits.shape
        if self.samples <= self.segment:
            raise StudyError(
                f"training orbits have {self.samples} samples, a segment of {self.segment} needs {self.segment + 1}: "
                f"ask for more (data.*.samples) or a shorter segment (training.segment, or the method's own)"
            )
        self._step = source.tensor((observations["rate"] * observations["step"]).to_numpy()).view(-1, 1, 1)
        self._states = source.tensor(source.orbits).flatten(1, 2)
        self._validation = source.tensor(_cut(source.standardized("validation"), settings.horizon))
        self._needs = {name: entries("needs")[name](source) for name in sorted(method.needs)}
        margins = [(0, self.segment), *(need.margin for need in self._needs.values())]
        self._behind, self._ahead = (max(sides) for sides in zip(*margins, strict=True))
        restricted = [need.starts for need in self._needs.values() if need.starts is not None]
        self._restricted = restricted[0] if restricted else None
        assert all(torch.equal(restricted[0], starts) for starts in restricted)  # a method has one table

    def starts(self, seeds: Sequence[int], lengths: Sequence[int]) -> Iterator[Tensor]:
        """Draw the starts of the segments, so many steps at a time; yields shape (steps, E, B), on the host.

        A start is a position in the flattened (orbit, time), or the number of one of the starts that a need restricts
        them to. They are drawn for each seed from a stream of its own: members of an ensemble see the batches that they
        would see alone.
        """
        per_orbit = self.samples - self.segment
        among = self.orbits * per_orbit if self._restricted is None else self._restricted.shape[1]
        streams = [generator("batches", seed) for seed in seeds]
        for steps in lengths:
            shape = (steps, self.batch)
            drawn = np.stack([stream.integers(0, among, shape) for stream in streams], 1)
            if self._restricted is None:
                drawn = drawn // per_orbit * self.samples + drawn % per_orbit
            yield torch.from_numpy(drawn)

    def gather(self, drawn: Tensor) -> Batch:
        """Gather the segments of starts that were drawn, with shape (E, B), and what the method needs of them."""
        moments = self.samples - self.segment
        place = drawn if self._restricted is None else self._restricted.gather(1, drawn)
        moment = place % self.samples
        orbit = place - moment
        if self._restricted is None:
            place = drawn = orbit + self._behind + moment * (self.samples - self._ahead - self._behind) // moments
        draw = Draw(self._states, place, drawn, orbit, moment, moments, self.samples, self.segment)
        given = {name: need.gather(draw) for name, need in self._needs.items()}
        states = draw.pieces(self._states, place)
        return self._integrated(self._times(self.segment), states, index=place, given=given)

    def validation(self) -> Batch:
        """Give the segments of the validation orbits."""
        return self._integrated(self._times(self._validation.shape[2] - 1), self._validation)

    def _times(self, samples: int) -> Tensor:
        return self._step * torch.arange(samples + 1, device=self._step.device)


def sizes(method: Method, settings: Training) -> tuple[int, int]:
    """Tell how long the segments of a method are, and how many make a batch: all see as many samples in a step."""
    length = segment(method, settings.segment)
    return length, max(1, round(settings.batch * settings.segment / length))


def _cut(orbits: np.ndarray, horizon: int) -> np.ndarray:
    """Cut orbits, with shape (E, O, T, D), into segments that follow one another, with shape (E, B, horizon + 1, D)."""
    members, _, samples, dimension = orbits.shape
    length = min(horizon, samples - 1) + 1
    whole = orbits[:, :, : samples // length * length].reshape(members, -1, length, dimension)
    every = -(-whole.shape[1] // VALIDATION_SEGMENTS)
    return whole[:, ::every]


def matching(file: xr.Dataset, name: str, observations: xr.Dataset) -> xr.Dataset:
    """Refuse a file that was computed along other observations than these."""
    if not np.array_equal(file["fingerprint"], observations["fingerprint"]):
        raise StudyError(
            f"{name}: the file is of other data: the fingerprints of its observations are {_hex(file)}, of these "
            f"{_hex(observations)}; make it again from these observations"
        )
    return file


def _hex(file: xr.Dataset) -> str:
    return " ".join(f"{value:016x}" for value in np.atleast_1d(file["fingerprint"].to_numpy()))
