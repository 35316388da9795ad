import numpy as np
import pytest
import torch
from lorenz63 import Lorenz, jacobian, observations, orbits

from nearorbit.data.fitted_field import fitted_errors
from nearorbit.dynamics.fields import Transformed, TrueField
from nearorbit.dynamics.fields import jacobian as jacobian_of
from nearorbit.dynamics.flow import rollout
from nearorbit.dynamics.integration import LARGEST, doubled_errors, least_steps, step_errors
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.training.loop import train

STEP = 0.03


@pytest.fixture(scope="module")
def errors():
    states = orbits(samples=2000)["train"].to_numpy()
    return step_errors(Lorenz(), states, states.std((0, 1, 2)), STEP)


def test_the_error_falls_as_the_fourth_power_of_the_number_of_steps(errors):
    orders = np.log2(errors[[1, 2]] / errors[[3, 5]])  # from two to four, from three to six
    np.testing.assert_allclose(orders, 4, atol=0.3)


def test_the_least_steps_are_right_to_the_accuracy_and_one_less_is_not(errors):
    states = torch.from_numpy(orbits(samples=2000)["train"].to_numpy())
    times = torch.tensor([0.0, STEP], dtype=torch.float64)
    for accuracy in (1e-3, 1e-4, 1e-5):
        n = least_steps(errors, accuracy)
        for steps, right in ((n, True), (n - 1, False)):
            if steps:
                ends = rollout(TrueField(Lorenz()), states[..., :-1, :], times, substeps=steps)[..., 1, :]
                worst = ((ends - states[..., 1:, :]).abs() / states.std((0, 1, 2))).max().item()
                assert (worst <= 1.02 * accuracy) == right, f"{steps} steps: {worst:.1e}"


def test_an_accuracy_beyond_reach_is_told(errors):
    with pytest.raises(StudyError, match=r"training\.accuracy: 1e-09 deviations are not reached"):
        least_steps(errors, 1e-9)
    with pytest.raises(StudyError, match="sample more densely"):
        least_steps(np.full(LARGEST, 0.1), 1e-4)


def test_steps_that_leave_for_infinity_are_not_enough():
    def explosive(x):
        return np.exp(x**2) * x

    found = step_errors(explosive, np.array([[[0.5], [2.0]]]), np.ones(1), 10.0)
    assert np.isinf(found[0])


def test_states_from_which_a_fitted_field_leaves_do_not_count_unless_all_do():
    def quadratic(x):
        return x * x - x  # to infinity beyond 1

    within = np.linspace(-0.5, 0.9, 50)[:, None]
    found = doubled_errors(quadratic, within, np.ones(1), 1.0)
    with_one = doubled_errors(quadratic, np.append(within, [[2.0]], 0), np.ones(1), 1.0)
    assert np.array_equal(found, with_one) and least_steps(found, 1e-3) < 5
    assert (doubled_errors(quadratic, np.full((3, 1), 2.0), np.ones(1), 1.0) > 1e3).all()


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_fitted_field_asks_for_about_as_many_steps_as_the_true_one(errors, noise):
    observed = observations(noise, samples=2000)
    fitted = fitted_errors(observed)
    for accuracy in (1e-3, 1e-4, 1e-5):
        true, found = least_steps(errors, accuracy), least_steps(fitted, accuracy)
        assert abs(true - found) <= max(1, 0.35 * true), (true, found)


@pytest.mark.slow
def test_half_the_step_of_training_changes_the_jacobian_by_less_than_another_seed_does():
    observed = observations(0.0, seeds=4, samples=3000)
    points = observed["train"].to_numpy()[:, 0, ::10]
    true = jacobian(points)

    def errors(substeps):
        field, coordinates, _, costs = train(
            observed,
            catalogue.build("methods", "baseline", {}),
            network={"width": 32, "depth": 3},
            training={"steps": 400, "device": "cpu", "substeps": substeps},
        )
        learned = Transformed(field.double().requires_grad_(False), coordinates.inverse)
        apart = jacobian_of(learned, torch.from_numpy(points)).numpy() - true
        relative = np.linalg.norm(apart, axis=(-2, -1)) / np.linalg.norm(true, axis=(-2, -1))
        return np.median(relative, -1), costs["substeps"]

    found, steps = errors("auto")
    change, scatter = abs(found - errors(2 * steps)[0]).mean(), found.std(ddof=1)
    assert change < scatter, (change, scatter)
