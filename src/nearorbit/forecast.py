"""What a trained field does, in the variables of the truth.

The forecast of a cell has the variables and dimensions of its truth, computed from the same states: orbits from the
same starts at the same times, the field and its Jacobian at the same points, the Lyapunov spectrum. A metric compares
the two tables and knows nothing of networks. All of it is computed in float64, with the Runge-Kutta steps of the
training.

An orbit that is not finite, or farther from the attractor than ten times its range, has diverged: it is NaN from there
on.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from nearorbit.fields import Transformed, aligned, jacobian
from nearorbit.flow import propagate, rollout
from nearorbit.lyapunov import spectrum

ORBITS = ("forecasts", "attractor", "windows")
ORTHONORMALIZATIONS = 2  # of the tangents in a period, at least
STDERR = 0.01  # of the leading exponent, relative to it or to the true one, at which an average is long enough
FAR = 10  # ranges of the attractor that an orbit may be away from it


def forecast(
    field: Transformed,
    history: pd.DataFrame,
    truth: xr.Dataset,
    *,
    evaluation: Mapping[str, Any],
    substeps: int = 1,
) -> xr.Dataset:
    """Compute the table of a trained ensemble that corresponds to the table of the truth.

    Arguments:
        field: The ensemble, in system units, from :func:`nearorbit.fields.load`.
        history: The history of its training.
        truth: The table of the truth, from :func:`nearorbit.simulation.truth`.
        evaluation: The settings of the evaluation; ``exponents`` has ``starts``, ``horizon`` and ``transient``, the
            last two in periods.
        substeps: The number of Runge-Kutta steps between two samples, as in training.

    Returns:
        The variables of the truth, of the learned field.
    """
    like = field.coordinates.mean
    low, high = extent(truth)
    table = truth[["region", "points"]].copy()
    for name in ORBITS:
        *_, clock, _ = truth[name].dims
        times = torch.from_numpy(truth["step"].item() * np.arange(truth.sizes[clock]))
        states = orbits(field, _tensor(truth[name].isel({clock: 0}), like), times.to(like), substeps=substeps)
        table[name] = truth[name].dims, bounded(states.cpu().numpy(), low, high)
    points = _tensor(truth["points"], like)
    with torch.no_grad():
        table["field"] = truth["field"].dims, field(points).cpu().numpy()
        table["jacobian"] = truth["jacobian"].dims, jacobian(field, points).cpu().numpy()
    table = table.merge(exponents(field, truth, substeps=substeps, **evaluation["exponents"]))
    table["best_step"] = "seed", best_steps(history)
    left = table["attractor"].isnull().any(["run", "sample", "component"]) | table["exponents"].isnull().any("exponent")
    table["diverged"] = left.astype(np.int8)
    return table[[name for name in truth.data_vars if name in table]].assign_attrs(truth.attrs)


def extent(truth: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Find the least and the greatest value of each component on the attractor, both with shape (D,)."""
    visited = truth["attractor"].to_numpy().reshape(-1, truth.sizes["component"])
    return visited.min(0), visited.max(0)


@torch.no_grad()
def orbits(field: Transformed, start: Tensor, times: Tensor, *, substeps: int = 1) -> Tensor:
    """Integrate a learned field; as in training, in model coordinates.

    Arguments:
        field: The ensemble, in system units.
        start: The states at the first time, in system units, with shape (E, B, D).
        times: The times, in system time, with shape (T,).
        substeps: The number of Runge-Kutta steps between two times.

    Returns:
        The states, in system units, with shape (E, B, T, D).
    """
    model = field.coordinates.inverse
    states = rollout(field.field, model(start), aligned(model.rate, start) * times, substeps=substeps)
    return model.undo(states)


def bounded(states: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Set orbits to NaN from where they are not finite or too far from the attractor.

    Arguments:
        states: Orbits, with shape (*, T, D).
        low: The least value of each component on the attractor, with shape (D,).
        high: The greatest, likewise.

    Returns:
        The orbits, with shape (*, T, D).
    """
    return np.where(np.logical_and.accumulate(near(states, low, high), -1)[..., None], states, np.nan)


def near(states: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Tell which states, with shape (*, D), are finite and not too far from the attractor; returns shape (*)."""
    return (np.abs(states - (low + high) / 2) <= FAR * (high - low)).all(-1)


def exponents(
    field: Transformed, truth: xr.Dataset, *, starts: int, horizon: float, transient: float, substeps: int = 1
) -> xr.Dataset:
    """Estimate the Lyapunov spectrum of each member from orbits that start on the true attractor.

    Arguments:
        field: The ensemble, in system units.
        truth: The table of the truth, for the starts, the period and the sample spacing.
        starts: The number of orbits of each member.
        horizon: Their length, in periods, at most: they end when the standard error of every member is small enough.
        transient: What is dropped of them first, in periods.
        substeps: The number of Runge-Kutta steps in a sample spacing.

    Returns:
        ``exponents`` and ``stderr`` (seed, exponent), per unit of system time; NaN for a member with an orbit that
        diverges; ``converged`` (seed), whether the standard error was reached; ``horizon``, the time averaged over.
    """
    start = truth["forecasts"].isel(lead=0, start=slice(starts)).to_numpy()
    like = torch.from_numpy(start).to(field.coordinates.mean)
    period, step = truth["period"].item(), truth["step"].item() / substeps
    low, high = extent(truth)
    model = field.coordinates.inverse
    advance = propagate(field.field, like=like, step=step, rate=aligned(model.rate, like))

    def bounded_advance(y: np.ndarray, v: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
        y, v = advance(y, v, duration)
        inside = near(model.undo(torch.from_numpy(y).to(like).view(like.shape)).cpu().numpy(), low, high)
        return np.where(inside.reshape(-1, 1), y, np.nan), v

    # Exponents are the same in all coordinates: the spectrum is taken in those of the model, and in system time.
    found = spectrum(
        bounded_advance,
        model(like).cpu().numpy(),
        interval=max(step, period / ORTHONORMALIZATIONS),
        transient=transient * period,
        horizon=horizon * period / 4,
        longest=horizon * period,
        relative=STDERR,
        absolute=STDERR * float(abs(truth["exponents"]).isel(exponent=0).mean()),
    )
    dimensions = ("seed", "exponent")
    return xr.Dataset(
        {
            "exponents": (dimensions, found.exponents),
            "stderr": (dimensions, found.stderr),
            "converged": ("seed", found.converged.astype(np.int8)),
            "horizon": found.horizon,
        }
    )


def best_steps(history: pd.DataFrame) -> np.ndarray:
    """Find the step of each seed with the least validation error; NaN where none is finite."""
    tables = (table.set_index("step")["validation"].dropna() for _, table in history.groupby("seed"))
    return np.array([np.nan if column.empty else float(column.idxmin()) for column in tables])


def _tensor(states: xr.DataArray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(states.to_numpy())).to(like)
