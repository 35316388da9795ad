"""How often each method comes within a factor of the best one.

The factor is to the best of the methods that take part, on the same system, data and seed: without it, all others move.
So all are compared on the same systems, and what is given more than data sets no best. The definitions are those of
:mod:`nearorbit.evaluation.standings`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.standings import profiles
from nearorbit.report.captions import left_out, told
from nearorbit.report.figures.base import legend, panels
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import KINDS
from nearorbit.report.tables.base import check_metrics, given_more
from nearorbit.study import catalogue

GRAY = "0.6"  # of what is given more than data
APART = 0.16  # of a panel, between two markers of a line


@dataclass(frozen=True)
class PerformanceProfiles:
    """The share of systems and seeds on which a method is within a factor of the best method, over that factor.

    On the left is how often it is the best, and on the right how often it does not fail: a seed that diverged,
    collapsed or has no value is within no factor. The best is that of the methods which are given data alone; others
    are gray, with a factor of one where they are better. Only the best method of a panel is ranked by it; which of two
    others is ahead may change when it leaves. Methods that half of the systems lack take no part, and the others are
    compared on the systems that all of them have.

    Arguments:
        metric: The name of the metric.
        methods: The labels of the methods that take part; all if None.
        factor: The largest factor.
    """

    metric: str = "jacobian_error"
    methods: Sequence[str] | None = None
    factor: float = 100.0
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self) -> None:
        check_metrics([self.metric])
        if not self.factor > 1:
            raise ValueError(f"factor must be above one, not {self.factor}")

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each kind of data, a line for each method that takes part."""
        rows, _ = self._profiles(results)
        gray, drawn = given_more(results), {method for of in rows.values() for method in of["method"]}
        shown = {method: mark for method, mark in marks(results).items() if method in drawn}
        for method, marker in zip((method for method in gray if method in drawn), cycle("x+1*")):
            shown[method] = Mark(GRAY, marker, "--")
        columns = len(rows) if len(rows) < 4 else 2
        figure, axes = panels(-(-len(rows) // max(1, columns)), columns, height=2.6, sharey=True)
        for ax, (data, of) in zip(axes.flat, rows.items(), strict=False):
            self._panel(ax, of, shown)
            systems = of["system"].nunique()
            ax.set_title(f"{data}: {systems} system{'s' * (systems != 1)}", loc="left")
        for ax in axes.flat[len(rows) :]:
            ax.set_axis_off()
        figure.supxlabel("factor of the best [1]")
        figure.supylabel("share of systems and seeds [1]")
        sns.despine(figure)
        legend(figure, shown)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn, and what it is not to be taken for."""
        label, (rows, lacking) = catalogue.entries("metrics")[self.metric].label, self._profiles(results)
        drawn = [method for method in results.methods if any((of["method"] == method).any() for of in rows.values())]
        gray = [method for method in given_more(results) if method in drawn]
        beside = "Gray, and never the best: what is given more than data, with a factor of one where it is better. "
        return (
            f"Performance profiles by {label}: the share of systems and seeds on which a method is within a factor of "
            "the best there of those that are given data alone. On the left, how often it is the best; on the right, "
            f"how often it is within {self.factor:g}. Seeds that diverged, collapsed or have no value are within no "
            f"factor. {beside if gray else ''}All lines of a panel are of the systems that its methods have in common, "
            "and hang on which methods take part; they rank the best one alone. "
            f"{left_out(lacking)}{told(results, data=list(rows), methods=drawn)}"
        )

    def _profiles(self, results: Results) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
        """The factors of the methods that take part, and the labels of those that have values and do not, by data."""
        scores, beside = results.table("scores.csv"), given_more(results)
        methods = self.methods or results.methods
        scores = scores[(scores["metric"] == self.metric) & scores["method"].isin(methods)]
        kinds = {data: scores[scores["data"] == data] for data in list(results.data)[:KINDS]}
        rows = {data: profiles(of, beside=beside) for data, of in kinds.items()}
        lacking = {
            data: [m for m in results.methods if m in {*kinds[data]["method"]} - {*of["method"]}]
            for data, of in rows.items()
        }
        return rows, lacking

    def _panel(self, ax: plt.Axes, rows: pd.DataFrame, shown: dict[str, Mark]) -> None:
        for place, (method, mark) in enumerate(shown.items()):
            factors = np.sort(rows.loc[rows["method"] == method, "factor"])
            if len(factors):
                steps = np.unique([1.0, *factors[factors <= self.factor], self.factor])
                share = np.searchsorted(factors, steps, side="right") / len(factors)
                every = (APART * place / len(shown), APART)  # so that markers of two lines do not hide one another
                ax.step(
                    steps, share, where="post", color=mark.color, linestyle=mark.dashes, marker=mark.marker,
                    markersize=3, markevery=every, zorder=1.5 if mark.color == GRAY else 2,
                )  # fmt: skip
        ax.set(xscale="log", xlim=(1, self.factor), ylim=(0, 1.03))
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= self.factor]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"performance_profiles": PerformanceProfiles}
