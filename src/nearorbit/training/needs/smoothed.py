"""The smoothing splines of the segments, at the samples."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Smoothed(Need):
    """The smoothing splines at the times of the observed states, with shape (E, B, T, D)."""

    splined = True

    def __init__(self, source: Source):
        self._states = source.smoothed

    def gather(self, draw: Draw) -> Tensor:
        """Gather the segments; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.pieces(self._states, draw.start)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"smoothed": Smoothed}
