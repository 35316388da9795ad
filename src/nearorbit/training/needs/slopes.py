"""The time derivative of the smoothing splines of the segments, at the samples."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nearorbit.study.catalogue import StudyError
from nearorbit.training.needs.base import Draw, Need, Source


class Slopes(Need):
    """The derivative of the smoothing splines at the times of the observed states, per model time, (E, B, T, D).

    A natural spline has no curvature where its orbit begins and ends, and a poor derivative: segments keep ``trim``
    samples away from there, and from gaps.
    """

    settings = ("trim",)

    def __init__(self, source: Source):
        trim, samples = source.method.trim, source.clock.longest()
        if samples <= (taken := source.segment + 2 * trim):
            raise StudyError(
                f"training orbits have {samples} samples, a segment of {source.segment} and {trim} at either end take "
                f"{taken + 1}: ask for more (data.*.samples), a shorter segment, or a smaller trim of the method"
            )
        self.margin = trim, source.segment + trim
        interval = (source.observations["rate"] * source.observations["step"]).to_numpy().reshape(-1, 1, 1, 1)
        self._slopes = source.tensor(source.slopes / interval).flatten(1, 2)

    def gather(self, draw: Draw) -> Tensor:
        """Gather the segments; see :class:`nearorbit.training.needs.base.Need`."""
        return draw.pieces(self._slopes, draw.start)

    @staticmethod
    def misfits(study: Any, place: str, method: Any) -> Iterator[str]:
        """Tell which orbits are too short; see :class:`nearorbit.training.needs.base.Need`."""
        segment = getattr(method, "segment", None) or study.training["segment"]
        for name in study.data:
            if (taken := segment + 2 * method.trim) >= (samples := study.in_a_row[name][0]):
                yield (
                    f"{place}.trim: {method.trim} samples at either end and a segment of {segment} leave none of the "
                    f"orbits of data.{name}, {samples} samples in a row; lower this to {_fitting(samples, segment)}, "
                    f"ask for more than {taken} samples, or shorten the segment"
                )


def _fitting(samples: int, segment: int) -> str:
    most = (samples - segment - 1) // 2
    return f"{most} or less" if most >= 0 else "0"


def entries() -> dict[str, type]:
    """Export the need of this file."""
    return {"slopes": Slopes}
