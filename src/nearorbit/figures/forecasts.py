"""Forecasts against the truth, in time."""

from dataclasses import dataclass
from typing import Any, ClassVar

import xarray as xr
from matplotlib import pyplot as plt

from nearorbit.figures.base import cell_panels, colors, edge_marks, legend
from nearorbit.metrics.base import leading_exponent
from nearorbit.metrics.valid_prediction_time import prediction_times
from nearorbit.scores import Results


@dataclass(frozen=True)
class Forecasts:
    """One component of one forecast over Lyapunov times; a triangle marks where its valid prediction time ends.

    Arguments:
        component: The index of the component.
        seed: The seed.
        start: The index of the start.
        horizon: What is shown, in Lyapunov times.
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
        for ax, system, data in cells:
            truth = results.open("truth.nc", system, data)
            if truth is None:
                continue
            self._line(ax, truth, truth, color=palette["truth"], linewidth=1.6)
            for method in results.methods:
                forecast = results.open("forecast.nc", system, data, method)
                if forecast is not None:
                    self._line(ax, truth, forecast, color=palette[method], linewidth=0.9)
                    self._end(ax, truth, forecast, color=palette[method])
            ax.set_xlim(0, min(self.horizon, ax.dataLim.x1))
        figure.supxlabel("Lyapunov times", fontsize=8)
        figure.supylabel(f"component {self.component + 1}", fontsize=8)
        legend(figure, palette)
        return figure

    def _line(self, ax: plt.Axes, truth: xr.Dataset, table: xr.Dataset, **style: Any) -> None:
        x = table["forecasts"].isel(seed=self.seed, start=self.start, component=self.component)
        ax.plot(truth["lead"] * self._rate(truth), x, **style)

    def _end(self, ax: plt.Axes, truth: xr.Dataset, forecast: xr.Dataset, **style: Any) -> None:
        end = prediction_times(truth, forecast).isel(seed=self.seed, start=self.start).item() * self._rate(truth)
        edge_marks(ax, [end] if end <= self.horizon else [], edge=0, marker="^", **style)

    def _rate(self, truth: xr.Dataset) -> float:
        return leading_exponent(truth).isel(seed=self.seed).item()


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"forecasts": Forecasts}
