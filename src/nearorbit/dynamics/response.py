r"""How Lyapunov exponents answer to an error of the field, at first order.

A field :math:`f + \delta f` with the Jacobian :math:`J + \delta J` is seen along an orbit of :math:`f`, in its covariant
vectors :math:`v_i` and their duals :math:`w_i` (:mod:`nearorbit.dynamics.covariant`). Three things may be meant by the
shift of an exponent.

*Along the true orbit.* Tangents that obey :math:`J + \delta J` on the orbit of f have the coordinates :math:`a = W x`,
:math:`\dot{a}_i = \varphi_i a_i + \sum_j w_i^T \delta J v_j \, a_j`, whose diagonal alone counts at first order:

.. math:: \delta\lambda_i = \langle w_i^T \delta J v_i \rangle, \qquad
    \sum_i \delta\lambda_i = \langle \operatorname{tr} \delta J \rangle

It is the answer to an error of the Jacobian alone. A field that errs moves its orbits, too, by as much.

*Of the moved orbit.* The orbit of the wrong field that stays near, :math:`x(s) + u(s)`, with another clock, :math:`dt =
(1 + \eta) \, ds`, obeys

.. math:: \dot{u} = J u + \delta f + \eta f

In covariant coordinates :math:`u = \sum_j a_j v_j` that is :math:`\dot{a}_j = \varphi_j a_j + w_j \cdot \delta f`, solved
forward where :math:`\lambda_j < 0` and backward where :math:`\lambda_j > 0`; :math:`\eta` takes up the neutral
coordinate. How much u has of f itself is free, for an orbit moved along itself is the same: here u is normal to f, which
scatters least, so that :math:`\eta = -(J f \cdot u + f \cdot (J u + \delta f)) / |f|^2`, from :math:`d(u \cdot f)/ds = 0`. With the second derivatives H of f,

.. math:: z_i = w_i^T (\delta J + H[u, \cdot] + \eta J) v_i, \qquad
    \delta\lambda_i = \langle z_i \rangle - \langle \eta \rangle \lambda_i

The clock multiplies the whole cocycle, hence :math:`\eta J` and not :math:`\eta \varphi_i`, and rates are per unit of t,
hence the last term. The neutral exponent stays zero; the sum is :math:`\langle \operatorname{tr} \delta J + u \cdot
\nabla \operatorname{tr} J \rangle` and the clock's.

*Of the moved attractor.* The moved orbit is one of the wrong field's, and not a typical one. A segment of an orbit
weighs in the natural measure as the inverse of how much it stretches what is unstable. The field's error stretches it by
:math:`\exp \int \psi` more, :math:`\psi = \sum_{j: \lambda_j \geq 0} z_j` (the neutral one adds a difference of end
points), and so it weighs less:

.. math:: \delta\lambda_i = \langle z_i \rangle - \langle \eta \rangle \lambda_i
    - \int_{-\infty}^{\infty} \operatorname{cov}\big(\varphi_i(s + \tau), \psi(s)\big) \, d\tau

That is the one to hold against exponents of the wrong field that were found on its own attractor. Without the integral
the sum of the positive exponents would shift by :math:`-\langle \eta \rangle \sum \lambda_j` for *every* error, since
:math:`\langle \psi \rangle = 0`: moved orbits keep their entropy per unit of s, and Pesin's formula holds to first order.
The baker's map shows it: with branches of measure p and 1 - p, :math:`\lambda = -p \ln p - (1-p) \ln(1-p)`; moved orbits
give :math:`\delta\lambda = 0`, the integral :math:`\ln((1-p)/p) \, \delta p`, which is right.

*How it is computed.* Coordinates go from sample to sample by the corrected trapezoidal rule, of order 4: the derivative
of :math:`w \cdot \delta f` is :math:`w \cdot (\delta J f - J \delta f)` but for growth. The integral has a Gaussian
window; all frequencies of an orbit are far above its inverse width. Means that are known to vanish, of the neutral z and of
:math:`\psi`, take their part of the scatter out of the others (control variates). The theory is that of hyperbolic
attractors; where stable and unstable vectors touch, w is large and standard errors tell.

It is one module since the three shifts are means over the same series.

References:
    | Differentiation of SRB states (Ruelle, Commun. Math. Phys. 1997): linear response, and its unstable part
    | Least squares shadowing sensitivity analysis of chaotic limit cycle oscillations (Wang, Hu and Blonigan, 2014): u, eta
    | Equilibrium states and the ergodic theory of Anosov diffeomorphisms (Bowen 1975): weights of orbits
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nearorbit.dynamics.covariant import duals
from nearorbit.dynamics.lyapunov import standard_error

FORGOTTEN = 6.0  # log of the factor by which coordinates forget how they were begun
USED = 0.3  # of an orbit, at least, that has to be left when both ends are dropped
ALIGNED = 0.99  # cosine of a neutral vector with the flow, on average
WINDOW = 1.5  # periods: the width of the Gaussian window of the integral
REACH = 4  # widths, beyond which the window is cut off
BLOCKS = 32  # averages along an orbit, whose scatter is that of the means


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
    def dropped(self) -> int:
        """The samples at both ends of an orbit in which the moved orbit and the window are not there yet."""
        others = np.delete(np.abs(self.exponents), self.neutral)
        time = FORGOTTEN / others.min() + REACH * WINDOW * self.period
        return int(min(np.ceil(time / self.step), self.field.shape[1]))

    @property
    def moves(self) -> bool:
        """Whether a moved orbit can be computed: one exponent belongs to the flow, and no other one is near zero."""
        return self.neutral is not None and 2 * self.dropped <= (1 - USED) * self.field.shape[1]


@dataclass(frozen=True)
class Response:
    """The answers of the exponents; per unit of time, with shape (D,) but for `resolved`.

    Arguments:
        fixed: The shifts along the true orbit.
        shadowed: Those of the moved orbit; NaN where it cannot be computed.
        moved: Those of the moved attractor; NaN likewise.
        fixed_stderr: The standard errors of `fixed`.
        shadowed_stderr: Those of `shadowed`.
        moved_stderr: Those of `moved`.
        displacement: How far the moved orbit is, relative to the spread of the true one: the 99 % quantile over its states.
        scatter: The standard deviation of :math:`w_i^T dJ v_i` over the orbits.
        resolved: The root mean square of :math:`w_i^T dJ v_j`, with shape (D, D).
    """

    fixed: np.ndarray
    shadowed: np.ndarray
    moved: np.ndarray
    fixed_stderr: np.ndarray
    shadowed_stderr: np.ndarray
    moved_stderr: np.ndarray
    displacement: float
    scatter: np.ndarray
    resolved: np.ndarray


def response(frames: Frames, field: np.ndarray, jacobian: np.ndarray) -> Response:
    """Compute the shifts of the exponents by an error of the field.

    Arguments:
        frames: The true field and its covariant vectors.
        field: The error of the field along the orbits, with shape (S, T, D).
        jacobian: The error of its Jacobian, with shape (S, T, D, D).
    """
    resolved = frames.duals @ jacobian @ frames.vectors
    own = _diagonal(resolved)
    fixed = own.mean((0, 1)), standard_error(_blocks(own))
    if frames.moves:
        *series, far = _series(frames, field, jacobian, own)
        shadowed, moved = (_mean(*values) for values in series)
    else:
        shadowed = moved = (np.full_like(frames.exponents, np.nan),) * 2
        far = np.nan
    scatter, size = own.std((0, 1)), np.sqrt(np.square(resolved).mean((0, 1)))
    return Response(fixed[0], shadowed[0], moved[0], fixed[1], shadowed[1], moved[1], far, scatter, size)


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
    u = _apply(V, coordinates)
    along = -(u * f).sum(-1) / squared
    coordinates[..., frames.neutral] += along * (W[..., frames.neutral, :] * f).sum(-1)
    u = u + along[..., None] * f
    eta = -((_apply(J, f) * u).sum(-1) + (f * (_apply(J, u) + field)).sum(-1)) / squared
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
        rate = _apply(frames.duals, _apply(frames.jacobian, turned) - turning @ c)
        known = frames.duals @ c
        right = known[:, 1:] - np.exp(frames.growth[:, :-1]) * known[:, :-1]
        wrong = _rule(frames, -_apply(frames.duals, turned), rate) - right
        squares += np.square(wrong).sum(), np.square(right).sum()
    return float(np.sqrt(squares[0] / squares[1]))


def _series(
    frames: Frames, field: np.ndarray, jacobian: np.ndarray, own: np.ndarray
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], float]:
    """The series (S, T, D) whose means are the shifts of the moved orbit, and of the moved attractor, each with the
    series (S, T, 2) whose means vanish; and how far the orbit moves."""
    coordinates, eta = moved_orbit(frames, field, jacobian)
    stretched = _diagonal(frames.duals @ frames.jacobian @ frames.vectors)
    z = own + _apply(frames.curvature, coordinates) + eta[..., None] * stretched
    positive = (frames.exponents > 0) & (np.arange(z.shape[-1]) != frames.neutral)
    neutral = z[..., frames.neutral]
    psi = z[..., positive].sum(-1) + neutral
    inner = slice(frames.dropped, z.shape[1] - frames.dropped)
    vanishing = np.stack([neutral, psi], -1)[:, inner]
    shadowed = z - eta[..., None] * frames.exponents
    moved = shadowed
    if positive.any():
        rates = frames.growth / frames.step
        weights = _windowed(psi - psi[:, inner].mean(), frames)
        moved = shadowed - (rates - rates[:, inner].mean((0, 1))) * weights[..., None]
    u = np.linalg.norm(_apply(frames.vectors, coordinates)[:, inner], axis=-1)
    far = float(np.quantile(u, 0.99)) / frames.spread
    return (shadowed[:, inner], vanishing), (moved[:, inner], vanishing), far


def _windowed(series: np.ndarray, frames: Frames) -> np.ndarray:
    """Integrate a series (S, T) over the Gaussian window around each sample."""
    width = WINDOW * frames.period / frames.step  # samples
    reach = int(REACH * width)
    window = frames.step * np.exp(-np.square(np.arange(-reach, reach + 1) / width) / 2)
    length = series.shape[1] + 2 * reach
    product = np.fft.rfft(series, length) * np.fft.rfft(window, length)
    return np.fft.irfft(product, length)[:, reach : reach + series.shape[1]]


def _increments(frames: Frames, field: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """What an error of the field adds to the coordinates in a sample, with shape (S, T - 1, D)."""
    rate = _apply(jacobian, frames.field) - _apply(frames.jacobian, field)
    return _rule(frames, _apply(frames.duals, field), _apply(frames.duals, rate))


def _rule(frames: Frames, driven: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """The corrected trapezoidal rule for what drives the coordinates (S, T, D), and its rate without their growth."""
    grown, h = np.exp(frames.growth[:, :-1]), frames.step
    ends = grown * driven[:, :-1] + driven[:, 1:]
    return h / 2 * ends + h**2 / 12 * (grown * rate[:, :-1] - rate[:, 1:])


def _mean(series: np.ndarray, vanishing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a series (S, T, D) and its standard error, both (D,), less what a regression on series (S, T, 2) whose
    means vanish explains of it."""
    averages, known = _blocks(series), _blocks(vanishing)
    flat, rest = (a.reshape(-1, a.shape[-1]) for a in (known, averages))
    slopes = np.linalg.lstsq(flat - flat.mean(0), rest - rest.mean(0), rcond=None)[0]
    averages = averages - known @ slopes
    return averages.mean((0, 1)), standard_error(averages)


def _blocks(series: np.ndarray) -> np.ndarray:
    """Averages over blocks of a series (S, T, K), with shape (32, S, K)."""
    count = min(BLOCKS, series.shape[1])
    size = series.shape[1] // count
    return np.moveaxis(series[:, -count * size :].reshape(len(series), count, size, -1).mean(2), 0, 1)


def _apply(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return (matrices @ vectors[..., None])[..., 0]


def _diagonal(matrices: np.ndarray) -> np.ndarray:
    return np.diagonal(matrices, axis1=-2, axis2=-1)
