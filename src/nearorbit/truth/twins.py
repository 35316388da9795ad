r"""Twins: a known system in the place of a measured one, observed as that was.

With as many samples, at the same times but for one factor, by which both move as far from sample to sample, relative to
the deviations (a period is what somebody calls one); with the same gaps, and as much noise, relative to the deviations,
as is estimated of the noisiest component. What a method learns of the twin can be held against
the truth, and tells what to think of what it learns of the series: the recipe of data assimilation's identical twin
experiments, where the truth is drawn and not known.

References:
    | Ghil and Malanotte-Rizzoli, Data assimilation in meteorology and oceanography (Advances in Geophysics, 1991)
"""

from typing import Any

import numpy as np
import xarray as xr

from nearorbit.dynamics.integration import errors_over, step_errors, thinned
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES
from nearorbit.study.seeds import generator
from nearorbit.truth.draws import drawn
from nearorbit.truth.integrators import compiled, orbits_of
from nearorbit.truth.propagators import advanced
from nearorbit.truth.simulation import TRANSIENT
from nearorbit.truth.systems.base import System, attributes


def twin(
    system: System,
    exponents: xr.Dataset,
    like: xr.Dataset,
    structure: xr.Dataset,
    observations: xr.Dataset,
    *,
    label: str,
    window: float,
    beyond: int | None = None,
) -> xr.Dataset:
    """Simulate orbits of a known system, to be observed as another one was.

    Arguments:
        system: The known system.
        exponents: Its averages and states on the attractor, from :func:`nearorbit.truth.attractors.exponents`.
        like: The orbits of the other one: recordings, or simulated ones.
        structure: What there is to learn of it, from :func:`nearorbit.data.structure.structure`, of which the ``noise``
            is read.
        observations: What was observed of it, of which the ``rate`` is read.
        label: The label of the twin in the study, which names its random numbers.
        window: The length of ``continuation``, in periods.
        beyond: The number of its samples, if it is not to be as long as a window.

    Returns:
        The variables of :func:`nearorbit.truth.simulation.orbits`, fresh orbits on the attractor for each seed; and
        ``noise``, which is that of its observation.

    Raises:
        StudyError: If the attractor of the system is a point.
    """
    if exponents.attrs["motion"] == "fixed point":
        raise StudyError(
            f"systems.{label}: '{system.name}' comes to rest at a fixed point and is no twin; take another"
        )
    period = float(exponents["period"])
    step = float(like["step"]) * _rate(observations) / _own_rate(system, exponents)
    after, deviation = beyond or round(window * period / step), exponents["deviation"].to_numpy()
    made: dict[str, Any] = {}
    for name, prefix in PREFIXES.items():
        dimensions = "seed", f"{prefix}orbit", f"{prefix}time"
        times = _times(like, name)
        samples = 1 + int(np.ceil(np.nanmax(times)))
        clock = TRANSIENT * period + step * np.arange(samples + after)
        random = (generator("twin", name, label, seed) for seed in range(len(times)))
        orbits = np.stack([drawn(orbits_of(system), exponents, rng, times.shape[1], clock)[0] for rng in random])
        made[name] = (*dimensions, "component"), orbits[:, :, :samples]
        if name == "train":
            made["continuation"] = ("seed", "orbit", "continuation_time", "component"), orbits[:, :, samples:]
        if "instants" in like:
            times = np.pad(times, ((0, 0), (0, 0), (0, samples - times.shape[2])), constant_values=np.nan)
            made[f"{prefix}instants"] = dimensions, step * times, {"units": "system time"}
            made[f"{prefix}sampled"] = (*dimensions, "component"), _sampled(system, orbits, times, step)
    train, evaluate = made["train"][1], compiled(system)
    if "instants" in like:
        made["gap"] = (), (gap := step * float(like["gap"] / like["step"])), {"units": "system time"}
        states = thinned(train)
        ends = advanced(system, states, np.full(len(states), gap))[0]
        errors = errors_over(lambda x: evaluate(x)[0], states, ends, deviation, gap)
    else:
        errors = step_errors(lambda x: evaluate(x)[0], train, deviation, step)
    made["integration_error"] = ("seed", "substeps"), np.tile(errors, (len(train), 1)), {"units": "deviations"}
    noise = float(structure["noise"].max())  # a spline may follow the noise of a component, and leaves none
    return xr.Dataset(
        made
        | {name: ((), value, {"units": "system time"}) for name, value in (("step", step), ("period", period))}
        | {"noise": ((), noise, {"units": "deviations"})},
        coords={"seed": like["seed"], "component": list(system.components)},
        attrs=attributes(system),
    )


def _rate(observations: xr.Dataset) -> float:
    """The root mean square speed of a standardized component, per unit of system time."""
    return float(observations["rate"].mean()) / observations.sizes["component"] ** 0.5


def _own_rate(system: System, exponents: xr.Dataset) -> float:
    """The same of a system on its attractor."""
    speed = compiled(system)(exponents["states"].to_numpy())[0] / exponents["deviation"].to_numpy()
    return float(np.sqrt(np.square(speed).mean()))


def _times(like: xr.Dataset, name: str) -> np.ndarray:
    """The times of the samples of orbits since the first, in sample intervals, (E, O, T); NaN beyond the last."""
    dimensions = "seed", f"{PREFIXES[name]}orbit", f"{PREFIXES[name]}time"
    seeds, orbits, samples = (like.sizes[dimension] for dimension in dimensions)
    if "instants" not in like:
        return np.broadcast_to(np.arange(samples, dtype=float), (seeds, orbits, samples))
    times = np.sort(like[f"{PREFIXES[name]}instants"].transpose(*dimensions).to_numpy(), -1)  # NaN last
    longest = 1 + float(like["gap"] / like["step"])  # what is not bridged may as well be short
    passed = np.cumsum(np.minimum(np.diff(times) / float(like["step"]), longest), -1)
    return np.append(np.zeros((seeds, orbits, 1)), passed, -1)


def _sampled(system: System, orbits: np.ndarray, times: np.ndarray, step: float) -> np.ndarray:
    """The states of orbits (E, O, N, D) at times (E, O, T), in sample intervals; where NaN, those of the beginning."""
    known = np.nan_to_num(times)
    before = np.floor(known).astype(int)
    starts = np.take_along_axis(orbits, before[..., None], 2)
    ends = advanced(system, starts.reshape(-1, system.dimension), step * (known - before).ravel())[0]
    return ends.reshape(starts.shape)
