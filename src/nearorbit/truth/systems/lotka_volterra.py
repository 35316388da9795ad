r"""Lotka-Volterra: prey x and predators y, whose numbers go round and round.

.. math:: \dot x = a x - b x y, \qquad \dot y = c x y - d y

The flow conserves :math:`H = c x - d \log x + b y - a \log y`, and every orbit with positive numbers is a cycle around
the fixed point (d / c, a / b), which is also its mean in time. So there is neither chaos nor an attractor: what stands
for it is the cycle through ``start``. Both exponents are zero, and what is measured in Lyapunov times is blank.

The letters are those of the references, whose values are the defaults, the start among them. In other texts c and d
change their places.

References:
    | Universal differential equations for scientific machine learning (Rackauckas et al., 2020)
    | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko et al., NeurIPS 2023)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearorbit.truth.systems.base import System, bounded, state

COMPONENTS = ("x", "y")


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``lotka_volterra``."""
    return {"lotka_volterra": lotka_volterra}


def lotka_volterra(
    *,
    a: float = 1.3,
    b: float = 0.9,
    c: float = 0.8,
    d: float = 1.8,
    start: Sequence[float] = (0.44249296, 4.6280594),
) -> "LotkaVolterra":
    """Build Lotka-Volterra.

    Arguments:
        a: The growth of the prey, positive.
        b: What a predator takes of it, positive.
        c: What a predator gains of it, positive.
        d: The death of predators, positive.
        start: The numbers of prey and predators that choose the cycle, positive.
    """
    rates = {"a": a, "b": b, "c": c, "d": d}
    return LotkaVolterra(
        name="lotka_volterra",
        components=COMPONENTS,
        parameters={name: bounded(name, value, above=0) for name, value in rates.items()},
        start=state("start", start, COMPONENTS, above=0),
    )


@dataclass(frozen=True)
class LotkaVolterra(System):
    """The equations of Lotka and Volterra."""

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Evaluate the vector field; see :meth:`System.__call__`."""
        a, b, c, d = (self.parameters[name] for name in "abcd")
        x, y = x[..., 0], x[..., 1]
        return xp.stack([a * x - b * x * y, c * x * y - d * y], -1)
