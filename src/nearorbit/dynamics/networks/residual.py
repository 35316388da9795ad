"""Residual networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.fields import Coordinates, Pairs
from nearorbit.dynamics.networks.base import Layers, NeuralField


class ResidualField(NeuralField):
    """Networks whose hidden layers after the first are added to what they see; for the arguments see its base."""

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate each member at its own states; see :class:`nearorbit.dynamics.fields.Field`."""
        h = self._aligned(x)
        (b, w), *hidden, last = self._layers()
        (h,) = self._activation(torch.baddbmm(b, h, w), 0)
        for b, w in hidden:
            h = h + self._activation(torch.baddbmm(b, h, w), 0)[0]
        return self._output(last, h, x.shape)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward through the layers; see :class:`nearorbit.dynamics.fields.Field`."""
        h, tangents = self._aligned(x), v.shape[-2]
        u = v.reshape(self.members, -1, self.dimension)
        states = u.shape[1] // tangents

        def through(layer: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            value, slope = self._activation(torch.baddbmm(layer[0], h, layer[1]), 1)
            moved = torch.bmm(u, layer[1]).view(self.members, states, tangents, -1)
            return value, (moved * slope[:, :states].unsqueeze(2)).flatten(1, 2)

        first, *hidden, last = self._layers()
        h, u = through(first)
        for layer in hidden:
            value, moved = through(layer)
            h, u = h + value, u + moved
        return self._output(last, h, x.shape), torch.bmm(u, last[1]).view(v.shape)

    def push_forward_second(self, x: Tensor, v: Tensor, w: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Push them by automatic differentiation; see :class:`nearorbit.dynamics.fields.TwiceDifferentiable`."""
        return super(NeuralField, self).push_forward_second(x, v, w, pairs)


@dataclass(frozen=True)
class Residual(Layers):
    r"""A residual network, :math:`h_1 = \sigma(W_1 y + b_1)`, :math:`h_{n+1} = h_n + \sigma(W_{n+1} h_n + b_{n+1})`.

    References:
        | Deep residual learning for image recognition (He, Zhang, Ren and Sun, CVPR 2016)

    Its settings are those of :class:`nearorbit.dynamics.networks.base.Layers`.
    """

    equations: ClassVar[str] = (
        "h = activation(y @ weights.0[e] + biases.0[e]); for every further hidden layer n: h = h + activation(h @ "
        "weights.n[e] + biases.n[e]); last layer without activation: g(y) = h @ weights.n[e] + biases.n[e]"
    )

    def make(self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates) -> ResidualField:
        """Make an ensemble; see :class:`nearorbit.dynamics.networks.base.Network`."""
        return ResidualField(len(components), seeds, **self.layers)


def entries() -> dict[str, type]:
    """Export the network of this file."""
    return {"residual": Residual}
