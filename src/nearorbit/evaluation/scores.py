"""From the tables of one cell to the long tables of a study: a row per observation.

A cell is one system, observed in one way, learned by one method, for all seeds. ``scores`` judges a cell; the functions
``collect_*`` gather what the jobs of a study have left into ``scores.csv``, ``exponents.csv``, ``costs.csv`` and
``truth.csv``. A cell that is missing, because its job failed, is left out and stops nothing.

The true field, put in a model's place, is judged like any method, under the label ``truth``: what it scores is the
floor of each metric at this sample size. It competes with none.

It is one module since what is written for a cell is what is gathered of all.
"""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit.evaluation.metrics.base import Metric
from nearorbit.evaluation.observed import with_observed
from nearorbit.study import files
from nearorbit.study.catalogue import TRUTH, entries

CELL = ("system", "data", "noise", "method")
CELLS = "cells.zip"  # in a record, the files of cells
SPECTRUM = ("index", "exponent", "stderr", "converged", "horizon")
COLUMNS = {  # of the long tables
    "scores.csv": (*CELL, "seed", "metric", "unit", "value", "stderr", "status", "converged"),
    "exponents.csv": (*CELL, "seed", *SPECTRUM),
    "costs.csv": (
        *CELL, "given", "seconds", "peak_memory_mib", "steps", "samples_seen", "masked", "substeps", "compiled",
        "kernels", "network", "parameters", "device", "seeds", "noise_estimate", "model_error", "distrusted",
        "given_up",
    ),
    "truth.csv": ("system", "dimension", "period", "motion", *SPECTRUM),
}  # fmt: skip


def scores(truth: xr.Dataset, forecast: xr.Dataset, **identity: Any) -> pd.DataFrame:
    """Judge a cell by every metric of the catalogue.

    Arguments:
        truth: What the true system does; its variables are listed in the README.
        forecast: What the learned field does, with the same variables and dimensions.
        identity: The columns that name the cell: ``system``, ``data``, ``noise``, ``method``.

    Returns:
        A row per metric and seed, with columns ``(*identity, seed, metric, unit, value, stderr, status, converged)``.
        The value is NaN where it is undefined, the row is there. ``stderr`` is the standard error of the value from the
        finite sample that it was computed on, NaN where none is known. ``converged`` is 0 or 1 where the value rests on
        the Lyapunov spectra of the two, of which both have to be, and NaN elsewhere.

    Raises:
        ValueError: If the coordinates of the two tables differ.
    """
    with xr.set_options(arithmetic_join="exact"):  # a metric of what the two happen to share would be silently wrong
        common = {"status": status(forecast), "converged": (truth["converged"] > 0) & (forecast["converged"] > 0)}
        metrics: Mapping[str, Metric] = entries("metrics")
        tables = [
            _judged(metric, truth, forecast, common).assign(metric=name, unit=metric.unit)
            for name, metric in metrics.items()
        ]
    rows = _identified(pd.concat(tables, ignore_index=True), identity)
    return rows[[*identity, *COLUMNS["scores.csv"][len(CELL) :]]]


def _judged(
    metric: Metric, truth: xr.Dataset, forecast: xr.Dataset, common: Mapping[str, xr.DataArray]
) -> pd.DataFrame:
    """Judge a cell by a metric: a row per seed."""
    value = metric.compute(truth, forecast)
    stderr = metric.stderr(truth, forecast) if metric.stderr else xr.full_like(value, np.nan)
    columns = {"value": value, "stderr": stderr.where(value.notnull()), **common}
    rows = pd.DataFrame({name: column.reset_coords(drop=True).to_series() for name, column in columns.items()})
    return rows.assign(
        converged=rows["converged"].astype(float) if "spectrum" in metric.needs else np.nan
    ).reset_index()


def status(forecast: xr.Dataset) -> xr.DataArray:
    """Tell for each seed whether it is ``ok``, has ``diverged`` or has ``collapsed``: the words, with shape (seed)."""
    return xr.where(forecast["diverged"] > 0, "diverged", xr.where(forecast["collapsed"] > 0, "collapsed", "ok"))


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


def _remark(spec: Mapping[str, Any]) -> str:
    """Say how orbits of a kind of data were observed; empty if as they are, all at equal intervals."""
    told = {
        "smooth": "smoothing {}s of the noisy orbits",
        "missing": "{:.3g} of the samples missing",
        "jitter": "samples moved within {:.3g} of an interval",
    }
    said = [text.format(spec[name]) for name, text in told.items() if spec.get(name)]
    said += [f"{', '.join(seen)} alone"] if (seen := spec.get("components")) else []
    said += ["with delays"] if spec.get("delay") else []
    return ", ".join(said)


@dataclass(frozen=True)
class Results:
    """The files of a study, found by the labels of its three axes.

    Arguments:
        folder: The folder of the study, ``results/{study}``.
        gathered: Where its long tables lie, if elsewhere.
        systems: The labels of the systems.
        data: The noise of the data, by label.
        methods: The labels of the methods, without the truth; their order is that of columns and colors. Fields that
            are brought stand among them.
        remarks: How orbits were observed, by the label of the data, where it is not all of them as they are.
        states: The number of observed states of a seed, by the label of the data; a figure knows it, a table does not.
        fields: The labels of the fields that are brought, which are judged and not trained.
        fieldless: The systems and data without a true field: there is none to judge.
        seeds: The number of seeds; 0 where it is not told: a figure knows it, a table does not.
        delayed: The labels of the data with delays.
    """

    folder: Path
    systems: tuple[str, ...]
    data: Mapping[str, float]
    methods: tuple[str, ...]
    gathered: Path | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    fieldless: frozenset[tuple[str, str]] = frozenset()
    seeds: int = 0
    delayed: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, study: Mapping[str, Any], gathered: Path | None = None) -> "Results":
        """Find the results of a study, of which the axes, ``seeds`` and ``fields`` alone are read."""
        noise = {label: float(spec["noise"]) for label, spec in study["data"].items()}
        said = {label: _remark(spec) for label, spec in study["data"].items()}
        remarks = {label: text for label, text in said.items() if text}
        sized = {label: spec for label, spec in study["data"].items() if spec.keys() >= {"orbits", "samples"}}
        states = {label: spec["orbits"] * spec["samples"] for label, spec in sized.items()}
        delayed = tuple(label for label, spec in study["data"].items() if spec.get("delay"))
        fields = tuple(study.get("fields", ()))
        methods = (*study["methods"], *fields)
        fieldless = frozenset((system, data) for system, data in study.get("fieldless", ()))
        return cls(
            Path(folder), tuple(study["systems"]), noise, methods, gathered, remarks, states,
            fields, fieldless, study.get("seeds", 0), delayed,
        )  # fmt: skip

    @property
    def remark(self) -> str:
        """What the captions of its tables say about its data; empty where they are as they were observed."""
        return "".join(f" Data {label}: {text}." for label, text in self.remarks.items())

    @property
    def judged(self) -> tuple[str, ...]:
        """The labels of all that is judged: the truth, then the methods."""
        return (TRUTH, *self.methods)

    def cells(self) -> Iterator[dict[str, Any]]:
        """Iterate over the identities of the cells that are judged, in the order of the study, the truth first."""
        for system, (data, noise), method in product(self.systems, self.data.items(), self.judged):
            if method != TRUTH or (system, data) not in self.fieldless:
                yield dict(zip(CELL, (system, data, noise, method), strict=True))

    def trained(self) -> Iterator[dict[str, Any]]:
        """Iterate over the identities of the cells that are trained: without the truth and what is brought."""
        return (cell for cell in self.cells() if cell["method"] not in (TRUTH, *self.fields))

    def table(self, name: str) -> pd.DataFrame:
        """Read a long table of the study, e.g. ``scores.csv``; without rows if it is missing."""
        place = self.gathered or self.folder
        found = [path for path in (place / name, place / f"{name}.gz") if path.exists()]
        table = files.table(found[0]) if found else pd.DataFrame()
        return table.reindex(columns=list(COLUMNS.get(name, table.columns)))

    def read(self, name: str, *labels: str) -> pd.DataFrame | None:
        """Read a table of the cell with these labels; None if it is missing."""
        path = self.folder.joinpath(*labels, name)
        if path.exists():
            return files.table(path)
        member = self._packed / "/".join((*labels, name)) if self._packed else None
        return files.table(member) if member and member.exists() else None

    @cached_property
    def _packed(self) -> zipfile.Path | None:
        """The files of the cells of a record, if it is one."""
        path = self.folder / CELLS
        return zipfile.Path(path) if path.exists() else None

    def truth(self, *labels: str) -> xr.Dataset | None:
        """Load the truth of a system and data, with what was observed if that is there; None if it is missing."""
        truth, observations = (self.open(f"{name}.nc", *labels) for name in ("truth", "observations"))
        return None if truth is None else with_observed(truth, observations)

    def open(self, name: str, *labels: str) -> xr.Dataset | None:
        """Load ``truth.nc``, ``forecast.nc``, ... of the system or cell with these labels; None if it is missing."""
        path = self.folder.joinpath(*labels, name)
        return files.read(path, kind=path.stem) if path.exists() else None


def collect_scores(results: Results) -> pd.DataFrame:
    """Gather the ``scores.csv`` of the systems."""
    tables = (results.read("scores.csv", system) for system in results.systems)
    return _gathered(tables, COLUMNS["scores.csv"])


def judge(results: Results) -> pd.DataFrame:
    """Judge all cells that have a forecast, whether their systems have scores yet or not."""
    tables = (
        (cell, results.truth(*labels(cell)[:-1]), results.open("forecast.nc", *labels(cell)))
        for cell in results.cells()
    )
    judged = (scores(true, made, **cell) for cell, true, made in tables if true is not None and made is not None)
    return _gathered(judged, COLUMNS["scores.csv"])


def collect_exponents(results: Results) -> pd.DataFrame:
    """Gather the exponents of forecasts; those of method ``truth`` were found along the same path as all others."""
    tables = ((cell, results.open("forecast.nc", *labels(cell))) for cell in results.cells())
    return _gathered(
        (exponents(table, **cell) for cell, table in tables if table is not None), COLUMNS["exponents.csv"]
    )


def collect_costs(results: Results) -> pd.DataFrame:
    """Gather the cells' ``costs.csv``: what each method was given, and what it cost."""
    tables = ((cell, results.read("costs.csv", *labels(cell))) for cell in results.trained())
    return _gathered((_identified(table, cell) for cell, table in tables if table is not None), COLUMNS["costs.csv"])


def collect_truth(results: Results) -> pd.DataFrame:
    """Gather the dimension, period, motion and exponents of the true systems, per unit of system time."""
    tables = ((system, results.open("exponents.nc", system)) for system in results.systems)
    return _gathered((_truth(system, table) for system, table in tables if table is not None), COLUMNS["truth.csv"])


def _truth(system: str, table: xr.Dataset) -> pd.DataFrame:
    identity = {"system": system, "dimension": table.sizes["component"], "period": float(table["period"])}
    identity["motion"] = table.attrs["motion"]
    return exponents(table.expand_dims(seed=[0]), **identity).drop(columns="seed")


def missing(results: Results) -> pd.DataFrame:
    """List what cells have not left yet, a row per file that is missing, with columns ``(*CELL, file)``."""
    rows = [
        {**cell, "file": name}
        for cell in results.cells()
        for name in ("history.csv", "forecast.nc")
        if not (cell["method"] in (TRUTH, *results.fields) and name == "history.csv")
        if not results.folder.joinpath(*labels(cell), name).exists()
    ]
    return pd.DataFrame(rows, columns=[*CELL, "file"])


COLLECTORS = {"truth": collect_truth, "scores": collect_scores, "exponents": collect_exponents, "costs": collect_costs}


def labels(cell: Mapping[str, Any]) -> tuple[str, str, str]:
    """Give the labels of a cell, below which its files lie."""
    return cell["system"], cell["data"], cell["method"]


def _gathered(tables: Iterable[pd.DataFrame | None], columns: tuple[str, ...]) -> pd.DataFrame:
    """Concatenate the tables that are there; a column that one of them lacks is NaN."""
    found = [table.reindex(columns=list(columns)) for table in tables if table is not None]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(columns))
