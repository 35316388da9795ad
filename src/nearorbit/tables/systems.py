"""The true systems and their Lyapunov exponents."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from nearorbit.lyapunov import kaplan_yorke
from nearorbit.scores import Results
from nearorbit.tables.base import Table, number

SHOWN = 5  # exponents; of more, the first ones and the last


@dataclass(frozen=True)
class Systems:
    """Dimension, period, Lyapunov exponents and Kaplan-Yorke dimension of the systems, in units of system time."""

    reads: ClassVar[frozenset[str]] = frozenset({"truth.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from ``truth.csv``."""
        spectra = [rows for _, rows in results.read("truth.csv").groupby("system", sort=False)]
        records = pd.DataFrame([_record(rows) for rows in spectra])
        cells = records.drop(columns=["system", "leading_stderr"]).map(number)
        cells.insert(2, "Lyapunov exponents ± standard error", [_exponents(rows) for rows in spectra])
        cells = cells.drop(columns="leading").set_index(pd.Index(records["system"], name="system"))
        cells = cells.rename(
            columns=lambda name: name.replace("kaplan_yorke", "Kaplan-Yorke dimension").replace("_", " ")
        )
        caption = "The systems; times in units of system time, exponents per unit of it with the natural logarithm."
        return Table("systems", caption, records, cells, cells.map(lambda _: False))


def _record(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    return {
        **first[["system", "dimension", "period"]],
        "leading": first["exponent"],
        "leading_stderr": first["stderr"],
        "positive": int((rows["exponent"] > 3 * rows["stderr"]).sum()),
        "lyapunov_time": 1 / first["exponent"],
        "kaplan_yorke": float(kaplan_yorke(rows["exponent"].to_numpy())),
    }


def _exponents(rows: pd.DataFrame) -> str:
    text = [f"{number(e)} ± {s:.1g}" for e, s in zip(rows["exponent"], rows["stderr"], strict=True)]
    return ", ".join(text if len(text) <= SHOWN else [*text[: SHOWN - 2], "…", text[-1]])


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"systems": Systems}
