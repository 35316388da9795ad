"""How the cost of a gradient step grows."""

from dataclasses import dataclass
from typing import Any, ClassVar

import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import legend, panels
from nearorbit.report.marks import COLORS


@dataclass(frozen=True)
class Growth:
    """The milliseconds of a gradient step along each size of the problem, the others as at the reference point.

    The dotted line grows in proportion to the size.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"growth.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each size."""
        table = results.table("growth.csv").reindex(columns=["method", "axis", "size", "seconds"])
        table = table.assign(milliseconds=1e3 * table["seconds"])
        palette = dict(zip(table["method"].unique(), COLORS, strict=False))
        axes = table["axis"].unique()
        figure, grid = panels(1, max(1, len(axes)), height=2.0, sharey=True)
        for ax, axis in zip(grid.flat, axes, strict=False):
            part = table[table["axis"] == axis]
            sns.lineplot(part, x="size", y="milliseconds", hue="method", palette=palette, marker="o", ms=3, ax=ax,
                         legend=False)  # fmt: skip
            ends = part.groupby("size")["milliseconds"].max().iloc[[0, -1]]
            ax.plot(ends.index, ends.iloc[0] * ends.index / ends.index[0], color="0.6", linestyle=":", zorder=0)
            ax.set(xscale="log", yscale="log", xlabel=axis, ylabel="milliseconds per step")
            ax.set_xticks(sizes := sorted(part["size"].unique()), [str(size) for size in sizes], minor=False)
            ax.set_xticks([], minor=True)
        sns.despine(figure)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            "Cost of a gradient step along each size of the problem, the others as at the reference point. "
            "Dotted grows in proportion to the size. "
            f"{told(results)}"
        )


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"growth": Growth}
