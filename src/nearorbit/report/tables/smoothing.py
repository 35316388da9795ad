"""What smoothing through the network found of the data: how noisy they are, and how wrong the network is."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import Table, headers, number, spread_out, texts

COLUMNS = ["noise_estimate", "model_error", "distrusted", "given_up"]
CELL = ["system", "data", "method"]


@dataclass(frozen=True)
class Smoothing:
    """The estimated noise and model error of methods with ``smoothings``, by system and data."""

    reads: ClassVar[frozenset[str]] = frozenset({"costs.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from ``costs.csv``; other methods have no columns."""
        records = results.table("costs.csv").dropna(subset="noise_estimate")[[*CELL, "noise", *COLUMNS]]
        named, smoothed = headers(results), set(records["method"])
        columns = {label: named[label] for label in results.methods if label in smoothed}
        cells = spread_out(texts(records, CELL, _text), columns).fillna("–")
        caption = (
            "Smoothing through the network: the estimated noise and the model error over one sample, in deviations of "
            "the training data, root mean squares over components and means over seeds. In parentheses the rounds in "
            "which a seed's network was not trusted, and the orbits that were given up in the others, if any."
        )
        return Table("smoothing", caption, records, cells, cells.map(lambda _: False))


def _text(row: pd.Series) -> str:
    found = f"{number(row['noise_estimate'])}, {number(row['model_error'])}"
    shares = {"distrusted": "not trusted", "given_up": "given up"}
    lost = [f"{row[name]:.0%} {words}" for name, words in shares.items() if row[name] > 0]
    return f"{found} ({', '.join(lost)})" if lost else found


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"smoothing": Smoothing}
