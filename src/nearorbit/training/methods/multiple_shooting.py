"""Multiple shooting: rollouts from free initial states, which are to meet one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error

STEP = 0.1  # of the free states, relative to that of the weights


@dataclass(frozen=True)
class MultipleShooting(Penalized):
    r"""Fit rollouts whose initial states are free, to the data and to the initial states that they arrive at.

    .. math::
        L = \Big\langle \sum_{k=0}^{s} |x_{i+k} - \hat{x}_{i+k}|^2 + w \, |s_{i+s} - \hat{x}_{i+s}|^2 \Big\rangle_i,
        \qquad \hat{x}_i = s_i

    (as means over steps and components instead of sums). The states :math:`s_i` are parameters, one for every observed
    state, and begin as the data; a rollout need not start at a noisy state, and what one segment gives up is asked of
    the one before it. Adam's steps are as long for a small gradient as for a large one, so that states would leave the
    data by more than its noise: theirs are :data:`STEP` times those of the weights.

    References:
        | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko, Koh, Park and Jhe, NeurIPS 2023),
          where it is a baseline
        | Fitting ordinary differential equations to chaotic data (Baake, Baake, Bock and Briggs, Phys. Rev. A 1992)

    Arguments:
        weight: The weight w of continuity.
        segment: The length s of a segment, in samples; that of the study if None.
    """

    weight: float = 1000.0
    segment: int | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self):
        check_weight(self.weight)
        if self.segment is not None and self.segment < 1:
            raise ValueError(f"segment must be at least 1, not {self.segment}")

    def own(self, seeds: Sequence[int], points: int, dimension: int) -> nn.Module:
        """Make the free states, as their distances from the observed ones over STEP, which are zero at first."""
        return nn.ParameterList([nn.Parameter(torch.zeros(len(seeds), points, dimension))])

    def terms(self, field: Field, batch: Batch, progress: Tensor, own: nn.ParameterList) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        assert batch.index is not None
        member = torch.arange(len(batch.index), device=batch.index.device).unsqueeze(-1)
        steps = batch.states.shape[-2] - 1
        offset, arrival = (STEP * own[0][member, batch.index + ahead] for ahead in (0, steps))
        states = batch.rollout(field, start=batch.start + offset)
        gaps = states[..., -1, :] - batch.states[..., -1, :] - arrival
        errors = trajectory_error(states, batch) + member_mean(offset.square()) / steps
        return errors, self.weight * member_mean(gaps.square())


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"multiple_shooting": MultipleShooting}
