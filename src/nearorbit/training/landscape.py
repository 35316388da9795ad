r"""The landscape of the trajectory error: how it lies around trained weights, with and without a coupling to the data.

Two directions in weight space are drawn once, and the error of rollouts is computed on a grid of them,

.. math:: L(\alpha, \beta) = \mathcal{L}(\theta + \alpha d_1 + \beta d_2),

for rollouts of several lengths, and for long ones that are coupled to the smoothing spline of the data with a strength
:math:`\kappa`, as homotopy trains them. Every panel has the same weights, directions and segments. A direction is
normal, and each of its filters (the weights into one neuron) is scaled to the norm of that filter of :math:`\theta`, so
that a step of 1 is as large as the weights are; biases stay, as the authors have it. All points of the grid are one
ensemble.

References:
    | Visualizing the loss landscape of neural nets (Li, Xu, Taylor, Studer and Goldstein, NeurIPS 2018)
    | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko, Koh, Park and Jhe, NeurIPS 2023)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from nearorbit.data.observations import in_system_units
from nearorbit.dynamics.drive import Drive
from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.study.catalogue import build
from nearorbit.study.seeds import generator
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.loop import substeps
from nearorbit.training.methods.base import Batch, trajectory_error
from nearorbit.training.optimizer import flatten

FAR = 10.0  # ranges of the data: a rollout that goes further from its middle has diverged


def landscape(
    field: Ensemble,
    observations: xr.Dataset,
    *,
    training: Mapping[str, Any],
    couplings: Sequence[float],
    segments: Sequence[int],
    rollouts: int,
    reach: float,
    points: int,
) -> pd.DataFrame:
    """Compute the error around the weights of the first member of an ensemble.

    Arguments:
        field: The trained ensemble, in model coordinates.
        observations: The observed orbits that it was trained on.
        training: The settings of :class:`nearorbit.training.budget.Training`, of which those of the integration count.
        couplings: The strengths of the coupling of rollouts of the longest segment, per unit of model time.
        segments: The lengths of rollouts without coupling, in samples; none is longer than the orbits.
        rollouts: The number of rollouts at each point.
        reach: The largest step along a direction, to both sides.
        points: The number of steps along each direction; an odd one has the trained weights among them.

    Returns:
        A row per coupling, segment and point, with columns ``(coupling, segment, alpha, beta, error, diverged)``: the
        mean squared error in units of the variance of the data, NaN where a rollout has diverged, and the share of
        those that have. A rollout has diverged if it is not finite or further out than ten times the range of the data.
    """
    torch.set_flush_denormal(True)
    observed = observations.isel(seed=[0])
    settings = Training(**training)
    settings = replace(settings, substeps=substeps(observed, settings))
    scale = torch.ones(1)  # of the data in model coordinates
    if settings.coordinates == "raw":
        scale, observed = torch.from_numpy(observed["scale"].to_numpy().reshape(-1)), in_system_units(observed)
    longest = min(max(segments), observed.sizes["time"] - 1)
    batch = _batch(observed, settings, longest, rollouts)
    steps = np.linspace(-reach, reach, points)
    grid, alpha, beta = _grid(field[:1].to(batch.states.dtype), steps)
    tables = []
    for coupling in sorted({0.0, *map(float, couplings)}, reverse=True):
        states = _rollouts(grid, batch, coupling)
        for length in sorted({longest, *segments}, reverse=True) if coupling == 0 else [longest]:
            if length <= longest:
                error, diverged = _errors(states[..., : length + 1, :], batch, scale.to(states))
                columns = {"coupling": coupling, "segment": length, "alpha": alpha, "beta": beta}
                tables.append(pd.DataFrame({**columns, "error": error, "diverged": diverged}))
    return pd.concat(tables, ignore_index=True)


def directions(field: Ensemble) -> tuple[Tensor, Tensor]:
    """Draw two directions around the weights of an ensemble of one, scaled filter by filter.

    Arguments:
        field: The ensemble; a parameter has the shape (1, inputs, outputs), biases have one input.

    Returns:
        The directions, with shape (1, P), laid out as :func:`nearorbit.training.optimizer.flatten` lays out weights.
    """

    def drawn(stream: np.random.Generator) -> Tensor:
        direction = field[:1]
        for p in direction.parameters():
            random = torch.from_numpy(stream.standard_normal(p.shape)).to(p)
            norm = random.norm(dim=1, keepdim=True)
            p.data = random * p.data.norm(dim=1, keepdim=True) / norm if p.shape[1] > 1 else torch.zeros_like(p)
        return flatten(direction)

    return drawn(generator("landscape", 0)), drawn(generator("landscape", 1))


def _grid(field: Ensemble, steps: np.ndarray) -> tuple[Ensemble, np.ndarray, np.ndarray]:
    """Make an ensemble of all points of the grid, of which alpha runs fastest; returns it and the steps of each."""
    beta, alpha = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    first, second = directions(field)
    grid = field[[0] * len(alpha)]
    weights = flatten(grid)
    weights += sum(torch.from_numpy(step).to(weights).unsqueeze(1) * d for step, d in ((alpha, first), (beta, second)))
    return grid.requires_grad_(False), alpha, beta


def _batch(observations: xr.Dataset, settings: Training, segment: int, rollouts: int) -> Batch:
    """Draw segments, with the splines of the data at the Runge-Kutta stages; those of one member."""
    method = build("methods", "homotopy", {"segment": segment})
    settings = replace(settings, batch=rollouts, segment=segment)
    dtype, device = getattr(torch, settings.precision), torch.device("cpu")
    data = Data(observations, method, settings, device=device, dtype=dtype)
    return data.gather(next(data.starts([0], [1]))[0])


@torch.inference_mode()
def _rollouts(field: Ensemble, batch: Batch, coupling: float) -> Tensor:
    """Roll every member out from the same starts, with shape (B, D); returns shape (E, B, T, D)."""
    drive = Drive(batch["spline"], coupling) if coupling else None
    return batch.rollout(field, drive, start=batch.start.expand(field.members, -1, -1))


@torch.inference_mode()
def _errors(states: Tensor, batch: Batch, scale: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Compute the error of each member, and the share of its rollouts that have diverged; both with shape (E,)."""
    low, high = (bound(batch.states.flatten(0, 2), 0) for bound in (torch.amin, torch.amax))
    away = (states - (low + high) / 2).abs() / (high - low)
    gone = ~(away <= FAR).flatten(2).all(-1)  # what is not finite is not within either
    part = replace(batch, states=batch.states[..., : states.shape[-2], :] / scale)
    error = trajectory_error(states / scale, part).where(~gone.any(1), torch.nan)
    return error.double().numpy(), gone.double().mean(1).numpy()
