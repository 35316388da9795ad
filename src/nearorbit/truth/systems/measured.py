"""A measured system: recordings in a file, and no field.

What a truth would tell of it is not known: neither equations nor Jacobians nor exponents. Its unit of time is that of
the file; what a study measures in periods is in its ``period``, which the line gives, or else is that of the peak of
its power spectrum. There is no Lyapunov time, and what is scored in Lyapunov times is blank.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nearorbit.study.catalogue import MEASURED, StudyError
from nearorbit.study.sampling import CUT, GAP, longest_run, span
from nearorbit.study.selection import UNEVEN
from nearorbit.truth.columns import Columns
from nearorbit.truth.series import Parts, Series, parts, read, told
from nearorbit.truth.systems.base import System, bounded


def entries() -> dict[str, Callable[..., System]]:
    """The entry ``measured``."""
    return {MEASURED: measured}


def measured(
    *,
    file: str,
    time: str,
    components: Sequence[str],
    orbit: str | None = None,
    period: float | None = None,
    units: str = "system units",
) -> "Measured":
    """Describe a measured system; the file is read when its recordings are asked for.

    Arguments:
        file: The file: CSV, Parquet or NetCDF, with a row for each sample.
        time: The column of times.
        components: The columns of components.
        orbit: The column that tells recordings apart; without it the file is one recording.
        period: The period, in the unit of the times; the peak of the power spectrum if None.
        units: What the components are measured in, and the times; told in files of results.
    """
    texts = isinstance(components, Sequence) and not isinstance(components, str)
    if not (texts and components and all(isinstance(name, str) for name in components)):
        raise ValueError(f"'components' has to be a list of columns, [angle, velocity], not {components!r}")
    names = [time, *components, *([orbit] if orbit else [])]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the column '{twice}' is named twice; it is one of time, orbit and components")
    if period is not None:
        bounded("period", period, above=0)
    return Measured(
        name=MEASURED,
        components=tuple(components),
        parameters={"file": file, "time": time, "orbit": orbit or "", "units": units},
        start=np.full(len(components), np.nan),
        period=period,
        columns=Columns(time, tuple(components), orbit),
    )


@dataclass(frozen=True)
class Measured(System):
    """A system of which there are recordings, and no field.

    Arguments:
        columns: Which columns of its file are read.
    """

    has_field: ClassVar[bool] = False

    columns: Columns = field(kw_only=True)

    @property
    def series(self) -> Series:
        """Its recordings.

        Raises:
            ValueError: If the file is none of measurements.
        """
        return read(Path(self.parameters["file"]), self.columns)

    def misfits(self, study: Any, place: str) -> Iterator[str]:
        """Tell what its file lacks, and what is asked of it in vain; of recordings that are of no use, a warning."""
        try:
            for line in told(self.series):
                print(f"{place}: {line}", file=sys.stderr)
        except ValueError as error:
            yield f"{place}: {error}"
            return
        for label, data in study.data.items():
            try:
                pieces = parts(self.series, data)
            except ValueError as error:
                yield f"{place}, data.{label}: {error}"
                continue
            yield from self._short(study, place, label, pieces)
            yield from self._uneven(study, place, label, pieces)

    def _short(self, study: Any, place: str, label: str, pieces: Parts) -> Iterator[str]:
        """Tell which pieces are too short to learn from, or to validate with."""
        data, segments = study.data[label], [study.training["segment"]]
        segments += [length for m in study.built("methods") for length in _lengths(m)]
        for name, asked in (("train", max(segments)), ("validation", 1)):
            gap = data.get("gap", GAP) if not self.series.regular else np.inf
            rows = {p: longest_run(p.of(self.series.ticks), gap) - span(data) for p in pieces[name]}
            short = [f"{self.series.names[p.recording]} ({row})" for p, row in rows.items() if row <= asked]
            what = f"samples in a row for {'a segment' if name == 'train' else 'validation'} of data.{label}"
            said = f"{place}: recordings {', '.join(short[:10])} have fewer than the {asked + 1} {what}"
            way = "lower training.segment or the method's own, take a larger gap, or change held_out or validation"
            if len(short) == len(rows):
                yield f"{said}; {way}"
            elif short:
                print(f"warning: {said}: {len(short)} of {len(rows)} are not used; {way}", file=sys.stderr)

    def _uneven(self, study: Any, place: str, label: str, pieces: Parts) -> Iterator[str]:
        """Tell what cannot do with samples that are not at equal intervals, or recordings of unequal length."""
        equal = all(len({len(piece) for piece in pieces[name]}) == 1 for name in ("train", "validation"))
        if self.series.regular and equal:
            return
        if study.training["batch"] == "all":
            yield f"training.batch: {CUT} or leave out {place}"
        for name in study.methods:
            with suppress(StudyError):
                if reason := getattr(study.entry("methods", name), "evenly", ""):
                    yield f"methods.{name}: samples of {place} are at unequal intervals: {reason}; leave one out"
        for name, selection in study.neighbors.items():
            if selection.get("behind"):
                yield f"neighbors.{name}: it is not for {place}: {UNEVEN}"

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Refuse: there is no field."""
        raise ValueError(f"{self.parameters['file']} has recordings, and no equations are known")


def _lengths(method: Any) -> list[int]:
    """How many samples a method asks for in a row, by its own settings."""
    return [getattr(method, name, None) or 0 for name in ("segment", "follow", "window")]
