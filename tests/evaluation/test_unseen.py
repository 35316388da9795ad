import numpy as np
import pytest
import torch
from lorenz63 import STEP, Lorenz, jacobian, observations

from nearorbit.dynamics.fields import CompiledField, Coordinates, Transformed
from nearorbit.evaluation.unseen import VALID, unseen

EVALUATION = {"starts": 30, "longest": 12, "exponents": {"transient": 10}}
IRREGULAR = {"missing": 0.3, "jitter": 0.5}


def field_of(function):
    """A field of two members in the place of a trained one."""
    one = torch.ones(2, 3, dtype=torch.float64)
    return Transformed(CompiledField(lambda x: (function(x), jacobian(x)), 3), Coordinates(0 * one, one, one[:, :1]))


def wrong(x):
    return Lorenz()(x) + np.array([0.0, 12.0, 0.0]) * x[..., :1]  # rho is 40


def judged(function, noise=0.0, **settings):
    return unseen(field_of(function), observations(noise=noise, samples=3000, **settings), None, evaluation=EVALUATION)


@pytest.mark.parametrize("settings", [{}, IRREGULAR])
def test_the_true_field_forecasts_what_was_held_out(settings):
    table = judged(Lorenz(), **settings)
    assert (table["error"].dropna("lead").isel(lead=slice(0, 60)) < 0.005).all(), table["error"].values[:, :60:10]
    assert (table["valid_time"].mean() > 5) and (table["persistence_time"].mean() < 0.3)
    assert (table["climatology_time"] <= 5 * STEP).mean() > 0.8


def test_forecasts_from_noisy_samples_begin_with_their_noise():
    table = judged(Lorenz(), noise=0.05)
    np.testing.assert_allclose(table["error"].isel(lead=0), 0.05 * 2**0.5, rtol=0.3)
    assert 1 < table["valid_time"].mean() < 3


def test_a_wrong_field_is_valid_for_less_time_and_has_another_attractor():
    right, other = judged(Lorenz(), noise=0.02, **IRREGULAR), judged(wrong, noise=0.02, **IRREGULAR)
    assert (other["valid_time"].mean("start") < right["valid_time"].mean("start") / 4).all()
    for name, factor in (("divergence", 4), ("hellinger", 1.5)):
        floor = right[f"{name}_floor"]
        assert (right[name] < 1.3 * floor).all() and (other[name] > factor * floor).all(), (right, other)
        np.testing.assert_array_equal(floor, other[f"{name}_floor"])


def test_a_field_at_rest_is_persistence():
    table = judged(lambda x: 0 * x)
    np.testing.assert_allclose(table["error"], table["persistence_error"])
    np.testing.assert_allclose(table["valid_time"], table["persistence_time"])


def test_a_field_that_leaves_fails_from_there_on_and_has_no_attractor():
    table = judged(lambda x: 3 * x, **IRREGULAR)
    assert np.isinf(table["error"].dropna("lead").isel(lead=-1)).all()
    assert table["divergence"].isnull().all() and table["hellinger"].isnull().all()
    assert np.isfinite(table["divergence_floor"]).all()


def test_no_truth_is_looked_at():
    table = observations(noise=0.02, samples=1500)
    assert not {"exponents", "field", "jacobian", "attractor"} & set(table)
    found = unseen(field_of(Lorenz()), table, None, evaluation=EVALUATION)
    assert found.sizes["lead"] == (table.sizes["validation_time"] - 1) // 2, "half of what was held out"


def test_valid_times_end_where_the_error_first_exceeds_the_threshold():
    table = judged(wrong)
    first = table["error"].isel(seed=0).to_numpy() > VALID
    median = table["valid_time"].isel(seed=0).median().item() / STEP
    assert abs(median - (1 + first.argmax())) <= 2
