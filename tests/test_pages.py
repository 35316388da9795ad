"""What README and the pages tell a reader to type works: every block of code and every command is run.

Commands run in a copy of the repository in which every study is the smoke study, which has run; Python likewise; YAML
is checked as lines of a study. What cannot run here says so where it stands, in a comment that readers see: ``# needs
Slurm`` at the end of a command is for this command, in the first line of a block for all of it. Blocks of notebooks
run as the pages are built.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY, SMOKE

from nearorbit.study import study as studies

MADE = ("docs/reference", "docs/contributing.md", "docs/changelog.md", "docs/results")
OWN = {"docs/field.md": "test_field_page.py", "docs/adding/": "test_adding.py"}  # pages with tests of their own
SHELL, CODE = ("sh", "bash"), ("python", "yaml")
PROGRAMS = ("snakemake", "python", "python3", "pytest", "nearorbit")  # what a command in a sentence begins with
NEEDS = {  # what a block or command may need, and where it is run instead
    "Slurm": "tests/cluster, as root",
    "a GPU": "tests/gpu/run",
    "conda": "nowhere, as the page says",
    "another minute": "it is the smoke study with a method more",
    "minutes": "apart, as the page says",
    "a minute": ".ci/run",
    "git": "by hand",
    "two records": "tests of records join them",
}
LEFT_OUT = {  # the beginnings of commands that are read here, and why they are not run
    "python3 -m venv": "installs; .ci/run",
    ".venv/bin/pip install": "installs; .ci/run",
    "pip install": "installs; .ci/run",
    ". .venv/bin/activate": "the environment is active",
    ".venv/bin/pytest": "starts these tests; .ci/run",
    "pytest": "starts tests",
    "snakemake --cores 2 report": "tests of the report make it",
    "snakemake --cores 1 redraw": "tests of records make it; this copy has none",
    "snakemake --cores 1 performance": "measures for minutes, whatever the study; test_workflow.py plans it",
    "snakemake --cores 1 landscape": "computes for a minute; test_workflow.py plans it",
    "snakemake ...": "stands for the command that started a study",
    "snakemake --cores 1 --force FILE": "FILE is for the message to name; test_workflow.py types it",
    "python docs/fill.py": "test_documentation.py",
}
HERE = {  # what the smoke study has in the place of what pages speak of
    "/quick/": "/smoke/",
    "/noise/": "/smoke/",
    "Arneodo/noisy/trajectories": "Lorenz/noisy/baseline",
    "Arneodo/noisy": "Lorenz/noisy",
    "Lorenz/noise5": "Lorenz/noisy",
    "/smoothed_5/": "/baseline/",
}
MEASURED = ("docs/measured.md", "docs/verdict.md")  # whose lines are those of measured.yaml


@dataclass(frozen=True)
class Block:
    """A block of code: its page, line, language and text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def tested(self) -> bool:
        """Whether its page has no test of its own."""
        return not any(self.page.startswith(page) for page in OWN)

    @property
    def marked(self) -> bool:
        """Whether its first line says that it needs something."""
        return bool(self.text.startswith("# needs "))

    @property
    def script(self) -> str:
        """The commands that run here, one a line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        typed = [re.sub(r"\s#.*", "", line) for line in lines if "# needs " not in line]
        parts = [part.strip() for line in typed for part in line.split(" && ")]
        return "\n".join(part for part in parts if part and not left_out(part))

    def __str__(self):
        return f"{self.page}:{self.line}"


@cache
def pages() -> dict[str, str]:
    found = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")]
    found += sorted((REPOSITORY / "docs").rglob("*.md"))
    names = {str(path.relative_to(REPOSITORY)): path for path in found}
    return {name: path.read_text() for name, path in names.items() if not name.startswith(MADE)}


@cache
def blocks() -> list[Block]:
    fence = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        Block(page, text[: found.start()].count("\n") + 1, found[1], found[2])
        for page, text in pages().items()
        for found in fence.finditer(text)
    ]


def left_out(command: str) -> list[str]:
    return [beginning for beginning in LEFT_OUT if command.startswith(beginning)]


def said() -> list[str]:
    """List the commands within sentences, each once."""
    prose = [re.sub(r"^```.*?^```|``.*?``", "", text, flags=re.MULTILINE | re.DOTALL) for text in pages().values()]
    codes = (" ".join(code.split()) for text in prose for code in re.findall(r"`([^`]+)`", text))
    return list(dict.fromkeys(code for code in codes if " " in code and code.split()[0] in PROGRAMS))


def scripts() -> dict[str, str]:
    """List what runs in a shell, each once, by its place."""
    found: dict[str, str] = {}
    for block in blocks():
        if block.language in SHELL and block.tested and not block.marked and block.script:
            found.setdefault(block.script, str(block))
    typed = "\n".join(found)
    found |= {command: command for command in said() if command not in typed and not left_out(command)}
    return {place: script for script, place in found.items()}


@pytest.fixture(scope="module")
def folder(smoke, tmp_path_factory) -> Path:
    """A copy in which every study is the smoke study, which has run; the environment is where the README puts it."""
    folder = shutil.copytree(smoke, tmp_path_factory.mktemp("pages") / "nearorbit", symlinks=True)
    for study in (folder / "config.yaml", *(folder / "workflow/studies").glob("*.yaml")):
        study.write_text((REPOSITORY / SMOKE).read_text())
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(folder: Path, *command: str) -> None:
    search = {"PATH": f"{folder / '.venv/bin'}:{os.environ['PATH']}", "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(command, cwd=folder, env=os.environ | search, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def here(text: str) -> str:
    for there, instead in HERE.items():
        text = text.replace(there, instead)
    return text


@pytest.mark.parametrize("place", scripts())
def test_a_command_works(folder, place):
    run(folder, "bash", "-euo", "pipefail", "-c", here(scripts()[place]))


@pytest.mark.parametrize(
    "block", [b for b in blocks() if b.language == "python" and b.tested and not b.marked], ids=str
)
def test_python_runs_where_the_smoke_study_has(folder, block):
    run(folder, sys.executable, "-c", here(block.text))


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "yaml" and b.tested and not b.marked], ids=str)
def test_lines_of_a_study_are_ones(block, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    whole = yaml.safe_load(Path(SMOKE).read_text())
    if block.page in MEASURED:
        whole = yaml.safe_load(Path("workflow/studies/measured.yaml").read_text())
        whole["data"] = {"all": whole["data"]["all"]}
    for section, lines in yaml.safe_load(block.text).items():
        whole[section] = whole[section] | lines if isinstance(lines, dict) else lines
    studies.parse(whole, where=str(block)).check_catalogues()


def test_a_block_that_is_not_run_says_what_it_needs():
    notebooks = {page for page, text in pages().items() if text.startswith("---\nfile_format: mystnb")}
    for block in blocks():
        known = block.language in (*SHELL, *CODE, "text", "{toctree}")
        assert known or (block.language == "{code-cell}" and block.page in notebooks), f"{block}: what language is it?"
    marks = [mark for block in blocks() for mark in re.findall(r"# needs (.*)", block.text)]
    assert all(mark.startswith(tuple(NEEDS)) for mark in marks), marks
    assert {need for need in NEEDS if any(mark.startswith(need) for mark in marks)} == set(NEEDS)


def test_what_is_left_out_is_there():
    shell = [block.text for block in blocks() if block.language in SHELL]
    typed = [" ".join(part.split()) for text in shell for part in re.split(r" && |\n", text.replace("\\\n", " "))]
    assert {beginning for command in [*typed, *said()] for beginning in left_out(command)} == set(LEFT_OUT)
    assert len(scripts()) > 20
