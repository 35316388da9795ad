"""Simulated orbits: those that are observed, and those that learned fields are held against.

Times are in units of system time, states in system units. It is one module since all orbits are drawn by the same rule.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.dynamics.integration import step_errors
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import MANY
from nearorbit.study.seeds import generator
from nearorbit.truth.integrators import Evaluate, Orbits, compiled, orbits_of
from nearorbit.truth.systems.base import System, attributes

ESCAPE = 8.0  # standard deviations from the mean, beyond which a start is redrawn
PERTURBATION = 0.5  # standard deviations of the data: of states off it, as in Kang, Nguyen and Bui-Thanh (2026)
HALVINGS = 32  # of such a move, until the true Jacobian is defined
BOX = 2.0  # standard deviations: half the side of the box of starts off the attractor
TRANSIENT = 50  # periods, before the orbits of the truth


def orbits(
    system: System, exponents: xr.Dataset, *, label: str, seeds: int, data: Mapping[str, Any], window: float
) -> xr.Dataset:
    """Simulate the orbits to train on and to validate with, fresh ones for each seed.

    Arguments:
        system: The system.
        exponents: Its averages and states on the attractor, from :func:`nearorbit.truth.attractors.exponents`.
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
        deviations, at the true field, the same for all seeds (:mod:`nearorbit.dynamics.integration`).

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
        attrs=attributes(system),
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
        exponents: The spectrum and the states on the attractor, from :func:`nearorbit.truth.attractors.exponents`.
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
        attrs=attributes(system) | {"motion": exponents.attrs["motion"]},
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
        exponents: The spectrum, from :func:`nearorbit.truth.attractors.exponents`.
        label: The system's label in the study, which names its random numbers.

    Returns:
        `field` and `jacobian` (..., component, direction) at these states; `perturbed`, the same states moved by
        PERTURBATION standard deviations of the data at random, and where they leave the domain of the equations by
        half of that, again and again, with the `perturbed_jacobian` there; and the true `exponents`; in system units
        and the precision of the observations; with their `fingerprint`.
    """
    observed = observations["train"]
    evaluate = partial(_along, compiled(system))
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
        attrs=attributes(system),
    )


def _along(evaluate: Evaluate, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate f (*, D) and J (*, D, D) at states (*, D) and in their precision, a million at once."""
    field, jacobian = np.empty_like(states, order="C"), np.empty((*states.shape, states.shape[-1]), states.dtype)
    flat, *values = (array.reshape(-1, *array.shape[states.ndim - 1 :]) for array in (states, field, jacobian))
    for begin in range(0, len(flat), MANY):
        some = slice(begin, begin + MANY)
        for into, computed in zip(values, evaluate(flat[some].astype(np.float64)), strict=True):
            into[some] = computed
    return field, jacobian
