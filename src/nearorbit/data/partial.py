"""Partial observation: orbits of which some components are seen, with delays.

At uneven times what was seen a lag before is read off the smoothing spline of the orbit, within one run. States without
a full past are left out.

What tells how many delays to take, and how far apart, stays in the observations, whether it is asked or not: the mutual
information over lags, and the share of false neighbors over dimensions, of the training orbits of the first seed.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.delays import MOST, Delays, embedding_dimension, false_neighbors, first_minimum, mutual_information
from nearorbit.data.smoothing import evenly, slopes, smoothed
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES, Clock
from nearorbit.study.sampling import ROUNDING

AUTO = "auto"


def partial(
    observed: xr.Dataset, *, label: str, components: Sequence[str] | int | None, delay: Mapping[str, Any] | None
) -> xr.Dataset:
    """Leave of observed orbits some components, with delays.

    Arguments:
        observed: Orbits ``train``, ``validation`` and ``continuation``, if there is one, as
            :func:`nearorbit.data.observations.observe` makes them; NaN nowhere.
        label: The label of the system, for messages.
        components: Those that are seen, or how many, from the first on; all if None.
        delay: The ``dimension`` and the ``lag``, in samples, both a number or ``auto``; none if None.

    Returns:
        The same orbits, shorter by what states look back; what was chosen is in the attributes ``dimension`` and
        ``lag``, and in a line on standard error. With delays it has ``mutual_information`` (lag) in nats, with ``lag``
        in samples, and ``false_neighbors`` (embedding), shares, with ``embedding`` in dimensions, NaN where orbits are
        too short to tell.

    Raises:
        StudyError: If there is no such component, or orbits are too short.
    """
    known = [str(name) for name in observed["component"].to_numpy()]
    components = known[:components] if isinstance(components, int) else components
    if missing := [name for name in components or () if name not in known]:
        raise StudyError(f"data.*.components: {label} has no '{missing[0]}'; it has {', '.join(known)}")
    delays = Delays(tuple(known.index(name) for name in components or known))
    if not delay:
        return delayed(observed, delays, label=label)
    delays, statistics = _chosen(observed, delays.seen, delay)
    print(f"{label}: {delays.dimension} delays, {delays.lag} samples apart (a period has "
          f"{float(observed['period'] / observed['step']):.3g})", file=sys.stderr)  # fmt: skip
    return delayed(observed, delays, label=label).assign(statistics)


def delayed(observed: xr.Dataset, delays: Delays, *, label: str) -> xr.Dataset:
    """Leave of observed orbits what is seen of them, with delays that are known.

    Arguments:
        observed: The orbits, as :func:`partial` takes them.
        delays: The delays.
        label: The label of the system, for messages.

    Raises:
        StudyError: If orbits are too short.
    """
    observed = observed.drop_vars(["integration_error", "substeps"], errors="ignore")  # of a field of whole states
    clock, known = Clock.of(observed), [str(name) for name in observed["component"].to_numpy()]
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


def _chosen(
    observed: xr.Dataset, seen: tuple[int, ...], delay: Mapping[str, Any]
) -> tuple[Delays, dict[str, xr.DataArray]]:
    """Choose what a line of the study leaves to it, by the training orbits of the first seed; returns it, and why."""
    orbits = observed["train"].transpose("seed", "orbit", "time", "component").to_numpy()[:1, ..., list(seen)]
    clock = Clock.of(observed)[:1]
    if not clock.even:
        orbits, clock = evenly(orbits, clock)
    runs = _runs(orbits[0], clock)
    period = float(observed["period"]) / float(observed["step"])
    information = mutual_information(runs, min(round(period), max(map(len, runs)) // 4))
    lag = first_minimum(information, period) if delay.get("lag", AUTO) == AUTO else delay["lag"]
    shares = false_neighbors(runs, lag, window=round(period / 2))
    dimension = embedding_dimension(shares) if delay.get("dimension", AUTO) == AUTO else delay["dimension"]
    lags, embeddings = np.arange(len(information)), 1 + np.arange(MOST)
    padded = np.pad(shares, (0, MOST - len(shares)), constant_values=np.nan)
    return Delays(seen, int(dimension), int(lag)), {
        "mutual_information": xr.DataArray(information, {"lag": lags}, ["lag"], attrs={"units": "nats"}),
        "false_neighbors": xr.DataArray(padded, {"embedding": embeddings}, ["embedding"]),
    }


def _runs(orbits: np.ndarray, clock: Clock) -> list[np.ndarray]:
    """Cut orbits (O, T, D) where a gap is, to runs (R, D)."""
    runs = []
    behind, there = np.broadcast_to(clock.behind, clock.shape)[0], clock.there[0]
    for orbit, before, known in zip(orbits, behind, there, strict=True):
        runs += np.split(orbit[known], np.flatnonzero(before[known] == 0)[1:])
    return runs
