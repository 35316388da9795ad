"""One table per metric, under the metric's name: systems and data against methods."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import (
    FLOOR,
    MARKS,
    MISSING,
    Table,
    given,
    headers,
    mean_and_deviation,
    spread_out,
    summary,
    texts,
)
from nearorbit.study import catalogue


@dataclass(frozen=True)
class ByMetric:
    """Mean and standard deviation of a metric over the seeds, for every cell and for the truth in a model's place.

    Arguments:
        metric: The name of the metric.
    """

    metric: str
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``; what a method is given stands next to its name."""
        scores = results.table("scores.csv")
        records = summary(scores[scores["metric"] == self.metric])
        records["given"] = records["method"].map(given(results))
        index = ["system", "data", "method"]
        rows = pd.MultiIndex.from_product([results.systems, results.data], names=["system", "data"])
        cells = spread_out(texts(records, index, mean_and_deviation), headers(results), rows).fillna(MISSING)
        best = spread_out(records.set_index(index)["best"], headers(results), rows).eq(True)
        return Table(self.metric, self._caption(), records, cells, best)

    def _caption(self) -> str:
        metric = catalogue.entries("metrics")[self.metric]
        title = metric.title[0].upper() + metric.title[1:]
        return (
            f"{title}, {metric.better} is better: mean ± standard deviation over the seeds whose value is defined. "
            f"Failed seeds diverged or collapsed. {MARKS + ' ' if 'spectrum' in metric.needs else ''}{FLOOR} "
            "Bold, of the methods without a failed seed: fewest undefined values, then best mean."
        )


def entries() -> dict[str, Any]:
    """Export a table for each metric of the catalogue."""
    return {name: partial(_table, name) for name in catalogue.entries("metrics")}


def _table(metric: str) -> ByMetric:
    """This metric, mean and deviation over the seeds, of every cell."""
    return ByMetric(metric)
