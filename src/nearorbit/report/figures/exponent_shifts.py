"""Where the error of a learned Jacobian lies, and what it does to the Lyapunov exponents."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import WIDTH, colors, legend, panels
from nearorbit.report.tables.exponent_shifts import shifts
from nearorbit.study.catalogue import TRUTH

SHOWN = 3  # methods whose errors are resolved, where none are named
DECADES = 4  # of the color scale, at most
NUMBERED = 6  # exponents, up to which every entry has its number
MARKERS = "osD^v<>ph*"


@dataclass(frozen=True)
class ExponentShifts:
    """Predicted against found shifts of the exponents, and the error of the Jacobian in covariant vectors.

    On the left every exponent of every seed, a marker for each exponent, with standard errors; the prediction is that
    of the moved attractor, hollow where it is along the true orbit for want of another. The axes are linear around zero
    and logarithmic beyond. On the right the root mean square of w_i^T (J_theta - J) v_j over the attractor and the
    seeds, for some methods: rows are what it does to direction i, columns what direction j it acts on.

    Arguments:
        methods: The labels of the methods whose errors are resolved; by default the first three.
    """

    methods: Sequence[str] = ()
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each system and data."""
        records, palette = shifts(results), colors(results)
        del palette[TRUTH]
        records = records[records["method"] != TRUTH]
        shown = [label for label in self.methods if label in results.methods] or results.methods[:SHOWN]
        cells = list(product(results.systems, results.data))
        ratios = [1.5, *[1.0] * max(len(shown), 1)]
        figure, axes = panels(
            len(cells), len(ratios), height=1.9, width=max(WIDTH, 2.2 * len(ratios)), width_ratios=ratios
        )
        for row, (system, data) in zip(axes, cells, strict=True):
            row[0].set_title(f"{system}, {data}", loc="left")
            rows = records[(records["system"] == system) & (records["data"] == data)]
            _against(row[0], rows, palette)
            tables = {label: _resolved(results, system, data, label) for label in shown}
            _matrices(figure, row[1:], tables)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            "Predicted against found shifts of the Lyapunov exponents, and the error of the Jacobian in "
            "covariant vectors. "
            f"{told(results)}"
        )


def _against(ax: plt.Axes, rows: pd.DataFrame, palette: dict[str, Any]) -> None:
    """Draw predicted against found shifts."""
    moved = rows["moved"].notna()
    predicted = rows["moved"].where(moved, rows["fixed"]).astype(float)
    errors = rows["moved_stderr"].where(moved, rows["fixed_stderr"]).astype(float)
    known = rows.assign(x=predicted, xerr=errors, fill=moved)
    known = known[np.isfinite(known["x"]) & np.isfinite(known["found"].astype(float))]
    for (method, index), dots in known.groupby(["method", "index"], sort=False):
        color = palette[method]
        fill = color if dots["fill"].all() else "white"
        found_error = np.hypot(dots["learned_stderr"].astype(float), dots["true_stderr"].astype(float))
        ax.errorbar(
            dots["x"], dots["found"], found_error, dots["xerr"], fmt=MARKERS[(index - 1) % len(MARKERS)], color=color,
            markersize=3, elinewidth=0.5, markeredgewidth=0.6, markerfacecolor=fill,
        )  # fmt: skip
    if len(known):
        largest = float(max(known["x"].abs().max(), known["found"].abs().max()))
        linear = max(float(np.nanmedian(known["found"].abs())), 1e-4 * largest, 1e-12)
        for set_scale in (ax.set_xscale, ax.set_yscale):
            set_scale("symlog", linthresh=linear)
        edge = 1.5 * max(largest, linear)
        ticks = [-largest, -linear, 0, linear, largest] if largest > 3 * linear else [-linear, 0, linear]
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks([float(f"{tick:.1g}") for tick in ticks])
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(plt.NullLocator())
        ax.set(xlim=(-edge, edge), ylim=(-edge, edge))
        ax.plot([-edge, edge], [-edge, edge], color="0.7", linewidth=0.6, zorder=0)
        for index in sorted(known["index"].unique())[:NUMBERED]:
            ax.plot(
                [], [], MARKERS[(index - 1) % len(MARKERS)], color="0.4", markersize=3, label=f"$\\lambda_{{{index}}}$"
            )
        ax.legend(fontsize=6, handletextpad=0, borderpad=0, labelspacing=0.2, loc="upper left")
    ax.set(xlabel="predicted shift [1/time]", ylabel="found shift [1/time]")


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
        if count <= NUMBERED:
            for i, j in np.ndindex(matrix.shape):
                dark = norm(max(float(matrix[i, j]), lowest)) < 0.6
                ax.text(j + 1, i + 1, f"{matrix[i, j]:.2g}", ha="center", va="center", fontsize=6 if count < 5 else 4.5,
                        color="white" if dark else "black")  # fmt: skip
            ax.set(xticks=range(1, count + 1), yticks=range(1, count + 1))
        ax.set(xlabel="acts on $v_j$", ylabel="shifts along $w_i$")
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes), shrink=0.9, pad=0.01)
        bar.set_label("rms $w_i^T\\,\\delta J\\,v_j$ [1/time]", fontsize=7)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"exponent_shifts": ExponentShifts}
