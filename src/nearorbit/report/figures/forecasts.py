"""Forecasts against the truth, in time, and how their errors grow."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from nearorbit.report.room import rows_of_cells
from nearorbit.study.catalogue import TRUTH

HEIGHT = 1.35  # inches, of a row
LINES = 4  # methods whose orbits are drawn, where none are named
VALID = 0.4  # spreads, where a forecast is valid no longer
LEAST = 1e-5  # spreads, below which an error is not shown


@dataclass(frozen=True)
class Forecasts:
    """On the left one component of one forecast, on the right the median error of all, over Lyapunov times.

    The broad gray line is the orbit, the black one the true field's own forecast of it; a triangle marks where the
    valid prediction time of the forecast ends, the dotted line on the right which error ends it. Where the truth is not
    chaotic, time is in periods.

    Arguments:
        component: The index of the component.
        seed: The seed of the forecast on the left.
        start: The index of its start.
        horizon: What is shown, in Lyapunov times or periods.
        methods: The labels of the methods on the left; by default the first four.
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
        cells, shown = rows_of_cells(results, self.data, height=HEIGHT), marks(results)
        figure, axes = panels(len(cells), 2, height=HEIGHT, width_ratios=[1.7, 1])
        for (left, right), (system, data) in zip(axes, cells, strict=False):
            left.set_title(f"{system}, {data}", loc="left")
            truth = results.open("truth.nc", system, data)
            if truth is None:
                continue
            self._line(left, truth, truth, color="0.75", linewidth=2.5)
            for method in results.judged:
                forecast = results.open("forecast.nc", system, data, method)
                if forecast is None:
                    continue
                if method in self._drawn(results):
                    style = {"color": shown[method].color, "linestyle": shown[method].dashes}
                    self._line(left, truth, forecast, **style, linewidth=0.9)
                    self._end(left, truth, forecast, color=shown[method].color)
                _growth(right, truth, forecast, shown[method])
            right.axhline(VALID, color="0.5", linestyle=":", linewidth=0.6)
            right.set_yscale("log")
            unit = "Lyapunov times" if chaotic(truth) else "periods"
            for ax, name in ((left, f"component {self.component + 1}\n[deviations]"), (right, "error\n[spreads]")):
                end = min(self.horizon, float(truth["lead"][-1]) * _rate(truth, self.seed))
                ax.set(xlim=(0, end), ylabel=name, xlabel=f"time [{unit}]")
        sns.despine(figure)
        legend(figure, shown)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        cells = rows_of_cells(results, self.data, height=HEIGHT)
        systems, data = (list(dict.fromkeys(labels)) for labels in (zip(*cells, strict=True) if cells else ((), ())))
        drawn = [method for method in self._drawn(results) if method != TRUTH]
        lines = f" Orbits are drawn of {', '.join(drawn)}." if len(drawn) < len(results.methods) else ""
        return (
            f"Left: component {self.component + 1} of the forecast from start {self.start + 1} of seed {self.seed}, in "
            "deviations from its mean; broad and gray is the true orbit, black the true field's own forecast of it; a "
            f"triangle is where the valid prediction time of the forecast ends.{lines} Right: the median over all "
            "starts and seeds of the distance to the truth, in root mean square spreads of the attractor; a line ends "
            f"where half of the forecasts have left for good; dotted, {VALID:g} spreads, at which a forecast is valid "
            f"no longer. {told(results, systems=systems, data=data)}"
        )

    def _drawn(self, results: Results) -> list[str]:
        return [TRUTH, *(self.methods or results.methods[:LINES])]

    def _line(self, ax: plt.Axes, truth: xr.Dataset, table: xr.Dataset, **style: Any) -> None:
        x = table["forecasts"].isel(seed=self.seed, start=self.start, component=self.component)
        mean = truth["attractor"].isel(seed=self.seed, component=self.component).mean()
        scale = deviation(truth).isel(seed=self.seed, component=self.component)
        ax.plot(truth["lead"] * _rate(truth, self.seed), (x - mean) / scale, **style)

    def _end(self, ax: plt.Axes, truth: xr.Dataset, forecast: xr.Dataset, **style: Any) -> None:
        end = prediction_times(truth, forecast).isel(seed=self.seed, start=self.start).item()
        shown = [end * _rate(truth, self.seed)] if end < truth["lead"].max() else []
        edge_marks(ax, [x for x in shown if x <= self.horizon], edge=0, marker="^", **style)


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
