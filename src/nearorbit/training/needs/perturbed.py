"""States off the data, with the true Jacobian there: what is given are the equations."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source, smooth_misfits


class Perturbed(Need):
    """The starts of the segments, perturbed at random, with the true Jacobian there: (E, B, D) and (E, B, D, D)."""

    file, privilege = "supervision", "equations"

    def __init__(self, source: Source):
        mean, scale = (source.observations[n].to_numpy().reshape(len(source.orbits), 1, -1) for n in ("mean", "scale"))
        self._states = source.tensor((source.true("perturbed", "component") - mean) / scale)
        self._jacobians = source.true_jacobians("perturbed_jacobian")

    def gather(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Gather states and Jacobians; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.at(self._states, draw.start), draw.at(self._jacobians, draw.start)

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell which systems have none; see :class:`nearorbit.training.needs.base.Need`."""
        return smooth_misfits(study, place, "perturbed")


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"perturbed": Perturbed}
