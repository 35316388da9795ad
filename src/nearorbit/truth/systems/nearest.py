"""The known system that moves most like a measured one: what ``twin: auto`` stands for.

Of the systems of the catalogue with as many components, it is the one whose power is spread over frequencies, in units
of the peak's, most alike (:mod:`nearorbit.truth.spectra`).
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
        period: The period, in the unit of the times; the peak of the power spectrum if None.
        units: What the components are measured in; not used.
    """
    line = {"file": file, "time": time, "components": components, "orbit": orbit, "period": period, "units": units}
    measured = build("systems", MEASURED, line)
    series = measured.series
    found = spectra.signature(
        spectra.evened(series), per_period=(measured.period or spectra.period(series)) / series.step
    )
    return build("systems", spectra.nearest(found, dimension=measured.dimension)[0], {})
