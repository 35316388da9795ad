"""The regime of the question: 2048 segments of one step, 30 neighbors, three layers of 64.

A step is made by kernels, by operations of torch, or of these compiled (``torch.compile``), as of second order it is.
"""

from functools import cache, partial

import peers
import pytest
import torch
from test_steps import (
    WEIGHT,
    against_floor,
    batch,
    by_torch,
    check,
    field,
    numpy_batch,
    ours,
    row,
    torch_peer,
    untrained,
)

from nearorbit.study.catalogue import build

SETTINGS = {
    "baseline": {},
    "neighborhood": {"weight": WEIGHT, "count": 30},
    "neighborhood, order 2": {"method": "neighborhood", "order": 2, "weight": WEIGHT, "count": 30},
}


@cache
def segments():
    return batch(size=2048, segment=1, neighbors=30)


def step(name, net, data, way):
    """A step of a method, from the batch to the gradient."""
    method = build("methods", name, SETTINGS[name])
    if way == "kernels":
        return ours(method, net, data)

    class Compiled:
        loss = staticmethod(torch.compile(method.loss, dynamic=False))

    return by_torch(ours(Compiled if way == "compiled" else method, net, data))


@pytest.mark.parametrize(
    ("name", "way", "bar"),
    [
        ("baseline", "kernels", 1.3),
        ("neighborhood", "kernels", 2),
        ("baseline", "compiled", 1),
        ("neighborhood", "compiled", 1.3),
        ("neighborhood, order 2", "compiled", 1.3),
    ],
)
def test_against_operations_of_torch(compare, name, way, bar):
    data, net = segments(), field(width=64)
    mine, plain = (step(name, net, data, which) for which in (way, "torch"))
    check(mine, plain)
    compare(f"2048 x 1, {name}: {way}, and torch", mine, plain, bar=bar)


@pytest.mark.parametrize("way", ["kernels", "torch", "compiled"])
@pytest.mark.parametrize(("name", "bar"), [("baseline", 1.8), ("neighborhood", 2.2)])
def test_distance_to_the_arithmetic_floor(report, name, bar, way):
    data, net = segments(), field(width=64)
    own, floor = against_floor(step(name, net, data, way), net, data, tangents=3 * (name != "baseline"))
    report(f"2048 x 1, {name}, {way}: floor ({own / floor:.1f} times it)", own, floor, floor / own, 1 / bar)


@pytest.mark.parametrize(
    ("name", "peer", "bar", "tolerance"),
    [
        ("neighborhood", partial(peers.diffrax_neighbors, 1, 1e-4), 5, 5e-3),
        ("neighborhood, order 2", partial(peers.diffrax_neighbors, 2, 1e-4), 5, 5e-3),
        ("neighborhood", peers.handwritten_neighborhood, 1, 1e-4),
    ],
    ids=["diffrax order 1", "diffrax order 2", "jax by hand"],
)
def test_against_jax(compare, request, name, peer, bar, tolerance):
    data = segments()
    theirs = lambda net: peers.jax_gradient(peer, peers.jax_parameters(net), *numpy_batch(data), WEIGHT)  # noqa: E731
    first = theirs(untrained(width=64))
    check(step(name, untrained(width=64), data, "kernels"), lambda: row(first()[1]), tolerance)
    net = field(width=64)
    mine = step(name, net, data, "compiled" if "order 2" in name else "kernels")
    compare(f"2048 x 1: {request.node.callspec.id}", mine, theirs(net), bar=bar, rounds=3)


def test_against_torchdiffeq(compare):
    data = segments()

    def pair(net):
        peer = torch_peer(loss, net, data.times[0, 0], data.states[0], data["neighbors"][0], WEIGHT)
        return step("neighborhood", net, data, "kernels"), peer

    loss = peers.neighborhood_per_neighbor
    check(*pair(untrained(width=64)))
    mine, peer = pair(field(width=64))
    compare("2048 x 1: torchdiffeq rk4, torch.func.jvp", mine, peer, bar=8, rounds=5)
