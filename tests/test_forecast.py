import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from lorenz63 import PERIOD, STEP, Lorenz, jacobian, orbit

from nearorbit.fields import Coordinates, NeuralField, Transformed, TrueField
from nearorbit.forecast import best_steps, bounded, exponents, forecast

EVALUATION = {"exponents": {"starts": 4, "horizon": 100, "transient": 10}}
HISTORY = pd.DataFrame({"seed": [0, 0, 1, 1], "step": [0, 50, 0, 50], "validation": [1.0, 0.5, 0.1, 0.2]})


@pytest.fixture(scope="module")
def truth():
    """The table of the truth for two seeds, as ``truth.nc`` has it."""
    starts = orbit(np.random.default_rng(0).normal([1.0, 1.0, 25.0], 1.0, (2, 8, 3)), 500)[..., -1, :]
    runs = orbit(starts, 60)
    clock = STEP * np.arange(60)
    return xr.Dataset(
        {
            "forecasts": (("seed", "start", "lead", "component"), runs),
            "attractor": (("seed", "run", "sample", "component"), runs[:, :3]),
            "windows": (("seed", "window", "moment", "component"), runs[:, :2, :20]),
            "region": (("window", "moment"), np.zeros((2, 20), np.int8)),
            "points": (("seed", "point", "component"), runs[:, :, 30]),
            "field": (("seed", "point", "component"), Lorenz()(runs[:, :, 30])),
            "jacobian": (("seed", "point", "component", "direction"), jacobian(runs[:, :, 30])),
            "exponents": (("seed", "exponent"), np.tile([0.9056, 0.0, -14.572], (2, 1))),
            "stderr": (("seed", "exponent"), np.zeros((2, 3))),
            "converged": ("seed", np.ones(2, np.int8)),
            "horizon": 100 * PERIOD,
            "best_step": ("seed", np.zeros(2)),
            "diverged": ("seed", np.zeros(2, np.int8)),
            "step": STEP,
            "period": PERIOD,
        },
        coords={"seed": [0, 1], "lead": clock, "sample": clock},
    )


class Known(TrueField):
    """The true field with the Jacobian written out, which is faster than automatic differentiation."""

    def push_forward(self, x, v):
        return self(x), v @ torch.from_numpy(jacobian(x.numpy())).mT


def perfect():
    """Put the true field in the place of a trained one."""
    one = torch.ones(2, 3, dtype=torch.float64)
    return Transformed(Known(Lorenz()), Coordinates(0 * one, one, one[:, :1]))


def test_the_true_field_forecasts_the_truth(truth):
    table = forecast(perfect(), HISTORY, truth, evaluation=EVALUATION, substeps=4)
    assert set(table.data_vars) >= set(truth.data_vars) - {"step", "period"}
    for name in ("field", "jacobian"):
        np.testing.assert_allclose(table[name], truth[name], rtol=1e-10, atol=1e-10)
    for name in ("forecasts", "attractor", "windows"):
        assert table[name].dims == truth[name].dims
        np.testing.assert_allclose(table[name], truth[name], rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(table["exponents"].sum("exponent"), -13.6667, rtol=1e-4)
    np.testing.assert_allclose(table["exponents"], truth["exponents"], atol=0.1)
    assert (abs(table["exponents"] - truth["exponents"]) < 5 * table["stderr"] + 0.01).all()
    assert not table["diverged"].any()


def test_exponents_are_averaged_until_their_error_is_small_and_no_longer_than_the_horizon(truth):
    for horizon, converged in ((4, False), (4000, True)):
        found = exponents(perfect(), truth, starts=4, horizon=horizon, transient=5, substeps=2)
        bound = 0.01 * np.maximum(abs(found["exponents"][:, 0]), 0.9056)
        assert found["converged"].astype(bool).values.tolist() == [converged] * 2
        assert (found["stderr"][:, 0] <= bound).all() or not converged
        assert found["horizon"] <= horizon * PERIOD * (1.01 if not converged else 0.9)


def test_a_field_that_explodes_is_counted_and_leaves_nan(truth):
    field = NeuralField(3, [0, 1], width=8)
    coordinates = Coordinates(*(torch.full((2, n), v, dtype=torch.float64) for n, v in ((3, 0.0), (3, 10.0), (1, 1.0))))
    with torch.no_grad():
        field.biases[-1][1] = 1e4  # the second member runs off at a constant speed
    table = forecast(
        Transformed(field.requires_grad_(False), coordinates.inverse), HISTORY, truth, evaluation=EVALUATION
    )
    assert table["diverged"].values.tolist() == [0, 1]
    assert table["attractor"].sel(seed=1).isnull().any() and table["attractor"].sel(seed=0).notnull().all()
    assert table["exponents"].sel(seed=0).notnull().all() and table["exponents"].sel(seed=1).isnull().all()


def test_an_orbit_is_cut_where_it_first_leaves():
    x = np.array([[0.0], [5.0], [100.0], [1.0]])
    np.testing.assert_array_equal(bounded(x, np.array([-1.0]), np.array([1.0])), [[0.0], [5.0], [np.nan], [np.nan]])


def test_the_best_step_is_that_of_the_least_validation_error():
    history = pd.concat([HISTORY, pd.DataFrame({"seed": [2], "step": [0], "validation": [np.nan]})])
    np.testing.assert_array_equal(best_steps(history), [50, 0, np.nan])
