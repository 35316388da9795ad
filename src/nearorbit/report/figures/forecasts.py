"""Forecasts against the truth, in time."""

from dataclasses import dataclass
from typing import Any, ClassVar

import xarray as xr
from matplotlib import pyplot as plt

from nearorbit.evaluation.metrics.base import chaotic, leading_exponent
from nearorbit.evaluation.metrics.valid_prediction_time import prediction_times
from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import cell_panels, colors, edge_marks, legend


@dataclass(frozen=True)
class Forecasts:
    """One component of one forecast over Lyapunov times; a triangle marks where its valid prediction time ends.

    The broad gray line is the orbit, the black one the true field's own forecast of it. Where the truth is not chaotic,
    time is in periods.

    Arguments:
        component: The index of the component.
        seed: The seed.
        start: The index of the start.
        horizon: What is shown, in Lyapunov times or periods.
    """

    component: int = 0
    seed: int = 0
    start: int = 0
    horizon: float = 8.0
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each system and data."""
        palette = colors(results)
        figure, cells = cell_panels(results, height=1.3)
        unit = "Lyapunov times"
        for ax, system, data in cells:
            truth = results.open("truth.nc", system, data)
            if truth is None:
                continue
            self._line(ax, truth, truth, color="0.75", linewidth=2.5)
            for method in results.judged:
                forecast = results.open("forecast.nc", system, data, method)
                if forecast is not None:
                    self._line(ax, truth, forecast, color=palette[method], linewidth=0.9)
                    self._end(ax, truth, forecast, color=palette[method])
            ax.set_xlim(0, min(self.horizon, ax.dataLim.x1))
            if not chaotic(truth):
                ax.set_title("in periods", loc="right")
                unit = "Lyapunov times, or periods where it says so"
        figure.supxlabel(unit, fontsize=8)
        figure.supylabel(f"component {self.component + 1}", fontsize=8)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            "Forecasts against the truth (gray) over time; a triangle is where the valid prediction time "
            "ends. "
            f"{told(results)}"
        )

    def _line(self, ax: plt.Axes, truth: xr.Dataset, table: xr.Dataset, **style: Any) -> None:
        x = table["forecasts"].isel(seed=self.seed, start=self.start, component=self.component)
        ax.plot(truth["lead"] * self._rate(truth), x, **style)

    def _end(self, ax: plt.Axes, truth: xr.Dataset, forecast: xr.Dataset, **style: Any) -> None:
        end = prediction_times(truth, forecast).isel(seed=self.seed, start=self.start).item()
        shown = [end * self._rate(truth)] if end < truth["lead"].max() else []
        edge_marks(ax, [x for x in shown if x <= self.horizon], edge=0, marker="^", **style)

    def _rate(self, truth: xr.Dataset) -> float:
        return leading_exponent(truth).isel(seed=self.seed).item() if chaotic(truth) else 1 / truth["period"].item()


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"forecasts": Forecasts}
