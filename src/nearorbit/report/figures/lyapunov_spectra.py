"""Learned Lyapunov spectra against the true ones, both with standard errors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import FLOOR, OFF, UNCONVERGED, told
from nearorbit.report.figures.base import SMALL, legend, panels
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import cells_with, labels_of, methods_of, rows_of_cells
from nearorbit.study.catalogue import TRUTH

HEIGHT = 1.05  # inches, of a row
ACROSS = 6  # exponents
LEADING = 4  # of more, the leading ones; the others are the last
BEYOND = 6.0  # medians of all errors: a value further from the truth is at the edge


@dataclass(frozen=True)
class LyapunovSpectra:
    """The exponents of every seed of every method, each exponent in a panel of its own scale around the true one.

    The true exponent is a line, its standard error a band. A hollow dot is of a spectrum that has not converged, a
    dagger below a panel of a method of which a seed diverged or collapsed. Black dots are of the true field, judged as
    learned ones are. What is further from the truth than six times the median error is a triangle at the edge. Of more
    than six exponents the first four and the last two are shown. Systems, data and methods without exponents are left
    out.

    Arguments:
        data: The label of the data; if None all, as long as they have room, and else those of most cells.
    """

    data: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"truth.csv", "exponents.csv", "scores.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each system and data."""
        truths, exponents = results.table("truth.csv"), _with_status(results)
        cells, methods = self._shown(results)
        shown = {label: mark for label, mark in marks(results).items() if label in (TRUTH, *methods)}
        most = int(max(truths["index"].max(), exponents["index"].max())) if len(truths) + len(exponents) else 1
        figure, axes = panels(len(cells), min(ACROSS, most), height=HEIGHT)
        for row, (system, data) in zip(axes, cells, strict=False):
            rows = exponents[(exponents["system"] == system) & (exponents["data"] == data)]
            truth = truths[truths["system"] == system].set_index("index")
            indices = sorted({*truth.index, *rows["index"]})
            if len(indices) > ACROSS:
                indices = [*indices[:LEADING], *indices[LEADING - ACROSS :]]
            for ax, index in zip(row, indices, strict=False):
                _panel(ax, truth[truth.index == index], rows[rows["index"] == index], shown)
                ax.set_title(rf"$\lambda_{{{int(index)}}}$", fontsize=SMALL, pad=4)
            for ax in row[max(1, len(indices)) :]:
                ax.set_axis_off()
            row[0].set_ylabel(f"{system}\n{data}", fontsize=SMALL, fontweight="bold")
        figure.supylabel("Lyapunov exponent [1/time]")
        sns.despine(figure, bottom=True)
        legend(figure, shown, lines=False)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        cells, methods = self._shown(results)
        systems, data = labels_of(cells)
        return (
            "Lyapunov exponents, per unit of system time, each in a panel of its own linear scale: the line is the "
            f"true one, the band its standard error; dots are the seeds of each method, with standard errors. {FLOOR} "
            f"{UNCONVERGED} A dagger (†) below a panel is a method of which a seed diverged or collapsed; where its "
            f"marks are hollow a collapse is not certain. {OFF} Of more than {ACROSS} exponents the first {LEADING} "
            f"and the last {ACROSS - LEADING} are shown. {told(results, systems=systems, data=data, methods=methods)}"
        )

    def _shown(self, results: Results) -> tuple[list[tuple[str, str]], list[str]]:
        """The systems and data that are there and have room, and the methods of these."""
        there = cells_with(results, "exponents.csv")
        cells = rows_of_cells(results, self.data, height=HEIGHT, cells=there)
        return cells, methods_of(results, there, cells)


def _with_status(results: Results) -> pd.DataFrame:
    """The learned exponents, with the status of their seeds."""
    seed = ["system", "data", "method", "seed"]
    known, exponents = (
        results.table(name).astype(dict.fromkeys(seed, object)) for name in ("scores.csv", "exponents.csv")
    )
    return exponents.merge(known[[*seed, "status"]].drop_duplicates(seed), on=seed, how="left")


def _panel(ax: plt.Axes, truth: pd.DataFrame, rows: pd.DataFrame, shown: dict[str, Mark]) -> None:
    true = float(truth["exponent"].iloc[0]) if len(truth) else np.nan
    if np.isfinite(true):
        ax.axhline(true, color="black", linewidth=0.9, zorder=1)
        ax.axhspan(*(true + side * truth["stderr"].iloc[0] for side in (-1, 1)), color="0.8", linewidth=0, zorder=0)
    low, high = _scale(true, truth, rows)
    failed: dict[float, str] = {}
    for place, (method, mark) in enumerate(shown.items()):
        dots = rows[rows["method"] == method]
        seeds = dots["seed"].rank(method="dense") / max(dots["seed"].nunique() + 1, 2)
        x = place + 0.8 * (seeds - 0.5)
        inside = dots["exponent"].between(low, high)
        style: dict[str, Any] = {"markersize": 2.4, "elinewidth": 0.7, "markeredgewidth": 0.6, "color": mark.color}
        for converged, fill in ((dots["converged"] > 0, mark.color), (dots["converged"] == 0, "white")):
            known = dots[inside & converged]
            ax.errorbar(
                x[known.index], known["exponent"], known["stderr"], fmt=mark.marker, markerfacecolor=fill, **style
            )
            for edge, off, marker in ((low, dots["exponent"] < low, "v"), (high, dots["exponent"] > high, "^")):
                if not len(beyond := x[off & converged]):  # of which not even the layout should know
                    continue
                ax.plot(beyond, [edge] * len(beyond), marker, color=mark.color, markerfacecolor=fill, markersize=3,
                        markeredgewidth=0.6, clip_on=False)  # fmt: skip
        if dots["status"].isin(("diverged", "collapsed")).any():
            failed[place] = mark.color
    ax.set(xlim=(-0.7, len(shown) - 0.3), ylim=(low, high))
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.tick_params(axis="y", length=2, pad=1)
    ax.tick_params(axis="x", length=0, pad=1)
    ax.set_xticks(list(failed), "†" * len(failed))
    for label, color in zip(ax.get_xticklabels(), failed.values(), strict=True):
        label.set_color(color)


def _scale(true: float, truth: pd.DataFrame, rows: pd.DataFrame) -> tuple[float, float]:
    """Choose the ends of an axis around the true exponent; around the median of the learned ones if there is none."""
    values = rows["exponent"].astype(float).dropna()
    center = true if np.isfinite(true) else float(values.median()) if len(values) else 0.0
    errors = (values - center).abs()
    errors = errors[rows["method"] != TRUTH]
    reach = min(errors.max(), BEYOND * errors.median()) if len(errors) else 0.0
    known = [3 * float(truth["stderr"].iloc[0]) if len(truth) else 0.0, 1e-3 * abs(center), 1e-9, reach]
    reach = 1.1 * float(np.nanmax(known))
    return center - reach, center + reach


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"lyapunov_spectra": LyapunovSpectra}
