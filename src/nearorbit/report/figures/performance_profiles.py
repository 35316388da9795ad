"""How often each method comes within a factor of the best one.

The factor is to the best of the methods that take part, on the same system, data and seed: without it, all others move.
The definitions are those of :mod:`nearorbit.evaluation.standings`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.standings import profiles
from nearorbit.report.figures.base import colors, legend, panels
from nearorbit.report.tables.base import check_metrics
from nearorbit.study import catalogue


@dataclass(frozen=True)
class PerformanceProfiles:
    """The share of systems and seeds on which a method is within a factor of the best method, over that factor.

    On the left is how often it is the best, and on the right how often it does not fail: a seed that diverged,
    collapsed or has no value is within no factor. Only the best method of a panel is ranked by it; which of two others
    is ahead may change when it leaves.

    Arguments:
        metric: The name of the metric.
        methods: The labels of the methods that take part; all if None.
        factor: The largest factor.
    """

    metric: str = "jacobian_error"
    methods: Sequence[str] | None = None
    factor: float = 100.0
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv"})

    def __post_init__(self) -> None:
        check_metrics([self.metric])
        if not self.factor > 1:
            raise ValueError(f"factor must be above one, not {self.factor}")

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each kind of data, a line for each method."""
        scores, palette = results.table("scores.csv"), colors(results)
        palette = {method: palette[method] for method in self.methods or results.methods}
        rows = profiles(scores[(scores["metric"] == self.metric) & scores["method"].isin(palette)])
        columns = min(2, len(results.data))
        figure, axes = panels(-(-len(results.data) // columns), columns, height=2.2, sharey=True)
        for ax, data in zip(axes.flat, results.data, strict=False):
            self._panel(ax, rows[rows["data"] == data], palette)
            ax.set_title(data, loc="left")
        for ax in axes.flat[len(results.data) :]:
            ax.set_axis_off()
        label = catalogue.entries("metrics")[self.metric].label
        figure.supxlabel(f"factor of the best by {label}", fontsize=8)
        figure.supylabel("share of systems and seeds", fontsize=8)
        sns.despine(figure)
        legend(figure, palette)
        return figure

    def _panel(self, ax: plt.Axes, rows: pd.DataFrame, palette: dict[str, Any]) -> None:
        for method, color in palette.items():
            factors = np.sort(rows.loc[rows["method"] == method, "factor"])
            if len(factors):
                within = np.searchsorted(factors, factors, side="right") / len(factors)
                x, y = np.append(factors, self.factor), np.append(within, np.mean(factors <= self.factor))
                shown = x <= self.factor
                ax.step(np.append(1.0, x[shown]), np.append(np.mean(factors <= 1), y[shown]), where="post", color=color)
        ax.set(xscale="log", xlim=(1, self.factor), ylim=(0, 1.03))
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= self.factor]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"performance_profiles": PerformanceProfiles}
