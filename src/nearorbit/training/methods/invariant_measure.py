"""The invariant measure: what the model visits is distributed as what the data visit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.discrepancies import WIDTHS, check_widths, mmd
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error


@dataclass(frozen=True)
class InvariantMeasure(Penalized):
    r"""Fit rollouts, and the distribution of the states that they visit to that of the data.

    .. math:: L = L_\text{baseline} + w \, \text{MMD}^2\big(\{\hat{x}_{i+k}\}, \{x_{i+k}\}\big)_{i, k>0}

    over all segments and times of a batch as one cloud. The kernel and its widths are the reference's, see
    :func:`nearorbit.training.discrepancies.mmd`; in standardized coordinates they are in units of the data's
    deviations.

    The reference compares clouds of one time each, of all segments of the batch, with the data at the same time and
    with the starts, from whose distribution a flow that leaves the measure invariant does not lead away:

    .. math:: L = L_\text{baseline} + \Big\langle
        \lambda_1 \, \text{MMD}^2\big(\{\hat{x}_{i+k}\}_i, \{x_i\}_i\big)
        + \lambda_2 \, \text{MMD}^2\big(\{\hat{x}_{i+k}\}_i, \{x_{i+k}\}_i\big) \Big\rangle_{k>0}

    with ``{weight: 100, starts: 100, apart: true}``, or 1 and 1, and batches of 2048. At the true field the first term
    is the scatter of two samples, and no zero; its pull toward standing still is of the order of their difference, and
    shrinks with the batch.

    References:
        | DySLIM: Dynamics stable learning by invariant measure for chaotic systems (Schiff et al., ICML 2024)

    Arguments:
        weight: The weight w, or :math:`\lambda_2`; the squared discrepancy has no unit and lies between 0 and 8.
        starts: The weight :math:`\lambda_1` of the discrepancy from the starts.
        apart: Whether the clouds of different times are compared apart, and not as one; those of the starts always are.
        widths: The widths of the kernel, in deviations.
    """

    weight: float = 10.0
    starts: float = 0.0
    apart: bool = False
    widths: Sequence[float] = WIDTHS
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self):
        check_weight(self.weight)
        if self.starts < 0:
            raise ValueError(f"starts must not be negative, as {self.starts} is")
        check_widths(self.widths)

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        states = batch.rollout(field)
        visited, observed = (x[..., 1:, :] for x in (states, batch.states))
        if self.apart:
            penalty = self._discrepancy(visited, observed)
        else:
            penalty = mmd(visited.flatten(1, 2), observed.flatten(1, 2), self.widths)
        penalty = self.weight * penalty
        if self.starts:
            penalty = penalty + self.starts * self._discrepancy(visited, batch.states[..., :1, :].expand_as(visited))
        return trajectory_error(states, batch), penalty

    def _discrepancy(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare clouds (E, B, T, D) time by time; returns the mean over the times, with shape (E,)."""
        return member_mean(mmd(x.transpose(1, 2), y.transpose(1, 2), self.widths))


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"invariant_measure": InvariantMeasure}
