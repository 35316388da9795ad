"""The known system that moves most like a measured one: what ``twin: auto`` stands for.

Of the systems of the catalogue with as many components, it is the one whose power is spread over frequencies, in units
of the mean one, most alike (:mod:`nearorbit.truth.spectra`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from nearorbit.study.catalogue import MEASURED, NEAREST, build
from nearorbit.truth import spectra
from nearorbit.truth.systems.base import System


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``nearest``."""
    return {NEAREST: nearest}


def nearest(*, like: Mapping[str, Any]) -> System:
    """Find the known system nearest to a measured one.

    Arguments:
        like: The line of the measured system, of whose recordings the longest counts.
    """
    measured = build("systems", MEASURED, like)
    found = spectra.signature(spectra.evened(measured.series))
    return build("systems", spectra.nearest(found, dimension=measured.dimension)[0], {})
