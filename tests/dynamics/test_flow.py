import numpy as np
import pytest
import torch
from lorenz63 import Lorenz, orbit
from scipy.integrate import solve_ivp

from nearorbit.dynamics.drive import Drive
from nearorbit.dynamics.fields import TrueField
from nearorbit.dynamics.flow import adaptive_rollout, propagate, rollout, tangent_rollout
from nearorbit.dynamics.networks.base import NeuralField


class Linear:
    """The field x' = A x."""

    dimension = 3
    A = torch.tensor([[-0.3, 1.0, 0.0], [-1.0, -0.3, 0.5], [0.2, 0.0, 0.4]], dtype=torch.float64)

    def __call__(self, x):
        return x @ self.A.T

    def push_forward(self, x, v):
        return self(x), v @ self.A.T


START = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 1.0]], dtype=torch.float64)


def clock(end, samples):
    return torch.linspace(0, end, samples, dtype=torch.float64)


@pytest.mark.parametrize(("order", "counts"), [(4, (4, 8, 16, 32)), (8, (1, 2, 4))])
def test_halving_the_step_divides_the_error_by_two_to_the_order(order, counts):
    exact = START @ torch.linalg.matrix_exp(Linear.A).T
    rolled = [rollout(Linear(), START, clock(1, 2), substeps=n, order=order) for n in counts]
    error = [(states[:, -1] - exact).abs().max().item() for states in rolled]
    orders = np.log2(np.array(error[:-1]) / error[1:])
    np.testing.assert_allclose(orders, order, atol=0.35)


def test_the_method_of_order_eight_is_that_of_scipy_and_has_gradients():
    start, times = START.clone().requires_grad_(), clock(0.9, 4)
    field = TrueField(Lorenz())
    with torch.inference_mode():  # the tableau is kept from whoever asks first
        rollout(field, START, times, order=8)
    states, tangents = tangent_rollout(field, start, times, substeps=40, order=8)
    for path, first in zip(states.detach().numpy(), START.numpy(), strict=True):
        other = solve_ivp(lambda t, x: Lorenz()(x), (0, 0.9), first, "DOP853", times, rtol=1e-11, atol=1e-11).y.T
        np.testing.assert_allclose(path, other, rtol=1e-7, atol=1e-7)
    (row,) = torch.autograd.grad(states[0, -1, 0], start)
    torch.testing.assert_close(row[0], tangents[0, -1, :, 0])


def test_tangents_of_a_linear_field_move_by_the_matrix_exponential():
    _, tangents = tangent_rollout(Linear(), START, clock(1, 3), substeps=50)
    columns = torch.linalg.matrix_exp(Linear.A).T.expand(2, 3, 3)
    torch.testing.assert_close(tangents[:, -1], columns, rtol=1e-8, atol=1e-8)


def test_the_fundamental_matrix_moves_every_tangent():
    field = NeuralField(3, [0, 1], width=16)
    start = torch.randn(2, 5, 3, dtype=torch.float64)
    displacements = torch.randn(2, 5, 7, 3, dtype=torch.float64)
    states, columns = tangent_rollout(field, start, clock(1, 6))
    one_by_one = [tangent_rollout(field, start, clock(1, 6), tangents=displacements[:, :, k : k + 1]) for k in range(7)]
    torch.testing.assert_close(displacements.unsqueeze(-3) @ columns, torch.cat([v for _, v in one_by_one], -2))
    torch.testing.assert_close(states, rollout(field, start, clock(1, 6)))


def test_a_tangent_is_the_limit_of_a_displacement():
    field, h = TrueField(Lorenz()), 1e-6
    start, v = (
        torch.tensor([[1.0, 2.0, 20.0]], dtype=torch.float64),
        torch.tensor([[[1.0, -1.0, 0.5]]], dtype=torch.float64),
    )
    _, tangents = tangent_rollout(field, start, clock(0.3, 11), tangents=v)
    displaced = [rollout(field, start + sign * h * v[0], clock(0.3, 11)) for sign in (1, -1)]
    torch.testing.assert_close(tangents.squeeze(-2), (displaced[0] - displaced[1]) / (2 * h), rtol=1e-6, atol=1e-6)


def test_each_segment_may_have_its_own_spacing():
    times = torch.stack([clock(1, 5), clock(0.5, 5)])
    together = rollout(Linear(), START, times)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], rollout(Linear(), START[i : i + 1], times[i]))


def test_a_coupling_of_zero_is_no_coupling():
    drive = Drive(torch.randn(2, 9, 3, dtype=torch.float64), 0.0)
    torch.testing.assert_close(
        rollout(Linear(), START, clock(1, 5), drive=drive), rollout(Linear(), START, clock(1, 5))
    )


def test_a_coupled_rollout_solves_the_coupled_equation():
    # x' = A x + k (c - x) with a constant c is linear: x* = k (k - A)^-1 c is its fixed point.
    k, c = 3.0, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    B = Linear.A - k * torch.eye(3, dtype=torch.float64)
    fixed = torch.linalg.solve(-B, k * c)
    exact = fixed + (START - fixed) @ torch.linalg.matrix_exp(B).T
    for substeps in (1, 2):
        values = c.expand(2, 2 * 50 * substeps + 1, 3)
        states = rollout(Linear(), START, clock(1, 51), drive=Drive(values, k), substeps=substeps)
        torch.testing.assert_close(states[:, -1], exact, rtol=1e-7, atol=1e-7)


def test_the_fixed_step_agrees_with_torchdiffeq_and_with_a_fine_reference():
    start = np.array([[1.0, 2.0, 20.0]])
    times = 0.03 * torch.arange(21, dtype=torch.float64)
    expected = torch.from_numpy(orbit(start, 21))
    field = TrueField(Lorenz())
    torch.testing.assert_close(
        rollout(field, torch.from_numpy(start), times, substeps=10), expected, rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(adaptive_rollout(field, torch.from_numpy(start), times), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3)])
def test_the_propagator_moves_states_and_tangent_columns(shape):
    x = np.random.default_rng(0).standard_normal((4, 3))
    v = np.random.default_rng(1).standard_normal((4, 3, 2))
    like = torch.zeros(shape, dtype=torch.float64)
    moved, tangents = propagate(Linear(), like=like, step=0.02)(x, v, 0.5)
    flow = torch.linalg.matrix_exp(0.5 * Linear.A).numpy()
    np.testing.assert_allclose(moved, x @ flow.T, rtol=1e-7)
    np.testing.assert_allclose(tangents, flow @ v, rtol=1e-6, atol=1e-7)
