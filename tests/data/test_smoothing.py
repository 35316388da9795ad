import numpy as np
import pytest
from lorenz63 import observations
from scipy.interpolate import make_smoothing_spline

from nearorbit.data.smoothing import evenly, slopes, smoothed
from nearorbit.study.clock import Clock

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


def test_at_uneven_times_a_spline_is_that_of_scipy_with_its_derivative():
    times = np.sort(np.random.default_rng(1).uniform(0, 60, 80))
    noise = 0.1 * np.random.default_rng(0).standard_normal((80, 2))
    noisy = np.stack([np.sin(times / 3), np.cos(times / 5)], -1) + noise
    fine = np.append(times[:-1, None] + np.diff(times)[:, None] * np.arange(3) / 3, times[-1])
    for penalty in (0.01, 1.0, 50.0):
        theirs = [make_smoothing_spline(times, line, lam=penalty) for line in noisy.T]
        ours = smoothed(noisy, times, refinement=3, penalty=penalty)
        np.testing.assert_allclose(ours, np.stack([spline(fine) for spline in theirs], -1), atol=1e-7)
        rates = np.stack([spline(times, 1) for spline in theirs], -1)
        np.testing.assert_allclose(slopes(ours[::3], times), rates, atol=1e-7)


def test_equal_intervals_that_are_given_make_the_same_spline_to_the_bit():
    curve = CURVE + 0.1 * np.random.default_rng(0).standard_normal(CURVE.shape)
    np.testing.assert_array_equal(smoothed(curve, np.arange(len(curve), dtype=float)), smoothed(curve))


def test_splines_of_gappy_orbits_are_read_at_equal_intervals_within_runs():
    clock = Clock.of(observations(samples=300, missing=0.2, jitter=0.5))[:1]
    curve = lambda t: np.stack([np.sin(t / 4), np.cos(t / 4)], -1)  # noqa: E731
    states, even = evenly(curve(clock.times), clock)
    there = even.there[0, 0]
    np.testing.assert_allclose(states[0, 0][there][5:-5], curve(even.times[0, 0])[there][5:-5], atol=2e-3)
    steps = np.diff(even.times[0, 0][there])
    assert (np.isclose(steps, 1) | (steps > clock.gaps[0])).all() and (steps > 1.5).sum() > 1
    assert even.longest() == pytest.approx(clock.longest() * 1.25, rel=0.3)
