r"""What a field does, in the variables of the truth: a learned one, or the true one in its place.

The forecast of a cell has the variables and dimensions of its truth, computed from the same states: orbits from the
same starts at the same times, the field and its Jacobian at the same points. A metric compares the two tables and knows
nothing of networks. What lies on the attractor (its orbits, the Lyapunov spectrum) is that of the field's own: orbits
begin at states of the true attractor, and run through a transient before anything is counted.

*A field is judged, not an integrator.* Orbits in time are computed in float64; those of a network that averages are
taken over in float32, as it was trained. Both go by the method of order 8, at steps that are found for each cell
(:mod:`nearorbit.evaluation.steps`). The table holds what was reached; a spectrum whose bias is above a tenth of a
standard error has not converged.

*An attractor is what stays.* Chaos may end after hundreds of periods. As long as the leading exponent drifts between
the two halves of its average, or orbits come to rest, the transient goes on, and what was counted is counted anew; if
it never ends the spectrum has not converged. A member has *collapsed* if its leading exponent, or that of at least half
of its orbits in the second half, is below a tenth of the true one where the truth is chaotic, or if its orbits spread
over less than 5 % of the true attractor. An orbit that is not finite, or farther from the attractor than ten times its
range, has *diverged*: it is NaN from there on.

*What a field does not know is blank.* One without derivatives (:mod:`nearorbit.dynamics.brought`) has tangents that are
NaN, and so Jacobians and exponents; it is judged by its orbits, and has collapsed where their spread has.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit.dynamics.fields import Field, Transformed, aligned
from nearorbit.dynamics.flow import propagate
from nearorbit.dynamics.lyapunov import Spectrum, spectrum, standard_error
from nearorbit.evaluation.judged import Judged
from nearorbit.evaluation.resolved import resolved
from nearorbit.evaluation.steps import Accuracy, find_steps

ORTHONORMALIZATIONS = 2  # of the tangents in a period, at least
LATE = 20  # periods at the end of the transient, from which states of the field's own attractor are taken
ALIGNMENT = 10  # periods, for the tangents to find their directions
SPREAD = 1e4  # of the growth of tangents between two orthonormalizations, in single precision
EXTENSIONS = 2  # of the transient, while the leading exponent drifts
FAINT = 0.1  # of the true leading exponent, below which an orbit is not chaotic
NARROW = 0.05  # of the true spread


def forecast(
    field: Transformed[Field],
    history: pd.DataFrame | None,
    truth: xr.Dataset,
    *,
    evaluation: Mapping[str, Any],
    vectors: xr.Dataset | None = None,
) -> xr.Dataset:
    """Compute the table of a field, or an ensemble of them, that corresponds to the table of the truth.

    Arguments:
        field: The field, in system units, from :func:`nearorbit.dynamics.models.load`.
        history: The history of its training; None if it had none.
        truth: The table of the truth, from :func:`nearorbit.truth.simulation.truth`.
        evaluation: The settings of the evaluation, of which ``exponents`` are those of :func:`exponents`.
        vectors: The covariant vectors of the truth, from
            :func:`nearorbit.truth.covariant_vectors.covariant_vectors`; None to resolve no errors into them.

    Returns:
        The variables of the truth, of this field; and what its integration was: ``orbit_error`` and ``exponent_error``
        (seed) of the ``orbit_step`` and ``spectrum_step``, in sample intervals, and the ``transient`` in system time;
        and its errors in covariant vectors (:mod:`nearorbit.evaluation.resolved`).
    """
    judged = Judged(field, truth)
    found, accuracy, transient = exponents(judged, **evaluation["exponents"])
    table = truth[["region", "points"]].copy()
    starts = {name: truth[name].to_numpy()[:, :, 0] for name in ("forecasts", "windows")}
    for name, start in (starts | {"attractor": found.last[:, : truth.sizes["run"]]}).items():
        times = judged.step * np.arange(truth[name].shape[2])
        of, step = (judged.single, accuracy.average_step) if name == "attractor" else (judged, accuracy.orbit_step)
        table[name] = truth[name].dims, of.orbits(start, times, longest=step * judged.step)
    for name, values in zip(("field", "jacobian"), judged.evaluated(truth["points"].to_numpy()), strict=True):
        table[name] = truth[name].dims, values
    drifting, died = ends(found, truth)
    known = table["jacobian"].notnull().any(["point", "component", "direction"])
    lost = known & np.isnan(found.exponents).any(-1)  # a field without derivatives has none to lose
    left = lost | table["attractor"].isnull().any(["run", "sample", "component"])
    narrow = spread(table["attractor"], truth) < NARROW
    converged = found.converged & ~drifting & (accuracy.exponent_error <= found.stderr.min(-1) / 10)
    table = table.assign(
        exponents=(("seed", "exponent"), found.exponents, {"units": "1 / system time"}),
        stderr=(("seed", "exponent"), found.stderr, {"units": "1 / system time"}),
        converged=("seed", converged.astype(np.int8)),
        horizon=found.horizon,
        best_step=("seed", np.full(len(left), np.nan) if history is None else best_steps(history)),
        diverged=("seed", left.to_numpy().astype(np.int8)),
        collapsed=("seed", (died | narrow.to_numpy()).astype(np.int8)),
        transient=((), transient, {"units": "system time"}),
        orbit_step=((), accuracy.orbit_step, {"units": "sample intervals"}),
        spectrum_step=((), accuracy.spectrum_step, {"units": "sample intervals"}),
        orbit_error=("seed", accuracy.orbit_error, {"units": "deviations in a sample"}),
        exponent_error=("seed", accuracy.exponent_error, {"units": "1 / system time"}),
    )
    if vectors is not None:
        table = table.assign(resolved(judged, vectors))
    return table.assign_attrs(truth.attrs)


def exponents(
    judged: Judged, *, starts: int, horizon: float, transient: float, accuracy: float = 0.01
) -> tuple[Spectrum, Accuracy, float]:
    """Estimate the Lyapunov spectrum of each member on its own attractor.

    Arguments:
        judged: The field and the truth.
        starts: The number of orbits of each member; at least as many as the truth has runs.
        horizon: Their length, in periods, at most: they end when the standard error of every member is small enough.
        transient: What is dropped of them first, in periods; more while the leading exponent drifts.
        accuracy: The standard error of the leading exponent that is small enough, relative to it or to the true one,
            and that of the sum relative to the largest modulus.

    Returns:
        The spectrum per unit of system time, NaN for a member with an orbit that diverges, with its last states in
        system units; the steps and their errors; and the transient that was dropped, in system time.
    """
    visited, period = judged.visited, judged.period
    small = accuracy * judged.leading  # as a standard error
    count = max(starts, judged.truth.sizes["run"])
    begin = visited[:, np.arange(count) * visited.shape[1] // count]
    steps = find_steps(judged, visited, small=small)
    for periods in (LATE, transient):
        while True:
            orbits = judged.single.settle(begin, periods, steps.average_step)
            late = orbits[:, :, -LATE:].reshape(len(orbits), -1, orbits.shape[-1])
            again = find_steps(judged, visited, late, small=small)
            if again.average_step >= steps.average_step:
                steps = replace(again, average_step=steps.average_step)
                break
            steps = again  # the field's own attractor asks for shorter steps than the true one: once again
    spent, extensions = transient + ALIGNMENT, 0
    while True:
        found = _spectrum(judged.single, orbits[:, :, -1], steps, horizon=horizon, accuracy=accuracy)
        if extensions == EXTENSIONS or not ends(found, judged.truth)[0].any():
            return found, steps, spent * period
        orbits = judged.single.settle(found.last, transient, steps.average_step)
        spent, extensions = spent + found.horizon / period + transient + ALIGNMENT, extensions + 1


def _spectrum(judged: Judged, start: np.ndarray, steps: Accuracy, *, horizon: float, accuracy: float) -> Spectrum:
    """Estimate the spectrum from starts (E, B, D) on the attractor; the last states are in system units."""
    model, like = judged.field.coordinates.inverse, judged.tensor(start)
    step, period = steps.spectrum_step * judged.step, judged.period
    advance = propagate(judged.field.field, like=like, step=step, rate=aligned(model.rate, like))

    def system_units(y: np.ndarray) -> np.ndarray:
        return model.undo(judged.tensor(y).view(like.shape)).double().cpu().numpy()

    def bounded_advance(y: np.ndarray, v: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
        y, v = advance(y, v, duration)
        return np.where(judged.near(system_units(y)).reshape(-1, 1), y, np.nan), v

    # Exponents are the same in all coordinates: the spectrum is taken in those of the model, and in system time.
    found = spectrum(
        bounded_advance,
        model(like).cpu().numpy(),
        interval=max(step, period / ORTHONORMALIZATIONS),
        transient=ALIGNMENT * period,
        horizon=horizon * period / 2,
        longest=horizon * period,
        relative=accuracy,
        absolute=accuracy * judged.leading,
        total=accuracy,
        spread=SPREAD,
    )
    return replace(found, last=system_units(found.last))


def ends(found: Spectrum, truth: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Tell of which members the motion does not last.

    Arguments:
        found: Their spectrum.
        truth: The table of the truth.

    Returns:
        Whether the leading exponent drifts between the two halves of the average, or orbits that were chaotic in the
        first are not any more and those that were not have stayed so, or some orbits are chaotic and others are not in
        either half: what some have done before, others may still do; and whether a member has collapsed to an orbit
        that is not chaotic, which it has if half of its orbits have; both with shape (E,).
    """
    halves = np.array_split(found.history[..., 0], 2)  # of the first tangent, which is the fastest
    leading, stderr = (np.stack([f(half) for half in halves]) for f in (_leading, _leading_error))
    drifting = abs(leading[1] - leading[0]) > 3 * np.hypot(*stderr)
    if truth.attrs["motion"] != "chaotic":
        return drifting, np.zeros(len(drifting), bool)
    floor = FAINT * truth["exponents"].isel(exponent=0).to_numpy()
    before, after = (half.mean(0) < floor[:, None] for half in halves)  # (E, S)
    died = (after.mean(-1) >= 0.5) | (found.exponents[:, 0] < floor)
    dying = (after & ~before).any(-1) & ~(before & ~after).any(-1)
    mixed = (before & after).any(-1) & ~after.all(-1)
    return drifting | dying | mixed, died


def _leading(rates: np.ndarray) -> np.ndarray:
    return rates.mean((0, -1))


def _leading_error(rates: np.ndarray) -> np.ndarray:
    return standard_error(rates[..., None])[..., 0]


def spread(attractor: xr.DataArray, truth: xr.Dataset) -> xr.DataArray:
    """Compute the root mean square of the components' deviations along an orbit, over the true ones, with shape (seed).

    Along each orbit, since several may settle on as many fixed points; the median over orbits.
    """
    relative = attractor.std("sample") / truth["attractor"].std(("run", "sample"))
    return ((relative**2).mean("component") ** 0.5).median("run")


def best_steps(history: pd.DataFrame) -> np.ndarray:
    """Find the step of each seed with the least validation error; NaN where none is finite."""
    tables = (table.set_index("step")["validation"].dropna() for _, table in history.groupby("seed"))
    return np.array([np.nan if column.empty else float(column.idxmin()) for column in tables])
