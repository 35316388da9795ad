r"""A table in LaTeX that fits a page: ``\textwidth`` of 6.5 inches, with nothing but booktabs and longtable.

The width of every cell is estimated from the letters of Computer Modern. A table that is too wide for the page gets, in
this order, heads of several lines, smaller letters (never below seven points), cells of two lines, and blocks of
columns below one another, each with its heads. Long texts are paragraphs. A table with its caption that would fill most
of a page breaks across pages, with its heads on each.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import pandas as pd

PREAMBLE = "% \\usepackage{booktabs, longtable}\n"
SYMBOLS: dict[str, str | int | None] = {  # what stands for these in LaTeX
    "±": "$\\pm$", "–": "--", "λ": "$\\lambda$", "∞": "$\\infty$", "…": "\\dots{}", "†": "$\\dagger$",
    "‡": "$\\ddagger$",
    "×": "$\\times$", "·": "$\\cdot$", "≤": "$\\le$", "≥": "$\\ge$", "²": "$^2$", "é": "\\'e", "ö": '\\"o', "ü": '\\"u',
    "<": "$<$", ">": "$>$", "|": "$|$", "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "%_&#${}"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # which a line break before them would take for its own
}  # fmt: skip
WIDTHS = {  # in ems of Computer Modern, at most; 0.56 of all others
    "ijl.,:;![]'` I": 0.34, "frst()-/‡†": 0.4, "cezagov0123456789*–²": 0.5, "JSZLAEFPBRTCKDNOQUVXYHG": 0.79,
    "wmM%&+±=<>×≤≥": 0.92, "W…∞": 1.2,
}  # fmt: skip
BOLD = 1.16  # as wide as letters that are not
PAGE = 469.0  # points, of the width of the text
CAPTION = 10.3  # points, of an em of the caption
GAP = 3.0  # points, on either side of a column
SIZES = (("small", 9.3), ("footnotesize", 8.5), ("scriptsize", 8.0))  # and the width of an em in points: 9, 8, 7 points
LONG = 45  # lines, with those of the caption; longer tables break across pages of nine inches
TEXTS = (130.0, 100.0, 75.0, 50.0)  # points: a wider column is of paragraphs; the next where there is no room


@dataclass(frozen=True)
class Layout:
    """How a table is set.

    Arguments:
        size: The size of its letters, and the width of an em in points.
        cut: Whether cells are cut in two lines before their parentheses.
        text: The width of paragraphs, in points.
        blocks: The positions of the columns of each block.
    """

    size: tuple[str, float]
    cut: bool
    text: float
    blocks: list[list[int]]


def written(name: str, caption: str, cells: pd.DataFrame, best: pd.DataFrame) -> str:
    """Write a table in LaTeX.

    Arguments:
        name: Its label is ``tab:{name}``.
        caption: What is shown, as plain text.
        cells: The rows and columns as text.
        best: Whether a cell is printed in bold, with the shape of ``cells``.
    """
    index = [_sparse(cells, level) for level in range(cells.index.nlevels)]
    heads = [str(level or "") for level in cells.index.names]
    columns = [[_cell(value) for value in cells.iloc[:, number]] for number in range(cells.shape[1])]
    bold = [[bool(value) for value in best.iloc[:, number]] for number in range(cells.shape[1])]
    titles = [" ".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in cells.columns]
    table = _Table([*heads, *titles], [*index, *columns], [*([[False] * len(cells)] * len(index)), *bold], len(index))
    layout = table.layout()
    bodies = [list(table.lines(block, layout)) for block in layout.blocks]
    said = ceil(width(caption) * CAPTION / PAGE)
    write = _long if said + sum(table.height(block, layout) for block in layout.blocks) > LONG else _short
    return PREAMBLE + write(f"tab:{name}", escaped(caption), bodies, layout, table.specs(layout))


def escaped(text: str) -> str:
    """Write plain text in LaTeX."""
    return text.translate(str.maketrans(SYMBOLS))


def width(text: str, *, bold: bool = False) -> float:
    """Estimate how wide a line of text is, in ems, rather too wide than too narrow."""
    ems = sum(next((ems for letters, ems in WIDTHS.items() if letter in letters), 0.57) for letter in text)
    return ems * (BOLD if bold else 1)


@dataclass(frozen=True)
class _Table:
    """The columns of a table, those of the index first: their heads, texts and whether these are bold."""

    heads: list[str]
    columns: list[list[str]]
    bold: list[list[bool]]
    index: int

    def layout(self) -> Layout:
        """Choose the largest letters with which all columns are side by side, or as few blocks as there can be."""
        every = list(range(self.index, len(self.columns)))
        for size in SIZES:
            for cut in (False, True):
                if sum(self._width(number, size[1], cut, TEXTS[0]) for number in range(len(self.columns))) <= PAGE:
                    return Layout(size, cut, TEXTS[0], [every])
        size, cut, text, room = SIZES[-1], True, TEXTS[0], PAGE
        for text in TEXTS:
            room = PAGE - sum(self._width(number, size[1], cut, text) for number in range(self.index))
            if all(self._width(number, size[1], cut, text) <= room for number in every):
                break
        blocks: list[list[int]] = []
        left = 0.0
        for number in every:
            needed = self._width(number, size[1], cut, text)
            if needed > left or not blocks:
                blocks.append([])
                left = room
            blocks[-1].append(number)
            left -= needed
        return Layout(size, cut, text, blocks or [[]])

    def lines(self, block: Sequence[int], layout: Layout) -> Iterator[str]:
        """Write the head and the rows of a block."""
        shown = [*range(self.index), *block]
        yield " & ".join(_stacked(self._head(number, layout.cut)) for number in shown) + " \\\\"
        for row in range(len(self.columns[0])):
            yield " & ".join(self._printed(number, row, layout) for number in shown) + " \\\\"

    def height(self, block: Sequence[int], layout: Layout) -> int:
        """Count the lines of the head and the rows of a block, rather too many than too few."""
        shown = [*range(self.index), *block]
        head = max((len(self._head(number, layout.cut)) for number in shown), default=1)
        rows = range(len(self.columns[0]))
        return head + sum(max(self._deep(number, row, layout) for number in shown) for row in rows)

    def specs(self, layout: Layout) -> list[str]:
        """Give the alignment of the columns of each block."""
        return ["l" * (self.index + len(block)) for block in layout.blocks]

    def _width(self, number: int, em: float, cut: bool, text: float) -> float:
        """The width of a column in points, with the space around it."""
        texts = max((width(line) * em for line in self._head(number, cut)), default=0.0)
        return max(texts, min(self._natural(number, cut) * em, text)) + 2 * GAP

    def _natural(self, number: int, cut: bool) -> float:
        """The width of the widest cell of a column, in ems."""
        cells = zip(self.columns[number], self.bold[number], strict=True)
        return max((width(line, bold=bold) for text, bold in cells for line in _cut(text, cut)), default=0.0)

    def _head(self, number: int, cut: bool) -> list[str]:
        return _folded(self.heads[number], max(self._natural(number, cut), 6.5))

    def _paragraphs(self, number: int, layout: Layout) -> bool:
        """Whether the cells of a column are paragraphs."""
        return self._natural(number, layout.cut) * layout.size[1] > layout.text

    def _deep(self, number: int, row: int, layout: Layout) -> int:
        """How many lines a cell has."""
        text = self.columns[number][row]
        if self._paragraphs(number, layout):
            return ceil(1.2 * width(text) * layout.size[1] / layout.text)  # lines are not full
        return len(_cut(text, layout.cut))

    def _printed(self, number: int, row: int, layout: Layout) -> str:
        text, bold = self.columns[number][row], self.bold[number][row]
        if text and self._paragraphs(number, layout):
            said = escaped(text).replace("\\_", "\\_\\allowbreak{}").replace("/", "/\\allowbreak{}")
            return f"\\parbox[t]{{{layout.text:g}pt}}{{\\raggedright\\strut {said}\\strut}}"
        lines = [escaped(line) for line in _cut(text, layout.cut)]
        return _stacked([f"\\textbf{{{line}}}" if bold else line for line in lines], raw=True)


def _sparse(cells: pd.DataFrame, level: int) -> list[str]:
    """The labels of a level of the index, empty where it and all levels above are as in the row before."""
    rows = [row[: level + 1] for row in (cells.index.to_frame().astype(str).itertuples(index=False, name=None))]
    last = level == cells.index.nlevels - 1
    return [row[-1] if last or not place or row != rows[place - 1] else "" for place, row in enumerate(rows)]


def _cell(value: object) -> str:
    return "" if pd.isna(value) else str(value)


def _cut(text: str, cut: bool) -> list[str]:
    """Cut a cell in two lines before a parenthesis or bracket, if it is to be."""
    return re.split(r" (?=[(\[])", text, maxsplit=1) if cut else [text]


def _folded(text: str, most: float) -> list[str]:
    """Break a head into lines of this width in ems, at spaces and after underscores; a word is never broken."""
    lines: list[str] = []
    for part in re.findall(r"[^ _]+_?|_|(?<= ) ", text.replace(" ", " ")):
        joined = (lines[-1] + ("" if lines[-1].endswith("_") else " ") + part) if lines else part
        lines = [*lines[:-1], joined] if lines and width(joined) <= most else [*lines, part]
    return lines or [""]


def _stacked(lines: Sequence[str], *, raw: bool = False) -> str:
    """Set lines above one another; a space before a break would be as wide as one between letters."""
    above = "\\\\ ".join(lines if raw else map(escaped, lines))
    return above if len(lines) == 1 else f"\\shortstack[l]{{{above}}}"


def _short(label: str, caption: str, bodies: list[list[str]], layout: Layout, specs: list[str]) -> str:
    """Write a table that stays on a page, its blocks below one another."""
    tabulars = [
        "\n".join(
            [f"\\begin{{tabular}}{{{spec}}}", "\\toprule", head, "\\midrule", *rows, "\\bottomrule", "\\end{tabular}"]
        )
        for (head, *rows), spec in zip(bodies, specs, strict=True)
    ]
    parts = ["\\begin{table}", "\\centering", f"\\caption{{{caption}}}", f"\\label{{{label}}}", _set(layout)]
    return "\n".join([*parts, "\n\n\\medskip\n".join(tabulars), "\\end{table}"]) + "\n"


def _long(label: str, caption: str, bodies: list[list[str]], layout: Layout, specs: list[str]) -> str:
    """Write a table that breaks across pages, its blocks one after the other under one number."""
    parts = ["\\begingroup", _set(layout), "\\setlength{\\LTcapwidth}{\\textwidth}"]
    for number, ((head, *rows), spec) in enumerate(zip(bodies, specs, strict=True)):
        named = f"\\caption{{{caption}}}\\label{{{label}}} \\\\" if not number else "\\caption[]{(continued)} \\\\"
        again = ["\\addtocounter{table}{-1}"] if number else []
        top = ["\\toprule", head, "\\midrule"]
        parts += [*again, f"\\begin{{longtable}}{{{spec}}}", named, *top, "\\endfirsthead", *top, "\\endhead"]
        parts += ["\\bottomrule", "\\endfoot", *rows, "\\end{longtable}"]
    return "\n".join([*parts, "\\endgroup"]) + "\n"


def _set(layout: Layout) -> str:
    return f"\\{layout.size[0]}\\setlength{{\\tabcolsep}}{{{GAP:g}pt}}"
