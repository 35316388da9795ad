r"""The smoothing spline of a noisy orbit.

The natural cubic spline :math:`g` that minimizes :math:`\sum_i (x_i - g(t_i))^2 + \lambda \int g''(t)^2 dt`, with
:math:`\lambda` chosen for each component by generalized cross-validation.

References:
    | Smoothing noisy data with spline functions (Craven and Wahba, Numerische Mathematik, 1979)
"""

import numpy as np
from scipy.interpolate import make_smoothing_spline


def smoothed(states: np.ndarray, *, refinement: int = 2) -> np.ndarray:
    """Evaluate the smoothing spline of each orbit at its samples and at the points between them.

    Arguments:
        states: Equally spaced samples of orbits, with shape (*, T, D).
        refinement: How many intervals each sample interval is divided into.

    Returns:
        The values of the splines, with shape (*, refinement * (T - 1) + 1, D); time in units of a sample interval.

    Raises:
        ValueError: If an orbit has fewer than five samples, the least that cross-validation can work with.
    """
    samples = states.shape[-2]
    if samples < 5:
        raise ValueError(f"a smoothing spline needs at least 5 samples of an orbit, not {samples}")
    knots = np.arange(samples, dtype=float)
    fine = np.linspace(0, samples - 1, refinement * (samples - 1) + 1)
    lines = np.moveaxis(states, -2, -1).reshape(-1, samples)
    values = np.stack([make_smoothing_spline(knots, line)(fine) for line in lines])
    return np.moveaxis(values.reshape(*states.shape[:-2], states.shape[-1], len(fine)), -1, -2)
