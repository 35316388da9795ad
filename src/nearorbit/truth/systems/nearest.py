"""The known system that moves most like a measured one: what ``twin: auto`` stands for.

Of the systems of the catalogue with as many components, it is the one whose power is spread over frequencies, in units
of the peak's, most alike (:mod:`nearorbit.truth.spectra`).
"""

from collections.abc import Callable
from typing import Any

from nearorbit.study.catalogue import MEASURED, NEAREST, build
from nearorbit.truth.spectra import evened, nearest, period, signature
from nearorbit.truth.systems.base import System


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``nearest``."""
    return {NEAREST: like}


def like(*, file: str, **line: Any) -> System:
    """Find the known system nearest to a measured one.

    Arguments:
        file: The file of recordings, of which the longest counts.
        line: The other settings of a measured system, :func:`nearorbit.truth.systems.measured.measured`.
    """
    measured = build("systems", MEASURED, {"file": file, **line})
    series = measured.series
    found = signature(evened(series), per_period=(measured.period or period(series)) / series.step)
    return build("systems", nearest(found, dimension=measured.dimension)[0], {})
