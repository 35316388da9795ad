"""The landscape of the trajectory error around trained weights."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap, LogNorm

from nearorbit.evaluation.scores import Results
from nearorbit.report.figures.base import panels

COLUMNS = ("system", "data", "method", "seed", "coupling", "segment", "alpha", "beta", "error", "diverged")
ACROSS = 4  # panels
COLORS = ListedColormap(plt.get_cmap("viridis")(np.linspace(0.3, 1, 256)))  # on all of which black lines are seen


@dataclass(frozen=True)
class Landscape:
    """The error of rollouts along two directions in weight space, coupled to the data and free, short and long.

    All panels share the weights (cross), the directions, the segments and the colors, with four lines a decade; a dot
    is the least error of a panel, of whose points as many as are told are below all around them. Points where a rollout
    has diverged are gray.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"landscape.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each coupling and length, from strong to weak, then free ones from long to short."""
        table = results.table("landscape.csv").reindex(columns=list(COLUMNS))
        shown = table[["coupling", "segment"]].drop_duplicates()
        shown = shown.sort_values(["coupling", "segment"], ascending=False)
        figure, grid = panels(
            max(1, -(-len(shown) // ACROSS)),
            ACROSS,
            height=1.55,
            sharex=True,
            sharey=True,
            subplot_kw={"box_aspect": 1},
        )
        errors = table["error"].astype(float)
        norm = LogNorm(errors.min(), errors.max())
        mesh = None
        for ax, (coupling, segment) in zip(grid.flat, shown.itertuples(index=False), strict=False):
            part = table[(table["coupling"] == coupling) & (table["segment"] == segment)]
            mesh = _surface(ax, part, norm)
            held = f"$\\kappa$ = {coupling:g}" if coupling else "free"
            ax.set_title(f"{held}, {segment:.0f} samples", loc="left")
        for ax in grid.flat[len(shown) :]:
            ax.set_axis_off()
        figure.supxlabel("step along the first direction [norms of the filters]")
        figure.supylabel("step along the second [norms of the filters]")
        if mesh is not None:
            bar = figure.colorbar(mesh, ax=grid, aspect=40, pad=0.01)
            bar.set_label("trajectory error [variance]")
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            "The error of rollouts around trained weights (cross) along two random directions in weight space, "
            "coupled to the data with strength $\\kappa$ or free, over segments of so many samples. All panels share "
            "weights, directions and colors; lines are four a decade. A dot is the least error of a panel, of whose "
            "points as many as are told are below all around them; where a rollout has diverged it is gray. One seed "
            "of the first system, data and method of the study."
        )


def _surface(ax: plt.Axes, part: pd.DataFrame, norm: LogNorm) -> Any:
    """Draw the errors of a panel, with four lines for each decade."""
    surface = part.pivot(index="beta", columns="alpha", values="error").astype(float)
    x, y, error = surface.columns.to_numpy(), surface.index.to_numpy(), surface.to_numpy()
    ax.set_facecolor("0.8")
    mesh = ax.pcolormesh(x, y, error, norm=norm, cmap=COLORS, shading="nearest", rasterized=True)
    decades = 10.0 ** np.arange(-12, 3, 0.25)
    if min(error.shape) > 1 and np.isfinite(error).any():
        ax.contour(x, y, error, levels=decades, colors="black", linewidths=0.4)
        low, column = np.unravel_index(np.nanargmin(error), error.shape)
        ax.plot(x[column], y[low], "o", color="black", ms=2.5)
        found = minima(error)
        said = f"{found} minimum" if found == 1 else f"{found} minima"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        ax.text(0.97, 0.04, said, ha="right", va="bottom", fontsize=7, transform=ax.transAxes, bbox=box)
    ax.plot(0, 0, "+", color="black", ms=7, mew=0.8)
    return mesh


def minima(error: np.ndarray) -> int:
    """Count the points inside a grid, with shape (*, *), where the error is below that of all eight around them."""
    inside = np.lib.stride_tricks.sliding_window_view(error, (3, 3)) if min(error.shape) > 2 else np.zeros((0, 0, 3, 3))
    around = np.delete(inside.reshape(-1, 9), 4, axis=1)
    return int((inside[..., 1, 1].reshape(-1, 1) < around).all(axis=1).sum())


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"landscape": Landscape}
