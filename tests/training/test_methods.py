"""The contract of all methods, by kind; a new file in methods/ is tested as it lands.

What it has to say of itself is in its dataclass: a `weight` makes it the baseline with a penalty, `own` gives it
parameters of its own, `needs` says what it is given.
"""

import inspect
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from lorenz63 import Lorenz, observations, supervision
from scipy.interpolate import make_smoothing_spline
from trainings import METHODS, SETTINGS, SIDES, files_of

from nearorbit.data.neighbors import neighbors
from nearorbit.dynamics import kernels
from nearorbit.dynamics.fields import Coordinates, Transformed, TrueField, identity
from nearorbit.dynamics.flow import rollout
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study import catalogue
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.cost import step_of
from nearorbit.training.methods.base import given, own_parameters
from nearorbit.training.methods.baseline import Baseline
from nearorbit.training.methods.flow_direction import FlowDirection
from nearorbit.training.methods.homotopy import Homotopy
from nearorbit.training.methods.jacobian import Jacobian
from nearorbit.training.methods.lyapunov import Lyapunov, log_growth
from nearorbit.training.methods.multiple_shooting import STEP, MultipleShooting
from nearorbit.training.methods.neighborhood import Neighborhood
from nearorbit.training.methods.propagator import Propagator, products
from nearorbit.training.methods.teacher_forcing import TeacherForcing
from nearorbit.training.methods.weak_form import WeakForm
from nearorbit.training.optimizer import Adam, flatten, gradient

PENALIZED = [
    name for name, make in catalogue.entries("methods").items() if "weight" in inspect.signature(make).parameters
]
CPU = torch.device("cpu")
OTHERS = [name for name in catalogue.names("networks") if name != "mlp"]


def prepare(method, noise=0.0, samples=600, batch=8, step=0.01, **training):
    """The true field in model coordinates, and a batch of an ensemble of two; a function of field and progress."""
    observed, files = observed_with(noise, samples, step)
    data = Data(
        observed, method, Training(batch=batch, **{"substeps": 1, **training}), files, device=CPU, dtype=torch.float64
    )
    coordinates = Coordinates(
        *(torch.from_numpy(observed[n].to_numpy().reshape(2, -1)) for n in ("mean", "scale", "rate"))
    )
    batch = data.gather(next(data.starts([0, 1], [1]))[0])
    return Transformed(TrueField(Lorenz()), coordinates), batch


@cache
def observed_with(noise, samples, step):
    """Observations, and neighbors and what is true at them."""
    observed = observations(noise, samples=samples, step=step)
    table = neighbors(observed, count=25, theiler=0.5, ahead=5, behind=3)
    return observed, files_of(table, supervision(observed))


def now(progress=0.0):
    return torch.tensor(progress, dtype=torch.float64)


def own(method, samples=600):
    return tuple(module.double() for module in own_parameters(method, [0, 1], samples, 3))


def fitted(method, field, batch, steps=120):
    """The parameters of a method's own, fitted to a field that stays as it is."""
    modules = own(method)
    if not modules:
        return modules
    trained = torch.nn.ModuleList(modules)
    adam, rate = Adam(flatten(trained)), torch.tensor([1e-2])
    for _ in range(steps):
        adam.update(gradient(method.loss(field, batch, now(0.99), *modules).sum(), trained), rate)
    return modules


@pytest.mark.parametrize("side", SIDES)
def test_the_true_field_on_clean_data_is_nearly_perfect(side):
    method = SIDES[side]
    alone = not hasattr(method, "own")
    truth, batch = prepare(method, batch=64 if alone else 8, samples=3000 if alone else 600)
    untrained = NeuralField(3, [0, 1])
    at_truth = method.loss(truth, batch, now(0.99), *fitted(method, truth, batch))
    before = method.loss(untrained, batch, now(0.99), *own(method))
    # What is left is the integrator's error, for neighborhoods the second order in their distance, for statistics their
    # scatter.
    assert (at_truth.abs() < 1e-2 * before).all(), f"{at_truth.tolist()} at the truth, {before.tolist()} untrained"


@pytest.mark.parametrize("name", PENALIZED)
def test_a_penalty_is_least_at_the_true_field(name):
    method = catalogue.build("methods", name, {"weight": 1.0})
    alone = not hasattr(method, "own")
    truth, batch = prepare(method, batch=64 if alone else 8, samples=3000 if alone else 600)
    if "windows" in method.needs:  # as many as there are segments: a mean over few scatters
        truth, batch = prepare(replace(method, share=64.0), batch=64, samples=3000)
    if "local_maps" in method.needs:  # as neighborhoods without end would give them; see test_local_fits.py
        batch = replace(batch, given={"local_maps": batch.tangent_step(truth, batch.start, batch.intervals[..., 0])[1]})

    def penalty(field):
        loss = method.loss(field, batch, now(), *fitted(method, field, batch, steps=60))
        # Free states have their share in the error of trajectories too.
        return loss - Baseline().loss(field, batch, now()) if alone else loss

    at_truth = penalty(truth)
    for change in (0.8, 1.2):  # a faster or slower field has another Jacobian, other orbits, other exponents
        assert (at_truth < penalty(Scaled(truth, change))).all(), f"at the truth times {change}"


class Scaled:
    """A field times a constant."""

    def __init__(self, field, factor):
        self._field, self._factor, self.dimension = field, factor, field.dimension

    def __call__(self, x):
        return self._factor * self._field(x)

    def push_forward(self, x, v):
        return tuple(self._factor * part for part in self._field.push_forward(x, v))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_gradients_are_finite_at_initialization(side, noise):
    method = SIDES[side]
    _, batch = prepare(method, noise)
    field, modules = NeuralField(3, [0, 1], width=16), own(method)
    method.loss(field, batch, now(), *modules).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in field.weights)
    assert all(p.grad.isfinite().all() for module in modules for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "network"),
    [  # each method with the perceptron, by hand, and with one of the others in turn; the slow ones are the rest
        pytest.param(m, n, marks=() if n == "mlp" or k % len(OTHERS) == j else pytest.mark.slow)
        for k, m in enumerate(METHODS)
        for j, n in enumerate([*OTHERS, "mlp"])
    ],
)
def test_every_method_trains_every_network(name, network):
    # four components, of which two are taken for positions; each network's weights begin at random
    system = {"system": "HenonHeiles"}
    sizes = {"dimension": 4, "components": ["x", "y", "px", "py"], "system": system, "network": {"network": network}}
    sizes |= {"seeds": 2, "batch": 8, "segment": 5, "neighbors": 5}
    step = step_of(catalogue.build("methods", name, {}), sizes, CPU)()
    assert step.isfinite().all() and (step.abs().sum(1) > 0).all()


@pytest.mark.parametrize("side", SIDES)
def test_the_loss_of_a_member_depends_on_its_own_weights_alone(side):
    method = SIDES[side]
    _, batch = prepare(method)
    field, modules = NeuralField(3, [0, 1], width=16), own(method)
    method.loss(field, batch, now(), *modules)[0].backward()
    assert all(p.grad[0].abs().sum() > 0 and p.grad[1].abs().sum() == 0 for p in field.weights)
    assert all(p.grad[1].abs().sum() == 0 for module in modules for p in module.parameters())


ZEROS = {f"{name} of weight zero": catalogue.build("methods", name, {"weight": 0.0}) for name in PENALIZED}
ZEROS |= {side: replace(m, weight=0.0) for side, m in SETTINGS.items() if isinstance(m, Neighborhood)}
ZEROS |= {"no coupling": Homotopy(coupling=0.0, segment=5), "no forcing": TeacherForcing(strength=0.0, segment=5)}


@pytest.mark.parametrize("side", ZEROS)
def test_a_weight_of_zero_gives_back_the_baseline(side):
    # Its own parameters are as they begin: free initial states are then the data.
    method = ZEROS[side]
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    loss, baseline = method.loss(field, batch, now(), *own(method)), Baseline().loss(field, batch, now())
    torch.testing.assert_close(loss, baseline, rtol=1e-12, atol=0)
    gradients, expected = (
        torch.autograd.grad(value.sum(), list(field.parameters()), retain_graph=True) for value in (loss, baseline)
    )
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_is_given_is_said(name):
    method = catalogue.build("methods", name, {})
    for need, made in catalogue.entries("needs").items():
        if made.privilege:
            assert (made.privilege in given(method)) == (need in method.needs)
    assert given(method).startswith("data")


def test_what_a_network_is_given_is_said():
    assert given(Baseline(), {"network": "known", "parameters": {"rho": 3}}) == "data + equations in part"
    assert given(Jacobian(), {"network": "mlp"}) == given(Jacobian()) == "data + true J"


def test_the_jacobian_penalty_vanishes_at_the_truth():
    method = Jacobian(weight=1.0)
    truth, batch = prepare(method)
    penalty = method.loss(truth, batch, now()) - Baseline().loss(truth, batch, now())
    assert (penalty < 1e-20).all(), penalty


def test_without_noise_true_propagators_are_the_fundamental_matrices_along_the_orbit():
    method = Propagator(weight=1.0)
    truth, batch = prepare(method, substeps=4)
    _, columns = batch.tangent_rollout(truth)
    torch.testing.assert_close(products(batch["propagators"]), columns[..., 1:, :, :].mT, rtol=1e-6, atol=1e-7)
    penalty = method.loss(truth, batch, now()) - Baseline().loss(truth, batch, now())
    assert (penalty < 1e-11).all(), penalty


def test_over_a_sample_the_propagator_penalty_is_that_of_segments_of_one_sample():
    of_a_sample, of_the_segment = Propagator(over="sample"), Propagator()
    _, batch = prepare(of_a_sample)
    field = NeuralField(3, [0, 1], width=16)
    one = replace(
        batch,
        times=batch.times[..., :2],
        states=batch.states[..., :2, :],
        given={"propagators": batch["propagators"][..., :1, :, :]},
    )
    penalties = [
        method.loss(field, part, now()) - Baseline().loss(field, part, now())
        for method, part in ((of_a_sample, batch), (of_a_sample, one), (of_the_segment, one))
    ]
    torch.testing.assert_close(penalties[0], penalties[1])
    torch.testing.assert_close(penalties[1], penalties[2])


def test_the_penalty_of_a_propagator_is_about_that_of_the_jacobian_where_samples_are_dense():
    # M is the identity and h J, up to the square of h.
    _, batch = prepare(method := Jacobian(weight=1.0))
    field, interval = NeuralField(3, [0, 1], width=16), 1e-4
    penalty = method.loss(field, batch, now()) - Baseline().loss(field, batch, now())
    maps = (identity(batch.start) + interval * batch["jacobians"]).unsqueeze(-3)
    times = interval * torch.tensor([0.0, 1.0], dtype=torch.float64).expand(2, 1, 2)
    dense = replace(batch, times=times, interval=None, states=batch.states[..., :2, :], given={"propagators": maps})
    ours = Propagator(weight=1.0).loss(field, dense, now()) - Baseline().loss(field, dense, now())
    torch.testing.assert_close(ours, penalty, rtol=1e-3, atol=0)


def test_along_many_random_directions_the_jacobian_penalty_is_that_of_whole_matrices():
    whole, sampled = Jacobian(weight=1.0), Jacobian(weight=1.0, directions=300)
    truth, batch = prepare(sampled)
    field, baseline = NeuralField(3, [0, 1], width=16), Baseline()
    penalties = [m.loss(field, batch, now()) - baseline.loss(field, batch, now()) for m in (whole, sampled)]
    torch.testing.assert_close(*penalties, rtol=0.1, atol=0)
    assert (sampled.loss(truth, batch, now()) - baseline.loss(truth, batch, now()) < 1e-20).all()


@pytest.mark.parametrize(
    ("method", "power"),
    [
        (FlowDirection(weight=1.0), 4),
        *((WeakForm(weight=1.0, orders=[order]), power) for order, power in ((2, 4), (3, 8), (4, 8), (6, 12))),
    ],
)
def test_what_is_left_at_the_truth_falls_with_its_order_in_the_sample_interval(method, power):
    # The square of an error of order 2, 4 or 6; the window of the weak form is the same, with more samples in it.
    truth, batch = prepare(method, step=0.04)
    penalty = []
    for refined in (2, 4):
        count = 12 * refined if isinstance(method, WeakForm) else method.segment
        length = batch.times[..., -1:] / (1 if isinstance(method, WeakForm) else 8 * refined)
        times = length * torch.linspace(0, 1, count + 1, dtype=torch.float64)
        states = rollout(truth, batch.start, times, substeps=2, order=8)
        placed = replace(batch, times=times, interval=None, ticks=None, states=states, substeps=4)
        penalty.append(method.loss(truth, placed, now()) - Baseline().loss(truth, placed, now()))
    order = torch.log2(penalty[0] / penalty[1])
    torch.testing.assert_close(order, torch.full_like(order, power), rtol=0, atol=0.1 * power)


def test_in_the_weak_sense_a_motion_at_constant_speed_has_just_that_speed():
    method = WeakForm(weight=1.0, segment=7, orders=[2, 3, 5])
    _, batch = prepare(method)
    velocity = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    moving = replace(batch, states=batch.start.unsqueeze(-2) + velocity * batch.times.unsqueeze(-1))
    for factor in (1.0, 1.5):
        field = lambda x, factor=factor: factor * velocity.expand(x.shape)  # noqa: E731
        penalty = method.loss(field, moving, now()) - Baseline().loss(field, moving, now())
        torch.testing.assert_close(
            penalty, (factor - 1) ** 2 * velocity.square().mean().expand(2), rtol=1e-9, atol=1e-20
        )


@pytest.mark.parametrize("method", [FlowDirection(weight=1.0), WeakForm(weight=1.0)])
def test_noise_favors_no_contraction_along_the_flow_and_in_the_weak_sense(method):
    # Of a field c x, and noise around a state at rest: to first order in c the penalty stays as it is. With the field
    # at the first two of three samples, or at the first of two, it would change by as much as there is.
    _, batch = prepare(method, batch=1000)
    noise = torch.randn(batch.states.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = torch.arange(noise.shape[-2]).double().expand(2, 1, -1)
    still = replace(batch, states=noise, times=times, interval=None, ticks=None)

    def penalty(c):
        return method.loss(lambda x: c * x, still, now()) - Baseline().loss(lambda x: c * x, still, now())

    slope = (penalty(1e-3) - penalty(-1e-3)) / 2e-3 / penalty(0.0)
    assert (slope.abs() < 0.25).all(), slope


def test_free_initial_states_come_nearer_to_the_truth_than_the_observed_ones():
    method = MultipleShooting(weight=100.0)
    truth, batch = prepare(method, noise=0.05)
    (offsets,) = fitted(method, truth, batch, steps=400)
    noisy, clean = (observed_with(noise, 600, 0.01)[0] for noise in (0.05, 0.0))
    exact = ((clean["train"] - noisy["mean"]) / noisy["scale"]).transpose("seed", "orbit", "time", "component")
    exact = torch.from_numpy(exact.to_numpy()).flatten(1, 2)
    member = torch.arange(2).unsqueeze(-1)
    exact, moved = exact[member, batch.index], STEP * offsets[0][member, batch.index]
    error = (batch.start + moved - exact).norm() / (batch.start - exact).norm()
    assert error < 0.7  # a mean of six samples would be at 0.4


@pytest.mark.parametrize(
    ("method", "power"),
    [
        (Neighborhood(weight=1.0, relative=False), 4),
        (Neighborhood(weight=1.0, relative=False, residual="norm"), 2),
        (Neighborhood(weight=1.0), 2),
        (Neighborhood(weight=1.0, weighting="distance"), 2),
        (Neighborhood(weight=1.0, relative=False, order=2), 6),
    ],
)
def test_the_neighborhood_residual_at_the_truth_falls_with_its_order_in_the_distance(method, power):
    # Neighbors are replaced by true orbits whose displacements shrink. The residual falls with their square, with the
    # order 2 with their cube.
    truth, batch = prepare(method, substeps=4)
    directions = torch.randn(2, 8, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    penalty = []
    for size in (0.04, 0.02, 0.01):
        starts = batch.start.unsqueeze(-2) + size * directions
        near = rollout(truth, starts, batch.times.unsqueeze(-2), substeps=4)
        placed = replace(batch, given={"neighbors": near})
        penalty.append(method.loss(truth, placed, now()) - Baseline().loss(truth, placed, now()))
    orders = torch.log2(torch.stack(penalty[:-1]) / torch.stack(penalty[1:]))
    torch.testing.assert_close(orders, torch.full_like(orders, power), rtol=0, atol=0.2)


def test_about_the_orbit_displacements_alone_count_and_about_the_rollout_its_error_too():
    # A field that moves states wrongly but has the true tangents, and neighbors that are where these take them.
    truth, batch = prepare(Neighborhood(), substeps=4)
    wrong, penalty = States(truth, 1.01), {}
    before = 1e-4 * torch.randn(2, 8, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, moved = batch.displaced_rollout(wrong, before, order=1)
    near = (batch.states.unsqueeze(-2) + moved).transpose(-2, -3)
    placed = replace(batch, given={"neighbors": near, "followed": batch.states})
    for about in ("rollout", "orbit"):
        error, penalty[about] = Neighborhood(weight=1.0, about=about).terms(wrong, placed, now())
    assert (error > 1e-7).all() and (penalty["orbit"] < 1e-12).all() and (penalty["rollout"] > error).all(), penalty


@pytest.mark.parametrize("order", [1, 2])
def test_few_neighbors_and_many_give_the_same_mean_residual(order):
    # Two neighbors are carried themselves, six (the same two three times) through the fundamental matrix.
    method = Neighborhood(weight=1.0, order=order)
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    two = replace(batch, given={"neighbors": batch["neighbors"][:, :, :2]})
    six = replace(batch, given={"neighbors": batch["neighbors"][:, :, [0, 1, 0, 1, 0, 1]]})
    torch.testing.assert_close(method.loss(field, two, now()), method.loss(field, six, now()))


def test_the_coupling_fades_in_shrinking_steps_from_one_to_zero():
    method = Homotopy(steps=8, ratio=0.6)
    levels = torch.stack([method.fade(now((m + 0.5) / 9)) for m in range(9)])
    assert levels[0] == 1 and levels[-1] == 0
    decrements = -levels.diff()
    torch.testing.assert_close(decrements[1:] / decrements[:-1], torch.full((7,), 0.6, dtype=torch.float64))


def test_a_rollout_without_coupling_needs_nothing_and_is_the_baseline_over_its_segment():
    method = Homotopy(coupling=0.0, segment=20, per="system")
    assert method.needs == frozenset()
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    assert torch.equal(method.loss(field, batch, now(0.3)), Baseline().loss(field, batch, now()))


def test_a_coupling_in_system_time_is_that_in_model_time_over_the_rate():
    method = Homotopy(coupling=6.0, per="system", segment=20)
    truth, batch = prepare(method)
    rate = truth.coordinates.rate.view(-1)
    torch.testing.assert_close(batch["rate"], rate)
    field = NeuralField(3, [0, 1], width=16)
    ours = method.loss(field, batch, now(0.3))
    for e in range(2):
        same = Homotopy(coupling=6.0 / rate[e].item(), segment=20).loss(field, batch, now(0.3))
        torch.testing.assert_close(ours[e], same[e])


def test_a_fixed_spline_has_its_penalty_in_system_time():
    method = Homotopy(toward="fixed_spline", penalty=1e-3, segment=20)
    _, batch = prepare(method, noise=0.05, step=0.03)
    observed, _ = observed_with(0.05, 600, 0.03)
    states = ((observed["train"] - observed["mean"]) / observed["scale"]).to_numpy()[1, 0]
    expected = [make_smoothing_spline(0.03 * np.arange(600), x, lam=1e-3) for x in states.T]
    start = batch.index[1, 0].item()
    fine = 0.03 * (start + np.arange(41) / 2)
    torch.testing.assert_close(
        batch["fixed_spline"][1, 0].numpy(), np.stack([e(fine) for e in expected], -1), rtol=0, atol=1e-8
    )


def test_fixed_segments_are_all_in_every_step_and_meet_where_one_ends_and_another_begins():
    method = MultipleShooting(partition=True, segment=50, weight=1.0)
    truth, batch = prepare(method, batch=120, substeps=4)  # of 5 samples, as 12 of 50
    assert batch.index.tolist() == [[*range(0, 550, 50)]] * 2
    assert batch["partition"].sum(1).tolist() == [10, 10]
    (states,) = modules = own(method)
    loss = method.loss(truth, batch, now(), *modules)
    assert (loss < 1e-8).all()
    states[0].data.normal_(generator=torch.Generator().manual_seed(0))
    moved = method.loss(truth, batch, now(), *modules)
    moved.sum().backward()
    free = (states[0].grad != 0).any(-1)
    assert free.nonzero()[:, 1].tolist() == [*range(0, 550, 50)] * 2, "states that no segment begins with are free"
    s = torch.stack([batch.start[:, b] + STEP * states[0][:, 50 * b] for b in range(11)], 1)
    ends = batch.rollout(truth, start=s)
    gaps = (ends[:, :-1, -1] - s[:, 1:]).square().mean((1, 2))
    error = (ends - batch.states).square().mean(-1).sum((1, 2)) / 11 / 50
    torch.testing.assert_close(moved, error + gaps)


def test_of_more_fixed_segments_than_a_batch_some_are_drawn():
    _, batch = prepare(MultipleShooting(partition=True), batch=64)
    assert batch.index.shape == (2, 64) and (batch.index % 5 == 0).all() and len(batch.index[0].unique()) > 30


def test_synchronization_alone_never_lets_go():
    method = Homotopy(constant=True, segment=20)
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    torch.testing.assert_close(method.loss(field, batch, now(0.0)), method.loss(field, batch, now(0.99)))
    released = Homotopy(segment=20)
    assert (released.loss(field, batch, now(0.99)) > method.loss(field, batch, now(0.99))).all()


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("jacobian", {"weight": -1}),
        ("neighborhood", {"count": 0}),
        ("homotopy", {"ratio": 1.5}),
        ("baseline", {"weight": 1}),
    ],
)
def test_settings_out_of_range_are_refused_with_the_place(method, settings):
    with pytest.raises(catalogue.StudyError, match=rf"config: method '{method}'"):
        catalogue.build("methods", method, settings, where="config")


def saved(name, samples=600, **settings):
    """Bytes that a loss keeps for its gradient, by the storage."""
    _, batch = prepare(method := catalogue.build("methods", name, {}), samples=samples, **settings)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    field, modules = NeuralField(3, [0, 1], width=32), own(method, samples)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        method.loss(field, batch, now(), *modules).sum()
    return sum(storage.nbytes() for storage in kept.values())


@pytest.fixture
def no_kernels(monkeypatch):
    """Operations of torch alone, as on a GPU; kernels keep next to nothing."""
    monkeypatch.setattr(kernels, "library", lambda: None)


def test_kernels_keep_less(monkeypatch):
    weights = sum(p.nbytes for p in NeuralField(3, [0, 1], width=32).parameters())
    mine = [saved(name, batch=32, substeps=4) - weights for name in ("baseline", "neighborhood", "homotopy")]
    monkeypatch.setattr(kernels, "library", lambda: None)
    plain = [saved(name, batch=32, substeps=4) for name in ("baseline", "neighborhood", "homotopy")]
    assert all(one < 0.25 * other for one, other in zip(mine, plain, strict=True))


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("name", METHODS)
def test_the_memory_of_a_step_grows_with_batch_and_steps_and_not_with_the_orbits(name):
    usual = saved(name, batch=32)
    assert saved(name, batch=32, samples=1200) <= 1.01 * usual
    assert saved(name, batch=64) == pytest.approx(2 * usual, rel=0.1)
    assert saved(name, batch=32, substeps=4) < 4.2 * usual


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("name", METHODS)
def test_recomputing_keeps_less(name):
    many = saved(name, batch=32, substeps=4)
    integrates = many > saved(name, batch=32)
    assert saved(name, batch=32, substeps=4, recompute=True) < 0.5 * many or not integrates


def test_the_growth_under_a_constant_map_is_that_of_its_eigenvalues():
    A = torch.tensor([[1.2, 0.3, 0.0], [0.0, 1.0, -0.4], [0.0, 0.0, 0.5]], dtype=torch.float64)
    growth = log_growth(A.expand(2, 400, 3, 3))[:, 100:].mean(1)
    torch.testing.assert_close(growth[0], A.diagonal().log(), rtol=1e-6, atol=1e-6)


def test_the_sum_of_the_growth_is_the_divergence():
    truth, batch = prepare(Lyapunov(), batch=8)
    _, maps = batch.tangent_step(truth, batch["windows"][0][..., :-1, :], batch.interval)
    rate = truth.coordinates.rate.view(-1)
    total = (log_growth(maps).mean(-2) / batch.interval).sum(-1).mean(-1) * rate
    torch.testing.assert_close(total, torch.full_like(total, -(10 + 1 + 8 / 3)), rtol=1e-4, atol=0)


def test_the_noise_that_splines_leave_is_the_noise_that_was_added():
    _, batch = prepare(Neighborhood(weighting="noise"), noise=0.05, samples=2000)
    # They follow it a little, most in the fastest component.
    assert ((batch["noise"] > 0.04) & (batch["noise"] < 0.0525)).all(), batch["noise"]


def test_noise_has_a_small_share_in_the_penalty_of_an_instrument():
    def share(method):  # of the penalty at the true tangents in that of tangents that stand still
        truth, batch = prepare(method, noise=0.05, samples=3000, batch=1000, step=0.02)
        trajectories = Baseline().loss(truth, batch, now())
        moving, still = (method.loss(Tangents(truth, f), batch, now()) - trajectories for f in (1.0, 0.0))
        return moving / still

    observed, instrumented = share(Neighborhood(weight=1.0)), share(Neighborhood(weight=1.0, instrument=2))
    assert (observed > 0.2).all() and (instrumented.abs() < 0.05).all(), (observed, instrumented)


class States(Scaled):
    """A field that moves states faster or slower, and their tangents as it should."""

    def push_forward(self, x, v):
        f, action = self._field.push_forward(x, v)
        return self._factor * f, action


class Tangents(Scaled):
    """A field whose tangents alone move faster or slower."""

    def __call__(self, x):
        return self._field(x)

    def push_forward(self, x, v):
        f, action = self._field.push_forward(x, v)
        return f, self._factor * action
