"""What every table shares: its interface, how seeds are summarized, and one way to a file.

A table is an entry of this package: a frozen dataclass of its settings with one method, :meth:`Tabulation.table`. A
stage builds it from its line in the study, tabulates and saves::

    tabulation = catalogue.build("tables", "jacobian_error", {})
    save(tabulation.table(results), Path("jacobian_error.csv"), Path("jacobian_error.md"), Path("jacobian_error.tex"))

How failed seeds count is one rule for all tables: of a cell no defined value is left out of a mean, not even that of a
seed which diverged or collapsed (:func:`summary`); no failure goes unseen; and none is a success: where methods are
compared a failed seed is worse than any value (:mod:`nearorbit.evaluation.statistics`), and a cell with one is never
the best. The truth stands beside the methods, the floor of each metric, and competes with none; nor do methods that are
given more than data (:func:`given_more`). It is one module since this rule runs from the summary to the print.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, log10
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import CELL, Results
from nearorbit.evaluation.statistics import DIGITS, FEWEST, higher
from nearorbit.report import latex
from nearorbit.report.labels import misfits as misfits  # of all entries of this catalogue
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH
from nearorbit.study.files import replacing_all

HEADLINES = (  # the metrics of an overview
    "jacobian_error",
    "lyapunov_distance",
    "leading_exponent_error",
    "valid_prediction_time",
    "state_space_divergence",
    "spectral_hellinger",
)
MISSING = "–"
DATA = "data"  # what a method is given that is given nothing more
MARKS = "‡ counts the seeds whose Lyapunov spectrum has not converged."
FLOOR = "The truth is the true field in a model's place: the floor of a metric at this sample size."


@dataclass(frozen=True)
class Table:
    """A table, for machines and for people.

    Arguments:
        name: A plain name, for references.
        caption: What is shown and how to read it.
        records: What the CSV file holds: a row per observation, its identity in columns.
        cells: The same as text: rows and columns of the printed table.
        best: Whether a cell is printed in bold, with the shape of ``cells``.
    """

    name: str
    caption: str
    records: pd.DataFrame
    cells: pd.DataFrame
    best: pd.DataFrame


class Tabulation(Protocol):
    """A table of a study.

    Attributes:
        reads: The names of the files that it reads, as :func:`nearorbit.study.places.paths` takes them.
    """

    reads: ClassVar[frozenset[str]]

    def table(self, results: Results) -> Table:
        """Make the table; a cell whose rows are missing leaves a gap."""
        ...


def summary(scores: pd.DataFrame, *, beside: Collection[Any] = ()) -> pd.DataFrame:
    """Summarize the seeds of each cell and metric.

    The mean is over every seed whose value is defined, *whatever its status*: to leave out the collapsed ones would
    flatter the methods that collapse. A seed whose value is undefined cannot enter a mean. So the best method of a
    system and data is the one with the best mean among those with the fewest undefined values, of all without a failed
    seed; where each has one, none is the best.

    Arguments:
        scores: Rows of ``scores.csv``.
        beside: The methods that are given more than the others, and never the best.

    Returns:
        A row per cell and metric, with columns ``(system, data, noise, method, metric, unit, mean, deviation, stderr,
        seeds, undefined, diverged, collapsed, unconverged, failed, best)``; ``deviation`` is the standard deviation
        over the seeds, ``stderr`` the root mean square of the seeds' own standard errors, and ``failed`` are those that
        diverged or collapsed.
    """
    value, stderr = scores["value"].astype(float), scores["stderr"].astype(float)
    columns = {
        "squared": stderr**2,
        "undefined": value.isna(),
        **{word: scores["status"] == word for word in ("diverged", "collapsed")},
        "unconverged": (scores["converged"] == 0) & value.notna(),
    }
    cells = scores.assign(value=value, **columns).groupby([*CELL, "metric", "unit"], sort=False)
    table = cells.agg(
        mean=("value", "mean"),
        deviation=("value", "std"),
        stderr=("squared", "mean"),
        seeds=("value", "size"),
        **{name: (name, "sum") for name in ("undefined", "diverged", "collapsed", "unconverged")},
    ).reset_index()
    table = table.assign(stderr=table["stderr"] ** 0.5, failed=table["diverged"] + table["collapsed"])
    return table.assign(best=_best(table, [TRUTH, *beside]))


def check_metrics(metrics: Collection[str]) -> None:
    """Refuse an empty list of metrics, and a name that is none.

    Raises:
        ValueError: If there is no metric, or such a name; the nearest one is offered.
    """
    known = catalogue.names("metrics")
    if not metrics:
        raise ValueError("metrics: there has to be one")
    for name in metrics:
        if name not in known:
            raise ValueError(f"no metric '{name}'{catalogue.hint(name, known)}; there are {', '.join(known)}")


def _best(table: pd.DataFrame, beside: Collection[Any]) -> pd.Series:
    """Mark the best methods of each system, data and metric; none where all are undefined, or have a failed seed."""
    groups = [table[name] for name in ("system", "data", "metric")]
    undefined = table["undefined"].where((table["failed"] == 0) & ~table["method"].isin(beside))
    least = undefined == undefined.groupby(groups).transform("min")
    value = table["mean"].mask(table["metric"].isin(higher()), -table["mean"]).where(least)
    return (value == value.groupby(groups).transform("min")) & np.isfinite(value)


def given(results: Results) -> dict[str, str]:
    """Look up what each method is given beyond its training budget, e.g. ``{"jacobian": "true J"}``."""
    known = results.table("costs.csv").dropna(subset="given").groupby("method")["given"].first().to_dict()
    return known | dict.fromkeys(results.fields, "brought")  # of which nobody here knows


def given_more(results: Results) -> list[str]:
    """List the methods that are given more than data, or nobody knows what: they compete with none that is not."""
    known = given(results)
    return [label for label in results.methods if known.get(label, DATA) != DATA]


def unmarked(results: Results, scores: pd.DataFrame) -> pd.MultiIndex:
    """List by (data, method) what no table over systems marks: what is given more than data, or of which half of the
    seeds or more diverged or collapsed, by these rows of ``scores.csv``."""
    seeds = scores.drop_duplicates(["system", "data", "method", "seed"])
    lost = (seeds["status"] != "ok").groupby([seeds["data"], seeds["method"]]).mean() >= 0.5
    return lost.index[lost | lost.index.isin(given_more(results), level="method")]


def headers(results: Results) -> dict[str, str]:
    """Name the truth and the methods of a study, with what they are given: ``{"jacobian": "jacobian (true J)"}``."""
    known = given(results)
    return {label: f"{label} ({known[label]})" if label in known else label for label in results.judged}


def number(value: float, *, digits: int = 3) -> str:
    """Write a number with this many digits, and all those before the point, e.g. ``0.0123``, ``950``, ``12345``."""
    if not np.isfinite(value):
        return MISSING
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def with_error(value: float, error: float, *, digits: int = 2) -> str:
    """Write a number and its standard error, of which these many digits, to the digits that this allows."""
    if not np.isfinite(value):
        return MISSING
    if not (np.isfinite(error) and error > 0):
        return number(value)
    places = min(max(digits - 1 - floor(log10(error)), 0), 9)
    return f"{value:z.{places}f} ± {error:.{places}f}"


def ratio(value: float) -> str:
    """Write a ratio, which may be infinite: ``0.336``, ``∞``."""
    return "∞" if value == np.inf else number(value, digits=DIGITS)


def interval(row: Mapping[str, Any]) -> str:
    """Write the ratio of a row of :func:`nearorbit.evaluation.statistics.effects`, e.g. ``0.34 [0.1, 0.54]``.

    Of systems too few for an interval it is the range over them, ``0.34 (0.2 to 0.5)``.
    """
    low, high = ratio(row["low"]), ratio(row["high"])
    return ratio(row["ratio"]) + (f" ({low} to {high})" if row["systems"] < FEWEST else f" [{low}, {high}]")


def wins(row: Mapping[str, Any]) -> str:
    """Write on how many systems a method is better than the reference, e.g. ``5/9``, and on how many equal."""
    equal = row["systems"] - row["better"] - row["worse"]
    return f"{row['better']}/{row['systems']}" + (f", {equal} equal" if equal else "")


def mean_and_deviation(row: pd.Series) -> str:
    """Write a row of a :func:`summary`, e.g. ``0.21 ± 0.02 ‡2 (1/3 failed)``: no digit beyond those of the scatter."""
    deviation = f" ± {row['deviation']:.2g}" if np.isfinite(row["deviation"]) else ""
    mean = number(row["mean"])
    if row["deviation"] > 0 and "." in mean and "e" not in mean:
        told = 1 - floor(log10(row["deviation"]))
        mean = f"{row['mean']:.{max(0, min(told, len(mean.split('.')[1])))}f}"
    elif row["deviation"] > 0 and "e" in mean:
        told = floor(log10(abs(row["mean"]))) - floor(log10(row["deviation"])) + 2
        mean = number(row["mean"], digits=min(max(told, 1), 3))
    return mean + deviation + unconverged(row["unconverged"]) + failures(row)


def failures(row: pd.Series) -> str:
    """Write how many seeds of a row of a :func:`summary` failed, e.g. `` (1/3 failed)``; empty for none."""
    return f" ({row['failed']}/{row['seeds']} failed)" if row["failed"] else ""


def unconverged(seeds: int) -> str:
    """Mark a number that rests on spectra of which these many have not converged, e.g. `` ‡2``; empty for none."""
    return f" ‡{seeds}" if seeds else ""


def texts(records: pd.DataFrame, index: Sequence[str], write: Callable[[pd.Series], str]) -> pd.Series:
    """Write each record as a text, under an index of these columns; also where there are no records."""
    index = pd.MultiIndex.from_frame(records[list(index)])
    return pd.Series([write(row) for _, row in records.iterrows()], index, dtype=object)


def spread_out(values: pd.Series, columns: Mapping[Any, str], rows: pd.Index | None = None) -> pd.DataFrame:
    """Spread the last level of an index over columns.

    Arguments:
        values: What to print, e.g. a text by (system, data, method).
        columns: The order of the columns, and how they are named in print.
        rows: The rows, e.g. by (system, data), also those of which there is no value; those that there are if None.

    Returns:
        The printed rows, in the order in which they come; NaN where there is no value.
    """
    rows = values.index.droplevel(-1).unique() if rows is None else rows
    return values.unstack().reindex(index=rows, columns=list(columns)).rename(columns=columns).rename_axis(columns=None)


def save_all(results: Results, into: Path, tables: Mapping[str, Any], *, note: str = "") -> None:
    """Make the tables of a study, each as CSV, Markdown and LaTeX.

    Arguments:
        results: The results of the study.
        into: The folder that they are written to.
        tables: Their settings, by label.
        note: What their captions begin with.
    """
    for label, spec in tables.items():
        with replacing_all(into / f"{label}.{kind}" for kind in ("csv", "md", "tex")) as paths:
            table = catalogue.build("tables", label, spec).table(results)
            save(replace(table, caption=f"{note}{table.caption}{results.remark}"), *paths)


def save(table: Table, *paths: Path) -> None:
    """Write a table in the format of each path: ``.csv``, ``.md`` or ``.tex``."""
    write = {".csv": _csv, ".md": _markdown, ".tex": _latex}
    for path in paths:
        path.write_text(write[path.suffix](table))


def _csv(table: Table) -> str:
    return table.records.to_csv(index=False)


def _latex(table: Table) -> str:
    return latex.written(table.name, table.caption, table.cells, table.best)


def _markdown(table: Table) -> str:
    bold = table.cells.where(~table.best, "**" + table.cells.astype(object) + "**")
    return f"{table.caption}\n\n{bold.reset_index().to_markdown(index=False, disable_numparse=True)}\n"
