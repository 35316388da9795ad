"""How often each method comes within a factor of the best one.

The factor is to the best of the methods that take part, on the same system, data and seed: without it, all others move.
The definitions are those of :mod:`nearorbit.evaluation.standings`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.standings import profiles
from nearorbit.report.captions import told
from nearorbit.report.figures.base import legend, panels
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import KINDS
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
        scores, kinds = results.table("scores.csv"), list(results.data)[:KINDS]
        shown = {method: marks(results)[method] for method in self.methods or results.methods}
        rows = profiles(scores[(scores["metric"] == self.metric) & scores["method"].isin(shown)])
        columns = min(2, len(kinds))
        figure, axes = panels(-(-len(kinds) // max(1, columns)), columns, height=2.2, sharey=True)
        for ax, data in zip(axes.flat, kinds, strict=False):
            self._panel(ax, rows[rows["data"] == data], shown)
            ax.set_title(data, loc="left")
        for ax in axes.flat[len(kinds) :]:
            ax.set_axis_off()
        figure.supxlabel("factor of the best [1]")
        figure.supylabel("share of systems and seeds [1]")
        sns.despine(figure)
        legend(figure, {method: replace(mark, marker="") for method, mark in shown.items()})
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn, and what it is not to be taken for."""
        label, data = catalogue.entries("metrics")[self.metric].label, list(results.data)[:KINDS]
        return (
            f"Performance profiles by {label}: the share of systems and seeds on which a method is within a factor of "
            "the best method there. On the left, how often it is the best; on the right, how often it is within "
            f"{self.factor:g}. Seeds that diverged, collapsed or have no value are within no factor. All lines hang on "
            f"which methods take part; they rank the best one alone. {told(results, data=data, methods=self.methods)}"
        )

    def _panel(self, ax: plt.Axes, rows: pd.DataFrame, shown: Mapping[str, Mark]) -> None:
        for method, mark in shown.items():
            factors = np.sort(rows.loc[rows["method"] == method, "factor"])
            if len(factors):
                steps = np.unique([1.0, *factors[factors <= self.factor], self.factor])
                share = np.searchsorted(factors, steps, side="right") / len(factors)
                ax.step(steps, share, where="post", color=mark.color, linestyle=mark.dashes)
        ax.set(xscale="log", xlim=(1, self.factor), ylim=(0, 1.03))
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= self.factor]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"performance_profiles": PerformanceProfiles}
