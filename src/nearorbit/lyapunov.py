r"""Lyapunov exponents: the mean rates at which tangent vectors grow along an orbit.

Tangents :math:`V` follow :math:`\dot{V} = J(x) V` and all turn toward the fastest direction, so they are
re-orthonormalized again and again, :math:`V = Q R`. The exponents are

.. math:: \lambda_k = \lim_{t \to \infty} \frac{1}{t} \sum_n \log |R_{kk}^{(n)}|

with the natural logarithm, per unit of the time of `propagate`. They are estimates: time averages over finite orbits,
whose standard errors come from the scatter of block averages. Nothing here knows what is propagated; the truth and a
learned field are judged by the same lines.

*How often.* A column of V is known to the rounding of the longest one, so :math:`R_{kk}` has a relative error of about
1e-16 times the spread :math:`\max R / \min R`. Intervals are halved until the spread stays below 1e8: a strongly
contracting field gets short ones, and only it.

References:
    | Lyapunov characteristic exponents for smooth dynamical systems, part 2 (Benettin et al., Meccanica 1980)
    | Error estimates on averages of correlated data (Flyvbjerg and Petersen, J. Chem. Phys. 1989)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Propagate = Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]

SPREAD = 1e8  # of the growth of the tangents between two orthonormalizations
BLOCKS = 32  # per orbit and horizon
SAMPLES = 24  # block averages, at least, behind a standard error


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents, of one field or of groups of orbits (``*``) that belong to different fields.

    Arguments:
        exponents: The exponents, descending, with shape (*, K); NaN for a group with an orbit that diverged.
        stderr: Their standard errors, with shape (*, K).
        horizon: The time that each orbit was averaged over.
        converged: Whether the standard errors asked for were reached, with shape (*).
        average: The mean rates of the integrals carried along, with shape (*, M).
    """

    exponents: np.ndarray
    stderr: np.ndarray
    horizon: float
    converged: np.ndarray
    average: np.ndarray


def spectrum(
    propagate: Propagate,
    start: np.ndarray,
    *,
    interval: float,
    transient: float,
    horizon: float,
    longest: float | None = None,
    relative: float = 0.01,
    absolute: float = 0.001,
    carried: int = 0,
) -> Spectrum:
    r"""Estimate all Lyapunov exponents from few long orbits.

    The estimate has converged when the standard error of the leading exponent is at most
    :math:`\max(r |\lambda_1|, a)` and that of the sum at most 5e-4 of the largest modulus. If it has not at `horizon`,
    the orbits go on, up to `longest`. Short orbits are biased and their errors look too small: a horizon spans at
    least hundreds of periods, and more starts do not replace it.

    Arguments:
        propagate: ``propagate(x, tangents, duration)`` follows states (B, D) and their tangents (B, D, K), whose
            columns are vectors, for a duration and returns both; a diverged orbit gives NaN. The durations are
            `interval`, or fractions 1/2, 1/4, ... of it where the spread asks for them, or slightly less.
        start: Starts on the attractor, with shape (*, S, D). The S orbits of a group are averaged; groups are kept
            apart. `propagate` sees B = * x S rows, in this order.
        interval: The longest time between two orthonormalizations.
        transient: The time for the tangents to find their directions, not counted.
        horizon: The time that each orbit is averaged over, at first.
        longest: The time that each orbit is averaged over, at most; None to stop at `horizon`.
        relative: The standard error asked of the leading exponent, relative to it, :math:`r`.
        absolute: The standard error that is always good enough, :math:`a`, per unit of time.
        carried: The number M of further columns of `start`, and of the x of `propagate`, that are no components but
            integrals along the orbit, :math:`\int g(x) \, dt`. Their mean rates are time averages of g, taken over the
            same orbits and times as the exponents.

    Returns:
        The spectrum, with K = D; it says whether it has converged.
    """
    *groups, orbits, columns = start.shape
    dimension = columns - carried
    x = start.reshape(-1, columns)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((dimension, dimension)))[0]
    tangents = np.broadcast_to(basis, (len(x), dimension, dimension))

    count = max(1, int(np.ceil(horizon / BLOCKS / interval)))  # intervals per block
    block = horizon / BLOCKS
    x, tangents, count = _settle(propagate, x, tangents, block=block, count=count, transient=transient)
    rates: list[np.ndarray] = []
    begin = x[:, dimension:]
    target, longest = BLOCKS, (longest or horizon) / block
    while True:
        while len(rates) < target:
            x, tangents, growth = _block(propagate, x, tangents, block / count, count)
            rates.append(growth / block)
        history = np.stack(rates).reshape(len(rates), *groups, orbits, dimension)
        exponents, stderr, converged = _estimate(history, relative=relative, absolute=absolute)
        lost = np.isnan(exponents).any(-1)
        if np.all(converged | lost) or target >= longest:
            break
        target = int(np.ceil(min(1.5 * target, longest)))
    elapsed = len(rates) * block
    average = ((x[:, dimension:] - begin) / elapsed).reshape(*groups, orbits, carried).mean(-2)
    return Spectrum(exponents, stderr, elapsed, converged, average)


def kaplan_yorke(exponents: np.ndarray) -> np.ndarray:
    r"""Compute the Kaplan-Yorke dimension of an attractor.

    .. math:: D_{KY} = j + \frac{\lambda_1 + \dots + \lambda_j}{|\lambda_{j+1}|}

    with j the largest number for which the sum is not negative.

    Arguments:
        exponents: The exponents, descending, with shape (*, K).

    Returns:
        The dimension, with shape (*): 0 if all exponents are negative, K if no sum is, NaN if one is NaN.
    """
    exponents = np.asarray(exponents, dtype=float)
    total = np.concatenate([np.zeros((*exponents.shape[:-1], 1)), np.cumsum(exponents, axis=-1)], axis=-1)
    j = total.shape[-1] - 1 - np.argmax(total[..., ::-1] >= 0, axis=-1)
    following = np.concatenate([exponents, np.full((*exponents.shape[:-1], 1), -np.inf)], axis=-1)
    dimension = j + _take(total, j) / np.abs(_take(following, j))
    return np.where(np.isnan(exponents).any(-1), np.nan, dimension)


def standard_error(history: np.ndarray) -> np.ndarray:
    """Estimate the standard error of the mean of correlated samples from several orbits.

    Pairs of neighbors are averaged again and again. While the blocks are short their scatter misjudges the error of the
    mean (too small for correlated samples, too large for oscillating ones); once they are long against the correlation
    time it stays level. So the longest blocks count, of which at least 24 are left: the largest of the last three
    values is taken.

    Arguments:
        history: Samples, equally spaced in time, with shape (T, *, S, K) for S orbits.

    Returns:
        The standard error of the mean over T and S, with shape (*, K).
    """
    errors = []
    while True:
        samples = np.moveaxis(history, 0, -2).reshape(*history.shape[1:-2], -1, history.shape[-1])
        errors.append(samples.std(-2, ddof=1) / np.sqrt(samples.shape[-2]))
        pairs = len(history) // 2
        if pairs * history.shape[-2] < max(SAMPLES, history.shape[-2]):
            return np.max(errors[-3:], axis=0)
        history = history[: 2 * pairs].reshape(pairs, 2, *history.shape[1:]).mean(1)


def _estimate(history: np.ndarray, *, relative: float, absolute: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponents (*, K), standard errors (*, K) and whether they are as asked (*), from rates (T, *, S, K)."""
    exponents, stderr = history.mean((0, -2)), standard_error(history)
    order = np.argsort(-exponents, axis=-1)
    exponents, stderr = _take(exponents, order), _take(stderr, order)
    total = standard_error(history.sum(-1, keepdims=True))[..., 0]
    leading = stderr[..., 0] <= np.maximum(relative * np.abs(exponents[..., 0]), absolute)
    return exponents, stderr, leading & (total <= 5e-4 * np.abs(exponents).max(-1))


def _settle(
    propagate: Propagate, x: np.ndarray, tangents: np.ndarray, *, block: float, count: int, transient: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Let the tangents find their directions; the intervals of a block become as many as the spread asks for."""
    elapsed = 0.0
    while elapsed < transient:
        after, turned, growth = _stretch(propagate, x, tangents, block / count)
        if _spread(growth) > SPREAD and block / count > transient * 1e-6:
            count *= 2
            continue
        x, tangents, elapsed = after, turned, elapsed + block / count
    return x, tangents, count


def _block(
    propagate: Propagate, x: np.ndarray, tangents: np.ndarray, interval: float, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow `count` intervals: states (B, D), tangents (B, D, K) and log growth (B, K)."""
    growth = 0.0
    for _ in range(count):
        x, tangents, stretched = _advance(propagate, x, tangents, interval)
        growth = growth + stretched
    return x, tangents, growth


def _advance(
    propagate: Propagate, x: np.ndarray, tangents: np.ndarray, interval: float, halvings: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow one interval; in halves, where the tangents would lose rank (a burst that the transient did not show)."""
    after, turned, growth = _stretch(propagate, x, tangents, interval)
    if halvings == 0 or _spread(growth) <= SPREAD:
        return after, turned, growth
    x, tangents, first = _advance(propagate, x, tangents, interval / 2, halvings - 1)
    x, tangents, second = _advance(propagate, x, tangents, interval / 2, halvings - 1)
    return x, tangents, first + second


def _stretch(
    propagate: Propagate, x: np.ndarray, tangents: np.ndarray, duration: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Propagate and orthonormalize: states (B, D), tangents (B, D, K) and log growth (B, K)."""
    x, stretched = propagate(x, tangents, duration)
    tangents, R = np.linalg.qr(np.where(np.isfinite(x).all(-1)[:, None, None], stretched, np.nan))
    return x, tangents, np.log(np.abs(np.diagonal(R, axis1=-2, axis2=-1)))


def _spread(growth: np.ndarray) -> float:
    """The ratio of the fastest to the slowest growth, the largest among the orbits that have not diverged."""
    alive = growth[np.isfinite(growth).all(-1)]
    return float(np.exp(np.ptp(alive, axis=-1).max())) if len(alive) else 1.0


def _take(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Elements of the last axis, by an index with shape (*) or (*, K)."""
    if index.ndim == values.ndim:
        return np.take_along_axis(values, index, -1)
    return np.take_along_axis(values, index[..., None], -1)[..., 0]
