"""Longer pieces of the observed orbits."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nearorbit.study.catalogue import StudyError
from nearorbit.training.budget import Training
from nearorbit.training.needs.base import Draw, Need, Source


class Windows(Need):
    """Pieces of the observed orbits of ``window`` samples after their start, with shape (E, W, window + 1, D).

    There are at least two, none from the same start as another, and about ``share`` times as many samples in them as in
    the segments of a step.
    """

    settings = ("window", "share")

    def __init__(self, source: Source):
        method, (_, _, samples, _) = source.method, source.orbits.shape
        if samples <= method.window:
            raise StudyError(
                f"training orbits have {samples} samples, a window of {method.window} needs more: ask for more "
                f"(data.*.samples), or shorten the window of the method"
            )
        wanted = round(method.share * source.batch * source.segment / method.window)
        count = min(max(2, wanted), source.batch)
        # Batches are drawn anew, of which the first will do, or are all segments, from the first orbit to the last.
        apart = source.batch // count if source.settings.batch == "all" else 1
        self._length, self._taken = method.window, slice(0, count * apart, apart)

    def gather(self, draw: Draw) -> Tensor:
        """Gather the windows; see :class:`nearorbit.training.needs.base.Need`."""
        first = draw.orbit + draw.moment * (draw.samples - self._length) // draw.moments
        return draw.pieces(draw.states, first[:, self._taken], self._length + 1)

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell what is too short for windows, and too small; see :class:`nearorbit.training.needs.base.Need`."""
        for name, data in study.data.items():
            if method.window >= (samples := data["samples"]):
                yield f"{place}.window: {method.window} is too long for the orbits of data.{name}, {samples} samples"
        settings = Training(**study.training)
        length = getattr(method, "segment", None) or settings.segment
        shapes = [{name: data[name] for name in ("orbits", "samples")} for data in study.data.values()]
        if any(settings.segments(length, **shape) < 2 for shape in shapes):
            yield f"{place}: it needs two windows or more in a step; raise training.batch"


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"windows": Windows}
