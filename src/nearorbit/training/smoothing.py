"""Observed orbits, smoothed through networks that are trained: the most likely states given all noisy samples."""

from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from nearorbit.data.fingerprints import marked
from nearorbit.data.observations import noiseless
from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Transformed
from nearorbit.study.catalogue import StudyError, build
from nearorbit.study.clock import Clock
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.loop import substeps
from nearorbit.training.mending import KINDS, Mending


def smoothed(
    learned: Transformed[Ensemble],
    observations: xr.Dataset,
    settings: Training,
    *,
    rounds: int,
    orbits: xr.Dataset | None = None,
) -> xr.Dataset:
    """Smooth observed orbits, as :mod:`nearorbit.training.mending` does it while a network learns.

    Arguments:
        learned: The networks, one for each seed, from :func:`nearorbit.dynamics.models.load`.
        observations: What is observed, for the same seeds: what was trained on, or other orbits of the system.
        settings: The settings of the training, of which the steps between samples count.
        rounds: How many times; the levels of noise and model error settle in two or three.
        orbits: The orbits that are observed, where these are known.

    Returns:
        The observations with smoothed states `train` and `validation`, in system units, and what
        :attr:`nearorbit.training.mending.Mending.found` tells of each `seed`; given the orbits also `noise` and
        `noise_left`, the root mean square distances of observed and of smoothed `train` from them. All levels are in
        deviations of what is observed. What was computed along the observations does not belong to it.

    Raises:
        StudyError: If there are not as many networks as seeds, or their components are others.
    """
    change = learned.coordinates.inverse
    if change.mean.shape != observations["mean"].shape:
        raise StudyError(
            "smooth: the model has {} networks of {} components, the observations {} seeds of {}: give those of one "
            "study".format(*change.mean.shape, *observations["mean"].shape)
        )
    units = {"mean": change.mean, "scale": change.scale, "rate": change.rate.squeeze(-1)}
    observed = observations.assign({name: (observations[name].dims, v.numpy()) for name, v in units.items()})
    moments = {"center": observations["mean"] - observed["mean"], "deviation": observations["scale"]}
    observed = observed.assign({name: moment / observed["scale"] for name, moment in moments.items()})
    settings = replace(settings, substeps=substeps(observed, settings), segment=1)
    data = Data(observed, build("methods", "baseline", {}), settings, device=torch.device("cpu"), dtype=torch.float64)
    mending = Mending(learned.field, data, observed["seed"].values.tolist(), steps=rounds + 1, rounds=rounds)
    for step in range(rounds + 1):
        mending.before(step)
    states = {name: change.undo(mending.smoothed(name)).numpy() for name in KINDS}
    made = observed.drop_vars(["center", "deviation"])
    made = marked(made.assign({name: (("seed", *made[name].dims[1:]), values) for name, values in states.items()}))
    made = made.assign({name: ("seed", values.double().numpy()) for name, values in mending.found.items()})
    if orbits is not None:
        true = noiseless(orbits, observations)["train"]
        there = xr.DataArray(Clock.of(observations).there, dims=("seed", "orbit", "time"))
        for name, of in (("noise", observed), ("noise_left", made)):
            away = ((of["train"] - true) / observations["scale"]).where(there)
            made[name] = np.sqrt((away**2).mean([dim for dim in away.dims if dim != "seed"]))
    return made
