r"""Loop closure: a network of Jacobians whose path integrals are the field, and over closed loops are zero.

A matrix-valued network need not be the Jacobian of anything. It is one of a field if its integral from one state to
another does not depend on the path, that is, if it vanishes over closed loops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from nearorbit.dynamics.fields import Field, identity
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error

SHORT, LONG = 2, 4  # nodes of Gauss' quadrature along a segment, and from one end of the attractor to another


@dataclass(frozen=True)
class LoopClosure(Penalized):
    r"""Fit rollouts; fit those of a Jacobian network too, close its loops, and teach it to the network.

    .. math::
        L = L_\text{baseline} + w \, \Big( \big\langle |x_{i+k} - \tilde{x}_{i+k}|^2 / D \big\rangle_{i, k>0}
            + c \, \Big\langle \Big| \oint J_\phi \, dx \Big|^2 / D \Big\rangle
            + m \, \big\langle \| J_\theta(x_i) - J_\phi(x_i) \|_F^2 / D \big\rangle \Big), \\
        \dot{\tilde{x}} = f_\theta(x_i) + \int_{x_i}^{\tilde{x}} J_\phi \, dx, \qquad \tilde{x}_i = x_i.

    Paths are straight lines, loops triangles of states of the batch. In the reference :math:`J_\phi` itself is the
    result, and the field at the start of a path comes from the data. Here the result is the network that all methods
    train, and :math:`J_\phi`, a network with D x D outputs, is its companion during training.

    References:
        | Characterizing control between interacting subsystems with deep Jacobian estimation (Eisen et al., NeurIPS
          2025)

    Arguments:
        weight: The weight w.
        closure: The weight c of closed loops.
        match: The weight m of the difference of the two Jacobians, per unit of model time squared.
        width: The width of the hidden layers of :math:`J_\phi`.
        depth: The number of its hidden layers.
    """

    weight: float = 1.0
    closure: float = 0.1
    match: float = 0.01
    width: int = 64
    depth: int = 3
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self):
        check_weight(self.weight)
        if self.closure < 0 or self.match < 0 or self.width < 1 or self.depth < 1:
            raise ValueError(
                f"closure ({self.closure}) and match ({self.match}) must not be negative, width ({self.width}) and "
                f"depth ({self.depth}) at least 1"
            )

    def own(self, seeds: Sequence[int], points: int, dimension: int) -> NeuralField:
        """Make the Jacobian network, with D x D outputs."""
        purpose, outputs = "loop closure", dimension**2
        return NeuralField(dimension, seeds, width=self.width, depth=self.depth, outputs=outputs, purpose=purpose)

    def terms(self, field: Field, batch: Batch, progress: Tensor, own: NeuralField) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        slope, columns = field.push_forward(batch.start, identity(batch.start))
        path = PathIntegral(own, batch.start, slope)
        corners = [batch.start.roll(n, -2) for n in range(3)]
        sides = zip(corners, corners[1:] + corners[:1], strict=True)
        loop = sum((integral(own, a, b, LONG) for a, b in sides), start=slope.new_zeros(()))
        match = (columns.mT - jacobians(own, batch.start)).square().sum((-2, -1)) / field.dimension
        penalty = (
            trajectory_error(batch.rollout(path), batch)
            + self.closure * member_mean(loop.square())
            + self.match * member_mean(match)
        )
        return trajectory_error(batch.rollout(field), batch), self.weight * penalty


@dataclass
class PathIntegral:
    r"""The field :math:`f(a) + \int_a^x J_\phi \, dx` near an anchor a; not frozen, which torch.compile cannot trace.

    Arguments:
        network: The Jacobian network.
        anchor: The anchors, with shape (E, B, D).
        slope: The field there, with shape (E, B, D).
    """

    network: NeuralField
    anchor: Tensor
    slope: Tensor

    @property
    def dimension(self) -> int:
        """The number of components, D."""
        return self.anchor.shape[-1]

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the field at states with shape (E, B, D), each with its own anchor."""
        return self.slope + integral(self.network, self.anchor, x, SHORT)


def jacobians(network: NeuralField, x: Tensor) -> Tensor:
    """Evaluate a Jacobian network at states with shape (E, *, D); returns shape (E, *, D, D)."""
    return network(x).unflatten(-1, (x.shape[-1], x.shape[-1]))


def integral(network: NeuralField, begin: Tensor, end: Tensor, nodes: int) -> Tensor:
    """Integrate a Jacobian network along straight lines between states with shape (E, B, D); returns that shape."""
    way, mean = end - begin, end.new_zeros(())
    for node, weight in zip(*np.polynomial.legendre.leggauss(nodes), strict=True):
        mean = mean + 0.5 * float(weight) * jacobians(network, begin + 0.5 * (1 + float(node)) * way)
    return (mean @ way.unsqueeze(-1)).squeeze(-1)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"loop_closure": LoopClosure}
