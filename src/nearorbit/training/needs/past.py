"""The displacements of the neighbors some samples earlier: an instrument."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nearorbit.study.catalogue import StudyError
from nearorbit.training.needs.base import Draw, OfNeighbors, Source


class Past(OfNeighbors):
    """The displacements of the neighbors ``instrument`` samples before the segment begins, with shape (E, B, K, D)."""

    settings = (*OfNeighbors.settings, "instrument")

    def __init__(self, source: Source):
        super().__init__(source)
        self._before, (behind, _) = source.method.instrument, self.margin
        if behind <= self._before:
            raise StudyError(
                f"neighbors: they are chosen {behind} samples before, the method's instrument lies {self._before} "
                f"before: it needs neighbors that were chosen earlier still; raise 'behind' of this selection"
            )

    def gather(self, draw: Draw) -> Tensor:
        """Gather the displacements; see :class:`nearorbit.training.needs.base.Need`."""
        places = self.near(draw), draw.start.unsqueeze(-1)
        return torch.sub(*(draw.at(draw.states, place - self._before) for place in places))

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell which neighbors are no instrument; see :class:`nearorbit.training.needs.base.Need`."""
        yield from OfNeighbors.misfits(study, place, method)
        chosen, selection = f"neighbors.{method.neighbors}", study.neighbors.get(method.neighbors, {})
        if selection and method.instrument >= (behind := selection.get("behind", 0)):
            yield (
                f"{place}.instrument: {method.instrument} samples earlier, and {chosen} are chosen {behind} earlier: "
                f"they have to be chosen before the instrument; raise {chosen}.behind or lower this"
            )
        carried = "which carry the noise of all samples along; an instrument needs"
        if selection.get("smoothed", False):
            yield (
                f"{place}.instrument: {chosen} are chosen among smoothing splines, {carried} neighbors that were "
                f"chosen without them"
            )
        for name in (name for name, data in study.data.items() if data.get("smooth")):
            yield f"{place}.instrument: the states of data.{name} are smoothing splines, {carried} data without smooth"
        if getattr(method, "smoothings", 0):
            yield f"{place}.instrument: smoothings make states {carried} a line without them"


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"past": Past}
