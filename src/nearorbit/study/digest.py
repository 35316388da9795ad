"""Digests of the sources that a stage runs.

Snakemake re-runs a job when its settings or inputs change, but not when a module does that the job imports. Each rule
therefore carries digests of all sources that its stage imports, transitively, as parameters, one for each: the reason
of a job then names the source that changed. They are found by parsing and not by importing: this takes milliseconds and
needs none of what the sources need.

What a stage looks up by name in a catalogue is no import; the modules of these entries are passed in. So editing one
method changes the digests of the trainings with that method, and a new file of a catalogue changes those of no other.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from nearorbit.study.catalogue import CATALOGUES

ROOT = Path(__file__).parents[1]
STAGES = ("nearorbit.stages", "nearorbit.whole")
BUILDS = "nearorbit.study.catalogue.build"  # what an entry imports that is made of others
BESIDE = (".cpp", ".csv", ".html", ".css", ".js")  # what of a module lies beside it under the same name


def digests(stage: str, entries: Iterable[str] = ()) -> list[str]:
    """Compute the digests of the sources of a stage.

    Arguments:
        stage: The name of a stage, a function of one of STAGES. Of that module, the other functions are left out.
        entries: The modules of the entries that the stage looks up, e.g. ``"nearorbit.training.methods.baseline"``.

    Returns:
        For each module, and the function of the stage, its name and 12 hexadecimal digits.
    """
    module, own = _statements(stage)
    roots = {*entries, *(name for statement in own for name in imports(statement))}
    texts = {f"{module}.{stage}": "\n".join(map(ast.unparse, own))} | {name: whole(name) for name in closure(roots)}
    return [f"{name} {hashlib.sha256(text.encode()).hexdigest()[:12]}" for name, text in sorted(texts.items())]


def key(settings: object, sources: list[str], files: Iterable[Path]) -> str:
    """Compute a key for what follows from settings (as JSON), the digests of sources, and the content of files."""
    parts = [json.dumps([settings, sources], sort_keys=True).encode()]
    parts += [hashlib.sha256(path.read_bytes()).digest() for path in files]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def closure(modules: Iterable[str]) -> set[str]:
    """Collect modules of this package and all that they import of it, directly or not."""
    found: set[str] = set()
    waiting = set(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and locate(name) is not None:
            found.add(name)
            waiting |= _imported(name) | {name.rpartition(".")[0]}
    return found


@cache
def members(package: str) -> tuple[str, ...]:
    """List the modules of a catalogue, e.g. of ``"metrics"``."""
    home = CATALOGUES[package]
    return tuple(sorted(f"{home}.{file.stem}" for file in ROOT.parent.joinpath(*home.split(".")).glob("*.py")))


def looked_up(package: str, module: str) -> tuple[str, ...]:
    """List the modules that stand behind one of a catalogue: itself, or all, where it builds others of its catalogue by
    names that only a run tells."""
    return members(package) if BUILDS in _imported(module) else (module,)


@cache
def _imported(module: str) -> frozenset[str]:
    """Collect all that a module of this package may import."""
    return frozenset(imports(_parsed(module)))


@cache
def _parsed(module: str) -> ast.Module:
    return ast.parse(source(module))


def imports(tree: ast.AST) -> Iterator[str]:
    """List all that a piece of source may import, wherever in it: modules, and names that may be modules.

    Raises:
        ValueError: If an import is relative: of which module, the source alone does not tell.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is None or node.level:
                raise ValueError(f"'{ast.unparse(node)}': digests follow no relative imports; write the module's name")
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def locate(module: str) -> Path | None:
    """Find the file of a module of this package; None for all others."""
    if module.partition(".")[0] != ROOT.name:
        return None
    path = ROOT.parent.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def source(module: str) -> str:
    """Read the source of a module of this package."""
    file = locate(module)
    assert file is not None, module
    return file.read_text()


def whole(module: str) -> str:
    """Read the source of a module, and what of it is in other languages, beside it under the same name."""
    return source(module) + _beside(module)


@cache
def _beside(module: str) -> str:
    file = locate(module)
    assert file is not None, module
    return "".join(path.read_text() for suffix in BESIDE if (path := file.with_suffix(suffix)).exists())


def _statements(stage: str) -> tuple[str, list[ast.stmt]]:
    """Find the module of a stage, and leave out the other functions there."""
    for module in STAGES:
        body = _parsed(module).body
        if any(isinstance(node, ast.FunctionDef) and node.name == stage for node in body):
            return module, [node for node in body if not isinstance(node, ast.FunctionDef) or node.name == stage]
    raise ValueError(f"no stage '{stage}' in {' or '.join(STAGES)}")
