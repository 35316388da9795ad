"""Jacobian supervision: the true Jacobian is known along the data."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field, jacobian
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error


@dataclass(frozen=True)
class Jacobian(Penalized):
    r"""Fit rollouts, and the network's Jacobian to the true one at the states that they start from.

    .. math:: L = L_\text{baseline} + w \, \big\langle \| J(x_i) - J_\theta(x_i) \|_F^2 / D \big\rangle_i

    in model coordinates, where a Jacobian is per unit of model time.

    References:
        | When are dynamical systems learned from time series data statistically accurate? (Park, Yang and
          Chandramoorthy, NeurIPS 2024)

    Arguments:
        weight: The weight w.
        squared: Whether the Frobenius norm is squared, as in the reference.
    """

    weight: float = 100.0
    squared: bool = True
    needs: ClassVar[frozenset[str]] = frozenset({"jacobians"})

    def __post_init__(self):
        check_weight(self.weight)

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        states = batch.rollout(field)
        squares = (batch["jacobians"] - jacobian(field, batch.start)).square().sum((-2, -1)) / field.dimension
        penalty = squares if self.squared else squares.sqrt()
        return trajectory_error(states, batch), self.weight * member_mean(penalty)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"jacobian": Jacobian}
