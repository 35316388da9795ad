"""Tangents carried through the layers, and their gradients, equal those of nested automatic differentiation."""

import pytest
import torch
from lorenz63 import Lorenz
from lorenz63 import jacobian as true_jacobian

from nearorbit.dynamics.activations import ACTIVATIONS
from nearorbit.dynamics.drive import Drive
from nearorbit.dynamics.fields import Coordinates, Transformed, TrueField, jacobian
from nearorbit.dynamics.flow import rollout, tangent_rollout, taylor_rollout
from nearorbit.dynamics.networks.base import NeuralField


class Plain:
    """An ensemble of which torch differentiates every operation, tangents by nested automatic differentiation."""

    def __init__(self, field):
        self.field, self.dimension = field, field.dimension

    def __call__(self, x):
        return self.field(x)

    def push_forward(self, x, v):
        f, action = torch.func.vmap(lambda t: torch.func.jvp(self.field, (x,), (t,)), in_dims=-2, out_dims=(0, -2))(v)
        return f[0], action

    def push_forward_second(self, x, v, w, pairs):
        def second(a, b):
            return torch.func.jvp(lambda y: torch.func.jvp(self.field, (y,), (a,))[1], (x,), (b,))[1]

        along = torch.stack([second(v[..., i, :], v[..., j, :]) for i, j in zip(*pairs, strict=True)], -2)
        return *self.push_forward(x, v), self.push_forward(x, w)[1] + along


def draw(*shape, dtype):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def evaluation(field, start, times):
    return (jacobian(field, start),)


def orbit(field, start, times):
    return (rollout(field, start, times, substeps=2),)


def driven(field, start, times):
    values = draw(2, 7, 2 * 2 * 3 + 1, 3, dtype=start.dtype)
    return (rollout(field, start, times, drive=Drive(values, torch.tensor(0.7).to(start)), substeps=2),)


def tangents(field, start, times):
    return tangent_rollout(field, start, times, tangents=draw(2, 7, 4, 3, dtype=start.dtype))


def fundamental(field, start, times):
    return tangent_rollout(field, start, times, substeps=2)


def second_order(field, start, times):
    return taylor_rollout(field, start, times)


def diagonal(field, start, times):
    index = torch.arange(4)
    values = draw(2, 7, 4, 3, dtype=start.dtype)
    return taylor_rollout(field, start, times, tangents=values, pairs=(index, index))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("compute", [evaluation, orbit, driven, tangents, fundamental, second_order, diagonal])
def test_values_and_gradients_equal_those_of_nested_automatic_differentiation(compute, activation, dtype, tolerance):
    field = NeuralField(3, [0, 1], width=16, depth=2, activation=activation).to(dtype)
    times = torch.tensor([[[0.0, 0.1, 0.3, 0.4]], [[0.0, 0.2, 0.3, 0.5]]]).to(dtype)
    found = {}
    for name, seen in (("carried", field), ("plain", Plain(field))):
        start = draw(2, 7, 3, dtype=dtype).requires_grad_()
        values = compute(seen, start, times)
        loss = sum((value - 0.3).square().sum() for value in values)
        found[name] = [*values, *torch.autograd.grad(loss, [start, *field.parameters()], materialize_grads=True)]
    for value, expected in zip(found["carried"], found["plain"], strict=True):
        assert (value - expected).norm() <= tolerance * expected.norm()


def test_segments_may_have_clocks_of_their_own():
    field = NeuralField(3, [0, 1], width=8).to(torch.float64)
    start = draw(2, 5, 3, dtype=torch.float64)
    times = torch.cumsum(0.1 + draw(2, 5, 4, dtype=torch.float64).square(), -1)
    together = rollout(field, start, times)
    for b in range(5):
        alone = rollout(field, start[:, b : b + 1], times[:, b : b + 1])
        torch.testing.assert_close(together[:, b : b + 1], alone)


def test_the_expansion_of_the_flow_misses_the_third_order():
    field = NeuralField(3, [0, 1], width=16, activation="tanh").to(torch.float64)
    start, times = draw(2, 5, 3, dtype=torch.float64), torch.linspace(0, 1, 6, dtype=torch.float64)
    direction = draw(2, 5, 3, dtype=torch.float64).flip(1)
    x, v, w = (t[..., -1, :, :] if t.dim() == 5 else t[..., -1, :] for t in taylor_rollout(field, start, times))
    i, j = torch.triu_indices(3, 3)
    errors = []
    for size in (0.02, 0.01):
        a = size * direction
        twice = torch.where(i == j, 1.0, 2.0) * a[..., i] * a[..., j]
        expanded = x + (a.unsqueeze(-2) @ v + 0.5 * twice.unsqueeze(-2) @ w).squeeze(-2)
        errors.append((rollout(field, start + a, times)[..., -1, :] - expanded).norm())
    assert 6 < errors[0] / errors[1] < 10  # 2 ** 3


def test_the_true_field_has_second_derivatives():
    field, x = TrueField(Lorenz()), draw(5, 3, dtype=torch.float64)
    v, w = draw(5, 2, 3, dtype=torch.float64), draw(5, 3, 3, dtype=torch.float64)
    pairs = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    one = torch.ones(3, dtype=torch.float64)
    f, action, second = Transformed(field, Coordinates(0 * one, 2 * one, 3 * one[:1])).push_forward_second(
        x, v, w, pairs
    )
    (a, b), y = (v[..., i, :] for i in pairs), 2 * x
    # d2f of Lorenz: -(a1 b3 + a3 b1), a1 b2 + a2 b1; at y = 2 x, of vectors twice as long, over 6.
    bend = torch.stack([0 * a[..., 0], -(a[..., 0] * b[..., 2] + a[..., 2] * b[..., 0]),
                        a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]], -1)  # fmt: skip
    jacobians = torch.from_numpy(true_jacobian(y.numpy()))
    torch.testing.assert_close(f, field(y) / 6)
    torch.testing.assert_close(action, v @ jacobians.mT / 3)
    torch.testing.assert_close(second, w @ jacobians.mT / 3 + 4 * bend / 6)
