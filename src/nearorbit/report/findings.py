"""What a study found, from its long tables: for each kind of data which method, how sure that is, and what it costs.

Of the methods that are given data alone, the one is taken whose median ratio to the reference is the best, by the first
metric, among those that the intervals tell from the reference. Where they tell none, none is named, and all are listed.
To take the best of several flatters it: the p-value is corrected for all that were compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nearorbit.evaluation import statistics
from nearorbit.evaluation.scores import Results
from nearorbit.report import words
from nearorbit.report.effects import Effect, entry, gains, told
from nearorbit.report.tables import signed_rank
from nearorbit.report.tables.base import DATA, given
from nearorbit.study.catalogue import TRUTH

METRICS = ("jacobian_error", "lyapunov_distance", "valid_prediction_time")  # what methods are told apart by, first
OTHERWISE = ("state_space_divergence", "spectral_hellinger", "interpolation_error")  # where no truth is known
VERDICTS = ("better", "", "worse")  # in this order
BOUNDS = 2  # how many of the methods that are given more stand beside


@dataclass(frozen=True)
class Line:
    """What is told of one method on one kind of data.

    Arguments:
        method: Its label.
        effects: Its effects, by the headline metrics; None where one is not known.
        failed: How many of its seeds diverged or collapsed, e.g. ``"0 of 15"``.
        time: How many times as long it trains as the reference; empty if unknown.
        other: Whether it trains another network than the reference.
        systems: On how many systems it is compared.
    """

    method: str
    effects: Sequence[Effect | None]
    failed: str
    time: str
    other: bool = False
    systems: int = 0


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
        lines: The methods from data alone, and after them the best that are given more. Of the first those with the
            network of the reference stand before others, those that are told better before those that are open, and
            these before those that are worse; among these the best by the first metric.
        systems: On how many systems methods are compared.
        tests: How many methods are, for which p is corrected.
        also: The effects of the other methods from data alone that are told better than the reference, too.
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
    also: Sequence[Effect] = ()
    alike: Sequence[str] = ()
    cost: str = ""
    failed: str = ""
    ranked: Sequence[Effect] = ()


def found(
    results: Results,
    data: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, str],
    networks: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Tell what was found on each kind of data.

    Arguments:
        results: The results of the study; a cell that is missing counts as not run.
        data: The lines of its kinds of data, by label.
        references: The labels of the methods that others are compared with, by data.
        networks: What the network of a method is, by its label: who has another than the reference is told as such.
    """
    scores, costs = results.table("scores.csv"), results.table("costs.csv")
    names, known = headlines(scores), given(results)
    scores = scores[scores["metric"].isin(names) & scores["method"].isin(results.methods)]
    alone = [label for label in results.methods if known.get(label) == DATA]
    rows = {label: [table[table["data"] == label] for table in (scores, costs)] for label in data}
    observed = {label: words.observed(line, results.remarks.get(label, "")) for label, line in data.items()}
    return [
        _found(label, observed[label], references[label], names, alone, networks or {}, *rows[label]) for label in data
    ]


def declared(results: Results, comparison: Any, *, valued: bool = False) -> list[Effect]:
    """Tell what came of a comparison that the study declares.

    Arguments:
        results: The results of the study.
        comparison: The table ``signed_rank`` of it.
        valued: Whether failed seeds count by the values that they have, which tells how much rests on them.

    Returns:
        The effect in each of its metrics, with p-values corrected for these; none where nothing is there to compare,
        or where values are asked for and no seed failed.
    """
    sides = comparison.sides(results)
    pairs = signed_rank.against(results.table("scores.csv"), *sides, metrics=comparison.metrics)
    counted = pairs[~pairs["system"].isin(list(comparison.without))]
    if counted.empty or (valued and not counted[statistics.FAILED].any(axis=None)):
        return []
    pairs = statistics.by_values(pairs) if valued else pairs
    _, rows = signed_rank.compared(pairs, without=comparison.without)
    return list(told(rows.assign(method=sides[0][0]).rename_axis("metric").reset_index()))


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
    networks: Mapping[str, str],
    scores: pd.DataFrame,
    costs: pd.DataFrame,
) -> Finding:
    """Tell what was found on a kind of data, from the rows of the tables that are of it."""
    over = scores.groupby("method")["system"].nunique()
    reference = reference if reference in over else max(alone, key=lambda label: over.get(label, 0), default="")
    if not names or reference not in over:
        return Finding(data, observed)
    rows = statistics.effects(scores, reference=reference)
    known = {(effect.method, effect.row["metric"]): effect for effect in told(rows)}
    first = [effect for (_, name), effect in known.items() if name == names[0]]
    ranked = sorted(first, key=lambda effect: effect.row["ratio"], reverse=entry(names[0]).better == "higher")
    candidates = [effect for effect in ranked if effect.method in alone]
    systems = int(max((effect.row["systems"] for effect in ranked), default=over[reference]))
    best = next((effect for effect in candidates if effect.verdict == "better"), None)
    sure = "few" if systems < statistics.FEWEST else _sure(best, any(map(gains, candidates)))
    method = best.method if best else reference if sure == "none" else None
    scores = scores[scores["metric"] == names[0]]
    if method and (scores.loc[scores["method"] == method, "status"] != "ok").mean() >= 0.5:
        method, sure = None, "failed"
    bounds = [effect for effect in ranked if effect.method not in alone and gains(effect)]
    others = {label for label, network in networks.items() if network != networks.get(reference)}
    candidates.sort(key=lambda effect: (effect.method in others, VERDICTS.index(effect.verdict)))
    shown = [*candidates, *bounds[:BOUNDS]]
    times = words.seconds(costs)
    return Finding(
        data=data,
        words=observed,
        method=method,
        reference=reference,
        sure=sure,
        metrics=[entry(name).label for name in names],
        lines=[
            Line(
                (label := effect.method),
                [known.get((label, name)) for name in names],
                words.count(scores, label),
                words.times(times, label, reference),
                other=label in others,
                systems=effect.row["systems"],
            )
            for effect in shown
        ],
        systems=systems,
        tests=len(ranked),
        also=[effect for effect in candidates if effect.verdict == "better" and effect.method != method],
        alike=_alike(scores[scores["method"].isin([*alone, reference])], best.method) if best else [],
        cost=words.cost(costs, method or reference, reference),
        failed=words.failed(scores, method or reference, reference),
        ranked=ranked,
    )


def _sure(best: Effect | None, some: bool) -> str:
    """Say what the interval and the corrected test make of the best method, or of none where any has gains."""
    if best is None:
        return "open" if some else "none"
    return "sure" if best.row["p"] < 0.05 else "likely"


def _alike(scores: pd.DataFrame, method: str) -> list[str]:
    """List the methods that are not worse than one, by their intervals against it; of too few systems there is none."""
    against = statistics.effects(scores, reference=method)
    against = against[against["systems"] >= statistics.FEWEST]
    return list(against.loc[against["verdict"] != "worse", "method"])
