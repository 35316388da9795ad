"""What a training costs, and what it is given."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import Table, number

TITLES = {
    "given": "given",
    "seconds": "seconds",
    "peak_memory_mib": "peak memory [MiB]",
    "steps": "steps",
    "samples_seen": "samples seen",
    "substeps": "substeps",
    "network": "network",
    "parameters": "parameters",
    "device": "device",
    "seeds": "seeds",
}


@dataclass(frozen=True)
class Costs:
    """The costs of training a cell, all seeds of it together, by method."""

    reads: ClassVar[frozenset[str]] = frozenset({"costs.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from ``costs.csv``; for people, the range over the cells of a method."""
        records = results.table("costs.csv")
        methods = [method for method in results.methods if method in set(records["method"])]
        rows = [records.loc[records["method"] == method, list(TITLES)].agg(_range) for method in methods]
        cells = pd.DataFrame(rows, pd.Index(methods, name="method"), list(TITLES)).rename(columns=TITLES)
        caption = (
            "Costs of training all seeds of a cell together: the range over systems and data. Substeps: steps of the "
            "integration from one sample to the next, as many for all methods of a system and data."
        )
        return Table("costs", caption, records, cells, cells.map(lambda _: False))


def _range(column: pd.Series) -> str:
    """Write what the cells have in common, or from where to where they go."""
    if not pd.api.types.is_numeric_dtype(column):
        return ", ".join(sorted(set(column.dropna().astype(str))))
    low, high = number(column.min()), number(column.max())
    return low if low == high else f"{low}–{high}"


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"costs": Costs}
