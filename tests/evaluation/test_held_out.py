"""What is held out stands where a truth does: what of it is what, and what is not known."""

import numpy as np
from lorenz63 import PERIOD, STEP, table_of_truth
from recorded import cut, file_of, measured, pieces

from nearorbit.data.delays import Delays
from nearorbit.data.observations import observe
from nearorbit.evaluation.forecast import forecast
from nearorbit.evaluation.held_out import held_out
from nearorbit.evaluation.observed import as_seen, with_observed
from nearorbit.evaluation.scores import scores
from nearorbit.study import files

EVALUATION = {"longest": 4, "samples": 60, "starts": 7, "runs": 3, "points": 32, "windows": 5, "window": 2}
UNKNOWN = ("field", "jacobian", "exponents", "stderr")
BLANK = {"jacobian_error", "field_error", "lyapunov_distance", "leading_exponent_error", "kaplan_yorke_error",
         "valid_prediction_time", "predicted_lyapunov_distance"}  # fmt: skip


def table(made, known, **seen):
    observed = observe(made, known, label="series", **seen)
    return observed, held_out(made, observed, evaluation=EVALUATION)


def test_it_has_the_layout_of_a_truth_and_what_only_a_truth_tells_is_nan(tmp_path):
    made, known = cut(measured(file_of(tmp_path / "a.csv", *pieces(1000)), period=PERIOD), seeds=2, held_out=0.3)
    _, truth = table(made, known)
    files.write(truth, tmp_path / "truth.nc", kind="truth")
    read = files.read(tmp_path / "truth.nc", kind="truth")
    assert all(read[name].isnull().all() for name in UNKNOWN) and read.attrs["motion"] == "unknown"
    assert {"seed": 2, "start": 7, "run": 3, "window": 5, "point": 32}.items() <= dict(read.sizes).items()
    assert (read["attractor"][0] == read["attractor"][1]).all(), "all seeds are held against the same"


def test_forecasts_and_runs_are_pieces_of_what_was_held_out(tmp_path):
    (states,) = pieces(1000)
    made, known = cut(measured(file_of(tmp_path / "a.csv", states), period=PERIOD), held_out=0.3)
    _, truth = table(made, known)
    rest = {tuple(state): number for number, state in enumerate(states[700:])}
    for name in ("forecasts", "attractor"):
        for piece in truth[name].values[0]:
            begin = rest[tuple(piece[0])]
            assert np.array_equal(piece, states[700 + begin : 700 + begin + len(piece)])
    assert truth.sizes["lead"] == 1 + int(4 * PERIOD / STEP)


def test_windows_are_those_of_a_simulation_cut_from_the_same_orbit(tmp_path):
    from nearorbit.truth.simulation import _windows

    (states,) = pieces(1000)
    made, known = cut(measured(file_of(tmp_path / "a.csv", states), period=PERIOD), held_out=0.3)
    observed, truth = table(made, known)
    windows, region = _windows(made, 5, round(2 * PERIOD / STEP), None, 0)
    assert np.array_equal(truth["region"], region)
    assert np.array_equal(truth["windows"], windows, equal_nan=True)
    assert with_observed(truth, observed)["observed"].equals(truth["windows"])


def test_at_uneven_times_what_is_held_out_is_read_at_equal_ones_and_unknown_in_gaps(tmp_path):
    (states,) = pieces(1000)
    kept = np.delete(np.arange(1000), np.arange(850, 870))
    file = file_of(tmp_path / "a.csv", states[kept], times=[STEP * kept])
    made, known = cut(measured(file, period=PERIOD), held_out=0.3)
    _, truth = table(made, known)
    assert np.isfinite(truth["forecasts"]).all() and np.isfinite(truth["attractor"]).all()
    there = {tuple(state) for state in states.round(6)}
    assert {tuple(state) for state in truth["attractor"].values.reshape(-1, 3).round(6)} <= there


def test_a_night_without_samples_takes_no_room(tmp_path):
    (states,) = pieces(1000)
    times = STEP * np.arange(1000) + 1e9 * (np.arange(1000) >= 850)
    made, known = cut(measured(file_of(tmp_path / "a.csv", states, times=[times])), held_out=0.3)
    _, truth = table(made, known)
    assert abs(float(known["period"]) / PERIOD - 1) < 0.2 and np.isfinite(truth["forecasts"]).all()


def test_recordings_held_out_as_a_whole_are_beyond(tmp_path):
    made, known = cut(measured(file_of(tmp_path / "a.csv", *pieces(600, 300)), period=PERIOD), held_out=[1])
    _, truth = table(made, known)
    assert set(np.unique(truth["region"])) <= {-1, 1} and np.isfinite(truth["windows"].values[:, :, 0]).all()


def test_scores_that_need_a_truth_are_blank_and_the_others_are_best_for_the_series_itself(tmp_path):
    made, known = cut(measured(file_of(tmp_path / "a.csv", *pieces(1500)), period=PERIOD), seeds=2, held_out=0.4)
    _, truth = table(made, known)
    values = scores(truth, truth, system="series", data="raw", noise=0.0, method="itself").set_index("metric")["value"]
    assert values[list(BLANK)].isna().all()
    for name in ("interpolation_error", "extrapolation_error", "noisy_extrapolation_mse", "spectral_hellinger"):
        assert (values[name] == 0).all(), name


def test_a_truth_seen_with_delays_keeps_its_leading_exponents_and_has_no_jacobian():
    truth = table_of_truth().assign_coords(component=["x", "y", "z"], direction=["x", "y", "z"])
    truth = truth.assign_coords(moment=STEP * np.arange(truth.sizes["moment"]))
    for dimension in (2, 5):
        seen = as_seen(truth, Delays((0,), dimension, 3))
        span = 3 * (dimension - 1)
        assert seen.sizes["component"] == dimension and seen.sizes["lead"] == truth.sizes["lead"] - span
        assert np.array_equal(seen["forecasts"][..., 0], truth["forecasts"][:, :, span:, 0])
        assert np.array_equal(seen["forecasts"][..., -1], truth["forecasts"][:, :, : truth.sizes["lead"] - span, 0])
        assert seen["jacobian"].isnull().all() and seen["exponents"][0, 0] == truth["exponents"][0, 0]
        assert int(seen["exponents"][0].notnull().sum()) == min(3, dimension)


def test_forecasts_of_a_field_are_made_without_a_truth(tmp_path):
    from lorenz63 import Lorenz

    from nearorbit.dynamics.fields import TrueField, in_place_of_a_model

    made, known = cut(measured(file_of(tmp_path / "a.csv", *pieces(2000)), period=PERIOD), held_out=0.5)
    _, truth = table(made, known)
    evaluation = {"exponents": {"starts": 3, "horizon": 40, "transient": 5, "accuracy": 0.2}}
    table_of = forecast(in_place_of_a_model(TrueField(Lorenz())), None, truth, evaluation=evaluation)
    assert abs(float(table_of["exponents"][0, 0]) - 0.9) < 0.3, "learned exponents are known all the same"
    judged = scores(truth, table_of, system="series", data="raw", noise=0.0, method="true").set_index("metric")["value"]
    assert judged["noisy_extrapolation_mse"].item() < 1e-2 and np.isnan(judged["lyapunov_distance"].item())
