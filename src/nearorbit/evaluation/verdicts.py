r"""What is concluded from data without a truth: intervals of learned exponents, agreement of methods, and words.

Seeds of measured data differ in their initial weights and not in what they have seen: they err alike, and their mean is
no better known than one of them. The interval of an exponent is therefore that in which another seed lies with 95 %,

.. math:: \bar\lambda \pm \sqrt{t_{E-1}^2 (1 + 1/E) \, s^2 + (2 b)^2}, \qquad s^2 = \max(s_\lambda^2, \bar\epsilon^2)

with the scatter :math:`s_\lambda` of E seeds, the standard errors :math:`\epsilon` of their finite orbits, and what the
method is off by, b, on a twin: a known system that was observed like this one. Without a twin b is 0, and the interval
knows nothing of what the data do to all seeds alike.

Two methods *agree* if their leading exponents differ by less than their intervals, added in quadrature.
"""

import numpy as np
from scipy.stats import t as student

CONFIDENCE = 0.975  # on either side
STRAYED = 1.0  # nats beyond the floor, of an attractor that is not that of the recording
WORDS = {  # what is concluded, of a series and of a method
    "nothing": "nothing can be learned",
    "linear": "no more than a linear process shows",
    "regular": "regular, not chaotic",
    "chaos": "chaotic",
    "no chaos": "not chaotic",
    "undecided": "undecided",
    "failed": "failed",
}


def interval(exponents: np.ndarray, stderr: np.ndarray, off: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Summarize the exponents of seeds.

    Arguments:
        exponents: With shape (E, D).
        stderr: Their standard errors, likewise.
        off: What the method is off by on a twin, with shape (D); 0 where that is not known.

    Returns:
        The means and half of the widths of the intervals, both with shape (D); NaN where a seed has none, and so are
        the widths of a single seed, of which nobody knows the scatter.
    """
    seeds = len(exponents)
    mean = exponents.mean(0)
    if seeds < 2:
        return mean, np.full(mean.shape, np.nan)
    variance = np.maximum(exponents.var(0, ddof=1), np.square(stderr).mean(0))
    width = student.ppf(CONFIDENCE, seeds - 1)
    return mean, np.sqrt(width**2 * (1 + 1 / seeds) * variance + 4 * np.square(off))


def off(learned: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Compute what exponents (E, D) of seeds are off by from true ones (D): root mean squares, with shape (D)."""
    return np.sqrt(np.square(learned - true).mean(0))


def strayed(divergence: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Tell which seeds forecast from the data and live elsewhere: their exponents are of another attractor.

    Arguments:
        divergence: In state space, of their own orbits from the recording, with shape (E); NaN where one leaves.
        floor: That of one half of the recording from the other, likewise.
    """
    return ~(divergence <= floor + STRAYED)


def agreement(leading: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Tell which methods agree in their leading exponents.

    Arguments:
        leading: With shape (M).
        half: Half of the widths of their intervals, with shape (M).

    Returns:
        Whether they agree, with shape (M, M); no method agrees with itself, nor one whose interval is not known.
    """
    agree = np.abs(np.subtract.outer(leading, leading)) <= np.hypot.outer(half, half)
    return agree & ~np.eye(len(leading), dtype=bool)


def beats(valid: np.ndarray, *others: np.ndarray) -> bool:
    """Tell whether forecasts are valid for longer than those that know no dynamics, by two standard errors.

    Arguments:
        valid: The times for which they are valid, with shape (E, S).
        others: Those of persistence and climatology, likewise.
    """
    gain = (valid - np.max([other.mean(1, keepdims=True) for other in others], 0)).mean(0)  # starts are shared
    return bool(len(gain) > 1 and gain.mean() > 2 * gain.std(ddof=1) / len(gain) ** 0.5)


def concluded(character: str, leading: float, half: float, *, forecasts: bool) -> str:
    """Conclude what a method has learned of a series.

    Arguments:
        character: The character of the series, of :data:`nearorbit.data.structure.CHARACTERS`.
        leading: The leading exponent.
        half: Half of the width of its interval.
        forecasts: Whether the method forecasts better than persistence and climatology.

    Returns:
        One of WORDS. Chaos needs a series that is irregular, forecasts, and an interval above zero.
    """
    if character == "nothing" or not forecasts:
        return "nothing"
    if character in ("regular", "linear"):
        return character
    if leading - half > 0:
        return "chaos" if character == "irregular" else "undecided"
    return "no chaos" if leading + half < 0 else "undecided"
