"""Hamiltonian networks: fields that conserve a learned energy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.networks.base import Layers, NeuralField, paired


class HamiltonianField(Ensemble):
    """Networks with one output, the energy, whose gradient is turned.

    Arguments:
        energy: The networks of the energy.
        symplectic: The matrices S, with shape (E, D, D).
    """

    symplectic: Tensor

    def __init__(self, energy: NeuralField, symplectic: Tensor):
        super().__init__(energy.dimension, energy.members)
        self.energy = energy
        self.register_buffer("symplectic", symplectic)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate each member at its own states; see :class:`nearorbit.dynamics.fields.Field`."""
        gradient = self.energy.gradient(x).reshape(self.members, -1, self.dimension)
        return torch.bmm(gradient, self.symplectic.mT).view(x.shape)


@dataclass(frozen=True)
class Hamiltonian(Layers):
    r"""A field that conserves a learned energy, :math:`\dot{y} = S \nabla H_\theta(y)`.

    Components are paired, a position q with its momentum p: :math:`\dot{q} = \partial H / \partial p`,
    :math:`\dot{p} = -\partial H / \partial q` in system units. In model coordinates S carries the scales of a pair,
    :math:`1 / (r s_q s_p)`, relative to their geometric mean over the pairs.

    References:
        | Hamiltonian neural networks (Greydanus, Dzamba and Yosinski, NeurIPS 2019)

    Arguments:
        pairs: The pairs, as names of components: ``[[x, px], [y, py]]``; None pairs the first half with the second.
    """

    pairs: Sequence[Sequence[str]] | None = None
    equations: ClassVar[str] = (
        "h = y; for every hidden layer n: h = activation(h @ energy.weights.n[e] + energy.biases.n[e]); last layer "
        "without activation: H(y) = h @ energy.weights.n[e] + energy.biases.n[e]; g(y) = symplectic[e] @ grad H(y)"
    )

    def check(self, components: Sequence[str]) -> None:
        """Refuse components that are not paired; see :class:`nearorbit.dynamics.networks.base.Network`."""
        paired(components, self.pairs)

    def make(self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates) -> HamiltonianField:
        """Make an ensemble; see :class:`nearorbit.dynamics.networks.base.Network`."""
        q, p = paired(components, self.pairs)
        strength = 1 / (coordinates.scale[:, q] * coordinates.scale[:, p])
        strength = strength / strength.log().mean(1, keepdim=True).exp()
        symplectic = torch.zeros(len(seeds), len(components), len(components), dtype=strength.dtype)
        symplectic[:, q, p], symplectic[:, p, q] = strength, -strength
        return HamiltonianField(NeuralField(len(components), seeds, **self.layers, outputs=1), symplectic)


def entries() -> dict[str, type]:
    """Export the network of this file."""
    return {"hamiltonian": Hamiltonian}
