"""The autoregressive map: one step from sample to sample, with no integrator in between."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, member_mean


@dataclass(frozen=True)
class Autoregressive:
    r"""Fit the map from one sample to the next.

    .. math:: L = \big\langle |x_{i+1} - g(x_i)|^2 / D \big\rangle_i, \qquad g(x) = x + h f_\theta(x),

    over all samples of the segments, with h the time between the two. The global way to estimate Jacobians from data:
    that of the field is taken for :math:`(\nabla g - I) / h`, which is the network's own. It is off by terms of the
    order of h, and at the true field the loss is about :math:`h^4 |\ddot{x}|^2 / (4 D)`: what is learned is not the
    field but the mean rate over an interval. Like all networks here it is judged as a field.

    References:
        | When are dynamical systems learned from time series data statistically accurate? (Park, Yang and
          Chandramoorthy, NeurIPS 2024), where maps and Neural ODEs are compared
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def loss(self, field: Field, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member; see :class:`nearorbit.training.methods.base.Method`."""
        now, later = batch.states[..., :-1, :], batch.states[..., 1:, :]
        return member_mean((later - now - batch.intervals.unsqueeze(-1) * field(now)).square())


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"autoregressive": Autoregressive}
