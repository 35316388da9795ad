r"""Partial observation: some components, and their past in the place of the others.

A state is what is seen now and so many times before, a lag apart,

.. math:: y(t) = \big(x(t), \; x(t - \tau), \; \dots, \; x(t - (m - 1) \tau)\big)

for all components x that are seen. The lag :math:`\tau` is where x first tells least of what it will be: the first
minimum of the mutual information of x(t) and x(t + tau) within a period, and where there is none a quarter of it. The
dimension m is the least in which neighbors are neighbors, and not false ones that a projection brings together:
neighbors in m dimensions are *false* if x one lag later sets them apart by more than STRETCH times their distance, or
SPREAD deviations. Noise leaves some in any dimension: m is the first that has no more than TOLERANCE above the least
share.

At uneven times what was seen a lag before is read off the smoothing spline of the orbit, within one run. States without
a full past are left out.

References:
    | Detecting strange attractors in turbulence (Takens, 1981)
    | Independent coordinates for strange attractors from mutual information (Fraser and Swinney, 1986)
    | Determining embedding dimension for phase-space reconstruction using a geometrical construction (Kennel, Brown and
      Abarbanel, 1992)
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.smoothing import evenly, slopes, smoothed
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES, Clock
from nearorbit.study.sampling import ROUNDING

AUTO = "auto"
MOST = 10  # dimensions that are tried
STRETCH, SPREAD = 15.0, 2.0
TOLERANCE = 0.01
BINS = 32  # of each axis of a histogram, at most
QUERIES, LEAST = 2000, 128  # states whose neighbors are looked at, at most, and the states without which none are


@dataclass(frozen=True)
class Delays:
    """What is seen of states.

    Arguments:
        seen: The numbers of the components that are seen.
        dimension: How many times each is taken, m.
        lag: The sample intervals between two of these.
    """

    seen: tuple[int, ...]
    dimension: int = 1
    lag: int = 1

    @classmethod
    def of(cls, observations: xr.Dataset) -> "Delays | None":
        """Read it of observations; None where states are seen as they are."""
        if "seen" not in observations.attrs:
            return None
        seen, dimension, lag = (observations.attrs[name] for name in ("seen", "dimension", "lag"))
        return cls(tuple(np.atleast_1d(seen).tolist()), int(dimension), int(lag))

    @property
    def attributes(self) -> dict[str, Any]:
        """What a file of observations has of it."""
        return {"seen": list(self.seen), "dimension": self.dimension, "lag": self.lag}

    @property
    def span(self) -> int:
        """The sample intervals that a state looks back."""
        return (self.dimension - 1) * self.lag

    def names(self, components: Sequence[str]) -> list[str]:
        """Name the components of a state: x, x(-8), x(-16) for a lag of eight samples."""
        behind = [self.lag * number for number in range(self.dimension)]
        return [f"{components[i]}(-{late})" if late else str(components[i]) for late in behind for i in self.seen]

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Delay orbits at equal intervals, with shape (*, T, D); returns shape (*, T - span, m * seen)."""
        seen, samples = states[..., list(self.seen)], states.shape[-2] - self.span
        ends = [self.span - self.lag * number for number in range(self.dimension)]
        return np.concatenate([seen[..., end : end + samples, :] for end in ends], -1)


def partial(
    observed: xr.Dataset, *, label: str, components: Sequence[str] | None, delay: Mapping[str, Any] | None
) -> xr.Dataset:
    """Leave of observed orbits some components, with delays.

    Arguments:
        observed: Orbits ``train``, ``validation`` and ``continuation``, if there is one, as
            :func:`nearorbit.data.observations.observe` makes them; NaN nowhere.
        label: The label of the system, for messages.
        components: Those that are seen; all if None.
        delay: The ``dimension`` and the ``lag``, in samples, both a number or ``auto``; none if None.

    Returns:
        The same orbits, shorter by what states look back; what was chosen is in the attributes ``dimension`` and
        ``lag``, and in a line on standard error.

    Raises:
        StudyError: If there is no such component, or orbits are too short.
    """
    known = [str(name) for name in observed["component"].to_numpy()]
    if missing := [name for name in components or () if name not in known]:
        raise StudyError(f"data.*.components: {label} has no '{missing[0]}'; it has {', '.join(known)}")
    delays = Delays(tuple(known.index(name) for name in components or known))
    clock = Clock.of(observed)
    if delay:
        delays = _chosen(observed, clock, delays.seen, delay)
        print(f"{label}: {delays.dimension} delays, {delays.lag} samples apart (a period has "
              f"{float(observed['period'] / observed['step']):.3g})", file=sys.stderr)  # fmt: skip
    if (most := clock.longest()) <= delays.span + 1:
        raise StudyError(
            f"data.*.delay: {label}: states look {delays.span} samples back, and there are at most {most} in a row; "
            f"take a smaller dimension or lag, more samples, or longer gaps"
        )
    made = _even(observed, delays) if clock.even else _uneven(observed, delays)
    return made.assign_coords(component=delays.names(known)).assign_attrs(delays.attributes)


def _even(observed: xr.Dataset, delays: Delays) -> xr.Dataset:
    """Delay orbits at equal intervals; the continuation looks back into the orbit that it goes on from."""
    made: dict[str, Any] = {}
    for name in ("train", "validation", "continuation"):
        if name not in observed:
            continue
        prefix = {"continuation": "continuation_"}.get(name, PREFIXES.get(name, ""))
        orbit, time = f"{prefix}orbit" if name == "validation" else "orbit", f"{prefix}time"
        states = observed[name].transpose("seed", orbit, time, "component").to_numpy()
        if name == "continuation":
            before = observed["train"].transpose("seed", "orbit", "time", "component").to_numpy()
            states = np.concatenate([before[:, :, before.shape[2] - delays.span :], states], 2)
        if states.shape[2] <= delays.span + 1:
            raise StudyError(f"data.*.delay: states look {delays.span} samples back, and orbits of {name} have "
                             f"{states.shape[2]}; take a smaller dimension or lag, or more samples")  # fmt: skip
        made[name] = ("seed", orbit, time, "component"), delays(states)
    rest = observed.drop_dims("component")
    for time in {"time", "validation_time"} & rest.sizes.keys():
        rest = rest.isel({time: slice(delays.span, None)})
    return rest.assign(made)


def _uneven(observed: xr.Dataset, delays: Delays) -> xr.Dataset:
    """Delay orbits at uneven times: the past is read off their smoothing splines."""
    rest, made = observed.drop_dims(["component", "time", "validation_time"]), dict[str, Any]()
    step = float(observed["step"])
    for name, prefix in PREFIXES.items():
        orbit, time = f"{prefix}orbit", f"{prefix}time"
        clock, states = Clock.of(observed, name), observed[name].transpose("seed", orbit, time, "component").to_numpy()
        instants = observed[f"{prefix}instants"].transpose("seed", orbit, time).to_numpy()
        there = _have_past(clock, delays.span)
        kept = there.any(-1).all(0)
        if not kept.any():
            raise StudyError(f"data.*.delay: states look {delays.span} sample intervals back, and no orbit of {name} "
                             f"has so many without a gap; take a smaller dimension or lag, or longer gaps")  # fmt: skip
        counts = there.sum(-1)
        order = np.argsort(~there, -1, kind="stable")[..., : counts[:, kept].max()]
        beyond = np.maximum(np.arange(order.shape[-1]) + 1 - counts[..., None], 0)
        order = np.take_along_axis(order, np.maximum(np.arange(order.shape[-1]) - beyond, 0), -1)
        past = np.concatenate([_read(states, clock, delays, number) for number in range(delays.dimension)], -1)
        instants = np.take_along_axis(instants, order, -1) + step * beyond
        past = np.take_along_axis(past, order[..., None], 2)
        made[name] = ("seed", orbit, time, "component"), past[:, kept]
        made[f"{prefix}instants"] = ("seed", orbit, time), instants[:, kept], {"units": "system time"}
        made[f"{prefix}counts"] = ("seed", orbit), counts[:, kept]
    rest = rest.drop_dims(["orbit", "validation_orbit"], errors="ignore")
    return rest.assign(made)


def _have_past(clock: Clock, span: float) -> np.ndarray:
    """Whether the run of each sample began so many sample intervals before it, with shape (E, O, T)."""
    assert clock.times is not None
    begins = np.take_along_axis(clock.times, np.arange(clock.shape[2]) - clock.behind, -1)
    return clock.there & (clock.times - begins >= span - ROUNDING)


def _read(states: np.ndarray, clock: Clock, delays: Delays, number: int) -> np.ndarray:
    """What was seen so many lags before each sample, of orbits (E, O, T, D); as it was observed if it is now."""
    from scipy.interpolate import CubicHermiteSpline  # here, because its import takes a third of a second

    seen = states[..., list(delays.seen)]
    if number == 0:
        return seen

    def earlier(orbit: np.ndarray, times: np.ndarray) -> np.ndarray:
        values = smoothed(orbit, times, refinement=1)
        return CubicHermiteSpline(times, values, slopes(values, times))(np.maximum(times - number * delays.lag, 0))

    return clock.each(earlier, seen)


def _chosen(observed: xr.Dataset, clock: Clock, seen: tuple[int, ...], delay: Mapping[str, Any]) -> Delays:
    """Choose what a line of the study leaves to it, by the training orbits of the first seed."""
    orbits = observed["train"].transpose("seed", "orbit", "time", "component").to_numpy()[:1, ..., list(seen)]
    clock = clock[:1]
    if not clock.even:
        orbits, clock = evenly(orbits, clock)
    runs = _runs(orbits[0], clock)
    period = float(observed["period"]) / float(observed["step"])
    lag = delay.get("lag", AUTO)
    if lag == AUTO:
        lag = first_minimum(mutual_information(runs, min(round(period), max(map(len, runs)) // 4)), period)
    dimension = delay.get("dimension", AUTO)
    if dimension == AUTO:
        dimension = least_dimension(false_neighbors(runs, lag, window=round(period / 2)))
    return Delays(seen, int(dimension), int(lag))


def _runs(orbits: np.ndarray, clock: Clock) -> list[np.ndarray]:
    """Cut orbits (O, T, D) where a gap is, to runs (R, D)."""
    runs = []
    behind, there = np.broadcast_to(clock.behind, clock.shape)[0], clock.there[0]
    for orbit, before, known in zip(orbits, behind, there, strict=True):
        runs += np.split(orbit[known], np.flatnonzero(before[known] == 0)[1:])
    return runs


def mutual_information(runs: Sequence[np.ndarray], longest: int) -> np.ndarray:
    """Estimate the mutual information of x(t) and x(t + lag), the mean over components, in nats.

    Arguments:
        runs: Orbits at equal intervals, with shapes (T, D).
        longest: The longest lag, in samples.

    Returns:
        It at lags 0 to the longest, with shape (longest + 1), from histograms whose bins have equally many samples;
        NaN where there are no pairs.
    """
    together = np.concatenate(runs)
    bins = int(np.clip(round((len(together) / 5) ** (1 / 3)), 4, BINS))
    edges = np.quantile(together, np.arange(1, bins) / bins, axis=0)
    found = np.full((longest + 1, together.shape[1]), np.nan)
    for component in range(together.shape[1]):
        cells = [np.searchsorted(edges[:, component], run[:, component], side="right") for run in runs]
        for lag in range(longest + 1):
            pairs = np.concatenate([bins * cell[: len(cell) - lag] + cell[lag:] for cell in cells if len(cell) > lag])
            joint = np.bincount(pairs, minlength=bins**2).reshape(bins, bins) / len(pairs)
            alone = np.outer(joint.sum(1), joint.sum(0))
            found[lag, component] = (joint[joint > 0] * np.log(joint[joint > 0] / alone[joint > 0])).sum()
    return found.mean(1)


def first_minimum(information: np.ndarray, period: float) -> int:
    """Find the lag of the first minimum that is the least among its neighbors within a 32nd of a period, at least one
    sample; a quarter of a period if there is none."""
    around = max(1, round(period / 32))
    for lag in range(1, len(information) - around):
        if information[lag] == information[max(0, lag - around) : lag + around + 1].min():
            return lag
    return max(1, round(period / 4))


def false_neighbors(runs: Sequence[np.ndarray], lag: int, *, window: int) -> np.ndarray:
    """Tell the share of false neighbors for embeddings in 1, 2, ... dimensions.

    Arguments:
        runs: Orbits at equal intervals, with shapes (T, D).
        lag: The lag, in samples.
        window: The Theiler window, in samples, within which states of one run are no neighbors.

    Returns:
        The shares, as long as there are states with so long a past, with shape (<= 10).
    """
    from scipy.spatial import cKDTree

    deviation = np.sqrt(np.concatenate(runs).var(0).sum())
    shares = []
    for dimension in range(1, MOST + 1):
        delays = Delays(tuple(range(runs[0].shape[1])), dimension + 1, lag)
        lasting = [run for run in runs if len(run) > delays.span]
        states = np.concatenate([delays(run) for run in lasting]) if lasting else np.empty((0, 1))
        if len(states) < LEAST:
            break
        starts = np.cumsum([0, *(len(run) - delays.span + window for run in lasting)])[:-1]
        moments = np.concatenate(
            [np.arange(len(run) - delays.span) + s for run, s in zip(lasting, starts, strict=True)]
        )
        after, now = np.split(states, [runs[0].shape[1]], 1)
        queries = np.arange(0, len(states), -(-len(states) // QUERIES))
        distances, near = cKDTree(now).query(now[queries], min(len(states), 2 * window + 2))
        distances[np.abs(moments[near] - moments[queries, None]) <= window] = np.inf
        rows, nearest = np.arange(len(queries)), distances.argmin(1)
        distance = distances[rows, nearest]
        apart = np.linalg.norm(after[near[rows, nearest]] - after[queries], axis=1)
        known = np.isfinite(distance)
        if not known.any():
            break
        false = (apart > STRETCH * distance) | (np.hypot(apart, distance) > SPREAD * deviation)
        shares.append(false[known].mean())
    return np.array(shares)


def least_dimension(shares: np.ndarray) -> int:
    """Find the first dimension with hardly more false neighbors than the best one; 1 if nothing is known."""
    return 1 + int(np.argmax(shares <= shares.min() + TOLERANCE)) if len(shares) else 1
