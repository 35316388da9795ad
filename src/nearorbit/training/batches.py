r"""Batches: the observed orbits of an ensemble on the device, and the segments that are drawn from them.

All that a step of training reads lies on the device before the first one: the states, and what else the method needs. A
batch is gathered there by indices, so that its size alone and not the length of the orbits is what a step costs.

All methods of a study see the same batches, drawn from all states, except for those with a need that restricts the
starts: with anchors of neighbors (``anchors`` of a selection) they draw from these, and see others. With each start
comes a random number where a need draws by it: from a stream of its own, so that the starts are the same without. Or
no start is drawn, and every batch holds all segments into which the orbits are cut, or that begin where a need has them
begin; what is left over at the end of an orbit is in none.

The states may be mended while a training goes on (:mod:`nearorbit.training.mending`): segments then start at others
than those that were observed, and are compared with these.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.study.catalogue import StudyError, entries
from nearorbit.study.seeds import generator
from nearorbit.training.budget import Training
from nearorbit.training.draws import LOW, WORD, Draw
from nearorbit.training.methods.base import Batch, Method, segment
from nearorbit.training.needs.base import Source

SEGMENTS = 256  # at most, of validation orbits or of training orbits, that errors are computed over


def stacked(cells: Sequence[xr.Dataset]) -> xr.Dataset:
    """Stack the observations of several cells, or what belongs to them, along ``seed``, for one ensemble of them all.

    Arguments:
        cells: Files of one kind, a cell each.

    Raises:
        StudyError: If the shapes differ.
    """
    cells = [cell.drop_dims("continuation_time", errors="ignore") for cell in cells]  # nothing is learned from it
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
    sizes = {str(name): size for name, size in file.sizes.items() if name not in ("seed", "continuation_time")}
    return sizes | {
        name: file.attrs[name] for name in ("ahead", "behind", "anchors", "draw", "count") if name in file.attrs
    }


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
        self.segment = segment(method, settings.segment)
        self.orbits, self.samples = (observations.sizes[name] for name in ("orbit", "time"))
        self.batch = settings.segments(self.segment, orbits=self.orbits, samples=self.samples)
        assert settings.substeps != "auto"  # found before there are batches
        self._integrated = partial(Batch, substeps=settings.substeps, recompute=settings.recompute)
        files = {kind: matching(file, kind, observations) for kind, file in (files or {}).items()}
        source = Source(observations, files, method, settings, self.segment, self.batch, device, dtype)
        self.members = len(source.orbits)
        if self.samples <= self.segment:
            raise StudyError(
                f"training orbits have {self.samples} samples, a segment of {self.segment} needs {self.segment + 1}: "
                f"ask for more (data.*.samples) or a shorter segment (training.segment, or the method's own)"
            )
        self._step = source.tensor((observations["rate"] * observations["step"]).to_numpy()).view(-1, 1, 1)
        self._source, self._length, self._horizon = source, settings.segment, settings.horizon
        self._states = self._targets = source.tensor(source.orbits).flatten(1, 2)
        self._validation = source.tensor(_cut(source.standardized("validation"), settings.horizon))
        self._needs = {name: entries("needs")[name](source) for name in sorted(method.needs)}
        margins = [(0, self.segment), *(need.margin for need in self._needs.values())]
        self._behind, self._ahead = (max(sides) for sides in zip(*margins, strict=True))
        self._restricted = self._common("starts")
        self._covers, self._draws = self._common("covers"), any(need.draws for need in self._needs.values())
        among = self.batch if self._restricted is None else self._restricted.shape[1]
        self._whole = settings.batch == "all" or (among <= self.batch and any(n.whole for n in self._needs.values()))
        if self._whole:
            self.batch = among

    def starts(self, seeds: Sequence[int], lengths: Sequence[int]) -> Iterator[Tensor]:
        """Draw the starts of the segments, so many steps at a time; yields shape (steps, E, B), on the host.

        A start is a position in the flattened (orbit, time), or the number of one of the starts that a need restricts
        them to; above its bits stands the random number that needs draw by, if one does. They are drawn for each seed
        from streams of its own: members of an ensemble see the batches that they would see alone.
        """
        per_orbit = self.samples - self.segment
        among = self.orbits * per_orbit if self._restricted is None else self._restricted.shape[1]
        streams = [generator("batches", seed) for seed in seeds]
        numbers = [generator("draws", seed) for seed in seeds] if self._draws else []
        for steps in lengths:
            shape = (steps, self.batch)
            if self._whole:
                every = self._cuts(self.segment).numpy() if self._restricted is None else np.arange(among)
                drawn = np.tile(every, (steps, len(seeds), 1))
            else:
                drawn = np.stack([stream.integers(0, among, shape) for stream in streams], 1)
                if self._restricted is None:
                    drawn = drawn // per_orbit * self.samples + drawn % per_orbit
            if self._draws:
                drawn += np.stack([stream.integers(0, 2**31, shape) for stream in numbers], 1) << WORD
            yield torch.from_numpy(drawn)

    def gather(self, drawn: Tensor) -> Batch:
        """Gather the segments of starts that were drawn, with shape (E, B), and what the method needs of them."""
        moments, number = self.samples - self.segment, None
        if self._draws:
            number, drawn = drawn >> WORD, drawn & LOW
        place = drawn if self._restricted is None else self._restricted.gather(1, drawn)
        moment = place % self.samples
        orbit = place - moment
        if self._restricted is None:
            place = drawn = orbit + self._behind + moment * (self.samples - self._ahead - self._behind) // moments
        draw = Draw(self._states, place, drawn, orbit, moment, moments, self.samples, self.segment, number)
        covered = None if self._covers is None else draw.at(self._covers, draw.row)
        given = {name: need.gather(draw) for name, need in self._needs.items()}
        states = self._begun(draw.pieces(self._targets, place), draw.at(self._states, place))
        return self._integrated(self._times(self.segment), states, index=place, covered=covered, given=given)

    @property
    def masked(self) -> Tensor | None:
        """The share of the starts whose terms do not count, for each member, with shape (E,); None where all do."""
        if self._covers is None:
            return None
        if self._restricted is not None:
            return 1 - self._covers.double().mean(1)
        begins = self._covers.view(self.members, self.orbits, -1)[..., self._behind : self.samples - self._ahead]
        return 1 - begins.double().mean((1, 2))

    def _common(self, name: str) -> Any:
        """Give what needs say of the states, which is the same of all that say it: a method has one table."""
        said = [value for need in self._needs.values() if (value := getattr(need, name)) is not None]
        assert all(torch.equal(said[0], value) for value in said)
        return said[0] if said else None

    def validation(self) -> Batch:
        """Give the segments of the validation orbits."""
        return self._integrated(self._times(self._validation.shape[2] - 1), self._validation)

    def training(self) -> Batch:
        """Give the segments of the study's length into which the training orbits are cut, evenly thinned if many."""
        length = min(self._length, self.samples - 1)
        starts = self._cuts(length)
        starts = starts[:: -(-len(starts) // SEGMENTS)].to(self._states.device)
        pieces = starts.unsqueeze(-1) + torch.arange(length + 1, device=starts.device)
        return self._integrated(self._times(length), self._begun(self._targets[:, pieces], self._states[:, starts]))

    def observed(self, name: str) -> np.ndarray:
        """Give the observed orbits ``train`` or ``validation`` in model coordinates, with shape (E, O, T, D)."""
        return self._source.standardized(name)

    def mend(self, train: np.ndarray, validation: np.ndarray) -> None:
        """Replace what was observed, with shapes (E, O, T, D): where segments start, and all that needs are made of.

        What rollouts are compared with are the observed states, as before.
        """
        if self._states is self._targets:
            self._states = self._targets.clone()
        self._states.copy_(self._source.tensor(train).flatten(1, 2))
        self._validation[..., 0, :] = self._source.tensor(_cut(validation, self._horizon)[..., 0, :])
        observations = self._source.observations
        units = (observations[name].to_numpy()[:, None, None] for name in ("scale", "mean"))
        states = train * next(units) + next(units)
        mended = observations.assign(train=(("seed", "orbit", "time", "component"), states))
        source = replace(self._source, observations=mended)
        for need in self._needs.values():
            for name, made in vars(type(need)(source)).items():
                if isinstance(made, Tensor):
                    getattr(need, name).copy_(made)

    def _begun(self, segments: Tensor, start: Tensor) -> Tensor:
        """Give segments (E, B, T, D) other starts, (E, B, D), if those are not what was observed."""
        if self._states is self._targets:
            return segments
        return torch.cat([start.unsqueeze(-2), segments[..., 1:, :]], -2)

    def _cuts(self, length: int) -> Tensor:
        """The starts of segments of a length into which the orbits are cut, with shape (B,)."""
        within = torch.arange((self.samples - 1) // length) * length
        return (torch.arange(self.orbits).unsqueeze(-1) * self.samples + within).flatten()

    def _times(self, samples: int) -> Tensor:
        return self._step * torch.arange(samples + 1, device=self._step.device)


def _cut(orbits: np.ndarray, horizon: int) -> np.ndarray:
    """Cut orbits, with shape (E, O, T, D), into segments that follow one another, with shape (E, B, horizon + 1, D)."""
    members, _, samples, dimension = orbits.shape
    length = min(horizon, samples - 1) + 1
    whole = orbits[:, :, : samples // length * length].reshape(members, -1, length, dimension)
    every = -(-whole.shape[1] // SEGMENTS)
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
