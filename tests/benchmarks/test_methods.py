"""What a gradient step of every method costs: time against the baseline's, and memory; none more than 40 times."""

import multiprocessing
import statistics
import time

import pytest
import torch

from nearorbit.study.catalogue import build, names
from nearorbit.training.budget import Training
from nearorbit.training.cost import step_of
from nearorbit.training.devices import peak_memory
from nearorbit.training.methods.base import segment

SIZES = {"dimension": 3, "width": 64, "depth": 3, "seeds": 3}
LINES = {name: {"method": name} for name in names("methods")} | {
    "neighborhood, order 2": {"method": "neighborhood", "order": 2},
    "neighborhood, smoothed": {"method": "neighborhood", "displacements": "smoothed"},
    "neighborhood, instrument": {"method": "neighborhood", "instrument": 1},
    "local_jacobian, quadratic": {"method": "local_jacobian", "degree": 2, "cautious": True},
}
ROUNDS, BAR = 15, 40
CPU = torch.device("cpu")


def step(label):
    """A step at the sizes of the default study, as many samples for each method."""
    method = build("methods", label, LINES[label])
    settings = Training(batch=64, segment=5)
    length = segment(method, settings.segment)
    of = {
        "segment": length,
        "batch": settings.segments(length, orbits=1, samples=1),
        "neighbors": getattr(method, "count", 1),
    }
    return step_of(method, SIZES | of, CPU)


def memory(label):
    """The memory that a process needs for steps, in MiB, beyond what it had before the first."""
    made = step(label)
    before = peak_memory(CPU)
    for _ in range(3):
        made()
    return peak_memory(CPU) - before


@pytest.fixture(scope="module")
def costs():
    steps, seconds = {label: step(label) for label in LINES}, {label: [] for label in LINES}
    for _ in range(ROUNDS + 1):  # in turns, so that what else the machine does falls on all alike
        for label, made in steps.items():
            began = time.perf_counter()
            made()
            seconds[label].append(time.perf_counter() - began)
    # Forked from a small server, for a process that is spawned takes the peak of its parent over.
    with multiprocessing.get_context("forkserver").Pool(1, maxtasksperchild=1) as pool:
        peaks = dict(zip(LINES, pool.map(memory, LINES, chunksize=1), strict=True))
    ratios = {
        label: statistics.median(a / b for a, b in zip(own[1:], seconds["baseline"][1:], strict=True))
        for label, own in seconds.items()
    }
    print("\n| method | ms per step | times the baseline | MiB |\n| --- | ---: | ---: | ---: |")
    for label, own in seconds.items():
        print(f"| {label} | {1e3 * statistics.median(own[1:]):.0f} | {ratios[label]:.1f} | {peaks[label]:.0f} |")
    return ratios


@pytest.mark.parametrize("label", LINES)
def test_no_method_costs_more_than_forty_times_the_baseline(costs, label):
    assert costs[label] <= BAR, f"{label}: {costs[label]:.1f} times"
