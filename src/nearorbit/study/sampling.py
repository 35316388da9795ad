"""How orbits are observed: what a line of the section ``data`` says, and what follows from it before anything is made.

When samples are taken, where not at equal intervals, is drawn here: so that a study which asks for more samples in a
row than there will be is told so before any work. It is apart from the simulation, so that a study is checked without
what the simulation imports.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from nearorbit.study.seeds import generator

SPACINGS = ("samples_per_period", "samples_per_lyapunov_time", "spacing")
SEEN = (
    "noise_in",
    "noiseless_start",
    "smooth",
    "components",
    "delay",
)  # what is said, beside the noise, of the observation alone
LEAST_SMOOTHED = 5  # samples of an orbit, for a smoothing spline
GAP = 3.0  # sample intervals, beyond which nothing is bridged
SHARES = {"held_out": 0.2, "validation": None}  # of recordings, where a line does not say
VALIDATION = 1 / 6  # of what is not held out, so that it is a fifth of what is learned from
RECORDED = (*SHARES, "resample")  # what is said of measured systems alone
ENDLESS = 10**7  # samples in a row, where no system is simulated
SIMULATED = ("orbits", "samples", "transient")  # what has to be said of others, besides a spacing
CUT = (
    "'all' are the segments that orbits are cut into, and not as many for every seed where samples are missing or "
    "moved; give their number,"
)
ROUNDING = 1e-9  # of a time, relative to the interval: three intervals are no longer than three


def held_out(data: Mapping[str, Any]) -> tuple[int, int]:
    """Tell how many orbits, and samples of each, are held out for validation: a fifth as much as there is to train on.

    Arguments:
        data: The line of the study, of which ``orbits`` and ``samples`` are read.
    """
    others = max(1, data["orbits"] // 5)
    return others, max(2, data["orbits"] * data["samples"] // (5 * others))


def is_partial(data: Mapping[str, Any]) -> bool:
    """Tell whether states of a line of data are seen in part: some components, or with delays."""
    return bool(data.get("components") or data.get("delay"))


def span(data: Mapping[str, Any]) -> int:
    """Tell how many samples the delays of a line of data look back; 0 where they are chosen later."""
    delay = {"dimension": 1, "lag": 1} | (data.get("delay") or {})
    return 0 if "auto" in delay.values() else (delay["dimension"] - 1) * delay["lag"]


def is_irregular(data: Mapping[str, Any]) -> bool:
    """Tell whether samples of a line of data are missing, or not at equal intervals."""
    return bool(data.get("missing") or data.get("jitter"))


def bridged(data: Mapping[str, Any]) -> float:
    """Tell the longest interval between two samples that a rollout bridges, in sample intervals."""
    longest = np.inf if data.get("missing") else 1 + data.get("jitter", 0.0)
    return min(data.get("gap", GAP), longest)


def instants(label: str, seed: int, data: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Draw when the samples of a seed are taken, from streams of its own: which are missing is the same for any jitter.

    The first of each orbit is where the orbit begins: it is there, and on time.

    Arguments:
        label: The label of the system, which names the stream.
        seed: The seed.
        data: The line of the study.

    Returns:
        The times since the first sample of an orbit, in sample intervals, of the orbits to train on (orbit, time) and
        of those for validation; NaN where a sample is missing.
    """
    train = moments("train", label, seed, (data["orbits"], data["samples"]), data)
    return train, moments("validation", label, seed, held_out(data), data)


def moments(name: str, label: str, seed: int, shape: tuple[int, int], data: Mapping[str, Any]) -> np.ndarray:
    """Draw when samples of orbits of one kind and of a shape are taken; see :func:`instants`."""
    stream = generator("instants", name, label, 0 if data.get("shared") else seed)
    moved, kept = stream.uniform(-0.5, 0.5, shape), stream.uniform(size=shape) >= data.get("missing", 0.0)
    times = np.arange(shape[1]) + data.get("jitter", 0.0) * moved
    times[~kept] = np.nan
    times[:, 0] = 0.0
    return times


def breaks(times: np.ndarray, gap: float | np.ndarray) -> np.ndarray:
    """Tell after which samples (*, T) nothing follows that could be bridged; returns shape (*, T - 1)."""
    return np.diff(times) > gap * (1 + ROUNDING)


def shortened(times: np.ndarray, longest: float) -> np.ndarray:
    """Shorten the longer intervals of an orbit: a night without samples needs no room; returns shape (T,), from 0."""
    return np.append(0.0, np.cumsum(np.minimum(np.diff(times), longest)))


def in_a_row(data: Mapping[str, Any], labels: Iterable[str], seeds: int) -> tuple[int, int]:
    """Tell how many samples in a row every seed of some systems has, to train on and for validation, without a gap."""
    if "samples" not in data:
        return ENDLESS, ENDLESS
    if not is_irregular(data):
        return data["samples"] - span(data), held_out(data)[1] - span(data)
    most = [
        [max(longest_run(orbit, data.get("gap", GAP)) for orbit in orbits) for orbits in kinds]
        for kinds in _drawn(data, labels, seeds)
    ]
    least = [min(column) - span(data) for column in zip(*most, strict=True)]
    return least[0], least[1]


def fewest(data: Mapping[str, Any], labels: Iterable[str], seeds: int) -> tuple[int, int]:
    """Tell how many samples the shortest orbit of some systems has, to train on and for validation."""
    if "samples" not in data:
        return ENDLESS, ENDLESS
    if not is_irregular(data):
        return data["samples"], held_out(data)[1]
    counts = [[np.isfinite(orbits).sum(1).min() for orbits in kinds] for kinds in _drawn(data, labels, seeds)]
    train, validation = np.min(counts, 0)
    return int(train), int(validation)


def _drawn(data: Mapping[str, Any], labels: Iterable[str], seeds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw when the samples of every seed of some systems are taken; see :func:`instants`."""
    for label in labels:
        for seed in range(1 if data.get("shared") else seeds):
            yield instants(label, seed, data)


def longest_run(times: np.ndarray, gap: float) -> int:
    """Count the samples in the longest piece of an orbit (T,) without a gap; NaN where a sample is missing."""
    ends = np.flatnonzero(breaks(kept := times[~np.isnan(times)], gap)) + 1
    return int(np.diff([0, *ends, len(kept)]).max())


def misfits(place: str, data: Mapping[str, Any], *, simulated: bool, measured: bool) -> Iterator[str]:
    """Find what does not fit together in a line of data, e.g. in ``"data.clean"``; each with place and way out.

    Arguments:
        place: Its place in the study.
        data: The line.
        simulated: Whether the study has a system that is simulated.
        measured: Whether it has one that is measured.
    """
    for name in RECORDED:
        if name in data and not measured:
            yield f"{place}.{name}: no system of this study is measured; leave this out"
    if not simulated:
        for name in (name for name in (*SIMULATED, *SPACINGS, "start", "missing", "jitter") if name in data):
            yield f"{place}.{name}: all systems of this study are measured, and their files tell; leave this out"
        return
    if missing := [name for name in SIMULATED if name not in data]:
        yield f"{place}: missing {', '.join(missing)}; a study states every value, see config.yaml"
        return
    if sum(name in data for name in SPACINGS) != 1:
        yield (
            f"{place}: give one of samples_per_period and spacing (system time), or samples_per_lyapunov_time, not "
            f"several or none"
        )
    if "start" in data and data["orbits"] > 1:
        yield f"{place}.start: all {data['orbits']} orbits would be the same one; take orbits: 1, or leave out start"
    if "gap" in data and not (is_irregular(data) or measured):
        yield f"{place}.gap: no sample is missing or moved (missing, jitter), and there is no gap; leave this out"
    if (gap := data.get("gap", GAP)) < (longest := 1 + data.get("jitter", 0.0)):
        yield (
            f"{place}.gap: {gap:g} sample intervals are less than those between samples that follow one another, up to "
            f"{longest:g}; raise this to {longest:g} or more"
        )
