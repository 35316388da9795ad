from dataclasses import replace

import numpy as np
import pytest

from nearorbit.data.kalman import PIECE, Chain, Levels, _System, _telling, fit, smooth

LEVELS = Levels(np.array([0.01, 0.02]), np.array([0.003, 0.001]))


def rotating(orbits, samples, levels, *, seed=0, angle=0.3):
    """A linear flow that turns around, with model error, and what is observed of it; the true states too."""
    stream, turn = (
        np.random.default_rng(seed),
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]),
    )
    states = np.empty((orbits, samples, 2))
    states[:, 0] = stream.standard_normal((orbits, 2))
    for t in range(samples - 1):
        states[:, t + 1] = states[:, t] @ turn.T + 0.1 + np.sqrt(levels.error) * stream.standard_normal((orbits, 2))
    observed = states + np.sqrt(levels.noise) * stream.standard_normal(states.shape)
    maps = np.broadcast_to(turn, (orbits, samples - 1, 2, 2)).copy()
    return Chain(observed, maps, np.full((orbits, samples - 1, 2), 0.1)), states


def dense(chain, levels):
    """The precision, mean and likelihood of one orbit by dense matrices: H = R^-1 + A' Q^-1 A with A x = w."""
    observed, maps, offsets = chain.observed[0], chain.maps[0], chain.offsets[0]
    samples, dimension = observed.shape
    steps = np.zeros((offsets.size, observed.size))
    for t in range(samples - 1):
        rows = slice(t * dimension, (t + 1) * dimension)
        steps[rows, rows] = -maps[t]
        steps[rows, (t + 1) * dimension : (t + 2) * dimension] = np.eye(dimension)
    noise, error = np.tile(levels.noise, samples), np.tile(levels.error, samples - 1)
    precision = np.diag(1 / noise) + steps.T @ np.diag(1 / error) @ steps
    mean = np.linalg.solve(precision, observed.ravel() / noise + steps.T @ (offsets.ravel() / error))
    # flat along the first state: what is observed of the steps has this covariance
    covariance = np.diag(error) + steps @ np.diag(noise) @ steps.T
    left = steps @ observed.ravel() - offsets.ravel()
    likelihood = -0.5 * (left @ np.linalg.solve(covariance, left) + np.linalg.slogdet(covariance)[1])
    return precision, mean.reshape(samples, dimension), likelihood


def test_states_are_the_mean_of_the_posterior_by_dense_matrices():
    chain, _ = rotating(1, 7, LEVELS)
    np.testing.assert_allclose(smooth(chain, LEVELS), dense(chain, LEVELS)[1][None], rtol=1e-10)


def test_the_likelihood_is_that_of_the_steps_that_were_observed():
    chain, _ = rotating(1, 7, LEVELS)
    other = Levels(LEVELS.noise, 3 * LEVELS.error)
    systems = [_System(chain, levels) for levels in (LEVELS, other)]
    found = [-0.5 * (system.misfit + system.volume) for system in systems]
    expected = [dense(chain, levels)[2] for levels in (LEVELS, other)]
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-9)


def test_orbits_are_drawn_with_the_covariance_of_the_posterior():
    chain, _ = rotating(1, 4, LEVELS)
    many = Chain(*(np.repeat(part, 20_000, 0) for part in (chain.observed, chain.maps, chain.offsets)))
    drawn = _System(many, LEVELS).draw(np.random.default_rng(0)).reshape(20_000, -1)
    expected = np.linalg.inv(dense(chain, LEVELS)[0])
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert abs((np.cov(drawn.T) - expected) / scale).max() < 0.05


def test_an_orbit_is_smoothed_as_it_is_alone():
    chain, _ = rotating(5, 30, LEVELS)
    np.testing.assert_array_equal(smooth(chain, LEVELS)[2:3], smooth(chain[2:3], LEVELS))


def test_of_no_orbits_there_are_no_states():
    chain, _ = rotating(2, 30, LEVELS)
    assert smooth(chain[:0], LEVELS).shape == (0, 30, 2)


def test_orbits_in_parts_are_those_of_all_at_once(monkeypatch):
    chain, _ = rotating(5, 30, LEVELS)
    whole = smooth(chain, LEVELS)
    monkeypatch.setattr("nearorbit.data.kalman.TOGETHER", 130)
    np.testing.assert_array_equal(smooth(chain, LEVELS), whole)


@pytest.mark.parametrize("ratio", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("start", [(0.1, 0.1), (1e-4, 1.0), (1e-6, 1e-6), (1.0, 1e-4)])
def test_levels_are_found_from_levels_far_away(ratio, start):
    true = Levels(np.array([0.01, 0.02]), ratio * np.array([0.01, 0.02]))
    chain, _ = rotating(40, 300, true)
    stream, levels = np.random.default_rng(0), Levels(*(np.full(2, value) for value in start))
    for _ in range(6):  # as often as in a short training
        levels = fit(chain, levels, stream)
    np.testing.assert_allclose(np.sqrt(levels.noise), np.sqrt(true.noise), rtol=0.06)
    np.testing.assert_allclose(np.sqrt(levels.error.mean()), np.sqrt(true.error.mean()), rtol=0.2)


@pytest.mark.parametrize("lengths", [(1, 2999), (2, 2999), (12, 2999), (2999, 12), (1, 1, 1), (1, 40, 2999, 3, 700)])
def test_short_orbits_do_not_stand_for_long_ones(lengths, monkeypatch):
    """Of many samples some orbits tell: not the first ones, whatever their lengths."""
    monkeypatch.setattr("nearorbit.data.kalman.ENOUGH", (2**12, 2**12))
    true = Levels(np.array([0.01, 0.02]), np.array([1e-4, 2e-4]))
    chain, _ = rotating(len(lengths), 3000, true)
    there = np.arange(3000) < np.array(lengths)[:, None]
    chain = replace(chain, there=there, weights=(there[:, 1:] & there[:, :-1]).astype(float))
    if not chain.ties:
        assert fit(chain, true, np.random.default_rng(0)) == true  # nothing is told
        return
    levels = fit(chain, true, np.random.default_rng(0))
    np.testing.assert_allclose(np.sqrt(levels.noise), np.sqrt(true.noise), rtol=0.06)


@pytest.mark.parametrize(("orbits", "samples"), [(1, 20_000), (3, 9001), (40, 500), (1, 1000)])
def test_no_more_samples_tell_levels_than_are_enough_however_long_an_orbit(orbits, samples):
    chain, _ = rotating(orbits, samples, LEVELS)
    pieces, enough = chain.cut(PIECE), 2**13
    assert pieces.observed.shape[1] < 2 * PIECE and pieces.count > 0.98 * chain.count
    assert _telling(pieces, enough).observed.size < 2 * enough
    first = pieces.observed.shape[1]
    np.testing.assert_array_equal(pieces.observed[:1], chain.observed[:1, :first])
    np.testing.assert_array_equal(pieces.maps[:1], chain.maps[:1, : first - 1])
    if len(pieces.observed) > orbits:
        np.testing.assert_array_equal(pieces.offsets[1], chain.offsets[0, first : 2 * first - 1])
    levels = fit(chain, Levels(np.full(2, 0.1), np.full(2, 0.1)), np.random.default_rng(0))
    np.testing.assert_allclose(np.sqrt(levels.noise), np.sqrt(LEVELS.noise), rtol=0.1)


def test_without_noise_there_is_hardly_any():
    chain, _ = rotating(40, 300, Levels(np.full(2, 1e-14), np.full(2, 1e-4)))
    found = fit(chain, Levels(np.full(2, 1e-3), np.full(2, 1e-3)), np.random.default_rng(0))
    assert (found.noise < 0.01 * found.error).all()


def test_smoothing_leaves_less_noise_than_there_was():
    chain, states = rotating(20, 100, LEVELS)
    assert ((smooth(chain, LEVELS) - states) ** 2).mean() < 0.5 * ((chain.observed - states) ** 2).mean()


@pytest.mark.parametrize("size", [1e4, 1e8, 1e12])
@pytest.mark.parametrize("error", [1e-12, 1e-6])
def test_a_flow_that_stretches_without_measure_spoils_no_other_orbit(size, error):
    levels = Levels(np.full(2, 0.01), np.full(2, error))
    chain, _ = rotating(2, 40, levels)
    wild = replace(chain, maps=chain.maps.copy())
    wild.maps[0, ::2] += size * np.array([[1.0, 2.0], [3.0, 6.0]])  # of rank one
    found = smooth(wild, levels)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1], smooth(chain, levels)[1], rtol=1e-10)
    assert np.isfinite(fit(wild, levels, np.random.default_rng(0)).noise).all()


def test_of_large_dimensions_too():
    stream, (orbits, samples, dimension) = np.random.default_rng(0), (2, 6, 7)
    maps = stream.standard_normal((orbits, samples - 1, dimension, dimension)) / 3
    chain = Chain(
        stream.standard_normal((orbits, samples, dimension)), maps, np.zeros((orbits, samples - 1, dimension))
    )
    levels = Levels(stream.uniform(0.1, 1, dimension), stream.uniform(0.1, 1, dimension))
    np.testing.assert_allclose(smooth(chain, levels)[0], dense(chain, levels)[1], rtol=1e-9)


def test_what_follows_after_a_gap_is_another_orbit_and_what_fills_up_is_none():
    chain, _ = rotating(1, 30, LEVELS)
    weights = np.ones((1, 29))
    weights[:, 12] = 0
    there = np.ones((1, 30), bool)
    there[:, 25:], weights[:, 24:] = False, 0
    broken = replace(chain, weights=weights, there=there)
    parts = [
        Chain(chain.observed[:, begin:end], *(of[:, begin : end - 1] for of in (chain.maps, chain.offsets)))
        for begin, end in ((0, 13), (13, 25))
    ]
    found = smooth(broken, LEVELS)
    np.testing.assert_allclose(found[:, :25], np.concatenate([smooth(part, LEVELS) for part in parts], 1), rtol=1e-9)
    np.testing.assert_allclose(found[:, 25:], chain.observed[:, 25:], rtol=1e-12)
    one, two = _System(broken, LEVELS), [_System(part, LEVELS) for part in parts]
    np.testing.assert_allclose(one.misfit, sum(part.misfit for part in two), rtol=1e-9)
    np.testing.assert_allclose(one.volume, sum(part.volume for part in two), rtol=1e-9)
    assert broken.ties == 23 and broken.count == 25


def test_a_model_errs_by_the_time_that_it_has():
    stream = np.random.default_rng(0)
    chain, _ = rotating(4, 2000, LEVELS)
    times = stream.uniform(0.5, 3.0, (4, 1999))
    states, noise = np.zeros((4, 2000, 2)), np.sqrt(LEVELS.noise) * stream.standard_normal((4, 2000, 2))
    for t in range(1999):
        error = times[:, t, None] * np.sqrt(LEVELS.error) * stream.standard_normal((4, 2))
        states[:, t + 1] = (chain.maps[:, t] @ states[:, t, :, None])[..., 0] + chain.offsets[:, t] + error
    uneven = replace(chain, observed=states + noise, weights=1 / times**2)
    levels = fit(uneven, Levels(np.full(2, 0.1), np.full(2, 0.1)), np.random.default_rng(1))
    np.testing.assert_allclose(levels.noise, LEVELS.noise, rtol=0.2)
    np.testing.assert_allclose(levels.error.mean(), LEVELS.error.mean(), rtol=0.2)
    assert ((smooth(uneven, levels) - states) ** 2).mean() < 0.6 * (noise**2).mean()
