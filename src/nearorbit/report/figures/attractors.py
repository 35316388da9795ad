"""True and learned attractors, side by side."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from nearorbit.evaluation.scores import Results, status
from nearorbit.report.captions import told
from nearorbit.report.figures.base import SMALL, panels
from nearorbit.report.marks import marks
from nearorbit.report.room import WIDTH, cells_with, labels_of, methods_of, rows_of_cells
from nearorbit.study.catalogue import TRUTH

ACROSS = (6, 7)  # panels: as many as the second where the first are too few
HEIGHT = 1.15  # inches, of a panel
BINS = 72
DECADES = 3  # of density
MAP = "viridis"


@dataclass(frozen=True)
class Attractors:
    """Where orbits dwell: the density of the truth and of every method, in the same axes.

    States of all seeds that did not fail are projected on the plane of the truth's two leading principal components, in
    deviations along them, and counted in bins. What leaves the axes is cut off. Systems, data and methods without any
    forecast are left out.

    Arguments:
        data: The label of the data; if None all, as long as they have room, and else those of most cells.
    """

    data: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw one or more rows of panels for each system and data."""
        cells, methods = self._shown(results)
        shown = {label: mark for label, mark in marks(results).items() if label in (TRUTH, *methods)}
        columns, rows = _grid(len(shown))
        figure, axes = panels(len(cells) * rows, columns, height=HEIGHT, sharex=False)
        for ax in axes.flat:
            ax.set_axis_off()
        image = None
        for place, (system, data) in enumerate(cells):
            block = axes[place * rows : (place + 1) * rows]
            truth = results.open("truth.nc", system, data)
            view = _View(truth) if truth is not None else None
            for (number, ax), (label, mark) in zip(enumerate(block.flat), shown.items(), strict=False):
                table = truth if label == TRUTH else results.open("forecast.nc", system, data, label)
                ax.set_axis_on()
                if rows > 1 or not place:
                    ax.set_title(_folded(label, int(11 * WIDTH / columns)), color=mark.color, fontsize=SMALL, pad=2)
                image = _panel(ax, view, table) or image
                ax.tick_params(length=2, pad=1, labelleft=not number % columns)
                ax.tick_params(labelbottom=number + columns >= len(shown))
            block[0, 0].set_ylabel(f"{system}\n{data}", fontsize=SMALL, fontweight="bold")
        figure.supxlabel("1st principal component of the truth [deviations]")
        figure.supylabel("2nd principal component [deviations]")
        if image is not None:
            bar = figure.colorbar(image, ax=axes, aspect=40, pad=0.01)
            bar.set_label("density, relative to the truth's highest [1]")
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        cells, methods = self._shown(results)
        systems, data = labels_of(cells)
        return (
            "Where orbits on the attractor dwell: the density of their states in the plane of the truth's two leading "
            "principal components, of the truth and of the field that each method learned, on one logarithmic scale "
            "for all panels of a system and data. States of all seeds that did not fail are counted together; in the "
            "corner of a panel, how many seeds diverged or collapsed (†). "
            f"{told(results, systems=systems, data=data, methods=methods)}"
        )

    def _shown(self, results: Results) -> tuple[list[tuple[str, str]], list[str]]:
        """The systems and data that are there and have room, and the methods of these."""
        there = cells_with(results, "forecast.nc")
        height = HEIGHT * _grid(1 + len(methods_of(results, there)))[1]
        cells = rows_of_cells(results, self.data, height=height, cells=there)
        return cells, methods_of(results, there, cells)


def _grid(count: int) -> tuple[int, int]:
    """The columns and rows of so many panels."""
    columns = min(count, ACROSS[count > ACROSS[0]])
    return columns, -(-count // columns)


def _folded(label: str, width: int) -> str:
    """Break a label of many words, at underscores, into lines of this width."""
    lines = [""]
    for part in label.split("_"):
        longer = f"{lines[-1]}_{part}" if lines[-1] else part
        lines = [*lines[:-1], longer] if len(longer) <= width or not lines[-1] else [*lines, part]
    return "\n".join(lines)


class _View:
    """The plane in which the truth is widest, its axes, and the density of the truth there."""

    def __init__(self, truth: xr.Dataset):
        states = _states(truth)
        self.mean = states.mean(axis=0)
        _, lengths, directions = np.linalg.svd(states - self.mean, full_matrices=False)
        plane = directions[:2] * np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])[:, None]
        self.plane = plane / (lengths[:2, None] / len(states) ** 0.5)  # the sign of a component is arbitrary
        shadow = (states - self.mean) @ self.plane.T
        low, high = shadow.min(axis=0), shadow.max(axis=0)
        margin = 0.08 * (high - low)
        self.edges = [np.linspace(a - m, b + m, BINS + 1) for a, b, m in zip(low, high, margin, strict=True)]
        self.highest = 1.0
        self.highest = float(self.density(states).max())

    def density(self, states: np.ndarray) -> np.ndarray:
        """The density of states (n, component) in bins, relative to the highest of the truth."""
        x, y = ((states - self.mean) @ self.plane.T).T
        return np.histogram2d(x, y, bins=self.edges)[0].T / (max(1, len(states)) * self.highest)


def _states(table: xr.Dataset) -> np.ndarray:
    """All finite states of the attractor of the seeds that did not fail, with shape (n, component)."""
    ok = (status(table) == "ok").to_numpy()
    states = table["attractor"].transpose("seed", "run", "sample", "component").to_numpy()[ok]
    states = states.reshape(-1, states.shape[-1])
    return states[np.isfinite(states).all(axis=1)]


def _panel(ax: plt.Axes, view: _View | None, table: xr.Dataset | None) -> Any:
    if view is None or table is None:
        ax.text(0.5, 0.5, "missing", ha="center", va="center", fontsize=SMALL, transform=ax.transAxes)
        return None
    density = np.ma.masked_equal(view.density(_states(table)), 0)
    norm = LogNorm(10.0**-DECADES, 1)
    image = ax.pcolormesh(*view.edges, density, norm=norm, cmap=MAP, rasterized=True)
    for axis, edges in ((ax.xaxis, view.edges[0]), (ax.yaxis, view.edges[1])):
        axis.set_major_locator(MaxNLocator(4, integer=True))
        axis.axes.set(**{f"{axis.axis_name}lim": (edges[0], edges[-1])})
    if failed := int((status(table) != "ok").sum()):
        said = f"† {failed} of {table.sizes['seed']}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
        ax.text(0.03, 0.03, said, fontsize=SMALL, transform=ax.transAxes, bbox=box)
    return image


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"attractors": Attractors}
