"""The neighbors of the starts of the segments."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, OfNeighbors


class Neighbors(OfNeighbors):
    """The observed states that the neighbors of a segment's first state went through, with shape (E, B, K, T, D)."""

    def gather(self, draw: Draw) -> Tensor:
        """Gather the neighbors; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.pieces(draw.states, self.near(draw), self._length)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"neighbors": Neighbors}
