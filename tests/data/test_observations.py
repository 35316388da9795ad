import numpy as np
import pytest
import xarray as xr
from lorenz63 import Lorenz, observations, orbits

from nearorbit.data.observations import noiseless, observe
from nearorbit.data.smoothing import smoothed
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock


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


@pytest.mark.parametrize("irregular", [{}, {"missing": 0.1, "jitter": 0.3, "gap": 6.0}], ids=["even", "uneven"])
@pytest.mark.parametrize(
    "seen", [{}, {"components": 2}, {"components": 1, "delay": {"dimension": 3, "lag": 2}}], ids=str
)
def test_what_was_observed_is_known_without_its_noise(irregular, seen):
    clean, statistics = orbits(count=2, **irregular), xr.Dataset({"deviation": ("component", np.ones(3))})
    observed, noisy = (observe(clean, statistics, label="Lorenz", noise=noise, **seen) for noise in (0.0, 0.1))
    xr.testing.assert_equal(noiseless(clean, noisy)["train"], observed["train"])


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


def seen(given, **settings):
    statistics = xr.Dataset({"deviation": ("component", [1.0, 2.0, 3.0])})
    return observe(given, statistics, label="Lorenz", noise=0.5, **settings)


def test_noise_is_relative_to_what_is_asked():
    clean = orbits(samples=3000)
    means = abs(clean["train"].mean(["orbit", "time"]))
    for noise_in, unit in (("deviations", np.array([1.0, 2.0, 3.0])), ("units", np.ones(3)), ("means", means)):
        noise = (seen(clean, noise_in=noise_in)["train"] - clean["train"]).std(["orbit", "time"])
        np.testing.assert_allclose(noise / unit, 0.5, rtol=0.05)


def test_the_first_sample_of_each_orbit_may_have_no_noise_and_the_others_keep_theirs():
    clean = orbits(count=2)
    noisy, usual = seen(clean, noiseless_start=True), seen(clean)
    for name in ("train", "validation"):
        np.testing.assert_array_equal(noisy[name][:, :, 0], clean[name][:, :, 0])
        np.testing.assert_array_equal(noisy[name][:, :, 1:], usual[name][:, :, 1:])
        assert (usual[name][:, :, 0] != clean[name][:, :, 0]).all()


def test_shared_noise_of_shared_orbits_makes_equal_data_of_all_seeds():
    clean = orbits(seeds=3)
    clean["train"][:], clean["validation"][:] = clean["train"][0], clean["validation"][0]
    shared, fresh = seen(clean, shared=True), seen(clean)
    assert len(set(shared["fingerprint"].values)) == 1 and len(set(fresh["fingerprint"].values)) == 3
    for name in ("train", "validation"):
        np.testing.assert_array_equal(shared[name], np.stack([fresh[name][0]] * 3))


def test_smoothed_data_are_the_splines_of_the_data_with_the_same_noise(monkeypatch):
    clean = orbits(count=5, samples=100)
    monkeypatch.setattr("nearorbit.data.observations.TOGETHER", 2)
    noisy, smooth = seen(clean), seen(clean, smooth="spline")
    for name in ("train", "validation"):
        np.testing.assert_allclose(smooth[name], smoothed(noisy[name].to_numpy(), refinement=1), rtol=1e-12)
        assert abs(smooth[name] - clean[name]).mean() < 0.8 * abs(noisy[name] - clean[name]).mean()
    np.testing.assert_allclose(smooth["mean"], smooth["train"].mean(["orbit", "time"]))
    assert (smooth["fingerprint"] != noisy["fingerprint"]).all()
    assert (noisy.attrs["smooth"], smooth.attrs["smooth"]) == ("none", "spline")


def test_what_follows_the_orbits_gets_noise_of_its_own_and_is_never_smoothed():
    clean = orbits()
    longer = clean.assign(continuation=clean["train"].rename(time="continuation_time"))
    noisy, smooth = seen(longer, noiseless_start=True), seen(longer, smooth="spline")
    xr.testing.assert_identical(noisy.drop_dims("continuation_time"), seen(clean, noiseless_start=True))
    np.testing.assert_array_equal(smooth["continuation"], noisy["continuation"])
    noise = noisy["continuation"].to_numpy() - clean["train"].to_numpy()
    assert abs(noise - (noisy["train"] - clean["train"]).to_numpy()).min((0, 1, 2)).max() > 0
    np.testing.assert_allclose(noise.std((0, 1, 2)), [0.5, 1.0, 1.5], rtol=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"noise_in": "volts"}, "noise_in is one of deviations, means, units, not 'volts'"), ({"smooth": True}, "smooth")],
)
def test_what_is_no_way_to_observe_is_refused(settings, message):
    with pytest.raises(StudyError, match=message):
        seen(orbits(samples=20), **settings)


def test_orbits_too_short_for_a_spline_are_refused():
    with pytest.raises(StudyError, match="at least 5 samples of an orbit, not 4; take longer orbits or recordings"):
        seen(orbits(samples=16), smooth="spline")


def test_negative_noise_is_refused():
    with pytest.raises(ValueError, match="noise must be at least 0"):
        observations(-0.1)


@pytest.mark.parametrize("irregular", [{"missing": 0.3}, {"jitter": 1.0}, {"missing": 0.5, "jitter": 0.5, "gap": 5.0}])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_means_deviations_and_speed_are_about_those_of_all_samples(irregular, noise):
    usual, observed = observations(noise, samples=3000), observations(noise, samples=3000, **irregular)
    np.testing.assert_allclose(observed["scale"], usual["scale"], rtol=0.05)
    # Where half are missing, pairs are so far apart that orbits turn in between.
    np.testing.assert_allclose(observed["rate"], usual["rate"], rtol=0.15 if irregular.get("missing") == 0.5 else 0.1)
    assert not Clock.of(observed).even and Clock.of(usual).even


def test_irregular_orbits_are_smoothed_each_along_its_own_times():
    noisy, smooth = (seen(orbits(count=2, samples=200, missing=0.3, jitter=0.5), smooth=s) for s in (None, "spline"))
    clock = Clock.of(noisy)
    for place in np.ndindex(2, 2):
        count = clock.counts[place]
        expected = smoothed(noisy["train"].to_numpy()[place][:count], clock.times[place][:count], refinement=1)
        np.testing.assert_allclose(smooth["train"].to_numpy()[place][:count], expected, rtol=1e-10)
    xr.testing.assert_identical(noisy["instants"], smooth["instants"])
