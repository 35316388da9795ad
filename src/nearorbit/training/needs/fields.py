"""The true field."""

from torch import Tensor

from nearorbit.training.needs.base import Draw, Need, Source


class Fields(Need):
    """The true field at the observed starts of the segments, with shape (E, B, D)."""

    file, privilege = "supervision", "true f"
    observed = True

    def __init__(self, source: Source):
        scale, rate = (source.observations[n].to_numpy().reshape(len(source.orbits), 1, -1) for n in ("scale", "rate"))
        self._fields = source.tensor(source.true("field", "component") / (scale * rate))

    def gather(self, draw: Draw) -> Tensor:
        """Gather the field at the starts; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.at(self._fields, draw.start)


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"fields": Fields}
