"""The record of a study: what of its results is small enough to be kept with a paper, and what can be shown from that.

A record is a folder with the study itself, ``study.yaml``, its long tables, the history of every training in
``cells.zip`` and, in ``made.json``, what made it. Tables and figures that read nothing else are made again from it, as
from the results: a record lies where the results of a study lie, with less in it. What ran in several places, or of
which the results are gone, is one record again by :func:`join`.

Numbers have six digits, and a table of more than a mebibyte is compressed. The same results give the same bytes.
"""

import gzip
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nearorbit.evaluation.scores import CELLS, Results, labels
from nearorbit.report.figures import base as drawing
from nearorbit.report.origins import MADE, comment, made
from nearorbit.report.tables import base as tabulation
from nearorbit.study.catalogue import StudyError, build
from nearorbit.study.files import replacing
from nearorbit.study.places import CELL, LABELLED, LONG
from nearorbit.study.schema import written
from nearorbit.study.study import Study, load

LARGE = 2**20  # bytes, from which on a table is compressed
HISTORY, STUDY = "history.csv", "study.yaml"
SHOWN = ("tables", "figures")  # sections of a study that no number hangs on
Labels = tuple[str, ...]  # of a cell, or of a system, of which the truth is
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of the files in an archive: the first that there can be


def keep(results: Results, into: Path, content: Mapping[str, Any], *, asked: Iterable[Path] = ()) -> None:
    """Make the record of a study.

    Arguments:
        results: The results of the study.
        into: The folder of the record.
        content: The study, as its file has it.
        asked: Its files, of which the first comment is kept.
    """
    tables = {name: results.table(name) for name in LONG}
    histories = _there((cell, results.read(HISTORY, *cell)) for cell in map(labels, results.trained()))
    _save(comment(asked) + written(content), made(), tables, histories, into)


def join(parts: Sequence[Path], into: Path) -> str:
    """Make one record of several, of a study that ran in several places.

    A cell is taken from the last record that has a score of it, whole. The study is that of the last; those before may
    lack labels that it has, and other tables and figures. What made the others is in ``made.json``, too, where it
    differs, in ``others``.

    Arguments:
        parts: The folders of the records, the earliest first.
        into: The folder of the record that is made, which may be one of them.

    Returns:
        How many of the cells there are.

    Raises:
        StudyError: If one is no record, or what two say of the study differs.
    """
    studies = [_study(part) for part in parts]
    for part, study in zip(parts, studies, strict=True):
        _check_within(study.content, studies[-1].content, f"{part}: another study than that of {parts[-1]}")
    records = [Results.of(part, studies[-1].axes) for part in parts]
    last = records[-1]
    read = {name: [record.table(name) for record in records] for name in LONG}
    scored = _newest(read["scores.csv"])
    taken = {**_newest(read["truth.csv"]), **_newest(read["costs.csv"]), **scored}
    tables = {name: _ordered(_joined(read[name], taken), last) for name in LONG}
    cells = {labels(cell) for cell in last.cells()}
    trained = [cell for cell in map(labels, last.trained()) if cell in taken]
    histories = _there((cell, records[taken[cell]].read(HISTORY, *cell)) for cell in trained)
    _save((parts[-1] / STUDY).read_text(), _makers(parts), tables, histories, into)
    return f"{len(cells & scored.keys())} of {len(cells)} cells"


def _study(part: Path) -> Study:
    """Read the study of a record."""
    missing = [name for name in (STUDY, MADE) if not (part / name).exists()]
    if missing:
        raise StudyError(f"{part}: no record, as snakemake record makes one: no {missing[0]}")
    return load(part / STUDY)


def _check_within(content: Mapping[str, Any], whole: Mapping[str, Any], told: str) -> None:
    """Check that another study says the same of all that one has, but for what is shown."""
    for key in dict.fromkeys([*content, *whole]):
        mine, other = (of.get(key, {} if key in LABELLED else None) for of in (content, whole))
        if key in SHOWN or mine == other:
            continue
        if key not in LABELLED:
            raise StudyError(f"{told}: {key}")
        for label, line in mine.items():
            if label not in other or other[label] != line:
                raise StudyError(f"{told}: {key}.{label}")


def _makers(parts: Sequence[Path]) -> dict[str, Any]:
    """Tell what made the last of some records, and what made the others, where it is something else."""
    *before, last = (json.loads((part / MADE).read_text()) for part in parts)
    every = [one for maker in (*before, last) for one in (*maker.pop("others", ()), maker)]
    others = [one for number, one in enumerate(every) if one != last and one not in every[:number]]
    return last | ({"others": others} if others else {})


def _cells(table: pd.DataFrame) -> list[Labels]:
    """The labels of the cell of each row; of the truth of a system, that of the system."""
    return list(table[[name for name in CELL if name in table]].itertuples(index=False, name=None))


def _newest(tables: Sequence[pd.DataFrame]) -> dict[Labels, int]:
    """Tell for each cell the last of the tables that has it."""
    return {cell: number for number, table in enumerate(tables) for cell in _cells(table)}


def _joined(tables: Sequence[pd.DataFrame], taken: Mapping[Labels, int]) -> pd.DataFrame:
    """Take the rows of every cell from the table that is named."""
    rows = [table[[taken[cell] == number for cell in _cells(table)]] for number, table in enumerate(tables)]
    return pd.concat(rows, ignore_index=True)


def _there(histories: Iterable[tuple[Labels, pd.DataFrame | None]]) -> dict[Labels, pd.DataFrame]:
    """Those of the histories of cells that there are."""
    return {cell: history for cell, history in histories if history is not None}


def _ordered(table: pd.DataFrame, of: Results) -> pd.DataFrame:
    """Bring rows into the order of the study."""
    order = {"system": of.systems, "data": tuple(of.data), "method": of.judged}
    names = [name for name in order if name in table]
    return table.sort_values(names, key=lambda labels: labels.map(order[labels.name].index), kind="stable")


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


def _save(
    study: str,
    maker: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    histories: Mapping[Labels, pd.DataFrame],
    into: Path,
) -> None:
    """Write a record, of its study, what made it, its long tables, and the histories of its cells."""
    texts = {name: table.to_csv(index=False, float_format="%.6g") for name, table in tables.items()}
    for name, text in {STUDY: study, MADE: json.dumps(maker, indent=1) + "\n", **texts}.items():
        _write(text, into / name)
    rows = (("/".join((*cell, HISTORY)), of.to_csv(index=False, float_format="%.6g")) for cell, of in histories.items())
    archive(into / CELLS, rows)


def _write(text: str, path: Path) -> None:
    """Write a text, compressed where it is large, and nothing of the other kind beside it."""
    large = len(text.encode()) > LARGE
    packed = path.with_name(f"{path.name}.gz")
    with replacing(packed if large else path) as made:
        made.write_bytes(gzip.compress(text.encode(), mtime=0) if large else text.encode())
    (path if large else packed).unlink(missing_ok=True)
