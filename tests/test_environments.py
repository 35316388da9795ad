"""One set of versions: pip's constraints and conda's environment agree, and hold all that the package asks for."""

import re
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PINNED = dict(
    line.split("==") for line in (REPOSITORY / "envs/constraints.txt").read_text().lower().split() if "==" in line
)
ENVIRONMENT = yaml.safe_load((REPOSITORY / "envs/environment.yaml").read_text())


def names(*extras: str) -> set[str]:
    project = PROJECT["project"]
    asked = [*project["dependencies"], *(name for extra in extras for name in project["optional-dependencies"][extra])]
    return {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in asked}


def test_every_requirement_is_pinned():
    assert names(*PROJECT["project"]["optional-dependencies"]) <= PINNED.keys()


def test_conda_has_the_versions_of_pip():
    pip = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    versions = dict(line.lower().split("==") for line in pip)
    assert versions == {name: PINNED[name] for name in names("study", "cluster")}


def test_conda_has_a_python_that_the_package_takes():
    python = next(entry for entry in ENVIRONMENT["dependencies"] if str(entry).startswith("python="))
    assert PROJECT["project"]["requires-python"] == f">={python.removeprefix('python=')}"


def test_every_rule_names_the_environment():
    for file in sorted((REPOSITORY / "workflow/rules").glob("*.smk")):
        text = file.read_text()
        commands = text.count("    shell:\n")
        assert text.count("    conda:\n        ENVIRONMENT\n") == commands, file
