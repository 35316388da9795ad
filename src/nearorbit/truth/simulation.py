"""Simulated orbits: those that are observed, and those that learned fields are held against.

Times are in units of system time, states in system units. It is one module since a truth has the spacing
of its data, and windows cut from their orbits.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.dynamics.integration import errors_over, step_errors, thinned
from nearorbit.study import sampling
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import MANY
from nearorbit.study.seeds import generator
from nearorbit.truth.draws import drawn, orbit_from
from nearorbit.truth.integrators import Evaluate, compiled, orbits_of
from nearorbit.truth.propagators import advanced
from nearorbit.truth.systems.base import System, attributes

PERTURBATION = 0.5  # standard deviations of the data: of states off it, as in Kang, Nguyen and Bui-Thanh (2026)
HALVINGS = 32  # of such a move, until the true Jacobian is defined
TRANSIENT = 50  # periods, before the orbits of the truth


def orbits(
    system: System,
    exponents: xr.Dataset,
    *,
    label: str,
    seeds: int,
    data: Mapping[str, Any],
    window: float,
    beyond: int | None = None,
) -> xr.Dataset:
    """Simulate the orbits to train on and to validate with, fresh ones for each seed unless they share them.

    Arguments:
        system: The system.
        exponents: Its averages and states on the attractor, from :func:`nearorbit.truth.attractors.exponents`.
        label: Its label in the study, which names its random numbers.
        seeds: The number of seeds E.
        data: How it is observed: `orbits`, `samples` each, `samples_per_period`, `samples_per_lyapunov_time` or
            `spacing` in system time, and `transient` in periods. With 0 the transients are kept, and orbits start
            anywhere in a box, the attractor's mean +- 2 standard deviations. A start whose orbit leaves 8 deviations
            is drawn again. With `start`, in system units, the training orbit begins there at time 0, before its
            transient; those for validation then begin on the attractor. With `shared` all seeds have those of seed 0.
            With `missing` or `jitter` the same orbits are sampled at other times.
        window: The length of `continuation`, the samples that follow each training orbit, in periods.
        beyond: The number of these samples, if they are not to be as long as a window.

    Returns:
        `train` (seed, orbit, time, component), `continuation`, `validation` (a fifth as much as `train`), `redrawn`
        (seed; the share of the starts that were drawn again), `step` and `period`; noiseless, in system units; and
        `integration_error` (seed, substeps), what so many Runge-Kutta steps from sample to sample are wrong by, in
        deviations, at the true field, the same for all seeds (:mod:`nearorbit.dynamics.integration`). Where samples are
        missing or moved, these are orbits all the same; when samples are taken is in `instants` (seed, orbit, time) and
        `validation_instants`, NaN where one is missing, the states at that time are `sampled` and `validation_sampled`
        if some are moved, and `gap` is the longest interval that is bridged, that of the errors; in system time.

    Raises:
        StudyError: If the attractor is a point, hardly an orbit stays bounded, that from `start` does not, or there is
            no Lyapunov time.
    """
    if exponents.attrs["motion"] == "fixed point":
        raise StudyError(
            f"systems.{label}: with these parameters '{system.name}' comes to rest at a fixed point, of which there is "
            f"nothing to learn; choose others"
        )
    period = float(exponents["period"])
    step = _spacing(data, exponents, label)
    count, samples, (others, held_out) = data["orbits"], data["samples"], sampling.held_out(data)
    time = step * np.arange(samples + (beyond or round(window * period / step)))
    begin, start, shared = data["transient"] * period, data.get("start"), data.get("shared", False)
    draw = partial(drawn, orbits_of(system), exponents)
    random = [generator("orbits", label, seed) for seed in range(1 if shared else seeds)]
    if start is None:
        train, redrawn = map(np.stack, zip(*(draw(rng, count, begin + time) for rng in random), strict=True))
    else:
        train, redrawn = orbit_from(orbits_of(system), exponents, start, begin + time)[None, None], np.zeros(1)
    held = [draw(rng, others, begin + time[:held_out], on_attractor=start is not None)[0] for rng in random]
    train, redrawn, validation = (np.repeat(a, seeds // len(a), 0) for a in (train, redrawn, np.stack(held)))
    evaluate, deviation = compiled(system), exponents["deviation"].values
    if sampling.is_irregular(data):
        irregular = _irregular(system, (train[:, :, :samples], validation), label=label, data=data, step=step)
        states, interval = thinned(train[:, :, :samples]), step * sampling.bridged(data)
        ends = advanced(system, states, np.full(len(states), interval))[0]
        errors = errors_over(lambda x: evaluate(x)[0], states, ends, deviation, interval)
    else:
        irregular, errors = {}, step_errors(lambda x: evaluate(x)[0], train[:, :, :samples], deviation, step)
    return xr.Dataset(
        {
            "train": (("seed", "orbit", "time", "component"), train[:, :, :samples]),
            "continuation": (("seed", "orbit", "continuation_time", "component"), train[:, :, samples:]),
            "validation": (("seed", "validation_orbit", "validation_time", "component"), validation),
            "redrawn": ("seed", redrawn),
            "integration_error": (("seed", "substeps"), np.tile(errors, (seeds, 1)), {"units": "deviations"}),
            "step": ((), step, {"units": "system time"}),
            "period": ((), period, {"units": "system time"}),
        }
        | irregular,
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


def _irregular(
    system: System, orbits: tuple[np.ndarray, np.ndarray], *, label: str, data: Mapping[str, Any], step: float
) -> dict[str, Any]:
    """Tell when samples of orbits (E, O, T, D), to train on and for validation, are taken, and the states there."""
    drawn = zip(*(sampling.instants(label, seed, data) for seed in range(len(orbits[0]))), strict=True)
    made: dict[str, Any] = {"gap": ((), step * data.get("gap", sampling.GAP), {"units": "system time"})}
    for prefix, states, times in zip(("", "validation_"), orbits, map(np.stack, drawn), strict=True):
        dimensions = "seed", f"{prefix}orbit", f"{prefix}time"
        made[f"{prefix}instants"] = dimensions, step * times, {"units": "system time"}
        if not data.get("jitter"):
            continue
        # Each is integrated from the equally spaced one before it, to the rounding error.
        late = np.where(np.isnan(times), 0.0, times - np.arange(times.shape[-1]))
        before = np.arange(times.shape[-1]) - (late < 0)
        starts = np.take_along_axis(states, before[..., None], 2).reshape(-1, system.dimension)
        ends = advanced(system, starts, step * (late + (late < 0)).reshape(-1))[0]
        made[f"{prefix}sampled"] = (*dimensions, "component"), ends.reshape(states.shape)
    return made


def _spacing(data: Mapping[str, Any], exponents: xr.Dataset, label: str) -> float:
    """Tell the time between two samples, in system units."""
    if "samples_per_lyapunov_time" not in data:
        return data.get("spacing") or float(exponents["period"]) / data["samples_per_period"]
    if exponents.attrs["motion"] != "chaotic":
        raise StudyError(
            f"systems.{label}: its motion is {exponents.attrs['motion']}, and there is no Lyapunov time to sample by; "
            f"give samples_per_period or spacing in place of data.*.samples_per_lyapunov_time, or leave out the system"
        )
    return 1 / float(exponents["exponents"][0]) / data["samples_per_lyapunov_time"]


def truth(
    system: System,
    orbits: xr.Dataset,
    exponents: xr.Dataset,
    *,
    label: str,
    evaluation: Mapping[str, Any],
    behind: int = 0,
) -> xr.Dataset:
    """Simulate what forecasts are held against: the table of the truth.

    Arguments:
        system: The system.
        orbits: The training orbits, from :func:`orbits`.
        exponents: The spectrum and the states on the attractor, from :func:`nearorbit.truth.attractors.exponents`.
        label: The system's label in the study, which names its random numbers.
        evaluation: The settings of the evaluation: `points`; `starts`; `horizon` of forecasts in units of
            1 / lambda_1, and their `longest` in periods; `runs` and their `samples`; `windows`, the length of a
            `window` in periods, and how many samples they go on for `beyond` the data, by default as many as inside.
        behind: How many samples of each orbit come before all that.

    Returns:
        `forecasts`, `attractor`, `windows` and `region`, `points` with `field` and `jacobian`, `exponents` and
        `stderr`, and `best_step`, `diverged` and `collapsed`, which are 0; and the attribute `motion`. All states are
        noiseless and in system units.
    """
    seeds, step, period = orbits.sizes["seed"], float(orbits["step"]), float(orbits["period"])
    lead = step * np.arange(-behind, _lead_samples(exponents, evaluation, step))
    sample = step * np.arange(-behind, evaluation["samples"])
    draw = partial(drawn, orbits_of(system), exponents)
    random = [generator("truth", label, seed) for seed in range(seeds)]
    forecasts = np.stack([draw(rng, evaluation["starts"], TRANSIENT * period + lead)[0] for rng in random])
    attractor = np.stack([draw(rng, evaluation["runs"], TRANSIENT * period + sample)[0] for rng in random])
    visited = attractor.reshape(seeds, -1, system.dimension)
    points = visited[:, np.arange(evaluation["points"]) * visited.shape[1] // evaluation["points"]]
    field, jacobian = compiled(system)(points)
    beyond = evaluation.get("beyond")
    inside = round(evaluation["window"] * period / step) if beyond else orbits.sizes["continuation_time"]
    windows, region = _windows(orbits, evaluation["windows"], inside, beyond, behind)
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
            "moment": step * np.arange(-behind, windows.shape[2] - behind),
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


def _windows(
    orbits: xr.Dataset, count: int, inside: int, beyond: int | None, behind: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut windows (E, M, W + B + 1, D) from the end of the training orbits and beyond, with regions (M, W + B + 1).

    So many samples come before each, and are in no region.

    Window m is cut from orbit m modulo their number and starts m W / M samples after :math:`t_{end} - W`. W is the
    number of samples inside, or as many as there are, and B that beyond, or W.
    """
    states = np.concatenate([orbits["train"].values, orbits["continuation"].values], axis=2)
    end = orbits.sizes["time"] - 1
    width = min(inside, end - behind)
    last = end + (beyond or width)
    begins = end - width + (np.arange(count) * width // count)[:, None]
    moments = begins + np.arange(-behind, last - end + width + 1)
    region = np.where(moments <= end, 0, np.where(moments <= last, 1, -1)).astype(np.int8)
    orbit = (np.arange(count) % states.shape[1])[:, None]
    windows = states[:, orbit, np.minimum(moments, states.shape[2] - 1)]
    windows = np.where((region >= 0)[..., None], windows, np.nan)
    return windows, np.where(moments < begins, np.int8(-1), region)


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
