"""The orbits, cut into fixed segments."""

import torch
from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Partition(Need):
    """Whether another segment begins where one ends, 1 or 0 with shape (E, B), if orbits are cut into segments.

    They follow one another from the first sample of an orbit; what is left at its end is shorter than one.
    """

    whole = True

    def __init__(self, source: Source):
        members, orbits, samples, _ = source.orbits.shape
        self._segment = source.segment
        begins = torch.arange(0, samples - self._segment, self._segment, device=source.device)
        starts = (samples * torch.arange(orbits, device=source.device).unsqueeze(1) + begins).flatten()
        self.starts = starts.expand(members, -1).contiguous()

    def gather(self, draw: Draw) -> Tensor:
        """Tell it; see :class:`nearorbit.training.needs.base.Need`."""
        return (draw.start % draw.samples + 2 * self._segment < draw.samples).long()


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"partition": Partition}
