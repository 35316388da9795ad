r"""Each method relative to the reference, in one row: what a method is worth at one glance.

Pairs are of the same system, data and seed. Ratios are averaged by the geometric mean, first over the seeds of a system
and then over systems, so that each system counts once,

.. math:: \rho = \exp \Big\langle \Big\langle \log \frac{v}{v_\text{reference}}
    \Big\rangle_{\text{seeds}} \Big\rangle_{\text{systems}},

over the pairs of which both values are defined, and neither is zero. Failed seeds are in it with the values that they
have, and counted; where they have to count as failures, and an interval is asked for, see the table ``comparison``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.evaluation.statistics import paired
from nearorbit.report.tables.base import MISSING, Table, check_metrics, given
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

CAPTION = (
    "Relative to {reference} on the same system, data and seed: geometric mean over seeds and systems, and in brackets "
    "the range over systems, for the kinds of data in their order ({data}). Failed: seeds that diverged or collapsed, "
    "of {seeds}."
)


@dataclass(frozen=True)
class Relative:
    """Ratios to the reference, averaged over seeds and systems, and the seeds that failed: a row for each method.

    Arguments:
        metrics: The names of the metrics; the first has a column for each kind of data, with the range over systems.
        reference: The label of the reference; the first method of the study if None.
        by: The kinds of data whose mean ratio of the first metric orders the methods, after what they are given; all if
            None.
    """

    metrics: Sequence[str] = ("jacobian_error", "lyapunov_distance", "valid_prediction_time")
    reference: str | None = None
    by: Sequence[str] | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv`` and ``costs.csv``."""
        reference, scores, known = self.reference or results.methods[0], results.table("scores.csv"), given(results)
        records = ratios(scores[scores["metric"].isin(self.metrics)], reference)
        records["given"] = records["method"].map(known)
        seeds = scores.drop_duplicates(["system", "data", "method", "seed"])
        failed = (seeds["status"] != "ok").groupby(seeds["method"]).sum()
        order = self._order(results, records, known, reference)
        index = pd.MultiIndex.from_frame(
            pd.DataFrame([(m, known.get(m, MISSING)) for m in order], columns=["method", "given"])
        )
        cells = self._columns(records.set_index(["metric", "data", "method"]), order, list(results.data))
        cells["failed"] = [str(int(failed.get(method, 0))) for method in order]
        table = pd.DataFrame(cells, index, dtype=object)
        total = int(seeds.groupby("method").size().max()) if len(seeds) else 0
        caption = CAPTION.format(reference=reference, data=", ".join(results.data), seeds=total)
        return Table("relative", caption, records, table, table.map(lambda _: False))

    def _columns(self, rows: pd.DataFrame, methods: list[str], data: list[str]) -> dict[str, list[str]]:
        """Write the ratios: a column for the first metric and each kind of data, one for each of the other metrics."""
        first, *others = self.metrics
        label = {name: catalogue.entries("metrics")[name].label for name in self.metrics}
        columns = {f"{label[first]}, {d}": [_text(rows, (first, d, m), wide=True) for m in methods] for d in data}
        for metric in others:
            columns[label[metric]] = [", ".join(_text(rows, (metric, d, m), wide=False) for d in data) for m in methods]
        return columns

    def _order(self, results: Results, records: pd.DataFrame, known: dict[str, str], reference: str) -> list[str]:
        """Order the methods: those given data alone first, each group by its ratios, those without any last."""
        first = records[(records["metric"] == self.metrics[0]) & records["data"].isin(self.by or results.data)]
        mean = np.log(first["ratio"]).groupby(first["method"]).mean()
        others = [method for method in results.methods if method != reference]
        return sorted(others, key=lambda m: (known.get(m, "data") != "data", mean.get(m, np.inf)))


def ratios(scores: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Average the ratios of every method to the reference.

    Arguments:
        scores: Rows of ``scores.csv``.
        reference: The label of the reference.

    Returns:
        A row per metric, data and method but for the reference and the truth, with columns ``(metric, data, method,
        ratio, low, high, systems, pairs)``: the mean over systems, the range over systems, and of how many.
    """
    labels = ["metric", "data", "method"]
    pairs = paired(scores[scores["method"] != TRUTH], reference=reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(pairs["value"] / pairs["value_of_reference"])
    known = pairs.assign(log=logs)[np.isfinite(logs)]
    cells = known.groupby([*labels, "system"], sort=False)["log"]
    systems = cells.agg(log="mean", pairs="size").reset_index().groupby(labels, sort=False)
    table = systems.agg(
        ratio=("log", "mean"), low=("log", "min"), high=("log", "max"), systems=("log", "size"), pairs=("pairs", "sum")
    ).reset_index()
    return table.assign(**{name: np.exp(table[name].astype(float)) for name in ("ratio", "low", "high")})


def _text(rows: pd.DataFrame, label: tuple[str, ...], *, wide: bool) -> str:
    if label not in rows.index:
        return MISSING
    row = rows.loc[label]
    return f"{row['ratio']:.2f}" + (f" ({row['low']:.2f} to {row['high']:.2f})" if wide else "")


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"relative": Relative}
