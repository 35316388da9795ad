r"""The moved orbit: which orbit of a wrong field stays near one of the true field.

Along an orbit x(s) of a field f, an orbit of :math:`f + \delta f` is :math:`x(s) + u(s)` with another clock, :math:`dt
= (1 + \eta) \, ds`. At first order

.. math:: \dot{u} = J u + \delta f + \eta f

In coordinates of covariant Lyapunov vectors (:mod:`nearorbit.dynamics.covariant`), :math:`u = \sum_j a_j v_j`, that is
:math:`\dot{a}_j = \varphi_j a_j + w_j \cdot \delta f`, solved forward where :math:`\lambda_j < 0` and backward where
:math:`\lambda_j > 0`, so that u stays bounded; :math:`\eta` takes up the neutral coordinate. How much u has of f itself
is free, for an orbit moved along itself is the same orbit: here u is normal to f, which scatters least. From :math:`d(u
\cdot f) / ds = 0` follows the clock,

.. math:: \eta = -\frac{J f \cdot u + f \cdot (J u + \delta f)}{|f|^2}

Coordinates go from sample to sample by the corrected trapezoidal rule, of order 4: but for its growth the derivative of
:math:`w_j \cdot \delta f` is :math:`w_j \cdot (\delta J f - J \delta f)`.

References:
    | Least squares shadowing sensitivity analysis of chaotic limit cycle oscillations (Wang, Hu and Blonigan, 2014)
    | Sensitivity analysis on chaotic dynamical systems by non-intrusive least squares shadowing (Ni and Wang, 2017)
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nearorbit.dynamics.covariant import duals

FORGOTTEN = 6.0  # log of the factor by which coordinates forget how they were begun
USED = 0.2  # of an orbit, at least, that has to be left when both ends are dropped
ALIGNED = 0.99  # cosine of a neutral vector with the flow, on average
WINDOW = 2.0  # Lyapunov times, or periods: the width of the Gaussian window of integrals over time
REACH = 3  # widths, beyond which the window is cut off


@dataclass(frozen=True)
class Frames:
    r"""A true field along its orbits, and its covariant vectors; equally spaced samples T of S orbits.

    Arguments:
        field: The field f, with shape (S, T, D).
        jacobian: Its Jacobians, with shape (S, T, D, D).
        vectors: The covariant vectors in columns, with shape (S, T, D, D).
        growth: Their log growth to the next sample, with shape (S, T, D).
        curvature: :math:`w_i^T H[v_j, v_i]`, with shape (S, T, D, D).
        exponents: The exponents, with shape (D,).
        spread: The root mean square distance of the states from their mean.
        step: The time between two samples.
        period: The period of the motion.
    """

    field: np.ndarray
    jacobian: np.ndarray
    vectors: np.ndarray
    growth: np.ndarray
    curvature: np.ndarray
    exponents: np.ndarray
    spread: float
    step: float
    period: float

    @cached_property
    def duals(self) -> np.ndarray:
        """The duals in rows, with shape (S, T, D, D)."""
        return duals(self.vectors)

    @cached_property
    def neutral(self) -> int | None:
        """The index of the vector along the flow; None if none is."""
        speed = np.linalg.norm(self.field, axis=-1)
        cosines = np.abs(np.einsum("...i,...ij->...j", self.field, self.vectors) / speed[..., None]).mean((0, 1))
        return int(cosines.argmax()) if cosines.max() >= ALIGNED else None

    @cached_property
    def rates(self) -> np.ndarray:
        """The rates at which orthonormal vectors grow that span the same flags, with shape (S, T, D)."""
        sizes = np.abs(np.diagonal(np.linalg.qr(self.vectors, mode="r"), axis1=-2, axis2=-1))
        return (self.growth + np.diff(np.log(sizes), axis=1, append=np.log(sizes[:, -1:]))) / self.step

    @cached_property
    def window(self) -> float:
        """The width of the window of integrals over time; 0 where nothing is unstable."""
        unstable = self.exponents[: self.neutral]
        return WINDOW * max(self.period, 1 / unstable.max()) if unstable.size else 0.0

    @cached_property
    def dropped(self) -> int:
        """The samples at both ends of an orbit in which the moved orbit and the window are not there yet."""
        others = np.abs(self.exponents)[np.arange(len(self.exponents)) != self.neutral]
        time = FORGOTTEN / max(others.min(), 1e-12) + REACH * self.window
        return int(min(np.ceil(time / self.step), self.field.shape[1]))

    @property
    def moves(self) -> bool:
        """Whether a moved orbit can be computed: one exponent belongs to the flow, and no other one is near zero."""
        return self.neutral is not None and 2 * self.dropped <= (1 - USED) * self.field.shape[1]


def moved_orbit(frames: Frames, field: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the moved orbit, normal to the flow, and its clock.

    Arguments:
        frames: The true field and its covariant vectors.
        field: The error of the field along the orbits, with shape (S, T, D).
        jacobian: The error of its Jacobian, with shape (S, T, D, D).

    Returns:
        The coordinates a in covariant vectors, with shape (S, T, D), and eta, with shape (S, T); not yet right within
        :attr:`Frames.dropped` samples of both ends.
    """
    f, J, W, V = frames.field, frames.jacobian, frames.duals, frames.vectors
    driven, grown = _increments(frames, field, jacobian), np.exp(frames.growth)
    coordinates = np.zeros_like(f)
    ahead, behind = frames.exponents < 0, frames.exponents > 0
    ahead[frames.neutral] = behind[frames.neutral] = False
    for t in range(f.shape[1] - 1):
        coordinates[:, t + 1, ahead] = (grown[:, t] * coordinates[:, t] + driven[:, t])[:, ahead]
    for t in reversed(range(f.shape[1] - 1)):
        coordinates[:, t, behind] = ((coordinates[:, t + 1] - driven[:, t]) / grown[:, t])[:, behind]
    squared = np.square(f).sum(-1)
    u = applied(V, coordinates)
    along = -(u * f).sum(-1) / squared
    coordinates[..., frames.neutral] += along * (W[..., frames.neutral, :] * f).sum(-1)
    u = u + along[..., None] * f
    eta = -((applied(J, f) * u).sum(-1) + (f * (applied(J, u) + field)).sum(-1)) / squared
    return coordinates, eta


def rule_error(frames: Frames, turning: np.ndarray) -> float:
    """Tell the relative error of the rule that carries coordinates over a sample, root mean square.

    It is found with an error of the field whose moved orbit is known: shifted by a constant c, orbits of f obey
    :math:`f - J c`, and :math:`w_j \\cdot c` are their coordinates.

    Arguments:
        frames: The true field and its covariant vectors.
        turning: The time derivatives of its Jacobian along the orbits, with shape (S, T, D, D).
    """
    squares = np.zeros(2)
    for c in np.eye(frames.field.shape[-1]) * frames.field.std((0, 1)):
        turned = frames.jacobian @ c
        rate = applied(frames.duals, applied(frames.jacobian, turned) - turning @ c)
        known = frames.duals @ c
        right = known[:, 1:] - np.exp(frames.growth[:, :-1]) * known[:, :-1]
        wrong = _rule(frames, -applied(frames.duals, turned), rate) - right
        squares += np.square(wrong).sum(), np.square(right).sum()
    return float(np.sqrt(squares[0] / squares[1]))


def _increments(frames: Frames, field: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """What an error of the field adds to the coordinates in a sample, with shape (S, T - 1, D)."""
    rate = applied(jacobian, frames.field) - applied(frames.jacobian, field)
    return _rule(frames, applied(frames.duals, field), applied(frames.duals, rate))


def _rule(frames: Frames, driven: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """The corrected trapezoidal rule for what drives the coordinates (S, T, D), and its rate without their growth."""
    grown, h = np.exp(frames.growth[:, :-1]), frames.step
    ends = grown * driven[:, :-1] + driven[:, 1:]
    return h / 2 * ends + h**2 / 12 * (grown * rate[:, :-1] - rate[:, 1:])


def applied(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Apply matrices (*, D, D) to vectors (*, D)."""
    return (matrices @ vectors[..., None])[..., 0]
