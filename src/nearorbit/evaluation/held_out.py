"""What learned fields are held against where there is no truth: recordings that nothing was learned from.

It has the variables of a truth (:func:`nearorbit.truth.simulation.truth`), so that forecasts and metrics are the same.
What only a truth would tell, the field, its Jacobian and its exponents, is NaN, and so are scores that need it; its
states are measured ones, with their noise. Forecasts and statistics of the attractor are those of what was held out;
windows begin before the end of what was learned from, and go on beyond it.

Times of a truth are at equal intervals. Where samples are not, recordings are read there by piecewise cubics that do
not overshoot, the last sample that was learned from being on time; what lies in a gap is NaN, and counts nowhere.
Forecasts across gaps are held against the samples themselves (:mod:`nearorbit.evaluation.unseen`), which
:func:`with_held_out` puts where validation orbits are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.delays import Delays
from nearorbit.data.partial import delayed
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES
from nearorbit.study.sampling import breaks, shortened

LONGEST = 10_000  # sample intervals: of a gap more are not written down, nor is any window as long
PARTS = 2  # of the longest run that was held out: the longest forecasts and runs of the attractor


@dataclass(frozen=True)
class Track:
    """A recording at equal intervals.

    Arguments:
        states: With shape (N, D); NaN where nothing is known.
        last: The last sample that was learned from; -1 where none was.
    """

    states: np.ndarray
    last: int

    def runs(self) -> Iterator[np.ndarray]:
        """Iterate over what was held out without a gap, with shapes (R, D)."""
        states = self.states[self.last + 1 :]
        known = np.isfinite(states).all(1)
        for run in np.split(np.arange(len(states)), 1 + np.flatnonzero(np.diff(known))):
            if run.size and known[run[0]]:
                yield states[run]


def held_out(orbits: xr.Dataset, observations: xr.Dataset, *, evaluation: Mapping[str, Any]) -> xr.Dataset:
    """Tabulate what was held out of recordings, in the place of a truth.

    Arguments:
        orbits: The recordings, from :func:`nearorbit.truth.recordings.orbits`.
        observations: What is learned from, from :func:`nearorbit.data.observations.observe`; it tells which components
            are seen, and with which delays.
        evaluation: The settings of the evaluation, as for a truth: forecasts are as long as its ``longest``, in
            periods, but no longer than half of the longest run that was held out, and so are runs of the attractor.

    Raises:
        StudyError: If hardly anything was held out.

    Returns:
        The variables of a truth, and ``observed``, the windows once more; the attribute ``motion`` is ``unknown``.
    """
    step, period = (float(orbits[name]) for name in ("step", "period"))
    seeds, names = orbits.sizes["seed"], observations["component"].to_numpy()
    tracks = [_seen(track, observations) for track in _tracks(orbits)]
    runs = [run for track in tracks for run in track.runs()]
    if (longest := max(map(len, runs), default=0)) < PARTS:
        raise StudyError(
            "data.*.held_out: no two samples follow one another without a gap in what is held out; hold out more, or "
            "take a larger gap"
        )
    lead = min(1 + max(1, int(evaluation["longest"] * period / step)), max(PARTS, longest // PARTS))
    sample = min(evaluation["samples"], max(PARTS, longest // PARTS))
    forecasts = _pieces(runs, lead, evaluation["starts"])
    attractor = _pieces(runs, sample, evaluation["runs"], apart=sample)
    visited = attractor.reshape(-1, len(names))
    points = visited[np.arange(evaluation["points"]) * len(visited) // evaluation["points"]]
    inside = max(1, round(evaluation["window"] * period / step))
    windows, region = _windows(tracks, evaluation["windows"], inside, evaluation.get("beyond"))
    unknown = np.full((len(names), len(names)), np.nan)

    def alike(values: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(values)[None], seeds, 0)

    return xr.Dataset(
        {
            "forecasts": (("seed", "start", "lead", "component"), alike(forecasts)),
            "attractor": (("seed", "run", "sample", "component"), alike(attractor)),
            **{name: (("seed", "window", "moment", "component"), alike(windows)) for name in ("windows", "observed")},
            "region": (("window", "moment"), region),
            "points": (("seed", "point", "component"), alike(points)),
            "field": (("seed", "point", "component"), alike(np.full_like(points, np.nan))),
            "jacobian": (("seed", "point", "component", "direction"), alike(np.repeat(unknown[None], len(points), 0))),
            **{name: (("seed", "exponent"), alike(unknown[0])) for name in ("exponents", "stderr")},
            "best_step": ("seed", np.zeros(seeds)),
            **{name: ("seed", np.zeros(seeds, np.int8)) for name in ("converged", "diverged", "collapsed")},
            "step": ((), step, {"units": "system time"}),
            "period": ((), period, {"units": "system time"}),
            "horizon": ((), np.nan),
        },
        coords={
            "seed": orbits["seed"],
            "lead": step * np.arange(lead),
            "sample": step * np.arange(sample),
            "moment": step * np.arange(windows.shape[1]),
            "component": names,
            "direction": names,
        },
        attrs=orbits.attrs | {"motion": "unknown"},
    )


def with_held_out(observations: xr.Dataset, orbits: xr.Dataset) -> xr.Dataset:
    """Put what was held out of recordings in the place of validation orbits, with the delays of the others.

    The past of these is read off their smoothing splines, at equal intervals, too.

    Arguments:
        observations: The observed orbits of a measured system.
        orbits: The recordings.
    """
    seeds, step = observations.sizes["seed"], float(orbits["step"])
    states = orbits["recorded"].transpose("recording", "moment", "component").to_numpy()
    instants, learned = orbits["recorded_instants"].to_numpy(), orbits["learned"].to_numpy()
    counts = np.isfinite(instants).sum(1) - learned
    chosen = learned[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)
    beyond = np.maximum(np.arange(counts.max()) + 1 - counts[:, None], 0)
    states, times = states[np.arange(len(chosen))[:, None], chosen], np.take_along_axis(instants, chosen, 1)
    held: dict[str, Any] = {}
    for name, prefix in PREFIXES.items():
        dimensions = "seed", f"{prefix}orbit", f"{prefix}time"
        held[name] = (*dimensions, "component"), np.stack([states] * seeds)
        held[f"{prefix}instants"] = dimensions, np.stack([times + step * beyond] * seeds)
        held[f"{prefix}counts"] = dimensions[:2], np.stack([counts] * seeds)
    kept = orbits.get("gap", xr.DataArray(step))
    made = xr.Dataset(
        held | {"gap": kept} | {n: orbits[n] for n in ("step", "period")}, {"component": orbits["component"]}
    )
    if (delays := Delays.of(observations)) is not None:
        made = delayed(made, delays, label=observations.attrs.get("system", ""))
    held_out = {name: made[name] for name in ("validation", "validation_instants", "validation_counts")}
    rest = observations.drop_vars(held_out, errors="ignore").drop_dims(
        ["validation_orbit", "validation_time"], errors="ignore"
    )
    if "instants" not in rest:  # a clock has the times of all orbits or of none
        shape = rest["train"].transpose("seed", "orbit", "time", "component").shape[:3]
        rest = rest.assign(
            instants=(("seed", "orbit", "time"), np.broadcast_to(step * np.arange(shape[2]), shape)),
            counts=(("seed", "orbit"), np.full(shape[:2], shape[2])),
            gap=kept,
        )
    return rest.assign({name: (a.dims, a.to_numpy()) for name, a in held_out.items()})


def _tracks(orbits: xr.Dataset) -> Iterator[Track]:
    """Read the recordings at equal intervals."""
    from scipy.interpolate import PchipInterpolator  # here, because its import takes a third of a second

    step, recorded = float(orbits["step"]), orbits["recorded"].transpose("recording", "moment", "component").to_numpy()
    gap = float(orbits["gap"]) / step if "gap" in orbits else 1.0
    for states, times, learned in zip(
        recorded, orbits["recorded_instants"].to_numpy() / step, orbits["learned"].to_numpy(), strict=True
    ):
        known = np.isfinite(times)
        states, times, last = states[known], shortened(times[known], LONGEST), int(learned) - 1
        if "gap" not in orbits or len(times) < 2:
            yield Track(states, last)
            continue
        first = times[max(last, 0)]
        grid = np.arange(np.ceil(times[0] - first), np.floor(times[-1] - first) + 1)
        values = PchipInterpolator(times, states)(first + grid)
        after = np.clip(np.searchsorted(times, first + grid, side="right"), 1, len(times) - 1)
        values[breaks(times, gap)[after - 1] & ~np.isin(first + grid, times)] = np.nan
        yield Track(values, int(np.flatnonzero(grid == 0)[0]) if last >= 0 else -1)


def _seen(track: Track, observations: xr.Dataset) -> Track:
    """A recording as it is observed, with the delays of what is learned from."""
    if (delays := Delays.of(observations)) is None:
        return track
    unknown = np.full((min(delays.span, len(track.states)), observations.sizes["component"]), np.nan)
    return Track(np.concatenate([unknown, delays(track.states)]), track.last)


def _pieces(runs: list[np.ndarray], length: int, count: int, *, apart: int = 1) -> np.ndarray:
    """Cut pieces (P, length, D) out of runs, so far apart and spread evenly, at most so many."""
    starts = [(run, begin) for run in runs for begin in range(0, len(run) - length + 1, apart)]
    chosen = (starts[number * len(starts) // count] for number in range(count)) if len(starts) > count else starts
    return np.stack([run[begin : begin + length] for run, begin in chosen])


def _windows(tracks: list[Track], count: int, inside: int, beyond: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Cut windows (M, W + B + 1, D) around the ends of what was learned from, with regions (M, W + B + 1).

    Window m is that of :func:`nearorbit.truth.simulation.truth` at track m modulo their number; B is what is known
    beyond if that is less. A recording that is held out as a whole is beyond from its first sample on.
    """
    ends = [max(track.last, 0) for track in tracks]
    width = min([inside, *(end for end in ends if end)])
    after = min(beyond or width, max(len(track.states) - 1 - end for track, end in zip(tracks, ends, strict=True)))
    windows = np.full((count, width + after + 1, tracks[0].states.shape[1]), np.nan)
    region = np.full(windows.shape[:2], -1, np.int8)
    for number in range(count):
        track, end = tracks[number % len(tracks)], ends[number % len(tracks)]
        known = np.isfinite(track.states).all(1)
        begin = end - width + number * width // count if end else number * (len(known) - 1) // count
        begin += int(np.argmax(known[begin:]))  # a rollout begins at a state that is known
        moments = np.arange(begin, min(begin + windows.shape[1], len(known), end + after + 1 if end else len(known)))
        windows[number, : len(moments)] = track.states[moments]
        region[number, : len(moments)] = np.where(known[moments], (moments > end) | (track.last < 0), -1)
    return windows, region
