"""Jacobian supervision: the true Jacobian is known along the data."""

from dataclasses import dataclass

from torch import Tensor

from nearorbit.dynamics.fields import Field, jacobian
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error


@dataclass(frozen=True)
class Jacobian(Penalized):
    r"""Fit rollouts, and the network's Jacobian to the true one at the states that they start from.

    .. math:: L = L_\text{baseline} + w \, \big\langle \| J(x_i) - J_\theta(x_i) \|_F^2 / D \big\rangle_i

    in model coordinates, where a Jacobian is per unit of model time. With ``directions`` the two are compared along
    random unit vectors v, drawn anew for every batch, which the network pushes forward in place of all D unit vectors;
    the mean of :math:`|(J - J_\theta) v|^2` over them is :math:`\| J - J_\theta \|_F^2 / D`.

    References:
        | When are dynamical systems learned from time series data statistically accurate? (Park, Yang and
          Chandramoorthy, NeurIPS 2024)
        | Jacobian regularization stabilizes long-term integration of neural differential equations (Janvier, Salomon
          and Meunier, arXiv 2602.04608, 2026), for directions

    Arguments:
        weight: The weight w.
        squared: Whether the Frobenius norm is squared, as in the first reference.
        directions: Along how many random directions Jacobians are compared, at each start; 0 for the whole matrices.
    """

    weight: float = 100.0
    squared: bool = True
    directions: int = 0

    def __post_init__(self):
        check_weight(self.weight)
        if self.directions < 0:
            raise ValueError(f"directions must not be negative, as {self.directions} is")

    @property
    def needs(self) -> frozenset[str]:
        """What it has to be given; see :mod:`nearorbit.training.methods.base`."""
        return frozenset({"jacobians", *["directions"] * (self.directions > 0)})

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        states = batch.rollout(field)
        if self.directions:
            along = batch["directions"]
            wrong = along @ batch["jacobians"].mT - field.push_forward(batch.start, along)[1]
            squares = wrong.square().sum(-1).mean(-1)
        else:
            squares = (batch["jacobians"] - jacobian(field, batch.start)).square().sum((-2, -1)) / field.dimension
        penalty = squares if self.squared else squares.sqrt()
        return trajectory_error(states, batch), self.weight * member_mean(penalty)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"jacobian": Jacobian}
