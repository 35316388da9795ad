r"""What is observed of an orbit: samples with noise, and the coordinates in which a network learns them.

A network learns in *model coordinates*: each component is standardized with the mean :math:`m` and the standard
deviation :math:`s` of the observed training data, and time is scaled by a rate :math:`r` so that the mean speed is
about one,

.. math:: y = (x - m) / s, \qquad \tau = r t, \qquad \mathrm{rms} \, |dy / d\tau| \approx 1 .

Exponents, Jacobians and horizons are reported in system units all the same
(:class:`nearorbit.dynamics.fields.Transformed`).

*Precision.* Of up to a million states of a seed everything is kept as it is computed, in double precision. Of more,
observed states are rounded to single precision, and so is what is computed along them: neighbors and supervision. That
is six digits below a noise of 10 %, and 6e-8 of a state without noise; networks are trained in it anyway. The noiseless
orbits themselves, from which truth and validation come, are always those of the integrator.
"""

import hashlib
from typing import cast

import numpy as np
import xarray as xr

from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import LEAST, MANY
from nearorbit.study.seeds import generator


def observe(orbits: xr.Dataset, exponents: xr.Dataset, *, label: str, noise: float = 0.0) -> xr.Dataset:
    """Observe the training and validation orbits with noise.

    Arguments:
        orbits: The noiseless orbits ``train`` and ``validation``, from :func:`nearorbit.truth.simulation.orbits`.
        exponents: The statistics of the attractor; ``deviation`` is what the noise is relative to.
        label: The label of the system, which names the stream of random numbers.
        noise: The standard deviation of the noise, relative to each component's deviation on the attractor.

    Returns:
        ``train`` and ``validation`` with noise, in system units and of the shapes given, ``train`` in single precision
        if it has more than a million states of a seed; ``mean`` and ``scale`` (seed, component) of the training data,
        and ``rate`` (seed), model time per unit of system time; with ``step`` and ``period`` in system time;
        ``integration_error`` (seed, substeps), if the orbits have it; and ``fingerprint`` (seed), by which what is
        computed along them knows them again.

    Raises:
        StudyError: If ``noise`` is negative, or a component does not vary.
    """
    if not noise >= 0:
        raise StudyError(f"noise must be at least 0 (relative to the deviation on the attractor), not {noise}")
    deviation = noise * exponents["deviation"].to_numpy()
    kept = [name for name in ("train", "validation", "step", "period", "integration_error") if name in orbits]
    observed = orbits[kept].copy(deep=True)
    for seed in orbits["seed"].to_numpy():
        stream = generator("noise", label, int(seed))
        for name in ("train", "validation"):
            states = observed[name].sel(seed=seed)
            states += deviation * stream.standard_normal(states.shape)
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
    observed.attrs = {**orbits.attrs, "noise": noise}
    return observed


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
