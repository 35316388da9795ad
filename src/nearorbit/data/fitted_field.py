"""A field fitted to data, which tells how many Runge-Kutta steps a training on them needs where there is no truth."""

from functools import partial

import numpy as np
import xarray as xr

from nearorbit.data.smoothing import slopes, smoothed
from nearorbit.dynamics.integration import doubled_errors, thinned
from nearorbit.study.clock import Clock


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
    step, clock = seed["step"].to_numpy().item(), Clock.of(seed)
    standardized = (seed["train"] - seed["mean"]) / seed["scale"]
    orbits = standardized.transpose("seed", "orbit", "time", "component").to_numpy()
    splines = clock.each(partial(smoothed, refinement=1), orbits)
    # A natural spline has a poor derivative where it ends.
    within = np.broadcast_to((clock.behind > 0) & (clock.ahead > 0), clock.shape)
    states, rates = (values[within] for values in (splines, clock.each(slopes, splines) / step))
    coefficients = np.linalg.lstsq(_quadratics(thinned(states)), thinned(rates), rcond=None)[0]
    longest = clock.next().max() * step
    return doubled_errors(lambda x: _quadratics(x) @ coefficients, states, np.ones(1), longest)


def _quadratics(x: np.ndarray) -> np.ndarray:
    """The constant, linear and quadratic terms of states (N, D); returns shape (N, P)."""
    i, j = np.triu_indices(x.shape[-1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, i] * x[:, j]], 1)
