"""The neighbors of the starts of the segments."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, OfNeighbors


class Neighbors(OfNeighbors):
    """The states that the neighbors of a segment's first state went through at its times, with shape (E, B, K, T, D).

    They are observed ones; where times are uneven only the first are, and the others those of smoothing splines.
    """

    def gather(self, draw: Draw) -> Tensor:
        """Gather the neighbors; see :class:`nearorbit.training.needs.base.Need`."""
        return self.beside(draw, draw.states)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"neighbors": Neighbors}
