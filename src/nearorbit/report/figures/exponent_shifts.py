"""Where the error of a learned Jacobian lies, and what it does to the Lyapunov exponents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import SMALL, colors, legend, panels
from nearorbit.report.room import rows_of_cells
from nearorbit.report.tables.exponent_shifts import shifts
from nearorbit.study.catalogue import TRUTH

HEIGHT = 1.7  # inches, of a row
SHOWN = 3  # methods whose errors are resolved, where none are named
DECADES = 4  # of the color scale, at most
NUMBERED = 6  # exponents, up to which a marker is explained
WRITTEN = 4  # exponents, up to which every entry has its number
MARKERS = "osD^v<>ph*"


@dataclass(frozen=True)
class ExponentShifts:
    """Predicted against found shifts of the exponents, and the error of the Jacobian in covariant vectors.

    On the left the size of the shift of every exponent of every seed, on logarithmic axes, a marker for each exponent;
    the prediction is that of the moved attractor, hollow where it is along the true orbit for want of another. A cross
    is a shift to the other side than predicted. On the right the root mean square of w_i^T (J_theta - J) v_j over the
    attractor and the seeds, for some methods: rows are what it does to direction i, columns what j it acts on.

    Arguments:
        methods: The labels of the methods whose errors are resolved; by default the first three.
        data: The label of the data; all if None, as long as they have room.
    """

    methods: Sequence[str] = ()
    data: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each system and data."""
        cells, resolved = rows_of_cells(results, self.data, height=HEIGHT), self._resolved(results)
        records, palette = shifts(self._fitting(results)), colors(results)
        del palette[TRUTH]
        records = records[records["method"] != TRUTH]
        figure, axes = panels(
            len(cells), 1 + max(len(resolved), 1), height=HEIGHT, width_ratios=[1.3, *[1.0] * max(len(resolved), 1)]
        )
        for row, (system, data) in zip(axes, cells, strict=False):
            row[0].set_title(f"{system}, {data}", loc="left")
            _against(row[0], records[(records["system"] == system) & (records["data"] == data)], palette)
            tables = {label: _resolved(results, system, data, label) for label in resolved}
            _matrices(figure, row[1:], tables)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        shown = self._fitting(results)
        return (
            "Left: how far each Lyapunov exponent is from the true one, found on the learned attractor, against what "
            "the error of the field predicts at first order for the moved attractor (hollow: along the true orbit): "
            "sizes of the shifts, with standard errors, a marker for each exponent of each seed; a cross is a shift "
            "to the other side than predicted, and the line where the two agree. Right: where the error of the "
            "Jacobian lies, in covariant Lyapunov vectors v and their duals w, root mean square over the attractor "
            f"and the seeds, of {', '.join(self._resolved(results)) or 'no method'}; the diagonal shifts exponents. "
            f"{told(results, systems=shown.systems, data=shown.data)}"
        )

    def _resolved(self, results: Results) -> Sequence[str]:
        return [label for label in self.methods if label in results.methods] or results.methods[:SHOWN]

    def _fitting(self, results: Results) -> Results:
        cells = rows_of_cells(results, self.data, height=HEIGHT)
        shown = {data: results.data[data] for _, data in cells}
        return replace(results, systems=tuple(dict.fromkeys(system for system, _ in cells)), data=shown)


def _against(ax: plt.Axes, rows: pd.DataFrame, palette: dict[str, Any]) -> None:
    """Draw the sizes of predicted against those of found shifts."""
    moved = rows["moved"].notna()
    predicted = rows["moved"].where(moved, rows["fixed"]).astype(float)
    errors = rows["moved_stderr"].where(moved, rows["fixed_stderr"]).astype(float)
    found = rows["found"].astype(float)
    known = rows.assign(x=predicted.abs(), xerr=errors, y=found.abs(), agree=predicted * found > 0, fill=moved)
    known = known[(known["x"] > 0) & (known["y"] > 0) & np.isfinite(known["x"]) & np.isfinite(known["y"])]
    for (method, index), dots in known.groupby(["method", "index"], sort=False):
        color, marker = palette[method], MARKERS[(index - 1) % len(MARKERS)]
        found_error = np.hypot(dots["learned_stderr"].astype(float), dots["true_stderr"].astype(float))
        ax.errorbar(
            dots["x"], dots["y"], found_error, dots["xerr"], fmt="none", ecolor=color, elinewidth=0.4, alpha=0.6
        )
        for agree, style in ((True, marker), (False, "x")):
            part = dots[dots["agree"] == agree]
            fill = color if dots["fill"].all() else "white"
            ax.plot(part["x"], part["y"], style, color=color, markersize=3, markeredgewidth=0.6, markerfacecolor=fill)
    if len(known):
        ends = {f"{axis}lim": _ends(known[axis]) for axis in ("x", "y")}
        ax.set(xscale="log", yscale="log", **ends)
        ax.axline((1, 1), (10, 10), color="0.7", linewidth=0.6, zorder=0)
        for index in sorted(known["index"].unique())[:NUMBERED]:
            marker = MARKERS[(index - 1) % len(MARKERS)]
            ax.plot([], [], marker, color="0.4", markersize=3, label=f"$\\lambda_{{{index}}}$")
        ax.legend(
            fontsize=SMALL, handletextpad=0, borderpad=0, labelspacing=0.1, loc="upper left", ncols=2, columnspacing=0
        )
    ax.set(xlabel="predicted shift [1/time]", ylabel="found shift [1/time]")


def _ends(sizes: pd.Series) -> tuple[float, float]:
    """The ends of an axis on which the largest of these are seen, and so many decades below it."""
    return float(max(sizes.min(), sizes.max() * 10.0**-DECADES)) / 1.5, 1.5 * float(sizes.max())


def _resolved(results: Results, system: str, data: str, method: str) -> np.ndarray | None:
    """The root mean square over the attractor and the seeds of an error in covariant vectors, with shape (D, D)."""
    forecast: xr.Dataset | None = results.open("forecast.nc", system, data, method)
    if forecast is None or "resolved" not in forecast:
        return None
    matrix = np.sqrt((forecast["resolved"] ** 2).mean("seed").transpose("exponent", "along").to_numpy())
    return matrix if np.isfinite(matrix).any() else None


def _matrices(figure: plt.Figure, axes: np.ndarray, tables: dict[str, np.ndarray | None]) -> None:
    """Draw matrices side by side on one logarithmic color scale."""
    values = [matrix[np.isfinite(matrix) & (matrix > 0)] for matrix in tables.values() if matrix is not None]
    highest = max((float(part.max()) for part in values if part.size), default=0.0)
    for ax in axes[len(tables) if highest else 0 :]:
        ax.set_axis_off()
    if not highest:
        return
    lowest = max(min(float(part.min()) for part in values if part.size), highest * 10.0**-DECADES)
    lowest = min(lowest, 0.99 * highest)
    norm, image = LogNorm(lowest, highest), None
    for ax, (label, matrix) in zip(axes, tables.items(), strict=False):
        ax.set_title(label, loc="left")
        if matrix is None:
            ax.set_axis_off()
            continue
        count = len(matrix)
        image = ax.imshow(
            np.maximum(matrix, lowest), norm=norm, cmap="viridis", extent=(0.5, count + 0.5, count + 0.5, 0.5)
        )
        if count <= WRITTEN and highest < 1000:
            for i, j in np.ndindex(matrix.shape):
                dark = norm(max(float(matrix[i, j]), lowest)) < 0.6
                ax.text(j + 1, i + 1, f"{matrix[i, j]:.2g}", ha="center", va="center", fontsize=SMALL,
                        color="white" if dark else "black")  # fmt: skip
        ticks = range(1, count + 1, max(1, count // WRITTEN))
        ax.set(xticks=ticks, yticks=ticks, xlabel="acts on $v_j$ [index]", ylabel="along $w_i$ [index]")
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes), shrink=0.9, pad=0.01, format="{x:g}")
        bar.locator = LogLocator(subs=(1, 2, 5) if highest < 30 * lowest else (1,))
        bar.minorticks_off()
        bar.set_label("rms $w_i^T\\delta J\\,v_j$ [1/time]", fontsize=SMALL)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"exponent_shifts": ExponentShifts}
