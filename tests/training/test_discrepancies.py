from dataclasses import dataclass, replace

import geomloss
import numpy as np
import pytest
import torch
from capturable import Capturable
from test_methods import now, prepare

from nearorbit.dynamics.fields import Field
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study.catalogue import StudyError, build
from nearorbit.training import discrepancies
from nearorbit.training.discrepancies import WIDTHS, mmd, sinkhorn
from nearorbit.training.methods.baseline import Baseline
from nearorbit.training.methods.invariant_measure import InvariantMeasure
from nearorbit.training.methods.neighborhood_mmd import NeighborhoodMMD
from nearorbit.training.methods.optimal_transport import OptimalTransport

DISCREPANCIES = [mmd, sinkhorn]
METHODS = [
    NeighborhoodMMD(weight=1.0),
    NeighborhoodMMD(weight=1.0, clouds="displacements", relative=False, first=True),
    InvariantMeasure(weight=1.0),
    InvariantMeasure(weight=1.0, apart=True),
    OptimalTransport(weight=1.0),
    OptimalTransport(weight=1.0, statistics="state_and_rate"),
]


def cloud(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def value_and_gradient(discrepancy, x, y):
    x = x.clone().requires_grad_()
    values = discrepancy(x, y)
    return values.detach(), torch.autograd.grad(values.sum(), x)[0]


@pytest.mark.parametrize("distance", [0.0, 0.3, 2.0, 50.0])
def test_the_mmd_of_two_points_is_known(distance):
    x, y = torch.zeros(1, 3).double(), torch.tensor([[0.0, distance, 0.0]], dtype=torch.float64)
    expected = 2 * sum(1 - a**2 / (a**2 + distance**2) for a in WIDTHS)
    torch.testing.assert_close(mmd(x, y), torch.tensor(expected, dtype=torch.float64), atol=1e-14, rtol=1e-12)


def test_the_mmd_is_the_sum_over_all_pairs():
    x, y = cloud(2, 5, 4, 3), cloud(2, 5, 7, 3, seed=1) + 100.0

    def mean(a, b):
        squares = (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1)
        return sum(w**2 / (w**2 + squares) for w in (0.5, 2.0)).mean((-2, -1))

    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    torch.testing.assert_close(mmd(x, y, widths=(0.5, 2.0)), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mmd_by_compiled_source_is_that_by_operations_of_torch(dtype, monkeypatch):
    for points, others, dimension in ((1, 1, 1), (8, 8, 3), (31, 17, 6), (100, 300, 2)):
        x, y = cloud(5, points, dimension, dtype=dtype), cloud(5, others, dimension, seed=1, dtype=dtype)
        mine = value_and_gradient(mmd, x, y)
        with monkeypatch.context() as patch:
            patch.setattr(discrepancies, "_by_source", lambda _: None)
            theirs = value_and_gradient(mmd, x, y)
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=1e-6)


def test_the_divergence_of_points_far_apart_is_half_their_mean_squared_displacement():
    x, y = torch.tensor([[0.0], [10.0]]).double(), torch.tensor([[12.0], [1.0]]).double()
    torch.testing.assert_close(sinkhorn(x, y, diameter=12.0), torch.tensor((1 + 4) / 4).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("size", [0.3, 1.0])
def test_a_cloud_is_half_the_square_of_a_shift_from_itself(size):
    x = cloud(60, 3)
    shift = size * torch.tensor([2.0, -1.0, 2.0]).double() / 3
    value, gradient = value_and_gradient(lambda x, y: sinkhorn(x, y, scaling=0.97), x + shift, x)
    torch.testing.assert_close(value.item(), size**2 / 2, rtol=0.02, atol=0)
    torch.testing.assert_close(gradient.sum(0), shift, rtol=0.02, atol=0)
    rough = sinkhorn(x + shift, x)  # with the iterations of the default
    torch.testing.assert_close(rough.item(), size**2 / 2, rtol=0.15, atol=0)


def test_more_iterations_converge_to_the_transport_of_the_sorted_samples():
    # In one dimension the cheapest transport pairs the samples in order.
    x, y = cloud(200, 1), 1.5 * cloud(200, 1, seed=1) + 0.5
    exact = (x.sort(0).values - y.sort(0).values).square().mean() / 2
    errors = [abs(sinkhorn(x, y, blur=0.05, scaling=s) / exact - 1) for s in (0.5, 0.9, 0.98)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.02, errors


@pytest.mark.parametrize(("n", "m"), [(40, 40), (37, 53)])
def test_the_divergence_and_its_gradient_are_those_of_geomloss(n, m):
    x, y = cloud(2, n, 3) + 0.5, cloud(2, m, 3, seed=1)
    for settings in ({"blur": 0.3, "scaling": 0.7, "diameter": 4.0}, {"blur": 0.1, "scaling": 0.5, "diameter": 8.0}):
        library = geomloss.SamplesLoss("sinkhorn", **settings, backend="tensorized")
        theirs = value_and_gradient(library, x, y)
        ours = value_and_gradient(lambda x, y, s=settings: sinkhorn(x, y, **s), x, y)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
def test_equal_clouds_are_no_distance_apart_and_pull_nowhere(discrepancy):
    x = cloud(3, 40, 3)
    value, gradient = value_and_gradient(discrepancy, x, x.clone())
    torch.testing.assert_close(value, torch.zeros(3).double(), atol=1e-14, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(x), atol=1e-14, rtol=0)


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
def test_the_order_of_the_points_does_not_matter(discrepancy):
    x, y = cloud(41, 3), cloud(30, 3, seed=1)
    torch.testing.assert_close(discrepancy(x.flip(0), y.roll(7, 0)), discrepancy(x, y))


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
def test_clouds_further_apart_have_a_greater_discrepancy(discrepancy):
    x, y = cloud(50, 3), cloud(50, 3, seed=1)
    values = torch.stack([discrepancy(x + shift, y) for shift in (0.0, 0.5, 1.0, 2.0)])
    assert (values > 0).all() and (values.diff() > 0).all(), values


@pytest.mark.parametrize("of", ["both", "first"])
def test_the_gradient_of_the_mmd_is_that_of_finite_differences(of):
    x, y = cloud(2, 6, 3).requires_grad_(), cloud(2, 9, 3, seed=1).requires_grad_(of == "both")
    assert torch.autograd.gradcheck(mmd, (x, y))


def test_the_gradient_of_the_divergence_is_that_of_finite_differences_once_converged():
    def converged(x, y):
        return sinkhorn(x, y, scaling=0.98)

    x, y = cloud(30, 3) + 0.5, cloud(25, 3, seed=1)
    _, gradient = value_and_gradient(converged, x, y)
    direction = cloud(30, 3, seed=2)
    slope = (converged(x + 1e-4 * direction, y) - converged(x - 1e-4 * direction, y)) / 2e-4
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=0.05, atol=0)


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
@pytest.mark.parametrize("distance", [0.0, 1e3])
def test_gradients_are_finite_where_points_coincide_and_where_clouds_are_far_apart(discrepancy, distance):
    x = cloud(9, 3, dtype=torch.float32).repeat(4, 1)
    value, gradient = value_and_gradient(discrepancy, x + distance, x[:18])
    assert value.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
@pytest.mark.parametrize("distance", [0.5, 1e3])
def test_what_fills_a_cloud_up_has_no_weight(discrepancy, distance):
    # Twice the points at half the share are the same cloud: 36 and 26 points are filled up, 72 and 104 are not.
    x, y = cloud(36, 3) + distance, cloud(26, 3, seed=1)
    torch.testing.assert_close(discrepancy(x, y), discrepancy(x.repeat(2, 1), y.repeat(4, 1)))


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
@pytest.mark.parametrize("sizes", [(80, 80), (320, 320), (81, 80), (37, 53), (1, 3)])
@pytest.mark.parametrize("dimension", [3, 6])
def test_a_member_of_an_ensemble_has_the_bits_that_it_has_alone(discrepancy, sizes, dimension):
    x, y = (cloud(3, n, dimension, seed=n, dtype=torch.float32) for n in sizes)
    values, gradients = value_and_gradient(discrepancy, x, y)
    for e in range(3):
        for index in (slice(e, e + 1), e):
            value, gradient = value_and_gradient(discrepancy, x[index].clone(), y[index].clone())
            assert torch.equal(value, values[index]) and torch.equal(gradient, gradients[index])


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
@pytest.mark.parametrize("sizes", [(80, 80), (37, 53)])
def test_no_tensor_is_asked_for_its_value(discrepancy, sizes):
    x, y = (cloud(2, n, 3, seed=n) for n in sizes)
    with Capturable():
        value_and_gradient(discrepancy, x, y)


@pytest.mark.parametrize("discrepancy", DISCREPANCIES)
def test_the_mode_of_gradients_is_left_as_it_was(discrepancy):
    x = cloud(8, 3).requires_grad_()
    with torch.no_grad():
        assert not discrepancy(x, x).requires_grad
        assert not torch.is_grad_enabled()


@dataclass(frozen=True)
class Damped:
    """A field with some damping too much."""

    field: Field
    damping: float

    def __call__(self, x):
        return self.field(x) - self.damping * x


@pytest.mark.parametrize("method", METHODS)
def test_the_penalty_vanishes_at_the_true_field_and_grows_away_from_it(method):
    truth, batch = prepare(method, substeps=4)
    penalties = [
        method.loss(field, batch, now()) - Baseline().loss(field, batch, now())
        for field in (truth, *(Damped(truth, damping) for damping in (0.02, 0.1, 0.5)))
    ]
    assert (torch.stack(penalties).diff(dim=0) > 0).all(), penalties
    assert (penalties[0].abs() < 1e-4 * penalties[1]).all(), penalties


@pytest.mark.parametrize("method", METHODS)
def test_a_weight_of_zero_gives_exactly_the_baseline(method):
    method = replace(method, weight=0.0)
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    assert torch.equal(method.loss(field, batch, now()), Baseline().loss(field, batch, now()))


def test_the_penalty_of_neighborhoods_does_not_depend_on_their_size():
    # A field that moves nothing leaves every cloud in place; data that grow by half are then as far off in any units.
    method, still = NeighborhoodMMD(weight=1.0), Damped(torch.zeros_like, 0.0)
    _, batch = prepare(method)
    growth = torch.linspace(1.0, 1.5, 6, dtype=torch.float64).view(-1, 1)
    near = cloud(2, 8, 5, 1, 3) * growth
    penalties = []
    for size in (1.0, 0.01):
        scaled = replace(batch, given={"neighbors": size * near})
        penalties.append(method.loss(still, scaled, now()) - Baseline().loss(still, scaled, now()))
    assert (penalties[0] > 1e-4).all()
    torch.testing.assert_close(*penalties)


@pytest.mark.parametrize("order", [1, 2])
def test_clouds_moved_by_an_expansion_differ_from_integrated_ones_by_the_next_order(order):
    truth, batch = prepare(NeighborhoodMMD(), substeps=4)
    displacements = cloud(2, 8, 6, 3)
    errors = []
    for size in (0.04, 0.02, 0.01):
        near = batch.start.unsqueeze(-2) + size * displacements
        expanded, integrated = (NeighborhoodMMD(order=o)._pushed(truth, batch, near, 5)[1] for o in (order, None))
        errors.append((expanded - integrated).square().mean().sqrt())
    errors = torch.stack(errors)
    orders = torch.log2(errors[:-1] / errors[1:])
    torch.testing.assert_close(orders, torch.full_like(orders, order + 1), rtol=0, atol=0.1)


@pytest.mark.parametrize("follow", [2, 5, 9])
@pytest.mark.parametrize("order", [None, 1])
def test_neighbors_are_followed_for_as_long_as_is_asked_and_the_center_for_a_segment(follow, order):
    method = NeighborhoodMMD(weight=0.0, order=order, follow=follow, clouds="displacements")
    _, batch = prepare(replace(method, follow=5))
    long = {"neighbors": cloud(2, 8, 8, follow + 1, 3), "followed": cloud(2, 8, follow + 1, 3)}
    field = NeuralField(3, [0, 1], width=16)
    loss, baseline = (m.loss(field, replace(batch, given=long), now()) for m in (method, Baseline()))
    torch.testing.assert_close(loss, baseline, rtol=1e-12, atol=0)
    _, pushed, center = method._pushed(field, batch, long["neighbors"][..., 0, :], follow)
    assert pushed.shape == (2, 8, follow + 1, 8, 3) and center.shape == (2, 8, follow + 1, 3)
    assert (method.loss(field, replace(batch, given=long), now()) < replace(method, weight=1.0).loss(
        field, replace(batch, given=long), now())).all()  # fmt: skip


def test_a_mean_that_includes_the_first_time_is_smaller_by_it():
    _, batch = prepare(NeighborhoodMMD())
    field = NeuralField(3, [0, 1], width=16)
    baseline = Baseline().loss(field, batch, now())
    without, with_it = (NeighborhoodMMD(first=f).loss(field, batch, now()) - baseline for f in (False, True))
    torch.testing.assert_close(with_it, without * 5 / 6)


def test_both_terms_of_the_invariant_measure_are_sums_over_pairs_time_by_time():
    method = InvariantMeasure(weight=3.0, starts=2.0, apart=True, widths=[0.5, 2.0])
    _, batch = prepare(method)
    field = NeuralField(3, [0, 1], width=16)
    states, data = (x.detach().numpy() for x in (batch.rollout(field), batch.states))

    def kernel(x, y):
        squares = ((x[:, None] - y) ** 2).sum(-1)
        return sum(a * a / (a * a + squares) for a in (0.5, 2.0)).mean()

    def squared(x, y):
        return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)

    for e, loss in enumerate(method.loss(field, batch, now()).tolist()):
        terms = [
            3 * squared(states[e, :, k], data[e, :, k]) + 2 * squared(states[e, :, k], data[e, :, 0])
            for k in range(1, states.shape[2])
        ]
        error = ((states[e] - data[e])[:, 1:] ** 2).mean()
        assert loss == pytest.approx(error + np.mean(terms), rel=1e-9)


def test_the_rates_of_a_straight_line_are_its_velocity():
    method = OptimalTransport(statistics="state_and_rate")
    times = torch.tensor([0.0, 0.1, 0.3]).double().view(1, 1, 3)
    velocity = torch.tensor([1.0, -2.0]).double()
    summary = method.summary(times.unsqueeze(-1) * velocity, times)
    assert summary.shape == (1, 1, 2, 4)
    torch.testing.assert_close(summary[..., 2:], velocity.expand(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("neighborhood_mmd", {"weight": -1.0}, "weight"),
        ("neighborhood_mmd", {"count": 0}, "count"),
        ("invariant_measure", {"weight": -1.0}, "weight"),
        ("neighborhood_mmd", {"order": 3}, r"order \(3\) 1, 2 or nothing"),
        ("neighborhood_mmd", {"follow": 0}, r"follow \(0\)"),
        ("neighborhood_mmd", {"clouds": "cloud"}, "one of positions, displacements, not 'cloud'"),
        ("neighborhood_mmd", {"widths": []}, "list of positive numbers"),
        ("neighborhood_mmd", {"widths": 0.2}, r"a list \(each a finite number\), not 0.2"),
        ("neighborhood_mmd", {"widths": [0.2, "0.5"]}, r"a list \(each a finite number\), not \[0.2, '0.5'\]"),
        ("neighborhood_mmd", {"widths": [0.2, -1.0]}, "list of positive numbers"),
        ("invariant_measure", {"starts": -1.0}, "starts"),
        ("optimal_transport", {"weight": -1.0}, "weight"),
        ("optimal_transport", {"statistics": "states"}, "one of state, state_and_rate"),
        ("optimal_transport", {"blur": 5.0}, "below diameter"),
        ("optimal_transport", {"scaling": 1.0}, "between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(name, settings, words):
    with pytest.raises(StudyError, match=words):
        build("methods", name, settings)
