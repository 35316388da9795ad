"""The multilayer perceptron."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.networks.base import Layers, NeuralField


@dataclass(frozen=True)
class MLP(Layers):
    r"""A multilayer perceptron, :math:`f_\theta(y) = W_L \, \sigma(\cdots \sigma(W_1 y + b_1) \cdots) + b_L`.

    Its settings are those of :class:`nearorbit.dynamics.networks.base.Layers`.
    """

    equations: ClassVar[str] = (
        "h = y; for every hidden layer n: h = activation(h @ weights.n[e] + biases.n[e]); last layer without "
        "activation: g(y) = h @ weights.n[e] + biases.n[e]"
    )

    def make(self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates) -> NeuralField:
        """Make an ensemble; see :class:`nearorbit.dynamics.networks.base.Network`."""
        return NeuralField(len(components), seeds, **self.layers)


def entries() -> dict[str, type]:
    """Export the network of this file."""
    return {"mlp": MLP}
