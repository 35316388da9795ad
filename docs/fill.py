"""Fill the tables of the documentation from the records in docs/results: ``python docs/fill.py``.

A table stands in a page between two comments, the first of which says what it is made from::

    <!-- table: comparison of methods {"metrics": ["jacobian_error"]} -->
    <!-- end -->

That is the table ``comparison`` of the catalogue, with these settings, of the records in ``docs/results/methods``; it
has to read nothing but the long tables of a study. ``gpu`` is made from ``docs/results/gpu/gpu.json``, ``index of
studies`` from the first comments in ``workflow/studies``: their first sentence, and what they say that a study took,
and ``index of keys`` from the schema of a study. What stands between the comments is replaced; a test holds that every
page has what this makes.
"""

import itertools
import json
import re
from pathlib import Path

from keys import keys

from nearorbit.evaluation.scores import Results
from nearorbit.report.tables.base import Table
from nearorbit.study.catalogue import TRUTH, build

DOCS = Path(__file__).parent
RECORDS = DOCS / "results"
PAGES = sorted((DOCS.parent / "README.md", DOCS.parent / "config/README.md", *DOCS.rglob("*.md")))
PLACE = re.compile(r"(<!-- table: (\w+) of (\w+)(?: ({[^\n]*}))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)
STEPS = {  # the columns of the table of steps on a GPU: batch, segment and seeds
    "64 segments of 5, one seed": (64, 5, 1),
    "20 seeds": (64, 5, 20),
    "2048 segments of 1, one seed": (2048, 1, 1),
    "20 seeds ": (2048, 1, 20),
}


def filled(page: str) -> str:
    """Fill all tables of a page."""
    return PLACE.sub(lambda place: place[1] + made(place[2], place[3], json.loads(place[4] or "{}")) + place[6], page)


def made(name: str, study: str, settings: dict) -> str:
    """Make a table of a study, as Markdown."""
    if name == "gpu":
        return gpu(json.loads((RECORDS / study / "gpu.json").read_text()))
    if name == "index":
        return INDICES[study]()
    return markdown(build("tables", name, settings, where=f"table: {name} of {study}").table(results(study)))


def results(study: str) -> Results:
    """Find the records of a study; its labels are those of its scores, none where there are no records."""
    rows = Results(RECORDS / study, (), {}, ()).table("scores.csv")
    noise = dict(rows[["data", "noise"]].drop_duplicates().itertuples(index=False))
    methods = [method for method in rows["method"].unique() if method != TRUTH]
    return Results(RECORDS / study, tuple(rows["system"].unique()), noise, tuple(methods))


def markdown(table: Table) -> str:
    """Write the cells of a table, names of methods as code."""
    rows = table.cells.reset_index().astype(str)
    rows = rows.assign(**{name: "`" + rows[name] + "`" for name in {"method"} & set(rows)})
    return lines(list(rows), rows.to_numpy().tolist(), numbers=table.cells.shape[1])


def gpu(report: dict) -> str:
    """Write the milliseconds of whole steps on a GPU: of two methods, captured and launched one by one."""
    ms = {(row["method"], row["batch"], row["segment"], row["seeds"]): row for row in report["steps"]}
    rows = []
    for method, title in (("baseline", "baseline"), ("neighborhood", "neighborhood (K = 25)")):
        for column, label in (("graph_ms", f"{title}: captured"), ("eager_ms", "launched one by one")):
            rows.append([label, *(f"{ms[method, *size][column]:#.2g}".rstrip(".") for size in STEPS.values())])
    return lines(["one whole step, Lorenz, ms", *(name.strip() for name in STEPS)], rows, numbers=len(STEPS))


def studies() -> str:
    """Write what each study answers, the first sentence of its file, and the line ``Took:`` of its first comment."""
    rows = []
    for path in sorted((DOCS.parent / "workflow/studies").glob("*.yaml")):
        comment = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
        told, _, took = " ".join(line.removeprefix("#").strip() for line in comment).partition(" Took: ")
        answers = re.split(r"(?<=[.?!]) (?=[A-Z\d])", told)[0]
        rows.append([f"`{path.name}`", answers, took.rstrip(".") or "–"])
    return lines(["study", "what it answers", "how long it took"], rows)


def described() -> str:
    """Write what each key of a study means."""
    rows = [[f"`{key.name}`", key.meaning, key.type, key.default] for key in keys()]
    return lines(["key", "meaning", "type", "default"], [[cell.replace("|", r"\|") for cell in row] for row in rows])


def lines(header: list[str], rows: list[list[str]], numbers: int = 0) -> str:
    """Write the lines of a table, of which the last columns may be numbers."""
    dashes = ["---"] * (len(header) - numbers) + ["---:"] * numbers
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, dashes, *rows))


INDICES = {"studies": studies, "keys": described}


if __name__ == "__main__":
    for path in PAGES:
        text = path.read_text()
        if (new := filled(text)) != text:
            path.write_text(new)
            print(f"{path.relative_to(DOCS.parent)}: filled")
