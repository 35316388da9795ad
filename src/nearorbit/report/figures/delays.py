"""How many delays are taken, and how far apart: what tells it of the data."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib import pyplot as plt

from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import SMALL, legend, panels
from nearorbit.report.marks import Mark
from nearorbit.report.room import labels_of, rows_of_cells

HEIGHT = 1.7  # inches, of a row
TAKEN = Mark("#d62728", marker="", dashes="--")


@dataclass(frozen=True)
class Delays:
    """The mutual information of what is seen over the lag, and the share of false neighbors over the dimension.

    A row for each system and data with delays, from the training orbits of the first seed. Dashed is what is taken: if
    the study leaves it to the data, the first minimum of the mutual information, and 2 m - 1 delays of the least m with
    hardly a false neighbor. Numbers of a study are dashed, too.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"observations.nc"})

    def draw(self, results: Results) -> plt.Figure:
        """Draw two panels for each system and data with delays; says so if there are none."""
        cells = _cells(results)
        figure, axes = panels(len(cells), 2, height=HEIGHT)
        drawn = 0
        for row, (system, data) in zip(axes, cells, strict=False):
            observed = results.open("observations.nc", system, data)
            if observed is None or "mutual_information" not in observed:
                for ax in row:
                    ax.set_axis_off()
                continue
            _draw_lags(row[0], observed, f"{system}, {data}")
            _draw_dimensions(row[1], observed)
            drawn += 1
        if drawn:
            legend(figure, {"what is taken": TAKEN})
        else:
            for ax in axes.flat:
                ax.set_axis_off()
            figure.text(0.5, 0.5, "no states of this study have delays", ha="center", va="center", fontsize=SMALL)
        sns.despine(figure)
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        cells = _cells(results)
        systems, data = labels_of(cells)
        return (
            "What tells of the training orbits of the first seed how many delays to take, and how far apart. Left, the "
            "mutual information of what is seen and what is seen a lag later, a mean over components: its first "
            "minimum is the lag, if the study says auto. Right, the share of neighbors that are false, since they part "
            "where one delay more is seen; of the least dimension m with hardly one, 2 m - 1 delays are taken. Dashed, "
            f"what is taken. {told(results, systems=systems, data=data)}"
        )


def _cells(results: Results) -> list[tuple[str, str]]:
    """The systems and data of the rows: of the data with delays, if the study is known to have some."""
    kept = {label: results.data[label] for label in results.delayed or results.data}
    return rows_of_cells(replace(results, data=kept), None, height=HEIGHT)


def _draw_lags(ax: plt.Axes, observed: xr.Dataset, title: str) -> None:
    information, lag = observed["mutual_information"], int(observed.attrs["lag"])
    ax.plot(information["lag"][1:], information[1:], color="black")
    ax.axvline(lag, color=TAKEN.color, linestyle=TAKEN.dashes, linewidth=0.8)
    ax.set_title(f"{title}: lag of {lag} samples", loc="left")
    ax.set(xlabel="lag [samples]", ylabel="mutual information [nats]", xlim=(0, None), ylim=(0, None))


def _draw_dimensions(ax: plt.Axes, observed: xr.Dataset) -> None:
    shares, taken = 100 * observed["false_neighbors"].dropna("embedding"), int(observed.attrs["dimension"])
    ax.plot(shares["embedding"], shares, color="black", marker="o", markersize=3, clip_on=False)
    ax.axvline(taken, color=TAKEN.color, linestyle=TAKEN.dashes, linewidth=0.8)
    ax.set_title(f"{taken} delays", loc="left")
    last = max(taken, observed.sizes["embedding"])
    ax.set(xlabel="dimension [1]", ylabel="false neighbors [%]", xlim=(0.5, last + 0.5), ylim=(0, None))
    ax.set_xticks(np.arange(1, last + 1, max(1, last // 10)))


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"delays": Delays}
