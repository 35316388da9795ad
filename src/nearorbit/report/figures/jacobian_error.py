"""How large the error of the Jacobian is, and how it varies over the attractor."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.metrics.jacobian_error import jacobian_errors
from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import by_cell, colors, legend, panels
from nearorbit.study.catalogue import TRUTH


@dataclass(frozen=True)
class JacobianError:
    """The distribution of the relative error over points and seeds: median, quartiles, and 5 to 95 %.

    The truth is left out: its error is the rounding of numbers, thirteen decades below all others.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each data, systems below one another, on a logarithmic axis."""
        errors = by_cell(results, jacobian_errors).assign(error=lambda rows: np.log10(rows["value"].astype(float)))
        palette = colors(results)
        del palette[TRUTH]
        height = 0.3 + len(results.systems) * (0.15 + 0.11 * len(results.methods))
        figure, axes = panels(1, len(results.data), height=height, sharex=True, sharey=True)
        for ax, data in zip(axes.flat, results.data, strict=True):
            rows = errors[errors["data"] == data]
            if np.isfinite(rows["error"]).any():
                _boxes(rows, ax, order=list(results.systems), hue_order=list(palette), palette=palette)
            ax.set(title=data, xlabel=r"$\log_{10}\ \|J_\theta - J\|_F\ /\ \|J\|_F$", ylabel="")
        sns.despine(figure)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            "Distribution of the relative error of the Jacobian over points and seeds: median, quartiles, "
            "and 5 to 95 %. "
            f"{told(results)}"
        )


def _boxes(rows: Any, ax: plt.Axes, **options: Any) -> None:
    sns.boxplot(
        rows, x="error", y="system", hue="method", ax=ax, legend=False, whis=(5, 95), showfliers=False,
        gap=0.2, linewidth=0.6, saturation=1, medianprops={"color": "white", "linewidth": 1.2}, **options,
    )  # fmt: skip
    ax.grid(axis="x", linewidth=0.3)
    ax.set_axisbelow(True)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"jacobian_error": JacobianError}
