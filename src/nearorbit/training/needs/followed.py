"""The states that follow the starts, for as long as neighbors are followed, observed or smoothed as the starts are."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Followed(Need):
    """The states from a segment's first on, for as many samples as its neighbors, with shape (E, B, T, D).

    They are the observed ones; if orbits are smoothed while a network learns, all of them are as the first is.
    """

    def __init__(self, source: Source):
        self.margin, self._length = (0, source.follow), source.follow + 1

    def gather(self, draw: Draw) -> Tensor:
        """Gather the states; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.pieces(draw.states, draw.start, self._length)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"followed": Followed}
