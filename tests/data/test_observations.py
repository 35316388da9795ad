import numpy as np
import pytest
import xarray as xr
from lorenz63 import Lorenz, observations, orbits

from nearorbit.data.observations import observe


def test_noise_has_the_asked_share_of_each_deviation():
    clean, noisy = observations(0.0, samples=2000), observations(0.05, samples=2000)
    noise = (noisy["train"] - clean["train"]).std(["seed", "orbit", "time"])
    asked = 0.05 * clean["train"].std(["seed", "orbit", "time"])
    np.testing.assert_allclose(noise, asked, rtol=0.05)


def test_noise_is_fresh_for_each_seed_and_the_same_for_the_same_seed():
    clean = orbits(seeds=3)
    clean["train"][:] = clean["train"].isel(seed=0)
    statistics = xr.Dataset({"deviation": ("component", np.ones(3))})
    noisy = observe(clean, statistics, label="Lorenz", noise=0.1)["train"]
    assert abs(noisy[0] - noisy[1]).max() > 0
    alone = observe(clean.isel(seed=[1]), statistics, label="Lorenz", noise=0.1)["train"]
    np.testing.assert_array_equal(noisy[1], alone[0])


def test_observing_leaves_the_orbits_as_they_were():
    clean = orbits()
    kept = clean.copy(deep=True)
    observe(clean, xr.Dataset({"deviation": ("component", np.ones(3))}), label="Lorenz", noise=0.1)
    xr.testing.assert_identical(clean, kept)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_mean_speed_is_one_in_model_time_whatever_the_noise(noise):
    observed = observations(noise, samples=3000)
    velocity = Lorenz()(orbits(samples=3000)["train"].to_numpy()) / observed["scale"].to_numpy()[:, None, None]
    speed = np.sqrt((velocity**2).sum(-1).mean((1, 2)))
    np.testing.assert_allclose(observed["rate"], speed, rtol=0.05)


def test_of_many_states_those_to_train_on_are_rounded(monkeypatch):
    double = observations(0.05)
    monkeypatch.setattr("nearorbit.data.observations.MANY", 599)
    single = observations(0.05)
    assert single["train"].dtype == np.float32 and single["validation"].dtype == np.float64
    np.testing.assert_array_equal(single["train"], double["train"].astype(np.float32))
    xr.testing.assert_identical(single.drop_vars(["train", "fingerprint"]), double.drop_vars(["train", "fingerprint"]))


def test_negative_noise_is_refused():
    with pytest.raises(ValueError, match="noise must be at least 0"):
        observations(-0.1)
