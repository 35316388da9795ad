import lorenz63
import numpy as np
import pytest
import xarray as xr
from scipy.linalg import expm

from nearorbit.data.local_fits import ESTIMATORS, estimate, exponents, generators
from nearorbit.data.local_maps import flow_maps
from nearorbit.data.observations import observe
from nearorbit.evaluation.metrics.jacobian_error import jacobian_error

J = np.array([[-0.3, 2.0, 0.1], [-2.0, 0.2, 0.4], [0.3, 0.0, -1.5]])
STEP = 0.05


def displacements(count=30, size=1.0):
    return size * np.random.default_rng(0).standard_normal((4, count, 3))


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("cautious", [False, True])
def test_a_linear_map_is_found_exactly(degree, constant, cautious):
    before = displacements(size=1e-3)
    after = before @ expm(STEP * J).T + (np.array([1.0, 2.0, 3.0]) if constant else 0.0)
    found = flow_maps(before, after, degree=degree, constant=constant, cautious=cautious)
    np.testing.assert_allclose(found, np.broadcast_to(expm(STEP * J), (4, 3, 3)), atol=1e-9)


def test_only_quadratic_terms_leave_a_curved_map_its_linear_part():
    # Off the center, where a curved map has another slope.
    before = displacements() + 0.5
    curvature = np.random.default_rng(1).standard_normal((3, 3, 3))
    after = before @ J.T + np.einsum("ijk,nmj,nmk->nmi", curvature, before, before)
    error = [abs(flow_maps(before, after, degree=degree) - J).max() for degree in (1, 2)]
    assert error[0] > 0.3 and error[1] < 1e-9, error


def test_a_ridge_pulls_to_the_identity():
    before = displacements()
    ridges = [flow_maps(before, before @ J.T, ridge=ridge) - np.eye(3) for ridge in (0.0, 0.1, 1.0, 1e6)]
    sizes = [np.linalg.norm(difference) for difference in ridges]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 1e-5 * sizes[0], sizes


def test_the_ridge_is_relative_to_the_displacements():
    before = displacements()
    small, large = (flow_maps(s * before, s * before @ J.T, ridge=0.1) for s in (1e-3, 10.0))
    np.testing.assert_allclose(small, large, rtol=1e-9)


def test_directions_without_neighbors_have_the_identity():
    before = displacements() * [1.0, 1.0, 0.0]
    found = flow_maps(before, before @ np.diag([2.0, 3.0, 4.0]))
    np.testing.assert_allclose(found, np.broadcast_to(np.diag([2.0, 3.0, 1.0]), (4, 3, 3)), atol=1e-9)
    np.testing.assert_array_equal(flow_maps(0 * before, before), np.broadcast_to(np.eye(3), (4, 3, 3)))


def test_a_cautious_fit_gives_up_directions_in_which_there_is_only_noise():
    stream = np.random.default_rng(0)
    signal, noise = stream.standard_normal((1, 200, 3)) * [1.0, 1.0, 1e-4], stream.standard_normal((2, 1, 200, 3))
    before, after = signal + 0.05 * noise[0], signal @ expm(STEP * J).T + 0.05 * noise[1]
    plain, cautious = (flow_maps(before, after, cautious=c)[0] for c in (False, True))
    assert abs(plain[2, 2]) < 0.2, "noise has no future"
    assert cautious[2, 2] > 0.4
    np.testing.assert_allclose(cautious[:2, :2], plain[:2, :2], atol=0.02)


def test_noise_in_the_displacements_cancels_between_the_fits_ahead_and_back():
    stream = np.random.default_rng(0)
    signal = stream.standard_normal((1, 100_000, 3)) * [1.0, 0.5, 0.2]
    now, later, earlier = (
        signal @ expm(h * J).T + 0.1 * stream.standard_normal(signal.shape) for h in (0.0, STEP, -STEP)
    )
    ahead, back = flow_maps(now, later)[0], flow_maps(now, earlier)[0]
    assert abs(ahead - expm(STEP * J)).max() > 0.15
    np.testing.assert_allclose(ahead @ np.linalg.inv(back), expm(2 * STEP * J), atol=0.01)


def test_the_logarithm_of_a_map_is_exact_and_first_order_is_of_first_order():
    exact = generators(expm(STEP * J), STEP)
    np.testing.assert_allclose(exact, J, atol=1e-12)
    errors = [np.linalg.norm(generators(expm(h * J), h, logarithm=False) - J) for h in (STEP, STEP / 2)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    "map_", [np.diag([-0.5, 1.2, 0.9]), np.diag([0.0, 1.2, 0.9]), np.eye(3) + np.diag([1.0, 1.0], 1)]
)
def test_a_map_without_a_usable_logarithm_falls_back_to_first_order_alone(map_):
    found = generators(np.stack([map_, expm(STEP * J)]), STEP)
    np.testing.assert_array_equal(found[0], (map_ - np.eye(3)) / STEP)
    np.testing.assert_allclose(found[1], J, atol=1e-12)


def test_a_map_that_is_not_finite_has_no_jacobian():
    maps = np.stack([np.full((3, 3), np.nan), expm(STEP * J)])
    found = generators(maps, STEP)
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_exponents_of_a_constant_product_are_those_of_its_eigenvalues():
    S = np.random.default_rng(0).standard_normal((3, 3))
    map_ = S @ np.diag([-1.5, 0.9, 0.2]) @ np.linalg.inv(S)
    found, stderr = exponents(np.broadcast_to(map_, (2, 4, 100, 3, 3)), STEP)
    np.testing.assert_allclose(found, np.broadcast_to(np.log([1.5, 0.9, 0.2]) / STEP, (2, 3)), atol=1e-2)
    assert found.sum(-1) == pytest.approx(np.log(1.5 * 0.9 * 0.2) / STEP, rel=1e-12)
    assert stderr.shape == (2, 3)


def linear_system(step=STEP):
    """Many short orbits of a linear system, observed without noise, and states between them."""
    starts = np.random.default_rng(0).standard_normal((1, 60, 3))
    train = np.stack([starts @ expm(t * step * J).T for t in range(12)], -2)
    names = ("seed", "orbit", "time", "component")
    orbits = xr.Dataset(
        {"train": (names, train), "step": step, "period": 1.0},
        coords={"seed": [0], "component": list("xyz")},
    )
    orbits["validation"] = orbits["train"].rename(orbit="validation_orbit", time="validation_time")
    observed = observe(orbits, xr.Dataset({"deviation": orbits["train"].std()}), label="linear")
    points = 0.5 * np.random.default_rng(1).standard_normal((1, 20, 3))
    return observed, xr.Dataset({"points": (("seed", "point", "component"), points)}, coords=orbits.coords)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_knows_a_linear_system(name):
    found = estimate(*linear_system(), theiler=0.1).sel(estimator=name, seed=0)
    error = abs(found["jacobian"].to_numpy() - J).max()
    estimator = ESTIMATORS[name]
    assert error < (1.0 if estimator.ridge else 1e-6 if estimator.logarithm else 0.15), error
    if not estimator.ridge:
        assert float(found["exponents"].sum()) == pytest.approx(np.trace(J), abs=1e-6)


@pytest.fixture(scope="module")
def points():
    """Unseen states of Lorenz' system."""
    starts = np.random.default_rng(5).normal([1.0, 1.0, 25.0], 1.0, (1, 100, 3))
    states = lorenz63.orbit(starts, 600, substeps=3)[..., -1, :]
    return xr.Dataset(
        {
            "points": (("seed", "point", "component"), states),
            "jacobian": (("seed", "point", "component", "direction"), lorenz63.jacobian(states)),
        },
        coords={"seed": [0], "exponent": [1, 2, 3]},
    )


@pytest.fixture(scope="module")
def observed():
    return lorenz63.observations(seeds=1, samples=4000, step=0.02)


@pytest.fixture(scope="module")
def estimates(observed, points):
    return estimate(observed, points[["points"]], theiler=0.5)


def error(truth, found, name):
    with xr.set_options(arithmetic_join="exact"):
        return float(jacobian_error(truth, found.sel(estimator=name))[0])


def test_jacobians_of_lorenz_are_found_at_unseen_states(points, estimates):
    errors = {name: error(points, estimates, name) for name in ESTIMATORS}
    assert errors["quadratic_centered"] < 0.04 and errors["quadratic_cautious"] < 0.04, errors
    assert errors["quadratic_centered"] < 0.5 * errors["quadratic"] < 0.1, errors
    assert errors["linear_ridge"] < 1 < errors["linear"], errors


def test_exponents_of_lorenz_are_found(estimates):
    found = estimates.sel(estimator="quadratic_centered", seed=0)
    np.testing.assert_allclose(found["exponents"], [0.906, 0.0, -14.57], atol=0.4)
    assert float(found["exponents"].sum()) == pytest.approx(-(10 + 1 + 8 / 3), abs=0.15)
    assert (found["stderr"] > 0).all()


def test_caution_limits_what_noise_does(points):
    noisy = lorenz63.observations(noise=0.02, seeds=1, samples=1000, step=0.02)
    found = estimate(noisy, points, theiler=0.5)
    assert error(points, found, "quadratic_cautious") < 1 < error(points, found, "quadratic_centered")


def test_jacobians_are_in_units_of_the_system(observed, points, estimates):
    sizes, slower = xr.DataArray([2.0, 0.1, 30.0], dims="component"), 4.0
    scaled = {name: observed[name] * sizes for name in ("train", "mean", "scale")}
    times = {name: observed[name] * slower for name in ("step", "period")}
    found = estimate(observed.assign(**scaled, **times), points.assign(points=points["points"] * sizes), theiler=0.5)
    expected = estimates["jacobian"] * sizes / sizes.rename(component="direction") / slower
    for name in ("eckmann_ruelle", "linear_ridge", "quadratic_centered"):
        np.testing.assert_allclose(
            found["jacobian"].sel(estimator=name), expected.sel(estimator=name), rtol=1e-3, atol=1e-3
        )
    exponents = estimates["exponents"].sel(estimator="quadratic_centered") / slower
    np.testing.assert_allclose(found["exponents"].sel(estimator="quadratic_centered"), exponents, rtol=1e-3, atol=1e-4)


def test_too_few_states_leave_a_gap(points):
    few = lorenz63.observations(seeds=1, samples=40)
    found = estimate(few, points, theiler=0.5)
    assert np.isnan(found["jacobian"].sel(estimator="quadratic")).all()
    assert np.isfinite(found["jacobian"].sel(estimator="eckmann_ruelle")).all()


def test_estimates_know_the_observations_that_they_are_of(observed, estimates):
    np.testing.assert_array_equal(estimates["fingerprint"], observed["fingerprint"])


@pytest.mark.parametrize("irregular", [{"missing": 0.15, "gap": 8.0}, {"jitter": 0.5}])
def test_where_samples_are_missing_or_moved_fits_are_about_as_good(irregular):
    truth = lorenz63.table_of_truth()
    usual, other = (
        estimate(lorenz63.observations(samples=4000, step=0.015, **kind), truth, theiler=0.5)
        for kind in ({}, irregular)
    )
    for name in ("linear_ridge", "quadratic", "quadratic_centered"):
        errors = [
            float(jacobian_error(truth, found.sel(estimator=name)[["jacobian"]]).median()) for found in (usual, other)
        ]
        # What splines leave in the place of missing samples is more than what quadratic terms leave.
        assert errors[1] < 1.5 * errors[0] + 0.1, (name, errors)
    leading = other["exponents"].sel(estimator="quadratic").isel(exponent=0)
    np.testing.assert_allclose(leading, 0.906, atol=0.25)


def test_exponents_along_short_runs_are_blank():
    observed = lorenz63.observations(samples=600, missing=0.3)
    found = estimate(observed, lorenz63.table_of_truth(), theiler=0.5)
    assert found["exponents"].isnull().all() and found["jacobian"].sel(estimator="linear").notnull().all()
