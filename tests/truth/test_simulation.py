import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from nearorbit.data.observations import observe
from nearorbit.evaluation.observed import with_observed
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.truth import attractors, integrators, simulation
from nearorbit.truth.systems.base import System

EVALUATION = {"points": 64, "starts": 5, "horizon": 4, "longest": 50, "runs": 3, "samples": 100, "windows": 8}
DATA = {"orbits": 1, "samples": 200, "samples_per_period": 25, "transient": 10, "noise": 0.0}


def build(name, **settings):
    return catalogue.build("systems", name, settings)


def spectrum_of(system, **settings):
    return attractors.exponents(
        system, label=system.name, **({"starts": 8, "horizon": 400, "transient": 20} | settings)
    )


@pytest.fixture(scope="module")
def lorenz():
    return replace(build("Lorenz", beta=8 / 3), period=1.5)


@pytest.fixture(scope="module")
def exponents(lorenz):
    return spectrum_of(lorenz)


@pytest.fixture(scope="module")
def genesio():
    system = build("GenesioTesi")
    return system, spectrum_of(system, horizon=100)


def assert_as_published(result, published):
    error = np.abs(result["exponents"].values[: len(published)] - published)
    allowed = np.maximum(3 * result["stderr"].values[: len(published)], 0.02 * np.abs(published))
    assert np.all(error <= allowed), f"{result['exponents'].values} +- {result['stderr'].values}, not {published}"


def assert_as_asked(result):
    leading, stderr = float(result["exponents"][0]), float(result["stderr"][0])
    assert result["converged"] == 1
    assert stderr <= max(0.01 * leading, 0.001 / float(result["period"]))
    assert result.attrs["motion"] == "chaotic"
    total, largest = float(result["exponents"].sum()), float(np.abs(result["exponents"]).max())
    assert abs(total - float(result["divergence"])) <= 1e-6 * largest


def test_spectrum_of_lorenz_is_the_published_one(exponents):
    assert_as_published(exponents, [0.9056, 0, -14.572])
    assert_as_asked(exponents)
    np.testing.assert_allclose(exponents["exponents"].sum(), -(10 + 1 + 8 / 3), rtol=1e-9)
    np.testing.assert_allclose(exponents["kaplan_yorke"], 2.062, atol=2e-3)


def test_means_over_the_attractor_respect_its_symmetry(exponents):
    mean, deviation = exponents["mean"].values, exponents["deviation"].values
    np.testing.assert_allclose(mean / deviation, [0, 0, mean[2] / deviation[2]], atol=0.1)
    np.testing.assert_allclose(mean[2], 23.55, rtol=0.01)
    np.testing.assert_allclose(deviation, [7.92, 9.01, 8.62], rtol=0.02)


@pytest.mark.slow
def test_spectrum_of_rossler_is_the_published_one():
    result = spectrum_of(build("Rossler", a=0.2, b=0.2, c=5.7))
    assert_as_published(result, [0.0714, 0, -5.394])
    assert_as_asked(result)


@pytest.mark.slow
def test_spectrum_of_the_hyperchaotic_system_of_chen_is_the_published_one():
    result = spectrum_of(build("hyperchaotic_chen"))
    assert_as_published(result, [0.555])
    assert_as_asked(result)
    assert int((result["exponents"] > 3 * result["stderr"]).sum()) == 2
    np.testing.assert_allclose(result["exponents"][-1], -26.08, rtol=2e-3)
    np.testing.assert_allclose(result["exponents"].sum(), -25.42, rtol=1e-9)


@pytest.mark.slow
def test_lotka_volterra_has_two_zeros_and_the_means_of_its_fixed_point():
    result = spectrum_of(build("lotka_volterra"), horizon=60)
    assert result.attrs["motion"] == "quasi-periodic or regular" and result["converged"] == 1
    np.testing.assert_allclose(result["exponents"], 0, atol=1e-3)
    np.testing.assert_allclose(result["mean"], [1.8 / 0.8, 1.3 / 0.9], rtol=1e-3)


@pytest.mark.slow
def test_spectrum_of_lorenz96_with_forty_sites_is_the_published_one():
    result = spectrum_of(build("lorenz96", size=40, forcing=8.0), starts=8, horizon=100)
    assert_as_published(result, [1.69])
    assert_as_asked(result)
    assert int(abs(result["exponents"]).argmin()) == 13  # thirteen lie above that of the flow, which vanishes
    np.testing.assert_allclose(result["exponents"].sum(), -40, rtol=1e-6)
    np.testing.assert_allclose(result["kaplan_yorke"], 27.1, atol=0.15)


@pytest.mark.parametrize("name", ["Rossler", "Thomas", "LorenzCoupled", "Chua"])
def test_orbits_agree_with_another_solver(name):
    system = build(name)
    times = np.linspace(0, 2 * system.period, 9)
    starts = np.stack([system.start, 1.01 * system.start])
    for orbit, start in zip(integrators.orbits_of(system)(starts, times), starts, strict=True):
        other = solve_ivp(lambda t, x: system(x), (0, times[-1]), start, "LSODA", times, rtol=1e-11, atol=1e-11).y.T
        np.testing.assert_allclose(orbit, other, atol=1e-6 * np.abs(other).max())


@pytest.mark.parametrize("name", ["Lorenz", "lorenz96", "Chua"])
def test_tangents_are_differences_of_orbits(name):
    system = build(name)
    D, epsilon, duration = system.dimension, 1e-6, 0.5
    start = integrators.orbits_of(system)(system.start, np.array([5.0]))[0]
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((D, D)))[0]
    x = np.concatenate([start, np.zeros(2 * D + 1)])[None]
    after, tangents = integrators.propagator(system)(x, basis[None], duration)
    shifted = np.concatenate([start + epsilon * basis.T, start - epsilon * basis.T])
    ends = integrators.orbits_of(system)(shifted, np.array([duration]))[:, 0]
    np.testing.assert_allclose(tangents[0], (ends[:D] - ends[D:]).T / (2 * epsilon), atol=1e-5 * np.abs(tangents).max())
    times = np.linspace(0, duration, 2001)
    path = integrators.orbits_of(system)(start, times)
    np.testing.assert_allclose(after[0, D + 1 : 2 * D + 1], np.trapezoid(path, times, axis=0), atol=1e-5)
    np.testing.assert_allclose(after[0, 2 * D + 1 :], np.trapezoid(path**2, times, axis=0), atol=1e-3)


def test_orbits_do_not_depend_on_their_neighbors_in_a_batch(lorenz):
    starts = lorenz.start + np.random.default_rng(0).standard_normal((11, 3))
    times = np.linspace(0, 1, 5)
    together = integrators.orbits_of(lorenz)(starts, times)
    alone = np.stack([integrators.orbits_of(lorenz)(start, times) for start in starts])
    np.testing.assert_array_equal(together, alone)


def test_orbits_have_the_same_bits_in_any_number_of_threads(lorenz, monkeypatch):
    starts, times = lorenz.start + np.random.default_rng(0).standard_normal((43, 3)), np.linspace(0, 3, 5)
    monkeypatch.setattr(integrators, "SHARE", 10)
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(integrators.orbits_of(lorenz)(starts, times))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_orbit_that_leaves_for_infinity_is_nan_and_its_neighbors_are_not():
    system = build("SprottJerk")
    starts = np.stack([system.start, [-50.0, -50, -50]])
    orbits = integrators.orbits_of(system)(starts, np.linspace(0, 10, 21))
    assert np.isfinite(orbits[0]).all() and np.isfinite(orbits[1, 0]).all()
    assert np.isnan(orbits[1, -1]).all()


def test_spectrum_without_a_bounded_attractor_is_an_error():
    with pytest.raises(StudyError, match=r"escaping: the orbit of 'Rossler' leaves for infinity"):
        attractors.exponents(build("Rossler", c=0.1), label="escaping", starts=2, horizon=50, transient=10)


@pytest.mark.parametrize(
    ("name", "settings", "motion", "dimension"),
    [
        ("Rossler", {"a": 0.2, "b": 0.2, "c": 2.5}, "periodic", 1),
        ("Rossler", {"a": 0.2, "b": 0.2, "c": 3.5}, "periodic", 1),  # of period two
        ("Lorenz", {"rho": 160.0}, "periodic", 1),
        ("Lorenz", {"rho": 10.0}, "fixed point", 0),
        ("Lorenz", {"rho": 0.5}, "fixed point", 0),
        ("HenonHeiles", {}, "quasi-periodic or regular", 4),
    ],
)
def test_motion_that_is_not_chaotic_is_called_what_it_is_and_warned_of(name, settings, motion, dimension, capsys):
    result = spectrum_of(build(name, **settings), horizon=80, transient=50)
    assert result.attrs["motion"] == motion, f"{result['exponents'].values} +- {result['stderr'].values}"
    assert result["kaplan_yorke"] == pytest.approx(dimension, abs=0.05)
    assert f"warning: systems.{name}: {motion}" in capsys.readouterr().err


class Slowed(System):
    """Another system, all of whose times are longer by a factor."""

    def __init__(self, system, factor):
        super().__init__("slowed", system.components, {}, system.start)
        object.__setattr__(self, "of", (system, factor))

    def __call__(self, x, xp=np):
        system, factor = self.of
        return system(x, xp) / factor


def test_the_unit_of_time_does_not_matter_to_what_has_converged(lorenz):
    usual = spectrum_of(replace(lorenz, period=None), horizon=80)
    slow = spectrum_of(Slowed(lorenz, 2.0**20), horizon=80)
    assert usual["converged"] == slow["converged"] == 1
    for name in ("period", "horizon"):
        np.testing.assert_allclose(slow[name] / 2**20, usual[name], rtol=0.05)
    assert abs(float(slow["exponents"][0]) * 2**20 / float(usual["exponents"][0]) - 1) < 0.05


def test_an_attractor_that_is_a_point_is_nothing_to_learn_from(lorenz):
    system = build("Lorenz", rho=10.0)
    with pytest.raises(StudyError, match=r"systems\.still: .*comes to rest at a fixed point"):
        simulation.orbits(system, spectrum_of(system, horizon=80), label="still", seeds=1, data=DATA, window=1)


def test_the_period_of_other_parameters_is_the_peak_of_their_spectrum():
    system = build("Lorenz", sigma=16.0, rho=45.92, beta=4.0)
    assert float(spectrum_of(system, horizon=80)["period"]) == pytest.approx(0.461, rel=0.05)


def test_a_period_of_many_turns_is_told(capsys):
    # With seven sites the power spectrum is red: it peaks at 22, and orbits turn in 1.4.
    for size, said in ((7, True), (5, False)):
        system = build("lorenz96", size=size)
        attractors.exponents(system, label=f"L{size}", starts=2, horizon=20, transient=5, patience=1)
        assert ("data.*.spacing" in capsys.readouterr().err) == said


def test_period_of_a_system_without_one_is_the_peak_of_its_spectrum():
    lorenz96 = build("lorenz96", size=5)
    simulate = integrators.orbits_of(lorenz96)
    path = simulate(lorenz96.start, np.linspace(100, 300, 20001))
    power = np.abs(np.fft.rfft(path - path.mean(0), axis=0)) ** 2
    smooth = np.convolve(power.sum(1), np.ones(9) / 9, "same")
    peak = 200 / np.argmax(smooth)
    assert attractors.dominant_period(lorenz96, simulate) == pytest.approx(peak, rel=0.1)


def test_orbits_of_a_seed_follow_the_equations_and_are_fresh(lorenz, exponents):
    data = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=DATA, window=2)
    assert data["train"].shape == (2, 1, 200, 3)
    assert data["continuation"].shape == (2, 1, 50, 3)
    assert data["validation"].shape == (2, 1, 40, 3)
    assert float(data["step"]) == pytest.approx(1.5 / 25)
    assert data["redrawn"].values.tolist() == [0, 0]
    joined = np.concatenate([data["train"].values, data["continuation"].values], axis=2)
    step = np.array([float(data["step"])])
    again = integrators.orbits_of(lorenz)(joined[:, :, 190:210], step)[..., 0, :]
    np.testing.assert_allclose(again, joined[:, :, 191:211], rtol=1e-9)
    assert np.abs(data["train"][0, 0, 0] - data["train"][1, 0, 0]).max() > 1e-3
    assert np.abs(data["train"][0, 0, 0] - data["validation"][0, 0, 0]).max() > 1e-3
    again = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=1, data=DATA, window=2)
    np.testing.assert_array_equal(again["train"][0], data["train"][0])
    states, step = joined[:, :, :200], float(data["step"])
    with np.errstate(all="ignore"):
        for n in (1, 2, 5):
            ends, h = states[:, :, :-1], step / n
            for _ in range(n):
                k1 = lorenz(ends)
                k2 = lorenz(ends + h / 2 * k1)
                k3 = lorenz(ends + h / 2 * k2)
                ends = ends + h / 6 * (k1 + 2 * k2 + 2 * k3 + lorenz(ends + h * k3))
            error = np.abs((ends - states[:, :, 1:]) / exponents["deviation"].values).max()
            np.testing.assert_allclose(data["integration_error"].sel(substeps=n), error, rtol=1e-6)
    spaced = simulation.orbits(lorenz, exponents, label="L", seeds=1, data=DATA | {"spacing": 0.01}, window=2)
    assert float(spaced["step"]) == 0.01


def test_transients_start_anywhere_in_the_box_and_are_redrawn_where_they_escape(genesio):
    system, exponents = genesio
    data = DATA | {"orbits": 100, "samples": 100, "transient": 0}
    orbits = simulation.orbits(system, exponents, label="GenesioTesi", seeds=2, data=data, window=1)
    scaled = (orbits["train"] - exponents["mean"]) / exponents["deviation"]
    start = np.abs(scaled.isel(time=0).values)
    assert start.max() <= 2 and start.max((0, 1)).min() > 1.5
    assert float(np.abs(scaled).max()) <= 8
    assert np.all((orbits["redrawn"] > 0.2) & (orbits["redrawn"] < 0.5)), orbits["redrawn"].values  # about a third


def test_truth_has_what_its_settings_ask_for(lorenz, exponents):
    orbits = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=DATA, window=2)
    truth = simulation.truth(lorenz, orbits, exponents, label="Lorenz", evaluation=EVALUATION)
    assert truth["forecasts"].shape == (2, 5, 1 + int(4 / float(exponents["exponents"][0]) / float(orbits["step"])), 3)
    assert truth["attractor"].shape == (2, 3, 100, 3)
    assert truth["jacobian"].shape == (2, 64, 3, 3)
    x, y, z = np.moveaxis(truth["points"].values, -1, 0)
    np.testing.assert_allclose(truth["field"], np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1))
    np.testing.assert_allclose(truth["jacobian"].sel(component="y", direction="x"), 28 - z)
    np.testing.assert_array_equal(truth["exponents"][1], exponents["exponents"])
    step = np.array([float(orbits["step"])])
    again = integrators.orbits_of(lorenz)(truth["forecasts"].values[:, :, 0], step)[..., 0, :]
    np.testing.assert_allclose(again, truth["forecasts"][:, :, 1], rtol=1e-9)
    assert json.loads(truth.attrs["parameters"])["rho"] == 28 and truth.attrs["motion"] == "chaotic"


def test_windows_end_inside_the_training_orbit_and_continue_beyond_it(lorenz, exponents):
    orbits = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=DATA | {"orbits": 3}, window=2)
    truth = simulation.truth(lorenz, orbits, exponents, label="Lorenz", evaluation=EVALUATION)
    region = truth["region"].values
    assert region.shape == (8, 101)
    assert (region[0] == 0).sum() == 51 and (region[0] == 1).sum() == 50
    assert np.all((region == 1).sum(1) == 50)
    np.testing.assert_array_equal(truth["windows"][1, 4, 0], orbits["train"][1, 1, 199 - 50 + 25])
    np.testing.assert_array_equal(truth["windows"][1, 4, 26], orbits["continuation"][1, 1, 0])
    assert np.array_equal(np.isnan(truth["windows"][0, :, :, 0]), region == -1)


def test_windows_go_on_beyond_the_data_for_as_many_samples_as_asked(lorenz, exponents):
    data = DATA | {"samples": 31, "samples_per_period": 25}
    orbits = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=1, data=data, window=4, beyond=31)
    assert orbits.sizes["continuation_time"] == 31
    asked = EVALUATION | {"windows": 1, "window": 4, "beyond": 31}
    truth = simulation.truth(lorenz, orbits, exponents, label="Lorenz", evaluation=asked)
    assert truth["region"].values.tolist() == [[0] * 31 + [1] * 31]
    np.testing.assert_array_equal(truth["windows"][0, 0, :31], orbits["train"][0, 0])
    np.testing.assert_array_equal(truth["windows"][0, 0, 31:], orbits["continuation"][0, 0])


def test_what_was_observed_of_the_windows_is_the_windows_where_there_is_no_noise(lorenz, exponents):
    orbits = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=DATA | {"orbits": 3}, window=2)
    truth = simulation.truth(lorenz, orbits, exponents, label="Lorenz", evaluation=EVALUATION)
    clean, noisy = (observe(orbits, exponents, label="Lorenz", noise=noise) for noise in (0.0, 0.1))
    np.testing.assert_array_equal(with_observed(truth, clean)["observed"], truth["windows"])
    seen = with_observed(truth, noisy)["observed"]
    np.testing.assert_array_equal(seen[1, 4, :26], noisy["train"][1, 1, 174:])
    noise = (seen - truth["windows"]) / exponents["deviation"]
    np.testing.assert_allclose([noise.where(truth["region"] == region).std() for region in (0, 1)], 0.1, rtol=0.1)
    xr.testing.assert_identical(with_observed(truth, noisy.drop_dims("continuation_time")), truth)


def test_a_start_is_where_the_training_orbit_of_every_seed_begins(lorenz, exponents):
    data = DATA | {"start": [1.2, 2.1, 1.7], "transient": 0}
    found = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=data, window=1)
    step, shape = float(found["step"]), found["train"].shape
    assert shape == (2, 1, 200, 3) and found["redrawn"].values.tolist() == [0, 0]
    np.testing.assert_array_equal(found["train"][:, 0, 0], [[1.2, 2.1, 1.7]] * 2)
    expected = integrators.orbits_of(lorenz)(np.array([1.2, 2.1, 1.7]), step * np.arange(200))
    np.testing.assert_allclose(found["train"][1, 0], expected, rtol=1e-6)
    held = found["validation"].values
    assert np.abs(held[0] - held[1]).max() > 1
    away = np.abs(held[:, 0, :1] - exponents["states"].values) / exponents["deviation"].values
    assert (away.max(-1).min(-1) < 0.01).all()  # they begin on the attractor, and not in the box
    late = simulation.orbits(
        lorenz, exponents, label="L", seeds=1, data=data | {"transient": 10 * step / 1.5}, window=1
    )
    np.testing.assert_allclose(late["train"][0, 0, :20], expected[10:30], rtol=1e-6)


def test_a_start_whose_orbit_leaves_is_refused(lorenz, exponents):
    data = DATA | {"start": [1e3, 0.0, 0.0], "transient": 0}
    with pytest.raises(StudyError, match=r"data\.\*\.start, \[1000\.0, 0\.0, 0\.0\], leaves 8 deviations"):
        simulation.orbits(lorenz, exponents, label="Lorenz", seeds=1, data=data, window=1)


def test_shared_orbits_are_those_of_the_first_seed(lorenz, exponents):
    shared, fresh = (
        simulation.orbits(lorenz, exponents, label="Lorenz", seeds=3, data=DATA | {"shared": shared}, window=1)
        for shared in (True, False)
    )
    for name in ("train", "validation", "continuation", "redrawn"):
        assert shared[name].shape == fresh[name].shape
        for seed in range(3):
            np.testing.assert_array_equal(shared[name][seed], fresh[name][0])


def test_samples_may_be_spaced_in_lyapunov_times_where_there_is_one(lorenz, exponents):
    data = {"orbits": 1, "samples": 20, "samples_per_lyapunov_time": 50, "transient": 10}
    found = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=1, data=data, window=1)
    assert float(found["step"]) == pytest.approx(0.02 / 0.9056, rel=0.02)
    regular = exponents.assign_attrs(motion="periodic")
    with pytest.raises(StudyError, match=r"systems\.cycle: its motion is periodic, and there is no Lyapunov time"):
        simulation.orbits(lorenz, regular, label="cycle", seeds=1, data=data, window=1)


class Sinking(System):
    """A fall at a rate that only positive states have."""

    def __call__(self, x, xp=np):
        return xp.stack([-(x[..., 0] ** 0.5)], -1)


def test_states_are_moved_less_where_the_true_jacobian_would_not_be_defined():
    system = Sinking("sinking", ("x",), {}, np.array([1.0]))
    states = np.random.default_rng(0).uniform(0.1, 1.0, (1, 1, 1000, 1))
    observations = xr.Dataset(
        {"train": (("seed", "orbit", "time", "component"), states), "fingerprint": ("seed", [0])},
        coords={"seed": [0], "component": ["x"]},
    )
    observations["scale"] = observations["train"].std(["orbit", "time"])
    exponents = xr.Dataset({"exponents": ("exponent", [0.0])})
    truth = simulation.supervision(system, observations, exponents, label="sinking")
    moved = truth["perturbed"].values
    assert (moved > 0).all() and np.isfinite(truth["perturbed_jacobian"]).all()
    np.testing.assert_allclose(truth["perturbed_jacobian"].values[..., 0], -0.5 / np.sqrt(moved))
    assert np.median(abs(moved - states)) > 0.3 * float(observations["scale"].squeeze())


def test_supervision_has_the_precision_of_the_observations_whatever_is_evaluated_at_once(
    lorenz, exponents, monkeypatch
):
    orbits = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=DATA | {"orbits": 3}, window=2)
    scale, prints = orbits["train"].std(["orbit", "time"]), ("seed", np.arange(2))
    observed = orbits.assign(train=orbits["train"].astype(np.float32), scale=scale, fingerprint=prints)
    whole = simulation.supervision(lorenz, observed, exponents, label="Lorenz")
    monkeypatch.setattr(simulation, "MANY", 128)
    xr.testing.assert_identical(whole, simulation.supervision(lorenz, observed, exponents, label="Lorenz"))
    assert {whole[name].dtype for name in ("field", "jacobian", "perturbed", "perturbed_jacobian")} == {np.dtype("f4")}
    double = simulation.supervision(lorenz, observed.astype(np.float64), exponents, label="Lorenz")
    np.testing.assert_allclose(whole["perturbed_jacobian"], double["perturbed_jacobian"], rtol=1e-6, atol=1e-5)


def test_supervision_is_the_truth_at_the_observed_states(lorenz, exponents):
    observations = simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=DATA, window=2)
    observations["train"] = observations["train"] + 1.0
    scale = observations["train"].std(["orbit", "time"])
    observations = observations.assign(fingerprint=("seed", np.arange(observations.sizes["seed"])), scale=scale)
    supervision = simulation.supervision(lorenz, observations, exponents, label="Lorenz")
    assert supervision["jacobian"].dims == ("seed", "orbit", "time", "component", "direction")
    np.testing.assert_allclose(supervision["field"], lorenz(observations["train"].values))
    np.testing.assert_allclose(supervision["jacobian"].values[..., 2, 1], observations["train"].values[..., 0])
    np.testing.assert_array_equal(supervision["exponents"], exponents["exponents"])
    shifts = ((supervision["perturbed"] - observations["train"]) / scale).std(["orbit", "time"])
    np.testing.assert_allclose(shifts, 0.5, atol=0.05)
    np.testing.assert_allclose(
        supervision["perturbed_jacobian"].values[..., 2, 1], supervision["perturbed"].values[..., 0]
    )


IRREGULAR = {"missing": 0.3, "jitter": 0.5}


@pytest.fixture(scope="module")
def kinds(lorenz, exponents):
    """Orbits of regular data, and of others that differ in when samples are taken alone."""
    lines = {"regular": {}, "missing": {"missing": 0.3}, "both": IRREGULAR}
    return {
        name: simulation.orbits(lorenz, exponents, label="Lorenz", seeds=2, data=DATA | line, window=2)
        for name, line in lines.items()
    }


@pytest.mark.parametrize("kind", ["missing", "both"])
def test_orbits_noise_and_truth_are_those_of_the_regular_kind(kinds, lorenz, exponents, kind):
    regular, irregular = kinds["regular"], kinds[kind]
    for name in ("train", "validation", "continuation"):
        np.testing.assert_array_equal(irregular[name], regular[name])
    settings = {"label": "Lorenz", "evaluation": EVALUATION | {"window": 2}}
    truths = (simulation.truth(lorenz, orbits, exponents, **settings) for orbits in (regular, irregular))
    xr.testing.assert_identical(*truths)
    usual, observed = (observe(orbits, exponents, label="Lorenz", noise=0.05) for orbits in (regular, irregular))
    for name, prefix in (("train", ""), ("validation", "validation_")):
        states = irregular[f"{prefix}sampled" if kind == "both" else name].to_numpy()
        expected = states + usual[name].to_numpy() - regular[name].to_numpy()
        for place in np.ndindex(states.shape[:2]):
            there = ~np.isnan(irregular[f"{prefix}instants"].to_numpy()[place])
            count = int(observed[f"{prefix}counts"].to_numpy()[place])
            assert count == there.sum() and 0.5 < count / len(there) < 0.9
            found, times = (observed[n].to_numpy()[place] for n in (name, f"{prefix}instants"))
            np.testing.assert_allclose(found[:count], expected[place][there], atol=1e-12)
            np.testing.assert_array_equal(found[count:], np.broadcast_to(found[count - 1], found[count:].shape))
            np.testing.assert_array_equal(times[:count], irregular[f"{prefix}instants"].to_numpy()[place][there])
            np.testing.assert_allclose(np.diff(times[count - 1 :]), float(observed["step"]))


def test_moved_samples_are_where_the_orbit_is_at_their_time(kinds, lorenz):
    orbits = simulation.orbits(
        lorenz, spectrum_of(lorenz, horizon=50), label="Lorenz", seeds=1, data=DATA | {"jitter": 0.8}, window=2
    )
    f, times = integrators.compiled(lorenz), orbits["instants"].to_numpy()[0, 0, :60]
    assert (np.diff(times) > 0).all() and times[0] == 0
    start = orbits["train"].to_numpy()[0, 0, 0]
    solved = solve_ivp(lambda t, x: f(x)[0], (0, times[-1]), start, "DOP853", times, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(orbits["sampled"].to_numpy()[0, 0, :60], solved.y.T, atol=1e-7)


def test_steps_are_judged_over_the_longest_interval_that_is_bridged(kinds, lorenz, exponents):
    errors = {name: orbits["integration_error"].to_numpy()[0] for name, orbits in kinds.items()}
    several = simulation.orbits(
        lorenz, exponents, label="Lorenz", seeds=2, data=DATA | {"missing": 0.3, "gap": 1.0}, window=2
    )["integration_error"].to_numpy()[0]
    np.testing.assert_allclose(several[:8], errors["regular"][:8], rtol=0.05)  # but for one state, the same
    assert (errors["missing"][4:8] > 50 * errors["regular"][4:8]).all()
    np.testing.assert_array_equal(errors["missing"], errors["both"])


def test_a_system_with_kinks_is_sampled_elsewhere_too():
    system = build("SprottMore")
    exponents = spectrum_of(system, horizon=20)
    data = DATA | IRREGULAR | {"samples": 60}
    orbits = simulation.orbits(system, exponents, label="SprottMore", seeds=1, data=data, window=2)
    f, step = integrators.compiled(system), float(orbits["step"])
    late = np.nan_to_num(orbits["instants"].to_numpy()[0, 0] - step * np.arange(60))
    states, found = (orbits[name].to_numpy()[0, 0] for name in ("train", "sampled"))
    # To first order the state has moved along the field.
    moved = states + late[:, None] * f(states)[0]
    assert abs(found - moved).max() < 0.5 * abs(moved - states).max() and abs(moved - states).max() > 0
