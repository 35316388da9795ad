r"""The smoothing spline of a noisy orbit.

The natural cubic spline :math:`g` that minimizes :math:`\sum_i (x_i - g(t_i))^2 + \lambda \int g''(t)^2 dt`, with
:math:`\lambda` chosen for each component by generalized cross-validation, on a grid of eight values per decade.

The second derivatives at the samples solve :math:`B \gamma = Q^T x`, where :math:`B = R + \lambda Q^T Q` has five
bands, :math:`Q^T` takes second differences (with intervals :math:`h_i`, those of :math:`(x_{i+1} - x_i) / h_i`),
:math:`R` has :math:`(h_{i-1} + h_i) / 3` on its diagonal and :math:`h_i / 6` beside it, and :math:`g = x - \lambda Q
\gamma`. The trace of the map from x to g, which cross-validation needs, is the sample count less :math:`d \log \det B /
d \log \lambda`; it is the same for all orbits at the same times. So all of it is banded Cholesky factorizations, a
second of work where ``scipy.interpolate.make_smoothing_spline`` takes a minute of Python loops.

References:
    | Smoothing noisy data with spline functions (Craven and Wahba, Numerische Mathematik, 1979)
    | Smoothing by spline functions (Reinsch, Numerische Mathematik, 1967)
"""

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.study.sampling import LEAST_SMOOTHED, ROUNDING

DECADES = (-8, 8)  # of lambda, in units of a sample interval cubed
PER_DECADE = 8
DIFFERENCE = 1e-3  # in log lambda, for the derivative of log det B


def smoothed(
    states: np.ndarray, times: np.ndarray | None = None, *, refinement: int = 2, penalty: float | None = None
) -> np.ndarray:
    """Evaluate the smoothing spline of each orbit at its samples and at the points between them.

    Arguments:
        states: Samples of orbits, with shape (*, T, D).
        times: When they were taken, all orbits alike, in sample intervals, with shape (T,); equally spaced if None.
        refinement: How many parts the time between two samples is divided into.
        penalty: That of all splines, in units of a sample interval cubed; chosen by cross-validation if None.

    Returns:
        The values of the splines, with shape (*, refinement * (T - 1) + 1, D).

    Raises:
        StudyError: If an orbit has fewer than five samples, the least that cross-validation can work with.
    """
    samples = states.shape[-2]
    _check_length(samples)
    intervals = np.ones(samples - 1) if times is None else np.diff(times)
    lines = np.moveaxis(states, -2, 0).reshape(samples, -1)
    fitted = _validated(lines, intervals)[:2] if penalty is None else _fit(lines, intervals, penalty)
    fine = _between(*fitted, intervals, refinement)
    return np.moveaxis(fine.reshape(len(fine), *states.shape[:-2], states.shape[-1]), 0, -2)


def slopes(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Differentiate the natural cubic spline through values (*, T, D) at their times (T,); returns the same shape.

    Of values of a smoothing spline it is that spline.
    """
    from scipy.interpolate import CubicSpline  # here, because its import takes a third of a second

    return CubicSpline(times, values, axis=-2, bc_type="natural")(times, 1)


def noise(states: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    r"""Estimate the noise of an orbit from what its smoothing spline leaves, :math:`\hat\sigma^2 = \mathrm{RSS} / (T -
    \operatorname{tr} A)`, with the map A from the samples to the spline (Craven and Wahba 1979).

    What the spline cannot follow counts as noise: orbits with few samples in a turn have some.

    Arguments:
        states: Samples of an orbit, with shape (T, D).
        times: When they were taken, in sample intervals, with shape (T,); equally spaced if None.

    Returns:
        The standard deviation of the noise of each component, with shape (D,), in the units of the states.

    Raises:
        StudyError: If there are fewer than five samples.
    """
    _check_length(len(states))
    intervals = np.ones(len(states) - 1) if times is None else np.diff(times)
    fitted, _, freedom = _validated(states, intervals)
    return np.sqrt(((states - fitted) ** 2).sum(0) / freedom)


def _check_length(samples: int) -> None:
    """Refuse an orbit of fewer samples than cross-validation can work with."""
    if samples < LEAST_SMOOTHED:
        raise StudyError(
            f"a smoothing spline needs at least {LEAST_SMOOTHED} samples of an orbit, not {samples}; take longer "
            "orbits or recordings (data.*.samples), with fewer samples missing, or leave out what is smoothed"
        )


def evenly(states: np.ndarray, clock: Clock) -> tuple[np.ndarray, Clock]:
    """Read the smoothing splines of the orbits of one seed at equal intervals.

    Arguments:
        states: Orbits, with shape (1, O, T, D).
        clock: When their samples were taken.

    Returns:
        Their splines a sample interval apart from the first sample of each run on, with shape (1, O, S, D), filled up;
        and when that is: what is a sample interval apart belongs to one run.
    """
    from scipy.interpolate import CubicHermiteSpline  # here, because its import takes a third of a second

    assert clock.times is not None and clock.counts is not None
    lines = []
    for orbit, times, count, behind, ahead in zip(
        states[0], clock.times[0], clock.counts[0], clock.behind[0], clock.ahead[0], strict=True
    ):
        known, (begins,) = times[:count], np.nonzero(behind[:count] == 0)
        lasting = known[begins + ahead[begins]] - known[begins]
        grid = [t + np.arange(int(last * (1 + ROUNDING)) + 1) for t, last in zip(known[begins], lasting, strict=True)]
        values = smoothed(orbit[:count], known, refinement=1)
        curve, when = CubicHermiteSpline(known, values, slopes(values, known)), np.concatenate(grid)
        lines.append(np.column_stack([when, curve(when)]))
    made = np.array([len(line) for line in lines])
    filled = np.stack([np.pad(line, ((0, made.max() - len(line)), (0, 0)), mode="edge") for line in lines])
    filled[..., 0] += np.maximum(np.arange(1, made.max() + 1) - made[:, None], 0)
    return filled[None, ..., 1:], Clock((1, *filled.shape[:2]), filled[None, ..., 0], made[None], np.ones(1))


def _validated(lines: np.ndarray, intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit lines with the penalties that cross-validation chooses; see :func:`_fit`. The last are the numbers of samples
    that the splines do not use up, (N,)."""
    least, samples, freedom = np.full(lines.shape[1], np.inf), len(lines), np.empty(lines.shape[1])
    values, curvatures = np.empty_like(lines), np.empty_like(lines)
    for penalty in np.logspace(*DECADES, (DECADES[1] - DECADES[0]) * PER_DECADE + 1):
        fitted, curvature = _fit(lines, intervals, penalty)
        unused = samples - _trace(intervals, penalty)
        score = ((lines - fitted) ** 2).sum(0) / unused**2
        better = score < least
        freedom[better] = unused
        least[better], values[:, better], curvatures[:, better] = score[better], fitted[:, better], curvature[:, better]
    return values, curvatures, freedom


def _fit(lines: np.ndarray, intervals: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """The spline of lines (T, N) at the samples, and its second derivative there, both (T, N)."""
    factor, h = cholesky_banded(_bands(intervals, penalty)), intervals[:, None]
    curvature = np.zeros((len(lines) + 2, lines.shape[1]))  # natural: none at the ends, nor beyond
    curvature[2:-2] = cho_solve_banded((factor, False), np.diff(np.diff(lines, axis=0) / h, axis=0))
    slopes = np.diff(curvature[1:-1], axis=0) / h  # of the curvature; none beyond the ends
    slopes = np.concatenate([curvature[1:2], slopes, -curvature[-2:-1]])
    return lines - penalty * np.diff(slopes, axis=0), curvature[1:-1]


def _trace(intervals: np.ndarray, penalty: float) -> float:
    """The trace of the map from the samples to the spline's values there."""
    up, down = (
        2 * np.log(cholesky_banded(_bands(intervals, penalty * np.exp(shift)))[-1]).sum()
        for shift in (DIFFERENCE, -DIFFERENCE)
    )
    return len(intervals) + 1 - (up - down) / (2 * DIFFERENCE)


def _bands(intervals: np.ndarray, penalty: float) -> np.ndarray:
    """The upper bands of B, the diagonal last."""
    h, inverse = intervals, 1 / intervals
    both = inverse[:-1] + inverse[1:]
    bands = np.zeros((3, len(h) - 1))
    bands[0, 2:] = penalty * (inverse[1:-1] * inverse[2:])[:-1]
    bands[1, 1:] = h[1:-1] / 6 - penalty * (inverse[1:-1] * (both[:-1] + both[1:]))
    bands[2] = (h[:-1] + h[1:]) / 3 + penalty * (inverse[:-1] ** 2 + both**2 + inverse[1:] ** 2)
    return bands


def _between(values: np.ndarray, curvatures: np.ndarray, intervals: np.ndarray, refinement: int) -> np.ndarray:
    """The cubics between samples, from their values and second derivatives there, (T, N)."""
    s, h = (np.arange(refinement) / refinement)[:, None], intervals[:, None, None]
    left, right = values[:-1, None], values[1:, None]
    bend = (2 - s) * curvatures[:-1, None] + (1 + s) * curvatures[1:, None]
    cubics = (1 - s) * left + s * right - s * (1 - s) / 6 * h**2 * bend
    return np.concatenate([cubics.reshape(-1, values.shape[1]), values[-1:]])
