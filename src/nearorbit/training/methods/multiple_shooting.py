"""Multiple shooting: rollouts from free initial states, which are to meet one another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    state, and begin as the data, or where these are smoothed to; a rollout need not start at a noisy state, and what
    one segment gives up is asked of the one before it. Adam's steps are as long for a small gradient as for a large
    one, so that states would leave the data by more than its noise: theirs are :data:`STEP` times those of the weights.

    As the first of the references has it, orbits are cut into fixed segments (``partition``), and only the states at
    which these begin are free; where an orbit ends nothing has to be met. A step then takes all of the segments, or
    draws from them where there are more than in a batch, or where samples are missing and seeds have differently many.
    Fewer samples than a segment may remain at the end of an orbit, and are not seen. The weight there is 0.01 in the
    units of the system, six segments of five samples each.

    References:
        | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko, Koh, Park and Jhe, NeurIPS 2023),
          where it is a baseline
        | Fitting ordinary differential equations to chaotic data (Baake, Baake, Bock and Briggs, Phys. Rev. A 1992)

    Arguments:
        weight: The weight w of continuity.
        segment: The length s of a segment, in samples; that of the study if None.
        partition: Whether the orbits are cut into fixed segments.
    """

    weight: float = 1000.0
    segment: int | None = None
    partition: bool = False

    def __post_init__(self):
        check_weight(self.weight)
        if self.segment is not None and self.segment < 1:
            raise ValueError(f"segment must be at least 1, not {self.segment}")

    @property
    def needs(self) -> frozenset[str]:
        """What it has to be given; see :class:`nearorbit.training.methods.base.Method`."""
        return frozenset({"followed", *(["partition"] if self.partition else [])})

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
        gaps = states[..., -1, :] - batch["followed"][..., -1, :] - arrival
        errors = trajectory_error(states, batch) + member_mean(offset.square()) / steps
        joints = replace(batch, covered=batch["partition"].bool()) if self.partition else batch
        return errors, self.weight * joints.mean(gaps.square())


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"multiple_shooting": MultipleShooting}
