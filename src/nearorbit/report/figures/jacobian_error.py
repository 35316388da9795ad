"""How large the error of the Jacobian is, and how it varies over the attractor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.metrics.jacobian_error import jacobian_errors
from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import legend, panels, quartiles
from nearorbit.report.marks import marks
from nearorbit.report.room import HEIGHT, fitting

LANE, LEAST, BETWEEN = 0.11, 0.075, 0.15  # inches: of a method, at least, and between systems
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class JacobianError:
    """The distribution of the relative error over points and seeds: median, quartiles, and 5 to 95 %.

    The truth is left out: its error is the rounding of numbers, thirteen decades below all others.

    Arguments:
        methods: The labels of the methods that are shown; by default all, or the first that have room.
    """

    methods: Sequence[str] = ()
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each data, systems below one another, on a logarithmic axis."""
        shown, methods = self._fitting(results), self._methods(results)
        known = {label: mark for label, mark in marks(results).items() if label in methods}
        room = (HEIGHT - 1) / max(1, len(shown.systems)) - BETWEEN
        lane = min(LANE, room / max(1, len(methods)))
        figure, axes = panels(
            1,
            len(shown.data),
            height=0.5 + len(shown.systems) * (BETWEEN + lane * len(methods)),
            sharex=True,
            sharey=True,
        )
        step = 1 / (len(methods) + BETWEEN / lane)
        for ax, data in zip(axes.flat, shown.data, strict=False):
            for place, system in enumerate(shown.systems):
                truth = results.open("truth.nc", system, data)
                for number, (method, mark) in enumerate(known.items()):
                    forecast = results.open("forecast.nc", system, data, method)
                    if truth is not None and forecast is not None:
                        errors = np.log10(jacobian_errors(truth, forecast).to_numpy().astype(float))
                        if (errors := errors[np.isfinite(errors)]).size:
                            y = place + step * (number - (len(methods) - 1) / 2)
                            quartiles(ax, y, np.quantile(errors, SHARES), color=mark.color, marker=mark.marker)
                if place:
                    ax.axhline(place - 0.5, color="0.85", linewidth=0.5, zorder=0)
            ax.set(title=data, xlabel=r"$\log_{10}\ \|J_\theta - J\|_F\ /\ \|J\|_F$  [1]")
            ax.set_yticks(range(len(shown.systems)), shown.systems)
            ax.set_ylim(len(shown.systems) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="x", linewidth=0.3)
        sns.despine(figure)
        legend(figure, known)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        shown = self._fitting(results)
        return (
            "Distribution of the relative error of the Jacobian over unseen states and all seeds, those that failed "
            "among them: marks are medians, thick lines go from quartile to quartile, thin ones from 5 to 95 %. An "
            "error of 1 is what a constant field makes. "
            f"{told(results, systems=shown.systems, data=shown.data, methods=self._methods(results))}"
        )

    def _fitting(self, results: Results) -> Results:
        return fitting(results, height=BETWEEN + LEAST * max(1, min(2, len(self.methods or results.methods))))

    def _methods(self, results: Results) -> list[str]:
        room = (HEIGHT - 1) / max(1, len(self._fitting(results).systems)) - BETWEEN
        return list(self.methods or results.methods)[: max(2, int(room / LEAST))]


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"jacobian_error": JacobianError}
