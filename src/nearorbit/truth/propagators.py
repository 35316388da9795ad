r"""Propagators: the true fundamental matrices over one sample, from the observed states.

.. math:: \dot{M} = J(x) M, \quad M(0) = I, \quad \dot{x} = f(x), \quad x(0) = x_i

from t = 0 to the sample interval. The states are as they were observed, noise included: each M belongs to the true
orbit of its own state, and without noise their products are the fundamental matrices along the orbit.
"""

import numpy as np
import xarray as xr

from nearorbit.study.files import MANY
from nearorbit.truth.integrators import propagator
from nearorbit.truth.systems.base import System, attributes


def propagators(system: System, observations: xr.Dataset) -> xr.Dataset:
    r"""Integrate the variational equations over one sample from every observed state.

    Arguments:
        system: The system.
        observations: The observed states `train` (seed, orbit, time, component) in system units, noise included, and
            the `step` between two samples, in system time.

    Returns:
        The `propagator` (..., component, direction), :math:`M_{ij} = \partial x_i(h) / \partial x_j(0)`, in system
        units and the precision of the observations, NaN where an orbit is lost; with the `fingerprint` of the
        observations.
    """
    observed, advance, D = observations["train"], propagator(system), system.dimension
    flat = observed.values.reshape(-1, D)
    maps = np.empty((len(flat), D, D), flat.dtype)
    for begin in range(0, len(flat), MANY):
        starts = np.pad(flat[begin : begin + MANY].astype(np.float64), ((0, 0), (0, 2 * D + 1)))  # integrals: not used
        tangents = np.broadcast_to(np.eye(D), (len(starts), D, D))
        maps[begin : begin + MANY] = advance(starts, tangents, float(observations["step"]))[1]
    return xr.Dataset(
        {
            "propagator": ((*observed.dims, "direction"), maps.reshape(*observed.shape, D)),
            "fingerprint": observations["fingerprint"],
        },
        coords={"component": observed["component"], "direction": observed["component"].values},
        attrs=attributes(system),
    )
