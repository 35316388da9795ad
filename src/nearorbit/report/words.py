"""How orbits are observed, what methods cost and how many of their seeds fail, in words."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nearorbit.report.tables.base import number

DIGITS = 2


def observed(line: Mapping[str, Any], remark: str = "") -> str:
    """Say how orbits are observed, e.g. ``"5 % noise, 500 orbits of 50 samples, with transients"``, and a remark."""
    of = {"means": "of the mean", "units": "in system units"}.get(str(line.get("noise_in")))
    noise = f"noise of {line['noise']:g} {of}" if of else f"{100 * line['noise']:g} % noise"
    noise = noise if line["noise"] else "clean" if "orbits" in line else "as recorded"
    s, transient = "s" * (line.get("orbits") != 1), line.get("transient")
    orbits = f"{line['orbits']} orbit{s} of {line['samples']} samples" if "orbits" in line else ""
    where = "" if transient is None else "on the attractor" if transient else "with transients"
    return ", ".join(part for part in (noise, orbits, where, remark) if part)


def cost(costs: pd.DataFrame, method: str, reference: str) -> str:
    """Say how long a method trains, the median over systems and its range, and that beside the reference on the same
    systems; empty if unknown."""
    known = seconds(costs)
    if method not in known:
        return ""
    seeds = int(costs.loc[costs["method"] == method, "seeds"].median())
    least, most = number(known[method].min()), number(known[method].max())
    spread = f" ({least} to {most} over systems)" if least != most else ""
    own = f"{number(known[method].median())} s{spread} for {seeds} seed{'s' * (seeds > 1)} of a system"
    longer = times(known, method, reference)
    return f"{own}, {longer} times as long as {reference}" if longer and method != reference else own


def seconds(costs: pd.DataFrame) -> pd.DataFrame:
    """The seconds of trainings, by system and processor, and by method: those of two processors are no ratio."""
    costs = costs.dropna(subset="seconds").assign(device=costs["device"].astype(object).fillna(""))
    return costs.pivot_table(index=["system", "device"], columns="method", values="seconds")


def times(seconds: pd.DataFrame, method: str, reference: str) -> str:
    """Say how many times as long a method trains as the reference, the median over systems; empty if unknown."""
    ratios = seconds[method] / seconds[reference] if {method, reference} <= set(seconds) else pd.Series(dtype=float)
    return number(ratios.median(), digits=DIGITS) if ratios.notna().any() else ""


def count(scores: pd.DataFrame, method: str) -> str:
    """Count the seeds of a method that diverged or collapsed, e.g. ``"0 of 15"``; empty where there are none."""
    rows = scores[scores["method"] == method]
    return f"{(rows['status'] != 'ok').sum()} of {len(rows)}" if len(rows) else ""


def failed(scores: pd.DataFrame, method: str, reference: str) -> str:
    """Say how many seeds of a method and of the reference diverged or collapsed."""
    own, other = count(scores, method), count(scores, reference)
    told = f"{own} seeds" if own else ""
    return told if method == reference or not other else f"{told} ({reference}: {other})"
