"""How an error falls with the density of the data."""

from dataclasses import dataclass
from itertools import product
from textwrap import fill
from typing import Any, ClassVar

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import FAILED, told
from nearorbit.report.figures.base import colors, legend, panels
from nearorbit.report.tables.base import check_metrics
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH


@dataclass(frozen=True)
class Density:
    """A metric over the number of observed states of a seed: medians, and every seed as a dot, on logarithmic axes.

    Kinds of data that differ in nothing but their number are one line. A dagger in place of a dot is a seed that
    diverged or collapsed. The truth is drawn where its value, the floor of the metric, is not zero.

    Arguments:
        metric: The name of the metric, whose values are positive.
    """

    metric: str = "jacobian_error"
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv"})

    def __post_init__(self):
        check_metrics([self.metric])

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each system, with a panel for each level of noise."""
        kinds = {data: (noise, results.remarks.get(data, "")) for data, noise in results.data.items()}
        shown, palette = list(dict.fromkeys(kinds.values())), colors(results)
        scores = results.table("scores.csv")
        scores = scores[scores["metric"] == self.metric].assign(states=scores["data"].map(results.states))
        figure, axes = panels(max(1, len(results.systems)), max(1, len(shown)), height=1.9, sharex=True, sharey="row")
        for ax, (system, kind) in zip(axes.flat, product(results.systems, shown), strict=False):
            labels = [data for data, of in kinds.items() if of == kind]
            _panel(ax, scores[(scores["system"] == system) & scores["data"].isin(labels)], palette)
            ax.set_title(f"{system}, {_named(*kind)}", loc="left")
        for ax in axes[-1]:
            ax.set_xlabel("observed states of a seed")
        for row in axes:
            row[0].set_ylabel(fill(catalogue.entries("metrics")[self.metric].title, width=30))
        sns.despine(figure)
        drawn = set(scores.loc[scores["value"] > 0, "method"])
        legend(figure, {name: color for name, color in palette.items() if name in drawn})
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            f"{catalogue.entries('metrics')[self.metric].label} over the number of observed states: dots are "
            f"seeds, lines their medians. {FAILED} "
            f"{told(results)}"
        )


def _named(noise: float, remark: str) -> str:
    said = f"noise of {100 * noise:g} %" if noise else "clean"
    return f"{said}, {remark}" if remark else said


def _panel(ax: plt.Axes, rows: pd.DataFrame, palette: dict[str, Any]) -> None:
    rows = rows[(rows["value"] > 0) & (rows["states"] > 0)]
    for method, color in palette.items():
        of = rows[rows["method"] == method]
        style = "--" if method == TRUTH else "-"
        median = of.groupby("states")["value"].median()
        ax.plot(median.index, median, style, color=color)
        failed = of["status"] != "ok"
        ax.scatter(of["states"][~failed], of["value"][~failed], s=9, color=color, alpha=0.6, linewidth=0)
        ax.scatter(of["states"][failed], of["value"][failed], s=45, color=color, marker="$†$", linewidth=0)
    if len(rows):
        ax.set(xscale="log", yscale="log")
    ax.grid(which="major", linewidth=0.3)
    ax.set_axisbelow(True)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"density": Density}
