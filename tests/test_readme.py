"""What README.md tells a reader to type works: every command is run, on the smoke study in place of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY, SMOKE

README = (REPOSITORY / "README.md").read_text()
PROGRAMS = ("snakemake", "python", "python3", "pytest", "pip")  # what a command in a sentence begins with
NOT_RUN = {  # the beginnings of commands that are read here, and why they are not run
    "python3 -m venv": "installs",
    ".venv/bin/pip install": "installs",
    "pip install": "installs",
    ".venv/bin/pytest": "starts these tests",
    "pytest": "starts tests",
    "snakemake --workflow-profile workflow/profiles/slurm": "needs Slurm; tests/cluster",
    "snakemake --executor cluster-generic": "needs Slurm; tests/cluster",
    "snakemake --cores 1 performance": "measures for minutes, whatever the study; test_workflow.py plans it",
    "snakemake --cores 1 landscape": "computes for a minute; test_workflow.py plans it",
    "snakemake ...": "stands for the command that started a study",
    "snakemake --cores 1 --force FILE": "FILE is for the message to name; test_workflow.py types it",
}


def commands() -> list[str]:
    """List the commands of all shell blocks, one by one, and those within sentences; each once."""
    blocks = "".join(re.findall(r"^```(?:sh|bash)\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    lines = blocks.replace("\\\n", " ").splitlines()
    found = [part for line in lines for part in re.sub(r"(^|\s)#.*", "", line).split("&&")]
    text = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    found += [code for code in re.findall(r"`([^`]+)`", text) if code.split()[0] in PROGRAMS and " " in code]
    return list(dict.fromkeys(filter(None, (" ".join(command.split()) for command in found))))


def left_out(command: str) -> list[str]:
    return [beginning for beginning in NOT_RUN if command.startswith(beginning)]


@pytest.fixture(scope="module")
def folder(smoke, tmp_path_factory) -> Path:
    """A copy in which every study is the smoke study, which has run; the environment is where the README puts it."""
    folder = shutil.copytree(smoke, tmp_path_factory.mktemp("readme") / "nearorbit", symlinks=True)
    for study in (folder / "config.yaml", *(folder / "workflow/studies").glob("*.yaml")):
        study.write_text((REPOSITORY / SMOKE).read_text())
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.parametrize("command", [command for command in commands() if not left_out(command)])
def test_a_command_works(folder, command):
    typed = command.replace("/quick/", "/smoke/").replace("Lorenz/clean", "Lorenz/noisy")
    search = {"PATH": f"{folder / '.venv/bin'}:{os.environ['PATH']}", "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        ["bash", "-c", typed], cwd=folder, env=os.environ | search, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{typed}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_what_is_left_out_is_there():
    assert {beginning for command in commands() for beginning in left_out(command)} == set(NOT_RUN)
    assert len([command for command in commands() if not left_out(command)]) > 9
