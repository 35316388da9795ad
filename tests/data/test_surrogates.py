import numpy as np
import pytest
from lorenz63 import orbit

from nearorbit.data.surrogates import joined, surrogates


@pytest.fixture(scope="module")
def series():
    return orbit(orbit(np.array([1.0, 1.0, 25.0]), 500)[-1], 1000)


@pytest.fixture(scope="module")
def made(series):
    return surrogates(series, 5, np.random.default_rng(0))


def power(states):
    return np.abs(np.fft.rfft(states - states.mean(0), axis=0)) ** 2


def test_a_surrogate_has_the_values_of_the_series(series, made):
    assert made.shape == (5, 1000, 3)
    for one in made:
        np.testing.assert_array_equal(np.sort(one, 0), np.sort(series, 0))


def test_a_surrogate_has_the_spectra_and_cross_correlations_of_the_series(series, made):
    for one in made:
        wrong = np.square(np.sqrt(power(one)) - np.sqrt(power(series))).sum(0) / power(series).sum(0)
        assert (wrong < 0.005).all(), wrong
        np.testing.assert_allclose(np.corrcoef(one.T), np.corrcoef(series.T), atol=0.02)


def test_a_surrogate_has_lost_the_asymmetry_in_time(series, made):
    def asymmetry(z):
        rise = np.diff(z)
        return (rise**3).mean() / (rise**2).mean() ** 1.5

    assert abs(asymmetry(series[:, 2])) > 3 * max(abs(asymmetry(one[:, 2])) for one in made)


def test_surrogates_of_a_delayed_copy_are_delayed_copies(series):
    copies = np.stack([series[:, 0], np.roll(series[:, 0], 7)], 1)
    for one in surrogates(copies, 2, np.random.default_rng(0)):
        assert np.abs(np.roll(one[:, 0], 7) - one[:, 1]).max() < 1e-9


def test_no_two_surrogates_are_alike_and_the_same_generator_makes_the_same(series, made):
    assert np.abs(made[0] - made[1]).max() > 1
    np.testing.assert_array_equal(surrogates(series, 5, np.random.default_rng(0)), made)


def test_a_piece_is_found_whose_end_leads_to_its_beginning():
    line = np.cos(2 * np.pi * np.arange(105) / 20)[:, None]
    piece = line[joined(line)]
    assert len(piece) == 100
    assert np.abs(np.fft.rfft(piece[:, 0]))[[4, 6]].max() < 1e-9, "some power leaks"
