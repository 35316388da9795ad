"""Polynomials: the reference line without a network, exact for the fields that are polynomials themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.networks.base import uniform
from nearorbit.study.seeds import generator

GAIN = 20.0  # coefficients are weights times this


class PolynomialField(Ensemble):
    """Polynomials in the standardized components.

    A step of Adam moves every weight by about the learning rate. The output of a perceptron moves by many times that,
    since thousands of weights go together; that of a polynomial does not. Its coefficients are therefore GAIN times its
    weights, so that one learning rate serves both.

    Arguments:
        dimension: The number of components, D.
        seeds: The seeds of the members.
        degree: The degree.
    """

    def __init__(self, dimension: int, seeds: Sequence[int], degree: int):
        super().__init__(dimension, len(seeds))
        terms = [list(combinations_with_replacement(range(dimension), n)) for n in range(degree + 1)]
        # Each monomial of an order is one of the order below times a component.
        for n, (below, order) in enumerate(pairwise(terms), 1):
            rows = {term: row for row, term in enumerate(below)}
            for name, indices in (("_row", [rows[t[:-1]] for t in order]), ("_component", [t[-1] for t in order])):
                self.place(f"{name}{n}", indices)
        self._degree = degree
        count = sum(map(len, terms))
        streams = [generator("weights", int(seed)) for seed in seeds]
        # Hardly a field: orbits of a random polynomial would leave within a segment, and nothing could be learned.
        self.weights = nn.ParameterList([uniform(streams, 0.01 / GAIN, (count, dimension))])

    @property
    def _factors(self) -> list[tuple[Tensor, Tensor]]:
        """For each order, where its monomials find the one of the order below, and the component it is times."""
        orders = range(1, self._degree + 1)
        return [(getattr(self, f"_row{n}")[0], getattr(self, f"_component{n}")[0]) for n in orders]

    @property
    def coefficients(self) -> Tensor:
        """The coefficients, monomials by components, with shape (E, M, D)."""
        return GAIN * self.weights[0]

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate each member at its own states; see :class:`nearorbit.dynamics.fields.Field`."""
        y = x.reshape(self.members, -1, self.dimension)
        orders = [torch.ones_like(y[..., :1])]
        for rows, components in self._factors:
            orders.append(orders[-1][..., rows] * y[..., components])
        return torch.bmm(torch.cat(orders, -1), self.coefficients).view(x.shape)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward by the product rule; see :class:`nearorbit.dynamics.fields.Field`."""
        y = x.reshape(self.members, -1, 1, self.dimension)
        u = v.reshape(self.members, y.shape[1], -1, self.dimension)
        orders, moves = [torch.ones_like(y[..., :1])], [torch.zeros_like(u[..., :1])]
        for rows, components in self._factors:
            before, factor = orders[-1][..., rows], y[..., components]
            moves.append(moves[-1][..., rows] * factor + before * u[..., components])
            orders.append(before * factor)
        f, action = (torch.bmm(torch.cat(parts, -1).flatten(1, 2), self.coefficients) for parts in (orders, moves))
        return f.view(x.shape), action.view(v.shape)


@dataclass(frozen=True)
class Polynomial:
    r"""A polynomial in standardized components, :math:`f(y) = \sum_{|a| \le d} c_a \, y^a`.

    The fields of Lorenz, Rossler and Lorenz-96 are polynomials of degree 2.

    Arguments:
        degree: The degree d.
    """

    degree: int = 2
    equations: ClassVar[str] = (
        "the monomials of y of degrees 0, 1, 2, ... up to the degree, those of one degree in lexicographic order of "
        f"their components (y0 y0, y0 y1, ..., y1 y1, ...), are a row m; g(y) = {GAIN:g} m @ weights.0[e]"
    )

    def __post_init__(self):
        if not 1 <= self.degree <= 5:
            raise ValueError(f"degree has to be from 1 to 5, not {self.degree}")

    def check(self, components: Sequence[str]) -> None:
        """Take every system; see :class:`nearorbit.dynamics.networks.base.Network`."""

    def make(self, components: Sequence[str], seeds: Sequence[int], coordinates: Coordinates) -> PolynomialField:
        """Make an ensemble; see :class:`nearorbit.dynamics.networks.base.Network`."""
        return PolynomialField(len(components), seeds, self.degree)


def entries() -> dict[str, type]:
    """Export the network of this file."""
    return {"polynomial": Polynomial}
