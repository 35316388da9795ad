"""A field that is judged, and the true attractor that it is held against."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nearorbit.dynamics.fields import Field, Transformed, aligned, jacobian
from nearorbit.dynamics.flow import rollout

NUMBERS = 2**17  # in the Jacobians of a member that are evaluated at once
FAR = 10  # ranges of the attractor that an orbit may be away from it


@dataclass(frozen=True)
class Judged:
    """A field, and the true attractor that it is held against.

    Arguments:
        field: The field in system units; ``field.field`` is that in model coordinates, in which it is integrated.
        truth: The table of the truth.
    """

    field: Transformed[Field]
    truth: xr.Dataset

    @cached_property
    def single(self) -> "Judged":
        """The same in single precision, for averages."""
        return Judged(self.field.single(), self.truth)

    @property
    def step(self) -> float:
        """The sample interval, in system time."""
        return self.truth["step"].item()

    @property
    def period(self) -> float:
        """The period of the true system."""
        return self.truth["period"].item()

    @property
    def leading(self) -> float:
        """The true leading exponent, and a tenth a period where it is small or not known."""
        return float(np.fmax(abs(self.truth["exponents"]).isel(exponent=0).mean(), 0.1 / self.period))

    @torch.inference_mode()
    def wrong(self) -> np.ndarray:
        """Compute what the field is wrong by in a sample interval, root mean square in deviations, with shape (E,); NaN
        where the truth is not known."""
        learned = self.field(self.tensor(self.truth["points"].to_numpy())).cpu().numpy()
        error = self.step * (learned - self.truth["field"].to_numpy()) / self.deviation
        return np.sqrt(np.square(error).mean((1, 2)))

    @property
    def deviation(self) -> np.ndarray:
        """The deviations of the components on the true attractor, with shape (E, 1, D)."""
        return self.truth["attractor"].std(("run", "sample")).to_numpy()[:, None]

    @property
    def visited(self) -> np.ndarray:
        """The states of the true attractor, with shape (E, N, D)."""
        return self.truth["attractor"].to_numpy().reshape(self.truth.sizes["seed"], -1, self.truth.sizes["component"])

    @cached_property
    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value of each component on the true attractor, both with shape (D,)."""
        return self.visited.min((0, 1)), self.visited.max((0, 1))

    def tensor(self, states: np.ndarray) -> Tensor:
        """Bring an array to the device."""
        return torch.from_numpy(np.ascontiguousarray(states)).to(self.field.coordinates.mean)

    @torch.inference_mode()
    def evaluated(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate the field at states (E, N, D), in system units; returns f (E, N, D) and J (E, N, D, D)."""
        many = max(1, NUMBERS // states.shape[-1] ** 2)
        pieces = [self.tensor(states[:, begin : begin + many]) for begin in range(0, states.shape[1], many)]
        values = ((self.field(x).cpu().numpy(), jacobian(self.field, x).cpu().numpy()) for x in pieces)
        field, jacobians = (np.concatenate(parts, 1) for parts in zip(*values, strict=True))
        return field, jacobians

    @torch.inference_mode()
    def orbits(self, start: np.ndarray, times: np.ndarray, *, longest: float) -> np.ndarray:
        """Integrate the field from starts.

        Arguments:
            start: The states at the first time, in system units, with shape (E, B, D).
            times: The times, equally spaced, in system time, with shape (T,).
            longest: The longest step, in system time.

        Returns:
            The states, with shape (E, B, T, D); NaN from where an orbit is not finite or too far from the attractor.
        """
        model, begin = self.field.coordinates.inverse, self.tensor(start)
        clock = aligned(model.rate, begin) * self.tensor(times)
        substeps = max(1, int(np.ceil((times[1] - times[0]) / longest - 1e-9))) if len(times) > 1 else 1
        orbits = rollout(self.field.field, model(begin), clock, substeps=substeps, order=8)
        states = model.undo(orbits).double().cpu().numpy()
        return np.where(np.logical_and.accumulate(self.near(states), -1)[..., None], states, np.nan)

    def settle(self, start: np.ndarray, periods: float, step: float) -> np.ndarray:
        """Follow orbits from starts (E, B, D) over some periods, by a step in sample intervals; returns one state a
        period, and the last, with shape (E, B, T, D)."""
        times = self.period * np.linspace(0, periods, 1 + int(np.ceil(periods)))
        return self.orbits(start, times, longest=step * self.step)

    def near(self, states: np.ndarray) -> np.ndarray:
        """Tell which states, with shape (*, D), are finite and not too far from the attractor; returns shape (*)."""
        low, high = self.extent
        return (np.abs(states - (low + high) / 2) <= FAR * (high - low)).all(-1)
