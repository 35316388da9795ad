"""The record of a study: what of its results is small enough to be kept with a paper, and what can be shown from that.

A record is a folder with the study itself, ``study.yaml``, its long tables, the history of every training in
``cells.zip`` and, in ``made.json``, what made it. Tables and figures that read nothing else are made again from it, as
from the results: a record lies where the results of a study lie, with less in it.

Numbers have six digits, and a table of more than a mebibyte is compressed. The same results give the same bytes.
"""

import gzip
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nearorbit.evaluation.scores import CELLS, Results, labels
from nearorbit.report.figures import base as drawing
from nearorbit.report.origins import MADE, comment, made
from nearorbit.report.tables import base as tabulation
from nearorbit.study.catalogue import StudyError, build
from nearorbit.study.files import replacing
from nearorbit.study.places import LONG
from nearorbit.study.schema import written

LARGE = 2**20  # bytes, from which on a table is compressed
HISTORY = "history.csv"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of the files in an archive: the first that there can be


def keep(results: Results, into: Path, content: Mapping[str, Any], *, asked: Iterable[Path] = ()) -> None:
    """Make the record of a study.

    Arguments:
        results: The results of the study.
        into: The folder of the record.
        content: The study, as its file has it.
        asked: Its files, of which the first comment is kept.
    """
    texts = {
        "study.yaml": comment(asked) + written(content),
        MADE: json.dumps(made(), indent=1) + "\n",
        **{name: results.table(name).to_csv(index=False, float_format="%.6g") for name in LONG},
    }
    for name, text in texts.items():
        _write(text, into / name)
    histories = ((labels(cell), results.read(HISTORY, *labels(cell))) for cell in results.trained())
    rows = (
        ("/".join((*cell, HISTORY)), history.to_csv(index=False, float_format="%.6g"))
        for cell, history in histories
        if history is not None
    )
    archive(into / CELLS, rows)


def archive(into: Path, members: Iterable[tuple[str, str | bytes]]) -> None:
    """Write an archive (ZIP) of members, each with its name; the same members give the same bytes."""
    with replacing(into) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)


def readable(section: str, lines: Mapping[str, Any], has: Iterable[str]) -> dict[str, Any]:
    """Pick the tables or figures that can be made from these files alone.

    Arguments:
        section: ``"tables"`` or ``"figures"``.
        lines: Their settings, by label.
        has: The names of the files.
    """
    return {label: line for label, line in lines.items() if build(section, label, line).reads <= set(has)}


def show(results: Results, into: Path, *, tables: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Make the tables and figures of a study that its record can tell.

    Arguments:
        results: The record, as the results of the study.
        into: The folder that they are written to.
        tables: The tables, by label.
        figures: The figures, by label.

    Returns:
        How many of them were made, and which need the results themselves.

    Raises:
        StudyError: If there is no record.
    """
    has = [name for name in (*LONG, HISTORY) if _has(results, name)]
    if not has:
        raise StudyError(f"{results.folder}: no record of a study, as snakemake record makes one: {', '.join(LONG)}")
    sections = {"tables": tables, "figures": figures}
    able = {name: readable(name, lines, has) for name, lines in sections.items()}
    tabulation.save_all(results, into / "tables", able["tables"])
    drawing.save_all(results, into / "figures", able["figures"])
    told = f"{len(able['tables'])} tables and {len(able['figures'])} figures"
    left = [label for name, lines in sections.items() for label in lines if label not in able[name]]
    return f"{told}; a record has too little for {', '.join(left)}" if left else told


def _has(results: Results, name: str) -> bool:
    """Tell whether there is a file of this name, of the study or of any cell."""
    if name in LONG:
        return results.table(name).size > 0
    return any(results.read(name, *labels(cell)) is not None for cell in results.trained())


def _write(text: str, path: Path) -> None:
    """Write a text, compressed where it is large, and nothing of the other kind beside it."""
    large = len(text.encode()) > LARGE
    packed = path.with_name(f"{path.name}.gz")
    with replacing(packed if large else path) as made:
        made.write_bytes(gzip.compress(text.encode(), mtime=0) if large else text.encode())
    (path if large else packed).unlink(missing_ok=True)
