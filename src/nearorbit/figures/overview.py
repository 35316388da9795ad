"""Systems against methods at a glance, one map for each metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit import catalogue
from nearorbit.figures.base import WIDTH, panels
from nearorbit.scores import Results
from nearorbit.tables.base import HEADLINES, check_metrics, number, summary

COLUMNS = 3  # maps side by side


@dataclass(frozen=True)
class Overview:
    r"""The mean over the seeds, written in cells colored by how much better or worse it is than the reference.

    The color is :math:`\log_{10}` of the ratio to the reference's mean, turned so that blue is better for every metric,
    and clipped at a factor of ten. A star counts each seed that diverged or collapsed; gray has no ratio.

    Arguments:
        metrics: The names of the metrics, one map each.
        reference: The label of the reference; the first method of the study if None.
    """

    metrics: Sequence[str] = HEADLINES
    reference: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def draw(self, results: Results) -> plt.Figure:
        """Draw a map for each metric: a row for each system and data and a column for each method, or the other way
        round where there are more methods."""
        table = summary(results.read("scores.csv"))
        columns = min(COLUMNS, len(self.metrics))
        few, many = sorted((len(results.systems) * len(results.data), len(results.methods)))
        width = max(WIDTH, 1.3 + 0.43 * columns * few)
        height = 0.7 + 0.2 * many
        figure, axes = panels(-(-len(self.metrics) // columns), columns, height=height, width=width, sharey=True)
        for ax in axes.flat[len(self.metrics) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, self.metrics, strict=False):
            self._map(ax, table[table["metric"] == name], results)
            ax.set_title(catalogue.entries("metrics")[name].title, fontsize=7)
        bar = plt.cm.ScalarMappable(plt.Normalize(-1, 1), "RdBu_r")
        label = rf"$\log_{{10}}$ of the ratio to {self.reference or results.methods[0]}; blue is better"
        figure.colorbar(bar, ax=axes, location="bottom", shrink=0.4, aspect=40, label=label, ticks=[-1, 0, 1])
        return figure

    def _map(self, ax: plt.Axes, table: pd.DataFrame, results: Results) -> None:
        rows = [f"{system}, {data}" for system in results.systems for data in results.data]
        table = table.assign(row=table["system"] + ", " + table["data"], text=table.apply(_text, axis=1))
        spread = {name: table.pivot(index="row", columns="method", values=name) for name in ("mean", "text")}
        mean, text = (t.reindex(index=rows, columns=list(results.methods)) for t in spread.values())
        ratio = np.log10(mean.div(mean[self.reference or results.methods[0]], axis=0))
        if catalogue.entries("metrics")[table["metric"].iloc[0]].better == "higher":
            ratio = -ratio
        ax.set_facecolor("0.85")
        maps = ratio.replace([np.inf, -np.inf], np.nan), text.fillna("–")
        if len(results.methods) > len(rows):
            maps = (m.T for m in maps)
        colors, annotations = maps
        style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "cbar": False, "linewidths": 0.5, "annot_kws": {"size": 6}}
        sns.heatmap(colors, annot=annotations, fmt="", ax=ax, **style)
        ax.set(xlabel="", ylabel="")
        ax.tick_params(length=0)
        if len(colors.columns) > 2:
            plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")


def _text(row: pd.Series) -> str:
    return number(row["mean"], digits=2) + "*" * int(row["diverged"] + row["collapsed"])


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"overview": Overview}
