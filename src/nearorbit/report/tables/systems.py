"""The true systems: what moves how, and its Lyapunov exponents."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.dynamics.lyapunov import kaplan_yorke
from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import Table, number, with_error

SHOWN = 5  # exponents; of more, the first ones and the last
COLUMNS = ("system", "dimension", "period", "motion", "converged", "leading", "leading_stderr", "positive",
           "lyapunov_time", "kaplan_yorke")  # fmt: skip
CAPTION = (
    "The systems; times in units of system time, exponents per unit of it with the natural logarithm. What only a "
    "chaotic system has is blank for others. ‡: the spectrum has not converged."
)


@dataclass(frozen=True)
class Systems:
    """Dimension, period, motion and Lyapunov exponents of the systems, in units of system time.

    The number of positive exponents, the Lyapunov time and the Kaplan-Yorke dimension are those of chaotic systems.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"truth.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from ``truth.csv``."""
        spectra = [rows for _, rows in results.table("truth.csv").groupby("system", sort=False)]
        records = pd.DataFrame([_record(rows) for rows in spectra], columns=list(COLUMNS))
        cells = pd.DataFrame(
            {
                "dimension": records["dimension"].map(number),
                "period": records["period"].map(number),
                "motion": records["motion"],
                "Lyapunov exponents ± standard error": [_exponents(rows) for rows in spectra],
                "positive": records["positive"].map(number),
                "Lyapunov time": records["lyapunov_time"].map(number),
                "Kaplan-Yorke dimension": records["kaplan_yorke"].map(number),
            }
        ).set_index(pd.Index(records["system"], name="system"))
        return Table("systems", CAPTION, records, cells, cells.map(lambda _: False).astype(bool))


def _record(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    exponents, stderr = rows["exponent"].to_numpy(), rows["stderr"].to_numpy()
    chaotic = {
        "positive": int((exponents > 3 * stderr).sum()),
        "lyapunov_time": 1 / exponents[0],
        "kaplan_yorke": float(kaplan_yorke(exponents, stderr)),
    }
    return {
        **first[["system", "dimension", "period", "motion", "converged"]],
        "leading": exponents[0],
        "leading_stderr": stderr[0],
        **(chaotic if first["motion"] == "chaotic" else dict.fromkeys(chaotic, np.nan)),
    }


def _exponents(rows: pd.DataFrame) -> str:
    if rows["exponent"].isna().all():  # of a system that is measured
        return "–"
    text = [with_error(*pair, digits=1) for pair in zip(rows["exponent"], rows["stderr"], strict=True)]
    shown = text if len(text) <= SHOWN else [*text[: SHOWN - 2], "…", text[-1]]
    return ", ".join(shown) + ("" if rows["converged"].all() else " ‡")


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"systems": Systems}
