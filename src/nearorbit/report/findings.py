"""What a study found, from its long tables: for each kind of data which method, how sure that is, and what it costs.

Of the methods that are given data alone, the one is taken whose median ratio to the reference is the best, by the first
metric, among those that the intervals tell from the reference; where they tell none, the best so far is named, and that
it is not sure. To take the best of several flatters it: the p-value is corrected for all that were compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nearorbit.evaluation import statistics
from nearorbit.evaluation.scores import Results
from nearorbit.report.tables import signed_rank
from nearorbit.report.tables.base import given, number
from nearorbit.study.catalogue import TRUTH, entries

METRICS = ("jacobian_error", "lyapunov_distance", "valid_prediction_time")  # what methods are told apart by, first
OTHERWISE = ("state_space_divergence", "spectral_hellinger", "interpolation_error")  # where no truth is known
ALONE = "data"  # what a method is given that is given nothing else


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
        """The median ratio, e.g. ``"0.34"``."""
        return number(self.row["ratio"]) if np.isfinite(self.row["ratio"]) else "∞"

    @property
    def interval(self) -> str:
        """Its interval, e.g. ``"0.25 to 0.47"``."""
        low, high = (number(self.row[end]) if np.isfinite(self.row[end]) else "∞" for end in ("low", "high"))
        return f"{low} to {high}"

    @property
    def p(self) -> str:
        """The corrected p-value, e.g. ``"0.004"``; empty where there is none."""
        return number(self.row["p"], digits=2) if np.isfinite(self.row["p"]) else ""

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
class Finding:
    """What was found on one kind of data.

    Arguments:
        data: Its label.
        words: How the orbits are observed.
        method: The method to take; None where there is nothing to compare.
        reference: What it is compared with: the reference of the study, or the first method there if that was not run.
        sure: What interval and test say: ``sure``, ``likely``, ``open``, ``none``; ``failed`` if half of its seeds are.
        effects: Those of the method in the headline metrics.
        alike: The methods from data alone that it cannot be told from.
        bounds: The effects, by the first metric, of methods that are given more.
        cost: What the method costs, in words.
        failed: How many seeds failed, in words.
        ranked: The effects of all methods by the first metric, the best first.
        nearest: The first of them that is given data alone.
    """

    data: str
    words: str
    method: str | None
    reference: str = ""
    sure: str = "none"
    effects: Sequence[Effect] = ()
    alike: Sequence[str] = ()
    bounds: Sequence[Effect] = ()
    cost: str = ""
    failed: str = ""
    ranked: Sequence[Effect] = ()
    nearest: Effect | None = None


def found(results: Results, data: Mapping[str, Mapping[str, Any]], reference: str) -> list[Finding]:
    """Tell what was found on each kind of data.

    Arguments:
        results: The results of the study; a cell that is missing counts as not run.
        data: The lines of its kinds of data, by label.
        reference: The label of the method that others are compared with.
    """
    scores, costs = results.table("scores.csv"), results.table("costs.csv")
    names, known = headlines(scores), given(results)
    scores = scores[scores["metric"].isin(names) & scores["method"].isin(results.methods)]
    alone = [label for label in results.methods if known.get(label) == ALONE]
    rows = {label: [table[table["data"] == label] for table in (scores, costs)] for label in data}
    words = {label: observed(line, results.remarks.get(label, "")) for label, line in data.items()}
    return [_found(label, words[label], reference, names, alone, *rows[label]) for label in data]


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


def observed(line: Mapping[str, Any], remark: str = "") -> str:
    """Say how orbits are observed, e.g. ``"5 % noise, 500 orbits of 50 samples, with transients"``, and a remark."""
    of = {"means": "of the mean", "units": "in system units"}.get(str(line.get("noise_in")))
    noise = f"noise of {line['noise']:g} {of}" if of else f"{100 * line['noise']:g} % noise"
    noise = noise if line["noise"] else "clean" if "orbits" in line else "as recorded"
    s, transient = "s" * (line.get("orbits") != 1), line.get("transient")
    orbits = f"{line['orbits']} orbit{s} of {line['samples']} samples" if "orbits" in line else ""
    where = "" if transient is None else "on the attractor" if transient else "with transients"
    return ", ".join(part for part in (noise, orbits, where, remark) if part)


def _found(
    data: str,
    words: str,
    reference: str,
    names: Sequence[str],
    alone: Sequence[str],
    scores: pd.DataFrame,
    costs: pd.DataFrame,
) -> Finding:
    """Tell what was found on a kind of data, from the rows of the tables that are of it."""
    there = set(scores["method"])
    reference = next((label for label in (reference, *alone) if label in there), "")
    if not names or not reference:
        return Finding(data, words, None)
    effects = statistics.effects(scores, reference=reference)
    scores = scores[scores["metric"] == names[0]]
    first = list(_effects(effects[effects["metric"] == names[0]]))
    ranked = sorted(first, key=lambda effect: effect.row["ratio"], reverse=entry(names[0]).better == "higher")
    candidates = [effect for effect in ranked if effect.method in alone]
    told = [effect for effect in candidates if effect.verdict == "better"]
    best = next(iter(told or filter(_gains, candidates)), None)
    method = best.method if best else reference
    rows = effects[effects["method"] == method]
    of_method = dict(zip(rows["metric"], _effects(rows), strict=True))
    return Finding(
        data=data,
        words=words,
        method=method,
        reference=reference,
        sure="failed" if (scores.loc[scores["method"] == method, "status"] != "ok").mean() >= 0.5 else _sure(best),
        effects=[of_method[name] for name in names if name in of_method],
        alike=_alike(scores[scores["method"].isin([*alone, reference])], method) if best else [],
        bounds=[effect for effect in ranked if effect.method not in alone and _gains(effect)],
        cost=cost(costs, method, reference),
        failed=_failed(scores, method, reference),
        ranked=ranked,
        nearest=next(iter(candidates), None),
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


def _sure(best: Effect | None) -> str:
    """Say what the interval and the corrected test make of the best method."""
    if best is None:
        return "none"
    if best.verdict != "better":
        return "open"
    return "sure" if best.row["p"] < 0.05 else "likely"


def _alike(scores: pd.DataFrame, method: str) -> list[str]:
    """List the methods that are not worse than one, by their intervals against it."""
    against = statistics.effects(scores, reference=method)
    return list(against.loc[against["verdict"] != "worse", "method"])


def cost(costs: pd.DataFrame, method: str, reference: str) -> str:
    """Say how long a method trains, and that beside the reference on the same systems; empty if unknown."""
    seconds = costs.dropna(subset="seconds").pivot_table(index="system", columns="method", values="seconds")
    if method not in seconds:
        return ""
    seeds = int(costs.loc[costs["method"] == method, "seeds"].median())
    own = f"{number(seconds[method].median())} s for {seeds} seed{'s' * (seeds > 1)} of a system (median)"
    if method == reference or reference not in seconds:
        return own
    return f"{own}, {number((seconds[method] / seconds[reference]).median(), digits=2)} times as long as {reference}"


def _failed(scores: pd.DataFrame, method: str, reference: str) -> str:
    """Say how many seeds of a method and of the reference diverged or collapsed."""
    counts = {
        label: f"{(rows['status'] != 'ok').sum()} of {len(rows)}"
        for label in dict.fromkeys((method, reference))
        if len(rows := scores[scores["method"] == label])
    }
    own = f"{counts[method]} seeds" if method in counts else ""
    return own if method == reference or reference not in counts else f"{own} ({reference}: {counts[reference]})"
