"""A measured system: recordings in a file, and no field.

What a truth would tell of it is not known: neither equations nor Jacobians nor exponents. Its unit of time is that of
the file; what a study measures in periods is in its ``period``, which the line gives, or else is that of the peak of
its power spectrum. There is no Lyapunov time, and what is scored in Lyapunov times is blank.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nearorbit.study.catalogue import MEASURED
from nearorbit.study.files import LEAST
from nearorbit.study.places import located
from nearorbit.study.sampling import CUT, GAP, longest_run, span
from nearorbit.study.selection import UNEVEN, Selection
from nearorbit.truth.columns import Columns
from nearorbit.truth.series import Piece, Series, parts, read, told
from nearorbit.truth.spectra import period
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
    if not components:
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

    columns: Columns = field(kw_only=True)

    @property
    def series(self) -> Series:
        """Its recordings.

        Raises:
            ValueError: If the file is none of measurements.
        """
        return read(located(self.parameters["file"]), self.columns)

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
                parts(self.series, data)
            except ValueError as error:
                yield f"{place}, data.{label}: {error}"
                continue
            if problems := list(self._unlearnable(place, label, data)):
                yield from problems
                continue
            yield from self.too_short(study.training["segment"], "training.segment", place, label, data)
            yield from self._unvalidated(study.training["horizon"], place, label, data)
            if study.training["batch"] == "all" and not self.is_regular(data):
                yield f"training.batch: {CUT} or leave out {place}"
            yield from self._starved(study, place, label, data)
            for name, selection in study.neighbors.items():
                if selection.get("behind") and not self.is_regular(data):
                    yield f"neighbors.{name}.behind: it is not for {place}: {UNEVEN}"

    def _unlearnable(self, place: str, label: str, data: Mapping[str, Any]) -> Iterator[str]:
        """Tell what would stop a job: a period that no recording can have, delays that look back too far, one block to
        resample, a component that is constant in all that is learned from."""
        series, pieces = self.series, parts(self.series, data)["train"]
        longest = max(times[-1] - times[0] for times in series.times)
        if self.period and not 2 * series.step <= self.period <= longest:
            yield (
                f"{place}.period: {self.period:g} is in the unit of the times, of which two samples last "
                f"{2 * series.step:g} and the longest recording {longest:g}; take one between these, or leave it out"
            )
        if (back := span(data)) and back >= (most := max(self._rows("train", data).values()) + back) - 1:
            yield (
                f"data.{label}.delay: states look {back} samples back, and what is learned from of {place} has at most "
                f"{most} in a row; take a smaller dimension or lag"
            )
        if "resample" in data:
            length = max(2, round(data["resample"] * (self.period or period(series)) / series.step))
            if sum(max(1, len(piece) // length) for piece in pieces) < 2:
                yield f"data.{label}.resample: all there is to train on of {place} is one block; take shorter ones"
        states = np.concatenate([piece.of(series.states) for piece in pieces])
        still = np.ptp(states, 0) <= LEAST * np.abs(states).max(0)
        for name in data.get("components", self.components):
            if name in self.components and still[self.components.index(name)]:
                yield (
                    f"{place}, data.{label}: component '{name}' does not vary in what is learned from; hold out less, "
                    f"validate by less, or leave it out of components"
                )

    def _starved(self, study: Any, place: str, label: str, data: Mapping[str, Any]) -> Iterator[str]:
        """Tell that a state has too few neighbors outside the Theiler window, however they lie."""
        asked = {method.neighbors for method in study.built("methods") if getattr(method, "neighbors", None)}
        for name in sorted(asked & study.neighbors.keys()):
            settings, ahead = Selection(**study.neighbors[name]), study.ahead(name)
            if settings.selection != "nearest" or settings.anchors is not None:
                continue
            window = np.ceil(settings.theiler * (self.period or period(self.series)) / self.series.step)
            ticks = [piece.of(self.series.ticks) for piece in parts(self.series, data)["train"]]
            ticks = [t[:-ahead][t[:-ahead] >= t[0] + span(data)] for t in ticks]
            near = [np.searchsorted(t, t + window, "right") - np.searchsorted(t, t - window) for t in ticks if len(t)]
            if (found := sum(map(len, ticks)) - max((of.max() for of in near), default=0)) < settings.count:
                yield (
                    f"neighbors.{name}: {settings.count} neighbors outside a Theiler window of {window:.0f} samples, "
                    f"and a state of {place}, data.{label}, has at most {found}; ask for fewer (count) or a shorter "
                    f"window (theiler), state a shorter period, hold out less, or take more data"
                )

    def too_short(self, asked: int, setting: str, place: str, label: str, data: Mapping[str, Any]) -> Iterator[str]:
        """Tell that no recording has as many samples in a row to train on as a segment; if some have, warn of the rest.

        Arguments:
            asked: How many samples have to follow one.
            setting: The place that asks for them, e.g. ``"training.segment"``.
            place: The place of the system in the study.
            label: The label of the data.
            data: Their line.
        """
        rows = self._rows("train", data)
        short = [f"{self.series.names[p.recording]} ({row})" for p, row in rows.items() if row <= asked]
        said = (
            f"{setting}: {asked} samples have to follow one without a gap, and recordings of {place}, data.{label}, "
            f"have too few in a row: {', '.join(short[:10])}{', ...' if len(short) > 10 else ''}"
        )
        way = "ask for fewer, take a larger gap, or hold out less"
        if len(short) == len(rows):
            yield f"{said}; {way}"
        elif short:
            print(f"warning: {said}; these {len(short)} of {len(rows)} are not learned from; {way}", file=sys.stderr)

    def _unvalidated(self, horizon: int, place: str, label: str, data: Mapping[str, Any]) -> Iterator[str]:
        """Tell that no recording has as many samples in a row to validate with as the horizon, or the longest has."""
        rows = self._rows("validation", data)
        asked, most = min(horizon, max(map(len, rows)) - span(data) - 1), max(rows.values())
        if most <= max(asked, 1):
            yield (
                f"training.horizon: {asked} samples have to follow one without a gap, and what validates of {place}, "
                f"data.{label}, has at most {most} in a row; ask for fewer, take a larger gap, or a larger validation"
            )

    def _rows(self, part: str, data: Mapping[str, Any]) -> dict[Piece, int]:
        """How many samples the pieces for a part have in a row, without a gap and with their delays."""
        gap = np.inf if self.series.regular else data.get("gap", GAP)
        pieces = parts(self.series, data)[part]
        return {piece: longest_run(piece.of(self.series.ticks), gap) - span(data) for piece in pieces}

    def is_regular(self, data: Mapping[str, Any]) -> bool:
        """Tell whether what is learned from and validates is at equal intervals, complete and equally long."""
        pieces = parts(self.series, data)
        equal = all(len({len(piece) for piece in pieces[name]}) == 1 for name in ("train", "validation"))
        return self.series.regular and equal and "resample" not in data

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Refuse: there is no field."""
        raise ValueError(f"{self.parameters['file']} has recordings, and no equations are known")
