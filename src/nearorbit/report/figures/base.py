"""What every figure shares: its interface, one style, one mark per method, and one way to a file.

A figure is an entry of this package: a frozen dataclass of its settings with two methods, :meth:`Figure.draw` and
:meth:`Figure.caption`. A stage builds it from its line in the study, draws and saves, with the caption beside it::

    figure = catalogue.build("figures", "forecasts", {"start": 3})
    save(figure.draw(results), Path("forecasts.pdf"), Path("forecasts.txt"), caption=figure.caption(results))

The truth is black in every figure, and a method has the mark of its place in the study
(:mod:`nearorbit.report.marks`). A dagger is a seed that diverged or collapsed, a hollow dot or a double dagger a
spectrum that has not converged. Every axis of numbers has a label with its unit in brackets, ``[1]`` where it has none.
A figure is as wide as a page and no higher, so that it is printed in its size, in which no letter is below seven
points: of a study that has no room on a page it shows the first, and its caption says so.

It is one module since whatever two figures draw alike is drawn here, and entries do not import one another.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Protocol

import matplotlib

matplotlib.use("Agg")  # needs no display; before pyplot is imported

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import KINDS, WIDTH, in_cells
from nearorbit.report.tables import base as tables
from nearorbit.study import catalogue
from nearorbit.study.files import replacing_all

SMALL = 7  # points, the smallest letters
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.labelsize": 8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text
}

misfits = tables.misfits  # what a figure asks of its study in vain is what a table does


class Figure(Protocol):
    """A figure of a study.

    Attributes:
        reads: The names of the files that it reads, as :func:`nearorbit.study.places.paths` takes them, e.g.
            ``{"scores.csv", "truth.nc"}``.
    """

    reads: ClassVar[frozenset[str]]

    def draw(self, results: Results) -> plt.Figure:
        """Draw the figure; a cell whose files are missing leaves a gap."""
        ...

    def caption(self, results: Results) -> str:
        """Say what is drawn, of which data and how many seeds, and what the marks mean.

        It is made of the settings and of the labels of the study, with :func:`nearorbit.report.captions.told`; of the
        results it asks no more than what there is.
        """
        ...


def colors(results: Results) -> dict[str, Any]:
    """Assign a color to the truth and to each method of a study."""
    return {label: mark.color for label, mark in marks(results).items()}


def axis_label(metric: str) -> str:
    """Name a metric on an axis, with its unit in brackets: ``"Jacobian error [1]"``."""
    known = catalogue.entries("metrics")[metric]
    return f"{known.label} [{known.unit}]"


def panels(rows: int, columns: int, *, height: float, **options: Any) -> tuple[plt.Figure, Any]:
    """Make a figure of panels in the style of all figures, as wide as a page.

    Arguments:
        rows: The number of rows of panels.
        columns: The number of columns.
        height: The height of a row, in inches.
        options: Passed to :func:`matplotlib.pyplot.subplots`.

    Returns:
        The figure and its axes, with shape (rows, columns); at least one of each.
    """
    sns.set_theme(style="ticks", rc=STYLE)
    rows, columns = max(1, rows), max(1, columns)
    return plt.subplots(
        rows, columns, figsize=(WIDTH, height * rows + 0.5), squeeze=False, layout="constrained", **options
    )


def cell_panels(results: Results, *, height: float) -> tuple[plt.Figure, Iterator[tuple[plt.Axes, str, str]]]:
    """Make a panel for each system and data: a column for each data, or four columns of systems where the data are one.

    Arguments:
        results: The files of the study.
        height: The height of a panel, in inches.

    Returns:
        The figure, and its panels with the labels of their system and data, as many as a page has room for.
    """
    shown = in_cells(results, height=height)
    labels = list(product(shown.systems, shown.data))
    columns = len(shown.data) if len(shown.data) > 1 else min(KINDS, len(labels))
    figure, axes = panels(-(-len(labels) // max(1, columns)), columns, height=height)
    for ax, (system, data) in zip(axes.flat, labels, strict=False):
        ax.set_title(f"{system}, {data}", loc="left")
    for ax in axes.flat[len(labels) :]:
        ax.set_axis_off()
    sns.despine(figure)
    return figure, ((ax, *label) for ax, label in zip(axes.flat, labels, strict=False))


def legend(figure: plt.Figure, shown: Mapping[str, Any], *, markers: bool = True, lines: bool = True) -> None:
    """Put one legend above all panels, if there is anything, in as many rows as it takes.

    Arguments:
        figure: The figure.
        shown: The marks, or the colors, by what they are of.
        markers: Whether they have markers, which lines have not.
        lines: Whether they have lines.
    """
    handles = []
    for name, mark in shown.items():
        known = mark if isinstance(mark, Mark) else Mark(mark, marker="")
        marker = known.marker if markers else ""
        style = {"color": known.color, "marker": marker, "linestyle": known.dashes, "markersize": 3.5}
        style |= {} if lines else {"linestyle": ""}
        handles.append(plt.Line2D([], [], linewidth=1.4, label=name, **style))
    count = len(handles)
    for rows in range(max(1, -(-count // 6)), count + 1):
        made = figure.legend(handles=handles, loc="outside upper center", ncols=-(-count // rows))
        if rows == count or made.get_window_extent().width <= figure.bbox.width:
            return
        made.remove()


def edge_marks(ax: plt.Axes, x: Sequence[float], *, edge: float, **style: Any) -> None:
    """Mark places at a height of a panel: on its lower (0) or upper (1) edge, or between."""
    ax.scatter(x, np.full(len(x), edge), transform=ax.get_xaxis_transform(), clip_on=False, s=14, zorder=3, **style)


def trends(ax: plt.Axes, rows: pd.DataFrame, x: str, y: str, shown: Mapping[str, Mark]) -> None:
    """Draw how a value depends on another, on logarithmic axes: seeds as dots, daggers where they failed, and medians.

    Arguments:
        ax: The panel.
        rows: A row per seed, with columns ``method`` and those of x and y, and ``status`` where seeds can have failed.
        x: The column of what it depends on.
        y: The column of the value.
        shown: The marks of the methods, by their labels.
    """
    for method, mark in shown.items():
        of = rows[rows["method"] == method]
        median = of.groupby(x)[y].median()
        ax.plot(median.index, median, color=mark.color, linestyle=mark.dashes)
        failed = of["status"] != "ok" if "status" in of else pd.Series(False, of.index)
        style: dict[str, Any] = {"color": mark.color, "linewidth": 0}
        ax.scatter(of[x][~failed], of[y][~failed], s=9, alpha=0.6, marker=mark.marker, **style)
        ax.scatter(of[x][failed], of[y][failed], s=45, marker="$†$", **style)
    if len(rows):
        ax.set(xscale="log", yscale="log")
    ax.grid(which="major", linewidth=0.3)
    ax.set_axisbelow(True)


def quartiles(ax: plt.Axes, y: float, values: Sequence[float] | np.ndarray, *, color: Any, marker: str = "o") -> None:
    """Draw a distribution as a line across: its median as a mark, its quartiles thick, and, of five, its ends thin.

    Arguments:
        ax: The panel.
        y: Where.
        values: Three or five quantiles, in order.
        color: The color.
        marker: The mark of the median.
    """
    if len(values) == 5:
        ax.hlines(y, values[0], values[4], color=color, linewidth=0.6)
    middle = len(values) // 2
    ax.hlines(y, values[middle - 1], values[middle + 1], color=color, linewidth=2.4, alpha=0.5)
    ax.plot(values[middle], y, marker, color=color, markersize=3)


def save_all(results: Results, into: Path, figures: Mapping[str, Any], *, note: str = "") -> None:
    """Draw the figures of a study, each as PDF and PNG, with its caption beside it as text.

    Arguments:
        results: The results of the study.
        into: The folder that they are written to.
        figures: Their settings, by label.
        note: What stands at their foot, and what their captions begin with.
    """
    for label, spec in figures.items():
        with replacing_all(into / f"{label}.{kind}" for kind in ("pdf", "png", "txt")) as paths:
            entry = catalogue.build("figures", label, spec)
            figure = entry.draw(results)
            if note:
                figure.text(0.005, 0.005, note, fontsize=SMALL)
            save(figure, *paths, caption=" ".join(filter(None, (note, entry.caption(results)))))


def save(figure: plt.Figure, *paths: Path, caption: str = "") -> None:
    """Write a figure and its caption, the same to the byte each time, and close it.

    Arguments:
        figure: The figure.
        paths: Where to, in the format of each: ``.pdf``, ``.png``, or ``.txt`` of the caption.
        caption: Its caption, which images have in their metadata, too.
    """
    metadata = {".pdf": {"CreationDate": None, "Subject": caption}, ".png": {"Description": caption}}
    for path in paths:
        if path.suffix == ".txt":
            path.write_text(f"{caption}\n", encoding="utf-8")
        else:
            figure.savefig(path, metadata=metadata[path.suffix])
    plt.close(figure)
