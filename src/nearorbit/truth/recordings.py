r"""Recordings of a measured system, in the place of simulated orbits: to train on, to validate with, and held out.

Which pieces are for what is told in :mod:`nearorbit.truth.series`. Times are in the unit of the file. The same data
serve all seeds, unless they are resampled: then training pieces are cut into blocks, of which each seed learns from a
random half. Around the mean over all blocks that over a random half has the variance of the former (half-sampling).

References:
    | Pseudo-replication: half samples (McCarthy, Review of the International Statistical Institute, 1969)
    | Subsampling (Politis, Romano and Wolf, 1999)
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.study import sampling
from nearorbit.study.catalogue import StudyError
from nearorbit.study.seeds import generator
from nearorbit.truth.attractors import peak_period
from nearorbit.truth.series import Piece, Series, parts, told
from nearorbit.truth.systems.base import attributes
from nearorbit.truth.systems.measured import Measured

STATES = 1024  # of the recordings, that stand for the attractor
SEGMENTS = 8  # of the longest recording, of which a power spectrum is the mean, if they have LEAST samples
LEAST = 256
BRIDGED = 10  # sample intervals, of which a gap is in a power spectrum at most


def attractor(system: Measured, *, label: str) -> xr.Dataset:
    """Compute what recordings tell of an attractor: the averages and the period; its exponents are NaN.

    Arguments:
        system: The system.
        label: Its label in the study.

    Returns:
        The variables of :func:`nearorbit.truth.attractors.exponents`; the attribute ``motion`` is ``unknown``.

    Raises:
        StudyError: If the file is none of measurements.
    """
    series, unknown = opened(system, label), np.full(system.dimension, np.nan)
    for line in told(series):
        print(f"systems.{label}: {line}", file=sys.stderr)
    states = np.concatenate(series.states)
    return xr.Dataset(
        {
            **{name: ("exponent", unknown, {"units": "1 / system time"}) for name in ("exponents", "stderr")},
            "converged": ((), np.int8(0)),
            **{name: ((), np.nan) for name in ("horizon", "kaplan_yorke", "divergence")},
            **{
                name: ("component", values) for name, values in (("mean", states.mean(0)), ("deviation", states.std(0)))
            },
            "period": ((), system.period or _period(series), {"units": "system time"}),
            "states": (("state", "component"), states[:: -(-len(states) // STATES)]),
        },
        coords={"exponent": np.arange(1, system.dimension + 1), "component": list(system.components)},
        attrs=attributes(system) | {"motion": "unknown", "gaps": series.gaps, "recordings": len(series.times)},
    )


def _period(series: Series) -> float:
    """The period at the peak of the power spectrum of the longest recording, at equal intervals, gaps cut short."""
    ticks, states = max(zip(series.ticks, series.states, strict=True), key=lambda recording: len(recording[0]))
    ticks = sampling.shortened(ticks, BRIDGED)
    grid = np.arange(int(ticks[-1]) + 1)
    even = np.stack([np.interp(grid, ticks, component) for component in states.T], 1)
    segment = min(len(grid), max(LEAST, len(grid) // SEGMENTS))
    return peak_period(even, rate=1 / series.step, segment=segment)


def opened(system: Measured, label: str) -> Series:
    """Read the recordings of a system.

    Raises:
        StudyError: If the file is none of measurements; it names the line of the study.
    """
    try:
        return system.series
    except ValueError as error:
        raise StudyError(f"systems.{label}: {error}") from None


def orbits(system: Measured, exponents: xr.Dataset, *, label: str, seeds: int, data: Mapping[str, Any]) -> xr.Dataset:
    """Cut recordings into orbits to train on and to validate with, the same for all seeds unless they are resampled.

    Arguments:
        system: The system.
        exponents: Its averages and its period, from :func:`attractor`.
        label: Its label in the study, which names its random numbers.
        seeds: The number of seeds E.
        data: How it is used: ``held_out`` and ``validation``, see :func:`parts`; ``gap``, the longest interval that is
            bridged, in sample intervals; and ``resample``, the length of blocks, in periods.

    Returns:
        The variables of :func:`nearorbit.truth.simulation.orbits`, ``continuation`` if all recordings go on as long.
        Where samples are not at equal intervals, some are missing, or orbits are not equally long, ``instants`` (seed,
        orbit, time) and ``validation_instants`` are their times since the first of their recording, NaN beyond the
        last. What is held out is in ``recorded`` (recording, moment, component) at ``recorded_instants``, whole
        recordings, of which ``learned`` are the samples before those that are held out.

    Raises:
        StudyError: If the file is none of measurements, or nothing is left for a part.
    """
    series, period = opened(system, label), float(exponents["period"])
    try:
        found = parts(series, data)
    except ValueError as error:
        raise StudyError(f"systems.{label}: {error}") from None
    held_out = {piece.recording: piece.begin for piece in found["held_out"]}
    after = [Piece(p.recording, p.end, len(series.times[p.recording])) for p in found["train"]]
    chosen = [found["train"]] * seeds
    if "resample" in data:
        length = round(data["resample"] * period / series.step)
        after, chosen = [], list(_resampled(found["train"], length, label, seeds))
    regular = series.regular and all(map(_equal, ([*chain(*chosen)], found["validation"])))
    variables: dict[str, Any] = {}
    for prefix, name, drawn in (("", "train", chosen), ("validation_", "validation", [found["validation"]] * seeds)):
        dimensions = "seed", f"{prefix}orbit", f"{prefix}time"
        variables[name] = (*dimensions, "component"), _filled(series.states, drawn)
        if not regular:
            times = series.step * _filled(series.ticks, drawn, beyond=np.nan)
            variables[f"{prefix}instants"] = dimensions, times, {"units": "system time"}
    if not regular:
        gap = series.step * data.get("gap", sampling.GAP)
        variables["gap"] = (), gap, {"units": "system time"}
    elif after and _equal(after):
        dimensions = "seed", "orbit", "continuation_time"
        variables["continuation"] = (*dimensions, "component"), _filled(series.states, [after] * seeds)
    whole = [[Piece(number, 0, len(series.times[number])) for number in held_out]]
    return xr.Dataset(
        variables
        | {
            "recorded": (("recording", "moment", "component"), _filled(series.states, whole)[0]),
            "recorded_instants": (("recording", "moment"), series.step * _filled(series.ticks, whole, np.nan)[0]),
            "learned": ("recording", list(held_out.values())),
            "step": ((), series.step, {"units": "system time"}),
            "period": ((), period, {"units": "system time"}),
        },
        coords={"seed": np.arange(seeds), "component": list(system.components)},
        attrs=attributes(system),
    )


def _equal(pieces: Sequence[Piece]) -> bool:
    """Whether pieces are equally long, and there is something of each."""
    return len({len(piece) for piece in pieces}) == 1 and len(pieces[0]) > 0


def _filled(arrays: Sequence[np.ndarray], pieces: Sequence[Sequence[Piece]], beyond: float | None = None) -> np.ndarray:
    """Stack pieces (E, O), filled up to the longest by their last value or by another, to an array (E, O, T, ...)."""
    longest = max(len(piece) for of in pieces for piece in of)

    def filled(piece: Piece) -> np.ndarray:
        values = piece.of(arrays)
        last = values[-1:] if beyond is None else np.full_like(values[-1:], beyond)
        return np.concatenate([values, np.repeat(last, longest - len(values), 0)])

    return np.stack([np.stack([filled(piece) for piece in of]) for of in pieces])


def _resampled(pieces: Sequence[Piece], length: int, label: str, seeds: int) -> Iterator[list[Piece]]:
    """Draw half of the blocks of a length (of the last of a piece, up to twice as long) into which pieces are cut."""
    blocks = []
    for piece in pieces:
        count = max(1, len(piece) // max(length, 2))
        edges = piece.begin + np.append(np.arange(count) * length, len(piece))
        blocks += [Piece(piece.recording, *edge) for edge in zip(edges.tolist(), edges[1:].tolist(), strict=False)]
    if len(blocks) < 2:
        raise StudyError(f"systems.{label}: data.*.resample: all there is to train on is one block; take shorter ones")
    for seed in range(seeds):
        half = generator("blocks", label, seed).choice(len(blocks), len(blocks) // 2, replace=False)
        yield [blocks[number] for number in np.sort(half)]
