"""What a study found, from its long tables: for each kind of data which method, how sure that is, and what it costs.

Of the methods that are given data alone, the one is taken whose median ratio to the reference is the best, by the first
metric, among those that the intervals tell from the reference. Where they tell none, none is named, and all are listed.
To take the best of several flatters it: the p-value is corrected for all that were compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nearorbit.evaluation import statistics
from nearorbit.evaluation.scores import Results
from nearorbit.report import words
from nearorbit.report.tables import signed_rank
from nearorbit.report.tables.base import given, number, ratio, wins
from nearorbit.study.catalogue import TRUTH, entries

METRICS = ("jacobian_error", "lyapunov_distance", "valid_prediction_time")  # what methods are told apart by, first
OTHERWISE = ("state_space_divergence", "spectral_hellinger", "interpolation_error")  # where no truth is known
ALONE = "data"  # what a method is given that is given nothing else
BOUNDS = 2  # how many of the methods that are given more stand beside


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
        """The median ratio, e.g. ``"0.34"``, or who fails."""
        if 0 < self.row["ratio"] < np.inf:
            return ratio(self.row["ratio"], digits=words.DIGITS)
        return "fails" if (self.row["ratio"] > 0) == (self.better == "lower") else "reference fails"

    @property
    def interval(self) -> str:
        """Its interval, or the range over few systems, e.g. ``"0.25 to 0.47"``."""
        return f"{ratio(self.row['low'], digits=words.DIGITS)} to {ratio(self.row['high'], digits=words.DIGITS)}"

    @property
    def wins(self) -> str:
        """On how many systems it is better, e.g. ``"5/9"``."""
        return wins(self.row)

    @property
    def p(self) -> str:
        """The corrected p-value, e.g. ``"0.004"``; empty where there is none, or systems are too few for a test."""
        known = np.isfinite(self.row["p"]) and self.row["systems"] >= statistics.fewest()
        return number(self.row["p"], digits=words.DIGITS) if known else ""

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


@dataclass(frozen=True)
class Line:
    """What is told of one method on one kind of data.

    Arguments:
        method: Its label.
        effects: Its effects, by the headline metrics; None where one is not known.
        failed: How many of its seeds diverged or collapsed, e.g. ``"0 of 15"``.
        time: How many times as long it trains as the reference; empty if unknown.
    """

    method: str
    effects: Sequence[Effect | None]
    failed: str
    time: str


@dataclass(frozen=True)
class Finding:
    """What was found on one kind of data.

    Arguments:
        data: Its label.
        words: How the orbits are observed.
        method: The method to take; None where none is told.
        reference: What is compared with; empty where nothing was run.
        sure: What interval and test say: ``sure``, ``likely``, ``open``, ``few`` (systems), ``none``; ``failed`` if
            half of its seeds are.
        metrics: The headline metrics.
        lines: The methods from data alone, the best by the first metric before, and the best that are given more.
        systems: On how many systems methods are compared.
        tests: How many methods are, for which p is corrected.
        alike: The methods from data alone that the method to take cannot be told from.
        cost: What that method costs, or the reference, in words.
        failed: How many seeds failed, in words.
        ranked: The effects of all methods by the first metric, the best first.
    """

    data: str
    words: str
    method: str | None = None
    reference: str = ""
    sure: str = "none"
    metrics: Sequence[str] = ()
    lines: Sequence[Line] = ()
    systems: int = 0
    tests: int = 0
    alike: Sequence[str] = ()
    cost: str = ""
    failed: str = ""
    ranked: Sequence[Effect] = ()


def found(results: Results, data: Mapping[str, Mapping[str, Any]], references: Mapping[str, str]) -> list[Finding]:
    """Tell what was found on each kind of data.

    Arguments:
        results: The results of the study; a cell that is missing counts as not run.
        data: The lines of its kinds of data, by label.
        references: The labels of the methods that others are compared with, by data.
    """
    scores, costs = results.table("scores.csv"), results.table("costs.csv")
    names, known = headlines(scores), given(results)
    scores = scores[scores["metric"].isin(names) & scores["method"].isin(results.methods)]
    alone = [label for label in results.methods if known.get(label) == ALONE]
    rows = {label: [table[table["data"] == label] for table in (scores, costs)] for label in data}
    told = {label: words.observed(line, results.remarks.get(label, "")) for label, line in data.items()}
    return [_found(label, told[label], references[label], names, alone, *rows[label]) for label in data]


def declared(results: Results, comparison: Any) -> list[Effect]:
    """Tell what came of a comparison that the study declares.

    Arguments:
        results: The results of the study.
        comparison: The table ``signed_rank`` of it.

    Returns:
        The effect in each of its metrics, with p-values corrected for these; none where nothing is there to compare.
    """
    sides = comparison.sides(results)
    pairs = signed_rank.against(results.table("scores.csv"), *sides, metrics=comparison.metrics)
    if pairs[~pairs["system"].isin(list(comparison.without))].empty:
        return []
    _, rows = signed_rank.compared(pairs, without=comparison.without)
    return list(_effects(rows.assign(method=sides[0][0]).rename_axis("metric").reset_index()))


def headlines(scores: pd.DataFrame) -> list[str]:
    """Choose the metrics that a study is told by: those of the dynamics, or where none is defined those of orbits."""
    defined = set(scores.loc[scores["value"].notna() & (scores["method"] != TRUTH), "metric"])
    return [name for name in METRICS if name in defined] or [name for name in OTHERWISE if name in defined]


def _found(
    data: str,
    observed: str,
    reference: str,
    names: Sequence[str],
    alone: Sequence[str],
    scores: pd.DataFrame,
    costs: pd.DataFrame,
) -> Finding:
    """Tell what was found on a kind of data, from the rows of the tables that are of it."""
    over = scores.groupby("method")["system"].nunique()
    reference = reference if reference in over else max(alone, key=lambda label: over.get(label, 0), default="")
    if not names or reference not in over:
        return Finding(data, observed)
    rows = statistics.effects(scores, reference=reference)
    known = {(effect.method, effect.row["metric"]): effect for effect in _effects(rows)}
    first = [effect for (_, name), effect in known.items() if name == names[0]]
    ranked = sorted(first, key=lambda effect: effect.row["ratio"], reverse=entry(names[0]).better == "higher")
    candidates = [effect for effect in ranked if effect.method in alone]
    systems = int(max((effect.row["systems"] for effect in ranked), default=over[reference]))
    best = next((effect for effect in candidates if effect.verdict == "better"), None)
    sure = "few" if systems < statistics.fewest() else _sure(best, any(map(_gains, candidates)))
    method = best.method if best else reference if sure == "none" else None
    scores = scores[scores["metric"] == names[0]]
    if method and (scores.loc[scores["method"] == method, "status"] != "ok").mean() >= 0.5:
        method, sure = None, "failed"
    bounds = [effect for effect in ranked if effect.method not in alone and _gains(effect)]
    shown = [effect.method for effect in [*candidates, *bounds[:BOUNDS]]]
    times = words.seconds(costs)
    return Finding(
        data=data,
        words=observed,
        method=method,
        reference=reference,
        sure=sure,
        metrics=[entry(name).label for name in names],
        lines=[
            Line(m, [known.get((m, n)) for n in names], words.count(scores, m), words.times(times, m, reference))
            for m in shown
        ],
        systems=systems,
        tests=len(ranked),
        alike=_alike(scores[scores["method"].isin([*alone, reference])], best.method) if best else [],
        cost=words.cost(costs, method or reference, reference),
        failed=words.failed(scores, method or reference, reference),
        ranked=ranked,
    )


def entry(metric: str) -> Any:
    """Give the metric of a name."""
    return entries("metrics")[metric]


def _effects(rows: pd.DataFrame) -> Iterator[Effect]:
    for row in rows.to_dict("records"):
        metric = entry(row["metric"])
        yield Effect(row["method"], metric.label, metric.better, row)


def _gains(effect: Effect) -> bool:
    return effect.row["ratio"] < 1 if effect.better == "lower" else effect.row["ratio"] > 1


def _sure(best: Effect | None, gains: bool) -> str:
    """Say what the interval and the corrected test make of the best method, or of none where any has gains."""
    if best is None:
        return "open" if gains else "none"
    return "sure" if best.row["p"] < 0.05 else "likely"


def _alike(scores: pd.DataFrame, method: str) -> list[str]:
    """List the methods that are not worse than one, by their intervals against it."""
    against = statistics.effects(scores, reference=method)
    return list(against.loc[against["verdict"] != "worse", "method"])
