"""Multilayer perceptrons."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from nearorbit.dynamics.fields import Pairs
from nearorbit.study.seeds import generator

# The last elements of a tensor, which fill no whole (unrolled) vector, go through other code in torch, with another
# rounding of exp. A member's activations fill whole ones, so that it has the same bits in any ensemble.
VECTOR = 32


# An activation at z and its derivatives, as many as are asked for: order -> (h, h', h'')[: order + 1].


def _silu(z: Tensor, order: int) -> tuple[Tensor, ...]:
    if order == 0:
        return (nn.functional.silu(z),)
    s = torch.sigmoid(z)
    h = z * s
    slope = torch.addcmul(s, h, 1 - s)
    return (h, slope) if order == 1 else (h, slope, (1 - s) * (s + slope - h * s))


def _tanh(z: Tensor, order: int) -> tuple[Tensor, ...]:
    h = torch.tanh(z)
    if order == 0:
        return (h,)
    slope = 1 - h * h
    return (h, slope) if order == 1 else (h, slope, -2 * h * slope)


def _gelu(z: Tensor, order: int) -> tuple[Tensor, ...]:
    if order == 0:
        return (nn.functional.gelu(z),)
    mass = 0.5 * (1 + torch.erf(z * 0.5**0.5))
    density = torch.exp(-0.5 * z * z) * (2 * np.pi) ** -0.5
    slope = torch.addcmul(mass, z, density)
    return (z * mass, slope) if order == 1 else (z * mass, slope, density * (2 - z * z))


def _softplus(z: Tensor, order: int) -> tuple[Tensor, ...]:
    h = nn.functional.softplus(z)
    if order == 0:
        return (h,)
    s = torch.sigmoid(z)
    return (h, s) if order == 1 else (h, s, s * (1 - s))


ACTIVATIONS: dict[str, Callable[[Tensor, int], tuple[Tensor, ...]]] = {
    "silu": _silu,
    "tanh": _tanh,
    "gelu": _gelu,
    "softplus": _softplus,
}


class NeuralField(nn.Module):
    r"""An ensemble of multilayer perceptrons, one for each seed, in one stack of weights.

    Each member is :math:`f_\theta(x) = W_L \, \sigma(\cdots \sigma(W_1 x + b_1) \cdots) + b_L`. The E members are
    evaluated together by batched matrix products; member e sees only the states in row e of the leading dimension.
    Tangents are carried through the layers beside the states, so that the hidden activations are computed once. The
    weights are made in float64; ``.to(dtype)`` changes that.

    Arguments:
        dimension: The number of components, D.
        seeds: The seeds of the E members; the initial weights of a member depend on nothing but its seed.
        width: The width of the hidden layers.
        depth: The number of hidden layers.
        activation: The name of the activation, a key of :data:`ACTIVATIONS`.
        outputs: The number of outputs; D, as a field has, if None.
        purpose: What the stream of random numbers for the initial weights is named after.

    Raises:
        ValueError: If there is no such activation, or a size is not positive.
    """

    def __init__(
        self,
        dimension: int,
        seeds: Sequence[int],
        *,
        width: int = 64,
        depth: int = 3,
        activation: str = "silu",
        outputs: int | None = None,
        purpose: str = "weights",
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"network.activation: no '{activation}'; it is one of {', '.join(ACTIVATIONS)}")
        if min(dimension, width, depth, len(seeds)) < 1:
            raise ValueError(f"network: width {width} and depth {depth} must be at least 1, and there must be a seed")
        self.dimension, self.members = dimension, len(seeds)
        self.settings = {"width": width, "depth": depth, "activation": activation}
        self._activation = ACTIVATIONS[activation]
        self._rows = VECTOR // math.gcd(VECTOR, width)
        sizes = [dimension, *[width] * depth, outputs or dimension]
        streams = [generator(purpose, int(seed)) for seed in seeds]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            # Uniform in +- 1 / sqrt(fan_in), as torch.nn.Linear, from a stream that is the same on every device.
            bound = fan_in**-0.5
            self.weights.append(_uniform(streams, bound, (fan_in, fan_out)))
            self.biases.append(_uniform(streams, bound, (1, fan_out)))

    def __getitem__(self, members: slice) -> "NeuralField":
        """Pick members; the weights are copied."""
        chosen = range(self.members)[members]
        part = NeuralField(self.dimension, chosen, **self.settings).to(self.weights[0])
        part.load_state_dict({name: t[members] for name, t in self.state_dict().items()})
        return part

    def _aligned(self, x: Tensor) -> Tensor:
        """Bring states to shape (E, *, D), with zeros appended until a member fills whole vectors."""
        h = x.reshape(self.members, -1, self.dimension)
        missing = -h.shape[1] % self._rows
        return nn.functional.pad(h, (0, 0, 0, missing)) if missing else h

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        # Indexing a ParameterList costs as much as a product of small matrices.
        return list(zip(self.biases._parameters.values(), self.weights._parameters.values(), strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate each member at its own states; see :class:`Field`.

        Arguments:
            x: States in model coordinates, with shape (E, *, D).

        Returns:
            Derivatives in model time, with shape (E, *, D).
        """
        h = self._aligned(x)
        *hidden, last = self._layers()
        for b, w in hidden:
            (h,) = self._activation(torch.baddbmm(b, h, w), 0)
        return self._output(last, h, x.shape)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate each member and push tangents forward through its layers; see :class:`Field`.

        Arguments:
            x: States in model coordinates, with shape (E, *, D).
            v: Tangents, with shape (E, *, K, D).

        Returns:
            f(x) with shape (E, *, D), and J(x) v with shape (E, *, K, D).
        """
        h, tangents = self._aligned(x), v.shape[-2]
        u = v.reshape(self.members, -1, self.dimension)
        states = u.shape[1] // tangents
        *hidden, last = self._layers()
        for b, w in hidden:
            h, slope = self._activation(torch.baddbmm(b, h, w), 1)
            u = torch.bmm(u, w).view(self.members, states, tangents, -1) * slope[:, :states].unsqueeze(2)
            u = u.view(self.members, states * tangents, -1)
        return self._output(last, h, x.shape), torch.bmm(u, last[1]).view(v.shape)

    def push_forward_second(self, x: Tensor, v: Tensor, w: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate each member and push second derivatives through its layers; see :class:`Field`."""
        h, tangents = self._aligned(x), v.shape[-2]
        u = torch.cat([v, w], -2)  # both go through the same products
        shape = self.members, v[..., 0, 0].numel() // self.members, u.shape[-2]
        u = u.reshape(self.members, -1, self.dimension)
        *hidden, last = self._layers()
        for bias, weight in hidden:
            h, slope, curvature = self._activation(torch.baddbmm(bias, h, weight), 2)
            slope, curvature = (t[:, : shape[1]].unsqueeze(2) for t in (slope, curvature))
            first, second = torch.bmm(u, weight).view(*shape, -1).split([tangents, shape[2] - tangents], 2)
            i, j = (first[:, :, index] for index in pairs)
            u = torch.cat([slope * first, slope * second + curvature * (i * j)], 2).flatten(1, 2)
        f, u = self._output(last, h, x.shape), torch.bmm(u, last[1])
        u = u.view(*x.shape[:-1], shape[2], self.dimension)
        return f, u[..., :tangents, :], u[..., tangents:, :]

    def _output(self, layer: tuple[Tensor, Tensor], h: Tensor, shape: torch.Size) -> Tensor:
        bias, weight = layer
        return torch.baddbmm(bias, h, weight)[:, : shape[:-1].numel() // self.members].reshape(
            *shape[:-1], weight.shape[-1]
        )


def _uniform(streams: Sequence[np.random.Generator], bound: float, shape: tuple[int, int]) -> nn.Parameter:
    values = np.stack([stream.uniform(-bound, bound, shape) for stream in streams])
    return nn.Parameter(torch.from_numpy(values))
