"""How the validation error falls during training."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import cell_panels, in_cells, legend
from nearorbit.report.marks import Mark, marks
from nearorbit.study.catalogue import TRUTH

HEIGHT = 1.5  # inches, of a panel
FEW = 8  # methods, of whose every seed there is room for a line


@dataclass(frozen=True)
class TrainingCurves:
    """The validation error over the training step: each seed thin, the median over the seeds thick."""

    reads: ClassVar[frozenset[str]] = frozenset({"history.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each system and data."""
        shown = marks(results)
        del shown[TRUTH]
        figure, cells = cell_panels(results, height=HEIGHT)
        for ax, system, data in cells:
            for method, mark in shown.items():
                history = results.read("history.csv", system, data, method)
                if history is not None:
                    _curve(ax, history, mark, seeds=len(shown) <= FEW)
            ax.set_yscale("log")
        figure.supxlabel("training [gradient steps]")
        figure.supylabel("validation error [variance]")
        legend(figure, shown)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        cells = in_cells(results, height=HEIGHT)
        each = "each seed thin, their median thick" if len(results.methods) <= FEW else "medians over the seeds"
        return (
            "Mean squared error of forecasts of the validation orbits, relative to their variance, over the gradient "
            f"steps of training: {each}. {told(results, systems=cells.systems, data=cells.data)}"
        )


def _curve(ax: plt.Axes, history: pd.DataFrame, mark: Mark, *, seeds: bool) -> None:
    curves = history.pivot(index="step", columns="seed", values="validation")
    if seeds:
        ax.plot(curves.index, curves, color=mark.color, linestyle=mark.dashes, linewidth=0.4, alpha=0.5)
    ax.plot(curves.index, curves.median(axis=1), color=mark.color, linestyle=mark.dashes, linewidth=1.4)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"training_curves": TrainingCurves}
