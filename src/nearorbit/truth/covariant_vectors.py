r"""The covariant Lyapunov vectors of a true system, along orbits of its attractor: once for all data and methods.

An error of a learned field is seen in them (:mod:`nearorbit.dynamics.response`). For that they come with the field, its
Jacobian J and, of the second derivatives H, what shifts of exponents ask for, :math:`w_i^T H[v_j, v_i]`; by central
differences of the exact J along :math:`v_j`, which are exact for quadratic fields and within 1e-8 for others. Samples
are as dense as the rule asks for that carries coordinates from one to the next.

Times are in units of system time, states in system units.
"""

import sys
from functools import partial

import numpy as np
import xarray as xr

from nearorbit.dynamics.covariant import Covariant, covariant, duals
from nearorbit.dynamics.response import BLOCKS
from nearorbit.dynamics.shadowing import Frames, rule_error
from nearorbit.truth.integrators import Evaluate, compiled, propagator
from nearorbit.truth.systems.base import System, attributes

ORBITS = 4  # long ones: their ends are lost to moved orbits
NUMBERS = 2**22  # in an array, at most: they limit the states of large systems
DENSITIES = (48, 96, 192, 384)  # samples per period that are tried
ERROR = 0.002  # of the rule, relative, that is small enough
TRIED = 512  # samples, by which the density is found
FORGOTTEN = 20.0  # log of the factor by which vectors forget how they were begun
TRANSIENTS = (10, 100)  # periods: bounds of the time that this may take, for vectors whose exponents are nearly equal
DISTINCT = 1e-2  # sine of an angle, below which a vector is known
DIFFERENCE = 1e-4  # of the deviation of the states: the length of differences


def covariant_vectors(system: System, exponents: xr.Dataset, *, label: str, states: int) -> xr.Dataset:
    """Compute the covariant Lyapunov vectors of a system.

    Two exponents that are equal, or so near that their vectors need more than 100 periods to part, have vectors
    that are not defined one by one: `distinct` is 0, and a line on standard error says so.

    Arguments:
        system: The system.
        exponents: Its spectrum and states, from :func:`nearorbit.truth.attractors.exponents`.
        label: Its label in the study.
        states: The number of states along orbits, in all, at most; less for large systems.

    Returns:
        `states` and `field` (orbit, sample, component), `jacobian` (..., component, direction), `vectors` (...,
        component, exponent), their log `growth` (orbit, sample, exponent) to the next sample, `curvature` (...,
        exponent, along), `uncertainty` and `distinct` (exponent), `exponents` and `stderr`; the `spread` of the
        attractor, the `step` of the samples and the `period`. All is NaN, in a few samples, for a system with kinks,
        which has no second derivatives, and for one that comes to rest.
    """
    known, period = exponents["states"].to_numpy(), float(exponents["period"])
    start = known[np.arange(ORBITS) * len(known) // ORBITS]
    if not system.smooth or exponents.attrs["motion"] == "fixed point":
        return _undefined(system, exponents)
    evaluate, propagate = compiled(system), partial(covariant, propagator(system), start, carried=1 + 2 * len(start.T))
    for density in DENSITIES:
        step = period / density
        tried = propagate(interval=step, before=density, count=TRIED, after=density)
        if rule_error(_frames(tried, evaluate, exponents, step), _turning(tried.states, evaluate, exponents)) <= ERROR:
            break
    settle = _settling(exponents, step)
    count = max(1, min(states, NUMBERS // system.dimension**2) // ORBITS // BLOCKS) * BLOCKS
    along = propagate(interval=step, before=settle, count=count, after=settle)
    if (unknown := 1 + np.flatnonzero(~(along.uncertainty <= DISTINCT))).size:
        print(f"warning: systems.{label}: covariant vectors {', '.join(map(str, unknown))} are not defined one by one, "
              "their exponents are too nearly equal", file=sys.stderr)  # fmt: skip
    return _table(system, exponents, along, _frames(along, evaluate, exponents, step))


def _settling(exponents: xr.Dataset, step: float) -> int:
    """The samples in which the vectors forget how they were begun."""
    period, gaps = float(exponents["period"]), -np.diff(exponents["exponents"].to_numpy())
    needed = FORGOTTEN / max(gaps.min(initial=np.inf), 1e-12)
    return int(np.ceil(np.clip(needed, *(period * np.array(TRANSIENTS))) / step))


def _frames(along: Covariant, evaluate: Evaluate, exponents: xr.Dataset, step: float) -> Frames:
    """The true field along orbits with its covariant vectors."""
    field, jacobian = evaluate(along.states)
    dual, curvature = duals(along.vectors), np.empty_like(jacobian)
    for j in range(jacobian.shape[-1]):
        changed = _changed(evaluate, along.states, along.vectors[..., j], exponents)
        curvature[..., j] = np.einsum("...ik,...kl,...li->...i", dual, changed, along.vectors, optimize=True)
    return Frames(field, jacobian, along.vectors, along.growth, curvature, *_known(exponents, step))


def _known(exponents: xr.Dataset, step: float) -> tuple[np.ndarray, float, float, float]:
    """The exponents, the spread of the attractor, the step and the period."""
    spread = float(np.sqrt(np.square(exponents["deviation"]).sum()))
    return exponents["exponents"].to_numpy(), spread, step, float(exponents["period"])


def _turning(states: np.ndarray, evaluate: Evaluate, exponents: xr.Dataset) -> np.ndarray:
    """The time derivatives of the Jacobian along orbits, with shape (S, T, D, D)."""
    field = evaluate(states)[0]
    speed = np.linalg.norm(field, axis=-1)[..., None]
    return speed[..., None] * _changed(evaluate, states, field / speed, exponents)


def _changed(evaluate: Evaluate, states: np.ndarray, direction: np.ndarray, exponents: xr.Dataset) -> np.ndarray:
    """The change H[v, .] of the Jacobian along unit vectors v (*, D), with shape (*, D, D)."""
    move = DIFFERENCE * float(np.sqrt(np.square(exponents["deviation"]).mean()))
    ahead, behind = (evaluate(states + sign * move * direction)[1] for sign in (1, -1))
    return (ahead - behind) / (2 * move)


def _undefined(system: System, exponents: xr.Dataset) -> xr.Dataset:
    """The table of a system that has no covariant vectors here."""
    D, step = system.dimension, float(exponents["period"]) / DENSITIES[0]
    state, matrix = np.full((1, 2, D), np.nan), np.full((1, 2, D, D), np.nan)
    frames = Frames(state, matrix, matrix, state, matrix, *_known(exponents, step))
    return _table(system, exponents, Covariant(state, matrix, state, np.full(D, np.nan)), frames)


def _table(system: System, exponents: xr.Dataset, along: Covariant, frames: Frames) -> xr.Dataset:
    sample = ("orbit", "sample")
    return xr.Dataset(
        {
            "states": ((*sample, "component"), along.states),
            "field": ((*sample, "component"), frames.field),
            "jacobian": ((*sample, "component", "direction"), frames.jacobian),
            "vectors": ((*sample, "component", "exponent"), frames.vectors),
            "growth": ((*sample, "exponent"), frames.growth),
            "curvature": ((*sample, "exponent", "along"), frames.curvature),
            "uncertainty": ("exponent", along.uncertainty),
            "distinct": ("exponent", (along.uncertainty <= DISTINCT).astype(np.int8)),
            "exponents": exponents["exponents"],
            "stderr": exponents["stderr"],
            "spread": ((), frames.spread),
            "step": ((), frames.step, {"units": "system time"}),
            "period": exponents["period"],
        },
        coords={"exponent": exponents["exponent"], "component": list(system.components)},
        attrs=attributes(system) | {"motion": exponents.attrs["motion"]},
    )
