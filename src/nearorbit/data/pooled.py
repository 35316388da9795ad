"""Recordings that are looked at as one series: the longest ones of a seed, and those at least half as long.

They are read at equal intervals by linear interpolation, and long gaps are cut short.
"""

import numpy as np
import xarray as xr

from nearorbit.study.clock import PREFIXES, Clock
from nearorbit.study.sampling import shortened

LONGEST = 4096  # samples that are looked at
BRIDGED = 10  # sample intervals, that a gap is taken for at most


def recordings(observations: xr.Dataset, name: str, member: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """List the orbits of a seed, ``train`` or ``validation``: states (T, D) and the times of the samples, in intervals
    since the first, (T,)."""
    prefix, clock = PREFIXES[name], Clock.of(observations, name)
    states = observations[name].transpose("seed", f"{prefix}orbit", f"{prefix}time", "component").to_numpy()[member]
    if clock.times is None or clock.counts is None:
        return [(orbit.astype(float), np.arange(len(orbit), dtype=float)) for orbit in states]
    return [
        (orbit[:count].astype(float), times[:count])
        for orbit, times, count in zip(states, clock.times[member], clock.counts[member], strict=True)
    ]


def longest(observations: xr.Dataset, name: str, member: int) -> tuple[np.ndarray, np.ndarray]:
    """Take the longest of the :func:`recordings`, as far as it is looked at, with long gaps cut short."""
    states, times = max(recordings(observations, name, member), key=lambda orbit: len(orbit[1]))
    return states[:LONGEST], shortened(times[:LONGEST], BRIDGED)


def pooled(observations: xr.Dataset, name: str, member: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Take the longest of the :func:`recordings` and those that are at least half as long, as far as they are looked
    at, with long gaps cut short."""
    orbits = sorted(recordings(observations, name, member), key=lambda orbit: -len(orbit[1]))
    chosen = [longest(observations, name, member)]
    for states, times in orbits[1:]:
        if 2 * len(times) < len(chosen[0][1]) or sum(len(of) for _, of in chosen) + len(times) > LONGEST:
            break
        chosen.append((states, shortened(times, BRIDGED)))
    return chosen


def evened(states: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Read states (T, D) at ascending times (T,), in intervals, at equal ones by linear interpolation, (S, D)."""
    grid = times[0] + np.arange(int(times[-1] - times[0] + 1e-9) + 1)
    return np.stack([np.interp(grid, times, line) for line in states.T], -1)


def seen_at(series: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Observe a series (S, D) at given times, in intervals, and read it at equal ones."""
    moments = np.arange(len(series))
    return evened(np.stack([np.interp(times, moments, line) for line in series.T], -1), times)
