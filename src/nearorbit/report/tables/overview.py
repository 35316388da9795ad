"""The main table: how the methods rank in each metric, over all systems.

Values of different systems are not averaged: an error of 0.1 is much on one and little on another, and what has a unit
has another one in each. Ranks can be (:mod:`nearorbit.evaluation.standings`); by how much a method changes a metric is
in the table ``comparison``, the values themselves in those of the metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.standings import places
from nearorbit.report.tables.base import (
    HEADLINES,
    MISSING,
    Table,
    check_metrics,
    headers,
    number,
    spread_out,
    texts,
    unmarked,
)
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

CAPTION = (
    "The mean rank of the methods over the systems that all of them have, 1 the best: on each system by the median of "
    "the seeds, where one that diverged, collapsed or has no value counts behind all others, and equals share a rank. "
    "All: the mean over the metrics. Failed: the share of the seeds that diverged or collapsed (of how many "
    "systems). Bold: the best of the row, by however little, of the methods from data alone that have as many "
    "systems as any and keep more than half of their seeds."
)
ALL, FAILED = "all", "failed"
INDEX = ["data", "quantity"]


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
        scores = scores[scores["metric"].isin(self.metrics)]
        records = standing(scores)
        records = records.assign(best=_best(records, unmarked(results, scores)))
        titles = {name: catalogue.entries("metrics")[name].label for name in self.metrics}
        names = {label: name for label, name in headers(results).items() if label != TRUTH}
        rows = pd.MultiIndex.from_product([results.data, (*titles, ALL, FAILED)], names=INDEX)
        rows = rows[rows.isin(pd.MultiIndex.from_frame(records[INDEX]))]
        cells = spread_out(texts(records, [*INDEX, "method"], _text), names, rows).fillna(MISSING)
        best = spread_out(records.set_index([*INDEX, "method"])["best"], names, rows).eq(True)
        cells, best = (t.rename(index=titles, level="quantity") for t in (cells, best))
        return Table("overview", CAPTION, records, cells, best)


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


def _best(records: pd.DataFrame, unmarked: pd.MultiIndex) -> pd.Series:
    """Mark the least value of each row of the table, over as many systems as any has, unless all are alike."""
    few = records["systems"] < records.groupby(INDEX)["systems"].transform("max")
    value = records["value"].mask(few | pd.MultiIndex.from_frame(records[unmarked.names]).isin(unmarked))
    rivals = value.groupby([records[name] for name in INDEX])
    return value.eq(rivals.transform("min")) & rivals.transform("nunique").gt(1)


def _text(row: pd.Series) -> str:
    return f"{row['value']:.0%} ({row['systems']})" if row["quantity"] == FAILED else number(row["value"], digits=2)


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"overview": Overview}
