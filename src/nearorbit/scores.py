"""From the tables of one cell to the long tables of a study: a row per observation.

A cell is one system, observed in one way, learned by one method, for all seeds. ``scores`` judges a cell; the functions
``collect_*`` gather what the cells of a study have left into ``scores.csv``, ``exponents.csv``, ``costs.csv`` and
``truth.csv``. A cell that is missing, because its job failed, is left out and stops nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit import files
from nearorbit.catalogue import entries
from nearorbit.metrics.base import chaotic, deviation, leading_exponent

CELL = ("system", "data", "noise", "method")
COSTS = ("given", "seconds", "peak_memory_mib", "steps", "samples_seen", "parameters", "device", "seeds")


def scores(truth: xr.Dataset, forecast: xr.Dataset, **identity: Any) -> pd.DataFrame:
    """Judge a cell by every metric of the catalogue.

    Arguments:
        truth: What the true system does; its variables are listed in the README.
        forecast: What the learned field does, with the same variables and dimensions.
        identity: The columns that name the cell: ``system``, ``data``, ``noise``, ``method``.

    Returns:
        A row per metric and seed, with columns ``(*identity, seed, metric, unit, value, status)``; the value is NaN
        where it is undefined, the row is there.

    Raises:
        ValueError: If the coordinates of the two tables differ.
    """
    with xr.set_options(arithmetic_join="exact"):  # a metric of what the two happen to share would be silently wrong
        verdict = status(truth, forecast).to_series()
        rows = [
            {**identity, "seed": seed, "metric": name, "unit": metric.unit, "value": value, "status": verdict[seed]}
            for name, metric in entries("metrics").items()
            for seed, value in metric.compute(truth, forecast).to_series().items()
        ]
    return pd.DataFrame(rows)


def status(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    r"""Tell for each seed whether it is ``ok``, has ``diverged`` or has ``collapsed``.

    Diverged: an orbit of the learned field is not finite or went beyond 10 times the range of the data, where forecasts
    turn to NaN. Collapsed: :math:`\hat\lambda_1 < \lambda_1 / 10` where the truth is chaotic, or the spread of the late
    half of the orbits is below 5 % of the true one.

    Returns:
        The words, with shape (seed).
    """
    finite = np.isfinite(forecast["attractor"]).all(("run", "sample", "component"))
    diverged = (forecast["diverged"] > 0) | ~finite
    periodic = chaotic(truth) & (leading_exponent(forecast) < leading_exponent(truth) / 10)
    collapsed = periodic | (_late_spread(truth, forecast) < 0.05)
    return xr.where(diverged, "diverged", xr.where(collapsed, "collapsed", "ok"))


def _late_spread(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the root mean square of the components' deviations along an orbit, over the true ones, with shape (seed).

    Of the late half only, since orbits start on the true attractor; along each orbit, since several may settle on as
    many fixed points; the median over orbits.
    """
    late = forecast["attractor"].isel(sample=slice(forecast.sizes["sample"] // 2, None))
    relative = late.std("sample") / deviation(truth)
    return ((relative**2).mean("component") ** 0.5).median("run")


def exponents(table: xr.Dataset, **identity: Any) -> pd.DataFrame:
    """List the Lyapunov exponents of a truth or forecast, per unit of system time.

    Returns:
        A row per seed and exponent, with columns ``(*identity, seed, index, exponent, stderr, converged, horizon)``;
        ``index`` is from 1.
    """
    spectrum = table[["exponents", "stderr", "converged", "horizon"]].reset_coords(drop=True)
    index = spectrum.assign_coords(exponent=np.arange(1, spectrum.sizes["exponent"] + 1)).rename(exponent="index")
    rows = index.rename(exponents="exponent").to_dataframe(dim_order=["seed", "index"]).reset_index()
    return _identified(rows, identity)


def _identified(rows: pd.DataFrame, identity: Mapping[str, Any]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(dict(identity), index=rows.index), rows], axis=1)


@dataclass(frozen=True)
class Results:
    """The files of a study, found by the labels of its three axes.

    Arguments:
        folder: The folder of the study, ``results/{study}``.
        gathered: Where its long tables lie, if elsewhere.
        systems: The labels of the systems.
        data: The noise of the data, by label.
        methods: The labels of the methods; their order is that of columns and colours.
    """

    folder: Path
    systems: tuple[str, ...]
    data: Mapping[str, float]
    methods: tuple[str, ...]
    gathered: Path | None = None

    @classmethod
    def of(cls, folder: Path, study: Mapping[str, Any], gathered: Path | None = None) -> "Results":
        """Find the results of a study, of which only ``systems``, ``data`` and ``methods`` are read."""
        noise = {label: float(spec["noise"]) for label, spec in study["data"].items()}
        return cls(Path(folder), tuple(study["systems"]), noise, tuple(study["methods"]), gathered)

    def cells(self) -> Iterator[dict[str, Any]]:
        """Iterate over the identities of the cells, in the order of the study."""
        for system, (data, noise), method in product(self.systems, self.data.items(), self.methods):
            yield dict(zip(CELL, (system, data, noise, method), strict=True))

    def read(self, name: str, *labels: str) -> pd.DataFrame | None:
        """Read a long table, of the study or of the cell with these labels; None if it is missing."""
        folder = self.folder if labels else self.gathered or self.folder
        path = folder.joinpath(*labels, name)
        return pd.read_csv(path) if path.exists() else None

    def open(self, name: str, *labels: str) -> xr.Dataset | None:
        """Load ``truth.nc``, ``forecast.nc``, ... of the system or cell with these labels; None if it is missing."""
        path = self.folder.joinpath(*labels, name)
        return files.read(path, kind=path.stem) if path.exists() else None


def collect_scores(results: Results) -> pd.DataFrame:
    """Gather the cells' ``scores.csv``."""
    columns = (*CELL, "seed", "metric", "unit", "value", "status")
    return _gathered((results.read("scores.csv", *_labels(cell)) for cell in results.cells()), columns)


def collect_exponents(results: Results) -> pd.DataFrame:
    """Gather the exponents of truths, as method ``truth``, and of forecasts."""
    return _gathered(_spectra(results), (*CELL, "seed", "index", "exponent", "stderr", "converged", "horizon"))


def _spectra(results: Results) -> Iterator[pd.DataFrame]:
    for system, (data, noise) in product(results.systems, results.data.items()):
        if (truth := results.open("truth.nc", system, data)) is not None:
            yield exponents(truth, system=system, data=data, noise=noise, method="truth")
    for cell in results.cells():
        if (forecast := results.open("forecast.nc", *_labels(cell))) is not None:
            yield exponents(forecast, **cell)


def collect_costs(results: Results) -> pd.DataFrame:
    """Gather the cells' ``costs.csv``: what each method was given, and what it cost."""
    tables = ((cell, results.read("costs.csv", *_labels(cell))) for cell in results.cells())
    return _gathered((_identified(table, cell) for cell, table in tables if table is not None), (*CELL, *COSTS))


def collect_truth(results: Results) -> pd.DataFrame:
    """Gather the dimension, period and exponents of the true systems, per unit of system time."""
    columns = ("system", "dimension", "period", "index", "exponent", "stderr", "converged", "horizon")
    tables = ((system, results.open("exponents.nc", system)) for system in results.systems)
    return _gathered((_truth(system, table) for system, table in tables if table is not None), columns)


def _truth(system: str, table: xr.Dataset) -> pd.DataFrame:
    identity = {"system": system, "dimension": table.sizes["component"], "period": float(table["period"])}
    return exponents(table.expand_dims(seed=[0]), **identity).drop(columns="seed")


def missing(results: Results) -> pd.DataFrame:
    """List what cells have not left yet, a row per file that is missing, with columns ``(*CELL, file)``."""
    rows = [
        {**cell, "file": name}
        for cell in results.cells()
        for name in ("history.csv", "forecast.nc", "scores.csv")
        if not results.folder.joinpath(*_labels(cell), name).exists()
    ]
    return pd.DataFrame(rows, columns=[*CELL, "file"])


COLLECTORS = {"truth": collect_truth, "scores": collect_scores, "exponents": collect_exponents, "costs": collect_costs}


def _labels(cell: Mapping[str, Any]) -> tuple[str, str, str]:
    return cell["system"], cell["data"], cell["method"]


def _gathered(tables: Iterable[pd.DataFrame | None], columns: tuple[str, ...]) -> pd.DataFrame:
    """Concatenate the tables that are there; a column that one of them lacks is NaN."""
    found = [table.reindex(columns=list(columns)) for table in tables if table is not None]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(columns))
