"""The main table: each method's metrics over all systems."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import (
    FLOOR,
    HEADLINES,
    MARKS,
    MISSING,
    Table,
    check_metrics,
    headers,
    higher,
    loss,
    number,
    order,
    spread_out,
    summary,
    texts,
    unconverged,
)
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

CAPTION = (
    "Median over the systems of the mean over the seeds; mean rank among the methods, over systems, seeds and these "
    "metrics, where a seed that diverged or collapsed ranks behind all others; share of seeds that failed so. "
    f"{MARKS} {FLOOR} It takes no rank. Bold: best of the row, of a metric among the methods without a failed seed."
)
INDEX = ["data", "quantity", "method"]


@dataclass(frozen=True)
class Overview:
    """The median over the systems of the mean over the seeds, the mean rank, and the share of failed seeds.

    A system where the metric is undefined for all seeds of a method counts as its worst one, so that no median is over
    friendlier systems than another. Ranks are over methods, within each system, data, metric and seed, where failed
    seeds come last; ties share the mean.

    Arguments:
        metrics: The names of the metrics, in the order of the rows.
    """

    metrics: Sequence[str] = HEADLINES
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``."""
        scores = results.table("scores.csv")
        records = over_systems(scores[scores["metric"].isin(self.metrics)])
        titles = {name: catalogue.entries("metrics")[name].title for name in self.metrics}
        text = spread_out(texts(records, INDEX, _text), headers(results)).fillna(MISSING)
        best = spread_out(records.set_index(INDEX)["best"], headers(results)).eq(True)
        order = [row for row in product(results.data, [*titles, "mean rank", "failed"]) if row in text.index]
        text, best = (table.reindex(order).rename(index=titles, level="quantity") for table in (text, best))
        return Table("overview", CAPTION, records.drop(columns="loss"), text, best)


def over_systems(scores: pd.DataFrame) -> pd.DataFrame:
    """Reduce scores over their systems and seeds.

    Arguments:
        scores: Rows of ``scores.csv``.

    Returns:
        A row per data, method and quantity, which is a metric, ``mean rank`` or ``failed``, with columns ``(data,
        method, quantity, loss, failed, unconverged, value, best)``. Of a metric, ``failed`` and ``unconverged`` count
        the seeds; of a rank, ``failed`` tells whether all did. What has failed is not the best.
    """
    cells, rivals, group = summary(scores), scores[scores["method"] != TRUTH], ["data", "method"]
    cells = cells.assign(loss=loss(cells["mean"], cells["metric"]), share=cells["failed"] / cells["seeds"])
    ranks = order(rivals).groupby([rivals[name] for name in ("system", "data", "metric", "seed")]).rank()
    sums = {name: (name, "sum") for name in ("failed", "unconverged")}
    medians = cells.groupby([*group, "metric"]).agg(loss=("loss", "median"), **sums).reset_index()
    ranks = rivals.assign(loss=ranks, metric="mean rank", failed=rivals["status"] != "ok").groupby([*group, "metric"])
    ranks = ranks.agg(loss=("loss", "mean"), failed=("failed", "min")).reset_index()  # of one that did not always fail
    shares = cells.assign(loss=cells["share"], metric="failed").groupby([*group, "metric"])["loss"].mean().reset_index()
    records = pd.concat([medians, ranks, shares.assign(failed=shares["loss"])]).rename(columns={"metric": "quantity"})
    records = records.astype({"failed": float}).fillna({"unconverged": 0}).reset_index(drop=True)
    finite = records["loss"].astype(float).where(np.isfinite(records["loss"].astype(float)))
    rivaling = finite.where((records["failed"] == 0) & (records["method"] != TRUTH))
    least = rivaling.groupby([records["data"], records["quantity"]]).transform("min")
    value = finite.mask(records["quantity"].isin(higher()), -finite)
    return records.assign(value=value, best=rivaling == least)


def _text(row: pd.Series) -> str:
    if row["quantity"] == "failed":
        return f"{row['value']:.0%}"
    return number(row["value"]) + unconverged(int(row["unconverged"]))


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"overview": Overview}
