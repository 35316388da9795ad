"""Tables and figures of a study as the page shows them: from the files that were made for people.

A table is read back from its Markdown, so that what is on the page is what is beside it on disk, with nothing computed
a second time; it carries its CSV and LaTeX files with it. A figure is its PNG and its caption.
"""

import re
import struct
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearorbit.report import documentation
from nearorbit.study.catalogue import entries

MIME = {".csv": "text/csv", ".tex": "text/x-tex", ".png": "image/png"}
BOLD = re.compile(r"\*\*(.*)\*\*", re.DOTALL)
FAILED = re.compile(r"(\(\d+/\d+ failed\)|\(\d+ and \d+ failed\)|[†‡]\d*)")
SIZE = slice(16, 24)  # of a PNG file: its width and height


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Arguments:
        pieces: Its text, in pieces, of which every second one tells of failures.
        best: Whether it is marked as the best.
    """

    pieces: tuple[str, ...]
    best: bool


@dataclass(frozen=True)
class Shown:
    """A table or figure of a study, as it is there.

    Arguments:
        label: Its label.
        caption: What is shown.
        head: Of a table, the names of its columns.
        rows: Of a table, its cells.
        files: Its files as ``data:`` links, by what they are called: ``{"CSV": "data:..."}``.
        width: Of a figure, in pixels.
        height: Of a figure, in pixels.
    """

    label: str
    caption: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    files: Mapping[str, str] | None = None
    width: int = 0
    height: int = 0


def tables(folder: Path, labels: Iterable[str]) -> dict[str, Shown | None]:
    """Read the tables of these labels from a folder; None for those that are not there."""
    return {label: _table(folder, label) if (folder / f"{label}.md").exists() else None for label in labels}


def figures(folder: Path, lines: Mapping[str, Mapping[str, Any]]) -> dict[str, Shown | None]:
    """Read the figures of a study from a folder; None for those that are not there."""
    return {
        label: _figure(folder, label, line) if (folder / f"{label}.png").exists() else None
        for label, line in lines.items()
    }


def read(markdown: str) -> tuple[str, tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Read a table from its Markdown.

    Arguments:
        markdown: The caption, an empty line and the table, as :func:`nearorbit.report.tables.base.save` writes them.

    Returns:
        The caption, the names of the columns, and the rows.
    """
    caption, _, table = markdown.partition("\n\n")
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    head, _, *rows = [[text.strip() for text in line] for line in lines] if lines else [[], []]
    return caption, tuple(head), tuple(tuple(map(_cell, row)) for row in rows)


def _cell(text: str) -> Cell:
    bold = BOLD.fullmatch(text)
    return Cell(tuple(FAILED.split(bold[1] if bold else text)), bool(bold))


def _table(folder: Path, label: str) -> Shown:
    caption, head, rows = read((folder / f"{label}.md").read_text())
    links = {"CSV": folder / f"{label}.csv", "LaTeX": folder / f"{label}.tex"}
    return Shown(label, caption, head, rows, {name: link(path) for name, path in links.items() if path.exists()})


def _figure(folder: Path, label: str, line: Mapping[str, Any]) -> Shown:
    image, told = folder / f"{label}.png", folder / f"{label}.txt"
    caption = (
        told.read_text().strip()
        if told.exists()
        else documentation.opening(entries("figures")[line.get("figure", label)])
    )
    width, height = struct.unpack(">II", image.read_bytes()[SIZE])
    return Shown(label, caption, files={"PNG": link(image)}, width=width, height=height)


def link(path: Path) -> str:
    """Put a file into a link."""
    return f"data:{MIME[path.suffix]};base64,{b64encode(path.read_bytes()).decode()}"
