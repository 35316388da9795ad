r"""Batches: the observed orbits of an ensemble on the device, and the segments that are drawn from them.

All that a step of training reads lies on the device before the first one: the states, and what else the method needs. A
batch is gathered there by indices, so that its size alone and not the length of the orbits is what a step costs.

All methods of a study see the same batches, drawn from all states, except for those with a need that restricts the
starts: with anchors of neighbors (``anchors`` of a selection) they draw from these, and see others. With each start
comes a random number where a need draws by it: from a stream of its own, so that the starts are the same without. Or
no start is drawn, and every batch holds all segments into which the orbits are cut, or that begin where a need has them
begin; what is left over at the end of an orbit is in none.

A segment begins where enough samples follow without a gap (:mod:`nearorbit.study.clock`). What is drawn is the number
of such a start: where samples are missing, seeds have differently many.

The states may be mended while a training goes on (:mod:`nearorbit.training.mending`): segments then start at others
than those that were observed, and are compared with these. It is one module since a batch is all of this.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.data.fingerprints import matching
from nearorbit.dynamics.fields import Coordinates
from nearorbit.study.catalogue import StudyError, entries
from nearorbit.study.clock import Clock
from nearorbit.study.sampling import CUT
from nearorbit.study.seeds import generator
from nearorbit.training.budget import Training
from nearorbit.training.draws import LOW, WORD, Draw
from nearorbit.training.methods.base import Batch, Method, in_the_end, segment
from nearorbit.training.source import Source

SEGMENTS = 256  # at most, of validation orbits or of training orbits, that errors are computed over

UNLEARNED = ("continuation_time", "lag", "embedding")  # dimensions of what nothing is learned from


def stacked(cells: Sequence[xr.Dataset]) -> xr.Dataset:
    """Stack the observations of several cells, or what belongs to them, along ``seed``, for one ensemble of them all.

    Arguments:
        cells: Files of one kind, a cell each.

    Raises:
        StudyError: If the shapes differ.
    """
    cells = [cell.drop_dims(UNLEARNED, errors="ignore") for cell in cells]
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
    sizes = {str(name): size for name, size in file.sizes.items() if name not in ("seed", *UNLEARNED)}
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
        phase: Which phase of the training they are for, if not the first.

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
        phase: str = "",
    ):
        self.segment, self._phase = segment(method, settings.segment), (phase,) if phase else ()
        self.orbits, self.samples = (observations.sizes[name] for name in ("orbit", "time"))
        self.batch = settings.segments(self.segment, orbits=self.orbits, samples=self.samples)
        assert settings.substeps != "auto"  # found before there are batches
        self._integration: dict[str, Any] = {"substeps": settings.substeps, "recompute": settings.recompute}
        files = {kind: matching(file, kind, observations) for kind, file in (files or {}).items()}
        source = Source(observations, files, method, settings, self.segment, self.batch, device, dtype)
        self.members, clock = len(source.orbits), source.clock
        if (most := clock.longest()) <= self.segment:
            row, longer = ("", "") if clock.even else (" in a row", ", longer gaps (data.*.gap)")
            raise StudyError(
                f"training orbits have {most} samples{row}, a segment of {self.segment} needs {self.segment + 1}: "
                f"ask for more (data.*.samples){longer} or a shorter segment (training.segment, or the method's own)"
            )
        if settings.batch == "all" and not clock.even:
            raise StudyError(f"training.batch: {CUT} or take other data")
        if (reason := getattr(method, "evenly", "")) and not clock.even:
            raise StudyError(f"samples are missing or moved, and this method cannot do with them: {reason}")
        self._step = source.tensor((observations["rate"] * observations["step"]).to_numpy()).view(-1, 1, 1)
        self._source, self._length, self._horizon = source, settings.segment, settings.horizon
        self._states = self._targets = source.tensor(source.orbits).flatten(1, 2)
        self._held_out = self._fixed("validation")
        self._needs = {name: entries("needs")[name](source) for name in sorted(method.needs)}
        margins = [(0, self.segment), *(need.margin for need in self._needs.values())]
        self._behind, self._ahead = (max(sides) for sides in zip(*margins, strict=True))
        self._restricted = self._common("starts")
        self._covers, self._draws = self._common("covers"), any(need.draws for need in self._needs.values())
        # The starts of segments, of which one is drawn, and those that have all that is needed, in their place.
        base, segments = clock.starts(0, self.segment)
        table, places = clock.starts(self._behind, self._ahead)
        if not places.all():
            raise StudyError(
                f"no state has {self._behind} samples behind it and {self._ahead} ahead, of at most {most} in a row; "
                f"ask for more (data.*.samples), longer gaps (data.*.gap), or a shorter segment"
            )
        self._table, self._base, self._places = (
            torch.from_numpy(array).to(device) for array in (table, segments[:, None], places[:, None])
        )
        self._among = np.broadcast_to(segments, self.members)
        if self._restricted is not None:
            self._among = (self._restricted >= 0).sum(1).cpu().numpy()
        few = clock.even and self._among[0] <= self.batch and any(need.whole for need in self._needs.values())
        self._every = np.arange(self._among[0]) if settings.batch == "all" or few else None
        if self._every is not None and self._restricted is None:
            self._every = np.searchsorted(base[0], clock.starts(0, self.segment, apart=self.segment)[0][0])
        if self._every is not None:
            self.batch = len(self._every)
        self.last: Data | None = None  # the same in segments of another length, with which a training ends
        if last := in_the_end(method):
            self.last = Data(observations, last, settings, files, device=device, dtype=dtype, phase="last")

    def starts(self, seeds: Sequence[int], lengths: Sequence[int]) -> Iterator[Tensor]:
        """Draw the starts of the segments, so many steps at a time; yields shape (steps, E, B), on the host.

        A start is the number of one of those that enough samples follow, or of those that a need restricts them to;
        above its bits stands the random number that needs draw by, if one does. They are drawn for each seed from
        streams of its own: members of an ensemble see the batches that they would see alone.
        """
        streams = [generator("batches", *self._phase, seed) for seed in seeds]
        numbers = [generator("draws", *self._phase, seed) for seed in seeds] if self._draws else []
        for steps in lengths:
            shape = (steps, self.batch)
            if self._every is not None:
                drawn = np.tile(self._every, (steps, len(seeds), 1))
            else:
                pairs = zip(streams, self._among, strict=True)
                drawn = np.stack([stream.integers(0, among, shape) for stream, among in pairs], 1)
            if self._draws:
                drawn += np.stack([stream.integers(0, 2**31, shape) for stream in numbers], 1) << WORD
            yield torch.from_numpy(drawn)

    def gather(self, drawn: Tensor) -> Batch:
        """Gather the segments of starts that were drawn, with shape (E, B), and what the method needs of them."""
        number = None
        if self._draws:
            number, drawn = drawn >> WORD, drawn & LOW
        if self._restricted is None:
            place = drawn = self._table.expand(len(drawn), -1).gather(1, drawn * self._places // self._base)
        else:
            place = self._restricted.gather(1, drawn)
        draw = Draw(self._states, place, drawn, self.samples, self.segment, number, self._source.line)
        covered = None if self._covers is None else draw.at(self._covers, draw.row)
        given = {name: need.gather(draw) for name, need in self._needs.items()}
        states = draw.pieces(self._targets, place)
        if self._states is not self._targets:
            states = _begun(states, draw.at(self._states, place))
        return self._segments(draw.ticks(self._ahead), states, index=place, covered=covered, given=given)

    @property
    def masked(self) -> Tensor | None:
        """The share of the starts whose terms do not count, for each member, with shape (E,); None where all do."""
        if self._covers is None:
            return None
        if self._restricted is not None:
            return 1 - self._covers.double().mean(1)
        rows = self._table.expand(self.members, -1)
        begins = self._covers.gather(1, rows.clamp(min=0)) & (rows >= 0)
        return 1 - begins.double().sum(1) / self._places.squeeze(1)

    def _common(self, name: str) -> Any:
        """Give what needs say of the states, which is the same of all that say it: a method has one table."""
        said = [value for need in self._needs.values() if (value := getattr(need, name)) is not None]
        assert all(torch.equal(said[0], value) for value in said)
        return said[0] if said else None

    def validation(self) -> Batch:
        """Give the segments of the validation orbits."""
        return self._held_out

    def training(self) -> Batch:
        """Give the segments of the study's length into which the training orbits are cut, evenly thinned if many."""
        return self._fixed("train")

    def observed(self, name: str) -> np.ndarray:
        """Give the observed orbits ``train`` or ``validation`` in model coordinates, with shape (E, O, T, D)."""
        return self._source.standardized(name)

    def clock(self, name: str) -> Clock:
        """Tell when the samples of ``train`` or ``validation`` were taken."""
        return Clock.of(self._source.observations, name)

    @property
    def standard(self) -> Coordinates:
        """Tell the change of model coordinates to those in which the training data have mean 0 and deviation 1."""
        return self._source.standard

    def mend(self, train: np.ndarray, validation: np.ndarray) -> None:
        """Replace what was observed, with shapes (E, O, T, D): where segments start, and all that needs are made of.

        What rollouts are compared with are the observed states, as before.
        """
        if self._states is self._targets:
            self._states = self._targets.clone()
        self._states.copy_(self._source.tensor(train).flatten(1, 2))
        self._held_out.states.copy_(self._fixed("validation", validation).states)
        observations = self._source.observations
        units = (observations[name].to_numpy()[:, None, None] for name in ("scale", "mean"))
        states = train * next(units) + next(units)
        mended = observations.assign(train=(("seed", "orbit", "time", "component"), states))
        source = replace(self._source, observations=mended)
        for need in self._needs.values():
            for name, made in vars(type(need)(source)).items():
                if isinstance(made, Tensor) and not torch.equal(made, known := getattr(need, name)):
                    known.copy_(made)  # in its place; what does not hang on the states is as it was
        if self.last:
            self.last.mend(train, validation)

    def _fixed(self, name: str, begun: np.ndarray | None = None) -> Batch:
        """Cut the orbits ``train`` or ``validation`` into segments that follow one another, evenly thinned if many.

        Arguments:
            name: Which. Of those to train on segments have the study's length, and begin where the one before ends; of
                those for validation the length of the horizon, and no sample is in two.
            begun: The states that they begin at, with shape (E, O, T, D); those that there are if None.
        """
        validation = name == "validation"
        clock = self.clock(name)
        length = min(self._horizon if validation else self._length, clock.shape[2] - 1)
        places = torch.from_numpy(_cut(clock, length, length + validation)).to(self._states.device)
        places = places.expand(self.members, -1).contiguous()
        targets = self._source.tensor(self._source.standardized(name)).flatten(1, 2) if validation else self._targets
        states = targets if validation else self._states
        if begun is not None:
            states = self._source.tensor(begun).flatten(1, 2)
        line = None if clock.even else torch.from_numpy(clock.line()).to(places.device)
        draw = Draw(states, places, places, clock.shape[2], length, line=line)
        pieces = draw.pieces(targets, places)
        if states is not targets:
            pieces = _begun(pieces, draw.at(states, places))
        return self._segments(draw.ticks(length), pieces)

    def _segments(self, ticks: Tensor, states: Tensor, **given: Any) -> Batch:
        """Make a batch of states (E, B, T, D), of which, and of more that follow, the times are given."""
        times = self._step * ticks[..., : states.shape[-2]]
        return Batch(times, states, interval=self._step, ticks=ticks, **self._integration, **given)


def _begun(segments: Tensor, start: Tensor) -> Tensor:
    """Give segments (E, B, T, D) other starts, (E, B, D)."""
    return torch.cat([start.unsqueeze(-2), segments[..., 1:, :]], -2)


def _cut(clock: Clock, length: int, apart: int) -> np.ndarray:
    """The starts of segments of a length into which orbits are cut, with shape (E, B); of equal intervals for one seed.

    There are as many of each seed: where samples are missing, some are taken twice.
    """
    _, (count,) = Clock((1, *clock.shape[1:])).starts(0, length, apart=apart)
    table, counts = clock.starts(0, length, apart=apart)
    if not counts.all():
        raise StudyError(
            f"errors are computed over {length} samples (training.horizon, training.segment), and a seed has at most "
            f"{clock.longest()} in a row: ask for more (data.*.samples), longer gaps (data.*.gap), or over fewer"
        )
    return np.take_along_axis(table, np.arange(0, count, -(-count // SEGMENTS)) % counts[:, None], 1)
