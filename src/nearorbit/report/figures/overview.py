"""Systems against methods at a glance, one map for each metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import WIDTH, panels
from nearorbit.report.tables.base import HEADLINES, MISSING, check_metrics, higher, number, summary
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

COLUMNS = 3  # maps side by side


@dataclass(frozen=True)
class Overview:
    r"""The mean over the seeds, written in cells colored by how much better or worse it is than the reference.

    The color is :math:`\log_{10}` of the ratio to the reference's mean, turned so that blue is better for every metric,
    and clipped at a factor of ten. † counts the seeds that diverged or collapsed, and a cell with one is never blue; ‡
    counts those whose Lyapunov spectrum has not converged. Gray has no ratio, or is the truth: the true field in a
    model's place, the floor of the metric at this sample size.

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
        table = summary(results.table("scores.csv"))
        columns = min(COLUMNS, len(self.metrics))
        few, many = sorted((len(results.systems) * len(results.data), len(results.judged)))
        width = max(WIDTH, 1.3 + 0.52 * columns * few)
        height = 0.7 + 0.2 * many
        figure, axes = panels(-(-len(self.metrics) // columns), columns, height=height, width=width, sharey=True)
        for ax in axes.flat[len(self.metrics) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, self.metrics, strict=False):
            self._map(ax, name, table[table["metric"] == name], results)
            ax.set_title(catalogue.entries("metrics")[name].title, fontsize=7)
        bar = plt.cm.ScalarMappable(plt.Normalize(-1, 1), "RdBu_r")
        label = rf"$\log_{{10}}$ of the ratio to {self.reference or results.methods[0]}; blue is better. "
        label += "† failed seeds, ‡ unconverged"
        figure.colorbar(bar, ax=axes, location="bottom", shrink=0.4, aspect=40, label=label, ticks=[-1, 0, 1])
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return f"Mean over the seeds, and in colors its ratio to the reference. {told(results)}"

    def _map(self, ax: plt.Axes, name: str, table: pd.DataFrame, results: Results) -> None:
        rows = [f"{system}, {data}" for system in results.systems for data in results.data]
        texts = {"row": _row, "text": _text}
        table = table.assign(**{key: [write(row) for _, row in table.iterrows()] for key, write in texts.items()})
        mean, failed, text = (
            table.pivot(index="row", columns="method", values=value).reindex(index=rows, columns=list(results.judged))
            for value in ("mean", "failed", "text")
        )
        ratio = _log_ratio(mean, mean[self.reference or results.methods[0]])
        ratio = -ratio if name in higher() else ratio
        ratio = ratio.mask(failed > 0, ratio.clip(lower=0)).assign(**{TRUTH: np.nan})
        ax.set_facecolor("0.85")
        colors, annotations = ratio, text.fillna(MISSING)
        if len(results.judged) > len(rows):
            colors, annotations = colors.T, annotations.T
        style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "cbar": False, "linewidths": 0.5, "annot_kws": {"size": 6}}
        sns.heatmap(colors, annot=annotations, fmt="", ax=ax, **style)
        for y, x in np.argwhere(colors.isna()):  # where seaborn writes nothing
            ax.text(x + 0.5, y + 0.5, annotations.iloc[y, x], ha="center", va="center", size=6)
        ax.set(xlabel="", ylabel="")
        ax.tick_params(length=0)
        if len(colors.columns) > 2:
            plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")


def _log_ratio(mean: pd.DataFrame, reference: pd.Series) -> pd.DataFrame:
    """The decimal logarithm of the ratio to the reference of the row; NaN where it is not finite."""
    ratio = mean.div(reference, axis=0).astype(float)
    return np.log10(ratio.where((ratio > 0) & np.isfinite(ratio)))


def _row(row: pd.Series) -> str:
    return f"{row['system']}, {row['data']}"


def _text(row: pd.Series) -> str:
    marks = {"†": row["failed"], "‡": row["unconverged"]}
    return number(row["mean"], digits=2) + "".join(f"\u2009{mark}{count}" for mark, count in marks.items() if count)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"overview": Overview}
