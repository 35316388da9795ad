"""The true propagators."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source, smooth_misfits


class Propagators(Need):
    """The true fundamental matrices over each sample of the segments, from the observed states: (E, B, T - 1, D, D)."""

    file, privilege = "propagators", "true M"
    observed = True

    def __init__(self, source: Source):
        self._maps = source.model_matrices(source.true("propagator", "component", "direction", kind=self.file))

    def gather(self, draw: Draw) -> Tensor:
        """Gather the matrices; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.pieces(self._maps, draw.start, draw.segment)

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell which systems have none; see :class:`nearorbit.training.needs.base.Need`."""
        return smooth_misfits(study, place, "propagators")


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"propagators": Propagators}
