r"""Orbits and tangents of the true systems.

Smooth systems are integrated by Taylor's method at the rounding error of double precision, in heyoka's batch mode: one
instruction advances several orbits. Tangents solve the variational equation :math:`\dot{V} = J(x) V` along with the
orbit. Systems with kinks (absolute values, steps) go through scipy's DOP853 at a relative tolerance of 1e-10; at a jump
of f itself (not of its derivatives) tangents would jump too, which the variational equation does not know, so the
exponents of ``SprottMore`` are those between jumps. So do the tangents of smooth systems of many components whose
Jacobian has many entries: J V is there one product of matrices, where Taylor's method has a series for each of its
terms (six times as fast for Kuramoto-Sivashinsky on 32 points).

Orbits of smooth systems are shared among as many threads as ``OMP_NUM_THREADS`` says, which Snakemake sets to those of
a rule; every batch is integrated by itself, so that their number changes no bit.

Times are in units of system time, states in system units. An orbit that leaves for infinity is NaN from there on.

It is one module since who integrates a system is decided in one place, for its orbits and for its tangents.

References:
    | Revisiting high-order Taylor methods for astrodynamics and celestial mechanics (Biscani and Izzo, MNRAS 2021)
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from types import SimpleNamespace

import heyoka as hy
import numpy as np

from nearorbit.dynamics.lyapunov import Propagate
from nearorbit.truth.systems.base import System

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # states (*, D) -> f (*, D), J (*, D, D)
Orbits = Callable[[np.ndarray, np.ndarray], np.ndarray]  # starts (*, D), times (T,) -> states (*, T, D)
Integrate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # a batch (WIDTH, D) -> its states, what is lost

WIDTH = 8  # orbits that are integrated side by side
SHARE = 256  # orbits, at least, that another thread is worth
TERMS = 10_000  # of J V, up to which Taylor's method is the faster one
NUMBERS = 1_000_000  # that DOP853 moves at once, in some 200 MB
STEPS = 2000  # of the integrator per sample, on average; an orbit that needs more is on its way to infinity


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


def compiled(system: System) -> Evaluate:
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
    """Compile states and their tangents for :func:`nearorbit.dynamics.lyapunov.spectrum`.

    Returns:
        A function of x (B, 3 D + 1), tangents (B, D, D) and a duration, or one of each row (B,), not negative. Behind
        the D components, x carries the integrals of div f, of the components and of their squares.
    """
    return _taylor_tangents(system) if system.smooth and _terms(system) <= TERMS else _dop853_tangents(system)


def _taylor_orbits(system: System) -> Orbits:
    state, field = expressions(system)
    D = system.dimension
    equations = list(zip(state, field, strict=True))
    integrators = [hy.taylor_adaptive_batch(equations, np.zeros((D, WIDTH)), compact_mode=D > 4)]

    def integrate(number: int, times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        integrator = integrators[number]
        integrator.set_time(0.0)
        integrator.state[:] = rows.T
        lanes = np.repeat(times[:, None], WIDTH, axis=1)
        states = integrator.propagate_grid(lanes, max_steps=STEPS * len(times))[1]
        return np.moveaxis(states, -1, 0), _lost(integrator)

    def orbits(starts: np.ndarray, times: np.ndarray) -> np.ndarray:
        whole = np.unique(np.append(0.0, times))
        rows = starts.reshape(-1, D)
        threads = int(os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0] or 1)  # it may be a list, by level
        wanted = max(1, min(threads, len(rows) // SHARE))
        integrators.extend(deepcopy(integrators[0]) for _ in range(wanted - len(integrators)))
        states = _in_threads([partial(integrate, number, whole) for number in range(wanted)], rows)
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

    def integrate(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        integrator.set_time(0.0)
        integrator.state[:] = rows[:, :-1].T
        integrator.propagate_until(rows[:, -1].copy())
        return integrator.state.T.copy(), _lost(integrator)

    def propagate(x: np.ndarray, tangents: np.ndarray, duration: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The integrals start at 0 each time: the integrator's tolerance is relative to its largest variable.
        durations, begun = np.broadcast_to(duration, len(x))[:, None], np.zeros((len(x), len(integrals)))
        before = np.concatenate([x[:, :D], tangents.reshape(len(x), -1), begun, durations], axis=1)
        return _unpacked(_in_batches(integrate, before), x)

    return propagate


def _terms(system: System) -> int:
    """Count the products of an entry of the Jacobian that is not always zero with a component of a tangent."""
    state, field = expressions(system)
    return len(state) * sum(len(hy.get_variables(value)) for value in field)


def _unpacked(after: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split rows of states, tangents and increments of integrals; x has the integrals so far."""
    D = (x.shape[1] - 1) // 3
    state, tangents, increments = np.split(after, [D, D + D * D], axis=1)
    return np.concatenate([state, x[:, D:] + increments], axis=1), tangents.reshape(-1, D, D)


def _in_threads(integrates: Sequence[Integrate], rows: np.ndarray) -> np.ndarray:
    """Integrate rows in as many threads as there are functions to do it; each takes whole batches."""
    size = WIDTH * -(-len(rows) // (WIDTH * len(integrates)))
    pieces = [rows[i : i + size] for i in range(0, len(rows), size)]
    with ThreadPoolExecutor(len(pieces)) as pool:
        return np.concatenate(list(pool.map(_in_batches, integrates, pieces)))


def _in_batches(integrate: Integrate, rows: np.ndarray) -> np.ndarray:
    """Integrate rows in batches of WIDTH, the last filled up with copies."""
    filled = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % WIDTH, axis=0)])
    batches = [_isolated(integrate, filled[i : i + WIDTH]) for i in range(0, len(filled), WIDTH)]
    return np.concatenate(batches)[: len(rows)]


def _isolated(integrate: Integrate, rows: np.ndarray) -> np.ndarray:
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


def _dop853_tangents(system: System) -> Propagate:
    evaluate = compiled(system)
    D = system.dimension

    def derivative(t: float, flat: np.ndarray) -> np.ndarray:
        rows = flat.reshape(-1, D + D * D + 1 + 2 * D)
        state, tangents = rows[:, :D], rows[:, D : D + D * D].reshape(-1, D, D)
        f, J = evaluate(state)
        divergence = np.trace(J, axis1=-2, axis2=-1)[:, None]
        return np.concatenate([f, (J @ tangents).reshape(-1, D * D), divergence, state, state**2], axis=1).ravel()

    def integrate(rows: np.ndarray, durations: np.ndarray) -> np.ndarray:
        longest = np.max(durations)
        # All rows are one system: in each, time passes as fast as its duration is long.
        pace = (durations / (longest or 1.0)).repeat(rows.shape[1])
        after = _dop853(lambda t, flat: pace * derivative(t, flat), rows.ravel(), np.array([longest]))
        after = after.reshape(rows.shape)
        if len(rows) == 1 or np.isfinite(after).all():
            return after
        halves = zip(np.array_split(rows, 2), np.array_split(durations, 2), strict=True)
        return np.concatenate([integrate(*half) for half in halves])  # an orbit that is lost stops all

    def propagate(x: np.ndarray, tangents: np.ndarray, duration: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = np.concatenate([x[:, :D], tangents.reshape(len(x), -1), np.zeros((len(x), 1 + 2 * D))], axis=1)
        durations, size = np.broadcast_to(duration, len(x)), max(1, NUMBERS // before.shape[1])
        parts = [slice(i, i + size) for i in range(0, len(x), size)]
        return _unpacked(np.concatenate([integrate(before[part], durations[part]) for part in parts]), x)

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
        reached = np.reshape(solution.y, (len(start), -1))  # an empty list, if none was
        states[: reached.shape[1]] = reached.T
    return states
