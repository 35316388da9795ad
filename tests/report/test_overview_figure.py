import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib import pyplot as plt
from synthetic import DATA, GIVEN, SPECTRA

from nearorbit.evaluation.scores import COLUMNS, Results
from nearorbit.evaluation.statistics import effects, losses
from nearorbit.report.figures.overview import FLOOR, GRAY, PALE
from nearorbit.study.catalogue import build


@pytest.fixture(autouse=True)
def closed():
    """Whatever a test draws is closed after it: figures outlive it otherwise, and other tests count them."""
    yield
    plt.close("all")


def cells_of(ax):
    """The texts of a map by what its rows and columns are called, and its colors in the same order."""
    across, down = ([label.get_text() for label in labels] for labels in (ax.get_xticklabels(), ax.get_yticklabels()))
    written = {}
    for text in ax.texts:  # the ratios first, then the marks
        written.setdefault(tuple(int(p) for p in text.get_position()), []).append(text.get_text())
    written = {place: "\u2009".join(texts) for place, texts in written.items()}
    assert len(written) == len(down) * len(across)
    color = ax.collections[0].get_array().reshape(len(down), -1)
    told = {(y, x): (written[i, j], color[j, i]) for j, y in enumerate(down) for i, x in enumerate(across)}
    return told if FLOOR in across else {key[::-1]: cell for key, cell in told.items()}


def ratio_of(text):
    return float(text.split("\u2009")[0].split(" ")[0])


@pytest.mark.parametrize("systems", [("Lorenz",), tuple(SPECTRA)])
def test_an_overview_writes_each_ratio_where_it_belongs_whichever_way_it_lies(systems):
    whole = synthetic.study()
    results = Results(whole.folder, systems, DATA, tuple(GIVEN))
    ax = build("figures", "overview", {"metrics": ["valid_prediction_time"]}).draw(results).axes[0]
    lies = [label.get_text() for label in ax.get_yticklabels()]
    assert (FLOOR in lies) == (len(systems) * len(DATA) < 4) and "ratio" in ax.get_title()
    scores = losses(whole.table("scores.csv").query("metric == 'valid_prediction_time'"))
    medians = np.exp(-scores.groupby(["system", "data", "method"])["loss"].median())
    for system in systems:
        for data in DATA:
            for method in ("truth", *GIVEN):
                written, _ = cells_of(ax)[f"{system}, {data}", FLOOR if method == "truth" else method]
                true = medians[system, data, method] / medians[system, data, "baseline"]
                assert ratio_of(written) == pytest.approx(true, rel=0.06), (system, data, method)


def test_of_many_systems_an_overview_has_the_ratios_of_the_comparison_and_says_of_how_many(tmp_path):
    results = many_systems(tmp_path)
    names = ["jacobian_error", "valid_prediction_time", "spectral_hellinger"]
    table = effects(results.table("scores.csv"), reference="a").set_index(["metric", "method"])
    for name in names:
        cells = cells_of(build("figures", "overview", {"metrics": [name]}).draw(results).axes[0])
        assert {row for row, _ in cells} == {"clean"}
        for method in "bcd":
            text, color = cells["clean", method]
            of = table.loc[(name, method)]
            if np.isfinite(of["ratio"]) and of["ratio"] > 0:
                assert ratio_of(text) == pytest.approx(of["ratio"], rel=0.06)
            sign = -1 if name == "valid_prediction_time" else 1
            with np.errstate(divide="ignore"):
                assert color == pytest.approx(sign * np.clip(np.log10(of["ratio"]), -1, 1)), (name, method)
        assert cells["clean", "c"][0].startswith("failed\u2009†") and cells["clean", "c"][1] == 1
        assert "(5)" in cells["clean", "d"][0] and "(" not in cells["clean", "b"][0]
        assert cells["clean", "b"][0].endswith("†1"), "the failed seed is counted"
        assert cells["clean", "e"] == ("0", 1 if name == "valid_prediction_time" else -1), "a zero is no failure"


def many_systems(folder, methods="abcde"):
    """More systems than have room: of b one seed failed, of c most on most of them, d has run on five, e has zeros."""
    rows = [
        {"system": f"S{s}", "data": "clean", "noise": 0.0, "method": method, "seed": seed, "metric": metric,
         "unit": "1", "value": (1 + s) * (1 + seed) * {"a": 1, "b": 0.5, "c": 0.1, "d": 3, "e": 0}[method],
         "status": "collapsed" if (method == "c" and seed and s < 40) or (method, seed, s) == ("b", 0, 0) else "ok"}
        for metric in ("jacobian_error", "valid_prediction_time", "spectral_hellinger")
        for s in range(60) for method in methods if method != "d" or s < 5 for seed in range(3)
    ]  # fmt: skip
    pd.DataFrame(rows).reindex(columns=COLUMNS["scores.csv"]).to_csv(folder / "scores.csv", index=False)
    return Results(folder, tuple(f"S{s}" for s in range(60)), {"clean": 0.0, "noisy": 0.1}, tuple("xabcde"), seeds=3)


def test_an_overview_falls_back_on_the_first_method_that_has_scores_and_says_so(tmp_path):
    results, entry = many_systems(tmp_path), build("figures", "overview", {"metrics": ["jacobian_error"]})
    cells = cells_of(entry.draw(results).axes[0])
    assert ratio_of(cells["clean", "a"][0]) == 1 and not any("x" in label for label in cells), "x has not run"
    said = entry.caption(results)
    assert "Ratios to a (x has no scores)" in said and "Methods: a, b, c, d, e (5 of 6)" in said, said
    assert "Data: clean (no noise) (1 of 2)" in said
    other = build("figures", "overview", {"metrics": ["jacobian_error"], "reference": "c"}).draw(results).axes[0]
    assert cells_of(other)["clean", "c"][0].startswith("1\u2009†"), "it equals itself, failed or not"
    assert cells_of(other)["clean", "b"] == ("ref. †\u2009†1", -1), "what the reference lost by failed seeds"
    other = build("figures", "overview", {"metrics": ["jacobian_error"], "reference": "b"}).draw(results).axes[0]
    assert cells_of(other)["clean", "e"] == ("0", -1), "one failed seed of the reference does not decide"


def test_blue_is_better_failed_seeds_being_worse_than_any_value_and_the_truth_is_gray():
    results = synthetic.study()
    scores = losses(results.table("scores.csv").query("metric == 'jacobian_error'"))
    medians = scores.groupby(["system", "data", "method"])["loss"].median()
    cells = cells_of(build("figures", "overview", {"metrics": ["jacobian_error"]}).draw(results).axes[0])
    for system in SPECTRA:
        for data in DATA:
            for method in GIVEN:
                blue = cells[f"{system}, {data}", method][1] < 0
                assert blue == (medians[system, data, method] < medians[system, data, "baseline"])
            assert cells[f"{system}, {data}", FLOOR][1] is np.ma.masked
    assert cells["Lorenz96_N5, clean", "neighborhood"][0].endswith("†1")
    assert sorted(filter(None, (text.partition("†")[2] for text, _ in cells.values()))) == ["1", "1"]


def test_what_is_written_in_a_cell_of_an_overview_stays_in_it_and_marks_are_gray():
    figure = build("figures", "overview", {}).draw(synthetic.study())
    figure.canvas.draw()
    for ax in figure.axes[:-1]:
        boxes = {}
        for text in ax.texts:
            x, y = (int(place) for place in text.get_position())
            boxes.setdefault((x, y), []).append(text.get_window_extent())
            assert text.get_text()[0] not in "†‡" or text.get_color() in (GRAY, PALE)
        for (x, y), of in boxes.items():
            (left, _), (right, _) = ax.transData.transform([(x, y), (x + 1, y)])
            assert left <= of[0].x0 and of[-1].x1 <= right and (len(of) == 1 or of[0].x1 < of[1].x0), ax.get_title()


def test_unconverged_spectra_are_counted_in_an_overview():
    entry = build("figures", "overview", {"metrics": ["lyapunov_distance"]})
    cells = cells_of(entry.draw(synthetic.study()).axes[0])
    assert [key for key, (text, _) in cells.items() if "‡1" in text] == [("Lorenz, clean", "jacobian")]
