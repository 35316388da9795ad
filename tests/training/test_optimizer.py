"""The optimizers make the steps of their authors, and two gradients are joined without a conflict."""

import pytest
import torch

from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study.catalogue import StudyError
from nearorbit.training.budget import CHOICES, Training
from nearorbit.training.optimizer import AdaBelief, Adam, clipped, conflict_free, flatten, gradient, optimizer


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("settings", "name"), [({}, "Adam"), ({"decay": 0.3}, "AdamW")])
def test_adam_takes_the_steps_of_the_library(settings, name):
    ours, theirs = random(2, 5), random(2, 5)
    adam = Adam(ours, **settings)
    library = getattr(torch.optim, name)([theirs], weight_decay=settings.get("decay", 0.0))
    for step in range(20):
        theirs.grad = random(2, 5, seed=step)
        library.param_groups[0]["lr"] = 0.01 * (step + 1)
        library.step()
        adam.update(theirs.grad, torch.tensor([0.01 * (step + 1)], dtype=torch.float64))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_only_the_weights_of_the_network_decay():
    weights = torch.ones(1, 5, dtype=torch.float64)
    optimizer(Training(optimizer="adamw", decay=0.1), weights, 3).update(0 * weights, torch.tensor([0.5]))
    torch.testing.assert_close(weights, torch.tensor([[0.95, 0.95, 0.95, 1.0, 1.0]], dtype=torch.float64))


def test_two_steps_of_adabelief_are_those_by_hand():
    # m = 0.2, s = 0.001 * 1.8^2; then m = 0.9 * 0.2 - 0.1, s = 0.999 s + 0.001 * 1.08^2; and a floor of 0.5 in each.
    weights = torch.tensor([[1.0]], dtype=torch.float64)
    belief = AdaBelief(weights, floor=0.5, epsilon=0.25)
    m, s, w = 0.2, 0.001 * 1.8**2 + 0.5, 1.0
    w -= 0.1 * (m / 0.1) / ((s / 0.001) ** 0.5 + 0.25)
    belief.update(torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([0.1], dtype=torch.float64))
    assert weights.item() == pytest.approx(w, rel=1e-12)
    m, s = 0.08, 0.999 * s + 0.001 * 1.08**2 + 0.5
    w -= 0.2 * (m / (1 - 0.9**2)) / ((s / (1 - 0.999**2)) ** 0.5 + 0.25)
    belief.update(torch.tensor([[-1.0]], dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64))
    assert weights.item() == pytest.approx(w, rel=1e-12)


def test_adabelief_goes_far_where_gradients_are_as_expected():
    ways = [torch.zeros(1, 2, dtype=torch.float64) for _ in range(2)]
    steps = [AdaBelief(ways[0]), Adam(ways[1])]
    for n in range(50):  # one gradient stays, the other changes its sign
        for made in steps:
            made.update(torch.tensor([[1.0, (-1.0) ** n]], dtype=torch.float64), torch.tensor([0.01]))
    assert ways[0][0, 0] < 2 * ways[1][0, 0] < -0.9 and ways[0][0].abs().argmin() == 1


def test_the_second_moment_of_adabelief_stays_above_zero_in_single_precision():
    weights = torch.ones(1, 4)
    belief = AdaBelief(weights)
    for n in range(5):
        belief.update(torch.zeros(1, 4) if n % 2 else torch.full((1, 4), 1e-12), torch.tensor([0.01]))
    assert weights.isfinite().all() and (belief.state["second"] > 0).all()


def by_the_paper(first, second):
    """The formula as it is published: unit vectors of what of each is orthogonal to the other."""

    def unit(x):
        return x / x.norm()

    def orthogonal(a, b):
        return b - (a @ b) / (a @ a) * a

    way = unit(unit(orthogonal(first, second)) + unit(orthogonal(second, first)))
    return (first @ way + second @ way) * way


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_joined_gradients_are_those_of_the_paper(scale):
    first, second = random(4, 30), scale * random(4, 30, seed=1)
    joined = conflict_free(first, second)
    expected = torch.stack([by_the_paper(a, b) for a, b in zip(first, second, strict=True)])
    torch.testing.assert_close(joined, expected, rtol=1e-10, atol=1e-12)


def test_neither_loss_rises_along_joined_gradients_where_the_sum_lets_one():
    first = torch.tensor([[1.0, 0.0]])
    second = 10 * torch.tensor([[-0.8, 0.6]])
    joined = conflict_free(first, second)
    assert ((first + second) * first).sum() < 0
    cosines = [(joined * g).sum() / (joined.norm() * g.norm()) for g in (first, second)]
    torch.testing.assert_close(*cosines)
    assert cosines[0] > 0.3


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e25])
def test_a_gradient_of_zero_and_a_parallel_one_leave_the_other(scale):
    g = scale * torch.tensor([[3.0, 4.0, 0.0]])
    for other in (torch.zeros_like(g), 2 * g):
        torch.testing.assert_close(conflict_free(g, other), g + other, rtol=1e-5, atol=0)
    assert (conflict_free(0 * g, 0 * g) == 0).all()


@pytest.mark.parametrize("ratio", [1.0, 2.7, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opposite_gradients_leave_nothing(dtype, ratio):
    g = torch.randn(20, 5000, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert (conflict_free(g, -ratio * g) == 0).all()


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_is_seen_after_joining(wrong):
    first, second = torch.ones(2, 3), torch.ones(2, 3)
    second[1, 2] = wrong
    kept, broken = clipped(conflict_free(first, second), torch.inf)
    assert broken.tolist() == [False, True] and kept.isfinite().all()


def test_gradients_are_clipped_member_by_member():
    gradients, broken = clipped(torch.tensor([[3.0, 4.0], [0.3, 0.4], [torch.nan, 1.0]]), 1.0)
    torch.testing.assert_close(gradients, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
    assert broken.tolist() == [False, False, True]


def test_the_flat_weights_and_gradients_are_laid_out_alike():
    field = NeuralField(3, [0, 1], width=8)
    weights = flatten(field)
    loss = sum(((i + 1) * p).sum() for i, p in enumerate(field.parameters()))
    laid = gradient(loss, field)
    assert weights.shape == laid.shape
    weights.copy_(laid)
    for i, p in enumerate(field.parameters()):
        assert (p == i + 1).all()


def test_without_a_bound_nothing_is_clipped():
    gradients = torch.tensor([[3e4, 4e4], [torch.inf, 1.0]])
    kept, broken = clipped(gradients, torch.inf)
    assert torch.equal(kept, torch.tensor([[3e4, 4e4], [0.0, 0.0]])) and broken.tolist() == [False, True]


def test_the_rate_rises_to_its_peak_and_falls_to_nearly_nothing():
    settings = Training(steps=1000, learning_rate=1.0)
    rates = [settings.rate_at(step) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0, abs=1e-4) and rates.index(max(rates)) in range(295, 305)
    assert rates[0] < 0.05 and rates[-1] < 1e-3


def test_a_constant_rate_is_constant():
    settings = Training(steps=10, learning_rate=0.02, rate="constant")
    assert {settings.rate_at(step) for step in range(10)} == {0.02}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_there_is_not_is_refused(name):
    wrong = CHOICES[name][1] + "x"
    with pytest.raises(StudyError, match=rf"training.{name}: expected one of .*, not '{wrong}'; did you mean"):
        Training(**{name: wrong})
