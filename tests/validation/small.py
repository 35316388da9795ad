"""Small cells of a study, run from the system to the scores in one process; each part of them once, and kept."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from nearorbit.data.neighbors import neighbors
from nearorbit.data.observations import observe
from nearorbit.dynamics.fields import CompiledField, Transformed, in_place_of_a_model
from nearorbit.evaluation.forecast import forecast
from nearorbit.evaluation.resolved import unresolved
from nearorbit.study.catalogue import build, entries
from nearorbit.training.loop import train
from nearorbit.training.methods.base import inputs
from nearorbit.truth import attractors, simulation
from nearorbit.truth.covariant_vectors import covariant_vectors
from nearorbit.truth.integrators import compiled

SEEDS = 2
SYSTEMS: dict[str, dict[str, Any]] = {"Lorenz": {}, "cycle": {"system": "Rossler", "c": 2.5}}
ON = {"orbits": 10, "samples": 500, "spacing": 0.0222, "transient": 20}
DATA: dict[str, dict[str, Any]] = {
    "clean": {**ON, "noise": 0.0},
    "noisy": {**ON, "noise": 0.05},
    "dense": {**ON, "noise": 0.0, "orbits": 100},
    "off": {**ON, "noise": 0.0, "transient": 0, "orbits": 250, "samples": 20},
    "turns": {"noise": 0.05, "orbits": 1, "samples": 1500, "samples_per_period": 30, "transient": 20},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"width": 64, "depth": 3, "activation": "silu"},
    "polynomial": {"network": "polynomial", "degree": 2},
}
TRAINING: dict[str, Any] = {
    "steps": 400, "batch": 64, "segment": 5, "learning_rate": 0.005, "keep": "best", "validate_every": 100,
    "device": "cpu",
}  # fmt: skip
EVALUATION: dict[str, Any] = {
    "exponents": {"starts": 8, "horizon": 60, "transient": 40, "accuracy": 0.05},
    "points": 256, "starts": 30, "horizon": 5, "longest": 20, "runs": 8, "samples": 500, "windows": 4, "window": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """What became of a training: the tables of truth and forecast, and what it told of its costs."""

    truth: xr.Dataset
    forecast: xr.Dataset
    costs: dict[str, Any]

    def __getitem__(self, metric: str) -> np.ndarray:
        """A metric of the catalogue, with shape (seeds,)."""
        return entries("metrics")[metric].compute(self.truth, self.forecast).to_numpy()

    @property
    def exponents(self) -> np.ndarray:
        """The exponents, with shape (seeds, 3)."""
        return self.forecast["exponents"].to_numpy()


@cache
def system(label: str):
    return build("systems", label, SYSTEMS[label])


@cache
def exponents(label: str) -> xr.Dataset:
    return attractors.exponents(system(label), label=label, starts=8, horizon=200, transient=20)


@cache
def vectors(label: str) -> xr.Dataset:
    return covariant_vectors(system(label), exponents(label), label=label, states=2**13)


@cache
def orbits(label: str, data: str) -> xr.Dataset:
    line = {name: value for name, value in DATA[data].items() if name != "noise"}
    return simulation.orbits(system(label), exponents(label), label=label, seeds=SEEDS, data=line, window=2)


@cache
def observations(label: str, data: str) -> xr.Dataset:
    return observe(orbits(label, data), exponents(label), label=label, noise=DATA[data]["noise"])


@cache
def truth(label: str, data: str) -> xr.Dataset:
    made = simulation.truth(system(label), orbits(label, data), exponents(label), label=label, evaluation=EVALUATION)
    return made.assign(unresolved(vectors(label), SEEDS))


def judged(label: str, data: str, field: Transformed[Any], history: pd.DataFrame | None = None, **told: Any) -> Judged:
    """Put a field in system units where the truth is known."""
    table = truth(label, data)
    return Judged(table, forecast(field, history, table, evaluation=EVALUATION, vectors=vectors(label)), told)


@cache
def floor(data: str, label: str = "Lorenz") -> Judged:
    """The true field in the place of a model."""
    return judged(label, data, in_place_of_a_model(CompiledField(compiled(system(label)), system(label).dimension)))


@cache
def trained(
    data: str, method: str = "baseline", *, label: str = "Lorenz", network: str = "mlp", **settings: Any
) -> Judged:
    """Train by a method, with settings of its own and of the training, and judge what it has learned."""
    training = TRAINING | {name: settings.pop(name) for name in tuple(settings) if name in TRAINING}
    line, observed = build("methods", method, settings), observations(label, data)
    makers = {
        "neighbors": lambda: neighbors(observed, count=25, theiler=0.5, ahead=training["segment"]),
        "supervision": lambda: simulation.supervision(system(label), observed, exponents(label), label=label),
    }
    files = {kind: makers[kind]() for kind in inputs(line) - {"observations"}}
    field, coordinates, history, costs = train(
        observed, line, files=files, network=NETWORKS[network], training=training
    )
    field, coordinates = field.double().requires_grad_(False), coordinates.to(torch.float64)
    return judged(label, data, Transformed(field, coordinates.inverse), pd.concat(history), **costs)
