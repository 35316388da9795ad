"""Generalized teacher forcing: long rollouts that are drawn toward the data at every sample."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, trajectory_error


@dataclass(frozen=True)
class TeacherForcing:
    r"""Fit long rollouts whose state is mixed with the observed one at every sample.

    .. math:: \hat{x}_{i+k+1} = \Phi_h\big((1 - \alpha) \hat{x}_{i+k} + \alpha x_{i+k}\big), \qquad
        L = \Big\langle \sum_k |x_{i+k} - \hat{x}_{i+k}|^2 \Big\rangle_i

    (as a mean over steps and components instead of the sum), with :math:`\Phi_h` the network's flow from one sample to
    the next. The gradient through k samples shrinks by :math:`(1 - \alpha)^k`, which holds the growth of chaotic
    tangents down: it stays bounded where :math:`1 - \alpha` is below the inverse of their growth. :math:`\alpha = 0` is
    the baseline over long segments, 1 fits single samples. The reference also adapts :math:`\alpha` during training;
    here it is constant.

    References:
        | Generalized teacher forcing for learning chaotic dynamics (Hess, Monfared, Brenner and Durstewitz, ICML 2023)

    Arguments:
        strength: The share :math:`\alpha` of the data, from 0 to 1.
        segment: The length of the rollouts, in samples; the number of segments in a batch shrinks in proportion.
    """

    strength: float = 0.45
    segment: int = 25
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self):
        if not 0 <= self.strength <= 1 or self.segment < 1:
            raise ValueError(f"strength ({self.strength}) must be from 0 to 1, segment ({self.segment}) at least 1")

    def loss(self, field: Field, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member; see :class:`nearorbit.training.methods.base.Method`."""
        rows = [batch.start]
        for observed, interval in zip(batch.states[..., :-1, :].unbind(-2), batch.intervals.unbind(-1), strict=True):
            rows.append(batch.step(field, torch.lerp(rows[-1], observed, self.strength), interval))
        return trajectory_error(torch.stack(rows, -2), batch)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"teacher_forcing": TeacherForcing}
