import json
from types import SimpleNamespace

import brought
import numpy as np
import pandas as pd
import pytest
import torch
from lorenz63 import PERIOD, RHO, STEP, Lorenz, jacobian, table_of_truth
from scipy.integrate import solve_ivp

from nearorbit.__main__ import main
from nearorbit.dynamics.brought import Brought
from nearorbit.dynamics.fields import CompiledField, Coordinates, Transformed, in_place_of_a_model
from nearorbit.dynamics.flow import propagate
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.evaluation.forecast import best_steps, ends, exponents, forecast
from nearorbit.evaluation.judged import Judged
from nearorbit.evaluation.scores import scores
from nearorbit.evaluation.steps import find_steps, step_errors
from nearorbit.study import files

EVALUATION = {"exponents": {"starts": 8, "horizon": 160, "transient": 20, "accuracy": 0.05}}
HISTORY = pd.DataFrame({"seed": [0, 0, 1, 1], "step": [0, 50, 0, 50], "validation": [1.0, 0.5, 0.1, 0.2]})


@pytest.fixture(scope="module")
def truth():
    return table_of_truth()


def field_of(function, derivative):
    """A field, with its Jacobian, in the place of a trained one."""
    one = torch.ones(2, 3, dtype=torch.float64)
    compiled = CompiledField(lambda x: (function(x), derivative(x)), 3)
    return Transformed(compiled, Coordinates(0 * one, one, one[:, :1]))


def perfect():
    """The true field in the place of a trained one."""
    return field_of(Lorenz(), jacobian)


def transient_chaos(rho):
    """Lorenz' system below rho = 24.06: chaos that ends by and by, at one of two fixed points."""
    change = np.zeros((3, 3))
    change[1, 0] = rho - RHO
    return field_of(lambda x: Lorenz()(x) + x @ change.T, lambda x: jacobian(x) + change)


@pytest.fixture(scope="module")
def table(truth):
    return forecast(perfect(), HISTORY, truth, evaluation=EVALUATION)


def test_the_true_field_forecasts_the_truth(truth, table):
    assert set(table.data_vars) >= set(truth.data_vars) - {"step", "period"}
    for name in ("field", "jacobian"):
        np.testing.assert_allclose(table[name], truth[name], rtol=1e-10, atol=1e-10)
    for name in ("forecasts", "windows"):
        assert table[name].dims == truth[name].dims
        np.testing.assert_allclose(table[name], truth[name], rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(table["exponents"].sum("exponent"), -41 / 3, rtol=1e-6)
    assert (abs(table["exponents"] - truth["exponents"]) < 4 * table["stderr"] + 0.005).all(), table["exponents"].values
    assert not table["diverged"].any() and not table["collapsed"].any() and table["converged"].all()
    assert forecast(perfect(), None, truth, evaluation=EVALUATION)["best_step"].isnull().all()


def test_orbits_of_the_attractor_begin_after_the_transient(truth, table):
    apart = abs(table["attractor"] - truth["attractor"]).isel(sample=0)
    assert (apart.max("component") > 0.1).all()
    assert table["transient"] >= 20 * PERIOD


def test_forecasts_are_right_to_what_the_table_says_was_reached(truth, table):
    assert (table["orbit_error"] <= 5e-8).all() and table["orbit_step"] <= 1
    for seed, start in ((0, 0), (1, 3)):
        path = table["forecasts"].sel(seed=seed).isel(start=start).values
        times = truth["lead"].values[:40]
        other = solve_ivp(
            lambda t, x: Lorenz()(x), (0, times[-1]), path[0], "DOP853", times, rtol=1e-12, atol=1e-12
        ).y.T
        np.testing.assert_allclose(path[:40], other, atol=1e-5)


def test_what_a_step_leaves_falls_as_its_eighth_power_and_bounds_the_error_of_exponents(truth):
    judged = Judged(perfect(), truth)
    states = judged.visited[:, :400:4]
    found = {step: step_errors(judged, states, step) for step in (2.0, 1.0, 0.5)}
    for i in range(2):
        np.testing.assert_allclose(np.log2(found[2.0][i] / found[1.0][i]), 8, atol=1)
        np.testing.assert_allclose(np.log2(found[1.0][i] / found[0.5][i]), 8, atol=1)
    accuracy = find_steps(judged, judged.visited, small=0.01)
    assert accuracy.spectrum_step > accuracy.orbit_step
    assert (accuracy.exponent_error <= 0.05 * 0.01).all()


def test_half_the_step_changes_no_exponent_beyond_a_tenth_of_its_standard_error(truth):
    judged = Judged(perfect(), truth)
    settings = EVALUATION["exponents"]
    found, steps, _ = exponents(judged, **settings)
    rates = []
    for halvings in (1, 2):  # states and tangents begun anew at every interval of one reference orbit
        x, Q = judged.visited[0, ::7], np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
        advance = propagate(
            judged.field.field, like=torch.from_numpy(x)[None], step=steps.spectrum_step * STEP / halvings
        )
        _, moved = advance(x, np.broadcast_to(Q, (len(x), 3, 3)), 4 * STEP)
        rates.append(np.log(abs(np.diagonal(np.linalg.qr(moved)[1], axis1=-2, axis2=-1))).mean(0) / (4 * STEP))
    assert (abs(rates[1] - rates[0]) <= found.stderr.min(0) / 10).all(), (rates, found.stderr)


def test_a_stiff_field_is_given_shorter_steps(truth):
    def stiff(x):
        with np.errstate(all="ignore"):  # where the steps are too long
            return Lorenz()(x) - 300.0 * np.stack([0 * x[..., 0], 0 * x[..., 0], x[..., 2] - 25.0], -1)

    def derivative(x):
        return jacobian(x) - np.diag([0.0, 0.0, 300.0])

    usual, short = (find_steps(Judged(f, truth), truth["attractor"].values.reshape(2, -1, 3), small=0.01)
                    for f in (perfect(), field_of(stiff, derivative)))  # fmt: skip
    assert short.orbit_step <= usual.orbit_step / 4 and short.spectrum_step < usual.spectrum_step / 4


def test_exponents_are_averaged_until_their_error_is_small_and_no_longer_than_the_horizon(truth):
    for horizon, accuracy, small in ((8, 1e-4, False), (300, 0.05, True)):
        found, _, _ = exponents(Judged(perfect(), truth), starts=8, horizon=horizon, transient=5, accuracy=accuracy)
        bound = accuracy * np.maximum(abs(found.exponents[:, 0]), 0.9056)
        assert found.converged.tolist() == [small] * 2
        assert (found.stderr[:, 0] <= bound).all() or not small
        assert found.horizon <= horizon * PERIOD * (1.01 if not small else 0.9)


def test_chaos_that_ends_has_collapsed_and_chaos_that_is_ending_goes_on(truth):
    settings = {"exponents": {"starts": 16, "horizon": 40, "transient": 5, "accuracy": 0.05}}
    table = forecast(transient_chaos(21.0), None, truth, evaluation=settings)
    assert table["collapsed"].all() and not table["diverged"].any(), table["exponents"].values
    assert table["transient"] > 5 * PERIOD + 10 * PERIOD  # it went on


def test_a_spectrum_that_drifts_has_not_ended(truth):
    def spectrum_with(first, second):
        rates = np.concatenate([np.broadcast_to(half, (16, 2, 8, 3)) for half in (first, second)])
        rates = rates + 0.01 * np.random.default_rng(0).standard_normal(rates.shape)
        return SimpleNamespace(history=rates, exponents=rates.mean((0, 2)))

    for first, second, expected in ((0.9, 0.9, (False, False)), (0.9, 0.7, (True, False)), (0.02, 0.02, (False, True))):
        drifting, died = ends(spectrum_with(first, second), truth)
        assert (drifting.all(), died.all()) == expected
    some = np.where(np.arange(8) < 3, 0.0, 0.9)[:, None]  # three orbits of eight were not chaotic from the first on
    drifting, died = ends(spectrum_with(some, some), truth)
    assert drifting.all() and not died.any()
    cycle = truth.assign_attrs(motion="periodic")
    assert not ends(spectrum_with(0.02, 0.02), cycle)[1].any()  # there is no chaos to lose


def test_orbits_at_several_fixed_points_have_collapsed(truth):
    def resting(x):
        return 8 * (np.array([8.0, 8.0, 27.0]) * np.sign(x + 1e-9) * np.array([1, 1, 1]) - x)

    table = forecast(
        field_of(resting, lambda x: np.zeros((*x.shape, 3)) - 8 * np.eye(3)), None, truth, evaluation=EVALUATION
    )
    assert table["collapsed"].all()


def test_a_field_that_explodes_is_counted_and_leaves_nan(truth):
    field = NeuralField(3, [0, 1], width=8)
    coordinates = Coordinates(*(torch.full((2, n), v, dtype=torch.float64) for n, v in ((3, 0.0), (3, 10.0), (1, 1.0))))
    with torch.no_grad():
        field.weights[-1][0], field.biases[-1][0] = 0.0, 0.0  # the first member stays where it is
        field.biases[-1][1] = 1e4  # the second runs off at a constant speed
    table = forecast(
        Transformed(field.requires_grad_(False), coordinates.inverse), HISTORY, truth, evaluation=EVALUATION
    )
    assert table["diverged"].values.tolist() == [0, 1]
    assert table["attractor"].sel(seed=1).isnull().any() and table["attractor"].sel(seed=0).notnull().all()
    assert table["exponents"].sel(seed=0).notnull().all() and table["exponents"].sel(seed=1).isnull().all()


def blank(function):
    """A field without derivatives, as it is brought."""
    return in_place_of_a_model(Brought("f", lambda x: torch.from_numpy(function(x.numpy())), 3))


def test_a_field_without_derivatives_is_judged_by_its_orbits_and_the_rest_is_blank(truth, table):
    judged = forecast(blank(Lorenz()), None, truth, evaluation=EVALUATION)
    for name in ("jacobian", "exponents", "stderr", "exponent_error"):
        assert judged[name].isnull().all(), name
    for name in ("field", "forecasts", "windows"):
        np.testing.assert_allclose(judged[name], table[name], rtol=1e-6, atol=1e-5)
    assert judged["attractor"].notnull().all() and judged["spectrum_step"] >= table["spectrum_step"]
    assert not judged[["diverged", "collapsed", "converged"]].to_array().any()
    rows = scores(truth, judged, method="mine").pivot(index="metric", columns="seed", values="value")
    known = scores(truth, table, method="mine").pivot(index="metric", columns="seed", values="value").notnull()
    rests_on_tangents = rows.index.str.contains("jacobian|exponent|lyapunov|kaplan|steps_to_best")
    assert (rows.notnull() == known & ~rests_on_tangents[:, None]).all(axis=None), rows


def test_a_field_without_derivatives_may_diverge_and_collapse(truth):
    gone = forecast(blank(lambda x: 30.0 + 0 * x), None, truth, evaluation=EVALUATION)
    assert gone["diverged"].all() and gone["attractor"].isnull().any()
    rest = forecast(blank(lambda x: 8 * (np.array([8.0, 8.0, 27.0]) - x)), None, truth, evaluation=EVALUATION)
    assert rest["collapsed"].all() and not rest["diverged"].any()


def test_the_door_takes_a_model_or_a_field_and_refuses_before_anything_is_judged(truth, tmp_path, capsys):
    mine, out = brought.python(tmp_path), tmp_path / "forecast.nc"
    files.write(truth, tmp_path / "truth.nc", kind="truth")
    command = ["forecast", "--settings", json.dumps({"evaluation": EVALUATION}), f"--truth={tmp_path / 'truth.nc'}"]
    command += [f"--forecast={out}"]
    assert main([*command, "--field", f"{mine}:lorenz"]) == 0
    judged = files.read(out, kind="forecast")
    np.testing.assert_allclose(judged["jacobian"], truth["jacobian"], rtol=1e-12, atol=1e-12)
    assert judged["converged"].all() and judged["best_step"].isnull().all()
    out.unlink()
    for others, message in (
        ([], "error: forecast: give one of --model and --field"),
        (["--model", "m", "--field", "f"], "error: forecast: give one of --model and --field"),
        (
            ["--field", f"{mine}:failing"],
            f"error: {mine}:failing: of a tensor of states, shape (16, 3), it raised KeyError",
        ),
    ):
        assert main([*command, *others]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(message)
        assert not out.exists()


def test_an_orbit_is_cut_where_it_first_leaves(truth):
    def away(x):
        return np.full_like(x, 1e3)

    field = field_of(away, lambda x: np.zeros((*x.shape, 3)))
    states = Judged(field, truth).orbits(truth["points"].values[:, :1], np.arange(4) * 0.2, longest=1.0)
    assert np.isfinite(states[:, :, :2]).all() and np.isnan(states[:, :, 3:]).all()


def test_the_best_step_is_that_of_the_least_validation_error():
    history = pd.concat([HISTORY, pd.DataFrame({"seed": [2], "step": [0], "validation": [np.nan]})])
    np.testing.assert_array_equal(best_steps(history), [50, 0, np.nan])
