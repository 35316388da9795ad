"""What every figure shares: its interface, one style, one mark per method, and one way to a file.

A figure is an entry of this package: a frozen dataclass of its settings with two methods, :meth:`Figure.draw` and
:meth:`Figure.caption`. A stage builds it from its line in the study, draws and saves, with the caption beside it::

    figure = catalogue.build("figures", "forecasts", {"start": 3})
    save(figure.draw(results), Path("forecasts.pdf"), Path("forecasts.txt"), caption=figure.caption(results))

The truth is black in every figure, and a method has the mark of its place in the study
(:mod:`nearorbit.report.marks`). A dagger is a seed that diverged or collapsed, a hollow dot or a double dagger a
spectrum that has not converged. Every axis of numbers has a label with its unit in brackets, ``[1]`` where it has none.
A page is seven inches by nine: of a study that has no room on it a figure shows the first, and its caption says so.
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

from nearorbit.evaluation.metrics.base import Compute
from nearorbit.evaluation.scores import Results
from nearorbit.report.marks import marks
from nearorbit.report.tables import base as tables
from nearorbit.study.catalogue import TRUTH, build
from nearorbit.study.files import replacing_all

WIDTH = 7.0  # inches, a page
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
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

        It is made of the settings and of the labels of the study alone, with
        :func:`nearorbit.report.captions.told`; no file of results is read for it.
        """
        ...


def colors(results: Results) -> dict[str, Any]:
    """Assign a color to the truth and to each method of a study."""
    return {label: mark.color for label, mark in marks(results).items()}


def panels(rows: int, columns: int, *, height: float, width: float = WIDTH, **options: Any) -> tuple[plt.Figure, Any]:
    """Make a figure of panels in the style of all figures.

    Arguments:
        rows: The number of rows of panels.
        columns: The number of columns.
        height: The height of a row, in inches.
        width: The width of the figure, in inches.
        options: Passed to :func:`matplotlib.pyplot.subplots`.

    Returns:
        The figure and its axes, with shape (rows, columns).
    """
    sns.set_theme(style="ticks", rc=STYLE)
    return plt.subplots(
        rows, columns, figsize=(width, height * rows + 0.5), squeeze=False, layout="constrained", **options
    )


def cell_panels(results: Results, *, height: float) -> tuple[plt.Figure, Iterator[tuple[plt.Axes, str, str]]]:
    """Make a panel for each system and data: a column for each data, or four columns of systems where the data are one.

    Arguments:
        results: The files of the study.
        height: The height of a panel, in inches.

    Returns:
        The figure, and its panels with the labels of their system and data.
    """
    labels = list(product(results.systems, results.data))
    columns = len(results.data) if len(results.data) > 1 else min(4, len(labels))
    figure, axes = panels(-(-len(labels) // columns), columns, height=height)
    for ax, (system, data) in zip(axes.flat, labels, strict=False):
        ax.set_title(f"{system}, {data}", loc="left")
    for ax in axes.flat[len(labels) :]:
        ax.set_axis_off()
    sns.despine(figure)
    return figure, ((ax, *label) for ax, label in zip(axes.flat, labels, strict=False))


def legend(figure: plt.Figure, palette: dict[str, Any]) -> None:
    """Put one legend of the methods, if there are any, above all panels, in as many rows as it takes."""
    handles = [plt.Line2D([], [], color=color, linewidth=2, label=name) for name, color in palette.items()]
    count = len(handles)
    for rows in range(max(1, -(-count // 6)), count + 1):
        made = figure.legend(handles=handles, loc="outside upper center", ncols=-(-count // rows))
        if rows == count or made.get_window_extent().width <= figure.bbox.width:
            return
        made.remove()


def edge_marks(ax: plt.Axes, x: Sequence[float], *, edge: float, **style: Any) -> None:
    """Mark places on the lower (0) or upper (1) edge of a panel."""
    ax.scatter(x, np.full(len(x), edge), transform=ax.get_xaxis_transform(), clip_on=False, s=14, zorder=3, **style)


def by_cell(results: Results, quantity: Compute) -> pd.DataFrame:
    """Evaluate truth against forecast in every cell but those of the truth, as a long table.

    Arguments:
        results: The files of the study.
        quantity: The function of truth and forecast, to an array of any shape.

    Returns:
        A row per value, with columns ``(system, data, noise, method, value)``.
    """
    rows = []
    for cell in (cell for cell in results.cells() if cell["method"] != TRUTH):
        truth = results.open("truth.nc", cell["system"], cell["data"])
        forecast = results.open("forecast.nc", cell["system"], cell["data"], cell["method"])
        if truth is not None and forecast is not None:
            rows.append(pd.DataFrame({**cell, "value": np.ravel(quantity(truth, forecast))}))
    columns = ["system", "data", "noise", "method", "value"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


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
            entry = build("figures", label, spec)
            figure = entry.draw(results)
            if note:
                figure.text(0.005, 0.005, note, fontsize=7)
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
