"""How well local fits to the data alone know the Jacobian, next to the trained fields."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib import pyplot as plt

from nearorbit.evaluation.metrics.jacobian_error import jacobian_errors
from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import legend, panels
from nearorbit.report.marks import COLORS
from nearorbit.report.tables.base import given
from nearorbit.report.tables.jacobian_estimators import candidates
from nearorbit.study.catalogue import TRUTH

PALETTE = {
    "local fits to the data": COLORS[2],
    "fields trained on the data": COLORS[0],
    "fields given more of the truth": COLORS[1],
}
LINE = 0.115  # inches, for each estimator
UNDEFINED = 10.0  # the error in place of one that is not defined


@dataclass(frozen=True)
class JacobianEstimators:
    """The relative error of the Jacobian over unseen states and seeds: median and quartiles, on a logarithmic axis.

    Local fits are on top, trained fields below, in the order of the study. The line at 0 is what a constant field would
    make. The error of an undefined Jacobian counts as 10. The truth is left out: its error is the rounding of numbers.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"estimators.nc", "truth.nc", "forecast.nc", "costs.csv"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw a row of panels for each system, a column for each data."""
        errors = _quartiles(results)
        fits = errors.loc[errors["kind"] == "data", "estimator"].unique()
        lines = [*(("data", name) for name in fits), *(("field", method) for method in results.methods)]
        height = 0.3 + LINE * len(lines)
        figure, axes = panels(
            len(results.systems), len(results.data), height=height, sharex=True, sharey=True, gridspec_kw={"hspace": 0}
        )
        for row, system in zip(axes, results.systems, strict=True):
            for ax, data in zip(row, results.data, strict=True):
                cell = errors[(errors["system"] == system) & (errors["data"] == data)]
                _panel(ax, cell, lines, divide=len(fits) - 0.5)
                ax.set_title(f"{system}, {data}", loc="left")
        axes[0, 0].set_ylim(len(lines) - 0.4, -0.6)
        axes[0, 0].set_yticks(range(len(lines)), [name for _, name in lines])
        figure.supxlabel(r"$\log_{10}\ \|\hat{J} - J\|_F\ /\ \|J\|_F$", fontsize=8)
        sns.despine(figure)
        legend(figure, PALETTE)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        return f"Relative error of the Jacobian over unseen states and seeds: median and quartiles. {told(results)}"


def _quartiles(results: Results) -> pd.DataFrame:
    """A row for each estimator of each cell, with columns (*identity, group, low, median, high)."""
    known, rows = given(results), []
    data_only, fields, more = PALETTE
    for identity, truth, table in candidates(results):
        if identity["estimator"] == TRUTH:
            continue
        with xr.set_options(arithmetic_join="exact"):
            errors = jacobian_errors(truth, table).to_numpy()
        low, median, high = np.quantile(np.where(np.isnan(errors), UNDEFINED, errors), [0.25, 0.5, 0.75])
        informed = known.get(identity["estimator"], "data") != "data"
        group = data_only if identity["kind"] == "data" else more if informed else fields
        rows.append({**identity, "group": group, "low": low, "median": median, "high": high})
    columns = ["system", "data", "noise", "estimator", "kind", "group", "low", "median", "high"]
    return pd.DataFrame(rows, columns=columns)


def _panel(ax: plt.Axes, errors: pd.DataFrame, lines: list[tuple[str, str]], *, divide: float) -> None:
    ax.grid(axis="x", linewidth=0.3)
    ax.axhline(divide, color="0.8", linewidth=0.6)
    ax.axvline(0, color="0.5", linewidth=0.6, linestyle=":")
    for group, rows in errors.groupby("group"):
        y = [lines.index(line) for line in zip(rows["kind"], rows["estimator"], strict=True)]
        low, median, high = (np.log10(rows[name]) for name in ("low", "median", "high"))
        ax.hlines(y, low, high, color=PALETTE[group], linewidth=1.5, alpha=0.5)
        ax.plot(median, y, "o", color=PALETTE[group], markersize=3)
    ax.tick_params(axis="y", length=0, labelsize=6)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"jacobian_estimators": JacobianEstimators}
