"""The gradient of a loss with respect to all weights, against the same loss and network elsewhere."""

import statistics
import time
from functools import cache
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import peers
import pytest
import torch

from nearorbit.dynamics import kernels
from nearorbit.dynamics.fields import TrueField
from nearorbit.dynamics.flow import rollout
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study.catalogue import build
from nearorbit.training.methods.base import Batch
from nearorbit.training.optimizer import Adam, clipped, flatten, gradient

STEP, BATCH, NEIGHBORS, SAMPLES, WEIGHT = 0.02, 256, 25, 4000, 0.01
NOW = torch.zeros(())


def lorenz():
    """Lorenz orbits, standardized, with time scaled to a mean speed of about one."""
    truth = TrueField(build("systems", "Lorenz", {}))
    start = torch.tensor([1.0, 2.0, 20.0], dtype=torch.float64)
    orbit = rollout(truth, start, STEP * torch.arange(SAMPLES + 500, dtype=torch.float64), substeps=2)[500:]
    return ((orbit - orbit.mean(0)) / orbit.std(0)).float(), 10 * STEP


def batch(members=1, size=BATCH, segment=5, neighbors=NEIGHBORS):
    orbit, step = lorenz()
    starts = torch.from_numpy(np.random.default_rng(0).integers(0, SAMPLES - segment - 1, size))
    near = torch.cdist(orbit[starts], orbit[: -segment - 1]).argsort(-1)[:, 1 : neighbors + 1]
    ahead = torch.arange(segment + 1)
    times = (step * ahead)[None].expand(members, 1, -1)
    states = orbit[starts[:, None] + ahead].expand(members, -1, -1, -1)
    near = orbit[near[..., None] + ahead].expand(members, -1, -1, -1, -1)
    return Batch(times, states, given={"neighbors": near})


def untrained(seeds=1, width=128):
    """Networks whose gradients are large, to compare those of different integrators."""
    made = NeuralField(3, range(seeds), width=width, depth=3).float()
    flatten(made)
    return made


@cache
def field(seeds=1, width=128):
    """Networks that have learned something: what adaptive solvers cost depends on it."""
    made = untrained(seeds, width)
    adam, rate, step = (
        Adam(flatten(made)),
        torch.tensor([3e-3]),
        ours(build("methods", "baseline", {}), made, batch(seeds)),
    )
    for _ in range(300):
        adam.update(clipped(step(), 1.0)[0], rate)
    return made


def ours(method, field, data):
    return lambda: gradient(method.loss(field, data, NOW).sum(), field)


def by_torch(function):
    """The same by operations of torch, one by one."""

    def run():
        with mock.patch.object(kernels, "library", lambda: None):
            return function()

    return run


def torch_peer(loss, field, *arguments):
    return by_torch(lambda: gradient(loss(field, *arguments), field))


def row(gradients):
    """Lay jax' gradients out as ours."""
    flat = np.concatenate([np.ravel(g) for g in jax.tree.leaves(gradients)])
    return torch.from_numpy(np.pad(flat, (0, -len(flat) % 16)))[None]


def check(ours, theirs, tolerance=1e-4):
    ours, theirs = ours(), theirs()
    assert (ours - theirs).norm() <= tolerance * ours.norm(), f"gradients differ by {(ours - theirs).norm():.1e}"


def numpy_batch(data):
    return tuple(jnp.asarray(t.numpy()) for t in (data.times[0, 0], data.states[0], data["neighbors"][0]))


@pytest.mark.parametrize(
    ("name", "loss", "bar"),
    [
        ("torchdiffeq rk4, torch.func.jvp per neighbor", peers.neighborhood_per_neighbor, 7),
        ("torchdiffeq rk4, fundamental matrix by torch.func", peers.neighborhood_fundamental, 1.7),
    ],
)
def test_neighborhood_against_torch(compare, name, loss, bar):
    data = batch()
    method = build("methods", "neighborhood", {"weight": WEIGHT, "count": NEIGHBORS})

    def pair(net):
        peer = torch_peer(loss, net, data.times[0, 0], data.states[0], data["neighbors"][0], WEIGHT)
        return ours(method, net, data), peer

    check(*pair(untrained()))
    compare(f"neighborhood: {name}", *pair(field()), bar=bar)


@pytest.mark.parametrize(
    ("name", "loss", "bar", "tolerance"),
    [
        ("diffrax Tsit5, jvp per neighbor, jitted", peers.diffrax_neighborhood, 10, 5e-3),
        ("jax by hand, fundamental matrix, jitted", peers.handwritten_neighborhood, 1, 1e-4),
    ],
)
def test_neighborhood_against_jax(compare, name, loss, bar, tolerance):
    data = batch()
    method = build("methods", "neighborhood", {"weight": WEIGHT, "count": NEIGHBORS})

    def pair(net):
        peer = peers.jax_gradient(loss, peers.jax_parameters(net), *numpy_batch(data), WEIGHT)
        return ours(method, net, data), lambda: row(peer()[1])

    check(*pair(untrained()), tolerance)
    compare(f"neighborhood: {name}", *pair(field()), bar=bar)


def test_baseline_against_torchdiffeq(compare):
    data = batch()

    def pair(net):
        peer = torch_peer(peers.baseline, net, data.times[0, 0], data.states[0])
        return ours(build("methods", "baseline", {}), net, data), peer

    check(*pair(untrained()))
    compare("baseline: torchdiffeq rk4", *pair(field()), bar=1)


def test_baseline_against_diffrax_at_equal_accuracy(compare):
    """The loosest tolerance whose rollouts are as accurate as ours."""
    data, net = batch(), field()
    times, observed, _ = numpy_batch(data)
    fine = rollout(net, data.start, data.times, substeps=20)[0]
    bound = (rollout(net, data.start, data.times)[0] - fine).norm()
    parameters = peers.jax_parameters(net)
    for tolerance in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        states = peers.diffrax_states(parameters, times, observed[:, 0], tolerance)
        if (torch.from_numpy(np.array(states)) - fine).norm() <= bound:
            break
    else:
        pytest.fail("no tolerance is as accurate")

    def pair(net):
        gradients = peers.jax_gradient(
            lambda p: peers.diffrax_baseline(p, times, observed, tolerance), peers.jax_parameters(net)
        )
        return ours(build("methods", "baseline", {}), net, data), lambda: row(gradients()[1])

    check(*pair(untrained()), 5e-3)
    compare(f"baseline: diffrax Tsit5 at {tolerance:.0e}, equal accuracy", *pair(net), bar=4)


@pytest.mark.parametrize(
    ("name", "solver", "bar", "tolerance"),
    [
        ("torchdiffeq dopri5 1e-7, spline inside", {"method": "dopri5", "rtol": 1e-7, "atol": 1e-7}, 10, 2e-2),
        ("torchdiffeq rk4, spline inside", {"method": "rk4"}, 1, 2e-2),
    ],
)
def test_homotopy(compare, name, solver, bar, tolerance):
    """torchdiffeq's rk4 is the 3/8 rule, whose stages lie elsewhere: equal to the accuracy of the step."""
    data = batch(size=16, segment=20)
    times, observed = data.times[0, 0], data.states[0]
    coefficients = peers.spline_coefficients(times, observed)
    middle = times[:-1] + times.diff() / 2
    stages = torch.stack([times[:-1], middle], 1).flatten()
    index, s = torch.arange(20).repeat_interleave(2), stages - times[:-1].repeat_interleave(2)
    a, b, c, d = coefficients[:, index]
    s = s[:, None, None]
    spline = torch.cat([(((a * s + b) * s + c) * s + d).transpose(0, 1), observed[:, -1:]], 1)[None]
    method = build("methods", "homotopy", {"coupling": 6.0, "segment": 20})

    def pair(net):
        mine = ours(method, net, Batch(data.times, data.states, given={"spline": spline}))
        return mine, torch_peer(lambda f: peers.homotopy(f, times, observed, coefficients, 6.0, **solver), net)

    check(*pair(untrained(width=64)), tolerance)
    compare(f"homotopy: {name}", *pair(field(width=64)), bar=bar, rounds=7)


def test_five_seeds_in_one_ensemble(compare):
    method = build("methods", "baseline", {})
    together = ours(method, field(5, width=32), batch(5, size=64))
    alone = [ours(method, field(1, width=32), batch(1, size=64)) for _ in range(5)]
    compare(
        "baseline, width 32, batch 64: five single runs", together, lambda: [run() for run in alone], bar=2, rounds=25
    )


@pytest.mark.parametrize("name", ["baseline", "neighborhood"])
def test_distance_to_the_arithmetic_floor(name, report):
    """Products of a forward pass, and twice that backward, at the rate of large products; in turns with the step."""
    data, net = batch(), field()
    own, floor = against_floor(
        ours(build("methods", name, {}), net, data), net, data, tangents=3 * (name != "baseline")
    )
    report(f"{name}: arithmetic floor (ours = {own / floor:.1f} times it; aim 2)", own, floor, floor / own, 0.5)


def against_floor(mine, net, data, *, tangents):
    """The seconds of a step, and those of its products of matrices alone; both medians, in turns."""
    members, size, samples, _ = data.states.shape
    weights = sum(w.shape[1] * w.shape[2] for w in net.weights)
    operations = 3 * 2 * weights * members * size * (1 + tangents) * 4 * (samples - 1)  # four stages a step
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    mine(), a @ b
    floors, times = [], []
    for _ in range(9):
        began = time.perf_counter()
        a @ b
        floors.append((time.perf_counter() - began) / (2 * 1024**3) * operations)
        began = time.perf_counter()
        mine()
        times.append(time.perf_counter() - began)
    return statistics.median(times), statistics.median(floors)
