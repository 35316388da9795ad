"""Jacobian supervision off the data: the true Jacobian is known wherever one asks for it."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field, jacobian
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error


@dataclass(frozen=True)
class RandomJacobian(Penalized):
    r"""Fit rollouts, and the network's Jacobian to the true one at states perturbed at random.

    .. math:: L = L_\text{baseline} + w \, \big\langle \| J(x_i + \xi_i) - J_\theta(x_i + \xi_i) \|_F^2 / D
        \big\rangle_i, \qquad \xi_i \sim N(0, \sigma^2)

    in model coordinates. The :math:`\xi_i`, one for every observed state, are drawn beforehand with
    :math:`\sigma = 0.5` as in the reference, in units of each component's deviation in the data
    (``PERTURBATION`` in :mod:`nearorbit.truth.simulation`). The perturbed states lie all around the attractor, where
    data never go: what is given here is the equations.

    References:
        | Learning chaotic dynamics through second-order geometric supervision (Kang, Nguyen and Bui-Thanh, arXiv
          2606.01596, 2026)

    Arguments:
        weight: The weight w.
    """

    weight: float = 10.0
    needs: ClassVar[frozenset[str]] = frozenset({"perturbed"})

    def __post_init__(self):
        check_weight(self.weight)

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        states, jacobians = batch["perturbed"]
        squares = (jacobians - jacobian(field, states)).square().sum((-2, -1))
        penalty = member_mean(squares) / field.dimension
        return trajectory_error(batch.rollout(field), batch), self.weight * penalty


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"random_jacobian": RandomJacobian}
