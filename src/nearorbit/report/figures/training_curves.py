"""How the validation error falls during training."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import cell_panels, legend
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import in_cells

HEIGHT = 1.5  # inches, of a panel
FEW = 8  # methods, of whose every seed there is room for a line


@dataclass(frozen=True)
class TrainingCurves:
    """The validation error over the training step: each seed thin, the median over the seeds thick.

    A method that smooths its data as it trains is left out: it forecasts smoothed states, which is another error, and
    smaller on noisy data however well the field is learned.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"history.csv", "costs.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each system and data."""
        known, left_out, drawn = marks(results), _smoothing(results), {}
        shown = {method: known[method] for method in results.methods if method not in left_out}
        figure, cells = cell_panels(results, height=HEIGHT)
        for ax, system, data in cells:
            for method, mark in shown.items():
                history = results.read("history.csv", system, data, method)
                if history is not None:
                    _curve(ax, history, mark, seeds=len(shown) <= FEW)
                    drawn[method] = mark
            ax.set_yscale("log")
        figure.supxlabel("training [gradient steps]")
        figure.supylabel("validation error [variance]")
        legend(figure, {method: mark for method, mark in shown.items() if method in drawn}, markers=False)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        cells, left_out = in_cells(results, height=HEIGHT), _smoothing(results)
        few = len(results.methods) - len(left_out) <= FEW
        each = "each seed thin, their median thick" if few else "medians over the seeds"
        smoothed = (
            f"Left out: {', '.join(left_out)}, of which validation forecasts smoothed states, another error. "
            if left_out
            else ""
        )
        return (
            "Mean squared error of forecasts of the validation orbits, relative to their variance, over the gradient "
            f"steps of training: {each}. {smoothed}{told(results, systems=cells.systems, data=cells.data)}"
        )


def _smoothing(results: Results) -> list[str]:
    """List the methods that smooth their data as they train."""
    costs = results.table("costs.csv")
    smooth = set(costs.loc[costs["noise_estimate"].notna(), "method"])
    return [method for method in results.methods if method in smooth]


def _curve(ax: plt.Axes, history: pd.DataFrame, mark: Mark, *, seeds: bool) -> None:
    curves = history.pivot(index="step", columns="seed", values="validation")
    if seeds:
        ax.plot(curves.index, curves, color=mark.color, linestyle=mark.dashes, linewidth=0.4, alpha=0.5)
    ax.plot(curves.index, curves.median(axis=1), color=mark.color, linestyle=mark.dashes, linewidth=1.4)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"training_curves": TrainingCurves}
