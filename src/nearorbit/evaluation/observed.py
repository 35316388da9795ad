"""What was observed of the windows that rollouts are judged in, noise included; and a truth that is seen in part."""

from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.delays import Delays
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


def as_seen(truth: xr.Dataset, delays: Delays) -> xr.Dataset:
    """See a truth as its data are seen: some components, with delays.

    Its exponents are those of a faithful embedding, too, as many as that has dimensions; its field and Jacobian are
    not known there, and NaN.

    Arguments:
        truth: The truth, from :func:`nearorbit.truth.simulation.truth`, whose orbits begin as many samples earlier as
            the delays look back.
        delays: What is seen.
    """
    names = delays.names([str(name) for name in truth["component"].to_numpy()])
    orbits = {"forecasts": "lead", "attractor": "sample", "windows": "moment"}
    seen = truth.drop_vars(["component", "direction"])
    made: dict[str, Any] = {
        name: (truth[name].dims, delays(truth[name].transpose("seed", ..., time, "component").to_numpy()))
        for name, time in orbits.items()
    }
    count = truth.sizes["point"]
    visited = made["attractor"][1].reshape(truth.sizes["seed"], -1, len(names))
    points = visited[:, np.arange(count) * visited.shape[1] // count]
    made["points"] = truth["points"].dims, points
    made["field"] = truth["field"].dims, np.full_like(points, np.nan)
    made["jacobian"] = truth["jacobian"].dims, np.full((*points.shape, len(names)), np.nan)
    for name in ("exponents", "stderr"):
        known = truth[name].transpose("seed", "exponent").to_numpy()[:, : len(names)]
        filled = np.pad(known, ((0, 0), (0, len(names) - known.shape[1])), constant_values=np.nan)
        made[name] = truth[name].dims, filled, truth[name].attrs
    kept = {time: slice(delays.span, None) for time in orbits.values()}
    rest = seen.isel(kept).drop_vars(list(made)).drop_dims(["component", "direction", "exponent"], errors="ignore")
    return rest.assign(made).assign_coords(component=names, direction=names)
