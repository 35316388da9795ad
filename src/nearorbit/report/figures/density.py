"""How an error falls with the density of the data."""

from dataclasses import dataclass
from itertools import product
from textwrap import fill
from typing import Any, ClassVar

import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import FAILED, told
from nearorbit.report.figures.base import axis_label, legend, panels, trends
from nearorbit.report.marks import marks
from nearorbit.report.room import KINDS, fitting
from nearorbit.report.tables.base import check_metrics
from nearorbit.study import catalogue

HEIGHT = 1.9  # inches, of a row


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
        kinds, systems = _kinds(results), fitting(results, height=HEIGHT).systems
        shown, palette = list(dict.fromkeys(kinds.values()))[:KINDS], marks(results)
        scores = results.table("scores.csv")
        scores = scores[scores["metric"] == self.metric].assign(states=scores["data"].map(results.states))
        scores = scores[(scores["value"] > 0) & (scores["states"] > 0)]
        figure, axes = panels(len(systems), len(shown), height=HEIGHT, sharex=True, sharey="row")
        for ax, (system, kind) in zip(axes.flat, product(systems, shown), strict=False):
            labels = [data for data, of in kinds.items() if of == kind]
            rows = scores[(scores["system"] == system) & scores["data"].isin(labels)]
            trends(ax, rows, "states", "value", palette)
            ax.set_title(fill(f"{system}, {_named(*kind)}", width=int(110 / max(1, len(shown)))), loc="left")
        for ax in axes[-1]:
            ax.set_xlabel("data of a seed [observed states]")
        for row in axes:
            row[0].set_ylabel(fill(axis_label(self.metric), width=30))
        sns.despine(figure)
        drawn = set(scores["method"])
        legend(figure, {name: mark for name, mark in palette.items() if name in drawn})
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        shown = list(dict.fromkeys(_kinds(results).values()))[:KINDS]
        data = [label for label, kind in _kinds(results).items() if kind in shown]
        systems = fitting(results, height=HEIGHT).systems
        return (
            f"{catalogue.entries('metrics')[self.metric].label} over the number of observed states, a panel for each "
            f"way of observing them: dots are seeds, lines join their medians. {FAILED} Black, where it is not zero, "
            f"is the true field, the floor of the metric. {told(results, systems=systems, data=data)}"
        )


def _kinds(results: Results) -> dict[str, tuple[float, str]]:
    """How each kind of data was observed, apart from how many states: the noise, and the rest in words."""
    return {data: (noise, results.remarks.get(data, "")) for data, noise in results.data.items()}


def _named(noise: float, remark: str) -> str:
    said = f"noise of {100 * noise:g} %" if noise else "clean"
    return f"{said}, {remark}" if remark else said


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"density": Density}
