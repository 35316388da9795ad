r"""Kuramoto-Sivashinsky: flame fronts and falling films, on a periodic domain of length L.

.. math:: \partial_t u = -u \, \partial_x u - \partial_x^2 u - \partial_x^4 u

The state is u at N equally spaced points. The derivatives are exact for trigonometric polynomials: with the Fourier
transform :math:`\mathcal{F}` and wave numbers :math:`k = 2 \pi m / L`, the matrix of :math:`\partial_x^n` is
:math:`\mathcal{F}^{-1} (i k)^n \mathcal{F}`, and :math:`u \, \partial_x u = \partial_x (u^2) / 2` conserves the mean of
u, which is therefore a constant of the motion: one exponent is exactly zero for it, one for the shift in space and one
for time, and the attractor depends on the mean of the start, here 0.

Good values for chaos: L = 22 with N = 32 (leading exponent 0.048); larger L with N of about 1.5 L.

References:
    | On the state space geometry of the Kuramoto-Sivashinsky flow in a periodic domain (Cvitanovic, Davidchack and
      Siminos, SIAM J. Appl. Dyn. Syst. 2010)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from nearorbit.truth.systems.base import System, bounded, integer


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``kuramoto_sivashinsky``."""
    return {"kuramoto_sivashinsky": kuramoto_sivashinsky}


def kuramoto_sivashinsky(*, length: float = 22.0, grid: int = 32) -> "KuramotoSivashinsky":
    """Build Kuramoto-Sivashinsky.

    Arguments:
        length: The length L of the periodic domain.
        grid: The number of grid points N, at least 8.
    """
    length, grid = bounded("length", length, above=0), integer("grid", grid, least=8)
    phase = 2 * np.pi * np.arange(grid) / grid
    return KuramotoSivashinsky(
        name="kuramoto_sivashinsky",
        components=tuple(f"u{i + 1}" for i in range(grid)),
        parameters={"length": length, "grid": grid},
        start=np.cos(phase) + 0.5 * np.sin(2 * phase) + 0.2 * np.cos(3 * phase + 1),  # of mean 0, without symmetry
    )


@dataclass(frozen=True)
class KuramotoSivashinsky(System):
    """The equations of Kuramoto-Sivashinsky on grid values."""

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Evaluate the vector field; see :meth:`System.__call__`."""
        linear, gradient = operators(self.parameters["grid"], self.parameters["length"])
        return x @ _like(linear.T, x, xp) - (x * x) @ _like(gradient.T / 2, x, xp)


def _like(matrix: np.ndarray, x: Any, xp: Any) -> Any:
    """The matrix in the namespace of x, and with its precision and device where it has them."""
    if not hasattr(x, "device") or isinstance(x, np.ndarray):
        return matrix
    return xp.as_tensor(matrix, dtype=x.dtype, device=x.device)


@cache
def operators(grid: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Make the matrices of :math:`-\\partial_x^2 - \\partial_x^4` and :math:`\\partial_x`, each with shape (N, N)."""
    wave = 2 * np.pi / length * np.fft.fftfreq(grid, 1 / grid)
    odd = np.where(2 * np.abs(np.arange(grid)) == grid, 0, wave)  # the sawtooth mode has no odd derivative on the grid
    transform = np.fft.fft(np.eye(grid), axis=0)
    symbols = wave**2 - wave**4, 1j * odd
    linear, gradient = (np.fft.ifft(symbol[:, None] * transform, axis=0).real for symbol in symbols)
    return linear, gradient
