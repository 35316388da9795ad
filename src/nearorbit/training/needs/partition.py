"""The orbits, cut into fixed segments."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from nearorbit.training.needs.base import Draw, Need, Source


class Partition(Need):
    """Whether another segment begins where one ends, 1 or 0 with shape (E, B), if orbits are cut into segments.

    They follow one another from the first sample of an orbit or after a gap; what is left then is shorter than one.
    """

    whole = True

    def __init__(self, source: Source):
        table, _ = source.clock.starts(0, source.segment, apart=source.segment)
        starts = torch.from_numpy(table).to(source.device)
        self.starts = starts.expand(len(source.orbits), -1).contiguous()
        self._goes_on = pad((self.starts.diff(dim=1) == source.segment).long(), (0, 1))

    def gather(self, draw: Draw) -> Tensor:
        """Tell it; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.at(self._goes_on, draw.row)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"partition": Partition}
