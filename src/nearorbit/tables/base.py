"""What every table shares: its interface, how seeds are summarized, and one way to a file.

A table is an entry of this package: a frozen dataclass of its settings with one method, :meth:`Tabulation.table`. A
stage builds it from its line in the study, tabulates and saves::

    tabulation = catalogue.build("tables", "jacobian_error", {})
    save(tabulation.table(results), Path("jacobian_error.csv"), Path("jacobian_error.md"), Path("jacobian_error.tex"))

How failed seeds count is one rule for all tables, :func:`summary`: no defined value is left out, not even that of a
seed which diverged or collapsed, and no failure goes unseen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd

from nearorbit import catalogue
from nearorbit.scores import CELL, Results

HEADLINES = (  # the metrics of an overview
    "jacobian_error",
    "lyapunov_distance",
    "leading_exponent_error",
    "valid_prediction_time",
    "state_space_divergence",
    "spectral_hellinger",
)
MISSING = "–"
LONG = 40  # rows; longer tables may break across pages
PREAMBLE = "% \\usepackage{booktabs, longtable}\n"


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
        reads: The names of the files that it reads, as :func:`nearorbit.study.paths` takes them.
    """

    reads: ClassVar[frozenset[str]]

    def table(self, results: Results) -> Table:
        """Make the table; a cell whose rows are missing leaves a gap."""
        ...


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Summarize the seeds of each cell and metric.

    The mean is over every seed whose value is defined, *whatever its status*: to leave out the collapsed ones would
    flatter the methods that collapse. A seed whose value is undefined cannot enter a mean. So the best method of a
    system and data is the one with the best mean among those with the fewest undefined values.

    Arguments:
        scores: Rows of ``scores.csv``.

    Returns:
        A row per cell and metric, with columns ``(system, data, noise, method, metric, unit, mean, deviation, seeds,
        undefined, diverged, collapsed, best)``; ``deviation`` is the standard deviation over the seeds.
    """
    cells = scores.groupby([*CELL, "metric", "unit"], sort=False)
    table = cells.agg(
        mean=("value", "mean"),
        deviation=("value", "std"),
        seeds=("value", "size"),
        undefined=("value", lambda value: value.isna().sum()),
        diverged=("status", lambda status: (status == "diverged").sum()),
        collapsed=("status", lambda status: (status == "collapsed").sum()),
    ).reset_index()
    return table.assign(best=_best(table))


def loss(table: pd.DataFrame) -> pd.Series:
    """Turn the means of a :func:`summary` so that lower is better for every metric; infinite where undefined."""
    higher = [name for name, metric in catalogue.entries("metrics").items() if metric.better == "higher"]
    return table["mean"].mask(table["metric"].isin(higher), -table["mean"]).fillna(np.inf)


def check_metrics(metrics: Iterable[str]) -> None:
    """Refuse a name that is no metric.

    Raises:
        ValueError: If there is one; the nearest name is offered.
    """
    known = catalogue.names("metrics")
    for name in metrics:
        if name not in known:
            raise ValueError(f"no metric '{name}'{catalogue.hint(name, known)}; there are {', '.join(known)}")


def _best(table: pd.DataFrame) -> pd.Series:
    """Mark the best methods of each system, data and metric; none where all are undefined."""
    groups = [table[name] for name in ("system", "data", "metric")]
    fewest = table["undefined"] == table["undefined"].groupby(groups).transform("min")
    value = loss(table).where(fewest)
    return (value == value.groupby(groups).transform("min")) & np.isfinite(value)


def given(results: Results) -> dict[str, str]:
    """Look up what each method is given beyond its training budget, e.g. ``{"jacobian": "true J"}``."""
    costs = results.read("costs.csv")
    return {} if costs is None else costs.dropna(subset="given").groupby("method")["given"].first().to_dict()


def headers(results: Results) -> dict[str, str]:
    """Name the methods of a study together with what they are given, e.g. ``{"jacobian": "jacobian (true J)"}``."""
    known = given(results)
    return {method: f"{method} ({known[method]})" if method in known else method for method in results.methods}


def number(value: float, *, digits: int = 3) -> str:
    """Write a number with this many digits, and all those before the point, e.g. ``0.0123``, ``950``, ``12345``."""
    if not np.isfinite(value):
        return MISSING
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def mean_and_deviation(row: pd.Series) -> str:
    """Write a row of a :func:`summary`, e.g. ``0.21 ± 0.02 (1/3 failed)``."""
    deviation = f" ± {row['deviation']:.2g}" if np.isfinite(row["deviation"]) else ""
    failed = row["diverged"] + row["collapsed"]
    return number(row["mean"]) + deviation + (f" ({failed}/{row['seeds']} failed)" if failed else "")


def spread_out(values: pd.Series, columns: dict[str, str], rows: pd.Index | None = None) -> pd.DataFrame:
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


def save(table: Table, *paths: Path) -> None:
    """Write a table in the format of each path: ``.csv``, ``.md`` or ``.tex``."""
    write = {".csv": _csv, ".md": _markdown, ".tex": _latex}
    for path in paths:
        path.write_text(write[path.suffix](table))


def _csv(table: Table) -> str:
    return table.records.to_csv(index=False)


def _markdown(table: Table) -> str:
    bold = table.cells.where(~table.best, "**" + table.cells + "**")
    return f"{table.caption}\n\n{bold.reset_index().to_markdown(index=False, disable_numparse=True)}\n"


def _latex(table: Table) -> str:
    style = table.cells.style.format(escape="latex").format_index(escape="latex").format_index(escape="latex", axis=1)
    style = style.apply(lambda _: table.best.replace({True: "textbf:--rwrap", False: ""}), axis=None)
    text = style.to_latex(
        hrules=True,
        caption=_escaped(table.caption),
        label=f"tab:{table.name}",
        multirow_align="naive",
        environment="longtable" if len(table.cells) > LONG else "table",
        position_float=None if len(table.cells) > LONG else "centering",
    )
    return PREAMBLE + text.replace("±", "$\\pm$").replace("–", "--").replace("λ", "$\\lambda$").replace("…", "\\dots")


def _escaped(text: str) -> str:
    return text.replace("%", "\\%").replace("_", "\\_").replace("&", "\\&")
