"""Copies of the repository to run studies in, and the trainings that run there."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SMOKE = "workflow/studies/smoke.yaml"


def copy(folder: Path) -> Path:
    """Copy what runs, without results."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "config.yaml", "pyproject.toml", "CITATION.cff", "workflow", "src", "envs"):
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(path, folder / name)
    return folder


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake on a copy of the repository, with its sources."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def planned(folder: Path, *arguments: str, study: str = SMOKE) -> set[tuple[str, ...]]:
    """The jobs that a dry run announces, as rule and labels."""
    done = snakemake(folder, "--dry-run", *arguments, *(["--configfile", study] if study else []))
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", done.stdout + done.stderr, re.MULTILINE)
    return {
        (rule, *re.findall(r"(?:system|data|neighbors|method|table|figure|name)=([^,\n]+)", body))
        for rule, body in jobs
    }


def finished(base: Path) -> Path:
    """Make a copy in which the smoke study has run, once for all processes that test; to copy, not to edit.

    Arguments:
        base: The folder that they share.
    """
    folder = base / "finished"
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            begun = copy(base / "begun")
            done = snakemake(begun, "--configfile", SMOKE)
            assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
            begun.rename(folder)
    return folder


def trainings(folder: Path) -> list[int]:
    """List the processes that train in a folder."""
    found = subprocess.run(["pgrep", "-f", "^python -m nearorbit train "], capture_output=True, text=True).stdout
    places = {int(pid): Path(f"/proc/{pid}/cwd") for pid in found.split()}
    return [pid for pid, place in places.items() if place.exists() and place.resolve() == folder.resolve()]


def a_training(folder: Path, seconds: float = 200) -> int:
    """Wait until a training is at work, its modules imported."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for pid in trainings(folder):
            try:
                if "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text():
                    return pid
            except OSError:
                pass  # it has just ended
        time.sleep(0.05)
    raise TimeoutError(f"no training began in {folder}")
