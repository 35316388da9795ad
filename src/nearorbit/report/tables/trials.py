r"""Which of the trials of a method to take: the one that forecasts held-out observations best.

The protocol by which weights are chosen, the same for every method. A study has each method under as many labels as
trials, ``neighborhood-0.001``, ``neighborhood-0.01``, ...: what comes before the hyphen and a number is the method. Its
systems are none of those that are reported later. A trial is judged as a user without the truth could judge it, by the
least error v of forecasts of the validation orbits, noise included, that it had during training,

.. math:: \bar{\rho} = \exp \Big\langle \log \frac{v}{v_\text{reference}} \Big\rangle_{\text{systems, data, seeds}} .

A trial is not taken if a seed of it skipped steps, because their gradient was not finite (a coupling too strong for its
integration, say): what such a training has learned is what the other steps have.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import Table, number

CAPTION = (
    "Validation error relative to {reference}, geometric mean over systems, data and seeds; undefined where a seed "
    "never had a finite one, or skipped steps, whose gradient was not finite. Bold: the trial of each method that is "
    "taken."
)


@dataclass(frozen=True)
class Trials:
    """The validation error of each trial relative to the reference, and which of each method's is taken.

    Arguments:
        reference: The label of the reference; the first method of the study if None.
    """

    reference: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"history.csv"})

    def table(self, results: Results) -> Table:
        """Make the table from the histories of training; a trial whose error is undefined is not taken."""
        reference = self.reference or results.methods[0]
        errors = pd.DataFrame(_errors(results), columns=["system", "data", "seed", "label", "error"])
        errors = errors.pivot(index=["system", "data", "seed"], columns="label", values="error")
        errors = errors.reindex(columns=list(results.methods))
        ratios = np.exp(np.log(errors.div(errors[reference], axis=0)).mean(skipna=False))
        records = ratios.rename("ratio").rename_axis("label").reset_index()
        records.insert(0, "method", records["label"].map(method))
        records["taken"] = records["ratio"] == records.groupby("method")["ratio"].transform("min")
        rows = records.set_index(["method", "label"])
        cells = rows[["ratio"]].map(number)
        return Table(
            "trials", CAPTION.format(reference=reference), records, cells, rows[["taken"]].set_axis(["ratio"], axis=1)
        )


def method(label: str) -> str:
    """Tell the method of a trial: what comes before a hyphen and a number at the end of its label, or all of it."""
    return re.sub(r"-[0-9.]+(e[+-]?[0-9]+)?$", "", label)


def _errors(results: Results) -> list[tuple[Any, ...]]:
    """List the least validation error of each seed of each cell; NaN where none is finite, or steps were skipped."""
    rows = []
    for cell in results.trained():
        history = results.read("history.csv", cell["system"], cell["data"], cell["method"])
        if history is not None:
            seeds = history.groupby("seed")
            best = seeds["validation"].min().where(seeds["skipped"].max() == 0)
            rows += [(cell["system"], cell["data"], seed, cell["method"], error) for seed, error in best.items()]
    return rows


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"trials": Trials}
