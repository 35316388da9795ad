"""Propagator supervision: where the truth takes infinitesimal displacements is known along the data."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error

REACHES = "segment", "sample"


@dataclass(frozen=True)
class Propagator(Penalized):
    r"""Fit rollouts, and the network's fundamental matrices to the true ones.

    .. math::
        L = L_\text{baseline} + w \, \Big\langle \frac{\| M_k(x_i) - M_{\theta,k}(x_i) \|_F^2}{D (k h)^2}
            \Big\rangle_{i, k>0}, \qquad M_k = M(x_{i+k-1}) \cdots M(x_{i+1}) \, M(x_i)

    with h the sample interval, :math:`M(x)` the true fundamental matrix over one sample from the state x, and
    :math:`M_{\theta,k}(x_i)` the network's over k samples along its rollout from :math:`x_i`. Divided by the time k h,
    a difference of such matrices is one of Jacobians per unit of model time, on the scale of ``jacobian``.

    A neighbor shows where one displacement goes; this is told of all of them, without noise and without curvature: the
    bound of what can be learned from pairs of samples. Each M is that at the *observed* state, as the true Jacobian is
    for ``jacobian``; where there is noise, :math:`M_k` therefore is not the fundamental matrix of any one orbit.

    References:
        | Watch your neighbors: Training statistically accurate chaotic systems with local phase space information (Ko,
          Giraldo and Lee, arXiv 2605.14405, 2026), where it is a baseline

    Arguments:
        weight: The weight w; the default is from a short trial on Lorenz and Rossler.
        over: How far: to every sample of the ``segment``, or over one ``sample`` alone, k = 1.
    """

    weight: float = 100.0
    over: str = "segment"
    needs: ClassVar[frozenset[str]] = frozenset({"propagators"})

    def __post_init__(self):
        check_weight(self.weight)
        if self.over not in REACHES:
            raise ValueError(f"over is one of {', '.join(REACHES)}, not '{self.over}'")

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        maps = batch["propagators"]
        if self.over == "sample":
            states = batch.rollout(field)
            true, learned = (
                maps[..., :1, :, :],
                batch.tangent_step(field, batch.start, batch.intervals[..., 0])[1].unsqueeze(-3),
            )
        else:
            states, columns = batch.tangent_rollout(field)
            true, learned = products(maps), columns[..., 1:, :, :].mT
        time = batch.times[..., 1 : 1 + true.shape[-3], None, None]
        squares = ((true - learned) / time).square().sum((-2, -1)) / field.dimension
        return trajectory_error(states, batch), self.weight * member_mean(squares)


def products(maps: Tensor) -> Tensor:
    """Multiply maps from sample to sample, (*, T, D, D), to those from the first one on; returns the same shape."""
    rows = [maps[..., 0, :, :]]
    for M in maps[..., 1:, :, :].unbind(-3):
        rows.append(M @ rows[-1])
    return torch.stack(rows, -3)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"propagator": Propagator}
