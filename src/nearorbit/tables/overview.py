"""The main table: each method's metrics over all systems."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit import catalogue
from nearorbit.scores import Results
from nearorbit.tables.base import HEADLINES, MISSING, Table, check_metrics, headers, loss, number, spread_out, summary

CAPTION = (
    "Median over the systems of the mean over the seeds; mean rank of the method over the systems and these metrics; "
    "share of seeds that diverged or collapsed. Bold: best of the row."
)


@dataclass(frozen=True)
class Overview:
    """The median over the systems of the mean over the seeds, the mean rank, and the share of failed seeds.

    A system where the metric is undefined for all seeds of a method counts as its worst one, so that no median is over
    friendlier systems than another. Ranks are over methods, within each system, data and metric; ties share the better.

    Arguments:
        metrics: The names of the metrics, in the order of the rows.
    """

    metrics: Sequence[str] = HEADLINES
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``."""
        scores = results.read("scores.csv")
        cells = summary(scores[scores["metric"].isin(self.metrics)])
        records = over_systems(cells.assign(loss=loss(cells)))
        titles = {name: catalogue.entries("metrics")[name].title for name in self.metrics}
        rows = records.set_index(["data", "quantity", "method"])
        text = spread_out(rows.apply(_text, axis=1), headers(results)).fillna(MISSING)
        best = spread_out(rows["best"], headers(results)).eq(True)
        order = [row for row in product(results.data, [*titles, "mean rank", "failed"]) if row in text.index]
        text, best = (table.reindex(order).rename(index=titles, level="quantity") for table in (text, best))
        return Table("overview", CAPTION, records.drop(columns="loss"), text, best)


def over_systems(cells: pd.DataFrame) -> pd.DataFrame:
    """Reduce a summary over its systems.

    Arguments:
        cells: Rows of a :func:`summary` with their ``loss``.

    Returns:
        A row per data, method and quantity, which is a metric, ``mean rank`` or ``failed``, with columns ``(data,
        method, quantity, value, loss, best)``.
    """
    cells = cells.assign(
        rank=cells.groupby(["system", "data", "metric"])["loss"].rank(method="min"),
        failed=(cells["diverged"] + cells["collapsed"]) / cells["seeds"],
    )
    medians = cells.groupby(["data", "method", "metric"])["loss"].median().rename_axis(["data", "method", "quantity"])
    means = cells.groupby(["data", "method"])[["rank", "failed"]].mean().rename(columns={"rank": "mean rank"})
    records = pd.concat([medians, means.rename_axis(columns="quantity").stack()]).rename("loss").reset_index()
    higher = [name for name, metric in catalogue.entries("metrics").items() if metric.better == "higher"]
    value = records["loss"].mask(records["quantity"].isin(higher), -records["loss"]).where(np.isfinite(records["loss"]))
    least = records.groupby(["data", "quantity"])["loss"].transform("min")
    return records.assign(value=value, best=(records["loss"] == least) & value.notna())


def _text(row: pd.Series) -> str:
    return f"{row['value']:.0%}" if row.name[1] == "failed" else number(row["value"])


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"overview": Overview}
