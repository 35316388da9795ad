import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import DATA, GIVEN, SEEDS, SPECTRA

from nearorbit.__main__ import main
from nearorbit.evaluation import scores
from nearorbit.report.tables.base import headers
from nearorbit.study import places
from nearorbit.study.catalogue import entries, names

CELL = {"system": "Lorenz", "data": "clean", "noise": 0.0, "method": "baseline"}


@pytest.fixture(scope="module")
def truth():
    return synthetic.table("Lorenz")


def test_each_metric_and_seed_of_a_cell_has_a_row_also_where_it_diverged(truth):
    table = scores.scores(truth, synthetic.diverged(truth, 1), **CELL)
    cell, judged = ["system", "data", "noise", "method"], ["value", "stderr", "status", "converged"]
    assert list(table) == [*cell, "seed", "metric", "unit", *judged]
    assert len(table) == SEEDS * len(names("metrics"))
    assert not table.duplicated(["seed", "metric"]).any()
    assert table[table["seed"] == 1]["status"].eq("diverged").all()


def test_a_forecast_of_other_times_is_refused(truth):
    with pytest.raises(ValueError, match="exact"):
        scores.scores(truth, truth.assign_coords(lead=truth["lead"] * 2), **CELL)


def test_seeds_are_told_apart_as_ok_diverged_and_collapsed(truth):
    made = synthetic.diverged(synthetic.collapsed(truth, 2), 0)
    assert list(scores.status(made).values) == ["diverged", "ok", "collapsed"]
    both = made.assign(collapsed=made["collapsed"] + made["diverged"])
    assert list(scores.status(both).values) == ["diverged", "ok", "collapsed"]


def test_the_standard_error_is_blank_where_the_value_is(truth):
    table = scores.scores(truth, synthetic.diverged(truth, 1), **CELL)
    assert table.loc[table["value"].isna(), "stderr"].isna().all() and table["stderr"].notna().any()


def test_what_rests_on_a_spectrum_that_has_not_converged_says_so(truth):
    made = synthetic.table("Lorenz", 0.03)
    resting = {name for name, metric in entries("metrics").items() if "spectrum" in metric.needs}
    assert len(resting) >= 3
    for pair in ((truth, synthetic.unconverged(made, 1)), (synthetic.unconverged(truth, 1), made)):
        table = scores.scores(*pair, **CELL)
        known = table[table["metric"].isin(resting)]
        assert (known["converged"] == (known["seed"] != 1)).all()
        assert table.loc[~table["metric"].isin(resting), "converged"].isna().all()


def test_exponents_are_indexed_from_one(truth):
    table = scores.exponents(truth, **CELL)
    first = table[table["seed"] == 0]
    assert list(first["index"]) == [1, 2, 3]
    np.testing.assert_allclose(first["exponent"], SPECTRA["Lorenz"])


def test_the_long_tables_hold_every_cell():
    results = synthetic.study()
    kinds = len(SPECTRA) * len(DATA)
    judged = results.table("scores.csv")
    assert len(judged) == kinds * (1 + len(GIVEN)) * SEEDS * len(names("metrics"))
    assert len(results.table("costs.csv")) == kinds * len(GIVEN)
    truth = results.table("truth.csv")
    assert list(truth["exponent"]) == [*SPECTRA["Lorenz"], *SPECTRA["Lorenz96_N5"]]
    assert truth["motion"].eq("chaotic").all()
    exponents = results.table("exponents.csv")
    assert list(exponents["method"].unique()) == list(judged["method"].unique()) == ["truth", *GIVEN]
    assert len(exponents) == len(DATA) * (1 + len(GIVEN)) * SEEDS * (3 + 5)


def test_the_exponents_of_the_truth_are_those_of_its_forecast():
    results = synthetic.study()
    rows = results.table("exponents.csv").query("method == 'truth' and system == 'Lorenz' and data == 'clean'")
    forecast = results.open("forecast.nc", "Lorenz", "clean", "truth")
    np.testing.assert_allclose(rows["exponent"], forecast["exponents"].values.ravel())
    assert (rows["exponent"] != np.tile(SPECTRA["Lorenz"], SEEDS)).all()


def test_the_truth_is_a_cell_that_is_not_trained(tmp_path):
    results = scores.Results(tmp_path, ("A",), {"clean": 0.0}, ("m",))
    gone = scores.missing(results)
    assert gone.groupby("method")["file"].agg(list).to_dict() == {
        "m": ["history.csv", "forecast.nc"],
        "truth": ["forecast.nc"],
    }
    assert [cell["method"] for cell in results.trained()] == ["m"]


def test_a_field_that_is_brought_is_a_cell_that_is_not_trained(tmp_path):
    study = {"systems": {"A": {}}, "data": {"clean": {"noise": 0}}, "methods": {"m": {}}, "fields": {"mine": {}}}
    results = scores.Results.of(tmp_path, study)
    assert results.judged == ("truth", "m", "mine")
    assert [cell["method"] for cell in results.trained()] == ["m"]
    assert scores.missing(results).groupby("method")["file"].agg(list)["mine"] == ["forecast.nc"]
    assert headers(results)["mine"] == "mine (brought)"


def test_labels_that_look_like_numbers_stay_labels(tmp_path):
    (tmp_path / "007").mkdir()
    pd.DataFrame([{"system": "007", "data": "1.0", "method": "NA", "value": 2.5}]).to_csv(
        tmp_path / "007/scores.csv", index=False
    )
    results = scores.Results(tmp_path, ("007",), {"1.0": 0.0}, ("NA",))
    scores.collect_scores(results).to_csv(tmp_path / "scores.csv", index=False)
    row = results.table("scores.csv").iloc[0]
    assert (row["system"], row["data"], row["method"], row["value"]) == ("007", "1.0", "NA", 2.5)


def test_a_long_table_that_is_missing_has_columns_and_no_rows(tmp_path):
    table = scores.Results(tmp_path, (), {}, ()).table("scores.csv")
    assert table.empty and list(table) == list(scores.COLUMNS["scores.csv"])


def test_a_missing_cell_is_left_out_of_the_long_tables(tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(synthetic.study().folder, folder)
    shutil.rmtree(folder / "Lorenz" / "clean" / "jacobian")
    results = scores.Results(folder, tuple(SPECTRA), DATA, tuple(GIVEN))
    whole = synthetic.study().table("scores.csv")
    gone = (whole["system"] == "Lorenz") & (whole["data"] == "clean") & (whole["method"] == "jacobian")
    expected = whole[~gone].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores.judge(results), expected)
    assert len(scores.collect_costs(results)) == len(synthetic.study().table("costs.csv")) - 1
    shutil.rmtree(folder / "Lorenz")
    of_others = whole[whole["system"] != "Lorenz"].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores.collect_scores(results), of_others)


def test_the_files_of_a_study_are_listed_by_their_place():
    results = scores.Results.of("r", {"systems": {"A": {}, "B": {}}, "data": {"d": {"noise": 0}}, "methods": {"m": {}}})
    reads = {"forecast.nc", "scores.csv", "exponents.nc", "history.csv"}
    assert [str(path) for path in places.paths(results.folder, results, reads)] == [
        "r/A/exponents.nc",
        "r/B/exponents.nc",
        "r/A/d/truth/forecast.nc",
        "r/A/d/m/forecast.nc",
        "r/B/d/truth/forecast.nc",
        "r/B/d/m/forecast.nc",
        "r/A/d/m/history.csv",
        "r/B/d/m/history.csv",
        "r/scores.csv",
    ]


def test_the_door_refuses_other_numbers_of_truths_forecasts_and_cells(tmp_path, capsys):
    files = ["--truth", "a.nc", "--forecast", "b.nc", "c.nc", "--scores", str(tmp_path / "scores.csv")]
    assert main(["score", "--settings", '{"cells": [{}, {}]}', *files]) == 2
    assert "score: 1 truths and 2 forecasts of 2 cells: give one of each" in capsys.readouterr().err
    files[1:2] = ["a.nc", "b.nc", "--observations", "d.nc"]
    assert main(["score", "--settings", '{"cells": [{}, {}]}', *files]) == 2
    assert "score: 1 observations of 2 cells: give one of each, or none" in capsys.readouterr().err


def test_what_was_smoothed_is_told_below_every_table():
    study = {"systems": {}, "data": {"raw": {"noise": 0.1}, "mild": {"noise": 0.1, "smooth": "spline"}}, "methods": {}}
    assert scores.Results.of("r", study).remark == " Data mild: smoothing splines of the noisy orbits."
    assert scores.Results.of("r", study | {"data": {"raw": {"noise": 0.1}}}).remark == ""


def test_so_is_which_samples_are_missing_or_moved():
    data = {"raw": {"noise": 0.1}, "gappy": {"noise": 0.1, "missing": 0.3}, "moved": {"noise": 0.0, "jitter": 0.5}}
    told = scores.Results.of("r", {"systems": {}, "data": data, "methods": {}}).remark
    assert told == " Data gappy: 0.3 of the samples missing. Data moved: samples moved within 0.5 of an interval."
