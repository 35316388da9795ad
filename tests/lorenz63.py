"""Lorenz' system in a few lines of NumPy: data for tests that need neither dysts nor heyoka."""

import numpy as np
import xarray as xr

from nearorbit.data.observations import observe
from nearorbit.dynamics.integration import errors_over, step_errors
from nearorbit.study import sampling
from nearorbit.study.clock import Clock
from nearorbit.truth.systems.base import System

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
STEP, PERIOD = 0.03, 0.75


class Lorenz(System):
    """The equations, in any array namespace."""

    def __init__(self):
        super().__init__("lorenz63", ("x", "y", "z"), {}, np.array([1.0, 1.0, 25.0]), PERIOD)

    def __call__(self, x, xp=np):
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        return xp.stack([SIGMA * (b - a), a * (RHO - c) - b, a * b - BETA * c], -1)


def jacobian(x):
    """The true Jacobian at states with shape (*, 3)."""
    J = np.zeros((*x.shape, 3))
    J[..., 0, :2] = -SIGMA, SIGMA
    J[..., 1, 1], J[..., 2, 2] = -1, -BETA
    J[..., 1, 0], J[..., 1, 2] = RHO - x[..., 2], -x[..., 0]
    J[..., 2, 0], J[..., 2, 1] = x[..., 1], x[..., 0]
    return J


def orbit(start, samples, *, step=STEP, substeps=10):
    """Samples of the orbits of states with shape (*, 3), as (*, samples, 3), accurate to about 1e-7."""
    f, h, x = Lorenz(), step / substeps, start
    states = [start]
    for _ in range(samples - 1):
        for _ in range(substeps):
            k1 = f(x)
            k2 = f(x + h / 2 * k1)
            k3 = f(x + h / 2 * k2)
            k4 = f(x + h * k3)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(x)
    return np.stack(states, -2)


def propagators(x, step, *, substeps=10):
    """The true fundamental matrices over a step, or those of each (*, 1, 1), from states (*, 3)."""
    f, H, M = Lorenz(), np.asarray(step) / substeps, np.broadcast_to(np.eye(3), (*x.shape, 3))
    h = H[..., 0] if H.ndim else H
    for _ in range(substeps):
        k1, K1 = f(x), jacobian(x) @ M
        k2, K2 = f(y := x + h / 2 * k1), jacobian(y) @ (M + H / 2 * K1)
        k3, K3 = f(y := x + h / 2 * k2), jacobian(y) @ (M + H / 2 * K2)
        k4, K4 = f(y := x + h * k3), jacobian(y) @ (M + H * K3)
        x, M = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), M + H / 6 * (K1 + 2 * K2 + 2 * K3 + K4)
    return M


def orbits(seeds=2, count=1, samples=600, step=STEP, **irregular):
    """Training and validation orbits on the attractor, as ``orbits.nc`` has them; sampled elsewhere if asked."""
    starts = np.random.default_rng(0).normal([1.0, 1.0, 25.0], 1.0, (seeds, count, 3))
    train = orbit(orbit(starts, 500)[..., -1, :], samples, step=step)
    validation = orbit(train[..., -1, :], samples // 4, step=step)
    errors = step_errors(Lorenz(), train, train.std((0, 1, 2)), step)
    made = xr.Dataset(
        {
            "train": (("seed", "orbit", "time", "component"), train),
            "validation": (("seed", "validation_orbit", "validation_time", "component"), validation),
            "integration_error": (("seed", "substeps"), np.tile(errors, (seeds, 1))),
            "step": step,
            "period": PERIOD,
        },
        coords={"seed": np.arange(seeds)},
    )
    return sampled(made, **irregular) if irregular else made


def moved(states, times, substeps=20):
    """The states (*, 3) some times (*) later, or earlier, as accurate as the orbits."""
    f, h = Lorenz(), (times / substeps)[..., None]
    for _ in range(substeps):
        k1 = f(states)
        k2 = f(states + h / 2 * k1)
        k3 = f(states + h / 2 * k2)
        k4 = f(states + h * k3)
        states = states + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return states


def sampled(orbits, **irregular):
    """The same orbits, samples of which are missing or moved, as ``orbits.nc`` has them."""
    step, bridged = float(orbits["step"]), float(orbits["step"]) * sampling.bridged(irregular)
    orbits = orbits.assign(gap=step * irregular.get("gap", sampling.GAP))
    for prefix, name in (("", "train"), ("validation_", "validation")):
        seeds, count, samples, _ = orbits[name].shape
        drawn = np.stack([sampling.moments(name, "Lorenz", e, (count, samples), irregular) for e in range(seeds)])
        late = np.nan_to_num(drawn - np.arange(samples))
        dimensions = orbits[name].dims
        orbits[f"{prefix}instants"] = dimensions[:3], step * drawn
        orbits[f"{prefix}sampled"] = dimensions, moved(orbits[name].to_numpy(), step * late)
    states = orbits["train"].to_numpy().reshape(-1, 3)
    errors = errors_over(Lorenz(), states, moved(states, np.full(len(states), bridged)), states.std(0), bridged)
    orbits["integration_error"] = orbits["integration_error"].dims, np.tile(errors, (orbits.sizes["seed"], 1))
    return orbits


def observations(noise=0.0, **settings):
    """Observed orbits, as ``observations.nc`` has them."""
    noiseless = orbits(**settings)
    exponents = xr.Dataset({"deviation": noiseless["train"].std(["seed", "orbit", "time"])})
    return observe(noiseless, exponents, label="Lorenz", noise=noise)


def supervision(observed):
    """What is true at the observed states, as ``supervision.nc`` and ``propagators.nc`` have it."""
    dims, states, step = observed["train"].dims, observed["train"].to_numpy(), float(observed["step"])
    scale = observed["scale"].to_numpy()[:, None, None]
    perturbed = states + 0.5 * scale * np.random.default_rng(0).standard_normal(states.shape)
    return xr.Dataset(
        {
            "field": (dims, Lorenz()(states)),
            "jacobian": ((*dims, "direction"), jacobian(states)),
            "perturbed": (dims, perturbed),
            "perturbed_jacobian": ((*dims, "direction"), jacobian(perturbed)),
            "exponents": ("exponent", np.array([0.9056, 0.0, -14.572])),
            "propagator": (
                (*dims, "direction"),
                propagators(states, step * Clock.of(observed).next()[..., None, None]),
            ),
            "fingerprint": observed["fingerprint"],
        }
    )


def table_of_truth(seeds=2, count=8, samples=300):
    """The table of the truth, as ``truth.nc`` has it: so many orbits of a seed, each of so many samples."""
    starts = orbit(np.random.default_rng(0).normal([1.0, 1.0, 25.0], 1.0, (seeds, count, 3)), 500)[..., -1, :]
    runs = orbit(starts, samples)
    clock = STEP * np.arange(samples)
    points = runs[:, :, 30]
    return xr.Dataset(
        {
            "forecasts": (("seed", "start", "lead", "component"), runs),
            "attractor": (("seed", "run", "sample", "component"), runs[:, :3]),
            "windows": (("seed", "window", "moment", "component"), runs[:, :2, :20]),
            "region": (("window", "moment"), np.zeros((2, 20), np.int8)),
            "points": (("seed", "point", "component"), points),
            "field": (("seed", "point", "component"), Lorenz()(points)),
            "jacobian": (("seed", "point", "component", "direction"), jacobian(points)),
            "exponents": (("seed", "exponent"), np.tile([0.9056, 0.0, -14.572], (seeds, 1))),
            "stderr": (("seed", "exponent"), np.zeros((seeds, 3))),
            "converged": ("seed", np.ones(seeds, np.int8)),
            "horizon": 100 * PERIOD,
            "best_step": ("seed", np.zeros(seeds)),
            "diverged": ("seed", np.zeros(seeds, np.int8)),
            "collapsed": ("seed", np.zeros(seeds, np.int8)),
            "step": STEP,
            "period": PERIOD,
        },
        coords={"seed": np.arange(seeds), "lead": clock, "sample": clock},
        attrs={"motion": "chaotic"},
    )
