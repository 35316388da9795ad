"""Where orbits begin, and which of them count: one rule for all that are simulated.

Times are in units of system time, states in system units.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from nearorbit.study.catalogue import StudyError
from nearorbit.truth.integrators import Orbits

ESCAPE = 8.0  # standard deviations from the mean, beyond which a start is redrawn
BOX = 2.0  # standard deviations: half the side of the box of starts off the attractor


def orbit_from(simulate: Orbits, exponents: xr.Dataset, start: Sequence[float], times: np.ndarray) -> np.ndarray:
    """Simulate the orbit (T, D) from a start that the study gives."""
    states = simulate(np.array(start, dtype=float), times)
    if not _stays(states, exponents):
        raise StudyError(
            f"'{exponents.attrs['system']}': the orbit from data.*.start, {list(start)}, leaves {ESCAPE:g} deviations "
            f"of the attractor; take another start, or shorter orbits (data.*.samples)"
        )
    return states


def _stays(states: np.ndarray, exponents: xr.Dataset) -> np.ndarray:
    """Tell whether orbits (*, T, D) stay near the attractor, with shape (*)."""
    away = np.abs(states - exponents["mean"].values)
    return np.all(away <= ESCAPE * exponents["deviation"].values, axis=(-2, -1))  # False where NaN


def drawn(
    simulate: Orbits,
    exponents: xr.Dataset,
    rng: np.random.Generator,
    count: int,
    times: np.ndarray,
    *,
    on_attractor: bool = False,
) -> tuple[np.ndarray, float]:
    """Draw orbits (count, T, D) that stay bounded, and the share of the starts that had to be drawn again.

    Orbits whose times begin at 0 keep their transients and start in the box, unless asked for; the others on the
    attractor.
    """
    starts = _starts_on_attractor if times[0] or on_attractor else _starts_in_box
    kept, tried = np.empty((0, len(times), exponents.sizes["component"])), 0
    while len(kept) < count:
        missing = count - len(kept)
        states = simulate(starts(exponents, rng, missing), times)
        kept, tried = np.concatenate([kept, states[_stays(states, exponents)]]), tried + missing
        if tried > 1000 * count:
            system = exponents.attrs["system"]
            raise StudyError(
                f"'{system}': of {tried} starts only {len(kept)} lead to orbits that stay near the attractor; take a "
                f"transient (data.*.transient), or shorter orbits (data.*.samples)"
            )
    return kept, 1 - count / tried


def _starts_in_box(exponents: xr.Dataset, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw starts (count, D) from the box around the attractor."""
    mean, deviation = exponents["mean"].values, exponents["deviation"].values
    return mean + BOX * deviation * rng.uniform(-1, 1, (count, len(mean)))


def _starts_on_attractor(exponents: xr.Dataset, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw states (count, D) of the attractor, moved a little, so that equal ones part during the transient."""
    deviation = exponents["deviation"].values
    return rng.choice(exponents["states"].values, count) + 1e-3 * deviation * rng.standard_normal(
        (count, len(deviation))
    )
