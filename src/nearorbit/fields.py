r"""Fields: the right-hand side :math:`\dot{x} = f(x)`, of the truth and of a network alike.

A field evaluates itself and pushes tangents forward, :math:`(x, v) \mapsto (f(x), J(x) v)`. Everything downstream
(rollouts, tangent dynamics, Jacobians, exponents) is written once against these two and judges truth and model.
"""

import json
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor, nn

from nearorbit.catalogue import StudyError
from nearorbit.files import remedy
from nearorbit.seeds import generator
from nearorbit.systems.base import System

# The last elements of a tensor, which fill no whole (unrolled) vector, go through other code in torch, with another
# rounding of exp. A member's activations fill whole ones, so that it has the same bits in any ensemble.
VECTOR = 32
Pairs = tuple[Tensor, Tensor]  # indices i and j of pairs of tangents


class Field(Protocol):
    """An autonomous vector field on torch."""

    dimension: int

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the field at states with shape (*, D); returns the same shape."""
        ...

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the field and the action of its Jacobian on tangents.

        Arguments:
            x: States, with shape (*, D).
            v: Tangents, with shape (*, K, D).

        Returns:
            f(x) with shape (*, D), and J(x) v with shape (*, K, D).
        """
        ...

    def push_forward_second(self, x: Tensor, v: Tensor, w: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the field, the action of its Jacobian J, and that of its second derivative H.

        Arguments:
            x: States, with shape (*, D).
            v: Tangents, with shape (*, K, D).
            w: Second derivatives of the states along pairs of tangents, with shape (*, P, D).
            pairs: The indices i and j of the pairs, two tensors with shape (P,).

        Returns:
            f(x) with shape (*, D), J(x) v with shape (*, K, D), and J(x) w + H(x)[v_i, v_j] with shape (*, P, D).
        """
        ...


def jacobian(field: Field, x: Tensor) -> Tensor:
    """Compute the Jacobian J[i, j] = d f_i / d x_j of a field.

    Arguments:
        field: The field.
        x: States, with shape (*, D).

    Returns:
        The Jacobians, with shape (*, D, D).
    """
    _, columns = field.push_forward(x, identity(x))
    return columns.mT


def identity(x: Tensor) -> Tensor:
    """Make the D unit tangents at states with shape (*, D); returns shape (*, D, D)."""
    dimension = x.shape[-1]
    return torch.eye(dimension, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], dimension, dimension)


@dataclass(frozen=True)
class TrueField:
    """The equations of a true system, in system units.

    Arguments:
        system: The system.
    """

    system: System

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        return self.system.dimension

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the field; see :class:`Field`."""
        return self.system(x, torch)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward by automatic differentiation; see :class:`Field`."""
        f, action = torch.func.vmap(lambda t: torch.func.jvp(self, (x,), (t,)), in_dims=-2, out_dims=(0, -2))(v)
        return f[0], action

    def push_forward_second(self, x: Tensor, v: Tensor, w: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Push second derivatives forward by automatic differentiation; see :class:`Field`."""

        def second(vi: Tensor, vj: Tensor) -> Tensor:
            return torch.func.jvp(lambda y: torch.func.jvp(self, (y,), (vi,))[1], (x,), (vj,))[1]

        (f, action), along = self.push_forward(x, v), self.push_forward(x, w)[1]
        i, j = (v[..., index, :] for index in pairs)
        return f, action, along + torch.func.vmap(second, in_dims=-2, out_dims=-2)(i, j)


@dataclass(frozen=True)
class CompiledField:
    """A field that compiled code evaluates, on NumPy: many times faster than :class:`TrueField`, and without gradients.

    Arguments:
        evaluate: A function of states, (*, D) -> f (*, D) and J (*, D, D).
        dimension: The number of components, D.
    """

    evaluate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    dimension: int

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the field; see :class:`Field`."""
        return torch.from_numpy(self.evaluate(x.cpu().numpy())[0]).to(x)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward; see :class:`Field`."""
        f, J = (torch.from_numpy(values).to(x) for values in self.evaluate(x.cpu().numpy()))
        return f, v @ J.mT


@dataclass(frozen=True)
class Coordinates:
    r"""A change of coordinates :math:`y = (x - m) / s` and of time :math:`\tau = r t`.

    Arguments:
        mean: The shift m, with shape (D,), or (E, D) with one change for each member of an ensemble.
        scale: The scale s, likewise.
        rate: The rate r, with shape (1,) or (E, 1).
    """

    mean: Tensor
    scale: Tensor
    rate: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Transform states x, with shape (*, D) or (E, *, D), to y."""
        return (x - aligned(self.mean, x)) / aligned(self.scale, x)

    def undo(self, y: Tensor) -> Tensor:
        """Transform states y back to x."""
        return aligned(self.mean, y) + aligned(self.scale, y) * y

    def __getitem__(self, members: slice) -> "Coordinates":
        """Pick members of an ensemble."""
        return Coordinates(*(t[members] for t in (self.mean, self.scale, self.rate)))

    @property
    def inverse(self) -> "Coordinates":
        """The change back."""
        return Coordinates(-self.mean / self.scale, 1 / self.scale, 1 / self.rate)

    def to(self, *args, **kwargs) -> "Coordinates":
        """Move to a device or change the precision, as :meth:`torch.Tensor.to` does."""
        return Coordinates(*(t.to(*args, **kwargs) for t in (self.mean, self.scale, self.rate)))


def aligned(values: Tensor, x: Tensor) -> Tensor:
    """Give values with shape (D,) or (E, D) the dimensions that broadcast them against x, with shape (E, *, D)."""
    return values.view(*values.shape[:-1], *[1] * (x.dim() - values.dim()), values.shape[-1])


@dataclass(frozen=True)
class Transformed:
    r"""A field :math:`f` seen in other coordinates, :math:`dy / d\tau = f(m + s y) / (r s)`.

    Arguments:
        field: The field, in the coordinates x.
        coordinates: The change from x to y.
    """

    field: Field
    coordinates: Coordinates

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        return self.field.dimension

    def single(self) -> "Transformed":
        """The same in single precision, twice as fast, if it is a network; compiled equations stay what they are."""
        if not isinstance(self.field, nn.Module):
            return self
        return Transformed(deepcopy(self.field).float(), self.coordinates.to(torch.float32))

    def __call__(self, y: Tensor) -> Tensor:
        """Evaluate the field; see :class:`Field`."""
        c = self.coordinates
        return self.field(c.undo(y)) / aligned(c.rate * c.scale, y)

    def push_forward(self, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward; see :class:`Field`."""
        c = self.coordinates
        f, action = self.field.push_forward(c.undo(y), aligned(c.scale, v) * v)
        speed = c.rate * c.scale
        return f / aligned(speed, f), action / aligned(speed, action)

    def push_forward_second(self, y: Tensor, v: Tensor, w: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Push second derivatives forward; see :class:`Field`."""
        c = self.coordinates
        scaled = (aligned(c.scale, t) * t for t in (v, w))
        pushed = self.field.push_forward_second(c.undo(y), *scaled, pairs)
        return tuple(t / aligned(c.rate * c.scale, t) for t in pushed)


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


def in_place_of_a_model(evaluate: Callable, dimension: int) -> Transformed:
    """See compiled equations as :func:`load` gives a model; for the arguments see :class:`CompiledField`."""
    same = Coordinates(*(torch.tensor([value], dtype=torch.float64) for value in (0.0, 1.0, 1.0)))
    return Transformed(CompiledField(evaluate, dimension), same)


# What a stranger has to know to evaluate a saved model without this package; e is the member.
EQUATIONS = (
    "y = (x - coordinates.mean[e]) / coordinates.scale[e]; h = y; for every hidden layer n: h = activation(h @ "
    "weights.n[e] + biases.n[e]); last layer without activation; dx/dt = coordinates.rate[e] * coordinates.scale[e] "
    "* h, x and t in system units"
)


def save(path: Path, field: NeuralField, coordinates: Coordinates, **metadata: str) -> None:
    """Write an ensemble and its coordinates to a safetensors file, the same to the byte each time.

    Arguments:
        path: The file.
        field: The ensemble, in model coordinates.
        coordinates: The change from system units to model coordinates.
        metadata: What else the header of the file should say.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in field.state_dict().items()}
    tensors |= {f"coordinates.{name}": t.cpu().contiguous() for name, t in vars(coordinates).items()}
    header = {"network": json.dumps(field.settings), "equations": EQUATIONS, **metadata}
    path.write_bytes(_ordered(serialized(tensors, header)))


def _ordered(content: bytes) -> bytes:
    """Bring the header of a safetensors file into order; its writer leaves the order of the keys to chance."""
    begin = 8 + int.from_bytes(content[:8], "little")  # of the numbers, behind the header and its length
    header = json.dumps(json.loads(content[8:begin]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # numbers are aligned
    return len(header).to_bytes(8, "little") + header + content[begin:]


def load(path: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float64) -> Transformed:
    """Read a trained ensemble as a field in system units.

    Arguments:
        path: A ``model.safetensors`` that a training left.
        device: The device to load it to.
        dtype: The precision to evaluate it in.

    Returns:
        The field: it maps states with shape (E, *, D), a row for each seed, to their time derivatives, both in system
        units; ``.field`` is the :class:`NeuralField` in model coordinates.

    Raises:
        StudyError: If it is not there, not whole, or not a model that :func:`save` wrote.
    """
    try:
        with safe_open(path, framework="pt", device=device) as file:
            tensors = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; make it with the stage train, or with snakemake") from None
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{path}: not a whole safetensors file ({error}); {remedy(path, 'training')}") from error
    try:
        coordinates = Coordinates(*(tensors.pop(f"coordinates.{name}") for name in ("mean", "scale", "rate")))
        members, dimension = coordinates.mean.shape
        field = NeuralField(dimension, range(members), **json.loads(header["network"])).to(device, dtype)
        field.load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise StudyError(f"{path}: not a model that nearorbit wrote ({error}); {remedy(path, 'training')}") from error
    return Transformed(field.requires_grad_(False), coordinates.inverse)
