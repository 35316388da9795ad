r"""What a network is: an ensemble of them, one for each seed; and the layers that several are made of.

A network of a study is a frozen dataclass of its settings, which makes the ensemble. All parameters and buffers of an
ensemble have the leading dimension E of its members, and member e sees only the states in row e. It evaluates itself;
tangents it may carry through its layers by hand, or else gets from automatic differentiation. By hand the products are
those of a member alone, whose bits no other member changes; automatic differentiation may fold them otherwise.

It is one module since most networks are made of the same perceptrons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from nearorbit.dynamics import kernels
from nearorbit.dynamics.activations import ACTIVATIONS
from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates, Pairs
from nearorbit.study.seeds import generator

# The last elements of a tensor, which fill no whole (unrolled) vector, go through other code in torch, with another
# rounding of exp. A member's activations fill whole ones, so that it has the same bits in any ensemble.
VECTOR = 32


class Network(Protocol):
    """A network of a study: a frozen dataclass whose fields are its settings.

    One that builds upon known equations has another function, ``known(learned) -> dict``: of the line of the system
    that is learned, it makes that of the system whose equations ``make`` is handed, as one argument more.
    """

    equations: ClassVar[str]  # g(y) of member e, in words and formula, for a stranger with the file; y is standardized
    privilege: ClassVar[str]  # what the tables call it if it is given something beyond the data; most have none

    def check(self, components: Sequence[str]) -> None:
        """Refuse systems that it cannot be a field of.

        Arguments:
            components: The names of the components.

        Raises:
            ValueError: If it cannot.
        """
        ...

    def make(self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates) -> Ensemble:
        """Make an ensemble; the initial weights of a member depend on its seed alone.

        Arguments:
            components: The names of the components, D of them.
            seeds: The seeds of the E members.
            coordinates: The change from system units to model coordinates.
        """
        ...


def paired(components: Sequence[str], pairs: Sequence[Sequence[str]] | None) -> tuple[list[int], list[int]]:
    """Find the indices of the first and of the second components of pairs, of positions and what belongs to them.

    Arguments:
        components: The names of the components.
        pairs: The pairs, by names; None pairs the first half of the components with the second.

    Raises:
        ValueError: If not every component is in one pair.
    """
    names, half = list(components), len(components) // 2
    pairs = list(zip(names[:half], names[half:], strict=False)) if pairs is None else [tuple(pair) for pair in pairs]
    if sorted(name for pair in pairs for name in pair) != sorted(names) or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"its components have to be paired, each in one pair; there are {len(names)}, {', '.join(names)}, and the "
            f"pairs {', '.join('/'.join(map(str, pair)) for pair in pairs)}"
        )
    return [names.index(pair[0]) for pair in pairs], [names.index(pair[1]) for pair in pairs]


def check_layers(width: int, depth: int, activation: str) -> None:
    """Refuse hidden layers that there cannot be.

    Raises:
        ValueError: If there is no such activation, or a size is not positive.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"network.activation: no '{activation}'; it is one of {', '.join(ACTIVATIONS)}")
    if min(width, depth) < 1:
        raise ValueError(f"network: width {width} and depth {depth} must be at least 1")


@dataclass(frozen=True)
class Layers:
    """The settings of hidden layers, of which most networks are made.

    Arguments:
        width: The width of the hidden layers.
        depth: The number of hidden layers.
        activation: The activation: silu, tanh, gelu or softplus.
    """

    width: int = 64
    depth: int = 3
    activation: str = "silu"

    def __post_init__(self):
        check_layers(self.width, self.depth, self.activation)

    @property
    def layers(self) -> dict[str, Any]:
        """These settings, as :class:`NeuralField` takes them."""
        return {"width": self.width, "depth": self.depth, "activation": self.activation}

    def check(self, components: Sequence[str]) -> None:
        """Take every system; see :class:`Network`."""


class NeuralField(Ensemble):
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
        activation: The name of the activation, a key of :data:`nearorbit.dynamics.activations.ACTIVATIONS`.
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
        super().__init__(dimension, len(seeds))
        check_layers(width, depth, activation)
        self._activation, self._name = ACTIVATIONS[activation], activation
        self._rows = VECTOR // math.gcd(VECTOR, width)
        sizes = [dimension, *[width] * depth, outputs or dimension]
        streams = [generator(purpose, int(seed)) for seed in seeds]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            # Uniform in +- 1 / sqrt(fan_in), as torch.nn.Linear, from a stream that is the same on every device.
            bound = fan_in**-0.5
            self.weights.append(uniform(streams, bound, (fan_in, fan_out)))
            self.biases.append(uniform(streams, bound, (1, fan_out)))

    def _aligned(self, x: Tensor) -> Tensor:
        """Bring states to shape (E, *, D), with zeros appended until a member fills whole vectors."""
        h = x.reshape(self.members, -1, self.dimension)
        missing = -h.shape[1] % self._rows
        return nn.functional.pad(h, (0, 0, 0, missing)) if missing else h

    def _parameters_of_layers(self) -> list[list[Tensor]]:
        # Indexing a ParameterList costs as much as a product of small matrices.
        return [list(cast("dict[str, Tensor]", p._parameters).values()) for p in (self.weights, self.biases)]

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        weights, biases = self._parameters_of_layers()
        return list(zip(biases, weights, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate each member at its own states; see :class:`Field`.

        Arguments:
            x: States in model coordinates, with shape (E, *, D).

        Returns:
            Derivatives in model time, with shape (E, *, D).
        """
        (f,) = self._push(x.reshape(self.members, -1, self.dimension), None)
        return f.view(*x.shape[:-1], f.shape[-1])

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate each member and push tangents forward through its layers; see :class:`Field`.

        Arguments:
            x: States in model coordinates, with shape (E, *, D).
            v: Tangents, with shape (E, *, K, D).

        Returns:
            f(x) with shape (E, *, D), and J(x) v with shape (E, *, K, D).
        """
        states = x.reshape(self.members, -1, self.dimension)
        f, action = self._push(states, v.reshape(*states.shape[:2], *v.shape[-2:]))
        return f.view(*x.shape[:-1], f.shape[-1]), action.view(*v.shape[:-1], f.shape[-1])

    @property
    def perceptrons(self) -> kernels.Perceptrons | None:
        """What the kernels evaluate; None if it is something else."""
        weights, biases = self._parameters_of_layers()
        return kernels.Perceptrons(self._name, weights, biases, self._plain)

    def push_forward_second(self, x: Tensor, v: Tensor, w: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate each member and push second derivatives through its layers; see :class:`TwiceDifferentiable`."""
        states, u = x.reshape(self.members, -1, self.dimension), torch.cat([v, w], -2)  # both go through alike
        f, moved = self._push(states, u.reshape(*states.shape[:2], *u.shape[-2:]), pairs)
        action, second = moved.view(*u.shape[:-1], f.shape[-1]).split([v.shape[-2], w.shape[-2]], -2)
        return f.view(*x.shape[:-1], f.shape[-1]), action, second

    def _push(self, x: Tensor, u: Tensor | None, pairs: Pairs | None = None) -> tuple[Tensor, ...]:
        """Evaluate members at states (E, N, D), and push tangents (E, N, K, D) if there are any.

        With pairs the last tangents are second derivatives along these of the others.
        """
        if (net := self.perceptrons) is not None and kernels.usable(net, x):
            return kernels.push(net, x, u, pairs)
        weights, biases = self._parameters_of_layers()
        return self._plain(x, u, weights, biases, pairs)

    def _plain(
        self,
        x: Tensor,
        u: Tensor | None,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        pairs: Pairs | None = None,
    ) -> tuple[Tensor, ...]:
        """Do the same by operations of torch."""
        h, states = self._aligned(x), x.shape[1]
        *hidden, (b, w) = zip(biases, weights, strict=True)
        if u is None:
            for bias, weight in hidden:
                (h,) = self._activation(torch.baddbmm(bias, h, weight), 0)
            return (torch.baddbmm(b, h, w)[:, :states],)
        shape = *u.shape[:3], -1
        for bias, weight in hidden:
            h, slope, *curvature = self._activation(torch.baddbmm(bias, h, weight), 1 if pairs is None else 2)
            before = torch.bmm(u.flatten(1, 2), weight).view(shape)
            u = before * slope[:, :states].unsqueeze(2)
            if pairs is not None:
                i, j = (before[:, :, index] for index in pairs)
                first, second = u.split([shape[2] - i.shape[2], i.shape[2]], 2)
                u = torch.cat([first, second + curvature[0][:, :states].unsqueeze(2) * (i * j)], 2)
        return torch.baddbmm(b, h, w)[:, :states], torch.bmm(u.flatten(1, 2), w).view(shape)

    def gradient(self, x: Tensor) -> Tensor:
        """Compute the gradient of a scalar, that is of networks with one output, at states with shape (E, *, D)."""
        return self._gradient(x, 1)[0]

    def hessian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradient of a scalar and its Hessian; returns shapes (E, *, D) and (E, *, D, D)."""
        return self._gradient(x, 2)

    def _gradient(self, x: Tensor, order: int) -> tuple[Tensor, Tensor]:
        """Go back through the layers, for the gradient; at order 2 with the D unit tangents beside, for the Hessian."""
        h, count, D = self._aligned(x), x.shape[:-1].numel() // self.members, self.dimension
        u = torch.eye(D, dtype=x.dtype, device=x.device).repeat(self.members, count, 1) if order == 2 else h
        *hidden, (_, last) = self._layers()
        passed, spread = [], lambda s: s[:, :count].unsqueeze(2).expand(-1, -1, D, -1).flatten(1, 2)
        for b, w in hidden:
            h, *slopes = self._activation(torch.baddbmm(b, h, w), order)
            if order == 2:
                u = torch.bmm(u, w)
                slopes = [slopes[0], spread(slopes[0]), spread(slopes[1]) * u]
                u = u * slopes[1]
            passed.append(slopes)
        g, rows = last.mT.expand(-1, h.shape[1], -1), last.new_zeros(())
        for (_, w), slopes in zip(reversed(hidden), reversed(passed), strict=True):
            if order == 2:
                rows = torch.bmm(rows * slopes[1] + spread(g) * slopes[2], w.mT)
            g = torch.bmm(g * slopes[0], w.mT)
        return g[:, :count].reshape(x.shape), rows.reshape(*x.shape, D) if order == 2 else rows

    def _output(self, layer: tuple[Tensor, Tensor], h: Tensor, shape: torch.Size) -> Tensor:
        (bias, weight), states = layer, shape[:-1].numel() // self.members
        return torch.baddbmm(bias, h, weight)[:, :states].reshape(*shape[:-1], weight.shape[-1])


def uniform(streams: Sequence[np.random.Generator], bound: float, shape: tuple[int, int]) -> nn.Parameter:
    """Draw the parameters of all members, uniform in +- a bound, each from its own stream; shape (E, *shape)."""
    return nn.Parameter(torch.from_numpy(np.stack([stream.uniform(-bound, bound, shape) for stream in streams])))
