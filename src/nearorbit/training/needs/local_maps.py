"""Maps of the flow, fitted to the displacements of neighbors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearorbit.data.local_maps import flow_maps
from nearorbit.study.catalogue import StudyError
from nearorbit.training.needs.base import Draw, OfNeighbors, Source

ONCE = "fits are made once, and neighbors of a ring are drawn anew for every batch: take a selection with draw 'once'"
ROWS = 2**14  # whose maps are fitted at once: their displacements are K times as large as the states


class LocalMaps(OfNeighbors):
    """Maps of the flow over one sample, fitted to the displacements of neighbors, with shape (E, B, D, D).

    ``fit`` are the settings of :func:`nearorbit.data.local_maps.flow_maps`.
    """

    settings = (*OfNeighbors.settings, "fit")

    def __init__(self, source: Source):
        super().__init__(source)
        if source.anew:
            raise StudyError(f"neighbors: {ONCE}")
        members, _, samples, dimension = source.orbits.shape
        flat, points = torch.from_numpy(source.orbits.reshape(members, -1, dimension)), source.table.shape[1]
        line, curve = (None if part is None else part.cpu().double() for part in (source.line, source.curve))
        starts = np.tile(np.arange(points), (members, 1)) if self.starts is None else self.starts.cpu().numpy()
        # States without neighbors have none.
        self._maps = source.tensor(np.full((members, points, dimension, dimension), np.nan, np.float32))
        for member, near in enumerate(source.table):
            known = np.flatnonzero(near[:, 0] >= 0)
            for rows in (known[i : i + ROWS] for i in range(0, len(known), ROWS)):
                own, start = slice(member, member + 1), torch.from_numpy(starts[None, member, rows])
                draw = Draw(flat[own], start, start, samples, 1, line=None if line is None else line[own])
                beside = torch.from_numpy(near[None, rows].astype(int))
                went = draw.beside(flat[own], beside, 1, None if curve is None else curve[own])
                displaced = (went - draw.pieces(flat[own], start).unsqueeze(2))[0].unbind(2)
                before, after = (moment.contiguous().numpy() for moment in displaced)
                self._maps[member, rows] = source.tensor(flow_maps(before, after, **source.method.fit))

    def gather(self, draw: Draw) -> Tensor:
        """Gather the maps at the starts; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.at(self._maps, draw.row)

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell which neighbors cannot be fitted to; see :class:`nearorbit.training.needs.base.Need`."""
        yield from OfNeighbors.misfits(study, place, method)
        if study.neighbors.get(method.neighbors, {}).get("draw") == "batch":
            yield f"{place}.neighbors: neighbors.{method.neighbors} is a ring: {ONCE}"


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"local_maps": LocalMaps}
