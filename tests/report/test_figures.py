import re
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from synthetic import DATA, GIVEN, SPECTRA, STUDIES

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.standings import Ranks
from nearorbit.report.figures import critical_difference
from nearorbit.report.figures.base import SMALL, colors, legend, save, save_all
from nearorbit.report.figures.landscape import minima
from nearorbit.report.marks import marks
from nearorbit.report.room import HEIGHT, WIDTH
from nearorbit.study.catalogue import build, names
from nearorbit.study.places import paths


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    """A study that lacks a cell, and all of one system."""
    folder = tmp_path_factory.mktemp("gappy") / "study"
    shutil.copytree(synthetic.study().folder, folder)
    shutil.rmtree(folder / "Lorenz" / "clean" / "jacobian")
    return Results(folder, (*SPECTRA, "Unborn"), DATA, tuple(GIVEN))


@pytest.mark.parametrize("name", names("figures"))
def test_a_figure_is_drawn_from_the_files_it_declares_and_from_no_other(name, tmp_path):
    figure, whole = build("figures", name, {}), synthetic.study()
    for path in paths(whole.folder, whole, figure.reads):
        copy = tmp_path / path.relative_to(whole.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    drawn = figure.draw(Results(tmp_path, whole.systems, whole.data, whole.methods))
    save(drawn, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert not plt.get_fignums(), "figures are closed once they are saved"


@pytest.mark.parametrize("name", names("figures"))
def test_missing_cells_leave_gaps(name, gappy, tmp_path):
    save(build("figures", name, {}).draw(gappy), tmp_path / "figure.png")


@pytest.mark.parametrize("name", names("figures"))
def test_a_caption_says_what_is_shown_of_which_data_and_how_many_seeds(name):
    said = build("figures", name, {}).caption(synthetic.study())
    assert said.endswith(".") and len(said) > 80 and "seed" in said, said
    if name not in ("growth", "landscape"):  # which are of no study, and of one cell
        assert "3 seeds." in said and "clean (no noise)" in said and "Lorenz, Lorenz96_N5" in said, said


@pytest.mark.parametrize("name", names("figures"))
def test_axes_of_numbers_are_labelled_with_their_unit_and_letters_are_legible_on_a_page(name):
    drawn = build("figures", name, {}).draw(synthetic.study())
    drawn.draw_without_rendering()
    width, height = drawn.get_size_inches()
    assert width <= WIDTH and height <= HEIGHT + 0.5
    small = [t for t in drawn.findobj(Text) if t.get_visible() and t.get_text() and t.get_fontsize() < SMALL]
    assert not small, [t.get_text() for t in small]
    panels = [ax for ax in drawn.axes if ax.get_visible() and ax.axison]
    for side in ("x", "y"):
        common = [getattr(drawn, f"get_sup{side}label")()]
        for ax in panels:
            numbers = [t.get_text() for t in getattr(ax, f"get_{side}ticklabels")() if t.get_visible() and t.get_text()]
            shown = getattr(ax, f"{side}axis").get_visible() and any(map(_numeric, numbers))
            if shown and not (ax.get_label() == "<colorbar>" and side != ("y" if _upright(ax) else "x")):
                labels = [*common, *(getattr(one, f"get_{side}label")() for one in _beside(ax, panels, side))]
                assert any(re.search(r"\[.+\]", label) for label in labels), f"{side} of {ax}: {labels}, {numbers}"
    plt.close(drawn)


def _numeric(text):
    return bool(re.fullmatch(r"[−-]?[\d.,]+", text) or text.startswith("$\\mathdefault"))


def _upright(ax):
    return ax.get_position().height > ax.get_position().width


def _beside(ax, panels, side):
    """The panel itself, and those below or left of it that share its axis."""
    sharing = getattr(ax, f"get_shared_{side}_axes")()
    return [one for one in panels if one is ax or sharing.joined(one, ax)]


LARGE = Results(
    Path("nowhere"), tuple(f"System_{n}" for n in range(28)), {f"data_{n}": 0.02 * n for n in range(4)},
    tuple(f"a_method_of_a_long_name_{n}" for n in range(18)), seeds=5,
)  # fmt: skip


@pytest.mark.parametrize("name", names("figures"))
def test_a_large_study_stays_on_a_page_and_what_has_no_room_is_told(name):
    entry = build("figures", name, {})
    drawn = entry.draw(LARGE)
    assert drawn.get_size_inches()[0] <= WIDTH and drawn.get_size_inches()[1] <= HEIGHT + 0.6 and len(drawn.axes) <= 80
    titles = {ax.get_title(loc="left").partition(",")[0] for ax in drawn.axes} | {ax.get_ylabel() for ax in drawn.axes}
    titles |= {label.get_text() for ax in drawn.axes for label in ax.get_yticklabels()}
    shown = sum(any(system in re.split(r"[\s,]", title) for title in titles) for system in LARGE.systems)
    if 0 < shown < len(LARGE.systems):
        assert f"({shown} of 28)" in entry.caption(LARGE), (shown, entry.caption(LARGE))
    plt.close(drawn)


@pytest.mark.parametrize("study", STUDIES)
def test_every_figure_is_drawn_of_whatever_there_is(study):
    for name in names("figures"):
        drawn = build("figures", name, {}).draw(synthetic.odd_study(study))
        drawn.draw_without_rendering()
        plt.close(drawn)


def test_a_figure_is_the_same_to_the_byte_each_time(tmp_path):
    paths = [tmp_path / f"{name}.{suffix}" for suffix in ("pdf", "png") for name in ("first", "second")]
    for first, second in (paths[::2], paths[1::2]):
        save(build("figures", "training_curves", {}).draw(synthetic.study()), first, second)
    first, second, *images = (path.read_bytes() for path in paths)
    assert first == second
    assert images[0] == images[1]
    assert b"/FontFile2" in first and b"/Type3" not in first, "letters are embedded as letters"


def test_the_caption_is_written_beside_the_figure_and_into_it(tmp_path):
    results = synthetic.study()
    save_all(results, tmp_path, {"curves": {"figure": "training_curves"}}, note="Partial: 3 of 4 cells.")
    said = (tmp_path / "curves.txt").read_text()
    assert said == f"Partial: 3 of 4 cells. {build('figures', 'training_curves', {}).caption(results)}\n"
    assert b"Partial: 3 of 4 cells." in (tmp_path / "curves.png").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"curves.txt", "curves.png", "curves.pdf"}


def test_density_is_a_line_of_kinds_of_data_that_differ_in_nothing_but_their_number(tmp_path):
    kinds = {"few": (0.0, 500), "many": (0.0, 5000), "noisy": (0.05, 500), "splines": (0.05, 500)}
    rows = [
        {"system": "A", "data": data, "method": method, "seed": seed, "metric": "jacobian_error", "status": "ok",
         "value": (10 * value + seed) / states}
        for data, (_, states) in kinds.items() for seed in (0, 1, 2) for method, value in (("a", 1), ("truth", 0))
    ]  # fmt: skip
    pd.DataFrame(rows).replace({"value": {0.0: 1e-9}}).to_csv(tmp_path / "scores.csv", index=False)
    data = {label: {"noise": noise, "orbits": 10, "samples": n // 10} for label, (noise, n) in kinds.items()}
    data["splines"]["smooth"] = "spline"
    results = Results.of(tmp_path, {"systems": ["A"], "data": data, "methods": ["a"]})
    clean, noisy, smoothed = build("figures", "density", {}).draw(results).axes
    drawn = {line.get_color(): line for line in clean.get_lines() if len(line.get_xdata())}
    line = drawn[colors(results)["a"]]
    np.testing.assert_allclose(line.get_xydata(), [[500, 11 / 500], [5000, 11 / 5000]])
    assert [ax.get_title(loc="left").replace("\n", " ") for ax in (noisy, smoothed)] == [
        "A, noise of 5 %",
        "A, noise of 5 %, smoothing splines of the noisy orbits",
    ]
    assert all(len(line.get_xdata()) <= 1 for ax in (noisy, smoothed) for line in ax.get_lines())
    plt.close("all")


def test_contraction_is_drawn_between_what_forgetting_and_what_the_integrator_gives():
    ax, *_ = build("figures", "contraction", {}).draw(synthetic.study()).axes
    lines = {line.get_linestyle(): line.get_xydata() for line in ax.get_lines() if line.get_color() == "black"}
    true = -SPECTRA["Lorenz"][-1]
    np.testing.assert_allclose(lines[":"][:, 1] - lines[":"][:, 0], true, rtol=0.02)
    z, steps = lines["--"][0] * [-1, 1], float(synthetic.study().table("costs.csv")["substeps"].min())
    slope = np.polynomial.Polynomial([1, 1, 1 / 2, 1 / 6])(z[1] / z[0] / steps)
    assert abs(slope) < 1e-5, "R has no other extremum"
    plt.close("all")


def test_what_smooths_its_data_has_no_training_curve_and_the_caption_says_so():
    results, entry = synthetic.study(), build("figures", "training_curves", {})
    drawn = entry.draw(results)
    used = {line.get_color() for ax in drawn.axes for line in ax.lines}
    assert used == {colors(results)[method] for method in ("baseline", "jacobian")}
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["baseline", "jacobian"]
    assert "Left out: neighborhood, of which validation forecasts smoothed states" in entry.caption(results)
    plt.close(drawn)


def test_what_the_legend_of_forecasts_marks_is_drawn_and_no_triangle_hides_another():
    results, (left, *_) = synthetic.study(), (drawn := build("figures", "forecasts", {}).draw(synthetic.study())).axes
    marked = {line.get_label() for line in drawn.legends[0].get_lines() if line.get_marker() == "^"}
    assert marked == set(GIVEN)
    assert {line.get_color() for line in left.lines} == {"0.75", *colors(results).values()}
    heights = [height for part in left.collections for height in part.get_offsets()[:, 1]]
    assert len(heights) == len(set(heights)) > 1
    few = build("figures", "forecasts", {"methods": ["jacobian"]}).draw(results)
    lines = few.legends[0].get_lines()
    assert {line.get_label() for line in lines} == {"truth", *GIVEN}, "all are on the right"
    assert [line.get_label() for line in lines if line.get_marker() == "^"] == ["jacobian"]
    plt.close("all")


def test_failed_seeds_have_daggers_where_exponents_and_jacobians_are_drawn():
    results = synthetic.study()
    spectra = build("figures", "lyapunov_spectra", {}).draw(results)
    rows = [ax for ax in spectra.axes if ax.get_title() == r"$\lambda_{1}$"]
    daggers = [[label.get_color() for label in ax.get_xticklabels()] for ax in rows]
    palette = colors(results)
    assert daggers == [[], [palette["baseline"]], [palette["neighborhood"]], []]
    errors = build("figures", "jacobian_error", {}).draw(results).axes
    assert [[text.get_text() for text in ax.texts] for ax in errors[:2]] == [["†1"], ["†1"]]
    plt.close("all")


@pytest.mark.parametrize("name", ["jacobian_error", "lyapunov_spectra", "attractors", "forecasts", "overview"])
def test_what_has_not_run_has_no_panel_and_no_name_in_a_legend(name):
    whole = synthetic.study()
    results = Results(whole.folder, ("Unborn", *whole.systems), whole.data, ("unborn", *whole.methods), seeds=3)
    drawn = build("figures", name, {}).draw(results)
    words = {text.get_text() for text in drawn.findobj(Text)}
    assert not any("nborn" in word for word in words) and any("Lorenz" in word for word in words)
    said = build("figures", name, {}).caption(results)
    assert "(2 of 3)" in said and "(3 of 4)" in said, said
    plt.close(drawn)


def test_what_is_taken_of_lags_and_dimensions_is_marked():
    drawn = build("figures", "delays", {}).draw(synthetic.study())
    lags, dimensions = drawn.axes[:2]
    assert lags.get_title(loc="left") == "Lorenz, clean: lag of 8 samples"
    assert dimensions.get_title(loc="left") == "5 delays"
    (information, taken), (shares, delays) = lags.lines, dimensions.lines
    assert set(taken.get_xdata()) == {8} and set(delays.get_xdata()) == {5}
    assert information.get_xdata()[np.argmin(information.get_ydata())] in (8, 24, 40)
    np.testing.assert_allclose(shares.get_ydata(), [90, 20, 1, *[0.5] * 5])  # of nine and ten dimensions none is known
    plt.close("all")


def test_of_a_study_with_delays_only_these_data_are_shown_and_without_any_it_is_said(tmp_path):
    study = {"systems": ["A"], "methods": ["a"], "data": {"all": {"noise": 0.0}, "x": {"noise": 0.0, "delay": {}}}}
    study["data"]["x"]["delay"] = {"dimension": "auto", "lag": "auto"}
    entry, results = build("figures", "delays", {}), Results.of(tmp_path, study)
    assert "Data: x (no noise, with delays) (1 of 2)." in entry.caption(results)
    study["data"].pop("x")
    drawn = entry.draw(Results.of(tmp_path, study))
    assert [text.get_text() for text in drawn.texts] == ["no states of this study have delays"]
    plt.close("all")


def test_a_spectrum_that_has_not_converged_is_hollow_and_every_exponent_has_a_linear_scale_of_its_own():
    panels = build("figures", "lyapunov_spectra", {}).draw(synthetic.study()).axes[:3]
    dots = [line for ax in panels for line in ax.lines if line.get_marker() in ("o", "^", "v")]
    hollow = sum(len(line.get_xdata()) for line in dots if line.get_markerfacecolor() == "white")
    assert (hollow, sum(len(line.get_xdata()) for line in dots)) == (3, 3 * 3 * 4)
    assert {ax.get_yscale() for ax in panels} == {"linear"}
    for ax, true in zip(panels, SPECTRA["Lorenz"], strict=True):
        assert ax.get_ylim()[0] < true < ax.get_ylim()[1]


def test_attractors_of_all_data_count_the_seeds_that_failed_and_show_the_others():
    drawn = build("figures", "attractors", {}).draw(synthetic.study())
    rows = [drawn.axes[4 * row : 4 * row + 4] for row in range(4)]
    said = {row[0].get_ylabel(): [[text.get_text() for text in ax.texts] for ax in row] for row in rows}
    assert said == {
        "Lorenz\nclean": [[], [], [], []],
        "Lorenz\nnoisy": [[], ["† 1 of 3"], [], []],
        "Lorenz96_N5\nclean": [[], [], [], ["† 1 of 3"]],
        "Lorenz96_N5\nnoisy": [[], [], [], []],
    }
    density = [ax.collections[0].get_array() for row in rows for ax in row]
    assert len(density) == 16 and all(part.max() > 0.2 for part in density)
    alone = build("figures", "attractors", {"data": "noisy"}).draw(synthetic.study())
    assert [ax.get_ylabel() for ax in alone.axes if "Lorenz" in ax.get_ylabel()] == [
        "Lorenz\nnoisy",
        "Lorenz96_N5\nnoisy",
    ]
    plt.close("all")


def test_the_budget_of_steps_is_marked():
    steps = synthetic.study().table("costs.csv")["steps"].unique()
    ax = build("figures", "training_outcomes", {}).draw(synthetic.study()).axes[2]
    gray = [segment[0, 0] for part in ax.collections if part.get_zorder() == 0 and hasattr(part, "get_segments")
            for segment in part.get_segments()]  # fmt: skip
    assert set(gray) == set(steps) and ax.get_xlim()[0] == 0


def test_what_is_logarithmic_leaves_out_the_truth():
    results = synthetic.study()
    ax = build("figures", "training_outcomes", {}).draw(results).axes[0]
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] > 1e-7
    one = synthetic.odd_study("one")
    for name in ("jacobian_error", "jacobian_estimators"):
        assert build("figures", name, {}).draw(one).axes[0].get_xlim()[0] > -6, name


def test_a_landscape_goes_from_strong_to_none_and_from_long_to_short_and_shows_what_has_diverged():
    figure = build("figures", "landscape", {}).draw(synthetic.study())
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(panels) == ["$\\kappa$ = 2, 20 samples", "free, 20 samples", "free, 5 samples"]
    surfaces = [ax.collections[0].get_array().reshape(5, 5) for ax in panels.values()]
    assert [int(np.ma.getmaskarray(surface).sum()) for surface in surfaces] == [0, 1, 1]
    assert all(np.ma.getmaskarray(surface)[4, 4] for surface in surfaces[1:])
    assert len({ax.collections[0].get_clim() for ax in panels.values()}) == 1


def test_minima_are_below_all_eight_points_around_them():
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
    assert minima(x**2 + y**2) == 1 and minima(np.cos(2 * np.pi * x) * np.cos(2 * np.pi * y)) == 4
    assert minima(x + y) == 0 and minima(np.zeros((9, 9))) == 0 and minima(np.full((9, 9), np.nan)) == 0
    assert minima(np.ones((1, 1))) == 0


def test_profiles_are_of_what_is_judged_on_the_same_systems_and_the_best_is_of_data_alone(tmp_path):
    shutil.copytree(synthetic.study().folder, tmp_path / "study")
    results = Results(tmp_path / "study", tuple(SPECTRA), DATA, (*GIVEN, "unborn"), seeds=3)
    scores = results.table("scores.csv")
    lacks = (scores["method"] == "neighborhood") & (scores["data"] == "noisy") & (scores["system"] == "Lorenz")
    scores[~lacks].to_csv(results.folder / "scores.csv", index=False)
    entry = build("figures", "performance_profiles", {})
    drawn = entry.draw(results)
    clean, noisy = ({line.get_color() for line in ax.lines} for ax in drawn.axes[:2])
    palette, gray = colors(results), "0.6"
    assert clean == {palette["baseline"], palette["neighborhood"], gray} and noisy == {palette["baseline"], gray}
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == list(GIVEN)
    ends = {line.get_color(): line.get_ydata() for line in drawn.axes[1].lines}
    assert ends[palette["baseline"]][0] == 5 / 6, "the best of data alone, but for the seed that diverged"
    assert "others: noisy: neighborhood." in entry.caption(results) and "Gray, and never" in entry.caption(results)
    plt.close(drawn)


def test_the_caption_of_ranks_names_what_is_left_out_and_what_is_given_more():
    said = build("figures", "critical_difference", {}).caption(synthetic.study())
    assert "Ranked among the others, and given more than data: jacobian. " in said and "Left out" not in said


def test_a_bar_of_a_critical_difference_diagram_goes_from_the_first_of_its_methods_to_the_last():
    average = pd.Series(np.arange(8.0), list("abcdefgh"))
    ax = plt.figure().subplots()
    critical_difference._diagram(ax, Ranks(average, 12, 0.01, 5.5), dict.fromkeys(average.index, "C0"))
    bars = [list(line.get_xdata()) for line in ax.lines if line.get_color() == "0.4"]
    assert bars == [[0, 5], [1, 6], [2, 7]]


def test_methods_keep_their_color_when_others_join():
    few, many = (Results("", (), {}, tuple("abcdefghijkl"[:count])) for count in (2, 6))
    assert colors(few).items() <= colors(many).items()


@pytest.mark.parametrize("count", [3, 7, 12])
def test_no_two_methods_share_a_color(count):
    palette = colors(Results("", (), {}, tuple("abcdefghijkl"[:count])))
    assert len({to_rgb(color) for color in palette.values()}) == count + 1


DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]


def lab(color, seen):
    """A color in CIELAB, as eyes see it in whose linear light it is multiplied by a matrix (Machado et al., 2009)."""
    rgb = np.array(to_rgb(color))
    light = np.clip(np.array(seen) @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ light
    x, y, z = np.where((t := xyz / [0.9505, 1, 1.089]) > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_white_and_red_are_where_they_are_in_cielab():
    np.testing.assert_allclose(lab("white", np.eye(3)), [100, 0, 0], atol=0.1)
    np.testing.assert_allclose(lab("#ff0000", np.eye(3)), [53.24, 80.09, 67.20], atol=0.3)


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_methods_with_one_marker_are_told_apart_by_all_eyes(seen):
    chosen = marks(Results("", (), {}, tuple(f"m{n}" for n in range(21))))
    assert len({(mark.color, mark.marker) for mark in chosen.values()}) == 22
    for one, other in combinations(chosen.values(), 2):
        if one.marker == other.marker:
            apart = np.linalg.norm(lab(one.color, seen) - lab(other.color, seen))
            assert apart > 10, f"{one.color} and {other.color}: {apart:.1f}"


def test_a_legend_of_many_methods_stays_within_the_figure():
    figure, _ = plt.subplots(figsize=(6, 3), layout="constrained")
    legend(figure, {f"a_method_with_a_long_name_{number}": f"C{number}" for number in range(9)})
    figure.draw_without_rendering()
    (box,) = (made.get_window_extent() for made in figure.legends)
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    assert len(figure.legends[0].get_texts()) == 9
