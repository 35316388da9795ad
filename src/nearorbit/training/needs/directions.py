"""Random directions, along which a matrix may be compared where all of it would be too dear."""

import numpy as np
import torch
from torch import Tensor

from nearorbit.study.seeds import generator
from nearorbit.training.needs.base import Draw, Need, Source

DRAWN, STRIDE = 4093, 613  # rows that are drawn beforehand, a prime; and how far apart they are within a batch


class Directions(Need):
    """Unit vectors, uniform over the sphere, as many for each start as the method asks for: (E, B, ``directions``, D).

    They are drawn beforehand for each seed, and taken by the state and by its place in the batch: a state that comes
    again has other ones.
    """

    settings = ("directions",)

    def __init__(self, source: Source):
        shape = DRAWN, source.method.directions, source.orbits.shape[-1]
        seeds = source.observations["seed"].to_numpy()
        drawn = np.stack([generator("directions", int(seed)).standard_normal(shape) for seed in seeds])
        self._drawn = source.tensor(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))

    def gather(self, draw: Draw) -> Tensor:
        """Gather them; see :class:`nearorbit.training.needs.base.Need`."""
        places = torch.arange(draw.start.shape[1], device=draw.start.device)
        return draw.at(self._drawn, (draw.start + STRIDE * places) % DRAWN)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"directions": Directions}
