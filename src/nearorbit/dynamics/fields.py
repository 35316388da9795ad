r"""Fields: the right-hand side :math:`\dot{x} = f(x)`, of the truth and of a network alike.

A field evaluates itself and pushes tangents forward, :math:`(x, v) \mapsto (f(x), J(x) v)`. Everything downstream
(rollouts, tangent dynamics, Jacobians, exponents) is written once against these two and judges truth and model.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Pairs = tuple[Tensor, Tensor]  # indices i and j of pairs of tangents
F = TypeVar("F", bound="Field", covariant=True)  # what is seen in other coordinates


class Equations(Protocol):
    """The equations of a system, which any array namespace can evaluate."""

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        ...

    def __call__(self, x: Any, namespace: Any, /) -> Any:
        """Evaluate the field at states with shape (*, D); returns the same shape."""
        ...


class Field(Protocol):
    """An autonomous vector field on torch."""

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        ...

    def __call__(self, x: Tensor, /) -> Tensor:
        """Evaluate the field at states with shape (*, D); returns the same shape."""
        ...

    def push_forward(self, x: Tensor, v: Tensor, /) -> tuple[Tensor, Tensor]:
        """Evaluate the field and the action of its Jacobian on tangents.

        Arguments:
            x: States, with shape (*, D).
            v: Tangents, with shape (*, K, D).

        Returns:
            f(x) with shape (*, D), and J(x) v with shape (*, K, D).
        """
        ...


class TwiceDifferentiable(Field, Protocol):
    """A field that pushes second derivatives forward, too."""

    def push_forward_second(self, x: Tensor, v: Tensor, w: Tensor, pairs: Pairs, /) -> tuple[Tensor, Tensor, Tensor]:
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


class Differentiated:
    """What evaluates itself, and gets its tangents from automatic differentiation."""

    __call__: Callable[..., Tensor]

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward by automatic differentiation; see :class:`Field`."""
        pushed = torch.func.vmap(lambda t: torch.func.jvp(self, (x,), (t,)), in_dims=-2, out_dims=(0, -2))(v)
        return pushed[0][0], pushed[1]

    def push_forward_second(self, x: Tensor, v: Tensor, w: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Push second derivatives forward by automatic differentiation; see :class:`TwiceDifferentiable`."""

        def second(vi: Tensor, vj: Tensor) -> Tensor:
            return torch.func.jvp(lambda y: torch.func.jvp(self, (y,), (vi,))[1], (x,), (vj,))[1]

        (f, action), along = self.push_forward(x, v), self.push_forward(x, w)[1]
        i, j = (v[..., index, :] for index in pairs)
        return f, action, along + torch.func.vmap(second, in_dims=-2, out_dims=-2)(i, j)


@dataclass(frozen=True)
class TrueField(Differentiated):
    """The equations of a true system, in system units.

    Arguments:
        system: The system.
    """

    system: Equations

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        return self.system.dimension

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the field; see :class:`Field`."""
        return self.system(x, torch)


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
class Transformed(Generic[F]):
    r"""A field :math:`f` seen in other coordinates, :math:`dy / d\tau = f(m + s y) / (r s)`.

    Arguments:
        field: The field, in the coordinates x.
        coordinates: The change from x to y.
    """

    field: F
    coordinates: Coordinates

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        return self.field.dimension

    def single(self) -> "Transformed[F]":
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

    def push_forward_second(
        self: "Transformed[TwiceDifferentiable]", y: Tensor, v: Tensor, w: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Push second derivatives forward; see :class:`TwiceDifferentiable`."""
        c = self.coordinates
        v, w = (aligned(c.scale, t) * t for t in (v, w))
        pushed = self.field.push_forward_second(c.undo(y), v, w, pairs)
        f, action, second = (t / aligned(c.rate * c.scale, t) for t in pushed)
        return f, action, second


def in_place_of_a_model(field: Field) -> Transformed[Field]:
    """See a field in system units as :func:`nearorbit.dynamics.models.load` gives a model: one for all seeds."""
    same = Coordinates(*(torch.tensor([value], dtype=torch.float64) for value in (0.0, 1.0, 1.0)))
    return Transformed(field, same)
