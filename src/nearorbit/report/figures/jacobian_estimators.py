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
from nearorbit.report.figures.base import legend, panels, quartiles
from nearorbit.report.marks import COLORS
from nearorbit.report.room import fitting
from nearorbit.report.tables.base import given
from nearorbit.report.tables.jacobian_estimators import candidates
from nearorbit.study.catalogue import TRUTH

PALETTE = {
    "local fits to the data": COLORS[2],
    "fields trained on the data": COLORS[0],
    "fields given more of the truth": COLORS[1],
}
LINE = 0.125  # inches, for each estimator
FITS = 10  # lines of local fits for which there has to be room
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
        shown = self._fitting(results)
        errors = _quartiles(shown)
        fits = errors.loc[errors["kind"] == "data", "estimator"].unique()
        lines = [*(("data", name) for name in fits), *(("field", method) for method in results.methods)]
        figure, axes = panels(
            len(shown.systems), len(shown.data), height=0.3 + LINE * len(lines), sharex=True, sharey=True,
            gridspec_kw={"hspace": 0},
        )  # fmt: skip
        for row, system in zip(axes, shown.systems, strict=False):
            for ax, data in zip(row, shown.data, strict=False):
                cell = errors[(errors["system"] == system) & (errors["data"] == data)]
                _panel(ax, cell, lines, divide=len(fits) - 0.5)
                ax.set_title(f"{system}, {data}", loc="left")
        axes[0, 0].set_ylim(len(lines) - 0.4, -0.6)
        axes[0, 0].set_yticks(range(len(lines)), [name for _, name in lines])
        figure.supxlabel(r"$\log_{10}\ \|\hat{J} - J\|_F\ /\ \|J\|_F$  [1]")
        sns.despine(figure)
        legend(figure, PALETTE)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        shown = self._fitting(results)
        return (
            "The relative error of the Jacobian at unseen states, as local fits to the data know it and as the fields "
            "of each method do: dots are medians over states and seeds, lines go from quartile to quartile. The "
            "dotted line at 0 is what a constant field would make; the error of an undefined Jacobian counts as 10. "
            f"{told(results, systems=shown.systems, data=shown.data)}"
        )

    def _fitting(self, results: Results) -> Results:
        return fitting(results, height=0.3 + LINE * (FITS + len(results.methods)))


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
    for row in errors.itertuples():
        values = np.log10([row.low, row.median, row.high])
        quartiles(ax, lines.index((row.kind, row.estimator)), values, color=PALETTE[row.group])
    ax.tick_params(axis="y", length=0)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"jacobian_estimators": JacobianEstimators}
