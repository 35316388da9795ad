"""What was observed of the windows that rollouts are judged in, noise included."""

import numpy as np
import xarray as xr

from nearorbit.study.clock import Clock


def with_observed(truth: xr.Dataset, observations: xr.Dataset | None) -> xr.Dataset:
    """Add to a truth what was observed where its ``windows`` lie.

    Arguments:
        truth: The truth, from :func:`nearorbit.truth.simulation.truth`.
        observations: The observations of its orbits, from :func:`nearorbit.data.observations.observe`; None if there
            are none.

    Returns:
        The truth with ``observed`` (seed, window, moment, component), NaN where no orbit was observed; as it was, if
        there are no observations, none beyond the training orbits, or if they are at other times than the windows
        (where samples are missing or moved).
    """
    if observations is None or "continuation" not in observations or not Clock.of(observations).even:
        return truth
    parts = (observations[name].transpose("seed", "orbit", ..., "component") for name in ("train", "continuation"))
    states = np.concatenate([part.to_numpy() for part in parts], axis=2)
    inside = (truth["region"] == 0).sum("moment").to_numpy()  # the moments of a window until the last to train on
    sample = observations.sizes["time"] - inside[:, None] + np.arange(truth.sizes["moment"])
    orbit = np.arange(len(inside))[:, None] % states.shape[1]
    windows = states[:, orbit, np.minimum(sample, states.shape[2] - 1)]
    known = (truth["region"].to_numpy() >= 0)[..., None]
    return truth.assign(observed=(("seed", "window", "moment", "component"), np.where(known, windows, np.nan)))
