"""Optimal transport: the cost of moving what the model visits onto what the data visit."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.discrepancies import sinkhorn
from nearorbit.training.methods.base import Batch, Penalized, check_weight, trajectory_error

STATISTICS = ("state", "state_and_rate")


@dataclass(frozen=True)
class OptimalTransport(Penalized):
    r"""Fit rollouts, and the distribution of a summary statistic along them to that along the data.

    .. math:: L = L_\text{baseline} + w \, S\big(\{s(\hat{x})_{i+k}\}, \{s(x)_{i+k}\}\big)_{i, k>0}

    over all segments and times of a batch as one cloud, with S the Sinkhorn divergence
    (:func:`nearorbit.training.discrepancies.sinkhorn`). The reference's statistics are terms of the true equations;
    without them there are the state, :math:`s(x)_k = x_k`, and the state with its rate of change between samples,
    :math:`s(x)_k = (x_k, (x_k - x_{k-1}) / (t_k - t_{k-1}))`, both about 1 in model coordinates.

    Where a study asks for raw coordinates, ``blur`` and ``diameter`` are in system units: a diameter that is less than
    the data's ends the iterations far from the least cost.

    References:
        | Training neural operators to preserve invariant measures of chaotic attractors (Jiang, Lu, Orlova and Willett,
          NeurIPS 2023)

    Arguments:
        weight: The weight w; the divergence is in units of half the variance of the data.
        statistics: ``"state"``, or ``"state_and_rate"``. The data's rates carry the noise of two samples over the time
            between them, and the model would be asked to spread its own as widely: the state alone is the default.
        blur: The distance below which statistics are not told apart, in deviations of the data.
        scaling: The ratio of the blur in one iteration to that in the iteration before; nearer to 1 is more exact, and
            more expensive.
        diameter: The blur to begin with, in deviations of the data.
    """

    weight: float = 1000.0
    statistics: str = "state"
    blur: float = 0.3
    scaling: float = 0.7
    diameter: float = 4.0
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self):
        check_weight(self.weight)
        if self.statistics not in STATISTICS:
            raise ValueError(f"statistics must be one of {', '.join(STATISTICS)}, not '{self.statistics}'")
        if not 0 < self.blur < self.diameter or not 0 < self.scaling < 1:
            raise ValueError(
                f"blur ({self.blur}) must be positive and below diameter ({self.diameter}), and scaling "
                f"({self.scaling}) between 0 and 1"
            )

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        states = batch.rollout(field)
        model, data = (self.summary(x, batch.times).flatten(1, 2) for x in (states, batch.states))
        divergence = sinkhorn(model, data, blur=self.blur, scaling=self.scaling, diameter=self.diameter)
        return trajectory_error(states, batch), self.weight * divergence

    def summary(self, states: Tensor, times: Tensor) -> Tensor:
        """Summarize states with shape (E, B, T, D) after their start; returns shape (E, B, T - 1, D or 2 D)."""
        if self.statistics == "state":
            return states[..., 1:, :]
        rates = states.diff(dim=-2) / times.diff(dim=-1).unsqueeze(-1)
        return torch.cat([states[..., 1:, :], rates], -1)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"optimal_transport": OptimalTransport}
