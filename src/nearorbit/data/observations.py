r"""What is observed of an orbit: samples with noise, and the coordinates in which a network learns them.

A network learns in *model coordinates*: each component is standardized with the mean :math:`m` and the standard
deviation :math:`s` of the observed training data, and time is scaled by a rate :math:`r` so that the mean speed is
about one,

.. math:: y = (x - m) / s, \qquad \tau = r t, \qquad \mathrm{rms} \, |dy / d\tau| \approx 1 .

Exponents, Jacobians and horizons are reported in system units all the same
(:class:`nearorbit.dynamics.fields.Transformed`). A study may ask for networks that see the system's own units and time
instead (:func:`in_system_units`).

*Samples that are missing or moved.* What was observed is then the samples that there are, one after the other, and the
times at which they were taken (:mod:`nearorbit.study.clock`). Noise is drawn for all, as if none were missing.

*Precision.* Of up to a million states of a seed everything is kept as it is computed, in double precision. Of more,
observed states are rounded to single precision, and so is what is computed along them: neighbors and supervision. That
is six digits below a noise of 10 %, and 6e-8 of a state without noise; networks are trained in it anyway. The noiseless
orbits themselves, from which truth and validation come, are always those of the integrator.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import xarray as xr

from nearorbit.data.delays import Delays
from nearorbit.data.fingerprints import marked
from nearorbit.data.partial import delayed, partial
from nearorbit.data.smoothing import smoothed
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES, Clock
from nearorbit.study.files import LEAST, MANY
from nearorbit.study.seeds import generator

ORBITS = ("train", "validation", "continuation")  # in the order in which noise is drawn for them
NOISE_IN, SMOOTH = ("deviations", "means", "units"), (None, "spline")
IRREGULAR = ("instants", "validation_instants", "gap")  # what there is of samples that are missing or moved
LINE = ("orbit", "time")
TOGETHER = 256  # orbits that are smoothed at once


def observe(
    orbits: xr.Dataset,
    exponents: xr.Dataset,
    *,
    label: str,
    noise: float = 0.0,
    noise_in: str = "deviations",
    noiseless_start: bool = False,
    smooth: str | None = None,
    shared: bool = False,
    components: Sequence[str] | int | None = None,
    delay: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Observe the training and validation orbits with noise, and smooth them if asked.

    Arguments:
        orbits: The noiseless orbits ``train`` and ``validation``, and ``continuation`` if there are any, from
            :func:`nearorbit.truth.simulation.orbits`.
        exponents: The statistics of the attractor.
        label: The label of the system, which names the stream of random numbers.
        noise: The standard deviation of the noise of each component, relative to what ``noise_in`` says. A twin
            (:mod:`nearorbit.truth.twins`) brings its own with its orbits, relative to the deviations.
        noise_in: ``deviations``, of the component on the attractor; ``means``, the modulus of its mean along the
            training orbits of the seed; ``units``, those of the system.
        noiseless_start: Whether the first sample of each orbit has no noise.
        smooth: ``spline`` replaces the observed orbits, to train on and for validation, by their cubic smoothing
            splines (:mod:`nearorbit.data.smoothing`). The noise is the same as without.
        shared: Whether all seeds have the noise of seed 0.
        components: Those that are seen, or how many, from the first on; all if None.
        delay: The delays with which they are (:mod:`nearorbit.data.partial`), after noise and smoothing; none if None.

    Returns:
        ``train``, ``validation`` and ``continuation`` with noise, in system units and of the shapes given, ``train`` in
        single precision if it has more than a million states of a seed; ``mean`` and ``scale`` (seed, component) of the
        training data, and ``rate`` (seed), model time per unit of system time; with ``step`` and ``period`` in system
        time; ``integration_error`` (seed, substeps), if the orbits have it; and ``fingerprint`` (seed), by which what
        is computed along them knows them again. The continuation is what is measured against, and never smoothed.
        Where samples are missing or moved, orbits are filled up by copies of their last one; ``instants`` (seed, orbit,
        time) and ``validation_instants`` are when samples were taken, in system time, ``counts`` (seed, orbit) and
        ``validation_counts`` how many there are, and ``gap`` is the longest interval that is bridged. With delays it
        has what they were chosen by (:mod:`nearorbit.data.partial`).

    Raises:
        StudyError: If ``noise`` is negative, there is no such ``noise_in`` or ``smooth``, an orbit is too short to be
            smoothed, or a component does not vary.
    """
    if not noise >= 0:
        raise StudyError(f"noise must be at least 0 (relative to {noise_in}), not {noise}")
    if noise_in not in NOISE_IN or smooth not in SMOOTH:
        raise StudyError(
            f"noise_in is one of {', '.join(NOISE_IN)}, not {noise_in!r}; smooth null or spline, not {smooth!r}"
        )
    if "noise" in orbits:
        noise, noise_in, noiseless_start = float(orbits["noise"]), "deviations", False
    observed = _sampled(orbits)
    for seed in orbits["seed"].to_numpy():
        stream = generator("noise", label, 0 if shared else int(seed))
        deviation = noise * _unit(noise_in, orbits["train"].sel(seed=seed), exponents)
        for name in (name for name in ORBITS if name in observed):
            states = observed[name].sel(seed=seed)
            drawn = deviation * stream.standard_normal(states.shape)
            if noiseless_start and name != "continuation":
                drawn[:, 0] = 0
            states += drawn
    if "instants" in observed:
        observed = _without_missing(observed)
    if smooth:
        for name in PREFIXES:
            observed[name][:] = _splines(
                observed[name].transpose("seed", ..., "component").to_numpy(), Clock.of(observed, name)
            )
    if components or delay:
        observed = partial(observed, label=label, components=components, delay=delay)
    train, instants = observed["train"], xr.DataArray(np.arange(observed.sizes["time"]), dims="time")
    if not (clock := Clock.of(observed)).even:
        there = xr.DataArray(clock.there, dims=("seed", "orbit", "time"))
        instants, train = xr.DataArray(clock.times, dims=there.dims).where(there), train.where(there)
    mean = train.mean(["orbit", "time"])
    scale = train.std(["orbit", "time"])
    largest = abs(train).max(["orbit", "time"])
    if (still := np.argwhere((scale <= LEAST * largest).transpose("seed", "component").to_numpy())).size:
        seed, component = observed["seed"].to_numpy()[still[0, 0]], observed["component"].to_numpy()[still[0, 1]]
        raise StudyError(
            f"{label}: component '{component}' of the training data of seed {seed} does not vary and cannot be "
            f"standardized; choose parameters or a system in which it does"
        )
    rate = speed((train - mean) / scale, instants, observed["step"])
    observed = observed.assign(mean=mean, scale=scale, rate=rate)
    if observed.sizes["orbit"] * observed.sizes["time"] > MANY:
        observed["train"] = observed["train"].astype(np.float32)
    observed = marked(observed)
    observed.attrs = {
        **orbits.attrs,
        **observed.attrs,
        "noise": noise,
        "noise_in": noise_in,
        "smooth": smooth or "none",
    }
    return observed


def noiseless(orbits: xr.Dataset, observations: xr.Dataset) -> xr.Dataset:
    """Give of noiseless orbits what was observed of them, sample by sample, without noise.

    Arguments:
        orbits: The orbits.
        observations: What was observed of them, with noise.
    """
    seen, delays = _sampled(orbits), Delays.of(observations)
    if "instants" in seen:
        seen = _without_missing(seen)
    return seen if delays is None else delayed(seen, delays, label=str(orbits.attrs.get("system", "")))


def _sampled(orbits: xr.Dataset) -> xr.Dataset:
    """A copy of orbits, with their states at the times at which they are observed."""
    kept = [name for name in (*ORBITS, "step", "period", "integration_error", *IRREGULAR) if name in orbits]
    observed = orbits[kept].copy(deep=True)
    for name, prefix in PREFIXES.items():
        if (sampled := f"{prefix}sampled") in orbits:
            observed[name] = orbits[sampled].copy(deep=True)
    return observed


def _unit(noise_in: str, train: xr.DataArray, exponents: xr.Dataset) -> np.ndarray:
    """What the noise of each component of a seed is relative to, with shape (D,)."""
    if noise_in == "means":
        return abs(train.mean(["orbit", "time"])).to_numpy()
    return exponents["deviation"].to_numpy() if noise_in == "deviations" else np.ones(train.sizes["component"])


def _without_missing(observed: xr.Dataset) -> xr.Dataset:
    """Leave out what is missing, and fill orbits up by copies of their last sample, which go on at equal intervals."""
    for name, prefix in PREFIXES.items():
        dimensions = "seed", f"{prefix}orbit", f"{prefix}time"
        times = observed[f"{prefix}instants"].transpose(*dimensions).to_numpy()
        order, counts = np.argsort(np.isnan(times), -1, kind="stable"), np.isfinite(times).sum(-1)
        beyond = np.maximum(np.arange(times.shape[-1]) + 1 - counts[..., None], 0)
        chosen = np.take_along_axis(order, np.arange(times.shape[-1]) - beyond, -1)
        times = np.take_along_axis(times, chosen, -1) + float(observed["step"]) * beyond
        states = observed[name].transpose(*dimensions, "component")
        states[:] = np.take_along_axis(states.to_numpy(), chosen[..., None], 2)
        observed = observed.assign(
            {
                name: states,
                f"{prefix}instants": (dimensions, times, {"units": "system time"}),
                f"{prefix}counts": (dimensions[:2], counts),
            }
        )
    return observed


def _splines(states: np.ndarray, clock: Clock) -> np.ndarray:
    """The smoothing splines of orbits (E, O, T, D) at their samples, of some orbits at a time for want of memory."""

    def spline(orbits: np.ndarray, times: np.ndarray) -> np.ndarray:
        flat = orbits.reshape(-1, *orbits.shape[-2:])
        parts = [smoothed(flat[i : i + TOGETHER], times, refinement=1) for i in range(0, len(flat), TOGETHER)]
        return np.concatenate(parts).reshape(orbits.shape)

    return clock.each(spline, states)


def in_system_units(observations: xr.Dataset) -> xr.Dataset:
    """Make observations whose model coordinates are those of the system: mean 0, scale 1 and rate 1.

    The mean and the deviation of the training data in these are then ``center`` and ``deviation``.
    """
    return observations.assign(
        center=observations["mean"],
        deviation=observations["scale"],
        mean=xr.zeros_like(observations["mean"]),
        scale=xr.ones_like(observations["scale"]),
        rate=xr.ones_like(observations["rate"]),
    )


def speed(states: xr.DataArray, instants: xr.DataArray, step: xr.DataArray) -> xr.DataArray:
    r"""Estimate the root mean square speed of sampled orbits, whatever white noise lies on them.

    The mean squared increment over a lag of n samples is :math:`S_n \approx (n v h)^2 + 2 \sigma^2`, so that the noise
    cancels in :math:`S_2 - S_1 = 3 (v h)^2`. At uneven times it is :math:`v^2` times the difference of the mean squares
    of the times between the two samples; those further apart than two intervals are left out, or, if they are the
    rule, than the median pair of lag two.

    Arguments:
        states: The orbits, with dimensions ``orbit``, ``time``, ``component`` and any others; NaN where there is none.
        instants: The times of the samples, in intervals h, likewise.
        step: The time h of a sample interval.

    Returns:
        The speed, per unit of the time of ``step``; dimensions ``orbit``, ``time`` and ``component`` are reduced.
    """
    passed = [instants.shift(time=-lag) - instants for lag in (1, 2)]
    longest, means = np.maximum(2, passed[1].median([d for d in LINE if d in instants.dims])), []
    for lag, times in enumerate(passed, 1):
        near, increments = times <= longest, states.shift(time=-lag) - states
        squares = (increments * increments).sum("component", skipna=False), times * times
        means.append([s.where(near).mean([d for d in LINE if d in s.dims]) for s in squares])
    (first, once), (second, twice) = means
    # NumPy's functions give back the kind of array that they get, and their types do not say so.
    more = cast(xr.DataArray, np.maximum(second - first, first * 1e-3))
    return cast(xr.DataArray, np.sqrt(more / (twice - once))) / step
