r"""The contraction that noise teaches, over how often a system is sampled.

A network that is to predict a noisy sample from the one before learns to forget the noise: in directions in which the
attractor is thinner than that, the best map over one sample contracts by much more than the flow does. What a rollout
can do in one sample bounds it. An exact flow that forgets a factor of e more in each sample contracts at
:math:`\lambda_D - 1 / \Delta t`; n steps of the classical Runge-Kutta method contract by no more than
:math:`R(z)^n, R(z) = \sum_{k \le 4} z^k / k!`, which is least at :math:`z = -1.596`, so at :math:`n z / \Delta t`.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import CELL, Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import legend, panels, trends
from nearorbit.report.marks import Mark, marks
from nearorbit.report.room import KINDS, fitting
from nearorbit.study.catalogue import TRUTH

HEIGHT = 2.1  # inches, of a row
STEEPEST = -1.5960716  # where R(z) is least: the root of R'(z) = 1 + z + z^2 / 2 + z^3 / 6


@dataclass(frozen=True)
class Contraction:
    """The rate of the fastest contraction, -1 times the last exponent, over samples per unit of time.

    Every seed is a dot, medians are lines. In black the truth; dotted what an exact flow that forgets a factor of e
    more in each sample has; dashed the most that Runge-Kutta steps of the fewest that a method makes can do.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"exponents.csv", "costs.csv", "truth.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each system and level of noise, on logarithmic axes."""
        table, systems = self._table(results), fitting(results, height=HEIGHT).systems
        levels, palette = sorted(set(results.data.values()))[:KINDS], marks(results)
        figure, axes = panels(len(systems), len(levels), height=HEIGHT, sharex="row", sharey="row")
        for row, system in zip(axes, systems, strict=False):
            for ax, noise in zip(row, levels, strict=False):
                _panel(ax, table[(table["system"] == system) & (table["noise"] == noise)], palette)
                ax.set_title(f"{system}, noise of {100 * noise:g} %", loc="left")
            row[0].set_ylabel("fastest contraction\n[1/time]")
        figure.supxlabel("sampling [samples/time]")
        sns.despine(figure)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        levels = sorted(set(results.data.values()))[:KINDS]
        return (
            "The rate of the fastest contraction, -1 times the last Lyapunov exponent, over samples per unit of time: "
            "dots are seeds, lines join their medians, black is the truth. Dotted is what an exact flow that forgets "
            "a factor of e more in each sample has, dashed the most that Runge-Kutta steps of the fewest that a "
            "method makes can do. "
            f"{told(results, systems=fitting(results, height=HEIGHT).systems, data=_of(results, levels))}"
        )

    def _table(self, results: Results) -> pd.DataFrame:
        """The last exponents, with the samples per unit of time and the Runge-Kutta steps from sample to sample."""
        found = results.table("exponents.csv")
        last = found[found["index"] == found.groupby(list(CELL))["index"].transform("max")]
        substeps = results.table("costs.csv")[[*CELL, "substeps"]]
        truths = {cell: results.open("truth.nc", *cell) for cell in product(results.systems, results.data)}
        rates = {cell: 1 / float(truth["step"]) for cell, truth in truths.items() if truth is not None}
        merged = last.merge(substeps, on=[*CELL], how="left")
        merged["rate"] = [rates.get(cell, np.nan) for cell in zip(merged["system"], merged["data"], strict=True)]
        return merged.assign(contraction=-merged["exponent"].astype(float))


def _panel(ax: plt.Axes, rows: pd.DataFrame, palette: dict[str, Mark]) -> None:
    rows = rows[rows["contraction"] > 0]
    if not len(rows):
        return
    trends(ax, rows, "rate", "contraction", palette)
    rate = np.geomspace(rows["rate"].min(), rows["rate"].max(), 50)
    true = rows.loc[rows["method"] == TRUTH, "contraction"].median()
    ax.plot(rate, true + rate, color="black", linestyle=":", linewidth=0.8)
    if np.isfinite(fewest := float(rows["substeps"].min())):
        ax.plot(rate, -STEEPEST * fewest * rate, color="black", linestyle="--", linewidth=0.8)


def _of(results: Results, levels: list[float]) -> list[str]:
    """The labels of the data of these levels of noise."""
    return [label for label, noise in results.data.items() if noise in levels]


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"contraction": Contraction}
