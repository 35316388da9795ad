r"""Lorenz-96: waves on a circle of latitude, in any number of dimensions.

.. math:: \dot{x}_i = (x_{i+1} - x_{i-2}) \, x_{i-1} - x_i + F, \qquad i \in \mathbb{Z} / N

Good values for chaos: :math:`F = 8` and :math:`N \ge 5`; with N = 40 the leading exponent is 1.69, 13 exponents are
positive and the Kaplan-Yorke dimension is 27.1. The exponents sum to :math:`-N`. With N = 4, orbits are chaotic from
about F = 12 on.

References:
    | Predictability: a problem partly solved (Lorenz, ECMWF Seminar on Predictability 1996)
    | Optimal sites for supplementary weather observations (Lorenz and Emanuel, J. Atmos. Sci. 1998)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearorbit.truth.systems.base import System, bounded, integer


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``lorenz96``."""
    return {"lorenz96": lorenz96}


def lorenz96(*, size: int = 40, forcing: float = 8.0) -> "Lorenz96":
    """Build Lorenz-96.

    Arguments:
        size: The number of sites N, at least 4.
        forcing: The forcing F.
    """
    size, forcing = integer("size", size, least=4), bounded("forcing", forcing)
    bump = 0.01 * np.sin(np.arange(size))  # off the fixed point x = F, without its symmetries
    return Lorenz96(
        name="lorenz96",
        components=tuple(f"x{i + 1}" for i in range(size)),
        parameters={"size": size, "forcing": forcing},
        start=forcing + bump,
    )


@dataclass(frozen=True)
class Lorenz96(System):
    """The equations of Lorenz-96."""

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Evaluate the vector field; see :meth:`System.__call__`."""
        ahead, behind, behind_two = (xp.roll(x, shift, -1) for shift in (-1, 1, 2))
        return (ahead - behind_two) * behind - x + self.parameters["forcing"]
