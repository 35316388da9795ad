import numpy as np
import pytest
from scipy.interpolate import make_smoothing_spline

from nearorbit.data.smoothing import smoothed

TIME = np.linspace(0, 6, 200)
CURVE = np.stack([np.sin(TIME), np.cos(2 * TIME)], -1)


def test_the_spline_of_clean_samples_interpolates_between_them():
    fine = np.linspace(0, 6, 399)
    np.testing.assert_allclose(
        smoothed(CURVE)[10:-10], np.stack([np.sin(fine), np.cos(2 * fine)], -1)[10:-10], atol=1e-4
    )


def test_the_spline_of_noisy_samples_is_closer_to_the_truth_than_they_are():
    noise = 0.1 * np.random.default_rng(0).standard_normal(CURVE.shape)
    error = smoothed(CURVE + noise)[::2] - CURVE
    assert (error**2).mean() < 0.25 * (noise**2).mean()


def test_it_is_the_spline_of_scipy_which_looks_for_small_penalties_only():
    curve = CURVE + 0.003 * np.random.default_rng(0).standard_normal(CURVE.shape)
    fine = np.linspace(0, len(curve) - 1, 3 * (len(curve) - 1) + 1)
    theirs = [make_smoothing_spline(np.arange(len(curve), dtype=float), line)(fine) for line in curve.T]
    np.testing.assert_allclose(smoothed(curve, refinement=3), np.stack(theirs, -1), atol=2e-4)


def test_a_given_penalty_is_that_of_scipy():
    noisy = CURVE + 0.1 * np.random.default_rng(0).standard_normal(CURVE.shape)
    fine = np.linspace(0, len(noisy) - 1, 2 * (len(noisy) - 1) + 1)
    theirs = [make_smoothing_spline(np.arange(len(noisy), dtype=float), line, lam=30.0)(fine) for line in noisy.T]
    np.testing.assert_allclose(smoothed(noisy, penalty=30.0), np.stack(theirs, -1), atol=1e-9)


def test_orbits_are_smoothed_one_by_one():
    orbits = np.random.default_rng(0).standard_normal((2, 3, 20, 2))
    np.testing.assert_array_equal(smoothed(orbits, refinement=4)[1, 2], smoothed(orbits[1, 2], refinement=4))


def test_too_short_an_orbit_is_refused():
    with pytest.raises(ValueError, match="at least 5 samples"):
        smoothed(CURVE[:4])
