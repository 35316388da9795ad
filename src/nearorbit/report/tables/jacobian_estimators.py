"""Jacobians estimated from data alone by local fits, next to those of the trained fields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit.evaluation.metrics.base import leading_exponent
from nearorbit.evaluation.metrics.jacobian_error import jacobian_errors
from nearorbit.evaluation.metrics.lyapunov_distance import lyapunov_distance
from nearorbit.evaluation.scores import Results, status
from nearorbit.report.tables.base import (
    FLOOR,
    MISSING,
    Table,
    failures,
    given,
    given_more,
    headers,
    number,
    spread_out,
    summary,
)
from nearorbit.study.catalogue import TRUTH

IDENTITY = ("system", "data", "noise", "estimator", "kind")
QUARTILES = {"lower_quartile": 0.25, "jacobian_error": 0.5, "upper_quartile": 0.75}
COLUMNS = (*IDENTITY, "given", "seed", *QUARTILES, "leading_exponent", "true_leading_exponent", "lyapunov_distance",
           "status")  # fmt: skip
CAPTION = (
    "Relative error of the Jacobian at unseen states, lower is better: mean over the seeds of the median over the "
    f"states. Local fits see the training data alone. Failed seeds diverged or collapsed. {FLOOR} Bold: the best of "
    "the column from data alone, without a failed seed."
)


@dataclass(frozen=True)
class JacobianEstimators:
    """The Jacobian error of local fits and of trained fields, with the exponents that belong to them.

    Local fits come first, then the truth and the methods of the study. The printed table has the mean over the seeds of
    the median error; the quartiles over the states and the exponents are in the records.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"estimators.nc", "truth.nc", "forecast.nc", "costs.csv"})

    def table(self, results: Results) -> Table:
        """Make the table; a file that is missing leaves a gap."""
        rows = [row for identity, *tables in candidates(results) for row in _rows(identity, *tables)]
        records = pd.DataFrame(rows, columns=list(COLUMNS))
        records["given"] = records["estimator"].map(given(results)).mask(records["kind"] == "data", "data")
        fits = records.loc[records["kind"] == "data", "estimator"].unique()
        names = labels(fits, results)
        columns = {label: ", ".join(label) for label in product(results.systems, results.data)}
        cells = _means(records, beside=given_more(results)).set_index(["row", "cell"])
        text, best = (
            spread_out(cells[name], columns).reindex(list(names)).rename(names).rename_axis("Jacobian of")
            for name in ("text", "best")
        )
        return Table("jacobian_estimators", CAPTION, records, text.fillna(MISSING), best.eq(True))


def candidates(results: Results) -> Iterator[tuple[dict[str, Any], xr.Dataset, xr.Dataset]]:
    """Iterate over all that has Jacobians where the truth is known.

    Returns:
        The identity, with keys ``(system, data, noise, estimator, kind)``, the truth and the table judged against it.
        ``kind`` is ``data`` for local fits, which come first in each system and data, and ``field`` for the true and
        the trained fields, whose estimator is their method.
    """
    for system, (data, noise) in product(results.systems, results.data.items()):
        if (truth := results.open("truth.nc", system, data)) is None:
            continue
        cell = {"system": system, "data": data, "noise": noise}
        if (fits := results.open("estimators.nc", system, data)) is not None:
            for name in fits["estimator"].to_numpy():
                yield {**cell, "estimator": str(name), "kind": "data"}, truth, fits.sel(estimator=name, drop=True)
        for method in results.judged:
            if (forecast := results.open("forecast.nc", system, data, method)) is not None:
                yield {**cell, "estimator": method, "kind": "field"}, truth, forecast


def labels(fits: Any, results: Results) -> dict[tuple[str, str], str]:
    """Name local fits, truth and methods in print: ``{("data", "linear"): "linear (local fit)"}`` by kind and label."""
    printed = {("data", name): f"{name} (local fit)" for name in fits}
    return printed | {("field", method): header for method, header in headers(results).items()}


def _rows(identity: dict[str, Any], truth: xr.Dataset, table: xr.Dataset) -> list[dict[str, Any]]:
    with xr.set_options(arithmetic_join="exact"):
        errors = jacobian_errors(truth, table)
        columns = {
            **{name: errors.quantile(share, "point", skipna=False) for name, share in QUARTILES.items()},
            "leading_exponent": leading_exponent(table),
            "true_leading_exponent": leading_exponent(truth),
            "lyapunov_distance": lyapunov_distance(truth, table),
            "status": status(table) if identity["kind"] == "field" else xr.full_like(table["seed"], "ok", dtype=object),
        }
    seeds = pd.DataFrame({name: values.reset_coords(drop=True).to_series() for name, values in columns.items()})
    return [{**identity, **row} for row in seeds.reset_index().to_dict("records")]


def _means(records: pd.DataFrame, *, beside: Sequence[str]) -> pd.DataFrame:
    """The printed cells: columns row (kind, estimator), cell (system, data), text and whether it is the best, of all
    but the methods beside."""
    names = list(zip(records["kind"], records["estimator"], strict=True))
    scores = records.assign(
        method=[TRUTH if name == TRUTH else (kind, name) for kind, name in names],
        metric="jacobian_error",
        unit="1",
        value=records["jacobian_error"],
        stderr=np.nan,
        converged=np.nan,
    )
    means = summary(scores, beside=[("field", method) for method in beside])
    text = [number(row["mean"]) + failures(row) for _, row in means.iterrows()]
    row = [("field", TRUTH) if method == TRUTH else method for method in means["method"]]
    cell = list(zip(means["system"], means["data"], strict=True))
    return pd.DataFrame({"row": row, "cell": cell, "text": text, "best": means["best"]})


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"jacobian_estimators": JacobianEstimators}
