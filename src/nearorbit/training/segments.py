r"""Segments of observed orbits: what losses are written in.

A batch of them, the rollouts from their starts, and means over its members.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from nearorbit.dynamics.drive import Drive
from nearorbit.dynamics.fields import Field, TwiceDifferentiable
from nearorbit.dynamics.flow import rollout, tangent_rollout, taylor_rollout


@dataclass(frozen=True)
class Batch:
    """Segments of observed orbits for an ensemble, in model coordinates and model time.

    Arguments:
        times: The times of the samples since the start of the segment, with shape (E, 1, T) or, at uneven times,
            (E, B, T).
        states: The observed states, with shape (E, B, T, D); a rollout starts at the first.
        substeps: How many Runge-Kutta steps a rollout makes between two samples.
        recompute: Whether gradients compute what lies between two samples again instead of keeping it.
        index: Which observed states the segments start at, positions in the flattened (orbit, time), with shape (E, B).
        covered: Which starts a need has something for, with shape (E, B); None where it has for all.
        given: What the method needs, by name; ``batch[name]`` for short.
        interval: The model time of a sample interval, with shape (E, 1, 1); that to the first sample if not given.
        ticks: The times of the samples in sample intervals, and of those that follow the segment as far as any need
            looks ahead: with shape (L,) or, at uneven times, (E, B, L); 0, 1, 2, ... if not given.
    """

    times: Tensor
    states: Tensor
    substeps: int = 1
    recompute: bool = False
    index: Tensor | None = None
    covered: Tensor | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    interval: Tensor = None  # type: ignore[assignment]
    ticks: Tensor = None  # type: ignore[assignment]

    def __post_init__(self):
        if self.interval is None:
            object.__setattr__(self, "interval", self.times[..., 1:2])
        if self.ticks is None:
            object.__setattr__(self, "ticks", torch.arange(self.times.shape[-1]).to(self.times))

    def __getitem__(self, need: str) -> Any:
        """Give what the method needs under this name."""
        return self.given[need]

    @property
    def start(self) -> Tensor:
        """The states that the segments start from, with shape (E, B, D)."""
        return self.states[..., 0, :]

    @property
    def intervals(self) -> Tensor:
        """The model times from each sample to the next one, with shape (E, 1, T - 1) or, at uneven times, (E, B, T -
        1); at equal intervals exactly those."""
        return self.interval * self.ticks[..., : self.times.shape[-1]].diff(dim=-1)

    def member(self, number: int) -> "Batch":
        """Give the segments of one member, as a batch of its own."""
        names = ("times", "states", "index", "covered", "given", "interval", *["ticks"] * (self.ticks.dim() > 1))
        tensors = {name: getattr(self, name) for name in names}
        return replace(self, **tree_map_only(Tensor, lambda t: t[number : number + 1], tensors))

    def lasting(self, samples: int) -> "Batch":
        """Give the same starts more, or less, time: rollouts of so many samples, whatever has been observed of them."""
        if samples == self.times.shape[-1] - 1:
            return self
        if self.ticks.dim() == 1:  # at equal intervals there is no end
            return replace(self, times=self.interval * torch.arange(samples + 1, device=self.times.device))
        assert samples < self.ticks.shape[-1], "a need has to look ahead as far"
        return replace(self, times=self.interval * self.ticks[..., : samples + 1])

    def mean(self, values: Tensor, *, empty: float = 0.0) -> Tensor:
        """Average values of the starts, with shape (E, B, *), over those that are covered; returns shape (E,).

        It is ``empty`` where none is.
        """
        if self.covered is None:
            return member_mean(values)
        covered, counted = self.covered.view(*self.covered.shape, *[1] * (values.dim() - 2)), self.covered.sum(1)
        total = torch.where(covered, values, 0).flatten(1).sum(1)
        return torch.where(counted > 0, total / (counted.clamp(min=1) * values[0, 0].numel()), empty)

    def rollout(
        self, field: Callable[[Tensor], Tensor], drive: Drive | None = None, *, start: Tensor | None = None
    ) -> Tensor:
        """Integrate a field from the starts of the segments, or from others with shape (E, B, *, D), over the same
        times; see :func:`nearorbit.dynamics.flow.rollout`."""
        start = self.start if start is None else start
        return rollout(field, start, self._clock(start), drive=drive, **self._steps)

    def continued(self, field: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
        """Integrate rollouts over the first samples, with shape (E, B, S, D), on to the ends of the segments."""
        left = self.times[..., states.shape[-2] - 1 :]
        return torch.cat([states, rollout(field, states[..., -1, :], left, **self._steps)[..., 1:, :]], -2)

    def tangent_rollout(self, field: Field, tangents: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Integrate a field from the starts of the segments, with tangents; see
        :func:`nearorbit.dynamics.flow.tangent_rollout`."""
        return tangent_rollout(field, self.start, self.times, tangents=tangents, **self._steps)

    def displaced_rollout(
        self, field: TwiceDifferentiable, displacements: Tensor, *, order: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Carry displacements along rollouts from the starts, by the expansion of the flow about these.

        The columns of the fundamental matrix are carried, at order 2 with the second derivatives along all pairs of
        them, and multiplied with the displacements; where it is less, the displacements themselves are carried, at
        order 2 with the second derivative along each.

        Arguments:
            field: The field.
            displacements: From the starts, with shape (E, B, K, D).
            order: Of the expansion in the displacement, 1 or 2.

        Returns:
            The states, with shape (E, B, T, D), and the displacements from them, with shape (E, B, T, K, D).
        """
        count, dimension = displacements.shape[-2], field.dimension
        if order == 1 and count <= dimension:
            return self.tangent_rollout(field, displacements)
        if order == 1:
            states, columns = self.tangent_rollout(field)
            return states, displacements.unsqueeze(-3) @ columns
        at = (field, self.start, self.times)
        if 2 * count <= dimension * (dimension + 3) // 2:
            each = torch.arange(count, device=displacements.device)
            states, moved, second = taylor_rollout(*at, tangents=displacements, pairs=(each, each), **self._steps)
            return states, moved + second / 2
        states, columns, second = taylor_rollout(*at, **self._steps)
        i, j = torch.triu_indices(dimension, dimension, device=states.device)
        products = displacements[..., i] * displacements[..., j] * torch.where(i == j, 0.5, 1.0).to(displacements)
        return states, displacements.unsqueeze(-3) @ columns + products.unsqueeze(-3) @ second

    def step(self, field: Field, start: Tensor, interval: Tensor) -> Tensor:
        """Integrate a field over one interval between samples.

        Arguments:
            field: The field.
            start: The states at its beginning, with shape (E, *, D).
            interval: Its length, one of :attr:`intervals`, with a shape that broadcasts against (E, *).

        Returns:
            The states at its end, with shape (E, *, D).
        """
        return rollout(field, start, _from_zero(interval), **self._steps)[..., 1, :]

    def tangent_step(self, field: Field, start: Tensor, interval: Tensor) -> tuple[Tensor, Tensor]:
        """Integrate a field over one interval between samples, as :meth:`step` does; returns the ends, and the maps M =
        d end / d start with shape (E, *, D, D)."""
        states, columns = tangent_rollout(field, start, _from_zero(interval), **self._steps)
        return states[..., 1, :], columns[..., 1, :, :].mT

    def _clock(self, start: Tensor) -> Tensor:
        """Give the times the dimensions that broadcast them against starts with shape (E, B, *, D)."""
        members, segments, samples = self.times.shape
        return self.times.reshape(members, segments, *[1] * (start.dim() - 3), samples)

    @property
    def _steps(self) -> dict[str, Any]:
        return {"substeps": self.substeps, "recompute": self.recompute}


def _from_zero(interval: Tensor) -> Tensor:
    """The times at which an interval of each length begins and ends."""
    return torch.stack([torch.zeros_like(interval), interval], -1)


def member_mean(x: Tensor) -> Tensor:
    """Average over all dimensions but the leading one of the ensemble; returns shape (E,)."""
    return x.flatten(1).mean(1)


def trajectory_error(states: Tensor, batch: Batch) -> Tensor:
    r"""Compute the mean squared error of rollouts, :math:`\langle |x_{i+k} - \hat{x}_{i+k}|^2 / D \rangle_{i, k, k>0}`.

    Arguments:
        states: The rollouts from ``batch.start``, with shape (E, B, T, D).
        batch: The segments.

    Returns:
        The errors, with shape (E,), in units of the variance of the data.
    """
    return member_mean((states[..., 1:, :] - batch.states[..., 1:, :]).square())
