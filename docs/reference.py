"""The pages that are made of the sources: every key of a study, the catalogues, the modules of the rooms.

They are written to ``docs/reference`` before Sphinx reads it: keys from ``study/schema.yaml``, what the catalogues have
from the docstrings of their entries, with equations, settings and sources.
"""

import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keys import keys
from sphinx.application import Sphinx

from nearorbit.study import catalogue

FOLDER = Path(__file__).parent / "reference"
ROOMS = ("study", "dynamics", "truth", "data", "training", "evaluation", "report")
TITLES = {
    "networks": ("Networks", "What is trained, lines of ``networks`` in a study: :doc:`/methods` says which to take."),
    "systems": ("Systems", "What is observed, lines of ``systems`` in a study. Parameters are settings of the line."),
    "needs": ("Needs", "What a method may be given beside the observed states of its segments."),
    "methods": (
        "Methods, one by one",
        "Equations, sources and settings. A line of any method may also have a ``segment`` of its own (in samples, by "
        "default that of the study) and ``smoothings``, how often its data are smoothed through the network while it "
        "learns (0).",
    ),
    "metrics": ("Metrics, one by one", "What each metric is. The name of any of them is also a table of a study."),
    "tables": ("Tables, one by one", "Lines of ``tables`` in a study."),
    "figures": ("Figures, one by one", "Lines of ``figures`` in a study."),
}
MANY = 5  # entries of one module, from which on their names are listed


def setup(app: Sphinx) -> None:
    """Write the pages when the build begins, and mend docstrings as they are read."""
    app.connect("builder-inited", lambda _: write())
    app.connect("autodoc-process-docstring", _mended)


def write() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    pages = {"keys": all_keys(), "room_doors": doors()}
    pages |= {package: entries(package) for package in catalogue.CATALOGUES}
    pages |= {f"room_{room}": modules(room) for room in ROOMS}
    for name, text in pages.items():
        path = FOLDER / f"{name}.rst"
        if not path.exists() or path.read_text() != text:  # what is as it was is not read again
            path.write_text(text)
    if not (picture := FOLDER / "rulegraph.svg").exists():
        draw_rules(picture)


def draw_rules(picture: Path) -> None:
    """Have the workflow draw its rules, elsewhere, so that nothing is left beside the sources."""
    clone = FOLDER.parents[1]
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--directory", elsewhere]
        command += ["--snakefile", clone / "Snakefile", "--configfile", clone / "config.yaml", "--", "rulegraph"]
        subprocess.run(command, check=True)
        shutil.copy(next(Path(elsewhere).glob("results/*/rulegraph.svg")), picture)


def all_keys() -> str:
    """Describe every key of a study file, as its schema has it."""
    lines = [
        heading("Every key of a study", "="),
        "A study is one YAML file. A key without a default has to be there. A *label* is a name of your own. "
        ":doc:`/studies` tells what is made of it.",
    ]
    for key in keys():
        lines += [heading(key.name, "-")] if "." not in key.name else []
        default = [f"   :default: {key.default}"] if key.default else []
        lines.append(
            "\n".join([f".. confval:: {key.name}", f"   :type: {key.type}", *default, "", f"   {key.meaning}"])
        )
    return "\n\n".join(lines) + "\n"


def entries(package: str) -> str:
    """Describe what a catalogue has, in the order of its modules."""
    title, words = TITLES[package]
    lines = [heading(title, "="), words, f"``python -m nearorbit names {package}`` lists them."]
    homes: dict[str, list[str]] = {}
    for name in catalogue.names(package):
        homes.setdefault(catalogue.home(package, name), []).append(name)
    for home, names in sorted(homes.items()):
        exported = vars(importlib.import_module(home))["entries"]()
        lines += [heading(", ".join(names) if len(names) < MANY else home.rpartition(".")[2], "-")]
        lines += [f".. automodule:: {home}"]
        lines += _listed(names, package) if len(names) >= MANY else _shown(home, exported, package)
    return "\n\n".join(lines) + "\n"


def _listed(names: list[str], package: str) -> list[str]:
    if package == "tables":
        return []
    return [", ".join(f"``{name}``" for name in names)]


def _shown(home: str, exported: Mapping[str, Any], package: str) -> Iterator[str]:
    """Show the classes and functions of a module's entries, or what is told of its metrics."""
    for name, entry in exported.items():
        if package == "metrics":
            yield f"``{name}``: {entry.title}; {entry.better} is better."
        elif inspect.isclass(entry):
            yield f".. autoclass:: {home}.{entry.__name__}"
        elif getattr(importlib.import_module(home), getattr(entry, "__name__", ""), None) is entry:
            yield f".. autofunction:: {home}.{entry.__name__}"


def modules(room: str) -> str:
    """Describe the modules of a room; of its catalogues the base, since their entries have pages of their own."""
    package = importlib.import_module(f"nearorbit.{room}")
    lines = [heading(room, "="), f".. automodule:: {package.__name__}"]
    for info in pkgutil.iter_modules(package.__path__):
        name = f"{package.__name__}.{info.name}" + (".base" if info.ispkg else "")
        lines += [heading(name.removeprefix("nearorbit."), "-"), f".. automodule:: {name}\n   :members:"]
    return "\n\n".join(lines) + "\n"


def doors() -> str:
    """Describe the modules outside of the rooms: the stages, and the door that they are called through."""
    names = ("nearorbit", "nearorbit.stages", "nearorbit.whole", "nearorbit.__main__")
    lines = [heading("stages and the one door", "=")]
    lines += [part for name in names for part in (heading(name, "-"), f".. automodule:: {name}\n   :members:")]
    return "\n\n".join(lines) + "\n"


def heading(text: str, line: str) -> str:
    """Underline a heading."""
    return f"{text}\n{line * len(text)}"


def _mended(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Protect what docstrings write plainly and reStructuredText would take for markup: shapes such as (E, *, D), and
    the end of an item's line that has come to stand at the margin."""
    for i, line in enumerate(lines):
        in_item = i > 0 and lines[i - 1].startswith(("- ", "  ")) and any(row.startswith("- ") for row in lines[:i])
        if in_item and re.match(r"[\w:(]", line) and i + 1 < len(lines) and lines[i + 1].startswith("  "):
            line = f"  {line}"
        lines[i] = re.sub(r"(?<=[(, \[])\*(?=[,)\]]|\w+\))", r"\*", line)
