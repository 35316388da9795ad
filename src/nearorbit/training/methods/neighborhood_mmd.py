r"""Neighborhoods as distributions: the model moves a cloud of neighbors to where the data move it.

The displacements of neighbors carry the Jacobian whichever way they are compared. Here no tangent is needed: the
neighbors themselves are integrated, and the clouds compared as wholes.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.discrepancies import mmd
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error


@dataclass(frozen=True)
class NeighborhoodMMD(Penalized):
    r"""Fit rollouts, and the pushforward of the neighborhoods of their starts to that under the data.

    .. math::
        L = L_\text{baseline} + w \, \Big\langle \text{MMD}^2\big(\{\hat{x}_{j+k}\}_j, \{x_{j+k}\}_j\big)
            \Big\rangle_{i, k>0}, \qquad \hat{x}_j = x_j,

    where j runs over the neighbors of :math:`x_i`. The kernel is that of
    :func:`nearorbit.training.discrepancies.mmd`, its
    widths in units of the root mean square distance of the data's neighbors to their mean, over the batch: the weight
    then means the same however wide the neighborhoods are.

    Of the reference only the abstract was at hand: the discrepancy of the two pushforwards is its idea, the kernel, the
    widths, and what is averaged are ours.

    References:
        | Watch your neighbors: Training statistically accurate chaotic systems with local phase space information (Ko,
          Giraldo and Lee, arXiv 2605.14405, 2026)

    Arguments:
        weight: The weight w; the squared discrepancy has no unit and lies between 0 and 8.
        count: The number of neighbors K, at most that of the selection; each costs a rollout.
        neighbors: The label of the selection of neighbors, a line of ``neighbors`` in the study.
    """

    weight: float = 0.1
    count: int = 8
    neighbors: str = "nearest"
    needs: ClassVar[frozenset[str]] = frozenset({"neighbors"})

    def __post_init__(self):
        check_weight(self.weight)
        if self.count < 1:
            raise ValueError(f"count must be at least 1, not {self.count}")

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        pushed = batch.rollout(field, start=batch["neighbors"][..., 0, :])
        # A cloud for each start and time.
        model, data = (x[..., 1:, :].transpose(-2, -3) for x in (pushed, batch["neighbors"]))
        width = size(data)
        penalty = member_mean(mmd(model / width, data / width))
        return trajectory_error(batch.rollout(field), batch), self.weight * penalty


def size(clouds: Tensor) -> Tensor:
    """Compute the root mean square distance of points to the mean of their cloud, over all clouds of a member.

    Arguments:
        clouds: The clouds, with shape (E, B, T, K, D).

    Returns:
        The sizes, with shape (E, 1, 1, 1, 1).
    """
    squares = (clouds - clouds.mean(-2, keepdim=True)).square().sum(-1)
    return member_mean(squares).sqrt().view(-1, 1, 1, 1, 1)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"neighborhood_mmd": NeighborhoodMMD}
