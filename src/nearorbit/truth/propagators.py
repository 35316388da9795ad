r"""Propagators: the true fundamental matrices over one sample, from the observed states.

.. math:: \dot{M} = J(x) M, \quad M(0) = I, \quad \dot{x} = f(x), \quad x(0) = x_i

from t = 0 to the time of the next sample. The states are as they were observed, noise included: each M belongs to the
true orbit of its own state, and without noise their products are the fundamental matrices along the orbit.
"""

import numpy as np
import xarray as xr

from nearorbit.study.clock import Clock
from nearorbit.study.files import MANY
from nearorbit.truth.integrators import propagator
from nearorbit.truth.systems.base import System, attributes


def propagators(system: System, observations: xr.Dataset) -> xr.Dataset:
    r"""Integrate the variational equations over one sample from every observed state.

    Arguments:
        system: The system.
        observations: The observed states `train` (seed, orbit, time, component) in system units, noise included, and
            the `step` between two samples, in system time, or when each was taken.

    Returns:
        The `propagator` (..., component, direction), :math:`M_{ij} = \partial x_i(h) / \partial x_j(0)`, in system
        units and the precision of the observations, NaN where an orbit is lost; with the `fingerprint` of the
        observations. Where no sample follows, h is a sample interval.
    """
    observed, D, clock = observations["train"], system.dimension, Clock.of(observations)
    durations = float(observations["step"]) * clock.next().reshape(-1)
    maps = advanced(system, observed.values.reshape(-1, D), durations)[1]
    return xr.Dataset(
        {
            "propagator": ((*observed.dims, "direction"), maps.reshape(*observed.shape, D)),
            "fingerprint": observations["fingerprint"],
        },
        coords={"component": observed["component"], "direction": observed["component"].values},
        attrs=attributes(system),
    )


def advanced(system: System, states: np.ndarray, durations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integrate a system, and its tangents.

    Arguments:
        system: The system.
        states: Where it begins, with shape (N, D).
        durations: The system time that passes from there, not negative, with shape (N,).

    Returns:
        The states that it comes to, with shape (N, D), and the fundamental matrices (N, D, D); in the precision of the
        states.
    """
    advance, D = propagator(system), system.dimension
    ends, maps = np.empty_like(states), np.empty((len(states), D, D), states.dtype)
    for begin in range(0, len(states), MANY):
        some = slice(begin, begin + MANY)
        starts = np.pad(states[some].astype(np.float64), ((0, 0), (0, 2 * D + 1)))  # integrals: not used
        moved, maps[some] = advance(starts, np.broadcast_to(np.eye(D), (len(starts), D, D)), durations[some])
        ends[some] = moved[:, :D]
    return ends, maps
