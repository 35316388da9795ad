import json

import brought
import numpy as np
import pytest
import torch
import xarray as xr
from lorenz63 import STEP, Lorenz, jacobian, observations

from nearorbit.__main__ import main
from nearorbit.data.delays import Delays
from nearorbit.data.pooled import recordings
from nearorbit.dynamics.fields import CompiledField, Coordinates, Transformed
from nearorbit.evaluation.held_out import with_held_out
from nearorbit.evaluation.unseen import VALID, unseen
from nearorbit.study import files

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


def recorded(samples=900, learned=700, gap=None):
    """A measured system: what was learned from, and its recording, the end of which was held out."""
    table = observations(samples=samples, seeds=2, noise=0.01)
    states = table["train"].to_numpy()[0, 0]
    orbits = xr.Dataset(
        {
            "recorded": (("recording", "moment", "component"), states[None]),
            "recorded_instants": (("recording", "moment"), STEP * np.arange(samples)[None]),
            "learned": ("recording", [learned]),
            "step": STEP,
            "period": table["period"],
        },
        coords={"component": ["x", "y", "z"]},
    )
    table = table.isel(time=slice(0, learned)).assign_coords(component=["x", "y", "z"])
    return table, orbits if gap is None else orbits.assign(gap=gap * STEP)


def test_what_was_held_out_of_recordings_takes_the_place_of_validation_orbits():
    table, orbits = recorded()
    held = with_held_out(table, orbits)
    for member in range(2):
        ((states, times),) = recordings(held, "validation", member)
        np.testing.assert_array_equal(states, orbits["recorded"][0, 700:])
        np.testing.assert_allclose(times, np.arange(200), atol=1e-9)
        ((states, times),) = recordings(held, "train", member)
        np.testing.assert_array_equal(states, table["train"][member, 0])
        np.testing.assert_allclose(times, np.arange(700), atol=1e-9)
    found = unseen(field_of(Lorenz()), table, orbits, evaluation=EVALUATION)
    assert found.sizes["lead"] == 99 and found["valid_time"].mean() > 1.5


def test_held_out_samples_that_fill_up_are_left_out_and_a_recording_may_be_whole():
    table, orbits = recorded(gap=3)
    short = orbits.assign(learned=("recording", [0]))
    short["recorded_instants"] = short["recorded_instants"].where(short["moment"] < 300)
    both = xr.concat([orbits, short], "recording", data_vars="minimal")
    lengths = [len(times) for _, times in recordings(with_held_out(table, both), "validation", 0)]
    assert lengths == [200, 300]


def test_held_out_samples_are_seen_with_the_delays_of_the_others():
    table, orbits = recorded(gap=3)
    delays = Delays((0,), dimension=3, lag=4)
    seen = xr.Dataset(
        {
            "train": (("seed", "orbit", "time", "component"), delays(table["train"].to_numpy())),
            "step": STEP,
            "period": table["period"],
        },
        coords={"seed": [0, 1]},
        attrs=delays.attributes,
    )
    ((states, _),) = recordings(with_held_out(seen, orbits), "validation", 0)
    assert states.shape == (192, 3)
    np.testing.assert_array_equal(states[:, 0], orbits["recorded"][0, 708:, 0])
    assert np.abs(states[:, 2] - orbits["recorded"][0, 700:892, 0].to_numpy()).max() < 1, "the spline of the past"


def test_a_field_that_is_brought_is_held_against_observations_as_a_model_is(tmp_path):
    table = observations(noise=0.02, samples=1500)
    files.write(table, tmp_path / "observations.nc", kind="observations")
    command = ["unseen", "--settings", json.dumps({"evaluation": EVALUATION})]
    command += [f"--observations={tmp_path / 'observations.nc'}", f"--unseen={tmp_path / 'unseen.nc'}"]
    assert main([*command, "--field", f"{brought.python(tmp_path)}:lorenz"]) == 0
    told, known = (
        files.read(tmp_path / "unseen.nc", kind="unseen"),
        unseen(field_of(Lorenz()), table, None, evaluation=EVALUATION),
    )
    np.testing.assert_allclose(told["valid_time"], known["valid_time"], atol=STEP)
    assert main(command) == 2
