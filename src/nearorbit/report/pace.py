"""What a forecast costs: the number of its steps, which the truth tells, and the seconds of one, which a network tells;
and what a training and the exponents of the truth cost.

A network that has learned nothing is as fast as one that has, but it goes elsewhere, and by other steps. So the steps
are counted of the true field, with the lengths of :mod:`nearorbit.evaluation.forecast`, and timed of the network.
"""

import time
from collections.abc import Callable, Mapping
from math import ceil, log
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.dynamics.fields import aligned
from nearorbit.dynamics.flow import propagate
from nearorbit.dynamics.lyapunov import CHAOS
from nearorbit.evaluation.forecast import ALIGNMENT, LATE
from nearorbit.evaluation.judged import Judged
from nearorbit.evaluation.steps import STEPS, TRIED, find_steps, step_errors
from nearorbit.training.devices import pick_device
from nearorbit.truth import attractors
from nearorbit.truth.systems.base import System

ENOUGH = 1.0  # seconds that the steps of a training are timed for, at least
STRETCH = 100  # steps of an integration that are timed
SEARCHES = 3  # for steps, in a forecast
MARGIN = 4  # times as long as a standard error needs to be small: it scatters, and has to be small for every member
AGAIN = 0.3  # how often a model drifts and starts anew, on average over those of methods.yaml: one in five, up to twice

# The time of the processor, which other work on the machine does not lengthen; where a GPU works, that of the wall.
clock = time.perf_counter if pick_device("auto").type == "cuda" else time.process_time


def timed(function: Callable, *given: Any, **asked: Any) -> tuple[Any, float]:
    """Call a function; returns what it returns, and the seconds that it took."""
    began = clock()
    result = function(*given, **asked)
    return result, clock() - began


def work(judged: Judged, averaged: float, exponents: Mapping[str, Any]) -> np.ndarray:
    """Count the steps of a forecast: of the true field, and of models as good as it, some of which drift.

    Arguments:
        judged: The true field.
        averaged: The time that the exponents of the truth were averaged over, times the number of orbits.
        exponents: The settings of learned spectra.

    Returns:
        The number of steps of orbits in time, of averages and of tangents, and the number of steps that are tried; of
        the true field and of a model, with shape (2, 4).
    """
    truth, accuracy = judged.truth, exponents.get("accuracy", 0.01)
    steps = find_steps(judged, judged.visited, small=accuracy * judged.leading)
    error = float(truth["stderr"][0, 0]) / (accuracy * judged.leading)
    needed = MARGIN * averaged * error**2 / _count(judged, exponents)
    horizon = exponents["horizon"] * judged.period
    horizon *= next((share for share in (1 / 2, 3 / 4) if share * horizon >= needed), 1.0)  # where a spectrum may end
    periods = judged.period / judged.step
    orbits = (truth.sizes["lead"] + truth.sizes["moment"]) / steps.orbit_step
    average = truth.sizes["sample"] * ceil(1 / steps.average_step) + LATE * periods / steps.average_step
    transient = exponents["transient"] * periods / steps.average_step
    tangents = (ALIGNMENT * periods + horizon / judged.step) / steps.spectrum_step
    shortest = min(steps.orbit_step, steps.average_step, steps.spectrum_step)
    tried = SEARCHES * (1 + STEPS.index(shortest))
    return np.array([[orbits, average + n * transient, n * tangents, tried] for n in (1, 1 + AGAIN)])


def pace(judged: Judged, exponents: Mapping[str, Any]) -> np.ndarray:
    """Time the steps that :func:`work` counts, in seconds, at a field that need not have learned anything."""
    single, length, times = judged.single, judged.step, judged.step * np.arange(1 + STRETCH)
    many, few = (judged.visited[:, :count] for count in (judged.truth.sizes["start"], _count(judged, exponents)))
    model, like = single.field.coordinates.inverse, single.tensor(few)
    advance = propagate(single.field.field, like=like, step=length, rate=aligned(model.rate, like))
    states = model(like).double().cpu().numpy().reshape(-1, like.shape[-1])
    tangents = np.broadcast_to(np.eye(like.shape[-1]), (len(states), *2 * like.shape[-1:]))
    tried = judged.visited[:, : max(1, TRIED // like.shape[-1])]
    parts: list[Callable[[], Any]] = [
        lambda: judged.orbits(many, times, longest=length),
        lambda: single.orbits(few, times, longest=length),
        lambda: advance(states, tangents, STRETCH * length),
        lambda: step_errors(judged, tried, 1.0),
    ]
    for part in parts:
        part()  # to warm up
    return np.array([timed(part)[1] for part in parts]) / [STRETCH, STRETCH, STRETCH, 1]


def _count(judged: Judged, exponents: Mapping[str, Any]) -> int:
    return max(exponents["starts"], judged.truth.sizes["run"])


def explored(system: System, asked: Mapping[str, Any]) -> tuple[xr.Dataset, float]:
    """Explore an attractor; returns the spectrum of a horizon or two, and the seconds of one that has converged."""
    found, seconds = timed(attractors.exponents, system, **asked, patience=1)
    if found["converged"] or not system.smooth:
        return found, seconds
    found, again = timed(attractors.exponents, system, **asked, patience=2)
    leading, stderr = (float(found[name][0]) for name in ("exponents", "stderr"))
    reached, period = (float(found[name]) for name in ("horizon", "period"))
    horizon = asked["horizon"] * period
    needed = reached * (stderr / max(attractors.RELATIVE * abs(leading), attractors.ABSOLUTE / period)) ** 2
    if leading > 3 * stderr:
        needed = max(needed, CHAOS / leading)
    rounds = ceil(log(max(needed, 1.5 * horizon) / horizon) / log(1.5))  # each has half as much again
    whole = min(1.5**rounds, attractors.PATIENCE) * horizon
    return found, seconds + again * (whole - horizon) / (reached + asked["transient"] * period)


def fitted(
    fit: Callable, training: Mapping[str, Any], validations: dict[str, float], network: str
) -> tuple[Any, tuple[float, float]]:
    """Train for a few steps, in ways that tell the set-up, a step and a validation apart.

    Arguments:
        fit: What trains, by the settings that it is given as ``training``.
        training: The settings of the study.
        validations: The seconds of a validation by network, the same for all methods; those of this one are added.
        network: The label of the network.

    Returns:
        What the longest of these trainings returns; the seconds of its set-up, and those of all steps and validations
        of the study.
    """

    def ran(steps: int, every: int) -> tuple[Any, float]:
        return timed(fit, training={**training, "steps": steps, "validate_every": every})

    steps, every = training["steps"], training["validate_every"]
    (_, one), few = ran(1, 1), min(8, max(2, steps))
    while (made := ran(few, few))[1] - one < ENOUGH and few < steps:
        few = min(4 * few, steps)
    result, more = made
    step = max(0.0, more - one) / (few - 1)
    if network not in validations:
        validations[network] = max(0.0, ran(few, 1)[1] - more) / (few - 1)
    validation = validations[network]
    setup = max(0.0, one - step - 2 * validation)
    return result, (setup, steps * step + (1 + ceil(steps / every)) * validation)
