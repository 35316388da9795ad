"""The smoothing splines of the segments, at the Runge-Kutta stages: what an orbit is coupled to."""

import torch
from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Spline(Need):
    """The smoothing splines at the Runge-Kutta stages, with shape (E, B, 2 * substeps * (T - 1) + 1, D)."""

    def __init__(self, source: Source):
        self._fine, self._states = source.fine, source.tensor(source.spline).flatten(1, 2)

    def gather(self, draw: Draw) -> Tensor:
        """Gather the segments; see :class:`nearorbit.training.needs.base.Need`."""
        per_orbit = self._fine * (draw.samples - 1) + 1
        first = draw.start // draw.samples * per_orbit + draw.start % draw.samples * self._fine
        stages = torch.arange(self._fine * draw.segment + 1, device=first.device)
        return draw.at(self._states, first.unsqueeze(-1) + stages)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"spline": Spline}
