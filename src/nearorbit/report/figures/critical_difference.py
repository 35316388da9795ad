r"""Average ranks of all methods over systems, and how far apart two of them have to be.

Ranks say who is ahead and not by how much; and whether two methods are told apart depends on which others take part. So
the diagram orders a field, and the table ``comparison`` says what a method is worth. The definitions are those of
:mod:`nearorbit.evaluation.standings`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.standings import Ranks, ranks
from nearorbit.report.captions import left_out, told
from nearorbit.report.figures.base import SMALL, colors, panels
from nearorbit.report.room import HEIGHT, KINDS
from nearorbit.report.tables.base import check_metrics, given_more
from nearorbit.study import catalogue


@dataclass(frozen=True)
class CriticalDifference:
    """The average rank of each method, 1 the best, by data; methods on one bar are not told apart (Nemenyi, 5 %).

    Systems count each once, with the median of their seeds; methods that failed there are last. The critical difference
    is large where systems are few, and grows with every method that takes part.

    Arguments:
        metric: The name of the metric.
        methods: The labels of the methods that take part; all if None.
    """

    metric: str = "jacobian_error"
    methods: Sequence[str] | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self) -> None:
        check_metrics([self.metric])

    def draw(self, results: Results) -> plt.Figure:
        """Draw a diagram for each kind of data, over the systems that all its methods have."""
        palette, (found, _) = colors(results), self._ranks(results)
        methods = self.methods or results.methods
        height = min(0.7 + 0.09 * len(methods), (HEIGHT - 0.5) / max(1, len(found)))
        figure, axes = panels(len(found), 1, height=height)
        for ax, (data, ranked) in zip(axes[:, 0], found.items(), strict=False):
            _diagram(ax, ranked, {method: palette[method] for method in ranked.average.index})
            ax.set_title(f"{data}: {_told(ranked)}", loc="left")
        figure.supxlabel("average rank over systems [1]")
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn, and what it is not to be taken for."""
        label, (found, lacking) = catalogue.entries("metrics")[self.metric].label, self._ranks(results)
        drawn = {method for ranked in found.values() for method in ranked.average.index}
        more = ", ".join(method for method in given_more(results) if method in drawn)
        return (
            f"Average ranks by {label} over systems, 1 the best, by the median of the seeds of a system; methods of "
            "which it diverged, collapsed or has no value are last. A dot is a method; a line leads from it to its "
            "name, with its average rank. Methods on one gray bar are less than the critical difference apart "
            "(Nemenyi, 5 %). Ranks do not say by how much a method is ahead, and the difference hangs on which take "
            "part: effects and their intervals are in the table comparison. "
            f"{f'Ranked among the others, and given more than data: {more}. ' if more else ''}{left_out(lacking)}"
            f"{told(results, data=list(found), methods=self.methods)}"
        )

    def _ranks(self, results: Results) -> tuple[dict[str, Ranks], dict[str, list[str]]]:
        """The ranks of the methods that take part, and the labels of those that have values and do not, by data."""
        scores, methods = results.table("scores.csv"), self.methods or results.methods
        scores = scores[(scores["metric"] == self.metric) & scores["method"].isin(methods)]
        kinds = {data: scores[scores["data"] == data] for data in list(results.data)[:KINDS]}
        found = {data: ranks(of) for data, of in kinds.items()}
        lacking = {
            data: [m for m in results.methods if m in {*kinds[data]["method"]} - {*ranked.average.index}]
            for data, ranked in found.items()
        }
        return found, lacking


def _diagram(ax: plt.Axes, found: Ranks, palette: dict[str, Any]) -> None:
    if len(found.average) < 2 or not found.systems:
        ax.set_axis_off()
        return
    from scikit_posthocs import critical_difference_diagram  # here, for every job imports this file

    apart = np.abs(found.average.to_numpy()[:, None] - found.average.to_numpy())
    names = found.average.index
    alike = pd.DataFrame(np.where(apart > found.difference, 0.0, 1.0), names, names)
    drawn = critical_difference_diagram(
        found.average, alike, ax=ax, color_palette=palette, label_props={"fontsize": SMALL},
        crossbar_props={"linewidth": 2, "color": "0.4"},
        label_fmt_left="{label} ({rank:.1f})\u00a0", label_fmt_right="\u00a0({rank:.1f}) {label}",
    )  # fmt: skip
    for (bar,) in drawn["crossbars"]:  # through its methods in the order of a set, which is another in each run
        bar.set_data([min(bar.get_xdata()), max(bar.get_xdata())], bar.get_ydata()[:2])


def _told(found: Ranks) -> str:
    if not np.isfinite(found.p):
        return f"{found.systems} systems, too few of them or of methods for a test"
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.2g}"
    return f"{found.systems} systems; all alike (Friedman): {p}; critical difference {found.difference:.1f}"


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"critical_difference": CriticalDifference}
