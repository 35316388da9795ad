import numpy as np
import pytest
import xarray as xr
from lorenz63 import PERIOD, STEP, Lorenz, orbit, orbits

from nearorbit.data.observations import observe
from nearorbit.data.pooled import recordings
from nearorbit.data.structure import structure
from nearorbit.study import files
from nearorbit.truth.twins import twin

SERIES = xr.Dataset({"noise": ("component", [0.03, 0.04])})


@pytest.fixture(scope="module")
def exponents():
    states = orbit(orbit(np.array([1.0, 1.0, 25.0]), 500)[-1], 2000)
    return xr.Dataset(
        {
            "states": (("state", "component"), states[::4]),
            "mean": ("component", states.mean(0)),
            "deviation": ("component", states.std(0)),
            "period": PERIOD,
        },
        attrs={"motion": "chaotic", "system": "lorenz63"},
    )


def other(**irregular):
    """Orbits of a system with another clock: twice as slow."""
    made = orbits(seeds=2, count=2, samples=120, **irregular)
    times = {
        name: 2 * made[name] for name in ("step", "period", "gap", "instants", "validation_instants") if name in made
    }
    return made.assign(times)


def simulated(exponents, like):
    speed = Lorenz()(exponents["states"].to_numpy()) / exponents["deviation"].to_numpy()
    rate = float((speed**2).sum(-1).mean() ** 0.5) * STEP / float(like["step"])  # as far from sample to sample
    observed = xr.Dataset({"rate": ("seed", [rate, rate])}, {"component": list("xyz")})
    return twin(Lorenz(), exponents, like, SERIES, observed, label="a_twin", window=2)


def test_a_twin_of_regular_orbits_is_sampled_as_they_are(exponents, tmp_path):
    like = other()
    made = simulated(exponents, like)
    for name in ("train", "validation"):
        assert made[name].shape == like[name].shape and made[name].dims == like[name].dims
    assert float(made["period"] / made["step"]) == pytest.approx(float(like["period"] / like["step"]))
    assert float(made["step"]) == pytest.approx(STEP)
    assert made.sizes["continuation_time"] == round(2 * PERIOD / STEP) and "instants" not in made
    states = made["train"].values
    np.testing.assert_allclose(orbit(states[:, :, 0], 20), states[:, :, :20], atol=1e-3)
    assert np.abs(states[0, 0] - states[0, 1]).max() > 1 and np.abs(states[0] - states[1]).max() > 1
    files.write(made, tmp_path / "orbits.nc", kind="orbits")
    files.read(tmp_path / "orbits.nc", kind="orbits")


def test_a_twin_of_irregular_orbits_is_sampled_at_their_times(exponents, tmp_path):
    like = other(missing=0.3, jitter=0.5)
    made = simulated(exponents, like)
    files.write(made, tmp_path / "orbits.nc", kind="orbits")
    observed = observe(files.read(tmp_path / "orbits.nc", kind="orbits"), exponents, label="a_twin", noise=0.5)
    seen = observe(like, exponents, label="a")
    for name in ("train", "validation"):
        for (states, times), (_, others) in zip(recordings(observed, name, 1), recordings(seen, name, 1), strict=True):
            longest = 1 + float(like["gap"] / like["step"])
            np.testing.assert_allclose(np.diff(times), np.minimum(np.diff(others), longest), atol=1e-9)
            assert len(states) == len(times)
    assert float(observed["gap"] / observed["step"]) == pytest.approx(float(like["gap"] / like["step"]))


def test_its_samples_lie_on_an_orbit(exponents):
    made = simulated(exponents, other(jitter=0.8))
    times, states = (made[name].values[1, 0] for name in ("instants", "sampled"))
    known = np.isfinite(times)
    fine = orbit(made["train"].values[1, 0, 0], 400, step=STEP / 20, substeps=2)
    nearest = np.rint(times[known] / (STEP / 20)).astype(int)
    near = nearest < 400
    apart = np.abs(states[known][near] - fine[nearest[near]]) / exponents["deviation"].values
    assert apart.max() < 0.05, "half a fine step"


def test_it_has_as_much_noise_as_was_estimated_whatever_its_line_says(exponents):
    made = simulated(exponents, orbits(seeds=2, count=1, samples=1500))
    observed = observe(made, exponents, label="a_twin", noise=0.5, noise_in="units")
    noise = (observed["train"] - made["train"]).std(("orbit", "time")) / exponents["deviation"]
    np.testing.assert_allclose(noise, 0.04, rtol=0.1)
    assert observed.attrs["noise"] == pytest.approx(0.04)


def test_the_noise_of_a_series_comes_back_from_its_twin(exponents):
    like = orbits(seeds=1, count=1, samples=1200)
    seen = observe(like, exponents, label="a", noise=0.05)
    told = structure(seen, label="a", theiler=0.5, surrogates=1)
    made = twin(Lorenz(), exponents, like, told, seen, label="a_twin", window=1)
    assert float(made["step"]) == pytest.approx(STEP, rel=0.1), "the rate of noisy samples"
    again = structure(observe(made, exponents, label="a_twin"), label="a_twin", theiler=0.5, surrogates=1)
    np.testing.assert_allclose(again["noise"], told["noise"], rtol=0.25)
