"""Forecasts against the truth, in time, and how their errors grow."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib import pyplot as plt

from nearorbit.evaluation.metrics.base import chaotic, deviation, leading_exponent, spread
from nearorbit.evaluation.metrics.valid_prediction_time import prediction_times
from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import edge_marks, legend, panels
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import Cell, cells_with, labels_of, methods_of, rows_of_cells
from nearorbit.study.catalogue import TRUTH

HEIGHT = 1.35  # inches, of a row
LINES = 7  # methods whose orbits are drawn, where none are named
LANE = 0.045  # of the height of a panel, between the triangles of two methods
VALID = 0.4  # spreads, where a forecast is valid no longer
LEAST = 1e-5  # spreads, below which an error is not shown


@dataclass(frozen=True)
class Forecasts:
    """On the left one component of one forecast, on the right the median error of all, over Lyapunov times.

    The broad gray line is the orbit, the black one the true field's own forecast of it; a triangle, in a lane of its
    own for each method, marks where the valid prediction time of the forecast ends, beyond which it is pale, and the
    dotted line on the right which error ends it. Where the truth is not chaotic, time is in periods.

    Arguments:
        component: The index of the component.
        seed: The seed of the forecast on the left.
        start: The index of its start.
        horizon: What is shown, in Lyapunov times or periods.
        methods: The labels of the methods on the left; by default the first seven that are there; they
            have a triangle in the legend.
        data: The label of the data; all if None, as long as they have room.
    """

    component: int = 0
    seed: int = 0
    start: int = 0
    horizon: float = 8.0
    methods: Sequence[str] = ()
    data: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row for each system and data."""
        there, shown = cells_with(results, "forecast.nc"), marks(results)
        cells = rows_of_cells(results, self.data, height=HEIGHT, cells=there)
        judged, drawn = [TRUTH, *methods_of(results, there, cells)], self._drawn(results, there, cells)
        figure, axes = panels(len(cells), 2, height=HEIGHT, width_ratios=[1.7, 1])
        for (left, right), (system, data) in zip(axes, cells, strict=False):
            left.set_title(f"{system}, {data}", loc="left")
            truth = results.open("truth.nc", system, data)
            if truth is None:
                continue
            unit = "Lyapunov times" if chaotic(truth) else "periods"
            end = min(self.horizon, float(truth["lead"][-1]) * _rate(truth, self.seed))
            for ax, name in ((left, f"component {self.component + 1}\n[deviations]"), (right, "error\n[spreads]")):
                ax.set(xlim=(0, end), ylabel=name, xlabel=f"time [{unit}]")
            self._line(left, truth, truth, color="0.75", linewidth=2.5)
            for method in judged:
                forecast = results.open("forecast.nc", system, data, method)
                if forecast is None:
                    continue
                if method == TRUTH:
                    self._line(left, truth, forecast, color=shown[method].color, linewidth=0.9)
                elif method in drawn:
                    self._forecast(left, truth, forecast, shown[method], lane=len(drawn) - drawn.index(method) - 1)
                _growth(right, truth, forecast, shown[method])
            _room_below(left, lanes=len(drawn))
            right.axhline(VALID, color="0.5", linestyle=":", linewidth=0.6)
            right.set_yscale("log")
        sns.despine(figure)
        legend(figure, {name: replace(shown[name], marker="^" if name in drawn else "") for name in judged})
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        there = cells_with(results, "forecast.nc")
        cells = rows_of_cells(results, self.data, height=HEIGHT, cells=there)
        systems, data = labels_of(cells)
        known = methods_of(results, there, cells)
        few = len(self._drawn(results, there, cells)) < len(known)
        lines = " Methods without a triangle in the legend are on the right alone." if few else ""
        return (
            f"Left: component {self.component + 1} of the forecast from start {self.start + 1} of seed {self.seed}, in "
            "deviations from its mean; broad and gray is the true orbit, black the true field's own forecast of it; a "
            "triangle is where the valid prediction time of the forecast ends, in a lane of its own for each method, "
            f"and the forecast is pale from there on.{lines} Right: the median over all starts and seeds, those that "
            "failed among them, of the distance to the truth, in root mean square spreads of the attractor; a line "
            f"ends where half of the forecasts have left for good; dotted, {VALID:g} spreads, at which a forecast is "
            f"valid no longer. {told(results, systems=systems, data=data, methods=known)}"
        )

    def _drawn(self, results: Results, there: Collection[Cell], cells: Collection[tuple[str, str]]) -> list[str]:
        """The methods whose orbits are drawn."""
        return list(self.methods or methods_of(results, there, cells)[:LINES])

    def _forecast(self, ax: plt.Axes, truth: xr.Dataset, forecast: xr.Dataset, mark: Mark, *, lane: int) -> None:
        """Draw the forecast of a method, and in a lane where it ends to be valid."""
        end = prediction_times(truth, forecast).isel(seed=self.seed, start=self.start).item()
        style: dict[str, Any] = {"color": mark.color, "linestyle": mark.dashes}
        self._line(ax, truth, forecast, truth["lead"] >= end, **style, linewidth=0.5, alpha=0.35)
        self._line(ax, truth, forecast, truth["lead"] <= end, **style, linewidth=0.9)
        x = end * _rate(truth, self.seed)
        if end < truth["lead"].max() and x <= self.horizon:
            edge_marks(ax, [x], edge=LANE * (lane + 0.8), marker="^", color=mark.color, linewidth=0)

    def _line(self, ax: plt.Axes, truth: xr.Dataset, table: xr.Dataset, when: Any = True, **style: Any) -> None:
        x = table["forecasts"].isel(seed=self.seed, start=self.start, component=self.component)
        mean = truth["attractor"].isel(seed=self.seed, component=self.component).mean()
        scale = deviation(truth).isel(seed=self.seed, component=self.component)
        ax.plot(truth["lead"] * _rate(truth, self.seed), np.where(when, (x - mean) / scale, np.nan), **style)


def _room_below(ax: plt.Axes, *, lanes: int) -> None:
    """Keep the orbits above the lanes of triangles."""
    low, high = ax.get_ylim()
    below = LANE * (lanes + 0.3)
    ax.set_ylim((low - below * high) / (1 - below), high)


def _growth(ax: plt.Axes, truth: xr.Dataset, forecast: xr.Dataset, mark: Mark) -> None:
    """Draw the median error of all forecasts over time."""
    error = ((forecast["forecasts"] - truth["forecasts"]) ** 2).sum("component", skipna=False) ** 0.5 / spread(truth)
    median = error.fillna(np.inf).median(("seed", "start"))
    median = median.where(np.isfinite(median) & (median > LEAST))
    ax.plot(truth["lead"] * _rate(truth, 0), median, color=mark.color, linestyle=mark.dashes, linewidth=0.9)


def _rate(truth: xr.Dataset, seed: int) -> float:
    """The Lyapunov times, or periods, in a unit of time."""
    return leading_exponent(truth).isel(seed=seed).item() if chaotic(truth) else 1 / truth["period"].item()


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"forecasts": Forecasts}
