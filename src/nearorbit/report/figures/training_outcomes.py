"""What training arrives at: errors inside and beyond the training window, and the steps it took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from nearorbit.evaluation.scores import CELL, Results
from nearorbit.report.captions import FAILED, told
from nearorbit.report.figures.base import axis_label, panels
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import HEIGHT, KINDS
from nearorbit.report.tables.base import check_metrics
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

LANE, LEAST = 0.2, 0.105  # inches, of a method, and at least
DAGGER = 36  # square points: as high as small letters
MANY = 8  # systems, from which on dots are small
STEPS = "steps_to_best"


@dataclass(frozen=True)
class TrainingOutcomes:
    """Every seed of every system as a dot, by data and method, their median as a bar.

    A dagger in place of a dot is a seed that diverged or collapsed; a cross on the right edge is a seed whose value is
    undefined. The gray bar of steps is the budget: a seed there was best at its end, and might have gone on. The truth
    is left out: nothing trains it, and its errors are the rounding of numbers.

    Arguments:
        metrics: The names of the metrics, one column of panels each.
    """

    metrics: Sequence[str] = ("interpolation_error", "extrapolation_error", STEPS)
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each data, with a panel for each metric."""
        scores = results.table("scores.csv").merge(results.table("costs.csv")[[*CELL, "steps"]], on=[*CELL], how="left")
        scores = scores[scores["method"].isin(results.methods)]
        shown, kinds = marks(results), list(results.data)[:KINDS]
        del shown[TRUTH]
        room = (HEIGHT - 1) / max(1, len(kinds)) - 0.3
        lane = float(np.clip(room / max(1, len(shown)), LEAST, LANE))
        figure, axes = panels(
            len(kinds), len(self.metrics), height=0.3 + lane * max(2, len(shown)), sharex="col", sharey=True
        )
        for row, data in zip(axes, kinds, strict=False):
            row[0].set_ylabel(data, fontweight="bold")
            for ax, name in zip(row, self.metrics, strict=True):
                _panel(ax, scores[(scores["metric"] == name) & (scores["data"] == data)], results.systems, shown)
        for ax, name in zip(axes[-1], self.metrics, strict=True):
            ax.set_xlabel(axis_label(name))
        _scales(axes, scores, self.metrics)
        sns.despine(figure)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        named = ", ".join(catalogue.entries("metrics")[name].label for name in self.metrics)
        budget = " Gray bars are the budget of steps: a seed there was best at its end."
        return (
            f"What training arrives at, by data and method: {named}. Marks are all seeds of all systems, within a "
            "method from top to bottom in the order of the study; upright bars are their medians, those of failed "
            f"seeds among them. A method that has not run has an empty lane. {FAILED} A cross at the right edge is a "
            f"seed whose value is undefined.{budget if STEPS in self.metrics else ''} "
            f"{told(results, data=list(results.data)[:KINDS])}"
        )


def _panel(ax: plt.Axes, rows: pd.DataFrame, systems: Sequence[str], shown: dict[str, Mark]) -> None:
    order = {system: number for number, system in enumerate(systems)}
    for lane, (method, mark) in enumerate(shown.items()):
        dots = rows[rows["method"] == method]
        y = lane + 0.7 * ((dots["system"].map(order) + 0.5) / max(1, len(systems)) - 0.5)
        failed = dots["status"] != "ok"
        style: dict[str, Any] = {"color": mark.color, "linewidth": 0}
        size = 9 if len(systems) <= MANY else 4
        ax.scatter(dots["value"][~failed], y[~failed], s=size, marker=mark.marker, alpha=0.6, **style)
        ax.scatter(dots["value"][failed], y[failed], s=DAGGER, marker="$†$", **style)
        ax.vlines(dots["value"].median(), lane - 0.42, lane + 0.42, color=mark.color, linewidth=1.4)
        undefined = y[dots["value"].isna()]
        ax.scatter(
            np.ones(len(undefined)), undefined, transform=ax.get_yaxis_transform(), clip_on=False, s=10, marker="x",
            color=mark.color, linewidth=0.8,
        )  # fmt: skip
        if dots["metric"].eq(STEPS).any():
            ax.vlines(dots["steps"].dropna().unique(), lane - 0.45, lane + 0.45, color="0.7", linewidth=3, zorder=0)
    for between in range(1, len(shown)):
        ax.axhline(between - 0.5, color="0.92", linewidth=0.5, zorder=0)
    ax.set_yticks(range(len(shown)), shown)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)


def _scales(axes: np.ndarray, scores: pd.DataFrame, metrics: Sequence[str]) -> None:
    """Make the axes of positive metrics logarithmic, that of steps from 0 on."""
    for column, name in zip(axes.T, metrics, strict=True):
        values = scores.loc[scores["metric"] == name, "value"].dropna()
        for ax in column:
            if name == STEPS:
                ax.set_xlim(0, 1.04 * max([1.0, *scores["steps"].dropna(), *values]))
                ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            elif len(values) and (values > 0).all():
                ax.set_xscale("log")


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"training_outcomes": TrainingOutcomes}
