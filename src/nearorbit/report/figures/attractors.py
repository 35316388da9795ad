"""True and learned attractors, side by side."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results, status
from nearorbit.report.captions import told
from nearorbit.report.figures.base import WIDTH, colors, panels

IMAGE_FROM = 5  # dimensions


@dataclass(frozen=True)
class Attractors:
    """A row for each system: the truth and every method, in the same axes.

    Up to four dimensions, orbits are projected on the plane of the truth's two leading principal components; of more,
    one orbit is an image of its components (down) over time (across). What leaves the axes is cut off, and an orbit
    that diverged ends where it did. A seed that diverged or collapsed says so below its panel.

    Arguments:
        data: The label of the data; the study's first if None.
        seed: The seed.
        periods: How much time an image shows, in periods.
    """

    data: str | None = None
    seed: int = 0
    periods: float = 10.0
    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each system."""
        data = self.data or next(iter(results.data))
        palette = colors(results)
        width = max(WIDTH, 1.3 * len(palette))
        figure, axes = panels(len(results.systems), len(palette), height=1.3, width=width)
        for row, system in zip(axes, results.systems, strict=True):
            row[0].set_ylabel(system)
            truth = results.open("truth.nc", system, data)
            tables = [truth, *(results.open("forecast.nc", system, data, method) for method in results.methods)]
            for ax, table, color in zip(row, tables, palette.values(), strict=True):
                ax.set(xticks=[], yticks=[])
                if truth is not None and table is not None:
                    self._panel(ax, truth, table, color)
        for ax, (method, color) in zip(axes[0], palette.items(), strict=True):
            ax.set_title(method, color=color)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return (
            f"True and learned attractors, data {self.data or next(iter(results.data), '')}, seed "
            f"{self.seed}. "
            f"{told(results)}"
        )

    def _panel(self, ax: plt.Axes, truth: xr.Dataset, table: xr.Dataset, color: Any) -> None:
        true, orbits = (t["attractor"].isel(seed=self.seed).to_numpy() for t in (truth, table))
        if true.shape[-1] < IMAGE_FROM:
            _projection(ax, true, orbits, color)
        else:
            length = int(np.searchsorted(truth["sample"], self.periods * truth["period"]))
            _image(ax, true[0, :length], orbits[0, :length])
        if (word := status(table).isel(seed=self.seed).item()) != "ok":
            ax.set_xlabel(f"† {word}", labelpad=2)


def _projection(ax: plt.Axes, true: np.ndarray, orbits: np.ndarray, color: Any) -> None:
    """Draw orbits (run, sample, component) in the plane in which the truth is widest."""
    flat = true.reshape(-1, true.shape[-1])
    mean = flat.mean(axis=0)
    plane = np.linalg.svd(flat - mean, full_matrices=False)[2][:2]
    plane *= np.sign(plane[np.arange(2), np.abs(plane).argmax(axis=1)])[:, None]  # the sign of a component is arbitrary
    for orbit in orbits:
        ax.plot(*((orbit - mean) @ plane.T).T, color=color, linewidth=0.25, rasterized=True)
    shadow = (flat - mean) @ plane.T
    low, high = shadow.min(axis=0), shadow.max(axis=0)
    margin = 0.08 * (high - low)
    ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))


def _image(ax: plt.Axes, true: np.ndarray, orbit: np.ndarray) -> None:
    """Draw an orbit (sample, component) as an image in the colors of the truth's range."""
    limit = np.abs(true - true.mean()).max()
    norm = plt.Normalize(true.mean() - limit, true.mean() + limit)
    ax.imshow(orbit.T, aspect="auto", cmap="RdBu_r", norm=norm, interpolation="nearest")


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"attractors": Attractors}
