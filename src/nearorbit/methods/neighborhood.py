r"""Neighborhood-aware training: the displacements of neighbors follow the network's own tangent dynamics.

Two observed states that are close stay, for a while, a tangent apart: how their displacement evolves is what the true
Jacobian does to it. Nearest neighbors therefore carry the Jacobian, in the directions in which they lie.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.fields import Field
from nearorbit.methods.base import Batch, member_mean, trajectory_error


@dataclass(frozen=True)
class Neighborhood:
    r"""Fit rollouts, and the displacements of the neighbors of their starts to the tangent dynamics along them.

    .. math::
        L = L_\text{baseline} + w \, \Big\langle \frac{1}{K} \sum_{j}
            \big| x_{j+k} - \hat{x}_{i+k} - \delta x_{i,k}^{(j)} \big| \Big\rangle_{i, k}, \qquad
        \dot{\delta x} = J_\theta(\hat{x}) \, \delta x, \quad \delta x_{i,0}^{(j)} = x_j - x_i,

    where j runs over the neighbors of :math:`x_i`. The norm is squared and relative to the mean squared distance
    :math:`\langle |x_j - x_i|^2 \rangle` of the batch unless said otherwise: the weight then means the same however
    wide the neighborhoods are. What remains at the true field is of second order in the distance.

    The D columns of the fundamental matrix are carried along each rollout and multiplied with the displacements; where
    there are fewer neighbors than components, the displacements themselves are carried.

    Arguments:
        weight: The weight w.
        count: The number of neighbors K, at most ``neighbors.count`` of the study.
        squared: Whether the norm is squared.
        relative: Whether the (squared) norm is divided by the mean (squared) distance of the neighbors.
    """

    weight: float = 0.01
    count: int = 25
    squared: bool = True
    relative: bool = True
    needs: ClassVar[frozenset[str]] = frozenset({"states", "neighbors"})

    def __post_init__(self):
        if self.weight < 0 or self.count < 1:
            raise ValueError(f"weight ({self.weight}) must not be negative and count ({self.count}) at least 1")

    def loss(self, field: Field, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member; see :class:`nearorbit.methods.base.Method`."""
        displacements = batch.neighbors[..., 0, :] - batch.start.unsqueeze(-2)
        states, moved = displaced(field, batch, displacements)
        observed = batch.neighbors[..., 1:, :].transpose(-2, -3)
        residuals = observed - states[..., 1:, :].unsqueeze(-2) - moved[..., 1:, :, :]
        mismatch, distance = (r.square().sum(-1) for r in (residuals, displacements))
        if not self.squared:
            # The small number keeps the gradient finite at a residual of zero.
            mismatch, distance = ((r + 1e-12).sqrt() for r in (mismatch, distance))
        penalty = member_mean(mismatch)
        if self.relative:
            penalty = penalty / member_mean(distance)
        return trajectory_error(states, batch) + self.weight * penalty


def displaced(field: Field, batch: Batch, displacements: Tensor) -> tuple[Tensor, Tensor]:
    """Carry displacements along the rollouts of a batch.

    Arguments:
        field: The field.
        batch: The segments.
        displacements: The displacements at the starts, with shape (E, B, K, D).

    Returns:
        The states with shape (E, B, T, D), and the displacements with shape (E, B, T, K, D).
    """
    if displacements.shape[-2] <= field.dimension:
        return batch.tangent_rollout(field, displacements)
    states, columns = batch.tangent_rollout(field)
    return states, displacements.unsqueeze(-3) @ columns


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"neighborhood": Neighborhood}
