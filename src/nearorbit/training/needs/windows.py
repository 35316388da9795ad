"""Longer pieces of the observed orbits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearorbit.study.catalogue import StudyError
from nearorbit.study.sampling import ENDLESS
from nearorbit.training.budget import Training
from nearorbit.training.needs.base import Draw, Need, Source


class Windows(Need):
    """Pieces of the observed orbits of ``window`` samples after their start, with shape (E, W, window + 1, D); and the
    times of these since then in sample intervals, (E, W, window + 1) or, at equal intervals, (E, 1, window + 1).

    There are at least two, and about ``share`` times as many samples in them as in the segments of a step. Where there
    are fewer states that a window may begin at, or starts are drawn twice, some are the same.
    """

    settings = ("window", "share")

    def __init__(self, source: Source):
        method, clock = source.method, source.clock
        if (samples := clock.longest()) <= method.window:
            raise StudyError(
                f"training orbits have {samples} samples in a row, a window of {method.window} needs more: ask for "
                f"more (data.*.samples), or shorten the window of the method"
            )
        wanted = round(method.share * source.batch * source.segment / method.window)
        count = min(max(2, wanted), source.batch)
        # Batches are drawn anew, of which the first will do, or are all segments, from the first orbit to the last.
        apart = source.batch // count if source.settings.batch == "all" else 1
        self._length, self._taken = method.window, slice(0, count * apart, apart)
        # For every state, where the window of a segment that begins there begins: as far along all that may.
        (segments, many), (windows, few) = (clock.starts(0, length) for length in (source.segment, method.window))
        first = np.zeros((len(segments), clock.shape[1] * clock.shape[2]), int)
        for row, of, n, among, m in zip(first, segments, many, windows, few, strict=True):
            row[of[:n]] = among[np.arange(n) * m // n]
        self._first = torch.from_numpy(first).to(source.device).expand(len(source.orbits), -1)

    def gather(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Gather the windows; see :class:`nearorbit.training.needs.base.Need`."""
        first = self._first.gather(1, draw.start)[:, self._taken]
        ticks = draw.ticks(self._length, first)
        if draw.line is None:
            ticks = ticks.expand(len(first), 1, -1)
        return draw.pieces(draw.states, first, self._length + 1), ticks

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell what is too short for windows, and too small; see :class:`nearorbit.training.needs.base.Need`."""
        for name in study.data:
            if method.window >= study.in_a_row[name][0]:
                yield f"{place}.window: {method.window} is too long for the orbits of data.{name}, {study.told(name)}"
        settings = Training(**study.training)
        length = getattr(method, "segment", None) or settings.segment
        shapes = [{name: data.get(name, ENDLESS) for name in ("orbits", "samples")} for data in study.data.values()]
        if any(settings.segments(length, **shape) < 2 for shape in shapes):
            yield f"{place}: it needs two windows or more in a step; raise training.batch"


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"windows": Windows}
