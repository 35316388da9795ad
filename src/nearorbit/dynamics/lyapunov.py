r"""Lyapunov exponents: the mean rates at which tangent vectors grow along an orbit.

Tangents :math:`V` follow :math:`\dot{V} = J(x) V` and all turn toward the fastest direction, so they are
re-orthonormalized again and again, :math:`V = Q R`. The exponents are

.. math:: \lambda_k = \lim_{t \to \infty} \frac{1}{t} \sum_n \log |R_{kk}^{(n)}|

with the natural logarithm, per unit of the time of `propagate`. They are estimates: time averages over finite orbits,
whose standard errors come from the scatter of block averages. Nothing here knows what is propagated; the truth and a
learned field are judged by the same lines.

*What kind of motion.* A finite time knows no exponent better than what a bounded factor would do to it: tangents of a
regular orbit grow in proportion to time, so that their exponent falls like :math:`\log t / t` and looks positive at any
time. An orbit is called chaotic where the leading exponent is positive beyond three standard errors *and* has stretched
tangents by more than :math:`e^{20}`, which takes regular motion longer than anybody waits.

*How often.* A column of V is known to the rounding of the longest one, so :math:`R_{kk}` has a relative error of about
1e-16 times the spread :math:`\max R / \min R`. Intervals are halved until the spread stays below 1e8: a strongly
contracting field gets short ones, and only it.

It is one module since a spectrum, its standard errors and what they say of the motion stand on the same averages.

References:
    | Lyapunov characteristic exponents for smooth dynamical systems, part 2 (Benettin et al., Meccanica 1980)
    | Error estimates on averages of correlated data (Flyvbjerg and Petersen, J. Chem. Phys. 1989)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Propagate = Callable[..., tuple[np.ndarray, np.ndarray]]

SPREAD = 1e8  # of the growth of the tangents between two orthonormalizations
BLOCKS = 32  # per orbit and horizon
SAMPLES = 24  # block averages, at least, behind a standard error
LASTING = 25  # horizons, after which growth that is still no more than that of shear is taken for it
CHAOS, SHEAR = 20.0, 12.0  # log growth of tangents: more than regular motion has, and what it may have in long times


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents, of one field or of groups of orbits (``*``) that belong to different fields.

    Arguments:
        exponents: The exponents, descending, with shape (*, K); NaN for a group with an orbit that diverged.
        stderr: Their standard errors, with shape (*, K).
        horizon: The time that each orbit was averaged over.
        converged: Whether the standard errors asked for were reached, with shape (*).
        average: The mean rates of the integrals carried along, with shape (*, M).
        history: The mean rates of growth of the tangents in blocks of the horizon, with shape (T, *, S, K).
        last: The states at the end, with shape (*, S, D + M).
    """

    exponents: np.ndarray
    stderr: np.ndarray
    horizon: float
    converged: np.ndarray
    average: np.ndarray
    history: np.ndarray
    last: np.ndarray


def spectrum(
    propagate: Propagate,
    start: np.ndarray,
    *,
    interval: float,
    transient: float,
    horizon: float,
    longest: float | None = None,
    relative: float = 0.01,
    absolute: float = 0.0,
    total: float = 5e-4,
    growth: float = 0.0,
    carried: int = 0,
    spread: float = SPREAD,
) -> Spectrum:
    r"""Estimate all Lyapunov exponents from few long orbits.

    The estimate has converged when the standard error of the leading exponent is at most
    :math:`\max(r |\lambda_1|, a)` and that of the sum at most `total` of the largest modulus, or :math:`a` where none
    has made tangents grow or shrink by more than shear does, and a leading exponent
    that is positive beyond three standard errors has made tangents grow enough to tell chaos from shear. If it has not
    at `horizon`, the orbits go on, up to `longest`. Short orbits are biased and their errors look too small: a horizon
    spans at least hundreds of periods, and more starts do not replace it.

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
        total: The standard error asked of the sum, relative to the largest modulus.
        growth: The log growth :math:`\lambda_1 t` that is asked of a positive leading exponent.
        carried: The number M of further columns of `start`, and of the x of `propagate`, that are no components but
            integrals along the orbit, :math:`\int g(x) \, dt`. Their mean rates are time averages of g, taken over the
            same orbits and times as the exponents.
        spread: The spread of the growth of tangents at which intervals are halved: where `propagate` rounds more than
            double precision does, less.

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
    x, tangents, count = _settle(propagate, x, tangents, block=block, count=count, transient=transient, spread=spread)
    rates: list[np.ndarray] = []
    begin = x[:, dimension:]
    target, longest = BLOCKS, (longest or horizon) / block
    while True:
        while len(rates) < target:
            x, tangents, grown = _block(propagate, x, tangents, block / count, count, spread)
            rates.append(grown / block)
        history = np.stack(rates).reshape(len(rates), *groups, orbits, dimension)
        asked = {"relative": relative, "absolute": absolute, "total": total}
        exponents, stderr, converged = _estimate(history, elapsed=len(rates) * block, **asked)
        grown = exponents[..., 0] * len(rates) * block
        shear = (grown < SHEAR) & (len(rates) >= LASTING * BLOCKS)
        converged &= (exponents[..., 0] <= 3 * stderr[..., 0]) | (grown >= growth) | shear
        lost = np.isnan(exponents).any(-1)
        if np.all(converged | lost) or target >= longest:
            break
        target = int(np.ceil(min(1.5 * target, longest)))
    elapsed = len(rates) * block
    average = ((x[:, dimension:] - begin) / elapsed).reshape(*groups, orbits, carried).mean(-2)
    last = x.reshape(*groups, orbits, columns)
    return Spectrum(exponents, stderr, elapsed, converged, average, history, last)


def motion(exponents: np.ndarray, stderr: np.ndarray, *, horizon: float, converged: bool, rest: bool = False) -> str:
    """Tell what kind of motion a spectrum is that of.

    Arguments:
        exponents: The exponents, descending, with shape (K,).
        stderr: Their standard errors, with shape (K,).
        horizon: The time that each orbit was averaged over.
        converged: Whether the standard errors asked for were reached.
        rest: Whether the orbits have come to rest.

    Returns:
        ``chaotic``, ``quasi-periodic or regular``, ``periodic``, ``fixed point`` or ``not converged``. A leading
        exponent that is positive but has not stretched tangents by more than shear does counts as zero, and so does
        every exponent that is no larger than it, or than what a factor of e makes in this time: one zero is a cycle,
        more are a torus or the regular motion of a system without friction.
    """
    leading = exponents[0]
    growth, positive = leading * horizon, leading > 3 * stderr[0]
    if np.isnan(exponents).any() or (positive and SHEAR <= growth < CHAOS):
        return "not converged"
    if positive and growth >= CHAOS:
        return "chaotic"
    if rest or growth <= -SHEAR:
        return "fixed point"
    if not converged:
        return "not converged"
    zeros = np.abs(exponents) <= np.maximum(3 * stderr, max(abs(leading), 1 / horizon))
    return "periodic" if zeros.sum() == 1 else "quasi-periodic or regular"


def kaplan_yorke(exponents: np.ndarray, stderr: np.ndarray | None = None) -> np.ndarray:
    r"""Compute the Kaplan-Yorke dimension of an attractor.

    .. math:: D_{KY} = j + \frac{\lambda_1 + \dots + \lambda_j}{|\lambda_{j+1}|}

    with j the largest number for which the sum is not negative. An exponent within two standard errors of zero counts
    as zero: a cycle has dimension 1 and a torus 2, whatever the sign of the noise on their zeros.

    Arguments:
        exponents: The exponents, descending, with shape (*, K).
        stderr: Their standard errors, with shape (*, K); zero if None.

    Returns:
        The dimension, with shape (*): 0 if all exponents are negative, K if no sum is, NaN if one is NaN.
    """
    exponents = np.asarray(exponents, dtype=float)
    if stderr is not None:
        exponents = np.where(np.abs(exponents) <= 2 * np.asarray(stderr), 0.0, exponents)
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


def _estimate(
    history: np.ndarray, *, elapsed: float, relative: float, absolute: float, total: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponents (*, K), standard errors (*, K) and whether they are as asked (*), from rates (T, *, S, K)."""
    exponents, stderr = history.mean((0, -2)), standard_error(history)
    order = np.argsort(-exponents, axis=-1)
    exponents, stderr = _take(exponents, order), _take(stderr, order)
    of_sum = standard_error(history.sum(-1, keepdims=True))[..., 0]
    leading = stderr[..., 0] <= np.maximum(relative * np.abs(exponents[..., 0]), absolute)
    largest = np.abs(exponents).max(-1)
    zero = np.where(largest * elapsed < SHEAR, absolute, 0.0)  # a share of exponents that all vanish is none
    return exponents, stderr, leading & (of_sum <= np.maximum(total * largest, zero))


def _settle(
    propagate: Propagate,
    x: np.ndarray,
    tangents: np.ndarray,
    *,
    block: float,
    count: int,
    transient: float,
    spread: float,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Let the tangents find their directions; the intervals of a block become as many as the spread asks for."""
    elapsed = 0.0
    while elapsed < transient:
        after, turned, growth = _stretch(propagate, x, tangents, block / count)
        if _spread(growth) > spread and block / count > transient * 1e-6:
            count *= 2
            continue
        x, tangents, elapsed = after, turned, elapsed + block / count
    return x, tangents, count


def _block(
    propagate: Propagate, x: np.ndarray, tangents: np.ndarray, interval: float, count: int, spread: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow `count` intervals: states (B, D), tangents (B, D, K) and log growth (B, K)."""
    growth = np.zeros((len(x), tangents.shape[-1]))
    for _ in range(count):
        x, tangents, stretched = _advance(propagate, x, tangents, interval, spread)
        growth = growth + stretched
    return x, tangents, growth


def _advance(
    propagate: Propagate, x: np.ndarray, tangents: np.ndarray, interval: float, spread: float, halvings: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow one interval; in halves, where the tangents would lose rank (a burst that the transient did not show)."""
    after, turned, growth = _stretch(propagate, x, tangents, interval)
    if halvings == 0 or _spread(growth) <= spread:
        return after, turned, growth
    x, tangents, first = _advance(propagate, x, tangents, interval / 2, spread, halvings - 1)
    x, tangents, second = _advance(propagate, x, tangents, interval / 2, spread, halvings - 1)
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
