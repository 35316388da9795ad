"""What the error of a learned field shifts each Lyapunov exponent by: predicted at first order, and found."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit.evaluation.resolved import PREDICTIONS
from nearorbit.evaluation.scores import CELL, Results
from nearorbit.report.tables.base import MARKS, Table, headers, number, unconverged, with_error

VALUES = ("found", "learned_stderr", *(f"{name}{suffix}" for name in PREDICTIONS for suffix in ("", "_stderr")))
COLUMNS = (*CELL, "seed", "index", "true", "true_stderr", *VALUES, "displacement", "scatter", "distinct", "converged")
PREDICTED = {"moved": "predicted, moved attractor", "fixed": "predicted, true orbit"}
PRINTED = ("exponent", "true", "found", *PREDICTED.values(), "moved by", "scatter")
INDEX = ["system", "data", "method"]
CAPTION = (
    "Lyapunov exponents, and their shifts by what a learned field errs, per unit of system time. Found: the learned "
    "exponent on the learned attractor less the true one. Predicted at first order: of the moved attractor, whose "
    "orbits move with the field, to be held against what was found; and along the true orbit, by the error of the "
    "Jacobian alone. Moved by: how far orbits move, relative to the attractor (99 % quantile); first order needs it to "
    "be small. Scatter: the standard deviation of the error of the Jacobian over the attractor, in covariant vectors. "
    "Means over the seeds ± their standard errors from finite orbits. *: vectors that are not defined one by one, "
    f"since exponents are nearly equal. {MARKS}"
)


@dataclass(frozen=True)
class ExponentShifts:
    """The shifts of the Lyapunov exponents, found and predicted from the error of the field.

    A system without covariant vectors is left out. The records have a row for each seed, and the shift of the moved
    orbit alone, too, without the change of what orbits weigh.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"truth.nc", "forecast.nc", "costs.csv"})

    def table(self, results: Results) -> Table:
        """Make the table; a file that is missing leaves a gap."""
        records = shifts(results)
        named = headers(results)
        groups = records.groupby([*CELL, "index"], sort=False)
        rows = [{**dict(zip(CELL, key, strict=False)), **_text(rows)} for key, rows in groups]
        cells = pd.DataFrame(rows, columns=[*INDEX, *PRINTED])
        cells = cells.assign(method=cells["method"].map(named)).set_index([*INDEX, "exponent"])
        return Table("exponent_shifts", CAPTION, records, cells, cells.map(lambda _: False).astype(bool))


def shifts(results: Results) -> pd.DataFrame:
    """List found and predicted shifts of all cells whose truth has covariant vectors, a row per seed and exponent."""
    tables = [_cell(*found) for found in _candidates(results)]
    known = [table for table in tables if table["fixed"].notna().any()]
    return pd.concat(known, ignore_index=True)[list(COLUMNS)] if known else pd.DataFrame(columns=list(COLUMNS))


def _candidates(results: Results) -> Iterator[tuple[dict[str, Any], xr.Dataset, xr.Dataset]]:
    for system, (data, noise) in product(results.systems, results.data.items()):
        if (truth := results.open("truth.nc", system, data)) is None:
            continue
        for method in results.judged:
            forecast = results.open("forecast.nc", system, data, method)
            if forecast is not None and "shift" in forecast:
                yield dict(zip(CELL, (system, data, noise, method), strict=True)), truth, forecast


def _cell(cell: dict[str, Any], truth: xr.Dataset, forecast: xr.Dataset) -> pd.DataFrame:
    values = {
        "true": truth["exponents"],
        "true_stderr": truth["stderr"],
        "found": forecast["exponents"] - truth["exponents"],
        "learned_stderr": forecast["stderr"],
        "displacement": forecast["displacement"],
        "scatter": forecast["shift_scatter"],
        "distinct": forecast["shift_distinct"],
        "converged": (truth["converged"] * forecast["converged"] > 0).astype(int),
    }
    for name in ("shift", "shift_stderr"):
        suffix = name.removeprefix("shift")
        values |= {f"{p}{suffix}": forecast[name].sel(prediction=p, drop=True) for p in PREDICTIONS}
    plain = {
        name: value.reset_coords(drop=True).drop_vars("exponent", errors="ignore") for name, value in values.items()
    }
    rows = xr.Dataset(plain).to_dataframe(dim_order=["seed", "exponent"]).reset_index()
    return rows.assign(index=rows["exponent"] + 1, **cell)


def _text(rows: pd.DataFrame) -> dict[str, str]:
    """What is printed of the seeds of a cell and exponent; they share the truth, and the orbits of predictions."""
    mean, error = rows.mean(numeric_only=True), rows["learned_stderr"]
    found = np.hypot(np.sqrt(np.square(error).sum()) / len(rows), mean["true_stderr"])
    predicted = {title: with_error(mean[name], mean[f"{name}_stderr"]) for name, title in PREDICTED.items()}
    return {
        "exponent": f"{rows['index'].iloc[0]}{'' if rows['distinct'].all() else ' *'}",
        "true": with_error(mean["true"], mean["true_stderr"]),
        "found": with_error(mean["found"], found) + unconverged(int((rows["converged"] == 0).sum())),
        **predicted,
        "moved by": number(mean["displacement"]),
        "scatter": number(mean["scatter"]),
    }


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"exponent_shifts": ExponentShifts}
