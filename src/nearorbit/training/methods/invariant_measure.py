"""The invariant measure: what the model visits is distributed as what the data visit."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.discrepancies import mmd
from nearorbit.training.methods.base import Batch, Penalized, check_weight, trajectory_error


@dataclass(frozen=True)
class InvariantMeasure(Penalized):
    r"""Fit rollouts, and the distribution of the states that they visit to that of the data.

    .. math:: L = L_\text{baseline} + w \, \text{MMD}^2\big(\{\hat{x}_{i+k}\}, \{x_{i+k}\}\big)_{i, k>0}

    over all segments and times of a batch as one cloud. The kernel and its widths are the reference's, see
    :func:`nearorbit.training.discrepancies.mmd`; in standardized coordinates they are in units of the data's
    deviations.

    References:
        | DySLIM: Dynamics stable learning by invariant measure for chaotic systems (Schiff et al., ICML 2024)

    Arguments:
        weight: The weight w; the squared discrepancy has no unit and lies between 0 and 8.
    """

    weight: float = 10.0
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self):
        check_weight(self.weight)

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        states = batch.rollout(field)
        model, data = (x[..., 1:, :].flatten(1, 2) for x in (states, batch.states))
        return trajectory_error(states, batch), self.weight * mmd(model, data)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"invariant_measure": InvariantMeasure}
