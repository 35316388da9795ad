"""What there is of a study that has not ended: its long tables, tables and figures, with gaps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearorbit.evaluation import scores
from nearorbit.report.figures import base as drawing
from nearorbit.report.tables import base as tabulation
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import replacing


def save(
    results: scores.Results, folder: Path, into: Path, *, tables: Mapping[str, Any], figures: Mapping[str, Any]
) -> str:
    """Make them, and ``missing.csv``, which lists the gaps.

    Arguments:
        results: The results of the study.
        folder: The folder of the study, for the error.
        into: The folder that they are written to.
        tables: The tables, by label.
        figures: The figures, by label.

    Returns:
        How many cells there are, ``"Partial: 4 of 5 cells."``, which stands in every table and figure.

    Raises:
        StudyError: If no cell has a forecast yet.
    """
    missing, cells = scores.missing(results), len(list(results.cells()))
    judged = cells - (missing["file"] == "forecast.nc").sum()
    if not judged:
        raise StudyError(f"{folder}: none of the {cells} cells of the study has a forecast yet")
    with replacing(into / "missing.csv") as path:
        missing.to_csv(path, index=False)
    # Scores are made for whole systems: those of a system with a cell missing are not there yet.
    for name, collect in (scores.COLLECTORS | {"scores": scores.judge}).items():
        with replacing(into / f"{name}.csv") as path:
            collect(results).to_csv(path, index=False)
    note = f"Partial: {judged} of {cells} cells."
    tabulation.save_all(results, into / "tables", tables, note=f"{note} ")
    drawing.save_all(results, into / "figures", figures, note=note)
    return note
