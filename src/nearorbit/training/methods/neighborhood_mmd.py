r"""Neighborhoods as distributions: the model moves a cloud of neighbors to where the data move it.

The displacements of neighbors carry the Jacobian whichever way they are compared. Here the clouds are compared as
wholes, whichever of the neighbors went where. They are moved by integrating every one, where no tangent is needed, or
at once for all by the expansion of the flow about the rollout from their center, as in ``neighborhood``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from nearorbit.dynamics.fields import TwiceDifferentiable
from nearorbit.training.discrepancies import WIDTHS, check_widths, mmd
from nearorbit.training.methods.base import Batch, Penalized, check_weight, trajectory_error

CLOUDS = ("positions", "displacements")


@dataclass(frozen=True)
class NeighborhoodMMD(Penalized):
    r"""Fit rollouts, and the pushforward of the neighborhoods of their starts to that under the data.

    .. math::
        L = L_\text{baseline} + w \, \Big\langle \text{MMD}^2\big(\{\hat{x}_{j+k}\}_j, \{x_{j+k}\}_j\big)
            \Big\rangle_{i, k>0}, \qquad \hat{x}_j = x_j,

    where j runs over the neighbors of :math:`x_i`, which are integrated, or follow from the rollout of :math:`x_i` and
    the derivatives of the flow along it,

    .. math:: \hat{x}_{j+k} = \hat{x}_{i+k} + M \delta x_0 + \tfrac12 T[\delta x_0, \delta x_0], \qquad
        \delta x_0 = x_j - x_i.

    The kernel is that of :func:`nearorbit.training.discrepancies.mmd`, its widths in units of the root mean square
    distance of the data's neighbors to their mean, over the batch: the weight then means the same however wide the
    neighborhoods are. The reference has them absolute, 30 members of a ring from 0.6 to 0.8 drawn anew for every batch
    (``draw: batch`` of the selection), followed for four samples, and weights of 1 and 100: ``{weight: 100, count: 30,
    order: 1, relative: false, follow: 4, first: true}``. Which of the other options it takes differs from one of its
    experiments to the next; the defaults are ours.

    References:
        | Watch your neighbors: Training statistically accurate chaotic systems with local phase space information (Ko,
          Giraldo and Lee, arXiv 2605.14405, 2026)

    Arguments:
        weight: The weight w; the squared discrepancy has no unit and lies between 0 and twice the number of widths.
        count: The number of neighbors K, at most that of the selection; each costs a rollout, without ``order``.
        neighbors: The label of the selection of neighbors, a line of ``neighbors`` in the study.
        order: Of the expansion of the flow that moves the clouds, 1 or 2; None integrates every neighbor.
        clouds: Of ``positions``, or of ``displacements`` from the center, of the data and of the model each from its
            own: then the error of the center's own rollout has no share.
        widths: The widths of the kernel.
        relative: Whether they are in units of the size of the clouds, or of standardized coordinates.
        follow: For how many samples neighbors are followed; as long as a segment if None.
        first: Whether the mean over times includes the first, at which clouds are equal.
    """

    weight: float = 0.1
    count: int = 8
    neighbors: str = "nearest"
    order: int | None = None
    clouds: str = "positions"
    widths: Sequence[float] = WIDTHS
    relative: bool = True
    follow: int | None = None
    first: bool = False

    def __post_init__(self):
        check_weight(self.weight)
        if self.count < 1 or self.order not in (None, 1, 2) or (self.follow is not None and self.follow < 1):
            raise ValueError(
                f"count ({self.count}) and follow ({self.follow}) must be at least 1, and order ({self.order}) 1, 2 or "
                f"nothing"
            )
        if self.relative and self.count < 2:
            raise ValueError(
                "one neighbor is no cloud whose size widths could be relative to: raise count, or say relative: false"
            )
        if self.clouds not in CLOUDS:
            raise ValueError(f"clouds is one of {', '.join(CLOUDS)}, not '{self.clouds}'")
        check_widths(self.widths)

    @property
    def needs(self) -> frozenset[str]:
        """What it has to be given; see :class:`nearorbit.training.methods.base.Method`."""
        return frozenset({"neighbors", *(["followed"] if self.clouds == "displacements" else [])})

    def terms(self, field: TwiceDifferentiable, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        near = batch["neighbors"].transpose(-2, -3)
        states, pushed, center = self._pushed(field, batch, near[..., 0, :, :], near.shape[-3] - 1)
        if self.clouds == "displacements":
            pushed, near = pushed - center.unsqueeze(-2), near - batch["followed"].unsqueeze(-2)
        # A cloud for each start and time.
        model, data = (x[..., 1:, :, :] for x in (pushed, near))
        if self.relative:
            width = size(data, batch)
            model, data = model / width, data / width
        penalty = batch.mean(mmd(model, data, self.widths))
        if self.first:
            penalty = penalty * (near.shape[-3] - 1) / near.shape[-3]
        return trajectory_error(states, batch), self.weight * penalty

    def _pushed(
        self, field: TwiceDifferentiable, batch: Batch, near: Tensor, samples: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Move clouds (E, B, K, D) for some samples; returns the rollouts from the starts for as long as a segment, the
        clouds (E, B, T, K, D), and their centers (E, B, T, D)."""
        followed, segment = batch.lasting(samples), batch.states.shape[-2] - 1
        if self.order is None:
            pushed = followed.rollout(field, start=near).transpose(-2, -3)
            center = batch.lasting(max(samples, segment)).rollout(field)
            return center[..., : segment + 1, :], pushed, center[..., : samples + 1, :]
        center, moved = followed.displaced_rollout(field, near - batch.start.unsqueeze(-2), order=self.order)
        states = center[..., : segment + 1, :] if samples >= segment else batch.continued(field, center)
        return states, center.unsqueeze(-2) + moved, center


def size(clouds: Tensor, batch: Batch) -> Tensor:
    """Compute the root mean square distance of points to the mean of their cloud, over all clouds of a member.

    Arguments:
        clouds: The clouds, with shape (E, B, T, K, D).
        batch: The batch, some of whose starts may have none.

    Returns:
        The sizes, with shape (E, 1, 1, 1, 1).
    """
    squares = (clouds - clouds.mean(-2, keepdim=True)).square().sum(-1)
    return batch.mean(squares, empty=1.0).sqrt().view(-1, 1, 1, 1, 1)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"neighborhood_mmd": NeighborhoodMMD}
