"""Maps of the flow, fitted to the displacements of neighbors."""

import numpy as np
from torch import Tensor

from nearorbit.data.local_maps import flow_maps
from nearorbit.training.needs.base import Draw, OfNeighbors, Source


class LocalMaps(OfNeighbors):
    """Maps of the flow over one sample, fitted to the displacements of neighbors, with shape (E, B, D, D).

    ``fit`` are the settings of :func:`nearorbit.data.local_maps.flow_maps`.
    """

    settings = (*OfNeighbors.settings, "fit")

    def __init__(self, source: Source):
        super().__init__(source)
        flat = source.orbits.reshape(len(source.orbits), -1, source.orbits.shape[-1])
        maps = np.full((*flat.shape, flat.shape[-1]), np.nan)  # states without neighbors have none
        for member, near in enumerate(source.table):
            rows = np.flatnonzero(near[:, 0] >= 0)
            before, after = (flat[member][near[rows] + ahead] - flat[member][rows + ahead, None] for ahead in (0, 1))
            maps[member, rows] = flow_maps(before, after, **source.method.fit)
        self._maps = source.tensor(maps)

    def gather(self, draw: Draw) -> Tensor:
        """Gather the maps at the starts; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.at(self._maps, draw.start)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"local_maps": LocalMaps}
