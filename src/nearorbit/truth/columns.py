"""Columns of numbers, from a file of measurements: CSV, Parquet or NetCDF.

What is empty is NaN. Whatever else is no finite number is refused with its row, which in CSV is a line of the file.
Times may be dates instead, of which any format is read in Parquet and NetCDF, and ISO 8601 in CSV: they become seconds
since the first of them.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit.study.catalogue import hint

SEPARATORS = ",;\t"  # of the columns of a CSV file, if not white space
KINDS = (".csv", ".tsv", ".txt", ".parquet", ".nc")
DATE = re.compile(r"\s*\d{4}-\d\d-\d\d")
EMPTY = "leave it empty where nothing was measured"
UNITS = "if it is a line of units, leave it out"
WAYS = {  # out of what is no number, by what it looks like
    r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?": "write decimals with a point, and numbers without separators of thousands",
    r"[-+]?\d*,\d+([eE][-+]?\d+)?": "write decimals with a point",
    r"\d+[-./:]\d+[-./:]\d+.*|\d+:\d+.*": "write dates as 2024-12-31 23:59:59.9, or times as numbers",
}


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read.

    Arguments:
        time: The times.
        components: The components.
        orbit: What tells recordings apart; None where the file is one recording.
    """

    time: str
    components: tuple[str, ...]
    orbit: str | None = None

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*([self.orbit] if self.orbit else []), self.time, *self.components]


def rows_of(path: Path, columns: Columns) -> tuple[pd.DataFrame, int]:
    """Read columns of a file.

    Arguments:
        path: The file.
        columns: Which columns are read.

    Returns:
        The columns, all numbers but that of recordings, and what the first row is called: 2 in CSV, else 0.

    Raises:
        ValueError: If there is no such column, or something in one is no number; with the row.
    """
    table, first = {".parquet": _parquet, ".nc": _netcdf}.get(path.suffix.lower(), _csv)(path, columns)
    where = f"{path}: {'line' if first else 'row'}"
    table = table.assign(**{columns.time: _seconds(table[columns.time], f"{where} {{}}: '{columns.time}'", first)})
    numbers = {n: _numbers(table[n], f"{where} {{}}: '{n}'", first) for n in [columns.time, *columns.components]}
    return table.assign(**numbers), first


def _seconds(times: pd.Series, place: str, first: int) -> pd.Series:
    """The seconds since the first of dates, NaN where there is none; other columns as they are."""
    if pd.api.types.is_string_dtype(times) and (filled := times.dropna()).size and DATE.match(str(filled.iloc[0])):
        dates = pd.to_datetime(times, format="ISO8601", errors="coerce", utc=True)
        if (texts := np.flatnonzero(dates.isna() & times.notna())).size:
            raise ValueError(f"{place.format(texts[0] + first)} is {str(times.iloc[texts[0]])!r}, no date as the first "
                             f"one is ({texts.size} such); write dates as 2024-12-31 23:59:59.9")  # fmt: skip
        times = dates
    if pd.api.types.is_datetime64_any_dtype(times):
        times = times - times.min()
    return times.dt.total_seconds() if pd.api.types.is_timedelta64_dtype(times) else times


def _numbers(column: pd.Series, place: str, first: int) -> np.ndarray:
    """The numbers of a column, NaN where a field is empty; the place has a blank for the row."""
    if column.dtype.kind in "biuf":
        values = column.to_numpy(np.float64, na_value=np.nan)
    else:
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
        if (texts := np.flatnonzero(np.isnan(values) & column.notna().to_numpy())).size:
            text = str(column.iloc[texts[0]])
            usual = UNITS if texts.tolist() == [0] else EMPTY
            way = next((way for form, way in WAYS.items() if re.fullmatch(form, text.strip())), usual)
            raise ValueError(f"{place.format(texts[0] + first)} is {text!r}, no number ({texts.size} such); {way}")
    if (infinite := np.flatnonzero(np.isinf(values))).size:
        raise ValueError(f"{place.format(infinite[0] + first)} is infinite; {EMPTY}")
    return values


def _check_columns(path: Path, known: Sequence[Any], columns: Columns, named: str = "") -> None:
    for name in columns.names:
        if list(known).count(name) > 1:
            raise ValueError(
                f"{path}: column '{name}' is there {list(known).count(name)} times; give each its own name"
            )
        if name not in known:
            raise ValueError(f"{path}: no column '{name}'{hint(name, map(str, known))}; it has "
                             f"{', '.join(map(str, list(known)[:20])) or 'none'}{named}")  # fmt: skip


def _csv(path: Path, columns: Columns) -> tuple[pd.DataFrame, int]:
    """The columns, and the line of the first row."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(SEPARATORS, key=header.count) if set(SEPARATORS) & set(header) else r"\s+"
        options: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig", "skip_blank_lines": False}
        options |= {"skipinitialspace": True}
        named = ", by its first line, which has to name the columns"
        names = [str(name).strip() for name in pd.read_csv(path, nrows=1, header=None, dtype=str, **options).iloc[0]]
        _check_columns(path, names, columns, named)
        places = [names.index(name) for name in columns.names]
        options |= {"names": range(len(names)), "header": 0}  # pandas would rename columns of one name
        types = {names.index(columns.orbit): str} if columns.orbit else None
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)
            table = pd.read_csv(path, float_precision="round_trip", index_col=False, dtype=types, **options)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(f"{path}: not UTF-8 (byte {byte:#x}); save it as UTF-8, or convert it: "
                         f"iconv -f {'utf-16' if byte >= 0xFE else 'latin1'} -t utf-8") from None  # fmt: skip
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: it is empty; a line of column names and rows of numbers are expected") from None
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read ({error.strerror}); see who may read it") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        if quoted := re.search(r"EOF inside string starting at row (\d+)", str(error)):
            raise ValueError(f"{path}: line {int(quoted[1]) + 1}: a quotation mark is opened and not closed") from None
        raise ValueError(f"{path}: rows have more fields than the line of names ({_first(error)}); write decimals with "
                         f"a point, or separate columns by semicolons") from None  # fmt: skip
    return table[places].set_axis(columns.names, axis=1), 2


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _parquet(path: Path, columns: Columns) -> tuple[pd.DataFrame, int]:
    try:
        table = pd.read_parquet(path)
    except ImportError:
        raise ValueError(f"{path}: pandas needs pyarrow to read Parquet: pip install pyarrow; or give CSV") from None
    except Exception as error:  # whatever pyarrow raises
        raise ValueError(f"{path}: no Parquet file ({_first(error)})") from None
    if any(table.index.names):
        table = table.reset_index()
    _check_columns(path, list(table.columns), columns)
    return table[columns.names], 0


def _netcdf(path: Path, columns: Columns) -> tuple[pd.DataFrame, int]:
    """One row for each point of the dimensions of the variables; those of missing times are left out."""
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            _check_columns(path, list(dataset.variables), columns)
            table = dataset[list(columns.names)].to_dataframe().reset_index()
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no NetCDF 4 file ({_first(error)})") from None
    return table[columns.names].dropna(subset=[columns.time], ignore_index=True), 0
