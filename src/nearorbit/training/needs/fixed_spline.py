"""Smoothing splines of the segments with a given penalty, at the Runge-Kutta stages: what an orbit is coupled to."""

from functools import partial

import numpy as np

from nearorbit.data.smoothing import smoothed
from nearorbit.training.needs.base import AtStages, Source


class FixedSpline(AtStages):
    """The smoothing splines of one ``penalty`` at the Runge-Kutta stages, (E, B, 2 * substeps * (T - 1) + 1, D)."""

    settings = ("penalty",)

    def orbits(self, source: Source) -> np.ndarray:
        """Compute them; see :class:`nearorbit.training.needs.base.AtStages`."""
        intervals = source.observations["step"].to_numpy().reshape(-1)  # in system time; of cells, one for each member
        penalties = np.broadcast_to(source.method.penalty / intervals**3, len(source.orbits))
        made, fine = [], source.fine
        for member, penalty in enumerate(penalties):
            spline, some = partial(smoothed, refinement=fine, penalty=float(penalty)), slice(member, member + 1)
            made.append(source.clock[some].each(spline, source.orbits[some], refinement=fine))
        return np.concatenate(made)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"fixed_spline": FixedSpline}
