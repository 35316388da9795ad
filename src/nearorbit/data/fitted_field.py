"""A field fitted to data, which tells how many Runge-Kutta steps a training on them needs where there is no truth."""

import numpy as np
import xarray as xr

from nearorbit.data.smoothing import smoothed
from nearorbit.dynamics.integration import doubled_errors, thinned

CLOSE = 8  # parts of a sample interval, over which the spline's derivative is a difference


def fitted_errors(observations: xr.Dataset) -> np.ndarray:
    """Estimate the errors of steps from sample to sample, at quadratic polynomials fitted to the data of each seed.

    They are fitted to the derivatives of smoothing splines.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.data.observations.observe`.

    Returns:
        The largest errors of all seeds, with shape (64,), as :func:`nearorbit.dynamics.integration.step_errors` gives.
    """
    return np.max([_fitted(seed) for _, seed in observations.groupby("seed", squeeze=False)], 0)


def _fitted(seed: xr.Dataset) -> np.ndarray:
    step = seed["step"].to_numpy().item()
    standardized = (seed["train"] - seed["mean"]) / seed["scale"]
    orbits = standardized.transpose("seed", "orbit", "time", "component").to_numpy()
    splines = smoothed(orbits, refinement=CLOSE)
    states = splines[..., CLOSE:-1:CLOSE, :]
    slopes = (splines[..., CLOSE + 1 :: CLOSE, :] - splines[..., CLOSE - 1 : -CLOSE : CLOSE, :]) * CLOSE / (2 * step)
    coefficients = np.linalg.lstsq(_quadratics(thinned(states)), thinned(slopes), rcond=None)[0]
    return doubled_errors(lambda x: _quadratics(x) @ coefficients, states, np.ones(1), step)


def _quadratics(x: np.ndarray) -> np.ndarray:
    """The constant, linear and quadratic terms of states (N, D); returns shape (N, P)."""
    i, j = np.triu_indices(x.shape[-1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, i] * x[:, j]], 1)
