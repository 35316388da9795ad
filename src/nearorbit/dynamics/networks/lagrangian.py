"""Lagrangian networks: fields that follow from a learned Lagrangian."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.networks.base import Layers, NeuralField, paired


class LagrangianField(Ensemble):
    """Networks with one output, a Lagrangian, and the equations of Euler and Lagrange.

    Arguments:
        lagrangian: The networks.
        q: The indices of the positions.
        v: The indices of their velocities.
        rate: The change of a position per unit of model time and of its velocity, a, with shape (E, n).
        drift: That at a standardized velocity of zero, b, with shape (E, n).
    """

    rate: Tensor
    drift: Tensor
    _q: Tensor
    _v: Tensor
    _back: Tensor

    def __init__(self, lagrangian: NeuralField, q: Sequence[int], v: Sequence[int], rate: Tensor, drift: Tensor):
        super().__init__(lagrangian.dimension, lagrangian.members)
        self.lagrangian = lagrangian
        order = [*q, *v]
        for name, indices in (("_q", q), ("_v", v), ("_back", [order.index(i) for i in range(self.dimension)])):
            self.place(name, indices)
        self.register_buffer("rate", rate)
        self.register_buffer("drift", drift)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate each member at its own states; see :class:`nearorbit.dynamics.fields.Field`."""
        y = x.reshape(self.members, -1, self.dimension)
        rate, drift = self.rate.unsqueeze(1), self.drift.unsqueeze(1)
        q, v, back = self._q[0], self._v[0], self._back[0]
        moved = rate * y[..., v] + drift
        gradient, hessian = self.lagrangian.hessian(y)
        rows = hessian[..., v, :] / rate.unsqueeze(-1)
        mass = rows[..., v] / rate.unsqueeze(-2) + torch.eye(len(q), dtype=y.dtype, device=y.device)
        force = gradient[..., q] - (rows[..., q] * moved.unsqueeze(-2)).sum(-1)
        faster = torch.linalg.solve_ex(mass, force.unsqueeze(-1))[0].squeeze(-1) / rate
        return torch.cat([moved, faster], -1)[..., back].view(x.shape)


@dataclass(frozen=True)
class Lagrangian(Layers):
    r"""A field that follows from a learned Lagrangian; half of the components are the velocities of the others.

    .. math::
        \dot{q} = \eta, \qquad
        \frac{\partial^2 L}{\partial \eta^2} \, \dot{\eta} = \frac{\partial L}{\partial q}
            - \frac{\partial^2 L}{\partial \eta \, \partial q} \, \eta, \qquad
        L = L_\theta(y) + \tfrac12 |\eta|^2

    in standardized positions and model time. That a velocity is the change of its position in system units is exact.

    References:
        | Lagrangian neural networks (Cranmer, Greydanus, Hoyer, Battaglia, Spergel and Ho, 2020)

    Arguments:
        pairs: The pairs of a position and its velocity, as names of components: ``[[x, vx], [y, vy]]``; None pairs the
            first half with the second.
    """

    pairs: Sequence[Sequence[str]] | None = None
    equations: ClassVar[str] = (
        "of the components, names in the order of the file, those of the pairs are positions q and velocities v; "
        "eta = rate[e] * y_v + drift[e]; h = y; for every hidden layer n: h = activation(h @ lagrangian.weights.n[e] + "
        "lagrangian.biases.n[e]); last layer without activation: L0(y) = h @ lagrangian.weights.n[e] + "
        "lagrangian.biases.n[e]; L = L0 + |eta|^2 / 2, a function of y_q and eta; a = (d2L/deta2)^-1 (dL/dq - "
        "d2L/detadq eta); g(y) is eta for the positions and a / rate[e] for the velocities"
    )

    def check(self, components: Sequence[str]) -> None:
        """Refuse components that are not paired; see :class:`nearorbit.dynamics.networks.base.Network`."""
        paired(components, self.pairs)

    def make(self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates) -> LagrangianField:
        """Make an ensemble; see :class:`nearorbit.dynamics.networks.base.Network`."""
        q, v = paired(components, self.pairs)
        unit = 1 / (coordinates.scale[:, q] * coordinates.rate)
        network = NeuralField(len(components), seeds, **self.layers, outputs=1)
        return LagrangianField(network, q, v, unit * coordinates.scale[:, v], unit * coordinates.mean[:, v])


def entries() -> dict[str, type]:
    """Export the network of this file."""
    return {"lagrangian": Lagrangian}
