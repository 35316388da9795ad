"""One core, and at the end a table of ratios: peer over ours, medians of rounds that take turns."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # XLA's threads keep to it too

import statistics
import time

import pytest
import torch

torch.set_flush_denormal(True)
ROWS = []


@pytest.fixture
def compare(benchmark, request):
    """Time ours and a peer in turns, and add a row to the table.

    The setup of a round of ours is a round of the peer, so that what else the machine does falls on both alike.
    """

    def run(name, ours, peer, *, bar, rounds=7, warm=1):
        others = []

        def timed_peer():
            began = time.perf_counter()
            peer()
            others.append(time.perf_counter() - began)

        for _ in range(warm):
            ours(), peer()
        benchmark.pedantic(ours, setup=timed_peer, rounds=rounds)
        if benchmark.disabled:
            return
        own = benchmark.stats.stats.data
        ratio = statistics.median(b / a for a, b in zip(own, others, strict=True))
        benchmark.extra_info |= {"peer_seconds": statistics.median(others), "ratio": ratio, "bar": bar}
        ROWS.append((name, statistics.median(own), statistics.median(others), ratio, bar))

    return run


@pytest.fixture
def report():
    """Add a row that is no comparison of two functions: the time, what it is measured against, their ratio, the bar."""
    return lambda *row: ROWS.append(row)


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    terminalreporter.write_sep("=", "ratios: the peer's time over ours (medians; milliseconds)")
    terminalreporter.write_line(f"{'':62}{'ours':>10}{'peer':>10}{'ratio':>8}{'bar':>8}")
    for name, own, other, ratio, bar in ROWS:
        verdict = "" if ratio >= bar else "  missed"
        terminalreporter.write_line(f"{name:62}{1e3 * own:10.1f}{1e3 * other:10.1f}{ratio:8.2f}{bar:8.1f}{verdict}")
