"""The true Jacobian."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source, smooth_misfits


class Jacobians(Need):
    """The true Jacobian at the observed starts of the segments, with shape (E, B, D, D)."""

    file, privilege = "supervision", "true J"
    observed = True

    def __init__(self, source: Source):
        self._jacobians = source.true_jacobians("jacobian")

    def gather(self, draw: Draw) -> Tensor:
        """Gather the Jacobians; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.at(self._jacobians, draw.start)

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell which systems have none; see :class:`nearorbit.training.needs.base.Need`."""
        return smooth_misfits(study, place, "jacobians")


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"jacobians": Jacobians}
