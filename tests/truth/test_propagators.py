import numpy as np
import pytest
import xarray as xr
from lorenz63 import Lorenz, observations
from lorenz63 import propagators as of_lorenz
from scipy.linalg import expm

from nearorbit.study.clock import Clock
from nearorbit.truth import integrators, propagators
from nearorbit.truth.integrators import orbits_of
from nearorbit.truth.systems.base import System
from nearorbit.truth.systems.kuramoto_sivashinsky import kuramoto_sivashinsky
from nearorbit.truth.systems.lorenz96 import lorenz96

STEP = 0.1


class Linear(System):
    """A linear field, with the matrix A."""

    A = np.array([[-0.5, 2.0, 0.0], [-2.0, -0.5, 1.0], [0.0, 0.3, 0.4]])

    def __call__(self, x, xp=np):
        return xp.stack([sum(float(a) * x[..., j] for j, a in enumerate(row)) for row in self.A], -1)


class Exploding(System):
    """Beyond 1 / STEP a state is infinite before the sample ends."""

    def __call__(self, x, xp=np):
        return xp.stack([x[..., 0] ** 2], -1)


def observed(states, dtype=np.float64):
    states = np.asarray(states, dtype)
    components = [f"x{i}" for i in range(states.shape[-1])]
    return xr.Dataset(
        {"train": (("seed", "orbit", "time", "component"), states), "step": STEP, "fingerprint": ("seed", [7, 8])},
        coords={"seed": [0, 1], "component": components},
    )


def states(scale=1.0):
    return scale * np.random.default_rng(0).standard_normal((2, 3, 5, 3))


def test_of_a_linear_field_they_are_the_exponential_of_its_matrix():
    found = propagators.propagators(Linear("linear", ("x", "y", "z"), {}, np.ones(3)), observed(states()))
    assert found["propagator"].dims == ("seed", "orbit", "time", "component", "direction")
    expected = np.broadcast_to(expm(STEP * Linear.A), (2, 3, 5, 3, 3))
    np.testing.assert_allclose(found["propagator"], expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(found["fingerprint"], [7, 8])


def test_they_are_the_derivatives_of_the_orbits_and_contract_as_the_divergence_says():
    start, time = states(5.0) + np.array([0, 0, 25]), np.array([STEP])
    maps = propagators.propagators(Lorenz(), observed(start))["propagator"].to_numpy()
    orbit, moved = orbits_of(Lorenz()), 1e-5 * np.eye(3)[:, None, None, None]
    differences = (orbit(start + moved, time) - orbit(start - moved, time))[..., 0, :] / 2e-5
    np.testing.assert_allclose(maps, np.moveaxis(differences, 0, -1), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(np.linalg.det(maps), np.exp(-STEP * (10 + 1 + 8 / 3)), rtol=1e-12)


def test_they_have_the_precision_of_the_observations_whatever_is_integrated_at_once(monkeypatch):
    system = Linear("linear", ("x", "y", "z"), {}, np.ones(3))
    whole = propagators.propagators(system, observed(states(), np.float32))
    monkeypatch.setattr(propagators, "MANY", 8)
    xr.testing.assert_identical(whole, propagators.propagators(system, observed(states(), np.float32)))
    assert whole["propagator"].dtype == np.float32


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_orbit_that_is_lost_has_none_and_spoils_no_other():
    start = np.full((2, 1, 9, 1), 1.0)
    start[1, 0, 4] = 1.1 / STEP
    maps = propagators.propagators(Exploding("exploding", ("x",), {}, np.ones(1)), observed(start))["propagator"]
    lost = np.isnan(maps.to_numpy()[..., 0, 0])
    assert lost.sum() == 1 and lost[1, 0, 4]
    np.testing.assert_allclose(maps.to_numpy()[~lost], (1 - STEP) ** -2, rtol=1e-12)


def test_at_uneven_times_a_propagator_is_over_the_time_to_the_next_sample():
    observed = observations(samples=40, missing=0.2, jitter=0.5)
    found, clock = propagators.propagators(Lorenz(), observed), Clock.of(observed)
    times = float(observed["step"]) * clock.next()[..., None, None]
    expected = of_lorenz(observed["train"].to_numpy(), times, substeps=60)
    np.testing.assert_allclose(found["propagator"], expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(times) > 0.5 * float(observed["step"])


@pytest.mark.parametrize("numbers", [integrators.NUMBERS, 60])
def test_tangents_by_matrices_are_those_of_taylors_method(monkeypatch, numbers):
    system = lorenz96(size=12, forcing=8.0)
    x, tangents = np.zeros((7, 37)), np.tile(np.eye(12), (7, 1, 1))
    x[:, :12] = 8 + np.random.default_rng(0).standard_normal((7, 12))
    durations = np.linspace(0, 0.5, 7)
    of_taylor = integrators.propagator(system)(x, tangents, durations)
    monkeypatch.setattr(integrators, "TERMS", 0)
    monkeypatch.setattr(integrators, "NUMBERS", numbers)
    by_matrices = integrators.propagator(system)(x, tangents, durations)
    for found, expected in zip(by_matrices, of_taylor, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8)


def test_a_tangent_that_is_lost_leaves_the_others(monkeypatch):
    monkeypatch.setattr(integrators, "TERMS", 0)
    x = np.zeros((5, 4))
    x[:, 0] = [1.0, 2.0, 1 / STEP + 1, -1.0, 3.0]
    system = Exploding("exploding", ("x",), {}, np.ones(1))
    states, tangents = integrators.propagator(system)(x, np.ones((5, 1, 1)), STEP)
    left = np.delete(x[:, 0], 2)
    assert np.isnan(states[2]).all() or np.isnan(tangents[2]).all()
    np.testing.assert_allclose(np.delete(states[:, 0], 2), left / (1 - STEP * left), rtol=1e-8)
    np.testing.assert_allclose(np.delete(tangents[:, 0, 0], 2), (1 - STEP * left) ** -2, rtol=1e-8)


def test_a_jacobian_of_many_entries_moves_tangents_as_orbits_differ():
    system = kuramoto_sivashinsky()
    assert integrators._terms(system) > integrators.TERMS
    x, moved, time = np.zeros((1, 97)), 1e-5 * np.eye(32), np.array([0.5])
    x[:, :32] = system.start
    states, tangents = integrators.propagator(system)(x, np.eye(32)[None], 0.5)
    orbits = orbits_of(system)
    differences = (orbits(system.start + moved, time) - orbits(system.start - moved, time))[:, 0] / 2e-5
    np.testing.assert_allclose(states[0, :32], orbits(system.start, time)[0], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(tangents[0], differences.T, rtol=1e-6, atol=1e-7)
