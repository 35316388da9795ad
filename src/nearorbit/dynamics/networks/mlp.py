"""The multilayer perceptron."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.networks.base import NeuralField, check_layers


@dataclass(frozen=True)
class MLP:
    r"""A multilayer perceptron, :math:`f_\theta(y) = W_L \, \sigma(\cdots \sigma(W_1 y + b_1) \cdots) + b_L`.

    Arguments:
        width: The width of the hidden layers.
        depth: The number of hidden layers.
        activation: The activation: silu, tanh, gelu or softplus.
    """

    width: int = 64
    depth: int = 3
    activation: str = "silu"
    equations: ClassVar[str] = (
        "h = y; for every hidden layer n: h = activation(h @ weights.n[e] + biases.n[e]); last layer without "
        "activation: g(y) = h @ weights.n[e] + biases.n[e]"
    )

    def __post_init__(self):
        check_layers(self.width, self.depth, self.activation)

    def check(self, components: Sequence[str]) -> None:
        """Take every system; see :class:`nearorbit.dynamics.networks.base.Network`."""

    def make(self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates) -> NeuralField:
        """Make an ensemble; see :class:`nearorbit.dynamics.networks.base.Network`."""
        return NeuralField(len(components), seeds, width=self.width, depth=self.depth, activation=self.activation)


def entries() -> dict[str, type]:
    """Export the network of this file."""
    return {"mlp": MLP}
