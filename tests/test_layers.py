"""Data flows one way: a module imports only what stands above it."""

import ast
import re
import subprocess
import sys

import pytest

import nearorbit
from nearorbit.digest import ROOT, closure, imports, source

ORDER = re.findall(r"\w+", nearorbit.__doc__.split("::\n")[1])
MODULES = sorted(
    ".".join(["nearorbit", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
)
TORCH = {"fields", "flow", "discrepancies", "methods", "batches", "devices", "training", "performance", "forecast"}
ONLY_IN = {  # where else a library may not be imported
    "torch": TORCH,
    "torchdiffeq": {"flow"},
    "geomloss": set(),
    "safetensors": {"fields", "training"},
    "dysts": {"systems"},
    "heyoka": {"simulation"},
    "seaborn": {"figures"},
    "matplotlib": {"figures"},
    "jsonschema": {"study"},
    "yaml": {"study"},
    "snakemake": set(),
}


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(module: str) -> set[str]:
    return set(imports(ast.parse(source(module))))


def test_the_picture_names_every_module():
    assert set(ORDER) == {layer(module) for module in MODULES} - {""}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_above(module):
    own = layer(module)
    for name in imported(module) & set(MODULES) - {"nearorbit"}:
        other = layer(name)
        if other != own:
            assert own and ORDER.index(other) < ORDER.index(own), f"{module} imports {name}, which stands below it"


@pytest.mark.parametrize("module", [module for module in MODULES if module.count(".") == 2])
def test_entries_import_their_base_and_not_one_another(module):
    package = module.rpartition(".")[0]
    siblings = {name for name in imported(module) & set(MODULES) if name.startswith(f"{package}.")}
    assert siblings <= {f"{package}.base"}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library):
    users = {layer(module) for module in MODULES if library in {name.partition(".")[0] for name in imported(module)}}
    assert users <= ONLY_IN[library]


@pytest.mark.parametrize("stage", ["train", "forecast"])
def test_training_and_forecasting_run_on_a_bare_node(stage):
    blocked = ["dysts", "heyoka", "snakemake", "seaborn", "matplotlib", "jsonschema", "yaml"]
    program = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
from nearorbit import catalogue, fields, forecast, training
from nearorbit.__main__ import main
catalogue.entries("methods")
main(["{stage}", "--help"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "--model" in done.stdout, done.stderr


def test_the_sources_of_training_are_the_loop_and_not_the_truth():
    sources = {layer(module) for module in closure(["nearorbit.training"])}
    assert {"training", "fields", "flow", "smoothing"} <= sources
    assert not sources & {"simulation", "scores", "metrics", "forecast", "figures"}
