"""How much model time passes in a unit of system time."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Rate(Need):
    """The model time in a unit of system time, with shape (E,)."""

    def __init__(self, source: Source):
        self._rate = source.tensor(source.observations["rate"].to_numpy().reshape(-1))

    def gather(self, draw: Draw) -> Tensor:
        """Give it; see :class:`nearorbit.training.needs.base.Need`."""
        return self._rate


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"rate": Rate}
