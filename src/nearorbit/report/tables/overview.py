"""The main table: how the methods rank in each metric, over all systems.

Values of different systems are not averaged: an error of 0.1 is much on one and little on another, and what has a unit
has another one in each. Ranks can be (:mod:`nearorbit.evaluation.standings`); by how much a method changes a metric is
in the table ``comparison``, the values themselves in those of the metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.standings import places
from nearorbit.report.tables.base import HEADLINES, MISSING, Table, check_metrics, headers, number
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

CAPTION = (
    "The mean rank of the methods over the systems that all of them have, 1 the best: on each system by the median of "
    "the seeds, where one that diverged, collapsed or has no value counts behind all others, and equals share a rank. "
    "All: the mean over the metrics. Failed: the share of the seeds that diverged or collapsed. Bold: the best of the "
    "row, by however little."
)
ALL, FAILED = "all", "failed"


@dataclass(frozen=True)
class Overview:
    """The mean rank over systems by metric, that over these metrics, and the share of failed seeds.

    Arguments:
        metrics: The names of the metrics, in the order of the rows.
    """

    metrics: Sequence[str] = HEADLINES
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``; a method that half of the systems lack has no rank."""
        scores = results.table("scores.csv")
        records = standing(scores[scores["metric"].isin(self.metrics)])
        titles = {name: catalogue.entries("metrics")[name].label for name in self.metrics}
        names = {label: name for label, name in headers(results).items() if label != TRUTH}
        wide = records.pivot(index=["data", "quantity"], columns="method", values="value")
        rows = [(d, q) for d in results.data for q in (*titles, ALL, FAILED) if (d, q) in wide.index]
        wide = wide.reindex(rows, columns=list(names)).astype(float)
        share = wide.index.get_level_values("quantity") == FAILED
        text = wide.map(lambda v: MISSING if np.isnan(v) else number(v, digits=2)).mask(
            np.broadcast_to(share[:, None], wide.shape), wide.map(lambda v: MISSING if np.isnan(v) else f"{v:.0%}")
        )
        best = wide.eq(wide.min(axis=1), axis=0) & (wide.nunique(axis=1) > 1).to_numpy()[:, None]
        text, best = (t.rename(index=titles, level="quantity").rename(columns=names) for t in (text, best))
        return Table("overview", CAPTION, records, text, best)


def standing(scores: pd.DataFrame) -> pd.DataFrame:
    """Rank methods over systems.

    Arguments:
        scores: Rows of ``scores.csv``.

    Returns:
        A row per data, method and quantity, which is a metric, ``all`` or ``failed``, with columns ``(data, quantity,
        method, value, systems)``: mean ranks over so many systems, and shares of seeds.
    """
    rivals, rows = scores[scores["method"] != TRUTH], []
    for (data, metric), of in rivals.groupby(["data", "metric"], sort=False):
        placed = places(of)
        rows += [(data, metric, method, rank, len(placed)) for method, rank in placed.mean().items()]
    table = pd.DataFrame(rows, columns=["data", "quantity", "method", "value", "systems"])
    cells = table.groupby(["data", "method"], sort=False)
    whole = cells["quantity"].transform("size") == table.groupby("data")["quantity"].transform("nunique")
    over = table[whole].groupby(["data", "method"], sort=False).agg(value=("value", "mean"), systems=("systems", "min"))
    seeds = rivals.drop_duplicates(["system", "data", "method", "seed"])
    failed = seeds.assign(value=seeds["status"] != "ok").groupby(["data", "method"], sort=False)
    shares = failed.agg(value=("value", "mean"), systems=("system", "nunique"))
    rest = [part.reset_index().assign(quantity=name) for name, part in ((ALL, over), (FAILED, shares))]
    return pd.concat([table, *rest], ignore_index=True)


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"overview": Overview}
