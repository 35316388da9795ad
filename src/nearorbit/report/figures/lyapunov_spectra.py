"""Learned Lyapunov spectra against the true ones, both with standard errors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import UNCONVERGED, told
from nearorbit.report.figures.base import cell_panels, colors, legend
from nearorbit.study.catalogue import TRUTH

REACH = 0.6  # how much of the space between two indices the methods take


@dataclass(frozen=True)
class LyapunovSpectra:
    """The exponents over their index: the truth as bars, each seed of each method as a dot with its standard error.

    A hollow dot is of a spectrum that has not converged. Black dots are of the true field, judged as learned ones are.
    The axis is linear up to twice the largest true exponent and logarithmic beyond, so that strongly negative exponents
    do not hide the leading ones.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"truth.csv", "exponents.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a panel for each system and data."""
        truths, exponents = results.table("truth.csv"), results.table("exponents.csv")
        palette = colors(results)
        figure, cells = cell_panels(results, height=1.7)
        for ax, system, data in cells:
            rows = exponents[(exponents["system"] == system) & (exponents["data"] == data)]
            truth = truths[truths["system"] == system].set_index("index")
            if not (rows.empty and truth.empty):
                _panel(ax, truth, rows, palette)
        figure.supxlabel("index", fontsize=8)
        figure.supylabel("Lyapunov exponent [1/time]", fontsize=8)
        legend(figure, palette)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return f"Learned Lyapunov exponents against the true ones, with standard errors. {UNCONVERGED} {told(results)}"


def _panel(ax: plt.Axes, truth: pd.DataFrame, rows: pd.DataFrame, palette: dict[str, Any]) -> None:
    ax.use_sticky_edges = False  # of the bars, which would leave no margin below the lowest exponent
    ax.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    ax.hlines(truth["exponent"], truth.index - 0.45, truth.index + 0.45, color=palette[TRUTH], linewidth=1.2, zorder=1)
    low, high = truth["exponent"] - truth["stderr"], truth["exponent"] + truth["stderr"]
    ax.bar(truth.index, high - low, 0.9, low, color="0.7", linewidth=0, zorder=0)
    for place, method in enumerate(palette):
        dots = rows[rows["method"] == method]
        seeds = dots["seed"].rank(method="dense") / max(dots["seed"].nunique() + 1, 2)
        x = dots["index"] - REACH / 2 + REACH * (place + seeds) / len(palette)
        style = {"fmt": "o", "markersize": 2.2, "elinewidth": 0.8, "markeredgewidth": 0.6, "color": palette[method]}
        for converged, fill in ((dots["converged"] > 0, palette[method]), (dots["converged"] == 0, "white")):
            known = dots[converged]
            ax.errorbar(x[converged], known["exponent"], known["stderr"], markerfacecolor=fill, **style)
    leading = (truth if truth["exponent"].notna().any() else rows)[
        "exponent"
    ].max()  # of a measured system, a learned one
    linear = 2 * max(leading, 1e-3) if np.isfinite(leading) else 1
    ax.set_yscale("symlog", linthresh=linear, linscale=1.5)
    ax.set_yticks(_ticks(linear, np.nanmin([0, *truth["exponent"], *rows["exponent"]])))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _ticks(linear: float, lowest: float) -> np.ndarray:
    """Choose round ticks: three on the linear part, and powers of ten below it."""
    step = 10.0 ** np.floor(np.log10(linear))
    step *= max(digit for digit in (1, 2, 5) if digit * step <= linear)
    powers = 10.0 ** np.arange(np.ceil(np.log10(2 * step)), np.floor(np.log10(max(-lowest, step))) + 1)
    return np.concatenate([-powers[::-1], [-step, 0, step]])


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"lyapunov_spectra": LyapunovSpectra}
