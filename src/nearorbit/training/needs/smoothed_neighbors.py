"""The smoothing splines of the neighbors."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, OfNeighbors, Source


class SmoothedNeighbors(OfNeighbors):
    """The smoothing splines of the neighbors at the times of a segment, with shape (E, B, K, T, D)."""

    def __init__(self, source: Source):
        super().__init__(source)
        self._states = source.smoothed

    def gather(self, draw: Draw) -> Tensor:
        """Gather the neighbors; see :class:`nearorbit.training.needs.base.Need`."""
        return self.beside(draw, self._states)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"smoothed_neighbors": SmoothedNeighbors}
