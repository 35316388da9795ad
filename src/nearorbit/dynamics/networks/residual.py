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

    perceptrons = None  # kernels know no residual layers

    def _plain(
        self,
        x: Tensor,
        u: Tensor | None,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        pairs: Pairs | None = None,
    ) -> tuple[Tensor, ...]:
        assert pairs is None
        h, states, shape = self._aligned(x), x.shape[1], (0,) if u is None else (*u.shape[:3], -1)
        (first, *hidden, (b, w)), moved = zip(biases, weights, strict=True), u

        def through(layer: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
            value, *slope = self._activation(torch.baddbmm(layer[0], h, layer[1]), int(moved is not None))
            if moved is None:
                return value, None
            return value, torch.bmm(moved.flatten(1, 2), layer[1]).view(shape) * slope[0][:, :states].unsqueeze(2)

        h, moved = through(first)
        for layer in hidden:
            value, further = through(layer)
            h, moved = h + value, None if moved is None or further is None else moved + further
        f = torch.baddbmm(b, h, w)[:, :states]
        return (f,) if moved is None else (f, torch.bmm(moved.flatten(1, 2), w).view(shape))

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
