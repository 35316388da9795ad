r"""Each method against a reference, paired: the same system, data and seed, so the same orbits, noise and weights.

A pair is won by the better value; an undefined value loses against a defined one, and a seed that diverged or collapsed
against one that did not, whatever their values. A pair of equals, of two undefined or of two failed is not counted. The
sign test asks how often as many wins, or losses, would come by tossing a coin,

.. math:: p = P\big(|W - \tfrac n2| \geq |w - \tfrac n2|\big), \qquad W \sim B(n, \tfrac12).

With three seeds a single cell can never be significant, so pairs are pooled over systems; seeds of one system are less
independent than the test takes them for.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import FLOOR, MISSING, Table, headers, number, order, spread_out, texts
from nearorbit.study.catalogue import TRUTH

PAIR = ["system", "data", "seed", "metric"]
INDEX = ["data", "metric", "method"]


@dataclass(frozen=True)
class Comparison:
    """Wins of every method against the reference, over all systems and seeds, by data and metric.

    Arguments:
        reference: The label of the reference; the first method of the study if None.
    """

    reference: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv", "costs.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``."""
        reference = self.reference or results.methods[0]
        records = paired(results.table("scores.csv"), reference)
        others = {method: name for method, name in headers(results).items() if method != reference}
        cells = spread_out(texts(records, INDEX, _text), others).fillna(MISSING)
        won = (records["p"] < 0.05) & (records["wins"] > records["pairs"] / 2) & (records["method"] != TRUTH)
        best = spread_out(won.set_axis(pd.MultiIndex.from_frame(records[INDEX])), others).eq(True)
        return Table("comparison", _caption(reference), records, cells, best)


def paired(scores: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Pair the seeds of every method with those of the reference.

    Arguments:
        scores: Rows of ``scores.csv``.
        reference: The label of the reference.

    Returns:
        A row per data, metric and method, with columns ``(data, metric, method, ratio, wins, pairs, p)``; ``ratio`` is
        the median of value / reference where both are defined.
    """
    scores = scores.assign(order=order(scores))
    against = scores.loc[scores["method"] == reference, [*PAIR, "value", "order"]]
    others = scores[scores["method"] != reference].merge(against, on=PAIR, suffixes=("", "_of_reference"))
    rows = [
        dict(zip(INDEX, labels, strict=True)) | _compared(pairs) for labels, pairs in others.groupby(INDEX, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*INDEX, "ratio", "wins", "pairs", "p"])


def _compared(pairs: pd.DataFrame) -> dict[str, Any]:
    from scipy.stats import binomtest  # here, for every job imports this file and this takes a second

    margin = pairs["order_of_reference"] - pairs["order"]
    wins, n = int((margin > 0).sum()), int((margin != 0).sum())
    ratio = (pairs["value"] / pairs["value_of_reference"]).dropna().median()
    return {"ratio": ratio, "wins": wins, "pairs": n, "p": binomtest(wins, n).pvalue if n else np.nan}


def _text(row: pd.Series) -> str:
    return f"{number(row['ratio'])} ({int(row['wins'])}/{int(row['pairs'])})"


def _caption(reference: str) -> str:
    return (
        f"Every method against {reference}, paired over systems and seeds: median of the ratio to {reference} and "
        f"(wins/pairs); a seed that diverged or collapsed loses against one that did not. {FLOOR} Bold: a method wins "
        "more often than chance (two-sided sign test, p < 0.05, not corrected for many tests)."
    )


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"comparison": Comparison}
