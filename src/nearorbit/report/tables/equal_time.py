"""What a method reaches in as many steps as the others, and in as much time.

All methods of a study make the same number of steps, and a step of one may cost many of another. Metrics are of the
final weights alone; but while it trains, every method looks at the same error, that of plain forecasts of held-out
segments, and its history tells how small it was after how many steps. So two errors stand side by side: the least that
there was at the end, after *equal steps*, and the least by the time at which the reference had ended on the same system
and data, after *equal time*. A method that is cheaper than the reference had ended before, and what it would have made
of the rest is not known. Errors are known as often as validation looks, and before its first look after a step none is:
where the time ends before that, the system is left out.

The time of a step is that of the whole training over its steps, all seeds of a cell together, on the machine that made
it and beside what else ran there; where another processor trained the reference, there is no equal time. A costlier
method is found in the middle of its training, before its learning rate has fallen: with a rate made for so many steps
it would be further. What the table cannot say is what Jacobians, spectra or attractors would be at equal time: for
these, train the costlier method for fewer steps. A method that smooths its data as it trains forecasts smoothed states,
which is another error: it has none here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from nearorbit.evaluation.scores import CELL, Results
from nearorbit.evaluation.statistics import LEVEL, effects
from nearorbit.report.tables.base import MISSING, Table, given, interval, number, unmarked, wins

STEPS, TIME = "equal steps", "equal time"
COLUMNS = [*CELL, "seed", "metric", "value", "status", "steps", "cost"]
INDEX = ["data", "method", "given"]
CAPTION = (
    "Errors of plain forecasts of held-out segments, as validation sees them, over those of {reference}: the median "
    "over systems [its {level:.0%} interval] or (their range, where they are few), and on how many the method has the "
    "smaller one. Equal steps: the least error of the whole training; equal time: the least by when {reference} had "
    "ended on the same system and data, which finds a costlier method before its learning rate has fallen. Bold: "
    "better than {reference} by its interval, of data alone, with more than half of its seeds left. Cost: "
    "seconds of a step over those of {reference}, the median over systems, as this machine took them, with whatever "
    "else ran on it; of cells whose {reference} was trained on the same one. Not how well the dynamics are learned: "
    "metrics are of the final weights alone. Methods that smooth their data have no such error."
)


@dataclass(frozen=True)
class EqualTime:
    """The forecast error of each method relative to the reference, at equal steps and at equal time.

    Arguments:
        reference: The label of the reference; the first method of the study if None.
    """

    reference: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"costs.csv", "history.csv", "scores.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from the costs and the histories of training; what either lacks leaves a gap. Which methods
        lose half of their seeds is told by ``scores.csv``."""
        reference, known = self.reference or results.methods[0], given(results)
        errors = pd.DataFrame(_errors(results, reference), columns=COLUMNS)
        records = effects(errors, reference=reference)
        records = records.merge(_costs(errors, reference), on=["data", "method"], how="left")
        rows = [(d, m) for d in results.data for m in results.methods if m != reference]
        found = records.set_index(["data", "method", "metric"])
        index = pd.MultiIndex.from_tuples([(*row, known.get(row[1], MISSING)) for row in rows], names=INDEX)
        cells = pd.DataFrame([_texts(found, row) for row in rows], index, ["cost", STEPS, TIME])
        beside = unmarked(results, results.table("scores.csv"))
        better = [[row not in beside and _better(found, (*row, name)) for name in (STEPS, TIME)] for row in rows]
        best = pd.DataFrame(better, index, [STEPS, TIME], dtype=bool).reindex(columns=cells.columns, fill_value=False)
        return Table("equal_time", CAPTION.format(reference=reference, level=LEVEL), records, cells, best)


def _errors(results: Results, reference: str) -> Iterator[dict[str, Any]]:
    """The least errors of every seed, as rows of scores, by both budgets."""
    costs = results.table("costs.csv")
    costs = costs[costs["noise_estimate"].isna() & (costs["steps"] > 0)].set_index([*CELL[:2], "method"])
    of = costs.xs(reference, level="method") if reference in costs.index.get_level_values(2) else costs.iloc[:0]
    for cell in results.trained():
        labels = cell["system"], cell["data"], cell["method"]
        history = results.read("history.csv", *labels)
        if history is None or labels not in costs.index or labels[:2] not in of.index:
            continue
        own, other = costs.loc[labels], of.loc[labels[:2]]
        within, cost = {STEPS: own["steps"]}, math.nan
        if own["device"] == other["device"]:
            cost = own["seconds"] / own["steps"]
            within[TIME] = own["steps"] * min(1.0, other["seconds"] / own["seconds"])
        for name, last in within.items():
            looks = history[history["step"].between(1, last)]
            for seed, value in looks.groupby("seed")["validation"].min().items():
                rest = {"metric": name, "value": value, "status": "ok", "steps": last, "cost": cost}
                yield {**cell, "seed": seed, **rest}


def _costs(errors: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The seconds of a step over those of the reference, the median over systems, by data and method."""
    cost = errors.groupby(["system", "data", "method"], sort=False)["cost"].first().reset_index()
    against = cost[cost["method"] == reference].drop(columns="method")
    both = cost.merge(against, on=["system", "data"], suffixes=("", "_of_reference"))
    both = both.assign(cost=both["cost"] / both["cost_of_reference"])
    return both.groupby(["data", "method"])["cost"].median().reset_index()


def _better(found: pd.DataFrame, row: tuple[str, str, str]) -> bool:
    return row in found.index and found.loc[row, "verdict"] == "better"


def _texts(found: pd.DataFrame, row: tuple[str, str]) -> list[str]:
    told = [found.loc[(*row, name)] if (*row, name) in found.index else None for name in (STEPS, TIME)]
    texts = [f"{interval(each)} {wins(each)}" if each is not None else MISSING for each in told]
    return [MISSING if told[0] is None else number(told[0]["cost"]), *texts]


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"equal_time": EqualTime}
