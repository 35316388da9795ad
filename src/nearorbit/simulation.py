r"""The ground truth: orbits, tangents and Lyapunov exponents of the true systems.

Smooth systems are integrated by Taylor's method at the rounding error of double precision, in heyoka's batch mode: one
instruction advances several orbits. Tangents solve the variational equation :math:`\dot{V} = J(x) V` along with the
orbit. Systems with kinks (absolute values, steps) go through scipy's DOP853 at a relative tolerance of 1e-10; at a jump
of f itself (not of its derivatives) tangents would jump too, which the variational equation does not know, so the
exponents of ``SprottMore`` are those between jumps.

Times are in units of system time, states in system units. An orbit that leaves for infinity is NaN from there on.

References:
    | Revisiting high-order Taylor methods for astrodynamics and celestial mechanics (Biscani and Izzo, MNRAS 2021)
"""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import heyoka as hy
import numpy as np
import xarray as xr

from nearorbit import __version__
from nearorbit.catalogue import StudyError
from nearorbit.integration import step_errors
from nearorbit.lyapunov import CHAOS, Propagate, kaplan_yorke, motion, spectrum
from nearorbit.seeds import generator
from nearorbit.systems.base import System

Orbits = Callable[[np.ndarray, np.ndarray], np.ndarray]  # starts (*, D), times (T,) -> states (*, T, D)

WIDTH = 8  # orbits that are integrated side by side
STEPS = 2000  # of the integrator per sample, on average; an orbit that needs more is on its way to infinity
ESCAPE = 8.0  # standard deviations from the mean, beyond which a start is redrawn
PERTURBATION = 0.5  # standard deviations of the data: of states off it, as in Kang, Nguyen and Bui-Thanh (2026)
HALVINGS = 32  # of such a move, until the true Jacobian is defined
BOX = 2.0  # standard deviations: half the side of the box of starts off the attractor
SAMPLES_PER_PERIOD = 32  # of the reference orbits, for means and spectra
NUDGE = 1e-6  # standard deviations: enough for orbits to part, too little to leave a thin basin (SprottJerk)
PATIENCE = 300  # how many times the horizon a spectrum may take to converge
TRANSIENT = 50  # periods, before the orbits of the truth
REST = 1e-9  # a spread relative to the largest modulus, at which an orbit has come to rest


def symbol_namespace() -> SimpleNamespace:
    """Make the array namespace in which a system yields expressions of heyoka: object arrays of symbols."""
    names = ("sin", "cos", "tanh", "exp", "sinh", "cosh", "sqrt", "log")
    elementwise = {name: np.frompyfunc(getattr(hy, name), 1, 1) for name in names}
    return SimpleNamespace(
        moveaxis=np.moveaxis,
        roll=np.roll,
        stack=lambda values, axis: np.array(values, dtype=object),
        abs=np.frompyfunc(lambda x: hy.select(hy.lt(x, 0.0), -x, x), 1, 1),
        sign=np.frompyfunc(lambda x: hy.select(hy.lt(x, 0.0), -1.0, hy.select(hy.gt(x, 0.0), 1.0, 0.0)), 1, 1),
        **elementwise,
    )


def expressions(system: System) -> tuple[list[hy.expression], list[hy.expression]]:
    """Write the system in symbols: its D components and the D expressions of their time derivatives."""
    state = [hy.expression(f"x{i}") for i in range(system.dimension)]
    values = system(np.array(state, dtype=object), symbol_namespace())
    return state, [value + hy.expression(0.0) for value in values]


def compiled(system: System) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Compile the field and its exact Jacobian.

    Arguments:
        system: The system.

    Returns:
        A function of states, (*, D) -> f (*, D) and J (*, D, D) with :math:`J_{ij} = \\partial f_i / \\partial x_j`.
    """
    state, field = expressions(system)
    D = system.dimension
    jacobian = [hy.diff(f, x) for f in field for x in state]
    function = hy.cfunc([*field, *jacobian], state, compact_mode=D > 4)

    def evaluate(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = function(np.ascontiguousarray(x.reshape(-1, D).T)).T
        return values[:, :D].reshape(x.shape), values[:, D:].reshape(*x.shape, D)

    return evaluate


def orbits_of(system: System) -> Orbits:
    """Compile the orbits of a system.

    Returns:
        A function of starts (*, D) and ascending times (T,) -> states (*, T, D); the orbits start at time 0, which need
        not be among the times.
    """
    return _taylor_orbits(system) if system.smooth else _kinked_orbits(system)


def propagator(system: System) -> Propagate:
    """Compile states and their tangents for :func:`nearorbit.lyapunov.spectrum`.

    Returns:
        A function of x (B, 3 D + 1), tangents (B, D, D) and a duration. Behind the D components, x carries the
        integrals of div f, of the components and of their squares.
    """
    return _taylor_tangents(system) if system.smooth else _kinked_tangents(system)


def _taylor_orbits(system: System) -> Orbits:
    state, field = expressions(system)
    D = system.dimension
    integrator = hy.taylor_adaptive_batch(
        list(zip(state, field, strict=True)), np.zeros((D, WIDTH)), compact_mode=D > 4
    )

    def integrate(rows: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        integrator.set_time(0.0)
        integrator.state[:] = rows.T
        lanes = np.repeat(times[:, None], WIDTH, axis=1)
        states = integrator.propagate_grid(lanes, max_steps=STEPS * len(times))[1]
        return np.moveaxis(states, -1, 0), _lost(integrator)

    def orbits(starts: np.ndarray, times: np.ndarray) -> np.ndarray:
        whole = np.unique(np.append(0.0, times))
        states = _in_batches(lambda rows: integrate(rows, whole), starts.reshape(-1, D))
        return states[:, -len(times) :].reshape(*starts.shape[:-1], len(times), D)

    return orbits


def _taylor_tangents(system: System) -> Propagate:
    state, field = expressions(system)
    D = system.dimension
    divergence = sum(hy.diff(f, x) for f, x in zip(field, state, strict=True))
    averaged = [divergence, *state, *(x**2 for x in state)]
    integrals = [(hy.expression(f"q{i}"), value) for i, value in enumerate(averaged)]
    variational = hy.var_ode_sys(list(zip(state, field, strict=True)), hy.var_args.vars, order=1).sys
    equations = [*variational, *integrals]
    integrator = hy.taylor_adaptive_batch(equations, np.zeros((len(equations), WIDTH)), compact_mode=D > 4)

    def integrate(rows: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
        integrator.set_time(0.0)
        integrator.state[:] = rows.T
        integrator.propagate_until(np.full(WIDTH, duration))
        return integrator.state.T.copy(), _lost(integrator)

    def propagate(x: np.ndarray, tangents: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
        # The integrals start at 0 each time: the integrator's tolerance is relative to its largest variable.
        before = np.concatenate([x[:, :D], tangents.reshape(len(x), -1), np.zeros((len(x), len(integrals)))], axis=1)
        return _unpacked(_in_batches(lambda rows: integrate(rows, duration), before), x)

    return propagate


def _unpacked(after: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split rows of states, tangents and increments of integrals; x has the integrals so far."""
    D = (x.shape[1] - 1) // 3
    state, tangents, increments = np.split(after, [D, D + D * D], axis=1)
    return np.concatenate([state, x[:, D:] + increments], axis=1), tangents.reshape(-1, D, D)


def _in_batches(integrate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], rows: np.ndarray) -> np.ndarray:
    """Integrate rows in batches of WIDTH, the last filled up with copies."""
    filled = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % WIDTH, axis=0)])
    batches = [_isolated(integrate, filled[i : i + WIDTH]) for i in range(0, len(filled), WIDTH)]
    return np.concatenate(batches)[: len(rows)]


def _isolated(integrate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], rows: np.ndarray) -> np.ndarray:
    """Integrate a batch. An orbit that is lost stops all of the batch: then the others start again without it."""
    values, lost = integrate(rows)
    if lost.any() and not lost.all():
        others = np.where(lost[:, None], rows[~lost][0], rows)
        values[~lost] = _isolated(integrate, others)[~lost]
    return values


def _lost(integrator: hy.taylor_adaptive_batch) -> np.ndarray:
    """Tell which orbits of the batch (WIDTH,) became infinite, or hold up the others by ever shorter steps."""
    outcomes = np.array([result[0] for result in integrator.propagate_res])
    slowest = integrator.time == integrator.time.min()
    infinite, short = hy.taylor_outcome.err_nf_state, hy.taylor_outcome.step_limit
    return (outcomes == infinite) | ((outcomes == short) & slowest)


def _kinked_orbits(system: System) -> Orbits:
    evaluate = compiled(system)

    def orbit(start: np.ndarray, times: np.ndarray) -> np.ndarray:
        return _dop853(lambda t, x: evaluate(x)[0], start, times)

    def orbits(starts: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.stack([orbit(x, times) for x in starts.reshape(-1, system.dimension)]).reshape(
            *starts.shape[:-1], len(times), system.dimension
        )

    return orbits


def _kinked_tangents(system: System) -> Propagate:
    evaluate = compiled(system)
    D = system.dimension

    def derivative(t: float, flat: np.ndarray) -> np.ndarray:
        rows = flat.reshape(-1, D + D * D + 1 + 2 * D)
        state, tangents = rows[:, :D], rows[:, D : D + D * D].reshape(-1, D, D)
        f, J = evaluate(state)
        divergence = np.trace(J, axis1=-2, axis2=-1)[:, None]
        return np.concatenate([f, (J @ tangents).reshape(-1, D * D), divergence, state, state**2], axis=1).ravel()

    def propagate(x: np.ndarray, tangents: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
        before = np.concatenate([x[:, :D], tangents.reshape(len(x), -1), np.zeros((len(x), 1 + 2 * D))], axis=1)
        after = _dop853(derivative, before.ravel(), np.array([duration])).reshape(before.shape)
        return _unpacked(after, x)

    return propagate


def _dop853(derivative: Callable, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """States (T, M) at the times; NaN from where the solver gave up."""
    from scipy.integrate import solve_ivp  # few jobs need it, and scipy.integrate and .signal take a second to import

    states = np.full((len(times), len(start)), np.nan)
    if times[-1] == 0:
        states[:] = start
    elif np.isfinite(start).all():
        with np.errstate(all="ignore"):
            solution = solve_ivp(derivative, (0, times[-1]), start, "DOP853", times, rtol=1e-10, atol=1e-10)
        states[: solution.y.shape[1]] = solution.y.T
    return states


def exponents(system: System, *, label: str, starts: int, horizon: float, transient: float) -> xr.Dataset:
    """Compute the Lyapunov spectrum of a system and the averages over its attractor, along the same orbits.

    The orbits go on beyond the horizon until the standard error of the leading exponent is 1 % of it, or 0.001 a period
    where it is small, and until chaos can be told from shear, up to PATIENCE horizons (one, for a system with kinks);
    `converged` says whether it is, and the attribute `motion` what kind of motion it is
    (:func:`nearorbit.lyapunov.motion`). Where it is not chaotic, a line on standard error says so.

    Arguments:
        system: The system.
        label: Its label in the study, which names its random numbers.
        starts: The number of orbits.
        horizon: The time that each orbit is averaged over, at first, in periods.
        transient: The time for the tangents to find their directions, in periods.

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

    first = states[np.arange(starts) * len(states) // starts]
    first = first + NUDGE * states.std(0) * generator("reference", label).standard_normal(first.shape)
    result = spectrum(
        propagator(system),
        np.concatenate([first, np.zeros((starts, 1 + 2 * system.dimension))], axis=1),
        interval=period / 4,
        transient=transient * period,
        horizon=horizon * period,
        longest=horizon * period * (PATIENCE if system.smooth else 1),
        absolute=0.001 / period,
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
        attrs=_attributes(system) | {"starts": starts, "transient": transient, "motion": kind},
    )


def dominant_period(system: System, simulate: Orbits) -> float:
    """Estimate the period at the peak of the power spectrum, averaged over the standardized components.

    The scale of time comes first, :math:`2 \\pi` rms(x) / rms(f), from an orbit that grows until its length is many
    times that scale. For an orbit that comes to rest it is the scale alone, and NaN for one that leaves.
    """
    from scipy.signal import welch

    state = system.start
    scale = longest = 2 * np.pi / np.linalg.norm(compiled(system)(state)[1], 2)  # shorter than any motion
    for _ in range(16):
        states = simulate(state, np.linspace(0, 64 * scale, 1025))
        if not np.isfinite(states).all():
            return np.nan
        if (states.std(0) <= REST * np.abs(states).max()).all():
            return scale
        state = states[-1]
        scale = 2 * np.pi * np.linalg.norm(states - states.mean(0)) / np.linalg.norm(system(states))
        longest = max(longest, scale)
    if not np.isfinite(simulate(system.start, np.linspace(0, 1024 * longest, 1025))).all():
        return np.nan  # one that runs away faster and faster: its scale would shrink for ever
    states = simulate(state, np.linspace(0, 1024 * scale, 16 * 1024 + 1))
    frequency, power = welch(states / states.std(0), fs=16 / scale, nperseg=16 * 64, axis=0)
    return float(1 / frequency[1 + np.argmax(power[1:].mean(1))])


def orbits(
    system: System, exponents: xr.Dataset, *, label: str, seeds: int, data: Mapping[str, Any], window: float
) -> xr.Dataset:
    """Simulate the orbits to train on and to validate with, fresh ones for each seed.

    Arguments:
        system: The system.
        exponents: Its averages and states on the attractor, from :func:`exponents`.
        label: Its label in the study, which names its random numbers.
        seeds: The number of seeds E.
        data: How it is observed: `orbits`, `samples` each, `samples_per_period` or `spacing` in system time, and
            `transient` in periods. With 0 the transients are kept, and orbits start anywhere in a box, the
            attractor's mean +- 2 standard deviations. A start whose orbit leaves 8 deviations is drawn again.
        window: The length of `continuation`, the samples that follow each training orbit, in periods.

    Returns:
        `train` (seed, orbit, time, component), `continuation`, `validation` (a fifth as much as `train`), `redrawn`
        (seed; the share of the starts that were drawn again), `step` and `period`; noiseless, in system units; and
        `integration_error` (seed, substeps), what so many Runge-Kutta steps from sample to sample are wrong by, in
        deviations, at the true field, the same for all seeds (:mod:`nearorbit.integration`).

    Raises:
        StudyError: If the attractor is a point, or hardly an orbit stays bounded.
    """
    if exponents.attrs["motion"] == "fixed point":
        raise StudyError(
            f"systems.{label}: with these parameters '{system.name}' comes to rest at a fixed point, of which there is "
            f"nothing to learn; choose others"
        )
    period = float(exponents["period"])
    step = data.get("spacing") or period / data["samples_per_period"]
    count, samples = data["orbits"], data["samples"]
    others = max(1, count // 5)
    held_out = max(2, count * samples // (5 * others))
    time = step * np.arange(samples + round(window * period / step))
    begin = data["transient"] * period
    draw = partial(_draw, orbits_of(system), exponents)
    random = [generator("orbits", label, seed) for seed in range(seeds)]
    train, redrawn = map(np.stack, zip(*(draw(rng, count, begin + time) for rng in random), strict=True))
    validation = np.stack([draw(rng, others, begin + time[:held_out])[0] for rng in random])
    evaluate = compiled(system)
    errors = step_errors(lambda x: evaluate(x)[0], train[:, :, :samples], exponents["deviation"].values, step)
    return xr.Dataset(
        {
            "train": (("seed", "orbit", "time", "component"), train[:, :, :samples]),
            "continuation": (("seed", "orbit", "continuation_time", "component"), train[:, :, samples:]),
            "validation": (("seed", "validation_orbit", "validation_time", "component"), validation),
            "redrawn": ("seed", redrawn),
            "integration_error": (("seed", "substeps"), np.tile(errors, (seeds, 1)), {"units": "deviations"}),
            "step": ((), step, {"units": "system time"}),
            "period": ((), period, {"units": "system time"}),
        },
        coords={
            "seed": np.arange(seeds),
            "time": time[:samples],
            "continuation_time": time[samples:],
            "validation_time": time[:held_out],
            "substeps": 1 + np.arange(len(errors)),
            "component": list(system.components),
        },
        attrs=_attributes(system),
    )


def _draw(
    simulate: Orbits, exponents: xr.Dataset, rng: np.random.Generator, count: int, times: np.ndarray
) -> tuple[np.ndarray, float]:
    """Draw orbits (count, T, D) that stay bounded, and the share of the starts that had to be drawn again.

    Orbits whose times begin at 0 keep their transients and start in the box, the others on the attractor.
    """
    starts = _starts_on_attractor if times[0] else _starts_in_box
    mean, deviation = exponents["mean"].values, exponents["deviation"].values
    kept, drawn = np.empty((0, len(times), len(mean))), 0
    while len(kept) < count:
        missing = count - len(kept)
        states = simulate(starts(exponents, rng, missing), times)
        inside = np.all(np.abs(states - mean) <= ESCAPE * deviation, axis=(1, 2))  # False where NaN
        kept, drawn = np.concatenate([kept, states[inside]]), drawn + missing
        if drawn > 1000 * count:
            system = exponents.attrs["system"]
            raise StudyError(
                f"'{system}': of {drawn} starts only {len(kept)} lead to orbits that stay near the attractor; take a "
                f"transient (data.*.transient), or shorter orbits (data.*.samples)"
            )
    return kept, 1 - count / drawn


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


def truth(
    system: System, orbits: xr.Dataset, exponents: xr.Dataset, *, label: str, evaluation: Mapping[str, Any]
) -> xr.Dataset:
    """Simulate what forecasts are held against: the table of the truth.

    Arguments:
        system: The system.
        orbits: The training orbits, from :func:`orbits`.
        exponents: The spectrum and the states on the attractor, from :func:`exponents`.
        label: The system's label in the study, which names its random numbers.
        evaluation: The settings of the evaluation: `points`; `starts`; `horizon` of forecasts in units of
            1 / lambda_1, and their `longest` in periods; `runs` and their `samples`; `windows` and the length of a
            `window` in periods.

    Returns:
        `forecasts`, `attractor`, `windows` and `region`, `points` with `field` and `jacobian`, `exponents` and
        `stderr`, and `best_step`, `diverged` and `collapsed`, which are 0; and the attribute `motion`. All states are
        noiseless and in system units.
    """
    seeds, step, period = orbits.sizes["seed"], float(orbits["step"]), float(orbits["period"])
    lead = step * np.arange(_lead_samples(exponents, evaluation, step))
    sample = step * np.arange(evaluation["samples"])
    draw = partial(_draw, orbits_of(system), exponents)
    random = [generator("truth", label, seed) for seed in range(seeds)]
    forecasts = np.stack([draw(rng, evaluation["starts"], TRANSIENT * period + lead)[0] for rng in random])
    attractor = np.stack([draw(rng, evaluation["runs"], TRANSIENT * period + sample)[0] for rng in random])
    visited = attractor.reshape(seeds, -1, system.dimension)
    points = visited[:, np.arange(evaluation["points"]) * visited.shape[1] // evaluation["points"]]
    field, jacobian = compiled(system)(points)
    windows, region = _windows(orbits, evaluation["windows"])
    spectra = {name: exponents[name].expand_dims(seed=seeds) for name in ("exponents", "stderr", "converged")}
    return xr.Dataset(
        {
            "forecasts": (("seed", "start", "lead", "component"), forecasts),
            "attractor": (("seed", "run", "sample", "component"), attractor),
            "windows": (("seed", "window", "moment", "component"), windows),
            "region": (("window", "moment"), region),
            "points": (("seed", "point", "component"), points),
            "field": (("seed", "point", "component"), field),
            "jacobian": (("seed", "point", "component", "direction"), jacobian),
            "best_step": ("seed", np.zeros(seeds)),
            "diverged": ("seed", np.zeros(seeds, dtype=np.int8)),
            "collapsed": ("seed", np.zeros(seeds, dtype=np.int8)),
            "step": ((), step, {"units": "system time"}),
            "period": ((), period, {"units": "system time"}),
        }
        | spectra
        | {"horizon": exponents["horizon"]},
        coords={
            "seed": orbits["seed"],
            "lead": lead,
            "sample": sample,
            "moment": step * np.arange(windows.shape[2]),
            "component": orbits["component"],
            "direction": orbits["component"].values,
        },
        attrs=_attributes(system) | {"motion": exponents.attrs["motion"]},
    )


def _lead_samples(exponents: xr.Dataset, evaluation: Mapping[str, Any], step: float) -> int:
    """The samples of a forecast: `horizon` / lambda_1, or `longest` where that is shorter or there is no chaos."""
    longest = evaluation["longest"] * float(exponents["period"])
    leading = float(exponents["exponents"][0])
    chaotic = exponents.attrs["motion"] == "chaotic"
    duration = min(evaluation["horizon"] / leading, longest) if chaotic else longest
    return 1 + max(1, int(duration / step))


def _windows(orbits: xr.Dataset, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut windows (E, M, 2 W + 1, D) from the end of the training orbits and beyond, with their regions (M, 2 W + 1).

    Window m is cut from orbit m modulo their number and starts m W / M samples after :math:`t_{end} - W`.
    """
    states = np.concatenate([orbits["train"].values, orbits["continuation"].values], axis=2)
    end = orbits.sizes["time"] - 1
    width = min(orbits.sizes["continuation_time"], end)
    moments = end - width + (np.arange(count) * width // count)[:, None] + np.arange(2 * width + 1)
    region = np.where(moments <= end, 0, np.where(moments <= end + width, 1, -1)).astype(np.int8)
    orbit = (np.arange(count) % states.shape[1])[:, None]
    windows = states[:, orbit, np.minimum(moments, states.shape[2] - 1)]
    return np.where((region >= 0)[..., None], windows, np.nan), region


def supervision(system: System, observations: xr.Dataset, exponents: xr.Dataset, *, label: str) -> xr.Dataset:
    """Evaluate what only the truth knows, at the observed states: for methods that declare that they need it.

    Arguments:
        system: The system.
        observations: The observed states `train` (seed, orbit, time, component), in system units, noise included.
        exponents: The spectrum, from :func:`exponents`.
        label: The system's label in the study, which names its random numbers.

    Returns:
        `field` and `jacobian` (..., component, direction) at these states; `perturbed`, the same states moved by
        PERTURBATION standard deviations of the data at random, and where they leave the domain of the equations by
        half of that, again and again, with the `perturbed_jacobian` there; and the true `exponents`; in system units;
        with the `fingerprint` of the observations.
    """
    observed = observations["train"]
    evaluate = compiled(system)
    field, jacobian = evaluate(observed.values)
    perturbed = observed.copy(deep=True)
    for seed in observed["seed"].values:
        shifts = generator("perturbations", label, int(seed)).standard_normal(observed.sel(seed=seed).shape)
        perturbed.loc[{"seed": seed}] += PERTURBATION * observations["scale"].sel(seed=seed).values * shifts
    moved, jacobians = perturbed.values, evaluate(perturbed.values)[1]
    for _ in range(HALVINGS):
        if not (undefined := ~np.isfinite(jacobians).all((-2, -1))).any():
            break
        moved[undefined] = (moved[undefined] + observed.values[undefined]) / 2
        jacobians[undefined] = evaluate(moved[undefined])[1]
    return xr.Dataset(
        {
            "field": (observed.dims, field),
            "jacobian": ((*observed.dims, "direction"), jacobian),
            "perturbed": (observed.dims, moved),
            "perturbed_jacobian": ((*observed.dims, "direction"), jacobians),
            "exponents": ("exponent", exponents["exponents"].values),
            "fingerprint": observations["fingerprint"],
        },
        coords={"component": observed["component"], "direction": observed["component"].values},
        attrs=_attributes(system),
    )


def _attributes(system: System) -> dict[str, Any]:
    parameters = {key: np.asarray(value).tolist() for key, value in system.parameters.items()}
    return {
        "system": system.name,
        "parameters": json.dumps(parameters),
        "units": "system units",
        "nearorbit": __version__,
    }
