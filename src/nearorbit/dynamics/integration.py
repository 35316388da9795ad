r"""How many Runge-Kutta steps a training needs from sample to sample, so that it learns a field and not an integrator.

The error of n steps of the classical method over one sample interval h, at a field f and from states x of the data, is

.. math:: e_n = \max_{x, i} \frac{|\hat x_i(h; n) - x_i(h)|}{\sigma_i},

in deviations :math:`\sigma_i` of the components; it falls like :math:`n^{-4}`. A training takes the least n whose error
is within the accuracy that its study asks for. Where samples are missing or moved, h is the longest interval that is
bridged, and n steps are made in all. Where the truth is simulated, f is the true field and :math:`x(h)` the next true
state. Where it is not, f is fitted to the data (:mod:`nearorbit.data.fitted_field`), and :math:`x(h)` is what
twice as many steps give.
"""

from collections.abc import Callable

import numpy as np

from nearorbit.study.catalogue import StudyError

LARGEST = 64  # steps that are tried
BEYOND = 1.2  # times the extent of the states that a fitted field starts at
FINE = 1e-7  # deviations: an error that no training needs to be smaller
STATES = 2**17  # equally spaced in the data, that are tried at most

Derivative = Callable[[np.ndarray], np.ndarray]  # (N, D) -> (N, D)


def step_errors(field: Derivative, orbits: np.ndarray, deviation: np.ndarray, step: float) -> np.ndarray:
    """Compute the errors at a field whose orbits are known.

    Arguments:
        field: The field, states (N, D) to time derivatives (N, D).
        orbits: Orbits of it, equally spaced in time, with shape (*, T, D).
        deviation: The deviations of the components, with shape (D,).
        step: The sample interval h.

    Returns:
        The errors of 1, 2, ... steps, with shape (64,), not computed any more where they are below 1e-7: zero there.
    """
    states, ends = (thinned(piece) for piece in (orbits[..., :-1, :], orbits[..., 1:, :]))
    return errors_over(field, states, ends, deviation, step)


def errors_over(
    field: Derivative, states: np.ndarray, ends: np.ndarray, deviation: np.ndarray, interval: float
) -> np.ndarray:
    """Compute the errors over an interval, at a field that takes states (N, D) to ends (N, D) in that time.

    Returns:
        The errors as :func:`step_errors` gives them.
    """
    return _until_fine(lambda n: _advanced(field, states, interval, n) - ends, deviation)


def doubled_errors(field: Derivative, states: np.ndarray, deviation: np.ndarray, step: float) -> np.ndarray:
    """Estimate the errors at a field whose orbits are not known, by twice as many steps.

    A field that is fitted to data may leave them for infinity from states at their edge. Those from which it goes
    beyond 1.2 times the extent of all states, by however many steps, tell nothing and are left out, unless they all do.

    Arguments:
        field: The field, states (N, D) to time derivatives (N, D).
        states: States, with shape (*, D).
        deviation: The deviations of the components, with shape (D,).
        step: The sample interval h.

    Returns:
        The errors as :func:`step_errors` gives them.
    """
    states = thinned(states)
    ends = _advanced(field, states, step, 2 * LARGEST)
    stays = (np.abs(ends) <= BEYOND * np.abs(states).max(0)).all(-1)
    states = states[stays | ~stays.any()]
    return _until_fine(lambda n: np.subtract(*(_advanced(field, states, step, k) for k in (n, 2 * n))), deviation)


def least_steps(errors: np.ndarray, accuracy: float) -> int:
    """Find the least number of steps whose error, from errors with shape (64,), is within an accuracy.

    Raises:
        StudyError: If none is.
    """
    enough = np.flatnonzero((errors <= accuracy) & (accuracy >= FINE))
    if not len(enough):
        raise StudyError(
            f"training.accuracy: {accuracy:g} deviations are not reached by {len(errors)} Runge-Kutta steps between "
            f"two samples ({errors[-1]:.1g}): sample more densely (data.*.samples_per_period), ask for less, or give "
            f"training.substeps as a number"
        )
    return int(enough[0]) + 1


def _until_fine(wrong: Callable[[int], np.ndarray], deviation: np.ndarray) -> np.ndarray:
    """The largest of what so many steps are wrong by, in deviations, with shape (64,); until they are fine."""
    errors = np.zeros(LARGEST)
    for n in range(1, LARGEST + 1):
        difference = wrong(n)
        errors[n - 1] = np.where(np.isfinite(difference), np.abs(difference) / deviation, np.inf).max()
        if errors[n - 1] < FINE:
            break
    return errors


def thinned(states: np.ndarray) -> np.ndarray:
    """Take at most STATES of states with shape (*, D), equally spaced; returns shape (N, D)."""
    flat = states.reshape(-1, states.shape[-1])
    return flat[:: -(-len(flat) // STATES)]


@np.errstate(all="ignore")  # too few steps may leave for infinity: an error like others
def _advanced(field: Derivative, x: np.ndarray, step: float, count: int) -> np.ndarray:
    """Make `count` steps of the classical Runge-Kutta method over an interval."""
    h = step / count
    for _ in range(count):
        k1 = field(x)
        k2 = field(x + h / 2 * k1)
        k3 = field(x + h / 2 * k2)
        k4 = field(x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x
