"""Each method against a reference, with the system as the unit: how much it changes each metric, and how sure that is.

The definitions, and how failures count, are those of :mod:`nearorbit.evaluation.statistics`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.statistics import FEWEST, LEVEL, effects
from nearorbit.report.tables.base import (
    FLOOR,
    HEADLINES,
    MISSING,
    Table,
    check_metrics,
    given,
    headers,
    interval,
    spread_out,
    texts,
    unmarked,
    wins,
)
from nearorbit.study import catalogue

INDEX = ["data", "method", "metric"]
CAPTION = (
    "The ratio of each method to {reference}{on}: of medians over seeds, the median over systems, [its {level:.0%} "
    "interval] by a bootstrap over systems and seeds within, or (the range over the systems) where they are fewer than "
    "{enough}, and on how many the method has the better value. "
    "Seeds that diverged, collapsed or have no value count behind all values: ∞ is lost by them, 0 is won by those of "
    "{reference}, and the other way about where higher is better. Failed: seeds that diverged or collapsed. Bold: the "
    "interval lies on the better side of one, for a method from data alone that keeps more than half of its seeds. *: "
    "p < 0.05 by Wilcoxon's signed-rank test over {enough} systems or more, corrected by Holm's method for all methods "
    "of a column and kind of data. {floor}{few}{found}"
)


@dataclass(frozen=True)
class Comparison:
    """The effect of every method on every metric, relative to the reference, by data.

    Arguments:
        reference: The label of the reference; the first method of the study if None.
        reference_data: Its kind of data; that of each method if None.
        metrics: The names of the metrics, one column each.
    """

    reference: str | None = None
    reference_data: str | None = None
    metrics: Sequence[str] = HEADLINES
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self) -> None:
        check_metrics(self.metrics)

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv`` and ``costs.csv``; a method without a system in common has no row."""
        reference = self.reference or results.methods[0]
        scores = results.table("scores.csv")
        scores = scores[scores["metric"].isin(self.metrics)]
        records = effects(scores, reference=reference, reference_data=self.reference_data)
        told = set(zip(records["data"], records["method"], strict=True))
        itself = {(data, reference) for data, _ in told if data == (self.reference_data or data)}
        rows = pd.MultiIndex.from_tuples(
            [row for row in product(results.data, results.judged) if row in told | itself], names=INDEX[:2]
        )
        titles = {name: catalogue.entries("metrics")[name].label for name in self.metrics}
        cells = spread_out(texts(records, INDEX, _text), titles, rows)
        cells[rows.isin(itself)] = "1"
        best = spread_out(texts(records, INDEX, lambda row: row["verdict"]), titles, rows).eq("better")
        best[rows.isin(unmarked(results, scores))] = False
        cells, best = cells.fillna(MISSING).assign(failed=_failures(scores, rows)), best.assign(failed=False)
        known = given(results)
        index = pd.MultiIndex.from_tuples(
            [(*row, known.get(row[1], MISSING)) for row in rows], names=[*INDEX[:2], "given"]
        )
        cells, best = cells.set_axis(index), best.set_axis(index)
        return Table("comparison", self._caption(records, reference, headers(results)), records, cells, best)

    def _caption(self, records: pd.DataFrame, reference: str, names: Mapping[str, str]) -> str:
        systems = records["systems"].max() if len(records) else FEWEST
        few = f" {systems} systems decide nothing." if systems < FEWEST else ""
        on = f" on {self.reference_data} data" if self.reference_data else " on the same data"
        found = _found(records[records["metric"] == self.metrics[0]], self.metrics[0], reference, names)
        known = {"level": LEVEL, "enough": FEWEST, "floor": FLOOR}
        return CAPTION.format(reference=reference, on=on, few=few, found=found, **known)


def _found(records: pd.DataFrame, metric: str, reference: str, names: Mapping[str, str]) -> str:
    """Say which methods an interval tells to be better or worse than the reference, by data; empty for none. They are
    named with what they are given."""
    told = records[records["verdict"] != ""]
    label = catalogue.entries("metrics")[metric].label
    groups = [
        f"{data}: {word} than {reference} {'is' if len(rows) == 1 else 'are'} {', '.join(rows['method'].map(names))}"
        for (data, word), rows in told.groupby(["data", "verdict"], sort=False)
    ]
    return f" By {label}, on {'; '.join(groups)}." if groups else ""


def _failures(scores: pd.DataFrame, rows: pd.MultiIndex) -> list[str]:
    """Count the seeds that diverged or collapsed, of all, by data and method."""
    seeds = scores.drop_duplicates(["system", "data", "method", "seed"])
    failed = (seeds["status"] != "ok").groupby([seeds["data"], seeds["method"]]).agg(["sum", "size"])
    return [f"{failed['sum'][row]}/{failed['size'][row]}" for row in rows]


def _text(row: pd.Series) -> str:
    star = "*" if row["p"] < 0.05 else ""
    return f"{interval(row)} {wins(row)}{star}"


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"comparison": Comparison}
