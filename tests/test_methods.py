"""The contract of all methods, by what they need; a new file in methods/ is tested as it lands."""

from dataclasses import replace

import pytest
import torch
from lorenz63 import Lorenz, observations, supervision

from nearorbit import catalogue
from nearorbit.batches import Data
from nearorbit.budget import Training
from nearorbit.fields import Coordinates, NeuralField, Transformed, TrueField
from nearorbit.flow import rollout
from nearorbit.methods.base import PRIVILEGES, given
from nearorbit.methods.baseline import Baseline
from nearorbit.methods.homotopy import Homotopy
from nearorbit.methods.jacobian import Jacobian
from nearorbit.methods.neighborhood import Neighborhood
from nearorbit.neighbors import neighbors

METHODS = catalogue.names("methods")
CPU = torch.device("cpu")


def prepare(method, noise=0.0, samples=600, batch=8, **training):
    observed = observations(noise, samples=samples, step=0.01)
    data = Data(
        observed,
        method,
        Training(batch=batch, **training),
        neighbors(observed, count=25, theiler=0.5, ahead=5),
        supervision(observed),
        device=CPU,
        dtype=torch.float64,
    )
    coordinates = Coordinates(
        *(torch.from_numpy(observed[n].to_numpy().reshape(2, -1)) for n in ("mean", "scale", "rate"))
    )
    batch = data.gather(next(data.starts([0, 1], [1]))[0])
    return Transformed(TrueField(Lorenz()), coordinates), batch


def now(progress=0.0):
    return torch.tensor(progress, dtype=torch.float64)


@pytest.mark.parametrize("name", METHODS)
def test_the_true_field_on_clean_data_is_nearly_perfect(name):
    method = catalogue.build("methods", name, {})
    truth, batch = prepare(method)
    untrained = NeuralField(3, [0, 1])
    at_truth, before = (method.loss(field, batch, now(0.99)) for field in (truth, untrained))
    # What is left is the integrator's error, and for neighborhoods the second order in their distance.
    assert (at_truth < 1e-2 * before).all(), f"{at_truth.tolist()} at the truth, {before.tolist()} before training"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_gradients_are_finite_at_initialization(name, noise):
    method = catalogue.build("methods", name, {})
    _, batch = prepare(method, noise)
    field = NeuralField(3, [0, 1], width=16)
    method.loss(field, batch, now()).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in field.weights)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_of_a_member_depends_on_its_own_weights_alone(name):
    method = catalogue.build("methods", name, {})
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    method.loss(field, batch, now())[0].backward()
    assert all(p.grad[0].abs().sum() > 0 and p.grad[1].abs().sum() == 0 for p in field.weights)


@pytest.mark.parametrize("method", [Jacobian(weight=0.0), Neighborhood(weight=0.0), Homotopy(coupling=0.0, segment=5)])
def test_a_weight_of_zero_gives_back_the_baseline(method):
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    torch.testing.assert_close(method.loss(field, batch, now()), Baseline().loss(field, batch, now()))


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_is_given_is_said(name):
    method = catalogue.build("methods", name, {})
    for need, words in PRIVILEGES.items():
        assert (words in given(method)) == (need in method.needs)
    assert given(method).startswith("data")


def test_the_jacobian_penalty_vanishes_at_the_truth():
    method = Jacobian(weight=1.0)
    truth, batch = prepare(method)
    penalty = method.loss(truth, batch, now()) - Baseline().loss(truth, batch, now())
    assert (penalty < 1e-20).all(), penalty


def test_the_neighborhood_residual_at_the_truth_is_of_second_order_in_the_distance():
    # Neighbors are replaced by true orbits whose displacements shrink; the squared residual falls with the fourth
    # power.
    method = Neighborhood(weight=1.0, relative=False)
    truth, batch = prepare(method, substeps=4)
    directions = torch.randn(2, 8, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    penalty = []
    for size in (0.04, 0.02, 0.01):
        starts = batch.start.unsqueeze(-2) + size * directions
        near = rollout(truth, starts, batch.times.unsqueeze(-2), substeps=4)
        placed = replace(batch, neighbors=near)
        penalty.append(method.loss(truth, placed, now()) - Baseline().loss(truth, placed, now()))
    orders = torch.log2(torch.stack(penalty[:-1]) / torch.stack(penalty[1:]))
    torch.testing.assert_close(orders, torch.full_like(orders, 4.0), rtol=0, atol=0.2)


def test_few_neighbors_and_many_give_the_same_mean_residual():
    # Two neighbors are carried themselves, four (the same two twice) through the fundamental matrix.
    method = Neighborhood(weight=1.0)
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    two = replace(batch, neighbors=batch.neighbors[:, :, :2])
    four = replace(batch, neighbors=batch.neighbors[:, :, [0, 1, 0, 1]])
    torch.testing.assert_close(method.loss(field, two, now()), method.loss(field, four, now()))


def test_the_coupling_fades_in_shrinking_steps_from_one_to_zero():
    method = Homotopy(steps=8, ratio=0.6)
    levels = torch.stack([method.fade(now((m + 0.5) / 9)) for m in range(9)])
    assert levels[0] == 1 and levels[-1] == 0
    decrements = -levels.diff()
    torch.testing.assert_close(decrements[1:] / decrements[:-1], torch.full((7,), 0.6, dtype=torch.float64))


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


def saved(name, **settings):
    """Bytes that a loss keeps for its gradient, by the storage."""
    _, batch = prepare(method := catalogue.build("methods", name, {}), **settings)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    field = NeuralField(3, [0, 1], width=32)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        method.loss(field, batch, now()).sum()
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("name", METHODS)
def test_the_memory_of_a_step_grows_with_batch_and_steps_and_not_with_the_orbits(name):
    usual = saved(name, batch=32)
    assert saved(name, batch=32, samples=1200) <= 1.01 * usual
    assert saved(name, batch=64) == pytest.approx(2 * usual, rel=0.1)
    assert saved(name, batch=32, substeps=4) < 4.2 * usual


@pytest.mark.parametrize("name", METHODS)
def test_recomputing_keeps_less(name):
    assert saved(name, batch=32, substeps=4, recompute=True) < 0.5 * saved(name, batch=32, substeps=4)
