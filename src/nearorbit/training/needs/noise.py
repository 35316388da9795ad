"""How large the noise is."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Noise(Need):
    """The standard deviation of the noise, estimated from what the smoothing splines leave, with shape (E, D)."""

    splined = True

    def __init__(self, source: Source):
        left = source.orbits - source.spline[:, :, :: source.fine]
        self._deviation = source.tensor(left.std((1, 2), where=source.clock.known))

    def gather(self, draw: Draw) -> Tensor:
        """Give it; see :class:`nearorbit.training.needs.base.Need`."""
        return self._deviation


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"noise": Noise}
