r"""What a field does, in the variables of the truth: a learned one, or the true one in its place.

The forecast of a cell has the variables and dimensions of its truth, computed from the same states: orbits from the
same starts at the same times, the field and its Jacobian at the same points. A metric compares the two tables and knows
nothing of networks. What lies on the attractor (its orbits, the Lyapunov spectrum) is that of the field's own: orbits
begin at states of the true attractor, and run through a transient before anything is counted.

*A field is judged, not an integrator.* Orbits in time are computed in float64; those of a network that averages are
taken over in float32, as it was trained. Both go by the method of order 8. Its step is found in float64, by comparing
it with two of half its length, from states of the attractors, begun anew at each: that of orbits leaves at most 5e-8
deviations in a sample, or a thousandth of what the field itself is wrong by; that of the spectrum in any exponent at
most 2 % of the standard error asked of the leading one. Its bias is bounded by

.. math:: \Big\langle \| M_{h/2}^{-1} M_h - I \|_F \Big\rangle / h .

The table holds what was reached; a spectrum whose bias is above a tenth of a standard error has not converged.

*An attractor is what stays.* Chaos may end after hundreds of periods. As long as the leading exponent drifts between
the two halves of its average, or orbits come to rest, the transient goes on, and what was counted is counted anew; if
it never ends the spectrum has not converged. A member has *collapsed* if its leading exponent, or that of at least half
of its orbits in the second half, is below a tenth of the true one where the truth is chaotic, or if its orbits spread
over less than 5 % of the true attractor. An orbit that is not finite, or farther from the attractor than ten times its
range, has *diverged*: it is NaN from there on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from nearorbit.fields import Transformed, aligned, identity, jacobian
from nearorbit.flow import propagate, rollout, tangent_rollout
from nearorbit.lyapunov import Spectrum, spectrum, standard_error

ORTHONORMALIZATIONS = 2  # of the tangents in a period, at least
STEPS = [4.0, 3.0, 2.0, 1.5, *(2.0**-n for n in range(7))]  # that are tried, in sample intervals
STAYING = 1 / 16  # sample intervals: the step by which it is told whether an orbit stays
TRIED = 512  # numbers in the states that a step is tried at, for each member
ORBIT_ERROR = 5e-8  # deviations in a sample: 50 of them, grown by e^12, are still within a valid prediction
SHARE = 1e-3  # of what the field itself is wrong by in a sample, which no forecast can tell
AVERAGE_ERROR = 1e-5  # deviations in a sample, of orbits that averages are taken over
EXPONENT_ERROR = 0.02  # of the standard error that is small enough
LATE = 20  # periods at the end of the transient, from which states of the field's own attractor are taken
ALIGNMENT = 10  # periods, for the tangents to find their directions
SPREAD = 1e4  # of the growth of tangents between two orthonormalizations, in single precision
EXTENSIONS = 2  # of the transient, while the leading exponent drifts
FAR = 10  # ranges of the attractor that an orbit may be away from it
FAINT = 0.1  # of the true leading exponent, below which an orbit is not chaotic
NARROW = 0.05  # of the true spread


@dataclass(frozen=True)
class Judged:
    """A field, and the true attractor that it is held against.

    Arguments:
        field: The field in system units; ``field.field`` is that in model coordinates, in which it is integrated.
        truth: The table of the truth.
    """

    field: Transformed
    truth: xr.Dataset

    @cached_property
    def single(self) -> "Judged":
        """The same in single precision, for averages."""
        return Judged(self.field.single(), self.truth)

    @property
    def step(self) -> float:
        """The sample interval, in system time."""
        return self.truth["step"].item()

    @property
    def period(self) -> float:
        """The period of the true system."""
        return self.truth["period"].item()

    @property
    def leading(self) -> float:
        """The true leading exponent, and a tenth a period where it is small."""
        return max(float(abs(self.truth["exponents"]).isel(exponent=0).mean()), 0.1 / self.period)

    @torch.inference_mode()
    def wrong(self) -> np.ndarray:
        """Compute what the field is wrong by in a sample interval, root mean square in deviations, with shape (E,)."""
        learned = self.field(self.tensor(self.truth["points"].to_numpy())).cpu().numpy()
        error = self.step * (learned - self.truth["field"].to_numpy()) / self.deviation
        return np.sqrt(np.square(error).mean((1, 2)))

    @property
    def deviation(self) -> np.ndarray:
        """The deviations of the components on the true attractor, with shape (E, 1, D)."""
        return self.truth["attractor"].std(("run", "sample")).to_numpy()[:, None]

    @property
    def visited(self) -> np.ndarray:
        """The states of the true attractor, with shape (E, N, D)."""
        return self.truth["attractor"].to_numpy().reshape(self.truth.sizes["seed"], -1, self.truth.sizes["component"])

    @cached_property
    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value of each component on the true attractor, both with shape (D,)."""
        return self.visited.min((0, 1)), self.visited.max((0, 1))

    def tensor(self, states: np.ndarray) -> Tensor:
        """Bring an array to the device."""
        return torch.from_numpy(np.ascontiguousarray(states)).to(self.field.coordinates.mean)

    @torch.inference_mode()
    def orbits(self, start: np.ndarray, times: np.ndarray, *, longest: float) -> np.ndarray:
        """Integrate the field from starts.

        Arguments:
            start: The states at the first time, in system units, with shape (E, B, D).
            times: The times, equally spaced, in system time, with shape (T,).
            longest: The longest step, in system time.

        Returns:
            The states, with shape (E, B, T, D); NaN from where an orbit is not finite or too far from the attractor.
        """
        model, start = self.field.coordinates.inverse, self.tensor(start)
        clock = aligned(model.rate, start) * self.tensor(times)
        substeps = max(1, int(np.ceil((times[1] - times[0]) / longest - 1e-9))) if len(times) > 1 else 1
        states = rollout(self.field.field, model(start), clock, substeps=substeps, order=8)
        states = model.undo(states).double().cpu().numpy()
        return np.where(np.logical_and.accumulate(self.near(states), -1)[..., None], states, np.nan)

    def settle(self, start: np.ndarray, periods: float, steps: "Accuracy") -> np.ndarray:
        """Follow orbits from starts (E, B, D) over some periods; returns one state a period, and the last."""
        times = self.period * np.linspace(0, periods, 1 + int(np.ceil(periods)))
        return self.orbits(start, times, longest=steps.average_step * self.step)

    def near(self, states: np.ndarray) -> np.ndarray:
        """Tell which states, with shape (*, D), are finite and not too far from the attractor; returns shape (*)."""
        low, high = self.extent
        return (np.abs(states - (low + high) / 2) <= FAR * (high - low)).all(-1)


@dataclass(frozen=True)
class Accuracy:
    """The steps that a field is integrated with, in sample intervals, and what they leave.

    Arguments:
        orbit_step: The step of orbits in time, a whole part of a sample interval.
        orbit_error: The root mean square error over a sample interval, in deviations, with shape (E,).
        average_step: The step of the transient and of the orbits to average over.
        spectrum_step: The step of these together with tangents.
        exponent_error: The bound on the error of an exponent, per unit of system time, with shape (E,).
    """

    orbit_step: float
    orbit_error: np.ndarray
    average_step: float
    spectrum_step: float
    exponent_error: np.ndarray


def forecast(
    field: Transformed, history: pd.DataFrame | None, truth: xr.Dataset, *, evaluation: Mapping[str, Any]
) -> xr.Dataset:
    """Compute the table of a field, or an ensemble of them, that corresponds to the table of the truth.

    Arguments:
        field: The field, in system units, from :func:`nearorbit.fields.load`.
        history: The history of its training; None if it had none.
        truth: The table of the truth, from :func:`nearorbit.simulation.truth`.
        evaluation: The settings of the evaluation, of which ``exponents`` are those of :func:`exponents`.

    Returns:
        The variables of the truth, of this field; and what its integration was: ``orbit_error`` and ``exponent_error``
        (seed) of the ``orbit_step`` and ``spectrum_step``, in sample intervals, and the ``transient`` in system time.
    """
    judged = Judged(field, truth)
    found, accuracy, transient = exponents(judged, **evaluation["exponents"])
    table = truth[["region", "points"]].copy()
    starts = {name: truth[name].to_numpy()[:, :, 0] for name in ("forecasts", "windows")}
    for name, start in (starts | {"attractor": found.last[:, : truth.sizes["run"]]}).items():
        times = judged.step * np.arange(truth[name].shape[2])
        of, step = (judged.single, accuracy.average_step) if name == "attractor" else (judged, accuracy.orbit_step)
        table[name] = truth[name].dims, of.orbits(start, times, longest=step * judged.step)
    points = judged.tensor(truth["points"].to_numpy())
    with torch.inference_mode():
        table["field"] = truth["field"].dims, field(points).cpu().numpy()
        table["jacobian"] = truth["jacobian"].dims, jacobian(field, points).cpu().numpy()
    drifting, died = ends(found, truth)
    left = np.isnan(table["attractor"]).any(["run", "sample", "component"]) | np.isnan(found.exponents).any(-1)
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
            orbits = judged.single.settle(begin, periods, steps)
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
        orbits = judged.single.settle(found.last, transient, steps)
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


def find_steps(judged: Judged, *clouds: np.ndarray, small: float) -> Accuracy:
    """Find the longest steps that are accurate at states of the attractors.

    Arguments:
        judged: The field and the truth.
        clouds: States, with shape (E, N, D); some of each are taken.
        small: The standard error of the leading exponent that is small enough.

    Returns:
        The steps and their errors; the shortest ones that are tried if none is accurate.
    """
    count = max(1, TRIED // len(clouds) // clouds[0].shape[-1])
    states = np.concatenate([cloud[:, np.arange(count) * cloud.shape[1] // count] for cloud in clouds], 1)
    # From where a field leaves at once, no step would be short enough.
    after = judged.orbits(states, np.array([0.0, judged.step]), longest=STAYING * judged.step)[:, :, -1]
    states = np.where(judged.near(after)[..., None], states, np.nan)
    found, wrong = {}, judged.wrong()
    for step in STEPS:
        orbit_error, exponent_error = step_errors(judged, states, step)
        average = orbit_error <= AVERAGE_ERROR
        accurate = {
            "average": average,
            "spectrum": average & (exponent_error <= EXPONENT_ERROR * small),
            "orbit": (orbit_error <= np.fmax(ORBIT_ERROR, SHARE * wrong)) & (step <= 1),
        }
        for use, members in accurate.items():
            if members.all() or step == STEPS[-1]:
                found.setdefault(use, (step, orbit_error, exponent_error))
        if len(found) == len(accurate):
            break
    (orbit_step, orbit_error, _), (spectrum_step, _, bound) = found["orbit"], found["spectrum"]
    return Accuracy(orbit_step, orbit_error, found["average"][0], spectrum_step, bound)


@torch.inference_mode()
def step_errors(judged: Judged, states: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Compare a step with two of half its length, from states that are begun anew.

    Arguments:
        judged: The field and the truth.
        states: The states, in system units, with shape (E, N, D); those that are NaN are left out.
        step: The step, in sample intervals.

    Returns:
        The root mean square difference of the states over a sample interval, in deviations; and the mean of
        ``|M(h/2)^-1 M(h) - I| / h`` in the Frobenius norm, per unit of system time; both with shape (E,), and 0 for a
        member all of whose states are NaN.
    """
    model, x = judged.field.coordinates.inverse, judged.tensor(states)
    duration = aligned(model.rate, x) * judged.tensor(np.array([0.0, step * judged.step]))
    once, twice = (tangent_rollout(judged.field.field, model(x), duration, substeps=n, order=8) for n in (1, 2))
    apart = (model.undo(once[0][..., -1, :]) - model.undo(twice[0][..., -1, :])).cpu().numpy() / judged.deviation
    with np.errstate(over="ignore"):
        difference = np.square(apart).mean(-1)
    rest = torch.linalg.solve_ex(twice[1][..., -1, :, :].mT, once[1][..., -1, :, :].mT)[0] - identity(x)
    defect = torch.linalg.matrix_norm(rest).cpu().numpy()
    there = judged.near(states)
    difference, defect = (_mean(values, there) for values in (difference, defect))
    return np.sqrt(difference) / step, defect / (step * judged.step)


def _mean(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Average over the last axis where there is something; what is not finite is infinite."""
    finite = np.where(np.isfinite(values), values, np.inf)
    return np.where(there, finite, 0.0).sum(-1) / np.maximum(there.sum(-1), 1)


def ends(found: Spectrum, truth: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Tell of which members the motion does not last.

    Arguments:
        found: Their spectrum.
        truth: The table of the truth.

    Returns:
        Whether the leading exponent drifts between the two halves of the average, or orbits that were chaotic in the
        first are not any more and those that were not have stayed so; and whether a member has collapsed to an orbit
        that is not chaotic; both with shape (E,).
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
    return drifting | dying, died


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
