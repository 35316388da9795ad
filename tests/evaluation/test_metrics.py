import numpy as np
import pytest
import synthetic
import xarray as xr

from nearorbit.evaluation.metrics.base import median_stderr
from nearorbit.evaluation.metrics.spectral_hellinger import hellinger, spectrum
from nearorbit.study.catalogue import entries, names


@pytest.fixture(scope="module")
def truth():
    return synthetic.table("Lorenz")


@pytest.fixture(scope="module")
def forecast():
    return synthetic.table("Lorenz", 0.03)


def compute(name, truth, forecast):
    return entries("metrics")[name].compute(truth, forecast)


def stderr(name, truth, forecast):
    return entries("metrics")[name].stderr(truth, forecast)


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
    assert bool(broken[1].isnull()) == bool(entries("metrics")[name].needs & {"attractor", "spectrum", "future"})


@pytest.mark.parametrize("name", [name for name, metric in entries("metrics").items() if metric.stderr])
def test_a_standard_error_is_a_positive_number_for_each_seed_and_a_blank_where_the_value_is(name, truth, forecast):
    errors, broken = stderr(name, truth, forecast), stderr(name, truth, synthetic.diverged(forecast, 1))
    assert errors.dims == ("seed",) and (errors > 0).all() and np.isfinite(errors).all(), errors.values
    np.testing.assert_allclose(errors[[0, 2]], broken[[0, 2]])
    assert not (compute(name, truth, synthetic.diverged(forecast, 1)).isnull() & broken.notnull()).any()


@pytest.mark.parametrize("shift", [2.0, 5.0])
def test_the_jackknife_knows_how_much_another_sample_differs(shift):
    rng = np.random.default_rng(0)
    seeds, runs, samples = 300, 10, 40
    within, between = rng.normal(size=(2, seeds, runs, samples, 1)), 0.5 * rng.normal(size=(2, seeds, runs, 1, 1))
    true, learned = (
        xr.Dataset({"attractor": (("seed", "run", "sample", "component"), orbits)}) for orbits in within + between
    )
    moved = learned + shift
    # far apart, the distance is that of the means, in deviations
    deviation = true["attractor"].std(("run", "sample"))
    means = (moved["attractor"].mean(("run", "sample")) - true["attractor"].mean(("run", "sample"))) / deviation
    values, errors = compute("wasserstein", true, moved), stderr("wasserstein", true, moved)
    np.testing.assert_allclose(values, means.mean("component"), rtol=0.05)
    ratio = float((errors**2).mean() ** 0.5 / values.std(ddof=1))
    assert ratio == pytest.approx(1, abs=0.1)


def test_the_standard_error_of_a_median_is_that_of_exponential_times():
    times = xr.DataArray(np.random.default_rng(1).exponential(size=(500, 100)), dims=("seed", "start"))
    errors = median_stderr(times, "start")
    assert float(errors.mean()) == pytest.approx(1 / np.sqrt(100), rel=0.1)  # 1 / (2 f(m) sqrt(n)), f(m) = 1/2
    assert float((errors**2).mean() ** 0.5) == pytest.approx(float(times.median("start").std()), rel=0.15)


def test_values_that_come_in_groups_count_as_groups():
    rng = np.random.default_rng(2)
    groups, within = rng.normal(size=(500, 20, 1)), rng.normal(size=(500, 20, 50))
    values = xr.DataArray((groups + within).reshape(500, -1), dims=("seed", "point"))
    scatter, errors = float(values.median("point").std()), median_stderr(values, "point", groups=20)
    assert float((errors**2).mean() ** 0.5) == pytest.approx(scatter, rel=0.15)
    assert float(median_stderr(values, "point").mean()) < 0.3 * scatter


def test_a_median_of_few_groups_has_no_standard_error():
    values = xr.DataArray(np.arange(12.0)[None], dims=("seed", "point"))
    assert median_stderr(values, "point", groups=4).isnull().all()
    assert median_stderr(values, "point", groups=6).notnull().all()


def test_the_errors_of_exponents_become_those_of_their_metrics(truth):
    def with_errors(exponents, errors):
        like = xr.zeros_like(truth["exponents"])
        return truth.assign(exponents=like + exponents, stderr=like + errors)

    true, learned = with_errors([2, 0, -4], [0.1, 0.01, 0.3]), with_errors([5, 0, -8], [0.2, 0.01, 0.4])
    leading = np.hypot(0.2, 0.1 * 5 / 2) / 2
    distance = np.sqrt(9 * (0.1**2 + 0.2**2) + 16 * (0.3**2 + 0.4**2)) / 5
    dimension = np.sqrt((0.1 / 4) ** 2 + (0.3 * 2 / 16) ** 2 + (0.2 / 8) ** 2 + (0.4 * 5 / 64) ** 2)
    np.testing.assert_allclose(stderr("leading_exponent_error", true, learned), leading)
    np.testing.assert_allclose(stderr("lyapunov_distance", true, learned), distance)
    np.testing.assert_allclose(stderr("kaplan_yorke_error", true, learned), dimension, rtol=0.02)


def test_a_censored_median_has_no_standard_error(truth, forecast):
    assert stderr("valid_prediction_time", truth, truth).isnull().all()
    assert stderr("valid_prediction_time", truth, forecast).notnull().all()


def test_a_cycle_with_noise_on_its_zero_exponent_has_the_dimension_of_a_cycle(truth):
    cycle, above, below = (truth.assign(exponents=xr.zeros_like(truth["exponents"]) + row) for row in (
        [0, -1, -9], [0.004, -1, -9], [-0.004, -1, -9],
    ))  # fmt: skip
    for noisy in (above, below):
        np.testing.assert_array_equal(compute("kaplan_yorke_error", cycle, noisy), 0)
        np.testing.assert_array_equal(stderr("kaplan_yorke_error", cycle, noisy), 0)


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


@pytest.mark.parametrize("motion", ["quasi-periodic or regular", "periodic", "fixed point", "not converged"])
def test_what_is_measured_in_lyapunov_times_is_blank_where_there_is_none(truth, forecast, motion):
    regular = truth.assign_attrs(motion=motion)  # its leading exponent is positive, as a short average of one may be
    for name, metric in entries("metrics").items():
        blank = compute(name, regular, forecast).isnull()
        assert blank.all() if "chaos" in metric.needs else blank.equals(compute(name, truth, forecast).isnull()), name
        assert metric.stderr is None or stderr(name, regular, forecast).where(blank).isnull().all()


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


@pytest.mark.parametrize("name", names("metrics"))
def test_where_a_component_of_the_truth_rests_nothing_is_infinite(name, truth, forecast):
    # its deviation is zero (or what rounding leaves of it), and nothing can be measured in units of that
    resting = truth.assign(attractor=truth["attractor"].copy(data=truth["attractor"].values * [1, 1, 0] + [0, 0, 0.1]))
    assert np.abs(compute(name, resting, forecast).fillna(0)).max() < 1e6, compute(name, resting, forecast).values


def test_the_order_of_the_samples_does_not_matter_to_the_distance_of_distributions(truth):
    reversed_ = truth.assign(attractor=truth["attractor"].copy(data=truth["attractor"].values[:, :, ::-1]))
    np.testing.assert_array_equal(compute("wasserstein", truth, reversed_), 0)


def test_an_error_beyond_the_training_window_is_one_of_extrapolation_only(truth):
    deviation = truth["attractor"].std(("run", "sample"))
    beyond = truth.assign(windows=truth["windows"] + 2 * deviation * (truth["region"] == 1))
    np.testing.assert_array_equal(compute("interpolation_error", truth, beyond), 0)
    np.testing.assert_allclose(compute("extrapolation_error", truth, beyond), 4)


def test_mean_squared_errors_are_in_the_units_of_the_system(truth):
    beyond = truth.assign(windows=truth["windows"] + 3.0 * (truth["region"] == 1))
    np.testing.assert_array_equal(compute("interpolation_mse", truth, beyond), 0)
    np.testing.assert_allclose(compute("extrapolation_mse", truth, beyond), 9)


def test_against_noisy_data_the_truth_has_the_variance_of_the_noise(truth):
    sign = xr.DataArray((-1.0) ** np.arange(truth.sizes["moment"]), dims="moment")
    noisy = truth.assign(observed=truth["observed"] + sign * xr.DataArray([0.1, 0.2, 0.2], dims="component"))
    for name in ("noisy_interpolation_mse", "noisy_extrapolation_mse"):
        np.testing.assert_allclose(compute(name, noisy, truth), 0.03)
        assert compute(name, truth.drop_vars("observed"), truth).isnull().all()
