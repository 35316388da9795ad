"""Perceptrons by kernels: the same as by operations of torch, and left to these wherever operations have to be seen."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from nearorbit.dynamics import flow, kernels
from nearorbit.dynamics.drive import Drive
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.training.optimizer import flatten, gradient

pytestmark = pytest.mark.skipif(kernels.library() is None, reason="no C++ compiler")
SIZES = (3, 64, 3, 70), (1, 5, 1, 1), (10, 24, 2, 33), (40, 8, 2, 7), (4, 130, 4, 32)  # D, width, depth, states
PRECISE = {torch.float32: 3e-6, torch.float64: 3e-14}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plain(monkeypatch):
    """A function that evaluates without kernels."""

    def evaluate(function):
        with monkeypatch.context() as patch:
            for module in (kernels, flow):
                patch.setattr(module, "usable", lambda *_: False)
            return function()

    return evaluate


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def evaluated(field, x, u):
    return (field(x),) if u is None else field.push_forward(x, u)


def everything(field, x, u, function=evaluated):
    """What is computed, and its gradients: of states, tangents, weights and biases."""
    x, u = x.clone().requires_grad_(), None if u is None else u.clone().requires_grad_()
    made = function(field, x, u)
    loss = sum((a + a.square()).sum() for a in made)
    inputs = [x, *([] if u is None else [u]), *field.parameters()]
    return [*made, *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("tangents", [0, 1, 3])
@pytest.mark.parametrize("dtype", PRECISE)
@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_kernels_give_what_torch_gives(activation, dtype, tangents, plain):
    for dimension, width, depth, states in (
        (3, 64, 3, 70),
        (1, 5, 1, 1),
        (10, 24, 2, 33),
        (40, 8, 2, 7),
        (4, 130, 4, 32),
    ):
        field = NeuralField(dimension, [0, 1], width=width, depth=depth, activation=activation).to(dtype)
        x = 3 * draw(2, states, dimension, dtype=dtype)
        u = draw(2, states, tangents, dimension, dtype=dtype, seed=1) if tangents else None
        by_kernels, by_torch = everything(field, x, u), plain(lambda: everything(field, x, u))  # noqa: B023
        for mine, theirs in zip(by_kernels, by_torch, strict=True):
            assert mine.shape == theirs.shape
            assert (mine - theirs).abs().max() <= PRECISE[dtype] * theirs.abs().max().clamp(min=1e-3)


SAMPLES = 5
CLOCKS = {  # of states (2, 35, 3): for all of them, for each member, or for each state
    "one": 0.1 * torch.arange(SAMPLES).double(),
    "members": torch.tensor([[[0.1]], [[0.2]]]).double() * torch.arange(SAMPLES),
    "states": 0.1 * (1 + draw(2, 35, SAMPLES, seed=4).square()).cumsum(-1),
}


def rolled(clock, substeps, order, drive=None):
    """A function of a field, states and tangents: the rollout."""

    def roll(field, x, u):
        times = CLOCKS[clock].to(x.dtype)
        if u is None:
            return (flow.rollout(field, x, times, substeps=substeps, order=order, drive=drive),)
        return flow.tangent_rollout(field, x, times, tangents=u, substeps=substeps, order=order)

    return roll


@pytest.mark.parametrize("dtype", PRECISE)
@pytest.mark.parametrize("tangents", [0, 2])
@pytest.mark.parametrize(("clock", "substeps", "order"), [("one", 1, 8), ("members", 3, 4), ("states", 2, 4)])
def test_rollouts_by_kernels_are_those_of_torch(clock, substeps, order, tangents, dtype, plain):
    field = NeuralField(3, [0, 1], width=24).to(dtype)
    x, u = draw(2, 35, 3, dtype=dtype), draw(2, 35, tangents, 3, dtype=dtype, seed=1) if tangents else None
    function = rolled(clock, substeps, order)
    by_kernels = everything(field, x, u, function)
    for mine, theirs in zip(by_kernels, plain(lambda: everything(field, x, u, function)), strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).abs().max() <= 10 * PRECISE[dtype] * theirs.abs().max().clamp(min=1e-3)


PAIRS = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1])


@pytest.mark.parametrize("dtype", PRECISE)
@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_second_derivatives_by_kernels_are_those_of_torch(activation, dtype, plain):
    field = NeuralField(3, [0, 1], width=24, activation=activation).to(dtype)
    x, u = draw(2, 35, 3, dtype=dtype), draw(2, 35, 5, 3, dtype=dtype, seed=1)
    times = CLOCKS["one"].to(dtype)
    pushed = lambda field, x, u: field.push_forward_second(x, u[..., :2, :], u[..., 2:, :], PAIRS)  # noqa: E731
    rolled = lambda field, x, u: flow.taylor_rollout(field, x, times, tangents=u[..., :2, :], substeps=2)  # noqa: E731
    for function in (pushed, rolled):
        by_kernels = everything(field, x, u, function)
        for mine, theirs in zip(by_kernels, plain(lambda: everything(field, x, u, function)), strict=True):  # noqa: B023
            assert mine.shape == theirs.shape
            assert (mine - theirs).abs().max() <= 10 * PRECISE[dtype] * theirs.abs().max().clamp(min=1e-3)


@pytest.mark.parametrize("strength", [0.0, 0.3, 200.0, [[[[0.3]]], [[[2.0]]]]])
def test_coupled_rollouts_by_kernels_are_those_of_torch(strength, plain):
    field, x = NeuralField(3, [0, 1], width=24).double(), draw(2, 35, 3)
    orbit = draw(2, 1, 2 * 2 * (SAMPLES - 1) + 1, 3, seed=2)
    function = rolled("members", 2, 4, Drive(orbit, torch.tensor(strength).double()))
    by_kernels = everything(field, x, None, function)
    for mine, theirs in zip(by_kernels, plain(lambda: everything(field, x, None, function)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_states_of_any_shape_are_rolled_out(plain):
    field = NeuralField(3, [0, 1], width=8, depth=1).double().requires_grad_(False)
    x, times = draw(2, 4, 5, 3), torch.tensor([0.0, 0.1, 0.3]).double().view(1, 1, 1, 3)
    for roll in (flow.rollout, lambda *given: flow.tangent_rollout(*given)[1]):
        mine, theirs = roll(field, x, times), plain(lambda: roll(field, x, times))  # noqa: B023
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(flow.rollout(field, x[0, 0].expand(2, 5, 3), times[0, 0, 0, :1])[..., 0, :][0], x[0, 0])


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_activations_are_right_to_rounding_far_out(activation, plain):
    field = NeuralField(1, [0], width=1, depth=1, activation=activation).double().requires_grad_(False)
    for parameter, value in zip(field.parameters(), (1.0, 1.0, 0.0, 0.0), strict=True):
        parameter.fill_(value)
    x = torch.cat([torch.linspace(-40, 40, 4001), torch.logspace(-12, 0, 50), torch.tensor([-900.0, 900.0])]).double()
    x = x.view(1, -1, 1)
    u = torch.ones_like(x).unsqueeze(-2)
    for mine, theirs in zip(field.push_forward(x, u), plain(lambda: field.push_forward(x, u)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-15)


def test_members_have_the_bits_of_their_seeds_alone_in_any_batch():
    seeds = [3, 1, 2]
    field = NeuralField(3, seeds).float()
    flatten(field)
    x, u = draw(3, 50, 3).float(), draw(3, 50, 2, 3).float()
    for member, seed in enumerate(seeds):
        alone = NeuralField(3, [seed]).float()
        flatten(alone)
        for function in (evaluated, rolled("one", 2, 4)):
            mine, own = everything(field, x, u, function), everything(alone, x[[member]], u[[member]], function)
            assert all(torch.equal(whole[[member]], part) for whole, part in zip(mine, own, strict=True))


@pytest.mark.parametrize("dtype", PRECISE)
@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_states_have_the_same_bits_at_any_place_of_any_batch(activation, dtype):
    field = NeuralField(3, [3, 1], width=20, activation=activation).to(dtype).requires_grad_(False)
    flatten(field)
    x, u = draw(2, 50, 3, dtype=dtype), draw(2, 50, 2, 3, dtype=dtype)
    for function in (evaluated, rolled("one", 2, 4)):
        whole = function(field, x, u)
        for begin, end in ((0, 1), (7, 20), (1, 50), (31, 33), (3, 9)):
            part = function(field, x[:, begin:end], u[:, begin:end])
            assert all(torch.equal(a[:, begin:end], b) for a, b in zip(whole, part, strict=True))
        assert torch.equal(function(field, x, None)[0], whole[0])


def test_gradients_of_gradients_and_transforms_are_those_of_torch(plain):
    field = NeuralField(2, [0, 1], width=16, depth=2).double()
    x, u = draw(2, 5, 2).requires_grad_(), draw(2, 5, 3, 2)

    def second():
        (first,) = torch.autograd.grad(field.push_forward(x, u)[1].square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [x, *field.parameters()], materialize_grads=True)

    def second_along():
        orbit = Drive(draw(2, 1, 5, 2, seed=3), 2.0)
        loss = flow.rollout(field, x, times, drive=orbit).square().sum()
        loss = loss + flow.tangent_rollout(field, x, times, tangents=u)[1].square().sum()
        (first,) = torch.autograd.grad(loss, x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [x, *field.parameters()], materialize_grads=True)

    times = torch.tensor([0.0, 0.2, 0.3]).double()
    for function in (second, second_along):
        for mine, theirs in zip(function(), plain(function), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    _, action = torch.func.jvp(field, (x.detach(),), (u[..., 0, :],))
    torch.testing.assert_close(action, field.push_forward(x, u)[1][..., 0, :])
    assert gradient(field(x).sum(), field).isfinite().all()


def test_a_traced_network_holds_operations_and_no_call_of_a_kernel():
    field = NeuralField(2, [0], width=8, depth=1).double().requires_grad_(False)
    traced = torch.jit.trace(field, draw(1, 3, 2))
    x = draw(1, 3, 2, seed=5)
    torch.testing.assert_close(traced(x), field(x))


def test_what_is_no_number_stays_none():
    field = NeuralField(3, [0]).double().requires_grad_(False)
    for value in (np.nan, np.inf, -np.inf):
        x = draw(1, 4, 3)
        x[0, 1, 2] = value
        f, action = field.push_forward(x, torch.eye(3).double().expand(1, 4, 3, 3))
        assert not (f[0, 1].isfinite().all() and action[0, 1].isfinite().all())
        assert f[0, [0, 2, 3]].isfinite().all()
    assert field(draw(1, 0, 3)).shape == (1, 0, 3)


@pytest.mark.parametrize(
    ("variables", "found"), [({}, True), ({"CXX": "/nowhere/c++"}, False), ({"NEARORBIT_KERNELS": "0"}, False)]
)
def test_they_are_compiled_once_where_the_cache_is_and_else_torch_does_the_work(
    variables, found, tmp_path, monkeypatch
):
    for name, value in (variables | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    asked = "from nearorbit.dynamics import kernels; print(kernels.library() is not None)"
    for _ in range(1 + found):
        said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
        assert said.strip() == str(found)
    made = [path for path in tmp_path.glob("cache/*") if path.suffix == ".so"]
    assert len(made) == found
    assert not {path for path in tmp_path.glob("cache/*")} - {*made}, "nothing is left behind"
