r"""How the cost of a gradient step grows with the sizes of the problem.

Around one reference point each size is changed alone: the dimension D (Lorenz-96 with N = D sites), the number of
neighbors K, the length of the segments s, their number in a batch, the width of the network, and the number of seeds E
in the ensemble. A step is the gradient of a method's loss with respect to all weights; what it costs does not depend on
what the network has learned. The points take turns, round after round, so that what else the machine does falls on all
of them alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

from nearorbit.data.neighbors import neighbors
from nearorbit.data.observations import observe
from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates, TrueField, jacobian
from nearorbit.dynamics.flow import rollout
from nearorbit.dynamics.models import make, with_equations
from nearorbit.study.catalogue import build
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.devices import pick_device
from nearorbit.training.methods.base import Method, own_parameters
from nearorbit.training.optimizer import flatten, gradient

STEP = 0.04  # the time between two samples of Lorenz-96
SAMPLES = 2000  # at least, of the orbit that segments are taken from, and as many before that are dropped


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
        reference: The sizes ``dimension``, ``neighbors``, ``segment``, ``batch``, ``width`` and ``seeds``, and
            ``depth``, which stays.
        axes: For each of the first six, the values to try; ``neighbors`` only of methods that need them.
        rounds: How many times each point is measured, after once for warming up.
        device: As in :class:`nearorbit.training.budget.Training`.

    Returns:
        A row per point, with columns ``(method, axis, size, seconds, device)``: the median over the rounds, in float32.
    """
    picked = pick_device(device)
    steps: dict[tuple[str, str, int], Callable[[], Tensor]] = {}
    for label, spec in methods.items():
        method = build("methods", label, spec)
        for axis, tried in axes.items():
            if axis != "neighbors" or hasattr(method, "count"):
                steps |= {(label, axis, size): step_of(method, {**reference, axis: size}, picked) for size in tried}
    rows = []
    for turn in range(rounds + 1):
        for (label, axis, size), step in steps.items():
            began = time.perf_counter()
            step()
            if picked.type == "cuda":
                torch.cuda.synchronize(picked)
            if turn:
                rows.append((label, axis, size, time.perf_counter() - began))
    table = pd.DataFrame(rows, columns=["method", "axis", "size", "seconds"])
    medians = table.groupby(["method", "axis", "size"], sort=False)["seconds"].median().reset_index()
    return medians.assign(device=_name(picked))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "one CPU core"


def _field(sizes: Mapping[str, Any]) -> Ensemble:
    """Make untrained networks: those of the sizes, or perceptrons of their width and depth."""
    dimension, seeds = sizes["dimension"], range(sizes["seeds"])
    one = (torch.full((len(seeds), n), value).double() for n, value in ((dimension, 0.0), (dimension, 1.0), (1, 1.0)))
    network, equations = sizes.get("network") or {name: sizes[name] for name in ("width", "depth")}, None
    if "system" in sizes:
        network, equations = with_equations(network, sizes["system"], lambda line: build("systems", "known", line))
    components = sizes.get("components", [f"x{i}" for i in range(dimension)])
    return make(network, components, seeds, Coordinates(*one), equations)


def step_of(method: Method, sizes: Mapping[str, Any], device: torch.device) -> Callable[[], Tensor]:
    """Prepare a gradient step of a method on data of Lorenz-96.

    Arguments:
        method: The method; its own segment and number of neighbors give way to those of the sizes.
        sizes: ``dimension``, ``seeds``, ``width``, ``depth``, ``segment``, ``batch`` and ``neighbors``; or in place of
            ``width`` and ``depth`` the ``network``, with the ``components`` and the ``system`` that it may ask for.
        device: The device.

    Returns:
        A function that computes the gradient of the loss with respect to all that is trained, in float32.
    """
    of = {"count": sizes["neighbors"], "segment": sizes["segment"]}
    method = replace(method, **{name: value for name, value in of.items() if getattr(method, name, None) is not None})
    seeds, settings = range(sizes["seeds"]), Training(batch=sizes["batch"], segment=sizes["segment"], substeps=1)
    around = {"ahead": sizes["segment"], "behind": getattr(method, "instrument", 0) + 1}
    longest = max(sizes["segment"], getattr(method, "window", 0), getattr(method, "count", 1))
    samples = max(SAMPLES, 4 * longest)
    files = _cell(sizes["dimension"], samples, getattr(method, "count", 1), **around)
    files = {kind: file.isel(seed=[0] * len(seeds)) for kind, file in files.items()}
    data = Data(files.pop("observations"), method, settings, files, device=device, dtype=torch.float32)
    batch = data.gather(next(data.starts(seeds, [1]))[0].to(device))
    own = own_parameters(method, seeds, data.orbits * data.samples, sizes["dimension"])
    field = _field(sizes)
    trained = nn.ModuleList([field, *own]).to(device, torch.float32)
    flatten(trained)
    progress = torch.zeros((), device=device)
    return lambda: gradient(method.loss(field, batch, progress, *own).sum(), trained)


@cache
def _cell(dimension: int, samples: int, count: int, *, ahead: int, behind: int) -> dict[str, xr.Dataset]:
    """Observe an orbit of Lorenz-96, for one seed; returns all files that a training may be given, by their kinds.

    Of dimensions too small for Lorenz-96, it is the leading components of a larger one.
    """
    system = build("systems", "lorenz96", {"size": max(dimension, 5)})
    truth, start = TrueField(system), torch.from_numpy(system.start)
    orbit = rollout(truth, start, STEP * torch.arange(2 * samples, dtype=start.dtype))[samples:]
    jacobians = jacobian(truth, orbit)[None, None, :, :dimension, :dimension].numpy()
    states = ("seed", "orbit", "time", "component"), orbit[None, None, :, :dimension].numpy()
    validation = ("seed", "validation_orbit", "validation_time", "component"), states[1]
    orbits = xr.Dataset({"train": states, "validation": validation, "step": STEP, "period": 1.0}, {"seed": [0]})
    exponents = xr.Dataset({"deviation": orbits["train"].std(["seed", "orbit", "time"])})
    observed = observe(orbits, exponents, label="performance")
    known = {
        "field": states,
        "jacobian": ((*states[0], "direction"), jacobians),
        "perturbed": states,
        "perturbed_jacobian": ((*states[0], "direction"), jacobians),
        "exponents": (("seed", "exponent"), np.zeros((1, dimension))),
        "fingerprint": observed["fingerprint"],
    }
    table = neighbors(observed, count=count, ahead=ahead, behind=behind)
    supervision = xr.Dataset(known, {"seed": [0]})
    maps = supervision[["jacobian", "fingerprint"]].rename(jacobian="propagator")
    return {"observations": observed, "neighbors": table, "supervision": supervision, "propagators": maps}
