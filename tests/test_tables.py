import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import DATA, GIVEN, SPECTRA

from nearorbit.catalogue import StudyError, build, names
from nearorbit.scores import Results
from nearorbit.tables.base import save, summary
from nearorbit.tables.comparison import paired


def rows(**values):
    """Scores of a system and metric (lower is better): the values of the seeds by method."""
    frames = [
        pd.DataFrame({"method": method, "seed": range(len(value)), "value": value}) for method, value in values.items()
    ]
    cell = {"system": "A", "data": "clean", "noise": 0.0, "metric": "jacobian_error", "unit": "1", "status": "ok"}
    return pd.concat(frames, ignore_index=True).assign(**cell)


@pytest.mark.parametrize("name", names("tables"))
def test_a_table_is_written_for_machines_and_for_people(name, tmp_path):
    table = build("tables", name, {}).table(synthetic.study())
    csv, md, tex = (tmp_path / f"{name}.{suffix}" for suffix in ("csv", "md", "tex"))
    save(table, csv, md, tex)
    assert len(pd.read_csv(csv)) == len(table.records) > 0
    assert md.read_text().count("|\n") == len(table.cells) + 2
    assert "\\toprule" in tex.read_text() and "\\bottomrule" in tex.read_text()
    body = tex.read_text().split("\\midrule")[1]
    assert "_" not in body.replace("\\_", "") and "%" not in body.replace("\\%", "")
    assert table.cells.shape == table.best.shape


@pytest.mark.parametrize("name", ["jacobian_error", "overview", "comparison", "costs", "trials", "jacobian_estimators"])
def test_a_missing_cell_leaves_a_gap(name):
    whole = synthetic.study()
    results = Results(whole.folder, tuple(SPECTRA), DATA, (*GIVEN, "unborn"))
    table = build("tables", name, {}).table(results)
    if "unborn" in table.cells:
        assert table.cells["unborn"].eq("–").all() and not table.best["unborn"].any()


def test_failed_seeds_are_counted_where_they_failed():
    cells = build("tables", "state_space_divergence", {}).table(synthetic.study()).cells
    assert cells.loc[("Lorenz", "noisy"), "baseline (data)"].endswith("(1/3 failed)")
    assert cells.loc[("Lorenz96_N5", "clean"), "neighborhood (data)"].endswith("(1/3 failed)")
    assert cells.map(lambda text: "failed" in text).to_numpy().sum() == 2


def test_what_a_method_is_given_stands_next_to_its_name():
    table = build("tables", "jacobian_error", {}).table(synthetic.study())
    assert list(table.cells) == ["baseline (data)", "jacobian (true J)", "neighborhood (data)"]


def test_every_defined_value_enters_the_mean_whatever_its_status():
    scores = rows(a=[1.0, 2.0, 9.0])
    scores["status"] = ["ok", "ok", "collapsed"]
    row = summary(scores).iloc[0]
    assert (row["mean"], row["seeds"], row["undefined"], row["collapsed"]) == (4.0, 3, 0, 1)


def test_a_method_with_fewer_undefined_values_goes_before_one_with_a_better_mean():
    table = summary(rows(a=[1.0, np.nan, 1.0], b=[3.0, 3.0, 3.0], c=[4.0, 4.0, 4.0])).set_index("method")
    assert list(table["best"]) == [False, True, False]


def test_nothing_is_best_where_all_is_undefined():
    assert not summary(rows(a=[np.nan, np.nan], b=[np.nan, np.nan]))["best"].any()


def test_pairs_are_won_by_the_better_value_and_lost_by_the_undefined_one():
    scores = rows(a=[1.0, 1.0, 1.0, 1.0, np.nan, np.nan], b=[0.5, 2.0, np.nan, np.nan, 1.0, np.nan])
    row = paired(scores, "a").iloc[0]
    assert (row["wins"], row["pairs"]) == (2, 5)
    assert row["ratio"] == pytest.approx(1.25)


def test_local_fits_stand_before_trained_fields_with_their_own_errors():
    table = build("tables", "jacobian_estimators", {}).table(synthetic.study())
    records = table.records
    error = records.groupby("estimator", sort=False)["jacobian_error"].max()
    assert list(error.index) == ["linear", "quadratic", *GIVEN]
    assert error["linear"] == pytest.approx(0.4) and error["quadratic"] == pytest.approx(0.05)
    given = records.groupby(["kind", "estimator"], sort=False)["given"].unique().map(list)
    assert given.to_dict() == {
        **{("data", name): ["data"] for name in ("linear", "quadratic")},
        **{("field", method): [what] for method, what in GIVEN.items()},
    }
    exponents = records.query("estimator == 'linear' and system == 'Lorenz'")
    assert exponents["leading_exponent"].tolist() == pytest.approx([1.4 * SPECTRA["Lorenz"][0]] * len(exponents))
    assert (exponents["true_leading_exponent"] == SPECTRA["Lorenz"][0]).all()
    assert (records["lower_quartile"] <= records["jacobian_error"]).all()
    assert (records["jacobian_error"] <= records["upper_quartile"]).all()
    assert table.cells.loc["linear (local fit)", "Lorenz, clean"] == "0.4"


def test_an_unknown_metric_is_refused_with_the_nearest_name():
    with pytest.raises(StudyError, match="did you mean 'jacobian_error'"):
        build("tables", "overview", {"metrics": ["jacobian_eror"]})


def test_a_table_of_a_study_without_costs_names_methods_only(tmp_path):
    shutil.copy(synthetic.study().folder / "scores.csv", tmp_path)
    table = build("tables", "jacobian_error", {}).table(Results(tmp_path, tuple(SPECTRA), DATA, tuple(GIVEN)))
    assert list(table.cells) == list(GIVEN)


def test_the_trial_with_the_least_validation_error_is_taken(tmp_path):
    errors = {"baseline": [2.0, 1.0], "a-0.1": [1.0, 2.0], "a-1": [1.0, 0.5], "b-1": [4.0, 1.0], "b-2": [np.nan, 0.1]}
    for label, best in errors.items():
        (tmp_path / "A/clean" / label).mkdir(parents=True)
        history = pd.DataFrame({"seed": [0, 0, 1, 1], "validation": [9.0, best[0], best[1], 9.0]})
        if np.isnan(best[0]):
            history.loc[0, "validation"] = np.nan
        history.to_csv(tmp_path / "A/clean" / label / "history.csv", index=False)
    records = build("tables", "trials", {}).table(Results(tmp_path, ("A",), {"clean": 0.0}, tuple(errors))).records
    ratios = records.set_index("label")["ratio"]
    assert ratios["a-0.1"] == pytest.approx(1.0) and ratios["a-1"] == pytest.approx(0.5) and np.isnan(ratios["b-2"])
    assert list(records[records["taken"]]["label"]) == ["baseline", "a-1", "b-1"]
