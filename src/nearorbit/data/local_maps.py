"""Maps of the flow around a state, fitted to how the displacements of its neighbors evolve.

They supervise a training (``local_jacobian`` among the methods), and are what Jacobians and exponents are estimated
from without one (:mod:`nearorbit.data.local_fits`).
"""

import numpy as np

FLOOR = 1e-13  # of the ridge: a direction without neighbors has the map of the identity instead of none


def flow_maps(
    before: np.ndarray,
    after: np.ndarray,
    *,
    degree: int = 1,
    ridge: float = 0.0,
    constant: bool = True,
    cautious: bool = False,
) -> np.ndarray:
    r"""Fit the map that takes displacements to what becomes of them.

    .. math::
        \min_{A, T, c} \ \big\langle | v_j - c - A u_j - \tfrac{1}{2} T[u_j, u_j] |^2 \big\rangle_j
            + \rho \, \langle |u_j|^2 \rangle \, \|A - I\|_F^2

    The ridge bears on the quadratic part too, in displacements of root mean square 1, and not on the constant.

    Arguments:
        before: Displacements u from the center to its neighbors, with shape (*, K, D).
        after: What they have become, v, with shape (*, K, D). With a constant, from any origin.
        degree: 1, or 2 for the terms T.
        ridge: The pull toward the identity :math:`\rho`: directions fade in which the displacements have less than this
            share of their mean square.
        constant: Whether there is a constant c.
        cautious: Whether the variance of the residuals of a component, relative to :math:`\langle |u_j|^2 \rangle`, is
            added to the ridge: nothing on clean data but for the terms left out, and with noise about its share.

    Returns:
        The linear part A at the center, with shape (*, D, D); ``after = A @ before`` for columns. The identity in
        directions in which no neighbor lies. Thin neighborhoods without a ridge amplify whatever the terms leave out.
    """
    count, dimension = before.shape[-2:]
    size = np.sqrt(np.mean(np.sum(before**2, -1), -1))[..., None, None]
    size = np.where(size > 0, size, 1.0)
    features, moved = before / size, (after - before) / size
    if degree == 2:
        i, j = np.triu_indices(dimension)
        features = np.concatenate([features, features[..., i] * features[..., j]], -1)
    if constant:
        features, moved = (array - array.mean(-2, keepdims=True) for array in (features, moved))
    # Normal equations square how thin a neighborhood is, which double precision bears; QR takes three times as long.
    covariance = np.swapaxes(features, -1, -2) @ features / count
    moves = np.swapaxes(features, -1, -2) @ moved / count
    identity = np.eye(features.shape[-1])
    coefficients = np.linalg.solve(covariance + max(ridge, FLOOR) * identity, moves)
    if cautious:
        free = max(count - features.shape[-1] - constant, 1)
        variance = np.sum((moved - features @ coefficients) ** 2, (-1, -2), keepdims=True) / free / dimension
        coefficients = np.linalg.solve(covariance + (max(ridge, FLOOR) + variance) * identity, moves)
    return np.eye(dimension) + np.swapaxes(coefficients[..., :dimension, :], -1, -2)
