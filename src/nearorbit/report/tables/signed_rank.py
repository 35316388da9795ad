"""One method against another, with the system as the unit: a comparison that a study declares before it runs.

Each system counts once, with the median of its seeds, failed ones worse than any. The ratios of the systems are
compared with one by the signed-rank test of Wilcoxon; with more than one metric its p-values are corrected by Holm's
method, so that the chance of any false finding in the table is at most that of one. The definitions, and how failures
count, are those of :mod:`nearorbit.evaluation.statistics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation import statistics
from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.statistics import FAILED, FEWEST, LEVEL, ROUNDING, by_system, by_values, holm, paired
from nearorbit.report.tables.base import MISSING, Table, check_metrics, interval, number, ratio, wins
from nearorbit.study import catalogue

COLUMNS = ["metric", "system", "value", "of_reference", "ratio", "by_values", *FAILED, "counts", "p"]
CAPTION = (
    "{method} on {data} data over {reference} on {reference_data} data: ratios of medians over seeds. Those that "
    "diverged, collapsed or have no value are worse than any value (0, ∞: one of the two medians is so; equal: both "
    "are; †: they change the ratio). Over systems, each once: the median ratio [its {level:.0%} interval by a "
    "bootstrap over systems and seeds within] or (the range over the systems, too few for one), on how many the method "
    "has the better value, and p of Wilcoxon's signed-rank test, corrected by Holm's method for {metrics}; of fewer "
    "than {enough} systems there is no test.{by_values}{without}"
)
BY_VALUES = (
    " By their values: the same where seeds that diverged or collapsed count by the values that they have, which "
    "flatters what fails; it tells how much rests on failures."
)
ROWS = ["median [interval]", "better on", "p"]


@dataclass(frozen=True)
class SignedRank:
    """The ratio of a method to a reference on every system, and how sure it is that it is not one.

    Arguments:
        method: The label of the method; the last of the study if None.
        reference: The label of the reference; the first of the study if None.
        metrics: The names of the metrics.
        data: The kind of data of the method; the first of the study if None.
        reference_data: That of the reference; the same if None.
        without: Systems that do not count, as those on which settings were chosen; they are told all the same.
    """

    method: str | None = None
    reference: str | None = None
    metrics: Sequence[str] = ("jacobian_error", "lyapunov_distance")
    data: str | None = None
    reference_data: str | None = None
    without: Sequence[str] = ()
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv"})

    def __post_init__(self) -> None:
        check_metrics(self.metrics)

    def sides(self, results: Results) -> tuple[tuple[str, str], tuple[str, str]]:
        """Name the method and its kind of data, and the reference and that of it, as far as they are left out."""
        data = self.data or next(iter(results.data))
        return (
            (self.method or results.methods[-1], data),
            (self.reference or results.methods[0], self.reference_data or data),
        )

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``; a system of which either is missing leaves a gap, and does not count."""
        sides = (method, of), (reference, other) = self.sides(results)
        pairs = against(results.table("scores.csv"), *sides, metrics=self.metrics)
        records, found = compared(pairs, without=self.without)
        label = {name: catalogue.entries("metrics")[name].label for name in self.metrics}
        texts = records.assign(text=[_text(row) for _, row in records.iterrows()])
        systems = sorted(results.systems, key=lambda system: system in self.without)  # those that count stand first
        cells = texts.pivot(index="system", columns="metric", values="text").reindex(systems, columns=[*self.metrics])
        cells.index = pd.Index([f"({s})" if s in self.without else s for s in systems])
        summaries = {"": found}
        if failed := bool(records.loc[records["counts"], FAILED].any(axis=None)):
            summaries["by their values: "] = _over_systems(by_values(pairs), without=self.without)
        for how, rows in summaries.items():
            columns = {name: _summary(rows.loc[name]) for name in rows.index}
            cells = pd.concat([cells, pd.DataFrame(columns, [f"{how}{row}" for row in ROWS])])
        cells = cells.fillna(MISSING)
        cells = cells.rename(columns=label).rename_axis(index="system", columns=None)
        left_out = " Systems in parentheses do not count: settings were chosen on them." if self.without else ""
        names = {"method": method, "data": of, "reference": reference, "reference_data": other}
        names |= {"by_values": BY_VALUES if failed else "", "without": left_out}
        caption = CAPTION.format(**names, level=LEVEL, enough=FEWEST, metrics=len(self.metrics))
        return Table("signed_rank", caption, records, cells, cells.map(lambda _: False))


def against(
    scores: pd.DataFrame, method: tuple[str, str], reference: tuple[str, str], *, metrics: Sequence[str]
) -> pd.DataFrame:
    """Pair the seeds of one method with those of another.

    Arguments:
        scores: Rows of ``scores.csv``.
        method: The label of a method, and of its kind of data.
        reference: Those of the reference.
        metrics: The names of the metrics.
    """
    sides = [(scores["method"] == label) & (scores["data"] == data) for label, data in (method, reference)]
    rows = scores[(sides[0] | sides[1]) & scores["metric"].isin(metrics)]
    return paired(rows, reference=reference[0], reference_data=reference[1])


def compared(pairs: pd.DataFrame, *, without: Sequence[str] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare the sides of pairs by systems.

    Arguments:
        pairs: As :func:`against` makes them.
        without: Systems that do not count.

    Returns:
        A row per metric and system that both have, with columns ``(metric, system, value, of_reference, ratio,
        by_values, failed, failed_of_reference, counts, p)``: medians over seeds and their ratio, that with failed seeds
        by their values, how many of these failed, whether the system counts, and the corrected p-value of the metric;
        and a row per metric, over the systems that count, with the columns of
        :func:`nearorbit.evaluation.statistics.compared`, ``systems`` and ``p``.
    """
    records, found = by_system(pairs, over=["metric"]), _over_systems(pairs, without=without)
    valued = by_system(by_values(pairs), over=["metric"])["ratio"]
    counts = ~records["system"].isin(without)
    return records.assign(by_values=valued, counts=counts, p=records["metric"].map(found["p"]))[COLUMNS], found


def _over_systems(pairs: pd.DataFrame, *, without: Sequence[str]) -> pd.DataFrame:
    """Compare the sides of pairs over the systems that count, a row per metric."""
    counted = pairs[~pairs["system"].isin(without)]
    found = pd.DataFrame(statistics.compared(counted, over=["metric"]), counted["metric"].unique())
    return found.assign(systems=counted.groupby("metric")["system"].nunique(), p=holm(found["p_alone"]))


def _text(row: pd.Series) -> str:
    own, other = row[FAILED]
    both = row["value"] == row["of_reference"] and own and other
    moved = not np.isclose(row["ratio"], row["by_values"], rtol=ROUNDING, atol=0)
    failed = f"{' †' * moved} ({own} and {other} failed)" if own or other else ""
    return ("equal" if both else ratio(row["ratio"])) + failed


def _summary(row: pd.Series) -> list[str]:
    return [interval(row), wins(row).replace("/", " of "), number(row["p"], digits=2)]


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"signed_rank": SignedRank}
