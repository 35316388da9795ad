"""How the validation error falls during training."""

from dataclasses import dataclass
from typing import Any, ClassVar

import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import cell_panels, colors, legend
from nearorbit.study.catalogue import TRUTH


@dataclass(frozen=True)
class TrainingCurves:
    """The validation error over the training step: each seed thin, the median over the seeds thick."""

    reads: ClassVar[frozenset[str]] = frozenset({"history.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each system and data."""
        palette = colors(results)
        del palette[TRUTH]
        figure, cells = cell_panels(results, height=1.5)
        for ax, system, data in cells:
            for method, color in palette.items():
                history = results.read("history.csv", system, data, method)
                if history is not None:
                    _curve(ax, history, color)
            ax.set_yscale("log")
        figure.supxlabel("training step", fontsize=8)
        figure.supylabel("validation error", fontsize=8)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return f"Validation error over the training step: seeds thin, their median thick. {told(results)}"


def _curve(ax: plt.Axes, history: Any, color: Any) -> None:
    style = {"data": history, "x": "step", "y": "validation", "ax": ax, "color": color, "legend": False}
    sns.lineplot(**style, units="seed", estimator=None, linewidth=0.4, alpha=0.5)
    sns.lineplot(**style, estimator="median", errorbar=None, linewidth=1.4)
    ax.set(xlabel="", ylabel="")


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"training_curves": TrainingCurves}
