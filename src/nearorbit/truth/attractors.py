"""What the attractor of a true system is: its Lyapunov spectrum, its period, its averages and its motion."""

import sys

import numpy as np
import xarray as xr

from nearorbit.dynamics.lyapunov import CHAOS, kaplan_yorke, motion, spectrum
from nearorbit.study.catalogue import StudyError
from nearorbit.study.seeds import generator
from nearorbit.truth.integrators import Orbits, compiled, orbits_of, propagator
from nearorbit.truth.spectra import peak_period
from nearorbit.truth.systems.base import System, attributes

SAMPLES_PER_PERIOD = 32  # of the reference orbits, for means and spectra
NUDGE = 1e-6  # standard deviations: enough for orbits to part, too little to leave a thin basin (SprottJerk)
PATIENCE = 300  # how many times the horizon a spectrum may take to converge
RELATIVE, ABSOLUTE = 0.01, 0.001  # standard errors of the leading exponent that are small enough: of it, or a period
SLOW = 4  # turns in a period, beyond which samples that are counted by it are sparse
REST = 1e-9  # a spread relative to the largest modulus, at which an orbit has come to rest


def exponents(
    system: System, *, label: str, starts: int, horizon: float, transient: float, patience: int = PATIENCE
) -> xr.Dataset:
    """Compute the Lyapunov spectrum of a system and the averages over its attractor, along the same orbits.

    The orbits go on beyond the horizon until the standard error of the leading exponent is 1 % of it, or 0.001 a period
    where it is small, and until chaos can be told from shear, up to `patience` horizons (one, for a
    system with kinks); `converged` says whether it is, and the attribute `motion` what kind of motion it is
    (:func:`nearorbit.dynamics.lyapunov.motion`). Where it is not chaotic, a line on standard error says so.

    Arguments:
        system: The system.
        label: Its label in the study, which names its random numbers.
        starts: The number of orbits.
        horizon: The time that each orbit is averaged over, at first, in periods.
        transient: The time for the tangents to find their directions, in periods.
        patience: The number of horizons that they may go on for.

    Returns:
        `exponents`, `stderr` (exponent), per unit of system time; `kaplan_yorke`; `divergence`, the mean of div f;
        `mean` and `deviation` (component) on the attractor; `period`; `states` (state, component) from all over it.

    Raises:
        StudyError: If the orbit leaves for infinity, or a component grows without bound.
    """
    simulate = orbits_of(system)
    period = system.period or dominant_period(system, simulate)
    times = period * (5 * transient + np.arange(int(horizon * SAMPLES_PER_PERIOD)) / SAMPLES_PER_PERIOD)
    states = simulate(system.start, times) if np.isfinite(period) else np.array([np.nan])
    if not np.isfinite(states).all():
        raise StudyError(f"systems.{label}: the orbit of '{system.name}' leaves for infinity; check its parameters")

    with np.errstate(all="ignore"):  # at rest nothing turns
        turn = _turn(system, states)
    if period > SLOW * turn > 0:
        print(f"warning: systems.{label}: its period is {period:.3g}, and orbits turn in about {turn:.2g}: samples per "
              "period are few per turn; give data.*.spacing instead", file=sys.stderr)  # fmt: skip
    first = states[np.arange(starts) * len(states) // starts]
    first = first + NUDGE * states.std(0) * generator("reference", label).standard_normal(first.shape)
    result = spectrum(
        propagator(system),
        np.concatenate([first, np.zeros((starts, 1 + 2 * system.dimension))], axis=1),
        interval=period / 4,
        transient=transient * period,
        horizon=horizon * period,
        longest=horizon * period * (patience if system.smooth else 1),
        relative=RELATIVE,
        absolute=ABSOLUTE / period,
        growth=CHAOS,
        carried=1 + 2 * system.dimension,
    )
    divergence, mean, square = np.split(result.average, [1, 1 + system.dimension])
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    kind = motion(
        result.exponents,
        result.stderr,
        horizon=result.horizon,
        converged=bool(result.converged),
        rest=bool((states.std(0) <= REST * np.abs(states).max()).all()),
    )
    if kind != "chaotic":
        leading = f"{result.exponents[0]:.2g} +- {result.stderr[0]:.1g}"
        print(f"warning: systems.{label}: {kind}, its leading exponent is {leading}: there is no Lyapunov time, and "
              "scores in Lyapunov times will be blank", file=sys.stderr)  # fmt: skip
    return xr.Dataset(
        {
            "exponents": ("exponent", result.exponents, {"units": "1 / system time"}),
            "stderr": ("exponent", result.stderr, {"units": "1 / system time"}),
            "converged": ((), np.int8(result.converged)),
            "horizon": ((), result.horizon, {"units": "system time"}),
            "kaplan_yorke": ((), kaplan_yorke(result.exponents, result.stderr)),
            "divergence": ((), divergence[0], {"units": "1 / system time"}),
            "mean": ("component", mean),
            "deviation": ("component", deviation),
            "period": ((), period, {"units": "system time"}),
            "states": (("state", "component"), states[:: max(1, len(states) // 1024)]),
        },
        coords={"exponent": np.arange(1, system.dimension + 1), "component": list(system.components)},
        attrs=attributes(system) | {"starts": starts, "transient": transient, "motion": kind},
    )


def dominant_period(system: System, simulate: Orbits) -> float:
    """Estimate the period at the peak of the power spectrum, averaged over the standardized components.

    The scale of time comes first, :math:`2 \\pi` rms(x) / rms(f), from an orbit that grows until its length is many
    times that scale. For an orbit that comes to rest it is the scale alone, and NaN for one that leaves.
    """
    state = system.start
    scale = longest = 2 * np.pi / np.linalg.norm(compiled(system)(state)[1], 2)  # shorter than any motion
    for _ in range(16):
        states = simulate(state, np.linspace(0, 64 * scale, 1025))
        if not np.isfinite(states).all():
            return np.nan
        if (states.std(0) <= REST * np.abs(states).max()).all():
            return float(scale)
        state = states[-1]
        scale = _turn(system, states)
        longest = max(longest, scale)
    if not np.isfinite(simulate(system.start, np.linspace(0, 1024 * longest, 1025))).all():
        return np.nan  # one that runs away faster and faster: its scale would shrink for ever
    states = simulate(state, np.linspace(0, 1024 * scale, 16 * 1024 + 1))
    return peak_period(states, rate=float(16 / scale), segment=16 * 64)


def _turn(system: System, states: np.ndarray) -> np.floating:
    """The scale of time of states (T, D), :math:`2 \\pi` rms(x) / rms(f)."""
    return 2 * np.pi * np.linalg.norm(states - states.mean(0)) / np.linalg.norm(system(states))
