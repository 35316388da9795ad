"""How many steps a training takes to an error."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import Table, headers, number, spread_out

COLUMNS = ["system", "data", "method", "seed", "steps"]


@dataclass(frozen=True)
class StepsBelow:
    """The steps after which the error of plain rollouts is below a bound for the first time, by system and method.

    Arguments:
        error: The bound, in squared deviations. The error is that on the training orbits where weights are kept by it
            (``keep: training``), and the validation error elsewhere, as often as the training looks at it.
    """

    error: float = 0.01
    reads: ClassVar[frozenset[str]] = frozenset({"costs.csv", "history.csv"})

    def __post_init__(self) -> None:
        if not self.error > 0:
            raise ValueError(f"error must be positive, not {self.error}")

    def table(self, results: Results) -> Table:
        """Make the table from the histories of training; a seed that never comes below counts as the slowest."""
        records = pd.DataFrame(
            [row for cell in results.trained() for row in self._steps(results, cell)], columns=COLUMNS
        )
        texts = records.groupby(COLUMNS[:3], sort=False)["steps"].agg(_median)
        named = headers(results)
        cells = spread_out(texts, {label: named[label] for label in results.methods}).fillna("–")
        caption = (
            f"Training steps until the error of plain rollouts is below {self.error:g} squared deviations: the median "
            "over seeds (how many of them come below it; the others count as slower)."
        )
        return Table("steps_below", caption, records, cells, cells.map(lambda _: False))

    def _steps(self, results: Results, cell: dict[str, Any]) -> list[tuple[Any, ...]]:
        labels = cell["system"], cell["data"], cell["method"]
        if (history := results.read("history.csv", *labels)) is None:
            return []
        error = "training" if "training" in history else "validation"
        below = history["step"].where(history[error] < self.error).groupby(history["seed"]).min()
        return [(*labels, seed, steps) for seed, steps in below.items()]


def _median(steps: pd.Series) -> str:
    middle = float(np.median(steps.fillna(np.inf)))
    return f"{number(middle) if np.isfinite(middle) else 'more'} ({steps.notna().sum()}/{len(steps)})"


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"steps_below": StepsBelow}
