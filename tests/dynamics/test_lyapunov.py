import numpy as np
import pytest
from scipy.linalg import expm

from nearorbit.dynamics.lyapunov import kaplan_yorke, motion, spectrum, standard_error

# eigenvalues 0.5 +- 2i and -3 in a basis that is not orthogonal
BASIS = np.array([[1.0, 0.3, -0.2], [0.1, 1.0, 0.4], [0.5, -0.3, 1.0]])
SPIRAL = BASIS @ np.array([[0.5, -2, 0], [2, 0.5, 0], [0, 0, -3]]) @ np.linalg.inv(BASIS)


def linear(A):
    """Propagate x' = A x, with tangents; the state itself stays put, so that it can go on for ever."""

    def propagate(x, tangents, duration):
        return x, expm(A * duration) @ tangents

    return propagate


def noisy(rates, noise, seed=0):
    """Propagate tangents whose rates of growth fluctuate about known exponents."""
    rng = np.random.default_rng(seed)

    def propagate(x, tangents, duration):
        growth = np.array(rates) * duration + noise * np.sqrt(duration) * rng.standard_normal((len(x), len(rates)))
        return x, np.exp(growth)[:, :, None] * tangents

    return propagate


def test_linear_field_has_the_real_parts_of_its_eigenvalues_as_exponents():
    result = spectrum(linear(SPIRAL), np.ones((2, 3)), interval=0.1, transient=20, horizon=np.pi * 64)
    np.testing.assert_allclose(result.exponents, [0.5, 0.5, -3], atol=0.01)
    np.testing.assert_allclose(result.exponents.sum(), np.trace(SPIRAL), rtol=1e-10)


def test_strong_contraction_does_not_cost_the_tangents_their_rank():
    A = np.diag([1.0, 0, -400]) + np.triu(np.full((3, 3), 5.0), 1)
    result = spectrum(linear(A), np.ones((1, 3)), interval=1.0, transient=20, horizon=40)
    np.testing.assert_allclose(result.exponents, [1, 0, -400], atol=1e-6)


def test_groups_give_the_same_as_each_group_alone():
    start = np.array([[[1.0, 2, 3], [3, 2, 1]], [[0, 0, 1], [1, 0, 0]]])

    def propagate(x, tangents, duration):
        growth = np.exp(duration * x)  # constant rates that differ between rows
        return x, growth[:, :, None] * tangents

    settings = {"interval": 0.5, "transient": 20, "horizon": 32}
    together = spectrum(propagate, start, **settings)
    alone = [spectrum(propagate, group, **settings) for group in start]
    assert together.exponents.shape == (2, 3)
    np.testing.assert_allclose(together.exponents, [group.exponents for group in alone], rtol=1e-12)


def test_diverged_orbit_makes_its_group_nan_and_leaves_the_others_alone():
    def propagate(x, tangents, duration):
        lost = np.where(x[:, :1] > 0, np.nan, 1.0)
        return x * lost, np.exp(0.3 * duration) * tangents * lost[:, :, None]

    start = np.array([[[-1.0, 0], [-1, 0]], [[-1, 0], [1, 0]]])
    result = spectrum(propagate, start, interval=1, transient=2, horizon=50)
    np.testing.assert_allclose(result.exponents[0], 0.3)
    assert np.isnan(result.exponents[1]).all()
    assert result.converged.tolist() == [True, False]


def test_horizon_grows_until_the_standard_error_is_as_asked():
    settings = {"interval": 1, "transient": 5, "horizon": 100, "relative": 0, "absolute": 0.01}
    start = np.zeros((4, 2))
    short = spectrum(noisy([1.0, -30], 0.5), start, **settings)
    long = spectrum(noisy([1.0, -30], 0.5), start, longest=1e4, **settings)
    assert not short.converged and short.horizon == 100
    assert long.converged and long.horizon < 1e4
    assert long.stderr[0] <= 0.01
    assert abs(long.exponents[0] - 1) < 4 * long.stderr[0]


def test_horizon_ends_at_the_longest():
    settings = {"interval": 1, "transient": 5, "horizon": 100, "longest": 250, "relative": 0, "absolute": 1e-6}
    result = spectrum(noisy([1.0, -3], 0.5), np.zeros((2, 2)), **settings)
    assert not result.converged
    assert result.horizon == pytest.approx(250, rel=0.02)


def test_carried_integrals_are_averaged_over_the_counted_time():
    def propagate(x, tangents, duration):
        return x + np.array([0, 0, 2.5 * duration]), np.exp(duration * np.array([[[0.1], [-0.1]]])) * tangents

    result = spectrum(propagate, np.zeros((3, 3)), interval=1, transient=7, horizon=64, carried=1)
    assert result.exponents.shape == (2,)
    np.testing.assert_allclose(result.average, [2.5], rtol=1e-12)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_standard_error_is_honest_for_correlated_samples(memory):
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((200, 1024, 4))
    samples = np.empty_like(noise)
    samples[:, 0] = noise[:, 0] / np.sqrt(1 - memory**2)
    for t in range(1, noise.shape[1]):
        samples[:, t] = memory * samples[:, t - 1] + noise[:, t]
    claimed = np.array([standard_error(study[:, :, None])[0] for study in samples])
    actual = samples.mean((1, 2))
    within = np.mean(np.abs(actual) < 3 * claimed)
    assert within > 0.97, f"{within:.1%} within three standard errors"
    assert 0.9 < claimed.mean() / actual.std() < 1.4


@pytest.mark.parametrize(
    "exponents, dimension",
    [
        ([0.9056, 0.0, -14.572], 2 + 0.9056 / 14.572),
        ([-1.0, -2.0], 0.0),
        ([0.0, -1.0], 1.0),
        ([0.5, 0.5, -0.25], 3.0),
        ([1.0, -0.5, -2.0], 2.25),
        ([np.nan, 0.0, -1.0], np.nan),
    ],
)
def test_kaplan_yorke_dimension_is_where_the_sum_of_exponents_vanishes(exponents, dimension):
    np.testing.assert_allclose(kaplan_yorke(np.array(exponents)), dimension)
    np.testing.assert_allclose(kaplan_yorke(np.array([exponents, exponents])), [dimension, dimension])


def test_an_exponent_within_two_standard_errors_of_zero_counts_as_zero():
    exponents = np.array([[0.002, -0.5, -3], [-0.002, -0.5, -3], [0.002, -0.001, -3], [0.9, -0.001, -14.6]])
    dimension = kaplan_yorke(exponents, np.full_like(exponents, 0.0011))
    np.testing.assert_allclose(dimension, [1, 1, 2, 2 + 0.9 / 14.6])
    np.testing.assert_allclose(kaplan_yorke(np.array([-0.002, -0.5]), np.array([0.0009, 0.0009])), 0)


@pytest.mark.parametrize(
    ("exponents", "stderr", "horizon", "converged", "name"),
    [
        ([0.9, 0.0, -14.6], 0.02, 100, True, "chaotic"),
        ([0.9, 0.0, -14.6], 0.02, 100, False, "chaotic"),
        ([0.9, 0.0, -14.6], 0.4, 100, False, "not converged"),
        ([0.01, 0.0, -0.01], 0.001, 700, True, "quasi-periodic or regular"),  # log t / t
        ([0.01, 0.0, -0.01], 0.001, 100, False, "not converged"),
        ([0.02, 0.0, -0.02], 0.001, 700, True, "not converged"),  # more than shear, less than chaos
        ([1e-4, -0.3, -5.0], 1e-5, 500, True, "periodic"),
        ([-1e-4, -0.3, -5.0], 1e-5, 500, True, "periodic"),
        ([1e-4, -1e-4, -5.0], 1e-4, 500, True, "quasi-periodic or regular"),
        ([-0.3, -0.3, -5.0], 1e-3, 500, True, "fixed point"),
        ([np.nan, np.nan, np.nan], np.nan, 500, False, "not converged"),
    ],
)
def test_a_spectrum_tells_the_kind_of_motion(exponents, stderr, horizon, converged, name):
    found = motion(np.array(exponents), np.full(3, stderr), horizon=horizon, converged=converged)
    assert found == name


def test_growth_in_proportion_to_time_is_not_taken_for_chaos():
    def sheared(x, tangents, duration):
        return x, np.array([[1.0, duration], [0.0, 1.0]]) @ tangents

    settings = {"interval": 1, "transient": 20, "horizon": 100, "longest": 5000, "absolute": 1e-3}
    result = spectrum(sheared, np.zeros((4, 2)), growth=20, **settings)
    assert result.exponents[0] > 0
    assert motion(result.exponents, result.stderr, horizon=result.horizon, converged=True) != "chaotic"


def test_the_averages_over_blocks_and_the_last_states_are_returned():
    def propagate(x, tangents, duration):
        return x + duration, np.exp(duration * np.array([[[0.1], [-0.1]]])) * tangents

    result = spectrum(propagate, np.zeros((5, 3, 2)), interval=1, transient=7, horizon=64)
    assert result.history.shape[1:] == (5, 3, 2)
    np.testing.assert_allclose(result.history.mean((0, 2)), result.exponents)
    np.testing.assert_allclose(result.last, 71, rtol=1e-9)


def test_shear_whose_volume_only_fluctuates_has_converged_to_zeros():
    def volume(phase):
        return np.exp(0.3 * np.sin(phase))[:, None]

    def propagate(x, tangents, duration):
        shear = np.array([[1.0, duration], [0.0, 1.0]])
        return x + duration, volume(x[:, :1] + duration) / volume(x[:, :1]) * (shear @ tangents)

    settings = {"interval": 1.0, "transient": 50.0, "horizon": 300.0, "longest": 3e4, "absolute": 1e-3, "growth": 20.0}
    result = spectrum(propagate, np.arange(4.0)[:, None] + np.zeros(2), **settings)
    assert result.converged and np.abs(result.exponents).max() < 2e-3, (result.exponents, result.stderr)
