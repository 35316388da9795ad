"""The baseline: fit short rollouts to the data, and nothing else."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, trajectory_error


@dataclass(frozen=True)
class Baseline:
    r"""Fit rollouts from observed states to the segments that follow them.

    .. math:: L = \Big\langle \sum_{k=1}^{s} |x_{i+k} - \hat{x}_{i+k}|^2 \Big\rangle_i, \qquad \hat{x}_i = x_i

    (as a mean over steps and components instead of the sum).

    References:
        | Neural Ordinary Differential Equations (Chen et al., NeurIPS 2018)
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def loss(self, field: Field, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member; see :class:`nearorbit.training.methods.base.Method`."""
        return trajectory_error(batch.rollout(field), batch)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"baseline": Baseline}
