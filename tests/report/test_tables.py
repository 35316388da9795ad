import shutil
from itertools import product

import numpy as np
import pandas as pd
import pytest
import synthetic
import yaml
from synthetic import DATA, GIVEN, SPECTRA, STUDIES

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.statistics import signed_rank
from nearorbit.report.tables.base import mean_and_deviation, save, summary, with_error
from nearorbit.report.tables.overview import standing
from nearorbit.report.tables.published import COLUMNS, QUANTITIES, published
from nearorbit.report.tables.signed_rank import against, compared
from nearorbit.study import files
from nearorbit.study.catalogue import StudyError, build, entries, names
from nearorbit.study.places import STUDIES as SHIPPED


def rows(failed=(), metric="jacobian_error", **values):
    """Scores of a system and metric (lower is better): the values of the seeds by method, and which (method, seed)
    have failed."""
    frames = [
        pd.DataFrame({"method": method, "seed": range(len(value)), "value": value}) for method, value in values.items()
    ]
    cell = {"system": "A", "data": "clean", "noise": 0.0, "metric": metric, "unit": "1", "status": "ok"}
    table = pd.concat(frames, ignore_index=True).assign(**cell, stderr=0.1, converged=1.0)
    gone = [label in failed for label in zip(table["method"], table["seed"], strict=True)]
    return table.assign(status=table["status"].mask(gone, "collapsed"))


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


@pytest.mark.parametrize("study", STUDIES)
def test_every_table_is_made_of_whatever_there_is(study, tmp_path):
    results = synthetic.odd_study(study)
    for name in names("tables"):
        table = build("tables", name, {}).table(results)
        save(table, *(tmp_path / f"{name}.{suffix}" for suffix in ("csv", "md", "tex")))
        assert table.cells.shape == table.best.shape and table.caption in (tmp_path / f"{name}.md").read_text(), name
        assert table.cells.map(lambda text: isinstance(text, str)).all(axis=None), f"{name}:\n{table.cells}"
        assert study != "nothing" or not table.best.any(axis=None), f"{name}:\n{table.cells}"


@pytest.mark.parametrize("study", ["all collapsed", "all diverged"])
def test_nothing_is_bold_where_every_seed_has_failed(study):
    judged = {*names("metrics"), "overview", "comparison"}
    for name in judged:
        best = build("tables", name, {}).table(synthetic.odd_study(study)).best
        assert not best.any(axis=None), f"{name}:\n{best}"


@pytest.mark.parametrize("name", [*names("metrics"), "jacobian_estimators"])
def test_the_truth_has_a_place_of_its_own_and_competes_with_none(name):
    table = build("tables", name, {}).table(synthetic.study())
    assert "The truth is the true field in a model's place" in table.caption
    cells, best = (t.T if name == "jacobian_estimators" else t for t in (table.cells, table.best))
    assert not best["truth"].any() and best.any(axis=None)
    assert cells["truth"].ne("–").all()


def test_the_truth_changes_no_rank_and_no_best():
    scores = synthetic.study().table("scores.csv")
    methods = scores[scores["method"] != "truth"]
    best = summary(scores).query("method != 'truth'")["best"].reset_index(drop=True)
    pd.testing.assert_series_equal(best, summary(methods)["best"])
    pd.testing.assert_frame_equal(standing(scores), standing(methods))


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
    assert list(table.cells) == ["truth", "baseline (data)", "jacobian (true J)", "neighborhood (data)"]


def test_every_defined_value_enters_the_mean_whatever_its_status():
    row = summary(rows(failed=[("a", 2)], a=[1.0, 2.0, 9.0])).iloc[0]
    assert (row["mean"], row["seeds"], row["undefined"], row["collapsed"], row["failed"]) == (4.0, 3, 0, 1, 1)
    assert row["stderr"] == pytest.approx(0.1)


def test_a_cell_with_a_failed_seed_is_never_the_best_however_good():
    scores = rows(failed=[("a", 1)], a=[0.1, 0.1, 0.1], b=[3.0, 3.0, 3.0], c=[1.0, np.nan, 1.0])
    assert list(summary(scores).set_index("method")["best"]) == [False, True, False]
    alone = rows(failed=[("a", 1), ("b", 0)], a=[0.1, 0.1], b=[0.2, 0.2])
    assert not summary(alone)["best"].any()


@pytest.mark.parametrize(("metric", "good", "bad"), [("jacobian_error", 1.0, 2.0), ("valid_prediction_time", 2.0, 1.0)])
def test_methods_rank_by_medians_over_seeds_and_those_that_failed_are_last(metric, good, bad):
    scores = rows(
        failed=[("c", 0), ("c", 1)], metric=metric,
        a=[bad, bad, good], b=[good, good, np.nan], c=[good, good, good], d=[bad, bad * (1 + 1e-9), bad],
    )  # fmt: skip
    records = standing(scores).set_index(["quantity", "method"])["value"]
    assert records[metric].to_dict() == {"b": 1.0, "a": 2.5, "d": 2.5, "c": 4.0}
    assert records["all"].to_dict() == records[metric].to_dict()
    assert records["failed"].to_dict() == {"a": 0.0, "b": 0.0, "c": pytest.approx(2 / 3), "d": 0.0}


def test_a_method_with_fewer_undefined_values_goes_before_one_with_a_better_mean():
    table = summary(rows(a=[1.0, np.nan, 1.0], b=[3.0, 3.0, 3.0], c=[4.0, 4.0, 4.0])).set_index("method")
    assert list(table["best"]) == [False, True, False]


def test_nothing_is_best_where_all_is_undefined():
    assert not summary(rows(a=[np.nan, np.nan], b=[np.nan, np.nan]))["best"].any()


def compare(tmp_path, table, **settings):
    """The table comparison of these scores, of the methods a, b and c."""
    table.to_csv(tmp_path / "scores.csv", index=False)
    results = Results(tmp_path, tuple(table["system"].unique()), {"clean": 0.0}, ("a", "b", "c"))
    return build("tables", "comparison", {"metrics": ["jacobian_error"], **settings}).table(results)


def told_of(tmp_path, name, table, given, **settings):
    """A table of these scores, of methods that are given this."""
    table.to_csv(tmp_path / "scores.csv", index=False)
    costs = pd.DataFrame({"method": list(given), "given": list(given.values())})
    costs.assign(system="s0", data="clean").to_csv(tmp_path / "costs.csv", index=False)
    results = Results(tmp_path, tuple(table["system"].unique()), {"clean": 0.0}, tuple(given))
    return build("tables", name, settings).table(results)


@pytest.mark.parametrize("name", ["jacobian_error", "values", "overview", "comparison"])
def test_what_is_given_more_than_data_is_never_marked(name, tmp_path):
    given = {"a": "data", "b": "data", "c": "data + true J"}
    scores = several(6, a=[1.0] * 3, b=[0.5, 0.6, 0.4], c=[0.1] * 3)
    settings = {} if name == "jacobian_error" else {"metrics": ["jacobian_error"]}
    best = told_of(tmp_path, name, scores, given, **settings).best
    marked = [f"{row} {column}" for row in best.index for column in best if best.loc[row, column]]
    assert marked and not any("true J" in mark for mark in marked), marked


def test_a_method_that_has_lost_half_of_its_seeds_is_never_marked(tmp_path):
    a, c = [0.5, 0.9, 0.5, 0.5, 0.5, 0.5], [0.9, 0.5, 0.9, 0.5, 0.5, 0.9]
    lost = {3: "ab", 4: "bc", 5: "b"}
    tables = [rows([(m, 0) for m in lost.get(n, "")], a=[a[n]], b=[0.1], c=[c[n]]) for n in range(6)]
    scores = pd.concat(table.assign(system=f"s{n}") for n, table in enumerate(tables))
    table = told_of(tmp_path, "overview", scores, dict.fromkeys("abc", "data"), metrics=["jacobian_error"])
    ranks, best = (part.loc[("clean", "Jacobian error")].tolist() for part in (table.cells, table.best))
    assert (ranks, best) == (["1.9", "1.8", "2.2"], [True, False, False])


def test_a_share_of_failures_says_of_how_many_systems_it_is(tmp_path):
    scores = several(4, failed=[("a", 0), ("c", 0), ("c", 1)], a=[1.0] * 3, b=[0.5] * 3, c=[0.5] * 3)
    scores = scores[~((scores["method"] == "b") & (scores["system"] == "s3"))]
    table = told_of(tmp_path, "overview", scores, dict.fromkeys("abc", "data"), metrics=["jacobian_error"])
    assert table.cells.loc[("clean", "failed")].tolist() == ["33% (4)", "0% (3)", "67% (4)"]
    assert table.best.loc[("clean", "failed")].tolist() == [False, False, False], "the least is of fewer systems"


def several(systems, failed=(), **values):
    """The same values on so many systems, which differ a little."""
    tables = [rows(failed, **values).assign(system=f"s{n}") for n in range(systems)]
    return pd.concat([table.assign(value=table["value"] * (1 + n / 100)) for n, table in enumerate(tables)])


def test_what_is_better_on_six_systems_is_bold_and_said_but_not_if_it_failed(tmp_path):
    failed = [("c", seed) for seed in range(3)]
    table = compare(tmp_path, several(6, failed, a=[1.0] * 3, b=[0.5, 0.6, 0.4], c=[0.1] * 3))
    cells, best = table.cells["Jacobian error"], table.best["Jacobian error"]
    assert cells.tolist() == ["1", "0.5 [0.4, 0.6] 6/6", "∞ [∞, ∞] 0/6"] and best.tolist() == [False, True, False]
    assert table.caption.endswith("clean: better than a is b; clean: worse than a is c."), table.caption
    assert table.cells["failed"].tolist() == ["0/18", "0/18", "18/18"]
    assert table.records["p"].tolist() == [2 * 2 / 2**6] * 2


def test_of_seven_systems_the_test_is_told_too(tmp_path):
    table = compare(tmp_path, several(7, a=[1.0], b=[0.5], c=[0.9]))
    assert table.cells["Jacobian error"].tolist()[1:] == ["0.5 [0.5, 0.5] 7/7*", "0.9 [0.9, 0.9] 7/7*"]


def test_few_systems_are_said_to_decide_nothing(tmp_path):
    table = compare(tmp_path, several(5, a=[1.0], b=[0.5], c=[2.0]))
    assert not table.best.any(axis=None) and "better than" not in table.caption and "worse than a" not in table.caption
    assert "5 systems decide nothing" in table.caption
    assert table.cells["Jacobian error"].tolist() == ["1", "0.5 (0.5 to 0.5) 5/5", "2 (2 to 2) 0/5"]


def test_numbers_that_rest_on_unconverged_spectra_carry_their_count():
    results = synthetic.study()
    for name in ("lyapunov_distance", "leading_exponent_error", "kaplan_yorke_error"):
        table = build("tables", name, {}).table(results)
        marked = table.cells.map(lambda text: "‡1" in text)
        assert marked.loc[("Lorenz", "clean"), "jacobian (true J)"] and marked.to_numpy().sum() == 1
        assert "‡ counts" in table.caption
    assert not build("tables", "jacobian_error", {}).table(results).cells.map(lambda text: "‡" in text).any(axis=None)


def test_a_system_says_how_it_moves_and_only_a_chaotic_one_has_a_lyapunov_time():
    chaotic, regular = (
        build("tables", "systems", {}).table(results) for results in (synthetic.study(), synthetic.odd_study("regular"))
    )
    assert chaotic.cells.loc["Lorenz", "motion"] == "chaotic" and regular.cells.loc["Lorenz", "motion"] == "periodic"
    names = ["positive", "Lyapunov time", "Kaplan-Yorke dimension"]
    assert list(chaotic.cells.loc["Lorenz", names]) == ["1", "1.1", "2.06"]
    assert regular.cells.loc["Lorenz", names].eq("–").all()
    marked = [
        table.cells.loc["Lorenz", "Lyapunov exponents ± standard error"][-1] == "‡" for table in (chaotic, regular)
    ]
    assert marked == [False, True]


def test_local_fits_stand_before_trained_fields_with_their_own_errors():
    table = build("tables", "jacobian_estimators", {}).table(synthetic.study())
    records = table.records
    error = records.groupby("estimator", sort=False)["jacobian_error"].max()
    assert list(error.index) == ["linear", "quadratic", "truth", *GIVEN]
    records = records[records["estimator"] != "truth"]
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
    assert list(table.cells) == ["truth", *GIVEN]


def test_the_trial_with_the_least_validation_error_is_taken(tmp_path):
    errors = {"baseline": [2.0, 1.0], "a-0.1": [1.0, 2.0], "a-1": [1.0, 0.5], "b-1": [4.0, 1.0], "b-2": [np.nan, 0.1]}
    errors["b-3"] = [0.1, 0.1]  # with steps that were skipped
    for label, best in errors.items():
        (tmp_path / "A/clean" / label).mkdir(parents=True)
        history = pd.DataFrame({"seed": [0, 0, 1, 1], "validation": [9.0, best[0], best[1], 9.0]})
        history["skipped"] = [0, 7, 0, 0] if label == "b-3" else 0
        if np.isnan(best[0]):
            history.loc[0, "validation"] = np.nan
        history.to_csv(tmp_path / "A/clean" / label / "history.csv", index=False)
    records = build("tables", "trials", {}).table(Results(tmp_path, ("A",), {"clean": 0.0}, tuple(errors))).records
    ratios = records.set_index("label")["ratio"]
    assert (
        ratios["a-0.1"] == pytest.approx(1.0)
        and ratios["a-1"] == pytest.approx(0.5)
        and ratios[["b-2", "b-3"]].isna().all()
    )
    assert list(records[records["taken"]]["label"]) == ["baseline", "a-1", "b-1"]


def test_the_steps_to_an_error_are_those_of_the_seeds_that_come_below_it(tmp_path):
    errors = {"quick": {"training": [9, 0.1, 9, 0.1]}, "slow": {"training": [9, 0.5, 0.9, 0.5]}, "other": {}}
    for label, columns in errors.items():
        (tmp_path / "A/clean" / label).mkdir(parents=True)
        table = {"seed": [0, 0, 1, 1], "step": [10, 20, 10, 20], "validation": [0.1, 0.1, 9, 0.1], **columns}
        pd.DataFrame(table).to_csv(tmp_path / "A/clean" / label / "history.csv", index=False)
    results = Results(tmp_path, ("A",), {"clean": 0.0}, (*errors, "missing"))
    table = build("tables", "steps_below", {"error": 0.2}).table(results)
    assert table.cells.iloc[0].tolist() == ["20 (2/2)", "more (0/2)", "15 (2/2)", "–"]
    assert table.records.query("method == 'other'")["steps"].tolist() == [10, 20]
    with pytest.raises(StudyError, match="error must be positive"):
        build("tables", "steps_below", {"error": 0})


def test_what_smoothing_found_is_told_of_methods_that_smooth(tmp_path):
    cell = {"system": "A", "data": "noisy", "noise": 0.05}
    found = {"noise_estimate": 0.0493, "model_error": 0.006, "distrusted": 0.1, "given_up": 0.0}
    costs = [cell | {"method": "raw"}, cell | {"method": "mended"} | found]
    pd.DataFrame(costs).to_csv(tmp_path / "costs.csv", index=False)
    table = build("tables", "smoothing", {}).table(Results(tmp_path, ("A",), {"noisy": 0.05}, ("raw", "mended")))
    assert table.cells.to_dict("list") == {"mended": ["0.0493, 0.006 (10% not trusted)"]}
    pd.DataFrame(costs[:1]).to_csv(tmp_path / "costs.csv", index=False)
    assert build("tables", "smoothing", {}).table(Results(tmp_path, ("A",), {"noisy": 0.05}, ("raw",))).cells.empty


def park(folder, last=(-14.0, -10.0, -7.56), status=("ok", "ok", "diverged"), methods=("baseline",)):
    """Records of a study with the labels of ``park.yaml``: exponents by seed, and a Jacobian error."""
    (folder := folder / "park").mkdir()
    cell = {"system": "Lorenz", "data": "clean", "noise": 0.0}
    scores = [
        {**cell, "method": m, "seed": s, "metric": "jacobian_error", "unit": "1", "value": 0.1, "status": word}
        for m in methods for s, word in enumerate(status)
    ]  # fmt: skip
    spectra = [
        {**cell, "method": m, "seed": s, "index": i, "exponent": value, "converged": 1}
        for m in methods for s, end in enumerate(last) for i, value in enumerate([0.8, 0.0, end], 1)
    ]  # fmt: skip
    truth = [{"system": "Lorenz", "index": i, "exponent": value} for i, value in enumerate([0.906, 0.0, -14.57], 1)]
    for name, table in {"scores": scores, "exponents": spectra, "truth": truth}.items():
        pd.DataFrame(table).to_csv(folder / f"{name}.csv", index=False)
    return Results(folder, ("Lorenz",), {"clean": 0.0}, methods)


def test_a_published_figure_stands_beside_the_median_over_the_seeds_and_their_ratio(tmp_path):
    table = build("tables", "published", {}).table(park(tmp_path))
    records = table.records.set_index(["method", "quantity"])
    row = records.loc["baseline", "last exponent"]
    assert (row["ours"], row["low"], row["high"], row["seeds"], row["failed"]) == (-10.0, -14.0, -7.56, 3, 1)
    assert row["value"] == "-3.78" and row["ratio"] == pytest.approx(-10 / -3.78)
    assert set(table.records["source"]) == {"Park 2024"}
    cells = table.cells.droplevel(["source", "system", "data"])
    assert list(cells.loc["baseline", "last exponent"]) == [
        "-3.78",
        "printed",
        "-10 (-14 to -7.56) (1/3 failed)",
        "2.65",
    ]


def test_a_published_figure_without_its_cell_is_a_gap_with_the_reason(tmp_path):
    records = build("tables", "published", {}).table(park(tmp_path)).records.set_index(["method", "quantity"])
    assert (records.loc["jacobian", "gap"] == "no method jacobian").all() and records.loc[
        "jacobian", "ours"
    ].isna().all()
    assert (records.loc["truth", "gap"] == "no results of this cell").all()
    (tmp_path / "other").mkdir()
    nothing = Results(tmp_path / "other" / "park", (), {}, ())
    assert set(build("tables", "published", {}).table(nothing).records["gap"]) == {"no results"}
    elsewhere = build("tables", "published", {}).table(synthetic.study()).records
    assert len(elsewhere) == len(published()) and "for the study park" in set(elsewhere["gap"])
    undefined = park(tmp_path / "other", last=(np.nan, np.nan, np.nan))
    records = build("tables", "published", {}).table(undefined).records.set_index(["method", "quantity"])
    assert records.loc[("baseline", "last exponent"), "gap"] == "undefined for all 3 seeds"


def figures(folder, **changes):
    """A file with one published figure."""
    row = {"source": "A", "setting": "B", "study": "park", "system": "Lorenz", "data": "clean", "method": "baseline"}
    row |= {"quantity": "Jacobian error", "statistic": "", "value": "0.2", "spread": "", "how": "printed"} | changes
    pd.DataFrame([row]).to_csv(folder / "a.csv", index=False)
    return folder


def answer(folder, monkeypatch, results, **changes):
    """The record of one published figure."""
    monkeypatch.setattr("nearorbit.report.tables.published.published", lambda: published(figures(folder, **changes)))
    return build("tables", "published", {}).table(results).records.iloc[0]


def test_each_quantity_is_what_it_says(tmp_path, monkeypatch):
    results, true = park(tmp_path), 0.906
    for quantity, value in {
        "Jacobian error": 0.1,
        "first exponent": 0.8,
        "second exponent": 0.0,
        "error of the first exponent": true - 0.8,
        "squared error of the first exponent": (true - 0.8) ** 2,
        "first exponent off by 0.1": 1.0,
    }.items():
        assert answer(tmp_path, monkeypatch, results, quantity=quantity)["ours"] == pytest.approx(value), quantity
    scores = results.table("scores.csv").assign(unit="variance", metric="noisy_interpolation_mse")
    scores.to_csv(results.folder / "scores.csv", index=False)
    asked = {"quantity": "interpolation error in system units"}
    assert answer(tmp_path, monkeypatch, results, **asked)["gap"] == "ours in units of variance"


def test_a_share_counts_failed_seeds_and_a_range_is_compared_by_its_middle(tmp_path, monkeypatch):
    results = park(tmp_path)
    spectra = results.table("exponents.csv")
    spectra.assign(exponent=spectra["exponent"].mask(spectra["index"] == 1, 0.9)).to_csv(
        results.folder / "exponents.csv", index=False
    )
    assert answer(tmp_path, monkeypatch, results, quantity="first exponent off by 0.1")["ours"] == pytest.approx(1 / 3)
    row = answer(tmp_path, monkeypatch, results, value="", spread="0.1 to 0.4")
    assert row["ratio"] == pytest.approx(0.1 / 0.25)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantity": "Jacobian eror"}, r"a\.csv: line 2: no quantity 'Jacobian eror'; did you mean 'Jacobian error'"),
        ({"how": "guessed"}, r"a\.csv: line 2: how: 'guessed' has to be printed or read off"),
        ({"value": "0,2"}, r"a\.csv: line 2: a value, or a spread as 'low to high', has to be given, not '0,2'"),
        ({"value": ""}, r"line 2: a value, or a spread"),
        ({"more": "1"}, r"a\.csv: its columns have to be source, setting"),
    ],
)
def test_a_published_figure_that_is_wrong_is_refused_with_its_file_and_line(changes, said, tmp_path):
    with pytest.raises(StudyError, match=said):
        published(figures(tmp_path, **changes))


def test_metrics_that_answer_published_figures_have_the_unit_that_is_asked():
    metrics = {name: unit for name, unit in QUANTITIES.values() if isinstance(name, str)}
    assert metrics == {name: entries("metrics")[name].unit for name in metrics}


def test_a_folder_without_published_figures_is_refused(tmp_path):
    with pytest.raises(StudyError, match="no files of published figures"):
        published(tmp_path)


def test_published_figures_of_shipped_studies_name_their_systems_and_methods():
    table = published()
    assert tuple(table.columns) == COLUMNS and not table.duplicated([*COLUMNS[:7], "how"]).any()
    shipped = table[table["study"].isin(SHIPPED)]
    assert {"park", "kang", "ko"} <= set(shipped["study"])
    for study, rows in shipped.groupby("study"):
        content = yaml.safe_load(SHIPPED[study].read_text())
        unknown = set(rows["system"]) - set(content["systems"])
        assert not unknown and set(rows["method"]) & set(content["methods"]), (
            f"{study}: {unknown or set(rows['method'])}"
        )


def test_an_unknown_source_is_refused_with_the_nearest():
    with pytest.raises(StudyError, match="did you mean 'Park 2024'"):
        build("tables", "published", {"sources": ["Park 2042"]})


def signed(table, method=("b", "clean"), reference=("a", "clean"), *, metric="jacobian_error", without=()):
    """What the table of signed ranks compares: the rows of its systems, and the one of its metric."""
    records, found = compared(against(table, method, reference, metrics=[metric]), without=without)
    return records.set_index("system"), found.loc[metric]


def test_a_comparison_over_systems_counts_each_once():
    ratio = {"A": 0.5, "B": 0.8, "C": 0.25, "D": 0.9, "E": 0.7, "F": 0.6, "chosen": 9.0}
    tables = [rows(a=[1.0, 1.0, 1.0], b=[0.01, r, 100.0]).assign(system=system) for system, r in ratio.items()]
    records, found = signed(pd.concat(tables), without=["chosen"])
    assert records["ratio"].to_dict() == pytest.approx(ratio)  # medians of seeds, not means
    assert records["counts"].to_dict() == {system: system != "chosen" for system in ratio}
    assert found["p"] == records["p"].unique() == pytest.approx(2 / 2**6)  # all six one way; exact
    assert (found["systems"], found["better"]) == (6, 6)


@pytest.mark.parametrize(("metric", "worst"), [("jacobian_error", np.inf), ("valid_prediction_time", 0.0)])
def test_a_seed_that_failed_or_has_no_value_is_worse_than_any_in_a_comparison_over_systems(metric, worst):
    table = rows(failed=[("b", 1)], metric=metric, a=[1.0, 1.0, 1.0], b=[1.0, 1.0, np.nan])
    assert signed(table, metric=metric)[0].loc["A", "ratio"] == worst
    table = rows(failed=[("a", 1), ("a", 2)], metric=metric, a=[1.0, 1.0, 1.0], b=[9.0, 9.0, 9.0])
    assert signed(table, metric=metric)[0].loc["A", "ratio"] == (np.inf if worst == 0 else 0.0)


def test_a_ratio_that_failed_seeds_change_is_marked_and_stands_by_their_values_too(tmp_path):
    tables = [rows(a=[1.0, 1.0, 1.0], b=[0.5, 0.5, 0.5]).assign(system=f"s{n}") for n in range(6)]
    tables += [rows([("a", 0), ("a", 1)], a=[1.0, 1.0, 1.0], b=[2.0, 2.0, 2.0]).assign(system="lost")]
    tables += [rows([("b", 0)], a=[1.0, 1.0, 1.0], b=[0.9, 0.5, 0.4]).assign(system="same")]
    tables += [rows([("b", 2)], a=[1.0, 1.0, 1.0], b=[0.9, 0.5, 0.4]).assign(system="moved")]
    scores, given = pd.concat(tables), dict.fromkeys("ab", "data")
    table = told_of(tmp_path, "signed_rank", scores, given, metrics=["jacobian_error"])
    cells = table.cells["Jacobian error"].to_dict()
    assert cells["lost"] == "0 † (0 and 2 failed)" and cells["same"] == "0.5 (1 and 0 failed)"
    assert cells["moved"] == "0.9 † (1 and 0 failed)" and cells["s0"] == "0.5"
    assert table.records.set_index("system")["by_values"].loc[["lost", "moved"]].tolist() == pytest.approx([2.0, 0.5])
    assert (cells["better on"], cells["by their values: better on"]) == ("9 of 9", "8 of 9")
    assert table.caption.startswith("b on clean data over a on clean data: ")
    assert cells["by their values: p"] == f"{signed_rank(np.array([-1.0] * 8 + [1.0])):.2g}", cells  # all are as large
    whole = told_of(tmp_path, "signed_rank", pd.concat(tables[:6]), given, metrics=["jacobian_error"])
    assert list(whole.cells.index[-3:]) == ["median [interval]", "better on", "p"] and "values: " not in whole.caption


def test_kinds_of_data_are_compared_with_one_another():
    noisy = rows(a=[1.0], b=[0.4]).assign(data="noisy")
    row = signed(pd.concat([noisy, rows(a=[0.2], b=[0.1])]), ("b", "noisy"))[0].loc["A"]
    assert (row["value"], row["of_reference"], row["ratio"]) == pytest.approx((0.4, 0.2, 2.0))


def study_of_costs(folder, seconds, factors, systems=("A",), given="data", lost=(), **columns):
    """A study by the seconds of trainings of 100 steps, and the factors of the errors of their histories."""
    history = pd.DataFrame({"seed": 0, "step": [0, 50, 100], "validation": [8.0, 4.0, 1.0]})
    costs = pd.DataFrame({"method": list(seconds), "seconds": list(seconds.values()), "steps": 100, "data": "clean"})
    costs = costs.assign(noise_estimate=np.nan, device="a processor", given=given).assign(**columns)
    pd.concat([costs.assign(system=system) for system in systems]).to_csv(folder / "costs.csv", index=False)
    scores = rows([(method, 0) for method in lost], **{method: [1.0] for method in seconds})
    pd.concat([scores.assign(system=system) for system in systems]).to_csv(folder / "scores.csv", index=False)
    for system, (method, factor) in product(systems, factors.items()):
        (folder / system / "clean" / method).mkdir(parents=True)
        own = history.assign(validation=factor * history["validation"])
        own.to_csv(folder / system / "clean" / method / "history.csv", index=False)
    return Results(folder, tuple(systems), {"clean": 0.0}, tuple(seconds))


def test_equal_time_is_when_the_reference_has_ended(tmp_path):
    seconds = {"a": 10.0, "b": 20.0, "c": 20.0, "d": 30.0, "e": 5.0, "f": 5.0}
    factors = {"a": 1.0, "b": 0.5, "c": 0.1, "d": 0.5, "e": 0.5, "f": 0.5}
    noise = [np.nan, np.nan, 0.1, *[np.nan] * 3]
    devices = [*["a processor"] * 5, "another"]
    table = build("tables", "equal_time", {}).table(
        study_of_costs(tmp_path, seconds, factors, noise_estimate=noise, device=devices)
    )
    assert table.records.set_index(["method", "metric"])["ratio"].to_dict() == {
        ("b", "equal steps"): 0.5,
        ("b", "equal time"): 2.0,  # after 50 steps of twice the time
        ("d", "equal steps"): 0.5,  # and nobody had looked after 33
        ("e", "equal steps"): 0.5,
        ("e", "equal time"): 0.5,
        ("f", "equal steps"): 0.5,  # and its seconds are another processor's
    }
    assert table.cells.loc[("clean", "f")].to_numpy().tolist() == [["–", "0.5 (0.5 to 0.5) 1/1", "–"]]
    assert table.cells.loc[("clean", "b")].to_numpy().tolist() == [["2", "0.5 (0.5 to 0.5) 1/1", "2 (2 to 2) 0/1"]]
    assert table.cells.loc[("clean", "c")].to_numpy().tolist() == [["–"] * 3]  # it smoothed: its error is another
    assert not table.best.any(axis=None)  # one system decides nothing


def test_equal_time_is_bold_where_an_interval_tells_that_data_alone_do_better(tmp_path):
    seconds, given = {"a": 10.0, "b": 20.0, "c": 10.0, "d": 10.0}, ["data", "data", "true J", "data"]
    results = study_of_costs(tmp_path, seconds, dict.fromkeys("bcd", 0.5) | {"a": 1.0}, "ABCDEF", given, lost="d")
    best = build("tables", "equal_time", {}).table(results).best.droplevel(["data", "given"])
    assert best.loc["b"].to_dict() == {"cost": False, "equal steps": True, "equal time": False}
    assert not best.loc[["c", "d"]].any(axis=None)


def test_the_verdict_ranks_methods_by_forecasts_of_what_nothing_was_learned_from():
    table = build("tables", "verdict", {}).table(synthetic.study())
    records = table.records.query("kind == 'method' and index == 1 and data == 'noisy' and system == 'Lorenz'")
    by_method = records.set_index("method")
    sound = by_method[by_method["failed"] == 0]
    assert list(sound.sort_values("rank").index) == [
        m for m in ("jacobian", "neighborhood", "baseline") if m in sound.index
    ]
    failed = by_method[by_method["failed"] > 0]
    assert (failed["rank"] > len(sound)).all() and (failed["verdict"] == "failed").all()
    assert (sound["verdict"] == "chaos").all(), sound
    assert (sound["others"] == len(sound) - 1).all()


def test_a_method_with_a_seed_that_strayed_is_behind_all_others(tmp_path):
    whole = synthetic.study()
    shutil.copytree(whole.folder, folder := tmp_path / "strayed")
    before = build("tables", "verdict", {}).table(Results(folder, ("Lorenz",), {"clean": 0.0}, tuple(GIVEN))).records
    best = before.query("rank == 1")["method"].iloc[0]
    file = folder / "Lorenz" / "clean" / best / "unseen.nc"
    unseen = files.read(file, kind="unseen").load()
    unseen["divergence"][0] = 7.0
    files.write(unseen, file, kind="unseen")
    after = build("tables", "verdict", {}).table(Results(folder, ("Lorenz",), {"clean": 0.0}, tuple(GIVEN))).records
    moved = after[after["method"] == best]
    assert (moved["failed"] == 1).all() and (moved["verdict"] == "failed").all()
    assert moved["rank"].iloc[0] > after.query("kind == 'method' and failed == 0")["rank"].max()


def test_a_twin_widens_the_intervals_by_what_methods_are_off_on_it(tmp_path):
    whole = synthetic.study()
    alone = build("tables", "verdict", {}).table(whole).records
    folder = tmp_path / "twins"
    shutil.copytree(whole.folder, folder)
    shutil.copytree(folder / "Lorenz", folder / "Lorenz_twin")
    systems = ("Lorenz", "Lorenz_twin", "Lorenz96_N5")
    table = build("tables", "verdict", {}).table(Results(folder, systems, DATA, tuple(GIVEN))).records
    cell = "system == 'Lorenz' and data == 'clean' and method == 'baseline' and index == 1"
    (before,), (after,) = (t.query(cell).itertuples() for t in (alone, table))
    off = synthetic.forecast("Lorenz", "clean", "baseline")["exponents"][:, 0] - SPECTRA["Lorenz"][0]
    assert np.isnan(before.off) and after.off == pytest.approx((off**2).mean().item() ** 0.5)
    assert after.half_width == pytest.approx(np.hypot(before.half_width, 2 * after.off))
    truth = files.read(folder / "Lorenz_twin" / "exponents.nc", kind="exponents")
    files.write(truth.isel(exponent=slice(0, 2)), folder / "Lorenz_twin" / "exponents.nc", kind="exponents")
    short = build("tables", "verdict", {}).table(Results(folder, systems, DATA, tuple(GIVEN))).records
    offs = short.query("system == 'Lorenz' and data == 'clean' and method == 'baseline'")["off"]
    assert list(offs.isna()) == [False, False, True], "a twin of fewer exponents"
    twin = table.query("system == 'Lorenz_twin' and kind == 'method'")
    assert twin["off"].isna().all(), "a twin has no twin"
    brought = Results(folder, systems, DATA, tuple(GIVEN), fields=("baseline",))
    offs = build("tables", "verdict", {}).table(brought).records.query(cell)["off"]
    assert offs.isna().all(), "a field that is brought was learned on no twin"


def test_the_verdict_has_a_row_for_the_series_and_its_local_fits():
    table = build("tables", "verdict", {"fits": ["linear"]}).table(synthetic.study())
    kinds = table.records.query("system == 'Lorenz' and data == 'clean'")["kind"].unique()
    assert list(kinds) == ["series", "method", "fit"]
    assert table.cells.loc[("Lorenz", "clean", "the series"), "exponents"].startswith("irregular (p = 0.05")
    assert table.best.loc[("Lorenz", "clean"), "rank"].sum() == 1


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (1.5e-5, 4e-4, "0.0000 ± 0.0004"),
        (-2e-5, 2e-4, "0.0000 ± 0.0002"),
        (-1.2, 2e-3, "-1.200 ± 0.002"),
        (1.16e-5, 6e-5, "0.00001 ± 0.00006"),
        (123.4, 40.0, "123 ± 40"),
        (0.5, np.nan, "0.5"),
        (np.nan, 1.0, "–"),
    ],
)
def test_a_number_has_the_digits_that_its_error_allows(value, error, written):
    assert with_error(value, error, digits=1) == written


@pytest.mark.parametrize(
    ("mean", "deviation", "written"),
    [(9.72e-5, 4.5e-5, "9.7e-05 ± 4.5e-05"), (1.23e-5, 4e-4, "1e-05 ± 0.0004"), (0.2134, 0.021, "0.213 ± 0.021")],
)
def test_a_small_mean_has_no_digit_beyond_its_scatter(mean, deviation, written):
    row = pd.Series({"mean": mean, "deviation": deviation, "unconverged": 0, "failed": 0, "seeds": 3})
    assert mean_and_deviation(row) == written
