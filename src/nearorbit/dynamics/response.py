r"""How Lyapunov exponents answer to an error of the field, at first order.

A field :math:`f + \delta f` with the Jacobian :math:`J + \delta J` is seen along an orbit of f, in its covariant
vectors :math:`v_i` and their duals :math:`w_i` (:mod:`nearorbit.dynamics.covariant`). Three things may be meant by the
shift of an exponent.

*Along the true orbit.* Tangents that obey :math:`J + \delta J` on the orbit of f have the coordinates :math:`a = W x`,
:math:`\dot{a}_i = \varphi_i a_i + \sum_j w_i^T \delta J v_j \, a_j`, whose diagonal alone counts at first order:

.. math:: \delta\lambda_i = \langle w_i^T \delta J v_i \rangle, \qquad
    \sum_i \delta\lambda_i = \langle \operatorname{tr} \delta J \rangle

It is the answer to an error of the Jacobian alone. A field that errs moves its orbits, too, by as much.

*Of the moved orbit,* :math:`x + u` with its clock :math:`dt = (1 + \eta) \, ds` (:mod:`nearorbit.dynamics.shadowing`).
With the second derivatives H of f,

.. math:: z_i = w_i^T (\delta J + H[u, \cdot] + \eta J) v_i, \qquad
    \delta\lambda_i = \langle z_i \rangle - \langle \eta \rangle \lambda_i

The clock multiplies the whole cocycle, hence :math:`\eta J` and not :math:`\eta \varphi_i`, and rates are per unit of
t, hence the last term. The neutral exponent stays zero.

*Of the moved attractor.* The moved orbit is one of the wrong field's, and not a typical one. A segment of an orbit
weighs in the natural measure as the inverse of how much it stretches what is unstable. The field's error stretches it
by :math:`\exp \int \psi` more, :math:`\psi = \sum_{j: \lambda_j \geq 0} z_j` (the neutral one adds a difference of end
points), and so it weighs less:

.. math:: \delta\lambda_i = \langle z_i \rangle - \langle \eta \rangle \lambda_i
    - \int_{-\infty}^{\infty} \operatorname{cov}\big(\varphi_i(s + \tau), \psi(s)\big) \, d\tau

That is the one to hold against exponents of the wrong field that were found on its own attractor. Without the integral
the sum of the positive exponents would shift by :math:`-\langle \eta \rangle \sum \lambda_j` for *every* error, since
:math:`\langle \psi \rangle = 0`: moved orbits keep their entropy per unit of s, and Pesin's formula holds to first
order. The baker's map shows it: with branches of measure p and 1 - p, :math:`\lambda = -p \ln p - (1-p) \ln(1-p)`;
moved orbits give :math:`\delta\lambda = 0`, the integral :math:`\ln((1-p)/p) \, \delta p`, which is right.

*How it is computed.* The integral has a Gaussian window of two Lyapunov times, or periods; all frequencies of an orbit
are far above its inverse width. Rates of growth are those of orthonormal vectors, which differ from :math:`\varphi_i`
by what vanishes on average and add up to the divergence. The flow's own z and rate scatter most where the vector before
is nearly along the flow; their means are zero, and they are added to those of that vector, where they cancel.

*Where it holds.* The theory is that of hyperbolic attractors. Where stable and unstable vectors touch, w is large,
:math:`\psi` scatters without bound, and so do standard errors: of the attractors of Lorenz, Shimizu and Morioka, and
Rucklidge all shifts are known well; of others, such as Rossler's, Chen's, and that of Lorenz-96, that of the moved
attractor is not.

References:
    | Differentiation of SRB states (Ruelle, Commun. Math. Phys. 1997): linear response, and its unstable part
    | Equilibrium states and the ergodic theory of Anosov diffeomorphisms (Bowen 1975): weights of orbits
"""

from dataclasses import dataclass

import numpy as np

from nearorbit.dynamics.lyapunov import standard_error
from nearorbit.dynamics.shadowing import REACH, Frames, applied, moved_orbit

BLOCKS = 32  # averages along an orbit, whose scatter is that of the means


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
        displacement: How far the moved orbit is, relative to the spread of the true one; the 99 % quantile.
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
    fixed = _mean(own)
    if frames.moves:
        *series, far = _series(frames, field, jacobian, own)
        shadowed, moved = map(_mean, series)
    else:
        shadowed = moved = (np.full_like(frames.exponents, np.nan),) * 2
        far = np.nan
    scatter, size = own.std((0, 1)), np.sqrt(np.square(resolved).mean((0, 1)))
    return Response(fixed[0], shadowed[0], moved[0], fixed[1], shadowed[1], moved[1], far, scatter, size)


def _series(
    frames: Frames, field: np.ndarray, jacobian: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The series (S, T, D) whose means are the shifts of the moved orbit, and of the moved attractor; and how far the
    orbit moves."""
    coordinates, eta = moved_orbit(frames, field, jacobian)
    stretched = _diagonal(frames.duals @ frames.jacobian @ frames.vectors)
    z = _paired(frames, own + applied(frames.curvature, coordinates) + eta[..., None] * stretched)
    inner = slice(frames.dropped, z.shape[1] - frames.dropped)
    shadowed = (z - eta[..., None] * frames.exponents)[:, inner]
    moved, rates = shadowed, _paired(frames, frames.rates)
    if frames.window:
        psi = z[..., : frames.neutral].sum(-1)
        weights = _windowed(psi - psi[:, inner].mean(), frames)[:, inner]
        moved = shadowed - (rates[:, inner] - rates[:, inner].mean((0, 1))) * weights[..., None]
    u = np.linalg.norm(applied(frames.vectors, coordinates)[:, inner], axis=-1)
    return shadowed, moved, float(np.quantile(u, 0.99)) / frames.spread


def _paired(frames: Frames, series: np.ndarray) -> np.ndarray:
    """Give what a series (S, T, D) has of the flow's own direction, whose mean is zero, to the one before it."""
    i, paired = frames.neutral, series.copy()
    if i:
        paired[..., i - 1] += paired[..., i]
        paired[..., i] = 0.0
    return paired


def _windowed(series: np.ndarray, frames: Frames) -> np.ndarray:
    """Integrate a series (S, T) over the Gaussian window around each sample."""
    width = frames.window / frames.step  # samples
    reach = int(REACH * width)
    window = frames.step * np.exp(-np.square(np.arange(-reach, reach + 1) / width) / 2)
    length = series.shape[1] + 2 * reach
    product = np.fft.rfft(series, length) * np.fft.rfft(window, length)
    return np.fft.irfft(product, length)[:, reach : reach + series.shape[1]]


def _mean(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a series (S, T, D) and its standard error, both with shape (D,)."""
    return series.mean((0, 1)), standard_error(_blocks(series))


def _blocks(series: np.ndarray) -> np.ndarray:
    """Averages over blocks of a series (S, T, K), with shape (32, S, K)."""
    count = min(BLOCKS, series.shape[1])
    size = series.shape[1] // count
    return np.moveaxis(series[:, -count * size :].reshape(len(series), count, size, -1).mean(2), 0, 1)


def _diagonal(matrices: np.ndarray) -> np.ndarray:
    return np.diagonal(matrices, axis1=-2, axis2=-1)
