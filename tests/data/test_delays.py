"""Delays: how far apart, how many, and orbits that are seen with them."""

import numpy as np
import pytest
from lorenz63 import PERIOD, observations, orbit, orbits
from scipy.spatial import cKDTree

from nearorbit.data.delays import (
    Delays,
    embedding_dimension,
    false_neighbors,
    first_minimum,
    least_dimension,
    mutual_information,
)
from nearorbit.data.observations import observe
from nearorbit.data.partial import partial
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock

STEP = 0.02
START = np.array([1.0, 1.0, 25.0])


def sine(count=4000, period=40.0):
    return np.sin(2 * np.pi * np.arange(count) / period)[:, None]


def test_delays_are_what_was_seen_so_many_samples_before():
    states = np.arange(40.0).reshape(20, 2)
    delays = Delays((1,), dimension=3, lag=4)
    made = delays(states)
    assert made.shape == (12, 3) and delays.names(["a", "b"]) == ["b", "b(-4)", "b(-8)"]
    assert np.array_equal(made, np.stack([states[8:, 1], states[4:-4, 1], states[:-8, 1]], 1))


def test_the_information_of_a_variable_in_itself_is_its_entropy_and_of_noise_is_none():
    noise = np.random.default_rng(0).standard_normal((20000, 1))
    information = mutual_information([noise], 3)
    bins = 32
    assert abs(information[0] - np.log(bins)) < 1e-3
    assert (information[1:] < 2 * bins**2 / 20000).all()  # the bias of the histogram alone


def test_runs_are_not_joined():
    runs = np.split(sine(), 8)
    together = mutual_information([sine()], 15)
    assert np.allclose(mutual_information(runs, 15), together, atol=0.1)
    assert not np.allclose(mutual_information([np.concatenate(runs[::-1])], 500)[480:], together[-1], atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_of_one_component_of_lorenz_three_delays_are_found(noise):
    x = orbit(orbit(START, 500)[-1], 5000, step=STEP)[:, :1]
    x = x + noise * x.std() * np.random.default_rng(0).standard_normal(x.shape)
    lag = first_minimum(mutual_information([x], round(PERIOD / STEP)), PERIOD / STEP)
    assert 7 <= lag <= 10  # 0.14 to 0.2; 0.16 to 0.18 in the literature
    assert least_dimension(false_neighbors([x], lag, window=round(PERIOD / STEP / 2))) == 3


def test_of_a_circle_two_delays_are_found():
    x = sine(period=40.37)
    lag = first_minimum(mutual_information([x], 40), 40.37)
    assert least_dimension(false_neighbors([x], lag, window=20)) == 2


@pytest.mark.parametrize(
    ("shares", "least", "taken"),
    [
        ([0.9, 0.1, 0.001, 0.0, 0.0, 0.0], 3, 5),  # Lorenz' x: more than twice 2.06
        ([0.9, 0.001, 0.0, 0.0, 0.0, 0.0], 2, 3),  # a cycle: more than twice 1
        ([0.004, 0.0, 0.0], 1, 1),  # the whole state
        ([0.9, 0.3, 0.1, 0.0], 4, 5),  # orbits have no 128 states with six more lags
        ([], 1, 1),
    ],
)
def test_more_delays_are_taken_than_twice_the_dimension_of_the_attractor_if_orbits_are_long_enough(
    shares, least, taken
):
    assert (least_dimension(np.array(shares)), embedding_dimension(np.array(shares))) == (least, taken)


def test_the_field_of_lorenz_is_smoother_on_five_delays_of_x_than_on_the_three_that_tell_its_states_apart():
    x = orbit(orbit(START, 500)[-1], 12000, step=STEP)[:, :1]
    off = []
    for dimension in (3, 5):
        states = Delays((0,), dimension, 8)(x)[:-1]
        moved = np.diff(x[8 * (dimension - 1) :, 0])
        distance, near = cKDTree(states).query(states[::20], 2)
        off.append(np.quantile(np.abs(moved[near[:, 1]] - moved[::20]) / distance[:, 1], 0.9))
    assert off[1] < 0.6 * off[0], off  # how much more the motion of neighbors differs than they do


def test_without_a_minimum_the_lag_is_a_quarter_of_a_period():
    assert first_minimum(np.linspace(2, 1, 41), 40) == 10


def noisy(**settings):
    noiseless = orbits(**settings)
    exponents = noiseless.assign(deviation=noiseless["train"].std(["seed", "orbit", "time"]))
    return noiseless, exponents


def test_at_equal_intervals_what_is_delayed_is_the_noisy_orbit_itself():
    noiseless, exponents = noisy(samples=300)
    noiseless = noiseless.assign_coords(component=["x", "y", "z"])
    whole = observe(noiseless, exponents, label="Lorenz", noise=0.1)
    delay = {"dimension": 3, "lag": 5}
    seen = observe(noiseless, exponents, label="Lorenz", noise=0.1, components=["z"], delay=delay)
    assert list(seen["component"].values) == ["z", "z(-5)", "z(-10)"] and Clock.of(seen).even
    assert "integration_error" not in seen, "what is right for the true field is not for one of delays"
    for number in range(3):
        assert np.array_equal(seen["train"][..., number], whole["train"][:, :, 10 - 5 * number : 300 - 5 * number, 2])
    assert Delays.of(seen) == Delays((2,), 3, 5)


def test_at_uneven_times_the_past_is_that_of_the_orbit_and_within_a_run():
    noiseless, exponents = noisy(samples=600, step=0.01, missing=0.2, jitter=0.5, gap=4.0)
    noiseless = noiseless.assign_coords(component=["x", "y", "z"])
    seen = observe(noiseless, exponents, label="Lorenz", components=["x"], delay={"dimension": 3, "lag": 8})
    clock = Clock.of(seen)
    step = float(seen["step"])
    start = noiseless["train"].values[:, :, 0]
    errors = []
    for seed in range(2):
        fine = orbit(start[seed, 0], 6000, step=step / 10, substeps=2)[:, 0]
        count = clock.counts[seed, 0]
        instants = seen["instants"].values[seed, 0, :count] / step
        for late in (0, 8, 16):
            true = np.interp(10 * (instants - late), np.arange(6000), fine)
            errors.append(seen["train"].values[seed, 0, :count, late // 8] - true)
        given = noiseless["instants"].values[seed, 0] / step
        assert set(instants.round(9)) <= set(given[np.isfinite(given)].round(9))
    assert np.sqrt(np.mean(np.concatenate(errors) ** 2)) < 0.02, "of a deviation of eight"


def test_delays_that_are_longer_than_rows_are_refused():
    with pytest.raises(StudyError, match="states look 40 samples back, and there are at most 30 in a row"):
        partial(observations(samples=30), label="Lorenz", components=None, delay={"dimension": 2, "lag": 40})
    named = observations(samples=30).assign_coords(component=["x", "y", "z"])
    with pytest.raises(StudyError, match="Lorenz has no 'w'; it has x, y, z"):
        partial(named, label="Lorenz", components=["w"], delay=None)


@pytest.mark.parametrize("delay", [{"dimension": "auto", "lag": "auto"}, {"dimension": 2, "lag": 5}])
def test_what_tells_delays_stays_in_the_observations_whether_it_was_asked_or_not(delay):
    noiseless, exponents = noisy(samples=2000)
    noiseless = noiseless.assign_coords(component=["x", "y", "z"])
    seen = observe(noiseless, exponents, label="Lorenz", components=["x"], delay=delay)
    information, shares = seen["mutual_information"].to_numpy(), seen["false_neighbors"].to_numpy()
    x = noiseless["train"].values[0, 0][:, :1]
    period = float(noiseless["period"] / noiseless["step"])
    np.testing.assert_array_equal(information, mutual_information([x], round(period)))
    assert list(seen["embedding"]) == list(range(1, 11)) and seen["mutual_information"].attrs["units"] == "nats"
    np.testing.assert_array_equal(
        shares[np.isfinite(shares)], false_neighbors([x], seen.attrs["lag"], window=round(period / 2))
    )
    if delay["lag"] == "auto":
        assert seen.attrs["lag"] == first_minimum(information, period)
        assert seen.attrs["dimension"] == embedding_dimension(shares[np.isfinite(shares)])
    else:
        assert (seen.attrs["dimension"], seen.attrs["lag"]) == (2, 5)
