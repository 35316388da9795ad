import re
import shutil
import subprocess

import pandas as pd
import pytest
import synthetic

from nearorbit.report.latex import PAGE, SIZES, escaped, width, written
from nearorbit.report.tables.base import save
from nearorbit.study.catalogue import build, names

DOCUMENT = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs, longtable}
\usepackage[textwidth=6.5in, textheight=9in]{geometry}
\begin{document}
%s
\end{document}
"""
SIZE = dict(SIZES)


def table(rows, columns, text, *, head="a_method_with_a_long_name_{} (data + true J)", best=False):
    """A table of these many rows and columns, in a study of that many systems and methods."""
    index = pd.MultiIndex.from_product([[f"Lorenz96_N{n}" for n in range(rows)], ["clean", "noisy"]])
    cells = pd.DataFrame(text, index.set_names(["system", "data"]), [head.format(n) for n in range(columns)])
    return cells, cells.map(lambda _: best)


WIDE = {
    "few": table(3, 3, "0.25"),
    "many methods": table(4, 18, "0.0123 ± 0.0045 ‡5 (1/5 failed)", best=True),
    "many systems": table(28, 18, "0.0123 ± 0.0045 ‡5 (1/5 failed)", best=True),
    "texts": table(2, 3, "an account of what was found, in many words, " * 4, head="told {}"),
    "signs": table(1, 2, "p < 0.05 | 100 % [a_b] * {x} #1 & ~^\\ $ ∞ – … † λ × ≤", head="[sign] {}"),
    "cells of two lines": table(15, 5, "0.0123 ± 0.0045 ‡5 (1/5 failed)", head="a_method_{}"),
    "a long caption": table(18, 3, "0.25"),
    "none": table(0, 4, ""),
}


def lines(text):
    """The printed rows of a table, each as its cells, with one line of those that have several."""
    body = re.findall(r"^(?!\\caption)(.*) \\\\$", text, re.MULTILINE)
    return [re.split(r"(?<!\\) & ", line) for line in body]


def estimated(cell, em):
    if paragraph := re.match(r"\\parbox\[t\]\{(\d+)pt\}", cell):
        return float(paragraph[1])
    stacked = re.fullmatch(r"\\shortstack\[l\]\{(.*)\}", cell)
    plain = stacked[1].split("\\\\ ") if stacked else [cell]
    shown = [re.sub(r"\\text(bf|backslash|ascii\w+)|\\[a-z]+\b|[{}$\\]", "", line) for line in plain]
    return max(width(line) * em for line in shown)


@pytest.mark.parametrize("name", WIDE)
def test_no_row_is_wider_than_the_page(name):
    text = written("t", "What is shown.", *WIDE[name])
    size = SIZE[re.search(r"^\\(small|footnotesize|scriptsize)\\setlength", text, re.MULTILINE)[1]]
    for cells in lines(text):
        assert sum(estimated(cell, size) + 6 for cell in cells) <= PAGE + 1, cells
    assert text.count("\\toprule") == text.count("\\midrule")


def test_no_space_before_a_break_widens_a_cell():
    text = "".join(written("t", "What is shown.", *parts) for parts in WIDE.values())
    assert "\\shortstack" in text and not re.search(r"\\shortstack\[l\]\{[^&\n]*? \\\\ [^&\n]*\} (&|\\\\)", text)


def test_every_cell_is_printed_once_and_index_columns_in_every_block():
    cells, best = table(4, 18, "")
    cells = cells.assign(**{column: [f"{row}.{place}" for row in range(8)] for place, column in enumerate(cells)})
    text = written("t", "What is shown.", cells.map(lambda text: f"{text} ± 0.0045 (1/5 failed)"), best)
    for row in range(8):
        for column in range(18):
            assert len(re.findall(rf"(?<![\d.]){row}\.{column}(?!\d)", text)) == 1
    blocks = text.count("\\begin{tabular}") + text.count("\\begin{longtable}")
    assert blocks > 1 and text.count("Lorenz96\\_N0") == blocks and text.count("noisy") == 4 * blocks


def test_a_table_that_has_room_is_left_as_it_is():
    text = written("t", "What is shown.", *WIDE["few"])
    assert "\\small" in text and text.count("\\begin{tabular}") == 1 and "longtable}{" not in text


def test_a_long_table_breaks_across_pages_under_one_number():
    text = written("t", "What is shown.", *WIDE["many systems"])
    assert text.count("\\begin{longtable}") == text.count("\\addtocounter{table}{-1}") + 1 > 1
    assert text.count("\\label{tab:t}") == 1 and "\\begin{table}" not in text


@pytest.mark.parametrize(("name", "caption"), [("cells of two lines", ""), ("a long caption", "What is shown. " * 70)])
def test_a_table_of_few_rows_breaks_across_pages_too_if_its_cells_or_its_caption_are_long(name, caption):
    text = written("t", caption, *WIDE[name])
    assert "\\begin{longtable}" in text and text.count("\\endhead") == text.count("\\begin{longtable}")
    assert "longtable}{" not in written("t", "", *(part.iloc[:10] for part in WIDE[name]))


def test_signs_that_latex_takes_for_its_own_are_escaped():
    assert escaped("p < 0.05 & 5 %") == "p $<$ 0.05 \\& 5 \\%"
    assert "\\\\ [" not in written("t", "", *table(1, 1, "1", head="peak memory of a device [MiB] {}"))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs LaTeX: apt-get install texlive-latex-recommended")
def test_no_table_is_wider_or_higher_than_the_page_in_latex(tmp_path):
    for name in names("tables"):
        save(build("tables", name, {}).table(synthetic.study()), tmp_path / f"{name}.tex")
    for name, parts in WIDE.items():
        caption = "What is shown, p < 0.05. " * (40 if name == "a long caption" else 1)
        (tmp_path / f"{name.replace(' ', '')}.tex").write_text(written(name, caption, *parts))
    files = sorted(path.name for path in tmp_path.glob("*.tex"))
    inputs = "\n".join(f"\\typeout{{FILE {name}}}\\input{{{name}}}\\clearpage" for name in files)
    (tmp_path / "all.tex").write_text(DOCUMENT % inputs)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300)
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    file, wide = "", []
    for line in log.splitlines():
        file = line.removeprefix("FILE ") if line.startswith("FILE ") else file
        if (over := re.match(r"Overfull \\[hv]box \(([\d.]+)pt", line)) and float(over[1]) > 1:
            wide.append((file, line))
        if "Float too large for page" in line:
            wide.append((file, line))
    assert all("\\label{tab:" in (tmp_path / name).read_text() for name in files)
    assert not wide and len(files) == len(names("tables")) + len(WIDE)
