r"""The steps that a field is judged with: found so that what they leave is small against what is judged.

A step is compared in float64 with two of half its length, from states of the attractors, begun anew at each. That of
orbits in time leaves at most 5e-8 deviations in a sample, or a thousandth of what the field itself is wrong by; that of
the spectrum in any exponent at most 2 % of the standard error asked of the leading one. Its bias is bounded by

.. math:: \Big\langle \| M_{h/2}^{-1} M_h - I \|_F \Big\rangle / h .
"""

from dataclasses import dataclass

import numpy as np
import torch

from nearorbit.dynamics.fields import aligned, identity
from nearorbit.dynamics.flow import tangent_rollout
from nearorbit.evaluation.judged import Judged

STEPS = [4.0, 3.0, 2.0, 1.5, *(2.0**-n for n in range(7))]  # that are tried, in sample intervals
STAYING = 1 / 16  # sample intervals: the step by which it is told whether an orbit stays
TRIED = 512  # numbers in the states that a step is tried at, for each member
ORBIT_ERROR = 5e-8  # deviations in a sample: 50 of them, grown by e^12, are still within a valid prediction
SHARE = 1e-3  # of what the field itself is wrong by in a sample, which no forecast can tell
AVERAGE_ERROR = 1e-5  # deviations in a sample, of orbits that averages are taken over
EXPONENT_ERROR = 0.02  # of the standard error that is small enough


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
    found: dict[str, tuple[float, np.ndarray, np.ndarray]] = {}
    wrong = judged.wrong()
    for step in STEPS:
        orbit_error, exponent_error = step_errors(judged, states, step)
        average = orbit_error <= AVERAGE_ERROR
        accurate = {
            "average": average,
            "spectrum": average & ~(exponent_error > EXPONENT_ERROR * small),
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
        member all of whose states are NaN. Of a field without derivatives the latter is NaN: nothing is asked of it.
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
    unknown = there.any(-1) & ((np.isnan(defect) & np.isfinite(difference)) | ~there).all(-1)
    difference, defect = (_mean(values, there) for values in (difference, defect))
    return np.sqrt(difference) / step, np.where(unknown, np.nan, defect) / (step * judged.step)


def _mean(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Average over the last axis where there is something; what is not finite is infinite."""
    finite = np.where(np.isfinite(values), values, np.inf)
    return np.where(there, finite, 0.0).sum(-1) / np.maximum(there.sum(-1), 1)
