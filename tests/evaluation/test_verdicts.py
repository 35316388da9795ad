import numpy as np
import pytest

from nearorbit.evaluation.verdicts import WORDS, agreement, beats, concluded, interval, off, strayed


def test_another_seed_lies_within_the_interval_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0.9, 0.02, (4000, 4, 1))
    held = [abs(one[3] - interval(one[:3], 0 * one[:3])[0]) <= interval(one[:3], 0 * one[:3])[1] for one in seeds]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


def test_seeds_that_happen_to_agree_are_no_surer_than_their_orbits():
    _, half = interval(np.full((3, 2), 0.9), np.full((3, 2), 0.01))
    np.testing.assert_allclose(half, 4.303 * (4 / 3) ** 0.5 * 0.01, rtol=1e-3)


def test_what_a_method_is_off_by_on_a_twin_is_in_its_interval():
    values = np.array([[0.9], [0.92], [0.88]])
    _, alone = interval(values, 0 * values)
    _, half = interval(values, 0 * values, np.array([0.3]))
    assert half == pytest.approx(np.hypot(alone, 0.6))


def test_of_a_single_seed_no_scatter_is_known():
    mean, half = interval(np.array([[0.9, 0.0]]), np.array([[0.01, 0.01]]))
    assert mean[0] == 0.9 and np.isnan(half).all()


def test_what_is_off_is_a_root_mean_square_over_seeds():
    np.testing.assert_allclose(off(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, 0.0])), [0.5**0.5, 0])


def test_methods_agree_within_their_intervals_and_not_with_themselves():
    agree = agreement(np.array([0.9, 1.0, 2.0]), np.array([0.06, 0.09, np.nan]))
    np.testing.assert_array_equal(agree.sum(1), [1, 1, 0])


def test_forecasts_have_to_be_valid_for_longer_than_both_that_know_nothing():
    rng = np.random.default_rng(0)
    times = rng.uniform(0.5, 1.5, (3, 50))
    assert beats(times, 0.5 * times, 0.2 * times)
    assert not beats(times, 1.0 * times, 0.2 * times) and not beats(times, 0.1 * times, 1.5 * times)


@pytest.mark.parametrize(
    ("character", "leading", "half", "forecasts", "word"),
    [
        ("irregular", 0.9, 0.1, True, "chaos"),
        ("irregular", 0.9, 1.0, True, "undecided"),
        ("irregular", 0.9, np.nan, True, "undecided"),
        ("irregular", -0.9, 0.1, True, "no chaos"),
        ("irregular", 0.9, 0.1, False, "nothing"),
        ("nonlinear", 0.9, 0.1, True, "undecided"),
        ("regular", 0.9, 0.1, True, "regular"),
        ("linear", 0.9, 0.1, True, "linear"),
        ("nothing", 0.9, 0.1, True, "nothing"),
    ],
)
def test_chaos_takes_a_series_that_is_irregular_forecasts_and_an_exponent_above_zero(
    character, leading, half, forecasts, word
):
    assert concluded(character, leading, half, forecasts=forecasts) == word and word in WORDS


def test_a_seed_has_strayed_if_its_attractor_is_not_that_of_the_recording_or_it_has_none():
    floor = np.full(4, 0.3)
    assert strayed(np.array([0.1, 1.2, 7.0, np.nan]), floor).tolist() == [False, False, True, True]
