r"""The smoothing spline of a noisy orbit.

The natural cubic spline :math:`g` that minimizes :math:`\sum_i (x_i - g(t_i))^2 + \lambda \int g''(t)^2 dt`, with
:math:`\lambda` chosen for each component by generalized cross-validation, on a grid of eight values per decade.

With unit spacing the second derivatives at the samples solve :math:`B \gamma = Q^T x`, where :math:`B = R + \lambda
Q^T Q` has five bands, :math:`Q` takes second differences, :math:`R` has 2/3 on its diagonal and 1/6 beside it, and
:math:`g = x - \lambda Q \gamma`. The trace of the map from x to g, which cross-validation needs, is the sample count
less :math:`d \log \det B / d \log \lambda`; it is the same for all orbits. So all of it is banded Cholesky
factorizations, a second of work where ``scipy.interpolate.make_smoothing_spline`` takes a minute of Python loops.

References:
    | Smoothing noisy data with spline functions (Craven and Wahba, Numerische Mathematik, 1979)
    | Smoothing by spline functions (Reinsch, Numerische Mathematik, 1967)
"""

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

SHORT = 5  # samples, of which an orbit must not have fewer
DECADES = (-8, 8)  # of lambda, in units of a sample interval cubed
PER_DECADE = 8
DIFFERENCE = 1e-3  # in log lambda, for the derivative of log det B


def smoothed(states: np.ndarray, *, refinement: int = 2, penalty: float | None = None) -> np.ndarray:
    """Evaluate the smoothing spline of each orbit at its samples and at the points between them.

    Arguments:
        states: Equally spaced samples of orbits, with shape (*, T, D).
        refinement: How many intervals each sample interval is divided into.
        penalty: That of all splines, in units of a sample interval cubed; chosen by cross-validation if None.

    Returns:
        The values of the splines, with shape (*, refinement * (T - 1) + 1, D); time in units of a sample interval.

    Raises:
        ValueError: If an orbit has fewer than five samples, the least that cross-validation can work with.
    """
    samples = states.shape[-2]
    if samples < SHORT:
        raise ValueError(f"a smoothing spline needs at least {SHORT} samples of an orbit, not {samples}")
    lines = np.moveaxis(states, -2, 0).reshape(samples, -1)
    values, curvatures = _validated(lines) if penalty is None else _fit(lines, penalty)
    fine = _between(values, curvatures, refinement)
    return np.moveaxis(fine.reshape(len(fine), *states.shape[:-2], states.shape[-1]), 0, -2)


def _validated(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit lines with the penalties that cross-validation chooses; see :func:`_fit`."""
    least, samples = np.full(lines.shape[1], np.inf), len(lines)
    values, curvatures = np.empty_like(lines), np.empty_like(lines)
    for penalty in np.logspace(*DECADES, (DECADES[1] - DECADES[0]) * PER_DECADE + 1):
        fitted, curvature = _fit(lines, penalty)
        score = ((lines - fitted) ** 2).sum(0) / (samples - _trace(samples, penalty)) ** 2
        better = score < least
        least[better], values[:, better], curvatures[:, better] = score[better], fitted[:, better], curvature[:, better]
    return values, curvatures


def _fit(lines: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """The spline of lines (T, N) at the samples, and its second derivative there, both (T, N)."""
    factor = cholesky_banded(_bands(len(lines), penalty))
    curvature = np.zeros((len(lines) + 2, lines.shape[1]))  # natural: none at the ends, nor beyond
    curvature[2:-2] = cho_solve_banded((factor, False), np.diff(lines, 2, axis=0))
    return lines - penalty * np.diff(curvature, 2, axis=0), curvature[1:-1]


def _trace(samples: int, penalty: float) -> float:
    """The trace of the map from the samples to the spline's values there."""
    up, down = (
        2 * np.log(cholesky_banded(_bands(samples, penalty * np.exp(shift)))[-1]).sum()
        for shift in (DIFFERENCE, -DIFFERENCE)
    )
    return samples - (up - down) / (2 * DIFFERENCE)


def _bands(samples: int, penalty: float) -> np.ndarray:
    """The upper bands of B, the diagonal last."""
    return np.outer([penalty, 1 / 6 - 4 * penalty, 2 / 3 + 6 * penalty], np.ones(samples - 2))


def _between(values: np.ndarray, curvatures: np.ndarray, refinement: int) -> np.ndarray:
    """The cubics between samples, from their values and second derivatives there, (T, N)."""
    s = (np.arange(refinement) / refinement)[:, None]
    left, right = values[:-1, None], values[1:, None]
    bend = (2 - s) * curvatures[:-1, None] + (1 + s) * curvatures[1:, None]
    cubics = (1 - s) * left + s * right - s * (1 - s) / 6 * bend
    return np.concatenate([cubics.reshape(-1, values.shape[1]), values[-1:]])
