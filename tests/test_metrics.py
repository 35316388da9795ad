import numpy as np
import pytest
import synthetic
import xarray as xr

from nearorbit.catalogue import entries, names
from nearorbit.metrics.spectral_hellinger import hellinger, spectrum
from nearorbit.metrics.state_space_divergence import histogram_divergence, mixture_divergence

OF_THE_ATTRACTOR = {"state_space_divergence", "spectral_hellinger", "wasserstein"}
OF_THE_SPECTRUM = {"lyapunov_distance", "leading_exponent_error", "kaplan_yorke_error"}


@pytest.fixture(scope="module")
def truth():
    return synthetic.table("Lorenz")


@pytest.fixture(scope="module")
def forecast():
    return synthetic.table("Lorenz", 0.03)


def compute(name, truth, forecast):
    return entries("metrics")[name].compute(truth, forecast)


@pytest.mark.parametrize("name", names("metrics"))
def test_the_truth_against_itself_is_best_and_a_wrong_field_is_worse(name, truth, forecast):
    best, worse = compute(name, truth, truth), compute(name, truth, forecast)
    assert best.dims == worse.dims == ("seed",)
    if entries("metrics")[name].better == "higher":
        assert (best > worse).all(), (best.values, worse.values)
    else:
        assert (best == 0).all() and (worse > 0).all(), (best.values, worse.values)


@pytest.mark.parametrize("name", names("metrics"))
def test_a_diverged_seed_is_undefined_where_it_has_no_attractor_and_touches_no_other_seed(name, truth, forecast):
    whole, broken = compute(name, truth, forecast), compute(name, truth, synthetic.diverged(forecast, 1))
    np.testing.assert_array_equal(whole[[0, 2]], broken[[0, 2]])
    undefined = name in OF_THE_ATTRACTOR | OF_THE_SPECTRUM | {"extrapolation_error"}
    assert bool(broken[1].isnull()) == undefined


def test_one_diverged_start_of_many_counts_as_a_short_forecast(truth, forecast):
    late = xr.DataArray(np.arange(synthetic.STARTS) == 0, dims="start") & (forecast["lead"] > 0)
    gone = forecast.assign(forecasts=forecast["forecasts"].where(~late))
    whole = compute("valid_prediction_time", truth, forecast)
    broken = compute("valid_prediction_time", truth, gone)
    assert (broken > 0.5 * whole).all() and (broken <= whole).all(), (whole.values, broken.values)


def test_the_valid_time_of_an_exponential_separation_is_a_logarithm(truth):
    rate, start = truth["exponents"].isel(exponent=0), 0.05
    spread = ((truth["attractor"].std(("run", "sample")) ** 2).sum("component")) ** 0.5
    away = start * np.exp(rate * truth["lead"]) * xr.DataArray([1.0, 0, 0], dims="component")
    small = truth["forecasts"] + away
    expected = np.log(0.4 * spread / start)
    computed = compute("valid_prediction_time", truth, truth.assign(forecasts=small))
    np.testing.assert_allclose(computed, expected, atol=synthetic.STEP)


def test_a_forecast_that_never_leaves_counts_with_the_horizon(truth):
    horizon = truth["lead"].max() * truth["exponents"].isel(exponent=0)
    np.testing.assert_array_equal(compute("valid_prediction_time", truth, truth), horizon)


def test_a_jacobian_that_is_a_tenth_too_large_has_an_error_of_a_tenth(truth):
    large = truth.assign(jacobian=1.1 * truth["jacobian"], field=0.8 * truth["field"])
    np.testing.assert_allclose(compute("jacobian_error", truth, large), 0.1)
    np.testing.assert_allclose(compute("field_error", truth, large), 0.2)


def test_distances_of_spectra_are_those_computed_by_hand(truth):
    true, learned = (
        truth.assign(exponents=xr.zeros_like(truth["exponents"]) + row) for row in ([2, 0, -4], [5, 0, -8])
    )
    assert compute("lyapunov_distance", true, learned).values == pytest.approx(5)
    assert compute("leading_exponent_error", true, learned).values == pytest.approx(1.5)
    assert compute("kaplan_yorke_error", true, learned).values == pytest.approx(5 / 8 - 2 / 4)


def test_the_leading_exponent_of_a_truth_that_is_not_chaotic_has_no_error(truth):
    regular = truth.assign(exponents=truth["exponents"] * 0)
    assert compute("leading_exponent_error", regular, regular).isnull().all()
    assert compute("valid_prediction_time", regular, regular).isnull().all()


def test_the_divergence_of_two_bins_is_the_textbook_one():
    true, learned = np.array([[0.0], [0.0], [0.0], [1.0]]), np.array([[0.0], [1.0], [1.0], [1.0]])
    assert histogram_divergence(true, learned, bins=2, alpha=1e-12) == pytest.approx(0.5 * np.log(3))
    assert histogram_divergence(true, true) == 0


def test_the_sparse_histogram_equals_the_dense_one():
    rng = np.random.default_rng(0)
    true, learned = rng.normal(size=(500, 3)), 1.2 * rng.normal(size=(400, 3))
    low, high = true.min(0) - 0.1 * true.std(0), true.max(0) + 0.1 * true.std(0)
    edges = [np.linspace(a, b, 31) for a, b in zip(low, high, strict=True)]
    counts = [np.histogramdd(points, edges)[0].ravel() for points in (true, learned)]
    p, q = (np.append(c, n - c.sum()) + 1e-5 for c, n in zip(counts, (500, 400), strict=True))
    p, q = p / p.sum(), q / q.sum()
    assert histogram_divergence(true, learned) == pytest.approx((p * np.log(p / q)).sum(), rel=1e-10)


def test_the_divergence_of_shifted_normals_is_half_the_squared_shift_over_the_variance():
    rng = np.random.default_rng(1)
    true, learned = rng.normal(size=(2, 4000, 6))
    learned[:, 0] += 1  # a unit normal on each sample of a unit normal: variance 2
    assert mixture_divergence(true, learned) == pytest.approx(1 / (2 * 2), abs=0.06)
    assert mixture_divergence(true, true) == 0


def test_the_spectrum_of_a_sine_is_at_distance_zero_of_itself_and_one_of_a_far_one():
    time = np.arange(2000)
    slow, fast, rest = (np.sin(2 * np.pi * f * time)[None] for f in (0.05, 0.4, 0))
    assert hellinger(spectrum(slow), spectrum(3 * slow + 5)) == pytest.approx(0, abs=1e-6)
    assert hellinger(spectrum(slow), spectrum(fast)) == pytest.approx(1, abs=1e-3)
    assert hellinger(spectrum(slow), spectrum(rest)) == 1


def test_a_shift_by_half_a_deviation_is_half_a_deviation_away(truth):
    shift = 0.5 * truth["attractor"].std(("run", "sample"))
    moved = truth.assign(attractor=truth["attractor"] + shift)
    np.testing.assert_allclose(compute("wasserstein", truth, moved), 0.5)


def test_the_order_of_the_samples_does_not_matter_to_the_distance_of_distributions(truth):
    reversed_ = truth.assign(attractor=truth["attractor"].copy(data=truth["attractor"].values[:, :, ::-1]))
    np.testing.assert_array_equal(compute("wasserstein", truth, reversed_), 0)


def test_an_error_beyond_the_training_window_is_one_of_extrapolation_only(truth):
    deviation = truth["attractor"].std(("run", "sample"))
    beyond = truth.assign(windows=truth["windows"] + 2 * deviation * (truth["region"] == 1))
    np.testing.assert_array_equal(compute("interpolation_error", truth, beyond), 0)
    np.testing.assert_allclose(compute("extrapolation_error", truth, beyond), 4)
