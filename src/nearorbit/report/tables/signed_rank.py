r"""One method against another, with the system as the unit: a comparison that a study declares before it runs.

Seeds of one system share its dynamics and are no independent evidence for others, so that each system counts once, with
the median of its seeds. The ratios of the systems are compared with one by the signed-rank test of Wilcoxon on their
logarithms; with more than one metric its p-values are corrected by Holm's method, so that the chance of any false
finding in the table is at most that of one.

References:
    | Individual comparisons by ranking methods (Wilcoxon, Biometrics Bulletin, 1945)
    | A simple sequentially rejective multiple test procedure (Holm, Scandinavian Journal of Statistics, 1979)
    | Statistical comparisons of classifiers over multiple data sets (Demsar, JMLR 2006)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import MISSING, Table, check_metrics, higher, number
from nearorbit.study import catalogue

COLUMNS = ["metric", "system", "value", "of_reference", "ratio", "failed", "failed_of_reference", "counts", "p"]


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
        if not self.metrics:
            raise ValueError("metrics: there has to be one")
        check_metrics(self.metrics)

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``; a system of which either is missing leaves a gap, and does not count."""
        data = self.data or next(iter(results.data))
        sides = (
            (self.method or results.methods[-1], data),
            (self.reference or results.methods[0], self.reference_data or data),
        )
        records = compared(results.table("scores.csv"), *sides, metrics=self.metrics, without=self.without)
        label = {name: catalogue.entries("metrics")[name].label for name in self.metrics}
        ratios = records.assign(text=records["ratio"].map(number) + _failures(records)).pivot(
            index="system", columns="metric", values="text"
        )
        systems = sorted(results.systems, key=lambda system: system in self.without)  # those that count stand first
        cells = ratios.reindex(index=systems, columns=list(self.metrics)).fillna(MISSING)
        cells.index = pd.Index([f"({s})" if s in self.without else s for s in systems])
        columns = {name: _summary(records[records["metric"] == name], name) for name in self.metrics}
        cells = pd.concat([cells, pd.DataFrame(columns, index=["median (range)", "better on", "p"])])
        cells = cells.rename(columns=label).rename_axis(index="system", columns=None)
        (method, of), (reference, other) = sides
        left_out = " Systems in parentheses do not count: settings were chosen on them." if self.without else ""
        caption = (
            f"{method} on {of} data over {reference} on {other} data, medians of seeds; a seed without a value is "
            "worse than any. Over systems, each once: the median ratio, on how many the method is better, and p of "
            f"Wilcoxon's signed-rank test, corrected by Holm's method for {len(self.metrics)}.{left_out}"
        )
        return Table("signed_rank", caption, records, cells, cells.map(lambda _: False))


def compared(
    scores: pd.DataFrame,
    method: tuple[str, str],
    reference: tuple[str, str],
    *,
    metrics: Sequence[str],
    without: Sequence[str] = (),
) -> pd.DataFrame:
    """Compare two methods by systems.

    Arguments:
        scores: Rows of ``scores.csv``.
        method: The label of a method, and of its kind of data.
        reference: Those of the reference.
        metrics: The names of the metrics.
        without: Systems that do not count.

    Returns:
        A row per metric and system that both have, with columns ``(metric, system, value, of_reference, ratio, failed,
        failed_of_reference, counts, p)``: medians over seeds, how many of these failed, whether the system counts, and
        the corrected p-value of the metric.
    """
    medians = [_medians(scores[(scores["method"] == m) & (scores["data"] == d)]) for m, d in (method, reference)]
    both = medians[0].join(medians[1], how="inner", rsuffix="_of_reference").reset_index()
    both = both[both["metric"].isin(metrics)].rename(columns={"value_of_reference": "of_reference"})
    with np.errstate(divide="ignore", invalid="ignore"):
        both["ratio"] = both["value"] / both["of_reference"]
    both["counts"] = ~both["system"].isin(without)
    counted = both[both["counts"]].groupby("metric")["ratio"]
    raw = pd.Series({name: _p(ratios.to_numpy()) for name, ratios in counted}, dtype=float)
    return both.assign(p=both["metric"].map(holm(raw)))[COLUMNS]


def holm(p: pd.Series) -> pd.Series:
    """Correct p-values by the method of Holm; those that are undefined stay so, and count."""
    ordered = p.sort_values()
    steps = ordered * np.arange(len(p), 0, -1)
    return steps.cummax().clip(upper=1.0).reindex(p.index)


def _medians(scores: pd.DataFrame) -> pd.DataFrame:
    """The median of the seeds of each metric and system, and how many of them failed."""
    worst = np.where(scores["metric"].isin(higher()), 0.0, np.inf)
    value = scores["value"].astype(float)
    rows = scores.assign(value=value.where(value.notna(), worst), failed=scores["status"] != "ok")
    return rows.groupby(["metric", "system"], sort=False).agg(value=("value", "median"), failed=("failed", "sum"))


def _p(ratios: np.ndarray) -> float:
    """The p-value of the signed-rank test that the logarithms of ratios are symmetric about zero."""
    from scipy.stats import wilcoxon  # here, for every job imports this file and this takes a second

    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(ratios[~np.isnan(ratios)])
    logs = np.clip(logs, -1e9, 1e9)  # a side without a value has the largest rank
    return float(wilcoxon(logs).pvalue) if np.any(logs) else np.nan


def _failures(records: pd.DataFrame) -> pd.Series:
    counts = zip(records["failed"], records["failed_of_reference"], strict=True)
    return pd.Series([f" ({a} and {b} failed)" if a or b else "" for a, b in counts], records.index, dtype=object)


def _summary(rows: pd.DataFrame, metric: str) -> tuple[str, str, str]:
    ratios = rows.loc[rows["counts"], "ratio"].dropna()
    if ratios.empty:
        return (MISSING,) * 3
    better = int(((ratios > 1) if metric in higher() else (ratios < 1)).sum())
    spread = f"{number(ratios.median())} ({number(ratios.min())} to {number(ratios.max())})"
    return spread, f"{better} of {len(ratios)}", number(rows["p"].iloc[0], digits=2)


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"signed_rank": SignedRank}
