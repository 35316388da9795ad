"""Data flows one way: a room imports only from rooms above it, a module only from what stands above it in its room."""

import ast
import importlib
import re
import subprocess
import sys

import pytest

from nearorbit.study.catalogue import CATALOGUES
from nearorbit.study.digest import ROOT, closure, imports, source

MODULES = sorted(
    ".".join(["nearorbit", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
)
DOCSTRINGS = {module: ast.get_docstring(ast.parse(source(module))) for module in MODULES}


def order(package: str) -> list[str]:
    """The order of imports that a package draws, at the end of its docstring."""
    return re.findall(r"\w+", DOCSTRINGS[package].rpartition("::\n")[2])


ROOMS = order("nearorbit")
PLACES = {  # of what stands in the order, with its room: all that is imported is in one of these
    f"nearorbit.{room}" if module is None else f"nearorbit.{room}.{module}": (i, j)
    for i, room in enumerate(ROOMS)
    for j, module in enumerate([None, *(order(f"nearorbit.{room}") if (ROOT / room).is_dir() else [])])
}
ONLY_IN = {  # where else a library may not be imported
    "torch": {"dynamics", "training", "evaluation.judged", "evaluation.steps", "evaluation.forecast"},
    "torchdiffeq": {"dynamics.flow"},
    "onnxruntime": {"dynamics.foreign"},
    "geomloss": set(),
    "safetensors": {"dynamics.models", "training.checkpoint"},
    "dysts": {"truth.systems"},
    "heyoka": {"truth.integrators"},
    "seaborn": {"report.figures"},
    "matplotlib": {"report.figures"},
    "jsonschema": {"study.schema"},
    "yaml": {"study.schema", "study.study", "report.origins"},
    "jinja2": {"report.page"},
    "docutils": {"report.documentation"},
    "snakemake": set(),
}
LOOK_UPS = {"build", "entries", "entry", "names", "home", "members"}
LONGEST, LONG = 300, 250  # lines of a module; and those beyond which its docstring says why it is one thing


def place(module: str) -> tuple[int, int]:
    """Where a module stands: the position of its room, and that in its room."""
    return PLACES[".".join(module.split(".")[:3])]


def imported(module: str) -> set[str]:
    return set(imports(ast.parse(source(module))))


def looked_up(module: str) -> set[str]:
    """The catalogues that a module looks something up in, by their names: arrows, too."""
    calls = [node for node in ast.walk(ast.parse(source(module))) if isinstance(node, ast.Call) and node.args]
    looks = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] in LOOK_UPS]
    names = {call.args[0].value for call in looks if isinstance(call.args[0], ast.Constant)}
    return {CATALOGUES[name] for name in names & CATALOGUES.keys()}


def test_the_pictures_name_every_module():
    there = {".".join(module.split(".")[:3]) for module in MODULES} - {"nearorbit"}
    assert PLACES.keys() == there


@pytest.mark.parametrize("module", [module for module in MODULES if module != "nearorbit"])
def test_a_module_imports_only_from_above(module):
    for name in (imported(module) & set(MODULES) | looked_up(module)) - {"nearorbit"}:
        if ".".join(name.split(".")[:3]) != ".".join(module.split(".")[:3]):
            assert place(name) < place(module), f"{module} imports {name}, which stands below it"


@pytest.mark.parametrize("module", [m for m in MODULES if m.rpartition(".")[0] in CATALOGUES.values()])
def test_entries_import_their_base_and_not_one_another(module):
    package = module.rpartition(".")[0]
    siblings = {name for name in imported(module) & set(MODULES) if name.startswith(f"{package}.")}
    assert siblings <= {f"{package}.base"}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library):
    for module in MODULES:
        if library in {name.partition(".")[0] for name in imported(module)}:
            names = module.removeprefix("nearorbit.").split(".")
            assert {names[0], ".".join(names[:2])} & ONLY_IN[library], f"{module} imports {library}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_one_thing(module):
    lines = len(source(module).splitlines())
    assert lines <= LONGEST
    if lines > LONG:
        assert "one module" in DOCSTRINGS[module], f"{module} has {lines} lines, and does not say why it is one module"


@pytest.mark.parametrize("module", MODULES)
def test_what_documentation_refers_to_is_there(module):
    for reference in re.findall(r":(?:mod|class|func|data|meth):`(nearorbit[\w.]*)`", source(module)):
        parts = reference.split(".")
        length = next(n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in MODULES)
        found = importlib.import_module(".".join(parts[:length]))
        for name in parts[length:]:
            assert hasattr(found, name), f"{module}: {reference}"
            found = getattr(found, name)


@pytest.mark.parametrize("stage", ["train", "forecast"])
def test_training_and_forecasting_run_on_a_bare_node(stage):
    blocked = ["dysts", "heyoka", "snakemake", "seaborn", "matplotlib", "jsonschema", "yaml"]
    program = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
from nearorbit.study import catalogue
import nearorbit.evaluation.forecast, nearorbit.training.loop, nearorbit.dynamics.models
from nearorbit.__main__ import main
catalogue.entries("methods")
main(["{stage}", "--help"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "--model" in done.stdout, done.stderr


def test_the_sources_of_training_are_the_loop_and_not_the_truth():
    sources = {module.removeprefix("nearorbit.") for module in closure(["nearorbit.training.loop"])}
    assert {"training.batches", "dynamics.fields", "dynamics.flow", "data.smoothing"} <= sources
    assert not {name.partition(".")[0] for name in sources} & {"truth", "evaluation", "report"}
