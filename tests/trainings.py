"""Trainings of a few steps on Lorenz' system, by any method and network, on any device."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from lorenz63 import observations, supervision

from nearorbit.data.neighbors import neighbors
from nearorbit.study import catalogue
from nearorbit.training.checkpoint import Checkpoint
from nearorbit.training.loop import train
from nearorbit.training.methods.base import Method
from nearorbit.training.methods.homotopy import Homotopy
from nearorbit.training.methods.invariant_measure import InvariantMeasure
from nearorbit.training.methods.jacobian import Jacobian
from nearorbit.training.methods.multiple_shooting import MultipleShooting
from nearorbit.training.methods.neighborhood import Neighborhood
from nearorbit.training.methods.neighborhood_mmd import NeighborhoodMMD
from nearorbit.training.methods.propagator import Propagator

METHODS = catalogue.names("methods")
SETTINGS = {  # of methods that have more sides than their defaults show
    "neighborhood of second order": Neighborhood(order=2),
    "neighborhood, norm": Neighborhood(residual="norm", weight=0.01),
    "neighborhood, Huber": Neighborhood(residual="huber"),
    "neighborhood, by distance": Neighborhood(weighting="distance"),
    "neighborhood, by noise": Neighborhood(weighting="noise"),
    # what splines, fits and distance leave at the truth is theirs: their weights are such that it is small
    "neighborhood, smoothed": Neighborhood(displacements="smoothed", weight=1.0),
    "neighborhood about the orbit": Neighborhood(about="orbit", weight=1.0),
    "neighborhood, instrument": Neighborhood(instrument=2),
    "few neighbors": Neighborhood(count=2),
    "synchronization": Homotopy(constant=True),
    "Jacobian's norm": Jacobian(squared=False),
    "Jacobian, joined": Jacobian(join="config"),
    "clouds by expansion": NeighborhoodMMD(clouds="displacements", order=1, relative=False, follow=3, first=True),
    "clouds time by time": InvariantMeasure(apart=True, starts=0.01),
    "fixed segments": MultipleShooting(partition=True),
    "coupling in system time": Homotopy(coupling=6.0, per="system", toward="fixed_spline"),
    "Jacobian, directions": Jacobian(directions=2),
    "propagator of a sample": Propagator(over="sample"),
}
SIDES: Mapping[str, Method] = {name: catalogue.build("methods", name, {}) for name in METHODS} | SETTINGS
SIDES["local_jacobian"] = catalogue.build("methods", "local_jacobian", {"weight": 0.001})


EVEN = ("hamiltonian", "lagrangian")  # networks whose components come in pairs


def cell_of(noise=0.01, *, seeds=3, count=25, **settings):
    """What a training may be given of a cell: observations, neighbors, supervision."""
    observed = observations(noise, seeds=seeds, **settings)
    return observed, neighbors(observed, count=count, theiler=0.5, ahead=5, behind=3), supervision(observed)


def files_of(table, truth):
    files = {"neighbors": table, "supervision": truth, "propagators": truth}
    return {kind: file for kind, file in files.items() if file is not None}


def fit(observed, table, truth, method="baseline", *, network=None, checkpoint=None, equations=None, **training: Any):
    """Train, by a method or the name of one; returns the ensemble, its coordinates, its history and its costs."""
    network = {"width": 16, "depth": 2} if network is None else network
    training = {"steps": 30, "batch": 16, "validate_every": 10, "device": "cpu", **training}
    field, coordinates, histories, costs = train(
        observed,
        catalogue.build("methods", method, {}) if isinstance(method, str) else method,
        files=files_of(table, truth),
        network=network,
        training=training,
        equations=equations,
        checkpoint=checkpoint,
    )
    return field, coordinates, pd.concat(histories, ignore_index=True), costs


class KilledError(Exception):
    pass


def killed_after(monkeypatch, checkpoints):
    """Let a training write a checkpoint at every validation, and end when some have been written."""
    write, left = Checkpoint.write, iter(range(checkpoints))

    def counted(self, tensors):
        write(self, tensors)
        if next(left, None) is None:
            raise KilledError

    monkeypatch.setattr("nearorbit.training.loop.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(Checkpoint, "write", counted)


def resumed(fit, monkeypatch, checkpoint, *, checkpoints):
    """Let a training be killed after so many checkpoints, and go on from the last; returns what ``fit`` then does."""
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints)
        fit(checkpoint=checkpoint)
    return fit(checkpoint=checkpoint)


def member_of(data, seed):
    """What a training of one seed alone is given of a cell."""
    return tuple(None if file is None else file.isel(seed=[seed]) for file in data)
