r"""What is observed of an orbit: samples with noise, and the coordinates in which a network learns them.

A network learns in *model coordinates*: each component is standardized with the mean :math:`m` and the standard
deviation :math:`s` of the observed training data, and time is scaled by a rate :math:`r` so that the mean speed is
about one,

.. math:: y = (x - m) / s, \qquad \tau = r t, \qquad \mathrm{rms} \, |dy / d\tau| \approx 1 .

Exponents, Jacobians and horizons are reported in system units all the same
(:class:`nearorbit.dynamics.fields.Transformed`). A study may ask for networks that see the system's own units and time
instead (:func:`in_system_units`).

*Precision.* Of up to a million states of a seed everything is kept as it is computed, in double precision. Of more,
observed states are rounded to single precision, and so is what is computed along them: neighbors and supervision. That
is six digits below a noise of 10 %, and 6e-8 of a state without noise; networks are trained in it anyway. The noiseless
orbits themselves, from which truth and validation come, are always those of the integrator.
"""

import hashlib
from typing import cast

import numpy as np
import xarray as xr

from nearorbit.data.smoothing import smoothed
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import LEAST, MANY
from nearorbit.study.seeds import generator

ORBITS = ("train", "validation", "continuation")  # in the order in which noise is drawn for them
NOISE_IN, SMOOTH = ("deviations", "means", "units"), (None, "spline")
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
) -> xr.Dataset:
    """Observe the training and validation orbits with noise, and smooth them if asked.

    Arguments:
        orbits: The noiseless orbits ``train`` and ``validation``, and ``continuation`` if there are any, from
            :func:`nearorbit.truth.simulation.orbits`.
        exponents: The statistics of the attractor.
        label: The label of the system, which names the stream of random numbers.
        noise: The standard deviation of the noise of each component, relative to what ``noise_in`` says.
        noise_in: ``deviations``, of the component on the attractor; ``means``, the modulus of its mean along the
            training orbits of the seed; ``units``, those of the system.
        noiseless_start: Whether the first sample of each orbit has no noise.
        smooth: ``spline`` replaces the observed orbits, to train on and for validation, by their cubic smoothing
            splines (:mod:`nearorbit.data.smoothing`). The noise is the same as without.
        shared: Whether all seeds have the noise of seed 0.

    Returns:
        ``train``, ``validation`` and ``continuation`` with noise, in system units and of the shapes given, ``train`` in
        single precision if it has more than a million states of a seed; ``mean`` and ``scale`` (seed, component) of the
        training data, and ``rate`` (seed), model time per unit of system time; with ``step`` and ``period`` in system
        time; ``integration_error`` (seed, substeps), if the orbits have it; and ``fingerprint`` (seed), by which what
        is computed along them knows them again. The continuation is what is measured against, and never smoothed.

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
    kept = [name for name in (*ORBITS, "step", "period", "integration_error") if name in orbits]
    observed = orbits[kept].copy(deep=True)
    for seed in orbits["seed"].to_numpy():
        stream = generator("noise", label, 0 if shared else int(seed))
        deviation = noise * _unit(noise_in, orbits["train"].sel(seed=seed), exponents)
        for name in (name for name in ORBITS if name in observed):
            states = observed[name].sel(seed=seed)
            drawn = deviation * stream.standard_normal(states.shape)
            if noiseless_start and name != "continuation":
                drawn[:, 0] = 0
            states += drawn
            if smooth and name != "continuation":
                states[:] = _splines(states.to_numpy())
    mean = observed["train"].mean(["orbit", "time"])
    scale = observed["train"].std(["orbit", "time"])
    largest = abs(observed["train"]).max(["orbit", "time"])
    if (still := np.argwhere((scale <= LEAST * largest).transpose("seed", "component").to_numpy())).size:
        seed, component = observed["seed"].to_numpy()[still[0, 0]], observed["component"].to_numpy()[still[0, 1]]
        raise StudyError(
            f"{label}: component '{component}' of the training data of seed {seed} does not vary and cannot be "
            f"standardized; choose parameters or a system in which it does"
        )
    observed = observed.assign(mean=mean, scale=scale, rate=speed((observed["train"] - mean) / scale, observed["step"]))
    if observed.sizes["orbit"] * observed.sizes["time"] > MANY:
        observed["train"] = observed["train"].astype(np.float32)
    prints = [fingerprint(states) for states in observed["train"].transpose("seed", ...).to_numpy()]
    observed["fingerprint"] = "seed", np.array(prints)
    observed.attrs = {**orbits.attrs, "noise": noise, "noise_in": noise_in, "smooth": smooth or "none"}
    return observed


def _unit(noise_in: str, train: xr.DataArray, exponents: xr.Dataset) -> np.ndarray:
    """What the noise of each component of a seed is relative to, with shape (D,)."""
    if noise_in == "means":
        return abs(train.mean(["orbit", "time"])).to_numpy()
    return exponents["deviation"].to_numpy() if noise_in == "deviations" else np.ones(train.sizes["component"])


def _splines(states: np.ndarray) -> np.ndarray:
    """The smoothing splines of orbits (O, T, D) at their samples, of some orbits at a time for want of memory."""
    try:
        parts = [smoothed(states[i : i + TOGETHER], refinement=1) for i in range(0, len(states), TOGETHER)]
    except ValueError as error:
        raise StudyError(f"data.*.smooth: {error}; raise data.*.samples, or leave out smooth") from None
    return np.concatenate(parts)


def in_system_units(observations: xr.Dataset) -> xr.Dataset:
    """Make observations whose model coordinates are those of the system: mean 0, scale 1 and rate 1."""
    return observations.assign(
        mean=xr.zeros_like(observations["mean"]),
        scale=xr.ones_like(observations["scale"]),
        rate=xr.ones_like(observations["rate"]),
    )


def fingerprint(states: np.ndarray) -> int:
    """Hash states of any shape to 63 bits."""
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(states).data, digest_size=8).digest()) >> 1


def speed(states: xr.DataArray, step: xr.DataArray) -> xr.DataArray:
    r"""Estimate the root mean square speed of sampled orbits, whatever white noise lies on them.

    The mean squared increment over a lag of n samples is :math:`S_n \approx (n v h)^2 + 2 \sigma^2`, so that the noise
    cancels in :math:`S_2 - S_1 = 3 (v h)^2`.

    Arguments:
        states: The orbits, with dimensions ``orbit``, ``time``, ``component`` and any others.
        step: The time h between two samples.

    Returns:
        The speed, per unit of the time of ``step``; dimensions ``orbit``, ``time`` and ``component`` are reduced.
    """
    first, second = (
        (states.shift(time=-lag) - states).pipe(lambda d: d * d).sum("component", skipna=False).mean(["orbit", "time"])
        for lag in (1, 2)
    )
    # NumPy's functions give back the kind of array that they get, and their types do not say so.
    squares = cast(xr.DataArray, np.maximum(second - first, first * 1e-3))
    return cast(xr.DataArray, np.sqrt(squares / 3)) / step
