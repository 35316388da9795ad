r"""The hyperchaotic system of Chen: two directions of growth in four dimensions.

.. math:: \dot x = a (y - x) + w, \quad \dot y = d x - x z + c y, \quad \dot z = x y - b z, \quad \dot w = y z + r w

Chen's system of 1999 with a free coefficient d in the place of c - a, and a feedback w.
With a = 35, b = 3, c = 12, d = 7 the motion is hyperchaotic for r from 0.085 to 0.798. At r = 0.58 the exponents are
0.555, 0.143, 0 and -26.08; they sum to the divergence :math:`c + r - a - b`.

References:
    | Generating hyperchaos via state feedback control (Li, Tang and Chen, Int. J. Bifurcation and Chaos 2005)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearorbit.truth.systems.base import System, bounded


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``hyperchaotic_chen``."""
    return {"hyperchaotic_chen": hyperchaotic_chen}


def hyperchaotic_chen(
    *, a: float = 35.0, b: float = 3.0, c: float = 12.0, d: float = 7.0, r: float = 0.58
) -> "HyperchaoticChen":
    """Build the hyperchaotic system of Chen.

    Arguments:
        a: The coupling of x and y.
        b: The damping of z.
        c: The growth of y.
        d: The driving of y by x.
        r: The growth of the feedback w.
    """
    parameters = {name: bounded(name, value) for name, value in {"a": a, "b": b, "c": c, "d": d, "r": r}.items()}
    return HyperchaoticChen(
        name="hyperchaotic_chen",
        components=("x", "y", "z", "w"),
        parameters=parameters,
        start=np.array([5.0, 8.0, 12.0, 21.0]),
    )


@dataclass(frozen=True)
class HyperchaoticChen(System):
    """The equations of the hyperchaotic system of Chen."""

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Evaluate the vector field; see :meth:`System.__call__`."""
        a, b, c, d, r = (self.parameters[name] for name in "abcdr")
        x, y, z, w = (x[..., i] for i in range(4))
        return xp.stack([a * (y - x) + w, d * x - x * z + c * y, x * y - b * z, y * z + r * w], -1)
