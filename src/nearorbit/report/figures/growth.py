"""How the cost of a gradient step grows."""

from dataclasses import dataclass
from typing import Any, ClassVar

import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.figures.base import legend, panels
from nearorbit.report.marks import mark

ACROSS = 3  # panels
SIZES = {"dimension": "components", "segment": "samples", "batch": "segments", "width": "units", "depth": "layers"}


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
        shown = {method: mark(place) for place, method in enumerate(table["method"].unique())}
        axes = table["axis"].unique()
        figure, grid = panels(-(-len(axes) // ACROSS), min(ACROSS, len(axes)), height=1.9, sharey=True)
        for ax, axis in zip(grid.flat, axes, strict=False):
            part = table[table["axis"] == axis]
            for method, of in part.groupby("method", sort=False):
                style = {
                    "color": shown[method].color,
                    "linestyle": shown[method].dashes,
                    "marker": shown[method].marker,
                }
                ax.plot(of["size"], of["milliseconds"], **style, markersize=3)
            ends = part.groupby("size")["milliseconds"].max().iloc[[0, -1]]
            ax.plot(ends.index, ends.iloc[0] * ends.index / ends.index[0], color="0.6", linestyle=":", zorder=0)
            ax.set(xscale="log", yscale="log", xlabel=f"{axis} [{SIZES.get(axis, '1')}]")
            ax.set_xticks(sizes := sorted(part["size"].unique()), [str(size) for size in sizes], minor=False)
            ax.set_xticks([], minor=True)
        for ax in grid.flat[len(axes) :]:
            ax.set_axis_off()
        figure.supylabel("time of a gradient step [ms]")
        sns.despine(figure)
        legend(figure, shown)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            "The time of a gradient step of all seeds at once, measured along each size of the problem, the number of "
            "seeds among them, the others as at the reference point. It was measured on random data, of no study and "
            "no system. Dotted grows in proportion to the size, from the slowest."
        )


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"growth": Growth}
