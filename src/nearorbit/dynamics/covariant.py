r"""Covariant Lyapunov vectors: the directions that tangent dynamics carries into one another.

Tangents :math:`\dot v = J(x) v` that grow at the rate of one exponent alone, forward and backward in time, have
directions :math:`v_j(x)` of their own, of unit length here, with duals :math:`w_i \cdot v_j = \delta_{ij}`. They
move by

.. math:: \dot{v}_j = J v_j - \varphi_j v_j, \qquad \dot{w}_i = -J^T w_i + \varphi_i w_i, \qquad
    \varphi_j = v_j \cdot J v_j, \quad \langle \varphi_j \rangle = \lambda_j

Orthonormal tangents Q, followed forward and re-orthonormalized at every sample, :math:`M Q = Q' R`, span the same
flags: :math:`V = Q C` with C upper triangular. The coefficients obey :math:`C' \propto R C`, and followed *backward*
they forget how they were begun (Ginelli et al. 2007). So a window has a transient before it, for Q, and one after it,
for C.

*Not to be confused.* The mean of :math:`w_i^T J v_i` is no exponent: :math:`w_i^T J v_i = \varphi_i + w_i \cdot
\dot{v}_i`, and vectors turn. In Lorenz' system it is 21.5, -20.4 and -14.8 where the exponents are 0.91, 0 and -14.57.

*Where exponents are equal* their vectors are not defined one by one, and where they are nearly so a transient of any
length is too short. Both are begun twice, at random, and what is left of the difference is told: `uncertainty`.

References:
    | Characterizing dynamics with covariant Lyapunov vectors (Ginelli et al., Phys. Rev. Lett. 2007)
    | Theory and computation of covariant Lyapunov vectors (Kuptsov and Parlitz, J. Nonlinear Sci. 2012)
"""

from dataclasses import dataclass

import numpy as np

from nearorbit.dynamics.lyapunov import Propagate

TINY = 1e-290  # where a diagonal element of R has underflowed


@dataclass(frozen=True)
class Covariant:
    """Covariant Lyapunov vectors along orbits.

    Arguments:
        states: The states, with shape (S, T, D), equally spaced in time.
        vectors: The vectors in columns, of unit length, with shape (S, T, D, D); their signs do not change along an
            orbit.
        growth: The log growth of each from a sample to the next, also from the last, with shape (S, T, D).
        uncertainty: The largest sine of the angle between two computations of each, begun at random, with shape (D,).
    """

    states: np.ndarray
    vectors: np.ndarray
    growth: np.ndarray
    uncertainty: np.ndarray


def covariant(
    propagate: Propagate, start: np.ndarray, *, interval: float, before: int, count: int, after: int, carried: int = 0
) -> Covariant:
    """Compute the covariant Lyapunov vectors along orbits.

    Arguments:
        propagate: ``propagate(x, tangents, duration)``, as in :func:`nearorbit.dynamics.lyapunov.spectrum`.
        start: Starts on the attractor, with shape (S, D).
        interval: The time between two samples, in the units of `propagate`; tangents are orthonormalized at each.
        before: The samples that are dropped first, in which Q finds its directions.
        count: The samples that are kept, T.
        after: The samples that follow, in which C does, backward.
        carried: The number of columns that the x of `propagate` has beyond the D components.

    Returns:
        The vectors, in the order of descending exponents; NaN along an orbit that is lost.
    """
    orbits, dimension = start.shape
    x = np.pad(start, ((0, 0), (0, carried)))
    bases = [_random(dimension, orbits, seed) for seed in range(2)]
    for _ in range(before):
        _, other, _ = _advance(propagate, x, bases[1], interval)
        x, basis, _ = _advance(propagate, x, bases[0], interval)
        bases = [basis, other]
    turned = np.abs(_sines(*bases)).max(0)
    states, frames, factors = [], [], []
    basis = bases[0]
    for _ in range(count + after):
        states.append(x[:, :dimension])
        frames.append(basis)
        x, basis, factor = _advance(propagate, x, basis, interval)
        factors.append(factor)

    generator = np.random.default_rng(2)
    one, other = (_normalized(np.triu(generator.standard_normal((orbits, dimension, dimension))))[0] for _ in range(2))
    vectors, growth = [], []
    for sample in reversed(range(count + after)):
        (one, shrunk), (other, _) = (_normalized(np.linalg.solve(factors[sample], c)) for c in (one, other))
        if sample == count - 1:
            turned = np.maximum(turned, _sines(one, other).max(0))
        if sample < count:
            vectors.append(frames[sample] @ one)
            growth.append(-np.log(shrunk))
    return Covariant(
        np.stack(states[:count], 1), np.stack(vectors[::-1], 1), np.stack(growth[::-1], 1), np.fmin(turned, 1.0)
    )


def duals(vectors: np.ndarray) -> np.ndarray:
    r"""Compute the duals, in rows: :math:`w_i \cdot v_j = \delta_{ij}`.

    Arguments:
        vectors: The vectors in columns, with shape (*, D, D).

    Returns:
        The duals with shape (*, D, D), as long as vectors are near to parallel; by the pseudoinverse where two are so
        to rounding.
    """
    try:
        return np.linalg.inv(vectors)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(vectors)


def _random(dimension: int, orbits: int, seed: int) -> np.ndarray:
    """An orthonormal basis (S, D, D), the same for all orbits."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension, dimension)))[0]
    return np.broadcast_to(basis, (orbits, dimension, dimension))


def _advance(
    propagate: Propagate, x: np.ndarray, basis: np.ndarray, interval: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow states and orthonormal tangents to the next sample: states, tangents and R (S, D, D)."""
    x, stretched = propagate(x, basis, interval)
    basis, factor = np.linalg.qr(np.where(np.isfinite(x).all(-1)[:, None, None], stretched, np.nan))
    diagonal = np.diagonal(factor, axis1=-2, axis2=-1)
    lost = np.where(np.abs(diagonal) < TINY, TINY, 0.0)
    return x, basis, factor + lost[..., None] * np.eye(factor.shape[-1])


def _normalized(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of unit length (S, D, D), and the lengths that they had (S, D)."""
    lengths = np.linalg.norm(columns, axis=-2)
    return columns / lengths[:, None], lengths


def _sines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The sine of the angle between columns of unit length, whatever their signs, with shape (S, D)."""
    cosines = np.einsum("...ij,...ij->...j", one, other)
    return np.linalg.norm(other - cosines[..., None, :] * one, axis=-2)
