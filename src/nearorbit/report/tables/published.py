"""What others have published beside what the cells of the study gave: theirs, ours and the ratio.

Published figures are rows of ``workflow/published/*.csv``, a file for each source. A row says where its figure stands
(``source``, ``setting``), the cell of a study that answers it (``study, system, data, method``, labels of the study's
lines), what was measured (``quantity``, one of :data:`QUANTITIES`, and ``statistic`` in the words of the source), and
the figure: a ``value``, or a ``spread`` as ``low to high`` where only that is known, and ``how`` it was had,
``printed`` or ``read off`` a plot.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import CELL, Results
from nearorbit.report.tables.base import MARKS, MISSING, Table, failures, number, unconverged
from nearorbit.study.catalogue import StudyError, hint
from nearorbit.study.places import PUBLISHED

FIRST, LAST = 1, -1  # exponents by their index; the last one is that of the system's dimension
QUANTITIES: dict[str, tuple[str | int, str]] = {  # what is measured: a metric or exponent, and in which unit or how
    "first exponent": (FIRST, "exponent"),
    "second exponent": (2, "exponent"),
    "third exponent": (3, "exponent"),
    "last exponent": (LAST, "exponent"),
    "error of the first exponent": (FIRST, "error"),
    "squared error of the first exponent": (FIRST, "squared"),
    "first exponent off by 0.1": (FIRST, "share"),  # of the seeds, the failed ones among them
    "Jacobian error": ("jacobian_error", "1"),
    "valid prediction time": ("valid_prediction_time", "Lyapunov times"),
    "state-space divergence": ("state_space_divergence", "nats"),
    "interpolation error in system units": ("noisy_interpolation_mse", "squared system units"),
    "extrapolation error in system units": ("noisy_extrapolation_mse", "squared system units"),
}
OFF = 0.1  # per unit of time: an exponent that is wrong
HOW = ("printed", "read off")
PLACE = ("system", "data", "method")
COLUMNS = ("source", "setting", "study", *PLACE, "quantity", "statistic", "value", "spread", "how")
OURS = ("ours", "low", "high", "seeds", "failed", "unconverged", "ratio", "gap")
CAPTION = (
    "Published figures beside those of the same cells here: the median over the seeds whose value is defined, with its "
    "range (of what is off by 0.1 the share of seeds); and ours over theirs, of a range over its middle. Failed seeds "
    f"diverged or collapsed. {MARKS} A figure whose cell is not here is a gap, with the reason."
)


@dataclass(frozen=True)
class Published:
    """Published figures beside the study's own, and the ratio of the two; those of all studies where it has none.

    Arguments:
        sources: The sources whose figures are shown; all if None.
    """

    sources: Sequence[str] | None = None
    reads: ClassVar[frozenset[str]] = frozenset(
        {"scores.csv", "exponents.csv", "truth.csv", *map(str, PUBLISHED.glob("*.csv"))}
    )

    def __post_init__(self):
        known = list(dict.fromkeys(published()["source"]))
        for source in self.sources or ():
            if source not in known:
                raise ValueError(f"no source '{source}'{hint(source, known)}; there are {', '.join(known)}")

    def table(self, results: Results) -> Table:
        """Make the table from ``scores.csv``, ``exponents.csv`` and ``truth.csv``."""
        rows, study = published(), results.folder.name
        rows = rows if self.sources is None else rows[rows["source"].isin(self.sources)]
        asked = rows[rows["study"] == study]
        rows = asked if len(asked) else rows
        seeds = measured(results)
        records = pd.DataFrame([{**row, **_answer(row, seeds, results)} for row in rows.to_dict("records")])
        records = records.reindex(columns=[*COLUMNS, *OURS])
        index = pd.MultiIndex.from_frame(records[["source", *PLACE, "quantity"]])
        cells = pd.DataFrame(
            {
                "published": [row["value"] or row["spread"] for _, row in records.iterrows()],
                "how": records["how"].tolist(),
                "ours": [_text(row) for _, row in records.iterrows()],
                "ours / published": [number(row["ratio"]) for _, row in records.iterrows()],
            },
            index,
        )
        return Table("published", CAPTION, records, cells, cells.map(lambda _: False))


def published(folder: Path = PUBLISHED) -> pd.DataFrame:
    """Read all published figures, as texts.

    Arguments:
        folder: The folder of the files.

    Returns:
        A row per figure, with the columns COLUMNS, in the order of the files' names.

    Raises:
        StudyError: If there are no files, a file has other columns, or a row no known quantity or no figure; with the
            file and the line.
    """
    if not (paths := sorted(folder.glob("*.csv"))):
        raise StudyError(f"{folder}: no files of published figures there; install nearorbit again")
    return pd.concat([_checked(path) for path in paths], ignore_index=True)


def _checked(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise StudyError(f"{path}: its columns have to be {', '.join(COLUMNS)}, not {', '.join(table.columns)}")
    for line, row in enumerate(table.to_dict("records"), 2):
        for problem in _problems(row):
            raise StudyError(f"{path}: line {line}: {problem}")
    return table


def _problems(row: dict[Any, str]) -> Iterator[str]:
    if (quantity := row["quantity"]) not in QUANTITIES:
        yield f"no quantity '{quantity}'{hint(quantity, QUANTITIES)}; there are {', '.join(QUANTITIES)}"
    if row["how"] not in HOW:
        yield f"how: '{row['how']}' has to be {' or '.join(HOW)}"
    if not np.isfinite(_middle(row)):
        yield f"a value, or a spread as 'low to high', has to be given, not '{row['value']}' and '{row['spread']}'"


def _middle(row: dict[Any, str]) -> float:
    """Take the value of a row, or the middle of its spread; NaN where neither is a number."""
    numbers = [row["value"]] if row["value"] else row["spread"].split(" to ")
    if not all(re.fullmatch(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", text) for text in numbers):
        return np.nan
    return float(np.mean([float(text) for text in numbers]))


def measured(results: Results) -> pd.DataFrame:
    """Look up all quantities of all seeds.

    Arguments:
        results: The files of the study.

    Returns:
        A row per cell, seed and quantity, with columns ``(system, data, method, quantity, seed, value, unit, status,
        converged)``.
    """
    scores = results.table("scores.csv")
    status = scores.drop_duplicates([*CELL, "seed"])[[*CELL, "seed", "status"]]
    spectra = results.table("exponents.csv").merge(status, on=[*CELL, "seed"], how="left")
    spectra = spectra.assign(status=spectra["status"].fillna("ok"))
    last = spectra["index"] == spectra.groupby(list(PLACE))["index"].transform("max")
    truth = results.table("truth.csv").query("index == 1").set_index("system")["exponent"]
    tables = []
    for quantity, (what, unit) in QUANTITIES.items():
        if isinstance(what, str):
            rows = scores[scores["metric"] == what]
        else:
            rows = spectra[last if what == LAST else spectra["index"] == what]
            rows = rows.assign(value=_of_exponents(rows, unit, truth), unit=unit)
        tables.append(rows.assign(quantity=quantity))
    rows = pd.concat(tables, ignore_index=True)
    return rows[[*PLACE, "quantity", "seed", "value", "unit", "status", "converged"]]


def _of_exponents(rows: pd.DataFrame, unit: str, truth: pd.Series) -> pd.Series:
    """Compute what is asked of exponents, one for each row."""
    values = rows["exponent"].astype(float)
    if unit == "exponent":
        return values
    error = (values - rows["system"].map(truth).astype(float)).abs()
    if unit == "share":
        return (~(error <= OFF) | (rows["status"] != "ok")).astype(float)
    return error**2 if unit == "squared" else error


def _answer(row: dict[Any, Any], seeds: pd.DataFrame, results: Results) -> dict[str, Any]:
    """Find what answers a published figure, or the reason why nothing does."""
    cell = seeds[(seeds[[*PLACE, "quantity"]] == [row[name] for name in (*PLACE, "quantity")]).all(axis=1)]
    values, (_, unit) = cell["value"].astype(float).dropna(), QUANTITIES[row["quantity"]]
    if reason := _gap(row, results, seeds, cell, values, unit):
        return {"ours": np.nan, "gap": reason}
    ours = values.mean() if unit == "share" else values.median()
    theirs = _middle(row)
    return {
        "ours": ours,
        "low": values.min(),
        "high": values.max(),
        "seeds": len(cell),
        "failed": int((cell["status"] != "ok").sum()),
        "unconverged": int((cell["converged"] == 0).sum()),
        "ratio": ours / theirs if theirs else np.nan,
        "gap": "",
    }


def _gap(
    row: dict[Any, Any], results: Results, seeds: pd.DataFrame, cell: pd.DataFrame, values: pd.Series, unit: str
) -> str:
    """Tell why there is no answer to a published figure; empty where there is one."""
    if row["study"] != results.folder.name:
        return f"for the study {row['study']}" if row["study"] else "no study has its setting"
    if seeds.empty:
        return "no results"
    for kind, known in zip(PLACE, (results.systems, results.data, results.judged), strict=True):
        if row[kind] not in known:
            return f"no {kind} {row[kind]}"
    if cell.empty:
        return "no results of this cell"
    if (other := str(cell["unit"].iloc[0])) != unit:
        return f"ours in units of {other}"
    return "" if len(values) else f"undefined for all {len(cell)} seeds"


def _text(row: pd.Series) -> str:
    if row["gap"]:
        return f"{MISSING} ({row['gap']})"
    spread = (
        f" ({number(row['low'])} to {number(row['high'])})" if row["seeds"] > 1 and row["low"] < row["high"] else ""
    )
    counts = row[["seeds", "failed", "unconverged"]].astype(int)
    return number(row["ours"]) + spread + unconverged(counts["unconverged"]) + failures(counts)


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"published": Published}
