"""Systems against methods at a glance, one map for each metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import HEIGHT, KINDS, SMALL, WIDTH, panels
from nearorbit.report.tables.base import HEADLINES, MISSING, check_metrics, higher, number, summary
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

CELL, LINE, LETTER = 0.48, 0.165, 0.06  # inches: the least width and the height of a cell, the width of a letter


@dataclass(frozen=True)
class Overview:
    r"""The mean over the seeds, written in cells colored by how much better or worse it is than the reference.

    The color is :math:`\log_{10}` of the ratio to the reference's mean, turned so that blue is better for every metric,
    and clipped at a factor of ten. † counts the seeds that diverged or collapsed, and a cell with one is never blue; ‡
    counts those whose Lyapunov spectrum has not converged. Gray has no ratio, or is the truth: the true field in a
    model's place, the floor of the metric at this sample size.

    Where the systems have no room on a page, a cell is for all of them, of one kind of data: the median of their
    ratios, and the number of seeds of all of them that failed.

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
        each, across = self._layout(results)
        rows = _labels(results, each)
        table = self._cells(results, each)
        few, many = sorted((len(rows), len(results.judged)))
        below = max(map(len, rows if len(results.judged) > len(rows) else results.judged), default=0)
        height = 0.35 + LINE * many + (0.1 + LETTER * 0.55 * below if few > 2 else 0.15)
        figure, axes = panels(-(-len(self.metrics) // across), across, height=height, sharey=True)
        for ax in axes.flat[len(self.metrics) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, self.metrics, strict=False):
            _map(ax, table[table["metric"] == name], rows, results.judged)
            known = catalogue.entries("metrics")[name]
            ax.set_title(known.label + ("" if known.unit == "1" else f" [{known.unit}]"), fontsize=SMALL)
        bar = plt.cm.ScalarMappable(plt.Normalize(-1, 1), "RdBu_r")
        label = rf"$\log_{{10}}$ of the ratio to {self._reference(results)} [1]; blue is better"
        figure.colorbar(bar, ax=axes, location="bottom", shrink=0.4, aspect=40, label=label, ticks=[-1, 0, 1])
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        each, _ = self._layout(results)
        data = results.data if each else _labels(results, each)
        reference = self._reference(results)
        written = (
            "Means over the seeds, by system, data and method"
            if each
            else f"Medians over the systems of the ratio to {reference}, of means over seeds, by data and method; of "
            "the truth, and of what has no ratio, the medians themselves"
        )
        return (
            f"{written}. Colors are the ratio to {reference}, blue is better for every metric, and clipped at a factor "
            "of ten; a cell with a failed seed is never blue, and gray has no ratio. † counts seeds that diverged or "
            "collapsed, ‡ those whose Lyapunov spectrum has not converged. The truth is the true field in a model's "
            f"place, the floor of a metric at this sample size. {told(results, data=data)}"
        )

    def _reference(self, results: Results) -> str:
        return self.reference or next(iter(results.methods), "")

    def _layout(self, results: Results) -> tuple[bool, int]:
        """Whether each system has cells of its own, and how many maps are side by side: what has room on a page."""
        few, many = sorted((len(results.systems) * len(results.data), len(results.judged)))
        for across in range(min(3, len(self.metrics)), 0, -1):
            labels = LETTER * 0.9 * _longest(_labels(results, True), results)
            height = -(-len(self.metrics) // across) * (0.5 + LINE * many + LETTER * 12)
            if (WIDTH - labels) / across >= CELL * max(few, 1) and height <= HEIGHT:
                return True, across
        return False, min(3, len(self.metrics))

    def _cells(self, results: Results, each: bool) -> pd.DataFrame:
        """What is in each cell: columns ``(metric, row, method, ratio, text)``."""
        table = summary(results.table("scores.csv"))
        reference = table[table["method"] == self._reference(results)].set_index(["system", "data", "metric"])["mean"]
        keys = pd.MultiIndex.from_frame(table[["system", "data", "metric"]])
        mean = pd.to_numeric(table["mean"])
        table = table.assign(mean=mean, ratio=mean.to_numpy() / reference.reindex(keys).to_numpy(float))
        table["ratio"] = table["ratio"].where((table["ratio"] > 0) & np.isfinite(table["ratio"]))
        table["row"] = table["system"] + ", " + table["data"] if each else table["data"]
        if not each:
            columns = {"mean": "median", "ratio": "median", "failed": "sum", "unconverged": "sum"}
            table = table.groupby(["metric", "row", "method"], sort=False).agg(columns).reset_index()
        written = table["mean"] if each else table["ratio"].where(table["method"] != TRUTH).fillna(table["mean"])
        table["text"] = [_text(value, row) for value, (_, row) in zip(written, table.iterrows(), strict=True)]
        ratio = np.log10(table["ratio"].astype(float))
        ratio = ratio.mask(table["metric"].isin(higher()), -ratio)
        ratio = ratio.mask(table["failed"] > 0, ratio.clip(lower=0)).mask(table["method"] == TRUTH)
        return table.assign(ratio=ratio)


def _labels(results: Results, each: bool) -> list[str]:
    return (
        [f"{system}, {data}" for system, data in product(results.systems, results.data)]
        if each
        else [*results.data][:KINDS]
    )


def _longest(rows: Sequence[str], results: Results) -> int:
    return max(map(len, [*rows, *results.judged]))


def _map(ax: plt.Axes, table: pd.DataFrame, rows: Sequence[str], methods: Sequence[str]) -> None:
    ratio, text = (
        table.pivot(index="row", columns="method", values=value).reindex(index=list(rows), columns=list(methods))
        for value in ("ratio", "text")
    )
    text = text.fillna(MISSING)
    if len(methods) > len(rows):
        ratio, text = ratio.T, text.T
    ax.set_facecolor("0.85")
    style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "cbar": False, "linewidths": 0.5, "annot_kws": {"size": SMALL}}
    sns.heatmap(ratio.astype(float), annot=text, fmt="", ax=ax, **style)
    for y, x in np.argwhere(ratio.isna()):  # where seaborn writes nothing
        ax.text(x + 0.5, y + 0.5, text.iloc[y, x], ha="center", va="center", size=SMALL)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    if len(ratio.columns) > 2:
        plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")


def _text(value: float, row: pd.Series) -> str:
    marks = {"†": row["failed"], "‡": row["unconverged"]}
    return number(value, digits=2) + "".join(f"\u2009{mark}{count}" for mark, count in marks.items() if count)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"overview": Overview}
