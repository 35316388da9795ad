"""How large the error of the Jacobian is, and how it varies over the attractor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib import pyplot as plt

from nearorbit.evaluation.metrics.jacobian_error import jacobian_errors
from nearorbit.evaluation.scores import Results, status
from nearorbit.report.captions import told
from nearorbit.report.figures.base import SMALL, legend, panels, quartiles
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import HEIGHT, cells_with, fitting, methods_of, there

LANE, LEAST, BETWEEN = 0.11, 0.075, 0.15  # inches: of a method, at least, and between systems
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class JacobianError:
    """The distribution of the relative error over points and seeds: median, quartiles, and 5 to 95 %.

    The truth is left out: its error is the rounding of numbers, thirteen decades below all others. † counts the seeds
    that diverged or collapsed; systems, data and methods without any forecast are left out.

    Arguments:
        methods: The labels of the methods that are shown; by default all, or the first that have room.
    """

    methods: Sequence[str] = ()
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each data, systems below one another, on a logarithmic axis."""
        shown, methods = self._shown(results)
        known = {label: mark for label, mark in marks(results).items() if label in methods}
        room = (HEIGHT - 1) / max(1, len(shown.systems)) - BETWEEN
        lane = min(LANE, room / max(1, len(methods)))
        height = 0.5 + len(shown.systems) * (BETWEEN + lane * len(methods))
        figure, axes = panels(1, len(shown.data), height=height, sharex=True, sharey=True)
        step = 1 / (len(methods) + BETWEEN / lane)
        for ax, data in zip(axes.flat, shown.data, strict=False):
            for place, system in enumerate(shown.systems):
                truth = results.open("truth.nc", system, data)
                for number, (method, mark) in enumerate(known.items()):
                    forecast = results.open("forecast.nc", system, data, method)
                    if truth is not None and forecast is not None:
                        _lane(ax, place + step * (number - (len(methods) - 1) / 2), truth, forecast, mark)
                if place:
                    ax.axhline(place - 0.5, color="0.85", linewidth=0.5, zorder=0)
            ax.set(title=data, xlabel=r"$\log_{10}\ \|J_\theta - J\|_F\ /\ \|J\|_F$  [1]")
            ax.set_yticks(range(len(shown.systems)), shown.systems)
            ax.set_ylim(len(shown.systems) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="x", linewidth=0.3)
        sns.despine(figure)
        legend(figure, known)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        shown, methods = self._shown(results)
        return (
            "Distribution of the relative error of the Jacobian over unseen states and all seeds, those that failed "
            "among them: marks are medians, thick lines go from quartile to quartile, thin ones from 5 to 95 %. † "
            "counts the seeds that diverged or collapsed. An error of 1 is what a constant field makes. "
            f"{told(results, systems=shown.systems, data=shown.data, methods=methods)}"
        )

    def _shown(self, results: Results) -> tuple[Results, list[str]]:
        """The systems and data, and the methods, that are there and have room."""
        cells = {cell for cell in cells_with(results, "forecast.nc") if cell[-1] in (self.methods or results.methods)}
        methods = list(self.methods or methods_of(results, cells))
        shown = fitting(there(results, cells), height=BETWEEN + LEAST * max(1, min(2, len(methods))))
        room = (HEIGHT - 1) / max(1, len(shown.systems)) - BETWEEN
        return shown, methods[: max(2, int(room / LEAST))]


def _lane(ax: plt.Axes, y: float, truth: xr.Dataset, forecast: xr.Dataset, mark: Mark) -> None:
    """Draw a method, and count its seeds that failed on the right of the panel."""
    errors = np.log10(jacobian_errors(truth, forecast).to_numpy().astype(float))
    if (errors := errors[np.isfinite(errors)]).size:
        quartiles(ax, y, np.quantile(errors, SHARES), color=mark.color, marker=mark.marker)
    if failed := int((status(forecast) != "ok").sum()):
        ax.text(
            1.01, y, f"†{failed}", color=mark.color, fontsize=SMALL, va="center", transform=ax.get_yaxis_transform()
        )


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"jacobian_error": JacobianError}
