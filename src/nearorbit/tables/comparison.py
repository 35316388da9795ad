r"""Each method against a reference, paired: the same system, data and seed, so the same orbits, noise and weights.

A pair is won by the better value; an undefined value loses against a defined one, and a pair of equals, or of two
undefined, is not counted. The sign test asks how often as many wins, or losses, would come by tossing a coin,

.. math:: p = P\big(|W - \tfrac n2| \geq |w - \tfrac n2|\big), \qquad W \sim B(n, \tfrac12).

With three seeds a single cell can never be significant, so pairs are pooled over systems; seeds of one system are less
independent than the test takes them for.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit import catalogue
from nearorbit.scores import Results
from nearorbit.tables.base import MISSING, Table, headers, number, spread_out

PAIR = ["system", "data", "seed", "metric"]


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
        records = paired(results.read("scores.csv"), reference)
        rows = records.set_index(["data", "metric", "method"])
        others = {method: name for method, name in headers(results).items() if method != reference}
        cells = spread_out(rows.apply(_text, axis=1), others).fillna(MISSING)
        best = spread_out((rows["p"] < 0.05) & (rows["wins"] > rows["pairs"] / 2), others).eq(True)
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
    against = scores[scores["method"] == reference].set_index(PAIR)["value"].rename("reference")
    others = scores[scores["method"] != reference].join(against, on=PAIR, how="inner")
    rows = others.groupby(["data", "metric", "method"], sort=False)
    return rows[["metric", "value", "reference"]].apply(_compared).reset_index()


def _compared(pairs: pd.DataFrame) -> pd.Series:
    from scipy.stats import binomtest  # here, for every job imports this file and this takes a second

    higher = catalogue.entries("metrics")[pairs["metric"].iloc[0]].better == "higher"
    value, reference = ((-pairs[c] if higher else pairs[c]).fillna(np.inf) for c in ("value", "reference"))
    wins, n = int((value < reference).sum()), int((value != reference).sum())
    ratio = (pairs["value"] / pairs["reference"]).dropna().median()
    p = binomtest(wins, n).pvalue if n else np.nan
    return pd.Series({"ratio": ratio, "wins": wins, "pairs": n, "p": p}, dtype=object)


def _text(row: pd.Series) -> str:
    return f"{number(row['ratio'])} ({int(row['wins'])}/{int(row['pairs'])})"


def _caption(reference: str) -> str:
    return (
        f"Every method against {reference}, paired over systems and seeds: median of the ratio to {reference} and "
        "(wins/pairs). Bold: wins more often than chance (two-sided sign test, p < 0.05, not corrected for many tests)."
    )


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"comparison": Comparison}
