"""Partial knowledge: equations that are known, perhaps with wrong parameters, and a network for what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates, Equations, Transformed, TrueField
from nearorbit.dynamics.networks.base import Layers, NeuralField


class KnownField(Ensemble):
    """Equations in system units, and networks that are added to them in model coordinates.

    Arguments:
        equations: The equations.
        rest: The networks.
        coordinates: The change from system units to model coordinates.
    """

    mean: Tensor
    scale: Tensor
    rate: Tensor

    def __init__(self, equations: Equations, rest: NeuralField, coordinates: Coordinates):
        super().__init__(rest.dimension, rest.members)
        self.rest, self._equations = rest, equations
        for name, tensor in vars(coordinates).items():
            self.register_buffer(name, tensor.clone())

    @property
    def _known(self) -> Transformed[TrueField]:
        return Transformed(TrueField(self._equations), Coordinates(self.mean, self.scale, self.rate))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate each member at its own states; see :class:`nearorbit.dynamics.fields.Field`."""
        return self._known(x) + self.rest(x)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward through both; see :class:`nearorbit.dynamics.fields.Field`."""
        (f, action), (g, further) = self._known.push_forward(x, v), self.rest.push_forward(x, v)
        return f + g, action + further


@dataclass(frozen=True)
class Known(Layers):
    r"""Known equations plus a network, :math:`f(y) = F(m + s y) / (r s) + f_\theta(y)`.

    F are the equations of the system that is learned, or of another one of the same dimension, with other values of
    some parameters: what is wrong with them is the network's to learn.

    References:
        | Universal differential equations for scientific machine learning (Rackauckas et al., 2020)

    Arguments:
        parameters: The values of the parameters that differ from those of the system: ``{rho: 25}``.
        system: Another system, as a line of a study: ``{system: Lorenz}``; None for the one that is learned.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] | None = None
    privilege: ClassVar[str] = "equations in part"
    equations: ClassVar[str] = (
        "F is the right-hand side of the system that the network names, with its parameters; h = y; for every hidden "
        "layer n: h = activation(h @ rest.weights.n[e] + rest.biases.n[e]); last layer without activation; g(y) = F(x) "
        "/ (coordinates.rate[e] * coordinates.scale[e]) + h @ rest.weights.n[e] + rest.biases.n[e]"
    )

    def known(self, learned: Mapping[str, Any]) -> dict[str, Any]:
        """Tell which equations are known, as a line of a study, where this one is learned."""
        return {**(learned if self.system is None else self.system), **self.parameters}

    def make(
        self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates, equations: Equations
    ) -> KnownField:
        """Make an ensemble; see :class:`nearorbit.dynamics.networks.base.Network`.

        Raises:
            ValueError: If the equations have another dimension.
        """
        if equations.dimension != len(components):
            raise ValueError(f"the known equations have {equations.dimension} components, the data {len(components)}")
        return KnownField(equations, NeuralField(len(components), seeds, **self.layers), coordinates)


def entries() -> dict[str, type]:
    """Export the network of this file."""
    return {"known": Known}
