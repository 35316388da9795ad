import shutil

import pytest
import synthetic
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from synthetic import DATA, GIVEN, SPECTRA

from nearorbit.catalogue import build, names
from nearorbit.figures.base import colors, save
from nearorbit.scores import Results
from nearorbit.study import paths
from nearorbit.tables.base import summary


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


def test_a_figure_is_the_same_to_the_byte_each_time(tmp_path):
    paths = [tmp_path / f"{name}.{suffix}" for suffix in ("pdf", "png") for name in ("first", "second")]
    for first, second in (paths[::2], paths[1::2]):
        save(build("figures", "training_curves", {}).draw(synthetic.study()), first, second)
    first, second, *images = (path.read_bytes() for path in paths)
    assert first == second
    assert images[0] == images[1]


@pytest.mark.parametrize("systems", [("Lorenz",), tuple(SPECTRA)])
def test_an_overview_writes_each_mean_where_it_belongs_whichever_way_it_lies(systems):
    whole = synthetic.study()
    methods = tuple(GIVEN)
    results = Results(whole.folder, systems, DATA, methods)
    ax = build("figures", "overview", {"metrics": ["jacobian_error"]}).draw(results).axes[0]
    across, down = ([label.get_text() for label in labels] for labels in (ax.get_xticklabels(), ax.get_yticklabels()))
    assert (methods == tuple(down)) == (len(methods) > len(systems) * len(DATA))
    means = summary(whole.read("scores.csv")).query("metric == 'jacobian_error'")
    means = means.assign(row=means["system"] + ", " + means["data"]).set_index(["row", "method"])["mean"]
    written = iter(text.get_text() for text in ax.texts)
    for y in down:
        for x in across:
            place = (x, y) if y in methods else (y, x)
            assert float(next(written).strip("*")) == pytest.approx(means[place], rel=0.05)


def test_methods_keep_their_color_when_others_join():
    few, many = (Results("", (), {}, tuple("abcdefghijkl"[:count])) for count in (2, 6))
    assert colors(few).items() <= colors(many).items()


@pytest.mark.parametrize("count", [3, 7, 12])
def test_no_two_methods_share_a_color(count):
    palette = colors(Results("", (), {}, tuple("abcdefghijkl"[:count])))
    assert len({to_rgb(color) for color in palette.values()}) == count + 1
