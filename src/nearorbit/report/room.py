"""What a figure shows of a study: what there is of it, and of that what has room on a page.

A system, a kind of data or a method of which nothing is there has no panel, no lane and no line in a legend. Where all
kinds of data have no room, the one of which most cells are there is shown, and of equals the first of the study.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product

from nearorbit.evaluation.scores import COLUMNS, Results

WIDTH, HEIGHT = 7.0, 9.0  # inches, a page
KINDS = 4  # of data, side by side

Cell = tuple[str, str, str]  # its system, data and method


def cells_with(results: Results, name: str) -> set[Cell]:
    """List the cells that are in a long table of the study, or have a file of this name; not those of the truth.

    Arguments:
        results: The results of the study.
        name: The name, e.g. ``"scores.csv"`` or ``"forecast.nc"``.
    """
    cells = set(product(results.systems, results.data, results.methods))
    if name in COLUMNS:
        return cells & set(results.table(name)[["system", "data", "method"]].itertuples(index=False, name=None))
    return {cell for cell in cells if results.folder.joinpath(*cell, name).exists()}


def there(results: Results, cells: Collection[Cell]) -> Results:
    """Take of a study the systems and data of which any of these cells is; all of them if there is no cell.

    All methods stay, which have their marks by their place among all.
    """
    systems, data, _ = map(set, zip(*cells, strict=True)) if cells else (set(results.systems), set(results.data), ())
    kept = {label: noise for label, noise in results.data.items() if label in data}
    return replace(results, systems=tuple(label for label in results.systems if label in systems), data=kept)


def methods_of(
    results: Results, cells: Collection[Cell], among: Collection[tuple[str, str]] | None = None
) -> list[str]:
    """List the methods of these cells, in the order of the study; all of them if there is no cell.

    Arguments:
        results: The results of the study.
        cells: The cells that are there.
        among: The systems and data that are shown; all if None.
    """
    known = {method for system, data, method in cells if among is None or (system, data) in among}
    return [label for label in results.methods if label in known] or list(results.methods)


def fitting(results: Results, *, height: float, kinds: int = KINDS, across: int = 1) -> Results:
    """Take of a study the systems that have room on a page, if each of them takes a row of this height, in inches.

    Arguments:
        results: The results of the study.
        height: The height of a row.
        kinds: The number of kinds of data that have room beside one another.
        across: The number of systems that share a row.

    Returns:
        The same with fewer systems and data, and all methods, which have their marks by their place among all.
    """
    count = across * max(1, int((HEIGHT - 0.5) / height))
    return replace(results, systems=results.systems[:count], data=dict(list(results.data.items())[:kinds]))


def in_cells(results: Results, *, height: float) -> Results:
    """Take of a study what :func:`nearorbit.report.figures.base.cell_panels` has room for, by the height of a panel."""
    return fitting(results, height=height, across=1 if len(results.data) > 1 else KINDS)


def rows_of_cells(
    results: Results, data: str | None, *, height: float, cells: Collection[Cell] = ()
) -> list[tuple[str, str]]:
    """List the systems and data of a figure with a row for each, in inches: all, or where they have no room, one kind.

    Arguments:
        results: The results of the study.
        data: The label of the data that is shown alone; if None, all as long as they have room, and else those of which
            most cells are there.
        height: The height of a row.
        cells: The cells that are there, without which a system and data has no row; if there is none, all have one.
    """
    rows = max(1, int((HEIGHT - 0.5) / height))
    known = {cell[:2] for cell in cells}
    labels = [label for label in product(results.systems, results.data) if not known or label in known]
    if data is None and len(labels) > rows:
        data = max(results.data, key=lambda kind: sum(cell[1] == kind for cell in cells))
    return [label for label in labels if data in (None, label[1])][:rows]


def labels_of(cells: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """List the systems of rows, and their data, each once, in the order of the rows."""
    return list(dict.fromkeys(system for system, _ in cells)), list(dict.fromkeys(data for _, data in cells))
