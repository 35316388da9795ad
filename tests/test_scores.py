import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import DATA, GIVEN, SEEDS, SPECTRA

from nearorbit import scores, study
from nearorbit.catalogue import names

CELL = {"system": "Lorenz", "data": "clean", "noise": 0.0, "method": "baseline"}


@pytest.fixture(scope="module")
def truth():
    return synthetic.table("Lorenz")


def status(truth, forecast):
    return list(scores.status(truth, forecast).values)


def test_each_metric_and_seed_of_a_cell_has_a_row_also_where_it_diverged(truth):
    table = scores.scores(truth, synthetic.diverged(truth, 1), **CELL)
    assert list(table) == ["system", "data", "noise", "method", "seed", "metric", "unit", "value", "status"]
    assert len(table) == SEEDS * len(names("metrics"))
    assert not table.duplicated(["seed", "metric"]).any()
    assert table[table["seed"] == 1]["status"].eq("diverged").all()


def test_a_forecast_of_other_times_is_refused(truth):
    with pytest.raises(ValueError, match="exact"):
        scores.scores(truth, truth.assign_coords(lead=truth["lead"] * 2), **CELL)


def test_seeds_are_told_apart_as_ok_diverged_and_collapsed(truth):
    made = synthetic.collapsed(synthetic.diverged(truth, 0), 2)
    assert status(truth, made) == ["diverged", "ok", "collapsed"]


def test_a_limit_cycle_has_collapsed_only_if_the_truth_is_chaotic(truth):
    cycle = truth.assign(exponents=truth["exponents"] * [0.05, 1, 1])
    assert status(truth, cycle) == ["collapsed"] * SEEDS
    regular = truth.assign(exponents=truth["exponents"] * [0, 1, 1])
    assert status(regular, regular) == ["ok"] * SEEDS


def test_orbits_that_come_to_rest_after_a_while_have_collapsed(truth):
    resting = truth["attractor"].where(truth["sample"] < truth["sample"].quantile(0.4), 1.0)
    assert status(truth, truth.assign(attractor=resting)) == ["collapsed"] * SEEDS


def test_orbits_at_several_fixed_points_have_collapsed(truth):
    apart = truth["attractor"].isel(sample=0, drop=True).broadcast_like(truth["attractor"])
    assert status(truth, truth.assign(attractor=apart)) == ["collapsed"] * SEEDS


def test_exponents_are_indexed_from_one(truth):
    table = scores.exponents(truth, **CELL)
    first = table[table["seed"] == 0]
    assert list(first["index"]) == [1, 2, 3]
    np.testing.assert_allclose(first["exponent"], SPECTRA["Lorenz"])


def test_the_long_tables_hold_every_cell():
    results = synthetic.study()
    cells = len(SPECTRA) * len(DATA) * len(GIVEN)
    assert len(results.read("scores.csv")) == cells * SEEDS * len(names("metrics"))
    assert len(results.read("costs.csv")) == cells
    assert list(results.read("truth.csv")["exponent"]) == [*SPECTRA["Lorenz"], *SPECTRA["Lorenz96_N5"]]
    exponents = results.read("exponents.csv")
    assert set(exponents["method"]) == {"truth", *GIVEN}
    assert len(exponents) == len(DATA) * (1 + len(GIVEN)) * SEEDS * (3 + 5)


def test_a_missing_cell_is_left_out_of_the_long_tables(tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(synthetic.study().folder, folder)
    shutil.rmtree(folder / "Lorenz" / "clean" / "jacobian")
    results = scores.Results(folder, tuple(SPECTRA), DATA, tuple(GIVEN))
    whole = synthetic.study().read("scores.csv")
    gone = (whole["system"] == "Lorenz") & (whole["data"] == "clean") & (whole["method"] == "jacobian")
    expected = whole[~gone].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores.collect_scores(results), expected)
    assert len(scores.collect_costs(results)) == len(synthetic.study().read("costs.csv")) - 1


def test_the_files_of_a_study_are_listed_by_their_place():
    results = scores.Results.of("r", {"systems": {"A": {}, "B": {}}, "data": {"d": {"noise": 0}}, "methods": {"m": {}}})
    listed = [str(path) for path in study.paths(results.folder, results, {"forecast.nc", "scores.csv", "exponents.nc"})]
    assert listed == [
        "r/A/exponents.nc",
        "r/B/exponents.nc",
        "r/A/d/m/forecast.nc",
        "r/B/d/m/forecast.nc",
        "r/scores.csv",
    ]
