"""The smoothing splines of the segments, at the Runge-Kutta stages: what an orbit is coupled to."""

import numpy as np

from nearorbit.training.needs.base import AtStages, Source


class Spline(AtStages):
    """The smoothing splines at the Runge-Kutta stages, with shape (E, B, 2 * substeps * (T - 1) + 1, D)."""

    def orbits(self, source: Source) -> np.ndarray:
        """Compute them; see :class:`nearorbit.training.needs.base.AtStages`."""
        return source.spline


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"spline": Spline}
