"""Tangents carried through the layers, and their gradients, equal those of nested automatic differentiation."""

import pytest
import torch

from nearorbit.fields import ACTIVATIONS, NeuralField, jacobian
from nearorbit.flow import Drive, rollout, tangent_rollout


class Plain:
    """An ensemble of which torch differentiates every operation, tangents by nested automatic differentiation."""

    def __init__(self, field):
        self.field, self.dimension = field, field.dimension

    def __call__(self, x):
        return self.field(x)

    def push_forward(self, x, v):
        f, action = torch.func.vmap(lambda t: torch.func.jvp(self.field, (x,), (t,)), in_dims=-2, out_dims=(0, -2))(v)
        return f[0], action


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


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("compute", [evaluation, orbit, driven, tangents, fundamental])
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
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(value, expected, rtol=0, atol=tolerance * scale)


def test_segments_may_have_clocks_of_their_own():
    field = NeuralField(3, [0, 1], width=8).to(torch.float64)
    start = draw(2, 5, 3, dtype=torch.float64)
    times = torch.cumsum(0.1 + draw(2, 5, 4, dtype=torch.float64).square(), -1)
    together = rollout(field, start, times)
    for b in range(5):
        alone = rollout(field, start[:, b : b + 1], times[:, b : b + 1])
        torch.testing.assert_close(together[:, b : b + 1], alone)
