"""Measured series: from columns of numbers to recordings, and what of them is for what.

A row in which a component is NaN or empty is a gap: the sample was not taken. Times of a recording have to increase.

Of each recording the first piece validates, the last one is held out, and what lies between is learned from, so that
what is held out goes on where the training orbit ends::

    | validation |            train            | held out |

Whole recordings may validate, or be held out, instead.

Times are *even* if none is further than a thousandth of an interval from a multiple of it: then they are those
multiples, counted from the first sample. An interval is one that most samples are apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nearorbit.study import sampling
from nearorbit.truth.columns import KINDS, Columns, rows_of

LARGEST = 2**30  # bytes of a file, which is read whole
EVEN = 1e-3  # of an interval
MOST = 1.5  # times that the median interval may be one on a grid, or the other way: no resolution of a clock, no gap
GREATEST = 1e150  # of a component
CONSTANT = 1e-10  # of the largest modulus of a component: what varies less is rounding


@dataclass(frozen=True)
class Series:
    """Recordings of one system.

    Arguments:
        names: What the file calls them.
        times: Their times, ascending, with shape (T,) each.
        states: Their states, with shape (T, D) each.
        gaps: The number of rows that were left out since a component was not there.
    """

    names: tuple[str, ...]
    times: tuple[np.ndarray, ...]
    states: tuple[np.ndarray, ...]
    gaps: int = 0

    @cached_property
    def step(self) -> float:
        """The time of a sample interval: the one that the times are multiples of, or else the median one."""
        intervals = np.concatenate([np.diff(times) for times in self.times])
        longest = max(self.times, key=len)
        mean = (longest[-1] - longest[0]) / (len(longest) - 1)
        tried = intervals[0], mean, intervals.min(), np.median(intervals)
        off = [max(map(np.max, self._off(h))) if h / MOST < tried[-1] < MOST * h else np.inf for h in tried]
        return float(tried[int(np.argmin(off))] if min(off) <= EVEN else tried[-1])

    def _off(self, step: float) -> Iterator[np.ndarray]:
        """How far the times of each recording are from multiples of a step."""
        return (np.abs(ticks - np.rint(ticks)) for ticks in (self._ticks(times, step) for times in self.times))

    @cached_property
    def ticks(self) -> tuple[np.ndarray, ...]:
        """The times since the first sample of each recording, in sample intervals: whole numbers if they are even."""
        ticks = [self._ticks(times, self.step) for times in self.times]
        whole = [np.rint(t) for t in ticks]
        even = all(np.abs(t - w).max() <= EVEN and (np.diff(w) > 0).all() for t, w in zip(ticks, whole, strict=True))
        return tuple(whole if even else ticks)

    @property
    def regular(self) -> bool:
        """Whether all samples are at equal intervals, and none is missing."""
        return all((np.diff(ticks) == 1).all() for ticks in self.ticks)

    @staticmethod
    def _ticks(times: np.ndarray, step: float) -> np.ndarray:
        return (times - times[0]) / step


def read(path: Path, columns: Columns) -> Series:
    """Read the recordings of a file; once, as long as it stays as it is.

    Arguments:
        path: The file.
        columns: Which columns are read.

    Raises:
        ValueError: If there is no such file or column, or something in them is no series; with the row.
    """
    if path.is_dir():
        raise ValueError(f"{path}: a folder; name a file in it")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; 'file' is sought in the folder in which the study is run")
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"{path}: a file of measurements ends in one of {', '.join(KINDS)}")
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(
            f"{path}: {size / 2**30:.1f} GiB, and files are read whole, up to {LARGEST / 2**30:g} GiB; keep the "
            f"columns that are used, or every n-th sample"
        )
    return _read(path, columns, path.stat().st_mtime_ns, size)


@lru_cache(maxsize=8)
def _read(path: Path, columns: Columns, *_: int) -> Series:
    table, first = rows_of(path, columns)
    where = f"{path}: {'line' if first else 'row'}"
    times, components = table[columns.time].to_numpy(), table[list(columns.components)].to_numpy()
    there, blank = ~np.isnan(components).any(1), table[columns.names].isna().all(axis=1).to_numpy()
    if (bad := np.flatnonzero(np.isnan(times) & ~blank)).size:
        raise ValueError(f"{where} {bad[0] + first}: '{columns.time}' is empty; a sample without a time is none, leave "
                         f"out the row ({bad.size} such)")  # fmt: skip
    if not there.any():
        raise ValueError(f"{path}: no row has a number in every component ({', '.join(columns.components)})")
    labels = table[columns.orbit].to_numpy() if columns.orbit else np.zeros(len(table), int)
    numbers, names = pd.factorize(labels)
    if (bad := np.flatnonzero((numbers < 0) & ~blank)).size:
        raise ValueError(f"{where} {bad[0] + first}: '{columns.orbit}' is empty; say which recording")
    order = np.argsort(np.where(blank, -1, numbers), kind="stable")[blank.sum() :]
    rows = np.split(order, np.cumsum(np.bincount(numbers[~blank], minlength=len(names)))[:-1])
    for name, of in zip(names, rows, strict=True):
        _check_order(times[of], of + first, where, columns, f" of recording {name}" if columns.orbit else "")
    rows = [some for of in rows if (some := of[there[of]]).size]
    kept = tuple(str(labels[of[0]]) for of in rows)
    gaps = int((~there & ~blank).sum())
    series = Series(kept, tuple(times[of] for of in rows), tuple(components[of] for of in rows), gaps)
    if all(len(times) < 2 for times in series.times):
        asked = f"; is '{columns.orbit}' the column of recordings?" if columns.orbit else ""
        raise ValueError(f"{path}: no recording has two samples{asked}")
    _check_motion(path, columns, np.concatenate(series.states))
    return series


def _check_order(times: np.ndarray, rows: np.ndarray, where: str, columns: Columns, of: str) -> None:
    bad = np.flatnonzero(np.diff(times) <= 0)
    if not bad.size:
        return
    row, before, now = rows[bad[0] + 1], *times[bad[0] : bad[0] + 2]
    more = "" if columns.orbit else ", or name the column that tells recordings apart (orbit)"
    if now == before:
        raise ValueError(f"{where} {row}: '{columns.time}'{of} is {now:g} for the second time (first in "
                         f"{rows[bad[0]]}); keep one{more}")  # fmt: skip
    raise ValueError(f"{where} {row}: '{columns.time}'{of} is {now:g} after {before:g}; sort the rows by time{more}")


def _check_motion(path: Path, columns: Columns, states: np.ndarray) -> None:
    for name, value in zip(columns.components, np.abs(states).max(0), strict=True):
        if value > GREATEST:
            raise ValueError(f"{path}: component '{name}' reaches {value:.3g}, which has no square; take other units")
    constant = np.ptp(states, 0) <= CONSTANT * np.abs(states).max(0)
    for name, value, width in zip(
        np.array(columns.components)[constant], states[0, constant], np.ptp(states, 0)[constant], strict=True
    ):
        told = f"varies by {width:.2g} around {value:g}, which is rounding" if width else f"is {value:g} in every row"
        way = "take off its mean, or leave it out of components" if width else "leave it out of components"
        raise ValueError(f"{path}: component '{name}' {told}; {way}")


def told(series: Series) -> Iterator[str]:
    """Say what was found in a file, a line each."""
    counts = [len(times) for times in series.times]
    samples = f"{counts[0]}" if len(counts) == 1 else f"{len(counts)} recordings of {min(counts)} to {max(counts)}"
    yield f"{samples} samples, {'at equal' if series.regular else 'at unequal'} intervals of {series.step:g}"
    if series.gaps:
        yield f"{series.gaps} rows without a number in every component are gaps"


@dataclass(frozen=True)
class Piece:
    """Samples of a recording that follow one another: its number, the first of them, and the one after the last."""

    recording: int
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    def of(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Take it of what is there for all samples of each recording."""
        return arrays[self.recording][self.begin : self.end]


Parts = dict[str, list[Piece]]  # train, validation, held_out


def parts(series: Series, data: Mapping[str, Any]) -> Parts:
    """Tell what is learned from, validates and is held out.

    Arguments:
        series: The recordings.
        data: The line of the study: ``held_out`` and ``validation`` are shares of the samples of each recording, or
            lists of whole ones, by the names that the file gives them. As a share, validation is by default a fifth as
            much as there is to train on.

    Raises:
        ValueError: If there is no such recording, or nothing is left for a part.
    """
    asked = {name: data.get(name, default) for name, default in sampling.SHARES.items()}
    whole = {name: list(map(str, value)) for name, value in asked.items() if isinstance(value, list)}
    for name, labels in whole.items():
        if missing := [label for label in labels if label not in series.names]:
            raise ValueError(f"{name}: no recording '{missing[0]}'; there are {', '.join(series.names[:20])}")
    if twice := set(whole.get("held_out", ())) & set(whole.get("validation", ())):
        raise ValueError(f"held_out, validation: recording '{min(twice)}' cannot be both")
    found: Parts = {"train": [], "validation": [], "held_out": []}
    for number, (label, times) in enumerate(zip(series.names, series.times, strict=True)):
        count, role = len(times), next((name for name, labels in whole.items() if label in labels), None)
        if role:
            found[role].append(Piece(number, 0, count))
            continue
        end = count - (0 if "held_out" in whole else round(asked["held_out"] * count))
        begin = 0
        if "validation" not in whole:
            share = asked["validation"]
            begin = round(end * sampling.VALIDATION if share is None else share * count)
        shares = {"train": (begin, end), "validation": (0, begin), "held_out": (end, count)}
        for name, (first, last) in shares.items():
            if last > first:
                found[name].append(Piece(number, first, last))
    for name, pieces in found.items():
        if not any(len(piece) > 1 for piece in pieces):
            raise ValueError(f"nothing is left of {sum(map(len, series.times))} samples for {name.replace('_', ' ')}; "
                             f"change held_out or validation, or take a longer series")  # fmt: skip
    return found
