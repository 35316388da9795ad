r"""How the cost of a gradient step grows with the sizes of the problem.

Around one reference point each size is changed alone: the dimension D (Lorenz-96 with N = D sites), the number of
neighbors K, the length of the segments s, the width of the network, and the number of seeds E in the ensemble. A step
is the gradient of a method's loss with respect to all weights; what it costs does not depend on what the network has
learned. The points take turns, round after round, so that what else the machine does falls on all of them alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nearorbit.catalogue import build
from nearorbit.fields import NeuralField, TrueField, jacobian
from nearorbit.flow import rollout
from nearorbit.methods.base import Batch, Method
from nearorbit.training import flatten, gradient, pick_device

STEP = 0.02  # half of the time between two samples of Lorenz-96: the middles of the steps are stages of a spline
SAMPLES = 2000  # of the orbit that segments are taken from, and as many before that are dropped


def growth(
    methods: Mapping[str, Mapping[str, Any]],
    *,
    reference: Mapping[str, int],
    axes: Mapping[str, Sequence[int]],
    rounds: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Measure the seconds of a gradient step along each axis, through a reference point.

    Arguments:
        methods: The methods, as the lines of a study.
        reference: The sizes ``dimension``, ``neighbors``, ``segment``, ``width`` and ``seeds``, and ``batch`` and
            ``depth``, which stay.
        axes: For each of the first five, the values to try; ``neighbors`` only of methods that need them.
        rounds: How many times each point is measured, after once for warming up.
        device: As in :class:`nearorbit.budget.Training`.

    Returns:
        A row per point, with columns ``(method, axis, size, seconds, device)``: the median over the rounds, in float32.
    """
    device = pick_device(device)
    steps = {}
    for label, spec in methods.items():
        method = build("methods", label, spec)
        for axis, sizes in axes.items():
            if axis != "neighbors" or "neighbors" in method.needs:
                steps |= {(label, axis, size): _step(method, {**reference, axis: size}, device) for size in sizes}
    rows = []
    for turn in range(rounds + 1):
        for (label, axis, size), step in steps.items():
            began = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                rows.append((label, axis, size, time.perf_counter() - began))
    table = pd.DataFrame(rows, columns=["method", "axis", "size", "seconds"])
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one CPU core"
    return table.groupby(["method", "axis", "size"], sort=False)["seconds"].median().reset_index().assign(device=name)


def _step(method: Method, sizes: Mapping[str, int], device: torch.device) -> Callable[[], Tensor]:
    if "neighbors" in method.needs:
        method = replace(method, count=sizes["neighbors"])
    seeds = range(sizes["seeds"])
    field = NeuralField(sizes["dimension"], seeds, width=sizes["width"], depth=sizes["depth"]).to(device, torch.float32)
    flatten(field)
    batch = _batch(sizes, device)
    progress = torch.zeros((), device=device)
    return lambda: gradient(method.loss(field, batch, progress).sum(), field)


def _batch(sizes: Mapping[str, int], device: torch.device) -> Batch:
    """Take segments, the same for every seed, from an orbit of Lorenz-96, with all that a method may need of them."""
    dimension, length = sizes["dimension"], 2 * sizes["segment"] + 1
    truth = TrueField(build("systems", "lorenz96", {"size": dimension}))
    start = torch.from_numpy(truth.system.start)
    orbit = rollout(truth, start, STEP * torch.arange(2 * SAMPLES, dtype=start.dtype))[SAMPLES:]
    scaled = (orbit - orbit.mean(0)) / orbit.std(0)
    starts = np.random.default_rng(0).integers(0, SAMPLES - length, sizes["batch"])
    near = torch.cdist(scaled[starts], scaled[: SAMPLES - length]).argsort(-1)[:, 1 : sizes["neighbors"] + 1]
    fine = torch.arange(length)

    def stacked(values: Tensor) -> Tensor:
        return values.to(device, torch.float32).expand(sizes["seeds"], *values.shape)

    spline = scaled[torch.from_numpy(starts)[:, None] + fine]
    scale = orbit.std(0)
    return Batch(
        times=stacked(2 * STEP * torch.arange(sizes["segment"] + 1)[None]),
        states=stacked(spline[:, ::2]),
        neighbors=stacked(scaled[near[..., None] + fine[::2]]),
        spline=stacked(spline),
        jacobians=stacked(jacobian(truth, orbit[starts]) * scale / scale[:, None]),
    )
