"""The values: one table of the metrics that are named, and one per metric under its name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import (
    FLOOR,
    HEADLINES,
    MARKS,
    MISSING,
    Table,
    check_metrics,
    given,
    given_more,
    headers,
    mean_and_deviation,
    spread_out,
    summary,
    texts,
)
from nearorbit.study import catalogue

INDEX = ["system", "data", "metric"]


@dataclass(frozen=True)
class Values:
    """Mean and standard deviation of metrics over the seeds, for every cell and for the truth in a model's place.

    Arguments:
        metrics: The names of the metrics, a row each for every system and kind of data.
    """

    metrics: Sequence[str] = HEADLINES
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self) -> None:
        check_metrics(self.metrics)

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``; what a method is given stands next to its name."""
        scores = results.table("scores.csv")
        records = summary(scores[scores["metric"].isin(self.metrics)], beside=given_more(results))
        records["given"] = records["method"].map(given(results))
        rows = pd.MultiIndex.from_product([results.systems, results.data, self.metrics], names=INDEX)
        cells = spread_out(texts(records, [*INDEX, "method"], mean_and_deviation), headers(results), rows)
        best = spread_out(records.set_index([*INDEX, "method"])["best"], headers(results), rows).eq(True)
        titles = {name: metric.title for name, metric in catalogue.entries("metrics").items()}
        cells, best = (t.rename(index=titles, level="metric") for t in (cells.fillna(MISSING), best))
        return Table("values", self._caption(), records, cells, best)

    def _caption(self) -> str:
        metrics = [catalogue.entries("metrics")[name] for name in self.metrics]
        marks = MARKS + " " if any("spectrum" in metric.needs for metric in metrics) else ""
        better = {f"{metric.better} is better" for metric in metrics}
        what = f"{metrics[0].title}, {better.pop()}" if len(metrics) == 1 else "Values"
        return (
            f"{what[0].upper()}{what[1:]}: mean ± standard deviation over the seeds whose value is defined. "
            f"Failed seeds diverged or collapsed. {marks}{FLOOR} "
            "Bold, of the methods from data alone without a failed seed: fewest undefined values, then best mean."
        )


@dataclass(frozen=True)
class ByMetric:
    """One metric of :class:`Values`.

    Arguments:
        metric: The name of the metric.
    """

    metric: str
    reads: ClassVar[frozenset[str]] = Values.reads

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``."""
        table = Values([self.metric]).table(results)
        return replace(
            table, name=self.metric, cells=table.cells.droplevel("metric"), best=table.best.droplevel("metric")
        )


def entries() -> dict[str, Any]:
    """Export the table of all, and one for each metric of the catalogue."""
    return {"values": Values, **{name: partial(_table, name) for name in catalogue.entries("metrics")}}


def _table(metric: str) -> ByMetric:
    """This metric, mean and deviation over the seeds, of every cell."""
    return ByMetric(metric)
