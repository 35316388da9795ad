"""How orbits are observed: what a line of the section ``data`` says, and what follows from it before anything is made.

It is apart from the simulation, so that a study is checked without what the simulation imports.
"""

from collections.abc import Iterator, Mapping
from typing import Any

SPACINGS = ("samples_per_period", "samples_per_lyapunov_time", "spacing")
SEEN = ("noise_in", "noiseless_start", "smooth")  # what is said, beside the noise, of the observation alone
LEAST_SMOOTHED = 5  # samples of an orbit, for a smoothing spline


def held_out(data: Mapping[str, Any]) -> tuple[int, int]:
    """Tell how many orbits, and samples of each, are held out for validation: a fifth as much as there is to train on.

    Arguments:
        data: The line of the study, of which ``orbits`` and ``samples`` are read.
    """
    others = max(1, data["orbits"] // 5)
    return others, max(2, data["orbits"] * data["samples"] // (5 * others))


def misfits(place: str, data: Mapping[str, Any]) -> Iterator[str]:
    """Find what does not fit together in a line of data, e.g. in ``"data.clean"``; each with place and way out."""
    if sum(name in data for name in SPACINGS) != 1:
        yield (
            f"{place}: give one of samples_per_period and spacing (system time), or samples_per_lyapunov_time, not "
            f"several or none"
        )
    if "start" in data and data["orbits"] > 1:
        yield f"{place}.start: all {data['orbits']} orbits would be the same one; take orbits: 1, or leave out start"
    if data.get("smooth") and (samples := held_out(data)[1]) < LEAST_SMOOTHED:
        yield (
            f"{place}.smooth: a spline needs at least {LEAST_SMOOTHED} samples of an orbit, and those held out for "
            f"validation have {samples}, a fifth of the others'; raise samples, or leave out smooth"
        )
