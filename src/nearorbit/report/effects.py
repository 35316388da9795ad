"""By how much a method differs from a reference, as it is told to people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nearorbit.report import words
from nearorbit.report.tables.base import number, ratio, wins
from nearorbit.study.catalogue import entries


@dataclass(frozen=True)
class Effect:
    """By how much a method differs from a reference on one kind of data, in one metric.

    Arguments:
        method: The label of the method.
        metric: What the metric is called.
        better: Which values of it are better, ``"lower"`` or ``"higher"``.
        row: The row of :func:`nearorbit.evaluation.statistics.effects`.
    """

    method: str
    metric: str
    better: str
    row: Mapping[str, Any]

    @property
    def ratio(self) -> str:
        """The median ratio, e.g. ``"0.336"``, or who fails."""
        if 0 < self.row["ratio"] < np.inf:
            return ratio(self.row["ratio"])
        return "fails" if (self.row["ratio"] > 0) == (self.better == "lower") else "reference fails"

    @property
    def interval(self) -> str:
        """Its interval, or the range over few systems, e.g. ``"0.25 to 0.47"``; empty of one system."""
        if self.row["systems"] == 1:
            return ""
        return f"{ratio(self.row['low'])} to {ratio(self.row['high'])}"

    @property
    def wins(self) -> str:
        """On how many systems it is better, e.g. ``"5/9"``."""
        return wins(self.row)

    @property
    def p(self) -> str:
        """The corrected p-value, e.g. ``"0.004"``; empty where there is none, or systems are too few for a test."""
        return number(self.row["p"], digits=words.DIGITS) if np.isfinite(self.row["p"]) else ""

    @property
    def verdict(self) -> str:
        """``"better"`` or ``"worse"`` where the interval says so, else empty."""
        return str(self.row["verdict"])

    @property
    def places(self) -> tuple[float, float, float] | None:
        """Where its ratio and interval lie on an axis from a hundredth to a hundredfold, from 0 to 1; None for none."""
        ends = np.array([self.row[name] for name in ("ratio", "low", "high")], dtype=float)
        if np.isnan(ends).any():
            return None
        with np.errstate(divide="ignore"):
            return tuple(np.clip(0.5 + np.log10(ends) / 4, 0, 1).tolist())


def entry(metric: str) -> Any:
    """Give the metric of a name."""
    return entries("metrics")[metric]


def told(rows: pd.DataFrame) -> Iterator[Effect]:
    """Tell the rows of :func:`nearorbit.evaluation.statistics.effects`."""
    for row in rows.to_dict("records"):
        metric = entry(row["metric"])
        yield Effect(row["method"], metric.label, metric.better, row)


def gains(effect: Effect) -> bool:
    """Tell whether the median of the ratios is better than one, however sure that is."""
    return effect.row["ratio"] < 1 if effect.better == "lower" else effect.row["ratio"] > 1
