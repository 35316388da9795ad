"""The known system that moves most like a measured one: what ``twin: auto`` stands for.

Of the systems of the catalogue with as many components, it is the one whose power is spread over frequencies, in units
of the mean one, most alike (:mod:`nearorbit.truth.spectra`).
"""

from collections.abc import Callable, Sequence

from nearorbit.study.catalogue import MEASURED, NEAREST, build
from nearorbit.truth import spectra
from nearorbit.truth.systems.base import System


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``nearest``."""
    return {NEAREST: like}


def like(
    *,
    file: str,
    time: str,
    components: Sequence[str],
    orbit: str | None = None,
    period: float | None = None,
    units: str = "system units",
) -> System:
    """Find the known system nearest to a measured one, whose settings these are.

    Arguments:
        file: The file of recordings, of which the longest counts.
        time: The column of times.
        components: The columns of components.
        orbit: The column that tells recordings apart.
        period: The period, in the unit of the times; not used, and neither are units.
        units: What the components are measured in.
    """
    line = {"file": file, "time": time, "components": components, "orbit": orbit, "period": period, "units": units}
    measured = build("systems", MEASURED, line)
    found = spectra.signature(spectra.evened(measured.series))
    return build("systems", spectra.nearest(found, dimension=measured.dimension)[0], {})
