r"""When the samples of observed orbits were taken, and which follow one another.

Times are in sample intervals, the ``step`` of the observations. Where samples are at equal intervals and none is
missing, sample k was taken at time k; otherwise the file of observations has the times of each. An interval longer than
the ``gap`` is bridged by nothing: the samples between two gaps are a *run*, and what begins in a run has to end in it.

Orbits of unequal length are filled up to the longest by copies of their last sample, of which nothing knows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.study.sampling import ROUNDING, breaks

Along = Callable[[np.ndarray, np.ndarray], np.ndarray]  # states (*, T, D) and their times (T,) -> (*, S, D)
PREFIXES = {"train": "", "validation": "validation_"}  # of the names of variables


@dataclass(frozen=True)
class Clock:
    """The times of the samples of orbits.

    Arguments:
        shape: Of the orbits: the seeds E, the orbits O of each and their samples T.
        times: The times since the first sample of an orbit, ascending, with shape (E, O, T); None at equal intervals.
        counts: How many of the samples of an orbit were observed, the others fill up, with shape (E, O); likewise.
        gaps: The longest interval of each seed that is bridged, with shape (E,); likewise.
    """

    shape: tuple[int, int, int]
    times: np.ndarray | None = None
    counts: np.ndarray | None = None
    gaps: np.ndarray | None = None

    @classmethod
    def of(cls, observations: xr.Dataset, name: str = "train") -> "Clock":
        """Read it of observations: of the orbits ``train`` or ``validation``."""
        prefix = PREFIXES[name]
        seeds, orbits, samples = (observations.sizes[size] for size in ("seed", f"{prefix}orbit", f"{prefix}time"))
        if "instants" not in observations:
            return cls((seeds, orbits, samples))
        step, gaps = (np.broadcast_to(observations[variable].to_numpy(), seeds) for variable in ("step", "gap"))
        times = observations[f"{prefix}instants"].transpose("seed", ...).to_numpy()
        counts = observations[f"{prefix}counts"].transpose("seed", ...).to_numpy()
        times = (times - times[..., :1]) / step[:, None, None]
        return cls((seeds, orbits, samples), times, counts, gaps / step)

    def __getitem__(self, member: slice) -> "Clock":
        """Give that of some of the seeds."""
        if self.even:
            return Clock((len(range(self.shape[0])[member]), *self.shape[1:]))
        assert self.times is not None and self.counts is not None and self.gaps is not None
        times = self.times[member]
        return Clock(times.shape, times, self.counts[member], self.gaps[member])

    @property
    def even(self) -> bool:
        """Whether all samples are at equal intervals, of all orbits as many, and none is missing."""
        return self.times is None

    @cached_property
    def there(self) -> np.ndarray:
        """Which samples were observed, and do not only fill up, with shape (E, O, T)."""
        if self.counts is None:
            return np.broadcast_to(True, self.shape)
        return np.arange(self.shape[2]) < self.counts[..., None]

    @property
    def known(self) -> Any:
        """The same for means over states (E, O, T, D): True if all were."""
        return True if self.even else self.there[..., None]

    @cached_property
    def follows(self) -> np.ndarray:
        """Whether the next sample follows without a gap, with shape (E, O, T - 1); of equal intervals for one seed."""
        if self.times is None or self.gaps is None:
            return np.broadcast_to(True, (1, *self.shape[1:]))[..., 1:]
        return ~breaks(self.times, self.gaps[:, None, None]) & self.there[..., 1:]

    @cached_property
    def ahead(self) -> np.ndarray:
        """How many samples follow in the run of each, with shape (E, O, T); of equal intervals for one seed."""
        samples = np.arange(self.shape[2])
        if self.even:
            return np.broadcast_to(samples[::-1], (1, *self.shape[1:]))
        ends = np.append(
            np.where(self.follows, self.shape[2], samples[:-1]), np.full((*self.shape[:2], 1), samples[-1]), 2
        )
        return np.minimum.accumulate(ends[..., ::-1], -1)[..., ::-1] - samples

    @cached_property
    def behind(self) -> np.ndarray:
        """How many samples precede in the run of each, with shape (E, O, T); of equal intervals for one seed."""
        samples = np.arange(self.shape[2])
        if self.even:
            return np.broadcast_to(samples, (1, *self.shape[1:]))
        begins = np.insert(np.where(self.follows, 0, samples[1:]), 0, 0, axis=2)
        return samples - np.maximum.accumulate(begins, -1)

    def starts(self, behind: int, ahead: int, *, apart: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Find the samples that so many precede and so many follow in their run.

        Arguments:
            behind: How many precede it, at least.
            ahead: How many follow it, at least.
            apart: How far they are apart, from the first sample of a run on.

        Returns:
            Positions in the flattened (O, T), with shape (E, A) and -1 beyond the last of a seed, and how many there
            are, with shape (E,); of equal intervals for one seed.
        """
        fits = (self.behind >= behind) & (self.ahead >= ahead) & self.there[: len(self.ahead)]
        fits = (fits & (self.behind % apart == 0)).reshape(len(fits), -1)
        counts = fits.sum(1)
        table = np.full((len(fits), counts.max()), -1)
        for row, fit in zip(table, fits, strict=True):
            row[: fit.sum()] = np.flatnonzero(fit)
        return table, counts

    def longest(self) -> int:
        """The number of samples in the longest run that every seed has."""
        return int(np.where(self.there, self.ahead, 0).max((1, 2)).min()) + 1

    def line(self, apart: float = 0.0) -> np.ndarray:
        """Lay the orbits of each seed on one line of time, more than so much apart, what fills up at equal intervals
        after the rest; returns shape (E, O * T)."""
        seeds, orbits, samples = self.shape
        number = np.arange(orbits)[:, None]
        if self.times is None:
            return np.broadcast_to(
                (number * (samples + apart) + np.arange(samples)).reshape(1, -1), (seeds, orbits * samples)
            )
        longest = np.ceil(self.times[..., -1].max()) + 1
        return (number * (longest + apart) + self.times).reshape(seeds, -1)

    def lasts(self, here: np.ndarray, there: np.ndarray, ahead: int) -> np.ndarray:
        """Tell whether the runs of some samples of the one seed last as long as the next samples of others take.

        Arguments:
            here: The positions of the others, which so many samples follow.
            there: Those of the samples.
            ahead: The number of samples.

        Returns:
            Whether they do, in the shape that the two broadcast to. At equal intervals they do where as many follow.
        """
        if self.times is None:
            return np.broadcast_to(True, np.broadcast_shapes(here.shape, there.shape))
        times, ends = self.times.reshape(-1), np.arange(self.times.size) + self.ahead.reshape(-1)
        return times[ends[there]] - times[there] >= (times[here + ahead] - times[here]) * (1 - ROUNDING)

    def next(self) -> np.ndarray:
        """Tell how long it takes to the next sample, with shape (E, O, T); 1 where none follows without a gap."""
        if self.times is None:
            return np.broadcast_to(1.0, self.shape)
        return np.append(np.where(self.follows, np.diff(self.times), 1.0), np.ones((*self.shape[:2], 1)), 2)

    def each(self, function: Along, states: np.ndarray, *, refinement: int = 1) -> np.ndarray:
        """Compute something along orbits, of all at once where their samples are at the same times.

        Arguments:
            function: What is computed, from states (*, T, D) and their times.
            states: The states of all orbits, with shape (E, O, T, D).
            refinement: How many values it makes for each interval between samples.

        Returns:
            What was computed, with shape (E, O, refinement * (T - 1) + 1, D), filled up by its last values.
        """
        if self.times is None or self.counts is None:
            return function(states, np.arange(self.shape[2], dtype=float))
        made = np.empty((*states.shape[:2], refinement * (states.shape[2] - 1) + 1, states.shape[3]))
        for (member, orbit), count in np.ndenumerate(self.counts):
            values = function(states[member, orbit, :count], self.times[member, orbit, :count])
            made[member, orbit, : len(values)] = values
            made[member, orbit, len(values) :] = values[-1]
        return made
