"""What training arrives at: errors inside and beyond the training window, and the steps it took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import FAILED, told
from nearorbit.report.figures.base import WIDTH, colors, edge_marks, legend, panels
from nearorbit.report.tables.base import check_metrics
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH


@dataclass(frozen=True)
class TrainingOutcomes:
    """Every seed as a dot, their median as a line; a cross on the upper edge is a seed whose value is undefined.

    A dagger in place of a dot is a seed that diverged or collapsed. The truth is left out: nothing trains it, and its
    errors are the rounding of numbers.

    Arguments:
        metrics: The names of the metrics, one row of panels each.
    """

    metrics: Sequence[str] = ("interpolation_error", "extrapolation_error", "steps_to_best")
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each metric, with a panel for each data."""
        scores = results.table("scores.csv")
        palette = colors(results)
        del palette[TRUTH]
        dots = len(results.data) * len(results.systems) * len(results.methods)
        width = max(WIDTH, 1 + 0.06 * dots)
        figure, axes = panels(len(self.metrics), len(results.data), height=1.7, width=width, sharex=True, sharey="row")
        for row, name in zip(axes, self.metrics, strict=True):
            row[0].set_ylabel(catalogue.entries("metrics")[name].title.replace(" [", "\n["))
            for ax, data in zip(row, results.data, strict=True):
                _panel(ax, scores[(scores["metric"] == name) & (scores["data"] == data)], results.systems, palette)
        for ax, data in zip(axes[0], results.data, strict=True):
            ax.set_title(data)
        sns.despine(figure)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            "Errors inside and beyond the training window, and the steps to the best: dots are seeds, lines "
            f"medians. {FAILED} "
            f"{told(results)}"
        )


def _panel(ax: plt.Axes, rows: pd.DataFrame, systems: Sequence[str], palette: dict[str, Any]) -> None:
    rows = rows[rows["method"].isin(palette)]
    values = rows["value"].dropna()
    log = len(values) and (values > 0).all() and rows["metric"].ne("steps_to_best").all()
    place = {system: number for number, system in enumerate(systems)}
    width = 0.8 / len(palette)
    for number, (method, color) in enumerate(palette.items()):
        dots = rows[rows["method"] == method]
        x = dots["system"].map(place) - 0.4 + width * (number + 0.5)
        failed = dots["status"] != "ok"
        ax.scatter(x[~failed], dots["value"][~failed], s=9, color=color, alpha=0.6, linewidth=0)
        ax.scatter(x[failed], dots["value"][failed], s=45, color=color, marker="$†$", linewidth=0)
        median = dots["value"].groupby(x).median()
        ax.hlines(median, median.index - width * 0.4, median.index + width * 0.4, color=color, linewidth=1.4)
        edge_marks(ax, x[dots["value"].isna()], edge=1, marker="x", color=color, linewidth=1)
    for between in range(1, len(place)):
        ax.axvline(between - 0.5, color="0.85", linewidth=0.5, zorder=0)
    if log:
        ax.set_yscale("log")
    ax.set_xticks(list(place.values()), list(place), rotation=90 if len(place) > 4 else 0)
    ax.set_xlim(-0.5, len(place) - 0.5)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"training_outcomes": TrainingOutcomes}
