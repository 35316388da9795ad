"""Forecasts of observations that nothing was learned from: their error over time."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import cell_panels, legend
from nearorbit.report.marks import marks
from nearorbit.report.room import in_cells

HEIGHT = 1.6  # inches, of a panel
VALID = 0.4  # deviations: where nearorbit.evaluation.unseen ends a valid forecast
NEAREST, SURROGATES = "nearest neighbors", "those of surrogates"
PLAIN = {"persistence": "0.45", "climatology": "0.7"}  # forecasts that know no dynamics


@dataclass(frozen=True)
class Unseen:
    """The error of forecasts of unseen observations over periods: of each method, and of those that know no dynamics.

    A line is the median over starts and seeds; it ends where half of the forecasts have left. Dashed black is what the
    nearest neighbors in the series forecast, without training, and the band the same of its surrogates, which are
    linear: where it is below the band there is more than a linear process. Dotted: 0.4 deviations.

    Arguments:
        horizon: What is shown, in periods.
    """

    horizon: float = 10.0
    reads: ClassVar[frozenset[str]] = frozenset({"unseen.nc", "structure.nc", "exponents.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each system and data."""
        palette = {name: mark for name, mark in marks(results).items() if name in results.methods}
        figure, cells = cell_panels(results, height=HEIGHT)
        for ax, system, data in cells:
            if (attractor := results.open("exponents.nc", system)) is None:
                continue
            period, drawn = float(attractor["period"]), False
            if (structure := results.open("structure.nc", system, data)) is not None:
                lead, band = structure["lead"] / period, structure["surrogate_error"]
                ax.fill_between(lead, band.min("surrogate"), band.max("surrogate"), color="0.88", linewidth=0)
                ax.plot(lead, structure["error"], color="black", linestyle="--", linewidth=0.8)
            for method in results.methods:
                if (unseen := results.open("unseen.nc", system, data, method)) is None:
                    continue
                for name, color in () if drawn else PLAIN.items():
                    self._line(ax, unseen[f"{name}_error"], period, color=color, linewidth=0.8)
                self._line(ax, unseen["error"], period, color=palette[method].color, linestyle=palette[method].dashes)
                drawn = True
            ax.axhline(VALID, color="0.5", linestyle=":", linewidth=0.6)
            ax.set_xlim(0, self.horizon)
            ax.set_ylim(0, 1.6)
        figure.supxlabel("time [periods]")
        figure.supylabel("error [deviations]")
        legend(figure, palette | PLAIN | {NEAREST: "black", SURROGATES: "0.88"})
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        cells = in_cells(results, height=HEIGHT)
        return (
            "The error of forecasts of observations that nothing was learned from, relative to their deviation: lines "
            "are medians over all starts and seeds, and end where half of the forecasts have left. Dashed black is "
            "what the nearest neighbors in the series forecast, without training; the band is the same of surrogates, "
            f"which are linear; gray are forecasts that know no dynamics. Dotted, {VALID:g} deviations, at which a "
            f"forecast is valid no longer. {told(results, systems=cells.systems, data=cells.data)}"
        )

    def _line(self, ax: plt.Axes, error: Any, period: float, **style: Any) -> None:
        median = error.median("seed", skipna=True).dropna("lead")
        median = median.where(np.isfinite(median))
        ax.plot(median["lead"] / period, median, **style)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"unseen": Unseen}
